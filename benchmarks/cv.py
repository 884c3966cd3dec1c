"""Choosing C by cross-validation: softreg and scikit-learn at the same held-out scores.

Every contender tries the same 20 values of C on the same 10 folds of raw columns. It counts if its
mean held-out log loss is right to 1e-4 at every C: beside that of tight refits, which are softreg's
fits at tol=1e-12, one for each fold and C. The difference is printed for all, softreg's own too.

- ``cv``: ``SoftmaxRegressionCV`` and ``LogisticRegressionCV`` with each of its solvers.
- ``grid``: ``GridSearchCV`` of ``SoftmaxRegression`` and of ``LogisticRegression``.
- ``labels``: ``SigmoidRegressionCV`` and ``GridSearchCV`` of one-vs-rest ``LogisticRegression``.
- ``lasso``: 50 strengths of the lasso, beside R's cv.glmnet and saga (``_lasso_cv.py``).

1. Setting: the loosest tol and max_iter of a solver's ladder that are sufficient. Those that
   ``--search`` found stand in ``SEARCHED``; for other sets, or after ``--search``, each solver goes
   down its ladder, every fit in a child process with one BLAS thread, killed after ``--cap`` s.
2. Way: one fit each with one BLAS thread, with all, and with one job per core (``n_jobs``).
   softreg takes its default, in a grid search also one job per core.
3. Time: the fastest of each side, and what is nearly as fast, take turns in this process; medians.

    SOFTREG_DATA=folder python benchmarks/cv.py [--parts cv] [--sets digits] [--output table.md]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import _common as common
import _datasets as datasets
import _lasso_cv
import numpy as np
from _contenders import WAYS, Way
from _tuning import CS, DEFAULT, FOLDS, PARTS, Contender, Labels, Outcome, Setting, alone

WITHIN = 1e-4  # nats of mean held-out log loss, at every C
# A fit is killed after so many times the seconds of one that was sufficient: in the search; where
# the other was of the same setting, run in another way. Never before 60 s.
PATIENCE, HOPELESS, LEAST_PATIENCE = 5.0, 2.0, 60.0
SLOW = 3.0  # a solver that took so many times the fastest's seconds is not tried in other ways
NEAR = 1.25  # ... and a first fit that did takes no turns
EXACT = tuple(Setting(10.0**-k, 1000) for k in range(1, 11))
# lbfgs starts at its default. Beyond, its iterations are the limit: raw columns ask for thousands.
ITERATED = (DEFAULT, *(Setting(10.0 ** -(k + 1), 10**k) for k in (3, 4, 5)))
LADDERS = {
    "newton-cholesky": EXACT,
    "newton-cg": (DEFAULT, *EXACT[3:]),
    "lbfgs": ITERATED,
    "sag": ITERATED,
    "saga": ITERATED,
}


class Verdict(NamedTuple):
    """What a search found: a solver's loosest sufficient setting, or else the nearest that ended.

    An infinite difference says that not even the first one ended, in so many seconds.
    """

    setting: Setting
    seconds: float
    difference: float

    @property
    def sufficient(self) -> bool:
        return self.difference <= WITHIN

    def cells(self, solver: str) -> list[str]:
        """As those of a contender, of whose fits there are none in this run."""
        ended = "" if self.difference < math.inf else "> "
        cells = [solver, *self.setting.cells(), "search", f"{ended}{self.seconds:.3g}"]
        return [*cells, judged(self.difference), "", "0", ""]


# What --search found, so that a run need not (scikit-learn 1.9, one BLAS thread, a busy machine).
# Where a solver was not sufficient, the largest C is in the way: digits' classes are then nearly
# separated, and newton-cholesky at tol=1e-4 is 0.06 off.
SEARCHED: dict[tuple[str, str], dict[str, Verdict]] = {
    ("cv", "digits"): {
        "newton-cholesky": Verdict(Setting(3e-8, 1000), 24.9, 3.9e-5),  # at 1e-7: 2e-3
        "newton-cg": Verdict(Setting(1e-8, 1000), 78.5, 4e-3),  # at 1e-9: over 125 s
        "lbfgs": Verdict(Setting(1e-6, 100_000), 73.0, 6e-2),
    },
    ("cv", "satimage"): {
        "newton-cholesky": Verdict(Setting(1e-3, 1000), 5.7, 8.4e-5),  # at 3e-3: 2e-4
        "newton-cg": Verdict(Setting(1e-4, 100), 45.2, 1.1e-3),  # at 1e-5: over 60 s
        "lbfgs": Verdict(Setting(1e-4, 100), 19.0, 0.19),  # 1000 iterations: over 60 s
    },
    ("grid", "digits"): {
        "newton-cholesky": Verdict(Setting(1e-9, 1000), 98.0, 3.3e-5),  # at 3e-9: 6e-4
    },
    ("grid", "satimage"): {
        "newton-cholesky": Verdict(Setting(3e-3, 1000), 24.8, 5.6e-5),  # at 1e-2: 8e-4
    },
}


@dataclass
class Study:
    """All fits of one set in one part: the first of each contender, and those that took turns.

    ``caps`` has the seconds that each first fit had; None stands for one that did not end.
    """

    part: str
    name: str
    first: dict[Contender, Outcome | None] = field(default_factory=dict)
    caps: dict[Contender, float] = field(default_factory=dict)
    timed: dict[Contender, list[Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.problem = PARTS[self.part].problem(self.name)
        self.reference = PARTS[self.part].reference(self.problem)

    def fit(self, contender: Contender, cap: float) -> Outcome | None:
        """Fit in a child of its own, once per contender; None if it did not end in time."""
        if contender not in self.first:
            arguments = (alone, self.part, self.name, contender)
            outcomes = list(common.messages(*arguments, cap=cap))
            self.first[contender] = outcomes[0] if outcomes else None
            self.caps[contender] = cap
            row = [self.part, self.name, *self.cells(contender)]
            print(*row, sep=" | ", file=sys.stderr, flush=True)
        return self.first[contender]

    def take_turns(self, contenders: Sequence[Contender], repeat: int, budget: float) -> None:
        """Time them in turn: three rounds, and up to ``repeat`` as the budget allows."""
        rounds, start = 0, time.perf_counter()
        while rounds < min(3, repeat) or (
            rounds < repeat and time.perf_counter() - start < budget * rounds / (rounds + 1)
        ):
            for contender in contenders:
                outcome = contender.fit(PARTS[self.part], self.problem)
                self.timed.setdefault(contender, []).append(outcome)
            rounds += 1

    def outcomes(self, contender: Contender) -> list[Outcome]:
        first = self.first[contender]
        return self.timed.get(contender) or ([first] if first else [])

    def seconds(self, contender: Contender) -> float:
        """Median seconds; infinite if the fit did not end."""
        return statistics.median([o.seconds for o in self.outcomes(contender)] or [math.inf])

    def worst(self, contender: Contender) -> tuple[float, float]:
        """Return the largest difference from the reference, and at which C; infinite if none."""
        curves = [outcome.curve for outcome in self.outcomes(contender)]
        if not curves:
            return math.inf, math.nan
        differences = np.abs(np.array(curves) - self.reference).max(axis=0)
        return float(differences.max()), float(CS[differences.argmax()])

    def fastest(self, contenders: Iterable[Contender]) -> Contender:
        return min(contenders, key=self.seconds)

    def nearly(self, contenders: Iterable[Contender]) -> list[Contender]:
        """Those whose first fit was the fastest, or not far from it."""
        contenders = list(contenders)
        least = min(map(self.seconds, contenders), default=math.inf)
        return [c for c in contenders if self.seconds(c) <= NEAR * least]

    def cells(self, contender: Contender) -> list[str]:
        """Solver, tol, max_iter, way, seconds, largest difference, its C, number of fits."""
        outcomes = self.outcomes(contender)
        if not outcomes:
            return [*contender.cells(), f"> {self.caps[contender]:.0f}", "", "", "0"]
        difference, C = self.worst(contender)
        seconds = f"{self.seconds(contender):.3g}"
        return [*contender.cells(), seconds, judged(difference), f"{C:.2g}", f"{len(outcomes)}"]


def judged(difference: float) -> str:
    """The difference, and whether it is too large."""
    if difference == math.inf:
        return "not reached"
    return f"{difference:.0e}" + ("" if difference <= WITHIN else ", not reached")


# The search for settings


def search(study: Study, solver: str, cap: float) -> Verdict:
    """Go down a ladder until one setting is sufficient, then try one 3 times looser.

    One BLAS thread: more change the time, not the scores.
    """
    verdicts: list[Verdict] = []
    for setting in LADDERS[solver]:
        verdicts.append(tried(study, solver, setting, cap))
        if verdicts[-1].sufficient:
            looser = setting._replace(tol=setting.tol * math.sqrt(10))
            verdicts.append(tried(study, solver, looser, cap))
            break
        if verdicts[-1].difference == math.inf:  # a tighter one takes longer
            break
    enough = [verdict for verdict in verdicts if verdict.sufficient]
    if enough:
        return max(enough, key=lambda verdict: verdict.setting.tol)
    return min(verdicts, key=lambda verdict: verdict.difference)


def tried(study: Study, solver: str, setting: Setting, cap: float) -> Verdict:
    contender = Contender(solver, setting, Way(1))
    outcome = study.fit(contender, cap)
    seconds = outcome.seconds if outcome else cap
    return Verdict(setting, seconds, study.worst(contender)[0])


# Comparisons and their tables


@dataclass(frozen=True)
class Comparison:
    """softreg and scikit-learn's fastest sufficient contender, on one set in one part."""

    study: Study
    own: Contender
    other: Contender | None
    verdicts: dict[str, Verdict]

    def ratio(self, contender: Contender) -> str:
        """Times that softreg is faster; a lower bound if the other did not end in time."""
        own, seconds = self.study.seconds(self.own), self.study.seconds(contender)
        bound = "" if seconds < math.inf else "> "
        return f"{bound}{min(seconds, self.study.caps[contender]) / own:.3g}"

    def row(self) -> list[str]:
        _, _, _, way, *ours = self.study.cells(self.own)
        row = [self.study.part, self.study.name, *map(str, self.study.problem.X.shape), way]
        row += ours[:2]
        if self.other is None:
            return [*row, "none", *[""] * 5]
        solver, *others = self.study.cells(self.other)
        *others, _, _ = others
        return [*row, solver, *others, self.ratio(self.other)]

    def rows(self) -> list[list[str]]:
        """A row of each contender that is shown, and of each solver that was not fitted again."""
        head = [self.study.part, self.study.name]
        shown = [contender for contender in self.study.first if self.shown(contender)]
        rows = [[*head, *self.study.cells(c), self.ratio(c)] for c in shown]
        fitted = {(contender.solver, contender.setting) for contender in shown}
        searched = {s: v for s, v in self.verdicts.items() if (s, v.setting) not in fitted}
        return rows + [[*head, *v.cells(solver)] for solver, v in searched.items()]

    def shown(self, contender: Contender) -> bool:
        """Whether it is softreg, scikit-learn's default, or of a setting that the search found."""
        found = [(solver, v.setting) for solver, v in self.verdicts.items() if v.sufficient]
        chosen = (contender.solver, contender.setting)
        return contender.setting is None or chosen in [("lbfgs", DEFAULT), *found]


def compare(part: str, name: str, args: argparse.Namespace) -> Comparison:
    """Find the settings, run them in all ways, take the time."""
    study = Study(part, name)
    ours = [Contender(way=way) for way in PARTS[part].own_ways]
    for contender in ours:
        if study.fit(contender, args.cap) is None:
            raise SystemExit(f"softreg's fit of {name} failed")
    known = {} if args.search else SEARCHED.get((part, name), {})
    verdicts: dict[str, Verdict] = {}
    for solver in args.solvers or PARTS[part].solvers:
        cap = patience(args.cap, PATIENCE, fastest_of(verdicts))
        verdicts[solver] = known[solver] if solver in known else search(study, solver, cap)
    others = in_all_ways(study, verdicts, args.cap)
    study.fit(Contender("lbfgs", DEFAULT, Way(1)), args.cap)
    near = [study.nearly(ours), study.nearly(others)]
    study.take_turns([*near[0], *near[1]], args.repeat, args.budget)
    own, other = (study.fastest(contenders) if contenders else None for contenders in near)
    return Comparison(study, own, other, verdicts)


def in_all_ways(study: Study, verdicts: dict[str, Verdict], cap: float) -> list[Contender]:
    """Fit once with what is sufficient and not slow, in all ways; return those sufficient."""
    found: list[Contender] = []
    least = fastest_of(verdicts)
    for solver, verdict in verdicts.items():
        for way in reversed(WAYS) if verdict.sufficient and verdict.seconds <= SLOW * least else ():
            contender = Contender(solver, verdict.setting, way)
            fastest = min(map(study.seconds, found), default=math.inf)
            study.fit(contender, patience(cap, HOPELESS, fastest))
            found += [contender] if study.worst(contender)[0] <= WITHIN else []
    return found


def fastest_of(verdicts: dict[str, Verdict]) -> float:
    """Seconds of the fastest sufficient setting; infinite if there is none."""
    return min((v.seconds for v in verdicts.values() if v.sufficient), default=math.inf)


def patience(cap: float, times: float, seconds: float) -> float:
    """Seconds for a fit, where a sufficient one took so many."""
    return min(cap, max(LEAST_PATIENCE, times * seconds))


def report(comparisons: Sequence[Comparison], left_out: Sequence[str]) -> str:
    """All tables in Markdown."""
    text = (
        f"{FOLDS} folds, {len(CS)} values of C from {CS[0]:g} to {CS[-1]:g}. Times in s; "
        "difference: the largest over all C of the mean held-out log loss from that of tight "
        "refits; ratio: scikit-learn's time over softreg's."
    )
    parts = [f"{common.versions()}. {text}"]
    parts += [f"{part}: {PARTS[part].title}." for part in {c.study.part: None for c in comparisons}]
    header = ["part", "set", "n", "d", "softreg run as", "s", "difference", "best of scikit-learn"]
    header += ["tol", "max_iter", "run as", "s", "difference", "ratio"]
    parts.append(common.table(header, [c.row() for c in comparisons]))
    parts.append(
        "Every contender (medians; of those not timed again, the first fit; search: as found by "
        "`--search`, with one BLAS thread, the sufficient setting of a solver that is far from the "
        f"fastest, or the nearest of one that is not within {WITHIN:g} in the search's time)."
    )
    header = ["part", "set", "solver", "tol", "max_iter", "run as", "s", "difference", "at C"]
    header += ["fits", "ratio"]
    parts.append(common.table(header, [row for c in comparisons for row in c.rows()]))
    if left_out:
        parts.append(f"Left out, as SOFTREG_DATA names no folder: {', '.join(left_out)}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, "lasso"), default=["cv", "grid"])
    sets = (*datasets.ALL, *Labels.kinds)
    kinds = f"any of {', '.join(sets)}; a part takes those of its kind"
    parser.add_argument("--sets", nargs="+", choices=sets, metavar="SET", help=kinds)
    kinds = f"any of {', '.join(LADDERS)}; sag and saga only if named"
    parser.add_argument("--solvers", nargs="+", choices=LADDERS, metavar="SOLVER", help=kinds)
    parser.add_argument("--search", action="store_true", help="find the settings anew")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds for one fit in a child")
    parser.add_argument("--repeat", type=int, default=7, help="timed fits; medians are taken")
    parser.add_argument("--quick", action="store_true", help="small sets, 20 s a fit, 3 fits")
    parser.add_argument("--output", type=Path, help="file for the Markdown tables")
    parser.set_defaults(budget=120.0)  # seconds of turns on one set; three rounds are made anyway
    args = parser.parse_args()
    if args.quick:
        args.cap, args.repeat = 20.0, 3

    comparisons, left_out = [], []
    for part in (part for part in args.parts if part in PARTS):
        chosen = args.sets or (("iris", "wine") if args.quick else PARTS[part].sets)
        for name in (name for name in chosen if name in PARTS[part].kinds):
            if datasets.available(name):
                comparisons.append(compare(part, name, args))
                print(*comparisons[-1].row(), sep=" | ", file=sys.stderr, flush=True)
            else:
                left_out.append(name)
    lasso = [name for name in args.sets or _lasso_cv.SETS if datasets.available(name)]
    if not comparisons and "lasso" not in args.parts:
        parser.error(f"nothing to compare; read from SOFTREG_DATA: {', '.join(left_out) or 'none'}")
    tables = report(comparisons, left_out) if comparisons else f"{common.versions()}.\n\n"
    if "lasso" in args.parts:
        tables += _lasso_cv.report(lasso, args.cap, LEAST_PATIENCE)
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
