"""Fitted models that the tests of softreg.export carry out of Python, with rows to predict."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
)

X, y = load_wine(return_X_y=True)  # raw columns, of deviations from 0.1 to 300
FAR = scale(X[:, :4]) * [1, 1e-3, 1e2, 1] + [1e3, -5, 1e5, 0]  # means far beyond the deviations
NAMES = np.array(["it's", 'a "b"', "ünïcode -- x"])[y]
LABELS = np.column_stack([y == 0, y > 0, np.arange(len(y)) % 3 == 0]).astype(float)
FRAME = pd.DataFrame(scale(X[:, :4]), columns=['a"b', "x-y", "naïve; DROP TABLE t", "select"])
FEW = X[:, :3]
THIRD = sparse.csr_array(LABELS[:, 2:])

# Of each a fitted model and rows of X.
MODELS = {
    "softmax": lambda: (SoftmaxRegression().fit(X, y), X),
    "softmax-far": lambda: (SoftmaxRegression(standardize=True).fit(FAR, y), FAR),
    "softmax-texts": lambda: (SoftmaxRegression().fit(FRAME, NAMES), FRAME),
    "softmax-declared": lambda: (SoftmaxRegression(classes=[7, 2, 0, 1]).fit(FEW, y), FEW),
    "softmax-two": lambda: (SoftmaxRegression().fit(X, NAMES == "it's"), X),
    "softmax-one-feature": lambda: (SoftmaxRegression().fit(X[:, :1], y), X[:, :1]),
    "softmax-no-intercept": lambda: (SoftmaxRegression(fit_intercept=False).fit(X, y), X),
    "softmax-lasso": lambda: (lasso().fit(X, y).sparsify(), X),
    "softmax-float32": lambda: (SoftmaxRegression().fit(np.float32(X), y), X),
    "softmax-cv": lambda: (SoftmaxRegressionCV(3, standardize=True).fit(FEW, y), FEW),
    "labels": lambda: (SigmoidRegression().fit(FRAME, pd.DataFrame(LABELS)), FRAME),
    "labels-sparse": lambda: (SigmoidRegression().fit(X, sparse.csr_array(LABELS)), X),
    "labels-thresholds": lambda: (thresholds(0.1, 0.5, 0.4).fit(FRAME, LABELS), FRAME),
    "labels-cv": lambda: (SigmoidRegressionCV(3, per_label=True).fit(FRAME, LABELS), FRAME),
    "one-label": lambda: (SigmoidRegression().fit(FRAME, THIRD), FRAME),
    "one-vs-rest": lambda: (SigmoidRegression().fit(X, NAMES), X),
    "one-vs-rest-thresholds": lambda: (thresholds(0.2, 0.5, 0.9).fit(X, y), X),
    "sigmoid-two": lambda: (SigmoidRegression(threshold=0.8).fit(X, y == 0), X),
}


def lasso():
    return SoftmaxRegression(C=0.05, l1_ratio=1, standardize=True)


def thresholds(*values):
    return SigmoidRegression(threshold=values)


@cache
def fitted(name):
    """Return a fitted model and rows; tests do not change them."""
    return MODELS[name]()


def dense(predictions):
    return predictions.toarray() if sparse.issparse(predictions) else predictions


def with_coefficients(coef, intercept, classes, kind=SoftmaxRegression):
    """Return a model of these coefficients (K or 1, d) and classes (K,), as if it was fitted."""
    model = kind()
    model.coef_, model.intercept_ = np.array(coef, float), np.array(intercept, float)
    model.n_features_in_, model.classes_ = model.coef_.shape[1], np.array(classes)
    if kind is SigmoidRegression:
        model.multilabel_ = model.sparse_output_ = False
    return model
