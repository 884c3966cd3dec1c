"""Covariances of an optimum's coefficients: the information of the rows, inverted.

With the loss sum_i s_i loss_i of all rows and the penalty of S F, H the Hessian of both at the
optimum and g_i the gradient of row i's loss, the covariance of the coefficients is

    H^-1                                      if the model holds (of a posterior, with a penalty);
    H^-1 (sum_i s_i^power g_i g_i') H^-1      whatever the rows' distribution (White 1982,
                                              "Maximum likelihood estimation of misspecified
                                              models", Econometrica 50, 1-25);
    H^-1 (sum_g G_g G_g') H^-1                if rows of a group g depend on each other, with
                                              G_g = sum_(i in g) s_i g_i.

All are those of working coordinates T, problem by problem, (B, p, p), score after score;
`Objective.covariance` brings them to the user's units. Directions that move no probability, and
coefficients that others replace, have arbitrary ones: what depends on them is not identified.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._model.block_kernels import GradientProducts, GroupGradients, GroupRows
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, PerProblem, covariance_of_image

# In standard errors; a default fit ends about a thousandth of one from the optimum, which two steps
# take off.
_NEGLIGIBLE_MOVE, _MOST_STEPS = 1e-9, 5
# Where combinations of columns of length one have squares of less, the inverse information of these
# would lose more than four digits.
_COLLINEAR = 1e-4


@dataclass(frozen=True, eq=False)
class Information:
    """The inverse information at an optimum, of coefficients V, where T = basis V.

    Where columns are all but collinear, the information of T loses its digits by cancelling. Of V,
    whose columns X~ basis are about orthonormal, it keeps all that the columns have.

    Attributes
    ----------
    inverse_in_basis : ndarray (B, p, p)
    basis : ndarray (width, width), or None: V is T
    """

    inverse_in_basis: NDArray[np.float64]
    basis: Coef | None

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """The inverse information of T, (B, p, p)."""
        return self._in_working(self.inverse_in_basis)

    def sandwich(self, products: NDArray) -> NDArray[np.float64]:
        """Return the covariances of T, (B, p, p), given sums of products of gradients in V."""
        return self._in_working(self.inverse_in_basis @ products @ self.inverse_in_basis)

    def step(self, G: Coef) -> Coef:
        """Return the inverse times gradients G (width, K)."""
        in_basis = G if self.basis is None else self.basis.T @ G
        by_problem = in_basis.T.reshape(len(self.inverse_in_basis), -1)
        solution = np.einsum("bpq,bq->bp", self.inverse_in_basis, by_problem)
        V = solution.reshape(-1, len(G)).T
        return V if self.basis is None else self.basis @ V

    def _in_working(self, V: NDArray) -> NDArray[np.float64]:
        return V if self.basis is None else covariance_of_image(V, self.basis)


def newton_optimum(objective: Objective, T: Coef) -> tuple[Coef, Information]:
    """Return the optimum near T (width, K), and the information there.

    By Newton's steps, until one moves all coefficients together by less than a billionth of their
    standard errors, whether weights or rows count. The information is S H in the user's weights,
    with the Hessian H of F. ValueError if it is singular to rounding.
    """
    basis, weight = _basis(objective), user_weight(objective)
    count = np.maximum(weight, objective.rows.totals.n)
    for _ in range(_MOST_STEPS):
        inverse = np.array([_inverse(H) for H in _hessians(objective, T, basis)])
        gradient = objective.value_and_gradient(T)[1]
        step = Information(inverse, basis).step(gradient)
        if (objective.problems.inner(step, gradient) * count <= _NEGLIGIBLE_MOVE**2).all():
            break
        T = objective.centred(T - step)
    return T, Information(inverse / weight[:, None, None], basis)


def _basis(objective: Objective) -> Coef | None:
    """Return the basis (width, width) in which columns are about orthonormal, or None.

    None where they are not far from it as they are.
    """
    A = objective.gram() + np.diag(objective.penalty.ridge_by_feature)
    unit = 1 / np.sqrt(np.where(A.diagonal() > 0, A.diagonal(), 1.0))
    scaled = A * unit[:, None] * unit
    np.fill_diagonal(scaled, 1.0)
    eigenvalues, Q = linalg.eigh(scaled)
    if eigenvalues[0] >= _COLLINEAR:
        return None
    return unit[:, None] * Q / np.sqrt(np.maximum(eigenvalues, np.finfo(float).eps))


def _hessians(objective: Objective, T: Coef, basis: Coef | None) -> NDArray[np.float64]:
    """Return the Hessians of F, (B, p, p), with a curvature of one in classes without rows.

    These have none, and combinations of the others do not depend on it.
    """
    H = objective.hessian(T, basis)
    diagonals = np.einsum("bjj->bj", H)  # a view
    diagonals += np.repeat(objective.unseen_scores, len(T)).reshape(len(H), -1)
    return H


def row_sandwich(
    objective: Objective, T: Coef, information: Information, power: int
) -> NDArray[np.float64]:
    """Return the covariances of independent rows whatever their distribution, (B, p, p).

    For `power` see `GradientProducts`.
    """
    U = objective.rows.block_coefficients(T)
    kernel = GradientProducts(objective.link, U, power, basis=information.basis)
    (products,) = objective.rows.sum(kernel)
    return information.sandwich(products * objective.rows.totals.weight_unit**power)


def group_sandwich(
    objective: Objective, T: Coef, information: Information, groups: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the covariances of rows that depend on each other within groups, (B, p, p).

    `groups` (n,) are numbers from 0; all rows have weight.
    """
    rows, count = objective.rows, int(groups.max()) + 1
    U, basis = rows.block_coefficients(T), information.basis
    (gradients,) = rows.sum(GroupGradients(objective.link, U, groups, count, basis=basis))
    products = gradients @ gradients.transpose(0, 2, 1) * rows.totals.weight_unit**2
    return information.sandwich(products)


def rows_by_group(objective: Objective, groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many rows of each group have weight in each problem, (B, n_groups)."""
    kernel = GroupRows(groups, int(groups.max()) + 1)
    (counts,) = objective.rows.sum(kernel)
    return np.broadcast_to(counts, (objective.problems.count, counts.shape[1]))


def effective_parameters(objective: Objective, inverse: NDArray) -> PerProblem:
    """Return trace(H^-1 H_loss), (B,): the number of parameters, or what a penalty leaves of it.

    `inverse` is that of the information, (B, p, p). Coefficients of constant columns do not count,
    nor those that others replace, nor those without a penalty of a class that has no rows.
    """
    (width, K), B = objective.shape, objective.problems.count
    q, exclusive = K // B, objective.link.exclusive
    ridge = np.broadcast_to(objective.penalty.ridge, (width, K))[:, ::q] * user_weight(objective)
    # 1. What the penalty takes: trace(H^-1 ridge), but along moves of all classes alike.
    by_feature = np.einsum("bkjlj->bjkl", inverse.reshape(B, q, width, q, width))
    traces = np.einsum("bjkk->bj", by_feature)
    if exclusive:
        traces = traces - by_feature.mean(axis=3).sum(axis=2)
    taken = np.einsum("bj,jb->b", traces, ridge)
    # 2. All that could count, and what no row bears on.
    scale = objective.rows.coordinates.scale
    varies = np.concatenate([np.isfinite(scale), np.ones(width - len(scale), dtype=bool)])
    free = np.count_nonzero(varies[:, None] & (ridge == 0), axis=0)
    unseen = objective.problems.total(objective.unseen_scores.astype(float))
    return (q - exclusive) * np.count_nonzero(varies) - taken - unseen * free


def user_weight(objective: Objective) -> PerProblem:
    """Return S of each problem in the user's weights, (B,)."""
    return objective.problem_weight * objective.rows.totals.weight_unit


def _inverse(H: NDArray) -> NDArray[np.float64]:
    """Return the inverse of a Hessian (p, p), whose zero rows are those of constant columns."""
    diagonal = H.diagonal()
    unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = H * unit[:, None] * unit
    np.fill_diagonal(scaled, 1.0)
    try:
        inverse = linalg.cho_solve(linalg.cho_factor(scaled), np.eye(len(H)))
    except linalg.LinAlgError:
        raise ValueError(
            "The information of the rows is singular to rounding: the classes are all but "
            "separated, or columns all but collinear. See inference.separation, fit with a finite "
            "C, or leave columns out."
        ) from None
    return inverse * unit[:, None] * unit
