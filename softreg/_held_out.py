"""Held-out scores along a path: those of each fold's rows, by the fit that leaves them out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._memory_rows import MemoryRows
from softreg._objective import Objective
from softreg._path import Stage, Trail
from softreg.solvers._refits import in_single, refitted

# Folds are refitted together as long as their scores are no more than this: then probabilities are
# kept from product to product.
_TOGETHER = 2**23
# The intercept of a class that a fold lacks: below any score, so that it adds nothing.
_ABSENT = -1e3


class Fold(NamedTuple):
    """How often each row counts in a fit, (n,), and the rows that are held out of it."""

    train: NDArray
    test: NDArray


class Refits:
    """The fits that leave out one fold each, all folds in the same passes over the data.

    They differ from the fit to all rows by a fold's rows: each starts where that ended at the same
    strength, moved as at the strengths before, and takes its metric as preconditioner.
    """

    def __init__(
        self, objective: Objective, rows: MemoryRows, folds: list[Fold], tol: float
    ) -> None:
        values = len(folds) * rows.n * objective.shape[1]
        count = min(len(folds), -(-values // _TOGETHER))
        groups = np.array_split(np.arange(len(folds)), count)
        self._groups = [_Group(objective, rows, [folds[f] for f in own], tol) for own in groups]

    def held_out(self, stage: Stage) -> list[NDArray]:
        """Return the scores (m, K) of each fold's rows, at a stage of the path."""
        return [scores for group in self._groups for scores in group.held_out(stage)]


class _Group:
    """Folds that are refitted together."""

    def __init__(
        self, objective: Objective, rows: MemoryRows, folds: list[Fold], tol: float
    ) -> None:
        train = np.stack([fold.train for fold in folds])
        fits = objective.of_fits(rows.in_folds(train), len(folds))
        self._fits, self._single, self._tol, self._trail = fits, in_single(fits), tol, Trail()
        self._rows, self._tests = rows, [fold.test for fold in folds]

    def held_out(self, stage: Stage) -> list[NDArray]:
        """Return the scores (m, K) of each fold's rows, at a stage of the path."""
        count = len(self._tests)
        whole, metric = np.tile(stage.T, count), stage.metric.of_fits(count)
        start = whole + self._trail.ahead(stage.C) if self._trail.behind else whole
        start = self._without_absent(start)
        fits, rough = (own.at_strength(stage.C) for own in (self._fits, self._single))
        T = refitted(fits, rough, start, metric, self._tol)
        self._trail.reached(stage.C, T - whole)
        each = (np.split(A, count, axis=-1) for A in (T, self._fits.absent, fits.rows.score_weight))
        parts = zip(self._tests, *each, strict=True)
        taken = ((self._rows.taken(test).replaced(once=True), *own) for test, *own in parts)
        return [_scores(stage.objective, *own) for own in taken]

    def _without_absent(self, T: NDArray) -> NDArray:
        """Return coefficients that leave out what a fold has not seen."""
        if not self._fits.absent.any():
            return T
        T = np.where(self._fits.absent, self._fits.null(), T)
        if self._fits.link.exclusive:
            T[-1, self._fits.absent] = _ABSENT
        return T


def _scores(
    objective: Objective, rows: MemoryRows, T: NDArray, absent: NDArray, weight: NDArray
) -> NDArray:
    """Return the scores (m, K) of rows by a fit of some weight (K,) that has not seen all."""
    U = rows.inward(T)

    def kernel(block: Block) -> NDArray:
        Z = block.scores(U)
        if absent.any():
            objective.link.expect_inplace(Z, absent, weight)
        return Z.T

    return rows.each(kernel)
