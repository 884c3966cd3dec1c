"""Numbers published elsewhere: R's glmnet and nnet, Stata, Spark."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.datasets import anes96

from softreg import SoftmaxRegression

# Figures of six to ten digits are coefficients, whose error goes with the square root of tol.
EXACT = {"tol": 1e-14}

# R's glmnet with alpha 0, lambda 1, standardize FALSE, as in scikit-learn's
# test_logistic_regression_multinomial: y, intercepts, coefficients.
GLMNET = {
    "two classes": (
        [0, 0, 0, 1, 1, 1, 1, 1, 1],
        [0.89230405539],
        [[0.44464569182, 0.01457563448]],
    ),
    "three classes": (
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [-0.12004759652, 0.2251747383, -0.1051271418],
        [
            [-0.38023389305, -0.01226499932],
            [-8.164030176e-05, 0.04734548012],
            [0.3803155334, -0.0350804808],
        ],
    ),
}

# Stata 11's mlogit, checked with R's nnet, on the American National Election Study of 1996:
# logpopul, selfLR, age, educ, income, constant; outcomes 1 to 6 against 0.
ANES96 = np.array(
    [
        [-0.01153598, 0.29771435, -0.024945, 0.08249144, 0.00519655, -0.37340167],
        [-0.08875065, 0.39166864, -0.02289784, 0.18104276, 0.04787398, -2.2509132],
        [-0.1059667, 0.57345051, -0.01485121, -0.00715242, 0.05757516, -3.6655835],
        [-0.0915567, 1.2787718, -0.00868135, 0.19982796, 0.08449838, -7.6138431],
        [-0.0932846, 1.3469616, -0.01790407, 0.21693885, 0.08095841, -7.0604782],
        [-0.14088069, 2.0700801, -0.00943265, 0.3219257, 0.10889408, -12.105751],
    ]
)
ANES96_EFFECTS_ON_OUTCOME_0 = [
    0.00868085993550,
    -0.09779854015456,
    0.00272556969847,
    -0.01992376579372,
    -0.00603133322764,
]


def log_likelihood(model, X, y):
    """The sum of log probabilities of the classes that were observed."""
    observed = np.searchsorted(model.classes_, y)
    return model.predict_log_proba(X)[np.arange(len(y)), observed].sum()


def effects(model, X):
    """Average marginal effects d P(k) / d x_j, shape (K, d)."""
    P = model.predict_proba(X)
    return np.mean([p[:, None] * (model.coef_ - p @ model.coef_) for p in P], axis=0)


def contrasts(model, base):
    """Coefficients and intercepts of the other classes against `base`: (K - 1, d + 1)."""
    theta = np.column_stack([model.coef_, model.intercept_])
    k = list(model.classes_).index(base)
    return np.delete(theta - theta[k], k, axis=0)


@pytest.mark.factor("case", GLMNET)
def test_glmnet_gives_the_same_ridge_fit(case):
    """C = 1 / (lambda n) reproduces glmnet's intercepts and coefficients (rtol 1e-5)."""
    y, intercept, coef = GLMNET[case]
    X = np.array([[-4, -3, -2, -1, 0, 1, 2, 3, 4], [0, 0, 1, 0, 1, 1, 1, 0, 0]], dtype=float).T
    model = SoftmaxRegression(C=1 / 9, **EXACT).fit(X, y)
    # glmnet's smallest figure, -8e-05, is 8e-09 from the optimum: its own stopping rule.
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-5, atol=1e-8)


def test_stata_gives_the_same_unpenalised_fit_of_the_election_study():
    """Log-likelihoods to 1e-9, coefficients against outcome 0 to seven digits, marginal effects."""
    data = anes96.load_pandas().data
    X = data.assign(logpopul=np.log(data["popul"] + 0.1))
    X, y = X[["logpopul", "selfLR", "age", "educ", "income"]], data["PID"].astype(int)
    model = SoftmaxRegression(C=np.inf, **EXACT).fit(X, y)
    assert log_likelihood(model, X, y) == pytest.approx(-1461.922747312, rel=1e-9)
    assert -944 * model.objective_ == pytest.approx(-1461.922747312, rel=1e-9)
    np.testing.assert_allclose(contrasts(model, 0), ANES96, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(effects(model, X)[0], ANES96_EFFECTS_ON_OUTCOME_0, rtol=1e-5)

    nothing = np.zeros((944, 1))
    null = log_likelihood(SoftmaxRegression(C=np.inf, **EXACT).fit(nothing, y), nothing, y)
    assert null == pytest.approx(-1750.34670999, rel=1e-9)


def test_nnet_gives_the_same_unpenalised_fit_of_high_school_and_beyond():
    """prog ~ ses + write against academic, to 1e-5 (nnet stops that far short)."""
    path = Path(__file__).parents[1] / "examples" / "data" / "hsbdemo.csv"
    data = pd.read_csv(path)
    X = pd.DataFrame({s: (data["ses"] == s).astype(float) for s in ("middle", "high")})
    X, y = X.assign(write=data["write"]), data["prog"]
    model = SoftmaxRegression(C=np.inf, **EXACT).fit(X, y)
    assert list(model.classes_) == ["academic", "general", "vocation"]
    assert log_likelihood(model, X, y) == pytest.approx(-179.98172621509272, rel=1e-9)
    expected = [
        [-0.533291, -1.162832, -0.057928, 2.852186],
        [0.291393, -0.982670, -0.113603, 5.218200],
    ]
    np.testing.assert_allclose(contrasts(model, "academic"), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(effects(model, X)[:, 2], [0.017141, -0.002829, -0.014312], atol=1e-6)


class JavaRandom:
    """java.util.Random: a linear congruential generator of 48 bits, Gaussians by Marsaglia."""

    def __init__(self, seed):
        self.state = (seed ^ 0x5DEECE66D) & (1 << 48) - 1
        self.spare = None

    def bits(self, count):
        self.state = (self.state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        return self.state >> 48 - count

    def uniform(self):
        return ((self.bits(26) << 27) + self.bits(27)) * 2.0**-53

    def gaussian(self):
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        square = 0.0
        while not 0 < square < 1:
            u, v = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            square = u * u + v * v
        scale = np.sqrt(-2 * np.log(square) / square)
        self.spare = v * scale
        return u * scale


def spark_data():
    """The 10,000 rows and three classes of Spark's LogisticRegressionSuite."""
    random = JavaRandom(42)
    X = np.array([[random.gaussian() for _ in range(4)] for _ in range(10_000)])
    X = X * np.sqrt([0.6856, 0.1899, 3.116, 0.581]) + [5.843, 3.057, 3.758, 1.199]
    W = np.array(
        [[-0.57997, 0.912083, -0.371077, -0.819866], [-0.16624, -0.84355, -0.048509, -0.301789]]
    )
    Z = np.column_stack([np.zeros(len(X)), X @ W.T + [2.688191, 4.170682]])
    below = (np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)).cumsum(axis=1)
    return X, np.array([np.searchsorted(p, random.uniform(), side="right") for p in below])


def test_spark_and_glmnet_give_the_same_unpenalised_fit():
    """Spark's own three-class data, rebuilt number by number; its glmnet reference, to 1e-5."""
    X, y = spark_data()
    np.testing.assert_array_equal(np.bincount(y), [3473, 2916, 3611])
    model = SoftmaxRegression(C=np.inf, **EXACT).fit(X, y)
    np.testing.assert_allclose(model.intercept_, [-2.24493379, 0.3778931, 1.86704066], rtol=1e-5)
    expected = [
        [0.25096771, -0.03915938, 0.14766639, 0.36810817],
        [-0.3327489, 0.8893666, -0.2306948, -0.4442330],
        [0.08178121, -0.85020722, 0.08302840, 0.07612480],
    ]
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-5, atol=1e-5)
