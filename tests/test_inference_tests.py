"""Tests of coefficients and of what a fit leaves out: `softreg.inference.wald` and others."""

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse, stats
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from statsmodels.datasets import anes96
from statsmodels.stats.multitest import multipletests

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV, inference
from softreg.inference import (
    independence,
    infer,
    joint,
    likelihood_ratio,
    merge_test,
    score_test,
    wald,
)

FREE = {"C": np.inf, "tol": 1e-14}


def fitted(X, y, columns=None, **options):
    """The result of infer for some columns, unpenalised."""
    X = X if columns is None else X[columns]
    return infer(SoftmaxRegression(**FREE).fit(X, y), X, y, **options)


@pytest.fixture(scope="module")
def election():
    """The American National Election Study of 1996: X, y."""
    data = anes96.load_pandas().data
    X = data.assign(logpopul=np.log(data["popul"] + 0.1))
    return X[["logpopul", "selfLR", "age", "educ", "income"]], data["PID"].astype(int)


@pytest.fixture(scope="module")
def of_election(election):
    return fitted(*election)


@pytest.fixture(scope="module")
def theirs(election):
    """Statsmodels' fit of the same."""
    X, y = election
    return sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(method="newton", maxiter=50, disp=0)


def theirs_of(fit, R, values=0.0):
    """Wald's statistic by the formula, from statsmodels' coefficients and covariance."""
    excess = R @ np.asarray(fit.params).T.ravel() - values
    return excess @ np.linalg.solve(R @ np.asarray(fit.cov_params()) @ R.T, excess)


def simulated(n=300, seed=0):
    """X with four columns and y of three classes with odd names."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(size=(n, 4)), columns=["x", "-x", "x - y", "a[x] = 2"])
    Z = X.to_numpy() @ random.normal(size=(4, 3)) / 2 + random.gumbel(size=(n, 3))
    return X, np.array(["a", "2 * a", "b[x], c"])[Z.argmax(axis=1)]


# ---- Wald ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms", "value"),
    [
        ("3[educ] = 0", [{(3, 3): 1}], 0),
        ("3[educ]", [{(3, 3): 1}], 0),
        ("1[age] = 2[age]", [{(1, 2): 1, (2, 2): -1}], 0),
        ("2 * 1[age] - 3[educ] = .5", [{(1, 2): 2, (3, 3): -1}], 0.5),
        ("-1[age]+1e-1*2[age]=-2e-3", [{(1, 2): -1, (2, 2): 0.1}], -0.002),
        ("1 = 1[educ] - -2 * 2[educ]", [{(1, 3): -1, (2, 3): -2}], -1),
        ("4[age] = 0[age]", [{(4, 2): 1}], 0),
        ("6[intercept] = -12", [{(6, 5): 1}], -12),
        ("1[age] = 2[age] = 3[age]", [{(1, 2): 1, (2, 2): -1}, {(2, 2): 1, (3, 2): -1}], 0),
        ("1[age] = 2[age], 3[educ]", [{(1, 2): 1, (2, 2): -1}, {(3, 3): 1}], 0),
        ("age = 0", [{(k, 2): 1} for k in range(1, 7)], 0),
        ("educ - 2 * income = .1", [{(k, 3): 1, (k, 4): -2} for k in range(1, 7)], 0.1),
    ],
)
def test_restrictions_are_read_as_they_are_written(of_election, theirs, text, terms, value):
    """Texts give the statistic of their matrix, by statsmodels' numbers and the formula."""
    R = np.zeros((len(terms), 36))
    for row, factors in zip(R, terms, strict=True):
        for (k, j), factor in factors.items():
            row[6 * (k - 1) + j] = factor
    for found in (wald(of_election, text), wald(of_election, R, np.full(len(R), value))):
        assert found.df == len(R)
        assert found.statistic == pytest.approx(theirs_of(theirs, R, value), rel=1e-5)
        assert found.p == pytest.approx(stats.chi2.sf(found.statistic, found.df), rel=1e-10)
    assert text in str(wald(of_election, text))


def test_statsmodels_gives_the_same_wald_tests_of_two_classes(election):
    """Logit's own wald_test, of one restriction and of several with values."""
    X, y = election
    codes = (y > 2).astype(int)
    fit = sm.Logit(codes, sm.add_constant(X, prepend=False)).fit(disp=0, tol=1e-12)
    result = fitted(X, codes)
    for texts, formula in [
        ("age = 0.01", "age = 0.01"),
        (["age = 0.01", "educ - 2 * income = 0"], "age = 0.01, educ - 2 * income = 0"),
    ]:
        expected, found = fit.wald_test(formula, scalar=True, use_f=False), wald(result, texts)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "terms", "value"),
    [
        ("2 * a[x - y]", [{("2 * a", "x - y"): 1}], 0),
        ("3 * 2 * a[-x] = b[x], c[-x]", [{("2 * a", "-x"): 3, ("b[x], c", "-x"): -1}], 0),
        ("b[x], c[a[x] = 2] = 2", [{("b[x], c", "a[x] = 2"): 1}], 2),
        ("a[x] = 2 = 1", [{(name, "a[x] = 2"): 1} for name in ("2 * a", "b[x], c")], 1),
        ("-x = 1", [{(name, "-x"): 1} for name in ("2 * a", "b[x], c")], 1),
        ("- x = 1", [{(name, "x"): -1} for name in ("2 * a", "b[x], c")], 1),
        ("x - y = 1", [{(name, "x - y"): 1} for name in ("2 * a", "b[x], c")], 1),
    ],
)
def test_names_may_be_any_text(text, terms, value):
    """Signs, brackets, commas and equations within names: the longest name that fits is read."""
    X, y = simulated()
    result = fitted(X, y)
    assert result.reference == "2 * a"
    result = result.against("a")
    R = pd.DataFrame(0.0, index=range(len(terms)), columns=result.covariance.columns)
    for row, factors in enumerate(terms):
        for name, factor in factors.items():
            R.loc[row, name] = factor
    expected = wald(result, R.to_numpy(), np.full(len(R), value))
    assert wald(result, text).statistic == pytest.approx(expected.statistic, rel=1e-12)


def test_a_number_by_itself_is_no_feature():
    """Columns named 1 and 2 are read within brackets alone: elsewhere they are numbers."""
    X, y = simulated()
    result = fitted(X.set_axis(["1", "2", "x", "z"], axis=1), y)
    R = np.zeros((1, 10))
    R[0, [1, 6]] = 3, -1  # the second column's coefficients of "a" and "b[x], c"
    expected = wald(result, R, [1]).statistic
    assert wald(result, "3 * a[2] - b[x], c[2] = 1").statistic == pytest.approx(expected)
    with pytest.raises(ValueError, match="restricts no coefficient"):
        wald(result, "2 = 1")


@pytest.mark.parametrize("reference", [0, 3, "sum-to-zero"])
def test_tests_between_classes_do_not_depend_on_the_reference(of_election, reference):
    """Equations of differences, joint tests and merged classes, whatever the contrasts are to."""
    other = of_election.against(reference)
    for text in ("1[age] = 2[age]", ["1[age] = 0[age]", "5[educ] - 4[educ] = 0.01"]):
        expected = wald(of_election, text)
        assert wald(other, text).statistic == pytest.approx(expected.statistic, rel=1e-8)
    assert wald(other, "age").statistic == pytest.approx(wald(of_election, "age").statistic)
    assert wald(other, "age").df == 6  # seven of sum-to-zero contrasts, of which one follows
    pd.testing.assert_frame_equal(joint(other), joint(of_election))


def test_redundant_restrictions_do_not_count(of_election):
    """What follows from others changes neither the statistic nor the degrees of freedom."""
    texts = ["1[age] = 2[age]", "2[age] = 3[age]"]
    more = [*texts, "1[age] = 3[age]", "2 * 3[age] = 2 * 1[age]", "0[age] = 0"]
    assert wald(of_election, more).df == 2
    expected = wald(of_election, texts).statistic
    assert wald(of_election, more).statistic == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("covariance", ["hessian", "sandwich", "cluster", "bootstrap"])
def test_tests_are_made_with_the_covariance_of_the_result(election, covariance):
    """Wald, joint and merged tests are the formula with the covariance that was asked for."""
    X, y = election
    options = {"groups": np.arange(len(y)) % 200} if covariance == "cluster" else {}
    options |= {"n_resamples": 100, "random_state": 0} if covariance == "bootstrap" else {}
    result = fitted(X, y, covariance=covariance, **options)
    params, V = result.params, result.covariance
    names = [(k, "age") for k in params.columns]
    age, V_age = params.loc["age"], V.loc[names, names]
    expected = age @ np.linalg.solve(V_age, age)
    assert wald(result, "age").statistic == pytest.approx(expected, rel=1e-8)
    assert joint(result).loc["age", "statistic"] == pytest.approx(expected, rel=1e-8)
    change = (params[2] - params[1])[list(X.columns)]
    blocks = V.to_numpy().reshape(6, 6, 6, 6)[:, :5, :, :5]  # (class, feature, class, feature)
    V_change = blocks[0, :, 0] + blocks[1, :, 1] - blocks[0, :, 1] - blocks[1, :, 0]
    expected = change @ np.linalg.solve(V_change, change)
    assert merge_test(result, 1, 2).statistic == pytest.approx(expected, rel=1e-8)
    assert merge_test(result, 1, 2).df == 5


def test_a_label_is_tested_by_itself():
    """One of several labels has the tests of a two-class model; all of them are refused."""
    X, y = simulated()
    Y = np.column_stack([y == "a", y == "2 * a"]).astype(int)
    results = infer(SigmoidRegression(**FREE).fit(X, Y), X, Y)
    for label in (0, 1):
        alone = fitted(X, Y[:, label])
        expected = wald(alone, ["x", "-x = 0.2"]).statistic
        assert wald(results[label], ["x", "-x = 0.2"]).statistic == pytest.approx(
            expected, rel=1e-5
        )
    with pytest.raises(TypeError, match=r"pass result\[label\]"):
        wald(results, "x")


def test_coefficients_of_a_label_have_its_name():
    """They are read as they are shown: the label's, or those of its classes."""
    X, y = simulated()
    Y = pd.DataFrame({"rain": y == "a", "snow": y == "2 * a"}).astype(int)
    result = infer(SigmoidRegression(**FREE).fit(X, Y), X, Y)["snow"]
    assert result.params.columns.tolist() == ["snow"]
    expected = wald(result, "x = 0.2").statistic
    assert wald(result, "snow[x] = 0.2").statistic == pytest.approx(expected)
    for reference, text in [(1, "0[x] = -0.2"), ("sum-to-zero", "1[x] - 0[x] = 0.2")]:
        other = result.against(reference)
        assert wald(other, text).statistic == pytest.approx(expected, rel=1e-9)
    assert result.against("sum-to-zero").params.columns.tolist() == [0, 1]


# ---- Joint tests and merged classes --------------------------------------------------------------


def test_joint_tests_are_those_of_all_classes(of_election, theirs):
    """Each feature, and joined ones, by statsmodels' numbers and the formula."""
    found = joint(of_election)
    assert found.index.tolist() == ["logpopul", "selfLR", "age", "educ", "income"]
    for j, name in enumerate(found.index):
        R = np.kron(np.eye(6), np.eye(6)[[j]])
        assert found.loc[name, "df"] == 6
        assert found.loc[name, "statistic"] == pytest.approx(theirs_of(theirs, R), rel=1e-5)
    joined = joint(of_election, terms={"status": ["educ", "income"]})
    assert joined.index.tolist() == ["logpopul", "selfLR", "age", "status"]
    R = np.kron(np.eye(6), np.eye(6)[[3, 4]])
    assert joined.loc["status", "df"] == 12
    assert joined.loc["status", "statistic"] == pytest.approx(theirs_of(theirs, R), rel=1e-5)


TABLES = [joint, merge_test]


@pytest.mark.parametrize(("adjust", "method"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_statsmodels_gives_the_same_adjusted_p_values(of_election, adjust, method):
    """Of joint tests and of all pairs of classes, as its multipletests has them."""
    X, y = simulated()
    noise = fitted(X, np.roll(y, 50))  # y of other rows: p-values of any size
    tables = [test(result, adjust=adjust) for test in TABLES for result in (of_election, noise)]
    for found in tables:
        expected = multipletests(found["p"], method=method)[1]
        np.testing.assert_allclose(found["p_adjusted"], expected, rtol=1e-12)


def test_all_pairs_of_classes_have_their_own_test(of_election):
    """Without names there is a row for each pair, that of the test of the two."""
    table = merge_test(of_election)
    assert table.index.tolist() == list(combinations(range(7), 2))
    for pair in [(0, 1), (2, 5)]:
        found = merge_test(of_election, *pair)
        assert table.loc[pair].tolist() == [found.statistic, found.df, found.p]
        assert merge_test(of_election, *pair[::-1]).statistic == pytest.approx(found.statistic)


def test_collinear_columns_are_tested_as_far_as_the_data_tell():
    """All three levels of a category, beside an intercept, have the test of two of them."""
    X, y = simulated()
    level = np.random.default_rng(1).integers(0, 3, len(y))
    levels = pd.get_dummies(pd.Series(level), prefix="level").astype(float)
    columns = list(levels.columns)
    expected = joint(fitted(X.join(levels[columns[1:]]), y), terms={"level": columns[1:]})
    with pytest.warns(UserWarning, match="not identified"):
        model = SoftmaxRegression(**FREE).fit(X.join(levels), y)
    result = infer(model, X.join(levels), y)
    found = joint(result, terms={"level": columns})
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    alone = joint(result, adjust="holm")
    assert alone.loc[columns, ["statistic", "p", "p_adjusted"]].isna().all(axis=None)
    assert (alone.loc[columns, "df"] == 0).all()
    holm = multipletests(alone["p"].dropna(), method="holm")[1]
    np.testing.assert_allclose(alone["p_adjusted"].dropna(), holm, rtol=1e-12)
    # Between levels the data tell, of each by itself they do not.
    between = wald(result, f"{columns[0]} = {columns[1]}")
    kept = wald(fitted(X.join(levels[columns[1:]]), y), f"{columns[1]} = 0")
    assert between.df == 2 and between.statistic == pytest.approx(kept.statistic, rel=1e-6)
    with pytest.raises(ValueError, match=f"do not identify what these .*'{columns[0]} = 0 "):
        wald(result, f"{columns[0]} = 0")


# ---- Likelihood ratios ---------------------------------------------------------------------------


def test_the_likelihood_ratio_is_that_of_both_fits(election):
    """Twice the difference of statsmodels' log-likelihoods, of two columns and seven classes."""
    X, y = election
    smaller, larger = fitted(X, y, ["selfLR", "age", "educ"]), fitted(X, y)
    found = likelihood_ratio(smaller, larger)
    logliks = [
        sm.MNLogit(y, sm.add_constant(part)).fit(method="newton", maxiter=50, disp=0).llf
        for part in (X[["selfLR", "age", "educ"]], X)
    ]
    expected = 2 * (logliks[1] - logliks[0])
    assert found.statistic == pytest.approx(expected, rel=1e-8) and found.df == 12
    assert found.p == pytest.approx(stats.chi2.sf(expected, 12), rel=1e-6)


def test_likelihood_ratios_need_comparable_fits(election):
    """Other rows, classes, covariances, or a model that is no part of the other, are refused."""
    X, y = election
    smaller, larger = fitted(X, y, ["age"]), fitted(X, y)
    for pair, message in [
        ((larger, smaller), "larger has 12 parameters, and smaller 36"),
        ((smaller, fitted(X[100:], y[100:])), "same rows and classes; smaller has 944"),
        ((smaller, fitted(X, y.replace({6: 7}))), "same rows and classes"),
        ((smaller, fitted(X, y, covariance="sandwich")), "larger is of the type 'sandwich'"),
        ((fitted(X, y, ["selfLR"]), fitted(X, y, ["age", "educ"])), "no part of it"),
    ]:
        with pytest.raises(ValueError, match=message):
            likelihood_ratio(*pair)


# ---- Tests of other columns ----------------------------------------------------------------------


def naive_score_test(X, Y, P, extra, weight):
    """Rao's statistic by its definition, against the first class, of rows with an intercept."""
    x = np.column_stack([X, np.ones(len(X)), extra])
    u = np.einsum("i,ik,ij->kj", weight, (Y - P)[:, 1:], x).ravel()
    information = sum(
        w * np.kron(np.diag(p) - np.outer(p, p), np.outer(a, a))
        for w, p, a in zip(weight, P[:, 1:], x, strict=True)
    )
    return u @ np.linalg.solve(information, u)


@pytest.mark.parametrize("form", [pd.DataFrame, np.asarray, sparse.csr_array])
def test_score_tests_are_those_of_the_definition(form):
    """Each further column and all of them, with weights and offsets; forms of both tables."""
    X, y = simulated()
    random = np.random.default_rng(5)
    weight, offset = random.integers(0, 3, len(y)), random.normal(size=(len(y), 3))
    few, extra = X[["x", "-x"]], X[["x - y", "a[x] = 2"]].assign(other=random.normal(size=len(y)))
    model = SoftmaxRegression(**FREE).fit(form(few), y, weight, offset)
    found = score_test(model, form(few), y, form(extra), weight, offset)
    theta = np.column_stack([model.coef_, model.intercept_])
    P = softmax(few.to_numpy() @ theta[:, :2].T + theta[:, 2] + offset, axis=1)
    Y = (y[:, None] == model.classes_).astype(float)
    E = extra.to_numpy()
    expected = [naive_score_test(few, Y, P, E[:, [j]], weight) for j in range(3)]
    expected.append(naive_score_test(few, Y, P, E, weight))
    np.testing.assert_allclose(found["statistic"], expected, rtol=1e-6)
    assert found["df"].tolist() == [2, 2, 2, 6]
    np.testing.assert_allclose(found["p"], stats.chi2.sf(found["statistic"], found["df"]))
    names = list(extra.columns) if form is pd.DataFrame else [0, 1, 2]
    assert found.index.tolist() == [*names, "joint"]


def test_statsmodels_gives_the_same_score_test_of_two_classes():
    """A binomial GLM's score_test of one and of two further columns."""
    X, y = simulated()
    codes = (y == "a").astype(int)
    few, extra = X[["x", "-x"]], X[["x - y", "a[x] = 2"]]
    fit = sm.GLM(codes, sm.add_constant(few), sm.families.Binomial()).fit(tol=1e-12)
    found = score_test(SoftmaxRegression(**FREE).fit(few, codes), few, codes, extra)
    for name, columns in [("x - y", ["x - y"]), ("joint", list(extra.columns))]:
        expected = fit.score_test(exog_extra=extra[columns].to_numpy())
        np.testing.assert_allclose(found.loc[name, "statistic"], expected.statistic, rtol=1e-6)
        np.testing.assert_allclose(found.loc[name, "p"], expected.pvalue, rtol=1e-5)


def test_each_label_has_its_own_score_tests():
    """Several labels are tested as two-class models are, one by one."""
    X, y = simulated()
    few, extra = X[["x", "-x"]], X[["x - y", "a[x] = 2"]]
    Y = np.column_stack([y == "a", y == "2 * a"]).astype(int)
    found = score_test(SigmoidRegression(**FREE).fit(few, Y), few, Y, extra)
    for label in (0, 1):
        model = SoftmaxRegression(**FREE).fit(few, Y[:, label])
        alone = score_test(model, few, Y[:, label], extra)
        pd.testing.assert_frame_equal(found.loc[label], alone, rtol=1e-5)


def test_what_no_row_bears_on_does_not_count_in_score_tests():
    """Classes without rows have no degrees of freedom; constant labels, and a class alone, none."""
    X, y = simulated()
    X, y = X.to_numpy(), np.unique(y, return_inverse=True)[1]
    first, others = X[:, :2], X[:, 2:]
    expected = score_test(SoftmaxRegression(**FREE).fit(first, y), first, y, others)
    wider = SoftmaxRegression(**FREE, classes=range(5)).fit(first, y)
    found = score_test(wider, first, y, others)
    assert found["df"].equals(expected["df"])
    np.testing.assert_allclose(found["statistic"], expected["statistic"], rtol=1e-5)
    for model, Y in (
        (SigmoidRegression(**FREE), np.column_stack([np.ones(300), np.zeros(300)])),
        (SoftmaxRegression(**FREE, classes=[0, 1]), np.zeros(300)),
        (SoftmaxRegression(**FREE, classes=[0, 1, 2]), np.zeros(300)),
    ):
        Y = Y.astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.fit(first, Y)
        empty = score_test(model, first, Y, others)
        assert (empty["df"] == 0).all() and empty["statistic"].isna().all()


def test_units_of_columns_do_not_change_score_tests():
    """A column in other units, far from zero, or with X in it, improves the fit as much."""
    X, y = simulated()
    few, extra = X[["x", "-x"]], X[["x - y"]]
    model = SoftmaxRegression(**FREE).fit(few, y)
    moved = 1e6 + 1e-3 * extra.assign(mixed=extra["x - y"] + 5 * few["x"])
    expected = score_test(model, few, y, extra).loc["x - y"]
    found = score_test(model, few, y, moved)
    for name in moved.columns:
        np.testing.assert_allclose(found.loc[name, "statistic"], expected["statistic"], rtol=1e-6)
    # Together they say no more than one of them.
    assert found.loc["joint", "df"] == 2
    np.testing.assert_allclose(found.loc["joint", "statistic"], expected["statistic"], rtol=1e-6)


def test_weights_may_have_any_size():
    """Weights of 2^60 rows make the statistic 2^60 times as large; float32 is as good."""
    X, y = simulated()
    few, extra = X[["x", "-x"]].astype(np.float32), X[["x - y"]]
    model = SoftmaxRegression(**FREE).fit(few, y)
    expected = score_test(model, few.astype(float), y, extra).loc["joint", "statistic"]
    heavy = score_test(model, few, y, extra, np.full(len(y), 2.0**60)).loc["joint", "statistic"]
    assert heavy == pytest.approx(2.0**60 * expected, rel=1e-6)


def test_columns_that_add_nothing_have_no_score_test():
    """A constant, and a combination of columns of X, have df 0 and no p."""
    X, y = simulated()
    model = SoftmaxRegression(**FREE).fit(X, y)
    extra = pd.DataFrame({"constant": np.full(len(y), 3.0), "sum": X["x"] - 2 * X["-x"]})
    found = score_test(model, X, y, extra)
    assert found["df"].tolist() == [0, 0, 0] and found[["statistic", "p"]].isna().all(axis=None)


# ---- Independence of irrelevant alternatives -----------------------------------------------------


def naive_independence(X, y, left_out):
    """Hausman and McFadden's statistic by statsmodels' fits and the formula."""
    fits = []
    for rows in (np.ones(len(y), dtype=bool), y != left_out):
        codes = pd.factorize(y[rows], sort=True)[0]
        kept = sorted(set(y[rows]))
        fit = sm.MNLogit(codes, sm.add_constant(X[rows])).fit(method="newton", maxiter=50, disp=0)
        w = X.shape[1] + 1
        params = np.concatenate([np.zeros(w), np.asarray(fit.params).T.ravel()])
        V = np.zeros((len(params),) * 2)
        V[w:, w:] = fit.cov_params()
        # Contrasts to the first class that stays.
        stays = [k for k in sorted(set(y)) if k != left_out]
        places = [kept.index(k) for k in stays]
        R = np.kron(np.eye(len(kept))[places[1:]] - np.eye(len(kept))[[places[0]]], np.eye(w))
        fits.append((R @ params, R @ V @ R.T))
    change, V = fits[1][0] - fits[0][0], fits[1][1] - fits[0][1]
    return change @ np.linalg.solve(V, change), len(change)


def test_independence_is_hausman_and_mcfaddens_statistic(election):
    """Of each class left out; where it is negative there is no p-value, and the note says why."""
    X, y = election
    found = independence(SoftmaxRegression(**FREE).fit(X, y), X, y)
    assert found.index.tolist() == list(range(7))
    for k in found.index:
        statistic, df = naive_independence(X, y, k)
        row = found.loc[k]
        assert row["statistic"] == pytest.approx(statistic, rel=1e-3) and row["df"] == df
        if statistic < 0:
            assert np.isnan(row["p"]) and row["note"].startswith("negative")
        else:
            assert row["p"] == pytest.approx(stats.chi2.sf(row["statistic"], df), rel=1e-9)
    assert (found["statistic"] < 0).any() and (found["statistic"] > 0).any()


def test_independence_counts_weights_as_rows(election):
    """Weights 1 and 2 give what rows once and twice give."""
    X, y = election[0][["selfLR", "age"]], election[1].replace({1: 0, 2: 0, 4: 5})
    weight = 1 + np.arange(len(y)) % 2
    rows = np.repeat(np.arange(len(y)), weight)
    found = independence(SoftmaxRegression(**FREE).fit(X, y, weight), X, y, weight)
    X, y = X.iloc[rows], y.iloc[rows]
    expected = independence(SoftmaxRegression(**FREE).fit(X, y), X, y)
    np.testing.assert_allclose(found["statistic"], expected["statistic"], rtol=1e-4)


def test_independence_does_not_depend_on_where_columns_are(election):
    """Nor on classes that have no rows."""
    X, y = election[0][["selfLR", "age"]], election[1].replace({1: 0, 2: 0, 4: 5})
    expected = independence(SoftmaxRegression(**FREE).fit(X, y), X, y)
    far = X + 1e6
    found = independence(SoftmaxRegression(**FREE).fit(far, y), far, y)
    wider = independence(SoftmaxRegression(**FREE, classes=range(8)).fit(X, y), X, y)
    for other in (found, wider):
        assert other.index.equals(expected.index) and other["df"].equals(expected["df"])
        np.testing.assert_allclose(other["statistic"], expected["statistic"], rtol=1e-4)


@pytest.mark.parametrize("with_offset", [False, True])
def test_independence_holds_where_the_model_does(with_offset):
    """Of data that follow it, statistics are about as large as their degrees of freedom."""
    random = np.random.default_rng(0)
    X, offset = random.normal(size=(20_000, 1)), random.normal(size=(20_000, 3))
    Z = X @ [[0.5, -0.5, 0.0]] + with_offset * offset
    y = (Z + random.gumbel(size=Z.shape)).argmax(axis=1)
    shift = offset if with_offset else None
    found = independence(SoftmaxRegression(**FREE).fit(X, y, offset=shift), X, y, offset=shift)
    assert found["df"].tolist() == [2, 2, 2]
    assert (found["statistic"].abs() < stats.chi2.isf(0.001, 2)).all()


def test_independence_finds_alternatives_that_replace_each_other():
    """Two classes that share what makes rows choose them (a nest) are no independent ones."""
    random = np.random.default_rng(0)
    n = 20_000
    x = random.normal(size=(n, 1))
    shared = random.gumbel(size=n)
    Z = np.column_stack(
        [random.gumbel(size=n), 1.5 * x[:, 0] + shared, shared + 0.1 * random.gumbel(size=n)]
    )
    y = Z.argmax(axis=1)
    found = independence(SoftmaxRegression(**FREE).fit(x, y), x, y)
    assert found["p"].min() < 1e-6


def test_independence_says_which_classes_are_separated():
    """Where the fit without a class has no optimum, the row is empty and says so."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=600)
    y = np.where(x > 0, "up", "down").astype("<U4")
    y[random.random(600) < 0.5] = "none"
    X = x[:, None]
    model = SoftmaxRegression(**FREE).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="separate"):
        found = independence(model, X, y)
    assert found.loc["none", "note"].endswith("its classes are separated")
    assert np.isnan(found.loc["none", "statistic"]) and found.loc["none", "df"] == 0
    assert found.loc[["down", "up"], "statistic"].notna().all()


@pytest.mark.parametrize("factor", ["1e-300", "1e300"])
def test_factors_of_any_size_say_the_same(of_election, factor):
    """A restriction times a number is the same restriction."""
    expected = wald(of_election, "1[age] = 2[age]")
    found = wald(of_election, f"{factor} * 1[age] = {factor} * 2[age]")
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
    for texts in (np.array(["1[age] = 2[age]"]), pd.Series(["1[age] = 2[age]"])):
        assert wald(of_election, texts).statistic == expected.statistic


# ---- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restrictions", "message"),
    [
        ("agee = 0", "'agee' in the restriction 'agee = 0' is neither .* names are 'age'"),
        ("1[agee] = 0", r"'1\[agee\]' in .* names are '1\[age\]'"),
        ("9[age] = 0", r"'9\[age\]' in .* neither a feature nor class\[feature\]"),
        ("2 * foo = 1", "'foo' in the restriction"),
        ("age = ", "'' in the restriction 'age = '"),
        ("1 = 1", "restricts no coefficient"),
        ("0[age] = 0", "restrict nothing"),
        ("0[age] = 1", "contradict each other"),
        (["1[age] = 0", "1[age] = 2[age]", "2[age] = 1"], "contradict each other"),
        ([], "restrictions=\\[\\] must be a text"),
        (["age", 3], "restrictions=\\['age', 3\\] must be a text"),
        ({"age": 0}, "restrictions=\\{'age': 0\\} must be a text"),
        ("age * educ = 0", "cannot be read where it comes to 'age'"),
        ("age = 1e400", "a number that is not finite"),
        (np.eye(35), "restrictions must have shape"),
        (np.full(36, np.nan), "restrictions must be finite"),
    ],
)
def test_restrictions_that_say_nothing_are_named(of_election, restrictions, message):
    """Each raises a ValueError of one sentence that names them."""
    with pytest.raises(ValueError, match=message):
        wald(of_election, restrictions)


def test_bad_arguments_are_named(election, of_election):
    """Values with texts, unknown adjustments, terms and classes, and what is no result."""
    X, y = election
    for function, arguments, message in [
        (wald, ("age", 3), "values=3 goes with a matrix"),
        (wald, (np.eye(36), [1, 2]), "values must have shape"),
        (joint, (None, "bonferroni"), "adjust='bonferroni' must be"),
        (joint, ({"a": ["agee"]},), r"terms\['a'\] names 'agee'.*'age'"),
        (joint, ({"a": []},), r"terms\['a'\] is empty"),
        (joint, ({"a": "age"},), r"terms\['a'\] holds 'age', which must be a list"),
        (joint, (["age"],), r"terms=\['age'\] must be a mapping"),
        (joint, ({"age": ["educ", "income"]},), "terms has the name 'age', which is a feature's"),
        (merge_test, (1, 9), "9 is not one of the classes"),
        (merge_test, (1, 1), "the same class"),
        (merge_test, (1,), "None is not one of the classes"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(of_election, *arguments)
    for function in (wald, joint, merge_test):
        with pytest.raises(TypeError, match="infer returns, got SoftmaxRegression"):
            function(SoftmaxRegression(), *["age"] * (function is wald))
    penalised = infer(SoftmaxRegression().fit(X, y), X, y)
    for test in (
        lambda: wald(penalised, "age"),
        lambda: joint(penalised),
        lambda: merge_test(penalised, 1, 2),
        lambda: likelihood_ratio(of_election, penalised),
        lambda: score_test(SoftmaxRegression().fit(X, y), X, y, X),
        lambda: independence(SoftmaxRegression().fit(X, y), X, y),
    ):
        with pytest.raises(ValueError, match="penal"):
            test()


def test_tests_of_estimators_name_what_is_wrong(election):
    """Other estimators, rows, probabilities and too few classes are refused."""
    X, y = election
    model, two = SoftmaxRegression(**FREE).fit(X, y), SoftmaxRegression(**FREE)
    Y = np.eye(7)[y]
    for test, kind, message in [
        (lambda: score_test("model", X, y, X), TypeError, "score_test needs a fitted"),
        (lambda: score_test(model, X, y, X["age"]), ValueError, "extra must have shape"),
        (lambda: score_test(model, X, y, X[1:]), ValueError, "extra has 943 rows, and X 944"),
        (lambda: score_test(model, X, 6 - y, X**2), ValueError, "not at the optimum"),
        (
            lambda: score_test(
                SoftmaxRegression(**FREE, class_weight={0: 2}).fit(X, y), X, y, X**2
            ),
            ValueError,
            "weighs rows by their class",
        ),
        (
            lambda: independence(
                SoftmaxRegression(**FREE, classes=range(3)).fit(X, y > 3), X, y > 3
            ),
            ValueError,
            r"rows of three or more classes, got \[0, 1\]",
        ),
        (lambda: score_test(model, X, y, np.ones((944, 940))), ValueError, "fewer columns"),
        (
            lambda: independence(SoftmaxRegressionCV(Cs=[1]).fit(X, y), X, y),
            TypeError,
            "independence needs a fitted SoftmaxRegression",
        ),
        (lambda: independence(model, X, Y), ValueError, "a column for each class"),
        (
            lambda: independence(two.fit(X, y > 3), X, y > 3),
            ValueError,
            "three or more classes",
        ),
    ]:
        with pytest.raises(kind, match=message):
            test()


def test_a_covariance_of_too_low_a_rank_is_refused(election):
    """36 clusters tell of 35 coefficients at most."""
    X, y = election
    result = fitted(X, y, covariance="cluster", groups=np.arange(len(y)) % 36)
    assert wald(result, np.eye(36)[:34]).df == 34
    with pytest.raises(ValueError, match="fewer groups or resamples than restrictions"):
        wald(result, np.eye(36))


def test_a_result_of_a_test_prints_in_a_line(of_election):
    """What was tested, the statistic, its degrees of freedom and p."""
    found = wald(of_election, "age")
    assert isinstance(found, inference.TestResult)
    assert str(found) == f"Wald test of age: chi2(6) = {found.statistic:.4f}, p = {found.p:.4g}"


def test_classes_without_rows_have_no_tests():
    """Of a class that was only declared the data tell nothing, of the others what they did."""
    X, y = simulated()
    model = SoftmaxRegression(**FREE, classes=["a", "none", "2 * a", "b[x], c"]).fit(X, y)
    result, expected = infer(model, X, y), fitted(X, y)
    pd.testing.assert_frame_equal(joint(result), joint(expected), rtol=1e-6)
    pairs = merge_test(result)
    assert pairs.loc["a", "none"].isna()[["statistic", "p"]].all()
    found = pairs.loc[("a", "2 * a"), "statistic"]
    assert found == pytest.approx(merge_test(expected, "a", "2 * a").statistic, rel=1e-6)
