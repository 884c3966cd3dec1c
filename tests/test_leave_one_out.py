"""Leave-one-out from one fit: what each row gets from the fit without it."""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from parts import SOURCES, close, columns, elsewhere, indicators, make, minimiser
from problems import PROBLEMS, one_hot, optimum, overlapping, wide
from scipy.special import expit, log_softmax

from softreg._model.links import Sigmoid, Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import memory_rows
from softreg._rows.targets import ClassTargets, TargetMatrix
from softreg._rows.threads import Limits, Threads
from softreg._selection.leave_one_out import leave_one_out, leave_one_out_with_refits
from softreg.solvers.linalg.metrics import HessianMetric

# What keeps leverages from one moves rows of leverage 0.99 by no more than this.
GUARDED = 2e-6

# ---- Problems, and the fits without each row, found without softreg ------------------------------


def objective_of(threads, X, targets, C=1.0, *, sample_weight=None, offset=None, link=None):
    """The objective of rows in memory."""
    link = link or (Softmax() if targets.n_scores > 1 else Sigmoid())
    raw = Coordinates.raw(X.shape[1], True)
    rows = memory_rows(X, targets, sample_weight, offset, raw, threads)
    penalty = Ridge.from_C(np.array([C]), np.ones(X.shape[1]))
    return Objective.in_working_coordinates(link, rows, penalty)


def classes(y):
    """Classes as targets: two of them are one column."""
    K = y.max() + 1
    return TargetMatrix((y == 1)[:, None] * 1.0) if K == 2 else ClassTargets(y, K)


def at_optimum(objective, X, Y, C=1.0, **terms):
    """The optimum of one problem in working coordinates, found without softreg."""
    found = optimum(X, Y, C, **terms)
    return objective.working(found.coef.T, found.intercept)


def refits(X, Y, C, **terms):
    """Each row's scores (n, K) by the fit without it; with two classes the first is zero."""
    Z = []
    for i in range(len(Y)):
        kept = np.arange(len(Y)) != i
        terms_kept = {name: value[kept] for name, value in terms.items()}
        found = optimum(X[kept], Y[kept], C, **terms_kept)
        offset = terms.get("offset")
        Z.append(X[i] @ found.coef.T + found.intercept + (0 if offset is None else offset[i]))
    return with_both(np.array(Z))


def with_both(Z):
    """Scores (n, K), of two classes from one column."""
    return np.column_stack([np.zeros(len(Z)), Z]) if Z.shape[1] == 1 else Z


def losses(Z, Y):
    """Each row's log loss, (n,)."""
    return -(Y * log_softmax(Z, axis=1)).sum(axis=1)


@cache
def refitted_losses(name, C):
    """Each row's log loss by the fit without it, (n,)."""
    X, y = PROBLEMS[name]()
    return losses(refits(X, one_hot(y), C), one_hot(y))


# ---- The step -----------------------------------------------------------------------------------


def hessian_of(case, T, rows):
    """sum_i s_i h_i (x) x~_i x~_i' over some rows, problem by problem, (B, p, p)."""
    x, same = case.features[rows], case.owner @ case.owner.T
    P = case.probabilities(x @ T + case.offset[rows])
    h = np.eye(len(same)) * P[:, None] - same * P[:, :, None] * P[:, None]
    H = np.einsum("ik,ikl,ia,ib->kalb", case.w[rows], h, x, x)
    problems = np.split(np.arange(len(same)), case.owner.shape[1])
    p = len(problems[0]) * x.shape[1]
    return np.array([H[k][:, :, k].reshape(p, p) for k in problems])


def gradient_of(case, T, i):
    """Gradient of one row's weighted loss, problem by problem, (B, p)."""
    P = case.probabilities((case.features[i] @ T + case.offset[i])[None])[0]
    G = np.outer(case.w[i] * (P - case.Y[i]), case.features[i])
    return G.reshape(case.owner.shape[1], -1)


def penalised_hessian(case, T):
    """The Hessian of S F, problem by problem, (B, p, p)."""
    B = case.owner.shape[1]
    l2_by_problem = case.working_l2.T.reshape(B, -1)
    return hessian_of(case, T, slice(None)) + np.array([np.diag(l2) for l2 in l2_by_problem])


def solutions(H, G):
    """Solutions of H d = g (B, p) of least length: nothing moves that no score feels."""
    return np.array([np.linalg.lstsq(h, g, rcond=1e-12)[0] for h, g in zip(H, G, strict=True)])


def test_scores_are_those_of_newtons_step_on_the_objective_without_the_row(penalised):
    """z~_i = z_i + x_i' (H - H_i)^-1 g_i: less the row's own part, from the optimum."""
    T = minimiser(penalised.objective)
    Z, H = leave_one_out(penalised.objective, T).scores, penalised_hessian(penalised, T)
    for i, row in enumerate(penalised.features):
        rest = H - hessian_of(penalised, T, [i])
        step = solutions(rest, gradient_of(penalised, T, i)).reshape(T.shape[::-1]).T
        expected = row @ (T + step) + penalised.offset[i]
        close(Z[i], expected, GUARDED)


def test_leverages_are_the_shares_of_rows_in_the_effective_degrees_of_freedom(penalised):
    """They are trace(H^-1 H_i), which add up to trace(H^-1 H_loss)."""
    T = minimiser(penalised.objective)
    leverage, H = leave_one_out(penalised.objective, T).leverage, penalised_hessian(penalised, T)
    inverse = np.array([np.linalg.pinv(h, rcond=1e-12, hermitian=True) for h in H])
    shares = [
        np.einsum("bpq,bqp->b", inverse, hessian_of(penalised, T, [i]))
        for i in range(len(leverage))
    ]
    close(leverage, np.array(shares), 1e-8)
    freedom = np.einsum("bpq,bqp->b", inverse, hessian_of(penalised, T, slice(None)))
    close(leverage.sum(axis=0), freedom, 1e-8)
    assert (leverage >= 0).all()


@pytest.mark.parametrize("source", SOURCES)
def test_single_precision_rows_are_left_out_in_double(source_threads, source):
    """Rows of float32 have the scores of the same rows in float64."""
    X = columns(np.random.default_rng(3), 40, source).astype(np.float32)
    cases = [
        make(source_threads, source=source, X=X, dtype=dtype) for dtype in (np.float32, np.float64)
    ]
    found, expected = (leave_one_out(c.objective, minimiser(c.exact)) for c in cases)
    assert found.scores.dtype == np.float64
    close(found.scores, expected.scores, 1e-6)


# ---- Against refits -----------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("name", ["iris", "wine"])
def test_the_mean_log_loss_is_that_of_refits_to_a_percent(one_thread, name, C):
    """Leaving out each row in turn and fitting again gives nearly the same mean."""
    X, y = PROBLEMS[name]()
    objective = objective_of(one_thread, X, classes(y), C)
    T = at_optimum(objective, X, one_hot(y), C)
    found = losses(leave_one_out(objective, T).scores, one_hot(y))
    assert found.mean() == pytest.approx(refitted_losses(name, C).mean(), rel=0.01)


def terms_of(n, K, *, weighted, offset):
    """Weights, some of them 2 or more, and offsets, as `optimum` takes them."""
    rng, terms = np.random.default_rng(5), {}
    if weighted:
        terms["sample_weight"] = rng.integers(1, 4, n).astype(float)
    if offset:
        terms["offset"] = rng.normal(size=(n, 1 if K == 2 else K))
    return terms


@pytest.mark.factor("offset", [False, True])
@pytest.mark.factor("weighted", [False, True])
@pytest.mark.factor("K", [2, 3])
def test_a_row_is_left_out_with_all_its_weight_and_keeps_its_offset(
    one_thread, K, weighted, offset
):
    """The mean is that of refits without the whole row, whatever it weighs, to a percent."""
    X, y = overlapping(n=80, K=K, seed=2)
    Y, terms = one_hot(y), terms_of(len(y), K, weighted=weighted, offset=offset)
    objective = objective_of(one_thread, X, classes(y), 0.1, **terms)
    left = leave_one_out(objective, at_optimum(objective, X, Y, 0.1, **terms))
    expected = losses(refits(X, Y, 0.1, **terms), Y)
    assert losses(with_both(left.scores), Y).mean() == pytest.approx(expected.mean(), rel=0.01)


def labels_with_holes():
    """Three labels of 70 rows, a quarter of the answers unknown, and one label's targets each."""
    rng = np.random.default_rng(8)
    X = rng.normal([0, 3, -1], [1, 5, 0.1], (70, 3))
    Z = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.normal(size=(3, 3))
    return X, (rng.random(Z.shape) < expit(Z)) * 1.0, rng.random(Z.shape) < 0.75


def label_objective(threads, X, Y, known, C):
    """The objective of labels whose unknown answers weigh nothing, and its optimum."""
    answers = indicators(np.where(known, Y, 0), known * 1.0, np.ones(Y.shape[1]))
    objective = objective_of(threads, X, answers, C, link=Sigmoid())
    found = [own_optimum(X, y, s, C) for y, s in zip(Y.T, known.T, strict=True)]
    W, b = np.concatenate([fit.coef for fit in found]).T, [fit.intercept[0] for fit in found]
    return objective, objective.working(W, np.array(b))


def own_optimum(X, y, known, C):
    """The optimum of one label on the rows where it is known."""
    return optimum(X[known], np.column_stack([1 - y, y])[known], C)


@pytest.mark.parametrize("C", [0.1, 1.0])
def test_each_label_has_the_mean_log_loss_of_its_own_refits(one_thread, C):
    """It is that over the rows where it is known; where it is not, nothing is left out."""
    X, Y, known = labels_with_holes()
    objective, T = label_objective(one_thread, X, Y, known, C)
    left = leave_one_out(objective, T)
    W, b = objective.coefficients(T)
    np.testing.assert_allclose(left.scores[~known], (X @ W + b)[~known])
    assert (left.leverage[~known] == 0).all()
    for y, s, z in zip(Y.T, known.T, left.scores.T, strict=True):
        both = np.column_stack([1 - y, y])[s]
        expected = losses(refits(X[s], both, C), both).mean()
        assert losses(with_both(z[s, None]), both).mean() == pytest.approx(expected, rel=0.01)


def test_rows_that_are_wide_are_left_out_as_in_all_their_columns(one_thread):
    """Rotated rows have the scores and leverages that they have without rotation."""
    X, y = wide()
    objective = objective_of(one_thread, X, classes(y), 0.01)
    assert objective.spaces
    found = leave_one_out(objective, at_optimum(objective, X, one_hot(y), 0.01))
    with Threads(1, Limits(rotated_rows=0)) as threads:
        objective = objective_of(threads, X, classes(y), 0.01)
        assert not objective.spaces
        expected = leave_one_out(objective, at_optimum(objective, X, one_hot(y), 0.01))
    close(found.scores, expected.scores, 1e-6)
    close(found.leverage, expected.leverage, 1e-6)


def test_sparse_rows_are_left_out_as_dense_ones(one_thread):
    """CSR and dense rows have the same scores and leverages."""
    X, y = PROBLEMS["sparse counts"]()
    dense = objective_of(one_thread, X.toarray(), classes(y), 0.1)
    sparse = objective_of(one_thread, sp.csr_array(X), classes(y), 0.1)
    found, expected = (
        leave_one_out(objective, at_optimum(objective, X, one_hot(y), 0.1))
        for objective in (sparse, dense)
    )
    close(found.scores, expected.scores, 1e-8)
    close(found.leverage, expected.leverage, 1e-8)


def test_blocks_and_slices_do_not_matter(one_thread):
    """Rows taken in many blocks and slices are left out as rows taken at once."""
    X, y = overlapping(n=200)
    objective = objective_of(one_thread, X, classes(y))
    T = at_optimum(objective, X, one_hot(y))
    expected = leave_one_out(objective, T)
    with Threads(1, Limits(block_values=256, block_rows=64, unshared_values=0)) as threads:
        objective = objective_of(threads, X, classes(y))
        assert len(objective.rows.block_slices) > 1
        found = leave_one_out(objective, T)
    close(found.scores, expected.scores, 1e-10)
    close(found.leverage, expected.leverage, 1e-10)


# ---- Limits in which the step is exact ----------------------------------------------------------


def test_a_row_that_weighs_nothing_keeps_its_scores_and_has_no_leverage(one_thread):
    """The fit without it is the fit with it."""
    X, y = overlapping()
    weight = np.where(np.arange(len(y)) % 5, 1.0, 0.0)
    objective = objective_of(one_thread, X, classes(y), sample_weight=weight)
    T = at_optimum(objective, X, one_hot(y), sample_weight=weight)
    left, (W, b) = leave_one_out(objective, T), objective.coefficients(T)
    idle = weight == 0
    np.testing.assert_allclose(left.scores[idle], (X @ W + b)[idle], rtol=1e-12)
    assert (left.leverage[idle] == 0).all() and (left.leverage[~idle] > 0).all()


@pytest.mark.parametrize(
    ("targets", "penalty"), [("softmax shares", "L2"), ("soft answers", "L2 of each")]
)
def test_rows_that_share_no_column_learn_nothing_from_each_other(one_thread, targets, penalty):
    """Without intercept, a row with a column of its own is left with its offset: exactly."""
    X = np.diag(np.linspace(0.5, 2, 12))
    terms = {"X": X, "factors": np.linspace(1, 2, 12), "intercept": False, "offset": True}
    case = make(one_thread, targets, penalty=penalty, weighted=True, **terms)
    left = leave_one_out(case.objective, minimiser(case.objective))
    counts = case.w > 0
    np.testing.assert_allclose(left.scores[counts], case.offset[counts], atol=GUARDED)


@pytest.mark.parametrize("C", [1e-9, 1e-12])
def test_under_a_strong_penalty_each_row_gets_the_shares_of_the_others(one_thread, C):
    """Without slopes the fit is the classes' shares, which are counted without the row."""
    X, y = PROBLEMS["iris"]()
    y = np.minimum(np.arange(len(y)) // 30, 2)  # classes of 30, 30 and 90
    objective = objective_of(one_thread, X, classes(y), C)
    left = leave_one_out(objective, at_optimum(objective, X, one_hot(y), C))
    counts = one_hot(y).sum(axis=0) - one_hot(y)
    expected = -np.log((counts / (len(y) - 1))[np.arange(len(y)), y])
    np.testing.assert_allclose(losses(left.scores, one_hot(y)), expected, rtol=2e-3)
    assert left.leverage.sum() == pytest.approx(2, abs=1e-4)  # intercepts, less the common one


# ---- What cannot be left out --------------------------------------------------------------------


def test_a_row_that_alone_decides_on_a_direction_stays_finite(one_thread):
    """With no penalty, and a column of its own, a row has leverage one and no fit without it."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=30), np.arange(30) == 7])
    Y = rng.uniform(0.2, 0.8, (30, 1))
    objective = objective_of(one_thread, X, TargetMatrix(Y), np.inf)
    T = at_optimum(objective, X, np.column_stack([1 - Y, Y]), np.inf)
    left = leave_one_out(objective, T)
    assert np.isfinite(left.scores).all()
    assert left.leverage[7] == pytest.approx(1, abs=1e-8)
    assert left.leverage.sum() == pytest.approx(3, abs=1e-6)


@pytest.mark.parametrize(("C", "accuracy"), [(1.0, 1e-8), (1e4, 1e-8), (np.inf, 1e-3)])
def test_columns_that_repeat_others_change_nothing(one_thread, C, accuracy):
    """A column twice, a constant one and one of zeros leave the scores of the fit without them.

    A column twice has half the penalty on each.
    """
    X, y = overlapping()
    more = np.column_stack([X, X[:, 0], np.full(len(X), 3.7), np.zeros(len(X))])
    factors = np.array([2.0, 1, 1, 1, 2, 1, 1])
    plain = objective_of(one_thread, X, classes(y), C)
    expected = leave_one_out(plain, at_optimum(plain, X, one_hot(y), C))
    rows = memory_rows(
        more, classes(y), None, None, Coordinates.raw(more.shape[1], True), one_thread
    )
    penalty = Ridge.from_C(np.array([C]), factors)
    repeated = Objective.in_working_coordinates(Softmax(), rows, penalty)
    found = optimum(X, one_hot(y), C)
    W = np.zeros((7, 3))
    W[:4], W[4] = found.coef.T, found.coef[:, 0] / 2
    W[0] /= 2
    left = leave_one_out(repeated, repeated.working(W, found.intercept))
    close(left.scores, expected.scores, accuracy)
    close(left.leverage, expected.leverage, accuracy)


def test_a_hessian_too_large_is_refused_with_a_remedy():
    """The error names the numbers that would be held, and cv=10."""
    X, y = overlapping()
    with Threads(1, Limits(value_budget=15**2)) as threads:
        objective = objective_of(threads, X, classes(y))
        leave_one_out(objective, objective.null())
    with Threads(1, Limits(value_budget=15**2 - 1)) as threads:
        objective = objective_of(threads, X, classes(y))
        with pytest.raises(ValueError, match=r"225 numbers, and at most 224 .*cv=10"):
            leave_one_out(objective, objective.null())


# ---- Refits -------------------------------------------------------------------------------------


def refined_losses(objective, T, Y, *tolerated):
    """Each row's log loss, left out in one step, and with the worst rows refitted."""
    left, exact = leave_one_out(objective, T), objective.in_double()
    metric = HessianMetric.at_coefficients(exact, T)
    both = left, leave_one_out_with_refits(objective, T, metric, *tolerated)
    np.testing.assert_array_equal(both[1].leverage, left.leverage)
    return [losses(with_both(left_out.scores), Y) for left_out in both]


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_under_weak_penalties_refits_of_few_rows_make_the_mean_accurate(one_thread, name):
    """One step errs by more than a percent; with less than a tenth of the rows refitted, less."""
    X, y = PROBLEMS[name]()
    objective = objective_of(one_thread, X, classes(y), 100.0)
    T = at_optimum(objective, X, one_hot(y), 100.0)
    step, found = refined_losses(objective, T, one_hot(y))
    expected = refitted_losses(name, 100.0)
    assert abs(step.mean() / expected.mean() - 1) > 0.03
    assert found.mean() == pytest.approx(expected.mean(), rel=0.01)
    moved = found != step
    assert 0 < moved.mean() < 0.1
    np.testing.assert_allclose(found[moved], expected[moved], rtol=0.01)


def test_under_strong_penalties_no_row_is_refitted(one_thread):
    """Where the step is accurate, refined scores are those of the step."""
    X, y = PROBLEMS["iris"]()
    objective = objective_of(one_thread, X, classes(y), 0.1)
    T = at_optimum(objective, X, one_hot(y), 0.1)
    step, found = refined_losses(objective, T, one_hot(y))
    np.testing.assert_array_equal(found, step)


def test_sparse_rows_are_refitted_as_dense_ones(one_thread):
    """CSR and dense rows have the same left-out losses, to the tolerance of the refits."""
    X, y = PROBLEMS["sparse counts"]()
    Y, found = one_hot(y), []
    for rows in (X.toarray(), sp.csr_array(X)):
        objective = objective_of(one_thread, rows, classes(y), 3.0)
        T = at_optimum(objective, X, Y, 3.0)
        step, refined_loss = refined_losses(objective, T, Y)
        assert (refined_loss != step).any()
        found.append(refined_loss)
    np.testing.assert_allclose(*found, rtol=1e-4)


@pytest.mark.parametrize("terms", [{"weighted": True, "offset": True}, {}])
@pytest.mark.parametrize("K", [2, 3])
def test_refits_leave_the_whole_row_out(K, terms):
    """When every row is refitted, each has the loss of the fit without it."""
    X, y = overlapping(n=60, K=K, seed=2)
    Y, row_terms = one_hot(y), terms_of(60, K, **({"weighted": False, "offset": False} | terms))
    with Threads(1, Limits(refitted_scores=7 * 60 * K)) as threads:
        objective = objective_of(threads, X, classes(y), 10.0, **row_terms)
        T = at_optimum(objective, X, Y, 10.0, **row_terms)
        found = refined_losses(objective, T, Y, 0.0)[1]
    np.testing.assert_allclose(
        found, losses(refits(X, Y, 10.0, **row_terms), Y), rtol=1e-4, atol=1e-6
    )


def test_labels_are_refitted_each_by_itself(one_thread):
    """Each label's mean is that of its refits to a percent, also where one step's is not."""
    X, Y, known = labels_with_holes()
    objective, T = label_objective(one_thread, X, Y, known, 1000.0)
    left, exact = leave_one_out(objective, T), objective.in_double()
    metric = HessianMetric.at_coefficients(exact, T)
    found = leave_one_out_with_refits(objective, T, metric)
    np.testing.assert_array_equal(found.scores[~known], left.scores[~known])
    errors = []
    for y, s, z, step in zip(Y.T, known.T, found.scores.T, left.scores.T, strict=True):
        both = np.column_stack([1 - y, y])[s]
        expected = losses(refits(X[s], both, 1000.0), both).mean()
        assert losses(with_both(z[s, None]), both).mean() == pytest.approx(expected, rel=0.01)
        errors.append(losses(with_both(step[s, None]), both).mean() / expected - 1)
    assert np.abs(errors).max() > 0.01


@pytest.mark.parametrize("K", [2, 3])
def test_the_only_row_of_a_class_is_not_refitted(one_thread, K):
    """Without it there is no optimum: its scores are those of the step, and finite."""
    X, y = overlapping(n=60, K=K)
    y = np.where(y == K - 1, 0, y)
    y[13] = K - 1
    objective = objective_of(one_thread, X, classes(y))
    T = at_optimum(objective, X, one_hot(y))
    step, found = refined_losses(objective, T, one_hot(y), 0.0)
    assert found[13] == step[13] and np.isfinite(found).all()
    others = np.arange(60) != 13
    assert (found[others] != step[others]).all()


def test_kernels_are_values_that_another_process_could_run(one_thread):
    """Each comes back from pickle as it was: the same scores, of steps and of refits to all."""
    X, y = overlapping(n=60, seed=2)
    objective = objective_of(one_thread, X, classes(y), 10.0)
    T = at_optimum(objective, X, one_hot(y), 10.0)
    expected = refined_losses(objective, T, one_hot(y), 0.0)
    assert (expected[0] != expected[1]).all()
    found = refined_losses(elsewhere(objective), T, one_hot(y), 0.0)
    np.testing.assert_array_equal(found, expected)
