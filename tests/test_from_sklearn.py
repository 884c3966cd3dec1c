"""`from_sklearn`: the estimator that comes back has the minimiser of the one that was given."""

import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from problems import centred, objective, one_hot, overlapping
from scipy.stats import loguniform
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import softreg
from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    from_sklearn,
)
from softreg._estimators import from_sklearn as module

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "from_scikit_learn.md"
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12}
# In 1.6 newton-cholesky misses the optimum of three classes after a warm start (F .656, not .645).
TIGHT_PATH = {"solver": "newton-cg", "tol": 1e-9, "max_iter": 1000}
HAS_MULTI_CLASS = "multi_class" in inspect.signature(LogisticRegression).parameters


def fitted(estimator, X, y, **params):
    """The estimator fitted; scikit-learn may speak of what it deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "Setting penalty=None|l1_ratios? parameter|Inconsistent")
        return estimator.fit(X, y, **params)


def tight(estimator):
    """The converted estimator, its optimum to rounding."""
    tols = {name: 1e-13 for name in estimator.get_params() if re.search(r"(^|__)tol$", name)}
    return estimator.set_params(**tols)


def labelled(n=150, seed=0):
    """Three labels of each row that overlap."""
    X, _ = overlapping(n=n, seed=seed)
    noise = np.random.default_rng(seed).logistic(size=(n, 3))
    return X, (X[:, :3] + noise > [0, 1, -1.5]).astype(int)


X3, y3 = overlapping(K=3, seed=3)
X2, y2 = overlapping(K=2, seed=2)
DATA = {2: (X2, np.array(["no", "yes"])[y2]), 3: (X3, np.array(["ash", "birch", "cedar"])[y3])}
WEIGHTS = {2: {"no": 0.3, "yes": 2.0}, 3: {"ash": 0.3, "birch": 2.0, "cedar": 1.0}}
XL, YL = labelled()

# ---- One model ---------------------------------------------------------------------------------

OPTIONS = {
    "defaults": {},
    "C": {"C": 0.05},
    "C of infinity": {"C": np.inf},
    "no penalty": {"penalty": None},
    "no penalty, whatever C": {"penalty": None, "C": 0.01},
    "penalty by name": {"penalty": "l2", "C": 3.0},
    "ratio 0": {"l1_ratio": 0, "C": 3.0},
    "no intercept": {"fit_intercept": False, "C": 0.1},
    "balanced": {"class_weight": "balanced", "C": 0.1},
    "weights of classes": {"class_weight": "dict"},
    "warm start": {"warm_start": True},
}


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_converted_estimator_has_the_minimiser_of_logistic_regression(K, options):
    """argmin F = argmin of LogisticRegression's objective: F and coefficients agree."""
    X, y = DATA[K]
    if options.get("class_weight") == "dict":
        options = options | {"class_weight": WEIGHTS[K]}
    theirs = fitted(LogisticRegression(**options, **TIGHT), X, y)
    converted = from_sklearn(LogisticRegression(**options, **TIGHT))
    assert type(converted) is SoftmaxRegression
    ours = tight(converted).fit(X, y)

    C = np.inf if "penalty" in options and options["penalty"] is None else options.get("C", 1.0)
    counts = pd.Series(y).value_counts()
    weight_of = {None: counts * 0 + 1.0, "balanced": len(y) / (K * counts)}
    given = options.get("class_weight")
    weights = pd.Series(given) if isinstance(given, dict) else weight_of[given]
    terms = {"C": C, "sample_weight": weights[y].to_numpy()}
    reached, least = (
        objective(model.coef_, model.intercept_, X, one_hot(y), **terms) for model in (ours, theirs)
    )
    assert reached <= least * (1 + 1e-12)
    for name in ("coef_", "intercept_"):
        np.testing.assert_allclose(
            getattr(ours, name), centred(getattr(theirs, name)), rtol=0, atol=1e-5
        )


def test_liblinear_without_an_intercept_has_the_same_minimiser():
    """What liblinear fits without an intercept is the optimum of any other solver."""
    X, y = DATA[2]
    theirs = LogisticRegression(
        C=0.3, solver="liblinear", dual=True, fit_intercept=False, tol=1e-10, max_iter=10000
    )
    ours = tight(from_sklearn(theirs)).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.fit(X, y).coef_, atol=1e-5)
    assert ours.intercept_ == 0


HAS_PENALTY_BY_NAME = LogisticRegression().get_params().get("penalty") == "l2"
SAGA = {"solver": "saga", "tol": 1e-12, "max_iter": 100_000, "random_state": 0}
SPARSE = {
    "lasso by name": ({"penalty": "l1", "C": 0.1}, 1.0),
    "elastic net": ({"penalty": "elasticnet", "l1_ratio": 0.3, "C": 0.03}, 0.3),
    "balanced": ({"penalty": "l1", "C": 0.1, "class_weight": "balanced"}, 1.0),
}
if not HAS_PENALTY_BY_NAME:
    SPARSE["lasso by number"] = {"l1_ratio": 1, "C": 0.1}, 1.0
    SPARSE["elastic net by number"] = {"l1_ratio": 0.3, "C": 0.03}, 0.3


def elastic_net(model, X, Y, ratio, C, sample_weight):
    """F of a fitted model with a sparse part."""
    ridge_C = np.inf if ratio == 1 else C / (1 - ratio)
    terms = {"C": ridge_C, "sample_weight": sample_weight}
    F = objective(model.coef_, model.intercept_, X, Y, **terms)
    return F + ratio * np.abs(model.coef_).sum() / (C * np.sum(sample_weight))


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_penalty_becomes_l1_ratio_with_the_same_minimiser(K, name):
    """F at softreg's optimum is never above that of saga, and saga's zeros are zeros."""
    (options, ratio), (X, y) = SPARSE[name], DATA[K]
    theirs = fitted(LogisticRegression(**options, **SAGA), X, y)
    converted = from_sklearn(LogisticRegression(**options, **SAGA))
    assert type(converted) is SoftmaxRegression and converted.l1_ratio == ratio
    ours = tight(converted).fit(X, y)
    counts = pd.Series(y).value_counts()
    weight = len(y) / (K * counts) if "class_weight" in options else counts * 0 + 1.0
    terms = one_hot(y), ratio, options["C"], weight[y].to_numpy()
    reached, least = (elastic_net(model, X, *terms) for model in (ours, theirs))
    assert least * (1 - 1e-9) <= reached <= least * (1 + 1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    assert np.array_equal(ours.coef_ == 0, theirs.coef_ == 0) and (ours.coef_ == 0).any()


def test_a_lasso_of_liblinear_without_an_intercept_has_the_same_minimiser():
    """Coordinate descent without an intercept ends at the optimum of the converted model."""
    X, y = DATA[2]
    theirs = LogisticRegression(
        C=0.1, penalty="l1", solver="liblinear", fit_intercept=False, tol=1e-10, max_iter=10000
    )
    ours = tight(from_sklearn(theirs)).fit(X, y)
    np.testing.assert_allclose(ours.coef_, fitted(theirs, X, y).coef_, atol=1e-6)


@pytest.mark.parametrize("penalty", ["l2", None])
def test_a_penalty_by_name_counts_before_the_number(penalty):
    """scikit-learn ignores l1_ratio beside "l2" and None, with a warning."""
    converted = from_sklearn(LogisticRegression(penalty=penalty, l1_ratio=0.5))
    assert converted.l1_ratio == 0 and np.isinf(converted.C) == (penalty is None)


def test_a_ratio_that_is_not_set_stays_an_error_of_fit():
    """An elastic net without a ratio is no model: neither program fits it."""
    given = LogisticRegression(penalty="elasticnet", solver="saga", l1_ratio=None)
    with pytest.raises(ValueError, match="l1_ratio"):
        fitted(given, *DATA[2])
    with pytest.raises(ValueError, match="l1_ratio=None"):
        from_sklearn(given).fit(*DATA[2])


@pytest.mark.parametrize("wrapper", [OneVsRestClassifier, MultiOutputClassifier])
def test_a_lasso_for_each_label_becomes_one_sigmoid_regression(wrapper):
    """Each row of coefficients is the lasso of its own label."""
    theirs = fitted(wrapper(LogisticRegression(penalty="l1", C=0.1, **SAGA)), XL, YL)
    ours = tight(from_sklearn(theirs)).fit(XL, YL)
    assert type(ours) is SigmoidRegression and ours.l1_ratio == 1
    expected = np.concatenate([model.coef_ for model in theirs.estimators_])
    np.testing.assert_allclose(ours.coef_, expected, atol=1e-5)


def test_what_only_a_solver_of_scikit_learn_reads_is_dropped():
    """solver, tol, max_iter, n_jobs, dual, random_state leave softreg's defaults."""
    kept = {"C": 2.0, "warm_start": True, "class_weight": "balanced"}
    dropped = {"solver": "sag", "tol": 1.0, "max_iter": 7, "n_jobs": 2, "random_state": 3}
    converted = from_sklearn(LogisticRegression(intercept_scaling=2.0, **kept, **dropped))
    assert converted.get_params() == SoftmaxRegression(**kept).get_params()


@pytest.mark.parametrize("name", ["auto", "deprecated"])
@pytest.mark.skipif(not HAS_MULTI_CLASS, reason="this scikit-learn has no multi_class")
def test_the_default_multi_class_is_softmax(name):
    """multi_class="auto" is what SoftmaxRegression is."""
    converted = from_sklearn(LogisticRegression(multi_class=name))
    assert converted.get_params() == SoftmaxRegression().get_params()


# ---- C by cross-validation ---------------------------------------------------------------------

CV_OPTIONS = {
    "defaults": {},
    "a count": {"Cs": 4, "cv": 3},
    "values": {"Cs": [0.01, 0.1, 1.0], "cv": StratifiedKFold(4, shuffle=True, random_state=0)},
    "log loss": {"scoring": "neg_log_loss", "Cs": [0.01, 1.0, 100.0]},
    "balanced": {"class_weight": "balanced", "Cs": 3, "fit_intercept": False},
    "ratios 0": {"l1_ratios": [0], "Cs": 3},
    "penalty by name": {"penalty": "l2", "Cs": 3},
}


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("options", CV_OPTIONS.values(), ids=CV_OPTIONS)
def test_cross_validation_has_the_grid_the_scores_and_the_choice_of_scikit_learn(K, options):
    """Same values of C, same folds, same scores, hence the same C and the same coefficients."""
    X, y = DATA[K]
    theirs = fitted(LogisticRegressionCV(**options, **TIGHT_PATH), X, y)
    ours = from_sklearn(LogisticRegressionCV(**options, **TIGHT_PATH))
    assert type(ours) is SoftmaxRegressionCV
    ours = tight(ours).fit(X, y)
    np.testing.assert_allclose(ours.Cs_, theirs.Cs_, rtol=1e-12)
    scores = next(iter(theirs.scores_.values())).reshape(ours.scores_.shape)
    np.testing.assert_allclose(ours.scores_, scores, atol=1e-5)
    np.testing.assert_allclose(ours.C_, theirs.C_[0], rtol=1e-12)
    np.testing.assert_allclose(ours.coef_, centred(theirs.coef_), atol=1e-5)


# ---- A model for each label --------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"C": 0.05}, {"C": np.inf, "class_weight": "balanced"}], ids=str
)
@pytest.mark.parametrize("form", ["classes", "two classes", "labels", "outputs"])
def test_a_model_for_each_label_becomes_one_sigmoid_regression(form, options):
    """Each row of coefficients is that of the label's own LogisticRegression."""
    X, y = {"classes": DATA[3], "two classes": DATA[2]}.get(form, (XL, YL))
    wrapper = MultiOutputClassifier if form == "outputs" else OneVsRestClassifier
    theirs = wrapper(LogisticRegression(**options, **TIGHT), n_jobs=1).fit(X, y)
    ours = from_sklearn(theirs)
    assert type(ours) is SigmoidRegression
    ours = tight(ours).fit(X, y)
    for name in ("coef_", "intercept_"):
        expected = np.concatenate([getattr(model, name) for model in theirs.estimators_])
        np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    P = theirs.predict_proba(X)  # of MultiOutputClassifier a list with an array for each label
    P = np.column_stack([p[:, 1] for p in P]) if form == "outputs" else P
    np.testing.assert_allclose(ours.predict_proba(X), P, atol=1e-5)


@pytest.mark.parametrize("wrapper", [OneVsRestClassifier, MultiOutputClassifier])
def test_cross_validation_for_each_label_chooses_the_labels_own_C(wrapper):
    """On the same folds each label has the C that its own LogisticRegressionCV chooses."""
    options = {"Cs": [1e-3, 0.1, 10.0], "cv": KFold(4)}
    theirs = fitted(wrapper(LogisticRegressionCV(**options, **TIGHT_PATH)), XL, YL)
    ours = from_sklearn(wrapper(LogisticRegressionCV(**options, **TIGHT_PATH)))
    assert type(ours) is SigmoidRegressionCV and ours.scoring is None
    ours = tight(ours).fit(XL, YL)
    np.testing.assert_allclose(ours.C_, [model.C_[0] for model in theirs.estimators_])
    expected = np.concatenate([model.coef_ for model in theirs.estimators_])
    np.testing.assert_allclose(ours.coef_, expected, atol=1e-5)


# ---- Within others -----------------------------------------------------------------------------


def logistic(**options):
    return LogisticRegression(**options, **TIGHT)


def selected():
    """Columns that a model selects, beside the others."""
    columns = ColumnTransformer(
        [("chosen", SelectFromModel(logistic(C=0.1)), [0, 1, 2]), ("rest", StandardScaler(), [3])]
    )
    return Pipeline([("columns", columns), ("logit", logistic(C=5.0))])


CS = [0.01, 0.1, 1.0, 10.0]
CONTAINERS = {
    "pipeline": lambda: make_pipeline(StandardScaler(), logistic(C=0.2)),
    "column transformer": selected,
    "feature union": lambda: make_pipeline(
        FeatureUnion([("all", StandardScaler()), ("some", SelectFromModel(logistic()))]), logistic()
    ),
    "calibrator": lambda: CalibratedClassifierCV(logistic(C=0.2), cv=3),
    "calibrated pipeline": lambda: CalibratedClassifierCV(
        make_pipeline(StandardScaler(), logistic()), method="isotonic", cv=3
    ),
    "voting": lambda: VotingClassifier(
        [("tree", DecisionTreeClassifier(random_state=0)), ("logit", logistic())], voting="soft"
    ),
    "stacking": lambda: StackingClassifier(
        [("tree", DecisionTreeClassifier(random_state=0)), ("logit", logistic())],
        final_estimator=logistic(C=0.5),
    ),
    "one against the rest of a pipeline": lambda: OneVsRestClassifier(
        make_pipeline(StandardScaler(), logistic())
    ),
    "grid search": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), logistic()),
        {"logisticregression__C": CS, "logisticregression__fit_intercept": [True, False]},
        scoring="neg_log_loss",
    ),
    "list of grids": lambda: GridSearchCV(
        logistic(), [{"C": CS}, {"class_weight": ["balanced", None]}], scoring="neg_log_loss"
    ),
    "random search": lambda: RandomizedSearchCV(
        logistic(), {"C": loguniform(0.01, 10)}, n_iter=4, random_state=0, scoring="neg_log_loss"
    ),
    "halving search": lambda: HalvingGridSearchCV(
        logistic(), {"C": CS}, min_resources=60, scoring="neg_log_loss", random_state=0
    ),
    "search over steps": lambda: GridSearchCV(
        Pipeline([("model", DecisionTreeClassifier(random_state=0))]),
        [
            {"model": [logistic(), logistic(fit_intercept=False)], "model__C": CS},
            {"model": [DecisionTreeClassifier(random_state=0)], "model__max_depth": [1, 2]},
        ],
        scoring="neg_log_loss",
    ),
    "calibrated search": lambda: CalibratedClassifierCV(
        GridSearchCV(make_pipeline(logistic()), {"logisticregression__C": CS}), cv=3
    ),
    "search over a calibrator": lambda: GridSearchCV(
        CalibratedClassifierCV(make_pipeline(StandardScaler(), logistic()), cv=3),
        {"estimator__logisticregression__C": CS, "method": ["sigmoid"]},
        scoring="neg_log_loss",
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_within_others_the_predictions_and_all_names_are_those_of_before(name):
    """Steps, grids and best parameters keep their names; probabilities are the same."""
    X, y = DATA[3]
    theirs = CONTAINERS[name]().fit(X, y)
    ours = tight(from_sklearn(CONTAINERS[name]()))
    assert "LogisticRegression" not in repr(ours)
    dropped = r"__(penalty|l1_ratio|dual|intercept_scaling|multi_class)$"
    names = {key for key in theirs.get_params() if not re.search(dropped, f"__{key}")}
    assert names <= ours.get_params().keys()
    ours.fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-5)
    if hasattr(theirs, "cv_results_"):
        columns = [key for key in theirs.cv_results_ if key.startswith("param_")]
        assert columns == [key for key in ours.cv_results_ if key.startswith("param_")]
        np.testing.assert_allclose(
            ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], atol=1e-5
        )
        if "model" not in theirs.best_params_:
            assert ours.best_params_ == theirs.best_params_


def selecting(**options):
    """A model of the columns that a lasso keeps."""
    lasso = LogisticRegression(**options, solver="saga", C=0.3, tol=1e-9, max_iter=10000)
    return make_pipeline(StandardScaler(), SelectFromModel(lasso), StandardScaler(), logistic())


def test_the_columns_that_a_lasso_selects_are_those_of_before():
    """SelectFromModel drops what a lasso makes zero; of another model it keeps the larger ones."""
    X, y = np.column_stack([X3, X3[:, ::-1] ** 2]), y3
    kept = {}
    for penalty, ratio in (("l1", 1), ("elasticnet", 0.5)):
        given = selecting(penalty=penalty, l1_ratio=ratio)
        theirs, ours = fitted(given, X, y), tight(from_sklearn(given)).fit(X, y)
        kept[penalty] = theirs[1].get_support()
        np.testing.assert_array_equal(ours[1].get_support(), kept[penalty])
    assert kept["l1"].sum() > kept["elasticnet"].sum()


@pytest.mark.parametrize("penalty", ["elasticnet", "deprecated"])
def test_a_search_over_the_ratio_finds_the_same_one(penalty):
    """The ratios of a grid, and their name, stay as they were."""
    if penalty == "deprecated" and HAS_PENALTY_BY_NAME:
        pytest.skip("the penalty has a name in this scikit-learn")
    model = LogisticRegression(penalty=penalty, solver="saga", C=0.3, tol=1e-8, max_iter=10000)
    search = GridSearchCV(model, {"l1_ratio": [0, 0.5, 1.0]}, scoring="neg_log_loss")
    theirs, ours = fitted(search, *DATA[3]), tight(from_sklearn(search)).fit(*DATA[3])
    assert ours.best_params_ == theirs.best_params_
    for key in ("mean_test_score", "rank_test_score"):
        np.testing.assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], atol=1e-5)


def test_within_a_chain_of_labels_each_model_is_converted():
    """A chain keeps its order, and has softreg's estimators of each label."""
    ours = tight(from_sklearn(ClassifierChain(logistic(), order=[2, 0, 1]))).fit(XL, YL)
    theirs = ClassifierChain(logistic(), order=[2, 0, 1]).fit(XL, YL)
    assert {type(model) for model in ours.estimators_} == {SoftmaxRegression}
    np.testing.assert_allclose(ours.predict_proba(XL), theirs.predict_proba(XL), atol=1e-5)


@pytest.mark.parametrize("wrapper", [OneVsRestClassifier, MultiOutputClassifier])
@pytest.mark.parametrize("values", [CS, loguniform(0.01, 10)], ids=["values", "distribution"])
def test_a_search_over_a_model_for_each_label_finds_its_C_without_the_wrapper(wrapper, values):
    """`ovr__estimator__C` becomes `ovr__C`, as the wrapper is gone; the best C is the same."""
    pipeline = Pipeline([("scale", StandardScaler()), ("ovr", wrapper(logistic()))])
    if values is CS:
        search = GridSearchCV(pipeline, {"ovr__estimator__C": values})
    else:
        search = RandomizedSearchCV(
            pipeline, {"ovr__estimator__C": values}, n_iter=3, random_state=0
        )
    theirs, ours = clone(search).fit(XL, YL), tight(from_sklearn(search)).fit(XL, YL)
    assert ours.best_params_ == {"ovr__C": theirs.best_params_["ovr__estimator__C"]}
    assert ours.best_score_ == theirs.best_score_


def test_values_of_a_grid_mean_what_they_meant():
    """Each value is what that value would become alone: None is 5 folds, a count a grid of C."""
    grid = {"Cs": [2, [0.1, 1.0]], "cv": [None, 3], "scoring": [None, "neg_log_loss"]}
    converted = from_sklearn(GridSearchCV(LogisticRegressionCV(), grid)).param_grid
    np.testing.assert_allclose(converted["Cs"][0], [1e-4, 1e4])
    assert converted["Cs"][1] == [0.1, 1.0] and converted["cv"] == [5, 3]
    assert converted["scoring"] == [None, "neg_log_loss"]
    free = from_sklearn(GridSearchCV(LogisticRegression(penalty=None), {"C": [1.0, 2.0]}))
    assert free.param_grid == {"C": [np.inf, np.inf]}


def test_the_argument_is_not_touched_and_nothing_is_shared_with_it():
    """A fitted pipeline stays fitted, with its parameters; the result is an unfitted clone."""
    pipeline = Pipeline([("scale", StandardScaler()), ("logit", logistic())])
    search = GridSearchCV(pipeline, {"logit": [logistic(C=2.0)], "logit__C": [1.0]})
    search.fit(*DATA[3])
    before, coef = repr(search), search.best_estimator_[-1].coef_.copy()
    converted = from_sklearn(search)
    assert not hasattr(converted, "best_estimator_")
    for ours, theirs in zip(
        converted.get_params().values(), search.get_params().values(), strict=False
    ):
        assert not hasattr(ours, "fit") or ours is not theirs
    converted.fit(DATA[3][0][:, :2], DATA[3][1])
    assert repr(search) == before and search.n_features_in_ == 4
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, coef)
    fitted_pipeline = search.best_estimator_
    assert not hasattr(from_sklearn(fitted_pipeline)["scale"], "mean_")
    assert hasattr(fitted_pipeline["scale"], "mean_")


@pytest.mark.parametrize(
    "model",
    [
        lambda asking: asking(LogisticRegression()),
        lambda asking: OneVsRestClassifier(asking(LogisticRegression())),
        lambda asking: asking(LogisticRegressionCV(Cs=[0.1])),
    ],
    ids=["plain", "one against the rest", "cross-validated"],
)
def test_requests_of_metadata_are_kept(model):
    """A model that asked for weights gets them: a weight of 0 is a row left out."""
    X, y = DATA[3]
    weights = np.r_[np.zeros(20), np.ones(len(y) - 20)]
    with config_context(enable_metadata_routing=True):
        asking = model(lambda classifier: classifier.set_fit_request(sample_weight="w"))
        ours = from_sklearn(make_pipeline(StandardScaler(), asking)).fit(X, y, w=weights)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(
        ours[-1].coef_, clone(ours[-1]).fit(scaled[20:], y[20:]).coef_, atol=1e-5
    )


# ---- What has no counterpart -------------------------------------------------------------------


class Derived(LogisticRegression):
    """A class whose changes nobody knows."""


OVR = OneVsRestClassifier(LogisticRegression())
WITHOUT_INTERCEPT = LogisticRegression(solver="liblinear", fit_intercept=False)
REFUSED = {
    "penalised intercept": (
        LogisticRegression(solver="liblinear"),
        ("liblinear", "fit_intercept=False", "penalises the intercept"),
    ),
    "no refit": (LogisticRegressionCV(refit=False), ("refit=False", "refit=True")),
    "weights within a wrapper": (
        OneVsRestClassifier(LogisticRegression(class_weight={0: 1, 1: 5})),
        (r"class_weight=\{0: 1, 1: 5\}", "SigmoidRegression", "balanced"),
    ),
    "a search over the penalty": (
        GridSearchCV(LogisticRegression(), {"C": [1], "penalty": ["l2", None]}),
        ("'penalty'", ": search over l1_ratio."),
    ),
    "a search over solvers": (
        GridSearchCV(make_pipeline(LogisticRegression()), {"logisticregression__solver": ["sag"]}),
        ("'logisticregression__solver'", "take it out"),
    ),
    "a search over what is dropped": (
        RandomizedSearchCV(OVR, {"estimator__tol": [1.0]}),
        ("'estimator__tol'", "take it out"),
    ),
    "a search over the wrapper": (GridSearchCV(OVR, {"n_jobs": [1]}), ("'n_jobs'",)),
    "a search over the wrapped": (
        GridSearchCV(OVR, {"estimator": [LogisticRegression()]}),
        ("'estimator'",),
    ),
    "halving the iterations": (
        HalvingGridSearchCV(LogisticRegression(), {"C": [1]}, resource="max_iter", max_resources=9),
        ("'max_iter'",),
    ),
    "a value of a grid": (
        GridSearchCV(WITHOUT_INTERCEPT, {"fit_intercept": [False, True]}),
        ("penalises the intercept",),
    ),
    "a value of a grid within a wrapper": (
        GridSearchCV(OVR, {"estimator__class_weight": ["balanced", {0: 1, 1: 5}]}),
        ("class_weight",),
    ),
    "a distribution that would change": (
        RandomizedSearchCV(LogisticRegression(penalty=None), {"C": loguniform(1, 2)}),
        ("'C'", "inf"),
    ),
    "values that mean two things": (
        GridSearchCV(
            Pipeline([("logit", None)]),
            {"logit": [LogisticRegression(), LogisticRegression(penalty=None)], "logit__C": [1]},
        ),
        ("'logit__C'", "inf"),
    ),
    "a frozen model": (FrozenEstimator(logistic().fit(*DATA[2])), ("fitted", "freeze")),
}
NO_ESTIMATOR_OF_THESE = {
    "a derived class": (make_pipeline(Derived()), ("Derived", "derived from")),
    "no classifier": (make_pipeline(StandardScaler()), ("Pipeline", "no LogisticRegression")),
    "a search without one": (
        GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1]}),
        ("GridSearchCV", "no LogisticRegression"),
    ),
    "softreg's own": (SoftmaxRegression(), ("SoftmaxRegression holds no",)),
    "a class": (LogisticRegression, ("takes an estimator",)),
    "a number": (3, ("takes an estimator", "3")),
}


@pytest.mark.parametrize("case", [*REFUSED, *NO_ESTIMATOR_OF_THESE])
def test_what_has_no_counterpart_is_named_with_the_remedy(case):
    """No parameter is dropped that changes the optimum: the error names it and its value."""
    estimator, parts = (REFUSED | NO_ESTIMATOR_OF_THESE)[case]
    with pytest.raises(ValueError if case in REFUSED else TypeError) as error:
        from_sklearn(estimator)
    for part in parts:
        assert re.search(part, str(error.value))


@pytest.mark.parametrize("name", ["ovr", "multinomial"])
@pytest.mark.skipif(not HAS_MULTI_CLASS, reason="this scikit-learn has no multi_class")
def test_other_values_of_multi_class_are_other_models(name):
    """ "ovr" and "multinomial" of two classes minimise something else: the error says what."""
    with pytest.raises(ValueError, match=f"multi_class='{name}'.*OneVsRestClassifier"):
        from_sklearn(LogisticRegression(multi_class=name))


# ---- The table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LogisticRegression, LogisticRegressionCV])
def test_every_parameter_of_the_installed_scikit_learn_has_its_answer(kind):
    """No parameter of the signatures is left out of the table, and defaults are converted."""
    assert inspect.signature(kind).parameters.keys() <= module.TABLE.keys()
    from_sklearn(kind())


def test_a_parameter_of_a_later_version_is_ignored_at_its_default_alone(monkeypatch):
    """What the table does not know is refused once a user sets it."""
    known = {name: answer for name, answer in module.TABLE.items() if name != "dual"}
    monkeypatch.setattr(module, "TABLE", known)
    assert from_sklearn(LogisticRegression(C=2.0)).C == 2.0
    with pytest.raises(ValueError, match=r"LogisticRegression\(dual=True\).*at its default"):
        from_sklearn(LogisticRegression(dual=True))


def test_the_guide_prints_the_table():
    """The rows of the guide's page are those of the module, in their order."""
    rows = [f"| `{name}` | {answer.says} |" for name, answer in module.TABLE.items()]
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8")
    assert softreg.from_sklearn is from_sklearn
