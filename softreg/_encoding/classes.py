"""Classes that exclude each other, one a row or as probabilities: how they become targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax
from sklearn.utils.multiclass import check_classification_targets

from softreg._encoding import validation
from softreg._encoding.answers import Answers, Encoder, Encoding, two_class_scores
from softreg._model.links import Sigmoid, Softmax
from softreg._rows.targets import ClassTargets, TargetMatrix, Targets


@dataclass(frozen=True, eq=False)
class ClassTally:
    """The classes of some rows.

    Attributes
    ----------
    n_rows : int
    classes : ndarray (K,), those in y, sorted; of probabilities the numbers of the columns
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
        return len(self.classes) if self.by_columns else 1, self.classes.dtype.kind in "biuf"

    def __add__(self, other: ClassTally) -> ClassTally:
        if self.kind != other.kind:
            before, now = (
                f"{tally.classes.dtype} {tally.classes[:3].tolist()} in {tally.kind[0]} column(s)"
                for tally in (self, other)
            )
            raise ValueError(
                f"y held {before} and holds {now} now; it must be of one kind: all numbers or all "
                "texts, in as many columns."
            )
        n_rows, one_hot = self.n_rows + other.n_rows, self.one_hot and other.one_hot
        if self.by_columns:
            return ClassTally(n_rows, self.classes, self.totals + other.totals, True, one_hot)
        classes, codes = np.unique(_joined(self.classes, other.classes), return_inverse=True)
        totals = np.bincount(codes, np.concatenate([self.totals, other.totals]))
        return ClassTally(n_rows, classes, totals)

    def with_classes(self, classes: NDArray) -> ClassTally:
        """Return the tally with all of these classes (K,), sorted; some may have no row."""
        sorted_classes = np.sort(classes)
        totals = np.zeros(len(sorted_classes))
        totals[np.searchsorted(sorted_classes, self.classes)] = self.totals
        return replace(self, classes=sorted_classes, totals=totals)


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
    classes : array-like (K,) or None, the classes in order, or the names of the columns
    class_weight, smoothing : the estimator's parameters
    """

    classes: ArrayLike | None
    class_weight: Any
    smoothing: float

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        weight = validation.check_sample_weight(sample_weight, X.shape[0])
        labels = validation.check_y(y, X)
        if labels.ndim == 2:
            labels = validation.check_probabilities(labels)
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
            classes = validation.check_column_names(self.classes, len(tally.classes))
            codes = tally.classes
        else:
            classes = validation.check_class_order(self.classes, tally.classes)
            if tally.n_rows < 2 * len(tally.classes):  # warns of labels that are like measurements
                check_classification_targets(np.resize(tally.classes, tally.n_rows))
            tally, codes = tally.with_classes(classes), np.argsort(classes)
        two = len(classes) == 2
        return ClassEncoding(
            classes=classes,
            link=Sigmoid() if two else Softmax(),
            score_shape=() if two else classes.shape,
            fitted_attributes={},
            sorted_classes=tally.classes,
            sorted_codes=codes,
            factors=_class_factors(self.class_weight, classes, tally.totals[np.argsort(codes)]),
            smoothing=self.smoothing,
            one_hot=tally.one_hot,
        )

    def encoding_from_classes(self, classes: ArrayLike | None, answers: Answers) -> ClassEncoding:
        if answers.y.ndim == 1:
            return self.encoding_from_tally(tally_of_declared(self.classes, classes))
        declared = self.classes if classes is None else classes
        K = answers.y.shape[1]
        tally = ClassTally(2 * K, np.arange(K), np.ones(K), by_columns=True, one_hot=False)
        return replace(self, classes=declared).encoding_from_tally(tally)


def tally_of_classes(y: NDArray, weight: NDArray | None) -> ClassTally:
    """Return the tally of the classes y (n,) of some rows, and their weights (n,) or None."""
    classes = np.unique(y)
    if classes.dtype.kind not in "biuU":  # numbers that are measurements, or objects of no kind
        check_classification_targets(np.repeat(classes, 2))
    totals = np.bincount(np.searchsorted(classes, y), weight, len(classes))
    return ClassTally(len(y), classes, totals)


def tally_of_declared(order: ArrayLike | None, classes: ArrayLike | None) -> ClassTally:
    """Return a tally of two rows of each class that a stream will hold.

    These are `classes`, or for None those that the estimator names in `order`; ValueError if both
    are None, or not of the same number.
    """
    declared = order if classes is None else classes
    if declared is None:
        raise ValueError(
            "classes must be passed on the first call to partial_fit, all that will ever come: a "
            "chunk may lack some."
        )
    checked = validation.check_declared_classes(declared)
    if order is not None and len(np.ravel(order)) != len(checked):
        raise ValueError(
            f"classes={checked.tolist()} of partial_fit must be those of the estimator, {order!r}."
        )
    return tally_of_classes(np.repeat(checked, 2), None)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassEncoding(Encoding):
    """Classes that exclude each other; two of them have one score.

    Attributes
    ----------
    sorted_classes : ndarray (K,), the classes as y holds them, sorted
    sorted_codes : ndarray (K,) of int, their codes: indices in `classes`
    factors : ndarray (K,), what multiplies the weights of each class's rows, or None (one)
    smoothing : float in [0, 1), the share of each target that is spread over all classes
    one_hot : bool, whether each row has one class of probability 1
    """

    sorted_classes: NDArray
    sorted_codes: NDArray
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
        ranks = np.searchsorted(self.sorted_classes, y).clip(max=len(self.sorted_classes) - 1)
        unknown = self.sorted_classes[ranks] != y
        if np.any(unknown):
            raise ValueError(
                f"y holds {np.unique(y[unknown]).tolist()}, which are not among the classes "
                f"{self.classes.tolist()}; name all classes on the first call to partial_fit."
            )
        return self.sorted_codes[ranks]

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
    elif validation.is_balanced(class_weight):
        n_weighing = max(np.count_nonzero(totals), 1)
        factors = totals.sum() / (n_weighing * np.where(totals > 0, totals, np.inf))
    else:
        factors = validation.check_class_weight(class_weight, classes)
    has_weight = (totals > 0) * 1.0
    validation.check_some_weight(has_weight if factors is None else has_weight * factors)
    return factors
