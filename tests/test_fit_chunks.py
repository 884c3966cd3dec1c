"""Laws of fit_chunks: rows that come in parts, again and again, are the rows of one array."""

import copy
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from chunked import NAMES, WEIGHT, X, assert_same_fit, labels, parts, y
from problems import PROBLEMS, objective, solved

from softreg import SigmoidRegression, SoftmaxRegression
from softreg._encoding.chunk_survey import checksum
from softreg.chunks import Arrays

# ---- Chunks are one array -----------------------------------------------------------------------


def some_unknown(Y):
    return np.where(np.random.default_rng(1).random(Y.shape) < 0.2, np.nan, Y)


def probabilities():
    return 0.7 * np.eye(3)[y] + 0.3 * np.random.default_rng(2).dirichlet(np.ones(3), size=150)


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
SPARSE_FITS = {
    "lasso": (SoftmaxRegression(C=0.3, l1_ratio=1, standardize=True), X, y, WEIGHT),
    "elastic net, CSR": (SoftmaxRegression(0.3, 0.5), sp.csr_array(X * (X > 0)), y),
    "groups": (SoftmaxRegression(0.3, 1, l1_groups=[0, 0, 1, 2]), X, probabilities()),
    "groups by column name": (
        SoftmaxRegression(0.3, 1, l1_groups={"a": 0, "b": 1, "c": 0, "d": 2}),
        pd.DataFrame(X, columns=list("abcd")),
        y,
    ),
    "lasso of labels": (SigmoidRegression([0.1, 0.3, 1], 1), X, some_unknown(labels()), WEIGHT),
}
SOLVERS = pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])


@SOLVERS
@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_chunks_give_the_fit_of_one_array(name, solver):
    """fit_chunks on parts is fit on the whole, whatever X, y, weights and penalties are."""
    model, *data = FITS[name]
    model = copy.deepcopy(model).set_params(solver=solver)
    chunked = copy.deepcopy(model).fit_chunks(parts(*data))
    assert_same_fit(chunked, model.fit(*data))


@pytest.mark.parametrize("name", SPARSE_FITS)
def test_chunks_give_the_sparse_fit_of_one_array(name):
    """What is zero in the fit to the whole is zero in that to its parts."""
    model, *data = SPARSE_FITS[name]
    chunked = copy.deepcopy(model).fit_chunks(parts(*data))
    assert_same_fit(chunked, model.fit(*data))
    assert chunked.proven_ and (model.coef_ == 0).any()
    np.testing.assert_array_equal(chunked.coef_ == 0, model.coef_ == 0)


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


@SOLVERS
def test_the_first_chunk_may_weigh_nothing(solver):
    """Whatever its values are."""
    first = 1e3 * X[:9], y[:9], np.zeros(9)
    chunks = [first, (X[:60], y[:60], WEIGHT[:60]), (X[60:], y[60:], WEIGHT[60:])]
    model = SoftmaxRegression(solver=solver)
    whole = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    assert_same_fit(copy.deepcopy(model).fit_chunks(chunks), model.fit(*whole))


def test_chunks_may_be_in_another_memory_order_later():
    """The same values are the same data, however an array holds them."""
    C, F = (parts(np.asarray(X, order=order), np.eye(3, order=order)[y]) for order in "CF")
    assert_same_fit(
        SoftmaxRegression().fit_chunks(on_pass(3, first=C, later=F)),
        SoftmaxRegression().fit(X, np.eye(3)[y]),
    )


def test_a_chunk_in_another_memory_order_is_the_same_data():
    """So is one that is read a few rows at a time; one other value is not."""
    checksums = set()
    for at_once in (2**14, 12):
        checksums |= {checksum(np.asarray(X, order=order), at_once) for order in "CF"}
    assert len(checksums) == 1 and checksum(changed(X, (90, 1), 0.5)) not in checksums


def test_integers_that_chunks_hold_in_other_types_are_the_same_classes():
    """Small ones: a chunk of floats, or of integers of another size."""
    kinds = [np.int64, np.float64, np.uint64, np.int8]
    chunks = [(Z, z.astype(kind)) for (Z, z), kind in zip(parts(X, y)(), kinds, strict=True)]
    assert_same_fit(SoftmaxRegression().fit_chunks(chunks), SoftmaxRegression().fit(X, y * 1.0))


@pytest.mark.parametrize("kinds", [(int, float), (float, int), (int, np.uint64)], ids=str)
def test_integers_that_would_lose_digits_together_are_refused(kinds):
    """Classes 2^60 and 2^60 + 1 are two, and one once they are doubles."""
    ids = 2**60 + y
    chunks = [(X, ids.astype(kinds[0])), (X, ids.astype(kinds[1]))]
    with pytest.raises(ValueError, match=f"{np.dtype(kinds[0])}.*float64.*exactly.*str"):
        SoftmaxRegression().fit_chunks(chunks)
    same = [(X, ids.astype(np.uint64))] * 2
    assert SoftmaxRegression().fit_chunks(same).classes_.tolist() == [2**60 + k for k in range(3)]


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
        if context.parent is not None and fitted_estimator is not None:
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


FRAME = pd.DataFrame(X, columns=list("abcd"))
FRAMES = parts(FRAME, y)
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
        "more columns": (
            [(X, np.eye(3)[y]), (X, np.eye(4)[y])],
            ValueError,
            ("3 column", "4 column"),
        ),
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
        "other order of names": (
            [(FRAME, y), (FRAME[["a", "c", "b", "d"]], y)],
            ValueError,
            ("'c' as column 1", "first chunk has 'b'", "chunk 1"),
        ),
        "a name twice": (
            [(FRAME, y), (pd.concat([FRAME, FRAME[["a"]]], axis=1), y)],
            ValueError,
            ("'a' as column 4", "chunk 1"),
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
    """A bad parameter is refused by name."""
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
    few, many = 2_000, 20_000
    model.fit_chunks(drawn_rows(few))  # imports and caches are not the fit's
    peaks = [peak(lambda n=n: model.fit_chunks(drawn_rows(n))) for n in (few, many)]
    assert peaks[1] - peaks[0] < 4 * (many - few)


def test_many_classes_in_a_small_last_chunk_are_no_measurements():
    """All rows count: sixty classes of ten rows each are classes, though thirty rows come last."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(630, 2)), np.arange(630) % 60
    chunks = [(X[:600], y[:600]), (X[600:], y[600:])]
    model = SoftmaxRegression(C=1e-3).fit_chunks(chunks)  # warnings are errors
    assert len(model.classes_) == 60
