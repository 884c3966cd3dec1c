"""Margins: average marginal effects, with errors by the delta method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from softreg._encoding import validation
from softreg._encoding.class_values import listed
from softreg._estimators.posing import in_one_thread
from softreg.inference.multi_label import one_result
from softreg.inference.probabilities.effects import Effect
from softreg.inference.probabilities.scenarios import Data, Scenarios
from softreg.inference.result import (
    Inference,
    check_unpenalised,
    feature_numbers,
    frame_of,
    interval,
    penalty_notes,
    two_sided_p,
)
from softreg.inference.summary import Summary

# What is averaged: whether it is of log p, and per unit of log x; and what the summary calls it.
_KINDS = {
    "dydx": (False, False, "dp / dx"),
    "eyex": (True, True, "elasticity d log p / d log x"),
    "dyex": (False, True, "dp / d log x"),
    "eydx": (True, False, "d log p / dx"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Margins:
    """Average marginal effects of features on the probabilities of all classes.

    Frames have the features as rows, within subgroups and given values where there are any, and a
    column for each class. What the data do not identify is NaN.

    Attributes
    ----------
    effects : DataFrame
    bse : DataFrame
        Their standard errors: posterior deviations or others, as those of the `Inference`.
    jacobian : ndarray of shape (n_effects, n_coefficients)
        Derivatives of the effects, in the order of `covariance`, in the coefficients of
        ``result.at_centre``, class after class.
    result : Inference
        What they are margins of.
    header : dict from str to str, what `summary` says above the table
    """

    effects: pd.DataFrame
    bse: pd.DataFrame
    jacobian: NDArray[np.float64]
    result: Inference
    header: dict[str, str]

    @property
    def z(self) -> pd.DataFrame:
        """Effects over their standard errors; ValueError under a penalty."""
        check_unpenalised(self.result, "z")
        return self.effects / self.bse

    @property
    def p(self) -> pd.DataFrame:
        """Two-sided p-values of effects being zero; ValueError under a penalty."""
        check_unpenalised(self.result, "p")
        return two_sided_p(self.effects / self.bse)

    @cached_property
    def covariance(self) -> pd.DataFrame:
        """The covariance of the effects, class and then the rows of `effects` on both axes."""
        V, axis = self.result.at_centre.covariance_of(self.jacobian), self._axis
        return pd.DataFrame(V, index=axis, columns=axis)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return intervals of the effects: `lower` and `upper` for each (class, feature).

        Of penalised fits as `Inference.conf_int`.
        """
        ends = interval(self.result, self._long(self.effects), self._long(self.bse), level)
        return pd.DataFrame(dict(zip(("lower", "upper"), ends, strict=True)), index=self._axis)

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a row for each (class, feature): effect, error, z and p, interval.

        Of penalised fits as `Inference.to_frame`.
        """
        effects, errors = self._long(self.effects), self._long(self.bse)
        return frame_of(self.result, "effect", effects, errors, self._axis, level)

    def summary(self, level: float = 0.95) -> Summary:
        """Return the table of effects, as `Inference.summary`."""
        frame = self.to_frame(level)
        frame.index = pd.MultiIndex.from_tuples([self._heading(label) for label in frame.index])
        return Summary("Average marginal effects", frame, self.header, penalty_notes(self.result))

    def __repr__(self) -> str:
        """Return the printed summary."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def _heading(self, label: tuple) -> tuple[str, Any]:
        """Return the section of a row of `to_frame`, and its name there."""
        name, *scenario, feature = label
        names = self.effects.index.names
        given = [f"{of} = {value}" for of, value in zip(names, scenario, strict=False)]
        return ", ".join([str(name), *given]), feature

    @staticmethod
    def _long(frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the values of a frame in the order of `covariance`."""
        return frame.to_numpy().T.ravel()

    @property
    def _axis(self) -> pd.MultiIndex:
        """The index of `covariance`."""
        rows = self.effects.index
        labels = [row if isinstance(row, tuple) else (row,) for row in rows]
        full = [(name, *label) for name in self.effects.columns for label in labels]
        return pd.MultiIndex.from_tuples(full, names=["class", *rows.names])


@in_one_thread
def margins(
    result: Any,
    X: Any,
    *,
    at: str | Mapping = "overall",
    kind: Literal["dydx", "eyex", "dyex", "eydx"] = "dydx",
    dummies: Any = "auto",
    by: Any = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Margins:
    r"""Return average marginal effects of features on the probabilities of all classes.

    The derivative of the probability of class k in feature j, averaged over rows,

    .. math:: \frac1n \sum_i p_{ik} \Big(\theta_{kj} - \sum_l p_{il} \theta_{lj}\Big) ,

    or the average difference that a column of 0 and 1 makes, all else being as it is. Effects sum
    to zero over the classes, whatever the reference. Standard errors are those of the delta method,
    :math:`J V J^\top` with the derivatives J in the coefficients and their covariance V; rows are
    taken block by block, so that beside X only J is held.

    Parameters
    ----------
    result : Inference
        What `infer` returned.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        The rows to average over, with the columns that the model was fitted to.
    at : {"overall", "mean", "median"}, mapping or Series, default="overall"
        Where: at the rows as they are, at the mean or median of all columns (in each subgroup), or
        at the rows with some columns set to a value, or to each of several: ``{"age": [30, 50]}``,
        and all combinations where several columns are given; a Series has one for each.
    kind : {"dydx", "eyex", "dyex", "eydx"}, default="dydx"
        Changes of p per unit of x; of log p per unit of log x (elasticities); of p per unit of
        log x; of log p per unit of x. The average is that of each row's value.
    dummies : "auto", None, list of features or mapping, default="auto"
        Columns whose effect is the difference between 1 and 0: of p, or of log p for "eyex" and
        "eydx". "auto": all that hold nothing but 0 and 1. A mapping from a variable to its columns,
        ``{"ses": ["ses_middle", "ses_high"]}``, says which exclude each other: each is compared
        with all of them 0.
    by : array-like of shape (n_samples,) or a feature, default=None
        Subgroups, over each of which the effects are averaged.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the average.
    offset : array-like of the shape of `decision_function`, default=None
        The offset of the rows' scores.

    Returns
    -------
    Margins

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`; if X has other columns than the model; if an argument is not
        as described.

    References
    ----------
    Greene (2012), "Econometric Analysis", 7th edition, section 18.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, margins
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> average = margins(result, X)
    >>> average.effects.shape, bool(np.abs(average.effects.sum(axis=1)).max() < 1e-12)
    ((2, 3), True)
    >>> margins(result, X, at={"magnesium": [90, 110]}).effects.index.names
    FrozenList(['magnesium', 'feature'])
    """
    checked = one_result("margins", result)
    if not (isinstance(kind, str) and kind in _KINDS):
        raise ValueError(f"kind={validation.shown(kind)} must be one of {list(_KINDS)}.")
    data = Data.from_user(checked, X, sample_weight, offset)
    scenarios = Scenarios.from_user(checked, data, at, by)
    of_log, per_log, meaning = _KINDS[kind]
    effect = Effect(of_log, per_log, _dummies(checked, data.X, dummies))
    theta, d = checked.at_centre.coefficients, len(checked.features)
    averages = [effect.average(scenario, theta, d) for scenario in scenarios.cases]
    value = np.concatenate([average.value for average in averages], axis=1)
    jacobian = np.concatenate([average.jacobian for average in averages], axis=1)
    jacobian = jacobian.reshape(-1, theta.size)
    variance = checked.at_centre.variance_of(jacobian).reshape(value.shape)
    index, columns = scenarios.axis(list(checked.features)), listed(checked.classes)
    known = np.where(np.isnan(variance), np.nan, value)
    return Margins(
        effects=pd.DataFrame(known.T, index=index, columns=columns),
        bse=pd.DataFrame(np.sqrt(variance).T, index=index, columns=columns),
        jacobian=jacobian,
        result=checked,
        header={"Effect": meaning, "At": str(at), "Rows": str(len(data.weight))},
    )


def _dummies(result: Inference, X: Any, dummies: Any) -> dict[int, list[int]]:
    """Return the columns whose effect is a difference, each with all columns of its variable."""
    if dummies is None:
        return {}
    if isinstance(dummies, str):
        if dummies != "auto":
            raise ValueError(
                f'dummies={dummies!r} must be "auto", None, a list of features, or a mapping from '
                "variables to their columns."
            )
        return {int(j): [int(j)] for j in np.flatnonzero(_zero_one_columns(X))}
    if not isinstance(dummies, Mapping):
        dummies = {name: [name] for name in (dummies if np.iterable(dummies) else [dummies])}
    variables = [feature_numbers(result, names, "dummies") for names in dummies.values()]
    _check_dummies(result, X, variables)
    return {j: variable for variable in variables for j in variable}


def _check_dummies(result: Inference, X: Any, variables: list[list[int]]) -> None:
    """Raise a ValueError unless columns are 0 or 1, of one variable, at most one of which is 1."""
    columns, zero_one = [j for variable in variables for j in variable], _zero_one_columns(X)
    for j in columns:
        name = result.features[j]
        if not zero_one[j]:
            raise ValueError(f"dummies names {name!r}, which holds more than 0 and 1.")
        if columns.count(j) > 1:
            raise ValueError(f"dummies names {name!r} in two places; it has one variable.")
    for variable in variables:
        if (np.asarray(X[:, variable].sum(axis=1)) > 1).any():
            names = [result.features[j] for j in variable]
            raise ValueError(
                f"dummies says that {names} exclude each other, and some rows of X hold several 1: "
                "name such columns as variables of their own."
            )


def _zero_one_columns(X: Any) -> NDArray[np.bool_]:
    """Return which columns of X (n, d) hold nothing but 0 and 1, (d,)."""
    is_zero_one = np.ones(X.shape[1], dtype=bool)
    if sparse.issparse(X):
        values: Any = X
        is_zero_one[values.indices[(values.data != 0) & (values.data != 1)]] = False
        return is_zero_one
    return is_zero_one & ((X == 0) | (X == 1)).all(axis=0)
