"""Classifiers that choose the strength of their penalty by cross-validation."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from softreg._encoding import validation as checks
from softreg._encoding.answers import Encoding, Sample
from softreg._estimators.base import LinearClassifier
from softreg._model.objective import Objective
from softreg._rows.threads import Threads
from softreg._selection.cv_scores import (
    FoldTrial,
    PooledTrial,
    RowTrial,
    Trial,
    check_scores,
    chosen,
    summary,
)
from softreg._selection.folds import check_weights, folds_of
from softreg._selection.path import C_values, path_points
from softreg._selection.refits import Refits
from softreg._selection.scoring import as_labels, scoring_for
from softreg.solvers.result import Result

LEAVE_ONE_OUT = "loo"
# Refits to this estimate of (F - F*) / F have mean scores within 2e-5 of converged ones, also where
# classes are nearly separated (digits at C = 10,000); that is far below the noise of any score.
_NOISE = 1e-9


class CrossValidatedClassifier(LinearClassifier, metaclass=ABCMeta):
    """A linear classifier whose C is chosen on held-out rows."""

    @abstractmethod
    def _tries_each_label(self) -> bool:
        """Return whether each label has a C of its own."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose C by cross-validation, and fit the coefficients to all rows.

        Parameters
        ----------
        X, y, sample_weight, offset : as in `SoftmaxRegression.fit`, `SigmoidRegression.fit`
            Weights count in the fits and in the scores.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows, for splitters that keep them together.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        ValueError
            If an argument or parameter is not as described, folds overlap or are empty, or
            `scoring` cannot score the predictions, or its score of a fold is not finite; an
            estimator that was fitted before stays as it was.
        TypeError
            If `offset` is sparse.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            Once, with the values of C whose optimum was not reached or does not exist.
        UserWarning
            Once, if labels are constant: all 0, all 1, or never known.
        """
        fitted = copy.copy(self)  # whatever fails from here on, self stays as it was
        sample = fitted._read(X, y, sample_weight, offset, reset=True)
        select, Cs = checks.check_select(self.select), checks.check_Cs(self.Cs)
        with Threads(checks.check_n_jobs(self.n_jobs)) as threads:
            rows = sample.rows(bool(self.fit_intercept), threads)
            objective = fitted._posed(rows, sample.encoding, np.ones(1))
            scored = as_labels(sample) if self._has_own_strengths(sample.encoding) else sample
            trial = self._trial(objective, scored, X, y, groups)
            tried = C_values(objective, Cs)
            path, scores, weights = fitted._tried(objective, scored.encoding, tried, trial)
        mean, error = summary(scores, weights)
        place = chosen(mean, error, select)
        there = _at(path, place)
        learned = fitted._learned(there, sample.encoding, rows)
        along = fitted._linear_path(path, rows.dtype)
        learned |= {
            "coef_path_": along["coef_"],
            "intercept_path_": along["intercept_"],
            "C_": tried[place] if place.ndim else float(tried[place]),
            "Cs_": tried,
            "scores_": scores,
            "mean_score_": mean,
            "se_score_": error,
        }
        self._publish(fitted, learned)
        self._warn_of_all(sample.encoding, path, there)
        return self

    @property
    def results_(self) -> Any:
        """Score of each C and fold (and label), a row each: a pandas DataFrame."""
        import pandas as pd

        scores = self.scores_
        axes: dict[str, Any] = {"fold": np.arange(len(scores)), "C": self.Cs_}
        if scores.ndim > 2:
            axes["label"] = self.classes_
        index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
        return pd.DataFrame({"score": scores.ravel()}, index=index).reset_index()

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return the score of predictions on X by `scoring`; the larger, the better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of the shape of `predict`, or sparse matrix
        sample_weight : array-like of shape (n_samples,), default=None
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        score : float

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if an argument is not as described, or holds unknown classes.
        """
        Z = self.decision_function(X, offset)
        encoder, data = self._encoder(y), np.empty((len(Z), 0))
        answers = encoder.checked(y, sample_weight, data)
        code, test = encoder.encoding_from_classes(self.classes_, answers), np.arange(len(Z))
        scoring = scoring_for(self.scoring, X, y, code, answers)
        return float(scoring.of_fold(self, test, Z)[0])

    def _C(self) -> NDArray:
        return np.atleast_1d(self.C_)

    def _has_own_strengths(self, code: Encoding) -> bool:
        """Return whether each score has a C of its own; two classes share one score."""
        return self._tries_each_label() and bool(code.score_shape)

    def _trial(self, objective: Objective, sample: Sample, X: Any, y: Any, groups: Any) -> Trial:
        """Return what tries strengths on a sample, encoded as it is scored."""
        rows: Any = objective.rows
        trial: Trial
        each = self._has_own_strengths(sample.encoding)
        scoring = scoring_for(self.scoring, X, y, sample.encoding, sample.answers, per_label=each)
        if isinstance(self.cv, str) and self.cv == LEAVE_ONE_OUT:
            rowwise: Any = RowTrial if scoring.scores_rows else PooledTrial
            trial = rowwise(scoring, rows.n)
        else:
            folds = folds_of(self.cv, X, y, groups, rows.n)
            check_weights(folds, sample.answers.weight)
            tol = max(checks.check_tol(self.tol), _NOISE)
            trial = FoldTrial(folds, Refits(objective, rows, folds, tol), scoring)
        if self.select == "1se" and trial.units < 2:
            raise ValueError(
                f'select="1se" needs the standard error of two or more scores, and cv={self.cv!r} '
                f'with scoring={self.scoring!r} gives {trial.units}; choose select="best", or more '
                "folds."
            )
        return trial

    def _tried(
        self, objective: Objective, code: Encoding, Cs: NDArray, trial: Trial
    ) -> tuple[list[Result], NDArray, NDArray]:
        """Return the result at each C, and scores (units, n_Cs[, L]) with what they weigh."""
        results, found = [], []
        self.__dict__.update({"classes_": code.classes} | code.fitted_attributes)
        for path_point in path_points(objective, Cs, self._monitor):
            result = path_point.result
            checks.check_no_overflow(result.objective)
            self.__dict__.update(self._linear(result.coef, result.intercept, objective.rows.dtype))
            results.append(result)
            found.append(trial.scores(path_point, self))
            check_scores(self.scoring, path_point.C, *found[-1])
            if self.verbose:
                C, F, mean = path_point.C, result.objective.sum(), summary(*found[-1])[0].mean()
                print(f"[{type(self).__name__}] C = {C:.3g}: F = {F:.10g}, score {mean:.6g}")
        scores, weights = (np.stack(own, axis=1) for own in zip(*found, strict=True))
        return results, scores, weights

    def _warn_of_all(self, code: Encoding, results: list[Result], there: Result) -> None:
        """Warn, once, of fits that did not converge, given all and the one that was chosen."""
        late = [not result.converged.all() for result in results]
        self._warn(code, there, self.C_, 3)
        if any(late) and there.converged.all():
            warnings.warn(
                f"{type(self).__name__} did not converge at C={self.Cs_[late].tolist()}, for what "
                f"was not chosen there: {results[late.index(True)].message}.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _at(results: list[Result], place: NDArray) -> Result:
    """Return the result at a place of the path, or each label's own at one of its own."""
    if not place.ndim:
        return results[place]
    labels, last = np.arange(len(place)), results[place.max()]

    def own(name: str) -> NDArray:
        return np.stack([getattr(result, name) for result in results])[place, ..., labels].T

    fields = ("coef", "intercept", "objective", "gap", "converged")
    diverging = [k for k, p in enumerate(place) if k in results[p].diverging]
    late = [results[p] for k, p in enumerate(place) if not results[p].converged[k]]
    message = late[0].message if late else last.message
    parts = {name: own(name) for name in fields}
    return replace(last, message=message, diverging=tuple(diverging), **parts)
