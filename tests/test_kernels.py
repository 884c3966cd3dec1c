"""Kernels are values: another process makes the same of the same blocks."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from parts import (
    HOST_SOURCES,
    LABELS,
    LIBRARIES,
    MANY_BLOCKS,
    ROUNDING,
    TARGETS,
    TERMS,
    close,
    make,
)

from softreg._model import block_kernels
from softreg._model.block_kernels import (
    CertificateSums,
    CertificateSumsAlong,
    CoordinateHessian,
    CurvatureGram,
    CurvatureProduct,
    GradientProducts,
    GramProduct,
    GroupGradients,
    GroupRows,
    InterceptHessian,
    LargestLeverage,
    LargestMove,
    LargestRemainder,
    Loss,
    LossAndGradient,
    LossHessian,
    LossHessianBlocks,
    LossHessianDiagonal,
    gram_sum,
    problem_gram_sum,
)
from softreg._rows.base import SumOverRows
from softreg._rows.threads import Limits, Threads
from softreg._selection.refit_steps import refit_problems
from softreg._selection.refits import in_float32
from softreg.solvers.base import Point
from softreg.solvers.linalg.metrics import first_metric
from softreg.solvers.steps import balanced, newton_step


def kernels_of(objective, T, D):
    """Every kernel of an objective, at T and along D, by name."""
    link, rows = objective.link, objective.rows
    U, V = rows.block_coefficients(T), rows.block_coefficients(D)
    leverage = objective.leverage_kernel(T, np.eye(len(T), 2))
    features, scores = np.append([1, 3], np.arange(len(T))[-1:]), np.zeros(3, dtype=int)
    kernels = [
        Loss(link, U),
        LossAndGradient(link, U),
        CurvatureProduct(link, U, V, "a point"),
        InterceptHessian(link, U, "a point"),
        LossHessian(link, U),
        LossHessianBlocks(link, U, slice(1, None)),
        LossHessianDiagonal(link, U),
        CoordinateHessian(link, U, features, scores, not link.exclusive),
        CertificateSums(link, U, V),
        CertificateSumsAlong(link, U, V, U + V, "another point"),
        leverage.trace,
        CurvatureGram(leverage.trace),
        leverage,
        SumOverRows(leverage),
        LargestLeverage(np.ones((objective.problems.count, len(T), 2))),
        GramProduct(np.eye(len(T), 2)),
        LargestRemainder(np.eye(len(T), 2), np.ones(len(T))),
        LargestMove(V),
        GradientProducts(link, U, 2),
        GroupGradients(link, U, np.arange(rows.n) % 3, 3),
        GroupRows(np.arange(rows.n) % 3, 3),
    ]
    functions = [gram_sum, problem_gram_sum]
    by_name = {type(kernel).__name__: kernel for kernel in kernels}
    return by_name | {function.__name__: function for function in functions}


def apply(pickled):
    """What a kernel makes of a block, both pickled: run in the other process."""
    kernel, block = pickle.loads(pickled)
    return kernel(block)


@pytest.fixture(scope="module")
def elsewhere():
    """Another process, started afresh: it has nothing but what it is sent."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


CASES = [("softmax labels", source) for source in HOST_SOURCES] + [(y, "kept") for y in LABELS[:3]]


@pytest.mark.parametrize(("targets", "source"), CASES)
def test_another_process_adds_up_the_same_sums(source_threads, elsewhere, targets, source):
    """Kernels and blocks are sent as bytes; what comes back is equal to the last bit."""
    case = make(source_threads, targets, source, weighted=True, offset=True)
    rows = case.objective.rows
    for name, kernel in kernels_of(case.objective, case.point(), case.direction()).items():
        for block in map(rows.block, rows.block_slices):
            expected = kernel(block)  # also puts what it keeps into the block's store
            found = elsewhere.submit(apply, pickle.dumps((kernel, block))).result()
            assert type(found) is type(expected)
            pairs = (found, expected) if isinstance(found, tuple) else ([found], [expected])
            for one, other in zip(*pairs, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=name)


# Of inference, for which rows come to the host.
ON_HOST_ALONE = {"GradientProducts", "GroupGradients", "GroupRows"}


@pytest.mark.factor("dtype", ROUNDING)
@pytest.mark.factor("terms", TERMS)
@pytest.mark.factor("targets", [y for y in TARGETS if not y.endswith("fits")])
@pytest.mark.factor("kept_bytes", [0, 2**20], ids=str)
@pytest.mark.factor("library", LIBRARIES)
def test_kernels_make_the_same_of_blocks_on_a_device(library, kept_bytes, targets, terms, dtype):
    """Each makes of a block there what it makes of the block of numpy's."""
    with Threads(1, Limits(kept_bytes=kept_bytes, **MANY_BLOCKS)) as threads:
        there, here = (
            make(threads, targets, source, dtype, **TERMS[terms]) for source in (library, "kept")
        )
    T, D = here.point(), here.direction()
    block, expected = (case.objective.rows.block(slice(3, 30)) for case in (there, here))
    kernels = kernels_of(here.objective, T, D)
    for name in kernels.keys() - ON_HOST_ALONE:
        kernel = kernels[name]
        pairs = kernel(block), kernel(expected)
        pairs = zip(*pairs, strict=True) if isinstance(pairs[0], tuple) else [pairs]
        for found, wanted in pairs:
            close(np.asarray(found), np.asarray(wanted), ROUNDING[dtype])


@pytest.mark.parametrize(("targets", "source"), CASES)
def test_curvature_along_a_direction_does_not_depend_on_the_basis(source_threads, targets, source):
    """With T = basis V the Hessian in V has the curvature of T's along the same direction."""
    objective = make(source_threads, targets, source, weighted=True, offset=True).objective
    random, (width, K) = np.random.default_rng(0), objective.shape
    T, D = (objective.centred(random.normal(size=(width, K))) for _ in range(2))
    basis = random.normal(size=(width, width))

    def curvature(H, direction):
        by_problem = direction.T.reshape(len(H), -1)
        return np.einsum("bp,bpq,bq->b", by_problem, H, by_problem)

    expected = curvature(objective.hessian(T), D)
    found = curvature(objective.hessian(T, basis), np.linalg.solve(basis, D))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_every_kernel_of_the_module_is_sent(one_thread):
    """A kernel that is added to `block_kernels` has to be added to the list above."""
    case = make(one_thread)
    classes = [value for value in vars(block_kernels).values() if isinstance(value, type)]
    kernels = [kind for kind in classes if "__call__" in vars(kind)]
    defined = {kind.__name__ for kind in kernels if kind.__module__ == block_kernels.__name__}
    assert defined <= kernels_of(case.objective, case.point(), case.point()).keys()


def test_what_a_block_keeps_stays_behind(one_thread):
    """A pickled block is no larger for the probabilities that it keeps, and makes them anew."""
    case = make(one_thread, n=300)
    (rows,) = case.objective.rows.block_slices
    block = case.objective.rows.block(rows)
    before = len(pickle.dumps(block))
    U = case.objective.rows.block_coefficients(case.point())
    kernel = CurvatureProduct(case.link, U, U, "a point")
    kernel(block)
    assert block.store and len(pickle.dumps(block)) == before
    assert not pickle.loads(pickle.dumps(block)).store


def test_a_block_keeps_what_was_made_at_the_latest_point(one_thread):
    """Products at one point share its probabilities; another point takes their place."""
    case = make(one_thread)
    (rows,) = case.objective.rows.block_slices
    block = case.objective.rows.block(rows)
    made = [block.kept(key, lambda: np.zeros(1)) for key in ("a", "a", "b", "a")]
    assert made[0] is made[1] and made[3] is not made[0] and len(block.store) == 1


def test_rows_of_other_values_keep_nothing_of_these(one_thread):
    """What is kept of X and weights is shared where only targets change, and gone where they do."""
    rows = make(one_thread, "answers", weighted=True).objective.rows
    rows.kept("a key", lambda: 1)
    assert rows.take_scores(np.array([0])).kept("a key", lambda: 2) == 1
    assert rows.in_dtype(np.float32).kept("a key", lambda: 2) == 1
    assert rows.take_rows(slice(5)).kept("a key", lambda: 2) == 2
    assert rows.replaced(weight=2 * rows.weight).kept("a key", lambda: 3) == 3
    assert replace(rows, Y=rows.Y).kept("a key", lambda: 2) == 1


def test_what_blocks_keep_of_their_scores_goes_with_the_product(one_thread):
    """Rows outlive Newton's steps: once these are made, they hold no probabilities (n, K)."""
    case = make(one_thread, "answers", weighted=True)
    objective, T = case.objective, 0.1 * case.point()
    metric, start = first_metric(objective, T), Point.at_coefficients(objective, T)
    rough = in_float32(objective)
    newton_step(objective, start, metric, 1e-9)
    balanced(objective, start)
    refit_problems(objective, rough, start, metric, 1e-9)
    for rows in (objective.rows, rough.rows):
        assert rows.score_stores and not any(rows.score_stores.values())
