"""Leave-one-out from one fit: each row's scores by the fit without it.

The optimum without row i is about one Newton step from that with it, and on the row's own scores
that step acts through q x q matrices alone (q scores a problem): no other fit is made. Source: Rad
and Maleki (2020), "A scalable estimate of the out-of-sample prediction error via approximate
leave-one-out cross-validation", JRSS B 82, 965-996. Under weak penalties the step is too long or
too short for the few rows that the fit hangs on; those can be refitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.base import slices
from softreg._rows.blocks import Block
from softreg._rows.memory import MemoryRows
from softreg._selection.refits import refit_problems
from softreg.solvers.linalg.factors import cholesky, solved
from softreg.solvers.linalg.metrics import Metric

# Relative to the Hessian's diagonal: above the rounding of its sums and of its factor, so that no
# leverage exceeds one where curvature is all rounding; far below any curvature that counts.
_LEAST_CURVATURE = 1e-12
# A row that alone decides on a direction has a leverage of one there, and no fit without it; from
# half the digits of one on it counts as such a row, which moves far, yet not to infinity.
_MOST_LEVERAGE = 1 - np.sqrt(np.finfo(float).eps)
# 2 MB of doubles, which stay near a core; from 2^14 to 2^20 all are as fast (measured).
_VALUES_AT_ONCE = 2**18
# Share of the mean left-out loss that its error may be, as estimated; the error found was up to a
# third of it (eight data sets with C from 0.01 to 10,000, measured).
_TOLERATED = 0.01
# What refits leave of F, relative. On that a row's scores hang least where it alone had a say: at
# the fits' own 1e-9 outliers stayed where they were (measured on dry_bean).
_LEFT_OVER = 1e-12
# Rows are refitted together as long as their fits have no more scores than this.
_SCORES_TOGETHER = 2**20


@dataclass(frozen=True, eq=False)
class LeaveOneOutScores:
    """What the fits without each row say about it.

    Attributes
    ----------
    scores : ndarray (n, K), z_i of the fit without row i, in the fit's gauge
    leverage : ndarray (n, B), trace(s_i h_i A_i) of each problem (see `leave_one_out`): how much of
        the fit hangs on the row, from 0 (a row that weighs nothing) to below the problem's number
        of free scores; over the rows it adds up to the effective degrees of freedom
    """

    scores: NDArray[np.float64]
    leverage: NDArray[np.float64]


def leave_one_out(objective: Objective, T: NDArray) -> LeaveOneOutScores:
    """Return the scores of each row by the fit without it, given the fit to all: the optimum T.

    With weight s_i, residual g_i = p_i - y_i and curvature h_i = diag(p_i) - p_i p_i' in the scores
    of a problem, and its Hessian H = sum_i s_i h_i (x) x_i x_i' + penalty::

        z~_i = z_i + A_i (I - s_i h_i A_i)^-1 s_i g_i,    A_i = (I (x) x_i)' H^-1 (I (x) x_i)

    This is the Newton step from T on the objective without row i. All rows' steps take as long as a
    few Hessians; ValueError if there is no room for these.
    """
    _check_room(objective)
    objective = objective.in_double()
    link, (_, K) = objective.link, objective.shape
    U, inverses = objective.rows.block_coefficients(T), _inverses(objective, T)
    B, q, width, *_ = inverses.shape

    def kernel(block: Block) -> NDArray:
        Z, X = block.scores(U), block.features()
        P = link.probabilities_inplace(Z.copy())
        R = P.copy()
        block.Y.subtract_targets_inplace(R)
        R = block.weighted(R)
        s = np.broadcast_to(block.weights(), (B, len(X)))
        leverage = np.empty(s.shape)
        for cut in slices(len(X), -(-len(X) * max(width, K) * q // _VALUES_AT_ONCE)):
            A = _spread(X[cut], inverses)
            M = s[:, cut, None, None] * _curved(link, P[:, cut], A)
            Z[:, cut] += _moves(A, M, R[:, cut])
            leverage[:, cut] = np.einsum("bmkk->bm", M)
        return np.concatenate([Z, leverage]).T

    # Rows in memory alone have a Hessian that is worth making.
    found = cast(MemoryRows, objective.rows).map_rows(kernel)
    return LeaveOneOutScores(found[:, :K], np.maximum(found[:, K:], 0))  # rounding has a sign


def refined(
    objective: Objective, T: NDArray, metric: Metric, left: LeaveOneOutScores
) -> LeaveOneOutScores:
    """Return what was left out, with rows refitted until the mean loss is accurate to a percent.

    `metric` is one of the fit to all rows. By how much a row's loss moves is wrong by about the
    move of its scores, as a share, or by all of it: the worst rows are refitted. Those that alone
    have their class, or answer to a label, stay as they are: without them there is no optimum.
    """
    objective = objective.in_double()
    done = np.zeros(left.leverage.shape, dtype=bool)
    while True:
        loss, error = _errors(objective, T, left)
        worst = _worst(np.where(done, 0, error), _TOLERATED * loss.sum(axis=0))
        if not worst.any():
            return left
        left, done = _with_refits(objective, T, metric, left, worst), done | worst


def _with_refits(
    objective: Objective,
    T: NDArray,
    metric: Metric,
    left: LeaveOneOutScores,
    which: NDArray[np.bool_],
) -> LeaveOneOutScores:
    """Return what was left out, with the problems of some rows refitted, `which` (n, B)."""
    scores = left.scores.copy()
    for b in np.flatnonzero(which.any(axis=0)):
        one = np.array([b])
        part, own = objective.take_problems(one), objective.problems.scores(one)
        fit = part, objective.problems.columns(T, one), metric.take_problems(objective, one)
        for rows in _groups(part, np.flatnonzero(which[:, b])):
            scores[np.ix_(rows, own)] = _refitted(*fit, rows, scores[np.ix_(rows, own)])
    return LeaveOneOutScores(scores, left.leverage)


def _errors(objective: Objective, T: NDArray, left: LeaveOneOutScores) -> tuple[NDArray, NDArray]:
    """Return each row's weighted loss, left out, and how wrong it may be, (n, B) both."""
    link, U, B = objective.link, objective.rows.block_coefficients(T), objective.problems.count

    def kernel(block: Block) -> NDArray:
        Z = block.scores(U)
        there = left.scores[block.start : block.start + Z.shape[1]].T.copy()
        move = np.abs(there - Z).reshape(B, -1, Z.shape[1]).max(axis=1)
        new, old = (link.loss_and_residual_inplace(A, block.Y) for A in (there, Z))
        error = np.abs(new - old) * np.minimum(1, move)
        return np.concatenate([block.weighted(new), block.weighted(error)]).T

    found = cast(MemoryRows, objective.rows).map_rows(kernel)
    return found[:, :B], found[:, B:]


def _worst(error: NDArray, tolerated: NDArray) -> NDArray[np.bool_]:
    """Return which errors (n, B) are not among the least, which together are tolerated, (B,)."""
    order = np.argsort(error, axis=0)
    sums = np.cumsum(np.take_along_axis(error, order, 0), axis=0)
    worst = np.empty(error.shape, dtype=bool)
    np.put_along_axis(worst, order, sums > tolerated, 0)
    return worst


def _groups(objective: Objective, rows: NDArray) -> list[NDArray]:
    """Return some rows in groups to be refitted together."""
    scores = len(rows) * objective.rows.n * objective.shape[1]
    return np.array_split(rows, min(len(rows), -(-scores // _SCORES_TOGETHER)))


def _refitted(
    objective: Objective, T: NDArray, metric: Metric, rows: NDArray, scores: NDArray
) -> NDArray:
    """Return the scores (m, q) of some rows, by refits of one problem, or as they were.

    Refits start from the optimum for all rows: that moved as rows' scores are saves little
    (measured).
    """
    held, count = cast(MemoryRows, objective.rows), len(rows)
    kept = np.arange(held.n) != rows[:, None]
    fits = objective.repeated(held.repeated(kept), count)
    there = np.flatnonzero(~fits.problems.any(fits.unseen_scores))
    if not len(there):
        return scores
    part, start, own = (
        fits.take_problems(there),
        np.tile(T, len(there)),
        metric.repeated(len(there)),
    )
    found = refit_problems(part, part, start, own, _LEFT_OVER)
    found = found.reshape(len(T), len(there), -1)

    def kernel(block: Block) -> NDArray:
        own = found[:, block.start : block.start + block.X.shape[0]]
        Z = np.einsum("mj,jmk->mk", block.features(), own)
        return Z if block.offset is None else Z + block.offset

    new = scores.copy()
    new[there] = held.take_rows(rows[there]).replaced(single_pass=True).map_rows(kernel)
    return new


def _check_room(objective: Objective) -> None:
    """ValueError if the Hessians take more room than rows in memory grant."""
    (width, K), B = objective.shape, objective.problems.count
    order = width * K // B
    if B * order**2 > objective.rows.value_budget:
        raise ValueError(
            f'Leave-one-out, cv="loo", needs the Hessian of the fit, of {width} coefficients for '
            f"each of {K} scores: {B * order**2:.3g} numbers, and at most "
            f"{objective.rows.value_budget:.3g} are held. Choose folds instead, such as cv=10."
        )


def _inverses(objective: Objective, T: NDArray) -> NDArray:
    """Return H^-1 of each problem, (B, q, width, q, width)."""
    width, K = objective.shape
    inverses = objective.hessian(T) * objective.problem_weight[:, None, None]
    B, p, _ = inverses.shape
    for H in inverses:
        H[np.diag_indices(p)] *= 1 + _LEAST_CURVATURE
        root = solved(cholesky(H), np.eye(p))
        np.matmul(root.T, root, out=H)
    return inverses.reshape(B, K // B, width, K // B, width)


def _spread(X: NDArray, inverses: NDArray) -> NDArray:
    """Return A of rows X (m, width), (B, m, q, q): A[k, l] = x' (H^-1)[k, l] x."""
    B, q, width, *_ = inverses.shape
    A = np.empty((B, len(X), q, q))
    for b, k in np.ndindex(B, q):
        product = X @ inverses[b, k, :, k:].reshape(width, -1)
        own = np.einsum("mlj,mj->ml", product.reshape(-1, q - k, width), X)
        A[b, :, k, k:] = A[b, :, k:, k] = own
    return A


def _curved(link: Link, P: NDArray, A: NDArray) -> NDArray:
    """Return h A, (B, m, q, q), of A in that shape and probabilities P (K, m)."""
    columns = np.ascontiguousarray(A.transpose(3, 0, 2, 1))
    own = [link.curvature_product(P, column.reshape(P.shape)) for column in columns]
    return np.reshape(own, columns.shape).transpose(1, 3, 2, 0)


def _moves(A: NDArray, M: NDArray, R: NDArray) -> NDArray:
    """Return A (I - M)^-1 R, (K, m), of weighted residuals R (K, m)."""
    B, m, q, _ = A.shape
    residuals = R.reshape(B, q, m).swapaxes(1, 2)[..., None]
    moves = A @ np.linalg.solve(np.eye(q) - _MOST_LEVERAGE * M, residuals)
    return moves[..., 0].swapaxes(1, 2).reshape(R.shape)
