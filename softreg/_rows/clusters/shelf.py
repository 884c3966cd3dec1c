"""Shelves on the workers: groups of rows, and what is kept of them between passes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import ExactSum, Places, Store, sent_aligned
from softreg._rows.base import Totals, slices
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import joined_memory
from softreg._rows.memory import MemoryRows
from softreg._rows.threads import Limits, Threads

# Rows are kept on a shelf as they were seen in the latest passes: in double and in single
# precision, each with all scores and with some.
_MOST_VIEWS = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """How the rows of a shelf are seen in a pass.

    Attributes
    ----------
    coordinates : Coordinates, of the features that are taken
    dtype : dtype of the products
    features, scores : ndarrays, those that are taken, or None: all
    temperature : float, what offsets are divided by
    """

    coordinates: Coordinates
    dtype: np.dtype
    features: Places | None
    scores: Places | None
    temperature: float

    @cached_property
    def key(self) -> bytes:
        """A digest of the fields."""
        stored, every = self.coordinates.stored, np.array([-1])
        seen_in = (self.coordinates, stored) if stored else (self.coordinates,)
        values = [array for each in seen_in for array in (each.centre, each.scale)]
        taken = [every if some is None else some for some in (self.features, self.scores)]
        digest = blake2b(digest_size=16)
        for array in (*values, *taken):
            digest.update(str(len(array)).encode() + array.tobytes())
        digest.update(f"{self.coordinates.intercept} {self.dtype} {self.temperature}".encode())
        return digest.digest()

    def rows(self, raw: MemoryRows, threads: Threads) -> MemoryRows:
        """Return rows, given in the user's units, as they are seen."""
        rows = raw if self.features is None else raw.take_features(self.features)
        changes = {"coordinates": self.coordinates, "dtype": self.dtype, "threads": threads}
        rows = rows.replaced(store=Store(), **changes)
        rows = rows if self.temperature == 1 else rows.at_temperature(self.temperature)
        return rows if self.scores is None else rows.take_scores(self.scores)


@dataclass(frozen=True, eq=False)
class _View:
    """The groups of a shelf as they are seen, and the threads that all of them have."""

    threads: Threads
    groups: dict[int, MemoryRows]

    def take_scores(self, scores: Places) -> _View:
        some = {at: rows.take_scores(scores) for at, rows in self.groups.items()}
        return _View(self.threads, some)


class Shelf:
    """Groups of rows on a worker, in the user's units, and what is kept of them between passes.

    What is kept changes no bit of any sum.

    Parameters
    ----------
    groups : dict from the number of a group to its MemoryRows, all of weight
    limits : Limits of the fit
    most_bytes : float, what the rows, and what is kept of them, may take
    n_threads : int, how many share the groups out
    """

    def __init__(
        self, groups: dict[int, MemoryRows], limits: Limits, most_bytes: float, n_threads: int = 1
    ) -> None:
        self.limits, self.most_bytes, self.n_threads = limits, most_bytes, n_threads
        self.threads = Threads(1, replace(limits, kept_bytes=0, kept_scores=0, kept_pairs=0))
        self.groups = {at: rows.replaced(threads=self.threads) for at, rows in groups.items()}
        self._views: dict[bytes, _View] = {}

    def __reduce__(self) -> tuple:
        return sent_aligned(Shelf, self.groups, self.limits, self.most_bytes, self.n_threads)

    def __sizeof__(self) -> int:  # what Dask's memory manager sees
        return 64 + int(sum(map(_nbytes, self.groups.values())))

    def with_groups(self, groups: dict[int, MemoryRows]) -> Shelf:
        """Return a shelf of other rows, those groups of them that have some."""
        some = {at: rows for at, rows in groups.items() if rows.n}
        return Shelf(some, self.limits, self.most_bytes, self.n_threads)

    def view(self, seen: Seen) -> _View:
        """Return the groups as they are seen, those of an earlier pass if it saw them so."""
        whole, scores = replace(seen, scores=None), seen.scores
        view = self._kept(whole.key, lambda: self._seen_whole(whole))
        if scores is None:
            return view
        return self._kept(seen.key, lambda: view.take_scores(scores))

    def map_shares(self, function: Callable[[list[MemoryRows]], Any], seen: Seen) -> list[Any]:
        """Return what a function makes of each thread's share of the groups as they are seen."""
        view = self.view(seen)
        groups, count = list(view.groups.values()), self.n_threads
        shares = [groups[share] for share in slices(len(groups), min(len(groups), count))]
        with view.threads, Threads(count) as threads:
            return threads.map(function, shares)

    def _kept(self, key: bytes, make: Callable[[], _View]) -> _View:
        view = self._views.pop(key, None) or make()
        self._views[key] = view  # the latest is the last
        for earliest in list(self._views)[:-_MOST_VIEWS]:
            del self._views[earliest]
        return view

    def _seen_whole(self, seen: Seen) -> _View:
        """Return the groups in working coordinates, with limits that say what their blocks keep."""
        lean = {at: seen.rows(rows, self.threads) for at, rows in self.groups.items()}
        spare = (self.most_bytes - self.__sizeof__()) / _MOST_VIEWS
        # Raw blocks need no copy, and passes in double over X in single precision are few.
        worth_it = any(map(_is_worth_a_copy, lean.values()))
        keeps_X = worth_it and sum(map(_nbytes, lean.values())) <= spare
        scores = sum(rows.n * rows.n_scores for rows in lean.values())
        limits = replace(
            self.threads.limits,
            kept_bytes=sys.maxsize if keeps_X else 0,
            kept_scores=sys.maxsize if scores * seen.dtype.itemsize <= spare else 0,
        )
        threads = Threads(1, limits)
        return _View(threads, {at: rows.replaced(threads=threads) for at, rows in lean.items()})


def _is_worth_a_copy(rows: MemoryRows) -> bool:
    is_converted = rows.is_sparse or not rows.blocks_are_raw
    return is_converted and rows.dtype.itemsize <= rows.X.dtype.itemsize


def _nbytes(rows: MemoryRows) -> float:
    """Return the bytes of X in the dtype of the products, or of its values and indices."""
    return rows.X.size * rows.dtype.itemsize * (2 if rows.is_sparse else 1)


def shelf_here(groups: dict[int, MemoryRows], limits: Limits) -> Shelf:
    """Return the shelf of the worker on which this runs, with all its threads.

    What is kept may bring it to half of the worker's memory: at 60 % Dask moves data to the disk.
    """
    from distributed import get_worker
    from distributed.system import MEMORY_LIMIT

    worker = get_worker()
    most_bytes = (worker.memory_manager.memory_limit or MEMORY_LIMIT) / 2
    return Shelf(groups, limits, most_bytes, worker.state.nthreads)


def sum_on_shelf(shelf: Shelf, message: bytes) -> ExactSum:
    """Return the sum of what a kernel makes of the blocks of a shelf."""
    kernel, seen = pickle.loads(message)

    def summed(groups: list[MemoryRows]) -> ExactSum:
        total = ExactSum()
        for rows in groups:
            total.add(rows.sum(kernel))
        return total

    return merged_sums(shelf.map_shares(summed, seen))


def maximum_on_shelf(shelf: Shelf, message: bytes) -> list[NDArray]:
    """Return the elementwise maximum of what a kernel makes of the blocks, in a list if any."""
    kernel, seen = pickle.loads(message)
    return greatest(shelf.map_shares(lambda groups: [of.maximum(kernel) for of in groups], seen))


def sample_of_shelf(shelf: Shelf, message: bytes) -> Shelf:
    """Return the rows that are drawn of a shelf, whose numbers of groups are the seeds."""
    importance, chance, total, seen = pickle.loads(message)
    view, samples = shelf.view(seen), {}
    with view.threads:
        for at, rows in view.groups.items():
            chances = chance(rows.map_rows_with_weight(importance), total)
            samples[at] = shelf.groups[at].sampled_with(chances, np.random.default_rng([0, at]))
    return shelf.with_groups(samples)


def part_of_shelf(shelf: Shelf, fraction: float, seed: int, is_validation: bool) -> Shelf:
    """Return the rows of a shelf that are held out, a fraction of them, or the others."""
    parts = {}
    for at, rows in shelf.groups.items():
        mask = rows.validation_mask(fraction, np.random.default_rng([seed, at]))
        parts[at] = rows.take_rows(np.flatnonzero(mask == is_validation))
    return shelf.with_groups(parts)


def totals_of_shelf(shelf: Shelf) -> tuple[dict[int, Totals], list[MemoryRows]]:
    """Return the totals of each group, and a group without its rows, if there is one."""
    with shelf.threads:
        totals = {at: rows.totals for at, rows in shelf.groups.items()}
    some = list(shelf.groups.values())[:1]
    return totals, [rows.take_rows(np.arange(0)).replaced(single_pass=True) for rows in some]


def rows_of_shelf(shelf: Shelf) -> list[tuple[MemoryRows, NDArray]]:
    """Return all rows of a shelf, and the number of the group of each, in a list if any."""
    groups = shelf.groups
    if not groups:
        return []
    numbers = np.repeat(list(groups), [rows.n for rows in groups.values()])
    return [(joined_memory(list(groups.values())), numbers)]


def group_of_shelf(shelf: Shelf, number: int) -> MemoryRows:
    """Return a group."""
    return shelf.groups[number]


def merged_sums(sums: list[ExactSum]) -> ExactSum:
    """Return the sum of sums, exact as they are."""
    total = ExactSum()
    for each in sums:
        total.merge(each)
    return total


def greatest(maxima: list[list[NDArray]]) -> list[NDArray]:
    """Return the elementwise maximum of all arrays, in a list; an empty one if there are none."""
    values = [value for each in maxima for value in each]
    return [np.max(values, axis=0)] if values else []
