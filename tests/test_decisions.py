"""Decisions: the class, or the answer, of least expected cost, and none where that costs less."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import labels_drawn, overlapping
from scipy.special import expit, softmax
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from test_bad_input import assert_untouched, fitted_state
from test_multilabel import TREES, simulated, with_holes

from softreg import SigmoidRegression, SoftmaxRegression, SoftmaxRegressionCV
from softreg.calibration import decide

X, y = overlapping(n=200)
X2, y2 = overlapping(n=200, K=2)
X5, y5 = overlapping(n=200, K=5)
LABELS_X, LABELS = simulated(n=200, L=4)
MODELS = {
    "three": (SoftmaxRegression().fit(X, TREES[y]), X),
    "five": (SoftmaxRegression().fit(X5, y5), X5),
    "two": (SoftmaxRegression().fit(X2, TREES[y2]), X2),
    "chosen": (SoftmaxRegressionCV([0.1, 1.0], cv=3).fit(X, y), X),
    "one-vs-rest": (SigmoidRegression().fit(X, y), X),
    "two of SigmoidRegression": (SigmoidRegression(threshold=0.2).fit(X2, y2), X2),
}
MODEL = MODELS["three"][0]
LABEL_MODEL = SigmoidRegression(threshold=0.9).fit(LABELS_X, with_holes(LABELS))
RNG = np.random.default_rng(0)
NONE = 1 - np.eye(3)  # what a mistake costs, whatever the mistake
COSTS = np.array([[0.0, 1, 2], [6, 0, 1], [12, 3, 0]])


def cheapest(p, costs, abstain_cost):
    """The number of the cheapest decision for one row of probabilities, tried one by one."""
    K = len(p)
    best, least = None, np.inf
    for decided in range(K):
        expected = sum(p[true] * costs[true, decided] for true in range(K))
        if expected < least:
            best, least = decided, expected
    return None if abstain_cost is not None and abstain_cost < least else best


@pytest.mark.parametrize("abstain_cost", [None, 0.4, -1.0])
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize(("model", "columns"), MODELS.values(), ids=MODELS)
def test_no_decision_has_a_lower_expected_cost(model, columns, by_row, abstain_cost):
    """Against all decisions, tried one by one, with costs of all rows or of each."""
    n, K = len(columns), len(model.classes_)
    costs = 3 * (1 - np.eye(K)) + np.random.default_rng(K).normal(size=(n,) * by_row + (K, K))
    decided = decide(model, columns, costs, abstain_cost=abstain_cost)
    P, each = model.predict_proba(columns), np.broadcast_to(costs, (n, K, K))
    best = [cheapest(p, c, abstain_cost) for p, c in zip(P, each, strict=True)]
    assert list(decided) == [None if k is None else model.classes_[k] for k in best]
    assert len(set(best)) > 1 or abstain_cost == -1


LABEL_COSTS = {
    "one table": np.array([[0.0, 1.0], [4.0, -1.0]]),
    "a table each": RNG.normal(size=(4, 2, 2)),
    "a table each, by row": RNG.normal(size=(200, 4, 2, 2)),
}


@pytest.mark.parametrize("abstain_cost", [None, 0.3])
@pytest.mark.parametrize("costs", LABEL_COSTS.values(), ids=LABEL_COSTS)
def test_each_label_is_decided_by_itself(costs, abstain_cost):
    """No or yes by (2, 2) costs, tried one by one; NaN where neither."""
    decided = decide(LABEL_MODEL, LABELS_X, costs, abstain_cost=abstain_cost)
    P, each = LABEL_MODEL.predict_proba(LABELS_X), np.broadcast_to(costs, (200, 4, 2, 2))
    expected = [
        [cheapest([1 - p, p], c, abstain_cost) for p, c in zip(*row, strict=True)]
        for row in zip(P, each, strict=True)
    ]
    np.testing.assert_array_equal(decided, np.array(expected, dtype=float))
    assert decided.dtype.kind == ("i" if abstain_cost is None else "f")
    assert len(np.unique(decided[~np.isnan(decided)])) == 2


@pytest.mark.parametrize("name", ["three", "five", "two", "chosen", "one-vs-rest"])
def test_where_all_mistakes_cost_the_same_the_likeliest_class_is_decided(name):
    """0 and 1 as costs: `predict`, with the same dtype."""
    model, columns = MODELS[name]
    K = len(model.classes_)
    decided, predicted = decide(model, columns, 1 - np.eye(K)), model.predict(columns)
    np.testing.assert_array_equal(decided, predicted)
    assert decided.dtype == predicted.dtype


def test_two_classes_have_the_threshold_of_their_costs():
    """The second pays where p > c01 / (c01 + c10), whatever the estimator's own threshold."""
    model, columns = MODELS["two of SigmoidRegression"]
    decided = decide(model, columns, [[0, 3], [1, 0]])
    np.testing.assert_array_equal(decided, model.predict_proba(columns)[:, 1] > 3 / 4)
    assert 0 < decided.mean() < 1


def test_abstaining_is_the_rule_of_chow():
    """A mistake costs 1, and no decision t: none where the largest probability is below 1 - t."""
    decided = decide(MODEL, X, NONE, abstain_cost=0.45)
    none = MODEL.predict_proba(X).max(axis=1) < 0.55
    np.testing.assert_array_equal(pd.isna(decided), none)
    np.testing.assert_array_equal(decided[~none].astype(str), MODEL.predict(X)[~none])
    assert 0 < none.mean() < 1


@pytest.mark.parametrize("abstain_cost", [None, 0.8])
def test_costs_are_least_where_the_probabilities_are_true(abstain_cost):
    """Of a model that is true, by simulation: the mean cost is the expected one, and the least.

    It is the expected one within four standard errors, and by as many less than that of `predict`
    and of decisions by other costs.
    """
    rng, n = np.random.default_rng(1), 40_000
    columns = rng.normal(size=(n, 4))
    Z = columns @ rng.normal(size=(4, 3))
    truth = labels_drawn(rng, Z)
    model = SoftmaxRegression().fit(columns[:99], truth[:99])
    model.coef_, model.intercept_ = np.linalg.lstsq(columns, Z, rcond=None)[0].T, np.zeros(3)
    no_decision = np.inf if abstain_cost is None else abstain_cost

    def cost_of(decided):
        none = pd.isna(decided)
        cost = np.full(n, no_decision)
        cost[~none] = COSTS[truth[~none], decided[~none].astype(int)]
        return cost

    cost = cost_of(decide(model, columns, COSTS, abstain_cost=abstain_cost))
    expected = np.minimum((softmax(Z, axis=1) @ COSTS).min(axis=1), no_decision)
    assert abs(cost.mean() - expected.mean()) < 4 * cost.std() / np.sqrt(n)
    others = [model.predict(columns), decide(model, columns, COSTS.T), decide(model, columns, NONE)]
    for other in others:
        more = cost_of(other) - cost
        assert more.mean() > 4 * more.std() / np.sqrt(n)


def test_of_equally_good_classes_the_first_is_decided_and_rather_than_none():
    """Costs that are all the same; an abstain cost that is the same, too, is not less."""
    even = np.ones((3, 3))
    assert set(decide(MODEL, X, even)) == {"ash"}
    model = SoftmaxRegression(fit_intercept=False).fit(X, y)
    assert list(decide(model, np.zeros((1, 4)), NONE)) == [0]
    assert (decide(LABEL_MODEL, LABELS_X, np.zeros((2, 2)), abstain_cost=0.0) == 0).all()


def test_probabilities_next_to_one_keep_what_is_left_of_one():
    """P(no) = sigmoid(-40) is 4e-18: a false alarm that costs 1e20 outweighs a miss of 1."""
    model = SigmoidRegression().fit(LABELS_X, LABELS)
    model.coef_, model.intercept_ = np.zeros((4, 5)), np.full(4, 40.0)
    assert (decide(model, LABELS_X[:1], [[0, 1e20], [1, 0]]) == 0).all()
    assert (decide(model, LABELS_X[:1], [[0, 0.9 / expit(-40)], [1, 0]]) == 1).all()


STORAGES = {
    "CSR": sp.csr_array,
    "float32": np.float32,
    "lists": lambda X: X.tolist(),
    "row by row": None,
}


@pytest.mark.parametrize("storage", STORAGES)
def test_decisions_do_not_depend_on_how_rows_are_stored(storage):
    """CSR, single precision, lists; one row at a time."""
    expected = decide(MODEL, X, COSTS, abstain_cost=0.9)
    if storage == "row by row":
        decided = [decide(MODEL, X[[i]], COSTS, abstain_cost=0.9)[0] for i in range(len(X))]
    else:
        decided = decide(MODEL, STORAGES[storage](X), COSTS, abstain_cost=0.9)
    np.testing.assert_array_equal(decided, expected)


def test_offsets_are_part_of_the_scores():
    """Decisions are those from the probabilities with the offset."""
    offset = RNG.normal(size=(200, 3))
    best = (MODEL.predict_proba(X, offset=offset) @ COSTS).argmin(axis=1)
    np.testing.assert_array_equal(decide(MODEL, X, COSTS, offset=offset), TREES[best])


KINDS = {
    "texts": TREES,
    "objects": np.array([("a", 1), "b", 3.5], dtype=object)[[1, 2, 0]],
    "dates": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], dtype="datetime64[ns]"),
    "Booleans": np.array([False, True]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_classes_of_any_kind_come_back_as_they_are(kind):
    """Without abstaining in their dtype, else as objects, None where there is no decision."""
    classes = KINDS[kind]
    columns, codes = (X, y) if len(classes) == 3 else (X2, y2)
    model = SoftmaxRegression(classes=list(classes)).fit(columns, classes[codes])
    costs = 1 - np.eye(len(classes))
    plain = decide(model, columns, costs)
    decided = decide(model, columns, costs, abstain_cost=0.45)
    none = pd.isna(decided)
    assert plain.dtype == model.classes_.dtype and decided.dtype == object and 0 < none.mean() < 1
    assert list(decided[~none]) == list(plain[~none])


def test_costs_may_be_a_table_with_the_names_of_the_classes():
    """In their order; any other is refused, as it would be misread."""
    expected = decide(MODEL, X, COSTS)
    np.testing.assert_array_equal(decide(MODEL, X, pd.DataFrame(COSTS, TREES, TREES)), expected)
    for wrong in (pd.DataFrame(COSTS, TREES[::-1], TREES[::-1]), pd.DataFrame(COSTS)):
        with pytest.raises(
            ValueError, match=r"costs has the index \[.*must be \['ash', .*to_numpy"
        ):
            decide(MODEL, X, wrong)
    table = pd.DataFrame([[0, 1], [4, 0]])
    assert decide(LABEL_MODEL, LABELS_X, table).shape == (200, 4)


def test_deciding_leaves_the_estimator_as_it_was():
    """No attribute comes, goes or changes."""
    before = fitted_state(MODEL)
    decide(MODEL, X, NONE, abstain_cost=0.1)
    assert_untouched(MODEL, before)


REFUSED = {
    "shape": ({"costs": np.ones((2, 2))}, r"costs must have shape \(3, 3\) or \(200, 3, 3\)"),
    "NaN": ({"costs": NONE * np.nan}, "costs must be finite, got nan"),
    "abstaining is text": ({"abstain_cost": "0.1"}, "abstain_cost='0.1' must be a finite number"),
    "abstaining is NaN": ({"abstain_cost": np.nan}, "abstain_cost=nan must be a finite number"),
    "abstaining by row": ({"abstain_cost": [0.1]}, r"abstain_cost=\[0.1\] must be a finite"),
    "columns": ({"X": X[:, :2]}, "2 features.*expecting 4"),
    "NaN in X": ({"X": X * np.nan}, "X holds missing values"),
    "offset": ({"offset": np.ones((3, 3))}, "offset must have shape"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_are_refused_in_words_that_help(changes, message):
    """The argument, its value, and what would be right."""
    with pytest.raises(ValueError, match=message):
        decide(MODEL, **{"X": X, "costs": NONE, **changes})


def test_what_is_no_table_of_costs_and_no_fitted_estimator_is_refused():
    """Text and None; scikit-learn's estimators; what is not fitted."""
    for wrong in ("costs", None, sp.csr_array(NONE)):
        with pytest.raises(TypeError, match="costs must be an array of real numbers"):
            decide(MODEL, X, wrong)
    with pytest.raises(TypeError, match="decide needs a fitted estimator of softreg"):
        decide(LogisticRegression().fit(X, y), X, NONE)
    with pytest.raises(NotFittedError):
        decide(SoftmaxRegression(), X, NONE)
    with pytest.raises(ValueError, match=r"\(2, 2\) or \(4, 2, 2\) or \(200, 4, 2, 2\)"):
        decide(LABEL_MODEL, LABELS_X, NONE)
