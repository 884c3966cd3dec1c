"""The bootstrap: optima of resampled rows, all in the same passes."""

from functools import partial
from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sp
from problems import IGNORE_UNIDENTIFIED, one_hot, optimum, overlapping, wide
from sklearn.datasets import load_iris

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._estimators.optimum import optimum_of
from softreg._rows.threads import Limits, Threads
from softreg._selection.bootstrap import bootstrap_coefficients, resampled_counts


def fits_to(counts, model, X, y, sample_weight=None, offset=None, threads=None):
    """The fits to resamples in the user's units, W (R, d, K) and b (R, K), and which converged."""
    with threads or Threads(1) as entered:
        objective, T, _ = optimum_of(model, X, y, sample_weight, offset, entered)
        found = bootstrap_coefficients(objective, T, counts)
        W, b = zip(*map(objective.coefficients, found.coefficients), strict=True)
    return np.array(W), np.array(b), found.converged


def drawn(n, count, seed=0, **options):
    """Counts of some resamples of n rows, (count, n)."""
    weight = options.pop("weight", np.ones(n))
    draws = resampled_counts(weight, np.random.default_rng(seed), **options)
    return np.array(list(islice(draws, count)))


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [{}, {"weighted": True, "offset": True}])
@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("K", [2, 3])
def test_each_resample_has_the_optimum_of_its_repeated_rows(K, C, terms):
    """What a fit finds of rows that stand as often as they were drawn, found without softreg."""
    (X, y), rng = overlapping(K=K), np.random.default_rng(5)
    weight = rng.uniform(0.5, 2, len(y)) if terms.get("weighted") else None
    offset = rng.normal(size=(len(y), K if K > 2 else 1)) if terms.get("offset") else None
    of_fit = None if offset is None else offset.squeeze()
    model = SoftmaxRegression(C).fit(X, y, weight, of_fit)
    counts = drawn(len(y), 6)
    W, b, converged = fits_to(counts, model, X, y, weight, of_fit)
    assert converged.shape == (6, 1) and converged.all()
    for r, count in enumerate(counts):
        rows = np.repeat(np.arange(len(y)), count.astype(int))
        found = optimum(
            X[rows],
            one_hot(y)[rows],
            C,
            sample_weight=None if weight is None else weight[rows],
            offset=None if offset is None else offset[rows],
        )
        coef, intercept = found.coef, found.intercept
        if K > 2:
            coef, intercept = coef - coef.mean(axis=0), intercept - intercept.mean()
        np.testing.assert_allclose(W[r].T, coef, atol=1e-6)
        np.testing.assert_allclose(b[r], intercept, atol=1e-6)


def test_each_label_has_the_optimum_of_the_rows_where_it_is_known():
    """Labels are resampled together, and fitted each by itself."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(80, 3))
    Y = (X @ rng.normal(size=(3, 2)) + rng.logistic(size=(80, 2)) > 0) * 1.0
    Y[:20, 0] = np.nan
    counts = drawn(80, 5)
    W, b, converged = fits_to(counts, SigmoidRegression(np.inf).fit(X, Y), X, Y)
    assert converged.shape == (5, 2) and converged.all()
    for r, count in enumerate(counts):
        rows = np.repeat(np.arange(80), count.astype(int))
        for label, y in enumerate(Y.T):
            known = rows[~np.isnan(y[rows])]
            found = optimum(X[known], one_hot(y[known]), np.inf)
            np.testing.assert_allclose(W[r, :, label], found.coef[0], atol=1e-6)
            np.testing.assert_allclose(b[r, label], found.intercept[0], atol=1e-6)


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_the_rows_as_they_are_have_the_fit_itself(C):
    """Where each row counts once the resample is the data."""
    X, y = overlapping()
    model = SoftmaxRegression(C).fit(X, y)
    W, b, converged = fits_to(np.ones((1, len(y))), model, X, y)
    assert converged.all()
    np.testing.assert_allclose(W[0].T, model.coef_, atol=1e-6)
    np.testing.assert_allclose(b[0], model.intercept_, atol=1e-6)


def test_kinds_of_rows_do_not_matter():
    """CSR has the fits of dense rows, and rows that are wide those they have without rotation."""
    X, y = overlapping()
    X = np.where(X > 0, X, 0)
    counts, model = drawn(len(y), 4), SoftmaxRegression(1.0).fit(X, y)
    expected = fits_to(counts, model, X, y)
    for found, same in zip(fits_to(counts, model, sp.csr_array(X), y), expected, strict=True):
        np.testing.assert_allclose(found, same, atol=1e-7)
    X, y = wide()
    counts, model = drawn(len(y), 3), SoftmaxRegression(0.01).fit(X, y)
    expected = fits_to(counts, model, X, y)
    unrotated = fits_to(counts, model, X, y, threads=Threads(1, Limits(rotated_rows=0)))
    for found, same in zip(unrotated, expected, strict=True):
        np.testing.assert_allclose(found, same, atol=1e-6)


@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_groups_of_resamples_and_threads_do_not_matter(C):
    """One resample at a time, or two threads over blocks of rows: the same fits to rounding."""
    X, y = overlapping(n=200)
    counts, model = drawn(200, 7), SoftmaxRegression(C).fit(X, y)
    find = partial(fits_to, counts, model, X, y)
    expected = find()
    for n_jobs, limits in [
        (1, Limits(refitted_scores=1)),
        (1, Limits(refitted_scores=3 * 3 * 200)),
        (2, Limits(block_values=256, block_rows=64, unshared_values=0)),
    ]:
        for found, same in zip(find(threads=Threads(n_jobs, limits)), expected, strict=True):
            np.testing.assert_allclose(found, same, rtol=1e-9, atol=1e-9)


def test_resamples_share_their_passes():
    """A hundred resamples take hardly more passes than the one that takes most of them."""
    X, y = overlapping(n=200)
    model, counts, passes = SoftmaxRegression(np.inf).fit(X, y), drawn(200, 100), []
    for some in (*counts[:, None], counts):
        threads = Threads(1)
        fits_to(some, model, X, y, threads=threads)
        passes.append(threads.passes)
    assert passes[-1] <= 2 * max(passes[:-1])


@IGNORE_UNIDENTIFIED
def test_columns_that_repeat_others_leave_the_scores_of_the_fit_without_them():
    """Dummies of all categories and an intercept: without a penalty one of them is left out."""
    X, y = overlapping(n=300)
    dummies = one_hot(np.arange(300) % 3)
    counts = drawn(len(y), 4, seed=2)  # none of which separates classes
    scores = []
    for columns in (dummies, dummies[:, 1:]):
        A = np.hstack([X, columns])
        W, b, converged = fits_to(counts, SoftmaxRegression(np.inf).fit(A, y), A, y)
        assert converged.all()
        scores.append(A @ W + b[:, None])
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_a_constant_column_is_left_out():
    """It has no coefficient in the fit, and the others are those of the fit without it."""
    X, y = overlapping(n=200)
    A, counts = np.column_stack([X, np.full(200, 3.0)]), drawn(200, 3)
    W, b, converged = fits_to(counts, SoftmaxRegression(np.inf).fit(A, y), A, y)
    expected = fits_to(counts, SoftmaxRegression(np.inf).fit(X, y), X, y)
    assert converged.all() and (W[:, -1] == 0).all()
    np.testing.assert_allclose(W[:, :-1], expected[0], atol=1e-7)
    np.testing.assert_allclose(b, expected[1], atol=1e-7)


# ---- Resamples without an optimum ---------------------------------------------------------------


def with_a_rare_class():
    """Sixty rows of three classes that overlap in one column; five are of the last, RARE."""
    X, y = overlapping(n=60)
    order = np.argsort(X[:, 0])
    y = np.minimum(y, 1)[order]
    y[RARE] = 2
    return X[order, :1], y


def with_a_rare_value():
    """Sixty rows of two classes; four, FLAGGED, have a one in the last column, one has y = 0."""
    X, y = overlapping(n=60)
    flag = np.isin(np.arange(60), FLAGGED) * 1.0
    y = np.minimum(y, 1)
    y[FLAGGED] = [0, 1, 1, 1]
    return np.column_stack([X[:, :2], flag]), y


RARE, FLAGGED = [10, 25, 30, 35, 50], [10, 11, 12, 13]


def without(rows, n=60):
    """Counts with all rows but some."""
    return 1.0 - np.isin(np.arange(n), rows)


INF, NO_INTERCEPT = {"C": np.inf}, {"C": np.inf, "fit_intercept": False}


@pytest.mark.parametrize(
    ("data", "rows", "options"),
    [
        pytest.param(with_a_rare_class, RARE, INF, id="a class is missing"),
        pytest.param(with_a_rare_class, RARE, {"C": 1.0}, id="a class is missing under a penalty"),
        pytest.param(with_a_rare_value, FLAGGED[:1], INF, id="a column separates"),
        pytest.param(with_a_rare_value, FLAGGED, INF, id="a column is constant"),
        pytest.param(with_a_rare_value, FLAGGED, NO_INTERCEPT, id="a column is zero"),
    ],
)
def test_resamples_without_one_optimum_are_marked_and_spoil_no_others(data, rows, options):
    """Between two others, which are as they are alone."""
    X, y = data()
    model, fine = SoftmaxRegression(**options).fit(X, y), np.stack([without([5]), without([31])])
    alone = fits_to(fine, model, X, y)
    assert alone[2].all()
    W, b, converged = fits_to([fine[0], without(rows), fine[1]], model, X, y)
    assert converged[:, 0].tolist() == [True, False, True]
    np.testing.assert_allclose(W[[0, 2]], alone[0], atol=1e-9)
    np.testing.assert_allclose(b[[0, 2]], alone[1], atol=1e-9)


@pytest.mark.parametrize("data", [with_a_rare_class, with_a_rare_value])
def test_resamples_none_of_which_has_an_optimum_are_marked(data):
    """Those that lack the same rows, by themselves: before a step."""
    X, y = data()
    rows = RARE if data is with_a_rare_class else FLAGGED
    model, threads = SoftmaxRegression(np.inf).fit(X, y), Threads(1)
    fits = fits_to([without(rows), 2 * without(rows)], model, X, y, threads=threads)
    assert not fits[2].any() and threads.passes < 10


def test_under_a_penalty_a_constant_column_has_an_optimum():
    """The penalty sets its coefficient to zero."""
    X, y = with_a_rare_value()
    W, _, converged = fits_to([without(FLAGGED)], SoftmaxRegression(1.0).fit(X, y), X, y)
    assert converged.all()
    np.testing.assert_allclose(W[0, -1], 0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:SoftmaxRegression did not converge")
def test_separated_classes_have_no_resample_that_converges():
    """Without a penalty two classes of iris have no optimum, whichever rows are drawn."""
    X, y = load_iris(return_X_y=True)
    model = SoftmaxRegression(np.inf).fit(X[:100], y[:100])
    assert not fits_to(drawn(100, 20), model, X[:100], y[:100])[2].any()


# ---- Draws --------------------------------------------------------------------------------------


def test_rows_are_drawn_as_often_as_there_are_rows():
    """Counts are whole numbers that add up to n; each row's has mean 1 and variance 1 - 1/n."""
    counts = drawn(50, 4000)
    assert (counts == np.rint(counts)).all() and (counts.sum(axis=1) == 50).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=6 / np.sqrt(4000))
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.02)


@pytest.mark.parametrize("unit", [1, 10**9])
def test_a_row_whose_weight_is_a_count_is_drawn_as_so_many_rows(unit):
    """Times their weights, counts add up to the sum of weights; means and variances of repeats."""
    weight = np.array([3, 0, 1, 6, 10]) * unit
    copies = drawn(5, 4000, weight=weight) * weight
    np.testing.assert_allclose(copies, np.rint(copies), rtol=1e-15, atol=1e-9)
    np.testing.assert_allclose(copies.sum(axis=1), 20 * unit)
    assert (copies[:, 1] == 0).all()
    variance = weight * (1 - weight / (20 * unit))
    np.testing.assert_allclose(copies.mean(axis=0), weight, atol=5 * variance.max() ** 0.5 / 60)
    np.testing.assert_allclose(copies.var(axis=0), variance, rtol=0.15)


def test_other_weights_do_not_change_the_chances():
    """Rows that have weight are drawn evenly, and count whole times."""
    weight = np.array([0.5, 0, 4, 1])
    counts = drawn(4, 3000, weight=weight, weights_are_counts=False)
    assert (counts[:, 1] == 0).all() and (counts.sum(axis=1) == 3).all()
    np.testing.assert_allclose(counts.mean(axis=0), [1, 0, 1, 1], atol=0.08)


@pytest.mark.parametrize("weights_are_counts", [True, False])
def test_groups_are_drawn_as_a_whole(weights_are_counts):
    """As many as there are, evenly: their rows count alike, but for those without weight."""
    groups = np.array(["a", "b", "b", "c", "b", "d"])
    weight = np.array([1, 2, 3, 4, 0, 0])
    options = {"groups": groups, "weights_are_counts": weights_are_counts}
    counts = drawn(6, 3000, weight=weight, **options)
    assert (counts[:, 1] == counts[:, 2]).all() and (counts[:, 4:] == 0).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    np.testing.assert_allclose(counts[:, [0, 1, 3]].mean(axis=0), 1, atol=0.08)


def test_draws_are_those_of_the_generator():
    """The same state draws the same rows, another draws others."""
    np.testing.assert_array_equal(drawn(20, 3, seed=1), drawn(20, 3, seed=1))
    assert (drawn(20, 3, seed=1) != drawn(20, 3, seed=2)).any()
