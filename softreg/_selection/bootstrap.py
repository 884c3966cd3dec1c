"""The bootstrap: fits to resampled rows, all in the same passes over the data, warm from one fit.

A resample says how often each row counts. Newton's steps take all of them from the fit to all rows
to optima of their own, by conjugate gradients in the Hessian of that fit, as folds are refitted. A
Hessian for each resample in each step instead takes half the time on 6 columns of 7 classes, twice
as long on 21 of 5 and eight times on 51 of 5 (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import LargestMove, problem_gram_sum
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, PerRow
from softreg._selection.refit_steps import inexact_newton_step
from softreg._selection.refits import rows_in_memory
from softreg.solvers.base import Point
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.factors import cholesky
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.steps import line_search, relative_estimate

# A step that moves no row's score by more ends at the optimum: what is left is about the square of
# this, and the share of the step that conjugate gradients leave of it.
_SMALL_MOVE = 1e-3
# Shares of Newton's equations that may be left far from the optimum, and near it.
_LARGEST_SHARE, _LEAST_SHARE = 0.1, 1e-4
# Where classes are separated each step moves some row's score by one or more, however small the
# gradient; so many steps lead to probabilities of e^-20.
_MOST_STEPS = 20
# Others replace a column of which they leave no more than this, its squares being about one.
_REPLACED = 1e-12


class Bootstrapped(NamedTuple):
    """The fits to resamples.

    Attributes
    ----------
    coefficients : ndarray (R, width, K), in working coordinates, as of the fit
    converged : ndarray (R, B) of bool, whether each problem's are its only optimum; others are
        arbitrary: the resample lacks a class, separates classes, or leaves coefficients open
    """

    coefficients: NDArray[np.float64]
    converged: NDArray[np.bool_]


def resampled_counts(
    weight: PerRow,
    random: np.random.Generator,
    groups: NDArray | None = None,
    *,
    weights_are_counts: bool = True,
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each row counts, (n,), in one resample after another, without end.

    As many rows are drawn with replacement as there are; none of weight (n,) zero. A row whose
    weight is a count stands for so many rows, each of which is drawn: it counts as often as they
    are, over its weight, by which the fit multiplies. Other weights do not say how often a row was
    seen: rows are drawn with equal chances, and keep their weights. Groups (n,) of rows are drawn
    with equal chances, each as a whole, whatever weights are.
    """
    places = np.flatnonzero(weight)
    unit_of_row, units_have_counts = np.arange(len(places)), weights_are_counts and groups is None
    if groups is not None:
        unit_of_row = np.unique(groups[places], return_inverse=True)[1]
    repeats = weight[places] if units_have_counts else np.ones(len(places))
    repeats_of_unit = repeats if units_have_counts else np.ones(unit_of_row.max() + 1)
    size, chances = max(1, round(repeats_of_unit.sum())), repeats_of_unit / repeats_of_unit.sum()
    while True:
        times = random.multinomial(size, chances)  # which takes no longer for billions
        counts = np.zeros(len(weight))
        counts[places] = times[unit_of_row] / repeats
        yield counts


def bootstrap_coefficients(
    objective: Objective, T: Coef, counts: Iterable[NDArray]
) -> Bootstrapped:
    """Return the fits to resamples, in which rows count `counts`, (n,) each, from the optimum T.

    T (width, K) is that of all rows. The penalty is as strong in the user's units as that of the
    fit, whatever a resample weighs. Coefficients that the fit leaves open are zero (`identified`).
    """
    objective, T = identified(objective.in_double(), T)
    metric, rows = first_metric(objective, T).refreshed(objective, T), rows_in_memory(objective)
    scores, values = rows.n * T.shape[1], objective.problems.count * len(T) ** 2
    size = int(min(rows.threads.limits.refitted_scores / scores, rows.value_budget / values))
    remaining, coefficients, converged = iter(counts), [], []
    while batch := list(islice(remaining, max(1, size))):
        refits = objective.repeated(rows.repeated(np.array(batch)), len(batch))
        optima, are_found = _optima(refits, np.tile(T, len(batch)), metric.repeated(len(batch)))
        coefficients.append(optima.reshape(len(T), len(batch), -1).swapaxes(0, 1))
        converged.append(are_found.reshape(len(batch), -1))
    return Bootstrapped(np.concatenate(coefficients), np.concatenate(converged))


def _optima(objective: Objective, T: Coef, metric: Metric) -> tuple[Coef, Mask]:
    """Return the optima (width, K) of problems, and which were found, (B,), from T (width, K)."""
    found, are_found = T.copy(), np.zeros(objective.problems.count, dtype=bool)
    is_open = objective.problems.any(objective.unseen_scores) | _have_replaced_columns(objective)
    problems = np.flatnonzero(~is_open)
    if not problems.size:
        return found, are_found
    subset, metric = objective.take_problems(problems), metric.take_problems(objective, problems)
    point = Point.at_coefficients(subset, objective.problems.columns(T, problems))
    for _ in range(_MOST_STEPS):
        # 1. Newton's step: its equations are solved the better the nearer the optimum is.
        estimate = relative_estimate(subset, point, metric)
        share = np.clip(np.sqrt(estimate), _LEAST_SHARE, _LARGEST_SHARE)
        step, _, _ = inexact_newton_step(subset, point, metric, share)
        found[:, objective.problems.scores(problems)] = point.T + step
        # 2. Problems leave whose scores hardly move.
        are_found[problems] = _largest_moves(subset, step) <= _SMALL_MOVE
        left = np.flatnonzero(~are_found[problems])
        if not left.size:
            break
        # 3. As much of the others' steps as decreases F.
        start, step = point.take_problems(subset, left), subset.problems.columns(step, left)
        metric = metric.take_problems(subset, left)
        problems, subset = problems[left], subset.take_problems(left)
        point = line_search(subset, start, step)
    return found, are_found


def _largest_moves(objective: Objective, step: Coef) -> PerProblem:
    """Return by how much a step (width, K) moves scores of rows that count, at most, (B,)."""
    moves = objective.rows.maximum(LargestMove(objective.rows.block_coefficients(step)))
    return moves.reshape(objective.problems.count, -1).max(axis=1)


def _have_replaced_columns(objective: Objective) -> Mask:
    """Return whether others replace a column without a penalty in the rows that count, (B,)."""
    B = objective.problems.count
    if not objective.has_free_features.any():
        return np.zeros(B, dtype=bool)
    (grams,) = objective.rows.sum(problem_gram_sum)
    grams /= objective.problem_weight[:, None, None]
    diagonals = np.einsum("bjj->bj", grams)  # a view
    ridge = np.broadcast_to(objective.penalty.ridge, objective.shape)
    diagonals += ridge[:, :: objective.shape[1] // B].T
    constant = np.flatnonzero(np.isinf(objective.rows.coordinates.scale))
    diagonals[:, constant] = 1  # columns of zeros in all resamples
    least = [np.minimum(np.square(cholesky(A).diagonal()), A.diagonal()).min() for A in grams]
    return np.array(least) <= _REPLACED
