"""The public face of SoftmaxRegression: shapes, types, targets, terms of F, fitted attributes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import centred, objective, one_hot, optimum, overlapping
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from softreg import SoftmaxRegression
from softreg.solvers import LBFGS, Newton

TREES = np.array(["ash", "birch", "cedar"])
# With tol = 1e-13 the coefficients of `overlapping` are those of the minimiser to 1e-5.
TIGHT = {"tol": 1e-13}


def soft_targets(n, K, seed=0):
    """Rows of probabilities, none of them certain."""
    return np.random.default_rng(seed).dirichlet(np.ones(K), size=n)


def assert_at(model, expected):
    """The coefficients and intercepts are those of an independently found optimum."""
    np.testing.assert_allclose(model.coef_, expected.coef, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, centred(expected.intercept), atol=1e-5)


# --- shapes and types ---------------------------------------------------------------------------


def test_two_classes_have_one_row_and_the_sigmoid_model():
    """K = 2: coef_ (1, d), scores (n,), P(second class) = sigmoid(score)."""
    X, y = overlapping(K=2)
    model = SoftmaxRegression().fit(X, TREES[y])
    z = model.decision_function(X)
    assert model.coef_.shape == (1, 4) and model.intercept_.shape == (1,) and z.shape == (120,)
    np.testing.assert_allclose(z, X @ model.coef_[0] + model.intercept_[0])
    np.testing.assert_allclose(model.predict_proba(X), np.column_stack([expit(-z), expit(z)]))
    np.testing.assert_array_equal(model.predict(X), TREES[(z > 0).astype(int)])


@pytest.mark.parametrize("C", [0.1, np.inf])
def test_more_classes_have_a_row_each_and_the_softmax_model(C):
    """K = 3: coef_ (K, d) with rows that sum to zero, scores (n, K), P = softmax(scores)."""
    X, y = overlapping(K=3)
    model = SoftmaxRegression(C=C).fit(X, TREES[y])
    Z = model.decision_function(X)
    assert model.coef_.shape == (3, 4) and model.intercept_.shape == (3,) and Z.shape == (120, 3)
    np.testing.assert_allclose(Z, X @ model.coef_.T + model.intercept_)
    np.testing.assert_allclose(model.predict_proba(X), softmax(Z, axis=1))
    np.testing.assert_array_equal(model.predict(X), TREES[Z.argmax(axis=1)])
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(model.intercept_.sum(), 0, atol=1e-8)


@pytest.mark.parametrize("K", [2, 3])
def test_log_probabilities_stay_finite_for_extreme_scores(K):
    """Scores of +-1e4 have the log probabilities of log_softmax: large, never -inf."""
    X, y = overlapping(K=K)
    model = SoftmaxRegression().fit(X, y)
    direction = model.coef_[-1] / (model.coef_[-1] @ model.coef_[-1])
    far = np.outer([1e4, -1e4], direction)
    Z, logP = model.decision_function(far), model.predict_log_proba(far)
    assert np.abs(Z).max() > 9e3
    expected = np.column_stack([log_expit(-Z), log_expit(Z)]) if K == 2 else log_softmax(Z, axis=1)
    assert np.isfinite(logP).all() and logP.min() < -5e3
    np.testing.assert_allclose(logP, expected)


@pytest.mark.parametrize(
    "labels",
    [
        TREES,
        TREES.astype(object),
        np.array([30, 10, 20]),
        np.array([False, True]),
        np.array([1.0, 2.0, 3.0]),
    ],
    ids=["str", "object", "int", "bool", "float"],
)
def test_labels_of_any_kind_come_back_as_they_went_in(labels):
    """classes_ are the sorted distinct labels, and predictions have their dtype."""
    X, y = overlapping(K=len(labels))
    model = SoftmaxRegression().fit(X, labels[y])
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == labels.dtype
    assert set(model.predict(X)) <= set(labels)


def test_a_pandas_categorical_is_a_target():
    """A Series of categories gives the model of its values; absent categories are no classes."""
    X, y = overlapping()
    series = pd.Series(pd.Categorical(TREES[y], categories=["cedar", "ash", "birch", "oak"]))
    model, plain = SoftmaxRegression().fit(X, series), SoftmaxRegression().fit(X, TREES[y])
    np.testing.assert_array_equal(model.classes_, plain.classes_)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X))


@pytest.mark.factor("dtype", [np.float32, np.float64])
@pytest.mark.factor("container", [np.asarray, sp.csr_array, sp.csr_matrix, pd.DataFrame])
@pytest.mark.factor("K", [2, 3])
def test_predictions_have_the_dtype_of_the_data_and_coefficients_are_doubles(K, container, dtype):
    """float32 in, float32 out; float64 in, float64 out: scores, probabilities."""
    X, y = overlapping(K=K)
    X = container(X.astype(dtype))
    model = SoftmaxRegression().fit(X, y)
    results = [getattr(model, m)(X) for m in ("decision_function", "predict_proba")]
    results += [
        model.predict_log_proba(X),
        model.predict_proba(X, offset=model.decision_function(X)),
    ]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    assert model.coef_.dtype == model.intercept_.dtype == np.float64


def test_integer_columns_are_fitted_in_double_precision():
    """An integer X gives the model of the same numbers in float64."""
    X, y = overlapping()
    counts = np.round(X * 3).astype(int)
    model, same = SoftmaxRegression().fit(counts, y), SoftmaxRegression().fit(counts * 1.0, y)
    assert model.coef_.dtype == np.float64
    np.testing.assert_array_equal(model.coef_, same.coef_)


def test_column_names_are_kept():
    """A DataFrame's column names become feature_names_in_; an array leaves none."""
    X, y = overlapping()
    names = ["size", "age", "cost", "mass"]
    model = SoftmaxRegression().fit(pd.DataFrame(X, columns=names), y)
    np.testing.assert_array_equal(model.feature_names_in_, names)
    assert model.n_features_in_ == 4
    assert not hasattr(model.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "score"])
def test_nothing_is_predicted_before_a_fit(method):
    """Every method of the predict family raises NotFittedError first."""
    X, y = overlapping()
    with pytest.raises(NotFittedError):
        getattr(SoftmaxRegression(), method)(*((X, y) if method == "score" else (X,)))


# --- soft targets -------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_soft_targets_equal_every_row_repeated_for_each_class(K):
    """A row with probabilities y_k is K rows of labels k with weights y_k."""
    X, _ = overlapping(K=K)
    Y = soft_targets(120, K)
    model = SoftmaxRegression(**TIGHT).fit(X, Y)
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-12)
    theirs.fit(np.repeat(X, K, axis=0), np.tile(np.arange(K), 120), sample_weight=Y.ravel())
    np.testing.assert_allclose(model.coef_, centred(theirs.coef_), atol=1e-5)
    np.testing.assert_allclose(model.intercept_, centred(theirs.intercept_), atol=1e-5)
    np.testing.assert_array_equal(model.classes_, np.arange(K))


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("dtype", [float, int, bool])
def test_an_indicator_matrix_with_one_1_a_row_equals_labels(K, dtype):
    """A 0/1 matrix with exactly one 1 a row gives the fit of the labels it encodes."""
    X, y = overlapping(K=K)
    soft, hard = SoftmaxRegression().fit(X, one_hot(y).astype(dtype)), SoftmaxRegression().fit(X, y)
    np.testing.assert_allclose(soft.coef_, hard.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(soft.predict(X), hard.predict(X))


def test_the_columns_of_a_frame_of_soft_targets_name_the_classes():
    """classes_ are the DataFrame's columns in their order, and predictions use them."""
    X, _ = overlapping()
    Y = pd.DataFrame(soft_targets(120, 3), columns=["cedar", "ash", "birch"])
    model = SoftmaxRegression().fit(X, Y)
    assert list(model.classes_) == ["cedar", "ash", "birch"]
    np.testing.assert_array_equal(
        model.predict(X), np.array(Y.columns)[model.predict_proba(X).argmax(axis=1)]
    )


def test_classes_name_the_columns_of_a_matrix_of_soft_targets():
    """classes=(...) gives the columns of a plain matrix their labels, in their order."""
    X, _ = overlapping()
    Y = soft_targets(120, 3)
    named = SoftmaxRegression(classes=["cedar", "ash", "birch"]).fit(X, Y)
    plain = SoftmaxRegression().fit(X, Y)
    assert list(named.classes_) == ["cedar", "ash", "birch"]
    np.testing.assert_array_equal(named.coef_, plain.coef_)
    np.testing.assert_array_equal(named.predict(X), named.classes_[plain.predict(X)])


# --- the terms of F -----------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_an_offset_is_added_to_the_scores_while_fitting(K):
    """The minimiser of F with offset o is that of the formula, shape as decision_function's."""
    X, y = overlapping(K=K)
    offset = np.random.default_rng(1).normal(size=(120, K) if K > 2 else 120)
    model = SoftmaxRegression(**TIGHT).fit(X, y, offset=offset)
    assert_at(model, optimum(X, one_hot(y), offset=offset))


@pytest.mark.parametrize("K", [2, 3])
def test_an_offset_is_added_to_the_scores_while_predicting(K):
    """decision_function(X, o) = decision_function(X) + o, and the rest follows from it."""
    X, y = overlapping(K=K)
    offset = 3 * np.random.default_rng(2).normal(size=(120, K) if K > 2 else 120)
    model = SoftmaxRegression().fit(X, y)
    Z = model.decision_function(X) + offset
    P = softmax(Z, axis=1) if K > 2 else np.column_stack([expit(-Z), expit(Z)])
    np.testing.assert_allclose(model.decision_function(X, offset=offset), Z)
    np.testing.assert_allclose(model.predict_proba(X, offset=offset), P)
    np.testing.assert_allclose(model.predict_log_proba(X, offset=offset), np.log(P))
    np.testing.assert_array_equal(model.predict(X, offset=offset), P.argmax(axis=1))
    assert model.score(X, y, offset=offset) == np.mean(P.argmax(axis=1) == y)


def test_the_score_is_the_weighted_accuracy():
    """score = the share of the weight whose class is predicted."""
    X, y = overlapping()
    weight = np.random.default_rng(3).uniform(size=120)
    model = SoftmaxRegression().fit(X, y)
    expected = accuracy_score(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, sample_weight=weight) == pytest.approx(expected)


@pytest.mark.parametrize("K", [2, 3])
def test_label_smoothing_moves_targets_towards_the_uniform_distribution(K):
    """y becomes (1 - a) y + a / K."""
    X, y = overlapping(K=K)
    model = SoftmaxRegression(label_smoothing=0.2, **TIGHT).fit(X, y)
    assert_at(model, optimum(X, 0.8 * one_hot(y) + 0.2 / K))


@pytest.mark.parametrize("K", [2, 3])
def test_the_penalty_factor_scales_each_features_penalty(K):
    """f_j multiplies ||W_.j||^2 in the penalty; 0 leaves a feature unpenalised."""
    X, y = overlapping(K=K)
    factor = [0, 0.5, 1, 20]
    model = SoftmaxRegression(C=0.05, penalty_factor=factor, **TIGHT).fit(X, y)
    assert_at(model, optimum(X, one_hot(y), 0.05, penalty_factor=factor))


def test_class_weights_multiply_sample_weights():
    """class_weight = {k: c} is sample_weight times c on the rows of class k."""
    X, y = overlapping()
    weight = np.random.default_rng(4).uniform(size=120)
    by_class = {"ash": 3.0, "birch": 0.5, "cedar": 2.0}
    model = SoftmaxRegression(class_weight=by_class, **TIGHT)
    model.fit(X, TREES[y], sample_weight=weight)
    counted = weight * np.array(list(by_class.values()))[y]
    assert_at(model, optimum(X, one_hot(y), sample_weight=counted))


def test_balanced_class_weights_give_every_class_the_same_total():
    """class_weight="balanced" weighs class k by S / (K S_k), S_k the weight of its rows."""
    X, y = overlapping()
    weight = np.random.default_rng(5).uniform(size=120)
    model = SoftmaxRegression(class_weight="balanced", **TIGHT).fit(X, y, sample_weight=weight)
    totals = np.bincount(y, weights=weight)
    counted = weight * (weight.sum() / (3 * totals))[y]
    assert_at(model, optimum(X, one_hot(y), sample_weight=counted))


def test_class_weights_weigh_the_shares_of_soft_targets():
    """A row's loss is sum_k c_k y_k (-log p_k), as if each share were a row of its own."""
    X, _ = overlapping()
    Y, by_class = soft_targets(120, 3), {0: 3.0, 1: 0.5, 2: 2.0}
    model = SoftmaxRegression(class_weight=by_class, **TIGHT).fit(X, Y)
    shares = Y * list(by_class.values())
    totals = shares.sum(axis=1)
    assert_at(model, optimum(X, shares / totals[:, None], sample_weight=totals))


# --- solvers, iterations, attributes ------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "ran"),
    [("lbfgs", LBFGS), ("newton", Newton), (LBFGS(), LBFGS), (Newton(), Newton)],
    ids=["lbfgs", "newton", "LBFGS()", "Newton()"],
)
def test_a_solver_is_named_or_configured(solver, ran):
    """A name and a default configuration mean the same; solver_ is the one that ran."""
    X, y = overlapping()
    model = SoftmaxRegression(solver=solver).fit(X, y)
    assert isinstance(model.solver_, ran)
    assert model.solver_.get_params() == ran().get_params()


def test_auto_says_which_solver_it_chose():
    """solver="auto" leaves in solver_ a configuration that reproduces the fit."""
    X, y = overlapping()
    model = SoftmaxRegression().fit(X, y)
    again = SoftmaxRegression(solver=clone(model.solver_)).fit(X, y)
    assert model.solver == "auto" and isinstance(model.solver_, LBFGS | Newton)
    np.testing.assert_array_equal(model.coef_, again.coef_)
    assert model.n_iter_ == again.n_iter_


def test_the_solver_a_user_passes_is_not_altered():
    """fit leaves the configuration object in `solver` as it was."""
    X, y = overlapping()
    solver = Newton()
    model = SoftmaxRegression(solver=solver).fit(X, y)
    assert model.solver is solver
    assert vars(solver) == vars(Newton())


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
@pytest.mark.parametrize("K", [2, 3])
def test_the_fitted_attributes_describe_the_fit(K, solver):
    """objective_ is F(coef_), the curve descends to it, and every attribute has its type."""
    X, y = overlapping(K=K)
    model = SoftmaxRegression(C=0.3, solver=solver).fit(X, y)
    F = objective(model.coef_, model.intercept_, X, one_hot(y), 0.3)
    assert model.objective_ == pytest.approx(F, rel=1e-12) and isinstance(model.objective_, float)
    assert isinstance(model.optimality_gap_, float) and model.optimality_gap_ >= 0
    assert model.converged_ is True
    assert model.n_iter_.shape == (1,) and model.n_iter_ >= 1
    assert model.loss_curve_.ndim == 1
    assert model.loss_curve_[0] > model.loss_curve_[-1] == pytest.approx(F, rel=1e-9)
    assert (np.diff(model.loss_curve_) <= 1e-9 * F).all()


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_too_few_iterations_are_one_warning_and_no_claim_of_convergence(solver):
    """max_iter reached: exactly one ConvergenceWarning that says max_iter, converged_ False."""
    X, y = overlapping()
    model = SoftmaxRegression(solver=solver, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        model.fit(X, y)
    assert len(caught) == 1
    assert model.converged_ is False and model.n_iter_ == 1
    assert model.optimality_gap_ >= model.objective_ - optimum(X, one_hot(y)).objective > 0


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_a_smaller_tol_comes_closer(solver):
    """tol bounds the relative excess: each tol's excess is below it, times an estimate's slack."""
    X, y = overlapping()
    least = optimum(X, one_hot(y)).objective
    for tol in (1e-2, 1e-5, 1e-8, 1e-12):
        model = SoftmaxRegression(solver=solver, tol=tol).fit(X, y)
        F = objective(model.coef_, model.intercept_, X, one_hot(y))
        assert F / least - 1 <= 10 * tol


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
@pytest.mark.parametrize("K", [2, 3])
def test_a_warm_start_goes_on_from_the_last_fit(K, solver):
    """Fitting again from the optimum takes fewer iterations and stays at it."""
    X, y = overlapping(K=K)
    model = SoftmaxRegression(solver=solver, tol=1e-12, warm_start=True).fit(X, y)
    cold, coef = model.n_iter_, model.coef_.copy()
    assert model.fit(X, y).n_iter_ < cold
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)


def test_without_a_warm_start_the_last_fit_leaves_no_trace():
    """warm_start=False: a second fit repeats the first, whatever came between."""
    X, y = overlapping()
    first = SoftmaxRegression().fit(X, y)
    again = SoftmaxRegression(C=50).fit(X[:, ::-1], y).set_params(C=1.0).fit(X, y)
    np.testing.assert_array_equal(first.coef_, again.coef_)
    assert first.n_iter_ == again.n_iter_


def test_a_warm_start_from_another_problem_reaches_this_ones_optimum():
    """A warm start changes where a fit begins, never where it ends."""
    X, y = overlapping()
    model = SoftmaxRegression(C=100, warm_start=True, **TIGHT).fit(X, y).set_params(C=0.1)
    assert_at(model.fit(X, y), optimum(X, one_hot(y), 0.1))


def test_verbose_reports_and_silence_is_the_default(capsys):
    """verbose=0 prints nothing; verbose=1 prints the objective's way down."""
    X, y = overlapping()
    SoftmaxRegression().fit(X, y)
    assert capsys.readouterr().out == ""
    SoftmaxRegression(verbose=1).fit(X, y)
    assert capsys.readouterr().out.strip()


def test_without_an_intercept_the_scores_of_the_origin_are_zero():
    """fit_intercept=False: intercept_ is zero, of the usual shape."""
    for K, shape in ((2, (1,)), (3, (3,))):
        X, y = overlapping(K=K)
        model = SoftmaxRegression(fit_intercept=False).fit(X, y)
        np.testing.assert_array_equal(model.intercept_, np.zeros(shape))
        assert_at(model.set_params(**TIGHT).fit(X, y), optimum(X, one_hot(y), fit_intercept=False))
