"""Laws of the parts: each holds for every link, source of rows, precision and term of F."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from problems import optimum
from scipy.special import expit, log_expit, log_softmax, logsumexp, rel_entr, softmax, xlogy
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from softreg import _links, _rows
from softreg._coordinates import Coordinates
from softreg._links import Sigmoid, Softmax
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg._rows import DenseRows, SparseRows
from softreg._targets import Labels, Shares
from softreg._threads import Threads
from softreg.solvers import LBFGS, Newton
from softreg.solvers._metrics import Diagonal, Gram, Hessian
from softreg.solvers._newton import conjugate_gradients
from softreg.solvers._result import Monitor
from softreg.solvers._sampling import by_leverage
from softreg.solvers._solvers import solver_for

# Rounding, of quantities of order one, for products in double and in single precision.
ROUNDING = {np.float64: 1e-11, np.float32: 2e-5}
# Central differences of step h err by h^2 f'''/6 + eps f / h, below 1e-8 for values near one.
STEP, DIFFERENCES = 1e-5, {np.float64: 1e-7, np.float32: 1e-4}


def close(actual, expected, atol):
    """Equal to within `atol` of the largest expected value, or of one."""
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=atol * max(1.0, np.abs(expected).max())
    )


def differences(function, T, D):
    """The derivative of a function at T along D, by central differences."""
    return (np.asarray(function(T + STEP * D)) - function(T - STEP * D)) / (2 * STEP)


def basis(shape):
    """Every direction of arrays of one shape that moves a single entry."""
    return np.eye(int(np.prod(shape))).reshape(-1, *shape)


class UngaugedSoftmax(Softmax):
    """A softmax whose Hessian is left as it is."""

    def fix_gauge_inplace(self, H, width):
        pass


# ---- Problems, with the objective written a second time in plain numpy ----------------------

TARGETS = {
    "softmax labels": (Softmax(), lambda rng, n: Labels(rng.integers(3, size=n), 3)),
    "softmax smoothed": (Softmax(), lambda rng, n: Labels(rng.integers(4, size=n), 4, 0.1)),
    "softmax shares": (Softmax(), lambda rng, n: Shares(rng.dirichlet(np.ones(3), size=n))),
    "sigmoid shares": (Sigmoid(), lambda rng, n: Shares(rng.uniform(size=(n, 3)))),
    "sigmoid of two classes": (
        Sigmoid(),
        lambda rng, n: Shares(rng.integers(2, size=(n, 1)) * 1.0),
    ),
}
# How rows are held: standardised blocks that are kept, raw blocks or blocks transformed in each
# pass, and CSR.
SOURCES = ["kept", "raw", "sparse"]
TERMS = {
    "plain": {},
    "weighted, offset": {"weighted": True, "offset": True},
    "no intercept": {"weighted": True, "offset": True, "intercept": False},
}
FACTORS = np.array([1.0, 2.0, 0.5, 0.0, 1.0, 3.0])
PENALTIES = {"L2": 0.5, "no penalty": np.inf}


@dataclass
class Case:
    """An objective in working coordinates and what it was made from, in double precision."""

    objective: Objective
    X: np.ndarray
    Y: np.ndarray
    s: np.ndarray
    offset: np.ndarray
    l2: np.ndarray

    @property
    def link(self):
        return self.objective.link

    @property
    def dtype(self):
        return self.objective.rows.dtype.type

    @property
    def exact(self):
        return self.objective.exact()

    @property
    def ungauged(self):
        link = UngaugedSoftmax() if self.objective.link.uncoupled_blocks(2) == 1 else self.link
        return replace(self.objective, link=link)

    @property
    def features(self):
        """The rows x~ (n, width), from the raw ones by the formula of `Coordinates`."""
        own = self.objective.rows.coordinates
        return np.column_stack(
            [(self.X - own.centre) / own.scale, *([np.ones(len(self.X))] * own.intercept)]
        )

    def point(self, seed=0):
        """Coefficients T at which probabilities are neither all alike nor near 0 and 1."""
        return 0.5 * np.random.default_rng(seed).normal(size=self.objective.shape)

    def direction(self, seed=1):
        """A direction that moves probabilities: columns that vary, zero-sum over classes."""
        own = self.objective.rows.coordinates
        varies = np.append(np.isfinite(own.scale), [True] * own.intercept)
        return self.link.centred(self.point(seed) * varies[:, None])

    def value(self, W, b):
        """F(W, b) in the user's units."""
        Z = self.X @ W + b + self.offset
        if isinstance(self.link, Softmax):
            loss = logsumexp(Z, axis=1) - (self.Y * Z).sum(axis=1)
        else:
            loss = (np.logaddexp(0, Z) - self.Y * Z).sum(axis=1)
        return (self.s @ loss + 0.5 * self.l2 @ np.square(W).sum(axis=1)) / self.s.sum()

    def least(self):
        """The least F, found without softreg; labels of a sigmoid are problems of their own."""
        if isinstance(self.link, Softmax):
            return self._least(self.Y, self.offset)
        columns = zip(self.Y.T, self.offset.T, strict=True)
        return sum(self._least(np.column_stack([1 - y, y]), o) for y, o in columns)

    def _least(self, Y, offset):
        intercept = self.objective.rows.coordinates.intercept
        return optimum(
            self.X,
            Y,
            1.0,
            sample_weight=self.s,
            offset=offset,
            penalty_factor=self.l2,
            fit_intercept=intercept,
        ).objective


def columns(rng, n, source):
    """Six columns of different units and centres, the last of them constant."""
    X = rng.normal([0, 50, -2, 0.5, 0], [1, 20, 0.05, 3, 1], (n, 5))
    if source == "sparse":
        X *= rng.random(X.shape) < 0.6
    return np.column_stack([X, np.full(n, 0.0 if source == "sparse" else 7.25)])


def make(
    threads,
    targets="softmax labels",
    source="kept",
    dtype=np.float64,
    penalty="L2",
    *,
    X=None,
    n=40,
    weighted=False,
    offset=False,
    intercept=True,
    factors=FACTORS,
):
    """A `Case`, the same whenever its arguments are the same."""
    rng = np.random.default_rng(3)
    X = (columns(rng, n, source) if X is None else X).astype(dtype)
    link, draw = TARGETS[targets]
    y = draw(rng, len(X))
    K = len(y.weighted_sum(np.ones(len(X))))
    s = rng.uniform(size=len(X)) * 3 * (rng.random(len(X)) < 0.9) if weighted else None
    o = rng.normal(size=(len(X), K)) if offset else None
    raw = Coordinates.raw(X.shape[1], intercept)
    held = (SparseRows, sp.csr_array(X)) if source == "sparse" else (DenseRows, X)
    rows = held[0](held[1], y, s, o, raw, threads, np.dtype(dtype))
    norm = ElasticNet.of_inverse_strength(PENALTIES[penalty], factors)
    return Case(
        Objective.in_working_coordinates(link, rows, norm),
        X.astype(float),
        matrix(y, K),
        np.ones(len(X)) if s is None else s,
        np.zeros((len(X), K)) if o is None else o,
        factors / PENALTIES[penalty],
    )


def matrix(y, K):
    """Targets as a matrix (n, K), smoothed by hand."""
    if isinstance(y, Shares):
        return y.Y
    return (1 - y.smoothing) * np.eye(K)[y.codes] + y.smoothing / K


def hold(source, monkeypatch):
    """Have dense rows kept in working coordinates, or not at all."""
    if source == "raw":
        monkeypatch.setattr(_rows, "_KEPT_BYTES", 0)


ALL = list(product(TARGETS, SOURCES, ROUNDING, TERMS, PENALTIES))


@pytest.fixture(params=ALL, ids=lambda p: f"{p[0]}-{p[1]}-{p[2].__name__}-{p[3]}-{p[4]}")
def case(request, monkeypatch):
    """One objective of every kind."""
    targets, source, dtype, terms, penalty = request.param
    hold(source, monkeypatch)
    with Threads(1) as threads:
        yield make(threads, targets, source, dtype, penalty, **TERMS[terms])


@pytest.fixture
def one_thread():
    """Threads of one, entered."""
    with Threads(1) as threads:
        yield threads


# ---- Objective: values and derivatives ----------------------------------------------------------


def test_the_value_is_the_formula_on_raw_columns(case):
    """F(T) in working coordinates is F(W, b) of plain numpy on raw X, at the mapped T."""
    T = case.point()
    value, _ = case.objective.value_and_gradient(T)
    expected = case.value(*case.objective.rows.coordinates.coefficients(T))
    assert value == pytest.approx(expected, rel=ROUNDING[case.dtype])


def test_the_gradient_is_the_derivative_of_the_value(case):
    """dF along every entry of T, by central differences of F in double precision."""
    T, F = case.point(), lambda T: case.exact.value_and_gradient(T)[0]
    expected = [differences(F, T, D) for D in basis(T.shape)]
    _, gradient = case.objective.value_and_gradient(T)
    assert gradient.dtype == np.float64
    close(gradient, np.reshape(expected, T.shape), DIFFERENCES[case.dtype])


def test_the_hessian_product_is_the_derivative_of_the_gradient(case):
    """H(T) D is the derivative of the gradient along D, for each D in turn."""
    T, G = case.point(), lambda T: case.exact.value_and_gradient(T)[1]
    times = case.objective.hessian_product(T)
    for D in (case.point(1), case.point(2)):
        close(times(D), differences(G, T, D), DIFFERENCES[case.dtype])


def test_the_hessian_is_the_matrix_of_its_products(case):
    """Before the gauge is fixed, column j of the Hessian is the product with the j-th unit."""
    T = case.point()
    times, H = case.exact.hessian_product(T), case.ungauged.hessian(T)
    assert len(H) == case.link.uncoupled_blocks(T.shape[1])
    for D in basis(T.shape):
        close(apply(H, D), times(D), ROUNDING[case.dtype])


def test_fixing_the_gauge_leaves_directions_that_move_probabilities_alone(case):
    """With the gauge fixed, H D is the product for zero-sum D, and H is positive definite."""
    T, D = case.point(), case.direction()
    H = case.objective.hessian(T)
    close(apply(H, D), case.exact.hessian_product(T)(D), ROUNDING[case.dtype])
    for block in H:
        moved = np.flatnonzero(np.diagonal(block) > 0)
        least = np.linalg.eigvalsh(block[np.ix_(moved, moved)])[0]
        assert least > 1e-5 * np.diagonal(block).max()


def test_the_hessian_diagonal_is_that_of_the_hessian(case):
    """The diagonal summed without the matrix is the matrix's, before the gauge is fixed."""
    T = case.point()
    expected = np.concatenate([np.diagonal(H) for H in case.ungauged.hessian(T)])
    close(
        case.objective.hessian_diagonal(T),
        expected.reshape(T.shape[::-1]).T,
        ROUNDING[case.dtype],
    )


def test_the_gram_matrix_is_the_weighted_mean_of_outer_products(case):
    """The Gram matrix is sum_i s_i x~_i x~_i' / S."""
    x = case.features
    expected = (case.s[:, None] * x).T @ x / case.s.sum()
    close(case.objective.gram, expected, ROUNDING[case.dtype])


def test_leverages_are_curvature_times_the_length_of_the_row(case):
    """A leverage is s_i sum_k p_ik (1 - p_ik) ||root' x~_i||^2."""
    T, root = case.point(), np.random.default_rng(4).normal(size=(len(case.point()), 2))
    Z = case.features @ T + case.offset
    P = softmax(Z, axis=1) if isinstance(case.link, Softmax) else expit(Z)
    spread = (P * (1 - P)).sum(axis=1)
    expected = case.s * spread * np.square(case.features @ root).sum(axis=1)
    close(case.objective.leverages(T, root), expected, ROUNDING[case.dtype])


def test_the_curvature_gram_is_the_hessian_added_over_the_scores(case):
    """It is sum_i s_i sum_k p_ik (1 - p_ik) x~_i x~_i' / S + K l2 / S: the trace over k of H."""
    T, K = case.point(), case.objective.shape[1]
    Z = case.features @ T + case.offset
    P = softmax(Z, axis=1) if isinstance(case.link, Softmax) else expit(Z)
    spread = case.s * (P * (1 - P)).sum(axis=1)
    expected = case.features.T @ (spread[:, None] * case.features)
    expected += K * np.diag(case.objective.penalty.l2)
    close(case.objective.curvature_gram(T), expected / case.s.sum(), ROUNDING[case.dtype])


def test_a_balancing_step_takes_a_residual_off_the_intercepts_alone(case):
    """H times the step equals the residual's zero-sum part there; no other coefficient moves."""
    T, residual = case.point(), np.random.default_rng(8).normal(size=case.objective.shape)
    step = case.objective.balancing_step(T, residual)
    own = len(T) - case.objective.rows.coordinates.intercept
    assert (step[:own] == 0).all()
    if own == len(T):
        return
    image = case.objective.exact().hessian_product(T)(step)
    close(image[own:], case.link.centred(residual[own:]), ROUNDING[case.dtype])


def test_the_null_model_is_stationary_in_the_intercept(one_thread):
    """Without offsets the null model's intercepts fit the mean target: their gradient is 0."""
    for targets in TARGETS:
        objective = make(one_thread, targets, weighted=True).objective
        assert np.abs(objective.value_and_gradient(objective.null())[1][-1]).max() < 1e-15


def apply(H, D):
    """Uncoupled blocks H (B, p, p) times D (width, K)."""
    parts = np.einsum("bpq,bq->bp", H, D.T.reshape(len(H), -1))
    return parts.reshape(D.shape[::-1]).T


# ---- Coordinates and rows -----------------------------------------------------------------------


def test_scores_are_those_of_the_raw_columns(case):
    """T' x~ + offset = W x + b + offset, both ways between T and (W, b)."""
    rng, (width, K) = np.random.default_rng(5), case.objective.shape
    own, rows = case.objective.rows.coordinates, case.objective.rows
    intercept = rng.normal(size=K) * own.intercept
    W = rng.normal(size=(6, K)) / [[1], [20], [1], [3], [1], [1]]
    for T in (rng.normal(size=(width, K)), own.working(W, intercept)):
        Z = np.hstack([rows.block(cut).scores(rows.inward(T)) for cut in rows.cuts]).T
        assert Z.dtype == case.dtype
        back, b = own.coefficients(T)
        close(Z, case.X @ back + b + case.offset, ROUNDING[case.dtype])
    close(Z, case.X @ W + intercept + case.offset, ROUNDING[case.dtype])


def test_working_and_coefficients_are_inverses(case):
    """T -> (W, b) -> T and (W, b) -> T -> (W, b), but for columns that do not vary."""
    T, objective = case.direction(), case.objective
    W, b = objective.coefficients(T)
    np.testing.assert_allclose(objective.working(W, b), T, rtol=0, atol=1e-12)
    again, b_again = objective.coefficients(objective.working(W, b))
    np.testing.assert_allclose(again, W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b_again, b, rtol=1e-12, atol=1e-12)


def test_coefficients_are_the_zero_sum_ones_of_equal_probabilities(case):
    """The same row added to every class of T changes nothing of what is reported."""
    T = case.point()
    gauge = np.random.default_rng(6).normal(size=(len(T), 1)) * (case.link.uncoupled_blocks(2) == 1)
    W, b = case.objective.coefficients(T)
    moved, b_moved = case.objective.coefficients(T + gauge)
    np.testing.assert_allclose(moved, W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b_moved, b, rtol=1e-12, atol=1e-10)
    own, own_b = case.objective.rows.coordinates.coefficients(T)
    Z, Z_own = case.X @ W + b, case.X @ own + own_b
    close(Z - Z.mean(axis=1, keepdims=True), Z_own - Z_own.mean(axis=1, keepdims=True), 1e-12)


def test_working_columns_have_mean_zero_and_deviation_about_one(case):
    """x~ of a column that varies: deviation within a factor sqrt(2) of 1, by powers of two."""
    own, x = case.objective.rows.coordinates, case.features[:, :5]
    mean = case.s @ x / case.s.sum()
    if own.intercept:
        close(mean, np.zeros(5), 1e-4 if case.dtype == np.float32 else 1e-12)
    deviation = np.sqrt(case.s @ np.square(x - mean * own.intercept) / case.s.sum())
    assert (np.abs(np.log2(deviation)) <= 0.5001).all()
    np.testing.assert_array_equal(np.frexp(own.scale[:5])[0], 0.5)
    assert np.isinf(own.scale[5]) == (case.X[0, 5] == 0 or own.intercept)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_sums_do_not_depend_on_blocks_or_threads(monkeypatch, targets, source, dtype, n_threads):
    """Every sum over many tiny blocks, in one thread or two, is that over a single block."""
    hold(source, monkeypatch)
    with Threads(1) as alone, Threads(n_threads) as threads:
        whole = make(alone, targets, source, dtype, weighted=True, offset=True)
        assert len(whole.objective.rows.cuts) == 1
        expected = everything(whole.objective, whole.point())
        monkeypatch.setattr(_rows, "_BLOCK_VALUES", 1)
        monkeypatch.setattr(_rows, "_BLOCK_ROWS", 1)
        monkeypatch.setattr(_rows, "_WORTH_A_THREAD", 0)
        parts = make(threads, targets, source, dtype, weighted=True, offset=True)
        assert len(parts.objective.rows.cuts) >= 4
        for actual, once in zip(everything(parts.objective, whole.point()), expected, strict=True):
            close(actual, once, ROUNDING[dtype])


def everything(objective, T):
    """All that an objective sums over its rows."""
    D, root = np.cos(T), np.sin(T)[:, :2]
    there = objective.certify(T, 0.1 * D)
    return [
        *objective.rows.moments(),
        *objective.value_and_gradient(T),
        *map(objective.hessian_product(T), (D, D**2)),
        objective.hessian(T),
        objective.hessian_diagonal(T),
        objective.gram,
        objective.curvature_gram(T),
        objective.leverages(T, root),
        *(there.value, there.gradient, there.divergence, there.imbalance),
    ]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_labels_are_the_shares_that_they_stand_for(smoothing):
    """Labels and the smoothed one-hot matrix give the same sums, also of some of the rows."""
    rng = np.random.default_rng(7)
    labels = Labels(rng.integers(4, size=30), 4, smoothing)
    shares, s = Shares(matrix(labels, 4)), rng.uniform(size=30)
    for rows in (slice(None), slice(5, 17), rng.permutation(30)[:11]):
        some, others, weight = labels[rows], shares[rows], s[rows]
        Z = rng.normal(size=(4, len(weight)))
        np.testing.assert_allclose(some.inner(Z), others.inner(Z), atol=1e-14)
        np.testing.assert_allclose(some.weighted_sum(weight), others.weighted_sum(weight))
        R, R_others = Z.copy(), Z.copy()
        some.subtract_from_inplace(R)
        others.subtract_from_inplace(R_others)
        np.testing.assert_allclose(R, R_others, atol=1e-14)


# ---- Row space ----------------------------------------------------------------------------------

WIDE = list(product(["L2", "no penalty"], [True, False], TARGETS, ["penalised", "some free"]))


@pytest.fixture(params=WIDE, ids=lambda p: f"{p[0]}-intercept {p[1]}-{p[2]}-{p[3]}")
def wide(request, one_thread):
    """A problem with more columns than rows, rotated into their span."""
    penalty, intercept, targets, kind = request.param
    rng = np.random.default_rng(8)
    X = rng.normal(size=(12, 30)) * np.exp(rng.normal(size=30)) + 50
    factors = rng.uniform(0.5, 2, size=30) * (kind == "penalised" or np.arange(30) % 10 > 0)
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
    assert value == pytest.approx(wide.value(*objective.coefficients(T)), rel=1e-9)


def test_the_way_into_the_row_space_keeps_every_score(wide):
    """Weights outside the span of the rows lose only the part that moves no score."""
    rng, objective = np.random.default_rng(9), wide.objective
    K, intercept = objective.shape[1], objective.rows.coordinates.intercept
    W = wide.link.centred(rng.normal(size=(30, K)) / 5)
    b = wide.link.centred(rng.normal(size=K) * intercept)
    T = objective.working(W, b)
    back, b_back = objective.coefficients(T)
    np.testing.assert_allclose(wide.X @ back + b_back, wide.X @ W + b, atol=1e-10)
    assert wide.value(back, b_back) <= wide.value(W, b) + 1e-12
    (block,) = (objective.rows.block(cut) for cut in objective.rows.cuts)
    np.testing.assert_allclose(block.linear(T).T, wide.X @ W + b, atol=1e-10)


# ---- Links --------------------------------------------------------------------------------------

LINKS = {"softmax": Softmax(), "sigmoid": Sigmoid()}


@pytest.fixture(params=LINKS)
def link(request):
    """One link of every kind."""
    return LINKS[request.param]


def probabilities(link, Z):
    """P (K, m) in SciPy's words."""
    return softmax(Z, axis=0) if isinstance(link, Softmax) else expit(Z)


def losses(link, Z, Y):
    """The row losses (m,) in SciPy's words, Y being (K, m)."""
    own = logsumexp(Z, axis=0) if isinstance(link, Softmax) else -log_expit(-Z).sum(axis=0)
    return own - (Y * Z).sum(axis=0)


def drawn(link, rng, K, m):
    """Probabilities (K, m) within the link's domain."""
    return rng.dirichlet(np.ones(K), m).T if isinstance(link, Softmax) else rng.random((K, m))


@pytest.mark.parametrize("size", [1, 30, 1e4])
def test_losses_and_probabilities_are_scipys_at_scores_of_any_size(link, size):
    """No score overflows: losses, P and P - Y equal log_softmax's and log_expit's."""
    rng = np.random.default_rng(10)
    Z, Y = size * rng.normal(size=(4, 50)), drawn(link, rng, 4, 50)
    R = Z.copy()
    np.testing.assert_allclose(
        link.loss_and_residual_inplace(R, Shares(Y.T)), losses(link, Z, Y), rtol=1e-13, atol=1e-13
    )
    np.testing.assert_allclose(R, probabilities(link, Z) - Y, atol=1e-14)
    P = link.probabilities_inplace(Z.copy())
    np.testing.assert_allclose(P, probabilities(link, Z), rtol=1e-11, atol=1e-300)


def test_the_curvature_is_the_derivative_of_the_probabilities(link):
    """The curvature product is dP/dZ D, and its diagonal what it makes of each unit."""
    rng = np.random.default_rng(11)
    Z, D = rng.normal(size=(2, 4, 50))
    P = probabilities(link, Z)
    derivative = differences(lambda Z: probabilities(link, Z), Z, D)
    np.testing.assert_allclose(link.curvature_product(P, D), derivative, atol=1e-9)
    for k, unit in enumerate(np.eye(4)):
        own = link.curvature_product(P, np.tile(unit[:, None], 50))[k]
        np.testing.assert_allclose(link.curvature_diagonal(P)[k], own, atol=1e-15)


@pytest.mark.parametrize("chunk", [1, 2**16])
@pytest.mark.parametrize("K", [1, 2, 4])
def test_the_links_hessian_is_the_sum_of_kronecker_products(monkeypatch, link, K, chunk):
    """sum_i w_i (Hessian of row i) (x) x_i x_i', whatever the chunks; zero between its blocks."""
    monkeypatch.setattr(_links, "_CHUNK_VALUES", chunk)
    K, rng = max(K, 3 - link.uncoupled_blocks(2)), np.random.default_rng(12)
    X, w, P = rng.normal(size=(101, 3)), rng.random(101), drawn(link, rng, K, 101)
    units = [link.curvature_product(P, np.tile(unit[:, None], 101)) for unit in np.eye(K)]
    expected = np.einsum("kjm,m,mp,mq->kpjq", units, w, X, X).reshape(3 * K, 3 * K)
    H = link.hessian(P, X, w)
    B = link.uncoupled_blocks(K)
    assert H.shape == (B, 3 * K // B, 3 * K // B)
    whole = np.zeros_like(expected)
    for k, block in enumerate(H):
        at = slice(k * len(block), (k + 1) * len(block))
        whole[at, at] = block
    np.testing.assert_allclose(whole, expected, atol=1e-12)


def test_null_scores_have_the_mean_target_as_probabilities(link):
    """P at the null scores is the mean target; a class without weight has a finite score."""
    mean = drawn(link, np.random.default_rng(13), 4, 1)[:, 0]
    np.testing.assert_allclose(probabilities(link, link.null_scores(mean)), mean, rtol=1e-13)
    rare = link.null_scores(np.array([0.0, 1.0, 0.0]))
    assert np.isfinite(rare).all()
    np.testing.assert_allclose(probabilities(link, rare), [0, 1, 0], atol=1e-15)


def test_centring_scores_changes_no_probability(link):
    """The representative has the same probabilities and is its own representative."""
    T = np.random.default_rng(14).normal(size=(5, 4))
    centred = link.centred(T)
    np.testing.assert_allclose(probabilities(link, centred.T), probabilities(link, T.T), rtol=1e-13)
    np.testing.assert_allclose(link.centred(centred), centred, atol=1e-15)
    if isinstance(link, Softmax):
        np.testing.assert_allclose(centred.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("size", [1e-3, 0.1, 1, 10, 300])
def test_the_dual_gap_of_a_row_is_the_divergence_of_its_probabilities(link, size):
    """Q lies in the domain; the gap is KL(q || p(z + d)), and loss + conjugate - <q - y, z + d>."""
    rng = np.random.default_rng(15)
    Z, D, Y = (
        3 * rng.normal(size=(4, 200)),
        size * rng.normal(size=(4, 200)),
        drawn(link, rng, 4, 200),
    )
    Q, divergence = link.dual(Z, D)
    assert (Q >= 0).all() and (Q <= 1).all()
    P, rounding = probabilities(link, Z + D), 1e-15 * (10 + 4 * size)
    if isinstance(link, Softmax):
        np.testing.assert_allclose(Q.sum(axis=0), 1, rtol=1e-14)
        # p (as exp of its logarithm) underflows where D is hundreds.
        log_p = log_softmax(Z + D, axis=0)
        expected = (rel_entr(Q, 1) - Q * log_p).sum(axis=0) if size > 10 else rel_entr(Q, P).sum(0)
        conjugate = xlogy(Q, Q).sum(axis=0)
    else:
        other = expit(-Z - D)
        if size > 10:
            cross = Q * log_expit(Z + D) + (1 - Q) * log_expit(-Z - D)
            expected = (rel_entr(Q, 1) + rel_entr(1 - Q, 1) - cross).sum(axis=0)
        else:
            expected = (rel_entr(Q, P) + rel_entr(1 - Q, other)).sum(axis=0)
        conjugate = (xlogy(Q, Q) + xlogy(1 - Q, 1 - Q)).sum(axis=0)
    np.testing.assert_allclose(divergence, expected, rtol=1e-12, atol=rounding)
    fenchel = losses(link, Z + D, Y) + conjugate - ((Q - Y) * (Z + D)).sum(axis=0)
    np.testing.assert_allclose(divergence, fenchel, rtol=1e-12, atol=4 * rounding)
    assert divergence.min() >= -rounding


def test_dual_probabilities_are_linear_in_a_small_step(link):
    """Where it stays in the domain, Q = P + H_z D; the divergence is then of fourth order in D."""
    rng = np.random.default_rng(16)
    Z, D = rng.normal(size=(2, 4, 50))
    P = probabilities(link, Z)
    Q, divergence = link.dual(Z, 0.1 * D)
    np.testing.assert_allclose(Q, P + link.curvature_product(P, 0.1 * D), rtol=1e-13)
    half = link.dual(Z, 0.05 * D)[1]
    ratio = divergence.sum() / half.sum()
    assert 13 < ratio < 19


# ---- Penalty ------------------------------------------------------------------------------------


@pytest.fixture
def penalty():
    """Six strengths, one of them zero."""
    return ElasticNet.of_inverse_strength(0.25, FACTORS)


def test_the_penalty_is_the_weighted_sum_of_squares(penalty):
    """sum_j f_j / (2 C) ||W_j||^2, its gradient its derivative; C = inf is none."""
    W = np.random.default_rng(17).normal(size=(6, 3))
    assert penalty.value(W) == pytest.approx(2 * (FACTORS[:, None] * W**2).sum(), rel=1e-14)
    expected = [differences(penalty.value, W, D) for D in basis(W.shape)]
    np.testing.assert_allclose(penalty.gradient(W), np.reshape(expected, W.shape), atol=1e-8)
    assert ElasticNet.of_inverse_strength(np.inf, FACTORS).value(W) == 0


@pytest.mark.parametrize("intercept", [False, True])
def test_the_penalty_does_not_depend_on_units(penalty, intercept):
    """Features divided by `scale` have coefficients times `scale`; the intercept is free."""
    W, scale = np.random.default_rng(18).normal(size=(6, 3)), np.exp2([3, -2, 0, 5, 1, -7])
    T = np.vstack([W * scale[:, None], np.full((int(intercept), 3), 1e3)])
    assert penalty.in_units(scale, intercept).value(T) == pytest.approx(penalty.value(W), rel=1e-14)


def test_the_conjugate_is_the_least_upper_bound(penalty):
    """conjugate(G) >= <V, G> - value(V) for all V, and equality at the V whose gradient is G."""
    rng, held = np.random.default_rng(19), FACTORS[:, None] > 0
    for _ in range(20):
        W, G = rng.normal(size=(2, 6, 3)) * held
        assert penalty.conjugate(G) >= np.vdot(W, G) - penalty.value(W)
        G = penalty.gradient(W)
        tight = np.vdot(W, G) - penalty.value(W)
        assert penalty.conjugate(G) == pytest.approx(tight, rel=1e-13)
    free = rng.normal(size=(6, 3)) * ~held
    assert penalty.conjugate(free) == 0


# ---- Certificates -------------------------------------------------------------------------------

# An unpenalised column besides the intercept, and none.
DOUBLE = list(product(TARGETS, SOURCES, TERMS))


@pytest.fixture(params=DOUBLE, ids="-".join)
def penalised(request, monkeypatch):
    """One penalised objective in double precision of every kind."""
    targets, source, terms = request.param
    hold(source, monkeypatch)
    with Threads(1) as threads:
        yield make(threads, targets, source, **TERMS[terms])


def newton(objective, T):
    """The exact Newton step at T, by the dense Hessian."""
    gradient, H = objective.value_and_gradient(T)[1], objective.hessian(T)
    parts = zip(H, gradient.T.reshape(len(H), -1), strict=True)
    step = [np.linalg.lstsq(block, -g, rcond=1e-13)[0] for block, g in parts]
    return np.reshape(step, T.shape[::-1]).T


def minimiser(objective):
    """T at the optimum, by Newton's method on the dense Hessian."""
    T = objective.null()
    for _ in range(12):
        T = T + newton(objective, T)
    return T


def test_the_certificate_bounds_the_distance_to_the_optimum(penalised):
    """gap >= F - F* at T + step, for exact steps and for inexact ones balanced where F is free."""
    objective, least = penalised.objective, penalised.least()
    optimal, finite = minimiser(objective), 0
    for seed, size in product(range(3), [0.3, 0.1, 0.01]):
        T = optimal + size * penalised.direction(seed)
        exact = newton(objective, T)
        inexact = balanced(penalised, T, exact, size * penalised.direction(seed + 10) / 3)
        for step in (exact, inexact):
            there = objective.certify(T, step)
            value, gradient = objective.value_and_gradient(T + step)
            assert there.value == pytest.approx(value, rel=1e-13)
            close(there.gradient, gradient, 1e-12)
            assert there.gap >= value - least - 1e-13
            finite += np.isfinite(there.gap)
    assert finite >= 12


def balanced(case, T, exact, error):
    """The exact step with an error whose part in the unpenalised coefficients keeps balance."""
    objective, (width, K) = case.objective, case.objective.shape
    free = np.flatnonzero(objective.penalty.l2 == 0)
    units = basis((width, K)).reshape(width, K, width, K)[free].reshape(-1, width, K)
    times = objective.hessian_product(T)
    error = error * (objective.penalty.l2 > 0)[:, None]
    system = np.array([times(unit)[free].ravel() for unit in units])
    mend = np.linalg.lstsq(system.T, -times(error)[free].ravel(), rcond=1e-13)[0]
    return exact + error + np.tensordot(mend, units, axes=1)


def test_the_certificate_is_of_fourth_order_in_an_exact_step(penalised):
    """Half the distance to the optimum leaves a sixteenth of the gap after a Newton step."""
    objective, optimal = penalised.objective, minimiser(penalised.objective)
    gaps = []
    for size in (0.08, 0.04):
        T = optimal + size * penalised.direction()
        gaps.append(objective.certify(T, newton(objective, T)).gap)
    assert 10 < gaps[0] / gaps[1] < 24


def test_the_certificate_is_tight_at_the_optimum(penalised):
    """At the minimiser a step of zero has F = F* and a gap of zero, to rounding."""
    objective = penalised.objective
    T = minimiser(objective)
    there = objective.certify(T, np.zeros_like(T))
    assert there.value == pytest.approx(penalised.least(), abs=1e-13)
    assert 0 <= there.gap < 1e-15
    assert np.abs(there.gradient).max() < 1e-14


def test_there_is_no_bound_where_free_coefficients_are_out_of_balance(penalised):
    """A step that leaves a gradient in unpenalised coefficients proves nothing: gap = inf."""
    objective = penalised.objective
    T = minimiser(objective)
    free = (objective.penalty.l2 == 0) & np.isfinite(
        np.append(objective.rows.coordinates.scale, 1)
    )[: len(T)]
    assert free.any()
    moved = T + 1e-4 * free[:, None] * objective.link.centred(np.arange(T.shape[1]) + 1.0)
    if T.shape[1] == 1:
        moved = T + 1e-4 * free[:, None]
    assert objective.certify(moved, np.zeros_like(T)).gap == np.inf


# ---- Metrics, samples, conjugate gradients ------------------------------------------------------


def gram_matrix(case):
    """The Gram metric's M as an operator, from its formula."""
    objective = case.objective
    p = case.s @ case.Y / case.s.sum()
    x = case.features
    M = np.mean(p * (1 - p)) * (case.s[:, None] * x).T @ x / case.s.sum()
    return lambda D: (M + np.diag(objective.penalty.l2) / case.s.sum()) @ D


METRICS = {
    "diagonal": (
        lambda case, T: Diagonal.at(case.objective, T),
        lambda case, T: lambda D: case.objective.hessian_diagonal(T) * D,
    ),
    "Gram": (
        lambda case, T: Gram.of(case.objective),
        lambda case, T: gram_matrix(case),
    ),
    "Hessian": (
        lambda case, T: Hessian.at(case.objective, T, Gram.of(case.objective)),
        lambda case, T: case.objective.hessian_product(T),
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_whitening_and_unwhitening_are_adjoint(penalised, name):
    """<whiten(G), v> = <G, unwhiten(v)>: one is the transpose of the other."""
    T, rng = penalised.point(), np.random.default_rng(20)
    metric = METRICS[name][0](penalised, T)
    G, v = rng.normal(size=T.shape), rng.normal(size=T.size)
    assert metric.whiten(G) @ v == pytest.approx(np.vdot(G, metric.unwhiten(v)), rel=1e-10)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_inverse_of_what_it_stands_for(penalised, name):
    """unwhiten(whiten(M D)) = D and ||whiten(M D)||^2 = <D, M D>, where D moves probabilities."""
    T, D = penalised.point(), penalised.direction()
    metric, times = (make(penalised, T) for make in METRICS[name])
    G = times(D)
    np.testing.assert_allclose(metric.unwhiten(metric.whiten(G)), D, atol=1e-9)
    assert np.square(metric.whiten(G)).sum() == pytest.approx(np.vdot(D, G), rel=1e-10)


def test_metrics_are_renewed_to_the_hessian_where_it_is_affordable(penalised):
    """What the Gram matrix and an older Hessian are renewed to inverts the Hessian at the new T."""
    T, D = penalised.point(), penalised.direction()
    for metric in (Gram.of(penalised.objective), METRICS["Hessian"][0](penalised, 0 * T)):
        fresh = metric.renewed(penalised.objective, T)
        G = penalised.objective.hessian_product(T)(D)
        assert fresh.accurate
        np.testing.assert_allclose(fresh.unwhiten(fresh.whiten(G)), D, atol=1e-9)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("source", ["kept", "sparse"])
def test_the_hessian_of_rows_drawn_by_leverage_is_unbiased(
    monkeypatch, one_thread, source, targets
):
    """Over many draws, the mean of the sampled Hessians nears that of all rows."""
    stream, size, times = np.random.default_rng(21), 100, 80
    X = columns(stream, 300, source) * np.exp(stream.normal(size=(300, 1)))
    case = make(one_thread, targets, source, X=X, weighted=True, offset=True)
    objective, T = case.objective, case.point()
    root = np.linalg.cholesky(np.linalg.inv(objective.gram + 1e-3 * np.eye(7)))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: stream)
    samples = [by_leverage(objective, T, root, size) for _ in range(times)]
    mean = sum(sample.hessian(T) for sample in samples) / times
    # Each is off by about sqrt(order / size), their mean by a sqrt(times)-th of it.
    for estimate, block in zip(mean, objective.hessian(T), strict=True):
        moved = np.flatnonzero(np.diagonal(block) > 0)
        part = np.ix_(moved, moved)
        L = np.linalg.cholesky(block[part])
        relative = np.linalg.solve(L, np.linalg.solve(L, estimate[part]).T)
        assert np.abs(np.linalg.eigvalsh(relative) - 1).max() < 0.25
        assert np.trace(relative) / len(moved) == pytest.approx(1, abs=0.03)
    assert 0.6 * size < np.mean([sample.rows.n for sample in samples]) <= 1.05 * size


def test_rows_that_hold_up_the_hessian_are_always_drawn(one_thread):
    """The few rows that carry a column are in the sample, each at its own weight."""
    rng = np.random.default_rng(22)
    X = rng.normal(size=(2000, 6))
    X[:, 0] = 0
    X[[7, 1203], 0] = [1, -2]
    case = make(one_thread, X=X)
    objective, T = case.objective, 0 * case.point()
    root = np.linalg.inv(np.linalg.cholesky(objective.gram)).T
    sample = by_leverage(objective, T, root, 200)
    assert 120 < sample.rows.n < 280
    some = np.flatnonzero(sample.rows.X[:, 0])
    np.testing.assert_array_equal(sample.rows.X[some, 0], [1, -2])
    np.testing.assert_allclose(sample.rows.weights[some], 1)


def test_a_sampled_hessian_is_near_the_exact_one_where_columns_have_heavy_tails(one_thread):
    """Rows drawn in the lengths of `curvature_gram`, at a point where most rows are saturated."""
    rng = np.random.default_rng(25)
    X = rng.standard_t(1.2, size=(4000, 6)) * 10.0 ** rng.integers(-3, 4, 6)
    case = make(one_thread, X=X)
    objective = case.objective
    T = objective.null() + 4 * case.point()
    root = np.linalg.cholesky(np.linalg.inv(objective.curvature_gram(T)))
    sample = by_leverage(objective, T, root, 10 * T.size)
    assert sample.rows.n < 800
    (H,), (estimate,) = objective.hessian(T), sample.hessian(T)
    L = np.linalg.cholesky(H)
    relative = np.linalg.eigvalsh(np.linalg.solve(L, np.linalg.solve(L, estimate).T))
    assert relative.min() > 1 / 3 and relative.max() < 3


def spd(rng):
    """A random symmetric positive definite system of order 12."""
    A = rng.normal(size=(12, 30))
    return A @ A.T / 30 + 0.1 * np.eye(12), rng.normal(size=(12, 1))


@pytest.mark.parametrize("seed", range(5))
def test_conjugate_gradients_solve_a_system_in_as_many_products_as_it_has_unknowns(seed):
    """H D = -g, by any metric; `enough` is told the residual and its norm over the gradient's."""
    rng = np.random.default_rng(seed)
    H, g = spd(rng)
    metric = Diagonal(np.sqrt(rng.uniform(0.5, 2, size=(12, 1))))
    products, told = [], []

    def times(D):
        products.append(D)
        return H @ D

    def enough(residual, ratio):
        told.append((residual, ratio))
        return ratio < 1e-11

    D, residual = conjugate_gradients(times, g, metric, enough, 40)
    np.testing.assert_allclose(D, -np.linalg.solve(H, g), atol=1e-9)
    assert 10 <= len(products) <= 16
    assert residual is told[-1][0]
    np.testing.assert_allclose(residual, -g - H @ D, atol=1e-12)
    assert [ratio for _, ratio in told] == pytest.approx(
        [np.linalg.norm(metric.whiten(r)) / np.linalg.norm(metric.whiten(g)) for r, _ in told]
    )


def test_conjugate_gradients_with_the_hessian_as_metric_take_one_product():
    """With M = H the first direction is the solution."""
    H, g = spd(np.random.default_rng(23))
    L = np.linalg.cholesky(H)
    metric = Hessian([np.asfortranarray(L)], Gram(np.asfortranarray(L)))
    D, _ = conjugate_gradients(lambda D: H @ D, g, metric, lambda _, ratio: False, 1)
    np.testing.assert_allclose(D, -np.linalg.solve(H, g), atol=1e-12)


@pytest.mark.parametrize("most", [1, 3, 6])
def test_conjugate_gradients_that_stop_early_point_downhill(most):
    """After `most` products D lowers the model <g, D> + <D, H D> / 2, the more the later."""
    H, g = spd(np.random.default_rng(24))
    metric, count = Diagonal(np.ones((12, 1))), []

    def model(most):
        D, _ = conjugate_gradients(
            lambda D: count.append(1) or H @ D, g, metric, lambda _, ratio: False, most
        )
        return float((g.T @ D + D.T @ H @ D / 2)[0, 0])

    assert model(most) < model(most - 1) <= 0
    assert len(count) == 2 * most - 1


# ---- Threads ------------------------------------------------------------------------------------


def blas_libraries():
    """Every BLAS of the process, free to be limited.

    Since threadpoolctl 3.8 the first Python thread to limit an OpenBLAS keeps all others from it.
    """
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in libraries:
        getattr(library, "clear_controlling_thread", lambda force: None)(force=True)
    return libraries


def blas_threads():
    """What each BLAS is allowed now."""
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture
def two_allowed():
    """BLAS allowed two threads, also on a machine that has one processor."""
    before = [library.num_threads for library in blas_libraries()]
    for library in blas_libraries():
        library.set_num_threads(2)
    blas_libraries()
    assert blas_threads() == {2}
    yield
    for library, number in zip(blas_libraries(), before, strict=True):
        library.set_num_threads(number)
    blas_libraries()


def test_blas_has_one_thread_inside_and_its_own_outside(two_allowed):
    """Threads hold BLAS to one thread until they are left, also when an error leaves them."""
    with Threads(2):
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    with pytest.raises(ZeroDivisionError), Threads(2) as threads:
        threads.map(lambda item: 1 / item, [1, 0])
    assert blas_threads() == {2}


def test_nested_threads_give_blas_back_only_at_the_end(two_allowed):
    """The outermost exit restores BLAS; the inner ones leave it held."""
    with Threads():
        with Threads():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_overlapping_threads_give_blas_back_when_the_last_leaves(two_allowed):
    """Two fits at once, the first to enter leaving first: BLAS is held until both are done."""
    one, both, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with Threads(1):
            one.set()
            assert both.wait(10)
        left.set()

    def second():
        assert one.wait(10)
        with Threads(1):
            both.set()
            assert left.wait(10)
            return blas_threads()

    with ThreadPoolExecutor(2) as pool:  # whose threads live on after a fit
        done, seen = pool.submit(first), pool.submit(second)
        assert (done.result(20), seen.result(20)) == (None, {1})
        assert blas_threads() == {2}


def test_threads_hold_blas_in_whichever_python_thread_they_are_entered(two_allowed):
    """A fit in another Python thread holds and restores BLAS, whoever limited it before."""

    def inside():
        with Threads(1):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        assert inside() == pool.submit(inside).result(20) == inside() == {1}
        with threadpool_limits(2, user_api="blas"):
            assert pool.submit(inside).result(20) == {1}
            assert blas_threads() == {2}
    assert blas_threads() == {2}


def test_threads_leave_blas_free_for_others_to_limit(two_allowed):
    """After a fit here, `threadpool_limits` works in other Python threads as it did before."""

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with Threads(1):
            pass
        assert pool.submit(limited).result(20) == {1}
    assert blas_threads() == {2}


def test_the_first_fits_of_a_process_may_start_together(two_allowed):
    """Two Python threads that enter at once, when nobody has before, restore BLAS all the same."""
    source = importlib.util.find_spec("softreg._threads")
    for _ in range(10):
        module = importlib.util.module_from_spec(source)
        source.loader.exec_module(module)
        together = threading.Barrier(2, timeout=10)

        def inside(module=module, together=together):
            together.wait()
            with module.Threads(1):
                together.wait()
                return blas_threads()

        with ThreadPoolExecutor(2) as pool:
            seen = [pool.submit(inside) for _ in range(2)]
            assert [fit.result(20) for fit in seen] == [{1}, {1}]
        assert blas_threads() == {2}


def test_threads_are_as_many_as_blas_was_allowed(two_allowed):
    """n_jobs = None takes what BLAS had, which inside another fit is one; a number is that many."""
    with Threads() as outer, Threads() as inner, Threads(3) as three:
        assert (outer.count, inner.count, three.count) == (2, 1, 3)


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_map_keeps_the_order_and_shares_the_work(n_jobs):
    """Results come in the order of the items, computed by as many threads at once."""
    together, workers = threading.Barrier(n_jobs, timeout=10), set()

    def work(item):
        together.wait()  # would time out if fewer threads ran at once
        workers.add(threading.get_ident())
        return item**2

    before = threading.active_count()
    with Threads(n_jobs) as threads:
        assert threads.map(work, range(6 * n_jobs)) == [i**2 for i in range(6 * n_jobs)]
    assert len(workers) == n_jobs
    assert threading.active_count() == before


# ---- Solvers ------------------------------------------------------------------------------------

SOLVERS = {"lbfgs": LBFGS, "newton": Newton}


@pytest.fixture(params=SOLVERS)
def solver(request):
    """One solver of every kind, as it comes."""
    return SOLVERS[request.param]()


def test_every_solver_reaches_the_optimum_and_proves_it(penalised, solver):
    """F - F* <= gap <= 1e-8 F, F being that of the reported coefficients, in one record."""
    objective, least = penalised.objective, penalised.least()
    monitor = Monitor(1e-10, 1000, lambda T, F: False)
    result = solver.minimise(objective, objective.null(), monitor)
    F = penalised.value(result.coef, result.intercept)
    assert result.converged and not result.stopped and not result.diverging
    assert result.objective == pytest.approx(F, rel=1e-12)
    assert -1e-13 <= F - least <= result.gap + 1e-13
    assert np.isfinite(result.gap) or objective.has_free_features
    assert result.gap <= 1e-8 * F or objective.has_free_features
    assert result.n_iter == len(result.loss_curve) and result.loss_curve[-1] == result.objective


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_monitor_ends_a_fit_after_max_iter_iterations(one_thread, solver, most):
    """Not one iteration more, and the message says which parameter to raise."""
    objective, reports = make(one_thread, X=hard()).objective, []
    monitor = Monitor(1e-12, most, lambda T, F: reports.append(F))
    result = solver.minimise(objective, objective.null(), monitor)
    assert result.n_iter == most and not result.converged and not result.stopped
    assert f"max_iter={most}" in result.message
    np.testing.assert_array_equal(result.loss_curve, reports)


def test_a_report_of_true_ends_the_fit(one_thread, solver):
    """The callback's wish is the last iteration's, and the record says whose it was."""
    objective, reports = make(one_thread, X=hard()).objective, []
    monitor = Monitor(1e-12, 100, lambda T, F: reports.append(F) or len(reports) == 2)
    result = solver.minimise(objective, objective.null(), monitor)
    assert result.n_iter == len(reports) == 2
    assert result.stopped and not result.converged


def hard():
    """Rows far out, on which no solver is done in three iterations."""
    return np.random.default_rng(25).standard_t(1.5, size=(60, 6))


def test_the_optimum_is_reached_only_by_estimate_and_by_proof():
    """Both the estimate and the gap must be small relative to F, or below rounding."""
    monitor = Monitor(1e-6, 10, lambda T, F: False)
    assert monitor.reached(1e-7, 1e-7, 1.0)
    assert not monitor.reached(1e-5, 1e-7, 1.0)
    assert not monitor.reached(1e-7, 1e-5, 1.0)
    assert not monitor.reached(1e-7, 1e-10, 1e-3)
    assert not monitor.reached(1e-10, 1e-7, 1e-3)
    assert Monitor(0.0, 10, monitor.report).reached(1e-16, 1e-9, 1.0)


def test_solvers_refuse_parameters_that_they_do_not_have(solver):
    """set_params takes what get_params lists and names it when asked for anything else."""
    assert solver.set_params(**solver.get_params()) is solver
    with pytest.raises(
        ValueError, match="'step' is no parameter of .*its parameters: (history|none)"
    ):
        solver.set_params(step=1)
    assert solver == type(solver)()


def test_the_repr_of_a_solver_shows_only_what_differs(solver):
    """repr is the call that makes the solver, defaults left out."""
    assert repr(solver) == f"{type(solver).__name__}()"
    for name, value in solver.get_params().items():
        changed = type(solver)(**{name: value + 1})
        assert repr(changed) == f"{type(solver).__name__}({name}={value + 1})"
        assert repr(type(solver)().set_params(**{name: value + 1})) == repr(changed)


def test_solvers_go_by_name_or_are_themselves(one_thread, solver):
    """A name makes a solver, a configuration is used as it is, anything else is refused."""
    objective = make(one_thread).objective
    assert solver_for(solver, objective) is solver
    assert {name: type(solver_for(name, objective)) for name in SOLVERS} == SOLVERS
    with pytest.raises(ValueError, match="'auto', 'lbfgs', 'newton'"):
        solver_for("sag", objective)
