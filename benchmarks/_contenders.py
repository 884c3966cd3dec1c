"""The fits that are compared, and the search for scikit-learn's cheapest sufficient tolerance."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import _common as common
import _datasets as datasets
from threadpoolctl import threadpool_limits

# OpenBLAS's threads spin for some tens of milliseconds after a product: nobody's fit should start
# beside those of the one before.
PAUSE = 0.1
# The exact ones first: they set the time that the others have.
SOLVERS = ("newton-cholesky", "newton-cg", "lbfgs", "liblinear", "sag", "saga")
TOLERANCES = tuple(10.0**-k for k in range(-1, 13))
LARGEST_HESSIAN = 4e9  # bytes; newton-cholesky is not asked to build a larger one


class Outcome(NamedTuple):
    """One fit: wall-clock seconds, objective reached, and the kinds of warnings given."""

    seconds: float
    objective: float
    warned: tuple[str, ...]


@dataclass(frozen=True)
class Contender:
    """softreg, or one solver of scikit-learn, with a tolerance (NaN: the default) and threads."""

    solver: str = "softreg"
    tol: float = math.nan
    threads: int | None = None

    def fit(self, data: datasets.Dataset) -> Outcome:
        """Fit once; only the call of ``fit`` is timed."""
        model = self._model(data)
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(self.threads):
            warnings.simplefilter("always")
            time.sleep(PAUSE)
            start = time.perf_counter()
            model.fit(data.X, data.y)
            seconds = time.perf_counter() - start
        warned = tuple(sorted({warning.category.__name__ for warning in caught}))
        return Outcome(seconds, common.objective(model, data.X, data.y, data.C), warned)

    def _model(self, data: datasets.Dataset):
        if self.solver == "softreg":
            from softreg import SoftmaxRegression

            tol = {} if math.isnan(self.tol) else {"tol": self.tol}
            return SoftmaxRegression(C=data.C, **tol)
        from sklearn.linear_model import LogisticRegression

        options = {"C": data.C, "solver": self.solver, "tol": self.tol, "max_iter": 10**6}
        if self.solver == "liblinear":  # penalises the intercept: divided by 1e4, hardly any more
            options["intercept_scaling"] = 100.0
        return LogisticRegression(**options, random_state=0)


def interleaved(
    contenders: Iterable[Contender], data: datasets.Dataset, repeat: int, budget: float
) -> dict[Contender, list[Outcome]]:
    """Fit in turn, ``repeat`` rounds and half a second at least, fewer when over the budget."""
    runs: dict[Contender, list[Outcome]] = {contender: [] for contender in contenders}
    rounds, spent, start = 0, 0.0, time.perf_counter()
    while spent < budget and (rounds < repeat or spent < 0.5):
        for contender, outcomes in runs.items():
            outcomes.append(contender.fit(data))
        rounds, spent = rounds + 1, time.perf_counter() - start
    return runs


@dataclass(frozen=True)
class Search:
    """One solver's way down the tolerances: its fits, the first sufficient one, or why none was."""

    solver: str
    tried: tuple[tuple[Contender, Outcome], ...] = ()
    found: Contender | None = None
    remark: str = ""

    @property
    def seconds(self) -> float:
        """Time of the fit that was sufficient."""
        return dict(self.tried)[self.found].seconds if self.found else math.inf

    @property
    def lowest(self) -> float:
        """The smallest objective of all its fits."""
        return min((outcome.objective for _, outcome in self.tried), default=math.inf)


def search(data: datasets.Dataset, solver: str, target: float, cap: float) -> Search:
    """Find the loosest tolerance that reaches the target, in a child killed after ``cap`` s."""
    if reason := not_applicable(solver, data):
        return Search(solver, remark=reason)
    start = time.perf_counter()
    tried = tuple(common.messages(descend, data.name, data.C, solver, target, cap=cap))
    enough = [contender for contender, outcome in tried if outcome.objective <= target]
    if enough:
        return Search(solver, tried, found=max(enough, key=lambda contender: contender.tol))
    late = time.perf_counter() - start > cap
    return Search(solver, tried, remark=f"not in {cap:.0f} s" if late else "at no tolerance")


def not_applicable(solver: str, data: datasets.Dataset) -> str:
    """Say why a solver cannot fit this set; an empty string if it can."""
    _, d, K = data.shape
    hessian = 8.0 * ((K if K > 2 else 1) * (d + 1)) ** 2
    if solver == "liblinear" and K > 2:
        return "two classes only"
    if solver == "newton-cholesky" and hessian > LARGEST_HESSIAN:
        return f"Hessian of {hessian / 1e9:.0f} GB"
    return ""


def descend(send: Callable, name: str, C: float, solver: str, target: float) -> None:
    """In a child: try one tolerance after another until the target is met, then one 3 times looser.

    One BLAS thread: more change the time, not the tolerance.
    """
    data = datasets.load(name, C)
    send("loaded")
    for tol in TOLERANCES:
        contender = Contender(solver, tol, threads=1)
        outcome = contender.fit(data)
        send((contender, outcome))
        if outcome.objective <= target:
            looser = Contender(solver, tol * math.sqrt(10), threads=1)
            return send((looser, looser.fit(data)))


def strict(send: Callable, name: str, C: float) -> None:
    """In a child: one fit of scikit-learn that stops for no tolerance above 1e-8."""
    data = datasets.load(name, C)
    send("loaded")
    solver = "newton-cg" if not_applicable("newton-cholesky", data) else "newton-cholesky"
    send(Contender(solver, 1e-8, threads=1).fit(data).objective)


def peak(send: Callable, name: str, C: float, contender: Contender) -> None:
    """In a child: load, fit once, and send the peak memory of the whole process."""
    data = datasets.load(name, C)
    send("loaded")
    contender.fit(data)
    send(common.peak_memory())
