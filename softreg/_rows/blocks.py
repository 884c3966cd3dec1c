"""Blocks: some rows, and the products with them that kernels are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, RowLosses, Scores, ScoreStore
from softreg._rows.coordinates import Coordinates
from softreg._rows.targets import Targets


@dataclass(frozen=True, eq=False)
class Block(ABC):
    """Some rows, m of them from row `start` on, with their targets, weights and offsets.

    Coefficients U come as `Rows.block_coefficients` gives them, once for all blocks of a pass;
    sums go back through `Rows.working_gradient`. A block can be pickled and sent to another
    process; what it keeps stays behind.

    Attributes
    ----------
    start : int
    X : ndarray or CSR (m, width or d)
    Y : Targets
    weight : ndarray (m,) or None, >= 0
    offset : ndarray (m, K) or None
    store : ScoreStore or None, what is kept from pass to pass; None: nothing
    """

    start: int
    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    store: ScoreStore | None = field(default=None, kw_only=True)

    @abstractmethod
    def linear_scores(self, U: Coef) -> Scores:
        """Return the scores without offset, T' x~ = W' x + b, (K, m)."""

    @abstractmethod
    def gather(self, R: Scores) -> NDArray:
        """Return the sum over rows of features times R (K, m), in double precision."""

    @abstractmethod
    def weighted_squares(self, C: Scores) -> NDArray:
        """Return the sums over rows, with factors C (K, m), that `Rows.working_squares` takes."""

    @abstractmethod
    def squared_lengths(self, V: Coef) -> Scores:
        """Return sum_j x~_j^2 V_jk, (K, m), of weights V (width, K) >= 0 of the features."""

    @abstractmethod
    def features(self) -> NDArray:
        """Return x~, (m, width)."""

    def scores(self, U: Coef) -> Scores:
        """Return the scores Z = T' x~ + offset, (K, m)."""
        Z = self.linear_scores(U)
        return Z if self.offset is None else np.add(Z, self.offset.T, out=Z)

    def weights(self) -> NDArray:
        """Return the weights (m,), or (B, m) where those of the problems differ."""
        weights = self._weights()
        return np.ones(self.X.shape[0]) if weights is None else weights

    def weighted(self, R: RowLosses) -> RowLosses:
        """Return R, (K, m) or (B, m), times the weights."""
        weights = self._weights()
        if weights is None:
            return R
        problems = weights.reshape(-1, 1, weights.shape[-1])
        return (R.reshape(len(problems), -1, problems.shape[-1]) * problems).reshape(R.shape)

    def kept(self, key: Hashable, make: Callable[[], NDArray]) -> NDArray:
        """Return what was made of the scores under this key in an earlier pass, or make it."""
        return make() if self.store is None else self.store.kept(key, make)

    def _weights(self) -> NDArray | None:
        loss_weights = self.Y.loss_weights()
        if loss_weights is None or self.weight is None:
            return self.weight if loss_weights is None else loss_weights
        return loss_weights * self.weight


class WorkingBlock(Block):
    """X holds x~ itself, (m, width); U is T, and sums are those of x~."""

    def linear_scores(self, U: Coef) -> Scores:
        return U.T @ self.X.T

    def gather(self, R: Scores) -> NDArray:
        G = np.dot(R.astype(self.X.dtype, copy=False), self.X)  # as @, but always without the GIL
        return G.T.astype(np.float64, copy=False)

    def weighted_squares(self, C: Scores) -> NDArray:
        return (self.X * self.X).T @ C.T

    def squared_lengths(self, V: Coef) -> Scores:
        return V.T @ (self.X * self.X).T

    def features(self) -> NDArray:
        return self.X


@dataclass(frozen=True, eq=False)
class RawBlock(Block):
    """X holds x in the user's units, (m, d): U is W over b, and sums are those of (x, 1).

    No copy is made, and CSR stays CSR: centring is part of the products. That halves the
    iterations on text, where the intercept is all but a combination of the columns.
    """

    coordinates: Coordinates = field(kw_only=True)

    def linear_scores(self, U: Coef) -> Scores:
        d = self.X.shape[1]
        Z = self._times(U[:d])
        if len(U) > d:
            Z += U[d:].T
        return Z

    def gather(self, R: Scores) -> NDArray:
        return np.concatenate([self._summed(R), self._totals(R)[: self.coordinates.intercept]])

    def weighted_squares(self, C: Scores) -> NDArray:
        second, first = replace(self, X=_squared(self.X))._summed(C), self._summed(C)
        return np.concatenate([second, first, self._totals(C)])

    def squared_lengths(self, V: Coef) -> Scores:
        centre, scale = self.coordinates.centre[:, None], self.coordinates.scale[:, None]
        d = len(centre)
        raw = V[:d] / scale**2  # the weights of (x - centre)^2
        squares = replace(self, X=_squared(self.X))._times(raw) - self._times(2 * centre * raw)
        squares += (centre**2 * raw).sum(axis=0)[:, None]
        return np.maximum(squares, 0) + V[d:].sum(axis=0)[:, None]

    def features(self) -> NDArray:
        return self.coordinates.transform(self.X, self.X.dtype)

    def _times(self, W: NDArray) -> NDArray:
        return W.T @ self.X.T

    def _summed(self, R: NDArray) -> NDArray:
        return np.dot(R, self.X).T

    def _totals(self, R: NDArray) -> NDArray:
        return R.sum(axis=1, dtype=float)[None]


class SparseBlock(RawBlock):
    """X holds x as CSR, whose products want rows of the coefficients side by side."""

    def features(self) -> NDArray:
        return self.coordinates.transform(self.X.toarray(), self.X.dtype)

    def _times(self, W: NDArray) -> NDArray:
        return np.ascontiguousarray((self.X @ W).T)

    def _summed(self, R: NDArray) -> NDArray:
        return self._transposed @ np.ascontiguousarray(R.T, dtype=self.X.dtype)

    @cached_property
    def _transposed(self) -> Any:
        return self.X.T


def _squared(X: Any) -> Any:
    """Return X with its values squared, sparse as it was."""
    return X * X if isinstance(X, np.ndarray) else X.power(2)
