"""Leave-one-out under sparse penalties: steps in what is not zero, refits where that changes."""

import numpy as np
import pytest
import scipy.sparse as sp
import sparse_problems
from parts import LABELS, SOURCES, SPARSE_KINDS, close, elsewhere, make
from problems import PROBLEMS, one_hot, overlapping
from scipy.optimize import brentq
from scipy.special import expit

from softreg import SigmoidRegression, SoftmaxRegression, inference
from softreg._estimators.optimum import optimum_of, probabilities_inplace
from softreg._estimators.posing import threads_of
from softreg._rows.threads import Limits, Threads
from softreg._selection.leave_one_out import leave_one_out, leave_one_out_with_refits
from softreg.solvers import ProximalNewton
from softreg.solvers.base import Monitor

# What keeps leverages from one moves rows of leverage 0.99 by no more than this.
GUARDED = 2e-6

# ---- The step -----------------------------------------------------------------------------------

# The same throughout a group; one feature has no penalty.
FACTORS = np.array([1.0, 2.0, 2.0, 0.0, 1.0, 3.0])
FIXTURE_FACTORS = {
    "sparse": {"kind": SPARSE_KINDS, "source": SOURCES, "intercept": [False, True]},
}


@pytest.fixture
def sparse(kind, source, intercept, source_threads):
    """A case of every kind whose penalty is sparse, and coefficients some of which are zero."""
    terms = {"weighted": True, "offset": True, "intercept": intercept, "factors": FACTORS}
    case = make(source_threads, kind[0], source, penalty=kind[1], **terms)
    penalty, T = case.objective.sparse_penalty, case.direction(4)  # groups of classes: zero-sum
    numbers = penalty.group_numbers(T.shape)
    kept = (np.random.default_rng(4).random(numbers.max() + 1) < 0.6)[numbers]
    return case, T * (kept | np.broadcast_to(penalty.free, T.shape))


class OneProblem:
    """One problem of a case at T, and its rows' steps, by whole matrices.

    Coefficients are vectors (K width,), score after score.
    """

    def __init__(self, case, T, b):
        scores = np.flatnonzero(case.owner[:, b])
        penalty, self.x = case.objective.take_problems(np.array([b])).penalty, case.features
        P = case.probabilities(self.x @ T + case.offset)[:, scores]
        w, T, weight = case.w[:, scores], T[:, scores], case.total[b]
        within = case.is_softmax * P[:, :, None] * P[:, None]
        squares = P if case.is_softmax else P * (1 - P)
        self.h = w[:, :, None] * (np.eye(len(scores)) * squares[:, :, None] - within)
        self.residuals, self.T, vector = w * (P - case.Y[:, scores]), T, T.T.ravel()
        l1, ridge, self.numbers = (
            np.broadcast_to(values, T.shape).T.ravel()
            for values in (
                penalty.sparse_strengths(T.shape) * weight,
                penalty.ridge * weight,
                penalty.group_numbers(T.shape),
            )
        )
        lengths = sparse_problems.lengths(vector, self.numbers)
        self.active = np.flatnonzero((lengths > 0) | (l1 == 0))
        u = np.divide(vector, lengths, out=0 * vector, where=lengths > 0)
        pull = np.divide(l1, lengths, out=0 * vector, where=lengths > 0)
        same = self.numbers[:, None] == self.numbers
        self.l1, self.vector = l1, vector
        self.smooth_hessian = self.loss_hessian(slice(None)) + np.diag(ridge)
        self.H = self.smooth_hessian + np.diag(pull) - same * np.outer(pull * u, u)
        self.gradient = (self.residuals.T @ self.x).ravel() + ridge * vector

    def loss_hessian(self, rows):
        """sum_i h_i (x) x_i x_i' over some rows."""
        H = np.einsum("ikl,ia,ib->kalb", self.h[rows], self.x[rows], self.x[rows])
        return H.reshape(self.T.size, -1)

    def step(self, i):
        """Newton's from T without row i; of least length: nothing moves that no score feels."""
        own = np.outer(self.residuals[i], self.x[i]).ravel()
        rest = (self.H - self.loss_hessian([i]))[np.ix_(self.active, self.active)]
        step = np.zeros(len(own))
        step[self.active] = np.linalg.lstsq(rest, own[self.active], rcond=1e-12)[0]
        return step

    def change(self, step, i):
        """By how much a step changes the scores of row i, (K,)."""
        return step.reshape(self.T.shape[::-1]) @ self.x[i]

    def gradient_after(self, step, i):
        """The gradient of the smooth part without row i, after a step."""
        own = self.residuals[i] + self.h[i] @ self.change(step, i)
        return self.gradient + self.smooth_hessian @ step - np.outer(own, self.x[i]).ravel()


def problems_of(case, T):
    """The scores of each problem, and the problem."""
    for b, owned in enumerate(case.owner.T):
        yield np.flatnonzero(owned), OneProblem(case, T, b)


def test_scores_are_those_of_newtons_step_in_what_is_not_zero(sparse):
    """z~_i = z_i + x_i' (H - H_i)^-1 g_i, H with the curvature of lengths, where T is not zero.

    Leverages are trace(H^-1 H_i) there. A row that weighs nothing is left where it is.
    """
    case, T = sparse
    left, Z = leave_one_out(case.objective, T), case.features @ T + case.offset
    for b, (scores, problem) in enumerate(problems_of(case, T)):
        changes = [problem.change(problem.step(i), i) for i in range(len(Z))]
        close(left.scores[:, scores], Z[:, scores] + changes, GUARDED)
        places = np.ix_(problem.active, problem.active)
        inverse = np.linalg.pinv(problem.H[places], rcond=1e-12, hermitian=True)
        shares = [np.trace(inverse @ problem.loss_hessian([i])[places]) for i in range(len(Z))]
        close(left.leverage[:, b], np.array(shares), 1e-7)
        idle = case.w[:, scores].sum(axis=1) == 0
        assert idle.any() and not left.unsettled[idle, b].any()


def optimum(objective):
    """T at the optimum: its conditions hold, by the laws of gradient and violation."""
    result = ProximalNewton().minimise(objective, objective.null(), Monitor(0.0, 200))
    T = objective.working(result.coef, result.intercept)
    gradient = objective.value_and_gradient(T)[1] - objective.penalty.smooth(T)[1]
    assert objective.penalty.violation(T, gradient).max() < 1e-7
    return T


@pytest.mark.factor("targets", ["softmax labels", "softmax shares", "answers"])
@pytest.mark.factor("penalty", ["lasso", "elastic net", "lasso of each"])
def test_rows_are_settled_whose_step_keeps_signs_and_zeros(one_thread, targets, penalty):
    """Those are exactly the rows that no prox step moves after the step."""
    penalty = penalty if targets in LABELS else penalty.replace(" of each", "")
    case = make(one_thread, targets, penalty=penalty, offset=True, n=120, factors=FACTORS)
    T = optimum(case.objective)
    unsettled, found = leave_one_out(case.objective, T).unsettled, []
    for b, (_, problem) in enumerate(problems_of(case, T)):
        for i, moves in enumerate(unsettled[:, b]):
            step = problem.step(i)
            excess = np.abs(problem.gradient_after(step, i)) / np.where(problem.l1, problem.l1, 1)
            at_zero = (problem.vector == 0) & (excess > 1 + 1e-5)
            turned = ((problem.vector + step) * problem.vector < 0) & (problem.l1 > 0)
            found.append((moves > GUARDED, (at_zero | turned).any()))
    is_unsettled, changes = np.array(found).T
    np.testing.assert_array_equal(is_unsettled, changes)
    assert changes.any() and not changes.all()


@pytest.mark.parametrize(
    ("targets", "penalty", "n"),
    [("softmax labels", "by feature", 120), ("softmax shares", "groups over scores", 40)],
)
def test_rows_whose_step_turns_a_group_around_are_not_settled(one_thread, targets, penalty, n):
    """Or without which a group is no longer zero; others are nearly, as directions bend."""
    case = make(one_thread, targets, penalty=penalty, offset=True, n=n, factors=FACTORS)
    T = optimum(case.objective)
    unsettled = leave_one_out(case.objective, T).unsettled[:, 0]
    ((_, problem),) = problems_of(case, T)
    size = sparse_problems.lengths(problem.vector, problem.numbers)
    changes = []
    for i in range(len(unsettled)):
        step = problem.step(i)
        inner = np.bincount(problem.numbers, (problem.vector + step) * problem.vector)
        reach = sparse_problems.lengths(problem.gradient_after(step, i), problem.numbers)
        enters = (size == 0) & (reach > problem.l1 * (1 + 1e-5))
        changes.append(((inner[problem.numbers] < 0) & (problem.l1 > 0) | enters).any())
    assert np.any(changes) and (unsettled[changes] > 0.02).all()
    assert np.median(unsettled) < 1e-3


def test_the_lasso_has_as_many_degrees_of_freedom_as_coefficients(one_thread):
    """Leverages add up to those that are not zero, with all intercepts but one.

    Source: Zou, Hastie and Tibshirani (2007), "On the degrees of freedom of the lasso", Annals of
    Statistics 35, 2173-2192. A ridge part, and groups, have fewer.
    """
    X, y = overlapping()
    for terms, is_lasso in (
        ({"l1_ratio": 1}, True),
        ({"l1_ratio": 0.9}, False),
        ({"l1_ratio": 1, "l1_groups": "feature"}, False),
    ):
        model = SoftmaxRegression(C=0.2, standardize=True, **terms).fit(X, y)
        freedom = inference.loo(model, X, y).leverage.sum()
        count = np.count_nonzero(model.coef_) + 2
        assert model.coef_.any() and (not is_lasso or (model.coef_ == 0).any())
        assert freedom == pytest.approx(count, rel=1e-6) if is_lasso else freedom < count - 0.1


# ---- Against refits -----------------------------------------------------------------------------


def standardised(name):
    """Every third row of a data set, in columns of deviation one."""
    X, y = PROBLEMS[name]()
    X = X[::3]
    return (X - X.mean(axis=0)) / X.std(axis=0), y[::3]


def groups_of(kind, d, K):
    """What `l1_groups` is, and the numbers of groups (K, d) that `sparse_problems` takes."""
    labels = np.arange(1, d + 1) // 2
    if kind == "labels":
        return labels, sparse_problems.by_label(labels, K)
    return (None, None) if kind == "each" else ("feature", sparse_problems.by_feature(K, d))


def refitted_losses(model, groups, X, Y, **terms):
    """Each row's log loss by the fit without it, (n,), each of which is an optimum.

    By its conditions, written a second time.
    """
    losses, is_hot = [], (Y.max(axis=1) == 1).all()
    for i in range(len(Y)):
        kept = np.arange(len(Y)) != i
        of_kept = {name: values[kept] for name, values in terms.items()}
        y = Y[kept].argmax(axis=1) if is_hot else Y[kept]
        fit = model.fit(X[kept], y, **of_kept)
        checked = {"penalty_factor": model.penalty_factor} | of_kept
        worst, _ = sparse_problems.violation(
            fit.coef_, fit.intercept_, X[kept], Y[kept], fit.C, fit.l1_ratio, groups, **checked
        )
        assert worst < 1e-4
        offset = {"offset": terms["offset"][[i]]} if "offset" in terms else {}
        losses.append(-Y[i] @ fit.predict_log_proba(X[[i]], **offset)[0])
    return np.array(losses)


def left_out_losses(model, X, Y, tolerated=0.01, **terms):
    """Each row's log loss, left out by steps and refits, (n,), and which were refitted."""
    y = Y.argmax(axis=1) if (Y.max(axis=1) == 1).all() else Y
    fit, given = model.fit(X, y, **terms), {"sample_weight": None, "offset": None} | terms
    with threads_of(fit) as threads:
        objective, T, metric = optimum_of(fit, X, y, *given.values(), threads)
        step = leave_one_out(objective, T)
        left = leave_one_out_with_refits(objective, T, metric, tolerated)
    np.testing.assert_array_equal(left.leverage, step.leverage)
    P = probabilities_inplace(fit, left.scores.copy())
    return -(Y * np.log(P)).sum(axis=1), (left.scores != step.scores).any(axis=1)


@pytest.mark.factor("name", ["iris", "wine"])
@pytest.mark.factor("C", [0.1, 1.0, 10.0])
@pytest.mark.factor("l1_ratio", [0.5, 1.0])
@pytest.mark.factor("groups", ["each", "feature", "labels"])
def test_the_mean_log_loss_is_that_of_refits_to_a_percent(name, C, l1_ratio, groups):
    """Leaving out each row and fitting again gives nearly the same mean; few rows are refitted."""
    X, y = standardised(name)
    l1_groups, numbers = groups_of(groups, X.shape[1], 3)
    model = SoftmaxRegression(C, l1_ratio, l1_groups=l1_groups, tol=1e-12, n_jobs=1)
    found, refitted = left_out_losses(model, X, one_hot(y))
    expected = refitted_losses(model, numbers, X, one_hot(y))
    assert found.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert refitted.mean() < 0.25


TERMS = {
    "weights": {"sample_weight": np.random.default_rng(5).integers(0, 4, 50).astype(float)},
    "offset": {"offset": np.random.default_rng(6).normal(size=(50, 3))},
    "no terms": {},
}


@pytest.mark.factor("terms", TERMS)
@pytest.mark.factor("groups", ["each", "feature", "labels"])
@pytest.mark.factor("factors", [None, np.array([0.0, 1.0, 1.0, 1.0])], ids=lambda f: str(f))
@pytest.mark.factor("soft", [False, True])
def test_a_row_is_left_out_with_all_its_weight_and_keeps_its_offset(terms, groups, factors, soft):
    """The mean is that of refits without the whole row, whatever it weighs, to a percent."""
    X, y = standardised("iris")
    Y, l1_groups, numbers = one_hot(y), *groups_of(groups, 4, 3)
    if soft:
        Y = 0.8 * Y + 0.2 * np.random.default_rng(7).dirichlet(np.ones(3), len(Y))
    model = SoftmaxRegression(0.5, 1.0, l1_groups=l1_groups, penalty_factor=factors, tol=1e-12)
    weight = TERMS[terms].get("sample_weight", np.ones(len(Y)))
    found, _ = left_out_losses(model, X, Y, **TERMS[terms])
    expected = refitted_losses(model, numbers, X, Y, **TERMS[terms])
    assert weight @ found == pytest.approx(weight @ expected, rel=0.01)
    np.testing.assert_allclose(found[weight == 0], expected[weight == 0], rtol=1e-4)


@pytest.mark.parametrize("groups", ["each", "feature"])
def test_refits_leave_the_whole_row_out(groups):
    """When every row is refitted, each has the loss of the fit without it."""
    X, y = overlapping(n=60, seed=2)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    l1_groups, numbers = groups_of(groups, X.shape[1], 3)
    model = SoftmaxRegression(0.5, 1.0, l1_groups=l1_groups, tol=1e-12)
    found, refitted = left_out_losses(model, X, one_hot(y), 0.0)
    assert refitted.all()
    np.testing.assert_allclose(found, refitted_losses(model, numbers, X, one_hot(y)), rtol=1e-5)


def test_rows_without_which_a_zero_does_not_stay_are_refitted():
    """Also where the step is none: of one column whose coefficient is just zero, no intercept.

    Without a row that holds the gradient below its strength, it is not: |w| is then where the
    gradient of the others' loss is 1 / C.
    """
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=30), rng.integers(2, size=30)
    gradient = x @ (0.5 - y)
    model = SoftmaxRegression(0.999 / abs(gradient), 1.0, fit_intercept=False, tol=1e-12)
    found, refitted = left_out_losses(model, x[:, None], one_hot(y), 0.0)
    assert model.coef_ == 0
    enters = np.abs(gradient - x * (0.5 - y)) > 1 / model.C
    np.testing.assert_array_equal(refitted, enters)
    expected = np.full(30, np.log(2))
    for i in np.flatnonzero(enters):
        kept, sign = np.arange(30) != i, -np.sign(gradient)

        def slope(w, kept=kept, sign=sign):
            return x[kept] @ (expit(x[kept] * w) - y[kept]) + sign / model.C

        w = brentq(slope, *sorted((0, sign * 10)), xtol=1e-12)
        expected[i] = np.logaddexp(0, -(2 * y[i] - 1) * x[i] * w)
    assert 0 < enters.sum() < 30 and np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_each_label_is_left_out_by_itself():
    """Labels have the predictions of two-class models of their own, at a C of their own."""
    X, _ = standardised("wine")
    rng, Cs = np.random.default_rng(8), np.array([0.1, 0.3, np.inf])
    Y = (rng.logistic(size=(len(X), 3)) < X[:, :3] + 0.5 * X[:, 3:6]).astype(int)
    Y[:, 2] = rng.integers(2, size=len(X))
    terms = {"l1_ratio": 1.0, "l1_groups": np.arange(13) // 2, "tol": 1e-12}
    held_out = inference.loo(SigmoidRegression(Cs, **terms).fit(X, Y), X, Y)
    for label, C in enumerate(Cs):
        alone = SoftmaxRegression(C, **terms).fit(X, Y[:, label])
        expected = inference.loo(alone, X, Y[:, label])
        P = np.column_stack(
            [1 - held_out.probabilities[:, label], held_out.probabilities[:, label]]
        )
        np.testing.assert_allclose(P, expected.probabilities, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(held_out.leverage[:, label], expected.leverage, atol=1e-5)


# ---- What is the same ---------------------------------------------------------------------------


def test_groups_of_one_are_coefficients_by_themselves():
    """Of two classes, a feature's group is its one coefficient: the same predictions."""
    X, y = PROBLEMS["breast cancer"]()
    X, y = (X[::4] - X[::4].mean(axis=0)) / X[::4].std(axis=0), y[::4]
    each, feature, labelled = (
        inference.loo(SoftmaxRegression(0.3, 1.0, l1_groups=groups, tol=1e-12).fit(X, y), X, y)
        for groups in (None, "feature", np.arange(X.shape[1]))
    )
    for other in (feature, labelled):
        np.testing.assert_allclose(other.probabilities, each.probabilities, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(other.leverage, each.leverage, atol=1e-6)


@pytest.mark.parametrize("groups", [None, "feature"])
def test_next_to_no_sparse_part_is_none(groups):
    """With a share of 1e-12 predictions are those of the ridge."""
    X, y = standardised("wine")
    almost, ridge = (
        inference.loo(SoftmaxRegression(0.1, a, l1_groups=groups, tol=1e-12).fit(X, y), X, y)
        for a in (1e-12, 0.0)
    )
    np.testing.assert_allclose(almost.probabilities, ridge.probabilities, rtol=1e-5)
    np.testing.assert_allclose(almost.leverage, ridge.leverage, rtol=1e-6)


@pytest.mark.parametrize("groups", [None, "feature"])
def test_sparse_rows_are_left_out_as_dense_ones(groups):
    """CSR and dense rows have the same predictions, steps and refits, and leverages."""
    X, y = PROBLEMS["sparse counts"]()
    rows, model = X.toarray(), SoftmaxRegression(1.0, 1.0, l1_groups=groups, tol=1e-12)
    found, expected = (inference.loo(model.fit(A, y), A, y) for A in (sp.csr_array(X), rows))
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.leverage, expected.leverage, atol=1e-6)


@pytest.mark.parametrize("penalty", ["elastic net", "groups over scores"])
def test_blocks_and_processes_do_not_matter(one_thread, penalty):
    """Rows taken in many blocks, or by kernels from pickle, are left out as rows taken at once."""
    terms = {"penalty": penalty, "n": 80, "factors": FACTORS}
    case = make(one_thread, **terms)
    T = optimum(case.objective)
    expected = leave_one_out(case.objective, T)
    assert expected.unsettled.any()
    found = leave_one_out(elsewhere(case.objective), T)
    with Threads(1, Limits(block_values=256, block_rows=16, unshared_values=0)) as threads:
        objective = make(threads, **terms).objective
        assert len(objective.rows.block_slices) > 1
        of_blocks = leave_one_out(objective, T)
    for name in ("scores", "leverage", "unsettled"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        close(getattr(of_blocks, name), getattr(expected, name), 1e-9)


def test_a_model_without_coefficients_predicts_as_it_does():
    """Without an intercept nothing depends on the rows."""
    X, y = standardised("iris")
    held_out = inference.loo(SoftmaxRegression(1e-4, 1.0, fit_intercept=False).fit(X, y), X, y)
    np.testing.assert_array_equal(held_out.probabilities, np.full((len(y), 3), 1 / 3))
    assert not held_out.leverage.any()


def test_only_coefficients_that_are_not_zero_count_as_large():
    """A Hessian of all would be refused; that of what is not zero, and little more, fits."""
    X, y = PROBLEMS["iris"]()
    noise = np.random.default_rng(3).normal(size=(len(y), 200))
    X, model = np.column_stack([X, noise]), SoftmaxRegression(0.03, 1.0)
    for limit, is_held in ((100**2, True), (10**2, False)):
        with Threads(1, Limits(value_budget=limit)) as threads:
            objective, T, _ = optimum_of(model.fit(X, y), X, y, None, None, threads)
            if is_held:
                leave_one_out(objective, T)
            else:
                with pytest.raises(ValueError, match="numbers, and at most 100 are held.*cv=10"):
                    leave_one_out(objective, T)
