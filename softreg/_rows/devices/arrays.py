"""Arrays on a device, which NumPy's functions and operators compute with where they are.

`DeviceArray` answers NumPy's protocols (its enhancement proposals 13 and 18) with the functions of
the array API standard, so that kernels, links and blocks are written once, for NumPy's arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from softreg._rows.devices import functions
from softreg._rows.devices.functions import Function, dtype_name

# Values of a block: 32 MB of doubles, or doubles that take this share of a card's free memory.
_BLOCK_VALUES, _BLOCK_SHARE = 2**22, 1 / 16
# Libraries whose functions write into `out`, which the standard does not know.
_WRITING_LIBRARIES = ("torch", "cupy")


@dataclass(frozen=True)
class Device:
    """A device, and the library whose arrays lie on it.

    Attributes
    ----------
    xp : module of the array API standard's functions
    device : the library's name of the device
    has_double : bool, whether it computes in double precision
    """

    xp: ModuleType
    device: Any
    has_double: bool

    @classmethod
    def of(cls, array: Any) -> Device:
        """Return the device of an array of any library that array-api-compat knows."""
        import array_api_compat

        xp, device = array_api_compat.array_namespace(array), array_api_compat.device(array)
        floats = xp.__array_namespace_info__().dtypes(device=device, kind="real floating")
        return cls(xp, device, "float64" in floats)

    @property
    def writes_out(self) -> bool:
        """Whether functions write into `out`."""
        return any(name in self.xp.__name__ for name in _WRITING_LIBRARIES)

    @property
    def free_bytes(self) -> int | None:
        """How much memory is free on a card; None: not known, or it is the processor's."""
        if not hasattr(self.xp, "cuda"):
            return None
        if "cupy" in self.xp.__name__:
            return int(self.device.mem_info[0] + self.xp.get_default_memory_pool().free_bytes())
        if self.device.type != "cuda":
            return None
        cuda = self.xp.cuda
        idle = cuda.memory_reserved(self.device) - cuda.memory_allocated(self.device)
        return int(cuda.mem_get_info(self.device)[0] + idle)

    @property
    def block_values(self) -> int:
        """How many values are worked on at a time."""
        free = self.free_bytes
        return _BLOCK_VALUES if free is None else max(_BLOCK_VALUES, int(_BLOCK_SHARE * free / 8))

    def has_dtype(self, dtype: np.dtype) -> bool:
        """Return whether the library has numbers of a NumPy dtype."""
        return dtype.kind in "biuf" and hasattr(self.xp, dtype.name)

    def dtype(self, dtype: DTypeLike) -> Any:
        """Return the library's name of a NumPy dtype, single precision where it has no double."""
        name = np.dtype(dtype).name
        return getattr(self.xp, "float32" if name == "float64" and not self.has_double else name)

    def put(self, values: Any) -> DeviceArray:
        """Return numbers or an array of NumPy's on the device."""
        values = np.require(values, requirements=["C", "W"])
        dtype = self.dtype(values.dtype)
        # A copy also where the device is the processor: arrays are computed in.
        array = self.xp.asarray(values, dtype=dtype, device=self.device, copy=True)
        return DeviceArray(array, self)

    def fetch(self, array: Any) -> NDArray:
        """Return an array of the library as NumPy's."""
        import array_api_compat

        if str(array.dtype).endswith("bfloat16"):  # of which NumPy knows nothing
            array = self.xp.astype(array, self.xp.float32)
        if self.writes_out:
            return np.asarray(array_api_compat.to_device(array, "cpu"))
        return np.from_dlpack(array)


class DeviceArray(NDArrayOperatorsMixin):
    """An array on a device, in the place of an ndarray.

    What NumPy's functions make of it is on the device, too, if `functions` holds them; else it is
    computed on the host, as are totals there, `total += array`. `numpy.asarray` brings it there.

    Parameters
    ----------
    array : array of a library
    on : Device, where it is
    """

    # Before ndarrays and SciPy's sparse arrays, so that operators of these ask this class.
    __array_priority__: ClassVar[float] = 1e3

    def __init__(self, array: Any, on: Device) -> None:
        self.array, self.on = array, on

    # ---- What an ndarray says of itself ---------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Its dtype, as one of NumPy's."""
        return np.dtype(dtype_name(self.array))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self.on.fetch(self.array), dtype=dtype)

    # ---- NumPy's protocols ----------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        (out,) = options.pop("out", (None,))
        options.pop("casting", None)
        is_total = isinstance(out, np.ndarray) and any(value is out for value in inputs)
        is_on_host = is_total or "where" in options
        on_device = None if is_on_host else functions.UFUNCS.get((ufunc, method))
        return self._computed(on_device, getattr(ufunc, method), inputs, options, out)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        out = options.pop("out", None)
        return self._computed(functions.FUNCTIONS.get(function), function, inputs, options, out)

    def _computed(
        self, on_device: Function | None, on_host: Function, inputs: Any, options: Any, out: Any
    ) -> Any:
        """Return what a function makes of inputs, in `out` if that is given.

        `on_device` is the function there; if there is none, `on_host` computes it of copies.
        """
        if on_device is None:
            return _computed_on_host(on_host, inputs, options, out)
        arguments = _replaced(inputs, self._as_argument)
        if on_device in functions.WRITING and _is_written(out, arguments):
            on_device(self.on, *arguments, out=out.array, **options)
            return out
        result = DeviceArray(on_device(self.on, *arguments, **options), self.on)
        if out is None:
            return result
        out[...] = result
        return out

    def _as_argument(self, value: Any) -> Any:
        """Return a value as the library's functions take it: arrays on this device, dense."""
        if isinstance(value, DeviceArray):
            return value.array
        is_sparse: bool = sparse.issparse(value)
        value = value.toarray() if is_sparse else value
        return self.on.put(value).array if isinstance(value, np.ndarray | np.generic) else value

    # ---- Parts and methods ----------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        indices = key if isinstance(key, tuple) else (key,)
        axes = [axis for axis, index in enumerate(indices) if not isinstance(index, slice)]
        if len(axes) == 1 and _is_list(indices[axes[0]]):  # of places along an axis, or a mask
            (axis,) = axes
            places = np.arange(self.shape[axis])[_on_host(indices[axis])]
            rest = (*indices[:axis], slice(None), *indices[axis + 1 :])
            return np.take(self, places, axis=axis)[rest]
        standard = _standard_indices(indices, self.shape)
        if standard is None:
            return np.asarray(self)[_replaced(key, _on_host)]
        return DeviceArray(self.array[standard], self.on)

    def __setitem__(self, key: Any, values: Any) -> None:
        standard = _standard_indices(key if isinstance(key, tuple) else (key,), self.shape)
        if standard is None or None in standard:
            whole = np.array(self)
            whole[_replaced(key, _on_host)] = _on_host(values)
            standard, values = (...,), whole
        array = self._as_argument(values)
        if hasattr(array, "dtype"):
            array = self.on.xp.astype(array, self.array.dtype, copy=False)
        self.array[standard] = array

    @property
    def T(self) -> Any:
        """The array with its axes reversed."""
        return np.transpose(self)

    def astype(self, dtype: DTypeLike, copy: bool = True, **_: Any) -> Any:
        """Return the array in another dtype: in doubles, which the device lacks, on the host."""
        xp = self.on.xp
        if np.dtype(dtype) == np.float64 and not self.on.has_double:
            return np.asarray(self).astype(np.float64)
        return DeviceArray(xp.astype(self.array, self.on.dtype(dtype), copy=copy), self.on)

    def transpose(self, *axes: int) -> Any:
        """Return the array with its axes in this order."""
        return np.transpose(self, axes)

    def copy(self, order: str = "C") -> DeviceArray:
        """Return a copy."""
        return self.astype(self.dtype)

    def reshape(self, *shape: Any) -> Any:
        """Return the array in another shape."""
        return np.reshape(self, shape if len(shape) > 1 or np.ndim(shape[0]) == 0 else shape[0])

    def ravel(self) -> Any:
        """Return the values in one row."""
        return self.reshape(-1)

    def take(self, places: Any, axis: int | None = None) -> Any:
        """Return the values at some places along an axis."""
        return np.take(self, places, axis=axis)

    def sum(self, **options: Any) -> Any:
        """Return the sums along an axis."""
        return np.sum(self, **options)

    def mean(self, **options: Any) -> Any:
        """Return the means along an axis."""
        return np.mean(self, **options)

    def max(self, axis: int | None = None, **options: Any) -> Any:
        """Return the largest values along an axis."""
        return np.max(self, axis=axis, **options)

    def min(self, axis: int | None = None, **options: Any) -> Any:
        """Return the least values along an axis."""
        return np.min(self, axis=axis, **options)

    def any(self, axis: int | None = None) -> Any:
        """Return whether any is true, along an axis."""
        return np.any(self, axis=axis)

    def all(self, axis: int | None = None) -> Any:
        """Return whether all are true, along an axis."""
        return np.all(self, axis=axis)

    def argmax(self, axis: int | None = None) -> Any:
        """Return the places of the largest values along an axis."""
        return np.argmax(self, axis=axis)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __int__(self) -> int:
        return int(self.array)


def _replaced(values: Any, replace: Callable[[Any], Any]) -> Any:
    """Return arguments, also those in lists, tuples and dicts, with each value replaced."""
    if isinstance(values, dict):
        return {key: _replaced(value, replace) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(_replaced(value, replace) for value in values)
    return replace(values)


def _on_host(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, DeviceArray) else value


def _computed_on_host(function: Function, inputs: Any, options: dict[str, Any], out: Any) -> Any:
    """Return what a function of NumPy's makes of copies on the host, in `out` if that is given."""
    arguments, options = _replaced(inputs, _on_host), _replaced(options, _on_host)
    if out is None:
        return function(*arguments, **options)
    if isinstance(out, np.ndarray):
        return function(*arguments, out=out, **options)
    # Where `where` says no, `out` stays as it was.
    out[...] = function(*arguments, out=np.array(out), **options)
    return out


def _is_written(out: Any, arguments: Any) -> bool:
    """Return whether a library writes what it makes of arguments, value by value, into `out`.

    Libraries refuse other dtypes than those of the arguments, and stretch no shape, as NumPy does.
    """
    if not (isinstance(out, DeviceArray) and out.on.writes_out):
        return False
    arrays = [value for value in arguments if hasattr(value, "dtype")]
    has_dtype = all(array.dtype == out.array.dtype for array in arrays)
    return has_dtype and np.broadcast_shapes(*(array.shape for array in arrays)) == out.shape


def _is_list(index: Any) -> bool:
    return isinstance(index, np.ndarray | list | DeviceArray) and np.ndim(index) == 1


def _standard_indices(indices: tuple, shape: tuple[int, ...]) -> tuple | None:
    """Return the index of each axis as the standard has it: a number, or a slice within the axis.

    Among them may be None, for new axes. None of other indices, and of slices that go backwards.
    """
    if not all(map(_is_basic, indices)):
        return None
    start = (*indices, Ellipsis).index(Ellipsis)
    before, after = indices[:start], indices[start + 1 :]
    n_whole = len(shape) + (before + after).count(None) - len(before + after)
    lengths = iter(shape)
    return tuple(
        index if index is None else _within(index, next(lengths))
        for index in (*before, *[slice(None)] * n_whole, *after)
    )


def _is_basic(index: Any) -> bool:
    if isinstance(index, slice):
        return (index.step or 1) > 0
    return index is None or index is Ellipsis or type(index) is int or isinstance(index, np.integer)


def _within(index: Any, length: int) -> Any:
    return slice(*index.indices(length)) if isinstance(index, slice) else index
