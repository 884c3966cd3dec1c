"""Sparse penalties beside R's glmnet (4.1-6, thresh 1e-14) and scikit-learn's saga."""

import warnings

import numpy as np
import pytest
import sparse_problems
from problems import one_hot, overlapping
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from softreg import SoftmaxRegression, regularization_path

STRENGTHS = 0.1, 0.03, 0.01, 0.003
# Columns over their population deviations. Data, kind (type.multinomial), l1_ratio, row weights;
# at each strength 1 / (C S), F and the number of coefficients, or features, that are not zero.
GLMNET = """\
iris   each    1.0 1     0.750750579   3 0.429786073   4 0.239092123   5 0.124914434   7
iris   each    1.0 1,2,3 0.758542288   3 0.439098694   4 0.245430817   6 0.128716148   7
iris   each    0.5 1     0.651958537   8 0.409140578   8 0.253869771   9 0.148180705  10
iris   each    0.5 1,2,3 0.660491820   8 0.417023019   7 0.259927288   9 0.152441582  10
iris   grouped 1.0 1     0.661931365   3 0.364849034   3 0.200012660   4 0.106755067   4
iris   grouped 1.0 1,2,3 0.669988163   3 0.372449055   3 0.205311889   4 0.110430552   4
iris   grouped 0.5 1     0.594507006   4 0.375030082   4 0.233971992   4 0.138579091   4
iris   grouped 0.5 1,2,3 0.604035794   4 0.383068101   4 0.239614044   4 0.142708994   4
wine   each    1.0 1     0.680448251   7 0.338853515  12 0.166584479  13 0.072889000  15
wine   each    1.0 1,2,3 0.690943639   7 0.347695374  12 0.172577847  13 0.075631032  16
wine   each    0.5 1     0.527758856  18 0.264393703  18 0.135361124  21 0.063061926  22
wine   grouped 1.0 1     0.583774431   7 0.282257000   9 0.136932478  10 0.058913972  10
wine   grouped 0.5 1,2,3 0.463627133  11 0.234128169  12 0.121348466  11 0.057201236  11
digits each    1.0 1     2.167404506  20 1.319755352  84 0.706193802 126 0.337665407 168
digits each    1.0 1,2,3 2.168288203  20 1.318860400  81 0.706390185 134 0.337458312 167
digits each    0.5 1     1.823997977  86 1.004329291 160 0.534737057 212 0.261482041 265
digits grouped 1.0 1     1.767607505  25 0.899408508  39 0.456780191  48 0.212312840  54
digits grouped 1.0 1,2,3 1.766091463  24 0.898491150  39 0.456517526  49 0.211923577  54
digits grouped 0.5 1,2,3 1.359816148  43 0.698734316  53 0.370517125  57 0.183375947  57
""".splitlines()
LOAD = {"iris": load_iris, "wine": load_wine, "digits": load_digits}


@pytest.mark.parametrize("row", GLMNET, ids=lambda row: "-".join(row.split()[:4]))
def test_a_path_has_the_optima_of_glmnet(row):
    """F within 1e-8, proven; as many zeros, all being inside their conditions by over 1e-4."""
    name, kind, share, weights, *expected = row.split()
    l1_ratio, expected = float(share), np.array(expected, dtype=float)
    X, y = LOAD[name](return_X_y=True)
    X = X[:, X.std(axis=0) > 0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    s = 1.0 + np.arange(len(X)) % 3 if weights != "1" else np.ones(len(X))
    groups = sparse_problems.by_feature(y.max() + 1, X.shape[1]) if kind == "grouped" else None
    l1_groups = None if groups is None else "feature"
    model = SoftmaxRegression(l1_ratio=l1_ratio, l1_groups=l1_groups, tol=1e-12)
    Cs = 1 / (np.array(STRENGTHS) * s.sum())
    path = regularization_path(X, y, Cs, estimator=model, sample_weight=s)
    assert path.converged.all() and path.proven.all()
    for W, b, C, F, n_nonzero in zip(
        path.coef, path.intercept, Cs, expected[::2], expected[1::2], strict=True
    ):
        terms = (one_hot(y), C, l1_ratio, groups)
        found = sparse_problems.objective(W, b, X, *terms, sample_weight=s)
        assert abs(found - F) < 1e-8
        worst, slack = sparse_problems.violation(W, b, X, *terms, sample_weight=s)
        assert worst < 1e-3 and slack.min() > 1e-4
        assert np.count_nonzero(W if groups is None else W.any(axis=0)) == n_nonzero


def saga(X, y, C, l1_ratio):
    """scikit-learn's optimum, as near as it gets; it may say that it stopped early."""
    model = LogisticRegression(
        C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=20_000, random_state=0
    )
    if "penalty" in model.get_params() and model.get_params()["penalty"] == "l2":
        model.set_params(penalty="elasticnet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return model.fit(X, y)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
@pytest.mark.parametrize("problem", ["two classes", "three classes", "breast cancer"])
def test_the_optimum_is_that_of_logistic_regression(problem, l1_ratio):
    """The same F, scores and zeros as saga's at tol 1e-10; the conditions of an optimum hold."""
    if problem == "breast cancer":
        X, y = load_breast_cancer(return_X_y=True)
        X = ((X - X.mean(axis=0)) / X.std(axis=0))[:, :12]
    else:
        X, y = overlapping(K=2 if problem == "two classes" else 3)
    C, Y = 0.1, one_hot(y)
    model, theirs = SoftmaxRegression(C, l1_ratio, tol=1e-13).fit(X, y), saga(X, y, C, l1_ratio)
    found, expected = (
        sparse_problems.objective(one.coef_, one.intercept_, X, Y, C, l1_ratio)
        for one in (model, theirs)
    )
    assert abs(model.objective_ - found) < 1e-12
    assert expected * (1 - 1e-7) < found <= expected * (1 + 1e-12)
    assert sparse_problems.violation(model.coef_, model.intercept_, X, Y, C, l1_ratio)[0] < 1e-5
    P, P_of_theirs = model.predict_proba(X), theirs.predict_proba(X)
    np.testing.assert_allclose(P, P_of_theirs, atol=1e-4)
    np.testing.assert_array_equal(model.coef_ != 0, np.abs(theirs.coef_) > 1e-6)
