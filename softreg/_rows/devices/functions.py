"""NumPy's and SciPy's functions, as kernels call them, in those of the array API standard.

Each takes a device, and arrays of its library; dtypes are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import special

# Products are summed up over so many terms in their own precision, and in double over more.
_TERMS = 2**14
# What reductions of nothing are, and the functions that take `initial` into a result.
_OF_NOTHING = {"sum": 0, "any": False, "all": True}
_WITH_INITIAL = {"sum": "add", "max": "maximum", "min": "minimum"}


def dtype_name(array: Any) -> str:
    """Return NumPy's name of the dtype of a library's array."""
    return str(array.dtype).rpartition(".")[2]


def _standard(name: str, on: Any, *arguments: Any, **options: Any) -> Any:
    """Return what the standard's function of a name makes of arrays, and numbers beside them."""
    return getattr(on.xp, name)(*arguments, **options)


def _reduced(name: str, on: Any, array: Any, axis: Any = 0, **options: Any) -> Any:
    """Return `_reduction` along the first axis, as ufuncs' `reduce` has it, or another one."""
    return _reduction(name, on, array, axis=axis, **options)


def _reduction(
    name: str,
    on: Any,
    array: Any,
    *,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Return what a reduction of a name makes of an array along an axis, as NumPy's does."""
    xp = on.xp
    if where is not None:  # other values become one that changes no result, or `initial`
        other = _array(on, _OF_NOTHING.get(name, initial), array.dtype)
        array = xp.where(_array(on, where), array, other)
    if initial is not None and 0 in array.shape:
        empty = np.empty(array.shape, dtype_name(array))
        reduced = getattr(np, name)(empty, axis=axis, keepdims=keepdims, initial=initial)
        return on.put(reduced).array
    if name == "sum" and array.dtype == xp.bool:
        array = xp.astype(array, on.dtype(np.int64))
    options = {} if dtype is None else {"dtype": on.dtype(dtype)}
    result = getattr(xp, name)(array, axis=axis, keepdims=keepdims, **options)
    return result if initial is None else getattr(xp, _WITH_INITIAL[name])(result, initial)


def _array(on: Any, value: Any, dtype: Any = None) -> Any:
    """Return a number or an array, of this library or wrapped, as one on the device."""
    array = getattr(value, "array", value)
    if isinstance(value, np.ndarray):
        array = on.put(value).array
    return on.xp.asarray(array, dtype=dtype, device=on.device)


def _dot(on: Any, A: Any, B: Any) -> Any:
    """Return A B, (q, m) times (m, r), parts of m being added in double precision.

    Cards share the parts out, where of one product with few rows and columns some use a core.
    """
    m, parts = B.shape[0], B.shape[0] // _TERMS
    if parts < 2 or not on.has_double:
        return on.xp.matmul(A, B)
    cut = parts * _TERMS
    by_part = on.xp.permute_dims(on.xp.reshape(A[:, :cut], (-1, parts, _TERMS)), (1, 0, 2))
    products = on.xp.matmul(by_part, on.xp.reshape(B[:cut, :], (parts, _TERMS, -1)))
    total = on.xp.sum(products, axis=0, dtype=on.xp.float64)
    if cut < m:
        total += on.xp.astype(on.xp.matmul(A[:, cut:], B[cut:, :]), on.xp.float64)
    return total


def _take(on: Any, array: Any, places: Any, axis: int | None = None) -> Any:
    """Return the values at some places, in whose shape they lie."""
    xp = on.xp
    places = _array(on, np.asarray(places)) if isinstance(places, list) else places
    array, axis = (xp.reshape(array, (-1,)), 0) if axis is None else (array, axis)
    shape = array.shape[:axis] + places.shape + array.shape[axis + 1 :]
    return xp.reshape(xp.take(array, xp.reshape(places, (-1,)), axis=axis), tuple(shape))


def _concatenate(on: Any, arrays: Any, axis: int = 0, dtype: Any = None) -> Any:
    joined = on.xp.concat(arrays, axis=axis)
    return joined if dtype is None else on.xp.astype(joined, on.dtype(dtype), copy=False)


def _transpose(on: Any, array: Any, axes: tuple[int, ...] | None = None) -> Any:
    return on.xp.permute_dims(array, axes or tuple(range(array.ndim))[::-1])


def _filled(name: str, on: Any, shape: Any, dtype: Any = float, **_: Any) -> Any:
    shape = tuple(map(int, shape)) if isinstance(shape, tuple | list) else (int(shape),)
    return getattr(on.xp, name)(shape, dtype=on.dtype(dtype), device=on.device)


def _filled_like(name: str, on: Any, array: Any, dtype: Any = None, **_: Any) -> Any:
    return getattr(on.xp, name)(array, dtype=None if dtype is None else on.dtype(dtype))


def _log_expit(on: Any, z: Any) -> Any:
    return on.xp.minimum(z, on.xp.zeros_like(z)) - on.xp.log1p(on.xp.exp(-on.xp.abs(z)))


Function = Callable[..., Any]
_ELEMENTWISE = {
    name: partial(_standard, standard)
    for name, standard in {
        "absolute": "abs",
        "add": "add",
        "divide": "divide",
        "equal": "equal",
        "exp": "exp",
        "floor": "floor",
        "greater": "greater",
        "greater_equal": "greater_equal",
        "isfinite": "isfinite",
        "less": "less",
        "less_equal": "less_equal",
        "log": "log",
        "log1p": "log1p",
        "logical_not": "logical_not",
        "matmul": "matmul",
        "maximum": "maximum",
        "minimum": "minimum",
        "multiply": "multiply",
        "negative": "negative",
        "not_equal": "not_equal",
        "sign": "sign",
        "sqrt": "sqrt",
        "square": "square",
        "subtract": "subtract",
    }.items()
}
_REDUCTIONS = {"sum": np.sum, "max": np.max, "min": np.min, "any": np.any, "all": np.all}
# Those whose function in the library may write into `out`.
WRITING = frozenset(function for name, function in _ELEMENTWISE.items() if name != "matmul")
UFUNCS: dict[tuple[Any, str], Function] = {
    **{(getattr(np, name), "__call__"): function for name, function in _ELEMENTWISE.items()},
    (np.add, "reduce"): partial(_reduced, "sum"),
    (np.maximum, "reduce"): partial(_reduced, "max"),
    (special.log_expit, "__call__"): _log_expit,
}
FUNCTIONS: dict[Any, Function] = {
    **{function: partial(_reduction, name) for name, function in _REDUCTIONS.items()},
    np.mean: partial(_standard, "mean"),
    np.argmax: partial(_standard, "argmax"),
    np.where: partial(_standard, "where"),
    np.concatenate: _concatenate,
    np.stack: partial(_standard, "stack"),
    np.broadcast_to: partial(_standard, "broadcast_to"),
    np.clip: partial(_standard, "clip"),
    np.count_nonzero: partial(_standard, "count_nonzero"),
    np.reshape: partial(_standard, "reshape"),
    np.dot: _dot,
    np.take: _take,
    np.transpose: _transpose,
    np.zeros: partial(_filled, "zeros"),
    np.ones: partial(_filled, "ones"),
    np.empty: partial(_filled, "empty"),
    np.zeros_like: partial(_filled_like, "zeros_like"),
    np.ones_like: partial(_filled_like, "ones_like"),
    np.empty_like: partial(_filled_like, "empty_like"),
}
