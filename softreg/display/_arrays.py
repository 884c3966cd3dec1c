"""What a Display stores, checked: numbers, strengths, names, the attributes of an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted


def shaped(name: str, value: ArrayLike, *shape: int | str) -> NDArray:
    """Return `value` as floats of that shape, in which a word stands for any length >= 1."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a regular array of numbers ({error}).") from error
    lengths = zip(array.shape, shape, strict=False)
    fit = [n > 0 if isinstance(wanted, str) else n == wanted for n, wanted in lengths]
    if array.ndim != len(shape) or not all(fit):
        words = str(shape).replace("'", "")
        raise ValueError(f"{name} must have shape {words}; got {array.shape}.")
    return array


def strengths(Cs: ArrayLike) -> NDArray:
    """Return the Cs, which can then be drawn as they are on a logarithmic axis."""
    array = shaped("Cs", Cs, "n_Cs")
    wrong = array[~((array > 0) & np.isfinite(array))]
    if wrong.size:
        raise ValueError(f"Cs must be > 0 and finite; got {wrong[0]}.")
    if (np.diff(array) < 0).any():
        raise ValueError(f"Cs must be in ascending order; got {array}.")
    return array


def names_of(name: str, value: ArrayLike, n: int) -> NDArray:
    """Return n names."""
    names = np.asarray(value)
    if names.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), a name each; got {names.shape}.")
    return names


def attributes(thing: Any, wanted: str, *names: str) -> list[Any]:
    """Return these attributes; raise NotFittedError, or TypeError if it is not what is wanted."""
    missing = [name for name in names if not hasattr(thing, name)]
    if missing and hasattr(thing, "fit"):
        check_is_fitted(thing, msg="%(name)s is not fitted: call fit before drawing it.")
    if missing:
        raise TypeError(
            f"A picture of {wanted} was asked for, but {type(thing).__name__} has no "
            f"{', '.join(missing)} (of a pipeline, pass the last step)."
        )
    return [getattr(thing, name) for name in names]
