"""Solvers by name, and the rule that chooses one by counted cost."""

from __future__ import annotations

from typing import Any

from softreg._model.objective import Objective
from softreg._rows.arrays import plain
from softreg.solvers.base import Solver
from softreg.solvers.lbfgs import LBFGS
from softreg.solvers.linalg.costs import costs_of
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.newton import Newton, plain_newton_pays
from softreg.solvers.proximal_newton import ProximalNewton


def choose_solver(objective: Objective) -> LBFGS | Newton | ProximalNewton:
    """Return ProximalNewton where the penalty is not smooth, else what `smooth_solver` chooses."""
    return smooth_solver(objective) if objective.penalty.is_smooth else ProximalNewton()


def smooth_solver(objective: Objective) -> LBFGS | Newton:
    """Return L-BFGS where the columns' Gram matrix is worth factoring, and Hessians are not cheap.

    Else Newton, which steps with whole Hessians where they are cheap.

    L-BFGS has one line search and one history for all labels, which is enough in the coordinates of
    a factored metric; without one, Newton is faster, as labels differ in their steps (measured).
    """
    is_lbfgs = costs_of(objective).factor_pays and not plain_newton_pays(objective)
    return LBFGS() if is_lbfgs else Newton()


def _in_place_of_liblinear(objective: Objective) -> LBFGS | Newton | ProximalNewton:
    """Return what "auto" chooses, if there is no intercept; ValueError else."""
    if objective.rows.coordinates.intercept:
        raise ValueError(
            'solver="liblinear" of scikit-learn penalises the intercept, which softreg never does: '
            'with solver="auto" the optimum is that of scikit-learn\'s other solvers; with '
            'fit_intercept=False "liblinear" means "auto".'
        )
    return choose_solver(objective)


# scikit-learn's names of solvers whose optimum is that of any other.
_AS_AUTO = ("newton-cg", "newton-cholesky", "sag", "saga")
# Names that users may pass -> what makes the solver for an objective.
_NAMED = {
    "auto": choose_solver,
    "lbfgs": lambda _objective: LBFGS(),
    "newton": lambda _objective: Newton(),
    "proximal-newton": lambda _objective: ProximalNewton(),
    "minibatch": lambda _objective: MiniBatch(),
    **dict.fromkeys(_AS_AUTO, choose_solver),
    "liblinear": _in_place_of_liblinear,
}


def check_solver(solver: Any) -> None:
    """Raise a ValueError unless `solver` is a name, or a configuration with options that fit."""
    if isinstance(solver, Solver):
        solver.check()
    elif not (isinstance(solver, str) and solver in _NAMED):
        names = ", ".join(map(repr, _NAMED))
        raise ValueError(
            f"solver={plain(solver)!r} must be one of {names} or an object of softreg.solvers."
        )


def solver_for(solver: str | Solver, objective: Objective) -> Solver:
    """Return the solver of this name, or the configuration itself."""
    check_solver(solver)
    chosen = solver if isinstance(solver, Solver) else _NAMED[solver](objective)
    if not (objective.penalty.is_smooth or chosen.takes_sparse_penalties):
        raise ValueError(
            f"solver={plain(solver)!r} minimises smooth penalties, which that of l1_ratio > 0 is "
            'not: take solver="auto" or "proximal-newton", or l1_ratio=0.'
        )
    return chosen


def stream_solver(solver: str | Solver) -> MiniBatch:
    """Return the solver that learns from streams, of this name or configuration."""
    if isinstance(solver, MiniBatch):
        return solver
    if solver in ("auto", "minibatch", *_AS_AUTO):
        return MiniBatch()
    raise AttributeError(
        f"solver={plain(solver)!r} reads the data many times, which a stream does not allow: "
        'partial_fit needs solver="auto", "minibatch" or a MiniBatch object; fit_chunks takes any '
        "solver."
    )
