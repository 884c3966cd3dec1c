"""`score` takes whatever `fit` took, so that scikit-learn's tools do: uncertain answers, too."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot, overlapping
from scipy.special import expit
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    cross_val_score,
    learning_curve,
    permutation_test_score,
)

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV

X, y = overlapping()
TREES = np.array(["ash", "birch", "cedar"])
WEIGHTS = np.tile([0.0, 1.0, 2.0, 0.4, 3.5], 24)
CELLS = np.random.default_rng(5).integers(0, 3, size=(120, 3)) * 0.7
FOLDS = KFold(4, shuffle=True, random_state=0)
SHARES = 0.6 * one_hot(y) + 0.4 * np.random.default_rng(2).dirichlet(np.ones(3), 120)
LABELS = (np.random.default_rng(3).random((120, 3)) < expit(X[:, :3])).astype(float)
UNCERTAIN = 0.8 * LABELS + 0.1
UNKNOWN = np.where(np.random.default_rng(4).random((120, 3)) < 0.3, np.nan, LABELS)
UNKNOWN[:5] = np.nan  # rows of which nothing is known


# --- class probabilities --------------------------------------------------------------------------


def expected_accuracy(model, X, Y, weight):
    """The mean probability of the class that is predicted, row by row."""
    total = 0.0
    for x, probabilities, s in zip(X, Y, weight, strict=True):
        (predicted,) = model.predict(x[None])
        total += s * dict(zip(model.classes_, probabilities, strict=True))[predicted]
    return total / weight.sum()


@pytest.mark.parametrize("columns", [3, 2])
def test_class_probabilities_have_the_expected_accuracy(columns):
    """Each row counts the probability that y gives to its predicted class, times its weight."""
    Y = SHARES if columns == 3 else np.column_stack([SHARES[:, 0], 1 - SHARES[:, 0]])
    frame = pd.DataFrame(Y, columns=TREES[:columns])
    model = SoftmaxRegression().fit(X, frame)
    for weight in (np.ones(120), WEIGHTS):
        expected = expected_accuracy(model, X, Y, weight)
        for form in (Y, frame, Y.tolist()):
            assert model.score(X, form, sample_weight=weight) == pytest.approx(expected)


def test_an_indicator_matrix_has_the_accuracy_of_its_labels():
    """One 1 a row, whichever of the two the model was fitted to."""
    for of_fit in (one_hot(y), y):
        model = SoftmaxRegression().fit(X, of_fit)
        expected = np.mean(model.predict(X) == y)
        assert model.score(X, one_hot(y)) == pytest.approx(expected)
        assert model.score(X, y) == pytest.approx(expected)


def test_a_grid_search_takes_class_probabilities():
    """Its scores are those of a loop over the folds, and the best strength is theirs."""
    grid = {"C": [1e-6, 1e-2, 1.0]}
    search = GridSearchCV(SoftmaxRegression(), grid, cv=FOLDS).fit(X, SHARES)
    by_hand = [
        [
            expected_accuracy(
                SoftmaxRegression(C).fit(X[train], SHARES[train]),
                X[test],
                SHARES[test],
                np.ones(len(test)),
            )
            for train, test in FOLDS.split(X)
        ]
        for C in grid["C"]
    ]
    scores = np.mean(by_hand, axis=1)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores)
    assert search.best_params_ == {"C": grid["C"][scores.argmax()]}


# --- labels ---------------------------------------------------------------------------------------


def probability_of_all_right(predicted, Y, weight):
    """The mean over rows of the chance that every known label is predicted right, in a loop."""
    total = weights = 0.0
    for row, answers, s in zip(predicted, Y, np.broadcast_to(weight.T, Y.T.shape).T, strict=True):
        known = [k for k in range(Y.shape[1]) if s[k] > 0 and not np.isnan(answers[k])]
        if known:
            right = np.prod([answers[k] if row[k] else 1 - answers[k] for k in known])
            total, weights = total + np.mean(s[known]) * right, weights + np.mean(s[known])
    return total / weights


@pytest.mark.parametrize("Y", [LABELS, UNCERTAIN, UNKNOWN], ids=["certain", "shares", "unknown"])
@pytest.mark.parametrize("weight", [np.ones(120), WEIGHTS, CELLS], ids=["ones", "rows", "cells"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, pd.DataFrame])
def test_labels_have_the_probability_that_all_are_right(Y, weight, form):
    """Product over the known labels of y or 1 - y; a row weighs as much as one known label."""
    model = SigmoidRegression().fit(X, form(Y), sample_weight=weight)
    predicted = (model.decision_function(X) > 0).astype(int)
    expected = probability_of_all_right(predicted, Y, weight)
    assert model.score(X, form(Y), sample_weight=weight) == pytest.approx(expected)


def test_complete_labels_have_scikit_learns_accuracy():
    """The share of rows whose labels are all predicted right, in any form of y."""
    model = SigmoidRegression().fit(X, LABELS)
    expected = accuracy_score(LABELS, model.predict(X), sample_weight=WEIGHTS)
    for form in (np.asarray, sp.csr_array, sp.csc_matrix, pd.DataFrame):
        assert model.score(X, form(LABELS), sample_weight=WEIGHTS) == pytest.approx(expected)


def test_a_single_sparse_label_is_scored():
    """One column: the share of rows where it is predicted right."""
    Y = sp.csr_array(LABELS[:, :1])
    model = SigmoidRegression().fit(X, Y)
    expected = np.mean((model.decision_function(X) > 0) == LABELS[:, :1])
    assert model.score(X, Y) == pytest.approx(expected)


def test_nothing_is_scored_where_nothing_is_known():
    """All unknown, or of weight zero: an error that says so."""
    model = SigmoidRegression().fit(X, LABELS)
    with pytest.raises(ValueError, match="no known answer"):
        model.score(X, np.full((120, 3), np.nan))
    with pytest.raises(ValueError, match="no known answer"):
        model.score(X, LABELS, sample_weight=np.zeros(120))


# --- all forms, all tools -------------------------------------------------------------------------

FORMS_OF_CLASSES = {"classes": TREES[y], "column": y[:, None].astype(float)}
FORMS_OF_SHARES = {
    "shares": SHARES,
    "indicator": one_hot(y).astype(int),
    "frame": pd.DataFrame(SHARES, columns=TREES),
    "two": np.column_stack([SHARES[:, 0], 1 - SHARES[:, 0]]),
}
FORMS_OF_LABELS = {
    "labels": LABELS.astype(bool),
    "uncertain": UNCERTAIN,
    "unknown": UNKNOWN,
    "CSR": sp.csr_array(UNKNOWN),
    "frame of labels": pd.DataFrame(UNKNOWN, columns=TREES),
}
SOFTMAX, SIGMOID = FORMS_OF_CLASSES | FORMS_OF_SHARES, FORMS_OF_CLASSES | FORMS_OF_LABELS
CASES = {
    f"{type(model).__name__}, {form}": (model, Y)
    for models, forms in [
        ((SoftmaxRegression(), SoftmaxRegressionCV([0.1, 1.0], cv=KFold(3))), SOFTMAX),
        ((SigmoidRegression(), SigmoidRegressionCV([0.1, 1.0], cv=KFold(3))), SIGMOID),
    ]
    for model in models
    for form, Y in forms.items()
}


@pytest.mark.parametrize(("model", "Y"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_score_and_searches_take_what_fit_takes(model, Y):
    """No form of y makes `score` raise, or a search over folds return NaN."""
    assert np.isfinite(model.fit(X, Y).score(X, Y))
    is_plain = isinstance(model, SoftmaxRegression | SigmoidRegression)
    grid = {"C": [0.1, 1.0]} if is_plain else {"select": ["best", "1se"]}
    search = GridSearchCV(model, grid, cv=FOLDS, error_score="raise").fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(search.score(X, Y))


def test_other_tools_take_class_probabilities():
    """Leave-one-out, learning curves and permutation tests score as `score` does."""
    few, Y = X[:20], SHARES[:20]
    by_row = cross_val_score(SoftmaxRegression(), few, Y, cv=LeaveOneOut(), error_score="raise")
    for row in range(20):
        rest = np.delete(np.arange(20), row)
        (predicted,) = SoftmaxRegression().fit(few[rest], Y[rest]).predict(few[[row]])
        assert by_row[row] == pytest.approx(Y[row, predicted])
    _, _, scores = learning_curve(SoftmaxRegression(), X, SHARES, cv=FOLDS, error_score="raise")
    score, by_chance, _ = permutation_test_score(
        SoftmaxRegression(), X, SHARES, cv=FOLDS, n_permutations=3, random_state=0
    )
    whole = cross_val_score(SoftmaxRegression(), X, SHARES, cv=FOLDS)
    np.testing.assert_allclose(scores[-1], whole)
    assert score == pytest.approx(whole.mean()) and np.isfinite(by_chance).all()


# --- what does not fit the fit --------------------------------------------------------------------


@pytest.mark.parametrize("model", [SoftmaxRegression(), SoftmaxRegressionCV([1.0], cv=KFold(3))])
def test_columns_of_another_order_are_refused(model):
    """A frame whose columns are not those of the fit would be scored against the wrong classes."""
    frame = pd.DataFrame(SHARES, columns=TREES)
    model.fit(X, frame)
    with pytest.raises(ValueError, match=r"columns \['cedar'.*in this order"):
        model.score(X, frame[TREES[::-1]])
    with pytest.raises(ValueError, match="classes"):
        model.score(X, FORMS_OF_SHARES["two"])


@pytest.mark.parametrize("kind", [SigmoidRegression, SigmoidRegressionCV])
def test_labels_and_classes_are_not_mistaken_for_each_other(kind):
    """Labels for a model of one class a row, and the other way round: an error that says which."""
    with pytest.raises(ValueError, match="one class a row"):
        kind().fit(X, y).score(X, LABELS)
    with pytest.raises(ValueError, match="a column for each label"):
        kind().fit(X, LABELS).score(X, y)
