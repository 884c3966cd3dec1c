"""Running curvature: what mini-batches say of the Hessian, and the steps that it preconditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.kernels import weighted_grams
from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg.solvers.linalg.factors import cholesky, joint_basis

# A score's curvature weighs at least this share of the scores' mean: a class that is rare, or sums
# apart nearly always, has hardly any, and steps against it would not end (measured).
FLOOR = 0.02


class Inverse(Protocol):
    """The inverse of a curvature and the penalty."""

    @property
    def effective_features(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""

    def __call__(self, G: NDArray) -> NDArray:
        """Return the natural gradient of a gradient G (width, K)."""

    def score_moves(self, block: Block, R: NDArray) -> NDArray:
        """Return how far x~ r', taken as a gradient, moves each row's own scores, (K, m)."""


class Curvature(Protocol):
    """The mean Hessian of the rows seen, later ones counting more.

    Of a row's Hessian, score by score, half is as the model expects it, p (1 - p) x~ x~', and half
    as observed, r^2 x~ x~': where p is next to 0 or 1, only residuals tell that a row is fitted
    badly. `own` (K, m) are these two means times the row's weight / S_k.
    """

    def batch_sums(self, block: Block, own: NDArray) -> tuple[NDArray, ...]:
        """Return what a block of rows adds to the sums that `of_sums` takes."""

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> Self:
        """Return the curvature of a batch."""

    def updated(self, other: Self, share: float) -> Self:
        """Return the mean of both, in which the other one has this share."""

    def in_coordinates(self, change: Coordinates) -> Self:
        """Return the curvature in other coordinates, given in terms of these."""

    def factored(self) -> Any:
        """Return the `Kronecker` product that it is nearly."""

    def inverse(self, objective: Objective, seen: float) -> Inverse:
        """Return the inverse; what fewer rows have shown than it has features is taken as one."""


def share_seen(seen: float, width: int) -> float:
    """Return the share of what was seen in what is believed, the rest being the prior."""
    return seen / (seen + width)


def null_curvature(objective: Objective) -> NDArray:
    """Return p (1 - p) / 2 of coefficients zero, (K,)."""
    P = objective.link.probabilities_inplace(np.zeros((objective.shape[1], 1)))
    return 0.5 * objective.link.curvature_diagonal(P)[:, 0]


# Rows that count less than this beside a class's mean are left out of its block.
_SLIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class ClassBlocks:
    """The second moments of the features as each score weighs the rows.

    Attributes
    ----------
    blocks : ndarray (K, width, width)
    """

    blocks: NDArray[np.float64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """The mean of each block's diagonal, (K,)."""
        return np.trace(self.blocks, axis1=1, axis2=2) / self.blocks.shape[1]

    @classmethod
    def at_null_model(cls, objective: Objective) -> ClassBlocks:
        """Return that of coefficients zero, on features that do not go together."""
        return cls(null_curvature(objective)[:, None, None] * np.eye(objective.shape[0]))

    def batch_sums(self, block: Block, own: NDArray) -> tuple[NDArray]:
        X, blocks = block.features(), np.zeros(self.blocks.shape)
        for sums, weight in zip(blocks, own, strict=True):
            rows = np.flatnonzero(weight > _SLIGHT * weight.mean())
            sums += weighted_grams(X[rows], weight[None, rows])[0]
        return (blocks,)

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> ClassBlocks:
        return ClassBlocks(sums[0])

    def updated(self, other: ClassBlocks, share: float) -> ClassBlocks:
        return ClassBlocks(self.blocks + share * (other.blocks - self.blocks))

    def in_coordinates(self, change: Coordinates) -> ClassBlocks:
        L = change.matrix()
        return ClassBlocks(L @ self.blocks @ L.T)

    def factored(self) -> Kronecker:
        return Kronecker(self.blocks.sum(axis=0), self.scores)

    def inverse(self, objective: Objective, seen: float) -> ClassInverse:
        width = objective.shape[0]
        each, share = self.scores, share_seen(seen, width)
        floor = FLOOR * each.mean()
        together = floor * self.blocks.sum(axis=0) / max(each.sum(), np.finfo(float).tiny)
        l2 = np.broadcast_to(objective.penalty.ridge, objective.shape).T
        H = share * (self.blocks + together)
        diagonal = np.einsum("kjj->kj", H)
        diagonal += (1 - share) * (each + floor)[:, None] + l2
        roots = np.stack([np.tril(linalg.lapack.dtrtri(cholesky(own), lower=1)[0]) for own in H])
        penalised = (l2[:, None, :] * np.square(roots)).sum(axis=(1, 2))
        return ClassInverse(roots, float(width - penalised.mean()), objective.link)


@dataclass(frozen=True, eq=False)
class ClassInverse:
    """Each score's own inverse, between projections on what changes probabilities.

    Attributes
    ----------
    roots : ndarray (K, width, width), L^-1 for blocks + penalty = L L'
    effective_features : float
    link : Link, which centres
    """

    roots: NDArray[np.float64]
    effective_features: float
    link: Link

    def __call__(self, G: NDArray) -> NDArray:
        own = self.link.centred(G).T[:, :, None]
        own = self.roots.transpose(0, 2, 1) @ (self.roots @ own)
        return self.link.centred(own[:, :, 0].T)

    def score_moves(self, block: Block, R: NDArray) -> NDArray:
        X = block.features().T
        return R * np.stack([np.square(root @ X).sum(axis=0) for root in self.roots])


# Second moments of this many columns are kept in full; beyond that, their diagonal.
_MOST_COLUMNS = 1000


@dataclass(frozen=True, eq=False)
class Kronecker:
    """diag(scores) (x) features: each is a sum in which rows weigh the trace of the other.

    (Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", section 3.)

    Attributes
    ----------
    features : ndarray (width, width), or (width,), its diagonal
    scores : ndarray (K,)
    """

    features: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def at_null_model(cls, objective: Objective) -> Kronecker:
        """Return that of coefficients zero, on features that do not go together."""
        return cls.from_scores(objective, null_curvature(objective))

    @classmethod
    def from_scores(cls, objective: Objective, scores: NDArray) -> Kronecker:
        """Return the curvature of features that do not go together, given that of the scores."""
        features = np.full(objective.shape[0], scores.sum())
        return cls(np.diag(features) if _in_full(objective) else features, scores)

    def batch_sums(self, block: Block, own: NDArray) -> tuple[NDArray, NDArray]:
        return self.moments(block, own.sum(axis=0)), own.sum(axis=1, dtype=float)

    def moments(self, block: Block, weight: NDArray) -> NDArray:
        """Return sum_i w_i x~_i x~_i', or what `Rows.working_squares` makes its diagonal of."""
        if self.features.ndim == 1:
            return block.weighted_squares(weight[None])
        return weighted_grams(block.features(), weight[None])[0]

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> Kronecker:
        moments, scores = sums
        if self.features.ndim == 1:
            moments = objective.rows.working_squares(moments)[:, 0]
        return Kronecker(moments, scores)

    def updated(self, other: Kronecker, share: float) -> Kronecker:
        features = self.features + share * (other.features - self.features)
        return Kronecker(features, self.scores + share * (other.scores - self.scores))

    def in_coordinates(self, change: Coordinates) -> Kronecker:
        if self.features.ndim == 1:
            return replace(self, features=change.squares(self.features))
        L = change.matrix()
        return replace(self, features=L @ self.features @ L.T)

    def factored(self) -> Kronecker:
        return self

    def inverse(self, objective: Objective, seen: float) -> KroneckerInverse:
        return KroneckerInverse.of(self, objective.penalty, seen)


def _in_full(objective: Objective) -> bool:
    """Return whether second moments of the features are kept in full."""
    return not objective.rows.is_sparse and objective.shape[0] <= _MOST_COLUMNS


@dataclass(frozen=True, eq=False)
class KroneckerInverse:
    """The inverse of diag(b) (x) features + penalty.

    With A = mean(b) features + penalty = R R' and R^-1 penalty R'^-1 = V diag(D) V', it is diagonal
    in R'^-1 V: b / mean(b) (1 - D) + r D, where r is the strength of each score's penalty beside
    the mean.

    Attributes
    ----------
    left : ndarray (width, width) or (width,), R'^-1 V
    penalised : ndarray (width,), D
    scores : ndarray (K,), b / mean(b)
    relative : ndarray (K,) or (1,), r
    mean : float, mean(b)
    """

    left: NDArray[np.float64]
    penalised: NDArray[np.float64]
    scores: NDArray[np.float64]
    relative: NDArray
    mean: float

    @classmethod
    def of(cls, curvature: Kronecker, penalty: Penalty, seen: float) -> KroneckerInverse:
        """Return the inverse, given from how many rows, in effect, the curvature is known."""
        b = curvature.scores + FLOOR * curvature.scores.mean()
        features = b.mean() * _shrunk(curvature.features / curvature.scores.sum(), seen)
        left, D = _joint_basis(features, penalty.ridge_by_feature)
        return cls(left, D, b / b.mean(), penalty.ridge_by_score, float(b.mean()))

    @property
    def effective_features(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""
        return float((1 - self.penalised).sum())

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """The diagonal in this basis, (width, K)."""
        D = self.penalised
        spread = np.outer(1 - D, self.scores) + D[:, None] * self.relative
        return np.maximum(spread, np.finfo(float).eps * spread.max())

    def __call__(self, G: NDArray) -> NDArray:
        return times(self.left, times(self.left.T, G) / self.spread)

    def score_moves(self, block: Block, R: NDArray) -> NDArray:
        if self.left.ndim == 2:
            return R * ((1 / self.spread).T @ np.square(block.features() @ self.left).T)
        return R * block.squared_lengths(np.square(self.left)[:, None] / self.spread)


def times(basis: NDArray, G: NDArray) -> NDArray:
    """Return the product of a matrix, or of a diagonal one, with G."""
    return basis @ G if basis.ndim == 2 else basis[:, None] * G


def _shrunk(features: NDArray, seen: float) -> NDArray:
    """Return second moments nearer to those of all rows, one, the fewer rows have shown them."""
    share = share_seen(seen, len(features))
    shrunk = share * features
    diagonal = shrunk if features.ndim == 1 else np.einsum("jj->j", shrunk)
    diagonal += 1 - share
    return shrunk


def _joint_basis(features: NDArray, strength: NDArray) -> tuple[NDArray, NDArray]:
    """Return R'^-1 V and D of `KroneckerInverse`."""
    if features.ndim == 1:
        total = features + strength
        root = np.divide(1, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
        return root, strength * root**2
    return joint_basis(cholesky(features + np.diag(strength)), strength)
