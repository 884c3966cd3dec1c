"""The gradient and curvature of a batch, for steps that neither a row nor the batch overshoots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import LargestMove
from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerScore, Scores
from softreg._rows.blocks import Block
from softreg._rows.targets import Targets
from softreg.solvers.minibatch.curvature import Curvature, Inverse

# A row whose scores move by no more than this, in nats, keeps 0.97 of its residual or more, as the
# residual's slope is 1/4 at most: its equation need not be solved.
_NEGLIGIBLE_ROW_STEP = 0.1
# Where no score moves by more than this, all rows together are not tested for overshooting: a tenth
# of the loss at the start is corrected soon enough by later batches.
_NEGLIGIBLE_BATCH_STEP = 1.0
# Halvings of the interval [0, 1] in which a share lies: to within a thousandth.
_HALVINGS = 10


def gradient_and_curvature(
    objective: Objective, T: Coef, curvature: Curvature, inverse: Inverse, length: PerScore | float
) -> tuple[NDArray, Curvature]:
    """Return the gradient (width, K) for a step from T, and the curvature of the batch at T.

    The step is `length` (K,) times the natural gradient, and each row's residual is taken after the
    row's own part of it, not before (implicit stochastic gradient descent: Toulis and Airoldi 2017,
    Annals of Statistics 45, 1694-1727): an outlier moves until it is fitted, never beyond. For a
    step of length zero this is the gradient of F. The curvature is of the given one's kind.
    """
    rows = objective.rows
    kernel = _GradientAndCurvatureSums(
        link=objective.link,
        U=rows.block_coefficients(T),
        inverse_weight=1 / objective.score_weight[:, None],
        curvature=curvature,
        inverse=inverse,
        length=np.reshape(length, (-1, 1)),
    )
    G, *sums = rows.sum(kernel)
    return objective.gradient(G, T), curvature.batch_curvature(objective, sums)


@dataclass(frozen=True, eq=False)
class _GradientAndCurvatureSums:
    """For a block: sum_i w_i x~_i r_i' (width, K), r_i implicit, and the curvature's `block_sums`.

    Attributes
    ----------
    link : Link
    U : ndarray, `Rows.block_coefficients` of T
    inverse_weight : ndarray (K, 1), 1 / S_k
    curvature : Curvature, whose `block_sums` are taken
    inverse : Inverse
    length : ndarray (K, 1) or (1, 1), of the step, in natural gradients
    """

    link: Link
    U: Coef
    inverse_weight: NDArray[np.float64]
    curvature: Curvature
    inverse: Inverse
    length: NDArray[np.float64]

    def __call__(self, block: Block) -> tuple[NDArray, ...]:
        Z = block.scores(self.U)
        P = self.link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_targets_inplace(R)
        expected_and_observed = 0.5 * (self.link.curvature_diagonal(P) + R * R)
        sums = self.curvature.block_sums(
            block, self.inverse_weight * block.weighted(expected_and_observed)
        )
        gradients = self.inverse_weight * block.weighted(R)
        score_steps = self.length * self.inverse.score_changes(block, gradients)
        R *= _implicit_shares(self.link, block.Y, Z, R, score_steps)
        return block.gather(block.weighted(R)), *sums


def without_overshoot(objective: Objective, T: Coef, change: Coef) -> NDArray:
    """Return `change` (width, K), to be subtracted from T, shortened where the batch overshoots.

    Steps that suit each row alone may add up to too much: in a batch of a single class all rows
    point the same way. A problem overshoots if half the step takes more than half of the slope of
    its loss along the step. Its step is then multiplied by the share a that solves the equation of
    implicit steps for the sum over the rows: slope(a) = a slope(0).
    """
    rows = objective.rows
    U, V = rows.block_coefficients(T), rows.block_coefficients(change)
    if rows.maximum(LargestMove(V)).max() <= _NEGLIGIBLE_BATCH_STEP:
        return change

    def slope(shares: NDArray) -> NDArray:
        """Return the slope of each problem's loss after a share (B,) of the step, (B,)."""
        score_shares = objective.problems.spread(shares)[:, None]
        return objective.problems.total(rows.sum(_Slopes(objective.link, U, V, score_shares))[0])

    zeros, ones = np.zeros(objective.problems.count), np.ones(objective.problems.count)
    first = slope(zeros)
    overshoots = slope(0.5 * ones) < 0.5 * first
    if not overshoots.any():
        return change
    root = _bisected(lambda shares: slope(shares) >= shares * first, ones)
    return change * objective.problems.spread(np.where(overshoots, root, ones))


@dataclass(frozen=True, eq=False)
class _Slopes:
    """For a block: sum_i w_i r_ik(z_i - a d_i) d_ik, (K,), the slope of the loss along d.

    Attributes
    ----------
    link : Link
    U, V : ndarray, `Rows.block_coefficients` of T and of the change, which moves scores z by d
    shares : ndarray (K, 1), a
    """

    link: Link
    U: Coef
    V: Coef
    shares: NDArray[np.float64]

    def __call__(self, block: Block) -> tuple[NDArray]:
        D = block.linear_scores(self.V)
        Z = block.scores(self.U) - self.shares * D
        self.link.loss_and_residual_inplace(Z, block.Y)
        return ((block.weighted(Z) * D).sum(axis=1, dtype=float),)


def _implicit_shares(link: Link, Y: Targets, Z: Scores, R: Scores, D: NDArray) -> NDArray:
    """Return the shares a (K, m) of the residuals R at scores Z that remain after steps a D.

    All arrays are (K, m). The share of a row and problem solves
    ``a <r, d> = <residual(z - a d), d>``, inner products being those of the problem's scores.
    """
    shares = np.ones_like(R)
    rows = np.flatnonzero(np.abs(D).max(axis=0) > _NEGLIGIBLE_ROW_STEP)
    if rows.size:
        # contiguous, as Z[:, rows] is not
        of_rows = (np.take(values, rows, axis=1) for values in (Z, R, D))
        shares[:, rows] = _solved_shares(link, Y[rows], *of_rows)
    return shares


def _solved_shares(link: Link, Y: Targets, Z: Scores, R: Scores, D: NDArray) -> NDArray:
    """Return the shares of `_implicit_shares` by bisection in all rows and problems at once."""
    n_problems = link.problems(len(Z))
    n_scores = len(Z) // n_problems

    def inner_with_D(values: NDArray) -> NDArray:
        """Return the inner products with D, repeated for all scores of a problem, (K, m)."""
        sums = (values * D).reshape(n_problems, n_scores, -1).sum(axis=1)
        return np.repeat(sums, n_scores, axis=0)

    def is_below_root(shares: NDArray) -> NDArray[np.bool_]:
        moved = Z - shares * D
        link.loss_and_residual_inplace(moved, Y)
        return inner_with_D(moved) >= shares * first

    first = inner_with_D(R)
    return _bisected(is_below_root, np.ones_like(R))


def _bisected(is_below_root: Callable[[NDArray], NDArray[np.bool_]], upper: NDArray) -> NDArray:
    """Return, elementwise, a root in [0, upper], rounded up by less than 2^-10 of `upper`."""
    lower = np.zeros_like(upper)
    for _ in range(_HALVINGS):
        middle = 0.5 * (lower + upper)
        is_below = is_below_root(middle)
        lower, upper = np.where(is_below, middle, lower), np.where(is_below, upper, middle)
    return upper
