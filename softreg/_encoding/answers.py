"""Encoders: from y as a user gives it to checked answers, and from these to targets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from softreg._encoding import validation
from softreg._model.links import Link
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import memory_rows
from softreg._rows.memory import MemoryRows
from softreg._rows.targets import Targets
from softreg._rows.threads import Threads

# Weights up to this power of two, or down to its inverse, are of ordinary size; units go up to this
# one, whose inverse is a double.
_ORDINARY_EXPONENT, _LARGEST_EXPONENT = 32, 1000


class Answers(NamedTuple):
    """Checked y and weights of some rows.

    Attributes
    ----------
    y : ndarray of classes (n,) or of class probabilities (n, K), or CSR of labels (n, L)
    weight : ndarray of row weights (n,), or of labels' weights (n, L), or None (all one)
    """

    y: Any
    weight: NDArray | None

    @property
    def has_labels(self) -> bool:
        """Whether rows have any number of labels, not one class each."""
        return sparse.issparse(self.y)

    def take_rows(self, rows: NDArray | slice) -> Answers:
        """Return the answers of some rows."""
        return Answers(self.y[rows], None if self.weight is None else self.weight[rows])

    @property
    def weight_unit(self) -> float:
        """A power of two near the largest weight, or one where that is of ordinary size.

        Divided by it, weights have sums that do not overflow and products that single precision
        holds.
        """
        exponent = 1 if self.weight is None else int(np.frexp(self.weight.max())[1])
        if abs(exponent) <= _ORDINARY_EXPONENT:
            return 1.0
        return 2.0 ** np.clip(exponent - 1, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)

    def in_weight_unit(self, unit: float) -> Answers:
        """Return the answers with their weights divided by a power of two."""
        if unit == 1:
            return self
        weight = np.ones(self.y.shape[0]) if self.weight is None else self.weight
        with np.errstate(over="ignore"):  # their sum is looked at
            return Answers(self.y, weight / unit)


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding(ABC):
    """How y becomes targets, once all classes or labels are known.

    Attributes
    ----------
    classes : ndarray (K,), the classes or the names of the labels
    link : Link, from scores to probabilities
    score_shape : tuple, the shape of a row's scores: () for two classes, else (K,)
    fitted_attributes : dict from name to value, what a fit stores beside ``classes_``
    warning : str, what a fit warns of; empty for nothing
    """

    classes: NDArray
    link: Link
    score_shape: tuple[int, ...]
    fitted_attributes: dict[str, Any]
    warning: str = ""

    @property
    def n_scores(self) -> int:
        """Number of scores of a row."""
        return math.prod(self.score_shape)

    def offset_columns(self, offset: Any, n: int) -> NDArray[np.float64] | None:
        """Return the checked offset of n rows, (n, K) or of two classes (n, 1), or None."""
        checked = validation.check_offset(offset, (n, *self.score_shape))
        return None if checked is None else checked.reshape(n, -1).astype(np.float64, copy=False)

    @abstractmethod
    def targets(self, answers: Answers) -> tuple[Targets, NDArray | None]:
        """Return the targets of some rows, and their weights (n,) or None (all one)."""

    @abstractmethod
    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        """Return -log P(y) of each row, (n,), or of its labels, (n, L), NaN where unknown.

        Scores have the shape of `decision_function`. Class weights and smoothing do not count.
        """


@dataclass(frozen=True, eq=False)
class Encoder(ABC):
    """The parameters that say how y is read: it makes an `Encoding` from all rows' y.

    Rows may come in parts: `checked` and `tally` see the y of some rows, and tallies add up.

    Attributes
    ----------
    classes : array-like (K,) or None, the classes in order, or the names of the columns of y
    """

    classes: ArrayLike | None

    @abstractmethod
    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        """Return y and the weights of the rows of the validated X (n, d)."""

    @abstractmethod
    def tally(self, answers: Answers) -> Any:
        """Return counts of what y holds in some rows; `+` of two tallies is that of all rows."""

    @abstractmethod
    def encoding_from_tally(self, tally: Any) -> Encoding:
        """Return the encoding for all rows that were tallied."""

    @abstractmethod
    def encoding_from_classes(self, classes: ArrayLike | None, answers: Answers) -> Encoding:
        """Return the encoding of a stream with these classes, and answers in this form.

        None stands for the `classes` of the encoder, or else the numbers of the columns of y.
        """


def two_class_scores(scores: NDArray) -> NDArray:
    """Return the logits -z and z of two classes, (n, 2), for the score z (n,) of the second."""
    return np.stack([-scores, scores], axis=1)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows in memory, checked and ready to be encoded.

    Attributes
    ----------
    data : ndarray or CSR (n, d), the validated X
    answers : Answers, their weights divided by `weight_unit`
    weight_unit : float, a power of two
    encoding : Encoding
    offset : ndarray (n, K), or (n, 1) for two classes, or None
    """

    data: Any
    answers: Answers
    weight_unit: float
    encoding: Encoding
    offset: NDArray | None

    @classmethod
    def from_data(
        cls, data: Any, encoder: Encoder, y: Any, sample_weight: Any, offset: Any
    ) -> Sample:
        """Return the sample of a validated X; ValueError if y, weights or offset do not fit it."""
        checked_answers = encoder.checked(y, sample_weight, data)
        unit = checked_answers.weight_unit
        answers = checked_answers.in_weight_unit(unit)
        encoding = encoder.encoding_from_tally(encoder.tally(answers))
        columns = encoding.offset_columns(offset, data.shape[0])
        return cls(data, answers, unit, encoding, columns)

    def rows(self, intercept: bool, threads: Threads) -> MemoryRows:
        """Return the rows, in the user's units."""
        raw = Coordinates.raw(self.data.shape[1], intercept)
        targets = self.encoding.targets(self.answers)
        return memory_rows(self.data, *targets, self.offset, raw, threads, self.weight_unit)
