"""From labels, any number of which a row may have, to what an objective needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import log_expit, log_softmax
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from softreg._encoding import validation as checks
from softreg._encoding.answers import Answers, Code, Encoder
from softreg._encoding.classes import ClassCode, ClassEncoder, ClassTally, named_factors
from softreg._model.links import Sigmoid
from softreg._rows.label_targets import LabelTargets

# Kinds of y that are taken as they are; others become doubles.
_NUMBERS = [np.float64, np.float32, np.bool_, np.int64, np.int32, np.int8, np.uint8]
# What the difference of two sums of weights may be by rounding alone, relative.
_NOTHING = 1e-9
# How the remark on constant labels begins.
CONSTANT = "y does not vary in the labels"


@dataclass(frozen=True, eq=False)
class LabelTally:
    """The answers of some rows.

    Attributes
    ----------
    total, yes : ndarray (L,), weight of the known answers, and of those that say yes
    observed : ndarray (2, L) of bool, as `Targets.observed`
    weight : float, sum of the weights of rows or answers
    """

    total: NDArray
    yes: NDArray
    observed: NDArray
    weight: float

    def __add__(self, other: LabelTally) -> LabelTally:
        if len(self.total) != len(other.total):
            raise ValueError(f"y had {len(self.total)} columns and has {len(other.total)} now.")
        total, yes = self.total + other.total, self.yes + other.yes
        return LabelTally(total, yes, self.observed | other.observed, self.weight + other.weight)


@dataclass(frozen=True, eq=False)
class _LabelParameters:
    """The estimator's parameters that concern labels.

    `classes` are the labels' names, or the classes in order; the remark on constant labels is for
    models with an intercept.
    """

    classes: ArrayLike | None
    class_weight: Any
    threshold: Any
    intercept: bool

    def _fields(self, names: NDArray, tally: LabelTally, learned: dict[str, Any]) -> dict[str, Any]:
        """Return what a `LabelCode` says of labels that were tallied."""
        factors = _factors(tally, self.class_weight, names)
        weighty = np.ones((2, 1)) if factors is None else np.stack(factors)
        observed = tally.observed & (weighty > 0)
        checks.check_threshold(self.threshold, len(names))
        return {
            "classes": names,
            "link": Sigmoid(),
            "score_shape": names.shape,
            "learned": learned,
            "remark": _remark(observed, names) if self.intercept else "",
            "factors": factors,
        }


@dataclass(frozen=True, eq=False)
class LabelEncoder(_LabelParameters, Encoder):
    """Labels (n, L), any number a row: 0, 1, a share between, or NaN where unknown."""

    sparse: bool

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        _names(self.classes, np.shape(y)[1])
        answers = checked_answers(y, X)
        return Answers(answers, checks.check_weight(sample_weight, *answers.shape))

    def tally(self, answers: Answers) -> LabelTally:
        targets, weight = _plain(answers)
        own = np.ones(targets.stored.shape[0]) if weight is None else weight
        weighed = own if answers.weight is None else answers.weight
        sums = targets.score_weight(own), targets.target_sum(own)
        return LabelTally(*sums, targets.observed(own), float(weighed.sum()))

    def code(self, tally: LabelTally) -> LabelCode:
        checks.check_some_weight(np.array(tally.weight))
        if not tally.total.any():
            raise ValueError(
                "y holds no known answer of positive weight: every value is NaN, or weighs nothing."
            )
        learned = {"multilabel_": True, "sparse_output_": self.sparse}
        return LabelCode(**self._fields(_names(self.classes, len(tally.total)), tally, learned))

    def announced(self, classes: ArrayLike | None, answers: Answers) -> LabelCode:
        ones = np.ones(answers.values.shape[1])
        tally = LabelTally(2 * ones, ones, np.ones((2, len(ones)), dtype=bool), 1.0)
        return replace(self, classes=self.classes if classes is None else classes).code(tally)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelCode(Code):
    """Labels, each with a score of its own.

    Attributes
    ----------
    factors : two ndarrays (L,), what a yes and a no weigh, or None (one)
    """

    factors: tuple[NDArray, NDArray] | None

    def targets(self, answers: Answers) -> tuple[LabelTargets, NDArray | None]:
        targets, weight = _plain(answers)
        return _weighted(targets, self.factors), weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        Y = answers.values.toarray()
        return -(Y * log_expit(scores) + (1 - Y) * log_expit(-scores))


@dataclass(frozen=True, eq=False)
class OneVsRestEncoder(_LabelParameters, Encoder):
    """One class a row: of two classes one label, else one each."""

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        weight = checks.check_weight(sample_weight, X.shape[0])
        return Answers(column_or_1d(checks.check_y(y, X), warn=True), weight)

    def tally(self, answers: Answers) -> ClassTally:
        return self._classes(None).tally(answers)

    def code(self, tally: ClassTally) -> Code:
        learned = {"multilabel_": False, "sparse_output_": False}
        if len(tally.found) == 2:
            checks.check_threshold(self.threshold, 1)
            return replace(self._classes(self.class_weight).code(tally), learned=learned)
        classes = self._classes(None).code(tally)
        yes = np.zeros(len(tally.found))
        yes[classes.places] = tally.totals
        observed = np.stack([yes > 0, np.ones(len(yes), dtype=bool)])
        tally_of_labels = LabelTally(np.full(len(yes), yes.sum()), yes, observed, yes.sum())
        own = self._fields(classes.classes, tally_of_labels, learned)
        return OneVsRestCode(**own, inner=classes)

    def announced(self, classes: ArrayLike | None, answers: Answers) -> Code:
        found = self._classes(None).announced(classes, answers).found
        return self.code(ClassTally(2 * len(found), found, np.ones(len(found))))

    def _classes(self, class_weight: Any) -> ClassEncoder:
        return ClassEncoder(self.classes, class_weight, 0.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class OneVsRestCode(LabelCode):
    """Labels of which each row has one.

    Attributes
    ----------
    inner : ClassCode of the same classes
    """

    inner: ClassCode

    def targets(self, answers: Answers) -> tuple[LabelTargets, NDArray | None]:
        codes, n, K = self.inner.codes(answers.values), len(answers.values), len(self.classes)
        ones = sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, K))
        targets = LabelTargets.from_answers(ones, np.ones(n), np.ones(K))
        return _weighted(targets, self.factors), answers.weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        return self.inner.losses_of(log_softmax(log_expit(scores), axis=1), answers)


def checked_answers(Y: Any, X: Any) -> Any:
    """Return Y as CSR of doubles that holds whatever is not 0, with as many rows as X."""
    checked = check_array(
        Y, accept_sparse="csr", dtype=_NUMBERS, ensure_all_finite="allow-nan", input_name="y"
    )
    check_consistent_length(X, checked)
    answers = sparse.csr_array(checks.without_duplicates(checked)).astype(np.float64)
    wrong = (answers.data < 0) | (answers.data > 1)
    if wrong.any():
        place = int(np.argmax(wrong))
        row = int(np.searchsorted(answers.indptr, place, side="right")) - 1
        raise ValueError(
            f"y[{row}, {answers.indices[place]}] is {answers.data[place]:g}; a column of y says "
            "which rows have its label: 0, 1, a share between, or NaN where it is unknown."
        )
    return answers


def _names(classes: ArrayLike | None, L: int) -> NDArray:
    """Return the labels' names, (L,)."""
    names = np.arange(L) if classes is None else np.asarray(classes)
    if names.shape != (L,):
        raise ValueError(
            f"classes={classes!r} has {names.size} names; it must name each of the {L} columns of "
            "y once."
        )
    repeated = [name for name, count in Counter(names.tolist()).items() if count > 1]
    if repeated:
        raise ValueError(
            f"the labels' names repeat: {repeated}; classes, or the columns of y, must name each "
            "label once."
        )
    return names


def _plain(answers: Answers) -> tuple[LabelTargets, NDArray | None]:
    """Return the targets of labels, none weighing more than another, and the row weights.

    Beside weights of answers, rows count one, or nothing where no answer of theirs counts.
    """
    Y, weight = answers
    known = (~np.isnan(Y.data)).astype(np.float64)
    certain = sparse.csr_array((np.nan_to_num(Y.data), Y.indices, Y.indptr), shape=Y.shape)
    of_rows = weight is None or weight.ndim == 1
    targets = LabelTargets.from_answers(
        certain, known, np.ones(Y.shape[1]), None if of_rows else weight
    )
    if of_rows or weight is None:
        return targets, weight
    there = np.asarray(weight.any(axis=1))
    return targets, None if there.all() else there.astype(np.float64)


def _weighted(targets: LabelTargets, factors: tuple[NDArray, NDArray] | None) -> LabelTargets:
    """Return the targets whose yes and no weigh as the factors (L,) say."""
    if factors is None:
        return targets
    # w y softplus(-z) + v (1 - y) softplus(z) is the loss at y' = w y / u, u times,
    # with u = w y + v (1 - y).
    yes, no = (factor[targets.stored.indices] for factor in factors)
    own = yes * targets.answers + no * (1 - targets.answers)
    shares = np.divide(yes * targets.answers, own, out=np.zeros_like(own), where=own > 0)
    weights = own * targets.weights
    return replace(
        targets, answers=shares, weights=weights, no_weight=factors[1], unit_weights=False
    )


def _factors(
    tally: LabelTally, class_weight: Any, names: NDArray
) -> tuple[NDArray, NDArray] | None:
    """Return what a yes and a no weigh, label by label, (L,) each; None for one."""
    if class_weight is None:
        return None
    if checks.is_balanced(class_weight):
        return _half_of(tally.total, tally.yes), _half_of(tally.total, tally.total - tally.yes)
    return named_factors(class_weight, names), np.ones(len(names))


def _half_of(total: NDArray, part: NDArray) -> NDArray:
    """Return the factors that make parts weigh half of their totals; one for what is empty."""
    there = part > _NOTHING * total
    return np.divide(total, 2 * part, out=np.ones_like(total), where=there)


def _remark(observed: NDArray, names: NDArray) -> str:
    """Return what to say of labels that are the same wherever they are known."""
    constant = ~observed.all(axis=0)
    if not constant.any():
        return ""
    return (
        f"{CONSTANT} {names[constant].tolist()} where they are known and have "
        "weight: their coefficients are 0 and their probability is next to 0 or 1, or 0.5 if they "
        "are not known anywhere."
    )
