"""Running curvature: what mini-batches say of the Hessian, as a Kronecker product, and its use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._blocks import Block
from softreg._coordinates import Coordinates
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg.solvers._metrics import _cholesky as cholesky
from softreg.solvers._metrics import _solved as solved

# Second moments of this many columns are kept in full; beyond that, their diagonal.
_MOST_COLUMNS = 1000
# Curvatures between the scores weigh at least this share of their mean: a class that is rare, or
# told apart nearly always, has hardly any, and steps against it would not end (measured).
_FLOOR = 0.05
_OWN = 0.0


@dataclass(frozen=True, eq=False)
class Curvature:
    """The mean Hessian of the rows seen, scores (x) features; later rows count more.

    Each row's is `Link.information` (x) x~ x~'. The factors are sums of the one and, each row
    weighing the trace of the other, of the other (Martens and Grosse 2015, "Optimizing neural
    networks with Kronecker-factored approximate curvature", section 3).

    Attributes
    ----------
    features : ndarray (width, width), or (width,), its diagonal
    scores : ndarray (K, K), or (K,), its diagonal
    """

    features: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def unknown(cls, objective: Objective) -> Curvature:
        """Return that of coefficients zero, on features that do not go together."""
        width, K = objective.shape
        P = objective.link.probabilities_inplace(np.zeros((K, 1)))
        scores = objective.link.information(P, np.zeros((K, 1)), np.ones(1))
        features = np.ones(width) * _trace(scores)
        return cls(np.diag(features) if in_full(objective) else features, scores)

    def updated(self, other: Curvature, share: float) -> Curvature:
        """Return the mean of both, in which the other one has this share."""
        features, scores = _alike(self.features, other.features), _alike(self.scores, other.scores)
        return Curvature(*(own + share * (new - own) for own, new in (features, scores)))

    def carried(self, change: Coordinates) -> Curvature:
        """Return the curvature in other coordinates, given in terms of these."""
        L = change.map()
        if self.features.ndim == 1:  # what columns were off by, their diagonal does not know
            return replace(self, features=np.square(L) @ self.features)
        return replace(self, features=L @ self.features @ L.T)


def in_full(objective: Objective) -> bool:
    """Return whether second moments of the features are kept in full."""
    return not objective.rows.is_sparse and objective.shape[0] <= _MOST_COLUMNS


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """The inverse of scores (x) features + penalty, in the eigenbases of both.

    With scores = Q diag(b) Q' and A = mean(b) features + penalty = R R', and
    R^-1 penalty R'^-1 = V diag(D) V', it is diagonal in R'^-1 V and Q: b / mean(b) (1 - D) + r D,
    where r is the strength of each score's penalty beside the mean.

    Attributes
    ----------
    left : ndarray (width, width) or (width,), R'^-1 V
    right : ndarray (K, K) or (K,), Q
    penalised : ndarray (width,), D
    scores : ndarray (K,), b / mean(b)
    relative : ndarray (K,) or (1,), r
    mean : float, mean(b)
    """

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    penalised: NDArray[np.float64]
    scores: NDArray[np.float64]
    relative: NDArray[np.float64]
    mean: float

    @classmethod
    def of(cls, curvature: Curvature, penalty: ElasticNet, seen: float) -> Preconditioner:
        """Return the inverse, given from how many rows, in effect, the curvature is known."""
        b, right = _spectrum(curvature.scores)
        b = b + _FLOOR * b.mean()
        features = b.mean() * _shrunk(curvature.features / _trace(curvature.scores), seen)
        left, D = _joint_basis(features, penalty.shared)
        return cls(left, right, D, b / b.mean(), penalty.relative, float(b.mean()))

    @property
    def freedom(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""
        return float((1 - self.penalised).sum())

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """The diagonal in these bases, (width, K)."""
        D = self.penalised
        spread = np.outer(1 - D, self.scores) + D[:, None] * self.relative
        return np.maximum(spread, np.finfo(float).eps * spread.max())

    def __call__(self, G: NDArray) -> NDArray:
        """Return the natural gradient of a gradient G (width, K)."""
        inner = _times(self.right.T, _times(self.left.T, G).T) / self.spread.T
        return _times(self.left, _times(self.right, inner).T)

    def moves(self, block: Block, R: NDArray) -> NDArray:
        """Return how far x~ r', taken as a gradient, moves each row's own scores, (K, m)."""
        if self.left.ndim == 2:
            lengths = (1 / self.spread).T @ np.square(block.dense() @ self.left).T
        else:
            lengths = block.lengths(np.square(self.left)[:, None] / self.spread)
        return _times(self.right, lengths * _times(self.right.T, R))


def _alike(own: NDArray, new: NDArray) -> tuple[NDArray, NDArray]:
    """Return both, or their diagonals if one is no more: dense rows after sparse ones, say."""
    if own.ndim == new.ndim:
        return own, new
    own, new = (M if M.ndim == 1 else np.diagonal(M) for M in (own, new))
    return own, new


def _times(basis: NDArray, G: NDArray) -> NDArray:
    """Return the product of a matrix, or of a diagonal one, with G."""
    return basis @ G if basis.ndim == 2 else basis[:, None] * G


def _trace(moments: NDArray) -> float:
    return float(np.trace(moments) if moments.ndim == 2 else moments.sum())


def _spectrum(scores: NDArray) -> tuple[NDArray, NDArray]:
    """Return eigenvalues (K,) and eigenvectors, ones for what is diagonal."""
    if scores.ndim == 1:
        return scores, np.ones_like(scores)
    b, Q = linalg.eigh(scores, driver="evd", check_finite=False)
    return b.clip(min=0), Q


def _shrunk(features: NDArray, seen: float) -> NDArray:
    """Return second moments nearer to those of all rows, one, the fewer rows have shown them."""
    known = (1 - _OWN) * seen / (seen + len(features))
    if features.ndim == 1:
        return known * features + (1 - known)
    shrunk = known * features
    np.einsum("jj->j", shrunk)[:] += 1 - known
    return shrunk


def _joint_basis(features: NDArray, strength: NDArray) -> tuple[NDArray, NDArray]:
    """Return R'^-1 V and D of `Preconditioner`."""
    if features.ndim == 1:
        total = features + strength
        root = np.divide(1, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
        return root, strength * root**2
    factor = cholesky(features + np.diag(strength))
    B = solved(factor, np.diag(np.sqrt(strength)))
    D, V = linalg.eigh(B @ B.T, driver="evd", check_finite=False)
    return solved(factor, V, transposed=True), np.clip(D, 0, 1)
