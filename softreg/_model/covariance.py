"""Covariances of an optimum's coefficients: the information of the rows, inverted.

With the loss sum_i s_i loss_i of all rows and the penalty of S F, H the Hessian of both at the
optimum and g_i the gradient of row i's loss, the covariance of the coefficients is

    H^-1                                      if the model holds (of a posterior, with a penalty);
    H^-1 (sum_i s_i^power g_i g_i') H^-1      whatever the rows' distribution (White 1982,
                                              "Maximum likelihood estimation of misspecified
                                              models", Econometrica 50, 1-25);
    H^-1 (sum_g G_g G_g') H^-1                if rows of a group g depend on each other, with
                                              G_g = sum_(i in g) s_i g_i.

All are those of working coordinates T, problem by problem, (B, p, p), score after score;
`Objective.covariance` brings them to the user's units. Directions that move no probability, and
coefficients that others replace, have arbitrary ones: what depends on them is not identified.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.block_kernels import GradientProducts, GroupGradients
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem

# In standard errors; a default fit ends about a thousandth of one from the optimum, which two steps
# take off.
_NEGLIGIBLE_MOVE, _MOST_STEPS = 1e-9, 5


def newton_optimum(objective: Objective, T: Coef) -> tuple[Coef, NDArray[np.float64]]:
    """Return the optimum near T (width, K), and the inverse information there, (B, p, p).

    By Newton's steps, until one moves all coefficients together by less than a billionth of their
    standard errors. The information is S H in the user's weights, with the Hessian H of F.
    ValueError if it is singular to rounding.
    """
    B, weight = objective.problems.count, user_weight(objective)
    for _ in range(_MOST_STEPS):
        inverse = np.array([_inverse(H) for H in _hessians(objective, T)]) / weight[:, None, None]
        gradient = objective.value_and_gradient(T)[1].T.reshape(B, -1) * weight[:, None]
        step = np.einsum("bpq,bq->bp", inverse, gradient)
        squared_move = np.einsum("bp,bp->b", step, gradient)
        if (squared_move <= _NEGLIGIBLE_MOVE**2).all():
            break
        T = objective.centred(T - step.reshape(-1, len(T)).T)
    return T, inverse


def _hessians(objective: Objective, T: Coef) -> NDArray[np.float64]:
    """Return the Hessians of F, (B, p, p), with a curvature of one in classes without rows.

    These have none, and combinations of the others do not depend on it.
    """
    H = objective.hessian(T)
    diagonals = np.einsum("bjj->bj", H)  # a view
    diagonals += np.repeat(objective.unseen_scores, len(T)).reshape(len(H), -1)
    return H


def row_sandwich(
    objective: Objective, T: Coef, inverse: NDArray, power: int
) -> NDArray[np.float64]:
    """Return the covariances of independent rows whatever their distribution, (B, p, p).

    `inverse` is that of the information, (B, p, p); for `power` see `GradientProducts`.
    """
    kernel = GradientProducts(objective.link, objective.rows.block_coefficients(T), power)
    (products,) = objective.rows.sum(kernel)
    return inverse @ (products * objective.rows.totals.weight_unit**power) @ inverse


def group_sandwich(
    objective: Objective, T: Coef, inverse: NDArray, groups: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the covariances of rows that depend on each other within groups, (B, p, p).

    `groups` (n,) are numbers from 0; all rows have weight.
    """
    rows, count = objective.rows, int(groups.max()) + 1
    kernel = GroupGradients(objective.link, rows.block_coefficients(T), groups, count)
    (gradients,) = rows.sum(kernel)
    products = gradients @ gradients.transpose(0, 2, 1) * rows.totals.weight_unit**2
    return inverse @ products @ inverse


def effective_parameters(objective: Objective, inverse: NDArray) -> PerProblem:
    """Return trace(H^-1 H_loss), (B,): the number of parameters, or what a penalty leaves of it.

    `inverse` is that of the information, (B, p, p). Coefficients of constant columns do not count,
    nor those that others replace, nor those without a penalty of a class that has no rows.
    """
    (width, K), B = objective.shape, objective.problems.count
    q, exclusive = K // B, objective.link.exclusive
    ridge = np.broadcast_to(objective.penalty.ridge, (width, K))[:, ::q] * user_weight(objective)
    # 1. What the penalty takes: trace(H^-1 ridge), but along moves of all classes alike.
    by_feature = np.einsum("bkjlj->bjkl", inverse.reshape(B, q, width, q, width))
    traces = np.einsum("bjkk->bj", by_feature)
    if exclusive:
        traces = traces - by_feature.mean(axis=3).sum(axis=2)
    taken = np.einsum("bj,jb->b", traces, ridge)
    # 2. All that could count, and what no row bears on.
    scale = objective.rows.coordinates.scale
    varies = np.concatenate([np.isfinite(scale), np.ones(width - len(scale), dtype=bool)])
    free = np.count_nonzero(varies[:, None] & (ridge == 0), axis=0)
    unseen = objective.problems.total(objective.unseen_scores.astype(float))
    return (q - exclusive) * np.count_nonzero(varies) - taken - unseen * free


def user_weight(objective: Objective) -> PerProblem:
    """Return S of each problem in the user's weights, (B,)."""
    return objective.problem_weight * objective.rows.totals.weight_unit


def _inverse(H: NDArray) -> NDArray[np.float64]:
    """Return the inverse of a Hessian (p, p), whose zero rows are those of constant columns."""
    diagonal = H.diagonal()
    unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = H * unit[:, None] * unit
    np.fill_diagonal(scaled, 1.0)
    try:
        inverse = linalg.cho_solve(linalg.cho_factor(scaled), np.eye(len(H)))
    except linalg.LinAlgError:
        raise ValueError(
            "The information of the rows is singular to rounding: the classes are all but "
            "separated, or columns all but collinear. See inference.separation, fit with a finite "
            "C, or leave columns out."
        ) from None
    return inverse * unit[:, None] * unit
