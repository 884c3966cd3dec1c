"""Collinear columns: coefficients that neither the data identify nor a penalty above rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack

from softreg._model.block_kernels import GramProduct, LargestRemainder
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerScore, Places
from softreg._rows.coordinates import Coordinates
from softreg.solvers.linalg.costs import costs_of

_EPS = np.finfo(float).eps
# A sum over features that cancels to this share of its terms is zero but for rounding. Coefficients
# of such sums are exact enough to tell if each feature among those that determine the others keeps
# this share of its squares beside the rest of them, or more.
_CANCELLED, _INDEPENDENT = 16 * _EPS, 1e-6
# Rounding is that of values at least so many deviations from zero: where the values of a row are
# nearer to their centres, what is left of the rounding of centres would pass for more.
_LEAST_DISTANCE = 0.5
# Of columns with deviations of one, a share of another that is as small is rounding.
_NO_PART = 1e-10
# A ridge of less is below the rounding of curvatures, which are about one: it cannot tell which of
# the coefficients with the same scores are the least, as those of no penalty are.
_NEGLIGIBLE = 8 * _EPS


@dataclass(frozen=True, eq=False)
class Identified:
    """Coefficients of which those of some features are zero: others reach the same scores.

    Such as those of one of the columns that stand for the categories of a variable. Of all
    coefficients with the same scores, the user gets those with the least sum of squares: the limit
    of ever weaker penalties, whatever the order of the columns.

    Attributes
    ----------
    coordinates : Coordinates, in which the features that are left out are constant
    left_out : ndarray (r,), the numbers of these features
    null_coef, null_intercept : ndarrays (d, r) and (r,), W of length one, and b, that change no
        score; of the features that are left out, each has one
    """

    coordinates: Coordinates
    left_out: Places
    null_coef: Coef
    null_intercept: PerScore

    def unidentified(self, others: Mask, free: Mask) -> Mask:
        return others | (self.null_coef != 0).any(axis=1)

    def coefficients(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        return self._moved(W, b, np.linalg.lstsq(self.null_coef, W, rcond=None)[0])

    def working(self, W: Coef, b: PerScore) -> tuple[Coef, PerScore]:
        own = self.null_coef[self.left_out, np.arange(len(self.left_out))]
        W, b = self._moved(W, b, W[self.left_out] / own[:, None])
        W[self.left_out] = 0
        return W, b

    def _moved(self, W: Coef, b: PerScore, share: Coef) -> tuple[Coef, PerScore]:
        return W - self.null_coef @ share, b - self.null_intercept @ share


def identified(objective: Objective, T: Coef) -> tuple[Objective, Coef]:
    """Return the objective without the features that others replace, if there are any.

    And the coefficients in it with the scores of T (width, K). Along the null vectors of such
    features F is flat: steps would drift there, as far as rounding leads. The objective stays as it
    is where its Gram matrix is too large.
    """
    rows, free = objective.rows, np.all(objective.penalty.ridge <= _NEGLIGIBLE, axis=1)
    varies = np.isfinite(rows.coordinates.scale)
    if (free[: len(varies)] & varies).sum() < 2 or not costs_of(objective).factor_pays:
        return objective, T

    def make() -> Identified | None:
        return _identified_by_others(objective.in_double(), free)

    space = rows.kept(("identified", free.tobytes(), rows.coordinates), make)
    if space is None:
        return objective, T
    rows = rows.replaced(coordinates=space.coordinates, known_totals=rows.totals)
    W, b = space.working(*objective.rows.coordinates.coefficients(T))
    without = replace(objective, rows=rows, spaces=(space, *objective.spaces))
    return without, space.coordinates.working(W, b)


def _identified_by_others(objective: Objective, free: Mask) -> Identified | None:
    """Return the space without replaceable features, among those that are `free`, (width,)."""
    V, left_out = null_vectors(objective, free)
    if not left_out.size:
        return None
    coordinates = objective.rows.coordinates
    W, b = coordinates.coefficients(V)
    scale = coordinates.scale.copy()
    scale[left_out] = np.inf
    largest = np.abs(W).max(axis=0)  # whose square need not be a number
    length = np.linalg.norm(W / largest, axis=0)
    W, b = W / largest / length, b / largest / length
    return Identified(replace(coordinates, scale=scale), left_out, W, b)


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
