"""Targets: the y of rows, classes, shares or labels, in the form that links ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._rows.arrays import (
    Mask,
    PerRow,
    PerScore,
    PickledByFields,
    Places,
    RowLosses,
    Scores,
    stacked,
)


class Targets(Protocol):
    """The y of n rows over K scores, without an n x K matrix where less will do.

    B is the number of problems: 1 under softmax, K under sigmoid, times the number of fits where
    several are solved at once, whose scores and problems come one fit after another.
    """

    @property
    def n_scores(self) -> int:
        """Number of scores K."""

    def __getitem__(self, rows: slice | Places) -> Targets:
        """Return the targets of some rows."""

    def take_scores(self, scores: Places) -> Targets:
        """Return the targets of some scores."""

    def repeated(self, counts: NDArray) -> Targets:
        """Return the targets of several fits, in each of which rows count `counts` (fits, n)."""

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        """Subtract <y, z> from the losses (B, m) of rows with scores Z (K, m)."""

    def subtract_targets_inplace(self, P: Scores) -> None:
        """Turn P (K, m) into P - Y."""

    def joined(self, others: list[Any]) -> Targets:
        """Return the targets of these rows, and then of others with the same scores."""

    def loss_weights(self) -> RowLosses | None:
        """Return how much rows weigh in each problem, beside their weights, (B, n); None: one."""

    def target_sum(self, weight: PerRow) -> PerScore:
        """Return sum_i w_ik y_ik, (K,), with w the row weights (n,) times the loss weights."""

    def score_weight(self, weight: PerRow) -> PerScore:
        """Return sum_i w_ik, (K,), with w the row weights (n,) times the loss weights."""

    def observed(self, weight: PerRow) -> Mask:
        """Return whether a target above 0, and one below 1, has weight, (2, K).

        Always True under softmax.
        """

    def strata(self) -> NDArray | None:
        """Return the class of each row, or its likeliest, (n,); None: rows have no single class."""

    @property
    def class_of_row(self) -> Places | None:
        """The class of each row, (n,); None: rows have labels, or shares of several classes."""


class _EvenTargets:
    """Targets whose losses weigh as much in each problem: as much as their row."""

    def repeated(self: Targets, counts: NDArray) -> RepeatedTargets:
        return RepeatedTargets(self, counts)

    def loss_weights(self) -> None:
        return None

    def score_weight(self: Targets, weight: PerRow) -> PerScore:
        return np.full(self.n_scores, weight.sum())


@dataclass(frozen=True)
class ClassTargets(PickledByFields, _EvenTargets):
    """One class a row, smoothed: y = (1 - a) onehot(codes) + a / K.

    Attributes
    ----------
    codes : ndarray (n,), the class of each row, from 0 to K - 1
    n_scores : int, K, the number of classes
    smoothing : float, a
    """

    codes: NDArray[np.intp]
    n_scores: int
    smoothing: float = 0.0

    def __getitem__(self, rows: slice | Places) -> ClassTargets:
        return ClassTargets(self.codes[rows], self.n_scores, self.smoothing)

    def take_scores(self, scores: Places) -> ClassTargets:
        if len(scores) == self.n_scores:
            return self
        raise ValueError("classes that exclude each other have no targets of their own")

    def joined(self, others: list[ClassTargets]) -> ClassTargets:
        return replace(self, codes=np.concatenate([each.codes for each in (self, *others)]))

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        target_scores = Z.reshape(-1).take(self._flat_places)
        if self.smoothing:
            target_scores = (1 - self.smoothing) * target_scores + self.smoothing * Z.mean(axis=0)
        loss -= target_scores

    def subtract_targets_inplace(self, P: Scores) -> None:
        P.reshape(-1)[self._flat_places] -= 1 - self.smoothing
        if self.smoothing:
            P -= self.smoothing / self.n_scores

    def target_sum(self, weight: PerRow) -> PerScore:
        counts = np.bincount(self.codes, weights=weight, minlength=self.n_scores)
        return (1 - self.smoothing) * counts + self.smoothing * counts.sum() / self.n_scores

    def observed(self, weight: PerRow) -> Mask:
        return np.ones((2, self.n_scores), dtype=bool)

    def strata(self) -> NDArray:
        return self.codes

    @property
    def class_of_row(self) -> Places | None:
        return None if self.smoothing else self.codes

    @cached_property
    def _flat_places(self) -> NDArray[np.intp]:
        """Where the class of each row is in a contiguous (K, n) matrix, flattened, (n,)."""
        return self.codes * len(self.codes) + np.arange(len(self.codes))


@dataclass(frozen=True)
class TargetMatrix(_EvenTargets):
    """A target between 0 and 1 for every row and score, Y (n, K)."""

    Y: NDArray[np.floating]
    class_of_row = None

    @property
    def n_scores(self) -> int:
        return self.Y.shape[1]

    def __getitem__(self, rows: slice | Places) -> TargetMatrix:
        return TargetMatrix(self.Y[rows])

    def take_scores(self, scores: Places) -> TargetMatrix:
        return TargetMatrix(self.Y[:, scores])

    def joined(self, others: list[TargetMatrix]) -> TargetMatrix:
        return TargetMatrix(np.concatenate([each.Y for each in (self, *others)]))

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        loss -= np.einsum("mk,km->m", self.Y, Z) if len(loss) == 1 else self.Y.T * Z

    def subtract_targets_inplace(self, P: Scores) -> None:
        P -= self.Y.T

    def target_sum(self, weight: PerRow) -> PerScore:
        return weight @ self.Y

    def observed(self, weight: PerRow) -> Mask:
        if self.n_scores > 1:
            return np.ones((2, self.n_scores), dtype=bool)
        Y = self.Y[weight > 0]
        return np.stack([(Y > 0).any(axis=0), (Y < 1).any(axis=0)])

    def strata(self) -> NDArray:
        return self.Y[:, 0] > 0.5 if self.n_scores == 1 else self.Y.argmax(axis=1)


@dataclass(frozen=True, eq=False)
class RepeatedTargets:
    """The targets of several fits, which differ in how often each row counts.

    Attributes
    ----------
    Y : Targets of any of the fits
    counts : ndarray (fits, n) of bool or int, how often each row counts in each fit; 0: left out
    """

    Y: Targets
    counts: NDArray
    class_of_row = None

    @property
    def n_scores(self) -> int:
        return len(self.counts) * self.Y.n_scores

    def __getitem__(self, rows: slice | Places) -> RepeatedTargets:
        return RepeatedTargets(self.Y[rows], self.counts[:, rows])

    def take_scores(self, scores: Places) -> RepeatedTargets:
        K = self.Y.n_scores
        return RepeatedTargets(self.Y, self.counts[scores[::K] // K])

    def repeated(self, counts: NDArray) -> RepeatedTargets:
        raise ValueError("repeated targets cannot be repeated again")

    def joined(self, others: list[RepeatedTargets]) -> RepeatedTargets:
        counts = np.concatenate([each.counts for each in (self, *others)], axis=1)
        return RepeatedTargets(self.Y.joined([each.Y for each in others]), counts)

    def subtract_target_scores_inplace(self, loss: RowLosses, Z: Scores) -> None:
        for fit, Z_of_fit in enumerate(np.split(Z, len(self.counts))):
            self.Y.subtract_target_scores_inplace(loss[fit, None], Z_of_fit)

    def subtract_targets_inplace(self, P: Scores) -> None:
        for P_of_fit in np.split(P, len(self.counts)):
            self.Y.subtract_targets_inplace(P_of_fit)

    def loss_weights(self) -> RowLosses:
        return self.counts

    def target_sum(self, weight: PerRow) -> PerScore:
        return np.concatenate([self.Y.target_sum(weight * count) for count in self.counts])

    def score_weight(self, weight: PerRow) -> PerScore:
        return np.concatenate([self.Y.score_weight(weight * count) for count in self.counts])

    def observed(self, weight: PerRow) -> Mask:
        return np.concatenate([self.Y.observed(weight * count) for count in self.counts], axis=1)

    def strata(self) -> NDArray | None:
        return self.Y.strata()


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

    def joined(self, others: list[LabelTargets]) -> LabelTargets:
        parts = [self, *others]
        weights = np.concatenate([each._weights for each in parts])
        answers = np.concatenate([each._answers for each in parts])
        stored = stacked([each.stored for each in parts])
        stored = sparse.csr_array((answers, stored.indices, stored.indptr), shape=stored.shape)
        cells = None if self.cell_weight is None else stacked([each.cell_weight for each in parts])
        return LabelTargets.from_answers(stored, weights, self.no_weight, cells)

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

    def rows_with_weight(self) -> Mask:
        """Return which rows have an answer of weight, (n,)."""
        row, label, n = self._rows_of_stored, self.stored.indices, self.stored.shape[0]
        stored, plain_no = self._weights > 0, self.no_weight > 0
        if self.cell_weight is None:
            more = np.bincount(row, stored.astype(float) - plain_no[label], n)
            return np.greater(plain_no.sum() + more, 0)
        cells = np.tile(plain_no, (n, 1))
        cells[row, label] = stored
        return np.logical_or.reduce(cells & (self.cell_weight > 0), axis=1)

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
