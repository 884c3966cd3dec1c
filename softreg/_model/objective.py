"""The objective: what is minimised, as sums over rows in working coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softreg._model.certificate import Certificate
from softreg._model.kernels import weighted_grams
from softreg._model.links import Link
from softreg._model.penalties import Ridge
from softreg._model.rowspace import RowSpace, rotation_pays
from softreg._rows.base import Rows
from softreg._rows.blocks import Block

# Mean residual of a column, in its own deviation, that passes for zero.
_BALANCED = 1e-10


@dataclass(frozen=True, eq=False)
class Objective:
    """The penalised mean loss over rows i = 1..n, features j = 1..d, scores k = 1..K.

    ::

        F(W, b) = (1/S) sum_i s_i loss(z_i, y_i)  +  (1/S) sum_jk l2_jk / 2 W_jk^2

        z_i = W' x_i + b + o_i,    S = sum_i s_i,    l2_jk = penalty_factor_j / C_k

    with W (d, K), the transpose of ``coef_``, b (K,), x_i (d,), row weights s_i >= 0, offsets
    o_i (K,), targets y_i (K,). It is scikit-learn's ``LogisticRegression(C=C)`` divided by C S.
    Solvers see it in the working coordinates T (width, K) of `Coordinates`; Z are scores, P
    probabilities and R = P - Y residuals, each (K, m) for a block of m rows. Gradients and
    Hessians are those of F in T.

    The K scores fall into B problems that share nothing but X: one for softmax, K for labels, where
    s_i loss stands for the sum of each label's loss times its own weight s_ik (`LabelTargets`), and
    S for the mean over the labels of S_k = sum_i s_ik. Solvers see each problem in units of its own
    weight, so that light labels count as much as heavy ones: values, gaps and inner products are
    given problem by problem, (B,), divided by S_k instead of S, and so are gradients and Hessians;
    `in_units_of_F` multiplies by S_k / S.

    Attributes
    ----------
    link : Link
    rows : Rows, in working coordinates
    penalty : Ridge, on T; 0 for the intercept
    score_weight : ndarray (K,), S_k, that of all rows also where `rows` is a sample of them
    mean_weight : float, S, that of all scores also where these are some of them
    spaces : tuple of RowSpace, at most one: what was rotated before the coordinates
    """

    link: Link
    rows: Rows
    penalty: Ridge
    score_weight: NDArray
    mean_weight: float
    spaces: tuple[RowSpace, ...] = ()

    @classmethod
    def in_working_coordinates(cls, link: Link, rows: Rows, penalty: Ridge) -> Objective:
        """Return the objective of raw rows and the penalty of raw features."""
        spaces: tuple[RowSpace, ...] = ()
        if rotation_pays(rows):
            spaces = (RowSpace.of(rows, penalty),)
            rows, penalty = spaces[0].rows, spaces[0].penalty
        rows = rows.standardised()
        penalty = penalty.for_scaled_features(rows.coordinates.scale, rows.coordinates.intercept)
        weight = rows.divisor
        penalty = penalty.divided(weight)
        return cls(link, rows, penalty, weight, float(rows.score_weight.mean()), spaces)

    @cached_property
    def problems(self) -> int:
        """Number of problems B."""
        return self.link.problems(self.shape[1])

    def scores(self, problems: NDArray) -> NDArray:
        """Return the scores that some of the problems consist of."""
        return np.arange(self.shape[1]).reshape(self.problems, -1)[problems].ravel()

    def columns(self, T: NDArray, problems: NDArray) -> NDArray:
        """Return the columns of T (width, K) that belong to some of the problems."""
        return np.take(T, self.scores(problems), axis=1)  # contiguous, as T[:, ...] is not

    def take_problems(self, problems: NDArray) -> Objective:
        """Return the objective of some of the problems, in ascending order."""
        if len(problems) == self.problems:
            return self
        own = self.scores(problems)
        return replace(
            self,
            link=self.link.with_problems(len(problems)),
            rows=self.rows.take_scores(own),
            penalty=self.penalty.take_scores(own),
            score_weight=self.score_weight[own],
        )

    @cached_property
    def problem_weight(self) -> NDArray:
        """S_k of each problem, (B,)."""
        return self.score_weight.reshape(self.problems, -1)[:, 0]

    def in_units_of_F(self, values: NDArray) -> NDArray:
        """Return values (B,) of problems in units of their own weight as parts of F."""
        return values * self.problem_weight / self.mean_weight

    @cached_property
    def constant_problems(self) -> NDArray[np.bool_]:
        """Which problems have constant targets, so that no model is better than the null one, (B,).

        What little its F is above zero, for the sake of a finite intercept, is below rounding.
        """
        return self.any_of_problem(self.rows.constant_scores & self.rows.coordinates.intercept)

    @cached_property
    def unseen_scores(self) -> NDArray[np.bool_]:
        """Scores of classes, or of labels whose answers are all the same, that are not there, (K,).

        Without an intercept there is nothing that grows without end.
        """
        if not self.link.exclusive:
            return self.by_score(self.constant_problems)
        return (self.rows.target_sum == 0) & self.rows.coordinates.intercept

    def by_problem(self, scores: NDArray) -> NDArray:
        """Return what is given for each score (K,), added up over each problem's, (B,)."""
        return scores.reshape(self.problems, -1).sum(axis=1)

    def any_of_problem(self, scores: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether something is so for any score of each problem, (B,)."""
        return np.logical_or.reduce(scores.reshape(self.problems, -1), axis=1)

    def by_score(self, problems: NDArray) -> NDArray:
        """Return what is given for each problem (B,), for each of its scores, (K,)."""
        return np.repeat(problems, self.shape[1] // self.problems)

    def inner(self, A: NDArray, D: NDArray) -> NDArray:
        """Return the inner product of two sets of coefficients (width, K), (B,)."""
        return self.by_problem(np.einsum("jk,jk->k", A, D))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (width, K) of T."""
        return self.rows.coordinates.width, self.rows.n_scores

    def coefficients(self, T: NDArray) -> tuple[NDArray, NDArray]:
        """Return W (d, K) and b (K,) in the user's units."""
        W, b = self.rows.coordinates.coefficients(self.link.centred(T))
        for space in self.spaces:
            W, b = space.coefficients(W, b)
        return W, b

    def working(self, W: NDArray, b: NDArray) -> NDArray:
        """Return T of coefficients in the user's units."""
        for space in self.spaces:
            W, b = space.working(W, b)
        return self.link.centred(self.rows.coordinates.working(W, b))

    def null(self) -> NDArray:
        """Return T of the model without features."""
        T, rows = np.zeros(self.shape), self.rows
        if rows.coordinates.intercept:
            T[-1] = self.link.null_scores(rows.mean_target)
            farther = np.sign(T[-1]) * rows.farthest_offset
            T[-1] += np.where(self.by_score(self.constant_problems), farther, -rows.mean_offset)
        return self.link.centred(T)

    def on_rows(self, rows: Rows) -> Objective:
        """Return the objective of other rows in its place, as if there were no others."""
        weight = rows.divisor
        penalty, mean = self.penalty.divided(weight / self.score_weight), rows.score_weight.mean()
        return replace(
            self, rows=rows, penalty=penalty, score_weight=weight, mean_weight=float(mean)
        )

    def repeated(self, rows: Rows, count: int) -> Objective:
        """Return the objective of so many fits at once, on rows that are `MemoryRows.repeated`.

        Each fit has the scores and problems of this one, after those of the fit before it.
        """
        weight, own = rows.divisor, np.tile(self.score_weight, count)
        return replace(
            self,
            link=self.link.with_problems(count * self.problems),
            rows=rows,
            penalty=self.penalty.repeated(count).divided(weight / own),
            score_weight=weight,
            mean_weight=float(rows.score_weight.mean()),
        )

    def at_strength(self, C: float) -> Objective:
        """Return the objective with its penalty divided by C."""
        new = replace(self, penalty=self.penalty.divided(np.array([C])))
        if "gram" in vars(self):  # it knows nothing of the penalty
            vars(new)["gram"] = self.gram
        return new

    def unpenalised(self) -> Objective:
        """Return the mean loss alone."""
        return replace(self, penalty=Ridge(np.zeros_like(self.penalty.l2)))

    def value(self, T: NDArray) -> NDArray:
        """Return F, (B,): half a pass over the data."""
        U = self.rows.block_coefficients(T)

        def kernel(block: Block) -> tuple[NDArray]:
            Z = block.scores(U)
            return (_total(block.weighted(self.link.loss_and_residual_inplace(Z, block.Y))),)

        return self._value(self.rows.sum(kernel)[0], T)

    def value_and_gradient(self, T: NDArray) -> tuple[NDArray, NDArray]:
        """Return F, (B,), and its gradient: one pass over the data."""
        U = self.rows.block_coefficients(T)

        def kernel(block: Block) -> tuple[NDArray, NDArray]:
            Z = block.scores(U)
            loss = self.link.loss_and_residual_inplace(Z, block.Y)
            return _total(block.weighted(loss)), block.gather(block.weighted(Z))

        loss, G = self.rows.sum(kernel)
        return self._value(loss, T), self.gradient(G, T)

    def gradient(self, gathered: NDArray, T: NDArray) -> NDArray:
        """Return the gradient (width, K) of what was gathered, and of the penalty at T."""
        G = self.rows.working_gradient(gathered) / self.score_weight
        G += self.penalty.gradient(T)
        return G

    def hessian(self, T: NDArray) -> NDArray:
        """Return the Hessian problem by problem, (B, p, p), definite also along the gauge."""
        U = self.rows.block_coefficients(T)

        def kernel(block: Block) -> tuple[NDArray]:
            P = self.link.probabilities_inplace(block.scores(U))
            return (self.link.hessian(P, block.features(), block.weights()),)

        H = self.rows.sum(kernel)[0] / self.problem_weight[:, None, None]
        own = np.broadcast_to(self.penalty.l2, self.shape).T
        diagonal = np.arange(H.shape[1])
        H[:, diagonal, diagonal] += own.reshape(len(H), -1)
        self.link.fix_gauge_inplace(H, self.shape[0])
        return H

    def hessian_blocks(self, T: NDArray, scores: slice = slice(None)) -> NDArray:
        """Return the Hessian's diagonal blocks of some scores, each (width, width)."""
        U = self.rows.block_coefficients(T)

        def kernel(block: Block) -> tuple[NDArray]:
            P = self.link.probabilities_inplace(block.scores(U))
            C = block.weighted(self.link.curvature_diagonal(P))
            return (weighted_grams(block.features(), C[scores]),)

        H = self.rows.sum(kernel)[0]
        H /= self.score_weight[scores, None, None]
        diagonal = np.arange(H.shape[1])
        H[:, diagonal, diagonal] += np.broadcast_to(self.penalty.l2, self.shape).T[scores]
        return H

    def hessian_diagonal(self, T: NDArray) -> NDArray:
        """Return the diagonal of the Hessian, (width, K); of CSR in single precision."""
        rows = self.rows.for_steps
        U = rows.block_coefficients(T)

        def kernel(block: Block) -> tuple[NDArray]:
            P = self.link.probabilities_inplace(block.scores(U))
            return (block.weighted_squares(block.weighted(self.link.curvature_diagonal(P))),)

        diagonal = rows.working_squares(rows.sum(kernel)[0])
        return diagonal / self.score_weight + self.penalty.l2

    @cached_property
    def gram(self) -> NDArray:
        """sum_i s_i x~_i x~_i' / sum_i s_i, (width, width)."""
        return self._gram(lambda block: block.weight) / self.rows.total_weight

    def curvature_gram(self, T: NDArray) -> NDArray:
        """Return the Hessian's diagonal blocks, added over the scores, (width, width)."""
        U, own = (
            self.rows.block_coefficients(T),
            np.diag(self.shape[1] * self.penalty.ridge_by_feature),
        )
        return self._gram(lambda block: self._curvatures(block, U)) + own

    def leverage(self, T: NDArray, root: NDArray) -> Callable[[Block], NDArray]:
        """Return what gives a block's rows their weight in the Hessian, (m,).

        That is their curvature times ||root' x~||^2.
        """
        U = self.rows.block_coefficients(T)

        def kernel(block: Block) -> NDArray:
            lengths = np.square(block.features() @ root.astype(self.rows.dtype, copy=False))
            return self._curvatures(block, U) * lengths.sum(axis=1)

        return kernel

    def _gram(self, weight: Callable[[Block], NDArray | None]) -> NDArray:
        """Return sum_i w_i x~_i x~_i', given a block's weights (m,); None is all ones."""

        def kernel(block: Block) -> tuple[NDArray]:
            X, w = block.features(), weight(block)
            return (X.T @ (X if w is None else X * w[:, None]),)

        return self.rows.sum(kernel)[0].astype(float)

    def _curvatures(self, block: Block, U: NDArray) -> NDArray:
        """Return the trace of each row's Hessian in its scores, times its weights / S_k, (m,)."""
        P = self.link.probabilities_inplace(block.scores(U))
        spread = (1 / self.score_weight) @ block.weighted(self.link.curvature_diagonal(P))
        return spread.astype(self.rows.dtype, copy=False)

    def in_double(self) -> Objective:
        """Return the same objective with products in double precision."""
        rows = self.rows.in_dtype(np.float64)
        return self if rows is self.rows else replace(self, rows=rows)

    @cached_property
    def has_free_features(self) -> NDArray[np.bool_]:
        """Whether a feature that varies has no penalty: an optimum may not exist, (B,)."""
        varies = np.isfinite(self.rows.coordinates.scale)
        free = self.penalty.free[: len(varies)][varies].any(axis=0)
        return self.any_of_problem(np.broadcast_to(free, self.shape[1:]))

    def imbalance_gap(self, gradient: NDArray) -> NDArray:
        """Return what a gradient (width, K) left over from Newton's equations adds to gaps, (B,).

        Coefficients without a penalty must be balanced to rounding, or there is no bound.
        """
        unbalanced = (self.penalty.free & (np.abs(gradient) > _BALANCED)).any(axis=0)
        return np.where(self.any_of_problem(unbalanced), np.inf, self.penalised_gap(gradient))

    def penalised_gap(self, gradient: NDArray) -> NDArray:
        """Return what a gradient (width, K) adds to the gaps where there is a penalty, (B,)."""
        return self.by_problem(self.penalty.conjugate(gradient))

    def certify(self, T: NDArray, step: NDArray) -> Certificate:
        """Return F, its gradient and a dual bound at T + step, in one pass.

        Every matrix Q of probabilities bounds F from below, by the dual objective at Q - Y. The
        bound is tight if Q balances the gradient: sum_i s_i x~_i (q_i - y_i) + l2 T = 0. Newton's
        equations say just that of the linearised probabilities ``Q = P(T) + H_z step``, so after
        an accurate Newton step the gap is of fourth order in it. By Fenchel and Young the gap is
        the mean of KL(q_i || p_i(T + step)) plus the square of what is left unbalanced, in units
        of the penalty (Boyd and Vandenberghe 2004, "Convex Optimization", sections 3.3 and 5.5).
        """
        U, V = self.rows.block_coefficients(T), self.rows.block_coefficients(step)

        def kernel(block: Block) -> tuple[NDArray, NDArray, NDArray, NDArray]:
            Z, D = block.scores(U), block.linear_scores(V)
            Q, divergence = self.link.dual_probabilities(Z, D)
            block.Y.subtract_targets_inplace(Q)
            Z += D
            loss = self.link.loss_and_residual_inplace(Z, block.Y)
            G, dual = block.gather(block.weighted(Z)), block.gather(block.weighted(Q))
            return _total(block.weighted(loss)), G, _total(block.weighted(divergence)), dual

        new = T + step
        loss, G, divergence, dual = self.rows.sum(kernel)
        mean_divergence = np.maximum(0.0, divergence / self.problem_weight)
        imbalance = self.gradient(dual, new)
        return Certificate(
            value=self._value(loss, new),
            gradient=self.gradient(G, new),
            divergence=mean_divergence,
            imbalance=imbalance,
            gap=mean_divergence + self.imbalance_gap(imbalance),
        )

    def _value(self, loss: NDArray, T: NDArray) -> NDArray:
        """Return F, (B,), of losses that were summed, and of the penalty at T."""
        return loss / self.problem_weight + self.by_problem(self.penalty.value(T))


def _total(losses: NDArray) -> NDArray:
    """Return the sums over rows, in double precision, of what a problem's rows have, (B, m)."""
    return losses.sum(axis=1, dtype=float)
