"""The outer loop of every certified solver: descend, refresh the metric, step, until proven.

A round takes a group of problems through three steps:

1. The solver's own descent leads on in the coordinates of the metric (Newton has none).
2. If a better metric would have saved more passes than it costs, the metric is refreshed where the
   descent led. Newton's step follows in that metric: far from the optimum only as much of it as
   decreases F, near it the whole, with a certificate.
3. Problems that are proven optimal leave, and those that only rounding keeps from being proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from softreg._model.block_kernels import LargestMove
from softreg._model.certificate import certify
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import LEAST, IterationMonitor, Monitor, ProblemsMonitor, rounding
from softreg.solvers.newton_step import balanced, is_near, newton_step
from softreg.solvers.point import Point, gradient_step
from softreg.solvers.result import Result

# (objective, point, metric, monitor) -> the point to which the solver's own descent leads.
Descent = Callable[[Objective, Point, Metric, IterationMonitor], Point]

# A last step that moves a score by more than this, though not F, follows a separated class to
# infinity; at a minimum the last step moves scores by 1e-4 or less.
_RUNAWAY = 0.1
# Without a penalty, an F this small is that of classes which something separates.
_PERFECT = 1e-8
# How many rounds in a row may bring no more than rounding: a metric refreshed that often will bring
# no more either.
_PATIENCE = 3
# Single precision is given up for good once its rounding of F exceeds this share of a descent's
# gain: with scores in the thousands its gradients lead nowhere.
_NOISY = 0.1
# Passes that a new Hessian saves in the last step's conjugate gradients, beside an older one
# (measured: three products instead of ten).
_CHEAP = 5
# Products that a step takes in a new, costly metric as well.
_STILL_NEEDED = 8
# Problems are solved this many values of an n x K matrix at a time, so that their probabilities are
# kept from product to product, and a product's coefficients in the cache; but no fewer scores than
# make a product worth its way through the data.
_TOGETHER, _FEWEST_SCORES = 2**23, 64


@dataclass(frozen=True, eq=False)
class _Fit:
    """What all rounds of a fit share.

    Attributes
    ----------
    objective : Objective of the descents, maybe in single precision
    monitor : Monitor
    descend : Descent
    """

    objective: Objective
    monitor: Monitor
    descend: Descent

    @cached_property
    def exact(self) -> Objective:
        """The objective in double precision."""
        return self.objective.in_double()

    def monitor_of(self, problems: Places, point: Point) -> ProblemsMonitor:
        """Return the monitor of some problems, given the point of all."""
        return ProblemsMonitor(self.monitor, partial(_embedded, self.exact, point, problems))


@dataclass(frozen=True, eq=False)
class _Group:
    """Problems that are solved together, between two rounds.

    Attributes
    ----------
    problems : ndarray, the numbers of those not solved yet
    stalled : ndarray, the number of rounds in a row in which F of each fell by rounding at most
    metric, first : Metric, the latest and the first
    fresh : bool, whether the metric is a Hessian that was made where not all were near
    spent : float, passes that a better metric might have saved by now
    """

    problems: Places
    stalled: Places
    metric: Metric
    first: Metric
    fresh: bool = False
    spent: float = 0.0


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the outer loop ended.

    Attributes
    ----------
    point : Point, of all problems
    converged : ndarray (B,) of bool
    metric : Metric, the latest of all problems
    """

    point: Point
    converged: Mask
    metric: Metric


def run_outer_loop(objective: Objective, start: Coef, monitor: Monitor, descend: Descent) -> Result:
    """Return the minimiser of the objective, found from `start` (width, K)."""
    point = Point.at_coefficients(objective.in_double(), start)
    minimum = run_rounds(objective, point, first_metric(objective, start), monitor, descend)
    return result_from(objective, minimum, monitor)


def run_rounds(
    objective: Objective, start: Point, first: Metric, monitor: Monitor, descend: Descent
) -> Minimum:
    """Return where rounds lead from a point, in a first metric."""
    fit, point = _Fit(objective, monitor, descend), start
    converged, latest = objective.constant_problems.copy(), first
    for problems in _groups(objective):
        metric = first.take_problems(objective, problems)
        group = _Group(problems, np.zeros_like(problems), metric, metric)
        while group.problems.size and not monitor.reason and np.isfinite(point.value).all():
            before, solving = point, group.problems
            fit, point, group = _descended(fit, point, group)
            if not monitor.reason:
                point, group = _stepped(fit, point, group)
                latest = group.metric if len(solving) == objective.problems.count else latest
                group, solved = _without_solved(fit, before, point, group)
                converged[solving[solved]] = True
    return Minimum(point, converged, latest)


def _groups(objective: Objective) -> list[Places]:
    """Return the problems that are solved together."""
    problems = np.flatnonzero(~objective.constant_problems)
    if not objective.rows.keeps_blocks:  # all share the way through the data
        return [problems]
    together = max(_FEWEST_SCORES, _TOGETHER // objective.rows.n)
    count = min(len(problems), -(-objective.shape[1] // together))
    return np.array_split(problems, max(count, 1))


def _descended(fit: _Fit, point: Point, group: _Group) -> tuple[_Fit, Point, _Group]:
    """Step 1: return the point after the descent, and the fit with the next one's precision."""
    exact, problems = fit.exact, group.problems
    start = replace(point.take_problems(exact, problems), passes=0)
    part, monitor = fit.objective.take_problems(problems), fit.monitor_of(problems, point)
    end = fit.descend(part, start, group.metric, monitor)
    group = replace(group, spent=max(end.passes, group.spent))
    if exact is not fit.objective:
        single, end = end, Point.at_coefficients(exact.take_problems(problems), end.T)
        gain = start.value.sum() - end.value.sum()
        if single is not start and abs((single.value - end.value).sum()) > _NOISY * gain:
            fit = replace(fit, objective=exact)
    return fit, point.with_problems(exact, problems, end), group


def _stepped(fit: _Fit, point: Point, group: _Group) -> tuple[Point, _Group]:
    """Step 2: return the point after Newton's step, and the group with the metric it was in."""
    exact, problems, metric = fit.exact, group.problems, group.metric
    part, start = exact.take_problems(problems), point.take_problems(exact, problems)
    # A metric costs passes: those that the last steps took may have been more.
    price = metric.refresh_passes(part)
    needless = group.fresh and is_near(part, start, metric).all()
    if group.spent > 0 and (price <= _CHEAP or (group.spent >= price and not needless)):
        metric = metric.refreshed(fit.objective.take_problems(problems), start.T)
    fresh = metric.is_hessian and not is_near(part, start, metric).all()
    end = newton_step(part, start, metric, fit.monitor.tol)
    spent = end.passes - min(metric.refresh_passes(part), _STILL_NEEDED)
    # A Hessian of saturated rows says little of where they stop being saturated.
    moved = part.problems.any((end.T != start.T).any(axis=0))
    stuck = np.flatnonzero(~moved & np.isinf(end.estimate))
    if stuck.size:
        first = group.first.take_problems(part, stuck)
        descended = gradient_step(part.take_problems(stuck), end.take_problems(part, stuck), first)
        end = end.with_problems(part, stuck, descended)
    fit.monitor_of(problems, point).iteration(end.T, end.value)
    group = replace(group, metric=metric, fresh=fresh, spent=spent)
    return point.with_problems(exact, problems, end), group


def _without_solved(fit: _Fit, before: Point, point: Point, group: _Group) -> tuple[_Group, Mask]:
    """Step 3: return the group without solved and stalled problems, and which were solved."""
    exact, problems = fit.exact, group.problems
    part, end = exact.take_problems(problems), point.take_problems(exact, problems)
    solved = fit.monitor.reached(end.estimate, end.gap, end.value)
    solved |= end.value <= np.where(part.has_free_features, _PERFECT, LEAST)
    gained = before.value[problems] - end.value > rounding(end.value)
    rounds = np.where(gained, 0, group.stalled + 1)
    # Where rounding hides the proof, the estimate has to do.
    stalled = rounds == _PATIENCE
    solved |= stalled & fit.monitor.reached(end.estimate, 0.0, end.value)
    left = np.flatnonzero(~(solved | stalled))
    if len(left) == len(problems):
        return replace(group, stalled=rounds), solved
    metric, first = group.metric.take_problems(part, left), group.first.take_problems(part, left)
    left_over = _Group(problems[left], rounds[left], metric, first, group.fresh, group.spent)
    return left_over, solved


def _embedded(
    objective: Objective, point: Point, problems: Places, T: Coef, value: PerProblem
) -> tuple[Coef, float]:
    """Return T and F of all problems, given those of some, and the point where all others are."""
    if len(problems) == objective.problems.count:
        return T, float(objective.in_units_of_F(value).sum())
    all_T, values = point.T.copy(), point.value.copy()
    all_T[:, objective.problems.scores(problems)], values[problems] = T, value
    return all_T, float(objective.in_units_of_F(values).sum())


def result_from(objective: Objective, minimum: Minimum, monitor: Monitor) -> Result:
    """Return the result in the user's units."""
    objective, converged = objective.in_double(), minimum.converged
    diverging = _diverging(objective, minimum.point, converged)
    point, gap = _with_all_gaps(objective, minimum.point)
    coef, intercept = objective.coefficients(point.T)
    worn_out = "rounding keeps F from decreasing further; raise tol or scale C down"
    message = "the optimum was reached" if converged.all() else monitor.reason or worn_out
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(point.value),
        gap=np.where(objective.has_free_features, np.inf, objective.in_units_of_F(gap)),
        n_iter=len(monitor.losses),
        converged=converged & ~objective.problems.any(diverging),
        message="there is no optimum" if diverging.any() else message,
        stopped=monitor.stopped,
        diverging=tuple(np.flatnonzero(diverging).tolist()),
        loss_curve=np.array(monitor.losses),
    )


def _with_all_gaps(objective: Objective, point: Point) -> tuple[Point, PerProblem]:
    """Return the point with balanced intercepts where it has no gap, and gaps (B,)."""
    gap = np.minimum(point.gap, point.value)  # no F is below zero
    has_bound = ~(objective.has_free_features | objective.constant_problems)
    unproven = np.flatnonzero(has_bound & ~np.isfinite(point.gap))
    if unproven.size:
        part, scores = objective.take_problems(unproven), objective.problems.scores(unproven)
        end = balanced(part, Point.at_coefficients(part, point.T[:, scores]))
        point = point.with_problems(objective, unproven, end)
        proven = certify(part, end.T, np.zeros_like(end.T)).gap
        gap[unproven] = np.minimum(proven, end.value)
    return point, gap


def _diverging(objective: Objective, point: Point, converged: Mask) -> Mask:
    """Return which scores (K,) the last step still moves, though it no longer moves F."""
    if not objective.has_free_features.any():
        return np.zeros(objective.shape[1], dtype=bool)
    step = objective.rows.block_coefficients(objective.link.centred(point.step))
    moves = objective.rows.maximum(LargestMove(step))
    largest = moves.reshape(objective.problems.count, -1).max(axis=1)
    runaway = converged & objective.has_free_features & (largest > _RUNAWAY)
    return moves > 0.5 * objective.problems.spread(np.where(runaway, largest, np.inf))
