"""Laws of rows and answers that weigh nothing: whatever they hold, a fit is the one without them.

The fit without them is another call, with fewer rows. The numbers that they hold are about the
largest finite ones, of which every square overflows.
"""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from problems import one_hot, overlapping
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    inference,
    regularization_path,
)
from softreg.solvers import MiniBatch

KINDS = pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
X, y = overlapping(n=150)
N = len(y) + 40
# In which places the rows with weight are, among others.
PLACES = np.sort(np.random.default_rng(0).permutation(N)[: len(y)])
OTHERS = np.setdiff1d(np.arange(N), PLACES)
WEIGHT = np.random.default_rng(1).uniform(0.5, 2, len(y))
OFFSET = np.random.default_rng(2).normal(size=(len(y), 3))
Y = np.where(np.random.default_rng(3).random((len(y), 3)) < 0.2, np.nan, one_hot(y))


def wide(n=30):
    """More columns than rows: solved in the span of the rows."""
    A, classes = overlapping(n=n, seed=1)
    return np.hstack([A, np.random.default_rng(4).normal(size=(n, 60))]), classes


def among(values, fill):
    """The values of the rows with weight, and of the others `fill`, alike in all columns or not."""
    whole = np.empty((N, *np.shape(values)[1:]), dtype=np.result_type(values, fill))
    whole[OTHERS] = fill
    whole[PLACES] = values
    return whole


def huge(shape, dtype=float):
    """The largest numbers of a type, of either sign, whose sums scikit-learn's checks can take."""
    signs = np.random.default_rng(5).choice([-1, 1], size=shape)
    return (2.0**-20 * np.finfo(dtype).max * signs).astype(dtype)


def sizes_of(features, dtype=float):
    return {"ordinary": 0 * huge((40, features)), "huge": huge((40, features), dtype)}


def assert_same(model, alone, rel=2e-8):
    """The same optimum, as close as the certificates of both prove, and the same rows counted."""
    assert model.n_samples_seen_ == alone.n_samples_seen_
    assert model.objective_ == pytest.approx(alone.objective_, rel=rel)
    tolerance = 1e-3 * np.abs(alone.coef_).max()
    np.testing.assert_allclose(model.coef_, alone.coef_, rtol=0, atol=tolerance)
    np.testing.assert_allclose(model.intercept_, alone.intercept_, atol=1e-3)


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.factor("kind", [SoftmaxRegression, SigmoidRegression])
@pytest.mark.factor("solver", ["auto", "lbfgs", "newton", "minibatch"])
@pytest.mark.factor("container", ["array", "CSR", "float32"])
@pytest.mark.factor("size", ["ordinary", "huge"])
@pytest.mark.factor("terms", ["weights", "weights and offsets"])
def test_rows_without_weight_count_for_nothing(kind, solver, container, size, terms):
    """X, y and offsets of any values, in rows anywhere among the others."""
    dtype = np.float32 if container == "float32" else float
    make_X = sp.csr_array if container == "CSR" else lambda A: A.astype(dtype)
    whole = among(X.astype(dtype), sizes_of(4, dtype)[size])
    given, of_rows = {"sample_weight": among(WEIGHT, 0.0)}, {"sample_weight": WEIGHT}
    if terms == "weights and offsets":
        given["offset"] = among(OFFSET, sizes_of(3)[size])
        of_rows["offset"] = OFFSET
    classes = np.arange(40) % 3
    model, alone = (kind(solver=solver, random_state=0) for _ in range(2))
    model.fit(make_X(whole), among(y, classes), **given)
    alone.fit(make_X(X), y, **of_rows)
    assert_same(model, alone)


@KINDS
@pytest.mark.parametrize("size", ["ordinary", "huge"])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton", "minibatch"])
def test_rows_without_weight_do_not_widen_the_span_of_wide_rows(kind, size, solver):
    """Of more columns than rows, the others' directions are no features, and hide none."""
    A, classes = wide()
    n, fill = len(A), sizes_of(A.shape[1])[size][:10]
    B, weight = np.vstack([fill, A]), np.r_[np.zeros(10), np.ones(n)]
    model, alone = (kind(solver=solver, random_state=0) for _ in range(2))
    model.fit(B, np.r_[np.zeros(10, dtype=int), classes], sample_weight=weight)
    assert_same(model, alone.fit(A, classes))


@pytest.mark.parametrize("solver", ["auto", "minibatch"])
def test_rows_of_classes_of_weight_zero_count_for_nothing(solver):
    """A class weight of zero does what a sample weight of zero does, for probabilities as well."""
    keep = y != 1
    A = np.where(keep[:, None], X, huge((len(y), 4)))
    by_row = SoftmaxRegression(solver=solver, random_state=0).fit(X, y, sample_weight=keep * 1.0)
    for target in (y, one_hot(y)):
        by_class = SoftmaxRegression(solver=solver, class_weight={1: 0.0}, random_state=0)
        assert_same(by_class.fit(A, target), by_row)
        assert by_class.n_samples_seen_ == keep.sum()


@pytest.mark.parametrize("by", ["unknown", "cells", "rows"])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton", "minibatch"])
def test_rows_of_labels_without_weight_count_for_nothing(by, solver):
    """Rows all of whose answers are unknown, or weigh nothing, may hold any X and offset."""
    known, cells = among(Y, np.zeros((40, 3))), np.ones((N, 3))
    if by == "unknown":
        known[OTHERS] = np.nan
    cells[OTHERS] = 0
    weight = {"unknown": None, "cells": cells, "rows": cells[:, 0]}[by]
    offset = among(OFFSET, huge((40, 3)))
    model, alone = (SigmoidRegression(solver=solver, random_state=0) for _ in range(2))
    model.fit(among(X, huge((40, 4))), known, sample_weight=weight, offset=offset)
    assert_same(model, alone.fit(X, Y, offset=OFFSET))


@pytest.mark.parametrize("by", ["unknown", "cells", "class weights"])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton", "minibatch"])
@pytest.mark.filterwarnings("ignore:y does not vary in the labels")
def test_offsets_of_answers_without_weight_say_nothing(by, constant, solver):
    """Of labels that are known elsewhere in the row: the fits are the same, bit for bit.

    So is the start of a label that is constant, which lies beyond the offsets that count.
    """
    silent = np.isnan(Y)
    answers, parameters, terms = Y.copy(), {}, {}
    if constant:
        answers[~silent[:, 2], 2] = 1.0
    if by == "cells":
        answers[silent], terms["sample_weight"] = 1.0, 1.0 - silent
    elif by == "class weights":
        answers[silent], parameters["class_weight"] = 1.0, {0: 0.0, 1: 2.0}
        silent = (answers == 1) & (np.arange(3) == 0)
    fits = [
        SigmoidRegression(solver=solver, random_state=0, **parameters).fit(
            X, answers, offset=np.where(silent, size * huge(silent.shape), OFFSET), **terms
        )
        for size in (0.0, 1e-300, 1.0)
    ]
    for fit in fits[1:]:
        for name in ("coef_", "intercept_", "loss_curve_"):
            np.testing.assert_array_equal(getattr(fit, name), getattr(fits[0], name))


@KINDS
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton", "minibatch"])
def test_chunks_and_their_rows_without_weight_count_for_nothing(kind, solver):
    """A chunk that weighs nothing, first or later, and rows within the others."""
    empty = huge((9, 4)), np.arange(9) % 3, np.zeros(9)
    whole = among(X, huge((40, 4))), among(y, np.arange(40) % 3), among(WEIGHT, 0.0)
    parts = [tuple(part[rows] for part in whole) for rows in np.array_split(np.arange(N), 4)]
    alone = []
    for rows in np.array_split(np.arange(N), 4):
        places = np.searchsorted(PLACES, np.intersect1d(rows, PLACES))
        alone.append((X[places], y[places], WEIGHT[places]))
    model, without = (kind(solver=solver, random_state=0) for _ in range(2))
    model.fit_chunks([empty, *parts[:2], empty, *parts[2:]])
    assert_same(model, without.fit_chunks(alone))


@KINDS
def test_rows_without_weight_say_nothing_of_a_path(kind):
    """The objective is that without them at each C."""
    path, alone = (
        regularization_path(A, classes, [0.1, 1, 10], estimator=kind(), sample_weight=weight)
        for A, classes, weight in (
            (among(X, huge((40, 4))), among(y, np.arange(40) % 3), among(WEIGHT, 0.0)),
            (X, y, WEIGHT),
        )
    )
    assert path.converged.all()
    np.testing.assert_allclose(path.objective, alone.objective, rtol=2e-8)


@pytest.mark.parametrize("kind", [SoftmaxRegressionCV, SigmoidRegressionCV])
@pytest.mark.parametrize("data", [lambda: (X, y), lambda: wide(len(y))], ids=["tall", "wide"])
@pytest.mark.parametrize("cv", ["folds", "loo"])
def test_rows_without_weight_say_nothing_of_the_scores_of_folds(kind, data, cv):
    """Mean scores and the fit are those without them, with folds and with left-out rows."""
    A, classes = data()
    if A.shape[1] > 4:
        A = np.hstack([A, np.random.default_rng(6).normal(size=(len(A), 200))])
    fold = np.arange(len(classes)) % 3
    models = []
    for B, target, weight, folds in (
        (
            among(A, huge((40, A.shape[1]))),
            among(classes, np.arange(40) % 3),
            among(WEIGHT, 0.0),
            among(fold, np.arange(40) % 3),
        ),
        (A, classes, WEIGHT, fold),
    ):
        splits = PredefinedSplit(folds) if cv == "folds" else cv
        models.append(kind(Cs=[0.1, 1.0], cv=splits).fit(B, target, sample_weight=weight))
    np.testing.assert_allclose(models[0].mean_score_, models[1].mean_score_, rtol=1e-4)
    assert_same(*models)


@KINDS
def test_rows_without_weight_say_nothing_of_left_out_rows(kind):
    """The others have the probabilities and leverages of the fit without them."""
    whole = among(X, huge((40, 4))), among(y, np.arange(40) % 3)
    weight = among(WEIGHT, 0.0)
    model = kind().fit(*whole, sample_weight=weight)
    found = inference.loo(model, *whole, sample_weight=weight)
    alone = inference.loo(kind().fit(X, y, sample_weight=WEIGHT), X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(found.probabilities[PLACES], alone.probabilities, atol=1e-6)
    np.testing.assert_allclose(found.leverage[PLACES], alone.leverage, atol=1e-6)
    assert not found.leverage[OTHERS].any()


# ---- Streams ------------------------------------------------------------------------------------


def state(model):
    """All that an estimator holds."""
    return pickle.dumps(model.__dict__)


def streamed(model, chunks):
    for A, target, weight in chunks:
        model.partial_fit(A, target, classes=[0, 1, 2], sample_weight=weight)
    return model


def assert_same_stream(model, other, rtol=0.0):
    """The same in all that is public, bit for bit unless `rtol` allows for rounding."""
    assert (model.n_samples_seen_, model.n_iter_) == (other.n_samples_seen_, other.n_iter_)
    for name in ("coef_", "intercept_", "loss_curve_"):
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), rtol=rtol)


CHUNKS = [(X[rows], y[rows], WEIGHT[rows]) for rows in np.array_split(np.arange(len(y)), 5)]
SILENT = huge((30, 4)), np.arange(30) % 3, np.zeros(30)
STREAMS = {
    f"{kind.__name__}, {name}": kind(solver=solver, random_state=0)
    for kind in (SoftmaxRegression, SigmoidRegression)
    for name, solver in {
        "auto": "auto",
        "small batches": MiniBatch(batch_size=7),
        "momentum": MiniBatch(momentum=0.99, averaging=False),
    }.items()
}
WITH_CANDIDATES = MiniBatch(n_candidates=1, batch_size=2)
STREAMS["candidates"] = SoftmaxRegression(solver=WITH_CANDIDATES, random_state=0)


@KINDS
@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_a_chunk_without_weight_leaves_everything_as_it_was(kind, begin):
    """Bit for bit: momentum, averages, curvature, the penalty, the counts and fitted attributes."""
    model = kind(random_state=0)
    model = model.fit(X, y) if begin == "fit" else streamed(model, CHUNKS)
    before = state(model)
    streamed(model, [SILENT] * 3)
    assert state(model) == before


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_with_chunks_without_weight_is_the_stream_of_the_others(name):
    """First, in between and last; afterwards learning goes on as if they had never come."""
    model = copy.deepcopy(STREAMS[name])
    with_silent = [SILENT, *(chunk for given in CHUNKS for chunk in (given, SILENT, SILENT))]
    other = streamed(copy.deepcopy(model), CHUNKS)
    assert_same_stream(streamed(model, with_silent), other)


@pytest.mark.parametrize("name", STREAMS)
def test_a_chunk_is_its_rows_that_have_weight(name):
    """A stream is that without rows whose weight, or whose class's weight, is zero."""
    among_others, by_class = [], []
    for A, target, weight in CHUNKS:
        n, others = len(A), np.sort(np.random.default_rng(7).permutation(2 * len(A))[: len(A)])
        is_other = np.isin(np.arange(2 * n), others)
        rows = np.repeat(np.arange(n), 2)
        rows[~is_other] = np.arange(n)
        B = np.where(is_other[:, None], huge((2 * n, 4)), X[0])
        B[~is_other] = A
        among_others.append((B, target[rows], np.where(is_other, 0, weight[rows])))
        by_class.append((A[target != 1], target[target != 1], weight[target != 1]))
    model = copy.deepcopy(STREAMS[name])
    alone = streamed(copy.deepcopy(model), CHUNKS)
    assert_same_stream(streamed(copy.deepcopy(model), among_others), alone, 1e-9)
    # Of labels, a row of a class without weight is a no to the others, which has weight.
    if isinstance(model, SoftmaxRegression):
        weighted = copy.deepcopy(model).set_params(class_weight={1: 0.0})
        assert_same_stream(streamed(weighted, CHUNKS), streamed(model, by_class), 1e-9)


@KINDS
def test_a_stream_may_begin_without_weight(kind):
    """It then knows its classes and columns, predicts them evenly, and has seen nothing."""
    model = streamed(kind(random_state=0), [SILENT])
    assert (model.n_samples_seen_, model.n_iter_, len(model.loss_curve_)) == (0, 0, 0)
    P = model.predict_proba(X)
    np.testing.assert_array_equal(P, np.full((len(y), 3), P[0, 0]))
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit(X[:, :3], y)
    model.partial_fit(*CHUNKS[0][:2])  # classes are known
    assert_same_stream(model, kind(random_state=0).partial_fit(*CHUNKS[0][:2], classes=[0, 1, 2]))


@pytest.mark.parametrize("begin", ["fit", "partial_fit", "nothing"])
@pytest.mark.parametrize("by", ["unknown", "cells", "class weight"])
@pytest.mark.parametrize("solver", ["auto", MiniBatch(momentum=0.99, batch_size=7)], ids=str)
def test_a_label_without_weight_in_a_chunk_stays_as_it_was(begin, by, solver):
    """Its coefficients are the same bit for bit, while the other labels learn."""
    model = SigmoidRegression(solver=solver, random_state=0)
    if begin == "fit":
        model.fit(X, one_hot(y))
    elif begin == "partial_fit":
        for A, target, _ in CHUNKS:
            model.partial_fit(A, (target[:, None] == [0, 1, 2]) * 1.0)
    if by == "class weight":  # in whose chunks all have the label
        model.set_params(class_weight={1: 0.0})
    for A, target, _ in CHUNKS:
        start = {"coef_": np.zeros((3, 4)), "intercept_": np.zeros(3)}
        before = [getattr(model, name, start[name]).copy() for name in start]
        answers = (target[:, None] == [0, 1, 2]) * 1.0
        cells = np.ones(answers.shape)
        if by == "unknown":
            answers[:, 1] = np.nan
        elif by == "cells":
            cells[:, 1] = 0
        else:
            answers[:, 1] = 1
        model.partial_fit(A, answers, sample_weight=cells)
        for name, values in zip(start, before, strict=True):
            np.testing.assert_array_equal(getattr(model, name)[1], values[1])
            assert (getattr(model, name)[[0, 2]] != values[[0, 2]]).all()
    assert np.isfinite(model.coef_).all()


def test_a_label_is_learned_as_from_its_first_known_answers():
    """After chunks in which it is unknown, a label is that of a stream that begins where it does.

    All chunks have the same X, so that columns are standardised alike, and steps are of a given
    length. Labels then share but the floor of their curvatures, 2 % of the mean.
    """
    solver = MiniBatch(learning_rate=0.5, batch_size=len(y))
    late, begun = (SigmoidRegression(solver=solver, random_state=0) for _ in range(2))
    answers = one_hot(y)
    unknown = np.where(np.arange(3) == 1, np.nan, answers)
    for _ in range(20):
        late.partial_fit(X, unknown)
    for _ in range(6):
        late.partial_fit(X, answers)
        begun.partial_fit(X, answers)
        tolerance = 0.02 * np.abs(begun.coef_).max()
        np.testing.assert_allclose(late.coef_[1], begun.coef_[1], rtol=0, atol=tolerance)
        np.testing.assert_allclose(late.intercept_[1], begun.intercept_[1], rtol=0, atol=tolerance)
    assert np.abs(late.coef_[0] - begun.coef_[0]).max() > 5 * tolerance


def test_a_label_that_is_rarely_known_is_learned_as_if_it_were_alone():
    """Known in one chunk of five, it comes about as near its optimum as in a stream of these."""
    answers, rare = one_hot(y), slice(0, len(y), 5)
    model, alone = (SigmoidRegression(random_state=0) for _ in range(2))
    for turn in range(200):
        rows = np.arange(turn % 5, len(y), 5)
        known = answers[rows].copy()
        known[:, 1] = np.nan if turn % 5 else known[:, 1]
        model.partial_fit(X[rows], known)
        if turn % 5 == 0:
            alone.partial_fit(X[rows], answers[rows, 1], classes=[0, 1])
    # The prior of variance 1 is that of 40 times the rows: C = 40 of these once.
    best = SoftmaxRegression(C=40.0).fit(X[rare], answers[rare, 1])
    loss, of_alone, least = (
        log_loss(answers[rare, 1], P[:, 1])
        for P in (fit.predict_proba(X[rare]) for fit in (model, alone, best))
    )
    assert loss - least < 1.5 * (of_alone - least)


def test_an_empty_chunk_is_refused_and_nothing_is_lost():
    """A chunk of no rows at all is a mistake that scikit-learn names."""
    model = streamed(SoftmaxRegression(random_state=0), CHUNKS)
    before = state(model)
    with pytest.raises(ValueError, match="0 sample"):
        model.partial_fit(X[:0], y[:0])
    assert state(model) == before
