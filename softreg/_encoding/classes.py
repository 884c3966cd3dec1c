"""From classes, or class probabilities, to what an objective needs.

Rows may come in parts: an `Encoder` checks the y of some rows and tallies it; what the sum of all
tallies tells makes the `Code`, which turns the same rows' y into targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from softreg._encoding import validation as checks
from softreg._encoding.answers import Answers, Code, Encoder, of_both
from softreg._model.links import Sigmoid, Softmax
from softreg._rows.targets import ClassTargets, TargetMatrix, Targets


@dataclass(frozen=True, eq=False)
class ClassTally:
    """The classes of some rows.

    Attributes
    ----------
    n : int, number of rows
    found : ndarray (K,), sorted, or the columns' numbers
    totals : ndarray (K,), weight of each class
    by_columns : bool, whether y are probabilities, a column for each class
    one_hot : bool, whether all rows are of one class
    """

    n: int
    found: NDArray
    totals: NDArray
    by_columns: bool = False
    one_hot: bool = True

    def __add__(self, other: ClassTally) -> ClassTally:
        n, one_hot = self.n + other.n, self.one_hot and other.one_hot
        columns = [len(of.found) if of.by_columns else 1 for of in (self, other)]
        texts = [of.found.dtype.kind not in "biuf" for of in (self, other)]
        if columns[0] != columns[1] or texts[0] != texts[1]:
            was, now = (f"{of.found.dtype} {of.found[:3].tolist()}" for of in (self, other))
            raise ValueError(
                f"y held {was} in {columns[0]} column(s) and holds {now} in {columns[1]} now; it "
                "must be of one kind: all numbers or all texts, in as many columns."
            )
        if self.by_columns:
            return ClassTally(n, self.found, self.totals + other.totals, True, one_hot)
        found, places = np.unique(_together(self.found, other.found), return_inverse=True)
        totals = np.bincount(places, np.concatenate([self.totals, other.totals]))
        return ClassTally(n, found, totals)


def _together(was: NDArray, now: NDArray) -> NDArray:
    """Return the classes of both in one array; ValueError if numbers lose digits there."""
    found = np.concatenate([was, now])
    if was.dtype != now.dtype and found.dtype.kind in "iuf":
        exact = was.tolist() + now.tolist()  # Python compares integers with floats exactly
        lost = [label for label, own in zip(exact, found.tolist(), strict=True) if label != own]
        if lost:
            raise ValueError(
                f"y held labels of dtype {was.dtype} and holds {now.dtype} now; together they are "
                f"{found.dtype}, which does not hold {lost[:3]} exactly. Give y one dtype in all "
                "chunks, such as str (for Csv: options={'dtype': {target: str}})."
            )
    return found


@dataclass(frozen=True, eq=False)
class ClassEncoder(Encoder):
    """One class a row, or class probabilities.

    Attributes
    ----------
    classes : array-like or None, the classes in order, or the names of the columns
    class_weight, smoothing : the estimator's parameters
    """

    classes: ArrayLike | None
    class_weight: Any
    smoothing: float

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        weight = checks.check_weight(sample_weight, X.shape[0])
        given = checks.check_y(y, X)
        if given.ndim == 2 and given.shape[1] > 1:
            return Answers(checks.check_probabilities(given), weight)
        return Answers(column_or_1d(given, warn=True), weight)

    def tally(self, answers: Answers) -> ClassTally:
        y, weight = answers
        if y.ndim == 2:
            K, one_hot = y.shape[1], bool((y.max(axis=1) == 1).all())
            totals = y.sum(axis=0) if weight is None else weight @ y
            return ClassTally(len(y), np.arange(K), totals, True, one_hot)
        found = np.unique(y)
        check_classification_targets(np.repeat(found, 2))
        totals = np.bincount(np.searchsorted(found, y), weight, len(found))
        return ClassTally(len(y), found, totals)

    def code(self, tally: ClassTally) -> ClassCode:
        checks.check_some_weight(tally.totals)
        named = _named if tally.by_columns else _ordered
        classes, places = named(tally.found, self.classes)
        if not tally.by_columns:  # warns of labels that are like numbers, nearly all different
            rows = min(tally.n, 2 * len(classes))
            check_classification_targets(np.resize(tally.found, rows))
        totals = np.zeros(len(classes))
        totals[places] = tally.totals
        two = len(classes) == 2
        return ClassCode(
            classes=classes,
            link=Sigmoid() if two else Softmax(),
            score_shape=() if two else classes.shape,
            learned={},
            found=tally.found,
            places=places,
            factors=class_factors(self.class_weight, classes, totals),
            smoothing=self.smoothing,
            one_hot=tally.one_hot,
        )

    def announced(self, classes: ArrayLike | None, answers: Answers) -> ClassCode:
        given = self.classes if classes is None else classes
        if answers.values.ndim == 2:
            K = answers.values.shape[1]
            tally = ClassTally(2 * K, np.arange(K), np.ones(K), by_columns=True, one_hot=False)
            return replace(self, classes=given).code(tally)
        if given is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit, all that will ever come: "
                "a chunk may lack some."
            )
        found = _distinct(given)
        return self.code(ClassTally(2 * len(found), found, np.ones(len(found))))


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassCode(Code):
    """Classes that exclude each other; two of them have one score.

    Attributes
    ----------
    found, places : ndarrays (K,), the classes as y has them, sorted, and their places in `classes`
    factors : ndarray (K,), the weights of the classes, or None (all one)
    smoothing : float
    one_hot : bool, whether all rows are of one class
    """

    found: NDArray
    places: NDArray
    factors: NDArray | None
    smoothing: float
    one_hot: bool

    def targets(self, answers: Answers) -> tuple[Targets, NDArray | None]:
        y, weight = answers
        if not self.one_hot:
            return self._shares(y, weight)
        codes = self.codes(y) if y.ndim == 1 else y.argmax(axis=1)
        if self.factors is not None:
            weight = self.factors[codes] if weight is None else weight * self.factors[codes]
        if self.score_shape:
            return ClassTargets(codes, len(self.classes), self.smoothing), weight
        share = codes[:, None] * (1 - self.smoothing) + self.smoothing / 2
        return TargetMatrix(share.astype(np.float64)), weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        if scores.ndim == 1:
            return self.losses_of(log_expit(of_both(scores)), answers)
        return self.losses_of(log_softmax(scores, axis=1), answers)

    def losses_of(self, log_P: NDArray, answers: Answers) -> NDArray:
        """Return -log P(y) of each row (m,), given the logarithms of all probabilities (m, K)."""
        y = answers.values
        if y.ndim == 2:
            return -(y * log_P).sum(axis=1)
        return -np.take_along_axis(log_P, self.codes(y)[:, None], axis=1)[:, 0]

    def codes(self, y: NDArray) -> NDArray:
        """Return each label's place among the classes."""
        places = np.searchsorted(self.found, y).clip(max=len(self.found) - 1)
        unknown = self.found[places] != y
        if np.any(unknown):
            raise ValueError(
                f"y holds {np.unique(y[unknown]).tolist()}, which are not among the classes "
                f"{self.classes.tolist()}; name all classes on the first call to partial_fit."
            )
        return self.places[places]

    def _shares(self, Y: NDArray, weight: NDArray | None) -> tuple[Targets, NDArray | None]:
        if self.factors is not None:
            # sum_k f_k y_k (-log p_k) is the loss of f y / <f, y>, <f, y> times
            Y = Y * self.factors
            own = Y.sum(axis=1)
            Y = np.divide(Y, own[:, None], out=Y, where=own[:, None] > 0)
            weight = own if weight is None else weight * own
        Y = (1 - self.smoothing) * Y + self.smoothing / len(self.classes)
        return TargetMatrix(Y if self.score_shape else Y[:, 1:]), weight


def _ordered(found: NDArray, classes: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return the classes in order, and the places in it of those found."""
    if len(found) < 2:
        raise ValueError(
            f"y holds one class only, {found[0]!r} (n_classes=1); a classifier needs rows of at "
            "least two classes."
        )
    if classes is None:
        return found, np.arange(len(found))
    order = np.asarray(classes)
    if order.ndim != 1 or len(order) != len(found) or set(order) != set(found):
        raise ValueError(
            f"classes={classes!r} must name each class in y once; y holds {found.tolist()}."
        )
    place = {label: i for i, label in enumerate(order.tolist())}
    return order, np.array([place[label] for label in found.tolist()])


def _distinct(classes: Any) -> NDArray:
    """Return classes that are announced, sorted; ValueError unless there are two, each once."""
    try:
        given = np.asarray(classes)
        found = np.unique(given)
        known = bool((found == found).all())  # NaN is not itself
        texts = given.dtype.kind not in "US" or all(isinstance(of, str | bytes) for of in classes)
        if given.ndim == 1 and len(given) == len(found) >= 2 and known and texts:
            return found
    except (TypeError, ValueError):  # of no order, such as None and 1, or of no shape
        pass
    raise ValueError(
        f"classes={classes!r} must be one-dimensional and hold two or more classes of one kind, "
        "none missing, each once: pass all classes, such as classes=np.unique(y)."
    )


def _named(found: NDArray, names: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return the classes that stand for columns of y, and the columns' numbers."""
    K, given = len(found), found if names is None else np.asarray(names)
    if given.shape != (K,) or len(set(given.tolist())) != K:
        raise ValueError(
            f"classes={names!r} has {given.size} names; it must name each of the {K} "
            "columns of y once."
        )
    return given, found


def check_two_classes(totals: NDArray, classes: NDArray) -> None:
    if (totals > 0).sum() < 2:
        only = classes.tolist()[totals.argmax()]
        raise ValueError(
            f"all weight is on one class, {only!r}; a classifier needs rows of positive weight in "
            "at least two classes."
        )


def class_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    """Return the weight of each class (K,), None where all are one; two must have any left."""
    factors = _given_factors(class_weight, classes, totals)
    check_two_classes(totals if factors is None else totals * factors, classes)
    return factors


def _given_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    if class_weight is None:
        return None
    if checks.is_balanced(class_weight):
        return totals.sum() / (len(classes) * np.where(totals > 0, totals, np.inf))
    return named_factors(class_weight, classes)


def named_factors(class_weight: Any, classes: NDArray) -> NDArray:
    """Return the weights (K,) that a dict gives to classes, one where it names none."""
    if not isinstance(class_weight, dict):
        raise ValueError(
            f'class_weight={class_weight!r} must be None, "balanced" or a dict {{class: weight}}.'
        )
    unknown = [label for label in class_weight if label not in set(classes.tolist())]
    if unknown:
        raise ValueError(
            f"class_weight names {unknown}, which y does not hold; its classes: {classes.tolist()}."
        )
    factors = np.array([class_weight.get(label, 1.0) for label in classes.tolist()], dtype=float)
    if not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise ValueError(f"class_weight={class_weight!r} must hold finite weights >= 0.")
    return factors
