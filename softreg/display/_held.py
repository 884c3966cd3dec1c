"""A model as a function of one or two of its features, the others held at stated values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding import validation
from softreg._encoding.namespaces import on_host
from softreg._estimators.base import feature_names
from softreg._estimators.posing import read_features
from softreg.display._parts import legible_name, read_attributes

_MOST_STATED = 4  # Features whose values a title states.
_NOTE_WIDTH = 64  # Characters over a single panel.


class HeldModel(NamedTuple):
    """A fitted model as a function of m of its features.

    Attributes
    ----------
    estimator : the fitted estimator
    coef, intercept : ndarray (K, m) and (K,), of two classes a row; scores are linear in the m
    names : list of m str
    data : ndarray (n, m), the features' values in X
    row : ndarray (d,), the values at which the others are held
    numbers : list of m int, which features are varied
    held : dict from name to value, the others, first the `n_given` whose values were given
    n_given : int; the rest is held at the means
    """

    estimator: Any
    coef: NDArray
    intercept: NDArray
    names: list
    data: NDArray
    row: NDArray
    numbers: list[int]
    held: dict[Any, float]
    n_given: int

    @classmethod
    def from_user(
        cls, estimator: Any, X: Any, argument: str, features: Iterable, at: Any
    ) -> HeldModel:
        """Return the model as a function of some features, the value of an `argument`.

        The others are held at the values in `at`, or else at their means in X.
        """
        expected = "a fitted estimator of softreg"
        read_attributes(estimator, expected, "coef_", "intercept_", "classes_")
        (X,) = on_host(X=X)
        matrix, _ = read_features(estimator, X, reset=False)
        d = matrix.shape[1]
        every = list(feature_names(estimator))
        numbers = [_feature_number(every, name, argument) for name in features]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{argument} names {every[numbers[0]]!r} twice; pass different ones.")
        row = np.asarray(matrix.mean(axis=0), dtype=float).ravel()
        given = _given_values(every, at)
        wrong = [every[j] for j in given if j in numbers]
        if wrong:
            raise ValueError(f"at holds {wrong[0]!r}, which is varied: leave it out of at.")
        row[list(given)] = list(given.values())
        W, b = estimator._dense_coef, estimator._dense_intercept
        of_others = np.delete(W, numbers, axis=1) @ np.delete(row, numbers)
        order = [*given, *(j for j in range(d) if j not in given)]
        held = {every[j]: float(row[j]) for j in order if j not in numbers}
        columns, is_sparse = matrix[:, numbers], bool(sparse.issparse(matrix))
        return cls(
            estimator=estimator,
            coef=W[:, numbers],
            intercept=b + of_others,
            names=[every[j] for j in numbers],
            data=(columns.toarray() if is_sparse else columns).astype(float),
            row=row,
            numbers=numbers,
            held=held,
            n_given=len(given),
        )

    def probabilities(self, points: NDArray) -> NDArray:
        """Return the probabilities (n, K) at values (n, m) of the features that are varied."""
        scores = points @ self.coef.T + self.intercept
        return self.estimator._probabilities(self.estimator._as_decisions(scores))

    def rows(self, points: NDArray) -> NDArray:
        """Return rows (n, d) of all features with values (n, m) of those that are varied."""
        rows = np.tile(self.row, (len(points), 1))
        rows[:, self.numbers] = points
        return rows


def held_note(held: Mapping[Any, float], n_given: int) -> str:
    """Return the lines that a title adds on features that are held, the others at their means.

    The first `n_given` were asked for.
    """
    texts = [f"{legible_name(name)} = {value:.4g}" for name, value in held.items()]
    given, means = texts[:n_given], texts[n_given:]
    if len(texts) <= _MOST_STATED:
        parts = [", ".join(given), ", ".join(means) + (" (mean)", " (means)")[len(means) > 1]]
    else:
        further = len(given) - _MOST_STATED
        more = [f"{further} more as asked"] * (further > 0)
        parts = [", ".join([*given[:_MOST_STATED], *more]), f"{len(means)} others at their means"]
    shown = [part for part, values in zip(parts, (given, means), strict=True) if values]
    return "\n" + textwrap.fill("held: " + "; ".join(shown), _NOTE_WIDTH) if shown else ""


def spread_over(values: NDArray, n: int, margin: float = 0.05) -> NDArray:
    """Return n evenly spaced places (n,) from the least to the largest value, and a bit beyond."""
    low, high = values.min(), values.max()
    width = (high - low) or abs(low) or 1.0
    return np.linspace(low - margin * width, high + margin * width, n)


def _feature_number(names: list, name: Any, argument: str) -> int:
    """Return the place of a feature, given by its name or place; ValueError if there is none."""
    if name in names:
        return names.index(name)
    if isinstance(name, int | np.integer) and not isinstance(name, bool) and 0 <= name < len(names):
        return int(name)
    raise ValueError(
        f"{argument} names {name!r}, which is no feature of the model; pass a name or a place from "
        f"0 to {len(names) - 1}. The nearest names are {validation.nearest_names(name, names)}."
    )


def _given_values(names: list, at: Any) -> dict[int, float]:
    """Return the values at which some features are to be held, by their places."""
    if at is None:
        return {}
    if not hasattr(at, "items"):
        raise TypeError(
            f"at={at!r} must be a mapping or Series from features to values, or None for means."
        )
    values = {}
    for name, value in at.items():
        number = _feature_number(names, name, "at")
        if number in values:
            raise ValueError(f"at names {names[number]!r} twice; give it one value.")
        if not (validation.is_number(value) and np.isfinite(value)):
            raise ValueError(f"at[{name!r}]={value!r} must be a finite number.")
        values[number] = float(value)
    return values
