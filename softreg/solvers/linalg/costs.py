"""Costs of metrics, counted in passes over the data, and the memory that they may take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from softreg._model.kernels import THIN_PRODUCT_COST, weighted_grams_cost
from softreg._model.objective import Objective
from softreg._rows.base import slices

# The Gram matrix is made where it costs at most this many passes over the data: it saves more.
_MOST_GRAM_PASSES = 60
# A Hessian can be estimated from this many rows per parameter. Its factor is then within a third
# of the exact one, and the fit takes so many more passes (both measured).
_ROWS_PER_PARAMETER = 10
_SAMPLING_LOSS = 8
# A sample of a larger share of the rows saves too little.
_LARGEST_SAMPLE = 0.7
# With the Hessian's blocks, class by class, the fit takes so many more passes (measured).
_BLOCKS_LOSS = 15
# Blocks that are being summed may take this share of the values that a metric may take.
_SUMMED_SHARE = 1 / 4
# An eigenbasis of order d takes this many times d^3 multiply-adds of a large product (measured).
_EIGENBASIS_COST = 30
# Costs are counted in multiply-adds at the speed of a large matrix product, 22 a nanosecond
# (measured): a value from memory costs 18, the exp, sum and division of a score 100, and the Python
# around a block as much as 1.5 million.
_VALUE_COST, _SCORE_COST, _OVERHEAD = 18.0, 100.0, 1.5e6

# From this cost on, passes take less time in single precision: a quarter less on letter, hardly
# any on bank. Of cheaper ones a few more are needed in the end, and nothing is saved (measured).
_SINGLE_PRECISION_PAYS = 1.5e7
# A Newton step with the whole Hessian replaces this many iterations of L-BFGS in a metric, and the
# Python around each costs so many multiply-adds beside the pass (both measured, on sets of 150 to
# 58,000 rows; where classes are nearly separated a step replaces five).
_REPLACED_ITERATIONS, _ITERATION_OVERHEAD = 3, 5e6


@dataclass(frozen=True)
class Costs:
    """What passes, Gram matrices and Hessians of an objective cost.

    Attributes
    ----------
    n, n_values : rows, and values of X that a product touches
    width, n_scores, n_problems : int, the shape (width, K) of the coefficients, and B
    hessian_row_cost : float, multiply-adds that a row takes in the whole Hessian
    value_budget : float, values that a metric may take
    is_sparse : bool, whether X is CSR
    """

    n: int
    n_values: float
    width: int
    n_scores: int
    n_problems: int
    hessian_row_cost: float
    value_budget: float
    is_sparse: bool

    @cached_property
    def pass_cost(self) -> float:
        """Multiply-adds of a pass for F and its gradient: two products and the scores between."""
        products = 2 * THIN_PRODUCT_COST * self.n_values
        scores = self.n_scores * (products + _SCORE_COST * self.n)
        return _VALUE_COST * self.n_values + scores + _OVERHEAD

    @property
    def single_precision_pays(self) -> bool:
        """Whether passes are large enough for a copy in single precision to save time."""
        return self.pass_cost >= _SINGLE_PRECISION_PAYS

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
        passes = self.n * self.width**2 / 2 / self.pass_cost
        useful = not self.is_sparse or self.cheapest_hessian <= _MOST_GRAM_PASSES
        return self.width**2 <= self.value_budget and passes <= _MOST_GRAM_PASSES and useful

    @property
    def eigenbasis_pays(self) -> bool:
        """Whether there are several problems, and an eigenbasis for them is cheap enough."""
        passes = _EIGENBASIS_COST * self.width**3 / self.pass_cost
        return self.n_problems > 1 and passes <= _MOST_GRAM_PASSES

    @cached_property
    def cheapest_hessian(self) -> float:
        """Passes that a new Hessian costs, or its blocks; inf if these are too large."""
        exact, sampled = self._hessian_passes
        return sampled if self.sampling_pays else exact

    @property
    def sampling_pays(self) -> bool:
        """Whether a sample of the rows is enough for a new Hessian, or its blocks."""
        exact, sampled = self._hessian_passes
        return sampled + _SAMPLING_LOSS < exact

    @property
    def whole_hessian(self) -> float:
        """Passes that the whole Hessian costs, from all rows; inf if it is too large."""
        return self._whole[0]

    @property
    def _hessian_passes(self) -> tuple[float, float]:
        """Passes that a Hessian, or its blocks, cost from all rows, and from a sample.

        Drawing the sample takes two passes more, which `_SAMPLING_LOSS` covers.
        """
        return self._whole if self.hessian_is_whole else self._blocks

    @cached_property
    def hessians_are_cheap(self) -> bool:
        """Whether steps with whole Hessians are cheaper than L-BFGS: not where they are large."""
        newton_step = (self.whole_hessian + 1) * self.pass_cost
        replaced = _REPLACED_ITERATIONS * (self.pass_cost + _ITERATION_OVERHEAD)
        return self.factor_pays and newton_step <= replaced

    @cached_property
    def hessian_is_whole(self) -> bool:
        """Whether each problem's Hessian is made as a whole, not class by class."""
        return min(self._whole) <= min(self._blocks) + _BLOCKS_LOSS

    @cached_property
    def _whole(self) -> tuple[float, float]:
        return self._in_passes(self.order, self.hessian_row_cost)

    @cached_property
    def _blocks(self) -> tuple[float, float]:
        return self._in_passes(self.width, weighted_grams_cost(self.n_scores, self.width))

    def _in_passes(self, order: int, row_cost: float) -> tuple[float, float]:
        """Return the passes that blocks of some order cost from all rows, and from a sample.

        inf if they are too large, or the sample is hardly smaller; `row_cost` in multiply-adds.
        """
        n_parameters = self.width * self.n_scores
        if order * n_parameters > self.value_budget:
            return np.inf, np.inf
        row_cost += _VALUE_COST * self.width
        factor_cost = n_parameters * order**2 / 3 + _OVERHEAD
        exact = (self.n * row_cost + factor_cost) / self.pass_cost
        if self.sample_size >= _LARGEST_SAMPLE * self.n:
            return exact, np.inf
        return exact, (self.sample_size * row_cost + factor_cost) / self.pass_cost

    @property
    def sample_size(self) -> int:
        """Number of rows from which a Hessian is estimated, few enough to be kept in memory."""
        return int(min(_ROWS_PER_PARAMETER * self.order, self.value_budget / self.width))

    def block_groups(self) -> list[slice]:
        """Return slices of scores whose blocks are summed together, so that few exist at a time."""
        values, most = self.n_scores * self.width**2, _SUMMED_SHARE * self.value_budget
        count = min(self.n_scores, int(np.ceil(values / most)))
        return slices(self.n_scores, count)


def costs_of(objective: Objective) -> Costs:
    """Return the costs of an objective; its rows keep them."""
    rows, problems, (width, K) = objective.rows, objective.problems, objective.shape

    def make() -> Costs:
        row_cost = objective.link.hessian_cost(K, width)
        sizes = (rows.n, rows.n_values, width, K, problems.count, row_cost)
        return Costs(*sizes, rows.value_budget, rows.is_sparse)

    return rows.kept(("costs", problems, rows.value_budget), make)
