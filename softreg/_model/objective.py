"""The objective: what is minimised, as sums over rows in working coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import (
    CurvatureGram,
    CurvatureTrace,
    Loss,
    LossAndGradient,
    LossHessian,
    LossHessianBlocks,
    LossHessianDiagonal,
    RowLeverage,
    weighted_gram,
)
from softreg._model.links import Link
from softreg._model.penalties import Penalty, Ridge
from softreg._model.problems import Problems
from softreg._model.rowspace import RowSpace, rotation_pays
from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places
from softreg._rows.base import Rows


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
    penalty : Penalty, on T; 0 for the intercept
    score_weight : ndarray (K,), S_k, that of all rows also where `rows` is a sample of them
    mean_weight : float, S, that of all scores also where these are some of them
    spaces : tuple of RowSpace, at most one: what was rotated before the coordinates
    """

    link: Link
    rows: Rows
    penalty: Penalty
    score_weight: PerScore
    mean_weight: float
    spaces: tuple[RowSpace, ...] = ()

    @classmethod
    def in_working_coordinates(cls, link: Link, rows: Rows, penalty: Penalty) -> Objective:
        """Return the objective of raw rows and the penalty of raw features."""
        spaces: tuple[RowSpace, ...] = ()
        if penalty.is_rotatable and rotation_pays(rows):
            spaces = (RowSpace.from_rows(rows, penalty),)
            rows, penalty = spaces[0].rows, spaces[0].penalty
        rows = rows.standardised()
        penalty = penalty.for_scaled_features(rows.coordinates.scale, rows.coordinates.intercept)
        weight, mean_weight = rows.totals.score_divisor, rows.totals.score_weight.mean()
        return cls(link, rows, penalty.divided(weight), weight, float(mean_weight), spaces)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (width, K) of T."""
        return self.rows.coordinates.width, self.rows.n_scores

    @cached_property
    def problems(self) -> Problems:
        """How the scores fall into problems."""
        K = self.shape[1]
        return Problems(self.link.problems(K), K)

    @cached_property
    def problem_weight(self) -> PerProblem:
        """S_k of each problem, (B,)."""
        return self.score_weight.reshape(self.problems.count, -1)[:, 0]

    @cached_property
    def constant_problems(self) -> Mask:
        """Problems whose targets are constant, (B,): the null model is optimal to rounding.

        Solvers skip them. Always False without an intercept.
        """
        intercept = self.rows.coordinates.intercept
        return self.problems.any(self.rows.totals.constant_scores & intercept)

    @cached_property
    def unseen_scores(self) -> Mask:
        """Scores of classes without rows, and of labels whose answers are constant, (K,).

        Always False without an intercept, which alone would grow without end.
        """
        if not self.link.exclusive:
            return self.problems.spread(self.constant_problems)
        return (self.rows.totals.target_sum == 0) & self.rows.coordinates.intercept

    @cached_property
    def has_free_features(self) -> Mask:
        """Whether a feature that varies has no penalty: an optimum may not exist, (B,)."""
        varies = np.isfinite(self.rows.coordinates.scale)
        free = self.penalty.free[: len(varies)][varies].any(axis=0)
        return self.problems.any(np.broadcast_to(free, self.shape[1:]))

    # ---- The same objective for other problems, rows or strengths -------------------------------

    def take_problems(self, problems: Places) -> Objective:
        """Return the objective of some problems, in ascending order."""
        if len(problems) == self.problems.count:
            return self
        scores = self.problems.scores(problems)
        return replace(
            self,
            link=self.link.with_problems(len(problems)),
            rows=self.rows.take_scores(scores),
            penalty=self.penalty.take_scores(scores),
            score_weight=self.score_weight[scores],
        )

    def on_rows(self, rows: Rows) -> Objective:
        """Return the objective of other rows alone."""
        weight, mean_weight = rows.totals.score_divisor, float(rows.totals.score_weight.mean())
        penalty = self.penalty.divided(weight / self.score_weight)
        return replace(
            self, rows=rows, penalty=penalty, score_weight=weight, mean_weight=mean_weight
        )

    def repeated(self, rows: Rows, count: int) -> Objective:
        """Return the objective of `count` fits at once, on rows that are `MemoryRows.repeated`.

        Each fit has the scores and problems of this one, after those of the fit before it.
        """
        tiled = replace(
            self,
            link=self.link.with_problems(count * self.problems.count),
            penalty=self.penalty.repeated(count),
            score_weight=np.tile(self.score_weight, count),
        )
        return tiled.on_rows(rows)

    def at_strength(self, C: float) -> Objective:
        """Return the objective with its penalty divided by C."""
        return replace(self, penalty=self.penalty.divided(np.array([C])))

    def unpenalised(self) -> Objective:
        """Return the mean loss alone."""
        return replace(self, penalty=Ridge.none(self.shape[0]))

    def in_double(self) -> Objective:
        """Return the same objective with products in double precision."""
        rows = self.rows.in_dtype(np.float64)
        return self if rows is self.rows else replace(self, rows=rows)

    # ---- Coefficients ---------------------------------------------------------------------------

    def coefficients(self, T: Coef) -> tuple[Coef, PerScore]:
        """Return W (d, K) and b (K,) in the user's units."""
        W, b = self.rows.coordinates.coefficients(self.link.centred(T))
        for space in self.spaces:
            W, b = space.coefficients(W, b)
        return W, b

    def working(self, W: Coef, b: PerScore) -> Coef:
        """Return T of coefficients in the user's units."""
        for space in self.spaces:
            W, b = space.working(W, b)
        return self.link.centred(self.rows.coordinates.working(W, b))

    def null(self) -> Coef:
        """Return T of the model without features."""
        T, totals = np.zeros(self.shape), self.rows.totals
        if self.rows.coordinates.intercept:
            T[-1] = self.link.null_scores(totals.mean_target)
            # Constant targets: so far that every row's score is, whatever its offset.
            farther = np.sign(T[-1]) * totals.largest_offset
            constant = self.problems.spread(self.constant_problems)
            T[-1] += np.where(constant, farther, -totals.mean_offset)
        return self.link.centred(T)

    # ---- F and its derivatives ------------------------------------------------------------------

    def in_units_of_F(self, values: PerProblem) -> PerProblem:
        """Return values (B,) of problems in units of their own weight as parts of F."""
        return values * self.problem_weight / self.mean_weight

    def value(self, T: Coef) -> PerProblem:
        """Return F, (B,): half a pass over the data."""
        (loss,) = self.rows.sum(Loss(self.link, self.rows.block_coefficients(T)))
        return self.penalised(loss, T)

    def value_and_gradient(self, T: Coef) -> tuple[PerProblem, Coef]:
        """Return the smooth part of F, (B,), and its gradient: one pass over the data.

        With a smooth penalty that is F itself.
        """
        kernel = LossAndGradient(self.link, self.rows.block_coefficients(T))
        loss, gathered = self.rows.sum(kernel)
        penalty, penalty_gradient = self.penalty.smooth(T)
        G = self.rows.working_gradient(gathered) / self.score_weight
        G += penalty_gradient
        return loss / self.problem_weight + self.problems.total(penalty), G

    def penalised(self, loss: PerProblem, T: Coef) -> PerProblem:
        """Return F, (B,), given the sums of the losses, and with the penalty at T."""
        return loss / self.problem_weight + self.problems.total(self.penalty.value(T))

    def gradient(self, gathered: NDArray, T: Coef) -> Coef:
        """Return the gradient (width, K), given what blocks gathered, and with the penalty at T."""
        G = self.rows.working_gradient(gathered) / self.score_weight
        G += self.penalty.smooth(T)[1]
        return G

    def hessian(self, T: Coef) -> NDArray:
        """Return the Hessian problem by problem, (B, p, p), definite also along the gauge."""
        (H,) = self.rows.sum(LossHessian(self.link, self.rows.block_coefficients(T)))
        H = H / self.problem_weight[:, None, None]
        diagonal = np.arange(H.shape[1])
        H[:, diagonal, diagonal] += self._ridge_by_score.reshape(len(H), -1)
        self.link.fix_gauge_inplace(H, self.shape[0])
        return H

    def hessian_blocks(self, T: Coef, scores: slice = slice(None)) -> NDArray:
        """Return the Hessian's diagonal blocks of some scores, each (width, width)."""
        U = self.rows.block_coefficients(T)
        (H,) = self.rows.sum(LossHessianBlocks(self.link, U, scores))
        H /= self.score_weight[scores, None, None]
        diagonal = np.arange(H.shape[1])
        H[:, diagonal, diagonal] += self._ridge_by_score[scores]
        return H

    def hessian_diagonal(self, T: Coef) -> Coef:
        """Return the diagonal of the Hessian, (width, K); of CSR in single precision."""
        rows = self.rows.for_steps()
        (squares,) = rows.sum(LossHessianDiagonal(self.link, rows.block_coefficients(T)))
        return rows.working_squares(squares) / self.score_weight + self.penalty.ridge

    @property
    def _ridge_by_score(self) -> NDArray:
        """The diagonal of the penalty's Hessian, (K, width)."""
        return np.broadcast_to(self.penalty.ridge, self.shape).T

    @property
    def gram(self) -> NDArray[np.float64]:
        """sum_i s_i x~_i x~_i' / sum_i s_i, (width, width); kept with the rows."""

        def make() -> NDArray[np.float64]:
            (gram,) = self.rows.sum(weighted_gram)
            return gram.astype(float) / self.rows.totals.weight

        return self.rows.kept(("gram", self.rows.dtype, self.rows.coordinates), make)

    def curvature_gram(self, T: Coef) -> NDArray[np.float64]:
        """Return the Hessian's diagonal blocks, added over the scores, (width, width)."""
        (gram,) = self.rows.sum(CurvatureGram(self._curvature_trace(T)))
        return gram.astype(float) + np.diag(self.shape[1] * self.penalty.ridge_by_feature)

    def leverage(self, T: Coef, root: NDArray) -> RowLeverage:
        """Return the kernel of the rows' weights in the Hessian: curvature times ||root' x~||^2."""
        return RowLeverage(self._curvature_trace(T), root)

    def _curvature_trace(self, T: Coef) -> CurvatureTrace:
        rows = self.rows
        return CurvatureTrace(self.link, rows.block_coefficients(T), self.score_weight, rows.dtype)

    # ---- The penalty's part of duality gaps -----------------------------------------------------

    def imbalance_gap(self, gradient: Coef) -> PerProblem:
        """Return what a gradient (width, K) left over from Newton's equations adds to gaps, (B,).

        Coefficients without a penalty must be balanced to rounding, or there is no bound: inf.
        """
        return self.problems.total(self.penalty.conjugate(gradient))

    def penalised_gap(self, gradient: Coef) -> PerProblem:
        """Return what a gradient (width, K) adds to the gaps where there is a penalty, (B,)."""
        return self.problems.total(self.penalty.conjugate_of_penalised(gradient))
