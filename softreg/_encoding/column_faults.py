"""What X holds that is no finite number, column by column: looked for once X has been refused."""

from __future__ import annotations

import datetime
import numbers
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding.class_values import without_masked
from softreg._encoding.namespaces import on_host

# So many columns are named of each kind, and so many characters shown of a value, and of what
# scikit-learn says, which may hold one.
_MOST_COLUMNS, _MOST_CHARACTERS, _MOST_FOUND = 3, 40, 200
_WITH_COMMA = re.compile(r"\s*[+-]?[\d.]*,\d+\s*")
_DATE = re.compile(r"\s*(\d{4}([-./]\d\d?){2}|(\d\d?[-./]){2}(\d{2}|\d{4}))([T\s].*)?")

# What a column may hold, x in the remedies, in the order in which errors say it.
_REMEDIES = {
    "text": "encode it with OneHotEncoder, or a whole table with skrub's TableVectorizer",
    "text among numbers": 'take pd.to_numeric(x, errors="coerce") and impute what is missing then',
    "numbers with commas": 'read the file with decimal="," (thousands="," where commas part '
    'thousands), or take pd.to_numeric(x.astype(str).str.replace(",", "."))',
    "dates": "take the number of days: x = pd.to_datetime(x), then (x - x.min()).dt.days",
    "dates in text": 'take the number of days: x = pd.to_datetime(x, format="%Y-%m-%d"), or in '
    "whichever format they are, then (x - x.min()).dt.days",
    "periods": "take the number of days: x = x.dt.to_timestamp(), then (x - x.min()).dt.days",
    "durations": "take their number of days, x / pd.Timedelta(days=1)",
    "intervals": "take their middles, x.array.mid, or encode them with OneHotEncoder",
    "complex numbers": "give real and imaginary parts a column each",
    "lists": "give each entry a column, such as np.stack(x), or encode sets of tags with "
    "MultiLabelBinarizer",
    "objects": "take numbers from them",
    "infinite values": "replace them by missing values, to be imputed, or by the largest number "
    "that makes sense",
    "missing values": "impute them with SimpleImputer (objects first with pd.to_numeric(x)), or "
    "leave these rows out",
}


class Column(NamedTuple):
    """Values of a column of X, all or those that may be at fault.

    Attributes
    ----------
    name : its name, or its number
    values : ndarray (m,)
    rows : sequence (m,), their rows, by the index of a DataFrame
    """

    name: Any
    values: NDArray
    rows: Any


class Fault(NamedTuple):
    """Values of one kind in a column.

    Attributes
    ----------
    kind : key of `_REMEDIES`
    first : int, the row of the first of them
    example : that value
    n : int, how many there are
    """

    kind: str
    first: int
    example: Any
    n: int


@contextmanager
def explaining_columns(X: Any) -> Iterator[None]:
    """Have an error of X's validation say which columns hold what, and what to do about it.

    TypeError if X holds nothing but times, which would pass as numbers of nanoseconds; ValueError
    if values of X are masked, as `numpy.ma` marks missing ones: what lies below would pass.
    """
    try:
        if _is_of_times(X):
            raise TypeError("Dates and durations are no numbers")
        if np.ma.is_masked(X):
            raise ValueError("Values are masked")
        yield
    except Exception as error:
        (host,) = on_host(X=X)
        explanation = _explanation(without_masked(host))
        if not explanation:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        # The first sentence is what scikit-learn found; others print X, or advise other estimators.
        found = re.split(r"\n|\. ", str(error))[0][:_MOST_FOUND]
        raise kind(f"{explanation} ({found})") from error


def _is_of_times(X: Any) -> bool:
    """Return whether the first column holds times; beside numbers scikit-learn refuses them."""
    if isinstance(X, list):
        dtype: Any = np.asarray(X[:1]).dtype
    else:
        dtype = X.dtypes.iloc[0] if _is_frame(X) and X.shape[1] else getattr(X, "dtype", None)
    return getattr(dtype, "kind", "") in ("M", "m")


def _is_frame(X: Any) -> bool:
    """Return whether X is a DataFrame of pandas."""
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _explanation(X: Any) -> str:
    """Return a sentence for each kind of values that are no finite numbers, "" without any."""
    found: dict[str, list[str]] = defaultdict(list)
    row_word = "at index" if _is_frame(X) else "in row"
    for column in _suspect_columns(X):
        for fault in _faults(column.values):
            example, row = _cut_short(fault.example), _cut_short(column.rows[fault.first])
            share = f"{fault.n} of {X.shape[0] if hasattr(X, 'shape') else len(X)} rows"
            place = f"{example} {row_word} {row}; {share}"
            found[fault.kind].append(f"{column.name!r} ({place})")
    sentences = []
    for kind in filter(found.get, _REMEDIES):
        named, more = found[kind][:_MOST_COLUMNS], len(found[kind]) - _MOST_COLUMNS
        columns = f"column{'s' * (len(named) > 1)} {', '.join(named)}"
        others = f" and {more} more" if more > 0 else ""
        sentences.append(f"X holds {kind} in {columns}{others}: {_REMEDIES[kind]}.")
    return " ".join(sentences) or _unequal_rows(X)


def _cut_short(value: Any) -> str:
    """Return a value as errors show it, cut short if it is long."""
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def _suspect_columns(X: Any) -> Iterator[Column]:
    """Yield the columns of X that may be at fault."""
    if sparse.issparse(X):
        entries: Any = sparse.coo_array(X)  # type: ignore[call-overload]
        wrong = ~np.isfinite(entries.data) | np.iscomplexobj(entries)
        order = np.flatnonzero(wrong)[np.lexsort((entries.row[wrong], entries.col[wrong]))]
        starts = np.flatnonzero(np.diff(entries.col[order])) + 1
        for places in np.split(order, starts) if len(order) else []:
            yield Column(int(entries.col[places[0]]), entries.data[places], entries.row[places])
    elif _is_frame(X):
        for j, name in enumerate(X.columns.tolist()):
            yield Column(name, np.asarray(X.iloc[:, j]), X.index)
    elif (table := _as_table(X)) is not None:
        suspects: Iterable[int] = range(table.shape[1])
        if table.dtype.kind == "f":  # in one pass, as columns may be many
            with np.errstate(over="ignore", invalid="ignore"):
                suspects = np.flatnonzero(~np.isfinite(table.sum(axis=0))).tolist()
        names = list(getattr(X, "columns", range(table.shape[1])))
        yield from (Column(names[j], table[:, j], range(len(table))) for j in suspects)


def _as_table(X: Any) -> NDArray | None:
    """Return X as an array (n, d) that keeps the types of its values, None if it is none."""
    try:
        table = np.asarray(X) if hasattr(X, "dtype") else np.asarray(X, dtype=object)
    except (TypeError, ValueError):
        return None
    return table if table.ndim == 2 else None


def _unequal_rows(X: Any) -> str:
    """Return a sentence that names two rows of different lengths, "" if there are none."""
    rows = X if isinstance(X, list | tuple) else []
    lengths = [len(row) for row in rows if isinstance(row, Sized)]
    other = next((i for i, length in enumerate(lengths) if length != lengths[0]), 0)
    if not other or len(lengths) < len(rows):
        return ""
    return (
        f"X must have equally many values in each row: row 0 has {lengths[0]}, row {other} has "
        f"{lengths[other]}."
    )


def _faults(values: NDArray) -> Iterator[Fault]:
    """Yield the kinds of values of a column (n,) that are no finite numbers."""
    if values.dtype.kind == "f":
        for kind, wrong in (("missing values", np.isnan), ("infinite values", np.isinf)):
            if (count := int(np.count_nonzero(wrong(values)))) > 0:
                first = int(np.argmax(wrong(values)))
                yield Fault(kind, first, values[first], count)
    elif values.dtype.kind in "Mm":
        import pandas as pd

        kind = "dates" if values.dtype.kind == "M" else "durations"
        yield Fault(kind, 0, pd.Series(values[:1]).iloc[0], len(values))
    elif values.dtype.kind not in "biu":
        yield from _faults_of_objects(values.tolist())


def _faults_of_objects(values: list) -> Iterator[Fault]:
    """Yield the kinds of values of a column of objects, text or complex numbers, likewise."""
    places = defaultdict(list)
    for i, value in enumerate(values):
        places[_kind_of(value)].append(i)
    n_numbers = len(places.pop("", ()))
    for kind, found in places.items():
        if kind == "text":
            kind = _kind_of_text([str(values[i]) for i in found], n_numbers)
        yield Fault(kind, found[0], values[found[0]], len(found))


def _kind_of(value: Any) -> str:
    """Return the kind of a value, "" for a finite number, and for text that is one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, OverflowError):
            return "infinite values"
        return _kind_of_object(value)
    if np.isfinite(number):
        return ""
    return "missing values" if np.isnan(number) else "infinite values"


def _kind_of_object(value: Any) -> str:
    """Return the kind of what `float` does not take."""
    name = type(value).__name__
    if value is None or name in ("NAType", "NaTType"):
        return "missing values"
    kinds = {
        "text": str | bytes,
        "dates": datetime.date | np.datetime64,
        "durations": datetime.timedelta | np.timedelta64,
        "complex numbers": numbers.Complex,
        "lists": list | tuple | set | frozenset | np.ndarray,
    }
    by_name = {"Period": "periods", "Interval": "intervals"}
    of_type = (kind for kind, types in kinds.items() if isinstance(value, types))
    return next(of_type, by_name.get(name, "objects"))


def _kind_of_text(texts: list[str], n_numbers: int) -> str:
    """Return what words that are no numbers are, beside so many numbers in their column."""
    if all(map(_WITH_COMMA.fullmatch, texts)):
        return "numbers with commas"
    if all(map(_DATE.fullmatch, texts)):
        return "dates in text"
    return "text among numbers" if n_numbers > len(texts) else "text"
