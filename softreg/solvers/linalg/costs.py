"""Costs of metrics, counted in passes over the data, and the values that they may take."""

from __future__ import annotations

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


def factor_pays(objective: Objective) -> bool:
    """Return whether the Gram matrix is small and cheap enough to factor.

    Columns that are mostly zeros overlap so little that their Gram matrix says hardly more than the
    Hessian's diagonal, which follows the curvature: there it serves only on the way to a Hessian.
    """
    width, rows = objective.shape[0], objective.rows
    passes = rows.n * width**2 / 2 / pass_cost(objective)
    useful = not rows.is_sparse or cheapest_hessian(objective) <= DEAREST_GRAM
    return width**2 <= rows.value_budget and passes <= DEAREST_GRAM and useful


def cheapest_hessian(objective: Objective) -> float:
    """Return the cost of a new Hessian, or its blocks, in passes; inf if they are too large."""
    return min(hessian_passes(objective))


def is_whole(objective: Objective) -> bool:
    """Return whether each problem's Hessian is made as a whole, not class by class."""
    whole, blocks = _whole_passes(objective), _block_passes(objective)
    return min(whole) <= min(blocks) + _BLOCKS_LOSS


def hessian_passes(objective: Objective) -> tuple[float, float]:
    """Return the costs of the exact and of the sampled Hessian, or its blocks, in passes.

    Drawing the sample takes two passes more, which `SAMPLING_LOSS` covers.
    """
    return _whole_passes(objective) if is_whole(objective) else _block_passes(objective)


def _whole_passes(objective: Objective) -> tuple[float, float]:
    width, K = objective.shape
    return _passes(objective, _order(objective), objective.link.hessian_cost(K, width))


def _block_passes(objective: Objective) -> tuple[float, float]:
    width, K = objective.shape
    return _passes(objective, width, K * width * (width + 10))


def _passes(objective: Objective, order: int, a_row: float) -> tuple[float, float]:
    """Return the costs of blocks of some order, exact and sampled, in passes; inf if too large."""
    width, K = objective.shape
    if order * width * K > objective.rows.value_budget:
        return np.inf, np.inf
    a_row += _VALUE * width
    factor = width * K * order**2 / 3 + _OVERHEAD
    exact = (objective.rows.n * a_row + factor) / pass_cost(objective)
    size = sample_size(objective)
    if size >= 0.7 * objective.rows.n:
        return exact, np.inf
    return exact, (size * a_row + factor) / pass_cost(objective)


def block_groups(objective: Objective) -> list[slice]:
    """Return slices of scores whose blocks are summed together, so that few exist at a time."""
    width, K = objective.shape
    count = min(K, int(np.ceil(_SUMMED_AT_ONCE * K * width**2 / objective.rows.value_budget)))
    return slices(K, count)


def sample_size(objective: Objective) -> int:
    """Return the number of rows from which a Hessian is estimated; these are kept in memory."""
    enough = ROWS_PER_PARAMETER * _order(objective)
    return int(min(enough, objective.rows.value_budget / objective.shape[0]))


# Costs are counted in multiply-adds at the speed of a large matrix product, 22 a nanosecond
# (measured): a value from memory costs 18, a thin product's a little over one, the exp, sum and
# division of a score 100, and the Python around a block as much as 1.5 million.
_VALUE, _SCORE, _OVERHEAD = 18.0, 100.0, 1.5e6


def pass_cost(objective: Objective) -> float:
    """Return the cost of value and gradient, in multiply-adds."""
    rows, K = objective.rows, objective.shape[1]
    return _VALUE * rows.n_values + K * (2.5 * rows.n_values + _SCORE * rows.n) + _OVERHEAD


def _order(objective: Objective) -> int:
    """Return the order of each problem's Hessian."""
    width, K = objective.shape
    return width * K // objective.problems.count
