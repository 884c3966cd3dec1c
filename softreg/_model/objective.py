"""The objective: what is minimised, as sums over rows in working coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import (
    CoordinateHessian,
    CurvatureGram,
    CurvatureTrace,
    Loss,
    LossAndGradient,
    LossHessian,
    LossHessianBlocks,
    LossHessianDiagonal,
    RowLeverage,
    gram_sum,
)
from softreg._model.kernels import coordinate_hessian_cost
from softreg._model.links import Link, Problems
from softreg._model.penalties import Penalty, Ridge, SparsePenalty
from softreg._model.spaces import RowSpace, Space, rotation_pays
from softreg._rows.arrays import Coef, Mask, PerProblem, PerScore, Places
from softreg._rows.base import Rows


@dataclass(frozen=True, eq=False)
class Objective:
    """The penalised mean loss over rows i = 1..n, features j = 1..d, scores k = 1..K.

    ::

        F(W, b) = (1/S) sum_i s_i loss(z_i, y_i)  +  (1/S) sum_jk l2_jk / 2 W_jk^2

        z_i = W' x_i + b + o_i,    S = sum_i s_i,    l2_jk = penalty_factor_j u_j^2 / C_k

    with W (d, K), the transpose of ``coef_``, b (K,), x_i (d,), row weights s_i >= 0, offsets
    o_i (K,), targets y_i (K,), and units u_j of one, or with `standardize` the features' weighted
    deviations. It is scikit-learn's ``LogisticRegression(C=C)`` divided by C S.
    Solvers see it in the working coordinates T (width, K) of `Coordinates`; Z are scores, P
    probabilities and R = P - Y residuals, each (K, m) for a block of m rows. Gradients and
    Hessians are those of F in T.

    The K scores fall into B problems that share nothing but X: one under softmax, K under sigmoid,
    where s_i loss stands for the sum over the labels of s_ik loss_ik, with weights s_ik that may
    differ between labels (`LabelTargets`), and S for the mean over the labels of S_k = sum_i s_ik.
    Solvers see each problem divided by its S_k instead of S, so that labels with little weight
    count as much as others: values, gaps and inner products, given problem by problem, (B,), and
    gradients and Hessians likewise. `in_units_of_F` multiplies by S_k / S.

    Attributes
    ----------
    link : Link
    rows : Rows, in working coordinates
    penalty : Penalty, on T; 0 for the intercept
    score_weight : ndarray (K,), S_k of all rows, also where `rows` is a sample of them
    mean_weight : float, S of all scores, also where the objective has some of them only
    spaces : tuple of Space, by which coefficients go back to the user's, the first one first
    """

    link: Link
    rows: Rows
    penalty: Penalty
    score_weight: PerScore
    mean_weight: float
    spaces: tuple[Space, ...] = ()

    @classmethod
    def in_working_coordinates(
        cls, link: Link, rows: Rows, penalty: Penalty, unit: NDArray | float = 1.0
    ) -> Objective:
        """Return the objective of rows in the user's units.

        The penalty is one on features divided by `unit` (d,), none on those whose unit is zero.
        """
        spaces: tuple[Space, ...] = ()
        unit = np.where(np.greater(unit, 0), unit, 1.0)
        if penalty.is_rotatable and rotation_pays(rows):
            spaces = (RowSpace.from_rows(rows, penalty, unit),)
            rows, penalty, unit = spaces[0].rows, spaces[0].penalty, np.ones(1)
        totals = rows.totals
        weight, weight_unit = totals.score_divisor, totals.weight_unit
        penalty = penalty.divided(weight)
        rows = rows.standardised(unit * penalty.least_scale(weight_unit), penalty.joined, unit)
        scale, intercept = rows.coordinates.scale, rows.coordinates.intercept
        penalty = penalty.for_scaled_features(scale / unit, intercept, weight_unit)
        return cls(link, rows, penalty, weight, float(totals.score_weight.mean()), spaces)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (width, K) of T."""
        return self.rows.coordinates.width, self.rows.n_scores

    @property
    def sparse_penalty(self) -> SparsePenalty:
        """The penalty, where it is not smooth."""
        return cast(SparsePenalty, self.penalty)

    @cached_property
    def problems(self) -> Problems:
        """How the scores are divided into problems."""
        K = self.shape[1]
        return Problems(self.link.problems(K), K)

    @cached_property
    def problem_weight(self) -> PerProblem:
        """S_k of each problem, (B,)."""
        return self.score_weight.reshape(self.problems.count, -1)[:, 0]

    @cached_property
    def constant_problems(self) -> Mask:
        """Problems whose targets are constant, (B,): the null model is optimal to rounding.

        Those of a score are all 0, all 1 or unknown wherever they have weight; of classes, one has
        all weight. Solvers skip these problems. Always False without an intercept.
        """
        totals, intercept = self.rows.totals, self.rows.coordinates.intercept
        if self.link.exclusive:
            n_seen = self.problems.total((totals.target_sum > 0).astype(float))
            return (n_seen < 2) & intercept
        return self.problems.any(np.logical_not(totals.observed.all(axis=0)) & intercept)

    @cached_property
    def unseen_scores(self) -> Mask:
        """Scores of classes without weight, and of labels whose answers are constant, (K,).

        Their intercepts have no finite optimum; always False without an intercept.
        """
        if not self.link.exclusive:
            return self.problems.spread(self.constant_problems)
        return (self.rows.totals.target_sum == 0) & self.rows.coordinates.intercept

    @cached_property
    def has_free_features(self) -> Mask:
        """Whether a feature that varies has no penalty, (B,): an optimum may not exist then."""
        varies = np.isfinite(self.rows.coordinates.scale)
        free = self.penalty.free[: len(varies)][varies].any(axis=0)
        return self.problems.any(np.broadcast_to(free, self.shape[1:]))

    @property
    def unidentified_features(self) -> Mask:
        """Features of the user's whose coefficients the data leave open, (d,)."""
        d = len(self.rows.coordinates.scale)
        free, unidentified = np.all(self.penalty.free[:d], axis=1), np.zeros(d, dtype=bool)
        for space in self.spaces:
            unidentified = space.unidentified(unidentified, free)
        return unidentified

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

    def take_features(self, features: Places) -> Objective:
        """Return the objective of some features, ascending, the coefficients of others being 0.

        Its coefficients are those rows of T, and the intercept's.
        """
        places = np.append(features, np.arange(len(self.rows.coordinates.scale), self.shape[0]))
        rows, penalty = self.rows.take_features(features), self.penalty.take_features(places)
        return replace(self, rows=rows, penalty=penalty, spaces=())

    def on_rows(self, rows: Rows) -> Objective:
        """Return the objective of other rows, at the same strength in the user's units."""
        weight, mean_weight = rows.totals.score_divisor, float(rows.totals.score_weight.mean())
        penalty = self.penalty.divided(weight / self.score_weight)
        return replace(
            self, rows=rows, penalty=penalty, score_weight=weight, mean_weight=mean_weight
        )

    def repeated(self, rows: Rows, count: int) -> Objective:
        """Return the objective of `count` fits at once, given the rows of `MemoryRows.repeated`.

        Each fit has the scores and problems of this one; they come one fit after another.
        """
        tiled = replace(
            self,
            link=self.link.with_problems(count * self.problems.count),
            penalty=self.penalty.repeated(count),
            score_weight=np.tile(self.score_weight, count),
        )
        return tiled.on_rows(rows)

    def at_strength(self, C: float) -> Objective:
        """Return the objective with its penalty divided by C, of which inf leaves none."""
        if np.isinf(C):
            return self.unpenalised()
        return replace(self, penalty=self.penalty.divided(np.array([C])))

    def at_temperature(self, t: float) -> Objective:
        """Return the objective whose optimum V, times t, minimises F with the loss t loss(z / t).

        That loss is no less than loss(z), which it approaches as t falls, and bends over t times
        longer distances. Its F at t V, over t, is the mean loss of V with offsets o / t, and t
        times the ridge of V; lengths stay as they are.
        """
        penalty = self.penalty.at_temperature(t)
        return replace(self, rows=self.rows.at_temperature(t), penalty=penalty)

    def unpenalised(self) -> Objective:
        """Return the objective without a penalty: the mean loss."""
        return replace(self, penalty=Ridge.none(self.shape[0]))

    def in_double(self) -> Objective:
        """Return the same objective with products in double precision."""
        rows = self.rows.in_dtype(np.float64)
        return self if rows is self.rows else replace(self, rows=rows)

    def for_descents(self) -> Objective:
        """Return the same objective in single precision where a copy for that may be kept."""
        rows = self.rows.for_descents()
        return self if rows is self.rows else replace(self, rows=rows)

    # ---- Coefficients ---------------------------------------------------------------------------

    def coefficients(self, T: Coef) -> tuple[Coef, PerScore]:
        """Return W (d, K) and b (K,) in the user's units."""
        W, b = self.rows.coordinates.coefficients(self.centred(T))
        for space in self.spaces:
            W, b = space.coefficients(W, b)
        return W + 0.0, b  # no -0.0

    def working(self, W: Coef, b: PerScore) -> Coef:
        """Return T of coefficients in the user's units."""
        for space in reversed(self.spaces):
            W, b = space.working(W, b)
        return self.centred(self.rows.coordinates.working(W, b))

    def covariance(self, V: NDArray, with_prior: bool) -> NDArray[np.float64]:
        """Return the covariances (B, p, p) of W over b + centre' W, given those of T.

        W and b are in the user's units, centres those of `user_centre`; score after score of a
        problem. For `with_prior` see `Space`.
        """
        V = self.rows.coordinates.covariance(V)
        for space in self.spaces:
            V = space.covariance(V, with_prior)
        return V

    @property
    def user_centre(self) -> NDArray[np.float64]:
        """Centres of the user's features, (d,), from which scores depend on T to full precision."""
        centre = self.rows.coordinates.centre
        for space in self.spaces:
            centre = space.user_centre(centre)
        return centre

    def unidentified_directions(self, score: int) -> Coef:
        """Return directions (u, r) along which a score's W over b are not identified.

        Those of constant columns, whose coefficients no score depends on, and, without a penalty,
        of columns that others replace.
        """
        coordinates = self.rows.coordinates
        value, constant = self.rows.totals.moments.value, np.isinf(coordinates.scale).nonzero()[0]
        free = np.broadcast_to(self.penalty.free, self.shape)[constant, score]
        directions: Coef = np.zeros((coordinates.width, len(constant)))
        directions[constant, np.arange(len(constant))] = 1
        if coordinates.intercept:
            directions[-1] = -value[constant] * free
        for space in self.spaces:
            directions = space.unidentified_directions(directions, score)
        return directions

    def centred(self, T: Coef) -> Coef:
        """Return T (width, K) of the same F with each feature's mean over the classes taken off.

        Under a sparse penalty, that of features without a penalty, and of the intercept, alone.
        """
        if self.penalty.is_smooth:
            return self.link.centred(T)
        return np.where(np.all(self.penalty.free, axis=1)[:, None], self.link.centred(T), T)

    def null(self) -> Coef:
        """Return T of the model without features."""
        T, totals = np.zeros(self.shape), self.rows.totals
        if self.rows.coordinates.intercept:
            T[-1] = self.link.null_scores(totals.mean_target)
            # Where targets are constant, every row's score must be that far out, whatever its
            # offset; elsewhere the mean offset is taken off.
            beyond_offsets = np.sign(T[-1]) * totals.largest_offset
            constant = self.problems.spread(self.constant_problems)
            T[-1] += np.where(constant, beyond_offsets, -totals.offset_sum / totals.score_divisor)
        return self.link.centred(T)

    # ---- F and its derivatives ------------------------------------------------------------------

    def in_units_of_F(self, values: PerProblem) -> PerProblem:
        """Return values (B,) of problems, each divided by its S_k, as parts of F: times S_k / S."""
        return values * self.problem_weight / self.mean_weight

    def value(self, T: Coef) -> PerProblem:
        """Return F, (B,): a pass with one product, that of the scores, in place of two."""
        (loss,) = self.rows.sum(Loss(self.link, self.rows.block_coefficients(T)))
        return self.penalised(loss, T)

    def value_and_gradient(self, T: Coef) -> tuple[PerProblem, Coef]:
        """Return F, (B,), and the gradient of its smooth part: one pass over the data."""
        kernel = LossAndGradient(self.link, self.rows.block_coefficients(T))
        loss, gathered = self.rows.sum(kernel)
        return self.penalised(loss, T), self.gradient(gathered, T)

    def penalised(self, loss: PerProblem, T: Coef) -> PerProblem:
        """Return F at T, (B,), given the sums of the losses there, (B,)."""
        return loss / self.problem_weight + self.problems.total(self.penalty.value(T))

    def gradient(self, gathered: Coef, T: Coef) -> Coef:
        """Return the smooth part's gradient at T, (width, K), given the sum of `Block.gather`."""
        G = self.loss_gradient(gathered)
        if self.has_ridge:
            G += self.penalty.ridge * T
        return G

    def loss_gradient(self, gathered: Coef) -> Coef:
        """Return the loss's gradient, (width, K), given the sum of `Block.gather`."""
        return self.rows.working_gradient(gathered) / self.score_weight

    @cached_property
    def has_ridge(self) -> bool:
        """Whether the penalty has a smooth part that is not zero."""
        return bool(self.penalty.ridge.any())

    def hessian(self, T: Coef, basis: Coef | None = None) -> NDArray:
        """Return the Hessian problem by problem, (B, p, p), its gauge fixed (`Link`).

        With a `basis` (width, width) it is that in coefficients V, for T = basis V.
        """
        if basis is None and self._has_equal_scores(T):
            P = self.link.probabilities_inplace(T[-1:].T.copy())
            row_hessians, p = self.link.hessian(P, np.ones((1, 1)), np.ones(1)), T.size
            H = np.einsum("bkl,ij->bkilj", row_hessians, self.gram()).reshape(1, p, p)
        else:
            kernel = LossHessian(self.link, self.rows.block_coefficients(T), basis=basis)
            (H,) = self.rows.sum(kernel)
            H = H / self.problem_weight[:, None, None]
        if basis is None:
            diagonals = np.einsum("bjj->bj", H)  # a view
            diagonals += self._ridge_by_score.reshape(len(H), -1)
        else:
            by_score = H.reshape(len(H), -1, len(T), H.shape[1] // len(T), len(T))
            blocks = np.einsum("bkikj->bkij", by_score)  # a view
            ridge = self._ridge_by_score.reshape(*blocks.shape[:3])
            blocks += np.einsum("ij,bki,il->bkjl", basis, ridge, basis, optimize=True)
        self.link.fix_gauge_inplace(H, self.shape[0])
        return H

    def _has_equal_scores(self, T: Coef) -> bool:
        """Return whether all rows have the same scores and weights, as classes have at `null`."""
        weights = T[:-1] if self.rows.coordinates.intercept else T
        is_single = self.link.exclusive and self.problems.count == 1
        return is_single and not (weights.any() or self.rows.totals.largest_offset.any())

    def coordinate_hessian(self, T: Coef, features: Places, scores: Places) -> NDArray:
        """Return the loss's Hessian in some coefficients of one problem, (q, q).

        They are those of `features` (q,), the intercept's among them if there is one, in `scores`
        (q,), ascending.
        """
        by_score = np.bincount(scores, minlength=self.shape[1])
        whole = self._whole_cost(len(np.unique(features))) < self._coordinate_cost(by_score)
        U = self.rows.block_coefficients(T)
        (H,) = self.rows.sum(CoordinateHessian(self.link, U, features, scores, whole))
        return H / self.problem_weight[0]

    def coordinate_hessian_cost(self, inside: Mask) -> float:
        """Return the multiply-adds of `coordinate_hessian` in coefficients `inside`, (width, K)."""
        n_features = int(np.count_nonzero(inside.any(axis=1)))
        return min(self._whole_cost(n_features), self._coordinate_cost(inside.sum(axis=0)))

    def _whole_cost(self, n_features: int) -> float:
        """Return the multiply-adds of the Hessian in all scores' coefficients of so many features.

        inf for CSR, as it takes dense columns.
        """
        if self.rows.is_sparse:
            return np.inf
        return self.rows.n * self.link.hessian_cost(self.shape[1], n_features)

    def _coordinate_cost(self, by_score: NDArray) -> float:
        """Return the multiply-adds of products of coefficients, so many (K,) of each score."""
        density = self.rows.n_values / (self.rows.n * max(1, len(self.rows.coordinates.scale)))
        share = min(density, 1.0) if self.rows.is_sparse else 1.0
        within = coordinate_hessian_cost(share * by_score, self.link.exclusive)
        return self.rows.n * within

    def hessian_blocks(self, T: Coef, scores: slice = slice(None)) -> NDArray:
        """Return the Hessian's diagonal blocks of some scores, (scores, width, width)."""
        U = self.rows.block_coefficients(T)
        (H,) = self.rows.sum(LossHessianBlocks(self.link, U, scores))
        H /= self.score_weight[scores, None, None]
        diagonal = np.arange(H.shape[1])
        H[:, diagonal, diagonal] += self._ridge_by_score[scores]
        return H

    def hessian_diagonal(self, T: Coef) -> Coef:
        """Return the diagonal of the Hessian, (width, K), as precise as steps need it."""
        rows = self.rows.for_steps()
        (squares,) = rows.sum(LossHessianDiagonal(self.link, rows.block_coefficients(T)))
        return rows.working_squares(squares) / self.score_weight + self.penalty.ridge

    @cached_property
    def _ridge_by_score(self) -> NDArray:
        """The diagonal of the penalty's Hessian, (K, width)."""
        return np.broadcast_to(self.penalty.ridge, self.shape).T

    def gram(self) -> NDArray[np.float64]:
        """Return sum_i s_i x~_i x~_i' / sum_i s_i, (width, width): one pass, kept with the rows."""

        def make() -> NDArray[np.float64]:
            (gram,) = self.rows.sum(gram_sum)
            return gram.astype(float) / self.rows.totals.weight

        return self.rows.kept(("gram", self.rows.dtype, self.rows.coordinates), make)

    def curvature_gram(self, T: Coef) -> NDArray[np.float64]:
        """Return the sum over the scores of the Hessian's diagonal blocks, (width, width)."""
        (gram,) = self.rows.sum(CurvatureGram(self._curvature_trace(T)))
        return gram.astype(float) + np.diag(self.shape[1] * self.penalty.ridge_by_feature)

    def leverage_kernel(self, T: Coef, root: NDArray) -> RowLeverage:
        """Return the kernel of what each row adds to the Hessian, given a root (width, r)."""
        return RowLeverage(self._curvature_trace(T), root)

    def _curvature_trace(self, T: Coef) -> CurvatureTrace:
        return CurvatureTrace(self.link, self.rows.block_coefficients(T), self.score_weight)

    # ---- The penalty's part of duality gaps -----------------------------------------------------

    def imbalance_gap(self, imbalance: Coef) -> PerProblem:
        """Return the penalty's part of gaps, (B,), given an imbalance (`Certificate`), (width, K).

        inf where that of a coefficient without a penalty is not zero, to rounding: no bound.
        """
        cost = self.penalty.conjugate(imbalance) + self._intercept_cost(imbalance)
        return self.problems.total(cost)

    def intercept_gap(self, imbalance: Coef) -> PerProblem:
        """Return about what a tiny imbalance of the intercepts adds to F - F* at most, (B,)."""
        return self.problems.total(self._intercept_cost(imbalance))

    def _intercept_cost(self, imbalance: Coef) -> PerScore:
        """Return about what a tiny imbalance of the intercepts adds to F - F* at most, (K,).

        Of a class with the share p that is G^2 / (2 p (1 - p)), or, where p is tiny too, G for each
        unit of the intercept, of which log(1 / p) are between it and the others'.
        """
        if not self.rows.coordinates.intercept:
            return np.zeros(self.shape[1])
        G, p = np.abs(imbalance[-1]), self.rows.totals.mean_target
        curvature = np.maximum(p * (1 - p), np.finfo(float).eps)
        return -np.log(curvature) * G * np.minimum(1, G / (2 * curvature))

    def penalised_gap(self, imbalance: Coef) -> PerProblem:
        """Return the same, (B,), of the coefficients that have a penalty."""
        return self.problems.total(self.penalty.conjugate_of_penalised(imbalance))
