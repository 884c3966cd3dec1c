"""The target: classes or labels, read from a column, and why some columns are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.report.columns import (
    as_numbers,
    clean,
    counted,
    date_format_of,
    listed,
    natural_order,
)
from softreg.report.tables import BadInput

# Nested cross-validation needs a row to hold out, one to choose C on, and one to learn from.
FEWEST_ROWS = 3
_MOST_CLASSES = 500
# More whole numbers than these, with fewer rows each, are taken for measurements.
_WHOLE_NUMBERS, _ROWS_EACH, _FRACTIONS = 30, 20, 10


@dataclass(frozen=True, eq=False)
class Target:
    """The classes or labels of the rows that have some.

    Attributes
    ----------
    name : str, of the column
    names : list of str, (K,), of classes in their order, or of labels
    Y : ndarray of shape (n, K), 1 for the class or labels of each row, else 0
    rows : ndarray of shape (n,), the numbers of the rows in the table
    has_labels : bool, whether a row may have any number of them
    warnings : list of str, which rows and classes were left out
    """

    name: str
    names: list[str]
    Y: NDArray
    rows: NDArray[np.intp]
    has_labels: bool
    warnings: list[str]

    @property
    def codes(self) -> NDArray[np.intp]:
        """The number of each row's class, (n,)."""
        return self.Y.argmax(axis=1)

    @property
    def y(self) -> NDArray:
        """What estimators are fitted to: names (n,) of classes, or the indicators (n, L)."""
        return self.Y if self.has_labels else np.asarray(self.names)[self.codes]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of rows that have each class or label, (K,)."""
        return self.Y.mean(axis=0)


def target_of(column: pd.Series, decimal: str, labels_sep: str | None) -> Target:
    """Return the target in a column; BadInput if it cannot be one."""
    name, text = str(column.name), clean(column)
    n_missing = int(text.isna().sum())
    if n_missing == len(text):
        raise BadInput(f"The target {name!r} is missing in all {len(text):,} rows.")
    if labels_sep == "":
        raise BadInput("--labels-sep '' must be what stands between labels, such as ';'.")
    if labels_sep is not None:
        return _labels(name, text, labels_sep)
    rows = np.flatnonzero(text.notna())
    values = text.iloc[rows]
    warnings = []
    if n_missing:
        warnings.append(f"Left out: {counted(n_missing, 'row')} without {name!r}.")
    numbers = as_numbers(values, decimal)
    if numbers.notna().all():  # 1 and 1.0 are one class
        values = numbers.map("{:.15g}".format)
    counts = values.value_counts()
    _check_levels(name, counts, values, numbers)
    kept = counts.index[counts >= FEWEST_ROWS]
    if len(kept) < 2 <= len(counts):
        raise BadInput(
            f"The target {name!r} needs two classes with {FEWEST_ROWS} rows or more to learn from; "
            f"its classes have {_listed_counts(counts)}."
        )
    if rare := sorted(counts.index[counts < FEWEST_ROWS], key=natural_order):
        warnings.append(
            f"Left out, with their rows, as fewer than {FEWEST_ROWS} have them: "
            f"{listed(map(repr, rare))}."
        )
        is_kept = values.isin(kept).to_numpy()
        rows, values = rows[is_kept], values[is_kept]
    names = sorted(kept, key=natural_order)
    codes = pd.Categorical(values, categories=names).codes
    return Target(name, names, np.eye(len(names), dtype=int)[codes], rows, False, warnings)


def _check_levels(name: str, counts: pd.Series, values: pd.Series, numbers: pd.Series) -> None:
    """Raise BadInput if values (n,), with a count for each level, are no classes."""
    n, n_levels = len(values), len(counts)
    if n_levels == 1:
        raise BadInput(
            f"The target {name!r} has one class only, {counts.index[0]!r}, in all "
            f"{counted(n, 'row')} that have a value: there is nothing to tell apart."
        )
    if numbers.notna().all():
        is_whole = (numbers % 1 == 0).all()
        most = _WHOLE_NUMBERS if is_whole else _FRACTIONS
        if n_levels > most and n / n_levels < _ROWS_EACH:
            raise BadInput(
                f"The target {name!r} looks continuous: {n_levels:,} different numbers from "
                f"{numbers.min():g} to {numbers.max():g}. Classes are needed, such as ranges; if "
                "these numbers are names of classes, write letters before them."
            )
    elif date_format_of(values):
        raise BadInput(f"The target {name!r} holds dates, such as {values.iloc[0]!r}, no classes.")
    if n_levels > _MOST_CLASSES or n_levels > max(n / 2, _FRACTIONS):
        hint = f", such as {values.iloc[0][:40]!r}"
        raise BadInput(
            f"The target {name!r} has {n_levels:,} different values in {n:,} rows{hint}: too many "
            f"for classes (at most {_MOST_CLASSES}, and two rows each). An id, or a text? If a "
            "cell has several labels, name what separates them: --labels-sep."
        )


def _labels(name: str, text: pd.Series, labels_sep: str) -> Target:
    """Return the labels of all rows: an empty cell has none of them."""
    cells = [
        {part.strip() for part in cell.split(labels_sep)} - {""} if isinstance(cell, str) else set()
        for cell in text
    ]
    counts = pd.Series([label for cell in cells for label in cell], dtype=object).value_counts()
    if len(counts) > _MOST_CLASSES:
        raise BadInput(
            f"The target {name!r} has {len(counts):,} labels (--labels-sep {labels_sep!r}): at "
            f"most {_MOST_CLASSES} can be told apart."
        )
    n = len(text)
    is_kept = (counts >= FEWEST_ROWS) & (counts <= n - FEWEST_ROWS)
    names = sorted(counts.index[is_kept], key=natural_order)
    if not names:
        raise BadInput(
            f"The target {name!r} has no label that {FEWEST_ROWS} rows or more have and as many "
            f"have not: {_listed_counts(counts)} of {n:,} (--labels-sep {labels_sep!r})."
        )
    if len(names) == 1:
        raise BadInput(
            f"The target {name!r} has one label only, {names[0]!r}, to tell apart: write a word "
            "where it is not, and leave out --labels-sep."
        )
    warnings = []
    if n_empty := sum(not cell for cell in cells):
        warnings.append(
            f"Without any of the labels: {counted(n_empty, 'row')} with an empty {name!r}."
        )
    if left := sorted(counts.index[~is_kept], key=natural_order):
        warnings.append(
            f"Left out, as fewer than {FEWEST_ROWS} rows have them, or have not: "
            f"{listed(map(repr, left))}."
        )
    Y = np.array([[label in cell for label in names] for cell in cells], dtype=int)
    return Target(name, names, Y, np.arange(n), True, warnings)


def _listed_counts(counts: pd.Series) -> str:
    return listed((f"{level!r} {count:,}" for level, count in counts.items()), 5)
