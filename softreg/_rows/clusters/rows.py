"""Rows on the workers of a Dask cluster: a pass sends a kernel out, and sums come back.

Neighbouring partitions form groups, and groups lie on shelves, one for each worker. A shelf is a
future: what is lost with a worker, the scheduler makes again from the partitions. Sums are exact,
so that their bits depend on the groups and not on who holds them.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Places, Store
from softreg._rows.base import (
    Chance,
    RowKernel,
    Rows,
    SumKernel,
    SumOverRows,
    bad_split,
)
from softreg._rows.clusters.shelf import (
    Seen,
    greatest,
    group_of_shelf,
    maximum_on_shelf,
    merged_sums,
    part_of_shelf,
    rows_of_shelf,
    sample_of_shelf,
    sum_on_shelf,
    totals_of_shelf,
)
from softreg._rows.clusters.shelves import Shelves
from softreg._rows.elsewhere import RowsElsewhere
from softreg._rows.kinds import joined_memory
from softreg._rows.memory import MemoryRows
from softreg._rows.threads import Threads


@dataclass(frozen=True, eq=False)
class ClusterRows(RowsElsewhere):
    """The rows of all shelves.

    Attributes
    ----------
    shelves : Shelves, all dense or all CSR, of one dtype
    places : dict from the number of a group, ascending, to the place of its shelf
    features, scores, temperature : as in `Seen`
    other attributes : as in `RowsElsewhere`, parts being groups
    """

    shelves: Shelves
    places: dict[int, int]
    features: Places | None = None
    scores: Places | None = None
    temperature: float = 1.0

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
        return cls(totals, empty, empty.coordinates, threads, empty.dtype, shelves, places)

    @cached_property
    def _seen(self) -> Seen:
        """How these rows are seen on the workers."""
        return Seen(self.coordinates, self.dtype, self.features, self.scores, self.temperature)

    @property
    def value_budget(self) -> float:
        return self.threads.limits.value_budget

    def sum(self, kernel: SumKernel) -> tuple:
        self.threads.passes += 1
        return self.shelves.reduced(sum_on_shelf, merged_sums, self._message(kernel)).rounded()

    def maximum(self, kernel: RowKernel) -> NDArray:
        return self.shelves.reduced(maximum_on_shelf, greatest, self._message(kernel))[0]

    def _message(self, *values: Any) -> bytes:
        """Return what a task is sent, as bytes: they are made once for all shelves."""
        return pickle.dumps((*values, self._seen))

    def at_temperature(self, temperature: float) -> Self:
        if not self.totals.largest_offset.any():
            return self
        totals = self.totals.at_temperature(temperature)
        return self.replaced(temperature=self.temperature * temperature, known_totals=totals)

    def take_scores(self, scores: Places) -> Self:
        return self.replaced(
            scores=scores if self.scores is None else self.scores[scores],
            known_totals=self.totals.take_scores(scores),
            empty_part=self.empty_part.take_scores(scores),
        )

    def take_features(self, features: Places) -> Self:
        return self.replaced(
            features=features if self.features is None else self.features[features],
            known_totals=self.totals.take_features(features),
            empty_part=self.empty_part.take_features(features),
            coordinates=self.coordinates.take(features),
        )

    def sampled(self, importance: RowKernel, chance: Chance) -> Rows:
        (total,) = self.sum(SumOverRows(importance))
        samples = self.shelves.derived(sample_of_shelf, self._message(importance, chance, total))
        drawn = self._on_shelves(samples, "there are no rows")
        # A few rows of each group are less than the Hessian that a group would make of them: adding
        # these up took four times as long as making them, and 180 MB of a worker each (measured).
        return drawn._here() if drawn.n_values <= self.value_budget else drawn

    def _here(self) -> MemoryRows:
        """Return the rows in the memory of this process, group after group."""
        parts = [part for some in self.shelves.results(rows_of_shelf) for part in some]
        order = np.argsort(np.concatenate([numbers for _, numbers in parts]), kind="stable")
        raw = joined_memory([rows for rows, _ in parts]).take_rows(order)
        return self._seen.rows(raw, self.threads)

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
