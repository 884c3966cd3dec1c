"""What a fitted estimator predicts with: all that another program has to compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV
from softreg._encoding import validation
from softreg._estimators.base import feature_names, has_labels

SIGMOID_ESTIMATORS = SigmoidRegression, SigmoidRegressionCV
ESTIMATORS = SoftmaxRegression, SoftmaxRegressionCV, *SIGMOID_ESTIMATORS


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Scores z = W x + b, one for each class or label, and what becomes of them.

    Two classes have two scores, -z and z, so that a sigmoid of each is its probability and the
    larger one is predicted.

    Attributes
    ----------
    W, b : ndarrays (K, d) and (K,)
    cuts : ndarray (K,), the scores above which classes are predicted, logits of the thresholds
    classes : ndarray (K,)
    link : str, probabilities are the "softmax" of scores, the "sigmoid" of each, or "one-vs-rest",
        their sigmoids divided by the sum of these
    has_labels : bool, whether any number of labels is predicted, not one class
    feature_names : ndarray (d,) of str; x0, x1, ... where X had no names
    """

    W: NDArray[np.float64]
    b: NDArray[np.float64]
    cuts: NDArray[np.float64]
    classes: NDArray
    link: str
    has_labels: bool
    feature_names: NDArray

    @property
    def one_row_for_two(self) -> bool:
        """Whether the scores are -z and z, of the second of two classes."""
        return len(self.classes) == 2 and self.link == "sigmoid" and not self.has_labels


def linear_model(caller: str, estimator: Any) -> LinearModel:
    """Return what a fitted estimator predicts with; `caller` is named in errors."""
    check_exportable(caller, estimator)
    W, b = estimator._dense_coef, estimator._dense_intercept
    is_sigmoid = isinstance(estimator, SIGMOID_ESTIMATORS)
    threshold = validation.check_threshold(estimator.threshold, len(b)) if is_sigmoid else 0.5
    cuts = np.broadcast_to(logit(threshold), b.shape)
    in_labels = has_labels(estimator)
    is_pair = len(b) < len(estimator.classes_)
    if is_pair:
        W, b, cuts = (np.concatenate([-part, part]) for part in (W, b, cuts))
    per_class = "one-vs-rest" if is_sigmoid else "softmax"
    return LinearModel(
        W=W,
        b=b,
        cuts=cuts,
        classes=estimator.classes_,
        link="sigmoid" if is_pair or in_labels else per_class,
        has_labels=in_labels,
        feature_names=feature_names(estimator),
    )


def check_exportable(caller: str, estimator: Any) -> None:
    """Raise an error unless an estimator is one of softreg's four, and fitted."""
    validation.check_estimator(caller, "a fitted estimator of softreg", estimator, *ESTIMATORS)
    if type(estimator) not in ESTIMATORS:
        raise TypeError(
            f"{type(estimator).__name__} is derived from an estimator of softreg, and {caller} "
            "does not know what it changes: pass one of softreg's own."
        )
    check_is_fitted(estimator)
