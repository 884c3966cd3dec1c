"""Penalties: what coefficients cost. They know nothing of y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ElasticNet:
    """sum_j l2_j / 2 ||W_j||^2 over features j, W_j (K,) being the coefficients of one feature.

    It is the elastic net's smooth part; its l1 part comes with sparse coefficients.

    Strengths are values, not kinds: zero is no penalty, and each feature has its own.

    Attributes
    ----------
    l2 : ndarray of shape (d,), >= 0
    """

    l2: NDArray[np.float64]

    @classmethod
    def of_inverse_strength(cls, C: float, factor: NDArray[np.float64]) -> ElasticNet:
        """Return the penalty of inverse strength C (inf: none) and per-feature factors (d,)."""
        return cls(factor / C)

    def in_units(self, scale: NDArray, intercept: bool) -> ElasticNet:
        """Return the same penalty for features divided by `scale` (d,), and a free intercept."""
        return ElasticNet(np.append(self.l2 / scale**2, np.zeros(int(intercept))))

    def value(self, W: NDArray) -> float:
        """Return the penalty of W (d, K)."""
        return 0.5 * float(self.l2 @ np.square(W).sum(axis=1))

    def gradient(self, W: NDArray) -> NDArray:
        """Return the gradient (d, K) at W."""
        return self.l2[:, None] * W

    def conjugate(self, G: NDArray) -> float:
        """Return the conjugate sum_j ||G_j||^2 / (2 l2_j) at G (d, K).

        Features without a penalty are left out: there it is infinite unless G is zero.
        """
        held = self.l2 > 0
        return float((np.square(G[held]) / (2 * self.l2[held, None])).sum())
