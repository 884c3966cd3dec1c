"""Firth's estimates: those of R's brglm2, the maximum of a penalised likelihood written plainly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import chi2, norm
from sklearn.datasets import load_iris

from softreg.inference import firth

HSB = Path(__file__).parents[1] / "examples" / "data" / "hsbdemo.csv"

# Twelve rows, and their classes: overlapping, one class separated from the others, four.
X = np.column_stack([np.arange(1.0, 13), [0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0]])
OVERLAPPING, SEPARATED, FOUR = map(
    np.array, map(list, ("aababcbaccbc", "abaababacccc", "adbadcbdcabc"))
)
TWO = np.array([0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1])
WEIGHT = np.tile([1.0, 2, 3], 4)
OFFSET = (X[:, 0] - 6) / 4

# R 4.2.2, brglm2 0.9. Of three or more classes: brmultinom(y ~ x1 + x2, type = "AS_mean", ref = 1,
# epsilon = 1e-13, maxit = 10000), coef() and summary()$standard.errors; of two classes:
# glm(y ~ x1 + x2, family = binomial, method = "brglmFit", type = "AS_mean", control = list(epsilon
# = 1e-13, maxit = 10000)), coef() and sqrt(diag(vcov())). Rows are classes; columns x1, x2 and, if
# there is one, the intercept.
REFERENCES = {
    "three classes": (
        (OVERLAPPING, {}),
        [[0.3167813837669, -1.628593739652, -0.6611670485857],
         [0.6051345920108, -3.029717744690, -2.3422982101899]],
        [[0.2787041453072, 1.781227818104, 1.61301624800],
         [0.3539815910192, 2.178806879837, 2.27295457306]],
    ),
    "a class that is separated": (
        (SEPARATED, {}),
        [[0.02359307973649, 0.7568131887635, -0.8726744152935],
         [0.72819616169795, -0.0148533115694, -5.7815034475030]],
        [[0.2582181152833, 1.458308973439, 1.618287481355],
         [0.4392382469675, 1.893624501682, 3.661700425143]],
    ),
    "weights": (
        (OVERLAPPING, {"sample_weight": WEIGHT}),
        [[0.3326118782653, -2.276925858876, -0.009630004887594],
         [0.8863405542858, -5.846571654879, -2.818977963961045]],
        [[0.2367202061862, 1.507095677635, 1.297043464118],
         [0.3597371171859, 2.289515017493, 2.080466409826]],
    ),
    "four classes, no intercept": (
        (FOUR, {"fit_intercept": False}),
        [[0.2365578797864, -2.494828972517],
         [0.3153330574241, -4.359120983999],
         [-0.1827683056132, 1.448451071402]],
        [[0.2393118001618, 2.340479201193],
         [0.2377950369387, 2.796403938037],
         [0.2762964195742, 1.955288811134]],
    ),
    "two classes, weights, offset": (
        (TWO, {"sample_weight": WEIGHT, "offset": OFFSET}),
        [[0.09935361748232, 0.40748497531773, -0.21679620203909]],
        [[0.1659418108987, 1.0024617409278, 1.1872659367654]],
    ),
    "two classes, no intercept": (
        (TWO, {"fit_intercept": False}),
        [[0.1166487025178, -0.1807713047891]],
        [[0.1170164787136, 1.1380559472890]],
    ),
    "two classes, separated": (
        (X[:, 0] > 6, {}),
        [[0.7524611811913, -0.1937389977160, -4.8039788547294]],
        [[0.4024481279949, 1.7609323179228, 2.8883111746720]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCES)
def test_estimates_and_standard_errors_are_those_of_brglm2(case):
    """To the ten digits or so that R's iterations and printing leave."""
    (y, options), params, bse = REFERENCES[case]
    fit = firth(X, y, **options)
    np.testing.assert_allclose(fit.params.T, params, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.bse.T, bse, rtol=1e-7)


def test_estimates_of_hsbdemo_are_those_of_brglm2():
    """200 students (references.md R4): the call as above, prog ~ ses + write."""
    students = pd.read_csv(HSB)
    table = pd.get_dummies(students["ses"], dtype=float)[["middle", "high"]]
    fit = firth(table.assign(write=students["write"]), students["prog"])
    expected = pd.DataFrame(
        {
            "general": [-0.5256870197813, -1.1233725552819, -0.05641402687905, 2.779593668470],
            "vocation": [0.2712708547202, -0.9442950258269, -0.10982787450546, 5.049482850135],
        },
        ["middle", "high", "write", "intercept"],
    )
    bse = {
        "general": [0.4428624481250, 0.5108191883133, 0.02124584021287, 1.157891042400],
        "vocation": [0.4737914500916, 0.5883613709731, 0.02194835573786, 1.152198938831],
    }
    pd.testing.assert_frame_equal(fit.params, expected, rtol=1e-8)
    pd.testing.assert_frame_equal(fit.bse, pd.DataFrame(bse, expected.index), rtol=1e-8)
    assert fit.llf == pytest.approx(-180.015585537, abs=1e-8)
    assert fit.reference == "academic"


# brglm2's data `endometrial`: 79 women (Heinze and Schemper 2002), NV, PI, EH and histology HG.
NV = list(
    map(int, "0000000000000000000001111100000000000000000000011110000000000000000000100011010")
)
HG = list(
    map(int, "0000000000000000011111111110000000000000000111111111100000000000000001111111111")
)
PI = [
    13, 16, 8, 34, 20, 5, 17, 10, 26, 17, 8, 7, 20, 10, 18, 16, 18, 8, 29, 12, 20, 38, 22,
    7, 25, 15, 7, 28, 11, 19, 10, 10, 18, 14, 21, 11, 17, 25, 16, 19, 15, 33, 24, 48, 12,
    19, 2, 22, 40, 5, 0, 21, 15, 29, 15, 12, 3, 20, 23, 12, 22, 42, 15, 13, 14, 19, 12, 13,
    10, 12, 49, 6, 5, 17, 11, 21, 5, 19, 33,
]  # fmt: skip
EH = [
    1.64, 2.26, 3.14, 2.68, 1.28, 2.31, 1.8, 1.68, 1.56, 2.31, 2.01, 1.89, 3.15, 1.23,
    1.27, 1.76, 2, 2.64, 0.88, 1.27, 1.37, 0.97, 1.14, 0.88, 0.91, 0.58, 0.97, 1.5, 1.33,
    2.37, 1.82, 3.13, 1.31, 1.92, 1.64, 2.01, 1.88, 1.93, 2.11, 1.29, 1.72, 0.75, 1.92,
    1.84, 1.11, 1.61, 1.18, 1.44, 1.18, 0.93, 1.17, 1.19, 1.06, 2.02, 2.29, 2.33, 2.9, 1.7,
    1.41, 2.25, 1.54, 1.97, 1.75, 2.16, 2.57, 1.37, 3.61, 2.04, 2.17, 1.69, 0.27, 1.84,
    1.3, 0.96, 1.01, 0.98, 0.35, 1.02, 0.85,
]  # fmt: skip


def test_estimates_of_the_endometrial_cancer_study_are_those_of_brglm2():
    """The call as for two classes, HG ~ NV + PI + EH; NV is 1 for women of HG = 1 alone."""
    table = pd.DataFrame({"NV": NV, "PI": PI, "EH": EH})
    fit = firth(table, HG)
    params = [2.9292733531971, -0.0347517598704, -2.6041639252937, 3.7745597136470]
    bse = [1.5507637294530, 0.0395781473478, 0.7760178425016, 1.4886916634357]
    np.testing.assert_allclose(fit.params[1], params, rtol=1e-8)
    np.testing.assert_allclose(fit.bse[1], bse, rtol=1e-6)
    assert fit.llf == pytest.approx(-28.2876973255, abs=1e-9)


# ---- The penalised likelihood, written plainly ---------------------------------------------------


class Plain:
    """l + log det I / 2 of coefficients (K - 1, w) in the user's units, the first class's zero."""

    def __init__(self, X, y, sample_weight=None, offset=None, fit_intercept=True):
        X = np.asarray(X, dtype=float)
        self.rows = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
        self.Y = one_hot(y)
        self.weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        self.offset = np.zeros(self.Y.shape)
        if offset is not None:
            offset = np.asarray(offset).reshape(len(X), -1)
            self.offset[:, -offset.shape[1] :] = offset

    def value(self, theta):
        K, w = self.Y.shape[1], self.rows.shape[1]
        W = np.vstack([np.zeros(w), np.reshape(theta, (K - 1, w))])
        Z = self.rows @ W.T + self.offset
        information = np.zeros(((K - 1) * w,) * 2)
        for s, p, x in zip(self.weight, softmax(Z, axis=1)[:, 1:], self.rows, strict=True):
            information += s * np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x))
        log_likelihood = self.weight @ (self.Y * log_softmax(Z, axis=1)).sum(axis=1)
        return log_likelihood + np.linalg.slogdet(information)[1] / 2

    def profile(self, fit, place, value):
        """The largest value where one coefficient is this, by SciPy from the estimates on."""
        theta = flat(fit).copy()
        others = np.arange(len(theta)) != place
        start, covariance = theta[others], fit.covariance.to_numpy()
        root = np.linalg.cholesky(covariance[np.ix_(others, others)])

        def loss(free):
            theta[others], theta[place] = start + root @ free, value
            return -self.value(theta)

        free = covariance[others, place] / covariance[place, place] * (value - theta[place])
        free = np.linalg.solve(root, free)
        for method in ("BFGS", "Nelder-Mead", "BFGS"):
            free = minimize(loss, free, method=method).x
        return -loss(free)


def flat(fit):
    return fit.params.to_numpy().T.ravel()


@pytest.mark.parametrize("case", REFERENCES)
def test_the_penalised_likelihood_is_largest_at_the_estimates(case):
    """Its slope there is zero in all directions, and its value is `penalised_llf`."""
    (y, options), _, _ = REFERENCES[case]
    fit, plain = firth(X, y, **options), Plain(X, y, **options)
    theta = flat(fit)
    assert fit.penalised_llf == pytest.approx(plain.value(theta), rel=1e-12)
    for direction, error in zip(np.eye(len(theta)), fit.bse.to_numpy().T.ravel(), strict=True):
        step = 1e-4 * error * direction
        up, down = plain.value(theta + step), plain.value(theta - step)
        assert abs(up - down) < 1e-10 and max(up, down) < plain.value(theta)


@pytest.mark.parametrize("level", [0.95, 0.5])
@pytest.mark.parametrize("case", REFERENCES)
def test_at_the_bounds_the_profile_has_fallen_by_half_a_quantile_of_chi_squared(case, level):
    """Each bound put in, all else maximised again by SciPy: that far below the maximum."""
    (y, options), _, _ = REFERENCES[case]
    fit, plain = firth(X, y, **options), Plain(X, y, **options)
    theta, intervals = flat(fit), fit.conf_int(level)
    assert (intervals["lower"] < theta).all() and (intervals["upper"] > theta).all()
    for place, bound in ((0, "lower"), (1, "upper"), (len(theta) - 1, "lower")):
        profile = plain.profile(fit, place, intervals[bound].iloc[place])
        assert 2 * (plain.value(theta) - profile) == pytest.approx(chi2.ppf(level, 1), abs=1e-5)


# ---- Invariances --------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [OVERLAPPING, SEPARATED, FOUR], ids=["overlapping", "separated", "4"])
def test_names_and_order_of_classes_and_the_reference_do_not_matter(y):
    """Other names permute the columns; another reference is subtracted from them."""
    fit = firth(X, y)
    renamed = {"a": "z", "b": "b", "c": "a", "d": "y"}
    other = firth(X, [renamed[label] for label in y], reference="z")
    back = other.params.rename(columns={new: old for old, new in renamed.items()})
    pd.testing.assert_frame_equal(
        back[fit.params.columns], fit.params, rtol=1e-8, check_names=False
    )
    against = firth(X, y, reference="c")
    assert against.reference == "c" and "c" not in against.params
    np.testing.assert_allclose(against.params["a"], -fit.params["c"], rtol=1e-8)
    np.testing.assert_allclose(against.bse["a"], fit.bse["c"], rtol=1e-8)
    difference = against.params["b"] - against.params["a"]
    np.testing.assert_allclose(difference, fit.params["b"], rtol=1e-7)
    assert against.penalised_llf == pytest.approx(fit.penalised_llf, rel=1e-12)
    # Profiles of a contrast are the same, whichever way round it is asked for.
    turned = -against.conf_int().loc["a"][["upper", "lower"]].to_numpy()
    np.testing.assert_allclose(fit.conf_int().loc["c"], turned, rtol=1e-6)


def test_a_column_may_have_the_name_of_the_intercept():
    """Names do not change the numbers, nor their order."""
    fit, named = firth(X, SEPARATED), firth(pd.DataFrame(X, columns=["intercept", "b"]), SEPARATED)
    assert named.params.index.tolist() == ["intercept", "b", "intercept"]
    for frame, other in ((fit.params, named.params), (fit.bse, named.bse)):
        np.testing.assert_allclose(frame, other, rtol=1e-9)
    np.testing.assert_allclose(fit.conf_int(), named.conf_int(), rtol=1e-6)


def test_units_of_columns_divide_coefficients():
    """Kilometres for metres, and other zeros: slopes and their intervals are a thousand times."""
    fit, unit = firth(X, SEPARATED), np.array([1e-3, 1e6])
    other = firth(X * unit + [1e3, -1e9], SEPARATED)
    slopes = ["x0", "x1"]
    np.testing.assert_allclose(
        other.params.loc[slopes].T * unit, fit.params.loc[slopes].T, rtol=1e-6
    )
    np.testing.assert_allclose(other.bse.loc[slopes].T * unit, fit.bse.loc[slopes].T, rtol=1e-6)
    widths = [f.conf_int().xs("x0", level="feature").to_numpy() for f in (fit, other)]
    np.testing.assert_allclose(widths[1] * 1e-3, widths[0], rtol=1e-5)
    np.testing.assert_allclose(
        other.predict_proba(X * unit + [1e3, -1e9]), fit.predict_proba(X), rtol=1e-5
    )


def test_weights_are_repeated_rows_and_rows_of_weight_zero_are_none():
    """Three times a row is a row of weight three, in every number."""
    fit = firth(X, OVERLAPPING, WEIGHT)
    repeats = WEIGHT.astype(int)
    same = firth(np.repeat(X, repeats, axis=0), np.repeat(OVERLAPPING, repeats))
    more = firth(np.vstack([X, [[9e3, 7]]]), np.append(OVERLAPPING, "a"), np.append(WEIGHT, 0))
    for other in (same, more):
        pd.testing.assert_frame_equal(other.params, fit.params, rtol=1e-8)
        pd.testing.assert_frame_equal(other.covariance, fit.covariance, rtol=1e-8)
        assert other.penalised_llf == pytest.approx(fit.penalised_llf, rel=1e-10)


def test_an_offset_is_a_column_whose_coefficient_is_known():
    """b x as an offset takes b from the coefficient of x, of three classes and of two."""
    known = np.array([0.0, 0.2, -0.3])
    fit = firth(X, OVERLAPPING, offset=np.outer(X[:, 0], known))
    np.testing.assert_allclose(
        fit.params.loc["x0"] + known[1:], firth(X, OVERLAPPING).params.loc["x0"], rtol=1e-7
    )
    two = firth(X, TWO, offset=0.2 * X[:, 0])
    assert two.params.loc["x0", 1] + 0.2 == pytest.approx(firth(X, TWO).params.loc["x0", 1])


@pytest.mark.parametrize("y", [TWO, OVERLAPPING], ids=["two", "three"])
def test_offsets_of_any_size_are_taken_off_by_the_intercept(y):
    """The same offset in all rows changes nothing else; what saturates all rows is refused."""
    K = len(set(y))
    shift = np.array([0.0, 1e3, -2e3])[:K]
    offset = np.tile(shift, (12, 1)) if K > 2 else np.full(12, 1e3)
    expected, found = firth(X, y).params, firth(X, y, offset=offset).params
    expected.loc["intercept"] -= shift[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    steep = np.resize([1e4, -1e4], 12)
    with pytest.raises(RuntimeError, match="let offset be of the size of scores"):
        firth(X, y, offset=np.outer(steep, np.arange(K)) if K > 2 else steep)


def test_the_text_of_a_fit_is_short():
    """It holds no arrays of rows."""
    assert len(repr(firth(X, TWO))) < 200


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix, np.float32, pd.DataFrame])
def test_rows_of_all_kinds_are_fitted_alike(kind):
    """CSR, single precision and tables hold the same numbers."""
    fit = firth(kind(X), OVERLAPPING)
    np.testing.assert_allclose(fit.params, firth(X, OVERLAPPING).params, rtol=1e-9)


# ---- What it is used for ------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("y", [TWO, OVERLAPPING], ids=["two classes", "three classes"])
def test_it_predicts_as_an_estimator_does(y, fit_intercept):
    """Probabilities are the softmax of `params`; attributes are in scikit-learn's shapes."""
    fit = firth(X, y, fit_intercept=fit_intercept)
    rows = np.column_stack([X, np.ones(12)])[:, : 2 + fit_intercept]
    Z = np.column_stack([np.zeros(12), rows @ fit.params.to_numpy()])
    P = fit.predict_proba(X)
    np.testing.assert_allclose(P, softmax(Z, axis=1), rtol=1e-9)
    np.testing.assert_array_equal(fit.predict(X), fit.classes_[P.argmax(axis=1)])
    K = 1 if len(fit.classes_) == 2 else 3
    assert fit.coef_.shape == (K, 2) and fit.intercept_.shape == (K,)
    scores = X @ fit.coef_.T + fit.intercept_
    np.testing.assert_allclose(fit.decision_function(X), scores[:, 0] if K == 1 else scores)
    if K > 1:
        np.testing.assert_allclose(fit.coef_.sum(axis=0), 0, atol=1e-12)
    assert fit.estimator.score(X, y) == (fit.predict(X) == y).mean()


def test_wald_intervals_are_standard_errors_around_the_estimates():
    """And the covariance has the squares of these on its diagonal, class after class."""
    fit = firth(X, OVERLAPPING)
    intervals = fit.conf_int(0.9, method="wald")
    reach = norm.ppf(0.95) * fit.bse.to_numpy().T.ravel()
    np.testing.assert_allclose(intervals["lower"], flat(fit) - reach)
    np.testing.assert_allclose(intervals["upper"], flat(fit) + reach)
    np.testing.assert_allclose(np.diag(fit.covariance), fit.bse.to_numpy().T.ravel() ** 2)
    index = [(label, name) for label in "bc" for name in ("x0", "x1", "intercept")]
    assert intervals.index.tolist() == fit.covariance.columns.tolist() == index


def test_separated_classes_have_finite_estimates():
    """Iris, and two classes of which one has one row."""
    fit = firth(*load_iris(return_X_y=True))
    assert np.isfinite(fit.params).all(axis=None) and np.isfinite(fit.bse).all(axis=None)
    assert np.isfinite(fit.conf_int()).all(axis=None)
    assert np.isfinite(firth(X, np.arange(12) == 11).conf_int()).all(axis=None)


BAD = {
    "one class": ((X, np.zeros(12)), {}, "one class only"),
    "labels": ((X, np.ones((12, 2))), {}, "one column at a time"),
    "unknown reference": ((X, OVERLAPPING), {"reference": "e"}, "reference='e' .* 'c'"),
    "collinear": ((np.column_stack([X, X.sum(axis=1)]), OVERLAPPING), {}, "linear combinations"),
    "constant": ((np.column_stack([X, np.ones(12)]), OVERLAPPING), {}, r"combinations.*\[2\]"),
    "too few rows": ((np.eye(5), [0, 1, 0, 1, 2]), {}, "linear combinations"),
    "missing value": ((np.where(X == 3, np.nan, X), OVERLAPPING), {}, "missing"),
    "offset of another shape": ((X, OVERLAPPING), {"offset": np.ones(12)}, "offset"),
    "a reference that is an array": ((X, TWO), {"reference": np.array([0, 1])}, "reference=.0, 1"),
    "too large": ((X * [1e160, 1], OVERLAPPING), {}, r"variances .*\[0\].* another unit"),
    "too small": ((X * [1, 1e-170], OVERLAPPING), {}, r"variances .*\[1\].* another unit"),
    "no flag": ((X, OVERLAPPING), {"fit_intercept": "yes"}, "fit_intercept"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_a_sentence(case):
    """The error names the argument and the remedy."""
    arguments, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        firth(*arguments, **options)


@pytest.mark.parametrize("options", [{"level": 95}, {"level": 0}, {"method": "score"}])
def test_intervals_of_no_level_or_method_are_refused(options):
    """The error names the argument and its value."""
    (name,) = options
    with pytest.raises(ValueError, match=name):
        firth(X, OVERLAPPING).conf_int(**options)
