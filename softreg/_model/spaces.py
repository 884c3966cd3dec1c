"""Spaces of coefficients that hold an optimum: the span of the rows, and what data identify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.penalties import Penalty
from softreg._rows.arrays import Coef, Mask, PerScore, Places, covariance_of_image
from softreg._rows.base import Rows
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows

# A feature is within the span of the rows where the rest of a unit vector is rounding.
_WITHIN = 1e-10


class Space(Protocol):
    """A subspace of coefficients that holds an optimum, and the way back from its coordinates."""

    def coefficients(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        """Return the user's W (d, K) and b (K,), given those of this space."""

    def working(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        """Return those of this space that make the scores of the user's W (d, K) and b (K,)."""

    def unidentified(self, inner: Mask, free: Mask) -> Mask:
        """Return which of the user's features, (d,), have coefficients that the data leave open.

        `inner` says so of this space's features, as a space within it found; `free` which of them
        have no penalty.
        """

    def covariance(self, V: NDArray, with_prior: bool) -> NDArray[np.float64]:
        """Return the covariances (B, p, p) of the user's W over b + centre' W, given this space's.

        Centres are those of `user_centre`; coefficients are score after score. `with_prior` says
        whether those that no row bears on vary as their penalty lets them, or not at all.
        """

    def user_centre(self, inner: NDArray) -> NDArray[np.float64]:
        """Return the centres of the user's features, (d,), given those of this space's."""

    def unidentified_directions(self, inner: Coef, score: int) -> Coef:
        """Return directions (u, r) along which a score's W over b, the user's, are not identified.

        `inner` are those of this space's coefficients; the space adds others.
        """


def rotation_pays(rows: Rows) -> TypeGuard[MemoryRows]:
    """Return whether X is dense, wide and small, so that it is solved in the span of its rows."""
    if not rows.in_memory or rows.is_sparse:
        return False
    n, d, limits = rows.n, len(rows.coordinates.centre), rows.threads.limits
    small = n <= limits.rotated_rows and 8 * n * d <= limits.rotated_bytes
    return small and rows.totals.n < d


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Coordinates in the span of the rows: the same optimum, d / n times cheaper.

    With A = (X - centre) / sqrt(l2) and A' = Q R, the weights are W = Q theta / sqrt(l2), where l2
    are the strengths of the penalty on W in the user's units; the features become A Q = R' (n, n)
    and the penalty theta' theta / 2. (The eigenvectors of A A' would do, but squaring A loses half
    the digits.) Columns without a penalty are not rotated; where there are no others, all are, in
    units of their deviations. Source: Hastie and Tibshirani (2004), "Efficient quadratic
    regularization for expression arrays", Biostatistics 5, 329-340.

    Attributes
    ----------
    rows : MemoryRows, whose X is (n, m + number of unrotated columns); m rows have weight
    penalty : Penalty, on those columns
    Q : ndarray (d, m), orthonormal columns, in the span of the rows that have weight
    centre, unit : ndarrays (d,); unit is 1 / sqrt(l2), 0 for unrotated columns
    """

    rows: MemoryRows
    penalty: Penalty
    Q: NDArray[np.float64]
    centre: NDArray[np.float64]
    unit: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: MemoryRows, penalty: Penalty, unit: NDArray) -> RowSpace:
        """Return the row space of raw rows, given the penalty of their columns over `unit` (d,)."""
        rows = rows.on_host()
        # 1. The unit of each column, in which the penalty is theta' theta / 2.
        moments = rows.totals.moments
        centre = moments.mean * rows.coordinates.intercept
        spread = np.hypot(moments.deviation, moments.mean - centre)
        inverse_unit = unit * np.sqrt(penalty.ridge_by_feature)
        is_penalised = bool(inverse_unit.any())
        inverse_unit = np.where(spread > 0, inverse_unit if is_penalised else spread, 1.0)
        unit = np.zeros_like(inverse_unit)
        np.divide(1, inverse_unit, out=unit, where=inverse_unit > 0)
        # 2. Centred columns, twice: what rounding leaves of the mean would pass for a feature.
        A = (rows.X[rows.places] - centre) * unit
        if rows.coordinates.intercept:
            A -= rows.weights[rows.places] @ A / rows.totals.weight
        # 3. The rotation. Rows that depend on others leave rounding in R, which is no feature, and
        #    so do constant columns in Q. The shortest rows come last: what is left of them is then
        #    their own rounding, not that of longer rows times the ratio.
        order = np.argsort(-np.abs(A).max(axis=1, initial=0), kind="stable")
        Q, R = linalg.qr(A[order].T, mode="economic", overwrite_a=True, check_finite=False)
        R[np.abs(R).max(axis=1) <= np.finfo(float).eps * max(A.shape) * np.abs(R).max()] = 0
        Q[spread == 0] = 0
        # 4. The rotated columns, also of rows without weight, beside those that have no penalty.
        unrotated, others = (unit == 0) & is_penalised, np.flatnonzero(rows.weights == 0)
        rotated_X = np.empty((rows.n, len(R)))
        rotated_X[rows.places[order]] = R.T
        with np.errstate(over="ignore", invalid="ignore"):  # those may hold any values
            rotated_X[others] = ((rows.X[others] - centre) * unit) @ Q
        X = np.hstack([rotated_X, rows.X[:, unrotated]])
        coordinates = Coordinates.raw(X.shape[1], rows.coordinates.intercept)
        rotated = rows.replaced(X=X, coordinates=coordinates, dtype=X.dtype)
        return cls(rotated, penalty.rotated(len(R), unrotated), Q, centre, unit)

    def coefficients(self, theta: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        rank = self.Q.shape[1]
        W = self.unit[:, None] * (self.Q @ theta[:rank])
        intercept = b - self.centre @ W
        W[self._unrotated] = theta[rank:]
        return W, intercept

    def working(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        scaled, unrotated = np.zeros(W.shape), self._unrotated
        np.divide(W, self.unit[:, None], out=scaled, where=self.unit[:, None] > 0)
        W_of_rotated = np.where(unrotated[:, None], 0, W)
        return np.concatenate([self.Q.T @ scaled, W[unrotated]]), b + self.centre @ W_of_rotated

    def unidentified(self, inner: Mask, free: Mask) -> Mask:
        rank, unidentified = self.Q.shape[1], np.zeros(len(self.Q), dtype=bool)
        if free[:rank].all():  # the data leave open what is outside the span of the rows
            spanned = (self.rows.X[:, :rank] != 0).any(axis=0)
            varies = (self.Q != 0).any(axis=1)
            unidentified = varies & (np.square(self.Q[:, spanned]).sum(axis=1) < 1 - _WITHIN)
        unidentified[self._unrotated] = inner[rank:]
        return unidentified

    def covariance(self, V: NDArray, with_prior: bool) -> NDArray[np.float64]:
        # 1. In the span of the rows.
        rotated = self._from_rotated.copy()
        if self.rows.coordinates.intercept:
            rotated[-1] = np.eye(rotated.shape[1])[-1]
        covariance = covariance_of_image(V, rotated)
        if not with_prior:
            return covariance
        # 2. Outside of it the data say nothing: what has a penalty keeps its prior.
        B, d = len(V), len(self.Q)
        outside, u = self._outside[:d], len(rotated)
        precision = np.broadcast_to(self._precision, self.rows.n_scores)
        variance = np.divide(1, precision, out=np.zeros(len(precision)), where=precision > 0)
        blocks = covariance.reshape(B, len(precision) // B, u, -1, u)
        diagonal_blocks = np.einsum("bkikj->bkij", blocks)[..., :d, :d]  # a view
        diagonal_blocks += variance.reshape(B, -1, 1, 1) * (outside @ outside.T)
        return covariance

    def user_centre(self, inner: NDArray) -> NDArray[np.float64]:
        rank, centre = self.Q.shape[1], self.centre.copy()
        shift, rotated = self.Q @ inner[:rank], self.unit > 0
        centre[rotated] += shift[rotated] / self.unit[rotated]
        centre[self._unrotated] = inner[rank:]
        return centre

    def unidentified_directions(self, inner: Coef, score: int) -> Coef:
        # Rotated columns of zeros are outside the span, which is added below.
        unrotated = ~(inner[: self.Q.shape[1]] != 0).any(axis=0)
        is_free = np.broadcast_to(self._precision, self.rows.n_scores)[score] == 0
        of_inner, constants = (
            self._from_rotated @ inner[:, unrotated],
            self._is_constant.nonzero()[0],
        )
        constant = np.zeros((len(of_inner), len(constants)))
        constant[constants, np.arange(len(constants))] = 1
        if not is_free:
            return np.hstack([of_inner, constant])
        if self.rows.coordinates.intercept:
            constant[-1] = -self.centre[constants]
        return np.hstack([of_inner, constant, self._outside])

    @property
    def _precision(self) -> PerScore:
        """The strength of the penalty on rotated features, (K,) or (1,)."""
        return self.penalty.ridge[: self.Q.shape[1]].max(axis=0, initial=0)

    @property
    def _from_rotated(self) -> Coef:
        """The matrix (u, width) that makes W over b of those in these coordinates."""
        coordinates = self.rows.coordinates
        identity = np.eye(coordinates.width)
        W, b = self.coefficients(*coordinates.coefficients(identity))
        return np.concatenate([W, b[None]]) if coordinates.intercept else W

    @property
    def _outside(self) -> Coef:
        """W over b, (u, d), of coefficients outside the span of the rows, in units of the penalty.

        No row's score depends on them.
        """
        in_span = self.Q * (self.rows.X[:, : self.Q.shape[1]] != 0).any(axis=0)
        varies = ~(self._is_constant | self._unrotated)
        W = self.unit[:, None] * (np.diag(varies.astype(float)) - in_span @ in_span.T)
        intercept = self.rows.coordinates.intercept
        return np.concatenate([W, -self.centre[None] @ W]) if intercept else W

    @property
    def _is_constant(self) -> Mask:
        """Columns that are constant, (d,)."""
        return ~((self.Q != 0).any(axis=1) | self._unrotated)

    @property
    def _unrotated(self) -> Mask:
        """Columns without a penalty, which were not rotated, (d,)."""
        return (self.unit == 0) & (self.rows.X.shape[1] > self.Q.shape[1])


@dataclass(frozen=True, eq=False)
class IdentifiedSpace:
    """Coefficients that are zero for features which others replace, in some of the scores.

    Such as one of the columns that stand for the categories of a variable. Of all coefficients with
    the same scores, the user gets those with the least sum of squares: the limit of ever weaker
    penalties, whatever the order of the columns.

    Attributes
    ----------
    null_coef, null_intercept : ndarrays (d, r) and (r,), W of length one, and b, that change no
        score; each has an entry for one of the features that are left out
    left_out : ndarray (r,), the numbers of the features whose coefficients are zero
    scores : ndarray (q,), the numbers of the scores in which they are
    """

    null_coef: Coef
    null_intercept: PerScore
    left_out: Places
    scores: Places

    @classmethod
    def from_null_vectors(
        cls, W: Coef, b: PerScore, left_out: Places, scores: Places
    ) -> IdentifiedSpace:
        """Return the space, given W (d, r) of any length, and b (r,), that change no score."""
        largest = np.abs(W).max(axis=0)  # whose square need not be a number
        length = np.linalg.norm(W / largest, axis=0)
        return cls(W / largest / length, b / largest / length, left_out, scores)

    def coefficients(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        shares = np.linalg.lstsq(self.null_coef, W[:, self.scores], rcond=None)[0]
        return self._without_shares(W, b, shares)

    def working(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        places = np.ix_(self.left_out, self.scores)
        entries = self.null_coef[self.left_out, np.arange(len(self.left_out))]
        W, b = self._without_shares(W, b, W[places] / entries[:, None])
        W[places] = 0  # but for rounding they are
        return W, b

    def unidentified(self, inner: Mask, free: Mask) -> Mask:
        return inner | (self.null_coef != 0).any(axis=1)

    def covariance(self, V: NDArray, with_prior: bool) -> NDArray[np.float64]:
        return V  # of combinations that are identified they are the same

    def user_centre(self, inner: NDArray) -> NDArray[np.float64]:
        return inner

    def unidentified_directions(self, inner: Coef, score: int) -> Coef:
        if score not in self.scores:
            return inner
        null = np.concatenate([self.null_coef, self.null_intercept[None]])
        return np.hstack([inner, null[: len(inner)]])

    def _without_shares(self, W: Coef, b: PerScore, shares: Coef) -> tuple[Coef, PerScore]:
        """Return coefficients less shares (r, q) of the null vectors."""
        W, b = W.copy(), b.copy()
        W[:, self.scores] -= self.null_coef @ shares
        b[self.scores] -= self.null_intercept @ shares
        return W, b
