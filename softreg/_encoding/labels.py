"""Labels, any number of which a row may have, and one-vs-rest: how they become targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import log_expit, log_softmax

from softreg._encoding import target_checks, validation
from softreg._encoding.answers import Answers, Encoder, Encoding
from softreg._encoding.classes import (
    ClassEncoder,
    ClassEncoding,
    ClassTally,
    tally_of_classes,
    tally_of_declared,
)
from softreg._model.links import Sigmoid
from softreg._rows.targets import LabelTargets

# What the difference of two sums of weights may be by rounding alone, relative.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LabelTally:
    """The answers of some rows, label by label.

    Attributes
    ----------
    known : ndarray (L,), the sum of the weights of the known answers
    yes : ndarray (L,), the sum of weight times answer
    observed_sides : ndarray (2, L) of bool, whether an answer above 0 has weight, and one below 1
    """

    known: NDArray
    yes: NDArray
    observed_sides: NDArray

    def __add__(self, other: LabelTally) -> LabelTally:
        if len(self.known) != len(other.known):
            raise ValueError(f"y had {len(self.known)} columns and has {len(other.known)} now.")
        observed_sides = self.observed_sides | other.observed_sides
        return LabelTally(self.known + other.known, self.yes + other.yes, observed_sides)


@dataclass(frozen=True, eq=False)
class _LabelParameters(Encoder):
    """The estimator's parameters that concern labels.

    Attributes
    ----------
    class_weight, threshold : as the user gave them
    intercept : bool; constant labels are warned of only if there is one
    """

    class_weight: Any
    threshold: Any
    intercept: bool

    def _encoding_fields(
        self, names: NDArray, tally: LabelTally, fitted_attributes: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the fields of a `LabelEncoding` of the labels with these names (L,)."""
        factors = _yes_no_factors(tally, self.class_weight, names)
        observed_sides = tally.observed_sides & (True if factors is None else factors > 0)
        validation.check_threshold(self.threshold, len(names))
        return {
            "classes": names,
            "link": Sigmoid(),
            "score_shape": names.shape,
            "fitted_attributes": fitted_attributes,
            "warning": _constant_warning(observed_sides, names) if self.intercept else "",
            "factors": factors,
        }


@dataclass(frozen=True, eq=False)
class LabelEncoder(_LabelParameters):
    """Reads labels (n, L), any number a row: 0, 1, a share between, or NaN where unknown.

    Attributes
    ----------
    sparse : bool, whether y is sparse, so that predictions are
    """

    sparse: bool

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        target_checks.check_column_names(self.classes, np.shape(y)[1])
        labels = target_checks.check_answers(y, X)
        return Answers(labels, validation.check_sample_weight(sample_weight, *labels.shape))

    def tally(self, answers: Answers) -> LabelTally:
        targets, weight = _unweighted_targets(answers)
        w = np.ones(answers.y.shape[0]) if weight is None else weight
        return LabelTally(targets.score_weight(w), targets.target_sum(w), targets.observed(w))

    def encoding_from_tally(self, tally: LabelTally) -> LabelEncoding:
        if not tally.known.any():
            raise ValueError(
                "y holds no known answer of positive weight: every value is NaN, or has a "
                "sample_weight of zero."
            )
        names = target_checks.check_column_names(self.classes, len(tally.known))
        attributes = {"multilabel_": True, "sparse_output_": self.sparse}
        return LabelEncoding(**self._encoding_fields(names, tally, attributes))

    def encoding_from_classes(self, classes: ArrayLike | None, answers: Answers) -> LabelEncoding:
        ones = np.ones(answers.y.shape[1])
        tally = LabelTally(2 * ones, ones, np.ones((2, len(ones)), dtype=bool))
        names = self.classes if classes is None else classes
        return replace(self, classes=names).encoding_from_tally(tally)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelEncoding(Encoding):
    """Labels, any number a row; each has a score.

    Attributes
    ----------
    factors : ndarray (2, L), what multiplies the weights of a yes and of a no, or None (one)
    """

    factors: NDArray | None

    def targets(self, answers: Answers) -> tuple[LabelTargets, NDArray | None]:
        targets, weight = _unweighted_targets(answers)
        targets = _with_factors(targets, self.factors)
        has_weight = targets.rows_with_weight()
        if not has_weight.all():
            weight = has_weight * (1.0 if weight is None else weight)
        return targets, weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        Y = answers.y.toarray()
        return -(Y * log_expit(scores) + (1 - Y) * log_expit(-scores))


@dataclass(frozen=True, eq=False)
class OneVsRestEncoder(_LabelParameters):
    """Reads one class a row: K > 2 classes are K labels, two classes are one label."""

    def checked(self, y: Any, sample_weight: Any, X: Any) -> Answers:
        weight = validation.check_sample_weight(sample_weight, X.shape[0])
        return Answers(target_checks.check_y(y, X), weight)

    def tally(self, answers: Answers) -> ClassTally:
        return tally_of_classes(*answers)

    def encoding_from_tally(self, tally: ClassTally) -> Encoding:
        tally = tally.with_classes(target_checks.check_class_order(self.classes, tally.classes))
        K, attributes = len(tally.classes), {"multilabel_": False, "sparse_output_": False}
        # Two classes are weighted as classes, more of them as labels, in `_encoding_fields`.
        class_weight = self.class_weight if K == 2 else None
        encoding = ClassEncoder(self.classes, class_weight, 0.0).encoding_from_tally(tally)
        if K == 2:
            validation.check_threshold(self.threshold, 1)
            return replace(encoding, fitted_attributes=attributes)
        yes = tally.totals.astype(float)
        observed_sides = np.stack([yes > 0, yes < yes.sum()])
        labels = LabelTally(np.full(K, yes.sum()), yes, observed_sides)
        fields = self._encoding_fields(encoding.classes, labels, attributes)
        return OneVsRestEncoding(**fields, class_encoding=encoding)

    def encoding_from_classes(self, classes: ArrayLike | None, answers: Answers) -> Encoding:
        tally = tally_of_declared(self.classes, classes)
        return replace(self, classes=tally.classes).encoding_from_tally(tally)


@dataclass(frozen=True, eq=False, kw_only=True)
class OneVsRestEncoding(LabelEncoding):
    """K > 2 classes as labels: each row has exactly one.

    Attributes
    ----------
    class_encoding : ClassEncoding of the same classes
    """

    class_encoding: ClassEncoding

    def targets(self, answers: Answers) -> tuple[LabelTargets, NDArray | None]:
        codes = self.class_encoding.codes(answers.y)
        n, K = len(codes), len(self.classes)
        ones = sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, K))
        targets = LabelTargets.from_answers(ones, np.ones(n), np.ones(K))
        return _with_factors(targets, self.factors), answers.weight

    def log_losses(self, scores: NDArray, answers: Answers) -> NDArray:
        return self.class_encoding.losses_of(log_softmax(log_expit(scores), axis=1), answers)


def _unweighted_targets(answers: Answers) -> tuple[LabelTargets, NDArray | None]:
    """Return the targets without class weights, and the row weights (n,) or None (all one).

    If the answers have weights (n, L), these become part of the targets.
    """
    Y, weight = answers
    known = (~np.isnan(Y.data)).astype(np.float64)
    certain = sparse.csr_array((np.nan_to_num(Y.data), Y.indices, Y.indptr), shape=Y.shape)
    cell_weight = None if weight is None or weight.ndim == 1 else weight
    targets = LabelTargets.from_answers(certain, known, np.ones(Y.shape[1]), cell_weight)
    return targets, weight if cell_weight is None else None


def _with_factors(targets: LabelTargets, factors: NDArray | None) -> LabelTargets:
    """Return the targets with the weights of yes and no multiplied by the factors (2, L)."""
    if factors is None:
        return targets
    # w y softplus(-z) + v (1 - y) softplus(z) is the loss at y' = w y / u, u times,
    # with u = w y + v (1 - y).
    yes, no = factors[:, targets.stored.indices]
    u = yes * targets.answers + no * (1 - targets.answers)
    shares = np.divide(yes * targets.answers, u, out=np.zeros_like(u), where=u > 0)
    changes = {"answers": shares, "weights": u * targets.weights, "no_weight": factors[1]}
    return replace(targets, unit_weights=False, **changes)


def _yes_no_factors(tally: LabelTally, class_weight: Any, names: NDArray) -> NDArray | None:
    """Return what multiplies the weights of a yes and of a no, (2, L), or None (one)."""
    if class_weight is None:
        return None
    if not target_checks.is_balanced(class_weight):
        return np.stack(
            [target_checks.check_class_weight(class_weight, names), np.ones(len(names))]
        )
    # Each side then weighs half of both; one that is empty to rounding is left as it is.
    sides = np.stack([tally.yes, tally.known - tally.yes])
    is_empty = sides <= _ROUNDING * tally.known
    return np.divide(tally.known, 2 * sides, out=np.ones_like(sides), where=~is_empty)


def _constant_warning(observed_sides: NDArray, names: NDArray) -> str:
    """Return a warning that names the labels of which a side (2, L) is not observed, or ""."""
    constant = ~observed_sides.all(axis=0)
    if not constant.any():
        return ""
    return (
        f"{validation.CONSTANT_LABELS} {names[constant].tolist()} where they are known and have "
        "weight: their coefficients are 0 and their probability is next to 0 or 1, or 0.5 if they "
        "are not known anywhere."
    )
