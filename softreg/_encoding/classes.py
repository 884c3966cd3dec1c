"""Classes that exclude each other, one a row or as probabilities: how they become targets."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax

from softreg._encoding import target_checks, validation
from softreg._encoding.answers import Answers, Encoder, Encoding, two_class_scores
from softreg._encoding.class_values import (
    codes_in,
    column_of,
    distinct_with_codes,
    listed,
)
from softreg._model.links import Sigmoid, Softmax
from softreg._rows.targets import ClassTargets, TargetMatrix, Targets


@dataclass(frozen=True, eq=False)
class ClassTally:
    """The classes of some rows.

    Attributes
    ----------
    n_rows : int, 0 of classes that were declared
    classes : ndarray (K,), those in y; of probabilities the numbers of the columns
    totals : ndarray (K,), the sum of the weights of each class
    by_columns : bool, whether y are class probabilities (n, K)
    one_hot : bool, whether each row has one class of probability 1
    """

    n_rows: int
    classes: NDArray
    totals: NDArray
    by_columns: bool = False
    one_hot: bool = True

    @property
    def kind(self) -> tuple[int, bool]:
        """Number of columns of y; whether classes are numbers, not text or other objects."""
        are_numbers = self.classes.dtype.kind in "biuf" or (
            self.classes.dtype.kind == "O"
            and all(isinstance(label, numbers.Number) for label in self.classes.tolist())
        )
        return len(self.classes) if self.by_columns else 1, are_numbers

    def __add__(self, other: ClassTally) -> ClassTally:
        if self.kind != other.kind:
            before, now = (
                f"{tally.classes.dtype} {listed(tally.classes[:3])} in {tally.kind[0]} column(s)"
                for tally in (self, other)
            )
            raise ValueError(
                f"y held {before} and holds {now} now; it must be of one kind: all numbers or all "
                "texts, in as many columns."
            )
        n_rows, one_hot = self.n_rows + other.n_rows, self.one_hot and other.one_hot
        if self.by_columns:
            return ClassTally(n_rows, self.classes, self.totals + other.totals, True, one_hot)
        classes, codes = distinct_with_codes(_joined(self.classes, other.classes))
        totals = np.bincount(codes, np.concatenate([self.totals, other.totals]))
        return ClassTally(n_rows, classes, totals)

    def with_classes(self, classes: NDArray) -> ClassTally:
        """Return the tally with all of these classes (K,), in this order; some may have no row."""
        if np.array_equal(classes, self.classes):
            return self
        totals = np.zeros(len(classes))
        totals[codes_in(classes, self.classes)] = self.totals
        return replace(self, classes=classes, totals=totals)


def _joined(before: NDArray, now: NDArray) -> NDArray:
    """Return both arrays of classes as one; ValueError if its dtype would round some of them."""
    joined = np.concatenate([before, now])
    if before.dtype != now.dtype and joined.dtype.kind in "iuf":
        exact = before.tolist() + now.tolist()  # Python compares integers with floats exactly
        lost = [a for a, b in zip(exact, joined.tolist(), strict=True) if a != b]
        if lost:
            raise ValueError(
                f"y held labels of dtype {before.dtype} and holds {now.dtype} now; together they "
                f"are {joined.dtype}, which does not hold {lost[:3]} exactly. Give y one dtype in "
                "all chunks, such as str."
            )
    return joined


@dataclass(frozen=True, eq=False)
class ClassEncoder(Encoder):
    """Reads one class a row, or class probabilities.

    Attributes
    ----------
    class_weight, smoothing : the estimator's parameters
    """

    class_weight: Any
    smoothing: float

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        weight = validation.check_sample_weight(sample_weight, X.shape[0])
        labels = target_checks.check_y(y, X)
        if labels.ndim == 2:
            labels = target_checks.check_probabilities(labels)
        return Answers(labels, weight)

    def tally(self, answers: Answers) -> ClassTally:
        y, weight = answers
        if y.ndim == 1:
            return tally_of_classes(y, weight)
        totals = y.sum(axis=0) if weight is None else weight @ y
        one_hot = bool((y.max(axis=1) == 1).all())
        return ClassTally(len(y), np.arange(y.shape[1]), totals, True, one_hot)

    def encoding_from_tally(self, tally: ClassTally) -> ClassEncoding:
        if tally.by_columns:
            classes = target_checks.check_column_names(self.classes, len(tally.classes))
        else:
            classes = target_checks.check_class_order(self.classes, tally.classes)
            if tally.n_rows:
                target_checks.warn_of_odd_classes(tally.classes, tally.n_rows)
            tally = tally.with_classes(classes)
        two = len(classes) == 2
        return ClassEncoding(
            classes=classes,
            link=Sigmoid() if two else Softmax(),
            score_shape=() if two else classes.shape,
            fitted_attributes={},
            factors=_class_factors(self.class_weight, classes, tally.totals),
            smoothing=self.smoothing,
            one_hot=tally.one_hot,
        )

    def encoding_from_classes(self, classes: ArrayLike | None, answers: Answers) -> ClassEncoding:
        if answers.y.ndim == 1:
            tally = tally_of_declared(self.classes, classes)
            return replace(self, classes=tally.classes).encoding_from_tally(tally)
        declared = self.classes if classes is None else classes
        K = answers.y.shape[1]
        tally = ClassTally(0, np.arange(K), np.ones(K), by_columns=True, one_hot=False)
        return replace(self, classes=declared).encoding_from_tally(tally)


def tally_of_classes(y: NDArray, weight: NDArray | None) -> ClassTally:
    """Return the tally of the classes y (n,) of some rows, and their weights (n,) or None."""
    classes, codes = distinct_with_codes(y)
    return ClassTally(len(y), classes, np.bincount(codes, weight, len(classes)))


def tally_of_declared(order: ArrayLike | None, classes: ArrayLike | None) -> ClassTally:
    """Return a tally of as much weight of each class that a stream will hold, in their order.

    These are `classes`, in the `order` that the estimator names if it does, or for None those of
    `order`; ValueError if both are None, or not of the same number.
    """
    if order is None and classes is None:
        raise ValueError(
            "classes must be passed on the first call to partial_fit, all that will ever come: a "
            "chunk may lack some."
        )
    declared = (
        column_of(order) if classes is None else target_checks.check_declared_classes(classes)
    )
    if order is not None:
        ordered = target_checks.check_class_order(order, declared)
        if len(ordered) != len(declared):
            raise ValueError(
                f"classes={listed(declared)} of partial_fit must be those of the estimator, "
                f"{listed(ordered)}."
            )
        declared = ordered
    return ClassTally(0, declared, np.full(len(declared), 2.0))


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassEncoding(Encoding):
    """Classes that exclude each other; two of them have one score.

    Attributes
    ----------
    factors : ndarray (K,), what multiplies the weights of each class's rows, or None (one)
    smoothing : float in [0, 1), the share of each target that is spread over all classes
    one_hot : bool, whether each row has one class of probability 1
    """

    factors: NDArray | None
    smoothing: float
    one_hot: bool

    def targets(self, answers: Answers) -> tuple[Targets, NDArray | None]:
        y, weight = answers
        if not self.one_hot:
            return self._soft_targets(y, weight)
        codes = self.codes(y) if y.ndim == 1 else y.argmax(axis=1)
        if self.factors is not None:
            weight = self.factors[codes] if weight is None else weight * self.factors[codes]
        if self.score_shape:
            return ClassTargets(codes, len(self.classes), self.smoothing), weight
        second = codes[:, None] * (1 - self.smoothing) + self.smoothing / 2
        return TargetMatrix(second.astype(np.float64)), weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        if scores.ndim == 1:
            return self.losses_of(log_expit(two_class_scores(scores)), answers)
        return self.losses_of(log_softmax(scores, axis=1), answers)

    def losses_of(self, log_P: NDArray, answers: Answers) -> NDArray:
        """Return -log P(y) of each row (n,), given the logarithms of all probabilities (n, K)."""
        y = answers.y
        if y.ndim == 2:
            return -(y * log_P).sum(axis=1)
        return -np.take_along_axis(log_P, self.codes(y)[:, None], axis=1)[:, 0]

    def codes(self, y: NDArray) -> NDArray:
        """Return the index in `classes` of the class of each row, (n,)."""
        codes = codes_in(self.classes, y)
        unknown = codes < 0
        if unknown.any():
            raise ValueError(
                f"y holds {listed(distinct_with_codes(y[unknown])[0])}, which are not among the "
                f"classes {listed(self.classes)}; name all classes on the first call to "
                "partial_fit."
            )
        return codes

    def _soft_targets(self, Y: NDArray, weight: NDArray | None) -> tuple[Targets, NDArray | None]:
        """Return the targets of class probabilities (n, K), and the row weights."""
        if self.factors is not None:
            # sum_k f_k y_k (-log p_k) is the loss of f y / <f, y>, <f, y> times
            Y = Y * self.factors
            row_factor = Y.sum(axis=1)
            Y = np.divide(Y, row_factor[:, None], out=Y, where=row_factor[:, None] > 0)
            weight = row_factor if weight is None else weight * row_factor
        Y = (1 - self.smoothing) * Y + self.smoothing / len(self.classes)
        return TargetMatrix(Y if self.score_shape else Y[:, 1:]), weight


def _class_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    """Return what multiplies the weights of each class's rows, (K,), or None (one).

    `totals` (K,) are the sums of those weights before. ValueError if none has weight afterwards.
    """
    if class_weight is None:
        factors = None
    elif target_checks.is_balanced(class_weight):
        n_weighing = max(np.count_nonzero(totals), 1)
        factors = totals.sum() / (n_weighing * np.where(totals > 0, totals, np.inf))
    else:
        factors = target_checks.check_class_weight(class_weight, classes)
    has_weight = (totals > 0) * 1.0
    target_checks.check_some_weight(has_weight if factors is None else has_weight * factors)
    return factors
