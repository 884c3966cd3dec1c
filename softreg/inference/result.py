"""What `infer` returns: contrasts of coefficients, their errors, and the fit's statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtrc, ndtr, ndtri

from softreg._encoding import validation
from softreg._encoding.class_values import listed
from softreg.inference.estimate import Estimate
from softreg.inference.table import Table

INTERCEPT, SUM_TO_ZERO = "intercept", "sum-to-zero"
# What the standard errors are, by the kind of covariance, without and with a penalty.
_MEANINGS = {
    "hessian": ("inverse information", "posterior under the penalty as a Gaussian prior"),
    "sandwich": ("sandwich (HC0)", "sandwich about a shrunken estimate"),
    "cluster": ("sandwich", "sandwich about a shrunken estimate"),
    "bootstrap": ("bootstrap", "bootstrap of a shrunken estimate"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """Coefficients of a fitted model with their standard errors, tests and statistics.

    Coefficients are contrasts: how much a unit of a feature adds to log P(class) / P(reference).
    Frames have the features and then "intercept" as rows, and a column for each class but the
    reference.

    Attributes
    ----------
    centred : Estimate of features less their centres, what all of it is made of
    centre : ndarray (u,), the centres of the features, about their means, and 0 for an intercept
    classes : ndarray of shape (n_classes,)
    features : tuple of the names of the columns, "x0", "x1", ... where they have none
    has_intercept : bool
    reference : a class; None where contrasts are to the mean of all classes
    covariance_type : str, "hessian", "sandwich", "cluster" or "bootstrap"
    is_penalised : bool, whether the penalty has shrunk coefficients
    is_likelihood : bool, whether `llf` is the log likelihood of independent rows, not that of rows
        weighted by how they were drawn
    llf, llnull : float, log likelihood of the fit, and of the model of intercepts (and offsets)
    n_samples : float, number of rows, or the sum of their frequency weights
    n_params : float, number of parameters; under a penalty the effective one, trace(H^-1 H_loss)
    n_groups : int or None, number of clusters
    n_resamples : int or None, number of bootstrap fits that converged
    label : the label, of a multi-label model; its classes are 0 and 1
    """

    centred: Estimate
    centre: NDArray[np.float64]
    classes: NDArray
    features: tuple
    has_intercept: bool
    reference: Any
    covariance_type: str
    is_penalised: bool
    is_likelihood: bool
    llf: float
    llnull: float
    n_samples: float
    n_params: float
    n_groups: int | None = None
    n_resamples: int | None = None
    label: Any = None

    @cached_property
    def estimate(self) -> Estimate:
        """The estimate of the features themselves."""
        return self.centred.from_zero(self.centre)

    # ---- Coefficients and their errors ----------------------------------------------------------

    @property
    def params(self) -> pd.DataFrame:
        """The coefficients; NaN where the data do not identify them."""
        return self._by_class(self._values)

    @property
    def bse(self) -> pd.DataFrame:
        """Their standard errors."""
        return self._by_class(self._errors)

    @property
    def z(self) -> pd.DataFrame:
        """Coefficients over their standard errors; ValueError under a penalty."""
        self.check_unpenalised("z")
        return self._by_class(self._values / self._errors)

    @property
    def p(self) -> pd.DataFrame:
        """Two-sided p-values of coefficients being zero; ValueError under a penalty."""
        self.check_unpenalised("p")
        return self._by_class(2 * ndtr(-np.abs(self._values / self._errors)))

    @property
    def covariance(self) -> pd.DataFrame:
        """The covariance of the coefficients, (class, feature) on both axes."""
        axis = self._axis()
        return pd.DataFrame(self._covariance, index=axis, columns=axis)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return intervals of the coefficients: `lower` and `upper` for each (class, feature).

        Of a penalised fit with ``covariance="hessian"`` they are credible intervals of the
        posterior; ValueError for other penalised fits, whose intervals would not cover.
        """
        ends = np.column_stack(self._interval(level))
        return pd.DataFrame(ends, index=self._axis(), columns=["lower", "upper"])

    def relative_risk_ratios(self, level: float = 0.95) -> pd.DataFrame:
        """Return exp(coefficient), with intervals, for each (class, feature).

        By this factor a unit of the feature multiplies P(class) / P(reference).
        """
        ends = np.exp(np.column_stack([self._values, *self._interval(level)]))
        return pd.DataFrame(ends, index=self._axis(), columns=["ratio", "lower", "upper"])

    def against(self, reference: Any) -> Inference:
        """Return the same with contrasts to another class, or to the mean: "sum-to-zero"."""
        is_mean = isinstance(reference, str) and reference == SUM_TO_ZERO
        if is_mean and not self._places(reference).size:
            return replace(self, reference=None)
        return replace(self, reference=listed(self.classes)[self.class_number(reference)])

    # ---- Statistics of the fit ------------------------------------------------------------------

    @property
    def df_model(self) -> float:
        """Number of parameters beside the intercepts."""
        present = len(self.classes) - np.count_nonzero(self.estimate.absent)
        return self.n_params - self.has_intercept * max(int(present) - 1, 0)

    @property
    def df_resid(self) -> float:
        """`n_samples` less the number of parameters."""
        return self.n_samples - self.n_params

    @property
    def llr(self) -> float:
        """Twice the log likelihood ratio of the fit to the model of intercepts."""
        return 2 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """Its p-value by the chi-squared distribution; ValueError under a penalty."""
        self.check_likelihood("llr_pvalue")
        return float(chdtrc(self.df_model, self.llr)) if self.df_model > 0 else np.nan

    @property
    def prsquared(self) -> float:
        """McFadden's pseudo R squared, 1 - llf / llnull; NaN where all rows have one class."""
        return 1 - self.llf / self.llnull if self.llnull else np.nan

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 llf + 2 n_params."""
        return -2 * self.llf + 2 * self.n_params

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 llf + log(n_samples) n_params."""
        return float(-2 * self.llf + np.log(self.n_samples) * self.n_params)

    # ---- Tables ---------------------------------------------------------------------------------

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a row for each (class, feature): coefficient, error, z and p, interval.

        Of penalised fits z and p are left out, and intervals unless they are those of a posterior.
        """
        columns = {"coef": self._values, "std err": self._errors}
        if not self.is_penalised:
            z = self._values / self._errors
            columns |= {"z": z, "P>|z|": 2 * ndtr(-np.abs(z))}
        if self.has_intervals:
            columns |= dict(zip(interval_names(level), self._interval(level), strict=True))
        return pd.DataFrame(columns, index=self._axis())

    def summary(self, level: float = 0.95) -> Table:
        """Return the table of coefficients, with the fit's statistics above it."""
        return Table(self._title, self.to_frame(level), self._header(), self._notes)

    def __repr__(self) -> str:
        """Return the printed summary."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- Parts ----------------------------------------------------------------------------------

    @property
    def terms(self) -> list:
        """The names of the coefficients of a class: the features and "intercept"."""
        return [*self.features, *[INTERCEPT] * self.has_intercept]

    @property
    def shown_classes(self) -> NDArray:
        """The classes that have a column, all but the reference."""
        return self.classes[self.shown_numbers]

    @property
    def shown_names(self) -> list:
        """The names of the columns: classes, or the label for class 1 against 0."""
        is_label = self.label is not None and self.shown_numbers.tolist() == [1]
        return [self.label] if is_label else listed(self.shown_classes)

    @cached_property
    def contrasts(self) -> sparse.csr_array:
        """The combinations of `estimate.coefficients`, raveled, that are shown, (m, K u)."""
        K = len(self.classes)
        to_reference = np.full((K, K), 1 / K)
        if self.reference is not None:
            to_reference = np.tile(np.arange(K) == self.class_number(self.reference), (K, 1))
        by_class = (np.eye(K) - to_reference)[self.shown_numbers]
        return sparse.csr_array(sparse.kron(by_class, sparse.eye(len(self.terms))))

    def class_number(self, name: Any) -> int:
        """Return the place of a class; ValueError if there is none of this name."""
        found = self._places(name)
        if not found.size:
            raise ValueError(
                f"{name!r} is not one of the classes {listed(self.classes)}; choose one of these."
            )
        return int(found[0])

    def _places(self, name: Any) -> NDArray[np.intp]:
        """Return the places of a class, (1,) or (0,) if there is none of this name."""
        # Dates and durations are found by their values, and as texts, as they are listed.
        are_dates, texts = self.classes.dtype.kind in "mM", listed(self.classes)
        values = list(self.classes) if are_dates else self.classes.tolist()
        equal = np.array([[_are_equal(value, name) for value in of] for of in (values, texts)])
        return np.flatnonzero(equal.any(axis=0))

    def check_unpenalised(self, what: str) -> None:
        """Raise a ValueError if the coefficients are shrunken, so that there is no `what`."""
        if self.is_penalised:
            raise ValueError(
                f"There is no {what} of a penalised fit: its coefficients are shrunken towards "
                "zero, and tests of them would not hold their level. Fit with C=np.inf."
            )

    def check_intervals(self) -> None:
        """Raise a ValueError if there are no intervals."""
        if not self.has_intervals:
            self.check_unpenalised("interval with this covariance")

    def check_likelihood(self, what: str) -> None:
        """Raise a ValueError if `what` is no statistic of a maximised likelihood of the rows."""
        self.check_unpenalised(what)
        if not self.is_likelihood:
            raise ValueError(
                f"There is no {what} of rows with probability weights, whose log likelihood is "
                "none of independent rows. Use the Wald tests of inference.wald."
            )

    @property
    def shown_numbers(self) -> NDArray[np.intp]:
        """The places of the classes that have a column."""
        every = np.arange(len(self.classes))
        return (
            every if self.reference is None else every[every != self.class_number(self.reference)]
        )

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        """The coefficients in the order of `covariance`."""
        return self.estimate.values(self.contrasts)

    @cached_property
    def _covariance(self) -> NDArray[np.float64]:
        return self.estimate.covariance_of(self.contrasts)

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        return np.sqrt(self._covariance.diagonal())

    def _interval(self, level: float) -> tuple[NDArray, NDArray]:
        """Return the ends of the intervals, in the order of `covariance`."""
        self.check_intervals()
        half = -ndtri((1 - check_level(level)) / 2) * self._errors
        return self._values - half, self._values + half

    @property
    def has_intervals(self) -> bool:
        """Whether there are intervals: of penalised fits, only those of the posterior."""
        return not self.is_penalised or self.covariance_type == "hessian"

    def _axis(self) -> pd.MultiIndex:
        return pd.MultiIndex.from_product(
            [self.shown_names, self.terms], names=["class", "feature"]
        )

    def _by_class(self, values: NDArray) -> pd.DataFrame:
        """Return a frame of values in the order of `covariance`."""
        table = values.reshape(len(self.shown_names), -1).T
        return pd.DataFrame(table, index=pd.Index(self.terms), columns=pd.Index(self.shown_names))

    @property
    def _title(self) -> str:
        model = "Softmax regression" if len(self.classes) > 2 else "Logistic regression"
        return f"{model}, {'penalised' if self.is_penalised else 'maximum likelihood'}"

    def _header(self) -> dict[str, str]:
        """Return what the summary says of the fit."""
        to = "mean of all classes" if self.reference is None else str(self.reference)
        errors = _MEANINGS[self.covariance_type][self.is_penalised]
        if self.n_resamples is not None:
            errors += f", {self.n_resamples} fits"
        if self.n_groups is not None:
            errors += f", {self.n_groups} clusters"
        header = {
            "Samples": f"{self.n_samples:g}",
            "Parameters": f"{self.n_params:.4g}" + " (effective)" * self.is_penalised,
            "Reference": to,
            "Standard errors": errors,
            "Log likelihood": f"{self.llf:.6g}",
            "Null log likelihood": f"{self.llnull:.6g}",
            "McFadden's R squared": f"{self.prsquared:.4f}",
            "AIC": f"{self.aic:.6g}",
            "BIC": f"{self.bic:.6g}",
        }
        if self.is_likelihood and not self.is_penalised:
            header["LR test"] = f"{self.llr:.4g} ({self.df_model:g} df), p = {self.llr_pvalue:.3g}"
        return header

    @property
    def _notes(self) -> tuple[str, ...]:
        """What the summary says below the table."""
        notes = []
        if self.is_penalised:
            notes.append("Coefficients are shrunken by the penalty: there are no p-values.")
        unidentified = self._axis()[np.isnan(self._errors)]
        if len(unidentified):
            names = list(dict.fromkeys(str(name) for name in unidentified.get_level_values(1)))
            notes.append(f"Not identified by the data: {', '.join(names)}.")
        return tuple(notes)


class MultiLabelInference(Mapping):
    """The inference of each label of a multi-label model, by the label.

    Frames have a column for each label. Labels are independent fits: ``result[label]`` is the
    `Inference` of one, for tests, margins and its own table.

    Parameters
    ----------
    by_label : dict from label to Inference
    """

    def __init__(self, by_label: dict[Any, Inference]) -> None:
        self._by_label = by_label

    def __getitem__(self, label: Any) -> Inference:
        """Return the inference of a label."""
        return self._by_label[label]

    def __iter__(self) -> Iterator:
        """Iterate over the labels."""
        return iter(self._by_label)

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self._by_label)

    @property
    def params(self) -> pd.DataFrame:
        """The coefficients, a column for each label."""
        return self._joined([one.params for one in self.values()])

    @property
    def bse(self) -> pd.DataFrame:
        """Their standard errors."""
        return self._joined([one.bse for one in self.values()])

    @property
    def z(self) -> pd.DataFrame:
        """Coefficients over their standard errors; ValueError under a penalty."""
        return self._joined([one.z for one in self.values()])

    @property
    def p(self) -> pd.DataFrame:
        """Two-sided p-values of coefficients being zero; ValueError under a penalty."""
        return self._joined([one.p for one in self.values()])

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a row for each (label, feature): coefficient, error, z and p, interval."""
        return pd.concat([one.to_frame(level) for one in self.values()])

    def __repr__(self) -> str:
        """Return the printed summary of each label."""
        return "\n\n".join(str(one) for one in self.values())

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self.values())

    @staticmethod
    def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(frames, axis=1)


def _are_equal(value: Any, name: Any) -> bool:
    """Return whether a class has a name; an array or pandas.NA are equal to none."""
    equal = value == name
    return isinstance(equal, bool | np.bool_) and bool(equal)


def check_level(level: float) -> float:
    """Return the level of intervals; ValueError unless it is between 0 and 1."""
    if not (isinstance(level, Real) and 0 < level < 1):
        raise ValueError(
            f"level must be between 0 and 1, got {validation.shown(level)}: 0.95 is usual."
        )
    return level


def interval_names(level: float) -> tuple[str, str]:
    """Return the names of the ends of an interval, such as "[0.025" and "0.975]"."""
    tail = (1 - check_level(level)) / 2
    return f"[{tail:.10g}", f"{1 - tail:.10g}]"
