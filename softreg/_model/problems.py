"""Problems: how the scores of an objective fall into groups that share nothing but X."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places


@dataclass(frozen=True)
class Problems:
    """B problems of K / B scores each, the scores of a problem one after another.

    One problem for softmax; one a label, or a fit, where these are solved together.

    Attributes
    ----------
    count : int, B
    n_scores : int, K
    """

    count: int
    n_scores: int

    def scores(self, problems: Places) -> Places:
        """Return the numbers of the scores of some problems."""
        return np.arange(self.n_scores).reshape(self.count, -1)[problems].ravel()

    def columns(self, T: Coef, problems: Places) -> Coef:
        """Return the columns of T (width, K) that belong to some problems."""
        return np.take(T, self.scores(problems), axis=1)  # contiguous, as T[:, ...] is not

    def total(self, per_score: PerScore) -> PerProblem:
        """Return the sum over each problem's scores of a value per score (K,), (B,)."""
        return per_score.reshape(self.count, -1).sum(axis=1)

    def any(self, per_score: Mask) -> Mask:
        """Return whether something holds for any score of each problem, (B,)."""
        return np.logical_or.reduce(per_score.reshape(self.count, -1), axis=1)

    def spread(self, per_problem: NDArray) -> NDArray:
        """Return a value per problem (B,) for each of its scores, (K,)."""
        return np.repeat(per_problem, self.n_scores // self.count)

    def inner(self, A: Coef, D: Coef) -> PerProblem:
        """Return the inner product of two sets of coefficients (width, K), (B,)."""
        return self.total(np.einsum("jk,jk->k", A, D))
