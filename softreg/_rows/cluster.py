"""Rows on the workers of a Dask cluster: a pass sends a kernel out, and sums come back.

Neighbouring partitions form groups, and groups lie on shelves, one on each worker, whose threads
share them out. A shelf is a future: what is lost with a worker, the scheduler makes again from the
partitions. Sums are exact, so that their bits depend on the groups and not on who holds them.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from hashlib import blake2b
from operator import add
from typing import Any, Self
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import ExactSum, Places, Store, sent_aligned
from softreg._rows.base import (
    Chance,
    RowKernel,
    Rows,
    SumKernel,
    SumOverRows,
    Totals,
    bad_split,
    slices,
)
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg._rows.threads import Limits, Threads

# So many sums are added up by a task; further ones by tasks above it.
_FAN_IN = 8
# Messages that are larger, all tasks of a pass together, are sent to the workers apart from them.
_LARGEST_IN_TASKS = 2**23
# Rows are kept on a shelf as they were seen in the latest passes: in double and in single
# precision, each with all scores and with some.
_MOST_VIEWS = 4


# ---- On the workers -----------------------------------------------------------------------------


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

    return _merged(shelf.map_shares(summed, seen))


def maximum_on_shelf(shelf: Shelf, message: bytes) -> list[NDArray]:
    """Return the elementwise maximum of what a kernel makes of the blocks, in a list if any."""
    kernel, seen = pickle.loads(message)
    return _greatest(shelf.map_shares(lambda groups: [of.maximum(kernel) for of in groups], seen))


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


def group_of_shelf(shelf: Shelf, number: int) -> MemoryRows:
    """Return a group."""
    return shelf.groups[number]


def _merged(sums: list[ExactSum]) -> ExactSum:
    total = ExactSum()
    for each in sums:
        total.merge(each)
    return total


def _greatest(maxima: list[list[NDArray]]) -> list[NDArray]:
    values = [value for each in maxima for value in each]
    return [np.max(values, axis=0)] if values else []


# ---- On the client ------------------------------------------------------------------------------


def submitted(client: Any, home: str, function: Callable, *args: Any) -> Any:
    """Return the future of a task for a worker, or for another where that one is gone."""
    return client.submit(function, *args, workers=[home], allow_other_workers=True, pure=False)


def gathered(client: Any, futures: list[Any]) -> list[Any]:
    """Return the results of futures, which are let go whatever happens, an interrupt among that.

    ConnectionError if the scheduler is gone, RuntimeError if what was lost cannot be made again.
    """
    try:
        return client.gather(futures)
    except CancelledError as error:
        if client.status != "running" or "scheduler" in str(error):
            raise ConnectionError(
                f"{client} has lost its scheduler; nothing was fitted. Connect a new one."
            ) from error
        raise RuntimeError(
            "A worker was lost, and with it data that Dask cannot make again, as what a client has "
            "scattered: make the collections from files, or with dask.array.from_array."
        ) from error
    finally:
        released(futures)


def released(futures: Iterable[Any]) -> None:
    """Let go of futures now: tracebacks may refer to them for long. What runs is ended."""
    for future in futures:
        future.release()


class Shelves:
    """The shelves of some rows: futures, and the worker on which each was laid.

    Parameters
    ----------
    client : distributed.Client
    futures : list of Future of Shelf
    homes : list of str, addresses of workers
    held : WeakSet of all that is released in the end
    """

    def __init__(self, client: Any, futures: list[Any], homes: list[str], held: WeakSet) -> None:
        self.client, self.futures, self.homes, self.held = client, futures, homes, held
        held.add(self)

    def derived(self, function: Callable[..., Shelf], *args: Any) -> Shelves:
        """Return the shelves that a function makes of these, on the same workers."""
        return Shelves(self.client, self._submitted(function, *args), self.homes, self.held)

    def results(self, function: Callable, *args: Any) -> list[Any]:
        """Return what a function makes of each shelf."""
        return gathered(self.client, self._submitted(function, *args))

    def result_of(self, place: int, function: Callable, *args: Any) -> Any:
        """Return what a function makes of one shelf."""
        return gathered(
            self.client,
            [submitted(self.client, self.homes[place], function, self.futures[place], *args)],
        )[0]

    def reduced(self, function: Callable, merge: Callable[[list], Any], message: bytes) -> Any:
        """Return what `merge` makes of the lists of what a function makes of each shelf."""
        sent: Any = message
        if len(message) * len(self.futures) > _LARGEST_IN_TASKS:
            sent = self.client.scatter(message, broadcast=True, hash=False)
        made = results = self._submitted(function, sent)
        try:
            while len(results) > _FAN_IN:
                parts = [results[i : i + _FAN_IN] for i in range(0, len(results), _FAN_IN)]
                results = [self.client.submit(merge, part, pure=False) for part in parts]
                made = made + results
            return merge(gathered(self.client, results))
        finally:
            released(made)

    def _submitted(self, function: Callable, *args: Any) -> list[Any]:
        """Return a future for each shelf, in one message: the scheduler finds where they lie."""
        columns = [[arg] * len(self.futures) for arg in args]
        # Any of the workers: without a word about them, the scheduler may take tasks of many passes
        # for those that read data, which it shares out wherever shelves lie.
        return self.client.map(
            function,
            self.futures,
            *columns,
            workers=self.homes,
            allow_other_workers=True,
            pure=False,
        )

    def release(self) -> None:
        """Let go of these shelves."""
        released(self.futures)


@dataclass(frozen=True, eq=False)
class ClusterRows(Rows):
    """The rows of all shelves.

    Attributes
    ----------
    shelves : Shelves, all dense or all CSR, of one dtype
    known_totals : Totals of all groups
    empty_group : MemoryRows, a group without its rows: what all groups have in common
    places : dict from the number of a group, ascending, to the place of its shelf
    coordinates, threads, dtype, store : as in `Rows`
    features, scores, temperature : as in `Seen`
    """

    shelves: Shelves
    known_totals: Totals
    empty_group: MemoryRows
    places: dict[int, int]
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    store: Store = field(default_factory=Store, repr=False)
    features: Places | None = None
    scores: Places | None = None
    temperature: float = 1.0
    in_memory = False

    @classmethod
    def from_shelves(
        cls, shelves: Shelves, threads: Threads, if_empty: str = "there are no rows"
    ) -> ClusterRows:
        """Return the rows of shelves: one pass; without any, a ValueError that says `if_empty`."""
        of_shelves = shelves.results(totals_of_shelf)
        by_group = {at: each for totals, _ in of_shelves for at, each in totals.items()}
        if not by_group:
            raise ValueError(if_empty)
        place_of = {at: place for place, (of, _) in enumerate(of_shelves) for at in of}
        places = {at: place_of[at] for at in sorted(place_of)}
        totals = reduce(add, (by_group[at] for at in places))
        empty = next(rows for _, some in of_shelves for rows in some).replaced(threads=threads)
        return cls(shelves, totals, empty, places, empty.coordinates, threads, empty.dtype)

    @cached_property
    def _seen(self) -> Seen:
        """How these rows are seen on the workers."""
        return Seen(self.coordinates, self.dtype, self.features, self.scores, self.temperature)

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        return self.empty_group.is_sparse

    def _summed_totals(self) -> Totals:
        return self.known_totals

    @property
    def n(self) -> int:
        return self.totals.n

    @property
    def n_values(self) -> float:
        return self.totals.n_values

    @property
    def n_scores(self) -> int:
        return self.empty_group.n_scores

    @property
    def value_budget(self) -> float:
        return self.threads.limits.value_budget

    @cached_property
    def blocks_are_raw(self) -> bool:
        changes = {"coordinates": self.coordinates, "dtype": self.dtype}
        return self.empty_group.replaced(**changes).blocks_are_raw

    def sum(self, kernel: SumKernel) -> tuple:
        self.threads.passes += 1
        return self.shelves.reduced(sum_on_shelf, _merged, self._message(kernel)).rounded()

    def maximum(self, kernel: RowKernel) -> NDArray:
        return self.shelves.reduced(maximum_on_shelf, _greatest, self._message(kernel))[0]

    def _message(self, *values: Any) -> bytes:
        """Return what a task is sent, as bytes: they are made once for all shelves."""
        return pickle.dumps((*values, self._seen))

    def replaced(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def forget_scores(self) -> None:
        pass  # those of the next point take their place, and all go with the shelf

    def at_temperature(self, temperature: float) -> Self:
        if not self.totals.largest_offset.any():
            return self
        totals = self.totals.at_temperature(temperature)
        return self.replaced(temperature=self.temperature * temperature, known_totals=totals)

    def take_scores(self, scores: Places) -> Self:
        return self.replaced(
            scores=scores if self.scores is None else self.scores[scores],
            known_totals=self.totals.take_scores(scores),
            empty_group=self.empty_group.take_scores(scores),
        )

    def take_features(self, features: Places) -> Self:
        return self.replaced(
            features=features if self.features is None else self.features[features],
            known_totals=self.totals.take_features(features),
            empty_group=self.empty_group.take_features(features),
            coordinates=self.coordinates.take(features),
        )

    def sampled(self, importance: RowKernel, chance: Chance) -> ClusterRows:
        (total,) = self.sum(SumOverRows(importance))
        samples = self.shelves.derived(sample_of_shelf, self._message(importance, chance, total))
        return self._on_shelves(samples, "there are no rows")

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[MemoryRows]:
        """Yield batches in the memory of this process, one group of rows after another."""
        for at, place in self.places.items():
            raw = self.shelves.result_of(place, group_of_shelf, at)
            yield from self._seen.rows(raw, self.threads).batches(size, random)

    def _split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        seed = int(random.integers(2**63))

        def part(is_validation: bool, purpose: str) -> ClusterRows:
            shelves = self.shelves.derived(part_of_shelf, fraction, seed, is_validation)
            return self._on_shelves(shelves, bad_split(f"no rows to {purpose}", fraction))

        return part(False, "learn from"), part(True, "hold out")

    def _on_shelves(self, shelves: Shelves, if_empty: str) -> ClusterRows:
        """Return the rows of shelves that were derived from these, seen as these are."""
        derived = ClusterRows.from_shelves(shelves, self.threads, if_empty)
        totals = derived.totals.at_temperature(self.temperature)
        if self.features is not None:
            totals = totals.take_features(self.features)
        if self.scores is not None:
            totals = totals.take_scores(self.scores)
        changes = {"shelves": shelves, "places": derived.places, "known_totals": totals}
        return self.replaced(store=Store(), **changes)
