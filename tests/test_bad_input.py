"""Bad input is refused in words that help, and a refused fit leaves no trace."""

import copy
import re
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot, overlapping
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import ThreadpoolController, threadpool_limits

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    from_sklearn,
    functions,
)
from softreg.calibration import tune_thresholds
from softreg.display import CVCurveDisplay
from softreg.solvers import LBFGS, MiniBatch

X, y = overlapping()
Y = one_hot(y)
ROWS = np.ones(120)


def changed(array, where, value):
    """A copy of an array with one entry replaced."""
    array = array.astype(float)
    array[where] = value
    return array


def soft(*rows):
    """The targets Y with the first rows replaced."""
    return np.vstack([rows, Y[len(rows) :]])


# What is wrong -> (parameters, arguments of fit, what the message must say: the argument, the
# value, the remedy; each a regular expression, case ignored).
# Refused by every estimator; X has four columns, and y three classes or labels.
REFUSED_BY_ALL = {
    "NaN in X": ({}, {"X": changed(X, (3, 1), np.nan)}, ("X", "NaN")),
    "inf in X": ({}, {"X": changed(X, (3, 1), np.inf)}, ("X", "infinity")),
    "NaN in sparse X": ({}, {"X": sp.csr_array(changed(X, (3, 1), np.nan))}, ("X", "NaN")),
    "negative weight": (
        {},
        {"sample_weight": changed(ROWS, 5, -0.5)},
        ("sample.weight", r"-0\.5|negative", "negative|>= 0|at least 0"),
    ),
    "NaN weight": ({}, {"sample_weight": changed(ROWS, 5, np.nan)}, ("sample.weight", "NaN")),
    "weights all zero": (
        {},
        {"sample_weight": 0 * ROWS},
        ("sample.weight", "zero|0", "positive|> 0|at least one"),
    ),
    "too few weights": ({}, {"sample_weight": ROWS[:7]}, ("sample.weight", "7", "120")),
    "tol < 0": ({"tol": -1e-3}, {}, ("tol", r"-0\.001", "positive|> 0|greater|range|>= 0")),
    "max_iter < 0": ({"max_iter": -1}, {}, ("max_iter", "-1", ">= 0")),
    "intercept a word": ({"fit_intercept": "no"}, {}, ("fit_intercept", "no", "True or False")),
    "intercept None": ({"fit_intercept": None}, {}, ("fit_intercept", "None", "True or False")),
    "intercept 2": ({"fit_intercept": 2}, {}, ("fit_intercept", "2", "True or False")),
    "verbose a word": ({"verbose": "x"}, {}, ("verbose", "x", "integer", "True or False")),
    "verbose < 0": ({"verbose": -1}, {}, ("verbose", "-1", ">= 0")),
    "n_jobs = 0": ({"n_jobs": 0}, {}, ("n_jobs", r"\b0", "None|positive|-1")),
    "factors below 0": (
        {"penalty_factor": [1.0, -3.0, 1.0, 1.0]},
        {},
        ("penalty_factor", r"-3", "negative|>= 0|at least 0"),
    ),
    "too few factors": (
        {"penalty_factor": [1.0, 2.0]},
        {},
        ("penalty_factor", "2", "4", "feature|column"),
    ),
    "unknown class weight": ({"class_weight": "equal"}, {}, ("class_weight", "equal", "balanced")),
    "offset too narrow": (
        {},
        {"offset": np.zeros((120, 2))},
        ("offset", r"\(120, 2\)", r"\(120, 3\)"),
    ),
    "offset without columns": (
        {},
        {"offset": np.zeros(120)},
        ("offset", r"\(120,\)", r"\(120, 3\)"),
    ),
    "NaN in offset": (
        {},
        {"offset": changed(Y, (0, 0), np.nan)},
        ("offset", "NaN", "finite|remove|impute|NaN"),
    ),
    "sparse offset": ({}, {"offset": sp.csr_array(Y)}, ("offset", "sparse|csr", "dense|toarray")),
}
FRAME = pd.DataFrame(X, columns=list("abcd"))
# Refused by estimators that have l1_ratio.
REFUSED_AS_SPARSE = {
    "l1_ratio < 0": ({"l1_ratio": -0.1}, {}, ("l1_ratio", r"-0\.1", r"from 0 .* to 1")),
    "l1_ratio > 1": ({"l1_ratio": 1.5}, {}, ("l1_ratio", r"1\.5", r"from 0 .* to 1")),
    "l1_ratio NaN": ({"l1_ratio": np.nan}, {}, ("l1_ratio", "nan", r"from 0 .* to 1")),
    "l1_ratio a word": ({"l1_ratio": "lasso"}, {}, ("l1_ratio", "lasso", r"from 0 .* to 1")),
    "l1_ratio None": ({"l1_ratio": None}, {}, ("l1_ratio", "None", r"from 0 .* to 1")),
    "l1_ratio a list": (
        {"l1_ratio": [0.5, 1]},
        {},
        ("l1_ratio", r"\[0\.5, 1\]", r"from 0 .* to 1"),
    ),
    "groups a word": ({"l1_groups": "features"}, {}, ("l1_groups", "features", '"feature"')),
    "groups a number": ({"l1_groups": 3}, {}, ("l1_groups", "3", '"feature"', "each column")),
    "too few groups": ({"l1_groups": [0, 1, 1]}, {}, ("l1_groups", "3", "4", "column")),
    "a matrix of groups": (
        {"l1_groups": np.zeros((3, 4), dtype=int)},
        {},
        ("l1_groups", r"\(3, 4\)", "one label per column"),
    ),
    "negative groups": (
        {"l1_groups": [0, -1, 1, 1]},
        {},
        ("l1_groups", r"\[0, -1, 1, 1\]", "negative", "a label of its own"),
    ),
    "a group NaN": (
        {"l1_groups": [0, np.nan, 1, 1]},
        {},
        ("l1_groups", "column 1", "a label of its own"),
    ),
    "a group None": (
        {"l1_groups": ["x", "y", None, "x"]},
        {},
        ("l1_groups", "column 2", "a label of its own"),
    ),
    "groups by name of an array": (
        {"l1_groups": dict.fromkeys("abcd", 0)},
        {},
        ("l1_groups", "column name", "DataFrame", "one value for each column"),
    ),
    "groups that lack a column": (
        {"l1_groups": {"a": 0, "b": 0, "d": 1}},
        {"X": FRAME},
        ("l1_groups", "'c'", "a label of its own"),
    ),
    "groups of unknown columns": (
        {"l1_groups": pd.Series(0, index=list("abce"))},
        {"X": FRAME},
        ("l1_groups", "'e'", "X lacks", "'d'"),
    ),
    "factors of unknown columns": (
        {"penalty_factor": {"a": 1.0, "z": 2.0}},
        {"X": FRAME},
        ("penalty_factor", "'z'", "X lacks", "'a'"),
    ),
    "factors by name of an array": (
        {"penalty_factor": {"a": 1.0}},
        {},
        ("penalty_factor", "column name", "DataFrame"),
    ),
    "two factors in a group": (
        {"l1_groups": [0, 1, 1, 2], "penalty_factor": [1, 2, 3, 4]},
        {},
        ("penalty_factor", "l1_groups", "column 2", "one factor"),
    ),
    "a smooth solver": (
        {"l1_ratio": 0.5, "solver": "lbfgs"},
        {},
        ("solver", "lbfgs", "l1_ratio > 0", "auto", "proximal-newton", "l1_ratio=0"),
    ),
    "a smooth solver's configuration": (
        {"l1_ratio": 1, "solver": LBFGS()},
        {},
        ("solver", r"LBFGS\(\)", "auto", "proximal-newton", "l1_ratio=0"),
    ),
    "mini-batches": (
        {"l1_ratio": 0.5, "solver": "minibatch"},
        {},
        ("solver", "minibatch", "auto", "proximal-newton", "l1_ratio=0"),
    ),
}
REFUSED = (
    REFUSED_BY_ALL
    | REFUSED_AS_SPARSE
    | {
        "one class": (
            {},
            {"y": ["ash"] * 120},
            ("y", "ash", "class", "two|2|at least|more than one"),
        ),
        "targets that miss 1": (
            {},
            {"y": soft([0.5, 0.2, 0.2], [1.0, 0.0, 0.0])},
            ("y", r"0\.9", "sum to 1", "row|normali"),
        ),
        "targets below 0": (
            {},
            {"y": soft([1.25, -0.25, 0.0])},
            ("y", r"-0\.25", r"negative|\[0, 1\]|between 0 and 1"),
        ),
        "NaN in targets": ({}, {"y": soft([np.nan, 0.5, 0.5])}, ("y", "NaN")),
        "several labels a row": (
            {},
            {"y": soft([1.0, 1.0, 0.0])},
            ("y", "multi-?label", "exactly one|OneVsRest|MultiOutput|use"),
        ),
        "several labels a row, sparse": (
            {},
            {"y": sp.csr_array(soft([1, 1, 0]))},
            ("y", "sparse|multi-?label"),
        ),
        "classes of the wrong number": (
            {"classes": ["ash", "birch"]},
            {"y": soft([0.5, 0.25, 0.25])},
            ("classes", "2", "3"),
        ),
        "no classes": ({"classes": []}, {}, ("classes", r"\[\]", "each class in y")),
        "inf weight": ({}, {"sample_weight": changed(ROWS, 5, np.inf)}, ("sample.weight", "inf")),
        "C = 0": ({"C": 0.0}, {}, ("C", r"\b0", "positive|> 0|greater|range|inf")),
        "C < 0": ({"C": -2.5}, {}, ("C", r"-2\.5", "positive|> 0|greater|range|inf")),
        "C = NaN": ({"C": np.nan}, {}, ("C", "nan", "positive|> 0|greater|range|inf")),
        "C a word": ({"C": "strong"}, {}, ("C", "strong", "number|float|real|positive|range")),
        "C beyond all penalties": (
            {"C": 1e-320},
            {},
            ("penalty", "1e-320", "finite", "larger C"),
        ),
        "C too small for the factors": (
            {"C": 1e-200, "penalty_factor": [1.0, 1e200, 1.0, 1.0]},
            {},
            ("penalty_factor / C", "1e-200", "larger C"),
        ),
        "standardize a word": ({"standardize": "no"}, {}, ("standardize", "no", "True or False")),
        "standardize None": ({"standardize": None}, {}, ("standardize", "None", "True or False")),
        "warm start 3": ({"warm_start": 3}, {}, ("warm_start", "3", "True or False")),
        "label_smoothing = 1": (
            {"label_smoothing": 1.0},
            {},
            ("label_smoothing", r"1\.0", r"\[0(\.0)?, 1"),
        ),
        "label_smoothing < 0": (
            {"label_smoothing": -0.1},
            {},
            ("label_smoothing", r"-0\.1", r"\[0(\.0)?, 1"),
        ),
        "NaN factor": (
            {"penalty_factor": [1.0, np.nan, 1.0, 1.0]},
            {},
            ("penalty_factor", "nan", "finite|negative|>= 0|number"),
        ),
        "unknown solver": ({"solver": "adam"}, {}, ("solver", "adam", "auto", "lbfgs", "newton")),
        "a solver of another kind": ({"solver": 3}, {}, ("solver", "3", "lbfgs", "newton")),
        "offset too short": (
            {},
            {"offset": np.zeros((7, 3))},
            ("offset", r"\(7, 3\)", r"\(120, 3\)"),
        ),
        "rows that do not match": ({}, {"y": y[:50]}, ("50", "120")),
    }
)
WRONG_KIND = {"sparse offset", "a solver of another kind", "C a word"}


def says(message, parts):
    """The message contains every part, as a word of its own where the part is a word."""
    return [p for p in parts if not re.search(rf"(?<!\w)(?:{p})", message, re.IGNORECASE)] == []


def fitted_state(model):
    """The fitted attributes: the objects themselves, and a copy of their values."""
    state = {k: v for k, v in vars(model).items() if k.endswith("_") and not k.startswith("_")}
    return state, copy.deepcopy(state)


def assert_untouched(model, before):
    """Every fitted attribute is the same object with the same value; none came or went."""
    objects, values = before
    now, _ = fitted_state(model)
    assert now.keys() == objects.keys()
    for name, value in now.items():
        assert value is objects[name], name
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, values[name])


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_value_and_remedy(case):
    """The error names the argument and what is wrong with it, and says what would be right."""
    parameters, arguments, parts = REFUSED[case]
    expected = (ValueError, TypeError) if case in WRONG_KIND else ValueError
    with pytest.raises(expected) as error:
        SoftmaxRegression(**parameters).fit(**({"X": X, "y": y} | arguments))
    assert says(str(error.value), parts), str(error.value)


@pytest.mark.parametrize("case", REFUSED_AS_SPARSE)
def test_labels_refuse_the_same_sparse_penalties(case):
    """In the same words, also where the fit is one of chunks."""
    parameters, arguments, parts = REFUSED_AS_SPARSE[case]
    model, of = SigmoidRegression(**parameters), {"X": X, "y": Y} | arguments
    for fit in (lambda: model.fit(**of), lambda: model.fit_chunks([(of["X"], of["y"])])):
        with pytest.raises(ValueError) as error:
            fit()
        assert says(str(error.value), parts), str(error.value)
        assert "\n" not in str(error.value) and len(re.findall(r"\. [A-Z]", str(error.value))) == 0


def test_streams_refuse_sparse_penalties():
    """partial_fit sees each row once, and says what to use in its place."""
    with pytest.raises(AttributeError) as error:
        SoftmaxRegression(l1_ratio=0.5).partial_fit(X, y)
    assert not hasattr(SigmoidRegression(l1_ratio=0.5), "partial_fit")
    parts = ("l1_ratio", r"0\.5", "fit or fit_chunks", "l1_ratio=0")
    assert says(str(error.value.__cause__ or error.value), parts), error.value


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_leaves_a_fitted_estimator_untouched(case):
    """After the error every fitted attribute is the same object with the same value."""
    parameters, arguments, _ = REFUSED[case]
    model = SoftmaxRegression().fit(pd.DataFrame(X, columns=list("abcd")), y)
    before, answers = (
        fitted_state(model),
        model.predict_proba(pd.DataFrame(X, columns=list("abcd"))),
    )
    with pytest.raises((ValueError, TypeError)):
        model.set_params(**parameters).fit(**({"X": X, "y": y} | arguments))
    assert_untouched(model, before)
    model.set_params(**SoftmaxRegression().get_params())
    np.testing.assert_array_equal(
        model.predict_proba(pd.DataFrame(X, columns=list("abcd"))), answers
    )


@pytest.mark.parametrize("columns", [["a", "b", "c", "e"], ["b", "a", "c", "d"], ["a", "b", "c"]])
def test_other_feature_names_are_refused_at_prediction(columns):
    """A frame with other, reordered or missing columns is refused, naming feature names."""
    model = SoftmaxRegression().fit(pd.DataFrame(X, columns=list("abcd")), y)
    before = fitted_state(model)
    with pytest.raises(ValueError, match="(?i)feature names"):
        model.predict_proba(pd.DataFrame(X[:, : len(columns)], columns=columns))
    assert_untouched(model, before)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_bad_input_is_refused_at_prediction(method):
    """Wrong offsets and NaN in X are refused by every method of the predict family."""
    model = SoftmaxRegression().fit(X, y)
    before = fitted_state(model)
    with pytest.raises(ValueError) as shape:
        getattr(model, method)(X, offset=np.zeros((120, 2)))
    assert says(str(shape.value), ("offset", r"\(120, 2\)", r"\(120, 3\)"))
    with pytest.raises(TypeError) as kind:
        getattr(model, method)(X, offset=sp.csr_array(Y))
    assert says(str(kind.value), ("offset", "sparse|csr", "dense|toarray"))
    with pytest.raises(ValueError, match="NaN"):
        getattr(model, method)(changed(X, (0, 0), np.nan))
    assert_untouched(model, before)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
def test_two_separable_classes_without_a_penalty_are_named_in_one_warning(solver):
    """C = inf, no optimum: one warning with the classes and the remedy, finite coefficients."""
    side = np.where(X[:, 0] > 0, "granted", "refused")
    with pytest.warns(ConvergenceWarning) as caught:
        model = SoftmaxRegression(C=np.inf, solver=solver).fit(X, side)
    assert len(caught) == 1
    assert says(str(caught[0].message), ("granted", "refused", "separa", "finite C|C="))
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    assert model.converged_ is False and model.optimality_gap_ == np.inf
    assert model.score(X, side) == 1.0


def test_a_separable_class_among_others_is_the_one_that_is_named():
    """Iris, C = inf: setosa stands apart and is named; the overlapping two are fitted on."""
    data = load_iris()
    names = data.target_names[data.target]
    with pytest.warns(ConvergenceWarning, match="setosa") as caught:
        model = SoftmaxRegression(C=np.inf).fit(data.data, names)
    assert len(caught) == 1
    assert np.isfinite(model.coef_).all() and model.converged_ is False
    # Of two overlapping species the unpenalised fit by itself puts 2 rows of 100 on the wrong side.
    assert model.score(data.data, names) > 0.97


def test_a_category_seen_with_one_class_only_is_separation_too():
    """C = inf, a 0/1 column that is 1 in refused rows only: one warning, finite coefficients."""
    decision = np.where(y == 1, "granted", "refused")
    decision[:6] = "refused"
    with pytest.warns(ConvergenceWarning, match="refused") as caught:
        model = SoftmaxRegression(C=np.inf).fit(np.column_stack([X, np.arange(120) < 6]), decision)
    assert len(caught) == 1
    assert np.isfinite(model.coef_).all() and model.converged_ is False


def test_a_penalty_makes_separable_classes_an_ordinary_problem():
    """Finite C: an optimum exists, is reached, and no warning is given."""
    side = np.where(X[:, 0] > 0, "granted", "refused")
    assert SoftmaxRegression(C=1e4).fit(X, side).converged_


class InterruptWhileBlasIsHeld:
    """A profiling hook: KeyboardInterrupt at the first SciPy call made with BLAS on one thread."""

    def __init__(self):
        self.blas = ThreadpoolController().select(user_api="blas")

    def threads(self):
        return [library["num_threads"] for library in self.blas.info()]

    def __call__(self, frame, event, argument):
        in_scipy = frame.f_globals.get("__name__", "").startswith("scipy.")
        if event == "call" and in_scipy and set(self.threads()) == {1}:
            sys.setprofile(None)
            raise KeyboardInterrupt


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_an_interrupted_fit_gives_blas_its_threads_back(solver):
    """KeyboardInterrupt in the middle of a fit: BLAS limits and the model are as before it."""
    hook = InterruptWhileBlasIsHeld()
    model = SoftmaxRegression(solver=solver).fit(X, y)
    with threadpool_limits(2, user_api="blas"):
        before, threads = fitted_state(model), hook.threads()
        if set(threads) != {2}:
            pytest.skip("this BLAS does not let itself be given two threads")
        sys.setprofile(hook)
        try:
            with pytest.raises(KeyboardInterrupt):
                model.fit(X, y)
        finally:
            sys.setprofile(None)
        assert hook.threads() == threads
    assert_untouched(model, before)


def test_a_fit_gives_blas_its_threads_back():
    """A fit that ends well, too, leaves the limits it found."""
    hook = InterruptWhileBlasIsHeld()
    with threadpool_limits(2, user_api="blas"):
        threads = hook.threads()
        SoftmaxRegression().fit(X, y)
        assert hook.threads() == threads


def test_the_row_with_several_ones_is_named_with_their_number():
    """Of an indicator matrix the first row with most ones is named, whatever its columns hold."""
    Y = np.eye(3)[np.arange(12) % 3]
    Y[7] = [1, 1, 0]
    Y[9] = [1, 1, 1]
    with pytest.raises(ValueError, match=r"row 9 has 3 ones"):
        SoftmaxRegression().fit(np.arange(24.0).reshape(12, 2), Y)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
@pytest.mark.parametrize("seed", range(8))
def test_three_separated_classes_without_a_penalty_have_no_optimum(solver, seed):
    """Classes that a linear map gives, without noise: F falls without end, however it ended."""
    rng = np.random.default_rng(seed + 6)
    X = rng.normal(size=(100, 3))
    y = (X @ rng.normal(size=(3, 3))).argmax(axis=1)
    with pytest.warns(ConvergenceWarning, match="there is no optimum"):
        model = SoftmaxRegression(C=np.inf, solver=solver).fit(X, y)
    assert not model.converged_ and np.isfinite(model.coef_).all()


@pytest.mark.parametrize("dtype", [int, float])
def test_counts_are_refused_with_remedies_that_have_one_optimum(dtype):
    """Shares with the sums as weights, or a row for each class with its count: the same fit."""
    counts = np.random.default_rng(0).integers(0, 6, size=(120, 3)).astype(dtype)
    counts[:, 0] += 1
    with pytest.raises(ValueError, match="(?s)divide each row by its sum .* sums as sample_weight"):
        SoftmaxRegression().fit(X, counts)
    sums = counts.sum(axis=1)
    shares = SoftmaxRegression(tol=1e-13).fit(X, counts / sums[:, None], sample_weight=sums)
    rows, classes = np.nonzero(counts)
    apart = SoftmaxRegression(tol=1e-13)
    apart.fit(X[rows], classes, sample_weight=counts[rows, classes])
    np.testing.assert_allclose(shares.coef_, apart.coef_, rtol=0, atol=1e-5)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, pd.DataFrame])
def test_counts_of_labels_are_refused_with_a_remedy_that_fits_the_trials(container):
    """Shares with the trials as weights are a row for each yes and each no."""
    rng = np.random.default_rng(0)
    trials = rng.integers(1, 6, size=(120, 2))
    counts = rng.binomial(trials, 0.4)
    with pytest.raises(ValueError, match="divide y by the number of trials.*sample_weight"):
        SigmoidRegression().fit(X, container(counts))
    shares = SigmoidRegression(tol=1e-13).fit(X, counts / trials, sample_weight=trials)
    for label in range(2):
        yes, no = counts[:, label], (trials - counts)[:, label]
        rows, y = np.tile(np.arange(120), 2), np.repeat([1, 0], 120)
        apart = SoftmaxRegression(tol=1e-13).fit(X[rows], y, sample_weight=np.append(yes, no))
        np.testing.assert_allclose(shares.coef_[label], apart.coef_[0], rtol=0, atol=1e-5)


TREES = np.array(["ash", "birch", "cedar"])
TYPE_OF_NUMPY = re.compile(r"np\.(str_|bytes_|bool|int|uint|float|datetime)")
VALUES = {
    "a solver's name": lambda: SoftmaxRegression(solver=np.str_("fast")).fit(X, y),
    "a stream's solver": lambda: SoftmaxRegression(solver=np.str_("newton")).partial_fit,
    "a solver's option": lambda: SoftmaxRegression(solver=LBFGS(np.int64(0))).fit(X, y),
    "an option of mini-batches": lambda: MiniBatch(momentum=np.float64(2)).check(),
    "candidates": lambda: SoftmaxRegression(
        solver=MiniBatch(n_candidates=np.int64(1), n_epochs=1)
    ).fit(X, y > 0),
    "folds": lambda: SoftmaxRegressionCV(cv=np.int64(1)).fit(X, y),
    "rows of a fold": lambda: SoftmaxRegressionCV(cv=[([0, 1], np.array([500]))]).fit(X, y),
    "a scorer": lambda: SoftmaxRegressionCV(scoring=np.str_("good")).fit(X, y),
    "a scorer of rows": lambda: SoftmaxRegressionCV(cv="loo", scoring=np.str_("f1")).fit(X, y),
    "classes of a stream": lambda: (
        SoftmaxRegression(random_state=0)
        .partial_fit(X, TREES[y], classes=TREES)
        .partial_fit(X, TREES[y], classes=list(TREES[:2]))
    ),
    "ratios": lambda: SoftmaxRegressionCV(l1_ratios=np.array([0.5, 2.0])).fit(X, y),
    "weights within a wrapper": lambda: from_sklearn(
        OneVsRestClassifier(LogisticRegression(class_weight={np.int64(0): np.float64(2)}))
    ),
    "classes of a picture": lambda: CVCurveDisplay(Cs=[1], mean_score=[1], se_score=[1]).plot(
        classes=[np.str_("a")]
    ),
    "strengths of a picture": lambda: CVCurveDisplay(Cs=[2, 1], mean_score=[1], se_score=[1]),
    "an axis": lambda: functions.softmax(X, axis=np.int64(7)),
    "a metric": lambda: tune_thresholds(SigmoidRegression(), X, y, metric=np.str_("f2")),
}


@pytest.mark.parametrize("case", VALUES)
def test_messages_show_values_not_types_of_numpy(case):
    """'a' and 0.5, not np.str_('a') and np.float64(0.5)."""
    with pytest.raises((ValueError, AttributeError)) as error:
        VALUES[case]()
    assert not TYPE_OF_NUMPY.search(str(error.value)), error.value


def test_the_warning_of_separated_classes_shows_strengths_as_values():
    """C of each label, from a grid of NumPy's numbers."""
    Y = np.stack([X[:, 0] > 0, y > 0], axis=1).astype(int)
    for model in (
        SigmoidRegression(np.array([np.inf, 1])),
        SigmoidRegression(np.float64(np.inf)),
        SigmoidRegressionCV([np.inf], per_label=True),
        SoftmaxRegressionCV([np.inf]),
    ):
        with pytest.warns(ConvergenceWarning, match="separate the classes") as caught:
            model.fit(
                X, Y if isinstance(model, SigmoidRegression | SigmoidRegressionCV) else Y[:, 0]
            )
        assert not any(
            "array(" in str(item.message) or TYPE_OF_NUMPY.search(str(item.message))
            for item in caught
        )


def test_flags_may_be_bools_of_numpy_and_zero_or_one():
    """As scikit-learn's users pass them, also from the grid of a search."""
    for yes, no in ((True, False), (np.True_, np.False_), (1, 0), (np.int64(1), np.int64(0))):
        with_intercept = SoftmaxRegression(fit_intercept=yes, warm_start=yes, verbose=no).fit(X, y)
        without = SoftmaxRegression(fit_intercept=no, warm_start=no, verbose=no).fit(X, y)
        assert with_intercept.intercept_.any() and not without.intercept_.any()
