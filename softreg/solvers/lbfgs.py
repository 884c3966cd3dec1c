"""L-BFGS by scipy.optimize, in the coordinates of a metric."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg.solvers.base import Solver
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.monitor import IterationMonitor, Monitor
from softreg.solvers.outer_loop import run_outer_loop
from softreg.solvers.point import Point
from softreg.solvers.result import Result

# L-BFGS hands over to Newton's last step at this estimate of (F - F*) / F.
_HANDOVER = 1e-6
# A descent goes on in its metric as long as every so many passes take a tenth off F, where so
# many is what a new metric costs, within these bounds: then it spends about as much on descending
# as on metrics, and where classes are nearly separated the first metric leads most of the way.
_FEWEST, _MOST, _WORTHWHILE = 5, 40, 0.9
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

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Minimise the objective from `start` (width, K)."""
        if not (isinstance(self.history, numbers.Integral) and int(self.history) >= 1):
            raise ValueError(f"history={self.history!r} must be an integer >= 1, e.g. 20.")
        return run_outer_loop(objective, start, monitor, self.descend)

    def descend(
        self, objective: Objective, point: Point, metric: Metric, monitor: IterationMonitor
    ) -> Point:
        """Return the point to which L-BFGS leads in the coordinates of a metric."""
        latest, passes = point, 0
        passes_before, value_before = 0, point.value.sum()
        budget = np.clip(costs_of(objective).cheapest_hessian, _FEWEST, _MOST)
        # The first step of L-BFGS-B has length 1 in its variables; in these that is minus the
        # gradient, which in a good metric is the right step.
        unit = float(np.linalg.norm(metric.whiten(point.gradient)))

        def whitened(v: NDArray) -> tuple[float, NDArray]:
            nonlocal latest, passes
            if v.any():  # at zero the point is known
                passes += 1
                latest = Point.at_coefficients(objective, point.T + metric.unwhiten(unit * v))
            return latest.value.sum(), unit * metric.whiten(latest.gradient)

        def after_iteration(intermediate_result: OptimizeResult) -> None:
            nonlocal passes_before, value_before
            monitor.iteration(latest.T, latest.value)
            value = latest.value.sum()
            estimate = 0.5 * np.square(metric.whiten(latest.gradient)).sum()
            if monitor.reason or estimate <= _HANDOVER * value:
                raise StopIteration
            if passes - passes_before >= budget:
                if value > _WORTHWHILE * value_before:
                    raise StopIteration
                passes_before, value_before = passes, value

        found = minimize(
            whitened,
            np.zeros(point.T.size),
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxcor": self.history,
                "maxiter": _NO_LIMIT,
                "maxfun": _NO_LIMIT,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        T = point.T + metric.unwhiten(unit * found.x)
        end = latest if np.array_equal(T, latest.T) else Point.at_coefficients(objective, T)
        return replace(end, passes=passes)
