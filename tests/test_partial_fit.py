"""Streams: what partial_fit learns chunk by chunk, and how it fails."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from parts import close
from problems import beans, objective, one_hot
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import log_loss

from softreg import SigmoidRegression, SigmoidRegressionCV, SoftmaxRegression, SoftmaxRegressionCV
from softreg._encoding.validation import generator_maker
from softreg.solvers import MiniBatch

X, y = beans()
CLASSES = np.unique(y)
BEST = SoftmaxRegression().fit(X, y)


def streamed(chunks, model=None, **kwargs):
    """The model after these chunks, each a tuple or array of row numbers."""
    model = SoftmaxRegression(random_state=0) if model is None else model
    for rows in chunks:
        model.partial_fit(X[rows], y[rows], classes=CLASSES, **kwargs)
    return model


def excess(model):
    """How far the mean loss is above the best, beside what features explain."""
    shares = one_hot(y).mean(axis=0)
    null, best = -(shares * np.log(shares)).sum(), log_loss(y, BEST.predict_proba(X))
    return (log_loss(y, model.predict_proba(X)) - best) / (null - best)


def shuffled(seed=0):
    return np.random.default_rng(seed).permutation(len(y))


# ---- What is learned ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, 600])
def test_chunks_of_any_size_lead_near_the_optimum(size):
    """Two passes over raw columns learn most of what there is, also row by row."""
    order = np.concatenate([shuffled(0), shuffled(1)])
    model = streamed(np.split(order, np.arange(size, len(order), size)))
    assert model.n_samples_seen_ == 2 * len(y)
    assert model.n_iter_ == len(model.loss_curve_) == -(-2 * len(y) // size)
    assert excess(model) < 0.4


@pytest.mark.parametrize("order", ["sorted", "reversed", "alternating"])
def test_chunks_of_one_class_are_fine(order):
    """Classes may come one after the other, in any order: fifty passes lead near the optimum."""
    by_class = [np.flatnonzero(y == k) for k in CLASSES]
    parts = {
        "sorted": by_class,
        "reversed": by_class[::-1],
        "alternating": [rows[first::2] for first in (0, 1) for rows in by_class],
    }[order]
    model = streamed(parts * 50)
    assert np.isfinite(model.coef_).all()
    assert excess(model) < 0.5


def test_the_first_loss_is_that_of_the_classes_frequencies():
    """loss_curve_ is the mean loss of each chunk before it was learned from, the last below."""
    model = streamed(np.array_split(shuffled(), 6))
    first = y[np.array_split(shuffled(), 6)[0]]
    counts = np.bincount(first, minlength=len(CLASSES)) + 1 / len(CLASSES)
    frequencies = counts / counts.sum()
    assert model.loss_curve_[0] == pytest.approx(-np.log(frequencies[first]).mean())
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]


def test_losses_are_those_that_the_model_had_before():
    """Predictions of a chunk before partial_fit have the loss that the curve then shows."""
    first, second = np.array_split(shuffled(), 2)
    model = streamed([first])
    before = log_loss(y[second], model.predict_proba(X[second]), labels=CLASSES)
    streamed([second], model)
    assert model.loss_curve_[-1] == pytest.approx(before, rel=1e-9)


def test_the_units_of_columns_do_not_matter():
    """Columns in other units, and the penalty with them, give the same probabilities."""
    units = 2.0 ** np.arange(-20, 4, 2)
    chunks = np.array_split(shuffled(), 5)
    models = []
    for u, f in ((1.0, np.ones(12)), (units, units**2)):
        model = SoftmaxRegression(random_state=0, penalty_factor=f)
        for rows in chunks:
            model.partial_fit(X[rows] * u, y[rows], classes=CLASSES)
        models.append(model.predict_proba(X * u))
    close(models[1], models[0], 1e-9)


def test_columns_that_begin_to_vary_late_are_learned():
    """A column that was constant for chunks, at any value, counts from where it varies."""
    varying_late = X.copy()
    order = shuffled()
    varying_late[order[:300], :4] = [7.0, -1e6, 0.0, 1e-3]
    chunks = np.array_split(order, 6)
    model = SoftmaxRegression(random_state=0)
    for number, rows in enumerate([*chunks, *chunks[3:] * 10]):
        model.partial_fit(varying_late[rows], y[rows], classes=CLASSES)
        if number < 3:
            assert not model.coef_[:, :4].any()
    assert np.isfinite(model.coef_).all()
    seen = order[300:]
    null = log_loss(y[seen], np.full((300, len(CLASSES)), 1 / len(CLASSES)))
    assert log_loss(y[seen], model.predict_proba(varying_late[seen])) < 0.9 * null


def test_classes_not_seen_so_far_have_small_finite_probabilities():
    """A class that is announced and has not come is possible, not likely; it is learned later."""
    most = np.flatnonzero(y != CLASSES[2])
    model = streamed(np.array_split(most, 3))
    P = model.predict_proba(X)[:, 2]
    assert (P > 0).all() and P.mean() < 0.02
    assert streamed([shuffled()] * 5, model).predict_proba(X)[:, 2].mean() > 0.05


def test_the_prior_fades_as_rows_arrive():
    """The penalty is 1 / (C S): what a strong one forbids at first, many rows say all the same."""
    strong = SoftmaxRegression(C=1e-3, random_state=0, penalty_factor=X.var(axis=0))
    sizes = []
    for _ in range(30):
        streamed([shuffled()], strong)
        sizes.append(np.linalg.norm(strong.coef_ * X.std(axis=0)))
    assert sizes[-1] > 3 * sizes[0]
    weaker = clone(strong).set_params(C=30e-3, solver="auto").fit(X, y)
    assert sizes[-1] == pytest.approx(np.linalg.norm(weaker.coef_ * X.std(axis=0)), rel=0.2)


def test_weights_of_zero_say_nothing_and_others_count():
    """The labels of rows without weight change nothing; the other rows are learned."""
    silent = np.arange(len(y)) % 2
    models = [SoftmaxRegression(random_state=0) for _ in range(2)]
    for shift, model in enumerate(models, start=1):
        wrong = np.where(silent, (y + shift) % len(CLASSES), y)
        for _ in range(10):
            model.partial_fit(X, wrong, classes=CLASSES, sample_weight=1.0 - silent)
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    np.testing.assert_array_equal(models[0].intercept_, models[1].intercept_)
    assert excess(models[0]) < 0.2


def test_learning_goes_on_from_a_fit():
    """After fit, a chunk of the same data leaves the optimum nearly where it was."""
    model = SoftmaxRegression(random_state=0).fit(X, y)
    before = objective(model.coef_, model.intercept_, X, one_hot(y))
    streamed([shuffled()], model)
    after = objective(model.coef_, model.intercept_, X, one_hot(y))
    assert before <= after < 1.1 * before
    assert model.n_samples_seen_ == 2 * len(y) and model.n_iter_ == 1


def test_a_fit_begins_anew():
    """What was learned from a stream does not enter a later fit, nor what follows it."""
    model = streamed([shuffled()]).fit(X, y)
    np.testing.assert_array_equal(model.coef_, BEST.coef_)
    again = SoftmaxRegression(random_state=0).fit(X, y)
    for estimator in (model, again):
        streamed([shuffled()], estimator)
    np.testing.assert_array_equal(model.coef_, again.coef_)


def test_a_stream_survives_pickling():
    """A stream goes on where it was after a copy through pickle."""
    halves = np.array_split(shuffled(), 2)
    model = streamed(halves[:1])
    unpickled = streamed(halves[1:], pickle.loads(pickle.dumps(model)))
    np.testing.assert_array_equal(unpickled.coef_, streamed(halves[1:], model).coef_)


def classes_within(value):
    """The classes of a module of softreg that are within what pickle or skops saves of a value."""
    found = {type(value)} if type(value).__module__.startswith("softreg") else set()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = value
    else:
        parts = [value.__dict__] if hasattr(value, "__dict__") else []
    return found.union(*map(classes_within, parts))


WIDE = np.random.default_rng(0).normal(size=(60, 1100))
SAVED = {
    "a fit": lambda: SoftmaxRegression().fit(X, y),
    "chunks": lambda: SoftmaxRegression().fit_chunks([(X, y)]),
    "epochs": lambda: SoftmaxRegression(solver=MiniBatch(n_epochs=2), random_state=0).fit(X, y),
    "a path": lambda: SoftmaxRegressionCV(2, cv=2).fit(X, y),
    "labels with a C each": lambda: SigmoidRegressionCV(2, cv=2, per_label=True).fit(X, one_hot(y)),
    "a stream": lambda: streamed([shuffled()]),
    "a stream after a fit": lambda: streamed([shuffled()], clone(BEST).fit(X, y)),
    "a stream of two classes": lambda: SoftmaxRegression().partial_fit(X, y > 0, classes=[0, 1]),
    "a stream of labels": lambda: SigmoidRegression().partial_fit(X, one_hot(y)),
    "a sparse stream": lambda: SoftmaxRegression().partial_fit(sp.csr_array(X), y, classes=CLASSES),
    "a wide stream": lambda: SoftmaxRegression().partial_fit(WIDE, y[:60], classes=CLASSES),
    "a stream of candidates": lambda: streamed(
        [shuffled()], SoftmaxRegression(solver=MiniBatch(n_candidates=2), random_state=0)
    ),
}


@pytest.mark.parametrize("case", SAVED)
def test_a_saved_model_is_of_two_classes(case):
    """The estimator's and its solver's: skops and MLflow ask their users to trust each one."""
    model = SAVED[case]()
    assert classes_within(model) == {type(model)} | {type(model.__dict__.get("solver_", model))}


@pytest.mark.parametrize("case", [case for case in SAVED if "stream" in case])
def test_a_stream_goes_on_from_its_copy_bit_for_bit(case):
    """Dense, sparse and wide, of classes and labels: the same steps as without a copy."""
    model = SAVED[case]().set_params(random_state=0)
    copied = pickle.loads(pickle.dumps(model))
    rows = WIDE if "wide" in case else sp.csr_array(X) if "sparse" in case else X
    targets = one_hot(y) if "labels" in case else y > 0 if "two" in case else y
    for _ in range(2):
        for estimator in (model, copied):
            estimator.partial_fit(rows, targets[: rows.shape[0]])
    for name in ("coef_", "intercept_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(copied, name))


@pytest.mark.parametrize(
    "make_X", [sp.csr_array, np.float32, pd.DataFrame], ids=["CSR", "float32", "frame"]
)
def test_sparse_single_precision_and_frames(make_X):
    """Chunks in other forms lead to where arrays lead; coefficients are doubles."""
    counts = np.random.default_rng(0).poisson(0.3, size=(300, 12)).astype(float)
    kinds = (counts[:, :3] + np.random.default_rng(1).gumbel(size=(300, 3))).argmax(axis=1)
    plain, other = (SoftmaxRegression(random_state=0) for _ in range(2))
    for rows in np.array_split(np.arange(300), 5):
        plain.partial_fit(counts[rows], kinds[rows], classes=[0, 1, 2])
        other.partial_fit(make_X(counts[rows]), kinds[rows], classes=[0, 1, 2])
    losses = [log_loss(kinds, m.predict_proba(make_X(counts))) for m in (plain, other)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert other.coef_.dtype == np.float64


def test_dense_and_sparse_chunks_may_alternate():
    """A stream does not mind in which form a chunk comes."""
    model = SoftmaxRegression(random_state=0)
    for number, rows in enumerate(np.array_split(shuffled(), 6)):
        chunk = sp.csr_array(X[rows]) if number % 2 else X[rows]
        model.partial_fit(chunk, y[rows], classes=CLASSES)
    assert excess(model) < 0.5


def test_two_classes_are_one_row():
    """The binary stream: one row of coefficients, labels of any kind."""
    answer = np.where(y == 0, "yes", "no")
    model = SoftmaxRegression(random_state=0)
    for rows in np.array_split(shuffled(), 10):
        model.partial_fit(X[rows], answer[rows], classes=["yes", "no"])
    assert model.coef_.shape == (1, 12) and list(model.classes_) == ["no", "yes"]
    best = SoftmaxRegression().fit(X, answer)
    assert model.score(X, answer) > best.score(X, answer) - 0.05


def test_soft_targets_name_their_classes_by_columns():
    """Probabilities need no announcement: their columns are the classes, and are learned."""
    votes = pd.DataFrame(0.9 * one_hot(y) + 0.1 / len(CLASSES), columns=list("abcde"))
    model = SoftmaxRegression(random_state=0)
    for rows in np.array_split(shuffled(), 4):
        model.partial_fit(X[rows], votes.iloc[rows])
    assert list(model.classes_) == list("abcde")
    loss = -(votes * model.predict_log_proba(X)).sum(axis=1).mean()
    assert loss < -0.9 * (votes.mean() * np.log(votes.mean())).sum()


def test_labels_may_be_unknown():
    """A stream of labels: any number a row, NaN where one is not known."""
    A, Y = make_multilabel_classification(600, n_classes=3, random_state=0)
    with_unknown = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    model = SigmoidRegression(random_state=0)
    for rows in np.array_split(np.arange(600), 10):
        model.partial_fit(A[rows], with_unknown[rows])
    full = SigmoidRegression().fit(A, Y)
    assert model.multilabel_ and abs(model.score(A, Y) - full.score(A, Y)) < 0.1


def test_one_vs_rest_streams():
    """SigmoidRegression of one class a row learns a sigmoid each."""
    model = SigmoidRegression(random_state=0)
    for rows in np.array_split(shuffled(), 10):
        model.partial_fit(X[rows], y[rows], classes=CLASSES)
    assert not model.multilabel_
    assert model.score(X, y) > SigmoidRegression().fit(X, y).score(X, y) - 0.1


# ---- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.full(len(y), 99)}, "holds .*99.*first call to partial_fit"),
        ({"classes": [0, 1]}, "classes="),
        ({"X": X[:, :3]}, "3 features"),
        ({"X": np.where(np.arange(12) == 3, np.nan, X)}, "NaN"),
        ({"sample_weight": -np.ones(len(y))}, "sample_weight"),
        ({"y": y[:5]}, "inconsistent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_chunk_is_named_and_nothing_is_lost(change, message):
    """The model stays as it was before the chunk, and learns on from the next."""
    model = streamed([shuffled()])
    before = pickle.dumps({name: getattr(model, name) for name in ("coef_", "loss_curve_")})
    with pytest.raises(ValueError, match=message):
        model.partial_fit(**{"X": X, "y": y} | change)
    after = pickle.dumps({name: getattr(model, name) for name in ("coef_", "loss_curve_")})
    assert before == after
    assert streamed([shuffled()], model).n_iter_ == 2


def test_classes_are_asked_for_once():
    """Without classes the first call fails and says why; later calls need none."""
    model = SoftmaxRegression(random_state=0)
    with pytest.raises(ValueError, match="first call to partial_fit"):
        model.partial_fit(X, y)
    assert not hasattr(model, "coef_")
    model.partial_fit(X, y, classes=CLASSES).partial_fit(X, y)
    named = SoftmaxRegression(classes=CLASSES[::-1], random_state=0).partial_fit(X, y)
    np.testing.assert_array_equal(named.classes_, CLASSES[::-1])


def test_balanced_weights_need_all_rows():
    """With class_weight="balanced" there is no partial_fit; a dict weighs rows of its classes."""
    with pytest.raises(AttributeError) as error:
        streamed([shuffled()], SoftmaxRegression(class_weight="balanced"))
    assert "balanced" in str(error.value.__cause__)
    by_class = streamed([shuffled()], SoftmaxRegression(class_weight={0: 2.0}, random_state=0))
    by_row = SoftmaxRegression(random_state=0)
    rows = shuffled()
    by_row.partial_fit(X[rows], y[rows], classes=CLASSES, sample_weight=1.0 + (y[rows] == 0))
    close(by_class.coef_, by_row.coef_, 1e-9)
    assert not np.allclose(by_class.coef_, streamed([rows]).coef_)


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_solvers_that_read_data_many_times_have_no_partial_fit(solver):
    """hasattr is False, and the cause of the AttributeError names the remedy."""
    model = SoftmaxRegression(solver=solver)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, y, classes=CLASSES)
    assert "fit_chunks" in str(error.value.__cause__)
    assert hasattr(SoftmaxRegression(solver=MiniBatch()), "partial_fit")


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_what_is_zero_is_not_learned_from_streams(kind):
    """With l1_ratio above 0 there is no partial_fit, nor MiniBatch; errors name the remedies."""
    model = kind(l1_ratio=0.5)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, y, classes=CLASSES)
    assert "l1_ratio=0.5" in str(error.value.__cause__)
    assert "use fit or fit_chunks, or l1_ratio=0" in str(error.value.__cause__)
    for solver in ("minibatch", MiniBatch()):
        model.set_params(solver=solver)
        for fit in (lambda: model.fit(X, y), lambda: model.fit_chunks([(X, y)])):
            with pytest.raises(ValueError, match='l1_ratio > 0.*take solver="auto".*or l1_ratio=0'):
                fit()


def test_a_stream_goes_on_from_a_lasso_as_from_any_coefficients():
    """After a sparse fit, with l1_ratio=0, zeros learn too."""
    model = SoftmaxRegression(0.05, l1_ratio=1, standardize=True, random_state=0).fit(X, y)
    zeros = model.coef_ == 0
    assert zeros.any()
    model.set_params(l1_ratio=0, standardize=False, C=1.0).partial_fit(X, y)
    assert model.coef_[zeros].all() and model.n_samples_seen_ == 2 * len(y)


def test_labels_after_classes_are_refused():
    """y with columns after y without, or the other way round, is another model."""
    model = SigmoidRegression(random_state=0).partial_fit(X, y, classes=CLASSES)
    with pytest.raises(ValueError, match="y is not what the model was fitted on"):
        model.partial_fit(X, one_hot(y))


def test_columns_of_y_keep_their_order():
    """A DataFrame whose columns are not the classes, in their order, is refused."""
    votes = pd.DataFrame(one_hot(y), columns=list("abcde"))
    model = SoftmaxRegression(random_state=0).partial_fit(X, votes)
    for wrong in (votes[list("edcba")], votes.rename(columns={"a": "x"})):
        with pytest.raises(ValueError, match="y has the columns"):
            model.partial_fit(X, wrong)
    with pytest.raises(ValueError, match="y has the columns"):
        SoftmaxRegression().partial_fit(X, votes, classes=list("edcba"))


@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_the_intercept_stays_what_it_was(begin):
    """fit_intercept cannot change while a model goes on learning."""
    model = SoftmaxRegression(random_state=0)
    model = model.fit(X, y) if begin == "fit" else streamed([shuffled()], model)
    with pytest.raises(ValueError, match="fit_intercept=False"):
        model.set_params(fit_intercept=False).partial_fit(X, y)


def test_chunks_of_one_size_are_shuffled_in_orders_of_their_own():
    """A seed makes streams the same, not the order within each of its chunks."""
    solver = MiniBatch(batch_size=64)
    once, again = (
        streamed([shuffled()] * 2, SoftmaxRegression(solver=solver, random_state=0))
        for _ in range(2)
    )
    np.testing.assert_array_equal(once.coef_, again.coef_)
    orders = [generator_maker(0, chunk)().permutation(10).tolist() for chunk in range(2)]
    assert orders[0] != orders[1]


def test_a_stream_of_labels_starts_at_answers_of_which_half_a_yes_and_half_a_no_are_known():
    """Its first loss is that of rates (yes + 1/2) / (n + 1), also where all answers agree."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(8, 3)), np.zeros((8, 3), dtype=int)
    Y[:, 0], Y[:3, 1] = 1, 1
    model = SigmoidRegression(random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    rate = (Y.sum(axis=0) + 0.5) / 9
    loss = -(Y * np.log(rate) + (1 - Y) * np.log(1 - rate)).mean(axis=0).sum()
    assert model.loss_curve_[0] == pytest.approx(loss, rel=1e-12)
