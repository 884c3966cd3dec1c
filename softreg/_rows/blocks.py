"""Blocks: some of the rows, and the products with their features that kernels are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import (
    Coef,
    Features,
    PerRow,
    PickledByFields,
    Places,
    RowLosses,
    Scores,
    ScoreStore,
    Store,
    nonzero_rows,
    values_at_once,
)
from softreg._rows.coordinates import Coordinates
from softreg._rows.targets import Targets

# Half a megabyte of doubles, which stays in a core's second-level cache.
_CHUNK_VALUES = 2**16
# From so many columns on it is worth looking for those with coefficients that are all zero, and
# leaving these out where the others are fewer than one in so many (measured on 64 x 6,830).
_MANY_COLUMNS, _FEW = 512, 4


@dataclass(frozen=True, eq=False)
class Block(PickledByFields, ABC):
    """Some rows, m of those from row `start` on, with their targets, weights and offsets.

    Coefficients U (width, K) are those of `Rows.block_coefficients`, made once for all blocks of a
    pass; sums become gradients by `Rows.working_gradient`. A block can be pickled and sent to
    another process; what it keeps stays behind.

    Attributes
    ----------
    start : int
    X : ndarray or CSR (m, width or d)
    Y : Targets
    weight : ndarray (m,) or None, >= 0
    offset : ndarray (m, K) or None
    coordinates : Coordinates, those of x~
    store : ScoreStore or None, what is kept of the scores from pass to pass; None: nothing
    feature_store : Store or None, what is kept of the features alone, if they are few
    """

    start: int
    X: Features
    Y: Targets
    weight: PerRow | None
    offset: NDArray | None
    coordinates: Coordinates
    store: ScoreStore | None = None
    feature_store: Store | None = None

    @abstractmethod
    def linear_scores(self, U: Coef) -> Scores:
        """Return the scores without offset, T' x~ = W' x + b, (K, m)."""

    @abstractmethod
    def gather(self, R: Scores) -> Coef:
        """Return sum_i x_i r_i' of residuals R (K, m), (width, K), in double precision.

        Of CSR in single precision, in single precision: such sums serve steps.
        """

    @abstractmethod
    def weighted_squares(self, C: Scores) -> NDArray:
        """Return the sums, weighted by C (K, m) >= 0, that `Rows.working_squares` takes."""

    @abstractmethod
    def squared_lengths(self, V: Coef) -> Scores:
        """Return sum_j V_jk x~_j^2, (K, m), for weights V (width, K) >= 0 of the features."""

    @abstractmethod
    def features(self) -> NDArray:
        """Return x~, (m, width)."""

    @abstractmethod
    def columns(self, features: Places) -> NDArray:
        """Return x~ of some features, (m, q), and the 1 of the intercept, if there is one."""

    def coordinate_products(self, C: Scores, features: Places, scores: Places) -> NDArray:
        """Return sum_i a_i a_i', (q, q), of a_i = c_ik x~_ij for some features j in scores k, (q,).

        Features are places in x~, that of the intercept among them.
        """
        columns, places = np.unique(features, return_inverse=True)
        X = self.columns(columns[columns < len(self.coordinates.centre)])
        q, m = len(features), len(X)
        most, total = values_at_once(X, _CHUNK_VALUES), np.zeros((q, q), like=X)
        step = max(1, min(m, max(most // max(q, 1), q // 2)))
        for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
            chunk = X[rows].T.copy()[places]
            chunk *= C[scores, rows]
            total += chunk @ chunk.T
        return total

    def scores(self, U: Coef) -> Scores:
        """Return the scores Z = T' x~ + offset, (K, m)."""
        Z = self.linear_scores(U)
        return Z if self.offset is None else np.add(Z, self.offset.T, out=Z)

    def weights(self) -> PerRow | RowLosses:
        """Return the weights (m,), or (B, m) where problems weigh rows differently."""
        if self._weights is not None:
            return self._weights
        return np.ones(self.X.shape[0], like=None if sparse.issparse(self.X) else self.X)

    def weighted(self, R: Scores | RowLosses) -> NDArray:
        """Return values R, (K, m) or (B, m), times the weights of their problems."""
        weights = self._weights
        if weights is None:
            return R
        by_problem = weights.reshape(-1, 1, weights.shape[-1])
        return (R.reshape(len(by_problem), -1, R.shape[-1]) * by_problem).reshape(R.shape)

    def kept(self, key: Hashable, make: Callable[[], Scores]) -> Scores:
        """Return what was made of the scores under a key in an earlier pass, or make it, (K, m)."""
        return make() if self.store is None else self.store.kept(key, make)

    @cached_property
    def _weights(self) -> PerRow | RowLosses | None:
        """The weights, (m,) or (B, m); None: all one."""
        loss_weights = self.Y.loss_weights()
        if loss_weights is None or self.weight is None:
            return self.weight if loss_weights is None else loss_weights
        return loss_weights * self.weight


class WorkingBlock(Block):
    """X holds x~ itself, (m, width): U is T, and sums are those over x~."""

    def linear_scores(self, U: Coef) -> Scores:
        if len(U) >= _MANY_COLUMNS:  # of sparse coefficients, only the columns that count
            some = nonzero_rows(U)
            if _FEW * len(some) < len(U):
                return U[some].T @ self.X[:, some].T
        return U.T @ self.X.T

    def gather(self, R: Scores) -> Coef:
        G = np.dot(R.astype(self.X.dtype, copy=False), self.X)  # as @, but always without the GIL
        return G.T.astype(np.float64, copy=False)

    def weighted_squares(self, C: Scores) -> NDArray:
        return (self.X * self.X).T @ C.T

    def squared_lengths(self, V: Coef) -> Scores:
        return V.T @ (self.X * self.X).T

    def features(self) -> NDArray:
        return self.X

    def columns(self, features: Places) -> NDArray:
        d, width = len(self.coordinates.centre), self.X.shape[1]
        return self.X[:, np.append(features, np.arange(d, width))]


class RawBlock(Block):
    """X holds x in the user's units, (m, d): U is W over b, and sums are those over (x, 1).

    No copy is made, and CSR stays CSR: centring is part of the products. On text, where the
    columns all but add up to the intercept, centring halves the iterations.
    """

    def linear_scores(self, U: Coef) -> Scores:
        d = self.X.shape[1]
        Z = self._scores_without_intercept(U[:d])
        if len(U) > d:
            Z += U[d:].T
        return Z

    def gather(self, R: Scores) -> Coef:
        intercept = self._summed_scores(R)[: self.coordinates.intercept]
        return np.concatenate([self._gathered_features(R), intercept], dtype=self.X.dtype)

    def weighted_squares(self, C: Scores) -> NDArray:
        # sum_i c_i x_i^2 (d, K) over sum_i c_i x_i (d, K) over sum_i c_i (1, K)
        second = replace(self, X=_squared(self.X))._gathered_features(C)
        return np.concatenate([second, self._gathered_features(C), self._summed_scores(C)])

    def squared_lengths(self, V: Coef) -> Scores:
        centre, scale = self.coordinates.centre[:, None], self.coordinates.scale[:, None]
        d = len(centre)
        raw = V[:d] / scale**2  # the weights of (x - centre)^2 = x^2 - 2 centre x + centre^2
        squares = replace(self, X=_squared(self.X))._scores_without_intercept(raw)
        squares = squares - self._scores_without_intercept(2 * centre * raw)
        squares += (centre**2 * raw).sum(axis=0)[:, None]
        return np.maximum(squares, 0) + V[d:].sum(axis=0)[:, None]

    def features(self) -> NDArray:
        return self.coordinates.transform(self.X, self.X.dtype)

    def columns(self, features: Places) -> NDArray:
        some = replace(self, X=self.X[:, features], coordinates=self.coordinates.take(features))
        return some.features()

    def _scores_without_intercept(self, W: Coef) -> Scores:
        """Return W' x, (K, m), of weights W (d, K)."""
        return W.T @ self.X.T

    def _gathered_features(self, R: Scores) -> Coef:
        """Return sum_i x_i r_i', (d, K)."""
        return np.dot(R, self.X).T

    def _summed_scores(self, R: Scores) -> Coef:
        """Return sum_i r_i', (1, K), in double precision."""
        return R.sum(axis=1, dtype=float)[None]


class SparseBlock(RawBlock):
    """X holds x as CSR, (m, d), whose products are fastest with row-major coefficients."""

    def features(self) -> NDArray:
        return self.coordinates.transform(self.X.toarray(), self.X.dtype)

    def coordinate_products(self, C: Scores, features: Places, scores: Places) -> NDArray:
        # Products of what is stored, and centring after them: of rows with few values in these
        # columns a thousandth of the dense ones.
        all_scores, at_score = np.unique(scores, return_inverse=True)
        is_feature = features < len(self.coordinates.centre)
        of_features, C, both = features[is_feature], C[all_scores], np.ix_(is_feature, is_feature)
        # These columns first: all would be sorted for the sake of few.
        rows = self.X[:, of_features].T.tocsr()
        at = np.repeat(at_score[is_feature], np.diff(rows.indptr)), rows.indices
        A = sparse.csr_array((rows.data * C[at], rows.indices, rows.indptr), shape=rows.shape)
        sums = C @ C.T
        with_intercepts = sums[at_score]
        with_intercepts[is_feature] = A @ C.T
        crossed = with_intercepts[:, at_score]  # of each with the intercept of the other's score
        total = np.where(is_feature, crossed.T, crossed)
        total[both] = (A @ A.T).toarray()
        centre, scale = np.zeros(len(features)), np.ones(len(features))
        centre[is_feature] = self.coordinates.centre[of_features]
        scale[is_feature] = self.coordinates.scale[of_features]
        moved = centre * crossed
        total += np.outer(centre, centre) * sums[np.ix_(at_score, at_score)] - moved - moved.T
        return total / scale / scale[:, None]

    def _scores_without_intercept(self, W: Coef) -> Scores:
        return np.ascontiguousarray((self.X @ W).T)

    def _gathered_features(self, R: Scores) -> Coef:
        return self._transposed @ np.ascontiguousarray(R.T, dtype=self.X.dtype)

    @cached_property
    def _transposed(self) -> Features:
        return self.X.T


def _squared(X: Any) -> Features:
    """Return X with its values squared, sparse as it was."""
    is_sparse: bool = sparse.issparse(X)
    return X.power(2) if is_sparse else X * X
