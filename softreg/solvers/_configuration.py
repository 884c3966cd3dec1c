"""What every solver's configuration has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

from numpy.typing import NDArray

from softreg._objective import Objective
from softreg.solvers._result import Monitor, Result


class Solver(ABC):
    """A solver's configuration, with scikit-learn's parameter protocol."""

    @abstractmethod
    def minimise(self, objective: Objective, start: NDArray, monitor: Monitor) -> Result:
        """Minimise the objective from `start` (width, K)."""

    def __repr__(self) -> str:
        changed = [f for f in fields(self) if getattr(self, f.name) != f.default]  # type: ignore[arg-type]
        inside = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in changed)
        return f"{type(self).__name__}({inside})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Solver:
        """Set parameters by name; ValueError for a name that is not one."""
        for name, value in params.items():
            if name not in self.get_params():
                known = ", ".join(self.get_params()) or "none"
                raise ValueError(
                    f"{name!r} is no parameter of {type(self).__name__}; its parameters: {known}."
                )
            setattr(self, name, value)
        return self
