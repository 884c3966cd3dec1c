"""Metrics: positive definite matrices in place of the Hessian, cheaper, to precondition with.

In the whitened variables v = L' T of a metric M = L L', F has about the same curvature in every
direction: ``whiten(G)`` = L^-1 G is the gradient in v, ``unwhiten(v)`` = L'^-1 v the step in T.
So ||whiten(G)||^2 / 2 estimates F - F*, whatever the units, and ``unwhiten(whiten(G))`` is the
preconditioned gradient M^-1 G.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerRow, PerScore, Places
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.factors import JointEigenbasis, cholesky, positive, solved, twice_solved

# Share of the rows that are drawn with equal chances, so that no row's weight grows more than
# tenfold beside what it were if all had equal chances.
_UNIFORM = 0.1
# Roots of a diagonal beyond this, or its inverse, would overflow in products of single precision.
_ORDINARY_ROOT = 2.0**32


class Metric(Protocol):
    """A positive definite matrix M that is near the Hessian.

    Attributes
    ----------
    is_hessian : bool, whether it is the Hessian at some T, or its blocks, of all rows or of a
        sample
    """

    is_hessian: bool

    def whiten(self, G: Coef) -> NDArray:
        """Return the gradient G (width, K) in whitened variables, (width K,)."""

    def unwhiten(self, v: NDArray) -> Coef:
        """Return the step (width, K) of whitened variables v (width K,)."""

    def preconditioned(self, G: Coef) -> Coef:
        """Return M^-1 G, the gradient G (width, K) made a step."""
        return self.unwhiten(self.whiten(G))

    def refreshed(self, objective: Objective, T: Coef) -> Metric:
        """Return the Hessian at T as a metric, or the nearest metric that is cheap enough."""

    def refresh_passes(self, objective: Objective) -> float:
        """Return the cost of `refreshed`, in passes over the data."""

    def take_problems(self, objective: Objective, problems: Places) -> Metric:
        """Return the metric of some of the objective's problems."""

    def repeated(self, count: int) -> Metric:
        """Return the metric of `count` fits at once, this one for each."""

    def with_ridge_change(self, objective: Objective, change: Coef) -> Metric:
        """Return the metric for an objective whose ridge is larger by `change` (width, 1 or K)."""


@dataclass(frozen=True, eq=False)
class DiagonalMetric(Metric):
    """The Hessian's diagonal, where coefficients are too many for any factor.

    Attributes
    ----------
    root : ndarray (width, K), the roots of the diagonal
    """

    root: Coef
    is_hessian = False

    @classmethod
    def at_coefficients(cls, objective: Objective, T: Coef) -> DiagonalMetric:
        """Return the metric at T: one pass."""
        return cls(np.sqrt(positive(objective.hessian_diagonal(T))))

    def whiten(self, G: Coef) -> NDArray:
        return (G / self._root_in(G.dtype)).ravel()

    def unwhiten(self, v: NDArray) -> Coef:
        return v.reshape(self.root.shape) / self._root_in(v.dtype)

    def _root_in(self, dtype: np.dtype) -> Coef:
        """Return the roots in a precision: where it is single, within its range."""
        return self._single_root if dtype == np.float32 else self.root

    @cached_property
    def _single_root(self) -> Coef:
        return np.clip(self.root, 1 / _ORDINARY_ROOT, _ORDINARY_ROOT).astype(np.float32)

    def refreshed(self, objective: Objective, T: Coef) -> Metric:
        return DiagonalMetric.at_coefficients(objective, T)

    def refresh_passes(self, objective: Objective) -> float:
        return 1.0

    def take_problems(self, objective: Objective, problems: Places) -> Metric:
        return DiagonalMetric(objective.problems.columns(self.root, problems))

    def repeated(self, count: int) -> Metric:
        return DiagonalMetric(np.tile(self.root, count))

    def with_ridge_change(self, objective: Objective, change: Coef) -> Metric:
        return DiagonalMetric(np.sqrt(positive(np.square(self.root) + change)))


@dataclass(frozen=True, eq=False)
class GramMetric(Metric):
    """c G + ridge, the same for all scores, with the Gram matrix G = `Objective.gram`.

    c is the mean over the scores of p_k (1 - p_k) at the null model; the ridge, too, is their mean.

    Attributes
    ----------
    objective : Objective
    """

    objective: Objective
    is_hessian = False

    @cached_property
    def factor(self) -> NDArray:
        """Its lower Cholesky factor, (width, width): one pass, for the Gram matrix."""
        H = _null_curvatures(self.objective).mean() * self.objective.gram()
        H[np.diag_indices_from(H)] += self.objective.penalty.ridge_by_feature
        return cholesky(H)

    def whiten(self, G: Coef) -> NDArray:
        return solved(self.factor, G).ravel()

    def unwhiten(self, v: NDArray) -> Coef:
        return solved(self.factor, v.reshape(len(self.factor), -1), transposed=True)

    def refreshed(self, objective: Objective, T: Coef) -> Metric:
        return _hessian_if_affordable(objective, T) or self

    def refresh_passes(self, objective: Objective) -> float:
        return costs_of(objective).cheapest_hessian

    def take_problems(self, objective: Objective, problems: Places) -> Metric:
        return self

    def repeated(self, count: int) -> Metric:
        return self

    def with_ridge_change(self, objective: Objective, change: Coef) -> Metric:
        return GramMetric(objective)


@dataclass(frozen=True, eq=False)
class EigenbasisMetric(Metric):
    """c_k G + ridge_k for each problem k of one score, with the Gram matrix G.

    All of them are diagonal in the `JointEigenbasis` of c G and the ridge, with the means c and
    ridge of `GramMetric`; nothing here is worse conditioned than c G + ridge.

    Attributes
    ----------
    eigenbasis : JointEigenbasis
    roots : ndarray (width, K), the roots of each problem's diagonal in the eigenbasis
    """

    eigenbasis: JointEigenbasis
    roots: Coef
    is_hessian = False

    @classmethod
    def at_null_model(cls, objective: Objective) -> EigenbasisMetric:
        """Return the metric at the null model."""
        factor, c = GramMetric(objective).factor, _null_curvatures(objective)
        penalty = objective.penalty
        eigenbasis = JointEigenbasis.from_cholesky(factor, penalty.ridge_by_feature)
        diagonals = eigenbasis.diagonals(c / c.mean(), penalty.ridge_by_score)
        return cls(eigenbasis, np.sqrt(np.maximum(diagonals, np.finfo(float).eps)))

    def whiten(self, G: Coef) -> NDArray:
        return (self.eigenbasis.to_eigenbasis(G) / self.roots).ravel()

    def unwhiten(self, v: NDArray) -> Coef:
        return self.eigenbasis.from_eigenbasis(v.reshape(self.roots.shape) / self.roots)

    def refreshed(self, objective: Objective, T: Coef) -> Metric:
        return _hessian_if_affordable(objective, T) or self

    def refresh_passes(self, objective: Objective) -> float:
        return costs_of(objective).cheapest_hessian

    def take_problems(self, objective: Objective, problems: Places) -> Metric:
        return replace(self, roots=objective.problems.columns(self.roots, problems))

    def repeated(self, count: int) -> Metric:
        return replace(self, roots=np.tile(self.roots, count))

    def with_ridge_change(self, objective: Objective, change: Coef) -> Metric:
        return EigenbasisMetric.at_null_model(objective)


@dataclass(frozen=True, eq=False)
class HessianMetric(Metric):
    """The Hessian at some T, or its blocks class by class, from all rows or from a sample.

    Moves of all classes alike change no probability. Along them the Hessian is all but flat, which
    its blocks do not show, and no gradient points along them: gradients and steps are centred, or
    conjugate gradients would take ten times as many products (measured).

    Attributes
    ----------
    factors : list of ndarrays, the lower Cholesky factors of the problems' Hessians, or of the
        scores' blocks; several fits share theirs
    width : int, the number of coefficients of a score
    link : Link, which centres
    """

    factors: list[NDArray]
    width: int
    link: Link
    is_hessian = True

    @classmethod
    def at_coefficients(cls, objective: Objective, T: Coef) -> HessianMetric:
        """Return the metric at T, by the cheapest way."""
        # 1. All rows, or a sample that is drawn by leverage.
        costs, estimate = costs_of(objective), objective
        if costs.sampling_pays:
            factor = cholesky(objective.curvature_gram(T))
            root = solved(factor, np.eye(len(factor))).T
            estimate = by_leverage(objective, T, root, costs.sample_size)
        # 2. The whole Hessian of each problem, or its blocks, few of which exist at a time.
        if costs.hessian_is_whole:
            matrices = iter(estimate.hessian(T))
        else:
            groups = costs.block_groups()
            matrices = (H for scores in groups for H in estimate.hessian_blocks(T, scores))
        return cls([cholesky(H) for H in matrices], len(T), objective.link)

    def whiten(self, G: Coef) -> NDArray:
        return self._solved(self.link.centred(G).T, solved).ravel()

    def unwhiten(self, v: NDArray) -> Coef:
        return self._step(self._solved(v, partial(solved, transposed=True)))

    def preconditioned(self, G: Coef) -> Coef:
        return self._step(self._solved(self.link.centred(G).T, twice_solved))

    def _step(self, rows: NDArray) -> Coef:
        """Return the step (width, K), centred, of one row for each factor."""
        return self.link.centred(rows.reshape(-1, self.width).T)

    def _solved(self, v: NDArray, solve: Callable[[NDArray, NDArray], NDArray]) -> NDArray:
        """Return what `solve` makes of each factor and its part of v (width K,), as its row."""
        rows = v.reshape(len(self.factors), -1)
        if len(rows) == 1:
            return solve(self.factors[0], rows.T).T
        out = np.empty_like(rows)
        for factor, places in self._places_of_factors.values():
            out[places] = solve(factor, rows[places].T).T
        return out

    @cached_property
    def _places_of_factors(self) -> dict[int, tuple[NDArray, list[int]]]:
        """By its id, each factor with its places among `factors`, to be used for all at once."""
        places: dict[int, tuple[NDArray, list[int]]] = {}
        for place, factor in enumerate(self.factors):
            places.setdefault(id(factor), (factor, []))[1].append(place)
        return places

    def refreshed(self, objective: Objective, T: Coef) -> Metric:
        return HessianMetric.at_coefficients(objective, T)

    def refresh_passes(self, objective: Objective) -> float:
        return costs_of(objective).cheapest_hessian

    def take_problems(self, objective: Objective, problems: Places) -> Metric:
        if len(problems) == objective.problems.count:
            return self
        places = np.array_split(np.arange(len(self.factors)), objective.problems.count)
        factors = [self.factors[place] for problem in problems for place in places[problem]]
        return HessianMetric(factors, self.width, self.link.with_problems(len(problems)))

    def repeated(self, count: int) -> Metric:
        return HessianMetric(self.factors * count, self.width, self.link.with_problems(count))

    def with_ridge_change(self, objective: Objective, change: Coef) -> Metric:
        diagonals = np.broadcast_to(change, objective.shape).T.reshape(len(self.factors), -1)
        pairs = zip(self.factors, diagonals, strict=True)
        factors = [cholesky(L @ L.T + np.diag(diagonal)) for L, diagonal in pairs]
        return HessianMetric(factors, self.width, self.link)


def first_metric(objective: Objective, T: Coef) -> Metric:
    """Return the metric to begin with at T (width, K): the best that is cheap enough."""
    costs = costs_of(objective)
    if not costs.factor_pays:
        return DiagonalMetric.at_coefficients(objective, T)
    if costs.eigenbasis_pays:
        return EigenbasisMetric.at_null_model(objective)
    return GramMetric(objective)


def _hessian_if_affordable(objective: Objective, T: Coef) -> HessianMetric | None:
    """Return the Hessian at T (width, K), or its blocks; None if these are too large."""
    affordable = np.isfinite(costs_of(objective).cheapest_hessian)
    return HessianMetric.at_coefficients(objective, T) if affordable else None


def _null_curvatures(objective: Objective) -> PerScore:
    """Return p (1 - p) at the null model, (K,)."""
    p = objective.rows.totals.mean_target
    return np.maximum(p * (1 - p), np.finfo(float).eps)


@dataclass(frozen=True)
class ChanceByLeverage:
    """The chances with which about `size` of n rows are drawn, mostly in proportion to leverage.

    Attributes
    ----------
    size, n : int, numbers of rows
    """

    size: int
    n: int

    def __call__(self, leverage: PerRow, total: float) -> PerRow:
        """Return the chances of rows (m,), given their leverages and the sum of all rows'."""
        share = (1 - _UNIFORM) * leverage / max(total, np.finfo(float).tiny) + _UNIFORM / self.n
        return np.minimum(1, self.size * share)


def by_leverage(objective: Objective, T: Coef, root: NDArray, size: int) -> Objective:
    """Return the objective on about `size` rows, drawn by what they add to the Hessian at T.

    Rows are drawn in proportion to their curvature times leverage ||root' x~||^2, and weighted by
    the inverse of their chance. With a root (width, width) of the inverse of
    `Objective.curvature_gram` no feature is missed, whatever its tails. Chances that are all equal
    miss the few rows that determine a nearly separable fit: there they took ten times as many
    iterations (measured).
    """
    chance = ChanceByLeverage(size, objective.rows.totals.n)
    rows = objective.rows.sampled(objective.leverage_kernel(T, root), chance)
    return replace(objective, rows=rows)
