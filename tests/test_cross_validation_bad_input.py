"""Bad input to cross-validation is refused in words that help, and leaves no trace."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot, overlapping
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, StratifiedKFold
from test_bad_input import REFUSED_BY_ALL, assert_untouched, fitted_state, says

from softreg import SigmoidRegressionCV, SoftmaxRegressionCV

X, y = overlapping()
Y = one_hot(y)
ROWS, CS = np.ones(120), [0.1, 1.0]
TREES = np.array(["ash", "birch", "cedar"])[y]
FIRST, LAST = np.arange(60), np.arange(60, 120)
BOTH = [SoftmaxRegressionCV, SigmoidRegressionCV]


def unweighted(estimator, X, y):
    """A scorer that takes no weights."""
    return accuracy_score(y, estimator.predict(X))


def of_words(estimator, X, y):
    """A scorer whose score is no number."""
    return "good"


def of_neighbours(estimator, X, y):
    """A scorer that asks for what fits do not have."""
    return estimator.n_neighbors_


# What is wrong -> (parameters, arguments of fit, what the message must say: the argument, the
# value, the remedy; each a regular expression, case ignored).
SCORERS = r"neg_log_loss|accuracy|get_scorer_names"
BY_ROW = ("scoring=", 'cv="loo"', "each row", 'scoring="neg_log_loss"', "cv=10")
REFUSED = REFUSED_BY_ALL | {
    "no Cs": ({"Cs": []}, {}, ("Cs", r"\[\]", "one or more|at least")),
    "Cs = 0": ({"Cs": 0}, {}, ("Cs", "0", ">= 1")),
    "Cs = -3": ({"Cs": -3}, {}, ("Cs", "-3", ">= 1")),
    "Cs of a zero": ({"Cs": [1.0, 0.0]}, {}, ("Cs", "0", "> 0")),
    "Cs of a negative": ({"Cs": [0.1, -2.5]}, {}, ("Cs", r"-2\.5", "> 0")),
    "Cs of NaN": ({"Cs": [np.nan]}, {}, ("Cs", "nan", "> 0")),
    "Cs beyond all penalties": (
        {"Cs": [1e-320, 1.0]},
        {},
        ("penalty", "1e-320", "larger C"),
    ),
    "Cs a word": ({"Cs": "10"}, {}, ("Cs", "10", "integer")),
    "Cs of words": ({"Cs": ["weak", "strong"]}, {}, ("Cs", "weak", "numbers > 0")),
    "Cs of numerals": ({"Cs": ["0.1", "1"]}, {}, ("Cs", "0.1", "numbers > 0")),
    "Cs a matrix": ({"Cs": [[0.1, 1.0]]}, {}, ("Cs", r"\[\[", "numbers > 0")),
    "Cs a bool": ({"Cs": True}, {}, ("Cs", "True", "integer")),
    "Cs a dict": ({"Cs": {0.1: 1}}, {}, ("Cs", "0.1", "numbers > 0")),
    "Cs a set": ({"Cs": {0.1, 1.0}}, {}, ("Cs", "0.1", "numbers > 0")),
    "Cs a fraction": ({"Cs": 2.5}, {}, ("Cs", r"2\.5", "integer")),
    "Cs None": ({"Cs": None}, {}, ("Cs", "None", "integer")),
    "cv a word": ({"cv": "leave one out"}, {}, ("cv", "leave one out", "loo", "integer")),
    "cv = 1": ({"cv": 1}, {}, ("cv", "1", ">= 2")),
    "cv = 0": ({"cv": 0}, {}, ("cv", "0", ">= 2")),
    "cv = -3": ({"cv": -3}, {}, ("cv", "-3", ">= 2")),
    "cv = 0.5": ({"cv": 0.5}, {}, ("cv", r"0\.5", "integer")),
    "cv an object": ({"cv": object()}, {}, ("cv", "object", "splitter")),
    "cv more than rows": ({"cv": 200}, {}, ("cv|n_splits", "200", "120|class")),
    "no folds": ({"cv": []}, {}, ("cv", r"\[\]", "one or more")),
    "folds that are no pairs": ({"cv": [1, 2]}, {}, ("cv", "fold 0|pairs", r"\(train, test\)")),
    "folds of one part": ({"cv": [(FIRST,)]}, {}, ("cv", "fold 0|pairs", r"\(train, test\)")),
    "folds of three parts": (
        {"cv": [(FIRST, LAST, LAST)]},
        {},
        ("cv", "fold 0|pairs", r"\(train, test\)"),
    ),
    "folds that overlap": (
        {"cv": [(FIRST, LAST), (np.arange(61), LAST)]},
        {},
        ("cv", "fold 1", "row 60", "one of the two"),
    ),
    "a fold without rows to learn from": (
        {"cv": [(FIRST, LAST), ([], LAST)]},
        {},
        ("cv", "fold 1", "train", "some of both"),
    ),
    "a fold without rows to hold out": (
        {"cv": [(FIRST, [])]},
        {},
        ("cv", "fold 0", "test", "some of both"),
    ),
    "a mask of no rows": (
        {"cv": [(ROWS == 1, ROWS == 0)]},
        {},
        ("cv", "fold 0", "test", "some of both"),
    ),
    "folds out of range": ({"cv": [(FIRST, [120])]}, {}, ("cv", "fold 0", "120 rows")),
    "folds far below range": ({"cv": [([-121], LAST)]}, {}, ("cv", "fold 0", "120 rows")),
    "folds of fractions": ({"cv": [(FIRST, [60.5])]}, {}, ("cv", "fold 0", r"60\.5")),
    "folds of words": ({"cv": [(FIRST, ["a"])]}, {}, ("cv", "fold 0", "indices")),
    "a mask too short": ({"cv": [(FIRST, [True, False])]}, {}, ("cv", "fold 0", "indices")),
    "groups missing": ({"cv": GroupKFold(3)}, {}, ("groups", "None")),
    "groups too few": ({"cv": GroupKFold(3)}, {"groups": [1, 2, 3]}, ("groups", "3", "120")),
    "fewer groups than folds": (
        {"cv": GroupKFold(3)},
        {"groups": y == 0},
        ("cv|n_splits", "groups", "2|3"),
    ),
    "unknown scoring": ({"scoring": "good"}, {}, ("scoring", "good", SCORERS)),
    "scoring a number": ({"scoring": 3}, {}, ("scoring", "3", SCORERS)),
    "scoring a list": ({"scoring": ["accuracy"]}, {}, ("scoring", "accuracy", SCORERS)),
    "roc_auc of three classes": ({"scoring": "roc_auc"}, {}, ("scoring", "roc_auc", SCORERS)),
    "r2 of words": ({"scoring": "r2"}, {"y": TREES}, ("scoring", "r2", SCORERS)),
    "a score that is no number": ({"scoring": of_words}, {}, ("scoring", "of_words", SCORERS)),
    "a scorer of neighbours": (
        {"scoring": of_neighbours},
        {},
        ("scoring", "of_neighbours", "n_neighbors_", SCORERS),
    ),
    "a scorer without weights": (
        {"scoring": unweighted},
        {"sample_weight": ROWS},
        ("scoring", "unweighted", "sample_weight"),
    ),
    "1se of one fold": (
        {"select": "1se", "cv": [(FIRST, LAST)]},
        {},
        ("select", "1se", "standard error", "best", "more folds"),
    ),
    "loo of a scorer by name": ({"cv": "loo", "scoring": "accuracy"}, {}, ("accuracy", *BY_ROW)),
    "loo of a scorer": ({"cv": "loo", "scoring": of_words}, {}, ("of_words", *BY_ROW)),
    "unknown select": ({"select": "median"}, {}, ("select", "median", "best", "1se")),
    "select None": ({"select": None}, {}, ("select", "None", "best", "1se")),
    "select a list": ({"select": ["best"]}, {}, ("select", "best", "1se")),
    "a fold without weight to learn from": (
        {"cv": [(FIRST, LAST), (LAST, FIRST)]},
        {"sample_weight": 1.0 * (np.arange(120) >= 60)},
        ("sample_weight", "fold 0", "cv"),
    ),
    "a fold without weight held out": (
        {"cv": KFold(4)},
        {"sample_weight": 1.0 * (np.arange(120) >= 30)},
        ("sample_weight", "fold 0", "cv"),
    ),
    "rows that do not match": ({}, {"y": y[:50]}, ("50", "120")),
    "one class": ({}, {"y": ["ash"] * 120}, ("y", "ash", "class")),
}
WRONG_KIND = {"sparse offset"}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_value_and_remedy(case, kind):
    """The error names the argument and what is wrong with it, and says what would be right."""
    parameters, arguments, parts = REFUSED[case]
    if kind is SigmoidRegressionCV and case == "one class":
        parts = parts[:2]
    model = kind(**({"Cs": CS, "cv": 3} | parameters))
    with pytest.raises(TypeError if case in WRONG_KIND else ValueError) as error:
        model.fit(**({"X": X, "y": y} | arguments))
    assert says(str(error.value), parts), str(error.value)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_leaves_a_fitted_estimator_untouched(case):
    """After the error every fitted attribute is the same object with the same value."""
    parameters, arguments, _ = REFUSED[case]
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = SoftmaxRegressionCV(CS, cv=3).fit(frame, y)
    before, answers = fitted_state(model), model.predict_proba(frame)
    with pytest.raises((ValueError, TypeError)):
        model.set_params(**parameters).fit(**({"X": X, "y": y} | arguments))
    assert_untouched(model, before)
    np.testing.assert_array_equal(model.predict_proba(frame), answers)


@pytest.mark.parametrize("cv", [StratifiedKFold(3), LeaveOneOut()], ids=["stratified", "scalars"])
def test_splitters_that_cannot_split_labels_say_so(cv):
    """StratifiedKFold of label columns: its own message, which names the kind of y."""
    if isinstance(cv, LeaveOneOut):  # a splitter that takes any y
        assert SigmoidRegressionCV([1.0], cv=cv).fit(X, Y).scores_[:, 0].shape == (120, 1)
        return
    with pytest.raises(ValueError, match="(?i)multilabel|cv="):
        SigmoidRegressionCV(CS, cv=cv).fit(X, np.maximum(Y, np.eye(3)[[0]]))


def test_soft_labels_are_not_scored_as_noes():
    """A share of 0.7 is neither 0 nor 1: scorers of labels refuse it, as for all labels at once."""
    for per_label in (False, True):
        model = SigmoidRegressionCV(CS, cv=3, scoring="accuracy", per_label=per_label)
        with pytest.raises(ValueError, match="scoring='accuracy'"):
            model.fit(X, 0.7 * Y)


def test_a_score_that_is_not_known_is_no_reason_to_choose():
    """A scorer that returns NaN throughout: an error that names it, not the first C."""
    with pytest.raises(ValueError, match="scoring.*(?i:nan)"):
        SoftmaxRegressionCV(CS, cv=3, scoring=lambda *_: np.nan).fit(X, y)


def test_messages_show_the_first_rows_of_a_fold_alone():
    """Of a thousand rows, ten."""
    folds = [(np.arange(1000), np.arange(5))]
    with pytest.raises(
        ValueError, match=r"\(\[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\], \[0, 1"
    ) as error:
        SoftmaxRegressionCV(cv=folds).fit(np.tile(X, (9, 1)), np.tile(y, 9))
    assert len(str(error.value)) < 200


# --- what loo cannot do -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_leave_one_out_by_another_scorer_is_refused_before_any_work(kind):
    """The error comes before X and y are looked at."""
    with pytest.raises(ValueError) as error:
        kind(cv="loo", scoring="accuracy").fit(X=None, y=None)
    assert says(str(error.value), ("'accuracy'", *BY_ROW)), str(error.value)


@pytest.mark.parametrize("kind", BOTH)
def test_leave_one_out_says_when_its_hessian_is_too_large(kind):
    """How many numbers it takes, how many there may be, and cv=10, which gives the fit."""
    model, sparse = kind(CS, cv="loo"), sp.random(120, 2499, density=0.01, random_state=0)
    with pytest.raises(ValueError) as error:
        model.fit(sparse, y)
    taken = r"1\.88e\+07" if kind is SigmoidRegressionCV else r"5\.62e\+07"
    assert says(str(error.value), ('cv="loo"', taken, r"1\.6e\+07", "cv=10")), str(error.value)
    assert not [name for name in vars(model) if name.endswith("_")]
    assert kind(CS, cv=KFold(10)).fit(sparse, y).converged_


# --- warnings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("cv", [3, "loo"])
def test_too_few_iterations_are_told_of_once(kind, cv):
    """max_iter=1: one ConvergenceWarning that names max_iter, and finite scores."""
    wild = X * [1, 100, 1, 0.01] + [0, 5000, 0, 0]
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        model = kind([10.0, 1e6], cv=cv, max_iter=1).fit(wild, y)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert np.isfinite(model.scores_[:, 0]).all() and np.isfinite(model.coef_path_[0]).all()


def test_strengths_that_were_not_chosen_are_named_when_they_fail():
    """The chosen C converged in the iterations there were, another did not: it is named."""
    heavy = np.random.default_rng(0).standard_t(1.1, size=(120, 4)) * [1, 1e3, 1, 1e-3]
    # The least C needs next to no iteration, and is chosen.
    with pytest.warns(ConvergenceWarning, match=r"1000000") as caught:
        model = SoftmaxRegressionCV(
            [1e-14, 1e6], cv=3, max_iter=2, scoring=lambda estimator, X, y: 0.0
        ).fit(heavy, y)
    assert len(caught) == 1 and "max_iter" in str(caught[0].message)
    assert model.C_ == 1e-14 and model.converged_


def test_what_is_said_of_strengths_that_fail_is_their_own_reason():
    """The reason is that of the C named, though the fits after it, which start there, converge."""
    heavy = np.random.default_rng(0).standard_t(1.1, size=(120, 4)) * [1, 1e3, 1, 1e-3]
    scores = iter([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    model = SoftmaxRegressionCV(
        [1e6, 1.000001e6], cv=3, max_iter=3, scoring=lambda estimator, X, y: next(scores)
    )
    with pytest.warns(ConvergenceWarning, match=r"C=\[1000000") as caught:
        model.fit(heavy, np.arange(120) % 3)
    assert len(caught) == 1 and model.converged_
    assert "max_iter=3" in str(caught[0].message)
    assert "the optimum was reached" not in str(caught[0].message)


def test_separable_classes_with_a_free_feature_are_told_of_once():
    """A feature without a penalty that separates: one warning with the classes, regular scores."""
    side = np.where(X[:, 0] > 0, "granted", "refused")
    with pytest.warns(ConvergenceWarning, match="granted.*refused.*penalty_factor") as caught:
        model = SoftmaxRegressionCV(CS, cv=3, penalty_factor=[0, 1, 1, 1]).fit(X, side)
    assert len(caught) == 1
    assert np.isfinite(model.scores_[:, 0]).all() and np.isfinite(model.coef_).all()
    assert model.converged_ is False


def test_labels_that_do_not_vary_are_told_of_once():
    """One UserWarning with their names; scores and coefficients are regular."""
    table = pd.DataFrame(Y, columns=["red", "green", "blue"]).assign(never=0.0, always=1.0)
    for per_label in (False, True):
        with pytest.warns(UserWarning, match="never.*always") as caught:
            model = SigmoidRegressionCV(CS, cv=3, per_label=per_label).fit(X, table)
        assert len(caught) == 1
        assert np.isfinite(model.scores_[:, 0]).all()
        np.testing.assert_array_equal(model.coef_[3:], 0)


def test_a_column_of_classes_is_told_of_as_often_as_by_the_plain_estimator():
    """y of shape (n, 1): scikit-learn's DataConversionWarning once, also with a scorer."""
    for scoring in ("neg_log_loss", "accuracy"):
        with pytest.warns(UserWarning, match="column-vector") as caught:
            SoftmaxRegressionCV(CS, cv=3, scoring=scoring).fit(X, y[:, None])
        assert len(caught) == 1


# --- before a fit -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_nothing_is_predicted_or_reported_before_a_fit(kind):
    """Every method raises NotFittedError; the table of results is not there."""
    model = kind()
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(model, method)(X)
    with pytest.raises(NotFittedError):
        model.score(X, y)
    assert not hasattr(model, "results_")


def test_bad_input_to_score_is_refused():
    """Classes that fit has not seen, weights and offsets of another shape."""
    model = SoftmaxRegressionCV(CS, cv=3).fit(X, TREES)
    for arguments, match in [
        ({"y": np.where(y == 0, "oak", TREES)}, "oak"),
        ({"y": TREES, "sample_weight": ROWS[:3]}, "sample_weight"),
        ({"y": TREES, "offset": np.zeros((120, 2))}, "offset"),
        ({"y": TREES[:5]}, "5"),
    ]:
        with pytest.raises(ValueError, match=match):
            model.score(X, **arguments)


def test_per_label_is_true_or_false():
    """A word is refused, and not taken for True."""
    with pytest.raises(ValueError, match="per_label='no' must be True or False"):
        SigmoidRegressionCV(CS, per_label="no").fit(X, Y)
