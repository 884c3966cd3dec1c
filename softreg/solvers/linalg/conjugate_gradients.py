"""Conjugate gradients for many systems at once, each of which stops in its own time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg.solvers.linalg.hessian_product import HessianProduct
from softreg.solvers.linalg.metrics import Metric

# Problems whose systems are solved leave the products once they are this share: leaving copies what
# is kept of the others.
_WORTH_LEAVING = 0.25
# A step so long belongs to rows that are saturated: their curvature says nothing of where they come
# alive, and none is better.
_FARTHEST = 1e30
# Of some problems of an objective, (objective of these, their places among all, their residuals
# (width, K), these residuals' norms over the gradients' in the metric (B,)): which of their systems
# are solved well enough, (B,).
Enough = Callable[[Objective, NDArray, NDArray, NDArray], NDArray]


@np.errstate(over="ignore", invalid="ignore")
def conjugate_gradients(
    product: HessianProduct, gradient: NDArray, metric: Metric, enough: Enough, most: int
) -> tuple[NDArray, NDArray, int]:
    """Return D with H D = -gradient - residual, to where `enough` says so, and the products taken.

    Each problem goes its own way and stands still once it has enough. After `most` products D is a
    descent direction all the same (Golub and Van Loan 2013, algorithm 11.5.1).
    """
    whole, open_ = product.objective, np.arange(product.objective.problems)
    solved, left = np.zeros_like(gradient), -gradient
    D, residual = solved, left
    direction = metric.unwhiten(metric.whiten(residual))
    first = square = whole.inner(residual, direction)
    going = square > 0
    for done in range(most + 1):
        objective = product.objective
        ratio = np.sqrt(np.maximum(square, 0) / np.where(first > 0, first, 1))
        going = going & (square > 0) & ~enough(objective, open_, residual, ratio)
        if done == most or not going.any():
            break
        if going.mean() <= 1 - _WORTH_LEAVING:
            own = whole.scores(open_)
            solved[:, own], left[:, own] = D, residual
            keep = np.flatnonzero(going)
            D, residual, direction = (objective.columns(A, keep) for A in (D, residual, direction))
            open_ = open_[keep]
            square, first, going = square[keep], first[keep], going[keep]
            metric, product = metric.take_problems(objective, keep), product.take_problems(keep)
            objective = product.objective
        image = product(direction)
        curvature = objective.inner(direction, image)
        going = going & (curvature > 0)
        length = objective.by_score(_quotient(square, curvature, going))
        D += length * direction
        residual -= length * image
        preconditioned = metric.unwhiten(metric.whiten(residual))
        previous, square = square, objective.inner(residual, preconditioned)
        turn = objective.by_score(_quotient(square, previous, going))
        direction *= turn
        direction += preconditioned
    own = whole.scores(open_)
    solved[:, own], left[:, own] = D, residual
    lost = ~(np.abs(solved).max(axis=0) <= _FARTHEST)  # also NaN
    solved[:, lost], left[:, lost] = 0.0, -gradient[:, lost]
    return solved, left, done


def _quotient(a: NDArray, b: NDArray, where: NDArray) -> NDArray:
    """Return a / b where that is asked for, else zero."""
    return np.divide(a, b, out=np.zeros_like(a), where=where)
