"""Sampled softmax: steps on the loss of a batch over some of the classes, for thousands of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._rows.arrays import Coef, Counts, PerScore, Places, plain
from softreg._rows.blocks import Block
from softreg._rows.targets import ClassTargets
from softreg.solvers.base import MakeGenerator
from softreg.solvers.linalg.metrics import ChanceByLeverage
from softreg.solvers.minibatch.curvature import Kronecker, KroneckerInverse
from softreg.solvers.minibatch.update import CurvatureState, Iterate, UpdateRule

# Relative proposal probabilities of classes, by their rank (1, 2, ...) among the most frequent.
PROPOSALS = {
    "log-uniform": lambda rank: np.log1p(1 / rank),
    "uniform": lambda rank: np.ones(len(rank)),
}
# F between epochs is estimated from no fewer rows than this.
_MIN_ESTIMATE_ROWS = 256
# The curvature of each class is raised by this times 1 / eta - 1, eta being the first step's
# length: a rare class has next to none of its own. With eta = m / (m + 4 p) a row of mean leverage
# p / m then moves no score by more than 8 / 4 = 2 times its residual.
_DAMPING = 1 / 8
# All classes learn from each batch: under softmax they share the losses of its rows.
_ALL_SCORES = np.ones(1, dtype=bool)


def candidate_descent(
    n_candidates: int | None, proposal: str, objective: Objective, make_generator: MakeGenerator
) -> CandidateDescent | None:
    """Return how an epoch goes with candidates; None: there are as many as classes, or none.

    ValueError if the scores are not those of classes of which each row has one.
    """
    if n_candidates is None:
        return None
    if not objective.link.exclusive:
        raise ValueError(
            f"n_candidates={plain(n_candidates)!r} needs three or more classes of which each row "
            "has one; labels, and two classes, have no others to leave out: leave it None."
        )
    if n_candidates >= objective.shape[1]:
        return None
    return CandidateDescent(int(n_candidates), proposal, make_generator())


@dataclass(frozen=True, eq=False)
class CandidateDescent:
    """Steps on the loss over candidates.

    A step moves, without momentum, the columns of the batch's classes alone, and costs what these
    cost. The penalty's part of other columns' gradients is made up for when their classes are
    candidates next, or at the end of the epoch. All classes get the same curvature: batches show
    that of candidates alone.

    Attributes
    ----------
    n_candidates : int, beside the classes that are true in a batch
    proposal : str, one of `PROPOSALS`
    random : numpy.random.Generator, which draws candidates
    """

    n_candidates: int
    proposal: str
    random: np.random.Generator

    def run_epoch(
        self, objective: Objective, batches: Iterable[Any], iterate: Iterate, rule: UpdateRule
    ) -> Iterate:
        """Return the iterate after a step on each batch of the objective's rows."""
        frequency = objective.rows.totals.mean_target
        candidates = Candidates.from_frequency(self.n_candidates, self.proposal, frequency)
        even = Kronecker.at_zero_coefficients(objective)
        state = _even_state(even, iterate.curvature_state, objective)
        columns = _Columns.from_iterate(iterate, objective.penalty)
        t = float(np.max(iterate.n_steps))
        for batch in batches:
            # 1. The batch's loss over its true classes and some others, drawn for it.
            classes, sampled = candidate_objective(objective, batch, candidates, self.random)
            # 2. Its gradient, in which no row overshoots, and its curvature.
            t += 1
            step = _Step.from_rule(rule, t, batch.n, state.inverse)
            U = batch.block_coefficients(columns.T[:, classes])
            S = sampled.score_weight[0]
            bend = 0.5 / (S * step.curvature)
            kernel = _CandidateSums(objective.link, U, even, step.inverse, bend)
            G, *sums = sampled.rows.sum(kernel)
            gradient, seen = batch.working_gradient(G) / S, even.batch_curvature(sampled, sums)
            # 3. A step on the columns of these classes.
            columns.move_inplace(classes, gradient, seen.score_curvature / S, step)
            # 4. The features' second moments in the batch join those of the others.
            seen = even.with_mean_moments(seen.mean_moments)
            state = state.after_batch(seen, replace(objective, rows=batch), _ALL_SCORES)
        # 5. The penalty of all columns, up to the last step.
        columns.move_inplace(slice(None), 0.0, np.zeros(1), step)
        average = columns.average(t) if rule.averaging else columns.T
        return Iterate(columns.T, np.zeros_like(average), average, t, state)

    def estimate(self, objective: Objective) -> Objective:
        """Return the objective over all classes of as many rows as cost what an epoch does."""
        rows, n, K = objective.rows, objective.rows.totals.n, objective.shape[1]
        size = max(_MIN_ESTIMATE_ROWS, n * self.n_candidates // K)
        if size >= n:
            return objective
        some = rows.sampled(Block.weights, ChanceByLeverage(size, n))
        weight = some.totals.score_divisor
        return replace(objective, rows=some, score_weight=weight, mean_weight=float(weight.mean()))


def _even_state(
    even: Kronecker, state: CurvatureState | None, objective: Objective
) -> CurvatureState:
    """Return the state with the scores' curvature of `even` and the features' moments so far."""
    if state is None:
        return CurvatureState.from_prior(even, objective)
    curvature = even.with_mean_moments(state.curvature.mean_moments)
    inverse = curvature.inverse_with_penalty(objective, state.n_rows)
    return replace(state, curvature=curvature, inverse=inverse)


@dataclass(frozen=True, eq=False)
class Candidates:
    """How candidates are drawn: `count` of them, by relative probabilities (K,) > 0."""

    count: int
    proposal_weights: NDArray[np.float64]

    @classmethod
    def from_frequency(cls, count: int, proposal: str, frequency: PerScore) -> Candidates:
        """Return candidates drawn by the rank of their frequency (K,)."""
        rank = np.argsort(np.argsort(-frequency, kind="stable"))
        return cls(count, PROPOSALS[proposal](1 + rank))

    def draw(self, true: NDArray, random: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Return `count` classes other than the true ones, and the probability of each, (count,).

        Systematic sampling: in random order, a class is drawn if the cumulated probabilities pass
        an integer at it, so that each is drawn with just its own probability (Madow 1949, "On the
        theory of systematic sampling, II").
        """
        others = np.delete(np.arange(len(self.proposal_weights)), true)
        inclusion = _inclusion_probabilities(self.proposal_weights[others], self.count)
        order = random.permutation(len(others))
        cumulated = np.floor(np.cumsum(inclusion[order]) + random.random())
        drawn = order[np.diff(cumulated, prepend=0) > 0]
        return others[drawn], inclusion[drawn]


def _inclusion_probabilities(weights: NDArray, count: int) -> NDArray[np.float64]:
    """Return probabilities that sum to `count`: in proportion to the weights, but at most one."""
    if count >= len(weights):
        return np.ones(len(weights))
    inclusion = weights * (count / weights.sum())
    while (certain := inclusion >= 1).any() and inclusion.max() > 1:
        inclusion[certain] = 1
        inclusion[~certain] *= (count - certain.sum()) / inclusion[~certain].sum()
    return inclusion


def candidate_objective(
    objective: Objective, batch: Any, candidates: Candidates, random: np.random.Generator
) -> tuple[NDArray, Objective]:
    """Return the classes (c,) of a batch's loss, and the objective of their columns.

    Row i's partition sum is estimated by the sum of exp(z_k) over the classes true in the batch,
    plus that of exp(z_k) / pi_k over the others that were drawn, pi_k being their probability to be
    drawn: -log pi_k is added to their scores. So the estimate is unbiased, and exact if all classes
    are drawn (Jean et al. 2015, equation 8: see `MiniBatch`).
    """
    if batch.Y.class_of_row is None:
        raise ValueError(
            "n_candidates asks for rows of one class each; class probabilities and label_smoothing "
            "need the scores of all classes: leave it None, or pass labels without smoothing."
        )
    true, codes = np.unique(batch.Y.class_of_row, return_inverse=True)
    others, inclusion = candidates.draw(true, random)
    classes = np.concatenate([true, others])
    offset = np.concatenate([np.zeros(len(true)), -np.log(inclusion)])
    if batch.offset is not None:
        offset = offset + batch.offset[:, classes]
    rows = batch.replaced(
        Y=ClassTargets(codes, len(classes)), offset=np.broadcast_to(offset, (batch.n, len(classes)))
    )
    weight = objective.score_weight[classes] * (batch.n / objective.rows.totals.n)
    return classes, replace(objective, rows=rows, score_weight=weight)


@dataclass(frozen=True, eq=False)
class _Step:
    """Step t, of length eta_t; `curvature` is each class's relative one over eta_t, damped."""

    t: float
    inverse_length: float
    curvature: float
    inverse: KroneckerInverse

    @classmethod
    def from_rule(cls, rule: UpdateRule, t: float, n_rows: int, inverse: Any) -> _Step:
        """Return step t on a batch of `n_rows` rows, by the `KroneckerInverse` so far."""
        p = inverse.effective_features
        first, length = (float(rule.step_length(number, n_rows, p)) for number in (0, t))
        damping = _DAMPING * max(1 / first - 1, 0.0) / inverse.mean_curvature
        return cls(t, 1 / length, 1 / length + damping, inverse)


def _average_total(t: Counts) -> PerScore | float:
    """Return what the T up to step t weigh together if T_t joins their average by 4 / (t + 3)."""
    return t * (t + 1) * (t + 2) * (t + 3)


@dataclass(frozen=True, eq=False)
class _Columns:
    """The columns of an iterate, each as the last step on it has left it.

    The average of the T is kept as W_t (T - average), with W_t the `_average_total` at step t: it
    changes by W_{t-1} times the change of T in step t, so that columns at rest need no update.

    Attributes
    ----------
    T : ndarray (width, K)
    weighted_lag : ndarray (width, K), W_t (T - average)
    since : ndarray (K,), the number of the last step on each column
    penalty : Penalty, the same for all columns
    """

    T: Coef
    weighted_lag: Coef
    since: NDArray[np.float64]
    penalty: Penalty

    @classmethod
    def from_iterate(cls, iterate: Iterate, penalty: Penalty) -> _Columns:
        """Return a copy of the iterate's columns."""
        lag = _average_total(iterate.n_steps) * (iterate.T - iterate.average)
        return cls(iterate.T.copy(), lag, np.full(lag.shape[1], iterate.n_steps, float), penalty)

    def average(self, t: float) -> Coef:
        """Return the average of the T up to step t, (width, K)."""
        return self.T - self.weighted_lag / _average_total(t)

    def move_inplace(
        self, classes: Places | slice, G: Coef | float, bound: PerScore, step: _Step
    ) -> None:
        """Take a step on the columns of some classes; G (width, c) is the gradient of their loss.

        The penalty's part, of all steps since the last one on the column, is taken as one implicit
        step. `bound` (c,) is the classes' curvature in the batch, which is many times the usual one
        where a rare candidate stands for many.
        """
        inverse, elapsed = step.inverse, step.t - self.since[classes]
        G = G + elapsed * self.penalty.smooth(self.T[:, classes])[1]
        change = replace(
            inverse,
            relative_curvature=np.maximum(step.curvature, bound / inverse.mean_curvature),
            relative_strength=inverse.relative_strength * (step.inverse_length + elapsed),
        ).natural_gradient(G)
        self.T[:, classes] -= change
        self.weighted_lag[:, classes] -= _average_total(step.t - 1) * change
        self.since[classes] = step.t


@dataclass(frozen=True, eq=False)
class _CandidateSums:
    """For a block: sum_i w_i x~_i r_i' (width, c), and the curvature's `block_sums`.

    A row of weight w and leverage l = ||B' x~||^2 changes its own scores by d = w l r / (S a) in a
    step, a being the step's curvature. The slope of its loss along d, which is <r, d>, falls by at
    most <d, d> / 2 (Boehning 1992, "Multinomial logistic regression algorithm", section 2): where
    that is more than all of it, the residual r is shortened to fit.

    Attributes
    ----------
    link, U, curvature : as in `_GradientAndCurvatureSums`
    inverse : KroneckerInverse, whose eigenbasis is B
    bend : float, 1 / (2 S a)
    """

    link: Link
    U: Coef
    curvature: Kronecker
    inverse: KroneckerInverse
    bend: float

    def __call__(self, block: Block) -> tuple[NDArray, ...]:
        R = self.link.probabilities_inplace(block.scores(self.U))
        sums = self.curvature.block_sums(block, block.weighted(self.link.curvature_diagonal(R)))
        block.Y.subtract_targets_inplace(R)
        leverage = self.inverse.squared_lengths(block, np.ones((len(self.U), 1)))
        R /= np.maximum(1, self.bend * block.weighted(leverage)).astype(R.dtype)
        return block.gather(block.weighted(R)), *sums
