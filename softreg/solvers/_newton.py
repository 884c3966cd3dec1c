"""Newton steps by preconditioned conjugate gradients, and their certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._objective import Objective
from softreg.solvers._metrics import Diagonal, Metric, renewal_passes
from softreg.solvers._result import CERTIFIED, LEAST

# Below this estimate of (F - F*) / F, Newton's quadratic convergence carries one accurate step to
# the optimum, and its linear system is worth solving for the certificate.
NEAR = 1e-5
# Reduction of the residual at which rounding takes over.
_ROUNDING = 1e-11
# Sufficient decrease and the smallest step of the line search (Nocedal and Wright 2006, 3.1).
_SUFFICIENT, _SMALLEST = 1e-4, 2.0**-30
# Products for one step: as many as a new metric costs in passes, within these bounds; near the
# optimum twice as many, as a new one has little to add.
_FEWEST, _MOST = 20, 200
_MOST_BALANCING = 30


Product = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class Point:
    """Coefficients T with F, its gradient, and what is known of F - F*: estimate and bound."""

    T: NDArray
    value: float
    gradient: NDArray
    estimate: float = np.inf
    gap: float = np.inf
    step: NDArray | None = None

    @classmethod
    def at(cls, objective: Objective, T: NDArray) -> Point:
        """Evaluate F at T: one pass."""
        return cls(T, *objective.value_and_gradient(T))


def is_near(point: Point, metric: Metric) -> bool:
    """Return whether one accurate Newton step should reach the optimum from here."""
    return decrement(point, metric) <= NEAR


def decrement(point: Point, metric: Metric) -> float:
    """Return ||gradient||^2 / 2 in the metric, which estimates F - F*, over F."""
    decrement = 0.5 * float(np.square(metric.whiten(point.gradient)).sum())
    return decrement / max(point.value, np.finfo(float).tiny)


def conjugate_gradients(
    product: Product,
    gradient: NDArray,
    metric: Metric,
    enough: Callable[[NDArray, float], bool],
    most: int,
) -> tuple[NDArray, NDArray]:
    """Return D with H D = -gradient - residual, to where `enough(residual, ratio)` says so.

    `ratio` is the residual's norm over the gradient's, both in the metric; after `most` products
    D is a descent direction all the same (Golub and Van Loan 2013, algorithm 11.5.1).
    """
    D, residual = np.zeros_like(gradient), -gradient
    direction = preconditioned = metric.unwhiten(metric.whiten(residual))
    first = square = float(np.vdot(residual, preconditioned))
    for _ in range(most):
        if square <= 0 or enough(residual, np.sqrt(square / first)):
            break
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if not curvature > 0:
            break
        length = square / curvature
        D = D + length * direction
        residual = residual - length * image
        preconditioned = metric.unwhiten(metric.whiten(residual))
        previous, square = square, float(np.vdot(residual, preconditioned))
        direction = preconditioned + (square / previous) * direction
    return D, residual


def newton_step(objective: Objective, point: Point, metric: Metric, tol: float) -> Point:
    """Return the point after one Newton step, with its certificate if the optimum is near."""
    product = objective.hessian_product(point.T)
    most = int(np.clip(renewal_passes(objective), _FEWEST, _MOST))
    if not is_near(point, metric):
        forcing = min(
            0.5, decrement(point, metric) ** 0.25
        )  # superlinear: Nocedal and Wright 2006, (7.3)
        step, _ = conjugate_gradients(
            product, point.gradient, metric, lambda _, r: r <= forcing, most
        )
        return line_search(objective, point, step)

    relative, allowed = decrement(point, metric), 0.1 * max(tol, CERTIFIED) * point.value
    # A metric that sees little of how intercepts and features go together would spend half of its
    # products on rounding the intercepts' balance, which a step in them alone does as well.
    alone = not (metric.accurate or objective.has_free_features)
    left_over = objective.penalised_gap if alone else objective.imbalance_gap

    def accurate(residual: NDArray, ratio: float) -> bool:
        small = ratio**2 * relative <= 0.1 * tol
        return ratio < _ROUNDING or (small and left_over(residual) <= allowed)

    step, residual = conjugate_gradients(product, point.gradient, metric, accurate, 2 * most)
    if alone:
        step += objective.balancing_step(point.T, residual)
    there = objective.certify(point.T, step)
    if there.value > point.value * (1 + 1e-12) + LEAST:
        return line_search(objective, point, step)
    unbalanced = 0.5 * float(np.square(metric.whiten(there.imbalance)).sum())
    estimate = there.divergence + unbalanced
    return Point(point.T + step, there.value, there.gradient, estimate, there.gap, step)


def _to_rounding(_residual: NDArray, ratio: float) -> bool:
    return ratio < _ROUNDING


def gradient_step(objective: Objective, point: Point, metric: Metric) -> Point:
    """Return the point after one step down the gradient in a metric."""
    return line_search(objective, point, -metric.unwhiten(metric.whiten(point.gradient)))


def line_search(objective: Objective, point: Point, step: NDArray) -> Point:
    """Return the first point of T + step, T + step / 2, ... that decreases F enough."""
    slope = float(np.vdot(point.gradient, step))
    length = 1.0
    while length >= _SMALLEST:
        there = Point.at(objective, point.T + length * step)
        if there.value <= point.value + _SUFFICIENT * length * slope:
            return replace(there, step=length * step)
        length /= 2
    return point


def balanced(objective: Objective, point: Point) -> Point:
    """Return the point with F minimised over the coefficients that have no penalty, alone.

    Only there do the residuals bound F from below, wherever the others are.
    """
    free = (objective.penalty.l2 == 0)[:, None]
    metric = Diagonal.at(objective, point.T)
    for _ in range(_MOST_BALANCING):
        gradient = free * point.gradient
        if np.isfinite(objective.imbalance_gap(gradient)):
            break
        product = objective.hessian_product(point.T)

        def on_the_free(D: NDArray, product: Product = product) -> NDArray:
            return free * product(D)

        step, _ = conjugate_gradients(on_the_free, gradient, metric, _to_rounding, _FEWEST)
        point = line_search(objective, point, step)
    return point
