"""Solvers: configurations to pass as ``solver=``."""

from softreg.solvers.lbfgs import LBFGS
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.newton import Newton
from softreg.solvers.proximal_newton import ProximalNewton

__all__ = ["LBFGS", "MiniBatch", "Newton", "ProximalNewton"]

# Files of pickle and skops name a class by its module: theirs stay readable where code moves.
for _solver in (LBFGS, MiniBatch, Newton, ProximalNewton):
    _solver.__module__ = __name__
