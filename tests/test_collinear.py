"""Columns without a penalty that determine each other: F and predictions are those of the rest."""

import numpy as np
import pytest
import scipy.sparse as sp
from chunked import parts
from parts import make
from problems import IGNORE_UNIDENTIFIED, objective, one_hot, optimum

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.solvers import LBFGS, Newton
from softreg.solvers.linalg.collinear import identified, null_vectors


def categories(n, seed=0, K=3):
    """Return one-hot columns of two variables beside a number, and classes."""
    rng = np.random.default_rng(seed)
    groups = one_hot(np.arange(n) % 4), one_hot(rng.permutation(np.arange(n) % 3))
    return np.hstack([*groups, rng.normal(5, 1e3, (n, 1))]), rng.integers(0, K, n)


def free_of(case):
    return np.all(case.objective.penalty.free, axis=1)


def test_null_vectors_are_of_features_that_others_determine(one_thread):
    """One of a group of categories, a copy, a sum; not what differs by a millionth."""
    rng = np.random.default_rng(0)
    group, (a, b, c) = one_hot(rng.integers(4, size=200)), rng.normal(50, 3, (3, 200))
    nearly = c * (1 + 1e-6 * rng.normal(size=200))
    X = np.column_stack([group, a, b, a - 2 * b, 1000 * b, c, nearly, np.full(200, 3.0)])
    case = make(one_thread, X=X, n=200, penalty="no penalty", factors=np.ones(X.shape[1]))
    V, left_out = null_vectors(case.objective, free_of(case))
    assert (left_out <= 3).sum() == 1 and ((left_out >= 4) & (left_out <= 7)).sum() == 2
    assert len(left_out) == 3
    assert (V[[8, 9, 10]] == 0).all()
    W, b = case.objective.rows.coordinates.coefficients(V)
    np.testing.assert_allclose((X @ W + b) / np.abs(W).max(axis=0), 0, atol=1e-11)


def test_features_with_a_penalty_have_no_null_vector(one_thread):
    """Which of two copies has the coefficient makes a difference to the penalty."""
    x = np.random.default_rng(0).normal(size=(40, 1))
    for factors, expected in [([1, 1], 0), ([0, 1], 0), ([0, 0], 1)]:
        case = make(one_thread, X=np.hstack([x, x]), factors=np.array(factors, float))
        assert null_vectors(case.objective, free_of(case))[1].size == expected
        V = case.direction()
        same, T = identified(case.objective, V)
        assert (same is case.objective) == (expected == 0)
        np.testing.assert_allclose(same.value(T), case.objective.value(V), rtol=1e-12)


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
@pytest.mark.parametrize("seed", range(4))
def test_coefficients_do_not_drift(seed, solver, weighted):
    """At tol = 0 too F is that of the coefficients returned, the least one, and they are small."""
    X, y = categories(120, seed, K=2 + seed % 3)
    weight = 10 ** np.random.default_rng(seed).uniform(-2, 1, 120) if weighted else None
    model = SoftmaxRegression(C=np.inf, tol=0, solver=solver).fit(X, y, sample_weight=weight)
    terms = {"sample_weight": weight}
    stored = objective(model.coef_, model.intercept_, X, one_hot(y), np.inf, **terms)
    least = optimum(X[:, [1, 2, 3, 5, 6, 7]], one_hot(y), np.inf, **terms).objective
    assert stored == pytest.approx(least, rel=1e-10)
    assert model.objective_ == pytest.approx(stored, rel=1e-12)
    assert model.converged_ and np.abs(model.coef_).max() < 20


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("form", ["dense", "float32", "csr", "chunks", "labels"])
def test_coefficients_are_the_limit_of_ever_weaker_penalties(form):
    """The least of those with the least F: orthogonal to all that change no score."""
    X, y = categories(240)
    if form == "chunks":
        model = SoftmaxRegression(C=np.inf).fit_chunks(parts(X, y))
    elif form == "labels":
        model = SigmoidRegression(C=np.inf).fit(X, one_hot(y))
    else:
        as_given = {"float32": X.astype(np.float32), "csr": sp.csr_array(X)}.get(form, X)
        model = SoftmaxRegression(C=np.inf).fit(as_given, y)
    assert model.converged_
    X_seen = X.astype(np.float32).astype(float) if form == "float32" else X
    # Singular vectors of columns that are centred, in the user's units: the null space is the rest.
    scale = np.r_[np.ones(7), 1e3]
    deviations = (X_seen - X_seen.mean(axis=0)) / scale
    null = np.linalg.svd(deviations)[2][6:] / scale
    assert np.abs(null @ model.coef_.T).max() < 1e-9 * np.abs(model.coef_).max()
    weak = type(model)(C=1e8).fit(X_seen, y if form != "labels" else one_hot(y))
    np.testing.assert_allclose(model.coef_, weak.coef_, atol=1e-5)


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("unit", [1000, 1 / 3, 2.54, 1e6, 1e100])
@pytest.mark.parametrize("seed", range(4))
def test_copies_in_other_units_share_a_coefficient(seed, unit, form):
    """By the squares of their units: products are rounded, and some rows are near the mean."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(300, 1)), np.arange(300) % 2
    alone = SoftmaxRegression(C=np.inf).fit(x, y).coef_[0, 0]
    model = SoftmaxRegression(C=np.inf).fit(form(np.hstack([x, x * unit])), y)
    shares = np.array([1, unit]) / (1 + unit**2)
    np.testing.assert_allclose(model.coef_[0], alone * shares, rtol=1e-6, atol=1e-6 * shares.max())


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("unit", [2.0**1000, 2.0**-1000])
def test_units_whose_squares_are_no_numbers_change_nothing(unit):
    """Powers of two: the same F, and coefficients divided by the unit."""
    X, y = categories(120)
    here, there = (SoftmaxRegression(C=np.inf).fit(A, y) for A in (X, X * unit))
    assert there.objective_ == pytest.approx(here.objective_, rel=1e-12)
    np.testing.assert_allclose(there.coef_ * unit, here.coef_, rtol=1e-6, atol=1e-9)


def test_copies_that_were_standardised_are_named():
    """Lengths in two units, each over its deviation: copies but for rounding of the first."""
    metres = np.random.default_rng(0).normal(3, 1, (200, 1))
    X = np.hstack([(x - x.mean()) / x.std() for x in (metres, metres / 0.3048)])
    with pytest.warns(UserWarning, match=r"columns \[0, 1\] are not identified"):
        model = SoftmaxRegression(C=np.inf).fit(X, np.arange(200) % 2)
    assert model.coef_[0, 0] == pytest.approx(model.coef_[0, 1])


@pytest.mark.parametrize("C", [1e16, 1e20, 1e30, 1e300])
def test_a_penalty_that_rounding_hides_is_as_good_as_none(C):
    """Coefficients of categories are those of C = inf, and named; they grew with C."""
    X, y = categories(200)
    with pytest.warns(UserWarning, match="not identified"):
        model, limit = (SoftmaxRegression(C=strength).fit(X, y) for strength in (C, np.inf))
    assert model.converged_ and model.proven_
    np.testing.assert_allclose(model.coef_, limit.coef_, rtol=0, atol=1e-5)


@IGNORE_UNIDENTIFIED
def test_labels_without_a_penalty_beside_others_do_not_drift():
    """C = (1, inf, inf): each label has the fit that it has alone."""
    X, _ = categories(400)
    Y = (np.random.default_rng(0).random((400, 3)) < 0.3).astype(int)
    for tol in (1e-9, 0):
        model = SigmoidRegression(C=[1.0, np.inf, np.inf], tol=tol).fit(X, Y)
        assert model.converged_
        for label, C in enumerate([1.0, np.inf, np.inf]):
            alone = SoftmaxRegression(C=C, tol=tol).fit(X, Y[:, label])
            np.testing.assert_allclose(model.coef_[label], alone.coef_[0], rtol=0, atol=1e-5)


@IGNORE_UNIDENTIFIED
def test_the_order_of_columns_does_not_matter():
    """Permuted columns have permuted coefficients, whichever the fit leaves out."""
    X, y = categories(200, 1)
    order = np.random.default_rng(2).permutation(8)
    there, here = (SoftmaxRegression(C=np.inf).fit(A, y).coef_ for A in (X[:, order], X))
    np.testing.assert_allclose(there, here[:, order], atol=1e-7)


@IGNORE_UNIDENTIFIED
def test_a_warm_start_comes_with_its_scores():
    """From the optimum of a weak penalty, all of whose coefficients differ from zero."""
    X, y = categories(200, 1)
    model = SoftmaxRegression(C=1e6, warm_start=True).fit(X, y)
    model.set_params(C=np.inf).fit(X, y)
    assert model.loss_curve_[0] <= model.objective_ * (1 + 1e-6)


@pytest.mark.parametrize("solver", [LBFGS(), Newton()])
def test_one_warning_names_the_columns(solver):
    """By name, those of both groups and not the number; at a finite C there is none."""
    pd = pytest.importorskip("pandas")
    X, y = categories(120)
    table = pd.DataFrame(X, columns=[*"abcdpqr", "number"])
    with pytest.warns(
        UserWarning, match=r"'a', 'b', 'c', 'd', 'p', 'q', 'r'\] are not id"
    ) as found:
        model = SoftmaxRegression(C=np.inf, solver=solver).fit(table, y)
    assert len(found) == 1 and model.converged_ and found[0].filename == __file__
    SoftmaxRegression(C=1e4).fit(table, y)


def test_columns_whose_penalty_factor_is_zero_are_named():
    """Two of three copies have no penalty; the third keeps its coefficient."""
    x, y = np.random.default_rng(0).normal(size=(80, 1)), np.arange(80) % 2
    with pytest.warns(UserWarning, match=r"columns \[0, 2\] are not identified"):
        model = SoftmaxRegression(penalty_factor=[0, 1, 0]).fit(np.hstack([x, x, x]), y)
    assert model.coef_[0, 0] == pytest.approx(model.coef_[0, 2])
    with pytest.warns(UserWarning, match=r"columns \[0, 2\] are not identified"):
        SoftmaxRegressionCV([0.1, 1], penalty_factor=[0, 1, 0]).fit(np.hstack([x, x, x]), y)


def test_more_columns_than_rows_are_named():
    """The first ten, and how many more; a column that does not vary has the coefficient zero."""
    rng = np.random.default_rng(1)
    X, P = rng.normal(size=(20, 50)), rng.dirichlet([1, 1, 1], 20)
    X[:, 4] = 2
    with pytest.warns(UserWarning, match=r"8, 9, 10\] and 39 more are not identified"):
        model = SoftmaxRegression(C=np.inf).fit(X, P)
    assert model.converged_ and (model.coef_[:, 4] == 0).all()
