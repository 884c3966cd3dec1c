"""The fits that are compared, and the search for scikit-learn's cheapest sufficient tolerance."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import _common as common
import _datasets as datasets
import numpy as np
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


@dataclass(frozen=True)
class Way:
    """How scikit-learn runs: BLAS threads of this process, or joblib's processes of one each."""

    threads: int | None = None
    jobs: int | None = None

    def __str__(self) -> str:
        if self.jobs:
            return f"{self.jobs} jobs"
        return f"{self.threads} thr." if self.threads else "default"


CORES = common.cores()
WAYS = (Way(1), Way(CORES), Way(1, jobs=CORES)) if CORES > 1 else (Way(1),)


class MultilabelOutcome(NamedTuple):
    """One fit: wall-clock seconds, F_l (L,), peak bytes, and labels that warned of their end."""

    seconds: float
    objectives: np.ndarray
    peak: int
    unconverged: int


@dataclass(frozen=True)
class MultilabelContender:
    """SigmoidRegression, or one-vs-rest with one solver: tolerance (NaN: all defaults) and way."""

    solver: str = "softreg"
    tol: float = math.nan
    way: Way = Way()

    def fit(self, data: datasets.MultilabelDataset) -> MultilabelOutcome:
        """Fit once; only the call of ``fit`` is timed. The peak is of all this process did."""
        model = self.model()
        start_workers(self.way.jobs)
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(self.way.threads):
            warnings.simplefilter("ignore" if self.way.jobs else "always")
            time.sleep(PAUSE)
            start = time.perf_counter()
            model.fit(data.X, data.Y)
            seconds = time.perf_counter() - start
        peak = common.family_peak_memory()  # before the objectives ask for memory
        parts = getattr(model, "estimators_", [model])  # one-vs-rest has no coef_ of its own
        W, b = np.vstack([p.coef_ for p in parts]), np.hstack([p.intercept_ for p in parts])
        objectives = common.label_objectives(W, b, data.X, data.Y)
        return MultilabelOutcome(seconds, objectives, peak, unconverged(parts, caught))

    def model(self) -> Any:
        """Import the library and return its estimator."""
        tol = {} if math.isnan(self.tol) else {"tol": self.tol}
        if self.solver == "softreg":
            from softreg import SigmoidRegression

            return SigmoidRegression(**tol)
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        options = {"solver": self.solver, "max_iter": 10**6, **tol} if tol else {}
        if self.solver == "liblinear":  # penalises the intercept: divided by 1e4, hardly any more
            options["intercept_scaling"] = 100.0
        return OneVsRestClassifier(LogisticRegression(**options), n_jobs=self.way.jobs)

    def cells(self) -> list[str]:
        tol = "default" if math.isnan(self.tol) else f"{self.tol:.0e}"
        return [self.solver, tol, f"{self.way}"]


def start_workers(jobs: int | None) -> None:
    """Start joblib's workers and load scikit-learn there: no more part of a fit than an import."""
    if jobs:
        from joblib import Parallel, delayed

        def load() -> None:
            import sklearn.linear_model  # noqa: F401

            time.sleep(PAUSE)  # so that every worker gets one

        Parallel(n_jobs=jobs)(delayed(load)() for _ in range(jobs))


def stop_workers(jobs: int | None) -> None:
    """End joblib's workers: a child process would wait minutes for them before it ends."""
    if jobs:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()


def unconverged(parts: Sequence[Any], caught: Iterable[warnings.WarningMessage]) -> int:
    """Labels that said so, or, as a worker's warnings are not heard here, reached ``max_iter``."""
    from sklearn.exceptions import ConvergenceWarning

    said = sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return max(said, sum(np.max(p.n_iter_) >= (p.max_iter or math.inf) for p in parts))
