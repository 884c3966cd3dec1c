"""Kernels of a block: what an objective adds up over the blocks of its rows.

Each is a value, a frozen dataclass of what it needs, so that it can be sent to the process in which
the blocks are. Coefficients U and V are those of `Rows.block_coefficients`; sums go back through
`Rows.working_gradient` and `Rows.working_squares`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.kernels import gram, row_totals, weighted_grams
from softreg._model.links import Link
from softreg._rows.arrays import Coef, PerProblem, PerScore, Scores
from softreg._rows.blocks import Block


@dataclass(frozen=True, eq=False)
class Loss:
    """The losses, (B,)."""

    link: Link
    U: Coef

    def __call__(self, block: Block) -> tuple[PerProblem]:
        """Return the weighted sum over a block."""
        Z = block.scores(self.U)
        return (row_totals(block.weighted(self.link.loss_and_residual_inplace(Z, block.Y))),)


@dataclass(frozen=True, eq=False)
class LossAndGradient:
    """The losses, (B,), and features times residuals."""

    link: Link
    U: Coef

    def __call__(self, block: Block) -> tuple[PerProblem, NDArray]:
        """Return the weighted sums over a block."""
        Z = block.scores(self.U)
        loss = self.link.loss_and_residual_inplace(Z, block.Y)
        return row_totals(block.weighted(loss)), block.gather(block.weighted(Z))


@dataclass(frozen=True, eq=False)
class CurvatureProduct:
    """Features times (Hessian in the scores times the change V' x~ of the scores).

    Attributes
    ----------
    U, V : ndarrays, the coefficients at which the Hessian is, and its factor
    point : hashable, under which blocks keep the probabilities at U
    """

    link: Link
    U: Coef
    V: Coef
    point: Hashable

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P = kept_probabilities(self.link, block, self.U, self.point)
        A = self.link.curvature_product(P, block.linear_scores(self.V))
        return (block.gather(block.weighted(A)),)


@dataclass(frozen=True, eq=False)
class InterceptHessian:
    """The Hessian in the intercepts alone, problem by problem, (B, q, q).

    Its probabilities are those of `CurvatureProduct` at the same point.
    """

    link: Link
    U: Coef
    point: Hashable

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P = kept_probabilities(self.link, block, self.U, self.point)
        return (self.link.hessian(P, np.ones((P.shape[1], 1)), block.weights()),)


@dataclass(frozen=True, eq=False)
class LossHessian:
    """The Hessian of the losses, problem by problem, (B, p, p)."""

    link: Link
    U: Coef

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P = probabilities(self.link, block, self.U)
        return (self.link.hessian(P, block.features(), block.weights()),)


@dataclass(frozen=True, eq=False)
class LossHessianBlocks:
    """The diagonal blocks of the Hessian that belong to some scores, each (width, width)."""

    link: Link
    U: Coef
    scores: slice

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        C = weighted_curvatures(self.link, block, self.U)
        return (weighted_grams(block.features(), C[self.scores]),)


@dataclass(frozen=True, eq=False)
class LossHessianDiagonal:
    """The diagonal of the Hessian, as `Rows.working_squares` takes it."""

    link: Link
    U: Coef

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        return (block.weighted_squares(weighted_curvatures(self.link, block, self.U)),)


@dataclass(frozen=True, eq=False)
class Certificates:
    """What `certify` adds up at T and the step from it, whose coefficients are U and V.

    Losses (B,) and gradient at T + step; divergences (B,) and gradient of the linearised
    probabilities.
    """

    link: Link
    U: Coef
    V: Coef

    def __call__(self, block: Block) -> tuple[PerProblem, NDArray, PerProblem, NDArray]:
        """Return the weighted sums over a block."""
        Z, D = block.scores(self.U), block.linear_scores(self.V)
        Q, divergence = self.link.dual_probabilities(Z, D)
        block.Y.subtract_targets_inplace(Q)
        Z += D
        loss = self.link.loss_and_residual_inplace(Z, block.Y)
        gradient, dual = block.gather(block.weighted(Z)), block.gather(block.weighted(Q))
        loss, divergence = block.weighted(loss), block.weighted(divergence)
        return row_totals(loss), gradient, row_totals(divergence), dual


def weighted_gram(block: Block) -> tuple[NDArray]:
    """Return sum_i s_i x~_i x~_i' over a block, (width, width)."""
    return (gram(block.features(), block.weight),)


@dataclass(frozen=True, eq=False)
class CurvatureTrace:
    """The trace of each row's Hessian in its scores, times its weights / S_k, (m,)."""

    link: Link
    U: Coef
    score_weight: PerScore
    dtype: np.dtype

    def __call__(self, block: Block) -> NDArray:
        """Return the values of a block's rows."""
        C = weighted_curvatures(self.link, block, self.U)
        return ((1 / self.score_weight) @ C).astype(self.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class CurvatureGram:
    """The Hessian's diagonal blocks, added up over the scores, (width, width)."""

    trace: CurvatureTrace

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the sum over a block."""
        return (gram(block.features(), self.trace(block)),)


@dataclass(frozen=True, eq=False)
class RowLeverage:
    """Each row's curvature times ||root' x~||^2: its weight in the Hessian, (m,)."""

    trace: CurvatureTrace
    root: NDArray

    def __call__(self, block: Block) -> NDArray:
        """Return the values of a block's rows."""
        squares = np.square(block.features() @ self.root.astype(self.trace.dtype, copy=False))
        return self.trace(block) * squares.sum(axis=1)


@dataclass(frozen=True, eq=False)
class LargestMove:
    """The largest change of each score among rows with weight, for a step V, (K,)."""

    V: Coef

    def __call__(self, block: Block) -> PerScore:
        """Return the largest of a block."""
        moves = np.abs(block.linear_scores(self.V))
        has_weight = block.weighted(np.ones_like(moves)) > 0
        return moves.max(axis=1, where=has_weight, initial=0)


def probabilities(link: Link, block: Block, U: Coef) -> Scores:
    """Return the probabilities P (K, m) of a block's rows."""
    return link.probabilities_inplace(block.scores(U))


def kept_probabilities(link: Link, block: Block, U: Coef, point: Hashable) -> Scores:
    """Return the probabilities P (K, m), from an earlier pass at the same point if kept."""
    return block.kept(point, lambda: probabilities(link, block, U))


def weighted_curvatures(link: Link, block: Block, U: Coef) -> Scores:
    """Return the weighted diagonals of the rows' Hessians in their scores, (K, m)."""
    return block.weighted(link.curvature_diagonal(probabilities(link, block, U)))
