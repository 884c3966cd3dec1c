"""Working coordinates: centred, scaled columns, and the way back to the user's units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike, NDArray

from softreg._rows.arrays import Coef, Mask, PerScore, Places, covariance_of_image
from softreg._rows.moments import Moments, power_of_two

# The least and largest powers of two whose inverses are exact doubles.
_SMALLEST, _LARGEST = 2.0**-1022, 2.0**1023
# Farther than this many deviations from zero, the mean of a column would cost products in single
# precision, which centre within themselves, more than two of seven digits.
FARTHEST_IN_SINGLE = 100
# Columns of CSR with deviations beyond this, or its inverse, would overflow in products and squares
# of single precision.
_ORDINARY_SCALE = 2.0**32
# Columns with deviations beyond this, or its inverse, are scaled in double precision.
_ORDINARY_IN_SINGLE = 2.0**100
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
    stored : Coordinates in which blocks of CSR hold their values, or None: as they are given.
        Columns are scaled whose products or squares would overflow, and centred where no value is
        a zero left out and the mean is far from zero.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    intercept: bool
    stored: Coordinates | None = None

    @classmethod
    def raw(cls, n_features: int, intercept: bool) -> Coordinates:
        """Return coordinates in which x~ = (x, 1): the user's units."""
        return cls(np.zeros(n_features), np.ones(n_features), intercept)

    def standardising(
        self, moments: Moments, dtype: DTypeLike, least_scale: NDArray | float = 0.0
    ) -> Coordinates:
        """Return coordinates in which columns of these moments have mean and deviation about 0, 1.

        Centres are rounded to `dtype` and scales to powers of two, so that transforming a column
        adds no rounding to it: a centre is still less than about a deviation from the mean. A
        constant column becomes zeros. Without an intercept columns are scaled only. Scales are no
        less than `least_scale`.
        """
        mean, deviation, varies = moments.mean, moments.deviation, moments.varies
        if not self.intercept:
            mean, deviation = np.zeros_like(mean), np.hypot(deviation, mean)
            varies = deviation > 0
        centre = mean.astype(dtype).astype(float)
        bounded = np.maximum(np.maximum(np.minimum(deviation, _LARGEST), _SMALLEST), least_scale)
        scale = np.where(varies, np.exp2(np.rint(np.log2(bounded))), np.inf)
        stored = self._in_csr(centre, scale, moments.is_stored)
        return Coordinates(centre, scale, self.intercept, stored)

    def with_joint_scales(self, joined: NDArray, unit: NDArray | float) -> Coordinates:
        """Return the coordinates in which features of a label in `joined` (d,) share a scale.

        It is `unit` (d,) times a power of two, the largest of those that are nearest the old ones.
        """
        varies = np.isfinite(self.scale)
        exponent = np.rint(np.log2(np.where(varies, self.scale / unit, 1.0)))
        largest = np.full(joined.max(initial=0) + 1, -np.inf)
        np.maximum.at(largest, joined[varies], exponent[varies])
        return replace(self, scale=np.where(varies, unit * np.exp2(largest[joined]), np.inf))

    def _in_csr(
        self, centre: NDArray, scale: NDArray, is_stored: Mask | None
    ) -> Coordinates | None:
        """Return `stored` for columns with this centre and scale; `is_stored` as in `Moments`."""
        if is_stored is None:
            return None
        far = is_stored & (np.abs(centre) / scale > FARTHEST_IN_SINGLE)
        constant = np.maximum(power_of_two(np.abs(centre)), 1.0)
        size = np.where(np.isinf(scale), constant, scale)
        odd = far | ~((size > 1 / _ORDINARY_SCALE) & (size < _ORDINARY_SCALE))
        if not odd.any():
            return None
        return Coordinates(np.where(far, centre, 0.0), np.where(odd, size, 1.0), self.intercept)

    def take(self, features: Places) -> Coordinates:
        """Return the coordinates of some features."""
        stored = None if self.stored is None else self.stored.take(features)
        return Coordinates(self.centre[features], self.scale[features], self.intercept, stored)

    @cached_property
    def of_sparse_blocks(self) -> Coordinates:
        """The coordinates in which the values that blocks of CSR hold become x~."""
        return self if self.stored is None else self.since(self.stored)

    def since(self, earlier: Coordinates) -> Coordinates:
        """Return the coordinates in which the x~ of `earlier` ones become the x~ of these."""
        centre = (self.centre - earlier.centre) / earlier.scale
        return Coordinates(centre, self.scale / earlier.scale, self.intercept)

    def are_nearly(self, other: Coordinates) -> bool:
        """Return whether centres differ by at most a tenth of a scale, and scales by a factor 2.

        Nor may blocks of CSR hold other columns centred.
        """
        distance = np.abs(self.centre - other.centre) / other.scale
        ratio = self.scale / other.scale
        near = (distance <= _NEAR).all() and (ratio <= 2).all() and (ratio >= 0.5).all()
        return bool(near and (self._centred_in_csr == other._centred_in_csr).all())

    @property
    def _centred_in_csr(self) -> Mask:
        """The columns that blocks of CSR hold centred, (d,)."""
        return np.zeros(len(self.scale), bool) if self.stored is None else self.stored.centre != 0

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
        out = np.empty((len(X), self.width), dtype, like=X)
        out[:, d:] = 1
        # In double precision unless neither X nor the result has it, or what is between overflows.
        precision = np.result_type(X.dtype, dtype)
        if precision == np.float32 and not self.are_within(_ORDINARY_IN_SINGLE):
            precision = np.dtype(np.float64)
        deviation = X - self.centre.astype(precision)
        inverse = self._unit[:d, 0].astype(precision)
        np.multiply(deviation, inverse, out=out[:, :d], casting="same_kind")
        return out

    def are_within(self, largest: float) -> bool:
        """Return whether the scales of columns that vary are below this and above its inverse."""
        ordinary = (self.scale > 1 / largest) & (self.scale < largest)
        return bool((ordinary | np.isinf(self.scale)).all())

    def coefficients(self, T: Coef) -> tuple[Coef, PerScore]:
        """Return W (d, K) and b (K,) of the coefficients T (width, K)."""
        with np.errstate(over="ignore", invalid="ignore"):  # of columns that hardly vary at all
            U = self.raw_coefficients(T)
        return U[: len(self.centre)], U[-1] if self.intercept else np.zeros(U.shape[1])

    def working(self, W: Coef, b: PerScore) -> Coef:
        """Return T (width, K) of the coefficients W (d, K) and b (K,)."""
        finite = np.where(np.isfinite(self.scale), self.scale, 0)
        T = W * finite[:, None]
        return np.concatenate([T, (b + self.centre @ W)[None]]) if self.intercept else T

    def raw_coefficients(self, T: Coef) -> Coef:
        """Return W over b, (width, K), of the coefficients T."""
        U = T * self._unit.astype(T.dtype)
        if self.intercept:
            U[-1] -= self.centre.astype(T.dtype) @ U[:-1]
        return U

    def pull_back(self, G: Coef) -> Coef:
        """Return the gradient in T, (width, K), of the gradient G (width, K) in W over b."""
        T = G * self._unit.astype(G.dtype)
        if self.intercept:
            T[:-1] -= np.outer((self.centre / self.scale).astype(G.dtype), G[-1])
        return T

    def matrix(self) -> NDArray:
        """Return the matrix (width, width) that takes (x, 1) to x~; (x,) without an intercept."""
        L = np.diag(self._unit[:, 0])
        if self.intercept:
            L[:-1, -1] = -self.centre / self.scale
        return L

    def covariance(self, V: NDArray) -> NDArray[np.float64]:
        """Return the covariances (B, p, p) of W over b + centre' W, given those of T.

        They are score after score. Those of b itself would lose digits where centres are far.
        """
        return covariance_of_image(V, np.diag(self._unit[:, 0]))

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
