"""The mean Hessian that mini-batches estimate, and its inverse, which preconditions their steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.kernels import weighted_grams
from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._rows.arrays import Coef, Counts, PerScore, Scores
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg.solvers.linalg.factors import JointEigenbasis, cholesky

# Each score's curvature is raised by this share of the mean over the scores: a class that is rare,
# or nearly always told apart from the others, has hardly any curvature, and steps divided by that
# little would have no bound (measured).
_CURVATURE_FLOOR = 0.02
_TINY = np.finfo(float).tiny


class Inverse(Protocol):
    """The inverse of a curvature plus the penalty."""

    @property
    def effective_features(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""

    def natural_gradient(self, G: Coef) -> NDArray:
        """Return the inverse times a gradient G, (width, K)."""

    def score_changes(self, block: Block, R: Scores) -> NDArray:
        """Return how much row i's scores change if T changes by the inverse of x~_i r_i', (K, m).

        R (K, m) holds the r_i of the block's rows.
        """


class Curvature(Protocol):
    """The mean Hessian of the rows seen so far, in which later rows count more.

    Score by score, a row's Hessian is taken as the mean of the expected one, p (1 - p) x~ x~', and
    the observed one, r^2 x~ x~', with r = p - y: where p is next to 0 or 1, only the residual shows
    that a row is fitted badly. ``row_curvature`` (K, m) are the factors of x~ x~' of a block's
    rows: (p (1 - p) + r^2) / 2 times the row's weight / S_k.
    """

    @property
    def mean_moments(self) -> NDArray[np.float64]:
        """The features' second moments, averaged over the scores, (width, width) or (width,)."""

    def block_sums(self, block: Block, row_curvature: NDArray) -> tuple[NDArray, ...]:
        """Return a block's share of the sums over rows that `batch_curvature` takes."""

    def batch_curvature(self, objective: Objective, sums: Sequence[NDArray]) -> Self:
        """Return the curvature of a batch, whose objective this is, given its sums."""

    def averaged_with(self, batch: Self, weight: PerScore) -> Self:
        """Return (1 - weight) times this curvature plus `weight` (K,) times that of a batch."""

    def in_coordinates(self, change: Coordinates) -> Self:
        """Return the curvature in new coordinates, given in terms of the present ones."""

    def inverse_with_penalty(self, objective: Objective, n_rows: Counts) -> Inverse:
        """Return the inverse of the curvature, known from `n_rows` (K,) rows, plus the penalty.

        The fewer the rows, the nearer the features' second moments are brought to the identity.
        """


def _data_share(n_rows: Counts, width: int) -> PerScore | float:
    """Return the weight of second moments of `n_rows` rows beside the identity, in [0, 1)."""
    return n_rows / (n_rows + width)


def _curvature_at_zero(objective: Objective) -> NDArray:
    """Return p (1 - p) / 2 at coefficients zero, (K,)."""
    P = objective.link.probabilities_inplace(np.zeros((objective.shape[1], 1)))
    return 0.5 * objective.link.curvature_diagonal(P)[:, 0]


# Rows whose curvature is less than this share of the mean over the rows are left out of a score's
# block: together they are less than a thousandth of it.
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True, eq=False)
class ClassBlocks:
    """A block of second moments for each score, in which rows weigh their curvature in that score.

    Attributes
    ----------
    blocks : ndarray (K, width, width), sum_i c_ik x~_i x~_i' with `row_curvature` c
    """

    blocks: NDArray[np.float64]

    @property
    def score_curvature(self) -> NDArray[np.float64]:
        """The mean of each block's diagonal, (K,)."""
        return np.trace(self.blocks, axis1=1, axis2=2) / self.blocks.shape[1]

    @property
    def mean_moments(self) -> NDArray[np.float64]:
        return self.blocks.sum(axis=0) / max(self.score_curvature.sum(), _TINY)

    @classmethod
    def at_zero_coefficients(cls, objective: Objective) -> ClassBlocks:
        """Return the curvature at T = 0 of features whose second moments are the identity."""
        return cls(_curvature_at_zero(objective)[:, None, None] * np.eye(objective.shape[0]))

    def block_sums(self, block: Block, row_curvature: NDArray) -> tuple[NDArray]:
        X, sums = block.features(), np.zeros(self.blocks.shape)
        for k, curvature in enumerate(row_curvature):
            rows = np.flatnonzero(curvature > _NEGLIGIBLE * curvature.mean())
            sums[k] += weighted_grams(X[rows], curvature[None, rows])[0]
        return (sums,)

    def batch_curvature(self, objective: Objective, sums: Sequence[NDArray]) -> ClassBlocks:
        return ClassBlocks(sums[0])

    def averaged_with(self, batch: ClassBlocks, weight: PerScore) -> ClassBlocks:
        return ClassBlocks(self.blocks + weight[:, None, None] * (batch.blocks - self.blocks))

    def in_coordinates(self, change: Coordinates) -> ClassBlocks:
        L = change.matrix()
        return ClassBlocks(L @ self.blocks @ L.T)

    def inverse_with_penalty(self, objective: Objective, n_rows: Counts) -> ClassInverse:
        width = objective.shape[0]
        curvature, share = self.score_curvature, np.reshape(_data_share(n_rows, width), (-1, 1, 1))
        floor = _CURVATURE_FLOOR * curvature.mean()
        # blocks are raised by a block of mean diagonal `floor`, proportional to their sum
        total = max(curvature.sum(), _TINY)
        H = share * (self.blocks + floor * self.blocks.sum(axis=0) / total)
        strength = np.broadcast_to(objective.penalty.ridge, objective.shape).T
        diagonal = np.einsum("kjj->kj", H)
        diagonal += (1 - share[:, 0]) * (curvature + floor)[:, None] + strength
        roots = np.stack([np.tril(linalg.lapack.dtrtri(cholesky(h), lower=1)[0]) for h in H])
        penalised = (strength[:, None, :] * np.square(roots)).sum(axis=(1, 2))
        return ClassInverse(roots, float(width - penalised.mean()), objective.link)


@dataclass(frozen=True, eq=False)
class ClassInverse:
    """The inverse of each score's block plus penalty, between two centrings.

    Centring subtracts the mean over the classes of softmax, which changes no probability.

    Attributes
    ----------
    roots : ndarray (K, width, width), L^-1 for block + penalty = L L'
    effective_features : float, mean over the scores
    link : Link, which centres
    """

    roots: NDArray[np.float64]
    effective_features: float
    link: Link

    def natural_gradient(self, G: Coef) -> NDArray:
        columns = self.link.centred(G).T[:, :, None]
        columns = self.roots.transpose(0, 2, 1) @ (self.roots @ columns)
        return self.link.centred(columns[:, :, 0].T)

    def score_changes(self, block: Block, R: Scores) -> NDArray:
        X = block.features().T
        return R * np.stack([np.square(root @ X).sum(axis=0) for root in self.roots])


# Second moments of up to this many columns are kept in full; beyond that, their diagonal.
_MAX_FULL_COLUMNS = 1000


@dataclass(frozen=True, eq=False)
class Kronecker:
    """diag(score_curvature) (x) feature_moments / sum(score_curvature).

    Each factor is a sum over rows in which they weigh the trace of the other factor (Martens and
    Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate curvature",
    section 3).

    Attributes
    ----------
    feature_moments : ndarray (width, width), sum_ik c_ik x~_i x~_i', or (width,), its diagonal
    score_curvature : ndarray (K,), sum_i c_ik with `row_curvature` c
    """

    feature_moments: NDArray[np.float64]
    score_curvature: NDArray[np.float64]

    @classmethod
    def at_zero_coefficients(cls, objective: Objective) -> Kronecker:
        """Return the curvature at T = 0 of features whose second moments are the identity."""
        curvature, ones = _curvature_at_zero(objective), np.ones(objective.shape[0])
        is_full = not objective.rows.is_sparse and len(ones) <= _MAX_FULL_COLUMNS
        return cls(curvature.sum() * (np.diag(ones) if is_full else ones), curvature)

    @property
    def mean_moments(self) -> NDArray[np.float64]:
        return self.feature_moments / max(self.score_curvature.sum(), _TINY)

    def with_mean_moments(self, moments: NDArray) -> Kronecker:
        """Return the same curvature of scores with other mean second moments of the features."""
        return replace(self, feature_moments=self.score_curvature.sum() * moments)

    def block_sums(self, block: Block, row_curvature: NDArray) -> tuple[NDArray, NDArray]:
        weights = row_curvature.sum(axis=0)[None]
        if self.feature_moments.ndim == 1:
            moments = block.weighted_squares(weights)
        else:
            moments = weighted_grams(block.features(), weights)[0]
        return moments, row_curvature.sum(axis=1, dtype=float)

    def batch_curvature(self, objective: Objective, sums: Sequence[NDArray]) -> Kronecker:
        moments, score_curvature = sums
        if self.feature_moments.ndim == 1:
            moments = objective.rows.working_squares(moments)[:, 0]
        return Kronecker(moments, score_curvature)

    def averaged_with(self, batch: Kronecker, weight: PerScore) -> Kronecker:
        # The features' moments, which scores share, as if all had the weight of the score with the
        # most batches before.
        moments, curvature = self.feature_moments, self.score_curvature
        least = weight[weight > 0].min(initial=1)
        together = Kronecker(
            moments + least * (batch.feature_moments - moments),
            curvature + least * (batch.score_curvature - curvature),
        )
        curvature = curvature + weight * (batch.score_curvature - curvature)
        return replace(self, score_curvature=curvature).with_mean_moments(together.mean_moments)

    def in_coordinates(self, change: Coordinates) -> Kronecker:
        if self.feature_moments.ndim == 1:
            return replace(self, feature_moments=change.squares(self.feature_moments))
        L = change.matrix()
        return replace(self, feature_moments=L @ self.feature_moments @ L.T)

    def inverse_with_penalty(self, objective: Objective, n_rows: Counts) -> KroneckerInverse:
        return KroneckerInverse.from_curvature(self, objective.penalty, float(np.max(n_rows)))


@dataclass(frozen=True, eq=False)
class KroneckerInverse:
    """The inverse of diag(b) (x) M + penalty, with b (K,) and M (width, width).

    b is the score curvature, M are the mean second moments of the features. It is diagonal in the
    `JointEigenbasis` of mean(b) M and the mean penalty over the scores.

    Attributes
    ----------
    eigenbasis : JointEigenbasis
    relative_curvature : ndarray (K,), b / mean(b)
    relative_strength : ndarray (K,) or (1,), each score's penalty over that of the eigenbasis
    mean_curvature : float, mean(b)
    """

    eigenbasis: JointEigenbasis
    relative_curvature: NDArray[np.float64]
    relative_strength: PerScore
    mean_curvature: float

    @classmethod
    def from_curvature(
        cls, curvature: Kronecker, penalty: Penalty, n_rows: float
    ) -> KroneckerInverse:
        """Return the inverse of a curvature known from `n_rows` rows, plus the penalty."""
        b = curvature.score_curvature + _CURVATURE_FLOOR * curvature.score_curvature.mean()
        M = b.mean() * _shrunk_to_identity(curvature.mean_moments, n_rows)
        strength = penalty.ridge_by_feature
        if M.ndim == 1:
            eigenbasis = JointEigenbasis.from_diagonal(M, strength)
        else:
            factor = cholesky(M + np.diag(strength))
            eigenbasis = JointEigenbasis.from_cholesky(factor, strength)
        return cls(eigenbasis, b / b.mean(), penalty.ridge_by_score, float(b.mean()))

    @property
    def effective_features(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""
        return self.eigenbasis.effective_features

    @cached_property
    def diagonals(self) -> NDArray[np.float64]:
        """The diagonal of each score's curvature plus penalty in the eigenbasis, (width, K).

        Entries that are below rounding beside the largest one are raised to it.
        """
        diagonals = self.eigenbasis.diagonals(self.relative_curvature, self.relative_strength)
        return np.maximum(diagonals, np.finfo(float).eps * diagonals.max())

    def natural_gradient(self, G: Coef) -> NDArray:
        return self.eigenbasis.from_eigenbasis(self.eigenbasis.to_eigenbasis(G) / self.diagonals)

    def score_changes(self, block: Block, R: Scores) -> NDArray:
        return R * self.squared_lengths(block, self.diagonals)

    def squared_lengths(self, block: Block, diagonals: NDArray) -> Scores:
        """Return sum_j (B' x~_i)_j^2 / diagonals_jk, (K, m), B being the eigenbasis."""
        basis = self.eigenbasis.basis
        if basis.ndim == 2:
            return (1 / diagonals).T @ np.square(block.features() @ basis).T
        return block.squared_lengths(np.square(basis)[:, None] / diagonals)


def _shrunk_to_identity(moments: NDArray, n_rows: float) -> NDArray:
    """Return second moments, or their diagonal, averaged with the identity: see `_data_share`."""
    share = _data_share(n_rows, len(moments))
    shrunk = share * moments
    diagonal = shrunk if moments.ndim == 1 else np.einsum("jj->j", shrunk)
    diagonal += 1 - share
    return shrunk
