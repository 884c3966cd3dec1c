"""CV refits: the fits that leave out a fold each, all in the same passes over the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.arrays import Coef, Places
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg._selection.path import PathPoint, extrapolated
from softreg.solvers.auto import choose_solver
from softreg.solvers.base import Monitor, Point
from softreg.solvers.linalg.conjugate_gradients import HessianProduct, conjugate_gradients
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.outer_loop import run_rounds
from softreg.solvers.steps import line_search, relative_estimate

# The intercept of a class that a fold lacks: below any score, so that it adds nothing.
_UNSEEN_INTERCEPT = -1e3


class Fold(NamedTuple):
    """How often each row counts in a fit, (n,), and the indices of the rows held out of it."""

    train: NDArray
    test: NDArray


class FoldFit(NamedTuple):
    """A fit without a fold.

    Attributes
    ----------
    T : ndarray (width, K), its coefficients in the coordinates of the fit to all rows
    n_iter : int, its iterations
    scores : ndarray (m, K), those of the fold's m rows
    """

    T: Coef
    n_iter: int
    scores: NDArray


class Refitted(NamedTuple):
    """Coefficients (width, K) of refits, and the iterations that each problem took, (B,)."""

    T: Coef
    n_iter: NDArray[np.intp]


class FoldRefits:
    """The fits that leave out one fold each: the problems of one objective, refitted together.

    They differ from the fit to all rows by a fold's rows: each starts where that ended at the same
    C, displaced as at the C before, and takes its metric as preconditioner. The points of a path
    are therefore to be passed in ascending order of C. At C = inf each is a fit by itself, from
    the null model: a start from the fit to all rows knows of the rows left out, and without a
    penalty that would stay.

    Parameters
    ----------
    objective : Objective of all rows, at C = 1
    folds : list of Fold
    tol : float, the estimate of (F - F*) / F at which refits end
    standardize : bool, whether the penalty is that of columns over their deviations in the rows of
        each refit; where features are rotated it stays that of their deviations in all rows
    """

    def __init__(
        self, objective: Objective, folds: list[Fold], tol: float, standardize: bool = False
    ) -> None:
        train = np.stack([fold.train for fold in folds])
        self.folds = folds
        self._rows = rows_in_memory(objective)
        refits = objective.repeated(self._rows.repeated(train), len(folds))
        self._refits = _with_fold_deviations(refits, self._rows, train) if standardize else refits
        self._refits_in_float32 = in_float32(self._refits)
        self._tol = tol
        # How far the coefficients of the refits are from those of the fit to all rows, at the
        # latest C.
        self._displacements: list[tuple[float, Coef]] = []

    def held_out_fits(self, path_point: PathPoint) -> list[FoldFit]:
        """Return the fit without each fold."""
        link, is_penalised = path_point.objective.link, np.isfinite(path_point.C)
        refitted = self._refitted(path_point) if is_penalised else self._unpenalised(link)
        return self._by_fold(link, *refitted)

    def _refitted(self, path_point: PathPoint) -> Refitted:
        """Return all refits at a point of the path, with coefficients (width, folds * K)."""
        C, count = path_point.C, len(self.folds)
        start = T_of_all = np.tile(path_point.T, count)
        if self._displacements:
            start = T_of_all + extrapolated(self._displacements, C)
        refitted = refit_problems(
            self._refits.at_strength(C),
            self._refits_in_float32.at_strength(C),
            self._without_unseen(start),
            path_point.metric.repeated(count),
            self._tol,
        )
        self._displacements = [*self._displacements[-1:], (C, refitted.T - T_of_all)]
        return refitted

    def _unpenalised(self, link: Link) -> Refitted:
        """Return the fits without a penalty, made one by one."""
        rows, coefficients, n_iter = self._rows, [], []
        raw = Coordinates.raw(len(rows.coordinates.scale), rows.coordinates.intercept)
        for fold in self.folds:
            of_fold = rows.replaced(coordinates=raw, weight=rows.weights * fold.train)
            penalty = Ridge.none(len(raw.scale))
            objective = Objective.in_working_coordinates(link, of_fold, penalty)
            monitor = Monitor(self._tol, _MOST_ITERATIONS)
            fit = choose_solver(objective).minimise(objective, objective.null(), monitor)
            coefficients.append(rows.coordinates.working(fit.coef, fit.intercept))
            n_iter.append(fit.n_iter)
        T = self._without_unseen(np.concatenate(coefficients, axis=1))
        return Refitted(T, np.array(n_iter))

    def _by_fold(self, link: Link, T: Coef, n_iter: NDArray) -> list[FoldFit]:
        """Return the fit without each fold, given all of `Refitted`."""
        refits = self._refits
        weight = refits.rows.totals.score_weight_of_user
        by_fold = (
            np.split(values, len(self.folds), axis=-1)
            for values in (T, n_iter, refits.unseen_scores, weight)
        )
        fits = []
        for fold, T_of_fold, iterations, unseen, weight in zip(self.folds, *by_fold, strict=True):
            rows = self._rows.take_rows(fold.test).replaced(single_pass=True)
            kernel = _HeldOutScores(link, rows.block_coefficients(T_of_fold), unseen, weight)
            fits.append(FoldFit(T_of_fold, int(iterations.max()), rows.map_rows(kernel)))
        return fits

    def _without_unseen(self, T: Coef) -> NDArray:
        """Return coefficients T in which classes, or answers, unseen by a fold have no part."""
        unseen = self._refits.unseen_scores
        if not unseen.any():
            return T
        T = np.where(unseen, self._refits.null(), T)
        if self._refits.link.exclusive:
            T[-1, unseen] = _UNSEEN_INTERCEPT
        return T


def refits_in_groups(
    objective: Objective, folds: list[Fold], tol: float, standardize: bool = False
) -> list[FoldRefits]:
    """Return the refits of all folds, in groups whose scores are kept from product to product.

    The parameters are those of `FoldRefits`.
    """
    most = objective.rows.threads.limits.kept_scores
    return [
        FoldRefits(objective, [folds[number] for number in group], tol, standardize)
        for group in groups_within(objective, np.arange(len(folds)), most)
    ]


def _with_fold_deviations(refits: Objective, rows: MemoryRows, train: NDArray) -> Objective:
    """Return the objective of several fits with the penalty of columns over their own deviations.

    In the penalty given they are over those of all rows, and so they stay where they are constant
    in the rows of a fit: only a penalty then brings their coefficient to zero.
    """
    if refits.spaces:
        return refits
    width, K = refits.shape
    ratio, deviation = np.ones((width, len(train))), rows.deviations(train).T
    all_rows = rows.totals.moments.deviation[:, None]
    np.divide(deviation, all_rows, out=ratio[: len(all_rows)], where=deviation > 0)
    multiple = ratio.repeat(K // len(train), axis=1)
    return replace(refits, penalty=refits.penalty.on_multiples(multiple))


def groups_within(objective: Objective, members: NDArray, most: int) -> list[NDArray]:
    """Return members, (count,), in groups of at most about `most` scores, each at least one.

    A member is a refit, which has the scores of all rows of the objective.
    """
    scores = len(members) * rows_in_memory(objective).n * objective.shape[1]
    return np.array_split(members, min(len(members), -(-scores // most)))


def rows_in_memory(objective: Objective) -> MemoryRows:
    """Return the rows of an objective that is refitted: only those in memory are."""
    return cast(MemoryRows, objective.rows)


@dataclass(frozen=True, eq=False)
class _HeldOutScores:
    """Kernel: the scores (m, K) of a block's m rows by a fit that may not have seen all classes.

    Attributes
    ----------
    link : Link of that fit
    U : ndarray, its coefficients as `Rows.block_coefficients` gives them
    unseen : ndarray (K,) of bool, the scores that the fit knows nothing of: they get their prior
    weight : ndarray (K,), the weight of the fit's rows, score by score
    """

    link: Link
    U: Coef
    unseen: NDArray[np.bool_]
    weight: NDArray

    def __call__(self, block: Block) -> NDArray:
        Z = block.scores(self.U)
        if self.unseen.any():
            self.link.set_unseen_inplace(Z, self.unseen, self.weight)
        return Z.T


# Newton's equations are solved until the next estimate is a tenth of the tolerance, or this share
# of their right-hand sides is left.
_LEAST_RESIDUAL = 0.05
# Steps that take three quarters off the estimate are good enough to go on with.
_SUFFICIENT_RATIO = 0.25
# What so many steps do not solve differs too much from the fit to all rows for its metric.
_MOST_PRODUCTS, _MOST_STEPS = 100, 6
# Iterations after which a fit that has no end, as where free features separate classes, is left.
_MOST_ITERATIONS = 200


def refit_problems(
    objective: Objective, rough: Objective, start: Coef, metric: Metric, tol: float
) -> Refitted:
    """Return coefficients (width, K) at which each F is estimated to be least, within tol F.

    Newton's steps by conjugate gradients in a metric, such as that of a fit to all rows; problems
    that these do not solve are solved alone. `rough` is the objective `in_float32`, whose products
    serve the steps as long as each takes enough off the estimate.
    """
    point = Point.at_coefficients(objective, start)
    unsolved = np.flatnonzero(~objective.constant_problems)
    previous = np.full(objective.problems.count, np.inf)
    underestimated, n_iter = np.ones_like(previous), np.zeros(len(previous), dtype=np.intp)
    for _ in range(_MOST_STEPS):
        # 1. Leave out the problems that are solved.
        unsolved, estimate = _unsolved(unsolved, objective, point, metric, tol / underestimated)
        if not unsolved.size:
            return Refitted(point.T, n_iter)
        # 2. Products in double precision where those in single no longer get anywhere.
        if not (estimate <= _SUFFICIENT_RATIO * previous[unsolved]).all():
            rough = objective
        # 3. Newton's step, only as accurate as the estimate needs.
        subset, subset_point, subset_metric = _take_problems(unsolved, objective, point, metric)
        residual = np.clip(np.sqrt(0.1 * tol / estimate), _LEAST_RESIDUAL, 0.5)
        step = _newton_step(rough.take_problems(unsolved), subset_point, subset_metric, residual)
        # 4. The step's own energy shows by how much the metric underestimates F - F*, where the
        #    rows left out had held up the curvature.
        energy = -0.5 * subset.problems.inner(subset_point.gradient, step)
        energy /= np.maximum(subset_point.value, np.finfo(float).tiny)
        underestimated[unsolved], previous[unsolved] = np.maximum(1, energy / estimate), estimate
        # 5. Go along it as far as F falls.
        reached = line_search(subset, subset_point, step)
        point = point.with_problems(objective, unsolved, reached)
        n_iter[unsolved] += 1
    unsolved, _ = _unsolved(unsolved, objective, point, metric, tol / underestimated)
    monitor = Monitor(tol, _MOST_ITERATIONS)
    point = _solved_by_rounds(objective, point, unsolved, monitor)
    n_iter[unsolved] += len(monitor.losses)
    return Refitted(point.T, n_iter)


def _unsolved(
    problems: Places, objective: Objective, point: Point, metric: Metric, tol: NDArray
) -> tuple[NDArray, NDArray]:
    """Return those of some problems whose estimate of (F - F*) / F exceeds `tol` (B,), and it."""
    if not problems.size:
        return problems, np.empty(0)
    estimate = relative_estimate(*_take_problems(problems, objective, point, metric))
    above = estimate > tol[problems]
    return problems[above], estimate[above]


def _take_problems(
    problems: Places, objective: Objective, point: Point, metric: Metric
) -> tuple[Objective, Point, Metric]:
    """Return the objective, point and metric of some of the problems."""
    return (
        objective.take_problems(problems),
        point.take_problems(objective, problems),
        metric.take_problems(objective, problems),
    )


def _newton_step(objective: Objective, point: Point, metric: Metric, residual: NDArray) -> NDArray:
    """Return Newton's step (width, K), but for a share (B,) of its equations' right-hand sides."""

    def enough(_objective: Objective, problems: Places, _left: NDArray, ratio: NDArray) -> NDArray:
        return ratio <= residual[problems]

    product = HessianProduct(objective, point.T)
    step, _, _ = conjugate_gradients(product, point.gradient, metric, enough, _MOST_PRODUCTS)
    product.forget()
    return step


def _solved_by_rounds(
    objective: Objective, point: Point, problems: Places, monitor: Monitor
) -> Point:
    """Return the point with some of the problems at their optimum, by rounds of the outer loop."""
    if not problems.size:
        return point
    subset, start = objective.take_problems(problems), point.take_problems(objective, problems)
    descend = choose_solver(subset).descend
    minimum = run_rounds(subset, start, first_metric(subset, start.T), monitor, descend)
    return point.with_problems(objective, problems, minimum.point)


def in_float32(objective: Objective) -> Objective:
    """Return the objective with products in single precision, which take half the time."""
    rows = objective.rows
    return replace(objective, rows=rows.in_dtype(np.float32)) if rows.float32_serves else objective
