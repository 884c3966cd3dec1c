"""Rows in memory, dense or CSR: their blocks, shared out among threads, and what these keep."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import (
    STORED_VALUE,
    Features,
    Mask,
    PerRow,
    PickledByFields,
    Places,
    ScoreStore,
    Store,
    csr_rows,
    joined_rows,
)
from softreg._rows.base import (
    Chance,
    RowKernel,
    Rows,
    SumKernel,
    Totals,
    add_inplace,
    offset_totals,
    slices,
)
from softreg._rows.blocks import Block, RawBlock, SparseBlock, WorkingBlock
from softreg._rows.coordinates import Coordinates
from softreg._rows.moments import Columns, DenseColumns, Moments, SparseColumns
from softreg._rows.targets import Targets
from softreg._rows.threads import Limits, Threads

# X too large for a copy is standardised anew where the mean of some column is this many deviations
# from zero: centring within the products would cost more than four of sixteen digits.
_FARTHEST_IN_DOUBLE = 1e4
# So it is where a deviation, or its inverse, is beyond this: squares would overflow.
_ORDINARY_IN_DOUBLE = 2.0**300
# Targets, weights (m,) and offsets (m, K) of some rows; None: ones, and zeros.
RowTerms = tuple[Targets, PerRow | None, NDArray | None]


@dataclass(frozen=True, eq=False)
class MemoryRows(PickledByFields, Rows):
    """Rows whose X is in memory.

    Attributes
    ----------
    X : ndarray or CSR array (n, d)
    Y : Targets
    weight : ndarray (n,) or None, >= 0
    offset : ndarray (n, K) or None
    coordinates, threads, dtype, store, known_totals : as in `Rows`
    weight_unit : float, power of two by which the user's weights were divided
    single_pass : bool, whether blocks serve a single pass, so that nothing of them is worth keeping
    score_stores : dict from the first row of a block to what it keeps of its scores
    """

    X: Features
    Y: Targets
    weight: PerRow | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    weight_unit: float = 1.0
    single_pass: bool = False
    store: Store = field(default_factory=Store, repr=False)
    known_totals: Totals | None = field(default=None, repr=False)
    score_stores: dict[int, ScoreStore] = field(default_factory=dict, repr=False)
    in_memory = True
    # What one of the stored values of X costs, in dense ones: time in a product, and memory.
    _value_cost: ClassVar[int]
    _value_storage: ClassVar[float]
    _columns_kind: ClassVar[type[Columns]]

    @property
    @abstractmethod
    def _block_kind(self) -> type[Block]:
        """The class of the blocks."""

    @abstractmethod
    def _block_X(self, rows: slice | Places) -> Features:
        """Return the X of the block of some rows."""

    @cached_property
    def n(self) -> int:
        return self.X.shape[0]

    @cached_property
    def n_values(self) -> int:
        return self._value_cost * self.X.size

    @cached_property
    def n_scores(self) -> int:
        return self.Y.n_scores

    @cached_property
    def _limits(self) -> Limits:
        """How much is worked on and kept at a time."""
        return self.threads.limits

    @cached_property
    def value_budget(self) -> float:
        return self._limits.value_budget

    @cached_property
    def weights(self) -> PerRow:
        """The weights (n,), ones where none were given."""
        return self.kept("ones", lambda: np.ones(self.n)) if self.weight is None else self.weight

    @cached_property
    def places(self) -> Places:
        """The numbers of the rows that have weight; sums pass over others, whatever they hold."""
        return np.flatnonzero(self.weights)

    def _summed_totals(self) -> Totals:
        weights = self.weights
        offset_sum, largest_offset = offset_totals(self.offset, weights, self.Y)
        return Totals(
            n=int(np.count_nonzero(self.weights)),
            n_values=self.n_values,
            moments=self.kept("moments", self._moments),
            score_weight=self.Y.score_weight(weights),
            target_sum=self.Y.target_sum(weights),
            observed=self.Y.observed(weights),
            offset_sum=offset_sum,
            largest_offset=largest_offset,
            weight_unit=self.weight_unit,
        )

    def _moments(self) -> Moments:
        """Return the moments of the raw columns."""
        rows = list(map(self._with_weight, self.block_slices))
        return self._columns_kind(self.X, self.weights).moments(rows, self.threads)

    @property
    def block_slices(self) -> list[slice]:
        """The slice of rows of each block; every thread has the same number of blocks."""
        return self.kept("block_slices", self._block_slices)

    def _block_slices(self) -> list[slice]:
        # A block works on its values of X and three (K, m) matrices and makes (width, K) sums.
        limits, score_values = self._limits, 3 * self.n * self.n_scores
        if self.n_values + score_values <= limits.unshared_values:
            return [slice(0, self.n)]
        most_rows = max(limits.fewest_block_rows, limits.block_scores // self.n_scores)
        rows = min(limits.block_rows, most_rows)
        most_worth_their_sums = (self.n_values + 3 * self.n) / (rows * self.coordinates.width)
        in_cache = (self._value_storage * self.X.size + score_values) / limits.block_values
        count = max(1, round(min(in_cache, most_worth_their_sums)))
        count = -(-count // self.threads.count) * self.threads.count
        return slices(self.n, min(count, self.n))

    @cached_property
    def _slices_with_weight(self) -> list[slice]:
        """Those of the block slices of which a row has weight; the first one if none has."""
        rows = self.block_slices
        return [some for some in rows if self.weights[some].any()] or rows[:1]

    @cached_property
    def _shares(self) -> list[list[slice]]:
        """The block slices of each thread."""
        rows, count = self._slices_with_weight, self.threads.count
        return [rows[share] for share in slices(len(rows), min(len(rows), count))]

    def block(self, rows: slice) -> Block:
        """Return the block of those rows that have weight, of some, one of `block_slices`."""
        block = self._blocks.get(rows.start)
        if block is None:
            places = self._with_weight(rows)
            X = self._kept_X(rows.start, places) if self._is_kept else self._block_X(places)
            stores = self._score_store(rows), self._feature_store()
            terms = self._block_terms(places)
            block = self._block_kind(rows.start, X, *terms, self.block_coordinates, *stores)
            if self._is_kept:
                self._blocks[rows.start] = block
        return block

    def _whole_block(self, rows: slice) -> Block:
        """Return the block of some rows, one of `block_slices`, whatever they weigh."""
        if isinstance(self._with_weight(rows), slice):
            return self.block(rows)
        X, terms = self._block_X(rows), self._block_terms(rows)
        return self._block_kind(rows.start, X, *terms, self.block_coordinates)

    def _block_terms(self, rows: slice | Places) -> RowTerms:
        """Return the targets, weights and offsets of the block of some rows."""
        return self._terms(rows)

    def _with_weight(self, rows: slice) -> slice | Places:
        """Return where the rows of a slice are that have weight: the slice itself if all have."""
        if self.weight is None or (has_weight := self.weight[rows] > 0).all():
            return rows
        return rows.start + np.flatnonzero(has_weight)

    @cached_property
    def _blocks(self) -> dict[int, Block]:
        """Blocks that are kept, by their first row."""
        return {}

    @cached_property
    def _is_kept(self) -> bool:
        """Whether blocks are kept from pass to pass: their X is small enough."""
        size = self.X.size if self.is_sparse else self.n * self.coordinates.width
        return size * self.dtype.itemsize <= self._limits.kept_bytes and not self.single_pass

    def _kept_X(self, start: int, rows: slice | Places) -> Features:
        """Return the X of the block of some rows, of an earlier pass if there was one."""
        key = "X of a block", start, self.dtype, self.coordinates
        return self.kept(key, partial(self._block_X, rows))

    def _score_store(self, rows: slice) -> ScoreStore | None:
        """Return where a block keeps what is made of its scores; None: too many, or used once."""
        if self.single_pass or self.n * self.n_scores > self._limits.kept_scores:
            return None
        return self.score_stores.setdefault(rows.start, ScoreStore())

    def _feature_store(self) -> Store | None:
        """Return where a block keeps products of its features in pairs; None: too many."""
        width = self.coordinates.width
        few = self.n * width * (width + 1) / 2 <= self._limits.kept_pairs
        return Store() if few and self._is_kept else None

    def forget_scores(self) -> None:
        for store in self.score_stores.values():
            store.clear()

    def sum(self, kernel: SumKernel) -> tuple:
        def sum_of_share(share: list[slice]) -> list:
            total = list(kernel(self.block(share[0])))
            for rows in share[1:]:
                add_inplace(total, kernel(self.block(rows)))
            return total

        self.threads.passes += 1
        total, *others = self.threads.map(sum_of_share, self._shares)
        for other in others:
            add_inplace(total, other)
        return tuple(total)

    def maximum(self, kernel: RowKernel) -> NDArray:
        return np.max(self._map_blocks(kernel), axis=0)

    def map_rows(self, kernel: RowKernel) -> NDArray:
        """Return what `kernel` makes of each row, whatever it weighs, (n, ...)."""
        cuts = self.block_slices
        blocks = self.threads.imap(lambda rows: kernel(self._whole_block(rows)), cuts)
        return joined_rows(self.n, zip(cuts, blocks, strict=True))

    def map_rows_with_weight(self, kernel: RowKernel) -> NDArray:
        """Return what `kernel` makes of each row that has weight, (m, ...)."""
        return np.concatenate(self._map_blocks(kernel))

    def _map_blocks(self, kernel: RowKernel) -> list[NDArray]:
        """Return what `kernel` makes of the rows with weight of each block."""
        return self.threads.map(lambda rows: kernel(self.block(rows)), self._slices_with_weight)

    def replaced(self, **changes: Any) -> Self:
        # The store holds what was made of X and the weights, totals also depend on the targets,
        # and scores on every field.
        if changes.keys() & {"X", "weight"}:
            changes = {"store": Store()} | changes
        if changes.keys() & {"X", "weight", "Y", "offset"}:
            changes = {"known_totals": None} | changes
        return replace(self, **({"score_stores": {}} | changes))

    def at_temperature(self, temperature: float) -> Self:
        return self if self.offset is None else self.replaced(offset=self.offset / temperature)

    def take_scores(self, scores: Places) -> Self:
        offset = None if self.offset is None else self.offset[:, scores]
        totals = None if self.known_totals is None else self.known_totals.take_scores(scores)
        stores = {start: ScoreStore(store, scores) for start, store in self.score_stores.items()}
        return self.replaced(
            Y=self.Y.take_scores(scores), offset=offset, known_totals=totals, score_stores=stores
        )

    def take_features(self, features: Places) -> Self:
        X, coordinates = self.X[:, features], self.coordinates.take(features)
        totals = None if self.known_totals is None else self.known_totals.take_features(features)
        return self.replaced(X=X, coordinates=coordinates, known_totals=totals)

    def repeated(self, counts: NDArray) -> Self:
        """Return the same rows for several fits, in each of which they count `counts` (fits, n).

        Scores and targets of each fit come after those of the fit before it.
        """
        offset = None if self.offset is None else np.tile(self.offset, len(counts))
        store = Store({"moments": self.kept("moments", self._moments)})
        return self.replaced(Y=self.Y.repeated(counts), offset=offset, store=store)

    def deviations(self, counts: NDArray) -> NDArray[np.float64]:
        """Return the deviations of the raw columns, (fits, d), rows counting `counts` (fits, n)."""
        weights = (self.weights * count for count in counts)
        return np.stack([self.replaced(weight=w)._moments().deviation for w in weights])

    def on_host(self) -> MemoryRows:
        return self

    def take_rows(self, rows: Places | slice) -> Self:
        """Return some of the rows."""
        Y, weight, offset = self._terms(rows)
        return self.replaced(X=self.X[rows], Y=Y, weight=weight, offset=offset)

    def _terms(self, rows: Places | slice) -> RowTerms:
        """Return the targets, weights and offsets of some rows."""
        weight = None if self.weight is None else self.weight[rows]
        offset = None if self.offset is None else self.offset[rows]
        return self.Y[rows], weight, offset

    def sampled(self, importance: RowKernel, chance: Chance) -> Self:
        sizes = self.map_rows_with_weight(importance)
        return self.sampled_with(chance(sizes, sizes.sum()), np.random.default_rng(0))

    def sampled_with(self, chances: PerRow, random: np.random.Generator) -> Self:
        """Return rows drawn independently, with chances that divide their weights.

        `chances` (m,) are those of the rows that have weight.
        """
        drawn = random.random(len(chances)) < chances
        rows = self.places[drawn]
        return self.take_rows(rows).replaced(weight=self.weights[rows] / chances[drawn])

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Self]:
        order, m = self.places, len(self.places)
        order = order if random is None else random.permutation(order)
        for batch in slices(m, -(-m // size)):
            is_slice = random is None and m == self.n
            yield self.take_rows(batch if is_slice else order[batch])

    def _split(self, fraction: float, random: np.random.Generator) -> tuple[Self, Self]:
        n = len(self.places)
        if n < 2:
            raise ValueError(
                f"early_stopping needs two rows of positive weight, and there is {n}: a single row "
                "cannot be split into one to learn from and one to hold out. Leave it False."
            )
        mask = self.validation_mask(np.clip(round(fraction * n), 1, n - 1) / n, random)
        return self.take_rows(np.flatnonzero(~mask)), self.take_rows(np.flatnonzero(mask))

    def validation_mask(self, fraction: float, random: np.random.Generator) -> Mask:
        """Return which rows are held out, (n,): about a fraction of those of each class.

        Rows without weight are not. Of the others, sorted by class and in random order within each,
        every (1 / fraction)-th.
        """
        order, strata = random.permutation(self.places), self.Y.strata()
        if strata is not None:
            order = order[np.argsort(strata[order], kind="stable")]
        ends = np.floor(np.arange(len(order) + 1) * fraction + random.random())
        mask = np.zeros(self.n, dtype=bool)
        mask[order] = np.diff(ends) > 0
        return mask


@dataclass(frozen=True, eq=False)
class DenseRows(MemoryRows):
    """Rows of an ndarray."""

    is_sparse = False
    _value_cost, _value_storage = 1, 1.0
    _columns_kind = DenseColumns

    def _block_X(self, rows: slice | Places) -> NDArray:
        X = self.X[rows]
        return X if self.blocks_are_raw else self.coordinates.transform(X, self.dtype)

    def for_descents(self) -> Self:
        nbytes = self.n * self.coordinates.width * (self.dtype.itemsize + 4)
        return self.in_dtype(np.float32) if nbytes <= self._limits.kept_bytes else self

    @property
    def _block_kind(self) -> type[Block]:
        return RawBlock if self.blocks_are_raw else WorkingBlock

    @cached_property
    def blocks_are_raw(self) -> bool:
        # Where a copy is too large, and centring within the products costs few digits.
        double = self.X.dtype == np.float64 == self.dtype
        centre, scale = self.coordinates.centre, self.coordinates.scale
        farthest = _FARTHEST_IN_DOUBLE * np.minimum(scale, _ORDINARY_IN_DOUBLE)
        near = bool((np.abs(centre) <= farthest).all())
        ordinary = self.coordinates.are_within(_ORDINARY_IN_DOUBLE)
        return double and near and ordinary and not self._is_kept


@dataclass(frozen=True, eq=False)
class SparseRows(MemoryRows):
    """Rows of a CSR array, which stays as it is."""

    is_sparse = blocks_are_raw = True
    _value_cost, _value_storage = STORED_VALUE, 1.5  # an index counts as half a value
    _columns_kind = SparseColumns
    _block_kind = SparseBlock

    def _block_X(self, rows: slice | Places) -> sparse.csr_array:
        # Of a slice without a copy where X has the dtype of the products, and its units do.
        X, stored = csr_rows(self.X, rows), self.coordinates.stored
        if stored is not None:
            data = (X.data - stored.centre[X.indices]) / stored.scale[X.indices]
            X = sparse.csr_array((data, X.indices, X.indptr), shape=X.shape, copy=False)
        return X.astype(self.dtype, copy=False)
