"""Certificates: F at a point, and a bound on how far it is above the optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softreg._model.block_kernels import Certificates
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem


@dataclass(frozen=True, eq=False)
class Certificate:
    """F at a point with a bound on how far it is above the optimum, problem by problem.

    Attributes
    ----------
    value, gradient : F (B,) and its gradient (width, K)
    gap : ndarray (B,), duality gap, F - F* <= gap
    divergence : ndarray (B,), the losses' part of the gap, of fourth order in the Newton step
    imbalance : ndarray (width, K), what Newton's equations were left out of balance by; the
        penalty's part of the gap is its square in units of the penalty
    """

    value: PerProblem
    gradient: Coef
    divergence: PerProblem
    imbalance: Coef
    gap: PerProblem


def certify(objective: Objective, T: Coef, step: Coef) -> Certificate:
    """Return F, its gradient and a dual bound at T + step, in one pass.

    Every matrix Q of probabilities bounds F from below, by the dual objective at Q - Y. The bound
    is tight if Q balances the gradient: sum_i s_i x~_i (q_i - y_i) + l2 T = 0. Newton's equations
    say just that of the linearised probabilities ``Q = P(T) + H_z step``, so after an accurate
    Newton step the gap is of fourth order in it. By Fenchel and Young the gap is the mean of
    KL(q_i || p_i(T + step)) plus the square of what is left unbalanced, in units of the penalty
    (Boyd and Vandenberghe 2004, "Convex Optimization", sections 3.3 and 5.5).
    """
    rows, new = objective.rows, T + step
    U, V = rows.block_coefficients(T), rows.block_coefficients(step)
    loss, gathered, divergence, dual = rows.sum(Certificates(objective.link, U, V))
    mean_divergence = np.maximum(0.0, divergence / objective.problem_weight)
    imbalance = objective.gradient(dual, new)
    return Certificate(
        value=objective.penalised(loss, new),
        gradient=objective.gradient(gathered, new),
        divergence=mean_divergence,
        imbalance=imbalance,
        gap=mean_divergence + objective.imbalance_gap(imbalance),
    )
