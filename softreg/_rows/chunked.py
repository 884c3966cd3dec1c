"""Rows that come in chunks: each pass reads them again and holds no more than two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Places
from softreg._rows.base import (
    Chance,
    RowKernel,
    Rows,
    SumKernel,
    SumOverRows,
    Totals,
    add_inplace,
    bad_split,
)
from softreg._rows.elsewhere import RowsElsewhere
from softreg._rows.memory import MemoryRows

# What is kept beside the rows may take this share of their values, or 2 MB if that is more: with
# two chunks and what is made of them, a fit then holds less than a twentieth of the data.
_BUDGET, _LEAST_BUDGET = 0.007, 2**18


@dataclass(frozen=True, eq=False)
class EachPass:
    """Chunks that a function yields anew in every pass."""

    read: Callable[[], Iterator[MemoryRows]]

    def __iter__(self) -> Iterator[MemoryRows]:
        return self.read()


@dataclass(frozen=True, eq=False)
class ChunkedRows(RowsElsewhere):
    """The rows of all chunks that a source yields, the same ones whenever it is iterated.

    Attributes
    ----------
    source : iterable of MemoryRows with `single_pass`, all dense or all CSR, of one dtype
    other attributes : as in `RowsElsewhere`, parts being chunks
    """

    source: Iterable[MemoryRows]

    @classmethod
    def from_source(
        cls, source: Iterable[MemoryRows], if_empty: str = "there are no rows"
    ) -> ChunkedRows:
        """Return the rows of a source: one pass; without any, a ValueError that says `if_empty`."""
        totals: Totals | None = None
        for chunk in source:
            totals = chunk.totals if totals is None else totals + chunk.totals
        if totals is None:
            raise ValueError(if_empty)
        empty = chunk.take_rows(np.arange(0))  # a copy: a view would keep the chunk in memory
        return cls(totals, empty, empty.coordinates, empty.threads, empty.dtype, source)

    def read_chunks(self) -> Iterator[MemoryRows]:
        """Yield the chunks that have weight, in these coordinates and this precision: one pass."""
        for chunk in self.source:
            if chunk.weight is None or chunk.weight.any():
                yield chunk.replaced(coordinates=self.coordinates, dtype=self.dtype)

    @property
    def value_budget(self) -> float:
        return max(_BUDGET * self.n * len(self.coordinates.centre), _LEAST_BUDGET)

    def sum(self, kernel: SumKernel) -> tuple:
        chunks = self.read_chunks()
        total = list(next(chunks).sum(kernel))
        for chunk in chunks:
            add_inplace(total, chunk.sum(kernel))
        return tuple(total)

    def maximum(self, kernel: RowKernel) -> NDArray:
        return np.max([chunk.maximum(kernel) for chunk in self.read_chunks()], axis=0)

    def at_temperature(self, temperature: float) -> Self:
        return self  # chunks have no offsets

    def take_scores(self, scores: Places) -> Self:
        source = self.source
        return self.replaced(
            source=EachPass(lambda: (chunk.take_scores(scores) for chunk in source)),
            known_totals=self.totals.take_scores(scores),
            empty_part=self.empty_part.take_scores(scores),
        )

    def take_features(self, features: Places) -> Self:
        source = self.source
        return self.replaced(
            source=EachPass(lambda: (chunk.take_features(features) for chunk in source)),
            known_totals=self.totals.take_features(features),
            empty_part=self.empty_part.take_features(features),
            coordinates=self.coordinates.take(features),
        )

    def sampled(self, importance: RowKernel, chance: Chance) -> ChunkedRows:
        (total,) = self.sum(SumOverRows(importance))
        samples = []
        for number, chunk in enumerate(self.read_chunks()):
            chances = chance(chunk.map_rows_with_weight(importance), total)
            sample = chunk.sampled_with(chances, np.random.default_rng([0, number]))
            samples += [sample] if sample.n else []
        return ChunkedRows.from_source(samples)

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[MemoryRows]:
        for chunk in self.read_chunks():
            yield from chunk.batches(size, random)

    def _split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        seed = int(random.integers(2**63))

        def part(is_validation: bool) -> Iterator[MemoryRows]:
            for number, chunk in enumerate(self.read_chunks()):
                mask = chunk.validation_mask(fraction, np.random.default_rng([seed, number]))
                rows = np.flatnonzero(mask == is_validation)
                if rows.size:
                    yield chunk.take_rows(rows)

        def rows_of(is_validation: bool, purpose: str) -> ChunkedRows:
            source = EachPass(partial(part, is_validation))
            return ChunkedRows.from_source(source, bad_split(f"no rows to {purpose}", fraction))

        return rows_of(False, "learn from"), rows_of(True, "hold out")
