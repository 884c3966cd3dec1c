"""Predicted probabilities with intervals, row by row and on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from softreg._encoding.class_values import listed
from softreg._estimators.posing import in_one_thread
from softreg._model.kernels import softmax_inplace
from softreg.inference.multi_label import one_result
from softreg.inference.probabilities.effects import average_probability
from softreg.inference.probabilities.scenarios import Data, RowBlock, Scenarios
from softreg.inference.result import Inference, interval
from softreg.inference.standard_errors.estimate import Estimate


@in_one_thread
def predict_interval(
    result: Any, X: Any, level: float = 0.95, offset: ArrayLike | None = None
) -> pd.DataFrame:
    r"""Return the predicted probability of each class in each row, with intervals.

    Intervals are those of the logit of each probability by the delta method,

    .. math:: \mathrm{sigmoid}\big(\mathrm{logit}(p_k) \pm q \, \mathrm{se}\big),

    so that they lie between 0 and 1. They are of the probability, not of the class that comes, and
    of a row by itself. Of penalised fits they are credible intervals of the posterior.

    Parameters
    ----------
    result : Inference
        What `infer` returned.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        With the columns that the model was fitted to.
    level : float, default=0.95
        Of the intervals.
    offset : array-like of the shape of `decision_function`, default=None
        The offset of the rows' scores.

    Returns
    -------
    DataFrame
        A row for each of X, under its index. Columns are "probability", "lower" and "upper", each
        of all classes: ``frame["lower"]`` is a frame of a column a class. Intervals are NaN where
        the data do not identify the scores of the row.

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`, or penalised with another covariance than "hessian"; if X
        has other columns than the model; if an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import infer, predict_interval
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> frame = predict_interval(result, X)
    >>> bool((frame["lower"] < frame["probability"]).all(axis=None)), frame.shape
    (True, (178, 9))
    """
    checked = one_result("predict_interval", result)
    data, estimate = Data.from_user(checked, X, None, offset), checked.at_centre
    parts = [_logits(block, estimate) for block in data.blocks({})]
    logits, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
    index = X.index if hasattr(X, "columns") else pd.RangeIndex(len(logits))
    return _intervals(checked, logits, errors, level, index)


@in_one_thread
def average_probabilities(
    result: Any,
    X: Any,
    *,
    at: str | Mapping = "overall",
    by: Any = None,
    level: float = 0.95,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> pd.DataFrame:
    """Return average predicted probabilities, at given values of some columns, with intervals.

    Intervals are those of the logit of each average by the delta method, so that they lie between
    0 and 1.

    Parameters
    ----------
    result, X, at, by, sample_weight, offset : as in `margins`
    level : float, default=0.95
        Of the intervals.

    Returns
    -------
    DataFrame
        A row for each subgroup and combination of given values. Columns are "probability",
        "lower" and "upper", each of all classes: ``frame["lower"]`` is a frame of a column a class.

    Raises
    ------
    TypeError, ValueError
        If `result` is none of `infer`, or penalised with another covariance than "hessian"; if X
        has other columns than the model; if an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import average_probabilities, infer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["ash", "magnesium"]]
    >>> result = infer(SoftmaxRegression(C=np.inf).fit(X, y), X, y)
    >>> at_values = average_probabilities(result, X, at={"magnesium": [90, 110]})
    >>> at_values["probability"].shape, bool((at_values["lower"] > 0).all(axis=None))
    ((2, 3), True)
    """
    checked = one_result("average_probabilities", result)
    data = Data.from_user(checked, X, sample_weight, offset)
    scenarios = Scenarios.from_user(checked, data, at, by)
    theta = checked.at_centre.coefficients
    averages = [average_probability(scenario, theta) for scenario in scenarios.cases]
    P = np.stack([average.value[:, 0] for average in averages])
    jacobian = np.stack([average.jacobian[:, 0] for average in averages])
    others = P @ (1 - np.eye(len(theta)))  # 1 - P would be rounding where P is near 1
    with np.errstate(divide="ignore", invalid="ignore"):  # of averages that are 0 to rounding
        logits, of_logits = np.log(P / others), jacobian / (P * others)[:, :, None, None]
    variance = checked.at_centre.variance_of(of_logits.reshape(-1, theta.size)).reshape(P.shape)
    return _intervals(checked, logits, np.sqrt(variance), level, scenarios.axis([]))


def _logits(block: RowBlock, estimate: Estimate) -> tuple[NDArray, NDArray]:
    """Return the logits of all probabilities of some rows, and their errors, (m, K) both."""
    Z, x = block.scores(estimate.coefficients), block.x
    # 1. The logit of p_k is z_k - logsumexp of the others, with the derivatives 1 in z_k and the
    #    shares of the others among themselves, negative: no probability near 1 is subtracted.
    logits, slopes = np.empty_like(Z), np.empty((len(Z), *Z.shape))
    for k, z in enumerate(Z):
        others = np.delete(Z, k, axis=0)
        (logits[k],) = z - softmax_inplace(others[None])
        slopes[k] = np.insert(-others, k, 1, axis=0)
    # 2. The covariances of the scores, and with them the variances of the logits.
    variance = np.zeros_like(Z)
    V = estimate.covariance.reshape(*estimate.coefficients.shape, -1)
    for c, of_class in enumerate(V):
        with_scores = (x @ of_class).reshape(len(x), *estimate.coefficients.shape)
        products = np.einsum("mlu,mu->lm", with_scores, x)
        variance += slopes[:, c] * np.einsum("klm,lm->km", slopes, products)
    variance[:, ~estimate.are_identified_rows(x)] = np.nan
    variance[estimate.unseen] = np.nan
    return logits.T, np.sqrt(np.maximum(variance, 0)).T


def _intervals(
    result: Inference, logits: NDArray, errors: NDArray, level: float, index: pd.Index
) -> pd.DataFrame:
    """Return probabilities with intervals, given logits and their errors, (m, K) both."""
    lower, upper = interval(result, logits, errors, level)
    parts = [expit(logits), expit(lower), expit(upper)]
    names = [["probability", "lower", "upper"], listed(result.classes)]
    columns = pd.MultiIndex.from_product(names, names=[None, "class"])
    return pd.DataFrame(np.hstack(parts), index=index, columns=columns)
