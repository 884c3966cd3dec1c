"""Products with the Hessian at one point, which share the probabilities there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from uuid import uuid4

import numpy as np

from softreg._model.block_kernels import CurvatureProduct, InterceptHessian
from softreg._model.objective import Objective
from softreg._rows.arrays import Coef, Mask, Places
from softreg.solvers.linalg.factors import FLAT


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
        U, V = rows.block_coefficients(self.T), rows.block_coefficients(D)
        (gathered,) = rows.sum(CurvatureProduct(objective.link, U, V, self.point_key))
        image = rows.working_gradient(gathered) / objective.score_weight
        image += objective.penalty.ridge * D
        return image if self.confined_to is None else image * self.confined_to

    def for_steps(self) -> HessianProduct:
        """Return the product in single precision where that takes half the time, else itself."""
        rows = self.objective.rows.for_steps()
        if rows.dtype == self.objective.rows.dtype:
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
