"""Columns: what each column of a table is, and what becomes of it, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

NUMBER, CATEGORY, TEXT, DATE, ID = "number", "category", "free text", "date", "id"
CONSTANT, EMPTY = "constant", "empty"
USED = (NUMBER, CATEGORY, TEXT, DATE)
LARGEST = 1e100  # Numbers beyond count as infinite: their squares are.
MISSING, OTHER = "(missing)", "(other)"
_WEEKDAYS = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])

_MOST_LEVELS = 50  # Of a category: rarer ones are one level. Also where ids and texts begin.
_LEAST_SHARE = 0.95  # Of the values that have to be numbers or dates; the rest counts as missing.
_WORDS_OF_TEXT = 3  # On average.
_FEWEST_TEXTS = 10  # Fewer could all be held out, which leaves no words to learn from.
_SAMPLE = 100  # Values that are tried in each format before all are.
_DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%Y.%m.%d"),
)
_COMPACT_DAY = r"(19|20)\d\d(0[1-9]|1[0-2])[0-3]\d"
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (*(day + time for time in _TIMES for day in _DAYS), "%H:%M", "%H:%M:%S", "ISO8601")
MOST_WORDS = 1000  # Of a column of texts: each has coefficients.


@dataclass(frozen=True)
class Column:
    """What a column is and what becomes of it.

    Attributes
    ----------
    name : str
    kind : one of `USED`, or "id", "constant" or "empty", which are left out
    n_missing : int
        Values that are missing, or are taken for it.
    treatment : str, for the reader
    warnings : list of str, what a statistician would ask
    levels : list of str
        Of a category, the levels that have a 0/1 column.
    date_format : str
    parts : dict of list of str
        Of dates, the parts that are used, by name; with their levels, where they have some.
    """

    name: str
    kind: str
    n_missing: int
    treatment: str
    warnings: list[str] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    date_format: str = ""
    parts: dict[str, list[str]] = field(default_factory=dict)


def columns_of(frame: pd.DataFrame, decimal: str, categorical: Sequence[str]) -> list[Column]:
    """Return what each column of a table is; those in `categorical` are categories by wish."""
    return [
        _category(name, clean(frame[name]))
        if name in categorical
        else _column(name, frame[name], decimal)
        for name in frame.columns
    ]


def clean(column: pd.Series) -> pd.Series:
    """Return a column as text without blanks around it; None where it is missing."""
    if pd.api.types.is_numeric_dtype(column):
        column = column.map("{:.15g}".format, na_action="ignore")
    stripped = column.str.strip() if column.notna().any() else column
    return stripped.astype(object).where(stripped.notna() & (stripped != ""), None)


def as_numbers(column: pd.Series, decimal: str) -> pd.Series:
    """Return a column as floats; NaN where there is no number."""
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy(float, na_value=np.nan), column.index)
    if decimal != ".":  # then points stand between thousands, or it is no number
        column = column.str.replace(r"\.(?=\d{3}(\D|$))", "", regex=True)
        column = column.str.replace(".", "?", regex=False).str.replace(decimal, ".", regex=False)
    return pd.to_numeric(column, errors="coerce").astype(float)


def as_dates(column: pd.Series, date_format: str) -> pd.Series:
    """Return a column as days and times; NaT where there is none in that format."""
    dates = pd.to_datetime(clean(column), format=date_format, errors="coerce", utc=True)
    return dates.dt.tz_localize(None)


def date_format_of(text: pd.Series) -> str:
    """Return the format in which a column of text has dates, or nothing."""
    present = text.dropna()
    sample = present.iloc[:_SAMPLE]
    if not _are_most(sample.where(sample.str.contains(r"\d"))):  # soon said: formats take long
        return ""
    for date_format in _FORMATS:
        if _are_most(as_dates(sample, date_format)) and _are_most(as_dates(present, date_format)):
            return date_format
    return ""


def date_parts(column: pd.Series, name: str, date_format: str) -> pd.DataFrame:
    """Return the day number and parts of a column of dates."""
    dates = as_dates(column, date_format)
    seconds = (dates - pd.Timestamp("1970-01-01")).dt.total_seconds()
    weekday = pd.Series(_WEEKDAYS[dates.dt.day_of_week.fillna(0).astype(int)], dates.index)
    parts = {
        "day number": seconds // 86_400,
        "hour": seconds % 86_400 / 3_600,
        "month": dates.dt.strftime("%m").astype(object).where(dates.notna(), MISSING),
        "weekday": weekday.astype(object).where(dates.notna(), MISSING),
    }
    return pd.DataFrame({f"{name}: {part}": values for part, values in parts.items()})


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where there are several."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def listed(texts: Iterable[str], most: int = 8) -> str:
    """Return the first texts, with commas between them."""
    texts = list(texts)
    return ", ".join(texts[:most]) + ", ..." * (len(texts) > most)


def _column(name: str, column: pd.Series, decimal: str) -> Column:
    """Return what a column is by its values."""
    numbers, is_present = as_numbers(column, decimal), column.notna()
    if not is_present.any():
        return Column(name, EMPTY, len(column), "left out: all values are missing")
    if _are_most(numbers[is_present]) and not _are_compact_days(column[is_present]):
        return _number(name, column, numbers)
    text = clean(column)
    present = text.dropna()
    if date_format := date_format_of(present):
        return _date(name, text, date_format)
    words = pd.Series(present.unique(), dtype=object).str.lower().str.findall(r"\w+")
    n_distinct, n_texts = len(words), words.map(sorted).map(" ".join).nunique()
    most_levels = np.clip(len(present) / 2, _FEWEST_TEXTS, _MOST_LEVELS)
    if n_texts > most_levels and words.map(len).mean() >= _WORDS_OF_TEXT:
        treatment = f"tf-idf of its words, of the {MOST_WORDS:,} most frequent ones at most"
        return Column(name, TEXT, int(text.isna().sum()), treatment)
    decimal_warnings = _decimal_warnings(name, present, decimal)
    if n_distinct > 0.9 * len(present) and n_distinct > 2:
        treatment = f"left out: an id, {n_distinct:,} different values in {len(present):,} rows"
        return Column(name, ID, int(text.isna().sum()), treatment, decimal_warnings)
    return _category(name, text, decimal_warnings)


def _are_compact_days(column: pd.Series) -> bool:
    """Return whether values are text such as 20240531."""
    is_number = pd.api.types.is_numeric_dtype(column)
    return not is_number and bool(column.str.strip().str.fullmatch(_COMPACT_DAY).all())


def _number(name: str, column: pd.Series, numbers: pd.Series) -> Column:
    """Return a column of numbers: constants and row numbers are left out."""
    is_finite = numbers.abs() <= LARGEST
    values, n_missing = numbers[is_finite], int((~is_finite).sum())
    n_distinct = values.nunique()
    if not n_distinct:
        return Column(name, EMPTY, n_missing, "left out: all values are missing")
    if not n_missing and not values.std(ddof=0):  # also where squares are too small for numbers
        return Column(name, CONSTANT, 0, f"left out: all values are {values.iloc[0]:g}")
    is_whole = n_distinct == len(values) > 2 and bool((values % 1 == 0).all())
    if is_whole and np.ptp(values) == len(values) - 1:
        return Column(name, ID, n_missing, "left out: an id, it numbers the rows")
    warnings = _number_warnings(name, column, numbers)
    if is_whole and re.search(r"(^|[^a-z])(id|key|number|nr|no)s?$", name.lower()):
        warnings.append(f"{name!r} has a different number in each row. If it is an id, --drop it.")
    treatment = f"centred and scaled: mean {values.mean():.4g}, deviation {values.std(ddof=0):.4g}"
    if n_missing:
        treatment += f"; the median, {values.median():.4g}, stands for missing values, "
        treatment += "and a 0/1 column says where"
    return Column(name, NUMBER, n_missing, treatment, warnings)


def _number_warnings(name: str, column: pd.Series, numbers: pd.Series) -> list[str]:
    """Return warnings of values that are no numbers, or infinite, and count as missing."""
    found = []
    if n_infinite := int((numbers.abs() > LARGEST).sum()):
        found.append(f"Taken as missing: {counted(n_infinite, 'infinite value')} of {name!r}.")
    strange = column[numbers.isna() & column.notna()]
    if len(strange):
        values = ", ".join(map(repr, strange.unique()[:3]))
        found.append(
            f"Taken as missing: {counted(len(strange), 'value')} of {name!r} without a number, "
            f"such as {values}."
        )
    return found


def _date(name: str, text: pd.Series, date_format: str) -> Column:
    dates = as_dates(text, date_format)
    n_missing = int(dates.isna().sum())
    parts = {
        str(part).removeprefix(f"{name}: "): sorted(set(values)) if values.dtype == object else []
        for part, values in date_parts(text, name, date_format).items()
        if values.nunique() > 1
    }
    if not parts:
        return Column(
            name, CONSTANT, n_missing, f"left out: all values are {dates.dropna().iloc[0]}"
        )
    warnings = []
    days, months = date_format.replace("%d", "%#"), "%m"
    swapped = days.replace(months, "%d").replace("%#", months)
    if "%m" in swapped and swapped in _FORMATS and _are_most(as_dates(text.dropna(), swapped)):
        first = "day" if date_format.index("%d") < date_format.index("%m") else "month"
        warnings.append(f"Dates of {name!r} could begin with a day or a month: read {first} first.")
    how = "ISO 8601" if date_format == "ISO8601" else date_format
    treatment = f"dates as {how}, from {dates.min()} to {dates.max()}; used: {', '.join(parts)}"
    if n_missing:
        treatment += "; of missing ones medians, a 0/1 column says where"
    treatment = treatment.replace(" 00:00:00", "")
    return Column(name, DATE, n_missing, treatment, warnings, [], date_format, parts)


def _category(name: str, text: pd.Series, warnings: Sequence[str] = ()) -> Column:
    text = text.mask(text == MISSING)
    counts = text.value_counts()
    n_missing = int(text.isna().sum())
    if len(counts) < 2 and not n_missing:
        return Column(name, CONSTANT, 0, f"left out: all values are {counts.index[0]!r}")
    levels = sorted(counts.drop(OTHER, errors="ignore").index[:_MOST_LEVELS], key=natural_order)
    treatment = f"a 0/1 column for each of {counted(len(levels), 'level')}"
    if len(counts) > len(levels):
        treatment += f", one for the other {len(counts) - len(levels):,}"
        levels.append(OTHER)
    if n_missing:
        treatment += ", one for missing values"
        levels.append(MISSING)
    return Column(name, CATEGORY, n_missing, treatment, [*warnings], levels)


def _decimal_warnings(name: str, present: pd.Series, decimal: str) -> list[str]:
    """Return a warning of a column that would be numbers with the other decimal mark."""
    other = "," if decimal == "." else "."
    if not _are_most(as_numbers(present, other)):
        return []
    return [f"{name!r} is read as text; with --decimal {other!r} it would be numbers."]


def natural_order(text: str) -> tuple[float, str]:
    """Return what sorts numbers by size, and before other text."""
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def _are_most(values: Any) -> bool:
    """Return whether nearly all values could be read."""
    return len(values) > 0 and values.notna().mean() >= _LEAST_SHARE
