"""What all solvers share: the point they are at, the rule by which they stop, what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places

# The duality gap that a fit must reach, relative to F: the promise of 1e-8 on every data set.
CERTIFIED_GAP = 1e-8
# Makes a generator of random numbers, when something is to be drawn.
MakeGenerator = Callable[[], np.random.Generator]
# An F that is zero to rounding: the loss of a well-fitted row is the difference of scores near 100.
LOSS_ROUNDING = 100 * np.finfo(float).eps
# Without a penalty, an F this small is that of separated classes.
PERFECT = 1e-8


def rounding(value: PerProblem) -> PerProblem:
    """Return by how much a computed F of this size can be off, (B,)."""
    return np.maximum(LOSS_ROUNDING, 10 * np.finfo(float).eps * value)


@dataclass(frozen=True, eq=False)
class Point:
    """Coefficients T with F, its gradient, and an estimate and a bound of F - F*.

    Attributes
    ----------
    T, gradient : ndarray (width, K)
    value, estimate, gap : ndarray (B,), problem by problem: F, an estimate of F - F* and a bound
        on it, inf where there is none
    step : ndarray (width, K), the step that led here, as far as it was taken; zeros after a descent
        by L-BFGS or at a start
    """

    T: Coef
    value: PerProblem
    gradient: Coef
    estimate: PerProblem
    gap: PerProblem
    step: Coef

    @classmethod
    def at_coefficients(cls, objective: Objective, T: Coef, step: Coef | None = None) -> Point:
        """Return the point at T, to which `step` (width, K) led, if any: one pass."""
        with np.errstate(over="ignore", invalid="ignore"):  # after too long a step: F is no less
            value, gradient = objective.value_and_gradient(T)
        unknown = np.full(len(value), np.inf)
        return cls(T, value, gradient, unknown, unknown, np.zeros_like(T) if step is None else step)

    def take_problems(self, objective: Objective, problems: Places) -> Point:
        """Return the point of some of the objective's problems."""
        if len(problems) == objective.problems.count:
            return self
        columns = objective.problems.columns
        return replace(
            self,
            T=columns(self.T, problems),
            gradient=columns(self.gradient, problems),
            step=columns(self.step, problems),
            value=self.value[problems],
            estimate=self.estimate[problems],
            gap=self.gap[problems],
        )

    def with_problems(self, objective: Objective, problems: Places, other: Point) -> Point:
        """Return the point with some of the objective's problems where `other` has them."""
        if len(problems) == objective.problems.count:
            return other
        scores = objective.problems.scores(problems)
        return replace(
            self,
            T=_merged(self.T, other.T, scores),
            gradient=_merged(self.gradient, other.gradient, scores),
            step=_merged(self.step, other.step, scores),
            value=_merged(self.value, other.value, problems),
            estimate=_merged(self.estimate, other.estimate, problems),
            gap=_merged(self.gap, other.gap, problems),
        )


def _merged(values: NDArray, new: NDArray, places: Places) -> NDArray:
    """Return a copy of values, (K,) or (width, K) or (B,), with new ones at some places."""
    values = values.copy()
    values[..., places] = new
    return values


@dataclass
class Monitor:
    """Counts iterations, records F and says when to stop.

    A problem is solved when F - F* is at most tol F by estimate, and at most max(tol, 1e-8) F by
    proof; less than rounding counts as zero, and so does F without a penalty below 1e-8. The outer
    loop adds problems whose proof rounding hides; the result those that are proven to tol F,
    whatever the estimate.

    Parameters
    ----------
    tol : float, >= 0
    max_iter : int, >= 0; 0 ends the fit at its start
    report : callable (T, F) -> bool, called after each iteration; True stops the fit; by default it
        never does
    make_generator : callable () -> numpy.random.Generator, for solvers that draw: called before the
        first draw, and not where nothing is drawn

    Attributes
    ----------
    losses : list of float, F after each iteration
    reason : str, why the fit is to end; empty as long as it goes on
    stopped : bool, whether a callback ended it
    """

    tol: float
    max_iter: int
    report: Callable[[Coef, float], bool] = lambda _T, _F: False
    make_generator: MakeGenerator = np.random.default_rng
    losses: list[float] = field(default_factory=list)
    reason: str = ""
    stopped: bool = False

    def __post_init__(self) -> None:
        """End the fit before it begins, if there are to be no iterations."""
        if self.max_iter == 0:
            self.reason = "max_iter=0 leaves the start as it is; raise it, or leave it None"

    def iteration(self, T: Coef, value: PerProblem) -> None:
        """Record an iteration of all problems that ended at T (width, K), where F is `value`."""
        self.record(T, float(value.sum()))

    def record(self, T: Coef, F: float) -> None:
        """Record an iteration that ended at T (width, K), where all problems add up to F."""
        self.losses.append(F)
        if self.report(T, F):
            self.reason, self.stopped = "a callback ended the fit", True
        elif len(self.losses) >= self.max_iter:
            self.reason = f"max_iter={self.max_iter} is too few; raise it, or leave it None"

    def solved(self, objective: Objective, point: Point) -> Mask:
        """Return which of the objective's problems are solved at a point, (B,)."""
        is_perfect = point.value <= np.where(objective.has_free_features, PERFECT, LOSS_ROUNDING)
        return self.reached(point.estimate, point.gap, point.value) | is_perfect

    def reached(self, estimate: PerProblem, gap: PerProblem | float, value: PerProblem) -> Mask:
        """Return whether problems are solved, given estimates and bounds of F - F*, (B,)."""
        return (estimate <= self.allowed(value)) & self.proven(gap, value)

    def allowed(self, value: PerProblem) -> PerProblem:
        """Return the F - F* that is asked for, (B,): tol F, and no less than rounding."""
        return np.maximum(self.tol * value, LOSS_ROUNDING)

    def proven(self, gap: PerProblem | float, value: PerProblem) -> Mask:
        """Return whether bounds of F - F* prove problems to be solved, (B,)."""
        return gap <= np.maximum(max(self.tol, CERTIFIED_GAP) * value, LOSS_ROUNDING)


@dataclass(frozen=True, eq=False)
class ProblemsMonitor:
    """Reports the iterations of some problems to the monitor of all.

    Attributes
    ----------
    of_all : Monitor
    objective, point : Objective of all problems, and the Point where the others are
    problems : ndarray, the numbers of those that iterate
    """

    of_all: Monitor
    objective: Objective
    point: Point
    problems: Places

    @property
    def reason(self) -> str:
        """Why the fit is to end; empty as long as it goes on."""
        return self.of_all.reason

    def iteration(self, T: Coef, value: PerProblem) -> None:
        """Record an iteration of these problems that ended at T, where F is `value`."""
        objective, problems = self.objective, self.problems
        if len(problems) < objective.problems.count:
            T = _merged(self.point.T, T, objective.problems.scores(problems))
            value = _merged(self.point.value, value, problems)
        self.of_all.record(T, float(objective.in_units_of_F(value).sum()))


@dataclass(frozen=True, eq=False)
class Result:
    """Where a solver ended, and what it says of that.

    Attributes
    ----------
    coef : ndarray of shape (d, K), in the user's units
    intercept : ndarray of shape (K,)
    objective : ndarray of shape (B,), each problem's part of F
    gap : ndarray of shape (B,), a bound on F - F*; inf where there is none
    n_iter : int
    converged : ndarray of shape (B,) of bool, whether the one stopping rule was met (`Monitor`)
    proven : ndarray of shape (B,) of bool, whether the gap is one that the rule asks for
    message : str, what happened and what to change
    stopped : bool, whether the fit ended where the user said: by a callback or number of epochs
    diverging : tuple of int, the scores that grow without end (separated classes, no penalty)
    loss_curve : ndarray of shape (n_iter,), F after each iteration
    unidentified : tuple of int, the features whose coefficients the data leave open, though not
        the scores: collinear ones without a penalty
    validation_curve : ndarray of shape (n_iter,) or None, the mean loss of rows held out
    """

    coef: Coef
    intercept: PerScore
    objective: PerProblem
    gap: PerProblem
    n_iter: int
    converged: Mask
    proven: Mask
    message: str
    stopped: bool
    diverging: tuple[int, ...]
    loss_curve: NDArray
    unidentified: tuple[int, ...] = ()
    validation_curve: NDArray | None = None


class Solver(BaseEstimator, ABC):
    """A solver's configuration: scikit-learn's parameter protocol, and a way to minimise.

    Attributes
    ----------
    takes_sparse_penalties : bool, whether it minimises penalties that are not smooth
    """

    takes_sparse_penalties: ClassVar[bool] = False

    @abstractmethod
    def check(self) -> None:
        """Raise a ValueError for an option that is not as described."""

    @abstractmethod
    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Return where minimising the objective from `start` (width, K) ended."""
