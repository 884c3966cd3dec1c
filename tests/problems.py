"""Problems with independently computed optima: the objective, written a second time in plain numpy.

    F(W, b) = (1/S) sum_i s_i loss(W x_i + b + o_i, y_i) + 1/(2 C S) sum_j f_j ||W_.j||^2

Nothing here comes from softreg, so its numbers can be held against these. Targets are always a
matrix Y (n, K) of class probabilities; two classes have one row of weights, more have K.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import log_softmax, logsumexp
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from threadpoolctl import threadpool_limits

# Relative to the Hessian's diagonal: it decides in directions without curvature, such as those of
# duplicated columns, and is below rounding elsewhere.
LEAST_DAMPING = 1e-15
# For tests whose columns are collinear, without a penalty, and that are about something else.
IGNORE_UNIDENTIFIED = pytest.mark.filterwarnings(
    "ignore:The coefficients of the columns:UserWarning"
)


class Optimum(NamedTuple):
    """The least value of F and where it is reached."""

    objective: float
    coef: np.ndarray
    intercept: np.ndarray


def one_hot(y):
    """Class labels as a matrix Y of zeros and ones, columns in sorted order of the labels."""
    return (np.asarray(y)[:, None] == np.unique(y)).astype(float)


def scores(X, coef, intercept, offset=None):
    """Z (n, K) in float64; with two classes the first column is zero."""
    Z = np.asarray(X @ coef.T.astype(float)) + intercept.astype(float)
    if offset is not None:
        Z = Z + np.reshape(offset, Z.shape)
    return np.column_stack([np.zeros(len(Z)), Z]) if Z.shape[1] == 1 else Z


def objective(
    coef, intercept, X, Y, C=1.0, *, sample_weight=None, offset=None, penalty_factor=None
):
    """F(W, b) in float64."""
    s = np.ones(len(Y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    f = np.ones(X.shape[1]) if penalty_factor is None else np.asarray(penalty_factor, dtype=float)
    Z = scores(X, coef, intercept, offset)
    losses = logsumexp(Z, axis=1) - (Y * Z).sum(axis=1)
    penalty = (f * np.asarray(coef, dtype=float) ** 2).sum() / (2 * C * s.sum())
    return s @ losses / s.sum() + penalty


@threadpool_limits.wrap(limits=1)
def optimum(
    X,
    Y,
    C=1.0,
    *,
    sample_weight=None,
    offset=None,
    penalty_factor=None,
    fit_intercept=True,
):
    """Minimise F by Newton's method in float64, on rescaled columns and with full Hessians.

    Slow and simple on purpose. It ends when Newton's decrement, which equals F - F* to second
    order, falls below 1e-14 F + 1e-15, and fails loudly when it cannot get there.
    """
    n, d = X.shape
    rows = 1 if Y.shape[1] == 2 else Y.shape[1]
    s = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    f = np.ones(d) if penalty_factor is None else np.asarray(penalty_factor, dtype=float)
    s, strength = s / s.sum(), 1 / (C * s.sum())

    # Columns of mean 0 (with an intercept) and units in which the Hessian's diagonal is about 1.
    A = np.asarray(X.toarray() if sp.issparse(X) else X, dtype=float)
    mean = s @ A if fit_intercept else np.zeros(d)
    variance = s @ (A - mean) ** 2
    scale = np.sqrt(variance * (variance > (1e-13 * mean) ** 2) + strength * f)
    scale[scale == 0] = 1.0
    A = (A - mean) / scale
    ridge = strength * f / scale**2
    if fit_intercept:
        A, ridge = np.column_stack([A, np.ones(n)]), np.append(ridge, 0.0)

    def value(theta):
        Z = scores(A, theta, np.zeros(rows), offset)
        loss = s @ (logsumexp(Z, axis=1) - (Y * Z).sum(axis=1))
        return loss + (ridge * theta**2).sum() / 2, Z

    theta, damping = np.zeros((rows, A.shape[1])), LEAST_DAMPING
    F, Z = value(theta)
    for _ in range(300):
        P = np.exp(log_softmax(Z, axis=1))[:, -rows:]
        gradient = (s[:, None] * (P - Y[:, -rows:])).T @ A + ridge * theta
        step, decrement = _newton_step(A, s, P, ridge, gradient, damping)
        if damping == LEAST_DAMPING and decrement <= 1e-14 * F + 1e-15:
            break
        t = 1.0
        while (new := value(theta - t * step))[0] > F - 0.25 * t * decrement and t > 1e-6:
            t /= 2
        if new[0] < F:
            theta, (F, Z) = theta - t * step, new
        damping = LEAST_DAMPING if t > 1e-6 else damping * 100
    else:
        raise AssertionError("the reference optimum was not reached: the test cannot judge")

    coef = theta[:, :d] / scale
    intercept = theta[:, d] - coef @ mean if fit_intercept else np.zeros(rows)
    return Optimum(F, coef, intercept)


def _newton_step(A, s, P, ridge, gradient, damping):
    """(H + damping)^-1 g and its product with g; the gauge (a constant in every row) is filled."""
    rows, columns = gradient.shape
    gauge = 1 / rows if rows > 1 else 0.0
    H = np.empty((rows, columns, rows, columns))
    for k in range(rows):
        for j in range(k + 1):
            weight = s * P[:, k] * ((j == k) - P[:, j])
            block = (A * weight[:, None]).T @ A + gauge * np.eye(columns)
            H[k, :, j, :] = H[j, :, k, :] = block + (j == k) * np.diag(ridge)
    H = H.reshape(rows * columns, -1)
    g = gradient.ravel()
    H[np.diag_indices_from(H)] += damping * H.diagonal().max()
    try:
        step = cho_solve(cho_factor(H), g)
    except LinAlgError:
        step = np.linalg.lstsq(H, g, rcond=1e-14)[0]
    return step.reshape(gradient.shape), g @ step


def labels_drawn(rng, Z):
    """One class for each row, drawn with the probabilities softmax(Z)."""
    P = np.exp(log_softmax(Z, axis=1))
    return np.minimum((P.cumsum(axis=1) < rng.random((len(P), 1))).sum(axis=1), P.shape[1] - 1)


def overlapping(n=120, K=3, seed=0):
    """A harmless problem: four columns of ordinary size, classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.normal([0, 1, -2, 0.5], [1, 2, 0.5, 1], (n, 4))
    return X, labels_drawn(rng, X @ rng.normal(size=(4, K)) * 0.7)


def beans():
    """Sizes and shapes of beans: scales from 1e-3 to 1e5, columns that nearly determine others."""
    rng = np.random.default_rng(1)
    y = rng.integers(5, size=600)
    kind = rng.normal(size=(5, 2))[y]
    length = 300 * np.exp(0.15 * kind[:, 0] + 0.1 * rng.normal(size=600))
    aspect = 1.5 + 0.1 * kind[:, 1] + 0.08 * rng.normal(size=600)
    width = length / aspect
    area = np.pi / 4 * length * width * (1 + 0.01 * rng.normal(size=600))
    perimeter = np.pi * (length + width) / 2 * (1 + 0.005 * rng.normal(size=600))
    shape = [length / area, width / area, area / length**3, 4 * np.pi * area / perimeter**2]
    hull = area * (1 + 0.01 * rng.random(600))
    columns = [area, hull, perimeter, length, width, aspect, np.sqrt(1 - aspect**-2), area / hull]
    return np.column_stack(columns + shape), y


def one_hot_groups():
    """Two categorical columns with every level kept: each group sums to the intercept's column."""
    rng = np.random.default_rng(2)
    levels = [one_hot(np.r_[np.arange(k), rng.integers(k, size=300 - k)]) for k in (6, 4)]
    X = np.column_stack([*levels, rng.normal(40, 12, 300)])
    W = rng.normal(size=(11, 4)) * np.r_[np.full(10, 0.5), 0.02][:, None]
    return X, labels_drawn(rng, X @ W)


def constant_and_duplicated():
    """A constant column, a zero column, a column twice and a column times a thousand."""
    X, y = overlapping(seed=3)
    return np.column_stack([X, np.full(len(X), 7.3), np.zeros(len(X)), X[:, 0], 1000 * X[:, 1]]), y


def rare_and_nearly_separable():
    """Classes of 700, 60, 12 and 3 rows, the rare ones nearly separable, heavy tails."""
    rng = np.random.default_rng(4)
    y = np.repeat(np.arange(4), [700, 60, 12, 3])
    X = rng.standard_t(3, (775, 5)) * [1, 5, 20, 50, 200] + np.eye(4, 5)[y] * [0, 15, 100, 400, 0]
    return X, y


def far_from_zero():
    """Columns whose deviation is tiny beside their mean, as years and timestamps are."""
    X, y = overlapping(seed=5)
    return X * [3, 1e5, 1e-3, 1] + [2000, 1.7e9, 10, 0], y


def wide():
    """Many more columns than rows, of unequal scales."""
    rng = np.random.default_rng(6)
    y = np.repeat(np.arange(3), 10)
    X = rng.normal(size=(30, 150)) * np.exp(rng.normal(size=150)) + 5
    X[:, :3] += np.eye(3)[y]
    return X, y


def wide_of_unequal_scales():
    """More columns than rows, in units from 1e-4 to 1e4."""
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(40, 60)), np.arange(40) % 3
    X[:, :3] += np.eye(3)[y]
    return X * 10 ** rng.uniform(-4, 4, 60), y


def sparse_counts():
    """Word counts in CSR, most of them zero."""
    rng = np.random.default_rng(7)
    y = rng.integers(3, size=200)
    rate = np.exp(rng.normal(-2.5, 1, (3, 40)))
    return sp.csr_array(rng.poisson(rate[y]).astype(float)), y


def digits():
    """A third of the handwritten digits: ten classes, some pixels constant."""
    X, y = load_digits(return_X_y=True)
    return X[::3], y[::3]


PROBLEMS = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": digits,
    "overlapping": overlapping,
    "beans": beans,
    "one-hot groups": one_hot_groups,
    "constant and duplicated columns": constant_and_duplicated,
    "rare and nearly separable": rare_and_nearly_separable,
    "far from zero": far_from_zero,
    "wide": wide,
    "wide, unequal scales": wide_of_unequal_scales,
    "sparse counts": sparse_counts,
}


@cache
def solved(name, C):
    """The problem of that name with its targets and its least objective at C: (X, y, Y, F*)."""
    X, y = PROBLEMS[name]()
    return X, y, one_hot(y), optimum(X, one_hot(y), C).objective


@st.composite
def any_problem(draw):
    """(X, Y, the parameters of F that an estimator has, those that fit has), of any shape.

    Columns have units from 1e-4 to 1e4 and lie up to some hundred deviations from zero; targets
    are classes or probabilities.
    """
    n, d, K = draw(st.integers(8, 60)), draw(st.integers(1, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = (rng.normal(size=(n, d)) + 100 * rng.normal(size=d)) * 10 ** rng.uniform(-4, 4, d)
    Y = np.eye(K)[rng.permutation(np.arange(n) % K)]
    if draw(st.booleans()):
        Y = 0.5 * Y + 0.5 * rng.dirichlet(np.ones(K), size=n)
    parameters = {"C": 10 ** draw(st.floats(-3, 3)), "fit_intercept": draw(st.booleans())}
    terms = {}
    if draw(st.booleans()):
        parameters["penalty_factor"] = 10 ** rng.uniform(-2, 2, d)
    if draw(st.booleans()):
        terms["sample_weight"] = rng.uniform(0.1, 3, n)
    if draw(st.booleans()):
        terms["offset"] = rng.normal(size=(n, K) if K > 2 else n) * draw(st.sampled_from([1, 30]))
    return X, Y, parameters, terms


def centred(values):
    """The representative whose rows sum to zero; one row (two classes) stays as it is."""
    return values if len(values) == 1 else values - values.mean(axis=0)
