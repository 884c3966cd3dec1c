"""Paths: the optimum at each strength, refits without a fold of the rows, and what they are for."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from parts import SOURCES, TARGETS, close, elsewhere, make, minimiser, newton
from problems import PROBLEMS, objective, one_hot, overlapping, solved
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV, regularization_path
from softreg._model.links import Problems
from softreg._rows.threads import Limits, Threads
from softreg._selection.path import C_values, extrapolated, path_points
from softreg._selection.refits import Fold, FoldRefits, refits_in_groups
from softreg.solvers.base import Monitor

CS = np.array([0.02, 0.3, 5.0])
ONE_FIT = [y for y in TARGETS if not y.endswith("fits") and y != "sigmoid shares"]
FIXTURE_FACTORS = {"posed": {"targets": ONE_FIT, "source": SOURCES, "terms": ["weighted", "plain"]}}


def monitor():
    """One that never stops."""
    return Monitor(1e-13, 1000, lambda _T, _value: False)


@pytest.fixture
def posed(targets, source, terms, source_threads):
    """One objective of every kind at C = 1, of which paths are made."""
    weighted = {"weighted": terms == "weighted", "offset": terms == "weighted"}
    return make(source_threads, targets, source, factors=np.ones(6), **weighted)


# ---- Paths --------------------------------------------------------------------------------------


def test_each_stage_is_the_optimum_at_its_strength(posed):
    """T is the minimiser of F with the penalty divided by C, found by dense Newton steps."""
    path = list(path_points(posed.objective, CS, monitor))
    assert [path_point.C for path_point in path] == CS.tolist()
    for path_point in path:
        at_C = posed.objective.at_strength(path_point.C)
        np.testing.assert_allclose(
            path_point.objective.penalty.ridge, at_C.penalty.ridge, rtol=1e-14
        )
        best = minimiser(at_C)
        close(at_C.link.centred(path_point.T), at_C.link.centred(best), 1e-5)
        F = at_C.in_units_of_F(at_C.value(best))
        np.testing.assert_allclose(path_point.result.objective, F, rtol=1e-11, atol=1e-14)
        assert path_point.result.converged.all() and (path_point.result.gap <= 1e-9 * F.sum()).all()
        W, b = at_C.coefficients(path_point.T)
        close(path_point.result.coef, W, 1e-12)
        close(path_point.result.intercept, b, 1e-12)


def test_the_metric_of_a_stage_is_one_of_its_objective(posed):
    """It is symmetric, positive and no farther from the Hessian than a few times."""
    for path_point in path_points(posed.objective, CS, monitor):
        (width, K), rng = path_point.objective.shape, np.random.default_rng(0)
        G = path_point.objective.link.centred(rng.normal(size=(width, K)))
        v = rng.normal(size=path_point.metric.whiten(G).shape)
        left, right = path_point.metric.whiten(G) @ v, np.vdot(G, path_point.metric.unwhiten(v))
        assert left == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spacing", [1.01, 10.0, 1e4, 1e8])
def test_strengths_may_lie_close_together_or_far_apart(one_thread, spacing):
    """The optimum at each is the same whatever came before."""
    case = make(one_thread, factors=np.ones(6))
    for C in (1e-4, 1.0, 1e3):
        *_, last = path_points(case.objective, np.array([C / spacing**2, C / spacing, C]), monitor)
        (alone,) = path_points(case.objective, np.array([C]), monitor)
        np.testing.assert_allclose(last.result.objective, alone.result.objective, rtol=1e-11)


def test_a_trail_that_is_a_polynomial_in_log_c_is_followed():
    """After one point the same is expected, after two a line, then what each problem's trail is."""
    Cs, problems = np.array([0.1, 1.0, 10.0, 20.0, 50.0]), Problems(3, 6)
    degrees, factors = np.repeat([0, 1, 2], 2), np.random.default_rng(1).normal(size=(3, 4, 6))

    def trail(C):
        used = np.arange(3)[:, None] <= degrees
        return np.einsum("p,pjk,pk->jk", np.log(C) ** np.arange(3), factors, used)

    points = [(C, trail(C)) for C in Cs]
    np.testing.assert_array_equal(extrapolated(points[:1], 5.0, problems), points[0][1])
    line = extrapolated(points[:2], 5.0, problems)[:, degrees < 2]
    np.testing.assert_allclose(line, trail(5.0)[:, degrees < 2], rtol=1e-12)
    for C in (50.0, 1e3):
        expected = extrapolated(points[:4], C, problems)
        np.testing.assert_allclose(expected, trail(C), rtol=1e-9, atol=1e-9)


def test_a_trail_that_no_polynomial_foretells_is_expected_where_it_is():
    """Of coefficients that go back and forth, no step is worth continuing."""
    points = [(10.0**k, np.full((2, 3), (-1.0) ** k)) for k in range(4)]
    np.testing.assert_array_equal(extrapolated(points, 1e4, Problems(1, 3)), points[-1][1])


# ---- Grids --------------------------------------------------------------------------------------


def test_a_grid_begins_where_no_model_gains_a_percent(posed):
    """F* >= 0.99 F(null) at the first C; evenly spaced in log C, and of the length asked for."""
    Cs = C_values(posed.objective, 7, None, monitor)
    assert Cs.shape == (7,) and (np.diff(Cs) > 0).all()
    np.testing.assert_allclose(np.diff(np.log(Cs), 2), 0, atol=1e-9)
    at_least_C = posed.objective.at_strength(Cs[0])
    nothing = posed.objective.at_strength(1e-30)
    least = at_least_C.in_units_of_F(at_least_C.value(minimiser(at_least_C))).sum()
    null = nothing.in_units_of_F(nothing.value(minimiser(nothing))).sum()
    # With offsets the null model's intercepts are not quite the best ones.
    assert least >= (0.98 if posed.offset.any() else 0.99) * null


def test_a_grid_of_what_no_strength_changes_is_any_grid(one_thread):
    """Constant columns, or no penalty at all: from 1e-4 to 1e4."""
    for options in ({"X": np.full((40, 6), 3.0)}, {"penalty": "no penalty"}):
        case = make(one_thread, **options)
        np.testing.assert_allclose(C_values(case.objective, 3, None, monitor), [1e-4, 1, 1e4])


# ---- Refits -------------------------------------------------------------------------------------


def folds_of(n, count, seed=0):
    """So many folds of n rows."""
    fold = np.random.default_rng(seed).permutation(n) % count
    return [Fold(fold != k, np.flatnonzero(fold == k)) for k in range(count)]


def scores_without(case, C, fold):
    """Scores of a fold's rows, by dense Newton steps on the objective of the others."""
    rows = case.objective.rows
    without_fold = case.objective.on_rows(
        rows.replaced(weight=rows.weights * fold.train)
    ).at_strength(C)
    T = without_fold.null()
    for _ in range(40):
        step = shortened(without_fold, T, newton(without_fold, T))
        T = T + step
        if np.abs(step).max() < 1e-7:
            break
    return (case.features @ T + case.offset)[fold.test], without_fold


def shortened(objective, T, step):
    """The step of each problem, halved until its F is no higher."""
    before = objective.value(T)
    for _ in range(30):
        higher = objective.problems.spread(objective.value(T + step) > before)
        if not higher.any():
            break
        step = np.where(higher, step / 2, step)
    return np.where(higher, 0, step)


def gauged(case, Z):
    """Scores (m, K) of which only differences count where classes exclude each other."""
    return Z - Z.mean(axis=1, keepdims=True) if case.is_softmax else Z


def test_held_out_scores_are_those_of_the_fits_without_the_fold(posed):
    """Z of each fold's rows, at every strength, equals the dense fit's."""
    folds = folds_of(40, 3)
    refits = FoldRefits(posed.objective, folds, 1e-12)
    for path_point in path_points(posed.objective, CS, monitor):
        scores = [fit.scores for fit in refits.held_out_fits(path_point)]
        assert len(scores) == 3
        for fold, Z in zip(folds, scores, strict=True):
            expected, without_fold = scores_without(posed, path_point.C, fold)
            is_constant = without_fold.problems.spread(without_fold.constant_problems)
            close(gauged(posed, Z)[:, ~is_constant], gauged(posed, expected)[:, ~is_constant], 1e-3)


def test_rows_that_a_refit_counts_twice_weigh_twice(posed):
    """A fold's train part may say how often."""
    times = np.random.default_rng(2).integers(0, 3, 40)
    fold = Fold(times, np.flatnonzero(times == 0))
    refits = FoldRefits(posed.objective, [fold], 1e-12)
    (path_point,) = path_points(posed.objective, CS[1:2], monitor)
    expected, without_fold = scores_without(posed, path_point.C, fold)
    is_constant = without_fold.problems.spread(without_fold.constant_problems)
    (fit,) = refits.held_out_fits(path_point)
    Z = fit.scores
    close(gauged(posed, Z)[:, ~is_constant], gauged(posed, expected)[:, ~is_constant], 1e-3)


@pytest.mark.parametrize("targets", ONE_FIT)
def test_folds_that_are_refitted_in_groups_are_those_refitted_together(one_thread, targets):
    """Where scores of all folds take too much room, groups of them go one after another.

    To within what the tolerance leaves of a score.
    """
    case, folds = make(one_thread, targets, factors=np.ones(6)), folds_of(40, 5)
    (path_point,) = path_points(case.objective, CS[1:2], monitor)
    together = FoldRefits(case.objective, folds, 1e-12).held_out_fits(path_point)
    for most, sizes in (
        (1, [1, 1, 1, 1, 1]),
        (2 * case.objective.rows.n * case.objective.shape[1], [2, 2, 1]),
    ):
        with Threads(1, Limits(kept_scores=most)) as threads:
            limited = make(threads, targets, factors=np.ones(6))
            groups = refits_in_groups(limited.objective, folds, 1e-12)
            assert [len(group.folds) for group in groups] == sizes
            apart = [fit for group in groups for fit in group.held_out_fits(path_point)]
        for one, other in zip(apart, together, strict=True):
            close(gauged(case, one.scores), gauged(case, other.scores), 1e-3)


def test_the_kernel_of_refits_is_a_value_that_another_process_could_run(one_thread):
    """It comes back from pickle as it was: the same scores of each fold."""
    case = make(one_thread, ONE_FIT[0], factors=np.ones(6))
    (path_point,) = path_points(case.objective, CS[1:2], monitor)
    folds = folds_of(40, 3)
    expected = FoldRefits(case.objective, folds, 1e-12).held_out_fits(path_point)
    refits = FoldRefits(elsewhere(case.objective), folds, 1e-12)
    for fit, as_before in zip(refits.held_out_fits(path_point), expected, strict=True):
        np.testing.assert_array_equal(fit.scores, as_before.scores)


# ---- Regularisation paths -----------------------------------------------------------------------

X, y = overlapping()
WEIGHTS = np.tile([0.0, 1.0, 2.0, 0.4, 3.5], 24)
OFFSET = np.random.default_rng(3).normal(size=(120, 3))
ANSWERS = np.maximum(one_hot(y), np.random.default_rng(4).random((120, 3)) < 0.3)

# estimator, X, y, arguments of fit
GIVEN = {
    "classes": (SoftmaxRegression(), X, y, {}),
    "two classes": (SoftmaxRegression(), X, y == 1, {}),
    "named": (SoftmaxRegression(), X, np.array(["ash", "birch", "cedar"])[y], {}),
    "weights": (SoftmaxRegression(), X, y, {"sample_weight": WEIGHTS}),
    "offset": (SoftmaxRegression(fit_intercept=False), X, y, {"offset": OFFSET}),
    "balanced": (SoftmaxRegression(class_weight="balanced", label_smoothing=0.1), X, y, {}),
    "factors": (SoftmaxRegression(penalty_factor=[1, 2, 0.5, 3]), X, y, {}),
    "float32": (SoftmaxRegression(), X.astype(np.float32), y, {}),
    "sparse": (SoftmaxRegression(), *PROBLEMS["sparse counts"](), {}),
    "wide": (SoftmaxRegression(), *PROBLEMS["wide"](), {}),
    "labels": (SigmoidRegression(), X, ANSWERS, {}),
    "sparse labels": (SigmoidRegression(), X, sp.csr_array(ANSWERS), {}),
    "against the rest": (SigmoidRegression(), X, y, {"sample_weight": WEIGHTS}),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_path_is_that_of_single_fits(name):
    """Coefficients, objective and certificate at each C are those of the estimator at that C."""
    estimator, X, y, terms = GIVEN[name]
    float32 = name == "float32"
    estimator = estimator.set_params(tol=1e-11 if float32 else 1e-13)
    path = regularization_path(X, y, CS, estimator=estimator, **terms)
    np.testing.assert_array_equal(path.Cs, CS)
    for i, C in enumerate(CS):
        single = estimator.set_params(C=C).fit(X, y, **terms)
        largest = max(1, np.abs(single.coef_).max(), np.abs(single.intercept_).max())
        atol = largest * (1e-4 if float32 else 1e-5)
        np.testing.assert_allclose(path.coef[i], single.coef_, rtol=0, atol=atol)
        np.testing.assert_allclose(path.intercept[i], single.intercept_, rtol=0, atol=atol)
        assert path.objective[i] == pytest.approx(single.objective_, rel=1e-9)
        assert 0 <= path.optimality_gap[i] <= 1e-8 * path.objective[i]
    assert path.coef.dtype == path.intercept.dtype == np.float64
    np.testing.assert_array_equal(path.classes, single.classes_)
    assert path.converged.all() and path.converged.shape == (3,)
    assert path.n_passes.dtype.kind == "i" and (path.n_passes > 0).all()


@pytest.mark.parametrize("name", ["classes", "two classes", "labels", "against the rest"])
def test_the_path_ends_without_a_penalty(name):
    """C=inf is the last point: the plain fit, as certified."""
    estimator, X, y, terms = GIVEN[name]
    estimator = estimator.set_params(tol=1e-13)
    path = regularization_path(X, y, [np.inf, 1.0], estimator=estimator, **terms)
    np.testing.assert_array_equal(path.Cs, [1.0, np.inf])
    single = estimator.set_params(C=np.inf).fit(X, y, **terms)
    np.testing.assert_allclose(path.coef[1], single.coef_, rtol=0, atol=1e-5)
    assert path.objective[1] == pytest.approx(single.objective_, rel=1e-9)
    assert path.converged.all()
    assert set(path.to_frame()["C"]) == {1.0, np.inf}


@pytest.mark.parametrize("C", [1e2, 1e4, 1e8])
def test_a_path_says_where_there_is_no_optimum(C):
    """Classes that are separated: C=inf has not converged, however near the start is."""
    path = regularization_path(*load_iris(return_X_y=True), [C, np.inf])
    assert path.converged.tolist() == [True, False] and np.isfinite(path.coef).all()


@pytest.mark.parametrize("name", ["iris", "wine", "beans", "rare and nearly separable"])
def test_the_path_on_raw_data_reaches_the_optimum(name):
    """F by the formula at each C is the independently computed least one."""
    Cs = [0.01, 1.0]
    X, y = PROBLEMS[name]()
    path = regularization_path(X, y, Cs)
    for i, C in enumerate(Cs):
        least = solved(name, C)[-1]
        F = objective(path.coef[i], path.intercept[i], X, one_hot(y), C)
        assert F / least <= 1 + 1e-8
        assert path.objective[i] - least <= path.optimality_gap[i] + 1e-10 * least


def test_a_number_of_strengths_asks_for_the_grid_of_cross_validation():
    """Cs=6: the same values, ascending, that SoftmaxRegressionCV tries."""
    path = regularization_path(X, y, 6)
    np.testing.assert_allclose(path.Cs, SoftmaxRegressionCV(6, cv=2).fit(X, y).Cs_, rtol=1e-12)
    default = regularization_path(X, y)
    assert default.Cs.shape == (10,) and default.coef.shape == (10, 3, 4)
    np.testing.assert_array_equal(regularization_path(X, y, [3, 0.1, 3]).Cs, [0.1, 3])


def test_coefficients_grow_along_the_path():
    """From next to none at the first C on: a weaker penalty never shrinks their size."""
    path = regularization_path(*load_wine(return_X_y=True), 12)
    sizes = np.square(path.coef).sum(axis=(1, 2))
    assert (np.diff(sizes) > 0).all() and sizes[0] < 1e-3 * sizes[-1]


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_the_frame_holds_every_coefficient_once(kind):
    """to_frame: a row for each C, class and feature, the intercept among them."""
    estimator, X, y, terms = GIVEN[kind]
    names = ["gre", "gpa", "age", "income"]
    path = regularization_path(pd.DataFrame(X, columns=names), y, CS, estimator=estimator, **terms)
    table, rows = path.to_frame(), path.coef.shape[1]
    assert list(table)[:4] == ["C", "class", "feature", "coef"]
    assert set(table) >= {"objective", "optimality_gap", "converged", "n_passes"}
    assert len(table) == 3 * rows * 5 and not table.duplicated(["C", "class", "feature"]).any()
    for i, C in enumerate(CS):
        coef = table[table["C"] == C].pivot(index="class", columns="feature", values="coef")
        assert coef.index.tolist() == path.classes[-rows:].tolist()
        np.testing.assert_array_equal(coef[names], path.coef[i])
        np.testing.assert_array_equal(coef["intercept"], path.intercept[i])
        assert set(table[table["C"] == C]["objective"]) == {path.objective[i]}
    unnamed = regularization_path(X, y, [1.0], estimator=estimator, **terms)
    assert unnamed.feature_names.tolist() == ["x0", "x1", "x2", "x3"]


SPARSE = {
    "lasso": SoftmaxRegression(l1_ratio=1, standardize=True, tol=1e-12),
    "features": SoftmaxRegression(l1_ratio=1, l1_groups="feature", tol=1e-12),
    "elastic net of labels": SigmoidRegression(l1_ratio=0.5, standardize=True, tol=1e-12),
}


@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_path_is_that_of_single_fits_from_where_all_is_zero(name):
    """Every point is proven, has the F and zeros of its own fit, and the grid spans the ratio."""
    model = SPARSE[name]
    path = regularization_path(X, y, 6, ratio=0.01, estimator=model)
    np.testing.assert_allclose(path.Cs[-1] / path.Cs[0], 100)
    assert path.proven.all() and (path.optimality_gap <= 1e-8 * path.objective).all()
    assert path.n_nonzero_features[0] == 0 < path.n_nonzero_features[1]
    assert sp.issparse(path.coefficients) and path.coef.shape == (6, 3, 4)
    for i, C in enumerate(path.Cs):
        alone = clone(model).set_params(C=C).fit(X, y)
        np.testing.assert_allclose(path.objective[i], alone.objective_, rtol=1e-9)
        np.testing.assert_allclose(path.predict_proba(X, C), alone.predict_proba(X), atol=1e-5)
        assert path.n_nonzero_features[i] == (path.coef[i] != 0).any(axis=0).sum()
        np.testing.assert_array_equal(path.coef[i] == 0, alone.coef_ == 0)
    frame = path.to_frame().groupby("C").first()
    np.testing.assert_array_equal(frame["n_nonzero_features"], path.n_nonzero_features)


def test_a_path_predicts_at_its_own_strengths_only():
    """No penalty is one of them; others are refused with the nearest."""
    path = regularization_path(X, y, [0.1, 10, np.inf])
    with_offset = path.predict_proba(X, np.inf, offset=np.ones((len(y), 3)))
    np.testing.assert_allclose(with_offset, path.predict_proba(X, np.inf), atol=1e-12)
    alone = SoftmaxRegression(C=10).fit(X, y)
    np.testing.assert_allclose(path.predict_proba(X, 10), alone.predict_proba(X), atol=1e-4)
    for C, message in ((3.0, "C=3.0 .*nearest of Cs is 10.0"), (1e9, "is inf"), (-1, "C=-1 .*> 0")):
        with pytest.raises(ValueError, match=message):
            path.predict_proba(X, C)


@pytest.mark.parametrize("ratio", [0, 1, -0.1, "0.1", np.nan, True])
def test_a_ratio_that_spans_nothing_is_refused(ratio):
    """It is a share of the largest useful strength."""
    with pytest.raises(ValueError, match="ratio=.* between 0 and 1"):
        regularization_path(X, y, 3, ratio=ratio, estimator=SoftmaxRegression(l1_ratio=1))


def test_a_path_leaves_the_estimator_as_it_was():
    """Its C, and whatever it had learned, stay."""
    model = SoftmaxRegression(C=3.0).fit(X, y)
    before = model.coef_
    regularization_path(X[:, :2], y, CS, estimator=model)
    assert model.C == 3.0 and model.coef_ is before and model.n_features_in_ == 4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"Cs": []}, "Cs"),
        ({"Cs": [1, -1]}, r"Cs must be > 0, got -1 at .*1"),
        ({"Cs": 0}, "Cs=0"),
        ({"Cs": [1, np.nan]}, "Cs must be > 0, got nan"),
        ({"estimator": SoftmaxRegression(solver="newton")}, "solver='newton'.*auto"),
        ({"X": np.full((120, 4), np.nan)}, "NaN"),
        ({"sample_weight": -np.ones(120)}, "sample_weight"),
        ({"offset": np.zeros((120, 2))}, "offset"),
        ({"y": ["ash"] * 120}, "ash"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_bad_input_to_a_path_is_refused(arguments, match):
    """By name, value and remedy, as in fit."""
    with pytest.raises(ValueError, match=match):
        regularization_path(**({"X": X, "y": y} | arguments))


def test_a_path_says_where_the_optimum_was_not_reached():
    """max_iter=1 on hard data: converged is false there, and nothing is raised."""
    heavy = np.random.default_rng(0).standard_t(1.1, size=(120, 4)) * [1, 1e3, 1, 1e-3]
    path = regularization_path(heavy, y, [1e-14, 1e6], estimator=SoftmaxRegression(max_iter=1))
    assert path.converged.dtype == bool and not path.converged[1]
    assert np.isfinite(path.coef).all()
