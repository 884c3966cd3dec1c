"""What a stream of rows has taught so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.base import Totals
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.minibatch.update import Iterate

# An earlier fit is worth a step for so many of its rows.
_ROWS_A_STEP = 128


@dataclass(frozen=True, eq=False)
class StreamProblem:
    """How a stream is learned from: the model, its penalty on raw features, and the solver."""

    link: Link
    penalty: Ridge
    solver: MiniBatch
    random: np.random.Generator


@dataclass(frozen=True, eq=False)
class StreamState:
    """Where a stream has led.

    Attributes
    ----------
    totals : Totals of its rows, None before the first
    before : int, rows of an earlier fit, which weigh as much as those of the stream
    coordinates : Coordinates, standardising all its rows
    iterate : Iterate, in these coordinates
    losses : ndarray, mean loss of each chunk before it was learned from
    """

    totals: Totals | None
    before: int
    coordinates: Coordinates
    iterate: Iterate
    losses: NDArray

    @classmethod
    def beginning(cls, rows: MemoryRows, link: Link) -> StreamState:
        """Return the stream before its first rows, at the model without features."""
        W = np.zeros((rows.X.shape[1], rows.n_scores))
        # One row more, of which nothing is known, keeps the intercepts of unseen classes finite.
        unknown = link.probabilities_inplace(np.zeros((rows.n_scores, 1)))[:, 0]
        b = link.null_scores((rows.totals.target_sum + unknown) / (rows.totals.score_weight + 1))
        return cls.at(rows.coordinates, W, b * rows.coordinates.intercept, before=0)

    @classmethod
    def at(cls, raw: Coordinates, W: NDArray, b: NDArray, before: int) -> StreamState:
        """Return the stream before its first rows, at the coefficients of a fit of other rows."""
        iterate = Iterate.at_start(raw.working(W, b), before / _ROWS_A_STEP)
        return cls(None, before, raw, iterate, np.array([]))

    def after(self, rows: MemoryRows, learner: StreamProblem) -> StreamState:
        """Return the stream after some more raw rows."""
        totals = rows.totals if self.totals is None else self.totals + rows.totals
        coordinates = rows.coordinates.standardising(totals.mean, totals.variance, rows.X.dtype)
        coordinates = coordinates.without_constants()
        here = self.totals is not None and self.coordinates.are_nearly(coordinates)
        coordinates = self.coordinates if here else coordinates
        objective = self._objective(rows.replaced(coordinates=coordinates), totals, learner)
        iterate = self.iterate
        if not here:
            iterate = iterate.in_coordinates(coordinates.since(self.coordinates), objective)
        loss = objective.on_rows(objective.rows).unpenalised().value(iterate.average)
        losses = np.append(self.losses, objective.in_units_of_F(loss).sum())
        iterate = learner.solver.run_epoch(objective, iterate, learner.random)
        return StreamState(totals, self.before, coordinates, iterate, losses)

    @property
    def n(self) -> int:
        """Number of rows seen."""
        return self.before + (0 if self.totals is None else self.totals.n)

    def coefficients(self, link: Link) -> tuple[NDArray, NDArray]:
        """Return W (d, K) and b (K,) in the user's units."""
        return self.coordinates.coefficients(link.centred(self.iterate.average))

    def _objective(self, rows: MemoryRows, totals: Totals, learner: StreamProblem) -> Objective:
        """Return F of all rows so far as some of them estimate it: the penalty fades with these."""
        own = rows.coordinates
        a_row = np.where(totals.score_weight > 0, totals.score_weight, 1.0) / totals.n
        weight = a_row * (self.before + totals.n)
        penalty = learner.penalty.for_scaled_features(own.scale, own.intercept).divided(weight)
        return Objective(learner.link, rows, penalty, a_row * rows.n, float(a_row.mean() * rows.n))
