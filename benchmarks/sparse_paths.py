"""Paths of the lasso: softreg, R's glmnet and scikit-learn's saga on the same columns.

99 strengths, from just below the one at which all is zero to 1e-4 of it (1e-2 where columns
outnumber rows), by each coefficient and, on some sets, by feature: all classes together.

1. softreg's path at tol=1e-6, standardised (or of raw columns: "dry_bean-raw"), on one thread and
   on two: every point is proven to be within 1e-6 of its optimum.
2. glmnet's path, where Rscript is found, at its default thresh of 1e-7 and at tighter ones, until
   its worst point is as near or a run does not end in ``--cap`` seconds.
3. saga, at the strength in the middle of the path, at looser and tighter tol until it is within
   1e-4 of its optimum, for ``--patience`` seconds in all; beside it softreg's fit of that strength.

A fit of softreg that takes less than 2 s is timed three times; medians. A gap is relative to F,
which is that of a program's coefficients with their best intercepts (``_lasso.py``, from
coefficients alone): F less the greatest of the bounds that the program's own residuals and
softreg's prove.

    SOFTREG_DATA=folder python benchmarks/sparse_paths.py [--sets digits nci] [--output table.md]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import _common as common
import _datasets as datasets
import _lasso
import numpy as np
from threadpoolctl import threadpool_limits

WITHIN, SAGA_WITHIN = 1e-6, 1e-4
RAW = "-raw"
SETS = ("digits", "satimage", "letter", "srbct", "nci", "r8", "covtype15k", "bank", "dry_bean")
SETS += ("dry_bean" + RAW,)
BY_FEATURE = ("digits", "satimage", "srbct", "nci", "iris")
QUICK = ("iris", "wine")
THREADS = (1, 2)
THRESHOLDS = (1e-7, 1e-9, 1e-11, 1e-12)  # the first is glmnet's default
TOLERANCES = tuple(10.0**-k for k in range(2, 9))
MIDDLE = _lasso.STRENGTHS // 2
SHORT, REPEAT = 2.0, 3
HEADER = ("set", "n", "d", "K", "by", "softreg, s", "2 thr., s", "gap", "MB")
HEADER += ("glmnet's default, s", "gap", "MB", "ratio", "at equal gap: thresh", "s", "gap", "ratio")
HEADER += ("one strength: softreg, s", "gap", "saga, tol", "s", "gap", "MB", "ratio")
ATTEMPT_CELLS = 5


class Study(NamedTuple):
    """A set and how its penalty counts: what a child needs to know."""

    name: str
    by_feature: bool

    def problem(self) -> _lasso.Problem:
        is_raw = self.name.endswith(RAW)
        return _lasso.Problem.load(self.name.removesuffix(RAW), self.by_feature, not is_raw)

    @property
    def kind(self) -> str:
        return "feature" if self.by_feature else "coefficient"


# What children do


def path(send: Callable, study: Study, threads: int) -> None:
    """In a child: softreg's path, and the bounds on F* that it proves."""
    from softreg import regularization_path

    problem = study.problem()
    model, Cs = estimator(problem, n_jobs=threads), problem.C_values
    send("loaded")
    with threadpool_limits(threads):
        seconds, peak, found = timed(
            lambda: regularization_path(problem.X, problem.y, Cs, estimator=model)
        )
    K = found.intercept.shape[1]
    coef = [found.coefficients[i * K : (i + 1) * K] for i in range(len(Cs))]
    curve = problem.curve_in_columns(seconds, peak, coef, found.intercept)
    send((curve, found.objective - found.optimality_gap))


def single(send: Callable, study: Study) -> None:
    """In a child: softreg's fit of the strength in the middle, on one thread, and its bound."""
    problem = study.problem()
    model = estimator(problem, n_jobs=1, C=problem.C_values[MIDDLE])
    send("loaded")
    with threadpool_limits(1):
        seconds, peak, found = timed(lambda: model.fit(problem.X, problem.y))
    curve = problem.curve_in_columns(seconds, peak, [found.coef_], [found.intercept_])
    send((curve, np.array([found.objective_ - found.optimality_gap_])))


def saga(send: Callable, study: Study) -> None:
    """In a child: saga at one tolerance after another, for the strength in the middle."""
    from sklearn.linear_model import LogisticRegression

    problem = study.problem()
    X, C = problem.columns, problem.C_values[MIDDLE]
    model = LogisticRegression(C=C, l1_ratio=1, solver="saga", max_iter=10**6, random_state=0)
    send("loaded")
    for seconds in _lasso.fits_by_tol(model, X, problem.y, TOLERANCES):
        peak = common.peak_memory()
        send((model.tol, _lasso.Curve(seconds, peak, [model.coef_], [model.intercept_])))


def estimator(problem: _lasso.Problem, **parameters: Any) -> Any:
    from softreg import SoftmaxRegression

    groups = "feature" if problem.by_feature else None
    return SoftmaxRegression(
        l1_ratio=1, l1_groups=groups, standardize=problem.standardised, tol=WITHIN, **parameters
    )


def timed(fit: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, the median of three where a fit is short, peak bytes, and what the fit returned."""
    spent: list[float] = []
    common.reset_peak_memory()
    while not spent or (len(spent) < REPEAT and spent[0] < SHORT):
        start = time.perf_counter()
        found = fit()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), common.peak_memory(), found


# What is made of it


class Attempt(NamedTuple):
    """A program's run at a setting; an infinite gap says that it did not end in so many seconds.

    ``seconds`` is then how long it was given.
    """

    setting: float
    seconds: float
    gap: float
    peak: float

    def cells(self, own_seconds: float, within: float) -> list[str]:
        """Setting, seconds, gap, MB, the ratio of its seconds to softreg's or a bound of it."""
        ended = self.gap < math.inf
        ratio = ("" if ended and self.gap <= within else "> ") + f"{self.seconds / own_seconds:.3g}"
        seconds = ("" if ended else "> ") + f"{self.seconds:.3g}"
        known = [f"{self.gap:.0e}", f"{self.peak / 1e6:.0f}"] if ended else ["", ""]
        return [f"{self.setting:.0e}", seconds, *known, ratio]


@dataclass(frozen=True)
class Comparison:
    """softreg's seconds (one thread, more, one strength) and gaps, glmnet's and saga's attempts."""

    labels: Sequence[str]
    seconds: Sequence[float]
    gaps: Sequence[float]
    peak: float
    glmnet: Sequence[Attempt]
    saga: Sequence[Attempt]

    def row(self) -> list[str]:
        own = [f"{seconds:.3g}" for seconds in self.seconds]
        gaps, peak = [f"{gap:.0e}" for gap in self.gaps], f"{self.peak / 1e6:.0f}"
        others = [""] * (2 * ATTEMPT_CELLS)
        if self.glmnet:
            first, last = self.glmnet[0], self.glmnet[-1]
            default = [*first.cells(self.seconds[0], math.inf)]
            others = [*default, *last.cells(self.seconds[0], WITHIN)]
        one = [""] * ATTEMPT_CELLS
        if self.saga:
            one = self.saga[-1].cells(self.seconds[2], SAGA_WITHIN)
        path_cells = [*own[:2], gaps[0], peak, *others[1:8], others[9]]
        return [*self.labels, *path_cells, own[2], gaps[1], *one]


def compare(study: Study, cap: float, patience: float, with_glmnet: bool) -> Comparison:
    """Run all programs on one set, one after the other."""
    problem = study.problem()
    ((curve, bounds),) = common.messages(path, study, THREADS[0])
    ((threaded, _),) = common.messages(path, study, THREADS[1])
    ((alone, bound),) = common.messages(single, study)
    whole = _lasso.Reference(problem, problem.strengths, bounds)
    middle = slice(MIDDLE, MIDDLE + 1)
    point = _lasso.Reference(problem, problem.strengths[middle], np.maximum(bound, bounds[middle]))
    return Comparison(
        labels=[study.name, *map(str, problem.shape), study.kind],
        seconds=[curve.seconds, threaded.seconds, alone.seconds],
        gaps=[max(map(whole.worst_gap, (curve, threaded))), point.worst_gap(alone)],
        peak=curve.peak,
        glmnet=list(glmnet_attempts(whole, cap)) if with_glmnet else [],
        saga=[] if problem.is_grouped else list(saga_attempts(study, point, patience)),
    )


def glmnet_attempts(reference: _lasso.Reference, cap: float) -> Iterator[Attempt]:
    """Yield glmnet's runs at tighter and tighter thresholds, until one is near or does not end."""
    for thresh in THRESHOLDS:
        curve = _lasso.glmnet(reference.problem, thresh, cap)
        if curve is None:
            yield Attempt(thresh, cap, math.inf, math.nan)
            return
        gap = reference.worst_gap(curve)
        yield Attempt(thresh, curve.seconds, gap, curve.peak)
        if gap <= WITHIN:
            return


def saga_attempts(study: Study, reference: _lasso.Reference, patience: float) -> Iterator[Attempt]:
    """Yield saga's fits at tighter and tighter tolerances, until one is near or time is up."""
    left, tolerances = patience, iter(TOLERANCES)
    with contextlib.closing(common.messages(saga, study, cap=patience)) as fits:
        for tol, curve in fits:
            next(tolerances)
            left -= curve.seconds
            gap = reference.worst_gap(curve)
            yield Attempt(tol, curve.seconds, gap, curve.peak)
            if gap <= SAGA_WITHIN:
                return
    for tol in tolerances:
        yield Attempt(tol, max(left, 0.0), math.inf, math.nan)
        return


def report(comparisons: Sequence[Comparison], notes: Sequence[str]) -> str:
    """The table in Markdown."""
    text = (
        "Times in s, with one thread unless said; gap: the worst point's, relative to F; MB: peak "
        "of the process during the fit; ratio: times that softreg is faster. Equal gap: at most "
        f"{WITHIN:g}, saga's at most {SAGA_WITHIN:g}; of a program that was not as near, its "
        'tightest run, and ">" before the ratio.'
    )
    rows = common.table(HEADER, [comparison.row() for comparison in comparisons])
    return "\n\n".join([f"{common.versions()}. {text}", rows, *notes]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    choices = (*SETS, *QUICK)
    kinds = f"any of {', '.join(choices)}"
    parser.add_argument("--sets", nargs="+", choices=choices, metavar="SET", help=kinds)
    parser.add_argument("--cap", type=float, default=600.0, help="seconds for a path of glmnet")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for saga on a set")
    parser.add_argument("--quick", action="store_true", help="iris and wine, 20 s for the others")
    parser.add_argument("--output", type=Path, help="file for the Markdown table")
    args = parser.parse_args()
    if args.quick:
        args.cap = args.patience = 20.0
    chosen = args.sets or (QUICK if args.quick else SETS)
    names = [name for name in chosen if datasets.available(name)]
    if not names:
        parser.error("these sets are read from disk: set SOFTREG_DATA to their folder")
    left_out, with_glmnet, comparisons = set(chosen) - set(names), _lasso.has_glmnet(), []
    studies = [Study(name, False) for name in names]
    studies += [Study(name, True) for name in names if name in BY_FEATURE]
    for study in studies:
        comparisons.append(compare(study, args.cap, args.patience, with_glmnet))
        print(*comparisons[-1].row(), sep=" | ", file=sys.stderr, flush=True)
    notes = [] if with_glmnet else ["glmnet is left out: no Rscript with it was found."]
    if left_out:
        notes.append(f"Left out, as SOFTREG_DATA names no folder: {', '.join(sorted(left_out))}.")
    text = report(comparisons, notes)
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
