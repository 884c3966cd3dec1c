"""Kernels of a block: what an objective adds up over the blocks of its rows.

Each is a value, a frozen dataclass of what it needs, so that it can be sent to the process in which
the blocks are. Coefficients U and V (width, K) are those of `Rows.block_coefficients`; of sums over
x~_i below, blocks make those that `Rows.working_gradient` and `Rows.working_squares` take. s_i
stands for a row's weight in each problem.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._model.kernels import feature_pairs, gram, weighted_grams
from softreg._model.links import Link
from softreg._rows.arrays import Coef, PerProblem, PerRow, PerScore, Places, RowLosses, Scores
from softreg._rows.base import slices
from softreg._rows.blocks import Block

# 2 MB of doubles at a time.
_VALUES_AT_ONCE = 2**18


@dataclass(frozen=True, eq=False)
class PointKernel:
    """A kernel at coefficients U (width, K)."""

    link: Link
    U: Coef

    def probabilities(self, block: Block) -> Scores:
        """Return the probabilities P (K, m) of a block's rows."""
        return self.link.probabilities_inplace(block.scores(self.U))

    def residuals(self, block: Block) -> NDArray:
        """Return the residuals p - y of a block's rows, problem by problem, (B, q, m)."""
        R = self.probabilities(block)
        block.Y.subtract_targets_inplace(R)
        return R.reshape(self.link.problems(len(R)), -1, R.shape[1])

    def weighted_curvatures(self, block: Block) -> Scores:
        """Return s_ik p_ik (1 - p_ik), (K, m)."""
        return block.weighted(self.link.curvature_diagonal(self.probabilities(block)))


class Loss(PointKernel):
    """sum_i s_i loss_i, (B,)."""

    def __call__(self, block: Block) -> tuple[PerProblem]:
        """Return the weighted sum over a block."""
        Z = block.scores(self.U)
        return (weighted_totals(block, self.link.loss_and_residual_inplace(Z, block.Y)),)


class LossAndGradient(PointKernel):
    """sum_i s_i loss_i, (B,), and sum_i s_i x~_i r_i', (width, K), of residuals r = p - y."""

    def __call__(self, block: Block) -> tuple[PerProblem, Coef]:
        """Return the weighted sums over a block."""
        Z = block.scores(self.U)
        loss = self.link.loss_and_residual_inplace(Z, block.Y)
        return weighted_totals(block, loss), block.gather(block.weighted(Z))


@dataclass(frozen=True, eq=False)
class CurvatureProduct(PointKernel):
    """sum_i s_i x~_i (H_i V' x~_i)', (width, K), H_i being the Hessian of a row in its scores.

    Attributes
    ----------
    V : ndarray (width, K), what they are multiplied by
    point_key : hashable, the key under which blocks keep the probabilities at U
    """

    V: Coef
    point_key: Hashable

    def __call__(self, block: Block) -> tuple[Coef]:
        """Return the weighted sum over a block."""
        P = block.kept(self.point_key, partial(self.probabilities, block))
        A = self.link.curvature_product(P, block.linear_scores(self.V))
        return (block.gather(block.weighted(A)),)


@dataclass(frozen=True, eq=False)
class InterceptHessian(PointKernel):
    """sum_i s_i H_i, problem by problem, (B, K / B, K / B): the Hessian in the intercepts.

    It shares the probabilities of `CurvatureProduct` with the same `point_key`.
    """

    point_key: Hashable

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P = block.kept(self.point_key, partial(self.probabilities, block))
        return (self.link.hessian(P, np.ones((P.shape[1], 1), like=P), block.weights()),)


@dataclass(frozen=True, eq=False)
class BasisKernel(PointKernel):
    """A kernel of features x~, or of basis' x~.

    Attributes
    ----------
    basis : ndarray (width, width) or None
    """

    basis: Coef | None = field(default=None, kw_only=True)

    def features(self, block: Block) -> NDArray:
        """Return the features of a block's rows, (m, width)."""
        X = block.features()
        return X if self.basis is None else X @ self.basis


class LossHessian(BasisKernel):
    """sum_i s_i H_i (x) x~_i x~_i', problem by problem, (B, p, p), p = width K / B."""

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P, X = self.probabilities(block), self.features(block)
        pairs = None
        if block.feature_store is not None and self.basis is None:
            pairs = partial(block.feature_store.kept, "feature pairs", partial(feature_pairs, X))
        return (self.link.hessian(P, X, block.weights(), pairs),)


@dataclass(frozen=True, eq=False)
class GradientProducts(BasisKernel):
    """sum_i s_i^power g_i g_i', problem by problem, (B, p, p), with g_i = r_i (x) x~_i.

    That is the gradient of a row's loss in the coefficients, score after score.

    Attributes
    ----------
    power : int, 1 where a weight counts rows, 2 where it is a factor of the row's loss
    """

    power: int

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        R, X = self.residuals(block), self.features(block)
        B, p = len(R), R.shape[1] * X.shape[1]
        weights = np.broadcast_to(block.weights(), (B, len(X))) ** self.power
        total = np.zeros((B, p, p))
        for b, cut in product(range(B), _cuts(len(X), p)):
            G = _row_gradients(R[b][:, cut], X[cut])
            total[b] += (G * weights[b, cut]) @ G.T
        return (total,)


@dataclass(frozen=True, eq=False)
class GroupGradients(BasisKernel):
    """sum_(i in g) s_i g_i for each group of rows, problem by problem, (B, p, groups).

    Attributes
    ----------
    groups : ndarray (n,), the number of each row's group, from 0 to count - 1
    count : int
    """

    groups: NDArray[np.intp]
    count: int

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sums over a block."""
        R, X = self.residuals(block), self.features(block)
        B, p = len(R), R.shape[1] * X.shape[1]
        weights, group = np.broadcast_to(block.weights(), (B, len(X))), self.groups[block.start :]
        total = np.zeros((B, p, self.count))
        for b, cut in product(range(B), _cuts(len(X), p)):
            G = _row_gradients(R[b][:, cut] * weights[b, cut], X[cut])
            found, places = np.unique(group[cut], return_inverse=True)
            members = np.arange(len(places)), places
            total[b][:, found] += G @ sparse.csr_array((np.ones(len(places)), members))
        return (total,)


@dataclass(frozen=True, eq=False)
class GroupRows:
    """How many rows of each group have weight, problem by problem, (B, groups).

    Of problems that weigh all rows alike one row for all, (1, groups).

    Attributes
    ----------
    groups, count : as in `GroupGradients`
    """

    groups: NDArray[np.intp]
    count: int

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the numbers of a block."""
        weights = np.atleast_2d(block.weights())
        group = self.groups[block.start :][: weights.shape[1]]
        return (np.array([np.bincount(group, of != 0, self.count) for of in weights]),)


def _row_gradients(R: Scores, X: NDArray) -> NDArray:
    """Return r_i (x) x~_i, (q width, m), of residuals (q, m) and rows (m, width)."""
    return (R[:, None] * X.T).reshape(-1, len(X))


def _cuts(m: int, p: int) -> list[slice]:
    """Return slices of m rows, so small that their gradients, of p values, stay in a cache."""
    return slices(m, -(-m * p // _VALUES_AT_ONCE))


@dataclass(frozen=True, eq=False)
class CoordinateHessian(PointKernel):
    """sum_i s_i H_i[k, l] x~_ij x~_ir over some coefficients (j, k), (r, l) of a problem, (q, q).

    Attributes
    ----------
    features, scores : ndarrays (q,), scores ascending; the intercept's place is after all features
    whole : bool, whether all scores' products of the columns are made, of which some are taken
    """

    features: Places
    scores: Places
    whole: bool

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        P, features, scores = self.probabilities(block), self.features, self.scores
        if self.whole:
            columns, at = np.unique(features, return_inverse=True)
            X = block.columns(columns[columns < len(block.coordinates.centre)])
            at = at + X.shape[1] * scores
            H = self.link.hessian(P, X, block.weights())[0]
            return (H.take(at, axis=0).take(at, axis=1),)
        H = np.zeros((len(features), len(features)))
        roots = np.sqrt(block.weights())
        if self.link.exclusive:
            H -= block.coordinate_products(P * roots, features, scores)
        curvature = np.sqrt(self.link.curvature_diagonal(P)) * roots
        for k in np.unique(scores):
            at = np.flatnonzero(scores == k)
            # Apart, as p - p^2 would cancel.
            H[np.ix_(at, at)] = block.coordinate_products(curvature, features[at], scores[at])
        return (H,)


@dataclass(frozen=True, eq=False)
class LossHessianBlocks(PointKernel):
    """sum_i s_i p_ik (1 - p_ik) x~_i x~_i' of some scores k, (scores, width, width)."""

    scores: slice

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        C = self.weighted_curvatures(block)
        return (weighted_grams(block.features(), C[self.scores]),)


class LossHessianDiagonal(PointKernel):
    """sum_i s_i p_ik (1 - p_ik) x~_i^2, (width, K): the diagonal of the Hessian."""

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the weighted sum over a block."""
        return (block.weighted_squares(self.weighted_curvatures(block)),)


@dataclass(frozen=True, eq=False)
class CertificateSums(PointKernel):
    """The sums of `certify`, at coefficients U and after a step V from them.

    At U + V: sum_i s_i loss_i, (B,), and sum_i s_i x~_i r_i', (width, K). Of the probabilities q
    linearised along V: sum_i s_i KL(q_i || p_i(U + V)), (B,), and sum_i s_i x~_i (q_i - y_i)'.
    """

    V: Coef

    def __call__(self, block: Block) -> tuple[PerProblem, Coef, PerProblem, Coef]:
        """Return the weighted sums over a block."""
        Z, D = block.scores(self.U), block.linear_scores(self.V)
        Q, divergence = self.link.dual_probabilities(Z, D)
        block.Y.subtract_targets_inplace(Q)
        Z += D
        loss = self.link.loss_and_residual_inplace(Z, block.Y)
        gradient, dual = block.gather(block.weighted(Z)), block.gather(block.weighted(Q))
        return weighted_totals(block, loss), gradient, weighted_totals(block, divergence), dual


@dataclass(frozen=True, eq=False)
class CertificateSumsAlong(PointKernel):
    """The sums of `CertificateSums`, q being linearised by the Hessian at other coefficients.

    Attributes
    ----------
    V : ndarray (width, K), the step from U
    metric_U : ndarray (width, K), where the rows' Hessians H_i are taken: q = p(U) + H_i V' x~_i
    point_key : hashable, the key under which blocks keep the probabilities there
    """

    V: Coef
    metric_U: Coef
    point_key: Hashable

    def __call__(self, block: Block) -> tuple[PerProblem, Coef, PerProblem, Coef]:
        """Return the weighted sums over a block."""
        metric = PointKernel(self.link, self.metric_U)
        P = block.kept(self.point_key, partial(metric.probabilities, block))
        Z, D = block.scores(self.U), block.linear_scores(self.V)
        change = self.link.curvature_product(P, D)
        D += Z
        P_before = self.link.probabilities_inplace(Z)
        Q, divergence = self.link.dual_probabilities_along(P_before, change, D)
        block.Y.subtract_targets_inplace(Q)
        loss = self.link.loss_and_residual_inplace(D, block.Y)
        # Both in one product, which reads X once.
        both = block.gather(np.concatenate([block.weighted(D), block.weighted(Q)]))
        gradient, dual = both[:, : len(D)], both[:, len(D) :]
        return weighted_totals(block, loss), gradient, weighted_totals(block, divergence), dual


def gram_sum(block: Block) -> tuple[NDArray]:
    """Return sum_i s_i x~_i x~_i' over a block, (width, width), s_i being the row weights."""
    return (gram(block.features(), block.weight),)


def problem_gram_sum(block: Block) -> tuple[NDArray]:
    """Return sum_i s_i x~_i x~_i' over a block, problem by problem, (B, width, width).

    Of problems that weigh all rows alike one matrix for all, (1, width, width).
    """
    return (weighted_grams(block.features(), np.atleast_2d(block.weights())),)


@dataclass(frozen=True, eq=False)
class CurvatureTrace(PointKernel):
    """sum_k s_ik p_ik (1 - p_ik) / S_k, the weighted trace of H_i, for each row, (m,)."""

    score_weight: PerScore

    def __call__(self, block: Block) -> PerRow:
        """Return the values of a block's rows."""
        C = self.weighted_curvatures(block)
        return ((1 / self.score_weight) @ C).astype(block.X.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class CurvatureGram:
    """sum_ik s_ik p_ik (1 - p_ik) / S_k x~_i x~_i', (width, width), over rows and scores."""

    trace: CurvatureTrace

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the sum over a block."""
        return (gram(block.features(), self.trace(block)),)


@dataclass(frozen=True, eq=False)
class RowLeverage:
    """The trace of H_i times ||root' x~_i||^2, for each row, (m,): what it adds to the Hessian.

    Attributes
    ----------
    trace : CurvatureTrace
    root : ndarray (width, r), whose product with its transpose is the inverse of a metric
    """

    trace: CurvatureTrace
    root: NDArray

    def __call__(self, block: Block) -> PerRow:
        """Return the values of a block's rows."""
        squares = np.square(block.features() @ self.root.astype(block.X.dtype, copy=False))
        return self.trace(block) * squares.sum(axis=1)


@dataclass(frozen=True, eq=False)
class LargestLeverage:
    """max_i ||roots_b' x~_i||^2 over the rows that weigh in problem b, (B,).

    Attributes
    ----------
    roots : ndarray (B, width, r)
    """

    roots: NDArray

    def __call__(self, block: Block) -> PerProblem:
        """Return the largest values in a block."""
        X, weighs = block.features(), block.weights() > 0
        squares = np.stack([np.square(X @ root).sum(axis=1) for root in self.roots])
        return squares.max(axis=1, where=weighs, initial=0)


@dataclass(frozen=True, eq=False)
class GramProduct:
    """sum_i s_i x~_i x~_i' V, (width, r), s_i being the row weights.

    Attributes
    ----------
    V : ndarray (width, r)
    """

    V: NDArray

    def __call__(self, block: Block) -> tuple[NDArray]:
        """Return the sum over a block."""
        X = block.features()
        moves = X @ self.V
        if block.weight is not None:
            moves *= block.weight[:, None]
        return (X.T @ moves,)


@dataclass(frozen=True, eq=False)
class LargestRemainder:
    """max_i |sum_j x~_ij V_jr| / sum_j (|x~_ij| + distance_j) |V_jr|, (r,).

    Zero, but for the rounding of the raw columns, where V_r moves no score.

    Attributes
    ----------
    V : ndarray (width, r)
    distance : ndarray (width,), how far each column's centre is from zero, in scales
    """

    V: NDArray
    distance: NDArray

    def __call__(self, block: Block) -> NDArray:
        """Return the largest remainders in a block: 0 where all terms are."""
        X = block.features()
        sizes = (np.abs(X) + self.distance) @ np.abs(self.V)
        remainders = np.zeros_like(sizes)
        np.divide(np.abs(X @ self.V), sizes, out=remainders, where=sizes > 0)
        return remainders.max(axis=0, initial=0)


@dataclass(frozen=True, eq=False)
class LargestMove:
    """The largest change of each score among rows with weight, by a step V, (K,)."""

    V: Coef

    def __call__(self, block: Block) -> PerScore:
        """Return the largest changes in a block."""
        moves = np.abs(block.linear_scores(self.V))
        has_weight = block.weighted(np.ones_like(moves)) > 0  # also where problems differ in it
        return moves.max(axis=1, where=has_weight, initial=0)


def weighted_totals(block: Block, values: RowLosses) -> PerProblem:
    """Return the weighted sums over a block's rows of values (B, m), in double precision, (B,)."""
    return block.weighted(values).sum(axis=1, dtype=float)
