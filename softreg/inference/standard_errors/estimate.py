"""Estimates: coefficients of all classes, how they vary, and which combinations are identified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# What is left of terms that cancel is no larger than this share of them.
_CANCELLED = 1e-8


@dataclass(frozen=True, eq=False)
class Estimate:
    """Coefficients theta of K classes, u of each, and what the data say of them.

    A class has a coefficient of each feature, in the user's units, and then any intercept. Adding
    the same to all classes changes no probability: coefficients have mean zero over the classes,
    and combinations R theta of them (theta class after class) are those of deviations from it.

    Attributes
    ----------
    coefficients : ndarray (K, u)
    covariance : ndarray (K u, K u), class after class
    unidentified_directions : ndarray (u, r), along which no class's coefficients are identified
    unseen : ndarray (K,) of bool, the classes without rows, no coefficient of which is identified
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    unidentified_directions: NDArray[np.floating]
    unseen: NDArray[np.bool_]

    def shifted_back(self, distance: NDArray) -> Estimate:
        """Return the estimate whose intercepts are the scores at a point lower by distances (u,).

        That of an intercept is 0.
        """
        shift = np.eye(len(distance))
        shift[-1] -= distance
        of_all: Any = sparse.csr_array(sparse.kron(sparse.eye(len(self.coefficients)), shift))
        return replace(
            self,
            coefficients=self.coefficients @ shift.T,
            covariance=of_all @ (of_all @ self.covariance).T,
            unidentified_directions=shift @ self.unidentified_directions,
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
        """Return which combinations R (m, K u) are identified, (m,)."""
        if not (self.unidentified_directions.size or self.unseen.any()):
            return np.ones(R.shape[0], dtype=bool)
        return (self.unidentified_moves(R) == 0).all(axis=1)

    def unidentified_moves(self, R: NDArray | sparse.csr_array) -> NDArray[np.float64]:
        """Return what unidentified directions and unseen classes add to combinations R (m, K u).

        (m, ...), a number for each of them: 0 for all of them if a combination is identified.
        """
        dense = R.toarray() if sparse.issparse(R) else R
        by_class = dense.reshape(len(dense), *self.coefficients.shape)
        by_class = by_class - by_class.mean(axis=1, keepdims=True)
        largest = np.abs(by_class).max(axis=(1, 2), initial=0, keepdims=True)
        parts = self._moves(by_class), _cancelled(by_class[:, self.unseen], largest)
        return np.concatenate([part.reshape(len(dense), -1) for part in parts], axis=1)

    def are_identified_rows(self, x: NDArray) -> NDArray[np.bool_]:
        """Return of which rows (x, 1), (m, u), the differences of scores are identified, (m,)."""
        return (self._moves(x) == 0).all(axis=1)

    def _moves(self, x: NDArray) -> NDArray[np.float64]:
        """Return what unidentified directions add to x' theta_k, (..., r), given x (..., u)."""
        D = self.unidentified_directions
        return _cancelled(x @ D, np.abs(x) @ np.abs(D))


def _cancelled(sums: NDArray, size: NDArray) -> NDArray[np.float64]:
    """Return sums, but 0 where terms of this size have cancelled."""
    return np.where(np.abs(sums) <= _CANCELLED * size, 0, sums)


def coefficients_at_centre(W: NDArray, centre: NDArray) -> NDArray[np.float64]:
    """Return coefficients (u, r) whose intercepts are the scores at the centres (u,).

    Those of W (u, r) are the scores where features are 0; an intercept has the centre 0.
    """
    centred = W.astype(float)
    centred[-1] += centre @ W
    return centred
