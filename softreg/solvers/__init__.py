"""Solvers: configurations to pass as ``solver=``."""

from softreg.solvers._minibatch import MiniBatch
from softreg.solvers._solvers import LBFGS, Newton

__all__ = ["LBFGS", "MiniBatch", "Newton"]
