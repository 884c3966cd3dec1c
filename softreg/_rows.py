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

from softreg._blocks import Block, RawBlock, SparseBlock, WorkingBlock
from softreg._coordinates import Coordinates
from softreg._targets import Targets
from softreg._threads import Threads

# A block of 2^18 values (2 MB of doubles) stays near a core for both products of a pass; smaller
# ones lose to the Python around them, larger ones to memory (measured from 2^14 to 2^20).
_BLOCK_VALUES = 2**18
# Blocks of fewer rows (of `width` values each) spend more on their sums, (width, K), than they
# save (measured on text).
_BLOCK_ROWS = 512
# What a product takes over a stored value of CSR, in dense values (measured).
_STORED_VALUE = 8
# A dense X goes the sparse way if that takes a third of the time or less.
_MOSTLY_ZEROS = 1 / 3
# Below this much work in a pass the threads' meeting takes longer than they save (measured).
_WORTH_A_THREAD = 400_000
# Large X is used as it is unless the mean of some column is this many deviations from zero: then
# centring within the products would cost more than four of sixteen digits.
_FARTHEST, _FARTHEST_IN_SINGLE = 1e4, 100
# Standardised copies up to this size are kept from pass to pass. Larger X is used as it is, or, in
# single precision, standardised anew block by block.
_KEPT_BYTES = 2**28

# What rows know of themselves, whichever their scores: blocks stay, and with them their copies.
_OF_ANY_SCORES = {"weights", "total_weight", "cuts", "_shares", "_are_raw", "_copies"}

# Targets, weights and offsets of some rows.
Belongings = tuple[Targets, NDArray | None, NDArray | None]


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """Rows in memory, in the user's units; blocks and coefficients meet in working coordinates.

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
        """Values that a product touches: the size of X, or what its nonzeros cost."""

    @property
    @abstractmethod
    def held(self) -> float:
        """Values that are held in memory, counting an index as half of one."""

    @property
    @abstractmethod
    def is_sparse(self) -> bool:
        """Whether a pass costs the nonzeros of X rather than its size."""

    @property
    @abstractmethod
    def _is_kept(self) -> bool:
        """Whether what blocks hold is small enough to be kept from pass to pass."""

    @property
    @abstractmethod
    def _are_raw(self) -> bool:
        """Whether blocks hold x in the user's units, so that coefficients are brought to them."""

    @abstractmethod
    def _block(self, cut: slice, belongings: Belongings) -> Block:
        """Return the block of a cut, given its targets, weights and offsets."""

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
        """Sum of the weights."""
        return float(self.weights.sum())

    @cached_property
    def mean_target(self) -> NDArray:
        """Weighted mean of the targets, (K,); a half where none is known."""
        total = self.score_weight
        mean = np.full(len(total), 0.5)
        return np.divide(self.Y.weighted_sum(self.weights), total, out=mean, where=total > 0)

    @cached_property
    def score_weight(self) -> NDArray:
        """Sum over the rows of each score's weights, (K,)."""
        return self.Y.total_weight(self.weights)

    @cached_property
    def cuts(self) -> list[slice]:
        """Slices of rows, one a block; equally many for each thread."""
        # A block works on its values of X and three (K, m) matrices; its sums are (width, K).
        scores = 3 * self.n * self.Y.n_scores
        if self.values + scores <= _WORTH_A_THREAD:
            return [slice(0, self.n)]
        worth_their_sums = (self.values + 3 * self.n) / (_BLOCK_ROWS * self.coordinates.width)
        count = max(1, round(min((self.held + scores) / _BLOCK_VALUES, worth_their_sums)))
        count = -(-count // self.threads.count) * self.threads.count
        edges = np.linspace(0, self.n, min(count, self.n) + 1).astype(int)
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    @cached_property
    def _shares(self) -> list[list[slice]]:
        """The cuts of each thread."""
        threads = min(len(self.cuts), self.threads.count)
        edges = np.linspace(0, len(self.cuts), threads + 1).astype(int)
        return [self.cuts[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def inward(self, T: NDArray) -> NDArray:
        """Return the coefficients T (width, K) as the blocks take them."""
        U = self.coordinates.raw_coefficients(T) if self._are_raw else T
        return U.astype(self.dtype, copy=False)

    def outward(self, G: NDArray) -> NDArray:
        """Return what the blocks gathered as a gradient in T, (width, K)."""
        return self.coordinates.pull_back(G) if self._are_raw else G

    def outward_squares(self, G: NDArray) -> NDArray:
        """Return what the blocks' squares came to as sums of c x~^2, (width, K)."""
        return self.coordinates.second_moments(G) if self._are_raw else G

    def block(self, cut: slice) -> Block:
        """Return the rows of a cut."""
        block = self._blocks.get(cut.start)
        if block is None:
            weight = None if self.weight is None else self.weight[cut]
            offset = None if self.offset is None else self.offset[cut]
            block = self._block(cut, (self.Y[cut], weight, offset))
        if self._is_kept:
            self._blocks[cut.start] = block
        return block

    @cached_property
    def _blocks(self) -> dict[int, Block]:
        return {}

    def _kept(self, cut: slice, make: Callable[[], Any]) -> Any:
        """Return a block's X, from an earlier pass if it was kept; `make` makes it."""
        X = self._copies.get(cut.start)
        if X is None:
            X = make()
        if self._is_kept:
            self._copies[cut.start] = X
        return X

    @cached_property
    def _copies(self) -> dict[int, Any]:
        return {}

    def sum(self, kernel: Callable[[Block], tuple]) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays."""

        def add_share(share: list[slice]) -> list:
            total = list(kernel(self.block(share[0])))
            for cut in share[1:]:
                _add_inplace(total, kernel(self.block(cut)))
            return total

        total, *others = self.threads.map(add_share, self._shares)
        for other in others:
            _add_inplace(total, other)
        return tuple(total)

    def each(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        """Return what `kernel` makes of each row, (n,)."""
        return np.concatenate(self.threads.map(lambda cut: kernel(self.block(cut)), self.cuts))

    def of_scores(self, scores: NDArray) -> Rows:
        """Return the same rows with some of the scores' targets, in the same blocks."""
        offset = None if self.offset is None else self.offset[:, scores]
        part = replace(self, Y=self.Y.of_scores(scores), offset=offset)
        known = {name: value for name, value in vars(self).items() if name in _OF_ANY_SCORES}
        vars(part).update(known)
        single = vars(self).get("in_single", self)
        if single is not self:
            vars(part)["in_single"] = single.of_scores(scores)
        return part

    def sample(self, rows: NDArray, weight: NDArray) -> Rows:
        """Return some of the rows, each standing for `weight` times its own weight."""
        own = weight * self.weights[rows]
        offset = None if self.offset is None else self.offset[rows]
        return replace(self, X=self.X[rows], Y=self.Y[rows], weight=own, offset=offset)

    @cached_property
    def in_single(self) -> Rows:
        """The same rows in single precision where that pays and is accurate enough for steps.

        Products of CSR take half the time, dense ones hardly less than a standardised copy costs
        (measured). Centring within the products may cost two digits of seven.
        """
        own = self.coordinates
        near = bool((np.abs(own.centre) <= _FARTHEST_IN_SINGLE * own.scale).all())
        return self.in_dtype(np.float32) if self.is_sparse and near else self

    def in_dtype(self, dtype: type) -> Rows:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else replace(self, dtype=np.dtype(dtype))


def _corrected(mean: NDArray, off: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Return mean and variance, given both about a mean that is `off` by its own rounding.

    Or else the mean's rounding passes for the deviation of a constant column.
    """
    return mean + off, (variance - off**2).clip(min=0)


def _add_inplace(total: list, more: Sequence) -> None:
    for i, value in enumerate(more):
        total[i] += value


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
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
        if self._are_raw:
            return RawBlock(cut.start, self.X[cut], *belongings, self.coordinates)
        X = self._kept(cut, lambda: self.coordinates.transform(self.X[cut], self.dtype))
        return WorkingBlock(cut.start, X, *belongings)

    @property
    def _is_kept(self) -> bool:
        return self.n * self.coordinates.width * self.dtype.itemsize <= _KEPT_BYTES

    @cached_property
    def _are_raw(self) -> bool:
        # If a copy is dear, and centring within the products costs only four digits of sixteen.
        own, double = self.coordinates, self.X.dtype == np.float64 == self.dtype
        near = bool((np.abs(own.centre) <= _FARTHEST * own.scale).all())
        return double and near and not self._is_kept


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR array, which stays as it is."""

    is_sparse = True
    _are_raw = True

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
        return self.X.nnz * self.dtype.itemsize <= _KEPT_BYTES


def rows_in_memory(
    X: Any,
    Y: Targets,
    weight: NDArray | None,
    offset: NDArray | None,
    coordinates: Coordinates,
    threads: Threads,
) -> Rows:
    """Return the rows of an ndarray or CSR matrix, as CSR where there are few values but zeros."""
    if sparse.issparse(X) or _STORED_VALUE * np.count_nonzero(X) <= _MOSTLY_ZEROS * X.size:
        X = sparse.csr_array(X)
        return SparseRows(X, Y, weight, offset, coordinates, threads, X.dtype)
    return DenseRows(X, Y, weight, offset, coordinates, threads, X.dtype)
