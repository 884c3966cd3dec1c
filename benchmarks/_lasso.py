"""The lasso along a path of strengths: its problem, a bound from coefficients alone, R's glmnet."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import _datasets as datasets
import numpy as np
from scipy import sparse
from scipy.special import log_softmax, xlogy
from threadpoolctl import threadpool_limits

STRENGTHS = 99
SPAN, SPAN_OF_WIDE = 1e-4, 1e-2
# Steps of the intercepts to their optimum, other coefficients staying as they are.
MOST_STEPS, BALANCED = 50, 1e-14
ROUNDING = 1e-9  # a bound may be above another program's F by this share

GLMNET = """
suppressMessages(library(glmnet))
a <- commandArgs(TRUE)
at <- function(name) file.path(a[1], name)
numbers <- function(name, kind = "double") readBin(at(name), kind, 1e9)
n <- as.integer(a[2]); d <- as.integer(a[3])
X <- if (file.exists(at("i"))) {
  new("dgCMatrix", i = numbers("i", "integer"), p = numbers("p", "integer"), x = numbers("x"),
      Dim = c(n, d))
} else matrix(numbers("x"), n, d)
y <- factor(numbers("y", "integer"))
binary <- nlevels(y) == 2
glmnet.control(fdev = 0, devmax = 1)
try(cat("5", file = "/proc/self/clear_refs"), silent = TRUE)
known <- list(X, y, family = if (binary) "binomial" else "multinomial", type.multinomial = a[4],
  lambda = numbers("lambda"), standardize = FALSE, thresh = as.numeric(a[5]), maxit = 1e9)
if (file.exists(at("fold"))) known$foldid <- numbers("fold", "integer")
program <- if (file.exists(at("fold"))) cv.glmnet else glmnet
seconds <- system.time(fit <- do.call(program, known))[3]
scores <- if (file.exists(at("fold"))) -fit$cvm / 2 else numeric()
if (file.exists(at("fold"))) fit <- fit$glmnet.fit
status <- try(grep("VmHWM", readLines("/proc/self/status"), value = TRUE), silent = TRUE)
out <- file(at("out"), "wb")
for (beta in if (binary) list(fit$beta) else fit$beta) writeBin(as.double(as.matrix(beta)), out)
writeBin(c(as.double(as.matrix(fit$a0)), scores), out)
close(out)
cat(seconds, length(fit$lambda), gsub("[^0-9]", "", status))
"""


class Curve(NamedTuple):
    """A path: seconds, peak bytes and, strength by strength, coefficients and intercepts.

    ``coef`` has matrices (K, d) and ``intercept`` arrays (K,); one row stands for the second of two
    classes. They may be fewer than the strengths that were asked for. ``scores`` are minus the mean
    held-out log losses where there were folds.
    """

    seconds: float
    peak: float
    coef: list[Any]
    intercept: list[np.ndarray]
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Problem:
    """F(W, b) = mean loss + strength * sum_j u_j |W_.j|, of columns X (n, d) as they come.

    |W_.j| is the sum of absolute values or, ``by_feature``, the length over the classes; u_j is 1
    or, ``standardised``, the column's deviation.
    """

    X: Any
    y: np.ndarray
    by_feature: bool
    standardised: bool

    @classmethod
    def load(cls, name: str, by_feature: bool, standardised: bool) -> Problem:
        """Return the problem of a set without its constant columns.

        Classes of one row, which glmnet refuses, are one class. Columns of sparse sets are taken as
        they are: tf-idf has a unit of its own.
        """
        data = datasets.load(name)
        counts = np.bincount(data.y)
        merged = np.where(counts < 2, -1, np.arange(len(counts)))[data.y]
        y = np.unique(merged, return_inverse=True)[1]
        if sparse.issparse(data.X):
            return cls(sparse.csr_array(data.X), y, by_feature, False)
        X = np.asarray(data.X, dtype=np.float64)
        return cls(X[:, X.max(axis=0) > X.min(axis=0)], y, by_feature, standardised)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.X.shape, int(self.y.max()) + 1)

    @cached_property
    def unit(self) -> np.ndarray:
        """u, (d,)."""
        d = self.X.shape[1]
        return (self.X - self.X.mean(axis=0)).std(axis=0) if self.standardised else np.ones(d)

    @cached_property
    def columns(self) -> Any:
        """The columns over u, centred unless they are sparse: those that other programs fit."""
        return self.X if sparse.issparse(self.X) else (self.X - self.X.mean(axis=0)) / self.unit

    @cached_property
    def strengths(self) -> np.ndarray:
        """From below the least that keeps all coefficients at zero, (99,), descending."""
        n, d, K = self.shape
        shares = np.bincount(self.y) / n
        residuals = np.repeat(shares[None], n, axis=0)
        residuals[np.arange(n), self.y] -= 1
        largest = self.sizes((self.columns.T @ residuals).T / n).max()
        span = SPAN_OF_WIDE if d > n else SPAN
        return largest * np.geomspace(1, span, STRENGTHS + 1)[1:]

    @property
    def C_values(self) -> np.ndarray:
        """The strengths as softreg and scikit-learn take them: C = 1 / (strength n)."""
        return 1 / (self.strengths * len(self.y))

    def curve_in_columns(
        self, seconds: float, peak: float, coef: list[Any], intercept: list[np.ndarray]
    ) -> Curve:
        """Return a curve of ``columns`` for coefficients of X."""
        if sparse.issparse(self.X):
            return Curve(seconds, peak, coef, list(intercept))
        mean, dense = self.X.mean(axis=0), [_array(W) for W in coef]
        moved = [b + W @ mean for W, b in zip(dense, intercept, strict=True)]
        return Curve(seconds, peak, [W * self.unit for W in dense], moved)

    def sizes(self, W: np.ndarray) -> np.ndarray:
        """What the penalty adds up, of coefficients of ``columns``: |W_jk|, or the lengths.

        Two classes: W has one row, or two of which one is minus the other.
        """
        return np.sqrt((W**2).sum(axis=0)) if self.is_grouped else np.abs(W)

    @property
    def is_grouped(self) -> bool:
        """Whether lengths over the classes are penalised; of two classes they are values."""
        return self.by_feature and self.shape[2] > 2

    def value_and_bound(self, W: np.ndarray, b: np.ndarray, strength: float) -> tuple[float, float]:
        """F of coefficients W of ``columns`` with their best intercepts, and a bound F* >= bound.

        Any residuals of probabilities, R = Q - Y, that add up to zero and whose gradient R'X/n is
        within the penalty's balls bound F* by Q's mean entropy; those of the model, R = P - Y, are
        shrunk until they are.
        """
        Z, rows = self.columns @ W.T, (np.arange(len(self.y)), self.y)
        if len(W) == 1:
            Z, b = np.hstack([np.zeros_like(Z), Z]), np.append(0.0, b)
        for _ in range(MOST_STEPS):
            log_P = log_softmax(Z + b, axis=1)
            P = np.exp(log_P)
            slope = P.mean(axis=0) - np.bincount(self.y) / len(self.y)
            if np.abs(slope).max() < BALANCED:
                break
            H = np.diag(P.mean(axis=0)) - P.T @ P / len(P) + 1 / len(b)  # 1/K: the gauge
            b = b - np.linalg.solve(H, slope)
        F = -log_P[rows].mean() + strength * self.sizes(W).sum()
        R = P.copy()
        R[rows] -= 1
        largest = self.sizes((self.columns.T @ R).T / len(P)).max()
        Q = P * min(1.0, strength / largest)
        Q[rows] += 1 - min(1.0, strength / largest)
        return F, -xlogy(Q, Q).sum() / len(P)

    def values_and_bounds(self, curve: Curve, strengths: np.ndarray) -> np.ndarray:
        """F and a bound on F* at each of a curve's points, (2, points)."""
        points = zip(curve.coef, curve.intercept, strengths, strict=True)
        return np.array([self.value_and_bound(_array(W), b, at) for W, b, at in points]).T


@dataclass(frozen=True)
class Reference:
    """The curves of a problem, or one point of it, are judged against softreg's bounds of F*."""

    problem: Problem
    strengths: np.ndarray
    bounds: np.ndarray

    def worst_gap(self, curve: Curve) -> float:
        """The largest gap of a curve, relative; infinite if strengths are missing."""
        if len(curve.coef) < len(self.strengths):
            return math.inf
        values, bounds = self.problem.values_and_bounds(curve, self.strengths)
        greatest = np.maximum(bounds, self.bounds)
        gaps = (values - greatest) / values
        if gaps.min() < -ROUNDING:
            raise SystemExit(f"a bound is above a value by {-gaps.min():.1e} of it")
        return float(gaps.max())


def _array(W: Any) -> np.ndarray:
    return W.toarray() if sparse.issparse(W) else W


def glmnet(
    problem: Problem,
    thresh: float,
    cap: float,
    strengths: np.ndarray | None = None,
    fold: np.ndarray | None = None,
) -> Curve | None:
    """R's path at a threshold, as one of ``columns``; None if it did not end in ``cap`` seconds.

    With ``fold``, the number of each row's, by cv.glmnet, whose folds have the same strengths.
    """
    (n, d, K), X = problem.shape, problem.columns
    strengths = problem.strengths if strengths is None else strengths
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        (at / "glmnet.R").write_text(GLMNET)
        if sparse.issparse(X):
            columns = X.tocsc()
            columns.data.tofile(at / "x")
            columns.indices.astype(np.int32).tofile(at / "i")
            columns.indptr.astype(np.int32).tofile(at / "p")
        else:
            X.T.tofile(at / "x")
        problem.y.astype(np.int32).tofile(at / "y")
        strengths.tofile(at / "lambda")
        if fold is not None:
            (fold.astype(np.int32) + 1).tofile(at / "fold")
        kind = "grouped" if problem.is_grouped else "ungrouped"
        command = ["Rscript", at / "glmnet.R", folder, str(n), str(d), kind, f"{thresh:g}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=cap, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            raise SystemExit(f"glmnet failed: {done.stderr}")
        seconds, count, peak = (done.stdout.split() + ["nan"])[:3]
        L, width, found = int(count), K if K > 2 else 1, np.fromfile(at / "out")
    size = width * L * d
    coef, intercept = found[:size].reshape(width, L, d), found[size : size + L * width]
    curve = list(coef.swapaxes(0, 1)), list(intercept.reshape(L, width))
    return Curve(float(seconds), float(peak) * 1024, *curve, found[size + L * width :])


def has_glmnet() -> bool:
    """Whether Rscript is found, and glmnet by it."""
    command = ["Rscript", "-e", "library(glmnet)"]
    return (
        bool(shutil.which("Rscript"))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def fits_by_tol(model: Any, X: Any, y: np.ndarray, tolerances: Sequence[float]) -> Iterator[float]:
    """Yield the seconds of scikit-learn's model at each tolerance, fitted on one BLAS thread."""
    for tol in tolerances:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            model.set_params(tol=tol).fit(X, y)
            seconds = time.perf_counter() - start
        yield seconds
