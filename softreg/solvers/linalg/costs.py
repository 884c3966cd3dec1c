"""Costs of metrics, counted in passes over the data, and the values that they may take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.base import slices

# The Gram matrix is worth at most this many passes over the data: it saves more.
DEAREST_GRAM = 60
# A Hessian can be estimated from this many rows per parameter: its factor is then within a third
# of the exact one, which costs so many more passes until the end (both measured).
ROWS_PER_PARAMETER = 10
SAMPLING_LOSS = 8
# The Hessian's blocks, class by class, take so many passes more until the end (measured).
_BLOCKS_LOSS = 15
# Of the values that a metric may take, one in so many may belong to blocks that are being summed.
_SUMMED_AT_ONCE = 4
# An eigenbasis of order d takes this many times d^3 multiply-adds of a large product (measured).
_EIGENBASIS = 30
# Costs are counted in multiply-adds at the speed of a large matrix product, 22 a nanosecond
# (measured): a value from memory costs 18, a thin product's a little over one, the exp, sum and
# division of a score 100, and the Python around a block as much as 1.5 million.
_VALUE, _SCORE, _OVERHEAD = 18.0, 100.0, 1.5e6


@dataclass(frozen=True)
class Costs:
    """What passes, Gram matrices and Hessians of an objective cost.

    Attributes
    ----------
    n, n_values : rows, and values of X that a product touches
    width, n_scores, n_problems : int, the shape (width, K) of the coefficients, and B
    hessian_row : float, multiply-adds that a row takes in the whole Hessian
    value_budget : float, values that a metric may take
    is_sparse : bool, whether X is CSR
    """

    n: int
    n_values: float
    width: int
    n_scores: int
    n_problems: int
    hessian_row: float
    value_budget: float
    is_sparse: bool

    @cached_property
    def a_pass(self) -> float:
        """Value and gradient, in multiply-adds."""
        scores = self.n_scores * (2.5 * self.n_values + _SCORE * self.n)
        return _VALUE * self.n_values + scores + _OVERHEAD

    @property
    def order(self) -> int:
        """The order of each problem's Hessian."""
        return self.width * self.n_scores // self.n_problems

    @property
    def factor_pays(self) -> bool:
        """Whether the Gram matrix is small and cheap enough to factor.

        Columns that are mostly zeros overlap so little that their Gram matrix says hardly more than
        the Hessian's diagonal, which follows the curvature: there it serves only on the way to a
        Hessian.
        """
        passes = self.n * self.width**2 / 2 / self.a_pass
        useful = not self.is_sparse or self.cheapest_hessian <= DEAREST_GRAM
        return self.width**2 <= self.value_budget and passes <= DEAREST_GRAM and useful

    @property
    def eigenbasis_pays(self) -> bool:
        """Whether an eigenbasis for several problems is cheap enough."""
        passes = _EIGENBASIS * self.width**3 / self.a_pass
        return self.n_problems > 1 and passes <= DEAREST_GRAM

    @cached_property
    def cheapest_hessian(self) -> float:
        """A new Hessian, or its blocks, in passes; inf if they are too large."""
        return min(self.hessian)

    @property
    def hessian(self) -> tuple[float, float]:
        """The exact and the sampled Hessian, or their blocks, in passes.

        Drawing the sample takes two passes more, which `SAMPLING_LOSS` covers.
        """
        return self._whole if self.hessian_is_whole else self._blocks

    @cached_property
    def hessian_is_whole(self) -> bool:
        """Whether each problem's Hessian is made as a whole, not class by class."""
        return min(self._whole) <= min(self._blocks) + _BLOCKS_LOSS

    @cached_property
    def _whole(self) -> tuple[float, float]:
        return self._in_passes(self.order, self.hessian_row)

    @cached_property
    def _blocks(self) -> tuple[float, float]:
        return self._in_passes(self.width, self.n_scores * self.width * (self.width + 10))

    def _in_passes(self, order: int, row: float) -> tuple[float, float]:
        """Return the costs of blocks of some order, exact and sampled; inf if too large."""
        n_parameters = self.width * self.n_scores
        if order * n_parameters > self.value_budget:
            return np.inf, np.inf
        row += _VALUE * self.width
        factor = n_parameters * order**2 / 3 + _OVERHEAD
        exact = (self.n * row + factor) / self.a_pass
        if self.sample_size >= 0.7 * self.n:
            return exact, np.inf
        return exact, (self.sample_size * row + factor) / self.a_pass

    @property
    def sample_size(self) -> int:
        """Rows from which a Hessian is estimated; these are kept in memory."""
        return int(min(ROWS_PER_PARAMETER * self.order, self.value_budget / self.width))

    def block_groups(self) -> list[slice]:
        """Return slices of scores whose blocks are summed together, so that few exist at a time."""
        values = _SUMMED_AT_ONCE * self.n_scores * self.width**2
        count = min(self.n_scores, int(np.ceil(values / self.value_budget)))
        return slices(self.n_scores, count)


def costs_of(objective: Objective) -> Costs:
    """Return the costs of an objective; its rows keep them."""
    rows, problems, (width, K) = objective.rows, objective.problems, objective.shape

    def make() -> Costs:
        hessian_row = objective.link.hessian_cost(K, width)
        sizes = (rows.n, rows.n_values, width, K, problems.count, hessian_row)
        return Costs(*sizes, rows.value_budget, rows.is_sparse)

    return rows.kept(("costs", problems, rows.value_budget), make)
