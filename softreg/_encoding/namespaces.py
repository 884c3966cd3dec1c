"""Arrays of other libraries, as PyTorch's and CuPy's: how they come in, and results go back.

They stay where they are if scikit-learn's ``array_api_dispatch`` is on; else what can be converted
becomes NumPy's, as all does in scikit-learn.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config

from softreg._rows.devices.arrays import Device, DeviceArray
from softreg._rows.devices.functions import dtype_name

# Halves and the like are computed with in single precision, all other numbers in double.
_SHORT_FLOATS = ("float16", "bfloat16")
# Libraries whose arrays say nothing of the standard, though array-api-compat knows them.
_LIBRARIES = ("torch", "cupy")
# The fitted attributes that are coefficients.
_COEFFICIENTS = ("coef_", "intercept_", "coef_path_", "intercept_path_")


def is_dispatched(array: Any) -> bool:
    """Return whether an array is one of another library than NumPy, and stays so.

    TypeError if its values cannot be replaced, as JAX's.
    """
    kind, is_on = type(array), get_config()["array_api_dispatch"]
    is_known = hasattr(kind, "__array_namespace__") or kind.__module__.split(".")[0] in _LIBRARIES
    if not (is_on and is_known) or isinstance(array, np.ndarray | np.generic):
        return False
    compat = _array_api_compat()
    is_elsewhere = compat.is_dask_array(array) or compat.is_pydata_sparse_array(array)
    if is_elsewhere or not compat.is_array_api_obj(array):
        return False
    if not compat.is_writeable_array(array):
        raise TypeError(
            f"X is a {kind.__name__} whose values cannot be replaced; pass it as NumPy's: "
            "numpy.asarray(X)."
        )
    return True


def _array_api_compat() -> Any:
    try:
        import array_api_compat
    except ImportError as error:
        raise ImportError(
            "array_api_dispatch needs array-api-compat: python -m pip install 'softreg[array-api]'."
        ) from error
    return array_api_compat


def check_tensors(**arrays: Any) -> None:
    """Raise an error if one is a tensor that no fit takes: a sparse one, or one with gradients."""
    for name, array in arrays.items():
        library = type(array).__module__.partition(".")[0]
        is_tensor = library == "torch" and hasattr(array, "layout")
        if is_tensor and array.requires_grad:
            raise ValueError(
                f"{name} requires gradients, and a fit has none: pass it without them, "
                f"{name}.detach()."
            )
        is_sparse_tensor = is_tensor and "sparse" in str(array.layout)
        if is_sparse_tensor or library == "cupyx":
            remedy = f"{name}.to_dense()" if is_sparse_tensor else f"{name}.toarray()"
            raise TypeError(
                f"{name} is a sparse {type(array).__name__}; on a device it must be dense: "
                f"{remedy}. Sparse arrays of SciPy stay sparse."
            )


def dtypes_of(X: Any) -> Any:
    """Return the dtypes that X may have, of its library; any other becomes the first one.

    ValueError for complex numbers, whose imaginary parts some libraries leave out unsaid.
    """
    if not is_dispatched(X):
        return np.float64, np.float32
    on = Device.of(X)
    if on.xp.isdtype(X.dtype, "complex floating"):
        raise ValueError("Complex data not supported")
    if on.has_double and dtype_name(X) not in _SHORT_FLOATS:
        return on.xp.float64, on.xp.float32
    return on.xp.float32


def wrapped(X: Any) -> Any:
    """Return an array that is dispatched as a `DeviceArray`; whatever else as it is."""
    return DeviceArray(X, Device.of(X)) if is_dispatched(X) else X


def unwrapped(values: Any) -> Any:
    """Return a `DeviceArray` as an array of its library; whatever else as it is."""
    return values.array if isinstance(values, DeviceArray) else values


def on_host(**arrays: Any) -> list[Any]:
    """Return arrays of other libraries as NumPy's, and whatever else as it is."""
    check_tensors(**arrays)
    return [
        Device.of(array).fetch(array) if is_dispatched(array) else array
        for array in arrays.values()
    ]


def coefficients_on_host(array: Any) -> Any:
    """Return fitted coefficients, in double, as NumPy's or SciPy's, also without dispatch."""
    is_host = isinstance(array, np.ndarray) or sparse.issparse(array)
    return array if is_host else Device.of(array).fetch(array).astype(np.float64, copy=False)


def converted_like(X: Any, values: Any) -> Any:
    """Return numbers in an array of X's library, on its device; whatever else as it is.

    Numbers of dtypes that the library lacks stay NumPy's.
    """
    like = wrapped(X)
    if isinstance(like, DeviceArray) and isinstance(values, np.ndarray):
        values = like.on.put(values) if like.on.has_dtype(values.dtype) else values
    return unwrapped(values)


def with_coefficients_like(X: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return fitted attributes with coefficients in arrays of X's library, on its device.

    ValueError for coefficients that overflow there, where no double precision is.
    """
    names = [name for name in _COEFFICIENTS if name in attributes]
    if is_dispatched(X) and not Device.of(X).has_double:
        for name in names:
            if (largest := np.abs(attributes[name]).max()) > np.finfo(np.float32).max:
                raise ValueError(
                    f"{name} overflows in single precision, the only one of the device of X: it "
                    f"is up to {largest:.10g}. Bring the columns of X into other units, or pass X "
                    "as NumPy's."
                )
    return attributes | {name: converted_like(X, attributes[name]) for name in names}


def returned_like_X(method: Any) -> Any:
    """Have a prediction of an X of another library come back as an array of it, on its device."""

    @wraps(method)
    def predicted(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        return converted_like(X, method(self, X, *args, **kwargs))

    return predicted
