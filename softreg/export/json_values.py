"""Parameters and fitted attributes as values of JSON, and back, exactly.

JSON's own values stand for themselves, finite floats by Python's shortest digits, which are read
back to the bit. What JSON has not is an object of one of these forms:

    {"float": "inf"}                                also "-inf" and "nan"
    {"tuple": [...]}
    {"dict": [[key, value], ...]}
    {"array": nested lists, "dtype": "float64"}     numbers, "str", "object", dates, durations
    {"solver": "LBFGS", "options": {...}}

Nothing else is made of them, so that reading runs no code of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg import solvers
from softreg._encoding.class_values import object_array

_DTYPES = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64)|str|object|(datetime|timedelta)64(\[[0-9]{0,6}[a-zA-Z]+\])?"
)


def to_json(value: Any) -> Any:
    """Return a value as JSON has it; TypeError if it has no form."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) is list:
        return [to_json(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [to_json(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if hasattr(value, "__array__"):
        return _array_to_json(np.asarray(value))
    if type(value) in _solvers():
        options = {name: to_json(option) for name, option in value.get_params().items()}
        return {"solver": type(value).__name__, "options": options}
    raise TypeError(f"{value!r}, a {type(value).__name__}")


def from_json(value: Any) -> Any:
    """Return what `to_json` was given; ValueError if it is of no form."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    for names, read in _FORMS.items():
        if value.keys() == set(names):
            try:
                return read(*(value[name] for name in names))
            except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
                raise ValueError(f"{str(value)[:200]} cannot be read: {error}") from error
    raise ValueError(f"{str(value)[:200]} is of no form that this version knows")


def _array_to_json(array: NDArray) -> dict[str, Any]:
    kind = array.dtype.kind
    dtype = {"U": "str", "O": "object"}.get(kind, array.dtype.name)
    if not _DTYPES.fullmatch(dtype):
        raise TypeError(f"an array of {array.dtype}")
    return {"array": _ITEMS.get(kind, np.ndarray.tolist)(array), "dtype": dtype}


def _float_items(array: NDArray) -> Any:
    """Return floats in lists, those that are not finite as texts, which NumPy reads as floats."""
    is_finite = np.isfinite(array)
    if is_finite.all():
        return array.tolist()
    return np.where(is_finite, array.astype(object), array.astype(str)).tolist()


# Kinds of dtypes -> what makes items of JSON of an array; of others NumPy does.
_ITEMS: dict[str, Callable[[NDArray], Any]] = {
    "O": lambda array: [to_json(item) for item in array],
    "f": _float_items,
    "M": lambda array: array.astype(str).tolist(),
    "m": lambda array: array.astype(np.int64).tolist(),
}


def _read_array(items: Any, dtype: Any) -> NDArray | np.generic:
    if not _DTYPES.fullmatch(dtype):
        raise ValueError(f"dtype {dtype!r} is none that models have")
    if dtype == "object":
        return object_array(from_json(item) for item in items)
    array = np.array(items, dtype=dtype)
    return array if array.ndim else array[()]


def _read_solver(name: Any, options: dict) -> Any:
    kinds = {kind.__name__: kind for kind in _solvers()}
    return kinds[name](**{option: from_json(value) for option, value in options.items()})


def _read_float(text: Any) -> float:
    return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[text]


def _read_dict(items: Any) -> dict:
    return {from_json(key): from_json(value) for key, value in items}


_FORMS: dict[tuple[str, ...], Callable[..., Any]] = {
    ("float",): _read_float,
    ("tuple",): lambda items: tuple(from_json(item) for item in items),
    ("dict",): _read_dict,
    ("array", "dtype"): _read_array,
    ("solver", "options"): _read_solver,
}


def _solvers() -> list[Any]:
    return [getattr(solvers, name) for name in solvers.__all__]
