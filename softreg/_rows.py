"""Rows: where the data are, and sums over them.

Every quantity that a solver needs is ``rows.sum(kernel)``: the sum over row blocks of what a
kernel makes of one `Block`. Where blocks come from, and who adds them, is known here alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._coordinates import Coordinates
from softreg._targets import Targets
from softreg._threads import Threads

# A block of 2^17 values (1 MB of doubles) stays in a core's second-level cache for both products
# of a pass; measured flat from 2^15 to 2^18.
_BLOCK_VALUES = 2**17
# Standardised copies up to this size are kept; larger X is standardised anew in each pass, block
# by block, which costs little beside the products and no memory.
_KEPT_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class Block(ABC):
    """Some rows x~ in working coordinates, with their targets, weights and offsets."""

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates

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


class DenseBlock(Block):
    """X holds x~ itself."""

    def linear(self, T: NDArray) -> NDArray:
        return T.T.astype(self.X.dtype, copy=False) @ self.X.T

    def gather(self, R: NDArray) -> NDArray:
        return (R.astype(self.X.dtype, copy=False) @ self.X).T.astype(np.float64, copy=False)

    def squares(self, C: NDArray) -> NDArray:
        return (self.X * self.X).T @ C.T

    def dense(self) -> NDArray:
        return self.X


class SparseBlock(Block):
    """X holds the user's CSR rows x; the coefficients are brought to them, so X stays sparse."""

    def linear(self, T: NDArray) -> NDArray:
        W, b = self.coordinates.coefficients(T)
        Z = self.X @ W.astype(self.X.dtype, copy=False) + b
        return np.ascontiguousarray(Z.T)

    def gather(self, R: NDArray) -> NDArray:
        G = self.X.T @ np.ascontiguousarray(R.T, dtype=self.X.dtype)
        return self.coordinates.pull_back(G.astype(np.float64, copy=False), R.sum(axis=1))

    def squares(self, C: NDArray) -> NDArray:
        weights = np.ascontiguousarray(C.T, dtype=np.float64)
        second, first, total = (
            self.X.multiply(self.X).T @ weights,
            self.X.T @ weights,
            C.sum(axis=1),
        )
        return self.coordinates.second_moments(second, first, total)

    def dense(self) -> NDArray:
        return self.coordinates.transform(self.X.toarray(), self.X.dtype)


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """Rows in memory, in the user's units; their blocks come in working coordinates.

    Attributes
    ----------
    X : array of shape (n, d)
    Y : Targets
    weight : ndarray of shape (n,) or None, >= 0
    offset : ndarray of shape (n, K) or None
    coordinates : Coordinates
    threads : Threads
    """

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads

    @abstractmethod
    def block(self, cut: slice) -> Block:
        """Return the rows of a cut in working coordinates."""

    @abstractmethod
    def moments(self) -> tuple[NDArray, NDArray]:
        """Return the weighted mean and variance of each raw column, (d,) each."""

    @abstractmethod
    def in_dtype(self, dtype: type) -> Rows:
        """Return the same rows with products in another precision."""

    @property
    @abstractmethod
    def values(self) -> int:
        """Number of values that a product touches: the size of X, or its nonzeros."""

    @property
    def is_sparse(self) -> bool:
        """Whether a pass costs the nonzeros of X rather than its size."""
        return sparse.issparse(self.X)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @cached_property
    def weights(self) -> NDArray:
        """The weights (n,), ones where none were given."""
        return np.ones(self.n) if self.weight is None else self.weight

    @cached_property
    def total_weight(self) -> float:
        """S, the sum of the weights."""
        return float(self.weights.sum())

    @cached_property
    def mean_target(self) -> NDArray:
        """Weighted mean of the targets, (K,)."""
        return self.Y.weighted_sum(self.weights) / self.total_weight

    @cached_property
    def cuts(self) -> list[slice]:
        """Slices of rows, one a block; equally many for each thread."""
        count = max(1, round(self.values / _BLOCK_VALUES))
        if count > 1:
            count = -(-count // self.threads.count) * self.threads.count
        edges = np.linspace(0, self.n, min(count, self.n) + 1).astype(int)
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def standardised(self) -> Rows:
        """Return the same rows in centred, scaled coordinates."""
        mean, variance = self.moments()
        own = self.coordinates
        return replace(self, coordinates=own.standardising(mean, variance, self.X.dtype))

    def sum(self, kernel: Callable[[Block], tuple]) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays."""
        shares = np.array_split(np.arange(len(self.cuts)), min(len(self.cuts), self.threads.count))

        def add_share(share: NDArray) -> list:
            total = list(kernel(self.block(self.cuts[share[0]])))
            for i in share[1:]:
                _add_inplace(total, kernel(self.block(self.cuts[i])))
            return total

        total, *others = self.threads.map(add_share, shares)
        for other in others:
            _add_inplace(total, other)
        return tuple(total)

    def each(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        """Return what `kernel` makes of each row, (n,)."""
        return np.concatenate(self.threads.map(lambda cut: kernel(self.block(cut)), self.cuts))

    def sample(self, rows: NDArray, weight: NDArray) -> Rows:
        """Return some of the rows, each standing for `weight` times its own weight."""
        own = weight * self.weights[rows]
        offset = None if self.offset is None else self.offset[rows]
        return replace(self, X=self.X[rows], Y=self.Y[rows], weight=own, offset=offset)

    def _rest(self, cut: slice) -> tuple:
        weight = None if self.weight is None else self.weight[cut]
        offset = None if self.offset is None else self.offset[cut]
        return self.Y[cut], weight, offset, self.coordinates


def _add_inplace(total: list, more: Sequence) -> None:
    for i, value in enumerate(more):
        total[i] += value


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows of an ndarray; `dtype` is that of the blocks and their products."""

    dtype: np.dtype

    def block(self, cut: slice) -> Block:
        X = self._store.get(cut.start)
        if X is None:
            X = self.coordinates.transform(self.X[cut], self.dtype)
            if self.n * self.coordinates.width * self.dtype.itemsize <= _KEPT_BYTES:
                self._store[cut.start] = X
        return DenseBlock(X, *self._rest(cut))

    def moments(self) -> tuple[NDArray, NDArray]:
        def first(cut: slice) -> NDArray:
            return self.weights[cut].astype(self.X.dtype) @ self.X[cut]

        def second(cut: slice) -> NDArray:
            deviation = self.X[cut] - mean
            return self.weights[cut] @ np.square(deviation, out=deviation)

        mean = np.sum(self.threads.map(first, self.cuts), axis=0, dtype=float) / self.total_weight
        total = np.sum(self.threads.map(second, self.cuts), axis=0)
        return mean, total / self.total_weight

    @property
    def values(self) -> int:
        return self.X.size

    def in_dtype(self, dtype: type) -> Rows:
        return self if self.dtype == dtype else replace(self, dtype=np.dtype(dtype))

    @cached_property
    def _store(self) -> dict[int, NDArray]:
        return {}


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR array, which stays as it is."""

    def block(self, cut: slice) -> Block:
        ends = self.X.indptr[cut.start : cut.stop + 1]
        inside = slice(ends[0], ends[-1])
        views = (self.X.data[inside], self.X.indices[inside], ends - ends[0])
        X = sparse.csr_array(views, shape=(cut.stop - cut.start, self.X.shape[1]), copy=False)
        return SparseBlock(X, *self._rest(cut))

    def moments(self) -> tuple[NDArray, NDArray]:
        mean = self.X.T @ self.weights / self.total_weight
        square = self.X.multiply(self.X).T @ self.weights / self.total_weight
        return mean, np.maximum(square - mean**2, np.finfo(float).eps * square)

    @property
    def values(self) -> int:
        return self.X.nnz

    def in_dtype(self, dtype: type) -> Rows:
        return self if self.X.dtype == dtype else replace(self, X=self.X.astype(dtype))
