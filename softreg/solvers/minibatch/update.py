"""Averaged stochastic natural gradient: the update rule of mini-batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.coordinates import Coordinates
from softreg.solvers.minibatch.curvature import ClassBlocks, Curvature, Inverse, Kronecker
from softreg.solvers.minibatch.gradient import gradient_and_curvature, without_overshoot

# Steps fall like this over their number: the decay that forgets the start, yet averages as many
# rows as there are (measured from 6 to 40).
_DECAY = 24.0
# A batch of m rows tells p directions apart if m is several times p: a longer step than
# m / (m + 4 p) follows its noise (measured from 1 to 8).
_ROWS_A_DIRECTION = 4.0
# The average and the curvature weigh the t-th step as t^3 and t^1, nearly: the start is forgotten
# (Shamir and Zhang 2013, "Stochastic gradient descent for non-smooth optimization", section 3).
AVERAGE, _MEMORY = 3, 1
# Blocks class by class take no more values than this, 32 MB.
_MOST_BLOCKS = 2**22
# The inverse is renewed when the steps have grown by this share.
_RENEWAL = 1.2


@dataclass(frozen=True)
class UpdateRule:
    """What a user may set of the update rule.

    Attributes
    ----------
    longest : float or None, the longest step in natural gradients; None: what the batch bears
    momentum : float in [0, 1)
    averaging : bool
    """

    longest: float | None
    momentum: float
    averaging: bool


@dataclass(frozen=True, eq=False)
class CurvatureState:
    """What batches have sums of the Hessian, and the inverse made of it.

    Attributes
    ----------
    curvature : Curvature
    inverse : Inverse
    batches, rows : int, how many sums of it
    renewed : int, the batch at which the inverse was made
    """

    curvature: Curvature
    inverse: Inverse
    batches: int
    rows: int
    renewed: int

    @classmethod
    def first(cls, objective: Objective, T: NDArray) -> CurvatureState:
        """Return what the first batch tells at T."""
        width, K = objective.shape
        kind = ClassBlocks if K * width**2 <= _MOST_BLOCKS else Kronecker
        curvature = kind.at_zero_coefficients(objective)
        nothing = cls(curvature, curvature.inverse_with_penalty(objective, 0), 0, 0, 0)
        at = (curvature, nothing.inverse, 0.0)
        return nothing.after(gradient_and_curvature(objective, T, *at)[1], objective)

    def after(self, found: Curvature, objective: Objective) -> CurvatureState:
        """Return what is known after one more batch."""
        batches, rows = self.batches + 1, self.rows + objective.rows.n
        curvature = self.curvature.averaged_with(found, weight_of(batches, _MEMORY))
        inverse, renewed = self.inverse, self.renewed
        if batches >= max(renewed + 1, _RENEWAL * renewed):
            inverse, renewed = curvature.inverse_with_penalty(objective, rows), batches
        return CurvatureState(curvature, inverse, batches, rows, renewed)

    def in_coordinates(self, change: Coordinates, objective: Objective) -> CurvatureState:
        """Return the same in an objective's coordinates, given in terms of the present ones."""
        curvature = self.curvature.in_coordinates(change)
        inverse = curvature.inverse_with_penalty(objective, self.rows)
        return replace(self, curvature=curvature, inverse=inverse, renewed=self.batches)


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where the descent is.

    Attributes
    ----------
    T, velocity, mean : ndarray (width, K): the coefficients, their last change, their average
    steps : float, how many were taken, among them those that the beginning was worth
    curvature : CurvatureState, None before the first step
    """

    T: NDArray
    velocity: NDArray
    mean: NDArray
    steps: float = 0
    curvature_state: CurvatureState | None = None

    @classmethod
    def at(cls, T: NDArray, steps: float = 0) -> Iterate:
        """Return the beginning of a descent."""
        return cls(T, np.zeros_like(T), T, steps)

    def in_coordinates(self, change: Coordinates, objective: Objective) -> Iterate:
        """Return the same in an objective's coordinates, given in terms of the present ones."""

        def coefficients(T: NDArray) -> NDArray:
            return change.working(T[: len(change.centre)], T[-1])

        T, velocity, mean = map(coefficients, (self.T, self.velocity, self.mean))
        curvature_state = (
            None
            if self.curvature_state is None
            else self.curvature_state.in_coordinates(change, objective)
        )
        return Iterate(T, velocity, mean, self.steps, curvature_state)


def step(iterate: Iterate, objective: Objective, rule: UpdateRule) -> Iterate:
    """Return the iterate after a step on the objective of a batch."""
    curvature_state, steps = (
        iterate.curvature_state or CurvatureState.first(objective, iterate.T),
        iterate.steps + 1,
    )
    curvature, inverse = curvature_state.curvature, curvature_state.inverse
    length = length_of(steps, objective.rows.n, inverse.effective_features, rule)
    gradient, found = gradient_and_curvature(objective, iterate.T, curvature, inverse, length)
    change = without_overshoot(objective, iterate.T, length * inverse.natural_gradient(gradient))
    velocity = rule.momentum * iterate.velocity - (1 - rule.momentum) * change
    T = iterate.T + velocity
    share = weight_of(steps, AVERAGE) if rule.averaging else 1.0
    mean = iterate.mean + share * (T - iterate.mean)
    return Iterate(T, velocity, mean, steps, curvature_state.after(found, objective))


def weight_of(t: float, k: int) -> float:
    """Return the t-th item's weight in an average that weighs items as t^k, nearly."""
    return (k + 1) / (t + k)


def length_of(t: float, m: int, directions: float, rule: UpdateRule) -> float:
    """Return the length of the t-th step, on a batch of m rows, in natural gradients."""
    longest = m / (m + _ROWS_A_DIRECTION * directions) if rule.longest is None else rule.longest
    return longest / (1 + longest * t / _DECAY)
