"""Manifolds of an optimum: the coefficients in which the penalty is smooth around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._model.penalties import SparsePenalty
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.linalg.factors import cholesky, positive, solved
from softreg.solvers.linalg.quadratic_model import with_likeliest

# Relative to the Hessian's diagonal: above the rounding of its sums and of its factor, so that no
# leverage exceeds one where curvature is all rounding; far below any curvature that counts.
_LEAST_CURVATURE = 1e-12


class Run(NamedTuple):
    """Neighbouring scores of a problem, from `first` to before `end`, with the same features."""

    features: Places | slice
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A problem's coefficients that are not zero, and of the zeros those nearest to their strength.

    Gradients and Hessians H_loss are those of the mean loss, without the penalty; H is that of F.

    Attributes
    ----------
    penalty : SparsePenalty
    T : ndarray (width, K), the optimum
    weight : float, S
    features, scores : ndarrays (r,), scores ascending
    active : ndarray (p,), the places among these of the coefficients that are not zero
    gradient : ndarray (r,)
    between : ndarray (p, r), rows of H_loss
    inverse : ndarray (p, p), H^-1
    steepness : ndarray (width, K), the curvature of each coefficient's group, averaged in it
    """

    penalty: SparsePenalty
    T: Coef
    weight: float
    features: Places
    scores: Places
    active: Places
    gradient: NDArray
    between: NDArray
    inverse: NDArray
    steepness: Coef

    def prox_moves(self, X: NDArray, V: NDArray) -> Coef:
        """Return how prox steps move the coefficients that rows' steps lead to, (m, width, K).

        A row x of X (m, width) whose part of the gradient is v (x) x, with v in V (m, K), is left
        out by the step d = H^-1 v (x) x / S of coefficients that are not zero, which changes the
        gradient by H_loss d - v (x) x / S. The prox step moves nothing where these keep their
        signs, or groups nearly their directions, and where gradients of zeros stay within their
        strengths.
        """
        at = self.features, self.scores
        own = V[:, self.scores] * X[:, self.features] / self.weight
        step = own[:, self.active] @ self.inverse
        gradient = self.gradient + step @ self.between - own
        end = np.zeros((len(X), *self.T.shape))
        end[:, *at] = self.T[at]
        end[:, self.features[self.active], self.scores[self.active]] += step
        down = end.copy()
        down[:, *at] -= gradient / self.steepness[at]
        return self.penalty.prox(down, 1 / self.steepness) - end


@dataclass(frozen=True, eq=False)
class Manifold:
    """Coefficients of problems that an optimum without a row has as well, others staying zero.

    The penalty is smooth in them: all of a ridge, of a sparse penalty those that are not zero, and
    whole groups.

    Attributes
    ----------
    problems : ndarray (B,), their numbers among all
    objective : Objective of these, of the features that have such coefficients or nearly so
    T : ndarray (width, K), the optimum
    runs : tuple of Run, the features of such coefficients, score by score of a problem
    inverses : ndarray (B, p, p), of the Hessians of S F in them, score after score
    surroundings : Surroundings, or None under a smooth penalty
    """

    problems: Places
    objective: Objective
    T: Coef
    runs: tuple[Run, ...]
    inverses: NDArray
    surroundings: Surroundings | None = None

    @classmethod
    def of_all(cls, objective: Objective, T: Coef, problems: Places) -> Manifold:
        """Return the manifold of problems with a smooth penalty: all coefficients."""
        (width, K), B = objective.shape, objective.problems.count
        _check_size(objective, B, width * K // B)
        runs = (Run(slice(None), 0, K // B),)
        return cls(problems, objective, T, runs, _inverses(objective, objective.hessian(T)))

    @classmethod
    def of_nonzero(cls, objective: Objective, T: Coef, problems: Places) -> Manifold:
        """Return the manifold of one problem with a sparse penalty."""
        # 1. What is not zero, and the zeros nearest to their strength.
        penalty, gradient = objective.sparse_penalty, objective.value_and_gradient(T)[1]
        active = penalty.active(T)
        inside = active | with_likeliest(objective, gradient, active)
        _check_size(objective, 1, int(np.count_nonzero(inside)))
        # 2. Their features alone, and the Hessian.
        d = len(objective.rows.coordinates.scale)
        kept = np.flatnonzero(inside.any(axis=1) | (np.arange(len(T)) >= d))
        objective, T = objective.take_features(kept[kept < d]), T[kept]
        active, inside = active[kept], inside[kept]
        penalty, gradient = objective.sparse_penalty, gradient[kept] - objective.penalty.ridge * T
        scores, features = np.nonzero(inside.T)
        H = objective.coordinate_hessian(T, features, scores)
        # 3. The manifold's Hessian: the penalty adds the ridge, and the curvature of lengths.
        at = np.flatnonzero(active[features, scores])
        H_active = H[at[:, None], at] + penalty.curvature(T, features[at], scores[at])
        _fix_gauge_inplace(objective, H_active, active)
        inverses, weight = _inverses(objective, H_active[None]), float(objective.problem_weight[0])
        # 4. What tells whether zeros stay zero.
        diagonal = np.ones(T.shape)
        diagonal[features, scores] = positive(H.diagonal())
        total = penalty.group_products(np.sqrt(diagonal), np.sqrt(diagonal))
        surroundings = Surroundings(
            penalty,
            T,
            weight,
            features,
            scores,
            at,
            gradient=gradient[features, scores],
            between=H[at],
            inverse=weight * inverses[0],
            steepness=penalty.group_products(diagonal, diagonal) / total,
        )
        return cls(problems, objective, T, _runs(active), inverses, surroundings)


def manifolds(objective: Objective, T: Coef) -> Iterator[Manifold]:
    """Yield the manifolds of an optimum T: one of all problems, or under a sparse penalty of each.

    ValueError if rows may not hold the Hessians.
    """
    B = objective.problems.count
    if objective.penalty.is_smooth:
        yield Manifold.of_all(objective, T, np.arange(B))
        return
    for b in range(B):
        problem = np.array([b])
        subset = objective.take_problems(problem)
        make = Manifold.of_all if subset.penalty.is_smooth else Manifold.of_nonzero
        yield make(subset, objective.problems.columns(T, problem), problem)


def _check_size(objective: Objective, count: int, order: int) -> None:
    """Raise a ValueError if `count` Hessians of an order take more than rows may hold."""
    if count * order**2 > objective.rows.value_budget:
        raise ValueError(
            f'Leave-one-out, cv="loo", needs the Hessian of the fit, in {order} coefficients of '
            f"each of {count} problems: {count * order**2:.3g} numbers, and at most "
            f"{objective.rows.value_budget:.3g} are held. Choose folds instead, such as cv=10."
        )


def _runs(active: Mask) -> tuple[Run, ...]:
    """Return the features that are active, (width, q), score by score."""
    q = active.shape[1]
    changes = (active[:, 1:] != active[:, :-1]).any(axis=0)
    firsts = np.flatnonzero(np.append(True, changes))
    return tuple(
        Run(np.flatnonzero(active[:, first]), int(first), int(end))
        for first, end in zip(firsts, np.append(firsts[1:], q), strict=True)
    )


def _fix_gauge_inplace(objective: Objective, H: NDArray, active: Mask) -> None:
    """Fix the gauge of H (p, p) in the features that are active, (width, q), in all scores."""
    whole = np.flatnonzero(active.all(axis=1))
    at = np.flatnonzero(np.isin(np.nonzero(active.T)[1], whole))
    if at.size:
        block = H[at[:, None], at]
        objective.link.fix_gauge_inplace(block[None], len(whole))
        H[at[:, None], at] = block


def _inverses(objective: Objective, hessians: NDArray) -> NDArray:
    """Return H^-1 of each problem, (B, p, p); H is the sum over rows, not a mean."""
    inverses = hessians * objective.problem_weight[:, None, None]
    p = inverses.shape[1]
    for H in inverses[: len(inverses) * (p > 0)]:  # LAPACK takes no matrices without entries
        H[np.diag_indices(p)] *= 1 + _LEAST_CURVATURE
        root = solved(cholesky(H), np.eye(p))
        np.matmul(root.T, root, out=H)
    return inverses
