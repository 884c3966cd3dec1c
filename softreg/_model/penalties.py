"""Penalties: what coefficients cost. They know nothing of y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ridge:
    """sum_jk l2_jk / 2 W_jk^2 over features j and scores k.

    It is the elastic net's smooth part; its l1 part comes with sparse coefficients.

    Strengths are values, not kinds: zero is no penalty, and each feature has its own, as each label
    of a multi-label model may.

    Attributes
    ----------
    l2 : ndarray of shape (d, 1), the same for all scores, or (d, K), >= 0
    """

    l2: NDArray[np.float64]

    @classmethod
    def from_C(cls, C: NDArray, factor: NDArray[np.float64]) -> Ridge:
        """Return the penalty of inverse strengths C, (1,) or (K,), and feature factors (d,)."""
        return cls(factor[:, None] / C)

    def for_scaled_features(self, scale: NDArray, intercept: bool) -> Ridge:
        """Return the same penalty for features divided by `scale` (d,), and a free intercept."""
        free = np.zeros((int(intercept), self.l2.shape[1]))
        return Ridge(np.concatenate([self.l2 / scale[:, None] ** 2, free]))

    def divided(self, weight: NDArray) -> Ridge:
        """Return the penalty, that of each score divided by its `weight` (K,)."""
        return Ridge(self.l2 / (weight[:1] if (weight == weight[0]).all() else weight))

    def take_scores(self, scores: NDArray) -> Ridge:
        """Return the penalty of some of the scores."""
        return self if self.l2.shape[1] == 1 else Ridge(self.l2[:, scores])

    def repeated(self, count: int) -> Ridge:
        """Return the penalty of so many copies of the scores."""
        return self if self.l2.shape[1] == 1 else Ridge(np.tile(self.l2, count))

    @property
    def ridge_by_feature(self) -> NDArray[np.float64]:
        """The strength of each feature, averaged over the scores, (d,)."""
        return self.l2.mean(axis=1)

    @property
    def ridge_by_score(self) -> NDArray[np.float64]:
        """The strength of each score, or of all, beside `ridge_by_feature`, (K,) or (1,).

        l2 is the product of the two: strengths of features and of scores are given apart.
        """
        strongest = self.ridge_by_feature.max(initial=0)
        return self.l2.max(axis=0, initial=0) / (strongest if strongest > 0 else 1.0)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Where there is no penalty, in the shape of `l2`."""
        return self.l2 == 0

    def value(self, W: NDArray) -> NDArray:
        """Return the penalty of W (d, K), score by score, (K,)."""
        return 0.5 * (self.l2 * np.square(W)).sum(axis=0)

    def gradient(self, W: NDArray) -> NDArray:
        """Return the gradient (d, K) at W."""
        return self.l2 * W

    def conjugate(self, G: NDArray) -> NDArray:
        """Return the conjugate sum_j G_jk^2 / (2 l2_jk) at G (d, K), score by score, (K,).

        Features without a penalty are left out: there it is infinite unless G is zero.
        """
        twice = np.square(G) / np.where(self.free, np.inf, 2 * self.l2)
        return twice.sum(axis=0)
