"""What every solver's configuration has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sklearn.base import BaseEstimator

from softreg._model.objective import Objective
from softreg._rows.arrays import Coef
from softreg.solvers.monitor import Monitor
from softreg.solvers.result import Result


class Solver(BaseEstimator, ABC):
    """A solver's configuration: scikit-learn's parameter protocol, and a way to minimise."""

    @abstractmethod
    def minimise(self, objective: Objective, start: Coef, monitor: Monitor) -> Result:
        """Return where minimising the objective from `start` (width, K) ended."""
