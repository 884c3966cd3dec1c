"""Laws of ChunkedRows: what is summed, drawn, batched and split is that of all rows."""

import numpy as np
import pytest
import scipy.sparse as sp
from parts import MANY_BLOCKS, SOURCES, TARGETS, close, make, step_rounding
from parts import ROUNDING as ROUNDS_TO

from softreg._model.certificate import certify
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.chunked import ChunkedRows
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import single_pass_rows
from softreg._rows.targets import ClassTargets
from softreg._rows.threads import Limits, Threads
from softreg.solvers.linalg.conjugate_gradients import HessianProduct

# ---- Sums and draws -----------------------------------------------------------------------------


def chunked(case, sizes=(1, 13, 7, 19)):
    """The objective of a case, its raw rows in chunks of these sizes."""
    rows = case.objective.rows
    edges = np.r_[0, np.cumsum(sizes)]
    assert edges[-1] == rows.n and not case.objective.spaces
    raw = Coordinates.raw(rows.X.shape[1], rows.coordinates.intercept)

    def chunk(a, b):
        weight = None if rows.weight is None else rows.weight[a:b]
        return single_pass_rows(rows.X[a:b], (rows.Y[a:b], weight, None), raw, rows.threads)

    chunks = [chunk(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    penalty = Ridge(case.l2)
    return Objective.in_working_coordinates(case.link, ChunkedRows.from_source(chunks), penalty)


def everything(objective, T):
    """All that an objective sums over its rows."""
    D, root, rows = np.cos(T), np.sin(T)[:, :2], objective.rows
    certificate = certify(objective, T, 0.1 * D)
    leverage = objective.leverage_kernel(T, root)
    U = rows.block_coefficients(T)
    return [
        *(rows.totals.moments.mean, rows.totals.moments.deviation),
        np.array([rows.totals.n, rows.totals.weight]),
        *(
            rows.totals.score_weight,
            rows.totals.target_sum,
            rows.totals.mean_target,
            rows.totals.observed * 1.0,
        ),
        *objective.value_and_gradient(T),
        *map(HessianProduct(objective, T), (D, D**2)),
        objective.hessian(T),
        objective.gram(),
        objective.curvature_gram(T),
        np.array(rows.sum(lambda block: (leverage(block).sum(),))),
        rows.maximum(lambda block: block.linear_scores(U).max(axis=1)),
        HessianProduct(objective, T).balancing_step(D),
        *(certificate.value, certificate.gradient, certificate.divergence, certificate.imbalance),
        objective.null(),
    ]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_sums_over_chunks_do_not_depend_on_blocks_or_threads(n_threads):
    """Each chunk's rows are spread over threads, which changes nothing beyond rounding."""
    with Threads(1) as alone, Threads(n_threads, Limits(**MANY_BLOCKS)) as threads:
        case, in_blocks = (make(each, weighted=True) for each in (alone, threads))
        found = everything(chunked(in_blocks), case.point())
        expected = everything(chunked(case), case.point())
    for actual, wanted in zip(found, expected, strict=True):
        close(actual, wanted, 1e-11)


@pytest.mark.factor("weighted", [False, True])
@pytest.mark.factor("dtype", ROUNDS_TO)
@pytest.mark.factor("source", SOURCES)
@pytest.mark.factor("targets", [name for name in TARGETS if not name.endswith("fits")])
def test_every_sum_over_chunks_is_that_of_all_rows(
    source_threads, targets, source, dtype, weighted
):
    """Values, products, moments and bounds do not depend on where the rows are."""
    case = make(source_threads, targets, source, dtype, weighted=weighted)
    in_chunks, in_memory, T = chunked(case), case.objective, case.point()
    close(in_chunks.rows.coordinates.centre, in_memory.rows.coordinates.centre, 1e-6)
    np.testing.assert_array_equal(
        in_chunks.rows.coordinates.scale, in_memory.rows.coordinates.scale
    )
    for actual, wanted in zip(everything(in_chunks, T), everything(in_memory, T), strict=True):
        close(actual, wanted, ROUNDS_TO[dtype])
    for steps in (lambda objective: objective.hessian_diagonal(T), single_product(T)):
        close(steps(in_chunks), steps(in_memory), step_rounding(in_memory))
    if in_memory.problems.count > 1:
        some = np.array([0, 2])
        for actual, wanted in zip(
            everything(in_chunks.take_problems(some), T[:, some]),
            everything(in_memory.take_problems(some), T[:, some]),
            strict=True,
        ):
            close(actual, wanted, ROUNDS_TO[dtype])


def single_product(T):
    return lambda objective: HessianProduct(objective, T).for_steps()(np.cos(T))


LEAST = 5e-324
COLUMNS = {
    "far from zero": lambda rng, n: rng.normal(size=n) + 1e8,
    "a drift": lambda rng, n: np.linspace(0, 1e6, n) + rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "constant, far": lambda rng, n: np.full(n, 1e9 / 3),
    "tiny": lambda rng, n: 1e-150 * rng.normal(size=n),
    "one outlier": lambda rng, n: (np.arange(n) == n // 3) * 1e12 + rng.normal(size=n),
    "sorted": lambda rng, n: np.sort(rng.standard_cauchy(size=n)),
    "zeros mostly": lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.02),
    "another value in one row": lambda rng, n: 90210.0 + (np.arange(n) == n // 2),
    "neighbouring numbers": lambda rng, n: 1e15 + rng.integers(0, 4, n) / 8,
    "enormous": lambda rng, n: 1e307 * rng.normal(size=n),
    "minute": lambda rng, n: 1e-300 * rng.normal(size=n),
    "the least of numbers": lambda rng, n: LEAST * rng.integers(0, 3, n),
}


@pytest.mark.factor("container", [np.asarray, sp.csr_array])
@pytest.mark.factor("sizes", [[1000], [1] * 20 + [980], [137] * 7 + [41]], ids=len)
@pytest.mark.factor("weighted", [False, True])
@pytest.mark.factor("name", COLUMNS)
def test_moments_of_chunks_are_those_of_long_double(one_thread, name, weighted, sizes, container):
    """Means are right to rounding, their own or that of deviations; these are to ten digits."""
    rng = np.random.default_rng(8)
    x = COLUMNS[name](rng, 1000)
    w = rng.uniform(size=1000) * (rng.random(1000) < 0.8) if weighted else np.ones(1000)
    edges, none = np.r_[0, np.cumsum(sizes)], ClassTargets(np.zeros(1000, dtype=int), 3)
    raw, chunks = Coordinates.raw(1, True), []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        chunk = container(x[a:b, None]), (none[a:b], w[a:b], None)
        chunks.append(single_pass_rows(*chunk, raw, one_thread))
    totals = ChunkedRows.from_source(chunks).totals
    (mean,), (found,) = totals.moments.mean, totals.moments.deviation
    long, weight = x.astype(np.longdouble), w.astype(np.longdouble) / w.astype(np.longdouble).sum()
    expected = (weight * long).sum()
    deviation = np.sqrt((weight * (long - expected) ** 2).sum())
    rounding = np.finfo(float).eps * float(np.abs(weight * long).sum()) + LEAST
    assert abs(mean - expected) <= 8 * rounding + 1e-13 * deviation
    long_rounding = np.finfo(np.longdouble).eps * abs(expected)
    assert abs(found - deviation) <= 1e-10 * deviation + long_rounding + LEAST
    varies = len(np.unique(x[w > 0])) > 1
    assert bool(totals.moments.varies[0]) == varies == (found > 0)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", ["softmax labels", "soft answers, cells"])
def test_drawn_rows_stand_for_all(source_threads, targets, source):
    """About as many rows are drawn as their chances add up to, weighted by the inverse of these."""
    case = make(source_threads, targets, source, n=400, weighted=True)
    in_chunks = chunked(case, sizes=(100, 1, 250, 49))
    U, total = in_chunks.rows.block_coefficients(case.point()), []

    def importance(block):
        return np.abs(block.linear_scores(U)).sum(axis=0)

    def chance(of_some, of_all):
        total.append(of_all)
        return np.minimum(1, 0.1 + 100 * of_some / of_all)

    sample = in_chunks.rows.sampled(importance, chance)
    assert 50 < sample.n < 250
    expected = case.objective.rows.sum(
        lambda block: (
            np.abs(block.linear_scores(case.objective.rows.block_coefficients(case.point()))).sum(),
        )
    )
    close(total[-1], expected[0], 1e-10)
    # Each of n rows is off by its weight / chance; so their sum by about sqrt(n) of these.
    assert sample.totals.weight == pytest.approx(in_chunks.rows.totals.weight, rel=0.3)
    again = in_chunks.rows.sampled(importance, chance)
    assert again.n == sample.n and again.totals.weight == sample.totals.weight
    all_rows = in_chunks.rows.sampled(importance, lambda of_some, _: np.ones(len(of_some)))
    assert all_rows.n == in_chunks.rows.n == np.count_nonzero(case.s)
    close(all_rows.sum(in_all(U)), in_chunks.rows.sum(in_all(U)), 1e-11)


def in_all(U):
    return lambda block: (block.weighted(block.linear_scores(U)).sum(axis=1),)


# ---- Batches and validation rows ----------------------------------------------------------------


def numbered(one_thread, sizes=None, n=60, K=3):
    """Rows whose only feature is their number, in memory or in chunks."""
    x, codes = np.arange(n, dtype=float)[:, None], np.arange(n) % 7 % K
    raw = Coordinates.raw(1, True)
    if sizes is None:
        return single_pass_rows(x, (ClassTargets(codes, K), x[:, 0] + 1, None), raw, one_thread)
    edges, chunks = np.r_[0, np.cumsum(sizes)], []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        terms = (ClassTargets(codes[a:b], K), x[a:b, 0] + 1, None)
        chunks.append(single_pass_rows(x[a:b], terms, raw, one_thread))
    return ChunkedRows.from_source(chunks)


def numbers(batches):
    """The numbers of the rows of each batch, whose targets and weights belong to them."""
    for rows in batches:
        number = rows.X[:, 0].astype(int)
        np.testing.assert_array_equal(rows.Y.codes, number % 7 % 3)
        np.testing.assert_array_equal(rows.weight, number + 1)
        yield number.tolist()


IN_CHUNKS = pytest.mark.parametrize("sizes", [None, [60], [25, 1, 34], [20, 20, 20]], ids=str)


@IN_CHUNKS
@pytest.mark.parametrize("size", [1, 7, 20, 100])
@pytest.mark.parametrize("seed", [None, 9])
def test_batches_hold_each_row_once(one_thread, sizes, size, seed):
    """In batches of at most so many rows, nearly equal within a chunk, never of two chunks."""
    rows, random = numbered(one_thread, sizes), seed and np.random.default_rng(seed)
    batches = [*numbers(rows.batches(size, random))]
    flat = sum(batches, [])
    assert sorted(flat) == [*range(60)] and max(map(len, batches)) <= size
    assert (flat == sorted(flat)) == (seed is None)
    chunk_of_row = np.repeat(np.arange(len(sizes or [60])), sizes or [60])
    assert all(len({*chunk_of_row[batch]}) == 1 for batch in batches)
    for chunk in range(chunk_of_row[-1] + 1):
        lengths = [len(batch) for batch in batches if chunk_of_row[batch[0]] == chunk]
        assert max(lengths) - min(lengths) <= 1
    again = [*numbers(rows.batches(size, seed and np.random.default_rng(seed)))]
    assert again == batches
    if seed:
        other = [*numbers(rows.batches(size, random))]
        assert other != batches


@IN_CHUNKS
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_split_holds_out_the_same_rows_at_each_pass(one_thread, sizes, fraction):
    """Both sets are all rows, each row once; another generator draws others."""
    rows = numbered(one_thread, sizes)
    training, held_out = rows.validation_split(fraction, np.random.default_rng(10))
    passes = [
        [sum(numbers(rows_of_set.batches(100, None)), []) for rows_of_set in (training, held_out)]
        for _ in range(2)
    ]
    assert passes[0] == passes[1]
    assert sorted(sum(passes[0], [])) == [*range(60)]
    assert (training.n, held_out.n) == tuple(map(len, passes[0]))
    assert abs(held_out.n - 60 * fraction) <= 1 + len(sizes or [])
    assert held_out.totals.weight == sum(passes[0][1]) + held_out.n
    other = rows.validation_split(fraction, np.random.default_rng(11))[1]
    assert sum(numbers(other.batches(100, None)), []) != passes[0][1]


def test_a_split_keeps_the_coordinates(one_thread):
    """Rows of a split or batch have the coordinates of all rows."""
    for sizes in (None, [25, 1, 34]):
        rows = numbered(one_thread, sizes).standardised()
        for some in (
            *rows.validation_split(0.3, np.random.default_rng(0)),
            *rows.batches(9, None),
        ):
            assert some.coordinates is rows.coordinates


@pytest.mark.parametrize("targets", ["softmax labels", "softmax shares", "sigmoid of two classes"])
def test_a_split_of_rows_in_memory_keeps_the_shares_of_classes(one_thread, targets):
    """Each class's rows are held out in proportion, to within one; so are one-vs-rest labels'."""
    case = make(one_thread, targets, n=200)
    most = case.Y.argmax(axis=1) if case.Y.shape[1] > 1 else case.Y[:, 0]
    held_out = case.objective.rows.validation_mask(0.2, np.random.default_rng(12))
    assert held_out.sum() == 40
    for k in np.unique(most):
        assert abs(held_out[most == k].sum() - 0.2 * (most == k).sum()) <= 1


def of_weights(one_thread, weight, sizes=None):
    """Rows of these weights, in memory or in chunks."""
    weight = np.array(weight, dtype=float)
    n, raw = len(weight), Coordinates.raw(1, True)
    x, Y = np.arange(n, dtype=float)[:, None], ClassTargets(np.arange(n) % 2, 2)
    edges = np.r_[0, np.cumsum(sizes or [n])]
    chunks = [
        single_pass_rows(x[a:b], (Y[a:b], weight[a:b], None), raw, one_thread)
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    return chunks[0] if sizes is None else ChunkedRows.from_source(chunks)


@pytest.mark.parametrize("sizes", [None, [60], [20, 7, 33]], ids=str)
def test_rows_that_weigh_nothing_are_not_held_out(one_thread, sizes):
    """The fraction is one of the rows of positive weight, which alone count."""
    weight = np.where(np.arange(60) < 40, 0, 1)
    split = of_weights(one_thread, weight, sizes).validation_split(0.3, np.random.default_rng(0))
    training, held_out = (rows.totals for rows in split)
    assert training.n == training.weight == 20 - held_out.n and held_out.n == held_out.weight
    assert abs(held_out.n - 0.3 * 20) <= len(sizes or [])


@pytest.mark.parametrize("weight", [[1], [0, 2, 0, 0]], ids=str)
def test_a_single_row_is_not_split(one_thread, weight):
    """In memory; the message names the switch."""
    with pytest.raises(ValueError, match="early_stopping.*single row"):
        of_weights(one_thread, weight).validation_split(0.5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("weight", "fraction", "left"),
    [
        (np.ones(8), 1e-9, "no rows to hold out"),
        (np.ones(8), 1 - 1e-9, "no rows to learn from"),
        (np.r_[0, np.ones(7)], 1 - 1e-9, "only rows that weigh nothing to learn from"),
    ],
    ids=["none held out", "none to learn from", "no weight to learn from"],
)
def test_a_split_that_leaves_nothing_says_what_to_change(one_thread, weight, fraction, left):
    """Chunks that are too few for the fraction."""
    rows = of_weights(one_thread, weight, [3, 5])
    with pytest.raises(ValueError, match=f"early_stopping.*validation_fraction=.*{left}; choose"):
        rows.validation_split(fraction, np.random.default_rng(0))
