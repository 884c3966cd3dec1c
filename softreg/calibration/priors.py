"""Priors: from the base rates of a fit to those of the rows that are predicted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, column_of, listed
from softreg._encoding.namespaces import converted_like
from softreg.calibration.outcomes import check_fitted, has_labels, probability_blocks

# Shares below this are rounding, of classes without rows.
_NOTHING = 1e-12
# What stands for a prior of zero, so that scores are finite: no row's scores make up for it.
_TINY = np.finfo(float).tiny
# What sums of shares that were written with six digits miss.
_SUM_TOLERANCE = 1e-5
# How far the mean log likelihood may be below its largest value.
_TOL = 1e-10
# Of the interior-point method. Of 4,000 small problems, many with several solutions, the slowest
# took 28 iterations; where steps go further, or aim at less, some do not converge.
_CENTRING, _PART, _LEAST_SLACK = 0.2, 0.9, 0.1


class PriorChange(NamedTuple):
    """What unlabelled rows say of their priors; of labels each is an array (n_labels,).

    Attributes
    ----------
    statistic : float
        Twice the log of the likelihood ratio of the priors found and those of the fit.
    df : int, the number of classes with rows, less one
    p_value : float
        Probability of a larger statistic, by the chi-squared distribution, if no prior has changed.
        It takes the probabilities of the fit to be right: with few rows to fit to, or a strong
        penalty, it is too small.
    n_iter : int, iterations that it took
    gap : float
        A proven bound on how far the mean log likelihood is below its largest value.
    """

    statistic: Any
    df: Any
    p_value: Any
    n_iter: Any
    gap: Any


def prior_shift(
    estimator: Any,
    priors: ArrayLike | None = None,
    X_new: ArrayLike | None = None,
    *,
    offset: ArrayLike | None = None,
    training_priors: ArrayLike | None = None,
    max_iter: int = 100,
) -> Any:
    r"""Return a fitted copy of an estimator for rows among which classes have other base rates.

    Class weights, resampling and case-control sampling give the classes shares p in a fit that are
    not their shares :math:`\pi` in the population. If a class looks there as it does in the fit,
    Bayes' rule corrects the intercepts, and those alone, exactly:

    .. math:: b_k \to b_k + \log \frac{\pi_k}{p_k} .

    Unknown priors are found from rows without labels, of which they are to make the likelihood the
    largest,

    .. math:: \max_\pi \; \frac{1}{m} \sum_i \log \sum_k \frac{\pi_k}{p_k} P(k \mid x_i) ,

    which is where the EM algorithm ends, but here by an interior-point method, as EM can take
    thousands of passes. Two classes have their one intercept corrected by the difference. A label
    is a two-class problem, with a base rate of its own.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
        It stays as it is. More than two classes, one a row, need `SoftmaxRegression`: of
        one-vs-rest no intercepts make the correction exact.
    priors : array-like of shape (n_classes,), dict or Series, default=None
        The shares of the classes among the rows to be predicted, in the order of `classes_` or by
        class; they sum to 1. Of labels the share of rows that have each. 0 is taken as 2e-308.
    X_new : array-like or sparse matrix of shape (n_new, n_features), default=None
        Rows without labels, drawn as those to be predicted; instead of `priors`.
    offset : array-like of the shape of `decision_function`, default=None
        The offset of `X_new`.
    training_priors : as `priors`, default=None
        The shares p in the fit, as it was weighted. None: its `class_prior_`, which `partial_fit`
        does not know.
    max_iter : int, default=100
        Most iterations on `X_new`, >= 0, of which twenty are needed or fewer. With known `priors`
        there are none, and it changes nothing.

    Returns
    -------
    shifted : estimator of the same class, fitted
        With corrected `intercept_`; `class_prior_` is what the priors now are. Of `X_new` it has
        the attribute ``prior_change_``, a `PriorChange`: a test of whether they changed, and how
        near the largest likelihood they are. What describes the fit, such as `objective_`, still
        does, and arrays other than these are shared with `estimator`.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg, or priors are no numbers.
    ValueError
        If an argument is not as described, a class without rows in the fit has a prior above 0, or
        the estimator is one-vs-rest.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the largest likelihood was not reached.

    References
    ----------
    King and Zeng (2001), "Logistic regression in rare events data", Political Analysis 9, 137-163,
    equation 7.
    Saerens, Latinne and Decaestecker (2002), "Adjusting the outputs of a classifier to new a priori
    probabilities: a simple procedure", Neural Computation 14, 21-41 (EM, and the test).
    Koenker and Mizera (2014), "Convex optimization, shape constraints, compound decisions, and
    empirical Bayes rules", Journal of the American Statistical Association 109, 674-685 (interior
    points in place of EM).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from softreg import SoftmaxRegression
    >>> from softreg.calibration import prior_shift
    >>> X, y = load_breast_cancer(return_X_y=True)  # of a hospital; 0 is malignant
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.class_prior_.round(3)
    array([0.373, 0.627])
    >>> screening = prior_shift(model, [0.01, 0.99])
    >>> float((screening.intercept_ - model.intercept_)[0].round(3))
    4.074
    >>> healthier = X[100:][y[100:] == 1]
    >>> prior_shift(model, X_new=healthier).class_prior_.round(2)
    array([0., 1.])
    """
    check_fitted("prior_shift", estimator)
    _check_not_one_vs_rest(estimator)
    if (priors is None) == (X_new is None):
        given = "neither" if priors is None else "both"
        raise ValueError(
            "prior_shift needs either priors, the shares of the classes, or X_new, rows to find "
            f"them from; got {given}."
        )
    if offset is not None and X_new is None:
        raise ValueError("offset is that of X_new, which is None: leave it None, too.")
    limit = validation.check_integer("max_iter", max_iter, 0)
    training = _training_shares(estimator, training_priors)
    attributes: dict[str, Any] = {}
    if X_new is None:
        new = _checked_shares("priors", priors, estimator)
        _check_known(estimator, new, training)
    else:
        checked = estimator._checked(X_new, offset)
        P = np.concatenate([P for _, P in probability_blocks(estimator, *checked)])
        new, attributes["prior_change_"] = _likeliest_shares(estimator, P, training, limit)
    attributes["class_prior_"] = new[:, 1] if has_labels(estimator) else new[0]
    intercept = estimator._dense_intercept + _score_shift(estimator, new, training)
    attributes["intercept_"] = converted_like(estimator.intercept_, intercept)
    shifted = estimator._with_attributes(attributes)
    vars(shifted).pop("_stream_", None)  # `partial_fit` goes on from the intercepts that predict
    return shifted


def _check_not_one_vs_rest(estimator: Any) -> None:
    """Raise a ValueError if each of more than two classes, one a row, has a sigmoid."""
    K = len(estimator.classes_)
    if hasattr(estimator, "multilabel_") and not estimator.multilabel_ and K > 2:
        raise ValueError(
            f"prior_shift got {type(estimator).__name__} fitted one-vs-rest to {K} classes, of "
            "which no intercepts make the correction exact: fit SoftmaxRegression."
        )


def _training_shares(estimator: Any, given: Any) -> NDArray[np.float64]:
    """Return the shares of the outcomes in the fit, (1, K), or of labels (L, 2)."""
    if given is None and not hasattr(estimator, "class_prior_"):
        raise ValueError(
            "training_priors=None, and the estimator has no class_prior_, as partial_fit does not "
            "know the shares of the classes: pass them, as they were weighted."
        )
    given = estimator.class_prior_ if given is None else given
    return _checked_shares("training_priors", given, estimator)


def _checked_shares(name: str, value: Any, estimator: Any) -> NDArray[np.float64]:
    """Return the shares of the outcomes of each problem, (1, K), or of labels (L, 2)."""
    classes = estimator.classes_
    if isinstance(value, Mapping) or hasattr(value, "to_dict"):  # a dict, or a Series
        value = _in_order(name, dict(value), classes)
    shares = validation.check_finite_real(name, value).astype(np.float64)
    validation.check_shape(name, shares, len(classes), meaning=", one for each of classes_")
    validation.check_nonnegative(name, shares, "shares lie between 0 and 1")
    if not has_labels(estimator):
        total = shares.sum(keepdims=True)
        off = np.abs(total - 1) > _SUM_TOLERANCE
        validation.raise_where(off, total, f"{name} must sum to 1", "divide them by their sum")
        return (shares / total)[None]
    rule = f"{name} of labels must be at most 1"
    validation.raise_where(shares > 1, shares, rule, "each is the share of rows that have it")
    return np.stack([1 - shares, shares], axis=1)


def _in_order(name: str, shares: dict, classes: NDArray) -> list:
    """Return shares by class in the order of the classes (K,)."""
    codes, values = codes_in(classes, column_of(list(shares))), list(shares.values())
    if sorted(codes.tolist()) != list(range(len(classes))):
        raise ValueError(
            f"{name} names {validation.shown(list(shares))}; it must name each of the classes "
            f"{validation.shown(listed(classes))} once."
        )
    return [values[place] for place in np.argsort(codes)]


def _check_known(estimator: Any, new: NDArray, training: NDArray) -> None:
    """Raise a ValueError if an outcome has a prior, and no rows in the fit to tell it by."""
    unknown = (new > 0) & (training <= _NOTHING)
    if unknown.any():
        axis = 1 if has_labels(estimator) else 0
        names = listed(estimator.classes_[unknown.any(axis=axis)])
        raise ValueError(
            f"priors of {validation.shown(names)} must be as in the fit, which has no rows that "
            "tell how these look: fit it to such rows."
        )


def _score_shift(estimator: Any, new: NDArray, training: NDArray) -> NDArray[np.float64]:
    """Return what the correction adds to each intercept, given shares of the outcomes (Q, K)."""
    known = training > _NOTHING
    ratio = np.zeros_like(new)
    ratio[known] = np.log(np.maximum(new[known], _TINY)) - np.log(training[known])
    if new.shape[1] == 2:
        return ratio[:, 1] - ratio[:, 0]
    return (ratio - ratio.mean(axis=1, keepdims=True))[0]


def _likeliest_shares(
    estimator: Any, P: NDArray, training: NDArray, max_iter: int
) -> tuple[NDArray, PriorChange]:
    """Return the likeliest shares of outcomes (Q, K), given probabilities (m, K) or (m, L, 2).

    Warn, for the caller's caller, where they were not reached.
    """
    by_problem = np.moveaxis(P, 1, 0) if has_labels(estimator) else P[None]
    pairs = zip(by_problem, training, strict=True)
    found = [_likeliest_of_problem(of_problem, shares, max_iter) for of_problem, shares in pairs]
    changes = [change for _, change in found]
    gap = np.array([change.gap for change in changes])
    if (gap > _TOL).any():
        whose = listed(estimator.classes_[gap > _TOL]) if has_labels(estimator) else []
        labels = f" of the labels {validation.shown(whose)}" if whose else ""
        warnings.warn(
            f"prior_shift did not reach the largest likelihood{labels}: after max_iter={max_iter} "
            f"iterations its mean logarithm may be {gap.max():.1g} below that. Raise max_iter.",
            ConvergenceWarning,
            stacklevel=3,
        )
    joined = PriorChange(*map(np.array, zip(*changes, strict=True)))
    change = joined if has_labels(estimator) else changes[0]
    return np.array([shares for shares, _ in found]), change


def _likeliest_of_problem(
    P: NDArray, training: NDArray, max_iter: int
) -> tuple[NDArray, PriorChange]:
    """Return the shares (K,) that make probabilities P (m, K) under other shares the likeliest.

    The gradient of the mean log likelihood, whose product with the shares is 1, has a slack of
    ``1 - gradient`` >= 0 where it is largest, and zero where a share is positive. As the likelihood
    is concave, the largest component less 1 bounds how far it may still rise. Each iteration

    1. aims at slack and share whose product is a fifth of what it is on average,
    2. takes Newton's step for both, nine tenths of the way to where one would be zero, at most.
    """
    known = training > _NOTHING
    ratios, shares = np.maximum(P[:, known], _TINY) / training[known], training[known]
    slack = np.zeros_like(shares)
    for n_iter in range(max_iter + 1):
        R = ratios / (ratios @ shares)[:, None]
        gradient = R.mean(axis=0)
        gap = max(float(gradient.max()) - 1, 0.0)
        if gap <= _TOL or n_iter == max_iter:
            break
        slack = slack if n_iter else np.maximum(1 - gradient, _LEAST_SLACK)
        # 1. What to aim at.
        target = _CENTRING * (shares @ slack) / len(shares)
        # 2. Newton's step, or the part of it that stays inside.
        H = R.T @ R / len(R) + np.diag(slack / shares)
        step = np.linalg.solve(H, gradient - 1 + target / shares)
        slack_step = (target - slack * step) / shares - slack
        shares = _inside(shares, step)
        shares, slack = shares / shares.sum(), _inside(slack, slack_step)
    all_shares = np.zeros(len(training))
    all_shares[known] = shares
    statistic = max(2 * len(P) * float(np.log(ratios @ shares).mean()), 0.0)
    df = int(known.sum()) - 1
    p_value = float(chi2.sf(statistic, df)) if df else 1.0
    return all_shares, PriorChange(statistic, df, p_value, n_iter, gap)


def _inside(values: NDArray, step: NDArray) -> NDArray:
    """Return positive values (K,) after a step, or the part of it that leaves them positive."""
    down = step < 0
    furthest = (values[down] / -step[down]).min(initial=np.inf)
    return values + min(1.0, _PART * furthest) * step
