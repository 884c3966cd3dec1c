"""Samples: X, y and what belongs to them, checked and encoded together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from softreg import _checks as checks
from softreg._coordinates import Coordinates
from softreg._encoding import Answers, Code, Encoder
from softreg._memory import rows_in_memory
from softreg._memory_rows import MemoryRows
from softreg._threads import Threads


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows in memory as the user gave them.

    Attributes
    ----------
    data : ndarray or CSR (n, d), validated
    answers : Answers
    code : Code
    offset : ndarray (n, K) or None
    """

    data: Any
    answers: Answers
    code: Code
    offset: NDArray | None

    @classmethod
    def of(cls, data: Any, encoder: Encoder, y: Any, sample_weight: Any, offset: Any) -> Sample:
        """Return the sample of validated data; ValueError if what belongs to it does not fit."""
        answers = encoder.checked(y, sample_weight, data)
        code = encoder.code(encoder.tally(answers))
        shift = checks.check_offset(offset, data.shape[:1] + code.score_shape)
        columns = None if shift is None else shift.reshape(len(shift), -1)
        return cls(data, answers, code, columns)

    def rows(self, intercept: bool, threads: Threads) -> MemoryRows:
        """Return the rows, in the user's units."""
        raw = Coordinates.raw(self.data.shape[1], intercept)
        return rows_in_memory(
            self.data, *self.code.targets(self.answers), self.offset, raw, threads
        )
