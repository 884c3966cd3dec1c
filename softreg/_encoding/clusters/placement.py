"""Where the partitions of a fit lie, and on which worker's shelf each of them goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakSet

from softreg._rows.base import slices
from softreg._rows.clusters.shelf import Shelf
from softreg._rows.clusters.shelves import Shelves, gathered, released, submitted

# Partitions join their neighbours up to so many rows: a group's sums then take a few milliseconds,
# and adding them up exactly a few per cent of that (measured).
GROUP_ROWS = 10_000
# Partitions of more rows are cut, so that their workers can share them out.
PIECE_ROWS = 100_000


class PlacedPartitions:
    """Partitions on the workers.

    Parameters
    ----------
    client : distributed.Client
    futures : dict from the number of a partition, ascending, to its future
    to_release : WeakSet of all that is released in the end
    """

    def __init__(
        self, client: Any, futures: dict[int, Any], to_release: WeakSet | None = None
    ) -> None:
        self.client, self.futures = client, futures
        self.to_release: WeakSet = WeakSet() if to_release is None else to_release
        self.to_release.add(self)

    def wait(self, noting: Callable[[int], AbstractContextManager]) -> None:
        """Wait until all are there; raise the error of one that fails, `noting` its number."""
        from distributed import as_completed

        numbers = {future: number for number, future in self.futures.items()}
        for future in as_completed(list(numbers)):
            if future.status != "finished":
                with noting(numbers[future]):
                    gathered(self.client, [future])

    def take(self, numbers: list[int]) -> PlacedPartitions:
        """Return some of the partitions."""
        some = {number: self.futures[number] for number in numbers}
        return PlacedPartitions(self.client, some, self.to_release)

    def map_lists(self, function: Callable[..., list], *args: Any) -> dict[int, Any]:
        """Return what a function makes of lists of partitions, one list a worker, by number."""
        lists: dict[str, list[int]] = {}
        for number, home in self.homes.items():
            lists.setdefault(home, []).append(number)
        asked = [
            submitted(self.client, home, function, [self.futures[i] for i in numbers], *args)
            for home, numbers in lists.items()
        ]
        results = gathered(self.client, asked)
        pairs = [zip(*pair, strict=True) for pair in zip(lists.values(), results, strict=True)]
        return dict(sorted(chain.from_iterable(pairs)))

    @cached_property
    def homes(self) -> dict[int, str]:
        """A worker where each partition lies."""
        holders = self.client.who_has(list(self.futures.values()))
        somewhere = [min(self._n_threads())]
        return {at: min(holders[of.key] or somewhere) for at, of in self.futures.items()}

    def shelved(
        self, maker: Callable[..., Shelf], n_rows: dict[int, int], fingerprints: dict[int, Any]
    ) -> Shelves:
        """Return shelves of the partitions in groups, one on each worker.

        `maker` makes a shelf of its groups, each a list of `Piece`, and of its partitions and their
        `fingerprints`, both by number.
        """
        groups = groups_of(n_rows)
        futures, homes = [], []
        for home, numbers in placed(groups, self.homes, self._n_threads()).items():
            of_shelf = {at: groups[at] for at in numbers}
            inside = {piece.number for group in of_shelf.values() for piece in group}
            parts = {number: self.futures[number] for number in inside}
            expected = {number: fingerprints[number] for number in inside}
            futures.append(submitted(self.client, home, maker, of_shelf, parts, expected))
            homes.append(home)
        return Shelves(self.client, futures, homes, self.to_release)

    def _n_threads(self) -> dict[str, int]:
        """Return the workers' numbers of threads; wait for a worker while there is none."""
        self.client.wait_for_workers(1)
        return self.client.nthreads()

    def release(self) -> None:
        """Let go of these partitions, which can still be made again."""
        released(self.futures.values())

    def release_all(self) -> None:
        """Take all that was made of these partitions off the workers, and end what is running."""
        for made in list(self.to_release):
            made.release()


class Piece(NamedTuple):
    """Some rows of a partition, all as a rule.

    Attributes
    ----------
    number : int, of the partition
    rows : slice
    """

    number: int
    rows: slice

    @property
    def n_rows(self) -> int:
        """How many rows they are."""
        return self.rows.stop - self.rows.start


def groups_of(n_rows: dict[int, int]) -> list[list[Piece]]:
    """Return neighbouring partitions that together have enough rows, and large ones in pieces.

    By their numbers of rows alone, so that the bits of sums depend on nothing else.
    """
    groups: list[list[Piece]] = []
    taken = GROUP_ROWS
    for number, count in n_rows.items():
        for rows in slices(count, -(-count // PIECE_ROWS)):
            if taken >= GROUP_ROWS:
                groups.append([])
                taken = 0
            groups[-1].append(Piece(number, rows))
            taken += groups[-1][-1].n_rows
    return groups


def placed(
    groups: list[list[Piece]], homes: dict[int, str], n_threads: dict[str, int]
) -> dict[str, list[int]]:
    """Return which groups go to which of the workers, given their numbers of threads.

    A group goes where most of it lies, unless that has its fair share of the rows without it.
    """
    load = dict.fromkeys(sorted(n_threads), 0.0)  # rows for a thread
    fair = sum(piece.n_rows for group in groups for piece in group) / sum(n_threads.values())
    chosen: dict[str, list[int]] = {}
    for at, group in enumerate(groups):
        near: Counter[str] = Counter()
        for piece in group:
            near[homes[piece.number]] += piece.n_rows
        best, size = max(near, key=near.__getitem__), near.total()
        if best not in load or load[best] + size / 2 / n_threads[best] > fair:
            best = min(load, key=load.__getitem__)
        load[best] += size / n_threads[best]
        chosen.setdefault(best, []).append(at)
    return chosen
