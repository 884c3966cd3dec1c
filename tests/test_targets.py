"""Laws of targets: whatever form they have, they are the matrices that they stand for."""

import numpy as np
import pytest
from parts import INDICATORS, TARGETS, classes, indicators

from softreg._rows.targets import ClassTargets, LabelTargets, RepeatedTargets, TargetMatrix

SOME_ROWS = {
    "all": slice(None),
    "rows in a row": slice(5, 17),
    "rows in any order": np.random.default_rng(7).permutation(40)[:11],
    "no row": slice(0, 0),
}


@pytest.fixture(params=TARGETS)
def drawn(request):
    """Targets of every kind and the matrices that they stand for."""
    return TARGETS[request.param][1](np.random.default_rng(32), 40)


@pytest.fixture(params=INDICATORS)
def labels(request):
    """Targets of labels, of every kind, and the matrices that they stand for."""
    return TARGETS[request.param][1](np.random.default_rng(32), 40)


def weights(n):
    """Row weights, some of them zero."""
    rng = np.random.default_rng(33)
    return rng.uniform(size=n) * 3 * (rng.random(n) < 0.9)


def problems_of(targets, Y):
    """Into how many problems targets fall, given their matrix Y (n, K)."""
    if isinstance(targets, RepeatedTargets):
        return len(targets.counts) * problems_of(targets.Y, Y[:, : targets.Y.n_scores])
    return 1 if isinstance(targets, ClassTargets) or np.allclose(Y.sum(axis=1), 1) else Y.shape[1]


def assert_are(targets, Y, loss_weight, w, problems):
    """Every sum is that of the dense targets Y (m, K) and weights (m, K), given row weights."""
    rng, (m, K) = np.random.default_rng(34), Y.shape
    Z, loss, P = rng.normal(size=(K, m)), rng.normal(size=(problems, m)), rng.random((K, m))
    products = (Y.T * Z).reshape(problems, K // problems, m).sum(axis=1)
    assert targets.n_scores == K
    actual = loss.copy()
    targets.subtract_target_scores_inplace(actual, Z)
    np.testing.assert_allclose(actual, loss - products, atol=1e-14)
    actual = P.copy()
    targets.subtract_targets_inplace(actual)
    np.testing.assert_allclose(actual, P - Y.T, atol=1e-15)
    actual = targets.loss_weights()
    of_scores = 1.0 if actual is None else np.repeat(actual, K // len(actual), axis=0)
    np.testing.assert_array_equal(np.broadcast_to(of_scores, (K, m)), loss_weight.T)
    total = w @ loss_weight
    np.testing.assert_allclose(targets.score_weight(w), total, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(targets.target_sum(w), w @ (loss_weight * Y), rtol=1e-13, atol=1e-13)
    if isinstance(targets, LabelTargets):
        expected = (loss_weight > 0).any(axis=1)
        np.testing.assert_array_equal(targets.rows_with_weight(), expected)


@pytest.mark.parametrize("rows", SOME_ROWS)
def test_targets_of_some_rows_are_those_rows_of_the_matrix(drawn, rows):
    """Sums over some of the rows, in their order, are sums over those rows of the matrices."""
    (targets, Y, loss_weight), rows = drawn, SOME_ROWS[rows]
    assert_are(
        targets[rows], Y[rows], loss_weight[rows], weights(40)[rows], problems_of(targets, Y)
    )


@pytest.mark.parametrize("rows", SOME_ROWS)
def test_targets_that_are_joined_are_the_rows_of_one_after_those_of_another(drawn, rows):
    """Sums over joined targets are sums over the rows of the matrices in that order."""
    (targets, Y, loss_weight), rows = drawn, SOME_ROWS[rows]
    joined = targets[rows].joined([targets[30:35], targets[2:30]])
    order = np.r_[np.arange(40)[rows], 30:35, 2:30]
    assert_are(joined, Y[order], loss_weight[order], weights(40)[order], problems_of(targets, Y))


@pytest.mark.parametrize("scores", [[0], [2], [0, 2], [1, 2]], ids=str)
@pytest.mark.parametrize("rows", SOME_ROWS)
def test_targets_of_some_scores_are_those_columns_of_the_matrix(labels, rows, scores):
    """Before some rows are taken, after, and taken again."""
    (targets, Y, loss_weight), rows, w = labels, SOME_ROWS[rows], weights(40)
    some = np.array(scores)
    Y, loss_weight, w = Y[rows][:, some], loss_weight[rows][:, some], w[rows]
    assert_are(targets.take_scores(some)[rows], Y, loss_weight, w, len(some))
    assert_are(targets[rows].take_scores(some), Y, loss_weight, w, len(some))
    last = targets.take_scores(some).take_scores(np.array([len(some) - 1]))
    assert_are(last[rows], Y[:, -1:], loss_weight[:, -1:], w, 1)


def test_single_precision_scores_stay_in_single_precision(drawn):
    """In-place sums leave float32 what it is."""
    targets, Y, _ = drawn
    Z = np.random.default_rng(35).random(Y.T.shape, dtype=np.float32)
    R, loss = Z.copy(), Z.copy()
    targets.subtract_targets_inplace(R)
    np.testing.assert_allclose(R, Z - Y.T, atol=1e-6)
    assert R.dtype == np.float32
    if problems_of(targets, Y) == Y.shape[1]:
        targets.subtract_target_scores_inplace(loss, Z)
        np.testing.assert_allclose(loss, Z - Y.T * Z, atol=1e-6)
        assert loss.dtype == np.float32


def test_losses_that_all_weigh_one_have_no_weights(drawn):
    """`loss_weights` is None just where all are one, so that nothing is multiplied by them."""
    targets, _, loss_weight = drawn
    assert (targets.loss_weights() is None) == (loss_weight == 1).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_labels_are_the_shares_that_they_stand_for(smoothing):
    """Labels and the smoothed one-hot matrix give the same sums, also of some of the rows."""
    rng = np.random.default_rng(7)
    labels, Y, loss_weight = classes(4, smoothing)(rng, 30)
    shares, s = TargetMatrix(Y), rng.uniform(size=30)
    for rows in (slice(None), slice(5, 17), rng.permutation(30)[:11]):
        for targets in (labels[rows], shares[rows]):
            assert_are(targets, Y[rows], loss_weight[rows], s[rows], 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_classes_that_exclude_each_other_are_taken_together(smoothing):
    """Some of them have no targets; all of them are the targets themselves."""
    labels, *_ = classes(4, smoothing)(np.random.default_rng(7), 30)
    assert labels.take_scores(np.arange(4)) is labels
    for some in ([0], [1, 3], [0, 1, 2]):
        with pytest.raises(ValueError, match="exclude each other"):
            labels.take_scores(np.array(some))


# ---- Targets of several fits --------------------------------------------------------------------

# Shares of several labels are stored answers where there are several fits.
ONE_FIT = [y for y in TARGETS if not y.endswith("fits") and y != "sigmoid shares"]
COUNTS = {
    "rows": np.random.default_rng(50).random((3, 40)) < 0.7,
    "times": np.random.default_rng(51).integers(0, 3, (2, 40)),
    "one fit": np.ones((1, 40), dtype=bool),
    "none in one": np.arange(2)[:, None] * np.ones((2, 40), dtype=int),
}


@pytest.mark.factor("rows", SOME_ROWS)
@pytest.mark.factor("counts", COUNTS)
@pytest.mark.factor("name", ONE_FIT)
def test_targets_of_several_fits_are_the_matrix_once_for_each(name, counts, rows):
    """Scores come one fit after another; a row that a fit leaves out weighs nothing in it."""
    targets, Y, loss_weight = TARGETS[name][1](np.random.default_rng(32), 40)
    counts, rows, problems = COUNTS[counts], SOME_ROWS[rows], problems_of(targets, Y)
    times = np.repeat(counts.T, Y.shape[1], axis=1)
    fits, count = targets.repeated(counts), len(counts)
    Y, loss_weight = np.tile(Y, count)[rows], (np.tile(loss_weight, count) * times)[rows]
    assert_are(fits[rows], Y, loss_weight, weights(40)[rows], problems * count)


@pytest.mark.parametrize("counts", ["rows", "times"])
@pytest.mark.parametrize("name", ONE_FIT)
def test_observed_targets_of_a_fit_are_those_of_its_rows(name, counts):
    """Whether targets above 0 and below 1 have weight is seen from the rows that it counts."""
    targets, _, _ = TARGETS[name][1](np.random.default_rng(32), 40)
    counts, w = COUNTS[counts] * (np.arange(40) < 4), weights(40)
    expected = [targets.observed(w * of_fit) for of_fit in counts]
    np.testing.assert_array_equal(targets.repeated(counts).observed(w), np.hstack(expected))


def test_repeated_targets_are_not_repeated_again():
    """Nor has a row one class, as fits may differ in whether it counts."""
    labels, *_ = classes(4)(np.random.default_rng(7), 40)
    repeated = labels.repeated(COUNTS["rows"])
    with pytest.raises(ValueError, match="repeated"):
        repeated.repeated(COUNTS["rows"])
    assert repeated.class_of_row is None
    np.testing.assert_array_equal(repeated.strata(), labels.codes)


# ---- Targets that do not vary -------------------------------------------------------------------

# What the answers of a label are, and which of them are known.
KINDS = ["all no", "all yes", "unknown", "half known, no", "half known, yes", "soft", "mixed"]


def known_in_part(rng, n, kinds):
    """Answers and their weights, one label of each kind."""
    Y = (rng.random((n, len(kinds))) < 0.5) * 1.0
    loss_weight = np.where(Y > 0, 0.3, 1.7)
    for k, kind in enumerate(kinds):
        if kind.startswith("all"):
            Y[:, k] = kind == "all yes"
        elif kind == "unknown":
            loss_weight[:, k] = 0
        elif kind.startswith("half"):
            loss_weight[Y[:, k] == (kind == "half known, no"), k] = 0
        elif kind == "soft":
            Y[:, k] = 0.5
    return Y, loss_weight


@pytest.mark.factor("n", [2, 3, 8, 50])
@pytest.mark.factor("cells", [False, True])
@pytest.mark.factor("seed", range(5))
def test_constant_targets_are_all_no_or_all_yes_where_they_count(n, cells, seed):
    """As in the matrix, among the entries whose weights, that of the row included, are not 0."""
    rng = np.random.default_rng([36, n, cells, seed])
    Y, loss_weight = known_in_part(rng, n, KINDS)
    no_weight = np.where(rng.random(len(KINDS)) < 0.3, 0.0, 1.7)
    loss_weight[Y == 0] = np.where(
        loss_weight[Y == 0] > 0, np.broadcast_to(no_weight, Y.shape)[Y == 0], 0
    )
    cell_weight = (rng.random(Y.shape) < 0.6) * 2.0 if cells else None
    w = rng.uniform(size=n) * (rng.random(n) < 0.7)
    targets = indicators(Y, loss_weight, no_weight, cell_weight, rng.random(Y.shape) < 0.1)
    counts = (loss_weight * (1 if cell_weight is None else cell_weight) * w[:, None]) > 0
    expected = [len(set(y[c] > 0) | set(y[c] == 1)) < 2 for y, c in zip(Y.T, counts.T, strict=True)]
    np.testing.assert_array_equal(~targets.observed(w).all(axis=0), expected)
    weight = loss_weight * (1 if cell_weight is None else cell_weight)
    np.testing.assert_array_equal(targets.rows_with_weight(), (weight > 0).any(axis=1))
    some = np.array([1, 4, 6])
    subset = targets.take_scores(some)
    np.testing.assert_array_equal(~subset.observed(w).all(axis=0), np.array(expected)[some])


def test_both_sides_of_targets_that_vary_are_observed(drawn):
    """A target above 0 and one below 1, as always under softmax."""
    targets, *_ = drawn
    assert targets.observed(np.ones(40)).all()
