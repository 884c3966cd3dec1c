"""Targets: the y of a block of rows, as a link asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


class Targets(Protocol):
    """The y of n rows over K scores, without an n x K matrix where less will do.

    Matrices (K, m) are C-contiguous. B is the number of problems: 1 where all scores share a row's
    loss, K where each score has its own.
    """

    @property
    def n_scores(self) -> int:
        """Number of scores K."""

    def __getitem__(self, rows: slice | NDArray) -> Targets:
        """Return the targets of some rows."""

    def of_scores(self, scores: NDArray) -> Targets:
        """Return the targets of some scores."""

    def subtract_product_inplace(self, loss: NDArray, Z: NDArray) -> None:
        """Take y z off the losses (B, m) of the scores Z (K, m)."""

    def subtract_from_inplace(self, P: NDArray) -> None:
        """Turn P (K, m) into P - Y."""

    def own_weights(self) -> NDArray | None:
        """Return what each score's loss counts beside its row's weight, (K, m); None: one."""

    def weighted_sum(self, weight: NDArray) -> NDArray:
        """Return sum_i w_i y_i, (K,), where w holds row weights (n,) times own weights."""

    def total_weight(self, weight: NDArray) -> NDArray:
        """Return sum_i w_i, (K,), with the same weights."""

    def sides(self, weight: NDArray) -> NDArray[np.bool_]:
        """Return whether a target above 0, and one below 1, counts in each score, (2, K).

        Both are said to where the encoding sees to it.
        """

    def strata(self) -> NDArray | None:
        """Return each row's class (n,), or None where rows are not of one class each."""

    def present(self) -> NDArray:
        """Return the scores that some row is of, ascending; ValueError if it is not of one each."""

    def among(self, scores: NDArray) -> Targets:
        """Return the targets of rows that are each of one of these scores, over these alone."""


@dataclass(frozen=True)
class Labels:
    """One class a row, smoothed: y = (1 - a) onehot(codes) + a / K."""

    codes: NDArray[np.intp]
    n_classes: int
    smoothing: float = 0.0

    @property
    def n_scores(self) -> int:
        return self.n_classes

    def __getitem__(self, rows: slice | NDArray) -> Labels:
        return Labels(self.codes[rows], self.n_classes, self.smoothing)

    def of_scores(self, scores: NDArray) -> Labels:
        if len(scores) == self.n_classes:
            return self
        raise ValueError("classes that exclude each other have no targets of their own")

    def subtract_product_inplace(self, loss: NDArray, Z: NDArray) -> None:
        own = Z.reshape(-1).take(self._places())
        if self.smoothing:
            own = (1 - self.smoothing) * own + self.smoothing * Z.mean(axis=0)
        loss -= own

    def subtract_from_inplace(self, P: NDArray) -> None:
        P.reshape(-1)[self._places()] -= 1 - self.smoothing
        if self.smoothing:
            P -= self.smoothing / self.n_classes

    def own_weights(self) -> None:
        return None

    def weighted_sum(self, weight: NDArray) -> NDArray:
        counts = np.bincount(self.codes, weights=weight, minlength=self.n_classes)
        return (1 - self.smoothing) * counts + self.smoothing * counts.sum() / self.n_classes

    def total_weight(self, weight: NDArray) -> NDArray:
        return np.full(self.n_classes, weight.sum())

    def sides(self, weight: NDArray) -> NDArray[np.bool_]:
        return np.ones((2, self.n_classes), dtype=bool)

    def strata(self) -> NDArray:
        return self.codes

    def present(self) -> NDArray:
        if self.smoothing:
            raise _of_all_classes()
        return np.flatnonzero(np.bincount(self.codes, minlength=self.n_classes))

    def among(self, scores: NDArray) -> Labels:
        order = np.argsort(scores)
        places = order[np.searchsorted(scores, self.codes, sorter=order)]
        return Labels(places, len(scores))

    def _places(self) -> NDArray[np.intp]:
        """Return where each row's class stands in a contiguous (K, m) matrix, flattened."""
        return self.codes * len(self.codes) + np.arange(len(self.codes))


@dataclass(frozen=True)
class Shares:
    """A target between 0 and 1 for every row and score, Y (n, K)."""

    Y: NDArray[np.floating]

    @property
    def n_scores(self) -> int:
        return self.Y.shape[1]

    def __getitem__(self, rows: slice | NDArray) -> Shares:
        return Shares(self.Y[rows])

    def of_scores(self, scores: NDArray) -> Shares:
        return Shares(self.Y[:, scores])

    def subtract_product_inplace(self, loss: NDArray, Z: NDArray) -> None:
        loss -= np.einsum("mk,km->m", self.Y, Z) if len(loss) == 1 else self.Y.T * Z

    def subtract_from_inplace(self, P: NDArray) -> None:
        P -= self.Y.T

    def weighted_sum(self, weight: NDArray) -> NDArray:
        return weight @ self.Y

    def own_weights(self) -> None:
        return None

    def total_weight(self, weight: NDArray) -> NDArray:
        return np.full(self.Y.shape[1], weight.sum())

    def sides(self, weight: NDArray) -> NDArray[np.bool_]:
        return np.ones((2, self.n_scores), dtype=bool)

    def strata(self) -> NDArray:
        return self.Y[:, 0] > 0.5 if self.n_scores == 1 else self.Y.argmax(axis=1)

    def present(self) -> NDArray:
        raise _of_all_classes()

    def among(self, scores: NDArray) -> Shares:
        raise _of_all_classes()


@dataclass(frozen=True, eq=False)
class Indicators:
    """Yes or no for each of L labels, or a share between; an answer counts by its own weight.

    Answers other than a plain no are stored, as in a sparse matrix, so that passes over many rare
    labels take little more than the scores themselves; an unknown answer is one of weight zero.

    Attributes
    ----------
    places : CSR array (n, L), whose data are places in `shares` and `weights`
    shares, weights : ndarray (number of stored answers,), in [0, 1] and >= 0
    plain : ndarray (L,), the weight of a plain no
    cell_weight : ndarray (n, L) or None, >= 0, what all answers' weights are multiplied by
    even : bool, whether all weights and plain ones are one
    """

    places: Any
    shares: NDArray[np.float64]
    weights: NDArray[np.float64]
    plain: NDArray[np.float64]
    cell_weight: NDArray | None
    even: bool

    @classmethod
    def of(
        cls,
        answers: Any,
        weights: NDArray,
        plain: NDArray,
        cell_weight: NDArray | None = None,
    ) -> Indicators:
        """Return the targets of answers, CSR (n, L), and their weights."""
        places = sparse.csr_array(
            (np.arange(answers.nnz), answers.indices, answers.indptr), shape=answers.shape
        )
        even = bool((weights == 1).all() and (plain == 1).all())
        return cls(places, answers.data, weights, plain, cell_weight, even)

    @property
    def n_scores(self) -> int:
        return len(self.plain)

    def __getitem__(self, rows: slice | NDArray) -> Indicators:
        own = None if self.cell_weight is None else self.cell_weight[rows]
        return replace(self, places=self.places[rows], cell_weight=own)

    def of_scores(self, scores: NDArray) -> Indicators:
        own = None if self.cell_weight is None else self.cell_weight[:, scores]
        places, plain = self.places[:, scores], self.plain[scores]
        return replace(self, places=places, plain=plain, cell_weight=own)

    def subtract_product_inplace(self, loss: NDArray, Z: NDArray) -> None:
        loss.reshape(-1)[self._flat] -= self._own_shares * Z.reshape(-1)[self._flat]

    def subtract_from_inplace(self, P: NDArray) -> None:
        P.reshape(-1)[self._flat] -= self._own_shares

    def own_weights(self) -> NDArray | None:
        if self.even:
            return None if self.cell_weight is None else self.cell_weight.T
        own = np.repeat(self.plain[:, None], self.places.shape[0], axis=1)
        own.reshape(-1)[self._flat] = self.weights[self.places.data]
        return own if self.cell_weight is None else own * self.cell_weight.T

    def weighted_sum(self, weight: NDArray) -> NDArray:
        return self._summed(self._own_shares * self.weights[self.places.data], weight)

    def total_weight(self, weight: NDArray) -> NDArray:
        cells = weight.sum() if self.cell_weight is None else weight @ self.cell_weight
        beyond = self.weights[self.places.data] - self.plain[self.places.indices]
        plain = self.plain * cells
        total = plain + self._summed(beyond, weight)
        # What rounding leaves of nothing is no knowledge of a label.
        return np.where(total > len(weight) * np.finfo(float).eps * plain, total, 0.0)

    def sides(self, weight: NDArray) -> NDArray[np.bool_]:
        known, cells = weight > 0, self.cell_weight
        if cells is None:
            there, of_label = known[self._row], np.full(len(self.plain), known.sum())
        else:
            there = known[self._row] & (cells[self._row, self.places.indices] > 0)
            of_label = np.array([np.count_nonzero(known & (column > 0)) for column in cells.T])

        def count(answers: NDArray) -> NDArray:
            return np.bincount(self.places.indices[answers], minlength=len(self.plain))

        counts = there & (self.weights[self.places.data] > 0)
        yes, no = count(counts & (self._own_shares > 0)), count(counts & (self._own_shares < 1))
        plain_no = (self.plain > 0) & (of_label > count(there))
        return np.stack([yes > 0, (no > 0) | plain_no])

    def strata(self) -> NDArray | None:
        one_each = (np.diff(self.places.indptr) == 1).all()
        return self.places.indices if one_each else None

    def present(self) -> NDArray:
        raise _of_all_classes()

    def among(self, scores: NDArray) -> Indicators:
        raise _of_all_classes()

    def _summed(self, values: NDArray, weight: NDArray) -> NDArray:
        """Return the weighted sums over rows of a value at each stored answer, (L,)."""
        row, label = self._row, self.places.indices
        own = values * weight[row]
        if self.cell_weight is not None:
            own *= self.cell_weight[row, label]
        return np.bincount(label, weights=own, minlength=len(self.plain))

    @cached_property
    def _row(self) -> NDArray[np.intp]:
        """Row of each stored answer."""
        return np.repeat(np.arange(self.places.shape[0]), np.diff(self.places.indptr))

    @cached_property
    def _own_shares(self) -> NDArray[np.float64]:
        return self.shares[self.places.data]

    @cached_property
    def _flat(self) -> NDArray[np.intp]:
        """Return where the stored answers stand in a contiguous (L, m) matrix, flattened."""
        return self.places.indices.astype(np.intp) * self.places.shape[0] + self._row


def _of_all_classes() -> ValueError:
    return ValueError(
        "n_candidates asks for rows of one class each; class probabilities and label_smoothing "
        "need the scores of all classes: leave n_candidates None, or pass labels without smoothing."
    )
