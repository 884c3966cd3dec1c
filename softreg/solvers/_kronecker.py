"""Running curvature of many scores or features: one matrix for all scores, or its diagonal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._coordinates import Coordinates
from softreg._links import weighted_grams
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg.solvers._curvature import FLOOR, expected, known
from softreg.solvers._factors import cholesky, joint_basis

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
    def unknown(cls, objective: Objective) -> Kronecker:
        """Return that of coefficients zero, on features that do not go together."""
        return cls.alike(objective, expected(objective))

    @classmethod
    def alike(cls, objective: Objective, scores: NDArray) -> Kronecker:
        """Return the curvature of features that do not go together, given that of the scores."""
        features = np.full(objective.shape[0], scores.sum())
        return cls(np.diag(features) if _in_full(objective) else features, scores)

    def told(self, block: Block, own: NDArray) -> tuple[NDArray, NDArray]:
        return self.moments(block, own.sum(axis=0)), own.sum(axis=1, dtype=float)

    def moments(self, block: Block, weight: NDArray) -> NDArray:
        """Return sum_i w_i x~_i x~_i', or what `Rows.outward_squares` makes its diagonal of."""
        if self.features.ndim == 1:
            return block.squares(weight[None])
        return weighted_grams(block.dense(), weight[None])[0]

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> Kronecker:
        moments, scores = sums
        if self.features.ndim == 1:
            moments = objective.rows.outward_squares(moments)[:, 0]
        return Kronecker(moments, scores)

    def updated(self, other: Kronecker, share: float) -> Kronecker:
        features = self.features + share * (other.features - self.features)
        return Kronecker(features, self.scores + share * (other.scores - self.scores))

    def carried(self, change: Coordinates) -> Kronecker:
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
    relative: NDArray[np.float64]
    mean: float

    @classmethod
    def of(cls, curvature: Kronecker, penalty: ElasticNet, seen: float) -> KroneckerInverse:
        """Return the inverse, given from how many rows, in effect, the curvature is known."""
        b = curvature.scores + FLOOR * curvature.scores.mean()
        features = b.mean() * _shrunk(curvature.features / curvature.scores.sum(), seen)
        left, D = _joint_basis(features, penalty.shared)
        return cls(left, D, b / b.mean(), penalty.relative, float(b.mean()))

    @property
    def freedom(self) -> float:
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

    def moves(self, block: Block, R: NDArray) -> NDArray:
        if self.left.ndim == 2:
            return R * ((1 / self.spread).T @ np.square(block.dense() @ self.left).T)
        return R * block.lengths(np.square(self.left)[:, None] / self.spread)


def times(basis: NDArray, G: NDArray) -> NDArray:
    """Return the product of a matrix, or of a diagonal one, with G."""
    return basis @ G if basis.ndim == 2 else basis[:, None] * G


def _shrunk(features: NDArray, seen: float) -> NDArray:
    """Return second moments nearer to those of all rows, one, the fewer rows have shown them."""
    share = known(seen, len(features))
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
