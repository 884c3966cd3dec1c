"""Standard errors: `inference.infer` against statsmodels, published numbers and dense formulas."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse
from scipy.linalg import block_diag
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.exceptions import NotFittedError

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.inference import infer

STATISTICS = ("llf", "df_model", "df_resid", "aic", "bic")


def unpenalised(X, y, **fit):
    return SoftmaxRegression(C=np.inf).fit(X, y, **fit)


@pytest.fixture(scope="module")
def anes96():
    data = sm.datasets.anes96.load_pandas()
    return data.exog, data.endog


@pytest.fixture(scope="module")
def of_anes96(anes96):
    return infer(unpenalised(*anes96), *anes96)


def statsmodels_fit(X, y, **options):
    with_constant = sm.add_constant(X, prepend=False)
    model = sm.MNLogit(y, with_constant) if len(set(y)) > 2 else sm.Logit(y, with_constant)
    return model.fit(disp=0, tol=1e-13, maxiter=100, **options)


def assert_same_as_statsmodels(result, fit):
    shape = result.params.shape
    for mine, theirs in (
        (result.params, fit.params),
        (result.bse, fit.bse),
        (result.p, fit.pvalues),
    ):
        np.testing.assert_allclose(mine, np.asarray(theirs).reshape(shape), rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(result.covariance, fit.cov_params(), rtol=1e-6, atol=1e-9)
    ends = np.asarray(fit.conf_int()).reshape(-1, 2)
    np.testing.assert_allclose(result.conf_int(), ends, rtol=1e-6, atol=1e-9)
    for name in STATISTICS:
        assert getattr(result, name) == pytest.approx(getattr(fit, name), rel=1e-9), name
    for name in ("llnull", "llr", "prsquared"):  # it fits the null model, to its tolerance
        assert getattr(result, name) == pytest.approx(getattr(fit, name), rel=1e-8), name


# ---- Numbers from outside ------------------------------------------------------------------------

# Stata 11's mlogit, as in statsmodels' own tests; the columns are the regressors in the data's
# order, logpopul, selfLR, age, educ, income, and the constant.
STATA_PARAMS = """
-.01153598 .29771435 -.024945 .08249144 .00519655 -.37340167
-.08875065 .39166864 -.02289784 .18104276 .04787398 -2.2509132
-.1059667 .57345051 -.01485121 -.00715242 .05757516 -3.6655835
-.0915567 1.2787718 -.00868135 .19982796 .08449838 -7.6138431
-.0932846 1.3469616 -.01790407 .21693885 .08095841 -7.0604782
-.14088069 2.0700801 -.00943265 .3219257 .10889408 -12.105751
"""
STATA_ERRORS = """
.0342823657 .093626795 .0065248584 .0735865799 .0176336937 .6298376313
.0391615553 .1082386919 .0079144618 .0852893563 .0222809297 .7631899491
.0570382292 .1585481337 .0113313133 .1262913234 .0336142088 1.156541492
.0437902764 .1288965854 .0084187486 .0941250559 .0261963632 .9575809602
.0393516553 .1171860107 .0076110152 .0850070091 .0229760791 .8443638283
.042138047 .1434089089 .0081338625 .0910979921 .025300888 1.059954821
"""


def printed(text):
    return np.array(text.split(), dtype=float)


def test_anes96_agrees_with_stata_to_every_printed_digit(of_anes96):
    """Coefficients, standard errors and statistics of Stata's mlogit.

    It stops a little short: its log likelihood is 6e-8 below the largest one.
    """
    np.testing.assert_allclose(
        of_anes96.params.T, printed(STATA_PARAMS).reshape(6, 6), atol=5e-9, rtol=5e-8
    )
    np.testing.assert_allclose(of_anes96.bse.T, printed(STATA_ERRORS).reshape(6, 6), rtol=1e-8)
    statistics = {
        "llf": -1461.922747312,
        "llnull": -1750.34670999,
        "llr": 576.8479253554,
        "prsquared": 0.1647810465387,
        "aic": 2995.84549462,
        "bic": 3170.45003661,
        "df_model": 30,
    }
    for name, expected in statistics.items():
        assert getattr(of_anes96, name) == pytest.approx(expected, rel=1e-9), name
    assert of_anes96.llr_pvalue == pytest.approx(1.8223e-102, rel=1e-4)


@pytest.mark.parametrize(
    ("covariance", "cov_type"),
    [("hessian", "nonrobust"), ("sandwich", "HC0"), ("cluster", "cluster")],
)
@pytest.mark.parametrize("n_classes", [2, 7])
def test_errors_are_those_of_statsmodels(anes96, covariance, cov_type, n_classes):
    """Information, HC0 and clusters; two classes and seven."""
    X, y = anes96
    y = y if n_classes == 7 else (y > 3).astype(int)
    groups = np.arange(len(y)) % 60 if covariance == "cluster" else None
    keywords = {} if groups is None else {"cov_kwds": {"groups": groups}}
    fit = statsmodels_fit(X, y, cov_type=cov_type, **keywords)
    result = infer(unpenalised(X, y), X, y, covariance=covariance, groups=groups)
    assert_same_as_statsmodels(result, fit)


@pytest.mark.parametrize("name", ["fair", "spector"])
def test_other_sets_agree_with_statsmodels(name):
    """Coefficients to errors, of five classes and of two."""
    data = getattr(sm.datasets, name).load_pandas()
    table = data.data.astype(float)
    target = {"fair": "rate_marriage", "spector": "GRADE"}[name]
    X, y = table.drop(columns=target), table[target].astype(int)
    y -= y.min()
    assert_same_as_statsmodels(infer(unpenalised(X, y), X, y), statsmodels_fit(X, y))


def test_offsets_agree_with_a_binomial_glm(anes96):
    """Two classes with an offset, that of the null model included."""
    X, y = anes96
    y, offset = (y > 3).astype(int), np.random.default_rng(0).normal(size=len(y))
    family = sm.families.Binomial()
    fit = sm.GLM(y, sm.add_constant(X, prepend=False), family=family, offset=offset).fit(tol=1e-14)
    result = infer(unpenalised(X, y, offset=offset), X, y, offset=offset)
    np.testing.assert_allclose(result.params[1], fit.params, rtol=1e-6)
    np.testing.assert_allclose(result.bse[1], fit.bse, rtol=1e-6)
    assert result.llf == pytest.approx(fit.llf, rel=1e-10)
    assert result.llnull == pytest.approx(fit.llnull, rel=1e-8)


# ---- Laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["hessian", "sandwich"])
def test_frequency_weights_are_repeated_rows(anes96, covariance):
    """A row of weight w counts w times: in errors, likelihoods and their degrees of freedom."""
    X, y = anes96
    w = np.random.default_rng(1).integers(0, 4, len(y))
    rows = np.repeat(np.arange(len(y)), w)
    repeated = X.iloc[rows], y.iloc[rows]
    weighted = infer(
        unpenalised(X, y, sample_weight=w), X, y, sample_weight=w, covariance=covariance
    )
    expected = infer(unpenalised(*repeated), *repeated, covariance=covariance)
    np.testing.assert_allclose(weighted.covariance, expected.covariance, rtol=1e-8, atol=1e-14)
    for name in (*STATISTICS, "llnull"):
        assert getattr(weighted, name) == pytest.approx(getattr(expected, name), rel=1e-12), name


def test_probability_weights_are_factors_of_the_rows_gradients(anes96):
    """The sandwich has their squares in the middle, and their unit does not matter."""
    X, y = anes96
    y = (y > 3).astype(int).to_numpy()
    w = np.random.default_rng(1).uniform(0.5, 4, len(y))
    design = sm.add_constant(X, prepend=False).to_numpy()
    for unit in (1, 1000):
        result = infer(
            unpenalised(X, y, sample_weight=unit * w),
            X,
            y,
            sample_weight=unit * w,
            weights="probability",
        )
        p = 1 / (1 + np.exp(-design @ result.params[1].to_numpy()))
        bread = np.linalg.inv((design.T * (w * p * (1 - p))) @ design)
        middle = (design.T * (w * (p - y)) ** 2) @ design
        np.testing.assert_allclose(result.covariance, bread @ middle @ bread, rtol=1e-6, atol=1e-12)
        assert result.covariance_type == "sandwich"
        assert result.n_samples == len(y)
        with pytest.raises(ValueError, match="wald"):
            _ = result.llr_pvalue


def test_contrasts_to_any_class_agree(of_anes96):
    """A coefficient against another class is the difference of those against the first."""
    against = of_anes96.against(4.0)
    covariance = of_anes96.covariance
    assert against.params.loc["age", 2.0] == pytest.approx(
        of_anes96.params.loc["age", 2.0] - of_anes96.params.loc["age", 4.0]
    )
    a, b = (2.0, "age"), (4.0, "age")
    variance = covariance.loc[a, a] + covariance.loc[b, b] - 2 * covariance.loc[a, b]
    assert against.bse.loc["age", 2.0] == pytest.approx(np.sqrt(variance), rel=1e-10)
    to_mean = of_anes96.against("sum-to-zero")
    np.testing.assert_allclose(to_mean.params.sum(axis=1), 0, atol=1e-12)
    assert to_mean.params.shape == (6, 7)
    K = 7
    ones = np.kron(np.ones((K, 1)), np.eye(6))
    np.testing.assert_allclose(to_mean.covariance.to_numpy() @ ones, 0, atol=1e-12)


def softmax_information(X, P, s, prior):
    """Return the Hessian of sum_i s_i loss_i and of a Gaussian prior, class after class."""
    K = P.shape[1]
    H = sum(
        s_i * np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x))
        for x, p, s_i in zip(X, P, s, strict=True)
    )
    return H + block_diag(*[np.diag(prior)] * K)


@pytest.mark.parametrize("wide", [False, True])
def test_penalised_errors_are_those_of_the_posterior(wide):
    """H^-1 with the prior's precision 1 / C in it, also outside the span of the rows; no p."""
    random = np.random.default_rng(0)
    n, d = (25, 40) if wide else (60, 4)
    X = random.normal(size=(n, d)) * random.uniform(0.1, 100, d) + random.normal(size=d)
    y, C = random.integers(0, 3, n), 0.5
    model = SoftmaxRegression(C=C, tol=1e-13).fit(X, y)
    result = infer(model, X, y)
    design = np.column_stack([X, np.ones(n)])
    prior = np.append(np.full(d, 1 / C), 0)
    H = softmax_information(design, model.predict_proba(X), np.ones(n), prior)
    gauge = np.kron(np.ones(3), np.append(np.zeros(d), 1.0)) / np.sqrt(3)
    posterior = np.linalg.inv(H + np.outer(gauge, gauge))
    R = np.kron(np.array([[-1, 1, 0], [-1, 0, 1]]), np.eye(d + 1))
    np.testing.assert_allclose(
        result.bse.T.to_numpy().ravel() ** 2, np.diag(R @ posterior @ R.T), rtol=1e-6
    )
    expected = R @ posterior @ R.T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(result.covariance / scale, expected / scale, atol=1e-7)
    loss_part = H - block_diag(*[np.diag(prior)] * 3)
    assert result.n_params == pytest.approx(np.trace(posterior @ loss_part), rel=1e-6)
    assert result.is_penalised
    assert "P>|z|" not in result.to_frame()
    for statistic in ("p", "z", "llr_pvalue"):
        with pytest.raises(ValueError, match="penalised"):
            getattr(result, statistic)


def test_penalised_sandwich_has_no_intervals(anes96):
    """Intervals about a shrunken estimate would not cover."""
    X, y = anes96
    model = SoftmaxRegression().fit(X, y)
    assert infer(model, X, y).conf_int().shape == (36, 2)
    result = infer(model, X, y, covariance="sandwich")
    assert list(result.to_frame()) == ["coef", "std err"]
    with pytest.raises(ValueError, match="shrunken"):
        result.conf_int()


def test_collinear_columns_have_no_errors_but_their_sum_has(anes96):
    """Without a penalty the coefficients of two copies are open; what both add is identified."""
    X, y = anes96
    expected = infer(unpenalised(X, y), X, y)
    doubled = X.assign(twice=2 * X["age"], one=1.0)
    with pytest.warns(UserWarning, match="not identified"):
        model = unpenalised(doubled, y)
    result = infer(model, doubled, y)
    is_open = result.bse.isna().all(axis=1)
    assert set(is_open.index[is_open]) == {"age", "twice", "one", "intercept"}
    assert result.params.isna().equals(result.bse.isna())
    others = ["logpopul", "selfLR", "educ", "income"]
    np.testing.assert_allclose(result.bse.loc[others], expected.bse.loc[others], rtol=1e-6)
    for name in ("llf", "df_model", "aic", "n_params"):
        assert getattr(result, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    u = len(result.terms)
    R = np.zeros((1, 7 * u))
    age, twice = result.terms.index("age"), result.terms.index("twice")
    R[0, [u + age, u + twice, age, twice]] = 1, 2, -1, -2
    variance = result.estimate.variance_of(R)[0]
    assert np.sqrt(variance) == pytest.approx(expected.bse.loc["age", 1.0], rel=1e-6)
    R[0, u + twice] = 0
    assert np.isnan(result.estimate.variance_of(R)[0])
    assert "Not identified" in str(result)


def test_a_class_without_rows_is_not_identified():
    """Its contrasts are NaN, and those of the others as without it."""
    X, y = load_iris(return_X_y=True)
    X, y = X[50:], y[50:]
    X = X[:, :2]  # not separated
    model = SoftmaxRegression(classes=[0, 1, 2], C=np.inf).fit(X, y)
    result, expected = infer(model, X, y), infer(unpenalised(X, y), X, y)
    assert result.reference == 0 and result.params.isna().all(axis=None)
    np.testing.assert_allclose(result.against(1).bse[2], expected.bse[2], rtol=1e-5)
    assert result.n_params == pytest.approx(expected.n_params)


@pytest.mark.parametrize("shift", [0, 1e6])
@pytest.mark.parametrize("form", ["csr", "frame", "float32", "chunks"])
def test_errors_do_not_depend_on_how_rows_are_held(form, shift):
    """CSR, frames, single precision and chunks have the errors of one array."""
    X, y = load_wine(return_X_y=True)
    X = X[:, [0, 4, 9]] + shift * (form != "float32")
    expected = infer(unpenalised(X, y), X, y, covariance="sandwich")
    if form == "chunks":
        chunks = [(X[i : i + 40], y[i : i + 40]) for i in range(0, len(y), 40)]
        result = infer(
            SoftmaxRegression(C=np.inf).fit_chunks(chunks), chunks, covariance="sandwich"
        )
    else:
        forms = {"csr": sparse.csr_array, "frame": pd.DataFrame, "float32": np.float32}
        data = forms[form](X)
        result = infer(unpenalised(data, y), data, y, covariance="sandwich")
    rtol = 1e-3 if form == "float32" else 1e-5
    np.testing.assert_allclose(result.bse, expected.bse, rtol=rtol)
    assert result.llnull == pytest.approx(expected.llnull, rel=1e-10)


def test_units_of_columns_do_not_matter(anes96):
    """z is that of any units, from 1e-9 to 1e9 and far from zero."""
    X, y = anes96
    other = X * [1e9, 1e-9, 1, 1e6, 1e-6] + [1e12, 0, 1e5, 0, 0]
    z = infer(unpenalised(X, y), X, y).z
    others = infer(unpenalised(other, y), other, y).z
    np.testing.assert_allclose(others.drop("intercept"), z.drop("intercept"), rtol=1e-5)


@pytest.mark.parametrize("covariance", ["hessian", "sandwich", "cluster"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_columns_that_are_all_but_equal_keep_their_errors(n_classes, covariance):
    """Columns a and a + e b have the errors that those of a and b imply: b / e, and a less that."""
    random, e = np.random.default_rng(2), 2.0**-22
    a, b = random.normal(size=(2, 300))
    twin = a + e * b
    b = (twin - a) / e  # exact
    y = (np.outer(a - b, np.arange(n_classes)) + random.gumbel(size=(300, n_classes))).argmax(
        axis=1
    )
    design = {"groups": np.arange(300) // 4} if covariance == "cluster" else {}

    def inferred(*columns):
        X = np.column_stack(columns)
        return infer(unpenalised(X, y), X, y, covariance=covariance, **design)

    expected, found = inferred(a, b), inferred(a, twin)
    for k in range(1, n_classes):
        V = expected.covariance.loc[k, k].to_numpy()[:2, :2]
        to_twins = np.array([[1, -1 / e], [0, 1 / e]])
        errors = np.sqrt(np.diag(to_twins @ V @ to_twins.T))
        np.testing.assert_allclose(found.bse[k].iloc[:2], errors, rtol=1e-8)


@pytest.mark.parametrize("covariance", ["sandwich", "cluster"])
def test_the_unit_of_probability_weights_does_not_matter(anes96, covariance):
    """A sandwich is that of weights of any unit, however early the fit ended."""
    X, y = anes96
    design = {"covariance": covariance, "weights": "probability"}
    if covariance == "cluster":
        design["groups"] = np.arange(len(y)) // 3
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    expected = None
    for unit in (1.0, 1e-12):
        model = SoftmaxRegression(C=np.inf, tol=1e-4).fit(X, y, sample_weight=unit * weight)
        result = infer(model, X, y, sample_weight=unit * weight, **design)
        expected = expected or result
        np.testing.assert_allclose(result.z, expected.z, rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_units_of_any_size_have_errors_or_are_refused(anes96, unit):
    """z is that of other units, as far as variances are numbers."""
    X, y = anes96
    z = infer(unpenalised(X, y), X, y).z
    other = X.assign(age=X["age"] * unit)
    np.testing.assert_allclose(infer(unpenalised(other, y), other, y).z, z, rtol=1e-8)
    other = X.assign(age=X["age"] * unit * unit)
    with pytest.raises(ValueError, match=r"coefficients of \['age'\] are beyond the range"):
        infer(unpenalised(other, y), other, y)


def test_scores_of_eight_hundred_are_no_nan():
    """Far rows that are predicted surely leave errors finite."""
    random = np.random.default_rng(0)
    x = np.append(random.normal(size=200), [800.0, -800.0])
    y = np.append(random.random(200) < 1 / (1 + np.exp(-x[:200])), [True, False]).astype(int)
    result = infer(unpenalised(x[:, None], y), x[:, None], y)
    expected = infer(unpenalised(x[:200, None], y[:200]), x[:200, None], y[:200])
    np.testing.assert_allclose(result.bse, expected.bse, rtol=1e-6)


def test_labels_have_the_errors_of_their_own_models(anes96):
    """Each label is a two-class model; unknown answers are rows left out."""
    X, y = anes96
    Y = np.column_stack([y > 3, y > 1]).astype(float)
    Y[::7, 1] = np.nan
    result = infer(SigmoidRegression(C=np.inf).fit(X, Y), X, Y)
    assert list(result) == [0, 1]
    for label in (0, 1):
        known = ~np.isnan(Y[:, label])
        one = X[known], Y[known, label].astype(int)
        expected = infer(unpenalised(*one), *one)
        np.testing.assert_allclose(result.bse[label], expected.bse[1], rtol=1e-6)
        np.testing.assert_allclose(result[label].p[label], expected.p[1], rtol=1e-5)
        assert result[label].llf == pytest.approx(expected.llf)
        assert result[label].aic == pytest.approx(expected.aic)


def test_labels_have_the_clusters_of_their_own_rows(anes96):
    """Rows with an unknown answer count among no label's clusters or rows."""
    X, y = anes96
    groups, Y = np.arange(len(y)) // 4, np.column_stack([y > 3, y > 1]).astype(float)
    Y[:400, 1] = np.nan
    design = {"covariance": "cluster", "weights": "probability"}
    result = infer(SigmoidRegression(C=np.inf).fit(X, Y), X, Y, groups=groups, **design)
    one = X.iloc[400:], Y[400:, 1].astype(int)
    expected = infer(unpenalised(*one), *one, groups=groups[400:], **design)
    np.testing.assert_allclose(result.bse[1], expected.bse[1], rtol=1e-6)
    assert (result[1].n_groups, result[1].n_samples) == (136, 544)
    assert (result[0].n_groups, result[0].n_samples) == (236, 944)
    assert result.to_frame().shape == (12, 6)


def test_soft_targets_have_the_errors_of_counts():
    """Shares of classes with their totals as weights are the rows that were counted."""
    X, y = load_iris(return_X_y=True)
    X = np.round(X[:, :1])
    values, places = np.unique(X, return_inverse=True)
    counts = np.zeros((len(values), 3))
    np.add.at(counts, (places.ravel(), y), 1)
    total = counts.sum(axis=1)
    shares = SoftmaxRegression(C=np.inf).fit(values[:, None], counts / total[:, None], total)
    result = infer(shares, values[:, None], counts / total[:, None], sample_weight=total)
    expected = infer(unpenalised(X, y), X, y)
    np.testing.assert_allclose(result.bse, expected.bse, rtol=1e-6)


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_dates_are_found_by_value_and_as_they_are_shown(anes96, unit):
    """Classes that are dates are named as texts, the same in all frames."""
    X, y = anes96
    days = np.array(["2020-01-01", "2021-06-01", "2022-01-01"], dtype=f"datetime64[{unit}]")
    days_of_rows = days[np.minimum(y, 2).astype(int)]
    result = infer(unpenalised(X, days_of_rows), X, days_of_rows)
    codes = infer(unpenalised(X, np.minimum(y, 2)), X, np.minimum(y, 2)).against(1)
    shown = result.params.columns.tolist()
    assert [pd.Timestamp(name) for name in shown] == [pd.Timestamp(day) for day in days[1:]]
    for name in (days[1], pd.Timestamp(days[1]), shown[0]):
        np.testing.assert_allclose(result.against(name).params, codes.params, rtol=1e-8)


def test_relative_risk_ratios_are_exponentials(of_anes96):
    """exp of coefficients and of the ends of their intervals."""
    ratios = of_anes96.relative_risk_ratios(0.9)
    np.testing.assert_allclose(np.log(ratios[["lower", "upper"]]), of_anes96.conf_int(0.9))
    np.testing.assert_allclose(np.log(ratios["ratio"]), of_anes96.params.T.to_numpy().ravel())


def test_ratios_beyond_numbers_are_infinite(anes96):
    """A unit of a column may multiply odds by any number, e^1000 and more."""
    X, y = anes96
    X = X.assign(age=X["age"] * 1e-6)
    result = infer(unpenalised(X, y), X, y)
    ratios = result.relative_risk_ratios().xs("age", level="feature")
    ends = result.conf_int().xs("age", level="feature")
    assert (np.abs(ends) > 750).all(axis=None)  # e^750 is beyond doubles
    np.testing.assert_array_equal(ratios[["lower", "upper"]], np.where(ends > 0, np.inf, 0))


def test_without_an_intercept_there_is_no_row_for_it(anes96):
    """The features alone, as statsmodels has them without a constant."""
    X, y = anes96
    model = SoftmaxRegression(C=np.inf, fit_intercept=False).fit(X, y)
    result = infer(model, X, y)
    fit = sm.MNLogit(y, X).fit(disp=0, tol=1e-13)
    np.testing.assert_allclose(result.bse, fit.bse, rtol=1e-6)
    assert list(result.params.index) == list(X)
    assert result.llnull == pytest.approx(-len(y) * np.log(7))


def test_summary_says_what_it_shows(of_anes96):
    """The printed table, the notebook's, the frame's and LaTeX's hold the same numbers."""
    table = of_anes96.summary()
    assert "-1461.92" in str(table)
    assert "0.2977" in str(table)
    assert str(of_anes96) == str(table)
    assert "<td>0.2977</td>" in table._repr_html_()
    frame = table.to_frame()
    np.testing.assert_allclose(frame["coef"], of_anes96.to_frame()["coef"])
    assert list(frame) == ["coef", "std err", "z", "P>|z|", "[0.025", "0.975]"]


def test_likelihood_ratios_are_those_of_trusted_likelihoods(anes96, of_anes96):
    """Where rows may depend on each other or the model may be wrong, there is no such p-value."""
    X, y = anes96
    assert "LR test" in str(of_anes96)
    for design in ({"covariance": "sandwich"}, {"covariance": "cluster", "groups": np.arange(944)}):
        result = infer(unpenalised(X, y), X, y, **design)
        assert "LR test" not in str(result) and result.llr == pytest.approx(of_anes96.llr)
        with pytest.raises(ValueError, match="no llr_pvalue with covariance='"):
            _ = result.llr_pvalue


def test_latex_comes_from_pandas(of_anes96):
    """It holds the coefficients, with four digits."""
    pytest.importorskip("jinja2")
    assert "0.2977" in of_anes96.summary().to_latex()


# ---- Bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_bootstrap_errors_are_those_of_the_information(n_classes):
    """Where the model holds, within four of their own errors and what 400 rows leave."""
    X, y = simulated(400, n_classes)
    model = unpenalised(X, y)
    errors = infer(model, X, y, covariance="bootstrap", n_resamples=600, random_state=0)
    expected = infer(model, X, y)
    ratio = errors.bse / expected.bse
    assert errors.n_resamples == 600
    assert (np.abs(ratio - 1) < 4 / np.sqrt(2 * 600) + 0.1).all(axis=None)
    np.testing.assert_allclose(errors.params, expected.params)


def simulated(n, n_classes, seed=0):
    """Rows of a softmax model with three features."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 3))
    Z = X @ random.normal(size=(3, n_classes)) / 2
    return X, (Z + random.gumbel(size=Z.shape)).argmax(axis=1)


def test_bootstrap_errors_of_counts_of_any_size_are_those_of_the_sandwich():
    """Of very many rows they are within their own error, 1 / sqrt(2 n_resamples), of it."""
    X, y = load_iris(return_X_y=True)
    X, weight = X[:, :1], np.full(150, 1e13)
    model = unpenalised(X, y, sample_weight=weight)
    options = {"covariance": "bootstrap", "n_resamples": 400, "random_state": 0}
    errors = infer(model, X, y, sample_weight=weight, **options)
    sandwich = infer(model, X, y, sample_weight=weight, covariance="sandwich")
    np.testing.assert_allclose(errors.bse, sandwich.bse, rtol=5 / np.sqrt(800))


@pytest.mark.parametrize("total", [1e-15, 1, 1e20])
def test_weights_that_count_no_rows_have_no_bootstrap_of_counts(total):
    """The error says how many rows they count, and how weights of a survey are passed."""
    X, y = load_iris(return_X_y=True)
    X, weight = X[:, :1], np.full(150, total / 150)
    model = unpenalised(X, y, sample_weight=weight)
    options = {"sample_weight": weight, "covariance": "bootstrap", "n_resamples": 5}
    with pytest.raises(ValueError, match='sample_weight counts .* rows.*weights="probability"'):
        infer(model, X, y, **options)
    assert np.isfinite(infer(model, X, y, weights="probability", **options).bse).all(axis=None)


def test_a_class_without_rows_has_no_bootstrap():
    """No resample has any: the error says so, and that the sandwich is there."""
    X, y = simulated(100, 3)
    model = SoftmaxRegression(C=np.inf, classes=[0, 1, 2, 3]).fit(X, y)
    with pytest.raises(ValueError, match=r"rows of each class.*sandwich"):
        infer(model, X, y, covariance="bootstrap", n_resamples=5)
    present = infer(model, X, y, covariance="sandwich").bse[[1, 2]]
    expected = infer(unpenalised(X, y), X, y, covariance="sandwich").bse
    np.testing.assert_allclose(present, expected, rtol=1e-6)


def test_bootstrap_of_clusters_draws_whole_clusters():
    """Ten copies of each row are ten times the rows, but not if copies are drawn together."""
    X, y = simulated(200, 2)
    copies = np.repeat(np.arange(200), 10)
    model = unpenalised(X[copies], y[copies])
    options = {"covariance": "bootstrap", "n_resamples": 300, "random_state": 0}
    rows = infer(model, X[copies], y[copies], **options)
    clusters = infer(model, X[copies], y[copies], groups=copies, **options)
    expected = infer(unpenalised(X, y), X, y, covariance="sandwich")
    assert clusters.n_groups == 200
    np.testing.assert_allclose(clusters.bse, expected.bse, rtol=0.25)
    np.testing.assert_allclose(rows.bse, expected.bse / np.sqrt(10), rtol=0.25)


def test_the_same_random_state_is_the_same_bootstrap():
    """An int draws the same rows each time, and another one others."""
    X, y = simulated(100, 3)
    model = unpenalised(X, y)
    options = {"covariance": "bootstrap", "n_resamples": 20}
    one, same, other = (infer(model, X, y, random_state=s, **options).bse for s in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert not np.allclose(one, other)


# ---- Bad input -----------------------------------------------------------------------------------


def test_unfitted_estimators_are_refused(anes96):
    """Before `fit` there is nothing to infer, as scikit-learn has it; nor of other objects."""
    with pytest.raises(NotFittedError):
        infer(SoftmaxRegression(), *anes96)
    with pytest.raises(TypeError, match="last step"):
        infer(object(), *anes96)


def test_other_rows_than_fitted_to_are_refused(anes96):
    """The optimum of others is not theirs; nor are other columns."""
    X, y = anes96
    model = unpenalised(X, y)
    with pytest.raises(ValueError, match="not at the optimum"):
        infer(model, X[::2], y[::2])
    with pytest.raises(ValueError, match="feature names"):
        infer(model, X.rename(columns={"age": "years"}), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"covariance": "HC3"}, "covariance must be one of"),
        ({"weights": "analytic"}, "weights must be one of"),
        ({"covariance": "cluster"}, "needs groups"),
        ({"groups": np.zeros(944)}, "groups are not used"),
        ({"covariance": "cluster", "groups": np.zeros(944)}, "two or more"),
        ({"covariance": "cluster", "groups": np.arange(944) % 5}, "5 clusters, fewer than"),
        ({"covariance": "cluster", "groups": np.arange(900)}, "groups must have shape"),
        ({"covariance": "cluster", "groups": np.ones((944, 2))}, "groups must have shape"),
        ({"reference": np.array([0, 1])}, "not one of the classes"),
        ({"reference": pd.NA}, "not one of the classes"),
        ({"covariance": "cluster", "groups": np.full(944, np.nan)}, "no value in row 0"),
        ({"reference": "academic"}, "not one of the classes"),
        ({"n_resamples": 1}, "n_resamples"),
    ],
)
def test_bad_arguments_are_named(anes96, arguments, message):
    """Each raises a ValueError of one sentence that says which."""
    X, y = anes96
    with pytest.raises(ValueError, match=message):
        infer(unpenalised(X, y), X, y, **arguments)


def test_chunks_hold_their_own_weights(anes96):
    """What goes with X and y in memory is not passed over."""
    X, y = anes96
    chunks = [(X, y)]
    model = SoftmaxRegression(C=np.inf).fit_chunks(chunks)
    for name, value in (("sample_weight", np.ones(944)), ("offset", np.zeros((944, 7)))):
        with pytest.raises(ValueError, match=f"{name} goes with X and y"):
            infer(model, chunks, **{name: value})
    with pytest.raises(TypeError) as forgotten:
        infer(model, X)
    assert any("Without y" in note for note in forgotten.value.__notes__)


def test_weights_that_sum_to_one_are_no_counts_of_rows(anes96):
    """Fewer rows than parameters have no covariance of clusters."""
    X, y = anes96
    weight = np.full(944, 1 / 944)
    model = unpenalised(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="counts 1 rows"):
        infer(model, X, y, sample_weight=weight, covariance="cluster", groups=np.arange(944))


@pytest.mark.parametrize("level", [95, "95%", None, [0.9, 0.95], np.nan])
def test_levels_are_numbers_between_zero_and_one(of_anes96, level):
    """Anything else is named."""
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        of_anes96.conf_int(level)


def test_intervals_are_named_by_their_ends(of_anes96):
    """No end is rounded to 1."""
    assert of_anes96.to_frame(0.99999).columns.tolist()[-2:] == ["[5e-06", "0.999995]"]


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2]])
def test_one_class_alone_has_a_summary(classes):
    """Nothing is identified, and nothing is explained."""
    X, y = np.arange(6.0)[:, None], np.zeros(6, dtype=int)
    result = infer(SoftmaxRegression(C=np.inf, classes=classes).fit(X, y), X, y)
    assert result.bse.isna().all(axis=None) and (result.n_params, result.df_model) == (0, 0)
    assert "Not identified by the data: x0, intercept." in str(result)


def test_fits_that_have_no_such_errors_are_refused(anes96):
    """L1, class weights as counts, smoothed targets: each with its remedy."""
    X, y = anes96
    with pytest.raises(ValueError, match="C=np.inf, on rows that did not choose"):
        infer(SoftmaxRegression(l1_ratio=1).fit(X, y), X, y)
    balanced = SoftmaxRegression(C=np.inf, class_weight="balanced").fit(X, y)
    with pytest.raises(ValueError, match='weights="probability"'):
        infer(balanced, X, y)
    assert infer(balanced, X, y, weights="probability").bse.notna().all(axis=None)
    with pytest.raises(ValueError, match="label_smoothing=0"):
        infer(SoftmaxRegression(C=np.inf, label_smoothing=0.1).fit(X, y), X, y)
    with pytest.raises(ValueError, match="labels have none"):
        Y = np.column_stack([y > 3, y > 1]).astype(int)
        infer(SigmoidRegression(C=np.inf).fit(X, Y), X, Y, reference=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_separated_classes_are_refused():
    """Without an estimate there is no error of it; the message says where to look."""
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="inference.separation"):
        infer(unpenalised(X, y), X, y)


def test_covariances_too_large_to_hold_are_refused():
    """Above 2 GB, by a message that says how large."""
    X, y = make_classification(30, 20_000, random_state=0)
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="GB"):
        infer(model, X, y)


def test_cross_validated_fits_are_penalised_ones(anes96):
    """Their errors are those of a fit of the chosen strength."""
    X, y = anes96
    model = SoftmaxRegressionCV(Cs=[0.1, 1.0]).fit(X, y)
    expected = infer(SoftmaxRegression(C=float(model.C_)).fit(X, y), X, y)
    np.testing.assert_allclose(infer(model, X, y).bse, expected.bse, rtol=1e-5)


def test_summaries_say_what_is_no_likelihood_and_what_is_few(anes96):
    """Probability weights have a pseudo-likelihood and no AIC; few clusters have a warning."""
    X, y = anes96
    X, y = X[["age"]], (y > 3).astype(int)
    model = unpenalised(X, y)
    text = str(infer(model, X, y, weights="probability"))
    assert "Log pseudo-likelihood" in text and "AIC" not in text and "LR test" not in text
    few, many = (
        str(infer(model, X, y, covariance="cluster", groups=np.arange(len(y)) % count))
        for count in (29, 30)
    )
    assert "Few clusters" in few and "Few clusters" not in many
