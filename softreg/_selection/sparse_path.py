"""Paths of sparse models: the optimum at one strength after another, from the largest of use on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg.solvers.base import Monitor, Point, Result
from softreg.solvers.proximal_newton import (
    ProximalNewton,
    first_stages,
    largest_useful_multiple,
    optima_at,
)

# The largest C of a grid is the least over this; where columns are more than rows, over the second
# (as in glmnet).
_SPAN, _SPAN_OF_WIDE = 1e-4, 1e-2
# The least C is below the largest of no use by this share, more than rounding of gradients.
_MARGIN = 1e-10


def sparse_path_results(
    objective: Objective, Cs: NDArray, new_monitor: Callable[[], Monitor]
) -> Iterator[Result]:
    """Yield the result at each C, ascending, by which a penalty that is not smooth is divided.

    Each starts on the secant of the path, with the coefficients that the sequential strong rule
    leaves, in the model of the one before.
    """
    exact = objective.in_double()
    point = Point.at_coefficients(exact, exact.null())
    stages = first_stages(exact, point)
    for C in Cs:
        if np.isinf(C):
            T = np.concatenate([stage.point.T for stage in stages], axis=1)
            yield ProximalNewton().minimise(objective.at_strength(C), T, new_monitor())
        else:
            stages, result = optima_at(exact, stages, 1 / C, point, new_monitor())
            yield result


def sparse_C_values(
    objective: Objective, Cs: int | NDArray, ratio: float | None, new_monitor: Callable[[], Monitor]
) -> NDArray:
    """Return the values of C to try, (n_Cs,): those given, or a grid of as many as an integer.

    The least is the largest at which all coefficients with a penalty are zero; the largest is that
    over `ratio`, by default 1e-4, or 1e-2 where features are more than rows.
    """
    if not isinstance(Cs, int):
        return Cs
    exact = objective.in_double()
    multiple = largest_useful_multiple(exact, new_monitor()) * (1 + _MARGIN)
    wide = len(exact.rows.coordinates.scale) > exact.rows.totals.n
    span = ratio if ratio is not None else (_SPAN_OF_WIDE if wide else _SPAN)
    return np.geomspace(1 / multiple, 1 / (multiple * span), Cs)
