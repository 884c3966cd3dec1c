"""Steps that decrease F: line searches, and Newton's by conjugate gradients, with certificates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from softreg._model.certificate import certify
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.base import CERTIFIED_GAP, LOSS_ROUNDING, Point, rounding
from softreg.solvers.linalg.conjugate_gradients import HessianProduct, conjugate_gradients
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.metrics import DiagonalMetric, Metric

# Sufficient decrease and the smallest step of the line search (Nocedal and Wright 2006, 3.1).
_SUFFICIENT, _SMALLEST = 1e-4, 2.0**-30
_TINY = np.finfo(float).tiny
# Below this estimate of (F - F*) / F, Newton's quadratic convergence carries one accurate step to
# the optimum, and its linear system is worth solving for the certificate. A tol that is larger is
# within its reach from an estimate of tol on, if that is a Hessian's, up to the second one: from
# farther off such steps take more passes than they spare (measured).
_NEAR, _NEAR_FOR_TOL = 1e-5, 1e-4
# Reduction of the residual below which rounding takes over.
_ROUNDING = 1e-11
# Products for one step: as many as a new metric costs in passes, within these bounds; near the
# optimum twice as many, as a new one has little to add.
_FEWEST_PRODUCTS, _MOST_PRODUCTS = 20, 200
# Newton steps of `balanced` at most: they are few, unless there is no balance to be found.
_MOST_BALANCING_STEPS = 30
# What rounding may raise F by, relative, in the last step.
_RISE = 1e-12
# Share of the F - F* that is asked for which the residual of Newton's equations may add to it.
_RESIDUAL_SHARE = 0.1


def relative_estimate(objective: Objective, point: Point, metric: Metric) -> PerProblem:
    """Return the estimate of (F - F*) / F at a point, (B,): half Newton's decrement, squared."""
    return estimated_gap(objective, point.gradient, metric) / np.maximum(point.value, _TINY)


def estimated_gap(objective: Objective, gradient: Coef, metric: Metric) -> PerProblem:
    """Return the estimate of F - F*, (B,): ||gradient||^2 / 2, the norm being the metric's."""
    return 0.5 * objective.problems.inner(gradient, metric.preconditioned(gradient))


def gradient_step(objective: Objective, point: Point, metric: Metric) -> Point:
    """Return the point after one step down the gradient in a metric."""
    return line_search(objective, point, -metric.preconditioned(point.gradient))


def line_search(objective: Objective, point: Point, step: Coef, length: float = 1.0) -> Point:
    """Return the first of the points T + length * step, halving the length, that decreases each F.

    Problems halve their steps independently; one whose F no step decreases stays where it is.
    """
    shortened = length * step
    trial = Point.at_coefficients(objective, point.T + shortened, shortened)
    slope = objective.problems.inner(point.gradient, shortened)
    enough = trial.value <= point.value + _SUFFICIENT * slope
    failed = (~enough).nonzero()[0]
    if not failed.size:
        return trial
    subset, start = objective.take_problems(failed), point.take_problems(objective, failed)
    if length / 2 < _SMALLEST:
        unknown = np.full_like(start.value, np.inf)
        rest = replace(start, estimate=unknown, gap=unknown)
    else:
        rest = line_search(subset, start, objective.problems.columns(step, failed), length / 2)
    return trial.with_problems(objective, failed, rest)


def is_near(objective: Objective, point: Point, metric: Metric, tol: float = 0.0) -> Mask:
    """Return whether one accurate Newton step should reach each problem's optimum, (B,).

    To rounding, or to within `tol`, relative.
    """
    return relative_estimate(objective, point, metric) <= near_threshold(metric, tol)


def near_threshold(metric: Metric, tol: float) -> float:
    """Return the estimate of (F - F*) / F up to which a point is near, for this tolerance."""
    return min(max(tol, _NEAR), _NEAR_FOR_TOL) if metric.is_hessian else _NEAR


def newton_step(
    objective: Objective, point: Point, metric: Metric, tol: float
) -> tuple[Point, int]:
    """Return the point after one Newton step by conjugate gradients, and the number of products.

    Near the optimum it has a certificate.
    """
    # Loosely far from the optimum, near it as the certificate needs them.
    near = is_near(objective, point, metric, tol)
    step, n_products = _NewtonEquations(objective, point, metric, near, tol).solution()
    return after_step(objective, point, metric, step, near), n_products


def after_step(objective: Objective, point: Point, metric: Metric, step: Coef, near: Mask) -> Point:
    """Return the point after Newton's step (width, K); `near` (B,) is `is_near` at `point`.

    Far from the optimum that is as much of the step as decreases F; near it the whole step, with
    its certificate.
    """
    new, is_searched, problems = point, ~near, near.nonzero()[0]
    if problems.size:
        subset, start = objective.take_problems(problems), point.take_problems(objective, problems)
        subset_metric = metric.take_problems(objective, problems)
        subset_step = objective.problems.columns(step, problems)
        end = _certified(subset, start, subset_metric, subset_step)
        new = new.with_problems(objective, problems, end)
        is_searched[problems] = end.value > start.value * (1 + _RISE) + LOSS_ROUNDING
    problems = is_searched.nonzero()[0]
    if problems.size:
        subset, start = objective.take_problems(problems), point.take_problems(objective, problems)
        end = line_search(subset, start, objective.problems.columns(step, problems))
        new = new.with_problems(objective, problems, end)
    return new


def _certified(objective: Objective, point: Point, metric: Metric, step: Coef) -> Point:
    """Return the point after the whole step, with its certificate."""
    found = certify(objective, point.T, step)
    estimate = found.divergence + estimated_gap(objective, found.imbalance, metric)
    return Point(point.T + step, found.value, found.gradient, estimate, found.gap, step)


@dataclass(frozen=True, eq=False)
class _NewtonEquations:
    """H step = -gradient at a point, to be solved by conjugate gradients in a metric.

    Attributes
    ----------
    objective, point, metric : Objective, Point and Metric
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
        # 1. Products in single precision; in double near the optimum, where the step before had a
        #    certificate (hence the estimate) that was not enough, or intercepts are not balanced.
        objective, point = self.objective, self.point
        exact = HessianProduct(objective, point.T)
        rough = exact.for_steps()
        is_hard = np.isfinite(point.estimate) | (not self._balances_intercepts)
        needs_exact = self.near & is_hard & (rough is not exact)
        # 2. Conjugate gradients.
        step, residual, n_products = np.zeros_like(point.T), np.zeros_like(point.T), 0
        for product, mask in ((rough, ~needs_exact), (exact, needs_exact)):
            problems = mask.nonzero()[0]
            if problems.size:
                scores = objective.problems.scores(problems)
                step[:, scores], residual[:, scores], n = self._solved(product, problems)
                n_products += n
        # 3. The intercepts of problems near their optimum, exactly.
        if self._balances_intercepts and self.near.any():
            self._balance_inplace(step, residual, exact, has_drifted=rough is not exact)
        exact.forget()
        # 4. No move that changes no probability: metrics leave some, as does rounding.
        return objective.link.centred(point.T + step) - point.T, n_products

    def _solved(self, product: HessianProduct, problems: Places) -> tuple[Coef, Coef, int]:
        """Return the step, the residual and the number of products of some problems."""
        objective = self.objective
        passes = costs_of(objective).cheapest_hessian
        most = int(np.clip(passes, _FEWEST_PRODUCTS, _MOST_PRODUCTS))
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
        return relative_estimate(self.objective, self.point, self.metric)

    @property
    def _balances_intercepts(self) -> bool:
        """Whether the intercepts' equations are left to `HessianProduct.balancing_step`.

        They are to be solved exactly, whatever is asked for, and conjugate gradients would spend up
        to half of their products on them.
        """
        return not self.objective.has_free_features.any()

    def _enough(
        self, solved: Places, subset: Objective, places: Places, residual: Coef, ratio: PerProblem
    ) -> Mask:
        """Return whether equations are solved: of the problems at these places among `solved`.

        `subset` is their objective; the other arguments are those of `Enough`.
        """
        numbers = solved[places]
        relative, near = self._relative[numbers], self.near[numbers]
        loose = np.minimum(0.5, relative**0.25)  # superlinear: Nocedal and Wright 2006, (7.3)
        small = ratio**2 * relative <= _RESIDUAL_SHARE * self.tol
        if not (small & near).any():  # as a rule; gaps take a while
            return ratio <= np.where(near, _ROUNDING, loose)
        gap = subset.penalised_gap if self._balances_intercepts else subset.imbalance_gap
        allowed = _RESIDUAL_SHARE * max(self.tol, CERTIFIED_GAP) * self.point.value[numbers]
        exact = (ratio < _ROUNDING) | (small & (gap(residual) <= allowed))
        return np.where(near, exact, ratio <= loose)

    def _balance_inplace(
        self, step: Coef, residual: Coef, product: HessianProduct, has_drifted: bool
    ) -> None:
        """Add to the step, of problems near their optimum, what balances their intercepts.

        `has_drifted`: the residual was added up in single precision; it is computed anew.
        """
        unbalanced = np.isinf(self.objective.imbalance_gap(residual)) | has_drifted
        problems = (self.near & unbalanced).nonzero()[0]
        if not problems.size:
            return
        columns = self.objective.problems.columns
        product, residual = product.take_problems(problems), columns(residual, problems)
        if has_drifted:
            residual = -columns(self.point.gradient, problems) - product(columns(step, problems))
        step[:, self.objective.problems.scores(problems)] += product.balancing_step(residual)


def balanced(objective: Objective, point: Point) -> Point:
    """Return the point with F minimised over the coefficients without a penalty alone.

    Where these are at their optimum, given the others, the residuals bound F from below.
    """
    free = objective.penalty.free
    metric = DiagonalMetric.at_coefficients(objective, point.T)

    def enough(_objective: Objective, _places: Places, _residual: Coef, ratio: PerProblem) -> Mask:
        return ratio < _ROUNDING

    for _ in range(_MOST_BALANCING_STEPS):
        gradient = free * point.gradient
        if np.isfinite(objective.imbalance_gap(gradient)).all():
            break
        product = HessianProduct(objective, point.T, confined_to=free)
        step, _, _ = conjugate_gradients(product, gradient, metric, enough, _FEWEST_PRODUCTS)
        product.forget()
        point = _after_balancing(objective, point, step)
    return point


def _after_balancing(objective: Objective, point: Point, step: Coef) -> Point:
    """Return the point after a step along which F falls, or is flat to rounding.

    What the last steps gain is less than F's rounding, which decides whether a line search takes
    them: so they are taken whole where F stays the same to rounding.
    """
    reached = line_search(objective, point, step)
    slope, level = objective.problems.inner(point.gradient, step), rounding(point.value)
    flat = (np.abs(slope) <= level).nonzero()[0]
    if not flat.size:
        return reached
    subset, columns = objective.take_problems(flat), objective.problems.columns
    whole = Point.at_coefficients(subset, columns(point.T + step, flat), columns(step, flat))
    stays = whole.value <= (point.value + level)[flat]
    whole = whole.take_problems(subset, stays.nonzero()[0])
    return reached.with_problems(objective, flat[stays], whole)
