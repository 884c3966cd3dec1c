"""Prediction sets: they hold the true class as often as was promised, however bad the model."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import labels_drawn, one_hot, overlapping
from scipy.stats import beta, binom, kstest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from test_bad_input import assert_untouched, fitted_state
from test_multilabel import TREES, simulated, with_holes

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.calibration import PredictionSets, prediction_sets

X, y = overlapping(n=300, seed=1)
X2, y2 = overlapping(n=300, K=2)
LABELS_X, LABELS = simulated(L=4)
HOLES = with_holes(LABELS)
FIT, CAL, NEW = slice(0, 100), slice(100, 220), slice(220, 300)
MODELS = {
    "three": (SoftmaxRegression().fit(X[FIT], TREES[y[FIT]]), X, TREES[y]),
    "chosen": (SoftmaxRegressionCV([0.1, 1.0], cv=3).fit(X[FIT], y[FIT]), X, y),
    "two": (SoftmaxRegression().fit(X2[FIT], TREES[y2[FIT]]), X2, TREES[y2]),
    "one-vs-rest": (SigmoidRegression().fit(X[FIT], y[FIT]), X, y),
}
MODEL = MODELS["three"][0]
LABEL_MODEL = SigmoidRegression().fit(LABELS_X[FIT], HOLES[FIT])


def conformal(p_cal, p_new, coverage):
    """Which outcomes of probabilities p_new (...) conform to those (m,) of true ones.

    By p-values: k is in the set if (1 + the number of calibration rows whose class is no more
    probable) / (m + 1) exceeds 1 - coverage (Vovk 2012).
    """
    at_most = (p_cal <= p_new[..., None]).sum(axis=-1)
    error = 1 - Fraction(str(coverage))
    return (1 + at_most) * error.denominator > error.numerator * (len(p_cal) + 1)


@pytest.mark.parametrize("coverage", [0.5, 0.7, 0.9, 0.95])
@pytest.mark.parametrize(("model", "columns", "classes"), MODELS.values(), ids=MODELS)
def test_a_class_is_in_the_set_if_its_p_value_says_so(model, columns, classes, coverage):
    """The threshold, written as the p-values of conformal prediction, with exact fractions."""
    P, new = model.predict_proba(columns[CAL]), model.predict_proba(columns[NEW])
    truth = classes[CAL][:, None] == model.classes_
    sets = prediction_sets(model, columns[CAL], classes[CAL], coverage)
    expected = conformal(P[truth], new, coverage)
    np.testing.assert_array_equal(sets.predict(columns[NEW]), expected)
    assert 0 < expected.mean() < 1
    assert sets.counts.tolist() == [120]


@pytest.mark.parametrize("coverage", [0.5, 0.8])
@pytest.mark.parametrize(("model", "columns", "classes"), MODELS.values(), ids=MODELS)
def test_class_by_class_each_has_the_p_value_of_its_own_rows(model, columns, classes, coverage):
    """The p-value of class k counts calibration rows of class k alone."""
    P, new = model.predict_proba(columns[CAL]), model.predict_proba(columns[NEW])
    sets = prediction_sets(model, columns[CAL], classes[CAL], coverage, class_wise=True)
    actual = sets.predict(columns[NEW])
    for k, name in enumerate(model.classes_):
        own = classes[CAL] == name
        np.testing.assert_array_equal(actual[:, k], conformal(P[own, k], new[:, k], coverage))
        assert sets.counts[k] == own.sum()


@pytest.mark.parametrize("class_wise", [False, True])
@pytest.mark.parametrize("as_Y", [np.asarray, sp.csr_array, pd.DataFrame])
def test_the_sets_of_labels_are_calibrated_where_these_are_known(as_Y, class_wise):
    """Each label has a set of no and yes, by its known rows, or those of the same answer."""
    sets = prediction_sets(LABEL_MODEL, LABELS_X[CAL], as_Y(HOLES[CAL]), 0.8, class_wise=class_wise)
    actual = sets.predict(LABELS_X[NEW])
    cal, new = LABEL_MODEL.predict_proba(LABELS_X[CAL]), LABEL_MODEL.predict_proba(LABELS_X[NEW])
    assert actual.shape == (80, 4, 2)
    for label, answers in enumerate(HOLES[CAL].T):
        p_cal, p_new = (np.stack([1 - P[:, label], P[:, label]], axis=1) for P in (cal, new))
        for answer in (0, 1):
            truths = [answer] if class_wise else [0, 1]
            own = np.concatenate([p_cal[answers == truth, truth] for truth in truths])
            expected = conformal(own, p_new[:, answer], 0.8)
            np.testing.assert_array_equal(actual[:, label, answer], expected)
            assert sets.counts[label, answer if class_wise else 0] == len(own)


# --- coverage, by simulation ----------------------------------------------------------------------

RNG = np.random.default_rng(5)
MANY = RNG.normal(size=(60_000, 4))
MANY_Z = MANY @ RNG.normal(size=(4, 3)) + [1.0, 0.0, -1.0]
MANY_Y = labels_drawn(RNG, MANY_Z)
TESTED = slice(40_000, None)
BAD = SoftmaxRegression().fit(MANY[:50], np.arange(50) % 3)  # to classes that are not theirs
GOOD = SoftmaxRegression().fit(MANY[:500], MANY_Y[:500])


def coverages(model, m, coverage, **options):
    """The coverage of 20,000 rows by the sets of 150 disjoint calibrations on m rows."""
    truth, covered = one_hot(MANY_Y[TESTED]).astype(bool), []
    for start in range(500, 500 + 150 * m, m):
        rows = slice(start, start + m)
        sets = prediction_sets(model, MANY[rows], MANY_Y[rows], coverage, **options)
        covered.append(sets.predict(MANY[TESTED])[truth])
    return np.array(covered)


@pytest.mark.parametrize("model", [GOOD, BAD], ids=["a good model", "a bad one"])
@pytest.mark.parametrize(("m", "coverage"), [(19, 0.9), (99, 0.9), (50, 0.8)])
def test_the_true_class_is_in_the_set_as_often_as_promised(model, m, coverage):
    """The coverage is Beta(r, m + 1 - r), r = ceil((m + 1) coverage): its mean r / (m + 1).

    Over 150 calibrations the mean is within four standard errors; and the distribution is that,
    by Kolmogorov and Smirnov. The 20,000 rows that measure it add at most 0.0035 to its error.
    """
    rank = int(np.ceil(round((m + 1) * coverage, 6)))
    found = coverages(model, m, coverage).mean(axis=1)
    law = beta(rank, m + 1 - rank)
    assert abs(found.mean() - rank / (m + 1)) < 4 * law.std() / np.sqrt(150) + 0.0035
    assert found.mean() >= coverage - 4 * law.std() / np.sqrt(150) - 0.0035
    assert kstest(found, law.cdf).pvalue > 0.001


def test_class_by_class_the_coverage_is_that_of_each_class():
    """Without `class_wise` a class may be covered too rarely; with it each is as promised."""
    truth = MANY_Y[TESTED]
    plain, class_wise = (coverages(GOOD, 200, 0.8, class_wise=by) for by in (False, True))
    by_class = [covered[:, truth == 2].mean() for covered in (plain, class_wise)]
    assert by_class[0] < 0.7
    for k in range(3):
        assert abs(class_wise[:, truth == k].mean() - 0.8) < 0.03


def test_the_sets_of_a_true_model_are_smaller_than_those_of_other_scores():
    """Sadinle and others (2019): of equal coverage, sets by the largest probabilities are least.

    Others take classes, likeliest first, until their probabilities add up to a calibrated sum.
    """
    model = SoftmaxRegression().fit(MANY[:99], MANY_Y[:99])
    model.coef_ = np.linalg.lstsq(MANY, MANY_Z - [1.0, 0, -1], rcond=None)[0].T
    model.intercept_ = np.array([1.0, 0.0, -1.0])
    rows, truth = slice(500, 20_500), MANY_Y[500:20_500]
    sets = prediction_sets(model, MANY[rows], truth, 0.8).predict(MANY[TESTED])

    def sums(P):
        """The probability of classes at least as likely as each, (n, K)."""
        order = np.argsort(-P, axis=1)
        added = np.take_along_axis(P, order, axis=1).cumsum(axis=1)
        return np.take_along_axis(added, np.argsort(order, axis=1), axis=1)

    cal, new = sums(model.predict_proba(MANY[rows])), sums(model.predict_proba(MANY[TESTED]))
    largest = np.quantile(cal[np.arange(20_000), truth], 0.8)
    others = new <= largest
    covered = [chosen[np.arange(len(new)), MANY_Y[TESTED]].mean() for chosen in (sets, others)]
    np.testing.assert_allclose(covered, 0.8, atol=0.02)
    assert sets.sum(axis=1).mean() < others.sum(axis=1).mean() - 0.01


@pytest.mark.parametrize(("m", "coverage"), [(99, 0.9), (40, 0.5), (1000, 0.95)])
def test_the_interval_of_the_coverage_is_that_of_an_order_statistic(m, coverage):
    """P(coverage <= c) is that of r or more of m rows below c, with equal tails."""
    sets = PredictionSets(MODEL, coverage, np.array([0.5]), np.array([m]))
    rank = round((m + 1) * coverage + 0.499999)
    for level in (0.5, 0.95):
        ((lower, upper),) = sets.coverage_interval(level)
        tails = binom.sf(rank - 1, m, [lower, upper])
        np.testing.assert_allclose(tails, [(1 - level) / 2, (1 + level) / 2], rtol=1e-9)


# --- few rows, ties, storage ----------------------------------------------------------------------


def test_too_few_rows_leave_nothing_out_and_a_warning_says_so():
    """90 % need nine rows: eight give sets of all classes, with the remedy."""
    with pytest.warns(UserWarning, match="too few calibration rows: 8, and coverage=0.9 needs 9"):
        sets = prediction_sets(MODEL, X[CAL][:8], TREES[y[CAL][:8]])
    assert sets.predict(X[NEW]).all()
    np.testing.assert_array_equal(sets.coverage_interval(), [[1, 1]])
    enough = prediction_sets(MODEL, X[CAL][:9], TREES[y[CAL][:9]])
    least = MODEL.predict_proba(X[CAL][:9])[one_hot(y[CAL])[:9] == 1].min()
    np.testing.assert_allclose(enough.thresholds, least, rtol=1e-12)


def test_a_class_with_too_few_rows_is_in_all_sets():
    """The warning names it; the others are calibrated. A label is treated alike."""
    keep = (y[CAL] != 2) | (np.arange(120) < 20)
    with pytest.warns(UserWarning, match=r"classes \['cedar'\]"):
        sets = prediction_sets(MODEL, X[CAL][keep], TREES[y[CAL]][keep], class_wise=True)
    assert sets.predict(X[NEW])[:, 2].all() and not sets.predict(X[NEW])[:, :2].all()
    unknown = HOLES[CAL].copy()
    unknown[5:, 3] = np.nan
    with pytest.warns(UserWarning, match=r"labels \[3\]"):
        sets = prediction_sets(LABEL_MODEL, LABELS_X[CAL], unknown)
    assert sets.predict(LABELS_X[NEW])[:, 3].all() and not sets.predict(LABELS_X[NEW])[:, :3].all()


def test_rows_with_the_same_columns_have_the_same_set():
    """Of few distinct rows, many are as probable as the threshold: rounding leaves none out.

    The same rows are predicted one at a time, in blocks, and as CSR.
    """
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(4, 200)) * 1e3
    codes = rng.integers(4, size=400)
    classes = labels_drawn(rng, (cells @ rng.normal(size=(200, 3)) * 1e-4)[codes])
    model = SoftmaxRegression().fit(cells[codes], classes)
    for coverage in np.linspace(0.05, 0.95, 19):
        sets = prediction_sets(model, cells[codes], classes, coverage)
        together = sets.predict(cells[codes])
        assert together[np.arange(400), classes].mean() >= coverage
        for cell in range(4):
            expected = together[codes == cell]
            assert (expected == expected[0]).all()
            np.testing.assert_array_equal(sets.predict(cells[[cell]])[0], expected[0])
            np.testing.assert_array_equal(sets.predict(sp.csr_array(cells[[cell]]))[0], expected[0])


@pytest.mark.parametrize("coverage", [0.07, 0.1, 0.29, 0.3, 0.57, 0.58, 0.7, 0.9])
def test_the_rank_is_that_of_the_decimal_number(coverage):
    """(m + 1) coverage is computed as written: 0.07 of 100 is 7, not 8 for rounding's sake."""
    hundred = 99
    sets = prediction_sets(MODEL, X[CAL][:hundred], TREES[y[CAL]][:hundred], coverage)
    p = np.sort(MODEL.predict_proba(X[CAL][:hundred])[one_hot(y[CAL])[:hundred] == 1])[::-1]
    np.testing.assert_allclose(sets.thresholds, p[round(100 * coverage) - 1], rtol=1e-12)


def test_calibration_answers_may_have_a_column_for_each_class():
    """One of which is 1, as `fit` takes them."""
    by_class = prediction_sets(MODEL, X[CAL], TREES[y[CAL]])
    columns = pd.DataFrame(one_hot(y[CAL]), columns=TREES)
    by_column = prediction_sets(MODEL, X[CAL], columns)
    np.testing.assert_array_equal(by_column.thresholds, by_class.thresholds)


def test_offsets_are_part_of_the_scores():
    """In calibration and in prediction."""
    offset = np.random.default_rng(0).normal(size=(300, 3))
    sets = prediction_sets(MODEL, X[CAL], TREES[y[CAL]], offset=offset[CAL])
    P = MODEL.predict_proba(X, offset=offset)
    expected = conformal(P[CAL][one_hot(y[CAL]) == 1], P[NEW], 0.9)
    np.testing.assert_array_equal(sets.predict(X[NEW], offset=offset[NEW]), expected)
    assert not np.array_equal(sets.predict(X[NEW]), expected)


def test_calibrating_leaves_the_estimator_as_it_was():
    """No attribute comes, goes or changes."""
    before = fitted_state(MODEL)
    prediction_sets(MODEL, X[CAL], TREES[y[CAL]]).predict(X)
    assert_untouched(MODEL, before)


REFUSED = {
    "all": ({"coverage": 1.0}, "coverage=1.0 must be a number between 0 and 1"),
    "none": ({"coverage": 0}, "coverage=0 must be"),
    "percent": ({"coverage": "90%"}, "coverage='90%' must be"),
    "class_wise": ({"class_wise": "yes"}, "class_wise='yes' must be True or False"),
    "unknown classes": (
        {"y_cal": np.where(y[CAL] == 0, "elm", TREES[y[CAL]])},
        r"y_cal holds the classes \['elm'\].*knows \['ash', 'birch', 'cedar'\].*leave",
    ),
    "shares": ({"y_cal": np.full((120, 3), 1 / 3)}, "y_cal must hold 0 and 1, got 0.333"),
    "missing": ({"y_cal": np.where(y[CAL] == 0, None, TREES[y[CAL]])}, "y lacks"),
    "too short": ({"y_cal": TREES[y[CAL]][:7]}, "inconsistent numbers of samples"),
    "columns": ({"X_cal": X[CAL][:, :2]}, "2 features.*expecting 4"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_are_refused_in_words_that_help(changes, message):
    """The argument, its value, and what would be right."""
    with pytest.raises(ValueError, match=message):
        prediction_sets(MODEL, **{"X_cal": X[CAL], "y_cal": TREES[y[CAL]], **changes})


def test_other_refusals():
    """Labels that are shares, or one class a row; estimators of others; levels."""
    with pytest.raises(ValueError, match="y_cal must hold 0 and 1, got 0.5"):
        prediction_sets(LABEL_MODEL, LABELS_X, LABELS / 2)
    with pytest.raises(ValueError, match="a column for each label"):
        prediction_sets(LABEL_MODEL, LABELS_X, y)
    with pytest.raises(TypeError, match="prediction_sets needs a fitted estimator of softreg"):
        prediction_sets(LogisticRegression().fit(X, y), X, y)
    with pytest.raises(NotFittedError):
        prediction_sets(SoftmaxRegression(), X, y)
    with pytest.raises(ValueError, match="level=95 must be a number between 0 and 1"):
        prediction_sets(MODEL, X, TREES[y]).coverage_interval(95)
