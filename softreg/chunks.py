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

__all__ = ["Arrays", "Csv", "NpyFiles", "NpzFiles", "Parquet"]

# Checking a chunk takes about half a millisecond whatever its size; a million values (8 MB of
# doubles) take several for the products of a pass (measured), and are small beside any memory.
_VALUES = 2**20

Path = str | PathLike[str]


@dataclass(frozen=True)
class Arrays:
    """Chunks of arrays, above all of those that lie in a file.

    Of an `np.memmap` in C order, each chunk is read anew, so that pages which were read do not pile
    up in memory; whatever else can be sliced by rows, such as an array of h5py or zarr, or a memmap
    in Fortran order, is sliced.

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
        lengths = [part.shape[0] for part in self._parts]
        if len(set(lengths)) > 1:
            raise ValueError(f"X, y (and sample_weight) have {lengths} rows; they must be as many.")

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        n, step = self.X.shape[0], self.rows or _default_rows(int(np.prod(self.X.shape[1:])))
        for start in range(0, n, step):
            yield tuple(_read(part, start, min(start + step, n)) for part in self._parts)

    @property
    def _parts(self) -> list:
        return [part for part in (self.X, self.y, self.sample_weight) if part is not None]


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
        lengths = [len(paths) for paths in self._given]
        if len(set(lengths)) > 1:
            raise ValueError(f"X, y (and sample_weight) name {lengths} files; it must be as many.")

    def __iter__(self) -> Iterator[tuple]:
        """Yield the chunks, from the first one on."""
        for paths in zip(*self._given, strict=True):
            files = (np.load(path, mmap_mode="r") for path in paths)
            yield from Arrays(*files, rows=self.rows)

    @property
    def _given(self) -> list[Any]:
        return [of for of in (self.X, self.y, self.sample_weight) if of is not None]


@dataclass(frozen=True)
class NpzFiles:
    """Chunks of ``.npz`` files, a file each, as `np.savez` writes them.

    Parameters
    ----------
    paths : iterable of paths
        Of files that hold arrays of the names below, each small enough for memory.
    X, y : str, default="X", "y"
    sample_weight : str, default="sample_weight"
        An array of this name need not be there.

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
        used = self._targets + self._weights
        if len(set(used)) < len(used):
            raise ValueError(
                f"target={self.target!r} and sample_weight={self.sample_weight!r} must name each "
                "column once: no column is both, or two targets."
            )

    @property
    def _targets(self) -> list:
        return [self.target] if isinstance(self.target, str | int) else [*self.target]

    @property
    def _weights(self) -> list:
        return [] if self.sample_weight is None else [self.sample_weight]

    @abstractmethod
    def _frames(self) -> Iterator[Any]:
        """Yield the rows as DataFrames."""

    def __iter__(self) -> Iterator[tuple]:
        single, used = isinstance(self.target, str | int), self._targets + self._weights
        for frame in self._frames():
            missing = [name for name in used if name not in frame.columns]
            if missing:
                raise ValueError(
                    f"{self.path} has no columns {missing}; target and sample_weight must be among "
                    f"{frame.columns.tolist()}."
                )
            X = frame.drop(columns=used)
            if not X.shape[1]:
                raise ValueError(f"{self.path} has no columns but {used}; X must have some.")
            y = frame[self.target if single else self._targets]
            yield X, y, *(frame[name] for name in self._weights)


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
        or, when the file is read, a column is not there, or there are none but those named.

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
        column is not there, or there are none but those named.
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
    right = isinstance(rows, int | np.integer) and not isinstance(rows, bool) and rows >= 1
    if rows is not None and not right:
        raise ValueError(f"rows={rows!r} must be an integer >= 1, or None for a million values.")


def _default_rows(n_columns: int) -> int:
    return max(1, _VALUES // max(1, n_columns))


def _sliceable(name: str, of: Any) -> Any:
    """Return what can be sliced by rows: anything with a shape, lists as arrays."""
    if of is None and name == "sample_weight":
        return None
    array = of if hasattr(of, "shape") else np.asarray(of)
    if not array.shape:
        or_none = " or None" if name == "sample_weight" else ""
        raise ValueError(f"{name}={of!r} must be an array{or_none}, with a value for each row.")
    return array


def _paths(name: str, given: Any) -> list:
    """Return paths that can be read again and again."""
    if isinstance(given, str | bytes | PathLike) or not isinstance(given, Iterable):
        raise ValueError(f"{name}={given!r} must be a list of paths, such as [path].")
    return [*given]


def _read(part: Any, start: int, stop: int) -> Any:
    """Return some rows, those of a file as a copy that leaves no page of it mapped."""
    of_file = isinstance(part, np.memmap) and isinstance(part.base, mmap.mmap)
    # What is changed of a copy on write, mode "c", is not in the file.
    same = of_file and part.filename is not None and part.mode != "c"
    if same and part.flags.c_contiguous:
        a_row = int(np.prod(part.shape[1:]))
        offset = part.offset + start * a_row * part.dtype.itemsize
        count = (stop - start) * a_row
        values = np.fromfile(part.filename, part.dtype, count, offset=offset)
        return values.reshape(-1, *part.shape[1:])
    return getattr(part, "iloc", part)[start:stop]
