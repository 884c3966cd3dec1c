"""CV refits: the fits that leave out a fold each, all in the same passes over the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.arrays import Coef, PerScore
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg._selection.path import MOST_NODES, NEAR, PathPoint, extrapolated
from softreg._selection.refit_steps import MOST_ITERATIONS, Refitted, refit_problems
from softreg.solvers.auto import choose_solver
from softreg.solvers.base import Monitor, Point
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.steps import relative_estimate

# Refits to this estimate of (F - F*) / F have mean scores within 2e-5 of converged ones, also where
# classes are nearly separated (digits at C = 10,000); that is far below the noise of any score.
_LEAST_TOL = 1e-9
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
    coef, intercept : ndarray (d, K) and (K,), in the user's units
    n_iter : int, its iterations
    scores : ndarray (m, K), those of the fold's m rows
    """

    coef: Coef
    intercept: PerScore
    n_iter: int
    scores: NDArray


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
        objective, is_penalised = path_point.objective, np.isfinite(path_point.C)
        refitted = self._refitted(path_point) if is_penalised else self._unpenalised(objective.link)
        return self._by_fold(objective, *refitted)

    def _refitted(self, path_point: PathPoint) -> Refitted:
        """Return all refits at a point of the path, with coefficients (width, folds * K)."""
        C, count = path_point.C, len(self.folds)
        objective, of_all = self._refits.at_strength(C), cast(Metric, path_point.metric)
        metric, T_of_all = of_all.repeated(count), np.tile(path_point.T, count)
        start = self._start(objective, C, T_of_all, metric)
        in_float32 = self._refits_in_float32.at_strength(C)
        refitted = refit_problems(objective, in_float32, start, metric, self._tol)
        trail = self._displacements[-MOST_NODES:]
        self._displacements = [*trail, (C, refitted.T - T_of_all)]
        return refitted

    def _start(self, objective: Objective, C: float, T_of_all: Coef, metric: Metric) -> Point:
        """Return where the refits are expected, given the fit to all rows, (width, folds * K).

        Where that is far from their optimum, they are displaced as at the latest C, if F is less
        there.
        """
        if not self._displacements:
            return Point.at_coefficients(objective, self._without_unseen(T_of_all))
        change = extrapolated(self._displacements, C, objective.problems)
        start = Point.at_coefficients(objective, self._without_unseen(T_of_all + change))
        far = np.flatnonzero(~(relative_estimate(objective, start, metric) <= NEAR))
        if not far.size:
            return start
        T = self._without_unseen(T_of_all + self._displacements[-1][1])
        subset = objective.take_problems(far)
        latest = Point.at_coefficients(subset, objective.problems.columns(T, far))
        less = np.flatnonzero(~(start.value[far] <= latest.value))
        return start.with_problems(objective, far[less], latest.take_problems(subset, less))

    def _unpenalised(self, link: Link) -> Refitted:
        """Return the fits without a penalty, made one by one."""
        rows, coefficients, n_iter = self._rows, [], []
        raw = Coordinates.raw(len(rows.coordinates.scale), rows.coordinates.intercept)
        for fold in self.folds:
            of_fold = rows.replaced(coordinates=raw, weight=rows.weights * fold.train)
            penalty = Ridge.none(len(raw.scale))
            objective = Objective.in_working_coordinates(link, of_fold, penalty)
            monitor = Monitor(self._tol, MOST_ITERATIONS)
            fit = choose_solver(objective).minimise(objective, objective.null(), monitor)
            coefficients.append(rows.coordinates.working(fit.coef, fit.intercept))
            n_iter.append(fit.n_iter)
        T = self._without_unseen(np.concatenate(coefficients, axis=1))
        return Refitted(T, np.array(n_iter))

    def _by_fold(self, of_all: Objective, T: Coef, n_iter: NDArray) -> list[FoldFit]:
        """Return the fit without each fold, given all of `Refitted`, and the objective of all."""
        refits = self._refits
        weight = refits.rows.totals.score_weight_of_user
        by_fold = (
            np.split(values, len(self.folds), axis=-1)
            for values in (T, n_iter, refits.unseen_scores, weight)
        )
        fits = []
        for fold, T_of_fold, iterations, unseen, weight in zip(self.folds, *by_fold, strict=True):
            rows = self._rows.take_rows(fold.test).replaced(single_pass=True)
            scores = held_out_scores(of_all.link, rows, T_of_fold, unseen, weight)
            coefficients = of_all.coefficients(T_of_fold)
            fits.append(FoldFit(*coefficients, int(iterations.max()), scores))
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

    The parameters are those of `FoldRefits`, but for `tol`, that of the fit to all rows.
    """
    tol = max(tol, _LEAST_TOL)
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


def held_out_scores(
    link: Link, rows: MemoryRows, T: Coef, unseen: NDArray[np.bool_], weight: NDArray
) -> NDArray[np.float64]:
    """Return the scores (m, K) of m rows by a fit T (width, K) that may not have seen all classes.

    `unseen` (K,) and `weight` (K,) are as in `_ScoresWithPriors`.
    """
    return rows.map_rows(_ScoresWithPriors(link, rows.block_coefficients(T), unseen, weight))


@dataclass(frozen=True, eq=False)
class _ScoresWithPriors:
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


def in_float32(objective: Objective) -> Objective:
    """Return the objective with products in single precision, which take half the time."""
    rows = objective.rows
    return replace(objective, rows=rows.in_dtype(np.float32)) if rows.float32_serves else objective
