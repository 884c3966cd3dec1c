"""Newton steps by preconditioned conjugate gradients, and their certificate."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg.solvers.linalg.conjugate_gradients import conjugate_gradients
from softreg.solvers.linalg.costs import cheapest_hessian
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


def is_near(objective: Objective, point: Point, metric: Metric) -> NDArray[np.bool_]:
    """Return whether one accurate Newton step should reach each problem's optimum from here."""
    return decrement(objective, point, metric) <= NEAR


def newton_step(objective: Objective, point: Point, metric: Metric, tol: float) -> Point:
    """Return the point after one Newton step; where the optimum is near, with its certificate."""
    near = is_near(objective, point, metric)
    step, passes = _direction(objective, point, metric, near, tol)
    there = point
    far, close = np.flatnonzero(~near), np.flatnonzero(near)
    if far.size:
        part, own = point.take_problems(objective, far), objective.columns(step, far)
        there = there.with_problems(
            objective, far, line_search(objective.take_problems(far), part, own)
        )
    if close.size:
        part, own = point.take_problems(objective, close), objective.columns(step, close)
        new = _certified(
            objective.take_problems(close), part, metric.take_problems(objective, close), own
        )
        there = there.with_problems(objective, close, new)
    return replace(there, passes=passes)


def _direction(
    objective: Objective, point: Point, metric: Metric, near: NDArray, tol: float
) -> tuple[NDArray, int]:
    """Return Newton's step and the products it took.

    Far from the optimum the system is solved just well enough, near it for the certificate.
    """
    relative, allowed = (
        decrement(objective, point, metric),
        _LEFT_OVER * max(tol, CERTIFIED) * point.value,
    )
    loose = np.minimum(0.5, relative**0.25)  # superlinear: Nocedal and Wright 2006, (7.3)
    # A metric that sees little of how intercepts and features go together would spend half of its
    # products on rounding the intercepts' balance, which a step in them alone does as well.
    alone = not (metric.is_hessian or objective.has_free_features.any())

    def enough(
        part: Objective, open_: NDArray, residual: NDArray, ratio: NDArray, *, among: NDArray
    ) -> NDArray:
        problems = among[open_]
        done = ratio <= loose[problems]
        if near[problems].any():
            left_over = part.penalised_gap if alone else part.imbalance_gap
            small = ratio**2 * relative[problems] <= _LEFT_OVER * tol
            solved = (ratio < _ROUNDING) | (small & (left_over(residual) <= allowed[problems]))
            done = np.where(near[problems], solved, done)
        return done

    exact = HessianProduct(objective, point.T)
    single = exact.for_steps()
    # What single precision did not bring to its certificate, or hardly could, is done in double.
    fine = near & (np.isfinite(point.estimate) | (not alone)) & (single is not exact)
    step, residual, taken = np.zeros_like(point.T), np.zeros_like(point.T), 0
    most = (1 + int(near.any())) * int(np.clip(cheapest_hessian(objective), _FEWEST, _MOST))
    for product, where in ((single, ~fine), (exact, fine)):
        problems = np.flatnonzero(where)
        if problems.size:
            gradient, own = objective.columns(point.gradient, problems), objective.scores(problems)
            system = (
                product.take_problems(problems),
                gradient,
                metric.take_problems(objective, problems),
            )
            until = functools.partial(enough, among=problems)
            step[:, own], residual[:, own], products = conjugate_gradients(*system, until, most)
            taken += products
    if alone and near.any():
        _balance_inplace(step, residual, exact, point, near, drifted=single is not exact)
    # What metrics leave out, and rounding of long steps adds: moves that change no probability.
    return objective.link.centred(point.T + step) - point.T, taken


def _balance_inplace(
    step: NDArray,
    residual: NDArray,
    product: HessianProduct,
    point: Point,
    near: NDArray,
    drifted: bool,
) -> None:
    """Add to the step of the problems that are near what balances their intercepts.

    In single precision the residual drifts from what the step leaves over.
    """
    objective, problems = product.objective, np.flatnonzero(near)
    part, left = product.take_problems(problems), objective.columns(residual, problems)
    if drifted:
        gradient = objective.columns(point.gradient, problems)
        left = -gradient - part(objective.columns(step, problems))
    step[:, objective.scores(problems)] += part.balancing_step(left)


def _certified(objective: Objective, point: Point, metric: Metric, step: NDArray) -> Point:
    """Return the point after the whole step, with its certificate, unless F rises."""
    there = objective.certify(point.T, step)
    estimate = there.divergence + estimated_gap(objective, there.imbalance, metric)
    T = point.T + step
    reached = Point(T, there.value, there.gradient, estimate, there.gap, step)
    worse = np.flatnonzero(there.value > point.value * (1 + _RISE) + LEAST)
    if worse.size:
        own = objective.columns(step, worse)
        searched = line_search(
            objective.take_problems(worse), point.take_problems(objective, worse), own
        )
        reached = reached.with_problems(objective, worse, searched)
    return reached


def balanced(objective: Objective, point: Point) -> Point:
    """Return the point with F minimised over the coefficients that have no penalty, alone.

    Only there do the residuals bound F from below, wherever the others are.
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


def _to_rounding(
    _part: Objective, _problems: NDArray, _residual: NDArray, ratio: NDArray
) -> NDArray:
    return ratio < _ROUNDING
