"""The optimum that a fit left, found again from its coefficients and data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

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
from softreg.solvers.base import CERTIFIED_GAP, Monitor, Point
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.proximal_newton import Stage, optima_at
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
    metric : Metric, there, or None if the penalty is sparse
    """

    objective: Objective
    T: NDArray
    metric: Metric | None


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
    rows = sample.rows(has_intercept(estimator), threads)
    strength, features = estimator._strength(sample.encoding), feature_attributes(estimator)
    objective = pose(estimator, rows, sample.encoding, strength, features)
    T = objective.working(estimator._dense_coef.T, estimator.intercept_)
    at_optimum = _smooth_optimum if objective.penalty.is_smooth else _sparse_optimum
    return at_optimum(objective, T)


def _smooth_optimum(objective: Objective, T: NDArray) -> Optimum:
    """Return the optimum T (width, K), with a metric; ValueError if it is not near one."""
    exact, metric = objective.in_double(), first_metric(objective, T)
    excess = relative_estimate(exact, Point.at_coefficients(exact, T), metric)
    _check_excess(objective, excess)
    return Optimum(objective, T, metric.refreshed(objective, T))


def _sparse_optimum(objective: Objective, T: NDArray) -> Optimum:
    """Return the optimum that a proximal Newton step from T reaches; ValueError if it is farther.

    Near the optimum F falls by all that it is above it.
    """
    exact, T = objective.in_double(), T.copy()
    excess = np.zeros(exact.problems.count)
    for b in range(len(excess)):
        problem = np.array([b])
        subset = exact.take_problems(problem)
        point = Point.at_coefficients(subset, exact.problems.columns(T, problem))
        monitor = Monitor(CERTIFIED_GAP, max_iter=1)
        (end,), _ = optima_at(subset, [Stage(1.0, point)], 1.0, point, monitor)
        T[:, exact.problems.scores(problem)] = end.point.T
        least = np.finfo(float).tiny
        excess[b] = ((point.value - end.point.value) / np.maximum(point.value, least))[0]
    _check_excess(objective, excess)
    return Optimum(objective, T, None)


def _check_excess(objective: Objective, excess: NDArray) -> None:
    """Raise a ValueError if problems are by an excess (B,), relative, above their least F."""
    excess = excess[~objective.constant_problems]
    if not (excess <= _LARGEST_EXCESS).all():
        raise ValueError(
            "The model is not at the optimum of these rows: F is estimated "
            f"{excess.max():.1g} (relative) above it. Pass the X, y, sample_weight and "
            "offset that it was fitted to, and no model of MiniBatch or partial_fit."
        )


def probabilities_inplace(estimator: LinearClassifier, scores: NDArray) -> NDArray:
    """Return the probabilities (n, K) of scores (n, K), in their place, or (n, 2) of (n, 1)."""
    shape = len(scores), len(estimator.classes_)
    P = scores if shape == scores.shape else np.empty(shape)
    for rows in prediction_slices(len(P), P.size):
        P[rows] = estimator._probabilities(estimator._as_decisions(scores[rows]))
    return P
