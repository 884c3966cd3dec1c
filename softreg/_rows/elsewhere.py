"""Rows that are elsewhere: in chunks that are read again, or on the workers of a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from softreg._rows.arrays import Store
from softreg._rows.base import Rows, Totals
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg._rows.threads import Threads


@dataclass(frozen=True, eq=False)
class RowsElsewhere(Rows):
    """Rows of which this process knows the totals, and what each part of them has in common.

    Attributes
    ----------
    known_totals : Totals of all rows
    empty_part : MemoryRows, a part of the rows without its rows
    coordinates, threads, dtype, store : as in `Rows`
    """

    known_totals: Totals
    empty_part: MemoryRows
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    store: Store = field(default_factory=Store, repr=False, kw_only=True)
    in_memory = False

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        return self.empty_part.is_sparse

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
        return self.empty_part.n_scores

    @cached_property
    def blocks_are_raw(self) -> bool:
        changes = {"coordinates": self.coordinates, "dtype": self.dtype}
        return self.empty_part.replaced(**changes).blocks_are_raw

    def replaced(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def forget_scores(self) -> None:
        pass  # those of the next point take their place, if any are kept
