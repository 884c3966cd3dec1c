"""Margins and predicted probabilities with their errors: `softreg.inference.margins` and others."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse
from scipy.special import log_softmax, logit, softmax
from statsmodels.datasets import anes96

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.inference import average_probabilities, infer, margins, predict_interval

FREE = {"C": np.inf, "tol": 1e-14}
KINDS = ["dydx", "eyex", "dyex", "eydx"]


def simulated(K, n=400, seed=0, offset=False):
    """A result of infer and its X, two columns of which are 0 or 1, and offsets."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": random.uniform(1, 5, n),
            "male": random.integers(0, 2, n).astype(float),
            "north": random.choice([0.0, 1.0, 2.0], n),
        }
    )
    X = X.assign(south=(X["north"] == 2) * 1.0, north=(X["north"] == 1) * 1.0)
    Z = X.to_numpy() @ random.normal(size=(4, K)) / 2 + random.gumbel(size=(n, K))
    shift = None
    if offset:
        shift = random.normal(size=n) if K == 2 else random.normal(size=(n, K))
        Z += np.column_stack([-shift / 2, shift / 2]) if K == 2 else shift
    y = np.array(list("abcdef"))[Z.argmax(axis=1)]
    model = SoftmaxRegression(**FREE).fit(X, y, offset=shift)
    return infer(model, X, y, offset=shift), X, shift


def probabilities(theta, X, shift=None, log=False):
    """Probabilities (n, K) of coefficients (K, d + 1), by the definition."""
    Z = X @ theta[:, :-1].T + theta[:, -1]
    if shift is not None:
        Z = Z + (np.column_stack([-shift / 2, shift / 2]) if shift.ndim == 1 else shift)
    return log_softmax(Z, axis=1) if log else softmax(Z, axis=1)


def naive_effects(theta, X, kind, variables=(), shift=None, weight=None):
    """Average effects (d, K): p_k (theta_k - sum_l p_l theta_l), or differences by their name.

    `variables` are lists of columns of 0 and 1 that exclude each other.
    """
    log, P = kind.startswith("ey"), probabilities(theta, X, shift)
    effects = np.zeros((X.shape[1], len(theta)))
    variable_of = {j: variable for variable in variables for j in variable}
    for j in range(X.shape[1]):
        if j in variable_of:
            one, zero = X.copy(), X.copy()
            one[:, variable_of[j]] = zero[:, variable_of[j]] = 0
            one[:, j] = 1
            rows = probabilities(theta, one, shift, log) - probabilities(theta, zero, shift, log)
        else:
            rows = theta[:, j] - (P @ theta[:, j])[:, None]
            rows = rows * (1 if log else P) * (X[:, [j]] if kind.endswith("ex") else 1)
        effects[j] = np.average(rows, axis=0, weights=weight)
    return effects


def delta_errors(function, result, h=1e-5):
    """Standard errors of a function of the coefficients, by central differences in each."""
    theta = result.estimate.coefficients
    columns = []
    for step in h * np.eye(theta.size):
        step = step.reshape(theta.shape)
        columns.append((function(theta + step) - function(theta - step)).ravel() / (2 * h))
    J = np.array(columns).T
    variance = np.einsum("ij,jk,ik->i", J, result.estimate.covariance, J)
    return np.sqrt(variance).reshape(function(theta).shape)


@pytest.fixture(scope="module")
def election():
    """The American National Election Study of 1996, unpenalised."""
    data = anes96.load_pandas().data
    X = data.assign(logpopul=np.log(data["popul"] + 0.1))
    X, y = X[["logpopul", "selfLR", "age", "educ", "income"]], data["PID"].astype(int)
    return infer(SoftmaxRegression(**FREE).fit(X, y), X, y), X, y


@pytest.fixture(scope="module")
def school():
    """High School and Beyond, prog ~ ses + write, unpenalised."""
    data = pd.read_csv(Path(__file__).parents[1] / "examples" / "data" / "hsbdemo.csv")
    X = pd.DataFrame({s: (data["ses"] == s).astype(float) for s in ("middle", "high")})
    X, y = X.assign(write=data["write"].astype(float)), data["prog"]
    return infer(SoftmaxRegression(**FREE).fit(X, y), X, y), X


# ---- Numbers from outside ------------------------------------------------------------------------


def test_stata_gives_the_same_average_marginal_effects_of_the_election_study(election):
    """Effects on P(outcome 0) and their errors, to every printed digit."""
    result, X, _ = election
    found = margins(result, X)
    effects = [
        0.00868085993550,
        -0.09779854015456,
        0.00272556969847,
        -0.01992376579372,
        -0.00603133322764,
    ]
    errors = [0.0038581061, 0.0080471125, 0.0007068488, 0.0082318967, 0.0020261706]
    np.testing.assert_allclose(found.effects[0], effects, rtol=1e-7)  # Stata stopped there
    np.testing.assert_allclose(found.bse[0], errors, rtol=2e-7)


def test_nnet_gives_the_same_average_marginal_effects_of_high_school_and_beyond(school):
    """Effects of write and their errors, to six decimals."""
    result, X = school
    found = margins(result, X)
    effects, errors = found.effects.loc["write"], found.bse.loc["write"]
    np.testing.assert_allclose(effects, [0.017141, -0.002829, -0.014312], atol=1e-6)
    np.testing.assert_allclose(errors, [0.002877, 0.002825, 0.002512], atol=1e-6)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_statsmodels_gives_the_same_marginal_effects_of_seven_classes(election, at):
    """Effects, errors, z and p as MNLogit's get_margeff has them (its other kinds do not run)."""
    result, X, y = election
    fit = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(method="newton", maxiter=50, disp=0)
    theirs, ours = fit.get_margeff(at=at), margins(result, X, at=at)
    np.testing.assert_allclose(ours.effects, theirs.margeff, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.bse, theirs.margeff_se, rtol=1e-7)
    np.testing.assert_allclose(ours.p, theirs.pvalues, rtol=1e-5, atol=1e-12)
    interval = theirs.conf_int(0.1).reshape(5, 2, 7)  # (feature, end, class)
    ends = ours.conf_int(0.9).to_numpy().reshape(7, 5, 2).transpose(1, 2, 0)
    np.testing.assert_allclose(ends, interval, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "at", "dummy"),
    [(kind, at, False) for kind, at in product(KINDS, ["overall", "mean", "median"])]
    + [("dydx", "overall", True), ("dydx", "mean", True)],
)
def test_statsmodels_gives_the_same_marginal_effects_of_two_classes(kind, at, dummy):
    """Logit's effects on the second class of every kind; its dummies, of those of p alone."""
    result, X, _ = simulated(2)
    codes = y_of_two(X)
    result = infer(SoftmaxRegression(**FREE).fit(X, codes), X, codes)
    fit = sm.Logit(codes, sm.add_constant(X, prepend=False)).fit(disp=0, tol=1e-12)
    theirs = fit.get_margeff(at=at, method=kind, dummy=dummy)
    ours = margins(result, X, at=at, kind=kind, dummies="auto" if dummy else None)
    np.testing.assert_allclose(ours.effects[1], theirs.margeff, rtol=1e-6)
    np.testing.assert_allclose(ours.bse[1], theirs.margeff_se, rtol=1e-6)


def y_of_two(X, seed=3):
    z = X.to_numpy() @ [0.5, -0.8, 0.4, 1.0] - 1
    return (z + np.random.default_rng(seed).logistic(size=len(X)) > 0).astype(int)


# ---- Laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("K", "offset"), [(2, False), (2, True), (4, True)])
def test_effects_and_errors_are_those_of_the_definition(kind, K, offset):
    """Averages over weighted rows; errors are J V J' with J by central differences."""
    result, X, shift = simulated(K, offset=offset)
    weight = np.random.default_rng(1).uniform(0, 2, len(X))
    arguments = {"kind": kind, "sample_weight": weight, "offset": shift}
    for dummies, variables in [
        (None, []),
        ("auto", [[1], [2], [3]]),
        (["south"], [[3]]),
        ({"sex": ["male"], "region": ["north", "south"]}, [[1], [2, 3]]),
    ]:
        found = margins(result, X, dummies=dummies, **arguments)

        def effects(theta, variables=variables):
            return naive_effects(theta, X.to_numpy(), kind, variables, shift, weight)

        theta = result.estimate.coefficients
        np.testing.assert_allclose(found.effects, effects(theta), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.bse, delta_errors(effects, result), rtol=1e-6)


def test_effects_are_derivatives_of_the_average_probability():
    """Central differences in a column of X give the effects on all classes."""
    result, X, _ = simulated(3)
    theta, h = result.estimate.coefficients, 1e-5
    up, down = X.assign(age=X["age"] + h), X.assign(age=X["age"] - h)
    change = probabilities(theta, up.to_numpy()) - probabilities(theta, down.to_numpy())
    expected = change.mean(axis=0) / (2 * h)
    np.testing.assert_allclose(margins(result, X).effects.loc["age"], expected, rtol=1e-8)


@pytest.mark.parametrize("at", ["mean", "median"])
def test_effects_at_a_point_are_those_of_one_row(at):
    """At the mean or median the effects are those of a frame with that one row."""
    result, X, shift = simulated(3, offset=True)
    row = getattr(X, at)().to_frame().T
    found = margins(result, X, at=at, offset=shift, dummies=["male"])
    (_, d), theta = row.shape, result.estimate.coefficients
    expected = naive_effects(theta, row.to_numpy(), "dydx", [[1]], shift.mean(axis=0)[None])
    assert expected.shape == (d, 3)
    np.testing.assert_allclose(found.effects, expected, rtol=1e-9)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_a_weight_is_so_many_rows(at):
    """Weights 0, 1, 2, 3 give what rows left out, once, twice and three times give."""
    result, X, shift = simulated(3, offset=True)
    weight = np.arange(len(X)) % 4
    rows = np.repeat(np.arange(len(X)), weight)
    weighted = margins(result, X, at=at, sample_weight=weight, offset=shift)
    repeated = margins(result, X.iloc[rows], at=at, offset=shift[rows])
    np.testing.assert_allclose(weighted.effects, repeated.effects, rtol=1e-9)
    np.testing.assert_allclose(weighted.bse, repeated.bse, rtol=1e-9)


def test_a_series_says_where_as_a_mapping_does():
    """Values by column name, such as a row of a frame, set the columns that it names."""
    result, X, _ = simulated(3)
    given = X[["age", "male"]].iloc[3]
    of_mapping, of_series = (margins(result, X, at=at) for at in (given.to_dict(), given))
    pd.testing.assert_frame_equal(of_series.effects, of_mapping.effects)


@pytest.mark.parametrize("kind", ["dydx", "dyex"])
def test_effects_on_probabilities_sum_to_zero_over_the_classes(kind):
    """Probabilities sum to one: their changes, and those of all classes' errors, cancel."""
    result, X, _ = simulated(4)
    found = margins(result, X, kind=kind)
    np.testing.assert_allclose(found.effects.sum(axis=1), 0, atol=1e-14)
    over_classes = np.kron(np.ones((1, 4)), np.eye(4))
    np.testing.assert_allclose(over_classes @ found.covariance.to_numpy(), 0, atol=1e-14)


def test_effects_do_not_depend_on_the_reference():
    """Contrasts to another class, or to the mean of all, have the same margins."""
    result, X, _ = simulated(3)
    for reference in ("c", "sum-to-zero"):
        other = margins(result.against(reference), X)
        pd.testing.assert_frame_equal(other.bse, margins(result, X).bse)


def test_the_covariance_of_effects_has_their_errors():
    """Its diagonal are the squares of `bse`, its axes (class, feature)."""
    result, X, _ = simulated(3)
    found = margins(result, X, by=X["male"])
    variance = np.diag(found.covariance).reshape(3, -1).T
    np.testing.assert_allclose(variance, found.bse**2, rtol=1e-12)
    assert found.covariance.index.names == ["class", "male", "feature"]
    assert found.covariance.loc[("b", 1.0, "age"), ("b", 1.0, "age")] == pytest.approx(
        found.bse.loc[(1.0, "age"), "b"] ** 2
    )


def test_subgroups_have_the_effects_of_their_rows():
    """`by` gives what the rows of each subgroup give, whether named or passed."""
    result, X, shift = simulated(3, offset=True)
    group = np.where(X["age"] > 3, "old", "young")
    found = margins(result, X, by=group, offset=shift)
    for name in ("old", "young"):
        rows = group == name
        alone = margins(result, X[rows], offset=shift[rows], dummies=["male", "north", "south"])
        np.testing.assert_allclose(found.effects.loc[name], alone.effects, rtol=1e-12)
        np.testing.assert_allclose(found.bse.loc[name], alone.bse, rtol=1e-12)
    by_name = margins(result, X, by="male").effects
    pd.testing.assert_frame_equal(by_name, margins(result, X, by=X["male"]).effects)


def test_given_values_replace_columns():
    """A grid of values gives what X with these values in all rows gives, averaged."""
    result, X, _ = simulated(3)
    grid = {"age": [2.0, 4.0], "male": 1}
    found, P = margins(result, X, at=grid), average_probabilities(result, X, at=grid)
    assert found.effects.index.names == ["age", "male", "feature"]
    for age in grid["age"]:
        set_ = X.assign(age=age, male=1.0)
        alone = margins(result, set_, dummies=["male", "north", "south"])
        np.testing.assert_allclose(found.effects.loc[(age, 1.0)], alone.effects, rtol=1e-12)
        mean = probabilities(result.estimate.coefficients, set_.to_numpy()).mean(axis=0)
        np.testing.assert_allclose(P.loc[(age, 1.0), "probability"], mean, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", ["overall", "median"])
def test_forms_of_X_give_the_same_effects(kind, at):
    """A DataFrame, an array, CSR and a float32 array of the same numbers."""
    result, X, _ = simulated(3)
    X = X.round(2)
    expected = margins(result, X, kind=kind, at=at)
    for form, tolerance in [(np.array, 1e-12), (sparse.csr_array, 1e-12), (np.float32, 1e-6)]:
        found = margins(result, form(X), kind=kind, at=at)
        np.testing.assert_allclose(found.effects, expected.effects, rtol=tolerance, atol=1e-12)
        np.testing.assert_allclose(found.bse, expected.bse, rtol=tolerance)


def test_many_rows_are_averaged_block_by_block():
    """Rows repeated until they fill several blocks have the averages of themselves once."""
    result, X, shift = simulated(3, offset=True)
    many = pd.concat([X] * 100, ignore_index=True)
    found = margins(result, many, offset=np.tile(shift, (100, 1)))
    np.testing.assert_allclose(found.effects, margins(result, X, offset=shift).effects, rtol=1e-9)
    np.testing.assert_allclose(found.bse, margins(result, X, offset=shift).bse, rtol=1e-9)


def test_a_label_has_the_margins_of_its_two_class_model():
    """Margins of one of several labels are those of a fit to that label alone."""
    _, X, _ = simulated(3)
    Y = np.column_stack([y_of_two(X), y_of_two(X, seed=4)])
    results = infer(SigmoidRegression(**FREE).fit(X, Y), X, Y)
    for label in (0, 1):
        alone = infer(SoftmaxRegression(**FREE).fit(X, Y[:, label]), X, Y[:, label])
        found, expected = margins(results[label], X), margins(alone, X)
        np.testing.assert_allclose(found.effects, expected.effects, rtol=1e-6)
        np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-6)
    with pytest.raises(TypeError, match=r"pass result\[label\]"):
        margins(results, X)


def test_penalised_fits_have_effects_and_errors_but_no_tests():
    """Errors are those of the posterior; z and p raise, and tables leave them out."""
    _, X, _ = simulated(3)
    y = y_of_two(X) + y_of_two(X, seed=4)
    result = infer(SoftmaxRegression(C=0.1, tol=1e-14).fit(X, y), X, y)
    found = margins(result, X)
    expected = delta_errors(lambda theta: naive_effects(theta, X.to_numpy(), "dydx"), result)
    np.testing.assert_allclose(margins(result, X, dummies=None).bse, expected, rtol=1e-6)
    for name in ("z", "p"):
        with pytest.raises(ValueError, match="penalised"):
            getattr(found, name)
    assert list(found.to_frame().columns[:2]) == ["effect", "std err"]
    assert "P>|z|" not in str(found.summary())
    assert found.conf_int().notna().all(axis=None)
    assert predict_interval(result, X).notna().all(axis=None)
    # Beside the posterior there are no intervals about a shrunken estimate.
    sandwich = infer(SoftmaxRegression(C=0.1).fit(X, y), X, y, covariance="sandwich")
    assert list(margins(sandwich, X).to_frame().columns) == ["effect", "std err"]
    for interval in (
        lambda: margins(sandwich, X).conf_int(),
        lambda: predict_interval(sandwich, X),
        lambda: average_probabilities(sandwich, X),
    ):
        with pytest.raises(ValueError, match="penalised"):
            interval()


def test_effects_that_the_data_leave_open_are_missing():
    """A column that is twice another has no effect of its own; those of others stay."""
    result, X, _ = simulated(3)
    wide, y = X.assign(double=2 * X["age"]), y_of_two(X) + y_of_two(X, seed=4)
    narrow = infer(SoftmaxRegression(**FREE).fit(X, y), X, y)
    with pytest.warns(UserWarning, match="not identified"):
        model = SoftmaxRegression(**FREE).fit(wide, y)
    found = margins(infer(model, wide, y), wide)
    assert found.effects.loc[["age", "double"]].isna().all(axis=None)
    assert found.bse.loc[["age", "double"]].isna().all(axis=None)
    kept, expected = ["male", "north", "south"], margins(narrow, X)
    np.testing.assert_allclose(found.effects.loc[kept], expected.effects.loc[kept], rtol=1e-7)
    np.testing.assert_allclose(found.bse.loc[kept], expected.bse.loc[kept], rtol=1e-6)
    P = predict_interval(infer(model, wide, y), wide)
    expected_P = predict_interval(narrow, X)
    np.testing.assert_allclose(P, expected_P, rtol=1e-6)
    apart = wide.assign(double=1.0)
    assert predict_interval(infer(model, wide, y), apart)["lower"].isna().all(axis=None)


def test_classes_without_rows_have_no_margins():
    """Those of the other classes are as without the one that was only declared."""
    _, X, _ = simulated(3)
    y = y_of_two(X) + y_of_two(X, seed=4)
    narrow = infer(SoftmaxRegression(**FREE).fit(X, y), X, y)
    result = infer(SoftmaxRegression(**FREE, classes=[0, 1, 2, 3]).fit(X, y), X, y)
    found, expected = margins(result, X), margins(narrow, X)
    np.testing.assert_allclose(found.effects[[0, 1, 2]], expected.effects, rtol=1e-6)
    np.testing.assert_allclose(found.bse[[0, 1, 2]], expected.bse, rtol=1e-6)
    assert found.effects[3].isna().all() and found.bse[3].isna().all()
    P, lower = (predict_interval(result, X)[name] for name in ("probability", "lower"))
    np.testing.assert_allclose(P[[0, 1, 2]], predict_interval(narrow, X)["probability"], rtol=1e-6)
    np.testing.assert_allclose(lower[[0, 1, 2]], predict_interval(narrow, X)["lower"], rtol=1e-5)
    assert lower[3].isna().all()


def test_a_table_of_margins_prints_and_frames():
    """`summary` holds the numbers of `to_frame`, a section for each class."""
    result, X, _ = simulated(3)
    found = margins(result, X, at={"age": [2, 3]})
    frame = found.to_frame()
    np.testing.assert_allclose(frame.loc["b", "effect"], found.effects["b"])
    np.testing.assert_allclose(frame.loc["c", "z"], found.effects["c"] / found.bse["c"])
    text = str(found.summary())
    assert "b, age = 2.0" in text and "male" in text and "dp / dx" in text
    assert "<table" in found._repr_html_()


# ---- Predicted probabilities ---------------------------------------------------------------------


@pytest.mark.parametrize(("K", "offset"), [(2, True), (4, False), (4, True)])
def test_intervals_of_predictions_are_those_of_their_logits(K, offset):
    """Ends are sigmoid(logit p -+ q se), se by central differences, for every row and class."""
    result, X, shift = simulated(K, offset=offset)
    found = predict_interval(result, X, level=0.9, offset=shift)

    def logits(theta):
        return logit(probabilities(theta, X.to_numpy(), shift))

    theta, errors = result.estimate.coefficients, delta_errors(logits, result)
    np.testing.assert_allclose(found["probability"], probabilities(theta, X.to_numpy(), shift))
    half = 1.6448536269514722 * errors
    np.testing.assert_allclose(logit(found["lower"]), logits(theta) - half, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(logit(found["upper"]), logits(theta) + half, rtol=1e-6, atol=1e-6)


def test_statsmodels_gives_the_same_intervals_of_two_classes():
    """A binomial GLM's predictions have intervals on the logit, too."""
    _, X, _ = simulated(2)
    y = y_of_two(X)
    result = infer(SoftmaxRegression(**FREE).fit(X, y), X, y)
    design = sm.add_constant(X, prepend=False)
    fit = sm.GLM(y, design, sm.families.Binomial()).fit(tol=1e-12)
    theirs = fit.get_prediction(design).summary_frame()
    ours = predict_interval(result, X)
    np.testing.assert_allclose(ours["probability"][1], theirs["mean"], rtol=1e-6)
    np.testing.assert_allclose(ours["lower"][1], theirs["mean_ci_lower"], rtol=1e-6)
    np.testing.assert_allclose(ours["upper"][1], theirs["mean_ci_upper"], rtol=1e-6)


def test_intervals_stay_inside_zero_and_one_far_out():
    """Scores of hundreds have probabilities 0 or 1 to rounding, with finite intervals around."""
    result, X, _ = simulated(3)
    far = X.assign(age=X["age"] * 1000)
    found = predict_interval(result, far)
    assert np.isfinite(found.to_numpy()).all()
    assert ((found >= 0) & (found <= 1)).all(axis=None)
    assert (found["lower"] <= found["probability"]).all(axis=None)
    assert (found["probability"] <= found["upper"]).all(axis=None)
    np.testing.assert_allclose(found["probability"].sum(axis=1), 1, rtol=1e-12)


def test_predictions_keep_the_index_of_the_rows():
    """Rows of the frame are those of X, by name."""
    result, X, _ = simulated(3)
    named = X.set_axis([f"row {i}" for i in range(len(X))])
    assert predict_interval(result, named).index.equals(named.index)
    assert predict_interval(result, X.to_numpy()).columns.get_level_values(1)[0] == "a"


def test_average_probabilities_have_intervals_of_their_logits(school):
    """By ses and write: averages, and ends on the logit with errors by central differences."""
    result, X = school
    for middle, high in [(0, 0), (1, 0), (0, 1)]:
        grid = {"middle": middle, "high": high, "write": [30, 50]}
        found = average_probabilities(result, X, at=grid)
        rows = np.array([[middle, high, 30.0], [middle, high, 50.0]])

        def logits(theta, rows=rows):
            return logit(probabilities(theta, rows))

        theta, errors = result.estimate.coefficients, delta_errors(logits, result)
        np.testing.assert_allclose(found["probability"], probabilities(theta, rows), rtol=1e-10)
        half = 1.959963984540054 * errors
        np.testing.assert_allclose(logit(found["upper"]), logits(theta) + half, rtol=1e-6)
    by_group = average_probabilities(result, X, by="high")
    mean = probabilities(result.estimate.coefficients, X[X["high"] == 1].to_numpy()).mean(axis=0)
    np.testing.assert_allclose(by_group.loc[1.0, "probability"], mean, rtol=1e-10)
    whole = average_probabilities(result, X)
    assert whole.shape == (1, 9)
    # With an intercept, average probabilities are the classes' shares.
    np.testing.assert_allclose(whole["probability"].iloc[0], [105 / 200, 45 / 200, 50 / 200])


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("far", [-300, -120, 120, 300])
def test_the_average_of_one_row_is_its_prediction(K, far):
    """However near 0 or 1 probabilities are."""
    result, X, _ = simulated(K, offset=False)
    row = X.iloc[:1].assign(age=float(far))
    expected = predict_interval(result, row)
    found = average_probabilities(result, X.iloc[:1], at={"age": far})
    assert ((expected["probability"] > 1 - 1e-9) | (expected["probability"] < 1e-9)).any(axis=None)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_effects_that_cannot_vary_have_no_tests():
    """Elasticities where a column is 0, and effects where probabilities are 0 and 1: NaN."""
    result, X, _ = simulated(3)
    at_zero = margins(result, X.assign(age=0.0), kind="eyex", dummies=None).to_frame()
    at_zero = at_zero.xs("age", level="feature")
    assert (at_zero[["effect", "std err"]] == 0).all(axis=None) and at_zero["z"].isna().all()
    far = margins(result, X, at={"age": 1e6})
    assert far.to_frame()["P>|z|"].isna().all() and "NaN" in str(far)


def test_weights_of_any_size_average_alike():
    """Only their ratios count, also where their sum overflows."""
    result, X, _ = simulated(3)
    expected = margins(result, X).effects
    found = margins(result, X, sample_weight=np.full(len(X), 1e308)).effects
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# ---- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": "centre"}, "at='centre' must be \"overall\""),
        ({"at": {"agee": 3}}, "at names 'agee'.*nearest names are 'age'"),
        ({"at": {"age": np.inf}}, r"at\['age'\] must be finite"),
        ({"kind": "dy"}, "kind='dy' must be one of"),
        ({"kind": ["dydx"]}, r"kind=\['dydx'\] must be one of"),
        ({"by": 3}, "by=3 must be a feature"),
        ({"dummies": {"male": "male"}}, "dummies holds 'male', which must be a list"),
        ({"dummies": {"a": ["male"], "b": ["male"]}}, "dummies names 'male' in two places"),
        ({"dummies": {"a": ["male", "north"]}}, "exclude each other, and some rows"),
        ({"dummies": ["age"]}, "dummies names 'age', which holds more than 0 and 1"),
        ({"dummies": ["sex"]}, "dummies names 'sex'"),
        ({"dummies": "all"}, "dummies='all' must be"),
        ({"by": "sex"}, "by names 'sex'"),
        ({"by": [1, 2]}, "by must have shape"),
        ({"by": [None] + [1] * 399}, "by is missing in row 0"),
        ({"by": pd.array([1, None] * 200, dtype="Int64")}, "by is missing in row 1"),
        ({"sample_weight": np.zeros(400)}, "some row must have weight"),
        ({"offset": np.zeros(400)}, "offset must have shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each raises a ValueError that says what is wrong with it."""
    result, X, _ = simulated(3)
    with pytest.raises(ValueError, match=message):
        margins(result, X, **arguments)


def test_other_columns_are_refused_by_name():
    """X must have the columns of the fit, in their order where they have names."""
    result, X, _ = simulated(3)
    for function in (margins, predict_interval, average_probabilities):
        with pytest.raises(ValueError, match="sex"):
            function(result, X.rename(columns={"male": "sex"}))
        with pytest.raises(ValueError, match="3 features"):
            function(result, X.to_numpy()[:, :3])
        with pytest.raises(TypeError, match="infer returns, got DataFrame"):
            function(X, X)
    array = X.to_numpy()
    unnamed = infer(SoftmaxRegression(**FREE).fit(array, y_of_two(X)), array, y_of_two(X))
    with pytest.raises(ValueError, match="same order"):
        margins(unnamed, X.set_axis(["x1", "x0", "x2", "x3"], axis=1))
    renamed = X.rename(columns={"male": "sex"})  # a fit to an array knows no names
    assert margins(unnamed, renamed).effects.index.tolist() == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_lie_between_zero_and_one(level):
    """A level of 95 percent is 0.95."""
    result, X, _ = simulated(3)
    for function in (predict_interval, average_probabilities):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            function(result, X, level=level)


def test_columns_far_from_zero_have_the_same_intervals_and_margins():
    """Adding ten million to columns of deviation one changes nothing but the intercept."""
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 3))
    y = (X @ random.normal(size=(3, 3)) + random.gumbel(size=(300, 3))).argmax(axis=1)
    far = X + 1e7
    near, shifted = (infer(SoftmaxRegression(C=np.inf).fit(Z, y), Z, y) for Z in (far - 1e7, far))
    np.testing.assert_allclose(
        predict_interval(shifted, far), predict_interval(near, far - 1e7), rtol=1e-6
    )
    np.testing.assert_allclose(margins(shifted, far).bse, margins(near, far - 1e7).bse, rtol=1e-6)
