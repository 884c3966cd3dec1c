"""Links: what a row's scores and target say about its loss. They know nothing of X.

Scores Z are class-major, (K, m) for m rows; probabilities P have the same shape; targets are
`Labels` or `Shares` (see `_targets`). Functions ending in ``_inplace`` overwrite their first
argument.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, xlogy

from softreg._targets import Targets

Array = NDArray[np.floating]

# A class without weight has its optimum at minus infinity; at this rate it adds nothing to F.
_RAREST = np.finfo(float).eps
# 2 MB of doubles: the second-level cache is that or half of it.
_CHUNK_VALUES = 2**18


class Link(Protocol):
    """A row loss, convex in the row's scores z, whose gradient in z is P - Y."""

    def probabilities_inplace(self, Z: Array) -> Array:
        """Turn scores into probabilities P."""

    def log_probabilities(self, Z: Array) -> Array:
        """Log of the probabilities, finite wherever the scores are."""

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        """Return the row losses (m,) and turn Z into the residuals P - Y."""

    def curvature_product(self, P: Array, D: Array) -> Array:
        """Return the Hessian of each row's loss in its scores, times D (K, m)."""

    def curvature_diagonal(self, P: Array) -> Array:
        """Return the diagonal p (1 - p) of each row's Hessian, (K, m)."""

    def feasible(self, P: Array) -> Array:
        """Return the nearest matrix to P in the domain of the conjugate loss."""

    def divergence(self, P: Array, Z: Array) -> Array:
        """Return each row's Kullback-Leibler divergence of P from the probabilities at Z.

        It is the Fenchel-Young gap of the row: loss(z) + conjugate(P - y) - <P - y, z>.
        """

    def uncoupled_blocks(self, K: int) -> int:
        """Return into how many blocks (B) the Hessian of K scores falls."""

    def hessian_products(self, K: int, d: int) -> float:
        """Return the multiply-adds that `hessian` takes for a row."""

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        """Return sum_i w_i (Hessian of row i) (x) x_i x_i', as uncoupled blocks (B, p, p)."""

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        """Make H (B, p, p) definite along the directions that change no probability."""

    def null_scores(self, mean_target: Array) -> Array:
        """Return the scores (K,) of the model without features."""

    def centred(self, coef: Array) -> Array:
        """Return the representative of coef (..., K) among those with equal probabilities."""


class Softmax:
    """K scores, one class: loss = logsumexp(z) - <y, z>, P = softmax(z)."""

    def probabilities_inplace(self, Z: Array) -> Array:
        Z -= Z.max(axis=0)
        np.exp(Z, out=Z)
        Z /= Z.sum(axis=0)
        return Z

    def log_probabilities(self, Z: Array) -> Array:
        return log_softmax(Z, axis=0)

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        loss = -Y.inner(Z)
        peak = Z.max(axis=0)
        Z -= peak
        np.exp(Z, out=Z)
        total = Z.sum(axis=0)
        Z /= total
        Y.subtract_from_inplace(Z)
        loss += peak
        loss += np.log(total, out=total)
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        A = P * D
        A -= P * A.sum(axis=0)
        return A

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def feasible(self, P: Array) -> Array:
        Q = np.maximum(P, 0)
        return Q / Q.sum(axis=0)

    def divergence(self, P: Array, Z: Array) -> Array:
        return (xlogy(P, P) - P * log_softmax(Z, axis=0)).sum(axis=0)

    def uncoupled_blocks(self, K: int) -> int:
        return 1

    def hessian_products(self, K: int, d: int) -> float:
        return K * d * (K * d / 2 + d + 10)

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        # With a_i = p_i (x) x_i: sum_i w_i (diag(p_i) (x) x_i x_i' - a_i a_i'), class-major and in
        # chunks that stay in the cache, four times faster than row by row (measured).
        K, (m, d) = len(P), X.shape
        H, own = np.zeros((K * d, K * d)), np.zeros((K * d, d))
        step = max(1, _CHUNK_VALUES // (K * d))
        for cut in (slice(start, start + step) for start in range(0, m, step)):
            x = np.ascontiguousarray((X[cut] * np.sqrt(weight[cut, None])).T)
            A = (P[:, None, cut] * x).reshape(K * d, -1)
            H -= A @ A.T
            own += A @ x.T
        for k in range(K):
            block = slice(k * d, (k + 1) * d)
            H[block, block] += own[block]
        return H[None]

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        # Adding the same row to all classes changes no probability. On those directions H is the
        # penalty alone, zero for the intercept; a gradient never points along them, so any
        # positive curvature there leaves every step as it is.
        K = H.shape[1] // width
        diagonal = np.einsum("kjkj->j", H.reshape(K, width, K, width)) / K
        blocks = H.reshape(K, width, K, width)
        j = np.arange(width)
        blocks[:, j, :, j] += (diagonal / K)[:, None, None]

    def null_scores(self, mean_target: Array) -> Array:
        scores = np.log(np.maximum(mean_target, _RAREST))
        return scores - scores.mean()

    def centred(self, coef: Array) -> Array:
        return coef - coef.mean(axis=-1, keepdims=True)


class Sigmoid:
    """L scores, L yes-or-no labels: loss = sum_l log(1 + exp(z_l)) - y_l z_l, P = sigmoid(z)."""

    def probabilities_inplace(self, Z: Array) -> Array:
        return expit(Z, out=Z)

    def log_probabilities(self, Z: Array) -> Array:
        return log_expit(Z)

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        # log_expit and expit in one exponential that cannot overflow: five times faster.
        loss = np.maximum(Z, 0)
        e = np.exp(-np.abs(Z))
        loss += np.log1p(e)
        loss = loss.sum(axis=0) - Y.inner(Z)
        np.divide(np.where(Z < 0, e, 1), 1 + e, out=Z)
        Y.subtract_from_inplace(Z)
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        return P * (1 - P) * D

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def feasible(self, P: Array) -> Array:
        return np.clip(P, 0, 1)

    def divergence(self, P: Array, Z: Array) -> Array:
        Q = 1 - P
        own = xlogy(P, P) + xlogy(Q, Q)
        return (own - P * log_expit(Z) - Q * log_expit(-Z)).sum(axis=0)

    def uncoupled_blocks(self, K: int) -> int:
        return K

    def hessian_products(self, K: int, d: int) -> float:
        return K * d * (d + 10)

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        curvature = P * (1 - P) * weight
        return np.stack([X.T @ (X * c[:, None]) for c in curvature])

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        pass

    def null_scores(self, mean_target: Array) -> Array:
        rate = np.clip(mean_target, _RAREST, 1 - _RAREST)
        return np.log(rate / (1 - rate))

    def centred(self, coef: Array) -> Array:
        return coef
