"""Refits: the fits that leave out some rows, all in the same passes over the data."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.blocks import Block
from softreg._rows.memory import MemoryRows
from softreg._selection.path import PathExtrapolation, PathPoint
from softreg.solvers.auto import choose
from softreg.solvers.linalg.conjugate_gradients import conjugate_gradients
from softreg.solvers.linalg.hessian_product import HessianProduct
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import Monitor
from softreg.solvers.outer_loop import run_rounds
from softreg.solvers.point import Point, decrement, line_search

# Folds are refitted together as long as their scores are no more than this: then probabilities are
# kept from product to product.
_TOGETHER = 2**23
# The intercept of a class that a fold lacks: below any score, so that it adds nothing.
_ABSENT = -1e3


class Fold(NamedTuple):
    """How often each row counts in a fit, (n,), and the rows that are held out of it."""

    train: NDArray
    test: NDArray


class Refits:
    """The fits that leave out one fold each, all folds in the same passes over the data.

    They differ from the fit to all rows by a fold's rows: each starts where that ended at the same
    strength, moved as at the strengths before, and takes its metric as preconditioner.
    """

    def __init__(
        self, objective: Objective, rows: MemoryRows, folds: list[Fold], tol: float
    ) -> None:
        values = len(folds) * rows.n * objective.shape[1]
        count = min(len(folds), -(-values // _TOGETHER))
        groups = np.array_split(np.arange(len(folds)), count)
        self._groups = [_Group(objective, rows, [folds[f] for f in own], tol) for own in groups]

    def held_out(self, path_point: PathPoint) -> list[NDArray]:
        """Return the scores (m, K) of each fold's rows, at a point of the path."""
        return [scores for group in self._groups for scores in group.held_out(path_point)]


class _Group:
    """Folds that are refitted together."""

    def __init__(
        self, objective: Objective, rows: MemoryRows, folds: list[Fold], tol: float
    ) -> None:
        train = np.stack([fold.train for fold in folds])
        fits = objective.repeated(rows.repeated(train), len(folds))
        self._fits, self._single, self._tol, self._trail = (
            fits,
            in_float32(fits),
            tol,
            PathExtrapolation(),
        )
        self._rows, self._tests = rows, [fold.test for fold in folds]

    def held_out(self, path_point: PathPoint) -> list[NDArray]:
        """Return the scores (m, K) of each fold's rows, at a point of the path."""
        count = len(self._tests)
        whole, metric = np.tile(path_point.T, count), path_point.metric.repeated(count)
        start = whole + self._trail.ahead(path_point.C) if self._trail.behind else whole
        start = self._without_absent(start)
        fits, rough = (own.at_strength(path_point.C) for own in (self._fits, self._single))
        T = refit_problems(fits, rough, start, metric, self._tol)
        self._trail.reached(path_point.C, T - whole)
        each = (
            np.split(A, count, axis=-1)
            for A in (T, self._fits.unseen_scores, fits.rows.totals.score_weight)
        )
        parts = zip(self._tests, *each, strict=True)
        taken = (
            (self._rows.take_rows(test).replaced(single_pass=True), *own) for test, *own in parts
        )
        return [_scores(path_point.objective, *own) for own in taken]

    def _without_absent(self, T: NDArray) -> NDArray:
        """Return coefficients that leave out what a fold has not seen."""
        if not self._fits.unseen_scores.any():
            return T
        T = np.where(self._fits.unseen_scores, self._fits.null(), T)
        if self._fits.link.exclusive:
            T[-1, self._fits.unseen_scores] = _ABSENT
        return T


def _scores(
    objective: Objective, rows: MemoryRows, T: NDArray, unseen: NDArray, weight: NDArray
) -> NDArray:
    """Return the scores (m, K) of rows by a fit of some weight (K,) that has not seen all."""
    U = rows.block_coefficients(T)

    def kernel(block: Block) -> NDArray:
        Z = block.scores(U)
        if unseen.any():
            objective.link.set_unseen_inplace(Z, unseen, weight)
        return Z.T

    return rows.map_rows(kernel)


# Newton's equations are solved until the next estimate is a tenth of the tolerance, or this share
# of their right-hand sides is left.
_SHARE = 0.05
# Steps lead on that take three quarters off the estimate.
_LEADS_ON = 0.25
# What so many steps do not solve differs too much from the fit to all rows for its metric.
_MOST_PRODUCTS, _MOST_STEPS = 100, 6
# Iterations after which a fit that has no end, as where free features separate classes, is left.
_MOST_ITERATIONS = 200


def refit_problems(
    objective: Objective, rough: Objective, start: NDArray, metric: Metric, tol: float
) -> NDArray:
    """Return coefficients (width, K) at which each F is estimated to be least, within tol F.

    Newton's steps by conjugate gradients in a metric, such as that of a fit to all rows; problems
    that these do not solve are solved alone. `rough` is the objective `in_float32`, whose products
    make the steps as long as they lead on.
    """
    whole, open_ = (
        Point.at_coefficients(objective, start),
        np.flatnonzero(~objective.constant_problems),
    )
    before, blind = np.full(objective.problems.count, np.inf), np.ones(objective.problems.count)
    for _ in range(_MOST_STEPS):
        open_, estimate = _not_done(open_, objective, whole, metric, tol / blind)
        if not open_.size:
            return whole.T
        if not (estimate <= _LEADS_ON * before[open_]).all():
            rough = objective
        part, point, own = _of_problems(open_, objective, whole, metric)
        share = np.clip(np.sqrt(0.1 * tol / estimate), _SHARE, 0.5)
        step = _newton_step(rough.take_problems(open_), point, own, share)
        # The step's own energy tells what the metric overlooks that only the rows left out hold up.
        energy = -0.5 * part.problems.inner(point.gradient, step) / point.value
        blind[open_], before[open_] = np.maximum(1, energy / estimate), estimate
        whole = whole.with_problems(objective, open_, line_search(part, point, step))
    open_, _ = _not_done(open_, objective, whole, metric, tol / blind)
    return _climbed(objective, whole, open_, tol).T


def _not_done(
    problems: NDArray, objective: Objective, point: Point, metric: Metric, tol: NDArray
) -> tuple[NDArray, NDArray]:
    """Return which of some problems have estimates of (F - F*) / F above `tol` (B,), and these."""
    if not problems.size:
        return problems, np.empty(0)
    estimate = decrement(*_of_problems(problems, objective, point, metric))
    on = estimate > tol[problems]
    return problems[on], estimate[on]


def _of_problems(
    problems: NDArray, objective: Objective, point: Point, metric: Metric
) -> tuple[Objective, Point, Metric]:
    """Return what belongs to some of the problems."""
    own = objective.take_problems(problems), point.take_problems(objective, problems)
    return *own, metric.take_problems(objective, problems)


def _newton_step(objective: Objective, point: Point, metric: Metric, share: NDArray) -> NDArray:
    """Return Newton's step (width, K), but for a share (B,) of its equations' right-hand sides."""

    def enough(_part: Objective, open_: NDArray, _left: NDArray, ratio: NDArray) -> NDArray:
        return ratio <= share[open_]

    product = HessianProduct(objective, point.T)
    return conjugate_gradients(product, point.gradient, metric, enough, _MOST_PRODUCTS)[0]


def _climbed(objective: Objective, point: Point, problems: NDArray, tol: float) -> Point:
    """Return the point with some of the problems at their optimum, each in metrics of its own."""
    if not problems.size:
        return point
    part, own = objective.take_problems(problems), point.take_problems(objective, problems)
    monitor = Monitor(tol, _MOST_ITERATIONS, lambda _T, _value: False)
    minimum = run_rounds(part, own, first_metric(part, own.T), monitor, choose(part).descend)
    return point.with_problems(objective, problems, minimum.point)


def in_float32(objective: Objective) -> Objective:
    """Return the objective with products in single precision, which take half the time."""
    rows = objective.rows
    return replace(objective, rows=rows.in_dtype(np.float32)) if rows.float32_serves else objective
