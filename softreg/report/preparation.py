"""Preparation: from a raw table to numbers and a model, as one pipeline of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from softreg import SigmoidRegressionCV, SoftmaxRegressionCV
from softreg.report import columns as kinds
from softreg.report.columns import Column, as_numbers, clean, counted, date_parts
from softreg.report.tables import Dialect
from softreg.report.target import Target

N_FOLDS = 5
_N_STRENGTHS = 10
# Words that stand in all texts alike say nothing, and would be free at enormous C only. Rounding
# leaves them a variance of 1e-32; one word in one of a million texts has 1e-7.
_LEAST_VARIANCE = 1e-9
_INDICATOR = "missingindicator_"


class Typed(TransformerMixin, BaseEstimator):
    """Makes typed columns of a raw table: floats with NaN, levels of categories, texts, date parts.

    Parameters
    ----------
    numbers, texts : list of str
        Names of columns.
    levels : dict of list of str
        By the name of a category: levels, of which "(other)" stands for all that are not there.
    dates : dict of str
        Formats by column.
    target : str
        The column that is predicted; new tables need not have it.
    left_out : list of str
        Columns that tell rows apart, and return beside predictions.
    dialect : dict
        How the table was written, the fields of a `Dialect`.
    """

    def __init__(
        self,
        numbers: list[str],
        levels: dict[str, list[str]],
        texts: list[str],
        dates: dict[str, str],
        target: str,
        left_out: list[str],
        dialect: dict[str, Any],
    ) -> None:
        self.numbers = numbers
        self.levels = levels
        self.texts = texts
        self.dates = dates
        self.target = target
        self.left_out = left_out
        self.dialect = dialect

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Return self: what columns are was said by the parameters."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the typed columns of a table that has all of `columns`."""
        typed = {name: self.as_finite(X[name]) for name in self.numbers}
        for name, levels in self.levels.items():
            column = clean(X[name]).fillna(kinds.MISSING).astype(object)
            is_known = column.isin(levels) | (kinds.OTHER not in levels)
            typed[name] = column.where(is_known, kinds.OTHER)
        typed |= {name: clean(X[name]).fillna("").astype(object) for name in self.texts}
        parts = [date_parts(clean(X[name]), name, form) for name, form in self.dates.items()]
        return pd.concat([pd.DataFrame(typed, X.index), *parts], axis=1)

    def as_finite(self, column: pd.Series) -> pd.Series:
        """Return a column as finite floats, NaN for all else."""
        is_number = pd.api.types.is_numeric_dtype(column)
        numbers = as_numbers(column if is_number else clean(column), self.dialect["decimal"])
        return numbers.where(numbers.abs() <= kinds.LARGEST)

    @property
    def columns(self) -> list[str]:
        """The names of the raw columns that are needed."""
        return [*self.numbers, *self.levels, *self.texts, *self.dates]

    def surprises(self, X: pd.DataFrame) -> list[str]:
        """Return sentences on values of a new table that the model has not met."""
        typed, found = self.transform(X), []
        for name, levels in self.levels.items():
            is_new = ~typed[name].isin(levels)
            is_missing = is_new & (typed[name] == kinds.MISSING)
            found += [
                ("Missing, as none is in the model", name, is_missing),
                ("Taken as none of its levels, as they are new", name, is_new & ~is_missing),
            ]
        for name in self.numbers:
            is_read = typed[name].notna() | clean(X[name]).isna()
            found.append(("Taken as missing, for want of a finite number", name, ~is_read))
        for name in self.dates:
            is_read = typed[f"{name}: day number"].notna() | clean(X[name]).isna()
            found.append(("Taken as missing, as no date in the format", name, ~is_read))
        return [
            f"{what}: {counted(int(rows.sum()), 'value')} of {name!r}."
            for what, name, rows in found
            if rows.any()
        ]


@dataclass(frozen=True)
class Folds:
    """Splits rows into folds that each have their part of every class, or of every rare label."""

    n_folds: int = N_FOLDS

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def split(
        self, X: Any, y: NDArray, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the numbers of training and held-out rows: y is (n,), or indicators (n, L)."""
        key = np.unique(y, return_inverse=True)[1]
        if np.ndim(y) == 2:  # the rarest label that a row has
            key = (np.asarray(y) / np.maximum(np.sum(y, axis=0), 1)).argmax(axis=1)
        n = len(key)
        order = np.random.default_rng(0).permutation(n)
        n_folds, fold = min(self.n_folds, n), np.empty(n, dtype=int)
        fold[order[np.argsort(key[order], kind="stable")]] = np.arange(n) % n_folds
        for number in range(n_folds):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def model_of(
    columns: Sequence[Column], target: Target, C: float | None, dropped: list[str], dialect: Dialect
) -> Pipeline:
    """Return a pipeline from raw tables to classes; without C it is chosen."""
    named = {kind: [c for c in columns if c.kind == kind] for kind in (*kinds.USED, kinds.ID)}
    dates = named[kinds.DATE]
    typed = Typed(
        numbers=[column.name for column in named[kinds.NUMBER]],
        levels={column.name: column.levels for column in named[kinds.CATEGORY]},
        texts=[column.name for column in named[kinds.TEXT]],
        dates={column.name: column.date_format for column in dates},
        target=target.name,
        left_out=[*dropped, *(column.name for column in named[kinds.ID])],
        dialect=asdict(dialect),
    )
    parts = {f"{c.name}: {part}": levels for c in dates for part, levels in c.parts.items()}
    numbers = [*typed.numbers, *(name for name, of_part in parts.items() if not of_part)]
    levels = typed.levels | {name: of_part for name, of_part in parts.items() if of_part}
    imputed = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    one_hot = OneHotEncoder(
        categories=[*levels.values()],
        drop="first" if np.inf == C else None,  # else columns are collinear
        handle_unknown="ignore",
        feature_name_combiner=level_name,
    )
    words = make_pipeline(
        TfidfVectorizer(max_features=kinds.MOST_WORDS, token_pattern=r"\b\w+\b"),
        VarianceThreshold(_LEAST_VARIANCE),
    )
    transformers = [
        ("numbers", make_pipeline(imputed, StandardScaler()), numbers),
        ("levels", one_hot, [*levels]),
        *((f"text{place}", words, name) for place, name in enumerate(typed.texts)),
    ]
    prepared = ColumnTransformer([part for part in transformers if part[2]])
    classifier = SigmoidRegressionCV if target.has_labels else SoftmaxRegressionCV
    Cs: Any = _N_STRENGTHS if C is None else [C]
    regression = classifier(Cs=Cs, cv=Folds(), classes=target.names)
    return Pipeline([("typed", typed), ("prepared", prepared), ("regression", regression)])


def level_name(column: str, level: str) -> str:
    """Return the name of the 0/1 column of a level."""
    return f"{column} = {level}"


def feature_names(model: Pipeline) -> list[str]:
    """Return the names of the columns that the regression of a fitted model sees, for readers."""
    shown = []
    for name in model["prepared"].get_feature_names_out():
        group, _, feature = name.partition("__")
        if group.startswith("text"):
            text = model["typed"].texts[int(group.removeprefix("text"))]
            shown.append(f"{text}: “{feature}”")
        elif feature.startswith(_INDICATOR):
            shown.append(f"{feature.removeprefix(_INDICATOR)} is missing")
        else:
            shown.append(feature)
    return shown
