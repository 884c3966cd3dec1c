"""The model of sparse penalties by products with the Hessian, where it is too large to be made."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.base import Point
from softreg.solvers.linalg.conjugate_gradients import HessianProduct
from softreg.solvers.linalg.factors import positive
from softreg.solvers.linalg.group_newton import Manifold, group_lasso_minimiser

# Products for one system.
_MOST_PRODUCTS = 500


@dataclass(frozen=True, eq=False)
class ImplicitModel:
    """The loss near T0, quadratic in the coefficients `inside`: its Hessian is never formed.

    Attributes
    ----------
    T0 : ndarray (width, K)
    inside : ndarray (width, K) of bool
    cost : float, 0: it is made anew for each step
    point_key : hashable, the key under which blocks keep the probabilities at T0
    """

    T0: Coef
    inside: Mask
    cost: float = 0.0
    point_key: Hashable = field(default_factory=uuid4)

    def step(self, objective: Objective, point: Point, accuracy: float) -> tuple[Coef, float]:
        """Return the step (width, K) from `point`, at T0, to the model's minimiser, and 0.

        Violations of the optimality conditions, relative to strengths, are `accuracy` at most.
        """
        # 1. Only the features that may move are in the products.
        inside = self.inside | objective.penalty.free
        moving = np.flatnonzero(inside.any(axis=1))
        features = moving[moving < len(objective.rows.coordinates.scale)]
        subset = objective.take_features(features)
        T, gradient = point.T[moving], point.gradient[moving]
        # 2. The minimum over the coefficients inside, group by group.
        places = np.nonzero(inside[moving])
        numbers = subset.sparse_penalty.group_numbers(T.shape)[places]
        order = np.argsort(numbers, kind="stable")
        at, firsts = (places[0][order], places[1][order]), np.diff(numbers[order], prepend=-1)
        firsts = np.flatnonzero(firsts)
        form = _ProductForm(HessianProduct(subset, T), *at)
        l1 = subset.sparse_penalty.sparse_strengths(T.shape)[at][firsts]
        b = form.times(T[at]) - gradient[at]
        w, residual = group_lasso_minimiser(form, b, l1, firsts, T[at], accuracy)
        # 3. The intercepts' equations exactly, as the certificate needs them.
        new, rest = np.zeros_like(T), np.zeros_like(T)
        new[at], rest[at] = w - T[at], residual
        if len(moving) > len(features):
            rest[:-1] = 0
            new += form.product.balancing_step(rest)
        form.product.forget()
        step = np.zeros_like(point.T)
        step[moving] = new
        return step, 0.0


@dataclass(frozen=True, eq=False)
class _ProductForm:
    """The quadratic form of a Hessian in some coefficients: Newton's equations by products.

    Attributes
    ----------
    product : HessianProduct
    features, scores : ndarrays (q,), the coefficients
    """

    product: HessianProduct
    features: Places
    scores: Places

    @cached_property
    def diagonal(self) -> NDArray:
        diagonal = positive(self.product.objective.hessian_diagonal(self.product.T))
        return diagonal[self.features, self.scores]

    @cached_property
    def _places(self) -> Places:
        """The coefficients' places in T score by score."""
        return self.scores * len(self.product.T) + self.features

    def times(self, w: NDArray) -> NDArray:
        width, K = self.product.T.shape
        by_score = np.zeros(K * width)  # the order of gradients
        by_score[self._places] = w
        image = self.product(by_score.reshape(K, width).T)
        return image.ravel(order="F")[self._places]

    def newton_step(self, at: Manifold, slope: NDArray, damping: float, share: float) -> NDArray:
        """Return Newton's step by conjugate gradients, as in `QuadraticForm`.

        They are preconditioned in each group by diag(h + pull) - pull u u', by the formula of
        Sherman and Morrison, h being the diagonal of H.
        """
        groups, direction = at.groups, at.direction
        damped = damping * self.diagonal
        h = self.diagonal + damped
        whole = h + at.pull
        rest = groups.inner(direction, direction * h / whole)[groups.numbers]
        factor = np.divide(
            at.pull * direction, whole * rest, out=np.zeros_like(whole), where=rest > 0
        )

        def times(v: NDArray) -> NDArray:
            return (self.times(v) + damped * v + at.curvature_times(v)) * at.active

        def precondition(v: NDArray) -> NDArray:
            scaled = v / whole
            return scaled + factor * groups.inner(direction, scaled)[groups.numbers]

        return _conjugate_gradients(times, precondition, slope, share)


def _conjugate_gradients(
    times: Callable[[NDArray], NDArray],
    precondition: Callable[[NDArray], NDArray],
    right: NDArray,
    share: float,
) -> NDArray:
    """Return x with times(x) = right, (q,), to within a share of `right`.

    Golub and Van Loan (2013), algorithm 11.5.1, for one system, that of a manifold:
    `conjugate_gradients` solves those of many problems, of whole Hessians and in a metric.
    """
    x, r = np.zeros_like(right), right.copy()
    direction = precondition(r)
    first = square = r @ direction
    for _ in range(_MOST_PRODUCTS):
        if square <= share**2 * first:
            break
        image = times(direction)
        curvature = direction @ image
        if curvature <= 0:
            break
        x += square / curvature * direction
        r -= square / curvature * image
        preconditioned = precondition(r)
        square, previous = r @ preconditioned, square
        direction = preconditioned + square / previous * direction
    return x
