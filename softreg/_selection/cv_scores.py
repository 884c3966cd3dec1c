"""The scores of held-out rows along a path: of folds by fits without them, or of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._selection.leave_one_out import leave_one_out_with_refits
from softreg._selection.path import PathPoint, path_points
from softreg._selection.refits import Fold, FoldFit, refits_in_groups
from softreg._selection.scoring.scorers import Scorer
from softreg._selection.scoring.scores import Classifier, LogLoss, Scored, stacked
from softreg._selection.sparse_refits import sparse_fold_fits
from softreg.solvers.base import Monitor

# What makes the objective of the rows that a fold learns from, with C = 1.
WithoutFold = Callable[[Fold], Objective]


class HeldOutScores(Protocol):
    """Rows that are held out of fits, in folds or one by one, and how predictions are scored.

    Attributes
    ----------
    count : int, the number of scores at each C
    """

    @property
    def count(self) -> int: ...

    def scored_points(
        self,
        objective: Objective,
        without_fold: WithoutFold,
        Cs: NDArray,
        new_monitor: Callable[[], Monitor],
    ) -> Iterator[tuple[PathPoint, Scored]]:
        """Yield the fit to all rows at each C, ascending, and the held-out scores there.

        These are (count,), or (count, L) where labels have a score each. `objective` is that of all
        rows with C = 1, `without_fold` makes the same one of the rows that a fold learns from.
        """


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Folds, each scored by the fit that leaves it out, with weight 1 if its score is known.

    Attributes
    ----------
    folds : list of Fold
    scorer : Scorer
    classifier : Classifier without coefficients; with those of a fit it is what scorers see
    standardize : bool, whether the penalty is that of columns over their deviations
    """

    folds: list[Fold]
    scorer: Scorer
    classifier: Classifier
    standardize: bool

    @property
    def count(self) -> int:
        return len(self.folds)

    def scored_points(
        self,
        objective: Objective,
        without_fold: WithoutFold,
        Cs: NDArray,
        new_monitor: Callable[[], Monitor],
    ) -> Iterator[tuple[PathPoint, Scored]]:
        if objective.penalty.is_smooth:
            groups = refits_in_groups(objective, self.folds, new_monitor().tol, self.standardize)
            for point in path_points(objective, Cs, new_monitor, len(self.folds)):
                fits = [fit for group in groups for fit in group.held_out_fits(point)]
                yield point, stacked(list(map(self._scored, self.folds, fits)))
            return
        paths = []
        for fold in self.folds:
            path = sparse_fold_fits(without_fold(fold), objective, fold.test, Cs)
            paths.append([self._scored(fold, fit) for fit in path])
        points = path_points(objective, Cs, new_monitor)
        for point, *scored in zip(points, *paths, strict=True):
            yield point, stacked(scored)

    def _scored(self, fold: Fold, fit: FoldFit) -> Scored:
        """Return the score of a fold, or that of each label, (L,)."""
        attributes = {"coef_": np.ascontiguousarray(fit.coef.T), "intercept_": fit.intercept}
        model = self.classifier._with_attributes(attributes | {"n_iter_": np.array([fit.n_iter])})
        return self.scorer.fold_score(model, fold.test, model._as_decisions(fit.scores))


@dataclass(frozen=True, eq=False)
class RowScores:
    """All rows, each scored by the fit that leaves it out, approximately.

    Attributes
    ----------
    count : int, the number of rows
    scorer : LogLoss
    classifier : Classifier, as in `FoldScores`
    """

    count: int
    scorer: LogLoss
    classifier: Classifier

    def scored_points(
        self,
        objective: Objective,
        without_fold: WithoutFold,
        Cs: NDArray,
        new_monitor: Callable[[], Monitor],
    ) -> Iterator[tuple[PathPoint, Scored]]:
        for point in path_points(objective, Cs, new_monitor):
            yield point, self._scored(point)

    def _scored(self, point: PathPoint) -> Scored:
        """Return the score of each row, (n,) or (n, L).

        NaN where there is no optimum, from which a fit without a row would be a step away.
        """
        left_out = leave_one_out_with_refits(point.objective, point.T, point.metric)
        scores = self.classifier._as_decisions(left_out.scores)
        scored = self.scorer.row_scores(np.arange(len(scores)), scores)
        if not point.result.diverging:
            return scored
        values = scored.values.copy()
        values[..., list(point.result.diverging) if values.ndim > 1 else slice(None)] = np.nan
        return Scored(values, scored.weights, f"there is no optimum at C={point.C:g}")
