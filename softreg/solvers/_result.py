"""What every solver returns, and the one rule by which it stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# The duality gap that a fit must reach, relative to F: the promise of 1e-8 on every data set.
CERTIFIED = 1e-8
# What a row's loss is rounded to: that of a well-fitted row is the difference of scores near 100.
LEAST = 100 * np.finfo(float).eps


def rounding(value: float) -> float:
    """Return by how much a computed F of this size can be off."""
    return max(LEAST, 10 * np.finfo(float).eps * value)


@dataclass(frozen=True, eq=False)
class Result:
    """Where a solver ended.

    Attributes
    ----------
    coef : ndarray of shape (d, K), in the user's units
    intercept : ndarray of shape (K,)
    objective : float, F there
    gap : float, a bound on F - F*; inf if a feature that varies has no penalty
    n_iter : int
    converged : bool
    message : str, what happened and what to change
    stopped : bool, whether the user's own callback ended the fit
    diverging : tuple of int, the scores that grow without end (separated classes, no penalty)
    loss_curve : ndarray of shape (n_iter,), F after each iteration
    """

    coef: NDArray
    intercept: NDArray
    objective: float
    gap: float
    n_iter: int
    converged: bool
    message: str
    stopped: bool
    diverging: tuple[int, ...]
    loss_curve: NDArray


@dataclass
class Monitor:
    """Counts iterations, records F and says when to stop.

    That is when F - F* is estimated at most tol F and proven at most max(tol, 1e-8) F; differences
    that rounding alone can make count for nothing.

    Parameters
    ----------
    tol : float, >= 0
    max_iter : int
    report : callable (T, F) -> bool, called after each iteration; True stops the fit
    """

    tol: float
    max_iter: int
    report: Callable[[NDArray, float], bool]
    losses: list[float] = field(default_factory=list)
    reason: str = ""
    stopped: bool = False

    def iteration(self, T: NDArray, value: float) -> None:
        """Record an iteration that ended at T, and whether it must be the last."""
        self.losses.append(value)
        if self.report(T, value):
            self.reason, self.stopped = "a callback ended the fit", True
        elif len(self.losses) >= self.max_iter:
            self.reason = f"max_iter={self.max_iter} is too few; raise it, or leave it None"

    def reached(self, estimate: float, gap: float, value: float) -> bool:
        """Return whether F - F* is small enough by estimate, and proven to be nearly so."""
        near, proven = self.tol * value, max(self.tol, CERTIFIED) * value
        return estimate <= max(near, LEAST) and gap <= max(proven, LEAST)
