"""Paths: the optimum at one strength of the penalty after another, each from those before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg.solvers.auto import choose
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import Monitor
from softreg.solvers.newton import Newton
from softreg.solvers.outer_loop import result_from, run_rounds
from softreg.solvers.point import Point, decrement
from softreg.solvers.result import Result

# The least C of a grid gains at most this share of the null model's F, the largest shrinks
# coefficients by so much, on the average, were the columns uncorrelated.
_GAIN, _SHRINKAGE = 0.01, 1e-4
# As in scikit-learn, where no C changes anything.
_ANY = (1e-4, 1e4)
# What rounding coefficients to single precision costs is far below this, other rows far above.
_NEAR = 1e-3
# Beyond this estimate of (F - F*) / F the solver's own descent is faster than Newton's steps.
_FAR = 0.1


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The optimum at one strength.

    Attributes
    ----------
    C : float, beside the strength of the objective that the path began with
    objective : Objective, with its penalty at that strength
    T : ndarray (width, K), the optimum in working coordinates
    metric : Metric, near it
    result : Result
    """

    C: float
    objective: Objective
    T: NDArray
    metric: Metric
    result: Result


@dataclass
class PathExtrapolation:
    """Coefficients at the latest strengths, and where they lead.

    They are nearly straight in log C, or become so where classes separate.
    """

    behind: list[tuple[float, NDArray]] = field(default_factory=list)

    def reached(self, C: float, T: NDArray) -> None:
        """Record the coefficients at the next C."""
        self.behind = [*self.behind[-1:], (np.log(C), T)]

    def ahead(self, C: float) -> NDArray:
        """Return the coefficients expected at the next C."""
        t, T = self.behind[-1]
        if len(self.behind) == 1:
            return T
        before, earlier = self.behind[0]
        return T + (np.log(C) - t) / (t - before) * (T - earlier)


def path_points(
    objective: Objective, Cs: NDArray, monitor: Callable[[], Monitor]
) -> Iterator[PathPoint]:
    """Yield the optimum of an objective whose penalty is divided by each C, ascending.

    Along the path the start is extrapolated, and the metric, however old, follows the penalty.
    """
    extrapolation, last = PathExtrapolation(), None
    for C in Cs:
        own, watch = objective.at_strength(C), monitor()
        if last is None:
            point = Point.at_coefficients(own.in_double(), own.null())
            metric = first_metric(own, point.T)
        else:
            point = _start(own, last, extrapolation.ahead(C))
            metric = last.metric.with_ridge_change(
                own, own.penalty.ridge - last.objective.penalty.ridge
            )
        near = last is not None and (decrement(own, point, metric) <= _FAR).all()
        descend = (Newton() if near else choose(own)).descend
        minimum = run_rounds(own, point, metric, watch, descend)
        extrapolation.reached(C, minimum.point.T)
        last = PathPoint(C, own, minimum.point.T, minimum.metric, result_from(own, minimum, watch))
        yield last


def C_values(objective: Objective, Cs: int | NDArray) -> NDArray:
    """Return the values of C to try: those given, or a grid of as many as an integer says."""
    return C_grid(objective, Cs) if isinstance(Cs, int) else Cs


def C_grid(objective: Objective, count: int) -> NDArray:
    """Return so many values of C, evenly spaced in log C, that span what makes a difference.

    With null gradient G, no C gains more than C times the conjugate of the penalty at G (weak
    duality), nor more than F itself.
    """
    T = objective.null()
    value, gradient = objective.value_and_gradient(T)
    gain = np.where(objective.constant_problems, 0, objective.penalised_gap(gradient)).sum()
    p = objective.rows.totals.mean_target
    curvature = np.maximum((p * (1 - p)).mean(), np.finfo(float).eps)
    own = objective.penalty.ridge_by_feature[np.isfinite(objective.penalty.ridge_by_feature)]
    strength = own[own > 0].mean() if (own > 0).any() else 0.0
    if not (gain > 0 and strength > 0):
        return np.geomspace(*_ANY, count)
    least, largest = _GAIN * value.sum() / gain, strength / (_SHRINKAGE * curvature)
    return np.geomspace(least, max(largest, least), count)


def metric_at_optimum(objective: Objective, T: NDArray) -> Metric:
    """Return a metric at the optimum; ValueError if T (width, K) is not near it."""
    exact, first = objective.in_double(), first_metric(objective, T)
    excess = decrement(exact, Point.at_coefficients(exact, T), first)[~objective.constant_problems]
    if not (excess <= _NEAR).all():
        raise ValueError(
            "The model is not at the optimum of these rows: F is estimated "
            f"{excess.max():.1g} (relative) above it. Pass the X, y, sample_weight and "
            "offset that it was fitted to, and no model of MiniBatch or partial_fit."
        )
    return first.refreshed(objective, T)


def _start(objective: Objective, last: PathPoint, expected: NDArray) -> Point:
    """Return the expected coefficients, or those of the last point if they are better."""
    exact = objective.in_double()
    point = Point.at_coefficients(exact, expected)
    change = objective.penalty.value(last.T) - last.objective.penalty.value(last.T)
    before = last.result.objective + objective.in_units_of_F(objective.problems.total(change))
    better = objective.in_units_of_F(point.value).sum() <= before.sum()
    return point if better else Point.at_coefficients(exact, last.T)
