"""Collinear columns without a penalty above rounding: those that others replace are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack

from softreg._model.block_kernels import GramProduct, LargestRemainder
from softreg._model.objective import Objective
from softreg._model.spaces import IdentifiedSpace
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.linalg.costs import costs_of

_EPS = np.finfo(float).eps
# A sum over features that cancels to this share of its terms is zero but for rounding. Coefficients
# of such sums are exact enough to tell if each feature among those that determine the others keeps
# this share of its squares beside the rest of them, or more.
_CANCELLED, _INDEPENDENT = 16 * _EPS, 1e-6
# A value's rounding counts as that of one at least so many deviations from zero: beside values near
# their centre the rounding of the centre would pass for a difference.
_LEAST_DISTANCE = 0.5
# Of columns with deviations of one, a share of another that is as small is rounding.
_NO_PART = 1e-10
# A ridge of less is below the rounding of curvatures, which are about one: it cannot tell which of
# the coefficients with the same scores are the least, as those of no penalty are.
_NEGLIGIBLE_RIDGE = 8 * _EPS


def identified(objective: Objective, T: Coef) -> tuple[Objective, Coef]:
    """Return the objective in which features that others replace have coefficients of zero.

    And the coefficients in it that make the scores of T (width, K). Along the null vectors of such
    features F is flat, and steps would drift as far as rounding leads. The objective stays as it is
    where its Gram matrix is too large.
    """
    varies = np.isfinite(objective.rows.coordinates.scale)[:, None]
    free = objective.penalty.ridge <= _NEGLIGIBLE_RIDGE
    several = (free[: len(varies)] & varies).sum(axis=0) >= 2
    if not several.any() or not costs_of(objective).factor_pays:
        return objective, T
    for mask in np.unique(free[:, several], axis=1).T:
        alike = np.broadcast_to((free == mask[:, None]).all(axis=0), T.shape[1:])
        objective, T = _identified_in_scores(objective, T, mask, alike.nonzero()[0])
    return objective, T


def _identified_in_scores(
    objective: Objective, T: Coef, free: Mask, scores: Places
) -> tuple[Objective, Coef]:
    """Return the same for some scores, in which the features `free` (width,) have no penalty."""
    rows = objective.rows

    def make() -> tuple[Coef, Places]:
        return null_vectors(objective.in_double(), free)

    V, left_out = rows.kept(("null vectors", free.tobytes(), rows.coordinates), make)
    if not left_out.size:
        return objective, T
    W, b = rows.coordinates.coefficients(V)
    terms = np.abs(rows.coordinates.centre) @ np.abs(W) + np.abs(V[len(W) :]).sum(axis=0)
    b[np.abs(b) <= _CANCELLED * terms] = 0  # no part of the intercept in it, but for rounding
    space = IdentifiedSpace.from_null_vectors(W, b, left_out, scores)
    penalty = objective.penalty.fixing(left_out, scores)
    W, b = space.working(*rows.coordinates.coefficients(T))
    fixed = replace(objective, penalty=penalty, spaces=(space, *objective.spaces))
    return fixed, rows.coordinates.working(W, b)


def null_vectors(objective: Objective, free: Mask) -> tuple[Coef, Places]:
    """Return combinations V (width, r) of features that are zero in every row, and r features.

    Of the features that are `free`, (width,), these are linear combinations of the others: whatever
    their coefficients, others reach the same scores. Each has an entry in its own column alone.
    """
    gram = objective.gram()
    varying = (free & (gram.diagonal() > 0)).nonzero()[0]
    deviation = np.sqrt(gram.diagonal()[varying])
    unit_gram = gram[np.ix_(varying, varying)] / np.outer(deviation, deviation)
    # 1. Pivoted Cholesky: columns in the order of what those before leave of them, until that is
    #    little.
    _, order, rank, _ = lapack.dpstrf(unit_gram, tol=_INDEPENDENT, lower=1)
    kept, rest = np.split(order - 1, [rank])
    V = np.zeros((len(gram), len(rest)))
    if not rest.size:
        return V, rest
    # 2. Which of the others they determine: those of which they leave rounding in every row.
    #    Their shares of the others are refined by what is left, as in iterative refinement.
    V[varying[rest], np.arange(len(rest))] = -1 / deviation[rest]
    factor = cho_factor(unit_gram[np.ix_(kept, kept)])
    for _ in range(2):
        (left,) = objective.rows.sum(GramProduct(V))
        left = left[varying[kept]] / (objective.rows.totals.weight * deviation[kept, None])
        V[varying[kept]] -= cho_solve(factor, left) / deviation[kept, None]
    centre, scale = objective.rows.coordinates.centre, objective.rows.coordinates.scale
    no_part = np.abs(V) * np.sqrt(gram.diagonal())[:, None] < _NO_PART
    no_part[len(scale) :] = False  # the intercept makes up for the rounding of centres
    V[no_part] = 0
    distance = np.append(np.abs(centre) / scale, [0.0])[: len(gram)].clip(_LEAST_DISTANCE)
    remainder = LargestRemainder(V, distance)
    is_feature = varying[rest] < len(scale)
    replaceable = (objective.rows.maximum(remainder) <= _CANCELLED) & is_feature
    return V[:, replaceable], varying[rest[replaceable]]
