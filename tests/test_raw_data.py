"""The promise: columns in any units and defaults give the optimum, certified, without a warning."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import (
    IGNORE_UNIDENTIFIED,
    PROBLEMS,
    any_problem,
    objective,
    optimum,
    overlapping,
    solved,
)
from scipy import sparse
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning

from softreg import SoftmaxRegression
from softreg._estimators.posing import read_sample
from softreg._rows.threads import Limits, Threads

# What rounding adds to F, relative to F, on either side of a comparison.
ROUNDING = 1e-13
# Scores of some hundreds are rounded to this, and the loss is a difference of scores: where F is
# small, that is more than its share of F.
LOSS_ROUNDING = 1e-13


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_default_fit_reaches_the_optimum(name, C):
    """|F(coef_) - F*| <= 1e-8 F*, converged, no warning, every number finite."""
    X, y, Y, least = solved(name, C)
    model = SoftmaxRegression(C=C).fit(X, y)
    reached = objective(model.coef_, model.intercept_, X, Y, C)
    assert abs(reached / least - 1) <= 1e-8
    assert model.converged_
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()


@pytest.mark.factor("tol", [0.5, 1e-2, 1e-4, 1e-10])
@pytest.mark.factor("solver", ["lbfgs", "newton"])
@pytest.mark.factor("name", PROBLEMS)
def test_the_certificate_holds_wherever_the_fit_stops(name, solver, tol):
    """optimality_gap_ >= F(coef_) - F*, for coarse fits as for exact ones."""
    X, y, Y, least = solved(name, 1.0)
    model = SoftmaxRegression(solver=solver, tol=tol).fit(X, y)
    excess = objective(model.coef_, model.intercept_, X, Y) - least
    assert excess - ROUNDING * least - LOSS_ROUNDING <= model.optimality_gap_ < np.inf


@pytest.mark.parametrize("name", ["iris", "overlapping", "wide"])
def test_the_certificate_is_sharp_where_columns_have_like_scales(name):
    """optimality_gap_ <= 1e-6 F after a default fit: a bound that says something."""
    X, y, _, least = solved(name, 1.0)
    assert SoftmaxRegression().fit(X, y).optimality_gap_ <= 1e-6 * least


@given(problem=any_problem(), solver=st.sampled_from(["auto", "lbfgs", "newton"]))
def test_any_problem_is_solved_and_certified(problem, solver):
    """Whatever the shapes, units, weights and offsets: F is least, and what is said of it holds."""
    X, Y, parameters, terms = problem
    least = optimum(X, Y, **parameters, **terms).objective
    model = SoftmaxRegression(solver=solver, **parameters).fit(X, Y, **terms)
    penalty = {k: v for k, v in parameters.items() if k != "fit_intercept"}
    reached = objective(model.coef_, model.intercept_, X, Y, **penalty, **terms)
    assert model.converged_
    assert reached - least <= 1e-8 * least + LOSS_ROUNDING
    assert reached - least <= model.optimality_gap_ + 1e-10 * least + LOSS_ROUNDING
    assert model.objective_ == pytest.approx(reached, rel=1e-9, abs=LOSS_ROUNDING)


@given(problem=any_problem(), solver=st.sampled_from(["lbfgs", "newton"]))
def test_the_certificate_holds_after_a_single_iteration(problem, solver):
    """Far from the optimum, with every term of F in play, optimality_gap_ >= F(coef_) - F*."""
    X, Y, parameters, terms = problem
    least = optimum(X, Y, **parameters, **terms).objective
    model = SoftmaxRegression(solver=solver, max_iter=1, **parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y, **terms)
    assert [w.category for w in caught] == [ConvergenceWarning] * (not model.converged_)
    assert model.objective_ - least <= model.optimality_gap_ + 1e-11 * least + LOSS_ROUNDING


def test_the_certificate_counts_offsets_weights_and_penalty_factors():
    """optimality_gap_ >= F(coef_) - F* when every term of F is in play."""
    X, y, Y, _ = solved("overlapping", 1.0)
    rng = np.random.default_rng(0)
    terms = {"sample_weight": rng.uniform(0, 3, len(y)), "offset": rng.normal(size=Y.shape)}
    factor = np.array([0.1, 1.0, 5.0, 2.0])
    least = optimum(X, Y, penalty_factor=factor, **terms).objective
    for tol in (0.5, 1e-3, 1e-10):
        model = SoftmaxRegression(penalty_factor=factor, tol=tol).fit(X, y, **terms)
        W, b = model.coef_, model.intercept_
        excess = objective(W, b, X, Y, penalty_factor=factor, **terms) - least
        assert excess - ROUNDING * least - LOSS_ROUNDING <= model.optimality_gap_ <= 10 * least


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("name", ["one-hot groups", "constant and duplicated columns", "beans"])
def test_columns_that_determine_each_other_do_no_harm_without_a_penalty(name):
    """C = inf, many minimisers: the least F is reached with finite coefficients."""
    X, y, Y, _ = solved(name, 1.0)
    independent = {"one-hot groups": np.r_[1:6, 7:11], "constant and duplicated columns": range(4)}
    least = optimum(X[:, independent.get(name, slice(None))], Y, np.inf).objective
    model = SoftmaxRegression(C=np.inf).fit(X, y)
    assert abs(objective(model.coef_, model.intercept_, X, Y, np.inf) / least - 1) <= 1e-8
    assert model.converged_ and np.isfinite(model.coef_).all()


def test_rows_without_weight_say_nothing_of_separation():
    """C = inf: a far-off row of weight 0 changes neither the fit nor what is said of it."""
    X, y = overlapping(400)
    far = np.vstack([X, [[1e6, -1e6, 1e6, 1e6]]])
    model = SoftmaxRegression(C=np.inf).fit(far, np.append(y, 0), np.append(np.ones(400), 0))
    assert model.converged_
    np.testing.assert_allclose(model.coef_, SoftmaxRegression(C=np.inf).fit(X, y).coef_, atol=1e-3)


def test_moving_all_classes_alike_is_not_separation():
    """A column far from zero in single precision drags all scores together, which means nothing."""
    rng = np.random.default_rng(0)
    X, y = overlapping(2000, K=4)
    X = np.column_stack([X, 1e6 + rng.normal(size=2000)]).astype(np.float32)
    factor = [1, 0, 0, 0, 1]
    assert SoftmaxRegression(penalty_factor=factor).fit(sparse.csr_array(X), y).converged_


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_a_constant_column_is_no_feature_whatever_its_value(container):
    """Nor is the rounding of its mean: its coefficients are zero, weighted rows or not."""
    rng = np.random.default_rng(0)
    values = np.exp2(rng.uniform(-30, 30, 400)) * rng.choice([-1, 1], 400)
    X, y = overlapping(3000)
    X = container(np.hstack([X, np.tile(values, (len(X), 1))]))
    for weight in (None, rng.uniform(0, 1, len(y))):
        model = SoftmaxRegression(C=np.inf, max_iter=50).fit(X, y, weight)
        assert (model.coef_[:, 4:] == 0).all()


@pytest.mark.factor("name", PROBLEMS)
@pytest.mark.factor("solver", ["lbfgs", "newton"])
@pytest.mark.factor("budget", ["none", "small Gram matrix", "blocks"])
def test_without_a_hessian_that_fits_in_memory_the_optimum_is_reached_all_the_same(
    name, budget, solver
):
    """By the diagonal, with a step that balances the intercepts, the Gram matrix, or blocks."""
    X, y, Y, least = solved(name, 100.0)
    blocks = (X.shape[1] + 1) ** 2 * Y.shape[1]
    values = {"none": 0, "small Gram matrix": 13**2, "blocks": blocks}
    model = SoftmaxRegression(C=100.0, solver=solver)
    sample, _ = read_sample(model, X, y, None, None)
    with Threads(1, Limits(value_budget=values[budget])) as threads:
        result, _ = model._solve(sample.rows(True, threads), sample.encoding, {}, {})
    reached = objective(result.coef.T, result.intercept, X, Y, 100.0)
    assert reached - least <= 1e-8 * least + LOSS_ROUNDING
    assert result.converged.all() and result.gap.sum() <= 1e-8 * least + LOSS_ROUNDING


@pytest.mark.parametrize("name", PROBLEMS)
def test_raw_columns_of_single_precision_reach_the_optimum(name):
    """float32 data: F at the coefficients is within 1e-8 of those data's optimum."""
    X, y, Y, _ = solved(name, 1.0)
    single = X.astype(np.float32)
    least = optimum(single.astype(float), Y).objective
    model = SoftmaxRegression().fit(single, y)
    reached = objective(model.coef_, model.intercept_, single.astype(float), Y)
    assert abs(reached / least - 1) <= 1e-8


@pytest.mark.parametrize("kind", ["overlapping", "rare and nearly separated"])
def test_descents_of_large_tables_in_single_precision_lead_to_the_optimum(kind):
    """Columns of unlike units, collinear but for a millionth: F is that of double precision."""
    rng, n = np.random.default_rng(0), 40_000
    X = rng.normal(size=(n, 8)) * 10.0 ** np.arange(-3, 5) + 100
    X[:, 7] = X[:, 6] + X[:, 5] + 0.1 * rng.normal(size=n)
    steep = 1 if kind == "overlapping" else 6
    Z = steep * (X[:, :5] - 100) / 10.0 ** np.arange(-3, 2) + rng.logistic(size=(n, 5))
    Z[:, 4] -= 0 if kind == "overlapping" else 4 * steep
    y = Z.argmax(axis=1)
    model = SoftmaxRegression(solver="lbfgs").fit(X, y)
    least = optimum(X, np.eye(5)[y], 1.0).objective
    assert abs(model.objective_ / least - 1) <= 1e-8 and model.proven_


def test_rows_are_kept_in_single_precision_only_beside_those_in_double():
    """Both within the limit of what is kept; those in single precision stay as they are."""
    X, y = np.ones((100, 9)), np.arange(100) % 2
    for budget, dtype in ((100 * 10 * 12, np.float32), (100 * 10 * 12 - 1, np.float64)):
        sample, _ = read_sample(SoftmaxRegression(), X, y, None, None)
        rows = sample.rows(True, Threads(1, Limits(kept_bytes=budget)))
        assert rows.for_descents().dtype == dtype


def test_the_null_model_is_found_when_no_column_says_anything():
    """Constant columns only: probabilities are the class frequencies, coefficients zero."""
    y = np.repeat([0, 1, 2], [50, 30, 20])
    model = SoftmaxRegression().fit(np.full((100, 2), 3.0), y)
    np.testing.assert_allclose(model.predict_proba([[3.0, 3.0]])[0], [0.5, 0.3, 0.2], rtol=1e-6)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 6, 25])
def test_a_warm_start_worse_than_the_null_model_reaches_the_optimum(seed):
    """From coefficients of other data, wide X: the same F as without them."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(95, 115)) * 10.0 ** rng.integers(-4, 5, 115), rng.integers(0, 4, 95)
    others = 10 * rng.normal(size=(4, 115)) / X.std(axis=0)
    model = SoftmaxRegression(C=100, warm_start=True).fit(X, y)
    F = model.objective_
    model.coef_ = others
    assert model.fit(X, y).objective_ == pytest.approx(F, rel=1e-7) and model.converged_


@pytest.mark.parametrize("factor", [10.0, 1e3, 1e6])
def test_a_warm_start_from_other_units_reaches_the_optimum(factor):
    """Coefficients of other units saturate all rows at wrong answers; the optimum stays."""
    X, y = load_iris(return_X_y=True)
    model = SoftmaxRegression(warm_start=True).fit(X, y).fit(factor * X, y)
    cold = optimum(factor * X, np.eye(3)[y], 1.0)
    assert model.objective_ == pytest.approx(cold.objective, rel=1e-8)
    assert model.n_iter_ <= 200 and model.optimality_gap_ <= 1e-8 * model.objective_


@pytest.mark.factor("C", [1.0, 100.0, 1e4])
@pytest.mark.factor("size", [30.0, 60.0, 100.0, 150.0])
@pytest.mark.factor("seed", range(6))
def test_few_rows_with_offsets_of_some_size_have_their_optimum_proven(C, size, seed):
    """Where some rows are saturated at the start and some are not, steps may mislead."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 3))
    y = (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(12, 3))).argmax(axis=1)
    y[:3] = range(3)
    offset = X @ rng.normal(size=(3, 3))
    offset *= size / np.abs(offset).max()
    model = SoftmaxRegression(C=C).fit(X, y, offset=offset)
    assert model.converged_ and model.n_iter_ <= 100


def test_offsets_of_a_thousand_on_wide_rows_end_soon():
    """Rows that can all be fitted, where F falls towards zero at every temperature."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(6, 30)), np.arange(6) % 3
    offset = 1000 * (X @ rng.normal(size=(30, 3)) / np.sqrt(30))
    model = SoftmaxRegression(C=1e4).fit(X, y, offset=offset)
    assert model.converged_ and model.n_iter_ <= 100


@pytest.mark.parametrize("constant", [1e3, [1e6, -1e6, 0]])
def test_offsets_that_are_the_same_in_all_rows_take_no_more_iterations(constant):
    """The intercepts take them up: the optimum and the way there are those without."""
    X, y = load_iris(return_X_y=True)
    plain = SoftmaxRegression().fit(X, y)
    model = SoftmaxRegression().fit(X, y, offset=np.zeros((150, 3)) + constant)
    assert model.n_iter_ <= plain.n_iter_ + 1
    assert model.objective_ == pytest.approx(plain.objective_, rel=1e-8)


@pytest.mark.parametrize("eps", [1e-10, 1e-9, 1e-8])
@pytest.mark.parametrize("seed", range(3))
def test_nearly_collinear_columns_without_a_penalty_reach_the_optimum(eps, seed):
    """A fifth column that is all but a sum of the others: F is no greater than without it.

    Rounding decides whether that takes 20 or 800 iterations; a fit that creeps takes 10,000.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(100, 4))
    extra = X @ rng.normal(size=4) + eps * rng.normal(size=100)
    y = (X @ rng.normal(size=(4, 2)) + rng.gumbel(size=(100, 2))).argmax(axis=1)
    without = SoftmaxRegression(C=np.inf).fit(X, y)
    model = SoftmaxRegression(C=np.inf).fit(np.column_stack([X, extra]), y)
    assert model.objective_ <= without.objective_ * (1 + 1e-9) and model.n_iter_ <= 2000


def test_too_few_iterations_are_named_as_the_user_gave_them():
    """Also where the fit ends on its way through temperatures."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(3, size=60)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3 is too few"):
        model = SoftmaxRegression(max_iter=3).fit(X, y, offset=1000 * rng.normal(size=(60, 3)))
    assert model.n_iter_ == 3


@pytest.mark.parametrize("exponent", range(12, 19))
def test_a_penalty_that_is_next_to_none_is_no_reason_to_warn(exponent):
    """Separated classes, F of 1e-11 to 1e-14: converged, no worse than what other C lead to."""
    X, y = load_wine(return_X_y=True)
    C, Y = 10.0**exponent, np.eye(3)[y]
    model = SoftmaxRegression(C=C).fit(X, y)
    assert model.converged_
    other = SoftmaxRegression(C=1e10).fit(X, y)
    for times in (1, 1.1, 1.2, 1.3, 1.5):
        F = objective(times * other.coef_, times * other.intercept_, X, Y, C)
        assert model.objective_ <= F + LOSS_ROUNDING


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("seed", [3, 38, 62, 66, 83, 90])
def test_objective_is_that_of_the_stored_coefficients_of_fewer_rows_than_columns(seed):
    """Without a penalty too: what rounding leaves of rows that depend on others is no feature."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(3, 5)), rng.dirichlet(np.ones(3), 3)
    Y = Y if seed % 2 == 0 else 0.8 * np.eye(3)[rng.integers(3, size=3)] + 0.2 / 3
    weight = 10.0 ** rng.uniform(-2, 2, 3)
    model = SoftmaxRegression(C=np.inf).fit(X, Y, sample_weight=weight)
    stored = objective(model.coef_, model.intercept_, X, Y, np.inf, sample_weight=weight)
    assert abs(stored - model.objective_) <= 1e-10
    # Three rows reach any scores: the loss is that of the targets themselves.
    entropy = -(Y * np.log(Y)).sum(axis=1) @ weight / weight.sum()
    assert abs(model.objective_ - entropy) <= 1e-8 * entropy
