"""Leave-one-out from one fit: each row's scores by the fit without it.

The optimum without row i is about one Newton step from that with it, and on the row's own scores
that step acts through q x q matrices alone (q scores a problem): no other fit is made. Source: Rad
and Maleki (2020), "A scalable estimate of the out-of-sample prediction error via approximate
leave-one-out cross-validation", JRSS B 82, 965-996. Under weak penalties the step is too long or
too short for the few rows that the fit depends on most; those can be refitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Scores
from softreg._rows.base import slices
from softreg._rows.blocks import Block
from softreg._selection.refit_steps import refit_problems
from softreg._selection.refits import groups_within, rows_in_memory
from softreg.solvers.base import Point
from softreg.solvers.linalg.factors import cholesky, solved
from softreg.solvers.linalg.metrics import Metric

# Relative to the Hessian's diagonal: above the rounding of its sums and of its factor, so that no
# leverage exceeds one where curvature is all rounding; far below any curvature that counts.
_LEAST_CURVATURE = 1e-12
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
    """

    scores: NDArray[np.float64]
    leverage: NDArray[np.float64]


def leave_one_out(objective: Objective, T: Coef) -> LeaveOneOutScores:
    """Return the scores of each row by the fit without it, given the fit to all: the optimum T.

    With weight s_i, residual g_i = p_i - y_i and curvature h_i = diag(p_i) - p_i p_i' in the scores
    of a problem, and its Hessian H = sum_i s_i h_i (x) x_i x_i' + penalty::

        z~_i = z_i + A_i (I - s_i h_i A_i)^-1 s_i g_i,    A_i = (I (x) x_i)' H^-1 (I (x) x_i)

    This is the Newton step from T on the objective without row i. All rows' steps take as long as a
    few Hessians; ValueError if these do not fit, or if the penalty has none.
    """
    _check_hessian(objective)
    objective = objective.in_double()
    rows, K = rows_in_memory(objective), objective.shape[1]
    U, at_once = rows.block_coefficients(T), rows.threads.limits.block_values
    kernel = _NewtonStep(objective.link, U, _inverses(objective, T), at_once)
    values = rows.map_rows(kernel)
    scores, leverage = values[:, :K], values[:, K:]
    np.maximum(leverage, 0, out=leverage)  # rounding has a sign
    return LeaveOneOutScores(scores, leverage)


@dataclass(frozen=True, eq=False)
class _NewtonStep:
    """Kernel: scores beside leverages, (m, K + B), of a block's m rows, each by the fit without it.

    Attributes
    ----------
    link : Link
    U : ndarray, the coefficients of the fit to all rows, as `Rows.block_coefficients` gives them
    inverses : ndarray (B, q, width, q, width), H^-1 of each problem; K = B q
    values_at_once : int, about as many exist at a time, so that they stay near a core
    """

    link: Link
    U: Coef
    inverses: NDArray
    values_at_once: int

    def __call__(self, block: Block) -> NDArray:
        Z, X = block.scores(self.U), block.features()
        P = self.link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_targets_inplace(R)
        R = block.weighted(R)
        B, q, width, *_ = self.inverses.shape
        m, K = len(X), len(Z)
        s = np.broadcast_to(block.weights(), (B, m))
        leverage = np.empty((B, m))
        for cut in slices(m, -(-m * max(width, K) * q // self.values_at_once)):
            with np.errstate(over="ignore", invalid="ignore"):  # of rows that weigh nothing
                A = _quadratic_forms(X[cut], self.inverses)
            A[s[:, cut] == 0] = 0
            M = s[:, cut, None, None] * _curvature_times(self.link, P[:, cut], A)
            Z[:, cut] += _score_changes(A, M, R[:, cut])
            leverage[:, cut] = np.einsum("bmkk->bm", M)
        return np.concatenate([Z, leverage]).T


def leave_one_out_with_refits(
    objective: Objective, T: Coef, metric: Metric, tolerated: float = _TOLERATED
) -> LeaveOneOutScores:
    """Return what `leave_one_out` does, rows being refitted until the mean loss is right to 1 %.

    That is the share `tolerated`. `metric` is one of the fit to all rows. By how much a row's loss
    changes is wrong by about the change of its scores, as a share, or by all of it: the worst rows
    are refitted. Those that alone have their class, or answer to a label, stay as they are: without
    them there is no optimum.
    """
    left_out, objective = leave_one_out(objective, T), objective.in_double()
    rows = rows_in_memory(objective)
    U, is_refitted = rows.block_coefficients(T), np.zeros(left_out.leverage.shape, dtype=bool)
    while True:
        values = rows.map_rows(_LossAndError(objective.link, U, left_out.scores))
        loss, error = np.hsplit(values, 2)
        worst = _worst(np.where(is_refitted, 0, error), tolerated * loss.sum(axis=0))
        if not worst.any():
            return left_out
        _refit_inplace(objective, T, metric, left_out.scores, worst)
        is_refitted = is_refitted | worst


def _refit_inplace(
    objective: Objective,
    T: Coef,
    metric: Metric,
    scores: NDArray,
    is_refitted: NDArray[np.bool_],
) -> None:
    """Replace left-out scores (n, K) of the rows and problems in `is_refitted` (n, B) by refits."""
    for problem in np.flatnonzero(is_refitted.any(axis=0)):
        one = np.array([problem])
        part, columns = objective.take_problems(one), objective.problems.scores(one)
        fit = part, objective.problems.columns(T, one), metric.take_problems(objective, one)
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
    """

    link: Link
    U: Coef
    left_out: NDArray

    def __call__(self, block: Block) -> NDArray:
        Z = block.scores(self.U)
        K, m = Z.shape
        Z_left_out = self.left_out[block.start : block.start + m].T.copy()
        change = np.abs(Z_left_out - Z).reshape(self.link.problems(K), -1, m).max(axis=1)
        loss = self.link.loss_and_residual_inplace(Z_left_out, block.Y)
        loss_of_all = self.link.loss_and_residual_inplace(Z, block.Y)
        error = np.abs(loss - loss_of_all) * np.minimum(1, change)
        return np.concatenate([block.weighted(loss), block.weighted(error)]).T


def _worst(error: NDArray, tolerated: NDArray) -> NDArray[np.bool_]:
    """Return which errors (n, B) are not among the least, which together are tolerated, (B,)."""
    worst = np.empty(error.shape, dtype=bool)
    for problem, (of_problem, most) in enumerate(zip(error.T, tolerated, strict=True)):
        order = np.argsort(of_problem)
        worst[order, problem] = np.cumsum(of_problem[order]) > most
    return worst


def _scores_by_refits(
    objective: Objective, T: Coef, metric: Metric, rows: NDArray, scores: NDArray
) -> NDArray:
    """Return the scores (m, q) of rows (m,), each by a refit of one problem without it.

    `scores` are returned of rows without which there is no optimum. Refits start from the optimum
    T (width, q) for all rows: that moved as rows' scores are saves little (measured).
    """
    all_rows = rows_in_memory(objective)
    counts = np.arange(all_rows.n) != rows[:, None]
    refits = objective.repeated(all_rows.repeated(counts), len(rows))
    solvable = np.flatnonzero(~refits.problems.any(refits.unseen_scores))
    if not len(solvable):
        return scores
    refits, count = refits.take_problems(solvable), len(solvable)
    start = Point.at_coefficients(refits, np.tile(T, count))
    found = refit_problems(refits, refits, start, metric.repeated(count), _REFIT_TOL)
    kernel = _ScoresByOwnFit(found.T.reshape(len(T), count, -1))
    scores = scores.copy()
    left_out_rows = all_rows.take_rows(rows[solvable]).replaced(single_pass=True)
    scores[solvable] = left_out_rows.map_rows(kernel)
    return scores


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


def _check_hessian(objective: Objective) -> None:
    """Raise a ValueError if F has no Hessian, or if the Hessians take more than rows may hold."""
    if not objective.penalty.is_smooth:
        raise ValueError(
            'Leave-one-out, cv="loo", needs a penalty that is smooth: the fit without a row is a '
            "Newton step away only where F has a Hessian. Choose folds instead, such as cv=10."
        )
    (width, K), B = objective.shape, objective.problems.count
    order = width * K // B
    if B * order**2 > objective.rows.value_budget:
        raise ValueError(
            f'Leave-one-out, cv="loo", needs the Hessian of the fit, of {width} coefficients for '
            f"each of {K} scores: {B * order**2:.3g} numbers, and at most "
            f"{objective.rows.value_budget:.3g} are held. Choose folds instead, such as cv=10."
        )


def _inverses(objective: Objective, T: Coef) -> NDArray:
    """Return H^-1 of each problem, (B, q, width, q, width); H is the sum over rows, not a mean."""
    width, K = objective.shape
    inverses = objective.hessian(T) * objective.problem_weight[:, None, None]
    B, p, _ = inverses.shape
    for H in inverses:
        H[np.diag_indices(p)] *= 1 + _LEAST_CURVATURE
        root = solved(cholesky(H), np.eye(p))
        np.matmul(root.T, root, out=H)
    return inverses.reshape(B, K // B, width, K // B, width)


def _quadratic_forms(X: NDArray, inverses: NDArray) -> NDArray:
    """Return A of rows X (m, width), (B, m, q, q): A[k, l] = x' (H^-1)[k, l] x."""
    B, q, width, *_ = inverses.shape
    A = np.empty((B, len(X), q, q))
    for b, k in np.ndindex(B, q):
        product = X @ inverses[b, k, :, k:].reshape(width, -1)
        forms = np.einsum("mlj,mj->ml", product.reshape(-1, q - k, width), X)
        A[b, :, k, k:] = A[b, :, k:, k] = forms
    return A


def _curvature_times(link: Link, P: Scores, A: NDArray) -> NDArray:
    """Return h A, (B, m, q, q), of A in that shape and probabilities P (K, m)."""
    columns = np.ascontiguousarray(A.transpose(3, 0, 2, 1))
    products = [link.curvature_product(P, column.reshape(P.shape)) for column in columns]
    return np.reshape(products, columns.shape).transpose(1, 3, 2, 0)


def _score_changes(A: NDArray, M: NDArray, R: Scores) -> NDArray:
    """Return A (I - M)^-1 R, (K, m), of A and M (B, m, q, q) and weighted residuals R (K, m)."""
    B, m, q, _ = A.shape
    residuals = R.reshape(B, q, m).swapaxes(1, 2)[..., None]
    changes = A @ np.linalg.solve(np.eye(q) - _MOST_LEVERAGE * M, residuals)
    return changes[..., 0].swapaxes(1, 2).reshape(R.shape)
