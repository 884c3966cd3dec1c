"""Links: what a row's scores and target say about its loss. They know nothing of X.

Scores Z are class-major, (K, m) for m rows; probabilities P have the same shape; targets are those
of `_targets`. Functions ending in ``_inplace`` overwrite their first argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from softreg._model.kernels import _decay, _expit, _softmax_hessian, _softplus, weighted_grams
from softreg._rows.targets import Targets

Array = NDArray[np.floating]

# A class without weight has its optimum at minus infinity; at this rate it adds nothing to F.
_RAREST = np.finfo(float).eps
_SMALLEST = np.finfo(float).tiny
# Smallest relative change of a probability: log1p needs more than -1.
_ALL_BUT_GONE = -1 + np.finfo(float).eps


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

    def dual_probabilities(self, Z: Array, D: Array) -> tuple[Array, Array]:
        """Return the probabilities Q linearised from Z along D, and KL(q || p(z + d)), (B, m).

        Q = P + H_z D, kept in the domain of the conjugate loss. The divergence is the Fenchel-Young
        gap of the row's problem: loss(z + d) + conjugate(q - y) - <q - y, z + d>.
        """

    def problems(self, K: int) -> int:
        """Return into how many problems (B) that share nothing but X the K scores fall."""

    def with_problems(self, count: int) -> Link:
        """Return the link of so many problems, the scores of each after those before."""

    def hessian_cost(self, K: int, d: int) -> float:
        """Return the multiply-adds that `hessian` takes for a row."""

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        """Return sum_i w_i (Hessian of row i) (x) x_i x_i', a block a problem, (B, p, p).

        Weights are (m,), or (B, m) where problems weigh rows differently.
        """

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        """Make H (B, p, p) definite along the directions that change no probability."""

    def null_scores(self, mean_target: Array) -> Array:
        """Return the scores (K,) of the model without features."""

    def set_unseen_inplace(self, Z: Array, unseen: NDArray[np.bool_], weight: Array) -> None:
        """Give the scores that one fit knows nothing of, `unseen` (K,), their prior.

        Jeffreys' for a share: what was not seen in rows of `weight` S (K,) has, in every row, the
        share 1/2 / (S + A/2), A being the number of classes, or 2 of answers (Krichevsky and
        Trofimov 1981, IEEE Transactions on Information Theory 27, 199-207).
        """

    def centred(self, coef: Array) -> Array:
        """Return the representative of coef (..., K) among those with equal probabilities."""


@dataclass(frozen=True)
class Softmax:
    """K scores, one class: loss = logsumexp(z) - <y, z>, P = softmax(z).

    Several fits have K scores each, one after another; what is taken over the classes is taken over
    the middle axis of (B, K, m).

    Attributes
    ----------
    fits : int, the number B of fits
    """

    fits: int = 1
    exclusive = True

    def probabilities_inplace(self, Z: Array) -> Array:
        self._normalise_inplace(Z)
        return Z

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        loss = np.zeros((self.fits, Z.shape[1]), Z.dtype)
        Y.subtract_target_scores_inplace(loss, Z)
        loss += self._normalise_inplace(Z)
        Y.subtract_targets_inplace(Z)
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        A = P * D
        fits = self._by_fit(A)
        fits -= self._by_fit(P) * fits.sum(axis=1, keepdims=True)
        return A

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def dual_probabilities(self, Z: Array, D: Array) -> tuple[Array, Array]:
        P, there = Z.copy(), Z + D
        change = self._normalise_inplace(there) - self._normalise_inplace(P)
        P, D = self._by_fit(P), self._by_fit(D)
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

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        weights = np.broadcast_to(weight, (self.fits, P.shape[1])).astype(float)
        own = zip(self._by_fit(P), weights, strict=True)
        return np.stack([_softmax_hessian(p, X, w) for p, w in own])

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        # Adding the same row to all classes changes no probability. On those directions H is the
        # penalty alone, zero for the intercept; a gradient never points along them, so any
        # positive curvature there leaves every step as it is.
        K, j = H.shape[1] // width, np.arange(width)
        for blocks in H.reshape(len(H), K, width, K, width):
            blocks[:, j, :, j] += (np.einsum("kjkj->j", blocks) / K**2)[:, None, None]

    def null_scores(self, mean_target: Array) -> Array:
        return self.centred(np.log(np.maximum(mean_target, _RAREST)))

    def set_unseen_inplace(self, Z: Array, unseen: NDArray[np.bool_], weight: Array) -> None:
        share = 0.5 / (weight[0] + len(Z) / 2)
        seen = logsumexp(Z[~unseen], axis=0)
        Z[unseen] = seen + np.log(share / (1 - share * unseen.sum()))

    def centred(self, coef: Array) -> Array:
        fits = coef.reshape(*coef.shape[:-1], self.fits, -1)
        return (fits - fits.mean(axis=-1, keepdims=True)).reshape(coef.shape)

    def _by_fit(self, A: Array) -> Array:
        """Return A (B K, m) as (B, K, m), without a copy."""
        return A.reshape(self.fits, -1, A.shape[1])

    def _normalise_inplace(self, Z: Array) -> Array:
        """Turn Z into softmax(Z); return logsumexp(Z), (B, m): SciPy's two in one exponential."""
        fits = self._by_fit(Z)
        peak = fits.max(axis=1)
        fits -= peak[:, None]
        np.exp(fits, out=fits)
        total = fits.sum(axis=1)
        fits /= total[:, None]
        return peak + np.log(total)


class Sigmoid:
    """L scores, L yes-or-no labels: loss = sum_l log(1 + exp(z_l)) - y_l z_l, P = sigmoid(z)."""

    exclusive = False

    def probabilities_inplace(self, Z: Array) -> Array:
        return _expit(Z, _decay(Z), out=Z)

    def loss_and_residual_inplace(self, Z: Array, Y: Targets) -> Array:
        e = _decay(Z)
        loss = _softplus(Z, e)
        Y.subtract_target_scores_inplace(loss, Z)
        Y.subtract_targets_inplace(_expit(Z, e, out=Z))
        return loss

    def curvature_product(self, P: Array, D: Array) -> Array:
        return P * (1 - P) * D

    def curvature_diagonal(self, P: Array) -> Array:
        return P * (1 - P)

    def dual_probabilities(self, Z: Array, D: Array) -> tuple[Array, Array]:
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

    def with_problems(self, count: int) -> Sigmoid:
        return self

    def hessian_cost(self, K: int, d: int) -> float:
        return K * d * (d + 10)

    def hessian(self, P: Array, X: Array, weight: Array) -> Array:
        return weighted_grams(X, P * (1 - P) * weight)

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        pass

    def null_scores(self, mean_target: Array) -> Array:
        rate = np.clip(mean_target, _RAREST, 1 - _RAREST)
        return np.log(rate / (1 - rate))

    def set_unseen_inplace(self, Z: Array, unseen: NDArray[np.bool_], weight: Array) -> None:
        Z[unseen] = np.copysign(np.log(2 * weight[unseen] + 1)[:, None], Z[unseen])

    def centred(self, coef: Array) -> Array:
        return coef
