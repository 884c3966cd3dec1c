"""Rows in memory, dense or CSR: their blocks, spread over threads, and what is kept of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.base import Rows, Totals, add_inplace, slices
from softreg._rows.blocks import Block, RawBlock, SparseBlock, WorkingBlock
from softreg._rows.coordinates import Coordinates
from softreg._rows.targets import Targets
from softreg._rows.threads import Threads

# A block of 2^18 values (2 MB of doubles) stays near a core for both products of a pass; smaller
# ones lose to the Python around them, larger ones to memory (measured from 2^14 to 2^20).
_BLOCK_VALUES = 2**18
# Blocks of fewer rows (of `width` values each) spend more on their sums, (width, K), than they
# save (measured on text).
_BLOCK_ROWS = 512
# With so many scores that those of a block took more than 32 MB, blocks get smaller, down to
# this many rows: their sums then take a tenth of what they do (counted).
_BLOCK_SCORES, _FEWEST_BLOCK_ROWS = 2**22, 64
# Below this much work in a pass the threads' meeting takes longer than they save (measured).
_WORTH_A_THREAD = 400_000
# A matrix of this order is 128 MB, and its Cholesky factor half a second.
_LARGEST_ORDER = 4000

# What rows know of themselves, whichever their scores: blocks stay, and with them their copies.
_OF_ANY_SCORES = {
    "weights",
    "total_weight",
    "block_slices",
    "_thread_slices",
    "blocks_are_raw",
    "_copies",
}

_Part = TypeVar("_Part", bound=Rows)
# Targets, weights and offsets of some rows.
RowTerms = tuple[Targets, NDArray | None, NDArray | None]


@dataclass(frozen=True, eq=False)
class MemoryRows(Rows):
    """Rows whose X is in memory.

    Attributes
    ----------
    X : array of shape (n, d)
    Y : Targets
    weight : ndarray of shape (n,) or None, >= 0
    offset : ndarray of shape (n, K) or None
    coordinates, threads, dtype : as in `Rows`
    single_pass : bool, whether blocks serve a single pass, so that nothing of them is worth keeping
    """

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    single_pass: bool = False
    in_memory = True
    value_budget = _LARGEST_ORDER**2

    @property
    @abstractmethod
    def stored_values(self) -> float:
        """Values that are held in memory, counting an index as half of one."""

    @property
    @abstractmethod
    def _is_kept(self) -> bool:
        """Whether what blocks hold is small enough to be kept from pass to pass."""

    @abstractmethod
    def _block(self, cut: slice, row_terms: RowTerms) -> Block:
        """Return the block of a cut, given its targets, weights and offsets."""

    def standardised(self) -> Self:
        own = self.coordinates.standardising(*self.moments(), self.X.dtype)
        return self.replaced(coordinates=own)

    @property
    def n(self) -> int:
        return self.X.shape[0]

    @property
    def n_scores(self) -> int:
        return self.Y.n_scores

    @cached_property
    def weights(self) -> NDArray:
        """The weights (n,), ones where none were given."""
        return np.ones(self.n) if self.weight is None else self.weight

    @cached_property
    def total_weight(self) -> float:
        return float(self.weights.sum())

    @cached_property
    def score_weight(self) -> NDArray:
        return self.Y.score_weight(self.weights)

    @cached_property
    def target_sum(self) -> NDArray:
        return self.Y.target_sum(self.weights)

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        return self.Y.observed(self.weights)

    @property
    def mean_offset(self) -> NDArray | float:
        return 0.0 if self.offset is None else self.weights @ self.offset / self.total_weight

    @property
    def farthest_offset(self) -> NDArray | float:
        return 0.0 if self.offset is None else np.abs(self.offset).max(axis=0)

    def totals(self) -> Totals:
        """Return what the rows add up to."""
        d = self.X.shape[1]
        weighty = self.total_weight > 0
        mean, variance = self.moments() if weighty else (np.zeros(d), np.zeros(d))
        sums = (self.score_weight, self.target_sum, self.observed)
        return Totals(self.n, self.values, self.total_weight, mean, variance, *sums)

    @cached_property
    def block_slices(self) -> list[slice]:
        """Slices of rows, one a block; equally many for each thread."""
        # A block works on its values of X and three (K, m) matrices; its sums are (width, K).
        scores = 3 * self.n * self.n_scores
        if self.values + scores <= _WORTH_A_THREAD:
            return [slice(0, self.n)]
        rows = min(_BLOCK_ROWS, max(_FEWEST_BLOCK_ROWS, _BLOCK_SCORES // self.n_scores))
        worth_their_sums = (self.values + 3 * self.n) / (rows * self.coordinates.width)
        count = max(1, round(min((self.stored_values + scores) / _BLOCK_VALUES, worth_their_sums)))
        count = -(-count // self.threads.count) * self.threads.count
        return slices(self.n, min(count, self.n))

    @cached_property
    def _thread_slices(self) -> list[list[slice]]:
        """The cuts of each thread."""
        threads = min(len(self.block_slices), self.threads.count)
        return [self.block_slices[share] for share in slices(len(self.block_slices), threads)]

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
        def add_share(share: list[slice]) -> list:
            total = list(kernel(self.block(share[0])))
            for cut in share[1:]:
                add_inplace(total, kernel(self.block(cut)))
            return total

        self.threads.passes += 1
        total, *others = self.threads.map(add_share, self._thread_slices)
        for other in others:
            add_inplace(total, other)
        return tuple(total)

    def maximum(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        return np.max(self._of_blocks(kernel), axis=0)

    def map_rows(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        """Return what `kernel` makes of each row, (n,)."""
        return np.concatenate(self._of_blocks(kernel))

    def _of_blocks(self, kernel: Callable[[Block], NDArray]) -> list[NDArray]:
        return self.threads.map(lambda cut: kernel(self.block(cut)), self.block_slices)

    def take_scores(self, scores: NDArray) -> Self:
        offset = None if self.offset is None else self.offset[:, scores]
        part = self.replaced(Y=self.Y.take_scores(scores), offset=offset)
        known = {name: value for name, value in vars(self).items() if name in _OF_ANY_SCORES}
        vars(part).update(known)
        single = vars(self).get("for_steps", self)
        if single is not self:
            vars(part)["for_steps"] = single.take_scores(scores)
        return part

    def repeated(self, kept: NDArray) -> Self:
        """Return the same rows for several fits, in each of which they count `kept` (fits, n)."""
        offset = None if self.offset is None else np.tile(self.offset, len(kept))
        return self.replaced(Y=self.Y.repeated(kept), offset=offset)

    def over_candidates(self, scores: NDArray, correction: NDArray) -> Self:
        """Return rows over some scores, theirs among them, that get a correction (c,)."""
        own = correction if self.offset is None else self.offset[:, scores] + correction
        offset = np.broadcast_to(own, (self.n, len(scores)))
        return self.replaced(Y=self.Y.over_candidates(scores), offset=offset)

    def take_rows(self, rows: NDArray | slice) -> Self:
        """Return some of the rows."""
        weight, offset = (None if of is None else of[rows] for of in (self.weight, self.offset))
        return self.replaced(X=self.X[rows], Y=self.Y[rows], weight=weight, offset=offset)

    def sampled(
        self,
        importance: Callable[[Block], NDArray],
        chance: Callable[[NDArray, float], NDArray],
    ) -> Self:
        own = self.map_rows(importance)
        return self.sampled_with(chance(own, own.sum()), np.random.default_rng(0))

    def sampled_with(self, chance: NDArray, random: np.random.Generator) -> Self:
        """Return rows drawn each with its own chance (n,), weighing its inverse times as much."""
        rows = np.flatnonzero(random.random(self.n) < chance)
        return self.take_rows(rows).replaced(weight=self.weights[rows] / chance[rows])

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Self]:
        order = None if random is None else random.permutation(self.n)
        for cut in slices(self.n, -(-self.n // size)):
            yield self.take_rows(cut if order is None else order[cut])

    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Self, Self]:
        n = np.count_nonzero(self.weights)
        if n < 2:
            raise ValueError(
                f"early_stopping needs two rows of positive weight, and there is {n}: a single row "
                "cannot be split into one to learn from and one to hold out. Leave it False."
            )
        held = self.held_out_mask(np.clip(round(fraction * n), 1, n - 1) / n, random)
        parts = self.take_rows(np.flatnonzero(~held)), self.take_rows(np.flatnonzero(held))
        return checked_split(*parts, fraction)

    def held_out_mask(self, fraction: float, random: np.random.Generator) -> NDArray[np.bool_]:
        """Return which rows are held out, (n,): about a fraction of those of each class that weigh.

        Of rows that are sorted by class, those of each in random order, every so many-th.
        """
        order, strata = random.permutation(np.flatnonzero(self.weights)), self.Y.strata()
        if strata is not None:
            order = order[np.argsort(strata[order], kind="stable")]
        ends = np.floor(np.arange(len(order) + 1) * fraction + random.random())
        held = np.zeros(self.n, dtype=bool)
        held[order] = np.diff(ends) > 0
        return held


def checked_split(kept: _Part, held: _Part, fraction: float) -> tuple[_Part, _Part]:
    """Return both parts of a split, ValueError if one has no weight."""
    for part, purpose in ((kept, "learn from"), (held, "hold out")):
        if not part.score_weight.any():
            raise ValueError(bad_split(f"only rows that weigh nothing to {purpose}", fraction))
    return kept, held


def bad_split(left: str, fraction: float) -> str:
    """Return what is wrong with a split, and its remedies."""
    return (
        f"early_stopping with validation_fraction={fraction:g} leaves {left}; choose another "
        "validation_fraction, or leave early_stopping False."
    )


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

        mean = (
            np.sum(self.threads.map(first, self.block_slices), axis=0, dtype=float)
            / self.total_weight
        )
        off, variance = (
            np.sum(self.threads.map(about_mean, self.block_slices), axis=0) / self.total_weight
        )
        return _corrected(mean, off, variance)

    @property
    def values(self) -> int:
        return self.X.size

    @property
    def stored_values(self) -> float:
        return self.X.size

    def _block(self, cut: slice, row_terms: RowTerms) -> Block:
        if self.blocks_are_raw:
            return RawBlock(cut.start, self.X[cut], *row_terms, self.coordinates)
        X = self._kept(cut, lambda: self.coordinates.transform(self.X[cut], self.dtype))
        return WorkingBlock(cut.start, X, *row_terms)

    @property
    def _is_kept(self) -> bool:
        size = self.n * self.coordinates.width * self.dtype.itemsize
        return size <= _KEPT_BYTES and not self.single_pass

    @cached_property
    def blocks_are_raw(self) -> bool:
        # If a copy is dear, and centring within the products costs only four digits of sixteen.
        own, double = self.coordinates, self.X.dtype == np.float64 == self.dtype
        near = bool((np.abs(own.centre) <= _FARTHEST * own.scale).all())
        return double and near and not self._is_kept


@dataclass(frozen=True, eq=False)
class SparseRows(MemoryRows):
    """Rows of a CSR array, which stays as it is."""

    is_sparse = True
    blocks_are_raw = True

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
    def stored_values(self) -> float:
        return 1.5 * self.X.nnz

    def _block(self, cut: slice, row_terms: RowTerms) -> Block:
        X = self._kept(cut, lambda: self._cut_out(cut))
        return SparseBlock(cut.start, X, *row_terms, self.coordinates)

    def _cut_out(self, cut: slice) -> sparse.csr_array:
        ends = self.X.indptr[cut.start : cut.stop + 1]
        inside = slice(ends[0], ends[-1])
        views = (self.X.data[inside], self.X.indices[inside], ends - ends[0])
        X = sparse.csr_array(views, shape=(len(ends) - 1, self.X.shape[1]), copy=False)
        return X.astype(self.dtype, copy=False)

    @property
    def _is_kept(self) -> bool:
        return self.X.nnz * self.dtype.itemsize <= _KEPT_BYTES and not self.single_pass


def memory_rows(
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


def single_pass_rows(
    X: Any, row_terms: RowTerms, coordinates: Coordinates, threads: Threads
) -> MemoryRows:
    """Return the rows of an ndarray or CSR array as they are, for a single pass over them."""
    held = SparseRows if sparse.issparse(X) else DenseRows
    return held(X, *row_terms, coordinates, threads, X.dtype, single_pass=True)


def mostly_zeros(nonzeros: int, size: int) -> bool:
    """Return whether a dense array goes the sparse way."""
    return _STORED_VALUE * nonzeros <= _MOSTLY_ZEROS * size


def _corrected(mean: NDArray, off: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Return mean and variance, given both about a mean that is `off` by its own rounding.

    Or else the mean's rounding passes for the deviation of a constant column.
    """
    return mean + off, (variance - off**2).clip(min=0)
