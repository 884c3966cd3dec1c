"""Held-out scores: what the fits without some rows score on them, at each strength."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._selection.leave_one_out import leave_one_out, refined
from softreg._selection.path import PathPoint
from softreg._selection.refits import Fold, FoldRefits
from softreg._selection.scoring import (
    Classifier,
    HeldOutScorer,
    LogLoss,
    quotient,
    weighted_mean,
)


class HeldOutScores(ABC):
    """The scores of held-out rows at a point of a path: by fold or by row."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of scores (of each label): folds or rows."""

    @abstractmethod
    def at(self, path_point: PathPoint, classifier: Classifier) -> tuple[NDArray, NDArray]:
        """Return the scores, (count,) or (count, L), at a point of the path, and their weights.

        Unknown ones are NaN and weigh nothing. `classifier` is the fit to all rows there.
        """


@dataclass(frozen=True, eq=False)
class FoldScores(HeldOutScores):
    """Each fold is scored by the fit that leaves it out."""

    folds: list[Fold]
    refits: FoldRefits
    scorer: HeldOutScorer

    @property
    def count(self) -> int:
        return len(self.folds)

    def at(self, path_point: PathPoint, classifier: Classifier) -> tuple[NDArray, NDArray]:
        fold_scores = self.refits.held_out_scores(path_point)
        scored = [
            self.scorer.fold_score(classifier, fold.test, classifier._as_decisions(scores))
            for fold, scores in zip(self.folds, fold_scores, strict=True)
        ]
        values, are_known = zip(*scored, strict=True)
        return np.array(values), np.array(are_known, dtype=float)


@dataclass(frozen=True, eq=False)
class RowScores(HeldOutScores):
    """Each of n rows is scored by the fit that leaves it out, approximately."""

    scorer: LogLoss
    n: int

    @property
    def count(self) -> int:
        return self.n

    def at(self, path_point: PathPoint, classifier: Classifier) -> tuple[NDArray, NDArray]:
        objective, T = path_point.objective, path_point.T
        left_out = refined(objective, T, path_point.metric, leave_one_out(objective, T))
        scores = classifier._as_decisions(left_out.scores)
        return self.scorer.row_scores(np.arange(self.n), scores)


def check_scores(scoring: Any, C: float, scores: NDArray, weights: NDArray) -> None:
    """Raise a ValueError if a score at C that has a weight is not finite."""
    wrong = np.logical_not(np.isfinite(scores)) & (weights > 0)
    if wrong.any():
        fold, *label = (int(index) for index in np.argwhere(wrong)[0])
        of_label = f", label {label[0]}" if label else ""
        raise ValueError(
            f"scoring={scoring!r} returned {scores[fold, *label]} for fold {fold}{of_label}, at "
            f'C={C:g}. Choose a scorer whose scores are finite, such as "neg_log_loss", or folds '
            "on which it is defined, such as stratified ones or fewer."
        )


def summary(scores: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Return the weighted mean of scores (count, ...) over the first axis, and its standard error.

    Weights are of the same shape; the error is NaN where fewer than two scores have weight.
    """
    mean = weighted_mean(scores, weights)
    variance = weighted_mean(np.square(scores - mean), weights)
    return mean, np.sqrt(quotient(variance, np.count_nonzero(weights, axis=0) - 1))


def chosen_index(mean: NDArray, error: NDArray, select: str) -> NDArray[np.intp]:
    """Return the index of the C that `select` names ("best" or "1se"), or each label's, (L,)."""
    return best_index(mean) if select == "best" else one_standard_error_index(mean, error)


def best_index(mean: NDArray) -> NDArray[np.intp]:
    """Return the index of the best mean score, (n_Cs,) or (n_Cs, L): of equals the first."""
    return np.argmax(np.where(np.isnan(mean), -np.inf, mean), axis=0)


def one_standard_error_index(mean: NDArray, error: NDArray) -> NDArray[np.intp]:
    """Return the first index whose mean score is within the best one's standard error of it.

    Where that error is not known (NaN), this is the best index.
    """
    best = np.expand_dims(best_index(mean), 0)
    least = np.take_along_axis(mean - np.nan_to_num(error), best, 0)
    return np.argmax(mean >= least, axis=0)
