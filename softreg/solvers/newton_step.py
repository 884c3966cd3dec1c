"""Newton steps by preconditioned conjugate gradients, and their certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from softreg._model.certificate import certify
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.conjugate_gradients import conjugate_gradients
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.hessian_product import HessianProduct
from softreg.solvers.linalg.metrics import DiagonalMetric, Metric
from softreg.solvers.monitor import CERTIFIED, LEAST
from softreg.solvers.point import Point, decrement, estimated_gap, line_search

# Below this estimate of (F - F*) / F, Newton's quadratic convergence carries one accurate step to
# the optimum, and its linear system is worth solving for the certificate.
NEAR = 1e-5
# Reduction of the residual at which rounding takes over.
_ROUNDING = 1e-11
# Products for one step: as many as a new metric costs in passes, within these bounds; near the
# optimum twice as many, as a new one has little to add.
_FEWEST, _MOST = 20, 200
_MOST_BALANCING = 30
# What rounding may raise F by, relative, in the last step.
_RISE = 1e-12
# Share of what F may be above its optimum that one step's system may leave over.
_LEFT_OVER = 0.1


def is_near(objective: Objective, point: Point, metric: Metric) -> Mask:
    """Return whether one accurate Newton step should reach each problem's optimum, (B,)."""
    return decrement(objective, point, metric) <= NEAR


def newton_step(objective: Objective, point: Point, metric: Metric, tol: float) -> Point:
    """Return the point after one Newton step; where the optimum is near, with its certificate."""
    # 1. Newton's equations: loosely far from the optimum, near it as the certificate needs them.
    near = is_near(objective, point, metric)
    step, products = _NewtonEquations(objective, point, metric, near, tol).solution()
    new = point
    # 2. Far from the optimum, as much of the step as decreases F.
    far, close = np.flatnonzero(~near), np.flatnonzero(near)
    if far.size:
        part, start = objective.take_problems(far), point.take_problems(objective, far)
        searched = line_search(part, start, objective.problems.columns(step, far))
        new = new.with_problems(objective, far, searched)
    # 3. Near it, the whole step with its certificate.
    if close.size:
        part, start = objective.take_problems(close), point.take_problems(objective, close)
        part_metric = metric.take_problems(objective, close)
        certified = _certified(part, start, part_metric, objective.problems.columns(step, close))
        new = new.with_problems(objective, close, certified)
    return replace(new, passes=products)


@dataclass(frozen=True, eq=False)
class _NewtonEquations:
    """H step = -gradient at a point, to be solved by conjugate gradients in a metric.

    Attributes
    ----------
    near : ndarray (B,) of bool, the problems whose equations are solved for their certificate
    tol : float, relative, as the user gave it
    """

    objective: Objective
    point: Point
    metric: Metric
    near: Mask
    tol: float

    def solution(self) -> tuple[Coef, int]:
        """Return Newton's step (width, K) and the number of products."""
        objective, point = self.objective, self.point
        product = HessianProduct(objective, point.T)
        single = product.for_steps()
        # Where single precision did not bring the certificate, or hardly could: double precision.
        certain = np.isfinite(point.estimate) | (not self._balances_intercepts)
        in_double = self.near & certain & (single is not product)
        step, residual, products = np.zeros_like(point.T), np.zeros_like(point.T), 0
        for factor, mask in ((single, ~in_double), (product, in_double)):
            problems = np.flatnonzero(mask)
            if problems.size:
                scores = objective.problems.scores(problems)
                solved = self._solved(factor, problems)
                step[:, scores], residual[:, scores] = solved[0], solved[1]
                products += solved[2]
        if self._balances_intercepts and self.near.any():
            self._balance_inplace(step, residual, product, drifted=single is not product)
        # Metrics leave moves that change no probability, and rounding of long steps adds some.
        return objective.link.centred(point.T + step) - point.T, products

    def _solved(self, product: HessianProduct, problems: Places) -> tuple[Coef, Coef, int]:
        """Return the step, the residual and the number of products of some problems."""
        objective = self.objective
        most = int(np.clip(costs_of(objective).cheapest_hessian, _FEWEST, _MOST))
        return conjugate_gradients(
            product.take_problems(problems),
            objective.problems.columns(self.point.gradient, problems),
            self.metric.take_problems(objective, problems),
            partial(self._enough, problems),
            (1 + int(self.near.any())) * most,
        )

    @cached_property
    def _relative(self) -> PerProblem:
        """The estimate of (F - F*) / F, (B,)."""
        return decrement(self.objective, self.point, self.metric)

    @property
    def _balances_intercepts(self) -> bool:
        """Whether a step in the intercepts alone brings them into balance.

        A metric that sees little of how intercepts and features go together would spend half of its
        products on rounding the intercepts' balance.
        """
        return not (self.metric.is_hessian or self.objective.has_free_features.any())

    def _enough(
        self, among: Places, part: Objective, problems: Places, residual: Coef, ratio: PerProblem
    ) -> Mask:
        """Return which systems are solved: of `part`, the `problems` of those `among` all."""
        numbers = among[problems]
        relative, near = self._relative[numbers], self.near[numbers]
        loose = np.minimum(0.5, relative**0.25)  # superlinear: Nocedal and Wright 2006, (7.3)
        if not near.any():
            return ratio <= loose
        gap = part.penalised_gap if self._balances_intercepts else part.imbalance_gap
        allowed = _LEFT_OVER * max(self.tol, CERTIFIED) * self.point.value[numbers]
        small = ratio**2 * relative <= _LEFT_OVER * self.tol
        solved = (ratio < _ROUNDING) | (small & (gap(residual) <= allowed))
        return np.where(near, solved, ratio <= loose)

    def _balance_inplace(
        self, step: Coef, residual: Coef, product: HessianProduct, drifted: bool
    ) -> None:
        """Add to the step of the problems that are near what balances their intercepts.

        In single precision the residual has drifted from what the step leaves over.
        """
        columns, problems = self.objective.problems.columns, np.flatnonzero(self.near)
        part, left_over = product.take_problems(problems), columns(residual, problems)
        if drifted:
            left_over = -columns(self.point.gradient, problems) - part(columns(step, problems))
        step[:, self.objective.problems.scores(problems)] += part.balancing_step(left_over)


def _certified(objective: Objective, point: Point, metric: Metric, step: Coef) -> Point:
    """Return the point after the whole step, with its certificate, unless F rises."""
    found = certify(objective, point.T, step)
    estimate = found.divergence + estimated_gap(objective, found.imbalance, metric)
    new = Point(point.T + step, found.value, found.gradient, estimate, found.gap, step)
    worse = np.flatnonzero(found.value > point.value * (1 + _RISE) + LEAST)
    if worse.size:
        part, start = objective.take_problems(worse), point.take_problems(objective, worse)
        searched = line_search(part, start, objective.problems.columns(step, worse))
        new = new.with_problems(objective, worse, searched)
    return new


def balanced(objective: Objective, point: Point) -> Point:
    """Return the point with F minimised over the coefficients that have no penalty, alone.

    Only there do the residuals bound F from below, wherever the other coefficients are.
    """
    free = objective.penalty.free
    metric = DiagonalMetric.at_coefficients(objective, point.T)
    for _ in range(_MOST_BALANCING):
        gradient = free * point.gradient
        if np.isfinite(objective.imbalance_gap(gradient)).all():
            break
        product = HessianProduct(objective, point.T, confined_to=free)
        step, _, _ = conjugate_gradients(product, gradient, metric, _to_rounding, _FEWEST)
        point = line_search(objective, point, step)
    return point


def _to_rounding(_part: Objective, _problems: Places, _residual: Coef, ratio: PerProblem) -> Mask:
    return ratio < _ROUNDING
