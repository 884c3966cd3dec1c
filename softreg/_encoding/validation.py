"""Checks of what users pass: each returns it as the fit wants it, or says what is wrong."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils import check_random_state as random_state_of

# How far the probabilities of a row may be from summing to 1: single precision's rounding.
_SUM_TOLERANCE = 1e-5


def _numbers(values: Any, name: str) -> NDArray:
    """Return doubles of any shape, of which the caller asks whether they are finite."""
    return check_array(
        values, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name=name
    )


def check_weight(weight: Any, n: int, n_labels: int | None = None) -> NDArray | None:
    """Return sample_weight as an array (n,), with labels also (n, n_labels), or None."""
    if weight is None:
        return None
    if isinstance(weight, numbers.Number):
        weight = np.full(n, weight)
    w = _numbers(weight, "sample_weight")
    if w.shape != (n,) and w.shape != (n, n_labels):
        also = " Sample weights must be 1D array or scalar."
        if n_labels is not None:
            also = f" Or ({n}, {n_labels}): one per row and label."
        raise ValueError(
            f"sample_weight has shape {w.shape}; it must be ({n},), one weight per row of X.{also}"
        )
    least = w.min()
    if not (np.isfinite(least) and np.isfinite(w.max())):
        bad = int(np.argmin(np.isfinite(w)))
        raise ValueError(
            f"sample_weight[{_place(bad, w)}] is {w.flat[bad]}; weights must be finite numbers "
            ">= 0."
        )
    if least < 0:
        raise ValueError(
            f"sample_weight[{_place(int(np.argmin(w)), w)}] is {least:g}; weights must be >= 0 - "
            "leave the row out instead."
        )
    return w


def check_some_weight(totals: NDArray) -> None:
    """Raise a ValueError if no row counts, given sums of weights."""
    if not totals.any():
        raise ValueError("sample_weight is zero for every row; at least two rows need weight > 0.")


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
            "number per row and row of coef_ (of two classes: per row)."
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
            "y is a sparse matrix, which is a multi-label indicator: use SigmoidRegression; class "
            "probabilities must be dense: pass y.toarray()."
        )
    checked = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    check_consistent_length(X, checked)
    return checked


def check_probabilities(y: NDArray) -> NDArray:
    """Return the matrix (n, K) of class probabilities."""
    Y = check_array(y, dtype=np.float64, input_name="y")
    K = Y.shape[1]
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
    return Y / sums[:, None]


def check_all_known(y: Any) -> Any:
    """Return y; ValueError if it is numbers of which some are NaN."""
    matrix: Any = y
    values = np.asarray(matrix.data if sparse.issparse(y) else y)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(
            "y has unknown values (NaN), which cannot be right or wrong; score the rows whose "
            "labels are all known."
        )
    return y


def check_C(C: Any, n_labels: int = 1) -> NDArray:
    """Return the inverse strength of the penalty, (1,), or those of the labels, (n_labels,)."""
    if _is_number(C):
        if C > 0:
            return np.array([float(C)])
    elif n_labels > 1 and not (C is None or isinstance(C, bool | str | dict | set)):
        own = _numbers(C, "C")
        if own.shape == (n_labels,) and (own > 0).all():
            return own
    each = f", or {n_labels} of them, one for each label" if n_labels > 1 else ""
    raise ValueError(f"C={C!r} must be a number > 0{each}; np.inf means no penalty.")


def check_Cs(Cs: Any) -> int | NDArray:
    """Return how many inverse strengths to try, or which, ascending."""
    if isinstance(Cs, numbers.Integral) and not isinstance(Cs, bool):
        if int(Cs) >= 1:
            return int(Cs)
        raise ValueError(f"Cs={Cs!r} must be an integer >= 1, or numbers > 0.")
    given = np.asarray(Cs, dtype=object)  # as they are: no text is read as a number
    if given.ndim != 1 or not given.size or not all(map(_is_number, given)):
        raise ValueError(f"Cs={Cs!r} must be an integer >= 1, or one or more numbers > 0.")
    strengths = given.astype(np.float64)
    right = (strengths > 0) & np.isfinite(strengths)
    if not right.all():
        bad = int(np.argmin(right))
        raise ValueError(
            f"Cs[{bad}] is {strengths[bad]:g}; inverse strengths must be finite and > 0 (1e10 is "
            "next to no penalty)."
        )
    return np.unique(strengths)


def check_groups(groups: Any, n: int) -> Any:
    """Return the groups of n rows, or None."""
    if groups is None or np.shape(groups)[:1] == (n,):
        return groups
    raise ValueError(
        f"groups has shape {np.shape(groups)}; it must be ({n},), one group for each row of X."
    )


def check_select(select: Any) -> str:
    """Return how C is chosen."""
    if isinstance(select, str) and select in ("best", "1se"):
        return select
    raise ValueError(
        f'select={select!r} must be "best", or "1se" for the smallest C within a standard error of '
        "it."
    )


def check_threshold(threshold: Any, n_scores: int) -> NDArray:
    """Return the thresholds of the scores, (n_scores,)."""
    if threshold is None or isinstance(threshold, str | dict | set):
        raise ValueError(f"threshold={threshold!r} must be a number between 0 and 1, or an array.")
    t = np.full(n_scores, threshold) if _is_number(threshold) else _numbers(threshold, "threshold")
    if t.shape != (n_scores,):
        raise ValueError(
            f"threshold has shape {t.shape}; it must be a number, or ({n_scores},): one for each "
            "row of coef_."
        )
    if not ((t > 0) & (t < 1)).all():
        bad = int(np.argmin((t > 0) & (t < 1)))
        raise ValueError(
            f"threshold[{bad}] is {t[bad]:g}; thresholds must lie between 0 and 1, both left out: "
            "scores are compared with their logits."
        )
    return t


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


def check_k(k: Any, n_classes: int) -> int:
    """Return how many classes are asked for."""
    if isinstance(k, numbers.Integral) and k is not True and 1 <= int(k) <= n_classes:
        return int(k)
    raise ValueError(f"k={k!r} must be an integer from 1 to {n_classes}, the number of classes.")


def check_n_jobs(n_jobs: Any) -> int | None:
    """Return the number of threads, None for as many as BLAS is allowed."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, numbers.Integral) and n_jobs != 0:
        return effective_n_jobs(int(n_jobs))
    raise ValueError(f"n_jobs={n_jobs!r} must be None, a positive integer, or -1 for all cores.")


def check_finite(objective: NDArray) -> None:
    """Raise a ValueError if F (B,) overflows at the end of a fit."""
    if not np.isfinite(objective).all():
        raise ValueError(
            f"The objective overflows: it is {objective.sum()} at the start or after a step. Bring "
            "X, sample_weight, offset and C into a range whose squares are finite."
        )


def is_balanced(class_weight: Any) -> bool:
    """Return whether class weights are to be found from the data."""
    return isinstance(class_weight, str) and class_weight == "balanced"


def check_random_state(random_state: Any, *numbers: int) -> np.random.Generator:
    """Return a generator of random numbers, seeded as scikit-learn does, and by numbers."""
    seeds = random_state_of(random_state).randint(2**31, size=4)
    return np.random.default_rng([*seeds, *numbers])


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _place(flat: int, values: NDArray) -> str:
    """Return the indices of a value, as a user writes them."""
    row, *column = divmod(flat, values.shape[1]) if values.ndim == 2 else (flat,)
    return ", ".join(map(str, (row, *column)))
