"""Targets: the y of rows, in the form that links ask for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import (
    Mask,
    PerRow,
    PerScore,
    PickledByFields,
    Places,
    RowLosses,
    Scores,
)


class Targets(Protocol):
    """The y of n rows over K scores, without an n x K matrix where less will do.

    B is the number of problems: 1 under softmax, K under sigmoid, times the number of fits where
    several are solved at once, whose scores and problems come one fit after another.
    """

    @property
    def n_scores(self) -> int:
        """Number of scores K."""

    def __getitem__(self, rows: slice | Places) -> Targets:
        """Return the targets of some rows."""

    def take_scores(self, scores: Places) -> Targets:
        """Return the targets of some scores."""

    def repeated(self, counts: NDArray) -> Targets:
        """Return the targets of several fits, in each of which rows count `counts` (fits, n)."""

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        """Subtract <y, z> from the losses (B, m) of rows with scores Z (K, m)."""

    def subtract_targets_inplace(self, P: Scores) -> None:
        """Turn P (K, m) into P - Y."""

    def loss_weights(self) -> RowLosses | None:
        """Return how much rows weigh in each problem, beside their weights, (B, n); None: one."""

    def target_sum(self, weight: PerRow) -> PerScore:
        """Return sum_i w_ik y_ik, (K,), with w the row weights (n,) times the loss weights."""

    def score_weight(self, weight: PerRow) -> PerScore:
        """Return sum_i w_ik, (K,), with w the row weights (n,) times the loss weights."""

    def observed(self, weight: PerRow) -> Mask:
        """Return whether a target above 0, and one below 1, has weight, (2, K).

        Always True under softmax.
        """

    def strata(self) -> NDArray | None:
        """Return the class of each row, or its likeliest, (n,); None: rows have no single class."""

    @property
    def class_of_row(self) -> Places | None:
        """The class of each row, (n,); None: rows have labels, or shares of several classes."""


@dataclass(frozen=True)
class ClassTargets(PickledByFields):
    """One class a row, smoothed: y = (1 - a) onehot(codes) + a / K.

    Attributes
    ----------
    codes : ndarray (n,), the class of each row, from 0 to K - 1
    n_classes : int, K
    smoothing : float, a
    """

    codes: NDArray[np.intp]
    n_classes: int
    smoothing: float = 0.0

    @property
    def n_scores(self) -> int:
        return self.n_classes

    def __getitem__(self, rows: slice | Places) -> ClassTargets:
        return ClassTargets(self.codes[rows], self.n_classes, self.smoothing)

    def take_scores(self, scores: Places) -> ClassTargets:
        if len(scores) == self.n_classes:
            return self
        raise ValueError("classes that exclude each other have no targets of their own")

    def repeated(self, counts: NDArray) -> RepeatedTargets:
        return RepeatedTargets(self, counts)

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        target_scores = Z.reshape(-1).take(self._flat_places)
        if self.smoothing:
            target_scores = (1 - self.smoothing) * target_scores + self.smoothing * Z.mean(axis=0)
        loss -= target_scores

    def subtract_targets_inplace(self, P: Scores) -> None:
        P.reshape(-1)[self._flat_places] -= 1 - self.smoothing
        if self.smoothing:
            P -= self.smoothing / self.n_classes

    def loss_weights(self) -> None:
        return None

    def target_sum(self, weight: PerRow) -> PerScore:
        counts = np.bincount(self.codes, weights=weight, minlength=self.n_classes)
        return (1 - self.smoothing) * counts + self.smoothing * counts.sum() / self.n_classes

    def score_weight(self, weight: PerRow) -> PerScore:
        return np.full(self.n_classes, weight.sum())

    def observed(self, weight: PerRow) -> Mask:
        return np.ones((2, self.n_classes), dtype=bool)

    def strata(self) -> NDArray:
        return self.codes

    @property
    def class_of_row(self) -> Places | None:
        return None if self.smoothing else self.codes

    @cached_property
    def _flat_places(self) -> NDArray[np.intp]:
        """Where the class of each row is in a contiguous (K, n) matrix, flattened, (n,)."""
        return self.codes * len(self.codes) + np.arange(len(self.codes))


@dataclass(frozen=True)
class TargetMatrix:
    """A target between 0 and 1 for every row and score, Y (n, K)."""

    Y: NDArray[np.floating]
    class_of_row = None

    @property
    def n_scores(self) -> int:
        return self.Y.shape[1]

    def __getitem__(self, rows: slice | Places) -> TargetMatrix:
        return TargetMatrix(self.Y[rows])

    def take_scores(self, scores: Places) -> TargetMatrix:
        return TargetMatrix(self.Y[:, scores])

    def repeated(self, counts: NDArray) -> RepeatedTargets:
        return RepeatedTargets(self, counts)

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        loss -= np.einsum("mk,km->m", self.Y, Z) if len(loss) == 1 else self.Y.T * Z

    def subtract_targets_inplace(self, P: Scores) -> None:
        P -= self.Y.T

    def loss_weights(self) -> None:
        return None

    def target_sum(self, weight: PerRow) -> PerScore:
        return weight @ self.Y

    def score_weight(self, weight: PerRow) -> PerScore:
        return np.full(self.Y.shape[1], weight.sum())

    def observed(self, weight: PerRow) -> Mask:
        if self.n_scores > 1:
            return np.ones((2, self.n_scores), dtype=bool)
        Y = self.Y[weight > 0]
        return np.stack([(Y > 0).any(axis=0), (Y < 1).any(axis=0)])

    def strata(self) -> NDArray:
        return self.Y[:, 0] > 0.5 if self.n_scores == 1 else self.Y.argmax(axis=1)


@dataclass(frozen=True, eq=False)
class RepeatedTargets:
    """The targets of several fits, which differ in how often each row counts.

    Attributes
    ----------
    Y : Targets of any of the fits
    counts : ndarray (fits, n) of bool or int, how often each row counts in each fit; 0: left out
    """

    Y: Targets
    counts: NDArray
    class_of_row = None

    @property
    def n_scores(self) -> int:
        return len(self.counts) * self.Y.n_scores

    def __getitem__(self, rows: slice | Places) -> RepeatedTargets:
        return RepeatedTargets(self.Y[rows], self.counts[:, rows])

    def take_scores(self, scores: Places) -> RepeatedTargets:
        K = self.Y.n_scores
        return RepeatedTargets(self.Y, self.counts[scores[::K] // K])

    def repeated(self, counts: NDArray) -> RepeatedTargets:
        raise ValueError("repeated targets cannot be repeated again")

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        for fit, Z_of_fit in enumerate(np.split(Z, len(self.counts))):
            self.Y.subtract_target_scores_inplace(loss[fit, None], Z_of_fit)

    def subtract_targets_inplace(self, P: Scores) -> None:
        for P_of_fit in np.split(P, len(self.counts)):
            self.Y.subtract_targets_inplace(P_of_fit)

    def loss_weights(self) -> RowLosses:
        return self.counts

    def target_sum(self, weight: PerRow) -> PerScore:
        return np.concatenate([self.Y.target_sum(weight * count) for count in self.counts])

    def score_weight(self, weight: PerRow) -> PerScore:
        return np.concatenate([self.Y.score_weight(weight * count) for count in self.counts])

    def observed(self, weight: PerRow) -> Mask:
        return np.concatenate([self.Y.observed(weight * count) for count in self.counts], axis=1)

    def strata(self) -> NDArray | None:
        return self.Y.strata()
