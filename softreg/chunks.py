"""Ready-made sources of chunks for data that are larger than memory.

`Table` reads CSV and Parquet files, `Arrays` cuts arrays and ``.npy`` files. Each can be iterated
again and again, as `fit_chunks` of the estimators asks, and yields (X, y) or (X, y, sample_weight).
Any function that returns an iterator of such tuples does as well.
"""

from __future__ import annotations

import glob
import mmap
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from softreg._encoding import validation

__all__ = ["Arrays", "Table"]

# Checking a chunk takes about half a millisecond whatever its size; a million values (8 MB of
# doubles) take several for the products of a pass (measured), and are small beside any memory.
_DEFAULT_VALUES = 2**20
# Suffixes of the files that a Table reads, by pandas and by pyarrow.
_CSV = (".csv", ".csv.gz", ".txt", ".txt.gz", ".tsv", ".tsv.gz")
_PARQUET = (".parquet", ".pq")

AnyPath = str | os.PathLike[str]


class LocatedChunk(tuple):
    """A chunk (X, y) or (X, y, sample_weight) that knows where its rows stand.

    Attributes
    ----------
    location : str, for errors: its rows, counted from 0, and their file if they are in one
    """

    location: str

    def __new__(cls, fields: Iterable, start: int, stop: int, file: Any) -> LocatedChunk:
        """Return the chunk of the rows from `start` to before `stop` of a file, or of none."""
        chunk = super().__new__(cls, fields)
        chunk.location = f"rows {start} to {stop - 1}{f' of {file}' if file else ''}"
        return chunk


@dataclass(frozen=True)
class Arrays:
    """Chunks of arrays, in memory or in files.

    Lists of ``.npy`` files are read file by file. These, and any `np.memmap` in C order, are read
    from the file chunk by chunk, so that pages that were read do not pile up in memory. Anything
    else that can be sliced by rows, such as an array of h5py or zarr, or a memmap in Fortran order,
    is sliced.

    Parameters
    ----------
    X : array-like, `np.memmap`, CSR array or DataFrame of shape (n_samples, n_features)
        Or a list of paths of ``.npy`` files that hold such arrays.
    y : array-like, `np.memmap`, Series or DataFrame of n_samples rows
        Or, if X is a list of paths, a list of as many: the targets of the same rows.
    sample_weight : array or `np.memmap` of n_samples rows, default=None
        Or, if X is a list of paths, a list of as many.
    rows : int, default=None
        Most rows of a chunk, >= 1. None is as many as make a million values.

    Raises
    ------
    ValueError
        If the arrays do not have equally many rows, or the lists paths, X or y is None, or `rows`
        is not an integer >= 1; or, when files are read, if the arrays of a pair do not have equally
        many rows or hold Python objects.
    FileNotFoundError
        When files are read, if one is not there.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import Arrays
    >>> X, y = load_wine(return_X_y=True)
    >>> [len(labels) for _, labels in Arrays(X, y, rows=100)]
    [100, 78]
    >>> SoftmaxRegression().fit_chunks(Arrays(X, y, rows=100)).coef_.shape
    (3, 13)

    From files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> for part in range(2):
    ...     np.save(folder / f"X{part}.npy", X[part::2])
    ...     np.save(folder / f"y{part}.npy", y[part::2])
    >>> source = Arrays(sorted(folder.glob("X*.npy")), sorted(folder.glob("y*.npy")))
    >>> SoftmaxRegression().fit_chunks(source).classes_
    array([0, 1, 2])
    """

    X: Any
    y: Any
    sample_weight: Any = None
    _: KW_ONLY
    rows: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_rows(self.rows)
        for name in ("X", "y", "sample_weight"):
            object.__setattr__(self, name, _sliceable(name, getattr(self, name)))
        lengths = [array.shape[0] for array in self._arrays]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"X, y (and sample_weight) have {lengths} rows or files; they must be as many."
            )

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        if len(self.X.shape) == 1 and all(isinstance(path, str | os.PathLike) for path in self.X):
            for paths in zip(*self._arrays, strict=True):
                with validation.noting(f"In {' and '.join(map(str, paths))}."):
                    files = (np.load(path, mmap_mode="r") for path in paths)
                    yield from Arrays(*files, rows=self.rows)
            return
        n, step = self.X.shape[0], self.rows or _default_rows(int(np.prod(self.X.shape[1:])))
        file = getattr(self.X, "filename", None)
        for start in range(0, n, step):
            stop = min(start + step, n)
            parts = (_read_rows(array, start, stop) for array in self._arrays)
            yield LocatedChunk(parts, start, stop, file)

    @property
    def _arrays(self) -> list:
        """X, y and sample_weight, without a None."""
        return [array for array in (self.X, self.y, self.sample_weight) if array is not None]


@dataclass(frozen=True)
class Table:
    """Chunks of a table in CSV or Parquet files: DataFrames of features, targets and weights.

    CSV files are read by pandas, and have the values and types of `pandas.read_csv` of all files
    together, whatever `rows` is. Fields that are empty or read ``NA``, ``N/A``, ``NaN``, ``NULL``,
    ``None`` or the like are missing (NaN), in columns of text too, quoted or not, unless
    `keep_default_na` is False. A column holds
    numbers (int64, or float64 if one is missing or no integer) if all its values in all files are
    numbers, booleans if all are ``True`` or ``False``, else text as it is spelled, dates too. To
    see that, a Table reads its CSV files once before its first pass.

    Parquet files are read by pyarrow (the extra ``parquet``) and have the values of
    `pandas.read_parquet`. Row groups are read one at a time; write them no larger than fits well in
    memory.

    Parameters
    ----------
    paths : path, glob pattern, or list of them
        Files ending in .csv, .txt or .tsv (or .csv.gz, ...), or in .parquet or .pq, with the same
        columns, and CSV files with a header. They are read in the order given; those of a pattern
        or a folder (with its subfolders) in sorted order.
    target : str or list of str
        A column's name: its values are the labels. Several: probabilities of classes, or labels of
        `SigmoidRegression`, that have these names.
    sample_weight : str, default=None
        Name of the column of weights; a list of names: the weights of each label.
    columns : list of str, default=None
        The features, in this order; target and weights may be among them and are none. None: all
        columns but target and weights.
    rows : int, default=None
        Most rows of a chunk, >= 1. None is as many as make a million values.
    sep : str, default=","
        What separates the fields of CSV files, such as ``";"`` or a tab.
    decimal : str, default="."
        The decimal mark of CSV files.
    encoding : str, default="utf-8"
        Of CSV files, such as ``"latin-1"``.
    keep_default_na : bool, default=True
        Whether fields of CSV files that read ``NA`` or the like are missing. If not, empty ones
        alone are: for labels that are spelled so.
    transform : callable, default=None
        Takes a DataFrame of the features of a chunk and returns X, row by row, such as
        ``ColumnTransformer(...).fit(sample).transform``. None: the DataFrame is X.

    Raises
    ------
    ValueError
        If `rows` is not an integer >= 1, `target` and `sample_weight` name a column twice, or the
        suffixes of files are unknown or of both kinds; or, when the files are read, a column is
        missing, no feature is left, two files have other columns, or there are no rows.
    TypeError
        If `transform` cannot be called, as an estimator itself.
    FileNotFoundError
        If a path or pattern fits no file.
    ImportError
        When Parquet files are read, if pyarrow is not installed.

    Warns
    -----
    UserWarning
        When files are read, with the first row, if labels are missing (numbers of several targets
        may be: they are unknown); if columns of CSV files are text that would be numbers with the
        other decimal mark.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import Table
    >>> path = Path(tempfile.mkdtemp()) / "iris.csv"
    >>> load_iris(as_frame=True).frame.to_csv(path, index=False)
    >>> model = SoftmaxRegression().fit_chunks(Table(path, "target", rows=50))
    >>> model.feature_names_in_[0], model.classes_
    ('sepal length (cm)', array([0, 1, 2]))

    With columns that are scaled, encoded or expanded:

    >>> import pandas as pd
    >>> from sklearn.preprocessing import PolynomialFeatures
    >>> sample = pd.read_csv(path, nrows=100).drop(columns="target")
    >>> squares = PolynomialFeatures(include_bias=False).fit(sample)
    >>> source = Table(path, "target", transform=squares.transform)
    >>> SoftmaxRegression().fit_chunks(source).n_features_in_
    14
    """

    paths: AnyPath | Sequence[AnyPath]
    target: str | Sequence[str]
    _: KW_ONLY
    sample_weight: str | Sequence[str] | None = None
    columns: str | Sequence[str] | None = None
    rows: int | None = None
    sep: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    keep_default_na: bool = True
    transform: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_rows(self.rows)
        validation.check_flag("keep_default_na", self.keep_default_na)
        if self.transform is not None and not callable(self.transform):
            raise TypeError(
                f"transform is a {type(self.transform).__name__}, which cannot be called: fit a "
                "transformer to a sample of rows, and pass its method `transform`."
            )
        for name in ("paths", "target", "sample_weight", "columns"):
            if not isinstance(value := getattr(self, name), str | os.PathLike | None):
                object.__setattr__(self, name, _as_list(value))
        if not self.target or len({*self._named}) < len(self._named):
            target, weight = map(validation.shown, (self.target, self.sample_weight))
            raise ValueError(
                f"target={target} and sample_weight={weight} must name columns, each once: none "
                "is both or two targets."
            )
        _ = self._files

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        n_rows, types = 0, self._types
        features = [name for name in types if name not in self._named]
        for file in self._files:
            for frame in self._frames(file, [*types], types):
                n_rows += len(frame)
                with validation.noting(f"In {file}."):
                    X = self.transform(frame[features]) if self.transform else frame[features]
                weight = [] if self.sample_weight is None else [frame[self.sample_weight]]
                start, stop = frame.index[0], frame.index[-1] + 1
                yield LocatedChunk([X, frame[self.target], *weight], start, stop, file)
        if not n_rows:
            raise ValueError(f"paths={self.paths!r} hold an empty table; it must have some rows.")

    @property
    def _named(self) -> list[str]:
        """The columns that are not X."""
        return _as_list(self.target) + _as_list(self.sample_weight)

    @cached_property
    def _files(self) -> list[str]:
        """The files, all of one kind."""
        files = [file for path in _as_list(self.paths) for file in _files_at(str(path))]
        if len({_is_parquet(file) for file in files}) != 1:
            raise ValueError(f"paths={self.paths!r} must be CSV files or Parquet files, not both.")
        return files

    @cached_property
    def _types(self) -> dict[str, str]:
        """The columns that are used, features first, with their types in all CSV files."""
        first, *others = self._files
        header = self._header(first)
        for file in others:
            if differing := sorted({*header} ^ {*self._header(file)}):
                raise ValueError(f"{file} must have the columns of {first}; {differing} differ.")
        for name in ("target", "sample_weight", "columns"):
            if missing := {*_as_list(value := getattr(self, name))} - {*header}:
                has = f"has the columns {header} (sep={self.sep!r}), not {sorted(missing, key=str)}"
                raise ValueError(
                    f"{name}={validation.shown(value)} must name columns, but {first} {has}."
                )
        columns = [name for name in _as_list(self.columns) or header if name not in self._named]
        if not columns:
            used = f"columns={validation.shown(self.columns)} leave no columns but {self._named}"
            raise ValueError(f"{used} of {first}, which has {header}; X must have some.")
        columns += self._named
        return self._surveyed(columns)

    def _surveyed(self, columns: list[str]) -> dict[str, str]:
        """Return the types of columns in all CSV files; warn of those that look misread.

        Of Parquet files, which have types, the targets alone are read.
        """
        n_missing = dict.fromkeys(_as_list(self.target), 0)
        has_types = _is_parquet(self._files[0])
        found: dict[str, set[str]] = {name: set() for name in columns}
        first_missing: dict[str, str] = {}
        decimals = {} if has_types else {name: self._other_decimal for name in columns}
        for file, column in self._columns_of_files([*n_missing] if has_types else columns):
            name = column.name
            found[name].add(column.dtype.name)
            if name in n_missing and len(rows := column.index[column.isna()]):
                n_missing[name] += len(rows)
                first_missing.setdefault(name, f"row {rows[0]} of {file}")
            if name in decimals and not _are_numbers(column, decimals[name]):
                del decimals[name]
        types = {name: _common_type(dtypes) for name, dtypes in found.items()}
        text = [name for name in columns if found[name] and types[name] == "str"]
        self._warn_of_decimals([name for name in text if name in decimals])
        for name, first in first_missing.items():
            if name in text or isinstance(self.target, str):  # else labels that are unknown
                self._warn_of_labels(name, n_missing[name], first)
        return types

    @property
    def _other_decimal(self) -> str:
        """The decimal mark that a file may have in truth."""
        return "," if self.decimal == "." else "."

    def _warn_of_decimals(self, columns: list[str]) -> None:
        if columns:
            warnings.warn(
                f"With decimal={self.decimal!r} the columns {columns} of {self.paths!r} are text; "
                f"with decimal={self._other_decimal!r} they would be numbers.",
                UserWarning,
                stacklevel=2,
            )

    def _warn_of_labels(self, name: str, n_missing: int, first: str) -> None:
        """Warn of the labels that are missing in a column."""
        remedy = "leave these rows out of the files"
        if self.keep_default_na and not _is_parquet(self._files[0]):
            remedy += ", or if NA or the like is a label, pass keep_default_na=False"
        warnings.warn(
            f"{n_missing} labels in the column {name!r} of {self.paths!r} are missing, the first "
            f"one in {first} (counted from 0, without the header): {remedy}.",
            UserWarning,
            stacklevel=2,
        )

    def _header(self, file: str) -> list[str]:
        """Return the names of a file's columns."""
        with self._noting(file):
            if _is_parquet(file):
                return _dataset(file).schema.empty_table().to_pandas().columns.tolist()
            return self._read_csv(file, nrows=0).columns.tolist()

    def _frames(self, file: str, columns: list[str], types: Any = None) -> Iterator[Any]:
        """Yield the rows of a file as DataFrames that have some, indexed by their numbers."""
        rows, start = self.rows or _default_rows(len(columns)), 0
        with self._noting(file):
            if _is_parquet(file):
                ahead = {"batch_readahead": 0, "fragment_readahead": 0, "use_threads": False}
                batches = _dataset(file).to_batches(columns=columns, batch_size=rows, **ahead)
                for frame in (batch.to_pandas() for batch in batches if len(batch)):
                    frame.index = range(start, start := start + len(frame))
                    yield frame
            else:
                with self._read_csv(file, usecols=columns, dtype=types, chunksize=rows) as frames:
                    yield from filter(len, frames)

    def _columns_of_files(self, columns: list[str]) -> Iterator[tuple[str, Any]]:
        """Yield each file with Series of some of its rows, one of each column at a time."""
        for file in self._files:
            for frame in self._frames(file, columns):
                yield from ((file, column) for _, column in frame.items())

    def _read_csv(self, file: str, **options: Any) -> Any:
        import pandas as pd

        options |= {"index_col": False, "low_memory": False, "na_values": [""]}
        return pd.read_csv(file, **self._dialect, **options)

    def _noting(self, file: str) -> Any:
        """Add to any error the file, and how a CSV file is read."""
        how = "" if _is_parquet(file) else f", read with {self._dialect}"
        return validation.noting(f"In {file}{how}.")

    @property
    def _dialect(self) -> dict[str, Any]:
        """What `pandas.read_csv` is told of CSV files."""
        names = ("sep", "decimal", "encoding", "keep_default_na")
        return {name: getattr(self, name) for name in names}


def _are_numbers(column: Any, mark: str) -> bool:
    """Return whether the values of a column could be numbers with this decimal mark.

    Numbers that were read with the other mark could be if they are whole, text if some of it has
    the mark: without any it holds integers that are too large.
    """
    values = column.dropna()
    if values.dtype.kind in "iuf":
        return bool((values % 1 == 0).all())
    text, dot = values.astype(str), re.escape(mark)
    number = rf"\s*[+-]?(\d+{dot}?\d*|{dot}\d+)([eE][+-]?\d+)?\s*"
    return bool(text.str.fullmatch(number).all() and text.str.contains(mark, regex=False).any())


def _common_type(dtypes: set[str]) -> str:
    """Return the type of a column whose chunks pandas reads as these."""
    if dtypes and dtypes <= {"int64", "uint64", "float64"}:
        return np.result_type(*dtypes).name
    return "bool" if dtypes == {"bool"} else "str"


def _dataset(file: str) -> Any:
    """Return a Parquet file as a `pyarrow.dataset.Dataset`."""
    try:
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow (the extra softreg[parquet]), which is not installed: "
            'python -m pip install "pyarrow>=14".'
        ) from error
    return dataset.dataset(file, format="parquet")


def _is_parquet(file: str) -> bool:
    return file.lower().endswith(_PARQUET)


def _files_at(path: str) -> list[str]:
    """Return a file, or those with known suffixes in a folder or of a glob pattern, sorted."""
    pattern = f"{glob.escape(path)}/**" if os.path.isdir(path) else path
    found = [path] if os.path.isfile(path) else sorted(glob.glob(pattern, recursive=True))
    files = [file for file in found if file.lower().endswith(_CSV + _PARQUET)]
    if not files:
        raise (ValueError if found else FileNotFoundError)(
            f"paths: {path!r} must be, hold or match files that end in one of {_CSV + _PARQUET}."
        )
    return files


def _as_list(value: Any) -> list:
    """Return several paths or names as a list, one alone in a list, None as an empty one."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [*value]
    return [] if value is None else [value]


def _check_rows(rows: int | None) -> None:
    if rows is not None:
        validation.check_integer("rows", rows, 1, ", or None for a million values")


def _default_rows(n_columns: int) -> int:
    """Return the number of rows of a chunk of about a million values."""
    return max(1, _DEFAULT_VALUES // max(1, n_columns))


def _sliceable(name: str, values: Any) -> Any:
    """Return values that can be sliced by rows: as they are with a shape, lists as arrays."""
    if values is None and name == "sample_weight":
        return None
    array = values if hasattr(values, "shape") else np.asarray(values)
    if not array.shape:
        or_none = " or None" if name == "sample_weight" else ""
        raise ValueError(
            f"{name}={values!r} must be an array{or_none}, with a value for each row, "
            "or a list of paths of .npy files."
        )
    return array


def _read_rows(array: Any, start: int, stop: int) -> Any:
    """Return some rows; of a memmap in C order a copy, which leaves no page of the file mapped."""
    is_mapped = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)
    # What is changed of a copy on write, mode "c", is not in the file.
    is_as_in_file = is_mapped and array.filename is not None and array.mode != "c"
    if is_as_in_file and array.flags.c_contiguous:
        row_size = int(np.prod(array.shape[1:]))
        offset = array.offset + start * row_size * array.dtype.itemsize
        count = (stop - start) * row_size
        values = np.fromfile(array.filename, array.dtype, count, offset=offset)
        return values.reshape(-1, *array.shape[1:])
    return getattr(array, "iloc", array)[start:stop]
