"""Checks of y, and of the classes that parameters name.

Each raises an error that names the argument, its value and what would be right, or returns the
argument as the code computes with it.
"""

from __future__ import annotations

import numbers
import warnings
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array, check_consistent_length

from softreg._encoding.class_values import (
    SEVERAL_LABELS,
    as_dates,
    codes_in,
    column_of,
    distinct_with_codes,
    has_columns,
    is_column,
    label_column,
    listed,
    missing,
    sorted_classes,
    sorted_if_ordered,
    without_masked,
)
from softreg._encoding.validation import check_row_sums, check_shape, shown, without_duplicates
from softreg._rows.arrays import plain

# From so many classes on, texts are looked at as combinations of tags.
_MANY_CLASSES = 20
_SEPARATORS = (";", "|", ",")
# An indicator matrix of another dtype is converted to doubles when it is checked.
_INDICATOR_DTYPES = [np.float64, np.float32, np.bool_, np.int64, np.int32, np.int8, np.uint8]


def check_y(y: Any, X: Any) -> NDArray:
    """Return y of as many rows as X, none missing: (n,), or (n, K) if it has several columns.

    A warning says that a single column should be no axis.
    """
    if y is None:
        raise ValueError("This classifier requires y to be passed, but the target y is None.")
    if sparse.issparse(y):
        raise ValueError(
            "y is a sparse matrix, which is a multi-label indicator: use SigmoidRegression; class "
            "probabilities must be dense: pass y.toarray()."
        )
    check_consistent_length(X, y)
    y = without_masked(y)
    if has_columns(y):
        _check_no_texts(y)
        return check_array(y, dtype=None, input_name="y")
    if is_column(y):
        message = "A column-vector y was passed when a 1d array was expected: pass y.ravel()."
        warnings.warn(message, DataConversionWarning, stacklevel=2)
    column = label_column(y)
    check_shape("y", column, X.shape[0])
    _check_labels(column, y)
    return column


def _check_labels(column: NDArray, y: Any) -> None:
    """Raise a ValueError if labels (n,), as y gave them, are missing or measurements."""
    rows = missing(column)
    if rows.size:
        index = y.index[rows[0]] if hasattr(y, "iloc") else rows[0]
        of_table = "" if index == rows[0] else f" (index {index})"
        raise ValueError(
            f"y lacks {rows.size} of {len(column)} labels (None, NaN, NA or NaT), the first one in "
            f"row {rows[0]}{of_table}: leave such rows out, X[keep] and y[keep] with "
            "keep = pandas.notna(y)."
        )
    if column.dtype.kind in "fc":  # refuses infinite and complex numbers
        check_array(column, ensure_2d=False, dtype=None, input_name="y")
    if column.dtype.kind == "f" and (fractional := column != np.trunc(column)).any():
        row = int(np.argmax(fractional))
        raise ValueError(
            f"y holds {column[row]:g} in row {row}, no integer. Unknown label type: continuous "
            "values, which a regressor predicts; if they are classes, pass y.astype(str)."
        )


def _check_no_texts(y: Any) -> None:
    """Raise a ValueError if the first row of y (n, K) holds a text."""
    texts = [value for value in np.ravel(getattr(y, "iloc", y)[:1]) if isinstance(value, str)]
    if texts:
        raise ValueError(
            f"y has several columns and holds {str(texts[0])!r}; columns hold numbers: "
            f"{SEVERAL_LABELS}."
        )


def check_probabilities(y: NDArray) -> NDArray:
    """Return class probabilities (n, K), each row divided by its sum, which is 1 to rounding."""
    Y = check_array(y, dtype=np.float64, input_name="y")
    if np.isin(Y, (0.0, 1.0)).all() and (Y.sum(axis=1) > 1).any():
        row = int(np.argmax(Y.sum(axis=1)))
        raise ValueError(
            f"y is a multi-label indicator matrix: row {row} has {int(Y[row].sum())} ones. "
            "SoftmaxRegression gives each row one class; use SigmoidRegression. "
            "Multilabel-indicator target data is not supported: Unknown label type."
        )
    remedy = "divide each row by its sum"
    if Y.max(initial=0) > 1 and (np.rint(Y) == Y).all():
        remedy += (
            " and pass the sums as sample_weight, as these look like counts; or take a row for "
            "each class that occurs, with its count as sample_weight"
        )
    sums = check_row_sums("y", Y, 1, remedy)
    return Y if (sums == 1).all() else Y / sums[:, None]


def check_answers(Y: Any, X: Any) -> sparse.csr_array:
    """Return an indicator matrix as CSR (n, L) of doubles: 0 to 1, or NaN where unknown."""
    if not sparse.issparse(Y):
        _check_no_texts(Y)
    checked = check_array(
        without_masked(Y),
        accept_sparse="csr",
        dtype=_INDICATOR_DTYPES,
        ensure_all_finite="allow-nan",
        input_name="y",
    )
    check_consistent_length(X, checked)
    answers: Any = sparse.csr_array(without_duplicates(checked)).astype(np.float64)
    wrong = (answers.data < 0) | (answers.data > 1)
    if wrong.any():
        first = int(np.argmax(wrong))
        value, counts = answers.data[first], ""
        if value > 1 and (np.rint(answers.data[wrong]) == answers.data[wrong]).all():
            counts = (
                " Counts are shares with weights: divide y by the number of trials, and pass that "
                "number as sample_weight, (n_samples, n_classes)."
            )
        row = int(np.searchsorted(answers.indptr, first, side="right")) - 1
        raise ValueError(
            f"y[{row}, {answers.indices[first]}] is {value:g}; a column of y says "
            f"which rows have its label: 0, 1, a share between, or NaN where it is unknown.{counts}"
        )
    return answers


def check_column_names(classes: ArrayLike | None, n: int) -> NDArray:
    """Return the names of the n columns of y, (n,): `classes`, or 0, 1, ... for None."""
    names = np.arange(n) if classes is None else column_of(classes)
    repeated = [name for name, count in Counter(listed(names)).items() if count > 1]
    if names.shape != (n,) or repeated:
        often = f", {repeated} more than once" if repeated else ""
        raise ValueError(
            f"classes={shown(classes)} has {names.size} names{often}; classes, or the columns of "
            f"y, must name each of the {n} columns of y once."
        )
    return names


def check_same_columns(names: Any, expected: Any) -> None:
    """Raise a ValueError unless names of columns are those expected, or either is None."""
    if names is not None and expected is not None and list(names) != list(expected):
        has, must = (listed(column_of(columns)) for columns in (names, expected))
        raise ValueError(
            f"y has the columns {has}; they must be the classes {must}, in this order."
        )


def check_class_order(classes: ArrayLike | None, in_y: NDArray) -> NDArray:
    """Return two or more classes, (K,): `classes`, which may have no rows, or for None those of y.

    `in_y` are those of y. They need an order for None alone, and are sorted then.
    """
    order = sorted_classes(in_y) if classes is None else as_dates(column_of(classes), in_y.dtype)
    if classes is not None and (not _are_distinct(order) or (codes_in(order, in_y) < 0).any()):
        raise ValueError(
            f"classes={shown(classes)} must name each class in y once; y holds {listed(in_y)}."
        )
    if len(order) < 2:
        raise ValueError(
            f"y holds one class only, {listed(order)[0]!r} (n_classes=1); a classifier needs rows "
            "of at least two classes, or `classes` that names those without rows."
        )
    return order


def _are_distinct(classes: NDArray) -> bool:
    """Return whether classes are (K,), each another one and none missing."""
    is_list = classes.ndim == 1 and not missing(classes).size
    return is_list and len(distinct_with_codes(classes)[0]) == len(classes)


def warn_of_odd_classes(classes: NDArray, n_rows: int) -> None:
    """Warn of classes (K,) that look like measurements, or like combinations of tags."""
    K, warning = len(classes), _tags_warning(classes)
    if not warning and 20 < n_rows < 2 * K:  # the rule of scikit-learn's `type_of_target`
        warning = (
            f"y holds {K} classes in {n_rows} rows. The number of unique classes is greater than "
            "50% of the number of samples: if y are measurements, use a regressor."
        )
    if warning:
        warnings.warn(warning, UserWarning, stacklevel=2)


def _tags_warning(classes: NDArray) -> str:
    """Return what to warn of if classes (K,) look like combinations of tags, as "a;b;c", else "".

    Of many combinations, the tags are at most half as many, and differ in number from one to the
    other, and most of them are not always in the same place. Names such as "Washington, DC" and
    "Sprain of wrist, left, sequela" are made of more parts, or of parts that have their place.
    """
    K, names = len(classes), classes.tolist()
    if K < _MANY_CLASSES or not all(isinstance(name, str) for name in names):
        return ""
    for separator in _SEPARATORS:
        if 2 * sum(separator in name for name in names) < K:
            continue
        combinations_of_tags = [[tag.strip() for tag in name.split(separator)] for name in names]
        places: dict[str, set[int]] = {}
        for tags in combinations_of_tags:
            for place, tag in enumerate(tags):
                places.setdefault(tag, set()).add(place)
        n_moving = sum(len(found) > 1 for found in places.values())
        differ = len(set(map(len, combinations_of_tags))) > 1
        if differ and 2 * len(places) <= K and 2 * n_moving >= len(places):
            example = next(name for name in names if separator in name)
            spaced = separator + " " * (f"{separator} " in example)
            return (
                f"y holds {K} classes that look like combinations of {len(places)} tags, such as "
                f"{plain(example)!r}. For a probability of each tag make a column of each, "
                f"pandas.Series(y).str.get_dummies({spaced!r}), and use SigmoidRegression."
            )
    return ""


def check_same_kind(y: NDArray, classes: NDArray) -> None:
    """Raise a ValueError if no class in y (n,) is among `classes` (K,), or of a type of these.

    Numbers of all kinds are of one type.
    """
    if (codes_in(classes, y) >= 0).any():
        return
    in_y, in_fit = ({_type(value) for value in listed(column)} for column in (y, classes))
    if in_y.isdisjoint(in_fit):
        raise ValueError(
            f"y holds labels such as {listed(y[:1])[0]!r}; it must hold classes like those of the "
            f"fit, {listed(classes)}."
        )


def _type(value: Any) -> type:
    return numbers.Number if isinstance(value, numbers.Number) else type(value)


def check_declared_classes(classes: Any) -> NDArray:
    """Return the two or more classes that a stream will hold, (K,), sorted.

    Those of one type without an order, such as members of an Enum, are as they were named.
    """
    try:
        declared = column_of(classes)
        if _are_distinct(declared) and len(declared) >= 2:
            ordered = sorted_if_ordered(declared)
            of_one_type = len({type(label) for label in declared.tolist()}) == 1
            if ordered is not None or of_one_type:
                return declared if ordered is None else ordered
    except (TypeError, ValueError):  # no sequence, or of lists
        pass
    raise ValueError(
        f"classes={shown(classes)} must be one-dimensional and hold two or more classes of one "
        "kind, none missing, each once: pass all classes, such as classes=np.unique(y)."
    )


def check_some_weight(class_totals: NDArray) -> None:
    """Raise a ValueError unless a class has weight; `class_totals` (K,) are their sums."""
    if not (class_totals > 0).any():
        raise ValueError(
            "sample_weight, times class_weight, is zero for every row; a classifier needs rows of "
            "positive weight."
        )


def check_class_weight(class_weight: Any, classes: NDArray) -> NDArray:
    """Return the weights that a dict gives to classes, (K,): 1 for those it does not name.

    As in scikit-learn it may name others, such as those that a fold lacks, if it names all of
    `classes`.
    """
    if not isinstance(class_weight, dict):
        raise ValueError(
            f'class_weight={shown(class_weight)} must be None, "balanced" or a dict '
            "{class: weight}."
        )
    named = column_of(list(class_weight))
    codes, factors = codes_in(classes, named), np.full(len(classes), np.nan)
    weights = np.array(list(class_weight.values()), dtype=float)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"class_weight={shown(class_weight)} must hold finite weights >= 0.")
    factors[codes[codes >= 0]] = weights[codes >= 0]
    unnamed = np.isnan(factors)
    if (codes < 0).any() and unnamed.any():
        raise ValueError(
            f"class_weight names {listed(named[codes < 0])}, which y does not hold, and not "
            f"{listed(classes[unnamed])}; it holds {listed(classes)}. Correct the names, or name "
            "all that y holds."
        )
    return np.where(unnamed, 1.0, factors)


def is_balanced(class_weight: Any) -> bool:
    """Return whether class weights are computed from the data."""
    return isinstance(class_weight, str) and class_weight == "balanced"
