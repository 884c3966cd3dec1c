"""Dask collections: the fit of all rows, wherever they are, and what becomes of clusters that fail.

Two worker processes are started once for the module, and closed by it.
"""

import gc
import math
import os
import pickle
import signal
import threading
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from chunked import assert_same_fit
from problems import one_hot, optimum, overlapping
from sklearn.base import clone

from softreg import (
    SigmoidRegression,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    inference,
    regularization_path,
)
from softreg._encoding.clusters.placement import (
    GROUP_ROWS,
    Piece,
    PlacedPartitions,
    groups_of,
    placed,
)
from softreg._estimators.posing import opened_sample, read_sample
from softreg._model.block_kernels import CurvatureProduct, LossHessian
from softreg._model.links import Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.arrays import ExactSum
from softreg._rows.clusters.shelf import Seen, Shelf, sum_on_shelf
from softreg._rows.threads import Limits, Threads
from softreg.solvers import LBFGS, MiniBatch
from softreg.solvers.linalg.metrics import ChanceByLeverage

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

# Partitions of 3,000 rows: four make a group, so that there are three of these on two workers.
ROWS, N = 3_000, 27_000
X, y = overlapping(n=N, K=3)
NAMES = np.array(["ash", "birch", "cedar"])
RNG = np.random.default_rng(4)
WEIGHT = RNG.uniform(0.1, 3, N) * (RNG.random(N) < 0.9)
OFFSET = RNG.normal(size=(N, 3))
SHARES = 0.8 * one_hot(y) + 0.2 * RNG.dirichlet(np.ones(3), N)
ZEROS = X * (RNG.random(X.shape) < 0.3)
LABELS = (X @ RNG.normal(size=(4, 3)) + RNG.logistic(size=(N, 3)) > 0.5) * 1.0
UNKNOWN = np.where(RNG.random(LABELS.shape) < 0.1, np.nan, LABELS)
FRAME = pd.DataFrame(X, columns=list("abcd"))


def two_processes():
    return distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processes of one thread each."""
    with two_processes() as own:
        yield own


@pytest.fixture
def client(cluster):
    """The current client of two workers, on which nothing is left afterwards."""
    with distributed.Client(cluster) as client:
        yield client
        assert_nothing_left(client)


@pytest.fixture
def mortal_client():
    """One as `client`, of workers that may die: a cluster whose nannies give up is no other's."""
    with two_processes() as own, distributed.Client(own) as client:
        yield client
        assert_nothing_left(client)


def assert_nothing_left(client):
    """Workers hold no data, the scheduler knows no task; it may take them a moment."""
    gc.collect()  # of tracebacks, which refer to futures of the user's
    for _ in range(100):
        kept = client.run(lambda dask_worker: list(dask_worker.data))
        tasks = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
        if not (any(kept.values()) or tasks):
            return
        time.sleep(0.05)
    raise AssertionError(f"left: {kept}, {tasks}")


def array(values, rows=ROWS):
    return da.from_array(values, chunks=(rows, *np.shape(values)[1:]))


def frame(values, partitions=9):
    return dd.from_pandas(values, npartitions=partitions)


def of_unknown_sizes(values):
    return array(values)[array(np.ones(N, dtype=bool))]


def csr(values):
    return array(values).map_blocks(sp.csr_array, meta=sp.csr_array((0, 0)))


# ---- The same optimum, wherever the rows are ----------------------------------------------------

LASSO = {"l1_ratio": 1, "standardize": True, "C": 0.01}
# The model, the arguments of fit in Dask's collections, and in memory.
CASES = {
    "array": (SoftmaxRegression(), (array(X), array(y)), (X, y)),
    "columns in chunks": (
        SoftmaxRegression(solver="lbfgs"),
        (da.from_array(X, chunks=(2_500, 3)), array(y)),
        (X, y),
    ),
    "single precision": (
        SoftmaxRegression(solver="lbfgs"),
        (array(X.astype(np.float32)), array(y)),
        (X.astype(np.float32), y),
    ),
    "frame of texts": (
        SoftmaxRegression(class_weight="balanced"),
        (frame(FRAME), frame(pd.Series(NAMES[y]))),
        (FRAME, NAMES[y]),
    ),
    "frame of a column": (
        SoftmaxRegression(solver="newton"),
        (frame(FRAME), frame(pd.DataFrame({"y": y}))),
        (FRAME, y),
    ),
    "weights and offset": (
        SoftmaxRegression(standardize=True),
        (array(X), array(y), array(WEIGHT), array(OFFSET)),
        (X, y, WEIGHT, OFFSET),
    ),
    "two classes": (
        SoftmaxRegression(C=np.inf),
        (array(X), array(y == 1), array(WEIGHT), array(OFFSET[:, 0])),
        (X, y == 1, WEIGHT, OFFSET[:, 0]),
    ),
    "shares": (SoftmaxRegression(), (array(X), array(SHARES)), (X, SHARES)),
    "unknown sizes": (
        SoftmaxRegression(fit_intercept=False),
        (of_unknown_sizes(X), of_unknown_sizes(y), 2.0),
        (X, y, 2.0),
    ),
    "CSR": (
        SoftmaxRegression(solver="lbfgs"),
        (csr(ZEROS), array(y), array(WEIGHT)),
        (sp.csr_array(ZEROS), y, WEIGHT),
    ),
    "lasso": (
        SoftmaxRegression(**LASSO),
        (array(X), array(y), array(WEIGHT)),
        (X, y, WEIGHT),
    ),
    "groups of CSR": (
        SoftmaxRegression(l1_groups="feature", **LASSO),
        (csr(ZEROS), array(y)),
        (sp.csr_array(ZEROS), y),
    ),
    "labels": (SigmoidRegression(), (array(X), array(UNKNOWN)), (X, UNKNOWN)),
    "weights of labels": (
        SigmoidRegression(),
        (array(X), csr(LABELS), array(OFFSET**2)),
        (X, sp.csr_array(LABELS), OFFSET**2),
    ),
    "one against the rest": (
        SigmoidRegression(**LASSO),
        (array(X), array(y), array(WEIGHT), array(OFFSET)),
        (X, y, WEIGHT, OFFSET),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_fit_on_workers_is_that_in_memory(client, name):
    """The optimum, its proof and the fitted attributes do not depend on where the rows are."""
    model, collections, arrays = CASES[name]
    on_workers = type(model)(**model.get_params(deep=False)).fit(*collections)
    in_memory = type(model)(**model.get_params(deep=False)).fit(*arrays)
    assert_same_fit(on_workers, in_memory)
    assert on_workers.proven_ == in_memory.proven_
    assert on_workers.n_samples_seen_ == in_memory.n_samples_seen_
    np.testing.assert_allclose(on_workers.class_prior_, in_memory.class_prior_, rtol=1e-12)


def test_the_fit_on_workers_is_the_optimum_of_another_program(client):
    """F is within its certificate of the optimum that plain NumPy finds."""
    model = SoftmaxRegression().fit(array(X), array(y), array(WEIGHT))
    best = optimum(X, one_hot(y), sample_weight=WEIGHT)
    assert -1e-12 <= model.objective_ - best.objective <= model.optimality_gap_ <= 1e-8
    np.testing.assert_allclose(model.coef_, best.coef, atol=1e-4)


@pytest.mark.parametrize("name", ["frame of texts", "CSR", "weights and offset", "labels"])
def test_without_a_client_the_rows_come_to_memory(name):
    """Dask's default scheduler computes them, and the fit is that without Dask."""
    model, collections, arrays = CASES[name]
    from_dask = type(model)(**model.get_params(deep=False)).fit(*collections)
    in_memory = type(model)(**model.get_params(deep=False)).fit(*arrays)
    np.testing.assert_allclose(from_dask.coef_, in_memory.coef_, rtol=1e-12)
    np.testing.assert_array_equal(from_dask.classes_, in_memory.classes_)


def test_a_client_need_not_be_the_global_one(cluster):
    """`with client.as_current()` says where the rows are."""
    with distributed.Client(cluster, set_as_default=False) as client:
        with client.as_current():
            model = SoftmaxRegression().fit(array(X), array(y))
        assert_nothing_left(client)
    assert model.converged_


def _coefficients(_number):
    return SoftmaxRegression().fit(array(X), array(y)).coef_


def test_fits_in_tasks_leave_their_threads_to_others(client):
    """As many fits as there are threads, each within a task, do not wait for each other."""
    expected = SoftmaxRegression().fit(X, y).coef_
    for inside in client.map(_coefficients, range(2), pure=False):
        np.testing.assert_allclose(inside.result(timeout=120), expected, rtol=1e-9)


def test_bits_do_not_depend_on_the_workers(cluster):
    """Two processes, three threads and ten workers: the same partitions, the same coefficients."""
    fits, many = [], np.tile(X.astype(np.float32), (4, 1))
    # Eleven groups, so that on ten workers there are as many sums as are added up in two steps.
    data = [array(values, 10_000) for values in (many, np.tile(y, 4), np.tile(WEIGHT, 4))]
    options = {"processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=3, **options) as threads,
        distributed.LocalCluster(n_workers=10, threads_per_worker=1, **options) as workers,
    ):
        for own in (cluster, threads, workers):
            with distributed.Client(own):
                one = SoftmaxRegression(solver="lbfgs").fit(*data)
                other = SigmoidRegression(**LASSO).fit(csr(ZEROS), array(LABELS))
            fits.append(
                (one.objective_, other.objective_, one.coef_.tolist(), other.coef_.tolist())
            )
    assert fits[0] == fits[1] == fits[2]


def test_tiny_and_empty_partitions_make_no_difference(client):
    """Rows may lie in partitions of any size, also of none."""
    few = slice(0, 2_000)
    cuts = (0, 1, 999, 0, 3, 997, 0)
    parts = [da.from_array(values[few], chunks=(cuts, *values.shape[1:])) for values in (X, y)]
    assert_same_fit(SoftmaxRegression().fit(*parts), SoftmaxRegression().fit(X[few], y[few]))


def test_columns_of_parquet_files_keep_their_partitions(client, tmp_path):
    """Dask would read a narrow column from several files at a time, and a wide table from one."""
    pytest.importorskip("pyarrow")
    wide = pd.DataFrame(np.tile(X[:1_200], 8)).rename(columns=str).assign(y=y[:1_200])
    for start in range(0, 1_200, 50):
        wide[start : start + 50].to_parquet(tmp_path / f"{start:04}.parquet")
    table = dd.read_parquet(tmp_path)
    columns, classes = table.drop(columns="y"), table["y"]
    assert classes.optimize().npartitions < table.npartitions == 24
    model = SoftmaxRegression().fit(columns, classes)
    assert_same_fit(model, SoftmaxRegression().fit(wide.drop(columns="y"), wide["y"]))
    score = model.score(wide.drop(columns="y"), wide["y"])
    assert model.score(columns, classes) == pytest.approx(score)
    found = columns.assign(found=model.predict(columns)).compute()
    assert (found["found"] == wide["y"]).mean() == pytest.approx(score)


@pytest.mark.parametrize("name", ["array", "weights and offset", "two classes", "labels"])
@pytest.mark.parametrize("covariance", ["hessian", "sandwich"])
def test_standard_errors_on_workers_are_those_in_memory(client, name, covariance):
    """The information and the gradients' products are sums over rows, wherever these are."""
    model, given, in_memory = CASES[name]
    model = clone(model).fit(*in_memory)
    names = "sample_weight", "offset"
    found, expected = (
        inference.infer(
            model, *rows[:2], covariance=covariance, **dict(zip(names, rows[2:], strict=False))
        )
        for rows in (given, in_memory)
    )
    assert str(found) == str(expected)


def test_covariances_of_groups_need_rows_in_memory(client):
    """The error says so, and the remedy."""
    model = SoftmaxRegression().fit(X, y)
    for options in ({"covariance": "bootstrap"}, {"covariance": "cluster", "groups": y}):
        with pytest.raises(ValueError, match="needs all rows in memory.* pass X and y as arrays"):
            inference.infer(model, array(X), array(y), **options)


def test_a_path_on_workers_is_that_in_memory(client):
    """Every point has the same optimum and its proof."""
    for estimator in (None, SoftmaxRegression(l1_ratio=0.5, standardize=True)):
        one = regularization_path(array(X), array(y), 4, estimator=estimator)
        other = regularization_path(X, y, 4, estimator=estimator)
        np.testing.assert_allclose(one.objective, other.objective, rtol=1e-8)
        assert one.proven.all()


def test_mini_batches_and_early_stopping_take_rows_from_workers(client):
    """The optimum is as near as in memory, and the rows held out are a tenth of each class."""
    solver = MiniBatch(n_epochs=5)
    in_memory = SoftmaxRegression().fit(X, y).objective_
    for configured in (solver, replace(solver, early_stopping=True)):
        model = SoftmaxRegression(solver=configured, random_state=0).fit(array(X), array(y))
        assert model.objective_ == pytest.approx(in_memory, rel=1e-3)
    assert len(model.validation_curve_) == 5


def test_a_warm_start_goes_on_from_the_last_fit(client):
    """With the optimum as its start, a fit on workers ends in fewer iterations."""
    model = SoftmaxRegression(warm_start=True, solver="lbfgs").fit(array(X), array(y))
    first = model.n_iter_[0]
    assert model.fit(array(X), array(y)).n_iter_[0] < first


# ---- Sums and groups ----------------------------------------------------------------------------


def test_exact_sums_are_those_of_fsum_in_any_order():
    """However terms are ordered, and divided among sums that merge, the bits are the same."""
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(200, 4)) * 10.0 ** rng.integers(-8, 8, size=(200, 4))
    terms = np.concatenate([terms, -terms[:150], [[1, 1e-30, 1e300, 0]]])
    expected = [math.fsum(column) for column in terms.T]
    for _ in range(20):
        total, parts = ExactSum(), [ExactSum() for _ in range(3)]
        for term, part in zip(
            rng.permutation(terms), rng.integers(3, size=len(terms)), strict=True
        ):
            parts[part].add((term, term[0]))
        for part in parts:
            total.merge(pickle.loads(pickle.dumps(part)))
        vector, number = total.rounded()
        np.testing.assert_array_equal(vector, expected)
        assert number == expected[0]


def test_exact_sums_keep_infinity_and_nan():
    """A sum that overflows says so."""
    total = ExactSum()
    for term in ([np.inf, np.nan, 1e308, -np.inf], [1.0, 1.0, 1e308, 1.0]):
        total.add((np.array(term),))
    np.testing.assert_array_equal(total.rounded()[0], [np.inf, np.nan, np.inf, -np.inf])


@dataclass(frozen=True)
class Padded:
    """A kernel with a lot to say, or little, that ends some processes."""

    padding: np.ndarray
    doomed: tuple = ()

    def __call__(self, block):
        if os.getpid() in self.doomed:
            os._exit(1)
        return len(block.weights()), block.features().sum(axis=0)


def test_large_messages_are_sent_apart_from_the_tasks(mortal_client):
    """Sums are the same whatever a kernel weighs, also if all die to whom it was sent."""
    model, data = SoftmaxRegression(), (array(X), array(y), array(WEIGHT), None)
    doomed = tuple(mortal_client.run(os.getpid).values())
    with Threads(1) as threads, opened_sample(model, *data) as (sample, _):
        rows = sample.rows(True, threads)
        for kernel in (Padded(np.zeros(0)), Padded(np.zeros(2**20), doomed)):
            n, sums = rows.sum(kernel)
            assert n == (WEIGHT > 0).sum()
            np.testing.assert_allclose(sums[:-1], X[WEIGHT > 0].sum(axis=0), rtol=1e-12)
    assert not set(doomed) & set(mortal_client.run(os.getpid).values())


def one_each(block):
    return np.ones(block.features().shape[0])


DRAWN = "CSR", "weights and offset", "shares", "labels", "weights of labels"


@pytest.mark.parametrize("name", DRAWN)
def test_rows_that_are_drawn_come_to_memory_if_they_are_few(client, name):
    """They are the same wherever they are, and where chances are one all rows, in order."""
    model, collections, arrays = CASES[name]
    pad = [None] * (4 - len(arrays))
    sure, even = ChanceByLeverage(10**9, N), ChanceByLeverage(N // 9, N)
    threads, no_room = Threads(1), Threads(1, Limits(value_budget=0))
    with threads, no_room, opened_sample(model, *collections, *pad) as (sample, _):
        link, penalty = sample.encoding.link, Ridge(np.ones((4, 1)))
        objective = Objective.in_working_coordinates(link, sample.rows(True, threads), penalty)
        whole = read_sample(model, *arrays, *pad)[0].rows(True, threads)
        whole = whole.take_rows(whole.places).replaced(coordinates=objective.rows.coordinates)
        drawn, few = (objective.rows.sampled(one_each, chance) for chance in (sure, even))
        many = objective.rows.replaced(threads=no_room).sampled(one_each, even)
        T = np.random.default_rng(0).normal(size=objective.shape)
        sums = [
            replace(objective, rows=rows).value_and_gradient(T)
            for rows in (drawn, whole, few, many)
        ]
    assert drawn.in_memory and few.in_memory and not many.in_memory
    assert drawn.n == whole.n and 0 < few.n == many.n < whole.n / 4
    np.testing.assert_array_equal(*(rows.X @ np.eye(4) for rows in (drawn, whole)))
    for (loss, gradient), (expected_loss, expected) in (sums[:2], sums[2:]):
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected, atol=1e-12 * np.abs(expected).max())


SHELVED = {
    "single precision": X.astype(np.float32),
    "double precision": X,
    "far from zero": X + 1e7,
    "CSR": sp.csr_array(ZEROS),
}


@pytest.mark.parametrize("name", SHELVED)
def test_what_a_shelf_keeps_changes_no_bit(one_thread, name):
    """Sums are the same with room for everything and for nothing, on a shelf that moved, too."""
    sample, _ = read_sample(SoftmaxRegression(), SHELVED[name], y, WEIGHT, OFFSET)
    raw = sample.rows(True, one_thread)
    coordinates, T = raw.standardised().coordinates, RNG.normal(size=(5, 3)).astype(raw.dtype)
    lean = Shelf({0: raw, 1: raw.take_rows(np.arange(99))}, Limits(), 0)
    rich = Shelf(lean.groups, Limits(), 1e9)
    for dtype, temperature in ((raw.dtype, 1), (np.float32, 2), (raw.dtype, 1)):
        seen = Seen(coordinates, np.dtype(dtype), None, None, temperature)
        U = T.astype(dtype)
        for kernel in (CurvatureProduct(Softmax(), U, U, "here"), LossHessian(Softmax(), U)):
            message = pickle.dumps((kernel, seen))
            shelves = lean, rich, pickle.loads(pickle.dumps(rich))
            sums = [sum_on_shelf(shelf, message).rounded()[0] for shelf in shelves]
            np.testing.assert_array_equal(sums[0], sums[1])
            np.testing.assert_array_equal(sums[0], sums[2])
    view, _ = rich.view(seen).groups.values()
    assert bool(view._blocks) == (name != "double precision")


def test_arrays_are_aligned_wherever_they_arrive(one_thread):
    """Dask hands out views of its buffers; BLAS takes no arrays that begin between two doubles."""
    sample, _ = read_sample(SoftmaxRegression(), X, y, WEIGHT, OFFSET)
    buffers = []
    shelf = Shelf({0: sample.rows(True, one_thread)}, Limits(), 0)
    sent = pickle.dumps(shelf, protocol=5, buffer_callback=buffers.append)
    moved = [memoryview(b"1234" + bytes(buffer))[4:] for buffer in buffers]
    rows = pickle.loads(sent, buffers=moved).groups[0]
    assert all(values.flags.aligned for values in (rows.X, rows.weight, rows.offset, rows.Y.codes))


def test_groups_are_neighbours_that_have_enough_rows():
    """Thousands of tiny partitions become few groups, a large one several; all rows are there."""
    n_rows = dict.fromkeys(range(1_000), 100) | {1_000: 250_000, 1_001: 5}
    groups = groups_of(n_rows)
    pieces = [piece for group in groups for piece in group]
    assert pieces[:1_000] == [(number, slice(0, 100)) for number in range(1_000)]
    assert [piece.rows.start for piece in pieces[1_000:]] == [0, 83_333, 166_666, 0]
    assert pieces[-2].rows.stop == 250_000 and len(groups) == 14
    assert len(groups[0]) == GROUP_ROWS // 100 and len(groups[10]) == 1


def test_groups_lie_where_their_rows_are_unless_others_have_nothing_to_do():
    """Data that are spread evenly do not move; those of one worker are shared out."""
    groups = [[Piece(at, slice(0, 10))] for at in range(8)]
    even = placed(groups, {at: "ab"[at % 2] for at in range(8)}, {"a": 1, "b": 1})
    assert even == {"a": [0, 2, 4, 6], "b": [1, 3, 5, 7]}
    uneven = placed(groups, dict.fromkeys(range(8), "a"), {"a": 1, "b": 3})
    assert {worker: len(own) for worker, own in uneven.items()} == {"a": 2, "b": 6}
    after_a_loss = placed(groups, dict.fromkeys(range(8), "c"), {"a": 1, "b": 1})
    assert sorted(map(len, after_a_loss.values())) == [4, 4]


# ---- Predictions --------------------------------------------------------------------------------

METHODS = ["decision_function", "predict", "predict_proba", "predict_log_proba", "predict_top_k"]


@pytest.mark.parametrize("method", METHODS)
def test_predictions_are_lazy_and_those_in_memory(method):
    """They have X's partitions and say their shape and dtype before anything is computed."""
    options = {"k": 2} if method == "predict_top_k" else {}
    model = SoftmaxRegression().fit(X[:500], NAMES[y[:500]])
    for kind in (array, csr, of_unknown_sizes):
        lazy = getattr(model, method)(kind(X), offset=array(OFFSET), **options)
        expected = getattr(model, method)(X, offset=OFFSET, **options)
        assert lazy.numblocks[0] == N // ROWS and lazy.dtype == expected.dtype
        assert lazy.shape[1:] == expected.shape[1:]
        np.testing.assert_allclose(lazy.compute(), expected) if expected.dtype.kind == "f" else (
            np.testing.assert_array_equal(lazy.compute(), expected)
        )


@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_frames_are_frames_of_the_same_index(method):
    """So that they can be assigned to the frame, and written beside it."""
    options = {"k": 2} if method == "predict_top_k" else {}
    table = FRAME.set_index(np.arange(N) * 2 + 7)
    model = SoftmaxRegression().fit(FRAME, NAMES[y])
    lazy = getattr(model, method)(frame(table), **options)
    found, expected = lazy.compute(), getattr(model, method)(FRAME, **options)
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert found.index.equals(table.index) and lazy.npartitions == 9
    if expected.ndim == 1:
        assigned = frame(table).assign(tree=lazy).compute()
        assert (assigned["tree"] == expected).all()
        assert lazy._meta.dtype == found.dtype
    else:
        assert list(lazy.columns) == ([0, 1] if options else list(NAMES))


def test_predictions_compute_nothing_before_they_are_asked_for():
    """Partitions that cannot be made raise their error in `compute`, not in `predict`."""
    model = SoftmaxRegression().fit(X[:100], y[:100])
    broken = array(X).map_blocks(_fails, dtype=float, meta=np.empty((0, 4)))
    lazy = model.predict_proba(broken)
    with pytest.raises(OSError, match="disk"):
        lazy.compute()
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict_proba(broken[:, :3])


def _fails(_block):
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ((dask.delayed(X),), ValueError, "X is a dask Delayed.*; it must be a Dask DataFrame"),
        ((array(X[:, 0]),), ValueError, r"X is a dask Array of 1 dimension\(s\)"),
        ((array(X)[:, array(X[0] < np.inf)],), ValueError, "an unknown number of columns"),
        ((array(X), OFFSET), TypeError, "offset is a numpy ndarray and X a dask Array: pass"),
        ((frame(FRAME), OFFSET), TypeError, "offset is a numpy ndarray and X a dask DataFrame"),
        ((frame(FRAME), array(OFFSET, N)), ValueError, "X has 9 partitions and offset has 1"),
        (
            (frame(FRAME), frame(pd.DataFrame(OFFSET, FRAME.index + 1))),
            ValueError,
            "offset has other rows than X, or in another order",
        ),
    ],
)
def test_what_cannot_be_predicted_is_told(data, kind, message):
    """The error names the argument, whether it shows at once or in `compute`."""
    known = X if hasattr(data[0], "chunks") else FRAME
    model = SoftmaxRegression().fit(known[:500], y[:500])
    with pytest.raises(kind, match=message):
        model.decision_function(*data).compute()


def test_offsets_in_arrays_belong_to_the_rows_of_a_frame():
    """Whatever the index of the frame is."""
    model = SoftmaxRegression().fit(FRAME, y)
    table = frame(FRAME.set_index(np.arange(N) * 2 + 7))
    expected = model.decision_function(FRAME, OFFSET)
    for offset in (array(OFFSET), of_unknown_sizes(OFFSET)):
        np.testing.assert_array_equal(model.decision_function(table, offset).compute(), expected)


@pytest.mark.parametrize("dtypes", ["f4", "f8", "i1", {"a": "i1", "b": "f2"}, {"a": "Float32"}])
def test_predictions_have_the_precision_that_they_promise(dtypes):
    """Single if that is what the dtypes of X have in common, whatever else some columns are."""
    model = SoftmaxRegression().fit(FRAME, y)
    table = FRAME[:500].astype("f4").astype(dtypes)
    lazy = model.predict_proba(frame(table, 2))
    assert set(lazy.dtypes) == set(lazy.compute().dtypes) == {model.predict_proba(table).dtype}


def test_labels_that_were_sparse_are_predicted_as_csr():
    """A lazy array of CSR blocks."""
    model = SigmoidRegression().fit(X, sp.csr_array(LABELS))
    lazy = model.predict(array(X))
    assert sp.issparse(lazy._meta) and lazy.shape == (N, 3)
    np.testing.assert_array_equal(lazy.compute().toarray(), model.predict(X).toarray())


@pytest.mark.parametrize("name", ["frame of texts", "weights and offset", "labels", "shares"])
def test_score_computes_the_accuracy_of_all_rows(client, name):
    """It is a number, that of the same rows in memory."""
    model, collections, arrays = CASES[name]
    fitted = type(model)(**model.get_params(deep=False)).fit(*arrays)
    assert fitted.score(*collections) == pytest.approx(fitted.score(*arrays), rel=1e-13)


def test_a_score_needs_rows():
    """Partitions without any are told."""
    model = SoftmaxRegression().fit(X[:500], y[:500])
    none = array(np.zeros(N, dtype=bool))
    with pytest.raises(ValueError, match="X has no rows: all 9 partitions are empty"):
        model.score(array(X)[none], array(y)[none])


# ---- Faults -------------------------------------------------------------------------------------


@dataclass
class Disturbed(LBFGS):
    """A solver after whose first iteration something happens."""

    event: str = ""

    def minimise(self, objective, start, monitor):
        def report(T, F):
            if len(monitor.losses) == 1:
                EVENTS[self.event]()
            return False

        monitor.report = report
        return super().minimise(objective, start, monitor)


def _kill(*workers):
    """End workers, and wait until the scheduler knows."""
    client = distributed.get_client()
    client.run(_die_soon, workers=list(workers))
    while set(workers) & client.nthreads().keys():
        time.sleep(0.02)


def _kill_one():
    """End a worker that holds rows."""
    held = distributed.get_client().has_what()
    _kill(max(held, key=lambda worker: len(held[worker])))


def _kill_all():
    """End all workers; their nannies start others."""
    _kill(*distributed.get_client().nthreads())


def _die_soon(dask_worker):
    threading.Timer(0.01, os._exit, (1,)).start()


def _close_scheduler():
    cluster = distributed.get_client().cluster
    cluster.sync(cluster.scheduler.close)


def _interrupt():
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(5)


def _look():
    HOLDERS.append(distributed.get_client().has_what())


HOLDERS = []
EVENTS = {
    "look": _look,
    "nothing": lambda: None,
    "death": _kill_one,
    "deaths": _kill_all,
    "interrupt": _interrupt,
    "end": _close_scheduler,
}


def _rows_of(number, seed, n):
    rng = np.random.default_rng([seed, number] if seed is not None else None)
    return rng.normal(size=(n, 4)) + rng.integers(0, 3, size=n)[:, None]


def _drawn(seed, parts=4, n=6_000):
    """Rows that workers make, the same ones in each call of a partition if there is a seed."""
    made = [dask.delayed(_rows_of)(number, seed, n) for number in range(parts)]
    rows = da.concatenate([da.from_delayed(part, (n, 4), float) for part in made])
    return rows[:, :3], (rows[:, 3] > 1) * 1


def test_a_worker_that_dies_costs_work_and_no_bit(mortal_client):
    """Its partitions are made again, from their recipe, by the worker that lives."""
    data = _drawn(seed=3)
    quiet, disturbed = (
        SoftmaxRegression(solver=Disturbed(event=event)).fit(*data)
        for event in ("nothing", "death")
    )
    np.testing.assert_array_equal(disturbed.coef_, quiet.coef_)
    assert disturbed.proven_ and disturbed.objective_ == quiet.objective_


def test_partitions_that_are_others_when_made_again_are_found_out(mortal_client):
    """What is drawn without a seed is not what was surveyed."""
    model = SoftmaxRegression(solver=Disturbed(event="deaths"))
    with pytest.raises(ValueError, match=r"partition \d .*other values in X.*random a seed"):
        model.fit(*_drawn(seed=None))
    assert not hasattr(model, "coef_")


def test_what_was_scattered_and_lost_is_told(mortal_client):
    """The scheduler cannot make it again."""
    scattered = mortal_client.scatter([_rows_of(number, 0, 6_000) for number in range(4)])
    rows = da.concatenate(
        [da.from_delayed(dask.delayed(of), (6_000, 4), float) for of in scattered]
    )
    model = SoftmaxRegression(solver=Disturbed(event="deaths"))
    with pytest.raises(RuntimeError, match="scattered: make the collections from files"):
        model.fit(rows[:, :3], (rows[:, 3] > 1) * 1)
    for of in scattered:
        of.release()


@pytest.fixture
def interruptible():
    """Python's answer to Ctrl-C, also in jobs in the background, which shells let ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_what_runs_on_the_cluster(client, interruptible):
    """Nothing is left on the workers, and the estimator stays as it was."""
    model = SoftmaxRegression(solver=Disturbed(event="interrupt"))
    with pytest.raises(KeyboardInterrupt):
        model.fit(array(X), array(y))
    assert not hasattr(model, "coef_")


def test_a_cluster_without_workers_is_waited_for(interruptible):
    """Those that join later do the fit; Ctrl-C ends the wait, and no task is left."""
    options = {"n_workers": 0, "threads_per_worker": 1, "processes": False}
    with (
        distributed.LocalCluster(**options, dashboard_address=":0") as own,
        distributed.Client(own) as client,
    ):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            SoftmaxRegression().fit(array(X), array(y))
        assert_nothing_left(client)
        threading.Timer(0.2, own.scale, (1,)).start()
        model = SoftmaxRegression().fit(array(X), array(y))
        future = client.submit(_rows_of, 0, 0, 9)
        distributed.wait(future)
        own.scale(0)
        while client.nthreads():
            time.sleep(0.02)
        threading.Timer(0.2, own.scale, (1,)).start()
        homes = PlacedPartitions(client, {0: future}).homes
        assert homes.keys() == {0} and set(homes.values()) <= client.nthreads().keys()
    assert_same_fit(model, SoftmaxRegression().fit(X, y))


def test_a_huge_partition_is_shared_out(client):
    """In pieces, of which both workers hold some: the optimum is that in memory."""
    HOLDERS.clear()
    columns, classes = _drawn(seed=3, parts=1, n=220_000)
    model = SoftmaxRegression(solver=Disturbed(event="look")).fit(columns, classes)
    assert all(HOLDERS[0].values()) and len(HOLDERS[0]) == 2
    in_memory = SoftmaxRegression(solver=LBFGS()).fit(columns.compute(), classes.compute())
    assert_same_fit(model, in_memory)


BAD = {
    "missing": (lambda part: part.assign(b=np.nan), ValueError, "missing values in column 'b'"),
    "text": (lambda part: part.assign(b="oak"), ValueError, "text in column 'b' \\('oak'"),
    "column": (lambda part: part.drop(columns="c"), ValueError, r"columns \['c'\]"),
    "order": (lambda part: part[["b", "a", "c", "d"]], ValueError, "'b' as column 0"),
    "rows": (lambda part: part[1:], ValueError, "X has 2999 rows and y has 3000"),
    "index": (lambda part: part[::-1], ValueError, "other rows than X, or in another order"),
    "file": (_fails, OSError, "the disk is gone"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_partition_is_named(client, name):
    """The error says which partition and column, and an estimator keeps its earlier fit."""
    change, kind, message = BAD[name]
    parts = [FRAME[start : start + ROWS] for start in range(0, N, ROWS)]
    delayed = [dask.delayed(part) for part in parts]
    delayed[5] = dask.delayed(change)(delayed[5])
    table = dd.from_delayed(delayed, meta=FRAME[:0], verify_meta=False)
    classes = dd.from_delayed(
        [dask.delayed(pd.Series(y, name="y")[part.index]) for part in parts],
        meta=pd.Series(y, name="y")[:0],
    )
    model = SoftmaxRegression().fit(FRAME, y)
    before = dict(vars(model))
    with pytest.raises(kind, match=message) as caught:
        model.fit(table, classes)
    assert caught.value.__notes__ == ["In partition 5 of X and y (the first one is 0)."]
    assert vars(model) == before


def test_partitions_of_y_are_of_one_kind(client):
    """Numbers in some and texts in others are told, with the partition."""
    mixed = da.concatenate([array(y[:ROWS].astype(object)), array(NAMES[y[ROWS:]].astype(object))])
    with pytest.raises(ValueError, match="must be of one kind") as caught:
        SoftmaxRegression().fit(array(X), mixed)
    assert "partition 1" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((array(X), y), TypeError, "y is a numpy ndarray and X a dask Array: pass"),
        ((array(X), dask.delayed(y)), TypeError, "y is a dask Delayed.* and X a dask Array: pass"),
        ((array(X), array(y), array(2.0)), TypeError, "sample_weight is a dask Array and X a dask"),
        ((dask.delayed(X), array(y)), ValueError, "X is a dask Delayed.*; it must be a Dask Data"),
        ((array(X)[:, array(X[0] < np.inf)], array(y)), ValueError, "an unknown number of columns"),
        ((X, array(y)), ValueError, "X is a numpy ndarray of 2 dimension"),
        ((array(X[:, 0]), array(y)), ValueError, "must be a Dask DataFrame or 2D array"),
        ((array(X), array(y[1:])), ValueError, "X has 27000 rows and y has 26999"),
        ((frame(FRAME), frame(pd.Series(y), 5)), ValueError, "9 partitions and y has 5"),
        ((array(X[:0]), array(y[:0])), ValueError, "X has no rows"),
        ((array(X), array(np.zeros(N, int))), ValueError, "one class only"),
        ((array(X), array(y), array(-WEIGHT)), ValueError, "sample_weight must be finite and >= 0"),
        ((array(X), array(y), None, array(OFFSET[:, :2])), ValueError, "offset must have shape"),
    ],
)
def test_arguments_that_do_not_fit_each_other_are_named(client, arguments, kind, message):
    """The error says what is wrong, before any pass."""
    with pytest.raises(kind, match=message):
        SoftmaxRegression().fit(*arguments)


def test_who_takes_no_collections_says_so(client):
    """Cross-validation, streams and what needs single rows name the argument and the remedy."""
    data = array(X), array(y)
    model = SoftmaxRegression().fit(*data)
    for call in (
        SoftmaxRegressionCV().fit,
        SoftmaxRegression().partial_fit,
        partial(inference.influence, model),
        partial(inference.score_test, model, extra=X),
    ):
        with pytest.raises(TypeError, match=r"X is a dask Array.*X\.compute\(\)"):
            call(*data)


def test_a_scheduler_that_is_gone_is_told():
    """The error says whose it was, and the estimator stays as it was."""
    model = SoftmaxRegression(solver=Disturbed(event="end"))
    told = pytest.raises(ConnectionError, match="has lost its scheduler; nothing was fitted")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        options = {"processes": False, "dashboard_address": ":0"}
        own = distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options)
        with own, distributed.Client(own), told:
            model.fit(array(X), array(y))
    assert not hasattr(model, "coef_")
