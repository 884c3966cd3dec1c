"""Trials: what each strength of the penalty scores on rows that were held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._held_out import Fold, Refits
from softreg._leave_one_out import leave_one_out, refined
from softreg._path import Stage
from softreg._scoring import LogLoss, Scoring


class Trial(ABC):
    """Units that are held out, each of which has a score, or one for each label."""

    @property
    @abstractmethod
    def units(self) -> int:
        """Number of units."""

    @abstractmethod
    def scores(self, stage: Stage, model: Any) -> NDArray:
        """Return the scores (units,) or (units, L) at a stage of the path, NaN where unknown.

        `model` has what was fitted there.
        """

    @property
    @abstractmethod
    def weights(self) -> NDArray | None:
        """What the units count, (units,) or (units, L); None for one."""


@dataclass(frozen=True, eq=False)
class FoldTrial(Trial):
    """Each fold is scored by the fit that leaves it out."""

    folds: list[Fold]
    refits: Refits
    scoring: Scoring
    per_label: bool
    weights = None

    @property
    def units(self) -> int:
        return len(self.folds)

    def scores(self, stage: Stage, model: Any) -> NDArray:
        of = self.scoring.of_labels if self.per_label else self.scoring.of_fold
        held = zip(self.folds, self.refits.held_out(stage), strict=True)
        return np.array([of(model, fold.test, model._shaped(scores)) for fold, scores in held])


@dataclass(frozen=True, eq=False)
class RowTrial(Trial):
    """Each row is scored by the fit that leaves it out, approximately."""

    log_loss: LogLoss
    n: int
    per_label: bool

    @property
    def units(self) -> int:
        return self.n

    def scores(self, stage: Stage, model: Any) -> NDArray:
        held = _without_each_row(stage)
        losses, weights = self.log_loss.of_rows(np.arange(self.n), model._shaped(held))
        if losses.ndim == 1 or self.per_label:
            return np.where(weights > 0, -losses, np.nan)
        total = weights.sum(axis=1)
        return -(losses * weights).sum(axis=1) / np.where(total > 0, total, np.nan)

    @property
    def weights(self) -> NDArray | None:
        return self.log_loss.answers.weight


@dataclass(frozen=True, eq=False)
class PooledTrial(Trial):
    """All rows are scored together, each by the fit that leaves it out, approximately."""

    scoring: Scoring
    n: int
    per_label: bool
    units = 1
    weights = None

    def scores(self, stage: Stage, model: Any) -> NDArray:
        of = self.scoring.of_labels if self.per_label else self.scoring.of_fold
        held = _without_each_row(stage)
        return np.array([of(model, np.arange(self.n), model._shaped(held))])


def _without_each_row(stage: Stage) -> NDArray:
    """Return the scores (n, K) of each row by the fit without it."""
    fit = stage.objective, stage.T
    return refined(*fit, stage.metric, leave_one_out(*fit)).scores


def summary(scores: NDArray, weights: NDArray | None) -> tuple[NDArray, NDArray]:
    """Return the mean over the units of scores (units, ...) and its standard error.

    Unknown scores (NaN) do not count; the error is NaN where fewer than two units do.
    """
    known = np.logical_not(np.isnan(scores))
    given = np.ones(len(scores)) if weights is None else weights
    own = known * given.reshape(len(scores), *(1,) * (scores.ndim - given.ndim), *given.shape[1:])
    total, count = own.sum(axis=0), np.count_nonzero(own, axis=0)
    values = np.where(known, scores, 0)
    mean = _quotient((own * values).sum(axis=0), total)
    variance = _quotient((own * np.square(values - mean)).sum(axis=0), total)
    return mean, np.sqrt(_quotient(variance, count - 1))


def chosen(mean: NDArray, error: NDArray, select: str) -> NDArray[np.intp]:
    """Return the places of the strengths chosen, given mean scores (n_Cs,) or (n_Cs, L)."""
    best = np.argmax(np.where(np.isnan(mean), -np.inf, mean), axis=0)
    if select == "best":
        return best
    there = np.expand_dims(best, 0)
    least = np.take_along_axis(mean, there, 0) - np.take_along_axis(error, there, 0)
    return np.argmax(mean >= least, axis=0)


def _quotient(a: NDArray, b: NDArray) -> NDArray:
    """Return a / b, NaN where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)
