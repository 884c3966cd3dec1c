"""Classes of any kind, as users hold them: read into arrays, told apart, ordered and found.

NumPy sorts and finds numbers, texts and dates. All other classes are Python objects, which are told
apart by their hash, and need an order only where `classes` gives them none.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from itertools import chain, combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding.namespaces import on_host
from softreg._rows.arrays import plain

# Kinds of dtypes within which NumPy compares values; arrays of any other kind become objects.
_COMPARABLE = ("biuf", "U", "S", "M", "m")
_KEPT = "biufcUSMmO"
# Of fewer rows a search takes no longer than a table.
_FEWEST_LOOKED_UP = 2_000
# The remedy where rows hold several labels.
SEVERAL_LABELS = (
    "for rows with several labels make a column for each, "
    "sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y), and use SigmoidRegression"
)


def has_columns(y: Any) -> bool:
    """Return whether y has a column for each class; a single dense column holds the classes."""
    shape = _shape(y)
    return sparse.issparse(y) or (len(shape) == 2 and shape[1] != 1)


def is_column(y: Any) -> bool:
    """Return whether y is a matrix of a single column."""
    shape = _shape(y)
    return len(shape) == 2 and shape[1] == 1


def _shape(y: Any) -> tuple[int, ...]:
    if hasattr(y, "shape"):
        return y.shape
    try:
        return np.asarray(y).shape
    except ValueError:  # a list whose rows are of unequal length
        return (len(y),)


def first_column(y: Any) -> Any:
    """Return the first column of a matrix, as it is there."""
    if hasattr(y, "iloc"):
        return y.iloc[:, 0]
    return y[:, 0] if hasattr(y, "shape") else [row[0] for row in y]


def label_column(y: Any) -> NDArray:
    """Return the classes of rows, given as a list, an array or a matrix of one column, (n,)."""
    return column_of(first_column(y) if is_column(y) else y)


def without_masked(values: Any) -> Any:
    """Return values, with None where an array of `numpy.ma` masks them."""
    is_masked = isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)
    return np.where(values.mask, None, values.data) if is_masked else values


def column_of(values: Any) -> NDArray:
    """Return classes (n,) as an array that holds what they were: no number becomes a text.

    What is no sequence becomes an array of another shape.
    """
    (values,) = on_host(classes=without_masked(values))
    dtype = getattr(values, "dtype", None)
    numbers = getattr(dtype, "numpy_dtype", None)  # of pandas' nullable and Arrow's types
    if numbers is not None and numbers.kind in "biuf" and not values.isna().any():
        return values.to_numpy(dtype=numbers)
    if hasattr(values, "__array__") or isinstance(values, str | bytes | set | frozenset | dict):
        column = np.asarray(values)
    else:
        column = _column_of_items(list(values))
    # Numbers that are declared to be categories are no measurements.
    is_category = getattr(dtype, "name", None) == "category" and column.dtype.kind == "f"
    return column.astype(object) if is_category or column.dtype.kind not in _KEPT else column


def _column_of_items(items: list) -> NDArray:
    """Return items as an array (n,), of objects if NumPy would change them or make it a matrix."""
    try:
        column = np.asarray(items)
    except ValueError:  # some are lists of unequal length
        return object_array(items)
    texts = {"U": (str, np.str_), "S": (bytes, np.bytes_)}.get(column.dtype.kind)
    is_same = texts is None or all(type(item) in texts for item in items)
    return column if column.ndim == 1 and is_same else object_array(items)


def object_array(items: Iterable) -> NDArray:
    """Return items as an array of objects (n,), whatever they are."""
    objects = list(items)
    array = np.empty(len(objects), dtype=object)
    array[:] = objects
    return array


def missing(column: NDArray) -> NDArray[np.intp]:
    """Return the rows of a column of classes (n,) that hold None, NaN, NA or NaT."""
    if column.dtype.kind == "f":
        return np.flatnonzero(np.isnan(column))
    if column.dtype.kind in "mM":
        return np.flatnonzero(np.isnat(column))
    if column.dtype.kind != "O" or not any(map(_is_missing, _distinct(column))):
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero([_is_missing(value) for value in column.tolist()])


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA, whose comparisons are NA
        return True


def _distinct(column: NDArray) -> dict[Any, None]:
    """Return the distinct objects of a column (n,); ValueError if one has no hash, as lists."""
    objects = column.tolist()
    try:
        return dict.fromkeys(objects)
    except TypeError:
        row = next(row for row, value in enumerate(objects) if not _has_hash(value))
    value, remedy = objects[row], "a class has a hash: pass texts, such as y.astype(str)"
    if isinstance(value, list | set | np.ndarray):
        remedy = SEVERAL_LABELS
    found = f"{value!r}, a {type(value).__name__}, in row {row}"
    raise ValueError(f"y must hold one class in each row, got {found}: {remedy}.")


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def distinct_with_codes(column: NDArray) -> tuple[NDArray, NDArray[np.intp]]:
    """Return the classes (K,) of a column (n,), and which of them each row has, (n,).

    They are sorted, or if they are objects in the order in which they appear.
    """
    if (places := _places_in_table(column)) is not None:
        is_class = np.zeros(places.max() + 1, dtype=bool)
        is_class[places] = True
        classes = is_class.nonzero()[0].astype(column.dtype) + column.min()
        return classes, (np.cumsum(is_class) - 1)[places]
    if column.dtype.kind != "O":
        classes = np.unique(column)
        return classes, np.searchsorted(classes, column)
    code_of: dict[Any, int] = {}
    codes = [code_of.setdefault(value, len(code_of)) for value in column.tolist()]
    return object_array(code_of), np.array(codes, dtype=np.intp)


def _places_in_table(column: NDArray) -> NDArray | None:
    """Return integers (n,) less the least of them, if a table of these is no longer than they are.

    To look a class up there takes a sixth of the time of a search (measured on 2,000,000 rows).
    """
    if column.dtype.kind not in "iu" or len(column) < _FEWEST_LOOKED_UP:
        return None
    least, largest = column.min(), column.max()
    is_short = int(largest) - int(least) < len(column)
    return _distances(column, least) if is_short else None


def _distances(column: NDArray, least: Any) -> NDArray[np.intp]:
    """Return integers (n,) less one that is none of the larger ones, whatever their width."""
    unsigned = f"u{column.dtype.itemsize}"  # in which differences, modulo 2^bits, are right
    return (column - least).view(unsigned).astype(np.intp)


def codes_in(classes: NDArray, values: NDArray) -> NDArray[np.intp]:
    """Return the indices of values (n,) in the distinct classes (K,), -1 for those not there."""
    if {classes.dtype.kind, values.dtype.kind} in ({"O", "M"}, {"O", "m"}):
        classes, values = as_dates(classes, values.dtype), as_dates(values, classes.dtype)
    kinds = classes.dtype.kind, values.dtype.kind
    if not (classes.size and any(set(kinds) <= set(comparable) for comparable in _COMPARABLE)):
        code_of = {value: code for code, value in enumerate(classes.tolist())}
        return np.array([code_of.get(value, -1) for value in values.tolist()], dtype=np.intp)
    if classes.dtype == values.dtype and (places := _places_in_table(values)) is not None:
        is_near = (classes >= values.min()) & (classes <= values.max())
        code_at = np.full(places.max() + 1, -1)
        code_at[_distances(classes[is_near], values.min())] = is_near.nonzero()[0]
        return code_at[places]
    order = classes.argsort()
    ascending = classes[order]
    ranks = np.minimum(ascending.searchsorted(values), len(classes) - 1)
    codes, unknown = order[ranks], ascending[ranks] != values
    if unknown.any():
        codes[unknown] = -1
    return codes


def same_classes(one: NDArray, other: NDArray) -> bool:
    """Return whether arrays hold the same classes, in any order and as often as they like."""
    return all((codes_in(a, b.ravel()) >= 0).all() for a, b in ((one.ravel(), other), (other, one)))


def as_dates(values: NDArray, dtype: np.dtype) -> NDArray:
    """Return objects that are dates or durations in a dtype of NumPy for these, others as is."""
    kinds = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
    if values.dtype.kind != "O" or dtype.kind not in "mM":
        return values
    are_dates = all(
        isinstance(value, kinds) and getattr(value, "tzinfo", None) is None
        for value in values.tolist()
    )
    return values.astype(dtype) if are_dates else values


def sorted_if_ordered(classes: NDArray) -> NDArray | None:
    """Return distinct classes (K,), sorted, or None if they have no order."""
    if classes.dtype.kind != "O":
        return np.sort(classes)
    try:
        ordered = sorted(classes.tolist())
    except (TypeError, ValueError):  # the latter of Periods of different lengths
        return None
    # Sets are compared, but have an order only if each is part of the next.
    return object_array(ordered) if all(map(_precedes, ordered, ordered[1:])) else None


def sorted_classes(classes: NDArray) -> NDArray:
    """Return distinct classes (K,), sorted; ValueError if they have no order."""
    ordered = sorted_if_ordered(classes)
    if ordered is not None:
        return ordered
    objects = classes.tolist()
    one_of_each_type = {type(value): value for value in objects}.values()
    pairs = chain(combinations(one_of_each_type, 2), pairwise(objects), combinations(objects, 2))
    pair = next((a, b) for a, b in pairs if not (_precedes(a, b) or _precedes(b, a)))
    found = " and ".join(f"{plain(value)!r} ({type(value).__name__})" for value in pair)
    remedy = "make all of them texts, y.astype(str), or name them in order: classes=[...]"
    if isinstance(pair[0], frozenset):
        remedy = SEVERAL_LABELS
    raise ValueError(f"y holds classes that have no order, {found}: {remedy}.")


def _precedes(a: Any, b: Any) -> bool:
    try:
        return bool(a < b)
    except (TypeError, ValueError):
        return False


def listed(classes: NDArray) -> list:
    """Return classes as messages show them."""
    return [plain(value) for value in classes.ravel()]
