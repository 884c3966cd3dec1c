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


@dataclass(frozen=True, eq=False)
class SparseBlock(Block):
    """X holds the rows scaled but not centred, as CSR; x~ = x - centre is never formed.

    Centring as part of the products costs nothing beside them, and halves the iterations: without
    it the intercept is all but a combination of the columns.
    """

    centre: NDArray

    def linear(self, T: NDArray) -> NDArray:
        Z = self.X @ T.astype(self.X.dtype, copy=False)
        Z -= self.centre @ T
        return np.ascontiguousarray(Z.T)

    def gather(self, R: NDArray) -> NDArray:
        G = self.X.T @ np.ascontiguousarray(R.T, dtype=self.X.dtype)
        return G - np.outer(self.centre, R.sum(axis=1, dtype=float))

    def squares(self, C: NDArray) -> NDArray:
        C, centre = np.ascontiguousarray(C.T, dtype=float), self.centre[:, None]
        squared = (np.square(self.X.data), self.X.indices, self.X.indptr)
        second = sparse.csr_array(squared, shape=self.X.shape).T @ C
        return second - centre * (2 * (self.X.T @ C) - centre * C.sum(axis=0))

    def dense(self) -> NDArray:
        return self.X.toarray() - self.centre.astype(self.X.dtype)


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
    dtype : dtype of the blocks and their products
    """

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype

    @abstractmethod
    def moments(self) -> tuple[NDArray, NDArray]:
        """Return the weighted mean and variance of each raw column, (d,) each."""

    @property
    @abstractmethod
    def values(self) -> int:
        """Number of values that a product touches: the size of X, or its nonzeros."""

    @property
    @abstractmethod
    def is_sparse(self) -> bool:
        """Whether a pass costs the nonzeros of X rather than its size."""

    @abstractmethod
    def _working(self, cut: slice) -> Any:
        """Return x~ of some rows."""

    @abstractmethod
    def _block(self, *parts: Any) -> Block:
        """Return a block of these parts."""

    def standardised(self) -> Rows:
        """Return the same rows in centred, scaled coordinates."""
        own = self.coordinates.standardising(*self.moments(), self.X.dtype)
        return replace(self, coordinates=own)

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
        # Each block's sums are (width, K): it should hold some rows more than that.
        count = max(1, round(self.values / max(_BLOCK_VALUES, 8 * self.coordinates.width)))
        if count > 1:
            count = -(-count // self.threads.count) * self.threads.count
        edges = np.linspace(0, self.n, min(count, self.n) + 1).astype(int)
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def block(self, cut: slice) -> Block:
        """Return the rows of a cut in working coordinates."""
        X = self._kept.get(cut.start)
        if X is None:
            X = self._working(cut)
            if self.values * self.dtype.itemsize <= _KEPT_BYTES:
                self._kept[cut.start] = X
        weight = None if self.weight is None else self.weight[cut]
        offset = None if self.offset is None else self.offset[cut]
        return self._block(cut.start, X, self.Y[cut], weight, offset)

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

    def in_dtype(self, dtype: type) -> Rows:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else replace(self, dtype=np.dtype(dtype))

    @cached_property
    def _kept(self) -> dict[int, Any]:
        return {}


def _add_inplace(total: list, more: Sequence) -> None:
    for i, value in enumerate(more):
        total[i] += value


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows of an ndarray, centred and scaled."""

    is_sparse = False

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

    def _working(self, cut: slice) -> NDArray:
        return self.coordinates.transform(self.X[cut], self.dtype)

    def _block(self, *parts: Any) -> Block:
        return DenseBlock(*parts)


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR array, which stays sparse: scaled, and centred within the products."""

    is_sparse = True

    def moments(self) -> tuple[NDArray, NDArray]:
        weights = self.weights / self.total_weight
        mean, square = self.X.T @ weights, self.X.multiply(self.X).T @ weights
        return mean, np.maximum(square - mean**2, np.finfo(float).eps * square)

    @property
    def values(self) -> int:
        return self.X.nnz

    def _working(self, cut: slice) -> sparse.csr_array:
        ends = self.X.indptr[cut.start : cut.stop + 1]
        inside = slice(ends[0], ends[-1])
        indices = self.X.indices[inside]
        data = (self.X.data[inside] / self.coordinates.scale[indices]).astype(self.dtype)
        parts = (data, indices, ends - ends[0])
        X = sparse.csr_array(parts, shape=(len(ends) - 1, self.X.shape[1]), copy=False)
        if self.coordinates.intercept:
            X = sparse.hstack([X, np.ones((len(ends) - 1, 1), self.dtype)], format="csr")
        return X

    def _block(self, *parts: Any) -> Block:
        own = self.coordinates
        centre = np.append(own.centre / own.scale, [0.0] * own.intercept)
        return SparseBlock(*parts, centre)
