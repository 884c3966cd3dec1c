"""Rows: sums over them, block by block.

Every quantity that a solver needs is ``rows.sum(kernel)``: the sum over row blocks of what a
kernel makes of one `Block`. Who adds them is known here alone; where they come from, by the classes
derived from `Rows`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._blocks import Block
from softreg._coordinates import Coordinates
from softreg._targets import Targets
from softreg._threads import Threads

# A block of 2^18 values (2 MB of doubles) stays near a core for both products of a pass; smaller
# ones lose to the Python around them, larger ones to memory (measured from 2^14 to 2^20).
_BLOCK_VALUES = 2**18
# Blocks of fewer rows (of `width` values each) spend more on their sums, (width, K), than they
# save (measured on text).
_BLOCK_ROWS = 512
# Below this much work in a pass the threads' meeting takes longer than they save (measured).
_WORTH_A_THREAD = 400_000
# Farther than this many deviations from zero, the mean of a column would cost products in single
# precision, which centre within themselves, more than two of seven digits.
_FARTHEST_IN_SINGLE = 100

# What rows know of themselves, whichever their scores: blocks stay, and with them their copies.
_OF_ANY_SCORES = {"weights", "total_weight", "cuts", "_shares", "_are_raw", "_copies"}

# Targets, weights and offsets of some rows.
Belongings = tuple[Targets, NDArray | None, NDArray | None]


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """Rows in memory, in the user's units; blocks and coefficients meet in working coordinates.

    Attributes
    ----------
    X : array of shape (n, d)
    Y : Targets
    weight : ndarray of shape (n,) or None, >= 0
    offset : ndarray of shape (n, K) or None
    coordinates : Coordinates
    threads : Threads
    dtype : dtype of the blocks and their products
    """

    X: Any
    Y: Targets
    weight: NDArray | None
    offset: NDArray | None
    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype

    @abstractmethod
    def moments(self) -> tuple[NDArray, NDArray]:
        """Return the weighted mean and variance of each raw column, (d,) each."""

    @property
    @abstractmethod
    def values(self) -> int:
        """Values that a product touches: the size of X, or what its nonzeros cost."""

    @property
    @abstractmethod
    def held(self) -> float:
        """Values that are held in memory, counting an index as half of one."""

    @property
    @abstractmethod
    def is_sparse(self) -> bool:
        """Whether a pass costs the nonzeros of X rather than its size."""

    @property
    @abstractmethod
    def _is_kept(self) -> bool:
        """Whether what blocks hold is small enough to be kept from pass to pass."""

    @property
    @abstractmethod
    def _are_raw(self) -> bool:
        """Whether blocks hold x in the user's units, so that coefficients are brought to them."""

    @abstractmethod
    def _block(self, cut: slice, belongings: Belongings) -> Block:
        """Return the block of a cut, given its targets, weights and offsets."""

    def standardised(self) -> Rows:
        """Return the same rows in centred, scaled coordinates."""
        own = self.coordinates.standardising(*self.moments(), self.X.dtype)
        return replace(self, coordinates=own)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @cached_property
    def weights(self) -> NDArray:
        """The weights (n,), ones where none were given."""
        return np.ones(self.n) if self.weight is None else self.weight

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @cached_property
    def mean_target(self) -> NDArray:
        """Weighted mean of the targets, (K,); a half where none is known."""
        total = self.score_weight
        mean = np.full(len(total), 0.5)
        return np.divide(self.Y.weighted_sum(self.weights), total, out=mean, where=total > 0)

    @cached_property
    def score_weight(self) -> NDArray:
        """Sum over the rows of each score's weights, (K,)."""
        return self.Y.total_weight(self.weights)

    @cached_property
    def cuts(self) -> list[slice]:
        """Slices of rows, one a block; equally many for each thread."""
        # A block works on its values of X and three (K, m) matrices; its sums are (width, K).
        scores = 3 * self.n * self.Y.n_scores
        if self.values + scores <= _WORTH_A_THREAD:
            return [slice(0, self.n)]
        worth_their_sums = (self.values + 3 * self.n) / (_BLOCK_ROWS * self.coordinates.width)
        count = max(1, round(min((self.held + scores) / _BLOCK_VALUES, worth_their_sums)))
        count = -(-count // self.threads.count) * self.threads.count
        edges = np.linspace(0, self.n, min(count, self.n) + 1).astype(int)
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    @cached_property
    def _shares(self) -> list[list[slice]]:
        """The cuts of each thread."""
        threads = min(len(self.cuts), self.threads.count)
        edges = np.linspace(0, len(self.cuts), threads + 1).astype(int)
        return [self.cuts[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def inward(self, T: NDArray) -> NDArray:
        """Return the coefficients T (width, K) as the blocks take them."""
        U = self.coordinates.raw_coefficients(T) if self._are_raw else T
        return U.astype(self.dtype, copy=False)

    def outward(self, G: NDArray) -> NDArray:
        """Return what the blocks gathered as a gradient in T, (width, K)."""
        return self.coordinates.pull_back(G) if self._are_raw else G

    def outward_squares(self, G: NDArray) -> NDArray:
        """Return what the blocks' squares came to as sums of c x~^2, (width, K)."""
        return self.coordinates.second_moments(G) if self._are_raw else G

    def block(self, cut: slice) -> Block:
        """Return the rows of a cut."""
        block = self._blocks.get(cut.start)
        if block is None:
            weight = None if self.weight is None else self.weight[cut]
            offset = None if self.offset is None else self.offset[cut]
            block = self._block(cut, (self.Y[cut], weight, offset))
        if self._is_kept:
            self._blocks[cut.start] = block
        return block

    @cached_property
    def _blocks(self) -> dict[int, Block]:
        return {}

    def _kept(self, cut: slice, make: Callable[[], Any]) -> Any:
        """Return a block's X, from an earlier pass if it was kept; `make` makes it."""
        X = self._copies.get(cut.start)
        if X is None:
            X = make()
        if self._is_kept:
            self._copies[cut.start] = X
        return X

    @cached_property
    def _copies(self) -> dict[int, Any]:
        return {}

    def sum(self, kernel: Callable[[Block], tuple]) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays."""

        def add_share(share: list[slice]) -> list:
            total = list(kernel(self.block(share[0])))
            for cut in share[1:]:
                _add_inplace(total, kernel(self.block(cut)))
            return total

        total, *others = self.threads.map(add_share, self._shares)
        for other in others:
            _add_inplace(total, other)
        return tuple(total)

    def each(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        """Return what `kernel` makes of each row, (n,)."""
        return np.concatenate(self.threads.map(lambda cut: kernel(self.block(cut)), self.cuts))

    def of_scores(self, scores: NDArray) -> Rows:
        """Return the same rows with some of the scores' targets, in the same blocks."""
        offset = None if self.offset is None else self.offset[:, scores]
        part = replace(self, Y=self.Y.of_scores(scores), offset=offset)
        known = {name: value for name, value in vars(self).items() if name in _OF_ANY_SCORES}
        vars(part).update(known)
        single = vars(self).get("in_single", self)
        if single is not self:
            vars(part)["in_single"] = single.of_scores(scores)
        return part

    def sample(self, rows: NDArray, weight: NDArray) -> Rows:
        """Return some of the rows, each standing for `weight` times its own weight."""
        own = weight * self.weights[rows]
        offset = None if self.offset is None else self.offset[rows]
        return replace(self, X=self.X[rows], Y=self.Y[rows], weight=own, offset=offset)

    @cached_property
    def in_single(self) -> Rows:
        """The same rows in single precision where that pays and is accurate enough for steps.

        Products of CSR take half the time, dense ones hardly less than a standardised copy costs
        (measured). Centring within the products may cost two digits of seven.
        """
        own = self.coordinates
        near = bool((np.abs(own.centre) <= _FARTHEST_IN_SINGLE * own.scale).all())
        return self.in_dtype(np.float32) if self.is_sparse and near else self

    def in_dtype(self, dtype: type) -> Rows:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else replace(self, dtype=np.dtype(dtype))


def _add_inplace(total: list, more: Sequence) -> None:
    for i, value in enumerate(more):
        total[i] += value
