"""Solvers: configurations to pass as ``solver=``."""

from softreg.solvers.certified import LBFGS, Newton
from softreg.solvers.minibatch.solver import MiniBatch

__all__ = ["LBFGS", "MiniBatch", "Newton"]
