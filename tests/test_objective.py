"""Laws of the objective: its values, derivatives and certificates, and those of its problems."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from parts import (
    DIFFERENCES,
    INDICATORS,
    LABELS,
    ROUNDING,
    SOURCES,
    TARGETS,
    TERMS,
    Drawn,
    apply,
    basis,
    close,
    differences,
    hold,
    indicators,
    make,
    minimiser,
    newton,
    step_rounding,
)

from softreg._model.certificate import certify
from softreg._model.links import Sigmoid
from softreg._rows import memory as _memory_rows
from softreg.solvers.linalg.hessian_product import HessianProduct

# ---- Values and derivatives ---------------------------------------------------------------------


def test_the_value_is_the_formula_on_raw_columns(case):
    """F(T) in working coordinates is F(W, b) of plain numpy on raw X, at the mapped T."""
    T = case.point()
    value, _ = case.objective.value_and_gradient(T)
    expected = case.value(*case.objective.rows.coordinates.coefficients(T))
    assert value.dtype == np.float64 and value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=ROUNDING[case.dtype])


def test_the_gradient_is_the_derivative_of_the_value(case):
    """dF along every entry of T, by central differences of F in double precision.

    An entry moves the F of the problem that its score belongs to and no other.
    """
    T, F = case.point(), lambda T: case.exact.value_and_gradient(T)[0]
    moves = np.reshape([differences(F, T, D) for D in basis(T.shape)], (*T.shape, -1))
    _, gradient = case.objective.value_and_gradient(T)
    assert gradient.dtype == np.float64
    close(gradient[:, :, None] * case.owner, moves, DIFFERENCES[case.dtype])


def test_the_hessian_product_is_the_derivative_of_the_gradient(case):
    """H(T) D is the derivative of the gradient along D, for each D in turn."""
    T, G = case.point(), lambda T: case.exact.value_and_gradient(T)[1]
    times = HessianProduct(case.objective, T)
    for D in (case.point(1), case.point(2)):
        close(times(D), differences(G, T, D), DIFFERENCES[case.dtype])


def test_the_hessian_is_the_matrix_of_its_products(case):
    """Before the gauge is fixed, column j of the Hessian is the product with the j-th unit."""
    T = case.point()
    times, H = HessianProduct(case.exact, T), case.ungauged.hessian(T)
    assert len(H) == case.owner.shape[1]
    for D in basis(T.shape):
        close(apply(H, D), times(D), ROUNDING[case.dtype])


def test_fixing_the_gauge_leaves_directions_that_move_probabilities_alone(case):
    """With the gauge fixed, H D is the product for zero-sum D, and H is positive definite."""
    T, D = case.point(), case.direction()
    H = case.objective.hessian(T)
    close(apply(H, D), HessianProduct(case.exact, T)(D), ROUNDING[case.dtype])
    for block in H:
        moved = np.flatnonzero(np.diagonal(block) > 0)
        least = np.linalg.eigvalsh(block[np.ix_(moved, moved)])[0]
        assert least > 1e-5 * np.diagonal(block).max()


def test_the_hessian_diagonal_is_that_of_the_hessian(case):
    """The diagonal summed without the matrix is the matrix's, before the gauge is fixed.

    It is as precise as products for steps are.
    """
    T = case.point()
    expected = np.concatenate([np.diagonal(H) for H in case.ungauged.hessian(T)])
    close(
        case.objective.hessian_diagonal(T),
        expected.reshape(T.shape[::-1]).T,
        step_rounding(case.objective),
    )


def test_the_blocks_are_those_on_the_diagonal_of_the_hessian(case):
    """One a score, (K, width, width), without the rest of the matrix, nor a gauge."""
    T, (width, K) = case.point(), case.objective.shape
    H = case.ungauged.hessian(T)
    block_slices = [slice(k * width, (k + 1) * width) for k in range(K // len(H))]
    expected = [block[cut, cut] for block in H for cut in block_slices]
    close(case.objective.hessian_blocks(T), expected, ROUNDING[case.dtype])


def test_the_gram_matrix_is_the_weighted_mean_of_outer_products(case):
    """The Gram matrix is sum_i s_i x~_i x~_i' / S."""
    x = case.features
    expected = (case.s[:, None] * x).T @ x / case.s.sum()
    close(case.objective.gram(), expected, ROUNDING[case.dtype])


def leverages(objective, T, root):
    """Each row's weight in the Hessian."""
    return objective.rows.map_rows(objective.leverage_kernel(T, root))


def test_leverages_are_curvature_times_the_length_of_the_row(case):
    """A leverage is sum_k w_ik p_ik (1 - p_ik) / S_k ||root' x~_i||^2."""
    T, root = case.point(), np.random.default_rng(4).normal(size=(len(case.point()), 2))
    lengths = np.square(case.features @ root).sum(axis=1)
    expected = (case.spread(T) / case.weights).sum(axis=1) * lengths
    close(leverages(case.objective, T, root), expected, ROUNDING[case.dtype])


def test_the_curvature_gram_is_the_hessian_added_over_the_scores(case):
    """It is sum_ik w_ik p_ik (1 - p_ik) x~_i x~_i' / S_k + sum_k l2_k / S_k: the trace of H."""
    T, x = case.point(), case.features
    expected = x.T @ ((case.spread(T) / case.weights).sum(axis=1)[:, None] * x)
    expected += np.diag((case.working_l2 / case.weights).sum(axis=1))
    close(case.objective.curvature_gram(T), expected, ROUNDING[case.dtype])


def test_a_balancing_step_takes_a_residual_off_the_intercepts_alone(case):
    """H times the step equals the residual's zero-sum part there; no other coefficient moves."""
    T, residual = case.point(), np.random.default_rng(8).normal(size=case.objective.shape)
    step = HessianProduct(case.objective, T).balancing_step(residual)
    own = len(T) - case.objective.rows.coordinates.intercept
    assert (step[:own] == 0).all()
    if own == len(T):
        return
    image = HessianProduct(case.objective.in_double(), T)(step)
    close(image[own:], case.link.centred(residual[own:]), ROUNDING[case.dtype])


@pytest.mark.parametrize("targets", TARGETS)
def test_the_null_model_is_stationary_in_the_intercept(one_thread, targets):
    """Without offsets the null model's intercepts fit the mean target: their gradient is 0."""
    objective = make(one_thread, targets, weighted=True).objective
    assert np.abs(objective.value_and_gradient(objective.null())[1][-1]).max() < 1e-15


def test_what_is_added_up_over_problems_is_added_up_over_their_scores(case):
    """Sums and inner products of scores by problem, and back to each of a problem's scores."""
    rng, objective, B = np.random.default_rng(30), case.objective, case.owner.shape[1]
    A, D = rng.normal(size=(2, *objective.shape))
    assert objective.problems.count == B
    close(objective.problems.total(A[0]), A[0] @ case.owner, 1e-14)
    close(objective.problems.inner(A, D), (A * D).sum(axis=0) @ case.owner, 1e-14)
    np.testing.assert_array_equal(
        objective.problems.spread(np.arange(B)), case.owner @ np.arange(B)
    )
    for problem in range(B):
        own = objective.problems.scores(np.array([problem]))
        np.testing.assert_array_equal(own, np.flatnonzero(case.owner[:, problem]))


# ---- Problems by themselves ---------------------------------------------------------------------

SEVERAL = list(product(LABELS, SOURCES, ROUNDING, ["plain", "weighted, offset"]))
# Problems 0, 1 and 2, of which these are some.
SOME = [[0], [1], [2], [0, 2], [1, 2]]


@pytest.fixture(params=SEVERAL, ids=lambda p: f"{p[0]}-{p[1]}-{p[2].__name__}-{p[3]}")
def several(request, monkeypatch, one_thread):
    """One objective of every kind that has several problems, each with its own strength."""
    targets, source, dtype, terms = request.param
    hold(source, monkeypatch)
    return make(one_thread, targets, source, dtype, "L2 of some", **TERMS[terms])


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_is_the_columns_of_the_whole(several, some):
    """F, its derivatives and its certificate, at the weight that the whole has."""
    whole, T, D = several.objective, several.point(), several.direction()
    part, own = whole.take_problems(np.array(some)), (slice(None), some)
    assert part.shape == (len(T), len(some)) and part.problems.count == len(some)
    assert part.mean_weight == whole.mean_weight and part.rows.dtype == several.dtype
    actual, expected = by_problem(part, T[own], D[own]), by_problem(whole, T, D)
    for name, (of_part, last) in actual.items():
        of_whole = expected[name][0]
        of_whole = of_whole[some] if last == "problems" else of_whole[own]
        rounding = step_rounding(whole) if name == "diagonal" else ROUNDING[several.dtype]
        close(of_part, of_whole, rounding)


def by_problem(objective, T, D):
    """What an objective says problem by problem, and whether its first or last axis does."""
    value, gradient = objective.value_and_gradient(T)
    there = certify(objective, T, 0.1 * D)
    return {
        "value": (value, "problems"),
        "gradient": (gradient, "scores"),
        "product": (HessianProduct(objective, T)(D), "scores"),
        "Hessian": (objective.hessian(T), "problems"),
        "diagonal": (objective.hessian_diagonal(T), "scores"),
        "balancing step": (HessianProduct(objective, T).balancing_step(D), "scores"),
        "null": (objective.null(), "scores"),
        "certified value": (there.value, "problems"),
        "certified gradient": (there.gradient, "scores"),
        "divergence": (there.divergence, "problems"),
        "imbalance": (there.imbalance, "scores"),
        "finite gap": (np.isfinite(there.gap), "problems"),
        "gap": (np.where(np.isfinite(there.gap), there.gap, 0), "problems"),
        "penalised gap": (objective.penalised_gap(D), "problems"),
        "free features": (objective.has_free_features, "problems"),
        "constant problems": (objective.constant_problems, "problems"),
    }


def test_parts_add_up_to_the_leverages_of_the_whole(several):
    """Each row's weight in the Hessian is the sum of those in each problem's."""
    objective, T = several.objective, several.point()
    root = np.random.default_rng(4).normal(size=(len(T), 2))
    parts = [(objective.take_problems(np.array([k])), T[:, [k]]) for k in range(3)]
    total = sum(leverages(part, own, root) for part, own in parts)
    close(total, leverages(objective, T, root), ROUNDING[several.dtype])


@pytest.mark.parametrize("small_blocks", [False, True])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", LABELS)
def test_a_part_sees_the_blocks_of_the_whole(
    monkeypatch, one_thread, targets, source, dtype, small_blocks
):
    """The same cuts, and the very same X in each where the whole keeps it."""
    hold(source, monkeypatch)
    if small_blocks:
        for name, value in [("_BLOCK_VALUES", 1), ("_BLOCK_ROWS", 1), ("_WORTH_A_THREAD", 0)]:
            monkeypatch.setattr(_memory_rows, name, value)
    case = make(one_thread, targets, source, dtype, weighted=True, offset=True)
    whole, T = case.objective, case.point()
    whole.value_and_gradient(T)
    part = whole.take_problems(np.array([0, 2]))
    part.value_and_gradient(T[:, [0, 2]])
    assert len(whole.rows.block_slices) >= (4 if small_blocks else 1)
    assert part.rows.block_slices == whole.rows.block_slices
    for cut in whole.rows.block_slices:
        ours, theirs = part.rows.block(cut).X, whole.rows.block(cut).X
        if source == "raw":
            assert np.shares_memory(ours, theirs) == (dtype is np.float64)
        else:
            assert ours is theirs


@pytest.mark.parametrize("targets", LABELS)
def test_a_part_sees_the_blocks_in_single_precision_of_the_whole(one_thread, targets):
    """X is brought to single precision once, for the whole."""
    case = make(one_thread, targets, "sparse", weighted=True, offset=True)
    T, some = case.point(), np.array([0, 2])
    times = HessianProduct(case.objective, T)
    expected = times.for_steps()(T)
    single = times.take_problems(some).for_steps()
    close(single(T[:, some]), expected[:, some], 1e-6)
    for cut in case.objective.rows.block_slices:
        ours, theirs = (of.objective.rows.block(cut).X for of in (single, times.for_steps()))
        assert ours is theirs and ours.dtype == np.float32


def test_all_problems_together_are_the_objective_itself(one_thread):
    """A part of all is no copy."""
    for targets in TARGETS:
        objective = make(one_thread, targets).objective
        assert objective.take_problems(np.arange(objective.problems.count)) is objective


class Counting(Sigmoid):
    """A sigmoid that counts the scores whose probabilities were asked for."""

    def __init__(self):
        self.scores = 0

    def probabilities_inplace(self, Z):
        self.scores += len(Z)
        return super().probabilities_inplace(Z)


CONFINED = {
    "everywhere": None,
    "to features": np.arange(7)[:, None] % 2 == 0,
    "to entries": np.arange(21).reshape(7, 3) % 2 == 0,
}


@pytest.mark.parametrize("confined", CONFINED)
def test_a_part_of_a_product_is_the_columns_of_the_whole(several, confined):
    """Also where it is confined, and after the whole has made its probabilities: none anew."""
    objective = replace(several.objective, link=Counting())
    T, on = several.point(), CONFINED[confined]
    unconfined = HessianProduct(several.objective, T)(several.point(1))
    times = HessianProduct(objective, T, confined_to=on)
    expected = times(several.point(1))
    close(expected, unconfined * (True if on is None else on), ROUNDING[several.dtype])
    made = objective.link.scores
    for some in SOME:
        part = times.take_problems(np.array(some))
        close(part(several.point(1)[:, some]), expected[:, some], ROUNDING[several.dtype])
        single = part.take_problems(np.array([0]))
        close(single(several.point(1)[:, some[:1]]), expected[:, some[:1]], ROUNDING[several.dtype])
    assert objective.link.scores == made == 3


def test_products_in_single_precision_are_near_those_in_double(case):
    """Within 1e-5 where X is sparse and double; elsewhere the product is its own stand-in."""
    T, D = case.point(), case.point(1)
    times = HessianProduct(case.objective, T)
    single, exact = times.for_steps(), times(D)
    if case.dtype is np.float32 or not case.objective.rows.is_sparse:
        assert single is times
        return
    assert single.objective.rows.dtype == np.float32
    image = single(D)
    assert image.dtype == np.float64 and (image != exact).any()
    assert np.abs(image - exact).max() <= 1e-5 * np.abs(exact).max()


def test_products_far_from_zero_stay_in_double_precision(one_thread):
    """Centring within a product in single precision would leave nothing of such columns."""
    X = np.random.default_rng(31).normal(1e4, 1, (40, 3))
    case = make(one_thread, "answers", "sparse", X=X, factors=np.ones(3))
    times = HessianProduct(case.objective, case.point())
    assert times.for_steps() is times


# ---- Several fits at once -----------------------------------------------------------------------

# Shares of several labels are stored answers where there are several fits.
ONE_FIT = [y for y in TARGETS if not y.endswith("fits") and y != "sigmoid shares"]
KEPT = np.random.default_rng(60).choice([0, 1, 1, 1, 2], size=(3, 40))


@pytest.fixture(
    params=product(ONE_FIT, SOURCES, ["plain", "weighted, offset"]), ids=lambda p: "-".join(p)
)
def one_fit(request, monkeypatch, one_thread):
    """One objective of every kind whose targets are those of a single fit."""
    targets, source, terms = request.param
    hold(source, monkeypatch)
    return make(one_thread, targets, source, **TERMS[terms])


def fits_and_each(objective):
    """The objective of three fits at once, and that of each by itself, from the same rows."""
    rows = objective.rows
    fits = objective.repeated(rows.repeated(KEPT), 3)
    return fits, [objective.on_rows(rows.replaced(weight=rows.weights * kept)) for kept in KEPT]


def test_several_fits_are_the_objectives_of_the_rows_that_each_keeps(one_fit):
    """F, its derivatives and its certificate, fit by fit, and of some of the fits."""
    fits, each = fits_and_each(one_fit.objective)
    (width, K), B = one_fit.objective.shape, one_fit.objective.problems.count
    T, D = (np.hstack([one_fit.point(seed + k) for k in range(3)]) for seed in (0, 10))
    D = fits.link.centred(D)
    assert fits.shape == (width, 3 * K) and fits.problems.count == 3 * B
    actual = by_problem(fits, T, D)
    if one_fit.offset.any():
        del actual["null"]  # a place to start from, by the mean offset of all rows
    last = np.arange(2 * B, 3 * B)
    of_part = by_problem(fits.take_problems(last), T[:, 2 * K :], D[:, 2 * K :])
    for fit, alone in enumerate(each):
        of_scores, with_problems = (slice(fit * n, fit * n + n) for n in (K, B))
        expected = by_problem(alone, T[:, of_scores], D[:, of_scores])
        for name, (found, axis) in actual.items():
            own = found[with_problems] if axis == "problems" else found[:, of_scores]
            rounding = step_rounding(alone) if name == "diagonal" else ROUNDING[np.float64]
            close(own, expected[name][0], rounding)
            if fit == 2:
                close(of_part[name][0], expected[name][0], rounding)


def test_several_fits_of_one_strength_differ_in_the_weight_of_their_rows(one_fit):
    """The penalty is the same in the user's units, so its share of F is that of the rows'."""
    fits, each = fits_and_each(one_fit.objective)
    T = np.hstack([one_fit.point()] * 3)
    penalty = np.split(fits.problems.total(fits.penalty.value(T)), 3)
    for alone, own in zip(each, penalty, strict=True):
        expected = one_fit.objective.penalty.value(one_fit.point()) * one_fit.objective.score_weight
        np.testing.assert_allclose(
            own * alone.problem_weight, one_fit.objective.problems.total(expected), rtol=1e-12
        )


@pytest.mark.parametrize("factor", [1e-6, 3.0])
def test_a_penalty_times_a_factor_is_that_of_another_strength(one_fit, factor):
    """F at C / factor: the loss stays, and what was made of the rows is kept."""
    objective, T = one_fit.objective, one_fit.point()
    gram = objective.gram()
    other = objective.at_strength(1 / factor)
    loss = objective.unpenalised().value(T)
    penalty = objective.value(T) - loss
    np.testing.assert_allclose(other.value(T), loss + factor * penalty, rtol=1e-9)
    assert other.gram() is gram and other.rows is objective.rows


# ---- Settled problems ---------------------------------------------------------------------------


def constant_answers(rng, n):
    """Answers that vary, are all no, all yes, nowhere known, and no wherever they are known."""
    Y, own = rng.integers(2, size=(n, 5)) * 1.0, np.ones((n, 5))
    Y[:, 1], Y[:, 2] = 0, 1
    own[:, 3] = 0
    own[Y[:, 4] == 1, 4] = 0
    targets = indicators(Y, own, np.ones(5))
    return Drawn(targets, Y, own)


CONSTANT = (Sigmoid(), constant_answers)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_constant_problems_are_settled_by_the_null_model(monkeypatch, one_thread, source, offset):
    """Their F is zero to rounding at no weights and finite intercepts; of nothing known, zero."""
    hold(source, monkeypatch)
    case = make(one_thread, CONSTANT, source, weighted=True, offset=offset)
    objective = case.objective
    np.testing.assert_array_equal(objective.constant_problems, [False, True, True, True, True])
    W, b = objective.coefficients(objective.null())
    assert (W == 0).all() and np.isfinite(b).all()
    F = case.value(W, b)
    assert (F[1:] >= 0).all() and (F[1:] < 1e-14).all() and F[3] == 0 == b[3]
    np.testing.assert_array_equal(np.sign(b[1:]), [-1, 1, 0, -1])
    np.testing.assert_allclose(objective.value_and_gradient(objective.null())[0], F, atol=1e-15)
    part = objective.take_problems(np.array([0, 2]))
    np.testing.assert_array_equal(part.constant_problems, [False, True])


@pytest.mark.parametrize("cells", [False, True])
def test_labels_that_nobody_knows_have_null_scores_of_zero(one_thread, cells):
    """Whatever rows and cells weigh: rounding in the weight of nothing is no knowledge of it."""

    def draw(rng, n):
        Y, own, plain = rng.integers(2, size=(n, 9)) * 1.0, np.zeros((n, 9)), np.full(9, 1.7)
        own[:, 0] = 1.7
        weight = rng.uniform(size=Y.shape) if cells else None
        targets = indicators(Y, own, plain, weight, rng.random(Y.shape) < 0.1)
        return Drawn(targets, Y, own if weight is None else own * weight)

    for n in range(20, 30):
        objective = make(one_thread, (Sigmoid(), draw), n=n, weighted=True).objective
        np.testing.assert_array_equal(objective.null()[:, 1:], 0)
        np.testing.assert_array_equal(objective.constant_problems, np.arange(9) > 0)


@pytest.mark.parametrize("targets", TARGETS)
def test_problems_whose_targets_vary_are_not_settled(one_thread, targets):
    """There the null model is not the best, with an intercept or without."""
    for intercept in (False, True):
        objective = make(one_thread, targets, weighted=True, intercept=intercept).objective
        assert not objective.constant_problems.any()


def test_no_problem_is_settled_without_an_intercept(one_thread):
    """A score of zero everywhere says a half, which is no constant's best model."""
    case = make(one_thread, CONSTANT, intercept=False)
    assert not case.objective.constant_problems.any()


# ---- Certificates -------------------------------------------------------------------------------


def test_the_certificate_bounds_the_distance_to_the_optimum(penalised):
    """gap >= F - F* at T + step, for exact steps and for inexact ones balanced where F is free."""
    objective, least = penalised.objective, penalised.least()
    optimal, finite = minimiser(objective), 0
    for seed, size in product(range(3), [0.3, 0.1, 0.01]):
        T = optimal + size * penalised.direction(seed)
        exact = newton(objective, T)
        inexact = in_balance(penalised, T, exact, size * penalised.direction(seed + 10) / 3)
        for step in (exact, inexact):
            there = certify(objective, T, step)
            value, gradient = objective.value_and_gradient(T + step)
            np.testing.assert_allclose(there.value, value, rtol=1e-13)
            close(there.gradient, gradient, 1e-12)
            assert (there.gap >= value - least - 1e-13).all()
            finite += np.isfinite(there.gap)
    assert (finite >= 12).all()


def in_balance(case, T, exact, error):
    """The exact step with an error whose part in the unpenalised coefficients keeps balance."""
    objective, free = case.objective, case.working_l2 == 0
    units, times = basis(T.shape)[free.ravel()], HessianProduct(objective, T)
    error = error * ~free
    system = np.array([times(unit)[free] for unit in units])
    mend = np.linalg.lstsq(system.T, -times(error)[free], rcond=1e-13)[0]
    return exact + error + np.tensordot(mend, units, axes=1)


def test_the_certificate_is_of_fourth_order_in_an_exact_step(penalised):
    """Half the distance to the optimum leaves a sixteenth of the gap after a Newton step."""
    objective, optimal = penalised.objective, minimiser(penalised.objective)
    gaps = []
    for size in (0.08, 0.04):
        T = optimal + size * penalised.direction()
        gaps.append(certify(objective, T, newton(objective, T)).gap)
    ratio = gaps[0] / gaps[1]
    assert (ratio > 10).all() and (ratio < 24).all()


def test_the_certificate_is_tight_at_the_optimum(penalised):
    """At the minimiser a step of zero has F = F* and a gap of zero, to rounding."""
    objective = penalised.objective
    T = minimiser(objective)
    there = certify(objective, T, np.zeros_like(T))
    np.testing.assert_allclose(there.value, penalised.least(), rtol=0, atol=1e-13)
    assert (there.gap >= 0).all() and (there.gap < 1e-15).all()
    assert np.abs(there.gradient).max() < 1e-14


def test_there_is_no_bound_where_free_coefficients_are_out_of_balance(penalised):
    """A step that leaves a gradient in unpenalised coefficients proves nothing: gap = inf.

    It proves nothing of the problem that they belong to, and takes nothing from the others.
    """
    objective, scale = penalised.objective, penalised.objective.rows.coordinates.scale
    T = minimiser(objective)
    free = (penalised.working_l2 == 0) & np.isfinite(np.append(scale, 1))[: len(T), None]
    assert free.any(axis=0).all()
    push = objective.link.centred(np.arange(T.shape[1]) + 1.0)
    for problem in range(objective.problems.count):
        moved = T + 1e-4 * free * push * penalised.owner[:, problem]
        gap = certify(objective, moved, np.zeros_like(T)).gap
        np.testing.assert_array_equal(np.isinf(gap), np.arange(len(gap)) == problem)


@pytest.mark.parametrize("targets", INDICATORS)
def test_features_are_free_in_the_problems_that_leave_them_without_penalty(one_thread, targets):
    """Each problem has its own, a factor of zero is all problems'; a constant column is none."""
    held = np.append(np.ones(5), 0.0)
    for penalty, factors, expected in [
        ("L2", held, [False] * 3),
        ("L2 of each", held, [False] * 3),
        ("L2 of some", held, [False, True, False]),
        ("no penalty", held, [True] * 3),
        ("L2 of each", np.arange(6.0), [True] * 3),
    ]:
        objective = make(one_thread, targets, penalty=penalty, factors=factors).objective
        np.testing.assert_array_equal(objective.has_free_features, expected)
