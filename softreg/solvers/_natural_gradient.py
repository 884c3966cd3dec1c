"""Averaged stochastic natural gradient: the update rule of mini-batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._coordinates import Coordinates
from softreg._objective import Objective
from softreg.solvers._batches import gradient_and_curvature, steadied
from softreg.solvers._kronecker import Curvature, Preconditioner

# Steps fall like this over their number: the decay that forgets the start, yet averages as many
# rows as there are (measured from 3 to 24).
_DECAY = 12.0
# A batch of m rows tells p directions apart if m is several times p: a longer step than
# m / (m + 4 p) follows its noise (measured from 1 to 8).
_ROWS_A_DIRECTION = 4.0
# The average and the curvature weigh the t-th step as t^3 and t^1, nearly: the start is forgotten
# (Shamir and Zhang 2013, "Stochastic gradient descent for non-smooth optimization", section 3).
_AVERAGE, _MEMORY = 3, 1
# The preconditioner is renewed when the steps have grown by this share.
_RENEWAL = 1.2


@dataclass(frozen=True)
class Rule:
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
class Compass:
    """What batches have told of the Hessian, and the preconditioner made of it.

    Attributes
    ----------
    curvature : Curvature
    preconditioner : Preconditioner
    batches, rows : int, how many told of it
    renewed : int, the batch at which the preconditioner was made; 0 if it has to be made anew
    """

    curvature: Curvature
    preconditioner: Preconditioner
    batches: int
    rows: int
    renewed: int

    @classmethod
    def first(cls, objective: Objective, T: NDArray) -> Compass:
        """Return what the first batch tells at T."""
        curvature = Curvature.unknown(objective)
        nothing = cls(curvature, Preconditioner.of(curvature, objective.penalty, 0), 0, 0, 0)
        _, found = gradient_and_curvature(objective, T, nothing.preconditioner, length=0.0)
        return nothing.after(found, objective)

    def after(self, found: Curvature, objective: Objective) -> Compass:
        """Return what is known after one more batch."""
        batches, rows = self.batches + 1, self.rows + objective.rows.n
        curvature = self.curvature.updated(found, _weight(batches, _MEMORY))
        preconditioner, renewed = self.preconditioner, self.renewed
        if batches >= max(renewed + 1, _RENEWAL * renewed):
            preconditioner = Preconditioner.of(curvature, objective.penalty, rows)
            renewed = batches
        return Compass(curvature, preconditioner, batches, rows, renewed)

    def carried(self, change: Coordinates) -> Compass:
        """Return the same in other coordinates, given in terms of these."""
        return replace(self, curvature=self.curvature.carried(change), renewed=0)


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where the descent is.

    Attributes
    ----------
    T, velocity, mean : ndarray (width, K): the coefficients, their last change, their average
    steps : float, how many were taken, among them those that the beginning was worth
    compass : Compass, None before the first step
    """

    T: NDArray
    velocity: NDArray
    mean: NDArray
    steps: float = 0
    compass: Compass | None = None

    @classmethod
    def at(cls, T: NDArray, steps: float = 0) -> Iterate:
        """Return the beginning of a descent."""
        return cls(T, np.zeros_like(T), T, steps)

    def carried(self, change: Coordinates) -> Iterate:
        """Return the same iterate in other coordinates, given in terms of these."""

        def coefficients(T: NDArray) -> NDArray:
            return change.working(T[: len(change.centre)], T[-1])

        T, velocity, mean = map(coefficients, (self.T, self.velocity, self.mean))
        compass = None if self.compass is None else self.compass.carried(change)
        return Iterate(T, velocity, mean, self.steps, compass)


def step(iterate: Iterate, objective: Objective, rule: Rule) -> Iterate:
    """Return the iterate after a step on the objective of a batch."""
    compass, steps = iterate.compass or Compass.first(objective, iterate.T), iterate.steps + 1
    preconditioner = compass.preconditioner
    length = _length(steps, objective.rows.n, preconditioner.freedom, rule)
    gradient, found = gradient_and_curvature(objective, iterate.T, preconditioner, length)
    change = steadied(objective, iterate.T, length * preconditioner(gradient))
    velocity = rule.momentum * iterate.velocity - (1 - rule.momentum) * change
    T = iterate.T + velocity
    share = _weight(steps, _AVERAGE) if rule.averaging else 1.0
    mean = iterate.mean + share * (T - iterate.mean)
    return Iterate(T, velocity, mean, steps, compass.after(found, objective))


def _weight(t: float, k: int) -> float:
    """Return the t-th item's weight in an average that weighs items as t^k, nearly."""
    return (k + 1) / (t + k)


def _length(t: float, m: int, directions: float, rule: Rule) -> float:
    """Return the length of the t-th step, on a batch of m rows, in natural gradients."""
    longest = m / (m + _ROWS_A_DIRECTION * directions) if rule.longest is None else rule.longest
    return longest / (1 + longest * t / _DECAY)
