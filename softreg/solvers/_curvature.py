"""Running curvature: what mini-batches say of the Hessian, and the steps that it preconditions."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._coordinates import Coordinates
from softreg._objective import Objective

# A score's curvature weighs at least this share of the scores' mean: a class that is rare, or told
# apart nearly always, has hardly any, and steps against it would not end (measured).
FLOOR = 0.02


class Inverse(Protocol):
    """The inverse of a curvature and the penalty."""

    @property
    def freedom(self) -> float:
        """Effective number of features: what the penalty leaves of `width`."""

    def __call__(self, G: NDArray) -> NDArray:
        """Return the natural gradient of a gradient G (width, K)."""

    def moves(self, block: Block, R: NDArray) -> NDArray:
        """Return how far x~ r', taken as a gradient, moves each row's own scores, (K, m)."""


class Curvature(Protocol):
    """The mean Hessian of the rows seen, later ones counting more.

    Of a row's Hessian, score by score, half is as the model expects it, p (1 - p) x~ x~', and half
    as observed, r^2 x~ x~': where p is next to 0 or 1, only residuals tell that a row is fitted
    badly. `own` (K, m) are these two means times the row's weight / S_k.
    """

    def told(self, block: Block, own: NDArray) -> tuple[NDArray, ...]:
        """Return what a block of rows adds to the sums that `of_sums` takes."""

    def of_sums(self, objective: Objective, sums: tuple[NDArray, ...]) -> Self:
        """Return the curvature of a batch."""

    def updated(self, other: Self, share: float) -> Self:
        """Return the mean of both, in which the other one has this share."""

    def carried(self, change: Coordinates) -> Self:
        """Return the curvature in other coordinates, given in terms of these."""

    def factored(self) -> Any:
        """Return the `Kronecker` product that it is nearly."""

    def inverse(self, objective: Objective, seen: float) -> Inverse:
        """Return the inverse; what fewer rows have shown than it has features is taken as one."""


def known(seen: float, width: int) -> float:
    """Return the share of what was seen in what is believed, the rest being the prior."""
    return seen / (seen + width)


def expected(objective: Objective) -> NDArray:
    """Return p (1 - p) / 2 of coefficients zero, (K,)."""
    P = objective.link.probabilities_inplace(np.zeros((objective.shape[1], 1)))
    return 0.5 * objective.link.curvature_diagonal(P)[:, 0]
