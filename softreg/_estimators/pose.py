"""What an estimator minimises: its rows, the objective on them, and the optimum that a fit left.

Plain functions of an estimator, for its fits and for the leaves.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._encoding.answers import Encoding, Sample
from softreg._estimators.base import LinearClassifier
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty, Ridge
from softreg._rows.base import Rows
from softreg._rows.threads import Threads
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import Monitor
from softreg.solvers.point import Point, relative_estimate

# The hardest of the raw data sets took a hundredth of this; it ends a fit that would not return.
_MOST_ITERATIONS = 10_000
# What rounding coefficients to single precision costs is far below this, other rows far above.
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


def threads_of(estimator: LinearClassifier) -> Threads:
    """Return the context in which an estimator computes, with `n_jobs` threads."""
    return Threads(validation.check_n_jobs(estimator.n_jobs))


def read_features(
    estimator: LinearClassifier, X: Any, *, reset: bool = True
) -> tuple[Any, dict[str, Any]]:
    """Return X (n, d) as floats or CSR, and the fitted attributes that describe its columns.

    The estimator stays as it is. Without `reset` X must have the columns that it was fitted to.
    """
    reader = copy.copy(estimator)
    data = reader._validated(X, reset=reset)
    return data, feature_attributes(reader)


def feature_attributes(estimator: LinearClassifier) -> dict[str, Any]:
    """Return the attributes that describe the columns of the X that an estimator has read."""
    attributes = {"n_features_in_": estimator.n_features_in_}
    if hasattr(estimator, "feature_names_in_"):
        attributes["feature_names_in_"] = estimator.feature_names_in_
    return attributes


def read_sample(
    estimator: LinearClassifier, X: Any, y: Any, sample_weight: Any, offset: Any
) -> tuple[Sample, dict[str, Any]]:
    """Return the rows of a fit, and the fitted attributes that describe the columns of X."""
    data, features = read_features(estimator, X)
    return Sample.from_data(data, estimator._encoder(y), y, sample_weight, offset), features


def penalty_of(estimator: LinearClassifier, C: NDArray, n_features: int) -> Penalty:
    """Return the penalty at inverse strengths C, (1,) or (K,), on coefficients in user's units."""
    factor = validation.check_penalty_factor(estimator.penalty_factor, n_features)
    return Ridge.from_C(C, factor)


def pose(estimator: LinearClassifier, rows: Rows, encoding: Encoding, C: NDArray) -> Objective:
    """Return the objective that an estimator minimises at inverse strengths C, (1,) or (K,).

    `rows` are in the user's units, their targets encoded by `encoding`.
    """
    penalty = penalty_of(estimator, C, len(rows.coordinates.scale))
    return Objective.in_working_coordinates(encoding.link, rows, penalty)


def monitor_of(estimator: LinearClassifier) -> Monitor:
    """Return a monitor with the estimator's `max_iter` and `tol` that never stops a fit early."""
    max_iter = validation.check_max_iter(estimator.max_iter, _MOST_ITERATIONS)
    return Monitor(validation.check_tol(estimator.tol), max_iter, lambda _T, _value: False)


def optimum_of(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    threads: Threads,
) -> Optimum:
    """Return the optimum that an estimator was fitted to, given what its `fit` was.

    ValueError if its coefficients are not at the optimum of these rows.
    """
    check_is_fitted(estimator)
    data = estimator._validated(X, reset=False)
    sample = Sample.from_data(data, estimator._encoder(y), y, sample_weight, offset)
    if not np.array_equal(sample.encoding.classes, estimator.classes_):
        raise ValueError(
            f"y holds the classes {sample.encoding.classes.tolist()}, and the model was fitted to "
            f"{estimator.classes_.tolist()}; pass the X and y that it was fitted to."
        )
    rows = sample.rows(bool(estimator.fit_intercept), threads)
    objective = pose(
        estimator, rows, sample.encoding, estimator._inverse_strengths(sample.encoding)
    )
    W, b = estimator.coef_.T.astype(float), estimator.intercept_.astype(float)
    T = objective.working(W, b)
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


def probabilities_of(estimator: LinearClassifier, scores: NDArray) -> NDArray:
    """Return the probabilities (n, n_classes) of scores (n, K), or (n, 1) of two classes."""
    return estimator._probabilities(estimator._as_decisions(scores))
