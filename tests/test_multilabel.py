"""SigmoidRegression: one fit gives every label the optimum of its own two-class problem."""

import pickle
import tracemalloc
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from problems import PROBLEMS, objective, one_hot, optimum, overlapping
from scipy.special import expit, log_expit, logit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    label_ranking_average_precision_score,
    make_scorer,
)
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.solvers import LBFGS, Newton

TREES = np.array(["ash", "birch", "cedar"])
# With tol = 1e-13 coefficients over columns of ordinary size are those of the minimiser to 1e-5.
TIGHT = {"tol": 1e-13}
SAME = {"rtol": 0, "atol": 1e-5}
EXACT = {"solver": "newton-cholesky", "tol": 1e-12}
# What rounding adds to a label's part of F, relative to it.
ROUNDING = 1e-12


def simulated(n=300, L=6, seed=0):
    """Columns of ordinary size and labels that overlap, the first frequent, the last rare."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    Z = 0.7 * X @ rng.normal(size=(5, L)) + np.linspace(0.8, -2.5, L)
    return X, (rng.random((n, L)) < expit(Z)).astype(float)


def raw(X):
    """The columns in the units of raw data, some of them far from zero."""
    return X * [1e-3, 1, 30, 1e4, 0.2] + [0.01, -4, 2000, 1e5, 0]


def with_holes(Y, share=0.3):
    """A copy of Y where a share of the entries is unknown."""
    return np.where(np.random.default_rng(1).random(Y.shape) < share, np.nan, Y)


def two_classes(y):
    """One label as the targets of `problems`: the probabilities of no and of yes."""
    return np.column_stack([1 - y, y])


# --- the reference: each label by itself --------------------------------------------------------


def own_problem(label, X, Y, parameters, terms):
    """One label as `problems` states it: (X, Y, C) of its known rows, and the terms of F.

    With weights u of yes and v of no, a row of weight s has u s y (-log p) + v s (1-y) (-log(1-p)):
    one row of weight u s y + v s (1 - y) that is yes to the share u s y of it.
    """
    y = Y[:, label]
    known = ~np.isnan(y)
    weight = entry_weights(Y, terms)[known, label]
    yes, no = weight * y[known], weight * (1 - y[known])
    by_class = parameters.get("class_weight")
    if by_class == "balanced":
        yes, no = (part * weight.sum() / (2 * part.sum()) for part in (yes, no))
    elif by_class is not None:
        yes = yes * by_class.get(label, 1.0)
    counted = yes + no
    target = np.divide(yes, counted, out=np.zeros_like(yes), where=counted > 0)
    C = np.broadcast_to(parameters.get("C", 1.0), Y.shape[1])[label]
    own_terms = {"sample_weight": counted, "penalty_factor": parameters.get("penalty_factor")}
    if "offset" in terms:
        own_terms["offset"] = terms["offset"][known, label]
    return (X[known], two_classes(target), C), own_terms


def entry_weights(Y, terms):
    """The sample weight of every row and label, (n, L)."""
    weight = np.asarray(terms.get("sample_weight", 1.0), dtype=float)
    return np.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, Y.shape)


def own_optimum(label, X, Y, parameters, terms):
    """The optimum of one label's own two-class problem."""
    arguments, own_terms = own_problem(label, X, Y, parameters, terms)
    return optimum(*arguments, **own_terms, fit_intercept=parameters.get("fit_intercept", True))


def own_objective(label, model, X, Y, parameters, terms):
    """F of one label's own two-class problem at the model's coefficients."""
    arguments, own_terms = own_problem(label, X, Y, parameters, terms)
    W, b = model.coef_[[label]], model.intercept_[[label]]
    return objective(W, b, *arguments, **own_terms)


def parts_of_F(own_values, X, Y, parameters, terms):
    """Objectives of the labels' own problems, divided by the S that all labels share."""
    problems = (own_problem(label, X, Y, parameters, terms) for label in range(Y.shape[1]))
    totals = np.array([own_terms["sample_weight"].sum() for _, own_terms in problems])
    return np.array(own_values) * totals / totals.mean()


# --- the optimum of every label -----------------------------------------------------------------

X, Y = simulated()
RAW, HOLES = raw(X), with_holes(Y)
SOFT = 0.7 * Y + 0.3 * np.random.default_rng(2).random(Y.shape)
# Zeros, counts and fractions; their sum is not the number of rows.
ROW_WEIGHT = np.tile([0.0, 1.0, 2.0, 0.4, 3.5], 60)
ENTRY_WEIGHT = np.random.default_rng(3).choice([0.0, 0.5, 1.0, 2.5], Y.shape)
OFFSET = 2 * np.random.default_rng(4).normal(size=Y.shape)
FACTOR = [2.0, 0.1, 1.0, 30.0, 1.0]
STRENGTHS = np.array([0.01, 0.1, 1.0, 10.0, 100.0, 0.5])
WEIGHT_OF_YES = {0: 0.2, 4: 3.0, 5: 8.0}

# (Y, parameters of the estimator, terms that fit takes)
CASES = {
    "plain": (Y, {}, {}),
    "unknown entries": (HOLES, {}, {}),
    "row weights": (Y, {}, {"sample_weight": ROW_WEIGHT}),
    "row weights, unknown entries": (HOLES, {}, {"sample_weight": ROW_WEIGHT}),
    "entry weights": (Y, {}, {"sample_weight": ENTRY_WEIGHT}),
    "soft": (SOFT, {}, {}),
    "soft, unknown entries": (with_holes(SOFT), {}, {}),
    "C of each label": (Y, {"C": STRENGTHS}, {}),
    "balanced": (Y, {"class_weight": "balanced"}, {}),
    "balanced, soft, entry weights, unknown entries": (
        with_holes(SOFT),
        {"class_weight": "balanced"},
        {"sample_weight": ENTRY_WEIGHT},
    ),
    "weights of yes": (HOLES, {"class_weight": WEIGHT_OF_YES}, {}),
    "weights of yes, soft": (SOFT, {"class_weight": WEIGHT_OF_YES}, {}),
    "penalty factor": (Y, {"penalty_factor": FACTOR}, {}),
    "offset": (HOLES, {}, {"offset": OFFSET}),
    "no intercept": (Y, {"fit_intercept": False}, {}),
    "no penalty": (Y, {"C": np.inf}, {}),
    "no penalty, unknown entries, entry weights": (
        HOLES,
        {"C": np.inf},
        {"sample_weight": ENTRY_WEIGHT},
    ),
    "some labels without penalty": (Y, {"C": np.where(STRENGTHS < 1, np.inf, STRENGTHS)}, {}),
    "all terms": (
        with_holes(SOFT),
        {"C": STRENGTHS, "penalty_factor": FACTOR, "class_weight": WEIGHT_OF_YES},
        {"sample_weight": ENTRY_WEIGHT, "offset": OFFSET},
    ),
}
# How X and Y arrive.
FORMS = {
    "arrays": (np.asarray, np.asarray),
    "CSR X": (sp.csr_array, np.asarray),
    "float32 X": (np.float32, np.asarray),
    "CSR Y": (np.asarray, sp.csr_array),
    "CSR X and Y": (sp.csr_array, sp.csr_array),
    "frames": (pd.DataFrame, pd.DataFrame),
    "bool Y": (np.asarray, lambda Y: Y.astype(bool)),
}


def is_hard(Y):
    """No unknown entry and no soft one."""
    return np.isin(Y, [0, 1]).all()


@cache
def least(case, single=False):
    """The least objective of each label's own problem, on the columns as the fit sees them."""
    columns = RAW.astype(np.float32).astype(float) if single else RAW
    targets, parameters, terms = CASES[case]
    L = targets.shape[1]
    return [own_optimum(label, columns, targets, parameters, terms).objective for label in range(L)]


@pytest.mark.parametrize(
    ("case", "form"),
    [(c, f) for c in CASES for f in FORMS if f != "bool Y" or is_hard(CASES[c][0])],
)
def test_every_label_reaches_the_optimum_of_its_own_problem(case, form):
    """Each label's objective at its row of coef_ is within 1e-8 of the least, however it comes."""
    targets, parameters, terms = CASES[case]
    as_X, as_Y = FORMS[form]
    single = form == "float32 X"
    model = SigmoidRegression(**parameters).fit(as_X(RAW), as_Y(targets), **terms)
    columns = RAW.astype(np.float32).astype(float) if single else RAW
    reached = [
        own_objective(label, model, columns, targets, parameters, terms) for label in range(6)
    ]
    # Sums over float32 columns are held to what products in float32 can tell.
    np.testing.assert_allclose(reached, least(case, single), rtol=1e-6 if single else 1e-8)
    assert model.converged_ is True


@pytest.mark.factor("max_iter", [1, 2, None])
@pytest.mark.factor("solver", ["lbfgs", "newton"])
@pytest.mark.factor("case", CASES)
def test_each_label_has_its_part_of_F_and_a_bound_on_its_excess(case, solver, max_iter):
    """label_objective_ are the parts of F and sum to it; label_optimality_gap_ bound the excess."""
    targets, parameters, terms = CASES[case]
    model = SigmoidRegression(solver=solver, max_iter=max_iter, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if max_iter else "error", ConvergenceWarning)
        model.fit(RAW, targets, **terms)
    own = [own_objective(label, model, RAW, targets, parameters, terms) for label in range(6)]
    parts = parts_of_F(own, RAW, targets, parameters, terms)
    excess = parts - parts_of_F(least(case), RAW, targets, parameters, terms)
    np.testing.assert_allclose(model.label_objective_, parts, rtol=1e-9)
    assert model.objective_ == pytest.approx(parts.sum(), rel=1e-9)
    assert (excess <= model.label_optimality_gap_ + ROUNDING * parts).all()
    assert excess.sum() <= model.optimality_gap_ + ROUNDING * parts.sum()
    if max_iter is None:
        penalised = np.isfinite(np.broadcast_to(parameters.get("C", 1.0), 6))
        assert (model.label_optimality_gap_ <= 1e-8 * parts)[penalised].all()
    else:
        assert excess.sum() > 1e-8


def test_too_few_iterations_are_one_warning_and_bounds_that_still_hold():
    """max_iter reached: one ConvergenceWarning, converged_ False, every label's gap a bound."""
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        model = SigmoidRegression(max_iter=1).fit(RAW, Y)
    own = [own_objective(label, model, RAW, Y, {}, {}) for label in range(6)]
    excess = np.array(own) - least("plain")
    assert len(caught) == 1 and model.converged_ is False and model.n_iter_ == 1
    assert excess.sum() > 1e-8 and (excess <= model.label_optimality_gap_ + ROUNDING).all()


@pytest.mark.parametrize("solver", ["lbfgs", "newton", LBFGS(), Newton()], ids=str)
def test_every_solver_reaches_every_labels_optimum(solver):
    """Whichever solver runs, no label is left behind, the rare ones included."""
    model = SigmoidRegression(solver=solver).fit(RAW, HOLES)
    reached = [own_objective(label, model, RAW, HOLES, {}, {}) for label in range(6)]
    np.testing.assert_allclose(reached, least("unknown entries"), rtol=1e-8)
    assert type(model.solver_) is type(solver) or type(model.solver_).__name__.lower() == solver


@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_raw_data_and_defaults_give_the_optimum_of_every_class_against_the_rest(name, C):
    """Whatever the columns are like: each label is within 1e-8 of its least, proven, no warning."""
    columns, y = PROBLEMS[name]()
    labels, parameters = one_hot(y), {"C": C}
    model = SigmoidRegression(C=C).fit(columns, labels)
    assert model.converged_ is True
    for label in range(labels.shape[1]):
        best = own_optimum(label, columns, labels, parameters, {}).objective
        reached = own_objective(label, model, columns, labels, parameters, {})
        assert reached - best <= 1e-8 * best
        assert reached - best <= model.label_optimality_gap_[label] + ROUNDING * best


def test_more_columns_than_rows_are_no_hindrance():
    """Wide data: every label's objective is within 1e-8 of the least."""
    wide, _ = PROBLEMS["wide, unequal scales"]()
    labels = (np.random.default_rng(5).random((40, 5)) < [0.5, 0.4, 0.3, 0.2, 0.1]).astype(float)
    model = SigmoidRegression().fit(wide, labels)
    for label in range(5):
        reached = own_objective(label, model, wide, labels, {}, {})
        assert reached == pytest.approx(
            own_optimum(label, wide, labels, {}, {}).objective, rel=1e-8
        )


def test_hundreds_of_sparse_labels_are_one_fit():
    """300 rare labels over sparse counts: optima where we look, proofs for all, no warning."""
    rng = np.random.default_rng(6)
    counts = rng.poisson(0.05, (400, 120)).astype(float)
    Z = counts @ rng.normal(size=(120, 300)) - 3
    labels = (rng.random((400, 300)) < expit(Z)).astype(float)
    labels[:2], labels[2:4] = 1.0, 0.0
    model = SigmoidRegression(C=10.0).fit(sp.csr_array(counts), sp.csr_array(labels))
    assert model.coef_.shape == (300, 120) and model.converged_ is True
    assert (model.label_optimality_gap_ <= 1e-8 * model.label_objective_).all()
    ours = {"C": 10.0}
    for label in range(0, 300, 60):
        expected = own_optimum(label, counts, labels, ours, {}).objective
        assert own_objective(label, model, counts, labels, ours, {}) == pytest.approx(
            expected, rel=1e-8
        )


def test_sparse_labels_are_never_made_dense():
    """Three times the rows add less to the peak than half of an array of n x L numbers would."""
    L, peaks = 200, []
    for n in (16_000, 48_000):
        rng = np.random.default_rng(7)
        columns = rng.normal(size=(n, 3))
        labels = sp.random(n, L, density=0.005, format="csr", random_state=rng)
        labels.data[:] = 1.0
        tracemalloc.start()
        try:
            SigmoidRegression(tol=1e-3).fit(columns, labels)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 32_000 * L * 8 / 2


def test_separable_labels_without_a_penalty_are_named_and_disturb_no_other():
    """C = inf: one warning names the label without an optimum; the others reach theirs."""
    labels = np.column_stack([Y[:, 0], RAW[:, 3] > 1e5, Y[:, 1]]).astype(float)
    model = SigmoidRegression(C=np.inf, classes=["maple", "spruce", "linden"])
    with pytest.warns(ConvergenceWarning, match="spruce") as caught:
        model.fit(RAW, labels)
    assert len(caught) == 1 and model.converged_ is False
    assert "maple" not in str(caught[0].message) and "linden" not in str(caught[0].message)
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    for label in (0, 2):
        expected = own_optimum(label, RAW, labels, {"C": np.inf}, {}).objective
        reached = own_objective(label, model, RAW, labels, {"C": np.inf}, {})
        assert reached == pytest.approx(expected, rel=1e-8)


# --- laws ---------------------------------------------------------------------------------------


def fit(X, Y, sample_weight=None, offset=None, **parameters):
    """A fit close enough to the optimum to compare coefficients."""
    model = SigmoidRegression(**TIGHT, **parameters)
    return model.fit(X, Y, sample_weight=sample_weight, offset=offset)


def assert_same(one, other):
    np.testing.assert_allclose(one.coef_, other.coef_, **SAME)
    np.testing.assert_allclose(one.intercept_, other.intercept_, **SAME)


def assert_at(model, optima):
    """The rows of coefficients are those of independently found optima."""
    np.testing.assert_allclose(model.coef_, np.vstack([o.coef for o in optima]), **SAME)
    np.testing.assert_allclose(
        model.intercept_, np.concatenate([o.intercept for o in optima]), **SAME
    )


def test_permuting_the_labels_permutes_the_rows_of_the_coefficients():
    """Labels in another order: the same coefficients, parts and gaps' bounds in that order."""
    order = [3, 0, 5, 1, 4, 2]
    old, new = fit(X, HOLES, C=STRENGTHS), fit(X, HOLES[:, order], C=STRENGTHS[order])
    np.testing.assert_allclose(new.coef_, old.coef_[order], **SAME)
    np.testing.assert_allclose(new.intercept_, old.intercept_[order], **SAME)
    np.testing.assert_allclose(new.label_objective_, old.label_objective_[order], rtol=1e-9)


def test_labels_fitted_together_are_labels_fitted_alone():
    """The row of a label is the two-class fit of its known rows, whoever else is in Y."""
    model = fit(X, HOLES, sample_weight=ENTRY_WEIGHT)
    for label, y in enumerate(HOLES.T):
        known = ~np.isnan(y) & (ENTRY_WEIGHT[:, label] > 0)
        alone = LogisticRegression(**EXACT)
        alone.fit(X[known], y[known], sample_weight=ENTRY_WEIGHT[known, label])
        np.testing.assert_allclose(model.coef_[label], alone.coef_[0], **SAME)
        np.testing.assert_allclose(model.intercept_[label], alone.intercept_[0], **SAME)


@pytest.mark.parametrize("class_weight", [None, "balanced", {1: 3.0}])
def test_a_weight_of_two_equals_the_row_twice(class_weight):
    """Whole-number weights are repeated rows, in the coefficients and in F."""
    times = np.random.default_rng(8).integers(0, 4, size=300)
    weighted = fit(X, HOLES, sample_weight=times, class_weight=class_weight)
    repeated = fit(X.repeat(times, axis=0), HOLES.repeat(times, axis=0), class_weight=class_weight)
    assert_same(weighted, repeated)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-10)
    np.testing.assert_allclose(weighted.label_objective_, repeated.label_objective_, rtol=1e-9)


def test_a_weight_of_two_at_one_entry_equals_that_entry_twice():
    """Whole-number entry weights are repeated rows in which the other labels are unknown."""
    times = np.random.default_rng(9).integers(0, 4, size=Y.shape)
    copies = [np.where(times > copy, Y, np.nan) for copy in range(3)]
    repeated = fit(np.tile(X, (3, 1)), np.vstack(copies))
    assert_same(fit(X, Y, sample_weight=times), repeated)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_weight_of_zero_at_an_entry_makes_it_unknown(class_weight):
    """Entries of weight 0 and unknown entries are left out alike."""
    weight = (~np.isnan(HOLES)) * 1.0
    assert_same(
        fit(X, Y, sample_weight=weight, class_weight=class_weight),
        fit(X, HOLES, class_weight=class_weight),
    )


@pytest.mark.parametrize("as_Y", [np.asarray, sp.csr_array, pd.DataFrame])
@pytest.mark.parametrize("as_X", [np.asarray, sp.csr_array])
def test_unknown_entries_are_left_out_for_that_label_only(as_X, as_Y):
    """A far-off row counts for the labels that know it, and for no other."""
    far = X.copy()
    far[:5] += 50
    labels = Y.copy()
    labels[:5, 1:] = np.nan
    model = fit(as_X(far), as_Y(labels))
    assert_at(model, [own_optimum(label, far, labels, {}, {}) for label in range(6)])
    without = [optimum(X[5:], two_classes(y)) for y in Y[5:, 1:].T]
    np.testing.assert_allclose(model.coef_[1:], np.vstack([o.coef for o in without]), **SAME)
    assert not np.allclose(model.coef_[0], optimum(X[5:], two_classes(Y[5:, 0])).coef, atol=1e-2)


def test_a_row_of_which_nothing_is_known_changes_no_coefficient():
    """A row whose labels are all unknown says nothing, however far out it lies."""
    far = np.vstack([X, np.full((3, 5), 1e6)])
    labels = np.vstack([Y, np.full((3, 6), np.nan)])
    model, plain = fit(far, labels), fit(X, Y)
    assert_same(model, plain)
    assert model.objective_ == pytest.approx(plain.objective_, rel=1e-9)


def test_soft_values_are_yes_and_no_rows_with_their_shares_as_weights():
    """A value y is a yes of weight y and a no of weight 1 - y."""
    model = fit(X, SOFT)
    for label, y in enumerate(SOFT.T):
        theirs = LogisticRegression(**EXACT)
        theirs.fit(np.tile(X, (2, 1)), np.repeat([1, 0], 300), sample_weight=np.r_[y, 1 - y])
        np.testing.assert_allclose(model.coef_[label], theirs.coef_[0], **SAME)
        np.testing.assert_allclose(model.intercept_[label], theirs.intercept_[0], **SAME)


def test_swapping_yes_and_no_changes_the_sign_of_a_label():
    """1 - Y in one column: -coef_ and -intercept_ there, the others as they were."""
    swapped = HOLES.copy()
    swapped[:, 2] = 1 - swapped[:, 2]
    sign = np.array([1, 1, -1, 1, 1, 1])
    old, new = fit(X, HOLES), fit(X, swapped)
    np.testing.assert_allclose(new.coef_, old.coef_ * sign[:, None], **SAME)
    np.testing.assert_allclose(new.intercept_, old.intercept_ * sign, **SAME)


def test_scaling_all_weights_only_scales_c():
    """sample_weight t s with C / t has the minimiser of s with C."""
    old = fit(X, Y, sample_weight=ENTRY_WEIGHT, C=STRENGTHS)
    assert_same(fit(X, Y, sample_weight=1e3 * ENTRY_WEIGHT, C=STRENGTHS / 1e3), old)


def test_balanced_weights_are_those_of_logistic_regression_label_by_label():
    """class_weight="balanced" weighs each label's yes and no as LogisticRegression does."""
    model = fit(X, Y, class_weight="balanced")
    for label, y in enumerate(Y.T):
        theirs = LogisticRegression(class_weight="balanced", **EXACT).fit(X, y)
        np.testing.assert_allclose(model.coef_[label], theirs.coef_[0], **SAME)


def test_class_weights_are_given_by_the_names_of_the_labels():
    """{name: w} weighs the yes of that label by w in its own loss, and nothing else."""
    names = [f"tag {label}" for label in range(6)]
    model = fit(X, Y, classes=names, class_weight={"tag 4": 5.0})
    for label, y in enumerate(Y.T):
        theirs = LogisticRegression(class_weight={0: 1, 1: 5.0 if label == 4 else 1}, **EXACT)
        np.testing.assert_allclose(model.coef_[label], theirs.fit(X, y).coef_[0], **SAME)


def test_the_number_of_threads_changes_nothing_beyond_rounding():
    """n_jobs only spreads the rows: one thread and two give the same fit, to rounding."""
    rng = np.random.default_rng(10)
    columns = rng.normal(size=(20_000, 6))
    labels = np.where(rng.random((20_000, 5)) < 0.1, np.nan, rng.integers(2, size=(20_000, 5)))
    one, two = (SigmoidRegression(n_jobs=n).fit(columns, labels) for n in (1, 2))
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-9, atol=1e-12)


# --- one label a row ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iris", "wine", "overlapping", "digits"])
def test_a_multiclass_y_gives_the_one_vs_rest_classifier(name):
    """1-D y of more classes: scores, probabilities, labels as OneVsRestClassifier's."""
    columns, y = PROBLEMS[name]()
    columns = StandardScaler().fit_transform(columns)
    labels = np.array([f"kind {k}" for k in range(10)])[y]
    ours = fit(columns, labels)
    theirs = OneVsRestClassifier(LogisticRegression(**EXACT)).fit(columns, labels)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    for method in ("decision_function", "predict_proba"):
        mine, other = getattr(ours, method)(columns), getattr(theirs, method)(columns)
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, atol=1e-4 if method.startswith("dec") else 1e-5)
    np.testing.assert_allclose(ours.predict_proba(columns).sum(axis=1), 1)
    np.testing.assert_allclose(
        ours.predict_log_proba(columns), np.log(theirs.predict_proba(columns)), atol=1e-3
    )
    np.testing.assert_array_equal(ours.predict(columns), theirs.predict(columns))
    assert ours.score(columns, labels) == theirs.score(columns, labels)


@pytest.mark.parametrize(
    ("parameters", "terms"),
    [
        ({}, {}),
        ({"C": 0.1, "penalty_factor": [1, 0.2, 3, 1]}, {"sample_weight": np.arange(120) % 4}),
        ({"C": [0.1, 1.0, 10.0], "fit_intercept": False}, {}),
        ({"class_weight": {"ash": 3.0, "cedar": 0.5}}, {"offset": OFFSET[:120, :3]}),
        ({"class_weight": "balanced"}, {"sample_weight": np.arange(120) % 4}),
    ],
    ids=["plain", "row weights", "C of each class", "weights of classes", "balanced"],
)
def test_a_multiclass_y_is_fitted_as_its_one_hot_matrix(parameters, terms):
    """1-D y and the indicator matrix of its classes give the same coefficients and F."""
    columns, y = overlapping()
    by_name = fit(columns, TREES[y], **parameters, **terms)
    by_column = fit(columns, one_hot(y), classes=TREES, **parameters, **terms)
    np.testing.assert_array_equal(by_name.classes_, TREES)
    assert_same(by_name, by_column)
    assert by_name.objective_ == pytest.approx(by_column.objective_, rel=1e-10)
    weights = parameters.get("class_weight")
    if isinstance(weights, dict):
        by_place = {k: weights[name] for k, name in enumerate(TREES) if name in weights}
        parameters = parameters | {"class_weight": by_place}
    problem = (columns, one_hot(y), parameters, terms)
    assert_at(by_name, [own_optimum(k, *problem) for k in range(3)])


def test_the_probabilities_of_a_multiclass_y_are_sigmoids_over_their_sum():
    """P = expit(Z) / sum expit(Z), also where all sigmoids of a row are tiny."""
    columns, y = overlapping()
    model = SigmoidRegression().fit(columns, y)
    for offset in (None, np.tile([-30.0, -32.0, -31.0], (120, 1))):
        P = expit(model.decision_function(columns, offset=offset))
        P /= P.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(columns, offset=offset), P)
        np.testing.assert_allclose(model.predict_log_proba(columns, offset=offset), np.log(P))


def test_log_probabilities_of_a_multiclass_y_stay_finite_for_extreme_scores():
    """Scores of -1e4, whose sigmoids underflow, still have probabilities that sum to one."""
    columns, y = overlapping()
    model = SigmoidRegression().fit(columns, y)
    shift = np.tile([-10_000.0, -10_001.0, -10_003.0], (120, 1)) - model.decision_function(columns)
    logP = model.predict_log_proba(columns, offset=shift)
    expected = np.array([0.0, -1.0, -3.0]) - np.log(1 + np.exp(-1) + np.exp(-3))
    np.testing.assert_allclose(logP, np.tile(expected, (120, 1)), rtol=1e-9)
    P = model.predict_proba(columns, offset=shift)
    np.testing.assert_allclose(P, np.tile(np.exp(expected), (120, 1)), rtol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "terms"),
    [
        ({}, {}),
        ({"C": 0.1, "penalty_factor": [1, 0.2, 3, 1]}, {"sample_weight": np.arange(120) % 4}),
        ({"fit_intercept": False}, {"offset": np.linspace(-1, 1, 120)}),
        ({"class_weight": "balanced"}, {}),
        ({"class_weight": {"ash": 3.0, "birch": 0.5}}, {}),
        ({"classes": ["birch", "ash"]}, {}),
        ({"C": np.inf}, {}),
    ],
    ids=["plain", "weights", "offset", "balanced", "dict", "classes", "no penalty"],
)
def test_two_classes_are_the_model_of_softmax_regression(parameters, terms):
    """1-D y of two classes: the same numbers in the same shapes from every method."""
    columns, y = overlapping(K=2)
    ours = fit(columns, TREES[y], **parameters, **terms)
    other = SoftmaxRegression(**TIGHT, **parameters).fit(columns, TREES[y], **terms)
    assert ours.coef_.shape == (1, 4) and ours.intercept_.shape == (1,)
    assert_same(ours, other)
    np.testing.assert_array_equal(ours.classes_, other.classes_)
    assert ours.objective_ == pytest.approx(other.objective_, rel=1e-10)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        mine, theirs = getattr(ours, method)(columns), getattr(other, method)(columns)
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    np.testing.assert_array_equal(ours.predict(columns), other.predict(columns))
    np.testing.assert_allclose(ours.label_objective_, [ours.objective_])


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize(
    "labels",
    [TREES, TREES.astype(object), np.array([30, 10, 20]), np.array([1.0, 2.0, 3.0])],
    ids=["str", "object", "int", "float"],
)
def test_labels_of_any_kind_come_back_as_they_went_in(labels, K):
    """classes_ are the sorted distinct labels, and predictions have their dtype."""
    columns, y = overlapping(K=K)
    model = SigmoidRegression().fit(columns, labels[y])
    np.testing.assert_array_equal(model.classes_, np.unique(labels[:K]))
    assert model.predict(columns).dtype == labels.dtype
    assert np.mean(model.predict(columns) == labels[y]) > 0.6


@pytest.mark.parametrize("K", [2, 3])
def test_a_column_of_labels_is_taken_for_a_row_of_them_with_a_warning(K):
    """y of shape (n, 1) gives scikit-learn's DataConversionWarning and the fit of y (n,)."""
    columns, y = overlapping(K=K)
    with pytest.warns(DataConversionWarning):
        model = SigmoidRegression().fit(columns, TREES[y][:, None])
    np.testing.assert_array_equal(model.coef_, SigmoidRegression().fit(columns, TREES[y]).coef_)


def test_a_pandas_categorical_is_a_target():
    """A Series of categories gives the model of its values; absent categories are no classes."""
    columns, y = overlapping()
    series = pd.Series(pd.Categorical(TREES[y], categories=["cedar", "ash", "birch", "oak"]))
    model = SigmoidRegression().fit(columns, series)
    np.testing.assert_array_equal(model.classes_, TREES)
    np.testing.assert_array_equal(model.coef_, SigmoidRegression().fit(columns, TREES[y]).coef_)


def test_a_class_without_weight_is_a_constant_label():
    """1-D y, no weight on one class: one warning names it, and its probability is nothing."""
    columns, y = overlapping()
    with pytest.warns(UserWarning, match="birch") as caught:
        model = SigmoidRegression(**TIGHT).fit(columns, TREES[y], sample_weight=(y != 1) * 1.0)
    assert len(caught) == 1 and (model.coef_[1] == 0).all()
    assert model.predict_proba(columns)[:, 1].max() < 1e-12
    for k in (0, 2):
        expected = optimum(columns[y != 1], two_classes(y[y != 1] == k))
        np.testing.assert_allclose(model.coef_[k], expected.coef[0], **SAME)


# --- shapes, names, kinds -----------------------------------------------------------------------


def test_every_method_answers_for_each_label():
    """Scores are W x + b, probabilities their sigmoids, which need not sum to 1 in a row."""
    model = SigmoidRegression().fit(X, HOLES)
    Z = model.decision_function(X)
    assert model.coef_.shape == (6, 5) and model.intercept_.shape == (6,)
    np.testing.assert_array_equal(model.classes_, np.arange(6))
    np.testing.assert_allclose(Z, X @ model.coef_.T + model.intercept_)
    np.testing.assert_allclose(model.predict_proba(X), expit(Z))
    np.testing.assert_allclose(model.predict_log_proba(X), log_expit(Z))
    predicted = model.predict(X)
    assert isinstance(predicted, np.ndarray) and predicted.dtype.kind == "i"
    np.testing.assert_array_equal(predicted, Z > 0)


def test_an_offset_is_added_to_the_scores_while_predicting():
    """decision_function(X, o) = decision_function(X) + o, and the rest follows from it."""
    model = SigmoidRegression().fit(X, Y)
    Z = X @ model.coef_.T + model.intercept_ + OFFSET
    np.testing.assert_allclose(model.decision_function(X, offset=OFFSET), Z)
    np.testing.assert_allclose(model.predict_proba(X, offset=OFFSET), expit(Z))
    np.testing.assert_allclose(model.predict_log_proba(X, offset=OFFSET), log_expit(Z))
    np.testing.assert_array_equal(model.predict(X, offset=OFFSET), Z > 0)
    expected = np.mean(((Z > 0) == Y).all(axis=1))
    assert model.score(X, Y, offset=OFFSET) == pytest.approx(expected)


def test_log_probabilities_stay_finite_for_extreme_scores():
    """Scores of +-1e4 have the log probabilities of log_expit: large, never -inf."""
    model = SigmoidRegression().fit(X, Y)
    shift = np.full((300, 6), 1e4)
    logP = model.predict_log_proba(X, offset=-shift)
    np.testing.assert_allclose(logP, X @ model.coef_.T + model.intercept_ - 1e4)
    np.testing.assert_array_equal(model.predict_log_proba(X, offset=shift), np.zeros((300, 6)))


@pytest.mark.parametrize("as_Y", [np.asarray, sp.csr_array])
def test_the_score_is_the_weighted_share_of_rows_with_all_labels_right(as_Y):
    """score = subset accuracy, for dense and for sparse indicators."""
    model = SigmoidRegression().fit(X, as_Y(Y))
    right = ((X @ model.coef_.T + model.intercept_ > 0) == Y).all(axis=1)
    assert 0 < right.mean() < 1
    assert model.score(X, as_Y(Y)) == pytest.approx(right.mean())
    weighted = model.score(X, as_Y(Y), sample_weight=ROW_WEIGHT)
    assert weighted == pytest.approx(np.average(right, weights=ROW_WEIGHT))


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array])
def test_sparse_labels_give_sparse_predictions(container):
    """Y sparse at fit: predict returns a CSR indicator of the same ones as for dense Y."""
    dense = SigmoidRegression(**TIGHT).fit(X, Y)
    model = SigmoidRegression(**TIGHT).fit(X, container(Y))
    predicted = model.predict(X)
    assert sp.issparse(predicted) and predicted.format == "csr" and predicted.dtype.kind == "i"
    np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
    assert predicted.nnz == dense.predict(X).sum()
    assert isinstance(model.predict_proba(X), np.ndarray)
    assert isinstance(model.fit(X, Y).predict(X), np.ndarray)


def test_a_single_sparse_column_is_one_label():
    """Sparse Y of shape (n, 1): one row of coefficients and matrices of one column."""
    model = fit(X, sp.csr_array(Y[:, [2]]))
    assert_at(model, [optimum(X, two_classes(Y[:, 2]))])
    assert model.decision_function(X).shape == model.predict_proba(X).shape == (300, 1)
    assert model.predict(X).shape == (300, 1)


def test_two_columns_are_two_labels():
    """Y (n, 2) is two labels, never two classes: each column has its own row and sigmoid."""
    labels = Y[:, :2]
    model = fit(X, labels)
    assert_at(model, [optimum(X, two_classes(y)) for y in labels.T])
    assert model.decision_function(X).shape == (300, 2)
    assert fit(X, one_hot(Y[:, 0])).coef_.shape == (2, 5)


@pytest.mark.parametrize(
    "as_Y",
    [
        lambda Y: Y.astype(int),
        lambda Y: Y.astype(bool),
        lambda Y: Y.astype(np.float32),
        lambda Y: Y.tolist(),
        lambda Y: sp.csr_array(Y.astype(bool)),
        lambda Y: sp.csr_array(Y.astype(np.int8)),
        lambda Y: pd.DataFrame(Y.astype(int)),
        lambda Y: pd.DataFrame(Y.astype(bool)),
        lambda Y: sp.csr_array(np.ones_like(Y)) * Y,
    ],
    ids=[
        "int",
        "bool",
        "float32",
        "lists",
        "bool CSR",
        "int8 CSR",
        "frame",
        "bool frame",
        "0s CSR",
    ],
)
def test_labels_of_any_storage_are_the_same_labels(as_Y):
    """How zeros and ones are stored does not enter the fit."""
    assert_same(fit(X, as_Y(Y)), fit(X, Y))


def test_entries_of_a_sparse_matrix_may_be_stored_in_parts_and_in_any_order():
    """CSR with unsorted indices and entries in two halves is the same Y, and stays as it is."""
    reverse = Y[:, ::-1]
    split = sp.csr_array(
        (
            np.hstack([reverse / 2] * 2).ravel(),
            np.tile(np.arange(6)[::-1], 600),
            np.arange(301) * 12,
        ),
        shape=Y.shape,
    )
    assert not split.has_canonical_format
    assert_same(fit(X, split), fit(X, Y))
    assert split.nnz == 3600


def test_missing_values_of_pandas_are_unknown_entries():
    """A frame of nullable integers with NA is the matrix with NaN there."""
    frame = pd.DataFrame(HOLES).astype("Int64")
    assert frame.isna().to_numpy().any()
    assert_same(fit(X, frame), fit(X, HOLES))


def test_the_columns_of_a_frame_name_the_labels():
    """classes_ are the DataFrame's columns in their order; class_weight knows them."""
    names = ["rain", "snow", "fog", "sun", "wind", "hail"]
    model = fit(X, pd.DataFrame(Y, columns=names), class_weight={"hail": 4.0})
    assert list(model.classes_) == names
    assert_at(
        model, [own_optimum(label, X, Y, {"class_weight": {5: 4.0}}, {}) for label in range(6)]
    )
    assert isinstance(model.predict(X), np.ndarray)


def test_classes_name_the_columns_of_a_matrix():
    """classes=(...) gives the labels their names and changes no number."""
    names = ["rain", "snow", "fog", "sun", "wind", "hail"]
    for labels in (Y, sp.csr_array(Y)):
        named = SigmoidRegression(classes=names).fit(X, labels)
        assert list(named.classes_) == names
        np.testing.assert_array_equal(named.coef_, SigmoidRegression().fit(X, labels).coef_)


@pytest.mark.factor("dtype", [np.float32, np.float64])
@pytest.mark.factor("container", [np.asarray, sp.csr_array, pd.DataFrame])
@pytest.mark.factor("target", ["labels", "sparse labels", "classes"])
def test_predictions_have_the_dtype_of_the_data_and_coefficients_are_doubles(
    target, container, dtype
):
    """float32 in, float32 out; float64 in, float64 out: scores, probabilities."""
    targets = {"labels": HOLES, "sparse labels": sp.csr_array(Y), "classes": TREES[one_of_three()]}
    columns = container(X.astype(dtype))
    model = SigmoidRegression().fit(columns, targets[target])
    results = [model.decision_function(columns)]
    results += [model.predict_proba(columns), model.predict_log_proba(columns)]
    results += [model.predict_proba(columns, offset=model.decision_function(columns))]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    assert model.coef_.dtype == model.intercept_.dtype == np.float64


def one_of_three():
    """A class for each row of X."""
    return (Y[:, 0] + Y[:, 1]).astype(int)


def test_column_names_are_kept():
    """A DataFrame's column names become feature_names_in_; an array leaves none."""
    names = ["size", "age", "cost", "mass", "load"]
    model = SigmoidRegression().fit(pd.DataFrame(X, columns=names), Y)
    np.testing.assert_array_equal(model.feature_names_in_, names)
    assert model.n_features_in_ == 5
    assert not hasattr(model.fit(X, Y), "feature_names_in_")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "score"])
def test_nothing_is_predicted_before_a_fit(method):
    """Every method of the predict family raises NotFittedError first."""
    with pytest.raises(NotFittedError):
        getattr(SigmoidRegression(), method)(*((X, Y) if method == "score" else (X,)))


def test_a_fit_changes_nothing_of_what_it_is_given():
    """X, Y, weights, offset and parameters are as they were, unknown entries and all."""
    given = {"X": RAW, "y": HOLES, "sample_weight": ENTRY_WEIGHT, "offset": OFFSET}
    before = {name: value.copy() for name, value in given.items()}
    strengths, weights = STRENGTHS.copy(), dict(WEIGHT_OF_YES)
    SigmoidRegression(C=strengths, class_weight=weights).fit(**given)
    for name, value in given.items():
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(strengths, STRENGTHS)
    assert weights == WEIGHT_OF_YES


@pytest.mark.parametrize("targets", [HOLES, one_of_three(), Y[:, 0]], ids=["labels", "K", "two"])
def test_the_fitted_attributes_describe_the_fit(targets):
    """Every attribute has its type, and the curve descends to the objective."""
    model = SigmoidRegression(C=0.3).fit(X, targets)
    assert isinstance(model.objective_, float) and isinstance(model.optimality_gap_, float)
    assert model.converged_ is True and model.n_iter_.shape == (1,) and model.n_iter_ >= 1
    assert model.label_objective_.shape == model.intercept_.shape
    assert model.label_optimality_gap_.shape == model.intercept_.shape
    assert (model.label_optimality_gap_ >= 0).all()
    assert model.label_objective_.sum() == pytest.approx(model.objective_, rel=1e-12)
    assert model.loss_curve_.ndim == 1
    assert model.loss_curve_[0] > model.loss_curve_[-1]
    assert model.loss_curve_[-1] == pytest.approx(model.objective_, rel=1e-9)
    assert isinstance(model.solver_, LBFGS | Newton)


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_a_warm_start_goes_on_from_the_last_fit(solver):
    """Fitting again from the optimum takes fewer iterations and stays at it."""
    model = SigmoidRegression(solver=solver, tol=1e-12, warm_start=True).fit(X, HOLES)
    cold, coef = model.n_iter_, model.coef_.copy()
    assert model.fit(X, HOLES).n_iter_ < cold
    np.testing.assert_allclose(model.coef_, coef, **SAME)


def test_a_warm_start_from_another_problem_reaches_this_ones_optimum():
    """A warm start changes where a fit begins, never where it ends."""
    model = SigmoidRegression(C=100, warm_start=True, **TIGHT).fit(X, Y).set_params(C=0.1)
    assert_at(model.fit(X, HOLES), [own_optimum(k, X, HOLES, {"C": 0.1}, {}) for k in range(6)])


def test_verbose_reports_and_silence_is_the_default(capsys):
    """verbose=0 prints nothing; verbose=1 prints the objective's way down."""
    SigmoidRegression().fit(X, Y)
    assert capsys.readouterr().out == ""
    SigmoidRegression(verbose=1).fit(X, Y)
    assert capsys.readouterr().out.strip()


# --- constant labels ----------------------------------------------------------------------------

ALWAYS = -np.log(np.finfo(float).eps)  # 36.04: the logit from which on a probability rounds to 1


def some_constant():
    """Labels of which some are constant, with their names and weights of entries."""
    columns = {
        "oak": np.zeros(300),
        "linden": Y[:, 0],
        "elm": np.ones(300),
        "poplar": np.full(300, np.nan),
        "maple": HOLES[:, 2],
        "larch": np.where(np.arange(300) < 100, 1.0, np.nan),  # yes in the rows that know it
        "spruce": Y[:, 4],  # no in the rows that have weight
        "willow": np.full(300, 0.3),  # constant, but not certain
    }
    weight = np.ones((300, 8))
    weight[:, 6] = 1 - Y[:, 4]
    return pd.DataFrame(columns), weight


CONSTANT = {
    "oak": -ALWAYS,
    "elm": ALWAYS,
    "poplar": 0.0,
    "larch": ALWAYS,
    "spruce": -ALWAYS,
}


@pytest.mark.parametrize("as_Y", [pd.DataFrame, sp.csr_array])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_constant_labels_have_zero_weights_finite_intercepts_and_one_warning(C, as_Y):
    """All no, all yes or nothing known: the intercept says it, one warning names them all."""
    frame, weight = some_constant()
    model = SigmoidRegression(C=C, classes=list(frame.columns) if as_Y is sp.csr_array else None)
    with pytest.warns(UserWarning) as caught:
        model.fit(X, as_Y(frame), sample_weight=weight)
    assert len(caught) == 1 and not isinstance(caught[0].message, ConvergenceWarning)
    for name, intercept in CONSTANT.items():
        label = list(frame.columns).index(name)
        assert name in str(caught[0].message)
        np.testing.assert_array_equal(model.coef_[label], np.zeros(5))
        assert model.intercept_[label] == pytest.approx(intercept, abs=0.01)
        assert model.label_objective_[label] < 1e-12
    assert not [name for name in ("linden", "maple", "willow") if name in str(caught[0].message)]
    assert model.converged_ is True and np.isfinite(model.objective_)


def test_constant_labels_leave_the_others_as_they_are():
    """Beside constant labels the rest have the optima that they have without them."""
    frame, weight = some_constant()
    with pytest.warns(UserWarning):
        model = SigmoidRegression(**TIGHT).fit(X, frame, sample_weight=weight)
    for name in ("linden", "maple"):
        label = list(frame.columns).index(name)
        expected = own_optimum(label, X, frame.to_numpy(), {}, {})
        np.testing.assert_allclose(model.coef_[label], expected.coef[0], **SAME)
        np.testing.assert_allclose(model.intercept_[label], expected.intercept[0], **SAME)
    # The same soft value in every row says nothing of X: its logit is the whole model.
    np.testing.assert_allclose(model.coef_[7], 0, atol=1e-5)
    assert model.intercept_[7] == pytest.approx(logit(0.3), abs=1e-5)


def test_constant_labels_are_predicted_as_they_were_seen():
    """All no is predicted no, all yes yes, and of a label never known the probability is 1/2."""
    frame, weight = some_constant()
    with pytest.warns(UserWarning):
        model = SigmoidRegression().fit(X, frame, sample_weight=weight)
    P = pd.DataFrame(model.predict_proba(1e3 * X), columns=frame.columns)
    assert (P["oak"] < 1e-15).all() and (P["oak"] > 0).all()
    assert (P["elm"] > 1 - 1e-15).all() and (P["poplar"] == 0.5).all()
    predicted = pd.DataFrame(model.predict(1e3 * X), columns=frame.columns)
    assert not predicted[["oak", "poplar", "spruce"]].to_numpy().any()
    assert predicted[["elm", "larch"]].to_numpy().all()


def test_labels_that_are_all_constant_are_no_crash():
    """Nothing to fit: zero coefficients, one warning, a converged model."""
    labels = np.tile([0.0, 1.0, np.nan], (300, 1))
    with pytest.warns(UserWarning) as caught:
        model = SigmoidRegression().fit(X, labels)
    assert len(caught) == 1 and model.converged_ is True
    np.testing.assert_array_equal(model.coef_, np.zeros((3, 5)))
    np.testing.assert_array_equal(model.predict(X), np.tile([0, 1, 0], (300, 1)))


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0}])
def test_class_weights_of_constant_labels_divide_by_nothing(class_weight):
    """A label without yes has no weight to balance: it is constant, and the others balanced."""
    labels = np.column_stack([np.zeros(300), Y[:, 1]])
    with pytest.warns(UserWarning) as caught:
        model = SigmoidRegression(class_weight=class_weight, **TIGHT).fit(X, labels)
    assert len(caught) == 1 and (model.coef_[0] == 0).all()
    expected = own_optimum(1, X, labels, {"class_weight": class_weight}, {})
    np.testing.assert_allclose(model.coef_[1], expected.coef[0], **SAME)


def test_a_class_weight_of_zero_leaves_a_label_without_yes():
    """{label: 0} takes the weight of its yes, so that it is constant among what counts."""
    with pytest.warns(UserWarning, match="fog") as caught:
        model = SigmoidRegression(class_weight={"fog": 0.0}, classes=["sun", "fog"])
        model.fit(X, Y[:, :2])
    assert len(caught) == 1 and (model.coef_[1] == 0).all()
    assert model.intercept_[1] == pytest.approx(-ALWAYS, abs=0.01)


# --- with scikit-learn --------------------------------------------------------------------------


def test_the_tags_say_what_it_takes_and_excuse_nothing():
    """A multi-label classifier for sparse and dense X; no tag tells the checks to expect less."""
    tags = SigmoidRegression().__sklearn_tags__()
    assert tags.estimator_type == "classifier" and tags.input_tags.sparse
    assert tags.classifier_tags.multi_class and tags.classifier_tags.multi_label
    assert not (tags.classifier_tags.poor_score or tags.non_deterministic)
    assert not (tags.no_validation or tags._skip_test)


@pytest.mark.parametrize("as_Y", [np.asarray, sp.csr_array])
def test_the_metrics_of_labels_take_its_answers(as_Y):
    """Sample-wise F1 and ranking precision equal those of one LogisticRegression a label."""
    ours = SigmoidRegression(**TIGHT).fit(X, as_Y(Y))
    theirs = OneVsRestClassifier(LogisticRegression(**EXACT)).fit(X, Y)
    by_sample = {"average": "samples", "zero_division": 0}
    assert f1_score(as_Y(Y), ours.predict(X), **by_sample) == f1_score(
        Y, theirs.predict(X), **by_sample
    )
    ranking = label_ranking_average_precision_score
    assert ranking(as_Y(Y), ours.decision_function(X)) == pytest.approx(
        ranking(Y, theirs.decision_function(X))
    )
    assert accuracy_score(as_Y(Y), ours.predict(X)) == theirs.score(X, Y)


def test_a_chain_of_it_is_a_chain_of_logistic_regressions():
    """ClassifierChain fits it label by label on 0/1 vectors."""
    ours = ClassifierChain(SigmoidRegression(**TIGHT)).fit(X, Y)
    theirs = ClassifierChain(LogisticRegression(**EXACT)).fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_a_grid_search_ranks_strengths_as_it_does_logistic_regressions():
    """GridSearchCV over C gives the held-out scores of OneVsRestClassifier, and the same best."""
    strengths = [1e-3, 1e-1, 10.0]
    scorer = make_scorer(f1_score, average="macro", zero_division=0)
    ours = GridSearchCV(SigmoidRegression(**TIGHT), {"C": strengths}, scoring=scorer, cv=3)
    one_each = OneVsRestClassifier(LogisticRegression(**EXACT))
    theirs = GridSearchCV(one_each, {"estimator__C": strengths}, scoring=scorer, cv=3)
    mine, other = (search.fit(X, Y).cv_results_["mean_test_score"] for search in (ours, theirs))
    np.testing.assert_allclose(mine, other)
    assert np.unique(mine).size == 3


def test_held_out_probabilities_are_those_of_logistic_regressions():
    """cross_val_predict(method="predict_proba") has one column a label."""
    one_each = OneVsRestClassifier(LogisticRegression(**EXACT))
    ours, theirs = (
        cross_val_predict(model, X, Y, cv=KFold(3), method="predict_proba")
        for model in (SigmoidRegression(**TIGHT), one_each)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    "targets", [HOLES, sp.csr_array(Y), TREES[one_of_three()]], ids=["NaN", "CSR", "K"]
)
def test_copies_have_all_that_they_should(targets):
    """pickle keeps every attribute and answer; clone keeps the parameters alone."""
    L = 3 if targets.ndim == 1 else 6
    parameters = {"C": STRENGTHS[:L], "threshold": np.linspace(0.2, 0.7, L), "solver": Newton()}
    model = SigmoidRegression(**parameters).fit(X, targets)
    copied, cloned = pickle.loads(pickle.dumps(model)), clone(model)
    assert vars(copied).keys() == vars(model).keys()
    for method in ("predict_proba", "predict"):
        mine, other = getattr(copied, method)(X), getattr(model, method)(X)
        assert type(mine) is type(other)
        if sp.issparse(mine):
            mine, other = mine.toarray(), other.toarray()
        np.testing.assert_array_equal(mine, other)
    assert not [name for name in vars(cloned) if name.endswith("_")]
    np.testing.assert_array_equal(cloned.fit(X, targets).coef_, model.coef_)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_entry_weights_and_offsets_are_routed_through_a_pipeline(routing):
    """Requested metadata of shape (n, L) reach fit and predict_proba behind a Pipeline."""
    model = SigmoidRegression().set_fit_request(sample_weight=True, offset=True)
    model.set_predict_proba_request(offset=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scaler, model)
    pipeline.fit(X, Y, sample_weight=ENTRY_WEIGHT, offset=OFFSET)
    Z = StandardScaler().fit_transform(X)
    direct = SigmoidRegression().fit(Z, Y, sample_weight=ENTRY_WEIGHT, offset=OFFSET)
    np.testing.assert_allclose(
        pipeline.predict_proba(X, offset=OFFSET), direct.predict_proba(Z, offset=OFFSET), rtol=1e-9
    )


def test_entry_weights_and_offsets_are_routed_and_split_in_a_search(routing):
    """GridSearchCV gives each fold its own rows of weights and offsets."""
    model = SigmoidRegression().set_fit_request(sample_weight=True, offset=True)
    model.set_score_request(sample_weight=False, offset=True)
    search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=KFold(2), error_score="raise")
    search.fit(X, Y, sample_weight=ENTRY_WEIGHT, offset=OFFSET)
    train, test = next(iter(KFold(2).split(X)))
    direct = SigmoidRegression().fit(X[train], Y[train], ENTRY_WEIGHT[train], OFFSET[train])
    expected = direct.score(X[test], Y[test], offset=OFFSET[test])
    assert search.cv_results_["split0_test_score"][1] == pytest.approx(expected)


@pytest.mark.parametrize("seed", [3, 4, 5, 10])
def test_a_label_is_solved_as_well_however_little_it_weighs(seed):
    """Labels of total weights from 1e-6 to 1e6: each reaches its own optimum, proven to 1e-8."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 5))
    Y = (rng.random((60, 7)) < 1 / (1 + np.exp(-3 * X @ rng.normal(size=(5, 7))))) * 1.0
    weight = rng.random((60, 7)) * 10.0 ** rng.uniform(-6, 6, size=7)
    model = fit(X, Y, sample_weight=weight)
    for label in range(7):
        terms = {"sample_weight": weight}
        own = own_objective(label, model, X, Y, {}, terms)
        assert own == pytest.approx(own_optimum(label, X, Y, {}, terms).objective, rel=1e-8)
    assert (model.label_optimality_gap_ <= 1e-8 * model.label_objective_).all()


@pytest.mark.parametrize("size", [1e3, 1e4, 1e7])
def test_large_offsets_take_no_more_iterations_than_small_ones(size):
    """Where offsets saturate all but a few rows, the optimum is found and proven all the same."""
    rng = np.random.default_rng(2)
    X, Y, offset = rng.normal(size=(300, 6)), (rng.random((300, 4)) < 0.5) * 1.0, np.zeros((300, 4))
    offset[:] = size * rng.normal(size=offset.shape)
    for model, y in ((SigmoidRegression(), Y), (SoftmaxRegression(), Y.argmax(axis=1))):
        model.fit(X, y, offset=offset)
        assert model.n_iter_ <= 40 and np.isfinite(model.coef_).all()
        assert model.optimality_gap_ <= 1e-8 * model.objective_


@pytest.mark.parametrize("kind", ["float16", "category", "list with None"])
def test_any_kind_of_numbers_will_do_for_labels(kind):
    """Half floats, categories of 0 and 1, and lists in which None is unknown."""
    as_doubles = Y.astype(float)
    as_doubles[0, 0] = np.nan if kind == "list with None" else as_doubles[0, 0]
    given = {
        "float16": lambda: Y.astype(np.float16),
        "category": lambda: pd.DataFrame(Y.astype(int)).astype("category"),
        "list with None": lambda: [[None if np.isnan(v) else v for v in row] for row in as_doubles],
    }[kind]()
    assert_same(SigmoidRegression().fit(X, given), SigmoidRegression().fit(X, as_doubles))
