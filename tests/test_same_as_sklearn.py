"""The same parameters give the same minimiser as scikit-learn's LogisticRegression."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from problems import centred, objective, one_hot, overlapping
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    regularization_path,
)
from softreg.calibration import decide, prediction_sets, prior_shift, tune_thresholds
from softreg.inference import loo
from softreg.solvers import MiniBatch

CLASS_WEIGHTS = {2: {0: 0.3, 1: 2.0}, 3: {0: 0.3, 1: 2.0, 2: 1.0}}
# Zeros, counts and fractions; their sum is not the number of rows.
WEIGHTS = np.tile([0.0, 1.0, 2.0, 0.4, 3.5], 24)

# F is within tol F of its least value, and its curvature on these data is above 0.0016 in every
# direction, so coefficients agree to sqrt(2 tol F / 0.0016): below 1e-5, and over float32 data,
# where rounding of the descent hides more, below 1e-4.
TOL = {"float64": 1e-13, "float32": 1e-10}
AGREEMENT = {"float64": {"F": 1e-12, "coef": 1e-5}, "float32": {"F": 1e-9, "coef": 1e-4}}


@pytest.mark.factor("K", [2, 3])
@pytest.mark.factor("C", [0.01, 1.0, 100.0, np.inf])
@pytest.mark.factor("fit_intercept", [True, False])
@pytest.mark.factor("class_weight", [None, "balanced", "dict"])
@pytest.mark.factor("weights", ["one", "unequal"])
@pytest.mark.factor("container", ["dense", "csr"])
@pytest.mark.factor("dtype", ["float64", "float32"])
def test_every_combination_of_options_gives_the_minimiser_of_logistic_regression(
    K, C, fit_intercept, class_weight, weights, container, dtype
):
    """argmin F = argmin of LogisticRegression's objective, in F and in the coefficients."""
    X, y = overlapping(K=K, seed=K)
    X, Y = X.astype(dtype), one_hot(y)
    options = {"C": C, "fit_intercept": fit_intercept}
    sample_weight = WEIGHTS if weights == "unequal" else np.ones(len(y))
    balanced = dict(enumerate(sample_weight.sum() / (K * (sample_weight @ Y))))
    by_class = {None: dict.fromkeys(range(K), 1.0), "balanced": balanced, "dict": CLASS_WEIGHTS[K]}

    ours = SoftmaxRegression(
        tol=TOL[dtype],
        class_weight=CLASS_WEIGHTS[K] if class_weight == "dict" else class_weight,
        **options,
    )
    ours.fit(sp.csr_array(X) if container == "csr" else X, y, sample_weight=sample_weight)
    X = X.astype(float)
    # Balanced weights as numbers: older releases of scikit-learn balance rows, not weights.
    theirs = LogisticRegression(
        class_weight=by_class[class_weight], solver="newton-cholesky", tol=1e-12, **options
    )
    theirs.fit(X, y, sample_weight=sample_weight)

    counted = sample_weight * np.array(list(by_class[class_weight].values()))[y]
    reached, least = (
        objective(model.coef_, model.intercept_, X, Y, C, sample_weight=counted)
        for model in (ours, theirs)
    )
    assert reached <= least * (1 + AGREEMENT[dtype]["F"])
    for name in ("coef_", "intercept_"):
        mine, other = getattr(ours, name), centred(getattr(theirs, name))
        assert mine.shape == other.shape and mine.dtype == np.float64
        np.testing.assert_allclose(mine, other, rtol=0, atol=AGREEMENT[dtype]["coef"])


@pytest.mark.parametrize("K", [2, 3])
def test_every_method_answers_as_logistic_regression_does(K):
    """Scores, probabilities, labels and accuracy agree, in values and in shapes."""
    X, y = overlapping(K=K, seed=K)
    y = np.array(["ash", "birch", "cedar"])[y]
    ours = SoftmaxRegression(tol=1e-13).fit(X, y)
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(X, y)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        mine, other = getattr(ours, method)(X), getattr(theirs, method)(X)
        if method == "decision_function":
            other = centred(other.T).T if K > 2 else other
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.score(X, y, sample_weight=WEIGHTS) == theirs.score(X, y, sample_weight=WEIGHTS)


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_n_iter_is_an_array_as_that_of_logistic_regression(kind):
    """`n_iter_` is (1,) after any fit, by epochs or chunks, of the CV classes (n_ratios, n_Cs)."""
    X, y = overlapping()
    shape = LogisticRegression().fit(X, y).n_iter_.shape
    epochs = kind(solver=MiniBatch(n_epochs=3), random_state=0)
    for model, n_iter in (
        (kind().fit(X, y), None),
        (kind().fit_chunks([(X[:50], y[:50]), (X[50:], y[50:])]), None),
        (epochs.fit(X, y), 3),
        (kind().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y), 2),
    ):
        assert model.n_iter_.shape == shape == (1,) and model.n_iter_.dtype.kind == "i"
        assert model.n_iter_ == (n_iter or len(model.loss_curve_))
    chosen = (SoftmaxRegressionCV if kind is SoftmaxRegression else SigmoidRegressionCV)(4)
    assert chosen.fit(X, y).n_iter_.shape == (1, 4) and (chosen.n_iter_ >= 1).all()
    assert chosen.n_iter_[0, chosen.Cs_ == chosen.C_] == len(chosen.loss_curve_)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression, SoftmaxRegressionCV])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_sparse_coefficients_do_all_that_dense_ones_do(K, kind, container):
    """sparsify, densify: the same answers, also from a pickle and leave-one-out."""
    X, y = overlapping(K=K)
    X = container(X)
    model = kind().fit(X, y)
    coef, left_out = model.coef_, loo(model, X, y).probabilities
    methods = ("decision_function", "predict_proba", "predict_log_proba", "predict")
    dense = [getattr(model, method)(X) for method in methods]
    assert model.sparsify() is model and sp.issparse(model.coef_)
    assert model.coef_.format == LogisticRegression().fit(X, y).sparsify().coef_.format == "csr"
    for fitted in (model, model.sparsify(), pickle.loads(pickle.dumps(model))):
        for method, expected in zip(methods, dense, strict=True):
            np.testing.assert_allclose(getattr(fitted, method)(X), expected, rtol=1e-12)
        np.testing.assert_array_equal(fitted.predict_top_k(X, 1)[:, 0], dense[-1])
    assert model.score(X, y) == pytest.approx(kind().fit(X, y).score(X, y), rel=1e-12)
    np.testing.assert_allclose(loo(model, X, y).probabilities, left_out, rtol=1e-9)
    assert model.densify() is model
    np.testing.assert_array_equal(model.densify().coef_, coef)
    with pytest.raises(NotFittedError):
        kind().sparsify()
    with pytest.raises(NotFittedError):
        kind().densify()


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_fits_go_on_from_sparse_coefficients_as_from_dense_ones(kind):
    """A warm start and `partial_fit` after `sparsify` are those after none, bit for bit."""
    X, y = overlapping()
    warm = [kind(warm_start=True).fit(X, y) for _ in range(2)]
    streams = [kind(random_state=0).fit(X, y).partial_fit(X, y) for _ in range(2)]
    warm[1].sparsify(), streams[1].sparsify()
    for plain, sparsified in (
        [model.set_params(C=0.1).fit(X, y) for model in warm],
        [model.partial_fit(X, y) for model in streams],
        [
            kind(random_state=0).fit(X, y).partial_fit(X, y),
            kind(random_state=0).fit(X, y).sparsify().partial_fit(X, y),
        ],
    ):
        assert not sp.issparse(sparsified.coef_)
        np.testing.assert_array_equal(plain.coef_, sparsified.coef_)


SOLVERS = ["auto", "lbfgs", "newton", "sag", "minibatch"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_no_iterations_leave_the_null_model(kind, solver, container):
    """max_iter=0: coefficients zero, probabilities those of class frequencies, not converged."""
    X, y = overlapping()
    X = container(X)
    model = kind(solver=solver, max_iter=0, random_state=0)
    halves = [(X[:60], y[:60]), (X[60:], y[60:])]
    for fit in (lambda: model.fit(X, y), lambda: model.fit_chunks(halves)):
        with pytest.warns(ConvergenceWarning, match="max_iter=0") as caught:
            fit()
        assert len(caught) == 1 and model.n_iter_ == [0] and model.loss_curve_.shape == (0,)
        assert not model.coef_.any() and model.converged_ is False
        frequencies = np.broadcast_to(np.bincount(y) / len(y), (len(y), 3))
        np.testing.assert_allclose(model.predict_proba(X), frequencies, rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_no_iterations_leave_a_warm_start(kind, solver):
    """max_iter=0 with `warm_start`: the coefficients stay, and count as not converged."""
    X, y = overlapping()
    model = kind(solver=solver, warm_start=True, random_state=0).fit(X, y)
    coef, intercept = model.coef_, model.intercept_
    with pytest.warns(ConvergenceWarning, match="max_iter=0"):
        model.set_params(max_iter=0, C=0.1).fit(X, y)
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=0, atol=1e-12)
    assert model.converged_ is False and model.n_iter_ == [0]


@pytest.mark.parametrize("kind", [SoftmaxRegressionCV, SigmoidRegressionCV])
def test_no_iterations_leave_a_path_at_the_null_model(kind):
    """max_iter=0 at each C: one warning, coefficients zero, no C converged."""
    X, y = overlapping()
    with pytest.warns(ConvergenceWarning, match="max_iter=0") as caught:
        model = kind([0.1, 1.0], max_iter=0).fit(X, y)
    assert len(caught) == 1 and model.converged_ is False
    assert not model.coef_path_[0].any() and model.n_iter_.tolist() == [[0, 0]]
    assert not regularization_path(X, y, 2, estimator=SoftmaxRegression(max_iter=0)).converged.any()


TAKE_AN_ESTIMATOR = {
    "loo": loo,
    "tune_thresholds": tune_thresholds,
    "prediction_sets": prediction_sets,
    "decide": lambda estimator, X, y: decide(estimator, X, 1 - np.eye(3)),
    "prior_shift": lambda estimator, X, y: prior_shift(estimator, X_new=X),
    "regularization_path": lambda estimator, X, y: regularization_path(X, y, estimator=estimator),
}


@pytest.mark.parametrize("name", TAKE_AN_ESTIMATOR)
@pytest.mark.parametrize(
    "foreign",
    [
        LogisticRegression(C=3),
        LogisticRegression().fit(*overlapping()),
        make_pipeline(SigmoidRegression()),
        "model",
        SigmoidRegression,
    ],
    ids=str,
)
def test_an_estimator_of_another_kind_is_named_with_the_remedy(name, foreign):
    """A TypeError: who wants what, what it got, and `from_sklearn`."""
    X, y = overlapping()
    with pytest.raises(TypeError, match=f"^{name} needs .*, got ") as error:
        TAKE_AN_ESTIMATOR[name](foreign, X, y)
    assert repr(foreign) in str(error.value)
    assert "softreg.from_sklearn" in str(error.value) and "of a pipeline" in str(error.value)
