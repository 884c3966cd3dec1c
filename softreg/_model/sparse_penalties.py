"""Sparse penalties: those under which coefficients are exactly zero, by themselves or in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softreg._model.penalties import (
    BALANCED,
    STRONGEST_ROOT,
    Penalty,
    Ridge,
    divided_strengths,
    finite_quotient,
    kept_strengths,
    strengths_of_scores,
)
from softreg._rows.arrays import Coef, Mask, PerScore, Places, nonzero_rows


@dataclass(frozen=True, eq=False)
class Groups:
    """Which coefficients T (width, K) are zero together.

    Attributes
    ----------
    labels : ndarray (width,), equal for features of a group, from 0; None: features by themselves
    over_scores : bool, whether a group holds the coefficients of all scores
    """

    labels: NDArray[np.intp] | None = None
    over_scores: bool = False

    def products(self, A: Coef, D: Coef) -> Coef:
        """Return the inner product of each coefficient's group in two T, (width, K or 1).

        Several T, (..., width, K), have their own.
        """
        over = np.einsum("...jk,...jk->...j", A, D)[..., None] if self.over_scores else A * D
        if self.labels is None:
            return over
        over = np.moveaxis(over, -2, 0)
        totals = np.zeros((self.labels.max(initial=-1) + 1, *over.shape[1:]))
        np.add.at(totals, self.labels, over)
        return np.moveaxis(totals[self.labels], 0, -2)

    def sizes(self, T: Coef) -> Coef:
        """Return the length of each coefficient's group, (width, K), or (width, 1) over scores."""
        are_single = self.labels is None and not self.over_scores
        return np.abs(T) if are_single else np.sqrt(self.products(T, T))

    def numbers(self, shape: tuple[int, int]) -> NDArray[np.intp]:
        """Return the number of each coefficient's group, (width, K)."""
        width, K = shape
        labels = np.arange(width) if self.labels is None else self.labels
        return np.add.outer(labels * K, np.zeros(K, int) if self.over_scores else np.arange(K))

    def take(self, features: Places) -> Groups:
        """Return the groups of some features, among which all others are zero."""
        return self if self.labels is None else replace(self, labels=self.labels[features])

    def for_scaled_features(self, varies: Mask, intercept: bool) -> Groups:
        """Return the groups with constant features, and the intercept, by themselves."""
        if self.labels is None:
            return self
        labels = np.append(self.labels, np.zeros(int(intercept), dtype=int))
        alone = np.append(~varies, np.ones(int(intercept), dtype=bool))
        return replace(self, labels=labels).with_alone(alone)

    def with_alone(self, alone: Mask) -> Groups:
        """Return the groups with some features, (width,) of bool, by themselves."""
        if self.labels is None or not alone.any():
            return self
        numbers = self.labels.max(initial=0) + 1 + np.arange(len(alone))
        labels = np.where(alone, numbers, self.labels)
        return replace(self, labels=np.unique(labels, return_inverse=True)[1])


@dataclass(frozen=True, eq=False)
class ElasticNet:
    """sum_jk l2_jk / 2 T_jk^2 + sum_g l1_g ||T_g|| over groups g of coefficients.

    With groups of one, ||T_g|| = |T_jk|: the lasso where l2 is zero. Source: Zou and Hastie (2005),
    "Regularization and variable selection via the elastic net", Journal of the Royal Statistical
    Society B 67, 301-320; Yuan and Lin (2006), ibid. 68, 49-67, for groups.

    Attributes
    ----------
    smooth_part : Ridge, the strengths l2
    l1 : ndarray (width, 1), the same for all scores, or (width, K), >= 0 and the same throughout a
        group; zero where there is no penalty at all
    groups : Groups
    """

    smooth_part: Ridge
    l1: NDArray[np.float64]
    groups: Groups
    is_smooth = is_rotatable = False

    @classmethod
    def from_C(
        cls, C: NDArray, factor: NDArray[np.float64], l1_ratio: NDArray, groups: Groups
    ) -> Penalty:
        """Return the penalty of feature factors (d,).

        C and l1_ratio, (1,) or (K,), are the inverse strengths and the shares of the sparse part.
        """
        ridge = Ridge.from_C(C, np.outer(factor, 1 - l1_ratio))
        return cls(ridge, finite_quotient(np.outer(factor, l1_ratio), C), groups)._simplest()

    def _simplest(self) -> Penalty:
        """Return the smooth part alone where there is no other."""
        return self if self.l1.any() else self.smooth_part

    @property
    def joined(self) -> NDArray[np.intp] | None:
        return self.groups.labels

    def for_scaled_features(
        self, scale: NDArray, intercept: bool, weight_unit: float = 1.0
    ) -> Penalty:
        varies = np.isfinite(scale)
        # A constant feature has no gradient, so that any strength keeps it at zero.
        (mantissa, exponent), unit = np.frexp(scale[:, None]), np.frexp(weight_unit)[1] - 1
        scaled = np.ldexp(self.l1 / mantissa, -exponent - unit)
        l1 = np.where(varies[:, None], kept_strengths(scaled, self.l1), 1.0)
        return ElasticNet(
            self.smooth_part.for_scaled_features(scale, intercept, weight_unit),
            np.concatenate([l1, np.zeros((int(intercept), l1.shape[1]))]),
            self.groups.for_scaled_features(varies, intercept),
        )

    def least_scale(self, weight_unit: float) -> NDArray[np.float64]:
        root = np.sqrt(self.l1.max(axis=1)) / (np.sqrt(weight_unit) * STRONGEST_ROOT)
        return np.maximum(self.smooth_part.least_scale(weight_unit), np.square(root))

    def divided(self, weight: PerScore) -> ElasticNet:
        smooth_part = self.smooth_part.divided(weight) if self._has_ridge else self.smooth_part
        return replace(self, smooth_part=smooth_part, l1=divided_strengths(self.l1, weight))

    def at_temperature(self, t: float) -> ElasticNet:
        return replace(self, smooth_part=self.smooth_part.at_temperature(t))

    def take_scores(self, scores: Places) -> Penalty:
        smooth_part = self.smooth_part.take_scores(scores)
        l1 = strengths_of_scores(self.l1, scores)
        return replace(self, smooth_part=smooth_part, l1=l1)._simplest()

    def take_features(self, features: Places) -> ElasticNet:
        smooth_part = self.smooth_part.take_features(features)
        return ElasticNet(smooth_part, self.l1[features], self.groups.take(features))

    def repeated(self, count: int) -> ElasticNet:
        l1 = self.l1 if self.l1.shape[1] == 1 else np.tile(self.l1, count)
        return replace(self, smooth_part=self.smooth_part.repeated(count), l1=l1)

    def on_multiples(self, multiple: Coef) -> ElasticNet:
        smooth_part = self.smooth_part.on_multiples(multiple)
        l1 = kept_strengths(self.l1 * multiple, self.l1)
        return replace(self, smooth_part=smooth_part, l1=l1)

    def fixing(self, features: Places, scores: Places) -> ElasticNet:
        return replace(self, smooth_part=self.smooth_part.fixing(features, scores))

    def rotated(self, rank: int, unrotated: Mask) -> Penalty:
        raise TypeError("A rotation of features does not keep which coefficients are zero.")

    @property
    def ridge(self) -> Coef:
        return self.smooth_part.l2

    @property
    def ridge_by_feature(self) -> NDArray[np.float64]:
        return self.smooth_part.ridge_by_feature

    @property
    def ridge_by_score(self) -> PerScore:
        return self.smooth_part.ridge_by_score

    @cached_property
    def free(self) -> Mask:
        return (self.l1 == 0) & (self.smooth_part.l2 == 0)

    def value(self, T: Coef) -> PerScore:
        value = self.sparse_value(T)
        if self._has_ridge:
            some = nonzero_rows(T)
            value += self.smooth_part.take_features(some).value(T[some])
        return value

    def has_groups(self, n_scores: int) -> bool:
        return self.groups.labels is not None or (self.groups.over_scores and n_scores > 1)

    def group_sizes(self, T: Coef) -> Coef:
        return _of_shape(self.groups.sizes(T), T.shape)

    def group_products(self, A: Coef, D: Coef) -> Coef:
        return self.groups.products(A, D)

    def group_numbers(self, shape: tuple[int, int]) -> NDArray[np.intp]:
        return self.groups.numbers(shape)

    def sparse_strengths(self, shape: tuple[int, int]) -> Coef:
        return np.broadcast_to(self.l1, shape)

    def active(self, T: Coef) -> Mask:
        return (self.group_sizes(T) > 0) | (self.l1 == 0)

    def curvature(self, T: Coef, features: Places, scores: Places) -> NDArray:
        at = features, scores
        size, number = self.group_sizes(T)[at], self.group_numbers(T.shape)[at]
        l1, l2 = (np.broadcast_to(strength, T.shape)[at] for strength in (self.l1, self.ridge))
        pull = np.divide(l1, size, out=np.zeros_like(size), where=l1 > 0)
        u = np.divide(T[at], size, out=np.zeros_like(size), where=l1 > 0)
        H = np.where(number[:, None] == number, np.outer(-pull * u, u), 0)
        H[np.diag_indices_from(H)] += pull  # by itself: in groups of one it cancels
        H[np.diag_indices_from(H)] += l2
        return H

    def sparse_value(self, T: Coef) -> PerScore:
        some = nonzero_rows(T)
        lengths = np.abs(T[some])
        if self.has_groups(T.shape[1]):
            # Each coefficient counts its share T^2 / ||T_g|| of its group's length.
            size = self.groups.take(some).sizes(lengths)
            lengths *= np.divide(lengths, size, out=np.zeros_like(lengths), where=size > 0)
        return (self.l1[some] * lengths).sum(axis=0)

    def smooth(self, T: Coef) -> tuple[PerScore, Coef]:
        if self._has_ridge:
            return self.smooth_part.smooth(T)
        return np.zeros(T.shape[1]), np.broadcast_to(0.0, T.shape)

    @cached_property
    def _has_ridge(self) -> bool:
        """Whether there is a smooth part."""
        return bool(self.smooth_part.l2.any())

    def prox(self, T: Coef, step: float | Coef) -> Coef:
        return self.smooth_part.prox(self._shrunk(T, step * self.l1), step)

    def least_subgradient(self, T: Coef, G: Coef) -> Coef:
        size = self.groups.sizes(T)
        direction = np.divide(T, size, out=np.zeros_like(T), where=size > 0)
        return np.where(size > 0, G + self.l1 * direction, self._shrunk(G, self.l1))

    def violation(self, T: Coef, G: Coef) -> Coef:
        return np.abs(self.least_subgradient(T, G + self.smooth_part.l2 * T))

    def _shrunk(self, T: Coef, by: NDArray[np.float64]) -> Coef:
        """Return T with the length of each group shortened, to zero at most."""
        size = self.groups.sizes(T)
        ratio = np.divide(by, size, out=np.ones(np.broadcast(by, size).shape), where=size > by)
        return T * (1 - ratio)

    def conjugate(self, G: Coef) -> PerScore:
        return np.where(self._is_unbalanced(G), np.inf, self.conjugate_of_penalised(G))

    def _is_unbalanced(self, G: Coef) -> Mask:
        """Return in which scores a coefficient without a penalty has a G that is not zero, (K,)."""
        some = self._free_rows
        return np.any(self.free[some] & (np.abs(G[some]) > BALANCED), axis=0)

    @cached_property
    def _free_rows(self) -> Places:
        """The rows of T that hold a coefficient without a penalty."""
        return nonzero_rows(self.free)

    def conjugate_of_penalised(self, G: Coef) -> PerScore:
        are_beyond = self.shares(G) > 1
        if not self._has_ridge:
            return np.where(are_beyond.any(axis=0), np.inf, 0.0)
        some = nonzero_rows(are_beyond)
        part = self.take_features(some)
        excess = np.square(part._shrunk(G[some], part.l1))
        l2 = np.broadcast_to(part.smooth_part.l2, excess.shape)
        with np.errstate(over="ignore"):  # of penalties that are next to none
            cost = np.divide(excess, 2 * l2, out=np.where(excess > 0, np.inf, 0.0), where=l2 > 0)
        return np.where(part.free, 0.0, cost).sum(axis=0)

    def shares(self, G: Coef) -> Coef:
        with np.errstate(over="ignore"):  # of strengths that are next to nothing
            return self.group_sizes(G) / self._largest_gradient

    @cached_property
    def _largest_gradient(self) -> NDArray[np.float64]:
        """The length of a group's gradient up to which it is zero, in the shape of `l1`."""
        return np.where(self.free, np.inf, self.l1)

    def allowed_excess(self, count: int, conjugate: float) -> float:
        # The conjugate is (excess l1)^2 / (2 l2) of each.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            each = np.square(self.l1) / (2 * self.smooth_part.l2)
            largest = np.max(each, where=self.l1 > 0, initial=0)
            return float(np.sqrt(conjugate / (count * largest)))

    def feasible_share(self, G: Coef) -> PerScore:
        share = 1 / np.maximum(1.0, self.shares(G).max(axis=0, initial=0))
        return np.where(self._is_unbalanced(G), 0.0, share)


def _of_shape(values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Return values (width, K), given these or those that all scores share, (width, 1)."""
    # Asked first: NumPy's function takes longer than work on thousands of values.
    return values if values.shape == shape else np.broadcast_to(values, shape)
