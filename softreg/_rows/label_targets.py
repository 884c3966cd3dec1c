"""Targets of many labels: yes, no, a share between, or unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.targets import needs_all_classes


@dataclass(frozen=True, eq=False)
class LabelTargets:
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
    ) -> LabelTargets:
        """Return the targets of answers, CSR (n, L), and their weights."""
        places = sparse.csr_array(
            (np.arange(answers.nnz), answers.indices, answers.indptr), shape=answers.shape
        )
        even = bool((weights == 1).all() and (plain == 1).all())
        return cls(places, answers.data, weights, plain, cell_weight, even)

    @property
    def n_scores(self) -> int:
        return len(self.plain)

    def __getitem__(self, rows: slice | NDArray) -> LabelTargets:
        own = None if self.cell_weight is None else self.cell_weight[rows]
        return replace(self, places=self.places[rows], cell_weight=own)

    def take_scores(self, scores: NDArray) -> LabelTargets:
        own = None if self.cell_weight is None else self.cell_weight[:, scores]
        places, plain = self.places[:, scores], self.plain[scores]
        return replace(self, places=places, plain=plain, cell_weight=own)

    def repeated(self, kept: NDArray) -> LabelTargets:
        K, cells = self.n_scores, np.repeat(kept, self.n_scores, axis=0).T
        if self.cell_weight is not None:
            cells = cells * np.tile(self.cell_weight, len(kept))
        repeated = replace(self, cell_weight=None).take_scores(np.tile(np.arange(K), len(kept)))
        return replace(repeated, cell_weight=cells)

    def subtract_target_scores_inplace(self, loss: NDArray, Z: NDArray) -> None:
        loss.reshape(-1)[self._flat] -= self._own_shares * Z.reshape(-1)[self._flat]

    def subtract_targets_inplace(self, P: NDArray) -> None:
        P.reshape(-1)[self._flat] -= self._own_shares

    def loss_weights(self) -> NDArray | None:
        if self.even:
            return None if self.cell_weight is None else self.cell_weight.T
        own = np.repeat(self.plain[:, None], self.places.shape[0], axis=1)
        own.reshape(-1)[self._flat] = self.weights[self.places.data]
        return own if self.cell_weight is None else own * self.cell_weight.T

    def target_sum(self, weight: NDArray) -> NDArray:
        return self._summed(self._own_shares * self.weights[self.places.data], weight)

    def score_weight(self, weight: NDArray) -> NDArray:
        cells = weight.sum() if self.cell_weight is None else weight @ self.cell_weight
        beyond = self.weights[self.places.data] - self.plain[self.places.indices]
        plain = self.plain * cells
        total = plain + self._summed(beyond, weight)
        # What rounding leaves of nothing is no knowledge of a label.
        return np.where(total > len(weight) * np.finfo(float).eps * plain, total, 0.0)

    def observed(self, weight: NDArray) -> NDArray[np.bool_]:
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

    def classes_of_rows(self) -> NDArray:
        raise needs_all_classes()

    def over_candidates(self, scores: NDArray) -> LabelTargets:
        raise needs_all_classes()

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
