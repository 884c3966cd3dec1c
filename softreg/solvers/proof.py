"""What is known of the point where a fit ended: its gap, whether it is proven, what diverges."""

from __future__ import annotations

import numpy as np

from softreg._model.block_kernels import LargestMove
from softreg._model.certificate import certify, curvature_gap
from softreg._model.objective import Objective
from softreg._rows.arrays import Mask, PerProblem
from softreg.solvers.base import PERFECT, Monitor, Point, Result
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.steps import balanced

# A last step that moves a score by more than this, though hardly F, goes towards infinity, where
# classes are separated; at a minimum the last step moves scores by 1e-4 or less.
_RUNAWAY = 0.1
# A proof from the Hessian may cost as many passes as the fit had iterations, or as many as this.
_PROOF_PASSES = 30


def result_from(objective: Objective, point: Point, converged: Mask, monitor: Monitor) -> Result:
    """Return the result in the user's units, given the last point and what converged, (B,)."""
    objective = objective.in_double()
    gap = _gap(objective, point, monitor)
    proven = monitor.proven(gap, point.value)
    diverging = _diverging(objective, point, converged & ~proven)
    converged = converged | (gap <= monitor.allowed(point.value))
    converged &= monitor.max_iter > 0  # as in scikit-learn a start has not converged
    converged &= ~objective.problems.any(diverging)
    coef, intercept = objective.coefficients(point.T)
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(point.value),
        gap=objective.in_units_of_F(gap),
        n_iter=len(monitor.losses),
        converged=converged,
        proven=proven,
        message=_message(converged, proven, diverging, monitor),
        stopped=monitor.stopped,
        diverging=tuple(diverging.nonzero()[0].tolist()),
        loss_curve=np.array(monitor.losses),
        unidentified=tuple(objective.unidentified_features.nonzero()[0].tolist()),
    )


def _message(converged: Mask, proven: Mask, diverging: Mask, monitor: Monitor) -> str:
    """Return what happened, and what to change."""
    if diverging.any():
        return "there is no optimum"
    if not converged.all():
        stalled = "rounding keeps F from decreasing further; raise tol or lower C"
        return monitor.reason or stalled
    return "the optimum was reached, " + ("proven" if proven.all() else "as estimated, not proven")


def _gap(objective: Objective, point: Point, monitor: Monitor) -> PerProblem:
    """Return the least of some bounds of F - F* at a point, (B,); inf where there is none."""
    if not objective.penalty.is_smooth and objective.problems.count > 1:
        numbers = np.arange(objective.problems.count)[:, None]
        each = [(objective.take_problems(b), point.take_problems(objective, b)) for b in numbers]
        return np.concatenate([_gap(*problem, monitor) for problem in each])
    # 1. What the last step has proven; and no F is below zero.
    constant = objective.constant_problems
    free = objective.has_free_features & ~constant
    gap = np.where(free, np.inf, np.minimum(point.gap, point.value))
    # 2. From the residuals where the coefficients without a penalty are at their optimum.
    problems = (~(free | constant) & np.isinf(point.gap)).nonzero()[0]
    if problems.size and objective.penalty.is_smooth:
        subset = objective.take_problems(problems)
        start = point.take_problems(objective, problems)
        end = balanced(subset, start)
        below = end.value - certify(subset, end.T, np.zeros_like(end.T)).gap
        gap[problems] = np.minimum(gap[problems], start.value - below)
    # 3. From the Hessian, whether there is a penalty or not.
    unproven = ~(monitor.proven(gap, point.value) | constant)
    passes = costs_of(objective).whole_hessian
    if unproven.any() and passes <= max(_PROOF_PASSES, len(monitor.losses)):
        problems = unproven.nonzero()[0]
        subset = objective.take_problems(problems)
        start = point.take_problems(objective, problems)
        bounds = [curvature_gap(subset, start.T, start.gradient)]
        if not objective.penalty.is_smooth and not monitor.proven(bounds[0], start.value).all():
            bounds.append(_gap_of_loss(subset, start))
        gap[problems] = np.minimum.reduce([gap[problems], *bounds])
    return gap


def _gap_of_loss(objective: Objective, point: Point) -> PerProblem:
    """Return the penalty at a point, and a bound of how far the loss is above its least, (B,).

    Their sum bounds F - F*, closely where there is hardly a penalty, on collinear columns, too.
    """
    penalty = objective.problems.total(objective.penalty.value(point.T))
    with np.errstate(divide="ignore", invalid="ignore"):  # where units of columns are no numbers
        loss, T = identified(objective.unpenalised(), point.T)
        bound = penalty + curvature_gap(loss, T, loss.value_and_gradient(T)[1])
    return np.where(np.isnan(bound), np.inf, bound)


def _diverging(objective: Objective, point: Point, converged: Mask) -> Mask:
    """Return which scores (K,) the last step still moves, though it no longer moves F.

    All of them where F is next to nothing without a penalty's doing: classes are separated.
    """
    if not objective.has_free_features.any():
        return np.zeros(objective.shape[1], dtype=bool)
    step, unseen = objective.link.centred(point.step), objective.unseen_scores
    if objective.link.exclusive and unseen.any():  # of these F notices no move
        step = np.where(unseen, 0, step - step[:, ~unseen].mean(axis=1, keepdims=True))
    moves = objective.rows.maximum(LargestMove(objective.rows.block_coefficients(step)))
    largest = moves.reshape(objective.problems.count, -1).max(axis=1)
    may_diverge = converged & objective.has_free_features & ~objective.constant_problems
    runaway = may_diverge & (largest > _RUNAWAY)
    penalty = objective.problems.total(objective.penalty.value(point.T))
    is_perfect = (point.value <= PERFECT) & (penalty <= point.value / 2)
    moved = moves > 0.5 * objective.problems.spread(np.where(runaway, largest, np.inf))
    return moved | objective.problems.spread(may_diverge & is_perfect)
