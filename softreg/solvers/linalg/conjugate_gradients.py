"""Products with the Hessian at one point, and conjugate gradients for many problems at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from softreg._model.block_kernels import CurvatureProduct, InterceptHessian
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, PerProblem, Places
from softreg.solvers.linalg.factors import FLAT
from softreg.solvers.linalg.metrics import Metric

# Problems whose systems are solved leave the products once they are this share of those in them:
# leaving costs a copy of what is kept of the others.
_SHARE_TO_LEAVE = 0.25
# A longer step belongs to saturated rows, whose curvature does not say where they stop being
# saturated: it is replaced by zero.
_LONGEST_STEP = 1e30
# The squares of steps against a stronger penalty may overflow in single precision.
_STRONGEST_IN_SINGLE = 2.0**60
# (objective of the problems still in the products, their places among all, their residuals
# (width, K), the residuals' norms in the metric over those of the gradients, (B,)) -> whether each
# system is solved well enough, (B,).
Enough = Callable[[Objective, Places, Coef, PerProblem], Mask]


@dataclass(frozen=True, eq=False)
class HessianProduct:
    """The product D -> H(T) D of coefficients (width, K): one pass over the data each.

    Attributes
    ----------
    objective : Objective
    T : ndarray (width, K)
    confined_to : ndarray (width, 1 or K) of bool or None: where it is False, the product is zero
    point_key : hashable, the key under which blocks keep the probabilities at T until `forget`
    """

    objective: Objective
    T: Coef
    confined_to: Mask | None = None
    point_key: Hashable = field(default_factory=uuid4)

    def __call__(self, D: Coef) -> Coef:
        """Return H(T) D, (width, K)."""
        objective, rows = self.objective, self.objective.rows
        V = rows.block_coefficients(D)
        (gathered,) = rows.sum(CurvatureProduct(objective.link, self._U, V, self.point_key))
        image = rows.working_gradient(gathered)
        image /= objective.score_weight.astype(image.dtype)
        if objective.has_ridge:
            image += objective.penalty.ridge.astype(D.dtype) * D
        return image if self.confined_to is None else image * self.confined_to

    @cached_property
    def _U(self) -> Coef:
        """T as blocks take it, (width, K)."""
        return self.objective.rows.block_coefficients(self.T)

    def for_steps(self) -> HessianProduct:
        """Return the product in single precision where that takes half the time, else itself."""
        rows = self.objective.rows.for_steps()
        too_strong = self.objective.penalty.ridge.max() > _STRONGEST_IN_SINGLE
        if too_strong or rows.dtype == self.objective.rows.dtype:
            return self
        return replace(self, objective=replace(self.objective, rows=rows))

    def take_problems(self, problems: Places) -> HessianProduct:
        """Return the product of some of the problems, in ascending order."""
        objective = self.objective
        if len(problems) == objective.problems.count:
            return self
        confined_to, scores = self.confined_to, objective.problems.scores(problems)
        if confined_to is not None:
            confined_to = np.broadcast_to(confined_to, self.T.shape)[:, scores]
        T = objective.problems.columns(self.T, problems)
        return HessianProduct(objective.take_problems(problems), T, confined_to, self.point_key)

    def forget(self) -> None:
        """Let go of the probabilities: rows live as long as a fit or a path, products do not."""
        self.objective.rows.forget_scores()

    def balancing_step(self, residual: Coef) -> Coef:
        """Return the step (width, K) in the intercepts alone that makes their `residual` zero.

        A residual of penalised coefficients adds a little to the certificate's gap, one of the
        intercepts makes it infinite. At most one pass, which spares many products.
        """
        objective, step = self.objective, np.zeros_like(self.T)
        if objective.rows.coordinates.intercept:
            link, U = objective.link, objective.rows.block_coefficients(self.T)
            (H,) = objective.rows.sum(InterceptHessian(link, U, self.point_key))
            H = H / objective.problem_weight[:, None, None]
            H[np.abs(H) < FLAT] = 0  # of saturated rows, which no step brings into balance
            right = link.centred(residual[-1]).reshape(len(H), -1, 1)
            inverse = np.linalg.pinv(H, rcond=right.size * np.finfo(float).eps, hermitian=True)
            step[-1] = link.centred((inverse @ right).ravel())
        return step


@np.errstate(over="ignore", invalid="ignore")
def conjugate_gradients(
    product: HessianProduct, gradient: Coef, metric: Metric, enough: Enough, most: int
) -> tuple[Coef, Coef, int]:
    """Return D with H D = -gradient - residual, the residual, and the number of products.

    The systems of different problems share nothing but the passes over the data: step lengths
    differ, and a system that is solved well enough is not changed any more. After `most` products
    D is a descent direction all the same (Golub and Van Loan 2013, algorithm 11.5.1). All arrays
    have the precision of the products.
    """
    all_problems = product.objective.problems
    problems = np.arange(all_problems.count)
    residual = all_residuals = -gradient.astype(product.objective.rows.dtype, copy=False)
    D = all_D = np.zeros_like(residual)
    direction = metric.preconditioned(residual)
    first = square = all_problems.inner(residual, direction)
    unsolved = square > 0
    for products in range(most + 1):
        objective = product.objective
        # 1. Stop where the residual is small enough.
        ratio = np.sqrt(np.maximum(square, 0) / np.where(first > 0, first, 1))
        unsolved = unsolved & (square > 0) & ~enough(objective, problems, residual, ratio)
        if products == most or not unsolved.any():
            break
        # 2. Leave solved systems behind, if they are many.
        if unsolved.mean() <= 1 - _SHARE_TO_LEAVE:
            scores = all_problems.scores(problems)
            all_D[:, scores], all_residuals[:, scores] = D, residual
            left = unsolved.nonzero()[0]
            arrays, problems = (D, residual, direction), problems[left]
            D, residual, direction = (objective.problems.columns(A, left) for A in arrays)
            square, first, unsolved = square[left], first[left], unsolved[left]
            metric, product = metric.take_problems(objective, left), product.take_problems(left)
            objective = product.objective
        # 3. Step along the direction, as far as the quadratic model falls.
        image = product(direction)
        curvature = objective.problems.inner(direction, image)
        unsolved = unsolved & (curvature > 0)
        length = _quotient(square, curvature, unsolved)
        D += objective.problems.scaled_inplace(direction.copy(), length)
        residual -= objective.problems.scaled_inplace(image, length)
        # 4. The next direction is conjugate to those before.
        preconditioned = metric.preconditioned(residual)
        previous, square = square, objective.problems.inner(residual, preconditioned)
        objective.problems.scaled_inplace(direction, _quotient(square, previous, unsolved))
        direction += preconditioned
    # 5. What is left joins the solved systems; steps that overflowed are none.
    scores = all_problems.scores(problems)
    all_D[:, scores], all_residuals[:, scores] = D, residual
    too_long = ~(np.abs(all_D).max(axis=0) <= _LONGEST_STEP)  # also NaN
    all_D[:, too_long], all_residuals[:, too_long] = 0.0, -gradient[:, too_long]
    return all_D, all_residuals, products


def _quotient(a: NDArray, b: NDArray, where: Mask) -> NDArray:
    """Return a / b where `where` is True, else zero."""
    return np.divide(a, b, out=np.zeros_like(a), where=where)
