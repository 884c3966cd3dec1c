"""Leave-one-out from one fit: each row's scores by the fit without it.

The optimum without row i is about one Newton step from that with it, and on the row's own scores
that step acts through q x q matrices alone (q scores a problem): no other fit is made. Sources: Rad
and Maleki (2020), "A scalable estimate of the out-of-sample prediction error via approximate
leave-one-out cross-validation", JRSS B 82, 965-996. Under sparse penalties the step is one within
the manifold of what is not zero: Wang, Zhou, Lu, Maleki and Mirrokni (2018), "Approximate
leave-one-out for fast parameter tuning in high dimensions", ICML. Under weak penalties the step is
too long or too short for the few rows that the fit depends on most; those can be refitted, as can
those without which a coefficient becomes zero, or one that is zero does not stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Scores
from softreg._rows.base import slices
from softreg._rows.blocks import Block
from softreg._selection.manifold import Manifold, Run, Surroundings, manifolds
from softreg._selection.refit_steps import MOST_ITERATIONS, refit_problems
from softreg._selection.refits import groups_within, rows_in_memory
from softreg.solvers.base import Monitor, Point
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.proximal_newton import first_stages, optima_at

# A row that alone decides on a direction has a leverage of one there, and no fit without it; from
# half the digits of one on it counts as such a row, which moves far, yet not to infinity.
_MOST_LEVERAGE = 1 - np.sqrt(np.finfo(float).eps)
# Share of the mean left-out loss that its error may be, as estimated; the error found was up to a
# third of it (eight data sets with C from 0.01 to 10,000, measured).
_TOLERATED = 0.01
# The relative tolerance of refits. F without a row says least about the scores of a row that alone
# decided on a direction: at the fits' own 1e-9 outliers stayed where they were (measured on
# dry_bean).
_REFIT_TOL = 1e-12


@dataclass(frozen=True, eq=False)
class LeaveOneOutScores:
    """What the fits without each row say about it.

    Attributes
    ----------
    scores : ndarray (n, K), z_i of the fit without row i, in the fit's gauge
    leverage : ndarray (n, B), trace(s_i h_i A_i) of each problem (see `leave_one_out`): how much
        the fit depends on the row, from 0 (a row that weighs nothing) to below the problem's number
        of free scores; over the rows it adds up to the effective degrees of freedom
    unsettled : ndarray (n, B), how far the penalty would still move the row's scores, as a
        coefficient has passed zero by the step, or has a gradient beyond its strength; 0 under
        smooth penalties
    """

    scores: NDArray[np.float64]
    leverage: NDArray[np.float64]
    unsettled: NDArray[np.float64]


def leave_one_out(objective: Objective, T: Coef) -> LeaveOneOutScores:
    """Return the scores of each row by the fit without it, given the fit to all: the optimum T.

    With weight s_i, residual g_i = p_i - y_i and curvature h_i = diag(p_i) - p_i p_i' in the scores
    of a problem, and its Hessian H = sum_i s_i h_i (x) x_i x_i' + penalty::

        z~_i = z_i + A_i (I - s_i h_i A_i)^-1 s_i g_i,    A_i = (I (x) x_i)' H^-1 (I (x) x_i)

    This is the Newton step from T on the objective without row i. Under a sparse penalty H and x_i
    have the coefficients alone that are not zero, and the others stay zero. All rows' steps take as
    long as a few Hessians; ValueError if these do not fit.
    """
    objective = objective.in_double()
    rows, problems = rows_in_memory(objective).on_host(), objective.problems
    scores = np.empty((rows.n, problems.n_scores))
    leverage, unsettled = np.empty((2, rows.n, problems.count))
    for manifold in manifolds(objective, T):
        some, columns = manifold.problems, problems.scores(manifold.problems)
        scores[:, columns], leverage[:, some] = _newton_steps(manifold)
        unsettled[:, some] = _unsettled(manifold, scores[:, columns])
    return LeaveOneOutScores(scores, leverage, unsettled)


def _newton_steps(manifold: Manifold) -> tuple[NDArray, NDArray]:
    """Return scores (n, K) of rows by the fits without them, and leverages (n, B)."""
    objective = manifold.objective
    rows = rows_in_memory(objective).on_host()
    U, at_once = rows.block_coefficients(manifold.T), rows.threads.limits.block_values
    kernel = _NewtonStep(objective.link, U, manifold.runs, manifold.inverses, at_once)
    values, K = rows.map_rows(kernel), objective.shape[1]
    return values[:, :K], np.maximum(values[:, K:], 0)  # rounding has a sign


def _unsettled(manifold: Manifold, left_out: NDArray) -> NDArray:
    """Return how far the penalty would still move left-out scores (n, K), (n, B)."""
    objective, surroundings = manifold.objective, manifold.surroundings
    rows = rows_in_memory(objective).on_host()
    if surroundings is None:
        return np.zeros((rows.n, objective.problems.count))
    U, at_once = rows.block_coefficients(manifold.T), rows.threads.limits.block_values
    kernel = _ProxMoves(objective.link, U, left_out, surroundings, at_once)
    return rows.map_rows(kernel)[:, None]


@dataclass(frozen=True, eq=False)
class _NewtonStep:
    """Kernel: scores beside leverages, (m, K + B), of a block's m rows, each by the fit without it.

    Attributes
    ----------
    link : Link
    U : ndarray, the coefficients of the fit to all rows, as `Rows.block_coefficients` gives them
    runs, inverses : as in `Manifold`
    values_at_once : int, about as many exist at a time, so that they stay near a core
    """

    link: Link
    U: Coef
    runs: tuple[Run, ...]
    inverses: NDArray
    values_at_once: int

    def __call__(self, block: Block) -> NDArray:
        Z, X = block.scores(self.U), block.features()
        P = self.link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_targets_inplace(R)
        R = block.weighted(R)
        (B, p, _), (m, K) = self.inverses.shape, (len(X), len(Z))
        s = np.broadcast_to(block.weights(), (B, m))
        leverage = np.empty((B, m))
        for cut in slices(m, -(-m * max(p, K * K // B) // self.values_at_once)):
            with np.errstate(over="ignore", invalid="ignore"):  # of rows that weigh nothing
                A = quadratic_forms(X[cut], self.inverses, self.runs)
            A[s[:, cut] == 0] = 0
            M = s[:, cut, None, None] * curvature_times(self.link, P[:, cut], A)
            changes = A @ left_out_residuals(M, R[:, cut].reshape(B, K // B, -1))[..., None]
            Z[:, cut] += changes[..., 0].swapaxes(1, 2).reshape(len(Z), -1)
            leverage[:, cut] = np.einsum("bmkk->bm", M)
        return np.concatenate([Z, leverage]).T


@dataclass(frozen=True, eq=False)
class _ProxMoves:
    """Kernel: how far a prox step moves the scores of each row after the step without it, (m,).

    The gradient of the row that is left out is v_i (x) x_i at the end of the step, where
    v_i = s_i (g_i + h_i (z~_i - z_i)) is linear as Newton's equations are.

    Attributes
    ----------
    link : Link, of one problem
    U : ndarray, the coefficients of the fit to all rows, as `Rows.block_coefficients` gives them
    left_out : ndarray (n, K), the scores of all rows, each by the fit without it
    surroundings : Surroundings
    values_at_once : int, about as many exist at a time, so that they stay near a core
    """

    link: Link
    U: Coef
    left_out: NDArray
    surroundings: Surroundings
    values_at_once: int

    def __call__(self, block: Block) -> NDArray:
        Z, X = block.scores(self.U), block.features()
        m, width = X.shape
        change = self.left_out[block.start : block.start + m].T - Z
        P = self.link.probabilities_inplace(Z)
        V = self.link.curvature_product(P, change) + P
        block.Y.subtract_targets_inplace(V)
        V, moves = block.weighted(V).T, np.empty(m)
        with np.errstate(over="ignore", invalid="ignore"):  # of rows that weigh nothing
            for cut in slices(m, -(-m * max(1, width * len(Z)) // self.values_at_once)):
                of_T = self.surroundings.prox_moves(X[cut], V[cut])
                moves[cut] = np.abs(np.einsum("mj,mjk->mk", X[cut], of_T)).max(axis=1)
        return np.where(np.broadcast_to(block.weights(), (1, m))[0] > 0, moves, 0)


def leave_one_out_with_refits(
    objective: Objective, T: Coef, metric: Metric | None, tolerated: float = _TOLERATED
) -> LeaveOneOutScores:
    """Return what `leave_one_out` does, rows being refitted until the mean loss is right to 1 %.

    That is the share `tolerated`. `metric` is one of the fit to all rows, or None if its penalty is
    sparse. By how much a row's loss changes is wrong by about the change of its scores, as a share,
    or by all of it; where the step changes what is zero, the loss is also wrong by its slope times
    how far the penalty would still move the scores. The worst rows are refitted. Those that alone
    have their class, or answer to a label, stay as they are: without them there is no optimum.
    """
    left_out, objective = leave_one_out(objective, T), objective.in_double()
    rows, unsettled = rows_in_memory(objective).on_host(), left_out.unsettled
    U, is_refitted = rows.block_coefficients(T), np.zeros(unsettled.shape, dtype=bool)
    while True:
        values = rows.map_rows(_LossAndError(objective.link, U, left_out.scores, unsettled))
        loss, error = np.hsplit(values, 2)
        worst = _worst(np.where(is_refitted, 0, error), tolerated * loss.sum(axis=0))
        if not worst.any():
            return left_out
        _refit_inplace(objective, T, metric, left_out.scores, worst)
        is_refitted = is_refitted | worst


def _refit_inplace(
    objective: Objective,
    T: Coef,
    metric: Metric | None,
    scores: NDArray,
    is_refitted: NDArray[np.bool_],
) -> None:
    """Replace left-out scores (n, K) of the rows and problems in `is_refitted` (n, B) by refits."""
    for problem in np.flatnonzero(is_refitted.any(axis=0)):
        one = np.array([problem])
        part, columns = objective.take_problems(one), objective.problems.scores(one)
        part_metric = None if metric is None else metric.take_problems(objective, one)
        fit = part, objective.problems.columns(T, one), part_metric
        rows_to_refit = np.flatnonzero(is_refitted[:, problem])
        for rows in groups_within(part, rows_to_refit, part.rows.threads.limits.refitted_scores):
            entries = np.ix_(rows, columns)
            scores[entries] = _scores_by_refits(*fit, rows, scores[entries])


@dataclass(frozen=True, eq=False)
class _LossAndError:
    """Kernel: weighted left-out losses beside their errors, (m, B + B), of a block's m rows.

    Attributes
    ----------
    link : Link
    U : ndarray, the coefficients of the fit to all rows, as `Rows.block_coefficients` gives them
    left_out : ndarray (n, K), the scores of all rows, each by the fit without it
    unsettled : ndarray (n, B), as in `LeaveOneOutScores`
    """

    link: Link
    U: Coef
    left_out: NDArray
    unsettled: NDArray

    def __call__(self, block: Block) -> NDArray:
        Z = block.scores(self.U)
        K, m = Z.shape
        rows, by_problem = slice(block.start, block.start + m), (self.link.problems(K), -1, m)
        R = self.left_out[rows].T.copy()
        change = np.abs(R - Z).reshape(by_problem).max(axis=1)
        loss = self.link.loss_and_residual_inplace(R, block.Y)
        loss_of_all = self.link.loss_and_residual_inplace(Z, block.Y)
        error = np.abs(loss - loss_of_all) * np.minimum(1, change)
        error += np.abs(R).reshape(by_problem).max(axis=1) * self.unsettled[rows].T
        return np.concatenate([block.weighted(loss), block.weighted(error)]).T


def _worst(error: NDArray, tolerated: NDArray) -> NDArray[np.bool_]:
    """Return which errors (n, B) are not among the least, which together are tolerated, (B,)."""
    worst = np.empty(error.shape, dtype=bool)
    for problem, (of_problem, most) in enumerate(zip(error.T, tolerated, strict=True)):
        order = np.argsort(of_problem)
        worst[order, problem] = np.cumsum(of_problem[order]) > most
    return worst


def _scores_by_refits(
    objective: Objective, T: Coef, metric: Metric | None, rows: NDArray, scores: NDArray
) -> NDArray:
    """Return the scores (m, q) of rows (m,), each by a refit of one problem without it.

    `scores` are returned of rows without which there is no optimum. Refits start from the optimum
    T (width, q) for all rows: that moved as rows' scores are saves little (measured).
    """
    all_rows = rows_in_memory(objective).on_host()
    counts = np.arange(all_rows.n) != rows[:, None]
    refits = objective.repeated(all_rows.repeated(counts), len(rows))
    solvable = np.flatnonzero(~refits.problems.any(refits.unseen_scores))
    if not len(solvable):
        return scores
    refits, count = refits.take_problems(solvable), len(solvable)
    if metric is None:
        found = np.concatenate([_sparse_refit(refits, b, T) for b in range(count)], axis=1)
    else:
        start = Point.at_coefficients(refits, np.tile(T, count))
        found = refit_problems(refits, refits, start, metric.repeated(count), _REFIT_TOL).T
    kernel = _ScoresByOwnFit(found.reshape(len(T), count, -1))
    scores = scores.copy()
    left_out_rows = all_rows.take_rows(rows[solvable]).replaced(single_pass=True)
    scores[solvable] = left_out_rows.map_rows(kernel)
    return scores


def _sparse_refit(refits: Objective, number: int, T: Coef) -> Coef:
    """Return the optimum (width, q) of one of the refits' problems, from T, that of all rows."""
    objective = refits.take_problems(np.array([number]))
    start, monitor = Point.at_coefficients(objective, T), Monitor(_REFIT_TOL, MOST_ITERATIONS)
    (end,), _ = optima_at(objective, first_stages(objective, start), 1.0, start, monitor)
    return end.point.T


@dataclass(frozen=True, eq=False)
class _ScoresByOwnFit:
    """Kernel: the scores (m, q) of a block's m rows, each by coefficients of its own.

    Attributes
    ----------
    T : ndarray (width, n, q), in working coordinates, of all n rows
    """

    T: Coef

    def __call__(self, block: Block) -> NDArray:
        X = block.features()
        T = self.T[:, block.start : block.start + len(X)]
        Z = np.einsum("mj,jmk->mk", X, T)
        return Z if block.offset is None else Z + block.offset


def quadratic_forms(X: NDArray, inverses: NDArray, runs: tuple[Run, ...]) -> NDArray:
    """Return A of rows X (m, width), (B, m, q, q): A[k, l] = x' (H^-1)[k, l] x.

    `inverses` (B, p, p) have the features of `runs`, score after score.
    """
    columns, q = [X[:, run.features] for run in runs], runs[-1].end
    counts = [x.shape[1] for x, run in zip(columns, runs, strict=True) for _ in range(*run[1:])]
    starts = np.append(0, np.cumsum(counts)).tolist()
    A = np.empty((len(inverses), len(X), q, q))
    for b, (x, run) in product(range(len(A)), zip(columns, runs, strict=True)):
        for k in range(run.first, run.end):
            forms = x @ inverses[b, starts[k] : starts[k + 1], starts[k] :]
            for other, (_, first, end) in zip(columns, runs, strict=True):
                if k < end:
                    some = slice(max(k, first), end)
                    at = slice(starts[some.start] - starts[k], starts[end] - starts[k])
                    factors = forms[:, at].reshape(len(X), end - some.start, other.shape[1])
                    A[b, :, k, some] = A[b, :, some, k] = np.einsum("mlj,mj->ml", factors, other)
    return A


def curvature_times(link: Link, P: Scores, A: NDArray) -> NDArray:
    """Return h A, (B, m, q, q), of A in that shape and probabilities P (K, m)."""
    columns = np.ascontiguousarray(A.transpose(3, 0, 2, 1))
    products = [link.curvature_product(P, column.reshape(P.shape)) for column in columns]
    return np.reshape(products, columns.shape).transpose(1, 3, 2, 0)


def left_out_residuals(M: NDArray, R: NDArray) -> NDArray[np.float64]:
    """Return (I - M)^-1 r, (B, m, q), of M (B, m, q, q) and weighted residuals R (B, q, m).

    These are about the residuals of rows at their scores by the fits without them.
    """
    residuals = R.swapaxes(1, 2)[..., None]
    return np.linalg.solve(np.eye(R.shape[1]) - _MOST_LEVERAGE * M, residuals)[..., 0]
