"""Other base rates: intercepts by Bayes' rule, and priors that unlabelled rows make likeliest."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot, overlapping
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from scipy.stats import binom, kstest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from test_bad_input import assert_untouched, fitted_state
from test_multilabel import TREES, simulated, with_holes

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV
from softreg.calibration import prior_shift

X, y = overlapping(n=300)
X2, y2 = overlapping(n=300, K=2)
LABELS_X, LABELS = simulated()
HOLES = with_holes(LABELS)
WEIGHTS = np.random.default_rng(2).exponential(size=300)
SHARES = np.linspace(0.1, 0.6, 6)
EXACT = {"rtol": 1e-12, "atol": 1e-14}
# F is at most tol F above its least value, and its curvature in the probability of a cell that has
# a twentieth of the weight is about 0.05 / (p (1 - p)): sqrt(2e-14 * 0.6 * 0.25 / 0.05), and spare.
FITTED = {"rtol": 0, "atol": 1e-6}


# --- the shares of a fit --------------------------------------------------------------------------

FITS = {
    "classes": lambda: SoftmaxRegression(tol=1e-13).fit(X, y, WEIGHTS),
    "class weights": lambda: SoftmaxRegression(class_weight={1: 9.0}, tol=1e-13).fit(X, y, WEIGHTS),
    "balanced": lambda: SoftmaxRegression(class_weight="balanced", tol=1e-13).fit(X, y, WEIGHTS),
    "smoothed": lambda: SoftmaxRegression(label_smoothing=0.2, tol=1e-13).fit(X, y, WEIGHTS),
    "probabilities": lambda: SoftmaxRegression(tol=1e-13).fit(
        X, softmax(X[:, :3], axis=1), WEIGHTS
    ),
    "lasso": lambda: SoftmaxRegression(l1_ratio=1, tol=1e-13).fit(X, y, WEIGHTS),
    "chosen": lambda: SoftmaxRegressionCV([0.01, 0.1], cv=3, tol=1e-13).fit(X, y, WEIGHTS),
    "chunks": lambda: SoftmaxRegression(tol=1e-13).fit_chunks(
        [(X[:99], y[:99], WEIGHTS[:99]), (X[99:], y[99:], WEIGHTS[99:])]
    ),
    "two classes": lambda: SoftmaxRegression(class_weight={1: 9.0}, tol=1e-13).fit(X2, y2, WEIGHTS),
    "two of SigmoidRegression": lambda: SigmoidRegression(tol=1e-13).fit(X2, y2, WEIGHTS),
}
FACTORS = {
    "class weights": [1.0, 9.0, 1.0],
    "two classes": [1.0, 9.0],
    "balanced": 1 / np.bincount(y, WEIGHTS),
}


@pytest.mark.parametrize("how", FITS)
def test_the_priors_of_a_fit_are_the_mean_probabilities_over_its_weighted_rows(how):
    """With a free intercept, sum_i s_i p_ik / sum_i s_i is the weighted share of class k."""
    model = FITS[how]()
    columns, labels = (X2, y2) if len(model.classes_) == 2 else (X, y)
    weight = WEIGHTS * np.broadcast_to(FACTORS.get(how, 1.0), model.classes_.shape)[labels]
    mean = np.average(model.predict_proba(columns), axis=0, weights=weight)
    np.testing.assert_allclose(model.class_prior_, mean, atol=1e-6)


def test_the_priors_of_a_fit_are_the_weighted_shares():
    """A class has the sum of its rows' weights, over the sum of all."""
    shares = np.bincount(y, WEIGHTS) / WEIGHTS.sum()
    np.testing.assert_allclose(FITS["classes"]().class_prior_, shares, **EXACT)
    np.testing.assert_allclose(FITS["smoothed"]().class_prior_, 0.8 * shares + 0.2 / 3, **EXACT)
    np.testing.assert_allclose(FITS["balanced"]().class_prior_, np.full(3, 1 / 3), **EXACT)


@pytest.mark.parametrize("kind", [SigmoidRegression, SigmoidRegressionCV])
def test_the_prior_of_a_label_is_its_share_where_it_is_known(kind):
    """A label counts the weights of its known rows, those that have it by their class weight."""
    model = kind(1.0 if kind is SigmoidRegression else [1.0], class_weight={2: 3.0})
    known = ~np.isnan(HOLES)
    factors = np.where((HOLES == 1) & (np.arange(6) == 2), 3.0, 1.0) * known * WEIGHTS[:, None]
    expected = (factors * np.nan_to_num(HOLES)).sum(axis=0) / factors.sum(axis=0)
    model.fit(LABELS_X, HOLES, sample_weight=WEIGHTS)
    np.testing.assert_allclose(model.class_prior_, expected, **EXACT)


# --- known priors ---------------------------------------------------------------------------------


def counted(K, seed=0):
    """Counts of K classes in five cells, and an indicator column for each cell but the first."""
    counts = np.random.default_rng(seed).integers(5, 60, size=(5, K)) * 12 // np.arange(1, K + 1)
    cells, classes = (index.ravel() for index in np.indices((5, K)))
    return counts, np.eye(5)[cells, 1:], classes


UNBALANCED = {"balanced": "balanced", "a dict": {0: 5.0, 1: 0.3}}


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("class_weight", UNBALANCED.values(), ids=UNBALANCED)
def test_class_weights_are_undone_exactly_in_a_saturated_model(class_weight, K):
    """Weights multiply the odds of each cell as those of the whole: the correction divides them.

    King and Zeng (2001), equation 7: P(k | cell) is the share of the cell's rows, as unweighted.
    """
    counts, columns, classes = counted(K)
    weighted = SoftmaxRegression(C=np.inf, class_weight=class_weight, tol=1e-14)
    weighted.fit(columns, classes, sample_weight=counts.ravel())
    shifted = prior_shift(weighted, counts.sum(axis=0) / counts.sum())
    shares = counts / counts.sum(axis=1, keepdims=True)
    cells = np.eye(5)[:, 1:]
    np.testing.assert_allclose(shifted.predict_proba(cells), shares, **FITTED)
    assert not np.allclose(weighted.predict_proba(cells), shares, atol=0.05)
    plain = SoftmaxRegression(C=np.inf, tol=1e-14).fit(columns, classes, counts.ravel())
    np.testing.assert_allclose(shifted.coef_, plain.coef_, atol=1e-5)
    np.testing.assert_allclose(shifted.intercept_, plain.intercept_, atol=1e-5)


@pytest.mark.parametrize("K", [2, 3])
def test_case_control_samples_are_undone_exactly_in_a_saturated_model(K):
    """Rows that are drawn by their class, at different rates, have the cells' shares at last."""
    population, columns, classes = counted(K)
    sampled = population // 4 // np.arange(K, 0, -1)
    model = SoftmaxRegression(C=np.inf, tol=1e-14).fit(
        np.repeat(columns, sampled.ravel(), axis=0), np.repeat(classes, sampled.ravel())
    )
    rates = sampled.sum(axis=0) / population.sum(axis=0)
    exact = sampled / rates  # what the sample says of the population, cell by cell
    shifted = prior_shift(model, population.sum(axis=0) / population.sum())
    shares = exact / exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shifted.predict_proba(np.eye(5)[:, 1:]), shares, **FITTED)


def test_weights_of_labels_are_undone_exactly_in_a_saturated_model():
    """Each label is a two-class problem, with weights and base rate of its own, where known."""
    rng = np.random.default_rng(3)
    cell = rng.integers(5, size=2000)
    labels = (rng.random((2000, 2)) < np.linspace(0.1, 0.6, 10).reshape(5, 2)[cell]).astype(float)
    labels[:300, 1] = np.nan
    columns = np.eye(5)[cell, 1:]
    model = SigmoidRegression(C=np.inf, class_weight={0: 7.0, 1: 0.2}, tol=1e-14)
    shifted = prior_shift(model.fit(columns, labels), np.nanmean(labels, axis=0))
    shares = [np.nanmean(labels[cell == number], axis=0) for number in range(5)]
    np.testing.assert_allclose(shifted.predict_proba(np.eye(5)[:, 1:]), shares, **FITTED)


MODELS = {
    "classes": (SoftmaxRegression().fit(X, y), X, [0.7, 0.1, 0.2]),
    "chosen": (SoftmaxRegressionCV([0.1, 1], cv=3).fit(X, y), X, [0.7, 0.1, 0.2]),
    "lasso": (SoftmaxRegression(0.1, l1_ratio=1).fit(X, y).sparsify(), X, [0.7, 0.1, 0.2]),
    "no intercept": (SoftmaxRegression(fit_intercept=False).fit(X, y), X, [0.7, 0.1, 0.2]),
    "two classes": (SoftmaxRegression().fit(X2, y2), X2, [0.95, 0.05]),
    "two of SigmoidRegression": (SigmoidRegression().fit(X2, y2), X2, [0.95, 0.05]),
}
STORAGES = {
    "array": np.asarray,
    "CSR": sp.csr_array,
    "float32": np.float32,
    "a row": lambda X: X[:1],
}


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize(("model", "columns", "priors"), MODELS.values(), ids=MODELS)
def test_probabilities_are_those_of_bayes_rule(model, columns, priors, storage):
    """P'(k | x) is proportional to P(k | x) pi_k / p_k, with an offset, too."""
    columns = storage(columns)
    shifted, offset = prior_shift(model, priors), np.ones_like(model.decision_function(columns))
    offset[::2] = 0.3
    for options in ({}, {"offset": offset}):
        joint = model.predict_proba(columns, **options) * np.array(priors) / model.class_prior_
        expected = joint / joint.sum(axis=1, keepdims=True)
        tolerance = 1e-6 if storage is np.float32 else 1e-13
        actual = shifted.predict_proba(columns, **options)
        np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_probabilities_of_labels_are_those_of_bayes_rule():
    """The odds of each label are multiplied by the ratio of the odds of its priors."""
    model = SigmoidRegression().fit(LABELS_X, HOLES)
    shifted = prior_shift(model, SHARES)
    logits = logit(model.predict_proba(LABELS_X)) + logit(SHARES) - logit(model.class_prior_)
    np.testing.assert_allclose(shifted.predict_proba(LABELS_X), expit(logits), atol=1e-13)


@pytest.mark.parametrize(("model", "columns", "priors"), MODELS.values(), ids=MODELS)
def test_a_shift_and_the_shift_back_are_none(model, columns, priors):
    """The copy knows its priors, the sum of intercepts stays, and the estimator is as it was."""
    before = fitted_state(model)
    shifted = prior_shift(model, priors)
    assert_untouched(model, before)
    np.testing.assert_allclose(shifted.class_prior_, priors, **EXACT)
    back = prior_shift(shifted, model.class_prior_)
    np.testing.assert_allclose(back.intercept_, model.intercept_, atol=1e-13)
    np.testing.assert_allclose(prior_shift(model, model.class_prior_).intercept_, model.intercept_)
    if len(priors) > 2:
        assert abs(shifted.intercept_.sum() - model.intercept_.sum()) < 1e-12


@pytest.mark.parametrize("kind", [dict, pd.Series])
def test_priors_are_given_by_class_in_any_order(kind):
    """A dict or a Series names the classes; value_counts of a sample are such a Series."""
    model = SoftmaxRegression().fit(X, TREES[y])
    by_class = kind({"cedar": 0.2, "ash": 0.7, "birch": 0.1})
    expected = prior_shift(model, [0.7, 0.1, 0.2]).intercept_
    np.testing.assert_array_equal(prior_shift(model, by_class).intercept_, expected)
    counts = pd.Series(TREES[y]).value_counts(normalize=True)
    np.testing.assert_allclose(prior_shift(model, counts).intercept_, model.intercept_, atol=1e-14)


def test_a_class_that_does_not_occur_any_more_is_as_good_as_impossible():
    """Prior 0: probability 0 to rounding and finite scores; the others are as if it were not."""
    model = SoftmaxRegression().fit(X, y)
    shifted = prior_shift(model, [0.0, 0.3, 0.7])
    P = shifted.predict_proba(X)
    assert (P[:, 0] < 1e-200).all() and np.isfinite(shifted.predict_log_proba(X)).all()
    joint = model.predict_proba(X)[:, 1:] * [0.3, 0.7] / model.class_prior_[1:]
    np.testing.assert_allclose(P[:, 1:], joint / joint.sum(axis=1, keepdims=True), atol=1e-12)
    two = prior_shift(SoftmaxRegression().fit(X2, y2), [0, 1])
    assert (two.predict_proba(X2)[:, 0] < 1e-200).all()


def test_a_class_without_rows_keeps_its_probability_next_to_zero():
    """A declared class has no share in the fit: it can have no prior, and disturbs no other."""
    declared = SoftmaxRegression(classes=[0, 1, 2, 3], tol=1e-12).fit(X, y)
    plain = SoftmaxRegression(tol=1e-12).fit(X, y)
    P = prior_shift(declared, [0.7, 0.1, 0.2, 0]).predict_proba(X)
    assert (P[:, 3] < 1e-12).all()
    expected = prior_shift(plain, [0.7, 0.1, 0.2]).predict_proba(X)
    np.testing.assert_allclose(P[:, :3], expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"priors of \[3\] .* no rows .*: fit it to such rows"):
        prior_shift(declared, [0.7, 0.1, 0.1, 0.1])
    found = prior_shift(declared, X_new=X[:50])
    assert found.class_prior_[3] == 0 and found.prior_change_.df == 2


def test_streams_are_told_the_shares_that_they_learned_from():
    """`partial_fit` knows no shares: they are passed. It goes on from the shifted intercepts."""
    stream = SoftmaxRegression().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"training_priors=None.*partial_fit.*pass them"):
        prior_shift(stream, [0.7, 0.1, 0.2])
    shares = np.bincount(y) / len(y)
    shifted = prior_shift(stream, [0.7, 0.1, 0.2], training_priors=shares)
    joint = stream.predict_proba(X) * [0.7, 0.1, 0.2] / shares
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shifted.predict_proba(X), expected, atol=1e-13)
    probabilities = shifted.predict_proba(X)
    shifted.partial_fit(X[:1], y[:1])
    np.testing.assert_allclose(shifted.predict_proba(X), probabilities, atol=0.05)


# --- unknown priors -------------------------------------------------------------------------------


def shifted_rows(shares, n, seed):
    """Rows of which each class k comes with this share, and their classes."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(len(shares), size=n, p=shares)
    return TRUE_MEANS[: len(shares)][classes] + rng.normal(size=(n, 2)), classes


TRUE_MEANS = np.array([[0.0, 0.0], [1.5, 0.0], [0.3, 1.2], [-1.0, 0.5]])
TRUE_PRIORS = np.array([0.4, 0.3, 0.2, 0.1])


def true_model(K):
    """The posterior of Gaussian classes with these means, as a fitted model; and its priors."""
    priors = TRUE_PRIORS[:K] / TRUE_PRIORS[:K].sum()
    means = TRUE_MEANS[:K]
    model = SoftmaxRegression().fit(*shifted_rows(priors, 200, seed=0))
    intercept = np.log(priors) - (means**2).sum(axis=1) / 2
    of_scores = [[-1.0, 1.0]] if K == 2 else np.eye(K) - 1 / K
    model.coef_, model.intercept_ = of_scores @ means, of_scores @ intercept
    model.class_prior_ = priors
    return model


def mean_log_likelihood(P, training, shares):
    """What EM maximises, written a second time."""
    return np.log((P * (shares / training)).sum(axis=1)).mean()


NEW = {
    "inside": [0.1, 0.2, 0.4, 0.3],
    "two": [0.9, 0.1],
    "unchanged": TRUE_PRIORS,
    "at the edge": [0.5, 0.5, 0.0, 0.0],
}


@pytest.mark.parametrize("shares", NEW.values(), ids=NEW)
def test_the_priors_found_are_the_likeliest(shares):
    """Against direct maximisation by SciPy, over the simplex, and EM's own fixed point."""
    K = len(shares)
    model = true_model(K)
    new = shifted_rows(shares, 2000, seed=1)[0]
    found, P, training = prior_shift(model, X_new=new), model.predict_proba(new), model.class_prior_
    theirs = minimize(
        lambda free: -mean_log_likelihood(P, training, free),
        np.full(K, 1 / K),
        bounds=[(0, 1)] * K,
        constraints={"type": "eq", "fun": lambda free: free.sum() - 1},
        tol=1e-12,
    )
    np.testing.assert_allclose(found.class_prior_, theirs.x, atol=1e-4)
    assert mean_log_likelihood(P, training, found.class_prior_) >= -theirs.fun - 1e-10
    em = found.class_prior_
    for _ in range(20):
        joint = P * (em / training)
        em = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.class_prior_, em, atol=1e-8)


def test_of_labels_each_finds_its_own_priors():
    """A label alone, two classes a row, has the same ones, and the same test."""
    model = SigmoidRegression(tol=1e-13).fit(LABELS_X, HOLES)
    new = LABELS_X[:80] + 0.5
    found = prior_shift(model, X_new=new)
    for label in range(6):
        known = ~np.isnan(HOLES[:, label])
        alone = SigmoidRegression(tol=1e-13).fit(LABELS_X[known], HOLES[known, label])
        one = prior_shift(alone, X_new=new)
        np.testing.assert_allclose(found.class_prior_[label], one.class_prior_[1], atol=1e-4)
        np.testing.assert_allclose(found.intercept_[label], one.intercept_[0], atol=1e-3)
        statistic = found.prior_change_.statistic[label]
        np.testing.assert_allclose(statistic, one.prior_change_.statistic, atol=1e-3)


def test_the_priors_found_are_used():
    """The copy predicts as after a shift to them, with the offset of the new rows."""
    offset = np.random.default_rng(0).normal(size=(300, 3))
    model = SoftmaxRegression().fit(X, y)
    found = prior_shift(model, X_new=X[:100], offset=offset[:100])
    again = prior_shift(model, found.class_prior_)
    np.testing.assert_allclose(found.intercept_, again.intercept_, atol=1e-12)
    other = prior_shift(model, X_new=X[:100])
    assert not np.allclose(found.class_prior_, other.class_prior_, atol=0.01)


def test_rows_of_the_fit_have_the_priors_of_the_fit():
    """There the mean probabilities are the priors, which is what EM ends at."""
    model = SoftmaxRegression(tol=1e-14).fit(X, y)
    found = prior_shift(model, X_new=X)
    np.testing.assert_allclose(found.class_prior_, model.class_prior_, atol=1e-6)
    assert found.prior_change_.statistic < 1e-6 < 0.99 < found.prior_change_.p_value


def test_priors_that_changed_are_recovered():
    """Over 100 samples of 400 rows the mean is the truth, to five of its standard errors."""
    model, shares = true_model(3), np.array([0.15, 0.25, 0.6])
    found = np.array(
        [
            prior_shift(model, X_new=shifted_rows(shares, 400, seed)[0]).class_prior_
            for seed in range(100)
        ]
    )
    error = found.std(axis=0, ddof=1) / 10
    assert (np.abs(found.mean(axis=0) - shares) < 5 * error).all()
    assert (error < 0.01).all()


def test_the_test_of_unchanged_priors_has_its_level():
    """Where nothing changed, p-values are uniform; where much did, they are next to zero."""
    model = true_model(3)
    changes = [
        prior_shift(model, X_new=shifted_rows(model.class_prior_, 500, seed)[0]).prior_change_
        for seed in range(200)
    ]
    assert {change.df for change in changes} == {2}
    p = np.array([change.p_value for change in changes])
    assert kstest(p, "uniform").pvalue > 0.001
    below = (p < 0.05).sum()
    assert binom.ppf(0.0005, 200, 0.05) <= below <= binom.ppf(0.9995, 200, 0.05)
    new = shifted_rows([0.1, 0.2, 0.7], 500, seed=0)[0]
    assert prior_shift(model, X_new=new).prior_change_.p_value < 1e-6


DEGENERATE = {
    "one row": X[:1],
    "two kinds of rows": np.repeat(X[:2], 30, axis=0),
    "fewer kinds of rows than classes, at the edge": np.repeat(X[[0, 0, 1]] * 5, 20, axis=0),
    "rows without columns": np.zeros((50, 4)),
}


@pytest.mark.parametrize("new", DEGENERATE.values(), ids=DEGENERATE)
def test_likelihoods_with_many_maxima_have_one_of_them_found(new):
    """Where rows do not determine priors: a fixed point of EM, proven, and no warning."""
    model = SoftmaxRegression().fit(X, y)
    found, P = prior_shift(model, X_new=new), model.predict_proba(new)
    assert found.prior_change_.gap <= 1e-10 and found.prior_change_.n_iter <= 30
    joint = P * (found.class_prior_ / model.class_prior_)
    em = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.class_prior_, em, atol=1e-9)


def test_an_end_before_the_largest_likelihood_is_said():
    """With too few iterations there is a warning, and the gap bounds what is missing."""
    model, new = true_model(4), shifted_rows([0.1, 0.2, 0.4, 0.3], 500, seed=1)[0]
    P, training = model.predict_proba(new), model.class_prior_
    best = prior_shift(model, X_new=new)
    assert best.prior_change_.gap <= 1e-10
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1 .*Raise max_iter"):
        early = prior_shift(model, X_new=new, max_iter=1)
    missing = [mean_log_likelihood(P, training, fit.class_prior_) for fit in (best, early)]
    assert 0 < missing[0] - missing[1] <= early.prior_change_.gap
    labels = SigmoidRegression().fit(LABELS_X, LABELS)
    with pytest.warns(ConvergenceWarning, match=r"labels \[0, 1, 2, 3, 4, 5\]"):
        prior_shift(labels, X_new=LABELS_X + 1, max_iter=0)


# --- bad input ------------------------------------------------------------------------------------

MODEL, LABEL_MODEL = SoftmaxRegression().fit(X, TREES[y]), SigmoidRegression().fit(LABELS_X, LABELS)
REFUSED = {
    "neither": ({}, "either priors.*or X_new.*neither"),
    "both": ({"priors": [0.2, 0.3, 0.5], "X_new": X}, "either priors.*or X_new.*both"),
    "counts": ({"priors": [20, 30, 50]}, "priors must sum to 1, got 100.*divide"),
    "too few": ({"priors": [0.5, 0.5]}, r"priors must have shape \(3,\).*got \(2,\)"),
    "negative": ({"priors": [-0.1, 0.6, 0.5]}, "priors must be.*>= 0, got -0.1"),
    "NaN": ({"priors": [np.nan, 0.6, 0.5]}, "priors must be finite, got nan"),
    "a class is missing": ({"priors": {"ash": 1.0}}, r"priors names \['ash'\].*'birch'"),
    "another class": (
        {"priors": pd.Series([0.2, 0.3, 0.5])},
        r"priors names \[0, 1, 2\]; it must name.*'birch'",
    ),
    "training": (
        {"priors": [0.2, 0.3, 0.5], "training_priors": [1, 1, 1]},
        "training_priors must sum to 1, got 3",
    ),
    "NaN in X": ({"X_new": X * np.nan}, "X holds missing values"),
    "other columns": ({"X_new": X[:, :2]}, "2 features.*expecting 4"),
    "offset alone": (
        {"priors": [0.2, 0.3, 0.5], "offset": np.ones(3)},
        "offset is that of X_new, which is None",
    ),
    "offset": ({"X_new": X, "offset": np.ones(3)}, "offset must have shape"),
    "iterations": ({"X_new": X, "max_iter": -1}, "max_iter=-1 must be an integer >= 0"),
    "iterations that there are none of": (
        {"priors": [0.2, 0.3, 0.5], "max_iter": 2.5},
        "max_iter=2.5 must be an integer >= 0",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_are_refused_in_words_that_help(arguments, message):
    """The argument, its value, and what would be right."""
    with pytest.raises(ValueError, match=message):
        prior_shift(MODEL, **arguments)


def test_text_is_no_prior():
    """A TypeError for what holds no numbers."""
    with pytest.raises(TypeError, match="priors must be an array of real numbers"):
        prior_shift(MODEL, "balanced")


def test_shares_of_labels_lie_between_zero_and_one():
    """They need not sum to 1, but each is a share."""
    with pytest.raises(ValueError, match="priors of labels must be at most 1, got 2"):
        prior_shift(LABEL_MODEL, [2, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_estimators_without_an_exact_correction_are_refused():
    """One-vs-rest of three classes; what is not fitted; what is none of softreg."""
    with pytest.raises(ValueError, match="one-vs-rest to 3 classes.*SoftmaxRegression"):
        prior_shift(SigmoidRegression().fit(X, y), [0.2, 0.3, 0.5])
    with pytest.raises(NotFittedError):
        prior_shift(SoftmaxRegression(), [0.5, 0.5])
    with pytest.raises(TypeError, match="prior_shift needs a fitted estimator of softreg"):
        prior_shift(LogisticRegression().fit(X, y), [0.2, 0.3, 0.5])


def test_a_label_that_never_varied_keeps_its_prior():
    """Nothing in the fit tells those that lack it from those that have it."""
    constant = np.column_stack([LABELS[:, :1], np.ones(300)])
    with pytest.warns(UserWarning, match="does not vary"):
        model = SigmoidRegression().fit(LABELS_X, constant)
    shifted = prior_shift(model, [0.1, 1.0])
    assert shifted.intercept_[1] == model.intercept_[1]
    with pytest.raises(ValueError, match=r"priors of \[1\] must be as in the fit"):
        prior_shift(model, [0.1, 0.9])
    assert prior_shift(model, X_new=LABELS_X[:9]).class_prior_[1] == 1


def test_one_hot_targets_and_classes_have_the_same_shares():
    """The targets may be a column for each class."""
    by_column = SoftmaxRegression().fit(X, one_hot(y))
    np.testing.assert_allclose(by_column.class_prior_, MODEL.class_prior_, **EXACT)
