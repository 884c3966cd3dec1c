"""Scenarios: the rows over which margins average, by subgroup, at given values of some columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from softreg import SoftmaxRegression
from softreg._encoding import validation
from softreg._encoding.class_values import column_of, distinct_with_codes, listed, missing
from softreg._estimators.posing import read_features
from softreg._model.kernels import softmax_inplace
from softreg.inference.result import Inference, feature_number

# Half a megabyte of doubles, which stays in a core's second-level cache.
_BLOCK_VALUES = 2**16
# A share of the weight that differs from a half by less than this is a half.
_ROUNDING = 1e-12


class RowBlock(NamedTuple):
    """Some rows of a scenario.

    Attributes
    ----------
    x : ndarray (m, u), the features less their centres, and a 1 where there is an intercept
    centre : ndarray (u,), the centres, and 0 for the intercept
    offset : ndarray (K, m), or 0.0
    weight : ndarray (m,); those of all blocks of a scenario sum to one
    """

    x: NDArray[np.float64]
    centre: NDArray[np.float64]
    offset: NDArray[np.float64] | float
    weight: NDArray[np.float64]

    def scores(self, theta: NDArray) -> NDArray[np.float64]:
        """Return the scores (K, m), given coefficients (K, u) of centred features."""
        return theta @ self.x.T + self.offset

    def probabilities(self, theta: NDArray) -> NDArray[np.float64]:
        """Return the probabilities (K, m), given coefficients (K, u)."""
        Z = self.scores(theta)
        softmax_inplace(Z[None])
        return Z


class Data(NamedTuple):
    """Rows of features, checked.

    Attributes
    ----------
    X : ndarray or CSR (m, d)
    offset : ndarray (m, K) or None
    weight : ndarray (m,), with sum one
    centre : ndarray (u,), the centres of the features, and 0 for an intercept
    """

    X: Any
    offset: NDArray | None
    weight: NDArray[np.float64]
    centre: NDArray[np.float64]

    @classmethod
    def from_user(cls, result: Inference, X: Any, sample_weight: Any, offset: Any) -> Data:
        """Return the rows of an X with the features of a result; ValueError if they do not fit."""
        X = _features(result, X)
        n, K = X.shape[0], len(result.classes)
        checked = validation.check_offset(offset, (n,) if K == 2 else (n, K))
        if checked is not None and K == 2:  # of two classes, that of the second
            checked = np.stack([-checked / 2, checked / 2], axis=1)
        weight = validation.check_sample_weight(sample_weight, n)
        weight = np.ones(n) if weight is None else weight
        return cls(X, checked, weight, result.centre)._of_weight_one("sample_weight")

    def take(self, rows: NDArray, name: str) -> Data:
        """Return some of the rows, which are `name` in errors."""
        offset = None if self.offset is None else self.offset[rows]
        return self._replace(
            X=self.X[rows], offset=offset, weight=self.weight[rows]
        )._of_weight_one(f"sample_weight of {name}")

    def at_point(self, at: str) -> Data:
        """Return one row: the weighted "mean" or "median" of each column, and the mean offset."""
        X, weight = self.X, self.weight
        if at == "mean":
            row = X.T @ weight
        else:
            columns = range(X.shape[1])
            row = np.array([_median(_column(X, j), weight) for j in columns])
        offset = None if self.offset is None else (weight @ self.offset)[None]
        return self._replace(X=np.asarray(row)[None], offset=offset, weight=np.ones(1))

    def blocks(self, values: Mapping[int, float]) -> Iterator[RowBlock]:
        """Yield the rows, block by block, with some columns' values replaced."""
        (m, d), is_sparse = self.X.shape, bool(sparse.issparse(self.X))
        step = max(1, _BLOCK_VALUES // len(self.centre))
        for rows in (slice(start, start + step) for start in range(0, m, step)):
            part = self.X[rows]
            x = np.ones((part.shape[0], len(self.centre)))
            x[:, :d] = part.toarray() if is_sparse else part
            for j, value in values.items():
                x[:, j] = value
            offset = 0.0 if self.offset is None else self.offset[rows].T
            yield RowBlock(x - self.centre, self.centre, offset, self.weight[rows])

    def _of_weight_one(self, name: str) -> Data:
        """Return the rows with weights whose sum is one; ValueError if none has weight."""
        largest = self.weight.max()
        if not largest > 0:
            raise ValueError(f"{name} sums to 0; some row must have weight.")
        weight = self.weight / largest  # the sum of large ones would overflow
        return self._replace(weight=weight / weight.sum())


class Scenario(NamedTuple):
    """Rows to average over, with some columns set to given values.

    Attributes
    ----------
    label : tuple, the subgroup if there are any, and the given values
    data : Data
    values : mapping from the number of a column to its value
    """

    label: tuple
    data: Data
    values: Mapping[int, float]

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the rows, block by block."""
        return self.data.blocks(self.values)


class Scenarios(NamedTuple):
    """All scenarios, and the names of what tells them apart.

    Attributes
    ----------
    names : list of str
    cases : list of Scenario
    """

    names: list
    cases: list[Scenario]

    @classmethod
    def from_user(cls, result: Inference, data: Data, at: Any, by: Any) -> Scenarios:
        """Return the scenarios of each subgroup and each combination of given values."""
        given: dict[int, list[float]] = {}
        if isinstance(at, Mapping | pd.Series):
            given = {
                feature_number(result, name, "at"): _given_values(name, values)
                for name, values in at.items()
            }
        elif not (isinstance(at, str) and at in ("overall", "mean", "median")):
            raise ValueError(
                f'at={validation.shown(at)} must be "overall", "mean", "median", or a mapping or '
                "Series from features to values."
            )
        names = [result.features[j] for j in given]
        groups = [((), data)]
        if by is not None:
            groups = list(_subgroups(result, data, by))
            names = [_name_of(by), *names]
        is_point = isinstance(at, str) and at != "overall"
        cases = [
            Scenario((*label, *values), rows, dict(zip(given, values, strict=True)))
            for label, part in groups
            for rows in [part.at_point(at) if is_point else part]
            for values in product(*given.values())
        ]
        return cls(names, cases)

    def axis(self, rows: list) -> pd.Index:
        """Return the index of a frame that has these rows for each scenario, or one (no rows)."""
        labels = [(*case.label, row) for case in self.cases for row in rows]
        names = [*self.names, "feature"]
        if not rows:
            labels, names = [case.label for case in self.cases], self.names
        if len(names) == 1:
            return pd.Index([label[0] for label in labels], name=names[0])
        return pd.MultiIndex.from_tuples(labels, names=names) if names else pd.RangeIndex(1)


def _features(result: Inference, X: Any) -> Any:
    """Return X (n, d) as floats or CSR; ValueError if its features are not the result's.

    Those of a fit to an array have made-up names, which no DataFrame need have. One that has some
    of them means them.
    """
    d = len(result.features)
    attributes: dict[str, Any] = {"n_features_in_": d}
    if hasattr(X, "columns"):
        is_made_up = result.features == tuple(f"x{j}" for j in range(d))
        if is_made_up and not set(X.columns).intersection(result.features):
            X = X.to_numpy()
        else:
            attributes["feature_names_in_"] = np.array(result.features, dtype=object)
    reader = SoftmaxRegression()._with_attributes(attributes)
    return read_features(reader, X, reset=False)[0]


def _subgroups(result: Inference, data: Data, by: Any) -> Iterator[tuple[tuple, Data]]:
    """Yield the label of each subgroup, and its rows."""
    n = data.X.shape[0]
    if isinstance(by, str):
        column = _column(data.X, feature_number(result, by, "by"))
    elif np.iterable(by):
        column = column_of(by)
    else:
        raise ValueError(f"by={by!r} must be a feature, or have one value for each row of X.")
    validation.check_shape("by", column, n, meaning=", one value for each row of X")
    if len(missing(column)):
        raise ValueError(f"by is missing in row {missing(column)[0]}; leave out or name such rows.")
    groups, codes = distinct_with_codes(column)
    for code, group in enumerate(listed(groups)):
        yield (group,), data.take(np.flatnonzero(codes == code), f"{_name_of(by)} {group!r}")


def _name_of(by: Any) -> Any:
    """Return what the subgroups are called: a feature, the name of a Series, or "by"."""
    return by if isinstance(by, str) else getattr(by, "name", None) or "by"


def _given_values(name: Any, values: Any) -> list[float]:
    """Return the values of a column to be tried, a number or several."""
    array = np.atleast_1d(validation.check_finite_real(f"at[{name!r}]", values)).astype(float)
    validation.check_shape(f"at[{name!r}]", array, "m")
    return array.tolist()


def _column(X: Any, j: int) -> NDArray:
    """Return a column of X, (n,)."""
    column = X[:, [j]]
    return (column.toarray() if sparse.issparse(X) else column)[:, 0]


def _median(values: NDArray, weight: NDArray) -> float:
    """Return the weighted median: the middle of all that have half the weight on either side."""
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    half = below[-1] / 2
    first, last = np.searchsorted(below, [half * (1 - _ROUNDING), half * (1 + _ROUNDING)])
    return float(values[order][[first, last]].mean())
