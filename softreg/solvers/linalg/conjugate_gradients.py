"""Conjugate gradients for many systems at once, each of which stops in its own time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.hessian_product import HessianProduct
from softreg.solvers.linalg.metrics import Metric

# Problems whose systems are solved leave the products once they are this share of all: leaving
# costs a copy of what the others keep.
_WORTH_LEAVING = 0.25
# A longer step belongs to saturated rows, whose curvature does not say where they stop being
# saturated: it is replaced by none.
_FARTHEST = 1e30
# (objective of some problems, their places among all, their residuals (width, K), the norms of
# these in the metric over those of the gradients (B,)) -> whether systems are solved enough, (B,).
Enough = Callable[[Objective, Places, Coef, PerProblem], Mask]


@np.errstate(over="ignore", invalid="ignore")
def conjugate_gradients(
    product: HessianProduct, gradient: Coef, metric: Metric, enough: Enough, most: int
) -> tuple[Coef, Coef, int]:
    """Return D with H D = -gradient - residual, the residual, and the number of products.

    Each problem has step lengths of its own and stands still once `enough` says so. After `most`
    products D is a descent direction all the same (Golub and Van Loan 2013, algorithm 11.5.1).
    """
    whole, problems = product.objective, np.arange(product.objective.problems.count)
    all_D, all_residuals = np.zeros_like(gradient), -gradient
    D, residual = all_D, all_residuals
    direction = metric.unwhiten(metric.whiten(residual))
    first = square = whole.problems.inner(residual, direction)
    going = square > 0
    for products in range(most + 1):
        objective = product.objective
        # 1. Stop where the residual is small enough.
        ratio = np.sqrt(np.maximum(square, 0) / np.where(first > 0, first, 1))
        going = going & (square > 0) & ~enough(objective, problems, residual, ratio)
        if products == most or not going.any():
            break
        # 2. Leave solved systems behind, if they are many.
        if going.mean() <= 1 - _WORTH_LEAVING:
            scores = whole.problems.scores(problems)
            all_D[:, scores], all_residuals[:, scores] = D, residual
            left = np.flatnonzero(going)
            columns = objective.problems.columns
            D, residual, direction = (columns(A, left) for A in (D, residual, direction))
            problems = problems[left]
            square, first, going = square[left], first[left], going[left]
            metric, product = metric.take_problems(objective, left), product.take_problems(left)
            objective = product.objective
        # 3. Step along the direction, as far as the quadratic model falls.
        image = product(direction)
        curvature = objective.problems.inner(direction, image)
        going = going & (curvature > 0)
        length = objective.problems.spread(_quotient(square, curvature, going))
        D += length * direction
        residual -= length * image
        # 4. The next direction is conjugate to those before.
        preconditioned = metric.unwhiten(metric.whiten(residual))
        previous, square = square, objective.problems.inner(residual, preconditioned)
        direction *= objective.problems.spread(_quotient(square, previous, going))
        direction += preconditioned
    scores = whole.problems.scores(problems)
    all_D[:, scores], all_residuals[:, scores] = D, residual
    too_long = ~(np.abs(all_D).max(axis=0) <= _FARTHEST)  # also NaN
    all_D[:, too_long], all_residuals[:, too_long] = 0.0, -gradient[:, too_long]
    return all_D, all_residuals, products


def _quotient(a: NDArray, b: NDArray, where: Mask) -> NDArray:
    """Return a / b where that is asked for, else zero."""
    return np.divide(a, b, out=np.zeros_like(a), where=where)
