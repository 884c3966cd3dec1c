"""Laws of coordinates, rows and row spaces: where the data are changes no score and no sum."""

from dataclasses import dataclass

import numpy as np
import pytest
from parts import (
    MANY_BLOCKS,
    ROUNDING,
    SOURCES,
    TARGETS,
    close,
    limits_of,
    make,
    step_rounding,
    with_penalties,
)

from softreg._model.block_kernels import LargestMove
from softreg._model.certificate import certify
from softreg._rows.coordinates import Coordinates
from softreg._rows.threads import Threads
from softreg.solvers.linalg.conjugate_gradients import HessianProduct

# ---- Coordinates and rows -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Scores:
    """Kernel: the scores (m, K) of a block's rows."""

    U: np.ndarray

    def __call__(self, block):
        return block.scores(self.U).T


def test_scores_are_those_of_the_raw_columns(case):
    """T' x~ + offset = W x + b + offset, both ways between T and (W, b)."""
    rng, (width, K) = np.random.default_rng(5), case.objective.shape
    coordinates, rows = case.objective.rows.coordinates, case.objective.rows
    intercept = rng.normal(size=K) * coordinates.intercept
    W = rng.normal(size=(6, K)) / [[1], [20], [1], [3], [1], [1]]
    for T in (rng.normal(size=(width, K)), coordinates.working(W, intercept)):
        Z = rows.map_rows(_Scores(rows.block_coefficients(T)))
        assert Z.dtype == case.dtype
        back, b = coordinates.coefficients(T)
        close(Z, case.X @ back + b + case.offset, ROUNDING[case.dtype])
    close(Z, case.X @ W + intercept + case.offset, ROUNDING[case.dtype])


def test_totals_of_offsets_and_rows_are_of_what_has_weight(case):
    """Sums of the offsets are weighted as losses are; the largest is one of those that count."""
    totals, offset = case.objective.rows.totals, case.offset
    assert totals.n == np.count_nonzero(case.s)
    close(totals.offset_sum, (case.w * offset).sum(axis=0), 1e-11)
    largest = np.where(case.w > 0, np.abs(offset), 0).max(axis=0)
    np.testing.assert_array_equal(totals.largest_offset, largest)


def test_working_and_coefficients_are_inverses(case):
    """T -> (W, b) -> T and (W, b) -> T -> (W, b), but for columns that do not vary."""
    T, objective = case.direction(), case.objective
    W, b = objective.coefficients(T)
    np.testing.assert_allclose(objective.working(W, b), T, rtol=0, atol=1e-12)
    again, b_again = objective.coefficients(objective.working(W, b))
    np.testing.assert_allclose(again, W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b_again, b, rtol=1e-12, atol=1e-12)


def test_coefficients_are_the_zero_sum_ones_of_equal_probabilities(case):
    """The same row added to every class of T changes nothing of what is reported.

    Under a sparse penalty, of features without one: the others have the zeros that it says.
    """
    T = case.point()
    moves = np.random.default_rng(6).normal(size=(len(T), case.owner.shape[1]))
    free = (case.working_l2 == 0).all(axis=1, keepdims=True)
    moves *= case.objective.penalty.is_smooth | free
    gauge = moves @ case.owner.T * case.is_softmax
    W, b = case.objective.coefficients(T)
    moved, b_moved = case.objective.coefficients(T + gauge)
    np.testing.assert_allclose(moved, W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b_moved, b, rtol=1e-12, atol=1e-10)
    W_of_T, b_of_T = case.objective.rows.coordinates.coefficients(T)
    Z, Z_of_T = case.X @ W + b, case.X @ W_of_T + b_of_T
    alike = case.owner @ case.owner.T / case.owner.sum(axis=0).max()
    close(Z - Z @ alike, Z_of_T - Z_of_T @ alike, 1e-12)


def test_working_columns_have_mean_zero_and_deviation_about_one(case):
    """x~ of a column that varies: deviation within a factor sqrt(2) of 1, by powers of two."""
    coordinates, x = case.objective.rows.coordinates, case.features[:, :5]
    mean = case.s @ x / case.s.sum()
    if coordinates.intercept:
        close(mean, np.zeros(5), 1e-4 if case.dtype == np.float32 else 1e-12)
    deviation = np.sqrt(case.s @ np.square(x - mean * coordinates.intercept) / case.s.sum())
    assert (np.abs(np.log2(deviation)) <= 0.5001).all()
    np.testing.assert_array_equal(np.frexp(coordinates.scale[:5])[0], 0.5)
    assert np.isinf(coordinates.scale[5]) == (case.X[0, 5] == 0 or coordinates.intercept)


@pytest.mark.factor("n_threads", [1, 2])
@pytest.mark.factor("dtype", ROUNDING)
@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("targets", TARGETS)
def test_sums_do_not_depend_on_blocks_or_threads(targets, source, dtype, n_threads):
    """Every sum over many tiny blocks, in one thread or two, is that over a single block."""
    many = limits_of(source, **MANY_BLOCKS)
    with Threads(1, limits_of(source)) as alone, Threads(n_threads, many) as threads:
        one_block = make(alone, targets, source, dtype, weighted=True, offset=True)
        assert len(one_block.objective.rows.block_slices) == 1
        expected = everything(one_block.objective, one_block.point())
        many_blocks = make(threads, targets, source, dtype, weighted=True, offset=True)
        assert len(many_blocks.objective.rows.block_slices) >= 4
        for actual, wanted in zip(
            everything(many_blocks.objective, one_block.point()), expected, strict=True
        ):
            close(actual, wanted, ROUNDING[dtype])
        steps = [for_steps(case.objective, one_block.point()) for case in (many_blocks, one_block)]
        for actual, wanted in zip(*steps, strict=True):
            close(actual, wanted, step_rounding(one_block.objective))


def everything(objective, T):
    """All that an objective sums over its rows."""
    D, root = np.cos(T), np.sin(T)[:, :2]
    certificate = certify(objective, T, 0.1 * D)
    return [
        *(objective.rows.totals.moments.mean, objective.rows.totals.moments.deviation),
        *objective.value_and_gradient(T),
        *map(HessianProduct(objective, T), (D, D**2)),
        objective.hessian(T),
        objective.gram(),
        objective.curvature_gram(T),
        objective.rows.map_rows(objective.leverage_kernel(T, root)),
        objective.rows.maximum(LargestMove(objective.rows.block_coefficients(D))),
        HessianProduct(objective, T).balancing_step(D),
        *(certificate.value, certificate.gradient, certificate.divergence, certificate.imbalance),
    ]


def for_steps(objective, T):
    """All that an objective sums for steps alone, in single precision where that is faster."""
    return [objective.hessian_diagonal(T), HessianProduct(objective, T).for_steps()(np.cos(T))]


# ---- Row space ----------------------------------------------------------------------------------

FIXTURE_FACTORS = {
    "wide": {
        "kind": with_penalties("L2", "no penalty", "L2 of each", "L2 of some"),
        "intercept": [True, False],
        "features": ["penalised", "some free"],
    }
}


@pytest.fixture
def wide(kind, intercept, features, one_thread):
    """A problem with more columns than rows, rotated into their span."""
    targets, penalty = kind
    rng = np.random.default_rng(8)
    X = rng.normal(size=(12, 30)) * np.exp(rng.normal(size=30)) + 50
    factors = rng.uniform(0.5, 2, size=30) * (features == "penalised" or np.arange(30) % 10 > 0)
    case = make(
        one_thread,
        targets,
        "kept",
        np.float64,
        penalty,
        X=X,
        weighted=True,
        offset=True,
        intercept=intercept,
        factors=factors,
    )
    assert len(case.objective.spaces) == 1
    return case


def test_the_rotated_objective_is_the_raw_one_at_the_mapped_coefficients(wide):
    """F in the span of the rows is F(W, b) of the raw columns, unpenalised ones included."""
    objective = wide.objective
    T = wide.direction() / 4
    value, _ = objective.value_and_gradient(T)
    np.testing.assert_allclose(value, wide.value(*objective.coefficients(T)), rtol=1e-9)


def test_the_way_into_the_row_space_keeps_every_score(wide):
    """Weights outside the span of the rows that have weight lose only what moves no score of these.

    Scores of the other rows are those of the coefficients that are left.
    """
    rng, objective = np.random.default_rng(9), wide.objective
    K, intercept = objective.shape[1], objective.rows.coordinates.intercept
    W = wide.link.centred(rng.normal(size=(30, K)) / 5)
    b = wide.link.centred(rng.normal(size=K) * intercept)
    T = objective.working(W, b)
    back, b_back = objective.coefficients(T)
    Z, has_weight = wide.X @ back + b_back, wide.s > 0
    np.testing.assert_allclose(Z[has_weight], (wide.X @ W + b)[has_weight], atol=1e-10)
    assert (wide.value(back, b_back) <= wide.value(W, b) + 1e-12).all()
    rows = objective.rows
    found = rows.map_rows(_Scores(rows.block_coefficients(T))) - wide.offset
    np.testing.assert_allclose(found, Z, atol=1e-10)


def test_coordinates_are_near_up_to_a_tenth_of_a_scale_and_twice_the_scale():
    """Equal ones are near; one column farther or in another unit, and they are not."""
    centre, scale = np.array([3.0, -20.0, 0.5]), np.array([1.0, 4.0, 0.25])
    here = Coordinates(centre, scale, True)

    def is_near(moved, stretched):
        there = Coordinates(centre + [0, moved * 4.0, 0], scale * [1, 1, stretched], True)
        return there.are_nearly(here)

    assert here.are_nearly(here)
    assert is_near(0.09, 1) and is_near(-0.09, 1)
    assert not is_near(0.11, 1) and not is_near(-0.11, 1)
    assert is_near(0, 2) and is_near(0, 0.5)
    assert not is_near(0, 2.1) and not is_near(0, 0.45)
