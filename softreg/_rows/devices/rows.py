"""Rows whose X is an array on a device: blocks stay there, and sums over them come to the host.

Targets, weights and offsets are on the host, as of all rows, and go to the device with their block.
Coefficients go there in each pass, and sums come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from softreg._rows.arrays import Places, RowLosses, Scores, Store
from softreg._rows.base import RowKernel, SumKernel, slices
from softreg._rows.devices.arrays import Device, DeviceArray
from softreg._rows.memory import DenseRows
from softreg._rows.moments import DenseColumns, Moments
from softreg._rows.targets import Targets
from softreg._rows.threads import Limits

# A standardised copy, and probabilities, are kept if each takes no more of a card's free memory.
_KEPT_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class DeviceTargets:
    """The targets of a block on its device.

    Attributes
    ----------
    Y : DeviceArray (K, m)
    weights : DeviceArray (B, m) or None, how much rows weigh in each problem; None: one
    """

    Y: DeviceArray
    weights: DeviceArray | None

    @classmethod
    def from_targets(cls, targets: Targets, m: int, on: Device, dtype: DTypeLike) -> DeviceTargets:
        """Return the targets of m rows on the device: of one class each, their numbers go there."""
        if (codes := targets.class_of_row) is not None:
            smallest = np.min_scalar_type(-targets.n_scores)  # most often a byte for each row
            classes = np.arange(targets.n_scores, dtype=smallest)[:, None]
            return cls((on.put(codes.astype(smallest)) == classes).astype(dtype), None)
        Y = np.zeros((targets.n_scores, m), dtype)
        targets.subtract_targets_inplace(Y)
        return cls(on.put(np.negative(Y, out=Y)), _put(targets.loss_weights(), on, dtype))

    def loss_weights(self) -> Any:
        return self.weights

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        loss -= (self.Y * Z).reshape(len(loss), -1, Z.shape[1]).sum(axis=1)

    def subtract_targets_inplace(self, P: Scores) -> None:
        P -= self.Y


class DeviceColumns(DenseColumns):
    """The columns of a `DeviceArray`.

    Where the device has no double precision, their sums are made on the host.
    """

    def _values(self, row: int) -> NDArray[np.float64]:
        return np.asarray(self.X[row]).astype(float)

    def _sums(
        self, shift: NDArray, unit: NDArray | None, rows: slice | Places
    ) -> NDArray[np.float64]:
        X, weights = self.X[rows], self.weights[rows]
        if X.on.has_double:
            weights = X.on.put(weights)
        else:
            X = np.asarray(X)
        return DenseColumns(X, weights)._sums(shift, unit, slice(None))


@dataclass(frozen=True, eq=False)
class DeviceRows(DenseRows):
    """Rows of a `DeviceArray`.

    One block after another is worked on, each as large as memory allows.
    """

    X: Any
    _columns_kind = DeviceColumns

    @property
    def on(self) -> Device:
        """Where X is."""
        return self.X.on

    def _block_slices(self) -> list[slice]:
        values = self.n * (self.coordinates.width + 3 * self.n_scores)
        return slices(self.n, min(self.n, max(1, -(-values // self.on.block_values))))

    @cached_property
    def _shares(self) -> list[list[slice]]:
        return [self._slices_with_weight]

    @cached_property
    def _limits(self) -> Limits:
        limits, free = self.threads.limits, self.on.free_bytes
        if free is None:
            return limits
        kept = int(_KEPT_SHARE * free)
        return replace(limits, kept_bytes=kept, kept_scores=kept // 8)

    def _block_terms(self, rows: slice | Places) -> Any:
        """Return the targets, weights and offsets of the block of some rows, on the device."""
        Y, *columns = self._terms(rows)
        targets = DeviceTargets.from_targets(Y, len(self.weights[rows]), self.on, self.dtype)
        return targets, *(_put(values, self.on, self.dtype) for values in columns)

    def _moments(self) -> Moments:
        with self._naming_memory():
            return super()._moments()

    def sum(self, kernel: SumKernel) -> tuple:
        with self._naming_memory():
            return tuple(np.asarray(value) for value in super().sum(kernel))

    def _map_blocks(self, kernel: RowKernel) -> list[NDArray]:
        with self._naming_memory():
            return [np.asarray(kernel(self.block(rows))) for rows in self._slices_with_weight]

    def map_rows(self, kernel: RowKernel) -> NDArray:
        with self._naming_memory():
            return super().map_rows(lambda block: np.asarray(kernel(block)))

    def in_dtype(self, dtype: type) -> Any:
        # What is to be proven in double precision is summed on the host where the device has none.
        if dtype == np.float64 and not self.on.has_double:
            return self.on_host().in_dtype(dtype)
        return super().in_dtype(dtype)

    def on_host(self) -> DenseRows:
        X = self.kept("X on the host", lambda: np.asarray(self.X))
        values = {field.name: getattr(self, field.name) for field in fields(DenseRows)}
        return DenseRows(**values | {"X": X, "score_stores": {}, "store": Store()})

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Any]:
        """Yield batches in the processor's memory: a step costs less than the way to a device."""
        for batch in super().batches(size, random):
            yield batch.on_host()

    @contextmanager
    def _naming_memory(self) -> Iterator[None]:
        """Raise a MemoryError that says what to do where the device has no memory left."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ != "OutOfMemoryError":
                raise
            nbytes, copied = self.X.size * self.X.dtype.itemsize, self.X.size * self.dtype.itemsize
            raise MemoryError(
                f"The memory of {self.on.device} is full: X takes {nbytes:,} bytes there, and its "
                f"standardised copy {copied:,}. Free some of it, or pass X in parts to fit_chunks."
            ) from error


def _put(values: NDArray | None, on: Device, dtype: DTypeLike) -> DeviceArray | None:
    """Return values in a dtype on a device; None where there are none."""
    return None if values is None else on.put(values.astype(dtype, copy=False))
