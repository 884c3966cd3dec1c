"""From what users pass as y, weights, offsets and parameters to what an objective needs."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from softreg._links import Link, Sigmoid, Softmax
from softreg._targets import Labels, Shares, Targets

# How far the probabilities of a row may be from summing to 1: single precision's rounding.
_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Encoded:
    """Targets with their classes, link and row weights (None: all one)."""

    classes: NDArray
    targets: Targets
    link: Link
    weight: NDArray | None

    def score_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape of the scores of n rows: one a row for two classes, else one a class."""
        return (n,) if len(self.classes) == 2 else (n, len(self.classes))


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
        classes, codes = _codes(y, classes)
    return _labels(codes, classes, weight, class_weight, smoothing)


def _codes(y: NDArray, classes: ArrayLike | None) -> tuple[NDArray, NDArray]:
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
            "SoftmaxRegression gives each row one class; fit one model per label instead, e.g. "
            "sklearn.multioutput.MultiOutputClassifier. Multilabel-indicator target data is not "
            "supported: Unknown label type."
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
        return Encoded(classes, Shares(share.astype(np.float64)), Sigmoid(), weight)
    return Encoded(classes, Labels(codes, len(classes), smoothing), Softmax(), weight)


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
        return Encoded(classes, Shares(Y[:, 1:]), Sigmoid(), weight)
    return Encoded(classes, Shares(Y), Softmax(), weight)


def _check_two_classes(totals: NDArray, classes: NDArray) -> None:
    if (totals > 0).sum() < 2:
        only = classes.tolist()[totals.argmax()]
        raise ValueError(
            f"all weight is on one class, {only!r}; a classifier needs rows of positive weight in "
            "at least two classes."
        )


def _class_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    """Return the weight of each class (K,), None where all are one; two must have any left."""
    factors = _given_factors(class_weight, classes, totals)
    _check_two_classes(totals if factors is None else totals * factors, classes)
    return factors


def _given_factors(class_weight: Any, classes: NDArray, totals: NDArray) -> NDArray | None:
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        return totals.sum() / (len(classes) * np.where(totals > 0, totals, np.inf))
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


def _numbers(values: Any, name: str) -> NDArray:
    """Return doubles of any shape, of which the caller asks whether they are finite."""
    return check_array(
        values, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name=name
    )


def check_weight(weight: Any, n: int) -> NDArray | None:
    """Return sample_weight as an array (n,), or None."""
    if weight is None:
        return None
    if isinstance(weight, numbers.Number):
        weight = np.full(n, weight)
    w = _numbers(weight, "sample_weight")
    if w.shape != (n,):
        raise ValueError(
            f"sample_weight has shape {w.shape}; it must be ({n},), one weight per row of X. "
            "Sample weights must be 1D array or scalar."
        )
    if not np.isfinite(w).all():
        row = int(np.argmin(np.isfinite(w)))
        raise ValueError(f"sample_weight[{row}] is {w[row]}; weights must be finite numbers >= 0.")
    if (w < 0).any():
        row = int(np.argmin(w))
        raise ValueError(
            f"sample_weight[{row}] is {w[row]:g}; weights must be >= 0 - leave the row out instead."
        )
    if not w.any():
        raise ValueError("sample_weight is zero for every row; at least two rows need weight > 0.")
    return w


def check_offset(offset: Any, shape: tuple[int, ...]) -> NDArray | None:
    """Return offset in the shape of decision_function, or None."""
    if offset is None:
        return None
    if sparse.issparse(offset):
        raise TypeError("offset is sparse; pass a dense array: offset.toarray().")
    o = check_array(offset, ensure_2d=False, dtype=np.float64, input_name="offset")
    if o.shape != shape:
        raise ValueError(
            f"offset has shape {o.shape}; it must have that of decision_function, {shape}: one "
            "number per row and class (per row only, if there are two classes)."
        )
    return o


def check_penalty_factor(factor: Any, n_features: int) -> NDArray:
    """Return penalty_factor as an array (d,), ones for None."""
    if factor is None:
        return np.ones(n_features)
    f = _numbers(factor, "penalty_factor")
    if f.shape != (n_features,):
        raise ValueError(
            f"penalty_factor has shape {f.shape}; it must be ({n_features},), one per column of X."
        )
    if not (np.isfinite(f).all() and (f >= 0).all()):
        bad = int(np.argmin(np.isfinite(f) & (f >= 0)))
        raise ValueError(
            f"penalty_factor[{bad}] is {f[bad]:g}; factors must be finite and >= 0 (0: none)."
        )
    return f


def without_duplicates(X: Any) -> Any:
    """Return X, as a copy if it is sparse with several entries in one place."""
    matrix: Any = X
    if sparse.issparse(X) and not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def check_y(y: Any, X: Any) -> NDArray:
    """Return y as an array of as many rows as X, without NaN."""
    if y is None:
        raise ValueError("This classifier requires y to be passed, but the target y is None.")
    if sparse.issparse(y):
        raise ValueError(
            "y is a sparse matrix, which is a multi-label indicator; class probabilities must be "
            "dense: pass y.toarray()."
        )
    checked = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    check_consistent_length(X, checked)
    return checked


def check_C(C: Any) -> float:
    """Return the inverse strength of the penalty."""
    if _is_number(C) and C > 0:
        return float(C)
    raise ValueError(f"C={C!r} must be a number > 0; np.inf means no penalty.")


def check_label_smoothing(smoothing: Any) -> float:
    """Return the share of each label that is spread over all classes."""
    if _is_number(smoothing) and 0 <= smoothing < 1:
        return float(smoothing)
    raise ValueError(f"label_smoothing={smoothing!r} must be a number in [0, 1); 0 means none.")


def check_tol(tol: Any) -> float:
    """Return the relative tolerance."""
    if _is_number(tol) and 0 <= tol < np.inf:
        return float(tol)
    raise ValueError(f"tol={tol!r} must be a finite number >= 0; the default is 1e-9.")


def check_max_iter(max_iter: Any, default: int) -> int:
    """Return the most iterations."""
    if max_iter is None:
        return default
    if isinstance(max_iter, numbers.Integral) and int(max_iter) >= 1:
        return int(max_iter)
    raise ValueError(f"max_iter={max_iter!r} must be an integer >= 1, or None for no limit.")


def check_n_jobs(n_jobs: Any) -> int | None:
    """Return the number of threads, None for as many as BLAS is allowed."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, numbers.Integral) and n_jobs != 0:
        return effective_n_jobs(int(n_jobs))
    raise ValueError(f"n_jobs={n_jobs!r} must be None, a positive integer, or -1 for all cores.")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
