"""scikit-learn's own classifiers with softreg's coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import LabelBinarizer

from softreg._encoding import validation
from softreg._estimators.posing import feature_attributes
from softreg.export.linear_model import LinearModel, linear_model


def to_sklearn(estimator: Any) -> Any:
    """Return scikit-learn's classifier with the same coefficients, fitted.

    It is what converters, explainers and servers that know scikit-learn understand. `predict` and
    `predict_proba` are those of the estimator, without offsets.

    Parameters
    ----------
    estimator : SoftmaxRegression, SoftmaxRegressionCV, SigmoidRegression or SigmoidRegressionCV
        A fitted one.

    Returns
    -------
    classifier : LogisticRegression or OneVsRestClassifier
        A LogisticRegression where classes share a softmax or are two. For labels, and for more than
        two classes of which each has a sigmoid, a OneVsRestClassifier with a LogisticRegression for
        each. Coefficients are copied; there is one row of them for two classes. Parameters are
        scikit-learn's defaults: fitting it again is another fit.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.
    TypeError
        If `estimator` is not one of softreg's.
    ValueError
        If a threshold is not 1/2, which scikit-learn's classifiers cannot express, or if there is
        one label only, for which OneVsRestClassifier has two columns of probabilities.

    Notes
    -----
    Where several classes of a OneVsRestClassifier have exactly the same score, it predicts the last
    of them in older versions of scikit-learn, softreg the first. Where each of them has a
    probability of exactly zero, its `predict_proba` is NaN.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softreg import SoftmaxRegression
    >>> from softreg.export import to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression(C=10).fit(X, y)
    >>> other = to_sklearn(model)
    >>> type(other).__name__, bool((other.predict(X) == model.predict(X)).all())
    ('LogisticRegression', True)
    """
    model = linear_model("to_sklearn", estimator)
    if np.any(model.cuts != 0):
        raise ValueError(
            f"threshold={validation.shown(estimator.threshold)} cannot be expressed by "
            "scikit-learn's classifiers, which predict at 1/2: call set_params(threshold=0.5) on a "
            "copy of the estimator, and compare predict_proba with the thresholds."
        )
    features = feature_attributes(estimator)
    if model.link == "softmax" or model.one_row_for_two:
        W, b = estimator._dense_coef, estimator._dense_intercept
        return _logistic_regression(W, b, model.classes, features)
    if len(model.classes) == 1:
        raise ValueError(
            f"the one label {validation.shown(model.classes)} would have two columns of "
            "probabilities in OneVsRestClassifier: fit its 0 and 1 as two classes, y[:, 0]."
        )
    return _one_vs_rest(model, features, getattr(estimator, "sparse_output_", False))


def _logistic_regression(
    W: NDArray, b: NDArray, classes: NDArray, features: dict[str, Any]
) -> LogisticRegression:
    """Return a LogisticRegression of coefficients (K or 1, d) and intercepts (K or 1,)."""
    classifier = LogisticRegression()
    fitted = {"coef_": W.copy(), "intercept_": b.copy(), "classes_": classes.copy()}
    classifier.__dict__.update(fitted, n_iter_=np.zeros(1, dtype=np.int32), **features)
    return classifier


def _one_vs_rest(
    model: LinearModel, features: dict[str, Any], is_sparse: bool
) -> OneVsRestClassifier:
    """Return a OneVsRestClassifier; `is_sparse` if labels are predicted as a sparse matrix."""
    binarizer = LabelBinarizer(sparse_output=True)
    binarizer.classes_ = model.classes.copy()
    binarizer.y_type_ = "multilabel-indicator" if model.has_labels else "multiclass"
    binarizer.sparse_input_ = is_sparse
    classifier = OneVsRestClassifier(LogisticRegression())
    classifier.label_binarizer_ = binarizer
    classifier.estimators_ = [
        _logistic_regression(W[None], b[None], np.array([0, 1]), features)
        for W, b in zip(model.W, model.b, strict=True)
    ]
    # A property of older versions of scikit-learn, which this leaves as it is.
    classifier.__dict__.update(features, classes_=binarizer.classes_)
    return classifier
