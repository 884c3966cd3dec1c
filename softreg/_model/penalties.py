"""Penalties: what coefficients cost. They know nothing of y, and they alone read strengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerScore, Places

# Gradient of an unpenalised coefficient, of a column with deviation one, that rounding leaves of
# zero.
BALANCED = 1e-10
# The least number that is not zero, and the root of the largest strength of a column with deviation
# one, beyond which products and sums of strengths overflow.
_FAINTEST, STRONGEST_ROOT = np.nextafter(0.0, 1.0), 2.0**450


class Penalty(Protocol):
    """A convex function of the coefficients T (width, K), a sum over scores.

    Attributes
    ----------
    is_smooth : bool, whether it is differentiable, so that Newton's method minimises F
    is_rotatable : bool, whether a rotation of features of equal strength leaves it as it is
    """

    is_smooth: bool
    is_rotatable: bool

    @property
    def joined(self) -> NDArray[np.intp] | None:
        """Labels (d,) of features that are measured in one unit, that of their group, or None."""

    def for_scaled_features(
        self, scale: NDArray, intercept: bool, weight_unit: float = 1.0
    ) -> Penalty:
        """Return the same penalty for features divided by `scale` (d,), and a free intercept.

        It is divided by `weight_unit`, a power of two in which rows count their weights. What has a
        penalty keeps some, however little of it is left.
        """

    def least_scale(self, weight_unit: float) -> NDArray[np.float64]:
        """Return the scales (d,) below which the penalty of scaled features would overflow."""

    def divided(self, weight: PerScore) -> Penalty:
        """Return the penalty with each score's part divided by its weight, (K,) or (1,)."""

    def at_temperature(self, t: float) -> Penalty:
        """Return V -> penalty(t * V) / t."""

    def take_scores(self, scores: Places) -> Penalty:
        """Return the penalty of some scores."""

    def take_features(self, features: Places) -> Penalty:
        """Return the penalty of some rows of T, among which all others are zero."""

    def repeated(self, count: int) -> Penalty:
        """Return the penalty of `count` copies of the scores."""

    def on_multiples(self, multiple: Coef) -> Penalty:
        """Return T -> penalty(multiple * T), multiples (width, K) being > 0."""

    def fixing(self, features: Places, scores: Places) -> Penalty:
        """Return the penalty with a ridge of one on the coefficients of features in some scores.

        Where F is the same whatever these are, given the others, it has them at zero.
        """

    def rotated(self, rank: int, unrotated: Mask) -> Penalty:
        """Return the penalty of `rank` features of strength one, and of the features `unrotated`.

        The former are a rotation of all other features, divided by the roots of their strengths.
        """

    @property
    def ridge(self) -> Coef:
        """The diagonal of the Hessian of its smooth part, (width, 1), or (width, K)."""

    @property
    def ridge_by_feature(self) -> NDArray[np.float64]:
        """The ridge of each feature, averaged over the scores, (width,)."""

    @property
    def ridge_by_score(self) -> PerScore:
        """Factors r of scores, (K,) or (1,), with which ridge = ridge_by_feature[:, None] * r.

        Nearly so, where features are in units of their deviations in the rows of each fit.
        """

    @property
    def free(self) -> Mask:
        """Coefficients without a penalty, in the shape of `ridge`."""

    def value(self, T: Coef) -> PerScore:
        """Return the penalty of T, score by score, (K,)."""

    def smooth(self, T: Coef) -> tuple[PerScore, Coef]:
        """Return the value (K,) and the gradient (width, K) of its smooth part at T."""

    def prox(self, T: Coef, step: float | Coef) -> Coef:
        """Return argmin_U ||U - T||^2 / 2 + step * penalty(U).

        Steps (width, K) are those of each coefficient, the same throughout a group: the first term
        is then that of ||(U - T) / sqrt(step)||^2 / 2, and the second the penalty alone.
        """

    def least_subgradient(self, T: Coef, G: Coef) -> Coef:
        """Return the subgradient of F at T that is nearest to zero, (width, K).

        G is the gradient of F's smooth part: that of the loss and of the penalty's smooth part.
        """

    def violation(self, T: Coef, G: Coef) -> Coef:
        """Return the distance of zero from G + the subdifferential at T, (width, K), >= 0.

        G is the gradient of the loss: T is an optimum if and only if the violation is zero.
        """

    def conjugate(self, G: Coef) -> PerScore:
        """Return sup_T <G, T> - penalty(T), the penalty's part of the duality gap, (K,).

        It is inf where a coefficient without a penalty has a G that is not zero to rounding.
        """

    def conjugate_of_penalised(self, G: Coef) -> PerScore:
        """Return the conjugate over the coefficients that have a penalty alone, (K,)."""


class SparsePenalty(Penalty, Protocol):
    """A penalty under which coefficients are exactly zero, in groups g of one or more.

    Beside a smooth part it is sum_g l1_g ||T_g||.
    """

    def take_features(self, features: Places) -> SparsePenalty:
        """Return the penalty of some rows of T, among which all others are zero."""

    def has_groups(self, n_scores: int) -> bool:
        """Return whether a group holds several coefficients, of so many scores."""

    def group_sizes(self, T: Coef) -> Coef:
        """Return the length ||T_g|| of each coefficient's group, (width, K)."""

    def group_products(self, A: Coef, D: Coef) -> Coef:
        """Return the inner product of each coefficient's group in A and D, (width, K).

        (width, 1) where a group holds the coefficients of all scores.
        """

    def group_numbers(self, shape: tuple[int, int]) -> NDArray[np.intp]:
        """Return the number of each coefficient's group, (width, K)."""

    def sparse_strengths(self, shape: tuple[int, int]) -> Coef:
        """Return l1 of each coefficient's group, (width, K); 0 for those without a penalty."""

    def sparse_value(self, T: Coef) -> PerScore:
        """Return the part of the penalty that is not smooth, score by score, (K,)."""

    def active(self, T: Coef) -> Mask:
        """Return the coefficients in which it is smooth around T, (width, K).

        Those whose group is not zero, and those without a sparse part.
        """

    def curvature(self, T: Coef, features: Places, scores: Places) -> NDArray:
        """Return its Hessian at T in active coefficients (p,), (p, p).

        That of l1_g ||T_g|| is (I - u u') l1_g / ||T_g||, u being the direction of T_g: zero for
        groups of one.
        """

    def shares(self, G: Coef) -> Coef:
        """Return the length of each coefficient's group in G as a share of its l1, (width, K).

        Of gradients: less than one where an optimum is zero. 0 of coefficients without a penalty.
        """

    def feasible_share(self, G: Coef) -> PerScore:
        """Return the largest t <= 1 at which the conjugate of t G is zero, (K,)."""

    def allowed_excess(self, count: int, conjugate: float) -> float:
        """Return how far beyond their l1, in shares of it, so many lengths in G may be.

        The conjugate of G is then no more than this one.
        """


@dataclass(frozen=True, eq=False)
class Ridge:
    """sum_jk l2_jk / 2 T_jk^2 over features j and scores k.

    A strength of zero is no penalty. Strengths are the products of a factor for each feature and
    one for each score, but for refits of folds that each have their own deviations.

    Attributes
    ----------
    l2 : ndarray (width, 1), the same for all scores, or (width, K), >= 0
    """

    l2: NDArray[np.float64]
    is_smooth = is_rotatable = True
    joined = None

    @classmethod
    def from_C(cls, C: NDArray, factor: NDArray[np.float64]) -> Ridge:
        """Return the penalty of inverse strengths C, (1,) or (K,), and feature factors.

        These are (d,), or of each score, (d, 1 or K).
        """
        return cls(finite_quotient(factor.reshape(len(factor), -1), C))

    @classmethod
    def none(cls, width: int) -> Ridge:
        """Return no penalty on `width` coefficients of each score."""
        return cls(np.zeros((width, 1)))

    def for_scaled_features(
        self, scale: NDArray, intercept: bool, weight_unit: float = 1.0
    ) -> Ridge:
        # Exponents by themselves, as the squares of scales may overflow where the result does not.
        (mantissa, exponent), unit = np.frexp(scale[:, None]), np.frexp(weight_unit)[1] - 1
        scaled = np.ldexp(self.l2 / np.square(mantissa), -2 * exponent - unit)
        penalised = np.where(np.isfinite(scale)[:, None], kept_strengths(scaled, self.l2), 0.0)
        return Ridge(np.concatenate([penalised, np.zeros((int(intercept), self.l2.shape[1]))]))

    def least_scale(self, weight_unit: float) -> NDArray[np.float64]:
        return np.sqrt(self.l2.max(axis=1)) / (np.sqrt(weight_unit) * STRONGEST_ROOT)

    def divided(self, weight: PerScore) -> Ridge:
        return Ridge(divided_strengths(self.l2, weight))

    def at_temperature(self, t: float) -> Ridge:
        return self.divided(np.array([1 / t]))

    def take_scores(self, scores: Places) -> Ridge:
        return Ridge(strengths_of_scores(self.l2, scores))

    def take_features(self, features: Places) -> Ridge:
        return Ridge(self.l2[features])

    def repeated(self, count: int) -> Ridge:
        return self if self.l2.shape[1] == 1 else Ridge(np.tile(self.l2, count))

    def on_multiples(self, multiple: Coef) -> Ridge:
        return Ridge(kept_strengths(self.l2 * np.square(multiple), self.l2))

    def fixing(self, features: Places, scores: Places) -> Ridge:
        l2 = self.l2.copy()
        l2[np.ix_(features, scores if l2.shape[1] > 1 else np.zeros(1, dtype=int))] = 1
        return Ridge(l2)

    def rotated(self, rank: int, unrotated: Mask) -> Ridge:
        return Ridge(np.concatenate([np.tile(self.ridge_by_score, (rank, 1)), self.l2[unrotated]]))

    @property
    def ridge(self) -> Coef:
        return self.l2

    @property
    def ridge_by_feature(self) -> NDArray[np.float64]:
        return self.l2.mean(axis=1)

    @property
    def ridge_by_score(self) -> PerScore:
        # Any row of an outer product would do; the largest is not zero.
        strongest = self.ridge_by_feature.max(initial=0)
        return self.l2.max(axis=0, initial=0) / (strongest if strongest > 0 else 1.0)

    @property
    def free(self) -> Mask:
        return self.l2 == 0

    def value(self, T: Coef) -> PerScore:
        return self.smooth(T)[0]

    def smooth(self, T: Coef) -> tuple[PerScore, Coef]:
        G = self.l2 * T
        return 0.5 * np.add.reduce(G * T), G

    def prox(self, T: Coef, step: float | Coef) -> Coef:
        return T / (1 + step * self.l2)

    def least_subgradient(self, T: Coef, G: Coef) -> Coef:
        return G

    def violation(self, T: Coef, G: Coef) -> Coef:
        return np.abs(G + self.l2 * T)

    def conjugate(self, G: Coef) -> PerScore:
        unbalanced = (self.free & (np.abs(G) > BALANCED)).any(axis=0)
        return np.where(unbalanced, np.inf, self.conjugate_of_penalised(G))

    def conjugate_of_penalised(self, G: Coef) -> PerScore:
        with np.errstate(over="ignore"):  # of penalties that are next to none
            return (np.square(G) / np.where(self.free, np.inf, 2 * self.l2)).sum(axis=0)


def kept_strengths(
    strengths: NDArray[np.float64], given: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return other strengths for given ones; what has a penalty keeps the least of one."""
    return np.maximum(strengths, _FAINTEST * (given > 0))


def divided_strengths(strengths: NDArray[np.float64], weight: PerScore) -> NDArray[np.float64]:
    """Return strengths (width, 1 or K) with each score's divided by its weight, (K,) or (1,)."""
    divisor = weight[:1] if (weight == weight[0]).all() else weight
    return kept_strengths(finite_quotient(strengths, divisor), strengths)


def strengths_of_scores(strengths: NDArray[np.float64], scores: Places) -> NDArray[np.float64]:
    """Return the strengths of some scores: those that are the same for all, (width, 1), stay."""
    return strengths if strengths.shape[1] == 1 else strengths[:, scores]


def finite_quotient(strengths: NDArray[np.float64], divisor: NDArray) -> NDArray[np.float64]:
    """Return strengths over C or weights; ValueError if they overflow."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        quotient = strengths / divisor
    if not np.isfinite(quotient).all():
        raise ValueError(
            "The penalty overflows: penalty_factor / C, also over the sum of the weights and for "
            f"columns in units of their deviations, must be finite, and {divisor.min():.3g} is too "
            "small a divisor: choose a larger C."
        )
    return quotient
