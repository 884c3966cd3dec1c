"""Ready-made sources of chunks for data that are larger than memory.

Each can be iterated again and again, as `fit_chunks` of the estimators asks, and yields (X, y) or
(X, y, sample_weight). Any function that returns an iterator of such tuples does as well.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from softreg._encoding import validation

__all__ = ["Arrays", "Csv", "NpyFiles", "NpzFiles", "Parquet"]

# Checking a chunk takes about half a millisecond whatever its size; a million values (8 MB of
# doubles) take several for the products of a pass (measured), and are small beside any memory.
_DEFAULT_VALUES = 2**20

Path = str | PathLike[str]


@dataclass(frozen=True)
class Arrays:
    """Chunks of arrays, in memory or in a file.

    An `np.memmap` in C order is read from its file chunk by chunk, so that pages that were read do
    not pile up in memory. Anything else that can be sliced by rows, such as an array of h5py or
    zarr, or a memmap in Fortran order, is sliced.

    Parameters
    ----------
    X : array-like, `np.memmap`, CSR array or DataFrame of shape (n_samples, n_features)
    y : array-like, `np.memmap`, Series or DataFrame of n_samples rows
    sample_weight : array or `np.memmap` of n_samples rows, default=None
    rows : int, default=None
        Rows of a chunk, >= 1. None is as many as make a million values.

    Raises
    ------
    ValueError
        If the arrays do not have equally many rows, X or y is None, or `rows` is not an integer
        >= 1.

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
            raise ValueError(f"X, y (and sample_weight) have {lengths} rows; they must be as many.")

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        n, step = self.X.shape[0], self.rows or _default_rows(int(np.prod(self.X.shape[1:])))
        for start in range(0, n, step):
            yield tuple(_read_rows(array, start, min(start + step, n)) for array in self._arrays)

    @property
    def _arrays(self) -> list:
        """X, y and sample_weight, without a None."""
        return [array for array in (self.X, self.y, self.sample_weight) if array is not None]


@dataclass(frozen=True)
class NpyFiles:
    """Chunks of pairs of ``.npy`` files, each file read a chunk at a time.

    Parameters
    ----------
    X, y : iterables of paths
        Of arrays (n_samples, n_features), and of the targets of the same rows.
    sample_weight : iterable of paths, default=None
    rows : int, default=None
        Most rows of a chunk, >= 1. None is as many as make a million values.

    Raises
    ------
    ValueError
        If there are not equally many paths, or one alone instead of a list; `rows` is not an
        integer >= 1; or, when they are read, the arrays of a pair do not have equally many rows or
        hold Python objects.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import NpyFiles
    >>> folder = Path(tempfile.mkdtemp())
    >>> for part in range(3):
    ...     np.save(folder / f"X{part}.npy", np.random.default_rng(part).normal(size=(20, 2)))
    ...     np.save(folder / f"y{part}.npy", np.arange(20) % 2)
    >>> source = NpyFiles(sorted(folder.glob("X*.npy")), sorted(folder.glob("y*.npy")))
    >>> SoftmaxRegression().fit_chunks(source).classes_
    array([0, 1])
    """

    X: Iterable[Path]
    y: Iterable[Path]
    sample_weight: Iterable[Path] | None = None
    _: KW_ONLY
    rows: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_rows(self.rows)
        for name in ("X", "y", "sample_weight"):
            if name != "sample_weight" or self.sample_weight is not None:
                object.__setattr__(self, name, _paths(name, getattr(self, name)))
        lengths = [len(paths) for paths in self._path_lists]
        if len(set(lengths)) > 1:
            raise ValueError(f"X, y (and sample_weight) name {lengths} files; it must be as many.")

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        for paths in zip(*self._path_lists, strict=True):
            files = (np.load(path, mmap_mode="r") for path in paths)
            yield from Arrays(*files, rows=self.rows)

    @property
    def _path_lists(self) -> list[Any]:
        """The paths of X, y and sample_weight, without a None."""
        return [paths for paths in (self.X, self.y, self.sample_weight) if paths is not None]


@dataclass(frozen=True)
class NpzFiles:
    """Chunks of ``.npz`` files, a file each, as `np.savez` writes them.

    Parameters
    ----------
    paths : iterable of paths
        Of files that hold arrays of the names below, each small enough for memory.
    X, y : str, default="X", "y"
    sample_weight : str, default="sample_weight"
        Files without an array of this name have no weights.

    Raises
    ------
    ValueError
        If `paths` is one path alone.
    KeyError
        When they are read, if a file does not hold an array of one of the names.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import NpzFiles
    >>> folder = Path(tempfile.mkdtemp())
    >>> for part in range(3):
    ...     X = np.random.default_rng(part).normal(size=(20, 2))
    ...     np.savez(folder / f"{part}.npz", X=X, y=np.arange(20) % 2)
    >>> SoftmaxRegression().fit_chunks(NpzFiles(sorted(folder.glob("*.npz")))).classes_
    array([0, 1])
    """

    paths: Iterable[Path]
    _: KW_ONLY
    X: str = "X"
    y: str = "y"
    sample_weight: str = "sample_weight"

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "paths", _paths("paths", self.paths))

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        for path in self.paths:
            with np.load(path) as arrays:
                missing = [name for name in (self.X, self.y) if name not in arrays]
                if missing:
                    raise KeyError(f"{path} has no arrays {missing}; it holds {[*arrays]}.")
                names = [self.X, self.y, *({self.sample_weight} & {*arrays})]
                chunk = tuple(arrays[name] for name in names)
            yield chunk


@dataclass(frozen=True)
class _Table(ABC):
    """A table of which some columns are targets, one may be weights, and the others are X."""

    path: Any
    target: str | int | Sequence[str | int]
    _: KW_ONLY
    sample_weight: str | int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_rows(self.rows)
        named = self._named_columns
        if len(set(named)) < len(named):
            raise ValueError(
                f"target={self.target!r} and sample_weight={self.sample_weight!r} must name each "
                "column once: no column is both, or two targets."
            )

    @property
    def _target_columns(self) -> list:
        return [self.target] if isinstance(self.target, str | int) else [*self.target]

    @property
    def _weight_columns(self) -> list:
        return [] if self.sample_weight is None else [self.sample_weight]

    @property
    def _named_columns(self) -> list:
        """The columns that are not X."""
        return self._target_columns + self._weight_columns

    @abstractmethod
    def _frames(self) -> Iterator[Any]:
        """Yield the rows as DataFrames."""

    def __iter__(self) -> Iterator[tuple]:
        named = self._named_columns
        target = self.target if isinstance(self.target, str | int) else self._target_columns
        for frame in self._frames():
            missing = [name for name in named if name not in frame.columns]
            if missing:
                raise ValueError(
                    f"{self.path} has no columns {missing}; target and sample_weight must be among "
                    f"{frame.columns.tolist()}."
                )
            X = frame.drop(columns=named)
            if not X.shape[1]:
                raise ValueError(f"{self.path} has no columns but {named}; X must have some.")
            yield X, frame[target], *(frame[name] for name in self._weight_columns)


@dataclass(frozen=True)
class Csv(_Table):
    """Chunks of a CSV file, through `pandas.read_csv`.

    X are DataFrames of all columns but the target and the weights.

    Parameters
    ----------
    path : path, or URL
    target : str or list of str
        A column's name, or its number if there is no header: its values are the labels. Several:
        probabilities of classes, or labels of `SigmoidRegression`, that have these names.
    sample_weight : str, default=None
        Name of the column of weights.
    rows : int, default=None
        Rows of a chunk, >= 1. None is as many as make a million values.
    options : dict, default={}
        Further arguments of `pandas.read_csv`, such as ``{"sep": ";", "usecols": [...]}``. Labels
        that look like numbers in some places and not in others need ``{"dtype": {target: str}}``.

    Raises
    ------
    ValueError
        If `rows` is not an integer >= 1, a column is named twice or `options` are not as described;
        or, when the file is read, a column is missing, or there are none but those named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import Csv
    >>> path = Path(tempfile.mkdtemp()) / "iris.csv"
    >>> load_iris(as_frame=True).frame.to_csv(path, index=False)
    >>> model = SoftmaxRegression().fit_chunks(Csv(path, "target", rows=50))
    >>> model.feature_names_in_[0], model.classes_
    ('sepal length (cm)', array([0, 1, 2]))
    """

    _: KW_ONLY
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        if not isinstance(self.options, Mapping):
            raise ValueError(
                f"options={self.options!r} must be a dict of arguments of pandas.read_csv."
            )
        if "chunksize" in self.options:
            chunksize = self.options["chunksize"]
            raise ValueError(f"options hold chunksize={chunksize!r}; pass rows={chunksize!r}.")

    def _frames(self) -> Iterator[Any]:
        import pandas as pd

        rows = self.rows
        if rows is None:
            rows = _default_rows(pd.read_csv(self.path, **{**self.options, "nrows": 0}).shape[1])
        with pd.read_csv(self.path, **{**self.options, "chunksize": rows}) as frames:
            yield from frames


@dataclass(frozen=True)
class Parquet(_Table):
    """Chunks of a Parquet file or data set, through pyarrow (the extra ``parquet``).

    X are DataFrames of all columns but the target and the weights. Row groups are read one at a
    time; write them no larger than fits well in memory.

    Parameters
    ----------
    path : path of a file or folder, list of files, or anything of `pyarrow.dataset.dataset`
    target : str or list of str
        A column's name: its values are the labels. Several: probabilities of classes, or labels
        of `SigmoidRegression`, that have these names.
    sample_weight : str, default=None
        Name of the column of weights.
    rows : int, default=None
        Most rows of a chunk, >= 1. None is as many as make a million values.
    columns : list of str, default=None
        The columns to read, target and weights among them; None: all.

    Raises
    ------
    ValueError
        If `rows` is not an integer >= 1 or a column is named twice; or, when the data are read, a
        column is missing, or there are none but those named.
    ImportError
        When the data are read, if pyarrow is not installed.

    Examples
    --------
    >>> from softreg import SoftmaxRegression
    >>> from softreg.chunks import Parquet
    >>> source = Parquet("flights/", target="delayed", rows=20_000)
    >>> model = SoftmaxRegression().fit_chunks(source)  # doctest: +SKIP
    """

    _: KW_ONLY
    columns: Sequence[str] | None = None

    def _frames(self) -> Iterator[Any]:
        try:
            from pyarrow import dataset
        except ImportError as error:
            raise ImportError(
                "Parquet needs pyarrow, which is not installed: pip install 'softreg[parquet]'."
            ) from error
        table = dataset.dataset(self.path, format="parquet")
        names = table.schema.names if self.columns is None else [*self.columns]
        batches = table.to_batches(
            columns=names,
            batch_size=self.rows or _default_rows(len(names)),
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
        )
        return (batch.to_pandas() for batch in batches)


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
        raise ValueError(f"{name}={values!r} must be an array{or_none}, with a value for each row.")
    return array


def _paths(name: str, paths: Any) -> list:
    """Return paths as a list, which can be read again and again."""
    if isinstance(paths, str | bytes | PathLike) or not isinstance(paths, Iterable):
        raise ValueError(f"{name}={paths!r} must be a list of paths, such as [path].")
    return [*paths]


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
