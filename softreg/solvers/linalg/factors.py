"""Factors of symmetric matrices: Cholesky's, and the basis in which two of them are diagonal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

# Curvature below this counts as zero: saturated rows leave some, whose inverse squared overflows.
FLAT = 1e-100
_EPS = np.finfo(float).eps


def solved(factor: NDArray, b: NDArray, transposed: bool = False) -> NDArray:
    """Return L^-1 b, or L'^-1 b, of a lower Cholesky factor L."""
    # LAPACK's own routine: around small factors SciPy's checks take ten times as long.
    return linalg.lapack.dtrtrs(factor, b, lower=1, trans=int(transposed))[0]


def twice_solved(factor: NDArray, b: NDArray) -> NDArray:
    """Return (L L')^-1 b of a lower Cholesky factor L."""
    return linalg.lapack.dpotrs(factor, b, lower=1)[0]


def positive(diagonal: NDArray) -> NDArray:
    """Return a diagonal whose zeros (constant columns, saturated rows) are ones."""
    return np.where(diagonal > FLAT, diagonal, 1.0)


def cholesky(H: NDArray) -> NDArray:
    """Return the lower Cholesky factor of H >= 0, raised along its diagonal until it exists.

    ValueError if H is not finite, or far from H >= 0.
    """
    diagonal, raised, largest = H.diagonal().copy(), _EPS, np.abs(H).max(initial=0)
    # LAPACK takes some NaN for numbers. Of saturated scores H is all rounding, and may need a
    # diagonal that is many times its own; where all of H is below that of curvatures, which are
    # about one, as large as its other entries.
    is_finite = np.isfinite(H).all()
    while is_finite and raised < 1 / _EPS:
        A = H.T.copy(order="F")
        least = raised * _EPS * len(H) * largest if raised > 1 and largest <= _EPS else 0.0
        np.fill_diagonal(A, positive(diagonal * (1 + raised)) + least)
        factor, failed = linalg.lapack.dpotrf(A, lower=1, overwrite_a=1)
        if not failed:
            return factor
        raised *= 10
    raise ValueError(
        "A Hessian is not finite, or not positive: bring X, offset, sample_weight, penalty_factor "
        "and C into a range whose squares are finite."
    )


def refined_solution(H: NDArray, right: NDArray) -> NDArray:
    """Return H^-1 right, (q,), refined once: of what strengths next to nothing leave of it."""
    if not right.size:
        return right
    factor = cholesky(H)
    w = twice_solved(factor, right)
    return w + twice_solved(factor, right - H @ w)


@dataclass(frozen=True, eq=False)
class JointEigenbasis:
    """The basis in which a matrix M >= 0 and the diagonal matrix of the penalty are both diagonal.

    With A = M + diag(strength) = R R' and R^-1 diag(strength) R'^-1 = V diag(D) V', the columns of
    B = R'^-1 V are that basis: B' A B = I, B' diag(strength) B = diag(D) and B' M B = I - diag(D).
    So for every score k the matrix c_k M + r_k diag(strength) has the inverse
    B diag(c_k (1 - D) + r_k D)^-1 B' (Golub and Van Loan 2013, section 8.7.2).

    Attributes
    ----------
    basis : ndarray (width, width), B, or (width,), the diagonal of B where M is diagonal
    penalised : ndarray (width,), D, in [0, 1]: the penalty's share of A along each column of B
    """

    basis: NDArray[np.float64]
    penalised: NDArray[np.float64]

    @classmethod
    def from_cholesky(cls, factor: NDArray, strength: NDArray) -> JointEigenbasis:
        """Return the basis, given the lower Cholesky factor R of A and the strengths (width,)."""
        root = solved(factor, np.diag(np.sqrt(strength)))
        D, V = linalg.eigh(root @ root.T, driver="evd", check_finite=False)
        return cls(solved(factor, V, transposed=True), np.clip(D, 0, 1))

    @classmethod
    def from_diagonal(cls, diagonal: NDArray, strength: NDArray) -> JointEigenbasis:
        """Return the basis, given the diagonal of M and the strengths, (width,) each.

        Features for which both are zero are left out: their entries of B are zero.
        """
        total = diagonal + strength
        root = np.divide(1, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
        return cls(root, strength * root**2)

    @property
    def effective_features(self) -> float:
        """Effective number of features, trace(A^-1 M): what the penalty leaves of `width`."""
        return float((1 - self.penalised).sum())

    def diagonals(self, curvature: NDArray, strength: NDArray) -> NDArray[np.float64]:
        """Return c_k (1 - D) + r_k D, (width, K), of c (K,) and r, (K,) or (1,), per score."""
        return np.outer(1 - self.penalised, curvature) + self.penalised[:, None] * strength

    def to_eigenbasis(self, G: NDArray) -> NDArray:
        """Return the gradient G (width, K) in this basis, B' G."""
        return self.basis.T @ G if self.basis.ndim == 2 else self.basis[:, None] * G

    def from_eigenbasis(self, V: NDArray) -> NDArray:
        """Return the coefficients B V (width, K) of V (width, K) in this basis."""
        return self.basis @ V if self.basis.ndim == 2 else self.basis[:, None] * V
