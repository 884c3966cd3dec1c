"""The lasso's strength by cross-validation: softreg, R's cv.glmnet and scikit-learn's saga.

Standardised columns, 50 strengths to 1e-4 of the largest, the same 10 folds. A program is judged by
the worst gap of its path of all rows, and by how far its mean held-out log losses are, at most,
from those of tight fits, at every tenth strength. softreg and scikit-learn keep C in a fold, glmnet
the strength: it is judged at C times n over the rows of a fit.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import _common as common
import _lasso
import numpy as np
from threadpoolctl import threadpool_limits

SETS = ("digits", "satimage")
FOLDS, EVERY = 10, 10
DEFAULT_THRESH = 1e-7
TOLERANCES = tuple(10.0**-k for k in range(1, 7))  # of saga
HEADER = ("set", "n", "d", "K", "by", "program", "s", "gap", "scores off by", "ratio")


class Study(NamedTuple):
    """A set, and whether coefficients are penalised by feature."""

    name: str
    by_feature: bool

    def problem(self) -> _lasso.Problem:
        return _lasso.Problem.load(self.name, self.by_feature, True)

    @property
    def groups(self) -> str | None:
        return "feature" if self.by_feature else None


class Run(NamedTuple):
    """A program's curve, with the scores of its folds; None if it did not end in ``cap`` s."""

    program: str
    curve: _lasso.Curve | None
    cap: float = math.inf


def strengths_of(problem: _lasso.Problem) -> np.ndarray:
    return problem.strengths[::2]


def folds_of(problem: _lasso.Problem) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(FOLDS).split(problem.columns, problem.y))


def softreg(send: Callable, study: Study, threads: int) -> None:
    """In a child: the CV class, and the bounds on F* that the fits to all rows prove."""
    from softreg import SoftmaxRegressionCV

    problem = study.problem()
    X, Cs = problem.columns, 1 / (strengths_of(problem) * len(problem.y))
    model = SoftmaxRegressionCV(
        Cs, [1.0], l1_groups=study.groups, cv=folds_of(problem), n_jobs=threads
    )
    send("loaded")
    with threadpool_limits(threads):
        start = time.perf_counter()
        model.fit(X, problem.y)
        seconds = time.perf_counter() - start
    curve = list(model.coef_path_[0]), list(model.intercept_path_[0])
    send(_lasso.Curve(seconds, math.nan, *curve, model.mean_score_[0]))


def saga(send: Callable, study: Study) -> None:
    """In a child: LogisticRegressionCV at one tolerance after another."""
    from sklearn.linear_model import LogisticRegressionCV

    problem = study.problem()
    X, Cs = problem.columns, 1 / (strengths_of(problem) * len(problem.y))
    options: dict[str, Any] = {"l1_ratios": [1], "scoring": "neg_log_loss", "max_iter": 10**6}
    model = LogisticRegressionCV(
        Cs=Cs,
        cv=folds_of(problem),
        solver="saga",
        random_state=0,
        use_legacy_attributes=False,
        **options,
    )
    send("loaded")
    for seconds in _lasso.fits_by_tol(model, X, problem.y, TOLERANCES):
        send((model.tol, _lasso.Curve(seconds, math.nan, [], [], model.scores_[:, 0].mean(axis=0))))


def tight_scores(study: Study, problem: _lasso.Problem, Cs: np.ndarray) -> np.ndarray:
    """Mean held-out log losses, negative, of plain fits at tol=1e-12."""
    from sklearn.model_selection import cross_val_score

    from softreg import SoftmaxRegression

    model = SoftmaxRegression(l1_ratio=1, l1_groups=study.groups, tol=1e-12)
    X, y, folds = problem.columns, problem.y, folds_of(problem)
    options = {"cv": folds, "scoring": "neg_log_loss"}
    return np.array([cross_val_score(model.set_params(C=C), X, y, **options).mean() for C in Cs])


def rows_of(study: Study, cap: float, patience: float, with_glmnet: bool) -> list[list[str]]:
    """Run all programs on one set, one after the other, and return a row for each."""
    from softreg import SoftmaxRegression, regularization_path

    problem = study.problem()
    strengths, folds = strengths_of(problem), folds_of(problem)
    Cs = 1 / (strengths * len(problem.y))
    model = SoftmaxRegression(l1_ratio=1, l1_groups=study.groups)
    path = regularization_path(problem.columns, problem.y, Cs, estimator=model)
    reference = _lasso.Reference(problem, strengths, path.objective - path.optimality_gap)
    runs = [
        Run(f"softreg, n_jobs={threads}", *common.messages(softreg, study, threads))
        for threads in (1, 2)
    ]
    if with_glmnet:
        fold = np.empty(len(problem.y), dtype=int)
        for number, (_, test) in enumerate(folds):
            fold[test] = number
        curve = _lasso.glmnet(problem, DEFAULT_THRESH, cap, strengths, fold)
        runs.append(Run("cv.glmnet", curve, cap))
    if not study.by_feature:
        last = Run("LogisticRegressionCV(saga)", None, patience)
        for tol, curve in common.messages(saga, study, cap=patience):
            last = Run(f"LogisticRegressionCV(saga, tol={tol:g})", curve)
        runs.append(last)
    at = slice(None, None, EVERY)
    expected = {1.0: tight_scores(study, problem, Cs[at])}
    growth = len(problem.y) / (len(problem.y) - len(problem.y) // FOLDS)
    if with_glmnet:
        expected[growth] = tight_scores(study, problem, growth * Cs[at])
    kind = "feature" if study.by_feature else "coefficient"
    head, own = [study.name, *map(str, problem.shape), kind], runs[0].curve.seconds
    rows = []
    for run in runs:
        scores = expected[growth if run.program == "cv.glmnet" else 1.0]
        rows.append([*head, *_cells(run, reference, scores, at, own)])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return rows


def _cells(
    run: Run, reference: _lasso.Reference, scores: np.ndarray, at: slice, own: float
) -> list[str]:
    """Program, seconds, worst gap, difference of scores, ratio of its seconds to softreg's."""
    curve = run.curve
    if curve is None:
        return [run.program, f"> {run.cap:.3g}", "", "", f"> {run.cap / own:.3g}"]
    gap = f"{reference.worst_gap(curve):.0e}" if curve.coef else ""
    difference = np.abs(curve.scores[at] - scores).max()
    return [
        run.program,
        f"{curve.seconds:.3g}",
        gap,
        f"{difference:.0e}",
        f"{curve.seconds / own:.3g}",
    ]


def report(names: Sequence[str], cap: float, patience: float) -> str:
    """The table in Markdown."""
    with_glmnet = _lasso.has_glmnet()
    studies = [Study(name, by_feature) for name in names for by_feature in (False, True)]
    rows = [row for study in studies for row in rows_of(study, cap, patience, with_glmnet)]
    text = (
        "lasso: 50 strengths, 10 folds, standardised columns. Gap: the worst point's of the path "
        "of all rows, relative to F; scores off by: nats of mean held-out log loss, at most, from "
        "tight fits at every tenth strength; ratio: times that softreg on one thread is faster."
    )
    notes = [] if with_glmnet else ["cv.glmnet is left out: no Rscript with it was found."]
    return "\n\n".join([text, common.table(HEADER, rows), *notes]) + "\n"
