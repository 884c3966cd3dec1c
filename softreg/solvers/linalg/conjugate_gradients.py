"""Conjugate gradients for the systems of many problems at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.hessian_product import HessianProduct
from softreg.solvers.linalg.metrics import Metric

# Problems whose systems are solved leave the products once they are this share of those in them:
# leaving costs a copy of what is kept of the others.
_SHARE_TO_LEAVE = 0.25
# A longer step belongs to saturated rows, whose curvature does not say where they stop being
# saturated: it is replaced by zero.
_LONGEST_STEP = 1e30
# (objective of the problems still in the products, their places among all, their residuals
# (width, K), the residuals' norms in the metric over those of the gradients, (B,)) -> whether each
# system is solved well enough, (B,).
Enough = Callable[[Objective, Places, Coef, PerProblem], Mask]


@np.errstate(over="ignore", invalid="ignore")
def conjugate_gradients(
    product: HessianProduct, gradient: Coef, metric: Metric, enough: Enough, most: int
) -> tuple[Coef, Coef, int]:
    """Return D with H D = -gradient - residual, the residual, and the number of products.

    The systems of different problems share nothing but the passes over the data: step lengths
    differ, and a system that is solved well enough is not changed any more. After `most` products
    D is a descent direction all the same (Golub and Van Loan 2013, algorithm 11.5.1).
    """
    all_problems = product.objective.problems
    problems = np.arange(all_problems.count)
    all_D, all_residuals = np.zeros_like(gradient), -gradient
    D, residual = all_D, all_residuals
    direction = metric.unwhiten(metric.whiten(residual))
    first = square = all_problems.inner(residual, direction)
    unsolved = square > 0
    for products in range(most + 1):
        objective = product.objective
        # 1. Stop where the residual is small enough.
        ratio = np.sqrt(np.maximum(square, 0) / np.where(first > 0, first, 1))
        unsolved = unsolved & (square > 0) & ~enough(objective, problems, residual, ratio)
        if products == most or not unsolved.any():
            break
        # 2. Leave solved systems behind, if they are many.
        if unsolved.mean() <= 1 - _SHARE_TO_LEAVE:
            scores = all_problems.scores(problems)
            all_D[:, scores], all_residuals[:, scores] = D, residual
            left = np.flatnonzero(unsolved)
            columns = objective.problems.columns
            D, residual, direction = (columns(A, left) for A in (D, residual, direction))
            problems = problems[left]
            square, first, unsolved = square[left], first[left], unsolved[left]
            metric, product = metric.take_problems(objective, left), product.take_problems(left)
            objective = product.objective
        # 3. Step along the direction, as far as the quadratic model falls.
        image = product(direction)
        curvature = objective.problems.inner(direction, image)
        unsolved = unsolved & (curvature > 0)
        length = objective.problems.spread(_quotient(square, curvature, unsolved))
        D += length * direction
        residual -= length * image
        # 4. The next direction is conjugate to those before.
        preconditioned = metric.unwhiten(metric.whiten(residual))
        previous, square = square, objective.problems.inner(residual, preconditioned)
        direction *= objective.problems.spread(_quotient(square, previous, unsolved))
        direction += preconditioned
    # 5. What is left joins the solved systems; steps that overflowed are none.
    scores = all_problems.scores(problems)
    all_D[:, scores], all_residuals[:, scores] = D, residual
    too_long = ~(np.abs(all_D).max(axis=0) <= _LONGEST_STEP)  # also NaN
    all_D[:, too_long], all_residuals[:, too_long] = 0.0, -gradient[:, too_long]
    return all_D, all_residuals, products


def _quotient(a: NDArray, b: NDArray, where: Mask) -> NDArray:
    """Return a / b where `where` is True, else zero."""
    return np.divide(a, b, out=np.zeros_like(a), where=where)
