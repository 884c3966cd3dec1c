"""Running curvature class by class: the Hessian's diagonal blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from softreg._blocks import Block
from softreg._coordinates import Coordinates
from softreg._links import Link, weighted_grams
from softreg._objective import Objective
from softreg.solvers._curvature import FLOOR, expected, known
from softreg.solvers._factors import cholesky
from softreg.solvers._kronecker import Kronecker

# Rows that count less than this beside a class's mean are left out of its block.
_SLIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class ClassBlocks:
    """The second moments of the features as each score weighs the rows.

    Attributes
    ----------
    blocks : ndarray (K, width, width)
    """

    blocks: NDArray[np.float64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """The mean of each block's diagonal, (K,)."""
        return np.trace(self.blocks, axis1=1, axis2=2) / self.blocks.shape[1]

    @classmethod
    def unknown(cls, objective: Objective) -> ClassBlocks:
        """Return that of coefficients zero, on features that do not go together."""
        return cls(expected(objective)[:, None, None] * np.eye(objective.shape[0]))

    def told(self, block: Block, own: NDArray) -> tuple[NDArray]:
        X, blocks = block.dense(), np.zeros(self.blocks.shape)
        for sums, weight in zip(blocks, own, strict=True):
            rows = np.flatnonzero(weight > _SLIGHT * weight.mean())
            sums += weighted_grams(X[rows], weight[None, rows])[0]
        return (blocks,)

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> ClassBlocks:
        return ClassBlocks(sums[0])

    def updated(self, other: ClassBlocks, share: float) -> ClassBlocks:
        return ClassBlocks(self.blocks + share * (other.blocks - self.blocks))

    def carried(self, change: Coordinates) -> ClassBlocks:
        L = change.matrix()
        return ClassBlocks(L @ self.blocks @ L.T)

    def factored(self) -> Kronecker:
        return Kronecker(self.blocks.sum(axis=0), self.scores)

    def inverse(self, objective: Objective, seen: float) -> ClassInverse:
        width = objective.shape[0]
        each, share = self.scores, known(seen, width)
        floor = FLOOR * each.mean()
        together = floor * self.blocks.sum(axis=0) / max(each.sum(), np.finfo(float).tiny)
        l2 = np.broadcast_to(objective.penalty.l2, objective.shape).T
        H = share * (self.blocks + together)
        diagonal = np.einsum("kjj->kj", H)
        diagonal += (1 - share) * (each + floor)[:, None] + l2
        roots = np.stack([np.tril(linalg.lapack.dtrtri(cholesky(own), lower=1)[0]) for own in H])
        penalised = (l2[:, None, :] * np.square(roots)).sum(axis=(1, 2))
        return ClassInverse(roots, float(width - penalised.mean()), objective.link)


@dataclass(frozen=True, eq=False)
class ClassInverse:
    """Each score's own inverse, between projections on what changes probabilities.

    Attributes
    ----------
    roots : ndarray (K, width, width), L^-1 for blocks + penalty = L L'
    freedom : float
    link : Link, which centres
    """

    roots: NDArray[np.float64]
    freedom: float
    link: Link

    def __call__(self, G: NDArray) -> NDArray:
        own = self.link.centred(G).T[:, :, None]
        own = self.roots.transpose(0, 2, 1) @ (self.roots @ own)
        return self.link.centred(own[:, :, 0].T)

    def moves(self, block: Block, R: NDArray) -> NDArray:
        X = block.dense().T
        return R * np.stack([np.square(root @ X).sum(axis=0) for root in self.roots])
