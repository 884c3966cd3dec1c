"""Links: what a row's scores and target say about its loss. They know nothing of X.

Scores Z are class-major, (K, m) for m rows; probabilities P have the same shape; targets are those
of `_targets`. Functions ending in ``_inplace`` overwrite their first argument.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._targets import Targets

Array = NDArray[np.floating]

# A class without weight has its optimum at minus infinity; at this rate it adds nothing to F.
_RAREST = np.finfo(float).eps
_SMALLEST = np.finfo(float).tiny
# Smallest relative change of a probability: log1p needs more than -1.
_ALL_BUT_GONE = -1 + np.finfo(float).eps
# Half a megabyte of doubles, which stays in a core's second-level cache; Hessians of an order
# above 360 take wider chunks, lest adding them up take longer than the products.
_CHUNK_VALUES = 2**16


class Link(Protocol):
    """A row loss, convex in the row's scores z, whose gradient in z is P - Y.

    Attributes
    ----------
    exclusive : bool, whether a row is of one class, so that others can be left out of its loss
    """

    exclusive: bool

    def probabilities_inplace(self, Z: Array) -> Array:
        """Turn scores into probabilities P."""

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        """Return the losses of each problem's rows, (B, m), and turn Z into residuals P - Y."""

    def curvature_product(self, P: Array, D: Array) -> Array:
        """Return the Hessian of each row's loss in its scores, times D (K, m)."""

    def curvature_diagonal(self, P: Array) -> Array:
        """Return the diagonal p (1 - p) of each row's Hessian, (K, m)."""

    def dual(self, Z: Array, D: Array) -> tuple[Array, Array]:
        """Return the probabilities Q linearised from Z along D, and KL(q || p(z + d)), (B, m).

        Q = P + H_z D, kept in the domain of the conjugate loss. The divergence is the Fenchel-Young
        gap of the row's problem: loss(z + d) + conjugate(q - y) - <q - y, z + d>.
        """

    def problems(self, K: int) -> int:
        """Return into how many problems (B) that share nothing but X the K scores fall."""

    def hessian_cost(self, K: int, d: int) -> float:
        """Return the multiply-adds that `hessian` takes for a row."""

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        """Return sum_i w_i (Hessian of row i) (x) x_i x_i', a block a problem, (B, p, p).

        Weights are (m,), or (K, m) where each score is a problem of its own.
        """

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        """Make H (B, p, p) definite along the directions that change no probability."""

    def null_scores(self, mean_target: Array) -> Array:
        """Return the scores (K,) of the model without features."""

    def centred(self, coef: Array) -> Array:
        """Return the representative of coef (..., K) among those with equal probabilities."""


class Softmax:
    """K scores, one class: loss = logsumexp(z) - <y, z>, P = softmax(z)."""

    exclusive = True

    def probabilities_inplace(self, Z: Array) -> Array:
        self._normalise_inplace(Z)
        return Z

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        loss = np.zeros((1, Z.shape[1]), Z.dtype)
        Y.subtract_product_inplace(loss, Z)
        loss += self._normalise_inplace(Z)
        Y.subtract_from_inplace(Z)
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        A = P * D
        A -= P * A.sum(axis=0)
        return A

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def dual(self, Z: Array, D: Array) -> tuple[Array, Array]:
        P = Z.copy()
        change = self._normalise_inplace(Z + D) - self._normalise_inplace(P)
        relative = np.maximum(D - (P * D).sum(axis=0), _ALL_BUT_GONE)
        Q = P * (1 + relative)
        total = Q.sum(axis=0)
        Q /= total
        divergence = (Q * (np.log1p(relative) - D)).sum(axis=0) - np.log(total) + change
        return Q, divergence[None]

    def problems(self, K: int) -> int:
        return 1

    def hessian_cost(self, K: int, d: int) -> float:
        J = K - 1
        return J * d * (J * d / 2 + d + 10)

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        # With a_i = p_i (x) x_i: sum_i w_i (diag(p_i) (x) x_i x_i' - a_i a_i'), class-major and in
        # chunks that stay in the cache, four times faster than row by row (measured). Over the
        # classes H sums to zero, so the last one need not be computed.
        J, (m, d) = len(P) - 1, X.shape
        H, own = np.zeros((J * d, J * d)), np.zeros((J * d, d))
        step = min(m, max(_CHUNK_VALUES // (J * d), J * d // 2))
        x, A = np.empty((d, step)), np.empty((J, d, step))
        for cut in (slice(start, min(start + step, m)) for start in range(0, m, step)):
            x, A = x[:, : cut.stop - cut.start], A[:, :, : cut.stop - cut.start]
            np.multiply(X[cut].T, np.sqrt(weight[cut]), out=x)
            np.multiply(P[:-1, None, cut], x, out=A)
            rows = A.reshape(J * d, -1)
            H -= rows @ rows.T
            own += rows @ x.T
        for k in range(J):
            block = slice(k * d, (k + 1) * d)
            H[block, block] += own[block]
        return _with_last_class(H, J, d)[None]

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        # Adding the same row to all classes changes no probability. On those directions H is the
        # penalty alone, zero for the intercept; a gradient never points along them, so any
        # positive curvature there leaves every step as it is.
        K, j = H.shape[1] // width, np.arange(width)
        blocks = H.reshape(K, width, K, width)
        blocks[:, j, :, j] += (np.einsum("kjkj->j", blocks) / K**2)[:, None, None]

    def null_scores(self, mean_target: Array) -> Array:
        scores = np.log(np.maximum(mean_target, _RAREST))
        return scores - scores.mean()

    def centred(self, coef: Array) -> Array:
        return coef - coef.mean(axis=-1, keepdims=True)

    def _normalise_inplace(self, Z: Array) -> Array:
        """Turn Z into softmax(Z) and return logsumexp(Z), (m,): SciPy's two in one exponential."""
        peak = Z.max(axis=0)
        Z -= peak
        np.exp(Z, out=Z)
        total = Z.sum(axis=0)
        Z /= total
        return peak + np.log(total)


class Sigmoid:
    """L scores, L yes-or-no labels: loss = sum_l log(1 + exp(z_l)) - y_l z_l, P = sigmoid(z)."""

    exclusive = False

    def probabilities_inplace(self, Z: Array) -> Array:
        return _expit(Z, _decay(Z), out=Z)

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        e = _decay(Z)
        loss = _softplus(Z, e)
        Y.subtract_product_inplace(loss, Z)
        Y.subtract_from_inplace(_expit(Z, e, out=Z))
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        return P * (1 - P) * D

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def dual(self, Z: Array, D: Array) -> tuple[Array, Array]:
        e, there = _decay(Z), Z + D
        P = _expit(Z, e)
        # Relative changes of P and 1 - P, neither below -1 nor past where the other is gone.
        growth = 1 / np.maximum(e, _SMALLEST)
        yes = np.minimum(np.maximum((1 - P) * D, _ALL_BUT_GONE), np.where(Z < 0, growth, e))
        no = np.minimum(np.maximum(-P * D, _ALL_BUT_GONE), np.where(Z < 0, e, growth))
        Q = np.minimum(np.maximum(P + P * (1 - P) * D, 0), 1)
        own = Q * (np.log1p(yes) - D) + (1 - Q) * np.log1p(no)
        return Q, own - _softplus(Z, e) + _softplus(there, _decay(there))

    def problems(self, K: int) -> int:
        return K

    def hessian_cost(self, K: int, d: int) -> float:
        return K * d * (d + 10)

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        return weighted_grams(X, P * (1 - P) * weight)

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        pass

    def null_scores(self, mean_target: Array) -> Array:
        rate = np.clip(mean_target, _RAREST, 1 - _RAREST)
        return np.log(rate / (1 - rate))

    def centred(self, coef: Array) -> Array:
        return coef


def weighted_grams(X: Array, C: Array) -> Array:
    """Return sum_i c_ki x_i x_i' for each row of C (K, m) >= 0, (K, d, d)."""
    (K, m), d = C.shape, X.shape[1]
    H, step = np.zeros((K, d, d)), max(1, _CHUNK_VALUES // d)
    buffer, roots = np.empty((min(step, m), d)), np.sqrt(C)
    for cut in (slice(start, min(start + step, m)) for start in range(0, m, step)):
        x, scaled = X[cut], buffer[: cut.stop - cut.start]
        for own, root in zip(H, roots[:, cut], strict=True):
            np.multiply(x, root[:, None], out=scaled)
            own += scaled.T @ scaled  # of itself: half the multiplications
    return H


# SciPy's expit and log_expit in one exponential that cannot overflow: five times faster.


def _decay(Z: Array) -> Array:
    """Return exp(-|z|)."""
    return np.exp(-np.abs(Z))


def _expit(Z: Array, decay: Array, out: Array | None = None) -> Array:
    return np.divide(np.where(Z < 0, decay, 1), 1 + decay, out=out)


def _softplus(Z: Array, decay: Array) -> Array:
    """Return log(1 + exp(z))."""
    return np.maximum(Z, 0) + np.log1p(decay)


def _with_last_class(H: Array, J: int, d: int) -> Array:
    """Return the Hessian (Kd, Kd) of K = J + 1 classes from that of the first J."""
    full = np.empty((J + 1, d, J + 1, d))
    full[:J, :, :J] = H.reshape(J, d, J, d)
    full[:J, :, J] = -full[:J, :, :J].sum(axis=2)
    full[J] = -full[:J].sum(axis=0)
    return full.reshape((J + 1) * d, -1)
