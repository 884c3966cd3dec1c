"""Rows in memory, dense or CSR: their blocks, spread over threads, and what is kept of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import Mask, Places, ScoreStore, Store
from softreg._rows.base import Chance, RowKernel, Rows, SumKernel, Totals, add_inplace, slices
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
# Probabilities (n, K) are kept from product to product up to this many, 64 MB of doubles.
_KEPT_SCORES = 2**23
# A matrix of this order is 128 MB, and its Cholesky factor half a second.
_LARGEST_ORDER = 4000

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
    coordinates, threads, dtype, store, known_totals : as in `Rows`
    single_pass : bool, whether blocks serve a single pass, so that nothing of them is worth keeping
    score_stores : dict, what is kept of the scores of blocks, by their first row
    """

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    single_pass: bool = False
    store: Store = field(default_factory=Store, repr=False)
    known_totals: Totals | None = field(default=None, repr=False)
    score_stores: dict[int, ScoreStore] = field(default_factory=dict, repr=False)
    in_memory = keeps_blocks = True
    value_budget = _LARGEST_ORDER**2

    @property
    @abstractmethod
    def stored_values(self) -> float:
        """Values of X in memory; a CSR index counts as half a value."""

    @property
    @abstractmethod
    def _is_kept(self) -> bool:
        """Whether what blocks hold is small enough to be kept from pass to pass."""

    @abstractmethod
    def _moments(self) -> tuple[NDArray, NDArray]:
        """Return the weighted mean and variance of each raw column, (d,) each."""

    @abstractmethod
    def _block(self, rows: slice, terms: RowTerms, store: ScoreStore | None) -> Block:
        """Return the block of some rows, given their targets, weights and offsets."""

    @property
    def n(self) -> int:
        return self.X.shape[0]

    @property
    def n_scores(self) -> int:
        return self.Y.n_scores

    @property
    def weights(self) -> NDArray:
        """The weights (n,), ones where none were given."""
        return self.kept("ones", lambda: np.ones(self.n)) if self.weight is None else self.weight

    def _totals(self) -> Totals:
        weights, K = self.weights, self.n_scores
        mean, variance = self.kept("moments", self._moments_if_weighty)
        offset = np.zeros((1, K)) if self.offset is None else self.offset
        return Totals(
            n=self.n,
            n_values=self.n_values,
            weight=float(weights.sum()),
            mean=mean,
            variance=variance,
            score_weight=self.Y.score_weight(weights),
            target_sum=self.Y.target_sum(weights),
            observed=self.Y.observed(weights),
            offset_sum=np.zeros(K) if self.offset is None else weights @ offset,
            largest_offset=np.abs(offset).max(axis=0, initial=0),
        )

    def _moments_if_weighty(self) -> tuple[NDArray, NDArray]:
        zeros = np.zeros(self.X.shape[1])
        return self._moments() if self.weights.any() else (zeros, zeros)

    @property
    def block_slices(self) -> list[slice]:
        """Slices of rows, one a block; equally many for each thread."""
        return self.kept("block_slices", self._block_slices)

    def _block_slices(self) -> list[slice]:
        # A block works on its values of X and three (K, m) matrices; its sums are (width, K).
        score_values = 3 * self.n * self.n_scores
        if self.n_values + score_values <= _WORTH_A_THREAD:
            return [slice(0, self.n)]
        rows = min(_BLOCK_ROWS, max(_FEWEST_BLOCK_ROWS, _BLOCK_SCORES // self.n_scores))
        worth_their_sums = (self.n_values + 3 * self.n) / (rows * self.coordinates.width)
        near_a_core = (self.stored_values + score_values) / _BLOCK_VALUES
        count = max(1, round(min(near_a_core, worth_their_sums)))
        count = -(-count // self.threads.count) * self.threads.count
        return slices(self.n, min(count, self.n))

    def _shares(self) -> list[list[slice]]:
        """Return the block slices of each thread."""
        rows, count = self.block_slices, self.threads.count
        return [rows[share] for share in slices(len(rows), min(len(rows), count))]

    def block(self, rows: slice) -> Block:
        """Return the block of some rows, one of `block_slices`."""
        block = self._blocks.get(rows.start)
        if block is None:
            weight = None if self.weight is None else self.weight[rows]
            offset = None if self.offset is None else self.offset[rows]
            block = self._block(rows, (self.Y[rows], weight, offset), self._score_store(rows))
        if self._is_kept:
            self._blocks[rows.start] = block
        return block

    @cached_property
    def _blocks(self) -> dict[int, Block]:
        """Blocks that are kept, by their first row."""
        return {}

    def _score_store(self, rows: slice) -> ScoreStore | None:
        """Return what is kept of the scores of some rows; None if there are too many to keep."""
        if self.single_pass or self.n * self.n_scores > _KEPT_SCORES:
            return None
        return self.score_stores.setdefault(rows.start, ScoreStore())

    def _copy(self, rows: slice, make: Callable[[], Any]) -> Any:
        """Return the X of a block, from an earlier pass if it was kept; `make` makes it."""
        if not self._is_kept:
            return make()
        return self.kept(("X of a block", rows.start, self.dtype, self.coordinates), make)

    def sum(self, kernel: SumKernel) -> tuple:
        def sum_of_thread(share: list[slice]) -> list:
            total = list(kernel(self.block(share[0])))
            for rows in share[1:]:
                add_inplace(total, kernel(self.block(rows)))
            return total

        self.threads.passes += 1
        total, *others = self.threads.map(sum_of_thread, self.kept("shares", self._shares))
        for other in others:
            add_inplace(total, other)
        return tuple(total)

    def maximum(self, kernel: RowKernel) -> NDArray:
        return np.max(self._map_blocks(kernel), axis=0)

    def map_rows(self, kernel: RowKernel) -> NDArray:
        """Return what `kernel` makes of each row, (n, ...)."""
        return np.concatenate(self._map_blocks(kernel))

    def _map_blocks(self, kernel: RowKernel) -> list[NDArray]:
        return self.threads.map(lambda rows: kernel(self.block(rows)), self.block_slices)

    def take_scores(self, scores: Places) -> Self:
        offset = None if self.offset is None else self.offset[:, scores]
        totals = None if self.known_totals is None else self.known_totals.take_scores(scores)
        stores = {start: ScoreStore(store, scores) for start, store in self.score_stores.items()}
        return self.replaced(
            Y=self.Y.take_scores(scores), offset=offset, known_totals=totals, score_stores=stores
        )

    def repeated(self, counts: NDArray) -> Self:
        """Return the same rows for several fits, in each of which they count `counts` (fits, n)."""
        offset = None if self.offset is None else np.tile(self.offset, len(counts))
        store = Store({"moments": self.kept("moments", self._moments_if_weighty)})
        return self.replaced(Y=self.Y.repeated(counts), offset=offset, store=store)

    def over_candidates(self, scores: Places, correction: NDArray) -> Self:
        """Return the rows over candidates `scores` (c,), to which `correction` (c,) is added."""
        offset = correction if self.offset is None else self.offset[:, scores] + correction
        offset = np.broadcast_to(offset, (self.n, len(scores)))
        return self.replaced(Y=self.Y.over_candidates(scores), offset=offset)

    def take_rows(self, rows: NDArray | slice) -> Self:
        """Return some of the rows."""
        weight = None if self.weight is None else self.weight[rows]
        offset = None if self.offset is None else self.offset[rows]
        return self.replaced(X=self.X[rows], Y=self.Y[rows], weight=weight, offset=offset)

    def sampled(self, importance: RowKernel, chance: Chance) -> Self:
        row_importance = self.map_rows(importance)
        chances = chance(row_importance, row_importance.sum())
        return self.sampled_with(chances, np.random.default_rng(0))

    def sampled_with(self, chances: NDArray, random: np.random.Generator) -> Self:
        """Return rows drawn each with its chance (n,), their weights divided by it."""
        rows = np.flatnonzero(random.random(self.n) < chances)
        return self.take_rows(rows).replaced(weight=self.weights[rows] / chances[rows])

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Self]:
        order = None if random is None else random.permutation(self.n)
        for batch in slices(self.n, -(-self.n // size)):
            yield self.take_rows(batch if order is None else order[batch])

    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Self, Self]:
        n = np.count_nonzero(self.weights)
        if n < 2:
            raise ValueError(
                f"early_stopping needs two rows of positive weight, and there is {n}: a single row "
                "cannot be split into one to learn from and one to hold out. Leave it False."
            )
        mask = self.validation_mask(np.clip(round(fraction * n), 1, n - 1) / n, random)
        training = self.take_rows(np.flatnonzero(~mask))
        return checked_split(training, self.take_rows(np.flatnonzero(mask)), fraction)

    def validation_mask(self, fraction: float, random: np.random.Generator) -> Mask:
        """Return which rows are for validation, (n,): about a fraction of each class's with weight.

        Of the rows sorted by class, in random order within each, every (1 / fraction)-th.
        """
        order, strata = random.permutation(np.flatnonzero(self.weights)), self.Y.strata()
        if strata is not None:
            order = order[np.argsort(strata[order], kind="stable")]
        ends = np.floor(np.arange(len(order) + 1) * fraction + random.random())
        mask = np.zeros(self.n, dtype=bool)
        mask[order] = np.diff(ends) > 0
        return mask


def checked_split(training: _Part, validation: _Part, fraction: float) -> tuple[_Part, _Part]:
    """Return both parts of a split; ValueError if one has no weight."""
    for part, purpose in ((training, "learn from"), (validation, "hold out")):
        if not part.totals.score_weight.any():
            raise ValueError(bad_split(f"only rows that weigh nothing to {purpose}", fraction))
    return training, validation


def bad_split(left: str, fraction: float) -> str:
    """Return what is wrong with a split, and its remedies."""
    return (
        f"early_stopping with validation_fraction={fraction:g} leaves {left}; choose another "
        "validation_fraction, or leave early_stopping False."
    )


@dataclass(frozen=True, eq=False)
class DenseRows(MemoryRows):
    """Rows of an ndarray."""

    is_sparse = False

    def _moments(self) -> tuple[NDArray, NDArray]:
        weights, total = self.weights, self.weights.sum()

        def weighted_sum(rows: slice) -> NDArray:
            return weights[rows].astype(self.X.dtype) @ self.X[rows]

        def about_mean(rows: slice) -> NDArray:
            deviation = self.X[rows] - mean
            first = weights[rows] @ deviation
            return np.stack([first, weights[rows] @ np.square(deviation, out=deviation)])

        rows = self.block_slices
        mean = np.sum(self.threads.map(weighted_sum, rows), axis=0, dtype=float) / total
        error, variance = np.sum(self.threads.map(about_mean, rows), axis=0) / total
        return _corrected(mean, error, variance)

    @property
    def n_values(self) -> int:
        return self.X.size

    @property
    def stored_values(self) -> float:
        return self.X.size

    def _block(self, rows: slice, terms: RowTerms, store: ScoreStore | None) -> Block:
        if self.blocks_are_raw:
            coordinates = self.coordinates
            return RawBlock(rows.start, self.X[rows], *terms, store=store, coordinates=coordinates)
        X = self._copy(rows, lambda: self.coordinates.transform(self.X[rows], self.dtype))
        return WorkingBlock(rows.start, X, *terms, store=store)

    @property
    def _is_kept(self) -> bool:
        size = self.n * self.coordinates.width * self.dtype.itemsize
        return size <= _KEPT_BYTES and not self.single_pass

    @cached_property
    def blocks_are_raw(self) -> bool:
        # If a copy is dear, and centring within the products costs only four digits of sixteen.
        double = self.X.dtype == np.float64 == self.dtype
        centre, scale = self.coordinates.centre, self.coordinates.scale
        near = bool((np.abs(centre) <= _FARTHEST * scale).all())
        return double and near and not self._is_kept


@dataclass(frozen=True, eq=False)
class SparseRows(MemoryRows):
    """Rows of a CSR array, which stays as it is."""

    is_sparse = True
    blocks_are_raw = True

    def _moments(self) -> tuple[NDArray, NDArray]:
        # About the mean, so that nothing cancels; what is not stored is zero.
        weights = self.weights / self.weights.sum()
        mean = self.X.T @ weights
        deviation = self.X.data - mean[self.X.indices]

        def weighted_sum(data: NDArray) -> NDArray:
            X = sparse.csr_array((data, self.X.indices, self.X.indptr), shape=self.X.shape)
            return X.T @ weights

        stored = weighted_sum(np.ones_like(self.X.data))
        error = weighted_sum(deviation)
        variance = weighted_sum(np.square(deviation, out=deviation))
        # Adding up n weights may leave this much of a column that is stored in full.
        zeros = np.where(1 - stored > self.n * np.finfo(float).eps, 1 - stored, 0)
        return _corrected(mean, error - zeros * mean, variance + zeros * mean**2)

    @property
    def n_values(self) -> int:
        return _STORED_VALUE * self.X.nnz

    @property
    def stored_values(self) -> float:
        return 1.5 * self.X.nnz

    def _block(self, rows: slice, terms: RowTerms, store: ScoreStore | None) -> Block:
        X, coordinates = self._copy(rows, lambda: self._csr_rows(rows)), self.coordinates
        return SparseBlock(rows.start, X, *terms, store=store, coordinates=coordinates)

    def _csr_rows(self, rows: slice) -> sparse.csr_array:
        """Return some rows of X, without a copy where X has the dtype of the products."""
        ends = self.X.indptr[rows.start : rows.stop + 1]
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
    kind, X = (SparseRows, sparse.csr_array(X)) if as_csr else (DenseRows, X)
    return kind(X, Y, weight, offset, coordinates, threads, X.dtype)


def single_pass_rows(
    X: Any, terms: RowTerms, coordinates: Coordinates, threads: Threads
) -> MemoryRows:
    """Return the rows of an ndarray or CSR array as they are, for a single pass over them."""
    kind = SparseRows if sparse.issparse(X) else DenseRows
    return kind(X, *terms, coordinates, threads, X.dtype, single_pass=True)


def mostly_zeros(nonzeros: int, size: int) -> bool:
    """Return whether a dense array goes the sparse way."""
    return _STORED_VALUE * nonzeros <= _MOSTLY_ZEROS * size


def _corrected(mean: NDArray, error: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Return mean and variance, given the mean deviation from a rounded mean, its `error`.

    Otherwise the rounding of the mean would pass for the deviation of a constant column.
    """
    return mean + error, (variance - error**2).clip(min=0)
