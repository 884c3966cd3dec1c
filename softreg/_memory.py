"""Rows in memory, of either kind: a dense array, or CSR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._blocks import Block, RawBlock, SparseBlock, WorkingBlock
from softreg._coordinates import Coordinates
from softreg._memory_rows import Belongings, MemoryRows
from softreg._targets import Targets
from softreg._threads import Threads

# What a product takes over a stored value of CSR, in dense values (measured).
_STORED_VALUE = 8
# A dense X goes the sparse way if that takes a third of the time or less.
_MOSTLY_ZEROS = 1 / 3
# Large X is used as it is unless the mean of some column is this many deviations from zero: then
# centring within the products would cost more than four of sixteen digits.
_FARTHEST = 1e4
# Standardised copies up to this size are kept from pass to pass. Larger X is used as it is, or, in
# single precision, standardised anew block by block.
_KEPT_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class DenseRows(MemoryRows):
    """Rows of an ndarray."""

    is_sparse = False

    def moments(self) -> tuple[NDArray, NDArray]:
        def first(cut: slice) -> NDArray:
            return self.weights[cut].astype(self.X.dtype) @ self.X[cut]

        def about_mean(cut: slice) -> NDArray:
            deviation, weights = self.X[cut] - mean, self.weights[cut]
            return np.stack([weights @ deviation, weights @ np.square(deviation, out=deviation)])

        mean = np.sum(self.threads.map(first, self.cuts), axis=0, dtype=float) / self.total_weight
        off, variance = np.sum(self.threads.map(about_mean, self.cuts), axis=0) / self.total_weight
        return _corrected(mean, off, variance)

    @property
    def values(self) -> int:
        return self.X.size

    @property
    def held(self) -> float:
        return self.X.size

    def _block(self, cut: slice, belongings: Belongings) -> Block:
        if self.are_raw:
            return RawBlock(cut.start, self.X[cut], *belongings, self.coordinates)
        X = self._kept(cut, lambda: self.coordinates.transform(self.X[cut], self.dtype))
        return WorkingBlock(cut.start, X, *belongings)

    @property
    def _is_kept(self) -> bool:
        size = self.n * self.coordinates.width * self.dtype.itemsize
        return size <= _KEPT_BYTES and not self.once

    @cached_property
    def are_raw(self) -> bool:
        # If a copy is dear, and centring within the products costs only four digits of sixteen.
        own, double = self.coordinates, self.X.dtype == np.float64 == self.dtype
        near = bool((np.abs(own.centre) <= _FARTHEST * own.scale).all())
        return double and near and not self._is_kept


@dataclass(frozen=True, eq=False)
class SparseRows(MemoryRows):
    """Rows of a CSR array, which stays as it is."""

    is_sparse = True
    are_raw = True

    def moments(self) -> tuple[NDArray, NDArray]:
        # About the mean, so that nothing cancels; what is not stored is zero.
        weights = self.weights / self.total_weight
        mean = self.X.T @ weights
        deviation = self.X.data - mean[self.X.indices]

        def total(data: NDArray) -> NDArray:
            own = sparse.csr_array((data, self.X.indices, self.X.indptr), shape=self.X.shape)
            return own.T @ weights

        stored = total(np.ones_like(self.X.data))
        off, variance = total(deviation), total(np.square(deviation, out=deviation))
        # Adding up n weights may leave this much of a column that is stored in full.
        zeros = np.where(1 - stored > self.n * np.finfo(float).eps, 1 - stored, 0)
        return _corrected(mean, off - zeros * mean, variance + zeros * mean**2)

    @property
    def values(self) -> int:
        return _STORED_VALUE * self.X.nnz

    @property
    def held(self) -> float:
        return 1.5 * self.X.nnz

    def _block(self, cut: slice, belongings: Belongings) -> Block:
        X = self._kept(cut, lambda: self._cut_out(cut))
        return SparseBlock(cut.start, X, *belongings, self.coordinates)

    def _cut_out(self, cut: slice) -> sparse.csr_array:
        ends = self.X.indptr[cut.start : cut.stop + 1]
        inside = slice(ends[0], ends[-1])
        views = (self.X.data[inside], self.X.indices[inside], ends - ends[0])
        X = sparse.csr_array(views, shape=(len(ends) - 1, self.X.shape[1]), copy=False)
        return X.astype(self.dtype, copy=False)

    @property
    def _is_kept(self) -> bool:
        return self.X.nnz * self.dtype.itemsize <= _KEPT_BYTES and not self.once


def rows_in_memory(
    X: Any,
    Y: Targets,
    weight: NDArray | None,
    offset: NDArray | None,
    coordinates: Coordinates,
    threads: Threads,
) -> MemoryRows:
    """Return the rows of an ndarray or CSR matrix, as CSR where there are few values but zeros."""
    as_csr = sparse.issparse(X) or mostly_zeros(int(np.count_nonzero(X)), X.size)
    held, X = (SparseRows, sparse.csr_array(X)) if as_csr else (DenseRows, X)
    return held(X, Y, weight, offset, coordinates, threads, X.dtype)


def rows_for_a_pass(
    X: Any, belongings: Belongings, coordinates: Coordinates, threads: Threads
) -> MemoryRows:
    """Return the rows of an ndarray or CSR array as they are, for a single pass over them."""
    held = SparseRows if sparse.issparse(X) else DenseRows
    return held(X, *belongings, coordinates, threads, X.dtype, once=True)


def mostly_zeros(nonzeros: int, size: int) -> bool:
    """Return whether a dense array goes the sparse way."""
    return _STORED_VALUE * nonzeros <= _MOSTLY_ZEROS * size


def _corrected(mean: NDArray, off: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Return mean and variance, given both about a mean that is `off` by its own rounding.

    Or else the mean's rounding passes for the deviation of a constant column.
    """
    return mean + off, (variance - off**2).clip(min=0)
