"""Targets of many labels: yes, no, a share between, or unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import Mask, PerRow, PerScore, PickledByFields, Places, RowLosses, Scores


@dataclass(frozen=True, eq=False)
class LabelTargets(PickledByFields):
    """Yes (1), no (0) or a share between for each of L labels; each answer has a weight.

    Only answers that differ from a plain no, in value or weight, are stored, as in a sparse matrix:
    passes over many rare labels take little more than the scores themselves. An unknown answer is
    one of weight zero.

    Attributes
    ----------
    stored : CSR array (n, L), whose data are indices into `answers` and `weights`
    answers, weights : ndarrays, in [0, 1] and >= 0: the stored answers, also those of rows and
        labels that `stored` has no more
    no_weight : ndarray (L,), the weight of an answer that is not stored, a plain no
    cell_weight : ndarray (n, L) or None, >= 0, a factor of the weights of all answers
    unit_weights : bool, whether `weights` and `no_weight` are all one
    """

    stored: Any
    answers: NDArray[np.float64]
    weights: NDArray[np.float64]
    no_weight: NDArray[np.float64]
    cell_weight: NDArray | None
    unit_weights: bool
    class_of_row = None

    @classmethod
    def from_answers(
        cls, answers: Any, weights: NDArray, no_weight: NDArray, cell_weight: NDArray | None = None
    ) -> LabelTargets:
        """Return the targets of answers, CSR (n, L), given the weights (nnz,) of its values."""
        index = np.arange(answers.nnz)
        stored = sparse.csr_array((index, answers.indices, answers.indptr), shape=answers.shape)
        unit_weights = bool((weights == 1).all() and (no_weight == 1).all())
        return cls(stored, answers.data, weights, no_weight, cell_weight, unit_weights)

    @property
    def n_scores(self) -> int:
        return len(self.no_weight)

    def __getitem__(self, rows: slice | Places) -> LabelTargets:
        cell_weight = None if self.cell_weight is None else self.cell_weight[rows]
        return replace(self, stored=self.stored[rows], cell_weight=cell_weight)

    def take_scores(self, scores: Places) -> LabelTargets:
        cell_weight = None if self.cell_weight is None else self.cell_weight[:, scores]
        stored, no_weight = self.stored[:, scores], self.no_weight[scores]
        return replace(self, stored=stored, no_weight=no_weight, cell_weight=cell_weight)

    def repeated(self, counts: NDArray) -> LabelTargets:
        fits, labels = len(counts), np.arange(self.n_scores)
        cell_weight = np.repeat(counts, self.n_scores, axis=0).T
        if self.cell_weight is not None:
            cell_weight = cell_weight * np.tile(self.cell_weight, fits)
        tiled = replace(self, cell_weight=None).take_scores(np.tile(labels, fits))
        return replace(tiled, cell_weight=cell_weight)

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        loss.reshape(-1)[self._flat_places] -= self._answers * Z.reshape(-1)[self._flat_places]

    def subtract_targets_inplace(self, P: Scores) -> None:
        P.reshape(-1)[self._flat_places] -= self._answers

    def loss_weights(self) -> RowLosses | None:
        if self.unit_weights:
            return None if self.cell_weight is None else self.cell_weight.T
        weights = np.repeat(self.no_weight[:, None], self.stored.shape[0], axis=1)
        weights.reshape(-1)[self._flat_places] = self._weights
        return weights if self.cell_weight is None else weights * self.cell_weight.T

    def target_sum(self, weight: PerRow) -> PerScore:
        return self._sum_of_stored(self._answers * self._weights, weight)

    def score_weight(self, weight: PerRow) -> PerScore:
        rows_of_label = weight.sum() if self.cell_weight is None else weight @ self.cell_weight
        as_plain_no = self.no_weight * rows_of_label
        difference = self._weights - self.no_weight[self.stored.indices]
        total = as_plain_no + self._sum_of_stored(difference, weight)
        # A label that is unknown everywhere weighs nothing; rounding must not say otherwise.
        return np.where(total > len(weight) * np.finfo(float).eps * as_plain_no, total, 0.0)

    def observed(self, weight: PerRow) -> Mask:
        row_has_weight, row, label = weight > 0, self._rows_of_stored, self.stored.indices
        cell_has_weight = row_has_weight[row]
        n_cells: Any = np.count_nonzero(row_has_weight)
        if self.cell_weight is not None:
            cell_has_weight &= self.cell_weight[row, label] > 0
            columns = self.cell_weight.T
            n_cells = np.array([np.count_nonzero(row_has_weight & (cell > 0)) for cell in columns])

        def n_stored(mask: Mask) -> NDArray:
            return np.bincount(label[mask], minlength=self.n_scores)

        has_weight = cell_has_weight & (self._weights > 0)
        above_zero = n_stored(has_weight & (self._answers > 0)) > 0
        below_one = n_stored(has_weight & (self._answers < 1)) > 0
        plain_no = (self.no_weight > 0) & (n_cells > n_stored(cell_has_weight))
        return np.stack([above_zero, below_one | plain_no])

    def strata(self) -> NDArray | None:
        one_each = (np.diff(self.stored.indptr) == 1).all()
        return self.stored.indices if one_each else None

    def _sum_of_stored(self, values: NDArray, weight: PerRow) -> PerScore:
        """Return the weighted sums over rows of values at the stored answers, (L,)."""
        row, label = self._rows_of_stored, self.stored.indices
        weighted = values * weight[row]
        if self.cell_weight is not None:
            weighted *= self.cell_weight[row, label]
        return np.bincount(label, weights=weighted, minlength=self.n_scores).astype(float)

    @cached_property
    def _rows_of_stored(self) -> NDArray[np.intp]:
        """The row of each stored answer, (nnz,)."""
        return np.repeat(np.arange(self.stored.shape[0]), np.diff(self.stored.indptr))

    @cached_property
    def _answers(self) -> NDArray[np.float64]:
        """The stored answers of these rows and labels, (nnz,)."""
        return self.answers[self.stored.data]

    @property
    def _weights(self) -> NDArray[np.float64]:
        """The weights of the stored answers of these rows and labels, (nnz,)."""
        return self.weights[self.stored.data]

    @cached_property
    def _flat_places(self) -> NDArray[np.intp]:
        """Where the stored answers are in a contiguous (L, n) matrix, flattened, (nnz,)."""
        return self.stored.indices.astype(np.intp) * self.stored.shape[0] + self._rows_of_stored
