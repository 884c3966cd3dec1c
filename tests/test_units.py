"""Laws of units: columns may be shifted and scaled, and weights scaled, as far as numbers go.

Shifts, and factors that are powers of two, are exact here: only the rounding of a fit is tested.
"""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from problems import IGNORE_UNIDENTIFIED, labels_drawn, objective, one_hot, optimum

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV, regularization_path
from softreg._estimators.posing import read_sample
from softreg._rows.threads import Limits, Threads

# Numbers on a grid; the last column has another value in one of ten rows.
RNG = np.random.default_rng(0)
GRID = np.column_stack([RNG.integers(-20, 21, (200, 2)), np.arange(200) % 10 == 7]).astype(float)
CLASS = labels_drawn(RNG, GRID @ RNG.normal(size=(3, 3)) / 10)
LABEL = (CLASS == 1).astype(int)
Y, Y2 = one_hot(CLASS), one_hot(LABEL)
WEIGHT = RNG.integers(1, 9, 200) / 4


def in_chunks(model, X, y, weight=None):
    """The model after `fit_chunks` over three chunks of unequal lengths."""
    arrays = (X, y) if weight is None else (X, y, weight)
    parts = [slice(0, 50), slice(50, 60), slice(60, None)]
    return model.fit_chunks([tuple(array[rows] for array in arrays) for rows in parts])


def last_of_path(X, C, weight=None):
    """The last point of a path up to C, as a fitted model has it."""
    path = regularization_path(
        X, CLASS, [C / 10, C], estimator=SoftmaxRegression(tol=1e-12), sample_weight=weight
    )
    model = SoftmaxRegression()
    model.coef_, model.intercept_ = path.coef[-1], path.intercept[-1]
    model.objective_, model.optimality_gap_ = path.objective[-1], path.optimality_gap[-1]
    return model


# (X, C, weights) -> a fitted model of the classes.
CLASSIFIERS = {
    "auto": lambda X, C, w=None: SoftmaxRegression(C, tol=1e-12).fit(X, CLASS, w),
    "lbfgs": lambda X, C, w=None: SoftmaxRegression(C, solver="lbfgs", tol=1e-12).fit(X, CLASS, w),
    "newton": lambda X, C, w=None: SoftmaxRegression(C, solver="newton").fit(X, CLASS, w),
    "chunks": lambda X, C, w=None: in_chunks(SoftmaxRegression(C, tol=1e-12), X, CLASS, w),
    "path": last_of_path,
    "CV": lambda X, C, w=None: SoftmaxRegressionCV([C], cv=3, tol=1e-12).fit(X, CLASS, w),
}
# (X, C, weights) -> a fitted model of two labels, of which the second is the opposite of the first.
LABELLERS = {
    "labels": lambda X, C, w=None: SigmoidRegression(C, tol=1e-12).fit(X, Y2[:, ::-1], w),
    "labels in chunks": lambda X, C, w=None: in_chunks(
        SigmoidRegression(C, tol=1e-12), X, Y2[:, ::-1], w
    ),
}
FITS = CLASSIFIERS | LABELLERS
# dtype, distance of the grid's points, and shift: all sums are numbers of that dtype.
SHIFTS = {
    "within 8 m of a UTM coordinate": (np.float32, 0.5, 5.2e6),
    "days after a Julian date": (np.float32, 0.25, 2.45e6),
    "as far as float32 counts": (np.float32, 1.0, 2.0**24 - 64),
    "half a million": (np.float32, 2.0**-6, 1e5),
    "nanoseconds": (np.float64, 256.0, 1.7e18),
    "eighths beside 1e15": (np.float64, 0.125, 1e15),
    "not shifted": (np.float32, 0.5, 0.0),
}


def least_F(fit, X, C, weight=None):
    """The least F of what a fit of FITS minimises, found without softreg."""
    terms = {"sample_weight": weight}
    if fit in LABELLERS:  # both labels have the same
        return 2 * optimum(X, Y2, C, **terms).objective
    return optimum(X, Y, C, **terms).objective


@pytest.mark.factor("C", [1.0, 1e3, np.inf])
@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("shift", SHIFTS)
@pytest.mark.factor("fit", FITS)
def test_shifted_columns_have_the_optimum_of_those_that_are_not(fit, shift, container, C):
    """F, its bound and the coefficients do not depend on where the zero of a column is."""
    C = 1e6 if fit in ("path", "CV") and np.isinf(C) else C
    dtype, step, distance = SHIFTS[shift]
    X = GRID * step
    shifted = (X + distance).astype(dtype)
    np.testing.assert_array_equal(shifted.astype(float) - distance, X)
    least = least_F(fit, X, C)
    model = FITS[fit](container(shifted), C)
    assert model.objective_ == pytest.approx(least, rel=1e-9)
    assert model.optimality_gap_ >= 0 and model.objective_ - model.optimality_gap_ <= least * (
        1 + 1e-12
    )
    plain = FITS[fit](X, C).coef_
    np.testing.assert_allclose(model.coef_, plain, rtol=0, atol=1e-4 * np.abs(plain).max())


def streamed(X, solver=None):
    """A stream of five chunks, or with a solver its fit, with a generator of its own."""
    if solver:
        return SoftmaxRegression(1e3, solver=solver, random_state=0).fit(X, CLASS)
    model = SoftmaxRegression(1e3, random_state=0)
    for rows in np.split(np.arange(200), 5):
        model.partial_fit(X[rows], CLASS[rows], [0, 1, 2])
    return model


@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("shift", SHIFTS)
@pytest.mark.factor("solver", [None, "minibatch"])
def test_batches_of_shifted_columns_lead_where_those_that_are_not_do(solver, shift, container):
    """The same losses, but for the rounding of centres."""
    dtype, step, distance = SHIFTS[shift]
    plain = streamed(GRID * step, solver)
    model = streamed(container((GRID * step + distance).astype(dtype)), solver)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=0.02)


def test_a_stream_of_csr_may_leave_out_zeros_at_last():
    """In a column whose values were all stored, and far from zero, before."""
    X = GRID * 0.5 + 5.2e6
    X[[150, 190], 0] = 0
    dense, sparse = streamed(X), streamed(sp.csr_array(X))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-9)


@IGNORE_UNIDENTIFIED
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("shift", SHIFTS)
def test_wide_columns_may_be_shifted_too(shift, C):
    """More columns than rows, solved in their span, and one of them constant."""
    rng = np.random.default_rng(1)
    dtype, step, distance = SHIFTS[shift]
    X = rng.integers(-20, 21, (30, 40)) * step
    X[:, 3] = 7 * step
    # Rows that are there twice, of two classes: no hyperplane separates them.
    X[15:], y = X[:15], np.arange(30) % 2
    model = SoftmaxRegression(C).fit((X + distance).astype(dtype), y)
    least = np.log(2) if np.isinf(C) else optimum(X, one_hot(y), C).objective
    assert model.objective_ == pytest.approx(least, rel=1e-9)
    assert (model.coef_[:, 3] == 0).all()


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_code_that_another_row_has_not_is_no_constant(dtype, container):
    """90210 in 999 rows and 90211 in one; two neighbouring doubles at 1e300 likewise."""
    code = np.where(np.arange(1000) == 7, 90211, 90210).astype(dtype)
    y = np.arange(1000) >= 500
    least = optimum((code - 90210.0)[:, None], one_hot(y), 1e3).objective
    model = SoftmaxRegression(1e3).fit(container(code[:, None]), y)
    assert model.objective_ == pytest.approx(least, rel=1e-9) and least < np.log(2) - 1e-4
    big = np.array(1e30 if dtype is np.float32 else 1e300, dtype)
    neighbours = np.where(np.arange(1000) % 2, np.nextafter(big, dtype(np.inf)), big)[:, None]
    labels = (np.arange(1000) % 2 == 1) ^ (np.arange(1000) % 5 == 0)
    least = optimum(np.arange(1000)[:, None] % 2.0, one_hot(labels), np.inf).objective
    model = SoftmaxRegression(np.inf).fit(container(neighbours), labels)
    assert model.objective_ == pytest.approx(least, rel=1e-9)


@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("C", [1.0, np.inf])
@pytest.mark.factor("value", [0.0, 0.1, -1e300, 5e-324, 1e9 / 3])
@pytest.mark.factor("fit", FITS)
def test_a_column_of_equal_values_has_coefficient_zero(fit, value, C, container):
    """Exactly, and the rest of the fit is that without it; rows without weight do not count."""
    C = 1e6 if fit in ("path", "CV") and np.isinf(C) else C
    weight = np.where(np.arange(200) % 9 == 1, 0.0, WEIGHT)
    column = np.where(weight > 0, value, 1e10)
    model = FITS[fit](container(np.column_stack([column, GRID])), C, weight)
    assert (model.coef_[:, 0] == 0).all()
    assert model.objective_ == pytest.approx(least_F(fit, GRID, C, weight), rel=1e-9)


@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("dtype", [np.float32, np.float64])
@pytest.mark.factor("power", [-1000, -700, -100, -60, 60, 100, 500, 1010])
@pytest.mark.factor("fit", FITS)
def test_columns_times_a_power_of_two_have_coefficients_divided_by_it(fit, power, dtype, container):
    """Where C is divided by its square, or is infinite; no value is too large or too small."""
    power = int(np.clip(power, -120, 120)) if dtype is np.float32 else power
    X = (GRID * 2.0**power).astype(dtype)
    C = 10 * 4.0**-power if abs(power) < 505 else np.inf
    if np.isinf(C) and fit in ("path", "CV"):
        return
    plain = FITS[fit](GRID, 10.0 if np.isfinite(C) else np.inf)
    model = FITS[fit](container(X), C)
    assert model.objective_ == pytest.approx(plain.objective_, rel=1e-9)
    difference = np.abs(model.coef_ * 2.0**power - plain.coef_)
    assert difference.max() <= 1e-4 * np.abs(plain.coef_).max()
    P = model.predict_proba(X) if hasattr(model, "classes_") else None
    assert P is None or np.abs(P - plain.predict_proba(GRID)).max() <= 1e-4


@pytest.mark.factor("power", [0, -700, 700])
@pytest.mark.factor("distance", [0.0, 2.0**4, 2.0**18])
@pytest.mark.factor("dtype", [np.float64, np.float32])
def test_so_it_is_where_X_is_too_large_for_a_standardised_copy(distance, power, dtype):
    """Also beside a constant column; raw, or standardised anew in each pass."""
    scale = 2.0 ** (power // 7 if dtype is np.float32 else power)
    X = ((np.column_stack([GRID, np.zeros(200)]) + distance) * scale).astype(dtype)
    model = SoftmaxRegression(np.inf, tol=1e-12)
    sample, _ = read_sample(model, X, CLASS, None, None)
    with Threads(1, Limits(kept_bytes=0)) as threads:
        result, _ = model._solve(sample.rows(True, threads), sample.encoding, {}, {})
    assert result.objective.sum() == pytest.approx(optimum(GRID, Y, np.inf).objective, rel=1e-9)
    assert (result.coef[3] == 0).all()


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("fit", FITS)
def test_beside_tiny_columns_a_penalty_leaves_the_null_model(fit, container):
    """And beside huge ones nothing: the limits of F as columns are scaled, with C = 1."""
    null = least_F(fit, np.zeros((200, 1)), 1.0)
    assert FITS[fit](container(GRID * 1e-300), 1.0).objective_ == pytest.approx(null, rel=1e-9)
    free = least_F(fit, GRID, np.inf)
    assert FITS[fit](container(GRID * 1e300), 1.0).objective_ == pytest.approx(free, rel=1e-7)


def test_a_coefficient_beyond_all_numbers_is_an_error():
    """It names the column, whose values differ by the least of numbers."""
    X = GRID.copy()
    X[:, 1] *= 5e-324
    with pytest.raises(
        ValueError, match=r"coefficients .* got -?inf at index \(1, \d\): the values"
    ):
        SoftmaxRegression(np.inf).fit(X, CLASS)
    with pytest.raises(ValueError, match="X holds values in column 0 that are not finite, or too"):
        SoftmaxRegression().fit(np.vstack([[[1.7e308, 0, 0], [-1.7e308, 0, 0]], GRID[2:]]), CLASS)


# ---- Weights ------------------------------------------------------------------------------------


def at_weight(fit, X, C, scale):
    """A fit whose weights are `scale` times as large, and C as small: the same optimum."""
    return FITS[fit](X, C / scale, WEIGHT * scale)


@pytest.mark.factor("dtype", [np.float32, np.float64])
@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("power", [-1010, -500, -140, 140, 500, 1018])
@pytest.mark.factor("fit", FITS)
def test_weights_times_a_power_of_two_and_C_divided_by_it_change_nothing(
    fit, power, container, dtype
):
    """F is a mean: neither sums of weights nor products in single precision overflow."""
    X = container(GRID.astype(dtype))
    model, plain = at_weight(fit, X, 10.0, 2.0**power), at_weight(fit, X, 10.0, 1.0)
    assert model.objective_ == pytest.approx(least_F(fit, GRID, 10.0, WEIGHT), rel=1e-9)
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=0, atol=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_enormous_weights_leave_no_penalty_and_tiny_ones_nothing_else(fit):
    """With C = 1 the penalty is 1 / S: the limits of F as S grows and falls."""
    free, null = least_F(fit, GRID, np.inf, WEIGHT), least_F(fit, GRID * 0, 1.0, WEIGHT)
    assert FITS[fit](GRID, 1.0, WEIGHT * 2.0**1020).objective_ == pytest.approx(free, rel=1e-7)
    assert FITS[fit](GRID, 1.0, WEIGHT * 2.0**-1040).objective_ == pytest.approx(null, rel=1e-9)


def test_weights_of_each_label_may_be_enormous_too():
    """Weights (n, L), with and without balanced answers."""
    cells, Y_labels = np.column_stack([WEIGHT, WEIGHT[::-1]]), Y2[:, ::-1]
    for balance in (None, "balanced"):
        plain = SigmoidRegression(10.0, class_weight=balance).fit(GRID, Y_labels, cells)
        model = SigmoidRegression(10 / 2.0**1018, class_weight=balance)
        model.fit(GRID, Y_labels, cells * 2.0**1018)
        np.testing.assert_allclose(model.label_objective_, plain.label_objective_, rtol=1e-9)


@pytest.mark.parametrize(("power", "ordinary"), [(-1000, -20), (1000, 20)])
def test_a_stream_may_have_weights_of_any_size(power, ordinary):
    """The unit of its weights is that of its first chunk."""

    def streamed(scale):
        model = SoftmaxRegression(10 / scale, random_state=0)
        for rows in np.split(np.arange(200), 4):
            model.partial_fit(GRID[rows], CLASS[rows], [0, 1, 2], WEIGHT[rows] * scale)
        return model

    P, plain = (streamed(scale).predict_proba(GRID) for scale in (2.0**power, 2.0**ordinary))
    np.testing.assert_allclose(P, plain, atol=1e-4)  # the start counts one more row of weight one


@pytest.mark.parametrize("power", [-1000, 1018])
@pytest.mark.parametrize("cv", [3, "loo"])
def test_scores_do_not_depend_on_the_unit_of_weights(cv, power):
    """Nor does what is known of a class that a fold lacks overflow."""
    scale = 2.0**power
    plain = SoftmaxRegressionCV([1.0, 10.0], cv=cv).fit(GRID, CLASS, WEIGHT)
    model = SoftmaxRegressionCV([1 / scale, 10 / scale], cv=cv).fit(GRID, CLASS, WEIGHT * scale)
    np.testing.assert_allclose(model.mean_score_[0], plain.mean_score_[0], rtol=1e-5)
    score = model.score(GRID, CLASS, WEIGHT * scale)
    assert score == pytest.approx(plain.score(GRID, CLASS, WEIGHT), rel=1e-4)
    y = np.where(np.arange(200) == 3, 7, CLASS)  # a class of a single row
    lacking = SoftmaxRegressionCV([10 / scale], cv=[(np.arange(10, 200), np.arange(10))])
    assert np.isfinite(lacking.fit(GRID, y, WEIGHT * scale).mean_score_[0]).all()


def test_weights_without_a_sum_are_an_error_that_names_them():
    """Class weights that overflow, and chunks whose weights grow beyond all numbers."""
    with pytest.raises(ValueError, match="sample_weight, times class_weight, adds up"):
        SoftmaxRegression(class_weight=dict.fromkeys(range(3), 1.7e308)).fit(GRID, CLASS)
    growing = WEIGHT * np.where(np.arange(200) < 50, 1.0, 1e307)
    with pytest.raises(ValueError, match="sample_weight, times class_weight, adds up"):
        in_chunks(SoftmaxRegression(), GRID, CLASS, growing)


# ---- Values that are no numbers -----------------------------------------------------------------


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_what_is_not_finite_is_blamed_on_what_holds_it(container):
    """Also where scikit-learn is told to assume that all is finite."""
    bad_X, bad_y, bad = GRID.copy(), Y.copy(), np.ones(200)
    bad_X[5, 1] = bad_y[5, 1] = bad[5] = np.nan
    model, X = SoftmaxRegression(), container(GRID)
    with sklearn.config_context(assume_finite=True):
        for value in (np.nan, np.inf, -np.inf):
            bad_X[5, 1] = value
            with pytest.raises(ValueError, match="X holds values in column 1 that are not finite"):
                model.fit(container(bad_X), CLASS)
        with pytest.raises(ValueError, match="X holds values in column 1 that are not finite"):
            in_chunks(model, container(bad_X), CLASS)
        with pytest.raises(ValueError, match="y of class probabilities .* got nan at index"):
            model.fit(X, bad_y)
        with pytest.raises(ValueError, match="sample_weight must be finite"):
            model.fit(X, CLASS, bad)
        with pytest.raises(ValueError, match="offset must be finite, got nan"):
            model.fit(X, CLASS, offset=np.where(Y > 2, 0, bad[:, None]))


# ---- Single precision ---------------------------------------------------------------------------


@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("shift", [name for name in SHIFTS if SHIFTS[name][0] is np.float32])
@pytest.mark.factor("fit", FITS)
def test_what_is_certified_is_what_is_stored(fit, shift, container):
    """F at coef_ and intercept_, in double precision, is objective_, over float32 X too."""
    _, step, distance = SHIFTS[shift]
    X = (GRID * step + distance).astype(np.float32)
    model, targets = FITS[fit](container(X), 1e3), Y2 if fit in LABELLERS else Y
    W, b = model.coef_, model.intercept_
    assert W.dtype == b.dtype == np.float64
    if fit in LABELLERS:
        W, b = W[:1], b[:1]
    reached = objective(W, b, X.astype(float), targets, 1e3)
    assert reached * len(model.coef_) / len(W) == pytest.approx(model.objective_, rel=1e-9)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("name", ["predict_proba", "predict_log_proba", "decision_function"])
def test_predictions_over_float32_are_those_over_the_same_doubles(name, container):
    """Rounded once: to the precision of X."""
    X = (GRID * 0.25 + 2.45e6).astype(np.float32)
    for model in (
        SoftmaxRegression(1e3).fit(container(X), CLASS),
        SoftmaxRegression(1e3).fit(container(X), LABEL),
        SigmoidRegression(1e3).fit(container(X), CLASS),
    ):
        exact = getattr(model, name)(container(X.astype(float)))
        rounded = getattr(model, name)(container(X))
        assert rounded.dtype == np.float32
        np.testing.assert_array_max_ulp(rounded, exact.astype(np.float32))


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_classes", [2, 3, 400])
def test_predictions_of_many_rows_are_those_of_each(n_classes, container):
    """Rows are taken in blocks, which make no difference; CSR predictions of labels stay CSR."""
    n = 3000 if n_classes > 3 else 400_000
    rng = np.random.default_rng(3)
    X = rng.integers(-3, 4, (n, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.5] = 0
    offset = rng.normal(size=n if n_classes == 2 else (n, n_classes))
    y = np.arange(1200) % n_classes
    some, rows = np.linspace(0, n - 1, 50).astype(int), container(X)
    model = SoftmaxRegression(1e-2).fit(X[:1200], y)
    for name in ("predict_proba", "predict_log_proba", "decision_function", "predict"):
        whole = getattr(model, name)(rows, offset)
        np.testing.assert_array_equal(whole[some], getattr(model, name)(rows[some], offset[some]))
    best = model.predict_top_k(rows, 2, offset)
    np.testing.assert_array_equal(best[some], model.predict_top_k(rows[some], 2, offset[some]))
    if n_classes == 3:
        labels = SigmoidRegression(1e-2).fit(X[:1200], sp.csr_array(np.eye(3)[y]))
        indicator = labels.predict(rows)
        assert sp.issparse(indicator) and indicator.shape == (n, 3)
        assert (indicator[some] != labels.predict(rows[some])).nnz == 0


def test_predictions_over_float32_hold_no_copy_in_double_precision():
    """Beside X and the result, less than a quarter of X, or of scores if they are more."""
    X = np.zeros((500_000, 40), np.float32)
    model = SoftmaxRegression().fit(GRID, CLASS)
    model.coef_, model.n_features_in_ = np.ones((3, 40)), 40
    tracemalloc.start()
    try:
        result = model.predict_proba(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.dtype == np.float32 and peak - result.nbytes < X.nbytes / 4
