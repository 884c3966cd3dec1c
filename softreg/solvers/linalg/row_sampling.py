"""Objectives estimated from rows drawn by leverage."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerRow

# Share of the rows that are drawn with equal chances, so that no row's weight grows more than
# tenfold beside what it were if all had equal chances.
_UNIFORM = 0.1


@dataclass(frozen=True)
class ChanceByLeverage:
    """The chances with which about `size` of n rows are drawn, mostly in proportion to leverage.

    Attributes
    ----------
    size, n : int, numbers of rows
    """

    size: int
    n: int

    def __call__(self, leverage: PerRow, total: float) -> PerRow:
        """Return the chances of rows (m,), given their leverages and the sum of all rows'."""
        share = (1 - _UNIFORM) * leverage / max(total, np.finfo(float).tiny) + _UNIFORM / self.n
        return np.minimum(1, self.size * share)


def by_leverage(objective: Objective, T: Coef, root: NDArray, size: int) -> Objective:
    """Return the objective on about `size` rows, drawn by what they add to the Hessian at T.

    Rows are drawn in proportion to their curvature times leverage ||root' x~||^2, and weighted by
    the inverse of their chance. With a root (width, width) of the inverse of
    `Objective.curvature_gram` no feature is missed, whatever its tails. Chances that are all equal
    miss the few rows that determine a nearly separable fit: there they took ten times as many
    iterations (measured).
    """
    chance = ChanceByLeverage(size, objective.rows.n)
    rows = objective.rows.sampled(objective.leverage_kernel(T, root), chance)
    return replace(objective, rows=rows)
