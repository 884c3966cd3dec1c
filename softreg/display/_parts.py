"""What pictures are made of: checked arrays, attributes of an estimator, rows and their names.

A row is what a picture shows of one class or label. A single row may have two classes, the second
against the first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, has_columns, label_column, listed
from softreg._estimators.base import LinearClassifier

_MOST_PANELS = 12  # Four columns of three: what a page shows legibly.
_TITLE_WIDTH = 26  # Characters over the narrowest panel.
_NAME_WIDTH = 40  # Characters: wider legends leave the panels no space.
_LONGEST_NAME = 160  # Characters, which are four lines of a legend.


def number_array(name: str, values: ArrayLike, *shape: int | str) -> NDArray:
    """Return a copy of `values` as floats of this shape; a word stands for any length >= 1."""
    array = validation.check_real(name, values).astype(float)
    validation.check_shape(name, array, *shape)
    return array


def interval_ends(
    lower: ArrayLike | None, upper: ArrayLike | None, *shape: int
) -> tuple[NDArray | None, NDArray | None]:
    """Return the ends of intervals as arrays of this shape, or None for both."""
    if lower is None and upper is None:
        return None, None
    if lower is None or upper is None:
        raise ValueError("lower and upper belong together: pass both, or none of them.")
    return number_array("lower", lower, *shape), number_array("upper", upper, *shape)


def deviations(scale: ArrayLike | None, n_features: int) -> NDArray | None:
    """Return the standard deviations to multiply coefficients by, (n_features,), or None."""
    if scale is None:
        return None
    array = number_array("scale", scale, n_features)
    validation.check_nonnegative("scale", array, "pass deviations, such as X.std(axis=0)")
    return array


def ascending_Cs(Cs: ArrayLike, *grids: int | str) -> NDArray:
    """Return inverse strengths that are > 0 and ascending, (n_Cs,), or (n, n_Cs) of n `grids`."""
    array = number_array("Cs", Cs, *grids[: np.ndim(Cs) > 1], "n_Cs")
    validation.check_strengths(array)
    if (array[..., 1:] < array[..., :-1]).any():
        raise ValueError(f"Cs must be in ascending order; got {array.tolist()}.")
    return array


def name_array(name: str, values: ArrayLike, n: int) -> NDArray:
    """Return n names, (n,)."""
    names = np.asarray(values)
    validation.check_shape(name, names, n, meaning=", a name each")
    return names


def feature_name_array(names: ArrayLike | None, n: int) -> NDArray:
    """Return the names of n features, (n,); None is x0, x1, ..."""
    return name_array("feature_names", [f"x{j}" for j in range(n)] if names is None else names, n)


def class_array(classes: ArrayLike, n_rows: int) -> NDArray:
    """Return the names of rows, (n_rows,), or of a single row two."""
    two_classes = n_rows == 1 and np.size(classes) == 2
    return name_array("classes", classes, 2 if two_classes else n_rows)


def answer_matrix(y: Any, classes: NDArray) -> NDArray:
    """Return of each row 1 for its class, or for those labels that it has, (n, K).

    NaN is not known. y are classes (n,), or a column for each, such as 0 and 1 of labels.
    """
    if has_columns(y):
        is_sparse = bool(sparse.issparse(y))
        answers = y.toarray() if is_sparse else validation.doubles(y, "y")
        validation.check_shape("y", answers, "n", len(classes), meaning=", a column for each class")
        return answers.astype(float)
    column = label_column(y)
    codes = codes_in(classes, column)
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        raise ValueError(
            f"y holds {column[unknown[0]]!s} in row {unknown[0]}, which is none of the "
            f"classes {validation.shown(classes)}: leave such rows out."
        )
    return np.eye(len(classes))[codes]


def read_attributes(source: Any, expected: str, *names: str) -> list[Any]:
    """Return attributes of what should be `expected`, in words; TypeError if it lacks some.

    NotFittedError if it is an estimator that is not fitted.
    """
    if isinstance(source, BaseEstimator | type):
        caller = f"A picture of {expected}"
        validation.check_estimator(caller, "an estimator of softreg", source, LinearClassifier)
    missing = [name for name in names if not hasattr(source, name)]
    if missing and isinstance(source, LinearClassifier):
        check_is_fitted(source, msg="%(name)s is not fitted: call fit before drawing it.")
    if missing:
        raise TypeError(
            f"A picture of {expected} was asked for, but {type(source).__name__} has no "
            f"{', '.join(missing)}."
        )
    return [getattr(source, name) for name in names]


def rows_to_draw(
    wanted: ArrayLike | None, classes: NDArray, n_rows: int, reference: Any = None
) -> tuple[list[int], list[str], str]:
    """Return the rows of the classes `wanted`, their panels' titles, and what a picture's adds.

    None draws all, or the first twelve, which the picture's title says. `classes` are as
    `class_array` returns them; those that are drawn may be contrasts to a `reference`.
    """
    names = classes[-n_rows:]
    rows = _rows_of(wanted, names) if wanted is not None else list(range(n_rows))[:_MOST_PANELS]
    note = f": the first {len(rows)} of {n_rows} classes"
    references = classes[:-n_rows].tolist() if reference is None else [reference]
    titles = [_panel_title(names[row], references) for row in rows]
    return rows, titles, note if wanted is None and len(rows) < n_rows else ""


def _rows_of(wanted: ArrayLike, names: NDArray) -> list[int]:
    """Return the places in `names` of the classes `wanted`; ValueError if one is none of them."""
    row_of = {name: row for row, name in enumerate(names.tolist())}
    drawn = np.atleast_1d(np.asarray(wanted)).tolist()
    if not drawn or not set(drawn) <= row_of.keys():
        known = ", ".join(map(repr, listed(names)))
        raise ValueError(
            f"classes={validation.shown(wanted)} must name some of the rows, which are: {known}."
        )
    return [row_of[name] for name in drawn]


def class_name(name: Any) -> str:
    """Return what a class is called in legends."""
    return legible_name(_class_text(name))


def legible_name(name: Any) -> str:
    """Return a name as matplotlib shows it: in lines, no formula, not hidden by an underscore.

    Only a very long one lacks its middle, so that those of one beginning can be told apart.
    """
    return _in_lines(_without_middle(str(name)), _NAME_WIDTH)


def _panel_title(name: Any, references: Iterable) -> str:
    """Return the title of a class's panel, "name against reference", broken into lines."""
    texts = [_class_text(name), *map(str, references)]
    return _in_lines(" against ".join(map(_without_middle, texts)), _TITLE_WIDTH)


def _class_text(name: Any) -> str:
    return name if isinstance(name, str) else f"class {name}"


def _without_middle(text: str) -> str:
    half = _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[:half]} … {text[-half:]}"


def _in_lines(text: str, width: int) -> str:
    """Return a text in lines, which matplotlib reads neither as a formula nor as hidden."""
    filled = textwrap.fill(text, width).replace("$", r"\$")
    return " " + filled if filled.startswith("_") else filled
