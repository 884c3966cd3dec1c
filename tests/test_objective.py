"""Laws of the objective: its values, derivatives and certificates, and those of its problems."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from parts import (
    DIFFERENCES,
    INDICATORS,
    LABELS,
    MANY_BLOCKS,
    ROUNDING,
    SOURCES,
    TARGETS,
    TERMS,
    Drawn,
    apply,
    basis,
    close,
    differences,
    indicators,
    limits_of,
    make,
    minimiser,
    newton,
    step_rounding,
)
from scipy.special import logsumexp

from softreg._model.certificate import certify
from softreg._model.links import Sigmoid
from softreg._rows.threads import Threads
from softreg.solvers.linalg.conjugate_gradients import HessianProduct

# Shares of several labels are stored answers where there are several fits.
ONE_FIT = [y for y in TARGETS if not y.endswith("fits") and y != "sigmoid shares"]
SOME_TERMS = ["plain", "weighted, offset"]
FIXTURE_FACTORS = {
    "several": {"labels": LABELS, "source": SOURCES, "dtype": ROUNDING, "terms": SOME_TERMS},
    "one_fit": {"targets_of_one_fit": ONE_FIT, "source": SOURCES, "terms": SOME_TERMS},
}

# ---- Values and derivatives ---------------------------------------------------------------------


def test_the_value_is_the_formula_on_raw_columns(case):
    """F(T) in working coordinates is F(W, b) of plain numpy on raw X, at the mapped T."""
    T = case.point() * case.varying
    value, _ = case.objective.value_and_gradient(T)
    expected = case.value(*case.objective.rows.coordinates.coefficients(T))
    assert value.dtype == np.float64 and value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=ROUNDING[case.dtype])


def test_the_gradient_is_the_derivative_of_the_value(case):
    """dF along every entry of T, by central differences of F in double precision.

    Without the part of F that is not smooth. An entry moves the F of the problem that its score
    belongs to and no other.
    """
    T, coordinates = case.point() * case.varying, case.objective.rows.coordinates

    def F(T):
        return case.exact.value_and_gradient(T)[0] - case.sparse_value(
            coordinates.coefficients(T)[0]
        )

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
    """Before the gauge is fixed, column j of the Hessian is the product with the j-th unit.

    At the null model, too, where all rows may have the same scores.
    """
    for T in (case.point(), case.objective.null()):
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
    scores = [slice(k * width, (k + 1) * width) for k in range(K // len(H))]
    expected = [block[score, score] for block in H for score in scores]
    close(case.objective.hessian_blocks(T), expected, ROUNDING[case.dtype])


def test_the_gram_matrix_is_the_weighted_mean_of_outer_products(case):
    """The Gram matrix is sum_i s_i x~_i x~_i' / S."""
    x = case.features
    expected = (case.s[:, None] * x).T @ x / case.s.sum()
    close(case.objective.gram(), expected, ROUNDING[case.dtype])


def leverages(objective, T, root):
    """What each row adds to the Hessian."""
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
    n_features = len(T) - case.objective.rows.coordinates.intercept
    assert (step[:n_features] == 0).all()
    if n_features == len(T):
        return
    image = HessianProduct(case.objective.in_double(), T)(step)
    close(image[n_features:], case.link.centred(residual[n_features:]), ROUNDING[case.dtype])


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
        scores = objective.problems.scores(np.array([problem]))
        np.testing.assert_array_equal(scores, np.flatnonzero(case.owner[:, problem]))


# ---- Problems by themselves ---------------------------------------------------------------------

# Problems 0, 1 and 2, of which these are some.
SOME = [[0], [1], [2], [0, 2], [1, 2]]


@pytest.fixture
def several(labels, source, dtype, terms, source_threads):
    """One objective of every kind that has several problems, each with its own strength."""
    return make(source_threads, labels, source, dtype, "L2 of some", **TERMS[terms])


@pytest.mark.factor("some", SOME, ids=str)
def test_the_objective_of_some_problems_has_their_columns(several, some):
    """F, its derivatives and its certificate are theirs, at the mean weight of all."""
    objective, T, D = several.objective, several.point(), several.direction()
    subset, columns = objective.take_problems(np.array(some)), (slice(None), some)
    assert subset.shape == (len(T), len(some)) and subset.problems.count == len(some)
    assert subset.mean_weight == objective.mean_weight and subset.rows.dtype == several.dtype
    actual, expected = by_problem(subset, T[columns], D[columns]), by_problem(objective, T, D)
    for name, (found, axis) in actual.items():
        wanted = expected[name][0]
        wanted = wanted[some] if axis == "problems" else wanted[columns]
        rounding = step_rounding(objective) if name == "diagonal" else ROUNDING[several.dtype]
        close(found, wanted, rounding)


def by_problem(objective, T, D):
    """What an objective says problem by problem, and whether its first or last axis does."""
    value, gradient = objective.value_and_gradient(T)
    certificate = certify(objective, T, 0.1 * D)
    return {
        "value": (value, "problems"),
        "gradient": (gradient, "scores"),
        "product": (HessianProduct(objective, T)(D), "scores"),
        "Hessian": (objective.hessian(T), "problems"),
        "diagonal": (objective.hessian_diagonal(T), "scores"),
        "balancing step": (HessianProduct(objective, T).balancing_step(D), "scores"),
        "null": (objective.null(), "scores"),
        "certified value": (certificate.value, "problems"),
        "certified gradient": (certificate.gradient, "scores"),
        "divergence": (certificate.divergence, "problems"),
        "imbalance": (certificate.imbalance, "scores"),
        "finite gap": (np.isfinite(certificate.gap), "problems"),
        "gap": (np.where(np.isfinite(certificate.gap), certificate.gap, 0), "problems"),
        "penalised gap": (objective.penalised_gap(D), "problems"),
        "free features": (objective.has_free_features, "problems"),
        "constant problems": (objective.constant_problems, "problems"),
    }


def test_leverages_of_all_problems_add_up(several):
    """What a row adds to the Hessian is the sum of what it adds to that of each problem."""
    objective, T = several.objective, several.point()
    root = np.random.default_rng(4).normal(size=(len(T), 2))
    subsets = [(objective.take_problems(np.array([k])), T[:, [k]]) for k in range(3)]
    total = sum(leverages(subset, T_of_subset, root) for subset, T_of_subset in subsets)
    close(total, leverages(objective, T, root), ROUNDING[several.dtype])


@pytest.mark.factor("small_blocks", [False, True])
@pytest.mark.factor("dtype", ROUNDING)
@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("targets", LABELS)
def test_the_objective_of_some_problems_shares_the_blocks(targets, source, dtype, small_blocks):
    """Blocks are of the same rows, and have the very same X where it is kept, or the user's."""
    with Threads(1, limits_of(source, **(MANY_BLOCKS if small_blocks else {}))) as threads:
        case = make(threads, targets, source, dtype, offset=True)
        objective, T = case.objective, case.point()
        objective.value_and_gradient(T)
        subset = objective.take_problems(np.array([0, 2]))
        subset.value_and_gradient(T[:, [0, 2]])
    assert len(objective.rows.block_slices) >= (4 if small_blocks else 1)
    assert subset.rows.block_slices == objective.rows.block_slices
    for rows in objective.rows.block_slices:
        X, X_of_all = subset.rows.block(rows).X, objective.rows.block(rows).X
        if source == "raw":
            assert np.shares_memory(X, X_of_all) == (dtype is np.float64)
        else:
            assert X is X_of_all


@pytest.mark.parametrize("targets", LABELS)
def test_the_product_of_some_problems_shares_the_blocks_in_single_precision(one_thread, targets):
    """X is brought to single precision once, for all problems."""
    case = make(one_thread, targets, "sparse", weighted=True, offset=True)
    T, some = case.point(), np.array([0, 2])
    times = HessianProduct(case.objective, T)
    expected = times.for_steps()(T)
    single = times.take_problems(some).for_steps()
    close(single(T[:, some]), expected[:, some], 1e-6)
    for rows in case.objective.rows.block_slices:
        X, X_of_all = (of.objective.rows.block(rows).X for of in (single, times.for_steps()))
        assert X is X_of_all and X.dtype == np.float32


def test_the_objective_of_all_problems_is_the_objective_itself(one_thread):
    """To take all problems makes no copy."""
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


@pytest.mark.factor("confined", CONFINED)
def test_the_product_of_some_problems_has_their_columns(several, confined):
    """Also where it is confined; probabilities that all problems have are not made again."""
    objective = replace(several.objective, link=Counting())
    T, mask = several.point(), CONFINED[confined]
    unconfined = HessianProduct(several.objective, T)(several.point(1))
    times = HessianProduct(objective, T, confined_to=mask)
    expected = times(several.point(1))
    close(expected, unconfined * (True if mask is None else mask), ROUNDING[several.dtype])
    made = objective.link.scores
    for some in SOME:
        subset = times.take_problems(np.array(some))
        close(subset(several.point(1)[:, some]), expected[:, some], ROUNDING[several.dtype])
        single = subset.take_problems(np.array([0]))
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
    assert image.dtype == np.float32 and (image != exact).any()
    assert np.abs(image - exact).max() <= 1e-5 * np.abs(exact).max()


def test_products_far_from_zero_stay_in_double_precision(one_thread):
    """Centring within a product in single precision would leave nothing of such columns.

    Those of which every value is stored are centred before: their products are near the exact ones.
    """
    X = np.random.default_rng(31).normal(1e4, 1, (40, 3))
    options = {"weighted": True, "factors": np.ones(3)}
    case = make(one_thread, "answers", "sparse", X=X, **options)
    times, D = HessianProduct(case.objective, case.point()), case.point(1)
    assert times.for_steps().objective.rows.dtype == np.float32
    close(times.for_steps()(D), times(D), 1e-6)
    X[case.s == 0] = 0  # which are not stored, and weigh nothing
    not_all_stored = make(one_thread, "answers", "sparse", X=X, **options)
    again = HessianProduct(not_all_stored.objective, case.point())
    assert again.for_steps() is again
    close(again(D), times(D), 1e-11)


# ---- Several fits at once -----------------------------------------------------------------------

COUNTS = np.random.default_rng(60).choice([0, 1, 1, 1, 2], size=(3, 40))


@pytest.fixture
def one_fit(targets_of_one_fit, source, terms, source_threads):
    """One objective of every kind whose targets are those of a single fit."""
    return make(source_threads, targets_of_one_fit, source, **TERMS[terms])


def fits_and_each(objective):
    """The objective of three fits at once, and that of each by itself, from the same rows."""
    rows = objective.rows
    fits = objective.repeated(rows.repeated(COUNTS), 3)
    return fits, [objective.on_rows(rows.replaced(weight=rows.weights * count)) for count in COUNTS]


def test_several_fits_are_the_objectives_of_the_rows_that_each_counts(one_fit):
    """F, its derivatives and its certificate, fit by fit, and of some of the fits."""
    fits, each_fit = fits_and_each(one_fit.objective)
    (width, K), B = one_fit.objective.shape, one_fit.objective.problems.count
    T, D = (np.hstack([one_fit.point(seed + k) for k in range(3)]) for seed in (0, 10))
    D = fits.link.centred(D)
    assert fits.shape == (width, 3 * K) and fits.problems.count == 3 * B
    actual = by_problem(fits, T, D)
    if one_fit.offset.any():
        del actual["null"]  # a place to start from, by the mean offset of all rows
    last = np.arange(2 * B, 3 * B)
    of_last_fit = by_problem(fits.take_problems(last), T[:, 2 * K :], D[:, 2 * K :])
    for fit, alone in enumerate(each_fit):
        scores, problems = (slice(fit * n, fit * n + n) for n in (K, B))
        expected = by_problem(alone, T[:, scores], D[:, scores])
        for name, (found, axis) in actual.items():
            found_of_fit = found[problems] if axis == "problems" else found[:, scores]
            rounding = step_rounding(alone) if name == "diagonal" else ROUNDING[np.float64]
            close(found_of_fit, expected[name][0], rounding)
            if fit == 2:
                close(of_last_fit[name][0], expected[name][0], rounding)


def test_several_fits_of_one_strength_differ_in_the_weight_of_their_rows(one_fit):
    """The penalty is the same in the user's units, so its share of F is that of the rows'."""
    fits, each_fit = fits_and_each(one_fit.objective)
    T = np.hstack([one_fit.point()] * 3)
    penalty = np.split(fits.problems.total(fits.penalty.value(T)), 3)
    for alone, penalty_of_fit in zip(each_fit, penalty, strict=True):
        expected = one_fit.objective.penalty.value(one_fit.point()) * one_fit.objective.score_weight
        np.testing.assert_allclose(
            penalty_of_fit * alone.problem_weight,
            one_fit.objective.problems.total(expected),
            rtol=1e-12,
        )


@pytest.mark.factor("factor", [1e-6, 3.0])
def test_a_penalty_times_a_factor_is_that_of_another_strength(one_fit, factor):
    """F at C / factor: the loss stays, and what was made of the rows is kept."""
    objective, T = one_fit.objective, one_fit.point()
    gram = objective.gram()
    other = objective.at_strength(1 / factor)
    loss = objective.unpenalised().value(T)
    penalty = objective.value(T) - loss
    np.testing.assert_allclose(other.value(T), loss + factor * penalty, rtol=1e-9)
    assert other.gram() is gram and other.rows is objective.rows


# ---- Problems whose targets are constant --------------------------------------------------------


def constant_answers(rng, n):
    """Answers that vary, are all no, all yes, nowhere known, and no wherever they are known."""
    Y, weights = rng.integers(2, size=(n, 5)) * 1.0, np.ones((n, 5))
    Y[:, 1], Y[:, 2] = 0, 1
    weights[:, 3] = 0
    weights[Y[:, 4] == 1, 4] = 0
    targets = indicators(Y, weights, np.ones(5))
    return Drawn(targets, Y, weights)


CONSTANT = (Sigmoid(), constant_answers)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_the_null_model_is_optimal_where_targets_are_constant(source_threads, source, offset):
    """Their F is zero to rounding at no weights and finite intercepts; of nothing known, zero."""
    case = make(source_threads, CONSTANT, source, weighted=True, offset=offset)
    objective = case.objective
    np.testing.assert_array_equal(objective.constant_problems, [False, True, True, True, True])
    W, b = objective.coefficients(objective.null())
    assert (W == 0).all() and np.isfinite(b).all()
    F = case.value(W, b)
    assert (F[1:] >= 0).all() and (F[1:] < 1e-14).all() and F[3] == 0 == b[3]
    np.testing.assert_array_equal(np.sign(b[1:]), [-1, 1, 0, -1])
    np.testing.assert_allclose(objective.value_and_gradient(objective.null())[0], F, atol=1e-15)
    subset = objective.take_problems(np.array([0, 2]))
    np.testing.assert_array_equal(subset.constant_problems, [False, True])


@pytest.mark.parametrize("cells", [False, True])
def test_labels_that_nobody_knows_have_null_scores_of_zero(one_thread, cells):
    """Whatever rows and cells weigh: rounding in the weight of nothing is no knowledge of it."""

    def draw(rng, n):
        Y, weights, no_weight = (
            rng.integers(2, size=(n, 9)) * 1.0,
            np.zeros((n, 9)),
            np.full(9, 1.7),
        )
        weights[:, 0] = 1.7
        cell_weight = rng.uniform(size=Y.shape) if cells else None
        targets = indicators(Y, weights, no_weight, cell_weight, rng.random(Y.shape) < 0.1)
        return Drawn(targets, Y, weights if cell_weight is None else weights * cell_weight)

    for n in range(20, 30):
        objective = make(one_thread, (Sigmoid(), draw), n=n, weighted=True).objective
        np.testing.assert_array_equal(objective.null()[:, 1:], 0)
        np.testing.assert_array_equal(objective.constant_problems, np.arange(9) > 0)


@pytest.mark.parametrize("targets", TARGETS)
def test_problems_whose_targets_vary_are_not_constant(one_thread, targets):
    """There the null model is not the best, with an intercept or without."""
    for intercept in (False, True):
        objective = make(one_thread, targets, weighted=True, intercept=intercept).objective
        assert not objective.constant_problems.any()


def test_no_problem_is_constant_without_an_intercept(one_thread):
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
            certificate = certify(objective, T, step)
            value, gradient = objective.value_and_gradient(T + step)
            np.testing.assert_allclose(certificate.value, value, rtol=1e-13)
            close(certificate.gradient, gradient, 1e-12)
            assert (certificate.gap >= value - least - 1e-13).all()
            finite += np.isfinite(certificate.gap)
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
    certificate = certify(objective, T, np.zeros_like(T))
    np.testing.assert_allclose(certificate.value, penalised.least(), rtol=0, atol=1e-13)
    assert (certificate.gap >= 0).all() and (certificate.gap < 1e-15).all()
    assert np.abs(certificate.gradient).max() < 1e-14


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
    """C = inf frees one problem's features, a factor of zero all problems'; no constant column."""
    all_varying = np.append(np.ones(5), 0.0)
    for penalty, factors, expected in [
        ("L2", all_varying, [False] * 3),
        ("L2 of each", all_varying, [False] * 3),
        ("L2 of some", all_varying, [False, True, False]),
        ("no penalty", all_varying, [True] * 3),
        ("L2 of each", np.arange(6.0), [True] * 3),
    ]:
        objective = make(one_thread, targets, penalty=penalty, factors=factors).objective
        np.testing.assert_array_equal(objective.has_free_features, expected)


@pytest.mark.parametrize("t", [1.0, 7.0, 300.0])
@pytest.mark.parametrize("targets", ["softmax shares", "softmax, two fits", "answers, cells"])
def test_at_a_temperature_the_loss_is_t_times_that_of_scores_over_t(one_thread, targets, t):
    """F of V there, times t, is the mean of t loss(z / t) plus the penalty, at the scores of t V.

    It is no less than F at t V itself, and no further above it than t times log K or log 2.
    """
    case = make(one_thread, targets, weighted=True, offset=True)
    V = case.point()
    W, b = case.objective.rows.coordinates.coefficients(t * V)
    Z = case.X @ W + b + case.offset
    if case.is_softmax:
        fits = zip(*(case.by_fit(A) for A in (case.w, Z / t, case.Y)), strict=True)
        loss = [w[:, 0] @ (logsumexp(z, axis=1) - (y * z).sum(axis=1)) for w, z, y in fits]
    else:
        loss = (case.w * (np.logaddexp(0, Z / t) - case.Y * Z / t)).sum(axis=0)
    penalty = 0.5 * (case.l2 * np.square(W)).sum(axis=0) @ case.owner
    found = t * case.objective.at_temperature(t).value(V)
    np.testing.assert_allclose(found, (t * np.array(loss) + penalty) / case.total, rtol=1e-12)
    above = found - case.value(W, b)
    assert (above >= -1e-12 * found).all() and (above <= t * np.log(3)).all()
