"""L-BFGS by scipy.optimize, in the coordinates of a metric."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, plain
from softreg.solvers.base import Monitor, Point, ProblemsMonitor, Result, Solver
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.outer_loop import run_outer_loop
from softreg.solvers.steps import near_threshold

# L-BFGS hands over to Newton's last step at this estimate of (F - F*) / F, or where tol is larger
# as soon as the point is near.
_HANDOVER = 1e-6
# A descent has a budget of passes, what a new metric costs, within these bounds, and is granted
# another as long as each has brought F to this share of what it was or less. So it spends about as
# much on descending as on metrics, and where classes are nearly separated the first metric leads
# most of the way.
_FEWEST_PASSES, _MOST_PASSES, _WORTHWHILE = 5, 40, 0.9
# For SciPy's limits, where the rule above decides.
_NO_LIMIT = 10**9


@dataclass(repr=False)
class LBFGS(Solver):
    """Limited-memory BFGS in the coordinates of a metric, closed by a certified Newton step.

    The metric is first the Gram matrix of the standardised columns (for labels in an eigenbasis
    that fits all of them), then the Hessian at the point to which the descent has led; the
    Hessian's diagonal where these are too large. The steps are those of
    ``scipy.optimize.minimize(method="L-BFGS-B")``.

    Parameters
    ----------
    history : int, default=20
        Number of past steps that approximate the inverse Hessian (``maxcor``), >= 1.

    References
    ----------
    Liu and Nocedal (1989), "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45, 503-528.

    Examples
    --------
    >>> from softreg.solvers import LBFGS
    >>> LBFGS(history=10).get_params()
    {'history': 10}
    """

    history: int = 20

    def check(self) -> None:
        """Raise a ValueError for an option that is not as described."""
        if not (isinstance(self.history, numbers.Integral) and int(self.history) >= 1):
            raise ValueError(f"history={plain(self.history)!r} must be an integer >= 1, e.g. 20.")

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Return where minimising the objective from `start` (width, K) ended."""
        return run_outer_loop(objective, start, monitor, self.descend)

    def descend(
        self, objective: Objective, point: Point, metric: Metric, monitor: ProblemsMonitor
    ) -> tuple[Point, Metric, int]:
        """Return where L-BFGS leads in the coordinates of a metric, the metric, and the passes."""
        descent = _Descent(objective, point, metric, monitor)
        found = minimize(
            descent.value_and_gradient,
            np.zeros(point.T.size),
            jac=True,
            method="L-BFGS-B",
            callback=descent.after_iteration,
            options={
                "maxcor": self.history,
                "maxiter": _NO_LIMIT,
                "maxfun": _NO_LIMIT,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        return descent.end(found.x), metric, descent.passes


class _Descent:
    """F in whitened variables v = L' (T - start) / unit, and when to stop minimising it.

    The first step of L-BFGS-B has length 1 in its variables. As unit is the norm of the whitened
    gradient at the start, that step is minus the gradient: in a good metric the right one.
    """

    def __init__(
        self, objective: Objective, start: Point, metric: Metric, monitor: ProblemsMonitor
    ) -> None:
        self.objective, self.start, self.metric, self.monitor = objective, start, metric, monitor
        self.unit = float(np.linalg.norm(metric.whiten(start.gradient)))
        # A Hessian's estimate can be trusted to tell when tol is reached, a Gram matrix's cannot.
        tol = monitor.of_all.tol if metric.is_hessian else 0.0
        self.handover = float(np.clip(tol, _HANDOVER, near_threshold(metric, tol)))
        self.latest, self.passes = start, 0
        self.reached = start
        self.budget = np.clip(costs_of(objective).cheapest_hessian, _FEWEST_PASSES, _MOST_PASSES)
        # The number of passes, and F, when the present budget was granted.
        self.budget_start = 0, start.value.sum()

    def coefficients(self, v: NDArray) -> Coef:
        """Return T (width, K) of whitened variables."""
        return self.start.T + self.metric.unwhiten(self.unit * v)

    def value_and_gradient(self, v: NDArray) -> tuple[float, NDArray]:
        """Return F and its gradient in v, and record the point."""
        if v.any():  # zero is the start, which is known
            self.passes += 1
            self.latest = Point.at_coefficients(self.objective, self.coefficients(v))
        return self.latest.value.sum(), self.unit * self.metric.whiten(self.latest.gradient)

    def after_iteration(self, intermediate_result: OptimizeResult) -> None:
        """Report the iteration; StopIteration near the optimum, or where F falls too slowly."""
        value = self.latest.value.sum()
        if self._has_leapt(self.latest):
            raise StopIteration
        self.reached = self.latest
        self.monitor.iteration(self.latest.T, self.latest.value)
        estimate = 0.5 * np.square(self.metric.whiten(self.latest.gradient)).sum()
        if self.monitor.reason or estimate <= self.handover * value:
            raise StopIteration
        passes_before, value_before = self.budget_start
        if self.passes - passes_before >= self.budget:
            if value > _WORTHWHILE * value_before:
                raise StopIteration
            self.budget_start = self.passes, value

    def end(self, v: NDArray) -> Point:
        """Return the point at v, or that of the latest iteration if F has leapt since."""
        T = self.coefficients(v)
        is_latest = np.array_equal(T, self.latest.T)
        point = self.latest if is_latest else Point.at_coefficients(self.objective, T)
        return self.reached if self._has_leapt(point) else point

    def _has_leapt(self, point: Point) -> bool:
        """Return whether F is far above that of the latest iteration.

        Rounding may lead SciPy's line search astray.
        """
        return bool(point.value.sum() > 2 * self.reached.value.sum())
