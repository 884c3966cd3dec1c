"""The ladder that every solver climbs: descend, renew the metric, step, until certified."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._objective import Objective
from softreg.solvers._metrics import Metric, first_metric
from softreg.solvers._newton import Point, balanced, gradient_step, is_near, newton_step
from softreg.solvers._result import Monitor, Result, rounding

Descent = Callable[[Objective, Point, Metric, Monitor], Point]

# A last step that moves a score by more than this, though not F, follows a separated class to
# infinity; at a minimum the last step moves scores by 1e-4 or less.
_RUNAWAY = 0.1
# Without a penalty, an F this small is that of classes which something separates.
_PERFECT = 1e-8
# How many rounds in a row may bring no more than rounding: a metric renewed that often has nothing
# left to offer.
_PATIENCE = 3
# Single precision is given up for good once its rounding of F exceeds this share of a descent's
# gain: with scores in the thousands its gradients lead nowhere.
_NOISY = 0.1
# Passes that a new Hessian saves in the last step's conjugate gradients, beside an older one
# (measured: three products instead of ten).
_CHEAP = 5
# Products that a step takes in a new metric as well.
_STILL_NEEDED = 8
# Problems are solved this many values of an n x K matrix at a time, so that their probabilities are
# kept from product to product, and a product's coefficients in the cache; but no fewer scores than
# make a product worth its way through the data.
_TOGETHER, _FEWEST_SCORES = 2**23, 64


def climb(objective: Objective, start: NDArray, monitor: Monitor, descend: Descent) -> Result:
    """Return the minimiser of the objective, found from `start` (width, K)."""
    exact, whole = objective.exact(), Point.at(objective, start)
    first = first_metric(objective, start)
    converged = objective.settled.copy()
    for group in _groups(objective):
        climber = _Climber(objective, exact, descend, monitor, first.part(objective, group), group)
        while climber.open.size and not monitor.reason and np.isfinite(whole.value).all():
            whole, done = climber.advance(whole)
            converged[done] = True
    if not np.isfinite(whole.value).all():
        monitor.reason = "F is not finite; bring X, offset and weights closer to one"
    elif not (converged.all() or monitor.reason):
        monitor.reason = "rounding keeps F from decreasing further; raise tol or scale C down"
    return _result(exact, whole, monitor, converged)


def _groups(objective: Objective) -> list[NDArray]:
    """Return the problems that are solved together."""
    problems = np.flatnonzero(~objective.settled)
    together = max(_FEWEST_SCORES, _TOGETHER // objective.rows.n)
    count = min(len(problems), -(-objective.shape[1] // together))
    return np.array_split(problems, max(count, 1))


class _Climber:
    """The way up of a group of problems, of which those that have arrived are left behind."""

    def __init__(
        self,
        objective: Objective,
        exact: Objective,
        descend: Descent,
        monitor: Monitor,
        metric: Metric,
        group: NDArray,
    ) -> None:
        self.objective, self.exact = objective, exact
        self.descend, self.monitor = descend, monitor
        self.metric = self.first = metric
        self.open, self.stalled = group, np.zeros(len(group), dtype=int)
        self.fresh, self.spent = False, 0

    def advance(self, whole: Point) -> tuple[Point, NDArray]:
        """Return the point a round further, and the problems that have converged."""
        objective, exact = self.objective.part(self.open), self.exact.part(self.open)
        before = replace(whole.part(self.exact, self.open), products=0)
        self.monitor.embed = functools.partial(_embedded, self.exact, whole, self.open)
        point = self._descended(objective, exact, before)
        if self.monitor.reason:
            return whole.with_part(self.exact, self.open, point), self.open[:0]
        point = self._stepped(objective, exact, point)
        self.monitor.iteration(point.T, point.value)
        return whole.with_part(self.exact, self.open, point), self._arrived(exact, before, point)

    def _descended(self, objective: Objective, exact: Objective, before: Point) -> Point:
        """Return where the solver's own descent leads, in double precision."""
        point = self.descend(objective, before, self.metric, self.monitor)
        self.spent = point.products or self.spent
        if exact is not objective:
            single, point = point, Point.at(exact, point.T)
            gain = before.value.sum() - point.value.sum()
            if single is not before and abs((single.value - point.value).sum()) > _NOISY * gain:
                self.objective = self.exact
        return point

    def _stepped(self, objective: Objective, exact: Objective, point: Point) -> Point:
        """Return the point after Newton's step in a metric that is worth its cost."""
        renewal = self.metric.renewal_passes(objective)
        settled = self.fresh and is_near(exact, point, self.metric).all()
        if self.spent and (renewal <= _CHEAP or (self.spent >= renewal and not settled)):
            self.metric = self.metric.renewed(objective, point.T)
        self.fresh = self.metric.accurate and not is_near(exact, point, self.metric).all()
        there = newton_step(exact, point, self.metric, self.monitor.tol)
        self.spent = max(0, there.products - _STILL_NEEDED)
        # A Hessian of saturated rows says little of where they come alive.
        moved = exact.by_problem((there.T != point.T).any(axis=0)) > 0
        stuck = np.flatnonzero(~moved & np.isinf(there.estimate))
        if stuck.size:
            metric = self.first.part(exact, stuck)
            new = gradient_step(exact.part(stuck), there.part(exact, stuck), metric)
            there = there.with_part(exact, stuck, new)
        return there

    def _arrived(self, exact: Objective, before: Point, point: Point) -> NDArray:
        """Return the problems that have converged, and leave them and the stalled ones behind."""
        reached = self.monitor.reached(point.estimate, point.gap, point.value)
        reached |= point.value <= np.where(exact.has_free_features, _PERFECT, 0.0)
        gained = before.value - point.value > rounding(point.value)
        self.stalled = np.where(gained, 0, self.stalled + 1)
        # Where rounding hides the proof, the estimate has to do.
        stalled = self.stalled == _PATIENCE
        reached |= stalled & self.monitor.reached(point.estimate, 0.0, point.value)
        arrived, going = self.open[reached], np.flatnonzero(~(reached | stalled))
        if len(going) < len(self.open):
            self.metric = self.metric.part(exact, going)
            self.first = self.first.part(exact, going)
            self.open, self.stalled = self.open[going], self.stalled[going]
        return arrived


def _embedded(
    objective: Objective, whole: Point, problems: NDArray, T: NDArray, value: NDArray
) -> tuple[NDArray, float]:
    """Return T and F of all problems, given those of some and the point where all others are."""
    if len(problems) == objective.problems:
        return T, float(value.sum())
    all_T, values = whole.T.copy(), whole.value.copy()
    all_T[:, objective.scores(problems)], values[problems] = T, value
    return all_T, float(values.sum())


def _result(objective: Objective, point: Point, monitor: Monitor, converged: NDArray) -> Result:
    diverging = _diverging(objective, point, converged)
    # No F is below zero, and that of a settled problem is next to it.
    gap = np.where(objective.settled, point.value, point.gap)
    bounded = ~objective.has_free_features
    unproven = np.flatnonzero(bounded & ~np.isfinite(gap))
    if unproven.size:
        part, own = objective.part(unproven), objective.scores(unproven)
        there = balanced(part, Point.at(part, point.T[:, own]))
        point = point.with_part(objective, unproven, there)
        gap[unproven] = part.certify(there.T, np.zeros_like(there.T)).gap
    coef, intercept = objective.coefficients(point.T)
    message = "the optimum was reached" if converged.all() else monitor.reason
    return Result(
        coef=coef,
        intercept=intercept,
        objective=point.value,
        gap=np.where(bounded, gap, np.inf),
        n_iter=len(monitor.losses),
        converged=converged & ~objective.by_problem(diverging).astype(bool),
        message="there is no optimum" if diverging.any() else message,
        stopped=monitor.stopped,
        diverging=tuple(np.flatnonzero(diverging).tolist()),
        loss_curve=np.array(monitor.losses),
    )


def _diverging(objective: Objective, point: Point, converged: NDArray) -> NDArray[np.bool_]:
    """Return which scores (K,) the last step still moves, though it no longer moves F."""
    if not objective.has_free_features.any():
        return np.zeros(objective.shape[1], dtype=bool)
    U = objective.rows.inward(objective.link.centred(point.step))

    def kernel(block: Block) -> NDArray:
        moves = np.abs(block.linear(U))
        return moves.max(axis=1, where=block.weights() > 0, initial=0)[None]

    moves = objective.rows.each(kernel).max(axis=0)
    most = moves.reshape(objective.problems, -1).max(axis=1)
    most[~(converged & objective.has_free_features & (most > _RUNAWAY))] = np.inf
    return moves > 0.5 * objective.by_score(most)
