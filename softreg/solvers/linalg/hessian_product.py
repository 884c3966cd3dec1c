"""Products with a Hessian, which share the probabilities that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.blocks import Block
from softreg.solvers.linalg.factors import FLAT

# Products with one Hessian share its probabilities, a third of their cost, as long as these take
# no more than 64 MB.
_KEPT_PROBABILITIES = 2**23


@dataclass(frozen=True, eq=False)
class HessianProduct:
    """The product D -> H(T) D of coefficients (width, K): one pass over the data each.

    Attributes
    ----------
    objective : Objective
    T : ndarray (width, K)
    confined_to : ndarray (width, 1 or K) of bool, elsewhere the product is zero; None: everywhere
    kept : dict, the probabilities of a block by its first row
    """

    objective: Objective
    T: NDArray
    confined_to: NDArray[np.bool_] | None = None
    kept: dict[int, NDArray] = field(default_factory=dict)

    def __call__(self, D: NDArray) -> NDArray:
        rows, link = self.objective.rows, self.objective.link
        U, V = rows.block_coefficients(self.T), rows.block_coefficients(D)

        def kernel(block: Block) -> tuple[NDArray]:
            A = link.curvature_product(self._probabilities(block, U), block.linear_scores(V))
            return (block.gather(block.weighted(A)),)

        image = self.objective.gradient(rows.sum(kernel)[0], D)
        return image if self.confined_to is None else image * self.confined_to

    def for_steps(self) -> HessianProduct:
        """Return the product in single precision where that takes half the time, else itself."""
        rows = self.objective.rows.for_steps
        if rows.dtype == self.objective.rows.dtype:
            return self
        return replace(self, objective=replace(self.objective, rows=rows), kept={})

    def take_problems(self, problems: NDArray) -> HessianProduct:
        """Return the product of some of the problems, in ascending order."""
        if len(problems) == self.objective.problems:
            return self
        objective, own = self.objective, self.objective.scores(problems)
        kept = {start: P[own] for start, P in self.kept.items()}
        on = self.confined_to
        on = None if on is None else np.broadcast_to(on, self.T.shape)[:, own]
        T = objective.columns(self.T, problems)
        return HessianProduct(objective.take_problems(problems), T, on, kept)

    def balancing_step(self, residual: NDArray) -> NDArray:
        """Return the step (width, K) in the intercepts alone that takes `residual` off them.

        Penalised coefficients may be a little out of balance at little cost to the certificate, the
        intercepts not at all. At most one pass, which spares many products.
        """
        objective, step = self.objective, np.zeros_like(self.T)
        if objective.rows.coordinates.intercept:
            link, U = objective.link, objective.rows.block_coefficients(self.T)

            def kernel(block: Block) -> tuple[NDArray]:
                P = self._probabilities(block, U)
                ones = np.ones((P.shape[1], 1))
                return (link.hessian(P, ones, block.weights()),)

            H = objective.rows.sum(kernel)[0] / objective.problem_weight[:, None, None]
            H[np.abs(H) < FLAT] = 0  # of saturated rows: they have no balance to restore
            right = link.centred(residual[-1]).reshape(len(H), -1, 1)
            inverse = np.linalg.pinv(H, rcond=right.size * np.finfo(float).eps, hermitian=True)
            step[-1] = link.centred((inverse @ right).ravel())
        return step

    def _probabilities(self, block: Block, U: NDArray) -> NDArray:
        P = self.kept.get(block.start)
        if P is None:
            P = self.objective.link.probabilities_inplace(block.scores(U))
            rows = self.objective.rows
            if rows.in_memory and rows.n * len(P) <= _KEPT_PROBABILITIES:
                self.kept[block.start] = P
        return P
