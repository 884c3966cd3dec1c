"""Laws of random numbers: they are drawn where a solver needs them, by the state it was given."""

import numpy as np
import pytest
from problems import one_hot, overlapping
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    inference,
    regularization_path,
)
from softreg.calibration import tune_thresholds
from softreg.solvers import MiniBatch

X, y = overlapping(n=300)
Y = one_hot(y)
GLOBAL = check_random_state(None)
IN_ORDER = MiniBatch(n_epochs=2, batch_size=50, shuffle=False)
FINAL = [SoftmaxRegression, SigmoidRegression]


def chunks():
    """The rows in three chunks."""
    return ((X[rows], y[rows]) for rows in np.array_split(np.arange(300), 3))


def streamed(model):
    for X_chunk, y_chunk in chunks():
        model.partial_fit(X_chunk, y_chunk, classes=[0, 1, 2])
    return model


def state_of(source):
    """What a legacy RandomState, or NumPy's global one, goes on from."""
    name, keys, *rest = source.get_state()
    return name, keys.tolist(), *rest


# What no random number is needed for.
DETERMINISTIC = {
    "fit": lambda model: model.fit(X, y),
    "fit of columns": lambda model: model.fit(X, Y),
    "lbfgs": lambda model: model.set_params(solver="lbfgs").fit(X, y),
    "newton": lambda model: model.set_params(solver="newton").fit(X, y),
    "warm start": lambda model: model.set_params(warm_start=True).fit(X, y).fit(X, y),
    "fit_chunks": lambda model: model.fit_chunks(chunks),
    "batches in order": lambda model: model.set_params(solver=IN_ORDER).fit(X, y),
    "chunks in order": lambda model: model.set_params(solver=IN_ORDER).fit_chunks(chunks),
    "a stream in order": lambda model: streamed(model.set_params(solver=IN_ORDER)),
    "a single batch": lambda model: model.set_params(solver=MiniBatch(batch_size=300)).fit(X, y),
    "a stream of single batches": streamed,
    "predictions": lambda model: model.fit(X, y).predict_top_k(X, 2),
    "score": lambda model: model.fit(X, y).score(X, y),
    "leave-one-out": lambda model: inference.loo(model.fit(X, y), X, y),
    "path": lambda model: regularization_path(X, y, 3, estimator=model),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("kind", FINAL)
def test_nothing_is_drawn_where_nothing_is_random(kind, name):
    """NumPy's global state, and a RandomState that was passed in, stay as they are."""
    passed_in = np.random.RandomState(7)
    before = state_of(GLOBAL), state_of(passed_in)
    DETERMINISTIC[name](kind())
    DETERMINISTIC[name](kind(random_state=passed_in))
    assert (state_of(GLOBAL), state_of(passed_in)) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: SoftmaxRegressionCV(Cs=2, cv=3).fit(X, y).score(X, y),
        lambda: SigmoidRegressionCV(Cs=2, cv=3, per_label=True).fit(X, Y),
        lambda: SoftmaxRegressionCV(Cs=2, cv="loo").fit(X, y),
        lambda: SoftmaxRegressionCV(Cs=2, cv=StratifiedKFold(3, shuffle=True, random_state=0)).fit(
            X, y
        ),
        lambda: tune_thresholds(SigmoidRegression(), X, Y),
    ],
    ids=["folds", "labels", "leave-one-out", "shuffled folds", "thresholds"],
)
def test_nothing_is_drawn_from_the_global_state_by_what_has_no_random_state(call):
    """Cross-validation and thresholds: NumPy's global state stays as it is."""
    before = state_of(GLOBAL)
    call()
    assert state_of(GLOBAL) == before


@pytest.mark.parametrize("kind", FINAL)
def test_a_fit_without_random_numbers_is_the_same_under_any_seed(kind):
    """The optimum, bit for bit, whatever the random state says."""
    fits = [kind(random_state=seed).fit(X, y) for seed in (None, 0, 1, np.random.RandomState(2))]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.coef_, fits[0].coef_)
        np.testing.assert_array_equal(fit.loss_curve_, fits[0].loss_curve_)


RANDOM = {
    "shuffled batches": (MiniBatch(n_epochs=2, batch_size=50), "fit"),
    "rows held out": (MiniBatch(n_epochs=2, shuffle=False, early_stopping=True), "fit"),
    "candidates": (MiniBatch(n_epochs=2, batch_size=2, shuffle=False, n_candidates=1), "fit"),
    "shuffled chunks": (MiniBatch(n_epochs=2, batch_size=50), "fit_chunks"),
    "a stream": (MiniBatch(batch_size=50), "partial_fit"),
}


def coefficients(name, random_state):
    """Those of a fit that draws, from a state."""
    solver, method = RANDOM[name]
    model = SoftmaxRegression(solver=solver, random_state=random_state)
    calls = {
        "fit": lambda: model.fit(X, y),
        "fit_chunks": lambda: model.fit_chunks(chunks),
        "partial_fit": lambda: streamed(model),
    }
    return calls[method]().coef_


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_is_reproduced_by_a_seed(name):
    """The same integer gives the same coefficients, another one others; no global state is used."""
    before = state_of(GLOBAL)
    first, again, other = (coefficients(name, seed) for seed in (0, 0, 1))
    assert state_of(GLOBAL) == before
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_draws_from_the_state_that_it_is_given(name):
    """A RandomState goes on from fit to fit; None is NumPy's global one, as in scikit-learn."""
    given = np.random.RandomState(0)
    first, second = (coefficients(name, given) for _ in range(2))
    assert not np.array_equal(second, first)
    before = GLOBAL.get_state()
    try:
        GLOBAL.set_state(np.random.RandomState(0).get_state())
        np.testing.assert_array_equal(coefficients(name, None), first)
    finally:
        GLOBAL.set_state(before)


@pytest.mark.parametrize("kind", FINAL)
def test_a_wrong_random_state_is_refused_also_where_nothing_is_drawn(kind):
    """What is no state of random numbers raises in any fit."""
    with pytest.raises(ValueError, match="cannot be used to seed"):
        kind(random_state="seven").fit(X, y)
