"""Sampled softmax: steps on the columns of the classes that a batch's loss is computed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.blocks import Block
from softreg.solvers.minibatch.curvature import Kronecker, KroneckerInverse
from softreg.solvers.minibatch.update import (
    AVERAGE,
    CurvatureState,
    Iterate,
    UpdateRule,
    length_of,
    weight_of,
)

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

    def draw(self, true: NDArray, random: np.random.Generator) -> tuple[NDArray, NDArray]:
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


def over_candidates(
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
    true = batch.Y.classes_of_rows()
    others, likely = candidates.draw(true, random)
    classes = np.concatenate([true, others])
    correction = np.concatenate([np.zeros(len(true)), -np.log(likely)])
    part = replace(
        objective,
        rows=batch.over_candidates(classes, correction),
        penalty=objective.penalty.take_scores(classes),
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

    some = rows.sampled(ones, lambda own, total: own * (size / total))
    mean = float(some.totals.score_divisor.mean())
    return replace(objective, rows=some, score_weight=some.totals.score_divisor, mean_weight=mean)


# Each class moves as if its curvature were this much more, beside what a batch bears: a rare one,
# whose own says nearly nothing, then as far as its rows bear, each by at most 2 of its residual.
_LEAST_CURVATURE = 1 / 8
# No row's loss has more curvature along any direction of its scores (Boehning 1992,
# "Multinomial logistic regression algorithm", section 2).
_MOST_CURVATURE = 1 / 2

_TINY = np.finfo(float).tiny


def descend(
    objective: Objective,
    batches: Iterable[Any],
    iterate: Iterate,
    rule: UpdateRule,
    chosen: tuple[int, str],
    random: np.random.Generator,
) -> Iterate:
    """Return the iterate after a step on each batch, over so many candidates of such a proposal.

    A step costs what the columns of its classes cost. The others go on without a gradient, which
    is made up for when they are candidates next, or at the end.
    """
    known, curvature_state = _informed(objective, iterate.curvature_state)
    candidates = Candidates.of(*chosen, known.score_curvature)
    columns, t = _ColumnState.of(iterate), iterate.steps
    for batch in batches:
        classes, part = over_candidates(objective, batch, candidates, random)
        step_size = _StepSize.at(t + 1, batch.n, known, curvature_state.inverse, rule)
        features = columns.step_inplace(classes, part, step_size) * known.score_curvature.sum()
        curvature_state = curvature_state.after(
            Kronecker(features, known.score_curvature), replace(objective, rows=batch)
        )
        t += 1
    step_size = _StepSize.at(t, objective.rows.n, known, curvature_state.inverse, rule)
    columns.end_inplace(objective, step_size)
    return Iterate(columns.T.T, columns.velocity.T, columns.mean.T, t, curvature_state)


def _informed(
    objective: Objective, curvature_state: CurvatureState | None
) -> tuple[Kronecker, CurvatureState]:
    """Return what is known of the Hessian before these rows, but how frequent classes are in them.

    A class of frequency f has the curvature f (1 - f), at the model without features.
    """
    frequency, n = objective.rows.totals.mean_target, objective.rows.n
    scores = frequency * (1 - frequency)
    if curvature_state is None:
        curvature = Kronecker.from_score_curvature(objective, scores)
        return curvature, CurvatureState(
            curvature, curvature.inverse_with_penalty(objective, 0), 0, 0, 0
        )
    before = curvature_state.curvature.as_kronecker()
    scores = before.score_curvature + n / (curvature_state.rows + n) * (
        scores - before.score_curvature
    )
    features = before.feature_moments * (scores.sum() / max(before.score_curvature.sum(), _TINY))
    curvature = Kronecker(features, scores)
    inverse = curvature.inverse_with_penalty(objective, curvature_state.rows)
    return curvature, replace(curvature_state, curvature=curvature, inverse=inverse)


@dataclass(frozen=True, eq=False)
class _StepSize:
    """How far a step goes.

    Attributes
    ----------
    t : float, the step's number
    inverse : float, one over the length of a step in natural gradients
    least : float, what the curvature of each class is raised by
    known : Kronecker
    preconditioner : KroneckerInverse
    rule : UpdateRule
    """

    t: float
    inverse: float
    least: float
    known: Kronecker
    preconditioner: KroneckerInverse
    rule: UpdateRule

    @classmethod
    def at(
        cls, t: float, m: int, known: Kronecker, preconditioner: Any, rule: UpdateRule
    ) -> _StepSize:
        """Return that of the t-th step, on a batch of m rows."""
        effective_features = preconditioner.effective_features
        longest, now = (length_of(when, m, effective_features, rule) for when in (0, t))
        least = _LEAST_CURVATURE * max(1 / longest - 1, 0.0) / preconditioner.mean_curvature
        return cls(t, 1 / now, least, known, preconditioner, rule)

    def reluctance(self, classes: NDArray | slice) -> NDArray:
        """Return the classes' curvature, beside the mean, over the length of the step, (c,)."""
        return self.preconditioner.relative_curvature[classes] * self.inverse + self.least

    def change(
        self, G: NDArray, classes: NDArray | slice, late: NDArray, shown: NDArray | float
    ) -> NDArray:
        """Return how far gradients G (width, c) lead.

        `shown` is the classes' curvature that the batch shows, which may be many times the usual
        one where a rare candidate stands for many. The penalty's part comes for `late` (c,) steps
        at once, as one implicit step.
        """
        own = self.preconditioner
        relative = np.broadcast_to(own.relative_strength, own.relative_curvature.shape)[classes]
        reluctance = np.maximum(self.reluctance(classes), shown / own.mean_curvature)
        return own.solve(G, own.diagonals_of(reluctance, relative * (self.inverse + late)))


@dataclass(frozen=True, eq=False)
class _ColumnState:
    """The columns of an iterate, one a row here, each as it was after the step `since` (K,)."""

    T: NDArray
    velocity: NDArray
    mean: NDArray
    since: NDArray[np.float64]

    @classmethod
    def of(cls, iterate: Iterate) -> _ColumnState:
        """Return a copy of the iterate's columns."""
        fields = (iterate.T, iterate.velocity, iterate.mean)
        T, velocity, mean = (np.array(field.T, order="C") for field in fields)
        return cls(T, velocity, mean, np.full(len(T), float(iterate.steps)))

    def step_inplace(self, classes: NDArray, part: Objective, step_size: _StepSize) -> NDArray:
        """Step on the columns of some classes; return the features' second moments."""
        rule, late = step_size.rule, step_size.t - self.since[classes]
        T, velocity, mean = self._idle(classes, step_size.t - 1, rule)
        sums = _batch_sums(part, T.T, classes, step_size)
        gradient = sums.gradient + late * part.penalty.smooth(T.T)[1]
        change = step_size.change(gradient, classes, late, sums.shown).T
        velocity = rule.momentum * velocity - (1 - rule.momentum) * change
        T = T + velocity
        share = weight_of(step_size.t, AVERAGE) if rule.averaging else 1.0
        self._put_inplace(classes, (T, velocity, mean + share * (T - mean)), step_size.t)
        return sums.moments

    def end_inplace(self, objective: Objective, step_size: _StepSize) -> None:
        """Let all columns catch up with the last step, and with the penalty since their last."""
        late = step_size.t - self.since
        T, velocity, mean = self._idle(slice(None), step_size.t, step_size.rule)
        for own in (T, mean):
            gradient = late * objective.penalty.smooth(own.T)[1]
            own -= step_size.change(gradient, slice(None), late, 0.0).T
        self._put_inplace(slice(None), (T, velocity, mean), step_size.t)

    def _put_inplace(self, classes: NDArray | slice, columns: tuple, t: float) -> None:
        for mine, new in zip((self.T, self.velocity, self.mean), columns, strict=True):
            mine[classes] = new
        self.since[classes] = t

    def _idle(self, classes: NDArray | slice, now: float, rule: UpdateRule) -> tuple:
        """Return T, velocity and mean after steps up to `now` in which no gradient moved them."""
        T, velocity, mean = (own[classes] for own in (self.T, self.velocity, self.mean))
        since = self.since[classes]
        faded = rule.momentum ** (now - since)
        reach = rule.momentum / (1 - rule.momentum)
        end = T + reach * velocity  # where it leads if it never ends
        T = end - (reach * faded)[:, None] * velocity
        if not rule.averaging:
            return T, faded[:, None] * velocity, T
        kept, lag = _averaged(since, now, rule.momentum)
        mean = end + kept[:, None] * (mean - end) - (reach * lag)[:, None] * velocity
        return T, faded[:, None] * velocity, mean


def _averaged(since: NDArray, now: float, momentum: float) -> tuple[NDArray, NDArray]:
    """Return what an average keeps of itself from step `since` to `now`, and what of the momentum.

    The t-th step weighs w_t = (k + 1) / (t + k). With h_k(t) = t (t + 1) ... (t + k - 1) that is::

        prod (1 - w_t) = h_{k+1}(since) / h_{k+1}(now)
        sum_i w_{since+i} (later ones' prod (1 - w_t)) mu^i = (k + 1) S_k / h_{k+1}(now),

    where S_k = sum_i h_k(since + i) mu^i, by parts: (1 - mu) S_k = mu h_k(since)
    - mu^(e + 1) h_k(now) + k S_{k-1} over e steps.
    """
    early, late = np.ones_like(since), np.ones_like(since)
    faded, total = momentum ** (now - since), np.zeros_like(since)
    for k in range(AVERAGE + 1):
        total = (momentum * (early - faded * late) + k * total) / (1 - momentum)
        early, late = early * (since + k), late * (now + k)
    late = np.maximum(late, _TINY)
    return early / late, (AVERAGE + 1) * total / late


class _BatchSums(NamedTuple):
    """What a batch tells.

    Attributes
    ----------
    gradient : ndarray (width, c), that of the loss
    moments : ndarray (width, width) or (width,), the features' mean second moments, in which rows
        count as they are uncertain
    shown : ndarray (c,), what the classes' curvature is no more than
    """

    gradient: NDArray
    moments: NDArray
    shown: NDArray


def _batch_sums(part: Objective, T: NDArray, classes: NDArray, step_size: _StepSize) -> _BatchSums:
    """Return what a batch tells at T (width, c).

    A row that would move its own scores by more than its residual bears counts for less.
    """
    rows, link, each = part.rows, part.link, 1 / part.score_weight
    U, left = rows.block_coefficients(T), step_size.preconditioner.eigenbasis.basis
    ease = (1 / step_size.reluctance(classes)).astype(rows.dtype)

    def kernel(block: Block) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        P = link.probabilities_inplace(block.scores(U))
        uncertain = block.weighted(1 - np.einsum("km,km->m", P, P)[None])[0]
        moments = step_size.known.block_moments(block, uncertain)
        shown = P @ block.weights().astype(P.dtype)
        block.Y.subtract_targets_inplace(P)
        if left.ndim == 2:
            leverage = np.square(block.features() @ left).sum(axis=1)
        else:
            leverage = block.squared_lengths(np.square(left)[:, None])[0]
        easy = np.square(P)
        once, twice = ease @ easy, (ease * ease) @ easy
        reach = block.weighted((leverage * twice / np.maximum(once, _TINY))[None]) * each[0]
        P *= (1 / np.maximum(_MOST_CURVATURE * reach, 1)).astype(P.dtype)
        return block.gather(block.weighted(P)), moments, uncertain.sum(dtype=float), shown

    G, moments, total, shown = rows.sum(kernel)
    features = step_size.known.batch_curvature(part, (moments, shown)).feature_moments
    return _BatchSums(rows.working_gradient(G) * each, features / max(total, _TINY), shown * each)
