"""The README's picture: distance from the optimum against time, on raw columns.

softreg at its defaults is one point, each solver of scikit-learn a line: one fit from the start at
each tolerance, from loose to strict, until it is within 1e-8 of the optimum or its time is up. One
BLAS thread each. The optimum is the published one, or the smallest that any fit reached.

    SOFTREG_DATA=folder python benchmarks/picture.py docs/_static/gap_against_time.svg
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import _common as common
import _datasets as datasets
from _contenders import Contender, Search, interleaved, search

SETS = ("satimage", "letter", "dry_bean")
WITHIN, LEAST_GAP = 1e-8, 1e-12
# Okabe and Ito's colours, which the colour-blind tell apart, and markers that differ as well.
STYLES = {
    "newton-cholesky": ("#0072B2", "o"),
    "newton-cg": ("#E69F00", "s"),
    "lbfgs": ("#009E73", "^"),
    "sag": ("#CC79A7", "D"),
    "saga": ("#56B4E9", "v"),
}


def measured(name: str, cap: float) -> tuple[float, float, float, list[Search]]:
    """Return the optimum of a set, softreg's seconds and objective, and scikit-learn's searches."""
    data = datasets.load(name)
    (outcomes,) = interleaved([Contender()], data, repeat=7, budget=30.0).values()
    seconds, objectives, _ = zip(*outcomes, strict=True)
    optimum = data.known_optimum or min(objectives)
    searches = [search(data, solver, optimum * (1 + WITHIN), cap) for solver in STYLES]
    optimum = min(optimum, *(each.lowest for each in searches))
    return optimum, statistics.median(seconds), statistics.median(objectives), searches


def draw(panel, name: str, cap: float) -> None:
    """Draw one set into its panel."""
    optimum, seconds, objective, searches = measured(name, cap)

    def gap(F: float) -> float:
        return max(F / optimum - 1, LEAST_GAP)

    for each in searches:
        colour, marker = STYLES[each.solver]
        points = [(outcome.seconds, gap(outcome.objective)) for _, outcome in each.tried]
        if points:
            style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
            panel.plot(*zip(*sorted(points), strict=True), label=each.solver, **style)
    panel.plot(seconds, gap(objective), "k*", markersize=15, label="softreg, defaults")
    n, d, K = datasets.load(name).shape
    panel.set_title(f"{name}: {n:,} rows, {d} columns, {K} classes", fontsize=9)
    panel.set(xscale="log", yscale="log", xlabel="seconds of one fit")
    panel.grid(color="0.9")
    print(f"{name}: softreg {seconds:.3g} s, gap {gap(objective):.0e}")
    for each in searches:
        last = each.tried[-1][1] if each.tried else None
        reached = f"{each.seconds:.3g} s" if each.found else each.remark
        print(f"  {each.solver}: {reached}; least gap {gap(each.lowest):.0e}" if last else reached)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, help="file for the picture: .svg or .png")
    parser.add_argument("--cap", type=float, default=30.0, help="seconds for one solver's fits")
    args = parser.parse_args()
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "softreg"  # the same file from the same figures
    figure, panels = plt.subplots(1, len(SETS), figsize=(11, 3.6), layout="constrained")
    for panel, name in zip(panels, SETS, strict=True):
        draw(panel, name, args.cap)
    panels[0].set_ylabel("F above its optimum, relative")
    lines = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(args.output, metadata={"Date": None} if args.output.suffix == ".svg" else None)
    print(common.versions())


if __name__ == "__main__":
    main()
