"""Held-out rows are scored as by hand: also where they lack a class, and whatever form y has."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from problems import one_hot, overlapping
from scipy.special import expit
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    make_scorer,
    roc_auc_score,
)
from sklearn.model_selection import KFold
from sklearn.utils.fixes import parse_version

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV

VERSION = parse_version(sklearn.__version__)
PLAIN = {SoftmaxRegressionCV: SoftmaxRegression, SigmoidRegressionCV: SigmoidRegression}
# From which version on scorers take three classes, and some of them missing.
SINCE = {"neg_brier_score": "1.7", "d2_log_loss_score": "1.8"}
X, y = overlapping()
CS = [0.1, 10.0]
WEIGHTS = np.random.default_rng(0).uniform(0, 3, size=120)
SORTED = np.argsort(y, kind="stable")  # thirds of one class each, but for a few rows


# Three rows of the last class, in the test parts of the first two of four folds.
RARE = np.where(X[:, 0] + y > 1, "birch", "ash").astype("<U5")
RARE[[0, 1, 30]] = "cedar"
FOLDS = list(KFold(4).split(X))
TREES = np.array(["ash", "birch", "cedar"])


def held_out(labels, C, folds=FOLDS):
    """The probabilities (m, K) of each fold's rows, of all classes, by a fit without them."""
    classes = np.unique(labels)
    for train, test in folds:
        model = SoftmaxRegression(C, classes=classes, tol=1e-12).fit(X[train], labels[train])
        P, weight = model.predict_proba(X[test]), len(train)
        unseen = np.logical_not(np.isin(classes, labels[train]))
        if unseen.any():  # Jeffreys' prior, and the model's shares of the rest
            share = 0.5 / (weight + len(classes) / 2)
            P = np.where(unseen, 0, P) / P[:, ~unseen].sum(axis=1, keepdims=True)
            P = np.where(unseen, share, P * (1 - share * unseen.sum()))
        yield P, one_hot_of(labels[test], classes)


def one_hot_of(labels, classes):
    return (labels[:, None] == classes).astype(float)


def minus_brier(P, Y):
    """Minus the squared distance of the probabilities from what came true."""
    return -np.square(P - Y).sum(axis=1).mean()


def second_best(P, Y):
    """How often the class is among the two most probable ones."""
    return (Y * (np.sort(P, axis=1)[:, [-2]] <= P)).sum(axis=1).mean()


def log_loss_explained(P, Y):
    """The share of the log loss of constant probabilities that is gone."""
    null = Y.mean(axis=0)
    return 1 - np.sum(Y * np.log(P)) / np.sum(Y * np.log(np.where(null > 0, null, 1)))


def mean_auc(P, Y):
    """The mean over classes of how often rows of the class have more of it than others do."""
    return np.mean([pairs_in_order(p, yes > 0) for p, yes in zip(P.T, Y.T, strict=True)])


def pairs_in_order(score, yes):
    """The share of pairs of a yes and a no in which the yes has the larger score."""
    difference = score[yes][:, None] - score[~yes]
    return np.nan if not difference.size else (np.sign(difference) / 2 + 0.5).mean()


BY_HAND = {
    "neg_brier_score": minus_brier,
    "top_k_accuracy": second_best,
    "d2_log_loss_score": log_loss_explained,
}


@pytest.fixture
def scoring(request):
    """The name of a scorer, if this version of scikit-learn has it."""
    if parse_version(SINCE.get(request.param, "1")) > VERSION:
        pytest.skip(f"{request.param} needs scikit-learn {SINCE[request.param]}")
    return request.param


# --- folds that lack a class ----------------------------------------------------------------------


@pytest.mark.parametrize("scoring", BY_HAND, indirect=True)
def test_a_fold_that_lacks_a_class_is_scored_by_all_probabilities(scoring):
    """Each column is that of its class, also of one that the held-out rows do not hold."""
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=scoring).fit(X, RARE)
    expected = [[BY_HAND[scoring](P, Y) for P, Y in held_out(RARE, C)] for C in CS]
    np.testing.assert_allclose(model.scores_[:, 0], np.transpose(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scoring", ["neg_brier_score", "top_k_accuracy"], indirect=True)
def test_a_fold_whose_class_no_other_row_has_is_scored(scoring):
    """Consecutive folds of sorted rows: neither part has all classes."""
    labels, folds = np.repeat([0, 1, 2], 40), list(KFold(3).split(X))
    model = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=scoring).fit(X, labels)
    expected = [[BY_HAND[scoring](P, Y) for P, Y in held_out(labels, C, folds)] for C in CS]
    np.testing.assert_allclose(model.scores_[:, 0], np.transpose(expected), rtol=1e-3)


def test_a_score_that_does_not_exist_is_left_out_with_one_warning():
    """No AUC where no row has the class: NaN, and C is the best by the folds that have one."""
    with pytest.warns(UserWarning, match="roc_auc_ovr.* 2 of 4 folds, fold 2") as caught:
        model = SoftmaxRegressionCV([1e-4, *CS], cv=FOLDS, scoring="roc_auc_ovr").fit(X, RARE)
    assert len(caught) == 1 and caught[0].filename == __file__
    expected = np.array([[mean_auc(P, Y) for P, Y in held_out(RARE, C)] for C in model.Cs_])
    np.testing.assert_allclose(model.scores_[:, 0], expected.T, rtol=1e-3)
    known = expected[:, :2]
    np.testing.assert_allclose(model.mean_score_[0], known.mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(model.se_score_[0], known.std(axis=1), rtol=1e-3, atol=1e-4)
    assert model.Cs_[known.mean(axis=1).argmax()] == model.C_


def test_a_metric_that_takes_no_absent_class_has_no_score_there():
    """Average precision of three classes fails on a fold without one, and there alone."""
    codes = np.searchsorted(TREES, RARE)
    with pytest.warns(UserWarning, match="average_precision.* 2 of 4 folds") as caught:
        model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring="average_precision").fit(X, codes)
    assert len(caught) == 1
    assert np.isfinite(model.scores_[:2, 0]).all() and np.isnan(model.scores_[2:, 0]).all()


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "roc_auc_ovo_weighted"])
def test_a_score_that_exists_for_no_fold_is_an_error(scoring):
    """Folds of one class each: the error says why, and the estimator stays as it was."""
    model = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=scoring)
    with pytest.raises(ValueError, match=f"{scoring}.*every fold.*stratified"):
        model.fit(X, np.repeat([0, 1, 2], 40))
    assert not hasattr(model, "C_")


@pytest.mark.parametrize("scoring", ["f1", "roc_auc", "f1_samples"])
def test_a_metric_of_other_problems_is_refused_whatever_folds_lack(scoring):
    """What scores no three classes is an error, also where folds hold two of them."""
    folds = [(np.delete(SORTED, t), SORTED[t]) for t in np.arange(120).reshape(3, 40)]
    with pytest.raises(ValueError, match=f"scoring='{scoring}' does not score"):
        SoftmaxRegressionCV(CS, cv=folds, scoring=scoring).fit(X, y)


def test_means_over_predicted_classes_are_over_those_that_occur():
    """The F1 of a class that a fold neither holds nor predicts is not 0: it does not exist."""
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring="f1_macro").fit(X, RARE)
    for fold, (P, Y) in enumerate(held_out(RARE, CS[1])):
        true, predicted = Y > 0, P.max(axis=1, keepdims=True) <= P
        occurs = (true | predicted).any(axis=0)
        f1 = 2 * (true & predicted).sum(axis=0) / np.maximum((true * 1 + predicted).sum(axis=0), 1)
        assert model.scores_[fold, 0, 1] == pytest.approx(f1[occurs].mean(), rel=1e-3)


def test_what_a_metric_says_of_scores_that_exist_is_heard():
    """Precision of a class that is never predicted counts as 0, with scikit-learn's warning."""
    with pytest.warns(UndefinedMetricWarning, match="Precision"):
        SoftmaxRegressionCV([1e-4], cv=FOLDS, scoring="precision_macro").fit(X, RARE)


@pytest.mark.skipif(parse_version("1.9") > VERSION, reason="before, it fails on such folds")
@pytest.mark.parametrize(
    "scoring",
    ["d2_brier_score", "neg_brier_score", "roc_auc_ovo", "roc_auc_ovr", "top_k_accuracy"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scores_of_such_folds_are_those_of_logistic_regression_cv(scoring):
    """The same folds have no score, and the others the same."""
    parameters = {"solver": "newton-cg", "tol": 1e-8, "use_legacy_attributes": False}
    theirs = LogisticRegressionCV(Cs=CS, l1_ratios=(0,), cv=FOLDS, scoring=scoring, **parameters)
    theirs.fit(X, RARE)
    ours = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=scoring).fit(X, RARE)
    np.testing.assert_allclose(ours.scores_[:, 0], theirs.scores_[:, 0], rtol=1e-3)


@pytest.mark.parametrize("scoring", ["neg_brier_score", "f1", "average_precision"])
@pytest.mark.filterwarnings("ignore:(No positive class|F-score is ill-defined)")
def test_the_second_of_two_classes_is_the_positive_one(scoring):
    """Texts, in either order; a fold of one class has the value that scikit-learn gives it."""
    labels = np.where(y > 0, "yes", "no")
    labels[90:] = "no"
    for classes in (["no", "yes"], ["yes", "no"]):
        model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=scoring, classes=classes).fit(X, labels)
        for fold, (train, test) in enumerate(FOLDS):
            plain = SoftmaxRegression(CS[0], classes=classes).fit(X[train], labels[train])
            p, positive = plain.predict_proba(X[test])[:, 1], labels[test] == classes[1]
            expected = {
                "neg_brier_score": lambda p, yes: -np.square(p - yes).mean(),
                "f1": lambda p, yes: f1_score(yes, p > 0.5),
                "average_precision": lambda p, yes: average_precision_score(yes, p),
            }[scoring](p, positive)
            assert model.scores_[fold, 0, 0] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_what_a_scorer_was_made_with_stays():
    """The positive class that a scorer names is its own."""
    labels = np.where(y > 0, "yes", "no")
    scorer = make_scorer(f1_score, pos_label="no")
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=scorer).fit(X, labels)
    train, test = FOLDS[0]
    predicted = SoftmaxRegression(CS[0]).fit(X[train], labels[train]).predict(X[test])
    expected = f1_score(labels[test] == "no", predicted == "no")
    assert model.scores_[0, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "top_k_accuracy", "neg_log_loss", "accuracy"])
def test_the_order_of_classes_changes_no_score(scoring):
    """Metrics get columns in the order in which they expect them."""
    expected = SoftmaxRegressionCV(CS, cv=3, scoring=scoring).fit(X, TREES[y]).scores_[:, 0]
    order = ["cedar", "ash", "birch"]
    model = SoftmaxRegressionCV(CS, cv=3, scoring=scoring, classes=order).fit(X, TREES[y])
    np.testing.assert_allclose(model.scores_[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("order", [["no", "yes"], ["yes", "no"]])
def test_the_order_of_two_classes_changes_no_area(order):
    """The score of the second class falls where that of the first rises."""
    labels = np.where(y > 0, "yes", "no")
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring="roc_auc", classes=order).fit(X, labels)
    for fold, (P, Y) in enumerate(held_out(labels, CS[1])):
        expected = pairs_in_order(P[:, 1], Y[:, 1] > 0)
        assert model.scores_[fold, 0, 1] == pytest.approx(expected, rel=1e-3)


def test_a_callable_sees_the_classes_in_the_order_of_the_estimator():
    """Its columns are those of `classes_`, as of the fitted estimator itself."""

    def ranked(estimator, X, y):
        assert list(estimator.classes_) == ["cedar", "ash", "birch"]
        Y = one_hot_of(y, estimator.classes_)
        return -np.square(np.cumsum(estimator.predict_proba(X) - Y, axis=1)).mean()

    order = ["cedar", "ash", "birch"]
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=ranked, classes=order).fit(X, TREES[y])
    train, test = FOLDS[0]
    plain = SoftmaxRegression(CS[0], classes=order).fit(X[train], TREES[y][train])
    assert model.scores_[0, 0, 0] == pytest.approx(ranked(plain, X[test], TREES[y][test]), rel=1e-4)


# --- what a callable sees is the fit without the fold ---------------------------------------------

FRAME = pd.DataFrame(X, columns=["gre", "gpa", "age", "income"])
LABELS = (np.random.default_rng(2).random((120, 3)) < expit(X @ np.ones((4, 3)))).astype(float)
SEEN = {
    "three classes": (SoftmaxRegressionCV(), X, y),
    "two classes": (SoftmaxRegressionCV(), X, (y > 0).astype(int)),
    "a frame": (SoftmaxRegressionCV(), FRAME, TREES[y]),
    "sparse": (SoftmaxRegressionCV(), sp.csr_array(X), y),
    "wide": (
        SoftmaxRegressionCV(),
        np.hstack([X, np.random.default_rng(3).normal(size=(120, 200))]),
        y,
    ),
    "one against the rest": (SigmoidRegressionCV(), X, y),
    "labels": (SigmoidRegressionCV(), X, LABELS),
    "each label": (SigmoidRegressionCV(per_label=True), X, LABELS),
}


@pytest.mark.parametrize("case", SEEN)
def test_a_callable_sees_the_fit_without_the_fold(case):
    """Its coefficients, and its predictions of any rows, are those of a refit to the other rows."""
    model, A, target = SEEN[case]
    seen = []

    def look(estimator, X, y):
        P = estimator.predict_proba(X)
        np.testing.assert_allclose(estimator.predict_proba(X[:3]), P[:3], rtol=1e-9)
        assert estimator.n_iter_.shape == (1,) and estimator.n_iter_ >= 1
        answers = estimator.decision_function(A), estimator.predict_proba(A), estimator.predict(A)
        seen.append((estimator.coef_, estimator.intercept_, *answers))
        return 0.0

    Cs = [0.1, 10.0] if case == "wide" else [0.1, 10.0, np.inf]
    model.set_params(Cs=Cs, cv=FOLDS, scoring=look, tol=1e-13).fit(A, target)
    expected = []
    for C, (train, _) in product(Cs, FOLDS):
        refit = PLAIN[type(model)](C=C, tol=1e-13)
        refit.fit(A.iloc[train] if case == "a frame" else A[train], target[train])
        Z, P, predicted = refit.decision_function(A), refit.predict_proba(A), refit.predict(A)
        whole = refit.coef_, refit.intercept_, Z, P, predicted
        of_labels = [
            (
                refit.coef_[[label]],
                refit.intercept_[[label]],
                Z[:, label],
                np.column_stack([1 - P[:, label], P[:, label]]),
                predicted[:, label],
            )
            for label in range(3 if case == "each label" else 0)
        ]
        expected += of_labels or [whole]
    for actual, wanted in zip(seen, expected, strict=True):
        for values, refitted in zip(actual, wanted, strict=True):
            assert values.shape == refitted.shape
            if refitted.dtype.kind == "f":
                np.testing.assert_allclose(values, refitted, rtol=0, atol=1e-3)
            else:
                np.testing.assert_array_equal(values, refitted)


def test_offsets_count_in_the_predictions_of_the_rows_held_out():
    """Of these a callable gets the offset's predictions; of others those of X alone."""
    offset = np.random.default_rng(4).normal(size=(120, 3))

    def look(estimator, X, y):
        of_X = X @ estimator.coef_.T + estimator.intercept_
        np.testing.assert_allclose(estimator.decision_function(X.copy()), of_X, atol=1e-9)
        added = estimator.decision_function(X) - of_X
        expected = offset[np.searchsorted(order[:, 0], X[:, 0])]
        np.testing.assert_allclose(
            added - added.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            atol=1e-6,
        )
        return 0.0

    rows = np.argsort(X[:, 0])
    order = X[rows]
    SoftmaxRegressionCV(CS, cv=FOLDS, scoring=look).fit(order, y[rows], offset=offset)


def test_an_earlier_fit_leaves_nothing_that_a_callable_sees():
    """Attributes that only a whole fit has, such as `C_`, are not those of the fit before."""

    def look(estimator, X, y):
        return float(hasattr(estimator, "C_") or hasattr(estimator, "feature_names_in_"))

    model = SoftmaxRegressionCV(CS, cv=3).fit(FRAME, y).set_params(scoring=look).fit(X, y)
    assert not model.scores_[:, 0].any()


# --- labels that are constant in a fold -----------------------------------------------------------


def labelled():
    """Two labels that vary in each fold, one of the first rows alone, and one that no row has."""
    Y = np.random.default_rng(1).random((120, 4)) < expit(X @ np.ones((4, 4)))
    Y[:, 2] = np.arange(120) % 20 == 0
    Y[60:, 2] = False
    Y[:, 3] = False
    return Y.astype(float)


def test_labels_are_scored_where_they_vary():
    """AUC label by label: NaN in folds where a label is constant, and its best C by the others."""
    Y = labelled()
    with pytest.warns(UserWarning) as caught:
        model = SigmoidRegressionCV(CS, cv=FOLDS, scoring="roc_auc", per_label=True).fit(X, Y)
    of_scores = [w for w in caught if "has no score for 4 of 4 folds" in str(w.message)]
    of_constants = [w for w in caught if "does not vary" in str(w.message)]
    assert len(of_scores) == len(of_constants) == 1 and len(caught) == 2
    for label in range(3):
        for fold, (train, test) in enumerate(FOLDS):
            yes = Y[test, label] > 0
            for at, C in enumerate(CS):
                score = model.scores_[fold, 0, at, label]
                if yes.all() or not yes.any():
                    assert np.isnan(score)
                    continue
                plain = SoftmaxRegression(C).fit(X[train], Y[train, label])
                expected = pairs_in_order(plain.decision_function(X[test]), yes)
                assert score == pytest.approx(expected, abs=1e-3)
    assert np.isnan(model.scores_[:, 0, :, 3]).all()
    best = np.nanmean(model.scores_[:, 0, :, :3], axis=0).argmax(axis=0)
    np.testing.assert_array_equal(model.C_[:3], np.take(CS, best))
    np.testing.assert_array_equal(model.coef_[3], 0)


def test_a_label_that_varies_in_no_fold_is_an_error():
    """There is no AUC to choose its C by, though the label varies: it is named."""
    Y = np.column_stack([y == 0, np.arange(120) >= 60]).astype(float)
    halves = [(np.arange(60), np.arange(60, 120)), (np.arange(60, 120), np.arange(60))]
    with pytest.raises(ValueError, match="roc_auc.*every fold of label 1"):
        SigmoidRegressionCV(CS, cv=halves, scoring="roc_auc", per_label=True).fit(X, Y)


def test_all_labels_are_scored_at_once_where_all_vary():
    """The mean AUC of a fold that lacks one of them does not exist."""
    Y = labelled()[:, :3]
    with pytest.warns(UserWarning, match="2 of 4 folds, fold 2") as caught:
        model = SigmoidRegressionCV(CS, cv=FOLDS, scoring="roc_auc").fit(X, Y)
    assert len(caught) == 1 and np.isnan(model.scores_[2:, 0]).all()
    train, test = FOLDS[0]
    plain = [SoftmaxRegression(CS[0]).fit(X[train], yes) for yes in Y[train].T]
    scores = [
        roc_auc_score(yes, model.decision_function(X[test]))
        for model, yes in zip(plain, Y[test].T, strict=True)
    ]
    assert model.scores_[0, 0, 0] == pytest.approx(np.mean(scores), abs=1e-3)


# --- class probabilities --------------------------------------------------------------------------


def shares():
    """Probabilities of three classes, some rows certain."""
    Y = 0.7 * one_hot(y) + 0.3 * np.random.default_rng(2).dirichlet(np.ones(3), 120)
    return np.where(np.arange(120)[:, None] % 5 == 0, one_hot(y), Y)


EXPECTED = {
    "accuracy": lambda P, k: P.argmax(axis=1) == k,
    "top_k_accuracy": lambda P, k: (P[:, [k]] < P).sum(axis=1) < 2,
    "neg_brier_score": lambda P, k: -np.square(P - np.eye(3)[k]).sum(axis=1),
}


@pytest.mark.parametrize("scoring", EXPECTED, indirect=True)
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_class_probabilities_have_the_expected_score(scoring, weight):
    """sum_i s_i sum_k y_ik score(row i of class k) / sum_i s_i, fold by fold, in a loop."""
    Y, s = shares(), np.ones(120) if weight is None else weight
    model = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=scoring).fit(X, Y, sample_weight=weight)
    for fold, (train, test) in enumerate(KFold(3).split(X)):
        for at, C in enumerate(CS):
            plain = SoftmaxRegression(C).fit(X[train], Y[train], sample_weight=s[train])
            P = plain.predict_proba(X[test])
            rows = sum(Y[test, k] * EXPECTED[scoring](P, k) for k in range(3))
            expected = s[test] @ rows / s[test].sum()
            assert model.scores_[fold, 0, at] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "f1_macro", "top_k_accuracy"])
def test_an_indicator_matrix_is_scored_as_labels_are(scoring):
    """One 1 a row: the same scores as of the classes themselves, and the same by `score`."""
    of_classes = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=scoring).fit(X, y)
    model = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=scoring).fit(X, one_hot(y))
    np.testing.assert_allclose(model.scores_[:, 0], of_classes.scores_[:, 0], rtol=1e-9)
    assert model.score(X, one_hot(y)) == pytest.approx(model.score(X, y))


def test_a_callable_gets_class_probabilities_as_they_are():
    """What a scorer of your own does with them is its own."""

    def squared(estimator, X, Y):
        assert isinstance(Y, pd.DataFrame)
        return -np.square(estimator.predict_proba(X) - Y.to_numpy()).mean()

    Y = pd.DataFrame(shares(), columns=TREES)
    model = SoftmaxRegressionCV(CS, cv=KFold(3), scoring=squared).fit(X, Y)
    train, test = next(KFold(3).split(X))
    plain = SoftmaxRegression(CS[0]).fit(X[train], Y.iloc[train])
    assert model.scores_[0, 0, 0] == pytest.approx(squared(plain, X[test], Y.iloc[test]), rel=1e-4)


def test_a_score_of_rows_that_have_none_is_nan_with_a_warning():
    """`score` by AUC on rows of one class, or of labels that are not known."""
    model = SoftmaxRegressionCV(CS, cv=3, scoring="roc_auc_ovr").fit(X, y)
    with pytest.warns(UserWarning, match="no score for these rows") as caught:
        assert np.isnan(model.score(X[y == 0], y[y == 0]))
    assert len(caught) == 1
    labels = SigmoidRegressionCV([1.0], cv=FOLDS).fit(X, labelled()[:, :2])
    with pytest.warns(UserWarning, match="no answer is known"):
        assert np.isnan(labels.score(X, np.full((120, 2), np.nan)))
