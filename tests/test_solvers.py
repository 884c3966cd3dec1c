"""Laws of solvers: each reaches the optimum of every problem, stops by one rule and says so."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from parts import (
    LABELS,
    SOURCES,
    TERMS,
    Drawn,
    close,
    indicators,
    limits_of,
    make,
    minimiser,
    with_penalties,
)
from problems import overlapping
from scipy.optimize import OptimizeResult, brentq
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._model.links import Sigmoid
from softreg._rows.memory import DenseRows
from softreg._rows.threads import Limits, Threads
from softreg.solvers import LBFGS, Newton
from softreg.solvers.auto import solver_for, stream_solver
from softreg.solvers.base import Monitor, Point, ProblemsMonitor
from softreg.solvers.lbfgs import _Descent
from softreg.solvers.linalg.metrics import first_metric

SOLVERS = {"lbfgs": LBFGS, "newton": Newton}
SEVERAL = {"labels": LABELS, "source": SOURCES, "terms": ["plain", "weighted, offset"]}
FIXTURE_FACTORS = {"solver": {"solver_name": SOLVERS}, "several": SEVERAL, "in_groups": SEVERAL}


@pytest.fixture
def solver(solver_name):
    """One solver of every kind, as it comes."""
    return SOLVERS[solver_name]()


def minimised(case, solver, tol=1e-10, start=None, report=None, max_iter=1000):
    """The result of a fit from `start`, or the null model."""
    start = case.objective.null() if start is None else start
    monitor = Monitor(tol, max_iter, report or (lambda T, F: False))
    return solver.minimise(case.objective, start, monitor)


def test_every_solver_reaches_the_optimum_and_proves_it(penalised, solver):
    """F - F* <= gap <= 1e-8 F of each problem, F being that of the reported coefficients.

    All in one record, also where features have no penalty.
    """
    result = minimised(penalised, solver)
    F = assert_optimal(penalised, result)
    assert result.proven.all() and (result.gap <= 1e-8 * F).all()
    assert result.n_iter == len(result.loss_curve)
    assert result.loss_curve[-1] == pytest.approx(F.sum(), rel=1e-12)


@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("kind", with_penalties("L2", "L2 of each"))
def test_every_solver_proves_the_optimum_where_all_features_have_a_penalty(
    source_threads, solver, kind, source
):
    """F - F* <= gap <= 1e-8 F of each problem."""
    terms = {"weighted": True, "offset": True, "factors": np.arange(1.0, 7)}
    case = make(source_threads, kind[0], source, penalty=kind[1], **terms)
    result = minimised(case, solver)
    F = assert_optimal(case, result)
    assert result.proven.all() and (result.gap <= 1e-8 * F).all()


def assert_optimal(case, result):
    """Every problem converged to its least F, which is returned."""
    F = case.parts_of_F(case.value(result.coef, result.intercept))
    least = case.parts_of_F(case.least())
    assert result.converged.all() and result.converged.shape == F.shape
    assert not result.stopped and not result.diverging
    np.testing.assert_allclose(result.objective, F, rtol=1e-12)
    assert (F - least >= -1e-13).all() and (F - least <= result.gap + 1e-13).all()
    assert (F - least <= 1e-9 * F + 1e-13).all()
    return F


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_monitor_ends_a_fit_after_max_iter_iterations(one_thread, solver, most):
    """Not one iteration more, and the message says which parameter to raise."""
    objective, reports = make(one_thread, X=hard()).objective, []
    monitor = Monitor(1e-12, most, lambda T, F: reports.append(F))
    result = solver.minimise(objective, objective.null(), monitor)
    assert result.n_iter == most and not result.converged.any() and not result.stopped
    assert f"max_iter={most}" in result.message
    np.testing.assert_array_equal(result.loss_curve, reports)


def test_a_report_of_true_ends_the_fit(one_thread, solver):
    """The iteration that it reports is the last, and the result says that a callback ended it."""
    objective, reports = make(one_thread, X=hard()).objective, []
    monitor = Monitor(1e-12, 100, lambda T, F: reports.append(F) or len(reports) == 2)
    result = solver.minimise(objective, objective.null(), monitor)
    assert result.n_iter == len(reports) == 2
    assert result.stopped and not result.converged.any()


def hard():
    """Rows with heavy tails, on which no solver ends within three iterations."""
    return np.random.default_rng(25).standard_t(1.5, size=(60, 6))


def test_the_optimum_is_reached_only_by_estimate_and_by_proof():
    """Both the estimate and the gap must be small relative to F, or below rounding."""
    monitor = Monitor(1e-6, 10, lambda T, F: False)
    estimate = np.array([1e-7, 1e-5, 1e-7, 1e-7, 1e-10])
    gap = np.array([1e-7, 1e-7, 1e-5, 1e-10, 1e-7])
    value = np.array([1.0, 1.0, 1.0, 1e-3, 1e-3])
    reached = monitor.reached(estimate, gap, value)
    np.testing.assert_array_equal(reached, [True, False, False, False, False])
    exact = Monitor(0.0, 10, monitor.report)
    assert exact.reached(np.array([1e-16]), np.array([1e-9]), np.array([1.0])).all()


def test_solvers_refuse_parameters_that_they_do_not_have(solver):
    """set_params takes what get_params lists and names it when asked for anything else."""
    assert solver.set_params(**solver.get_params()) is solver
    with pytest.raises(ValueError, match="'step' for estimator .* parameters are: .*\\["):
        solver.set_params(step=1)
    assert solver == type(solver)()


def test_the_repr_of_a_solver_shows_only_what_differs(solver):
    """repr is the call that makes the solver, defaults left out."""
    assert repr(solver) == f"{type(solver).__name__}()"
    for name, value in solver.get_params().items():
        changed = type(solver)(**{name: value + 1})
        assert repr(changed) == f"{type(solver).__name__}({name}={value + 1})"
        assert repr(type(solver)().set_params(**{name: value + 1})) == repr(changed)


def test_solvers_go_by_name_or_are_themselves(one_thread, solver):
    """A name makes a solver, a configuration is used as it is, anything else is refused."""
    objective = make(one_thread).objective
    assert solver_for(solver, objective) is solver
    assert {name: type(solver_for(name, objective)) for name in SOLVERS} == SOLVERS
    with pytest.raises(ValueError, match="'auto', 'lbfgs', 'newton'"):
        solver_for("adam", objective)


@pytest.mark.parametrize("name", ["newton-cg", "newton-cholesky", "sag", "saga"])
def test_scikit_learns_names_of_solvers_mean_auto(one_thread, name):
    """What reaches the same optimum may be asked for by scikit-learn's names, in streams too."""
    objective = make(one_thread).objective
    assert solver_for(name, objective) == solver_for("auto", objective)
    assert stream_solver(name) == stream_solver("auto")


@pytest.mark.parametrize("Model", [SoftmaxRegression, SigmoidRegression])
def test_liblinear_means_auto_where_there_is_no_intercept_that_it_would_penalise(Model):
    """liblinear minimises the same only without an intercept; else the error says why."""
    X, y = overlapping(K=2)
    fit = Model(solver="liblinear", fit_intercept=False).fit(X, y)
    np.testing.assert_array_equal(fit.coef_, Model(fit_intercept=False).fit(X, y).coef_)
    with pytest.raises(ValueError, match='"liblinear".*penalises the intercept.*"auto"'):
        Model(solver="liblinear").fit(X, y)


# ---- Problems that are solved together ----------------------------------------------------------


@pytest.fixture
def several(labels, source, terms, source_threads):
    """One objective of every kind that has several problems."""
    return make(source_threads, labels, source, penalty="L2 of each", **TERMS[terms])


@pytest.fixture
def group_threads(fewest):
    """Threads of one, entered, whose limits have problems solved in groups of `fewest` scores."""
    with Threads(1, Limits(kept_scores=1, fewest_group_scores=fewest)) as threads:
        yield threads


@pytest.fixture
def in_groups(labels, source, terms, fewest):
    """The objective `several`, whose problems are solved in groups of `fewest` scores."""
    with Threads(1, limits_of(source, kept_scores=1, fewest_group_scores=fewest)) as threads:
        yield make(threads, labels, source, penalty="L2 of each", **TERMS[terms])


@pytest.mark.factor("fewest", [1, 2])
def test_labels_solved_in_groups_are_labels_solved_at_once(several, in_groups, solver, fewest):
    """Each reaches its optimum, and the result is the same but for rounding."""
    at_once = minimised(several, solver)
    seen, null = [], several.objective.null()
    result = minimised(in_groups, solver, report=lambda T, F: seen.append(T.copy()))
    moved = (seen[0] != null).any(axis=0)
    assert not moved[fewest:].any() and moved[0]  # the first group is solved first
    F = assert_optimal(several, result)
    assert_optimal(several, at_once)
    np.testing.assert_allclose(result.objective, at_once.objective, rtol=1e-9)
    scale = np.linalg.norm(several.X - several.X.mean(axis=0), axis=0)[:, None]
    close(scale * result.coef, scale * at_once.coef, 1e-4)
    assert {T.shape for T in seen} == {null.shape} and len(seen) == result.n_iter
    assert result.loss_curve[-1] == pytest.approx(F.sum(), rel=1e-12)


@pytest.mark.factor("fewest", [2])
def test_every_report_is_of_all_problems(in_groups, solver):
    """T and F that a callback gets are those of all problems, solved or not."""
    seen, objective = [], in_groups.objective
    result = minimised(in_groups, solver, report=lambda T, F: seen.append((T.copy(), F)))
    for T, F in seen:
        assert (
            pytest.approx(
                in_groups.parts_of_F(in_groups.value(*objective.coefficients(T))).sum(), rel=1e-12
            )
            == F
        )
    np.testing.assert_array_equal(result.loss_curve, [F for _, F in seen])
    assert (np.diff(result.loss_curve) <= 1e-14).all()
    W, b = objective.coefficients(seen[-1][0])
    close(result.coef, W, 1e-12)
    close(result.intercept, b, 1e-12)


@pytest.mark.factor("fewest", [1])
def test_groups_that_were_not_reached_are_where_they_started(group_threads, solver):
    """When iterations run out, what was solved has converged, and the others say they have not."""
    case, seen = make(group_threads, "answers", penalty="L2 of each", factors=np.ones(6)), []
    minimised(case, solver, report=lambda T, F: seen.append(T.copy()))
    null = case.objective.null()
    first = sum((T[:, 1:] == null[:, 1:]).all() for T in seen)
    assert 0 < first < len(seen)
    result = minimised(case, solver, max_iter=first + 1)
    assert result.converged.tolist() == [True, False, False] and result.n_iter == first + 1
    F = case.parts_of_F(case.value(*case.objective.coefficients(null)))
    assert (result.objective[:2] < F[:2]).all() and result.objective[2] == pytest.approx(F[2])
    assert (result.objective - case.parts_of_F(case.least()) <= result.gap + 1e-13).all()
    assert f"max_iter={first + 1}" in result.message


@pytest.mark.parametrize("targets", LABELS)
def test_problems_together_are_problems_alone(one_thread, solver, targets):
    """Each ends at its own optimum, whatever the others' strengths, to the last digits of F."""
    case = make(one_thread, targets, penalty="L2 of each", weighted=True, offset=True)
    together, objective = minimised(case, solver), case.objective
    for k in range(3):
        problem = np.array([k])
        subset = objective.take_problems(problem)
        alone = solver.minimise(subset, subset.null(), Monitor(1e-10, 1000, lambda T, F: False))
        np.testing.assert_allclose(together.objective[problem], alone.objective, rtol=1e-9)
        close(
            objective.working(together.coef, together.intercept)[:, problem],
            subset.working(alone.coef, alone.intercept),
            1e-4,
        )


def test_a_problem_that_is_solved_is_not_moved_any_more(one_thread):
    """Newton leaves a label at its optimum while another is not solved yet."""
    case = make(one_thread, "answers", penalty="L2 of each")
    T, seen = case.objective.null(), []
    T[:, 1] = minimiser(case.objective)[:, 1]
    result = minimised(case, Newton(), start=T, report=lambda T, F: seen.append(T[:, 1].copy()))
    assert result.converged.all() and len(seen) > 2
    assert all((later == seen[0]).all() for later in seen[1:])


def constant_and_not(rng, n):
    """Answers that vary; all no; vary; all yes; known nowhere."""
    Y, weights = rng.integers(2, size=(n, 5)) * 1.0, np.ones((n, 5))
    Y[:, 1], Y[:, 3] = 0, 1
    weights[:, 4] = 0
    return Drawn(indicators(Y, weights, np.ones(5)), Y, weights)


@pytest.mark.factor("offset", [False, True])
@pytest.mark.factor("penalty", ["L2", "no penalty"])
@pytest.mark.factor("fewest", [1, 64])
def test_constant_problems_stay_at_the_null_model(group_threads, solver, penalty, offset):
    """No pass is spent on them, and the others are solved as if they were not there."""
    terms = {"penalty": penalty, "offset": offset, "factors": np.ones(6)}
    case = make(group_threads, (Sigmoid(), constant_and_not), **terms)
    objective, constant = case.objective, [1, 3, 4]
    result, null = minimised(case, solver), objective.null()
    assert result.converged.all() and not result.diverging
    assert (result.coef[:, constant] == 0).all()
    close(result.intercept[constant], objective.coefficients(null)[1][constant], 1e-15)
    np.testing.assert_array_equal(np.sign(result.intercept[constant]), [-1, 1, 0])
    assert (result.objective[constant] < 1e-14).all()
    if penalty == "L2":
        np.testing.assert_array_equal(result.gap[constant], result.objective[constant])
    subset = objective.take_problems(np.array([0, 2]))
    alone = solver.minimise(subset, subset.null(), Monitor(1e-10, 1000, lambda T, F: False))
    np.testing.assert_allclose(result.objective[[0, 2]], alone.objective, rtol=1e-9)
    part = case.parts_of_F(case.value(result.coef, result.intercept))[[0, 2]]
    np.testing.assert_allclose(result.objective[[0, 2]], part, rtol=1e-12)
    F = case.value(result.coef, result.intercept)[[0, 2]]
    np.testing.assert_allclose(F, least_of(case, [0, 2]), rtol=1e-9)


def test_a_fit_of_constant_problems_alone_is_no_iteration(one_thread, solver):
    """All labels constant: the null model is the answer."""

    def draw(rng, n):
        Y = np.tile([0.0, 1.0], (n, 1))
        return Drawn(indicators(Y, np.ones((n, 2)), np.ones(2)), Y, np.ones((n, 2)))

    result = minimised(make(one_thread, (Sigmoid(), draw)), solver)
    assert result.converged.all() and result.n_iter == 0
    assert (result.coef == 0).all() and (result.objective < 1e-14).all()


def test_constant_labels_without_an_intercept_reach_their_optimum(one_thread, solver):
    """A score of zero is not their answer, weights that the penalty allows are."""
    terms = {"intercept": False, "weighted": True, "factors": np.ones(6)}
    case = make(one_thread, (Sigmoid(), constant_and_not), **terms)
    result = minimised(case, solver)
    F, least = case.value(result.coef, result.intercept), np.append(least_of(case, range(4)), 0.0)
    np.testing.assert_allclose(F, least, rtol=1e-9, atol=1e-13)
    assert result.converged.all()


def least_of(case, some):
    """The least F of some problems."""
    terms = {name: getattr(case, name)[:, list(some)] for name in ("Y", "w", "offset")}
    return replace(case, **terms).least()


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
@pytest.mark.parametrize("C", [1e8, 1e10, 1e12])
def test_a_penalty_however_slight_has_its_optimum_where_f_is_next_to_nothing(solver, C):
    """Rows x = -1, 1 of two classes: (C n) expit(-w) = w, also where F(w) is far below 1e-8."""
    X, y = np.array([[-1.0], [1.0]] * 3), np.array([0, 1] * 3)
    w = brentq(lambda w: 6 * C * expit(-w) - w, 1, 100)
    F = np.log1p(np.exp(-w)) + w**2 / (12 * C)
    model = SoftmaxRegression(C=C, fit_intercept=False, solver=solver).fit(X, y)
    assert model.coef_[0, 0] == pytest.approx(w, rel=1e-3)
    assert model.objective_ == pytest.approx(F, rel=1e-7)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_small_tables_take_a_few_newton_steps(load):
    """Raw columns, defaults: quadratic convergence from the null model, with a certificate."""
    X, y = load(return_X_y=True)
    model = SoftmaxRegression().fit(X, y)
    assert isinstance(model.solver_, Newton) and model.n_iter_ <= 15
    assert model.optimality_gap_ <= 1e-8 * model.objective_


def test_a_step_costs_no_products_where_hessians_are_cheap(one_thread):
    """Newton's equations are solved by a factor: passes are for F, Hessians and certificates.

    The first Hessian, of the null model, comes from the Gram matrix.
    """
    case = make(one_thread, "softmax labels", weighted=True, factors=np.ones(6))
    kernels = Counter()

    class Counted(DenseRows):
        def sum(self, kernel):
            kernels[getattr(kernel, "__name__", type(kernel).__name__)] += 1
            return super().sum(kernel)

    of_rows = {field.name: getattr(case.objective.rows, field.name) for field in fields(DenseRows)}
    objective = replace(case.objective, rows=Counted(**of_rows))
    result = Newton().minimise(objective, objective.null(), Monitor(1e-9, 100, lambda *_: False))
    assert result.converged.all() and kernels["CurvatureProduct"] == 0
    assert kernels["LossHessian"] == result.n_iter - 1 and kernels["gram_sum"] == 1
    assert result.n_iter >= kernels["LossAndGradient"]
    assert kernels["CertificateSums"] >= 1


def test_an_iterate_at_which_F_has_leapt_is_not_where_a_descent_ends(one_thread):
    """Rounding may lead SciPy's line search astray: the descent ends at the iterate before."""
    objective = make(one_thread).objective
    start = Point.at_coefficients(objective, objective.null())
    monitor = Monitor(1e-9, 100)
    report = ProblemsMonitor(monitor, objective, start, np.arange(objective.problems.count))
    descent = _Descent(objective, start, first_metric(objective, start.T), report)
    far = np.full(start.T.size, 1e6)
    value, _ = descent.value_and_gradient(far)
    assert value > 2 * start.value.sum()
    with pytest.raises(StopIteration):
        descent.after_iteration(OptimizeResult(x=far, fun=value))
    assert descent.reached is start and not monitor.losses
