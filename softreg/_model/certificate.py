"""Certificates: F at a point, and a bound on how far it is above the optimum."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from softreg._model.block_kernels import CertificateSums, CertificateSumsAlong, LargestLeverage
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty, SparsePenalty
from softreg._rows.arrays import Coef, Mask, PerProblem

_EPS = np.finfo(float).eps
# A score whose probability is zero, and whose square is a number.
_NEVER = -1e150
# Halvings after which an interval is as small as rounding, wherever in it zero is.
_BISECTIONS = 100
# A sum of gradients, of columns with deviation one, that is no rounding of zero.
_UNBALANCED = 1e-14


@dataclass(frozen=True, eq=False)
class Certificate:
    """F at a point with a bound on how far it is above the optimum, problem by problem.

    Attributes
    ----------
    value, gradient : F (B,) and its gradient (width, K)
    divergence : ndarray (B,), the losses' part of the gap, of fourth order in the Newton step
    imbalance : ndarray (width, K), the gradient of F with the linearised probabilities in place of
        P: zero where Newton's equations hold; the penalty's conjugate of it is its part of the gap
    gap : ndarray (B,), duality gap, F - F* <= gap
    """

    value: PerProblem
    gradient: Coef
    divergence: PerProblem
    imbalance: Coef
    gap: PerProblem


def certify(objective: Objective, T: Coef, step: Coef) -> Certificate:
    """Return F, its gradient and the duality gap at T + step, in one pass.

    Every matrix Q of probabilities bounds F from below, by the dual objective at Q - Y. The bound
    is close if the gradient with Q in place of P, the imbalance
    (1/S) sum_i s_i x~_i (q_i - y_i)' + l2 (T + step), is near zero. Newton's equations say that it
    is zero for the linearised probabilities q_i = p_i(T) + H_i step' x~_i; so after an accurate
    Newton step the gap is of fourth order in it. By Fenchel and Young the gap is the weighted mean
    of KL(q_i || p_i(T + step)) plus the penalty's conjugate of the imbalance (Boyd and Vandenberghe
    2004, "Convex Optimization", sections 3.3 and 5.5).
    """
    rows, new = objective.rows, T + step
    U, V = rows.block_coefficients(T), rows.block_coefficients(step)
    loss, gathered, divergence, dual = rows.sum(CertificateSums(objective.link, U, V))
    mean_divergence = np.maximum(0.0, divergence / objective.problem_weight)
    imbalance = objective.gradient(dual, new)
    return Certificate(
        value=objective.penalised(loss, new),
        gradient=objective.gradient(gathered, new),
        divergence=mean_divergence,
        imbalance=imbalance,
        gap=mean_divergence + objective.imbalance_gap(imbalance),
    )


def certify_along(
    objective: Objective,
    T: Coef,
    step: Coef,
    metric_T: Coef,
    point_key: Hashable | None = None,
) -> Certificate:
    """Return `certify` of a sparse penalty, in one pass.

    The probabilities q_i are linearised by the rows' Hessians at `metric_T` (width, K), from which
    the step was computed; blocks keep the probabilities there under `point_key`, by default one of
    this call alone. With residuals r_i = q_i - y_i, A (width, K) their gradient, and the penalty's
    conjugate c, the dual objective at them is::

        D(r) = loss - KL - <A, T + step> - c(A)

    Where c(A) is not finite, c(t A) is zero for some 0 < t <= 1, and the residuals t r_i serve: as
    the loss's conjugate is convex, and at most 0 at r = 0,
    D(t r) >= t (loss - KL - <A, T + step>).
    """
    rows, new, penalty = objective.rows, T + step, objective.sparse_penalty
    U, V, M = (rows.block_coefficients(coefficients) for coefficients in (T, step, metric_T))
    kernel = CertificateSumsAlong(objective.link, U, V, M, point_key or uuid4())
    loss, gathered, divergence, dual = rows.sum(kernel)
    mean_divergence = np.maximum(0.0, divergence / objective.problem_weight)
    A, problems = objective.loss_gradient(dual), objective.problems
    # What has no penalty is balanced, but for rounding: its distance from zero must not count.
    price = problems.inner(np.where(penalty.free, 0, A), new)
    dual_of_loss = loss / objective.problem_weight - mean_divergence - price
    share = penalty.feasible_share(A).reshape(problems.count, -1).min(axis=1)
    bound = share * dual_of_loss
    if objective.has_ridge:  # else c(A) is zero or not finite
        bound = np.maximum(bound, dual_of_loss - problems.total(penalty.conjugate(A)))
    value = objective.penalised(loss, new)
    return Certificate(
        value=value,
        gradient=objective.gradient(gathered, new),
        divergence=mean_divergence,
        imbalance=A + penalty.ridge * new if objective.has_ridge else A,
        gap=np.maximum(value - bound, 0.0) + objective.intercept_gap(A),
    )


def curvature_gap(objective: Objective, T: Coef, gradient: Coef) -> PerProblem:
    """Return a bound of F - F*, (B,), from the gradient and the Hessian H at T, penalty or not.

    Both are those of F's smooth part. Of a penalty that is not smooth, there is one problem, and
    the least subgradient stands for the gradient: F is no less than with <subgradient, V> in place
    of what the penalty adds along V (width, K).

    Along any V the third derivative of a row's loss is at most m times the second, m being the
    largest difference of two of the row's scores V' x~_i: the loss is self-concordant (Bach 2010,
    "Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4, 384-414,
    proposition 1). With m <= rho |V|_H, where |V|_H^2 = <V, H V> and rho^2 is twice the largest sum
    over the scores of x~_i' (H^-1)_kk x~_i, that is a bound on F everywhere::

        F(T + V) >= F(T) + <gradient, V> + (exp(-rho r) + rho r - 1) / rho^2,    r = |V|_H

    Its least value over V is no less than F(T) - (lambda^2 / 2) / (1 - rho lambda), where
    lambda^2 = <gradient, H^-1 gradient>; at rho lambda >= 1 there is none: the bound is inf.
    """
    objective, width = objective.in_double(), len(T)
    exclusive, is_smooth = objective.link.exclusive, objective.penalty.is_smooth
    # 1. Classes without weight are left out: F* is the same without them, and F hardly less.
    excess = np.zeros(objective.problems.count)
    unseen = objective.unseen_scores & exclusive
    if unseen.any() or (exclusive and not is_smooth):
        value, T = objective.value(T), _with_least_means(objective.penalty, T, unseen)
        new_value, gradient = objective.value_and_gradient(T)
        excess = value - new_value
    if exclusive and not is_smooth:
        gradient = _balanced_subgradient(objective.sparse_penalty, T, gradient, unseen)
    else:
        gradient = objective.penalty.least_subgradient(T, gradient)
    # 2. The Hessian, its gauge fixed, which no gradient and no move of scores notices. Constant
    #    features are left out.
    hessians = objective.hessian(T)
    constant = np.append(np.isinf(objective.rows.coordinates.scale), [False])[:width]
    left_out = constant | unseen[:, None]
    left_out = left_out.reshape(len(hessians), -1)
    hessians[left_out[:, :, None] | left_out[:, None, :]] = 0
    gradients = np.where(left_out, 0, gradient.T.reshape(len(hessians), -1))
    # 3. The decrement lambda, and rho.
    decrement, roots = np.full(len(hessians), np.inf), np.zeros((len(hessians), width, width))
    for b, (H, g) in enumerate(zip(hessians, gradients, strict=True)):
        inverse_factor = _inverse_factor(H, left_out[b])
        if inverse_factor is not None and np.isfinite(g).all():
            decrement[b] = np.linalg.norm(inverse_factor @ g)
            roots[b] = np.transpose(np.linalg.qr(inverse_factor.reshape(-1, width), mode="r"))
    rho = np.sqrt(2 * objective.rows.maximum(LargestLeverage(roots)))
    # 4. The bound.
    divisor = 1 - np.where(np.isfinite(decrement), rho, np.inf) * decrement
    bound = np.full_like(divisor, np.inf)
    np.divide(decrement**2 / 2, divisor, out=bound, where=divisor > 0)
    return np.maximum(0.0, excess + bound)


def _with_least_means(penalty: Penalty, T: Coef, unseen: Mask) -> Coef:
    """Return T (width, K) with classes `unseen` (K,) of probability zero, the others as before.

    Of each feature the mean over those is zero, if that makes the penalty less.
    """
    without = np.where(unseen, 0, T)
    centred = np.where(unseen, 0, T - T[:, ~unseen].mean(axis=1, keepdims=True))
    if penalty.value(centred).sum() <= penalty.value(without).sum():
        without = centred
    if unseen.any():
        without[-1, np.flatnonzero(unseen)] = _NEVER
    return without


def _balanced_subgradient(penalty: SparsePenalty, T: Coef, G: Coef, unseen: Mask) -> Coef:
    """Return the least subgradient of F at T whose sum over the classes is zero, (width, K).

    G is the gradient of F's smooth part. Moving all classes of a feature alike moves no
    probability, only the penalty: nothing bounds how far, unless the subgradient is zero that way.
    It is that of G with the same number added for all classes, found by bisection; inf where T is
    not the least penalised of such moves, so that there is none.
    """
    seen = ~unseen
    # Zeros beyond this cannot be outweighed by the others: their sum is no more than K times that.
    largest = np.abs(G).max(axis=1) + np.abs(penalty.least_subgradient(T, G)).max(axis=1)
    high = (1 + T.shape[1]) * largest
    low = -high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        added = np.outer(middle, seen)
        subgradient = (penalty.least_subgradient(T, G + added) - added) * seen
        sums = subgradient.sum(axis=1)
        low, high = np.where(sums > 0, middle, low), np.where(sums > 0, high, middle)
    return np.where(np.abs(sums) > _UNBALANCED, np.inf, subgradient.T).T


def _inverse_factor(H: NDArray, left_out: Mask) -> NDArray | None:
    """Return L^-1, H >= L L' by more than the rounding of its entries; None if there is no such L.

    Entries are sums over rows of probabilities, each of which has the rounding of one; those of
    coefficients that are left out, (p,), are zeros.
    """
    order = len(H)
    lower = H + np.diag(np.where(left_out, 1, -_EPS * order * (1 + H.diagonal())))
    try:
        factor = np.linalg.cholesky(lower)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(factor).all():  # as of NaN
        return None
    return solve_triangular(factor, np.eye(order), lower=True)
