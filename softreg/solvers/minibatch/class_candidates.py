"""Sampled softmax: the loss of a batch over some of the classes, and steps on their columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Places, Scores
from softreg._rows.blocks import Block
from softreg.solvers.minibatch.curvature import Kronecker, KroneckerInverse
from softreg.solvers.minibatch.update import (
    AVERAGE_POWER,
    CurvatureState,
    Iterate,
    MomentumState,
    UpdateRule,
)

# Relative proposal probabilities of classes, by their rank (0, 1, ...) among the most frequent.
PROPOSALS = {
    "log-uniform": lambda rank: np.log1p(1 / (rank + 1)),
    "uniform": lambda rank: np.ones(len(rank)),
}
# F between epochs is estimated from no fewer rows than this.
_MIN_ESTIMATE_ROWS = 256
_TINY = np.finfo(float).tiny


def candidate_descent(
    n_candidates: int | None, proposal: str, objective: Objective, random: np.random.Generator
) -> CandidateDescent | None:
    """Return how an epoch goes with candidates, or None where the loss is over all classes.

    That is where `n_candidates` is None or no less than the number of classes. ValueError if the
    scores are not those of classes of which each row has one.
    """
    if n_candidates is None:
        return None
    if not objective.link.exclusive:
        raise ValueError(
            f"n_candidates={n_candidates!r} needs three or more classes of which each row "
            "has one; labels, and two classes, have no others to leave out: leave it None."
        )
    if n_candidates >= objective.shape[1]:
        return None
    return CandidateDescent(int(n_candidates), proposal, random)


@dataclass(frozen=True, eq=False)
class CandidateDescent:
    """Steps on the loss over candidates: a `Descent`.

    A step costs what the columns of its candidates cost. The columns of other classes go on by
    momentum alone; the penalty's part of their gradient is made up for when they are candidates
    next, or at the end of the epoch.

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
        # 1. The curvature f (1 - f) of the scores, for the whole epoch, from the frequencies f of
        # the classes in all rows, as batches show that of candidates alone. It ranks them as f
        # does.
        state = _with_class_frequencies(objective, iterate.curvature_state)
        prior = state.curvature.as_kronecker()
        scores = prior.score_curvature
        candidates = Candidates.from_frequency(self.n_candidates, self.proposal, scores)
        columns, t = _ColumnState.from_iterate(iterate), iterate.n_steps
        for batch in batches:
            t += 1
            # 2. The batch's loss over its true classes and some others, drawn for it.
            classes, sampled = candidate_objective(objective, batch, candidates, self.random)
            # 3. A step on their columns, which first catch up with the steps they were left out of.
            step = _CandidateStep.at_step(t, batch.n, prior, state.inverse, rule)
            moments = columns.step_inplace(classes, sampled, step)
            # 4. The features' second moments in the batch join those of the others.
            curvature = Kronecker(moments * scores.sum(), scores)
            state = state.after_batch(curvature, replace(objective, rows=batch))
        # 5. All columns catch up, so that the iterate is that of one step for all classes.
        step = _CandidateStep.at_step(t, objective.rows.n, prior, state.inverse, rule)
        columns.catch_up_inplace(objective, step)
        return Iterate(columns.T.T, columns.velocity.T, columns.average.T, t, state)

    def estimate(self, objective: Objective) -> Objective:
        """Return the objective estimated from some rows, over all classes.

        They are drawn with equal chances, as many as cost what an epoch over candidates does.
        """
        rows, K = objective.rows, objective.shape[1]
        size = max(_MIN_ESTIMATE_ROWS, rows.n * self.n_candidates // K)
        if size >= rows.n:
            return objective
        some = rows.sampled(_equal_importance, _ProportionalChance(size))
        weight = some.totals.score_divisor
        return replace(objective, rows=some, score_weight=weight, mean_weight=float(weight.mean()))


def _equal_importance(block: Block) -> NDArray[np.float64]:
    """Return the importance of a block's rows, ones (m,)."""
    return np.ones(block.X.shape[0])


@dataclass(frozen=True)
class _ProportionalChance:
    """For the importance (m,) of a block's rows and its total: their chances (m,), proportional.

    Attributes
    ----------
    size : int, number of rows to draw on average
    """

    size: int

    def __call__(self, importance: NDArray, total: float) -> NDArray:
        return importance * (self.size / total)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The classes that a batch's loss is computed over beside those that are true in it.

    Attributes
    ----------
    count : int, how many
    proposal_weights : ndarray (K,), > 0, relative probabilities to be drawn
    """

    count: int
    proposal_weights: NDArray[np.float64]

    @classmethod
    def from_frequency(cls, count: int, proposal: str, frequency: NDArray) -> Candidates:
        """Return candidates drawn by the rank of their frequency (K,), in any unit."""
        rank = np.empty(len(frequency), dtype=int)
        rank[np.argsort(-frequency, kind="stable")] = np.arange(len(frequency))
        return cls(count, PROPOSALS[proposal](rank))

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
    are drawn (Bengio and Senecal 2008, "Adaptive importance sampling to accelerate training of a
    neural probabilistic language model", IEEE Transactions on Neural Networks 19, 713-722; Jean et
    al. 2015, "On using very large target vocabulary for neural machine translation", ACL,
    equation 8).
    """
    true = batch.Y.classes_of_rows()
    others, inclusion = candidates.draw(true, random)
    classes = np.concatenate([true, others])
    correction = np.concatenate([np.zeros(len(true)), -np.log(inclusion)])
    sampled = replace(
        objective,
        rows=batch.over_candidates(classes, correction),
        penalty=objective.penalty.take_scores(classes),
        score_weight=objective.score_weight[classes] * (batch.n / objective.rows.n),
    )
    return classes, sampled


def _with_class_frequencies(objective: Objective, state: CurvatureState | None) -> CurvatureState:
    """Return the state with the score curvature of classes as frequent as in the epoch's rows.

    A class of frequency f has the curvature f (1 - f) in the null model. It is averaged with that
    of the rows seen before; the mean second moments of the features stay as they were.
    """
    frequency, n = objective.rows.totals.mean_target, objective.rows.n
    scores = frequency * (1 - frequency)
    if state is None:
        prior = Kronecker.from_score_curvature(objective, scores)
        return CurvatureState.from_prior(prior, objective)
    before = state.curvature.as_kronecker()
    scores = before.score_curvature + n / (state.n_rows + n) * (scores - before.score_curvature)
    moments = before.feature_moments * (scores.sum() / max(before.score_curvature.sum(), _TINY))
    curvature = Kronecker(moments, scores)
    inverse = curvature.inverse_with_penalty(objective, state.n_rows)
    return replace(state, curvature=curvature, inverse=inverse)


# The curvature of each class is raised by this times 1 / eta - 1, eta being the first step's
# length: a rare class has next to none of its own. With eta = m / (m + 4 p) a row of mean leverage
# p / m then moves no score by more than 8 / 4 = 2 times its residual.
_DAMPING = 1 / 8
# No row's loss has more curvature along any direction of its scores (Boehning 1992,
# "Multinomial logistic regression algorithm", section 2).
_MAX_ROW_CURVATURE = 1 / 2


@dataclass(frozen=True, eq=False)
class _CandidateStep:
    """Step t: its length, its preconditioner, and its update rule.

    Attributes
    ----------
    t : float, the step's number
    inverse_length : float, 1 / eta_t, one over the step's length in natural gradients
    damping : float, by which the relative curvature of each class, over eta_t, is raised
    curvature : Kronecker, by which the second moments of the features are kept
    inverse : KroneckerInverse
    rule : UpdateRule
    """

    t: float
    inverse_length: float
    damping: float
    curvature: Kronecker
    inverse: KroneckerInverse
    rule: UpdateRule

    @classmethod
    def at_step(
        cls, t: float, n_rows: int, curvature: Kronecker, inverse: Any, rule: UpdateRule
    ) -> _CandidateStep:
        """Return step t on `n_rows` rows; `inverse` is a `KroneckerInverse`."""
        first, length = (
            rule.step_length(step, n_rows, inverse.effective_features) for step in (0, t)
        )
        damping = _DAMPING * max(1 / first - 1, 0.0) / inverse.mean_curvature
        return cls(t, 1 / length, damping, curvature, inverse, rule)

    def damped_curvature(self, classes: NDArray | slice) -> NDArray:
        """Return the relative curvature of some classes over eta_t, damped, (c,)."""
        return self.inverse.relative_curvature[classes] * self.inverse_length + self.damping

    def change(
        self, G: Coef, classes: NDArray | slice, elapsed: NDArray, bound: NDArray | float
    ) -> NDArray:
        """Return what the step subtracts from the columns of some classes, (width, c).

        G (width, c) is their gradient, with the penalty's part for `elapsed` (c,) steps at once,
        which is taken as one implicit step. `bound` (c,) is no less than the classes' curvature in
        the batch, which is many times the usual one where a rare candidate stands for many.
        """
        inverse = self.inverse
        curvature = np.maximum(self.damped_curvature(classes), bound / inverse.mean_curvature)
        strength = np.broadcast_to(inverse.relative_strength, inverse.relative_curvature.shape)
        implicit = strength[classes] * (self.inverse_length + elapsed)
        return inverse.solve(G, inverse.diagonals_of(curvature, implicit))


@dataclass(frozen=True, eq=False)
class _ColumnState:
    """The columns of an iterate, as rows; those that are no candidates lag behind the last step.

    Attributes
    ----------
    T, velocity, average : ndarray (K, width), the transpose of an `Iterate`'s
    since : ndarray (K,), the number of the last step that each class's column has been through
    """

    T: NDArray
    velocity: NDArray
    average: NDArray
    since: NDArray[np.float64]

    @classmethod
    def from_iterate(cls, iterate: Iterate) -> _ColumnState:
        """Return a copy of the iterate's columns."""
        fields = (iterate.T, iterate.velocity, iterate.average)
        T, velocity, average = (np.array(field.T, order="C") for field in fields)
        return cls(T, velocity, average, np.full(len(T), float(iterate.n_steps)))

    def step_inplace(self, classes: Places, sampled: Objective, step: _CandidateStep) -> NDArray:
        """Step on the columns of some classes; return the features' second moments in the batch.

        `sampled` is the batch's objective over these classes.
        """
        elapsed = step.t - self.since[classes]
        before = self._moved_by_momentum(classes, step.t - 1, step.rule)
        sums = _batch_sums(sampled, before.T.T, classes, step)
        gradient = sums.gradient + elapsed * sampled.penalty.smooth(before.T.T)[1]
        change = step.change(gradient, classes, elapsed, sums.curvature_bound).T
        self._put_inplace(classes, step.rule.moved(before, change, step.t), step.t)
        return sums.feature_moments

    def catch_up_inplace(self, objective: Objective, last: _CandidateStep) -> None:
        """Bring all columns to the last step: momentum and penalty since their own last step."""
        elapsed = last.t - self.since
        state = self._moved_by_momentum(slice(None), last.t, last.rule)
        for columns in (state.T, state.average):
            gradient = elapsed * objective.penalty.smooth(columns.T)[1]
            columns -= last.change(gradient, slice(None), elapsed, 0.0).T
        self._put_inplace(slice(None), state, last.t)

    def _put_inplace(self, classes: NDArray | slice, state: MomentumState, t: float) -> None:
        """Store the columns (c, width) of some classes, as they are after step t."""
        for stored, new in zip((self.T, self.velocity, self.average), state, strict=True):
            stored[classes] = new
        self.since[classes] = t

    def _moved_by_momentum(
        self, classes: NDArray | slice, t: float, rule: UpdateRule
    ) -> MomentumState:
        """Return the columns (c, width) of some classes after the steps up to t without gradient.

        After i of them T has moved by (mu + ... + mu^i) velocity.
        """
        T, velocity, average = (values[classes] for values in (self.T, self.velocity, self.average))
        since, mu = self.since[classes], rule.momentum
        decay = mu ** (t - since)
        endless_sum = mu / (1 - mu)
        limit = T + endless_sum * velocity
        T = limit - (endless_sum * decay)[:, None] * velocity
        if not rule.averaging:
            return MomentumState(T, decay[:, None] * velocity, T.copy())  # each gets its penalty
        kept, mean_decay = _average_and_decay_weights(since, t, mu)
        average = limit + kept[:, None] * (average - limit)
        average = average - (endless_sum * mean_decay)[:, None] * velocity
        return MomentumState(T, decay[:, None] * velocity, average)


def _average_and_decay_weights(since: NDArray, t: float, mu: float) -> tuple[NDArray, NDArray]:
    """Return the weight, in the average at step t, of that at step `since`, and the mean decay.

    Both are (c,). The mean decay is the sum of mu^i times the weight, in the average at step t, of
    the iterate after step since + i. Iterate s joins the average with the weight
    w_s = (k + 1) / (s + k), where k is `AVERAGE_POWER`. With h_k(s) = s (s + 1) ... (s + k - 1)::

        prod_s (1 - w_s) = h_{k+1}(since) / h_{k+1}(t)
        sum_i w_{since+i} prod_{s > since+i} (1 - w_s) mu^i = (k + 1) S_k / h_{k+1}(t)

    where S_k = sum_i h_k(since + i) mu^i, by parts: (1 - mu) S_k = mu h_k(since)
    - mu^(n + 1) h_k(t) + k S_{k-1} over n = t - since steps.
    """
    h_since, h_t = np.ones_like(since), np.ones_like(since)
    decay, S = mu ** (t - since), np.zeros_like(since)
    for k in range(AVERAGE_POWER + 1):
        S = (mu * (h_since - decay * h_t) + k * S) / (1 - mu)
        h_since, h_t = h_since * (since + k), h_t * (t + k)
    h_t = np.maximum(h_t, _TINY)
    return h_since / h_t, (AVERAGE_POWER + 1) * S / h_t


class _BatchSums(NamedTuple):
    """Sums over a batch's rows at some T (width, c).

    Attributes
    ----------
    gradient : ndarray (width, c), of the mean loss, in which a row counts for less if its own step
        would overshoot it
    feature_moments : ndarray (width, width) or (width,), the features' mean second moments, in
        which rows weigh 1 - sum_k p_k^2
    curvature_bound : ndarray (c,), mean of p, no less than the classes' curvature, that of
        p (1 - p)
    """

    gradient: Coef
    feature_moments: NDArray
    curvature_bound: NDArray


def _batch_sums(sampled: Objective, T: Coef, classes: Places, step: _CandidateStep) -> _BatchSums:
    """Return the sums at T (width, c) of a batch's objective over some classes (c,)."""
    rows, inverse_weight = sampled.rows, 1 / sampled.score_weight
    kernel = _CandidateSums(
        link=sampled.link,
        U=rows.block_coefficients(T),
        curvature=step.curvature,
        basis=step.inverse.eigenbasis.basis,
        inverse_curvature=(1 / step.damped_curvature(classes)).astype(rows.dtype),
        inverse_weight=inverse_weight[0],
    )
    G, moments, total, bound = rows.sum(kernel)
    moments = step.curvature.batch_curvature(sampled, (moments, bound)).feature_moments
    return _BatchSums(
        gradient=rows.working_gradient(G) * inverse_weight,
        feature_moments=moments / max(total, _TINY),
        curvature_bound=bound * inverse_weight,
    )


@dataclass(frozen=True, eq=False)
class _CandidateSums:
    """For a block: sum_i w_i x~_i r_i' (width, c), second moments, their weight, and P w (c,).

    Second moments are `block_moments` in which row i weighs w_i (1 - sum_k p_ik^2), and their
    weight is the sum of these. Residuals r_i are shortened to what keeps a row from
    overshooting.

    Attributes
    ----------
    link : Link
    U : ndarray, `Rows.block_coefficients` of T
    curvature : Kronecker, whose `block_moments` are taken
    basis : ndarray (width, width) or (width,), that of the step's `JointEigenbasis`
    inverse_curvature : ndarray (c,), a, one over the classes' damped curvature
    inverse_weight : float, 1 / S
    """

    link: Link
    U: Coef
    curvature: Kronecker
    basis: NDArray
    inverse_curvature: NDArray
    inverse_weight: float

    def __call__(self, block: Block) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        P = self.link.probabilities_inplace(block.scores(self.U))
        uncertainty = block.weighted(1 - np.einsum("km,km->m", P, P)[None])[0]
        moments = self.curvature.block_moments(block, uncertainty)
        bound = P @ block.weights().astype(P.dtype)
        block.Y.subtract_targets_inplace(P)
        P *= self._residual_shares(block, P)
        return block.gather(block.weighted(P)), moments, uncertainty.sum(dtype=float), bound

    def _residual_shares(self, block: Block, R: Scores) -> NDArray:
        """Return the shares (1, m) of the residuals R (c, m) with which no row overshoots.

        A row's part of the step changes its scores by d = w / S ||B' x~||^2 a r, and the slope of
        its loss along d, which is <r, d>, by at most <d, d> / 2. The share is the ratio of the
        former to the latter, or one.
        """
        a, squares = self.inverse_curvature, np.square(R)
        once, twice = a @ squares, (a * a) @ squares
        ratio = _leverages(block, self.basis) * twice / np.maximum(once, _TINY)
        curvature = _MAX_ROW_CURVATURE * (block.weighted(ratio[None]) * self.inverse_weight)
        return (1 / np.maximum(curvature, 1)).astype(R.dtype)


def _leverages(block: Block, basis: NDArray) -> NDArray:
    """Return ||B' x~||^2 of a block's rows, (m,), given B (width, width) or its diagonal."""
    if basis.ndim == 2:
        return np.square(block.features() @ basis).sum(axis=1)
    return block.squared_lengths(np.square(basis)[:, None])[0]
