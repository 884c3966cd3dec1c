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

from softreg._rows.arrays import Coef, Mask, PerRow, PerScore, Places, Store
from softreg._rows.blocks import Block
from softreg._rows.coordinates import FARTHEST_IN_SINGLE, Coordinates
from softreg._rows.moments import Moments
from softreg._rows.targets import Targets
from softreg._rows.threads import Threads

# A kernel is a value, a module-level function or frozen dataclass, so that it can be sent to the
# process in which the blocks are.
SumKernel = Callable[[Block], tuple]
RowKernel = Callable[[Block], NDArray]
# (importance (m,) of some rows, sum of the importance of all) -> the chances (m,) to draw them.
Chance = Callable[[PerRow, float], PerRow]


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over rows in the user's units; `+` gives those of two sets of rows together.

    Attributes
    ----------
    n : int, number of rows that have weight
    n_values : float, values that a product touches: the size of X, or what its nonzeros cost
    moments : Moments of the columns
    score_weight : ndarray (K,), sum over the rows of the weights of each score's losses
    target_sum : ndarray (K,), weighted sum of the targets
    observed : ndarray (2, K) of bool, whether a target above 0, and one below 1, has weight
    offset_sum : ndarray (K,), sum of the offsets, weighted as each score's losses
    largest_offset : ndarray (K,), the largest absolute one that has weight
    weight_unit : float, power of two by which the user's weights were divided
    """

    n: int
    n_values: float
    moments: Moments
    score_weight: PerScore
    target_sum: PerScore
    observed: Mask
    offset_sum: PerScore
    largest_offset: PerScore
    weight_unit: float

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            n=self.n + other.n,
            n_values=self.n_values + other.n_values,
            moments=self.moments + other.moments,
            score_weight=self.score_weight + other.score_weight,
            target_sum=self.target_sum + other.target_sum,
            observed=self.observed | other.observed,
            offset_sum=self.offset_sum + other.offset_sum,
            largest_offset=np.maximum(self.largest_offset, other.largest_offset),
            weight_unit=self.weight_unit,
        )

    def take_scores(self, scores: Places) -> Totals:
        """Return the totals of the same rows with the targets and offsets of some scores."""
        return replace(
            self,
            score_weight=self.score_weight[scores],
            target_sum=self.target_sum[scores],
            observed=self.observed[:, scores],
            offset_sum=self.offset_sum[scores],
            largest_offset=self.largest_offset[scores],
        )

    def at_temperature(self, temperature: float) -> Totals:
        """Return the totals of the same rows with offsets divided by a number."""
        offset_sum, largest = self.offset_sum / temperature, self.largest_offset / temperature
        return replace(self, offset_sum=offset_sum, largest_offset=largest)

    def take_features(self, features: Places) -> Totals:
        """Return the totals of the same rows with some features."""
        share = len(features) / len(self.moments.value)
        moments = self.moments.take(features)
        return replace(self, n_values=share * self.n_values, moments=moments)

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return self.moments.weight

    @property
    def score_weight_of_user(self) -> PerScore:
        """The weight of each score in the user's units, (K,), at most the largest number."""
        with np.errstate(over="ignore"):
            return np.minimum(self.score_weight * self.weight_unit, np.finfo(float).max)

    @property
    def score_divisor(self) -> PerScore:
        """The weight of each score, to divide by, (K,): one where no target has weight."""
        return np.where(self.score_weight > 0, self.score_weight, 1.0)

    @property
    def mean_target(self) -> PerScore:
        """Weighted mean of the targets, (K,): a half where no target has weight."""
        half, known = np.full(len(self.score_weight), 0.5), self.score_weight > 0
        return np.divide(self.target_sum, self.score_weight, out=half, where=known)


class Rows(ABC):
    """Rows x_i in the user's units, of which objectives see x~_i in working coordinates.

    Attributes
    ----------
    coordinates : Coordinates
    threads : Threads
    dtype : dtype of the blocks and their products
    store : Store, what is kept of X and the weights, whatever the targets
    known_totals : Totals or None, the totals, where they need not be summed any more
    in_memory : bool, whether X is one array in the memory of this process, and blocks stay from
        pass to pass, and with them what `Block.kept` made
    is_sparse : bool, whether X is CSR, so that a pass costs its nonzeros rather than its size
    """

    coordinates: Coordinates
    threads: Threads
    dtype: np.dtype
    store: Store
    known_totals: Totals | None
    in_memory: bool
    is_sparse: bool

    @abstractmethod
    def _summed_totals(self) -> Totals:
        """Return the totals, summed over the rows."""

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of rows; of chunks, of those that have weight."""

    @property
    @abstractmethod
    def n_scores(self) -> int:
        """Number of scores K."""

    @property
    @abstractmethod
    def blocks_are_raw(self) -> bool:
        """Whether blocks hold x, so that coefficients are brought to the user's units for them."""

    @property
    @abstractmethod
    def value_budget(self) -> float:
        """How many values may be kept beside the rows, as in a metric."""

    @property
    @abstractmethod
    def n_values(self) -> float:
        """Values that a product touches: the size of X, or what its nonzeros cost."""

    @abstractmethod
    def sum(self, kernel: SumKernel) -> tuple:
        """Return the sum over blocks of what `kernel` returns: a tuple of numbers and arrays.

        Blocks hold rows that have weight: others may hold any values.
        """

    @abstractmethod
    def maximum(self, kernel: RowKernel) -> NDArray:
        """Return the elementwise maximum over the same blocks of what `kernel` returns."""

    @abstractmethod
    def forget_scores(self) -> None:
        """Let go of what blocks keep of their scores, if they keep any."""

    @abstractmethod
    def sampled(self, importance: RowKernel, chance: Chance) -> Rows:
        """Return rows with weight, drawn at random, which is divided by their chances to be drawn.

        `chance` turns the importance (m,) of some rows, and the sum of that of all, into chances.
        """

    @abstractmethod
    def at_temperature(self, temperature: float) -> Self:
        """Return the same rows with offsets divided by a number > 0."""

    @abstractmethod
    def take_scores(self, scores: Places) -> Self:
        """Return the same rows with the targets of some scores, in the same blocks."""

    @abstractmethod
    def take_features(self, features: Places) -> Self:
        """Return the same rows with some features, ascending, and their coordinates."""

    @abstractmethod
    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[Rows]:
        """Yield each row with weight once, in batches of about `size`, shuffled or (None) in order.

        Rows that come in chunks are shuffled within each.
        """

    @abstractmethod
    def _split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return the rows to learn from, and those held out, whatever they weigh."""

    @abstractmethod
    def replaced(self, **changes: Any) -> Self:
        """Return the same rows with some fields replaced; what was made of these is not kept."""

    def validation_split(self, fraction: float, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return the rows to learn from, and those held out: a fraction, drawn at random.

        Where each row has one class, about the same fraction of each class is held out. ValueError
        if one of both has no weight.
        """
        training, validation = self._split(fraction, random)
        for rows, purpose in ((training, "learn from"), (validation, "hold out")):
            if not rows.totals.score_weight.any():
                raise ValueError(bad_split(f"only rows that weigh nothing to {purpose}", fraction))
        return training, validation

    @cached_property
    def totals(self) -> Totals:
        """The totals: one pass, where they are not known yet."""
        return self.known_totals or self._summed_totals()

    def standardised(
        self,
        least_scale: NDArray | float = 0.0,
        joined: NDArray | None = None,
        unit: NDArray | float = 1.0,
    ) -> Self:
        """Return the same rows in centred, scaled coordinates (`Coordinates.standardising`).

        Features with the same label in `joined` (d,) get one scale in units (d,) of theirs.
        """
        totals = self.totals
        coordinates = self.coordinates.standardising(totals.moments, self.dtype, least_scale)
        if joined is not None:
            coordinates = coordinates.with_joint_scales(joined, unit)
        return self.replaced(coordinates=coordinates, known_totals=totals)

    @property
    def block_coordinates(self) -> Coordinates:
        """The coordinates in which raw blocks hold their values, to x~."""
        return self.coordinates.of_sparse_blocks if self.is_sparse else self.coordinates

    def block_coefficients(self, T: Coef) -> Coef:
        """Return the coefficients T (width, K) as blocks take them: U, W over b for raw blocks."""
        U = self.block_coordinates.raw_coefficients(T) if self.blocks_are_raw else T
        return U.astype(self.dtype, copy=False)

    def working_gradient(self, G: Coef) -> Coef:
        """Return the gradient in T, (width, K), of the sum G (width, K) of `Block.gather`."""
        return self.block_coordinates.pull_back(G) if self.blocks_are_raw else G

    def working_squares(self, G: NDArray) -> Coef:
        """Return sum_i c_i x~_i^2, (width, K), given the sums G of `Block.weighted_squares`."""
        return self.block_coordinates.second_moments(G) if self.blocks_are_raw else G

    def for_steps(self) -> Self:
        """Return the rows in single precision where that pays and is accurate enough for steps.

        Products of CSR take half the time; dense ones save hardly more than a second standardised
        copy costs (measured).
        """
        return self.in_dtype(np.float32) if self.is_sparse and self.float32_serves else self

    def for_descents(self) -> Self:
        """Return the rows in single precision if they are dense and may be kept in both."""
        return self

    @property
    def float32_serves(self) -> bool:
        """Whether products in single precision are accurate enough for steps.

        Centring within the products of CSR may cost two digits of seven.
        """
        coordinates = self.block_coordinates
        near = np.abs(coordinates.centre) / coordinates.scale <= FARTHEST_IN_SINGLE
        return bool(near.all()) or not self.is_sparse

    def in_dtype(self, dtype: type) -> Self:
        """Return the same rows with products in another precision."""
        return self if self.dtype == dtype else self.replaced(dtype=np.dtype(dtype))

    def on_host(self) -> Rows:
        """Return the same rows, those of an array on a device in the processor's memory."""
        return self

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made of X and the weights under a key before, or make it."""
        return self.store.kept(key, make)


@dataclass(frozen=True, eq=False)
class SumOverRows:
    """The sum over rows of what another kernel returns for each row."""

    kernel: RowKernel

    def __call__(self, block: Block) -> tuple[float]:
        """Return the sum over a block's rows."""
        return (self.kernel(block).sum(dtype=float),)


def slices(n: int, count: int) -> list[slice]:
    """Return `count` slices of nearly equal length, one after another, that cover n rows."""
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def add_inplace(total: list, more: Sequence) -> None:
    """Add the numbers and arrays of one sum over rows to those of another, `total`."""
    for i, value in enumerate(more):
        total[i] += value


def offset_totals(offset: NDArray | None, weight: PerRow, Y: Targets) -> tuple[PerScore, PerScore]:
    """Return the sums of offsets (n, K), weighted as losses are, and the largest, (K,) both.

    The largest absolute one is among those that have weight.
    """
    if offset is None:
        return np.zeros(Y.n_scores), np.zeros(Y.n_scores)
    loss_weights = Y.loss_weights()
    weights = weight[None] if loss_weights is None else loss_weights * weight
    by_problem = offset.T.reshape(len(weights), -1, len(offset))
    sums = np.einsum("bkn,bn->bk", by_problem, weights)
    largest = np.abs(by_problem).max(axis=2, where=weights[:, None] > 0, initial=0)
    return sums.ravel(), largest.ravel()


def bad_split(left: str, fraction: float) -> str:
    """Return what is wrong with a split, and its remedies."""
    return (
        f"early_stopping with validation_fraction={fraction:g} leaves {left}; choose another "
        "validation_fraction, or leave early_stopping False."
    )
