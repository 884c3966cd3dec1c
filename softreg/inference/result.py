"""What `infer` returns: contrasts of coefficients, their errors, and the fit's statistics."""

from __future__ import annotations

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
from softreg.inference.standard_errors.estimate import Estimate
from softreg.inference.summary import P_VALUE, Summary

INTERCEPT, SUM_TO_ZERO = "intercept", "sum-to-zero"
# With fewer clusters the normal distribution is too narrow (Cameron and Miller 2015, "A
# practitioner's guide to cluster-robust inference", Journal of Human Resources 50, 317-372).
_FEW_CLUSTERS = 30
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
    reference. It is what `infer` returns.

    Attributes
    ----------
    at_centre : Estimate
        The coefficients of all u features and intercept of each class, with intercepts that are the
        scores at `centre`: margins keep their digits where columns are far from zero.
    centre : ndarray of shape (u,)
        A centre of each feature, near its mean, and 0 for the intercept.
    classes : ndarray of shape (n_classes,)
        Of a label 0 and 1.
    features : tuple
        The names of the columns; "x0", "x1", ... where they have none.
    has_intercept : bool
    reference : class or None
        What coefficients are contrasts to; None: the mean of all classes.
    covariance_type : {"hessian", "sandwich", "cluster", "bootstrap"}
    is_penalised : bool
        Whether a penalty has shrunk coefficients.
    weights_are_counts : bool
        Whether sample weights count rows, so that `llf` is a log likelihood.
    llf, llnull : float
        Log likelihoods of the fit, and of the model of intercepts and offsets alone.
    n_samples : float
        Number of rows, or the sum of their frequency weights.
    n_params : float
        Number of parameters; under a penalty the effective one, trace(H^-1 H_loss).
    n_groups : int or None
        Number of clusters.
    n_resamples : int or None
        Number of bootstrap fits that have an optimum.
    label : label or None
        Of a multi-label model.
    """

    at_centre: Estimate
    centre: NDArray[np.float64]
    classes: NDArray
    features: tuple
    has_intercept: bool
    reference: Any
    covariance_type: str
    is_penalised: bool
    weights_are_counts: bool
    llf: float
    llnull: float
    n_samples: float
    n_params: float
    n_groups: int | None = None
    n_resamples: int | None = None
    label: Any = None

    @cached_property
    def estimate(self) -> Estimate:
        """The estimate whose intercepts are the scores where features are 0."""
        return self.at_centre.shifted_back(self.centre)

    # ---- Coefficients and their errors ----------------------------------------------------------

    @property
    def params(self) -> pd.DataFrame:
        """The coefficients; NaN where the data do not identify them."""
        return self._by_class(self._values)

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors of the coefficients."""
        return self._by_class(self._errors)

    @property
    def z(self) -> pd.DataFrame:
        """Coefficients over their standard errors; ValueError under a penalty."""
        check_unpenalised(self, "z")
        return self._by_class(self._values / self._errors)

    @property
    def p(self) -> pd.DataFrame:
        """Two-sided p-values of coefficients being zero; ValueError under a penalty."""
        check_unpenalised(self, "p")
        return self._by_class(two_sided_p(self._values / self._errors))

    @property
    def covariance(self) -> pd.DataFrame:
        """The covariance of the coefficients, (class, feature) on both axes."""
        axis = self._axis
        return pd.DataFrame(self._covariance, index=axis, columns=axis)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return intervals of the coefficients: `lower` and `upper` for each (class, feature).

        Of a penalised fit with ``covariance="hessian"`` they are credible intervals of the
        posterior; ValueError for other penalised fits, whose intervals would not cover.
        """
        ends = np.column_stack(interval(self, self._values, self._errors, level))
        return pd.DataFrame(ends, index=self._axis, columns=["lower", "upper"])

    def relative_risk_ratios(self, level: float = 0.95) -> pd.DataFrame:
        """Return exp(coefficient), with intervals, for each (class, feature).

        By this factor a unit of the feature multiplies P(class) / P(reference).
        """
        logs = np.column_stack([self._values, *interval(self, self._values, self._errors, level)])
        with np.errstate(over="ignore"):  # what is beyond numbers is inf
            ratios = np.exp(logs)
        return pd.DataFrame(ratios, index=self._axis, columns=["ratio", "lower", "upper"])

    def against(self, reference: Any) -> Inference:
        """Return the same with contrasts to another class, or to the mean of all: "sum-to-zero".

        ValueError if there is no such class.
        """
        is_mean = isinstance(reference, str) and reference == SUM_TO_ZERO
        if is_mean and not _places(self, reference).size:
            return replace(self, reference=None)
        return replace(self, reference=listed(self.classes)[class_number(self, reference)])

    # ---- Statistics of the fit ------------------------------------------------------------------

    @property
    def df_model(self) -> float:
        """Number of parameters beside the intercepts: degrees of freedom of `llr`."""
        present = len(self.classes) - np.count_nonzero(self.estimate.unseen)
        return self.n_params - self.has_intercept * max(int(present) - 1, 0)

    @property
    def df_resid(self) -> float:
        """Degrees of freedom that are left, n_samples - n_params."""
        return self.n_samples - self.n_params

    @property
    def llr(self) -> float:
        """Twice the log likelihood ratio of the fit to the null model, 2 (llf - llnull)."""
        return 2 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """The p-value of `llr`; ValueError under a penalty, or where the likelihood is not trusted.

        As the likelihood of probability weights, and with covariances other than "hessian".
        """
        check_likelihood(self, "llr_pvalue")
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
        return frame_of(self, "coef", self._values, self._errors, self._axis, level)

    def summary(self, level: float = 0.95) -> Summary:
        """Return the table of coefficients, with the fit's statistics above it.

        It prints, is a table in a notebook, and has `to_frame()` and `to_latex()`.
        """
        return Summary(self._title, self.to_frame(level), self._header, self._notes)

    def __repr__(self) -> str:
        """Return the printed summary."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- Parts ----------------------------------------------------------------------------------

    @property
    def terms(self) -> list:
        """The names of a class's coefficients: those of features, and "intercept"."""
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
        """R (m, K u), whose R theta are the coefficients that are shown, in `covariance`'s order.

        theta (K u,) are those of `estimate`, class after class.
        """
        K = len(self.classes)
        base = np.full(K, 1 / K)
        if self.reference is not None:
            base = np.eye(K)[class_number(self, self.reference)]
        by_class = np.eye(K)[self.shown_numbers] - base
        return sparse.csr_array(sparse.kron(by_class, sparse.eye(len(self.terms))))

    @property
    def shown_numbers(self) -> NDArray[np.intp]:
        """The places of the classes that have a column."""
        every = np.arange(len(self.classes))
        if self.reference is None:
            return every
        return np.delete(every, class_number(self, self.reference))

    @property
    def has_likelihood(self) -> bool:
        """Whether the likelihood is taken to be the true one of independent rows."""
        return self.weights_are_counts and self.covariance_type == "hessian"

    @property
    def has_intervals(self) -> bool:
        """Whether there are intervals: of penalised fits, only those of the posterior."""
        return not self.is_penalised or self.covariance_type == "hessian"

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

    @property
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

    @property
    def _header(self) -> dict[str, str]:
        """What the summary says of the fit."""
        errors = _MEANINGS[self.covariance_type][self.is_penalised]
        if self.n_resamples is not None:
            errors += f", {self.n_resamples} fits"
        if self.n_groups is not None:
            errors += f", {self.n_groups} clusters"
        kind = "likelihood" if self.weights_are_counts else "pseudo-likelihood"
        header = {
            "Samples": f"{self.n_samples:g}",
            "Parameters": f"{self.n_params:.4g}" + " (effective)" * self.is_penalised,
            "Reference": "mean of all classes" if self.reference is None else str(self.reference),
            "Standard errors": errors,
            f"Log {kind}": f"{self.llf:.6g}",
            f"Null log {kind}": f"{self.llnull:.6g}",
        }
        if self.weights_are_counts:
            header |= {
                "McFadden's R squared": f"{self.prsquared:.4f}",
                "AIC": f"{self.aic:.6g}",
                "BIC": f"{self.bic:.6g}",
            }
        if self.has_likelihood and not self.is_penalised:
            header["LR test"] = f"{self.llr:.4g} ({self.df_model:g} df), p = {self.llr_pvalue:.3g}"
        return header

    @property
    def _notes(self) -> tuple[str, ...]:
        """What the summary says below the table."""
        notes, is_open = [*penalty_notes(self)], np.isnan(self._errors)
        if is_open.any():
            names = dict.fromkeys(map(str, self._axis[is_open].get_level_values("feature")))
            notes.append(f"Not identified by the data: {', '.join(names)}.")
        if self.n_groups is not None and self.n_groups < _FEW_CLUSTERS:
            notes.append("Few clusters: errors and p-values are likely to be too small.")
        return tuple(notes)


def class_number(result: Inference, name: Any, argument: str = "reference") -> int:
    """Return the place of a class; ValueError if there is none of this name."""
    found = _places(result, name)
    if not found.size:
        raise ValueError(
            f"{argument}: {name!r} is not one of the classes {listed(result.classes)}; choose one "
            "of these."
        )
    return int(found[0])


def _places(result: Inference, name: Any) -> NDArray[np.intp]:
    """Return the places of a class, (1,) or (0,) if there is none of this name."""
    # Dates and durations are found by their values, and as texts, as they are listed.
    are_dates, texts = result.classes.dtype.kind in "mM", listed(result.classes)
    values = list(result.classes) if are_dates else result.classes.tolist()
    equal = np.array([[_are_equal(value, name) for value in of] for of in (values, texts)])
    return np.flatnonzero(equal.any(axis=0))


def _are_equal(value: Any, name: Any) -> bool:
    """Return whether a class has a name; an array or pandas.NA are equal to none."""
    equal = value == name
    return isinstance(equal, bool | np.bool_) and bool(equal)


def feature_number(result: Inference, name: Any, argument: str) -> int:
    """Return the place of a feature; ValueError if there is none of this name."""
    if name in result.features:
        return result.features.index(name)
    raise ValueError(
        f"{argument} names {name!r}, which is no feature of the model; the nearest names are "
        f"{validation.nearest_names(name, result.features)}."
    )


def feature_numbers(result: Inference, names: Any, argument: str) -> list[int]:
    """Return the places of one or more features, each once; ValueError if they are no list."""
    if isinstance(names, str) or not np.iterable(names):
        raise ValueError(f"{argument} holds {names!r}, which must be a list of features.")
    numbers = [feature_number(result, name, argument) for name in names]
    if not numbers:
        raise ValueError(f"{argument} is empty; it must name one or more features.")
    return list(dict.fromkeys(numbers))


def check_unpenalised(result: Inference, what: str) -> None:
    """Raise a ValueError if the coefficients are shrunken, so that there is no `what`."""
    if result.is_penalised:
        raise ValueError(
            f"There is no {what} of a penalised fit: its coefficients are shrunken towards "
            "zero, and tests of them would not hold their level. Fit with C=np.inf."
        )


def check_likelihood(result: Inference, what: str) -> None:
    """Raise a ValueError if there is no `what`, which needs a maximised likelihood."""
    check_unpenalised(result, what)
    if not result.weights_are_counts:
        raise ValueError(
            f"There is no {what} of rows with probability weights, whose log likelihood is "
            "none of independent rows. Use the Wald tests of inference.wald."
        )
    if not result.has_likelihood:
        raise ValueError(
            f"There is no {what} with covariance={result.covariance_type!r}, which does not take "
            "the likelihood to be the true one. Use the Wald tests of inference.wald, or "
            'covariance="hessian".'
        )


def interval(
    result: Inference, values: NDArray, errors: NDArray, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the intervals of values with these errors.

    ValueError if the fit has none, or the level is not between 0 and 1.
    """
    if not result.has_intervals:
        check_unpenalised(result, "interval with this covariance")
    half = -ndtri(_tail(level)) * errors
    return values - half, values + half


def frame_of(
    result: Inference, name: str, values: NDArray, errors: NDArray, index: pd.Index, level: float
) -> pd.DataFrame:
    """Return a row for each value (m,): it, as `name`, its error, z and p, interval.

    Of penalised fits z and p are left out, and intervals unless they are those of a posterior.
    """
    columns = {name: values, "std err": errors}
    if not result.is_penalised:
        with np.errstate(divide="ignore", invalid="ignore"):  # effects that are zero for sure
            z = values / errors
        columns |= {"z": z, P_VALUE: two_sided_p(z)}
    if result.has_intervals:
        lower, upper = interval(result, values, errors, level)
        tail = _tail(level)
        columns |= {f"[{tail:.10g}": lower, f"{1 - tail:.10g}]": upper}
    return pd.DataFrame(columns, index=index)


def penalty_notes(result: Inference) -> tuple[str, ...]:
    """Return what summaries say of a penalty, if there is one."""
    note = "Coefficients are shrunken by the penalty: there are no p-values."
    return (note,) * result.is_penalised


def two_sided_p(z: Any) -> Any:
    """Return the probabilities of normal deviations of either sign that are larger than z."""
    return 2 * ndtr(-np.abs(z))


def _tail(level: float) -> float:
    """Return what is on either side of an interval; ValueError unless 0 < level < 1."""
    if not (isinstance(level, Real) and 0 < level < 1):
        raise ValueError(
            f"level must be between 0 and 1, got {validation.shown(level)}: 0.95 is usual."
        )
    return (1 - level) / 2
