"""Rows that come chunk by chunk: each pass reads them again and holds no more than two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from softreg._rows.base import Rows, Totals, add_inplace
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows, bad_split, checked_split
from softreg._rows.threads import Threads

# What is kept beside the rows takes this share of their values, so that with the chunks and what
# is made of them it stays below a twentieth; but no less than 2 MB.
_ROOM, _LEAST_ROOM = 0.007, 2**18


@dataclass(frozen=True, eq=False)
class ChunkedRows(Rows):
    """Rows of all chunks that a source yields, the same ones whenever it is iterated.

    Attributes
    ----------
    source : iterable of MemoryRows, all dense or all CSR, of one dtype, for use in a single pass
    totals : Totals of all chunks
    like : MemoryRows, such a chunk without its rows
    coordinates, threads, dtype : as in `Rows`
    """

    source: Iterable[MemoryRows]
    totals: Totals
    like: MemoryRows
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    in_memory = False

    @classmethod
    def of(cls, source: Iterable[MemoryRows], none: str = "there are no rows") -> ChunkedRows:
        """Return the rows of a source: one pass. ValueError, which says `none`, without any."""
        totals: Totals | None = None
        for chunk in source:
            own = chunk.totals()
            totals = own if totals is None else totals + own
        if totals is None:
            raise ValueError(none)
        like = chunk.take_rows(np.arange(0))  # a copy: a view would hold the chunk
        return cls(source, totals, like, like.coordinates, like.threads, like.dtype)

    @property
    def chunks(self) -> Iterator[MemoryRows]:
        """The chunks, in these coordinates and this precision: one pass."""
        for chunk in self.source:
            yield chunk.replaced(coordinates=self.coordinates, dtype=self.dtype)

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        return self.like.is_sparse

    @property
    def n(self) -> int:
        return self.totals.n

    @property
    def values(self) -> float:
        return self.totals.values

    @property
    def n_scores(self) -> int:
        return self.like.n_scores

    @property
    def total_weight(self) -> float:
        return self.totals.weight

    @property
    def score_weight(self) -> NDArray:
        return self.totals.score_weight

    @property
    def target_sum(self) -> NDArray:
        return self.totals.target_sum

    @property
    def observed(self) -> NDArray[np.bool_]:
        return self.totals.observed

    mean_offset = farthest_offset = 0.0

    @property
    def value_budget(self) -> float:
        return max(_ROOM * self.n * len(self.totals.mean), _LEAST_ROOM)

    def moments(self) -> tuple[NDArray, NDArray]:
        return self.totals.mean, self.totals.variance

    def standardised(self) -> Self:
        own = self.coordinates.standardising(*self.moments(), self.like.X.dtype)
        return self.replaced(coordinates=own)

    @cached_property
    def blocks_are_raw(self) -> bool:
        return self.like.replaced(coordinates=self.coordinates, dtype=self.dtype).blocks_are_raw

    def sum(self, kernel: Callable[[Block], tuple]) -> tuple:
        total: list = []
        for chunk in self.chunks:
            own = chunk.sum(kernel)
            if total:
                add_inplace(total, own)
            else:
                total = list(own)
        return tuple(total)

    def maximum(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        return np.max([chunk.maximum(kernel) for chunk in self.chunks], axis=0)

    def take_scores(self, scores: NDArray) -> Self:
        source, like = _ScoresOfChunks(self.source, scores), self.like.take_scores(scores)
        return self.replaced(source=source, totals=self.totals.take_scores(scores), like=like)

    def sampled(
        self,
        importance: Callable[[Block], NDArray],
        chance: Callable[[NDArray, float], NDArray],
    ) -> ChunkedRows:
        (total,) = self.sum(lambda block: (importance(block).sum(dtype=float),))
        parts = []
        for number, chunk in enumerate(self.chunks):
            own, random = (
                chance(chunk.map_rows(importance), total),
                np.random.default_rng([0, number]),
            )
            part = chunk.sampled_with(own, random)
            parts += [part] if part.n else []
        return ChunkedRows.of(parts)

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[MemoryRows]:
        for chunk in self.chunks:
            yield from chunk.batches(size, random)

    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        seed = int(random.integers(2**63))
        kept, held = (_Share(self, fraction, seed, held=held) for held in (False, True))
        return checked_split(
            ChunkedRows.of(kept, bad_split("no rows to learn from", fraction)),
            ChunkedRows.of(held, bad_split("no rows to hold out", fraction)),
            fraction,
        )


@dataclass(frozen=True, eq=False)
class _ScoresOfChunks:
    """Chunks with some of the scores' targets."""

    source: Iterable[MemoryRows]
    scores: NDArray

    def __iter__(self) -> Iterator[MemoryRows]:
        return (chunk.take_scores(self.scores) for chunk in self.source)


@dataclass(frozen=True, eq=False)
class _Share:
    """Chunks without the rows that are held out, or these alone: the same ones in each pass."""

    rows: ChunkedRows
    fraction: float
    seed: int
    held: bool

    def __iter__(self) -> Iterator[MemoryRows]:
        for number, chunk in enumerate(self.rows.chunks):
            random = np.random.default_rng([self.seed, number])
            own = np.flatnonzero(chunk.held_out_mask(self.fraction, random) == self.held)
            if own.size:
                yield chunk.take_rows(own)
