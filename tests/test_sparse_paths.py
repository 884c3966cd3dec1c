"""Paths of sparse models: every point is the optimum of a single fit, proven, and kept sparse."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sparse_problems
from problems import labels_drawn, one_hot, wide
from sklearn.datasets import load_wine

from softreg import SigmoidRegression, SoftmaxRegression, regularization_path

LABELS = np.array(list("aabbbcde"))
KINDS = {
    "lasso": (1.0, None, lambda K: None),
    "elastic net": (0.3, None, lambda K: None),
    "by feature": (1.0, "feature", lambda K: sparse_problems.by_feature(K, 8)),
    "groups, with ridge": (0.5, LABELS, lambda K: sparse_problems.by_label(LABELS, K)),
}


def data(K=3):
    """Eight correlated columns, of which four matter."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(150, 8)) @ (np.eye(8) + 0.3 * rng.normal(size=(8, 8)))
    return X, labels_drawn(rng, X @ (rng.normal(size=(8, K)) * (np.arange(8) % 2)[:, None]))


X, y = data()
Y = one_hot(y)


@pytest.fixture(params=KINDS)
def kind(request):
    """l1_ratio, l1_groups, and what groups these are."""
    return KINDS[request.param]


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_every_point_is_the_optimum_of_a_single_fit(kind, container):
    """From all zero down to 1e-4 of that strength: F, zeros and scores; a gap at every point."""
    rng = np.random.default_rng(6)
    terms = {"sample_weight": rng.uniform(0, 2, 150), "offset": rng.normal(size=(150, 3))}
    model = SoftmaxRegression(l1_ratio=kind[0], l1_groups=kind[1], tol=1e-12)
    path = regularization_path(container(X), y, 12, estimator=model, **terms)
    assert path.converged.all() and path.proven.all()
    assert (path.optimality_gap <= 1e-8 * path.objective).all()
    assert path.Cs[-1] / path.Cs[0] == pytest.approx(1e4)
    for C, W, b, F in zip(path.Cs, path.coef, path.intercept, path.objective, strict=True):
        single = model.set_params(C=C).fit(X, y, **terms)
        arguments = (X, Y, C, kind[0], kind[2](3))
        assert pytest.approx(single.objective_, rel=1e-9) == F
        assert pytest.approx(sparse_problems.objective(W, b, *arguments, **terms), rel=1e-11) == F
        worst, _ = sparse_problems.violation(W, b, *arguments, **terms)
        assert worst < 1e-3
        P = path.predict_proba(container(X), C, offset=terms["offset"])
        np.testing.assert_allclose(P, single.predict_proba(X, offset=terms["offset"]), atol=1e-5)


def test_the_grid_begins_where_the_first_coefficient_is_about_to_leave_zero(kind):
    """All zero at the first C, by the gradients of the null model; not at one above it."""
    model = SoftmaxRegression(l1_ratio=kind[0], l1_groups=kind[1])
    path = regularization_path(X, y, 5, estimator=model, ratio=0.01)
    G = (Y.mean(axis=0) - Y).T @ X / len(X)
    largest = sparse_problems.lengths(G, kind[2](3)).max() / kind[0]
    assert path.Cs[0] == pytest.approx(1 / (largest * len(X)), rel=1e-6)
    assert path.Cs[-1] == pytest.approx(100 * path.Cs[0])
    assert not path.coef[0].any() and path.n_nonzero_features[0] == 0
    assert path.coef[1].any()
    np.testing.assert_array_equal(path.n_nonzero_features, path.coef.any(axis=1).sum(axis=1))


def test_wide_paths_end_earlier_and_have_their_optima():
    """1e-2 of the largest strength where columns are more than rows; the strong rule is checked."""
    X, y = wide()
    model = SoftmaxRegression(l1_ratio=1, standardize=True, tol=1e-12)
    path = regularization_path(X, y, 20, estimator=model)
    assert path.Cs[-1] / path.Cs[0] == pytest.approx(100) and path.proven.all()
    unit = X.std(axis=0)
    for C, W, b in zip(path.Cs, path.coef, path.intercept, strict=True):
        terms = (X, one_hot(y), C, 1.0)
        assert sparse_problems.violation(W, b, *terms, penalty_factor=unit)[0] < 1e-3
    assert 0 < path.n_nonzero_features[-1] < 90


def test_labels_have_paths_of_their_own():
    """Each label's coefficients are those of its own fit at each C; F is the sum."""
    answers = (X[:, :3] + np.random.default_rng(7).normal(size=(150, 3)) > 0) * 1
    model = SigmoidRegression(l1_ratio=0.9, tol=1e-13)
    path = regularization_path(X, answers, [0.02, 0.1, 1.0, np.inf], estimator=model)
    assert path.proven.all() and path.coef.shape == (4, 3, 8)
    for C, W, b in zip(path.Cs[:3], path.coef, path.intercept, strict=False):
        for label in range(3):
            terms = (X, one_hot(answers[:, label]), C, 0.9)
            assert sparse_problems.violation(W[[label]], b[[label]], *terms)[0] < 1e-4
    unpenalised = SigmoidRegression(np.inf).fit(X, answers)
    np.testing.assert_allclose(path.coef[3], unpenalised.coef_, atol=1e-4)


def test_coefficients_are_kept_sparse_and_told_in_a_table():
    """CSR of n_Cs * K rows; the table has gaps and numbers of features; zeros are zeros."""
    frame = pd.DataFrame(X, columns=list("ABCDEFGH"))
    names = np.array(["ash", "birch", "cedar"])[y]
    path = regularization_path(frame, names, 6, estimator=SoftmaxRegression(l1_ratio=1))
    assert sp.issparse(path.coefficients) and path.coefficients.shape == (18, 8)
    assert path.coefficients.nnz == np.count_nonzero(path.coef)
    table = path.to_frame()
    assert len(table) == 6 * 3 * 9
    by_C = table[table.feature != "intercept"].groupby("C")
    n_features = by_C.apply(lambda at_C: at_C.loc[at_C.coef != 0, "feature"].nunique())
    np.testing.assert_array_equal(n_features, path.n_nonzero_features)
    np.testing.assert_array_equal(by_C["n_nonzero_features"].first(), path.n_nonzero_features)
    np.testing.assert_array_equal(by_C["optimality_gap"].first(), path.optimality_gap)


def test_probabilities_are_those_of_a_c_of_the_path():
    """Of another C there are none: the nearest is named."""
    path = regularization_path(X, y, [0.01, 1, np.inf], estimator=SoftmaxRegression(l1_ratio=1))
    Z = X @ path.coef[1].T + path.intercept[1]
    expected = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(path.predict_proba(X, 1), expected, rtol=1e-12)
    assert path.predict_proba(X, np.inf).shape == (150, 3)
    with pytest.raises(ValueError, match=r"C=2 .*nearest .* 1\.0"):
        path.predict_proba(X, 2)


def test_smooth_paths_predict_too():
    """At any C of theirs, with dense coefficients."""
    path = regularization_path(X, y, [0.1, 1.0])
    model = SoftmaxRegression(0.1).fit(X, y)
    np.testing.assert_allclose(path.predict_proba(X, 0.1), model.predict_proba(X), atol=1e-4)
    assert isinstance(path.coefficients, np.ndarray)
    np.testing.assert_array_equal(path.n_nonzero_features, [8, 8])


def test_two_classes_have_one_row():
    """Paths of two classes: the row is that of the second."""
    X, y = data(2)
    path = regularization_path(X, y, 4, estimator=SoftmaxRegression(l1_ratio=1), ratio=0.05)
    assert path.coef.shape == (4, 1, 8) and path.predict_proba(X, path.Cs[2]).shape == (150, 2)
    single = SoftmaxRegression(path.Cs[2], 1.0).fit(X, y)
    np.testing.assert_allclose(path.coef[2], single.coef_, atol=1e-4)


def test_factors_of_zero_keep_features_from_the_first_c_on():
    """All others are zero at the first C; every point is proven."""
    factor = np.array([1, 1, 0, 1, 1, 1, 1, 1.0])
    model = SoftmaxRegression(l1_ratio=1, penalty_factor=factor)
    path = regularization_path(X, y, 6, estimator=model, ratio=0.01)
    assert path.converged.all() and path.proven.all()
    np.testing.assert_array_equal(path.coef[0].any(axis=0), factor == 0)
    assert path.coef[1].any(axis=0).sum() > 1
    worst, _ = sparse_problems.violation(
        path.coef[3], path.intercept[3], X, Y, path.Cs[3], 1.0, penalty_factor=factor
    )
    assert worst < 1e-2


def test_raw_columns_have_the_path_of_standardised_ones():
    """standardize=True: units change neither grid nor scores."""
    X, y = load_wine(return_X_y=True)
    model = SoftmaxRegression(l1_ratio=1, standardize=True)
    raw = regularization_path(X * 10.0 ** np.arange(-6, 7), y, 8, estimator=model)
    divided = regularization_path((X - X.mean(axis=0)) / X.std(axis=0), y, 8, estimator=model)
    np.testing.assert_allclose(raw.Cs, divided.Cs, rtol=1e-6)
    np.testing.assert_allclose(raw.objective, divided.objective, rtol=1e-6)
    np.testing.assert_array_equal(raw.n_nonzero_features, divided.n_nonzero_features)


@pytest.mark.parametrize("ratio", [0, 1, -0.5, np.nan, "small"])
def test_the_grid_s_ratio_lies_between_zero_and_one(ratio):
    """Anything else is refused by name and value."""
    with pytest.raises(ValueError, match=r"ratio=.* between 0 and 1"):
        regularization_path(X, y, 5, estimator=SoftmaxRegression(l1_ratio=1), ratio=ratio)


def test_columns_of_zeros_have_a_path():
    """All coefficients are zero at every C, and F is that of the intercepts."""
    path = regularization_path(
        np.zeros((4, 2)), [0, 0, 1, 2], [0.1, 1, 10], estimator=SoftmaxRegression(l1_ratio=0.5)
    )
    assert path.coefficients.nnz == 0
    np.testing.assert_allclose(path.objective, 1.5 * np.log(2), rtol=1e-12)
    assert path.proven.all()


@pytest.mark.parametrize("size", [1e2, 1e5])
@pytest.mark.parametrize("Cs", [6, [1e-3, 0.1, 10.0]])
def test_paths_of_saturated_rows_have_the_optima_of_fits(size, Cs):
    """Offsets of which every row is saturated at the null model, and along the path."""
    offset = size * np.random.default_rng(2).normal(size=150)
    model, answers = SoftmaxRegression(l1_ratio=1), y > 0
    path = regularization_path(X, answers, Cs, estimator=model, offset=offset)
    assert path.proven.all()
    for C, F in zip(path.Cs, path.objective, strict=True):
        single = model.set_params(C=C).fit(X, answers, offset=offset)
        assert single.proven_ and pytest.approx(single.objective_, rel=1e-8) == F
    # The least C of a grid is that of the first coefficient.
    at_first = path.coef[0] if Cs == 6 else np.zeros(8)
    assert np.abs(at_first).max() <= 1e-6 * np.abs(path.coef[-1]).max()


@pytest.mark.parametrize(("ratio", "weight"), [(1e-300, 1e12), (1e-310, 1.0), (1e-20, 1e300)])
def test_a_grid_whose_ends_are_no_numbers_says_so(ratio, weight):
    """All is zero at C of l1_ratio over the gradient, about: 1e-312 has no C below it to spare."""
    model, weights = SoftmaxRegression(l1_ratio=ratio), np.full(150, weight)
    with pytest.raises(ValueError, match=r"Cs=7 asks for a grid .* pass values of C"):
        regularization_path(X, y, 7, estimator=model, sample_weight=weights)
    path = regularization_path(X, y, [1 / weight], estimator=model, sample_weight=weights)
    ridge = SoftmaxRegression(1 / weight).fit(X, y, sample_weight=weights)
    assert path.proven.all() and path.objective[0] == pytest.approx(ridge.objective_, rel=1e-9)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_a_penalty_that_overflows_names_no_c_that_nobody_gave(ratio):
    """1 / C is no number: the message says by what is divided, and that it is too small."""
    model = SoftmaxRegression(l1_ratio=ratio)
    with pytest.raises(ValueError, match=r"penalty_factor / C.* 1e-320 is too small"):
        regularization_path(X, y, [1e-320, 1.0], estimator=model)
