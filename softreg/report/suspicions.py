"""Suspicions: what a statistician would ask about a table and the model of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from softreg.inference import separation
from softreg.report import columns as kinds
from softreg.report.assessment import Assessment
from softreg.report.columns import Column, counted
from softreg.report.preparation import feature_names
from softreg.report.target import Target

_RARE_ROWS = 10  # Fewer leave two rows, or less, to each fold that is held out.
_FEW_ROWS_EACH = 10  # For each column: the usual rule of thumb of events per variable.
_MOSTLY_MISSING = 0.5
# A column predicts alone if it leaves less than this of the errors that the largest class makes.
_LEFT_ERRORS = 0.02
_MOST_SEPARATED = 3e7  # Rows times coefficients: about ten seconds.


def suspicions(
    model: Pipeline,
    frame: pd.DataFrame,
    columns: Sequence[Column],
    target: Target,
    assessment: Assessment,
) -> list[str]:
    """Return sentences, what matters most first."""
    X = model[:-1].transform(frame)
    return [
        *_no_better_than_frequencies(assessment, target),
        *_predicts_alone(model["typed"].transform(frame), columns, target, assessment),
        *_separated(model, X, target),
        *_few_rows(X, target),
        *_about_rows(frame, columns),
        *(warning for column in columns for warning in column.warnings),
        *_chosen_at_an_end(model["regression"]),
    ]


def _no_better_than_frequencies(assessment: Assessment, target: Target) -> Iterator[str]:
    """Yield a warning if the model saves less than its standard error of the null log loss."""
    every = assessment.summary(target).loc["all"]
    if every["saved"] <= every["saved se"]:
        yield (
            f"On held-out rows the model is no better than the frequencies of {target.name!r} "
            "alone: these columns say nothing, or too little for so few rows."
        )


def _predicts_alone(
    typed: pd.DataFrame, columns: Sequence[Column], target: Target, assessment: Assessment
) -> Iterator[str]:
    """Yield the columns from which a decision tree predicts nearly every held-out row."""
    train = assessment.fold != 0
    for place, label in enumerate(target.names if target.has_labels else [""]):
        y = target.Y[:, place] if target.has_labels else target.codes
        at_best = np.bincount(y).max() / len(y)
        for column in columns:
            if column.kind in (kinds.EMPTY, kinds.ID, kinds.TEXT):
                continue
            name = column.name + ": day number" * (column.kind == kinds.DATE)
            x = _as_ranks(typed[name]) if name in typed else None
            if x is None:
                continue
            tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0)
            right = tree.fit(x[train], y[train]).score(x[~train], y[~train])
            if 1 - right <= _LEFT_ERRORS * (1 - at_best):
                what = f"the label {label!r}" if target.has_labels else repr(target.name)
                yield (
                    f"{column.name!r} predicts {what} alone, right in {right:.1%} of held-out "
                    "rows. Is it known before the target is, or made of it (leakage)? "
                    f"If so, --drop {column.name!r}."
                )


def _as_ranks(column: pd.Series) -> NDArray[np.float64]:
    """Return numbers as they are, other values by their number, (n, 1); missing ones are -1e300."""
    values = column if column.dtype.kind == "f" else pd.Series(pd.factorize(column)[0])
    return np.nan_to_num(values.to_numpy(np.float64), nan=-1e30).reshape(-1, 1)


def _separated(model: Pipeline, X: Any, target: Target) -> Iterator[str]:
    """Yield what separates classes, so that only the penalty keeps coefficients finite."""
    names = [*feature_names(model), "intercept"]
    if np.prod(X.shape) * len(target.names) > _MOST_SEPARATED:
        return
    for place, label in enumerate(target.names if target.has_labels else [""]):
        found = separation(X, target.Y[:, place] if target.has_labels else target.codes)
        if found.exists:
            continue
        columns = [names[-1 if name == "intercept" else name] for name in found.columns]
        what = f"the label {label!r}"
        if not target.has_labels:
            classes = [repr(target.names[code]) for code in found.classes[:5]]
            what = f"{'classes' if len(classes) > 1 else 'class'} {', '.join(classes)}"
        more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
        yield (
            f"{found.kind.capitalize()} separation: {', '.join(map(repr, columns[:5]))}{more} "
            f"tell {what} apart without error in {len(found.rows):,} of {len(target.Y):,} rows. "
            "Without a penalty coefficients are infinite: the penalty says how large they are."
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
            f"Rare {noun}, with fewer than {_RARE_ROWS} rows: {', '.join(rare[:8])}"
            f"{', ...' * (len(rare) > 8)}. What is said of them is uncertain."
        )
    least = counts.min()
    if least >= _RARE_ROWS and least < _FEW_ROWS_EACH * X.shape[1]:
        place = int(counts.argmin())
        yield (
            f"{target.names[place]!r}, the rarest of the {noun}, has {least:,} rows for "
            f"{X.shape[1]:,} columns, fewer than {_FEW_ROWS_EACH} for each: the penalty keeps "
            "predictions sane, but single coefficients are uncertain."
        )


def _about_rows(frame: pd.DataFrame, columns: Sequence[Column]) -> Iterator[str]:
    """Yield warnings of rows that repeat, are dated, or are mostly missing in a column."""
    used = [column.name for column in columns if column.kind in kinds.USED]
    if n_repeated := int(frame[used].duplicated().sum()):
        yield (
            f"{counted(n_repeated, 'row')} repeat another row in all columns that are used. If "
            "they are copies, held-out rows were seen before, and scores are too good."
        )
    if dated := [column.name for column in columns if column.kind == kinds.DATE]:
        yield (
            f"Rows are dated ({', '.join(map(repr, dated))}), and held-out rows were drawn at "
            "random: predictions of the future may be worse."
        )
    for column in columns:
        if column.kind in kinds.USED and column.n_missing > _MOSTLY_MISSING * len(frame):
            yield f"{column.name!r} is missing in {column.n_missing / len(frame):.0%} of the rows."


def _chosen_at_an_end(regression: Any) -> Iterator[str]:
    """Yield a warning if the C that was chosen is the first or last of several."""
    Cs = regression.Cs_
    if len(Cs) > 1 and regression.C_ in (Cs[0], Cs[-1]):
        end = "weakest" if Cs[-1] == regression.C_ else "strongest"
        yield f"The {end} penalty of the grid was best, C = {regression.C_:.3g}."
