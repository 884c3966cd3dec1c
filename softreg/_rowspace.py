"""Wide data: with more columns than rows, the weights lie in the span of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._coordinates import Coordinates
from softreg._penalties import ElasticNet
from softreg._rows import DenseRows, Rows

# The rotation costs n^2 d multiply-adds, done at the full speed of a matrix product, and n^3 for
# the eigenvectors; a pass over n x d values is bound by memory. Measured equal near n = 2,000.
_MOST_ROWS = 2000
_CHUNK_VALUES = 2**20


def rotation_pays(rows: Rows) -> bool:
    """Return whether the row space is the cheaper place to solve in."""
    n, d = rows.X.shape
    return not rows.is_sparse and n < d and n <= _MOST_ROWS


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Coordinates in the span of the rows: the same optimum, d / n times cheaper.

    With A = (X - centre) / sqrt(l2), centred over the rows, and A A' = U diag(v) U', the weights
    are W = B theta for B = A' U / sqrt(v) / sqrt(l2) (d, r), r <= n. The features become
    A A' U / sqrt(v) = U sqrt(v) (n, r) and the penalty theta' theta / 2. Columns without a penalty
    stay as they are, unless there are no others. Source: Hastie and Tibshirani (2004),
    "Efficient quadratic regularization for expression arrays", Biostatistics 5, 329-340.

    Attributes
    ----------
    rows : Rows, whose X is (n, r + number of columns that stay)
    penalty : ElasticNet, on those columns
    dual : ndarray of shape (n, r), U / sqrt(v)
    X, centre, unit : the original columns; unit (d,) is 1 / sqrt(l2), 0 for those that stay
    """

    rows: Rows
    penalty: ElasticNet
    dual: NDArray[np.float64]
    X: NDArray
    centre: NDArray[np.float64]
    unit: NDArray[np.float64]

    @classmethod
    def of(cls, rows: DenseRows, penalty: ElasticNet) -> RowSpace:
        """Return the row space of the penalised columns of raw rows."""
        mean, variance = rows.moments()
        centre = mean if rows.coordinates.intercept else np.zeros_like(mean)
        held = penalty.l2 > 0
        strength = penalty.l2 if held.any() else variance + (centre == 0) * mean**2
        unit = np.zeros_like(strength)
        np.divide(1, np.sqrt(strength), out=unit, where=strength > 0)
        kernel = np.zeros((rows.n, rows.n))
        for _, A in _columns(rows.X, centre, unit):
            kernel += A @ A.T
        values, U = linalg.eigh(kernel)
        kept = values > values[-1] * rows.n * np.finfo(float).eps
        dual, features = U[:, kept] / np.sqrt(values[kept]), U[:, kept] * np.sqrt(values[kept])
        stay = (unit == 0) & held.any()
        X = np.hstack([features, rows.X[:, stay]])
        l2 = np.concatenate([np.full(kept.sum(), float(held.any())), penalty.l2[stay]])
        coordinates = Coordinates.raw(X.shape[1], rows.coordinates.intercept)
        rotated = DenseRows(X, rows.Y, rows.weight, rows.offset, coordinates, rows.threads, X.dtype)
        return cls(rotated, ElasticNet(l2), dual, rows.X, centre, unit)

    def coefficients(self, theta: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
        """Return W (d, K) and b (K,) on the original columns."""
        rank = self.dual.shape[1]
        W = np.zeros((len(self.unit), theta.shape[1]))
        V = self.dual @ theta[:rank]
        for chunk, A in _columns(self.X, self.centre, self.unit):
            W[chunk] = self.unit[chunk, None] * (A.T @ V)
        intercept = b - self.centre @ W
        W[self._stays()] = theta[rank:]
        return W, intercept

    def working(self, W: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
        """Return theta and b of the weights' part in the row space."""
        stay = self._stays()
        V = np.zeros((len(self.dual), W.shape[1]))
        for chunk, A in _columns(self.X, self.centre, self.unit):
            own = np.zeros_like(W[chunk])
            np.divide(W[chunk], self.unit[chunk, None], out=own, where=self.unit[chunk, None] > 0)
            V += A @ own
        theta = np.concatenate([self.dual.T @ V, W[stay]])
        return theta, b + self.centre @ np.where(stay[:, None], 0, W)

    def _stays(self) -> NDArray[np.bool_]:
        extra = self.rows.X.shape[1] - self.dual.shape[1]
        return (self.unit == 0) & bool(extra)


def _columns(X: NDArray, centre: NDArray, unit: NDArray) -> Iterator[tuple[slice, NDArray]]:
    """Yield (X - centre) * unit in double precision, some columns at a time."""
    width = max(1, _CHUNK_VALUES // len(X))
    for start in range(0, X.shape[1], width):
        chunk = slice(start, start + width)
        yield chunk, (X[:, chunk] - centre[chunk]) * unit[chunk]
