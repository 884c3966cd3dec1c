"""Metadata of rows reach the scorers and splitters that request them, as in scikit-learn."""

import numpy as np
import pytest
import sklearn
from problems import one_hot, overlapping
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

from softreg import SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV

X, y = overlapping()
CS = [0.1, 10.0]
FOLDS = list(KFold(4).split(X))
WEIGHTS = np.random.default_rng(0).uniform(0, 3, size=120)
LOGISTIC = {"solver": "newton-cg", "tol": 1e-8}
if parse_version(sklearn.__version__) >= parse_version("1.9"):
    LOGISTIC |= {"use_legacy_attributes": False, "l1_ratios": (0,)}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def logistic(**parameters):
    """scikit-learn's estimator, to do as it does."""
    return LogisticRegressionCV(Cs=CS, **parameters, **LOGISTIC)


def softmax(**parameters):
    return SoftmaxRegressionCV(CS, **parameters)


def outcome(model, *arguments, **metadata):
    """The scores (folds, n_Cs) of a fit, or the name of the error that it raises."""
    try:
        scores = model.fit(*arguments, **metadata).scores_
    except (TypeError, ValueError) as error:
        return type(error).__name__
    return np.reshape(scores[max(scores)] if isinstance(scores, dict) else scores, (-1, len(CS)))


REQUESTS = {"weighted": True, "unweighted": False, "by another name": "importance"}


@pytest.mark.parametrize("request_for_weights", [*REQUESTS.values(), None])
@pytest.mark.parametrize("given", [("sample_weight",), ("sample_weight", "importance")])
def test_a_scorer_gets_the_weights_that_it_requests(request_for_weights, given, routing):
    """True, False, another name or nothing said: as in scikit-learn's LogisticRegressionCV."""
    metadata = {"sample_weight": WEIGHTS, "importance": WEIGHTS[::-1]}
    metadata = {name: metadata[name] for name in given}
    ours, theirs = (
        outcome(
            kind(cv=StratifiedKFold(3), scoring=requesting(request_for_weights)), X, y, **metadata
        )
        for kind in (softmax, logistic)
    )
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def requesting(sample_weight):
    """A scorer that was told whether it gets weights; None: it was told nothing."""
    scorer = get_scorer("accuracy")
    if sample_weight is None:
        return scorer
    return scorer.set_score_request(sample_weight=sample_weight)


@pytest.mark.parametrize("request_for_weights", REQUESTS.values(), ids=REQUESTS)
def test_labels_are_scored_with_the_weights_that_a_scorer_requests(request_for_weights, routing):
    """Label by label; fits count the weights in any case."""
    Y = one_hot(y)[:, :2]
    scorer = requesting(request_for_weights)
    model = SigmoidRegressionCV(CS, cv=FOLDS, scoring=scorer, per_label=True)
    others = {"importance": WEIGHTS[::-1]} if request_for_weights == "importance" else {}
    model.fit(X, Y, sample_weight=WEIGHTS, **others)
    counted = {True: WEIGHTS, False: np.ones(120), "importance": WEIGHTS[::-1]}[request_for_weights]
    train, test = FOLDS[0]
    for label in range(2):
        plain = SoftmaxRegression(CS[0]).fit(X[train], Y[train, label], WEIGHTS[train])
        right = plain.predict(X[test]) == Y[test, label]
        expected = counted[test] @ right / counted[test].sum()
        assert model.scores_[0, 0, 0, label] == pytest.approx(expected)


def test_score_gives_its_scorer_what_it_requests(routing):
    """`score` passes weights on, or says that its scorer does not want any."""
    right = SoftmaxRegression().fit(X, y).predict(X) == y
    for scoring in (requesting(True), "accuracy"):
        model = SoftmaxRegressionCV([1.0], cv=3, scoring=scoring).fit(X, y)
        expected = WEIGHTS @ right / WEIGHTS.sum()
        assert model.score(X, y, sample_weight=WEIGHTS) == pytest.approx(expected)
    model = SoftmaxRegressionCV([1.0], cv=3, scoring=requesting(False)).fit(X, y)
    assert model.score(X, y) == pytest.approx(right.mean())
    with pytest.raises(TypeError, match="sample_weight"):
        model.score(X, y, sample_weight=WEIGHTS)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
def test_scores_by_name_count_the_weights_with_and_without_routing(scoring):
    """A name has no request: it means what it means without routing."""
    expected = SoftmaxRegressionCV(CS, cv=3, scoring=scoring).fit(X, y, sample_weight=WEIGHTS)
    with sklearn.config_context(enable_metadata_routing=True):
        model = SoftmaxRegressionCV(CS, cv=3, scoring=scoring).fit(X, y, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(model.scores_[:, 0], expected.scores_[:, 0])


def share_above(y_true, y_pred, bound):
    """A metric of rows whose bound is exceeded."""
    return np.mean((y_true == y_pred)[bound > 1])


def test_other_metadata_reach_a_scorer_row_by_row(routing):
    """What it requests beside weights is split as the rows are."""
    scorer = make_scorer(share_above).set_score_request(bound="limit")
    model = SoftmaxRegressionCV([1.0], cv=FOLDS, scoring=scorer).fit(X, y, limit=WEIGHTS)
    for fold, (train, test) in enumerate(FOLDS):
        right = SoftmaxRegression().fit(X[train], y[train]).predict(X[test]) == y[test]
        assert model.scores_[fold, 0, 0] == pytest.approx(right[WEIGHTS[test] > 1].mean())


def test_groups_go_to_the_splitter_that_requests_them(routing):
    """GroupKFold does, without a word to the estimator, also from outside; KFold does not."""
    groups = np.arange(120) % 7
    for cv in (GroupKFold(3), KFold(3)):
        ours, theirs = (
            outcome(kind(cv=cv, scoring="accuracy"), X, y, groups=groups)
            for kind in (softmax, logistic)
        )
        if isinstance(theirs, str):
            assert ours == theirs == "TypeError"
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    model = SoftmaxRegressionCV(CS, cv=GroupKFold(3))
    outer = cross_validate(
        model, X, y, cv=GroupKFold(2), params={"groups": groups}, error_score="raise"
    )
    assert np.isfinite(outer["test_score"]).all()


def test_weights_for_the_scorer_go_through_a_pipeline(routing):
    """The estimator says that it fits with weights, the scorer that it does not count them."""
    model = SoftmaxRegressionCV(CS, cv=FOLDS, scoring=requesting(False))
    pipeline = make_pipeline(model.set_fit_request(sample_weight=True))
    pipeline.fit(X, y, sample_weight=WEIGHTS)
    train, test = FOLDS[0]
    plain = SoftmaxRegression(CS[0]).fit(X[train], y[train], WEIGHTS[train])
    expected = accuracy_score(y[test], plain.predict(X[test]))
    assert pipeline[-1].scores_[0, 0, 0] == pytest.approx(expected)


def test_metadata_without_routing_are_refused():
    """The error names them, and how they would be passed on."""
    with pytest.raises(TypeError, match="importance.*enable_metadata_routing"):
        SoftmaxRegressionCV(CS, cv=3).fit(X, y, importance=WEIGHTS)
