"""The state of a model that learns from a stream of rows, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._rows.base import Totals
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.minibatch.update import Iterate

# A stream that goes on from a fit starts with one step counted for this many rows of the fit.
_ROWS_PER_STEP = 128


@dataclass(frozen=True, eq=False)
class StreamProblem:
    """What is minimised over a stream, and how.

    Attributes
    ----------
    link : Link
    penalty : Penalty, on coefficients in the user's units
    solver : MiniBatch
    random : numpy.random.Generator, of one chunk
    """

    link: Link
    penalty: Penalty
    solver: MiniBatch
    random: np.random.Generator


@dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream's chunks leave for the next one.

    Attributes
    ----------
    totals : Totals of the stream's rows, None before the first
    n_rows_of_fit : int, rows of an earlier fit, which weigh as much as those of the stream
    coordinates : Coordinates, which standardise all rows of the stream, nearly
    iterate : Iterate, in these coordinates
    losses : ndarray (number of chunks,), mean loss of each chunk before the step on it
    """

    totals: Totals | None
    n_rows_of_fit: int
    coordinates: Coordinates
    iterate: Iterate
    losses: NDArray

    @classmethod
    def at_null_model(cls, rows: MemoryRows, link: Link) -> StreamState:
        """Return the state before the first chunk, at the null model of its raw rows."""
        W = np.zeros((rows.X.shape[1], rows.n_scores))
        # One more row, of equal probabilities, keeps the intercepts of unseen classes finite.
        even = link.probabilities_inplace(np.zeros((rows.n_scores, 1)))[:, 0]
        one = 1 / rows.weight_unit
        totals = rows.totals
        b = link.null_scores((totals.target_sum + one * even) / (totals.score_weight + one))
        return cls.from_fit(rows.coordinates, W, b * rows.coordinates.intercept, n_rows=0)

    @classmethod
    def from_fit(cls, raw: Coordinates, W: NDArray, b: NDArray, n_rows: int) -> StreamState:
        """Return the state before the first chunk, at W (d, K) and b (K,) of a fit to `n_rows`.

        `raw` are the user's coordinates.
        """
        iterate = Iterate.at_start(raw.working(W, b), n_rows / _ROWS_PER_STEP)
        return cls(None, n_rows, raw, iterate, np.array([]))

    def after_chunk(self, rows: MemoryRows, problem: StreamProblem) -> StreamState:
        """Return the state after one more chunk, given its rows in raw coordinates."""
        # 1. Totals of all rows so far, and the coordinates that standardise them.
        totals = rows.totals if self.totals is None else self.totals + rows.totals
        least_scale = self._penalty(totals, problem).least_scale(totals.weight_unit)
        coordinates = rows.coordinates.standardising(totals.moments, rows.X.dtype, least_scale)
        coordinates = coordinates.without_constants()
        # 2. The coordinates of the chunk before, if they are near: others need a new inverse.
        is_near = self.totals is not None and self.coordinates.are_nearly(coordinates)
        coordinates = self.coordinates if is_near else coordinates
        # 3. F of all rows so far, estimated from this chunk, and the iterate in its coordinates.
        objective = self._objective(rows.replaced(coordinates=coordinates), totals, problem)
        iterate = self.iterate
        if not is_near:
            iterate = iterate.in_coordinates(coordinates.since(self.coordinates), objective)
        # 4. The loss of rows that the coefficients have not been fitted to yet.
        loss = objective.on_rows(objective.rows).unpenalised().value(iterate.average)
        losses = np.append(self.losses, objective.in_units_of_F(loss).sum())
        # 5. A step on each batch of the chunk.
        iterate = problem.solver.run_epoch(objective, iterate, problem.random)
        return StreamState(totals, self.n_rows_of_fit, coordinates, iterate, losses)

    @property
    def n_rows(self) -> int:
        """Number of rows seen, those of an earlier fit among them."""
        return self.n_rows_of_fit + (0 if self.totals is None else self.totals.n)

    def coefficients(self, link: Link) -> tuple[NDArray, NDArray]:
        """Return W (d, K) and b (K,) in the user's units."""
        return self.coordinates.coefficients(link.centred(self.iterate.average))

    def _objective(self, rows: MemoryRows, totals: Totals, problem: StreamProblem) -> Objective:
        """Return F of all rows so far, with the mean loss of some of them in place of all."""
        scale, intercept = rows.coordinates.scale, rows.coordinates.intercept
        penalty, mean_weight = self._penalty(totals, problem), totals.score_divisor / totals.n
        return Objective(
            link=problem.link,
            rows=rows,
            penalty=penalty.for_scaled_features(scale, intercept, totals.weight_unit),
            score_weight=mean_weight * rows.n,
            mean_weight=float(mean_weight.mean() * rows.n),
        )

    def _penalty(self, totals: Totals, problem: StreamProblem) -> Penalty:
        """Return the penalty in the user's units, divided by the weight of all rows.

        Those of an earlier fit are among them.
        """
        mean_weight = totals.score_divisor / totals.n
        return problem.penalty.divided(mean_weight * (self.n_rows_of_fit + totals.n))
