"""A class may have no row or no weight, as in a fold or a bootstrap: as for LogisticRegression."""

import numpy as np
import pandas as pd
import pytest
from problems import one_hot, overlapping
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, cross_val_score
from sklearn.multiclass import OneVsRestClassifier

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV
from softreg.inference import loo

X, y = overlapping()
TREES = np.array(["ash", "birch", "cedar"])
TWO = y < 2
X2, NAMES2 = X[TWO], TREES[y[TWO]]
KINDS = pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
CHOOSING = {SoftmaxRegression: SoftmaxRegressionCV, SigmoidRegression: SigmoidRegressionCV}
CLOSE = {"rtol": 0, "atol": 1e-4}


def logistic(**parameters):
    """The reference, at its optimum."""
    return LogisticRegression(solver="newton-cg", tol=1e-8, max_iter=1000, **parameters)


# --- class_weight ---------------------------------------------------------------------------------

WEIGHTS = {
    "all, and an absent one": {"ash": 1.0, "birch": 2.0, "cedar": 3.0},
    "some of those present": {"birch": 2.0},
    "none": {},
    "an absent one, and not all": {"ash": 0.5, "cedar": 3.0},
    "an absent one alone": {"cedar": 3.0},
}


def fitted(kind, how, **parameters):
    """An estimator fitted to rows of two of the three classes."""
    if how == "chosen":
        return CHOOSING[kind]([1.0], cv=3, **parameters).fit(X2, NAMES2)
    if how == "chunks":
        chunks = [(X2[:50], NAMES2[:50]), (X2[50:], NAMES2[50:])]
        return kind(**parameters).fit_chunks(chunks)
    return kind(**parameters).fit(X2, NAMES2)


@KINDS
@pytest.mark.parametrize("how", ["fit", "chunks", "chosen"])
@pytest.mark.parametrize("class_weight", WEIGHTS.values(), ids=WEIGHTS)
def test_class_weights_may_name_absent_classes_as_in_scikit_learn(kind, how, class_weight):
    """Refused only if one names a class that is not there and leaves out one that is."""
    try:
        theirs = logistic(class_weight=class_weight).fit(X2, NAMES2).predict_proba(X)
    except ValueError:
        with pytest.raises(ValueError, match=r"class_weight.*cedar.*birch"):
            fitted(kind, how, class_weight=class_weight)
    else:
        ours = fitted(kind, how, class_weight=class_weight).predict_proba(X)
        np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_class_weights_may_name_absent_labels():
    """A label more than y has changes nothing."""
    Y = pd.DataFrame(one_hot(y)[:, :2], columns=["rain", "snow"])
    weights = {"rain": 2.0, "snow": 0.5}
    expected = SigmoidRegression(class_weight=weights).fit(X, Y).coef_
    model = SigmoidRegression(class_weight=weights | {"hail": 3.0}).fit(X, Y)
    np.testing.assert_array_equal(model.coef_, expected)


@pytest.mark.parametrize("cv", [KFold(3), LeaveOneOut()], ids=["folds", "rows"])
def test_folds_that_lack_a_weighted_class_are_fitted(cv):
    """Held-out accuracies are those of LogisticRegression, where folds lack the rare class."""
    labels = np.where(y > 0, "birch", "ash").astype("<U5")
    labels[0] = "cedar"
    weights = {"ash": 1.0, "birch": 2.0, "cedar": 3.0}
    theirs, ours = (
        cross_val_score(model, X[:40], labels[:40], cv=cv, error_score="raise")
        for model in (logistic(class_weight=weights), SoftmaxRegression(class_weight=weights))
    )
    np.testing.assert_allclose(ours, theirs)


# --- classes that are named and have no rows ------------------------------------------------------


def test_softmax_gives_a_class_without_rows_no_part():
    """Its share is nothing; the other two, with a row of weights each, are a sigmoid at 2 C."""
    model = SoftmaxRegression(C=0.3, classes=["cedar", "ash", "birch"]).fit(X2, NAMES2)
    assert model.converged_ and model.classes_.tolist() == ["cedar", "ash", "birch"]
    P = model.predict_proba(X)
    np.testing.assert_allclose(P[:, 1:], logistic(C=0.6).fit(X2, NAMES2).predict_proba(X), **CLOSE)
    assert P[:, 0].max() < 1e-12


@pytest.mark.filterwarnings("ignore:y does not vary")
def test_one_vs_rest_gives_a_class_without_rows_no_part():
    """The other two are each other's rest: the two-class model at the same C."""
    model = SigmoidRegression(C=0.3, classes=["cedar", "ash", "birch"]).fit(X2, NAMES2)
    P = model.predict_proba(X)
    np.testing.assert_allclose(P[:, 1:], logistic(C=0.3).fit(X2, NAMES2).predict_proba(X), **CLOSE)
    assert P[:, 0].max() < 1e-12


def test_a_class_without_rows_is_one_whose_rows_weigh_nothing():
    """Rows of weight zero are as good as none, in memory and in chunks."""
    weight = 1.0 * TWO
    expected = SoftmaxRegression().fit(X, TREES[y], sample_weight=weight)
    for model in (
        SoftmaxRegression(classes=TREES).fit(X2, NAMES2),
        SoftmaxRegression(classes=TREES).fit_chunks([(X2, NAMES2)]),
        SoftmaxRegression().fit(X2, pd.DataFrame(one_hot(y)[TWO], columns=TREES)),
    ):
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-7)
        np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-7)


def test_named_classes_make_folds_alike():
    """A search whose folds lack a class scores all probabilities, by the classes named."""
    order = np.argsort(y, kind="stable")
    search = GridSearchCV(
        SoftmaxRegression(classes=TREES),
        {"C": [0.1, 1.0]},
        scoring=lambda model, X, y: model.predict_proba(X).shape[1],
        cv=KFold(3),
        error_score="raise",
    )
    assert search.fit(X[order], TREES[y][order]).cv_results_["mean_test_score"].tolist() == [3, 3]


def test_classes_must_still_name_each_class_of_y():
    """A class of y that is not named is refused, and a stream's classes are those named."""
    with pytest.raises(ValueError, match=r"classes=.*cedar"):
        SoftmaxRegression(classes=["ash", "birch"]).fit(X, TREES[y])
    for named in (["ash", "birch"], ["ash", "birch", "cedar", "elm"]):
        with pytest.raises(ValueError, match="classes="):
            SoftmaxRegression(classes=named).partial_fit(X, TREES[y], classes=TREES)


# --- classes without weight -----------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (SoftmaxRegression, "sample_weight"),
        (SoftmaxRegression, "class_weight"),
        (SoftmaxRegression, "classes"),
        (SigmoidRegression, "sample_weight"),
        (SigmoidRegression, "classes"),
    ],
)
@pytest.mark.filterwarnings("ignore:y does not vary in the labels")
def test_all_weight_may_lie_on_one_class(kind, K, way):
    """F falls to 0 as its intercept grows: coefficients are 0, its probability is next to 1."""
    rows, labels = (TWO, TREES[y[TWO]]) if K == 2 else (np.ones(120, bool), TREES[y])
    first = labels == "ash"
    if way == "sample_weight":
        model = kind().fit(X[rows], labels, sample_weight=1.0 * first)
    elif way == "class_weight":
        model = kind(class_weight=dict.fromkeys(TREES, 0.0) | {"ash": 1.0}).fit(X[rows], labels)
    else:
        model = kind(classes=TREES[:K]).fit(X[rows][first], labels[first])
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_allclose(model.predict_proba(X)[:, 0], 1, rtol=0, atol=1e-15)
    assert model.converged_ and 0 <= model.objective_ < 1e-14


@KINDS
@pytest.mark.parametrize("solver", ["lbfgs", "newton", "minibatch"])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.filterwarnings("ignore:y does not vary in the labels")
def test_every_solver_leaves_one_class_alone_at_its_optimum(kind, solver, C):
    """No warning, also of a fit that has nothing to gain and no penalty."""
    model = kind(C=C, solver=solver, random_state=0)
    model.fit(X, TREES[y], sample_weight=1.0 * (y == 1))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1, rtol=0, atol=1e-12)
    assert model.converged_ == (solver != "minibatch")


def test_leave_one_out_of_one_class_alone_has_no_surprise():
    """Each row is predicted to be what all are."""
    weight = 1.0 * (y == 1)
    model = SoftmaxRegression().fit(X, y, sample_weight=weight)
    held_out = loo(model, X, y, sample_weight=weight)
    np.testing.assert_allclose(held_out.probabilities[:, 1], 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("named", [None, TREES])
def test_balanced_weights_are_those_of_the_classes_with_weight(named):
    """S / K each, of the K classes that have any, so that their sum stays S."""
    few = np.arange(len(X2)) % 3 < 1 + (NAMES2 == "ash")
    X, labels = X2[few], NAMES2[few]
    C = 0.6 if named is None else 0.3  # a row of coefficients each is a sigmoid at 2 C
    model = SoftmaxRegression(C, class_weight="balanced", classes=named).fit(X, labels)
    theirs = logistic(C=0.6, class_weight="balanced").fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X)[:, :2], theirs, **CLOSE)


@KINDS
def test_without_an_intercept_one_class_alone_has_an_optimum(kind):
    """That of LogisticRegression: rows push the scores of their class up, the penalty down."""
    weight, labels = 1.0 * (y[TWO] == 1), y[TWO]
    model = kind(fit_intercept=False).fit(X2, labels, sample_weight=weight)
    theirs = logistic(fit_intercept=False).fit(X2, labels, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, theirs.coef_, **CLOSE)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("cv", [3, "loo"])
def test_a_strength_is_chosen_though_one_class_has_all_weight(K, cv):
    """Nothing depends on C; held-out rows have the prior of their only class, at every C."""
    labels = np.minimum(y, K - 1)
    model = SoftmaxRegressionCV(3, cv=cv).fit(X, labels, sample_weight=1.0 * (labels == 0))
    assert np.ptp(model.mean_score_[0]) < 1e-12 and np.isfinite(model.mean_score_[0]).all()
    np.testing.assert_array_equal(model.coef_, 0)


@KINDS
def test_y_of_one_class_is_refused(kind):
    """As by LogisticRegression, unless `classes` names another."""
    for model in (kind(), logistic()):
        with pytest.raises(ValueError, match="class"):
            model.fit(X, np.zeros(120))


# --- in ensembles ---------------------------------------------------------------------------------

RARE = {
    "two": np.where(np.arange(120) % 50 == 0, "cedar", "ash"),
    "three": np.where(np.arange(120) % 50 == 0, "cedar", TREES[np.minimum(y, 1)]),
}
ENSEMBLES = {
    "bagging": lambda base: BaggingClassifier(base, 40, random_state=0),
    "bagging few": lambda base: BaggingClassifier(base, 40, max_samples=30, random_state=0),
    "boosting": lambda base: AdaBoostClassifier(base, n_estimators=4),
    "voting": lambda base: VotingClassifier([("one", base), ("other", base)], voting="soft"),
    "stacking": lambda base: StackingClassifier([("base", base)], final_estimator=base, cv=3),
    "one-vs-rest": lambda base: OneVsRestClassifier(base),
    "calibrated": lambda base: CalibratedClassifierCV(base, cv=3),
}


@pytest.mark.parametrize("labels", RARE.values(), ids=RARE)
@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
def test_ensembles_are_those_of_logistic_regression(ensemble, labels):
    """Also where a part of them sees no row, or no weight, of the rare class; without a warning."""
    ours, theirs = (
        ensemble(base).fit(X, labels).predict_proba(X) for base in (SoftmaxRegression(), logistic())
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def test_a_bootstrap_without_the_rare_class_is_in_the_bagging():
    """The test above has what it speaks of: drawn indices that miss all rows of a class."""
    ensemble = ENSEMBLES["bagging"](SoftmaxRegression()).fit(X, RARE["two"])
    rare = np.flatnonzero(RARE["two"] == "cedar")
    assert any(not np.isin(rare, drawn).any() for drawn in ensemble.estimators_samples_)
