"""The model in which sparse penalties are minimised: the loss's Hessian in some coefficients."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.base import Point
from softreg.solvers.linalg.active_sets import lasso_minimiser
from softreg.solvers.linalg.factors import cholesky, solved, twice_solved
from softreg.solvers.linalg.group_newton import MatrixForm, group_lasso_minimiser

# A model holds what is needed now and the likeliest third as many (measured in a trial: 20 to 40
# Hessians for 99 strengths), and some more where these are few.
_SIZE, _SPARE = 1.3, 20
# Raises the diagonal, relative and absolute, where directions are flat: all classes of a feature,
# collinear columns.
_RAISED, _RAISED_FLAT = 1e-11, 1e-14
# The mean probability of a class without weight that F does not notice: the gradient of its
# intercept.
_SETTLED = 1e-14
# The Python around a new model, in multiply-adds.
_OVERHEAD = 2e6
# Products with H that a dozen guesses of what is not zero take, about, and their selections of it.
_PRODUCTS = 30.0


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """The loss near coefficients T0, quadratic in those `inside`, the others staying as they are.

    Free coefficients (intercepts, factor zero) are eliminated: given a step of the others, theirs
    is the minimiser.

    Attributes
    ----------
    T0 : ndarray (width, K)
    inside : ndarray (width, K) of bool
    features, scores : ndarrays (q,), the penalised coefficients inside, group by group
    firsts : ndarray (G,), where each group begins among them
    free_features, free_scores : ndarrays (f,)
    H : ndarray (q, q), the Hessian at T0, free coefficients eliminated
    elimination : ndarray (f, q), minus what each step moves the free ones
    free_factor : ndarray (f, f), lower Cholesky factor of the free coefficients' Hessian
    cost : float, multiply-adds that it took to make
    point_key : hashable, the key under which blocks keep the probabilities at T0
    """

    T0: Coef
    inside: Mask
    features: Places
    scores: Places
    firsts: Places
    free_features: Places
    free_scores: Places
    H: NDArray
    elimination: NDArray
    free_factor: NDArray
    cost: float
    point_key: Hashable = field(default_factory=uuid4)

    @classmethod
    def at_point(cls, objective: Objective, point: Point, inside: Mask) -> QuadraticModel:
        """Return the model at a point of one problem, of the coefficients `inside`."""
        penalty, shape = objective.sparse_penalty, objective.shape
        free = penalty.free & ~_settled_scores(objective, point)
        scores, features = np.nonzero((inside | free).T)
        H = objective.coordinate_hessian(point.T, features, scores)
        # 1. Free coefficients apart, which fix the gauge, and the others group by group.
        numbers = penalty.group_numbers(shape)[features, scores]
        is_free = free[features, scores]
        p, f = np.flatnonzero(~is_free), np.flatnonzero(is_free)
        p = p[np.argsort(numbers[p], kind="stable")]
        firsts = np.flatnonzero(np.diff(numbers[p], prepend=-1))
        H_free = H[f[:, None], f]
        if f.size:
            objective.link.fix_gauge_inplace(H_free[None], len(np.unique(features[f])))
        # 2. The Schur complement.
        factor, between = cholesky(H_free) if f.size else H_free, H[f[:, None], p]
        half = solved(factor, between) if f.size else between
        reduced = H[p[:, None], p] - half.T @ half
        reduced = (reduced + reduced.T) / 2
        reduced[np.diag_indices_from(reduced)] *= 1 + _RAISED
        reduced[np.diag_indices_from(reduced)] += _RAISED_FLAT
        elimination = solved(factor, half, transposed=True) if f.size else between
        places = features[p], scores[p], firsts, features[f], scores[f]
        cost = objective.coordinate_hessian_cost(inside | free)
        cost += len(scores) ** 2 * len(f) + _OVERHEAD
        return cls(point.T, inside, *places, reduced, elimination, factor, cost)

    def step(self, objective: Objective, point: Point, accuracy: float) -> tuple[Coef, float]:
        """Return the step (width, K) from a point to the model's minimiser, and what it cost.

        Violations of the optimality conditions, relative to strengths, are `accuracy` at most.
        """
        at, free_at = (self.features, self.scores), (self.free_features, self.free_scores)
        T, gradient, free_gradient = point.T, point.gradient[at], point.gradient[free_at]
        w = T[at]
        H = self.H
        if objective.has_ridge:
            H = H.copy()
            H[np.diag_indices_from(H)] += np.broadcast_to(objective.penalty.ridge, T.shape)[at]
        b = H @ w - gradient + free_gradient @ self.elimination
        step, work = np.zeros_like(T), 0.0
        free_step = np.zeros(len(free_gradient))
        if len(w):
            new = self._minimiser(objective, H, b, w, accuracy)
            step[at], free_step = new - w, -self.elimination @ (new - w)
            work = _PRODUCTS * len(w) ** 2 + np.count_nonzero(new) ** 3
        if free_step.size:
            free_step -= twice_solved(self.free_factor, free_gradient)
            step[free_at] = free_step
        return step, work

    def _minimiser(
        self, objective: Objective, H: NDArray, b: NDArray, start: NDArray, accuracy: float
    ) -> NDArray:
        """Return the penalised coefficients that minimise the model, (q,)."""
        strengths = objective.sparse_penalty.sparse_strengths(objective.shape)
        l1, firsts = strengths[self.features, self.scores], self.firsts
        if len(firsts) == len(start):
            return lasso_minimiser(H, b, l1, start)
        return group_lasso_minimiser(MatrixForm(H), b, l1[firsts], firsts, start, accuracy)[0]


def _settled_scores(objective: Objective, point: Point) -> Mask:
    """Return which classes have no weight, nor any probability to speak of, (K,).

    Their curvature is below the rounding of the others': steps would lead anywhere.
    """
    unseen = objective.unseen_scores & objective.link.exclusive
    return unseen & (np.abs(point.gradient[-1]) <= _SETTLED) if unseen.any() else unseen


def with_likeliest(objective: Objective, gradient: Coef, needed: Mask) -> Mask:
    """Return the coefficients needed, (width, K), and the likeliest others, in whole groups."""
    size = int(_SIZE * needed.sum()) + _SPARE
    penalty = objective.sparse_penalty
    shares = penalty.shares(gradient)
    # Their gradients may be zero, where rows are saturated.
    shares[(penalty.group_sizes(needed * 1.0) > 0) & ~penalty.free] = np.inf
    if size >= shares.size:
        return shares > 0
    least = np.partition(shares.ravel(), -size)[-size]
    return (shares >= least) & (shares > 0)
