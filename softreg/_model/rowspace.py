"""Wide data: with more columns than rows, the weights lie in the span of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.penalties import Penalty
from softreg._rows.arrays import Coef, Mask, PerScore
from softreg._rows.base import Rows
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows

# The rotation costs 2 n^2 d multiply-adds at the full speed of a matrix product and holds one
# copy of X in double precision; a pass over n x d values is bound by memory. Measured equal near
# n = 2,000.
_MOST_ROWS = 2000
_MOST_BYTES = 2**28


def rotation_pays(rows: Rows) -> TypeGuard[MemoryRows]:
    """Return whether X is dense, wide and small enough to be solved in the span of its rows."""
    n, d = rows.n, len(rows.coordinates.centre)
    small = n < d and n <= _MOST_ROWS and 8 * n * d <= _MOST_BYTES
    return rows.in_memory and not rows.is_sparse and small


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Coordinates in the span of the rows: the same optimum, d / n times cheaper.

    With A = (X - centre) / sqrt(l2), centred over the rows, and A' = Q R, the weights are
    W = Q theta / sqrt(l2); the features become A Q = R' (n, n) and the penalty theta' theta / 2.
    (The eigenvectors of A A' would do, but squaring A loses half the digits.) Columns without a
    penalty stay as they are, unless there are no others. Source: Hastie and Tibshirani (2004),
    "Efficient quadratic regularization for expression arrays", Biostatistics 5, 329-340.

    Attributes
    ----------
    rows : Rows, whose X is (n, n + number of columns that are kept)
    penalty : Penalty, on those columns
    Q : ndarray of shape (d, n), orthonormal columns
    centre, unit : ndarray of shape (d,); unit is 1 / sqrt(l2), 0 for columns that are kept
    """

    rows: MemoryRows
    penalty: Penalty
    Q: NDArray[np.float64]
    centre: NDArray[np.float64]
    unit: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: MemoryRows, penalty: Penalty) -> RowSpace:
        """Return the row space of the penalised columns of raw rows."""
        mean, variance = rows.totals.mean, rows.totals.variance
        centre = mean if rows.coordinates.intercept else np.zeros_like(mean)
        strength = penalty.ridge_by_feature
        is_penalised = bool(strength.any())
        if not is_penalised:
            strength = variance + (mean - centre) ** 2
        unit = np.zeros_like(strength)
        np.divide(1, np.sqrt(strength), out=unit, where=strength > 0)
        A = (rows.X - centre) * unit
        if rows.coordinates.intercept:  # once more: what is left of the mean passes for a feature
            A -= rows.weights @ A / rows.totals.weight
        Q, R = linalg.qr(A.T, mode="economic", overwrite_a=True, check_finite=False)
        # Rows that depend on others leave rounding behind, which is no feature.
        R[np.abs(R).max(axis=1) <= np.finfo(float).eps * max(A.shape) * np.abs(R).max()] = 0
        kept = (unit == 0) & is_penalised
        X = np.hstack([R.T, rows.X[:, kept]])
        coordinates = Coordinates.raw(X.shape[1], rows.coordinates.intercept)
        rotated = rows.replaced(X=X, coordinates=coordinates, dtype=X.dtype)
        return cls(rotated, penalty.rotated(len(R), kept), Q, centre, unit)

    def coefficients(self, theta: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        """Return W (d, K) and b (K,) on the original columns."""
        rank = self.Q.shape[1]
        W = self.unit[:, None] * (self.Q @ theta[:rank])
        intercept = b - self.centre @ W
        W[self._kept_columns] = theta[rank:]
        return W, intercept

    def working(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        """Return theta and b of the weights' part in the row space."""
        kept, rotated = self._kept_columns, np.zeros(W.shape)
        np.divide(W, self.unit[:, None], out=rotated, where=self.unit[:, None] > 0)
        W_of_rotated = np.where(kept[:, None], 0, W)
        return np.concatenate([self.Q.T @ rotated, W[kept]]), b + self.centre @ W_of_rotated

    @property
    def _kept_columns(self) -> Mask:
        """Columns without a penalty, which were left as they are, (d,)."""
        return (self.unit == 0) & (self.rows.X.shape[1] > self.Q.shape[1])
