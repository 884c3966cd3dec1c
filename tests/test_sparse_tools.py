"""What scikit-learn's tools make of sparse models: selection, searches, names, tables, copies."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import estimator_html_repr

from softreg import SigmoidRegression, SoftmaxRegression

WINE, CLASSES = load_wine(return_X_y=True, as_frame=True)
SCALED = (WINE - WINE.mean()) / WINE.std(ddof=0)
RAW = WINE * 10.0 ** np.arange(-6, 7)  # The smallest coefficients that are kept are below 1e-8.
GROUPS = {name: name[0] for name in WINE}
LASSO = SoftmaxRegression(C=0.02, l1_ratio=1, standardize=True, tol=1e-12)
KINDS = [LASSO, clone(LASSO).set_params(l1_groups="feature"), SigmoidRegression(0.02, l1_ratio=1)]


def support(model):
    """Which features have a coefficient that is not zero, (d,)."""
    return (model.coef_ != 0).any(axis=0)


# ---- Selection ----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", KINDS, ids=["lasso", "by feature", "labels"])
def test_select_from_model_keeps_what_has_a_coefficient_in_any_units(estimator):
    """With the least threshold above zero, from a fit of its own or one that is given."""
    X = SCALED if isinstance(estimator, SigmoidRegression) else RAW
    fitted = clone(estimator).fit(X, CLASSES)
    expected = X.columns[support(fitted)]
    assert 0 < len(expected) < 13
    for selector in (
        SelectFromModel(estimator, threshold=1e-300),
        SelectFromModel(fitted.sparsify().densify(), threshold=1e-300, prefit=True),
    ):
        selector.fit(X, CLASSES).set_output(transform="pandas")
        assert list(selector.get_feature_names_out()) == list(expected)
        pd.testing.assert_frame_equal(selector.transform(X), X[expected])


def test_select_from_model_in_a_pipeline_leaves_the_fit_to_what_was_selected():
    """A ridge on the lasso's choice of raw columns, whose names arrive there."""
    ridge = SoftmaxRegression(standardize=True)
    pipeline = make_pipeline(SelectFromModel(LASSO, threshold=1e-300), ridge)
    pipeline.set_output(transform="pandas").fit(RAW, CLASSES)
    chosen = RAW.columns[support(clone(LASSO).fit(RAW, CLASSES))]
    assert list(pipeline[-1].feature_names_in_) == list(chosen)
    direct = clone(ridge).fit(RAW[chosen], CLASSES)
    np.testing.assert_array_equal(pipeline.predict_proba(RAW), direct.predict_proba(RAW[chosen]))


@pytest.mark.parametrize("l1_groups", [None, "feature"])
def test_recursive_elimination_drops_zeros_first_and_changes_nothing_by_it(l1_groups):
    """Without a feature whose coefficients are zero the optimum is what it was."""
    lasso = clone(LASSO).set_params(l1_groups=l1_groups, standardize=False)
    whole = clone(lasso).fit(SCALED, CLASSES)
    kept = support(whole)
    selector = RFE(lasso, n_features_to_select=int(kept.sum())).fit(SCALED, CLASSES)
    np.testing.assert_array_equal(selector.support_, kept)
    assert list(selector.get_feature_names_out()) == list(SCALED.columns[kept])
    np.testing.assert_allclose(selector.estimator_.coef_, whole.coef_[:, kept], atol=1e-5)
    assert selector.estimator_.objective_ == pytest.approx(whole.objective_, rel=1e-9)


@pytest.mark.parametrize("l1_groups", [GROUPS, list(GROUPS.values())], ids=["names", "labels"])
def test_recursive_elimination_says_why_it_cannot_have_groups_of_columns(l1_groups):
    """It hands over arrays of fewer and fewer columns, which no label or name fits any more."""
    with pytest.raises(ValueError, match="l1_groups .*column"):
        RFE(clone(LASSO).set_params(l1_groups=l1_groups)).fit(WINE, CLASSES)


# ---- Sparse coefficients ------------------------------------------------------------------------


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("estimator", KINDS, ids=["lasso", "by feature", "labels"])
def test_sparse_coefficients_answer_as_their_array_does(estimator, container):
    """Whatever X is; a pickle of them is smaller, and a fit makes them an array again."""
    wide = np.hstack([SCALED, np.random.default_rng(0).normal(size=(178, 200))])
    X = container(wide)
    dense, sparse = clone(estimator).fit(X, CLASSES), clone(estimator).fit(X, CLASSES).sparsify()
    assert sparse.coef_.nnz == np.count_nonzero(dense.coef_)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        expected = getattr(dense, method)(X)
        np.testing.assert_allclose(getattr(sparse, method)(X), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X))
    assert sparse.score(X, CLASSES) == dense.score(X, CLASSES)
    assert len(pickle.dumps(sparse)) < len(pickle.dumps(dense)) - dense.coef_.nbytes / 2
    np.testing.assert_array_equal(clone(estimator).fit(X, CLASSES).coef_, dense.coef_)
    assert isinstance(sparse.fit(X, CLASSES).coef_, np.ndarray)


# ---- Searches -----------------------------------------------------------------------------------


def test_a_search_over_shares_and_groups_scores_what_it_says():
    """Each pair by hand; groups are no groups, features, names and labels."""
    kinds = [None, "feature", GROUPS, np.array(list(GROUPS.values()))]
    grid = {"l1_ratio": [0.0, 0.5, 1.0], "l1_groups": kinds}
    folds = StratifiedKFold(2)
    lasso = clone(LASSO).set_params(C=0.1)
    search = GridSearchCV(lasso, grid, scoring="neg_log_loss", cv=folds, error_score="raise")
    search.fit(WINE, CLASSES)
    found = search.cv_results_["mean_test_score"]
    for params, score in zip(search.cv_results_["params"], found, strict=True):
        model, losses = clone(lasso).set_params(**params), []
        for train, test in folds.split(WINE, CLASSES):
            P = model.fit(WINE.iloc[train], CLASSES[train]).predict_proba(WINE.iloc[test])
            losses.append(log_loss(CLASSES[test], P))
        assert score == pytest.approx(-np.mean(losses), rel=1e-9)
    by_groups = found.reshape(4, 3)  # parameters in alphabetical order: groups first
    np.testing.assert_array_equal(by_groups[:, 0], by_groups[0, 0])  # the ridge has none
    np.testing.assert_array_equal(by_groups[2], by_groups[3])
    assert len(np.unique(by_groups[:3, 1:])) == 6
    assert search.best_score_ == found.max() and search.best_estimator_.proven_


# ---- Copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [dict, pd.Series])
def test_groups_by_name_survive_clones_and_pickles(container):
    """Before and after the fit, as parameter and in what a fit makes of it, whatever the order."""
    groups = container(dict(reversed(GROUPS.items())))
    model = clone(LASSO).set_params(l1_groups=groups, C=0.05).fit(WINE, CLASSES)
    by_label = clone(LASSO).set_params(l1_groups=list(GROUPS.values()), C=0.05)
    np.testing.assert_array_equal(model.coef_, by_label.fit(WINE, CLASSES).coef_)
    for copy in (
        clone(model),
        pickle.loads(pickle.dumps(model)),
        pickle.loads(pickle.dumps(LASSO)),
    ):
        if copy.l1_groups is not None:
            assert type(copy.l1_groups) is container and copy.l1_groups is not groups
            assert dict(copy.l1_groups) == GROUPS
            np.testing.assert_array_equal(copy.fit(WINE, CLASSES).coef_, model.coef_)
    assert "l1_groups" in repr(model) and "l1_groups" in estimator_html_repr(model)


# ---- Tables -------------------------------------------------------------------------------------


def answers(n=600):
    """Four questions with three answers each and an age; "pets" and "age" matter."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.choice(["no", "some", "yes"], (n, 4)), columns=list("ABCD"))
    table = table.rename(columns={"A": "pets", "B": "meat", "C": "cars", "D": "tea"})
    table["age"] = rng.integers(18, 90, n)
    score = 2 * (table["pets"] == "yes") + table["age"] / 20 + rng.logistic(size=n)
    return table, pd.qcut(score, 3, labels=["left", "middle", "right"]).astype(str)


def encoded(prefix):
    """Indicators of every answer beside the age, in a DataFrame."""
    one_hot = OneHotEncoder(sparse_output=False)
    columns = ColumnTransformer(
        [("asked", one_hot, ["pets", "meat", "cars", "tea"])],
        remainder="passthrough",
        verbose_feature_names_out=prefix,
    )
    return columns.set_output(transform="pandas")


@pytest.mark.parametrize("prefix", [False, True])
def test_questions_of_a_transformed_table_leave_together(prefix):
    """Groups and factors go by the names that a ColumnTransformer gives its columns."""
    table, y = answers()
    names = encoded(prefix).fit(table).get_feature_names_out()
    question = {name: name.split("__")[-1].split("_")[0] for name in names}
    assert set(question.values()) == {"pets", "meat", "cars", "tea", "age"}
    factor = {name: 20.0 for name in names if question[name] == "age"}
    model = SoftmaxRegression(0.05, l1_ratio=1, l1_groups=question, penalty_factor=factor)
    pipeline = make_pipeline(encoded(prefix), model).fit(table, y)
    is_in = pd.Series(support(pipeline[-1]), names).groupby(question)
    assert (is_in.all() == is_in.any()).all() and is_in.all()[["pets", "age"]].all()
    assert not is_in.any().all()

    by_hand = pd.get_dummies(table, dtype=float)  # the age comes first here
    labels = [name.split("_")[0] for name in by_hand]
    direct = SoftmaxRegression(
        0.05, l1_ratio=1, l1_groups=labels, penalty_factor=[20.0] + [1] * 12
    ).fit(by_hand, y)
    assert pipeline[-1].objective_ == pytest.approx(direct.objective_, rel=1e-7)
    np.testing.assert_allclose(
        pipeline.predict_proba(table), direct.predict_proba(by_hand), atol=1e-4
    )


def test_a_search_over_a_table_finds_groups_by_the_names_of_its_columns():
    """Through the names of the steps; the best model is the fit with these parameters."""
    table, y = answers()
    names = encoded(False).fit(table).get_feature_names_out()
    question = {name: name.split("_")[0] for name in names}
    model = SoftmaxRegression(0.05, l1_ratio=1, standardize=False)
    pipeline = make_pipeline(encoded(False), model)
    grid = {
        "softmaxregression__l1_groups": [None, "feature", question],
        "softmaxregression__l1_ratio": [0.5, 1.0],
    }
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3, error_score="raise")
    search.fit(table, y)
    best = clone(pipeline).set_params(**search.best_params_).fit(table, y)
    np.testing.assert_array_equal(search.predict_proba(table), best.predict_proba(table))


def test_selected_columns_keep_the_names_of_a_transformed_table():
    """One-hot names pass through the selection: whole questions with groups."""
    table, y = answers()
    names = encoded(False).fit(table).get_feature_names_out()
    question = {name: name.split("_")[0] for name in names}
    model = SoftmaxRegression(0.01, l1_ratio=1, l1_groups=question, standardize=True)
    pipeline = make_pipeline(encoded(False), SelectFromModel(model, threshold=1e-300))
    pipeline.set_output(transform="pandas").fit(table, y)
    selected = list(pipeline[-1].get_feature_names_out(names))
    assert selected == list(pipeline.transform(table).columns)
    kept = {question[name] for name in selected}
    assert {"pets", "age"} <= kept < set(question.values())
    assert selected == [name for name in names if question[name] in kept]
