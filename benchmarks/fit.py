"""Time to the optimum: softreg's default fit and scikit-learn's best, on the same raw columns.

For each data set, softreg fits with its defaults, and every LogisticRegression solver fits with the
same C at the loosest tolerance that first brings it within 1e-6 (relative) of the optimum.
scikit-learn runs with one BLAS thread and with all of them; the better one counts.

1. Search: each solver goes down the tolerances in a child process of its own, which is killed when
   its time is up: ``--cap`` seconds, or less once another solver has done the job (5 times that
   one's fit, at least 2 s: it could no longer be the fastest).
2. Timing: softreg and the solvers that got there take turns in this process; medians. Texts have a
   second row, of softreg at tol=1e-6, which is what the others are asked for.
3. Memory: the peak of a process that loads the data and fits once.

The optimum is the published value where there is one (``OPTIMA``), else the smallest objective that
any fit of the run reached, a strict fit of scikit-learn among them.

    SOFTREG_DATA=folder python benchmarks/fit.py [--sets dense wide iris] [--output table.md]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import _common as common
import _datasets as datasets
from _contenders import SOLVERS, Contender, Search, interleaved, peak, search, strict

WITHIN = 1e-6
HUGE_WITHIN, HUGE_CAP = 1e-4, 1200.0  # on the huge set: within 1e-4 at all, in 20 minutes
THREADS = sorted({1, common.cores()})
GROUPS = {
    "dense": datasets.DENSE,
    "wide": datasets.WIDE,
    "sparse": datasets.SPARSE,
    "small": datasets.BUNDLED,
    "huge": datasets.HUGE,
}
DEFAULT = ("dense", "wide", "sparse", "small")
QUICK = ("anes96", "fair", "satimage", "vehicle", "wine_white", "small")
# What `Comparison.row` has in its cells.
HEADER = ("set", "n", "d", "K", "softreg", "gap", "MB", "best of scikit-learn", "tol")
HEADER += ("ms", "gap", "MB", "ratio")


@dataclass(frozen=True)
class Measured:
    """Medians of one contender on one set."""

    contender: Contender
    seconds: float
    gap: float
    peak: int
    warned: tuple[str, ...]

    def cells(self) -> list[str]:
        mark = " (" + ", ".join(self.warned) + ")" if self.warned else ""
        return [f"{1e3 * self.seconds:.3g}", f"{self.gap:.0e}{mark}", f"{self.peak / 1e6:.0f}"]


@dataclass(frozen=True)
class Comparison:
    """softreg and the best of scikit-learn, if any got there, on one set."""

    name: str
    shape: tuple[int, int, int]
    softreg: Measured
    sklearn: Measured | None
    searches: Sequence[Search]
    optimum: float
    cap: float

    @property
    def ratio(self) -> float:
        """Times that softreg is faster; a lower bound where no solver got there in time."""
        return (self.sklearn.seconds if self.sklearn else self.cap) / self.softreg.seconds

    def row(self) -> list[str]:
        if self.sklearn:
            best = self.sklearn.contender
            name = f"{best.solver}, {best.threads} thr."
            other = [name, f"{best.tol:.0e}", *self.sklearn.cells(), f"{self.ratio:.3g}"]
        else:
            other = ["none", "", f"> {1e3 * self.cap:.0f}", "", "", f"> {self.ratio:.3g}"]
        return [self.name, *map(str, self.shape), *self.softreg.cells(), *other]

    def search_row(self) -> list[str]:
        """Each solver's time and tolerance, or why there are none and the smallest gap it had."""
        cells = [self.name]
        for s in self.searches:
            if s.found:
                cells.append(f"{1e3 * s.seconds:.3g} ({s.found.tol:.0e})")
            else:
                got = f"; {s.lowest / self.optimum - 1:.0e}" if s.tried else ""
                cells.append(s.remark + got)
        return cells


def compare(name: str, C: float | None, cap: float, repeat: int, budget: float) -> list[Comparison]:
    """Search, time and weigh all contenders on one set."""
    data = datasets.load(name, C)
    within, cap = (HUGE_WITHIN, HUGE_CAP) if name in datasets.HUGE else (WITHIN, cap)
    optimum = data.known_optimum or reached_by_default_or_strict_fit(data, cap)

    searches: list[Search] = []
    for solver in SOLVERS:
        patience = min(cap, max(2.0, 5.0 * min((s.seconds for s in searches), default=math.inf)))
        searches.append(search(data, solver, optimum * (1 + within), patience))
    slowest = 3.0 * min(s.seconds for s in searches)
    sufficient = [s.found for s in searches if s.found and s.seconds <= slowest]
    others = [replace(found, threads=threads) for found in sufficient for threads in THREADS]
    ours = {name: Contender()}
    if name in datasets.SPARSE:
        ours[f"{name}, tol={WITHIN:g}"] = Contender(tol=WITHIN)
    runs = interleaved([*ours.values(), *others], data, repeat, budget)
    if data.known_optimum is None:
        fits = [outcome.objective for outcomes in runs.values() for outcome in outcomes]
        optimum = min(optimum, *fits, *(s.lowest for s in searches))

    def measured(contender: Contender) -> Measured:
        seconds, objectives, warned = zip(*runs[contender], strict=True)
        (memory,) = common.messages(peak, name, data.C, contender)
        gap = statistics.median(objectives) / optimum - 1
        return Measured(contender, statistics.median(seconds), gap, memory, warned[-1])

    best = min(others, key=lambda c: statistics.median(o.seconds for o in runs[c]), default=None)
    fastest = measured(best) if best else None
    return [
        Comparison(title, data.shape, measured(own), fastest, searches, optimum, cap)
        for title, own in ours.items()
    ]


def reached_by_default_or_strict_fit(data: datasets.Dataset, cap: float) -> float:
    """The smaller objective of softreg's default and a strict fit of scikit-learn, if in time."""
    seen = [Contender().fit(data).objective]
    if data.name not in datasets.HUGE:
        seen += common.messages(strict, data.name, data.C, cap=3 * cap)
    return min(seen)


def report(comparisons: Sequence[Comparison], left_out: Sequence[str]) -> str:
    """All tables in Markdown."""
    parts = [f"{common.versions()}. Times in ms, peak memory of the process in MB."]
    parts.append(common.table(HEADER, [c.row() for c in comparisons]))
    for label, names in (("dense sets", datasets.DENSE), ("wide sets", datasets.WIDE)):
        parts += mean_ratio(label, [c for c in comparisons if c.name in names])
    parts.append(
        "Every solver's search: ms at the loosest sufficient tolerance (one BLAS thread), or why "
        "there is none, with the smallest gap of the fits that ended."
    )
    searched = [c for c in comparisons if c.name in datasets.ALL]
    parts.append(common.table(["set", *SOLVERS], [c.search_row() for c in searched]))
    if left_out:
        parts.append(f"Left out, as SOFTREG_DATA names no folder: {', '.join(left_out)}.")
    return "\n\n".join(parts) + "\n"


def mean_ratio(label: str, comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence with the geometric mean of the ratio, in a list, or none for no sets."""
    if not comparisons:
        return []
    ratios = [c.ratio for c in comparisons]
    text = f"Geometric mean of the ratio over {len(ratios)} {label}"
    text += f": {statistics.geometric_mean(ratios):.1f}"
    reached = [c.ratio for c in comparisons if c.sklearn]
    if 0 < len(reached) < len(ratios):
        text += (
            " with the time limit for sets that no solver of scikit-learn did; "
            f"{statistics.geometric_mean(reached):.1f} over the {len(reached)} others"
        )
    return [f"{text}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    choices = (*GROUPS, *datasets.ALL)
    kinds = f"any of {', '.join(choices)}"
    parser.add_argument("--sets", nargs="+", choices=choices, metavar="SET", help=kinds)
    parser.add_argument("--C", type=float, help="default: 1, for texts 10")
    parser.add_argument("--cap", type=float, default=30.0, help="seconds for one solver's search")
    parser.add_argument("--repeat", type=int, default=7, help="timed fits; medians are taken")
    parser.add_argument("--quick", action="store_true", help="a few sets, 2 s a search, 3 fits")
    parser.add_argument("--output", type=Path, help="file for the Markdown tables")
    args = parser.parse_args()
    if args.quick:
        args.cap, args.repeat = 2.0, 3

    groups = args.sets or (QUICK if args.quick else DEFAULT)
    names = [name for group in groups for name in GROUPS.get(group, (group,))]
    left_out = [name for name in names if not datasets.available(name)]
    if left_out == names:
        parser.error("these sets are read from disk: set SOFTREG_DATA to their folder")
    comparisons = []
    for name in names:
        if name not in left_out:
            found = compare(name, args.C, args.cap, args.repeat, budget=30.0)
            comparisons += found
            print(*(" | ".join(c.row()) for c in found), sep="\n", file=sys.stderr, flush=True)
    tables = report(comparisons, left_out)
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
