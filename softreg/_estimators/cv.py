"""Classifiers that choose the strength of their penalty by cross-validation."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import penalty_checks, validation
from softreg._encoding.answers import Encoding, Sample
from softreg._encoding.namespaces import on_host, with_coefficients_like
from softreg._estimators.base import LinearClassifier, Strength
from softreg._estimators.posing import (
    has_intercept,
    monitor_of,
    pose,
    read_sample,
    standardizes,
    threads_of,
)
from softreg._model.objective import Objective
from softreg._rows.memory import MemoryRows
from softreg._selection.cv_scores import FoldScores, HeldOutScores, RowScores
from softreg._selection.folds import folds_of, leaves_one_out
from softreg._selection.path import C_values
from softreg._selection.refits import Fold
from softreg._selection.scoring.choice import (
    Candidates,
    ScoredPath,
    check_finite,
    missing_scores_warning,
    summary,
)
from softreg._selection.scoring.metadata import Metadata, requested_metadata, router_of
from softreg._selection.scoring.scorers import held_out_scorer
from softreg._selection.scoring.scores import LogLoss, as_labels, stacked
from softreg.solvers.base import Result


class CrossValidatedClassifier(LinearClassifier, metaclass=ABCMeta):
    """A linear classifier whose C and l1_ratio are chosen on held-out rows."""

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
        """Choose C and l1_ratio by cross-validation, and fit the coefficients to all rows.

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
            Once, with the C and l1_ratio whose optimum was not reached or does not exist.
        UserWarning
            As in `fit` of `SoftmaxRegression` and `SigmoidRegression`. Once, if `scoring` has no
            score for some folds, as where held-out rows lack a class: C is chosen by the others.

        Notes
        -----
        scikit-learn's metrics take numbers, texts and datetime64 alone as classes; for others
        choose "neg_log_loss", or pass ``y.astype(str)``. scikit-learn's splitters get the numbers
        of the classes instead of y, so that they stratify classes of any kind.
        """
        y, sample_weight, offset, groups = on_host(
            y=y, sample_weight=sample_weight, offset=offset, groups=groups
        )
        given = {"sample_weight": sample_weight, "offset": offset, "groups": groups}
        by_row = leaves_one_out(self.cv, self.scoring)
        metadata = requested_metadata(self, "fit", given, params)
        sample, features = read_sample(self, X, y, sample_weight, offset)
        select, Cs = validation.check_select(self.select), penalty_checks.check_Cs(self.Cs)
        l1_ratios = penalty_checks.check_l1_ratios(self.l1_ratios)
        labelled = as_labels(sample) if self._has_C_per_label(sample.encoding) else sample
        held_out = self._held_out(labelled, X, y, features, metadata, by_row)
        with threads_of(self) as threads:
            posed, paths = partial(self._posed, sample.encoding, features), []
            for l1_ratio in l1_ratios:
                rows = sample.rows(has_intercept(self), threads)  # anew: they keep what was made
                paths.append(self._scored_path(posed, l1_ratio, rows, held_out, Cs))
        candidates = Candidates(l1_ratios, paths)
        warning = missing_scores_warning(self.scoring, candidates.scored, candidates.indifferent)
        index = candidates.index_by(select)
        result = candidates.result_at(index)
        of_fit = self._attributes_of_fit(result, sample.encoding, rows)
        attributes = features | of_fit | candidates.attributes(index)
        self._store(with_coefficients_like(X, attributes))
        self._warn_of_path(sample.encoding, candidates, result, warning)
        return self

    @property
    def results_(self) -> Any:
        """Score of each fold, l1_ratio and C (and label), a row each: a pandas DataFrame."""
        import pandas as pd

        labels = {"label": self.classes_} if self.scores_.ndim > 3 else {}
        Cs = np.broadcast_to(self.Cs_, self.scores_.shape[1:3])
        axes = {"fold": np.arange(len(self.scores_)), "l1_ratio": self.l1_ratios_}
        axes |= {"C": np.arange(Cs.shape[1])} | labels
        index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
        frame = index.to_frame(index=False)
        frame["C"] = np.tile(Cs.repeat(self.scores_[0, 0, 0].size), len(self.scores_))
        frame["n_features"] = np.tile(self.n_features_path_.ravel(), len(self.scores_))
        frame["score"] = self.scores_.ravel()
        return frame

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
        y, sample_weight, offset = on_host(y=y, sample_weight=sample_weight, offset=offset)
        data, checked_offset = self._checked(X, offset)
        n, of_blocks = data.shape[0], self._score_blocks(data, checked_offset)
        blocks = ((rows, np.asarray(Z)) for rows, Z in of_blocks)
        given = {"sample_weight": sample_weight, "offset": offset}
        metadata = requested_metadata(self, "score", given, params)
        encoding, answers = self._read_answers(y, sample_weight, n)
        answers = answers.in_weight_unit(answers.weight_unit)
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

    def _strength(self, encoding: Encoding) -> Strength:
        return Strength(np.atleast_1d(self.C_), np.atleast_1d(self.l1_ratio_))

    def _posed(
        self, encoding: Encoding, features: dict[str, Any], l1_ratio: float, rows: MemoryRows
    ) -> Objective:
        """Return the objective of rows in the user's units, with C = 1."""
        return pose(self, rows, encoding, Strength(np.ones(1), np.array([l1_ratio])), features)

    def _held_out(
        self,
        sample: Sample,
        X: Any,
        y: Any,
        features: dict[str, Any],
        metadata: Metadata,
        by_row: bool,
    ) -> HeldOutScores:
        """Return what scores rows of a sample, encoded as it is scored, by fits without them.

        `features` are the fitted attributes that describe the columns of X; `by_row` says whether
        each row is left out alone, or each fold of `cv`.
        """
        encoding, answers = sample.encoding, sample.answers
        per_label = self._has_C_per_label(encoding)
        classifier = copy.copy(self)  # without what an earlier fit left
        classifier._store(features | {"classes_": encoding.classes} | encoding.fitted_attributes)
        held_out: HeldOutScores
        if by_row:
            log_loss = LogLoss(encoding, answers, per_label)
            held_out = RowScores(answers.y.shape[0], log_loss, classifier)
        else:
            scorer = held_out_scorer(
                self.scoring, X, y, encoding, answers, metadata.scorer, per_label
            )
            folds = folds_of(self.cv, X, y, answers, metadata.splitter)
            held_out = FoldScores(folds, scorer, classifier, standardizes(self))
        if self.select == "1se" and held_out.count < 2:
            raise ValueError(
                'select="1se" needs the standard error of two or more scores, and '
                f'cv={validation.shown(self.cv)} gives {held_out.count}; choose select="best", or '
                "more folds."
            )
        return held_out

    def _scored_path(
        self,
        posed: Callable[[float, MemoryRows], Objective],
        l1_ratio: float,
        rows: MemoryRows,
        held_out: HeldOutScores,
        Cs: int | NDArray,
    ) -> ScoredPath:
        """Return the fits to all rows with one l1_ratio at each C, and their held-out scores.

        `posed` makes the objective of a ratio, and rows in the user's units.
        """
        objective, new_monitor = posed(l1_ratio, rows), partial(monitor_of, self)

        def without_fold(fold: Fold) -> Objective:
            return posed(l1_ratio, rows.replaced(weight=rows.weights * fold.train))

        values = C_values(objective, Cs, None, new_monitor)
        results, scored, verbose = [], [], validation.check_verbose(self.verbose)
        for point, at_point in held_out.scored_points(objective, without_fold, values, new_monitor):
            result, place = point.result, f"l1_ratio={l1_ratio:g}, C={point.C:.3g}"
            validation.check_no_overflow(result.objective, result.coef)
            check_finite(self.scoring, place, at_point)
            results.append(result)
            scored.append(at_point)
            if verbose:
                F, mean = result.objective.sum(), summary(at_point)[0].mean()
                print(f"[{type(self).__name__}] {place}: F = {F:.10g}, score {mean:.6g}")
        return ScoredPath(values, results, stacked(scored, axis=1), objective.constant_problems)

    def _warn_of_path(
        self, encoding: Encoding, candidates: Candidates, chosen: Result, warning: str
    ) -> None:
        """Warn, once each, of fits that did not converge, given all and the one that was chosen.

        And of scores that do not exist, by `warning`, if it is not empty.
        """
        self._warn(encoding, chosen, self.C_, 3)
        unconverged = candidates.unconverged_message
        if unconverged and chosen.converged.all():
            warnings.warn(f"{type(self).__name__} {unconverged}", ConvergenceWarning, stacklevel=3)
        if warning:
            warnings.warn(warning, UserWarning, stacklevel=3)
