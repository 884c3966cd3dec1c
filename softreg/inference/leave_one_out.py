"""Leave-one-out: what each row would be predicted without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._estimators.base import LinearClassifier
from softreg._estimators.optimum import optimum_of, probabilities_inplace
from softreg._estimators.posing import threads_of
from softreg._selection.leave_one_out import leave_one_out_with_refits


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Predictions of each row by the fit without it.

    Attributes
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Held-out probabilities, columns in the order of `classes_`.
    leverage : ndarray of shape (n_samples,), or (n_samples, n_labels) for several labels
        How much the fit depends on the row itself: the trace of its hat matrix, from 0 (a row of
        weight 0) to below ``n_classes - 1`` (labels: 1). The sum over rows is the effective number
        of parameters: of the lasso, of coefficients that are not zero and intercepts.
    """

    probabilities: NDArray[np.float64]
    leverage: NDArray[np.float64]


def loo(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> LeaveOneOut:
    r"""Return approximate leave-one-out predictions of the rows that a model was fitted to.

    The fit without row i is about one Newton step from the fit to all. On the scores of the row
    itself, with weight s, residual :math:`g = p - y`, curvature h (K x K) and the Hessian H at the
    optimum, that step is

    .. math:: \tilde z_i = z_i + A_i (I - s_i h_i A_i)^{-1} s_i g_i,
              \qquad A_i = (I \otimes x_i)^\top H^{-1} (I \otimes x_i),

    so that all rows cost about as much as a few Hessians. Under weak penalties the fit may depend
    so much on a few rows that one step is not accurate for them: these are refitted, until the mean
    log loss is accurate to about a percent. With `standardize` the penalty stays that of the fit to
    all rows.

    Under a sparse penalty (`l1_ratio` above 0) the step is one in the coefficients that are not
    zero: H and x have these alone, and H the curvature of the lengths of groups. Without a row, one
    of them may become zero, or one that is zero may not stay so. Both are looked for at the end of
    the step: coefficients that have passed zero, groups that have turned around, and gradients
    beyond their strength, of the zeros whose gradients in the fit to all rows are nearest to it
    (about a third as many as are not zero, and twenty more). By how much the penalty would still
    move the row's scores counts as their error, when rows are chosen to be refitted.

    Parameters
    ----------
    estimator : fitted SoftmaxRegression, SigmoidRegression, or either with CV
    X, y, sample_weight, offset : as they were passed to its `fit`

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    NotFittedError, ValueError
        Before `fit`; if the estimator is not at the optimum of these rows (it was fitted to others,
        or by `MiniBatch`); if the Hessian is too large to factor.
    TypeError
        If `estimator` is not one of softreg, or `offset` is sparse.

    References
    ----------
    Rad and Maleki (2020), "A scalable estimate of the out-of-sample prediction error via
    approximate leave-one-out cross-validation", Journal of the Royal Statistical Society B 82,
    965-996. Wang, Zhou, Lu, Maleki and Mirrokni (2018), "Approximate leave-one-out for fast
    parameter tuning in high dimensions", International Conference on Machine Learning.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.inference import loo
    >>> X, y = load_wine(return_X_y=True)
    >>> left_out = loo(SoftmaxRegression(C=0.01).fit(X, y), X, y)
    >>> left_out.probabilities.shape, bool(left_out.leverage.sum() < 2 * 14)
    ((178, 3), True)
    """
    validation.check_estimator("loo", "a fitted estimator of softreg", estimator, LinearClassifier)
    with threads_of(estimator) as threads:
        objective, T, metric = optimum_of(estimator, X, y, sample_weight, offset, threads)
        left_out = leave_one_out_with_refits(objective, T, metric)
    leverage = left_out.leverage[:, 0] if left_out.leverage.shape[1] == 1 else left_out.leverage
    return LeaveOneOut(probabilities_inplace(estimator, left_out.scores), leverage)
