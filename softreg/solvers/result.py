"""The record that every solver returns, and how certified solvers make it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import LargestMove
from softreg._model.certificate import certify
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore
from softreg.solvers.monitor import Monitor
from softreg.solvers.newton_step import balanced
from softreg.solvers.point import Point

# A last step that moves a score by more than this, though hardly F, goes towards infinity, where
# classes are separated; at a minimum the last step moves scores by 1e-4 or less.
_RUNAWAY = 0.1


@dataclass(frozen=True, eq=False)
class Result:
    """Where a solver ended, and what it says of that.

    Attributes
    ----------
    coef : ndarray of shape (d, K), in the user's units
    intercept : ndarray of shape (K,)
    objective : ndarray of shape (B,), each problem's part of F
    gap : ndarray of shape (B,), a bound on F - F*; inf if a feature that varies has no penalty
    n_iter : int
    converged : ndarray of shape (B,) of bool, whether the one stopping rule was met (`Monitor`)
    message : str, what happened and what to change
    stopped : bool, whether the fit ended where the user said: by a callback or number of epochs
    diverging : tuple of int, the scores that grow without end (separated classes, no penalty)
    loss_curve : ndarray of shape (n_iter,), F after each iteration
    validation_curve : ndarray of shape (n_iter,) or None, the mean loss of rows held out
    """

    coef: Coef
    intercept: PerScore
    objective: PerProblem
    gap: PerProblem
    n_iter: int
    converged: Mask
    message: str
    stopped: bool
    diverging: tuple[int, ...]
    loss_curve: NDArray
    validation_curve: NDArray | None = None


def result_from(objective: Objective, point: Point, converged: Mask, monitor: Monitor) -> Result:
    """Return the result in the user's units, given the last point and what converged, (B,)."""
    objective = objective.in_double()
    diverging = _diverging(objective, point, converged)
    point, gap = _with_all_gaps(objective, point)
    coef, intercept = objective.coefficients(point.T)
    stalled = "rounding keeps F from decreasing further; raise tol or scale C down"
    message = "the optimum was reached" if converged.all() else monitor.reason or stalled
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(point.value),
        gap=np.where(objective.has_free_features, np.inf, objective.in_units_of_F(gap)),
        n_iter=len(monitor.losses),
        converged=converged & ~objective.problems.any(diverging),
        message="there is no optimum" if diverging.any() else message,
        stopped=monitor.stopped,
        diverging=tuple(np.flatnonzero(diverging).tolist()),
        loss_curve=np.array(monitor.losses),
    )


def _with_all_gaps(objective: Objective, point: Point) -> tuple[Point, PerProblem]:
    """Return the point, balanced in problems that have no gap yet, and the gaps, (B,)."""
    gap = np.minimum(point.gap, point.value)  # no F is below zero
    has_bound = ~(objective.has_free_features | objective.constant_problems)
    unproven = np.flatnonzero(has_bound & ~np.isfinite(point.gap))
    if unproven.size:
        subset, scores = objective.take_problems(unproven), objective.problems.scores(unproven)
        end = balanced(subset, Point.at_coefficients(subset, point.T[:, scores]))
        point = point.with_problems(objective, unproven, end)
        proven = certify(subset, end.T, np.zeros_like(end.T)).gap
        gap[unproven] = np.minimum(proven, end.value)
    return point, gap


def _diverging(objective: Objective, point: Point, converged: Mask) -> Mask:
    """Return which scores (K,) the last step still moves, though it no longer moves F."""
    if not objective.has_free_features.any():
        return np.zeros(objective.shape[1], dtype=bool)
    step = objective.rows.block_coefficients(objective.link.centred(point.step))
    moves = objective.rows.maximum(LargestMove(step))
    largest = moves.reshape(objective.problems.count, -1).max(axis=1)
    runaway = converged & objective.has_free_features & (largest > _RUNAWAY)
    return moves > 0.5 * objective.problems.spread(np.where(runaway, largest, np.inf))
