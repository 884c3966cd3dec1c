"""Several fits that differ in a few rows, each from near its optimum, all in the same passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softreg._objective import Objective
from softreg.solvers._conjugate_gradients import conjugate_gradients
from softreg.solvers._ladder import summit_from
from softreg.solvers._metrics import Metric, first_metric
from softreg.solvers._newton import Point, decrement, line_search
from softreg.solvers._product import HessianProduct
from softreg.solvers._result import Monitor
from softreg.solvers._solvers import choose

# Newton's equations are solved until the next estimate is a tenth of the tolerance, or this share
# of their right-hand sides is left.
_SHARE = 0.05
# Steps lead on that take three quarters off the estimate.
_LEADS_ON = 0.25
# What so many steps do not solve differs too much from the fit to all rows for its metric.
_MOST_PRODUCTS, _MOST_STEPS = 100, 6
# Iterations after which a climb that has no end, as where free features separate classes, is left.
_MOST_ITERATIONS = 200


def refitted(
    objective: Objective, rough: Objective, start: NDArray, metric: Metric, tol: float
) -> NDArray:
    """Return coefficients (width, K) at which each F is estimated to be least, within tol F.

    Newton's steps by conjugate gradients in a metric, such as that of a fit to all rows; problems
    that these do not solve climb alone. `rough` is the objective `in_single`, whose products make
    the steps as long as they lead on.
    """
    whole, open_ = Point.at(objective, start), np.flatnonzero(~objective.settled)
    before, blind = np.full(objective.problems, np.inf), np.ones(objective.problems)
    for _ in range(_MOST_STEPS):
        open_, estimate = _not_done(open_, objective, whole, metric, tol / blind)
        if not open_.size:
            return whole.T
        if not (estimate <= _LEADS_ON * before[open_]).all():
            rough = objective
        part, point, own = _of_problems(open_, objective, whole, metric)
        share = np.clip(np.sqrt(0.1 * tol / estimate), _SHARE, 0.5)
        step = _newton_step(rough.part(open_), point, own, share)
        # The step's own energy tells what the metric overlooks that only the rows left out hold up.
        energy = -0.5 * part.inner(point.gradient, step) / point.value
        blind[open_], before[open_] = np.maximum(1, energy / estimate), estimate
        whole = whole.with_part(objective, open_, line_search(part, point, step))
    open_, _ = _not_done(open_, objective, whole, metric, tol / blind)
    return _climbed(objective, whole, open_, tol).T


def _not_done(
    problems: NDArray, objective: Objective, point: Point, metric: Metric, tol: NDArray
) -> tuple[NDArray, NDArray]:
    """Return which of some problems have estimates of (F - F*) / F above `tol` (B,), and these."""
    if not problems.size:
        return problems, np.empty(0)
    estimate = decrement(*_of_problems(problems, objective, point, metric))
    on = estimate > tol[problems]
    return problems[on], estimate[on]


def _of_problems(
    problems: NDArray, objective: Objective, point: Point, metric: Metric
) -> tuple[Objective, Point, Metric]:
    """Return what belongs to some of the problems."""
    own = objective.part(problems), point.part(objective, problems)
    return *own, metric.part(objective, problems)


def _newton_step(objective: Objective, point: Point, metric: Metric, share: NDArray) -> NDArray:
    """Return Newton's step (width, K), but for a share (B,) of its equations' right-hand sides."""

    def enough(_part: Objective, open_: NDArray, _left: NDArray, ratio: NDArray) -> NDArray:
        return ratio <= share[open_]

    product = HessianProduct(objective, point.T)
    return conjugate_gradients(product, point.gradient, metric, enough, _MOST_PRODUCTS)[0]


def _climbed(objective: Objective, point: Point, problems: NDArray, tol: float) -> Point:
    """Return the point with some of the problems at their optimum, each in metrics of its own."""
    if not problems.size:
        return point
    part, own = objective.part(problems), point.part(objective, problems)
    monitor = Monitor(tol, _MOST_ITERATIONS, lambda _T, _value: False)
    summit = summit_from(part, own, first_metric(part, own.T), monitor, choose(part).descend)
    return point.with_part(objective, problems, summit.point)


def in_single(objective: Objective) -> Objective:
    """Return the objective with products in single precision, which take half the time."""
    rows = objective.rows
    return (
        replace(objective, rows=rows.in_dtype(np.float32)) if rows.serves_in_single else objective
    )
