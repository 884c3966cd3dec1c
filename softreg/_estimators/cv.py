"""Classifiers that choose the strength of their penalty by cross-validation."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._encoding.answers import Encoding, Sample
from softreg._estimators.base import (
    LinearClassifier,
    coefficient_path,
    has_intercept,
    monitor_of,
    pose,
    prediction_attributes,
    read_sample,
    standardizes,
    threads_of,
)
from softreg._estimators.metadata import Metadata, requested_metadata, router_of
from softreg._model.objective import Objective
from softreg._selection.cv_scores import (
    best_index,
    check_finite,
    fold_scores,
    folds_of,
    leaves_one_out,
    missing_scores_warning,
    one_standard_error_index,
    row_scores,
    summary,
)
from softreg._selection.path import C_values, PathPoint, path_points
from softreg._selection.refits import refits_in_groups
from softreg._selection.scorers import held_out_scorer
from softreg._selection.scoring import Classifier, LogLoss, Scored, as_labels, stacked
from softreg.solvers.base import Result

# Refits to this estimate of (F - F*) / F have mean scores within 2e-5 of converged ones, also where
# classes are nearly separated (digits at C = 10,000); that is far below the noise of any score.
_REFIT_TOL = 1e-9

# Scores at a point of the path, given the fit to all rows there.
ScoresAt = Callable[[PathPoint, Classifier], Scored]


class CrossValidatedClassifier(LinearClassifier, metaclass=ABCMeta):
    """A linear classifier whose C is chosen on held-out rows: of the ridge, so far."""

    l1_ratio, l1_groups = 0.0, None

    @abstractmethod
    def _has_C_per_label(self, encoding: Encoding) -> bool:
        """Return whether each label has a C of its own."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Choose C by cross-validation, and fit the coefficients to all rows.

        Parameters
        ----------
        X, y, sample_weight, offset : as in `SoftmaxRegression.fit`, `SigmoidRegression.fit`
            Weights count in the fits and in the scores.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows, for splitters that keep them together.
        **params : array-likes with a value, or row of values, for each sample
            What else `scoring` or `cv` request, with scikit-learn's metadata routing enabled only.
            Then a scorer that is no name gets what it requests, as in `LogisticRegressionCV`: the
            weights only after ``set_score_request(sample_weight=True)``.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        ValueError
            If an argument or parameter is not as described, folds overlap or are empty, or
            `scoring` cannot score the predictions (with ``cv="loo"`` it must be "neg_log_loss"), or
            its scores are infinite, or exist for no fold; an estimator that was fitted before stays
            as it was.
        TypeError
            If `offset` is sparse, or nothing requests one of `params`.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            Once, with the values of C whose optimum was not reached or does not exist.
        UserWarning
            As in `fit` of `SoftmaxRegression` and `SigmoidRegression`. Once, if `scoring` has no
            score for some folds, as where held-out rows lack a class: C is chosen by the others.

        Notes
        -----
        scikit-learn's metrics take numbers, texts and datetime64 alone as classes; for others
        choose "neg_log_loss", or pass ``y.astype(str)``. scikit-learn's splitters get the numbers
        of the classes instead of y, so that they stratify classes of any kind.
        """
        given = {"sample_weight": sample_weight, "offset": offset, "groups": groups}
        by_row = leaves_one_out(self.cv, self.scoring)
        metadata = requested_metadata(self, "fit", given, params)
        sample, features = read_sample(self, X, y, sample_weight, offset)
        select, Cs = validation.check_select(self.select), validation.check_Cs(self.Cs)
        with threads_of(self) as threads:
            rows = sample.rows(has_intercept(self), threads)
            objective = pose(self, rows, sample.encoding, np.ones(1), features)
            labelled = as_labels(sample) if self._has_C_per_label(sample.encoding) else sample
            scores_at, n_refits = self._held_out_scores(objective, labelled, X, y, metadata, by_row)
            Cs = C_values(objective, Cs)
            path = path_points(objective, Cs, partial(monitor_of, self), n_refits)
            results, scored = self._scored_path(path, labelled.encoding, scores_at, features)
            # Where nothing varies any C will do, and it need not have a score.
            constant = objective.constant_problems
        indifferent = constant if scored.values.ndim > 2 else constant.all()
        warning = missing_scores_warning(self.scoring, scored, indifferent)
        mean, error = summary(scored)
        index = best_index(mean) if select == "best" else one_standard_error_index(mean, error)
        result = result_at(results, index)
        coef_path, intercept_path = coefficient_path(results)
        attributes = {
            **self._attributes_of_fit(result, sample.encoding, rows),
            "n_iter_": np.array([of_C.n_iter for of_C in results]),
            "C_": Cs[index] if index.ndim else float(Cs[index]),
            "Cs_": Cs,
            "coef_path_": coef_path,
            "intercept_path_": intercept_path,
            "scores_": scored.values,
            "mean_score_": mean,
            "se_score_": error,
        }
        self._store(features | attributes)
        self._warn_of_path(sample.encoding, results, result, warning)
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
        **params: Any,
    ) -> float:
        """Return the score of predictions on X by `scoring`; the larger, the better.

        By default that is minus the mean log loss, below zero, and the accuracy only with
        ``scoring="accuracy"`` or None, as in `LogisticRegressionCV`. The log loss is summed block
        by block; scikit-learn's metrics get predictions of all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : as in `fit`
        sample_weight : as in `fit`, default=None
        offset : array-like of the shape of `decision_function`, default=None
        **params : as in `fit`, for `scoring` alone

        Returns
        -------
        score : float, NaN where there is none

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if an argument is not as described, or holds unknown classes.

        Warns
        -----
        UserWarning
            If `scoring` has no score for these rows, as where they lack a class.
        """
        check_is_fitted(self)
        data, checked_offset = self._checked(X, offset)
        n, blocks = data.shape[0], self._score_blocks(data, checked_offset)
        given = {"sample_weight": sample_weight, "offset": offset}
        metadata = requested_metadata(self, "score", given, params)
        encoding, answers = self._read_answers(y, sample_weight, n)
        scorer = held_out_scorer(self.scoring, X, y, encoding, answers, metadata.scorer)
        scored = scorer.score_of_blocks(self, n, blocks)
        if np.isnan(scored.values):
            reason = scored.reason or "no answer is known"
            message = (
                f"scoring={validation.shown(self.scoring)} has no score for these rows ({reason})."
            )
            warnings.warn(message, UserWarning, stacklevel=2)
        return float(scored.values)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who gets which metadata: the estimator itself, `cv` and `scoring`.

        Returns
        -------
        router : sklearn.utils.metadata_routing.MetadataRouter
        """
        return router_of(self, super().get_metadata_routing())

    def _inverse_strengths(self, encoding: Encoding) -> NDArray:
        return np.atleast_1d(self.C_)

    def _held_out_scores(
        self, objective: Objective, sample: Sample, X: Any, y: Any, metadata: Metadata, by_row: bool
    ) -> tuple[ScoresAt, int]:
        """Return what scores rows by fits without them, and how many fits that takes at each C.

        The sample is encoded as it is scored.
        `by_row` says whether each row is left out alone, or each fold of `cv`.
        """
        encoding, answers = sample.encoding, sample.answers
        per_label = self._has_C_per_label(encoding)
        scores_at: ScoresAt
        if by_row:
            count, n_refits = answers.y.shape[0], 0  # but for the few rows that have to be refitted
            scores_at = partial(row_scores, LogLoss(encoding, answers, per_label))
        else:
            scorer = held_out_scorer(
                self.scoring, X, y, encoding, answers, metadata.scorer, per_label
            )
            folds = folds_of(self.cv, X, y, answers, metadata.splitter)
            tol, count = max(validation.check_tol(self.tol), _REFIT_TOL), len(folds)
            n_refits = count
            refits = refits_in_groups(objective, folds, tol, standardizes(self))
            scores_at = partial(fold_scores, refits, scorer)
        if self.select == "1se" and count < 2:
            raise ValueError(
                'select="1se" needs the standard error of two or more scores, and '
                f'cv={validation.shown(self.cv)} gives {count}; choose select="best", or more '
                "folds."
            )
        return scores_at, n_refits

    def _scored_path(
        self,
        path: Iterable[PathPoint],
        encoding: Encoding,
        scores_at: ScoresAt,
        features: dict[str, Any],
    ) -> tuple[list[Result], Scored]:
        """Return the fits to all rows at each C, and their held-out scores.

        These are (count, n_Cs), or (count, n_Cs, L), of as many folds or rows. `features` are the
        fitted attributes that describe the columns of X.
        """
        results, scored, verbose = [], [], validation.check_verbose(self.verbose)
        for path_point in path:
            C, result = path_point.C, path_point.result
            validation.check_no_overflow(result.objective, result.coef)
            classifier = copy.copy(self)  # without what an earlier fit left
            classifier._store(
                features | prediction_attributes(encoding, result.coef, result.intercept)
            )
            scored.append(scores_at(path_point, classifier))
            check_finite(self.scoring, C, scored[-1])
            results.append(result)
            if verbose:
                F, mean = result.objective.sum(), summary(scored[-1])[0].mean()
                print(f"[{type(self).__name__}] C = {C:.3g}: F = {F:.10g}, score {mean:.6g}")
        return results, stacked(scored, axis=1)

    def _warn_of_path(
        self, encoding: Encoding, results: list[Result], chosen: Result, warning: str
    ) -> None:
        """Warn, once each, of fits that did not converge, given all and the one that was chosen.

        And of scores that do not exist, by `warning`, if it is not empty.
        """
        unconverged = [not result.converged.all() for result in results]
        self._warn(encoding, chosen, self.C_, 3)
        if any(unconverged) and chosen.converged.all():
            first = results[unconverged.index(True)]
            warnings.warn(
                f"{type(self).__name__} did not converge at C={self.Cs_[unconverged].tolist()}, "
                f"for what was not chosen there: {first.message}.",
                ConvergenceWarning,
                stacklevel=3,
            )
        if warning:
            warnings.warn(warning, UserWarning, stacklevel=3)


def result_at(results: list[Result], index: NDArray[np.intp]) -> Result:
    """Return the result at an index of the path, or one with each label at its own, (L,)."""
    if not index.ndim:
        return results[index]
    labels, last = np.arange(len(index)), results[index.max()]
    of_labels = [results[i] for i in index]

    def joined(values: list[NDArray]) -> NDArray:
        return np.stack(values)[index, ..., labels].T

    unconverged = [of_labels[label] for label in labels if not of_labels[label].converged[label]]
    return replace(
        last,
        coef=joined([result.coef for result in results]),
        intercept=joined([result.intercept for result in results]),
        objective=joined([result.objective for result in results]),
        gap=joined([result.gap for result in results]),
        converged=joined([result.converged for result in results]),
        proven=joined([result.proven for result in results]),
        diverging=tuple(k for k, result in enumerate(of_labels) if k in result.diverging),
        unidentified=max((result.unidentified for result in of_labels), key=len),
        message=unconverged[0].message if unconverged else last.message,
    )
