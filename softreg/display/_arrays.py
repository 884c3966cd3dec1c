"""What a Display stores: checked arrays, and attributes read from an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation


def number_array(name: str, values: ArrayLike, *shape: int | str) -> NDArray:
    """Return a copy of `values` as floats of this shape; a word stands for any length >= 1."""
    array = validation.check_real(name, values).astype(float)
    validation.check_shape(name, array, *shape)
    return array


def ascending_Cs(Cs: ArrayLike) -> NDArray:
    """Return inverse strengths (n_Cs,) that are finite, > 0 and ascending."""
    array = number_array("Cs", Cs, "n_Cs")
    validation.check_strengths(array)
    if (np.diff(array) < 0).any():
        raise ValueError(f"Cs must be in ascending order; got {array}.")
    return array


def name_array(name: str, values: ArrayLike, n: int) -> NDArray:
    """Return n names, (n,)."""
    names = np.asarray(values)
    validation.check_shape(name, names, n, meaning=", a name each")
    return names


def read_attributes(source: Any, expected: str, *names: str) -> list[Any]:
    """Return attributes of what should be `expected`, in words; TypeError if it lacks some.

    NotFittedError if it is an estimator that is not fitted.
    """
    missing = [name for name in names if not hasattr(source, name)]
    if missing and hasattr(source, "fit"):
        check_is_fitted(source, msg="%(name)s is not fitted: call fit before drawing it.")
    if missing:
        raise TypeError(
            f"A picture of {expected} was asked for, but {type(source).__name__} has no "
            f"{', '.join(missing)} (of a pipeline, pass the last step)."
        )
    return [getattr(source, name) for name in names]
