"""Lazy collections: what a function makes of each partition, once somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding.clusters.partitions import (
    check_column,
    check_cut_alike,
    check_same_rows,
    check_table,
    is_collection,
    noting_partition,
    partitions,
)

# What a function makes of the X and the offset of some rows: an array or CSR, a row for each.
OfRows = Callable[[Any, Any], Any]
Method = TypeVar("Method", bound=Callable[..., Any])


def lazy_on_collections(method: Method) -> Method:
    """Have a prediction of a Dask collection be one of the same partitions, not computed yet."""

    @wraps(method)
    def predicted(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_collection(X):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        check_table(X)
        options = {**signature(method).bind(self, X, *args, **kwargs).arguments}
        del options["self"], options["X"]
        offset, names = options.pop("offset", None), None if options else self.classes_
        of_rows = _Prediction(predicted, fitted_alone(self), options)
        return lazily(of_rows, X, offset, of_rows(example_row(X), None), names)

    return cast(Method, predicted)


@dataclass(frozen=True, eq=False)
class _Prediction:
    """What a method of a fitted model, with some options, makes of rows."""

    method: Callable[..., Any]
    model: Any
    options: dict[str, Any]

    def __call__(self, X: Any, offset: Any) -> Any:
        """Return the predictions of some rows, with their offset."""
        return self.method(self.model, X, offset=offset, **self.options)


def unfitted_alone(estimator: Any) -> Any:
    """Return an unfitted copy without callbacks, to be sent to another process."""
    return type(estimator)(**estimator.get_params(deep=False))


def fitted_alone(estimator: Any) -> Any:
    """Return a copy without callbacks, to be sent to another process."""
    fitted = {name: value for name, value in vars(estimator).items() if name[-1] == "_"}
    alone = unfitted_alone(estimator)
    vars(alone).update(fitted)
    return alone


def example_row(X: Any) -> Any:
    """Return a row of zeros with the columns and the precision of a collection."""
    dtypes = [X.dtype] if hasattr(X, "chunks") else list(X.dtypes)
    are_numpy = all(isinstance(dtype, np.dtype) for dtype in dtypes)
    is_single = are_numpy and np.result_type(*dtypes) == np.float32
    dtype = np.float32 if is_single else np.float64
    row = np.zeros((1, X.shape[1]), dtype)
    if hasattr(X, "chunks"):
        return row
    import pandas as pd

    return pd.DataFrame(row, columns=X.columns)


def lazily(function: OfRows, X: Any, offset: Any, example: Any, names: NDArray | None) -> Any:
    """Return a collection of what a function makes of each partition of X and its offset.

    `example` is what it makes of a row, (1,) or (1, q). It is an array if X is; of a DataFrame a
    Series, or a DataFrame whose columns have these names (q,), or numbers.
    """
    if hasattr(X, "chunks"):
        return _lazy_array(function, X, offset, example[:0])
    meta = _as_table(example, None, names)[:0].set_axis(X._meta.index)
    of_frame = _OfFrame(function, names, meta)
    others = [] if offset is None else [_as_frame(offset, X)]
    return X.map_partitions(of_frame, *others, meta=meta, align_dataframes=False)


def computed_parts(function: Callable[..., Any], *data: Any) -> list[Any]:
    """Return what a function makes of the partitions of X, y and so on that have rows."""
    from dask import compute, delayed

    of_part = delayed(_OfPart(function), pure=False)
    parts = [of_part(number, *part) for number, part in enumerate(partitions(*data))]
    (computed,) = compute(parts)
    with_rows = [part for part in computed if part is not None]
    if not with_rows:
        raise ValueError(f"X has no rows: all {len(parts)} partitions are empty.")
    return with_rows


@dataclass(frozen=True, eq=False)
class _OfPart:
    """A function of a partition, None of one without rows."""

    function: Callable[..., Any]

    def __call__(self, number: int, X: Any, *columns: Any) -> Any:
        with noting_partition(number):
            check_same_rows(X, *columns)
            return self.function(X, *columns) if X.shape[0] else None


def _lazy_array(function: OfRows, X: Any, offset: Any, empty: Any) -> Any:
    from dask import array, delayed

    of_array = delayed(_OfArray(function, empty), pure=True)
    blocks = [
        array.from_delayed(
            of_array(number, part, offset_part), (rows, *empty.shape[1:]), meta=empty
        )
        for number, (rows, (part, _, _, offset_part)) in enumerate(
            zip(X.chunks[0], partitions(X, None, None, offset), strict=True)
        )
    ]
    return array.concatenate(blocks)


def _as_frame(offset: Any, X: Any) -> Any:
    """Return an offset as a DataFrame or Series of the partitions of X."""
    from dask import dataframe

    check_column("offset", offset, X)
    is_array = hasattr(offset, "chunks")
    count = offset.numblocks[0] if is_array else offset.npartitions
    check_cut_alike("offset", count, X.npartitions)
    return dataframe.from_dask_array(offset, index=X.index) if is_array else offset


@dataclass(frozen=True, eq=False)
class _OfArray:
    """A function of a block of an array, which has no rows to make anything of if it is empty."""

    function: OfRows
    empty: Any

    def __call__(self, number: int, X: Any, offset: Any) -> Any:
        with noting_partition(number):
            return self.function(X, offset) if X.shape[0] else self.empty


@dataclass(frozen=True, eq=False)
class _OfFrame:
    """A function of a partition of a DataFrame, whose results get its index."""

    function: OfRows
    names: NDArray | None
    empty: Any

    def __call__(self, X: Any, offset: Any = None) -> Any:
        check_same_rows(X, None, None, offset)
        return _as_table(self.function(X, offset), X.index, self.names) if len(X) else self.empty


def _as_table(values: Any, index: Any, names: NDArray | None) -> Any:
    """Return an array or CSR as a Series or DataFrame; objects that are texts are texts of it."""
    import pandas as pd

    if values.ndim == 1:
        return pd.Series(values, index).infer_objects()
    dense = values if isinstance(values, np.ndarray) else values.toarray()
    return pd.DataFrame(dense, index, names).infer_objects()
