"""Paths of sparse models: the optimum at one strength after another, from the largest of use on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg.solvers.auto import choose_solver
from softreg.solvers.base import Monitor, Point, Result
from softreg.solvers.outer_loop import is_enormous
from softreg.solvers.proximal_newton import (
    Stage,
    first_stages,
    largest_useful_multiple,
    optima_at,
)

# The largest C of a grid is the least over this; where columns are more than rows, over the second
# (as in glmnet).
_SPAN, _SPAN_OF_WIDE = 1e-4, 1e-2
# The least C is below the largest of no use by this share, more than rounding of gradients.
_MARGIN = 1e-10


def sparse_optima(
    objective: Objective, Cs: NDArray, new_monitor: Callable[[], Monitor]
) -> Iterator[tuple[Coef, Result]]:
    """Yield the optimum T (width, K), and the result, at each C, ascending.

    C divides the penalty, which is not smooth. Each starts on the secant of the path, with the
    coefficients that the sequential strong rule leaves, in the model of the one before; where rows
    are saturated at the null model, as a fit by itself does. At C = inf, where there may be no
    optimum, the fit is by itself: where it ends depends on its start.
    """
    exact = objective.in_double()
    T = exact.null()
    point = Point.at_coefficients(exact, T)
    stages, is_saturated = first_stages(exact, point), is_enormous(exact, point)
    for C in Cs:
        posed = objective.at_strength(C)
        if is_saturated or np.isinf(C):
            start = posed.null() if np.isinf(C) else T
            result = choose_solver(posed).minimise(posed, start, new_monitor())
            T = objective.working(result.coef, result.intercept)
        else:
            stages, result = optima_at(exact, stages, 1 / C, point, new_monitor())
            T = _of_all_problems(stages)
        yield T, result


def _of_all_problems(stages: list[Stage]) -> Coef:
    """Return the coefficients of all problems, (width, K)."""
    return np.concatenate([stage.point.T for stage in stages], axis=1)


def sparse_C_values(
    objective: Objective, count: int, ratio: float | None, new_monitor: Callable[[], Monitor]
) -> NDArray:
    """Return a grid of `count` values of C, evenly spaced in log C.

    The least is the largest at which all coefficients with a penalty are zero; the largest is that
    over `ratio`, by default 1e-4, or 1e-2 where features are more than rows. ValueError if these
    are no numbers, as under a sparse part that is next to nothing.
    """
    exact = objective.in_double()
    multiple = largest_useful_multiple(exact, new_monitor()) * (1 + _MARGIN)
    wide = len(exact.rows.coordinates.scale) > exact.rows.totals.n
    span = ratio if ratio is not None else (_SPAN_OF_WIDE if wide else _SPAN)
    with np.errstate(over="ignore", divide="ignore"):
        ends = np.divide(1, [multiple, multiple * span])
    if not (ends[0] > 0 and np.isfinite(ends).all()):
        raise ValueError(
            f"Cs={count} asks for a grid from the largest C at which all coefficients are zero, "
            f"which is about {ends[0]:.3g}: pass values of C, or choose another l1_ratio, "
            "penalty_factor or sample_weight."
        )
    return np.geomspace(float(ends[0]), float(ends[1]), count)
