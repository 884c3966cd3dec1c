"""Estimates: coefficients of all classes, how they vary, and which combinations are identified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# A combination depends on an open direction if this share of its terms does not cancel.
_CANCELLED = 1e-8


@dataclass(frozen=True, eq=False)
class Estimate:
    """Coefficients of K classes, u each: of features in the user's units, then any intercept.

    Adding the same to all classes changes no probability: coefficients add up to zero over the
    classes, and combinations of them are those of their deviations from that mean.

    Attributes
    ----------
    coefficients : ndarray (K, u)
    covariance : ndarray (K u, K u), class after class
    open_directions : ndarray (u, r), in which the data leave the coefficients of a class open
    absent : ndarray (K,) of bool, classes without rows, whose coefficients are open
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    open_directions: NDArray[np.floating]
    absent: NDArray[np.bool_]

    def from_zero(self, centre: NDArray) -> Estimate:
        """Return the estimate of features themselves, given that of features less centres (u,).

        Intercepts are then the scores where features are 0.
        """
        from_centre = np.eye(len(centre))
        from_centre[-1] -= centre
        of_all: Any = sparse.csr_array(sparse.kron(sparse.eye(len(self.coefficients)), from_centre))
        return replace(
            self,
            coefficients=self.coefficients @ from_centre.T,
            covariance=of_all @ (of_all @ self.covariance).T,
            open_directions=from_centre @ self.open_directions,
        )

    def values(self, R: NDArray | sparse.csr_array) -> NDArray[np.float64]:
        """Return the combinations R (m, K u) of coefficients, (m,); NaN if not identified."""
        return np.where(self.identified(R), R @ self.coefficients.ravel(), np.nan)

    def covariance_of(self, R: NDArray | sparse.csr_array) -> NDArray[np.float64]:
        """Return the covariance of combinations R (m, K u), (m, m); NaN if not identified."""
        V = R @ (R @ self.covariance).T
        is_open = ~self.identified(R)
        V[is_open], V[:, is_open] = np.nan, np.nan
        return V

    def variance_of(self, R: NDArray) -> NDArray[np.float64]:
        """Return the variances of combinations R (m, K u), (m,); NaN if not identified."""
        variance = np.maximum(np.einsum("mp,mp->m", R @ self.covariance, R), 0)  # but for rounding
        return np.where(self.identified(R), variance, np.nan)

    def identified(self, R: NDArray | sparse.csr_array) -> NDArray[np.bool_]:
        """Return which combinations R (m, K u) no open direction changes, (m,)."""
        if not (self.open_directions.size or self.absent.any()):
            return np.ones(R.shape[0], dtype=bool)
        return (self.open_moves(R) == 0).all(axis=1)

    def open_moves(self, R: NDArray | sparse.csr_array) -> NDArray[np.float64]:
        """Return by how much each open direction changes combinations R (m, K u), (m, ...).

        What is left of terms that cancel is zero.
        """
        dense = R.toarray() if sparse.issparse(R) else R
        by_class = dense.reshape(len(dense), *self.coefficients.shape)
        by_class = by_class - by_class.mean(axis=1, keepdims=True)
        moves = by_class @ self.open_directions
        moves[np.abs(moves) <= _CANCELLED * (np.abs(by_class) @ np.abs(self.open_directions))] = 0
        of_absent = by_class[:, self.absent]
        size = np.abs(by_class).max(axis=(1, 2), initial=0, keepdims=True)
        of_absent[np.abs(of_absent) <= _CANCELLED * size] = 0
        return np.concatenate([part.reshape(len(dense), -1) for part in (moves, of_absent)], axis=1)

    def are_identified_rows(self, x: NDArray) -> NDArray[np.bool_]:
        """Return of which rows (x, 1), (m, u), the differences of scores are identified, (m,)."""
        moves = np.abs(x @ self.open_directions)
        return (moves <= _CANCELLED * (np.abs(x) @ np.abs(self.open_directions))).all(axis=1)


def at_centre(W: NDArray, centre: NDArray) -> NDArray[np.float64]:
    """Return coefficients (u, r) of features less centres (u,), given those of features.

    An intercept, whose centre is 0, becomes the score at the centres.
    """
    centred = W.astype(float)
    centred[-1] += centre @ W
    return centred
