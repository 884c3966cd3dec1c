"""Problems: how the scores of an objective are divided into problems that share nothing but X."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places


@dataclass(frozen=True)
class Problems:
    """B problems of K / B scores each, which come one problem after another.

    One problem under softmax, one for each label under sigmoid; times the number of fits, where
    several are solved together.

    Attributes
    ----------
    count : int, B
    n_scores : int, K
    """

    count: int
    n_scores: int

    def scores(self, problems: Places) -> Places:
        """Return the numbers of the scores of some problems, one problem after another."""
        return np.arange(self.n_scores).reshape(self.count, -1)[problems].ravel()

    def columns(self, T: Coef, problems: Places) -> Coef:
        """Return the columns of T (width, K) that belong to some problems."""
        if len(problems) == self.count:
            return T
        return np.take(T, self.scores(problems), axis=1)  # contiguous, as T[:, ...] is not

    def total(self, per_score: PerScore) -> PerProblem:
        """Return the sums over the scores of each problem, (B,), of a value per score (K,)."""
        return per_score.reshape(self.count, -1).sum(axis=1)

    def any(self, per_score: Mask) -> Mask:
        """Return for each problem whether any of its scores is marked in a mask (K,), (B,)."""
        return np.logical_or.reduce(per_score.reshape(self.count, -1), axis=1)

    def spread(self, per_problem: NDArray) -> NDArray:
        """Return each score's value of its problem, (K,), given a value per problem (B,)."""
        return np.repeat(per_problem, self.n_scores // self.count)

    def inner(self, A: Coef, D: Coef) -> PerProblem:
        """Return the inner products of two arrays (width, K), problem by problem, (B,)."""
        return self.total((A * D).sum(axis=0))
