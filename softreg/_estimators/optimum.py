"""The optimum that a fit left, found again from its coefficients and data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding.answers import Encoding
from softreg._encoding.chunk_survey import Survey
from softreg._encoding.clusters.partitions import check_in_memory
from softreg._estimators.base import LinearClassifier, prediction_slices
from softreg._estimators.posing import feature_attributes, has_intercept, opened_sample, pose
from softreg._model.objective import Objective
from softreg._rows.arrays import PerProblem
from softreg._rows.base import Rows
from softreg._rows.chunked import ChunkedRows
from softreg._rows.coordinates import Coordinates
from softreg._rows.threads import Threads
from softreg.solvers.auto import choose_solver
from softreg.solvers.base import CERTIFIED_GAP, Monitor, Point
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.proximal_newton import Stage, optima_at
from softreg.solvers.steps import relative_estimate

# A fit with a coarse tol may end this share of F above its least value; coefficients of other rows
# are far more above it.
_LARGEST_EXCESS = 1e-3
# Intercepts alone converge in a few steps, to rounding.
_NULL_TOL, _NULL_ITERATIONS = 1e-14, 100


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
    optimum = optimum_at(estimator, posed(estimator, X, y, sample_weight, offset, threads))
    if optimum.metric is None:
        return optimum
    metric = optimum.metric.refreshed(optimum.objective, optimum.T)
    return optimum._replace(metric=metric)


def posed(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    threads: Threads,
) -> Objective:
    """Return the objective that a fitted estimator minimises on rows in memory."""
    check_in_memory(X=X)
    with opened_objective(estimator, X, y, sample_weight, offset, threads) as objective:
        return objective


@contextmanager
def opened_objective(
    estimator: LinearClassifier,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    threads: Threads,
) -> Iterator[Objective]:
    """Give the objective that a fitted estimator minimises on rows in memory or on a cluster.

    Those of Dask collections are on its workers as long as the context lasts.
    """
    check_is_fitted(estimator)
    data = X, y, sample_weight, offset
    with opened_sample(estimator, *data, reset=False) as (sample, _):
        rows = sample.rows(has_intercept(estimator), threads).on_host()
        yield _posed_on(estimator, rows, sample.encoding)


def posed_on_chunks(estimator: LinearClassifier, chunks: Any, threads: Threads) -> Objective:
    """Return the objective that a fitted estimator minimises on the rows of chunks."""
    check_is_fitted(estimator)

    def validated(X: Any, *, reset: bool) -> Any:  # the columns are those of the fit
        return estimator._validated(X, reset=False)

    survey = Survey.from_chunks(chunks, validated, estimator._encoder)
    raw = Coordinates.raw(estimator.n_features_in_, has_intercept(estimator))
    return _posed_on(estimator, ChunkedRows.from_source(survey.rows(raw, threads)), survey.encoding)


def _posed_on(estimator: LinearClassifier, rows: Rows, encoding: Encoding) -> Objective:
    """Return the objective on encoded rows; ValueError if their classes are not the fit's."""
    if not np.array_equal(encoding.classes, estimator.classes_):
        raise ValueError(
            f"y holds the classes {encoding.classes.tolist()}, and the model was fitted to "
            f"{estimator.classes_.tolist()}; pass the X and y that it was fitted to."
        )
    if rows.n_scores != estimator.intercept_.shape[0]:
        form = "a column for each label" if rows.n_scores == 1 else "one class a row"
        raise ValueError(f"y must have {form}, as it had in fit.")
    strength, features = estimator._strength(encoding), feature_attributes(estimator)
    return pose(estimator, rows, encoding, strength, features)


def optimum_at(estimator: LinearClassifier, objective: Objective) -> Optimum:
    """Return the optimum at an estimator's coefficients, with the metric of `first_metric`.

    ValueError if they are not at the optimum of the objective.
    """
    T = objective.working(estimator._dense_coef.T, estimator._dense_intercept)
    at_optimum = _smooth_optimum if objective.penalty.is_smooth else _sparse_optimum
    return at_optimum(objective, T)


def _smooth_optimum(objective: Objective, T: NDArray) -> Optimum:
    """Return the optimum T (width, K), with a metric; ValueError if it is not near one."""
    exact, metric = objective.in_double(), first_metric(objective, T)
    excess = relative_estimate(exact, Point.at_coefficients(exact, T), metric)
    _check_excess(objective, excess)
    return Optimum(objective, T, metric)


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


def null_loss(objective: Objective) -> PerProblem:
    """Return the mean loss of the model without features, (B,): intercepts, beside any offsets."""
    null = objective.unpenalised().in_double()
    if null.rows.totals.largest_offset.any() and null.rows.coordinates.intercept:
        null = null.take_features(np.arange(0))
        monitor = Monitor(_NULL_TOL, _NULL_ITERATIONS)
        fit = choose_solver(null).minimise(null, null.null(), monitor)
        return null.value(null.working(fit.coef, fit.intercept))
    return null.value(null.null())


def with_identified(objective: Objective, T: NDArray) -> tuple[Objective, NDArray]:
    """Return the objective without features that others replace, and T (width, K) in it.

    Only those without a penalty are replaced; the spaces of the objective know them.
    """
    return identified(objective.in_double(), T)


def probabilities_inplace(estimator: LinearClassifier, scores: NDArray) -> NDArray:
    """Return the probabilities (n, K) of scores (n, K), in their place, or (n, 2) of (n, 1)."""
    shape = len(scores), len(estimator.classes_)
    P = scores if shape == scores.shape else np.empty(shape)
    for rows in prediction_slices(len(P), P.size):
        P[rows] = estimator._probabilities(estimator._as_decisions(scores[rows]))
    return P
