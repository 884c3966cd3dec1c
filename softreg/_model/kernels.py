"""Kernels: the arithmetic on rows of scores; links and sums over blocks go through these functions.

Arrays are NumPy's. Scores Z and probabilities P are class-major: (K, m) for m rows. Functions
ending in ``_inplace`` overwrite their first argument.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Half a megabyte of doubles, which stays in a core's second-level cache; Hessians of an order
# above 360 take wider chunks, lest adding them up take longer than the products.
_CHUNK_VALUES = 2**16
# Scores of a block of rows: 8 MB of doubles, of which a few arrays are held at a time.
_BLOCK_SCORES = 2**20


def row_totals(values: Array) -> Array:
    """Return the sums over rows of values (B, m), in double precision, (B,)."""
    return values.sum(axis=1, dtype=float)


def softmax_inplace(Z: Array) -> Array:
    """Turn Z (B, K, m) into its softmax over K; return logsumexp(Z), (B, m).

    These are SciPy's softmax and logsumexp in one exponential.
    """
    peak = Z.max(axis=1)
    Z -= peak[:, None]
    np.exp(Z, out=Z)
    total = Z.sum(axis=1)
    Z /= total[:, None]
    return peak + np.log(total)


# SciPy's expit and log_expit in one exponential that cannot overflow: five times faster.


def exp_minus_abs(Z: Array) -> Array:
    """Return e = exp(-|z|), of which the next two functions are made."""
    return np.exp(-np.abs(Z))


def sigmoid(Z: Array, e: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-z)), given e = exp(-|z|)."""
    return np.divide(np.where(Z < 0, e, 1), 1 + e, out=out)


def softplus(Z: Array, e: Array) -> Array:
    """Return log(1 + exp(z)), given e = exp(-|z|)."""
    return np.maximum(Z, 0) + np.log1p(e)


def gram(X: Array, weight: Array | None) -> Array:
    """Return sum_i w_i x_i x_i' of rows X (m, d), (d, d); weights None are all one."""
    return X.T @ (X if weight is None else X * weight[:, None])


def weighted_grams(X: Array, C: Array) -> Array:
    """Return sum_i c_ki x_i x_i' for each row of C (K, m) >= 0, (K, d, d)."""
    (K, m), d = C.shape, X.shape[1]
    H, step = np.zeros((K, d, d)), max(1, _CHUNK_VALUES // d)
    buffer, roots = np.empty((min(step, m), d)), np.sqrt(C)
    for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        x, scaled = X[rows], buffer[: rows.stop - rows.start]
        for H_k, root in zip(H, roots[:, rows], strict=True):
            np.multiply(x, root[:, None], out=scaled)
            H_k += scaled.T @ scaled  # of itself: half the multiplications
    return H


def softmax_hessian(P: Array, X: Array, weight: Array) -> Array:
    """Return sum_i w_i (diag(p_i) - p_i p_i') (x) x_i x_i', (K d, K d)."""
    # With a_i = p_i (x) x_i: sum_i w_i (diag(p_i) (x) x_i x_i' - a_i a_i'), class-major and in
    # chunks that stay in the cache, four times faster than row by row (measured). Over the
    # classes H sums to zero, so the last one need not be computed.
    J, (m, d) = len(P) - 1, X.shape
    H, diagonal = np.zeros((J * d, J * d)), np.zeros((J * d, d))
    step = min(m, max(_CHUNK_VALUES // (J * d), J * d // 2))
    x, A = np.empty((d, step)), np.empty((J, d, step))
    for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        x, A = x[:, : rows.stop - rows.start], A[:, :, : rows.stop - rows.start]
        np.multiply(X[rows].T, np.sqrt(weight[rows]), out=x)
        np.multiply(P[:-1, None, rows], x, out=A)
        columns = A.reshape(J * d, -1)
        H -= columns @ columns.T
        diagonal += columns @ x.T
    for k in range(J):
        block = slice(k * d, (k + 1) * d)
        H[block, block] += diagonal[block]
    return _with_last_class(H, J, d)


def _with_last_class(H: Array, J: int, d: int) -> Array:
    """Return the Hessian (Kd, Kd) of K = J + 1 classes from that of the first J."""
    full = np.empty((J + 1, d, J + 1, d))
    full[:J, :, :J] = H.reshape(J, d, J, d)
    full[:J, :, J] = -full[:J, :, :J].sum(axis=2)
    full[J] = -full[:J].sum(axis=0)
    return full.reshape((J + 1) * d, -1)


def best_classes(
    scores: Callable[[slice], NDArray], n: int, n_classes: int, k: int
) -> NDArray[np.intp]:
    """Return the places of the k classes with the highest scores, best first, (n, k).

    `scores` gives those of some rows, (m, n_classes). Of equal scores the first class comes first.
    """
    step = max(1, _BLOCK_SCORES // n_classes)
    best = np.empty((n, k), dtype=np.intp)
    for rows in (slice(start, min(start + step, n)) for start in range(0, n, step)):
        best[rows] = _best(scores(rows), k)
    return best


def _best(Z: NDArray, k: int) -> NDArray[np.intp]:
    """Return the places of the k highest values of each row of Z (m, K), best first."""
    least = np.partition(Z, -k, axis=1)[:, -k, None]
    above, equal = least < Z, least == Z
    n_equal = k - above.sum(axis=1, keepdims=True)
    equal &= np.cumsum(equal, axis=1) <= n_equal
    places = np.nonzero(above | equal)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(Z, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
