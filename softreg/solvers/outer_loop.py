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

import numpy as np

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, Places
from softreg._rows.base import slices
from softreg.solvers.base import Monitor, Point, ProblemsMonitor, Result, rounding
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.metrics import Metric, first_metric
from softreg.solvers.proof import result_from
from softreg.solvers.steps import estimated_gap, gradient_step, is_near, newton_step

# (objective, point, metric, monitor) -> the point to which a solver descends in the metric, the
# latest metric, and how many passes a better metric might have saved.
Descent = Callable[[Objective, Point, Metric, ProblemsMonitor], tuple[Point, Metric, int]]
# (objective, start, monitor) -> about the optimum, (width, K).
FindOptimum = Callable[[Objective, Coef, Monitor], Coef]

# How many rounds in a row may lower F by no more than rounding: a metric that was refreshed that
# often will not help any more.
_PATIENCE = 3
# At an F below this, that of separated classes under hardly any penalty, gradients are rounding: F
# is about the mean of the rows' 1 - p, each of which is right to 2e-16, or 2e-5 of F. Its square,
# the share of F that the estimate is then right to, is as large as the default tol.
_HIDDEN = 1e-11
# Single precision is given up for good once its rounding of F exceeds this share of the decrease of
# F by a descent: with scores in the thousands its gradients lead nowhere.
_NOISY = 0.1
# A new Hessian saves this many passes of the last step beside an older one (measured: conjugate
# gradients then take three products instead of ten), so that a cheaper one is always refreshed.
_ALWAYS_REFRESHED = 5
# A step takes up to this many products in a new metric as well, which no better one would save.
_UNAVOIDABLE_PRODUCTS = 8
# An F of this many nats above the loss of equal probabilities is that of rows which are saturated
# at wrong answers.
_ENORMOUS = 10
# So is an estimate of F - F* of more than this, in a metric that knows nothing of saturation.
_SETTLED = 1e-6
# From one temperature to the next, lower by this factor, a few Newton steps follow the optimum:
# three at first, one in the end. With a factor of 10 one fit in a few hundred gets stuck, with 5
# none (measured, offsets of 1e2 to 1e8).
_COOLING = 5
# Optima on the way need not be good: their relative tolerance. A temperature also ends when three
# iterations in a row have left F above this share of what it was, or after so many in all.
_COOLING_TOL, _SLOW_ITERATIONS, _SLOW, _MOST_AT_A_TEMPERATURE = 0.1, 3, 0.99, 50


@dataclass(frozen=True, eq=False)
class _Group:
    """Problems that are solved together, between two rounds.

    Attributes
    ----------
    problems : ndarray, the numbers of those not solved yet
    exact : Objective of these problems, in double precision
    rough : Objective of the same in single precision, for descents; None where that leads nowhere
    point : Point, where these problems are
    metric, first_metric : Metric, the latest and the first
    n_stalled : ndarray, for each, the number of rounds in a row that lowered F by rounding at most
    is_recent : bool, whether the metric is a Hessian, and not all problems were near their optimum
        when the last step was taken in it
    avoidable_passes : float, how many passes a better metric would have saved, at most
    """

    problems: Places
    exact: Objective
    rough: Objective | None
    point: Point
    metric: Metric
    first_metric: Metric
    n_stalled: Places
    is_recent: bool = False
    avoidable_passes: float = 0.0

    @property
    def for_descents(self) -> Objective:
        """The objective in the precision of descents and metrics."""
        return self.exact if self.rough is None else self.rough

    def take_problems(self, places: Places) -> _Group:
        """Return the group of the problems at some places."""
        if len(places) == len(self.problems):
            return self
        return replace(
            self,
            problems=self.problems[places],
            exact=self.exact.take_problems(places),
            rough=None if self.rough is None else self.rough.take_problems(places),
            point=self.point.take_problems(self.exact, places),
            metric=self.metric.take_problems(self.exact, places),
            first_metric=self.first_metric.take_problems(self.exact, places),
            n_stalled=self.n_stalled[places],
        )


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the outer loop ended.

    Attributes
    ----------
    point : Point, of all problems
    converged : ndarray (B,) of bool
    metric : Metric, the latest of all problems
    avoidable_passes : float, how many passes a better one might have saved of the last step
    """

    point: Point
    converged: Mask
    metric: Metric
    avoidable_passes: float


def run_outer_loop(objective: Objective, start: Coef, monitor: Monitor, descend: Descent) -> Result:
    """Return the minimiser of the objective, found from `start` (width, K)."""
    objective, start = identified(objective, start)
    point = Point.at_coefficients(objective.in_double(), start)
    metric = first_metric(objective, start)
    if is_saturated(objective, point, metric):
        point = through_temperatures(objective, point, monitor, rounds_with(descend))
        metric = first_metric(objective, point.T)
    minimum = run_rounds(objective, point, metric, monitor, descend)
    return result_from(objective, minimum.point, minimum.converged, monitor)


def run_rounds(
    objective: Objective, start: Point, first: Metric, monitor: Monitor, descend: Descent
) -> Minimum:
    """Return where rounds lead from the point `start`, in the metric `first` to begin with."""
    exact, problems = objective.in_double(), np.arange(objective.problems.count)
    if costs_of(objective).single_precision_pays:
        objective = objective.for_descents()
    rough, point = None if exact is objective else objective, start
    converged, latest, avoidable = objective.constant_problems.copy(), first, 0.0
    for members in _groups(objective):
        every = _Group(problems, exact, rough, start, first, first, np.zeros_like(problems))
        group: _Group | None = every.take_problems(members)
        while group is not None and not monitor.reason and np.isfinite(point.value).all():
            before, report = group, ProblemsMonitor(monitor, exact, point, group.problems)
            group = _descended(group, descend, report)
            if not monitor.reason:
                group = _stepped(group, report)
            point = point.with_problems(exact, group.problems, group.point)
            if len(group.problems) == len(problems):
                latest, avoidable = group.metric, group.avoidable_passes
            rough = None if group.rough is None else rough
            solved, group = _without_solved(before, group, monitor)
            converged[before.problems[solved]] = True
    return Minimum(point, converged, latest, avoidable)


def _groups(objective: Objective) -> list[Places]:
    """Return the numbers of the problems in groups that are solved together.

    So that the groups' probabilities are kept from product to product, and a product's coefficients
    stay in the cache; but of no fewer scores than make a product worth reading the data for.
    """
    problems = (~objective.constant_problems).nonzero()[0]
    if not problems.size:
        return []
    if not objective.rows.in_memory:  # reading the data costs more than their arithmetic
        return [problems]
    limits = objective.rows.threads.limits
    n_scores = max(limits.fewest_group_scores, limits.kept_scores // objective.rows.n)
    count = min(len(problems), -(-objective.shape[1] // n_scores))
    return [problems[some] for some in slices(len(problems), count)]


def _descended(group: _Group, descend: Descent, monitor: ProblemsMonitor) -> _Group:
    """Step 1: return the group after the descent, in the next one's precision."""
    start = group.point
    end, metric, passes = descend(group.for_descents, start, group.metric, monitor)
    avoidable_passes = max(passes, group.avoidable_passes)
    group = replace(group, point=end, metric=metric, avoidable_passes=avoidable_passes)
    if group.rough is None or end is start or not np.isinf(end.gap).any():
        return group
    # Without a certificate, the point is as rough as the objective.
    exact_end = Point.at_coefficients(group.exact, end.T)
    decrease = start.value.sum() - exact_end.value.sum()
    is_noisy = abs((end.value - exact_end.value).sum()) > _NOISY * decrease
    return replace(group, point=exact_end, rough=None if is_noisy else group.rough)


def _stepped(group: _Group, monitor: ProblemsMonitor) -> _Group:
    """Step 2: return the group after Newton's step, with the metric it was in.

    Where the descent ended with a certificate for all problems, there is no step.
    """
    objective, start = group.exact, group.point
    if monitor.of_all.reached(start.estimate, start.gap, start.value).all():
        return replace(group, avoidable_passes=0.0)
    metric = _refreshed_if_it_pays(group)
    is_recent = metric.is_hessian and not is_near(objective, start, metric).all()
    end, n_products = newton_step(objective, start, metric, monitor.of_all.tol)
    avoidable_passes = n_products - min(metric.refresh_passes(objective), _UNAVOIDABLE_PRODUCTS)
    # A Hessian of saturated rows says little of where they stop being saturated; the first metric
    # has none of it.
    moved = objective.problems.any((end.T != start.T).any(axis=0))
    stuck = (~moved & np.isinf(end.estimate)).nonzero()[0]
    if stuck.size:
        first = group.first_metric.take_problems(objective, stuck)
        stuck_point = end.take_problems(objective, stuck)
        descended = gradient_step(objective.take_problems(stuck), stuck_point, first)
        end = end.with_problems(objective, stuck, descended)
    monitor.iteration(end.T, end.value)
    return replace(
        group, point=end, metric=metric, is_recent=is_recent, avoidable_passes=avoidable_passes
    )


def _refreshed_if_it_pays(group: _Group) -> Metric:
    """Return the group's metric, refreshed if that costs no more passes than it would have saved.

    Where all problems are near their optimum, a recent Hessian is good enough.
    """
    metric, avoidable = group.metric, group.avoidable_passes
    cost = metric.refresh_passes(group.exact)
    good_enough = group.is_recent and is_near(group.exact, group.point, metric).all()
    pays = cost <= _ALWAYS_REFRESHED or (avoidable >= cost and not good_enough)
    return metric.refreshed(group.for_descents, group.point.T) if avoidable > 0 and pays else metric


def _without_solved(before: _Group, group: _Group, monitor: Monitor) -> tuple[Mask, _Group | None]:
    """Step 3: return which problems are solved, and the group, if any, of those to go on with."""
    end = group.point
    solved = monitor.solved(group.exact, end)
    has_fallen = before.point.value - end.value > rounding(end.value)
    n_stalled = np.where(has_fallen, 0, group.n_stalled + 1)
    # Where rounding keeps F from falling, it may also keep the gap from closing: the estimate
    # decides, unless it is rounding too.
    stalled = n_stalled == _PATIENCE
    is_close = monitor.reached(end.estimate, 0.0, end.value) | (end.value <= _HIDDEN)
    solved |= stalled & is_close
    unsolved = (~(solved | stalled)).nonzero()[0]
    if not unsolved.size:
        return solved, None
    return solved, replace(group, n_stalled=n_stalled).take_problems(unsolved)


def is_saturated(objective: Objective, point: Point, metric: Metric) -> bool:
    """Return whether F is so large, far from an optimum, that most rows are saturated, wrongly.

    As by offsets in the hundreds, or coefficients of other data. The curvature of such rows is zero
    to rounding, and says nothing of where it is not.
    """
    if not is_enormous(objective, point):
        return False  # as a rule, and before the metric has to be factored
    estimate = estimated_gap(objective.in_double(), point.gradient, metric)
    return bool((estimate > _SETTLED).any())


def is_enormous(objective: Objective, point: Point) -> bool:
    """Return whether F is that of rows which are saturated at wrong answers, optimal or not."""
    return _ENORMOUS < _excess(objective, point) < np.inf


def _excess(objective: Objective, point: Point) -> float:
    """Return the largest F of a problem above the loss of equal probabilities, log(K / B)."""
    scores_per_problem = objective.shape[1] / objective.problems.count
    F = point.value[~objective.constant_problems].max(initial=0)
    return float(F - np.log(scores_per_problem))


def through_temperatures(
    objective: Objective, start: Point, monitor: Monitor, find_optimum: FindOptimum
) -> Point:
    """Return a point nearer the optimum than one at which rows are saturated.

    The loss at temperature t is smooth over t times longer distances (`Objective.at_temperature`);
    its optimum is followed while t falls. Iterations on the way count as the fit's, with F at the
    temperature.
    """
    T, stages = start.T, np.log(_excess(objective, start) / _ENORMOUS) / np.log(_COOLING)
    count = int(np.ceil(stages))
    for t in np.geomspace(float(_COOLING) ** count, _COOLING, count):
        if not monitor.reason:
            T = _optimum_at_temperature(objective, T, t, monitor, find_optimum)
    return Point.at_coefficients(objective.in_double(), T)


def _optimum_at_temperature(
    objective: Objective, start: Coef, t: float, monitor: Monitor, find_optimum: FindOptimum
) -> Coef:
    """Return about the optimum (width, K) at temperature t, from `start` (width, K)."""

    def report(V: Coef, F: float) -> bool:
        monitor.record(t * V, t * F)
        recent = stage.losses[-_SLOW_ITERATIONS - 1 :]
        is_slow = len(recent) > _SLOW_ITERATIONS and _SLOW * recent[0] < F
        return is_slow or bool(monitor.reason)

    stage = Monitor(_COOLING_TOL, _MOST_AT_A_TEMPERATURE, report, monitor.make_generator)
    return t * find_optimum(objective.at_temperature(t), start / t, stage)


def rounds_with(descend: Descent) -> FindOptimum:
    """Return the function that finds optima by rounds of descents."""

    def find_optimum(objective: Objective, start: Coef, monitor: Monitor) -> Coef:
        point = Point.at_coefficients(objective.in_double(), start)
        return run_rounds(
            objective, point, first_metric(objective, start), monitor, descend
        ).point.T

    return find_optimum
