"""Targets: the y of a block of rows, as a link asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Targets(Protocol):
    """The y of n rows over K scores, without an n x K matrix where less will do.

    Matrices (K, m) are C-contiguous. B is the number of problems: 1 where all scores share a row's
    loss, K where each score has its own; several fits at once have theirs one after another.
    """

    @property
    def n_scores(self) -> int:
        """Number of scores K."""

    def __getitem__(self, rows: slice | NDArray) -> Targets:
        """Return the targets of some rows."""

    def take_scores(self, scores: NDArray) -> Targets:
        """Return the targets of some scores."""

    def repeated(self, kept: NDArray) -> Targets:
        """Return the targets of several fits; `kept` (fits, n) says how often rows count."""

    def subtract_target_scores_inplace(self, loss: NDArray, Z: NDArray) -> None:
        """Take y z off the losses (B, m) of the scores Z (K, m)."""

    def subtract_targets_inplace(self, P: NDArray) -> None:
        """Turn P (K, m) into P - Y."""

    def loss_weights(self) -> NDArray | None:
        """Return what each problem's loss counts beside its row's weight, (B, m); None: one."""

    def target_sum(self, weight: NDArray) -> NDArray:
        """Return sum_i w_i y_i, (K,), where w holds row weights (n,) times own weights."""

    def score_weight(self, weight: NDArray) -> NDArray:
        """Return sum_i w_i, (K,), with the same weights."""

    def observed(self, weight: NDArray) -> NDArray[np.bool_]:
        """Return whether a target above 0, and one below 1, counts in each score, (2, K).

        Both are said to of scores that share a row's loss.
        """

    def strata(self) -> NDArray | None:
        """Return each row's class (n,), or None where rows are not of one class each."""

    def classes_of_rows(self) -> NDArray:
        """Return the scores that some row is of, ascending; ValueError if it is not of one each."""

    def over_candidates(self, scores: NDArray) -> Targets:
        """Return the targets of rows that are each of one of these scores, over these alone."""


@dataclass(frozen=True)
class ClassTargets:
    """One class a row, smoothed: y = (1 - a) onehot(codes) + a / K."""

    codes: NDArray[np.intp]
    n_classes: int
    smoothing: float = 0.0

    @property
    def n_scores(self) -> int:
        return self.n_classes

    def __getitem__(self, rows: slice | NDArray) -> ClassTargets:
        return ClassTargets(self.codes[rows], self.n_classes, self.smoothing)

    def take_scores(self, scores: NDArray) -> ClassTargets:
        if len(scores) == self.n_classes:
            return self
        raise ValueError("classes that exclude each other have no targets of their own")

    def repeated(self, kept: NDArray) -> RepeatedTargets:
        return RepeatedTargets(self, kept)

    def subtract_target_scores_inplace(self, loss: NDArray, Z: NDArray) -> None:
        own = Z.reshape(-1).take(self._places())
        if self.smoothing:
            own = (1 - self.smoothing) * own + self.smoothing * Z.mean(axis=0)
        loss -= own

    def subtract_targets_inplace(self, P: NDArray) -> None:
        P.reshape(-1)[self._places()] -= 1 - self.smoothing
        if self.smoothing:
            P -= self.smoothing / self.n_classes

    def loss_weights(self) -> None:
        return None

    def target_sum(self, weight: NDArray) -> NDArray:
        counts = np.bincount(self.codes, weights=weight, minlength=self.n_classes)
        return (1 - self.smoothing) * counts + self.smoothing * counts.sum() / self.n_classes

    def score_weight(self, weight: NDArray) -> NDArray:
        return np.full(self.n_classes, weight.sum())

    def observed(self, weight: NDArray) -> NDArray[np.bool_]:
        return np.ones((2, self.n_classes), dtype=bool)

    def strata(self) -> NDArray:
        return self.codes

    def classes_of_rows(self) -> NDArray:
        if self.smoothing:
            raise needs_all_classes()
        return np.flatnonzero(np.bincount(self.codes, minlength=self.n_classes))

    def over_candidates(self, scores: NDArray) -> ClassTargets:
        order = np.argsort(scores)
        places = order[np.searchsorted(scores, self.codes, sorter=order)]
        return ClassTargets(places, len(scores))

    def _places(self) -> NDArray[np.intp]:
        """Return where each row's class stands in a contiguous (K, m) matrix, flattened."""
        return self.codes * len(self.codes) + np.arange(len(self.codes))


@dataclass(frozen=True)
class TargetMatrix:
    """A target between 0 and 1 for every row and score, Y (n, K)."""

    Y: NDArray[np.floating]

    @property
    def n_scores(self) -> int:
        return self.Y.shape[1]

    def __getitem__(self, rows: slice | NDArray) -> TargetMatrix:
        return TargetMatrix(self.Y[rows])

    def take_scores(self, scores: NDArray) -> TargetMatrix:
        return TargetMatrix(self.Y[:, scores])

    def repeated(self, kept: NDArray) -> RepeatedTargets:
        return RepeatedTargets(self, kept)

    def subtract_target_scores_inplace(self, loss: NDArray, Z: NDArray) -> None:
        loss -= np.einsum("mk,km->m", self.Y, Z) if len(loss) == 1 else self.Y.T * Z

    def subtract_targets_inplace(self, P: NDArray) -> None:
        P -= self.Y.T

    def target_sum(self, weight: NDArray) -> NDArray:
        return weight @ self.Y

    def loss_weights(self) -> None:
        return None

    def score_weight(self, weight: NDArray) -> NDArray:
        return np.full(self.Y.shape[1], weight.sum())

    def observed(self, weight: NDArray) -> NDArray[np.bool_]:
        if self.n_scores > 1:
            return np.ones((2, self.n_scores), dtype=bool)
        Y = self.Y[weight > 0]
        return np.stack([(Y > 0).any(axis=0), (Y < 1).any(axis=0)])

    def strata(self) -> NDArray:
        return self.Y[:, 0] > 0.5 if self.n_scores == 1 else self.Y.argmax(axis=1)

    def classes_of_rows(self) -> NDArray:
        raise needs_all_classes()

    def over_candidates(self, scores: NDArray) -> TargetMatrix:
        raise needs_all_classes()


@dataclass(frozen=True, eq=False)
class RepeatedTargets:
    """The same targets for several fits, each of which leaves some rows out.

    Attributes
    ----------
    Y : Targets, those of one fit
    kept : ndarray (fits, n) of bool or int, how often each row counts in each fit
    """

    Y: Targets
    kept: NDArray

    @property
    def n_scores(self) -> int:
        return len(self.kept) * self.Y.n_scores

    def __getitem__(self, rows: slice | NDArray) -> RepeatedTargets:
        return RepeatedTargets(self.Y[rows], self.kept[:, rows])

    def take_scores(self, scores: NDArray) -> RepeatedTargets:
        K = self.Y.n_scores
        return RepeatedTargets(self.Y, self.kept[scores[::K] // K])

    def repeated(self, kept: NDArray) -> RepeatedTargets:
        raise ValueError("folds have no folds of their own")

    def subtract_target_scores_inplace(self, loss: NDArray, Z: NDArray) -> None:
        for fit, own in enumerate(np.split(Z, len(self.kept))):
            self.Y.subtract_target_scores_inplace(loss[fit, None], own)

    def subtract_targets_inplace(self, P: NDArray) -> None:
        for own in np.split(P, len(self.kept)):
            self.Y.subtract_targets_inplace(own)

    def loss_weights(self) -> NDArray:
        return self.kept

    def target_sum(self, weight: NDArray) -> NDArray:
        return np.concatenate([self.Y.target_sum(weight * kept) for kept in self.kept])

    def score_weight(self, weight: NDArray) -> NDArray:
        return np.concatenate([self.Y.score_weight(weight * kept) for kept in self.kept])

    def observed(self, weight: NDArray) -> NDArray[np.bool_]:
        return np.concatenate([self.Y.observed(weight * kept) for kept in self.kept], axis=1)

    def strata(self) -> NDArray | None:
        return self.Y.strata()

    def classes_of_rows(self) -> NDArray:
        raise needs_all_classes()

    def over_candidates(self, scores: NDArray) -> RepeatedTargets:
        raise needs_all_classes()


def needs_all_classes() -> ValueError:
    """Return what candidates ask of targets, to be raised."""
    return ValueError(
        "n_candidates asks for rows of one class each; class probabilities and label_smoothing "
        "need the scores of all classes: leave n_candidates None, or pass labels without smoothing."
    )
