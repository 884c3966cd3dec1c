"""Laws of chunks: rows that come in parts, again and again, are the rows of one array."""

import copy
import re
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from parts import ROUNDING as ROUNDS_TO
from parts import SOURCES, TARGETS, close, hold, make, step_rounding
from problems import PROBLEMS, objective, overlapping, solved

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._chunked_rows import ChunkedRows
from softreg._coordinates import Coordinates
from softreg._memory import rows_for_a_pass
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg._targets import Labels
from softreg.chunks import Arrays, Csv, NpyFiles, NpzFiles, Parquet
from softreg.solvers._product import HessianProduct

X, y = overlapping(n=150, K=3)


def parts(*arrays, rows=40, order=None):
    """The arrays in chunks of so many rows: a function that makes an iterator of tuples."""
    cuts = [slice(start, start + rows) for start in range(0, arrays[0].shape[0], rows)]
    cuts = cuts if order is None else [cuts[i] for i in order]
    return lambda: (tuple(getattr(a, "iloc", a)[cut] for a in arrays) for cut in cuts)


# ---- Chunks are one array -----------------------------------------------------------------------


def labels(seed=0):
    """A matrix of three labels that depend on X, and overlap."""
    rng = np.random.default_rng(seed)
    return (X @ rng.normal(size=(4, 3)) + rng.logistic(size=(150, 3)) > 0.5) * 1.0


def some_unknown(Y):
    return np.where(np.random.default_rng(1).random(Y.shape) < 0.2, np.nan, Y)


def probabilities():
    return 0.7 * np.eye(3)[y] + 0.3 * np.random.default_rng(2).dirichlet(np.ones(3), size=150)


NAMES = np.array(["ash", "birch", "cedar"])
WEIGHT = np.random.default_rng(3).uniform(0.1, 3, 150)
CELLS = np.random.default_rng(4).uniform(0.1, 3, (150, 3))
BALANCED = {"class_weight": "balanced"}
# What is fitted: estimator, X, y, sample_weight.
FITS = {
    "labels": (SoftmaxRegression(), X, y),
    "text": (SoftmaxRegression(), X, NAMES[y]),
    "in another order": (SoftmaxRegression(classes=NAMES[::-1]), X, NAMES[y]),
    "series of text": (SoftmaxRegression(), X, pd.Series(NAMES[y])),
    "column of labels": (SoftmaxRegression(), X, pd.DataFrame({"y": y})),
    "two classes": (SoftmaxRegression(), X, y > 0),
    "smoothed": (SoftmaxRegression(label_smoothing=0.1), X, y),
    "balanced": (SoftmaxRegression(**BALANCED), X, y, WEIGHT),
    "weights of classes": (SoftmaxRegression(class_weight={0: 3.0}), X, y),
    "probabilities": (SoftmaxRegression(**BALANCED), X, probabilities(), WEIGHT),
    "named probabilities": (SoftmaxRegression(), X, pd.DataFrame(probabilities(), columns=NAMES)),
    "one-hot": (SoftmaxRegression(), X, np.eye(3)[y]),
    "two probabilities": (SoftmaxRegression(), X, probabilities() @ [[1, 0], [0, 1], [0, 1]]),
    "no intercept": (SoftmaxRegression(fit_intercept=False), X, y, WEIGHT),
    "no penalty": (SoftmaxRegression(C=np.inf), X, y),
    "factors": (SoftmaxRegression(penalty_factor=[1, 0, 2, 0.5]), X, y),
    "single precision": (SoftmaxRegression(), X.astype(np.float32), y),
    "CSR": (SoftmaxRegression(), sp.csr_array(X * (X > 0)), y, WEIGHT),
    "CSR, single precision": (SoftmaxRegression(), sp.csr_array(X * (X > 0)).astype("f4"), y),
    "mostly zeros": (SoftmaxRegression(), np.hstack([X, np.zeros((150, 200))]), y),
    "integers": (SoftmaxRegression(), np.rint(3 * X).astype(int), y),
    "frame": (SoftmaxRegression(), pd.DataFrame(X, columns=list("abcd")), y),
    "one-vs-rest": (SigmoidRegression(**BALANCED), X, NAMES[y], WEIGHT),
    "one of two": (SigmoidRegression(), X, y > 0),
    "multi-label": (SigmoidRegression(), X, labels()),
    "named labels": (SigmoidRegression(), X, pd.DataFrame(labels(), columns=NAMES)),
    "unknown answers": (SigmoidRegression(**BALANCED), X, some_unknown(labels()), WEIGHT),
    "weights of labels": (SigmoidRegression(class_weight={1: 4.0}), X, labels()),
    "weights of answers": (SigmoidRegression(), X, labels(), CELLS),
    "sparse labels": (SigmoidRegression(), X, sp.csr_array(labels())),
    "C of each label": (SigmoidRegression(C=[0.1, 1.0, 10.0]), X, labels()),
    "CSR, multi-label": (SigmoidRegression(), sp.csr_array(X * (X > 0)), labels()),
}
SOLVERS = pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])


def assert_same_fit(one, other):
    """The same optimum to 1e-8, and every attribute of the same kind."""
    assert one.objective_ == pytest.approx(other.objective_, rel=1e-8)
    assert one.converged_ and other.converged_
    fitted = [{k for k in vars(of) if k.endswith("_") and k[0] != "_"} for of in (one, other)]
    assert fitted[0] == fitted[1]
    for name in ("classes_", "feature_names_in_"):
        np.testing.assert_array_equal(getattr(one, name, None), getattr(other, name, None))
    assert one.coef_.dtype == other.coef_.dtype
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-3)
    np.testing.assert_allclose(one.intercept_, other.intercept_, atol=1e-3)


@SOLVERS
@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_chunks_give_the_fit_of_one_array(name, solver):
    """fit_chunks on parts is fit on the whole, whatever X, y, weights and penalties are."""
    model, *data = FITS[name]
    model = copy.deepcopy(model).set_params(solver=solver)
    chunked = copy.deepcopy(model).fit_chunks(parts(*data))
    assert_same_fit(chunked, model.fit(*data))


@SOLVERS
@pytest.mark.parametrize("name", PROBLEMS)
def test_chunks_reach_the_optimum(name, solver):
    """F is within 1e-8 of the least, and proven to be, on every problem."""
    X, y, Y, least = solved(name, 1.0)
    rows = np.random.default_rng(5).permutation(len(y))
    model = SoftmaxRegression(solver=solver).fit_chunks(
        parts(X[rows], y[rows], rows=len(y) // 4 + 1)
    )
    assert objective(model.coef_, model.intercept_, X, Y) <= least * (1 + 1e-8)
    assert model.converged_ and model.optimality_gap_ <= 1e-8 * model.objective_ + 1e-13


@pytest.mark.parametrize("rows", [1, 7, 149, 150, 1000])
def test_the_size_of_chunks_does_not_matter(rows):
    """Chunks of a single row, or one chunk of all: the same fit."""
    assert_same_fit(
        SoftmaxRegression().fit_chunks(parts(X, y, rows=rows)), SoftmaxRegression().fit(X, y)
    )


@pytest.mark.parametrize("order", [[3, 0, 2, 1], [1, 3, 2, 0]])
def test_the_order_of_chunks_does_not_matter(order):
    """Chunks in another order are the same rows; sorted by class, each chunk has one class."""
    model, by_class = SoftmaxRegression().fit(X, y), np.argsort(y)
    assert_same_fit(SoftmaxRegression().fit_chunks(parts(X, y, order=order)), model)
    sorted_ = parts(X[by_class], y[by_class], order=order)
    assert_same_fit(SoftmaxRegression().fit_chunks(sorted_), model)


def test_a_column_may_be_constant_in_a_chunk_or_in_all():
    """A column that varies between chunks alone counts; one that never varies gets zero."""
    between = np.column_stack([X, np.arange(150) // 40 * 1e3, np.full(150, 7.3)])
    model = SoftmaxRegression().fit_chunks(parts(between, y))
    assert_same_fit(model, SoftmaxRegression().fit(between, y))
    np.testing.assert_array_equal(model.coef_[:, 5], 0)


def test_chunks_without_rows_or_weight_count_for_nothing():
    """Empty chunks anywhere, and chunks whose rows all weigh 0."""

    def chunks():
        yield X[:0], y[:0], WEIGHT[:0]
        for n, chunk in enumerate(parts(X, y, WEIGHT)()):
            yield chunk
            yield X[:0], [], None
            yield 1e3 * X[n : n + 9], y[n : n + 9], np.zeros(9)

    model = SoftmaxRegression(class_weight="balanced")
    expected = copy.deepcopy(model).fit(X, y, WEIGHT)
    assert_same_fit(model.fit_chunks(chunks), expected)


def test_chunks_may_differ_in_precision_and_in_how_zeros_are_stored():
    """Together they are what numpy makes of them: double if any is, CSR if any is."""
    Z = X * (X > 0)

    def chunks():
        yield Z[:50].astype(np.float32), y[:50]
        yield sp.csr_array(Z[50:90]), y[50:90], WEIGHT[50:90]
        yield pd.DataFrame(Z[90:]).to_numpy(), y[90:].tolist()

    weight = np.r_[np.ones(50), WEIGHT[50:90], np.ones(60)]
    whole = np.vstack([Z[:50].astype(np.float32), Z[50:]])
    assert_same_fit(
        SoftmaxRegression().fit_chunks(chunks), SoftmaxRegression().fit(whole, y, weight)
    )


@pytest.mark.parametrize(
    "source", [parts(X, y), [*parts(X, y)()], Arrays(X, y, rows=40)], ids=["call", "list", "Arrays"]
)
def test_whatever_can_be_iterated_again_is_a_source(source):
    """A function, a list and an object with __iter__."""
    assert_same_fit(SoftmaxRegression().fit_chunks(source), SoftmaxRegression().fit(X, y))


def test_a_warm_start_from_the_optimum_takes_fewer_passes():
    """fit_chunks starts from the present coefficients, those of fit included."""
    model = SoftmaxRegression(warm_start=True).fit_chunks(parts(X, y))
    cold = model.n_iter_
    assert model.fit_chunks(parts(X, y)).n_iter_ < cold
    assert SoftmaxRegression(warm_start=True).fit(X, y).fit_chunks(parts(X, y)).n_iter_ < cold


def test_labels_that_do_not_vary_are_remarked_once():
    """As by fit: a warning that names the label, none for one that varies between chunks alone."""
    Y = np.column_stack([labels(), np.zeros(150), np.arange(150) >= 80])
    with pytest.warns(UserWarning, match=r"\[3\]") as seen:
        model = SigmoidRegression().fit_chunks(parts(X, Y))
    assert len(seen) == 1 and seen[0].filename == __file__
    with pytest.warns(UserWarning):
        assert_same_fit(model, SigmoidRegression().fit(X, Y))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_number_of_threads_changes_nothing_beyond_rounding(monkeypatch, n_jobs):
    """Each chunk's rows are spread over threads."""
    monkeypatch.setattr("softreg._memory_rows._WORTH_A_THREAD", 0)
    monkeypatch.setattr("softreg._memory_rows._BLOCK_ROWS", 1)
    model = SoftmaxRegression(n_jobs=n_jobs).fit_chunks(parts(X, y))
    np.testing.assert_allclose(model.coef_, SoftmaxRegression().fit(X, y).coef_, atol=1e-5)


class Recorder:
    """Notes what the hooks get; stops after some iterations."""

    def __init__(self, stop_after=None):
        self.stop_after, self.seen = stop_after, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        if context.parent is not None:
            self.seen.append((X, y, fitted_estimator))
        return len(self.seen) == self.stop_after


@pytest.mark.parametrize("stop_after", [None, 2])
def test_callbacks_see_each_iteration_without_data(stop_after):
    """A model that predicts, X and y None; a callback may stop the fit."""
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    recorder = Recorder(stop_after)
    model = SoftmaxRegression().set_callbacks(recorder).fit_chunks(parts(X, y))
    assert len(recorder.seen) == model.n_iter_ == (stop_after or model.n_iter_)
    assert model.converged_ == (stop_after is None)
    for none, none_either, stage in recorder.seen:
        assert none is None and none_either is None
        assert stage.predict_proba(X).shape == (150, 3)


# ---- What goes wrong ----------------------------------------------------------------------------


def changed(array, where, value):
    array = array.astype(float)
    array[where] = value
    return array


def on_pass(number, *, first, later):
    """A source that yields `first`, and from that pass on `later`."""
    count = [0]

    def chunks():
        count[0] += 1
        return (first if count[0] < number else later)()

    return chunks


def always(iterator):
    """A function that forgets to open its data anew."""
    return lambda: iterator


def broken(chunks, after, error):
    """Chunks that end in an error after some of them."""

    def read():
        for number, chunk in enumerate(chunks()):
            if number == after:
                raise error
            yield chunk

    return read


FRAMES = parts(pd.DataFrame(X, columns=list("abcd")), y)
OTHER_NAMES = parts(pd.DataFrame(X, columns=list("abce")), y)
NO_TUPLES = "tuple", r"\(X, y\)"


def wrong():
    """What is wrong -> (source, kind of error, what its message or its notes say)."""
    return {
        "a generator": (parts(X, y)(), TypeError, ("only once", "lambda")),
        "no iterable": (7, TypeError, ("chunks=7", "iterable")),
        "a function of nothing": (lambda: None, TypeError, ("chunks", "iterable")),
        "no chunks": ([], ValueError, ("no rows",)),
        "empty chunks": ([(X[:0], y[:0])] * 2, ValueError, ("no rows", "2 chunks")),
        "an array": (X, TypeError, ("chunk 0", "ndarray", *NO_TUPLES)),
        "a pair": ((X, y), TypeError, ("chunk 0", "ndarray", *NO_TUPLES)),
        "four parts": ([(X, y, None, y)], TypeError, ("chunk 0", "of 4", *NO_TUPLES)),
        "NaN": (parts(changed(X, (90, 1), np.nan), y), ValueError, ("X contains NaN", "chunk 2")),
        "NaN weight": (
            parts(X, y, changed(WEIGHT, 90, np.nan)),
            ValueError,
            ("sample_weight", "chunk 2"),
        ),
        "all weights zero": (parts(X, y, 0 * WEIGHT), ValueError, ("sample_weight", "zero")),
        "too few labels": ([(X, y), (X, y[:7])], ValueError, ("150, 7", "chunk 1")),
        "other features": ([(X, y), (X[:, :3], y)], ValueError, ("3 features", "4", "chunk 1")),
        "other names": (lambda: (*FRAMES(), *OTHER_NAMES()), ValueError, ("'e'", "'d'", "chunk 4")),
        "names lost": (lambda: (*FRAMES(), *parts(X, y)()), ValueError, ("None", "'d'", "chunk 4")),
        "text after numbers": (
            [(X, y), (X, NAMES[y])],
            ValueError,
            ("y", "ash", "one kind", "chunk 1"),
        ),
        "columns after labels": (
            [(X, y), (X, np.eye(3)[y])],
            ValueError,
            ("y", "1 column", r"\b3\b"),
        ),
        "more columns": ([(X, np.eye(3)[y]), (X, np.eye(4)[y])], ValueError, ("3 column", "4 now")),
        "one class": ([(X, y > 5)] * 2, ValueError, ("one class", "False")),
        "measurements": ([(X, y), (X, X[:, 0])], ValueError, ("continuous", "chunk 1")),
        "raises": (
            broken(parts(X, y), 2, KeyError("disk")),
            KeyError,
            ("disk", "chunk 2", "first"),
        ),
        "raises at once": (broken(parts(X, y), 0, OSError("gone")), OSError, ("gone", "chunk 0")),
        "raises later": (
            on_pass(3, first=parts(X, y), later=broken(parts(X, y), 2, OSError("gone"))),
            OSError,
            ("gone", "chunk 2", "later"),
        ),
        "nothing later": (
            always(parts(X, y)()),
            ValueError,
            ("0 of the 4 chunks", "fit_chunks", "same"),
        ),
        "fewer later": (
            on_pass(4, first=parts(X, y), later=parts(X[:80], y[:80])),
            ValueError,
            ("2 of the 4 chunks", "same"),
        ),
        "more later": (
            on_pass(2, first=parts(X[:80], y[:80]), later=parts(X, y)),
            ValueError,
            ("more than the 2 chunks", "same"),
        ),
        "other rows later": (
            on_pass(5, first=parts(X, y), later=parts(X, y, rows=30)),
            ValueError,
            ("chunk 0", "30 rows", "40"),
        ),
        "empty later": (
            on_pass(2, first=parts(X, y), later=lambda: [(X[:0], y[:0])]),
            ValueError,
            ("chunk 0", "0 rows", "40"),
        ),
        "other X later": (
            on_pass(3, first=parts(X, y), later=parts(changed(X, (90, 1), 0.5), y)),
            ValueError,
            ("chunk 2", "values in X", "shuffled"),
        ),
        "other y later": (
            on_pass(3, first=parts(X, y), later=parts(X, (y + 1) % 3)),
            ValueError,
            ("chunk 0", "values in y", "shuffled"),
        ),
        "other weights later": (
            on_pass(3, first=parts(X, y, WEIGHT), later=parts(X, y, WEIGHT[::-1])),
            ValueError,
            ("chunk 0", "values in sample_weight", "shuffled"),
        ),
        "other order later": (
            on_pass(3, first=parts(X, y), later=parts(X, y, order=[0, 2, 1, 3])),
            ValueError,
            ("chunk 1", "values in X and y"),
        ),
        "shuffled later": (
            on_pass(2, first=parts(X, y), later=parts(X[::-1], y[::-1])),
            ValueError,
            ("chunk 0", "values in X and y"),
        ),
        "NaN later": (
            on_pass(2, first=parts(X, y), later=parts(changed(X, (90, 1), np.nan), y)),
            ValueError,
            ("X contains NaN", "chunk 2", "later"),
        ),
        "other features later": (
            on_pass(2, first=parts(X, y), later=parts(X[:, :3], y)),
            ValueError,
            ("3 features", "4", "chunk 0", "later"),
        ),
        "other names later": (
            on_pass(2, first=FRAMES, later=OTHER_NAMES),
            ValueError,
            ("'e'", "'d'", "chunk 0", "later"),
        ),
    }


@pytest.mark.parametrize("name", wrong())
@pytest.mark.parametrize("fitted", [False, True])
def test_a_refused_source_says_why_and_leaves_no_trace(name, fitted):
    """The error names the chunk and the pass; a model fitted before is as it was."""
    source, kind, says = wrong()[name]
    model = SoftmaxRegression()
    if fitted:
        model.fit(X[:, :2], y)
    before = dict(vars(model))
    with pytest.raises(kind) as caught:
        model.fit_chunks(source)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert [part for part in says if not re.search(part, text)] == [], text
    assert vars(model).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(model).items())


def test_the_fields_of_the_estimator_are_checked_as_by_fit():
    """A bad parameter is refused before the data are read to the end, or after the first pass."""
    for parameters in ({"C": -1.0}, {"tol": -1.0}, {"penalty_factor": [1.0]}, {"n_jobs": 0}):
        name = next(iter(parameters))
        with pytest.raises(ValueError, match=name):
            SoftmaxRegression(**parameters).fit_chunks(parts(X, y))
    with pytest.raises(ValueError, match="threshold"):
        SigmoidRegression(threshold=2).fit_chunks(parts(X, labels()))


# ---- Memory -------------------------------------------------------------------------------------


def peak(fit):
    """The most memory that a fit holds at once, in bytes."""
    tracemalloc.start()
    try:
        fit()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def drawn_rows(n, d=6, K=3, rows=1000):
    """A source of n rows that are made when they are read, the same ones whenever they are."""

    def chunks():
        for number in range(n // rows):
            rng = np.random.default_rng([6, number])
            X = rng.normal(size=(rows, d)) + 3
            Z = X @ np.random.default_rng(7).normal(size=(d, K)) / 4
            yield X, (Z + rng.gumbel(size=Z.shape)).argmax(axis=1)

    return chunks


@pytest.mark.parametrize(
    "model",
    [
        SoftmaxRegression(),
        SoftmaxRegression(C=np.inf, solver="newton"),
        SigmoidRegression(class_weight="balanced"),
    ],
    ids=repr,
)
def test_memory_does_not_grow_with_the_rows(model):
    """Ten times the rows take less than half a number for each row more, at the peak."""
    few, many = 4_000, 40_000
    model.fit_chunks(drawn_rows(few))  # imports and caches are not the fit's
    peaks = [peak(lambda n=n: model.fit_chunks(drawn_rows(n))) for n in (few, many)]
    assert peaks[1] - peaks[0] < 4 * (many - few)


# ---- ChunkedRows --------------------------------------------------------------------------------


def chunked(case, sizes=(1, 13, 7, 19)):
    """The objective of a case, its raw rows in chunks of these sizes."""
    rows = case.objective.rows
    edges = np.r_[0, np.cumsum(sizes)]
    assert edges[-1] == rows.n and not case.objective.spaces
    raw = Coordinates.raw(rows.X.shape[1], rows.coordinates.intercept)

    def chunk(a, b):
        weight = None if rows.weight is None else rows.weight[a:b]
        return rows_for_a_pass(rows.X[a:b], (rows.Y[a:b], weight, None), raw, rows.threads)

    chunks = [chunk(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    penalty = ElasticNet(case.l2)
    return Objective.in_working_coordinates(case.link, ChunkedRows.of(chunks), penalty)


def everything(objective, T):
    """All that an objective sums over its rows."""
    D, root, rows = np.cos(T), np.sin(T)[:, :2], objective.rows
    there = objective.certify(T, 0.1 * D)
    leverage = objective.leverage(T, root)
    U = rows.inward(T)
    return [
        *rows.moments(),
        np.array([rows.n, rows.total_weight]),
        *(rows.score_weight, rows.target_sum, rows.mean_target, rows.sides * 1.0),
        *objective.value_and_gradient(T),
        *map(HessianProduct(objective, T), (D, D**2)),
        objective.hessian(T),
        objective.gram,
        objective.curvature_gram(T),
        np.array(rows.sum(lambda block: (leverage(block).sum(),))),
        rows.greatest(lambda block: block.linear(U).max(axis=1)),
        HessianProduct(objective, T).balancing_step(D),
        *(there.value, there.gradient, there.divergence, there.imbalance),
        objective.null(),
    ]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ROUNDS_TO)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_every_sum_over_chunks_is_that_of_all_rows(
    monkeypatch, one_thread, targets, source, dtype, weighted
):
    """Chunks only say where rows are: values, products, moments and bounds are the same."""
    hold(source, monkeypatch)
    case = make(one_thread, targets, source, dtype, weighted=weighted)
    ours, theirs, T = chunked(case), case.objective, case.point()
    close(ours.rows.coordinates.centre, theirs.rows.coordinates.centre, 1e-6)
    np.testing.assert_array_equal(ours.rows.coordinates.scale, theirs.rows.coordinates.scale)
    for actual, once in zip(everything(ours, T), everything(theirs, T), strict=True):
        close(actual, once, ROUNDS_TO[dtype])
    for steps in (lambda of: of.hessian_diagonal(T), single_product(T)):
        close(steps(ours), steps(theirs), step_rounding(theirs))
    if theirs.problems > 1:
        some = np.array([0, 2])
        for actual, once in zip(
            everything(ours.part(some), T[:, some]),
            everything(theirs.part(some), T[:, some]),
            strict=True,
        ):
            close(actual, once, ROUNDS_TO[dtype])


def single_product(T):
    return lambda of: HessianProduct(of, T).in_single()(np.cos(T))


COLUMNS = {
    "far from zero": lambda rng, n: rng.normal(size=n) + 1e8,
    "a drift": lambda rng, n: np.linspace(0, 1e6, n) + rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "constant, far": lambda rng, n: np.full(n, 1e9 / 3),
    "tiny": lambda rng, n: 1e-150 * rng.normal(size=n),
    "one outlier": lambda rng, n: (np.arange(n) == n // 3) * 1e12 + rng.normal(size=n),
    "sorted": lambda rng, n: np.sort(rng.standard_cauchy(size=n)),
    "zeros mostly": lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.02),
}


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("sizes", [[1000], [1] * 20 + [980], [137] * 7 + [41]], ids=len)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_moments_of_chunks_are_those_of_long_double(one_thread, name, weighted, sizes, container):
    """Means are right to rounding, deviations to ten digits, or to the rounding of the mean."""
    rng = np.random.default_rng(8)
    x = COLUMNS[name](rng, 1000)
    w = rng.uniform(size=1000) * (rng.random(1000) < 0.8) if weighted else np.ones(1000)
    edges, none = np.r_[0, np.cumsum(sizes)], Labels(np.zeros(1000, dtype=int), 3)
    raw, chunks = Coordinates.raw(1, True), []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        chunk = container(x[a:b, None]), (none[a:b], w[a:b], None)
        chunks.append(rows_for_a_pass(*chunk, raw, one_thread))
    (mean,), (variance,) = ChunkedRows.of(chunks).moments()
    long, weight = x.astype(np.longdouble), w.astype(np.longdouble) / w.astype(np.longdouble).sum()
    expected = (weight * long).sum()
    deviation = np.sqrt((weight * (long - expected) ** 2).sum())
    rounding = np.finfo(float).eps * float(np.abs(weight * long).sum())
    assert abs(mean - expected) <= 8 * rounding
    assert abs(np.sqrt(variance) - deviation) <= 1e-10 * deviation + 2 * rounding


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", ["softmax labels", "soft answers, cells"])
def test_drawn_rows_stand_for_all(monkeypatch, one_thread, targets, source):
    """Whatever the chances, about as many rows as they add up to, each at their inverse."""
    hold(source, monkeypatch)
    case = make(one_thread, targets, source, n=400, weighted=True)
    ours = chunked(case, sizes=(100, 1, 250, 49))
    U, total = ours.rows.inward(case.point()), []

    def importance(block):
        return np.abs(block.linear(U)).sum(axis=0)

    def chance(own, of_all):
        total.append(of_all)
        return np.minimum(1, 0.1 + 100 * own / of_all)

    sample = ours.rows.drawn(importance, chance)
    assert 50 < sample.n < 250
    expected = case.objective.rows.sum(
        lambda block: (np.abs(block.linear(case.objective.rows.inward(case.point()))).sum(),)
    )
    close(total[-1], expected[0], 1e-10)
    # Each of n rows is off by its weight / chance; so their sum by about sqrt(n) of these.
    assert sample.total_weight == pytest.approx(ours.rows.total_weight, rel=0.3)
    again = ours.rows.drawn(importance, chance)
    assert again.n == sample.n and again.total_weight == sample.total_weight
    everyone = ours.rows.drawn(importance, lambda own, _: np.ones(len(own)))
    assert everyone.n == 400
    close(everyone.sum(in_all(U)), ours.rows.sum(in_all(U)), 1e-11)


def in_all(U):
    return lambda block: (block.weighted(block.linear(U)).sum(axis=1),)


# ---- Batches and validation rows ----------------------------------------------------------------


def numbered(one_thread, sizes=None, n=60, K=3):
    """Rows whose only feature is their number, in memory or in chunks."""
    x, codes = np.arange(n, dtype=float)[:, None], np.arange(n) % 7 % K
    raw = Coordinates.raw(1, True)
    if sizes is None:
        return rows_for_a_pass(x, (Labels(codes, K), x[:, 0] + 1, None), raw, one_thread)
    edges, chunks = np.r_[0, np.cumsum(sizes)], []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        own = (Labels(codes[a:b], K), x[a:b, 0] + 1, None)
        chunks.append(rows_for_a_pass(x[a:b], own, raw, one_thread))
    return ChunkedRows.of(chunks)


def numbers(batches):
    """The numbers of the rows of each batch, whose targets and weights belong to them."""
    for rows in batches:
        own = rows.X[:, 0].astype(int)
        np.testing.assert_array_equal(rows.Y.codes, own % 7 % 3)
        np.testing.assert_array_equal(rows.weight, own + 1)
        yield own.tolist()


IN_PARTS = pytest.mark.parametrize("sizes", [None, [60], [25, 1, 34], [20, 20, 20]], ids=str)


@IN_PARTS
@pytest.mark.parametrize("size", [1, 7, 20, 100])
@pytest.mark.parametrize("seed", [None, 9])
def test_batches_hold_each_row_once(one_thread, sizes, size, seed):
    """In batches of at most so many rows, nearly equal within a chunk, never of two chunks."""
    rows, random = numbered(one_thread, sizes), seed and np.random.default_rng(seed)
    batches = [*numbers(rows.batches(size, random))]
    flat = sum(batches, [])
    assert sorted(flat) == [*range(60)] and max(map(len, batches)) <= size
    assert (flat == sorted(flat)) == (seed is None)
    owner = np.repeat(np.arange(len(sizes or [60])), sizes or [60])
    assert all(len({*owner[batch]}) == 1 for batch in batches)
    for chunk in range(owner[-1] + 1):
        own = [len(batch) for batch in batches if owner[batch[0]] == chunk]
        assert max(own) - min(own) <= 1
    again = [*numbers(rows.batches(size, seed and np.random.default_rng(seed)))]
    assert again == batches
    if seed:
        other = [*numbers(rows.batches(size, random))]
        assert other != batches


@IN_PARTS
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_split_holds_out_the_same_rows_at_each_pass(one_thread, sizes, fraction):
    """Kept and held out are all rows, each once, drawn anew for another generator."""
    rows = numbered(one_thread, sizes)
    kept, held = rows.split(fraction, np.random.default_rng(10))
    passes = [[sum(numbers(of.batches(100, None)), []) for of in (kept, held)] for _ in range(2)]
    assert passes[0] == passes[1]
    assert sorted(sum(passes[0], [])) == [*range(60)]
    assert (kept.n, held.n) == tuple(map(len, passes[0]))
    assert abs(held.n - 60 * fraction) <= 1 + len(sizes or [])
    assert held.total_weight == sum(passes[0][1]) + held.n
    other = rows.split(fraction, np.random.default_rng(11))[1]
    assert sum(numbers(other.batches(100, None)), []) != passes[0][1]


def test_a_split_keeps_the_coordinates(one_thread):
    """Both parts meet coefficients in the coordinates of the whole."""
    for sizes in (None, [25, 1, 34]):
        rows = numbered(one_thread, sizes).standardised()
        for part in (*rows.split(0.3, np.random.default_rng(0)), *rows.batches(9, None)):
            assert part.coordinates is rows.coordinates


@pytest.mark.parametrize("targets", ["softmax labels", "softmax shares", "sigmoid of two classes"])
def test_a_split_of_rows_in_memory_keeps_the_shares_of_classes(one_thread, targets):
    """Each class's rows are held out in proportion, to within one; so are one-vs-rest labels'."""
    case = make(one_thread, targets, n=200)
    most = case.Y.argmax(axis=1) if case.Y.shape[1] > 1 else case.Y[:, 0]
    held = case.objective.rows.held_out(40, np.random.default_rng(12))
    assert held.sum() == 40
    for k in np.unique(most):
        assert abs(held[most == k].sum() - 0.2 * (most == k).sum()) <= 1


# ---- Sources ------------------------------------------------------------------------------------


def same(source, *arrays):
    """The chunks of a source, twice, are these arrays."""
    for _ in range(2):
        chunks = [*source]
        assert {len(chunk) for chunk in chunks} == {len(arrays)}
        for one, other in zip(zip(*chunks, strict=True), arrays, strict=True):
            np.testing.assert_array_equal(np.concatenate([np.asarray(part) for part in one]), other)
    return [len(chunk[1]) for chunk in chunks]


def test_arrays_are_cut_into_chunks():
    """Arrays, CSR, frames and what is sliced like them; by default a million values a chunk."""
    assert same(Arrays(X, y, rows=60), X, y) == [60, 60, 30]
    assert same(Arrays(X, y, WEIGHT), X, y, WEIGHT) == [150]
    frame = pd.DataFrame(X, index=np.arange(150)[::-1])
    assert same(Arrays(frame, pd.Series(y, index=frame.index), rows=149), X, y) == [149, 1]
    wide = np.broadcast_to(0.0, (300, 2**13))
    assert [len(chunk) for chunk, _ in Arrays(wide, np.zeros(300))] == [128, 128, 44]
    ((chunk, _),) = Arrays(sp.csr_array(X), y)
    assert sp.issparse(chunk)


@pytest.mark.parametrize("order", ["C", "F"])
def test_chunks_of_a_memory_map_hold_no_page_of_it(tmp_path, order):
    """They are arrays of their own, also of a part of the file."""
    np.save(tmp_path / "X.npy", np.asarray(X, order=order))
    np.save(tmp_path / "y.npy", NAMES[y])
    whole, text = (np.load(tmp_path / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
    assert same(Arrays(whole, text, rows=70), X, NAMES[y]) == [70, 70, 10]
    assert same(Arrays(whole[20:], text[20:], rows=70), X[20:], NAMES[y[20:]]) == [70, 60]
    raw = np.memmap(tmp_path / "raw", np.float32, "w+", offset=24, shape=(150, 4))
    raw[:] = X
    raw.flush()
    assert same(Arrays(raw, y, rows=50), X.astype(np.float32), y) == [50, 50, 50]
    if order == "C":
        assert not any(np.may_share_memory(chunk, whole) for chunk, _ in Arrays(whole, text))


def test_files_of_arrays_are_read_in_turn(tmp_path):
    """Pairs of .npy files, cut into chunks, and .npz files, a chunk each."""
    cuts, names = [slice(0, 100), slice(100, 150)], {"X": X, "y": y, "w": WEIGHT}
    paths = {name: [tmp_path / f"{name}{i}.npy" for i in range(2)] for name in names}
    for name, array in names.items():
        for path, cut in zip(paths[name], cuts, strict=True):
            np.save(path, array[cut])
    assert same(NpyFiles(paths["X"], paths["y"]), X, y) == [100, 50]
    assert same(NpyFiles(*paths.values(), rows=60), X, y, WEIGHT) == [60, 40, 50]
    archives = [tmp_path / "0.npz", str(tmp_path / "1.npz")]
    for path, cut in zip(archives, cuts, strict=True):
        np.savez(path, X=X[cut], y=y[cut], w=WEIGHT[cut])
    assert same(NpzFiles(archives), X, y) == [100, 50]
    assert same(NpzFiles(archives, sample_weight="w"), X, y, WEIGHT) == [100, 50]
    with pytest.raises(KeyError, match="labels"):
        [*NpzFiles(archives, y="labels")]


def table():
    """A table with a column of labels, three of labels' answers and one of weights."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.insert(1, "tree", NAMES[y])
    frame["w"] = WEIGHT
    return frame.join(pd.DataFrame(labels(), columns=list("xyz")))


def csv(folder, **arguments):
    table().to_csv(folder / "table.csv", index=False)
    return Csv(folder / "table.csv", **arguments)


def parquet(folder, **arguments):
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    (folder / "table").mkdir(exist_ok=True)
    for part in range(2):
        table()[75 * part :][:75].to_parquet(folder / "table" / f"{part}.parquet")
    return Parquet(folder / "table", **arguments)


TABLES = pytest.mark.parametrize("kind", [csv, parquet])


@TABLES
def test_a_table_is_read_by_the_names_of_its_columns(tmp_path, kind):
    """Labels, or several columns of targets, and weights; all others are features."""
    features = table().drop(columns=["tree", "w"])
    source = kind(tmp_path, target="tree", sample_weight="w", rows=60)
    sizes = same(source, features, NAMES[y], WEIGHT)
    assert len(sizes) >= 3 and max(sizes) == 60
    assert all([*chunk.columns] == list("abcdxyz") for chunk, *_ in source)
    several = kind(tmp_path, target=["z", "x"])
    same(several, table()[[*"a"]].join(table()[["tree", *"bcd", "w", "y"]]), labels()[:, [2, 0]])
    assert all([*targets.columns] == ["z", "x"] for _, targets in several)


@TABLES
def test_a_fit_of_a_table_is_that_of_its_frame(tmp_path, kind):
    """Names of features and of labels are recorded as by fit."""
    frame, features = table(), ["a", "b", "c", "d"]
    options = {"options": {"usecols": [*features, "tree"]}} if kind is csv else {}
    options = options or {"columns": [*features, "tree"]}
    source = kind(tmp_path, target="tree", rows=40, **options)
    assert_same_fit(
        SoftmaxRegression().fit_chunks(source),
        SoftmaxRegression().fit(frame[features], frame["tree"]),
    )
    options = {"options": {"usecols": [*features, *"xyz"]}} if kind is csv else {}
    options = options or {"columns": [*features, *"xyz"]}
    source = kind(tmp_path, target=["x", "y", "z"], rows=40, **options)
    assert_same_fit(
        SigmoidRegression().fit_chunks(source),
        SigmoidRegression().fit(frame[features], frame[["x", "y", "z"]]),
    )


@TABLES
def test_a_table_without_the_column_names_those_it_has(tmp_path, kind):
    """The error names the missing column and the others, and the chunk through its note."""
    for arguments in ({"target": "shrub"}, {"target": "tree", "sample_weight": "shrub"}):
        with pytest.raises(ValueError, match="shrub.*tree"):
            SoftmaxRegression().fit_chunks(kind(tmp_path, **arguments))


@pytest.mark.parametrize("rows", [0, -3, 2.5, "many"])
def test_a_chunk_has_at_least_one_row(rows, tmp_path):
    """Every source refuses other numbers of rows, by name and value, when it is made."""
    for source in (
        lambda: Arrays(X, y, rows=rows),
        lambda: NpyFiles([], [], rows=rows),
        lambda: Csv("table.csv", "tree", rows=rows),
        lambda: Parquet("table", "tree", rows=rows),
    ):
        with pytest.raises(ValueError, match=f"rows={rows!r}.*>= 1"):
            source()


def test_arrays_of_different_lengths_are_refused():
    """When the source is made; files, when there are not as many of each."""
    with pytest.raises(ValueError, match="150, 7"):
        Arrays(X, y[:7])
    with pytest.raises(ValueError, match="2, 1"):
        NpyFiles(["a", "b"], ["c"])


def test_parquet_without_pyarrow_names_the_extra(monkeypatch):
    """One message says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"softreg\[parquet\]"):
        SoftmaxRegression().fit_chunks(Parquet("table", "tree"))
