"""Paths: the optimum at one strength of the penalty after another, each from the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg.solvers.auto import smooth_solver
from softreg.solvers.base import Monitor, Point, Result
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.newton import Newton
from softreg.solvers.outer_loop import is_saturated, run_rounds, through_temperatures
from softreg.solvers.proof import result_from
from softreg.solvers.steps import relative_estimate

# At the least C of a grid F is at most this share below that of the null model; the largest C
# would shrink coefficients by this share, on average, if the columns were uncorrelated.
_GAIN, _SHRINKAGE = 0.01, 1e-4
# As in scikit-learn, where no C changes anything.
_DEFAULT_ENDS = (1e-4, 1e4)
# Beyond this estimate of (F - F*) / F the solver's own descent is faster than Newton's steps.
_NEAR = 0.1


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The optimum at one strength.

    Attributes
    ----------
    C : float, by which the penalty that the path began with is divided
    objective : Objective, with its penalty at that strength
    T : ndarray (width, K), the optimum in working coordinates
    metric : Metric, computed near T
    result : Result
    """

    C: float
    objective: Objective
    T: Coef
    metric: Metric
    result: Result


def extrapolated(points: Sequence[tuple[float, Coef]], C: float) -> Coef:
    """Return the coefficients expected at the next C, given the latest points (C, T) of a path.

    On the line through the last two in log C, or those of the only one, or if C is inf the last
    ones. Coefficients are nearly straight in log C, or become so where classes separate.
    """
    latest_C, latest_T = points[-1]
    if len(points) == 1 or np.isinf(C):
        return latest_T
    earlier_C, earlier_T = points[-2]
    share = (np.log(C) - np.log(latest_C)) / (np.log(latest_C) - np.log(earlier_C))
    return latest_T + share * (latest_T - earlier_T)


def path_points(
    objective: Objective, Cs: NDArray, new_monitor: Callable[[], Monitor]
) -> Iterator[PathPoint]:
    """Yield the optimum of an objective whose penalty is divided by each C, ascending.

    Along the path the start is extrapolated, and the metric, however old, follows the penalty.
    """
    trail: list[tuple[float, Coef]] = []
    previous = None
    for C in Cs:
        posed, monitor = objective.at_strength(C), new_monitor()
        expected = extrapolated(trail, C) if trail else posed.null()
        penalised, expected = identified(posed, expected)
        # 1. Where to start, and in which metric: nothing may be left of a Hessian without penalty.
        is_near, descend = False, smooth_solver(penalised).descend
        start = Point.at_coefficients(penalised.in_double(), expected)
        start = start if previous is None else _start(posed, previous, start)
        if previous is None or np.isinf(C):
            metric = first_metric(penalised, start.T)
        else:
            change = penalised.penalty.ridge - previous.objective.penalty.ridge
            metric = previous.metric.with_ridge_change(penalised, change)
            is_near = bool((relative_estimate(penalised, start, metric) <= _NEAR).all())
        if is_saturated(penalised, start, metric):
            start = through_temperatures(penalised, start, monitor, descend)
            metric, is_near = first_metric(penalised, start.T), False
        # 2. Descend from there; near the optimum Newton's steps are the fastest.
        descend = Newton().descend if is_near else descend
        minimum = run_rounds(penalised, start, metric, monitor, descend)
        # 3. Lead on to the next C.
        T = minimum.point.T
        result = result_from(penalised, minimum.point, minimum.converged, monitor)
        trail = [*trail[-1:], (C, T)]
        previous = PathPoint(C, penalised, T, minimum.metric, result)
        yield previous


def C_values(objective: Objective, Cs: int | NDArray) -> NDArray:
    """Return the values of C to try, (n_Cs,): those given, or a grid of as many as an integer.

    A grid is evenly spaced in log C and spans what makes a difference. With null gradient G, no C
    gains more than C times the conjugate of the penalty at G (weak duality), nor more than F.
    """
    if not isinstance(Cs, int):
        return Cs
    T = objective.null()
    value, gradient = objective.value_and_gradient(T)
    gain = np.where(objective.constant_problems, 0, objective.penalised_gap(gradient)).sum()
    p = objective.rows.totals.mean_target
    curvature = np.maximum((p * (1 - p)).mean(), np.finfo(float).eps)
    ridge = objective.penalty.ridge_by_feature
    penalised = np.isfinite(ridge) & (ridge > 0)
    strength = ridge[penalised].mean() if penalised.any() else 0.0
    if not (0 < gain < np.inf and strength > 0):
        return np.geomspace(*_DEFAULT_ENDS, Cs)
    least, largest = _GAIN * value.sum() / gain, strength / (_SHRINKAGE * curvature)
    return np.unique(np.geomspace(least, max(largest, least), Cs))


def _start(posed: Objective, previous: PathPoint, expected: Point) -> Point:
    """Return the point where the optimum is expected, or the previous one if F is less there."""
    T, penalty = previous.T, previous.objective.penalty
    change = posed.problems.total(posed.penalty.value(T) - penalty.value(T))
    value_at_previous = previous.result.objective + posed.in_units_of_F(change)
    if posed.in_units_of_F(expected.value).sum() <= value_at_previous.sum():
        return expected
    objective, T = identified(posed, T)
    return Point.at_coefficients(objective.in_double(), T)
