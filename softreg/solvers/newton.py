"""Newton's method: with whole Hessians where they are cheap, else the steps of the outer loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem
from softreg.solvers.base import Monitor, Point, ProblemsMonitor, Result, Solver
from softreg.solvers.lbfgs import LBFGS
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.outer_loop import run_outer_loop
from softreg.solvers.steps import after_step, near_threshold

# A step that the line search cuts to less than this share comes from curvature that says little of
# where F falls, as that of saturated rows; where classes are nearly separated an eighth is taken at
# times, and leads on (measured).
_FRACTION = 1 / 32
# Where classes are nearly separated F falls like an exponential: by the same factor in each step,
# which could be longer. While the estimate of F - F* is above this share of the one before, steps
# are stretched to where the last one's slope would have come to zero, up to so many times their
# length: a ninth of the steps is saved (measured, alike for shares of .1 to .2).
_SLOW, _LONGEST = 0.15, 2.0
_TINY = np.finfo(float).tiny


def plain_newton_pays(objective: Objective) -> bool:
    """Return whether to step with whole Hessians: cheap ones, which a penalty makes definite."""
    return costs_of(objective).hessians_are_cheap and not objective.has_free_features.any()


@dataclass(repr=False)
class Newton(Solver):
    """Newton's method, with whole Hessians where they are cheap, else truncated.

    Where a Hessian costs no more than some passes over the data (small tables), each step solves
    Newton's equations by its Cholesky factor; where the line search cuts a step to pieces, L-BFGS
    takes over. Elsewhere conjugate gradients solve them, preconditioned by a metric: loosely far
    from the optimum; near it, until their residual hardly adds to the certificate's gap. Each
    product costs one pass over the data. There are few arrays of the coefficients' size, so that a
    million coefficients fit.

    References
    ----------
    Nocedal and Wright (2006), "Numerical Optimization", algorithms 3.2 and 7.1.

    Examples
    --------
    >>> from softreg.solvers import Newton
    >>> Newton()
    Newton()
    """

    def check(self) -> None:
        """Return, as there are no options."""

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Return where minimising the objective from `start` (width, K) ended."""
        return run_outer_loop(objective, start, monitor, self.descend)

    def descend(
        self, objective: Objective, point: Point, metric: Metric, monitor: ProblemsMonitor
    ) -> tuple[Point, Metric, int]:
        """Return the optimum with its certificate, the last Hessian of all problems, and its steps.

        Where Hessians are not cheap, the point and the metric as they are: the outer loop steps.
        Where a step is cut to pieces, curvature says little of where F falls: L-BFGS leads from the
        start, in the metric.
        """
        if not plain_newton_pays(objective):
            return point, metric, 0
        rough, start, first = objective, point, metric
        objective = objective.in_double()
        problems, n_steps = np.arange(objective.problems.count), 0
        length: PerProblem = np.ones(len(problems))
        previous: PerProblem = np.full(len(problems), -np.inf)
        while problems.size and not monitor.reason:
            subset = objective.take_problems(problems)
            before = point.take_problems(objective, problems)
            # 1. Newton's equations, by the Cholesky factor of the Hessian.
            hessian = metric.refreshed(subset, before.T)
            metric = hessian if subset is objective else metric
            step = -hessian.preconditioned(before.gradient)
            slope = subset.problems.inner(before.gradient, step)
            # 2. As much of the step as decreases F, stretched where that has paid; near the optimum
            #    just the step, with a certificate.
            near = -0.5 * slope <= near_threshold(hessian, monitor.of_all.tol) * before.value
            length[near | (slope >= _SLOW * previous)] = 1
            step *= subset.problems.spread(length)
            after = after_step(subset, before, hessian, step, near)
            move = after.T - before.T
            first_slope = subset.problems.inner(before.gradient, move)
            if (first_slope > _FRACTION * slope).any():
                end, first, n_passes = LBFGS().descend(rough, start, first, monitor)
                return end, first, n_steps + n_passes
            point, n_steps = point.with_problems(objective, problems, after), n_steps + 1
            monitor.iteration(point.T, point.value)
            # 3. Problems that are proven optimal leave, and those that do not move.
            solved = monitor.of_all.solved(subset, after)
            left = ~solved & (after.value < before.value)
            last_slope = subset.problems.inner(after.gradient, move)
            length = stretched(slope, first_slope, last_slope)[left]
            problems, previous = problems[left], slope[left]
        return point, metric, n_steps


def stretched(slope: PerProblem, first: PerProblem, last: PerProblem) -> PerProblem:
    """Return the share of a Newton step at which its slope would have come to zero, (B,).

    `slope` is that of the whole step, `first` and `last` those of the share that was taken: each
    along itself, at its start and its end. At least 1, at most `_LONGEST`.
    """
    squared = np.square(first)
    fall = np.maximum(slope * (first - last), squared / _LONGEST)
    return np.maximum(squared / (fall + _TINY), 1)
