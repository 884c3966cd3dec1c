"""Predictions as a query: scores are sums of a table's columns, and SQL has exp."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._encoding import validation
from softreg.export.linear_model import LinearModel, linear_model

# Databases end with an error where expressions nest more than 1,000 levels deep (SQLite, DuckDB):
# longer sums are sums of sums.
_MOST_TERMS = 50
# The greatest of so many numbers is found at a time, by comparing each with those after it.
_MOST_COMPARED = 8
# Below it exp is next to zero in double precision; PostgreSQL raises an error where it is zero.
_LEAST_EXPONENT = -700
# Infinite scores, of classes that cannot be, are finite and as good: SQL has no literal for them.
_LARGEST_SCORE = 1e300


def to_sql(
    estimator: Any,
    table: str | tuple[str, ...],
    *,
    response_method: str = "predict_proba",
    feature_names: Sequence[str] | None = None,
    keep: Sequence[str] = (),
) -> str:
    """Return a query that predicts the rows of a table.

    It computes scores first, subtracts the greatest of them, as a stable softmax does, and then has
    one expression for each class. Numbers are written so that they are read back exactly.

    Parameters
    ----------
    estimator : SoftmaxRegression, SoftmaxRegressionCV, SigmoidRegression or SigmoidRegressionCV
        A fitted one.
    table : str or tuple of str
        The name of the table, or of its schema and itself. Names are quoted as in standard SQL, and
        may hold anything.
    response_method : {"predict_proba", "predict"}, default="predict_proba"
        What is returned: the probability of each class or label, in columns of their names; or the
        predicted class in a column "prediction", or 0 and 1 in a column for each label. Thresholds
        count, as in `predict`.
    feature_names : sequence of str of length n_features, default=None
        The table's columns in the order of X's, no two the same. None: the names of X's columns in
        `fit`, or x0, x1, ... where they had none. Columns whose coefficients are all zero are not
        read.
    keep : sequence of str, default=()
        Columns of the table that come first in the result, such as its key: SQL promises no order
        of rows.

    Returns
    -------
    query : str
        A SELECT without a semicolon. Where a column that a probability depends on is NULL, so is
        the probability; where one that any class's score depends on is, so is the class.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg's.
    ValueError
        If another argument is not as described, or columns of the result would have the same name
        or none.

    Notes
    -----
    It runs in SQLite from 3.35 on, built with its mathematical functions, in DuckDB, and in
    PostgreSQL from 12 on. Others need ``exp``, ``ln``, double precision, names in double quotes and
    ``WITH ... AS MATERIALIZED``, which keeps them from computing the scores over and over. Offsets
    are not part of it. In predictions, classes that are no numbers are texts. Columns may be
    booleans, but not in PostgreSQL, which does not cast these to double precision: make them
    integers there. SQLite and DuckDB take names that differ only in capitals for the same, where
    PostgreSQL tells them apart.

    Examples
    --------
    >>> from softreg import SoftmaxRegression
    >>> from softreg.export import to_sql
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> print(to_sql(SoftmaxRegression().fit(X, y), "answers", feature_names=["age"]))
    WITH step_1 AS MATERIALIZED (
    SELECT
      ... * CAST(t."age" AS DOUBLE PRECISION) + ...e0 AS z0,
      ... * CAST(t."age" AS DOUBLE PRECISION) + -...e0 AS z1
    FROM "answers" AS t
    )
    SELECT
      CASE WHEN z0 >= 0e0 THEN ... END AS "no",
      CASE WHEN z1 >= 0e0 THEN ... END AS "yes"
    FROM step_1
    """
    model = linear_model("to_sql", estimator)
    if response_method not in ("predict_proba", "predict"):
        raise ValueError(
            f'response_method={validation.shown(response_method)} must be "predict_proba" or '
            '"predict".'
        )
    predicts = response_method == "predict"
    place = _names("table", [table] if isinstance(table, str) else table, least=1)
    columns = _feature_columns(feature_names, model)
    kept = _names("keep", keep)
    names = _result_names(model, predicts, kept)
    scores = _scores(model, columns, model.b - model.cuts if predicts else model.b)
    later, results = _predictions(model) if predicts else _probabilities(model)
    return _query(place, [scores, *later], kept, _aliased(results, map(_quoted, names)))


# ---- Names -------------------------------------------------------------------------------------


def _names(argument: str, given: Any, least: int = 0) -> list[str]:
    """Return names in a list; ValueError unless they are so many texts, none of them empty."""
    is_iterable = isinstance(given, Iterable) and not isinstance(given, str)
    names: list[Any] = list(given) if is_iterable else [None]
    if len(names) < least or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"{argument}={validation.shown(given)} must be names, texts in a list or tuple, none "
            "of them empty."
        )
    return names


def _feature_columns(given: Any, model: LinearModel) -> list[str]:
    """Return the table's columns that X's are, (d,), no two the same; for None X's own names."""
    columns = _names("feature_names", model.feature_names if given is None else given)
    d = len(model.feature_names)
    if len(columns) != d:
        raise ValueError(
            f"feature_names={validation.shown(columns)} must name {d} columns, those of X in fit."
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise ValueError(
            f"feature_names holds {validation.shown(repeated)} more than once, and a table has one "
            "column of a name: pass feature_names=, its columns in the order of X's."
        )
    return columns


def _result_names(model: LinearModel, predicts: bool, kept: list[str]) -> list[str]:
    """Return the columns that are predicted; ValueError if they are not told apart."""
    one_name = predicts and not model.has_labels
    names = ["prediction"] if one_name else [str(name) for name in model.classes]
    if "" in names:
        raise ValueError(
            f"classes_={validation.shown(model.classes)} holds an empty text, and SQL has no "
            "column without a name: give that class another name."
        )
    if len({*kept, *names}) < len(kept) + len(names):
        raise ValueError(
            f"keep={validation.shown(kept)} and the results {validation.shown(names)} would "
            "have the same name twice: keep other columns, or give the classes other names."
        )
    return names


# ---- The query ---------------------------------------------------------------------------------


def _query(table: list[str], steps: list[list[str]], keep: list[str], results: list[str]) -> str:
    """Return the query of steps, each of which selects from the one before, and a last one."""
    prefix = "step"
    while table[-1].lower().startswith(prefix):  # a step is no table
        prefix += "_"
    kept = [f"k{i}" for i in range(len(keep))]
    selected = _aliased((f"t.{_quoted(name)}" for name in keep), kept)
    source, tables = f"{'.'.join(map(_quoted, table))} AS t", []
    for number, step in enumerate(steps, start=1):
        name = f"{prefix}_{number}"
        tables.append(f"{name} AS MATERIALIZED (\n{_select([*selected, *step], source)}\n)")
        selected, source = kept, name
    last = _aliased(kept, map(_quoted, keep))
    return f"WITH {', '.join(tables)}\n{_select([*last, *results], source)}"


# ---- Steps -------------------------------------------------------------------------------------


def _scores(model: LinearModel, columns: list[str], b: NDArray) -> list[str]:
    """Return the scores as z0, z1, ..., sums of the columns that have a coefficient."""
    sums = []
    for W_k, b_k in zip(model.W, b, strict=True):
        read = np.flatnonzero(W_k).tolist()
        terms = [f"{_number(W_k[j])} * {_double(columns[j])}" for j in read]
        sums.append(_total([*terms, _number(np.clip(b_k, -_LARGEST_SCORE, _LARGEST_SCORE))]))
    return _aliased(sums, _z(model))


def _probabilities(model: LinearModel) -> tuple[list[list[str]], list[str]]:
    """Return the steps after the scores, and the probabilities, (K,)."""
    z, steps = _z(model), []
    if model.link == "sigmoid":
        return [], [_sigmoid(score) for score in z]
    if model.link == "one-vs-rest":  # the softmax of their logarithms
        steps.append(_aliased(map(_log_sigmoid, z), z))
    e = [f"e{k}" for k in range(len(z))]
    steps += _greatest_score(z)
    steps.append(_aliased((_exp(f"{score} - m") for score in z), e))
    steps.append([*e, f"{_total(e)} AS s"])
    return steps, [f"{exponential} / s" for exponential in e]


def _predictions(model: LinearModel) -> tuple[list[list[str]], list[str]]:
    """Return the steps after the scores above their cuts, and the class, or labels (K,)."""
    z = _z(model)
    if model.has_labels:
        return [], [f"CASE WHEN {score} > 0e0 THEN 1 WHEN {score} <= 0e0 THEN 0 END" for score in z]
    classes = map(_class_literal, model.classes)
    cases = [f"WHEN {score} = m THEN {name}" for score, name in zip(z, classes, strict=True)]
    return _greatest_score(z), [f"CASE {' '.join(cases)} END"]


def _greatest_score(z: list[str]) -> list[list[str]]:
    """Return the steps to the greatest score m, which is NULL where any of them is.

    SQLite and others have no common name for the greatest of several numbers.
    """
    steps: list[list[str]] = []
    names, guard = z, ""
    while len(names) > 1:
        groups = [
            names[start : start + _MOST_COMPARED] for start in range(0, len(names), _MOST_COMPARED)
        ]
        names = [f"m{len(steps)}_{i}" for i in range(len(groups))]
        if len(groups) == 1:
            names, guard = ["m"], f"WHEN {_total(z)} IS NULL THEN NULL "
        steps.append([*z, *_aliased((_greatest(group, guard) for group in groups), names)])
    return steps


# ---- Expressions -------------------------------------------------------------------------------


def _greatest(names: list[str], guard: str) -> str:
    """Return the greatest of some columns, after the case `guard`."""
    *others, last = names
    cases = [
        f"WHEN {' AND '.join(f'{name} >= {other}' for other in names[i:])} THEN {name} "
        for i, name in enumerate(others, start=1)
    ]
    return f"CASE {guard}{''.join(cases)}ELSE {last} END" if others else last


def _exp(exponent: str) -> str:
    return f"CASE WHEN {exponent} < {_LEAST_EXPONENT} THEN 0e0 ELSE exp({exponent}) END"


def _sigmoid(score: str) -> str:
    """Return the sigmoid of a column: exp of nothing above zero."""
    return (
        f"CASE WHEN {score} >= 0e0 THEN 1e0 / (1e0 + {_exp(f'-{score}')}) "
        f"ELSE {_exp(score)} / (1e0 + {_exp(score)}) END"
    )


def _log_sigmoid(score: str) -> str:
    least = f"CASE WHEN {score} < 0e0 THEN {score} ELSE 0e0 END"
    return f"{least} - ln(1e0 + {_exp(f'-abs({score})')})"


def _total(terms: list[str]) -> str:
    """Return a sum that is nowhere nested deeply."""
    while len(terms) > _MOST_TERMS:
        groups = (terms[i : i + _MOST_TERMS] for i in range(0, len(terms), _MOST_TERMS))
        terms = [f"({' + '.join(group)})" for group in groups]
    return " + ".join(terms)


def _number(value: float) -> str:
    """Return a number as all databases read it in double precision: with an exponent."""
    text = repr(float(value))
    return text if "e" in text else f"{text}e0"


def _double(column: str) -> str:
    """Return a column in double precision: databases do not multiply numbers by booleans."""
    return f"CAST(t.{_quoted(column)} AS DOUBLE PRECISION)"


def _class_literal(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).upper()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return _number(float(value))
    return "'" + str(value).replace("'", "''") + "'"


def _quoted(name: Any) -> str:
    """Return a name as standard SQL quotes it."""
    return '"' + str(name).replace('"', '""') + '"'


def _aliased(expressions: Iterable[str], names: Iterable[str]) -> list[str]:
    pairs = zip(expressions, names, strict=True)
    return [f"{expression} AS {name}" for expression, name in pairs]


def _select(expressions: list[str], source: str) -> str:
    """Return a SELECT, each expression on a line of its own."""
    return "SELECT\n  " + ",\n  ".join(expressions) + f"\nFROM {source}"


def _z(model: LinearModel) -> list[str]:
    return [f"z{k}" for k in range(len(model.b))]
