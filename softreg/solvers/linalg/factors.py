"""Factors of symmetric matrices: Cholesky's, and the basis in which two of them are diagonal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

# Curvature below this is none: saturated rows leave some, whose inverse would overflow in squares.
FLAT = 1e-100


def solved(factor: NDArray, b: NDArray, transposed: bool = False) -> NDArray:
    """Return factor^-1 b or factor'^-1 b: by LAPACK itself: SciPy's checks cost ten times it."""
    return linalg.lapack.dtrtrs(factor, b, lower=1, trans=int(transposed))[0]


def positive(diagonal: NDArray) -> NDArray:
    """Return a diagonal whose zeros (constant columns, saturated rows) are ones."""
    return np.where(diagonal > FLAT, diagonal, 1.0)


def cholesky(H: NDArray) -> NDArray:
    """Return the lower Cholesky factor of H, raised along its diagonal until it exists."""
    diagonal, raised = np.diagonal(H).copy(), np.finfo(float).eps
    while True:
        A = H.T.copy(order="F")
        np.fill_diagonal(A, positive(diagonal * (1 + raised)))
        try:
            return linalg.cholesky(A, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            raised *= 10


def joint_basis(factor: NDArray, strength: NDArray) -> tuple[NDArray, NDArray]:
    """Return R'^-1 V and D, given R and strengths with R R' = M + diag(strength), M >= 0.

    R^-1 diag(strength) R'^-1 = V diag(D) V', so that in this basis R R' is the identity and the
    strengths are D (Golub and Van Loan 2013, section 8.7.2).
    """
    B = solved(factor, np.diag(np.sqrt(strength)))
    D, V = linalg.eigh(B @ B.T, driver="evd", check_finite=False)
    return solved(factor, V, transposed=True), np.clip(D, 0, 1)
