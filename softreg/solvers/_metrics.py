"""Metrics: cheap stand-ins for the Hessian, in whose coordinates a step is well scaled.

A metric M = A' A offers the whitened variables v = A T: `whiten` takes gradients to them and
`unwhiten` takes them back to T. Then ||whiten(G)||^2 / 2 estimates F - F*, free of units, and
``unwhiten(whiten(G))`` is the preconditioned gradient M^-1 G.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._objective import Objective

# One Cholesky factor of this order is 128 MB and half a second.
_LARGEST_ORDER = 4000
# A factor is worth at most this many passes over the data.
_DEAREST_PASSES = 60
# Hessians that cost more passes than this are estimated from a sample of the rows ...
_DEAREST_EXACT = 12
# ... of this many rows per parameter: the factor is then within a third of the exact one, and
# conjugate gradients gain a digit in two iterations.
_ROWS_PER_PARAMETER = 10


class Metric(Protocol):
    """A positive definite stand-in for the Hessian."""

    accurate: bool
    """Whether it is the Hessian itself, as it was somewhere."""

    def whiten(self, G: NDArray) -> NDArray:
        """Return the gradient (width, K) in whitened variables, flat."""

    def unwhiten(self, v: NDArray) -> NDArray:
        """Return the step (width, K) of whitened variables."""

    def renewed(self, objective: Objective, T: NDArray) -> Metric:
        """Return the metric that describes the Hessian at T best for what it costs."""


@dataclass(frozen=True, eq=False)
class Diagonal:
    """The Hessian's diagonal: for coefficients too many for any factor."""

    root: NDArray
    accurate = False

    @classmethod
    def at(cls, objective: Objective, T: NDArray) -> Diagonal:
        """Return the metric at T: one pass."""
        return cls(np.sqrt(_positive(objective.hessian_diagonal(T))))

    def whiten(self, G: NDArray) -> NDArray:
        return (G / self.root).ravel()

    def unwhiten(self, v: NDArray) -> NDArray:
        return v.reshape(self.root.shape) / self.root

    def renewed(self, objective: Objective, T: NDArray) -> Metric:
        return Diagonal.at(objective, T)


@dataclass(frozen=True, eq=False)
class Gram:
    """mean_k p_k (1 - p_k) X'X / S + penalty: one small factor that serves all classes."""

    factor: NDArray
    accurate = False

    @classmethod
    def of(cls, objective: Objective) -> Gram:
        """Return the metric at the null model: one product of the columns with themselves."""
        p = objective.rows.mean_target
        curvature = max(float(np.mean(p * (1 - p))), np.finfo(float).eps)
        own = objective.penalty.l2 / objective.total_weight
        return cls(_cholesky(curvature * objective.gram + np.diag(own)))

    def whiten(self, G: NDArray) -> NDArray:
        return linalg.solve_triangular(self.factor, G, lower=True, check_finite=False).ravel()

    def unwhiten(self, v: NDArray) -> NDArray:
        V = v.reshape(len(self.factor), -1)
        return linalg.solve_triangular(self.factor, V, lower=True, trans=1, check_finite=False)

    def renewed(self, objective: Objective, T: NDArray) -> Metric:
        return Hessian.at(objective, T, self) if _hessian_pays(objective) else self


@dataclass(frozen=True, eq=False)
class Hessian:
    """The Hessian at some T, from all rows or from those that matter there."""

    factors: list[NDArray]
    gram: Gram
    accurate = True

    @classmethod
    def at(cls, objective: Objective, T: NDArray, gram: Gram) -> Hessian:
        """Return the metric at T."""
        p = objective.shape[0] * objective.shape[1]
        estimate = objective
        if hessian_passes(objective, objective.rows.n) > _DEAREST_EXACT:
            estimate = _sampled(objective, T, gram, _ROWS_PER_PARAMETER * p)
        return cls([_cholesky(H) for H in estimate.hessian(T)], gram)

    def whiten(self, G: NDArray) -> NDArray:
        parts = G.T.reshape(len(self.factors), -1)
        return np.concatenate(
            [
                linalg.solve_triangular(L, g, lower=True, check_finite=False)
                for L, g in zip(self.factors, parts, strict=True)
            ]
        )

    def unwhiten(self, v: NDArray) -> NDArray:
        parts = v.reshape(len(self.factors), -1)
        steps = [
            linalg.solve_triangular(L, u, lower=True, trans=1, check_finite=False)
            for L, u in zip(self.factors, parts, strict=True)
        ]
        return np.concatenate(steps).reshape(-1, len(self.gram.factor)).T

    def renewed(self, objective: Objective, T: NDArray) -> Metric:
        return Hessian.at(objective, T, self.gram)


def first_metric(objective: Objective, T: NDArray) -> Metric:
    """Return the cheapest metric that is worth its cost."""
    return Gram.of(objective) if factor_pays(objective) else Diagonal.at(objective, T)


def factor_pays(objective: Objective) -> bool:
    """Return whether the Gram matrix is small and cheap enough to factor."""
    width = objective.shape[0]
    passes = objective.rows.n * width**2 / _pass_cost(objective)
    return width <= _LARGEST_ORDER and passes <= _DEAREST_PASSES


def hessian_passes(objective: Objective, n_rows: int) -> float:
    """Return what the Hessian of `n_rows` rows costs, in passes over the data."""
    width, K = objective.shape
    order = width * K // objective.link.uncoupled_blocks(K)
    products = order**2 * objective.link.uncoupled_blocks(K) + 2 * K * width**2
    return n_rows * products / _pass_cost(objective)


def _pass_cost(objective: Objective) -> float:
    # Multiply-adds at the speed of a large matrix product. The two thin products of a pass run at
    # half of it, and exp, sum and division of a score cost about 200 (measured).
    K = objective.shape[1]
    return K * (8.0 * objective.rows.values + 200.0 * objective.rows.n)


def _hessian_pays(objective: Objective) -> bool:
    width, K = objective.shape
    order = width * K // objective.link.uncoupled_blocks(K)
    n_rows = min(objective.rows.n, _ROWS_PER_PARAMETER * order)
    return order <= _LARGEST_ORDER and hessian_passes(objective, n_rows) <= _DEAREST_PASSES


def _sampled(objective: Objective, T: NDArray, gram: Gram, size: int) -> Objective:
    """Return the objective on about `size` rows, drawn by what they add to the Hessian at T.

    Uniform sampling misses the few rows that hold up a nearly separable fit: there it needed ten
    times as many iterations. Rows are drawn in proportion to curvature times leverage, a tenth of
    them uniformly, and weighted by the inverse of their chance.
    """
    n = objective.rows.n
    if size >= 0.7 * n:
        return objective
    root = linalg.solve_triangular(gram.factor, np.eye(len(gram.factor)), lower=True).T
    share = objective.leverages(T, root)
    share = 0.9 * share / max(share.sum(), np.finfo(float).tiny) + 0.1 / n
    chance = np.minimum(1, size * share)
    rows = np.flatnonzero(np.random.default_rng(0).random(n) < chance)
    return objective.restricted_to(rows, 1 / chance[rows])


def _positive(diagonal: NDArray) -> NDArray:
    """Return a diagonal whose zeros (constant columns) are ones."""
    return np.where(diagonal > 0, diagonal, 1.0)


def _cholesky(H: NDArray) -> NDArray:
    """Return the lower Cholesky factor of H, raised along its diagonal until it exists."""
    diagonal = _positive(np.diagonal(H).astype(float))
    raised = np.finfo(float).eps
    while True:
        A = H + np.diag(diagonal * raised + (np.diagonal(H) <= 0))
        try:
            return linalg.cholesky(A, lower=True, check_finite=False)
        except linalg.LinAlgError:
            raised *= 10
