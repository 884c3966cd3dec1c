"""Blocks: some rows in working coordinates, and the products with them that kernels are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._coordinates import Coordinates
from softreg._targets import Targets


@dataclass(frozen=True, eq=False)
class Block(ABC):
    """Some rows x~ in working coordinates, from row `start` on, with all that belongs to them."""

    start: int
    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None

    @abstractmethod
    def linear(self, T: NDArray) -> NDArray:
        """Return T' x~ for each row, (K, m)."""

    @abstractmethod
    def gather(self, R: NDArray) -> NDArray:
        """Return sum_i x~_i r_i', (width, K), in double precision."""

    @abstractmethod
    def squares(self, C: NDArray) -> NDArray:
        """Return sum_i c_i x~_ij^2, (width, K)."""

    @abstractmethod
    def dense(self) -> NDArray:
        """Return x~, (m, width)."""

    def scores(self, T: NDArray) -> NDArray:
        """Return the scores Z = T' x~ + offset, (K, m)."""
        Z = self.linear(T)
        return Z if self.offset is None else np.add(Z, self.offset.T, out=Z)

    def weights(self) -> NDArray:
        """Return the weights (m,), ones where none were given."""
        return np.ones(self.X.shape[0]) if self.weight is None else self.weight

    def weighted(self, R: NDArray) -> NDArray:
        """Return R (..., m) times the weights."""
        return R if self.weight is None else R * self.weight


class WorkingBlock(Block):
    """X holds x~ itself, (m, width)."""

    def linear(self, T: NDArray) -> NDArray:
        return T.T.astype(self.X.dtype, copy=False) @ self.X.T

    def gather(self, R: NDArray) -> NDArray:
        G = np.dot(R.astype(self.X.dtype, copy=False), self.X)  # as @, but always without the GIL
        return G.T.astype(np.float64, copy=False)

    def squares(self, C: NDArray) -> NDArray:
        return (self.X * self.X).T @ C.T

    def dense(self) -> NDArray:
        return self.X


@dataclass(frozen=True, eq=False)
class RawBlock(Block):
    """X holds x in the user's units, ndarray or CSR: the coefficients are brought to it.

    No copy is made, and CSR stays CSR: centring is part of the products. That halves the
    iterations on text, where the intercept is all but a combination of the columns.
    """

    coordinates: Coordinates

    def linear(self, T: NDArray) -> NDArray:
        W, b = self.coordinates.coefficients(T)
        Z = self._times(W.astype(self.X.dtype, copy=False))
        Z += b[:, None]
        return Z

    def gather(self, R: NDArray) -> NDArray:
        return self.coordinates.pull_back(self._summed(R), R.sum(axis=1, dtype=float))

    def squares(self, C: NDArray) -> NDArray:
        second, first = replace(self, X=_squared(self.X))._summed(C), self._summed(C)
        return self.coordinates.second_moments(second, first, C.sum(axis=1, dtype=float))

    def dense(self) -> NDArray:
        return self.coordinates.transform(self.X, self.X.dtype)

    def _times(self, W: NDArray) -> NDArray:
        return W.T @ self.X.T

    def _summed(self, R: NDArray) -> NDArray:
        return np.dot(R, self.X).T


class SparseBlock(RawBlock):
    """X holds x as CSR, whose products want rows of the coefficients side by side."""

    def dense(self) -> NDArray:
        return self.coordinates.transform(self.X.toarray(), self.X.dtype)

    def _times(self, W: NDArray) -> NDArray:
        return np.ascontiguousarray((self.X @ W).T)

    def _summed(self, R: NDArray) -> NDArray:
        return self.X.T @ np.ascontiguousarray(R.T, dtype=self.X.dtype)


def _squared(X: Any) -> Any:
    """Return X with its values squared, sparse as it was."""
    return X * X if isinstance(X, np.ndarray) else X.power(2)
