"""From classes, or class probabilities, to what an objective needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from softreg._links import Link, Sigmoid, Softmax
from softreg._targets import Labels, Shares, Targets

# How far the probabilities of a row may be from summing to 1: single precision's rounding.
_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Encoded:
    """Targets with their link and row weights, and what the estimator learns of y.

    Attributes
    ----------
    classes : ndarray of classes or names of labels
    targets : Targets
    link : Link
    weight : ndarray (n,) or None (all one)
    score_shape : tuple, the shape of the scores of a row: () for two classes, else (K,)
    learned : dict, fitted attributes beside ``classes_``
    remark : str, what to warn of; empty for nothing
    """

    classes: NDArray
    targets: Targets
    link: Link
    weight: NDArray | None
    score_shape: tuple[int, ...]
    learned: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


def encode_classes(
    y: NDArray,
    classes: ArrayLike | None,
    weight: NDArray | None,
    class_weight: Any,
    smoothing: float,
) -> Encoded:
    """Return the targets of one class a row (n,), or of probabilities (n, K) that sum to 1."""
    if y.ndim == 2 and y.shape[1] > 1:
        classes, Y = _probabilities(y, classes)
        if not (Y.max(axis=1) == 1).all():
            return _shares(Y, classes, weight, class_weight, smoothing)
        codes = Y.argmax(axis=1)  # one-hot rows are labels
    else:
        classes, codes = class_codes(y, classes)
    return _labels(codes, classes, weight, class_weight, smoothing)


def class_codes(y: NDArray, classes: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return the classes and each label's place among them."""
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    found = np.unique(y)
    if len(found) < 2:
        raise ValueError(
            f"y holds one class only, {found[0]!r} (n_classes=1); a classifier needs rows of at "
            "least two classes."
        )
    codes = np.searchsorted(found, y)
    if classes is None:
        return found, codes
    order = np.asarray(classes)
    if order.ndim != 1 or len(order) != len(found) or set(order) != set(found):
        raise ValueError(
            f"classes={classes!r} must name each class in y once; y holds {found.tolist()}."
        )
    place = {label: i for i, label in enumerate(order.tolist())}
    return order, np.array([place[label] for label in found.tolist()])[codes]


def _probabilities(y: NDArray, names: ArrayLike | None) -> tuple[NDArray, NDArray]:
    """Return the classes and the matrix (n, K) of class probabilities."""
    Y = check_array(y, dtype=np.float64, input_name="y")
    K = Y.shape[1]
    found = np.arange(K) if names is None else np.asarray(names)
    if found.shape != (K,) or len(set(found.tolist())) != K:
        raise ValueError(
            f"classes={names!r} has {found.size} names; it must name each of the {K} "
            "columns of y once."
        )
    ones = np.isin(Y, (0.0, 1.0)).all() and (Y.sum(axis=1) > 1).any()
    if ones:
        row = int(np.argmax(Y.sum(axis=1)))
        raise ValueError(
            f"y is a multi-label indicator matrix: row {row} has {int(Y[row].sum())} ones. "
            "SoftmaxRegression gives each row one class; use SigmoidRegression. "
            "Multilabel-indicator target data is not supported: Unknown label type."
        )
    if (Y < 0).any():
        row = int(np.argmin(Y.min(axis=1)))
        raise ValueError(
            f"y is read as class probabilities (n, {K}), but row {row} holds {Y[row].min():g}; "
            "probabilities lie between 0 and 1."
        )
    sums = Y.sum(axis=1)
    row = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[row] - 1) > _SUM_TOLERANCE:
        raise ValueError(
            f"y is read as class probabilities (n, {K}), but row {row} sums to {sums[row]:g}; "
            "each row must sum to 1: divide it by its sum."
        )
    return found, Y / sums[:, None]


def _labels(
    codes: NDArray, classes: NDArray, weight: NDArray | None, class_weight: Any, smoothing: float
) -> Encoded:
    counts = np.bincount(codes, weights=weight, minlength=len(classes))
    factors = _class_factors(class_weight, classes, counts)
    if factors is not None:
        weight = factors[codes] if weight is None else weight * factors[codes]
    if len(classes) == 2:
        share = codes[:, None] * (1 - smoothing) + smoothing / 2
        return Encoded(classes, Shares(share.astype(np.float64)), Sigmoid(), weight, ())
    targets = Labels(codes, len(classes), smoothing)
    return Encoded(classes, targets, Softmax(), weight, classes.shape)


def _shares(
    Y: NDArray, classes: NDArray, weight: NDArray | None, class_weight: Any, smoothing: float
) -> Encoded:
    totals = Y.sum(axis=0) if weight is None else weight @ Y
    factors = _class_factors(class_weight, classes, totals)
    if factors is not None:  # sum_k f_k y_k (-log p_k) is the loss of f y / <f, y>, <f, y> times
        Y = Y * factors
        own = Y.sum(axis=1)
        Y = np.divide(Y, own[:, None], out=Y, where=own[:, None] > 0)
        weight = own if weight is None else weight * own
    Y = (1 - smoothing) * Y + smoothing / len(classes)
    if len(classes) == 2:
        return Encoded(classes, Shares(Y[:, 1:]), Sigmoid(), weight, ())
    return Encoded(classes, Shares(Y), Softmax(), weight, classes.shape)


def check_two_classes(totals: NDArray, classes: NDArray) -> None:
    if (totals > 0).sum() < 2:
        only = classes.tolist()[totals.argmax()]
        raise ValueError(
            f"all weight is on one class, {only!r}; a classifier needs rows of positive weight in "
            "at least two classes."
        )


def _class_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    """Return the weight of each class (K,), None where all are one; two must have any left."""
    factors = _given_factors(class_weight, classes, totals)
    check_two_classes(totals if factors is None else totals * factors, classes)
    return factors


def _given_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
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
