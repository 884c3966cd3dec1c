"""The group lasso's quadratic problem: w'Hw / 2 - b'w + sum_g l1_g ||w_g||, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Mask
from softreg.solvers.linalg.factors import cholesky, solved

# Violations of the optimality conditions below this share of a strength are rounding.
_ROUNDING = 1e-10
_MOST_STEPS = 200
# Steps in a row that may lower the objective by no more than rounding.
_PATIENCE = 4
# What rounding may raise the objective by, relative.
_RISE = 1e-14
# Shares of the diagonal of H by which Newton's steps are damped, from the least to the most, and
# how they grow: where coordinates outnumber the rank of H, lengths have no curvature.
_DAMPED, _MOST_DAMPED, _MORE = 1e-10, 1e3, 4.0


def group_lasso_minimiser(
    H: NDArray, b: NDArray, l1: NDArray, starts: NDArray, start: NDArray
) -> NDArray:
    """Return argmin_w w'Hw / 2 - b'w + sum_g l1_g ||w_g||, (q,), from `start` (q,).

    The coordinates of a group lie side by side, from `starts` (G,) on; `l1` is (G,), > 0. A
    gradient step chooses the groups that are not zero; on them the objective is smooth, and
    Newton's step follows (semismooth Newton: Milzarek and Ulbrich 2014, SIAM Journal on
    Optimization 24, 298-333). Where that does not lower the objective, each group in turn is
    minimised over a bound of its Hessian.
    """
    problem = _GroupProblem(H, b, l1, starts)
    w, r, damping, n_stalled, value = start, b - H @ start, 0.0, 0, np.inf
    for _ in range(_MOST_STEPS):
        before, value = value, problem.value(w, r)
        n_stalled = 0 if value < before - _RISE * abs(value) else n_stalled + 1
        if problem.violation(w, r) <= _ROUNDING or n_stalled == _PATIENCE:
            break
        new, damping = problem.newton(w, r, damping)
        if new is None:
            new = problem.sweep(w, r)
        if (new == w).all():
            break
        w, r = new, b - H @ new
    return w


@dataclass(frozen=True, eq=False)
class _GroupProblem:
    """The problem; residuals r = b - H w.

    Attributes
    ----------
    H, b, l1, starts : as in `group_lasso_minimiser`
    """

    H: NDArray
    b: NDArray
    l1: NDArray
    starts: NDArray[np.intp]

    @cached_property
    def group(self) -> NDArray[np.intp]:
        """The group of each coordinate, (q,)."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self.b)))

    @cached_property
    def steepness(self) -> NDArray:
        """A bound of the largest eigenvalue of each group's block of H, (G,)."""
        sums = np.add.reduceat(np.abs(self.H), self.starts, axis=1)
        return np.maximum.reduceat(sums[np.arange(len(self.b)), self.group], self.starts)

    def lengths(self, w: NDArray) -> NDArray:
        """Return ||w_g||, (G,)."""
        return np.sqrt(np.add.reduceat(np.square(w), self.starts))

    def value(self, w: NDArray, r: NDArray) -> float:
        """Return the objective at w, (q,), where the residual is r."""
        return float(-w @ (r + self.b) / 2 + self.l1 @ self.lengths(w))

    def violation(self, w: NDArray, r: NDArray) -> float:
        """Return the largest distance from stationarity of a group, in shares of its strength."""
        size = self.lengths(w)
        pull = np.divide(self.l1, size, out=np.zeros_like(size), where=size > 0)
        rest = self.lengths(r - pull[self.group] * w)
        return float((np.where(size > 0, rest, np.maximum(rest - self.l1, 0)) / self.l1).max())

    def newton(self, w: NDArray, r: NDArray, damping: float) -> tuple[NDArray | None, float]:
        """Return the point after Newton's step on the groups that a gradient step leaves.

        It is damped (Levenberg and Marquardt) by as much as it takes, from `damping` on. None if
        the objective does not fall; and the damping to begin the next step with.
        """
        # 1. The groups; newcomers begin where the gradient step takes them.
        moved = self.steepness[self.group] * w + r
        reach, on = self.lengths(moved), self.lengths(w) > 0
        is_active = (reach > self.l1)[self.group]
        if not is_active.any():
            return (np.zeros_like(w) if on.any() else None), 0.0
        shrink = np.maximum(1 - self.l1 / np.maximum(reach, self.l1), 0) / self.steepness
        start = np.where(on[self.group], w, shrink[self.group] * moved) * is_active
        # 2. Newton's step for them, so short that it lowers the objective.
        residual, value, first = self.b - self.H @ start, self.value(w, r), damping
        while damping <= _MOST_DAMPED:
            new = start + self._newton_step(start, residual, is_active, damping)
            turned = np.add.reduceat(new * start, self.starts) <= 0
            new[turned[self.group]] = 0  # past its zero: out
            if self.value(new, self.b - self.H @ new) <= value + _RISE * abs(value):
                is_short = damping > first or damping == 0
                return new, damping if is_short else (damping > _DAMPED) * damping / 10
            damping = max(_MORE * damping, _DAMPED)
        return None, 0.0

    def _newton_step(self, w: NDArray, r: NDArray, is_active: Mask, damping: float) -> NDArray:
        """Return Newton's step, (q,), at w for active coordinates, none of whose groups is zero."""
        size = np.where(is_active, self.lengths(w)[self.group], 1.0)
        pull, direction = self.l1[self.group] / size, w / size
        A = np.flatnonzero(is_active)
        u, c, g = direction[A], pull[A], self.group[A]
        M = self.H[A[:, None], A] - np.where(g[:, None] == g, np.outer(c * u, u), 0)
        M[np.diag_indices_from(M)] += c + damping * self.H.diagonal()[A]
        factor, step = cholesky(M), np.zeros_like(w)
        slope = r[A] - self.l1[g] * u
        step[A] = solved(factor, solved(factor, slope), transposed=True)
        return step

    def sweep(self, w: NDArray, r: NDArray) -> NDArray:
        """Return the point after each group, in turn, was minimised over a bound of its H."""
        w, r = w.copy(), r.copy()
        ends = np.append(self.starts[1:], len(w))
        for g, (a, z) in enumerate(zip(self.starts, ends, strict=True)):
            moved = w[a:z] + r[a:z] / self.steepness[g]
            length = float(np.sqrt(moved @ moved))
            least = self.l1[g] / self.steepness[g]
            new = moved * (1 - least / length) if length > least else np.zeros(z - a)
            r -= self.H[:, a:z] @ (new - w[a:z])
            w[a:z] = new
        return w
