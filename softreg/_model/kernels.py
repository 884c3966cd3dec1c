"""Kernels: the arithmetic on rows of scores, and sums of their products, for links and blocks.

Arrays are NumPy's. Scores Z, their changes D and probabilities P are class-major, (K, m) for m
rows, under softmax (B, K, m) for B fits. Functions ending in ``_inplace`` overwrite their first
argument. (Products with features are those of `Block`.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import values_at_once

Array = NDArray[np.floating]
# Returns `feature_pairs`.
Pairs = Callable[[], Array]

# Half a megabyte of doubles, which stays in a core's second-level cache; Hessians of an order
# above 360 take wider chunks, lest adding them up take longer than the products.
_CHUNK_VALUES = 2**16
# Products of features in pairs that exist at a time, 2 MB of doubles (measured: 2^15 to 2^18).
_PAIR_CHUNK_VALUES = 2**18
# What `softmax_hessian` takes, in multiply-adds of a large product (all measured): for a product of
# two features, of two classes, for a multiply-add in a product with few rows, and for a value of a
# class's columns.
_PAIR_COST, _CLASS_PAIR_COST, THIN_PRODUCT_COST, _COLUMN_COST = 18.0, 60.0, 1.25, 55.0
# What `weighted_grams` takes, in the same unit. By scaling: beside d^2 multiply-adds, for a value
# that is scaled and for a row of values. By pairs of features: beside `_PAIR_COST`, for each of d
# features, as pairs of many leave the cache, and for each weight (measured, on 5 to 104 features, 1
# to 80 weights; where both are equal the first is taken, as single precision speeds it up more).
_SCALING_COST, _SCALED_ROW_COST = 10.0, 300.0
_WIDE_PAIR_COST, _PAIR_PRODUCT_COST = 1 / 4, 1.8
_SMALLEST = np.finfo(float).tiny
# Least relative change of a probability: log1p needs more than -1.
_LEAST_CHANGE = -1 + np.finfo(float).eps


def curvature_diagonal(P: Array) -> Array:
    """Return p (1 - p), the diagonal of each row's Hessian in its scores, under either link."""
    return P * (1 - P)


# ---- Softmax ------------------------------------------------------------------------------------


def softmax_inplace(Z: Array) -> Array:
    """Turn Z (B, K, m) into its softmax over K; return logsumexp(Z), (B, m).

    These are SciPy's softmax and logsumexp in one exponential.
    """
    peak = np.maximum.reduce(Z, axis=1)
    Z -= peak[:, None]
    np.exp(Z, out=Z)
    total = np.add.reduce(Z, axis=1)
    Z /= total[:, None]
    return peak + np.log(total)


def softmax_curvature_product(P: Array, D: Array) -> Array:
    """Return (diag(p) - p p') d, row by row, (B, K, m)."""
    A = P * D
    A -= P * A.sum(axis=1, keepdims=True)
    return A


def softmax_dual(Z: Array, D: Array) -> tuple[Array, Array]:
    """Return Q = P + (diag(p) - p p') d, (B, K, m), kept >= 0, and KL(q || p(z + d)), (B, m)."""
    P, P_after = Z.copy(), Z + D
    change = softmax_inplace(P_after) - softmax_inplace(P)
    relative = np.maximum(D - (P * D).sum(axis=1, keepdims=True), _LEAST_CHANGE)
    Q = P * (1 + relative)
    total = Q.sum(axis=1)
    Q /= total[:, None]
    return Q, (Q * (np.log1p(relative) - D)).sum(axis=1) - np.log(total) + change


def softmax_dual_along(P: Array, change: Array, Z: Array) -> tuple[Array, Array]:
    """Return Q = P + change, (B, K, m), kept >= 0, and KL(q || p(z)), (B, m)."""
    Q = np.maximum(P + change, 0)
    Q /= Q.sum(axis=1)[:, None]
    return Q, (times_its_log(Q) - Q * Z).sum(axis=1) + softmax_inplace(Z.copy())


def times_its_log(Q: Array) -> Array:
    """Return q log q of numbers q >= 0, 0 where q is 0.

    SciPy's xlogy, where SciPy has array API support, brings arrays on a device to the host.
    """
    return Q * np.log(np.maximum(Q, np.finfo(Q.dtype).tiny))


def softmax_of_rows(Z: Array) -> Array:
    """Return the softmax over K of rows Z (m, K)."""
    P = Z.copy()
    softmax_inplace(P.T[None])
    return P


def log_softmax_of_rows(Z: Array) -> Array:
    """Return the logarithm of the softmax over K of rows Z (m, K), finite where Z is."""
    D = Z - Z.max(axis=1)[:, None]
    return D - np.log(np.exp(D).sum(axis=1))[:, None]


# ---- Sigmoid: SciPy's expit and log_expit in one exponential, five times faster -----------------


def exp_minus_abs(Z: Array) -> Array:
    """Return e = exp(-|z|), which cannot overflow and which `sigmoid` and `softplus` share."""
    e = np.abs(Z)
    return np.exp(np.negative(e, out=e), out=e)


def expit(Z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), 0 from about z = -709 downwards.

    In a quarter of the time of SciPy's, which brings arrays on a device to the host, as xlogy does.
    """
    with np.errstate(over="ignore"):
        P = np.exp(-Z)
    P += 1
    return np.divide(1, P, out=P)


def sigmoid(Z: Array, e: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-z)), given e = exp(-|z|)."""
    return np.divide(np.maximum(e, np.sign(Z)), 1 + e, out=out)  # e where z < 0, else 1


def softplus(Z: Array, e: Array) -> Array:
    """Return log(1 + exp(z)), given e = exp(-|z|)."""
    return np.maximum(Z, 0) + np.log1p(e)


def sigmoid_dual(Z: Array, D: Array) -> tuple[Array, Array]:
    """Return Q = P + p (1 - p) d, kept in [0, 1], and KL(q || p(z + d)), (K, m) each."""
    e, Z_after = exp_minus_abs(Z), Z + D
    P = sigmoid(Z, e)
    # Relative changes of P and 1 - P, neither below -1 nor so large that the other is below 0.
    growth = 1 / np.maximum(e, _SMALLEST)
    yes = np.minimum(np.maximum((1 - P) * D, _LEAST_CHANGE), np.where(Z < 0, growth, e))
    no = np.minimum(np.maximum(-P * D, _LEAST_CHANGE), np.where(Z < 0, e, growth))
    Q = np.minimum(np.maximum(P + P * (1 - P) * D, 0), 1)
    divergence = Q * (np.log1p(yes) - D) + (1 - Q) * np.log1p(no)
    return Q, divergence - softplus(Z, e) + softplus(Z_after, exp_minus_abs(Z_after))


def sigmoid_dual_along(P: Array, change: Array, Z: Array) -> tuple[Array, Array]:
    """Return Q = P + change, kept in [0, 1], and KL(q || p(z)), (K, m) each."""
    Q = np.clip(P + change, 0, 1)
    # (1 - q) log(1 - q) is 0 where q is 1, if only the logarithm is finite.
    below_one = np.minimum(Q, 1 - np.finfo(Q.dtype).epsneg)
    entropy = times_its_log(Q) + (1 - Q) * np.log1p(-below_one)
    return Q, entropy - Q * Z + softplus(Z, exp_minus_abs(Z))


# ---- Sums of products of features ---------------------------------------------------------------


def gram(X: Array, weight: Array | None) -> Array:
    """Return sum_i w_i x_i x_i' of rows X (m, d), (d, d); weights None are all one."""
    return X.T @ (X if weight is None else X * weight[:, None])


def weighted_grams(X: Array, C: Array, pairs: Pairs | None = None) -> Array:
    """Return sum_i c_ki x_i x_i' for each row of C (K, m) >= 0, (K, d, d).

    `pairs` is a callable that returns the kept `feature_pairs` of X, or None to compute them.
    """
    K, d = len(C), X.shape[1]
    if _pair_gram_cost(K, d) < _scaled_gram_cost(K, d):
        sums = C @ pairs().T if pairs else pair_sums(C, X)
        return sums.take(places_in_triangle(d), axis=1)
    return _scaled_grams(X, C)


def weighted_grams_cost(K: int, d: int) -> float:
    """Return the multiply-adds that `weighted_grams` takes for a row."""
    return min(_pair_gram_cost(K, d), _scaled_gram_cost(K, d))


def _scaled_grams(X: Array, C: Array, chunk_values: int = _CHUNK_VALUES) -> Array:
    """Return `weighted_grams`: of many features, products of X, scaled anew for each row of C."""
    (K, m), d = C.shape, X.shape[1]
    H, step = np.zeros((K, d, d), like=X), max(1, values_at_once(X, chunk_values) // d)
    buffer, roots = np.empty((min(step, m), d), X.dtype, like=X), np.sqrt(C)
    for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        x, scaled = X[rows], buffer[: rows.stop - rows.start]
        for H_k, root in zip(H, roots[:, rows], strict=True):
            np.multiply(x, root[:, None], out=scaled)
            H_k += scaled.T @ scaled  # with itself: BLAS does half the multiplications
    return H


def _scaled_gram_cost(K: int, d: int) -> float:
    return K * (d * (d + _SCALING_COST) + _SCALED_ROW_COST)


def _pair_gram_cost(K: int, d: int) -> float:
    return d * (d + 1) / 2 * (_PAIR_COST + _WIDE_PAIR_COST * d + _PAIR_PRODUCT_COST * K)


def softmax_hessian(P: Array, X: Array, weight: Array, pairs: Pairs | None = None) -> Array:
    """Return sum_i w_i (diag(p_i) - p_i p_i') (x) x_i x_i', (K d, K d), of P (K, m).

    `pairs` is a callable that returns the kept `feature_pairs` of X, or None to compute them.
    """
    K, d = len(P), X.shape[1]
    if _class_pair_cost(K, d) < _class_column_cost(K, d):
        return _softmax_hessian_by_class_pairs(P, X, weight, pairs)
    return _softmax_hessian_by_class_columns(P, X, weight)


def softmax_hessian_cost(K: int, d: int) -> float:
    """Return the multiply-adds that `softmax_hessian` takes for a row."""
    return min(_class_pair_cost(K, d), _class_column_cost(K, d))


def _softmax_hessian_by_class_pairs(
    P: Array,
    X: Array,
    weight: Array,
    pairs: Pairs | None = None,
    chunk_values: int = _PAIR_CHUNK_VALUES,
) -> Array:
    """Return `softmax_hessian`: products of classes in pairs, times products of features in pairs.

    Over the classes H sums to zero, so the last one need not be computed.
    """
    J, d = len(P) - 1, X.shape[1]
    k, j = upper_triangle(J)
    C = P.take(j, axis=0)  # p_k (1 - p_k) on the diagonal, where nothing cancels; else -p_k p_j
    np.subtract((k == j)[:, None].astype(P.dtype), C, out=C)
    C *= (P * weight).take(k, axis=0)
    sums = C @ pairs().T if pairs else pair_sums(C, X, chunk_values)
    blocks = sums.take(places_in_triangle(J), axis=0).take(places_in_triangle(d), axis=2)
    return _with_last_class(blocks.transpose(0, 2, 1, 3), J, d)


def pair_sums(C: Array, X: Array, chunk_values: int = _PAIR_CHUNK_VALUES) -> Array:
    """Return sum_i c_qi x_ij x_ik of features j <= k of X (m, d), (q, d (d + 1) / 2), of C (q, m).

    In chunks of rows, whose products of features in pairs exist at a time.
    """
    m, d = X.shape
    n_pairs = d * (d + 1) // 2
    chunk_values = values_at_once(X, chunk_values)
    sums, step = np.zeros((len(C), n_pairs), like=X), max(1, min(m, chunk_values // n_pairs))
    products = np.empty((n_pairs, step), X.dtype, like=X)
    for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        sums += C[:, rows] @ feature_pairs(X[rows], products[:, : rows.stop - rows.start]).T
    return sums


def feature_pairs(X: Array, out: Array | None = None) -> Array:
    """Return the products x_ij x_ik of features j <= k of X (m, d), (d (d + 1) / 2, m)."""
    m, d = X.shape
    products = np.empty((d * (d + 1) // 2, m), X.dtype, like=X) if out is None else out
    x, start = X.T.copy(), 0
    for j in range(d):
        np.multiply(x[j], x[j:], out=products[start : start + d - j])
        start += d - j
    return products


@cache
def upper_triangle(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of the upper triangle of order d, diagonal included."""
    return np.triu_indices(d)


@cache
def places_in_triangle(d: int) -> NDArray[np.intp]:
    """Return where the entries of symmetric matrices of order d are in the triangle, (d, d)."""
    rows, columns = upper_triangle(d)
    places = np.empty((d, d), dtype=np.intp)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places


def _class_pair_cost(K: int, d: int) -> float:
    n_class_pairs, n_feature_pairs = K * (K - 1) / 2, d * (d + 1) / 2
    products = n_feature_pairs * (_PAIR_COST + THIN_PRODUCT_COST * n_class_pairs)
    return products + _CLASS_PAIR_COST * n_class_pairs


def _softmax_hessian_by_class_columns(
    P: Array, X: Array, weight: Array, chunk_values: int = _CHUNK_VALUES
) -> Array:
    """Return `softmax_hessian`: products of each class's columns, with many features."""
    # With a_i = p_i (x) x_i: sum_i w_i (diag(p_i) (x) x_i x_i' - a_i a_i'), class-major and in
    # chunks that stay in the cache, four times faster than row by row (measured). Over the
    # classes H sums to zero, so the last one need not be computed.
    J, (m, d) = len(P) - 1, X.shape
    # 1. Off the diagonal: -sum_i a_i a_i'; on it: sum_i p_ik x_i x_i' of each class, (d, d).
    H, diagonal = np.zeros((J * d, J * d), like=X), np.zeros((J * d, d), like=X)
    step = min(m, max(values_at_once(X, chunk_values) // (J * d), J * d // 2))
    x, A = np.empty((d, step), X.dtype, like=X), np.empty((J, d, step), X.dtype, like=X)
    for rows in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        x, A = x[:, : rows.stop - rows.start], A[:, :, : rows.stop - rows.start]
        np.multiply(X[rows].T, np.sqrt(weight[rows]), out=x)
        np.multiply(P[:-1, None, rows], x, out=A)
        columns = A.reshape(J * d, -1)
        H -= columns @ columns.T
        diagonal += columns @ x.T
    # 2. The diagonal blocks join, and what the others say of the last class.
    for k in range(J):
        block = slice(k * d, (k + 1) * d)
        H[block, block] += diagonal[block]
    return _with_last_class(H.reshape(J, d, J, d), J, d)


def _class_column_cost(K: int, d: int) -> float:
    J = K - 1
    return J * d * (J * d / 2 + d + _COLUMN_COST)


def _with_last_class(H: Array, J: int, d: int) -> Array:
    """Return the Hessian (K d, K d) of K = J + 1 classes, given (J, d, J, d) of the first J."""
    full = np.empty((J + 1, d, J + 1, d), like=H)
    full[:J, :, :J] = H
    np.negative(np.add.reduce(H, axis=2), out=full[:J, :, J])
    np.negative(np.add.reduce(full[:J], axis=0), out=full[J])
    return full.reshape((J + 1) * d, -1)


# ---- Hessians in some of the coefficients -------------------------------------------------------


def coordinate_hessian_cost(n_by_score: NDArray, is_exclusive: bool) -> float:
    """Return the multiply-adds that it takes for a row, (K,) coefficients being in each score."""
    q = float(n_by_score.sum())
    within = float(np.square(n_by_score).sum()) / 2 + _SCALING_COST * q
    return within + (q * (q / 2 + _SCALING_COST) if is_exclusive else 0.0)


# ---- Ranks of scores ----------------------------------------------------------------------------


def best_classes(Z: Array, k: int) -> NDArray[np.intp]:
    """Return the numbers of the k highest scores of each row of Z (m, K), best first, (m, k).

    Of equal scores the first class comes first.
    """
    least = np.partition(Z, -k, axis=1)[:, -k, None]
    above, equal = least < Z, least == Z
    n_equal = k - above.sum(axis=1, keepdims=True)
    equal &= np.cumsum(equal, axis=1) <= n_equal
    places = np.nonzero(above | equal)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(Z, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
