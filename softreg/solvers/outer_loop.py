"""The outer loop of every certified solver: descend, refresh the metric, step, until proven.

A round takes a group of problems through three steps:

1. The solver descends in the coordinates of the metric.
2. If a better metric would have saved more passes than it costs, the metric is refreshed where the
   descent ended. Newton's step follows in that metric: far from the optimum only as much of it as
   decreases F, near it the whole, with a certificate.
3. Problems that are proven optimal leave the group, and those that make no more progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.monitor import (
    IterationMonitor,
    Monitor,
    ProblemsMonitor,
    rounding,
)
from softreg.solvers.newton_step import is_near, newton_step
from softreg.solvers.point import Point, gradient_step
from softreg.solvers.result import Result, result_from

# (objective, point, metric, monitor) -> the point to which a solver descends in the metric, and the
# latest metric.
Descent = Callable[[Objective, Point, Metric, IterationMonitor], tuple[Point, Metric]]

# How many rounds in a row may lower F by no more than rounding: a metric that was refreshed that
# often will not help any more.
_PATIENCE = 3
# Single precision is given up for good once its rounding of F exceeds this share of the decrease of
# F by a descent: with scores in the thousands its gradients lead nowhere.
_NOISY = 0.1
# A new Hessian saves this many passes of the last step beside an older one (measured: conjugate
# gradients then take three products instead of ten), so that a cheaper one is always refreshed.
_ALWAYS_REFRESHED = 5
# A step takes up to this many products in a new metric as well, which no better one would save.
_UNAVOIDABLE_PRODUCTS = 8
# Offsets up to this size leave curvature enough for any start. At the first temperature the largest
# is a tenth of it.
_LARGE_OFFSET = 100
# From one temperature to the next, lower by this factor, a few Newton steps follow the optimum:
# three at first, one in the end. With a factor of 10 one fit in a few hundred gets stuck, with 5
# none (measured, offsets of 1e2 to 1e8).
_COOLING = 5
# Relative tolerance of the optima on the way.
_COOLING_TOL = 0.1


@dataclass(frozen=True, eq=False)
class _Fit:
    """What all rounds of a fit share.

    Attributes
    ----------
    objective : Objective of the descents, in the precision of X or in double
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
    n_stalled : ndarray, for each, the number of rounds in a row that lowered F by rounding at most
    metric, first_metric : Metric, the latest and the first
    is_recent : bool, whether the metric is a Hessian, and not all problems were near their optimum
        when the last step was taken in it
    avoidable_passes : float, how many passes a better metric would have saved, at most
    """

    problems: Places
    n_stalled: Places
    metric: Metric
    first_metric: Metric
    is_recent: bool = False
    avoidable_passes: float = 0.0


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
    T = start_below_offsets(objective, start, monitor, descend)
    point = Point.at_coefficients(objective.in_double(), T)
    minimum = run_rounds(objective, point, first_metric(objective, T), monitor, descend)
    return result_from(objective, minimum.point, minimum.converged, monitor)


def run_rounds(
    objective: Objective, start: Point, first: Metric, monitor: Monitor, descend: Descent
) -> Minimum:
    """Return where rounds lead from the point `start`, in the metric `first` to begin with."""
    fit, point = _Fit(objective, monitor, descend), start
    converged, latest = objective.constant_problems.copy(), first
    for problems in _groups(objective):
        metric = first.take_problems(objective, problems)
        group = _Group(problems, np.zeros_like(problems), metric, metric)
        while group.problems.size and not monitor.reason and np.isfinite(point.value).all():
            before, unsolved = point, group.problems
            fit, point, group = _descended(fit, point, group)
            if not monitor.reason:
                point, group = _stepped(fit, point, group)
            latest = group.metric if len(unsolved) == objective.problems.count else latest
            group, solved = _without_solved(fit, before, point, group)
            converged[unsolved[solved]] = True
    return Minimum(point, converged, latest)


def _groups(objective: Objective) -> list[Places]:
    """Return the problems in groups that are solved together.

    So that the groups' probabilities are kept from product to product, and a product's coefficients
    stay in the cache; but of no fewer scores than make a product worth reading the data for.
    """
    problems = np.flatnonzero(~objective.constant_problems)
    if not objective.rows.in_memory:  # reading the data costs more than their arithmetic
        return [problems]
    limits = objective.rows.threads.limits
    n_scores = max(limits.fewest_group_scores, limits.kept_scores // objective.rows.n)
    count = min(len(problems), -(-objective.shape[1] // n_scores))
    return np.array_split(problems, max(count, 1))


def _descended(fit: _Fit, point: Point, group: _Group) -> tuple[_Fit, Point, _Group]:
    """Step 1: return the point after the descent, and the fit with the next one's precision."""
    exact, problems = fit.exact, group.problems
    start = replace(point.take_problems(exact, problems), passes=0)
    subset, monitor = fit.objective.take_problems(problems), fit.monitor_of(problems, point)
    end, metric = fit.descend(subset, start, group.metric, monitor)
    passes = max(end.passes, group.avoidable_passes)
    group = replace(group, metric=metric, avoidable_passes=passes)
    if exact is not fit.objective and np.isinf(end.gap).any():  # without a certificate it is rough
        rough, end = end, Point.at_coefficients(exact.take_problems(problems), end.T)
        decrease = start.value.sum() - end.value.sum()
        if rough is not start and abs((rough.value - end.value).sum()) > _NOISY * decrease:
            fit = replace(fit, objective=exact)
    return fit, point.with_problems(exact, problems, end), group


def _stepped(fit: _Fit, point: Point, group: _Group) -> tuple[Point, _Group]:
    """Step 2: return the point after Newton's step, and the group with the metric it was in.

    Where the descent ended with a certificate for all problems, there is no step.
    """
    exact, problems = fit.exact, group.problems
    subset, start = exact.take_problems(problems), point.take_problems(exact, problems)
    if fit.monitor.reached(start.estimate, start.gap, start.value).all():
        return point, group
    metric = _refreshed_if_it_pays(fit, subset, start, group)
    is_recent = metric.is_hessian and not is_near(subset, start, metric).all()
    end = newton_step(subset, start, metric, fit.monitor.tol)
    avoidable_passes = end.passes - min(metric.refresh_passes(subset), _UNAVOIDABLE_PRODUCTS)
    # A Hessian of saturated rows says little of where they stop being saturated; the first metric
    # has none of it.
    moved = subset.problems.any((end.T != start.T).any(axis=0))
    stuck = np.flatnonzero(~moved & np.isinf(end.estimate))
    if stuck.size:
        first = group.first_metric.take_problems(subset, stuck)
        stuck_point = end.take_problems(subset, stuck)
        descended = gradient_step(subset.take_problems(stuck), stuck_point, first)
        end = end.with_problems(subset, stuck, descended)
    fit.monitor_of(problems, point).iteration(end.T, end.value)
    group = replace(group, metric=metric, is_recent=is_recent, avoidable_passes=avoidable_passes)
    return point.with_problems(exact, problems, end), group


def _refreshed_if_it_pays(fit: _Fit, subset: Objective, start: Point, group: _Group) -> Metric:
    """Return the group's metric, refreshed if that costs no more passes than it would have saved.

    Where all problems are near their optimum, a recent Hessian is good enough.
    """
    metric, avoidable = group.metric, group.avoidable_passes
    cost = metric.refresh_passes(subset)
    good_enough = group.is_recent and is_near(subset, start, metric).all()
    pays = cost <= _ALWAYS_REFRESHED or (avoidable >= cost and not good_enough)
    if avoidable > 0 and pays:
        return metric.refreshed(fit.objective.take_problems(group.problems), start.T)
    return metric


def _without_solved(fit: _Fit, before: Point, point: Point, group: _Group) -> tuple[_Group, Mask]:
    """Step 3: return the group without solved and stalled problems, and which were solved."""
    exact, problems = fit.exact, group.problems
    subset, end = exact.take_problems(problems), point.take_problems(exact, problems)
    solved = fit.monitor.solved(subset, end)
    has_fallen = before.value[problems] - end.value > rounding(end.value)
    n_stalled = np.where(has_fallen, 0, group.n_stalled + 1)
    # Where rounding keeps F from falling, it may also keep the gap from closing: the estimate
    # decides.
    stalled = n_stalled == _PATIENCE
    solved |= stalled & fit.monitor.reached(end.estimate, 0.0, end.value)
    unsolved = np.flatnonzero(~(solved | stalled))
    if len(unsolved) == len(problems):
        return replace(group, n_stalled=n_stalled), solved
    group = replace(
        group,
        problems=problems[unsolved],
        n_stalled=n_stalled[unsolved],
        metric=group.metric.take_problems(subset, unsolved),
        first_metric=group.first_metric.take_problems(subset, unsolved),
    )
    return group, solved


def _embedded(
    objective: Objective, point: Point, problems: Places, T: Coef, value: PerProblem
) -> tuple[Coef, float]:
    """Return T and F of all problems, given those of some, and the point of all the others."""
    if len(problems) == objective.problems.count:
        return T, float(objective.in_units_of_F(value).sum())
    T_of_all, values = point.T.copy(), point.value.copy()
    T_of_all[:, objective.problems.scores(problems)], values[problems] = T, value
    return T_of_all, float(objective.in_units_of_F(values).sum())


def start_below_offsets(
    objective: Objective, start: Coef, monitor: Monitor, descend: Descent
) -> Coef:
    """Return `start` (width, K), or, where offsets are large, the optimum at a low temperature.

    With offsets in the thousands nearly all rows are saturated wherever a solver starts: their
    curvature is zero to rounding, and says nothing of where it is not. The loss at temperature t is
    smooth over t times longer distances (`Objective.at_temperature`); its optimum is followed while
    t falls. Iterations on the way count as the fit's, with F at the temperature.
    """
    largest, T = objective.rows.totals.largest_offset.max(initial=0), start
    if largest <= _LARGE_OFFSET:
        return start
    count = int(np.ceil(np.log(10 * largest / _LARGE_OFFSET) / np.log(_COOLING)))
    for t in np.geomspace(float(_COOLING) ** count, _COOLING, count):
        if not monitor.reason:
            T = _optimum_at_temperature(objective, T, t, monitor, descend)
    return T


def _optimum_at_temperature(
    objective: Objective, start: Coef, t: float, monitor: Monitor, descend: Descent
) -> Coef:
    """Return about the optimum (width, K) at temperature t, from `start` (width, K)."""
    tempered, V = objective.at_temperature(t), start / t
    left = monitor.max_iter - len(monitor.losses)
    stage = replace(
        monitor,
        tol=_COOLING_TOL,
        max_iter=left,
        report=lambda V, F: monitor.report(t * V, t * F),
        losses=[],
    )
    point = Point.at_coefficients(tempered.in_double(), V)
    minimum = run_rounds(tempered, point, first_metric(tempered, V), stage, descend)
    monitor.losses.extend(t * F for F in stage.losses)
    monitor.reason, monitor.stopped = stage.reason, stage.stopped
    return t * minimum.point.T
