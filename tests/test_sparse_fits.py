"""Laws of sparse fits: what is known of lasso, elastic net and groups without solving them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sparse_problems
from problems import (
    constant_and_duplicated,
    far_from_zero,
    labels_drawn,
    one_hot,
    rare_and_nearly_separable,
    sparse_counts,
    wide,
)
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.solvers import Newton, ProximalNewton

C = 0.05


def data(K=3, n=150, seed=0):
    """Eight columns in units over 1e-2 .. 1e2, of which half matter."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    y = labels_drawn(rng, X @ (rng.normal(size=(8, K)) * (np.arange(8) % 2)[:, None]))
    return X, y


X, y = data()
Y = one_hot(y)
# l1_ratio and l1_groups, and the groups that they mean for K rows of coefficients.
LABELS = np.array(list("aabbbcde"))
KINDS = {
    "lasso": (1.0, None, lambda K: None),
    "elastic net": (0.4, None, lambda K: None),
    "by feature": (1.0, "feature", lambda K: sparse_problems.by_feature(K, 8)),
    "by feature, with ridge": (0.6, "feature", lambda K: sparse_problems.by_feature(K, 8)),
    "groups": (1.0, LABELS, lambda K: sparse_problems.by_label(LABELS, K)),
    "groups, with ridge": (0.5, LABELS, lambda K: sparse_problems.by_label(LABELS, K)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """l1_ratio, l1_groups, and what groups these are."""
    return KINDS[request.param]


def softmax(kind, C=C, **parameters):
    """A fit close enough to the optimum to compare coefficients."""
    parameters = {"l1_ratio": kind[0], "l1_groups": kind[1], "tol": 1e-13} | parameters
    return SoftmaxRegression(C, **parameters)


def assert_same(one, other, atol=1e-5, zeros=True):
    """The same F, coefficients and zeros."""
    assert one.objective_ == pytest.approx(other.objective_, rel=1e-9)
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(one.intercept_, other.intercept_, rtol=0, atol=atol)
    if zeros:
        np.testing.assert_array_equal(one.coef_ == 0, other.coef_ == 0)


def assert_optimum(model, X, Y, groups=None, worst=1e-4, **terms):
    """F is what the model says, the conditions of an optimum hold, and it is proven."""
    terms = (X, Y, model.C, model.l1_ratio, groups), terms
    F = sparse_problems.objective(model.coef_, model.intercept_, *terms[0], **terms[1])
    assert model.objective_ == pytest.approx(F, rel=1e-11)
    found, _ = sparse_problems.violation(model.coef_, model.intercept_, *terms[0], **terms[1])
    assert found < worst
    assert model.converged_ and model.proven_
    assert 0 <= model.optimality_gap_ <= max(model.tol, 1e-8) * F


# ---- The optimum, whatever the terms ------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_every_kind_of_penalty_reaches_its_optimum(kind, K):
    """Some coefficients are zero, exactly, in whole groups; the others meet their conditions."""
    X, y = data(K)
    model = softmax(kind).fit(X, y)
    groups = kind[2](len(model.coef_))
    assert_optimum(model, X, one_hot(y), groups)
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size
    if groups is not None:
        is_zero = sparse_problems.lengths(model.coef_, groups) == 0
        np.testing.assert_array_equal(model.coef_ == 0, is_zero)
    assert isinstance(softmax(kind).fit(X, y).solver_, ProximalNewton)


def test_weights_offsets_and_factors_enter_the_optimum(kind):
    """All of them at once, on CSR and on arrays: the conditions hold, and both fits agree."""
    rng = np.random.default_rng(1)
    factor = np.array([1, 1, 2, 2, 2, 0.3, 1, 5.0])
    terms = {"sample_weight": rng.uniform(0, 3, 150), "offset": rng.normal(size=(150, 3))}
    counts = X * (rng.random(X.shape) < 0.4)
    dense, sparse = (
        softmax(kind, penalty_factor=factor).fit(A, y, **terms)
        for A in (counts, sp.csr_array(counts))
    )
    assert_optimum(dense, counts, Y, kind[2](3), penalty_factor=factor, **terms)
    assert_same(sparse, dense)


def test_soft_targets_have_their_optimum(kind):
    """Probabilities as targets; smoothed labels are such."""
    P = 0.85 * Y + 0.05
    soft, smoothed = softmax(kind).fit(X, P), softmax(kind, label_smoothing=0.15).fit(X, y)
    assert_optimum(soft, X, P, kind[2](3))
    assert_same(smoothed, soft)


def test_without_an_intercept_there_is_none(kind):
    """The conditions of the coefficients alone."""
    model = softmax(kind, fit_intercept=False).fit(X + 0.3, y)
    assert not model.intercept_.any()
    R = model.predict_proba(X + 0.3) - Y
    worst = sparse_problems.violation(
        model.coef_, model.intercept_, X + 0.3, Y, C, kind[0], kind[2](3)
    )
    assert model.proven_ and np.isfinite(worst[0])
    F = sparse_problems.objective(model.coef_, model.intercept_, X + 0.3, Y, C, kind[0], kind[2](3))
    assert model.objective_ == pytest.approx(F, rel=1e-11)
    # A column of ones with an intercept that costs nothing is the same as an intercept.
    assert np.abs(R.sum(axis=0)).max() > 1e-3


def test_a_weight_of_two_is_the_row_twice_and_none_is_no_row(kind):
    """Whole-number weights are repeated rows."""
    times = np.random.default_rng(0).integers(0, 4, size=150)
    weighted = softmax(kind).fit(X, y, sample_weight=times)
    assert_same(weighted, softmax(kind).fit(X.repeat(times, axis=0), y.repeat(times)))


def test_class_weights_are_weights_of_rows(kind):
    """class_weight multiplies the weights of a class's rows."""
    weights = {0: 2.0, 1: 0.5, 2: 1.0}
    by_row = np.array([weights[k] for k in y])
    assert_same(
        softmax(kind, class_weight=weights).fit(X, y), softmax(kind).fit(X, y, sample_weight=by_row)
    )


def test_chunks_are_one_array(kind):
    """fit_chunks reads the data in parts and has the same optimum."""
    chunks = [(X[:40], y[:40]), (X[40:90], y[40:90]), (X[90:], y[90:])]
    assert_same(softmax(kind).fit_chunks(lambda: iter(chunks)), softmax(kind).fit(X, y))


def test_single_precision_is_enough_for_x(kind):
    """float32 columns: the optimum of their values in double, float64 coefficients."""
    X32 = X.astype(np.float32)
    model = softmax(kind, tol=1e-9).fit(X32, y)
    assert model.coef_.dtype == np.float64 and model.converged_
    assert_optimum(model, X32.astype(float), Y, kind[2](3), worst=1e-2)


def test_threads_change_nothing_beyond_rounding(kind):
    """n_jobs spreads rows."""
    rng = np.random.default_rng(9)
    X = rng.normal(size=(30_000, 8))
    y = labels_drawn(rng, X @ rng.normal(size=(8, 3)) * 0.2)
    one, two = (softmax(kind, 5e-4, tol=1e-9, n_jobs=n).fit(X, y) for n in (1, 2))
    assert_same(two, one, atol=1e-9)


def test_permuting_classes_permutes_scores(kind):
    """F and scores, that is, as the minimiser may not be unique."""
    order = np.array([2, 0, 1])
    old, new = softmax(kind).fit(X, y), softmax(kind).fit(X, order[y])
    assert new.objective_ == pytest.approx(old.objective_, rel=1e-10)
    np.testing.assert_allclose(
        new.predict_proba(X)[:, order], old.predict_proba(X), rtol=0, atol=1e-5
    )


def test_an_offset_is_a_column_with_a_fixed_coefficient():
    """A column held at its fitted coefficients leaves the others where they are."""
    full = softmax(KINDS["lasso"]).fit(X, y)
    held = np.outer(X[:, 1], full.coef_[:, 1])
    rest = softmax(KINDS["lasso"]).fit(np.delete(X, 1, axis=1), y, offset=held)
    np.testing.assert_allclose(rest.coef_, np.delete(full.coef_, 1, axis=1), atol=1e-5)


# ---- Two classes, labels ------------------------------------------------------------------------


def test_two_classes_are_one_label_and_one_group():
    """SoftmaxRegression, SigmoidRegression and groups by feature agree where K = 1."""
    X, y = data(2)
    two = softmax(KINDS["lasso"]).fit(X, y)
    label = SigmoidRegression(C, 1.0, tol=1e-13).fit(X, y)
    grouped = softmax(KINDS["by feature"]).fit(X, y)
    swapped = softmax(KINDS["lasso"]).fit(X, 1 - y)
    assert_same(label, two)
    assert_same(grouped, two)
    np.testing.assert_allclose(swapped.coef_, -two.coef_, atol=1e-6)


@pytest.mark.parametrize("l1_groups", [None, "feature", LABELS], ids=["each", "feature", "labels"])
def test_each_label_is_a_fit_of_its_own(l1_groups):
    """With its own C, also inf, its own rows, weights and offsets; groups stay within a label."""
    rng = np.random.default_rng(2)
    answers = (rng.random((150, 4)) < 1 / (1 + np.exp(-X[:, :4]))) * 1.0
    answers[rng.random(answers.shape) < 0.2] = np.nan
    answers[:, 3] = rng.uniform(size=150)
    Cs, offset = [0.05, 1.0, np.inf, 0.02], rng.normal(size=(150, 4))
    weight = rng.uniform(0.2, 2, (150, 4))
    options = {"l1_ratio": 0.9, "l1_groups": l1_groups, "tol": 1e-13}
    model = SigmoidRegression(Cs, **options).fit(X, answers, sample_weight=weight, offset=offset)
    assert model.converged_ and model.proven_
    for label, C in enumerate(Cs):
        known = ~np.isnan(answers[:, label])
        yes = answers[known, label]
        alone = SoftmaxRegression(C, **options).fit(
            X[known],
            np.column_stack([1 - yes, yes]),
            sample_weight=weight[known, label],
            offset=offset[known, label],
        )
        np.testing.assert_allclose(model.coef_[label], alone.coef_[0], atol=1e-5)
        np.testing.assert_array_equal(model.coef_[label] == 0, alone.coef_[0] == 0)
    assert 0 < np.count_nonzero(model.coef_[0]) < 8 and model.coef_[2].all()


# ---- The strengths ------------------------------------------------------------------------------


def test_no_share_of_the_sparse_part_is_the_smooth_fit_bit_by_bit(kind):
    """l1_ratio = 0, whatever the groups; "proximal-newton" is then Newton."""
    plain = SoftmaxRegression(C).fit(X, y)
    model = SoftmaxRegression(C, 0.0, l1_groups=kind[1]).fit(X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.intercept_, plain.intercept_)
    one, other = (
        SoftmaxRegression(C, solver=solver).fit(X, y) for solver in ("proximal-newton", Newton())
    )
    np.testing.assert_array_equal(one.coef_, other.coef_)


def test_a_tiny_share_of_the_sparse_part_is_close_to_none(kind):
    """l1_ratio = 1e-12: F within 1e-10, the same coefficients, but for the gauge."""
    ridge, model = SoftmaxRegression(C, tol=1e-13).fit(X, y), softmax(kind, l1_ratio=1e-12)
    model.fit(X, y)
    assert model.objective_ == pytest.approx(ridge.objective_, rel=1e-10)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=0, atol=1e-5)
    assert model.converged_ and model.proven_


def test_an_infinite_c_is_no_penalty(kind):
    """C = inf with l1_ratio > 0 is the unpenalised fit, bit by bit."""
    plain, model = SoftmaxRegression(np.inf).fit(X, y), softmax(kind, np.inf, tol=1e-9).fit(X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)


def test_a_factor_of_zero_keeps_a_feature_and_the_fit_proven(kind):
    """It has coefficients in all classes, the conditions hold, and the Hessian proves that."""
    factor = np.array([1, 1, 1, 1, 1, 1, 0, 1.0])
    model = softmax(kind, 0.01, penalty_factor=factor).fit(X, y)
    assert model.converged_ and model.proven_
    assert model.optimality_gap_ <= 1e-8 * model.objective_
    assert model.coef_[:, 6].all()
    worst, _ = sparse_problems.violation(
        model.coef_, model.intercept_, X, Y, 0.01, kind[0], kind[2](3), penalty_factor=factor
    )
    assert worst < 1e-4
    np.testing.assert_allclose(model.coef_[:, 6].sum(), 0, atol=1e-9)


@pytest.mark.parametrize("container", [dict, pd.Series])
def test_factors_and_groups_may_be_by_column_name(container):
    """In any order; a dict of factors may leave out columns, which have 1."""
    frame = pd.DataFrame(X, columns=list("ABCDEFGH"))
    factor = {"C": 2.0, "A": 0.5, "D": 2.0, "E": 2.0, "B": 0.5}
    groups = dict(zip("HGFEDCBA", LABELS[::-1], strict=True))
    by_place = softmax((1.0, LABELS), penalty_factor=[0.5, 0.5, 2, 2, 2, 1, 1, 1]).fit(X, y)
    named = softmax((1.0, container(groups)), penalty_factor=container(factor)).fit(frame, y)
    np.testing.assert_allclose(named.coef_, by_place.coef_, rtol=1e-9)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_standardising_is_the_fit_to_divided_columns(kind, container):
    """Raw columns in units over twelve orders; coefficients are in these units."""
    unit = 10.0 ** np.linspace(-6, 6, 8)
    counts = X * (np.random.default_rng(3).random(X.shape) < 0.5)
    s = np.random.default_rng(4).uniform(0, 2, 150)
    mean = np.average(counts, axis=0, weights=s)
    deviation = np.sqrt(np.average((counts - mean) ** 2, axis=0, weights=s))
    raw = softmax(kind, standardize=True).fit(container(counts * unit), y, sample_weight=s)
    divided = softmax(kind).fit(counts / deviation, y, sample_weight=s)
    scale = unit * deviation
    np.testing.assert_allclose(raw.coef_ * scale, divided.coef_, atol=1e-5)
    np.testing.assert_array_equal(raw.coef_ == 0, divided.coef_ == 0)
    assert raw.objective_ == pytest.approx(divided.objective_, rel=1e-10) and raw.proven_


def test_units_are_taken_back_by_factors(kind):
    """Column t x_j with the factor t f_j, of a lasso: within a group t is the same."""
    if kind[0] < 1:
        return
    t = np.array([1e3, 1e3, 1e-2, 1e-2, 1e-2, 1, 7, 0.1])
    old, new = softmax(kind).fit(X, y), softmax(kind, penalty_factor=t).fit(X * t, y)
    np.testing.assert_allclose(new.coef_ * t, old.coef_, atol=1e-5)
    np.testing.assert_array_equal(new.coef_ == 0, old.coef_ == 0)


def test_raw_columns_of_a_group_in_unequal_units_reach_their_optimum():
    """Lengths are of raw coefficients, so that columns of a group keep a scale in common."""
    raw = X * 10.0 ** np.array([-3, 3, 0, 2, -2, 0, 4, -4]) + 5
    for l1_ratio in (1.0, 0.5):
        model = softmax((l1_ratio, LABELS)).fit(raw, y)
        assert_optimum(model, raw, Y, sparse_problems.by_label(LABELS, 3), worst=1e-2)


def test_all_is_zero_at_the_largest_useful_strength_and_not_just_below_it(kind):
    """C at which the gradients of the null model are of the strength's size, by plain numpy."""
    mean = Y.mean(axis=0)
    G = (mean - Y).T @ X / len(X)
    largest = sparse_problems.lengths(G, kind[2](3)).max() / kind[0]  # = 1 / (C S)
    assert not softmax(kind, 1 / (largest * len(X)) * (1 - 1e-6)).fit(X, y).coef_.any()
    above = softmax(kind, 1 / (largest * len(X)) * (1 + 1e-3)).fit(X, y)
    assert above.coef_.any() and above.proven_
    np.testing.assert_array_equal(softmax(kind, 1e-300).fit(X, y).coef_, 0)


# ---- Hard problems ------------------------------------------------------------------------------

PROBLEMS = {
    "constant and duplicated columns": constant_and_duplicated,
    "far from zero": far_from_zero,
    "rare and nearly separable": rare_and_nearly_separable,
    "sparse counts": sparse_counts,
    "wide": wide,
    "wine": lambda: load_wine(return_X_y=True),
    "separated": lambda: (np.arange(60.0)[:, None] * [1, -2], np.arange(60) // 20),
}


@pytest.mark.parametrize("strength", [1e-2, 1.0, 1e4])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", PROBLEMS)
def test_hard_problems_are_proven(name, grouped, standardize, strength):
    """From strong to hardly a penalty: the optimum, with its proof, and F of plain numpy."""
    X, y = PROBLEMS[name]()
    model = SoftmaxRegression(
        strength, 1.0, l1_groups="feature" if grouped else None, standardize=standardize
    )
    model.fit(X, y)
    A = X.toarray() if sp.issparse(X) else X
    groups = sparse_problems.by_feature(len(model.coef_), X.shape[1]) if grouped else None
    unit = A.std(axis=0) * (np.ptp(A, axis=0) > 0) if standardize else np.ones(X.shape[1])
    F = sparse_problems.objective(
        model.coef_, model.intercept_, X, one_hot(y), strength, 1.0, groups, penalty_factor=unit
    )
    assert model.converged_ and model.optimality_gap_ <= 1e-8 * F
    assert model.objective_ == pytest.approx(F, rel=1e-9)
    assert (model.coef_[:, np.ptp(A, axis=0) == 0] == 0).all()


def test_classes_without_rows_get_no_probability(kind):
    """Declared classes that y lacks; the fit is that of the others."""
    two = np.isin(y, [0, 2])
    model = softmax(kind, classes=[0, 1, 2], tol=1e-9).fit(X[two], y[two])
    assert model.converged_ and np.isfinite(model.coef_).all()
    assert model.predict_proba(X)[:, 1].max() < 0.02


# ---- What estimators do -------------------------------------------------------------------------


def test_a_warm_start_may_come_from_another_share(kind):
    """And ends at the optimum of the new one; at the optimum there is next to nothing to do."""
    model = softmax(kind, l1_ratio=0.0, warm_start=True).fit(X, y)
    model.set_params(l1_ratio=kind[0]).fit(X, y)
    assert_same(model, softmax(kind).fit(X, y))
    n_iter = model.fit(X, y).n_iter_[0]
    assert n_iter <= 2
    assert_same(model.set_params(l1_ratio=0.0).fit(X, y), SoftmaxRegression(C).fit(X, y), atol=1e-4)


@pytest.mark.parametrize("max_iter", [0, 1])
def test_a_fit_that_is_cut_short_says_so(kind, max_iter):
    """max_iter: a warning, coefficients that are numbers, and a bound that holds."""
    best = softmax(kind).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = softmax(kind, max_iter=max_iter).fit(X, y)
    assert not model.converged_ and model.n_iter_[0] == max_iter
    assert len(model.loss_curve_) == max_iter
    assert model.objective_ - best.objective_ <= model.optimality_gap_ + 1e-15


def test_iterations_lower_f(kind):
    """At one strength the loss curve falls; its end is F."""
    model = softmax(kind).fit(X, y)
    assert len(model.loss_curve_) == model.n_iter_[0]
    assert model.loss_curve_[-1] == pytest.approx(model.objective_, rel=1e-9)


def test_fits_are_pickled_cloned_and_made_sparse(kind):
    """As scikit-learn's users do."""
    model = softmax(kind).fit(X, y)
    P = model.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), P)
    assert clone(model).get_params().keys() == model.get_params().keys()
    np.testing.assert_allclose(model.sparsify().predict_proba(X), P, rtol=1e-12)
    assert sp.issparse(model.coef_) and model.coef_.nnz == np.count_nonzero(model.coef_.toarray())


def test_a_grid_search_chooses_the_share():
    """l1_ratio and l1_groups are parameters like others."""
    grid = {"l1_ratio": [0, 0.5, 1.0], "l1_groups": [None, "feature"]}
    search = GridSearchCV(SoftmaxRegression(C), grid, cv=3, scoring="neg_log_loss").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# ---- Numbers far from one -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_offsets_that_saturate_every_row_have_their_optimum(kind, size):
    """Where curvature is zero at the start, of scores in the thousands, too."""
    offset = size * np.random.default_rng(2).normal(size=(150, 3))
    model = softmax(kind, tol=1e-9).fit(X, y, offset=offset)
    assert model.converged_
    smooth = SoftmaxRegression(C, tol=1e-9).fit(X, y, offset=offset)
    terms = (X, Y, C, *kind[:1], kind[2](3))
    bound = sparse_problems.objective(smooth.coef_, smooth.intercept_, *terms, offset=offset)
    F = sparse_problems.objective(model.coef_, model.intercept_, *terms, offset=offset)
    assert model.objective_ == pytest.approx(F, rel=1e-11)
    assert bound * (1 + 1e-8) >= F
    assert model.optimality_gap_ <= 1e-8 * F


@pytest.mark.parametrize("groups", [None, "feature"])
@pytest.mark.parametrize("seed", [40, 115, 151])
def test_a_declared_class_without_rows_has_no_say(groups, seed):
    """F is that of two classes by themselves, and the third stays where the null model has it.

    Its coefficients are zero, and those of the two opposite: in groups they cost by the root of two
    less than one row of them.
    """
    rng = np.random.default_rng(seed)
    X, y, weight = rng.normal(size=(60, 3)), rng.integers(2, size=60), 10 ** rng.uniform(-12, 0, 60)
    model = SoftmaxRegression(1000, 1.0, l1_groups=groups, classes=[0, 1, 2])
    model.fit(X, y, sample_weight=weight)
    share = 1.0 if groups is None else np.sqrt(2)
    alone = SoftmaxRegression(1000 * share, 1.0).fit(X, y, sample_weight=weight)
    assert model.proven_ and alone.proven_ and np.abs(model.coef_[2]).max() < 1e-9
    assert model.objective_ == pytest.approx(alone.objective_, rel=2e-8)
    assert np.abs(model.intercept_).max() < 1e3


@pytest.mark.parametrize("C", [1e10, 1e13])
@pytest.mark.parametrize(
    "groups", [None, "feature", [*LABELS, *LABELS]], ids=["each", "feature", "group"]
)
def test_hardly_a_penalty_on_columns_that_determine_each_other_is_proven(groups, C):
    """Each column comes twice: F is that of no penalty on one of them, to 1e-8."""
    model = SoftmaxRegression(C, 1.0, l1_groups=groups).fit(np.column_stack([X, X]), y)
    least = SoftmaxRegression(np.inf).fit(X, y).objective_
    assert model.proven_ and model.objective_ == pytest.approx(least, rel=2e-8)


@pytest.mark.parametrize(("size", "seed"), [(3e3, 50), (3e5, 43)])
def test_few_rows_far_from_their_answers_have_their_optimum(size, seed):
    """Five rows with offsets, of which a few have all weight: no Hessian says how far to go."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(5, 8)), rng.dirichlet(np.ones(3), size=5)
    terms = {
        "offset": size * rng.normal(size=(5, 3)),
        "sample_weight": rng.choice([1, 1e-3, 1e3], 5),
    }
    model = SoftmaxRegression(0.1, 1.0).fit(X, Y, **terms)
    F = sparse_problems.objective(model.coef_, model.intercept_, X, Y, 0.1, 1.0, **terms)
    assert model.objective_ == pytest.approx(F, rel=1e-11)
    assert model.proven_ and model.optimality_gap_ <= 1e-8 * F


@pytest.mark.parametrize("offset", [5.0, 744.0, 1e5])
def test_one_row_has_the_optimum_of_the_formula(offset):
    """log(1 + e^(o - 2 w)) + w / C: at the optimum the probability is 1 / (2 C)."""
    C = 600.0
    model = SigmoidRegression(C, 1.0, fit_intercept=False)
    model.fit([[-2.0, 1.0, 0.5]], [[0.0, 1.0]], offset=[[offset, 0.0]])
    probability = 1 / (2 * C)
    w = (offset - np.log(probability / (1 - probability))) / 2
    np.testing.assert_allclose(model.coef_[0], [w, 0, 0], rtol=1e-6)
    assert model.proven_


@pytest.mark.parametrize("l1_groups", [None, "feature", LABELS])
@pytest.mark.parametrize("l1_ratio", [1e-300, 1e-100])
def test_a_share_that_is_nearly_no_number_is_the_ridge(l1_ratio, l1_groups):
    """The length of the way from the strength that keeps all zero does not matter."""
    model = SoftmaxRegression(C, l1_ratio, l1_groups=l1_groups).fit(X, y)
    assert model.objective_ == pytest.approx(SoftmaxRegression(C).fit(X, y).objective_, rel=1e-8)
    assert model.proven_


def test_features_without_a_penalty_do_not_separate_a_class_without_weight():
    """Its scores go anywhere, unnoticed; the other classes have an optimum, which is reached."""
    rng = np.random.default_rng(3)
    counts = X * (rng.random(X.shape) < 0.2)
    soft = np.column_stack([rng.dirichlet(np.ones(3), size=len(X)), np.zeros(len(X))])
    factor = np.array([0, 0, 0, 1, 1, 1, 1, 1.0])
    model = SoftmaxRegression(C, 1.0, l1_groups="feature", penalty_factor=factor)
    assert model.fit(counts, soft).converged_


def test_a_label_without_a_penalty_beside_a_sparse_one_reaches_its_optimum_of_collinear_columns():
    """Columns of far units, and combinations of them: F is the unpenalised fit's without these."""
    A = X[:, :3] * [1e-6, 1.0, 1e6]
    model = SigmoidRegression([C, np.inf], 1.0, standardize=True)
    model.fit(np.column_stack([A, A, A @ [[1, 0], [0, 1], [0, 1e-6]]]), Y[:, :2])
    assert model.converged_
    expected = SigmoidRegression(np.inf).fit(A, Y[:, :2]).label_objective_[1]
    assert model.label_objective_[1] == pytest.approx(expected, rel=1e-8)


def test_a_gap_that_proves_nothing_is_no_convergence():
    """Units of one group that are 1e300 apart: the ridge alone lowers F, and the fit says so."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X.sum(axis=1) + rng.normal(size=60) > 0) * 1
    X *= [1e120, 1.0, 1e-120, 1e-180]
    model = SoftmaxRegression(0.1, 1e-12, l1_groups=np.zeros(4, dtype=int))
    with pytest.warns(ConvergenceWarning, match="rounding"):
        model.fit(X, y)
    assert not (model.converged_ or model.proven_)
    assert model.objective_ > SoftmaxRegression(0.1).fit(X, y).objective_ + 1e-3
