"""Checks of what penalties are made of: strengths, the sparse share, groups and factors."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._encoding.namespaces import on_host
from softreg._encoding.validation import (
    as_given,
    check_integer,
    check_nonnegative,
    check_shape,
    check_strengths,
    doubles,
    is_number,
    noting,
    shown,
)


def check_C(C: Any, n_labels: int = 1) -> NDArray:
    """Return the inverse strength of the penalty, (1,), or one for each label, (n_labels,)."""
    if is_number(C):
        if C > 0:
            return np.array([float(C)])
    elif n_labels > 1 and not (C is None or isinstance(C, bool | str | dict | set)):
        label_C = doubles(C, "C")
        if label_C.shape == (n_labels,) and (label_C > 0).all():
            return label_C
    several = f", or {n_labels} of them, one for each label" if n_labels > 1 else ""
    raise ValueError(f"C={shown(C)} must be a number > 0{several}; np.inf means no penalty.")


def check_Cs(Cs: Any) -> int | NDArray:
    """Return the number of inverse strengths to try, or the strengths, (n_Cs,), ascending."""
    if isinstance(Cs, numbers.Number):
        return check_integer("Cs", Cs, 1, ", or numbers > 0")
    (Cs,) = on_host(Cs=Cs)
    values = as_given(Cs)
    if values.ndim != 1 or not values.size or not all(map(is_number, values)):
        raise ValueError(f"Cs={shown(Cs)} must be an integer >= 1, or one or more numbers > 0.")
    strengths = values.astype(np.float64)
    check_strengths(strengths)
    return np.unique(strengths)


def check_ratio(ratio: Any) -> None:
    """Raise a ValueError unless the ratio of the ends of a path's grid is None or in (0, 1)."""
    if not (ratio is None or (is_number(ratio) and 0 < ratio < 1)):
        raise ValueError(f"ratio={shown(ratio)} must be a number between 0 and 1.")


def check_l1_ratio(l1_ratio: Any) -> float:
    """Return the share of the sparse part in the penalty."""
    if is_number(l1_ratio) and 0 <= l1_ratio <= 1:
        return float(l1_ratio)
    raise ValueError(
        f"l1_ratio={shown(l1_ratio)} must be a number from 0 (ridge) to 1 (lasso), both included."
    )


def check_l1_ratios(l1_ratios: Any) -> NDArray[np.float64]:
    """Return the shares of the sparse part to try, (n_ratios,), in the order given."""
    values = as_given(l1_ratios)
    numbers_only = values.ndim == 1 and values.size > 0 and all(map(is_number, values))
    if not numbers_only or not all(0 <= value <= 1 for value in values):
        raise ValueError(
            f"l1_ratios={shown(l1_ratios)} must be one or more numbers from 0 (ridge) to 1 "
            "(lasso), such as (0, 0.5, 1)."
        )
    ratios = values.astype(np.float64)
    if len(np.unique(ratios)) < len(ratios):
        raise ValueError(f"l1_ratios={shown(l1_ratios)} must name each ratio once.")
    return ratios


def check_l1_groups(groups: Any, names: NDArray | None, factor: NDArray) -> NDArray | None:
    """Return the numbers of the features' groups, (n_features,), or None: features by themselves.

    They may be given by `names`, those of the columns; `factor` is the checked penalty_factor
    (n_features,), one for each group.
    """
    if groups is None or (isinstance(groups, str) and groups == "feature"):
        return None
    (groups,) = on_host(l1_groups=groups)
    is_single = np.asarray(groups, dtype=object).ndim == 0 and not isinstance(groups, Mapping)
    if isinstance(groups, str) or is_single:
        raise ValueError(
            f'l1_groups={shown(groups)} must be None, "feature", or a label for each column of X: '
            "an array, or a dict or Series by column name."
        )
    labels = as_given(_by_column("l1_groups", groups, names, None))
    group_numbers = _checked_group_numbers(labels, names, len(factor))
    first = np.unique(group_numbers, return_index=True)[1]
    other = np.flatnonzero(factor != factor[first[group_numbers]])
    if other.size:
        raise ValueError(
            f"penalty_factor differs within a group of l1_groups, as at column {other[0]}: give "
            "all columns of a group one factor, or other groups."
        )
    return group_numbers


def _checked_group_numbers(
    labels: NDArray, names: NDArray | None, n_features: int
) -> NDArray[np.intp]:
    """Return the number of each label of l1_groups, objects, from 0: (n_features,)."""
    import pandas as pd

    check_shape("l1_groups", labels, n_features, meaning=", one label per column of X")
    missing, remedy = pd.isna(labels), "give a column that is by itself a label of its own"
    if missing.any():
        column = int(np.argmax(missing))
        column_name = shown(column if names is None else names[column])
        raise ValueError(f"l1_groups has no label for column {column_name}; {remedy}.")
    if any(is_number(label) and label < 0 for label in labels):
        raise ValueError(
            f"l1_groups={shown(labels)} has negative labels, which name no group: {remedy}."
        )
    with noting("l1_groups must be labels, such as numbers or texts, one for each column of X."):
        return pd.factorize(labels)[0]


def check_penalty_factor(factor: Any, n_features: int, names: NDArray | None = None) -> NDArray:
    """Return penalty_factor, (n_features,): ones for None.

    `names` are those of the columns, by which it may be given.
    """
    if factor is None:
        return np.ones(n_features)
    f = doubles(_by_column("penalty_factor", factor, names, 1.0), "penalty_factor")
    check_shape("penalty_factor", f, n_features, meaning=", one factor per column of X")
    check_nonnegative("penalty_factor", f, "0 means no penalty")
    return f


def _by_column(name: str, values: Any, names: NDArray | None, default: Any) -> Any:
    """Return the values of all columns, in their order, of a dict or Series by column name.

    Columns that a dict leaves out have the default; other values are returned as they are.
    """
    if not is_by_name(values):
        return values
    if names is None:
        raise ValueError(
            f"{name} is by column name, and the columns of X have none: pass a DataFrame whose "
            "column names are texts, or one value for each column."
        )
    given, known = dict(values.items()), set(names)
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(
            f"{name} names the columns {shown(unknown)}, which X lacks; its columns are "
            f"{shown(names)}."
        )
    return [given.get(column, default) for column in names]


def is_by_name(values: Any) -> bool:
    """Return whether values are a dict, or a Series whose index does not count."""
    if isinstance(values, Mapping):
        return True
    if not hasattr(values, "iloc") or values.ndim != 1:
        return False
    import pandas as pd

    return not isinstance(values.index, pd.RangeIndex)
