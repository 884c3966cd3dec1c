"""Suspicions: what a statistician would ask about a table and the model of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from softreg import SoftmaxRegression
from softreg.inference import Separation, separation
from softreg.report import columns as kinds
from softreg.report.assessment import Assessment
from softreg.report.columns import Column, listed
from softreg.report.preparation import feature_names
from softreg.report.target import Target

_RARE_ROWS = 10  # Fewer leave two rows, or less, to each fold that is held out.
_FEW_ROWS_EACH = 10  # For each column: the usual rule of thumb of events per variable.
_MOSTLY_MISSING, _REPEATED = 0.5, 0.05  # Shares of rows.
# A column predicts alone if it leaves less than this of the errors that the largest class makes.
_LEFT_ERRORS = 0.02
_MOST_SEPARATED = 3e6  # Rows times coefficients: about a second.
# Of a penalty this weak all rows are classified right, if they can be; tol need not be small.
_NEARLY_FREE, _ROUGHLY = 1e6, 1e-4
_ROWS_IN_BIN, _MOST_BINS = 8, 200
_DISTINCT = 4  # A column with fewer rows than these for each of its values tells rows apart.
_SEPARATED = "Without a penalty coefficients would be infinite; it alone says how large they are."


def suspicions(
    model: Pipeline,
    frame: pd.DataFrame,
    typed: pd.DataFrame,
    columns: Sequence[Column],
    target: Target,
    assessment: Assessment,
) -> list[str]:
    """Return sentences, what matters most first; `frame` is raw, `typed` what was made of it."""
    X = model["prepared"].transform(typed)
    return [
        *_hardly_better_than_frequencies(assessment, target),
        *_predicts_alone(typed, columns, target, assessment.fold),
        *_separated(model, X, target),
        *_few_rows(X, target),
        *_about_rows(frame, columns, target),
        *(warning for column in columns for warning in column.warnings),
    ]


def _hardly_better_than_frequencies(assessment: Assessment, target: Target) -> Iterator[str]:
    """Yield a warning if the model saves less than its standard error of the null log loss."""
    every = assessment.summary(target).loc["all"]
    if every["saved"] <= every["saved se"]:
        yield (
            f"On held-out rows the model is hardly better than the frequencies of {target.name!r} "
            "alone: these columns say nothing, or too little for so few rows."
        )


def _questions(target: Target) -> Iterator[tuple[str, NDArray]]:
    """Yield what is asked of a row, in words, and the answers (n,): its class, or each label."""
    if not target.has_labels:
        yield repr(target.name), target.codes
        return
    for place, label in enumerate(target.names):
        yield f"the label {label!r}", target.Y[:, place]


def _predicts_alone(
    typed: pd.DataFrame, columns: Sequence[Column], target: Target, fold: NDArray[np.intp]
) -> Iterator[str]:
    """Yield the columns from which a decision tree predicts nearly every held-out row."""
    names = {column.name: column.name for column in columns if column.kind != kinds.TEXT}
    names |= {f"{column.name}: day number": column.name for column in columns if column.parts}
    for feature in typed.columns.intersection([*names]):
        ranks = typed[feature].rank(method="dense").fillna(0).to_numpy().astype(np.intp)
        for what, y in _questions(target):
            most_wrong = _LEFT_ERRORS * (1 - np.bincount(y).max() / len(y))
            if _wrong_in_bins(ranks, y) > most_wrong:
                continue
            wrong = _wrong_alone(ranks, y, fold)
            if wrong <= most_wrong:
                yield (
                    f"{names[feature]!r} alone predicts {what}, right in {1 - wrong:.1%} of "
                    "held-out rows. Is it known before the target is, or made of it (leakage)? "
                    f"If it is made of it, --drop {names[feature]!r}."
                )


def _wrong_in_bins(ranks: NDArray[np.intp], y: NDArray) -> float:
    """Return about the least share of rows that bins of a column (n,) classify wrong.

    It is quick, and for all but few columns well above what a tree may leave.
    """
    n_bins, K = int(np.clip(len(y) // _ROWS_IN_BIN, 2, _MOST_BINS)), y.max() + 1
    bins = ranks if ranks.max() < n_bins else np.argsort(np.argsort(ranks)) * n_bins // len(y)
    counts = np.bincount(bins * K + y, minlength=(bins.max() + 1) * K).reshape(-1, K)
    return 1 - counts.max(axis=1).sum() / len(y) - 1 / n_bins


def _wrong_alone(ranks: NDArray[np.intp], y: NDArray, fold: NDArray[np.intp]) -> float:
    """Return the share of held-out rows that a decision tree of a column (n,) classifies wrong."""
    tree, shares, x = DecisionTreeClassifier(min_samples_leaf=2, random_state=0), [], ranks[:, None]
    for number in np.unique(fold):
        test = fold == number
        shares.append(1 - tree.fit(x[~test], y[~test]).score(x[test], y[test]))
    return float(np.mean(shares))


def _separated(model: Pipeline, X: Any, target: Target) -> Iterator[str]:
    """Yield what separates classes, so that only the penalty keeps coefficients finite."""
    if np.prod(X.shape) * len(target.names) > _MOST_SEPARATED:
        return
    names = feature_names(model)
    for what, y in _questions(target):
        nearly_free = SoftmaxRegression(C=_NEARLY_FREE, tol=_ROUGHLY).fit(X, y)
        # Complete separation is seen at once, and linear programs of many columns are slow.
        if (nearly_free.predict(X) == y).all():
            yield f"Separation (complete): the columns tell {what} in each row. {_SEPARATED}"
        elif not (found := separation(X, y)).exists:
            yield _of_separation(found, names, what, target)


def _of_separation(found: Separation, names: Sequence[str], what: str, target: Target) -> str:
    """Return a warning of columns that tell some classes apart."""
    columns = [repr(names[name]) for name in found.columns if name != "intercept"]
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    if not target.has_labels:
        classes = [repr(target.names[code]) for code in found.classes[:5]]
        what = f"{'classes' if len(classes) > 1 else 'class'} {', '.join(classes)}"
    return (
        f"Separation ({found.kind}): by {', '.join(columns[:5])}{more} one tells {what} apart "
        f"without error in {len(found.rows):,} of {len(target.Y):,} rows. {_SEPARATED}"
    )


def _few_rows(X: Any, target: Target) -> Iterator[str]:
    """Yield warnings of rare classes and of more coefficients than rows can tell."""
    counts = target.Y.sum(axis=0)
    if target.has_labels:
        counts = np.minimum(counts, len(target.Y) - counts)
    noun = "labels" if target.has_labels else "classes"
    rare = [
        f"{name!r} ({n})" for name, n in zip(target.names, counts, strict=True) if n < _RARE_ROWS
    ]
    if rare:
        yield (
            f"Rare {noun}, with fewer than {_RARE_ROWS} rows: {listed(rare)}. What is said of them "
            "is uncertain."
        )
    least = counts.min()
    if least >= _RARE_ROWS and least < _FEW_ROWS_EACH * X.shape[1]:
        place = int(counts.argmin())
        yield (
            f"{target.names[place]!r}, the rarest of the {noun}, has {least:,} rows for "
            f"{X.shape[1]:,} columns, fewer than {_FEW_ROWS_EACH} for each: single "
            "coefficients are uncertain."
        )


def _about_rows(frame: pd.DataFrame, columns: Sequence[Column], target: Target) -> Iterator[str]:
    """Yield warnings of rows that repeat, are dated, or are mostly missing in a column."""
    used = [column.name for column in columns if column.kind in kinds.USED]
    n_repeated = int(frame[[*used, target.name]].duplicated().sum())
    if n_repeated > _REPEATED * len(frame) and frame[used].nunique().max() * _DISTINCT > len(frame):
        yield (
            f"Repeated rows: {n_repeated:,} of {len(frame):,} equal an earlier one in all columns. "
            "If they are copies, held-out rows were seen before, and scores are too good."
        )
    if dated := [column.name for column in columns if column.kind == kinds.DATE]:
        yield (
            f"Rows are dated ({', '.join(map(repr, dated))}), and held-out rows were drawn at "
            "random: predictions of the future may be worse."
        )
    for column in columns:
        if column.kind in kinds.USED and column.n_missing > _MOSTLY_MISSING * len(frame):
            yield f"{column.name!r} is missing in {column.n_missing / len(frame):.0%} of the rows."
