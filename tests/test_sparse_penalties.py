"""Laws of sparse penalties: what coefficients cost that are zero by themselves, or in groups."""

from dataclasses import dataclass

import numpy as np
import pytest
import sparse_problems
from parts import basis, differences

from softreg._model.penalties import Ridge
from softreg._model.sparse_penalties import ElasticNet, Groups

WIDTH, K = 7, 3
LABELS = np.array([2, 0, 0, 1, 1, 1, 3])
L1 = np.array([0.4, 1.5, 1.5, 0.2, 0.2, 0.2, 0.7])[:, None]
L2 = np.array([0.3, 2.0, 2.0, 0.1, 0.1, 0.1, 1.0])[:, None]
OF_SCORES = np.array([1.0, 0.3, 4.0])
FREE = (LABELS != 3)[:, None]  # the last feature has no penalty
EACH, FEATURE, WITHIN, OVER = Groups(), Groups(None, True), Groups(LABELS), Groups(LABELS, True)
# Strengths l1 and l2, and what they are of.
KINDS = {
    "each": (L1, 0 * L2, EACH),
    "each, with ridge": (L1, L2, EACH),
    "each, of each score, one free": (L1 * OF_SCORES * FREE, L2 * OF_SCORES * FREE, EACH),
    "each, a score free": (L1 * [1, 0, 2], L2 * [1, 0, 2], EACH),
    "feature": (L1, 0 * L2, FEATURE),
    "feature, with ridge, one free": (L1 * FREE, L2 * FREE, FEATURE),
    "labels within scores": (L1 * OF_SCORES, 0 * L2, WITHIN),
    "labels within scores, with ridge": (L1 * OF_SCORES * FREE, L2 * OF_SCORES * FREE, WITHIN),
    "labels over scores": (L1, 0 * L2, OVER),
    "labels over scores, with ridge": (L1 * FREE, L2 * FREE, OVER),
}


@dataclass
class Case:
    """A penalty, its strengths for each coefficient (width, K), and the numbers of groups."""

    penalty: ElasticNet
    l1: np.ndarray
    l2: np.ndarray
    numbers: np.ndarray

    @property
    def free(self):
        return (self.l1 == 0) & (self.l2 == 0)

    def lengths(self, T):
        """The length of each coefficient's group."""
        return sparse_problems.lengths(T, self.numbers)

    def value(self, T):
        """Of all scores."""
        lengths = np.sqrt(np.bincount(self.numbers.ravel(), np.square(T).ravel()))
        strengths = np.zeros_like(lengths)
        strengths[self.numbers] = self.l1
        return strengths @ lengths + (self.l2 * np.square(T)).sum() / 2

    def draw(self, seed, some_zero=True):
        """Coefficients some of whose groups are zero."""
        rng = np.random.default_rng(seed)
        T = rng.normal(size=(WIDTH, K))
        kept = (rng.random(WIDTH * K) < 0.6)[self.numbers] & (self.numbers != self.numbers[0, 0])
        return T * kept if some_zero else T

    def subgradient(self, T, seed, inside=0.99):
        """One of the penalty at T: of groups that are zero, any within their ball."""
        size, any_vector = self.lengths(T), np.random.default_rng(seed).normal(size=T.shape)
        ball = inside * any_vector / self.lengths(any_vector)
        direction = np.divide(T, size, out=ball, where=size > 0)
        return self.l2 * T + self.l1 * direction


@pytest.fixture(params=KINDS)
def case(request):
    """A penalty of every kind."""
    l1, l2, groups = KINDS[request.param]
    features = np.arange(WIDTH) if groups.labels is None else groups.labels
    scores = np.zeros(K, int) if groups.over_scores else np.arange(K)
    full = (np.broadcast_to(strengths, (WIDTH, K)) for strengths in (l1, l2))
    return Case(ElasticNet(Ridge(l2), l1, groups), *full, np.add.outer(features * K, scores))


def test_the_penalty_is_the_formula(case):
    """sum l2 / 2 T^2 + sum l1_g ||T_g||: each score's part, where groups lie within scores."""
    T = case.draw(1)
    value = case.penalty.value(T)
    assert value.sum() == pytest.approx(case.value(T), rel=1e-13)
    assert (value >= 0).all() and case.penalty.value(0 * T).sum() == 0
    for k in range(K if not case.penalty.groups.over_scores else 0):
        alone = T * (np.arange(K) == k)
        assert value[k] == pytest.approx(case.value(alone), rel=1e-13)
    smooth, sparse = case.penalty.smooth(T)[0], case.penalty.sparse_value(T)
    np.testing.assert_allclose(smooth + sparse, value, rtol=1e-13)


def test_the_smooth_part_is_the_ridge(case):
    """Its value is l2 / 2 T^2, its gradient that value's derivative; its diagonal l2."""
    T = case.draw(2)
    value, gradient = case.penalty.smooth(T)
    np.testing.assert_allclose(value, (case.l2 * T**2).sum(axis=0) / 2, rtol=1e-13)
    moves = [
        differences(lambda T: case.penalty.smooth(T)[0].sum(), T, D).item() for D in basis(T.shape)
    ]
    np.testing.assert_allclose(gradient, np.reshape(moves, T.shape), atol=1e-8)
    np.testing.assert_array_equal(np.broadcast_to(case.penalty.ridge, T.shape), case.l2)


def test_sizes_and_numbers_are_those_of_groups(case):
    """The length of each coefficient's group; equal numbers, exactly, in a group; strengths."""
    T, penalty = case.draw(3), case.penalty
    np.testing.assert_allclose(penalty.group_sizes(T), case.lengths(T), rtol=1e-14)
    np.testing.assert_array_equal(penalty.group_sizes(T) == 0, case.lengths(T) == 0)
    ours, theirs = penalty.group_numbers(T.shape).ravel(), case.numbers.ravel()
    np.testing.assert_array_equal(ours[:, None] == ours, theirs[:, None] == theirs)
    np.testing.assert_array_equal(penalty.sparse_strengths(T.shape), case.l1)
    np.testing.assert_array_equal(np.broadcast_to(penalty.free, T.shape), case.free)


@pytest.mark.parametrize("step", [1e-3, 1.0, 1e3])
def test_the_prox_is_where_the_proximal_objective_is_least(case, step):
    """P = prox(T): <T - P, U - P> <= step (penalty(U) - penalty(P)) for all U."""
    rng, T = np.random.default_rng(20), case.draw(4, some_zero=False)
    P = case.penalty.prox(T, step)
    for size in (1e-3, 1.0, 1e3):
        U = P + size * rng.normal(size=T.shape)
        gain, inner = step * (case.value(U) - case.value(P)), ((T - P) * (U - P)).sum()
        assert inner <= gain + 1e-9 * (abs(gain) + abs(inner))
    # Where it is zero is known: groups that are no longer than their strength.
    is_zero = case.lengths(T) <= step * case.l1
    np.testing.assert_array_equal(P == 0, is_zero)


def test_the_conjugate_is_the_least_upper_bound(case):
    """conjugate(G) >= <V, G> - value(V) for all V, and equality at G's that are subgradients.

    Coefficients without a penalty make it infinite, unless G is zero there to rounding.
    """
    rng = np.random.default_rng(19)
    for seed in range(10):
        T = case.draw(seed)
        G = case.subgradient(T, seed) * (1 - 1e-14)  # rounding leaves balls
        conjugate = case.penalty.conjugate(G).sum()
        assert conjugate == pytest.approx((T * G).sum() - case.value(T), rel=1e-11, abs=1e-12)
        for size in (0.1, 1.0, 10.0):
            V = T + size * rng.normal(size=T.shape)
            assert conjugate >= (V * G).sum() - case.value(V) - 1e-12
        beyond = G + rng.normal(size=G.shape) * ~case.free
        V = case.penalty.prox(beyond, 1.0)
        assert case.penalty.conjugate(beyond).sum() >= (V * beyond).sum() - case.value(V) - 1e-12
    free = rng.normal(size=G.shape) * case.free
    np.testing.assert_array_equal(case.penalty.conjugate(free) == np.inf, free.any(axis=0))
    np.testing.assert_array_equal(case.penalty.conjugate(1e-11 * free), 0)
    np.testing.assert_array_equal(case.penalty.conjugate_of_penalised(free), 0)


def test_without_a_ridge_the_conjugate_is_zero_in_the_balls_and_infinite_outside(case):
    """The indicator of ||G_g|| <= l1_g."""
    if case.l2.any():
        return
    G = case.subgradient(0 * case.l1, 5)
    assert not case.penalty.conjugate(G).any()
    assert case.penalty.conjugate(1.02 * G).sum() == np.inf


def test_the_violation_is_zero_exactly_at_optima(case):
    """Zero where -G is a subgradient; elsewhere the distance of zero from G + subdifferential."""
    T, away = case.draw(6), 0.3 * np.random.default_rng(7).normal(size=(WIDTH, K))
    G = -case.subgradient(T, 8)
    np.testing.assert_allclose(case.penalty.violation(T, G), 0, atol=1e-15)
    violation, is_zero = case.penalty.violation(T, G + away), case.lengths(T) == 0
    np.testing.assert_allclose(violation[~is_zero], np.abs(away)[~is_zero], rtol=1e-12)
    size = case.lengths(G + away)  # at T = 0: what of it is outside the ball
    outside = np.abs(G + away) * np.maximum(0, 1 - case.l1 / size)
    np.testing.assert_allclose(violation[is_zero], outside[is_zero], rtol=1e-12, atol=1e-15)
    assert outside[is_zero].any()


def test_shares_tell_which_gradients_keep_zeros(case):
    """Zero is an optimum if and only if no group's gradient is longer than its strength."""
    G = np.random.default_rng(9).normal(size=(WIDTH, K))
    shares = case.penalty.shares(G)
    expected = np.divide(case.lengths(G), case.l1, out=np.zeros_like(G), where=case.l1 > 0)
    np.testing.assert_allclose(shares, expected, rtol=1e-13)
    largest = shares.max()
    G[case.free] = 0
    for factor, is_optimum in ((1 + 1e-9, True), (1 - 1e-9, False)):
        violation = case.penalty.violation(0 * G, G / (largest * factor))
        assert (violation == 0).all() == is_optimum


def test_a_feasible_share_of_gradients_has_no_conjugate(case):
    """t <= 1, the conjugate of t G is zero, and of any more it is not."""
    G = np.random.default_rng(10).normal(size=(WIDTH, K)) * ~case.free
    share = case.penalty.feasible_share(G)
    assert ((share > 0) & (share <= 1)).all()
    if case.penalty.groups.over_scores:
        share = share.min()
    within = share * G * (1 - 1e-12)
    np.testing.assert_array_equal(case.penalty.conjugate(within), 0)
    more = case.penalty.conjugate(1.001 * share * G)
    assert (more > 0).any() if np.ndim(share) == 0 else (more[share < 1] > 0).all()
    np.testing.assert_array_equal(case.penalty.feasible_share(1e-3 * within), 1)
    unbalanced = case.free.any(axis=0)
    np.testing.assert_array_equal(case.penalty.feasible_share(G + case.free)[unbalanced], 0)


@pytest.mark.parametrize("scores", [[0], [1], [0, 2]], ids=str)
def test_the_penalty_of_some_scores_is_that_of_their_columns(case, scores):
    """Of groups within scores; where none has a sparse part, the ridge alone."""
    if case.penalty.groups.over_scores:
        return
    T, columns = case.draw(11), (slice(None), scores)
    subset = case.penalty.take_scores(np.array(scores))
    np.testing.assert_allclose(subset.value(T[columns]), case.penalty.value(T)[scores], rtol=1e-13)
    np.testing.assert_array_equal(subset.prox(T[columns], 0.5), case.penalty.prox(T, 0.5)[columns])
    np.testing.assert_array_equal(
        np.broadcast_to(subset.free, T[columns].shape), case.free[columns]
    )
    assert subset.is_smooth == (not case.l1[columns].any())


def test_dividing_strengths_divides_the_penalty(case):
    """By one weight, or by that of each score; what has a penalty keeps some."""
    T, weight = case.draw(12), np.full(K, 3.0)
    if not case.penalty.groups.over_scores:
        weight = np.array([2.0, 5.0, 0.5])
    divided = case.penalty.divided(weight)
    np.testing.assert_allclose(divided.value(T), case.penalty.value(T) / weight, rtol=1e-13)
    tiny = case.penalty.divided(np.full(K, 1e300)).divided(np.full(K, 1e300))
    np.testing.assert_array_equal(np.broadcast_to(tiny.free, T.shape), case.free)


def test_the_penalty_of_several_fits_is_that_of_each(case):
    """Copies of the scores, of groups within scores, cost what the scores cost."""
    if case.penalty.groups.over_scores:
        return
    one, other = case.draw(13), case.draw(14)
    value = case.penalty.repeated(2).value(np.hstack([one, other]))
    expected = np.append(case.penalty.value(one), case.penalty.value(other))
    np.testing.assert_allclose(value, expected, rtol=1e-13)


@pytest.mark.parametrize("intercept", [False, True])
def test_the_penalty_does_not_depend_on_units(case, intercept):
    """Features divided by scales, those of a group alike, have coefficients times these.

    The intercept is free and in no group; a constant feature stays at zero, in no group either.
    """
    if case.penalty.joined is not None:
        np.testing.assert_array_equal(case.penalty.joined, LABELS)
    scale = np.exp2([3, -2, -2, 5, 5, 5, -7])
    T = case.draw(15)
    working = np.vstack([T * scale[:, None], np.full((int(intercept), K), 1e3)])
    scaled = case.penalty.for_scaled_features(scale, intercept)
    np.testing.assert_allclose(scaled.value(working), case.penalty.value(T), rtol=1e-13)
    free = np.broadcast_to(scaled.free, working.shape)
    np.testing.assert_array_equal(free, np.vstack([case.free, np.ones((int(intercept), K))]))
    halved = case.penalty.for_scaled_features(scale, intercept, 2.0)
    np.testing.assert_allclose(2 * halved.value(working), case.penalty.value(T), rtol=1e-13)
    scale[4] = np.inf  # a constant feature
    without = case.penalty.for_scaled_features(scale, intercept)
    sizes = without.group_sizes(np.vstack([T, np.full((int(intercept), K), 1e3)]))
    others = T.copy()
    others[4] = 0
    np.testing.assert_allclose(
        sizes[[0, 1, 2, 3, 5, 6]], case.lengths(others)[[0, 1, 2, 3, 5, 6]], rtol=1e-13
    )
    assert not np.broadcast_to(without.free, working.shape)[4].any()


def test_tiny_scales_are_too_small_where_strengths_would_overflow(case):
    """At the least scale both parts are finite."""
    least = case.penalty.least_scale(1.0)
    scaled = case.penalty.for_scaled_features(np.maximum(least, 1e-300), False)
    assert np.isfinite(scaled.sparse_strengths((WIDTH, K))).all()
    assert np.isfinite(scaled.ridge).all()


def test_the_penalty_on_multiples_is_that_of_the_products(case):
    """T -> penalty(m T), multiples being those of a whole group."""
    T = case.draw(16)
    multiple = np.exp2(np.random.default_rng(1).integers(-3, 4, WIDTH * K))[case.numbers]
    np.testing.assert_allclose(
        case.penalty.on_multiples(multiple).value(T).sum(), case.value(multiple * T), rtol=1e-13
    )


def test_strengths_are_those_of_c_factors_and_the_share():
    """l1 = a f / C, l2 = (1 - a) f / C; a = 0 or C = inf leave no sparse part."""
    factor = np.array([1.0, 0.0, 3.0])
    penalty = ElasticNet.from_C(np.array([0.5, 4.0]), factor, 0.25, EACH)
    expected = factor[:, None] / [0.5, 4.0]
    np.testing.assert_allclose(penalty.sparse_strengths((3, 2)), 0.25 * expected, rtol=1e-15)
    np.testing.assert_allclose(penalty.ridge, 0.75 * expected, rtol=1e-15)
    assert not (penalty.is_smooth or penalty.is_rotatable)
    assert isinstance(ElasticNet.from_C(np.array([0.5]), factor, 0.0, OVER), Ridge)
    assert isinstance(ElasticNet.from_C(np.array([np.inf]), factor, 1.0, EACH), Ridge)
    with pytest.raises(TypeError, match="rotation"):
        penalty.rotated(2, np.zeros(3, dtype=bool))


def test_it_is_smooth_in_active_coefficients_and_its_curvature_is_its_hessian(case):
    """There the value is twice differentiable; groups of one have the ridge's curvature alone."""
    T, penalty = case.draw(17), case.penalty
    active = (case.lengths(T) > 0) | (case.l1 == 0)
    np.testing.assert_array_equal(penalty.active(T), active)
    scores, features = np.nonzero(active.T)
    found = penalty.curvature(T, features, scores)

    def gradient(T):
        size = case.lengths(T)
        direction = np.divide(T, size, out=np.zeros_like(T), where=size > 0)
        return (case.l2 * T + case.l1 * direction)[features, scores]

    moves = basis((WIDTH, K))[(features * K + scores)]
    expected = np.stack([differences(gradient, T, D) for D in moves])
    np.testing.assert_allclose(found, expected, atol=1e-7)
    if penalty.groups is EACH:
        np.testing.assert_array_equal(found, np.diag(case.l2[features, scores]))


def test_the_prox_of_several_coefficients_is_that_of_each(case):
    """Stacked, (2, width, K), they do not know of each other."""
    both = np.stack([case.draw(18, some_zero=False), case.draw(19)])
    steps = np.exp2(np.random.default_rng(2).integers(-3, 4, WIDTH * K))[case.numbers]
    found = case.penalty.prox(both, steps)
    np.testing.assert_array_equal(found, [case.penalty.prox(T, steps) for T in both])
