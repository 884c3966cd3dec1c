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

    Newton's equations are solved loosely far from the optimum; near it, until their residual hardly
    adds to the certificate's gap. Each product costs one pass over the data. There are few arrays
    of the coefficients' size, so that a million coefficients fit.

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
        """Return where minimising the objective from `start` (width, K) ended."""
        return run_outer_loop(objective, start, monitor, self.descend)

    def descend(
        self, objective: Objective, point: Point, metric: Metric, monitor: IterationMonitor
    ) -> Point:
        """Return the point itself: Newton's steps are those of the outer loop."""
        return point
