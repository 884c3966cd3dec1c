"""Paths: the optimum at one strength of the penalty after another, each from the last ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Problems
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg._selection.sparse_path import sparse_C_values, sparse_optima
from softreg.solvers.auto import smooth_solver
from softreg.solvers.base import Monitor, Point, Result
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.newton import Newton
from softreg.solvers.outer_loop import (
    is_saturated,
    rounds_with,
    run_rounds,
    through_temperatures,
)
from softreg.solvers.proof import result_from
from softreg.solvers.steps import relative_estimate

# At the least C of a grid F is at most this share below that of the null model; the largest C
# would shrink coefficients by this share, on average, if the columns were uncorrelated.
_GAIN, _SHRINKAGE = 0.01, 1e-4
# As in scikit-learn, where no C changes anything.
_DEFAULT_ENDS = (1e-4, 1e4)
# Beyond this estimate of (F - F*) / F the solver's own descent is faster than Newton's steps.
NEAR = 0.1
# Coefficients are expected on polynomials through so many points of a path at most.
MOST_NODES = 3


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The optimum at one strength.

    Attributes
    ----------
    C : float, by which the penalty that the path began with is divided
    objective : Objective, with its penalty at that strength
    T : ndarray (width, K), the optimum in working coordinates
    metric : Metric, computed near T, or None: the penalty is not smooth
    result : Result
    """

    C: float
    objective: Objective
    T: Coef
    metric: Metric | None
    result: Result


def path_points(
    objective: Objective, Cs: NDArray, new_monitor: Callable[[], Monitor], n_refits: int = 0
) -> Iterator[PathPoint]:
    """Yield the optimum of an objective whose penalty is divided by each C, ascending.

    Metrics serve `n_refits` fits beside those of the path.
    """
    if objective.penalty.is_smooth:
        yield from _smooth_points(objective, Cs, new_monitor, n_refits)
        return
    for C, (T, result) in zip(Cs, sparse_optima(objective, Cs, new_monitor), strict=True):
        yield PathPoint(C, objective.at_strength(C), T, None, result)


def C_values(
    objective: Objective, Cs: int | NDArray, ratio: float | None, new_monitor: Callable[[], Monitor]
) -> NDArray:
    """Return the values of C to try, (n_Cs,): those given, or a grid of as many as an integer.

    `ratio` is that of the ends of a sparse penalty's grid (`sparse_C_values`).
    """
    if not isinstance(Cs, int):
        return Cs
    if objective.penalty.is_smooth:
        return _smooth_C_values(objective, Cs)
    return sparse_C_values(objective, Cs, ratio, new_monitor)


def extrapolated(points: Sequence[tuple[float, Coef]], C: float, problems: Problems) -> Coef:
    """Return the coefficients expected at the next C, given the latest points (C, T) of a path.

    On the polynomial in log C through the last one, two or three of them: through as many, problem
    by problem, as would have foretold the last one best. If C is inf, the last ones.
    """
    *earlier, (latest_C, latest) = points
    if np.isinf(C) or not earlier:
        return latest
    if len(earlier) == 1:
        return _on_polynomial(points, C)
    counts = range(1, min(len(earlier), MOST_NODES) + 1)
    errors = [_on_polynomial(earlier[-count:], latest_C) - latest for count in counts]
    best = np.argmin([problems.inner(error, error) for error in errors], axis=0)
    expected = [_on_polynomial(points[-count:], C) for count in counts]
    return np.choose(problems.spread(best), expected)


def _on_polynomial(points: Sequence[tuple[float, Coef]], C: float) -> Coef:
    """Return T at C on the polynomial in log C through points (C, T): Lagrange's formula."""
    expected = np.zeros_like(points[0][1])
    for a, T in points:
        expected += math.prod(math.log(C / b) / math.log(a / b) for b, _ in points if b != a) * T
    return expected


def _smooth_points(
    objective: Objective, Cs: NDArray, new_monitor: Callable[[], Monitor], n_refits: int
) -> Iterator[PathPoint]:
    """Yield the optimum at each C under a smooth penalty.

    Along the path the start is extrapolated, and the metric, however old, follows the penalty.
    It is refreshed where that saves `n_refits` fits, which take it over, more than it costs.
    """
    trail: list[tuple[float, Coef]] = []
    previous = None
    for C in Cs:
        posed, monitor = objective.at_strength(C), new_monitor()
        expected = extrapolated(trail, C, posed.problems) if trail else posed.null()
        penalised, expected = identified(posed, expected)
        # 1. Where to start, and in which metric: nothing may be left of a Hessian without penalty.
        is_near, descend = False, smooth_solver(penalised).descend
        start = Point.at_coefficients(penalised.in_double(), expected)
        start = start if previous is None else _start(posed, previous, start)
        if previous is None or np.isinf(C):
            metric = first_metric(penalised, start.T)
        else:
            change = penalised.penalty.ridge - previous.objective.penalty.ridge
            metric = metric.with_ridge_change(penalised, change)
            is_near = bool((relative_estimate(penalised, start, metric) <= NEAR).all())
        if is_saturated(penalised, start, metric):
            start = through_temperatures(penalised, start, monitor, rounds_with(descend))
            metric, is_near = first_metric(penalised, start.T), False
        # 2. Descend from there; near the optimum Newton's steps are the fastest.
        descend = Newton().descend if is_near else descend
        minimum = run_rounds(penalised, start, metric, monitor, descend)
        # 3. Lead on to the next C.
        T, metric = minimum.point.T, minimum.metric
        if n_refits * minimum.avoidable_passes > metric.refresh_passes(penalised):
            metric = metric.refreshed(penalised, T)
        result = result_from(penalised, minimum.point, minimum.converged, monitor)
        trail = [*trail[-MOST_NODES:], (C, T)]
        previous = PathPoint(C, penalised, T, metric, result)
        yield previous


def _smooth_C_values(objective: Objective, count: int) -> NDArray:
    """Return a grid of `count` values of C, evenly spaced in log C, that make a difference.

    With null gradient G, no C gains more than C times the conjugate of the penalty at G (weak
    duality), nor more than F.
    """
    T = objective.null()
    value, gradient = objective.value_and_gradient(T)
    gain = np.where(objective.constant_problems, 0, objective.penalised_gap(gradient)).sum()
    p = objective.rows.totals.mean_target
    curvature = np.maximum((p * (1 - p)).mean(), np.finfo(float).eps)
    ridge = objective.penalty.ridge_by_feature
    penalised = np.isfinite(ridge) & (ridge > 0)
    strength = ridge[penalised].mean() if penalised.any() else 0.0
    if not (0 < gain < np.inf and strength > 0):
        return np.geomspace(*_DEFAULT_ENDS, count)
    least, largest = _GAIN * value.sum() / gain, strength / (_SHRINKAGE * curvature)
    return np.geomspace(least, max(largest, 2 * least), count)


def _start(posed: Objective, previous: PathPoint, expected: Point) -> Point:
    """Return the point where the optimum is expected, or the previous one if F is less there."""
    T, penalty = previous.T, previous.objective.penalty
    change = posed.problems.total(posed.penalty.value(T) - penalty.value(T))
    value_at_previous = previous.result.objective + posed.in_units_of_F(change)
    if posed.in_units_of_F(expected.value).sum() <= value_at_previous.sum():
        return expected
    objective, T = identified(posed, T)
    return Point.at_coefficients(objective.in_double(), T)
