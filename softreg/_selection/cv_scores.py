"""Trials: what each strength of the penalty scores on rows that were held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._selection.leave_one_out import leave_one_out, refined
from softreg._selection.path import PathPoint
from softreg._selection.refits import Fold, FoldRefits
from softreg._selection.scoring import LogLoss, Scoring, quotient, weighted_mean


class Trial(ABC):
    """Units that are held out, each of which has a score, or one for each label."""

    @property
    @abstractmethod
    def units(self) -> int:
        """Number of units."""

    @abstractmethod
    def scores(self, path_point: PathPoint, model: Any) -> tuple[NDArray, NDArray]:
        """Return the scores (units,) or (units, L) at a point of the path, and what they weigh.

        Unknown ones are NaN and weigh nothing. `model` has what was fitted there.
        """


@dataclass(frozen=True, eq=False)
class FoldTrial(Trial):
    """Each fold is scored by the fit that leaves it out."""

    folds: list[Fold]
    refits: FoldRefits
    scoring: Scoring

    @property
    def units(self) -> int:
        return len(self.folds)

    def scores(self, path_point: PathPoint, model: Any) -> tuple[NDArray, NDArray]:
        tests = [fold.test for fold in self.folds]
        held = zip(tests, self.refits.held_out_scores(path_point), strict=True)
        return _of_folds(self.scoring, model, held)


@dataclass(frozen=True, eq=False)
class RowTrial(Trial):
    """Each row is scored by the fit that leaves it out, approximately."""

    log_loss: LogLoss
    n: int

    @property
    def units(self) -> int:
        return self.n

    def scores(self, path_point: PathPoint, model: Any) -> tuple[NDArray, NDArray]:
        held = model._shaped(_without_each_row(path_point))
        return self.log_loss.of_rows(np.arange(self.n), held)


@dataclass(frozen=True, eq=False)
class PooledTrial(Trial):
    """All rows are scored together, each by the fit that leaves it out, approximately."""

    scoring: Scoring
    n: int
    units = 1

    def scores(self, path_point: PathPoint, model: Any) -> tuple[NDArray, NDArray]:
        return _of_folds(self.scoring, model, [(np.arange(self.n), _without_each_row(path_point))])


def _of_folds(
    scoring: Scoring, model: Any, held: Iterable[tuple[NDArray, NDArray]]
) -> tuple[NDArray, NDArray]:
    """Return the scores of folds, which all weigh the same, given each one's rows and scores."""
    found = [scoring.of_fold(model, test, model._shaped(scores)) for test, scores in held]
    values, known = zip(*found, strict=True)
    return np.array(values), np.array(known, dtype=float)


def _without_each_row(path_point: PathPoint) -> NDArray:
    """Return the scores (n, K) of each row by the fit without it."""
    fit = path_point.objective, path_point.T
    return refined(*fit, path_point.metric, leave_one_out(*fit)).scores


def check_scores(scoring: Any, C: float, scores: NDArray, weights: NDArray) -> None:
    """Raise a ValueError if a score at some C is neither unknown nor finite."""
    wrong = np.logical_not(np.isfinite(scores)) & (weights > 0)
    if wrong.any():
        fold, *label = (int(place) for place in np.argwhere(wrong)[0])
        of_label = f", label {label[0]}" if label else ""
        raise ValueError(
            f"scoring={scoring!r} returned {scores[fold, *label]} for fold {fold}{of_label}, at "
            f'C={C:g}. Choose a scorer whose scores are finite, such as "neg_log_loss", or folds '
            "on which it is defined, such as stratified ones or fewer."
        )


def summary(scores: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Return the weighted mean over the units of scores (units, ...) and its standard error.

    Weights are of the same shape; the error is NaN where fewer than two units count.
    """
    mean = weighted_mean(scores, weights)
    variance = weighted_mean(np.square(scores - mean), weights)
    return mean, np.sqrt(quotient(variance, np.count_nonzero(weights, axis=0) - 1))


def chosen(mean: NDArray, error: NDArray, select: str) -> NDArray[np.intp]:
    """Return the places of the strengths chosen, given mean scores (n_Cs,) or (n_Cs, L).

    Where no error is known, that is the best.
    """
    best = np.argmax(np.where(np.isnan(mean), -np.inf, mean), axis=0)
    if select == "best":
        return best
    there = np.expand_dims(best, 0)
    least = np.take_along_axis(mean - np.nan_to_num(error), there, 0)
    return np.argmax(mean >= least, axis=0)
