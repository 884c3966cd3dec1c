"""Links: what a row's scores and target say about its loss. They know nothing of X.

Scores Z are class-major, (K, m) for m rows; probabilities P have the same shape. Functions ending
in ``_inplace`` overwrite their first argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logsumexp

from softreg._model.kernels import (
    Array,
    exp_minus_abs,
    sigmoid,
    softmax_hessian,
    softmax_inplace,
    softplus,
    weighted_grams,
)
from softreg._rows.arrays import Mask, PerScore, RowLosses, Scores
from softreg._rows.targets import Targets

# A class without weight has its optimum at minus infinity; at this rate it adds nothing to F.
_RAREST = np.finfo(float).eps
_SMALLEST = np.finfo(float).tiny
# Least relative change of a probability: log1p needs more than -1.
_ALL_BUT_GONE = -1 + np.finfo(float).eps


class Link(Protocol):
    """A row loss, convex in the row's scores z, whose gradient in z is P - Y.

    Attributes
    ----------
    exclusive : bool, whether each row has one class only, so that its loss can be computed over
        some of the classes
    """

    exclusive: bool

    def probabilities_inplace(self, Z: Scores) -> Scores:
        """Turn scores into probabilities P."""

    def loss_and_residual_inplace(self, Z: Scores, Y: Targets) -> RowLosses:
        """Return the losses of each problem's rows, (B, m), and turn Z into residuals P - Y."""

    def curvature_product(self, P: Scores, D: Scores) -> Scores:
        """Return the Hessian of each row's loss in its scores, times D (K, m)."""

    def curvature_diagonal(self, P: Scores) -> Scores:
        """Return the diagonal p (1 - p) of each row's Hessian, (K, m)."""

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        """Return the probabilities Q linearised from Z along D, and KL(q || p(z + d)), (B, m).

        Q = P + H_z D, kept in the domain of the conjugate loss. The divergence is the Fenchel-Young
        gap of the row's problem: loss(z + d) + conjugate(q - y) - <q - y, z + d>.
        """

    def problems(self, K: int) -> int:
        """Return B, the number of problems that share nothing but X into which K scores fall."""

    def with_problems(self, count: int) -> Link:
        """Return the link of `count` problems, the scores of each after those before."""

    def hessian_cost(self, K: int, d: int) -> float:
        """Return the multiply-adds that `hessian` takes for a row."""

    def hessian(self, P: Scores, X: Array, weight: Array) -> Array:
        """Return sum_i w_i (Hessian of row i) (x) x_i x_i', problem by problem, (B, p, p).

        Weights are (m,), or (B, m) where problems weigh rows differently.
        """

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        """Make H (B, p, p) definite along the directions that change no probability."""

    def null_scores(self, mean_target: PerScore) -> PerScore:
        """Return the scores (K,) of the model without features."""

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        """Set the scores Z of classes or answers that a fit has not seen, `unseen` (K,).

        In every row they get the probability 1/2 / (S + A/2) of Jeffreys' prior, where `weight`
        S (K,) is that of the fit's rows and A the number of classes, 2 for the answers yes and no
        (Krichevsky and Trofimov 1981, IEEE Transactions on Information Theory 27, 199-207).
        """

    def centred(self, coef: Array) -> Array:
        """Return coef (..., K) in the gauge of the link: softmax scores sum to zero."""


@dataclass(frozen=True)
class Softmax:
    """K scores, one class: loss = logsumexp(z) - <y, z>, P = softmax(z).

    Several fits have K scores each, one after another: sums over the classes are sums over the
    middle axis of (B, K, m).

    Attributes
    ----------
    fits : int, the number B of fits
    """

    fits: int = 1
    exclusive = True

    def probabilities_inplace(self, Z: Scores) -> Scores:
        softmax_inplace(self._by_fit(Z))
        return Z

    def loss_and_residual_inplace(self, Z: Scores, Y: Targets) -> RowLosses:
        loss = np.zeros((self.fits, Z.shape[1]), Z.dtype)
        Y.subtract_target_scores_inplace(loss, Z)
        loss += softmax_inplace(self._by_fit(Z))
        Y.subtract_targets_inplace(Z)
        return loss

    def curvature_product(self, P: Scores, D: Scores) -> Scores:
        A = P * D
        fits = self._by_fit(A)
        fits -= self._by_fit(P) * fits.sum(axis=1, keepdims=True)
        return A

    def curvature_diagonal(self, P: Scores) -> Scores:
        return P * (1 - P)

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        P, P_after, D = self._by_fit(Z.copy()), self._by_fit(Z + D), self._by_fit(D)
        change = softmax_inplace(P_after) - softmax_inplace(P)
        relative = np.maximum(D - (P * D).sum(axis=1, keepdims=True), _ALL_BUT_GONE)
        Q = P * (1 + relative)
        total = Q.sum(axis=1)
        Q /= total[:, None]
        divergence = (Q * (np.log1p(relative) - D)).sum(axis=1) - np.log(total) + change
        return Q.reshape(Z.shape), divergence

    def problems(self, K: int) -> int:
        return self.fits

    def with_problems(self, count: int) -> Softmax:
        return Softmax(count)

    def hessian_cost(self, K: int, d: int) -> float:
        J = K // self.fits - 1
        return self.fits * J * d * (J * d / 2 + d + 10)

    def hessian(self, P: Scores, X: Array, weight: Array) -> Array:
        weights = np.broadcast_to(weight, (self.fits, P.shape[1])).astype(float)
        fits = zip(self._by_fit(P), weights, strict=True)
        return np.stack([softmax_hessian(P_of_fit, X, w) for P_of_fit, w in fits])

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        # Adding the same row to all classes changes no probability. On those directions H is the
        # penalty alone, zero for the intercept; a gradient never points along them, so any
        # positive curvature there leaves every step as it is.
        K, j = H.shape[1] // width, np.arange(width)
        for blocks in H.reshape(len(H), K, width, K, width):
            blocks[:, j, :, j] += (np.einsum("kjkj->j", blocks) / K**2)[:, None, None]

    def null_scores(self, mean_target: PerScore) -> PerScore:
        return self.centred(np.log(np.maximum(mean_target, _RAREST)))

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        share = 0.5 / (weight[0] + len(Z) / 2)
        seen = logsumexp(Z[~unseen], axis=0)
        Z[unseen] = seen + np.log(share / (1 - share * unseen.sum()))

    def centred(self, coef: Array) -> Array:
        fits = coef.reshape(*coef.shape[:-1], self.fits, -1)
        return (fits - fits.mean(axis=-1, keepdims=True)).reshape(coef.shape)

    def _by_fit(self, A: Array) -> Array:
        """Return A (B K, m) as (B, K, m), without a copy."""
        return A.reshape(self.fits, -1, A.shape[1])


class Sigmoid:
    """L scores, L yes-or-no labels: loss = sum_l log(1 + exp(z_l)) - y_l z_l, P = sigmoid(z)."""

    exclusive = False

    def probabilities_inplace(self, Z: Scores) -> Scores:
        return sigmoid(Z, exp_minus_abs(Z), out=Z)

    def loss_and_residual_inplace(self, Z: Scores, Y: Targets) -> RowLosses:
        e = exp_minus_abs(Z)
        loss = softplus(Z, e)
        Y.subtract_target_scores_inplace(loss, Z)
        Y.subtract_targets_inplace(sigmoid(Z, e, out=Z))
        return loss

    def curvature_product(self, P: Scores, D: Scores) -> Scores:
        return P * (1 - P) * D

    def curvature_diagonal(self, P: Scores) -> Scores:
        return P * (1 - P)

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        e, Z_after = exp_minus_abs(Z), Z + D
        P = sigmoid(Z, e)
        # Relative changes of P and 1 - P, neither below -1 nor so large that the other is below 0.
        growth = 1 / np.maximum(e, _SMALLEST)
        yes = np.minimum(np.maximum((1 - P) * D, _ALL_BUT_GONE), np.where(Z < 0, growth, e))
        no = np.minimum(np.maximum(-P * D, _ALL_BUT_GONE), np.where(Z < 0, e, growth))
        Q = np.minimum(np.maximum(P + P * (1 - P) * D, 0), 1)
        divergence = Q * (np.log1p(yes) - D) + (1 - Q) * np.log1p(no)
        return Q, divergence - softplus(Z, e) + softplus(Z_after, exp_minus_abs(Z_after))

    def problems(self, K: int) -> int:
        return K

    def with_problems(self, count: int) -> Sigmoid:
        return self

    def hessian_cost(self, K: int, d: int) -> float:
        return K * d * (d + 10)

    def hessian(self, P: Scores, X: Array, weight: Array) -> Array:
        return weighted_grams(X, P * (1 - P) * weight)

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        pass

    def null_scores(self, mean_target: PerScore) -> PerScore:
        rate = np.clip(mean_target, _RAREST, 1 - _RAREST)
        return np.log(rate / (1 - rate))

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        Z[unseen] = np.copysign(np.log(2 * weight[unseen] + 1)[:, None], Z[unseen])

    def centred(self, coef: Array) -> Array:
        return coef
