"""From labels, any number of which a row may have, to what an objective needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from softreg import _checks as checks
from softreg._encoding import Encoded, check_two_classes, class_codes, encode_classes, named_factors
from softreg._links import Sigmoid
from softreg._targets import Indicators

# Kinds of y that are taken as they are; others become doubles.
_NUMBERS = [np.float64, np.float32, np.bool_, np.int64, np.int32, np.int8, np.uint8]
# What the difference of two sums of weights may be by rounding alone, relative.
_NOTHING = 1e-9
# How the remark on constant labels begins.
CONSTANT = "y does not vary in the labels"
_ONE_CLASS_A_ROW = {"multilabel_": False, "sparse_output_": False}


def is_label_matrix(y: Any) -> bool:
    """Return whether y has a column for each label; a single dense column holds classes."""
    if sparse.issparse(y):
        return True
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    return len(shape) == 2 and shape[1] != 1


def encode_labels(
    Y: Any, classes: ArrayLike | None, sample_weight: Any, class_weight: Any, X: Any
) -> Encoded:
    """Return the targets of labels (n, L): 0, 1, a share between, or NaN where unknown."""
    names = _names(classes, np.shape(Y)[1])
    answers = checked_answers(Y, X)
    weight, cell_weight = _weights(sample_weight, answers.shape)
    known = (~np.isnan(answers.data)).astype(np.float64)
    answers.data = np.nan_to_num(answers.data)
    targets = Indicators.of(answers, known, np.ones(len(names)), cell_weight)
    targets = _weighted(targets, class_weight, names, weight)
    if not targets.total_weight(_ones(weight, answers)).any():
        raise ValueError(
            "y holds no known answer of positive weight: every value is NaN, or weighs nothing."
        )
    learned = {"multilabel_": True, "sparse_output_": sparse.issparse(Y)}
    remark = _remark(targets, names, _ones(weight, answers))
    return Encoded(names, targets, Sigmoid(), weight, names.shape, learned, remark)


def encode_one_vs_rest(
    y: Any, classes: ArrayLike | None, sample_weight: Any, class_weight: Any, X: Any
) -> Encoded:
    """Return the targets of one class a row (n,): of two classes one label, else one each."""
    weight = checks.check_weight(sample_weight, X.shape[0])
    given = column_or_1d(checks.check_y(y, X), warn=True)
    names, codes = class_codes(given, classes)
    if len(names) == 2:
        encoded = encode_classes(given, classes, weight, class_weight, 0.0)
        return replace(encoded, learned=_ONE_CLASS_A_ROW)
    check_two_classes(np.bincount(codes, weight, len(names)), names)
    n, K = len(codes), len(names)
    answers = sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, K))
    targets = Indicators.of(answers, np.ones(n), np.ones(K))
    targets = _weighted(targets, class_weight, names, weight)
    remark = _remark(targets, names, _ones(weight, answers))
    return Encoded(names, targets, Sigmoid(), weight, names.shape, _ONE_CLASS_A_ROW, remark)


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


def _weights(sample_weight: Any, shape: tuple[int, int]) -> tuple[NDArray | None, NDArray | None]:
    """Return row weights (n,) and cell weights (n, L), each or None.

    Beside cell weights rows count one, or nothing where no cell of theirs counts.
    """
    given = checks.check_weight(sample_weight, *shape)
    if given is None or given.ndim == 1:
        return given, None
    there = np.asarray(given.any(axis=1))
    return (None if there.all() else there.astype(np.float64)), given


def _ones(weight: NDArray | None, answers: Any) -> NDArray:
    """Return the row weights, ones for None."""
    return np.ones(answers.shape[0]) if weight is None else weight


def _weighted(
    targets: Indicators, class_weight: Any, names: NDArray, weight: NDArray | None
) -> Indicators:
    """Return the targets whose yes and no weigh what `class_weight` gives them."""
    factors = _factors(targets, class_weight, names, _ones(weight, targets.places))
    if factors is None:
        return targets
    # w y softplus(-z) + v (1 - y) softplus(z) is the loss at y' = w y / u, u times,
    # with u = w y + v (1 - y).
    yes, no = (factor[targets.places.indices] for factor in factors)
    own = yes * targets.shares + no * (1 - targets.shares)
    shares = np.divide(yes * targets.shares, own, out=np.zeros_like(own), where=own > 0)
    weights = own * targets.weights
    return replace(targets, shares=shares, weights=weights, plain=factors[1], even=False)


def _factors(
    targets: Indicators, class_weight: Any, names: NDArray, weight: NDArray
) -> tuple[NDArray, NDArray] | None:
    """Return what a yes and a no weigh, label by label, (L,) each; None for one."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        total, yes = targets.total_weight(weight), targets.weighted_sum(weight)
        return _half_of(total, yes), _half_of(total, total - yes)
    return named_factors(class_weight, names), np.ones(len(names))


def _half_of(total: NDArray, part: NDArray) -> NDArray:
    """Return the factors that make parts weigh half of their totals; one for what is empty."""
    there = part > _NOTHING * total
    return np.divide(total, 2 * part, out=np.ones_like(total), where=there)


def _remark(targets: Indicators, names: NDArray, weight: NDArray) -> str:
    """Return what to say of labels that are the same wherever they are known."""
    constant = targets.one_sided(weight)
    if not constant.any():
        return ""
    return (
        f"{CONSTANT} {names[constant].tolist()} where they are known and have "
        "weight: their coefficients are 0 and their probability is next to 0 or 1, or 0.5 if they "
        "are not known anywhere."
    )
