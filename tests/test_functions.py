"""Laws and outside references of the plain functions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics import log_loss

from softreg import SoftmaxRegression, functions
from softreg.functions import cross_entropy, log_softmax, sigmoid, softmax, softmax_jacobian

HSB = Path(__file__).parents[1] / "examples" / "data" / "hsbdemo.csv"


@st.composite
def score_arrays(draw, largest=50.0, max_dims=3):
    """Scores of 1 to 3 dimensions and one of their axes, counted from either end."""
    shape = draw(hnp.array_shapes(max_dims=max_dims, max_side=4))
    scores = draw(hnp.arrays(float, shape, elements=st.floats(-largest, largest)))
    return scores, draw(st.integers(-len(shape), len(shape) - 1))


@st.composite
def scored_rows(draw, fewest_classes=1):
    """Rows of scores, classes last, with a class index and a probability row for each."""
    n, K = draw(st.integers(1, 5)), draw(st.integers(fewest_classes, 4))
    scores = draw(hnp.arrays(float, (n, K), elements=st.floats(-50, 50)))
    indices = draw(hnp.arrays(int, n, elements=st.integers(0, K - 1)))
    parts = draw(hnp.arrays(float, (n, K), elements=st.floats(0.125, 1)))
    return scores, indices, parts / parts.sum(axis=1, keepdims=True)


def differences(function, x, step=1e-5):
    """Central differences of a function of an array, the direction as the last axis."""
    directions = step * np.eye(x.size).reshape(x.size, *x.shape)
    return np.stack([(function(x + h) - function(x - h)) / (2 * step) for h in directions], axis=-1)


# softmax, log_softmax, sigmoid


@pytest.mark.parametrize("ours", ["softmax", "log_softmax", "sigmoid"])
def test_plain_functions_are_scipys_own(ours):
    """Nothing is wrapped, so nothing can differ."""
    theirs = {"sigmoid": "expit"}.get(ours, ours)
    assert getattr(functions, ours) is getattr(scipy.special, theirs)


def test_softmax_of_the_worked_example():
    """The numbers of a published worked example."""
    expected = [0.01573172, 0.03501159, 0.94925668]
    assert_allclose(softmax([0.7, 1.5, 4.8], axis=-1), expected, atol=5e-9)
    assert_allclose(np.exp(log_softmax([0.7, 1.5, 4.8], axis=-1)), expected, atol=5e-9)


def test_equal_rows_of_coefficients_cannot_tell_two_classes_apart():
    """The starting rows of a published tutorial give (0, 1/2, 1/2), to 12 digits."""
    rows = np.array([[-250, 40, 1], [-220, 40, 1], [-220, 40, 1]])
    assert_allclose(softmax(rows @ [1, 4.5, 90], axis=-1), [0, 0.5, 0.5], atol=1e-12)


@given(st.floats(-700, 700))
def test_sigmoid_is_softmax_against_a_zero(z):
    """With two classes, softmax(z, 0) is the sigmoid of z."""
    assert_allclose(softmax([z, 0.0], axis=-1)[0], sigmoid(z), rtol=1e-12)


# cross_entropy against outside references


def test_cross_entropy_of_the_worked_example():
    """The loss of a class is minus the logarithm of its published probability."""
    expected = -np.log([0.01573172, 0.03501159, 0.94925668])
    scores = np.tile([0.7, 1.5, 4.8], (3, 1))
    assert_allclose(cross_entropy(scores, [0, 1, 2], reduction="none"), expected, rtol=1e-6)


def test_cross_entropy_gives_the_published_log_likelihood_of_hsbdemo():
    """Published coefficients of prog ~ ses + write give the published log-likelihood."""
    students = pd.read_csv(HSB)
    X = np.column_stack(
        [np.ones(200), students.ses == "middle", students.ses == "high", students.write]
    )
    academic = np.zeros(4)
    general = [2.852186, -0.533291, -1.162832, -0.057928]
    vocation = [5.218200, 0.291393, -0.982670, -0.113603]
    indices = np.searchsorted(["academic", "general", "vocation"], students.prog)
    total = cross_entropy(X @ np.transpose([academic, general, vocation]), indices, reduction="sum")
    assert_allclose(total, 179.98172621509272, rtol=1e-9)


@given(scored_rows(fewest_classes=2), st.data())  # log_loss refuses a single class
def test_cross_entropy_is_sklearns_weighted_log_loss(rows, data):
    """Class indices and row weights: the mean of sklearn.metrics.log_loss."""
    scores, indices, _ = rows
    scores = scores / 5  # log_loss clips probabilities below 2e-16
    weights = data.draw(hnp.arrays(float, len(indices), elements=st.floats(0.125, 4)))
    labels = range(scores.shape[1])
    theirs = log_loss(indices, softmax(scores, axis=1), sample_weight=weights, labels=labels)
    assert_allclose(cross_entropy(scores, indices, weights=weights), theirs, rtol=1e-9)


@given(scored_rows())
def test_cross_entropy_is_divergence_plus_entropy(rows):
    """Soft targets: the Kullback-Leibler divergence from y to p plus the entropy of y."""
    scores, _, Y = rows
    divergence = scipy.special.rel_entr(Y, softmax(scores, axis=1)).sum(axis=1)
    entropy = scipy.special.entr(Y).sum(axis=1)
    ours = cross_entropy(scores, Y, reduction="none")
    assert_allclose(ours, divergence + entropy, rtol=1e-9, atol=1e-12)


@given(hnp.arrays(float, 5, elements=st.floats(-1e4, 1e4)), hnp.arrays(bool, 5))
def test_two_classes_are_the_logistic_loss(z, is_second):
    """One score against a zero gives log(1 + exp(-z)) for the second class, z negated else."""
    ours = cross_entropy(np.stack([np.zeros(5), z], axis=-1), is_second.astype(int))
    theirs = -scipy.special.log_expit(np.where(is_second, z, -z)).mean()
    assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


def test_class_weights_multiply_each_class_of_a_soft_target():
    """The published formula: the sum over classes of weight_k y_k (-log p_k)."""
    p = [0.01573172, 0.03501159, 0.94925668]
    expected = 2.0 * 0.25 * -np.log(p[0]) + 0.5 * 0.75 * -np.log(p[2])
    ours = cross_entropy(
        [0.7, 1.5, 4.8], [0.25, 0, 0.75], class_weight=[2.0, 7.0, 0.5], reduction="sum"
    )
    assert_allclose(ours, expected, rtol=1e-6)


# laws of cross_entropy


@given(scored_rows())
def test_a_class_index_is_a_row_with_a_single_one(rows):
    """Indices and their 0/1 rows, of any number type, are the same target."""
    scores, indices, _ = rows
    w = np.arange(1.0, scores.shape[1] + 1)
    for dtype in (bool, int, float):
        one_hot = np.eye(scores.shape[1], dtype=dtype)[indices]
        assert_allclose(
            cross_entropy(scores, one_hot, class_weight=w, label_smoothing=0.1),
            cross_entropy(scores, indices, class_weight=w, label_smoothing=0.1),
            rtol=1e-12,
        )


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)], ids=str)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_any_axis_may_hold_the_classes(shape, kind):
    """Moving the axis of the classes, and saying so, changes no row's loss."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=shape)
    Y = rng.integers(shape[-1], size=shape[:-1])
    Y = Y if kind == "indices" else rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    options = {"class_weight": [1, 2, 3, 4], "label_smoothing": 0.2, "reduction": "none"}
    expected = cross_entropy(scores, Y, **options)
    assert np.shape(expected) == shape[:-1]
    for axis in range(-len(shape), len(shape)):
        moved = Y if kind == "indices" else np.moveaxis(Y, -1, axis)
        ours = cross_entropy(np.moveaxis(scores, -1, axis), moved, axis=axis, **options)
        assert_allclose(ours, expected, rtol=1e-12)


@given(scored_rows(), st.floats(-1e3, 1e3))
def test_a_constant_added_to_all_scores_changes_nothing(rows, constant):
    """Softmax, and so the loss, sees only differences of scores."""
    scores, _, Y = rows
    assert_allclose(cross_entropy(scores + constant, Y), cross_entropy(scores, Y), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_of_huge_scores_is_finite(dtype):
    """A hopeless row costs the difference of its scores, not infinity."""
    scores = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0]], dtype)
    assert_array_equal(cross_entropy(scores, [0, 1], reduction="none"), [0, 2e4])
    assert_array_equal(cross_entropy(scores, np.eye(3)[:2], reduction="none"), [0, 2e4])


@given(scored_rows(), st.data())
def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(rows, data):
    """Whole weights repeat rows."""
    scores, _, Y = rows
    whole = hnp.arrays(int, len(Y), elements=st.integers(0, 3)).filter(np.any)
    times = data.draw(whole)
    repeated = cross_entropy(np.repeat(scores, times, axis=0), np.repeat(Y, times, axis=0))
    assert_allclose(cross_entropy(scores, Y, weights=times), repeated, rtol=1e-9, atol=1e-12)


@given(scored_rows())
def test_a_class_weight_is_the_weight_of_the_rows_of_that_class(rows):
    """For class indices, class weights are row weights, with label smoothing, too."""
    scores, indices, _ = rows
    w = np.array([0.5, 2.0, 3.0, 1.0])[: scores.shape[1]]
    assert_allclose(
        cross_entropy(scores, indices, class_weight=w, label_smoothing=0.3),
        cross_entropy(scores, indices, weights=w[indices], label_smoothing=0.3),
        rtol=1e-12,
    )


@given(scored_rows(), st.floats(0, 0.875))
def test_label_smoothing_moves_the_target_towards_even_odds(rows, a):
    """Smoothing the targets by hand, (1 - a) y + a / K, gives the same loss."""
    scores, _, Y = rows
    by_hand = cross_entropy(scores, (1 - a) * Y + a / Y.shape[1])
    assert_allclose(cross_entropy(scores, Y, label_smoothing=a), by_hand, rtol=1e-9, atol=1e-12)


@given(scored_rows())
def test_equal_scores_cost_the_logarithm_of_the_number_of_classes(rows):
    """Whatever the targets, weights and smoothing: the mean is log K."""
    scores, _, Y = rows
    K = Y.shape[1]
    ours = cross_entropy(
        0 * scores, Y, weights=Y[:, 0], class_weight=np.arange(1, K + 1), label_smoothing=0.1
    )
    assert_allclose(ours, np.log(K), rtol=1e-12)


def test_sum_and_mean_reduce_the_rows_losses():
    """The sum adds the rows' losses; the mean divides it by the rows' weights."""
    rng = np.random.default_rng(1)
    scores, indices = rng.normal(size=(6, 5, 3)), rng.integers(3, size=(6, 5))
    s, w = rng.uniform(size=(6, 1)), np.array([1.0, 2.0, 4.0])
    losses, total, mean = (
        cross_entropy(scores, indices, weights=s, class_weight=w, reduction=reduction)
        for reduction in ("none", "sum", "mean")
    )
    assert_allclose(total, losses.sum(), rtol=1e-12)
    assert_allclose(mean, total / (s * w[indices]).sum(), rtol=1e-12)


def test_the_gradient_is_probability_minus_target():
    """Bishop 4.109, by central differences: s (softmax(z) - y), smoothed targets included."""
    rng = np.random.default_rng(2)
    scores, Y, s = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), size=4), rng.uniform(size=4)

    def loss(Z):
        return cross_entropy(Z, Y, weights=s, label_smoothing=0.1, reduction="sum")

    expected = s[:, None] * (softmax(scores, axis=1) - (0.9 * Y + 0.1 / 3))
    assert_allclose(differences(loss, scores).reshape(4, 3), expected, atol=1e-9)


@pytest.mark.parametrize("targets", ["labels", "probabilities"])
def test_the_mean_is_what_the_estimator_minimises(targets):
    """objective_ is cross_entropy plus ||W||^2 / (2 C S), S the sum of all rows' weights."""
    rng = np.random.default_rng(3)
    X, y, Y = rng.normal(size=(60, 2)), np.arange(60) % 3, rng.dirichlet(np.ones(3), size=60)
    s, w = rng.uniform(size=60), np.array([1.0, 2.0, 0.5])
    y, row_weight = (y, s * w[y]) if targets == "labels" else (Y, s * (Y @ w))
    model = SoftmaxRegression(class_weight=dict(enumerate(w)), label_smoothing=0.1)
    model.fit(X, y, sample_weight=s)
    loss = cross_entropy(
        model.decision_function(X), y, weights=s, class_weight=w, label_smoothing=0.1
    )
    penalty = (model.coef_**2).sum() / (2 * model.C * row_weight.sum())
    assert_allclose(model.objective_, loss + penalty, rtol=1e-12)


# softmax_jacobian


@given(score_arrays(largest=5.0))
def test_the_jacobian_is_the_derivative_of_softmax(scores_axis):
    """Central differences of softmax along any axis of an array of any shape."""
    scores, axis = scores_axis
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    expected = np.stack([differences(lambda z: softmax(z, axis=-1), row) for row in rows])
    ours = softmax_jacobian(scores, axis=axis)
    first = axis % scores.ndim
    before, K, after = scores.shape[:first], scores.shape[first], scores.shape[first + 1 :]
    assert ours.shape == (*before, K, K, *after)
    ours = np.moveaxis(ours, (first, first + 1), (-2, -1)).reshape(expected.shape)
    assert_allclose(ours, expected, atol=1e-9)


@given(score_arrays(max_dims=1))
def test_the_jacobian_is_diag_p_minus_p_p(scores_axis):
    """The closed form, whose rows sum to 0."""
    scores, _ = scores_axis
    p = softmax(scores, axis=-1)
    ours = softmax_jacobian(scores)
    assert_allclose(ours, np.diag(p) - np.outer(p, p), atol=1e-15)
    assert_allclose(ours.sum(axis=1), 0, atol=1e-15)


def test_the_jacobian_stays_exact_when_one_class_is_certain():
    """Where p rounds to 1, p (1 - p) is still exp(-z) to first order, not 0."""
    expected = np.exp(-40.0) * np.array([[1, -1], [-1, 1]])
    assert_allclose(softmax_jacobian([40.0, 0.0]), expected, rtol=1e-12)


# types and errors


@pytest.mark.parametrize(
    ("given", "kept"),
    [("f4", "f4"), ("f8", "f8"), ("f2", "f4"), ("i8", "f8")],
)
def test_the_precision_of_scores_is_kept(given, kept):
    """float32 in, float32 out, whatever the type of the rest; integers give float64."""
    scores = np.array([[3, 1, 2], [0, 1, 0]], given)
    Y, s = np.full((2, 3), 1 / 3), np.ones(2)
    losses = cross_entropy(
        scores, Y, weights=s, class_weight=[1, 2, 3], label_smoothing=0.1, reduction="none"
    )
    assert losses.dtype == kept
    assert softmax_jacobian(scores).dtype == kept


def test_long_float32_sums_do_not_drift():
    """Sums run in float64: a mean of equal float32 losses is that loss."""
    scores = np.zeros((3, 2**20), np.float32)
    ours = cross_entropy(scores, np.zeros(2**20, int), axis=0)
    assert_allclose(ours, np.log(3), rtol=1e-7)


def test_many_classes_lose_no_float32_digits():
    """Even odds of K classes cost log K and sum to 1, along a strided axis, too."""
    K = 100_000
    even = np.full((K, 2), 1 / K, np.float32)
    assert_allclose(cross_entropy(0 * even, even, axis=0), np.log(K), rtol=1e-6)


def test_the_arguments_are_left_as_they_were():
    """Read-only arrays do: nothing is written to them."""
    Z, Y, s = np.zeros((2, 3)), np.full((2, 3), 1 / 3), np.ones(2)
    for array in (Z, Y, s):
        array.flags.writeable = False
    assert_allclose(cross_entropy(Z, Y, weights=s, label_smoothing=0.1), np.log(3))
    assert_allclose(softmax_jacobian(Z).sum(), 0, atol=1e-15)


def test_pandas_objects_are_arrays_too():
    """Data frames and series give what their values give."""
    Z, y = pd.DataFrame({"a": [0.7], "b": [1.5], "c": [4.8]}), pd.Series([2])
    assert cross_entropy(Z, y) == cross_entropy([[0.7, 1.5, 4.8]], [2])
    assert cross_entropy(Z.astype(object), y) == cross_entropy(Z, y)


FINE = {"scores": [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]], "targets": [0, 1]}
BAD_TYPES = {
    r"scores must be an array of real numbers, got list of dtype <U1": {"scores": [["a", "b"]]},
    r"scores must be .*complex128": {"scores": [[1j, 0]]},
    r"scores must be a regular array of numbers": {"scores": [[1, 2], [3]]},
    r"scores must be .*'b'": {"scores": np.array([[1, "b"]], dtype=object)},
    r"scores must be .*scores\.toarray\(\)": {"scores": sparse.eye(2, format="csr")},
    r"targets of shape \(2,\) .*integers, got <U1: .*return_inverse": {"targets": ["b", "a"]},
    r"targets of shape \(2,\) .*integers, got float64": {"targets": [0.0, 1.0]},
    r"targets of shape \(2,\) .*integers, got bool": {"targets": [True, False]},
    r"class_weight must be .*, got dict": {"class_weight": {"a": 1, "b": 2, "c": 3}},
}
BAD_VALUES = {
    r"scores must be finite, got nan at index \(0, 1\)": {"scores": [[0, np.nan], [0, 0]]},
    r"scores must be finite, got -inf at index \(1, 0\)": {"scores": [[0, 0], [-np.inf, 0]]},
    r"scores must have an axis of classes, got the single number 1": {"scores": 1.0},
    r"scores must have a class or more along axis -1, got .*\(2, 0\)": {"scores": np.ones((2, 0))},
    r"axis must be an integer from -2 to 1 for .*\(2, 3\), got 2": {"axis": 2},
    r"axis must be an integer from -2 to 1 for .*\(2, 3\), got None": {"axis": None},
    r"targets must be class indices from 0 to 2, got 3 at .*\(1,\): subtract 1": {
        "targets": [0, 3]
    },
    r"targets must be class indices from 0 to 2, got -1 at .*\(0,\)": {"targets": [-1, 1]},
    r"targets must have the shape \(2,\) .* or \(2, 3\) .*, got \(1,\)": {"targets": [0]},
    r"targets .* sum to 1 along axis -1, got 1\.5 at .*\(0,\): divide": {
        "targets": np.ones((2, 3)) / 2
    },
    r"targets .* sum to 1 along axis -1, got 2: .*class indices": {
        "scores": [3, 1],
        "targets": [1, 1],
    },
    r"targets must not be negative, got -1 at .*\(0, 0\)": {"targets": [[-1, 1, 1], [1, 0, 0]]},
    r"targets must be finite, got nan at .*\(0, 0\)": {"targets": [[np.nan, 1, 0], [1, 0, 0]]},
    r"weights must be finite and >= 0, got -2 at .*\(1,\): use 0": {"weights": [1, -2]},
    r"weights must be finite and >= 0, got inf at .*\(1,\)": {"weights": [1, np.inf]},
    r"weights must have the shape \(2,\) .*, got \(3,\)": {"weights": [1, 1, 1]},
    r"class_weight must have the shape \(3,\) .*, got \(2,\)": {"class_weight": [1, 1]},
    r"total weight of 0: .*reduction='sum'": {"weights": [0, 0]},
    r"a total weight of 0": {"scores": np.ones((0, 3)), "targets": np.ones(0, int)},
    r"label_smoothing=1 must be a number in \[0, 1\)": {"label_smoothing": 1},
    r"label_smoothing=-0\.1 must be a number in \[0, 1\)": {"label_smoothing": -0.1},
    r"label_smoothing=nan must be a number in \[0, 1\)": {"label_smoothing": np.nan},
    r"reduction must be 'mean', 'sum' or 'none', got 'average'": {"reduction": "average"},
}


@pytest.mark.parametrize("message", BAD_TYPES)
def test_an_argument_of_the_wrong_kind_gets_a_type_error_that_names_it(message):
    """The error names the argument and what it holds, and says how to convert it."""
    with pytest.raises(TypeError, match=message):
        cross_entropy(**FINE | BAD_TYPES[message])


@pytest.mark.parametrize("message", BAD_VALUES)
def test_a_bad_value_gets_a_value_error_that_names_it(message):
    """The error names the argument, the value and where it is, and says what is wanted."""
    with pytest.raises(ValueError, match=message):
        cross_entropy(**FINE | BAD_VALUES[message])


@pytest.mark.parametrize(
    ("scores", "axis", "message"),
    [([0.0, np.inf], -1, "scores must be finite, got inf"), (FINE["scores"], 2, "axis .*got 2")],
)
def test_the_jacobian_refuses_bad_arguments(scores, axis, message):
    """The same rules for scores and axis as in cross_entropy."""
    with pytest.raises(ValueError, match=message):
        softmax_jacobian(scores, axis=axis)
