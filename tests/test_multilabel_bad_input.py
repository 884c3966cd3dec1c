"""SigmoidRegression refuses bad input in words that help, and a refused fit leaves no trace."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import overlapping
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from test_bad_input import REFUSED_BY_ALL, assert_untouched, changed, fitted_state, says
from test_multilabel import simulated

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.calibration import tune_thresholds

X, Y = simulated(120, L=3)
X = X[:, :4]
_, KINDS = overlapping()
KINDS = np.array(["ash", "birch", "cedar"])[KINDS]
ROWS, ENTRIES = np.ones(120), np.ones((120, 3))
NAMES = ["rain", "snow", "fog"]


def frame(names):
    """Y as a DataFrame with these column names."""
    return pd.DataFrame(Y, columns=names)


POSITIVE = "positive|> 0|greater|at least"
INSIDE = r"\(0, 1\)|between 0 and 1|\[0, 1\]"
ANSWER = INSIDE + "|0, 1,? "

# What is wrong -> (parameters, arguments of fit, what the message must say: the argument, the
# value, the remedy; each a regular expression, case ignored).
REFUSED = REFUSED_BY_ALL | {
    "Y above 1": ({}, {"y": changed(Y, (7, 2), 1.25)}, ("y", r"1\.25", ANSWER)),
    "Y below 0": ({}, {"y": changed(Y, (7, 2), -0.25)}, ("y", r"-0\.25", ANSWER)),
    "Y above 1 beside NaN": (
        {},
        {"y": changed(changed(Y, (7, 2), 2.0), (0, 0), np.nan)},
        ("y", "2", ANSWER),
    ),
    "counts for Y": ({}, {"y": (Y + 1).astype(int)}, ("y", "2", ANSWER)),
    "sparse Y above 1": ({}, {"y": sp.csr_array(3 * Y)}, ("y", "3", ANSWER)),
    "sparse Y below 0": ({}, {"y": sp.csr_array(-0.5 * Y)}, ("y", r"-0\.5", ANSWER)),
    "frame above 1": ({}, {"y": 1.5 * frame(NAMES)}, ("y", r"1\.5", ANSWER)),
    "inf in Y": ({}, {"y": changed(Y, (7, 2), np.inf)}, ("y", "inf")),
    "inf in sparse Y": (
        {},
        {"y": sp.csr_array(changed(Y, (7, 2), np.inf))},
        ("y", "inf"),
    ),
    "words in Y": ({}, {"y": np.where(Y, "yes", "no")}, ("y|yes|no",)),
    "no y": ({}, {"y": None}, ("y", "None|required|passed")),
    "one class": ({}, {"y": ["ash"] * 120}, ("y", "ash", "class", "two|2|at least|more than one")),
    "NaN among classes": (
        {},
        {"y": changed(np.arange(120) % 3, 5, np.nan)},
        ("y", "NaN"),
    ),
    "numbers for classes": ({}, {"y": X[:, 0]}, ("label type|class", "continuous")),
    "rows that do not match": ({}, {"y": Y[:50]}, ("50", "120")),
    "sparse rows that do not match": ({}, {"y": sp.csr_array(Y[:50])}, ("50", "120")),
    "classes of the wrong number": ({"classes": NAMES[:2]}, {}, ("classes", "2", "3")),
    "classes that repeat": (
        {"classes": ["rain", "fog", "rain"]},
        {},
        ("classes|label|name", "rain", "once|unique|distinct|repeat|twice"),
    ),
    "columns that repeat": (
        {},
        {"y": frame(["rain", "fog", "rain"])},
        ("classes|label|column", "rain", "once|unique|distinct|repeat|twice"),
    ),
    "classes that y does not hold": (
        {"classes": ["ash", "birch", "oak"]},
        {"y": KINDS},
        ("classes", "oak", "cedar"),
    ),
    "negative weight of an entry": (
        {},
        {"sample_weight": changed(ENTRIES, (5, 1), -0.5)},
        ("sample.weight", r"-0\.5|negative", "negative|>= 0|at least 0"),
    ),
    "NaN weight of an entry": (
        {},
        {"sample_weight": changed(ENTRIES, (5, 1), np.nan)},
        ("sample.weight", "NaN"),
    ),
    "inf weight of an entry": (
        {},
        {"sample_weight": changed(ENTRIES, (5, 1), np.inf)},
        ("sample.weight", "inf"),
    ),
    "weights of entries all zero": (
        {},
        {"sample_weight": 0 * ENTRIES},
        ("sample.weight", "zero|0", "positive|> 0|at least one"),
    ),
    "weights for two of three labels": (
        {},
        {"sample_weight": ENTRIES[:, :2]},
        ("sample.weight", r"\(120, 2\)", r"\(120,\)", r"\(120, 3\)"),
    ),
    "weights for labels in rows": (
        {},
        {"sample_weight": ENTRIES.T},
        ("sample.weight", r"\(3, 120\)", r"\(120, 3\)"),
    ),
    "C = 0": ({"C": 0.0}, {}, ("C", r"\b0", POSITIVE)),
    "C = NaN": ({"C": np.nan}, {}, ("C", "nan", POSITIVE)),
    "a C of 0": ({"C": [1.0, 0.0, 2.0]}, {}, ("C", r"\b0", POSITIVE)),
    "a C below 0": ({"C": np.array([1.0, -2.5, 2.0])}, {}, ("C", r"-2\.5", POSITIVE)),
    "a C of NaN": ({"C": [1.0, np.nan, 2.0]}, {}, ("C", "nan", POSITIVE)),
    "too few C": ({"C": [1.0, 2.0]}, {}, ("C", "2", "3")),
    "a C for every entry": ({"C": ENTRIES}, {}, ("C", "3", POSITIVE)),
    "C a word": ({"C": "strong"}, {}, ("C", "strong", POSITIVE + "|number")),
    "too few C for classes": ({"C": [1.0, 2.0]}, {"y": KINDS}, ("C", "2", "3")),
    "class weight of no label": (
        {"class_weight": {"rain": 2.0, "hail": 3.0}},
        {"y": frame(NAMES)},
        ("class_weight", "hail", "rain"),
    ),
    "class weight of no class": (
        {"class_weight": {"oak": 3.0}},
        {"y": KINDS},
        ("class_weight", "oak", "ash"),
    ),
    "class weight below 0": (
        {"class_weight": {1: -2.0}},
        {},
        ("class_weight", r"-2", "negative|>= 0|at least 0"),
    ),
    "class weight NaN": (
        {"class_weight": {1: np.nan}},
        {},
        ("class_weight", "nan", "finite|>= 0|number"),
    ),
    "threshold = 0": ({"threshold": 0.0}, {}, ("threshold", r"\b0", INSIDE)),
    "threshold = 1": ({"threshold": 1}, {}, ("threshold", r"\b1", INSIDE)),
    "threshold above 1": ({"threshold": 1.5}, {}, ("threshold", r"1\.5", INSIDE)),
    "threshold NaN": ({"threshold": np.nan}, {}, ("threshold", "nan", INSIDE)),
    "threshold a word": ({"threshold": "f1"}, {}, ("threshold", "f1", INSIDE + "|number")),
    "a threshold above 1": ({"threshold": [0.5, 1.5, 0.5]}, {}, ("threshold", r"1\.5", INSIDE)),
    "too few thresholds": ({"threshold": [0.5, 0.5]}, {}, ("threshold", "2", "3")),
    "too few thresholds for classes": (
        {"threshold": [0.5, 0.5]},
        {"y": KINDS},
        ("threshold", "2", "3"),
    ),
    "thresholds for two classes": (
        {"threshold": [0.5, 0.4]},
        {"y": Y[:, 0]},
        ("threshold", "2", "1"),
    ),
    "unknown solver": ({"solver": "adam"}, {}, ("solver", "adam", "auto", "lbfgs", "newton")),
    "offset with columns for two classes": (
        {},
        {"y": Y[:, 0], "offset": np.zeros((120, 2))},
        ("offset", r"\(120, 2\)", r"\(120,\)"),
    ),
}
WRONG_KIND = {"sparse offset", "C a word", "threshold a word"}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_value_and_remedy(case):
    """The error names the argument and what is wrong with it, and says what would be right."""
    parameters, arguments, parts = REFUSED[case]
    expected = (ValueError, TypeError) if case in WRONG_KIND else ValueError
    with pytest.raises(expected) as error:
        SigmoidRegression(**parameters).fit(**({"X": X, "y": Y} | arguments))
    assert says(str(error.value), parts), str(error.value)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_leaves_a_fitted_estimator_untouched(case):
    """After the error every fitted attribute is the same object with the same value."""
    parameters, arguments, _ = REFUSED[case]
    table = pd.DataFrame(X, columns=list("abcd"))
    model = SigmoidRegression().fit(table, frame(NAMES))
    before, answers = fitted_state(model), (model.predict_proba(table), model.predict(table))
    with pytest.raises((ValueError, TypeError)):
        model.set_params(**parameters).fit(**({"X": X, "y": Y} | arguments))
    assert_untouched(model, before)
    model.set_params(**SigmoidRegression().get_params())
    np.testing.assert_array_equal(model.predict_proba(table), answers[0])
    np.testing.assert_array_equal(model.predict(table), answers[1])


@pytest.mark.parametrize("y", [Y, sp.csr_array(Y), KINDS], ids=["labels", "CSR", "classes"])
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_bad_input_is_refused_at_prediction(method, y):
    """Wrong offsets, NaN in X and other columns are refused by the whole predict family."""
    model = SigmoidRegression().fit(X, y)
    before = fitted_state(model)
    with pytest.raises(ValueError) as shape:
        getattr(model, method)(X, offset=np.zeros((120, 2)))
    assert says(str(shape.value), ("offset", r"\(120, 2\)", r"\(120, 3\)"))
    with pytest.raises(TypeError) as kind:
        getattr(model, method)(X, offset=sp.csr_array(Y))
    assert says(str(kind.value), ("offset", "sparse|csr", "dense|toarray"))
    with pytest.raises(ValueError, match="NaN"):
        getattr(model, method)(changed(X, (0, 0), np.nan))
    with pytest.raises(ValueError, match="3 features"):
        getattr(model, method)(X[:, :3])
    assert_untouched(model, before)


@pytest.mark.parametrize(
    ("y", "metric", "parts"),
    [
        (Y, "accuracy", ("metric", "accuracy", "f1")),
        (Y, np.ones((3, 3)), ("metric|cost", r"\(3, 3\)", r"\(2, 2\)")),
        (KINDS, np.ones((2, 2)), ("metric|cost", r"\(2, 2\)", r"\(3, 3\)")),
        (Y, [[0.0, 1.0], [np.nan, 0.0]], ("metric|cost", "nan")),
    ],
    ids=["a word", "costs of classes", "costs of labels", "NaN cost"],
)
def test_unknown_metrics_are_refused(y, metric, parts):
    """tune_thresholds names the metric, what is wrong with it, and what it may be."""
    with pytest.raises(ValueError) as error:
        tune_thresholds(SigmoidRegression(), X, y, metric)
    assert says(str(error.value), parts), str(error.value)


@pytest.mark.parametrize(
    "estimator",
    [
        SoftmaxRegression(),
        LogisticRegression(),
        FixedThresholdClassifier(SigmoidRegression()),
        make_pipeline(SigmoidRegression()),
        SigmoidRegression,
        None,
    ],
    ids=["softmax", "scikit-learn", "meta-estimator", "pipeline", "class", "None"],
)
def test_estimators_without_thresholds_are_refused(estimator):
    """tune_thresholds says which estimators predict from thresholds, and what it got."""
    with pytest.raises(TypeError) as error:
        tune_thresholds(estimator, X, KINDS)
    parts = ("thresholds", "SigmoidRegression or SigmoidRegressionCV", re.escape(repr(estimator)))
    assert says(str(error.value), parts), str(error.value)


@pytest.mark.parametrize("y", [Y, KINDS], ids=["labels", "classes"])
def test_a_metric_that_is_no_number_is_refused(y):
    """NaN compares with nothing, so it would choose a threshold by chance."""
    with pytest.raises(ValueError, match="metric.*NaN"):
        tune_thresholds(SigmoidRegression(), X, y, lambda y_true, y_pred: np.nan)


def test_folds_without_some_class_are_refused():
    """A clone that has never seen a class has no score for it."""
    seen = KINDS != "cedar"
    with pytest.raises(ValueError, match="cv.*cedar.*fold 0.*stratified"):
        tune_thresholds(SigmoidRegression(), X, KINDS, cv=[(seen, ~seen)])


@pytest.mark.parametrize("case", ["Y above 1", "inf in X", "negative weight", "unknown solver"])
def test_bad_input_is_refused_while_tuning_and_leaves_no_trace(case):
    """tune_thresholds raises what fit raises, and a fitted estimator stays as it was."""
    parameters, arguments, parts = REFUSED[case]
    model = SigmoidRegression().fit(X, Y)
    before = fitted_state(model)
    with pytest.raises(ValueError) as error:
        tune_thresholds(model.set_params(**parameters), **({"X": X, "y": Y} | arguments))
    assert says(str(error.value), parts), str(error.value)
    assert_untouched(model, before)


def test_a_separable_class_without_a_penalty_is_named():
    """1-D y, C = inf: the class that stands apart is named in one warning."""
    columns = X + 50 * (KINDS == "cedar")[:, None]
    with pytest.warns(ConvergenceWarning, match="cedar") as caught:
        model = SigmoidRegression(C=np.inf).fit(columns, KINDS)
    assert len(caught) == 1 and model.converged_ is False
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
