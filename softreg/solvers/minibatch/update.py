"""Averaged stochastic natural gradient: the update rule of mini-batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Counts, Mask, PerScore
from softreg._rows.coordinates import Coordinates
from softreg.solvers.minibatch.curvature import ClassBlocks, Curvature, Inverse, Kronecker
from softreg.solvers.minibatch.gradient import gradient_and_curvature, without_overshoot

# The length of the t-th step falls like 1 / (1 + eta t / 24): fast enough to forget the start, and
# slowly enough to average over as many rows as there are (measured from 6 to 40).
_LENGTH_DECAY = 24.0
# A batch of m rows determines a step along p features if m is several times p: a step longer than
# m / (m + 4 p) follows the batch's noise (measured from 1 to 8).
_ROWS_PER_FEATURE = 4.0
# The t-th iterate weighs about t^3 in their average, and the t-th batch about t^1 in the curvature,
# so that the start is forgotten (Shamir and Zhang 2013, "Stochastic gradient descent for non-smooth
# optimization", section 3).
AVERAGE_POWER, _CURVATURE_POWER = 3, 1
# Curvature is kept class by class where its blocks take no more values than this, 32 MB.
_MAX_BLOCK_VALUES = 2**22
# The inverse is computed anew when there are this many times as many batches.
_INVERSE_RENEWAL = 1.2


@dataclass(frozen=True)
class UpdateRule:
    """What users may set of the update rule.

    Attributes
    ----------
    learning_rate : float or None, length eta > 0 of the first steps in natural gradients; None is
        m / (m + 4 p) for batches of m rows and p effective features
    momentum : float in [0, 1)
    averaging : bool, whether iterates are averaged; else the average is the last one
    """

    learning_rate: float | None
    momentum: float
    averaging: bool

    def step_length(self, t: Counts, n_rows: int, effective_features: float) -> PerScore | float:
        """Return the length of step t, on a batch of `n_rows`, in natural gradients."""
        eta = self.learning_rate
        if eta is None:
            eta = n_rows / (n_rows + _ROWS_PER_FEATURE * effective_features)
        return eta / (1 + eta * t / _LENGTH_DECAY)


def average_weight(t: Counts, power: int) -> PerScore | float:
    """Return the weight of item t when it joins an average in which items weigh about t^power."""
    return (power + 1) / (t + power)


@dataclass(frozen=True, eq=False)
class CurvatureState:
    """The curvature that batches have shown so far, and the inverse by which steps go.

    Attributes
    ----------
    curvature : Curvature, averaged over the batches
    inverse : Inverse, of the curvature at an earlier batch, plus the penalty
    n_batches, n_rows : float or ndarray (K,), how many batches, and rows in them, the curvature is
        averaged over; a score does not count those in which it has no weight
    inverse_batch : float or ndarray (K,), the number of the batch at which the inverse was computed
    """

    curvature: Curvature
    inverse: Inverse
    n_batches: Counts
    n_rows: Counts
    inverse_batch: Counts

    @classmethod
    def from_prior(cls, curvature: Curvature, objective: Objective) -> CurvatureState:
        """Return the state before any batch, at a curvature that the first batch replaces."""
        return cls(curvature, curvature.inverse_with_penalty(objective, 0), 0, 0, 0)

    @classmethod
    def at_start(cls, objective: Objective) -> CurvatureState:
        """Return the state before any batch, of the kind of curvature that is small enough."""
        width, K = objective.shape
        kind = ClassBlocks if K * width**2 <= _MAX_BLOCK_VALUES else Kronecker
        return cls.from_prior(kind.at_zero_coefficients(objective), objective)

    def after_first_batch(self, objective: Objective, T: Coef, learned: Mask) -> CurvatureState:
        """Return the state with the curvature at T of a batch, for scores of which it is the first.

        These are those of `learned` (K,) that no batch has shown yet.
        """
        first = learned & np.equal(self.n_batches, 0)
        if not first.any():
            return self
        _, curvature = gradient_and_curvature(objective, T, self.curvature, self.inverse, 0.0)
        return self.after_batch(curvature, objective, first)

    def after_batch(
        self, batch_curvature: Curvature, objective: Objective, learned: Mask
    ) -> CurvatureState:
        """Return the state after one more batch, given its curvature and its objective.

        `learned` (K,) marks the scores that have weight; others stay as they are.
        """
        n_batches, n_rows = self.n_batches + learned, self.n_rows + learned * objective.rows.n
        weight = np.where(learned, average_weight(n_batches, _CURVATURE_POWER), 0)
        curvature = self.curvature.averaged_with(batch_curvature, weight)
        inverse, inverse_batch = self.inverse, self.inverse_batch
        due = np.maximum(inverse_batch + 1, _INVERSE_RENEWAL * inverse_batch)
        if (learned & (n_batches >= due)).any():
            inverse = curvature.inverse_with_penalty(objective, n_rows)
            inverse_batch = n_batches
        return CurvatureState(curvature, inverse, n_batches, n_rows, inverse_batch)

    def in_coordinates(self, change: Coordinates, objective: Objective) -> CurvatureState:
        """Return the state in the objective's coordinates, given in terms of the present ones."""
        curvature = self.curvature.in_coordinates(change)
        inverse = curvature.inverse_with_penalty(objective, self.n_rows)
        return replace(self, curvature=curvature, inverse=inverse, inverse_batch=self.n_batches)


@dataclass(frozen=True, eq=False)
class Iterate:
    """What one step leaves for the next.

    Attributes
    ----------
    T, velocity, average : ndarray (width, K), coefficients, their last change, and the average of
        all T so far
    n_steps : float or ndarray (K,), how many steps were taken, or counted as taken at the start
    curvature_state : CurvatureState, None before the first step
    """

    T: Coef
    velocity: Coef
    average: Coef
    n_steps: Counts = 0
    curvature_state: CurvatureState | None = None

    @classmethod
    def at_start(cls, T: Coef, n_steps: Counts = 0) -> Iterate:
        """Return the iterate at rest at T (width, K), which counts as the result of `n_steps`."""
        return cls(T, np.zeros_like(T), T, n_steps)

    def moved_to(self, T: Coef, scores: Mask) -> Iterate:
        """Return the iterate at T (width, K) in some scores (K,), in which no step was taken."""
        return replace(
            self, T=np.where(scores, T, self.T), average=np.where(scores, T, self.average)
        )

    def in_coordinates(self, change: Coordinates, objective: Objective) -> Iterate:
        """Return the iterate in the objective's coordinates, given in terms of the present ones."""

        def coefficients(T: Coef) -> NDArray:
            return change.working(T[: len(change.centre)], T[-1])

        T, velocity, average = map(coefficients, (self.T, self.velocity, self.average))
        state = self.curvature_state
        state = None if state is None else state.in_coordinates(change, objective)
        return Iterate(T, velocity, average, self.n_steps, state)


def step(iterate: Iterate, objective: Objective, rule: UpdateRule, learned: Mask) -> Iterate:
    """Return the iterate after a step on the objective of a batch.

    `learned` (K,) marks the scores that have weight in the rows of which the batch is one; others
    stay as they are: neither momentum nor the penalty moves them.
    """
    n_steps = iterate.n_steps + learned
    # 1. The curvature of the batches before; at the very first batch, its own.
    state = iterate.curvature_state or CurvatureState.at_start(objective)
    state = state.after_first_batch(objective, iterate.T, learned)
    # 2. The length: shorter with every step, so that the noise of batches averages out.
    length = rule.step_length(n_steps, objective.rows.n, state.inverse.effective_features)
    # 3. The batch's gradient, its rows' residuals implicit, so that no outlier is overshot.
    gradient, curvature = gradient_and_curvature(
        objective, iterate.T, state.curvature, state.inverse, length
    )
    # 4. The natural gradient, shortened where rows that point the same way add up to too much.
    change = length * state.inverse.natural_gradient(gradient)
    change = without_overshoot(objective, iterate.T, change)
    # 5. Momentum and the average of the iterates.
    velocity = rule.momentum * iterate.velocity - (1 - rule.momentum) * change
    T = np.where(learned, iterate.T + velocity, iterate.T)
    weight = average_weight(n_steps, AVERAGE_POWER) if rule.averaging else 1.0
    average = iterate.average + np.where(learned, weight * (T - iterate.average), 0)
    velocity = np.where(learned, velocity, iterate.velocity)
    # 6. The batch's curvature joins that of the others, for the steps to come.
    state = state.after_batch(curvature, objective, learned)
    return Iterate(T, velocity, average, n_steps, state)
