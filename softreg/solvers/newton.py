"""Truncated Newton: the steps of the outer loop alone."""

from __future__ import annotations

from dataclasses import dataclass

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg.solvers.base import Solver
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.monitor import IterationMonitor, Monitor
from softreg.solvers.outer_loop import run_outer_loop
from softreg.solvers.point import Point
from softreg.solvers.result import Result


@dataclass(repr=False)
class Newton(Solver):
    """Truncated Newton: each step by conjugate gradients, preconditioned by a metric.

    The linear system is solved loosely far from the optimum; near it, until what is left of its
    equations no longer shows in the certificate. Each product costs one pass over the data, and
    vectors of the coefficients' size are few, which counts when there are a million of them.

    References
    ----------
    Nocedal and Wright (2006), "Numerical Optimization", algorithm 7.1.

    Examples
    --------
    >>> from softreg.solvers import Newton
    >>> Newton()
    Newton()
    """

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Minimise the objective from `start` (width, K)."""
        return run_outer_loop(objective, start, monitor, self.descend)

    def descend(
        self, objective: Objective, point: Point, metric: Metric, monitor: IterationMonitor
    ) -> Point:
        """Return the point itself: Newton's steps are those of the outer loop."""
        return point
