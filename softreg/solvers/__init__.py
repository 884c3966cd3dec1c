"""Solvers: configurations to pass as ``solver=``."""

from softreg.solvers.lbfgs import LBFGS
from softreg.solvers.minibatch.solver import MiniBatch
from softreg.solvers.newton import Newton

__all__ = ["LBFGS", "MiniBatch", "Newton"]
