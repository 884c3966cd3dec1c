"""Several fits that differ in a few rows, each from near its optimum, all in the same passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softreg._objective import Objective
from softreg.solvers._conjugate_gradients import conjugate_gradients
from softreg.solvers._metrics import Metric
from softreg.solvers._newton import Point, decrement, estimated_gap, line_search
from softreg.solvers._product import HessianProduct

# Newton's equations are solved until the next estimate is a tenth of the tolerance, or this share
# of their right-hand sides is left.
_SHARE = 0.05
# From this estimate Newton's quadratic convergence makes one step of that accuracy the last.
_LAST = 1e-4
# Share of the tolerance that the rounding of single precision may take.
_ROUNDING = 0.1
# Steps lead on that take three quarters off the estimate.
_LEADS_ON = 0.25
_MOST_PRODUCTS, _MOST_STEPS = 100, 30


def refitted(
    objective: Objective, rough: Objective, start: NDArray, metric: Metric, tol: float
) -> NDArray:
    """Return coefficients (width, K) at which each F is estimated to be least, within tol F.

    Newton's steps by conjugate gradients in a metric, such as that of a fit to all rows. `rough` is
    the objective `in_single`: its products make the steps as long as these lead on, and if its
    rounding is far below the tolerance, it is all that is asked.
    """
    if _is_faithful(rough, objective, start, metric, tol):
        objective = rough
    whole, open_ = Point.at(objective, start), np.flatnonzero(~objective.settled)
    before = np.full(len(open_), np.inf)
    for _ in range(_MOST_STEPS):
        estimate = _estimates(open_, objective, whole, metric)
        if not (estimate <= _LEADS_ON * before).all():
            rough = objective
        open_, before = open_[estimate > tol], estimate[estimate > tol]
        if not open_.size:
            break
        share = np.clip(np.sqrt(0.1 * tol / before), _SHARE, 0.5)
        last = (before <= _LAST) & (share**2 * before <= tol) & (rough is objective)
        _, point, own = _of_problems(open_, objective, whole, metric)
        step = _newton_step(rough.part(open_), point, own, share)
        behind, whole = whole, _stepped(objective, whole, open_, step, last)
        moved = objective.any_of_problem((whole.T != behind.T).any(axis=0))
        open_, before = open_[moved[open_] & ~last], before[moved[open_] & ~last]
    return whole.T


def _is_faithful(
    rough: Objective, objective: Objective, T: NDArray, metric: Metric, tol: float
) -> bool:
    """Return whether rounding in the rough objective's products is far below a tolerance.

    It is not where classes are nearly separated, or columns nearly depend on each other: there the
    gradient must be small in directions that F hardly feels. Two passes.
    """
    exact = Point.at(objective, T)
    rounding = estimated_gap(objective, Point.at(rough, T).gradient - exact.gradient, metric)
    return bool((rounding <= _ROUNDING * tol * exact.value)[~objective.settled].all())


def _estimates(problems: NDArray, objective: Objective, point: Point, metric: Metric) -> NDArray:
    """Return the estimates of (F - F*) / F of some problems."""
    if not problems.size:
        return np.empty(0)
    return decrement(*_of_problems(problems, objective, point, metric))


def _of_problems(
    problems: NDArray, objective: Objective, point: Point, metric: Metric
) -> tuple[Objective, Point, Metric]:
    """Return what belongs to some of the problems."""
    own = objective.part(problems), point.part(objective, problems)
    return *own, metric.part(objective, problems)


def _stepped(
    objective: Objective, point: Point, problems: NDArray, step: NDArray, last: NDArray
) -> Point:
    """Return the point after the steps of some problems, unseen where they are the last."""
    part, own = objective.part(problems), point.part(objective, problems)
    unseen = replace(own, T=own.T + step)
    going = np.flatnonzero(~last)
    if going.size:
        start = own.part(part, going)
        there = line_search(part.part(going), start, part.columns(step, going))
        unseen = unseen.with_part(part, going, there)
    return point.with_part(objective, problems, unseen)


def _newton_step(objective: Objective, point: Point, metric: Metric, share: NDArray) -> NDArray:
    """Return Newton's step (width, K), but for a share (B,) of its equations' right-hand sides."""

    def enough(_part: Objective, open_: NDArray, _left: NDArray, ratio: NDArray) -> NDArray:
        return ratio <= share[open_]

    product = HessianProduct(objective, point.T)
    return conjugate_gradients(product, point.gradient, metric, enough, _MOST_PRODUCTS)[0]


def in_single(objective: Objective) -> Objective:
    """Return the objective with products in single precision, which take half the time."""
    rows = objective.rows
    return (
        replace(objective, rows=rows.in_dtype(np.float32)) if rows.serves_in_single else objective
    )
