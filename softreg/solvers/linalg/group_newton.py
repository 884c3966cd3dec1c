"""The group lasso's quadratic problem: w'Hw / 2 - b'w + sum_g l1_g ||w_g||, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Mask
from softreg.solvers.linalg.active_sets import GRADIENT_ROUNDING
from softreg.solvers.linalg.factors import refined_solution

# Violations of the optimality conditions below this share of a strength are rounding.
ROUNDING = 1e-10
_MOST_STEPS = 200
# Steps in a row that may lower the objective by no more than rounding, and what that may raise it
# by, relative.
_PATIENCE, _RISE = 4, 1e-14
# Shares of a Newton step that are tried: each costs next to nothing.
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)
# Shares of the diagonal of H by which Newton's steps are damped, one after another: where
# coordinates outnumber the rank of H, lengths have no curvature.
_DAMPED = (0.0, *np.logspace(-10, 3, 14))
# A prox step of 2^-40 moves nothing: it is given up.
_MOST_HALVINGS = 40
_TINY = np.finfo(float).tiny


class QuadraticForm(Protocol):
    """w -> w'Hw / 2 of a matrix H (q, q) >= 0."""

    @property
    def diagonal(self) -> NDArray:
        """The diagonal of H, (q,)."""

    def times(self, w: NDArray) -> NDArray:
        """Return H w, (q,)."""

    def newton_step(self, at: Manifold, slope: NDArray, damping: float, share: float) -> NDArray:
        """Return v with (H + the lengths' curvature + damping diag(H)) v = slope, (q,).

        In the active coordinates, v being zero in others; to within a share of the slope.
        """


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of coordinates that lie side by side.

    Attributes
    ----------
    firsts : ndarray (G,), where each begins
    numbers : ndarray (q,), the group of each coordinate
    """

    firsts: NDArray[np.intp]
    numbers: NDArray[np.intp]

    def inner(self, v: NDArray, w: NDArray) -> NDArray:
        """Return <v_g, w_g>, (G,)."""
        return np.add.reduceat(v * w, self.firsts)

    def lengths(self, w: NDArray) -> NDArray:
        """Return ||w_g||, (G,)."""
        return np.sqrt(self.inner(w, w))


@dataclass(frozen=True, eq=False)
class Manifold:
    """Where some groups are zero, and others not: sum_g l1_g ||w_g|| is smooth there.

    Its Hessian is pull (I - u u') in each group, u being the direction.

    Attributes
    ----------
    groups : Groups
    active : ndarray (q,) of bool, the coordinates of groups that are not zero
    direction, pull : ndarrays (q,), w_g / ||w_g|| and l1_g / ||w_g||; zero in other groups
    """

    groups: Groups
    active: Mask
    direction: NDArray
    pull: NDArray

    def curvature_times(self, v: NDArray) -> NDArray:
        """Return the Hessian of the lengths times v, (q,)."""
        along = self.groups.inner(self.direction, v)[self.groups.numbers]
        return self.pull * (v - self.direction * along)


@dataclass(frozen=True, eq=False)
class MatrixForm:
    """The form of a matrix: Newton's equations by Cholesky factors.

    Attributes
    ----------
    H : ndarray (q, q)
    """

    H: NDArray

    @property
    def diagonal(self) -> NDArray:
        return self.H.diagonal()

    def times(self, w: NDArray) -> NDArray:
        return self.H @ w

    def newton_step(self, at: Manifold, slope: NDArray, damping: float, share: float) -> NDArray:
        A, step = np.flatnonzero(at.active), np.zeros_like(slope)
        u, pull, group = at.direction[A], at.pull[A], at.groups.numbers[A]
        M = self.H[A[:, None], A]
        M -= np.where(group[:, None] == group, np.outer(pull * u, u), 0)
        M[np.diag_indices_from(M)] += pull + damping * self.diagonal[A]
        step[A] = refined_solution(M, slope[A])
        return step


def group_lasso_minimiser(
    H: QuadraticForm,
    b: NDArray,
    l1: NDArray,
    firsts: NDArray,
    start: NDArray,
    accuracy: float,
) -> tuple[NDArray, NDArray]:
    """Return w = argmin w'Hw / 2 - b'w + sum_g l1_g ||w_g||, and b - H w, (q,), from `start` (q,).

    The coordinates of a group lie side by side, from `firsts` (G,) on; `l1` is (G,), >= 0. A
    gradient step chooses the groups that are not zero; on them the objective is smooth, and
    Newton's step follows (semismooth Newton: Milzarek and Ulbrich 2014, SIAM Journal on
    Optimization 24, 298-333). Where that does not lower the objective, a short prox step does.
    Violations of the optimality conditions, relative to a strength, may be as large as `accuracy`.
    """
    numbers = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(b)))
    problem = _GroupProblem(H, b, l1, Groups(firsts, numbers), accuracy)
    at, n_stalled = problem.iterate(start), 0
    for _ in range(_MOST_STEPS):
        violation = problem.violation(at)
        if violation <= 1 or n_stalled == _PATIENCE:
            break
        new = problem.newton(at, violation) or problem.short_step(at)
        if new is None:
            break
        n_stalled = 0 if new.value < at.value - _RISE * abs(at.value) else n_stalled + 1
        at = new
    return at.w, at.r


@dataclass(frozen=True, eq=False)
class _Iterate:
    """w (q,), the residual r = b - H w, and the objective there."""

    w: NDArray
    r: NDArray
    value: float


@dataclass(frozen=True, eq=False)
class _GroupProblem:
    """The problem.

    Attributes
    ----------
    H, b, l1, accuracy : as in `group_lasso_minimiser`
    groups : Groups
    """

    H: QuadraticForm
    b: NDArray
    l1: NDArray
    groups: Groups
    accuracy: float

    @cached_property
    def allowed(self) -> NDArray:
        """The distances from stationarity that are allowed, (G,)."""
        unit = np.where(self.l1 > 0, self.l1, 1.0)
        return self.accuracy * unit + GRADIENT_ROUNDING * np.abs(self.b).max()

    @cached_property
    def steepness(self) -> NDArray:
        """A bound of the largest eigenvalue of each group's block of H, its trace, (G,)."""
        return np.add.reduceat(self.H.diagonal, self.groups.firsts)

    def iterate(self, w: NDArray, r: NDArray | None = None) -> _Iterate:
        """Return the iterate at w, where the residual is r."""
        r = self.b - self.H.times(w) if r is None else r
        return _Iterate(w, r, float(-w @ (r + self.b) / 2 + self.l1 @ self.groups.lengths(w)))

    def violation(self, at: _Iterate) -> float:
        """Return the largest distance of a group from stationarity, in shares of the allowed."""
        size = self.groups.lengths(at.w)
        pull = np.divide(self.l1, size, out=np.zeros_like(size), where=size > 0)
        rest = self.groups.lengths(at.r - pull[self.groups.numbers] * at.w)
        distance = np.where(size > 0, rest, np.maximum(rest - self.l1, 0))
        return float((distance / self.allowed).max())

    def after_prox(self, at: _Iterate, steepness: NDArray) -> NDArray:
        """Return w, (q,), after a step of 1 / steepness (G,) down the form, and the prox."""
        moved = at.w + at.r / steepness[self.groups.numbers]
        least, size = self.l1 / steepness, self.groups.lengths(moved)
        ratio = np.divide(least, size, out=np.ones_like(size), where=size > least)
        return moved * (1 - ratio)[self.groups.numbers]

    def newton(self, at: _Iterate, violation: float) -> _Iterate | None:
        """Return the iterate after Newton's step on the groups that a gradient step leaves.

        It is damped (Levenberg and Marquardt) by as much as it takes; None if the objective does
        not fall.
        """
        # 1. The groups; newcomers begin where the gradient step takes them.
        groups, moved = self.groups, self.after_prox(at, self.steepness)
        begun = np.where((groups.lengths(at.w) > 0)[groups.numbers], at.w, moved)
        begun *= (groups.lengths(moved) > 0)[groups.numbers]
        start = at if (begun == at.w).all() else self.iterate(begun)
        size = groups.lengths(begun)[groups.numbers]
        active = size > 0
        direction = np.divide(begun, size, out=np.zeros_like(begun), where=active)
        l1 = self.l1[groups.numbers]
        pull = np.divide(l1, size, out=np.zeros_like(begun), where=active)
        # 2. Newton's step for them, so short that it lowers the objective.
        manifold, slope = Manifold(groups, active, direction, pull), start.r - l1 * direction
        share = min(0.1, max(0.1 * violation * self.accuracy, 0.3 / violation))
        highest = at.value + _RISE * abs(at.value)
        for damping in _DAMPED:
            step = self.H.newton_step(manifold, slope * active, damping, share)
            best = self._lowest_along(start, step, highest)
            if best.value <= highest:
                return best
        return None

    def _lowest_along(self, start: _Iterate, step: NDArray, highest: float) -> _Iterate:
        """Return the iterate after as much of a step as lowers the objective most.

        That is all of it if the objective is not above `highest` there; and without what went past
        its zero, if it is lower so.
        """
        image = self.H.times(step)
        best = self.iterate(start.w + step, start.r - image)
        if best.value > highest:
            ends = (self.iterate(start.w + t * step, start.r - t * image) for t in _SHARES)
            best = min(ends, key=lambda end: end.value)
        turned = (self.groups.inner(best.w, start.w) <= 0) & (self.l1 > 0)
        w = np.where(turned[self.groups.numbers], 0, best.w)
        return best if (w == best.w).all() else min(best, self.iterate(w), key=lambda e: e.value)

    def short_step(self, at: _Iterate) -> _Iterate | None:
        """Return the iterate after a prox step short enough to lower the objective, if there is."""
        steepness = self.steepness
        for _ in range(_MOST_HALVINGS):
            end = self.iterate(self.after_prox(at, steepness))
            if end.value < at.value:
                return end
            steepness = 2 * steepness
        return None
