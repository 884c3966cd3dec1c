"""Influence of rows on fits: `softreg.inference.influence`."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
from problems import IGNORE_UNIDENTIFIED, one_hot, optimum, overlapping
from scipy.special import rel_entr, softmax
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.inference import infer, influence

# Fits as exact as they come: what is compared is then right to the accuracy asked for.
EXACT = {"C": np.inf, "tol": 1e-14}


def in_order(found):
    """Values of the rows in the order of X: leverage, Cook's distance, residuals; and dfbetas."""
    np.testing.assert_array_equal(found.rows.index, found.dfbetas.index)
    return found.rows.sort_index().to_numpy(), found.dfbetas.sort_index().to_numpy()


def by_hand(X, Y, start, C=np.inf, sample_weight=None, offset=0.0):
    """The same of each row, by dense matrices in contrasts to the first class, from near the fit.

    Pearson's is that of the row's residual in its covariance under the model, s h - s h B s h.
    `start` (K, d + 1) are coefficients and intercepts of the classes.
    """
    (n, K), s = Y.shape, np.ones(len(Y)) if sample_weight is None else sample_weight
    x = np.column_stack([X, np.ones(n)])
    # The penalty of rows that add up to zero, or of the one row of two classes.
    zero_sum = np.eye(K)[:, 1:] - 1 / K
    between = zero_sum.T @ zero_sum if K > 2 else np.eye(1)
    penalty = np.kron(between, np.diag(np.append(np.full(X.shape[1], 1 / C), 0)))
    beta = (start[1:] - start[0]).ravel()
    for _ in range(4):
        P = softmax(x @ np.vstack([np.zeros(x.shape[1]), beta.reshape(K - 1, -1)]).T + offset, 1)
        hessians = [np.diag(p) - np.outer(p, p) for p in P[:, 1:]]
        H = penalty + sum(map(np.kron, hessians, s[:, None, None] * x[:, :, None] * x[:, None]))
        gradient = ((s[:, None] * (Y - P)[:, 1:]).T @ x).ravel() - penalty @ beta
        beta = beta + np.linalg.solve(H, gradient)
    V, rows, dfbetas = np.linalg.inv(H), [], []
    for i in range(n):
        G, h, e = np.kron(np.eye(K - 1), x[i][:, None]), hessians[i], (Y - P)[i, 1:]
        hat = s[i] * h @ G.T @ V @ G
        d = V @ G @ np.linalg.solve(np.eye(K - 1) - hat, s[i] * e)
        residual_covariance = s[i] * h - s[i] ** 2 * h @ G.T @ V @ G @ h
        pearson = np.sqrt(s[i] ** 2 * e @ np.linalg.solve(residual_covariance, e))
        plain = np.sqrt(s[i] * e @ np.linalg.solve(h, e))
        deviance = np.sqrt(2 * s[i] * rel_entr(Y[i], P[i]).sum()) * pearson / plain
        sign = np.sign(e[0]) if K == 2 else 1
        rows.append([np.trace(hat), d @ H @ d, sign * pearson, sign * deviance])
        dfbetas.append(d / np.sqrt(V.diagonal()))
    rows = np.array(rows)
    rows[:, 1] /= rows[:, 0].sum()
    return rows, np.array(dfbetas)


def coefficients_of(model):
    """Coefficients beside intercepts of all classes, (K, d + 1)."""
    both = np.column_stack([model.coef_, model.intercept_])
    return both if len(both) > 1 else np.vstack([np.zeros(both.shape[1]), both])


# ---- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_offset", [False, True])
def test_two_classes_have_the_numbers_of_statsmodels(with_offset):
    """Leverage, Cook's distance, residuals and dfbetas of GLM and Logit."""
    X, y = overlapping(K=2)
    offset = np.random.default_rng(0).normal(size=len(y)) if with_offset else None
    found = influence(SoftmaxRegression(**EXACT).fit(X, y, offset=offset), X, y, offset=offset)
    rows, dfbetas = in_order(found)
    A, binomial = sm.add_constant(X, prepend=False), sm.families.Binomial()
    glm = sm.GLM(y, A, binomial, offset=offset).fit(tol=1e-13, tol_criterion="params")
    logit = sm.Logit(y, A, offset=offset).fit(disp=0, tol=1e-14)
    for fit in (glm, logit):
        of_fit = fit.get_influence()
        leverage = of_fit.hat_matrix_diag
        expected = [leverage, of_fit.cooks_distance[0], of_fit.resid_studentized]
        np.testing.assert_allclose(rows[:, :3], np.transpose(expected), rtol=1e-8)
        np.testing.assert_allclose(dfbetas, of_fit.dfbetas, rtol=1e-8)
    np.testing.assert_allclose(rows[:, 3], glm.resid_deviance / np.sqrt(1 - leverage), rtol=1e-8)


@pytest.mark.parametrize("terms", [{}, {"weighted": True, "offset": True}])
@pytest.mark.parametrize("C", [np.inf, 0.5])
@pytest.mark.parametrize("K", [2, 3, 4])
def test_values_are_those_of_dense_formulas(K, C, terms):
    """In contrasts to the first class, with the whole Hessian, row by row; also under a penalty."""
    (X, y), rng = overlapping(n=100, K=K, seed=2), np.random.default_rng(5)
    weight = rng.uniform(50, 200, 100) if terms.get("weighted") else None
    offset = rng.normal(size=(100, K) if K > 2 else 100) if terms.get("offset") else None
    model = SoftmaxRegression(C, tol=1e-14).fit(X, y, weight, offset)
    found = in_order(influence(model, X, y, weight, offset))
    both = np.column_stack([np.zeros(100), offset]) if K == 2 and terms else offset
    start, o = coefficients_of(model), 0.0 if offset is None else both
    expected = by_hand(X, one_hot(y), start, C, weight, o)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("K", [2, 3])
def test_columns_that_are_all_but_equal_keep_their_digits(K):
    """Rows are as far out in columns a and a + e b as in a and b."""
    X, y = overlapping(K=K)
    twin, e = X.copy(), 2.0**-22
    twin[:, 1] = X[:, 0] + e * X[:, 1]
    X[:, 1] = (twin[:, 1] - X[:, 0]) / e  # exact
    (expected, of_b), (found, of_twin) = (
        in_order(influence(SoftmaxRegression(**EXACT).fit(Z, y), Z, y)) for Z in (X, twin)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    u = X.shape[1] + 1  # the coefficient of b, over e, is that of the twin
    np.testing.assert_allclose(of_twin[:, 1::u], of_b[:, 1::u], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("K", [2, 3])
def test_shares_of_classes_have_the_values_of_dense_formulas(K):
    """Deviances are those of shares from probabilities, twice Kullback and Leibler's divergence."""
    X, Y = overlapping(n=60, K=K)[0], np.random.default_rng(1).dirichlet(np.ones(K), 60)
    Y[:5] = np.eye(K)[0]
    model = SoftmaxRegression(**EXACT).fit(X, Y)
    expected = by_hand(X, Y, coefficients_of(model))
    for one, other in zip(in_order(influence(model, X, Y)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_rows_that_matter_little_move_coefficients_as_fits_without_them_do():
    """Of half of the rows dfbetas are those of refits, in standard errors, to a tenth of them."""
    X, y = overlapping(n=150, seed=1)
    model = SoftmaxRegression(**EXACT).fit(X, y)
    found, errors = influence(model, X, y), infer(model, X, y).bse.to_numpy().T.ravel()

    def contrasts(rows):
        fit = optimum(X[rows], one_hot(y)[rows], np.inf)
        coefficients = np.column_stack([fit.coef, fit.intercept])
        return (coefficients[1:] - coefficients[0]).ravel()

    of_all, everything = contrasts(slice(None)), np.arange(150)
    little = found.rows.index[75:]
    moves = [(of_all - contrasts(everything != i)) / errors for i in little]
    np.testing.assert_allclose(
        found.dfbetas.loc[little], moves, atol=0.1 * np.abs(moves).max(), rtol=0
    )
    most = found.rows.index[0]
    move = np.abs(of_all - contrasts(everything != most)) / errors
    assert move.max() > 3 * np.abs(moves).max()


def test_rows_that_matter_most_come_first():
    """Cook's distances fall; indexes are those of X, and columns have names."""
    X, y = overlapping()
    frame = pd.DataFrame(X, [f"row {i}" for i in range(len(y))], list("abcd"))
    names = np.array(["left", "middle", "right"])[y]
    found = influence(SoftmaxRegression(np.inf).fit(frame, names), frame, names)
    assert (np.diff(found.rows["cooks_distance"]) <= 0).all()
    assert found.rows.columns.tolist() == ["leverage", "cooks_distance", "pearson", "deviance"]
    assert found.dfbetas.columns.names == ["class", "feature"]
    assert found.dfbetas.columns.tolist() == [
        (name, term) for name in ("middle", "right") for term in [*"abcd", "intercept"]
    ]
    same = influence(SoftmaxRegression(np.inf).fit(X, y), X, y)
    assert [f"row {i}" for i in same.rows.index] == found.rows.index.tolist()
    np.testing.assert_allclose(found.rows, same.rows, rtol=1e-9)
    np.testing.assert_allclose(found.dfbetas, same.dfbetas, atol=1e-9)


def test_leverages_add_up_to_the_number_of_parameters():
    """The effective one, under a penalty, with or without an intercept."""
    X, y = overlapping()
    for options, expected in (({"C": np.inf}, 2 * 5), ({"C": np.inf, "fit_intercept": False}, 8)):
        found = influence(SoftmaxRegression(**options).fit(X, y), X, y)
        assert found.rows["leverage"].sum() == pytest.approx(expected, rel=1e-9)
    model = SoftmaxRegression(0.1).fit(X, y)
    total = influence(model, X, y).rows["leverage"].sum()
    assert total == pytest.approx(infer(model, X, y).n_params, rel=1e-9) and total < 9


@pytest.mark.parametrize("reference", [2, "sum-to-zero"])
def test_dfbetas_are_those_of_contrasts_to_any_class(reference):
    """A contrast's move is the difference of those of two classes, over its own error."""
    X, y = overlapping()
    model = SoftmaxRegression(**EXACT).fit(X, y)
    to_first = influence(model, X, y).dfbetas.sort_index() * errors_of(infer(model, X, y))
    by_class = {0: 0.0, 1: to_first[1].to_numpy(), 2: to_first[2].to_numpy()}
    found = influence(model, X, y, reference=reference)
    result = infer(model, X, y, reference=reference)
    moves = found.dfbetas.sort_index() * errors_of(result)
    of_reference = by_class[2] if reference == 2 else sum(by_class.values()) / 3
    for name in result.shown_classes:
        np.testing.assert_allclose(moves[name], by_class[name] - of_reference, atol=1e-9)


def errors_of(result):
    """Standard errors in the order of `dfbetas`."""
    return result.bse.to_numpy().T.ravel()


# ---- Labels and weights -------------------------------------------------------------------------


def test_each_label_has_the_influence_of_its_own_fit():
    """On the rows where it is known; elsewhere there are no residuals, and no influence."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(80, 3))
    Y = (X @ rng.normal(size=(3, 2)) + rng.logistic(size=(80, 2)) > 0) * 1.0
    Y[:20, 0] = np.nan
    frame = pd.DataFrame(Y, columns=["red", "round"])
    found = influence(SigmoidRegression(**EXACT).fit(X, frame), X, frame)
    assert list(found) == ["red", "round"]
    for name, y in zip(found, Y.T, strict=True):
        known = ~np.isnan(y)
        alone = influence(SoftmaxRegression(**EXACT).fit(X[known], y[known]), X[known], y[known])
        for one, other in zip(in_order(found[name]), in_order(alone), strict=True):
            np.testing.assert_allclose(one[known], other, rtol=1e-7, atol=1e-9)
        rows, dfbetas = in_order(found[name])
        assert (rows[~known, :2] == 0).all() and (dfbetas[~known] == 0).all()
        assert np.isnan(rows[~known, 2:]).all()


def test_rows_of_weight_zero_are_rows_that_were_not_fitted():
    """They change nothing and depend on nothing; their residuals are those of the prediction."""
    X, y = overlapping(n=130, K=2)
    weight = np.where(np.arange(130) < 30, 0.0, 1.0)
    X[25:30] *= 1e200
    model = SoftmaxRegression(**EXACT).fit(X, y, weight)
    rows, dfbetas = in_order(influence(model, X, y, weight))
    alone = influence(SoftmaxRegression(**EXACT).fit(X[30:], y[30:]), X[30:], y[30:])
    for one, other in zip((rows, dfbetas), in_order(alone), strict=True):
        np.testing.assert_allclose(one[30:], other, rtol=1e-7, atol=1e-10)
    assert (rows[:30, :2] == 0).all() and (dfbetas[:30] == 0).all()
    p = model.predict_proba(X[:25])[:, 1]
    e = y[:25] - p
    np.testing.assert_allclose(rows[:25, 2], e / np.sqrt(p * (1 - p)), rtol=1e-7)
    deviance = np.sign(e) * np.sqrt(-2 * np.log(1 - np.abs(e)))
    np.testing.assert_allclose(rows[:25, 3], deviance, rtol=1e-7)


def test_a_row_that_counts_twice_has_the_leverage_of_two():
    """Weights that count rows: other rows have the same numbers."""
    X, y = overlapping(n=90)
    weight = np.where(np.arange(90) < 20, 2.0, 1.0)
    found = influence(SoftmaxRegression(**EXACT).fit(X, y, weight), X, y, weight)
    A, b = np.vstack([X, X[:20]]), np.append(y, y[:20])
    rows, twice = (
        in_order(found)[0],
        in_order(influence(SoftmaxRegression(**EXACT).fit(A, b), A, b)),
    )
    np.testing.assert_allclose(rows[:20, 0], 2 * twice[0][:20, 0], rtol=1e-7)
    np.testing.assert_allclose(rows[20:], twice[0][20:90], rtol=1e-7)


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_weights_of_any_size_have_the_same_leverage(size):
    """A weight that all rows share is a factor of their distances, and its root of residuals."""
    X, y = overlapping()
    expected = in_order(influence(SoftmaxRegression(**EXACT).fit(X, y), X, y))
    weight = np.full(len(y), size)
    rows, dfbetas = in_order(influence(SoftmaxRegression(**EXACT).fit(X, y, weight), X, y, weight))
    factors = [1, size, np.sqrt(size), np.sqrt(size)]
    np.testing.assert_allclose(rows, expected[0] * factors, rtol=1e-7)
    np.testing.assert_allclose(dfbetas, expected[1] * np.sqrt(size), rtol=1e-6)


def test_class_weights_are_weights_of_rows():
    """The same rows matter; errors are those of the sandwich, as weights count no rows."""
    X, y = overlapping()
    weight = np.array([1.0, 2.0, 0.5])[y]
    model = SoftmaxRegression(class_weight={0: 1.0, 1: 2.0, 2: 0.5}, **EXACT).fit(X, y)
    weighted = SoftmaxRegression(**EXACT).fit(X, y, weight)
    found, same = influence(model, X, y), influence(weighted, X, y, weight)
    np.testing.assert_allclose(found.rows, same.rows, rtol=1e-9)
    sandwich = errors_of(infer(weighted, X, y, sample_weight=weight, weights="probability"))
    ratio = errors_of(infer(weighted, X, y, sample_weight=weight)) / sandwich
    np.testing.assert_allclose(found.dfbetas, same.dfbetas * ratio, rtol=1e-7, atol=1e-10)


# ---- Kinds of X ---------------------------------------------------------------------------------


def test_the_kind_of_estimator_and_of_X_does_not_matter():
    """CSR, single precision, and a model chosen by cross-validation."""
    X, y = overlapping()
    X = np.where(X > 0, X, 0).astype(np.float32)
    expected = in_order(
        influence(SoftmaxRegression(1.0).fit(X.astype(float), y), X.astype(float), y)
    )
    rows, chosen = sp.csr_array(X), SoftmaxRegressionCV([1.0]).fit(X, y)
    for model, A in ((SoftmaxRegression(1.0).fit(rows, y), rows), (chosen, X)):
        for one, other in zip(in_order(influence(model, A, y)), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_rows_that_are_wide_have_the_effective_parameters_of_their_penalty():
    """More columns than rows: as with the whole Hessian of all columns."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(25, 40)), rng.integers(3, size=25)
    model = SoftmaxRegression(0.05, tol=1e-14).fit(X, y)
    expected = by_hand(X, one_hot(y), coefficients_of(model), 0.05)
    for one, other in zip(in_order(influence(model, X, y)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_many_rows_are_taken_in_blocks():
    """Each copy of a row of a small table has its share of the leverage of all of them."""
    X, y = overlapping(n=80)
    A, b, weight = np.tile(X, (250, 1)), np.tile(y, 250), np.full(80, 250.0)
    rows, dfbetas = in_order(influence(SoftmaxRegression(**EXACT).fit(A, b), A, b))
    found = influence(SoftmaxRegression(**EXACT).fit(X, y, weight), X, y, weight)
    np.testing.assert_allclose(rows[:, 0], np.tile(in_order(found)[0][:, 0] / 250, 250), rtol=1e-8)
    np.testing.assert_allclose(rows, np.tile(rows[:80], (250, 1)), rtol=1e-8)
    np.testing.assert_allclose(dfbetas, np.tile(dfbetas[:80], (250, 1)), rtol=1e-6, atol=1e-12)


@IGNORE_UNIDENTIFIED
def test_coefficients_that_the_data_leave_open_have_no_dfbetas():
    """Columns that repeat others, without a penalty; all else is as in the fit without them."""
    X, y = overlapping()
    more = np.column_stack([X, X[:, 0]])
    rows, dfbetas = in_order(influence(SoftmaxRegression(**EXACT).fit(more, y), more, y))
    expected = in_order(influence(SoftmaxRegression(**EXACT).fit(X, y), X, y))
    np.testing.assert_allclose(rows, expected[0], rtol=1e-6)
    is_open = np.tile([True, False, False, False, True, False], 2)
    assert np.isnan(dfbetas[:, is_open]).all()
    kept = np.tile([False, True, True, True, True], 2)
    np.testing.assert_allclose(dfbetas[:, ~is_open], expected[1][:, kept], rtol=1e-5, atol=1e-9)


def test_a_row_that_alone_decides_on_a_coefficient_has_finite_numbers():
    """Its leverage is one, and nothing is left of its residual."""
    rng = np.random.default_rng(0)
    X, Y = np.column_stack([rng.normal(size=30), np.arange(30) == 7]), rng.uniform(0.2, 0.8, 30)
    Y = np.column_stack([1 - Y, Y])
    rows, dfbetas = in_order(influence(SoftmaxRegression(**EXACT).fit(X, Y), X, Y))
    assert np.isfinite(rows).all() and np.isfinite(dfbetas).all()
    assert rows[7, 0] == pytest.approx(1, abs=1e-8)


# ---- What has no influence ----------------------------------------------------------------------


def test_what_has_no_standard_errors_is_refused():
    """Each in a sentence that says what to do instead."""
    X, y = overlapping()
    with pytest.raises(NotFittedError):
        influence(SoftmaxRegression(), X, y)
    with pytest.raises(TypeError, match=r"influence needs a fitted estimator of softreg"):
        influence(LogisticRegression().fit(X, y), X, y)
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="not at the optimum of these rows"):
        influence(model, X, y[::-1])
    with pytest.raises(ValueError, match=r"'dog' is not one of the classes"):
        influence(model, X, y, reference="dog")
    lasso = SoftmaxRegression(0.1, l1_ratio=1.0).fit(X, y)
    with pytest.raises(ValueError, match="L1 penalty.*l1_ratio=0"):
        influence(lasso, X, y)
