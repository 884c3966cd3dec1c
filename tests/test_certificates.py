"""Laws of the bound that the Hessian gives, and of what is called proven, with a penalty or not."""

import warnings

import numpy as np
import pytest
from parts import SOURCES, make, minimiser, shares, with_penalties
from problems import IGNORE_UNIDENTIFIED, one_hot, optimum
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV, regularization_path
from softreg._model.certificate import curvature_gap
from softreg._model.links import Sigmoid
from softreg.solvers.base import LOSS_ROUNDING

KINDS = with_penalties("L2", "no penalty")


@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("kind", KINDS)
@pytest.mark.factor("distance", [1e-4, 1e-2, 0.3])
def test_the_bound_from_the_hessian_is_above_the_distance_to_the_optimum(
    source_threads, kind, source, distance
):
    """F - F* <= gap everywhere, and gap <= 2 (F - F*) near the optimum, in units of F."""
    case = make(source_threads, kind[0], source, penalty=kind[1], weighted=True, offset=True)
    objective = case.objective
    T = minimiser(objective) + distance * case.direction()
    value, gradient = objective.value_and_gradient(T)
    gap, excess = curvature_gap(objective, T, gradient), value - case.least()
    assert (excess <= gap * (1 + 1e-9) + 1e-13).all()
    if distance < 1e-3:
        assert (gap <= 2 * excess + 1e-13).all()


@pytest.mark.parametrize("size", [0.1, 1.0, 3.0, 10.0, 30.0, 100.0])
def test_the_bound_never_says_that_separated_classes_have_an_optimum(one_thread, size):
    """F falls to zero along a ray that separates: no bound is below F, on the ray and beside it."""
    x = np.linspace(-1, 1, 12)[:, None]
    targets = Sigmoid(), shares(lambda rng, n: (x > 0) * 1.0)
    objective = make(one_thread, targets, X=x, penalty="no penalty", factors=np.ones(1)).objective
    T = np.array([[size], [0.1]])
    value, gradient = objective.value_and_gradient(T)
    assert (curvature_gap(objective, T, gradient) >= value).all()


# ---- What estimators say ------------------------------------------------------------------------


@pytest.mark.parametrize("degree", range(1, 7))
def test_powers_of_a_raw_column_are_proven(degree):
    """Columns from 1e3 to 1e19, hardly a penalty left on them, and still gap <= 1e-8 F."""
    X, y = load_wine(return_X_y=True)
    powers = X[:, [12]] ** np.arange(1, degree + 1)
    model = SoftmaxRegression().fit(powers, y)
    assert model.proven_ and model.optimality_gap_ <= 1e-8 * model.objective_
    # Without a penalty F is no larger, whatever basis spans the polynomials.
    basis = np.linalg.qr(np.vander(standardised(X[:, 12]), degree + 1))[0][:, :-1]
    assert model.objective_ >= optimum(basis, one_hot(y), np.inf).objective - 1e-12


def standardised(x):
    return (x - x.mean()) / x.std()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", ["lognormal", "standard_cauchy", "geometric"])
def test_classes_that_overlap_have_a_proven_optimum_without_a_penalty(law, seed):
    """Every row comes with every class, so that F is finite at its minimum alone: no warning."""
    rng = np.random.default_rng(seed)
    draw = getattr(rng, law)
    X = draw(*{"lognormal": (0, 2), "standard_cauchy": (), "geometric": (0.01,)}[law], (60, 4))
    X, y = np.tile(X, (3, 1)), np.repeat(np.arange(3), 60)
    weight = rng.uniform(0.01, 1, 180)
    model = SoftmaxRegression(C=np.inf).fit(X, y, sample_weight=weight)
    assert model.converged_ and model.proven_ and model.optimality_gap_ <= 1e-8 * model.objective_
    least = optimum(X, one_hot(y), np.inf, sample_weight=weight).objective
    assert abs(model.objective_ - least) <= 1e-8 * least


def test_smoothed_labels_have_a_proven_optimum_whatever_the_offsets():
    """No row's loss falls for ever: separated classes are no reason to warn."""
    X, y = np.linspace(-1, 1, 40)[:, None], np.repeat([0, 1], 20)
    offset = 5 * np.random.default_rng(0).normal(size=40)
    model = SoftmaxRegression(C=np.inf, label_smoothing=0.1).fit(X, y, offset=offset)
    assert model.converged_ and model.proven_


@IGNORE_UNIDENTIFIED
def test_categories_without_a_penalty_are_proven():
    """A column for each level, which add up to the intercept's: many minimisers, one F."""
    rng = np.random.default_rng(0)
    X, y = one_hot(rng.integers(5, size=400)), rng.integers(3, size=400)
    model = SoftmaxRegression(C=np.inf).fit(X, y)
    assert model.converged_ and model.proven_
    # At the optimum each level has the shares of its classes.
    shares_of_levels = (X.T @ one_hot(y)) / X.sum(axis=0)[:, None]
    np.testing.assert_allclose(model.predict_proba(np.eye(5)), shares_of_levels, atol=1e-6)


def test_labels_are_proven_one_by_one():
    """C = inf: the label that a column separates has no optimum, the others have proofs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    Y = np.column_stack([X[:, 0] > 0, rng.random((200, 2)) < 0.4]) * 1
    with pytest.warns(ConvergenceWarning, match="there is no optimum"):
        model = SigmoidRegression(C=np.inf).fit(X, Y)
    np.testing.assert_array_equal(model.label_proven_, [False, True, True])
    np.testing.assert_array_equal(np.isfinite(model.label_optimality_gap_), model.label_proven_)
    assert not model.proven_ and not model.converged_


@pytest.mark.parametrize("tol", [1e-12, 1e-9, 1e-3])
@pytest.mark.parametrize("degree", [3, 5, 7])
def test_proven_says_whether_the_gap_is_what_tol_asks_for(degree, tol):
    """proven_ is gap <= max(tol, 1e-8) F; converged_ is the stopping rule's word."""
    X, y = load_wine(return_X_y=True)
    powers = X[:, [12]] ** np.arange(1, degree + 1)
    model = SoftmaxRegression(tol=tol).fit(powers, y)
    asked = max(max(tol, 1e-8) * model.objective_, LOSS_ROUNDING)
    assert model.proven_ == (model.optimality_gap_ <= asked)


def test_paths_and_cross_validation_say_what_is_proven():
    """By the same rule as a fit: of each point of a path, and of the C chosen."""
    X, y = load_wine(return_X_y=True)
    path = regularization_path(X, y, [0.1, 1, 10])
    expected = path.optimality_gap <= 1e-8 * path.objective
    np.testing.assert_array_equal(path.proven, expected)
    np.testing.assert_array_equal(path.to_frame().groupby("C")["proven"].all(), expected)
    model = SoftmaxRegressionCV(3, cv=3).fit(X, y)
    assert model.proven_ == (model.optimality_gap_ <= 1e-8 * model.objective_)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_a_fit_that_is_asked_for_less_is_shorter_and_certified_to_that(solver, load):
    """A larger tol takes no more iterations, 1e-3 fewer than 1e-9, and each gap is within tol."""
    X, y = load(return_X_y=True)
    n_iter = []
    for tol in (1e-9, 1e-6, 1e-3, 1.0):
        model = SoftmaxRegression(solver=solver, tol=tol).fit(X, y)
        n_iter.append(model.n_iter_[0])
        assert model.converged_ and model.proven_
        assert model.optimality_gap_ <= max(tol, 1e-8) * model.objective_
    assert n_iter == sorted(n_iter, reverse=True) and n_iter[2] < n_iter[0]


def is_separated(X, y):
    """Whether some coefficients never lower what a row's class is ahead of others, and raise some.

    A linear program: then, and only then, F has no minimiser (Albert and Anderson 1984, "On the
    existence of maximum likelihood estimates in logistic regression models", Biometrika 71, 1-10).
    """
    deviation = np.abs(X - np.median(X, axis=0)).mean(axis=0)
    rows = np.column_stack([(X - np.median(X, axis=0)) / deviation, np.ones(len(X))])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    classes = np.eye(y.max() + 1)
    margins = np.array(
        [
            np.outer(classes[k] - other, x).ravel()
            for x, k in zip(rows, y, strict=True)
            for other in classes
        ]
    )
    program = linprog(-margins.sum(axis=0), -margins, np.zeros(len(margins)), bounds=(-1, 1))
    assert program.success
    return -program.fun > 1e-6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("law", ["normal", "lognormal", "standard_cauchy", "categories"])
def test_an_optimum_without_a_penalty_is_denied_where_a_linear_program_finds_a_separation(
    law, seed
):
    """No separation, and the optimum is proven; a separation, and a warning says there is none."""
    rng = np.random.default_rng(seed)
    if law == "categories":
        X = one_hot(rng.integers(4, size=40))
    else:
        X = getattr(rng, law)(size=(40, 3))
    scores = X @ rng.normal(size=(X.shape[1], 3)) * 2 + rng.gumbel(size=(40, 3))
    y = np.unique(scores.argmax(axis=1), return_inverse=True)[1]
    model = SoftmaxRegression(C=np.inf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert model.proven_ == model.converged_ == (not is_separated(X, y))
    assert ["there is no optimum" in str(w.message) for w in caught] == [True] * (not model.proven_)


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_a_class_without_weight_is_no_reason_to_deny_an_optimum(C):
    """It has probability zero, and F is that of the others without its rows.

    Two classes by themselves have one row of coefficients w, here w / 2 and -w / 2: half a penalty.
    """
    X, y = load_iris(return_X_y=True)
    seen = y > 0
    model = SoftmaxRegression(C=C).fit(X, y, sample_weight=1.0 * seen)
    alone = optimum(X[seen], one_hot(y[seen] - 1), 2 * C)
    assert model.converged_ and model.proven_
    assert abs(model.objective_ - alone.objective) <= 1e-8 * alone.objective


def test_saturated_rows_prove_nothing():
    """Offsets of 1e5 against the classes: no row has curvature, and F is far from its minimum."""
    x, y = np.arange(4.0)[:, None], np.array([0, 1, 0, 1])
    offset = np.where(y == 0, 1e5, -1e5)
    with pytest.warns(ConvergenceWarning):
        model = SoftmaxRegression(C=np.inf, max_iter=1).fit(x, y, offset=offset)
    whole = SoftmaxRegression(C=np.inf).fit(x, y, offset=offset)
    assert model.objective_ - model.optimality_gap_ <= whole.objective_ < 0.9 * model.objective_


@pytest.mark.parametrize("difference", [1e-14, 3e-13, 1e-12, 1e-6])
def test_two_columns_that_differ_in_their_last_digits_span_two_dimensions(difference):
    """Nothing is proven below the minimum with their difference, which is exact, in its place."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1, 1], 200) * rng.uniform(1, 2, 200)
    other = x * (1 + difference * rng.choice([-1, 1], 200))
    between, z = (other - x) / difference, rng.normal(size=200)
    y = (2 * between / x + 0.5 * x + z + rng.logistic(size=200) > 0).astype(int)
    least = optimum(np.column_stack([x, between, z]), one_hot(y), np.inf).objective
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SoftmaxRegression(C=np.inf).fit(np.column_stack([x, other, z]), y)
    assert model.objective_ - model.optimality_gap_ <= least + 1e-9


@pytest.mark.parametrize("max_iter", [1, 2, 4, 6, 8, None])
def test_a_class_that_has_lost_its_weight_counts_in_the_gap(max_iter):
    """From a fit with it: F - F*, F* being that of the other two classes, is within the gap."""
    X, y = np.arange(12.0)[:, None] % 5, np.arange(12) % 3
    model = SoftmaxRegression(C=0.01, warm_start=True).fit(X, y)
    model.max_iter = max_iter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=1.0 * (y < 2))
    # Two rows of coefficients share what one has there: half the penalty.
    least = optimum(X[y < 2], one_hot(y[y < 2]), 2 * 0.01).objective
    assert model.objective_ - model.optimality_gap_ <= least + 1e-12


@pytest.mark.parametrize("weight", [1e-13, 1e-11, 9e-11, 1e-9, 1e-7])
def test_a_class_with_next_to_no_weight_counts_in_the_gap(weight):
    """Its intercept is far from its optimum after a fit without it; no tolerance hides that."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    model = SoftmaxRegression(C=1e-3, warm_start=True, max_iter=1)
    weights = np.where(y == 2, weight, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=1.0 * (y < 2)).fit(X, y, sample_weight=weights)
    least = optimum(X, one_hot(y), 1e-3, sample_weight=weights).objective
    assert model.objective_ - model.optimality_gap_ <= least + 1e-11 * least
