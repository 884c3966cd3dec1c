"""Laws of what solvers are made of: metrics, samples, conjugate gradients, points, searches."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from parts import (
    LABELS,
    SOURCES,
    TARGETS,
    Drawn,
    close,
    columns,
    indicators,
    make,
    minimiser,
    newton,
)

from softreg._model.certificate import certify
from softreg._model.links import Sigmoid
from softreg._rows.threads import Limits, Threads
from softreg.solvers.base import Point
from softreg.solvers.linalg.conjugate_gradients import HessianProduct, conjugate_gradients
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.linalg.factors import cholesky
from softreg.solvers.linalg.metrics import (
    ChanceByLeverage,
    DiagonalMetric,
    EigenbasisMetric,
    GramMetric,
    HessianMetric,
    by_leverage,
    first_metric,
)
from softreg.solvers.newton import stretched
from softreg.solvers.steps import (
    balanced,
    estimated_gap,
    gradient_step,
    line_search,
    newton_step,
    relative_estimate,
)

FIXTURE_FACTORS = {"several": {"labels": LABELS, "source": SOURCES}}

# ---- Metrics ------------------------------------------------------------------------------------


def null_curvatures(case):
    """p (1 - p) at the null model, score by score, (K,)."""
    p = (case.w * case.Y).sum(axis=0) / case.w.sum(axis=0)
    return p * (1 - p)


def gram_matrix(case, curvature, l2):
    """D -> (c_k X'X / sum_i s_i + l2_k) D_k as an operator, from the formula."""
    M = (case.s[:, None] * case.features).T @ case.features / case.s.sum()
    return lambda D: curvature * (M @ D) + l2 * D


def strengths(case):
    """The penalty's strengths in units of each score's weight, (width, K)."""
    return case.working_l2 / case.weights


def blocks(case, T):
    """The metric of the Hessian's diagonal blocks, one a score."""
    found = (np.linalg.cholesky(H + np.diag(np.diag(H) == 0)) for H in score_blocks(case, T))
    factors = [np.asfortranarray(L) for L in found]
    return HessianMetric(factors, len(T), case.link)


def score_blocks(case, T):
    """The blocks B_k = sum_i w_ik p_ik (1 - p_ik) x~_i x~_i' / S_k + l2_k, from the formula."""
    spread, x = case.spread(T) / case.weights, case.features
    return [(x.T * c) @ x + np.diag(l2) for c, l2 in zip(spread.T, strengths(case).T, strict=True)]


def blocks_with_common_moves_free(case, T):
    """D -> B (D + c), where c, the same for all classes, costs least; under sigmoid c = 0.

    It is the inverse of B^-1 between centrings: of all G that sum to zero over the classes, the one
    with B^-1 G = D but for common moves.
    """
    B = np.array(score_blocks(case, T))

    def times(D):
        BD = np.einsum("kij,jk->ki", B, D)
        for problem in case.owner.T.astype(bool) if case.is_softmax else []:
            common = B[problem].sum(axis=0), BD[problem].sum(axis=0)
            BD[problem] -= B[problem] @ np.linalg.lstsq(*common, rcond=1e-13)[0]
        return BD.T

    return times


METRICS = {
    "diagonal": (
        lambda case, T: DiagonalMetric.at_coefficients(case.objective, T),
        lambda case, T: lambda D: case.objective.hessian_diagonal(T) * D,
    ),
    "Gram": (
        lambda case, T: GramMetric(case.objective),
        lambda case, T: gram_matrix(
            case, null_curvatures(case).mean(), strengths(case).mean(axis=1, keepdims=True)
        ),
    ),
    "eigenbasis": (
        lambda case, T: EigenbasisMetric.at_null_model(case.objective),
        lambda case, T: gram_matrix(case, null_curvatures(case), strengths(case)),
    ),
    "Hessian": (
        lambda case, T: HessianMetric.at_coefficients(case.objective, T),
        lambda case, T: HessianProduct(case.objective, T),
    ),
    "blocks": (blocks, blocks_with_common_moves_free),
}


@pytest.mark.factor("name", METRICS)
def test_whitening_and_unwhitening_are_adjoint(penalised, name):
    """<whiten(G), v> = <G, unwhiten(v)>: one is the transpose of the other."""
    T, rng = penalised.point(), np.random.default_rng(20)
    metric = METRICS[name][0](penalised, T)
    G, v = rng.normal(size=T.shape), rng.normal(size=T.size)
    assert metric.whiten(G) @ v == pytest.approx(np.vdot(G, metric.unwhiten(v)), rel=1e-10)


@pytest.mark.factor("name", METRICS)
def test_a_metric_is_the_inverse_of_what_it_stands_for(penalised, name):
    """unwhiten(whiten(M D)) = D and ||whiten(M D)||^2 = <D, M D>, where D moves probabilities."""
    T, D = penalised.point(), penalised.direction()
    metric, times = (make(penalised, T) for make in METRICS[name])
    G = times(D)
    np.testing.assert_allclose(metric.unwhiten(metric.whiten(G)), D, atol=1e-9)
    np.testing.assert_allclose(metric.preconditioned(G), D, atol=1e-9)
    assert np.square(metric.whiten(G)).sum() == pytest.approx(np.vdot(D, G), rel=1e-10)


def test_metrics_are_refreshed_to_the_hessian_where_it_is_affordable(penalised):
    """The Gram matrix and an older Hessian are refreshed to the inverse of the Hessian at T."""
    T, D = penalised.point(), penalised.direction()
    for name in ("Gram", "eigenbasis", "Hessian"):
        metric = METRICS[name][0](penalised, 0 * T)
        fresh = metric.refreshed(penalised.objective, T)
        G = HessianProduct(penalised.objective, T)(D)
        assert fresh.is_hessian
        np.testing.assert_allclose(fresh.unwhiten(fresh.whiten(G)), D, atol=1e-9)


def test_where_the_hessian_is_too_large_its_blocks_take_its_place(penalised):
    """With a budget for the blocks alone, metrics are refreshed to these, labels' Hessians."""
    T, (width, K) = penalised.point(), penalised.objective.shape
    rows, G = penalised.objective.rows, np.random.default_rng(50).normal(size=T.shape)
    with Threads(1, replace(rows.threads.limits, value_budget=width**2 * K)) as threads:
        limited = replace(penalised.objective, rows=rows.replaced(threads=threads))
        for name in ("Gram", "eigenbasis", "Hessian", "blocks"):
            metric = METRICS[name][0](penalised, 0 * T)
            fresh, expected = metric.refreshed(limited, T), blocks(penalised, T)
            assert fresh.is_hessian
            close(fresh.unwhiten(fresh.whiten(G)), expected.unwhiten(expected.whiten(G)), 1e-9)


@pytest.mark.parametrize("budget", [0, 48, 49, 100, 146, 147, 400, 440, 441, 10**6])
def test_metrics_take_no_more_values_than_the_budget(budget):
    """Three classes' blocks take 147 values, their Hessian 441."""
    with Threads(1, Limits(value_budget=budget)) as threads:
        case = make(threads, n=2000)
        first = first_metric(case.objective, case.point())
        fresh = first.refreshed(case.objective, case.point())
        sample_size = costs_of(case.objective).sample_size
    first_values = getattr(first, "factor", getattr(first, "root", None)).size
    assert first_values <= max(budget, case.point().size)
    n_values = sum(L.size for L in getattr(fresh, "factors", []))
    assert n_values == (441 if budget >= 441 else 147 if budget >= 147 else 0)
    assert sample_size * 7 <= budget


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_rows_that_are_all_but_saturated_are_finite(one_thread, name, targets):
    """Curvature of 1e-300 is none: gradients whitened by it would overflow in squares."""
    case = make(one_thread, targets)
    T = np.zeros(case.objective.shape)
    T[-1] = 690 * np.linspace(-1, 1, T.shape[1]) if T.shape[1] > 1 else 690
    metric, G = METRICS[name][0](case, T), Point.at_coefficients(case.objective, T).gradient
    if name in ("Hessian", "blocks"):
        metric = metric.refreshed(case.objective, T)
    v = metric.whiten(G)
    assert np.isfinite(v @ v) and np.isfinite(metric.unwhiten(v)).all()


@pytest.fixture
def several(labels, source, source_threads):
    """One objective of every kind that has several problems."""
    return make(source_threads, labels, source, penalty="L2 of each", weighted=True, offset=True)


@pytest.mark.factor("some", [[1], [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.factor("name", METRICS)
def test_the_metric_of_some_problems_is_that_of_all_on_their_columns(several, name, some):
    """So is that of some of these problems, and so are both when they are refreshed."""
    T, objective, rng = several.point(), several.objective, np.random.default_rng(40)
    metric, problems = METRICS[name][0](several, T), np.array(some)
    subset, G = metric.take_problems(objective, problems), rng.normal(size=T.shape)
    step = metric.unwhiten(metric.whiten(G))
    close(subset.unwhiten(subset.whiten(G[:, some])), step[:, some], 1e-13)
    columns, v = G[:, some], rng.normal(size=G[:, some].size)
    assert subset.whiten(columns) @ v == pytest.approx(
        np.vdot(columns, subset.unwhiten(v)), rel=1e-10
    )
    last = subset.take_problems(objective.take_problems(problems), np.array([len(some) - 1]))
    close(last.unwhiten(last.whiten(G[:, some[-1:]])), step[:, some[-1:]], 1e-13)
    fresh = subset.refreshed(objective.take_problems(problems), T[:, some])
    expected = metric.refreshed(objective, T)
    expected = expected.unwhiten(expected.whiten(G))[:, some]
    close(fresh.unwhiten(fresh.whiten(columns)), expected, 1e-6 if name == "diagonal" else 1e-11)


@pytest.mark.factor("name", METRICS)
def test_a_metric_of_several_fits_is_the_same_in_each(penalised, name):
    """Repeated, it does to each fit's columns what it did to those of one; so of some fits."""
    if penalised.is_softmax and penalised.link.fits > 1:
        return  # several fits are not repeated
    T, objective, rng = penalised.point(), penalised.objective, np.random.default_rng(51)
    metric, B, K = METRICS[name][0](penalised, T), objective.problems.count, T.shape[1]
    G = rng.normal(size=(len(T), 3 * K))
    repeated = metric.repeated(3)
    found = repeated.unwhiten(repeated.whiten(G))
    fits = objective.repeated(objective.rows.repeated(np.ones((3, objective.rows.n), dtype=int)), 3)
    last = repeated.take_problems(fits, np.arange(B, 3 * B))
    of_last = last.unwhiten(last.whiten(G[:, K:]))
    for fit in range(3):
        columns = slice(fit * K, fit * K + K)
        expected = metric.unwhiten(metric.whiten(G[:, columns]))
        close(found[:, columns], expected, 1e-12)
        if fit:
            close(of_last[:, (fit - 1) * K : fit * K], expected, 1e-12)
    v = rng.normal(size=G.size)
    assert repeated.whiten(G) @ v == pytest.approx(np.vdot(G, repeated.unwhiten(v)), rel=1e-10)


@pytest.mark.factor("factor", [1e-4, 0.3, 20.0])
@pytest.mark.factor("name", [name for name in METRICS if name != "blocks"])
def test_a_metric_follows_the_penalty(penalised, name, factor):
    """Shifted by a change of the penalty it is the metric that the other objective has."""
    T, objective = penalised.point(), penalised.objective
    metric, other = METRICS[name][0](penalised, T), objective.at_strength(1 / factor)
    shifted = metric.with_ridge_change(other, other.penalty.ridge - objective.penalty.ridge)
    expected = METRICS[name][0](replace(penalised, objective=other), T)
    G = objective.link.centred(np.random.default_rng(52).normal(size=T.shape))
    atol = 1e-6 if name == "diagonal" else 1e-9
    close(shifted.unwhiten(shifted.whiten(G)), expected.unwhiten(expected.whiten(G)), atol)
    assert shifted.is_hessian == metric.is_hessian


@pytest.mark.factor("name", METRICS)
def test_the_estimated_gap_is_half_the_squared_length_of_the_gradient(penalised, name):
    """In the metric, problem by problem: g' M^-1 g / 2, which a diagonal of F makes relative."""
    T, objective = penalised.point(), penalised.objective
    metric, point = (
        METRICS[name][0](penalised, T),
        Point.at_coefficients(objective, penalised.point()),
    )
    gap = estimated_gap(objective, point.gradient, metric)
    products = point.gradient * metric.unwhiten(metric.whiten(point.gradient))
    np.testing.assert_allclose(gap, products.sum(axis=0) @ penalised.owner / 2, rtol=1e-12)
    assert gap.sum() == pytest.approx(np.square(metric.whiten(point.gradient)).sum() / 2, rel=1e-10)
    np.testing.assert_allclose(
        relative_estimate(objective, point, metric), gap / point.value, rtol=1e-12
    )


# ---- Samples of rows ----------------------------------------------------------------------------


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("source", ["kept", "sparse"])
def test_the_hessian_of_rows_drawn_by_leverage_is_unbiased(one_thread, source, targets):
    """Over many draws, the mean of the sampled Hessians nears that of all rows."""
    stream, size, times = np.random.default_rng(21), 100, 80
    X = columns(stream, 300, source) * np.exp(stream.normal(size=(300, 1)))
    case = make(one_thread, targets, source, X=X, weighted=True, offset=True)
    objective, T = case.objective, case.point()
    root = np.linalg.cholesky(np.linalg.inv(objective.gram() + 1e-3 * np.eye(7)))
    leverage = objective.rows.map_rows_with_weight(objective.leverage_kernel(T, root))
    chances = ChanceByLeverage(size, len(leverage))(leverage, leverage.sum())
    drawn = [objective.rows.sampled_with(chances, stream) for _ in range(times)]
    samples = [replace(objective, rows=rows) for rows in drawn]
    mean = sum(sample.hessian(T) for sample in samples) / times
    # Each is off by about sqrt(order / size), their mean by a sqrt(times)-th of it.
    for estimate, block in zip(mean, objective.hessian(T), strict=True):
        moved = np.flatnonzero(np.diagonal(block) > 0)
        of_moved = np.ix_(moved, moved)
        L = np.linalg.cholesky(block[of_moved])
        relative = np.linalg.solve(L, np.linalg.solve(L, estimate[of_moved]).T)
        assert np.abs(np.linalg.eigvalsh(relative) - 1).max() < 0.25
        assert np.trace(relative) / len(moved) == pytest.approx(1, abs=0.03)
    assert 0.6 * size < np.mean([sample.rows.n for sample in samples]) <= 1.05 * size


def test_rows_without_which_the_hessian_is_singular_are_always_drawn(one_thread):
    """The only rows in which a column is not zero are in the sample, at their full weight."""
    rng = np.random.default_rng(22)
    X = rng.normal(size=(2000, 6))
    X[:, 0] = 0
    X[[7, 1203], 0] = [1, -2]
    case = make(one_thread, X=X)
    objective, T = case.objective, 0 * case.point()
    root = np.linalg.inv(np.linalg.cholesky(objective.gram())).T
    sample = by_leverage(objective, T, root, 200)
    assert 120 < sample.rows.n < 280
    some = np.flatnonzero(sample.rows.X[:, 0])
    np.testing.assert_array_equal(sample.rows.X[some, 0], [1, -2])
    np.testing.assert_allclose(sample.rows.weights[some], 1)


def test_a_sampled_hessian_is_near_the_exact_one_where_columns_have_heavy_tails(one_thread):
    """Rows drawn in the lengths of `curvature_gram`, at a point where most rows are saturated."""
    rng = np.random.default_rng(25)
    X = rng.standard_t(1.2, size=(4000, 6)) * 10.0 ** rng.integers(-3, 4, 6)
    case = make(one_thread, X=X)
    objective = case.objective
    T = objective.null() + 4 * case.point()
    root = np.linalg.cholesky(np.linalg.inv(objective.curvature_gram(T)))
    sample = by_leverage(objective, T, root, 10 * T.size)
    assert sample.rows.n < 800
    (H,), (estimate,) = objective.hessian(T), sample.hessian(T)
    L = np.linalg.cholesky(H)
    relative = np.linalg.eigvalsh(np.linalg.solve(L, np.linalg.solve(L, estimate).T))
    assert relative.min() > 1 / 3 and relative.max() < 3


# ---- Conjugate gradients ------------------------------------------------------------------------


def posed(threads, targets, seed=0):
    """Newton's equations of a case: it, the product, the gradient, and a diagonal metric."""
    terms = {"weighted": True, "offset": True, "factors": np.ones(6)}
    case = make(threads, targets, penalty="L2", **terms)
    T = case.objective.link.centred(case.point(seed))
    gradient = case.objective.value_and_gradient(T)[1]
    metric = DiagonalMetric.at_coefficients(case.objective, T)
    return case, HessianProduct(case.objective, T), gradient, metric


def never(_subset, problems, _residual, _ratio):
    """No system is ever solved well enough."""
    return np.zeros(len(problems), dtype=bool)


@pytest.mark.parametrize("targets", ["softmax labels", "sigmoid of two classes", "soft answers"])
@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradients_solve_a_system_in_as_many_products_as_it_has_unknowns(
    one_thread, seed, targets
):
    """H D = -g - residual; `enough` gets the residual and its norm over the gradient's."""
    case, times, g, metric = posed(one_thread, targets, seed)
    objective, given, calls = case.objective, g.copy(), []

    def enough(subset, problems, residual, ratio):
        calls.append((problems, residual.copy(), ratio))
        assert subset.problems.count == len(problems)
        return ratio < 1e-11

    D, residual, products = conjugate_gradients(times, g, metric, enough, 100)
    unknowns = np.linalg.matrix_rank(objective.hessian(times.T)).max()
    assert products <= unknowns + 2
    close(times(D), -g - residual, 1e-12)
    close(residual, 0 * g, 1e-10)
    np.testing.assert_array_equal(g, given)
    for problems, r, ratio in calls:
        inner = objective.take_problems(problems).problems.inner
        subset = metric.take_problems(objective, problems)
        columns = objective.problems.columns(g, problems)
        squares = [inner(A, subset.unwhiten(subset.whiten(A))) for A in (r, columns)]
        np.testing.assert_allclose(ratio, np.sqrt(squares[0] / squares[1]), rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("targets", TARGETS)
def test_conjugate_gradients_with_the_hessian_as_metric_take_one_product(one_thread, targets):
    """With M = H the first direction is the solution."""
    case, times, g, _ = posed(one_thread, targets)
    metric = METRICS["Hessian"][0](case, times.T)
    D, _, products = conjugate_gradients(times, g, metric, never, 1)
    assert products == 1
    close(times(D), -g, 1e-11)


@pytest.mark.parametrize("targets", ["softmax labels", "soft answers"])
@pytest.mark.parametrize("most", [1, 3, 6])
def test_conjugate_gradients_that_stop_early_point_downhill(one_thread, most, targets):
    """After `most` products each D lowers its model <g, D> + <D, H D> / 2, the more the later."""
    case, times, g, metric = posed(one_thread, targets)

    def model(most):
        D, _, products = conjugate_gradients(times, g, metric, never, most)
        assert products == most
        return case.objective.problems.inner(g + times(D) / 2, D)

    later, earlier = model(most), model(most - 1)
    assert (later < earlier).all() and (earlier <= 0).all()


def test_a_system_without_a_gradient_needs_no_product(several):
    """Its step is zero, and those of the others are as if it were not there."""
    T, objective, others = several.point(), several.objective, np.array([0, 2])
    times, gradient = HessianProduct(objective, T), objective.value_and_gradient(T)[1]
    gradient[:, 1] = 0
    metric = DiagonalMetric.at_coefficients(objective, T)
    D, _, products = conjugate_gradients(times, gradient, metric, never, 3)
    alone, _, _ = conjugate_gradients(
        times.take_problems(others),
        gradient[:, others],
        metric.take_problems(objective, others),
        never,
        3,
    )
    assert products == 3 and (D[:, 1] == 0).all()
    close(D[:, others], alone, 1e-10)
    still = conjugate_gradients(times, 0 * gradient, metric, never, 3)
    assert still[2] == 0 and (still[0] == 0).all()


def eight_labels(rng, n):
    """Answers for eight labels."""
    Y = rng.integers(2, size=(n, 8)) * 1.0
    return Drawn(indicators(Y, np.ones(Y.shape), np.ones(8)), Y, np.ones(Y.shape))


def test_conjugate_gradients_leave_solved_systems_behind(one_thread):
    """Once a quarter of them are: the products that the others need are made of the others."""
    case, times, g, metric = posed(one_thread, (Sigmoid(), eight_labels))
    solved, in_products = [[], [3], [3, 5], [3, 5, 0, 1], [], range(8)], []

    def enough(subset, problems, residual, ratio):
        assert subset.problems.count == len(problems) == residual.shape[1]
        in_products.append(problems.tolist())
        return np.isin(problems, solved[len(in_products) - 1])

    D, residual, products = conjugate_gradients(times, g, metric, enough, 40)
    all_of_them, six, four = list(range(8)), [0, 1, 2, 4, 6, 7], [2, 4, 6, 7]
    assert in_products == [all_of_them] * 3 + [six] + [four] * 2
    assert products == 5
    close(times(D), -g - residual, 1e-12)


@pytest.mark.factor("name", METRICS)
def test_newtons_equations_of_every_problem_are_solved_by_conjugate_gradients(penalised, name):
    """H(T) D = -gradient to rounding, in every metric, and D is the step of the dense Hessian."""
    objective = penalised.objective
    T = objective.link.centred(penalised.point())  # as solvers have it
    times, gradient = HessianProduct(objective, T), objective.value_and_gradient(T)[1]
    D, residual, _ = conjugate_gradients(
        times,
        gradient,
        METRICS[name][0](penalised, T),
        lambda _subset, _problems, _residual, ratio: ratio < 1e-11,
        400,
    )
    close(times(D), -gradient, 1e-10)
    close(residual, -gradient - times(D), 1e-12)
    close(objective.link.centred(D), objective.link.centred(newton(objective, T)), 1e-7)


@pytest.mark.factor("name", METRICS)
def test_newtons_equations_of_a_problem_are_those_it_has_alone(several, name):
    """Solved together, to a different reduction each, or problem by problem: the same steps."""
    T, objective = several.point(), several.objective
    times, gradient = HessianProduct(objective, T), objective.value_and_gradient(T)[1]
    metric, tol = METRICS[name][0](several, T), np.array([1e-1, 1e-9, 1e-4])
    D, residual, products = conjugate_gradients(
        times,
        gradient,
        metric,
        lambda _subset, problem, _residual, ratio: ratio < tol[problem],
        100,
    )
    alone = []
    for k in range(3):
        problem = np.array([k])
        D_alone, residual_alone, n_alone = conjugate_gradients(
            times.take_problems(problem),
            gradient[:, problem],
            metric.take_problems(objective, problem),
            lambda _subset, _problem, _residual, ratio, k=k: ratio < tol[k],
            100,
        )
        close(D[:, problem], D_alone, 1e-10)
        close(residual[:, problem], residual_alone, 1e-10)
        alone.append(n_alone)
    assert products == max(alone)


def test_cholesky_raises_the_diagonal_by_rounding_and_refuses_what_has_no_factor():
    """L L' is H, singular or not, to rounding; where H is not finite or not >= 0, an error says so.

    LAPACK takes some NaN for numbers, and no diagonal is large enough for [[0, 1], [1, 0]].
    """
    G = np.random.default_rng(0).normal(size=(5, 3))
    for H in (G @ G.T, G.T @ G, np.ones((4, 4)), np.diag([0.0, 2.0])):
        L = cholesky(H)
        raised = np.where(H.diagonal() > 0, H.diagonal(), 1)
        H = H - np.diag(H.diagonal()) + np.diag(raised)
        np.testing.assert_allclose(np.tril(L) @ np.tril(L).T, H, atol=1e-12 * np.abs(H).max())
    broken = [np.diag([np.nan, 1]), np.diag([1, np.inf]), np.array([[1, np.nan], [np.nan, 1]])]
    for H in (*broken, np.array([[0.0, 1.0], [1.0, 0.0]])):
        with pytest.raises(ValueError, match="Hessian is not finite, or not positive"):
            cholesky(H)


# ---- Points -------------------------------------------------------------------------------------

FIELDS = {"T": 1, "gradient": 1, "step": 1, "value": 0, "estimate": 0, "gap": 0}


def some_point(case, seed=43):
    """A point whose fields are all different numbers."""
    rng, (width, K) = np.random.default_rng(seed), case.objective.shape
    of_scores = {name: rng.normal(size=(width, K)) for name in ("T", "gradient", "step")}
    return Point(**of_scores, **{name: rng.random(K) for name in ("value", "estimate", "gap")})


@pytest.mark.parametrize("some", [[1], [0, 2], [0, 1, 2]], ids=str)
def test_some_problems_of_a_point_put_back_are_the_point(one_thread, some):
    """`take_problems` takes the problems' columns, `with_problems` puts them back."""
    case, problems = make(one_thread, "answers"), np.array(some)
    point, other = some_point(case), some_point(case, 44)
    subset = point.take_problems(case.objective, problems)
    back = point.with_problems(case.objective, problems, subset)
    mixed = point.with_problems(
        case.objective, problems, other.take_problems(case.objective, problems)
    )
    rest = [k for k in range(3) if k not in some]
    for name, axis in FIELDS.items():
        original = getattr(some_point(case), name)
        np.testing.assert_array_equal(getattr(subset, name), original.take(some, axis))
        np.testing.assert_array_equal(getattr(back, name), original)
        np.testing.assert_array_equal(
            getattr(mixed, name).take(rest, axis), original.take(rest, axis)
        )
        replaced = getattr(other, name).take(some, axis)
        np.testing.assert_array_equal(getattr(mixed, name).take(some, axis), replaced)
        np.testing.assert_array_equal(getattr(point, name), original)


def test_some_problems_of_a_point_are_the_point_of_these_problems(several):
    """F and its gradient at T: taken from the point of all problems, or computed for some."""
    T, objective, problems = several.point(), several.objective, np.array([0, 2])
    subset = Point.at_coefficients(objective, T).take_problems(objective, problems)
    alone = Point.at_coefficients(objective.take_problems(problems), T[:, problems])
    for name in FIELDS:
        np.testing.assert_allclose(getattr(subset, name), getattr(alone, name), atol=1e-11)


# ---- Steps --------------------------------------------------------------------------------------


def test_the_line_search_takes_the_first_halving_that_is_enough_for_each_problem(several):
    """F(T + t step) <= F(T) + 1e-4 t <gradient, step>, t = 1, 1/2, ..., problem by problem.

    A problem whose step leads uphill stays where it is.
    """
    T, objective = several.point(), several.objective
    point = Point.at_coefficients(objective, T)
    for lengths in ([0.1, 1e3, 30], [1e5, -1, 1], [-1, -1, -1]):
        step = -point.gradient * lengths
        found = line_search(objective, point, step)
        slope, taken = (point.gradient * step).sum(axis=0), np.zeros(3)
        for t in 0.5 ** np.arange(31.0)[::-1]:
            F = several.value(*objective.coefficients(T + t * step))
            taken[point.value + 1e-4 * t * slope >= F] = t
        taken[np.array(lengths) < 0] = 0
        np.testing.assert_allclose(found.T, T + taken * step, rtol=1e-15)
        expected = several.value(*objective.coefficients(found.T))
        np.testing.assert_allclose(found.value, expected, rtol=1e-12)
        moved = taken > 0
        np.testing.assert_allclose(found.step[:, moved], (taken * step)[:, moved], rtol=1e-15)
        assert np.isinf(found.gap).all() and np.isinf(found.estimate).all()


def test_the_line_search_treats_each_problem_as_if_it_were_alone(several):
    """Together or by itself, a problem takes the same step."""
    objective = several.objective
    point = Point.at_coefficients(objective, several.point())
    step = -point.gradient * [0.1, 1e3, -1]
    found = line_search(objective, point, step)
    for k in range(3):
        problem = np.array([k])
        alone = line_search(
            objective.take_problems(problem),
            point.take_problems(objective, problem),
            step[:, problem],
        )
        np.testing.assert_array_equal(found.T[:, problem], alone.T)
        np.testing.assert_allclose(found.value[problem], alone.value, rtol=1e-12)
        close(found.gradient[:, problem], alone.gradient, 1e-12)


@pytest.mark.factor("name", METRICS)
def test_a_step_down_the_gradient_decreases_every_f(penalised, name):
    """Of each problem, in each metric."""
    objective, metric = penalised.objective, METRICS[name][0](penalised, penalised.point())
    point = Point.at_coefficients(objective, penalised.point())
    assert (gradient_step(objective, point, metric).value < point.value).all()


@pytest.mark.factor("name", METRICS)
def test_newton_steps_decrease_every_f_and_prove_it_near_the_optimum(penalised, name):
    """From afar each F decreases; beside the optimum the bound on F - F* holds and is small."""
    objective, least = penalised.objective, penalised.least()
    point = Point.at_coefficients(objective, penalised.point())
    after, _ = newton_step(objective, point, METRICS[name][0](penalised, point.T), 1e-9)
    assert (after.value < point.value).all()
    T = minimiser(objective) + 1e-4 * penalised.direction()
    point = Point.at_coefficients(objective, T)
    after, _ = newton_step(objective, point, METRICS[name][0](penalised, T), 1e-9)
    assert (after.gap <= 1e-8 * after.value).all()
    assert (after.value - least <= after.gap + 1e-13).all()
    np.testing.assert_allclose(after.value, objective.value_and_gradient(after.T)[0], rtol=1e-13)


def test_problems_near_their_optimum_and_far_from_it_take_different_steps(several):
    """Beside the optimum one is certified, while another, far away, comes nearer."""
    objective, least = several.objective, several.least()
    optimal, far = minimiser(objective), several.point()
    for near in range(3):
        T = np.where(np.arange(3) == near, optimal + 1e-4 * several.direction(), far)
        point, metric = Point.at_coefficients(objective, T), METRICS["Hessian"][0](several, T)
        after, _ = newton_step(objective, point, metric, 1e-9)
        assert (after.value < point.value).all()
        np.testing.assert_array_equal(np.isfinite(after.gap), np.arange(3) == near)
        assert after.gap[near] <= 1e-8 * after.value[near]
        assert after.value[near] - least[near] <= after.gap[near] + 1e-13


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("targets", LABELS)
def test_problems_far_from_their_optimum_step_as_if_they_were_alone(one_thread, targets, name):
    """Whatever is done for the certificate of another that is near its optimum."""
    terms = {"weighted": True, "offset": True, "factors": np.ones(6)}
    case = make(one_thread, targets, penalty="L2 of each", **terms)
    objective, optimal = case.objective, minimiser(case.objective)
    T = np.where(np.arange(3) == 1, optimal + 1e-4 * case.direction(), case.point())
    point, metric = Point.at_coefficients(objective, T), METRICS[name][0](case, T)
    after, _ = newton_step(objective, point, metric, 1e-9)
    np.testing.assert_array_equal(np.isfinite(after.gap), [False, True, False])
    for far in (0, 2):
        problem = np.array([far])
        start = point.take_problems(objective, problem)
        alone, _ = newton_step(
            objective.take_problems(problem), start, metric.take_problems(objective, problem), 1e-9
        )
        close(after.T[:, problem], alone.T, 1e-10)


def test_balancing_moves_free_coefficients_to_where_there_is_a_bound(penalised):
    """The others stay, no F rises, and the gap is finite."""
    T, objective, free = penalised.point(), penalised.objective, penalised.working_l2 == 0
    point = Point.at_coefficients(objective, T)
    after = balanced(objective, point)
    np.testing.assert_array_equal(after.T[~free], T[~free])
    assert (after.value <= point.value).all() and (after.value < point.value).any()
    assert np.isinf(certify(objective, T, 0 * T).gap).all()
    gap = certify(objective, after.T, 0 * T).gap
    assert (after.value - penalised.least() <= gap + 1e-13).all() and np.isfinite(gap).all()
    np.testing.assert_allclose(after.gradient, objective.value_and_gradient(after.T)[1], atol=1e-14)


def test_the_gram_metric_is_factored_in_two_matrices(one_thread):
    """Of thousands of columns they are what a fit holds most of: the matrix, and its factor."""
    X = np.random.default_rng(0).standard_normal((450, 400))
    objective = make(one_thread, X=X, factors=np.ones(400)).objective
    size = objective.gram().nbytes
    tracemalloc.start()
    _ = GramMetric(objective).factor
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * size


@pytest.mark.parametrize("targets", LABELS)
def test_problems_that_still_search_are_held_to_their_own_slopes(one_thread, targets):
    """A problem with an enormous slope is done at once; the next one halves its step by its own.

    Held to the first one's slope, F would have to decrease by more than there is of it.
    """
    several = make(one_thread, targets, penalty="L2 of each", weighted=True)
    objective = several.objective
    T = several.point() * [1e4, 1, 1]
    point = Point.at_coefficients(objective, T)
    step = -np.column_stack([0.5 * T[:, 0], point.gradient[:, 1:] * [1e3, 0.1]])
    slope = (point.gradient * step).sum(axis=0)
    taken = np.zeros(3)
    for t in 0.5 ** np.arange(31.0)[::-1]:
        F = several.value(*objective.coefficients(T + t * step))
        taken[point.value + 1e-4 * t * slope >= F] = t
    assert taken[0] == 1 > taken[1] > 0
    assert 1e-4 * taken[1] * abs(slope[0]) > point.value[1]
    found = line_search(objective, point, step)
    np.testing.assert_allclose(found.T, T + taken * step, rtol=1e-14)


@pytest.mark.parametrize(("targets", "source"), [(y, s) for y in LABELS for s in SOURCES])
def test_balancing_moves_the_coefficients_that_are_free_in_their_own_problem(
    source_threads, targets, source
):
    """One label has a penalty on nothing: all of its coefficients end where its F is least."""
    case = make(source_threads, targets, source, penalty="L2 of some", weighted=True)
    T, free = case.point(), case.working_l2 == 0
    after = balanced(case.objective, Point.at_coefficients(case.objective, T))
    np.testing.assert_array_equal(after.T[~free], T[~free])
    gradient = case.objective.value_and_gradient(after.T)[1]
    assert np.abs(gradient[free]).max() < 1e-9
    assert not (after.T[:-2, 0] - T[:-2, 0])[~free[:-2, 0]].any()


def test_newton_steps_are_stretched_to_where_the_secant_of_the_slope_is_zero():
    """Of a parabola not at all, of exp(-t) from 0 to 1 to e / (e - 1), at most twice."""
    parabola, exponential, linear = 0.0, -np.exp(-1), -1.0
    first, last = np.full(3, -1.0), np.array([parabola, exponential, linear])
    expected = [1, np.e / (np.e - 1), 2]
    np.testing.assert_allclose(stretched(first, first, last), expected, rtol=1e-15)
    half = stretched(first, first / 2, np.array([-0.25, 0.0, 0.5]))
    np.testing.assert_allclose(half, 1, rtol=1e-15)
