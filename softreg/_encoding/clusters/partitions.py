"""The partitions of Dask collections: delayed, side by side, or computed."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import sparse

from softreg._encoding.validation import noting


def is_collection(values: Any) -> bool:
    """Return whether values are a collection of Dask's; Dask is not imported for it."""
    dask = sys.modules.get("dask.base")
    return dask is not None and dask.is_dask_collection(values)


def check_in_memory(**arguments: Any) -> None:
    """Raise a TypeError if an argument is a collection of Dask's."""
    for name, values in arguments.items():
        if is_collection(values):
            raise TypeError(
                f"{name} is a {_kind(values)}, and only fit, regularization_path, score, infer and "
                "the predictions of SoftmaxRegression and SigmoidRegression take those of Dask: "
                f"pass {name}.compute(), if it fits into memory."
            )


@contextmanager
def current_client() -> Iterator[Any]:
    """Give the current client of a Dask cluster, None if there is none.

    A task that asks for it leaves its thread to other tasks meanwhile: it would wait for them.
    """
    distributed: Any = sys.modules.get("distributed")
    client = None if distributed is None else _found(distributed.get_client)
    if client is not None and client.asynchronous:
        raise TypeError(
            f"The current Dask client, {client}, is asynchronous, and fit is not: use one made "
            "with asynchronous=False."
        )
    if client is None or _found(distributed.get_worker) is None:
        yield client
        return
    with distributed.worker_client() as client:
        yield client


def _found(get: Callable[[], Any]) -> Any:
    """Return the current client or worker, None if there is none."""
    try:
        return get()
    except ValueError:
        return None


# The arguments beside X, in the order of `fit`.
_COLUMNS = "y", "sample_weight", "offset"


def partitions(X: Any, *columns: Any) -> list[list[Any]]:
    """Return the partitions of X, and of what `fit` takes beside it, as delayed values, in lists.

    An argument that is None or a number is the same in each. ValueError if they are not cut alike.
    """
    check_table(X)
    delayed = [_delayed("X", X, X)]
    for name, values in zip(_COLUMNS, columns, strict=False):
        if values is None or isinstance(values, numbers.Number):
            delayed.append([values] * len(delayed[0]))
            continue
        check_column(name, values, X)
        delayed.append(_delayed(name, values, X))
        check_cut_alike(name, len(delayed[-1]), len(delayed[0]))
    return [list(parts) for parts in zip(*delayed, strict=True)]


def check_table(X: Any) -> None:
    """Raise a ValueError if X is no Dask DataFrame or array of two dimensions."""
    ndim = _dimensions(X)
    if not is_collection(X) or ndim != 2:
        shape = "" if ndim is None else f" of {ndim} dimension(s)"
        raise ValueError(f"X is a {_kind(X)}{shape}; it must be a Dask DataFrame or 2D array.")
    if np.isnan(X.shape[1]):
        raise ValueError(
            "X has an unknown number of columns: select them by their places, or call "
            "X.compute_chunk_sizes() before."
        )


def check_column(name: str, values: Any, X: Any) -> None:
    """Raise a TypeError if an argument beside X is no Dask array, Series or DataFrame."""
    if not is_collection(values) or _dimensions(values) not in (1, 2):
        raise TypeError(
            f"{name} is a {_kind(values)} and X a {_kind(X)}: pass a Dask collection with the "
            "partitions of X, such as dask.array.from_array(values, chunks=X.chunks[0])."
        )


def check_cut_alike(name: str, count: int, count_of_X: int) -> None:
    """Raise a ValueError if an argument has another number of partitions than X."""
    if count != count_of_X:
        raise ValueError(
            f"X has {count_of_X} partitions and {name} has {count}: take both from one "
            "collection, or repartition one of them as the other is."
        )


def _dimensions(values: Any) -> int | None:
    """Return how many dimensions values have, None if they have none, as bags and Delayed."""
    ndim = getattr(values, "ndim", None)
    return ndim if isinstance(ndim, int) else None


def _delayed(name: str, values: Any, X: Any) -> list[Any]:
    """Return the partitions of an argument, cut as X is where both are arrays of known sizes."""
    chunks, like = getattr(values, "chunks", None), getattr(X, "chunks", None)
    if chunks is None:  # a DataFrame or Series
        # As it is: optimised, narrow columns of Parquet files would share partitions.
        return values.to_delayed(optimize_graph=False)
    if values.ndim == 2 and len(chunks[1]) > 1:
        values = values.rechunk({1: -1})
    if like is not None and not np.isnan(sum(chunks[0] + like[0])):
        if sum(chunks[0]) != sum(like[0]):
            raise ValueError(f"X has {sum(like[0])} rows and {name} has {sum(chunks[0])}.")
        values = values.rechunk({0: like[0]})
    return values.to_delayed(optimize_graph=True).ravel().tolist()


def check_same_rows(X: Any, *columns: Any) -> None:
    """Raise a ValueError if arguments have other rows than X, or the same in another order."""
    n = X.shape[0]
    for name, values in zip(_COLUMNS, columns, strict=False):
        if values is None or isinstance(values, numbers.Number):
            continue
        if values.shape[0] != n:
            raise ValueError(f"X has {n} rows and {name} has {values.shape[0]}.")
        if hasattr(X, "iloc") and hasattr(values, "iloc") and not X.index.equals(values.index):
            row = int(np.argmax(X.index.to_numpy() != values.index.to_numpy()))
            raise ValueError(
                f"{name} has other rows than X, or in another order: in row {row} the index of X "
                f"is {X.index[row]!r} and that of {name} {values.index[row]!r}. Take both from one "
                "collection."
            )


def in_memory(X: Any, *columns: Any) -> list[Any]:
    """Return collections, computed by Dask's scheduler, in the memory of this process."""
    from dask import compute

    (parts,) = compute(partitions(X, *columns))
    for number, part in enumerate(parts):
        with noting_partition(number):
            check_same_rows(*part)
    return [_joined(list(values)) for values in zip(*parts, strict=True)]


def _joined(parts: list[Any]) -> Any:
    """Return the partitions of an argument as one."""
    if parts[0] is None or isinstance(parts[0], numbers.Number):
        return parts[0]
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts)
    return sparse.vstack(parts, "csr") if sparse.issparse(parts[0]) else np.concatenate(parts)


def _kind(values: Any) -> str:
    return f"{type(values).__module__.partition('.')[0]} {type(values).__name__}"


def noting_partition(number: int) -> Any:
    """Return a context that adds to any error in which partition it was raised."""
    return noting(f"In partition {number} of X and y (the first one is 0).")
