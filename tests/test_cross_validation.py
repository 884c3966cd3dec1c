"""Cross-validation: held-out scores are those of refits fold by fold, and C is chosen by them."""

import pickle
import warnings
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from problems import objective, one_hot, overlapping, wide
from scipy.special import expit, log_expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV

PLAIN = {SoftmaxRegressionCV: SoftmaxRegression, SigmoidRegressionCV: SigmoidRegression}
CV = list(PLAIN)
CS = [0.01, 1.0, 100.0]
TREES = np.array(["ash", "birch", "cedar"])
# Two fits to the same rows are within tol F of the same optimum; coefficients of columns of
# ordinary size then agree to 1e-5.
TIGHT, SAME = {"tol": 1e-13}, {"rtol": 0, "atol": 1e-5}
# Share of a mean score's standard error that it may be off where classes are nearly separated.
NEARLY_SEPARATED = 0.02


# --- the reference: refits, fold by fold --------------------------------------------------------


class Setting(NamedTuple):
    """An estimator with what it is given: parameters of both, arguments of fit, a row each."""

    kind: type
    X: object
    y: object
    parameters: dict = {}
    terms: dict = {}

    def cv(self, Cs=CS, **parameters):
        """The estimator that chooses C, fitted."""
        model = self.kind(Cs, **(self.parameters | parameters))
        return model.fit(self.X, self.y, **self.terms)

    def plain(self, C, rows=slice(None), **parameters):
        """The estimator with one C, fitted to some of the rows."""
        model = PLAIN[self.kind](C, **(self.parameters | parameters))
        return model.fit(*self.take_rows(rows), **self.terms_of(rows))

    def take_rows(self, rows):
        return self.X[rows], self.y[rows]

    def terms_of(self, rows):
        return {name: term[rows] for name, term in self.terms.items()}

    def losses(self, C, folds, label=None):
        """The weighted mean of -log P of each fold, by a refit without it, in plain numpy."""
        return np.array([-self._loss(self.plain(C, train), test, label) for train, test in folds])

    def _loss(self, model, test, label):
        (X, y), terms = self.take_rows(test), self.terms_of(test)
        weight = terms.get("sample_weight", np.ones(len(test)))
        y = y.toarray() if sp.issparse(y) else np.asarray(y)
        if getattr(model, "multilabel_", False):
            z = model.decision_function(X, terms.get("offset"))
            losses = -(y * log_expit(z) + (1 - y) * log_expit(-z))
            weight = np.broadcast_to(weight.reshape(len(test), -1), losses.shape)
            known = ~np.isnan(losses)
            if label is not None:
                losses, weight, known = losses[:, label], weight[:, label], known[:, label]
            return (losses * weight)[known].sum() / weight[known].sum()
        target = one_hot_of(y, model.classes_) if y.ndim == 1 else y
        losses = -(target * model.predict_log_proba(X, terms.get("offset"))).sum(axis=1)
        return losses @ weight / weight.sum()


def one_hot_of(y, classes):
    return (y[:, None] == np.asarray(classes)).astype(float)


def answered(n=120, L=3, seed=0):
    """Columns of ordinary size and labels that overlap, of which rows have any number."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    Z = X @ rng.normal(size=(4, L)) + np.linspace(0.5, -1, L)
    return X, (rng.random((n, L)) < expit(Z)).astype(float)


def with_holes(Y):
    """A copy of Y where a quarter of the entries is unknown."""
    return np.where(np.random.default_rng(1).random(Y.shape) < 0.25, np.nan, Y)


X3, Y3 = overlapping()
X2, Y2 = overlapping(K=2, seed=2)
A, ANSWERS = answered()
WIDE, OF_WIDE = wide()
# Zeros, counts and fractions; their sum is not the number of rows.
WEIGHTS = np.tile([0.0, 1.0, 2.0, 0.4, 3.5], 24)
OFFSET = np.random.default_rng(3).normal(size=(120, 3))
SOFT = 0.6 * one_hot(Y3) + 0.4 * np.random.default_rng(4).dirichlet(np.ones(3), 120)
ODD = np.column_stack([X3, np.full(120, 7.3), np.zeros(120), X3[:, 0], 1000 * X3[:, 1]])
softmax, sigmoid = partial(Setting, SoftmaxRegressionCV), partial(Setting, SigmoidRegressionCV)

SETTINGS = {
    "two classes": softmax(X2, Y2),
    "classes": softmax(X3, Y3),
    "named classes": softmax(X3, TREES[Y3], {"classes": ["cedar", "ash", "birch"]}),
    "soft targets": softmax(X3, SOFT),
    "soft targets of two": softmax(X2, 0.8 * one_hot(Y2) + 0.1),
    "sparse": softmax(sp.csr_array(np.where(np.abs(X3) > 1, X3, 0)), Y3),
    "float32": softmax(X3.astype(np.float32), Y3),
    "weights": softmax(X3, Y3, {}, {"sample_weight": WEIGHTS}),
    "weights, two classes": softmax(X2, Y2, {}, {"sample_weight": WEIGHTS}),
    "offset": softmax(X3, Y3, {}, {"offset": OFFSET}),
    "offset, two classes": softmax(X2, Y2, {}, {"offset": OFFSET[:, 0], "sample_weight": WEIGHTS}),
    "class weights": softmax(X3, Y3, {"class_weight": {0: 0.3, 2: 4.0}}),
    "class weights, soft": softmax(X3, SOFT, {"class_weight": {0: 0.3, 2: 4.0}}),
    "smoothed": softmax(X3, Y3, {"label_smoothing": 0.2}),
    "smoothed, two classes": softmax(X2, Y2, {"label_smoothing": 0.2}),
    "factors": softmax(X3, Y3, {"penalty_factor": [1.0, 0.0, 3.0, 0.1]}),
    "no intercept": softmax(X3, Y3, {"fit_intercept": False}),
    "wide": softmax(WIDE, OF_WIDE),
    "wide, no intercept": softmax(WIDE, OF_WIDE, {"fit_intercept": False}),
    "wide, factors": softmax(WIDE, OF_WIDE, {"penalty_factor": np.linspace(0.5, 2, 150)}),
    "constant and duplicated columns": softmax(ODD, Y3),
    "labels": sigmoid(A, ANSWERS),
    "unknown labels": sigmoid(A, with_holes(ANSWERS)),
    "soft labels": sigmoid(A, 0.7 * ANSWERS + 0.1),
    "sparse labels": sigmoid(A, sp.csr_array(ANSWERS)),
    "weighted labels": sigmoid(A, with_holes(ANSWERS), {}, {"sample_weight": WEIGHTS}),
    "weighted answers": sigmoid(
        A, ANSWERS, {}, {"sample_weight": np.random.default_rng(5).uniform(size=(120, 3))}
    ),
    "class weights of labels": sigmoid(A, ANSWERS, {"class_weight": {0: 0.3, 2: 4.0}}),
    "labels, offset": sigmoid(A, ANSWERS, {}, {"offset": OFFSET}),
    "labels, no intercept": sigmoid(A, ANSWERS, {"fit_intercept": False}),
    "labels, sparse X": sigmoid(sp.csr_array(np.where(np.abs(A) > 0.5, A, 0)), ANSWERS),
    "labels, float32": sigmoid(A.astype(np.float32), ANSWERS),
    "wide labels": sigmoid(WIDE, one_hot(OF_WIDE) + np.eye(3)[[1]] * (np.arange(30) < 5)[:, None]),
    "one class against the rest": sigmoid(X3, TREES[Y3]),
    "one of two classes": sigmoid(X2, Y2),
}
FOLDS = {n: list(KFold(4, shuffle=True, random_state=0).split(range(n))) for n in (30, 120)}


@cache
def crossed(name):
    """The setting, its folds and the estimator fitted over them at a tight tol."""
    setting = SETTINGS[name]
    folds = FOLDS[setting.X.shape[0]]
    tol = 1e-11 if "float32" in name else 1e-13
    return setting, folds, setting.cv(cv=folds, tol=tol)


def assert_scores(scores, expected, share=1e-3):
    """Means over the folds agree to a share of their standard error, or to 1e-4 relative."""
    assert np.shape(scores) == np.shape(expected)
    scores, expected = np.asarray(scores), np.asarray(expected)
    error = expected.std(axis=0, ddof=1) / np.sqrt(len(expected)) if len(expected) > 1 else 0
    tolerance = np.maximum(share * error, 1e-4 * np.abs(expected.mean(axis=0)))
    difference = np.abs(scores.mean(axis=0) - expected.mean(axis=0))
    assert (difference <= tolerance).all(), (difference / tolerance).max()
    # Errors of single folds may be some times larger, and cancel.
    assert (np.abs(scores - expected) <= 10 * tolerance).all()


# --- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_are_those_of_refits_fold_by_fold(name):
    """scores_[fold, i] is minus the mean log loss of the held-out rows by a fit of the others."""
    setting, folds, model = crossed(name)
    expected = np.stack([setting.losses(C, folds) for C in CS], axis=1)
    assert_scores(model.scores_[:, 0], expected, share=NEARLY_SEPARATED if "wide" in name else 1e-3)
    assert model.scores_[:, 0].dtype == np.float64


# Settings in which the classes of every fold overlap, so that there is an optimum without penalty.
OVERLAPPING = [
    name
    for name in SETTINGS
    if not name.startswith("wide") and name not in ("sparse", "constant and duplicated columns")
]


@pytest.mark.parametrize("name", OVERLAPPING)
def test_no_penalty_is_one_of_the_strengths(name):
    """C=inf comes last: scores and coefficients are those of the plain fits without a penalty."""
    setting, folds, _ = crossed(name)
    tol = 1e-11 if "float32" in name else 1e-13
    model = setting.cv([np.inf, 0.01, 1.0], cv=folds, tol=tol)
    np.testing.assert_array_equal(model.Cs_, [0.01, 1.0, np.inf])
    assert_scores(model.scores_[:, 0][:, [-1]], setting.losses(np.inf, folds)[:, None])
    plain = setting.plain(np.inf, tol=tol)
    atol = (2e-3 if "float32" in name else 1e-5) * max(1, np.abs(plain.coef_).max())
    np.testing.assert_allclose(model.coef_path_[0, -1], plain.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_path_[0, -1], plain.intercept_, rtol=0, atol=atol)
    frame = model.results_
    np.testing.assert_array_equal(frame[frame["C"] == np.inf]["score"], model.scores_[:, 0, -1])


@pytest.mark.parametrize("Cs", [[np.inf], [1.0, np.inf]])
@pytest.mark.parametrize("kind", [softmax, sigmoid])
def test_without_a_penalty_too_a_fold_knows_nothing_of_the_rows_left_out(kind, Cs):
    """C=inf, columns that are not 0 in one fold only: for it they have no coefficients.

    The fit to all rows knows what labels go with them, and no penalty would take that back.
    """
    rng = np.random.default_rng(0)
    fold, marked = np.arange(200) % 4, rng.random(200) < 0.5
    y = np.where(marked, rng.random(200) < 0.85, rng.random(200) < 0.5).astype(int)
    X = rng.normal(size=(200, 2))
    marks = (marked[:, None] & (fold[:, None] == np.arange(4))) * 1.0
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    model = kind(np.column_stack([X, marks]), y).cv(Cs, cv=folds)
    expected = []
    for k, (train, test) in enumerate(folds):
        others = np.column_stack([X, np.delete(marks, k, axis=1)])
        refit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
        refit.fit(others[train], y[train])
        expected.append(-log_loss(y[test], refit.predict_proba(others[test])))
    np.testing.assert_allclose(model.scores_[:, 0, -1], expected, rtol=1e-5)


def test_leave_one_out_has_no_scores_where_there_is_no_optimum():
    """Separated classes, cv="loo": NaN at C=inf, where no fit is a step away, and a finite C_."""
    X, y = load_iris(return_X_y=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegressionCV([1.0, np.inf], cv="loo").fit(X, y)
    assert [item.category for item in caught] == [ConvergenceWarning, UserWarning]
    assert all("there is no optimum" in str(item.message) for item in caught)
    assert np.isnan(model.scores_[:, 0, 1]).all() and model.C_ == 1.0


@pytest.mark.parametrize("select", ["best", "1se"])
def test_no_penalty_is_chosen_like_any_other_strength(select):
    """Many rows of a strong signal: C=inf has the best score; the 1se rule takes the smallest."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = (X @ [2, -2, 1] + rng.logistic(size=500) > 0).astype(int)
    model = SoftmaxRegressionCV([1e-6, 1e-4, np.inf], select=select).fit(X, y)
    assert np.isposinf(model.C_) and isinstance(model.C_, float)
    exact = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-4)


@pytest.mark.parametrize("name", ["classes", "soft targets", "labels", "weights"])
def test_no_scorer_is_accuracy(name):
    """scoring=None is scoring="accuracy", as in LogisticRegressionCV, also in `score`."""
    setting, folds, _ = crossed(name)
    if setting.kind is SigmoidRegressionCV:
        setting = setting._replace(parameters={"per_label": True})
    ours, named = (setting.cv(cv=folds, scoring=scoring) for scoring in (None, "accuracy"))
    assert ours.scoring is None and ours.get_params()["scoring"] is None
    np.testing.assert_array_equal(ours.scores_[:, 0], named.scores_[:, 0])
    if name == "classes":
        assert ours.score(X3, Y3) == accuracy_score(Y3, ours.predict(X3))
    with pytest.raises(ValueError, match=r'scoring=None does not go with cv="loo"'):
        setting.cv(cv="loo", scoring=None)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_path_is_made_of_the_fits_to_all_rows(name):
    """coef_path_[0, i] and intercept_path_[0, i] are those of the plain estimator at Cs_[i]."""
    setting, _, model = crossed(name)
    atol = 2e-3 if "float32" in name else 1e-5
    for i, C in enumerate(CS):
        plain = setting.plain(C, tol=1e-11 if "float32" in name else 1e-13)
        for path, expected in [("coef_path_", plain.coef_), ("intercept_path_", plain.intercept_)]:
            actual = getattr(model, path)[0, i]
            assert actual.dtype == expected.dtype == np.float64 and actual.shape == expected.shape
            np.testing.assert_allclose(
                actual, expected, rtol=0, atol=atol * max(1, np.abs(expected).max())
            )


@pytest.mark.parametrize("name", SETTINGS)
def test_the_model_is_that_of_the_chosen_strength(name):
    """coef_ is the path's at C_, its objective that of the plain fit, and certified."""
    setting, _, model = crossed(name)
    place = CS.index(model.C_)
    np.testing.assert_array_equal(model.coef_, model.coef_path_[0, place])
    np.testing.assert_array_equal(model.intercept_, model.intercept_path_[0, place])
    plain = setting.plain(model.C_)
    assert model.objective_ == pytest.approx(plain.objective_, rel=1e-8)
    # There is no bound where a feature has no penalty.
    bound = np.inf if name == "factors" else 1e-8 * model.objective_
    assert 0 <= model.optimality_gap_ <= bound
    assert model.converged_ is True
    assert vars(plain).keys() - vars(model).keys() - set(plain.get_params()) == {"solver_"}
    X, offset = setting.X, setting.terms.get("offset")
    np.testing.assert_allclose(
        model.predict_proba(X, offset), plain.predict_proba(X, offset), atol=1e-3
    )
    np.testing.assert_array_equal(model.classes_, plain.classes_)


def test_the_objective_is_that_of_the_formula():
    """F by plain numpy at coef_, of weighted rows with an offset, equals objective_."""
    setting = softmax(X3, Y3, {}, {"sample_weight": WEIGHTS, "offset": OFFSET})
    model = setting.cv(cv=3)
    F = objective(model.coef_, model.intercept_, X3, one_hot(Y3), model.C_, **setting.terms)
    assert model.objective_ == pytest.approx(F, rel=1e-12)
    assert model.loss_curve_[-1] == pytest.approx(F, rel=1e-9)
    assert model.n_iter_[0, model.Cs_ == model.C_] == [len(model.loss_curve_)]
    assert model.n_samples_seen_ == np.count_nonzero(WEIGHTS) < 120


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_scores_on_raw_data_are_those_of_refits(load):
    """Columns in all units, classes nearly separated: what is left is far below the noise."""
    X, y = load(return_X_y=True)
    Cs = [1e-3, 0.1, 10.0]
    model = SoftmaxRegressionCV(Cs, cv=5).fit(X, y)
    expected = [
        cross_val_score(SoftmaxRegression(C), X, y, cv=5, scoring="neg_log_loss") for C in Cs
    ]
    assert_scores(model.scores_[:, 0], np.transpose(expected), share=NEARLY_SEPARATED)


def test_scores_of_many_classes_are_those_of_logistic_regression():
    """digits, ten classes: the scores of scikit-learn's converged fits."""
    X, y = load_digits(return_X_y=True)
    X, y, Cs = X[:400] / 16, y[:400], [0.1, 10.0]
    model = SoftmaxRegressionCV(Cs, cv=3).fit(X, y)
    theirs = (LogisticRegression(C=C, solver="newton-cg", tol=1e-8) for C in Cs)
    expected = [cross_val_score(m, X, y, cv=3, scoring="neg_log_loss") for m in theirs]
    assert_scores(model.scores_[:, 0], np.transpose(expected))


@pytest.mark.parametrize(
    "scoring", ["accuracy", "roc_auc", "average_precision", "balanced_accuracy"]
)
def test_any_scorer_scores_as_in_cross_val_score(scoring):
    """Two classes: predictions, scores and probabilities reach scorers by name."""
    labels = Y2 if scoring == "average_precision" else np.array(["no", "yes"])[Y2]
    model = SoftmaxRegressionCV(CS, cv=4, scoring=scoring).fit(X2, labels)
    expected = [
        cross_val_score(SoftmaxRegression(C), X2, labels, cv=4, scoring=scoring) for C in CS
    ]
    np.testing.assert_allclose(model.scores_[:, 0], np.transpose(expected), rtol=1e-3)


def held_out_share(estimator, X, y):
    """A callable scorer: the mean probability of the true class; X is what was passed."""
    assert X.columns.tolist() == list("abcd")
    P = estimator.predict_proba(X)
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), P)
    assert estimator.decision_function(X).shape == P.shape
    return P[np.arange(len(P)), np.searchsorted(estimator.classes_, y)].mean()


@pytest.mark.parametrize(
    "scoring",
    [
        held_out_share,
        "roc_auc_ovr",
        "f1_macro",
        "top_k_accuracy",
        make_scorer(log_loss, response_method="predict_proba", greater_is_better=False),
        make_scorer(accuracy_score),
    ],
    ids=["callable", "roc_auc_ovr", "f1_macro", "top_k", "made of losses", "made"],
)
def test_callables_score_as_in_cross_val_score(scoring):
    """Three classes, a data frame: scorers get the rows and labels that were passed."""
    frame, labels = pd.DataFrame(X3, columns=list("abcd")), pd.Series(TREES[Y3], name="tree")
    model = SoftmaxRegressionCV(CS, cv=4, scoring=scoring).fit(frame, labels)
    expected = [
        cross_val_score(SoftmaxRegression(C), frame, labels, cv=4, scoring=scoring) for C in CS
    ]
    np.testing.assert_allclose(model.scores_[:, 0], np.transpose(expected), rtol=1e-3)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csr_matrix, pd.DataFrame, list])
def test_scorers_take_rows_in_any_container(container):
    """Arrays, sparse matrices, frames and lists of rows are split as they are."""
    X = X3.tolist() if container is list else container(X3)
    y = Y3.tolist() if container is list else Y3
    model = SoftmaxRegressionCV([1.0], cv=4, scoring="accuracy").fit(X, y)
    expected = cross_val_score(SoftmaxRegression(), X3, Y3, cv=4)
    np.testing.assert_allclose(model.scores_[:, 0, 0], expected)


@pytest.mark.parametrize("container", [sp.coo_array, sp.coo_matrix, sp.dia_array, sp.bsr_array])
def test_scorers_take_rows_in_any_sparse_format(container):
    """Formats that cannot be indexed, which the plain estimator takes, are split all the same."""
    X = container(np.where(np.abs(X3) > 1, X3, 0)[:, :2])
    model = SoftmaxRegressionCV([1.0], cv=4, scoring="accuracy").fit(X, Y3)
    expected = cross_val_score(SoftmaxRegression(), sp.csr_array(X), Y3, cv=4)
    np.testing.assert_allclose(model.scores_[:, 0, 0], expected)


@pytest.mark.parametrize("container", [sp.csr_array, sp.coo_array, sp.csc_matrix, sp.coo_matrix])
@pytest.mark.parametrize("per_label", [False, True])
def test_scorers_take_sparse_labels_in_any_format(container, per_label):
    """Formats of Y that the plain estimator takes are scored all the same."""
    options = {"cv": FOLDS[120], "scoring": "accuracy", "per_label": per_label}
    dense = SigmoidRegressionCV([1.0], **options).fit(A, ANSWERS)
    sparse = SigmoidRegressionCV([1.0], **options).fit(A, container(ANSWERS))
    np.testing.assert_allclose(sparse.scores_[:, 0], dense.scores_[:, 0])
    assert sp.issparse(sparse.predict(A))


def test_labels_are_scored_as_in_cross_val_score():
    """Scorers of multi-label predictions get all labels of a row together."""
    for scoring in ("accuracy", "f1_micro", "roc_auc", "average_precision"):
        model = SigmoidRegressionCV(CS, cv=4, scoring=scoring).fit(A, ANSWERS)
        scores = (
            cross_val_score(SigmoidRegression(C), A, ANSWERS, cv=4, scoring=scoring) for C in CS
        )
        np.testing.assert_allclose(model.scores_[:, 0], np.transpose(list(scores)), rtol=1e-3)


def test_two_labels_are_scored_as_labels():
    """L = 2 is no case of two classes: ranking metrics see both columns."""
    Y = ANSWERS[:, :2]
    model = SigmoidRegressionCV([1.0], cv=FOLDS[120], scoring="roc_auc").fit(A, Y)
    expected = [
        roc_auc_score(Y[test], SigmoidRegression().fit(A[train], Y[train]).predict_proba(A[test]))
        for train, test in FOLDS[120]
    ]
    np.testing.assert_allclose(model.scores_[:, 0, 0], expected, rtol=1e-3)


def test_thresholds_count_in_scores_of_predictions():
    """A low threshold says yes more often, in the folds as in predict."""
    for threshold in (0.2, [0.1, 0.5, 0.8]):
        model = SigmoidRegressionCV(CS, cv=4, scoring="f1_macro", threshold=threshold)
        plain = (SigmoidRegression(C, threshold=threshold) for C in CS)
        scores = [cross_val_score(m, A, ANSWERS, cv=4, scoring="f1_macro") for m in plain]
        np.testing.assert_allclose(
            model.fit(A, ANSWERS).scores_[:, 0], np.transpose(scores), rtol=1e-3
        )


# --- what is reported ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classes", "labels"])
def test_means_and_standard_errors_are_those_of_the_folds(name):
    """mean_score_ is the mean over the folds, se_score_ the deviation over the root of folds."""
    _, folds, model = crossed(name)
    np.testing.assert_allclose(model.mean_score_[0], model.scores_[:, 0].mean(axis=0), rtol=1e-14)
    error = model.scores_[:, 0].std(axis=0, ddof=1) / np.sqrt(len(folds))
    np.testing.assert_allclose(model.se_score_[0], error, rtol=1e-13)
    assert model.mean_score_[0].shape == model.se_score_[0].shape == (3,)


def test_one_fold_has_no_standard_error():
    """A single split: its score is the mean, the error unknown."""
    model = SoftmaxRegressionCV(CS, cv=FOLDS[120][:1]).fit(X3, Y3)
    assert model.scores_[:, 0].shape == (1, 3) and np.isnan(model.se_score_[0]).all()
    np.testing.assert_array_equal(model.mean_score_[0], model.scores_[0, 0])


NAMES = ["fold", "l1_ratio", "C"]


@pytest.mark.parametrize("name", ["classes", "labels"])
def test_results_are_the_scores_in_long_form(name):
    """results_ has one row for each fold, ratio and C, with the score that scores_ holds."""
    *_, model = crossed(name)
    table = model.results_
    assert isinstance(table, pd.DataFrame) and list(table) == [*NAMES, "n_features", "score"]
    wide_form = table.pivot(index="fold", columns="C", values="score")
    np.testing.assert_array_equal(wide_form.to_numpy(), model.scores_[:, 0])
    np.testing.assert_array_equal(wide_form.columns, model.Cs_)
    np.testing.assert_array_equal(wide_form.index, range(4))


def test_results_name_the_labels():
    """With per_label each label's scores have rows of their own."""
    table = pd.DataFrame(ANSWERS, columns=["red", "green", "blue"])
    model = SigmoidRegressionCV(CS, cv=4, per_label=True).fit(A, table)
    results = model.results_
    assert list(results) == [*NAMES, "label", "n_features", "score"] and len(results) == 4 * 3 * 3
    for label, name in enumerate(table):
        scores = results[results["label"] == name].pivot(index="fold", columns="C", values="score")
        np.testing.assert_array_equal(scores, model.scores_[:, 0, :, label])


def test_strengths_are_sorted_and_each_tried_once():
    """Cs in any order, repeated, of any kind of sequence: Cs_ ascends and the path follows."""
    expected = SoftmaxRegressionCV([0.1, 1, 10], cv=3).fit(X3, Y3)
    for Cs in ((10, 0.1, 1), np.array([1, 10, 0.1, 10]), pd.Series([10, 1, 0.1], index=[5, 3, 9])):
        model = SoftmaxRegressionCV(Cs, cv=3).fit(X3, Y3)
        np.testing.assert_array_equal(model.Cs_, [0.1, 1, 10])
        np.testing.assert_array_equal(model.scores_[:, 0], expected.scores_[:, 0])
        assert model.Cs is Cs


# --- choice -------------------------------------------------------------------------------------


class Scripted:
    """A scorer that gives each fold the scores of a script, C after C, whatever the model."""

    def __init__(self, scores):
        self.left = np.array(scores, dtype=float).T.ravel().tolist()

    def __call__(self, estimator, X, y):
        return self.left.pop(0)


CHOICES = {
    # scores (folds, Cs); chosen by "best" and by "1se", by hand
    "the middle is best, by more than an error": ([[0, 5, 4], [0, 7, 4]], 1, 1),  # 6 +- 1; 4
    "the least within an error of the best": ([[0, 4, 4], [0, 5, 7]], 2, 1),  # 5.5 +- 1.5; 4.5
    "equals: the smallest C": ([[3, 3, 3], [5, 5, 5]], 0, 0),
    "two equals": ([[1, 8, 8], [1, 8, 8]], 1, 1),
    "exactly one error below": ([[4, 0, 4], [4, 0, 6]], 2, 0),  # 5 +- 1; 4
    "no spread": ([[1, 2, 3], [1, 2, 3]], 2, 2),
    "the error is the best one's": ([[-9, 3, 3.9], [9, 3, 4.1]], 2, 2),  # 4 +- 0.1; 0 +- 9
    "within an error only beyond the best": ([[0, 5, 5], [0, 7, 6]], 1, 1),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_choice_is_the_best_mean_or_the_least_c_within_its_error(case):
    """By hand: the best mean, the smallest of equals; "1se": the smallest C within its error."""
    scores, best, within = CHOICES[case]
    for select, place in (("best", best), ("1se", within)):
        model = SoftmaxRegressionCV(CS, cv=2, select=select, scoring=Scripted(scores)).fit(X3, Y3)
        np.testing.assert_array_equal(model.scores_[:, 0], scores)
        assert isinstance(model.C_, float) and CS.index(model.C_) == place
        np.testing.assert_array_equal(model.coef_, model.coef_path_[0, place])


# --- grids --------------------------------------------------------------------------------------

GRIDS = {
    "classes": SETTINGS["classes"],
    "two classes": SETTINGS["two classes"],
    "weights": SETTINGS["weights"],
    "soft targets": SETTINGS["soft targets"],
    "offset": SETTINGS["offset"],
    "wide": SETTINGS["wide"],
    "sparse": SETTINGS["sparse"],
    "labels": SETTINGS["labels"],
    "unknown labels": SETTINGS["unknown labels"],
    "no intercept": SETTINGS["no intercept"],
    "wine": softmax(*load_wine(return_X_y=True)),
    "breast cancer": softmax(*load_breast_cancer(return_X_y=True)),
    "iris": softmax(*load_iris(return_X_y=True)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_begins_where_the_null_model_is_nearly_the_best(name):
    """At Cs_[0] no model is more than 1 % better than the null model, nor is it far too small."""
    setting = GRIDS[name]
    model = setting.cv(5, cv=2)
    assert model.Cs_.shape == (5,)
    np.testing.assert_allclose(np.diff(np.log(model.Cs_), 2), 0, atol=1e-9)
    null = setting.plain(1e-30 * model.Cs_[0]).objective_
    assert setting.plain(model.Cs_[0]).objective_ >= 0.99 * null
    assert setting.plain(1e3 * model.Cs_[0]).objective_ < 0.99 * null
    assert model.Cs_[-1] >= 10 * model.Cs_[0]


@pytest.mark.parametrize("name", ["classes", "two classes", "wide", "sparse", "labels"])
def test_the_grid_scales_with_the_units_of_the_columns(name):
    """X times a has the grid divided by a^2: the same models are tried."""
    setting = GRIDS[name]
    grid, scaled = setting.cv(4, cv=2).Cs_, setting._replace(X=setting.X * 64.0).cv(4, cv=2).Cs_
    np.testing.assert_allclose(scaled, grid / 64.0**2, rtol=1e-9)


@pytest.mark.parametrize("load", [load_iris, load_wine, partial(load_digits, n_class=6)])
def test_the_grid_holds_the_best_strength(load):
    """The best mean score lies neither at the first nor at the last C."""
    X, y = load(return_X_y=True)
    X, y = X[:300], y[:300]
    model = SoftmaxRegressionCV(10, cv=3).fit(X, y)
    assert 0 < np.argmax(model.mean_score_[0]) < 9


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
@pytest.mark.parametrize("name", ["classes", "two classes", "labels"])
def test_a_weight_of_two_is_the_row_twice_in_the_same_fold(name, scoring):
    """Whole weights, zero among them, are as many rows: in the fits and in the scores."""
    setting = SETTINGS[name]
    times = np.random.default_rng(6).integers(0, 3, 120)
    fold = np.arange(120) % 4
    weighted = setting._replace(terms={"sample_weight": times}).cv(
        cv=PredefinedSplit(fold), scoring=scoring, **TIGHT
    )
    rows = np.repeat(np.arange(120), times)
    repeated = setting._replace(X=setting.X[rows], y=setting.y[rows]).cv(
        cv=PredefinedSplit(fold[rows]), scoring=scoring, **TIGHT
    )
    np.testing.assert_allclose(weighted.scores_[:, 0], repeated.scores_[:, 0], rtol=1e-4)
    np.testing.assert_allclose(weighted.coef_path_[0], repeated.coef_path_[0], **SAME)


@pytest.mark.parametrize("name", ["classes", "labels"])
def test_rows_of_weight_zero_do_not_count(name):
    """However far out they lie, in whichever part of a fold they are."""
    setting = SETTINGS[name]
    kept = np.random.default_rng(7).random(120) < 0.8
    fold = np.arange(120) % 3
    far = np.where(kept[:, None], setting.X, 1e3)
    weighted = setting._replace(X=far, terms={"sample_weight": kept}).cv(
        cv=PredefinedSplit(fold), **TIGHT
    )
    rows = np.flatnonzero(kept)
    without = setting._replace(X=setting.X[rows], y=setting.y[rows]).cv(
        cv=PredefinedSplit(fold[rows]), **TIGHT
    )
    np.testing.assert_allclose(weighted.scores_[:, 0], without.scores_[:, 0], rtol=1e-4)
    np.testing.assert_allclose(weighted.coef_path_[0], without.coef_path_[0], **SAME)


def test_balanced_class_weights_are_those_of_all_rows():
    """Found once, from all rows, and the same in every fold; scores do not count them."""
    y = np.where(np.arange(120) % 5 == 0, Y3, 0)
    factors = dict(enumerate(120 / (3 * np.bincount(y))))
    folds = list(StratifiedKFold(2).split(X3, y))
    setting = softmax(X3, y, {"class_weight": factors})
    balanced = softmax(X3, y, {"class_weight": "balanced"}).cv(cv=folds)
    expected = np.stack([setting.losses(C, folds) for C in CS], axis=1)
    assert_scores(balanced.scores_[:, 0], expected)


def test_balanced_labels_are_weighted_as_in_all_rows():
    """A yes and a no of each label count half of it, as found from all rows."""
    Y = ANSWERS * (np.arange(120) % 3 > 0)[:, None]
    yes = Y.sum(axis=0)
    weight = np.where(Y > 0, 60 / yes, 60 / (120 - yes))
    folds = FOLDS[120]
    model = sigmoid(A, Y, {"class_weight": "balanced"}).cv([1.0], cv=folds)
    expected = []
    for train, test in folds:
        plain = SigmoidRegression().fit(A[train], Y[train], sample_weight=weight[train])
        expected.append([-sigmoid(A, Y)._loss(plain, test, None)])
    assert_scores(model.scores_[:, 0], expected)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_all_weights_scales_c_and_changes_no_score(scale):
    """sample_weight t s at C / t: the scores of s at C."""
    setting = SETTINGS["weights"]
    other = setting._replace(terms={"sample_weight": scale * WEIGHTS})
    one, two = setting.cv(cv=4), other.cv(np.array(CS) / scale, cv=4)
    np.testing.assert_allclose(two.scores_[:, 0], one.scores_[:, 0], rtol=1e-4)


# --- folds --------------------------------------------------------------------------------------

SPLITTERS = {
    "shuffled and partial": ShuffleSplit(5, train_size=0.5, test_size=0.2, random_state=0),
    "repeated": RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
    "in time": TimeSeriesSplit(4),
    "stratified": StratifiedKFold(6, shuffle=True, random_state=1),
    "given": PredefinedSplit(np.arange(120) % 5 - 1),
    "a number": 7,
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_any_splitter_is_taken(name):
    """Folds may overlap each other, leave rows out of both parts, or repeat."""
    cv = SPLITTERS[name]
    model = SoftmaxRegressionCV([0.1, 1.0], cv=cv).fit(X3, TREES[Y3])
    scoring = make_scorer(
        log_loss, response_method="predict_proba", greater_is_better=False, labels=TREES
    )
    expected = [
        cross_val_score(SoftmaxRegression(C), X3, TREES[Y3], cv=cv, scoring=scoring)
        for C in model.Cs_
    ]
    assert_scores(model.scores_[:, 0], np.transpose(expected))


def test_folds_by_indices_masks_and_from_the_end_are_the_same():
    """(train, test) as indices, boolean masks, negative indices, lists, or from a generator."""
    folds = FOLDS[120]
    expected = SoftmaxRegressionCV(CS, cv=folds).fit(X3, Y3)
    masks = [tuple(np.isin(np.arange(120), part) for part in fold) for fold in folds]
    last = [tuple(part - 120 for part in fold) for fold in folds]
    lists = [tuple(part.tolist() for part in fold) for fold in folds]
    for cv in (masks, last, lists, (fold for fold in folds)):
        model = SoftmaxRegressionCV(CS, cv=cv).fit(X3, Y3)
        np.testing.assert_allclose(model.scores_[:, 0], expected.scores_[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", ["classes", "two classes", "labels", "weights"])
def test_rows_that_a_fold_learns_twice_count_twice(name):
    """Bootstrap: train indices repeat, the rows out of the bag are scored."""
    setting, rng, folds = SETTINGS[name], np.random.default_rng(8), []
    for _ in range(4):
        train = rng.integers(120, size=120)
        folds.append((train, np.setdiff1d(np.arange(120), train)))
    expected = np.stack([setting.losses(C, folds) for C in CS], axis=1)
    assert_scores(setting.cv(cv=folds).scores_[:, 0], expected)


def test_groups_stay_together():
    """Splitters of groups get them from fit."""
    groups = np.arange(120) // 7
    model = SoftmaxRegressionCV(CS, cv=GroupKFold(4)).fit(X3, Y3, groups=groups)
    folds = list(GroupKFold(4).split(X3, Y3, groups))
    expected = np.stack([SETTINGS["classes"].losses(C, folds) for C in CS], axis=1)
    assert_scores(model.scores_[:, 0], expected)


class OfXAndY(KFold):
    """A splitter that looks at what it splits, as those for labels and by columns do."""

    def split(self, X, y=None, groups=None):
        self.seen = (X, y)
        return super().split(X, y, groups)


@pytest.mark.parametrize("name", ["classes", "labels", "soft targets", "sparse labels"])
def test_splitters_see_the_rows_and_their_answers(name):
    """split(X, y) gets X and y, also where y has columns (stratifying labels needs them)."""
    setting, cv = SETTINGS[name], OfXAndY(3)
    setting.cv(cv=cv)
    X, y = cv.seen
    np.testing.assert_array_equal(np.shape(X), setting.X.shape)
    assert y is not None and np.shape(y) == setting.y.shape


def test_folds_are_stratified_for_classes_and_consecutive_for_columns():
    """cv=int: StratifiedKFold for one class a row, KFold for probabilities and labels."""
    for name, folds in [
        ("classes", StratifiedKFold(4).split(X3, Y3)),
        ("one class against the rest", StratifiedKFold(4).split(X3, Y3)),
        ("soft targets", KFold(4).split(X3)),
        ("labels", KFold(4).split(A)),
    ]:
        setting = SETTINGS[name]
        expected = setting.cv(cv=list(folds))
        np.testing.assert_array_equal(setting.cv(cv=4).scores_[:, 0], expected.scores_[:, 0])


# --- classes that a fold lacks ------------------------------------------------------------------


def assert_regular(model):
    """All folds and Cs have a finite score and coefficients."""
    assert np.isfinite(model.scores_[:, 0]).all() and np.isfinite(model.coef_path_[0]).all()
    assert np.isfinite(model.mean_score_[0]).all()


@pytest.mark.parametrize("weights", [np.ones(120), WEIGHTS + 0.1], ids=["plain", "weights"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("unseen", [[1], [0, 3], [0, 1, 3]], ids=str)
def test_a_class_that_a_fold_lacks_has_jeffreys_prior(unseen, fit_intercept, weights):
    """1/2 / (S + K/2) in every row; the others share the rest as a fit of them alone says."""
    X, y = overlapping(K=4, seed=8)
    train = np.flatnonzero(~np.isin(y, unseen) & (np.arange(120) % 3 > 0))
    test = np.setdiff1d(np.arange(120), train)
    model = SoftmaxRegressionCV(CS, cv=[(train, test)], fit_intercept=fit_intercept)
    model.fit(X, y, sample_weight=weights)
    assert_regular(model)
    if not fit_intercept:
        return  # documented for models with an intercept: others have an optimum
    share = 0.5 / (weights[train].sum() + 2)
    for i, C in enumerate(CS):
        P = np.full((len(test), 4), share)
        seen = np.setdiff1d(range(4), unseen)
        rest = 1 - len(unseen) * share
        P[:, seen] = rest
        if len(seen) > 1:
            # Of two classes the plain estimator has one row of weights, w = 2 w_k: it costs
            # ||w||^2 where two rows cost half of that.
            plain = SoftmaxRegression(2 * C if len(seen) == 2 else C)
            plain.fit(X[train], y[train], sample_weight=weights[train])
            P[:, seen] = rest * plain.predict_proba(X[test])
        losses = -np.log(P[np.arange(len(test)), y[test]])
        expected = -losses @ weights[test] / weights[test].sum()
        assert model.scores_[0, 0, i] == pytest.approx(expected, rel=1e-4)


def test_one_of_two_classes_that_a_fold_lacks_has_jeffreys_prior():
    """K = 2: probability 1/2 / (S + 1) in every row, at every C."""
    train = np.flatnonzero((Y2 == 1) & (np.arange(120) % 3 > 0))
    test = np.setdiff1d(np.arange(120), train)
    share = 0.5 / (len(train) + 1)
    for swap in (False, True):
        y = 1 - Y2 if swap else Y2
        model = SoftmaxRegressionCV(CS, cv=[(train, test)]).fit(X2, y)
        expected = np.mean(np.where(Y2[test] == 1, np.log(1 - share), np.log(share)))
        np.testing.assert_allclose(model.scores_[:, 0], np.full((1, 3), expected), rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_an_answer_that_a_fold_lacks_has_jeffreys_prior(shift):
    """Labels all no, all yes: the other answer has 1/2 / (S + 1), S being the known weight."""
    Y, train, test = ANSWERS.copy(), np.arange(80), np.arange(80, 120)
    Y[train, 0], Y[train, 1] = 0, 1
    Y[:30, 1] = np.nan
    offset = shift * OFFSET
    model = SigmoidRegressionCV(CS, cv=[(train, test)], per_label=True).fit(A, Y, offset=offset)
    no, yes = 0.5 / (80 + 1), 1 - 0.5 / (50 + 1)
    for label, p in ((0, no), (1, yes)):
        expected = np.mean(np.where(Y[test, label] == 1, np.log(p), np.log(1 - p)))
        np.testing.assert_allclose(model.scores_[0, 0, :, label], expected, rtol=1e-12)


def test_a_label_that_a_fold_knows_nothing_of_is_a_toss_up():
    """S = 0: Jeffreys' prior 1/2 / (0 + 1) is a half for either answer."""
    Y, train, test = ANSWERS.copy(), np.arange(80), np.arange(80, 120)
    Y[train, 1] = np.nan
    model = SigmoidRegressionCV(CS, cv=[(train, test)], per_label=True).fit(A, Y)
    np.testing.assert_allclose(model.scores_[0, 0, :, 1], np.log(0.5), rtol=1e-12)


def test_a_fold_that_knows_no_answer_is_left_out():
    """Held-out rows of which nothing is known have no score, with one C for all or one each."""
    Y = ANSWERS.copy()
    Y[:30] = np.nan
    for per_label in (False, True):
        model = SigmoidRegressionCV(CS, cv=4, per_label=per_label).fit(A, Y)
        assert np.isnan(model.scores_[0, 0]).all() and np.isfinite(model.scores_[1:, 0]).all()
        np.testing.assert_allclose(
            model.mean_score_[0], model.scores_[1:, 0].mean(axis=0), rtol=1e-13
        )
        error = model.scores_[1:, 0].std(axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(model.se_score_[0], error, rtol=1e-12)


def test_a_class_of_one_row_is_no_obstacle():
    """It is lacking in the fold that holds it out; all scores are there, without a warning."""
    y = Y3.copy()
    y[y == 2] = 1
    y[17] = 2
    model = SoftmaxRegressionCV(CS, cv=KFold(5, shuffle=True, random_state=0)).fit(X3, y)
    assert model.scores_[:, 0].shape == (5, 3)
    assert_regular(model)
    loo = SoftmaxRegressionCV(CS, cv="loo").fit(X3, y)
    assert loo.scores_[:, 0].shape == (120, 3)
    assert_regular(loo)


def test_many_classes_of_few_rows_are_scored():
    """Thirty classes of three rows: two to learn from and one to score, or a third lacking."""
    rng = np.random.default_rng(9)
    y = np.repeat(np.arange(30), 3)
    X = rng.normal(size=(90, 3)) + rng.normal(size=(30, 3))[y]
    test = np.arange(0, 90, 3)
    folds = [(np.setdiff1d(range(90), test), test), (np.arange(60), np.arange(60, 90))]
    model = SoftmaxRegressionCV(CS, cv=folds).fit(X, y)
    assert_regular(model)
    setting = softmax(X, y)
    expected = [setting.losses(C, folds[:1])[0] for C in CS]
    np.testing.assert_allclose(model.scores_[0, 0], expected, rtol=1e-3)
    np.testing.assert_allclose(model.scores_[1, 0], np.log(0.5 / (60 + 15)), rtol=1e-9)


# --- leave-one-out ------------------------------------------------------------------------------


def left_out(setting, C):
    """Scores of each row by a refit without it, to far below a percent."""
    folds = list(LeaveOneOut().split(range(setting.X.shape[0])))
    loose = setting._replace(parameters=setting.parameters | {"tol": 1e-5})
    return loose.losses(C, folds)


def shortened(setting, n=60):
    """The setting with its first rows alone."""
    X, y = setting.take_rows(slice(n))
    return setting._replace(X=X, y=y, terms=setting.terms_of(slice(n)))


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_leave_one_out_is_within_a_percent_of_refits(load):
    """Mean log loss on every other row of iris and raw wine at C <= 1."""
    X, y = load(return_X_y=True)
    setting, Cs = softmax(X[::2], y[::2]), [0.01, 1.0]
    model = setting.cv(Cs, cv="loo")
    assert model.scores_[:, 0].shape == (setting.X.shape[0], 2)
    expected = [left_out(setting, C).mean() for C in Cs]
    np.testing.assert_allclose(model.mean_score_[0], expected, rtol=0.01)
    np.testing.assert_allclose(model.mean_score_[0], model.scores_[:, 0].mean(axis=0), rtol=1e-13)
    error = model.scores_[:, 0].std(axis=0, ddof=1) / np.sqrt(len(model.scores_[:, 0]))
    np.testing.assert_allclose(model.se_score_[0], error, rtol=1e-12)


LEFT_OUT = [
    "two classes",
    "soft targets",
    "smoothed",
    "offset",
    "no intercept",
    "sparse",
    "wide",
    "labels",
    "one class against the rest",
]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_leave_one_out_of_every_kind_is_near_refits(name):
    """At C = 0.1, where one Newton step is nearly all of the way; less so of wide data."""
    setting = shortened(SETTINGS[name])
    model, expected = setting.cv([0.1], cv="loo"), left_out(setting, 0.1)
    assert model.scores_[:, 0].shape == (len(expected), 1)
    rtol = 0.05 if name == "wide" else 0.01
    np.testing.assert_allclose(model.mean_score_[0], expected.mean(), rtol=rtol)


def test_rows_count_their_weight_in_leave_one_out():
    """mean_score_ is the weighted mean; rows of weight zero have no score and do not count."""
    setting, weighty = SETTINGS["weights"], np.flatnonzero(WEIGHTS)
    model = setting.cv([0.01], cv="loo")
    np.testing.assert_array_equal(np.isnan(model.scores_[:, 0, 0]), WEIGHTS == 0)
    mean = model.scores_[weighty, 0, 0] @ WEIGHTS[weighty] / WEIGHTS.sum()
    assert model.mean_score_[0, 0] == pytest.approx(mean, rel=1e-13)
    kept = setting._replace(X=X3[weighty], y=Y3[weighty], terms={"sample_weight": WEIGHTS[weighty]})
    brute = left_out(kept, 0.01) @ WEIGHTS[weighty] / WEIGHTS.sum()
    assert model.mean_score_[0, 0] == pytest.approx(brute, rel=0.01)


@pytest.mark.parametrize("Cs", [[1.0], [0.1, 1.0, 10.0], [0.1, 1.0, 10.0, 20.0]], ids=len)
def test_weights_of_answers_count_in_leave_one_out(Cs):
    """Weights (n, L): the mean is that of all answers, each at its own weight."""
    weight = np.random.default_rng(10).uniform(size=(120, 3))
    model = SigmoidRegressionCV(Cs, cv="loo").fit(A, ANSWERS, sample_weight=weight)
    per_label = SigmoidRegressionCV(Cs, cv="loo", per_label=True).fit(
        A, ANSWERS, sample_weight=weight
    )
    expected = (per_label.scores_[:, 0] * weight[:, None]).sum(axis=(0, 2)) / weight.sum()
    np.testing.assert_allclose(model.mean_score_[0], expected, rtol=1e-10)
    label_means = (per_label.scores_[:, 0] * weight[:, None]).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(per_label.mean_score_[0], label_means, rtol=1e-12)


def test_unknown_answers_do_not_count_in_leave_one_out():
    """By "neg_log_loss" it is the mean over all known answers, however many a row has."""
    Y = with_holes(ANSWERS)
    model = SigmoidRegressionCV([1.0], cv="loo").fit(A, Y)
    per_label = SigmoidRegressionCV([1.0], cv="loo", per_label=True).fit(A, Y)
    np.testing.assert_array_equal(np.isnan(per_label.scores_[:, 0, 0]), np.isnan(Y))
    np.testing.assert_allclose(
        per_label.mean_score_[0, 0], np.nanmean(per_label.scores_[:, 0, 0], axis=0)
    )
    assert model.mean_score_[0, 0] == pytest.approx(
        np.nanmean(per_label.scores_[:, 0, 0]), rel=1e-12
    )


def test_leave_one_out_chooses_by_its_own_error():
    """select="1se" over rows: the smallest C whose mean is within the best one's error."""
    model = SoftmaxRegressionCV(8, cv="loo", select="1se").fit(X3, Y3)
    best = np.argmax(model.mean_score_[0])
    least = model.mean_score_[0, best] - model.se_score_[0, best]
    place = np.flatnonzero(model.mean_score_[0] >= least)[0]
    assert place <= best and model.Cs_.tolist().index(model.C_) == place


# --- a strength for each label ------------------------------------------------------------------

PER_LABEL = {
    "labels": SETTINGS["labels"],
    "unknown labels": SETTINGS["unknown labels"],
    "soft labels": SETTINGS["soft labels"],
    "sparse labels": SETTINGS["sparse labels"],
    "weighted labels": SETTINGS["weighted labels"],
    "weighted answers": SETTINGS["weighted answers"],
    "labels, offset": SETTINGS["labels, offset"],
    "labels, no intercept": SETTINGS["labels, no intercept"],
    "wide labels": SETTINGS["wide labels"],
}


@pytest.mark.parametrize("name", PER_LABEL)
def test_each_label_has_its_own_scores_and_strength(name):
    """scores_ (folds, Cs, labels) are those of refits; C_ the best of each label."""
    setting = PER_LABEL[name]
    folds = FOLDS[setting.X.shape[0]]
    model = setting.cv(cv=folds, per_label=True, **TIGHT)
    expected = np.stack(
        [
            np.stack([setting.losses(C, folds, label) for C in CS], axis=1)
            for label in range(setting.y.shape[1])
        ],
        axis=2,
    )
    assert_scores(model.scores_[:, 0], expected, share=NEARLY_SEPARATED if "wide" in name else 1e-3)
    np.testing.assert_array_equal(model.C_, np.array(CS)[expected.mean(axis=0).argmax(axis=0)])
    plain = setting.plain(model.C_, **TIGHT)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, plain.intercept_, atol=1e-5)
    np.testing.assert_allclose(model.label_objective_, plain.label_objective_, rtol=1e-8)
    assert model.objective_ == pytest.approx(plain.objective_, rel=1e-8)
    assert (model.label_optimality_gap_ <= 1e-8 * model.label_objective_).all()


@pytest.mark.parametrize("select", ["best", "1se"])
@pytest.mark.parametrize("cv", [4, "loo"])
def test_labels_chosen_together_are_those_chosen_one_by_one(cv, select):
    """per_label is L runs of one label each."""
    model = SigmoidRegressionCV(6, cv=cv, per_label=True, select=select).fit(A, ANSWERS)
    options = {"cv": KFold(4) if cv == 4 else cv, "select": select, **TIGHT}
    again = SigmoidRegressionCV(model.Cs_, per_label=True, **options).fit(A, ANSWERS)
    for label, y in enumerate(ANSWERS.T):
        alone = SigmoidRegressionCV(model.Cs_, **options).fit(A, y.astype(int))
        np.testing.assert_allclose(
            again.scores_[:, 0, :, label], alone.scores_[:, 0], rtol=1e-3, atol=1e-4
        )
        assert again.C_[label] == alone.C_
        np.testing.assert_allclose(again.coef_[label], alone.coef_[0], **SAME)
    np.testing.assert_array_equal(model.C_, again.C_)


def test_labels_may_be_scored_one_by_one_by_any_scorer():
    """per_label with a scorer by name: of 0 and 1 of one label, where it is known."""
    Y = with_holes(ANSWERS)
    options = {"cv": FOLDS[120], "per_label": True, "threshold": [0.3, 0.5, 0.6]}
    for scoring, metric in [
        ("roc_auc", lambda y, p, _: roc_auc_score(y, p)),
        ("f1", lambda y, p, t: f1_score(y, p > t)),
        ("accuracy", lambda y, p, t: accuracy_score(y, p > t)),
    ]:
        model = SigmoidRegressionCV([1.0], scoring=scoring, **options).fit(A, Y)
        for fold, (train, test) in enumerate(FOLDS[120]):
            P = SigmoidRegression().fit(A[train], Y[train]).predict_proba(A[test])
            for label, threshold in enumerate(options["threshold"]):
                known = ~np.isnan(Y[test, label])
                expected = metric(Y[test, label][known], P[known, label], threshold)
                assert model.scores_[fold, 0, 0, label] == pytest.approx(expected, rel=1e-3)


def test_weights_of_answers_count_in_scores_of_each_label():
    """per_label, weights (n, L): a scorer gets the weights of its label."""
    weight = np.random.default_rng(11).uniform(size=(120, 3))
    model = SigmoidRegressionCV([1.0], cv=FOLDS[120], per_label=True, scoring="accuracy")
    model.fit(A, ANSWERS, sample_weight=weight)
    for fold, (train, test) in enumerate(FOLDS[120]):
        plain = SigmoidRegression().fit(A[train], ANSWERS[train], sample_weight=weight[train])
        for label, predicted in enumerate(plain.predict(A[test]).T):
            expected = accuracy_score(
                ANSWERS[test, label], predicted, sample_weight=weight[test, label]
            )
            assert model.scores_[fold, 0, 0, label] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scoring", "cv"), [("neg_log_loss", 3), ("neg_log_loss", "loo"), ("accuracy", 3)]
)
def test_classes_against_the_rest_may_each_have_their_own_strength(scoring, cv):
    """One class a row, per_label: each class is a label of its own, with its own C."""
    model = SigmoidRegressionCV(CS, cv=cv, per_label=True, scoring=scoring).fit(X3, TREES[Y3])
    assert model.C_.shape == (3,) and model.scores_[:, 0].shape[1:] == (3, 3)
    folds = list(StratifiedKFold(3).split(X3, Y3)) if cv == 3 else "loo"
    labels = SigmoidRegressionCV(CS, cv=folds, per_label=True, scoring=scoring)
    labels.fit(X3, one_hot(Y3))
    np.testing.assert_allclose(model.scores_[:, 0], labels.scores_[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X3)[:3].shape, (3,))


def test_one_strength_for_all_labels_is_the_best_of_the_mean():
    """per_label=False: C_ is a number, the best of the mean over all answers."""
    model = SigmoidRegressionCV(6, cv=4).fit(A, ANSWERS)
    assert isinstance(model.C_, float)
    assert model.Cs_.tolist().index(model.C_) == model.mean_score_[0].argmax()


def test_a_label_known_in_one_fold_alone_has_no_error_and_its_best_strength():
    """With "1se" and a single known score of a label: no error is known, the best is chosen."""
    Y = ANSWERS.copy()
    Y[:, 1] = A[:, 0] > 0  # the weaker the penalty, the better
    Y[60:, 1] = np.nan
    folds = [(np.arange(30), np.arange(30, 60)), (np.arange(90), np.arange(90, 120))]
    options = {"cv": folds, "per_label": True}
    best = SigmoidRegressionCV(CS, **options).fit(A, Y)
    within = SigmoidRegressionCV(CS, select="1se", **options).fit(A, Y)
    assert np.isnan(within.se_score_[0, :, 1]).all() and np.isnan(within.scores_[1, 0, :, 1]).all()
    assert best.C_[1] == 100 == within.C_[1]


# --- all that scikit-learn does with an estimator -----------------------------------------------


@pytest.mark.parametrize("kind", CV)
def test_a_clone_has_the_parameters_and_nothing_else(kind):
    """Of a fitted estimator, its parameters as they were given."""
    model = kind([0.1, 1.0], cv=3, penalty_factor=[1, 2, 3, 4], select="1se").fit(X3, Y3)
    copy = clone(model)
    assert not [name for name in vars(copy) if name.endswith("_")]
    np.testing.assert_array_equal(copy.fit(X3, Y3).coef_, model.coef_)


@pytest.mark.parametrize("kind", CV)
def test_predictions_are_those_of_the_plain_model(kind):
    """Every method answers as the plain estimator at C_ does, offset and all."""
    terms = {"offset": OFFSET}
    setting = Setting(kind, X3, TREES[Y3], {}, terms)
    model = setting.cv(cv=3, **TIGHT)
    plain = setting.plain(model.C_, **TIGHT)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        np.testing.assert_allclose(
            getattr(model, method)(X3, OFFSET), getattr(plain, method)(X3, OFFSET), atol=1e-4
        )
    np.testing.assert_array_equal(model.predict(X3, OFFSET), plain.predict(X3, OFFSET))
    top = plain.predict_top_k(X3, 2, OFFSET)
    np.testing.assert_array_equal(model.predict_top_k(X3, 2, OFFSET), top)


def test_score_is_that_of_the_scoring():
    """score(X, y) is the score by `scoring`, weights and all: by default minus the log loss."""
    model = SoftmaxRegressionCV(CS, cv=3).fit(X3, TREES[Y3])
    P = model.predict_proba(X3)
    expected = -log_loss(TREES[Y3], P, sample_weight=WEIGHTS)
    assert model.score(X3, TREES[Y3], WEIGHTS) == pytest.approx(expected)
    few = Y3 != 1
    lacking = -log_loss(TREES[Y3][few], P[few], labels=TREES)
    assert model.score(X3[few], TREES[Y3][few]) == pytest.approx(lacking)
    accuracy = SoftmaxRegressionCV(CS, cv=3, scoring="accuracy").fit(X3, TREES[Y3])
    assert accuracy.score(X3, TREES[Y3]) == np.mean(accuracy.predict(X3) == TREES[Y3])
    with_offset = SoftmaxRegressionCV(CS, cv=3).fit(X3, Y3, offset=OFFSET)
    expected = -log_loss(Y3, with_offset.predict_proba(X3, OFFSET))
    assert with_offset.score(X3, Y3, offset=OFFSET) == pytest.approx(expected)


def test_score_of_labels_is_that_of_the_scoring():
    """Minus the mean log loss of all known answers, or the scorer's own."""
    Y = with_holes(ANSWERS)
    model = SigmoidRegressionCV(CS, cv=3, per_label=True).fit(A, Y)
    P, known = model.predict_proba(A), ~np.isnan(Y)
    losses = -np.where(Y == 1, np.log(P), np.log(1 - P))[known]
    assert model.score(A, Y) == pytest.approx(-losses.mean())
    subset = SigmoidRegressionCV(CS, cv=3, scoring="accuracy").fit(A, ANSWERS)
    assert subset.score(A, ANSWERS) == np.mean((subset.predict(A) == ANSWERS).all(axis=1))


@pytest.mark.parametrize("kind", CV)
def test_it_nests_in_a_pipeline_a_search_and_a_cross_validation(kind):
    """Nested cross-validation, over raw data, in a pipeline and under a grid search."""
    pipeline = make_pipeline(StandardScaler(), kind([0.1, 1.0], cv=3))
    scores = cross_validate(pipeline, X3, TREES[Y3], cv=3, error_score="raise")
    assert np.isfinite(scores["test_score"]).all() and (scores["test_score"] < 0).all()
    search = GridSearchCV(kind([0.1, 1.0], cv=3), {"fit_intercept": [True, False]}, cv=2)
    search.fit(X3, TREES[Y3])
    assert search.best_estimator_.C_ in (0.1, 1.0)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_offsets_and_groups_are_routed(routing):
    """Requested metadata reach fit behind a pipeline, and are split in a search around it."""
    groups = np.arange(120) // 6
    model = SoftmaxRegressionCV(CS, cv=GroupKFold(3))
    model.set_fit_request(sample_weight=True, groups=True, offset=True)
    model.set_score_request(sample_weight=True, offset=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    terms = {"sample_weight": WEIGHTS, "groups": groups, "offset": OFFSET}
    pipeline = make_pipeline(scaler, model).fit(X3, Y3, **terms)
    direct = SoftmaxRegressionCV(CS, cv=GroupKFold(3)).fit(
        StandardScaler().fit_transform(X3), Y3, **terms
    )
    np.testing.assert_allclose(pipeline[-1].scores_, direct.scores_, rtol=1e-6)
    outer = cross_validate(clone(model), X3, Y3, cv=2, params=terms, error_score="raise")
    assert np.isfinite(outer["test_score"]).all()


def test_weighted_scorers_score_with_routing_enabled(routing):
    """Scorers by name are given the weights, as without routing."""
    model = SoftmaxRegressionCV([1.0], cv=FOLDS[120], scoring="accuracy")
    model.fit(X3, Y3, sample_weight=WEIGHTS)
    for fold, (train, test) in enumerate(FOLDS[120]):
        plain = SoftmaxRegression().fit(X3[train], Y3[train], sample_weight=WEIGHTS[train])
        expected = plain.score(X3[test], Y3[test], sample_weight=WEIGHTS[test])
        assert model.scores_[fold, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("kind", CV)
def test_a_fitted_model_survives_pickling(kind):
    """pickle keeps parameters, fitted attributes, tables and predictions."""
    frame = pd.DataFrame(X3, columns=list("abcd"))
    model = kind(CS, cv=3).fit(frame, TREES[Y3])
    copy = pickle.loads(pickle.dumps(model))
    assert vars(copy).keys() == vars(model).keys()
    np.testing.assert_array_equal(copy.predict_proba(frame), model.predict_proba(frame))
    pd.testing.assert_frame_equal(copy.results_, model.results_)
    np.testing.assert_array_equal(model.feature_names_in_, list("abcd"))
    assert model.n_features_in_ == 4


@pytest.mark.parametrize("kind", CV)
def test_the_estimator_shows_itself_in_a_notebook(kind):
    """The HTML diagram and the text form name it and the parameters that were set."""
    model = kind([0.5, 2.5], select="1se")
    assert kind.__name__ in estimator_html_repr(model)
    assert repr(model) == f"{kind.__name__}(Cs=[0.5, 2.5], select='1se')"
    assert "2.5" in estimator_html_repr(make_pipeline(StandardScaler(), model.fit(X3, Y3)))


def test_names_of_columns_are_those_of_the_frame():
    """Class probabilities, or labels, in a DataFrame: its column names are the classes."""
    Y = pd.DataFrame(ANSWERS, columns=["red", "green", "blue"])
    model = SigmoidRegressionCV(CS, cv=3).fit(pd.DataFrame(A, columns=list("abcd")), Y)
    np.testing.assert_array_equal(model.classes_, ["red", "green", "blue"])
    shares = SoftmaxRegressionCV(CS, cv=3).fit(X3, pd.DataFrame(SOFT, columns=TREES))
    np.testing.assert_array_equal(shares.classes_, TREES)
    assert set(shares.predict(X3)) <= set(TREES)


@pytest.mark.parametrize("name", ["classes", "two classes", "labels", "wide", "sparse"])
def test_the_number_of_threads_changes_nothing_beyond_rounding(name):
    """One thread and two give the same scores and path."""
    setting = SETTINGS[name]
    one, two = (setting.cv(cv=4, n_jobs=n) for n in (1, 2))
    np.testing.assert_allclose(two.scores_[:, 0], one.scores_[:, 0], rtol=1e-6)
    np.testing.assert_allclose(two.coef_path_[0], one.coef_path_[0], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", CV)
def test_verbose_prints_a_line_for_each_strength(kind, capsys):
    """Each line holds C, the objective and the mean score; without verbose there is silence."""
    model = kind(CS, cv=3, verbose=1).fit(X3, Y3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, C, mean in zip(lines, CS, model.mean_score_[0], strict=True):
        assert line.startswith(f"[{kind.__name__}]")
        assert f"{C:.3g}" in line and f"{mean:.6g}" in line
    kind(CS, cv=3).fit(X3, Y3)
    assert capsys.readouterr().out == ""


def test_fitting_again_forgets_what_was_learned():
    """Attributes of an earlier fit do not outlive the next."""
    model = SigmoidRegressionCV(CS, cv=3, per_label=True).fit(A, ANSWERS)
    assert model.C_.shape == (3,)
    model.set_params(per_label=False, Cs=[1.0]).fit(X2, Y2)
    assert model.C_ == 1.0 and model.scores_[:, 0].shape == (3, 1) and model.coef_.shape == (1, 4)
    assert model.multilabel_ is False


# --- odd shapes ---------------------------------------------------------------------------------

rng = np.random.default_rng(12)
SEPARABLE = np.where(X3[:, 0] > 0, 1, 0)
ODD_SHAPES = {
    "two rows of a class": softmax(X3, np.where(np.arange(120) < 2, 7, np.minimum(Y3, 1))),
    "columns times 1e8": softmax(X3 * 1e8, Y3),
    "columns times 1e-8": softmax(X3 * 1e-8, Y3),
    "columns of 1e8 and 1e-8": softmax(X3 * [1e8, 1, 1e-8, 1], Y3),
    "far from zero": softmax(X3 + [1e6, -1e5, 0, 3e4], Y3),
    "one column": softmax(X3[:, :1], Y3),
    "a constant column alone": softmax(np.ones((120, 1)), Y3),
    "columns of zeros": softmax(np.zeros((120, 2)), Y3),
    "six rows": softmax(X3[:6], np.array([0, 1, 0, 1, 0, 1])),
    "separable": softmax(X3, SEPARABLE),
    "separable labels": sigmoid(X3, np.stack([SEPARABLE, Y3 == 1], axis=1) * 1.0),
    "columns of labels times 1e8": sigmoid(A * 1e8, ANSWERS),
    "rows twice": softmax(np.repeat(X3, 2, axis=0), np.repeat(Y3, 2)),
    "heavy tails": softmax(rng.standard_t(1.2, size=(120, 3)), Y3),
}


@pytest.mark.parametrize("Cs", [7, [1.0], [1e-8, 1.0, 1e8], [1e-12, 1e12]], ids=str)
@pytest.mark.parametrize("name", ODD_SHAPES)
def test_odd_shapes_have_finite_scores_and_no_warning(name, Cs):
    """Whatever the data, grid or spacing: a regular array of finite scores, certified fits."""
    model = ODD_SHAPES[name].cv(Cs, cv=KFold(3, shuffle=True, random_state=1))
    assert_regular(model)
    plain = ODD_SHAPES[name].plain(model.C_)
    assert model.converged_ and model.objective_ <= plain.objective_ * (1 + 1e-8) + 1e-15


@pytest.mark.parametrize("name", ["columns times 1e8", "columns times 1e-8", "heavy tails"])
def test_scores_of_odd_columns_are_those_of_refits(name):
    """Along the grid found from the data, those of plain fits."""
    setting = ODD_SHAPES[name]
    folds = FOLDS[120]
    model = setting.cv(5, cv=folds)
    expected = np.stack([setting.losses(C, folds) for C in model.Cs_], axis=1)
    assert_scores(model.scores_[:, 0], expected, share=NEARLY_SEPARATED)


@pytest.mark.parametrize("spacing", [1e2, 1e4, 1e8])
def test_scores_do_not_depend_on_what_else_is_tried(spacing):
    """A C has the same score alone as behind others far below it."""
    for name in ("classes", "two classes", "labels", "wide"):
        setting = SETTINGS[name]
        folds = FOLDS[setting.X.shape[0]]
        alone, behind = setting.cv([1.0], cv=folds), setting.cv([1 / spacing, 1.0], cv=folds)
        np.testing.assert_allclose(behind.scores_[:, 0, 1], alone.scores_[:, 0, 0], rtol=1e-3)


@pytest.mark.parametrize("seed", [26, 28])
def test_refits_of_heavy_tails_in_all_units_reach_their_optimum(seed):
    """A weak penalty, columns from 1 to 1e8: scores are those of plain fits, which converge.

    Probabilities below 2e-16 count as that, as in scikit-learn's log loss.
    """
    rng, y = np.random.default_rng(seed), np.arange(68) % 3
    X = rng.standard_t(1.5, size=(68, 20)) * 10.0 ** rng.uniform(0, 8, 20)
    folds, least = list(KFold(3).split(X)), np.log(np.finfo(float).eps)
    model = SoftmaxRegressionCV([1e4], cv=folds).fit(X, y)
    for fold, (train, test) in enumerate(folds):
        plain = SoftmaxRegression(1e4).fit(X[train], y[train])
        exact_log_p = plain.predict_log_proba(X[test])[np.arange(len(test)), y[test]]
        log_p = np.maximum(exact_log_p, least)
        assert model.scores_[fold, 0, 0] == pytest.approx(log_p.mean(), rel=0.02)
