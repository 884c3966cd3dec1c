"""Which rows an X makes: of an ndarray, of CSR, or of an array on a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import Features, PerRow, mostly_zeros, stacked
from softreg._rows.coordinates import Coordinates
from softreg._rows.devices.arrays import DeviceArray
from softreg._rows.devices.rows import DeviceRows
from softreg._rows.memory import DenseRows, MemoryRows, RowTerms, SparseRows
from softreg._rows.targets import Targets
from softreg._rows.threads import Threads


def memory_rows(
    X: Features,
    Y: Targets,
    weight: PerRow | None,
    offset: NDArray | None,
    coordinates: Coordinates,
    threads: Threads,
    weight_unit: float = 1.0,
) -> MemoryRows:
    """Return the rows of an X: in CSR if it is sparse, or an ndarray of nearly all zeros."""
    if sparse.issparse(X) or mostly_zeros(n_nonzeros(X), X.size):
        X = sparse.csr_array(X)
    kind = _kind_of(X)
    return kind(X, Y, weight, offset, coordinates, threads, X.dtype, weight_unit)


def joined_memory(parts: list[MemoryRows]) -> MemoryRows:
    """Return the rows of parts that have all else in common, one part after another."""
    first, has_offset = parts[0], parts[0].offset is not None
    return first.replaced(
        X=stacked([part.X for part in parts]),
        Y=first.Y.joined([part.Y for part in parts[1:]]),
        weight=stacked([part.weights for part in parts]),
        offset=stacked([part.offset for part in parts]) if has_offset else None,
    )


def single_pass_rows(
    X: Features,
    terms: RowTerms,
    coordinates: Coordinates,
    threads: Threads,
    weight_unit: float = 1.0,
) -> MemoryRows:
    """Return the rows of an X as it is, for a single pass over them."""
    kind, dtype = _kind_of(X), X.dtype
    return kind(X, *terms, coordinates, threads, dtype, weight_unit, single_pass=True)


def n_nonzeros(X: NDArray | DeviceArray) -> int:
    """Return how many values of X are not zero; all of those on a device, where X stays dense."""
    return X.size if isinstance(X, DeviceArray) else int(np.count_nonzero(X))


def _kind_of(X: Features) -> type[MemoryRows]:
    if sparse.issparse(X):
        return SparseRows
    return DeviceRows if isinstance(X, DeviceArray) else DenseRows
