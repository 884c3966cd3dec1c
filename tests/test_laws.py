"""Laws: changes of a problem whose effect on the fit is known without solving it."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from problems import PROBLEMS, objective, one_hot, overlapping, solved

from softreg import SoftmaxRegression
from softreg.solvers import LBFGS, Newton

# Two fits of equivalent problems lie within tol F of the same optimum, so their coefficients
# differ by about sqrt(2 tol F / curvature): below 1e-5 on `overlapping` at this tol.
SAME = {"rtol": 0, "atol": 1e-5}


def fit(X, y, sample_weight=None, offset=None, **parameters):
    """A fit close enough to the optimum to compare coefficients."""
    model = SoftmaxRegression(tol=1e-13, **parameters)
    return model.fit(X, y, sample_weight=sample_weight, offset=offset)


def assert_same(one, other):
    np.testing.assert_allclose(one.coef_, other.coef_, **SAME)
    np.testing.assert_allclose(one.intercept_, other.intercept_, **SAME)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton", LBFGS(), Newton()], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_all_solvers_reach_the_same_optimum(name, solver):
    """Every solver's F is within 1e-8 of the least, on every problem, and is nobody's warning."""
    X, y, Y, least = solved(name, 1.0)
    model = SoftmaxRegression(solver=solver).fit(X, y)
    assert objective(model.coef_, model.intercept_, X, Y) <= least * (1 + 1e-8)
    assert model.converged_


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.3}])
def test_a_weight_of_two_equals_the_row_twice(K, class_weight):
    """Whole-number weights are repeated rows; the number of rows is the sum of the weights."""
    X, y = overlapping(K=K)
    times = np.random.default_rng(0).integers(0, 4, size=120)
    weighted = fit(X, y, sample_weight=times, class_weight=class_weight)
    repeated = fit(X.repeat(times, axis=0), y.repeat(times), class_weight=class_weight)
    assert_same(weighted, repeated)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-10)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_weight_of_zero_removes_the_row(container):
    """Rows of weight 0 count for nothing, however far out they lie."""
    X, y = overlapping()
    kept = np.random.default_rng(1).random(120) < 0.8
    outliers = np.where(kept[:, None], X, 1e6)
    assert_same(fit(container(outliers), y, sample_weight=kept), fit(container(X[kept]), y[kept]))


def test_a_class_of_weight_zero_keeps_its_place_and_gets_no_probability():
    """A class whose rows all weigh 0 stays in classes_, its probability below those seen."""
    X, y = overlapping()
    model = SoftmaxRegression().fit(X, y, sample_weight=(y != 1) * 1.0)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    assert model.predict_proba(X)[:, 1].max() < 1e-3


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_all_weights_only_scales_c(scale):
    """sample_weight t s with C / t has the minimiser of s with C."""
    X, y = overlapping()
    s = np.random.default_rng(2).uniform(size=120)
    assert_same(fit(X, y, sample_weight=scale * s, C=1 / scale), fit(X, y, sample_weight=s))


@given(order=st.permutations([0, 1, 2, 3]))
def test_permuting_the_classes_permutes_the_rows_of_the_coefficients(order):
    """Labels renamed by a permutation: coef_[order[k]] of the new fit is coef_[k] of the old."""
    X, y = overlapping(K=4, seed=8)
    order = np.array(order)
    old, new = fit(X, y), fit(X, order[y])
    np.testing.assert_allclose(new.coef_[order], old.coef_, **SAME)
    np.testing.assert_allclose(new.intercept_[order], old.intercept_, **SAME)


def test_swapping_two_classes_changes_the_sign():
    """K = 2: the other class first gives -coef_ and -intercept_."""
    X, y = overlapping(K=2)
    old, new = fit(X, y), fit(X, 1 - y)
    np.testing.assert_allclose(new.coef_, -old.coef_, **SAME)
    np.testing.assert_allclose(new.intercept_, -old.intercept_, **SAME)


@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_the_rows_changes_nothing(seed):
    """F is a sum over rows: their order matters only to rounding."""
    X, y = overlapping()
    order = np.random.default_rng(seed).permutation(120)
    old, new = fit(X, y), fit(X[order], y[order])
    np.testing.assert_allclose(new.coef_, old.coef_, rtol=1e-6, atol=1e-8)
    assert new.objective_ == pytest.approx(old.objective_, rel=1e-12)


def test_permuting_the_columns_permutes_the_columns_of_the_coefficients():
    """Features in another order: the same coefficients in that order."""
    X, y = overlapping()
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(fit(X[:, order], y).coef_, fit(X, y).coef_[:, order], **SAME)


@pytest.mark.parametrize("K", [2, 3])
def test_an_offset_is_a_column_with_a_fixed_coefficient(K):
    """A column held at its fitted coefficients by an offset leaves the others where they are."""
    X, y = overlapping(K=K)
    full = fit(X, y)
    offset = np.outer(X[:, 3], full.coef_[:, 3])
    rest = fit(X[:, :3], y, offset=offset if K > 2 else offset.ravel())
    np.testing.assert_allclose(rest.coef_, full.coef_[:, :3], **SAME)
    np.testing.assert_allclose(rest.intercept_, full.intercept_, **SAME)


def test_an_offset_shifts_an_unpenalised_coefficient_by_its_negative():
    """C = inf: an offset X B' moves coef_ by -B and no probability at all."""
    X, y = overlapping()
    B = centred_rows(np.random.default_rng(3).normal(size=(3, 4)))
    plain, shifted = fit(X, y, C=np.inf), fit(X, y, offset=X @ B.T, C=np.inf)
    np.testing.assert_allclose(shifted.coef_, plain.coef_ - B, **SAME)
    np.testing.assert_allclose(
        shifted.predict_proba(X, offset=X @ B.T), plain.predict_proba(X), **SAME
    )


def centred_rows(B):
    return B - B.mean(axis=0)


def test_a_constant_offset_moves_only_the_intercept():
    """An offset that is the same in every row is taken back by the unpenalised intercept."""
    X, y = overlapping()
    shift = np.array([5.0, -3.0, -2.0])
    plain, shifted = fit(X, y), fit(X, y, offset=np.tile(shift, (120, 1)))
    np.testing.assert_allclose(shifted.coef_, plain.coef_, **SAME)
    np.testing.assert_allclose(shifted.intercept_, plain.intercept_ - shift, **SAME)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_scaling_a_column_and_its_penalty_factor_scales_its_coefficient(container):
    """Column t x_j with factor t^2 f_j is fitted by w_j / t: F does not know the difference."""
    X, y = overlapping()
    t, factor = np.array([1e-3, 1.0, 250.0, 7.0]), np.array([1.0, 0.5, 2.0, 1.0])
    old = fit(container(X), y, penalty_factor=factor)
    new = fit(container(X * t), y, penalty_factor=factor * t**2)
    np.testing.assert_allclose(new.coef_ * t, old.coef_, **SAME)
    np.testing.assert_allclose(new.intercept_, old.intercept_, **SAME)


def test_units_do_not_matter_without_a_penalty():
    """C = inf: columns moved and scaled give the same probabilities."""
    X, y = overlapping()
    moved = X * [1e-4, 1e5, 3.0, 0.2] + [0, 1e6, -40, 1]
    old, new = fit(X, y, C=np.inf), fit(moved, y, C=np.inf)
    np.testing.assert_allclose(new.predict_proba(moved), old.predict_proba(X), **SAME)


def test_moving_the_columns_is_taken_up_by_the_intercept():
    """X + m has the coefficients of X; the intercept, unpenalised, becomes b - W m."""
    X, y = overlapping()
    m = np.array([100.0, -3.0, 0.5, 20.0])
    old, new = fit(X, y), fit(X + m, y)
    np.testing.assert_allclose(new.coef_, old.coef_, **SAME)
    np.testing.assert_allclose(new.intercept_ + new.coef_ @ m, old.intercept_, **SAME)


@pytest.mark.parametrize("K", [2, 3])
def test_label_smoothing_equals_the_smoothed_soft_targets(K):
    """label_smoothing = a on labels is no smoothing of (1 - a) Y + a / K."""
    X, y = overlapping(K=K)
    smooth, soft = fit(X, y, label_smoothing=0.1), fit(X, 0.9 * one_hot(y) + 0.1 / K)
    assert_same(smooth, soft)
    assert smooth.objective_ == pytest.approx(soft.objective_, rel=1e-10)


def test_a_column_of_zeros_gets_a_zero_coefficient_and_changes_no_other():
    """A feature that is always 0 adds nothing to any score, so the penalty sets it to 0."""
    X, y = overlapping()
    padded = fit(np.insert(X, 2, 0.0, axis=1), y)
    np.testing.assert_allclose(padded.coef_[:, 2], 0, atol=1e-9)
    np.testing.assert_allclose(np.delete(padded.coef_, 2, axis=1), fit(X, y).coef_, **SAME)


def test_a_column_twice_shares_the_coefficient_of_a_column_penalised_half():
    """Duplicated columns split w_j evenly, which costs half the penalty of one column."""
    X, y = overlapping()
    twice = fit(np.column_stack([X, X[:, 1]]), y)
    once = fit(X, y, penalty_factor=[1, 0.5, 1, 1])
    np.testing.assert_allclose(twice.coef_[:, 1], twice.coef_[:, 4], **SAME)
    np.testing.assert_allclose(2 * twice.coef_[:, 1], once.coef_[:, 1], **SAME)


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_the_number_of_threads_changes_nothing_beyond_rounding(container, K):
    """n_jobs only spreads the rows: one thread and two give the same fit, to rounding."""
    rng = np.random.default_rng(9)
    X = rng.normal(size=(40_000, 12)) * (rng.random((40_000, 12)) < 0.5)
    y = rng.integers(K, size=40_000)
    one, two = (SoftmaxRegression(n_jobs=n).fit(container(X), y) for n in (1, 2))
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(two.predict_proba(X[:50]), one.predict_proba(X[:50]), rtol=1e-9)


@pytest.mark.parametrize("C", [0.1, 100.0])
def test_sparse_and_dense_columns_give_the_same_fit(C):
    """CSR is a way to store X: coefficients, scores and F do not depend on it."""
    X, y, *_ = solved("sparse counts", 1.0)
    sparse, dense = fit(X, y, C=C), fit(X.toarray(), y, C=C)
    assert_same(sparse, dense)
    np.testing.assert_allclose(
        sparse.decision_function(X), dense.decision_function(X.toarray()), atol=1e-4
    )


def test_the_order_and_the_splitting_of_stored_entries_do_not_matter():
    """CSR with unsorted indices and entries stored in two parts is the same matrix."""
    X, y, *_ = solved("sparse counts", 1.0)
    dense = X.toarray()[:, ::-1]
    split = sp.csr_array(
        (
            np.hstack([0.25 * dense, 0.75 * dense]).ravel(),
            np.tile(np.arange(40)[::-1], 2 * 200),
            np.arange(201) * 80,
        ),
        shape=X.shape,
    )
    assert not split.has_canonical_format
    assert_same(fit(split, y), fit(X, y))


def test_a_stronger_penalty_shrinks_the_coefficients():
    """sum_j ||W_.j||^2 at the optimum grows with C, and tends to zero with it."""
    X, y = overlapping()
    sizes = [np.square(fit(X, y, C=C).coef_).sum() for C in (1e-8, 1e-2, 1.0, 1e2, np.inf)]
    assert np.all(np.diff(sizes) > 0) and sizes[0] < 1e-6


def test_the_fitted_probabilities_sum_to_the_class_totals():
    """Zero gradient in the intercepts: weighted probabilities sum to the weight of each class."""
    X, y = overlapping()
    s = np.random.default_rng(4).uniform(size=120)
    P = fit(X, y, sample_weight=s).predict_proba(X)
    np.testing.assert_allclose(s @ P, np.bincount(y, weights=s), rtol=1e-5)
