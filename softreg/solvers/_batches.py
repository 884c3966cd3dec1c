"""What a batch of rows says: the gradient of F, no row overshooting, and the curvature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._objective import Objective
from softreg._targets import Targets
from softreg.solvers._kronecker import Curvature, Preconditioner, in_full

# A row whose scores a step moves by less than this, in nats, cannot overshoot.
_HARMLESS = 0.1
# The same for what the rows of a batch do together, in their farthest score.
_HARMLESS_TOGETHER = 1.0
# Halvings of the interval in which a row's share lies.
_HALVINGS = 10


def gradient_and_curvature(
    objective: Objective, T: NDArray, preconditioner: Preconditioner, length: float
) -> tuple[NDArray, Curvature]:
    """Return the gradient of F at T for a step of this length, and the Hessian's factors.

    Each row's residual is the one after its own part of the step, not before: an outlier moves
    until it is fitted, never beyond, and a step of length zero has the gradient of F (implicit
    stochastic gradient descent: Toulis and Airoldi 2017, Annals of Statistics 45, 1694-1727).
    """
    rows, link = objective.rows, objective.link
    U, each = rows.inward(T), 1 / objective.score_weight

    def kernel(block: Block) -> tuple[NDArray, NDArray, NDArray]:
        Z = block.scores(U)
        P = link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_from_inplace(R)
        own = each @ block.weighted(0.5 * (link.curvature_diagonal(P) + R * R))
        moments = _second_moments(block, own, in_full(objective))
        between = link.information(P, R, block.weights())
        reach = length * preconditioner.moves(block, block.weighted(R) * each[:, None])
        R *= _implicit_shares(objective, block, Z, R, reach)
        return block.gather(block.weighted(R)), moments, between

    G, moments, between = rows.sum(kernel)
    features = moments if in_full(objective) else rows.outward_squares(moments)[:, 0]
    scores = between * (each if between.ndim == 1 else np.sqrt(np.outer(each, each)))
    return objective.gradient(G, T), Curvature(features, scores)


def steadied(objective: Objective, T: NDArray, change: NDArray) -> NDArray:
    """Return a step -change from T, shortened where the rows of the batch together overshoot.

    What each row bears alone, many of one kind may not: of a batch of a single class all go the
    same way. Where half the step takes more than half of the slope along it, the share that is left
    solves the same equation for the sum over the rows, problem by problem.
    """
    rows, link = objective.rows, objective.link
    U, V = rows.inward(T), rows.inward(change)
    farthest = rows.greatest(lambda block: np.abs(block.linear(V)).max(axis=1))
    if farthest.max() <= _HARMLESS_TOGETHER:
        return change

    def slope(shares: NDArray) -> NDArray:
        """Return the sum of <residual(z - a d), d> over the rows, (B,)."""
        each = objective.by_score(shares)[:, None]

        def kernel(block: Block) -> tuple[NDArray]:
            D = block.linear(V)
            Z = block.scores(U) - each * D
            link.loss_and_residual_inplace(Z, block.Y)
            return ((block.weighted(Z) * D).sum(axis=1, dtype=float),)

        return objective.by_problem(rows.sum(kernel)[0])

    low, high = np.zeros(objective.problems), np.ones(objective.problems)
    first = slope(low)
    low = np.where(slope(0.5 * high) >= 0.5 * first, high, low)
    for _ in range(_HALVINGS if (low < high).any() else 0):
        middle = 0.5 * (low + high)
        short = slope(middle) >= middle * first
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return change * objective.by_score(low)


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
        shares[:, far] = _bisected(objective, block.Y[far], *own)
    return shares


def _bisected(objective: Objective, Y: Targets, Z: NDArray, R: NDArray, reach: NDArray) -> NDArray:
    problems, each = objective.problems, len(Z) // objective.problems

    def along(values: NDArray) -> NDArray:
        """Return the inner product of each row and problem with its reach, for all its scores."""
        sums = (values * reach).reshape(problems, each, -1).sum(axis=1)
        return np.repeat(sums, each, axis=0)

    first, low, high = along(R), np.zeros_like(R), np.ones_like(R)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        moved = Z - middle * reach
        objective.link.loss_and_residual_inplace(moved, Y)
        beyond = along(moved) > middle * first
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    return high


def _second_moments(block: Block, weight: NDArray, full: bool) -> NDArray:
    """Return sum_i w_i x~_i x~_i', or what `Rows.outward_squares` makes its diagonal of."""
    if not full:
        return block.squares(weight[None])
    X = block.dense()
    return (X.T @ (X * weight.astype(X.dtype)[:, None])).astype(float)
