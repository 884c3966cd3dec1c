"""Working coordinates: centred, scaled columns, and the way back to the user's units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike, NDArray

from softreg._rows.arrays import Coef, PerScore

# Centres that are off by this share of a deviation do no harm to products or second moments: a
# second moment is then off by a hundredth.
_NEAR = 0.1


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Features x become x~ = ((x - centre) / scale, 1); the trailing 1 only with an intercept.

    Coefficients in these coordinates are T (width, K), one row a feature, the last the intercept:
    T' x~ = W' x + b with W_j = T_j / scale_j and b = T_last - sum_j centre_j W_j.

    A Gram matrix squares the condition number of its columns: on raw columns of scales 1e-3 to
    1e5 nothing of the answer is left. Hence centring and scaling come before all else.

    Attributes
    ----------
    centre : ndarray (d,)
    scale : ndarray (d,), > 0; inf for a constant column, whose x~ are zeros
    intercept : bool
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    intercept: bool

    @classmethod
    def raw(cls, n_features: int, intercept: bool) -> Coordinates:
        """Return coordinates in which x~ = (x, 1): the user's units."""
        return cls(np.zeros(n_features), np.ones(n_features), intercept)

    def standardising(self, mean: NDArray, variance: NDArray, dtype: DTypeLike) -> Coordinates:
        """Return coordinates in which columns of this mean and variance have about 0 and 1, (d,).

        Centres are rounded to `dtype` and scales to powers of two, so that transforming a column
        adds no rounding to it; a constant column becomes zeros. Without an intercept columns are
        scaled only.
        """
        if not np.isfinite(variance).all():
            column = int(np.argmin(np.isfinite(variance)))
            raise ValueError(
                f"X has values in column {column} whose squares overflow; divide that column by a "
                "power of ten."
            )
        if not self.intercept:
            mean, variance = np.zeros_like(mean), variance + mean**2
        deviation = np.sqrt(variance)
        # Values that are all equal deviate from their computed mean by its rounding.
        varies = deviation > 4 * np.finfo(dtype).eps * np.abs(mean)
        scale = np.exp2(np.rint(np.log2(np.where(varies, deviation, 1))))
        centre = mean.astype(dtype).astype(float)
        return Coordinates(centre, np.where(varies, scale, np.inf), self.intercept)

    def since(self, earlier: Coordinates) -> Coordinates:
        """Return the coordinates in which the x~ of `earlier` ones become the x~ of these."""
        centre = (self.centre - earlier.centre) / earlier.scale
        return Coordinates(centre, self.scale / earlier.scale, self.intercept)

    def are_nearly(self, other: Coordinates) -> bool:
        """Return whether centres differ by at most a tenth of a scale, and scales by a factor 2."""
        distance = np.abs(self.centre - other.centre) / other.scale
        ratio = self.scale / other.scale
        return bool((distance <= _NEAR).all() and (ratio <= 2).all() and (ratio >= 0.5).all())

    def without_constants(self) -> Coordinates:
        """Return the same coordinates, with scale one for columns that have not varied so far.

        Their x~ are zeros with either scale, but W = T / inf would lose their coefficients.
        """
        return replace(self, scale=np.where(np.isfinite(self.scale), self.scale, 1.0))

    @property
    def width(self) -> int:
        """Number of rows of T: d, and one for the intercept."""
        return len(self.centre) + self.intercept

    def transform(self, X: NDArray, dtype: np.dtype) -> NDArray:
        """Return the rows X (m, d) in working coordinates, (m, width)."""
        d = X.shape[1]
        out = np.empty((len(X), self.width), dtype)
        out[:, d:] = 1
        np.subtract(X, self.centre.astype(X.dtype), out=out[:, :d], casting="same_kind")
        out[:, :d] *= (1 / self.scale).astype(dtype)
        return out

    def coefficients(self, T: Coef) -> tuple[Coef, PerScore]:
        """Return W (d, K) and b (K,) of the coefficients T (width, K)."""
        U = self.raw_coefficients(T)
        return U[: len(self.centre)], U[-1] if self.intercept else np.zeros(U.shape[1])

    def working(self, W: Coef, b: PerScore) -> Coef:
        """Return T (width, K) of the coefficients W (d, K) and b (K,)."""
        finite = np.where(np.isfinite(self.scale), self.scale, 0)
        T = W * finite[:, None]
        return np.concatenate([T, (b + self.centre @ W)[None]]) if self.intercept else T

    def raw_coefficients(self, T: Coef) -> Coef:
        """Return W over b, (width, K), of the coefficients T."""
        U = T * self._unit
        if self.intercept:
            U[-1] -= self.centre @ U[:-1]
        return U

    def pull_back(self, G: Coef) -> Coef:
        """Return the gradient in T, (width, K), of the gradient G (width, K) in W over b."""
        T = G * self._unit
        if self.intercept:
            T[:-1] -= np.outer(self.centre / self.scale, G[-1])
        return T

    def matrix(self) -> NDArray:
        """Return the matrix (width, width) that takes (x, 1) to x~; (x,) without an intercept."""
        L = np.diag(self._unit[:, 0])
        if self.intercept:
            L[:-1, -1] = -self.centre / self.scale
        return L

    def squares(self, diagonal: NDArray) -> NDArray:
        """Return sum_i x~_i^2 (width,), given sum_i (x_i, 1)^2 of columns whose sum is zero."""
        out = np.square(self._unit[:, 0]) * diagonal
        if self.intercept:
            out[:-1] += np.square(self.centre / self.scale) * diagonal[-1]
        return out

    @cached_property
    def _unit(self) -> NDArray[np.float64]:
        """1 / scale, and 1 for the intercept, (width, 1)."""
        return np.append(1 / self.scale, np.ones(int(self.intercept)))[:, None]

    def second_moments(self, sums: NDArray) -> Coef:
        """Return sum_i c_i x~_i^2, (width, K).

        `sums` (2 d + 1, K) are sum_i c_i x_i^2 over sum_i c_i x_i over sum_i c_i.
        """
        second, first, total = np.split(sums, [len(self.centre), 2 * len(self.centre)])
        centre = self.centre[:, None]
        T = (second - centre * (2 * first - centre * total)) / self.scale[:, None] ** 2
        return np.concatenate([T, total]) if self.intercept else T
