"""Certificates: F at a point, and a bound on how far it is above the optimum."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Certificate:
    """F at a point with a bound on how far it is above the optimum, problem by problem.

    Attributes
    ----------
    value, gradient : F (B,) and its gradient (width, K)
    gap : ndarray (B,), duality gap, F - F* <= gap
    divergence : ndarray (B,), the losses' part of the gap, of fourth order in the Newton step
    imbalance : ndarray (width, K), what Newton's equations were left out of balance by; the
        penalty's part of the gap is its square in units of the penalty
    """

    value: NDArray
    gradient: NDArray
    divergence: NDArray
    imbalance: NDArray
    gap: NDArray
