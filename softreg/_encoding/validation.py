"""Checks of arguments: each raises an error, or returns the argument as the code computes with it.

Errors name the argument, its value and what would be right. Checks that several arguments share
come first, then those of rows and features, and of parameters; those of y stand in
`target_checks`, of penalties in `penalty_checks`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from softreg._encoding.class_values import without_masked
from softreg._encoding.namespaces import on_host
from softreg._rows.arrays import plain

# Rows that softmax made in single precision sum to 1 within 4e-6, over 100,000 classes, too
# (measured); rows that were never normalised miss it by far more than this.
_SUM_TOLERANCE = 1e-5
# So many values of an argument are shown: of folds, indices of rows may be millions.
_MOST_SHOWN = 10
# So many names are shown that a wrong one may stand for.
_MOST_NEAREST = 3
# How the warning of constant labels begins, for filters.
CONSTANT_LABELS = "y does not vary in the labels"


@contextmanager
def noting(note: str) -> Iterator[None]:
    """Add a note to any error that has it not yet."""
    try:
        yield
    except Exception as error:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise


def shown(value: Any) -> str:
    """Return an argument as messages show it: the first values, not NumPy's types of them."""
    if hasattr(value, "__array__") and np.ndim(value):
        value = list(np.asarray(value))
    if isinstance(value, dict):
        return "{" + _listed(f"{shown(key)}: {shown(value[key])}" for key in value) + "}"
    if type(value) in (list, tuple):
        brackets = "[]" if isinstance(value, list) else "()"
        return brackets[0] + _listed(map(shown, value)) + brackets[1]
    return repr(plain(value))


def _listed(texts: Iterable[str]) -> str:
    """Return the first texts, with commas between, and dots where there are more."""
    first = list(islice(texts, _MOST_SHOWN + 1))
    return ", ".join(first[:_MOST_SHOWN] + ["..."] * (len(first) > _MOST_SHOWN))


def raise_where(wrong: NDArray, values: NDArray, rule: str, remedy: str) -> None:
    """Raise a ValueError if any values are `wrong` (a mask); it names the first and its index."""
    if np.any(wrong):
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f" at index {index}" if index else ""
        raise ValueError(f"{rule}, got {values[index]:.10g}{where}: {remedy}.")


def check_estimator(caller: str, wanted: str, estimator: Any, *kinds: type) -> None:
    """Raise a TypeError unless an estimator is one of these kinds, which is `wanted` in words."""
    if not isinstance(estimator, kinds):
        raise TypeError(
            f"{caller} needs {wanted}, got {estimator!r}: of a pipeline, pass the last step, and X "
            "as that step gets it; softreg.from_sklearn(estimator) returns the unfitted softreg "
            "estimator in place of scikit-learn's LogisticRegression."
        )


def check_shape(name: str, array: NDArray, *shape: int | str, meaning: str = "") -> None:
    """Raise a ValueError unless an array has this shape; a word stands for any length >= 1."""
    lengths = zip(array.shape, shape, strict=False)
    fits = [n > 0 if isinstance(wanted, str) else n == wanted for n, wanted in lengths]
    if array.ndim != len(shape) or not all(fits):
        words = str(shape).replace("'", "")
        raise ValueError(f"{name} must have shape {words}{meaning}; got {array.shape}.")


def check_real(name: str, values: Any) -> NDArray:
    """Return an array of real numbers of any dtype and shape; TypeError for anything else."""
    (values,) = on_host(**{name: values})
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim:  # such as a row of a table of mixed columns
            array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a regular array of numbers ({error}).") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be an array of real numbers, got {type(values).__name__} of dtype "
            f"{array.dtype}: convert it with np.asarray({name}, dtype=float), a sparse matrix with "
            f"{name}.toarray()."
        )
    return array


def check_finite_real(name: str, values: Any) -> NDArray:
    """Return an array of finite real numbers of any dtype and shape."""
    array = check_real(name, values)
    with np.errstate(over="ignore", invalid="ignore"):
        is_suspect = not np.isfinite(array.sum(dtype=np.float64))  # without a mask of its size
    if is_suspect:
        raise_where(~np.isfinite(array), array, f"{name} must be finite", "remove or replace it")
    return array


def check_nonnegative(name: str, values: NDArray, remedy: str) -> None:
    """Raise a ValueError unless all values are finite and >= 0."""
    if values.size and not 0 <= values.min() <= values.max() < np.inf:
        wrong = ~(np.isfinite(values) & (values >= 0))
        raise_where(wrong, values, f"{name} must be finite and >= 0", remedy)


def check_strengths(Cs: NDArray) -> None:
    """Raise a ValueError unless all inverse strengths (n_Cs,) are > 0."""
    raise_where(~(Cs > 0), Cs, "Cs must be > 0", "np.inf means no penalty")


def check_row_sums(name: str, P: NDArray, axis: int, remedy: str) -> NDArray:
    """Return the sums of rows of class probabilities P (..., K), each 1 up to rounding.

    Errors name the `axis` of the classes in the array as the user passed it.
    """
    raise_where(P < 0, P, f"{name} must not be negative", "class probabilities lie in [0, 1]")
    sums = P.sum(axis=-1)
    rule = f"{name} of class probabilities must sum to 1 along axis {axis}"
    raise_where(~(np.abs(sums - 1) <= _SUM_TOLERANCE), sums, rule, remedy)  # NaN is as wrong
    return sums


def check_integer(name: str, value: Any, least: int, otherwise: str = "") -> int:
    """Return an integer >= `least`; the error adds what the argument may be `otherwise`."""
    rule = f"an integer >= {least}{otherwise}"
    return int(_checked_number(name, value, rule, least, kind=numbers.Integral))


def check_flag(name: str, value: Any) -> bool:
    """Return whether an argument is true: a bool of Python or NumPy, or the integer 0 or 1."""
    if isinstance(value, bool | np.bool_ | numbers.Integral) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{name}={value!r} must be True or False.")


def check_verbose(verbose: Any) -> bool:
    """Return whether to print: a bool or integer >= 0, of which any above 0 is True."""
    if isinstance(verbose, bool | np.bool_):
        return bool(verbose)
    return check_integer("verbose", verbose, 0, ", or True or False; 0 prints nothing") > 0


def _checked_number(
    name: str, value: Any, rule: str, least: float, below: float = np.inf, kind: Any = numbers.Real
) -> Any:
    """Return a number of a kind that is >= `least` and < `below`; errors say the `rule`."""
    if is_number(value, kind) and least <= value < below:
        return value
    raise ValueError(f"{name}={shown(value)} must be {rule}.")


def nearest_names(name: Any, names: Iterable[Any]) -> str:
    """Return the names nearest to one that is unknown, as messages show them."""
    nearest = get_close_matches(str(name), map(str, names), _MOST_NEAREST, cutoff=0)
    return ", ".join(map(repr, nearest))


def is_number(value: Any, kind: Any = numbers.Real) -> bool:
    """Return whether a value is a number of a kind, and no bool."""
    return isinstance(value, kind) and not isinstance(value, bool)


def as_given(values: Any) -> NDArray:
    """Return an array of objects, so that no text is read as a number; of masked ones, None."""
    return np.asarray(without_masked(values), dtype=object)


def doubles(values: Any, name: str) -> NDArray:
    """Return an array of doubles of any shape, which may be NaN or inf, by scikit-learn's rules."""
    (values,) = on_host(**{name: values})
    return check_array(
        without_masked(values),
        ensure_2d=False,
        dtype=np.float64,
        ensure_all_finite=False,
        input_name=name,
    )


def check_sample_weight(weight: Any, n: int, n_labels: int | None = None) -> NDArray | None:
    """Return sample_weight, (n,) or of labels (n, n_labels), or None (all one)."""
    if weight is None:
        return None
    if isinstance(weight, numbers.Number):
        weight = np.full(n, weight)
    w = doubles(weight, "sample_weight")
    if w.shape != (n, n_labels):
        or_labels = f", or ({n}, {n_labels}), one per row and label" if n_labels else ""
        meaning = ", one weight per row of X (Sample weights must be 1D array or scalar)"
        check_shape("sample_weight", w, n, meaning=meaning + or_labels)
    check_nonnegative("sample_weight", w, "use 0 to leave a row out")
    return w


def check_offset(offset: Any, shape: tuple[int, ...]) -> NDArray | None:
    """Return offset in the shape of decision_function, in its precision, or None."""
    if offset is None:
        return None
    (offset,) = on_host(offset=offset)
    if sparse.issparse(offset):
        raise TypeError("offset is sparse; pass a dense array: offset.toarray().")
    o = check_array(offset, ensure_2d=False, dtype=(np.float64, np.float32), input_name="offset")
    check_finite_real("offset", o)  # also under scikit-learn's assume_finite
    meaning = ", as decision_function: a number per row and row of coef_ (of two classes: per row)"
    check_shape("offset", o, *shape, meaning=meaning)
    return o


def without_duplicates(X: Any) -> Any:
    """Return X, or a copy if it is sparse and stores several entries for one row and column."""
    matrix: Any = X
    if sparse.issparse(X) and not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def check_groups(groups: Any, n: int) -> Any:
    """Return the groups of n rows, (n,), or None."""
    if groups is None or np.shape(groups)[:1] == (n,):
        return groups
    raise ValueError(
        f"groups has shape {np.shape(groups)}; it must be ({n},), one group for each row of X."
    )


def check_select(select: Any) -> str:
    """Return the rule that chooses a model: "best" or "1se"."""
    if isinstance(select, str) and select in ("best", "1se"):
        return select
    raise ValueError(
        f'select={shown(select)} must be "best", or "1se" for the simplest model within a standard '
        "error of it."
    )


def check_threshold(threshold: Any, n_scores: int) -> NDArray:
    """Return the thresholds of probabilities, (n_scores,), one for each row of coef_."""
    if threshold is None or isinstance(threshold, str | dict | set):
        raise ValueError(
            f"threshold={shown(threshold)} must be a number between 0 and 1, or an array."
        )
    t = np.full(n_scores, threshold) if is_number(threshold) else doubles(threshold, "threshold")
    check_shape("threshold", t, n_scores, meaning=", one for each row of coef_, or be a number")
    rule, remedy = "threshold must lie between 0 and 1", "scores are compared with its logit"
    raise_where(~((t > 0) & (t < 1)), t, rule, remedy)
    return t


def check_label_smoothing(smoothing: Any) -> float:
    """Return the share of each target that is spread over all classes, in [0, 1)."""
    rule = "a number in [0, 1); 0 means none"
    return float(_checked_number("label_smoothing", smoothing, rule, 0, 1))


def check_tol(tol: Any) -> float:
    """Return the relative tolerance."""
    rule = "a finite number >= 0; the default is 1e-9"
    return float(_checked_number("tol", tol, rule, 0))


def check_max_iter(max_iter: Any, default: int) -> int:
    """Return the limit on iterations, `default` for None."""
    if max_iter is None:
        return default
    return check_integer("max_iter", max_iter, 0, ", or None for no limit")


def check_k(k: Any, n_classes: int) -> int:
    """Return the number of most probable classes asked for, 1 to n_classes."""
    rule = f"an integer from 1 to {n_classes}, the number of classes"
    return int(_checked_number("k", k, rule, 1, n_classes + 1, numbers.Integral))


def check_n_jobs(n_jobs: Any) -> int | None:
    """Return the number of threads, or None for as many as BLAS may use."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, numbers.Integral) and n_jobs != 0:
        return effective_n_jobs(int(n_jobs))
    raise ValueError(
        f"n_jobs={shown(n_jobs)} must be None, a positive integer, or -1 for all cores."
    )


def check_no_overflow(objective: NDArray, coef: NDArray) -> None:
    """Raise a ValueError if F of any problem, (B,), or coefficients (d, K) are not finite."""
    if not np.isfinite(objective).all():
        raise ValueError(
            f"The objective overflows: it is {objective.sum()} at the start or after a step. Bring "
            "offset, penalty_factor and C into a range whose squares are finite."
        )
    remedy = "the values of that column of X differ by too little; multiply it by a power of ten"
    raise_where(~np.isfinite(coef), coef, "coefficients must be finite", remedy)


def generator_maker(random_state: Any, *seeds: int) -> Callable[[], np.random.Generator]:
    """Return what makes a generator of random numbers, the same one in each call.

    It is seeded by `random_state` and by further integers, in the first call: NumPy's global state,
    and a RandomState of the user's, stay as they are where nothing is drawn.
    """
    source = check_random_state(random_state)

    @cache
    def generator() -> np.random.Generator:
        return np.random.default_rng([*source.randint(2**31, size=4), *seeds])

    return generator
