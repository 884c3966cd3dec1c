"""The ladder that every solver climbs: descend, renew the metric, step, until certified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._objective import Objective
from softreg.solvers._metrics import Metric, first_metric, renewal_passes
from softreg.solvers._newton import Point, balanced, gradient_step, is_near, newton_step
from softreg.solvers._result import Monitor, Result, rounding

Descent = Callable[[Objective, Point, Metric, Monitor], Point]

# A last step that moves a score by more than this, though not F, follows a separated class to
# infinity; at a minimum the last step moves scores by 1e-4 or less.
_RUNAWAY = 0.1
# Without a penalty, an F this small is that of classes which something separates.
_PERFECT = 1e-8
# How many rounds in a row may bring no more than rounding: a metric renewed that often has nothing
# left to offer.
_PATIENCE = 3
# Single precision is given up for good once its rounding of F exceeds this share of a descent's
# gain: with scores in the thousands its gradients lead nowhere.
_NOISY = 0.1
# Passes that a new Hessian saves in the last step's conjugate gradients, beside an older one
# (measured: three products instead of ten).
_CHEAP = 5


def climb(objective: Objective, start: NDArray, monitor: Monitor, descend: Descent) -> Result:
    """Return the minimiser of the objective, found from `start` (width, K)."""
    exact = objective.exact()
    point = Point.at(objective, start)
    metric = first = first_metric(objective, start)
    floor = _PERFECT if objective.has_free_features else 0.0
    fresh, converged, stalled = False, False, 0
    while not (converged or monitor.reason) and np.isfinite(point.value):
        before = point
        point = descend(objective, point, metric, monitor)
        if exact is not objective:
            single, point = point, Point.at(exact, point.T)
            gain = before.value - point.value
            if single is not before and abs(single.value - point.value) > _NOISY * gain:
                objective = exact
        if monitor.reason:
            break
        if not (fresh and is_near(point, metric)) or renewal_passes(objective) <= _CHEAP:
            metric = metric.renewed(objective, point.T)
        fresh = metric.accurate and not is_near(point, metric)
        reached, point = point, newton_step(exact, point, metric, monitor.tol)
        if point is reached:  # a Hessian of saturated rows says little of where they come alive
            point = gradient_step(exact, point, first)
        monitor.iteration(point.T, point.value)
        converged = monitor.reached(point.estimate, point.gap, point.value) or point.value <= floor
        stalled = stalled + 1 if before.value - point.value <= rounding(point.value) else 0
        if stalled == _PATIENCE:  # where rounding hides the proof, the estimate has to do
            converged = monitor.reached(point.estimate, 0.0, point.value)
            monitor.reason = "rounding keeps F from decreasing further; raise tol or scale C down"
    if not np.isfinite(point.value):
        monitor.reason = "F is not finite; bring X, offset and weights closer to one"
    return _result(exact, point, monitor, converged)


def _result(objective: Objective, point: Point, monitor: Monitor, converged: bool) -> Result:
    diverging = _diverging(objective, point) if objective.has_free_features and converged else ()
    gap = point.gap
    if not (np.isfinite(gap) or objective.has_free_features):
        point = balanced(objective, Point.at(objective, point.T))
        gap = objective.certify(point.T, np.zeros_like(point.T)).gap
    coef, intercept = objective.coefficients(point.T)
    message = "the optimum was reached" if converged else monitor.reason
    return Result(
        coef=coef,
        intercept=intercept,
        objective=point.value,
        gap=np.inf if objective.has_free_features else gap,
        n_iter=len(monitor.losses),
        converged=converged and not diverging,
        message="there is no optimum" if diverging else message,
        stopped=monitor.stopped,
        diverging=diverging,
        loss_curve=np.array(monitor.losses),
    )


def _diverging(objective: Objective, point: Point) -> tuple[int, ...]:
    """Return the scores that the last step still moves, though it no longer moves F."""
    step = np.zeros_like(point.T) if point.step is None else objective.link.centred(point.step)
    U = objective.rows.inward(step)

    def kernel(block: Block) -> NDArray:
        moves = np.abs(block.linear(U))
        return moves.max(axis=1, where=block.weights() > 0, initial=0)[None]

    moves = objective.rows.each(kernel).max(axis=0)
    if moves.max() <= _RUNAWAY:
        return ()
    return tuple(np.flatnonzero(moves > 0.5 * moves.max()).tolist())
