"""Moments of the columns of X, in double precision, whatever their units and far from zero or not.

They are summed about a value of each column, so that the rounding of means decides nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from softreg._rows.arrays import Features, Mask, PerRow, Places, csr_rows
from softreg._rows.threads import Threads

# Mean squares between these did not overflow, and lost no digits that count to underflow.
_LEAST_SQUARE, _LARGEST_SQUARE = 1e-250, 1e250
_EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of each column over the rows that weigh something; `+`: those of two sets of rows.

    A column is constant if and only if all its values are equal.

    Attributes
    ----------
    weight : float, sum of the weights
    value : ndarray (d,), a value of each column, in one of the rows; zeros if there are none
    varies : ndarray (d,) of bool, whether some row has another value
    excess : ndarray (d,), the weighted mean less `value`
    deviation : ndarray (d,), weighted
    is_stored : ndarray (d,) of bool, whether CSR stores a value in all rows; None of dense rows
    """

    weight: float
    value: NDArray[np.float64]
    varies: Mask
    excess: NDArray[np.float64]
    deviation: NDArray[np.float64]
    is_stored: Mask | None

    def __post_init__(self) -> None:
        """Raise a ValueError if weights have no finite sum, or values no finite differences."""
        if not np.isfinite(self.weight):
            raise ValueError(
                "sample_weight, times class_weight, adds up to more than the largest number; "
                "divide it by some power of ten, and multiply C by the same."
            )
        if not np.isfinite(self.deviation).all():
            column = int(np.argmin(np.isfinite(self.deviation)))
            raise ValueError(
                f"X holds values in column {column} that are not finite, or too far from others: "
                "remove or replace them, or divide that column by 10."
            )

    def __add__(self, other: Moments) -> Moments:
        # Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", The
        # American Statistician 37, 242-247, equation 2.1: squares about the mean of either set of
        # rows, so that nothing cancels; and their roots, so that nothing overflows.
        is_stored = None
        if self.is_stored is not None and other.is_stored is not None:
            is_stored = self.is_stored & other.is_stored
        if not (self.weight and other.weight):
            return replace(self if self.weight else other, is_stored=is_stored)
        weight = self.weight + other.weight
        share = other.weight / weight
        with np.errstate(over="ignore"):
            difference = (other.value - self.value) + (other.excess - self.excess)
        within = np.hypot(np.sqrt(1 - share) * self.deviation, np.sqrt(share) * other.deviation)
        return Moments(
            weight=weight,
            value=self.value,
            varies=self.varies | other.varies | (self.value != other.value),
            excess=self.excess + share * difference,
            deviation=np.hypot(within, np.sqrt(share * (1 - share)) * difference),
            is_stored=is_stored,
        )

    def take(self, features: Places) -> Moments:
        """Return the moments of some columns."""
        return replace(
            self,
            value=self.value[features],
            varies=self.varies[features],
            excess=self.excess[features],
            deviation=self.deviation[features],
            is_stored=None if self.is_stored is None else self.is_stored[features],
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """The weighted mean of each column, (d,)."""
        return self.value + self.excess


@dataclass(frozen=True, eq=False)
class Columns(ABC):
    """The columns of X, of which sums are made block by block.

    Attributes
    ----------
    X : ndarray or CSR array (n, d)
    weights : ndarray (n,), >= 0

    Blocks below are those of the rows that weigh something; others may hold any values.
    """

    X: Features
    weights: PerRow

    def moments(self, blocks: list[slice | Places], threads: Threads) -> Moments:
        """Return the moments: one pass, and two more over columns of extraordinary units."""
        is_stored, in_all = self._stored(blocks, threads)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told in the end
            weight = float(self.weights.sum())
            if not 0 < weight < np.inf:
                zeros = np.zeros(self.X.shape[1])
                return Moments(weight, zeros, zeros > 0, zeros, zeros, is_stored)

            # 1. Sums about the heaviest row's values: of a mean square about them, no more than a
            #    share 1 - 1 / n cancels. Zero is a value where CSR does not store all of them.
            value = np.where(in_all, self._values(int(self.weights.argmax())), 0.0)
            first, second = self._sums_over_blocks(value, None, blocks, threads) / weight
            varies = (second > _LEAST_SQUARE) & (second < _LARGEST_SQUARE)
            unit, least = np.ones(len(value)), np.square(_EPS) * second
            # 2. Where squares say too little, the largest deviation tells whether a column varies,
            #    and is the unit of sums that do.
            odd = (~varies).nonzero()[0]
            if odd.size:
                largest = np.max(threads.map(partial(self._largest, value, odd), blocks), axis=0)
                varies[odd] = largest != 0
                if varies[odd].any():
                    unit[odd], least[odd] = power_of_two(largest), np.square(_EPS)
                    first, second = self._sums_over_blocks(value, unit, blocks, threads) / weight
            # 3. A column that varies deviates, however little the rows weigh in which it does.
            deviation = unit * np.sqrt(np.maximum(second - np.square(first), least))
        excess, deviation = (np.where(varies, of_u, 0.0) for of_u in (unit * first, deviation))
        return Moments(weight, value, varies, excess, deviation, is_stored)

    def _sums_over_blocks(
        self, shift: NDArray, unit: NDArray | None, blocks: list[slice | Places], threads: Threads
    ) -> NDArray[np.float64]:
        """Return `_sums` over all rows."""
        return np.add.reduce(threads.map(partial(self._sums, shift, unit), blocks))

    @abstractmethod
    def _stored(
        self, blocks: list[slice | Places], threads: Threads
    ) -> tuple[Mask | None, Mask | bool]:
        """Return which columns have a value stored in all rows, and in all that weigh."""

    @abstractmethod
    def _values(self, row: int) -> NDArray[np.float64]:
        """Return the values of a row, (d,)."""

    @abstractmethod
    def _sums(
        self, shift: NDArray, unit: NDArray | None, rows: slice | Places
    ) -> NDArray[np.float64]:
        """Return the weighted sums of u = (x - shift) / unit, None being 1, and of u^2, (2, d)."""

    @abstractmethod
    def _largest(
        self, shift: NDArray, columns: Places, rows: slice | Places
    ) -> NDArray[np.float64]:
        """Return the largest |x - shift| of some columns among the rows that weigh."""


class DenseColumns(Columns):
    """The columns of an ndarray."""

    def _stored(self, blocks: list[slice | Places], threads: Threads) -> tuple[None, bool]:
        return None, True

    def _values(self, row: int) -> NDArray[np.float64]:
        return self.X[row].astype(float)

    def _sums(
        self, shift: NDArray, unit: NDArray | None, rows: slice | Places
    ) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            u, weights, sums = self.X[rows] - shift, self.weights[rows], np.empty((2, len(shift)))
            if unit is not None:
                u /= unit
            np.matmul(weights, u, out=sums[0])
            np.matmul(weights, np.square(u, out=u), out=sums[1])
        return sums

    def _largest(
        self, shift: NDArray, columns: Places, rows: slice | Places
    ) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = np.abs(self.X[rows][:, columns] - shift[columns])
        return deviations.max(axis=0, initial=0)


class SparseColumns(Columns):
    """The columns of a CSR array; values that are not stored are zero."""

    def _stored(self, blocks: list[slice | Places], threads: Threads) -> tuple[Mask, Mask]:
        (n, d), n_weighing = self.X.shape, np.count_nonzero(self.weights)
        stored_weighing = np.sum(threads.map(self._counts, blocks), axis=0)
        all_weigh = n_weighing == n
        stored = stored_weighing if all_weigh else np.bincount(self.X.indices, minlength=d)
        return stored == n, stored_weighing == n_weighing

    def _counts(self, rows: slice | Places) -> NDArray[np.intp]:
        """Return how many rows store a value of each column, (d,)."""
        return np.bincount(self._entries(rows)[0], minlength=self.X.shape[1])

    def _values(self, row: int) -> NDArray[np.float64]:
        values, (columns, _, data) = np.zeros(self.X.shape[1]), self._entries(slice(row, row + 1))
        values[columns] = data
        return values

    def _sums(
        self, shift: NDArray, unit: NDArray | None, rows: slice | Places
    ) -> NDArray[np.float64]:
        columns, weights, data = self._entries(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            u = data - shift[columns]
            if unit is not None:
                u /= unit[columns]
            first = np.bincount(columns, weights * u, len(shift))
            return np.stack([first, np.bincount(columns, weights * np.square(u), len(shift))])

    def _largest(
        self, shift: NDArray, columns: Places, rows: slice | Places
    ) -> NDArray[np.float64]:
        largest, is_asked = np.zeros_like(shift), np.zeros(len(shift), dtype=bool)
        is_asked[columns] = True
        of_entries, _, data = self._entries(rows)
        entries = np.flatnonzero(is_asked[of_entries])
        of_entries = of_entries[entries]
        with np.errstate(over="ignore", invalid="ignore"):
            np.maximum.at(largest, of_entries, np.abs(data[entries] - shift[of_entries]))
        return largest[columns]

    def _entries(self, rows: slice | Places) -> tuple[NDArray[np.intp], PerRow, NDArray]:
        """Return the columns, the rows' weights and the values of the entries stored in rows."""
        X = csr_rows(self.X, rows)
        weights = np.repeat(self.weights[rows], np.diff(X.indptr))
        return X.indices.astype(np.intp), weights, X.data


def power_of_two(values: NDArray) -> NDArray[np.float64]:
    """Return the largest power of two that each of some values >= 0 reaches, or any for zero."""
    return np.ldexp(1.0, np.frexp(values)[1] - 1)
