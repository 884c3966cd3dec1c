"""Cross-validation of sparse models: scores are those of refits, and the choice is by their means.

Expected scores come from fits of the other rows alone, by the plain estimator or by scikit-learn.
"""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    from_sklearn,
    regularization_path,
)

X, y = load_iris(return_X_y=True)
X = np.column_stack([X, np.random.default_rng(0).normal(size=(150, 3))]) * [1, 10, 1, 0.1, 1, 1, 5]
FOLDS = list(StratifiedKFold(4, shuffle=True, random_state=1).split(X, y))
CS = [0.02, 0.2, 2.0]
RNG = np.random.default_rng(2)
WEIGHTS, OFFSET = RNG.uniform(0, 2, 150), RNG.normal(size=(150, 3))
NAMES = list("abcdefg")
# Before scikit-learn 1.8 a ratio needs a name beside it.
ELASTIC_NET = {"penalty": "elasticnet"} if LogisticRegression().l1_ratio is None else {}
GROUPS = dict(zip(NAMES, "ppqqrrs", strict=True))
SETTINGS = {
    "lasso": ({"l1_ratio": 1.0}, {}),
    "elastic net": ({"l1_ratio": 0.4}, {}),
    "by feature": ({"l1_ratio": 1.0, "l1_groups": "feature"}, {}),
    "groups by name": ({"l1_ratio": 0.7, "l1_groups": GROUPS, "standardize": True}, {}),
    "standardised": ({"l1_ratio": 1.0, "standardize": True}, {}),
    "factors": ({"l1_ratio": 1.0, "penalty_factor": {"a": 0.0, "c": 3.0}}, {}),
    "weights and offset": ({"l1_ratio": 0.5}, {"sample_weight": WEIGHTS, "offset": OFFSET}),
    "no intercept": ({"l1_ratio": 1.0, "fit_intercept": False}, {}),
}


def table(rows=slice(None)):
    """The columns by name."""
    return pd.DataFrame(X[rows], columns=NAMES)


def search(parameters, Cs=CS, **options):
    """The CV class with one ratio, that of a plain estimator's parameters."""
    others = {name: value for name, value in parameters.items() if name != "l1_ratio"}
    return SoftmaxRegressionCV(Cs, [parameters["l1_ratio"]], cv=FOLDS, **others | options)


def taken(terms, rows):
    """Weights and offsets of some rows."""
    return {name: values[rows] for name, values in terms.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_are_those_of_fits_without_the_fold(name):
    """To 1e-5; with `standardize` in the deviations of the rows that a fit learns from."""
    parameters, terms = SETTINGS[name]
    model = search(parameters).fit(table(), y, **terms)
    assert model.scores_.shape == (4, 1, 3)
    for at, C in enumerate(CS):
        plain = SoftmaxRegression(C, **parameters, tol=1e-12)
        for fold, (train, test) in enumerate(FOLDS):
            plain.fit(table(train), y[train], **taken(terms, train))
            P = plain.predict_proba(table(test), taken(terms, test).get("offset"))
            weight = taken(terms, test).get("sample_weight")
            expected = -log_loss(y[test], P, sample_weight=weight)
            assert model.scores_[fold, 0, at] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_path_holds_the_fits_to_all_rows(name):
    """F at each C, and which coefficients are zero; the model chosen is one of them, certified."""
    parameters, terms = SETTINGS[name]
    model = search(parameters).fit(table(), y, **terms)
    for at, C in enumerate(CS):
        plain = SoftmaxRegression(C, **parameters).fit(table(), y, **terms)
        np.testing.assert_allclose(model.coef_path_[0, at], plain.coef_, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(model.coef_path_[0, at] == 0, plain.coef_ == 0)
        assert model.n_features_path_[0, at] == (plain.coef_ != 0).any(axis=0).sum()
    chosen = SoftmaxRegression(model.C_, **parameters).fit(table(), y, **terms)
    assert model.objective_ == pytest.approx(chosen.objective_, rel=1e-8)
    assert model.converged_ and model.proven_
    assert model.l1_ratio_ == parameters["l1_ratio"]


def test_scores_are_those_of_scikit_learns_saga():
    """An independent solver, to its tolerance; axes are those of LogisticRegressionCV.

    Where all coefficients are zero saga leaves intercepts before they are at their optimum.
    """
    Z = StandardScaler().fit_transform(X)
    ratios = [0.5, 1.0]
    Cs = [0.1, 2.0]
    ours = SoftmaxRegressionCV(Cs, ratios, cv=FOLDS).fit(Z, y)
    assert ours.scores_.shape == (4, 2, 2) and ours.coef_path_.shape == (2, 2, 3, 7)
    options = {"solver": "saga", "tol": 1e-8, "max_iter": 100_000, "random_state": 0}
    for fold, (train, test) in enumerate(FOLDS):
        for row, ratio in enumerate(ratios):
            for at, C in enumerate(Cs):
                theirs = LogisticRegression(C=C, l1_ratio=ratio, **options)
                theirs.set_params(**ELASTIC_NET).fit(Z[train], y[train])
                expected = -log_loss(y[test], theirs.predict_proba(Z[test]))
                assert ours.scores_[fold, row, at] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("make", [sp.csr_array, np.float32], ids=["CSR", "float32"])
def test_forms_of_X_change_nothing(make):
    """CSR to rounding, single precision to its own."""
    counts = np.where(np.median(X, axis=0) < X, X, 0.0)
    given = counts.astype(np.float32) if make is np.float32 else make(counts)
    ours, expected = (search({"l1_ratio": 1.0}).fit(A, y) for A in (given, counts))
    atol = 1e-4 if make is np.float32 else 1e-6
    np.testing.assert_allclose(ours.scores_, expected.scores_, rtol=0, atol=atol)


def test_labels_are_scored_by_fits_of_their_own():
    """Unknown answers, weights for cells: each label as a lasso by itself, and chosen so."""
    Y = np.column_stack([y == 1, y == 2, X[:, 0] > 5.8]).astype(float)
    Y[RNG.random(Y.shape) < 0.1] = np.nan
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    options = {"cv": folds, "standardize": True}
    model = SigmoidRegressionCV(CS, (0, 0.5, 1), per_label=True, **options).fit(X, Y)
    assert model.scores_.shape == (3, 3, 3, 3) and model.C_.shape == model.l1_ratio_.shape == (3,)
    for label, column in enumerate(Y.T):
        for row, ratio in enumerate(model.l1_ratios_):
            for fold, (train, test) in enumerate(folds):
                train, test = train[~np.isnan(column[train])], test[~np.isnan(column[test])]
                scale = X[folds[fold][0]].std(axis=0)
                plain = SigmoidRegression(CS[1], l1_ratio=ratio, tol=1e-12)
                plain.fit(X[train] / scale, column[train].astype(int))
                expected = -log_loss(column[test], plain.predict_proba(X[test] / scale)[:, 1])
                assert model.scores_[fold, row, 1, label] == pytest.approx(expected, abs=1e-4)
        of_label = model.mean_score_[:, :, label]
        best = np.unravel_index(of_label.argmax(), of_label.shape)
        assert (
            model.C_[label] == CS[best[1]] and model.l1_ratio_[label] == model.l1_ratios_[best[0]]
        )
        np.testing.assert_array_equal(model.coef_[label], model.coef_path_[*best, label])
    together = SigmoidRegression(model.C_, standardize=True)
    with pytest.raises(ValueError, match="l1_ratio"):
        together.set_params(l1_ratio=model.l1_ratio_).fit(X, Y)


def test_each_ratio_has_the_grid_of_its_own_path():
    """An integer: from the largest C at which all is zero, down to a ridge's grid for 0."""
    model = SoftmaxRegressionCV(6, [0, 0.5, 1], cv=3, standardize=True).fit(X, y)
    assert model.Cs_.shape == (3, 6) and model.l1_ratios_.tolist() == [0, 0.5, 1]
    for row, ratio in enumerate([0.5, 1.0], 1):
        plain = SoftmaxRegression(l1_ratio=ratio, standardize=True)
        expected = regularization_path(X, y, 6, estimator=plain)
        np.testing.assert_allclose(model.Cs_[row], expected.Cs, rtol=1e-9)
        np.testing.assert_array_equal(model.n_features_path_[row], expected.n_nonzero_features)
        assert not model.coef_path_[row, 0].any() and model.coef_path_[row, 1].any()
    given = SoftmaxRegressionCV(CS, [0, 1], cv=3).fit(X, y)
    np.testing.assert_array_equal(given.Cs_, [CS, CS])


def test_the_ridge_alone_is_as_it_was():
    """l1_ratios=(0,), the default, has the bits of the ridge, also beside other ratios."""
    ridge = SoftmaxRegressionCV(CS, cv=FOLDS).fit(X, y)
    both = SoftmaxRegressionCV(CS, [1, 0], cv=FOLDS).fit(X, y)
    np.testing.assert_array_equal(both.scores_[:, 1], ridge.scores_[:, 0])
    np.testing.assert_array_equal(both.coef_path_[1], ridge.coef_path_[0])
    assert ridge.l1_ratio_ == 0.0 and ridge.l1_ratios_.tolist() == [0.0]
    assert ridge.Cs_.shape == (3,) and ridge.scores_.shape == (4, 1, 3)


def test_one_standard_error_takes_the_fewest_features_then_the_smallest_C():
    """Among all ratios and C whose mean score is that near to the best."""
    A, b = load_wine(return_X_y=True)
    options = {"cv": StratifiedKFold(10, shuffle=True, random_state=0), "standardize": True}
    best = SoftmaxRegressionCV(12, [0, 0.5, 1], l1_groups="feature", **options).fit(A, b)
    model = clone(best).set_params(select="1se").fit(A, b)
    place = np.unravel_index(model.mean_score_.argmax(), model.mean_score_.shape)
    near = model.mean_score_ >= model.mean_score_[place] - model.se_score_[place]
    assert (near & (model.l1_ratios_ > 0)[:, None]).sum() > 2
    candidates = [
        (model.n_features_path_[*index], model.Cs_[*index], *index) for index in np.argwhere(near)
    ]
    n_features, C, row, _ = min(candidates)
    assert (model.C_, model.l1_ratio_) == (C, model.l1_ratios_[row])
    assert (model.coef_ != 0).any(axis=0).sum() == n_features < 13
    assert best.Cs_[place] == best.C_ and best.l1_ratio_ == best.l1_ratios_[place[0]]


def test_of_equal_means_the_first_ratio_and_the_smallest_C_are_taken():
    """Columns that are constant: every fit is the null model."""
    model = SoftmaxRegressionCV(CS, [1, 0.5, 0], cv=3).fit(np.ones((150, 2)), y)
    assert (model.C_, model.l1_ratio_) == (CS[0], 1.0) and not model.n_features_path_.any()


@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize("select", ["best", "1se"])
def test_means_that_rounding_tells_apart_are_equal(ratio, select):
    """0.1 + 0.2 + 0.3 is more than 0.3 + 0.2 + 0.1: the smallest C is taken all the same."""

    def score(estimator, A, b):
        fold = len(b) // 10 - 4
        return [0.1, 0.2, 0.3][fold if np.abs(estimator.coef_).sum() > 0.5 else 2 - fold]

    order = np.random.default_rng(0).permutation(150)
    tests = np.split(order, [40, 90])
    folds = [(np.setdiff1d(order, test), test) for test in tests]
    model = SoftmaxRegressionCV([1e-4, 1.0], [ratio], cv=folds, scoring=score, select=select)
    model.fit(X, y)
    np.testing.assert_array_equal(model.scores_[:, 0], [[0.3, 0.1], [0.2, 0.2], [0.1, 0.3]])
    assert model.C_ == 1e-4


def test_a_fold_that_lacks_a_class_gives_it_its_prior():
    """The others share the rest as a fit of their rows alone says."""
    order = np.argsort(y, kind="stable")
    A, b = StandardScaler().fit_transform(X)[order], y[order]
    folds = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    model = SoftmaxRegressionCV(CS, [1.0], cv=folds).fit(A, b)
    for fold, (train, _) in enumerate(folds):
        share = 0.5 / (len(train) + 1.5)
        np.testing.assert_allclose(model.scores_[fold, 0], np.log(share), rtol=1e-9)
    mixed = [(np.arange(100), np.arange(40, 150)[60:]), (np.arange(100), np.arange(95, 150)[5:])]
    assert np.isfinite(SoftmaxRegressionCV(CS, [0.5], cv=mixed).fit(A, b).scores_).all()
    three = np.r_[0:30, 50:80]
    rest = np.setdiff1d(np.arange(150), three)
    model = SoftmaxRegressionCV(CS, [1.0], cv=[(three, rest)]).fit(A, b)
    two = SoftmaxRegression(CS[1], l1_ratio=1.0, classes=[0, 1, 2], tol=1e-12).fit(
        A[three], b[three]
    )
    share = 0.5 / (60 + 1.5)
    log_P = np.log(two.predict_proba(A[rest])[:, :2] * (1 - share))
    expected = np.where(b[rest] == 2, np.log(share), log_P[np.arange(90), np.minimum(b[rest], 1)])
    assert model.scores_[0, 0, 1] == pytest.approx(expected.mean(), abs=1e-5)


def test_no_penalty_stands_at_the_end_of_a_path():
    """C = inf is each fold's own fit without a penalty, whatever the ratio."""
    noisy = np.where(RNG.random(150) < 0.3, RNG.integers(0, 3, 150), y)
    folds = list(StratifiedKFold(3).split(X, noisy))
    ratios = SoftmaxRegressionCV([1.0, np.inf], [0, 1], cv=folds).fit(X, noisy)
    np.testing.assert_allclose(ratios.scores_[:, 0, 1], ratios.scores_[:, 1, 1], atol=1e-4)
    train, test = folds[0]
    plain = SoftmaxRegression(np.inf).fit(X[train], noisy[train])
    expected = -log_loss(noisy[test], plain.predict_proba(X[test]))
    assert ratios.scores_[0, 1, 1] == pytest.approx(expected, abs=1e-4)


def test_without_a_penalty_what_else_is_tried_has_no_effect():
    """Where classes are separated, too, and the fit has no end: it goes as a ridge's does."""
    options = {"cv": FOLDS, "tol": 1e-9}
    with pytest.warns(ConvergenceWarning, match="no optimum"):
        alone = SoftmaxRegressionCV([np.inf], [0], **options).fit(X, y)
    for ratio in (0.5, 1.0):
        for C in (0.1, 10.0):
            with pytest.warns(ConvergenceWarning, match=rf"C=\[inf\] with l1_ratio=\[{ratio}\]"):
                model = SoftmaxRegressionCV([C, np.inf], [ratio], **options).fit(X, y)
            np.testing.assert_allclose(model.scores_[:, 0, 1], alone.scores_[:, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scaling_all_weights_scales_c_and_changes_no_score(scale):
    """Of lasso and elastic net, as of the ridge: F is a weighted sum."""
    one, other = (
        SoftmaxRegressionCV(4, [0.5, 1], cv=FOLDS, standardize=True).fit(X, y, np.full(150, weight))
        for weight in (1.0, scale)
    )
    np.testing.assert_allclose(other.Cs_, one.Cs_ / scale, rtol=1e-9)
    np.testing.assert_allclose(other.scores_, one.scores_, rtol=1e-5)


def test_verbose_says_which_model_a_line_is_of(capsys):
    """Its ratio and C, before F and the mean score."""
    model = SoftmaxRegressionCV(CS, [0, 0.5], cv=3, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    for line, (row, at) in zip(lines, np.ndindex(2, 3), strict=True):
        assert f"] l1_ratio={[0, 0.5][row]}, C={CS[at]:g}: F = " in line
        assert line.endswith(f"score {model.mean_score_[row, at]:.6g}")


def test_results_have_a_row_for_each_score():
    """Fold, ratio, C, number of features and score, in the order of the arrays."""
    model = SoftmaxRegressionCV(4, [0.5, 1], cv=3, standardize=True).fit(X, y)
    results = model.results_
    assert list(results) == ["fold", "l1_ratio", "C", "n_features", "score"]
    assert len(results) == 3 * 2 * 4
    for fold, row, at in np.ndindex(3, 2, 4):
        chosen = (results["fold"] == fold) & (results["l1_ratio"] == [0.5, 1][row])
        line = results[chosen & (results["C"] == model.Cs_[row, at])]
        assert line["score"].item() == model.scores_[fold, row, at]
        assert line["n_features"].item() == model.n_features_path_[row, at]


def test_scorers_see_the_sparse_fit_without_the_fold():
    """`coef_`, and what it predicts; the classes are those of all rows."""
    seen = []

    def count(estimator, A, b):
        seen.append((estimator.coef_.copy(), estimator.classes_, estimator.predict(A)))
        return np.count_nonzero(estimator.coef_)

    model = SoftmaxRegressionCV([0.05], [1.0], cv=FOLDS, scoring=count).fit(X, y)
    for fold, (train, test) in enumerate(FOLDS):
        plain = SoftmaxRegression(0.05, l1_ratio=1.0).fit(X[train], y[train])
        coef, classes, predicted = seen[fold]
        np.testing.assert_array_equal(coef == 0, plain.coef_ == 0)
        np.testing.assert_array_equal(classes, [0, 1, 2])
        np.testing.assert_array_equal(predicted, plain.predict(X[test]))
        assert model.scores_[fold, 0, 0] == np.count_nonzero(plain.coef_)


def test_a_search_stands_inside_a_pipeline_inside_a_cross_validation():
    """Groups by the names that a ColumnTransformer gives; each outer fold chooses for itself."""
    frame = table().assign(level=pd.Series(RNG.integers(0, 4, 150)).map("wxyz".__getitem__))
    columns = make_column_transformer(
        (StandardScaler(), NAMES), (OneHotEncoder(), ["level"]), verbose_feature_names_out=False
    )
    groups = {f"level_{level}": "level" for level in "wxyz"} | {name: name for name in NAMES}
    columns.set_output(transform="pandas")
    columns.set_params(onehotencoder__sparse_output=False)
    inner = SoftmaxRegressionCV(5, [0.5, 1], l1_groups=groups, cv=3)
    scores = cross_val_score(make_pipeline(columns, inner), frame, y, cv=3, scoring="neg_log_loss")
    assert (scores > np.log(1 / 3)).all()


def test_l1_searches_of_scikit_learn_are_taken():
    """LogisticRegressionCV's ratios become ours, with its grid of C."""
    given = LogisticRegressionCV(
        Cs=3, l1_ratios=[0, 1], solver="saga", scoring="neg_log_loss", **ELASTIC_NET
    )
    ours = from_sklearn(given)
    assert type(ours) is SoftmaxRegressionCV and list(ours.l1_ratios) == [0, 1]
    np.testing.assert_allclose(ours.Cs, [1e-4, 1, 1e4])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"l1_ratios": []}, r"l1_ratios=\[\] must be one or more numbers"),
        ({"l1_ratios": [0, 1.5]}, r"l1_ratios=\[0, 1.5\] must be one or more numbers from 0"),
        ({"l1_ratios": [0, np.nan]}, "l1_ratios=.* must be one or more numbers from 0"),
        ({"l1_ratios": 0.5}, "l1_ratios=0.5 must be one or more numbers"),
        ({"l1_ratios": ["1"]}, "l1_ratios=.* must be one or more numbers"),
        ({"l1_ratios": None}, "l1_ratios=None must be one or more numbers"),
        ({"l1_ratios": [[0, 1]]}, r"l1_ratios=\[\[0, 1\]\] must be one or more numbers"),
        ({"l1_ratios": np.ma.array([0.5, 1], mask=[0, 1])}, "l1_ratios=.* must be one or more"),
        ({"Cs": np.ma.array([0.5, 1], mask=[0, 1])}, "Cs=.* must be an integer >= 1, or one or"),
        ({"l1_ratios": [1], "Cs": [1e-320]}, r"penalty overflows: .* must be finite, and 1e-320"),
        ({"l1_ratios": [1, 0, 1.0]}, r"l1_ratios=\[1, 0, 1.0\] must name each ratio once"),
        ({"Cs": [[1, 2], [3, 4]]}, r"Cs=\[\[1, 2\], \[3, 4\]\] must be an integer"),
        ({"l1_ratios": [1], "l1_groups": {"zz": 1}}, "l1_groups"),
        ({"l1_ratios": [1], "l1_groups": [0, 1]}, "l1_groups"),
        ({"l1_ratios": [1], "select": "1se", "cv": FOLDS[:1]}, '"1se" needs the standard error'),
    ],
)
def test_bad_parameters_are_refused_in_a_sentence(parameters, message):
    """It names the argument and its value; nothing is stored."""
    model = SoftmaxRegressionCV(**{"Cs": CS} | parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(table(), y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("groups", [None, "feature"])
def test_rows_left_out_alone_have_the_scores_of_their_refits(groups):
    """cv="loo": the mean log loss at each ratio and C is that of n refits, to 1 %."""
    A, b = StandardScaler().fit_transform(X[::3]), y[::3]
    parameters = {"l1_groups": groups}
    model = SoftmaxRegressionCV(CS, [0.5, 1], cv="loo", **parameters).fit(A, b)
    assert model.scores_.shape == (50, 2, 3)
    for row, ratio in enumerate([0.5, 1.0]):
        for at, C in enumerate(CS):
            plain = SoftmaxRegression(C, l1_ratio=ratio, **parameters)
            expected = cross_val_score(plain, A, b, cv=KFold(50), scoring=log_probability)
            assert model.mean_score_[row, at] == pytest.approx(expected.mean(), rel=0.01)
    assert model.Cs_[0][np.argmax(model.mean_score_.max(axis=0))] == model.C_


def log_probability(estimator, A, b):
    """The log probability of one row's class."""
    return np.log(estimator.predict_proba(A)[0, b[0]])
