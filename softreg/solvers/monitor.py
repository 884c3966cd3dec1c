"""The monitor of a fit: it counts iterations, and has the one rule by which fits stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem
from softreg.solvers.point import Point

# The duality gap that a fit must reach, relative to F: the promise of 1e-8 on every data set.
CERTIFIED_GAP = 1e-8
# An F that is zero to rounding: the loss of a well-fitted row is the difference of scores near 100.
LOSS_ROUNDING = 100 * np.finfo(float).eps
# Without a penalty, an F this small is that of separated classes.
_PERFECT = 1e-8


def rounding(value: PerProblem) -> PerProblem:
    """Return by how much a computed F of this size can be off, (B,)."""
    return np.maximum(LOSS_ROUNDING, 10 * np.finfo(float).eps * value)


class IterationMonitor(Protocol):
    """What a descent reports its iterations to: the `Monitor`, or that of some problems."""

    @property
    def reason(self) -> str:
        """Why the fit is to end; empty as long as it goes on."""

    def iteration(self, T: Coef, value: PerProblem) -> None:
        """Record an iteration that ended at T (width, K), where F is `value` (B,)."""

    def solved(self, objective: Objective, point: Point) -> Mask:
        """Return which of the objective's problems are solved at a point, (B,)."""


@dataclass
class Monitor:
    """Counts iterations, records F and says when to stop.

    A problem is solved when F - F* is at most tol F by estimate, and at most max(tol, 1e-8) F by
    proof; less than rounding counts as zero. (The outer loop adds the cases in which rounding hides
    the proof or F is zero to rounding.)

    Parameters
    ----------
    tol : float, >= 0
    max_iter : int
    report : callable (T, F) -> bool, called after each iteration; True stops the fit
    random : numpy.random.Generator, for solvers that draw rows

    Attributes
    ----------
    losses : list of float, F after each iteration
    reason : str, why the fit is to end; empty as long as it goes on
    stopped : bool, whether a callback ended it
    """

    tol: float
    max_iter: int
    report: Callable[[Coef, float], bool]
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    losses: list[float] = field(default_factory=list)
    reason: str = ""
    stopped: bool = False

    def iteration(self, T: Coef, value: PerProblem) -> None:
        """Record an iteration of all problems that ended at T (width, K), where F is `value`."""
        self.record(T, float(value.sum()))

    def record(self, T: Coef, F: float) -> None:
        """Record an iteration that ended at T (width, K), where all problems add up to F."""
        self.losses.append(F)
        if self.report(T, F):
            self.reason, self.stopped = "a callback ended the fit", True
        elif len(self.losses) >= self.max_iter:
            self.reason = f"max_iter={self.max_iter} is too few; raise it, or leave it None"

    def solved(self, objective: Objective, point: Point) -> Mask:
        """Return which of the objective's problems are solved at a point, (B,)."""
        is_perfect = point.value <= np.where(objective.has_free_features, _PERFECT, LOSS_ROUNDING)
        return self.reached(point.estimate, point.gap, point.value) | is_perfect

    def reached(self, estimate: PerProblem, gap: PerProblem | float, value: PerProblem) -> Mask:
        """Return whether problems are solved, given estimates and bounds of F - F*, (B,)."""
        near, proven = self.tol * value, max(self.tol, CERTIFIED_GAP) * value
        is_near = estimate <= np.maximum(near, LOSS_ROUNDING)
        return is_near & (gap <= np.maximum(proven, LOSS_ROUNDING))


@dataclass(frozen=True)
class ProblemsMonitor:
    """Reports the iterations of some problems to the monitor of all.

    Attributes
    ----------
    monitor : Monitor
    embedded : callable (T, value) of some problems -> (T, F) of all
    """

    monitor: Monitor
    embedded: Callable[[Coef, PerProblem], tuple[Coef, float]]

    @property
    def reason(self) -> str:
        """Why the fit is to end; empty as long as it goes on."""
        return self.monitor.reason

    def iteration(self, T: Coef, value: PerProblem) -> None:
        """Record an iteration of these problems that ended at T, where F is `value`."""
        self.monitor.record(*self.embedded(T, value))

    def solved(self, objective: Objective, point: Point) -> Mask:
        """Return which of the objective's problems are solved at a point, (B,)."""
        return self.monitor.solved(objective, point)
