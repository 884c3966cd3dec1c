"""What cv.py compares: estimators that try all C on the same folds, of softreg and scikit-learn."""

from __future__ import annotations

import inspect
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import _datasets as datasets
import numpy as np
from _contenders import PAUSE, WAYS, Way, start_workers, stop_workers
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

CS = np.logspace(-4, 4, 20)
FOLDS = 10
STRICT = 1e-12  # softreg's tolerance for the reference
OURS = "softreg"


class Setting(NamedTuple):
    """What tells scikit-learn when to stop."""

    tol: float
    max_iter: int

    def cells(self) -> list[str]:
        return [f"{self.tol:.0e}", f"{self.max_iter}"]


DEFAULT = Setting(1e-4, 100)  # scikit-learn's own, with lbfgs


@dataclass(frozen=True)
class Problem:
    """Rows, classes or labels, and the folds that all contenders share."""

    X: Any
    y: NDArray
    folds: Sequence[tuple[NDArray, NDArray]]

    def tight(self, estimator: Any, scoring: Any) -> NDArray:
        """Return the mean score (n_Cs,) of one fit for each fold and C."""
        from sklearn.model_selection import cross_val_score

        fits = (estimator.set_params(C=C) for C in CS)
        options = {"cv": self.folds, "scoring": scoring}
        return np.array([cross_val_score(fit, self.X, self.y, **options).mean() for fit in fits])

    def grid_search(self, estimator: Any, name: str, scoring: Any, jobs: int | None) -> Any:
        from sklearn.model_selection import GridSearchCV

        grid = {name: CS}
        return GridSearchCV(estimator, grid, cv=self.folds, scoring=scoring, n_jobs=jobs)


class Part(ABC):
    """Two estimators that try all C, on problems of one kind."""

    title: str
    sets: tuple[str, ...]
    kinds: tuple[str, ...] = datasets.ALL
    # sag and saga only if asked for: on raw columns, the largest allows them but tiny steps.
    solvers: tuple[str, ...] = ("newton-cholesky", "newton-cg", "lbfgs")
    own_ways: tuple[Way, ...] = (Way(),)
    scoring: Any = "neg_log_loss"

    def problem(self, name: str) -> Problem:
        from sklearn.model_selection import StratifiedKFold

        data = datasets.load(name)
        return Problem(data.X, data.y, list(StratifiedKFold(FOLDS).split(data.X, data.y)))

    def reference(self, problem: Problem) -> NDArray:
        """Return the mean score (n_Cs,) of tight refits."""
        from softreg import SoftmaxRegression

        return problem.tight(SoftmaxRegression(tol=STRICT), self.scoring)

    @abstractmethod
    def ours(self, problem: Problem, jobs: int | None) -> Any:
        """Return softreg's estimator, with its defaults."""

    @abstractmethod
    def theirs(self, problem: Problem, options: dict[str, Any], jobs: int | None) -> Any:
        """Return scikit-learn's, with a solver and its options."""

    def curve(self, model: Any) -> NDArray:
        """Return the mean score (n_Cs,) that a fitted estimator holds."""
        return model.cv_results_["mean_test_score"]


class CrossValidated(Part):
    """The estimators that choose C themselves."""

    title = "`SoftmaxRegressionCV` and `LogisticRegressionCV`"
    sets = ("digits", "satimage")

    def ours(self, problem: Problem, jobs: int | None) -> Any:
        from softreg import SoftmaxRegressionCV

        return SoftmaxRegressionCV(CS, cv=problem.folds, scoring=self.scoring, n_jobs=jobs)

    def theirs(self, problem: Problem, options: dict[str, Any], jobs: int | None) -> Any:
        from sklearn.linear_model import LogisticRegressionCV

        # scikit-learn 1.8 and 1.9 ask for these two, which older versions do not have or ignore.
        known = inspect.signature(LogisticRegressionCV).parameters
        new = {"use_legacy_attributes": False, "l1_ratios": (0.0,)}
        options |= new if set(new) <= set(known) else {}
        shared = {"Cs": CS, "cv": problem.folds, "scoring": self.scoring, "n_jobs": jobs}
        return LogisticRegressionCV(**shared, **options)

    def curve(self, model: Any) -> NDArray:
        if model.__module__.startswith(OURS):
            return model.mean_score_
        scores = model.scores_  # the same for every class, where there is a dictionary of them
        scores = next(iter(scores.values())) if isinstance(scores, dict) else scores
        return np.reshape(scores, (FOLDS, len(CS))).mean(axis=0)


class Grid(Part):
    """Grid searches, which fit anew for each fold and C."""

    title = "`GridSearchCV` of `SoftmaxRegression` and of `LogisticRegression`"
    sets = ("digits", "satimage")
    solvers = ("newton-cholesky",)  # without warm starts the others are further off than in "cv"
    own_ways = (Way(), WAYS[-1])

    def ours(self, problem: Problem, jobs: int | None) -> Any:
        from softreg import SoftmaxRegression

        return problem.grid_search(SoftmaxRegression(), "C", self.scoring, jobs)

    def theirs(self, problem: Problem, options: dict[str, Any], jobs: int | None) -> Any:
        from sklearn.linear_model import LogisticRegression

        return problem.grid_search(LogisticRegression(**options), "C", self.scoring, jobs)


class Labels(Part):
    """Labels: one C for all of them."""

    title = "`SigmoidRegressionCV` and `GridSearchCV` of one-vs-rest `LogisticRegression`"
    sets = ("yeast",)
    kinds = (*datasets.MULTILABEL, "simulated")
    solvers = ("newton-cholesky", "lbfgs")

    def problem(self, name: str) -> Problem:
        from sklearn.model_selection import KFold

        data = datasets.load_multilabel(name)
        return Problem(data.X, data.Y, list(KFold(FOLDS).split(data.X)))

    def reference(self, problem: Problem) -> NDArray:
        from softreg import SigmoidRegression

        return problem.tight(SigmoidRegression(tol=STRICT), label_scorer())

    def ours(self, problem: Problem, jobs: int | None) -> Any:
        from softreg import SigmoidRegressionCV

        return SigmoidRegressionCV(CS, cv=problem.folds, scoring=self.scoring, n_jobs=jobs)

    def theirs(self, problem: Problem, options: dict[str, Any], jobs: int | None) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        rest = OneVsRestClassifier(LogisticRegression(**options))
        return problem.grid_search(rest, "estimator__C", label_scorer(), jobs)

    def curve(self, model: Any) -> NDArray:
        ours = model.__module__.startswith(OURS)
        return model.mean_score_ if ours else super().curve(model)


def label_scorer() -> Callable[[Any, Any, NDArray], float]:
    """Minus the mean log loss of all labels, clipped as scikit-learn's, which has but one."""

    def score(model: Any, X: Any, Y: NDArray) -> float:  # local: joblib's workers have no module
        P = np.clip(model.predict_proba(X), np.finfo(float).eps, 1 - np.finfo(float).eps)
        return float(np.log(np.where(Y == 1, P, 1 - P)).mean())

    return score


PARTS: dict[str, Part] = {"cv": CrossValidated(), "grid": Grid(), "labels": Labels()}


class Outcome(NamedTuple):
    """One fit: wall-clock seconds and its mean score (n_Cs,)."""

    seconds: float
    curve: NDArray


@dataclass(frozen=True)
class Contender:
    """softreg with its defaults, or a solver with its setting, run in some way."""

    solver: str = OURS
    setting: Setting | None = None
    way: Way = Way()

    def fit(self, part: Part, problem: Problem) -> Outcome:
        """Fit once; only the call of ``fit`` is timed."""
        model = self.model(part, problem)
        start_workers(self.way.jobs)
        with warnings.catch_warnings(), threadpool_limits(self.way.threads):
            warnings.simplefilter("ignore")
            time.sleep(PAUSE)
            start = time.perf_counter()
            model.fit(problem.X, problem.y)
            seconds = time.perf_counter() - start
        return Outcome(seconds, part.curve(model))

    def model(self, part: Part, problem: Problem) -> Any:
        if self.setting is None:
            return part.ours(problem, self.way.jobs)
        options = {"solver": self.solver, **self.setting._asdict(), "random_state": 0}
        return part.theirs(problem, options, self.way.jobs)

    def cells(self) -> list[str]:
        if self.setting is None:
            return [self.solver, "default", "default", f"{self.way}"]
        mark = " (default)" if (self.solver, self.setting) == ("lbfgs", DEFAULT) else ""
        return [self.solver + mark, *self.setting.cells(), f"{self.way}"]


def alone(send: Callable, part: str, name: str, contender: Contender) -> None:
    """In a child: load, fit once, and send the outcome."""
    problem = PARTS[part].problem(name)
    contender.model(PARTS[part], problem)  # imports are not in its time
    send("loaded")
    send(contender.fit(PARTS[part], problem))
    stop_workers(contender.way.jobs)
