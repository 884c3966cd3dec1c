"""Proximal Newton on working sets, for penalties under which coefficients are exactly zero.

Each problem by itself comes from the strength at which all is zero, by strengths each of which is
at most so many times weaker, to the one that is asked for; on a path, from that of the optimum
before. At each strength:

1. The start is the optimum before, or the next point of the secant through the last two if F is
   less there. The sequential strong rule chooses the working set: what may not be zero.
2. The loss's quadratic model in these coefficients, plus the penalty, is minimised as exactly as
   the gap needs it. As much of the step there is taken as lowers F, at the last strength with a
   certificate.
3. The strength is left when its optimum is proven, or, on the way, when F hardly falls any more.
4. All gradients are checked: coefficients that violate their strength join. A model serves as long
   as it has all of these, and its steps have cost less than a new one.
5. Where rounding keeps F from falling before that is proven, the certificate's estimate decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from softreg._model.certificate import certify_along
from softreg._model.kernels import THIN_PRODUCT_COST
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places, nonzero_rows
from softreg.solvers.base import Monitor, Point, ProblemsMonitor, Result, Solver, rounding
from softreg.solvers.linalg.collinear import identified
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.group_newton import ROUNDING
from softreg.solvers.linalg.implicit_model import ImplicitModel
from softreg.solvers.linalg.metrics import first_metric
from softreg.solvers.linalg.quadratic_model import QuadraticModel, with_likeliest
from softreg.solvers.newton import Newton
from softreg.solvers.outer_loop import is_enormous, run_rounds, through_temperatures
from softreg.solvers.proof import result_from

# From the strength at which all is zero to the one that is asked for, by this factor at most. With
# 3 fits of 64 x 6,830 take five times as long, and others as long; with 1.7 those of 900 x 300
# columns of zeros and ones a third less, but those of small tables a tenth more (measured on eleven
# sets, as what follows is on some).
_FACTOR = 2.0
# From no farther than this, where the sparse part is next to nothing.
_FARTHEST = 1e15
# At so many times the strength that keeps zeros at the null model they stay so wherever the free
# coefficients go.
_ALL_ZERO = 1e3
# On the way there, a strength is left when a step has lowered F by less than this share: with 1e-1
# and 1e-6 fits take about as long (measured).
_ROUGH = 1e-3
# A working set grows to this many times the coefficients that are not zero, or to so many: with 4
# digits takes a quarter longer, with 2,000 that of 80 x 2,000 eight times as long (measured).
_GROWTH, _LEAST_SET = 2.0, 300
# Where Newton's step fails that was to lower F by more than this share, a gradient step is tried,
# of columns with deviation one: first a thousand times the longest that is never too long.
_FAR, _LONGEST_STEP = 1e-2, 1e3
# Gradients beyond their strength by this share are violations, those within it rounding.
_VIOLATION = 1e-7
# Free coefficients whose gradients, of columns with deviation one, are below this are at their
# optimum, nearly: what violates its strength is then known.
_BALANCED = 1e-8
# And below this as exactly as the least strength that keeps all zeros is wanted.
_EXACT = 1e-13
# A step of 2^-40 moves nothing: it is given up.
_MOST_HALVINGS = 40
# Products with a Hessian for one step, some hundred, times the steps that one which is made serves;
# the Python around each, in multiply-adds; and the factors of its order that as many steps take in
# place of products, where there are groups (measured on twelve paths).
_PRODUCTS, _OVERHEAD, _FACTORS_OF_GROUPS = 1000, 1e6, 16
# Models are solved until what violations of their optimality conditions add to the gap is this
# share of what is asked for; and as a share of a strength at the most.
_SHARE_OF_TOL, _LOOSEST = 0.3, 1e-3
# Steps in a row that may lower F by no more than rounding.
_PATIENCE = 3
# A gap above this share of F is no proof that rounding hides: the model may know nothing of where F
# falls, as where units of columns are beyond numbers.
_UNHIDDEN = 1e-3
# What serves as a model, see `model_at`.
Model = QuadraticModel | ImplicitModel


@dataclass(frozen=True, eq=False)
class Stage:
    """An optimum of one problem, at a multiple of its penalty, from which others are found.

    Attributes
    ----------
    multiple : float, of the penalty
    point : Point, with F and gradients at that multiple
    model : Model or None, the latest
    spent : float, multiply-adds of steps in it since it was made, which a newer one might save
    before : tuple (multiple, T) or None, the optimum before that
    """

    multiple: float
    point: Point
    model: Model | None = None
    spent: float = 0.0
    before: tuple[float, Coef] | None = None


@dataclass(repr=False)
class ProximalNewton(Solver):
    """Proximal Newton on working sets: lasso, elastic net and groups, with certificates.

    Each step minimises a quadratic model of the loss in the coefficients that may not be zero, plus
    the penalty, exactly; a model serves as long as it costs less than a new one would save. Smooth
    penalties are left to `Newton`.

    References
    ----------
    Lee, Sun and Saunders (2014), "Proximal Newton-type methods for minimizing composite functions",
    SIAM Journal on Optimization 24, 1420-1443. Tibshirani and others (2012), "Strong rules for
    discarding predictors in lasso-type problems", Journal of the Royal Statistical Society B 74,
    245-266.

    Examples
    --------
    >>> from softreg.solvers import ProximalNewton
    >>> ProximalNewton()
    ProximalNewton()
    """

    takes_sparse_penalties: ClassVar[bool] = True

    def check(self) -> None:
        """Return, as there are no options."""

    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Return where minimising the objective from `start` (width, K) ended."""
        if objective.penalty.is_smooth:
            return Newton().minimise(objective, start, monitor)
        exact = objective.in_double()
        point = _unsaturated(exact, Point.at_coefficients(exact, start), monitor)
        return optima_at(exact, first_stages(exact, point), 1.0, point, monitor)[1]


def _unsaturated(objective: Objective, start: Point, monitor: Monitor) -> Point:
    """Return a point nearer the optimum in problems whose rows are saturated at wrong answers."""
    point = start
    for problem, subset in _unsolved_problems(objective):
        report = ProblemsMonitor(monitor, objective, point, problem)
        end = _unsaturated_problem(subset, start.take_problems(objective, problem), report)
        point = point.with_problems(objective, problem, end)
    return point


def _unsaturated_problem(objective: Objective, start: Point, monitor: ProblemsMonitor) -> Point:
    """Return the same of one problem."""
    if not is_enormous(objective, start):
        return start
    return through_temperatures(objective, start, _inner_monitor(monitor), _optimum_from)


def _optimum_from(objective: Objective, start: Coef, monitor: Monitor) -> Coef:
    """Return about the optimum of one problem, (width, K), from a start that is not far from it."""
    point = Point.at_coefficients(objective, start)
    report = ProblemsMonitor(monitor, objective, point, np.array([0]))
    return _optimum(objective, Stage(1.0, point), 1.0, report)[0].point.T


def _unsolved_problems(objective: Objective) -> Iterator[tuple[Places, Objective]]:
    """Yield the number, (1,), and the objective of each problem whose targets are not constant."""
    for b in np.flatnonzero(~objective.constant_problems):
        problem = np.array([b])
        yield problem, objective.take_problems(problem)


def _inner_monitor(monitor: ProblemsMonitor) -> Monitor:
    """Return a monitor of some problems by themselves, that reports to the one of all."""

    def report(T: Coef, F: float) -> bool:
        monitor.iteration(T, np.array([F]))
        return bool(monitor.reason)

    rest = monitor.of_all.max_iter - len(monitor.of_all.losses)
    return Monitor(monitor.of_all.tol, rest, report, monitor.of_all.make_generator)


def first_stages(objective: Objective, start: Point) -> list[Stage]:
    """Return where each problem begins: at `start`, at the strength that keeps its zeros."""
    stages = []
    for b in range(objective.problems.count):
        problem = np.array([b])
        subset = objective.take_problems(problem)
        stages.append(_first_stage(subset, start.take_problems(objective, problem)))
    return stages


def optima_at(
    objective: Objective, stages: list[Stage], multiple: float, start: Point, monitor: Monitor
) -> tuple[list[Stage], Result]:
    """Return each problem's optimum at a multiple of the penalty, and the result of all.

    `start` is a point of all problems, in which iterations are reported while others are to come.
    """
    posed, stages, point = _at_multiple(objective, multiple), list(stages), start
    converged = objective.constant_problems.copy()
    for problem, subset in _unsolved_problems(objective):
        b, report = problem[0], ProblemsMonitor(monitor, posed, point, problem)
        stages[b], converged[b] = _optimum(subset, stages[b], multiple, report)
        point = point.with_problems(posed, problem, stages[b].point)
    return stages, result_from(posed, point, converged, monitor)


def _smooth_optimum(
    objective: Objective, stage: Stage, multiple: float, monitor: ProblemsMonitor
) -> tuple[Stage, bool]:
    """Return the optimum of a problem whose penalty is smooth, and whether it was reached."""
    posed = _at_multiple(objective, multiple)
    start = _at_other_multiple(objective, stage.point, stage.multiple, multiple)
    inner = _inner_monitor(monitor)
    posed, T = identified(posed, start.T)
    start = start if T is start.T else Point.at_coefficients(posed, T)
    minimum = run_rounds(posed, start, first_metric(posed, start.T), inner, Newton().descend)
    return Stage(multiple, minimum.point), bool(minimum.converged[0])


def _first_stage(objective: Objective, start: Point) -> Stage:
    """Return where a problem begins: `start`, at the multiple that keeps its zeros, if all are."""
    if objective.penalty.is_smooth or (start.T * ~objective.penalty.free).any():
        return Stage(1.0, start)
    multiple = np.clip(_largest_multiple(objective, start), np.finfo(float).tiny, _FARTHEST)
    return Stage(multiple, _at_other_multiple(objective, start, 1.0, multiple))


def _optimum(
    objective: Objective, stage: Stage, multiple: float, monitor: ProblemsMonitor
) -> tuple[Stage, bool]:
    """Return the optimum at a multiple of the objective's penalty, and whether it was reached.

    `stage` is an optimum, or nearly so, at another multiple, as a rule a larger one.
    """
    if objective.penalty.is_smooth:
        return _smooth_optimum(objective, stage, multiple, monitor)
    if stage.model is None and stage.multiple > multiple:
        stage = _with_balance(objective, stage, monitor)
    while stage.multiple > _FACTOR * multiple and not monitor.reason:
        stage, _ = _followed_to(objective, stage, stage.multiple / _FACTOR, monitor, is_last=False)
    return _followed_to(objective, stage, multiple, monitor, is_last=True)


def largest_useful_multiple(objective: Objective, monitor: Monitor) -> float:
    """Return the least multiple of the penalty at which all that has one is zero, in all problems.

    1 where there is none.
    """
    point, largest = Point.at_coefficients(objective, objective.null()), 0.0
    for problem, subset in _unsolved_problems(objective):
        if subset.penalty.is_smooth:
            continue
        report = ProblemsMonitor(monitor, objective, point, problem)
        balanced = _balanced(subset, point.take_problems(objective, problem), report)
        largest = max(largest, _largest_multiple(subset, balanced))
    return largest if largest > 0 else 1.0


def _balanced(objective: Objective, null: Point, monitor: ProblemsMonitor) -> Point:
    """Return the point where what has no penalty is at its optimum, and all else is zero."""
    multiple = _ALL_ZERO * _first_stage(objective, null).multiple
    posed = _at_multiple(objective, multiple)
    point = _unsaturated_problem(posed, _at_other_multiple(objective, null, 1.0, multiple), monitor)
    stage, before = Stage(multiple, point), np.inf
    while _EXACT < _imbalance(posed, stage.point) < before and not monitor.reason:
        before = _imbalance(posed, stage.point)
        stage, _ = _followed_to(objective, stage, multiple, monitor, is_last=False)
    return stage.point


def _largest_multiple(objective: Objective, point: Point) -> float:
    """Return the multiple of the penalty from which on all that has one stays zero at a point."""
    return float(objective.sparse_penalty.shares(point.gradient).max(initial=0))


def _with_balance(objective: Objective, stage: Stage, monitor: ProblemsMonitor) -> Stage:
    """Return the stage, or the optimum at its multiple if its free coefficients are off theirs."""
    if _imbalance(objective, stage.point) <= _BALANCED:
        return stage
    return _followed_to(objective, stage, stage.multiple, monitor, is_last=False)[0]


def _imbalance(objective: Objective, point: Point) -> float:
    """Return how far the coefficients without a penalty are from their optimum: their gradient."""
    return float(np.abs(point.gradient * objective.penalty.free).max(initial=0))


def _at_multiple(objective: Objective, multiple: float) -> Objective:
    """Return the objective at a multiple of its penalty."""
    return objective.at_strength(1 / multiple)


def _at_other_multiple(objective: Objective, point: Point, old: float, new: float) -> Point:
    """Return a point with F and gradient at another multiple of the penalty, without a pass."""
    T, penalty, more = point.T, objective.penalty, new - old
    value = point.value + more * objective.problems.total(penalty.value(T))
    gradient = point.gradient + more * penalty.ridge * T if objective.has_ridge else point.gradient
    unknown = np.full_like(value, np.inf)
    return Point(T, value, gradient, unknown, unknown, np.zeros_like(T))


def _followed_to(
    objective: Objective, stage: Stage, multiple: float, monitor: ProblemsMonitor, is_last: bool
) -> tuple[Stage, bool]:
    """Return the optimum at another multiple, and whether it was reached.

    Where it is not the last multiple, but one on the way to it, a rough optimum will do. The steps
    are those of the module's docstring.
    """
    # 1. The start, and the working set.
    posed = _at_multiple(objective, multiple)
    needed = _working_set(posed, stage, multiple)
    point = _start(objective, posed, stage, multiple, monitor)
    model, spent, n_stalled, is_solved = stage.model, stage.spent, 0, False
    tol = monitor.of_all.tol if is_last else _ROUGH
    if model is not None and (spent >= model.cost or (needed & ~model.inside).any()):
        model = None
    while not monitor.reason:
        # 2. The model, and a step to its minimum.
        if model is None:
            model, spent = model_at(posed, point, needed), 0.0
        step, work = model.step(posed, point, _accuracy(posed, point, model.inside, tol))
        end = _point_after(posed, point, model, step, is_certified=is_last)
        if end is None:
            model, needed = None, needed | (point.T != 0)
            continue
        monitor.iteration(
            end.T, end.value if is_last else _value_at_last_strength(posed, end, monitor)
        )
        fall, point = point.value - end.value, end
        n_stalled = n_stalled + 1 if fall[0] <= rounding(end.value)[0] else 0
        # 3. Whether that is the optimum, or near enough to it.
        is_solved = bool(monitor.of_all.solved(objective, point)[0])
        is_rough = not is_last and fall[0] <= _ROUGH * point.value[0]
        if is_solved or is_rough or monitor.reason or n_stalled == _PATIENCE:
            break
        # 4. What violates its strength joins; the rest of the working set stays.
        shares = np.where(model.inside, 0, posed.sparse_penalty.shares(point.gradient))
        violating = _largest(shares, 1 + _VIOLATION, int(np.count_nonzero(point.T)))
        spent += work + costs_of(posed).pass_cost
        if violating.any() or spent > model.cost or n_stalled:
            needed = (needed & model.inside) | violating | (point.T != 0)
            model = None
    # 5. Where rounding keeps F from falling, it may also hide the last of the proof, not all of it.
    is_near = objective.has_free_features | (point.gap <= _UNHIDDEN * point.value)
    is_close = bool((is_near & monitor.of_all.reached(point.estimate, 0.0, point.value))[0])
    is_reached = is_solved or (n_stalled == _PATIENCE and is_close)
    return Stage(multiple, point, model, spent, (stage.multiple, stage.point.T)), is_reached


def _accuracy(posed: Objective, point: Point, inside: Mask, tol: float) -> float:
    """Return how large violations of a model's optimality conditions may be, for a gap of tol F.

    They are shares of strengths: of such a share of F are gaps where residuals are shrunk to be
    feasible; where there is a ridge, the penalty's conjugate serves, too.
    """
    if posed.has_free_features.any():  # which must be in balance
        return ROUNDING
    share = _SHARE_OF_TOL * tol
    allowed = max(share, ROUNDING)
    if posed.has_ridge:
        count, conjugate = int(np.count_nonzero(inside)), share * float(point.value[0])
        allowed = max(allowed, posed.sparse_penalty.allowed_excess(count, conjugate))
    return min(allowed, _LOOSEST)


def model_at(posed: Objective, point: Point, needed: Mask) -> Model:
    """Return the model at a point, of the coefficients `needed` and some more.

    Implicit where the Hessian is too large, or its order so far above its rank that products with
    it cost less than factors.
    """
    inside = with_likeliest(posed, point.gradient, needed)
    order, K = np.count_nonzero(inside), posed.shape[1]
    n_features = np.count_nonzero(inside.any(axis=1))
    values = posed.rows.n_values * n_features / len(posed.rows.coordinates.scale)
    products_cost = _PRODUCTS * (2 * THIN_PRODUCT_COST * values * K + _OVERHEAD)
    n_factors = _FACTORS_OF_GROUPS if posed.sparse_penalty.has_groups(K) else 1
    cost = posed.coordinate_hessian_cost(inside) + n_factors * order**3 / 3
    if cost > products_cost or order**2 > posed.rows.value_budget:
        return ImplicitModel(point.T, needed)
    return QuadraticModel.at_point(posed, point, inside)


def _working_set(posed: Objective, stage: Stage, multiple: float) -> Mask:
    """Return which coefficients may not be zero at this multiple, (width, K), to begin with.

    By the sequential strong rule: those whose gradient's share of the old strength is no less than
    2 - old / new; no more of them, the likeliest, than a working set grows to.
    """
    penalty, T = posed.sparse_penalty, stage.point.T
    shares = penalty.shares(stage.point.gradient)
    is_nonzero = (penalty.group_sizes(T) > 0) & ~penalty.free
    np.copyto(shares, np.inf, where=is_nonzero)
    least = max(2 - stage.multiple / multiple, _VIOLATION)
    return _largest(shares, least, int(np.count_nonzero(is_nonzero)))


def _largest(shares: Coef, least: float, n_nonzero: int) -> Mask:
    """Return which shares (width, K) are `least` or more: the largest, where these are too many."""
    most = int(max(_LEAST_SET, _GROWTH * n_nonzero))
    are_large = shares >= min(least, np.finfo(float).max)
    if np.count_nonzero(are_large) > most:
        are_large = shares >= np.partition(shares[are_large], -most)[-most]
    return are_large


def _value_at_last_strength(posed: Objective, point: Point, monitor: ProblemsMonitor) -> PerProblem:
    """Return F, (1,), of a point on the way, under the strength that is asked for."""
    last, T = monitor.objective.take_problems(monitor.problems), point.T
    return point.value + posed.problems.total(last.penalty.value(T) - posed.penalty.value(T))


def _start(
    objective: Objective, posed: Objective, stage: Stage, multiple: float, monitor: ProblemsMonitor
) -> Point:
    """Return the stage's point, or the one on its path's secant, if F is less there."""
    point = _at_other_multiple(objective, stage.point, stage.multiple, multiple)
    if monitor.reason or stage.before is None or stage.before[0] == stage.multiple:
        return point
    (earlier, T_earlier), T = stage.before, point.T
    here, there, before = np.log([stage.multiple, multiple, earlier])
    share, T_next = (there - here) / (here - before), np.zeros_like(T)
    some = nonzero_rows(T)
    T_some, penalty = T[some], posed.sparse_penalty.take_features(some)
    T_next[some] = T_some + share * (T_some - T_earlier[some])
    turned = penalty.group_products(T_next[some], T_some) <= 0
    T_next[some] *= ~turned | penalty.free
    expected = Point.at_coefficients(posed, T_next)
    return expected if (expected.value < point.value).all() else point


def _point_after(
    posed: Objective, point: Point, model: Model, step: Coef, is_certified: bool
) -> Point | None:
    """Return the point after as much of a step as lowers F; `is_certified`: after all of it.

    None where F would rise by a step in a model of another point: a newer one comes first.
    """
    if is_certified:
        end = _certified_point(posed, point, model, step)
    else:
        end = Point.at_coefficients(posed, point.T + step, step)
    if (end.value <= point.value + rounding(point.value)).all():
        return end
    if model.T0 is not point.T:
        return None
    is_far = _expected_fall(posed, point, step) > _FAR * point.value
    for _ in range(_MOST_HALVINGS):
        step = step / 2
        end = Point.at_coefficients(posed, point.T + step, step)
        if (end.value < point.value).all():
            return end
    return _after_gradient_step(posed, point) if is_far.any() else point


def _expected_fall(posed: Objective, point: Point, step: Coef) -> PerProblem:
    """Return by how much a step would lower F, (1,), if the loss were linear."""
    penalty, T = posed.sparse_penalty, point.T
    growth = posed.problems.total(penalty.sparse_value(T + step) - penalty.sparse_value(T))
    return -posed.problems.inner(point.gradient, step) - growth


def _after_gradient_step(posed: Objective, point: Point) -> Point:
    """Return the point after as long a gradient step, and the prox, as lowers F noticeably.

    Where rows are saturated, Hessians say nothing of how far they are from not being so.
    """
    loss_gradient = point.gradient - posed.penalty.smooth(point.T)[1]
    allowed = (1 - _ROUGH) * point.value
    for t in _LONGEST_STEP * 0.5 ** np.arange(_MOST_HALVINGS):
        T = posed.penalty.prox(point.T - t * loss_gradient, t)
        end = Point.at_coefficients(posed, T, T - point.T)
        if (end.value < allowed).all():
            return end
    return point


def _certified_point(posed: Objective, point: Point, model: Model, step: Coef) -> Point:
    """Return the point after a step in a model, with its certificate."""
    with np.errstate(over="ignore", invalid="ignore"):  # after too long a step: F is no less
        found = certify_along(posed, point.T, step, model.T0, model.point_key)
    T = point.T + step
    return Point(T, found.value, found.gradient, found.divergence, found.gap, step)
