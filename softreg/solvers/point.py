"""Points: coefficients with F and its gradient there, estimates of F - F*, and line searches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem, Places
from softreg.solvers.linalg.metrics import Metric

# Sufficient decrease and the smallest step of the line search (Nocedal and Wright 2006, 3.1).
_SUFFICIENT, _SMALLEST = 1e-4, 2.0**-30
_TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Point:
    """Coefficients T with F, its gradient, and an estimate and a bound of F - F*.

    Attributes
    ----------
    T, gradient : ndarray (width, K)
    value, estimate, gap : ndarray (B,), problem by problem: F, an estimate of F - F* and a bound
        on it, inf where there is none
    step : ndarray (width, K), Newton's step, if that led here, else zeros
    passes : int, passes over the data of the descent, or products of the step, that led here
    """

    T: Coef
    value: PerProblem
    gradient: Coef
    estimate: PerProblem
    gap: PerProblem
    step: Coef
    passes: int = 0

    @classmethod
    def at_coefficients(cls, objective: Objective, T: Coef, step: Coef | None = None) -> Point:
        """Return the point at T, to which `step` (width, K) led, if any: one pass."""
        with np.errstate(over="ignore", invalid="ignore"):  # after too long a step: F is no less
            value, gradient = objective.value_and_gradient(T)
        unknown = np.full_like(value, np.inf)
        return cls(T, value, gradient, unknown, unknown, np.zeros_like(T) if step is None else step)

    def take_problems(self, objective: Objective, problems: Places) -> Point:
        """Return the point of some of the objective's problems."""
        if len(problems) == objective.problems.count:
            return self
        columns = objective.problems.columns
        return replace(
            self,
            T=columns(self.T, problems),
            gradient=columns(self.gradient, problems),
            step=columns(self.step, problems),
            value=self.value[problems],
            estimate=self.estimate[problems],
            gap=self.gap[problems],
        )

    def with_problems(self, objective: Objective, problems: Places, other: Point) -> Point:
        """Return the point with some of the objective's problems where `other` has them."""
        if len(problems) == objective.problems.count:
            return other
        scores = objective.problems.scores(problems)

        def merged(values: NDArray, new: NDArray, places: Places) -> NDArray:
            values = values.copy()
            values[..., places] = new
            return values

        return replace(
            self,
            T=merged(self.T, other.T, scores),
            gradient=merged(self.gradient, other.gradient, scores),
            step=merged(self.step, other.step, scores),
            value=merged(self.value, other.value, problems),
            estimate=merged(self.estimate, other.estimate, problems),
            gap=merged(self.gap, other.gap, problems),
        )


def relative_estimate(objective: Objective, point: Point, metric: Metric) -> PerProblem:
    """Return the estimate of (F - F*) / F at a point, (B,): half Newton's decrement, squared."""
    return estimated_gap(objective, point.gradient, metric) / np.maximum(point.value, _TINY)


def estimated_gap(objective: Objective, gradient: Coef, metric: Metric) -> PerProblem:
    """Return the estimate of F - F*, (B,): ||gradient||^2 / 2, the norm being the metric's."""
    return 0.5 * objective.problems.inner(gradient, metric.unwhiten(metric.whiten(gradient)))


def gradient_step(objective: Objective, point: Point, metric: Metric) -> Point:
    """Return the point after one step down the gradient in a metric."""
    return line_search(objective, point, -metric.unwhiten(metric.whiten(point.gradient)))


def line_search(objective: Objective, point: Point, step: Coef, length: float = 1.0) -> Point:
    """Return the first of the points T + length * step, halving the length, that decreases each F.

    Problems halve their steps independently; one whose F no step decreases stays where it is.
    """
    shortened = length * step
    trial = Point.at_coefficients(objective, point.T + shortened, shortened)
    slope = objective.problems.inner(point.gradient, shortened)
    enough = trial.value <= point.value + _SUFFICIENT * slope
    failed = (~enough).nonzero()[0]
    if not failed.size:
        return trial
    subset, start = objective.take_problems(failed), point.take_problems(objective, failed)
    if length / 2 < _SMALLEST:
        unknown = np.full_like(start.value, np.inf)
        rest = replace(start, estimate=unknown, gap=unknown)
    else:
        rest = line_search(subset, start, objective.problems.columns(step, failed), length / 2)
    return trial.with_problems(objective, failed, rest)
