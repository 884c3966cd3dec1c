"""Certificates: F at a point, and a bound on how far it is above the optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softreg._model.block_kernels import CertificateSums
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem


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
