"""Points: coefficients, with all that is known of F there, and the line search between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg.solvers.linalg.metrics import Metric

# Sufficient decrease and the smallest step of the line search (Nocedal and Wright 2006, 3.1).
_SUFFICIENT, _SMALLEST = 1e-4, 2.0**-30
_TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Point:
    """Coefficients T with F, its gradient, and what is known of F - F*: estimate and bound.

    F, estimate and gap are (B,), one a problem. `step` is Newton's, if that led here, else zeros;
    `passes` are those that it took, or the descent.
    """

    T: NDArray
    value: NDArray
    gradient: NDArray
    estimate: NDArray
    gap: NDArray
    step: NDArray
    passes: int = 0

    @classmethod
    def at_coefficients(cls, objective: Objective, T: NDArray) -> Point:
        """Evaluate F at T: one pass."""
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step: F is no decrease
            value, gradient = objective.value_and_gradient(T)
        unknown = np.full_like(value, np.inf)
        return cls(T, value, gradient, unknown, unknown, np.zeros_like(T))

    def take_problems(self, objective: Objective, problems: NDArray) -> Point:
        """Return the point of some of the objective's problems."""
        if len(problems) == objective.problems:
            return self
        of_scores = {n: objective.columns(getattr(self, n), problems) for n in _OF_SCORES}
        new: dict[str, Any] = {n: getattr(self, n)[problems] for n in _OF_PROBLEMS}
        return replace(self, **(new | of_scores))

    def with_problems(self, objective: Objective, problems: NDArray, part: Point) -> Point:
        """Return the point with some of the objective's problems elsewhere."""
        if len(problems) == objective.problems:
            return part
        own, new = objective.scores(problems), {}
        for name in _OF_SCORES:
            new[name] = getattr(self, name).copy()
            new[name][:, own] = getattr(part, name)
        for name in _OF_PROBLEMS:
            new[name] = getattr(self, name).copy()
            new[name][problems] = getattr(part, name)
        return replace(self, **new)


_OF_SCORES, _OF_PROBLEMS = ("T", "gradient", "step"), ("value", "estimate", "gap")


def decrement(objective: Objective, point: Point, metric: Metric) -> NDArray:
    """Return ||gradient||^2 / 2 in the metric, which estimates F - F*, over F, (B,)."""
    return estimated_gap(objective, point.gradient, metric) / np.maximum(point.value, _TINY)


def estimated_gap(objective: Objective, gradient: NDArray, metric: Metric) -> NDArray:
    """Return ||gradient||^2 / 2 in the metric, (B,)."""
    return 0.5 * objective.inner(gradient, metric.unwhiten(metric.whiten(gradient)))


def gradient_step(objective: Objective, point: Point, metric: Metric) -> Point:
    """Return the point after one step down the gradient in a metric."""
    return line_search(objective, point, -metric.unwhiten(metric.whiten(point.gradient)))


def line_search(objective: Objective, point: Point, step: NDArray) -> Point:
    """Return the first point of T + step, T + step / 2, ... that decreases each F enough."""
    slope, unknown = objective.inner(point.gradient, step), np.full_like(point.value, np.inf)
    found = replace(point, estimate=unknown, gap=unknown)
    going, length = np.arange(objective.problems), 1.0
    while going.size and length >= _SMALLEST:
        part, before = objective.take_problems(going), point.take_problems(objective, going)
        own = length * objective.columns(step, going)
        there = replace(Point.at_coefficients(part, before.T + own), step=own)
        good = there.value <= before.value + _SUFFICIENT * length * slope[going]
        if good.any():
            new = there.take_problems(part, np.flatnonzero(good))
            found = found.with_problems(objective, going[good], new)
        going, length = going[~good], length / 2
    return found
