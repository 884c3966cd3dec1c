"""Laws of what proximal Newton is made of: Hessians in some coefficients, models, certificates."""

from dataclasses import replace

import numpy as np
import pytest
from parts import ROUNDING, SOURCES, SPARSE_KINDS, close, make, shares
from scipy.special import log_expit, log_softmax, xlogy

from softreg._model.block_kernels import CoordinateHessian
from softreg._model.certificate import certify_along, curvature_gap
from softreg._model.links import Sigmoid, Softmax
from softreg.solvers import ProximalNewton
from softreg.solvers.base import Monitor
from softreg.solvers.linalg.active_sets import lasso_minimiser
from softreg.solvers.linalg.conjugate_gradients import HessianProduct
from softreg.solvers.linalg.factors import cholesky
from softreg.solvers.linalg.group_newton import MatrixForm, group_lasso_minimiser

# ---- Hessians in some coefficients --------------------------------------------------------------


def some_coefficients(rng, case, width):
    """Features and scores of some coefficients of a problem, scores ascending."""
    K = case.owner.shape[0] // case.owner.shape[1]
    inside = rng.random((K, width)) < 0.5
    inside[0, 1] = True
    inside[:, 6:] |= rng.random((K, 1)) < 0.8  # the intercept's
    return np.nonzero(inside)[::-1]


@pytest.mark.factor("whole", [False, True, None])
def test_the_hessian_in_some_coefficients_is_a_part_of_the_whole(case, whole):
    """Both ways of making it, and the cheaper one, problem by problem; without the penalty's."""
    objective, T, K = case.ungauged, case.point(), case.objective.shape[1]
    features, scores = some_coefficients(np.random.default_rng(1), case, len(T))
    for b, H in enumerate(objective.hessian(T)):
        problem = objective.take_problems(np.array([b]))
        at = np.flatnonzero(case.owner[:, b])
        places = scores * len(T) + features
        ridge = np.broadcast_to(objective.penalty.ridge, (len(T), K))[features, at[scores]]
        expected = H[places[:, None], places] - np.diag(ridge)
        if whole is None:
            found = problem.coordinate_hessian(T[:, at], features, scores)
        else:
            U = problem.rows.block_coefficients(T[:, at])
            kernel = CoordinateHessian(problem.link, U, features, scores, whole)
            found = problem.rows.sum(kernel)[0] / problem.problem_weight[0]
        close(found, expected, ROUNDING[case.dtype])


@pytest.mark.parametrize("diagonal", [0.0, 1e-44, -1e-27])
def test_a_hessian_that_is_all_rounding_has_a_factor(diagonal):
    """Of saturated rows: entries that cancelled, and a diagonal that is less than they are."""
    A = np.random.default_rng(0).normal(size=(50, 50)) * 1e-26
    H = A + A.T
    np.fill_diagonal(H, diagonal)
    L = cholesky(H)
    assert np.isfinite(L).all() and (L.diagonal() > 0).all()
    away = L @ L.T - H
    np.fill_diagonal(away, 0)
    assert np.abs(away).max() < 1e-13 * np.square(L).max()


# ---- Dual probabilities -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.0, 0.1, 3.0, 100.0])
@pytest.mark.parametrize("link", [Softmax(), Softmax(2), Sigmoid()], ids=["one", "two", "sigmoid"])
def test_dual_probabilities_along_a_change_are_those_and_their_divergence(link, size):
    """Q = P + change where that is a probability, else the nearest in its bounds; KL(q || p(z))."""
    rng = np.random.default_rng(3)
    Z, change = rng.normal(size=(2, 6, 40)) * [[[3.0]], [[size]]]
    n_fits = link.problems(6) if isinstance(link, Softmax) else 1
    by_fit = (n_fits, 6 // n_fits, 40)
    P = link.probabilities_inplace(rng.normal(size=(6, 40)))
    if isinstance(link, Softmax):
        change = (change.reshape(by_fit) - change.reshape(by_fit).mean(axis=1)[:, None]).reshape(
            6, 40
        )
    Q, divergence = link.dual_probabilities_along(P, change, Z)
    assert ((Q >= 0) & (Q <= 1)).all()
    inside = (P + change >= 0) & (P + change <= 1)
    if isinstance(link, Softmax):
        of_fit, log_p = Q.reshape(by_fit), log_softmax(Z.reshape(by_fit), axis=1)
        np.testing.assert_allclose(of_fit.sum(axis=1), 1, rtol=1e-13)
        expected = (xlogy(of_fit, of_fit) - of_fit * log_p).sum(axis=1)
        inside = np.repeat(inside.reshape(by_fit).all(axis=1), 6 // n_fits, axis=0)
        inside = inside.reshape(6, 40)
    else:
        cross = Q * log_expit(Z) + (1 - Q) * log_expit(-Z)
        expected = xlogy(Q, Q) + xlogy(1 - Q, 1 - Q) - cross
    np.testing.assert_allclose(Q[inside], (P + change)[inside], atol=1e-15)
    assert inside.all() if size == 0 else inside.any() or size > 1
    np.testing.assert_allclose(divergence, expected, rtol=1e-12, atol=1e-13)


# ---- Quadratic models ---------------------------------------------------------------------------


def quadratic(rng, q, rank, duplicated):
    """A Hessian of this rank, and a slope that it can balance."""
    A = rng.normal(size=(rank, q)) * 10 ** rng.uniform(-1, 1, q)
    if duplicated:
        A[:, q // 2 :] = A[:, : q - q // 2]
    H, b = A.T @ A, A.T @ rng.normal(size=rank)
    H[np.diag_indices(q)] *= 1 + 1e-11
    return H, b


SIZES = [1, 2, 12, 60, 200]
RANKS = {"full": lambda q: 2 * q, "singular": lambda q: max(1, q // 3)}


@pytest.mark.factor("q", SIZES)
@pytest.mark.factor("rank", RANKS)
@pytest.mark.factor("duplicated", [False, True])
@pytest.mark.factor("strength", [1e-8, 1e-3, 0.1, 0.5, 1.5])
@pytest.mark.factor("start", ["zero", "anywhere"])
def test_the_lasso_is_at_its_minimum(q, rank, duplicated, strength, start):
    """b - H w is l1 sign(w) where w is not zero, and no larger than l1 elsewhere."""
    rng = np.random.default_rng(q)
    H, b = quadratic(rng, q, RANKS[rank](q), duplicated)
    l1 = strength * np.abs(b).max() * (rng.uniform(0.5, 2, q) if strength < 1 else np.ones(q))
    w = lasso_minimiser(H, b, l1, rng.normal(size=q) if start == "anywhere" else np.zeros(q))
    r, rounding = b - H @ w, 1e-9 * l1 + 1e-13 * np.abs(b).max()
    assert (np.abs(r) <= l1 + rounding).all()
    assert (np.abs(r - l1 * np.sign(w)) <= rounding)[w != 0].all()
    assert w.any() == (strength < 1)


@pytest.mark.factor("n_groups", [1, 5, 20, 80])
@pytest.mark.factor("rank", RANKS)
@pytest.mark.factor("duplicated", [False, True])
@pytest.mark.factor("strength", [1e-3, 1e-2, 0.1, 0.5, 1.01])
@pytest.mark.factor("start", ["zero", "the path"])
def test_the_group_lasso_is_at_its_minimum(n_groups, rank, duplicated, strength, start):
    """b - H w is l1 w_g / ||w_g|| in groups that are not zero, and no longer than l1 elsewhere."""
    rng = np.random.default_rng(n_groups)
    starts = np.append(0, np.cumsum(rng.integers(1, 6, n_groups - 1)))
    q = starts[-1] + 3
    H, b = quadratic(rng, q, RANKS[rank](q), duplicated)
    group = np.searchsorted(starts, np.arange(q), side="right") - 1
    lengths = np.sqrt(np.bincount(group, b**2))
    l1 = strength * lengths.max() * (rng.uniform(0.5, 2, n_groups) if strength < 1 else 1)
    l1 = np.broadcast_to(l1, n_groups)
    begin = np.zeros(q)
    if start == "the path":
        larger = np.minimum(4 * l1, lengths.max())
        begin, _ = group_lasso_minimiser(MatrixForm(H), b, larger, starts, begin, 1e-10)
    w, _ = group_lasso_minimiser(MatrixForm(H), b, l1, starts, begin, 1e-10)
    r, size = b - H @ w, np.sqrt(np.bincount(group, w**2))
    direction = np.divide(w, size[group], out=np.zeros(q), where=size[group] > 0)
    rounding = 1e-8 * l1 + 1e-13 * lengths.max()
    rest = np.sqrt(np.bincount(group, (r - l1[group] * direction) ** 2))
    assert (np.where(size > 0, rest, rest - l1) <= rounding).all()
    assert w.any() == (strength < 1)


# ---- Certificates -------------------------------------------------------------------------------

PENALISED = np.array([1.0, 2.0, 2.0, 0.5, 1.0, 3.0])


def sparse_case(threads, kind, source, **options):
    """A case whose penalty is sparse; and without free features, if its factors have no zero."""
    options = {"weighted": True, "offset": True, "factors": PENALISED} | options
    return make(threads, kind[0], source, penalty=kind[1], **options)


def optimum_of(objective):
    """T at the optimum, to rounding: its conditions hold, by the laws of gradient and violation."""
    monitor, T = Monitor(0.0, 200), objective.null()
    result = ProximalNewton().minimise(objective, T, monitor)
    T = objective.working(result.coef, result.intercept)
    gradient = objective.value_and_gradient(T)[1] - objective.penalty.smooth(T)[1]
    assert objective.penalty.violation(T, gradient).max() < 1e-7
    return T


def balanced(objective, T, step, metric_T):
    """The step, and what makes the linearised residuals balance in the intercept."""
    for _ in range(3):
        imbalance = certify_along(objective, T, step, metric_T).imbalance
        step = step - HessianProduct(objective, metric_T).balancing_step(imbalance)
    return step


@pytest.mark.factor("kind", SPARSE_KINDS)
@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("intercept", [False, True])
@pytest.mark.factor("distance", [0.0, 1e-3, 0.1, 0.5])
@pytest.mark.factor("metric", ["new", "old"])
def test_the_bound_along_a_step_is_above_the_distance_to_the_optimum(
    source_threads, kind, source, intercept, distance, metric
):
    """F - F* <= gap at any point, after any step, by any metric; next to nothing at the optimum."""
    case = sparse_case(source_threads, kind, source, intercept=intercept)
    objective = case.objective
    best = optimum_of(objective)
    least = objective.value(best)
    T = best + distance * case.direction(2)
    metric_T = T if metric == "new" else best + 0.3 * case.direction(3)
    step = balanced(objective, T, 0.2 * distance * case.direction(4), metric_T)
    found = certify_along(objective, T, step, metric_T)
    value, gradient = objective.value_and_gradient(T + step)
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    close(found.gradient, gradient, 1e-12)
    assert (value - least <= found.gap + 1e-12).all()
    if distance == 0 and metric == "new":
        assert (found.gap < 1e-5 * value + 1e-12).all()
    if distance == 1e-3:
        assert (found.gap < 0.2 * value).all()


@pytest.mark.parametrize("targets", ["sigmoid of two classes", "softmax labels"])
def test_offsets_that_intercepts_take_back_change_no_bound(one_thread, targets):
    """Intercepts of 1e6 and offsets of -1e6: what the balance is off by is not paid by them."""
    case = make(one_thread, targets, penalty="lasso", factors=PENALISED)
    objective, T = case.objective, optimum_of(case.objective)
    far = 1e6 * case.link.centred(np.arange(1.0, objective.shape[1] + 1))
    rows = objective.rows.replaced(offset=np.tile(-far, (objective.rows.n, 1)))
    moved, step = replace(objective, rows=rows), balanced(objective, T, np.zeros_like(T), T)
    step[-1] += 1e-10 * case.link.centred(np.arange(objective.shape[1]) - 1.0)
    found = certify_along(objective, T, step, T)
    T_moved = T.copy()
    T_moved[-1] += far
    assert 0 < np.abs(found.imbalance[-1]).max() < 1e-10
    np.testing.assert_allclose(
        certify_along(moved, T_moved, step, T_moved).gap, found.gap, rtol=0, atol=1e-8
    )


@pytest.mark.factor("kind", SPARSE_KINDS)
@pytest.mark.factor("source", SOURCES)
def test_free_features_have_no_bound_until_they_are_balanced(source_threads, kind, source):
    """No gap less than F then, which is one, as no F is below zero."""
    case = sparse_case(source_threads, kind, source, factors=ONE_FREE)
    T, D = case.point(), case.direction()
    found = certify_along(case.objective, T, D, T)
    assert (found.gap >= found.value * (1 - 1e-12)).all()


ONE_FREE = np.array([1, 2, 2, 0.5, 1, 0.0])


@pytest.mark.factor("kind", SPARSE_KINDS)
@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("one_free", [False, True])
@pytest.mark.factor("distance", [0.0, 1e-4, 0.03, 0.3])
def test_the_bound_from_the_hessian_is_above_the_distance_to_a_sparse_optimum(
    source_threads, kind, source, one_free, distance
):
    """F - F* <= gap at any point, problem by problem; next to nothing at the optimum.

    Also with a feature that has no penalty. It may be inf elsewhere, and where classes that move
    alike cannot be balanced, as in groups of features that do not hold all of them.
    """
    factors = ONE_FREE if one_free else PENALISED
    objective = sparse_case(source_threads, kind, source, factors=factors).objective
    best = optimum_of(objective)
    rng = np.random.default_rng(5)
    T = best + distance * rng.normal(size=best.shape) * (rng.random(best.shape) < 0.3)
    T = np.where(np.isinf(np.append(objective.rows.coordinates.scale, 1.0))[:, None], 0, T)
    excess = objective.value(T) - objective.value(best)
    for b in range(objective.problems.count):
        problem, scores = objective.take_problems(np.array([b])), objective.problems.scores([b])
        gradient = problem.value_and_gradient(T[:, scores])[1]
        gap = curvature_gap(problem, T[:, scores], gradient)[0]
        assert excess[b] <= gap + 1e-12
        if distance == 0 and not (problem.link.exclusive and kind[1] == "groups within scores"):
            assert gap < 1e-10


@pytest.mark.parametrize("strength", [1e-2, 1e-3])
def test_classes_moved_alike_are_not_proven_to_be_at_a_sparse_optimum(one_thread, strength):
    """They keep their scores and gain in length, which no Hessian tells: F - F* <= gap there, too.

    Of T whose classes all have one sign no subgradient adds to zero over them.
    """
    case = make(one_thread, penalty="lasso", factors=strength * PENALISED)
    best = optimum_of(case.objective)
    T = best + np.append(np.full(5, 9.0), [0.0, 0.0])[:, None]
    value, gradient = case.objective.value_and_gradient(T)
    excess = case.objective.penalty.value(T).sum() - case.objective.penalty.value(best).sum()
    assert value - case.objective.value(best) == pytest.approx(excess, rel=1e-9)
    assert excess > 0 and (curvature_gap(case.objective, T, gradient) >= excess).all()


@pytest.mark.parametrize("share", [1e-1, 1e-2, 1e-3, 1e-4])
def test_residuals_made_smaller_bound_f_no_better_than_they_may(one_thread, share):
    """Of separated classes at w = 0, whose gradient is far beyond its strength: F* is tiny.

    With x = +-1 and y its sign, F* is the least of log(1 + exp(-w)) + l1 w: known by its equation.
    """
    x = np.repeat([[-1.0], [1.0]], 20, axis=0)
    targets = Sigmoid(), shares(lambda rng, n: (x > 0) * 1.0)
    case = make(one_thread, targets, X=x, penalty="lasso", factors=np.array([2.0 * share]))
    l1 = 2 * share / (0.1 * 40)  # factor / (C S); the gradient at zero is 1/2
    w = np.log(1 / l1 - 1)
    T, zero = case.objective.null(), np.zeros((2, 1))
    found = certify_along(case.objective, T, zero, T)
    excess = np.log(2) - (np.log1p(np.exp(-w)) + l1 * w)
    assert excess <= found.gap[0] <= np.log(2)
    assert found.gap[0] == pytest.approx(np.log(2) * (1 - 2 * l1), rel=1e-9)


@pytest.mark.factor("kind", SPARSE_KINDS)
@pytest.mark.factor("source", SOURCES)
def test_a_certificate_is_of_the_values_of_its_point_not_of_the_array(source_threads, kind, source):
    """An array whose values have changed since has the certificate of a new one with these."""
    case = sparse_case(source_threads, kind, source)
    T, step, metric_T = case.point(), case.direction(2), case.point() + case.direction(3)
    certify_along(case.objective, T, step, metric_T)
    metric_T += case.direction(4)
    found = certify_along(case.objective, T, step, metric_T)
    expected = certify_along(case.objective, T, step, metric_T.copy())
    np.testing.assert_array_equal(found.imbalance, expected.imbalance)
