"""Candidates: the classes that a batch's loss is computed over, where there are thousands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._objective import Objective

# F is estimated from this many rows, or as many as cost what a pass over candidates does.
_ROWS_THAT_TELL = 256

# How likely a class is a candidate beside others, by its rank among the most frequent.
PROPOSALS = {
    "log-uniform": lambda rank: np.log1p(1 / (rank + 1)),
    "uniform": lambda rank: np.ones(len(rank)),
}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Which classes a batch's loss is computed over, beside those that are true in it.

    Attributes
    ----------
    count : int, how many
    chances : ndarray (K,), > 0, relative to each other
    """

    count: int
    chances: NDArray[np.float64]

    @classmethod
    def of(cls, count: int, proposal: str, frequency: NDArray) -> Candidates:
        """Return the candidates of classes as frequent as this, (K,)."""
        rank = np.empty(len(frequency), dtype=int)
        rank[np.argsort(-frequency, kind="stable")] = np.arange(len(frequency))
        return cls(count, PROPOSALS[proposal](rank))

    def drawn(self, true: NDArray, random: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Return some classes other than the true ones, and how likely each was to be drawn.

        In random order, every one over whose chance the sum passes an integer: `count` of them,
        each as likely as it should be (Madow 1949, "On the theory of systematic sampling, II").
        """
        others = np.delete(np.arange(len(self.chances)), true)
        likely = _inclusion(self.chances[others], self.count)
        order = random.permutation(len(others))
        ends = np.floor(np.cumsum(likely[order]) + random.random())
        chosen = order[np.diff(ends, prepend=0) > 0]
        return others[chosen], likely[chosen]


def _inclusion(chances: NDArray, count: int) -> NDArray[np.float64]:
    """Return probabilities that sum to `count`, in proportion to the chances up to one."""
    if count >= len(chances):
        return np.ones(len(chances))
    likely = chances * (count / chances.sum())
    while (certain := likely >= 1).any() and likely.max() > 1:
        likely[certain] = 1
        likely[~certain] *= (count - certain.sum()) / likely[~certain].sum()
    return likely


def among_candidates(
    objective: Objective, batch: Any, candidates: Candidates, random: np.random.Generator
) -> tuple[NDArray, Objective]:
    """Return the classes (c,) of a batch's loss, and the objective of their columns.

    Row i's partition sum is estimated by that of exp(z_k) over the classes true in the batch, and
    of exp(z_k) / pi_k over the others that were drawn, with their chance pi_k: scores of these get
    -log pi_k. So it is unbiased, and right if all are drawn (Bengio and Senecal 2008, "Adaptive
    importance sampling to accelerate training of a neural probabilistic language model", IEEE
    Transactions on Neural Networks 19, 713-722; Jean et al. 2015, "On using very large target
    vocabulary for neural machine translation", ACL, equation 8).
    """
    true = batch.Y.present()
    others, likely = candidates.drawn(true, random)
    classes = np.concatenate([true, others])
    correction = np.concatenate([np.zeros(len(true)), -np.log(likely)])
    part = replace(
        objective,
        rows=batch.among(classes, correction),
        penalty=objective.penalty.of_scores(classes),
        score_weight=objective.score_weight[classes] * (batch.n / objective.rows.n),
    )
    return classes, part


def some_rows(objective: Objective, count: int) -> Objective:
    """Return the objective estimated from rows that cost what a pass over the candidates does."""
    rows, K = objective.rows, objective.shape[1]
    size = max(_ROWS_THAT_TELL, rows.n * count // K)
    if size >= rows.n:
        return objective

    def ones(block: Block) -> NDArray:
        return np.ones(block.X.shape[0])

    some = rows.drawn(ones, lambda own, total: own * (size / total))
    mean = float(some.divisor.mean())
    return replace(objective, rows=some, score_weight=some.divisor, mean_weight=mean)
