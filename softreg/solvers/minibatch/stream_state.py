"""The state of a model that learns from a stream of rows, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg._model.links import Link, Sigmoid, Softmax
from softreg._model.objective import Objective
from softreg._model.penalties import Penalty
from softreg._rows.arrays import Coef, PerScore
from softreg._rows.base import Totals
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows
from softreg._rows.moments import Moments
from softreg.solvers.base import MakeGenerator
from softreg.solvers.linalg.factors import JointEigenbasis
from softreg.solvers.minibatch.curvature import (
    ClassBlocks,
    ClassInverse,
    Kronecker,
    KroneckerInverse,
)
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.minibatch.update import CurvatureState, Iterate

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
    make_generator : callable () -> numpy.random.Generator, of one chunk
    """

    link: Link
    penalty: Penalty
    solver: MiniBatch
    make_generator: MakeGenerator


@dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream's chunks leave for the next one.

    Attributes
    ----------
    totals : Totals of the stream's rows, None before the first
    n_rows_of_fit : int, rows of an earlier fit, which weigh as much as those of the stream
    n_rows_by_score : ndarray (K,), rows of the chunks in which each score had weight
    coordinates : Coordinates, which standardise all rows of the stream, nearly
    iterate : Iterate, in these coordinates
    W, b : ndarrays (d, K) and (K,), the coefficients in the user's units, which new coordinates do
        not round: scores that a chunk says nothing of keep theirs bit for bit
    losses : ndarray (number of chunks,), mean loss of each chunk before the step on it
    """

    totals: Totals | None
    n_rows_of_fit: int
    n_rows_by_score: NDArray[np.intp]
    coordinates: Coordinates
    iterate: Iterate
    W: Coef
    b: PerScore
    losses: NDArray

    @classmethod
    def from_coefficients(
        cls, raw: Coordinates, W: Coef, b: PerScore, n_rows_of_fit: int = 0
    ) -> StreamState:
        """Return the state before the first chunk, at coefficients of a fit to some rows, or none.

        `raw` are the user's coordinates.
        """
        iterate = Iterate.at_start(raw.working(W, b), n_rows_of_fit / _ROWS_PER_STEP)
        none = np.zeros(len(b), dtype=np.intp)
        return cls(None, n_rows_of_fit, none, raw, iterate, W, b, np.array([]))

    @classmethod
    def from_dicts(cls, saved: dict[str, Any]) -> StreamState:
        """Return the state of which these are the dicts of `as_dicts`, bit for bit."""
        return _from_dicts(saved)

    def as_dicts(self) -> dict[str, Any]:
        """Return the state as dicts of arrays and numbers, which load without any of its classes.

        For skops and the like, which ask their users to trust each class that is saved.
        """
        return _as_dicts(self)

    @property
    def n_rows(self) -> int:
        """Number of rows seen that have weight, those of an earlier fit among them."""
        return self.n_rows_of_fit + (0 if self.totals is None else self.totals.n)

    def after_chunk(self, rows: MemoryRows, problem: StreamProblem) -> StreamState:
        """Return the state after one more chunk, given its rows in raw coordinates.

        Scores without weight in the chunk, as of a label that is unknown there, stay as they are.
        """
        # 1. Totals of all rows so far, and the coordinates that standardise them.
        totals = rows.totals if self.totals is None else self.totals + rows.totals
        learned = rows.totals.score_weight > 0
        n_rows = self.n_rows_by_score + learned * rows.totals.n
        mean_weight = totals.score_divisor / np.maximum(n_rows, 1)
        # Of all rows so far: those of an earlier fit weigh as much.
        weight = mean_weight * np.maximum(self.n_rows_of_fit + n_rows, 1)
        penalty = problem.penalty.divided(weight)
        least_scale = penalty.least_scale(totals.weight_unit)
        coordinates = rows.coordinates.standardising(totals.moments, rows.X.dtype, least_scale)
        coordinates = coordinates.without_constants()
        # 2. The coordinates of the chunk before, if they are near: others need a new inverse.
        is_near = self.totals is not None and self.coordinates.are_nearly(coordinates)
        coordinates = self.coordinates if is_near else coordinates
        # 3. F of all rows so far, estimated from this chunk, and the iterate in its coordinates.
        rows = rows.replaced(coordinates=coordinates, known_totals=rows.totals)
        objective = _estimated_objective(problem.link, rows, penalty, mean_weight)
        iterate = self.iterate
        if not is_near:
            iterate = iterate.in_coordinates(coordinates.since(self.coordinates), objective)
        # 4. Scores of which these are the first rows begin at the null model of them.
        first = learned & (self.n_rows_by_score + self.n_rows_of_fit == 0)
        iterate = iterate.moved_to(_null(objective), first)
        # 5. The loss of rows that the coefficients have not been fitted to yet.
        of_chunk = objective.on_rows(rows).unpenalised()
        loss = of_chunk.in_units_of_F(of_chunk.value(iterate.average)).sum()
        # 6. A step on each batch of the chunk.
        iterate = problem.solver.run_epoch(objective, iterate, problem.make_generator)
        W, b = coordinates.coefficients(problem.link.centred(iterate.average))
        return StreamState(
            totals=totals,
            n_rows_of_fit=self.n_rows_of_fit,
            n_rows_by_score=n_rows,
            coordinates=coordinates,
            iterate=iterate,
            W=np.where(learned, W, self.W),
            b=np.where(learned, b, self.b),
            losses=np.append(self.losses, loss),
        )


def _estimated_objective(
    link: Link, rows: MemoryRows, penalty: Penalty, mean_weight: PerScore
) -> Objective:
    """Return F of all rows so far, of which those of a chunk, in its coordinates, are a sample.

    The penalty is in the user's units; `mean_weight` (K,) is that of a score in all rows.
    """
    totals, coordinates = rows.totals, rows.coordinates
    scale, intercept = coordinates.scale, coordinates.intercept
    return Objective(
        link=link,
        rows=rows,
        penalty=penalty.for_scaled_features(scale, intercept, totals.weight_unit),
        score_weight=mean_weight * totals.n,
        mean_weight=float(mean_weight.mean() * totals.n),
    )


# The classes that a state is made of.
_PARTS: dict[str, type] = {
    part.__name__: part
    for part in (StreamState, Totals, Moments, Coordinates, Iterate, CurvatureState)
    + (ClassBlocks, ClassInverse, Kronecker, KroneckerInverse, JointEigenbasis, Softmax, Sigmoid)
}


def _as_dicts(value: Any) -> Any:
    """Return a part of a state as a dict of its fields and its class's name, and others as is."""
    name = type(value).__name__
    if name not in _PARTS:
        return value
    names = [field.name for field in fields(value)] if is_dataclass(value) else []
    return {"part": name} | {field: _as_dicts(getattr(value, field)) for field in names}


def _from_dicts(value: Any) -> Any:
    """Return what `_as_dicts` was given."""
    if not isinstance(value, dict):
        return value
    named = {name: _from_dicts(part) for name, part in value.items() if name != "part"}
    return _PARTS[value["part"]](**named)


def _null(objective: Objective) -> Coef:
    """Return T (width, K) of the model without features, of the objective's rows and one more.

    That has equal probabilities, which keeps the intercepts of unseen classes finite.
    """
    T, totals, link = np.zeros(objective.shape), objective.rows.totals, objective.link
    if objective.rows.coordinates.intercept:
        even = link.probabilities_inplace(np.zeros((len(T.T), 1)))[:, 0]
        one = 1 / totals.weight_unit
        T[-1] = link.null_scores((totals.target_sum + one * even) / (totals.score_weight + one))
    return T
