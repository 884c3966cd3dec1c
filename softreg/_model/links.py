"""Links: the loss of a row, given its scores and target, and the problems that scores make.

They know nothing of X.

Scores Z are class-major, (K, m) for m rows; probabilities P have the same shape. Functions ending
in ``_inplace`` overwrite their first argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from softreg._model.kernels import (
    Array,
    Pairs,
    curvature_diagonal,
    exp_minus_abs,
    sigmoid,
    sigmoid_dual,
    sigmoid_dual_along,
    softmax_curvature_product,
    softmax_dual,
    softmax_dual_along,
    softmax_hessian,
    softmax_hessian_cost,
    softmax_inplace,
    softplus,
    weighted_grams,
    weighted_grams_cost,
)
from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places, RowLosses, Scores
from softreg._rows.targets import Targets

# A class without weight has its optimum at minus infinity; with this probability it adds nothing
# to F, to rounding.
_RAREST = np.finfo(float).eps


@dataclass(frozen=True)
class Problems:
    """B problems of K / B scores each, which come one problem after another.

    One problem under softmax, one for each label under sigmoid; times the number of fits, where
    several are solved together.

    Attributes
    ----------
    count : int, B
    n_scores : int, K
    """

    count: int
    n_scores: int

    def scores(self, problems: Places) -> Places:
        """Return the numbers of the scores of some problems, one problem after another."""
        return np.arange(self.n_scores).reshape(self.count, -1)[problems].ravel()

    def columns(self, T: Coef, problems: Places) -> Coef:
        """Return the columns of T (width, K) that belong to some problems."""
        if len(problems) == self.count:
            return T
        return np.take(T, self.scores(problems), axis=1)  # contiguous, as T[:, ...] is not

    def total(self, per_score: PerScore) -> PerProblem:
        """Return the sums over the scores of each problem, (B,), of a value per score (K,)."""
        return np.add.reduce(per_score.reshape(self.count, -1), axis=1)

    def any(self, per_score: Mask) -> Mask:
        """Return for each problem whether any of its scores is marked in a mask (K,), (B,)."""
        return np.logical_or.reduce(per_score.reshape(self.count, -1), axis=1)

    def spread(self, per_problem: NDArray) -> NDArray:
        """Return each score's value of its problem, (K,), given a value per problem (B,)."""
        return np.repeat(per_problem, self.n_scores // self.count)

    def scaled_inplace(self, A: Coef, factor: PerProblem) -> Coef:
        """Multiply A (width, K) by a factor of each problem, (B,); return A."""
        by_problem = A.reshape(len(A), self.count, -1)  # a view, with long rows of one factor
        by_problem *= factor.astype(A.dtype, copy=False)[:, None]
        return A

    def inner(self, A: Coef, D: Coef) -> PerProblem:
        """Return the inner products of two arrays (width, K), problem by problem, (B,)."""
        by_problem = len(A), self.count, -1
        return np.einsum("jbk,jbk->b", A.reshape(by_problem), D.reshape(by_problem))


class Link(Protocol):
    """A row loss, convex in the row's scores z, whose gradient in z is P - Y.

    Attributes
    ----------
    exclusive : bool, whether each row has one class, so that its loss can be estimated over some
        of the classes
    """

    exclusive: bool

    def probabilities_inplace(self, Z: Scores) -> Scores:
        """Turn scores into probabilities P; return them."""

    def loss_and_residual_inplace(self, Z: Scores, Y: Targets) -> RowLosses:
        """Return each problem's losses of the rows, (B, m), and turn Z into residuals P - Y."""

    def curvature_product(self, P: Scores, D: Scores) -> Scores:
        """Return the Hessian of each row's loss in its scores, times D (K, m)."""

    def curvature_diagonal(self, P: Scores) -> Scores:
        """Return the diagonal p (1 - p) of each row's Hessian, (K, m)."""
        return curvature_diagonal(P)

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        """Return the probabilities Q linearised from Z along D, and KL(q || p(z + d)), (B, m).

        Q = P + H_i D, with the Hessian H_i of each row's loss in its scores, kept in the domain of
        the conjugate loss. The divergence is the row's duality gap (Fenchel and Young):
        loss(z + d) + conjugate(q - y) - <q - y, z + d>.
        """

    def dual_probabilities_along(
        self, P: Scores, change: Scores, Z: Scores
    ) -> tuple[Scores, RowLosses]:
        """Return the probabilities Q = P + change, (K, m), and KL(q || p(z)), (B, m).

        Q is kept in the domain of the conjugate loss. P need not be the probabilities of the scores
        Z (K, m), nor near them.
        """

    def problems(self, K: int) -> int:
        """Return B, how many problems, which share nothing but X, K scores make."""

    def with_problems(self, count: int) -> Link:
        """Return the link of `count` problems, whose scores come one problem after another."""

    def hessian_cost(self, K: int, d: int) -> float:
        """Return the multiply-adds that `hessian` takes for a row of d features."""

    def hessian(self, P: Scores, X: Array, weight: Array, pairs: Pairs | None = None) -> Array:
        """Return sum_i w_i H_i (x) x_i x_i', problem by problem, (B, p, p), p = K d / B.

        X is (m, d); weights are (m,), or (B, m) where problems weigh rows differently; `pairs`
        is a callable that returns the kept `feature_pairs` of X, or None to compute them.
        """

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        """Make H (B, p, p) definite along directions of T (width, K) that move no probability."""

    def null_scores(self, mean_target: PerScore) -> PerScore:
        """Return the scores (K,) of the model without features, given mean targets (K,)."""

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        """Set the scores of classes, or of labels' answers, that a fit has not seen, in all rows.

        They get the probability 1/2 / (S + A/2) of Jeffreys' prior, where S (K,) is the `weight` of
        the fit's rows and A the number of classes, or 2 for the answers yes and no (Krichevsky and
        Trofimov 1981, IEEE Transactions on Information Theory 27, 199-207). `unseen` (K,) marks the
        classes, or the labels with an unseen answer.
        """

    def centred(self, coef: Array) -> Array:
        """Return coef (..., K) of the same probabilities, which softmax makes sum to zero."""


@dataclass(frozen=True)
class Softmax(Link):
    """One class a row: loss = logsumexp(z) - <y, z>, p = softmax(z).

    Attributes
    ----------
    fits : int, the number B of fits that are solved at once, whose scores come one fit after
        another
    """

    fits: int = 1
    exclusive = True

    def probabilities_inplace(self, Z: Scores) -> Scores:
        softmax_inplace(self._by_fit(Z))
        return Z

    def loss_and_residual_inplace(self, Z: Scores, Y: Targets) -> RowLosses:
        loss = np.zeros((self.fits, Z.shape[1]), Z.dtype, like=Z)
        Y.subtract_target_scores_inplace(loss, Z)
        loss += softmax_inplace(self._by_fit(Z))
        Y.subtract_targets_inplace(Z)
        return loss

    def curvature_product(self, P: Scores, D: Scores) -> Scores:
        return softmax_curvature_product(self._by_fit(P), self._by_fit(D)).reshape(P.shape)

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        Q, divergence = softmax_dual(self._by_fit(Z), self._by_fit(D))
        return Q.reshape(Z.shape), divergence

    def dual_probabilities_along(
        self, P: Scores, change: Scores, Z: Scores
    ) -> tuple[Scores, RowLosses]:
        Q, divergence = softmax_dual_along(self._by_fit(P), self._by_fit(change), self._by_fit(Z))
        return Q.reshape(Z.shape), divergence

    def problems(self, K: int) -> int:
        return self.fits

    def with_problems(self, count: int) -> Softmax:
        return Softmax(count)

    def hessian_cost(self, K: int, d: int) -> float:
        return self.fits * softmax_hessian_cost(K // self.fits, d)

    def hessian(self, P: Scores, X: Array, weight: Array, pairs: Pairs | None = None) -> Array:
        weight = weight.astype(P.dtype, copy=False)
        fits = zip(self._by_fit(P), repeat(weight) if weight.ndim == 1 else weight, strict=False)
        hessians = [softmax_hessian(P_of_fit, X, w, pairs) for P_of_fit, w in fits]
        return hessians[0][None] if self.fits == 1 else np.stack(hessians)

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        # Adding the same vector to all classes moves no probability. Along those directions H is
        # the penalty alone, zero for the intercept; a gradient never points along them, so any
        # positive curvature there leaves every step as it is.
        K = H.shape[1] // width
        diagonals = np.einsum("bkjlj->bklj", H.reshape(-1, K, width, K, width))  # a view
        diagonals += np.einsum("bkkj->bj", diagonals)[:, None, None] / K**2

    def null_scores(self, mean_target: PerScore) -> PerScore:
        return self.centred(np.log(np.maximum(mean_target, _RAREST)))

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        share = 0.5 / (weight[0] + len(Z) / 2)
        seen = logsumexp(Z[~unseen], axis=0)
        Z[unseen] = seen + np.log(share / (1 - share * unseen.sum()))

    def centred(self, coef: Array) -> Array:
        fits = coef.reshape(*coef.shape[:-1], self.fits, -1)
        mean = np.add.reduce(fits, axis=-1, keepdims=True) / fits.shape[-1]
        return (fits - mean).reshape(coef.shape)

    def _by_fit(self, A: Array) -> Array:
        """Return A, (K, m) of all fits, as (B, K / B, m), without a copy."""
        return A.reshape(self.fits, -1, A.shape[1])


class Sigmoid(Link):
    """K labels, each yes or no: loss_k = log(1 + exp(z_k)) - y_k z_k, p = sigmoid(z)."""

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
        return curvature_diagonal(P) * D

    def dual_probabilities(self, Z: Scores, D: Scores) -> tuple[Scores, RowLosses]:
        return sigmoid_dual(Z, D)

    def dual_probabilities_along(
        self, P: Scores, change: Scores, Z: Scores
    ) -> tuple[Scores, RowLosses]:
        return sigmoid_dual_along(P, change, Z)

    def problems(self, K: int) -> int:
        return K

    def with_problems(self, count: int) -> Sigmoid:
        return self

    def hessian_cost(self, K: int, d: int) -> float:
        return weighted_grams_cost(K, d)

    def hessian(self, P: Scores, X: Array, weight: Array, pairs: Pairs | None = None) -> Array:
        weights = curvature_diagonal(P) * weight.astype(P.dtype, copy=False)
        return weighted_grams(X, weights, pairs)

    def fix_gauge_inplace(self, H: Array, width: int) -> None:
        pass

    def null_scores(self, mean_target: PerScore) -> PerScore:
        rate = np.clip(mean_target, _RAREST, 1 - _RAREST)
        return np.log(rate / (1 - rate))

    def set_unseen_inplace(self, Z: Scores, unseen: Mask, weight: PerScore) -> None:
        Z[unseen] = np.copysign(np.log(2 * weight[unseen] + 1)[:, None], Z[unseen])

    def centred(self, coef: Array) -> Array:
        return coef
