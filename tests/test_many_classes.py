"""Thousands of classes: candidates in place of all of them, and the best k of each row."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from parts import elsewhere
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._encoding.validation import generator_maker
from softreg._model.links import Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import memory_rows
from softreg._rows.targets import ClassTargets
from softreg._rows.threads import Threads
from softreg.solvers import MiniBatch
from softreg.solvers.minibatch.class_candidates import (
    Candidates,
    _Columns,
    _Step,
    candidate_descent,
    candidate_objective,
)
from softreg.solvers.minibatch.curvature import Kronecker, KroneckerInverse
from softreg.solvers.minibatch.update import AVERAGE_POWER, Iterate, UpdateRule, average_weight

K, D = 12, 3


def clouds(n_classes, d, n, seed=0, noise=1.0):
    """Rows around the means of their classes, in columns of different units."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((n_classes, d))
    y = rng.permutation(np.arange(n) % n_classes)
    X = means[y] + noise * rng.standard_normal((n, d))
    return X * 10.0 ** rng.integers(-3, 4, d), y


def sampled(**settings):
    """A model whose solver draws candidates."""
    settings = {"n_candidates": 20, "n_epochs": 5} | settings
    return SoftmaxRegression(solver=MiniBatch(**settings), random_state=0)


class Batch:
    """A batch of rows, offsets and weights, and what all classes make of it, by plain numpy."""

    def __init__(self, threads):
        rng = np.random.default_rng(1)
        self.X, self.codes = rng.standard_normal((8, D)), rng.integers(0, 4, 8)
        self.weight, self.offset = rng.uniform(0.5, 2, 8), rng.standard_normal((8, K))
        self.T = 1.5 * rng.standard_normal((D + 1, K))
        self.A = np.column_stack([self.X, np.ones(8)])
        self.Z = self.A @ self.T + self.offset
        targets, raw = ClassTargets(self.codes, K), Coordinates.raw(D, True)
        rows = memory_rows(self.X, targets, self.weight, self.offset, raw, threads)
        total = np.full(K, self.weight.sum())
        penalty = Ridge(np.zeros((D + 1, 1)))
        self.objective = Objective(Softmax(), rows, penalty, total, float(total[0]))

    def gradient(self):
        """That of the mean loss over all classes."""
        R = softmax(self.Z, axis=1) - np.eye(K)[self.codes]
        return self.A.T @ (R * (self.weight / self.weight.sum())[:, None])

    def sampled_gradient(self, candidates, random):
        """That over candidates, zero for the other classes."""
        classes, part = candidate_objective(self.objective, self.objective.rows, candidates, random)
        G = np.zeros((D + 1, K))
        G[:, classes] = part.value_and_gradient(self.T[:, classes])[1]
        return G


@pytest.fixture
def batch():
    with Threads(1) as threads:
        yield Batch(threads)


# ---- Candidates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("proposal", ["log-uniform", "uniform"])
def test_the_gradient_approaches_that_of_all_classes_as_candidates_grow(batch, proposal):
    """Its mean over draws is off by less the more candidates there are, and right with all."""
    exact, frequency = batch.gradient(), np.arange(K, 0, -1.0)

    def bias(count, draws=3000):
        random, candidates = (
            np.random.default_rng(2),
            Candidates.from_frequency(count, proposal, frequency),
        )
        total = sum(batch.sampled_gradient(candidates, random) for _ in range(draws))
        return np.abs(total / draws - exact).sum() / np.abs(exact).sum()

    few, more, all_of_them = bias(2), bias(5), bias(K, draws=1)
    assert few > 0.03
    assert more < 0.6 * few
    assert all_of_them < 1e-13


@pytest.mark.parametrize("proposal", ["log-uniform", "uniform"])
def test_the_partition_sum_is_right_on_average(batch, proposal):
    """Over draws of candidates, the mean of exp(loss + z_y) is the sum of exp(z) over classes."""
    random, candidates = (
        np.random.default_rng(3),
        Candidates.from_frequency(3, proposal, np.arange(K, 0, -1.0)),
    )

    def drawn():
        classes, part = candidate_objective(
            batch.objective, batch.objective.rows, candidates, random
        )
        block = part.rows.block(part.rows.block_slices[0])
        return np.exp(logsumexp(block.scores(batch.T[:, classes]), axis=0))

    sums = np.array([drawn() for _ in range(4000)]) / np.exp(logsumexp(batch.Z, axis=1))
    assert np.abs(sums.mean(axis=0) - 1).max() < 5 * (sums.std(axis=0) / np.sqrt(len(sums))).max()


def test_the_loss_over_candidates_is_its_formula(batch):
    """-z_y + log(sum of exp(z) over true classes + sum of exp(z) / pi over candidates)."""
    candidates = Candidates.from_frequency(4, "log-uniform", np.arange(K, 0, -1.0))
    classes, part = candidate_objective(
        batch.objective, batch.objective.rows, candidates, np.random.default_rng(5)
    )
    others, likely = candidates.draw(np.unique(batch.codes), np.random.default_rng(5))
    assert classes.tolist() == [*np.unique(batch.codes), *others]
    Z = batch.Z[:, classes]
    sums = np.exp(Z) @ np.concatenate([np.ones(len(classes) - 4), 1 / likely])
    losses = np.log(sums) - batch.Z[np.arange(8), batch.codes]
    expected = batch.weight @ losses / batch.weight.sum()
    assert part.value(batch.T[:, classes])[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("proposal", "count"), [("log-uniform", 6), ("uniform", 6), ("uniform", 1)]
)
def test_candidates_are_drawn_as_often_as_they_are_said_to(proposal, count):
    """They are so many, distinct and none of the true ones, each with its own chance."""
    true, draws = np.array([0, 3, 7]), 4000
    candidates = Candidates.from_frequency(count, proposal, np.linspace(1, 0.1, 30))
    random, times, chance = np.random.default_rng(0), np.zeros(30), np.zeros(30)
    for _ in range(draws):
        classes, likely = candidates.draw(true, random)
        assert len(set(classes)) == count
        assert not set(classes) & set(true)
        times[classes] += 1
        chance[classes] = likely
    assert chance.sum() == pytest.approx(count)
    error = np.sqrt(chance * (1 - chance) / draws)
    assert (np.abs(times / draws - chance) <= 5 * error + 1e-12).all()


def test_the_log_uniform_proposal_prefers_frequent_classes():
    """By their rank r, in proportion to log(1 + 1 / r)."""
    candidates = Candidates.from_frequency(1, "log-uniform", np.array([5.0, 80, 10, 5]))
    np.testing.assert_allclose(candidates.proposal_weights, np.log([4 / 3, 2, 3 / 2, 5 / 4]))


@pytest.mark.parametrize("n_before", [0.0, 2.5])
def test_the_average_is_that_of_all_iterates(n_before):
    """Though only some columns are touched in a step, as if all averages were updated in each."""
    rng, no_penalty = np.random.default_rng(0), Ridge.none(3)
    inverse = KroneckerInverse.from_curvature(Kronecker(np.eye(3), np.ones(6)), no_penalty, 1e18)
    T, V, average = rng.standard_normal((3, 3, 6))
    columns = _Columns.from_iterate(Iterate(T, V, average, n_before), no_penalty)
    for t in n_before + np.arange(1, 60):
        classes = rng.choice(6, 2, replace=False)
        step = _Step.from_rule(UpdateRule(None, 0.9, True), t, 10, inverse)
        gradient = rng.standard_normal((3, 2))
        columns.move_inplace(classes, gradient, np.zeros(2), step)
        average = average + average_weight(t, AVERAGE_POWER) * (columns.T - average)
    np.testing.assert_allclose(columns.average(t), average, rtol=1e-10, atol=1e-13)


def test_a_column_makes_up_for_the_penalty_of_steps_it_was_left_out_of():
    """(curvature M + (1 / eta + e) penalty) change = gradient + e penalty T, after e steps."""
    rng = np.random.default_rng(0)
    root, penalty = rng.standard_normal((3, 3)), Ridge(np.array([[2.0], [0.5], [0.0]]))
    curvature = Kronecker(root @ root.T, np.full(6, 1 / 6))
    inverse = KroneckerInverse.from_curvature(curvature, penalty, 1e18)
    T, gradient = rng.standard_normal((3, 6)), rng.standard_normal((3, 2))
    columns, elapsed = _Columns.from_iterate(Iterate.at_start(T), penalty), np.array([7, 2])
    columns.since[:2] = 7 - elapsed
    step = _Step.from_rule(UpdateRule(None, 0.9, True), 7, 10, inverse)
    columns.move_inplace(np.arange(2), gradient, np.zeros(2), step)
    M = 1.02 / 6 * root @ root.T  # of each class, raised by 2 %
    for k, e in enumerate(elapsed):
        H = step.curvature * M + (step.inverse_length + e) * np.diag(penalty.l2[:, 0])
        change = np.linalg.solve(H, gradient[:, k] + e * penalty.l2[:, 0] * T[:, k])
        np.testing.assert_allclose(columns.T[:, k], T[:, k] - change, rtol=1e-9)
    np.testing.assert_array_equal(columns.T[:, 2:], T[:, 2:])
    np.testing.assert_array_equal(columns.since[:2], 7)


def test_candidates_take_no_momentum():
    """Whatever `momentum` is, steps over candidates are the same."""
    X, y = clouds(40, 4, 400)
    fits = [sampled(n_candidates=5, momentum=mu).fit(X, y).coef_ for mu in (0.0, 0.9)]
    np.testing.assert_array_equal(*fits)


def test_iterates_that_candidates_start_from_stay_as_they_are():
    """A pass works on copies: the best epoch's coefficients are not overwritten by later ones."""
    X, y = clouds(40, 4, 400)
    with Threads(1) as threads:
        rows = memory_rows(X, ClassTargets(y, 40), None, None, Coordinates.raw(4, True), threads)
        penalty = Ridge.from_C(np.ones(1), np.ones(4))
        objective = Objective.in_working_coordinates(Softmax(), rows, penalty)
        solver, make_generator = MiniBatch(n_candidates=5), generator_maker(0)
        first = solver.run_epoch(objective, Iterate.at_start(objective.null()), make_generator)
        kept = [field.copy() for field in (first.T, first.velocity, first.average)]
        solver.run_epoch(objective, first, make_generator)
    for field, copy in zip((first.T, first.velocity, first.average), kept, strict=True):
        np.testing.assert_array_equal(field, copy)


def test_averaging_changes_no_step_over_candidates():
    """The last T is the same whether iterates are averaged or not, and then it is the result.

    At the end of an epoch columns make up for the penalty of steps they were left out of: once.
    """
    X, y = clouds(40, 4, 400)
    with Threads(1) as threads:
        rows = memory_rows(X, ClassTargets(y, 40), None, None, Coordinates.raw(4, True), threads)
        penalty = Ridge.from_C(np.full(1, 1e-2), np.ones(4))
        objective = Objective.in_working_coordinates(Softmax(), rows, penalty)
        averaged, last = (
            MiniBatch(n_candidates=5, batch_size=20, averaging=averaging).run_epoch(
                objective, Iterate.at_start(objective.null()), generator_maker(0)
            )
            for averaging in (True, False)
        )
    np.testing.assert_array_equal(last.T, averaged.T)
    np.testing.assert_array_equal(last.average, last.T)


def test_kernels_over_candidates_can_run_in_another_process():
    """Pickled, they return what they return here: they are values, not closures."""
    X, y = clouds(40, 4, 4000)
    with Threads(1) as threads:
        rows = memory_rows(X, ClassTargets(y, 40), None, None, Coordinates.raw(4, True), threads)
        penalty = Ridge.from_C(np.ones(1), np.ones(4))
        objective = Objective.in_working_coordinates(Softmax(), rows, penalty)
        start = Iterate.at_start(objective.null())

        def results(objective):
            make_generator = generator_maker(0)
            descent = candidate_descent(5, "uniform", objective, make_generator)
            return (
                MiniBatch(n_candidates=5).run_epoch(objective, start, make_generator).T,
                descent.estimate(objective).rows.X,
            )

        found, expected = results(elsewhere(objective)), results(objective)
        for result, value in zip(found, expected, strict=True):
            np.testing.assert_array_equal(result, value)
    assert len(expected[1]) < 4000


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("proposal", ["log-uniform", "uniform"])
def test_candidates_predict_as_well_as_all_classes(proposal):
    """Of 100 classes, a fifth of them as candidates: held-out accuracy within two points."""
    X, y = clouds(100, 16, 4000, noise=0.5)
    train, test = slice(0, 2000), slice(2000, None)
    full = SoftmaxRegression(solver=MiniBatch(n_epochs=5), random_state=0)
    all_classes = full.fit(X[train], y[train]).score(X[test], y[test])
    candidates = sampled(proposal=proposal).fit(X[train], y[train])
    assert all_classes > 0.7
    assert candidates.score(X[test], y[test]) >= all_classes - 0.02


def test_more_epochs_lead_to_the_optimum():
    """F over all rows and classes falls to near that of the exact solution."""
    X, y = clouds(40, 6, 4000)
    best = SoftmaxRegression().fit(X, y).objective_
    model = sampled(n_candidates=10, n_epochs=40).fit(X, y)
    P = -np.take_along_axis(model.predict_log_proba(X), y[:, None], axis=1)
    F = P.mean() + (model.coef_**2).sum() / (2 * len(y))
    assert best <= F < 1.02 * best
    assert model.objective_ == pytest.approx(F, rel=0.05)
    assert not model.converged_


def test_as_many_candidates_as_classes_are_all_classes():
    """n_candidates >= K is the same fit as n_candidates=None."""
    X, y = clouds(6, 4, 200)
    for count in (6, 100):
        model, full = sampled(n_candidates=count).fit(X, y), sampled(n_candidates=None).fit(X, y)
        np.testing.assert_array_equal(model.coef_, full.coef_)


def test_a_fit_is_reproducible_whatever_n_jobs():
    """random_state decides; threads change rounding only."""
    X, y = clouds(50, 5, 3000)
    model = sampled().fit(X, y)
    np.testing.assert_array_equal(model.coef_, sampled().fit(X, y).coef_)
    other = sampled().set_params(n_jobs=2).fit(X, y)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-6, atol=1e-9)
    assert np.abs(model.coef_ - sampled().set_params(random_state=1).fit(X, y).coef_).max() > 1e-6


def test_weights_count_beside_each_other_and_C():
    """Weights a thousand times as large, and C as much smaller, make no difference."""
    X, y = clouds(30, 4, 600)
    w = np.random.default_rng(0).uniform(0.1, 3, 600)
    model = sampled(n_candidates=5).fit(X, y, sample_weight=w)
    heavy = sampled(n_candidates=5).set_params(C=1e-3).fit(X, y, sample_weight=1e3 * w)
    np.testing.assert_allclose(model.coef_, heavy.coef_, rtol=1e-8)
    even = sampled(n_candidates=5).fit(X, y)
    assert np.abs(model.coef_ - even.coef_).max() > 1e-3 * np.abs(even.coef_).max()


@pytest.mark.filterwarnings("ignore:SoftmaxRegression did not converge")
def test_a_strong_penalty_is_followed_by_classes_that_are_hardly_ever_candidates():
    """C=1e-9 leaves nothing of the coefficients of an earlier fit, and nothing overflows."""
    X, y = clouds(300, 4, 900)
    X /= np.abs(X).max(axis=0)
    model = sampled(n_candidates=2, batch_size=10).set_params(warm_start=True).fit(X, y)
    assert np.abs(model.coef_).max() > 1
    model.set_params(C=1e-9).fit(X, y)
    assert np.abs(model.coef_).max() < 1e-2


@pytest.mark.filterwarnings("ignore:SoftmaxRegression did not converge")
def test_no_class_is_overturned_by_standing_for_many():
    """A single candidate of 300 classes, seen by rows that tell nothing: F stays near log K."""
    X, y = np.random.default_rng(0).standard_normal((900, 4)), np.arange(900) % 300
    loss = sampled(n_candidates=1, n_epochs=20).set_params(C=1e-6).fit(X, y).loss_curve_
    assert loss.max() < np.log(300) + 1


def test_a_row_of_enormous_leverage_does_not_overturn_the_rest():
    """One value a million times as large as the others of its column."""
    X, y = clouds(100, 8, 3000)
    expected = sampled().fit(X[:2000], y[:2000]).score(X[2000:], y[2000:])
    X[0, 0] *= 1e6
    rest = sampled().set_params(penalty_factor=[1] * 8).fit(X[:2000], y[:2000])
    without = sampled().fit(X[1:2000, 1:], y[1:2000])
    least = without.score(X[2000:, 1:], y[2000:]) - 0.1
    assert expected > rest.score(X[2000:], y[2000:]) - 0.02
    assert rest.score(X[2000:], y[2000:]) > least


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_precision_and_storage_of_X_make_little_difference(make, dtype):
    """Accuracy is that of a dense X in double precision, which coefficients always have."""
    X, y = clouds(60, 8, 3000, noise=0.7)
    X /= np.abs(X).max(axis=0)
    expected = sampled(n_epochs=10).fit(X[:2000], y[:2000]).score(X[2000:], y[2000:])
    stored = make(X.astype(dtype))
    model = sampled(n_epochs=10).fit(stored[:2000], y[:2000])
    assert model.coef_.dtype == np.float64
    assert model.score(stored[2000:], y[2000:]) > expected - 0.05


def test_offsets_are_part_of_the_scores():
    """Candidates see their own columns of the offset, which is worth that much in the loss."""
    X, y = clouds(40, 3, 400)
    offset = 4.0 * (y[:, None] == np.arange(40))
    model = sampled(n_candidates=4).fit(X, y, offset=offset)
    assert model.objective_ < np.log1p(39 * np.exp(-4)) < 0.5 * sampled().fit(X, y).objective_
    P = model.predict_log_proba(X, offset)[np.arange(400), y]
    F = -P.mean() + (model.coef_**2).sum() / 800
    assert model.objective_ == pytest.approx(F, rel=0.2)


def test_early_stopping_keeps_the_best_epoch():
    """The curve of the held-out rows is over all classes, and ends where it does not fall."""
    X, y = clouds(40, 3, 2000)
    model = sampled(early_stopping=True, n_epochs=60, n_iter_no_change=2, n_candidates=10, tol=0.05)
    model = model.fit(X, y)
    assert model.validation_curve_.shape == model.loss_curve_.shape == (*model.n_iter_,)
    assert 2 < model.n_iter_ < 60


def test_streams_and_chunks_learn_from_candidates():
    """partial_fit and fit_chunks come to the accuracy of fit."""
    X, y = clouds(60, 8, 4000, noise=0.7)
    expected = sampled().fit(X[:3000], y[:3000]).score(X[3000:], y[3000:])
    chunks = [(X[a : a + 500], y[a : a + 500]) for a in range(0, 3000, 500)]
    chunked = sampled().fit_chunks(chunks)
    stream = sampled()
    for _ in range(5):
        for chunk in chunks:
            stream.partial_fit(*chunk, classes=np.arange(60))
    for model in (chunked, stream):
        assert model.score(X[3000:], y[3000:]) > expected - 0.05
    assert stream.loss_curve_.shape == (30,)
    assert stream.loss_curve_[-1] < 0.5 * stream.loss_curve_[0]


def test_a_stream_may_change_between_candidates_and_all_classes():
    """What the one has learned of the data serves the other."""
    X, y = clouds(30, 5, 1200, noise=0.5)
    model = sampled(n_candidates=5)
    for count in (5, None, 5):
        model.set_params(solver=MiniBatch(n_candidates=count))
        model.partial_fit(X, y, classes=np.arange(30))
    assert model.score(X, y) > 0.5
    assert np.isfinite(model.coef_).all()


def test_no_matrix_of_rows_and_classes_is_held():
    """A fit with candidates, and the best classes after it, take far less memory than n x K."""
    X, y = clouds(4000, 4, 8000)
    model, whole = sampled(n_epochs=1, n_candidates=50), 8000 * 4000 * 8
    tracemalloc.start()
    model.fit(X, y)
    fit = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    model.predict_top_k(X, 3)
    best = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit < whole / 5
    assert best < whole / 3


def test_passes_over_all_classes_hold_the_scores_of_a_block_of_rows():
    """Blocks of 100,000 classes have few rows."""
    with Threads(1) as threads:
        codes, coordinates = np.arange(2000), Coordinates.raw(2, True)
        X = np.random.default_rng(0).standard_normal((2000, 2))
        rows = memory_rows(X, ClassTargets(codes, 20_000), None, None, coordinates, threads)
        penalty = Ridge.from_C(np.ones(1), np.ones(2))
        objective = Objective.in_working_coordinates(Softmax(), rows, penalty)
        tracemalloc.start()
        objective.value_and_gradient(objective.null())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2000 * 20_000 * 8 / 3


# ---- Parameters ---------------------------------------------------------------------------------


def test_candidates_are_parameters_like_any_other():
    """clone, set_params and grid search know n_candidates and proposal."""
    X, y = clouds(20, 4, 300)
    model = clone(sampled(proposal="uniform"))
    assert model.get_params()["solver"].proposal == "uniform"
    pipe = make_pipeline(StandardScaler(), sampled(n_epochs=2))
    solvers = [MiniBatch(n_epochs=2, n_candidates=n) for n in (2, 10)]
    search = GridSearchCV(pipe, {"softmaxregression__solver": solvers}, cv=2).fit(X, y)
    assert search.best_params_["softmaxregression__solver"].n_candidates in (2, 10)
    assert repr(MiniBatch(n_candidates=9)) == "MiniBatch(n_candidates=9)"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_candidates": 0}, "n_candidates=0 must be an integer >= 1, or None"),
        ({"n_candidates": 2.5}, "n_candidates=2.5 must be"),
        ({"n_candidates": "auto"}, "n_candidates='auto' must be"),
        ({"proposal": "zipf"}, "proposal='zipf' must be one of 'log-uniform', 'uniform'"),
        ({"proposal": None}, "proposal=None must be one of"),
    ],
)
def test_wrong_parameters_are_named(settings, words):
    """The message has parameter, value and what it must be; the estimator stays unfitted."""
    X, y = clouds(30, 3, 90)
    model = sampled(**settings)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)
    with pytest.raises(ValueError, match=words):
        model.partial_fit(X, y, classes=np.arange(30))
    assert not hasattr(model, "coef_")


def test_candidates_need_one_of_several_classes():
    """Labels, two classes, probabilities and smoothing have no others to leave out."""
    X, y = clouds(30, 3, 90)
    solver, P = (
        MiniBatch(n_candidates=5),
        softmax(np.random.default_rng(0).random((90, 30)), axis=1),
    )
    for model, target in (
        (SigmoidRegression(solver=solver), np.eye(30)[y]),
        (SigmoidRegression(solver=solver), y),
        (SoftmaxRegression(solver=solver), y > 12),
        (SoftmaxRegression(solver=solver), P),
        (SoftmaxRegression(solver=solver, label_smoothing=0.1), y),
    ):
        with pytest.raises(ValueError, match="n_candidates.* leave "):
            model.fit(X, target)
        assert not hasattr(model, "coef_")


# ---- The best k ---------------------------------------------------------------------------------


def brute_force(P, k):
    """Places of the k largest values of each row, of equal ones the first."""
    return np.argsort(-P, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_best_classes_are_those_of_predict_proba(make):
    """Best first, with offsets, for every k, named by `classes_`."""
    X, y = clouds(7, 3, 200)
    X, names = make(X), np.array(list("ABCDEFG"))
    model, offset = SoftmaxRegression().fit(X, names[y]), np.random.default_rng(0).random((200, 7))
    for k in range(1, 8):
        order = brute_force(model.predict_proba(X, offset), k)
        np.testing.assert_array_equal(model.predict_top_k(X, k, offset), names[order])
    np.testing.assert_array_equal(model.predict_top_k(X, 1)[:, 0], model.predict(X))


def test_the_best_labels_are_those_of_predict_proba():
    """Of several labels at once, of one label, and of the classes of a one-vs-rest model."""
    X, y = clouds(5, 3, 200)
    for target in (np.eye(5)[y] + np.eye(5)[y[::-1]] > 0, y, sp.csr_array(np.eye(5)[y][:, :1])):
        model = SigmoidRegression().fit(X, target)
        P = model.predict_proba(X)
        k = min(3, P.shape[1])
        best = model.predict_top_k(X, k)
        np.testing.assert_array_equal(best, model.classes_[brute_force(P, k)])


@pytest.mark.parametrize("estimator", [SoftmaxRegression, SigmoidRegression])
def test_two_classes_have_a_best_and_a_second(estimator):
    """The first is that of predict; offsets have the shape of decision_function."""
    X, y = clouds(2, 3, 100)
    model, offset = estimator().fit(X, y), np.linspace(-3, 3, 100)
    best = model.predict_top_k(X, 2, offset)
    np.testing.assert_array_equal(best[:, 0], model.predict(X, offset))
    np.testing.assert_array_equal(best.sum(axis=1), 1)


def test_of_equal_scores_the_first_class_comes_first():
    """Whole rows of ties, and ties that k cuts through."""
    model = SoftmaxRegression().fit(*clouds(5, 2, 50))
    model.coef_, model.intercept_ = np.zeros((5, 2)), np.array([1.0, 2, 1, 2, 1])
    expected = [[1, 3, 0, 2, 4]] * 3
    for k in range(1, 6):
        np.testing.assert_array_equal(
            model.predict_top_k(np.ones((3, 2)), k), np.array(expected)[:, :k]
        )


@pytest.mark.parametrize("k", [0, 7, -1, 2.0, "3", None, True])
def test_k_must_be_a_number_of_classes(k):
    """The message says how many there are."""
    model = SoftmaxRegression().fit(*clouds(6, 3, 100))
    with pytest.raises(ValueError, match="k=.* must be an integer from 1 to 6"):
        model.predict_top_k(np.ones((2, 3)), k)


def test_the_best_classes_ask_for_a_fit_and_matching_arguments():
    """As `predict` does."""
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict_top_k(np.ones((2, 3)), 1)
    model = SoftmaxRegression().fit(*clouds(6, 3, 100))
    with pytest.raises(ValueError, match="features"):
        model.predict_top_k(np.ones((2, 4)), 1)
    with pytest.raises(ValueError, match="offset"):
        model.predict_top_k(np.ones((2, 3)), 1, offset=np.ones((2, 5)))
    assert log_softmax(model.decision_function(np.ones((2, 3))), axis=1).shape == (2, 6)


def test_candidates_learn_the_same_from_a_matrix_of_single_ones_as_from_its_classes():
    """Targets of probability one are one class a row, which is all that candidates ask for."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), np.arange(300) % 10
    models = [
        SoftmaxRegression(
            solver=MiniBatch(n_candidates=3, n_epochs=2, early_stopping=False), random_state=0
        ).fit(X, targets)
        for targets in (y, np.eye(10)[y])
    ]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


def test_a_stream_may_begin_with_all_classes_and_go_on_with_candidates():
    """What all classes have shown of the columns serves the steps over candidates."""
    rng = np.random.default_rng(0)
    means, y = 3 * rng.standard_normal((30, 5)), np.arange(1200) % 30
    X = (means[y] + 0.5 * rng.standard_normal((1200, 5))) * 10.0 ** np.arange(-2, 3)
    model = SoftmaxRegression(random_state=0)
    for count in (None, 5, None, 5):
        model.set_params(solver=MiniBatch(n_candidates=count))
        model.partial_fit(X, y, classes=np.arange(30))
    assert model.score(X, y) > 0.8
