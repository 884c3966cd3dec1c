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

# Blocks hold so many values where a device does not say how much memory is free, 32 MB of doubles;
# else a double for each takes this share of it.
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

    What NumPy's functions make of it is on the device, too, where `functions` knows them; what they
    make of others, and what is written into an ndarray, is computed on the host. So
    `numpy.asarray` brings it there.

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
        """NumPy's name of its dtype."""
        return np.dtype(str(self.array.dtype).rpartition(".")[2])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self.on.fetch(self.array), dtype=dtype)

    # ---- NumPy's protocols ----------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        (out,), known = options.pop("out", (None,)), functions.UFUNCS.get((ufunc, method))
        options.pop("casting", None)
        if "where" in options or any(
            value is out for value in inputs if isinstance(value, np.ndarray)
        ):
            known = None
        return self._result(known, getattr(ufunc, method), inputs, options, out)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        known, out = functions.FUNCTIONS.get(function), options.pop("out", None)
        return self._result(known, function, inputs, options, out)

    def _result(
        self, known: functions.Function | None, function: Any, inputs: Any, options: Any, out: Any
    ) -> Any:
        """Return what a function makes of inputs, in `out` if that is given.

        It is made on the device where what does so is `known`.
        """
        if known is None:
            return self._made_on_host(function, inputs, options, out)
        arguments = _replaced(inputs, self._native)
        if known in functions.WRITING and _is_written(out, arguments):
            known(self.on, *arguments, out=out.array, **options)
            return out
        result = DeviceArray(known(self.on, *arguments, **options), self.on)
        if out is None:
            return result
        out[...] = result
        return out

    def _native(self, value: Any) -> Any:
        """Return a value as the library's functions take it: arrays on this device."""
        if isinstance(value, DeviceArray):
            return value.array
        is_sparse: bool = sparse.issparse(value)
        value = value.toarray() if is_sparse else value
        return self.on.put(value).array if isinstance(value, np.ndarray | np.generic) else value

    @staticmethod
    def _made_on_host(function: Any, inputs: Any, options: dict[str, Any], out: Any) -> Any:
        arguments, options = _replaced(inputs, _hosted), _replaced(options, _hosted)
        if out is None:
            return function(*arguments, **options)
        if isinstance(out, np.ndarray):
            return function(*arguments, out=out, **options)
        # Where `where` says no, `out` stays as it was.
        out[...] = function(*arguments, out=np.array(out), **options)
        return out

    # ---- Parts and methods ----------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        known = _places_and_cut(key, self.shape)
        if known is None:
            return np.asarray(self)[_replaced(key, _hosted)]
        places, cut = known
        part = self.array
        for axis, some in places:
            part = self.on.xp.take(part, self.on.put(some).array, axis=axis)
        return DeviceArray(part[cut], self.on)

    def __setitem__(self, key: Any, values: Any) -> None:
        places, cut = _places_and_cut(key, self.shape) or ([], (None,))
        if places or None in cut:  # of which the standard knows nothing
            whole = np.array(self)
            whole[_replaced(key, _hosted)] = _hosted(values)
            cut, values = (...,), whole
        array = self._native(values)
        if hasattr(array, "dtype"):
            array = self.on.xp.astype(array, self.array.dtype, copy=False)
        self.array[cut] = array

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


def _hosted(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, DeviceArray) else value


def _is_written(out: Any, arguments: Any) -> bool:
    """Return whether a library writes what it makes of arguments, value by value, into `out`.

    Libraries refuse other dtypes than those of the arguments, and stretch no shape, as NumPy does.
    """
    if not (isinstance(out, DeviceArray) and out.on.writes_out):
        return False
    arrays = [value for value in arguments if hasattr(value, "dtype")]
    has_dtype = all(array.dtype == out.array.dtype for array in arrays)
    return has_dtype and np.broadcast_shapes(*(array.shape for array in arrays)) == out.shape


def _places_and_cut(
    key: Any, shape: tuple[int, ...]
) -> tuple[list[tuple[int, NDArray]], tuple] | None:
    """Return the axes along which an index names places one by one, with these, and the rest of it.

    One axis may do so, or several in a grid, as `numpy.ix_` has them; None of other indices.
    """
    indices = key if isinstance(key, tuple) else (key,)
    whole: list[Any] = []
    places, axis, picks = [], 0, []  # picks: where arrays and numbers stand
    named = sum(index is not None and index is not Ellipsis for index in indices)
    for index in indices:
        if isinstance(index, int | np.integer | np.ndarray | list | DeviceArray):
            picks.append(len(whole))
        if isinstance(index, np.ndarray | list | DeviceArray):
            some = np.asarray(index)
            is_mask = some.dtype == bool and some.ndim == 1
            places.append((axis, some.nonzero()[0] if is_mask else some))
            index = slice(None)
        elif isinstance(index, slice) and (index.step or 1) > 0:
            index = slice(*index.indices(shape[axis]))  # of the standard, within the axis
        whole.append(index)
        if index is Ellipsis:
            axis += len(shape) - named
        elif index is not None:
            axis += 1
    is_grid = all(_is_along(k, some, len(places)) for k, (_, some) in enumerate(places))
    # NumPy moves the axis of an array to the front if a number stands elsewhere than next to it.
    is_moved = len(picks) > len(places) and (len(places) > 1 or picks[-1] - picks[0] >= len(picks))
    if places and (is_moved or not is_grid):
        return None
    rest = tuple(whole) if Ellipsis in whole else (*whole, Ellipsis)
    return [(axis, some.ravel()) for axis, some in places], rest


def _is_along(axis: int, some: NDArray, n_axes: int) -> bool:
    """Return whether an index names places along one axis of a grid."""
    has_axis = n_axes - axis <= some.ndim <= n_axes
    return some.dtype != bool and has_axis and some.size == some.shape[axis - n_axes]
