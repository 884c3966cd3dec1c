"""Rows: what an objective is a sum over, wherever they are.

Every quantity that a solver needs is ``rows.sum(kernel)``: the sum over row blocks of what a
kernel makes of one `Block`. Where the rows come from, and who adds them, is known to the classes
derived from `Rows` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Coef, Mask, PerScore, Places, Store
from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg._rows.threads import Threads

# A kernel is a value, a module-level function or frozen dataclass, so that it can be sent to the
# process in which the blocks are.
SumKernel = Callable[[Block], tuple]
RowKernel = Callable[[Block], NDArray]
# (importance of some rows (m,), sum of that of all rows) -> their chances to be drawn (m,).
Chance = Callable[[NDArray, float], NDArray]

# Farther than this many deviations from zero, the mean of a column would cost products in single
# precision, which centre within themselves, more than two of seven digits.
_FARTHEST_IN_SINGLE = 100


@dataclass(frozen=True, eq=False)
class Totals:
    """What rows add up to, whatever the coordinates; `+` gives that of both rows together.

    Attributes
    ----------
    n : int, number of rows
    n_values : float, values that a product touches: the size of X, or what its nonzeros cost
    weight : float, sum of the weights
    mean, variance : ndarray (d,), weighted, of the raw columns; zeros where nothing weighs
    score_weight : ndarray (K,), sum over the rows of the weights of each score's losses
    target_sum : ndarray (K,), weighted sum of the targets
    observed : ndarray (2, K) of bool, whether a target above 0, and one below 1, has weight
    offset_sum, largest_offset : ndarray (K,), weighted sum of the offsets, largest absolute one
    """

    n: int
    n_values: float
    weight: float
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    score_weight: PerScore
    target_sum: PerScore
    observed: Mask
    offset_sum: PerScore
    largest_offset: PerScore

    def __add__(self, other: Totals) -> Totals:
        # Moments as Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance",
        # The American Statistician 37, 242-247, equation 2.1: about each part's own mean, so that
        # nothing cancels however far from zero that is.
        weight = self.weight + other.weight
        share = other.weight / weight if weight > 0 else 0.5
        apart = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance
        return Totals(
            n=self.n + other.n,
            n_values=self.n_values + other.n_values,
            weight=weight,
            mean=self.mean + share * apart,
            variance=variance + share * (1 - share) * np.square(apart),
            score_weight=self.score_weight + other.score_weight,
            target_sum=self.target_sum + other.target_sum,
            observed=self.observed | other.observed,
            offset_sum=self.offset_sum + other.offset_sum,
            largest_offset=np.maximum(self.largest_offset, other.largest_offset),
        )

    def take_scores(self, scores: Places) -> Totals:
        """Return what the same rows add up to with the targets of some scores."""
        return replace(
            self,
            score_weight=self.score_weight[scores],
            target_sum=self.target_sum[scores],
            observed=self.observed[:, scores],
            offset_sum=self.offset_sum[scores],
            largest_offset=self.largest_offset[scores],
        )

    @property
    def score_divisor(self) -> PerScore:
        """The weight of each score, (K,); one where nothing is known."""
        return np.where(self.score_weight > 0, self.score_weight, 1.0)

    @property
    def mean_target(self) -> PerScore:
        """Weighted mean of the targets, (K,); a half where none is known."""
        half, known = np.full(len(self.score_weight), 0.5), self.score_weight > 0
        return np.divide(self.target_sum, self.score_weight, out=half, where=known)

    @property
    def mean_offset(self) -> PerScore:
        """Weighted mean of the offsets, (K,)."""
        return self.offset_sum / self.weight

    @property
    def constant_scores(self) -> Mask:
        """Scores whose targets are all 0, all 1 or unknown wherever they have weight, (K,).

        No finite intercept is best for these. Always False under softmax.
        """
        return np.logical_not(self.observed.all(axis=0))


class Rows(ABC):
    """Rows in the user's units; blocks and coefficients meet in working coordinates.

    Attributes
    ----------
    coordinates : Coordinates
    threads : Threads
    dtype : dtype of the blocks and their products
    store : Store, what is kept of X and the weights, whatever the targets
    known_totals : Totals or None, what the rows add up to, if it is known already
    in_memory : bool, whether X is one array in the memory of this process
    keeps_blocks : bool, whether blocks stay from pass to pass, with what `Block.kept` made; else
        only what is small beside a chunk of rows may be held
    is_sparse : bool, whether a pass costs the nonzeros of X rather than its size
    """

    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    store: Store
    known_totals: Totals | None
    in_memory: bool
    keeps_blocks: bool
    is_sparse: bool

    @abstractmethod
    def _totals(self) -> Totals:
        """Return what the rows add up to."""

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def n_values(self) -> float:
        """Values that a product touches: the size of X, or what its nonzeros cost."""

    @property
    @abstractmethod
    def n_scores(self) -> int:
        """Number of scores K."""

    @property
    @abstractmethod
    def blocks_are_raw(self) -> bool:
        """Whether blocks hold x in the user's units, so that coefficients are brought to them."""

    @property
    @abstractmethod
    def value_budget(self) -> float:
        """Values that whatever is kept beside the rows, such as a metric, may take."""

    @abstractmethod
    def sum(self, kernel: SumKernel) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays."""

    @abstractmethod
    def maximum(self, kernel: RowKernel) -> NDArray:
        """Return the elementwise maximum over blocks of what `kernel` returns."""

    @abstractmethod
    def sampled(self, importance: RowKernel, chance: Chance) -> Rows:
        """Return rows drawn at random, their weights divided by their chances to be drawn.

        `chance` gets the importance (m,) of some rows, and the sum of the importance of all.
        """

    @abstractmethod
    def take_scores(self, scores: Places) -> Self:
        """Return the same rows with the targets of some scores, in the same blocks."""

    @abstractmethod
    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Rows]:
        """Yield each row once, in batches of about `size` rows, shuffled or (None) in order.

        Rows that come in chunks are shuffled within each.
        """

    @abstractmethod
    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return the rows but for a fraction, and that fraction, drawn at random.

        Where each row has one class, classes keep their shares.
        """

    @cached_property
    def totals(self) -> Totals:
        """What the rows add up to."""
        return self._totals() if self.known_totals is None else self.known_totals

    def standardised(self) -> Self:
        """Return the same rows in centred, scaled coordinates."""
        totals = self.totals
        coordinates = self.coordinates.standardising(totals.mean, totals.variance, self.dtype)
        return self.replaced(coordinates=coordinates, known_totals=totals)

    def block_coefficients(self, T: Coef) -> Coef:
        """Return the coefficients T (width, K) as the blocks take them."""
        U = self.coordinates.raw_coefficients(T) if self.blocks_are_raw else T
        return U.astype(self.dtype, copy=False)

    def working_gradient(self, G: NDArray) -> Coef:
        """Return what the blocks gathered as a gradient in T, (width, K)."""
        return self.coordinates.pull_back(G) if self.blocks_are_raw else G

    def working_squares(self, G: NDArray) -> Coef:
        """Return the sums of the blocks' weighted squares as sums of c x~^2, (width, K)."""
        return self.coordinates.second_moments(G) if self.blocks_are_raw else G

    @property
    def for_steps(self) -> Self:
        """The same rows in single precision where that pays and is accurate enough for steps.

        Products of CSR take half the time, dense ones hardly less than a standardised copy costs
        (measured).
        """
        return self.in_dtype(np.float32) if self.is_sparse and self.float32_serves else self

    @property
    def float32_serves(self) -> bool:
        """Whether products in single precision are accurate enough for steps.

        Centring within the products of CSR may cost two digits of seven.
        """
        distance = np.abs(self.coordinates.centre)
        near = distance <= _FARTHEST_IN_SINGLE * self.coordinates.scale
        return bool(near.all()) or not self.is_sparse

    def in_dtype(self, dtype: type) -> Self:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else self.replaced(dtype=np.dtype(dtype))

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made of X and the weights under a key before, or make it."""
        return self.store.kept(key, make)

    def replaced(self, **changes: Any) -> Self:
        """Return the same rows with some fields replaced.

        What was kept of X and the weights stays as long as these do, that of scores does not.
        """
        if changes.keys() & {"X", "weight", "source"}:
            changes = {"store": Store()} | changes
        if changes.keys() & {"X", "weight", "source", "Y"}:
            changes = {"known_totals": None} | changes
        if self.keeps_blocks:
            changes = {"score_stores": {}} | changes
        this: Any = self
        return replace(this, **changes)


@dataclass(frozen=True, eq=False)
class SumOverRows:
    """The kernel that adds up what another one returns for each row."""

    kernel: RowKernel

    def __call__(self, block: Block) -> tuple[float]:
        """Return the sum over a block's rows."""
        return (self.kernel(block).sum(dtype=float),)


def slices(n: int, count: int) -> list[slice]:
    """Return so many slices of nearly equal length that make up 0..n."""
    edges = np.linspace(0, n, count + 1).astype(int)
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def add_inplace(total: list, more: Sequence) -> None:
    """Add to the numbers and arrays of a sum those of another."""
    for i, value in enumerate(more):
        total[i] += value
