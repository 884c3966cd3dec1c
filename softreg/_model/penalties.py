"""Penalties: what coefficients cost. They know nothing of y, and they alone read strengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerScore, Places

# Gradient of an unpenalised coefficient, of a column with deviation one, that rounding leaves of
# zero.
_BALANCED = 1e-10


@dataclass(frozen=True, eq=False)
class Ridge:
    """A convex function of coefficients T (width, K): sum_jk l2_jk / 2 T_jk^2.

    The sum is over features j and scores k. A strength of zero is no penalty. Strengths are the
    products of a factor for each feature and one for each score.

    Attributes
    ----------
    l2 : ndarray (width, 1), the same for all scores, or (width, K), >= 0
    is_smooth : bool, whether it is differentiable, so that Newton's method minimises F
    is_rotatable : bool, whether a rotation of features of equal strength leaves it as it is
    """

    l2: NDArray[np.float64]
    is_smooth = is_rotatable = True

    @classmethod
    def from_C(cls, C: NDArray, factor: NDArray[np.float64]) -> Ridge:
        """Return the penalty of inverse strengths C, (1,) or (K,), and feature factors (d,)."""
        return cls(factor[:, None] / C)

    @classmethod
    def none(cls, width: int) -> Ridge:
        """Return no penalty on `width` coefficients of each score."""
        return cls(np.zeros((width, 1)))

    def for_scaled_features(self, scale: NDArray, intercept: bool) -> Ridge:
        """Return the same penalty for features divided by `scale` (d,), and a free intercept."""
        free = np.zeros((int(intercept), self.l2.shape[1]))
        return Ridge(np.concatenate([self.l2 / scale[:, None] ** 2, free]))

    def divided(self, weight: PerScore) -> Ridge:
        """Return the penalty with each score's part divided by its weight, (K,) or (1,)."""
        return Ridge(self.l2 / (weight[:1] if (weight == weight[0]).all() else weight))

    def take_scores(self, scores: Places) -> Ridge:
        """Return the penalty of some scores."""
        return self if self.l2.shape[1] == 1 else Ridge(self.l2[:, scores])

    def repeated(self, count: int) -> Ridge:
        """Return the penalty of `count` copies of the scores."""
        return self if self.l2.shape[1] == 1 else Ridge(np.tile(self.l2, count))

    def rotated(self, rank: int, unrotated: Mask) -> Ridge:
        """Return the penalty of `rank` features of strength one, and of the features `unrotated`.

        The former are a rotation of all other features, divided by the roots of their strengths.
        """
        return Ridge(np.concatenate([np.tile(self.ridge_by_score, (rank, 1)), self.l2[unrotated]]))

    @property
    def ridge(self) -> Coef:
        """The diagonal of the Hessian of its smooth part, (width, 1), or (width, K)."""
        return self.l2

    @property
    def ridge_by_feature(self) -> NDArray[np.float64]:
        """The ridge of each feature, averaged over the scores, (width,)."""
        return self.l2.mean(axis=1)

    @property
    def ridge_by_score(self) -> PerScore:
        """Factors r of scores, (K,) or (1,), with which ridge = ridge_by_feature[:, None] * r."""
        # Any row of l2 would do, as it is an outer product; the largest is not zero.
        strongest = self.ridge_by_feature.max(initial=0)
        return self.l2.max(axis=0, initial=0) / (strongest if strongest > 0 else 1.0)

    @property
    def free(self) -> Mask:
        """Coefficients without a penalty, in the shape of `ridge`."""
        return self.l2 == 0

    def value(self, T: Coef) -> PerScore:
        """Return the penalty of T, score by score, (K,)."""
        return 0.5 * (self.l2 * np.square(T)).sum(axis=0)

    def smooth(self, T: Coef) -> tuple[PerScore, Coef]:
        """Return the value (K,) and the gradient (width, K) of its smooth part at T."""
        return self.value(T), self.l2 * T

    def conjugate(self, G: Coef) -> PerScore:
        """Return sup_T <G, T> - penalty(T), the penalty's part of the duality gap, (K,).

        It is inf where a coefficient without a penalty has a G that is not zero to rounding.
        """
        unbalanced = (self.free & (np.abs(G) > _BALANCED)).any(axis=0)
        return np.where(unbalanced, np.inf, self.conjugate_of_penalised(G))

    def conjugate_of_penalised(self, G: Coef) -> PerScore:
        """Return the conjugate over the coefficients that have a penalty alone, (K,)."""
        return (np.square(G) / np.where(self.free, np.inf, 2 * self.l2)).sum(axis=0)


# What an objective is given: penalties of another kind would answer the same questions.
Penalty = Ridge
