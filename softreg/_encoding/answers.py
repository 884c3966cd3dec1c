"""Answers: the y of some rows as a user gave it, checked, and what an encoder makes of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from softreg._encoding import validation as checks
from softreg._model.links import Link
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows, memory_rows
from softreg._rows.targets import Targets
from softreg._rows.threads import Threads


class Answers(NamedTuple):
    """The y of some rows, checked: labels (n,), a matrix (n, K) or CSR; and weights, or None."""

    values: Any
    weight: NDArray | None

    def take_rows(self, rows: NDArray) -> Answers:
        """Return those of some of the rows."""
        return Answers(self.values[rows], None if self.weight is None else self.weight[rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class Code(ABC):
    """How y becomes targets, and what the estimator learns of it.

    Attributes
    ----------
    classes : ndarray of classes or names of labels
    link : Link
    score_shape : tuple, the shape of the scores of a row: () for two classes, else (K,)
    learned : dict, fitted attributes beside ``classes_``
    remark : str, what to warn of; empty for nothing
    """

    classes: NDArray
    link: Link
    score_shape: tuple[int, ...]
    learned: dict[str, Any]
    remark: str = ""

    @property
    def n_scores(self) -> int:
        """Number of scores of a row."""
        return math.prod(self.score_shape)

    @abstractmethod
    def targets(self, answers: Answers) -> tuple[Targets, NDArray | None]:
        """Return the targets of some rows, and their weights (n,) or None (all one)."""

    @abstractmethod
    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        """Return -log P(y) of each row, (m,), or of its labels, (m, L), NaN where unknown.

        Scores are in the shape of `decision_function`; neither class weights nor smoothing count.
        """


class Encoder(ABC):
    """What is asked of y before any of it is seen."""

    @abstractmethod
    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        """Return the y and the weights that belong to the rows of the validated X."""

    @abstractmethod
    def tally(self, answers: Answers) -> Any:
        """Return what some rows' y hold; `+` of two tallies is that of both rows."""

    @abstractmethod
    def code(self, tally: Any) -> Code:
        """Return the code for all rows that were tallied."""

    @abstractmethod
    def announced(self, classes: ArrayLike | None, answers: Answers) -> Code:
        """Return the code of a stream that begins so, whose classes are announced.

        None stands for the estimator's own `classes`, or for the names of the columns.
        """


def of_both(scores: NDArray) -> NDArray:
    """Return the scores (n, 2) of two classes of which the second has `scores` (n,)."""
    return np.stack([-scores, scores], axis=1)


def has_columns(y: Any) -> bool:
    """Return whether y has a column for each class; a single dense column holds classes."""
    if sparse.issparse(y):
        return True
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    return len(shape) == 2 and shape[1] != 1


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
        return memory_rows(self.data, *self.code.targets(self.answers), self.offset, raw, threads)
