"""What a batch of rows says: the gradient of F, no row overshooting, and the curvature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.blocks import Block
from softreg._rows.targets import Targets
from softreg.solvers.minibatch.curvature import Curvature, Inverse

# A row whose scores a step moves by less than this, in nats, keeps 0.97 of it or more, as the
# residual's slope is 1/4 at most; for all rows together a tenth of the start's loss is time enough.
_HARMLESS, _HARMLESS_TOGETHER = 0.1, 1.0
# Halvings of the interval in which a share lies: to within a thousandth.
_HALVINGS = 10


def gradient_and_curvature(
    objective: Objective, T: NDArray, curvature: Curvature, inverse: Inverse, length: float
) -> tuple[NDArray, Curvature]:
    """Return the gradient of F at T for a step of this length, and curvature like the given one.

    Each row's residual is the one after its own part of the step, not before: an outlier moves
    until it is fitted, never beyond, and a step of length zero has the gradient of F (implicit
    stochastic gradient descent: Toulis and Airoldi 2017, Annals of Statistics 45, 1694-1727).
    """
    rows, link = objective.rows, objective.link
    U, each = rows.block_coefficients(T), 1 / objective.score_weight[:, None]

    def kernel(block: Block) -> tuple[NDArray, ...]:
        Z = block.scores(U)
        P = link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_targets_inplace(R)
        sums = curvature.block_sums(
            block, each * block.weighted(0.5 * (link.curvature_diagonal(P) + R * R))
        )
        reach = length * inverse.score_changes(block, each * block.weighted(R))
        R *= _implicit_shares(objective, block, Z, R, reach)
        return block.gather(block.weighted(R)), *sums

    G, *sums = rows.sum(kernel)
    return objective.gradient(G, T), curvature.batch_curvature(objective, tuple(sums))


def without_overshoot(objective: Objective, T: NDArray, change: NDArray) -> NDArray:
    """Return the change, which is to be taken off T, shortened where the rows together overshoot.

    What each row bears alone, many of one kind may not: of a batch of a single class all go the
    same way. Where half the step takes more than half of the slope along it, the share that is left
    solves the same equation for the sum over the rows, problem by problem.
    """
    rows, link = objective.rows, objective.link
    U, V = rows.block_coefficients(T), rows.block_coefficients(change)
    farthest = rows.maximum(lambda block: np.abs(block.linear_scores(V)).max(axis=1))
    if farthest.max() <= _HARMLESS_TOGETHER:
        return change

    def slope(shares: NDArray) -> NDArray:
        """Return the sum of <residual(z - a d), d> over the rows, (B,)."""
        each = objective.problems.spread(shares)[:, None]

        def kernel(block: Block) -> tuple[NDArray]:
            D = block.linear_scores(V)
            Z = block.scores(U) - each * D
            link.loss_and_residual_inplace(Z, block.Y)
            return ((block.weighted(Z) * D).sum(axis=1, dtype=float),)

        return objective.problems.total(rows.sum(kernel)[0])

    none, whole = np.zeros(objective.problems.count), np.ones(objective.problems.count)
    first = slope(none)
    overshoot = slope(0.5 * whole) < 0.5 * first
    if not overshoot.any():
        return change
    left = _bisected(lambda shares: slope(shares) >= shares * first, whole)
    return change * objective.problems.spread(np.where(overshoot, left, whole))


def _implicit_shares(
    objective: Objective, block: Block, Z: NDArray, R: NDArray, reach: NDArray
) -> NDArray:
    """Return the shares a of the residuals R of scores Z that rows keep, (K, m).

    With `reach` (K, m) how far their own parts of the step move their scores, a solves
    a <r, reach> = <residual(z - a reach), reach>, problem by problem.
    """
    shares = np.ones_like(R)
    far = np.flatnonzero(np.abs(reach).max(axis=0) > _HARMLESS)
    if far.size:
        # contiguous, as Z[:, far] is not
        own = (np.take(values, far, axis=1) for values in (Z, R, reach))
        shares[:, far] = _shares_left(objective, block.Y[far], *own)
    return shares


def _shares_left(
    objective: Objective, Y: Targets, Z: NDArray, R: NDArray, reach: NDArray
) -> NDArray:
    problems, each = objective.problems.count, len(Z) // objective.problems.count

    def along(values: NDArray) -> NDArray:
        """Return the inner product of each row and problem with its reach, for all its scores."""
        sums = (values * reach).reshape(problems, each, -1).sum(axis=1)
        return np.repeat(sums, each, axis=0)

    def short(shares: NDArray) -> NDArray[np.bool_]:
        moved = Z - shares * reach
        objective.link.loss_and_residual_inplace(moved, Y)
        return along(moved) >= shares * first

    first = along(R)
    return _bisected(short, np.ones_like(R))


def _bisected(short: Callable[[NDArray], NDArray[np.bool_]], high: NDArray) -> NDArray:
    """Return the largest values between 0 and `high` that are short, nearly."""
    low = np.zeros_like(high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        there = short(middle)
        low, high = np.where(there, middle, low), np.where(there, high, middle)
    return high
