"""Thresholds: what they mean for each kind of y, and how they are tuned on held-out predictions."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import labels_drawn, overlapping
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.multiclass import OneVsRestClassifier
from test_bad_input import assert_untouched, fitted_state
from test_multilabel import TREES, simulated, with_holes

from softreg import SigmoidRegression, SigmoidRegressionCV
from softreg.calibration import tune_thresholds

X, Y = simulated()
HOLES = with_holes(Y)
KINDS_X, KINDS_Y = overlapping(300, seed=1)
KINDS = TREES[KINDS_Y]
SCORES = {"method": "decision_function"}


def held_out(model, X, Y, splits, sample_weight=None):
    """The score of every row, from a clone fitted without the row's fold."""
    Z = []
    for train, test in splits:
        weight = None if sample_weight is None else sample_weight[train]
        fold = clone(model).fit(X[train], Y[train], sample_weight=weight)
        Z.append((test, fold.decision_function(X[test])))
    order = np.argsort(np.concatenate([test for test, _ in Z]))
    return np.concatenate([scores for _, scores in Z])[order]


def cuts(z):
    """A cut below, between and above all scores, and with them every possible prediction."""
    z = np.unique(z)
    return np.concatenate([[z[0] - 1], (z[1:] + z[:-1]) / 2, [z[-1] + 1]])


def f1(y_true, y_pred):
    """F1 of the ones, 0 where there are neither true nor predicted ones."""
    return 2 * (y_true * y_pred).sum() / max((y_true + y_pred).sum(), 1)


def assert_tuned(thresholds, Y, Z, metric):
    """No cut gives any label more of the metric than the label's threshold, and 1/2 gives less."""
    gained = 0
    for label, (y, z) in enumerate(zip(Y.T, Z.T, strict=True)):
        known = ~np.isnan(y)
        y, z = y[known].astype(int), z[known]
        tuned = metric(y, (z > logit(thresholds[label])).astype(int))
        assert tuned >= max(metric(y, (z > cut).astype(int)) for cut in cuts(z)) - 1e-12
        gained += tuned - metric(y, (z > 0).astype(int))
    assert gained > 0


# --- what a threshold means ---------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 0.1, np.array([0.02, 0.3, 0.5, 0.7, 0.9, 0.98])])
@pytest.mark.parametrize("as_Y", [np.asarray, sp.csr_array])
def test_a_label_is_predicted_where_its_score_exceeds_the_logit_of_its_threshold(as_Y, threshold):
    """Y 2-D: label l is 1 where z_l > logit(threshold_l), one threshold for all or one each."""
    model = SigmoidRegression(threshold=threshold).fit(X, as_Y(Y))
    predicted = model.predict(X)
    predicted = predicted.toarray() if sp.issparse(predicted) else predicted
    np.testing.assert_array_equal(predicted, model.decision_function(X) > logit(threshold))
    np.testing.assert_array_equal(predicted, model.predict_proba(X) > threshold)
    assert 0 < predicted.mean() < 1


@pytest.mark.parametrize("threshold", [0.5, 0.2, [0.9]])
def test_the_second_class_is_predicted_where_the_score_exceeds_the_logit(threshold):
    """1-D y of two classes: classes_[1] where z > logit(threshold)."""
    columns, y = overlapping(K=2)
    model = SigmoidRegression(threshold=threshold).fit(columns, TREES[y])
    z = columns @ model.coef_[0] + model.intercept_[0]
    expected = TREES[(z > logit(np.ravel(threshold)[0])).astype(int)]
    np.testing.assert_array_equal(model.predict(columns), expected)
    assert len(set(expected)) == 2


def test_a_class_competes_by_its_score_minus_the_logit_of_its_threshold():
    """1-D y of more classes: argmax of z_k - logit(threshold_k)."""
    thresholds = np.array([0.2, 0.3, 0.7])
    model = SigmoidRegression(threshold=thresholds).fit(KINDS_X, KINDS)
    Z = KINDS_X @ model.coef_.T + model.intercept_
    expected = TREES[(Z - np.log(thresholds / (1 - thresholds))).argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(KINDS_X), expected)
    assert (expected != TREES[Z.argmax(axis=1)]).any()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_one_threshold_for_all_classes_changes_no_prediction(threshold):
    """1-D y of more classes: a common threshold moves all scores alike."""
    model = SigmoidRegression(threshold=threshold).fit(KINDS_X, KINDS)
    theirs = OneVsRestClassifier(LogisticRegression(solver="newton-cholesky", tol=1e-12))
    np.testing.assert_array_equal(
        model.predict(KINDS_X), theirs.fit(KINDS_X, KINDS).predict(KINDS_X)
    )


@pytest.mark.parametrize("y", [Y, Y[:, 0], sp.csr_array(Y)], ids=["labels", "two", "CSR"])
def test_a_score_at_the_threshold_does_not_exceed_it(y):
    """z = logit(1/2) = 0 exactly is no, for every kind of y."""
    predicted = SigmoidRegression(fit_intercept=False).fit(X, y).predict(np.zeros((1, 5)))
    assert np.asarray(predicted.toarray() if sp.issparse(predicted) else predicted).sum() == 0


@pytest.mark.parametrize("y", [HOLES, KINDS, Y[:, 0]], ids=["labels", "classes", "two"])
def test_thresholds_move_predictions_and_nothing_else(y):
    """Coefficients, scores and probabilities do not depend on the threshold."""
    plain, moved = (SigmoidRegression(threshold=t).fit(X, y) for t in (0.5, 0.3))
    np.testing.assert_array_equal(plain.coef_, moved.coef_)
    np.testing.assert_array_equal(plain.decision_function(X), moved.decision_function(X))
    np.testing.assert_array_equal(plain.predict_proba(X), moved.predict_proba(X))


def test_offsets_count_before_the_threshold():
    """z + offset is held against the threshold, in predict as in score."""
    model = SigmoidRegression(threshold=0.3).fit(X, Y)
    shift = np.full(Y.shape, logit(0.3))
    plain = SigmoidRegression().fit(X, Y)
    np.testing.assert_array_equal(model.predict(X, offset=shift), plain.predict(X))
    assert model.score(X, Y, offset=shift) == plain.score(X, Y) != model.score(X, Y)


# --- tuned on held-out predictions --------------------------------------------------------------


@pytest.mark.parametrize("Y", [Y, HOLES], ids=["complete", "unknown entries"])
@pytest.mark.parametrize("cv", [KFold(5), KFold(3, shuffle=True, random_state=0)], ids=str)
def test_no_threshold_has_more_f1_on_held_out_predictions(cv, Y):
    """metric="f1": of all thresholds of a label none has more F1 over the rows that know it."""
    model = SigmoidRegression()
    thresholds = tune_thresholds(model, X, Y, "f1", cv=cv)
    assert thresholds.shape == (6,) and (thresholds > 0).all() and (thresholds < 1).all()
    assert_tuned(thresholds, Y, held_out(model, X, Y, cv.split(X)), f1)


@pytest.mark.parametrize(
    "metric",
    [balanced_accuracy_score, f1, lambda y, p: -abs(y.sum() - p.sum())],
    ids=["balanced accuracy", "f1", "count"],
)
def test_no_threshold_has_more_of_a_metric_that_is_given(metric):
    """A callable metric(y_true, y_pred), larger is better: no cut between some scores has more."""
    columns, labels = X[:90], HOLES[:90, :4]
    thresholds = tune_thresholds(SigmoidRegression(), columns, labels, metric, cv=KFold(5))
    Z = held_out(SigmoidRegression(), columns, labels, KFold(5).split(columns))
    assert_tuned(thresholds, labels, Z, metric)


@pytest.mark.parametrize("label", range(4))
def test_a_metric_that_a_half_is_best_for_leaves_it(label):
    """Of many scores not every cut is tried for a callable; that of 1/2 always is."""
    z = cross_val_predict(SigmoidRegression(), X, Y[:, label], cv=StratifiedKFold(5), **SCORES)
    count = (z > 0).sum()

    def metric(y_true, y_pred):
        return float(y_pred.sum() == count)

    assert tune_thresholds(SigmoidRegression(), X, Y[:, label], metric) == 0.5


def test_a_metric_sees_zeros_and_ones_of_the_rows_that_know_the_label():
    """Per label: 0/1 vectors of the rows that know it, and of no other."""
    seen = []

    def metric(y_true, y_pred):
        seen.append(np.array(y_true))
        assert len(y_true) == len(y_pred) and set(np.unique(y_pred)) <= {0, 1}
        return 0.0

    tune_thresholds(SigmoidRegression(), X, HOLES, metric, cv=3)
    expected = {((y == 0).sum(), (y == 1).sum()) for y in HOLES.T}
    assert {((y == 0).sum(), (y == 1).sum()) for y in seen} == expected
    assert all(len(y) == y.sum() + (y == 0).sum() for y in seen)


@pytest.mark.parametrize("K", [2, 3])
def test_a_metric_sees_the_classes_of_a_1d_y(K):
    """1-D y: y_true holds every row's class, y_pred classes too."""
    columns, y = overlapping(K=K)
    labels = TREES[y]

    def metric(y_true, y_pred):
        np.testing.assert_array_equal(np.sort(y_true), np.sort(labels))
        assert set(y_pred) <= set(TREES[:K])
        return accuracy_score(y_true, y_pred)

    model = SigmoidRegression()
    thresholds = tune_thresholds(model, columns, labels, metric, cv=3)
    assert thresholds.shape == ((1,) if K == 2 else (3,))
    Z = cross_val_predict(model, columns, labels, cv=3, **SCORES)
    moved = Z - logit(thresholds)
    before, after = (
        (scores > 0).astype(int) if K == 2 else scores.argmax(axis=1) for scores in (Z, moved)
    )
    assert accuracy_score(y, after) >= accuracy_score(y, before)


@pytest.mark.parametrize("balance", [0.5, 0.1])
def test_two_classes_are_tuned_as_one_label(balance):
    """1-D y of two classes: one threshold, none better for the F1 of classes_[1]."""
    rng = np.random.default_rng(0)
    y = (rng.random(300) < expit(X[:, 0] + logit(balance))).astype(int)
    labels = TREES[y]
    thresholds = tune_thresholds(SigmoidRegression(), X, labels)
    z = cross_val_predict(SigmoidRegression(), X, labels, cv=StratifiedKFold(5), **SCORES)
    assert thresholds.shape == (1,)
    assert_tuned(thresholds, y[:, None] * 1.0, z[:, None], f1)


def skewed_classes():
    """Four classes of which two are rare, and their held-out scores."""
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(500, 4))
    Z = columns @ rng.normal(size=(4, 4)) + [1.0, 1.0, -2.0, -1.5]
    y = labels_drawn(rng, Z)
    scores = cross_val_predict(SigmoidRegression(), columns, y, cv=StratifiedKFold(5), **SCORES)
    return columns, y, scores


def test_classes_are_tuned_for_macro_f1():
    """1-D y of more classes, "f1": macro F1 of held-out predictions above that of argmax z."""
    columns, y, Z = skewed_classes()
    thresholds = tune_thresholds(SigmoidRegression(), columns, y)
    assert thresholds.shape == (4,) and (thresholds > 0).all() and (thresholds < 1).all()
    plain = f1_score(y, Z.argmax(axis=1), average="macro")
    assert f1_score(y, (Z - logit(thresholds)).argmax(axis=1), average="macro") > plain + 0.01


COST = np.array([[0.0, 1.0], [4.0, 0.0]])  # [true, predicted]: a missed yes costs four false alarms


def calibrated(n=20_000):
    """Rows of a logistic model that is true of them: labels of two base rates, one class."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(n, 3))
    Z = columns @ [[1.0, -1.0], [0.5, 1.0], [-1.0, 0.5]] + [0.0, -1.5]
    return columns, (rng.random((n, 2)) < expit(Z)).astype(float)


@pytest.mark.parametrize("cost", [COST, COST.T, 10 * COST + 1], ids=["4", "1/4", "10 and 1"])
def test_costs_of_labels_give_the_threshold_of_bayes(cost):
    """Yes pays where p (c10 - c11) > (1 - p) (c01 - c00): that is p > 1/5, or 4/5 for cost.T."""
    columns, labels = calibrated()
    thresholds = tune_thresholds(SigmoidRegression(), columns, labels, cost)
    alarm, miss = cost[0, 1] - cost[0, 0], cost[1, 0] - cost[1, 1]
    np.testing.assert_allclose(thresholds, alarm / (alarm + miss), atol=0.05)


@pytest.mark.parametrize("targets", ["labels", "two classes"])
def test_no_threshold_has_a_lower_cost_on_held_out_predictions(targets):
    """A cost matrix: of all thresholds none has a lower mean held-out cost, unknown rows aside."""

    def gain(y_true, y_pred):
        return -COST[y_true, y_pred].mean()

    if targets == "labels":
        thresholds = tune_thresholds(SigmoidRegression(), X, HOLES, COST)
        Z = held_out(SigmoidRegression(), X, HOLES, KFold(5).split(X))
        assert_tuned(thresholds, HOLES, Z, gain)
    else:
        thresholds = tune_thresholds(SigmoidRegression(), X, Y[:, 3], COST.tolist())
        z = cross_val_predict(SigmoidRegression(), X, Y[:, 3], cv=StratifiedKFold(5), **SCORES)
        assert_tuned(thresholds, Y[:, [3]], z[:, None], gain)


def test_costs_of_classes_lower_the_mean_held_out_cost():
    """cost[true, predicted] of 1-D y: well below the held-out cost of argmax z."""
    columns, y, Z = skewed_classes()
    cost = 1.0 - np.eye(4)
    cost[2], cost[3, 0] = [20.0, 20.0, 0.0, 20.0], 5.0
    thresholds = tune_thresholds(SigmoidRegression(), columns, y, cost)
    plain, tuned = (cost[y, S.argmax(axis=1)].mean() for S in (Z, Z - logit(thresholds)))
    assert thresholds.shape == (4,) and (thresholds > 0).all() and (thresholds < 1).all()
    assert tuned < 0.9 * plain


def test_rows_and_columns_of_the_costs_are_in_the_order_of_classes():
    """cost[true, predicted] counts classes as classes_ does, whatever order they come in."""
    columns, y, Z = skewed_classes()
    names, place, Z = np.array(list("dcba"))[y], 3 - y, Z[:, ::-1]
    cost = np.ones((4, 4)) - np.eye(4)
    cost[place[y == 2][0], :] *= 20.0
    thresholds = tune_thresholds(SigmoidRegression(), columns, names, cost)
    plain, tuned = (cost[place, S.argmax(axis=1)].mean() for S in (Z, Z - logit(thresholds)))
    assert tuned < 0.9 * plain


def test_a_strength_that_is_chosen_is_chosen_anew_in_every_fold():
    """SigmoidRegressionCV: clones choose C on their own rows, and the thresholds are theirs."""
    model = SigmoidRegressionCV([0.01, 1.0], cv=3)
    thresholds = tune_thresholds(model, X, HOLES, cv=KFold(4))
    assert_tuned(thresholds, HOLES, held_out(model, X, HOLES, KFold(4).split(X)), f1)
    assert model.set_params(threshold=thresholds).fit(X, HOLES).predict(X).shape == (300, 6)


# --- folds, weights, storage, state -------------------------------------------------------------


@pytest.mark.parametrize("targets", [Y, KINDS], ids=["labels", "classes"])
def test_folds_are_given_as_to_cross_val_predict(targets):
    """None is 5 folds; a number, a splitter and the splits themselves mean the same."""
    splitter = (KFold if targets is Y else StratifiedKFold)(5)
    expected = tune_thresholds(SigmoidRegression(), X, targets, cv=splitter)
    splits = list(splitter.split(X, targets))
    every_row = np.arange(300)
    masks = [(np.isin(every_row, train), np.isin(every_row, test)) for train, test in splits]
    tuples = [(tuple(train), tuple(test)) for train, test in splits]
    for cv in (None, 5, splits, masks, tuples):
        np.testing.assert_array_equal(
            tune_thresholds(SigmoidRegression(), X, targets, cv=cv), expected
        )
    other = tune_thresholds(SigmoidRegression(), X, targets, cv=3)
    assert not np.array_equal(other, expected)


def test_predictions_are_of_rows_that_the_fold_did_not_see():
    """Two copies of a row in one fold by groups: the thresholds are those of held-out scores."""
    twice, labels = np.repeat(X[:100], 2, axis=0), np.repeat(Y[:100], 2, axis=0)
    splits = list(GroupKFold(4).split(twice, groups=np.repeat(np.arange(100), 2)))
    model = SigmoidRegression(C=100.0)
    thresholds = tune_thresholds(model, twice, labels, cv=splits)
    assert_tuned(thresholds, labels, held_out(model, twice, labels, splits), f1)


@pytest.mark.parametrize("shape", [(300,), (300, 6)])
def test_the_folds_are_fitted_with_their_rows_of_the_weights(shape):
    """Weights of 100 with C / 100 are no weights with C, in every fold and so in thresholds."""
    plain = tune_thresholds(SigmoidRegression(C=0.01, tol=1e-13), X, Y)
    heavy = SigmoidRegression(C=0.0001, tol=1e-13)
    weighted = tune_thresholds(heavy, X, Y, sample_weight=np.full(shape, 100.0))
    np.testing.assert_allclose(weighted, plain, atol=1e-6)
    assert not np.allclose(tune_thresholds(heavy, X, Y), plain, atol=1e-3)


@pytest.mark.parametrize(
    "as_Y",
    [sp.csr_array, sp.coo_array, pd.DataFrame, lambda Y: Y.astype(bool), lambda Y: Y.tolist()],
    ids=["CSR", "COO", "frame", "bool", "lists"],
)
def test_labels_of_any_storage_have_the_same_thresholds(as_Y):
    """How Y is stored does not enter, nor does a DataFrame of X."""
    expected = tune_thresholds(SigmoidRegression(tol=1e-12), X, Y)
    for columns in (X, pd.DataFrame(X, columns=list("abcde")), sp.csr_array(X)):
        thresholds = tune_thresholds(SigmoidRegression(tol=1e-12), columns, as_Y(Y))
        np.testing.assert_allclose(thresholds, expected, atol=1e-5)


def test_unknown_entries_of_a_sparse_matrix_are_left_out():
    """NaN stored in CSR are unknown there too."""
    expected = tune_thresholds(SigmoidRegression(tol=1e-12), X, HOLES)
    sparse = tune_thresholds(SigmoidRegression(tol=1e-12), X, sp.csr_array(HOLES))
    np.testing.assert_allclose(sparse, expected, atol=1e-5)


def test_a_constant_label_has_a_threshold_and_disturbs_no_other():
    """Where nothing can be tuned there is still a number in (0, 1), and the rest as without it."""
    columns = np.column_stack([Y[:, :2], np.zeros(300), np.ones(300), np.full(300, np.nan)])
    thresholds = tune_thresholds(SigmoidRegression(tol=1e-12), X, columns)  # and no warning
    assert thresholds.shape == (5,) and (thresholds > 0).all() and (thresholds < 1).all()
    alone = tune_thresholds(SigmoidRegression(tol=1e-12), X, Y[:, :2])
    np.testing.assert_allclose(thresholds[:2], alone, atol=1e-5)


def test_labels_of_which_a_lasso_leaves_the_intercept_alone_are_tuned():
    """A constant score is cut below, for F1, as predicting all beats predicting none."""
    null = SigmoidRegression(C=1e-6, l1_ratio=1)
    assert not null.fit(X, Y).coef_.any()
    thresholds = tune_thresholds(null, X, Y)
    assert (thresholds < Y.mean(axis=0)).all()
    assert null.set_params(threshold=thresholds).fit(X, Y).predict(X).all()


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("targets", [HOLES, KINDS, Y[:, 4]], ids=["labels", "classes", "two"])
def test_tuning_leaves_the_estimator_as_it_was(targets, fitted):
    """No parameter and no fitted attribute comes, goes or changes; nor do X and Y."""
    model = SigmoidRegression(C=0.3, threshold=0.4, warm_start=True)
    if fitted:
        model.fit(X, targets)
    before, parameters = fitted_state(model), model.get_params()
    columns, labels = X.copy(), targets.copy()
    first = tune_thresholds(model, columns, labels)
    assert_untouched(model, before)
    assert model.get_params() == parameters
    np.testing.assert_array_equal(columns, X)
    np.testing.assert_array_equal(labels, targets)
    np.testing.assert_array_equal(tune_thresholds(model, columns, labels), first)


@pytest.mark.parametrize(
    ("targets", "metric"),
    [(HOLES, "f1"), (KINDS, "f1"), (Y[:, 4], "f1"), (Y, COST)],
    ids=["labels", "classes", "two", "costs"],
)
def test_the_present_threshold_does_not_enter(targets, metric):
    """Tuning starts from the scores, whatever the estimator's threshold is."""
    L = 6 if targets.ndim == 2 else 3 if targets is KINDS else 1
    one, other = (
        tune_thresholds(SigmoidRegression(threshold=t), X, targets, metric)
        for t in (0.5, np.linspace(0.01, 0.9, L))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("targets", [HOLES, KINDS, Y[:, 4]], ids=["labels", "classes", "two"])
def test_thresholds_go_back_into_the_estimator(targets):
    """set_params(threshold=tune_thresholds(model, X, Y)).fit(X, Y) predicts by them."""
    model = SigmoidRegression()
    thresholds = tune_thresholds(model, X, targets)
    model.set_params(threshold=thresholds).fit(X, targets)
    Z = model.decision_function(X) - logit(thresholds)
    expected = (Z > 0).astype(int) if targets is not KINDS else TREES[Z.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), expected)
