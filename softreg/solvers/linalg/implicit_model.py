"""The model of sparse penalties by products with the Hessian, where it is too large to be made."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from uuid import uuid4

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.base import Point
from softreg.solvers.linalg.conjugate_gradients import HessianProduct
from softreg.solvers.linalg.factors import positive

# Products for one system, and rounds, each of which is a guess of what is not zero.
_MOST_PRODUCTS, _MOST_ROUNDS = 500, 60
# Shares of a Newton step that are tried; what rounding may raise the model by, relative.
_SHARES, _RISE = (1.0, 0.5, 0.25, 0.1, 0.03), 1e-13
# A prox step of 2^-40 moves nothing: it is given up.
_MOST_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class ImplicitModel:
    """The loss near T0, quadratic in the coefficients `inside`: its Hessian is never formed.

    Attributes
    ----------
    T0 : ndarray (width, K)
    inside : ndarray (width, K) of bool
    accuracy : float, the largest violation of the optimality conditions, as a share of a strength
    cost : float, 0: it is made anew for each step
    point_key : hashable, the key under which blocks keep the probabilities at T0
    """

    T0: Coef
    inside: Mask
    accuracy: float
    cost: float = 0.0
    point_key: Hashable = field(default_factory=uuid4)

    def step(self, objective: Objective, point: Point) -> tuple[Coef, float]:
        """Return the step (width, K) from `point`, at T0, to the model's minimiser, and 0."""
        # Only the features that may move are in the products.
        moving = np.flatnonzero((self.inside | objective.penalty.free).any(axis=1))
        features = moving[moving < len(objective.rows.coordinates.scale)]
        subset = objective.take_features(features)
        step = np.zeros_like(point.T)
        # In the order of gradients, in which arithmetic on both takes half the time.
        T, gradient = np.asfortranarray(point.T[moving]), np.asfortranarray(point.gradient[moving])
        step[moving] = self._step_of(subset, T, gradient, moving)
        return step, 0.0

    def _step_of(self, objective: Objective, T: Coef, gradient: Coef, moving: Places) -> Coef:
        """Return the step (m, K) of the features that move, and of the intercept."""
        product = HessianProduct(objective, T)
        inside = self.inside[moving] | objective.penalty.free
        model = _Subproblem(objective, product, _Iterate(T, gradient), inside, self.accuracy)
        # The violation at which a support was guessed last: again only if it has halved since.
        guesses: dict[bytes, float] = {}
        iterate = model.start
        for _ in range(_MOST_ROUNDS):
            violation = model.violation(iterate)
            if violation <= self.accuracy:
                break
            support = model.support(iterate)
            guess = support.tobytes()
            is_stuck = violation > guesses.get(guess, np.inf) / 2
            new = None if is_stuck else model.newton(iterate, support, violation)
            guesses = ({} if new is None else guesses) | {guess: violation}
            new = model.short_step(iterate) if new is None else new
            if new is None:
                break
            iterate = new
        step = iterate.T - T
        if objective.rows.coordinates.intercept:
            residual = np.zeros_like(step)
            residual[-1] = -iterate.gradient[-1]
            step = step + product.balancing_step(residual)
        product.forget()
        return step


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Coefficients T (width, K), and the gradient of the model's smooth part there."""

    T: Coef
    gradient: Coef


@dataclass(frozen=True, eq=False)
class _Subproblem:
    """m(T) = <G, T - T0> + <T - T0, H (T - T0)> / 2 + sum_g l1_g ||T_g||.

    Attributes
    ----------
    objective : Objective of one problem
    product : HessianProduct at T0
    start : _Iterate at T0, where the gradient is G
    inside : ndarray (width, K) of bool, the coefficients that may move
    accuracy : float, as of `ImplicitModel`
    """

    objective: Objective
    product: HessianProduct
    start: _Iterate
    inside: Mask
    accuracy: float

    @cached_property
    def l1(self) -> Coef:
        """The strength of each coefficient's group, (width, K)."""
        return self.objective.sparse_penalty.sparse_strengths(self.objective.shape)

    @cached_property
    def diagonal(self) -> Coef:
        """The diagonal of H, (width, K)."""
        return positive(self.objective.hessian_diagonal(self.start.T))

    @cached_property
    def steepness(self) -> Coef:
        """A bound of the largest eigenvalue of H in each coefficient's group: the trace there."""
        root = np.sqrt(self.diagonal)
        return self.objective.sparse_penalty.group_products(root, root)

    def value(self, iterate: _Iterate) -> float:
        """Return m."""
        step = iterate.T - self.start.T
        smooth = np.vdot(step, iterate.gradient + self.start.gradient) / 2
        return float(smooth + self.objective.sparse_penalty.sparse_value(iterate.T).sum())

    def violation(self, iterate: _Iterate) -> float:
        """Return the largest violation of the optimality conditions, as a share of its strength."""
        violations = self.objective.penalty.violation(iterate.T, self._loss_gradient(iterate))
        unit = np.where(self.l1 > 0, self.l1, 1.0)
        return float((violations / unit).max(where=self.inside, initial=0))

    def moved(self, iterate: _Iterate, new: Coef) -> _Iterate:
        """Return the iterate at other coefficients: one product."""
        return _Iterate(new, iterate.gradient + self.product(new - iterate.T))

    def after_prox(self, iterate: _Iterate, steepness: Coef) -> Coef:
        """Return the coefficients after a step of 1 / steepness down the loss, and the prox."""
        moved = iterate.T - self._loss_gradient(iterate) / steepness
        new = self.objective.penalty.prox(moved, 1 / steepness)
        return np.where(self.inside, new, iterate.T)

    def _loss_gradient(self, iterate: _Iterate) -> Coef:
        """Return the gradient of the loss's quadratic model, without the ridge's, (width, K)."""
        return iterate.gradient - self.objective.penalty.ridge * iterate.T

    def support(self, iterate: _Iterate) -> Mask:
        """Return which coefficients a gradient step leaves, (width, K)."""
        return (self.after_prox(iterate, self.steepness) != 0) & self.inside

    def newton(self, iterate: _Iterate, support: Mask, violation: float) -> _Iterate | None:
        """Return the iterate after Newton's step on a support; None if m does not fall.

        There m is smooth: the Hessian of l1 ||T_g|| is (I - u u') l1 / ||T_g||, u being the group's
        direction, zero for groups of one.
        """
        penalty = self.objective.sparse_penalty
        # 1. Newcomers begin where the gradient step takes them.
        is_zero = penalty.group_sizes(iterate.T) == 0
        begun = np.where(is_zero, self.after_prox(iterate, self.steepness), iterate.T) * support
        start = self.moved(iterate, begun) if (begun != iterate.T).any() else iterate
        # 2. Newton's equations, more exactly the nearer the optimum.
        size = penalty.group_sizes(begun)
        direction = np.divide(begun, size, out=np.zeros_like(begun), where=size > 0)
        pull = np.divide(self.l1, size, out=np.zeros_like(begun), where=size > 0)

        def times(D: Coef) -> Coef:
            across = D - direction * penalty.group_products(direction, D)
            return (self.product(D) + pull * across) * support

        # diag(h + pull) - pull u u' in each group, by the formula of Sherman and Morrison.
        whole = self.diagonal + pull
        rest = penalty.group_products(direction, direction * self.diagonal / whole)
        share = np.divide(pull * direction, whole * rest, out=np.zeros_like(begun), where=rest > 0)

        def precondition(R: Coef) -> Coef:
            scaled = R / whole
            return scaled + share * penalty.group_products(direction, scaled)

        right = -(start.gradient + self.l1 * direction) * support
        accuracy = min(0.1, max(0.1 * violation, 0.3 * self.accuracy / violation))
        step = _conjugate_gradients(times, precondition, right, accuracy)
        # 3. As much of the step as lowers m most, and without what went past its zero.
        image, value = self.product(step), self.value(iterate)
        ends = [_Iterate(begun + t * step, start.gradient + t * image) for t in _SHARES]
        best = ends[0] if self.value(ends[0]) <= value else min(ends, key=self.value)
        turned = (penalty.group_products(best.T, begun) <= 0) & (self.l1 > 0)
        if turned.any():
            best = min(best, self.moved(best, np.where(turned, 0, best.T)), key=self.value)
        return best if self.value(best) <= value + _RISE * abs(value) else None

    def short_step(self, iterate: _Iterate) -> _Iterate | None:
        """Return the iterate after a prox step that is short enough for m to fall, if there is."""
        steepness, value = self.steepness, self.value(iterate)
        for _ in range(_MOST_HALVINGS):
            end = self.moved(iterate, self.after_prox(iterate, steepness))
            if self.value(end) < value:
                return end
            steepness = 2 * steepness
        return None


def _conjugate_gradients(
    times: Callable[[Coef], Coef],
    precondition: Callable[[Coef], Coef],
    right: Coef,
    accuracy: float,
) -> Coef:
    """Return x with times(x) = right, (width, K), to an accuracy relative to `right`.

    Golub and Van Loan (2013), algorithm 11.5.1, for one system, that of a support:
    `conjugate_gradients` solves those of many problems, of whole Hessians and in a metric.
    """
    x, r = np.zeros_like(right), right.copy()
    direction = precondition(r)
    first = square = np.vdot(r, direction)
    for _ in range(_MOST_PRODUCTS):
        if square <= accuracy**2 * first:
            break
        image = times(direction)
        curvature = np.vdot(direction, image)
        if curvature <= 0:
            break
        x += square / curvature * direction
        r -= square / curvature * image
        preconditioned = precondition(r)
        square, previous = np.vdot(r, preconditioned), square
        direction = preconditioned + square / previous * direction
    return x
