"""Solvers: configurations to pass as ``solver=``."""

from softreg.solvers._solvers import LBFGS, Newton, Solver, solver_for

__all__ = ["LBFGS", "Newton", "Solver", "solver_for"]
