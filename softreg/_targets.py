"""Targets: the y of a block of rows, as a link asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Targets(Protocol):
    """The y of n rows over K scores, without an n x K matrix where labels will do."""

    def __getitem__(self, rows: slice | NDArray) -> Targets:
        """Return the targets of some rows."""

    def inner(self, Z: NDArray) -> NDArray:
        """Return <y_i, z_i> for each row, (m,); Z (K, m) is C-contiguous."""

    def subtract_from_inplace(self, P: NDArray) -> None:
        """Turn P (K, m), C-contiguous, into P - Y."""

    def weighted_sum(self, weight: NDArray) -> NDArray:
        """Return sum_i w_i y_i, (K,)."""


@dataclass(frozen=True)
class Labels:
    """One class a row, smoothed: y = (1 - a) onehot(codes) + a / K."""

    codes: NDArray[np.intp]
    n_classes: int
    smoothing: float = 0.0

    def __getitem__(self, rows: slice | NDArray) -> Labels:
        return Labels(self.codes[rows], self.n_classes, self.smoothing)

    def inner(self, Z: NDArray) -> NDArray:
        own = Z.reshape(-1).take(self._places())
        if self.smoothing:
            own = (1 - self.smoothing) * own + self.smoothing * Z.mean(axis=0)
        return own

    def subtract_from_inplace(self, P: NDArray) -> None:
        P.reshape(-1)[self._places()] -= 1 - self.smoothing
        if self.smoothing:
            P -= self.smoothing / self.n_classes

    def weighted_sum(self, weight: NDArray) -> NDArray:
        counts = np.bincount(self.codes, weights=weight, minlength=self.n_classes)
        return (1 - self.smoothing) * counts + self.smoothing * counts.sum() / self.n_classes

    def _places(self) -> NDArray[np.intp]:
        """Return where each row's class stands in a contiguous (K, m) matrix, flattened."""
        return self.codes * len(self.codes) + np.arange(len(self.codes))


@dataclass(frozen=True)
class Shares:
    """A target between 0 and 1 for every row and score, Y (n, K)."""

    Y: NDArray[np.floating]

    def __getitem__(self, rows: slice | NDArray) -> Shares:
        return Shares(self.Y[rows])

    def inner(self, Z: NDArray) -> NDArray:
        return np.einsum("mk,km->m", self.Y, Z)

    def subtract_from_inplace(self, P: NDArray) -> None:
        P -= self.Y.T

    def weighted_sum(self, weight: NDArray) -> NDArray:
        return weight @ self.Y
