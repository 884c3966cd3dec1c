"""Everything that scikit-learn does with a classifier works with softreg's unchanged."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from problems import overlapping
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.fixes import parse_version

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV
from softreg.solvers import LBFGS, Newton

VERSION = parse_version(sklearn.__version__)
X, y = overlapping()
LABELS = np.array(["ash", "birch", "cedar"])[y]


# The final classes as they come, but for folds that may lack a class of the few rows of the checks.
FINAL = [
    SoftmaxRegression(),
    SigmoidRegression(),
    SoftmaxRegressionCV(cv=KFold(3)),
    SigmoidRegressionCV(cv=KFold(3)),
]
SPARSE = [SoftmaxRegression(l1_ratio=1.0), SigmoidRegression(l1_ratio=0.5, l1_groups="feature")]
CONFIGURED = [
    *SPARSE,
    SoftmaxRegression(l1_ratio=1.0, l1_groups="feature", standardize=True),
    SoftmaxRegression(solver="lbfgs"),
    SoftmaxRegression(solver="newton"),
    SoftmaxRegression(C=0.1, class_weight="balanced", label_smoothing=0.1, warm_start=True),
    SigmoidRegression(solver="lbfgs"),
    SigmoidRegression(C=0.1, class_weight="balanced", warm_start=True),
    SoftmaxRegressionCV([0.1, 10], cv="loo", select="1se", class_weight="balanced"),
    SoftmaxRegressionCV([1.0, 10], cv=KFold(3, shuffle=True, random_state=0), scoring="accuracy"),
    SigmoidRegressionCV([1.0, 10], cv=KFold(3, shuffle=True, random_state=0), per_label=True),
]


def name_of(part):
    """A check by its function, an estimator by its repr."""
    return part.func.__name__ if hasattr(part, "func") else repr(part)


def pytest_generate_tests(metafunc):
    """Every check of the final classes and of the lasso; under --exhaustive, of all others too."""
    if metafunc.function is test_scikit_learns_own_checks_pass:
        is_exhaustive = metafunc.config.getoption("exhaustive")
        estimators = FINAL + (CONFIGURED if is_exhaustive else SPARSE)
        pairs = [pair for one in estimators for pair in estimator_checks_generator(one)]
        metafunc.parametrize(("estimator", "check"), pairs, ids=name_of)


def test_scikit_learns_own_checks_pass(estimator, check):
    """Every check of sklearn.utils.estimator_checks passes, none expected to fail."""
    check(estimator)


@pytest.mark.parametrize("estimator", FINAL + CONFIGURED, ids=repr)
def test_the_tags_excuse_nothing(estimator):
    """No tag tells the checks to skip the estimator or to expect less of it."""
    tags = estimator.__sklearn_tags__()
    assert tags.estimator_type == "classifier" and tags.input_tags.sparse
    assert tags.classifier_tags.multi_class and not tags.classifier_tags.poor_score
    assert not (tags.non_deterministic or tags.no_validation or tags._skip_test)


def frame(n=120):
    """Applicants with numbers, categories and string labels."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "gre": rng.integers(20, 80, n) * 10,
            "gpa": rng.uniform(2, 4, n).round(2),
            "school": rng.choice(["north", "south", "east"], n),
        }
    )
    merit = people["gpa"] + people["gre"] / 400 + rng.normal(size=n)
    return people, pd.cut(merit, 3, labels=["rejected", "waitlisted", "admitted"]).astype(str)


def table_pipeline(**parameters):
    """Raw numbers as they are, one-hot categories with every level kept."""
    columns = ColumnTransformer([("school", OneHotEncoder(), ["school"])], remainder="passthrough")
    return Pipeline([("columns", columns), ("model", SoftmaxRegression(**parameters))])


def test_a_pipeline_takes_a_table_with_string_labels():
    """ColumnTransformer, raw columns and string labels: fitted, scored, predicted in labels."""
    people, decision = frame()
    pipeline = table_pipeline().fit(people, decision)
    assert set(pipeline.predict(people)) <= {"admitted", "rejected", "waitlisted"}
    np.testing.assert_allclose(pipeline.predict_proba(people).sum(axis=1), 1)
    assert pipeline.score(people, decision) > decision.value_counts(normalize=True).max()


def test_column_names_arrive_through_set_output():
    """A transformer set to pandas output passes its names on to feature_names_in_."""
    people, decision = frame()
    pipeline = table_pipeline()
    pipeline.set_params(columns__school__sparse_output=False).set_output(transform="pandas")
    names = pipeline.fit(people, decision)["model"].feature_names_in_
    assert [name.split("__")[-1] for name in names][-2:] == ["gre", "gpa"] and len(names) == 5


@pytest.mark.parametrize("fitted", [False, True])
def test_a_clone_has_the_parameters_and_nothing_else(fitted):
    """clone copies every parameter, solver configurations by value, and no fitted attribute."""
    model = SoftmaxRegression(
        C=3, solver=LBFGS(), penalty_factor=[1, 2, 3, 4], class_weight="balanced"
    )
    copy = clone(model.fit(X, y) if fitted else model)
    assert not [name for name in vars(copy) if name.endswith("_")]
    assert copy.solver is not model.solver
    np.testing.assert_array_equal(copy.fit(X, y).coef_, model.fit(X, y).coef_)


@pytest.mark.parametrize("solver", [LBFGS(), Newton()])
def test_the_options_of_a_solver_are_parameters_of_the_estimator(solver):
    """get_params shows solver__option, and set_params reaches it."""
    model = SoftmaxRegression(solver=solver)
    options = solver.get_params()
    for option, value in options.items():
        assert model.get_params()[f"solver__{option}"] == value
        model.set_params(**{f"solver__{option}": value})
    assert model.solver.get_params() == options


def test_a_grid_search_finds_the_best_strength():
    """GridSearchCV over C ranks by held-out score, and refits the best."""
    grid = {"C": [1e-6, 1e-2, 1.0]}
    search = GridSearchCV(SoftmaxRegression(), grid, scoring="neg_log_loss", cv=3).fit(X, LABELS)
    folds = StratifiedKFold(3)
    by_hand = [
        np.mean(
            [
                -log_loss(
                    LABELS[test],
                    SoftmaxRegression(C=C).fit(X[train], LABELS[train]).predict_proba(X[test]),
                )
                for train, test in folds.split(X, LABELS)
            ]
        )
        for C in grid["C"]
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand, rtol=1e-7)
    assert search.best_params_ == {"C": grid["C"][int(np.argmax(by_hand))]}


def test_a_grid_search_over_solvers_finds_no_difference():
    """Names and configurations are values of a grid; every solver scores alike."""
    grid = {"solver": ["auto", "lbfgs", "newton", LBFGS(), Newton()], "C": [0.1, 10.0]}
    search = GridSearchCV(SoftmaxRegression(), grid, scoring="neg_log_loss", cv=2).fit(X, LABELS)
    by_strength = search.cv_results_["mean_test_score"].reshape(2, 5)
    np.testing.assert_allclose(by_strength, by_strength[:, :1].repeat(5, axis=1), rtol=1e-4)


def test_cross_validation_takes_weights_and_several_scores():
    """cross_validate and cross_val_predict run over folds, without a warning."""
    scores = cross_validate(
        SoftmaxRegression(),
        X,
        LABELS,
        scoring=["accuracy", "neg_log_loss"],
        params={"sample_weight": np.linspace(0, 1, 120)},
        error_score="raise",
    )
    assert scores["test_accuracy"].mean() > 0.5
    P = cross_val_predict(SoftmaxRegression(), X, LABELS, method="predict_proba")
    np.testing.assert_allclose(P.sum(axis=1), 1)


def calibrated(method, labels):
    model = CalibratedClassifierCV(SoftmaxRegression(), method=method, cv=3).fit(X, labels)
    assert set(model.predict(X)) <= set(labels)
    return model.predict_proba(X)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize(
    "method",
    [
        "sigmoid",
        pytest.param(
            "temperature",
            marks=pytest.mark.skipif(
                parse_version("1.8") > VERSION, reason="temperature scaling came with 1.8"
            ),
        ),
    ],
)
def test_probabilities_can_be_calibrated(method, K):
    """CalibratedClassifierCV accepts the scores, for two classes and for more."""
    labels = np.where(y > 0, "tree", "shrub") if K == 2 else LABELS
    P = calibrated(method, labels)
    assert P.shape == (120, K)
    np.testing.assert_allclose(P.sum(axis=1), 1)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_and_offsets_are_routed_through_a_pipeline(routing):
    """Requested metadata reach fit, predict_proba and score behind a Pipeline."""
    weight = np.random.default_rng(1).uniform(size=120)
    offset = np.random.default_rng(2).normal(size=(120, 3))
    model = SoftmaxRegression()
    model.set_fit_request(sample_weight=True, offset=True)
    model.set_predict_proba_request(offset=True)
    model.set_score_request(sample_weight=True, offset=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scaler, model).fit(X, y, sample_weight=weight, offset=offset)

    Z = StandardScaler().fit_transform(X)
    direct = SoftmaxRegression().fit(Z, y, sample_weight=weight, offset=offset)
    np.testing.assert_allclose(pipeline[-1].coef_, direct.coef_, rtol=1e-9)
    np.testing.assert_allclose(
        pipeline.predict_proba(X, offset=offset), direct.predict_proba(Z, offset=offset), rtol=1e-9
    )
    assert pipeline.score(X, y, sample_weight=weight, offset=offset) == direct.score(
        Z, y, sample_weight=weight, offset=offset
    )


def test_weights_and_offsets_are_routed_and_split_in_a_search(routing):
    """GridSearchCV gives each fold its own rows of weights and offsets."""
    weight = np.random.default_rng(1).integers(0, 3, size=120)
    offset = np.random.default_rng(2).normal(size=(120, 3))
    model = SoftmaxRegression().set_fit_request(sample_weight=True, offset=True)
    model.set_score_request(sample_weight=True, offset=True)
    search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=StratifiedKFold(2))
    search.fit(X, y, sample_weight=weight, offset=offset)
    first, _ = StratifiedKFold(2).split(X, y)
    train, test = first
    direct = SoftmaxRegression().fit(X[train], y[train], weight[train], offset[train])
    expected = direct.score(X[test], y[test], weight[test], offset[test])
    assert search.cv_results_["split0_test_score"][1] == pytest.approx(expected)


def test_a_fitted_model_survives_pickling():
    """pickle keeps parameters, fitted attributes and predictions."""
    model = SoftmaxRegression(solver=Newton()).fit(pd.DataFrame(X, columns=list("abcd")), LABELS)
    copy = pickle.loads(pickle.dumps(model))
    assert vars(copy).keys() == vars(model).keys()
    table = pd.DataFrame(X, columns=list("abcd"))
    np.testing.assert_array_equal(copy.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(copy.loss_curve_, model.loss_curve_)


def test_the_estimator_shows_itself_in_a_notebook():
    """The HTML diagram and the text form name the estimator and the parameters that were set."""
    model = SoftmaxRegression(C=2.5, solver=LBFGS())
    html = estimator_html_repr(model)
    assert "SoftmaxRegression" in html and "2.5" in html
    assert repr(model) == "SoftmaxRegression(C=2.5, solver=LBFGS())"
    assert "SoftmaxRegression" in estimator_html_repr(make_pipeline(StandardScaler(), model))
