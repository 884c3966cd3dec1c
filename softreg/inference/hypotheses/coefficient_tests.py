"""Tests of hypotheses about coefficients: Wald's, joint ones, likelihood ratios, merged classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats
from scipy.special import chdtrc

from softreg._encoding import validation
from softreg._encoding.class_values import listed
from softreg.inference.hypotheses.restrictions import Hypothesis, read_restrictions
from softreg.inference.multi_label import one_result
from softreg.inference.result import Inference, check_unpenalised, class_number, feature_numbers
from softreg.inference.standard_errors.estimate import Estimate

# Adjustments for several tests at a time.
Adjustment = Literal["holm", "bh"] | None
# A log-likelihood of the larger model this much (relative) below the smaller one's is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TestResult:
    """A test whose statistic is chi-squared under its hypothesis, in large samples.

    Attributes
    ----------
    statistic : float
    df : int
        Degrees of freedom: how many restrictions there are, less those that follow from others.
    p : float
        The probability of a statistic that large or larger if the hypothesis holds.
    description : str
    """

    __test__ = False  # no test for pytest to collect

    statistic: float
    df: int
    p: float
    description: str

    @classmethod
    def from_chi2(cls, statistic: float, df: int, description: str) -> TestResult:
        """Return the test of a chi-squared statistic."""
        return cls(statistic, df, float(_chi2_p(statistic, df)), description)

    def __str__(self) -> str:
        """Return the test in a line."""
        return f"{self.description}: chi2({self.df}) = {self.statistic:.4f}, p = {self.p:.4g}"


def wald(result: Any, restrictions: Any, values: ArrayLike | None = None) -> TestResult:
    r"""Return Wald's test of linear restrictions :math:`R \theta = r` on the coefficients.

    .. math:: (R \hat\theta - r)^\top (R V R^\top)^{-1} (R \hat\theta - r)

    with the covariance V that the result holds (sandwich, cluster and bootstrap ones as well) is
    chi-squared with as many degrees of freedom as R has rank.

    Parameters
    ----------
    result : Inference
        What `infer` returned.
    restrictions : str, list of str or array-like of shape (m, p)
        Linear equations of coefficients: ``"a[gpa] = b[gpa]"``, of classes a and b;
        ``"2 * a[gpa] - b[age] = 0.5"``; ``"gpa = 0"``, a feature by itself, is an equation for
        every class that is shown; without ``=`` the sum is zero. Names may be any text: of
        several readings the longest name is taken. Coefficients are those that are shown:
        the reference's are 0. Or a matrix over the columns of ``result.covariance``.
    values : array-like of shape (m,), default=None
        What a matrix times the coefficients is equal to. None: 0.

    Returns
    -------
    TestResult

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`, or penalised; if names are unknown, restrictions contradict
        each other, or concern what the data do not identify.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, wald
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> test = wald(result, ["1[ash] = 2[ash]", "magnesium = 0"])
    >>> test.df, bool(test.p < 1e-5)
    (3, True)
    """
    checked = _tested("wald", result)
    given = read_restrictions(checked, restrictions, values)
    R, estimate = given.R @ checked.contrasts, checked.estimate
    lost = ~estimate.identified(R)
    if lost.any():
        named = ", ".join(repr(given.names[i]) for i in np.flatnonzero(lost))
        raise ValueError(
            f"The data do not identify what these restrictions concern: {named}. Leave collinear "
            "columns out of X."
        )
    hypothesis = Hypothesis.from_rows(R, given.values, len(checked.classes))
    if not len(hypothesis.R):
        raise ValueError("The restrictions restrict nothing: the reference's coefficients are 0.")
    description = f"Wald test of {given.description}"
    return TestResult.from_chi2(*_statistic(estimate, hypothesis), description)


def joint(
    result: Any,
    terms: Mapping[str, Sequence] | None = None,
    adjust: Adjustment = None,
) -> pd.DataFrame:
    """Return, for each feature, the test that none of its coefficients differs between classes.

    The hypothesis is that the feature may be left out: Wald's test of its coefficients of all
    classes at once, whatever the reference.

    Parameters
    ----------
    result : Inference
        What `infer` returned.
    terms : mapping from a name to a list of features, default=None
        Columns that belong together, such as the levels of a category:
        ``{"ses": ["ses_middle", "ses_high"]}``. They are tested at once, in place of each by
        itself. If the data leave some of their coefficients open, all contrasts are tested that
        they do not.
    adjust : {None, "holm", "bh"}, default=None
        Adds p-values adjusted for the number of tests: Holm's bound the probability of any false
        rejection, Benjamini and Hochberg's the share of false ones among the rejections.

    Returns
    -------
    DataFrame
        A row for each feature or term, with statistic, df and p, and p_adjusted if asked for. What
        the data do not identify is NaN, with df 0.

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`, or penalised; if `terms` names no feature, or `adjust` is
        none of these.

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 65-70. Benjamini and Hochberg (1995), "Controlling the false discovery rate",
    Journal of the Royal Statistical Society B 57, 289-300.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, joint
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> joint(result, adjust="holm")["df"].tolist()
    [2, 2]
    """
    checked = _tested("joint", result)
    features, terms = checked.features, {} if terms is None else terms
    if not isinstance(terms, Mapping):
        raise ValueError(
            f"terms={validation.shown(terms)} must be a mapping from names to lists of features."
        )
    numbers = {
        name: feature_numbers(checked, columns, f"terms[{name!r}]")
        for name, columns in terms.items()
    }
    joined = {j for columns in numbers.values() for j in columns}
    alone = {name: [j] for j, name in enumerate(features) if j not in joined}
    taken = [name for name in numbers if name in alone]
    if taken:
        raise ValueError(f"terms has the name {taken[0]!r}, which is a feature's: choose another.")
    groups = alone | numbers
    K, u = checked.estimate.coefficients.shape
    rows = [np.kron(np.eye(K), np.eye(u)[columns]) for columns in groups.values()]
    return _table(checked.estimate, rows, pd.Index(list(groups), name="feature"), adjust)


def merge_test(
    result: Any, a: Any = None, b: Any = None, *, adjust: Adjustment = None
) -> TestResult | pd.DataFrame:
    """Return the test that two classes may be merged: no feature tells them apart.

    Wald's test that the coefficients of both are equal, but for the intercept.

    Parameters
    ----------
    result : Inference
        What `infer` returned.
    a, b : classes, default=None
        None: all pairs.
    adjust : {None, "holm", "bh"}, default=None
        Of all pairs, adds p-values adjusted for the number of tests, as in `joint`.

    Returns
    -------
    TestResult, or DataFrame
        Of all pairs a row each, with statistic, df and p, and p_adjusted if asked for.

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`, or penalised; if a or b is no class of the model.

    References
    ----------
    Anderson (1984), "Regression and ordered categorical variables", Journal of the Royal
    Statistical Society B 46, 1-30, on indistinguishable categories.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, merge_test
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> bool(merge_test(result, 0, 1).p < 1e-5), len(merge_test(result))
    (True, 3)
    """
    checked = _tested("merge_test", result)
    estimate, classes = checked.estimate, listed(checked.classes)
    K, u = estimate.coefficients.shape
    slopes = np.eye(u)[: len(checked.features)]

    def equal(k: int, j: int) -> NDArray:
        return np.kron(np.eye(K)[[k]] - np.eye(K)[[j]], slopes)

    if a is None and b is None:
        pairs = list(combinations(range(K), 2))
        names = [(classes[k], classes[j]) for k, j in pairs]
        index = pd.MultiIndex.from_tuples(names, names=["a", "b"])
        return _table(estimate, [equal(*pair) for pair in pairs], index, adjust)
    k, j = (class_number(checked, value, name) for name, value in (("a", a), ("b", b)))
    if k == j:
        raise ValueError(f"a={a!r} and b={b!r} are the same class; name two.")
    found = _identified_test(estimate, equal(k, j))
    return TestResult.from_chi2(*found, f"Wald test that {a!r} and {b!r} may be merged")


def likelihood_ratio(smaller: Any, larger: Any) -> TestResult:
    r"""Return the test that a model which is part of a larger one fits as well.

    .. math:: 2 (\ell_{\mathrm{larger}} - \ell_{\mathrm{smaller}})

    is chi-squared, with as many degrees of freedom as the larger model has more parameters.

    Parameters
    ----------
    smaller, larger : Inference
        What `infer` returned for both, of the same rows and weights. That the smaller is part of
        the larger one is not looked at beyond the number of parameters and the likelihoods.

    Returns
    -------
    TestResult

    Raises
    ------
    TypeError, ValueError
        If one of them is none of `infer`, or penalised, or its covariance is not the Hessian's, as
        the likelihood is then not taken to be true; if both have other rows or classes; if the
        larger one has no more parameters or fits worse.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, likelihood_ratio
    >>> X, y = load_wine(return_X_y=True)
    >>> def fitted(columns):
    ...     return infer(SoftmaxRegression(C=np.inf).fit(X[:, columns], y), X[:, columns], y)
    >>> likelihood_ratio(fitted([2]), fitted([2, 4])).df
    2
    """
    for name, result in (("smaller", smaller), ("larger", larger)):
        covariance = _tested("likelihood_ratio", result).covariance_type
        if covariance != "hessian":
            raise ValueError(
                f"The covariance of {name} is of the type {covariance!r}, which does not take its "
                'likelihood to be the true one; use wald or joint, or covariance="hessian".'
            )
    same_classes = listed(smaller.classes) == listed(larger.classes)
    if not (same_classes and np.isclose(smaller.n_samples, larger.n_samples, rtol=_ROUNDING)):
        raise ValueError(
            f"Both models must have the same rows and classes; smaller has {smaller.n_samples:g} "
            f"rows of {listed(smaller.classes)}, larger {larger.n_samples:g} of "
            f"{listed(larger.classes)}."
        )
    df, gain = round(larger.n_params - smaller.n_params), larger.llf - smaller.llf
    if df <= 0:
        raise ValueError(
            f"larger has {larger.n_params:g} parameters, and smaller {smaller.n_params:g}; it must "
            "have more."
        )
    if gain < -_ROUNDING * abs(smaller.llf):
        raise ValueError(
            f"larger has the log likelihood {larger.llf:.10g}, which is below {smaller.llf:.10g} "
            "of smaller, so that this one is no part of it, or was fitted with other weights."
        )
    return TestResult.from_chi2(max(2 * gain, 0.0), df, f"Likelihood-ratio test of {df} parameters")


def chi2_table(tests: list[tuple[float, int]], index: pd.Index) -> pd.DataFrame:
    """Return a row for each test, given its statistic and degrees of freedom, with its p."""
    statistic, df = (np.array(column) for column in zip(*tests, strict=True))
    return pd.DataFrame({"statistic": statistic, "df": df, "p": _chi2_p(statistic, df)}, index)


def _chi2_p(statistic: Any, df: Any) -> Any:
    """Return chi-squared p-values: NaN of negative statistics, or without degrees of freedom."""
    is_chi2 = np.greater(df, 0) & np.greater_equal(statistic, 0)
    return np.where(is_chi2, chdtrc(df, statistic), np.nan)


def _tested(caller: str, result: Any) -> Inference:
    """Return the result of `infer`; ValueError if it is penalised."""
    checked = one_result(caller, result)
    check_unpenalised(checked, "test")
    return checked


def _statistic(estimate: Estimate, hypothesis: Hypothesis) -> tuple[float, int]:
    """Return Wald's statistic and its degrees of freedom; ValueError if V has too low a rank."""
    R, values = hypothesis
    V, excess = estimate.covariance_of(R), R @ estimate.coefficients.ravel() - values
    deviation = np.sqrt(np.diag(V))
    eigenvalues, Q = linalg.eigh(V / np.outer(deviation, deviation))
    if eigenvalues[0] <= 10 * len(V) * np.finfo(float).eps:
        raise ValueError(
            f"The covariance of these {len(V)} restrictions has a lower rank, as of fewer groups "
            "or resamples than restrictions: test fewer at a time."
        )
    return float((np.square(Q.T @ (excess / deviation)) / eigenvalues).sum()), len(V)


def _identified_test(estimate: Estimate, R: NDArray) -> tuple[float, int]:
    """Return the test that R theta = 0 as far as the data tell; NaN, df 0 if they do not."""
    if not estimate.identified(R).all():
        R = linalg.null_space(estimate.unidentified_moves(R).T).T @ R
    hypothesis = Hypothesis.from_rows(R, np.zeros(len(R)), len(estimate.coefficients))
    if not len(hypothesis.R) or not estimate.identified(hypothesis.R).all():
        return np.nan, 0
    return _statistic(estimate, hypothesis)


def _table(
    estimate: Estimate, rows: list[NDArray], index: pd.Index, adjust: Adjustment
) -> pd.DataFrame:
    """Return a table of the tests that each R of `rows` has R theta = 0."""
    table = chi2_table([_identified_test(estimate, R) for R in rows], index)
    if adjust is not None:
        table["p_adjusted"] = _adjusted(table["p"].to_numpy(), adjust)
    return table


def _adjusted(p: NDArray, adjust: str) -> NDArray[np.float64]:
    """Return p-values (m,) adjusted for their number; NaN stays, and does not count."""
    if adjust not in list(_ADJUSTMENTS):
        raise ValueError(f'adjust={validation.shown(adjust)} must be "holm", "bh" or None.')
    adjusted, known = p.copy(), ~np.isnan(p)
    if known.any():
        adjusted[known] = _ADJUSTMENTS[adjust](p[known])
    return adjusted


def _holm(p: NDArray) -> NDArray[np.float64]:
    """Return p-values (m,) adjusted by Holm's steps: the least one counts m times, and so on."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    return np.minimum(adjusted, 1)


_ADJUSTMENTS: dict[str, Callable[[NDArray], NDArray]] = {
    "holm": _holm,
    "bh": stats.false_discovery_control,
}
