"""Cases of every kind, with the objective written a second time in plain numpy.

The laws of the parts run over these lists: a new link, source of rows, kind of targets or penalty
that is added to them is tested.
"""

import pickle
from dataclasses import dataclass, fields, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from problems import optimum
from scipy import __version__ as scipy_version
from scipy.special import expit, logsumexp, softmax

from softreg._model.links import Sigmoid, Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._model.sparse_penalties import ElasticNet, Groups
from softreg._rows.coordinates import Coordinates
from softreg._rows.devices.arrays import Device, DeviceArray
from softreg._rows.devices.rows import DeviceRows
from softreg._rows.memory import DenseRows, SparseRows
from softreg._rows.targets import ClassTargets, LabelTargets, TargetMatrix, Targets
from softreg._rows.threads import Limits
from softreg.solvers.linalg.conjugate_gradients import HessianProduct

# Rounding, of quantities of order one, for products in double and in single precision.
ROUNDING = {np.float64: 1e-11, np.float32: 2e-5}
# Central differences of step h err by h^2 f'''/6 + eps f / h, below 1e-8 for values near one.
STEP, DIFFERENCES = 1e-5, {np.float64: 1e-7, np.float32: 1e-4}


def close(actual, expected, atol):
    """Equal to within `atol` of the largest expected value, or of one."""
    assert np.shape(actual) == np.shape(expected)
    largest = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol * largest)


def step_rounding(objective):
    """Rounding of what only serves steps, for which single precision may do."""
    times = HessianProduct(objective, np.zeros(objective.shape))
    return ROUNDING[times.for_steps().objective.rows.dtype.type]


def differences(function, T, D):
    """The derivative of a function at T along D, by central differences."""
    return (np.asarray(function(T + STEP * D)) - function(T - STEP * D)) / (2 * STEP)


def basis(shape):
    """Every direction of arrays of one shape that moves a single entry."""
    return np.eye(int(np.prod(shape))).reshape(-1, *shape)


def apply(H, D):
    """Hessians of problems H (B, p, p) times D (width, K)."""
    columns = np.einsum("bpq,bq->bp", H, D.T.reshape(len(H), -1))
    return columns.reshape(D.shape[::-1]).T


class UngaugedSoftmax(Softmax):
    """A softmax whose Hessian is left as it is."""

    def fix_gauge_inplace(self, H, width):
        pass


# ---- Targets, and the matrices that they stand for ----------------------------------------------


class Drawn(NamedTuple):
    """Targets, and matrices (n, K) of y and of how much each loss weighs in its row."""

    targets: Targets
    Y: np.ndarray
    loss_weight: np.ndarray


def classes(K, smoothing=0.0):
    """One class a row, smoothed by hand."""

    def draw(rng, n):
        codes = rng.integers(K, size=n)
        Y = (1 - smoothing) * np.eye(K)[codes] + smoothing / K
        return Drawn(ClassTargets(codes, K, smoothing), Y, np.ones((n, K)))

    return draw


def shares(draw_matrix):
    """A matrix of targets."""

    def draw(rng, n):
        Y = draw_matrix(rng, n)
        return Drawn(TargetMatrix(Y), Y, np.ones(Y.shape))

    return draw


def answers(*, soft=False, cells=False):
    """Yes or no for three labels; `soft`: also shares, weights and unknown answers.

    `cells`: also weights of rows and labels. Some plain noes are stored, though they need not be.
    """

    def draw(rng, n):
        Y = (rng.random((n, 3)) < [0.5, 0.3, 0.6]) * 1.0
        weights, no_weight = np.ones(Y.shape), np.ones(3)
        if soft:
            Y = np.where(rng.random(Y.shape) < 0.3, rng.random(Y.shape), Y)
            no_weight = np.array([0.7, 1.0, 2.0])
            weights = np.where(Y > 0, rng.uniform(0.2, 3, Y.shape), no_weight)
            weights *= rng.random(Y.shape) < 0.85
        cell_weight = rng.uniform(size=Y.shape) * (rng.random(Y.shape) < 0.9) * 3 if cells else None
        targets = indicators(Y, weights, no_weight, cell_weight, rng.random(Y.shape) < 0.1)
        return Drawn(targets, Y, weights if cell_weight is None else weights * cell_weight)

    return draw


def indicators(Y, weights, no_weight, cell_weight=None, stored=False):
    """Targets of the answers Y (n, L) and their weights, all but plain noes being stored."""
    stored = (Y != 0) | (weights != no_weight) | stored
    places = (np.nonzero(stored)[1], np.r_[0, stored.sum(axis=1).cumsum()])
    return LabelTargets.from_answers(
        sp.csr_array((Y[stored], *places), shape=Y.shape), weights[stored], no_weight, cell_weight
    )


def two_classes(rng, n):
    """The one column of a fit of two classes."""
    return rng.integers(2, size=(n, 1)) * 1.0


def fits(draw, count):
    """The same targets for `count` fits, in which rows count 0 to 2 times.

    Scores come one fit after another.
    """

    def draw_fits(rng, n):
        targets, Y, loss_weight = draw(rng, n)
        counts = rng.choice([0, 1, 1, 1, 2], size=(count, n))
        counts_of_scores = np.repeat(counts.T, Y.shape[1], axis=1)
        return Drawn(
            targets.repeated(counts),
            np.tile(Y, count),
            np.tile(loss_weight, count) * counts_of_scores,
        )

    return draw_fits


TARGETS = {
    "softmax labels": (Softmax(), classes(3)),
    "softmax smoothed": (Softmax(), classes(4, 0.1)),
    "softmax shares": (Softmax(), shares(lambda rng, n: rng.dirichlet(np.ones(3), size=n))),
    "sigmoid shares": (Sigmoid(), shares(lambda rng, n: rng.uniform(size=(n, 3)))),
    "sigmoid of two classes": (Sigmoid(), shares(two_classes)),
    "answers": (Sigmoid(), answers()),
    "soft answers": (Sigmoid(), answers(soft=True)),
    "answers, cells": (Sigmoid(), answers(cells=True)),
    "soft answers, cells": (Sigmoid(), answers(soft=True, cells=True)),
    "softmax, two fits": (Softmax(2), fits(classes(3, 0.1), 2)),
}
INDICATORS = ["answers", "soft answers", "answers, cells", "soft answers, cells"]
# Those of which each score is a problem.
LABELS = ["sigmoid shares", *INDICATORS]


# ---- Objectives ---------------------------------------------------------------------------------

# What blocks are: standardised and kept; raw, or standardised anew in each pass; CSR.
HOST_SOURCES = ["kept", "raw", "sparse"]
# Or on a device: libraries that are installed, where SciPy is new enough for their arrays.
HAS_DISPATCH = tuple(map(int, scipy_version.split(".")[:2])) >= (1, 14)
LIBRARIES = [name for name in ("array_api_strict", "torch") if HAS_DISPATCH and find_spec(name)]
SOURCES = [*HOST_SOURCES, *LIBRARIES]
TERMS = {
    "plain": {},
    "weighted, offset": {"weighted": True, "offset": True},
    "no intercept": {"weighted": True, "offset": True, "intercept": False},
}
FACTORS = np.array([1.0, 2.0, 0.5, 0.0, 1.0, 3.0])
# Inverse strengths C, (1,) or (K,).
PENALTIES = {
    "L2": [0.5],
    "no penalty": [np.inf],
    "L2 of each": [0.5, 3.0, 0.05],
    "L2 of some": [0.5, np.inf, 0.05],
}
# Penalties that are not smooth: C, l1_ratio, groups of the six features.
SPARSE_PENALTIES = {
    "lasso": ([0.1], 1.0, Groups()),
    "elastic net": ([0.05], 0.4, Groups()),
    "by feature": ([0.1], 1.0, Groups(None, True)),
    "groups over scores": ([0.05], 0.7, Groups(np.array([0, 1, 1, 2, 0, 3]), True)),
    "groups within scores": ([0.05], 0.7, Groups(np.array([0, 1, 1, 2, 0, 3]))),
    "lasso of each": ([0.5, 3.0, 0.05], 1.0, Groups()),
}
# Groups over scores are those of one problem.
OVER_SCORES = ["by feature", "groups over scores"]
SEVERAL_PROBLEMS = [*LABELS, "softmax, two fits"]
SPARSE_KINDS = [
    (targets, penalty)
    for targets in TARGETS
    for penalty in SPARSE_PENALTIES
    if (targets not in SEVERAL_PROBLEMS or penalty not in OVER_SCORES)
    and (targets in LABELS or penalty != "lasso of each")
]


def with_penalties(*names):
    """All targets with all of these penalties; C (K,) only where each score is a problem."""
    pairs = product(TARGETS, names)
    Cs = PENALTIES | {name: C for name, (C, *_) in SPARSE_PENALTIES.items()}
    return [(y, name) for y, name in pairs if len(Cs[name]) == 1 or y in LABELS]


# Limits under which rows are spread over many blocks, however few they are.
MANY_BLOCKS = {"block_values": 1, "block_rows": 1, "unshared_values": 0}


def limits_of(source, **others):
    """Limits under which blocks are what a source says: none of dense rows is kept if "raw"."""
    return Limits(**({"kept_bytes": 0} if source == "raw" else {}), **others)


@dataclass
class Case:
    """An objective in working coordinates and what it was made from, in double precision.

    Row weights s (n,), weights w (n, K) of each row's loss in each score, strengths l2 and l1
    (d, 1 or K), the latter of each coefficient by itself.
    """

    objective: Objective
    X: np.ndarray
    Y: np.ndarray
    s: np.ndarray
    w: np.ndarray
    offset: np.ndarray
    l2: np.ndarray
    l1: np.ndarray | float = 0.0

    @property
    def link(self):
        return self.objective.link

    @property
    def is_softmax(self):
        return isinstance(self.link, Softmax)

    @property
    def dtype(self):
        return self.objective.rows.dtype.type

    @property
    def exact(self):
        return self.objective.in_double()

    @property
    def ungauged(self):
        link = UngaugedSoftmax(self.link.fits) if self.is_softmax else self.link
        return replace(self.objective, link=link)

    @property
    def owner(self):
        """Which problem each score belongs to, (K, B)."""
        K, B = self.Y.shape[1], self.link.fits if self.is_softmax else self.Y.shape[1]
        return np.kron(np.eye(B), np.ones((K // B, 1)))

    @property
    def total(self):
        """The weight of each problem, (B,); one where no target has weight."""
        total = self.w.sum(axis=0) @ self.owner / self.owner.sum(axis=0)
        return np.where(total > 0, total, 1.0)

    @property
    def weights(self):
        """The weight of each score's problem, (K,)."""
        return self.owner @ self.total

    @property
    def features(self):
        """The rows x~ (n, width), from the raw ones by the formula of `Coordinates`."""
        coordinates = self.objective.rows.coordinates
        return np.column_stack(
            [
                (self.X - coordinates.centre) / coordinates.scale,
                *([np.ones(len(self.X))] * coordinates.intercept),
            ]
        )

    @property
    def working_l2(self):
        """Strengths of the penalty on T, (width, K)."""
        coordinates, K = self.objective.rows.coordinates, self.Y.shape[1]
        strengths = np.vstack(
            [
                self.l2 / coordinates.scale[:, None] ** 2,
                *([0 * self.l2[:1]] * coordinates.intercept),
            ]
        )
        return np.broadcast_to(strengths, (len(strengths), K))

    def spread(self, T):
        """What each row's loss adds to the trace of its Hessian in the scores, score by score."""
        P = self.probabilities(self.features @ T + self.offset)
        return self.w * P * (1 - P)

    def probabilities(self, Z):
        """The probabilities (n, K) of scores (n, K)."""
        if not self.is_softmax:
            return expit(Z)
        return np.hstack([softmax(Z_of_fit, axis=1) for Z_of_fit in self.by_fit(Z)])

    def by_fit(self, A):
        """The scores of each softmax, of an array whose last axis is that of all scores."""
        return np.split(A, self.link.fits, axis=-1)

    def point(self, seed=0):
        """Coefficients T at which probabilities are neither all alike nor near 0 and 1."""
        return 0.5 * np.random.default_rng(seed).normal(size=self.objective.shape)

    def direction(self, seed=1):
        """A direction that moves probabilities: columns that vary, zero-sum over classes."""
        return self.link.centred(self.point(seed) * self.varying)

    @property
    def varying(self):
        """Features that vary, and the intercept, (width, 1)."""
        coordinates = self.objective.rows.coordinates
        return np.append(np.isfinite(coordinates.scale), [True] * coordinates.intercept)[:, None]

    def sparse_value(self, W):
        """The part of F(W, b) that is not smooth, problem by problem, as in `value`."""
        return (self.l1 * np.abs(W)).sum(axis=0) @ self.owner / self.total

    def value(self, W, b):
        """F(W, b) in the user's units, problem by problem, each divided by its own weight."""
        Z = self.X @ W + b + self.offset
        if self.is_softmax:
            fits = zip(*(self.by_fit(A) for A in (self.w, Z, self.Y)), strict=True)
            loss = [w[:, 0] @ (logsumexp(z, axis=1) - (y * z).sum(axis=1)) for w, z, y in fits]
        else:
            loss = (self.w * (np.logaddexp(0, Z) - self.Y * Z)).sum(axis=0)
        penalty = 0.5 * (self.l2 * np.square(W)).sum(axis=0) @ self.owner
        return (loss + penalty) / self.total + self.sparse_value(W)

    def parts_of_F(self, values):
        """Values of problems, from units of their own weight to parts of F: times S_k / S."""
        return values * self.total / self.w.sum(axis=0).mean()

    def least(self):
        """The least F of each problem, in units of its weight, found without softreg, (B,)."""
        l2 = np.broadcast_to(self.l2, (len(self.l2), self.Y.shape[1]))
        if self.is_softmax:
            fits = zip(*(self.by_fit(A) for A in (self.Y, self.w, self.offset, l2)), strict=True)
            return np.array([self._least(y, w[:, 0], o, f[:, 0]) for y, w, o, f in fits])
        labels = zip(self.Y.T, self.w.T, self.offset.T, l2.T, strict=True)
        return np.array([self._least(np.column_stack([1 - y, y]), *terms) for y, *terms in labels])

    def _least(self, Y, weight, offset, l2):
        found = optimum(
            self.X,
            Y,
            1.0,
            sample_weight=weight,
            offset=offset,
            penalty_factor=l2,
            fit_intercept=self.objective.rows.coordinates.intercept,
        )
        return found.objective


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
    link, draw = TARGETS[targets] if isinstance(targets, str) else targets
    y, Y, loss_weight = draw(rng, len(X))
    s = rng.uniform(size=len(X)) * 3 * (rng.random(len(X)) < 0.9) if weighted else None
    o = rng.normal(size=Y.shape) if offset else None
    raw = Coordinates.raw(X.shape[1], intercept)
    of_rows, X_rows = rows_of(source, X, threads.limits)
    rows = of_rows(X_rows, y, s, o, raw, threads, np.dtype(dtype))
    values, *sparse_terms = SPARSE_PENALTIES.get(penalty) or [PENALTIES[penalty]]
    C, l1_ratio = np.array(values), sparse_terms[0] if sparse_terms else 0.0
    norm = (ElasticNet if sparse_terms else Ridge).from_C(C, factors, *sparse_terms)
    strengths = factors[:, None] / C
    weight = np.ones(len(X)) if s is None else s
    return Case(
        Objective.in_working_coordinates(link, rows, norm),
        X.astype(float),
        Y,
        weight,
        weight[:, None] * loss_weight,
        np.zeros(Y.shape) if o is None else o,
        (1 - l1_ratio) * strengths,
        l1_ratio * strengths,
    )


def rows_of(source, X, limits):
    """The kind of rows of a source, and X (n, d) as it is there."""
    if source == "sparse":
        return SparseRows, sp.csr_array(X)
    if source not in LIBRARIES:
        return DenseRows, X
    array = on_device(source, X)
    has_small_blocks = limits.block_values == MANY_BLOCKS["block_values"]
    return DeviceRows, DeviceArray(array.array, small(array.on)) if has_small_blocks else array


def on_device(library, values):
    """Values of numpy in an array of a library, as numpy's functions take it."""
    array = import_module(library).asarray(values)
    return DeviceArray(array, Device.of(array))


@dataclass(frozen=True)
class SmallDevice(Device):
    """A device on which rows are spread over many blocks, however few they are."""

    block_values = 1


def small(on):
    """A device of the same library with little memory."""
    return SmallDevice(on.xp, on.device, on.has_double)


class RowsElsewhere(DenseRows):
    """Dense rows that kernels reach through pickle, as they would reach another process."""

    def sum(self, kernel):
        return super().sum(pickle.loads(pickle.dumps(kernel)))

    def maximum(self, kernel):
        return super().maximum(pickle.loads(pickle.dumps(kernel)))

    def map_rows(self, kernel):
        return super().map_rows(pickle.loads(pickle.dumps(kernel)))

    def sampled(self, importance, chance):
        return super().sampled(*pickle.loads(pickle.dumps((importance, chance))))


def elsewhere(objective):
    """The objective on the same dense rows, which its kernels reach through pickle."""
    of_rows = {field.name: getattr(objective.rows, field.name) for field in fields(DenseRows)}
    return replace(objective, rows=RowsElsewhere(**of_rows))


# ---- Optima, by the dense Hessian ---------------------------------------------------------------


def newton(objective, T):
    """The exact Newton step at T, by the dense Hessian."""
    gradient, H = objective.value_and_gradient(T)[1], objective.hessian(T)
    systems = zip(H, gradient.T.reshape(len(H), -1), strict=True)
    step = [np.linalg.lstsq(block, -g, rcond=1e-13)[0] for block, g in systems]
    return np.reshape(step, T.shape[::-1]).T


def minimiser(objective):
    """T at the optimum, by Newton's method on the dense Hessian."""
    T = objective.null()
    for _ in range(12):
        T = T + newton(objective, T)
    return T
