"""What a fit of digits costs on a shared machine: beside two busy processes, against quiet.

The neighbours either multiply matrices, with as many BLAS threads as they like, or run plain
Python loops. softreg and scikit-learn fit with their default threads; medians of fits in turn.

    python benchmarks/busy.py [--repeat 15] [--output table.md]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import Callable
from pathlib import Path

import _common as common
import _datasets as datasets
import numpy as np
from _contenders import Contender, interleaved

NEIGHBOURS = 2
PATIENCE = 60.0  # seconds of fits in one setting, after which fewer rounds must do
CONTENDERS = {
    "softreg": Contender(),
    "newton-cholesky, 1 BLAS thread": Contender("newton-cholesky", 1e-4, threads=1),
    "newton-cholesky": Contender("newton-cholesky", 1e-4),
    "lbfgs": Contender("lbfgs", 1e-3),
}


def multiply_matrices(send: Callable[[str], None]) -> None:
    A = np.random.default_rng(0).standard_normal((1000, 1000))
    send("busy")
    while True:
        A @ A


def loop_in_python(send: Callable[[str], None]) -> None:
    send("busy")
    while True:
        sum(range(1000))


LOADS: dict[str, Callable | None] = {
    "quiet": None,
    "matrices": multiply_matrices,
    "Python loops": loop_in_python,
}


def medians(load: Callable | None, data: datasets.Dataset, repeat: int) -> list[float]:
    """Median seconds of each contender's fit while the neighbours are at work."""
    with contextlib.ExitStack() as stack:
        for _ in range(NEIGHBOURS if load else 0):
            stack.enter_context(common.child(load))
        runs = interleaved(CONTENDERS.values(), data, repeat, budget=PATIENCE)
    return [statistics.median(run.seconds for run in runs[c]) for c in CONTENDERS.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=15, help="timed fits; medians are taken")
    parser.add_argument("--output", type=Path, help="file for the Markdown table")
    args = parser.parse_args()

    data = datasets.load("digits")
    interleaved(CONTENDERS.values(), data, repeat=1, budget=PATIENCE)  # the first fits load code
    times = {name: medians(load, data, args.repeat) for name, load in LOADS.items()}
    header = ["digits", "quiet, ms"]
    for name in list(LOADS)[1:]:
        header += [f"beside {name}, ms", "times quiet"]
    rows = []
    for contender, quiet, *busy in zip(CONTENDERS, *times.values(), strict=True):
        cells = [text for t in busy for text in (f"{1e3 * t:.3g}", f"{t / quiet:.2g}")]
        rows.append([contender, f"{1e3 * quiet:.3g}", *cells])
    tables = f"{common.versions()}.\n\n{common.table(header, rows)}\n"
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
