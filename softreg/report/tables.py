"""Tables: the rows of a file, as text and numbers, and what is wrong with files that are none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from softreg._encoding import validation

_SEPARATORS = {";": "';'", "\t": r"'\t'", "|": "'|'", ",": "','"}
_COMPRESSED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".tar")  # Which pandas reads.
_NO_TEXT = {  # How other files begin.
    b"PK": "a workbook or an archive: save it as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook: save it as CSV",
    b"%PDF": "a PDF: save its table as CSV",
    b"PAR1": "a Parquet file: let its name end in .parquet",
    b"\x1f\x8b": "compressed: let its name end in .gz",
}
_EXTRA = {"matplotlib": "3.8", "pyarrow": "14", "skops": "0.13"}
_ROW_NAMES = "(row names)"


class BadInput(ValueError):
    """One plain sentence that says what is wrong with a file or an argument."""


def of_extra(module: str, what: str) -> Any:
    """Return a module of the extra softreg[report]; BadInput that says what needs it."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise BadInput(
            f"{what} needs {package}, of the extra softreg[report]: "
            f'python -m pip install "{package}>={_EXTRA[package]}".'
        ) from error


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: what stands between columns, in numbers, and for letters.

    Without `sep` it is a tab in files that end in .tsv, and a comma in others.
    """

    sep: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"

    def of_file(self, path: str) -> Dialect:
        """Return the dialect of one file, with a separator."""
        default = "\t" if ".tsv" in Path(path).suffixes else ","
        sep = (self.sep or default).replace(r"\t", "\t")
        return Dialect(sep, self.decimal, self.encoding)


@dataclass(frozen=True, eq=False)
class Table:
    """What was read of a file.

    Attributes
    ----------
    frame : DataFrame of n rows
        With columns of text, or of numbers as they stand in Parquet; names are text.
    how : str, how it was read
    notes : list of str, what was odd
    """

    frame: pd.DataFrame
    how: str
    notes: list[str]


def read_table(path: str, dialect: Dialect) -> Table:
    """Return the rows of a CSV or Parquet file; BadInput if there are none."""
    if Path(path).exists() and not Path(path).is_file():
        raise BadInput(f"{path} is a folder or a pipe: name one file.")
    if not Path(path).is_file():
        folder = Path(path).parent
        names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
        raise BadInput(f"There is no file {path}.{_nearest(Path(path).name, names)}")
    is_parquet = path.lower().endswith((".parquet", ".pq"))
    frame, notes = _read_parquet(path) if is_parquet else _read_csv(path, dialect.of_file(path))
    if frame.empty:
        raise BadInput(f"{path} holds no rows: below the names of the columns there is nothing.")
    return Table(frame, _how(dialect.of_file(path), is_parquet), notes)


def check_columns(frame: pd.DataFrame, path: str, names: list[str], option: str) -> None:
    """Raise BadInput if a table lacks one of some columns."""
    columns = list(frame.columns)
    for name in names:
        if name not in columns:
            hint = _nearest(name, columns) or f" It has {validation.shown(columns)}."
            raise BadInput(f"{path} has no column {name!r} ({option}).{hint}{other_sep(frame)}")


def other_sep(frame: pd.DataFrame) -> str:
    """Return a hint at the separator of a table that was read as one column, or nothing."""
    header = str(frame.columns[0])
    found = [text for mark, text in _SEPARATORS.items() if mark in header]
    if frame.shape[1] > 1 or not found:
        return ""
    return f" It was read as one column, {header[:60]!r}: try --sep {found[0]}."


def _nearest(name: str, names: list[str]) -> str:
    """Return a hint at similar names, or nothing."""
    lower = {other.lower(): other for other in reversed(names)}
    near = [lower[match] for match in get_close_matches(name.lower(), lower)]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _how(dialect: Dialect, is_parquet: bool) -> str:
    if is_parquet:
        return "Read as Parquet, with the types that it declares."
    sep = {",": "commas", "\t": "tabs", ";": "semicolons"}.get(str(dialect.sep), repr(dialect.sep))
    mark = {".": "points", ",": "commas"}.get(dialect.decimal, repr(dialect.decimal))
    return (
        f"Read as CSV in {dialect.encoding}: {sep} between columns, decimal {mark}; cells that are "
        "empty or say NA, NaN, null, None or the like are missing."
    )


def _read_parquet(path: str) -> tuple[pd.DataFrame, list[str]]:
    """Return a Parquet file: numbers as they are, all else as text."""
    of_extra("pyarrow", "A Parquet file")
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except Exception as error:  # whatever a damaged file makes pyarrow raise
        raise BadInput(f"{path} cannot be read as Parquet: {one_line(error)}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    return pd.DataFrame({name: _as_text(column) for name, column in frame.items()}), []


def _as_text(column: pd.Series) -> pd.Series:
    """Return a column of numbers as it is, others as text with None where it is missing."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")


def _read_csv(path: str, dialect: Dialect) -> tuple[pd.DataFrame, list[str]]:
    """Return a CSV file as text, and notes on its header."""
    with open(path, "rb") as file:
        head = file.read(1000)
    if not path.lower().endswith(_COMPRESSED):
        _check_text(path, head, dialect.encoding)
    if len(dialect.sep or "") > 1 and dialect.sep != r"\s+":
        raise BadInput(f"--sep {dialect.sep!r} must be one character, \\t, or \\s+ for blanks.")
    options: dict[str, Any] = {"sep": dialect.sep, "encoding": dialect.encoding, "dtype": str}
    try:
        frame = pd.read_csv(path, skipinitialspace=True, **options)
        header = pd.read_csv(path, header=None, nrows=1, keep_default_na=False, **options)
    except pd.errors.EmptyDataError as error:
        raise BadInput(f"{path} is empty.") from error
    except LookupError as error:
        raise BadInput(f"--encoding {dialect.encoding}: {one_line(error)}; try utf-8.") from error
    except UnicodeError as error:
        raise BadInput(
            f"{path} is not written in {dialect.encoding} ({one_line(error)}): "
            "try --encoding latin-1."
        ) from error
    except Exception as error:  # whatever a damaged file makes pandas or an archive raise
        raise BadInput(
            f"{path} cannot be read with --sep {dialect.sep!r}: {one_line(error)}"
        ) from error
    names = [str(name).strip() for name in header.iloc[0]]
    return _with_names_in_line(frame, path), _header_notes(names)


def _check_text(path: str, head: bytes, encoding: str) -> None:
    """Raise BadInput if a file begins as no text in an encoding does."""
    for beginning, what in _NO_TEXT.items():
        if head.startswith(beginning):
            raise BadInput(f"{path} is no CSV file but {what}.")
    if b"\0" in head and not re.search("16|32", encoding):
        raise BadInput(
            f"{path} holds zero bytes, as no text in {encoding} does: try --encoding utf-16."
        )


def _with_names_in_line(frame: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return a table whose rows have a field more than its header with a name for each.

    That are R's row names, in the first column, or a separator at the end of each row.
    """
    frame.columns = [str(name).strip() for name in frame.columns]
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    if isinstance(frame.index, pd.MultiIndex):
        raise BadInput(
            f"{path} has rows with several fields more than its header has names.{other_sep(frame)}"
        )
    names = list(frame.columns)
    if frame.iloc[:, -1].isna().all():
        frame = frame.reset_index().iloc[:, :-1]
        frame.columns = names
        return frame
    return frame.reset_index(names=_ROW_NAMES)


def _header_notes(names: list[str]) -> list[str]:
    """Return notes on names of columns that occur more than once."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    return [
        f"{names.count(name)} columns are called {name!r}: those after the first one are called "
        f"{name + '.1'!r} and so on."
        for name in twice
    ]


def one_line(error: Exception) -> str:
    """Return an error's message in one line."""
    return re.sub(r"\s+", " ", str(error)).strip().removeprefix("Error tokenizing data. C error: ")
