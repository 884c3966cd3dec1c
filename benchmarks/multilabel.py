"""Many labels at once: SigmoidRegression, and scikit-learn's one-vs-rest logistic regression.

softreg fits with its defaults, and ``OneVsRestClassifier(LogisticRegression())`` twice: with its
defaults (lbfgs, tol=1e-4, 100 iterations), and at equal accuracy, which is the loosest tolerance at
which every label's objective lies within 1e-6 (relative) of that label's optimum. scikit-learn runs
with one BLAS thread, with all of them, and with one job per core; the fastest of these counts.

1. Every fit is made once in a child process of its own, which tells its peak memory and is killed
   after ``--cap`` seconds. So each solver goes down the tolerances until one is sufficient. (Once
   another solver has done the job it has 5 times that one's seconds for a fit, at least 20.)
2. What took less than 20 s then takes turns in this process, as often as 20 s allow; medians. A fit
   that took longer counts as it is, at equal accuracy only as the default was fastest.

The big sets have a second row, of softreg at tol=1e-6, which is what the others are asked for.
A label's optimum is the smallest objective that any fit of the run reached, softreg's at tol=1e-12
among them; the excess in the tables is that of the worst label.

    SOFTREG_DATA=folder python benchmarks/multilabel.py [--sets bibtex] [--output table.md]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import _common as common
import _datasets as datasets
import numpy as np
from _contenders import WAYS, Way, stop_workers
from _contenders import MultilabelContender as Contender
from _contenders import MultilabelOutcome as Outcome

WITHIN = 1e-6
STRICT = 1e-12  # softreg's tolerance for the optimum
LONG = 20.0  # seconds; a longer fit is not repeated
SHORT = 1.0  # seconds; joblib's workers take longer to start: the search does without them
SMALL = ("emotions", "yeast", "simulated")
# The exact one first: it sets the time that the others have. lbfgs starts at its default, which was
# sufficient on no set.
LADDERS = {
    "newton-cholesky": tuple(10.0**-k for k in range(1, 9)),
    "newton-cg": tuple(10.0**-k for k in range(1, 9)),
    "lbfgs": tuple(10.0**-k for k in range(4, 9)),
    "liblinear": tuple(10.0**-k for k in range(1, 9)),
}
# On a dozen labels each of bibtex and delicious the others needed more time than lbfgs.
SOLVERS_OF_BIG_SETS = ("lbfgs",)


def alone(send: Callable, name: str, contender: Contender) -> None:
    """In a child: load, fit once, and send the outcome; loading is not in its peak memory."""
    data = datasets.load_multilabel(name)
    contender.model()  # imports are not in its time
    send("loaded")
    common.reset_peak_memory()
    send(contender.fit(data))
    stop_workers(contender.way.jobs)


@dataclass
class Study:
    """All fits of one set: the first of each contender, None if it did not end, and timed ones.

    ``caps`` has the seconds that those had which did not end in time (0 if they failed).
    """

    name: str
    first: dict[Contender, Outcome | None] = field(default_factory=dict)
    caps: dict[Contender, float] = field(default_factory=dict)
    timed: dict[Contender, list[Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = datasets.load_multilabel(self.name)

    def fit(self, contender: Contender, cap: float = math.inf) -> Outcome | None:
        """Fit in a child of its own, once per contender."""
        if contender not in self.first:
            start = time.perf_counter()
            outcomes = list(common.messages(alone, self.name, contender, cap=cap))
            self.first[contender] = outcomes[0] if outcomes else None
            self.caps[contender] = cap if time.perf_counter() - start > cap else 0.0
            print(self.name, *self.cells(contender), sep=" | ", file=sys.stderr, flush=True)
        return self.first[contender]

    def take_turns(self, contenders: Iterable[Contender], repeat: int) -> None:
        """Time what is not long, as often as its first fit leaves room for."""
        times = {c: min(repeat, int(LONG / self.seconds(c))) for c in contenders}
        for turn in range(repeat):
            for contender in (c for c, n in times.items() if turn < n):
                self.timed.setdefault(contender, []).append(contender.fit(self.data))

    def outcomes(self, contender: Contender) -> list[Outcome]:
        first = self.first[contender]
        return self.timed.get(contender) or ([first] if first else [])

    def seconds(self, contender: Contender) -> float:
        """Median seconds; infinite if the fit did not end."""
        return statistics.median(o.seconds for o in self.outcomes(contender) or [FAILED])

    def excess(self, contender: Contender) -> float:
        """F_l / F*_l - 1 of the worst label; infinite if the fit did not end."""
        fits = [o for o in self.first.values() if o] + [o for os in self.timed.values() for o in os]
        lowest = np.min([o.objectives for o in fits], axis=0, initial=math.inf)
        worst = [(o.objectives / lowest).max() - 1 for o in self.outcomes(contender)]
        return statistics.median(worst or [math.inf])

    def fastest(self, contenders: Iterable[Contender]) -> Contender:
        return min(contenders, key=self.seconds)

    def cells(self, contender: Contender) -> list[str]:
        """Solver, tolerance, way, ms, excess, MB and number of fits that the times stand for."""
        outcomes = self.outcomes(contender)
        if not outcomes:
            cap = self.caps[contender]
            return [*contender.cells(), f"> {milliseconds(cap)}" if cap else "failed", *[""] * 3]
        numbers = [milliseconds(self.seconds(contender)), self.excess_cell(contender)]
        numbers += [f"{self.first[contender].peak / 1e6:.0f}", f"{len(outcomes)}"]
        return [*contender.cells(), *numbers]

    def excess_cell(self, contender: Contender) -> str:
        stopped = max((o.unconverged for o in self.outcomes(contender)), default=0)
        return f"{self.excess(contender):.0e}" + (f" ({stopped} warned)" if stopped else "")


FAILED = Outcome(math.inf, np.array([math.inf]), 0, 0)


@dataclass(frozen=True)
class Comparison:
    """softreg beside scikit-learn's default and its fastest fit at equal accuracy, on one set."""

    title: str
    study: Study
    own: Contender
    default: Contender
    equal: Contender | None

    def ratio(self, other: Contender) -> str:
        """Times that softreg is faster; a lower bound if the other did not end in time."""
        own, seconds = self.study.seconds(self.own), self.study.seconds(other)
        if seconds < math.inf:
            return f"{seconds / own:.3g}"
        cap = self.study.caps[other]
        return f"> {cap / own:.3g}" if cap else ""

    def row(self) -> list[str]:
        _, _, _, *ours, _ = self.study.cells(self.own)
        _, _, way, ms, excess, _, _ = self.study.cells(self.default)
        shape = map(str, self.study.data.shape)
        row = [self.title, *shape, *ours, way, ms, excess, self.ratio(self.default)]
        if self.equal is None:
            return [*row, "none", *[""] * 6]
        return [*row, *self.study.cells(self.equal)[:-1], self.ratio(self.equal)]


def compare(name: str, solvers: Sequence[str], cap: float, repeat: int) -> list[Comparison]:
    """Make the first fits, search the tolerances, take the time."""
    study = Study(name)
    ours = {name: Contender()}
    if name not in SMALL:
        ours[f"{name}, tol={WITHIN:g}"] = Contender(tol=WITHIN)
    for contender in (Contender(tol=STRICT), *ours.values()):
        if study.fit(contender) is None:
            raise SystemExit(f"softreg's fit of {name} failed")
    defaults = [Contender("lbfgs", way=way) for way in WAYS]
    for contender in defaults:
        study.fit(contender, cap)
    short = study.seconds(defaults[0]) < SHORT
    way = (defaults[0] if short else study.fastest(defaults)).way
    equals = at_equal_accuracy(study, solvers, way, cap)
    study.take_turns([*ours.values(), *defaults, *equals], repeat)
    default, equal = study.fastest(defaults), study.fastest(equals) if equals else None
    return [Comparison(title, study, own, default, equal) for title, own in ours.items()]


def at_equal_accuracy(
    study: Study, solvers: Sequence[str], way: Way, cap: float
) -> list[Contender]:
    """Each solver that gets there, in all ways; if none does, the fit that came nearest, if any."""
    found: list[Contender] = []
    tried: list[Contender] = []
    for solver in solvers:
        fastest = min((study.seconds(c) for c in found), default=math.inf)
        patience = min(cap, max(LONG, 5.0 * fastest))
        tried += descend(study, [Contender(solver, tol, way) for tol in LADDERS[solver]], patience)
        found = [c for c in tried if study.excess(c) <= WITHIN]
    if not found:
        ended = [c for c in tried if study.first[c]]
        return [min(ended, key=study.excess)] if ended else []
    short = [c for c in found if study.seconds(c) <= LONG]
    others = [replace(c, way=other) for c in short for other in WAYS if other != way]
    return found + [c for c in others if study.fit(c, cap)]


def descend(study: Study, ladder: Sequence[Contender], cap: float) -> list[Contender]:
    """Try one after another until one is sufficient or does not end; return those tried."""
    for k, contender in enumerate(ladder, start=1):
        if study.fit(contender, cap) is None or study.excess(contender) <= WITHIN:
            return list(ladder[:k])
    return list(ladder)


def milliseconds(seconds: float) -> str:
    """Three digits, and all before the point."""
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def report(comparisons: Sequence[Comparison], left_out: Sequence[str]) -> str:
    """All tables in Markdown."""
    text = (
        "Times in ms; excess: the worst label's F/F* - 1; peak memory of the process, with its "
        "jobs', in MB; ratio: scikit-learn's time over softreg's."
    )
    parts = [f"{common.versions()}. {text}"]
    header = ["set", "n", "d", "L", "softreg", "excess", "MB"]
    header += ["scikit-learn's default", "ms", "excess", "ratio"]
    header += ["at equal accuracy", "tol", "run as", "ms", "excess", "MB", "ratio"]
    parts.append(common.table(header, [c.row() for c in comparisons]))
    parts.append("Every contender's fits (medians; of those not timed again, the first).")
    header = ["set", "solver", "tol", "run as", "ms", "excess", "MB", "fits", "ratio"]
    rows = [
        [c.study.name, *c.study.cells(contender), c.ratio(contender)]
        for c in comparisons
        if c.title == c.study.name
        for contender in c.study.first
    ]
    parts.append(common.table(header, rows))
    if any(c.study.name == "simulated" for c in comparisons):
        parts.append("simulated: scikit-learn's make_multilabel_classification.")
    if left_out:
        parts.append(f"Left out, as SOFTREG_DATA names no folder: {', '.join(left_out)}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    sets = (*datasets.MULTILABEL, "simulated")
    kinds = f"any of {', '.join(sets)}"
    parser.add_argument("--sets", nargs="+", choices=sets, metavar="SET", help=kinds)
    kinds = f"any of {', '.join(LADDERS)}; default: all for small sets, for big ones lbfgs"
    parser.add_argument("--solvers", nargs="+", choices=LADDERS, metavar="SOLVER", help=kinds)
    parser.add_argument("--cap", type=float, default=600.0, help="seconds for scikit-learn's fit")
    parser.add_argument("--repeat", type=int, default=7, help="timed fits; medians are taken")
    parser.add_argument("--quick", action="store_true", help="small sets, 20 s a fit, 3 fits")
    parser.add_argument("--output", type=Path, help="file for the Markdown tables")
    args = parser.parse_args()
    if args.quick:
        args.cap, args.repeat = 20.0, 3

    names = args.sets or (["emotions", "yeast"] if args.quick else datasets.MULTILABEL)
    left_out = [name for name in names if not datasets.available(name)]
    measured = [name for name in names if name not in left_out] or ["simulated"]
    comparisons = []
    for name in measured:
        solvers = args.solvers or (LADDERS if name in SMALL else SOLVERS_OF_BIG_SETS)
        comparisons += compare(name, tuple(solvers), args.cap, args.repeat)
    tables = report(comparisons, left_out)
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
