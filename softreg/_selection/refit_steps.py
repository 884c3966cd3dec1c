"""Steps of refits: Newton's, of many fits at once, in the metric of another fit or their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg._rows.blocks import Block
from softreg.solvers.auto import choose_solver
from softreg.solvers.base import Monitor, Point
from softreg.solvers.linalg.conjugate_gradients import HessianProduct, conjugate_gradients
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.outer_loop import run_rounds
from softreg.solvers.steps import estimated_gap, line_search, relative_estimate

# Newton's equations are solved until the next estimate is a tenth of the tolerance, or this share
# of their right-hand sides is left.
_LEAST_RESIDUAL = 0.05
# After a whole step that solves them the next estimate is about ten times the square of this one
# (measured): no more than the tolerance, if no row's score moves so far that curvature changes.
_SQUARED, _SMALL_MOVE = 10, 0.1
# Steps that take three quarters off the estimate are good enough to go on with.
_SUFFICIENT_RATIO = 0.25
# What so many steps do not solve is solved alone. (Where classes are nearly separated a step takes
# but seven eighths off the estimate; alone such a fit takes as many passes as all of its steps.)
_MOST_PRODUCTS, _MOST_STEPS = 100, 12
# A step takes up to this many products in a new metric as well.
_UNAVOIDABLE_PRODUCTS = 8
# Iterations after which a fit that has no end, as where free features separate classes, is left.
MOST_ITERATIONS = 200


class Refitted(NamedTuple):
    """Coefficients (width, K) of refits, and the iterations that each problem took, (B,)."""

    T: Coef
    n_iter: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Unsolved:
    """The refits that are not solved yet.

    Attributes
    ----------
    problems : ndarray (B,), their numbers among all
    objective, rough : Objective of them, in double precision and for products
    point, metric : Point and Metric, where they are
    previous : ndarray (B,), their last estimates of (F - F*) / F
    underestimated : ndarray (B,), how many times larger F - F* may be than the metric says
    is_solved : ndarray (B,) of bool, those that the last step has solved, which are about to leave
    """

    problems: Places
    objective: Objective
    rough: Objective
    point: Point
    metric: Metric
    previous: PerProblem
    underestimated: PerProblem
    is_solved: Mask

    def take_problems(self, places: Places) -> _Unsolved:
        """Return those at some places."""
        if len(places) == len(self.problems):
            return self
        return _Unsolved(
            self.problems[places],
            self.objective.take_problems(places),
            self.rough.take_problems(places),
            self.point.take_problems(self.objective, places),
            self.metric.take_problems(self.objective, places),
            self.previous[places],
            self.underestimated[places],
            self.is_solved[places],
        )

    def without_solved(self, tol: float) -> tuple[_Unsolved, PerProblem]:
        """Return those whose estimate of (F - F*) / F exceeds the tolerance, and the estimates."""
        if self.is_solved.all():
            return self.take_problems(np.empty(0, dtype=np.intp)), np.empty(0)
        estimate = relative_estimate(self.objective, self.point, self.metric)
        places = np.flatnonzero((estimate > tol / self.underestimated) & ~self.is_solved)
        return self.take_problems(places), estimate[places]

    def refreshed(self) -> _Unsolved:
        """Return them in the metric of their own Hessians."""
        metric = self.metric.refreshed(self.objective, self.point.T)
        return replace(self, metric=metric, underestimated=np.ones_like(self.previous))


def refit_problems(
    objective: Objective, rough: Objective, point: Point, metric: Metric, tol: float
) -> Refitted:
    """Return coefficients (width, K) at which each F is estimated to be least, within tol F.

    By Newton's steps from a point, by conjugate gradients in a metric, such as that of a fit to all
    rows, or in their own Hessians where that one takes more products than these cost; problems
    that these do not solve are solved alone. `rough` is the objective `in_float32`, whose products
    serve the steps as long as each takes enough off the estimate.
    """
    B = objective.problems.count
    T, n_iter, n_products = point.T.copy(), np.zeros(B, dtype=np.intp), 0
    unknown, constant = np.full(B, np.inf), objective.constant_problems
    group = _Unsolved(np.arange(B), objective, rough, point, metric, unknown, np.ones(B), constant)
    for _ in range(_MOST_STEPS):
        # 1. Leave out the problems that are solved.
        group, estimate = group.without_solved(tol)
        if not group.problems.size:
            return Refitted(T, n_iter)
        # 2. Another metric, or products in double precision, where these no longer get anywhere.
        if n_products >= group.metric.refresh_passes(group.objective):
            group, n_products = group.refreshed(), 0
            estimate = relative_estimate(group.objective, group.point, group.metric)
        elif not (estimate <= _SUFFICIENT_RATIO * group.previous).all():
            group = replace(group, rough=group.objective)
        # 3. Newton's step.
        group, more = _stepped(group, estimate, tol)
        n_products += max(0, more - _UNAVOIDABLE_PRODUCTS)
        T[:, objective.problems.scores(group.problems)] = group.point.T
        n_iter[group.problems] += 1
    group, _ = group.without_solved(tol)
    if group.problems.size:
        monitor = Monitor(tol, MOST_ITERATIONS)
        T[:, objective.problems.scores(group.problems)] = _solved_by_rounds(group, monitor).T
        n_iter[group.problems] += len(monitor.losses)
    return Refitted(T, n_iter)


def _stepped(group: _Unsolved, estimate: PerProblem, tol: float) -> tuple[_Unsolved, int]:
    """Return the problems after Newton's step, and its number of products.

    Near the optimum the whole step leads there, without another pass; elsewhere it is taken as far
    as F falls.
    """
    objective, point, metric = group.objective, group.point, group.metric
    near, value = np.sqrt(tol / _SQUARED), np.maximum(point.value, np.finfo(float).tiny)
    # 1. The step, only as accurate as the estimate needs.
    least = np.where(estimate <= near, 0, _LEAST_RESIDUAL)
    share = np.clip(np.sqrt(0.1 * tol / estimate), least, 0.5)
    step, residual, n_products = inexact_newton_step(group.rough, point, metric, share)
    # 2. Its own energy shows by how much the metric underestimates F - F*, where the rows left out
    #    had held up the curvature.
    energy = -0.5 * objective.problems.inner(point.gradient, step) / value
    underestimated = np.maximum(1, energy / estimate)
    next_estimate = estimated_gap(objective, residual, metric) / value
    is_last = (energy <= near) & (next_estimate <= tol / underestimated)
    if is_last.any():
        moves = group.rough.rows.maximum(_LargestMove(group.rough.rows.block_coefficients(step)))
        is_last &= moves.reshape(len(is_last), -1).max(axis=1) <= _SMALL_MOVE
    # 3. The whole step, or a line search.
    end, others = replace(point, T=point.T + step), np.flatnonzero(~is_last)
    if others.size:
        start, of_others = point.take_problems(objective, others), objective.take_problems(others)
        reached = line_search(of_others, start, objective.problems.columns(step, others))
        end = end.with_problems(objective, others, reached)
    stepped = replace(
        group,
        point=end,
        previous=estimate,
        underestimated=underestimated,
        is_solved=is_last,
    )
    return stepped, n_products


def inexact_newton_step(
    objective: Objective, point: Point, metric: Metric, share: PerProblem
) -> tuple[Coef, Coef, int]:
    """Return Newton's step (width, K), the residual of its equations, and the number of products.

    The residual is a share (B,) of their right-hand sides.
    """

    def enough(_objective: Objective, problems: Places, _left: NDArray, ratio: NDArray) -> NDArray:
        return ratio <= share[problems]

    product = HessianProduct(objective, point.T)
    solution = conjugate_gradients(product, point.gradient, metric, enough, _MOST_PRODUCTS)
    product.forget()
    return solution


@dataclass(frozen=True, eq=False)
class _LargestMove:
    """Kernel: the largest change of each score, (K,), by a step V, in rows left out as in others.

    Attributes
    ----------
    V : ndarray, the step as `Rows.block_coefficients` gives it
    """

    V: Coef

    def __call__(self, block: Block) -> NDArray:
        Z = block.linear_scores(self.V)
        return np.maximum(Z.max(axis=1), -Z.min(axis=1))


def _solved_by_rounds(group: _Unsolved, monitor: Monitor) -> Point:
    """Return the optimum of problems, by rounds of the outer loop."""
    objective, start = group.objective, group.point
    descend = choose_solver(objective).descend
    first = first_metric(objective, start.T)
    return run_rounds(objective, start, first, monitor, descend).point
