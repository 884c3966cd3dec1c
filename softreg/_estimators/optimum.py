"""The optimum that a fit left, found again from its coefficients and data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._encoding.answers import Sample
from softreg._estimators.base import (
    LinearClassifier,
    feature_attributes,
    has_intercept,
    pose,
    prediction_slices,
)
from softreg._model.objective import Objective
from softreg._rows.threads import Threads
from softreg.solvers.base import Point
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.steps import relative_estimate

# A fit with a coarse tol may end this share of F above its least value; coefficients of other rows
# are far more above it.
_LARGEST_EXCESS = 1e-3


class Optimum(NamedTuple):
    """Where a fit ended.

    Attributes
    ----------
    objective : Objective that was minimised
    T : ndarray (width, K), the coefficients in working coordinates
    metric : Metric, there
    """

    objective: Objective
    T: NDArray
    metric: Metric


def optimum_of(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    threads: Threads,
) -> Optimum:
    """Return the optimum that an estimator was fitted to, given what its `fit` was.

    ValueError if its coefficients are not at the optimum of these rows, or its penalty is sparse.
    """
    check_is_fitted(estimator)
    data = estimator._validated(X, reset=False)
    sample = Sample.from_data(data, estimator._encoder(y), y, sample_weight, offset)
    if not np.array_equal(sample.encoding.classes, estimator.classes_):
        raise ValueError(
            f"y holds the classes {sample.encoding.classes.tolist()}, and the model was fitted to "
            f"{estimator.classes_.tolist()}; pass the X and y that it was fitted to."
        )
    rows = sample.rows(has_intercept(estimator), threads)
    strength, features = estimator._strength(sample.encoding), feature_attributes(estimator)
    objective = pose(estimator, rows, sample.encoding, strength, features)
    if not objective.penalty.is_smooth:
        raise ValueError(
            f"l1_ratio={validation.shown(estimator.l1_ratio)} makes a penalty that has no Hessian, "
            "which the step that leaves out a row needs: refit folds with "
            "sklearn.model_selection.cross_val_predict, or take l1_ratio=0."
        )
    T = objective.working(estimator._dense_coef.T, estimator.intercept_)
    return Optimum(objective, T, metric_at_optimum(objective, T))


def metric_at_optimum(objective: Objective, T: NDArray) -> Metric:
    """Return a metric at the optimum; ValueError if T (width, K) is not near it."""
    exact, metric = objective.in_double(), first_metric(objective, T)
    excess = relative_estimate(exact, Point.at_coefficients(exact, T), metric)
    excess = excess[~objective.constant_problems]
    if not (excess <= _LARGEST_EXCESS).all():
        raise ValueError(
            "The model is not at the optimum of these rows: F is estimated "
            f"{excess.max():.1g} (relative) above it. Pass the X, y, sample_weight and "
            "offset that it was fitted to, and no model of MiniBatch or partial_fit."
        )
    return metric.refreshed(objective, T)


def probabilities_inplace(estimator: LinearClassifier, scores: NDArray) -> NDArray:
    """Return the probabilities (n, K) of scores (n, K), in their place, or (n, 2) of (n, 1)."""
    shape = len(scores), len(estimator.classes_)
    P = scores if shape == scores.shape else np.empty(shape)
    for rows in prediction_slices(len(P), P.size):
        P[rows] = estimator._probabilities(estimator._as_decisions(scores[rows]))
    return P
