"""Separation: its kind, rows and columns are those that plain linear programs find."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import one_hot
from scipy.optimize import linprog
from scipy.special import log_softmax
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.inference import separation

# Columns that say it all: x from 0 to 9, and a coin.
x, coin = np.arange(10.0), np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0])


def margins(X, y, direction):
    """What each row's class gains on each class along a direction, (n, K); 0 on itself."""
    D = direction.to_numpy()
    Z = X @ D[: X.shape[1]] + D[X.shape[1] :].sum(axis=0)
    codes = np.unique(y, return_inverse=True)[1]
    return Z[np.arange(len(Z)), codes][:, None] - Z


def separable(X, y, fit_intercept=True):
    """Which comparisons some direction puts above zero, none being below: a program for each."""
    classes, codes = np.unique(y, return_inverse=True)
    rows = np.column_stack([X, np.ones(len(X))]) if fit_intercept else np.asarray(X, dtype=float)
    rows = rows / np.maximum(np.abs(rows).max(axis=0), 1e-300)
    K, codes = len(classes), codes.ravel()
    pairs = [(i, k) for i, k in product(range(len(rows)), range(K)) if k != codes[i]]
    A = np.array([np.outer(np.eye(K)[codes[i]] - np.eye(K)[k], rows[i]).ravel() for i, k in pairs])
    found = np.zeros((len(rows), K), dtype=bool)
    for pair, a in zip(pairs, A, strict=True):
        program = linprog(-a, -A, np.zeros(len(A)), bounds=(-1, 1))
        assert program.success
        found[pair] = -program.fun > 1e-6
    return found


def kind_of(found):
    n, K = found.shape
    return {0: "none", n * (K - 1): "complete"}.get(found.sum(), "quasi")


LAWS = {
    "normal": lambda rng: rng.normal(size=(24, 3)),
    "cauchy": lambda rng: rng.standard_cauchy(size=(24, 3)),
    "few values": lambda rng: rng.integers(3, size=(24, 3)).astype(float),
    "categories": lambda rng: np.hstack(
        [one_hot(rng.integers(4, size=24)), rng.normal(size=(24, 1))]
    ),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("law", LAWS)
def test_what_is_separated_is_what_a_program_for_each_comparison_separates(law, n_classes, seed):
    """Kind and rows are theirs, and the direction puts above zero all that they do, none below."""
    rng = np.random.default_rng(seed)
    X = LAWS[law](rng)
    scores = 1.5 * X @ rng.normal(size=(X.shape[1], n_classes)) + rng.gumbel(size=(24, n_classes))
    y = np.unique(scores.argmax(axis=1), return_inverse=True)[1]
    found, expected = separation(X, y, fit_intercept=seed % 2 == 0), separable(X, y, seed % 2 == 0)
    assert found.kind == kind_of(expected) and found.exists == (found.kind == "none")
    np.testing.assert_array_equal(found.rows, expected.any(axis=1).nonzero()[0])
    gained = margins(X, y, found.direction)
    rounding = 1e-12 * np.abs(found.direction.to_numpy()).max() * np.abs(X).max()
    assert (gained >= -rounding).all()
    assert (gained[expected] >= 1 - 1e-6 - rounding).all()
    assert (np.abs(gained[~expected]) <= rounding).all()


def test_the_laws_hold_all_kinds():
    """The cases above are of all three kinds, so that none is passed by default."""
    kinds = set()
    for law, seed in product(LAWS, range(5)):
        rng = np.random.default_rng(seed)
        X = LAWS[law](rng)
        y = (1.5 * X @ rng.normal(size=(X.shape[1], 3)) + rng.gumbel(size=(24, 3))).argmax(axis=1)
        kinds.add(separation(X, y).kind)
    assert kinds == {"none", "quasi", "complete"}


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (x >= 5, "complete"),
        (np.where(x == 5, coin, x > 5), "complete"),
        (np.isin(x, (3, 5, 6, 7, 8, 9)), "none"),
        (np.array(["a", "a", "a", "b", "a", "b", "b", "c", "c", "c"]), "quasi"),
    ],
    ids=["a threshold", "a row at its side", "a row beyond another", "one class of three"],
)
def test_thresholds_of_a_column_separate(y, kind):
    """Ten rows in a line: no class may lie among another's rows."""
    assert separation(x[:, None], y).kind == kind


def test_rows_of_two_classes_at_the_threshold_are_ties():
    """1 and 2 against 2 and 3: at 2 both classes stay as probable, the others are told apart."""
    found = separation([[1.0], [2], [2], [3]], ["low", "low", "high", "high"])
    assert found.kind == "quasi" and found.rows.tolist() == [0, 3]
    np.testing.assert_allclose(found.direction.to_numpy(), [[0, -1], [0, 2]], atol=1e-12)
    assert found.classes == ["high", "low"] and found.columns == [0, "intercept"]


def test_a_category_of_one_class_alone_is_named():
    """A dummy that is 1 for rows of one class: it, that class, and no other go to infinity."""
    X, y = _overlapping()
    table = pd.DataFrame(X, columns=list("abcd")).assign(rare=np.zeros(len(X)))
    table.loc[np.flatnonzero(y == "u")[:5], "rare"] = 1.0
    found = separation(table, y)
    assert (found.kind, found.columns, found.classes) == ("quasi", ["rare"], ["u"])
    np.testing.assert_array_equal(found.rows, np.flatnonzero(table["rare"]))
    expected = pd.DataFrame(0.0, [*"abcd", "rare", "intercept"], list("uvw"))
    expected.loc["rare", "u"] = 1.0
    pd.testing.assert_frame_equal(found.direction, expected, check_names=False)
    assert "['rare']" in str(found) and "['u']" in str(found)


def _overlapping():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    return X, np.array(list("uvw"))[(X[:, :3] + rng.gumbel(size=(200, 3))).argmax(axis=1)]


def test_levels_of_a_whole_set_of_dummies_are_named():
    """One-hot columns, collinear with the intercept: two levels of one class, and no others."""
    X, y = _overlapping()
    level = np.arange(200) % 6
    y[level == 1], y[level == 4] = "v", "w"
    found = separation(np.hstack([X, one_hot(level)]), y)
    assert found.kind == "quasi" and found.columns == [5, 8]
    np.testing.assert_array_equal(found.rows, np.flatnonzero(np.isin(level, (1, 4))))


def test_one_column_that_gives_a_class_away_is_enough():
    """Of ten columns one tells a class from the others, and the direction is of it alone."""
    X, y = _overlapping()
    leak = np.where(y == "w", 1 + np.abs(X[:, 0]), -np.abs(X[:, 1]))
    found = separation(np.column_stack([X, leak]), y)
    assert (found.kind, found.columns, found.classes) == ("quasi", [4, "intercept"], ["w"])


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_a_likelihood_rises_for_ever_along_the_direction(load):
    """Added to a fit again and again it only lowers the loss of rows, and of some to zero."""
    X, y = load(return_X_y=True)
    found = separation(X, y)
    gained = margins(X, y, found.direction)
    fit = SoftmaxRegression(C=0.01).fit(X, y)
    Z = fit.decision_function(X)
    Z = np.column_stack([-Z / 2, Z / 2]) if Z.ndim == 1 else Z
    own = np.arange(len(y)), y
    losses = [-log_softmax(Z - t * gained, axis=1)[own] for t in (0, 1, 10, 1000)]
    for before, after in zip(losses, losses[1:], strict=False):
        assert (after <= before + 1e-9).all() and after.sum() < before.sum()
    assert (losses[-1].max() < 1e-9) == (found.kind == "complete")


@pytest.mark.parametrize("kind", ["none", "quasi", "complete"])
def test_units_of_columns_and_the_order_of_rows_and_classes_do_not_matter(kind):
    """Centimetres or light years, degrees Celsius or seconds since 1970: the same is found."""
    X, y = _overlapping()
    X[:, 3] = {"none": X[:, 3], "quasi": (y == "u") * (X[:, 3] > 0), "complete": 0.0}[kind]
    if kind == "complete":
        y = np.array(list("uvw"))[X[:, :3].argmax(axis=1)]
    found = separation(X, y)
    units, zeros = np.array([1e-9, 1e6, 1e3, 1.0]), np.array([1e-7, 1e9, -1e5, 273.0])
    order = np.random.default_rng(1).permutation(200)
    other = separation((X * units + zeros)[order], np.where(y == "u", "z", y)[order])
    assert found.kind == other.kind == kind
    np.testing.assert_array_equal(found.rows, np.sort(order[other.rows]))
    np.testing.assert_array_equal(other.rows, np.sort(other.rows))


@pytest.mark.parametrize("unit", [1e-200, 1e-160, 1e160, 1e200])
def test_units_whose_squares_are_no_numbers_do_not_matter(unit):
    """A column that alone separates does so in any unit, and its direction is in this unit."""
    found = separation(x[:, None] * unit, x > 4)
    assert (found.kind, found.columns) == ("complete", [0, "intercept"])
    np.testing.assert_allclose(found.direction[True], [2 / unit, -9], rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["none", "quasi"])
def test_sparse_rows_are_as_dense_ones(kind, fit_intercept):
    """CSR, float32 and DataFrames: the same kind, rows and direction."""
    X, y = _overlapping()
    X = np.round(np.where(X > 0.5, X, 0.0), 3) + [0, 0, 0, 100.0]
    if kind == "quasi":
        X[:, 1] = (y == "v") * (X[:, 1] > 0)
    dense = separation(X, y, fit_intercept=fit_intercept)
    assert dense.kind == kind
    for other in (sp.csr_array(X), sp.csr_matrix(X), pd.DataFrame(X), sp.csr_array(X.astype("f4"))):
        found = separation(other, y, fit_intercept=fit_intercept)
        assert (found.kind, found.columns) == (kind, dense.columns)
        np.testing.assert_array_equal(found.rows, dense.rows)
        np.testing.assert_allclose(found.direction, dense.direction, rtol=1e-6, atol=1e-9)


def test_columns_that_are_collinear_or_constant_are_no_separation():
    """Directions that change no score raise no likelihood."""
    X, y = _overlapping()
    more = [X, X[:, :1] * 1.8 + 32, X.sum(axis=1, keepdims=True), np.ones((200, 1))]
    assert separation(np.hstack(more), y).kind == "none"
    X[:, 0] = y == "u"
    found = separation(np.hstack([X, X[:, 1:2] * 1.8 + 32, np.ones((200, 1))]), y)
    assert found.kind == "quasi" and len(found.rows) == 200 and found.classes == ["u"]


def test_rows_count_if_they_have_weight():
    """Rows of weight 0 are none, though the only ones that overlap; of others only > 0 matters."""
    X, y = np.append(x, [0.0, 9]), np.append(x > 4, [True, False])
    weight = np.append(np.ones(10), [0, 0])
    assert separation(X[:, None], y).kind == "none"
    found = separation(X[:, None], y, weight)
    assert found.kind == "complete" and found.rows.tolist() == list(range(10))
    weight[[10, 3]] = 1e-30, 1e30
    assert separation(X[:, None], y, weight).kind == "none"
    late = separation(X[::-1, None], y[::-1], np.append([0, 0], np.ones(10)))
    assert late.rows.tolist() == list(range(2, 12))


def test_without_an_intercept_the_hyperplanes_go_through_the_origin():
    """Both classes at positive x: a threshold separates them, zero does not."""
    y = x > 4
    assert separation(x[:, None] + 1, y).kind == "complete"
    assert separation(x[:, None] + 1, y, fit_intercept=False).kind == "none"
    found = separation(x[:, None] - 4.5, y, fit_intercept=False)
    assert found.kind == "complete" and found.direction.shape == (1, 2)
    assert found.columns == [0]


def test_more_columns_than_rows_separate_all():
    """Twenty points in fifty dimensions, any classes."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 50)), rng.integers(4, size=20)
    found = separation(X, y)
    assert found.kind == "complete" and found.classes == [0, 1, 2, 3]
    gained = margins(X, y, found.direction)
    gained[np.arange(20), y] = np.inf
    assert (gained >= 1 - 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_it_exists_if_and_only_if_a_fit_reaches_it(seed):
    """A category that is rare, with and without a row of a second class."""
    X, y = _overlapping()
    rng = np.random.default_rng(seed)
    rare = rng.random(200) < 0.03
    for row in (None, np.flatnonzero(rare)[0]):
        y[rare] = "u"
        if row is not None:
            y[np.flatnonzero(rare)[:3]] = list("uvw")
        columns = np.column_stack([X, rare])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = SoftmaxRegression(C=np.inf).fit(columns, y)
        assert separation(columns, y).exists == fit.converged_ == (not caught)
        assert fit.converged_ == (row is not None)


def test_warnings_of_fits_without_an_optimum_point_here():
    """Softmax and sigmoid fits name the function that shows the columns, and the remedy."""
    y = (x > 4).astype(int)
    for model, target in (
        (SoftmaxRegression(C=np.inf), y),
        (SigmoidRegression(C=np.inf), np.column_stack([y, coin])),
    ):
        with pytest.warns(ConvergenceWarning, match=r"inference\.separation .* firth"):
            model.fit(x[:, None], target)


BAD = {
    "one class": ((np.zeros((3, 1)), [1, 1, 1]), {}, "one class only"),
    "one class with weight": ((x[:4, None], [0, 0, 1, 1], [1, 1, 0, 0]), {}, "one class only"),
    "missing value": (([[np.nan], [1.0]], [0, 1]), {}, "missing"),
    "labels": ((x[:2, None], [[1, 0], [1, 1]]), {}, "one column at a time"),
    "sparse labels": ((x[:2, None], sp.csr_array([[1, 0], [1, 1]])), {}, "one column at a time"),
    "other rows": ((x[:3, None], [0, 1]), {}, "inconsistent"),
    "negative weight": ((x[:2, None], [0, 1], [1, -1]), {}, "sample_weight"),
    "no flag": ((x[:2, None], [0, 1]), {"fit_intercept": "yes"}, "fit_intercept"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_a_sentence(case):
    """The error names the argument and the remedy."""
    arguments, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        separation(*arguments, **options)
