"""Mini-batch gradient descent: laws of its parts, and what a fit with it does."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from parts import LABELS, SOURCES, TARGETS, Drawn, close, elsewhere, limits_of, make
from problems import PROBLEMS, beans, objective, one_hot, solved
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._model.links import Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import memory_rows
from softreg._rows.targets import ClassTargets
from softreg._rows.threads import Threads
from softreg.solvers import MiniBatch
from softreg.solvers.linalg.factors import JointEigenbasis, cholesky
from softreg.solvers.minibatch.curvature import ClassBlocks, Kronecker, KroneckerInverse
from softreg.solvers.minibatch.gradient import gradient_and_curvature, without_overshoot
from softreg.solvers.minibatch.update import Iterate, UpdateRule, step

X, y = beans()
ALL = np.ones(3, dtype=bool)  # scores


@pytest.fixture(params=TARGETS)
def case(request):
    """An objective of each kind of targets, with weights and offsets."""
    with Threads(1) as threads:
        yield make(threads, request.param, weighted=True, offset=True)


KINDS = pytest.mark.parametrize("kind", [ClassBlocks, Kronecker])


def sums(case, T, length=0.0, kind=ClassBlocks):
    """The gradient and curvature of all rows, for a step by the curvature at zero."""
    prior = kind.at_zero_coefficients(case.objective)
    inverse = prior.inverse_with_penalty(case.objective, 0)
    return gradient_and_curvature(case.objective, T, prior, inverse, length)


# ---- Parts --------------------------------------------------------------------------------------


@KINDS
def test_the_gradient_of_a_step_of_no_length_is_that_of_F(case, kind):
    """Rows keep their residuals where a step does not move them."""
    T = case.point()
    close(sums(case, T, kind=kind)[0], case.objective.value_and_gradient(T)[1], 1e-12)


@KINDS
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_curvature_is_that_of_its_formula(targets, source, kind):
    """Each score's is the mean of x~ x~' weighted by (p (1 - p) + r^2) / 2, or its two traces."""
    with Threads(1, limits_of(source)) as threads:
        case = make(threads, targets, source, weighted=True, offset=True)
        T = 0.2 * case.point()
        _, curvature = sums(case, T, kind=kind)
    P = case.probabilities(case.features @ T + case.offset)
    c = case.w / case.weights * (P * (1 - P) + (P - case.Y) ** 2) / 2
    assert ((c == 0) | (c > 1e-3 * c.mean(axis=0))).all()  # no row is slight enough to be left out
    blocks = np.einsum("ik,ia,ib->kab", c, case.features, case.features)
    if kind is ClassBlocks:
        close(curvature.blocks, blocks, 1e-11)
    else:
        moments = blocks.sum(axis=0)
        moments = np.diagonal(moments) if source == "sparse" else moments
        close(curvature.feature_moments, moments, 1e-11)
        close(curvature.score_curvature, c.sum(axis=0), 1e-11)


def test_slight_rows_change_a_block_by_next_to_nothing():
    """Rows are left out that together weigh less than a thousandth of a class."""
    with Threads(1) as threads:
        case = make(threads, n=500)
        T = 8 * case.point()
        blocks = sums(case, T)[1].blocks
        exact = sums(case, T, kind=Kronecker)[1].feature_moments
    assert np.abs(blocks.sum(axis=0) - exact).max() < 2e-3 * exact.max()


@pytest.mark.parametrize("length", [20.0, 300.0])
def test_a_row_keeps_the_residual_that_its_step_leaves(length):
    """r = sigmoid(z - length * changes(r)) - y: an implicit step, however long."""
    with Threads(1) as threads:
        row = {"X": np.ones((1, 1)), "factors": np.ones(1), "intercept": False}
        case = make(threads, "sigmoid of two classes", **row)
        F = case.objective
        M = ClassBlocks.at_zero_coefficients(F).inverse_with_penalty(F, 0)
        r, _ = sums(case, np.zeros(F.shape), length)  # as x~ is 1
        moved = -length * M.score_changes(F.rows.block(slice(0, 1)), r)
    assert 0.001 < abs(r[0, 0]) < 0.4
    close(r, expit(moved) - case.Y, 2e-3)


@pytest.mark.parametrize("intercept", [True, False])
@KINDS
@pytest.mark.parametrize("source", SOURCES)
def test_score_changes_are_those_of_the_scores_after_a_step_down_one_row(source, kind, intercept):
    """T - P(x~ r') has scores z - changes(r) in that row, before anything is centred."""
    with Threads(1, limits_of(source)) as threads:
        case = make(threads, "answers", source, intercept=intercept)
        F = case.objective
        M = kind.at_zero_coefficients(F).inverse_with_penalty(F, 0)
        block = F.rows.block(slice(0, F.rows.n))
        R = np.random.default_rng(0).normal(size=(3, F.rows.n))
        changes = M.score_changes(block, R)
    for i in (0, 7, 39):
        step = M.natural_gradient(np.outer(case.features[i], R[:, i]))
        close(changes[:, i], step.T @ case.features[i], 1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("source", SOURCES)
def test_lengths_are_squares_times_weights(source, intercept):
    """Block.squared_lengths(V) is V' x~^2, row by row, however rows are held."""
    with Threads(1, limits_of(source)) as threads:
        case = make(threads, source=source, intercept=intercept)
        rows = case.objective.rows
        V = np.random.default_rng(0).random((case.features.shape[1], 3))
        lengths = rows.block(slice(0, rows.n)).squared_lengths(V)
    close(lengths, V.T @ np.square(case.features).T, 1e-11)


@pytest.mark.parametrize("targets", ["softmax labels", "answers"])
def test_blocks_are_inverted_with_the_penalty(targets):
    """(block + 2 % of the mean block + l2) P(G) = G, but for what all classes share."""
    rng = np.random.default_rng(0)
    with Threads(1) as threads:
        case = make(threads, targets)
        width, K = case.objective.shape
        roots = rng.normal(size=(K, width, width))
        blocks = roots @ roots.transpose(0, 2, 1)
        P = ClassBlocks(blocks).inverse_with_penalty(case.objective, 1e18)
        G = rng.normal(size=(width, K))
    l2 = np.diag(np.broadcast_to(case.objective.penalty.ridge, (width, K))[:, 0])
    right = case.link.centred(G)
    H = blocks + 0.02 * blocks.mean(axis=0) + l2
    expected = case.link.centred(np.linalg.solve(H, right.T[:, :, None])[:, :, 0].T)
    close(P.natural_gradient(G), expected, 1e-8)


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_joint_eigenbasis_makes_both_matrices_diagonal(diagonal):
    """B' (c M + r strength) B is c (1 - D) + r D, for every c and r at once."""
    rng = np.random.default_rng(0)
    root, strength = rng.normal(size=(5, 5)), np.array([0.0, 0.3, 1.0, 2.0, 1e3])
    M = np.diag(np.exp(rng.normal(size=5))) if diagonal else root @ root.T
    if diagonal:
        eigenbasis = JointEigenbasis.from_diagonal(np.diagonal(M), strength)
    else:
        eigenbasis = JointEigenbasis.from_cholesky(cholesky(M + np.diag(strength)), strength)
    c, r = np.array([1.0, 0.2, 0.0]), np.array([1.0, 7.0, 2.0])
    diagonals, B = eigenbasis.diagonals(c, r), eigenbasis.from_eigenbasis(np.eye(5))
    close(eigenbasis.to_eigenbasis(np.eye(5)), B.T, 1e-12)
    close(diagonals[:, 0], np.ones(5), 1e-12)
    for k in range(3):
        close(B.T @ (c[k] * M + r[k] * np.diag(strength)) @ B, np.diag(diagonals[:, k]), 1e-9)


@pytest.mark.parametrize("K", [1, 4])
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_kronecker_product_is_inverted_with_the_penalty(diagonal, K):
    """(scores (x) features / sum(scores) + penalty) P(G) = G, scores raised by 2 % of the mean."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    features = np.exp(rng.normal(size=6)) if diagonal else root @ root.T
    scores, penalty = np.exp(rng.normal(size=K)), Ridge(np.exp(rng.normal(size=(6, 1))))
    G = rng.normal(size=(6, K))
    P = KroneckerInverse.from_curvature(Kronecker(features, scores), penalty, 1e18)
    A = np.diag(features) if diagonal else features
    raised = scores + 0.02 * scores.mean()
    step = P.natural_gradient(G)
    close(A @ step * raised / scores.sum() + penalty.ridge * step, G, 1e-9)


@KINDS
def test_before_any_row_features_are_alike_and_go_their_own_ways(kind):
    """The inverse of nothing seen is a multiple of the identity, but for the penalty."""
    with Threads(1) as threads:
        F = make(threads, "answers", penalty="no penalty").objective
        G = np.random.default_rng(0).normal(size=F.shape)
        step = kind.at_zero_coefficients(F).inverse_with_penalty(F, 0).natural_gradient(G)
    close(step, G / (0.125 * 1.02), 1e-9)  # p (1 - p) / 2 at p = 1/2


def test_an_iterate_says_the_same_in_other_coordinates():
    """Coefficients in the user's units stay, whichever coordinates the iterate is given in."""
    rng = np.random.default_rng(1)
    old = Coordinates(rng.normal(size=5), np.exp(rng.normal(size=5)), True)
    new = Coordinates(rng.normal(size=5), np.exp(rng.normal(size=5)), True)
    iterate = Iterate.at_start(rng.normal(size=(6, 3)))
    changed = iterate.in_coordinates(new.since(old), None)
    before, after = old.coefficients(iterate.average), new.coefficients(changed.average)
    for expected, values in zip(before, after, strict=True):
        close(values, expected, 1e-12)


@pytest.mark.parametrize("intercept", [True, False])
def test_curvature_in_other_coordinates_is_that_of_the_rows_in_them(intercept):
    """sum x~ x~' of transformed rows, whether transformed before or after adding up."""
    rng = np.random.default_rng(2)
    raw = rng.normal(size=(20, 4))
    first, second = (
        Coordinates(intercept * rng.normal(size=4), np.exp(rng.normal(size=4)), intercept)
        for _ in range(2)
    )
    old, new = (c.transform(raw, np.dtype(float)) for c in (first, second))
    change = second.since(first)
    full = Kronecker(old.T @ old, np.ones(2)).in_coordinates(change)
    close(full.feature_moments, new.T @ new, 1e-12)
    close(ClassBlocks((old.T @ old)[None]).in_coordinates(change).blocks[0], new.T @ new, 1e-12)
    old[:, :4] -= old[:, :4].mean(axis=0) * intercept  # what a diagonal knows of columns
    moved = old @ change.matrix().T
    diagonal = Kronecker(np.square(old).sum(axis=0), np.ones(2)).in_coordinates(change)
    close(diagonal.feature_moments, np.square(moved).sum(axis=0), 1e-12)


def test_rows_that_all_pull_one_way_are_held_back():
    """The share a of such a step takes the slope from s to a s; an ordinary step stays whole."""
    with Threads(1) as threads:
        one_class = (
            Softmax(),
            lambda rng, n: Drawn(
                ClassTargets(np.zeros(n, dtype=int), 3),
                np.eye(3)[np.zeros(n, dtype=int)],
                np.ones((n, 3)),
            ),
        )
        case = make(threads, one_class)
        F, T = case.objective, np.zeros(case.objective.shape)
        change = F.value_and_gradient(T)[1]
        np.testing.assert_array_equal(without_overshoot(F, T, 0.01 * change), 0.01 * change)
        shortened = without_overshoot(F, T, 200 * change)
        share = shortened[-1, 0] / (200 * change)[-1, 0]
        loss = F.unpenalised()
        first, below, above = (
            loss.problems.inner(loss.value_and_gradient(T - a * 200 * change)[1], change)[0]
            for a in (0, share - 2**-10, share)
        )
    assert 0 < share < 0.5
    assert below / first >= share - 2**-10 and above / first <= share


def test_rows_without_weight_hold_no_step_back():
    """Whether steps are tested for overshooting depends on rows with weight alone."""
    features, codes = np.ones((7, 1)), np.array([0, 1, 2, 0, 1, 2, 0])
    weight, penalty = np.ones(7), Ridge(np.zeros((1, 1)))
    features[-1], weight[-1] = 1e6, 0.0
    T = np.array([[0.1, 0.0, -0.1]])
    with Threads(1) as threads:
        steps = []
        for rows in (slice(0, 6), slice(0, 7)):
            terms = ClassTargets(codes[rows], 3), weight[rows], None
            all_rows = memory_rows(features[rows], *terms, Coordinates.raw(1, False), threads)
            F = Objective(Softmax(), all_rows, penalty, np.full(3, 6.0), 6.0)
            steps.append(without_overshoot(F, T, 4 * T))  # beyond the optimum, but not far
    np.testing.assert_array_equal(*steps)


@pytest.mark.parametrize("averaging", [True, False])
def test_steps_are_those_of_the_formula(averaging):
    """V <- mu V - (1 - mu) eta_t P(G), T <- T + V, and the t-th T enters with 4 / (t + 3)."""
    rule = UpdateRule(learning_rate=0.01, momentum=0.5, averaging=averaging)
    with Threads(1) as threads:
        F = make(threads, "answers").objective
        before = step(Iterate.at_start(F.null()), F, rule, ALL)
        after = step(before, F, rule, ALL)
        gradient = F.value_and_gradient(before.T)[1]
        eta = 0.01 / (1 + 0.01 * 2 / 24)
        direction = before.curvature_state.inverse.natural_gradient(gradient)
        V = 0.5 * before.velocity - 0.5 * eta * direction
    close(after.T, before.T + V, 1e-6)
    expected = before.average + 0.8 * (after.T - before.average) if averaging else after.T
    close(after.average, expected, 1e-12)


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
        part = case.objective.on_rows(case.objective.rows.take_rows(some))
        W, b = part.coefficients(T)
        alone = type(case)(
            part, case.X[some], case.Y[some], case.s[some], case.w[some], case.offset[some], case.l2
        )
        close(part.value(T), alone.value(W, b), 1e-12)


@KINDS
@pytest.mark.parametrize("targets", ["softmax labels", "answers"])
def test_kernels_can_run_in_another_process(targets, kind):
    """Pickled, they return what they return here: they are values, not closures."""
    with Threads(1) as threads:
        case = make(threads, targets, weighted=True, offset=True)
        T = case.point()

        def results(F):
            gradient, curvature = sums(replace(case, objective=F), T, 300.0, kind)
            state = step(Iterate.at_start(T), F, UpdateRule(None, 0.5, True), ALL).T
            return gradient, curvature.score_curvature, without_overshoot(F, T, 50 * T), state

        found, expected = results(elsewhere(case.objective)), results(case.objective)
        for result, value in zip(found, expected, strict=True):
            np.testing.assert_array_equal(result, value)


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_raw_columns_need_no_tuning(name):
    """After 100 epochs 99 % of what the features explain is learned, of the hardest set 93 %."""
    X, y, Y, best = solved(name, 1.0)
    model = SoftmaxRegression(solver=MiniBatch(n_epochs=100), random_state=0).fit(X, y)
    shares = Y.mean(axis=0)
    null = -(shares * np.log(shares)).sum()
    reached = objective(model.coef_, model.intercept_, X, Y)
    assert (reached - best) / (null - best) < (0.07 if "unequal" in name else 0.01)


@pytest.mark.factor("averaging", [True, False])
@pytest.mark.factor("momentum", [0.0, 0.9])
@pytest.mark.factor("shuffle", [True, False])
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
    """One batch of all rows, a fixed rate: weights count as copies do.

    But for the numbers of rows, by which second moments are brought to the identity; of many rows
    that is little.
    """
    solver = MiniBatch(batch_size=10_000, learning_rate=0.5, shuffle=False, n_epochs=5)
    many, weight = np.tile(np.arange(len(y)), 8), np.arange(8 * len(y)) % 3
    twice = np.repeat(many, weight)
    weighted = SoftmaxRegression(solver=solver).fit(X[many], y[many], sample_weight=weight)
    copied = SoftmaxRegression(solver=solver).fit(X[twice], y[twice])
    close(weighted.loss_curve_, copied.loss_curve_, 1e-3)


@pytest.mark.parametrize("make_X", [sp.csr_array, lambda X: X.astype(np.float32)])
def test_sparse_and_single_precision_come_as_near(make_X):
    """CSR and float32 end within 3 % of the optimum, with coefficients in double precision."""
    counts, kinds = PROBLEMS["sparse counts"]()
    data = make_X(counts.toarray())
    model = SoftmaxRegression(solver=MiniBatch(n_epochs=40), random_state=0).fit(data, kinds)
    best = solved("sparse counts", 1.0)[-1]
    reached = objective(model.coef_, model.intercept_, counts, one_hot(kinds))
    assert model.coef_.dtype == np.float64 and reached < 1.03 * best


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
    solver = MiniBatch(n_epochs=200, early_stopping=True, n_iter_no_change=3, tol=0.0)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, y)
    best = int(model.validation_curve_.argmin())
    assert model.n_iter_ == len(model.validation_curve_) == len(model.loss_curve_) < 200
    assert model.n_iter_ == best + 1 + 3
    again = SoftmaxRegression(
        solver=MiniBatch(n_epochs=best + 1, early_stopping=True, n_iter_no_change=3), random_state=0
    ).fit(X, y)
    np.testing.assert_array_equal(model.coef_, again.coef_)


def test_the_best_epoch_is_that_of_least_loss_however_little_it_improved():
    """`tol` says when to end, not which epoch's coefficients are kept."""
    solver = MiniBatch(n_epochs=30, early_stopping=True, n_iter_no_change=6, tol=0.2)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, y)
    curve = model.validation_curve_
    best = int(curve.argmin())
    assert curve[best] > curve[-7] - 0.2 and best > len(curve) - 7
    shorter = MiniBatch(n_epochs=best + 1, early_stopping=True, n_iter_no_change=6)
    again = SoftmaxRegression(solver=shorter, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coef_, again.coef_)


@pytest.mark.parametrize("options", [{}, {"tol": 0.02}, {"tol": 1e-3, "n_iter_no_change": 2}])
def test_early_stopping_ends_where_that_of_sgd_does(options):
    """The fit ends at the first epoch by which SGDClassifier's count of stale epochs is full.

    In its terms, with the loss for the score: an epoch is stale if it is not `tol` below the best.
    """
    solver = MiniBatch(n_epochs=500, early_stopping=True, **options)
    theirs = SGDClassifier(**({"tol": 1e-4} | options))
    assert (solver.tol, solver.n_iter_no_change) == (theirs.tol, theirs.n_iter_no_change)
    model = SoftmaxRegression(solver=solver, random_state=0).fit(X, y)
    best_score, stale, ends = -np.inf, 0, []
    for score in -model.validation_curve_:
        stale = stale + 1 if score < best_score + theirs.tol else 0
        best_score = max(score, best_score)
        ends.append(stale >= theirs.n_iter_no_change)
    assert ends == [False] * (len(ends) - 1) + [True] and len(ends) < 500


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_tol_of_the_estimator_has_no_say(early_stopping):
    """Whatever it is, the fit is the same, bit for bit."""
    solver = MiniBatch(n_epochs=30, early_stopping=early_stopping)
    fits = [
        SoftmaxRegression(solver=solver, random_state=0, tol=tol).fit(X, y) for tol in (0.0, 1e3)
    ]
    np.testing.assert_array_equal(fits[0].loss_curve_, fits[1].loss_curve_)
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)


def test_a_rate_that_is_too_large_is_warned_of():
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
        ("n_epochs", True),
        ("momentum", False),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1),
        ("n_iter_no_change", 0),
        ("tol", -1e-4),
        ("tol", None),
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
    assert len({*search.cv_results_["mean_test_score"]}) == 2
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
        T = case.point()
        moved = T.copy()
        moved[:, 0] += 3
        before, after = (sums(case, at, 5.0)[0] for at in (T, moved))
    close(after[:, 1:], before[:, 1:], 1e-9)


def test_the_curves_are_in_units_of_F():
    """Labels of which little is known count by their weight, in loss_curve_ as in objective_."""
    A, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    Y = Y.astype(float)
    Y[20:, 0] = np.nan
    model = SigmoidRegression(solver=MiniBatch(n_epochs=3), random_state=0).fit(A, Y)
    assert model.loss_curve_[-1] == pytest.approx(model.objective_, rel=1e-12)
