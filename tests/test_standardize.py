"""`standardize=True`: the penalty of columns over their deviations, in the user's units.

The columns divided by these, which the tests find by themselves, are the same problem without it.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from problems import labels_drawn, objective, one_hot, optimum, overlapping
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    inference,
    regularization_path,
)
from softreg._estimators.posing import pose, read_sample
from softreg.solvers import MiniBatch

RNG = np.random.default_rng(0)
# Numbers on a grid, so that float32 holds them and shifts are exact; one of two values in the last.
X = np.column_stack([RNG.integers(-20, 21, (160, 3)), RNG.random(160) < 0.1]) * [0.25, 64, 1, 8]
Y_CLASS = labels_drawn(RNG, X @ RNG.normal(size=(4, 3)) / X.std(axis=0).sum())
LABELS = (X @ RNG.normal(size=(4, 3)) / 40 + RNG.logistic(size=(160, 3)) > 0.3) * 1.0
UNKNOWN = np.where(RNG.random(LABELS.shape) < 0.2, np.nan, LABELS)
WEIGHT = np.tile([0.0, 1.0, 2.0, 0.5, 4.0], 32)
FACTOR = np.array([1, 0.2, 3, 1])
TIGHT = {"tol": 1e-13}

TARGETS = {
    "classes": (SoftmaxRegression, Y_CLASS),
    "two classes": (SoftmaxRegression, Y_CLASS == 1),
    "shares": (SoftmaxRegression, 0.8 * one_hot(Y_CLASS) + 0.2 / 3),
    "labels": (SigmoidRegression, LABELS),
    "unknown labels": (SigmoidRegression, UNKNOWN),
    "one against the rest": (SigmoidRegression, Y_CLASS),
}
TABLES = {
    "dense": X,
    "far from zero": X + 2.0**20 + 0.5,
    "float32": X.astype(np.float32),
    "CSR": sp.csr_array(X),
    "wide": np.hstack([X, RNG.normal(size=(160, 250)) * np.exp(RNG.normal(size=250) * 2)]),
    "chunks": X,
}


def dense(table):
    return np.asarray(table.toarray() if sp.issparse(table) else table, dtype=float)


def row_weight(y, weight):
    """The weights of rows of which something is known."""
    known = ~np.isnan(y.reshape(len(y), -1)).all(axis=1)
    return known * (1.0 if weight is None else weight)


def deviations(table, weight=None):
    """The weighted population deviation of each column, in double."""
    A = dense(table)
    A = A - A[0]
    return np.sqrt(np.average((A - np.average(A, axis=0, weights=weight)) ** 2, 0, weight))


def in_units(table, unit):
    """The columns divided by units, as they are held."""
    return sp.csr_array(table / unit) if sp.issparse(table) else dense(table) / unit


def fitted(model, table, y, weight, in_chunks):
    if not in_chunks:
        return model.fit(table, y, sample_weight=weight)
    arrays = (table, y) if weight is None else (table, y, weight)
    return model.fit_chunks([[a[cut] for a in arrays] for cut in (slice(70), slice(70, None))])


def posed_by(model, columns, y, threads):
    """The objective that solvers see, at C = 1."""
    sample, _ = read_sample(model, columns, y, None, None)
    return pose(
        model, sample.rows(True, threads), sample.encoding, model._strength(sample.encoding), {}
    )


def assert_same_model(model, of_scaled, unit, atol=1e-7):
    """Coefficients in the user's units are those of the scaled columns over the units; the same F.

    Both lie within 1e-13 F of the optimum, which leaves their coefficients 1e-7.
    """
    assert model.objective_ == pytest.approx(of_scaled.objective_, rel=1e-10)
    np.testing.assert_allclose(model.coef_ * unit, of_scaled.coef_, rtol=0, atol=atol)
    assert model.converged_ and of_scaled.converged_


@pytest.mark.factor("targets", TARGETS)
@pytest.mark.factor("table", TABLES)
@pytest.mark.factor("weight", [None, "weights"])
@pytest.mark.factor("fit_intercept", [True, False])
@pytest.mark.factor("factor", [None, "factors"])
@pytest.mark.factor("solver", ["auto", "lbfgs", "newton"])
def test_it_is_the_fit_to_columns_over_their_deviations(
    targets, table, weight, fit_intercept, factor, solver
):
    """F and predictions are theirs, coefficients are too, but for the units.

    Without an intercept deviations are about the mean too, as in R's glmnet.
    """
    (kind, y), columns = TARGETS[targets], TABLES[table]
    if table == "far from zero" and not fit_intercept:
        columns = X + 3.0
    s = None if weight is None else WEIGHT
    f = None if factor is None else np.resize(FACTOR, columns.shape[1])
    given = {"penalty_factor": f, "fit_intercept": fit_intercept, "solver": solver, **TIGHT}
    unit = deviations(columns, row_weight(y, s))
    model = kind(0.3, standardize=True, **given)
    model = fitted(model, columns, y, s, table == "chunks")
    of_scaled = kind(0.3, **given).fit(in_units(columns, unit), y, sample_weight=s)
    assert_same_model(model, of_scaled, unit)
    expected = of_scaled.predict_proba(in_units(columns, unit))
    in_double = columns.astype(np.float64)
    np.testing.assert_allclose(model.predict_proba(in_double), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["rows alike", "weights"])
def test_scikit_learns_scaler_divides_by_the_same_deviations(weight):
    """The predictions of StandardScaler with sample weights, and the plain fit."""
    scaler = StandardScaler().fit(X, sample_weight=weight)
    model = SoftmaxRegression(standardize=True, **TIGHT).fit(X, Y_CLASS, weight)
    of_scaled = SoftmaxRegression(**TIGHT).fit(scaler.transform(X), Y_CLASS, weight)
    expected = of_scaled.predict_proba(scaler.transform(X))
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_its_optimum_is_that_of_the_variances_as_penalty_factors(fit_intercept):
    """F is least where Newton's method on F itself, with factors f_j var_j, ends."""
    given = {"sample_weight": WEIGHT, "penalty_factor": FACTOR * deviations(X, WEIGHT) ** 2}
    least = optimum(X, one_hot(Y_CLASS), 0.1, fit_intercept=fit_intercept, **given).objective
    model = SoftmaxRegression(
        0.1, standardize=True, penalty_factor=FACTOR, fit_intercept=fit_intercept
    ).fit(X, Y_CLASS, WEIGHT)
    found = objective(model.coef_, model.intercept_, X, one_hot(Y_CLASS), 0.1, **given)
    assert found <= least * (1 + 1e-8)
    assert model.objective_ == pytest.approx(found, rel=1e-12)
    assert model.proven_


@pytest.mark.parametrize("power", [-600, -30, 30, 600])
@pytest.mark.parametrize("table", ["dense", "CSR", "wide", "chunks"])
def test_units_change_no_prediction(table, power):
    """Columns times powers of two, of which the last differs, have the same probabilities."""
    columns = TABLES[table]
    factor = np.full(columns.shape[1], 2.0**power)
    factor[-1] = 0.5
    moved = in_units(columns, 1 / factor)
    plain, scaled = (
        fitted(SoftmaxRegression(standardize=True), values, Y_CLASS, None, table == "chunks")
        for values in (columns, moved)
    )
    expected = plain.predict_proba(columns)
    np.testing.assert_allclose(scaled.predict_proba(moved), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("power", [-600, 600])
def test_the_solver_sees_columns_of_deviation_one_in_any_units(power, one_thread):
    """To the nearest power of two: the penalty forbids no scale, as it is that of such columns."""
    model, columns = SoftmaxRegression(standardize=True), X * 2.0**power
    scale = posed_by(model, columns, Y_CLASS, one_thread).rows.coordinates.scale
    deviation = deviations(X) * (2.0**power / scale)
    assert (deviation >= 0.7).all() and (deviation <= 1.42).all()


@pytest.mark.parametrize("power", [-400, 400])
def test_the_strongest_penalty_does_not_overflow_in_any_units(power):
    """C of 1e-290 leaves nothing but the intercept, and so the shares of the classes."""
    model = SoftmaxRegression(1e-290, standardize=True).fit(X * 2.0**power, Y_CLASS)
    shares = np.bincount(Y_CLASS) / len(Y_CLASS)
    np.testing.assert_allclose(model.predict_proba(X[:1] * 2.0**power), shares[None], rtol=1e-9)
    assert model.converged_ and model.proven_


def test_rows_without_weight_do_not_count_in_deviations():
    """However far out they lie: the fit is that without them."""
    far_out = np.where(WEIGHT[:, None] > 0, X, 1e9)
    model = SoftmaxRegression(standardize=True, **TIGHT)
    with_them = clone(model).fit(far_out, Y_CLASS, WEIGHT)
    kept = WEIGHT > 0
    without = clone(model).fit(X[kept], Y_CLASS[kept], WEIGHT[kept])
    np.testing.assert_allclose(with_them.coef_, without.coef_, rtol=1e-6)


def test_deviations_count_the_weights_of_classes():
    """Of one class a row they are part of S: class_weight is the same as sample_weight."""
    by_class = {0: 0.2, 1: 5.0, 2: 1.0}
    model = SoftmaxRegression(standardize=True, **TIGHT)
    weighted = clone(model).fit(X, Y_CLASS, np.array([0.2, 5.0, 1.0])[Y_CLASS])
    model.set_params(class_weight=by_class).fit(X, Y_CLASS)
    np.testing.assert_allclose(model.coef_, weighted.coef_, rtol=1e-6)


@pytest.mark.parametrize("given", ["class_weight", "sample_weight"])
def test_labels_share_the_deviations_of_the_rows(given):
    """Weights of labels change no deviation; rows in which no answer is known do not count."""
    assert np.isnan(UNKNOWN).all(axis=1).any()
    unit, weight = deviations(X, row_weight(UNKNOWN, None)), RNG.uniform(0.1, 3, LABELS.shape)
    parameters = {"class_weight": {0: 9.0, 1: 0.1, 2: 1.0}} if given == "class_weight" else {}
    terms = {"sample_weight": weight} if given == "sample_weight" else {}
    model = SigmoidRegression(0.3, standardize=True, **parameters, **TIGHT).fit(X, UNKNOWN, **terms)
    of_scaled = SigmoidRegression(0.3, **parameters, **TIGHT).fit(X / unit, UNKNOWN, **terms)
    assert_same_model(model, of_scaled, unit)


@pytest.mark.parametrize("kind", ["dense", "CSR", "wide"])
def test_a_constant_column_has_no_coefficient(kind):
    """The intercept takes its place, and the other columns are fitted as without it."""
    columns = dense(TABLES[kind])
    padded = np.insert(columns, [1, 3], [7.3, 0.0], axis=1)
    padded = sp.csr_array(padded) if kind == "CSR" else padded
    model = SoftmaxRegression(standardize=True, **TIGHT)
    without, with_them = clone(model).fit(columns, Y_CLASS), clone(model).fit(padded, Y_CLASS)
    np.testing.assert_array_equal(with_them.coef_[:, [1, 4]], 0)
    np.testing.assert_allclose(np.delete(with_them.coef_, [1, 4], 1), without.coef_, atol=1e-7)
    assert with_them.proven_


def test_constant_columns_do_not_widen_what_is_solved_in_the_span_of_the_rows(one_thread):
    """Of 50 rows, 100 columns that vary and 500 that do not, no more than 50 are left."""
    columns = np.hstack([RNG.normal(size=(50, 100)), np.full((50, 500), 3.0)])
    model = SoftmaxRegression(standardize=True)
    assert posed_by(model, columns, Y_CLASS[:50], one_thread).shape[0] <= 51


@pytest.mark.parametrize("kind", ["dense", "CSR", "wide"])
def test_a_column_of_ones_without_an_intercept_is_one(kind):
    """Its variance is zero, and so is its penalty, as the intercept's; a column of zeros gets 0."""
    columns = dense(TABLES[kind])
    padded = np.column_stack([columns, np.zeros(160), np.ones(160)])
    padded = sp.csr_array(padded) if kind == "CSR" else padded
    with_intercept = SoftmaxRegression(standardize=True, **TIGHT).fit(columns, Y_CLASS)
    without = SoftmaxRegression(standardize=True, fit_intercept=False, **TIGHT).fit(padded, Y_CLASS)
    np.testing.assert_allclose(without.coef_[:, :-2], with_intercept.coef_, atol=1e-6)
    np.testing.assert_allclose(without.coef_[:, -1], with_intercept.intercept_, atol=1e-6)
    np.testing.assert_array_equal(without.coef_[:, -2], 0)


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_a_column_of_ones_without_an_intercept_leaves_its_group(kind, l1_ratio):
    """It has no penalty, which its neighbours keep: the fit is that with an intercept."""
    options = {"C": 0.2, "l1_ratio": l1_ratio, "standardize": True} | TIGHT
    expected = kind(l1_groups=[0, 0, 1, 1], **options).fit(X, Y_CLASS)
    ones = np.column_stack([X, np.ones(160)])
    model = kind(l1_groups=[0, 0, 1, 1, 1], fit_intercept=False, **options).fit(ones, Y_CLASS)
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-9)
    np.testing.assert_allclose(model.coef_[:, :4], expected.coef_, atol=1e-6)


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_without_a_penalty_it_has_no_effect(kind):
    """C = inf: the maximum likelihood does not depend on units."""
    plain, standardised = (
        kind(np.inf, standardize=value, **TIGHT).fit(X, Y_CLASS) for value in (False, True)
    )
    np.testing.assert_array_equal(plain.coef_, standardised.coef_)


def test_a_path_is_that_of_columns_over_their_deviations():
    """At every C."""
    unit = deviations(X, WEIGHT)
    path, of_scaled = (
        regularization_path(
            columns,
            Y_CLASS,
            [0.01, 0.1, 1.0],
            estimator=SoftmaxRegression(standardize=standardize, **TIGHT),
            sample_weight=WEIGHT,
        )
        for columns, standardize in ((X, True), (X / unit, False))
    )
    np.testing.assert_allclose(path.coef * unit, of_scaled.coef, rtol=0, atol=1e-6)


# ---- Held-out rows ------------------------------------------------------------------------------

FOLDS = list(KFold(4, shuffle=True, random_state=0).split(X))
CS = [0.01, 1.0]
# A column that is constant but in the rows of one fold, beside the others.
WITH_RARE = np.column_stack([X, np.isin(np.arange(160), FOLDS[2][1][:3])])


def scores_by_hand(kind, columns, y, weight, **parameters):
    """Minus the log loss of each fold by the fit to the other rows, at each C."""
    scores = np.zeros((len(FOLDS), len(CS)))
    for (fold, at), _ in np.ndenumerate(scores):
        train, test = FOLDS[fold]
        model = kind(CS[at], **parameters).fit(
            columns[train], y[train], sample_weight=weight[train]
        )
        scores[fold, at] = -loss(y[test], model.predict_proba(columns[test]), weight[test])
    return scores


def loss(y, P, weight):
    """The mean log loss of classes (m,), or of all labels (m, L) that are known."""
    if y.ndim == 1:
        return np.average(-np.log(P[np.arange(len(y)), y]), weights=weight)
    losses = -np.where(y > 0, np.log(P), np.log1p(-P))
    return np.average(losses, weights=np.broadcast_to(weight[:, None], y.shape) * ~np.isnan(y))


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("targets", ["classes", "two classes", "labels", "one against the rest"])
def test_each_fold_is_scored_with_the_deviations_of_its_other_rows(targets, container):
    """Scores are those of fits to these rows alone, also where a column is constant in them."""
    kind, y = TARGETS[targets]
    y, columns = y.astype(int), container(WITH_RARE)
    kind_of_cv = {SoftmaxRegression: SoftmaxRegressionCV, SigmoidRegression: SigmoidRegressionCV}
    given = {"standardize": True, "penalty_factor": [*FACTOR, 0.5]}
    model = kind_of_cv[kind](CS, cv=FOLDS, tol=1e-12, **given).fit(columns, y, WEIGHT)
    expected = scores_by_hand(kind, columns, y, WEIGHT, **given, **TIGHT)
    np.testing.assert_allclose(model.scores_[:, 0], expected, rtol=1e-4)
    whole = kind(model.C_, **given, **TIGHT).fit(columns, y, WEIGHT)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-5)


def test_wide_folds_are_scored_with_the_deviations_of_all_rows():
    """Where the fit is made in the span of the rows, whose basis those deviations are part of."""
    columns, ones = TABLES["wide"], np.ones(160)
    model = SoftmaxRegressionCV(CS, cv=FOLDS, standardize=True).fit(columns, Y_CLASS)
    factor = deviations(columns) ** 2
    expected = scores_by_hand(SoftmaxRegression, columns, Y_CLASS, ones, penalty_factor=factor)
    np.testing.assert_allclose(model.scores_[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["rows alike", "weights"])
def test_leave_one_out_keeps_the_deviations_of_the_whole_fit(weight):
    """It is that of columns over these, as `inference.loo` and as scores."""
    unit = deviations(X, weight)
    model = SoftmaxRegression(0.3, standardize=True, **TIGHT).fit(X, Y_CLASS, weight)
    of_scaled = SoftmaxRegression(0.3, **TIGHT).fit(X / unit, Y_CLASS, weight)
    left_out = inference.loo(model, X, Y_CLASS, weight)
    expected = inference.loo(of_scaled, X / unit, Y_CLASS, weight)
    np.testing.assert_allclose(left_out.probabilities, expected.probabilities, atol=1e-7)
    np.testing.assert_allclose(left_out.leverage, expected.leverage, atol=1e-7)
    by_row = SoftmaxRegressionCV(CS, cv="loo", standardize=True).fit(X, Y_CLASS, weight)
    rows_of_scaled = SoftmaxRegressionCV(CS, cv="loo").fit(X / unit, Y_CLASS, weight)
    np.testing.assert_allclose(by_row.scores_[:, 0], rows_of_scaled.scores_[:, 0], atol=1e-5)


# ---- Mini-batches and streams -------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_mini_batches_minimise_the_same_objective(early_stopping):
    """The same steps as on columns over their deviations, near the optimum of that penalty."""
    solver = MiniBatch(n_epochs=40, batch_size=16, early_stopping=early_stopping)
    units, (columns, y) = np.exp2([-9, 0, 4, 12]), overlapping(n=800)
    model = SoftmaxRegression(0.02, standardize=True, solver=solver, random_state=0)
    model.fit(columns * units, y)
    least = SoftmaxRegression(0.02, standardize=True).fit(columns, y).objective_
    assert least <= model.objective_ <= least * 1.01


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_a_stream_refuses_it(kind):
    """The deviations of all rows are not known: AttributeError, with a remedy."""
    model = kind(standardize=True)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, Y_CLASS, classes=[0, 1, 2])
    for part in ("standardize", "fit_chunks", "penalty_factor"):
        assert part in str(error.value.__cause__)
