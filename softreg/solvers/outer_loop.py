"""The ladder that every solver climbs: descend, renew the metric, step, until certified."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.blocks import Block
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import LEAST, Monitor, rounding
from softreg.solvers.newton_step import balanced, is_near, newton_step
from softreg.solvers.point import Point, gradient_step
from softreg.solvers.result import Result

Descent = Callable[[Objective, Point, Metric, Monitor], Point]

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
class _Group:
    """Where a group of problems rests between two rounds.

    Attributes
    ----------
    open : ndarray, the problems that are still on their way
    stalled : ndarray, how many rounds in a row brought each of them nothing
    metric, first : Metric, the latest and the first
    fresh : bool, whether the metric is accurate and was made where not all were near
    spent : float, passes that a better metric might have saved by now
    """

    open: NDArray
    stalled: NDArray
    metric: Metric
    first: Metric
    fresh: bool = False
    spent: float = 0.0


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a outer loop ended.

    Attributes
    ----------
    point : Point, of all problems
    converged : ndarray (B,) of bool
    metric : Metric, the latest of all problems
    """

    point: Point
    converged: NDArray[np.bool_]
    metric: Metric


def run_outer_loop(
    objective: Objective, start: NDArray, monitor: Monitor, descend: Descent
) -> Result:
    """Return the minimiser of the objective, found from `start` (width, K)."""
    point = Point.at_coefficients(objective.in_double(), start)
    minimum = run_rounds(objective, point, first_metric(objective, start), monitor, descend)
    return result_from(objective, minimum, monitor)


def run_rounds(
    objective: Objective, whole: Point, first: Metric, monitor: Monitor, descend: Descent
) -> Minimum:
    """Return where the outer loop from a point, in a first metric, ends."""
    exact = objective.in_double()
    converged, latest = objective.constant_problems.copy(), first
    for problems in _groups(objective):
        metric = first.take_problems(objective, problems)
        group = _Group(problems, np.zeros_like(problems), metric, metric)
        while group.open.size and not monitor.reason and np.isfinite(whole.value).all():
            before, problems = whole, group.open
            objective, whole, group = _descended(objective, exact, whole, group, monitor, descend)
            if not monitor.reason:
                whole, group = _stepped(objective, exact, whole, group, monitor)
                latest = group.metric if len(group.open) == exact.problems else latest
                group, arrived = _parted(exact, before, whole, group, monitor)
                converged[problems[arrived]] = True
    return Minimum(whole, converged, latest)


def _groups(objective: Objective) -> list[NDArray]:
    """Return the problems that are solved together."""
    problems = np.flatnonzero(~objective.constant_problems)
    if not objective.rows.in_memory:  # nothing is kept, and all share the way through the data
        return [problems]
    together = max(_FEWEST_SCORES, _TOGETHER // objective.rows.n)
    count = min(len(problems), -(-objective.shape[1] // together))
    return np.array_split(problems, max(count, 1))


def _descended(
    objective: Objective,
    exact: Objective,
    whole: Point,
    group: _Group,
    monitor: Monitor,
    descend: Descent,
) -> tuple[Objective, Point, _Group]:
    """Return where the solver's own descent leads, and the objective of the next one."""
    monitor.embed = functools.partial(_embedded, exact, whole, group.open)
    before = replace(whole.take_problems(exact, group.open), passes=0)
    point = descend(objective.take_problems(group.open), before, group.metric, monitor)
    group = replace(group, spent=max(point.passes, group.spent))
    if exact is not objective:
        single, point = point, Point.at_coefficients(exact.take_problems(group.open), point.T)
        gain = before.value.sum() - point.value.sum()
        if single is not before and abs((single.value - point.value).sum()) > _NOISY * gain:
            objective = exact
    return objective, whole.with_problems(exact, group.open, point), group


def _stepped(
    objective: Objective, exact: Objective, whole: Point, group: _Group, monitor: Monitor
) -> tuple[Point, _Group]:
    """Return the point after Newton's step in a metric that is worth its cost."""
    part, point, metric = (
        exact.take_problems(group.open),
        whole.take_problems(exact, group.open),
        group.metric,
    )
    renewal = metric.refresh_passes(part)
    needless = group.fresh and is_near(part, point, metric).all()
    if group.spent > 0 and (renewal <= _CHEAP or (group.spent >= renewal and not needless)):
        metric = metric.refreshed(objective.take_problems(group.open), point.T)
    fresh = metric.is_hessian and not is_near(part, point, metric).all()
    there = newton_step(part, point, metric, monitor.tol)
    spent = there.passes - min(metric.refresh_passes(part), _STILL_NEEDED)
    # A Hessian of saturated rows says little of where they come alive.
    moved = part.any_of_problem((there.T != point.T).any(axis=0))
    stuck = np.flatnonzero(~moved & np.isinf(there.estimate))
    if stuck.size:
        gradients = (there.take_problems(part, stuck), group.first.take_problems(part, stuck))
        there = there.with_problems(
            part, stuck, gradient_step(part.take_problems(stuck), *gradients)
        )
    monitor.iteration(there.T, there.value)
    group = replace(group, metric=metric, fresh=fresh, spent=spent)
    return whole.with_problems(exact, group.open, there), group


def _parted(
    exact: Objective, before: Point, whole: Point, group: _Group, monitor: Monitor
) -> tuple[_Group, NDArray[np.bool_]]:
    """Return the group without those that have arrived or stalled, and which have arrived."""
    part, point = exact.take_problems(group.open), whole.take_problems(exact, group.open)
    arrived = monitor.reached(point.estimate, point.gap, point.value)
    arrived |= point.value <= np.where(part.has_free_features, _PERFECT, LEAST)
    gained = before.value[group.open] - point.value > rounding(point.value)
    rounds = np.where(gained, 0, group.stalled + 1)
    # Where rounding hides the proof, the estimate has to do.
    stalled = rounds == _PATIENCE
    arrived |= stalled & monitor.reached(point.estimate, 0.0, point.value)
    on = np.flatnonzero(~(arrived | stalled))
    if len(on) == len(group.open):
        return replace(group, stalled=rounds), arrived
    metric, first = group.metric.take_problems(part, on), group.first.take_problems(part, on)
    left = replace(group, open=group.open[on], stalled=rounds[on], metric=metric, first=first)
    return left, arrived


def _embedded(
    objective: Objective, whole: Point, problems: NDArray, T: NDArray, value: NDArray
) -> tuple[NDArray, float]:
    """Return T and F of all problems, given those of some and the point where all others are."""
    if len(problems) == objective.problems:
        return T, float(objective.in_units_of_F(value).sum())
    all_T, values = whole.T.copy(), whole.value.copy()
    all_T[:, objective.scores(problems)], values[problems] = T, value
    return all_T, float(objective.in_units_of_F(values).sum())


def result_from(objective: Objective, minimum: Minimum, monitor: Monitor) -> Result:
    """Return what the user gets to know of where a outer loop ended."""
    objective, point, converged = objective.in_double(), minimum.point, minimum.converged
    diverging = _diverging(objective, point, converged)
    gap = np.minimum(point.gap, point.value)  # no F is below zero
    bounded = ~objective.has_free_features
    unproven = np.flatnonzero(bounded & ~np.isfinite(point.gap) & ~objective.constant_problems)
    if unproven.size:
        part, own = objective.take_problems(unproven), objective.scores(unproven)
        there = balanced(part, Point.at_coefficients(part, point.T[:, own]))
        point = point.with_problems(objective, unproven, there)
        proven = part.certify(there.T, np.zeros_like(there.T)).gap
        gap[unproven] = np.minimum(proven, there.value)
    coef, intercept = objective.coefficients(point.T)
    worn_out = "rounding keeps F from decreasing further; raise tol or scale C down"
    message = "the optimum was reached" if converged.all() else monitor.reason or worn_out
    return Result(
        coef=coef,
        intercept=intercept,
        objective=objective.in_units_of_F(point.value),
        gap=np.where(bounded, objective.in_units_of_F(gap), np.inf),
        n_iter=len(monitor.losses),
        converged=converged & ~objective.any_of_problem(diverging),
        message="there is no optimum" if diverging.any() else message,
        stopped=monitor.stopped,
        diverging=tuple(np.flatnonzero(diverging).tolist()),
        loss_curve=np.array(monitor.losses),
    )


def _diverging(objective: Objective, point: Point, converged: NDArray) -> NDArray[np.bool_]:
    """Return which scores (K,) the last step still moves, though it no longer moves F."""
    if not objective.has_free_features.any():
        return np.zeros(objective.shape[1], dtype=bool)
    U = objective.rows.block_coefficients(objective.link.centred(point.step))

    def kernel(block: Block) -> NDArray:
        moves = np.abs(block.linear_scores(U))
        return moves.max(axis=1, where=block.weighted(np.ones_like(moves)) > 0, initial=0)

    moves = objective.rows.maximum(kernel)
    most = moves.reshape(objective.problems, -1).max(axis=1)
    most[~(converged & objective.has_free_features & (most > _RUNAWAY))] = np.inf
    return moves > 0.5 * objective.by_score(most)
