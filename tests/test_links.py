"""Laws of links and penalties: what a row's loss is, and what coefficients cost."""

import re
from pathlib import Path

import numpy as np
import pytest
from parts import FACTORS, basis, differences, indicators
from scipy.special import expit, log_expit, log_softmax, logsumexp, rel_entr, softmax, xlogy

from softreg._model import kernels, links
from softreg._model.links import Sigmoid, Softmax
from softreg._model.penalties import Ridge
from softreg._rows.targets import RepeatedTargets, TargetMatrix

# ---- Links --------------------------------------------------------------------------------------

LINKS = {"softmax": Softmax(), "softmax of two fits": Softmax(2), "sigmoid": Sigmoid()}


@pytest.fixture(params=LINKS)
def link(request):
    """One link of every kind."""
    return LINKS[request.param]


def by_problem(link, A):
    """A (K, m) as (B, K/B, m)."""
    return A.reshape(link.problems(len(A)), -1, A.shape[1])


def probabilities(link, Z):
    """P (K, m) in SciPy's words."""
    if isinstance(link, Softmax):
        return softmax(by_problem(link, Z), axis=1).reshape(Z.shape)
    return expit(Z)


def losses(link, Z, Y):
    """The losses (B, m) of each problem's rows in SciPy's words, Y being (K, m)."""
    if isinstance(link, Softmax):
        return logsumexp(by_problem(link, Z), axis=1) - by_problem(link, Y * Z).sum(axis=1)
    return -log_expit(-Z) - Y * Z


def drawn(link, rng, K, m):
    """Probabilities (K, m) within the link's domain, the same in each of several fits."""
    if isinstance(link, Softmax):
        return np.tile(rng.dirichlet(np.ones(K // link.fits), m).T, (link.fits, 1))
    return rng.random((K, m))


def targets_of(link, Y):
    """The targets that are Y (K, m)."""
    B = link.problems(len(Y))
    if B in (1, len(Y)):
        return TargetMatrix(Y.T)
    return RepeatedTargets(TargetMatrix(Y[: len(Y) // B].T), np.ones((B, Y.shape[1]), dtype=bool))


@pytest.mark.parametrize("size", [1, 30, 1e4])
def test_losses_and_probabilities_are_scipys_at_scores_of_any_size(link, size):
    """No score overflows: losses, P and P - Y equal log_softmax's and log_expit's."""
    rng = np.random.default_rng(10)
    Z, Y = size * rng.normal(size=(4, 50)), drawn(link, rng, 4, 50)
    R = Z.copy()
    loss, expected = link.loss_and_residual_inplace(R, targets_of(link, Y)), losses(link, Z, Y)
    assert loss.shape == expected.shape == (link.problems(4), 50)
    np.testing.assert_allclose(loss, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(R, probabilities(link, Z) - Y, atol=1e-14)
    P = link.probabilities_inplace(Z.copy())
    np.testing.assert_allclose(P, probabilities(link, Z), rtol=1e-11, atol=1e-300)


def test_the_curvature_is_the_derivative_of_the_probabilities(link):
    """The curvature product is dP/dZ D, and its diagonal what it makes of each unit."""
    rng = np.random.default_rng(11)
    Z, D = rng.normal(size=(2, 4, 50))
    P = probabilities(link, Z)
    derivative = differences(lambda Z: probabilities(link, Z), Z, D)
    np.testing.assert_allclose(link.curvature_product(P, D), derivative, atol=1e-9)
    for k, unit in enumerate(np.eye(4)):
        diagonal = link.curvature_product(P, np.tile(unit[:, None], 50))[k]
        np.testing.assert_allclose(link.curvature_diagonal(P)[k], diagonal, atol=1e-15)


@pytest.mark.parametrize("size", [1, 30, 1e4])
def test_losses_of_stored_answers_are_those_of_their_matrix(size):
    """Losses and residuals of yes, shares, plain noes and unknown answers alike."""
    rng, link = np.random.default_rng(38), LINKS["sigmoid"]
    Z, Y = size * rng.normal(size=(4, 50)), rng.choice([0, 0, 0, 1, 0.3], size=(4, 50))
    weights = np.where(Y > 0, rng.uniform(size=(4, 50)), 1) * (rng.random((4, 50)) < 0.8)
    R = Z.copy()
    loss = link.loss_and_residual_inplace(R, indicators(Y.T, weights.T, np.ones(4)))
    np.testing.assert_allclose(loss, losses(link, Z, Y), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(R, probabilities(link, Z) - Y, atol=1e-14)


@pytest.mark.parametrize("K", [1, 2, 4])
def test_the_links_hessian_is_the_sum_of_kronecker_products(link, K):
    """sum_i w_i (Hessian of row i) (x) x_i x_i'; zero between its blocks.

    Where scores are problems, each may have weights of its own.
    """
    is_softmax, rng = isinstance(link, Softmax), np.random.default_rng(12)
    K = max(K, 2) * link.fits if is_softmax else K
    B = link.fits if is_softmax else K
    assert link.problems(K) == B
    X, w, P = rng.normal(size=(101, 3)), rng.random(101), drawn(link, rng, K, 101)
    units = [link.curvature_product(P, np.tile(unit[:, None], 101)) for unit in np.eye(K)]
    for weight in [w] if B == 1 else [w, rng.random((B, 101))]:
        weight_of_score = np.repeat(np.broadcast_to(weight, (B, 101)), K // B, axis=0)
        expected = np.einsum("kjm,jm,mp,mq->kpjq", units, weight_of_score, X, X).reshape(
            3 * K, 3 * K
        )
        H = link.hessian(P, X, weight)
        assert H.shape == (B, 3 * K // B, 3 * K // B)
        block_diagonal = np.zeros_like(expected)
        for k, block in enumerate(H):
            places = slice(k * len(block), (k + 1) * len(block))
            block_diagonal[places, places] = block
        np.testing.assert_allclose(block_diagonal, expected, atol=1e-12)


WAYS = [kernels._softmax_hessian_by_class_pairs, kernels._softmax_hessian_by_class_columns]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("chunk", [1, 40, 2**18])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_either_way_to_a_softmax_hessian_adds_up_kronecker_products(way, K, chunk, dtype):
    """sum_i w_i (diag(p_i) - p_i p_i') (x) x_i x_i', whatever the chunks, as precise as P and X."""
    rng = np.random.default_rng(14)
    X, w, P = rng.normal(size=(37, 4)), rng.random(37), rng.dirichlet(np.ones(K), 37).T
    row_hessians = np.einsum("km,kj->mkj", P, np.eye(K)) - np.einsum("km,jm->mkj", P, P)
    expected = np.einsum("m,mkj,mp,mq->kpjq", w, row_hessians, X, X).reshape(4 * K, 4 * K)
    H = way(*(values.astype(dtype) for values in (P, X, w)), chunk_values=chunk)
    atol = 1e-13 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(H, expected, atol=atol)


def test_kept_pairs_of_features_make_the_same_hessian():
    """The products x_j x_k of each row, j <= k, whether they are kept or made anew."""
    rng = np.random.default_rng(16)
    X, w, P = rng.normal(size=(37, 4)), rng.random(37), rng.dirichlet(np.ones(5), 37).T
    products = np.stack([X[:, j] * X[:, k] for j in range(4) for k in range(j, 4)])
    np.testing.assert_array_equal(kernels.feature_pairs(X), products)
    anew, kept = (kernels.softmax_hessian(P, X, w, pairs) for pairs in (None, lambda: products))
    np.testing.assert_allclose(kept, anew, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("chunk", [1, 40, 2**16])
def test_weighted_gram_matrices_do_not_depend_on_chunks(chunk):
    """sum_i c_ki x_i x_i' of each score, a few rows at a time or all at once."""
    rng = np.random.default_rng(15)
    X, C = rng.normal(size=(37, 4)), rng.random((3, 37))
    expected = np.einsum("km,mp,mq->kpq", C, X, X)
    np.testing.assert_allclose(kernels._scaled_grams(X, C, chunk), expected, atol=1e-13)
    by_pairs = kernels.pair_sums(C, X, chunk)[:, kernels.places_in_triangle(4)]
    np.testing.assert_allclose(by_pairs, expected, atol=1e-13)


@pytest.mark.parametrize(("K", "d", "by_pairs"), [(40, 5, True), (1, 20, False), (3, 60, False)])
def test_weighted_gram_matrices_use_pairs_of_few_features_for_many_weights(K, d, by_pairs):
    """sum_i c_ki x_i x_i' either way: pairs are asked for where they are used."""
    rng = np.random.default_rng(17)
    X, C, asked = rng.normal(size=(37, d)), rng.random((K, 37)), []

    def pairs():
        asked.append(True)
        return np.stack([X[:, j] * X[:, k] for j in range(d) for k in range(j, d)])

    expected = np.einsum("km,mp,mq->kpq", C, X, X)
    np.testing.assert_allclose(kernels.weighted_grams(X, C, pairs), expected, atol=1e-12)
    np.testing.assert_allclose(kernels.weighted_grams(X, C), expected, atol=1e-12)
    assert bool(asked) == by_pairs


def test_nothing_cancels_in_the_hessian_of_nearly_saturated_rows_by_class_pairs():
    """Its diagonal keeps p (1 - p) to the last digits where p is within 1e-12 of one."""
    small = np.array([1e-12, 3e-13])
    P = np.stack([1 - 2 * small, small, small])
    X = np.array([[1.0, 2.0], [-1.0, 0.5]])
    H = kernels._softmax_hessian_by_class_pairs(P, X, np.ones(2))
    for k in range(2):
        expected = np.einsum("m,mp,mq->pq", P[k] * (1 - P[k]), X, X)
        np.testing.assert_allclose(H[2 * k : 2 * k + 2, 2 * k : 2 * k + 2], expected, rtol=1e-13)


def test_null_scores_have_the_mean_target_as_probabilities(link):
    """P at the null scores is the mean target; a class without weight has a finite score."""
    mean = drawn(link, np.random.default_rng(13), 4, 1)[:, 0]
    null = link.null_scores(mean)[:, None]
    np.testing.assert_allclose(probabilities(link, null)[:, 0], mean, rtol=1e-13)
    extreme = np.tile([0.0, 1.0, 0.0], 2)
    rare = link.null_scores(extreme if link.problems(6) > 1 else extreme[:3])
    assert np.isfinite(rare).all()
    np.testing.assert_allclose(
        probabilities(link, rare[:, None])[:, 0], extreme[: len(rare)], atol=1e-15
    )


def test_centring_scores_changes_no_probability(link):
    """The representative has the same probabilities and is its own representative."""
    T = np.random.default_rng(14).normal(size=(5, 4))
    centred = link.centred(T)
    np.testing.assert_allclose(probabilities(link, centred.T), probabilities(link, T.T), rtol=1e-13)
    np.testing.assert_allclose(link.centred(centred), centred, atol=1e-15)
    if isinstance(link, Softmax):
        np.testing.assert_allclose(by_problem(link, centred.T).sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("size", [1e-3, 0.1, 1, 10, 300])
def test_the_dual_gap_of_a_row_is_the_divergence_of_its_probabilities(link, size):
    """Q lies in the domain; the gap is KL(q || p(z + d)), and loss + conjugate - <q - y, z + d>."""
    rng = np.random.default_rng(15)
    Z, D, Y = (
        3 * rng.normal(size=(4, 200)),
        size * rng.normal(size=(4, 200)),
        drawn(link, rng, 4, 200),
    )
    Q, divergence = link.dual_probabilities(Z, D)
    assert (Q >= 0).all() and (Q <= 1).all()
    P, rounding = probabilities(link, Z + D), 1e-15 * (10 + 4 * size)
    if isinstance(link, Softmax):
        np.testing.assert_allclose(by_problem(link, Q).sum(axis=1), 1, rtol=1e-14)
        # p (as exp of its logarithm) underflows where D is hundreds.
        log_p = log_softmax(by_problem(link, Z + D), axis=1).reshape(Z.shape)
        expected = rel_entr(Q, 1) - Q * log_p if size > 10 else rel_entr(Q, P)
        expected, conjugate, product = (
            by_problem(link, A).sum(axis=1) for A in (expected, xlogy(Q, Q), (Q - Y) * (Z + D))
        )
    else:
        other = expit(-Z - D)
        if size > 10:
            cross = Q * log_expit(Z + D) + (1 - Q) * log_expit(-Z - D)
            expected = rel_entr(Q, 1) + rel_entr(1 - Q, 1) - cross
        else:
            expected = rel_entr(Q, P) + rel_entr(1 - Q, other)
        conjugate, product = xlogy(Q, Q) + xlogy(1 - Q, 1 - Q), (Q - Y) * (Z + D)
    assert divergence.shape == expected.shape
    np.testing.assert_allclose(divergence, expected, rtol=1e-12, atol=rounding)
    fenchel = losses(link, Z + D, Y) + conjugate - product
    np.testing.assert_allclose(divergence, fenchel, rtol=1e-12, atol=4 * rounding)
    assert divergence.min() >= -rounding


def test_dual_probabilities_are_linear_in_a_small_step(link):
    """Where it stays in the domain, Q = P + H_z D; the divergence is then of fourth order in D."""
    rng = np.random.default_rng(16)
    Z, D = rng.normal(size=(2, 4, 50))
    P = probabilities(link, Z)
    Q, divergence = link.dual_probabilities(Z, 0.1 * D)
    np.testing.assert_allclose(Q, P + link.curvature_product(P, 0.1 * D), rtol=1e-13)
    half = link.dual_probabilities(Z, 0.05 * D)[1]
    ratio = divergence.sum() / half.sum()
    assert 13 < ratio < 19


@pytest.mark.parametrize("some", [[0], [1, 2], [0, 2]], ids=str)
def test_several_fits_are_each_what_they_are_alone(some):
    """Softmax over three fits: losses, residuals, curvature, divergence; so of some fits."""
    rng, alone, K = np.random.default_rng(70), Softmax(), 4
    Z, direction = rng.normal(size=(2, 3, K, 50))
    counts, Y, some = rng.random((3, 50)) < 0.7, rng.dirichlet(np.ones(K), 50), np.array(some)
    link = Softmax(3).with_problems(len(some))
    together, moved = (A[some].reshape(-1, 50) for A in (Z, direction))
    R = together.copy()
    loss = link.loss_and_residual_inplace(R, RepeatedTargets(TargetMatrix(Y), counts[some]))
    P = link.probabilities_inplace(together.copy())
    Q, divergence = link.dual_probabilities(together, moved)
    assert link.problems(len(together)) == len(some)
    for place, fit in enumerate(some):
        scores, residual = slice(K * place, K * (place + 1)), Z[fit].copy()
        expected = alone.loss_and_residual_inplace(residual, TargetMatrix(Y))
        np.testing.assert_allclose(loss[place], expected[0], rtol=1e-14)
        np.testing.assert_allclose(R[scores], residual, atol=1e-15)
        of_one = alone.probabilities_inplace(Z[fit].copy())
        np.testing.assert_allclose(P[scores], of_one, rtol=1e-14)
        curved = alone.curvature_product(of_one, direction[fit])
        np.testing.assert_allclose(link.curvature_product(P, moved)[scores], curved, atol=1e-15)
        q, kl = alone.dual_probabilities(Z[fit], direction[fit])
        np.testing.assert_allclose(Q[scores], q, rtol=1e-13)
        np.testing.assert_allclose(divergence[place], kl[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("S", [1e-6, 0.5, 30.0, 1e6])
@pytest.mark.parametrize("unseen", [[0], [3], [0, 2], [0, 1, 3]], ids=str)
def test_classes_that_were_not_seen_share_what_jeffreys_grants_them(unseen, S):
    """Each has 1/2 / (S + K/2), in every row; the odds of the others do not change."""
    Z, unseen = 5 * np.random.default_rng(71).normal(size=(4, 20)), np.isin(range(4), unseen)
    expected = softmax(Z[~unseen], axis=0)
    Softmax().set_unseen_inplace(Z, unseen, np.full(4, S))
    P = softmax(Z, axis=0)
    np.testing.assert_allclose(P[unseen], 0.5 / (S + 2), rtol=1e-9)
    odds = P[~unseen] / P[~unseen].sum(axis=0)
    np.testing.assert_allclose(odds, expected, rtol=1e-12)


def test_answers_that_were_not_seen_have_what_jeffreys_grants_them():
    """1/2 / (S + 1) of the answer that a label's score does not lean to; other labels stay."""
    Z = np.array([[-40.0, -30.0], [1.0, -2.0], [35.0, 50.0], [0.3, 0.4]])
    before, S = Z.copy(), np.array([9.0, 20.0, 0.25, 7.0])
    Sigmoid().set_unseen_inplace(Z, np.array([True, False, True, False]), S)
    np.testing.assert_allclose(expit(Z[0]), 0.5 / 10, rtol=1e-12)
    np.testing.assert_allclose(expit(-Z[2]), 0.5 / 1.25, rtol=1e-12)
    np.testing.assert_array_equal(Z[[1, 3]], before[[1, 3]])


# ---- Penalty ------------------------------------------------------------------------------------

# Strengths (6, 1) or (6, 3), some of them zero.
OF_FEATURES = FACTORS[:, None] / 0.25
OF_SCORES = FACTORS[:, None] / [0.25, 2, np.inf]
STRENGTHS = {
    "of features": OF_FEATURES,
    "of features and scores": OF_SCORES,
    "of features times scores, some zero": np.random.default_rng(39).uniform(size=(6, 3))
    * (np.eye(6, 3) == 0),
}


@pytest.fixture(params=STRENGTHS)
def strengths(request):
    """Strengths of six features, the same for all scores or (6, 3)."""
    return STRENGTHS[request.param]


def test_strengths_are_factors_over_inverse_strengths():
    """f_j / C, or f_j / C_k; C = inf is no penalty."""
    for C, expected in [([0.25], OF_FEATURES), ([0.25, 2, np.inf], OF_SCORES)]:
        penalty = Ridge.from_C(np.array(C), FACTORS)
        np.testing.assert_allclose(penalty.ridge, expected, rtol=1e-15)
        np.testing.assert_array_equal(penalty.free, expected == 0)
        np.testing.assert_allclose(penalty.ridge_by_feature, expected.mean(axis=1), rtol=1e-15)
    assert Ridge.from_C(np.array([np.inf]), FACTORS).free.all()


def test_the_penalty_is_the_weighted_sum_of_squares(strengths):
    """sum_j l2_jk / 2 W_jk^2 for each score, its gradient its derivative."""
    penalty, W = Ridge(strengths), np.random.default_rng(17).normal(size=(6, 3))
    expected = [
        0.5 * sum(l2 * w**2 for l2, w in zip(*of_score, strict=True))
        for of_score in scorewise(strengths, W)
    ]
    np.testing.assert_allclose(penalty.value(W), expected, rtol=1e-14)
    moves = [differences(penalty.value, W, D) for D in basis(W.shape)]
    moves = np.reshape(moves, (6, 3, 3))
    np.testing.assert_allclose(penalty.smooth(W)[1][:, :, None] * np.eye(3), moves, atol=1e-8)


def scorewise(strengths, W):
    """The strengths and coefficients of each score."""
    return zip(np.broadcast_to(strengths, W.shape).T, W.T, strict=True)


@pytest.mark.parametrize("scores", [[0], [2], [0, 2]], ids=str)
def test_the_penalty_of_some_scores_is_that_of_their_columns(strengths, scores):
    """Value, gradient, conjugate and what is free, whether strengths are shared or not."""
    penalty, W = Ridge(strengths), np.random.default_rng(17).normal(size=(6, 3))
    subset, columns = penalty.take_scores(np.array(scores)), W[:, scores]
    np.testing.assert_array_equal(subset.value(columns), penalty.value(W)[scores])
    np.testing.assert_array_equal(subset.smooth(columns)[1], penalty.smooth(W)[1][:, scores])
    np.testing.assert_array_equal(subset.conjugate(columns), penalty.conjugate(W)[scores])
    conjugate = penalty.conjugate_of_penalised(W)[scores]
    np.testing.assert_array_equal(subset.conjugate_of_penalised(columns), conjugate)
    free = np.broadcast_to(strengths == 0, W.shape)[:, scores]
    np.testing.assert_array_equal(np.broadcast_to(subset.free, columns.shape), free)


def test_the_penalty_of_several_fits_is_that_of_each(strengths):
    """Copies of the scores, one fit's after another's, cost what the scores cost."""
    penalty, W = Ridge(strengths), np.random.default_rng(17).normal(size=(6, 6))
    repeated = penalty.repeated(2)
    for scores in (slice(3), slice(3, 6)):
        np.testing.assert_array_equal(repeated.value(W)[scores], penalty.value(W[:, scores]))
        np.testing.assert_array_equal(
            repeated.smooth(W)[1][:, scores], penalty.smooth(W[:, scores])[1]
        )
        conjugate = penalty.conjugate_of_penalised(W[:, scores])
        np.testing.assert_array_equal(repeated.conjugate_of_penalised(W)[scores], conjugate)


def test_the_penalty_on_multiples_is_that_of_the_products(strengths):
    """T -> penalty(m T), with a multiple for each coefficient; what has a penalty keeps some."""
    penalty, rng = Ridge(strengths), np.random.default_rng(23)
    multiple, T = np.exp2(rng.integers(-3, 4, (6, 3))), rng.normal(size=(6, 3))
    on_multiples = penalty.on_multiples(multiple)
    np.testing.assert_allclose(on_multiples.value(T), penalty.value(multiple * T), rtol=1e-14)
    tiny = penalty.on_multiples(np.full((6, 3), 1e-200))
    np.testing.assert_array_equal(tiny.free, np.broadcast_to(penalty.free, (6, 3)))


def test_fixing_coefficients_gives_them_a_ridge_of_one(strengths):
    """All of some features where strengths are shared, else those of some scores."""
    penalty, T = Ridge(strengths), np.random.default_rng(23).normal(size=(6, 3))
    features, scores = np.array([1, 4]), np.array([0, 2])
    if strengths.shape[1] == 1:
        scores = np.arange(3)
    others = T.copy()
    others[np.ix_(features, scores)] = 0
    expected = penalty.value(others) + 0.5 * np.square(T - others).sum(axis=0)
    np.testing.assert_allclose(penalty.fixing(features, scores).value(T), expected, rtol=1e-14)


@pytest.mark.parametrize("intercept", [False, True])
def test_the_penalty_does_not_depend_on_units(strengths, intercept):
    """Features divided by `scale` have coefficients times `scale`; the intercept is free."""
    W, scale = np.random.default_rng(18).normal(size=(6, 3)), np.exp2([3, -2, 0, 5, 1, -7])
    penalty, T = (
        Ridge(strengths),
        np.vstack([W * scale[:, None], np.full((int(intercept), 3), 1e3)]),
    )
    scaled = penalty.for_scaled_features(scale, intercept)
    np.testing.assert_allclose(scaled.value(T), penalty.value(W), rtol=1e-14)
    assert scaled.free[6:].all() and len(scaled.free) == len(T)


def test_the_conjugate_is_the_least_upper_bound(strengths):
    """conjugate(G) >= <V, G> - value(V) for all V, and equality at the V whose gradient is G.

    Score by score; entries without a penalty count for nothing, or make it infinite.
    """
    penalty, rng, penalised = Ridge(strengths), np.random.default_rng(19), strengths > 0
    for _ in range(20):
        W, G = rng.normal(size=(2, 6, 3)) * penalised
        assert (penalty.conjugate(G) >= (W * G).sum(axis=0) - penalty.value(W)).all()
        G = penalty.smooth(W)[1]
        tight = (W * G).sum(axis=0) - penalty.value(W)
        np.testing.assert_allclose(penalty.conjugate(G), tight, rtol=1e-13)
    free = rng.normal(size=(6, 3)) * ~penalised
    np.testing.assert_array_equal(penalty.conjugate_of_penalised(free), 0)
    np.testing.assert_array_equal(penalty.conjugate(free) == np.inf, (free != 0).any(axis=0))
    np.testing.assert_array_equal(penalty.conjugate(1e-11 * free), 0)  # balanced to rounding


def test_a_ridge_is_smooth_and_does_not_change_by_rotations():
    """Its value does not change where features of equal strength are rotated."""
    rng = np.random.default_rng(22)
    Q, W = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=(6, 3))
    penalty = Ridge(np.full((6, 1), 0.7))
    assert penalty.is_smooth and penalty.is_rotatable
    np.testing.assert_allclose(penalty.value(Q @ W), penalty.value(W), rtol=1e-13)


def test_only_penalties_read_strengths():
    """No other file of the package names the attributes that hold them, but for its own."""
    package = Path(links.__file__).parents[1]
    strengths = re.compile(r"(?<!self)\.(l1|l2|smooth_part)\b|\.(l2|smooth_part)\b")
    readers = {
        path.name for path in package.rglob("*.py") if strengths.search(path.read_text("utf-8"))
    }
    assert readers == {"penalties.py", "sparse_penalties.py"}


@pytest.mark.parametrize("step", [1e-3, 1.0, 1e3])
def test_the_prox_is_where_the_proximal_objective_is_least(strengths, step):
    """P = prox(T): <T - P, U - P> <= step (penalty(U) - penalty(P)) for all U, score by score."""
    penalty, rng = Ridge(strengths), np.random.default_rng(20)
    T = rng.normal(size=(6, 3))
    P = penalty.prox(T, step)
    for size in (1e-3, 1.0, 1e3):
        U = P + size * rng.normal(size=(6, 3))
        gain = step * (penalty.value(U) - penalty.value(P))
        inner = ((T - P) * (U - P)).sum(axis=0)
        assert (inner <= gain + 1e-9 * (np.abs(gain) + np.abs(inner))).all()


def test_the_violation_is_zero_exactly_where_the_gradients_cancel(strengths):
    """Zero at G = -gradient(T); elsewhere the distance of each entry from that."""
    penalty, rng = Ridge(strengths), np.random.default_rng(21)
    T, away = rng.normal(size=(2, 6, 3))
    balanced = -strengths * T
    np.testing.assert_array_equal(penalty.violation(T, balanced), 0)
    np.testing.assert_allclose(penalty.violation(T, balanced + away), np.abs(away), rtol=1e-12)
