"""Rows: what an objective is a sum over, wherever they are.

Every quantity that a solver needs is ``rows.sum(kernel)``: the sum over row blocks of what a
kernel makes of one `Block`. Where the rows come from, and who adds them, is known to the classes
derived from `Rows` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softreg._rows.blocks import Block
from softreg._rows.coordinates import Coordinates
from softreg._rows.threads import Threads

# Farther than this many deviations from zero, the mean of a column would cost products in single
# precision, which centre within themselves, more than two of seven digits.
_FARTHEST_IN_SINGLE = 100


@dataclass(frozen=True, eq=False)
class Totals:
    """What rows add up to, whatever the coordinates; `+` is that of both rows.

    Attributes
    ----------
    n : int, number of rows
    values : float, values that a product touches: the size of X, or what its nonzeros cost
    weight : float, sum of the weights
    mean, variance : ndarray (d,), weighted, of the raw columns
    score_weight : ndarray (K,), sum over the rows of each score's weights
    target_sum : ndarray (K,), weighted sum of the targets
    observed : ndarray (2, K) of bool, whether targets above 0 and below 1 count anywhere
    """

    n: int
    values: float
    weight: float
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    score_weight: NDArray[np.float64]
    target_sum: NDArray[np.float64]
    observed: NDArray[np.bool_]

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
            values=self.values + other.values,
            weight=weight,
            mean=self.mean + share * apart,
            variance=variance + share * (1 - share) * np.square(apart),
            score_weight=self.score_weight + other.score_weight,
            target_sum=self.target_sum + other.target_sum,
            observed=self.observed | other.observed,
        )

    def take_scores(self, scores: NDArray) -> Totals:
        """Return what the same rows add up to with some of the scores' targets."""
        own = {"score_weight": self.score_weight[scores], "target_sum": self.target_sum[scores]}
        return replace(self, observed=self.observed[:, scores], **own)


class Rows(ABC):
    """Rows in the user's units; blocks and coefficients meet in working coordinates.

    Attributes
    ----------
    coordinates : Coordinates
    threads : Threads
    dtype : dtype of the blocks and their products
    in_memory : bool, whether blocks are the same objects in each pass, so that what was made of
        them may be kept; else only what is small beside a chunk of rows may be held
    is_sparse : bool, whether a pass costs the nonzeros of X rather than its size
    """

    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    in_memory: bool
    is_sparse: bool

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def values(self) -> float:
        """Values that a product touches: the size of X, or what its nonzeros cost."""

    @property
    @abstractmethod
    def n_scores(self) -> int:
        """Number of scores K."""

    @property
    @abstractmethod
    def total_weight(self) -> float:
        """Sum of the weights."""

    @property
    @abstractmethod
    def score_weight(self) -> NDArray:
        """Sum over the rows of each score's weights, (K,)."""

    @property
    @abstractmethod
    def target_sum(self) -> NDArray:
        """Weighted sum of the targets, (K,)."""

    @property
    @abstractmethod
    def observed(self) -> NDArray[np.bool_]:
        """Whether targets above 0 and targets below 1 count anywhere, (2, K)."""

    @property
    @abstractmethod
    def mean_offset(self) -> NDArray | float:
        """Weighted mean of the offsets, (K,) or 0."""

    @property
    @abstractmethod
    def farthest_offset(self) -> NDArray | float:
        """The offset that is farthest from zero, its absolute value, (K,) or 0."""

    @abstractmethod
    def moments(self) -> tuple[NDArray, NDArray]:
        """Return the weighted mean and variance of each raw column, (d,) each."""

    @abstractmethod
    def standardised(self) -> Self:
        """Return the same rows in centred, scaled coordinates."""

    @property
    @abstractmethod
    def blocks_are_raw(self) -> bool:
        """Whether blocks hold x in the user's units, so that coefficients are brought to them."""

    @abstractmethod
    def sum(self, kernel: Callable[[Block], tuple]) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays."""

    @abstractmethod
    def maximum(self, kernel: Callable[[Block], NDArray]) -> NDArray:
        """Return the elementwise maximum over blocks of what `kernel` returns."""

    @abstractmethod
    def sampled(
        self,
        importance: Callable[[Block], NDArray],
        chance: Callable[[NDArray, float], NDArray],
    ) -> Rows:
        """Return rows drawn by chance, each weighing the inverse of its chance times its weight.

        `chance` gets the importance of some rows (m,), and the sum of that of all.
        """

    @property
    @abstractmethod
    def value_budget(self) -> float:
        """Values that whatever is kept beside the rows, such as a metric, may take."""

    @abstractmethod
    def take_scores(self, scores: NDArray) -> Self:
        """Return the same rows with some of the scores' targets, in the same blocks."""

    @abstractmethod
    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Rows]:
        """Yield each row once, in batches of about `size` rows, shuffled or (None) in order.

        Rows that come in chunks are shuffled within each.
        """

    @abstractmethod
    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return the rows but for a fraction, and that fraction, drawn by chance.

        Where each row has one class, classes keep their shares.
        """

    @property
    def mean_target(self) -> NDArray:
        """Weighted mean of the targets, (K,); a half where none is known."""
        total = self.score_weight
        return np.divide(self.target_sum, total, out=np.full(len(total), 0.5), where=total > 0)

    @property
    def divisor(self) -> NDArray:
        """The weight of each score, (K,); one where nothing is known."""
        return np.where(self.score_weight > 0, self.score_weight, 1.0)

    @property
    def constant_scores(self) -> NDArray[np.bool_]:
        """Which scores' targets are all 0 or all 1, or unknown, where they count, (K,).

        No finite intercept is best for these. Never so of scores that share a row's loss.
        """
        return np.logical_not(self.observed.all(axis=0))

    def block_coefficients(self, T: NDArray) -> NDArray:
        """Return the coefficients T (width, K) as the blocks take them."""
        U = self.coordinates.raw_coefficients(T) if self.blocks_are_raw else T
        return U.astype(self.dtype, copy=False)

    def working_gradient(self, G: NDArray) -> NDArray:
        """Return what the blocks gathered as a gradient in T, (width, K)."""
        return self.coordinates.pull_back(G) if self.blocks_are_raw else G

    def working_squares(self, G: NDArray) -> NDArray:
        """Return what the blocks' squares came to as sums of c x~^2, (width, K)."""
        return self.coordinates.second_moments(G) if self.blocks_are_raw else G

    @cached_property
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
        own = self.coordinates
        near = np.abs(own.centre) <= _FARTHEST_IN_SINGLE * own.scale
        return bool(near.all()) or not self.is_sparse

    def in_dtype(self, dtype: type) -> Self:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else self.replaced(dtype=np.dtype(dtype))

    def replaced(self, **changes: Any) -> Self:
        """Return the same rows with some fields replaced."""
        this: Any = self
        return replace(this, **changes)


def slices(n: int, count: int) -> list[slice]:
    """Return so many slices of nearly equal length that make up 0..n."""
    edges = np.linspace(0, n, count + 1).astype(int)
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def add_inplace(total: list, more: Sequence) -> None:
    """Add to the numbers and arrays of a sum those of another."""
    for i, value in enumerate(more):
        total[i] += value
