"""The monitor of a fit: it counts iterations, and has the one rule by which fits stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# The duality gap that a fit must reach, relative to F: the promise of 1e-8 on every data set.
CERTIFIED = 1e-8
# What a row's loss is rounded to: that of a well-fitted row is the difference of scores near 100.
LEAST = 100 * np.finfo(float).eps


def rounding(value: NDArray) -> NDArray:
    """Return by how much a computed F of this size can be off."""
    return np.maximum(LEAST, 10 * np.finfo(float).eps * value)


def _all(T: NDArray, value: NDArray) -> tuple[NDArray, float]:
    return T, float(value.sum())


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
    random : numpy.random.Generator, for solvers that draw rows
    embed : callable (T, F) -> (T, F), from those of the problems being solved to those of all
    """

    tol: float
    max_iter: int
    report: Callable[[NDArray, float], bool]
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    losses: list[float] = field(default_factory=list)
    reason: str = ""
    stopped: bool = False
    embed: Callable[[NDArray, NDArray], tuple[NDArray, float]] = _all

    def iteration(self, T: NDArray, value: NDArray) -> None:
        """Record an iteration that ended at T (width, K), where F is `value` (B,)."""
        all_T, total = self.embed(T, value)
        self.losses.append(total)
        if self.report(all_T, total):
            self.reason, self.stopped = "a callback ended the fit", True
        elif len(self.losses) >= self.max_iter:
            self.reason = f"max_iter={self.max_iter} is too few; raise it, or leave it None"

    def reached(self, estimate: NDArray, gap: NDArray | float, value: NDArray) -> NDArray[np.bool_]:
        """Return whether F - F* is small enough by estimate, and proven to be nearly so, (B,)."""
        near, proven = self.tol * value, max(self.tol, CERTIFIED) * value
        return (estimate <= np.maximum(near, LEAST)) & (gap <= np.maximum(proven, LEAST))
