"""Mini-batch gradient descent: laws of its parts, and what a fit with it does."""

import numpy as np
import pytest
import scipy.sparse as sp
from parts import LABELS, SOURCES, TARGETS, close, hold, make
from problems import PROBLEMS, beans, objective, one_hot, solved
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._coordinates import Coordinates
from softreg._threads import Threads
from softreg.solvers import MiniBatch
from softreg.solvers._batches import gradient_and_curvature
from softreg.solvers._kronecker import Curvature, Preconditioner
from softreg.solvers._natural_gradient import Iterate

X, y = beans()


@pytest.fixture(params=TARGETS)
def case(request):
    """An objective of each kind of targets, with weights and offsets."""
    with Threads(1) as threads:
        yield make(threads, request.param, weighted=True, offset=True)


def unknown(case):
    return Preconditioner.of(Curvature.unknown(case.objective), case.objective.penalty, 0)


# ---- Parts --------------------------------------------------------------------------------------


def test_the_gradient_of_a_step_of_no_length_is_that_of_F(case):
    """Rows keep their residuals where a step does not move them."""
    T = case.point()
    gradient, _ = gradient_and_curvature(case.objective, T, unknown(case), 0.0)
    close(gradient, case.objective.value_and_gradient(T)[1], 1e-12)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_curvature_is_the_kronecker_factors_of_its_formula(targets, source, monkeypatch):
    """Scores: the mean of (diag(p) - p p' + r r') / 2; features: x~ x~' weighted by its trace."""
    hold(source, monkeypatch)
    with Threads(1) as threads:
        case = make(threads, targets, source, weighted=True, offset=True)
        T = case.point()
        _, found = gradient_and_curvature(case.objective, T, unknown(case), 0.0)
    Z = case.features @ T + case.offset
    P = softmax(Z, axis=1) if case.is_softmax else expit(Z)
    R = P - case.Y
    own = case.w / case.weights
    trace = (own * (P * (1 - P) + R**2) / 2).sum(axis=1)
    moments = (trace[:, None] * case.features).T @ case.features
    close(found.features, np.diagonal(moments) if source == "sparse" else moments, 1e-11)
    if case.is_softmax:
        s = case.s / case.total
        scores = np.diag(s @ P) - (s[:, None] * P).T @ P + (s[:, None] * R).T @ R
        close(found.scores, scores / 2, 1e-11)
    else:
        close(found.scores, (own * (P * (1 - P) + R**2)).sum(axis=0) / 2, 1e-11)


@pytest.mark.parametrize("length", [20.0, 300.0])
def test_a_row_keeps_the_residual_that_its_step_leaves(length):
    """r = sigmoid(z - length * moves(r)) - y: an implicit step, however long."""
    with Threads(1) as threads:
        row = {"X": np.ones((1, 1)), "factors": np.ones(1), "intercept": False}
        case = make(threads, "sigmoid of two classes", **row)
        F, M = case.objective, unknown(case)
        gradient, _ = gradient_and_curvature(F, np.zeros(F.shape), M, length)
        r = gradient  # as x~ is 1
        moved = -length * M.moves(F.rows.block(slice(0, 1)), r)
    assert 0.001 < abs(r[0, 0]) < 0.4
    close(r, expit(moved) - case.Y, 2e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_moves_are_those_of_the_scores_after_a_step_down_one_row(source, monkeypatch):
    """T - P(x~ r') has scores z - moves(r) in that row."""
    hold(source, monkeypatch)
    with Threads(1) as threads:
        case = make(threads, source=source)
        F, M = case.objective, unknown(case)
        block = F.rows.block(slice(0, F.rows.n))
        R = np.random.default_rng(0).normal(size=(3, F.rows.n))
        moves = M.moves(block, R)
    for i in (0, 7, 39):
        step = M(np.outer(case.features[i], R[:, i]))
        close(moves[:, i], step.T @ case.features[i], 1e-10)


@pytest.mark.parametrize("K", [1, 4])
@pytest.mark.parametrize("diagonal", [False, True])
def test_the_preconditioner_inverts_its_kronecker_product(diagonal, K):
    """(scores (x) features + penalty) P(G) = G, with a floor under the scores."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    features = np.exp(rng.normal(size=6)) if diagonal else root @ root.T
    factor = rng.normal(size=(K, K))
    scores = factor @ factor.T
    with Threads(1) as threads:
        penalty = make(threads).objective.penalty
    penalty = type(penalty)(np.exp(rng.normal(size=(6, 1))))
    G = rng.normal(size=(6, K))
    P = Preconditioner.of(Curvature(features, scores), penalty, 1e18)
    A = np.diag(features) if diagonal else features
    B = scores + 0.05 * np.trace(scores) / K * np.eye(K)
    product = A @ P(G) @ B / np.trace(scores) + penalty.l2 * P(G)
    close(product, G, 1e-9)


def test_few_rows_do_not_make_second_moments():
    """Before any row was seen features are taken to be uncorrelated and of deviation one."""
    with Threads(1) as threads:
        penalty = make(threads).objective.penalty
    penalty = type(penalty)(np.zeros((3, 1)))
    one_row = np.outer([1.0, 1.0, 2.0], [1.0, 1.0, 2.0])
    P = Preconditioner.of(Curvature(one_row, np.ones((1, 1))), penalty, 0.0)
    G = np.array([[1.0], [2.0], [3.0]])
    close(P(G), G / 1.05, 1e-12)


def test_an_iterate_says_the_same_in_other_coordinates():
    """Coefficients in the user's units stay, whichever coordinates the iterate is carried to."""
    rng = np.random.default_rng(1)
    here = Coordinates(rng.normal(size=5), np.exp(rng.normal(size=5)), True)
    there = Coordinates(rng.normal(size=5), np.exp(rng.normal(size=5)), True)
    iterate = Iterate.at(rng.normal(size=(6, 3)))
    carried = iterate.carried(there.since(here))
    for own, other in zip(
        here.coefficients(iterate.mean), there.coefficients(carried.mean), strict=True
    ):
        close(other, own, 1e-12)


def test_curvature_in_other_coordinates_is_that_of_the_rows_in_them():
    """sum x~ x~' of transformed rows, whether transformed before or after adding up."""
    rng = np.random.default_rng(2)
    raw = rng.normal(size=(20, 4))
    here = Coordinates(rng.normal(size=4), np.exp(rng.normal(size=4)), True)
    there = Coordinates(rng.normal(size=4), np.exp(rng.normal(size=4)), True)
    old, new = (own.transform(raw, np.dtype(float)) for own in (here, there))
    carried = Curvature(old.T @ old, np.eye(2)).carried(there.since(here))
    close(carried.features, new.T @ new, 1e-12)


@pytest.mark.parametrize("targets", TARGETS)
def test_the_value_alone_is_that_with_the_gradient(targets):
    """Objective.value is F, and on its own rows, unpenalised, the mean loss."""
    with Threads(1) as threads:
        case = make(threads, targets, weighted=True, offset=True)
        F, T = case.objective, case.point()
        close(F.value(T), F.value_and_gradient(T)[0], 1e-13)
        W, b = F.coefficients(T)
        plain = make(threads, targets, penalty="no penalty", weighted=True, offset=True)
        close(F.unpenalised().value(T), plain.value(W, b), 1e-12)


def test_the_objective_on_some_rows_is_that_of_these_rows_alone():
    """As if there were no others: their weight divides the loss and the penalty."""
    with Threads(1) as threads:
        case = make(threads, weighted=True)
        T, some = case.link.centred(case.point()), np.arange(10, 30)
        part = case.objective.on(case.objective.rows.taken(some))
        W, b = part.coefficients(T)
        alone = type(case)(
            part, case.X[some], case.Y[some], case.s[some], case.w[some], case.offset[some], case.l2
        )
        close(part.value(T), alone.value(W, b), 1e-12)


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_raw_columns_need_no_tuning(name):
    """After 100 epochs 93 % of what the features explain is learned, on most sets all but 1e-3."""
    X, y, Y, best = solved(name, 1.0)
    model = SoftmaxRegression(solver=MiniBatch(n_epochs=100), random_state=0).fit(X, y)
    shares = Y.mean(axis=0)
    null = -(shares * np.log(shares)).sum()
    reached = objective(model.coef_, model.intercept_, X, Y)
    assert (reached - best) / (null - best) < (0.07 if "unequal" in name else 0.01)


@pytest.mark.parametrize("averaging", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_variant_of_the_rule_nears_the_optimum(averaging, momentum, shuffle):
    """Within 2 % of the optimum after 50 epochs."""
    solver = MiniBatch(n_epochs=50, averaging=averaging, momentum=momentum, shuffle=shuffle)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, y)
    best = SoftmaxRegression().fit(X, y).objective_
    assert best <= model.objective_ < 1.02 * best


def test_the_units_of_columns_do_not_matter():
    """Columns in other units, and the penalty with them, give the same probabilities."""
    units = 2.0 ** np.arange(-20, 4, 2)
    fits = [
        SoftmaxRegression(solver="minibatch", random_state=0, penalty_factor=f).fit(X * u, y)
        for u, f in ((1.0, np.ones(12)), (units, units**2))
    ]
    close(fits[1].predict_proba(X * units), fits[0].predict_proba(X), 1e-9)


def test_a_seed_makes_fits_the_same_and_threads_do_not_change_them():
    """Same random_state, same coefficients; n_jobs does not matter; other seeds differ."""
    fit = [
        SoftmaxRegression(solver="minibatch", random_state=seed, n_jobs=n).fit(X, y).coef_
        for seed, n in ((0, 1), (0, 2), (1, 1))
    ]
    np.testing.assert_array_equal(fit[0], fit[1])
    assert not np.array_equal(fit[0], fit[2])


def test_weight_two_is_the_row_twice():
    """One batch of all rows, a fixed rate: weights count as copies do."""
    solver = MiniBatch(batch_size=10_000, learning_rate=0.5, shuffle=False, n_epochs=5)
    weight = np.arange(len(y)) % 3
    twice = np.repeat(np.arange(len(y)), weight)
    weighted = SoftmaxRegression(solver=solver).fit(X, y, sample_weight=weight)
    copied = SoftmaxRegression(solver=solver).fit(X[twice], y[twice])
    close(weighted.loss_curve_, copied.loss_curve_, 1e-2)


@pytest.mark.parametrize("make_X", [sp.csr_array, lambda X: X.astype(np.float32)])
def test_sparse_and_single_precision_come_as_near(make_X):
    """CSR and float32 stay what they are, and end within 3 % of the optimum."""
    counts, kinds = PROBLEMS["sparse counts"]()
    data = make_X(counts.toarray())
    model = SoftmaxRegression(solver=MiniBatch(n_epochs=40), random_state=0).fit(data, kinds)
    best = solved("sparse counts", 1.0)[-1]
    reached = objective(model.coef_, model.intercept_, counts, one_hot(kinds))
    assert model.coef_.dtype == data.dtype and reached < 1.03 * best


def test_two_classes_labels_and_one_vs_rest_are_learned():
    """SigmoidRegression and the binary case come within 2 % of their optima."""
    A, Y = make_multilabel_classification(600, n_classes=4, random_state=0)
    for make_model, target in (
        (SigmoidRegression, Y),
        (SigmoidRegression, Y @ [1, 0, 0, 0] + Y @ [0, 1, 0, 0]),
        (SoftmaxRegression, Y[:, 0]),
    ):
        best = make_model().fit(A, target).objective_
        near = make_model(solver="minibatch", random_state=0).fit(A, target)
        assert best <= near.objective_ < 1.02 * best


def test_it_claims_no_optimum_and_warns_of_nothing():
    """converged_ is False, the gap is inf, and ending after the epochs asked for is no fault."""
    model = SoftmaxRegression(solver=MiniBatch(n_epochs=3), random_state=0).fit(X, y)
    assert not model.converged_ and model.optimality_gap_ == np.inf
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert model.loss_curve_[-1] == pytest.approx(model.objective_)
    assert not hasattr(model, "validation_curve_")


def test_fewer_epochs_are_the_beginning_of_more():
    """The steps do not depend on how many are to come."""
    short, long = (
        SoftmaxRegression(solver=MiniBatch(n_epochs=n), random_state=0).fit(X, y) for n in (2, 6)
    )
    np.testing.assert_array_equal(short.loss_curve_, long.loss_curve_[:2])


def test_early_stopping_keeps_the_best_epoch():
    """The rows held out decide: the fit ends, and the returned coefficients are the best's."""
    solver = MiniBatch(n_epochs=200, early_stopping=True, n_iter_no_change=3)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, y)
    best = int(model.validation_curve_.argmin())
    assert model.n_iter_ == len(model.validation_curve_) == len(model.loss_curve_) < 200
    assert model.n_iter_ == best + 1 + 3
    again = SoftmaxRegression(
        solver=MiniBatch(n_epochs=best + 1, early_stopping=True, n_iter_no_change=3), random_state=0
    ).fit(X, y)
    np.testing.assert_array_equal(model.coef_, again.coef_)


def test_a_rate_that_is_too_large_is_told():
    """F above that of the start: one ConvergenceWarning names learning_rate."""
    rng = np.random.default_rng(0)
    noise, coins = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    solver = MiniBatch(1, 1e6, n_epochs=1, momentum=0.0, averaging=False)
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        SoftmaxRegression(solver=solver, random_state=0).fit(noise, coins)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", "large"),
        ("learning_rate", 0.0),
        ("learning_rate", "adaptive"),
        ("learning_rate", np.nan),
        ("n_epochs", 0),
        ("n_epochs", "auto"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1),
        ("n_iter_no_change", 0),
        ("averaging", "yes"),
        ("early_stopping", None),
        ("shuffle", 2),
    ],
)
def test_a_parameter_that_is_wrong_is_named(name, value):
    """The error names the parameter, the value and what is allowed, and nothing is lost."""
    model = SoftmaxRegression().fit(X, y)
    coef = model.coef_
    model.set_params(solver=MiniBatch(**{name: value}))
    with pytest.raises(ValueError, match=f"{name}={value!r} must be"):
        model.fit(X, y)
    assert model.coef_ is coef


def test_its_parameters_are_searched_and_cloned():
    """clf__solver__... works in grid searches; clones are equal."""
    pipeline = make_pipeline(SoftmaxRegression(solver=MiniBatch(), random_state=0))
    grid = {"softmaxregression__solver__n_epochs": [1, 5]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_["softmaxregression__solver__n_epochs"] in (1, 5)
    assert clone(SoftmaxRegression(solver=MiniBatch(momentum=0.5))).solver.momentum == 0.5
    assert repr(MiniBatch(momentum=0.5)) == "MiniBatch(momentum=0.5)"


@pytest.mark.parametrize("early_stopping", [False, True])
def test_chunks_are_learned_from_as_rows_in_memory_are(early_stopping):
    """fit_chunks with mini-batches: near the optimum of all rows, whichever way they come."""
    solver = MiniBatch(n_epochs=30, early_stopping=early_stopping, n_iter_no_change=30)
    chunks = [(X[i::4], y[i::4]) for i in range(4)]
    model = SoftmaxRegression(solver=solver, random_state=0).fit_chunks(chunks)
    best = SoftmaxRegression().fit(X, y).objective_
    assert model.objective_ < 1.05 * best


@pytest.mark.parametrize("targets", LABELS)
def test_a_label_keeps_its_own_step(targets):
    """Labels share batches, not residuals: what one of them is leaves the others' gradients."""
    with Threads(1) as threads:
        case = make(threads, targets)
        T, M = case.point(), unknown(case)
        moved = T.copy()
        moved[:, 0] += 3
        before, _ = gradient_and_curvature(case.objective, T, M, 5.0)
        after, _ = gradient_and_curvature(case.objective, moved, M, 5.0)
    close(after[:, 1:], before[:, 1:], 1e-9)
