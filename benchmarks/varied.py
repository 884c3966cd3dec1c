"""Time to the optimum on tables that no rule was tuned to: forty, drawn by a seed from the sets.

As ``fit.py`` measures (softreg's defaults beside scikit-learn's best solver at the loosest
tolerance that gets within 1e-6, both thread settings), on other rows, columns and classes of the
sets, raw; some with collinear columns, rare classes, or classes that are nearly separated. Seeds 1
and 2 serve development; figures that are quoted come from another one, drawn afterwards.

    SOFTREG_DATA=folder python benchmarks/varied.py --seed 1 [--tables 40] [--output table.md]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import warnings
from pathlib import Path
from typing import Any

import _common as common
import _datasets as datasets
from fit import HEADER, Comparison, compare

from softreg import SoftmaxRegression
from softreg._estimators import posing
from softreg._model import block_kernels
from softreg._rows.memory import MemoryRows
from softreg.solvers.linalg import factors

# Where the time of a fit goes; passes hold the three parts that follow.
PARTS = {
    "passes": MemoryRows.sum,
    "gradients": block_kernels.LossAndGradient.__call__,
    "certificates": block_kernels.CertificateSums.__call__,
    "Hessians": block_kernels.LossHessian.__call__,
    "factors": factors.cholesky,
    "reading X and y": posing.read_sample,
}


def profiled(name: str) -> dict[str, tuple[int, float]]:
    """Return the calls of each of ``PARTS`` in a default fit on one thread, and their share."""
    data, profile = datasets.load(name), cProfile.Profile()
    model = SoftmaxRegression(C=data.C, n_jobs=1).fit(data.X, data.y)
    profile.runcall(model.fit, data.X, data.y)
    stats: Any = pstats.Stats(profile)
    found = {}
    for part, function in PARTS.items():
        code = function.__code__
        key = code.co_filename, code.co_firstlineno, code.co_name
        _, calls, _, seconds, _ = stats.stats.get(key, (0, 0, 0.0, 0.0, None))
        found[part] = calls, seconds / stats.total_tt
    return found


def row_of_parts(comparison: Comparison) -> list[str]:
    """Return the cells that say where the time of a default fit went."""
    parts = profiled(comparison.name)
    cells = [f"{calls} ({100 * share:.0f} %)" if calls else "" for calls, share in parts.values()]
    return [comparison.name, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tables", type=int, default=40)
    parser.add_argument("--cap", type=float, default=10.0, help="seconds for one solver's search")
    parser.add_argument("--repeat", type=int, default=7, help="timed fits; medians are taken")
    parser.add_argument("--output", type=Path, help="file for the Markdown tables")
    args = parser.parse_args()
    if datasets.folder() is None:
        parser.error("the sets are read from disk: set SOFTREG_DATA to their folder")
    warnings.simplefilter("ignore")
    comparisons = []
    for number in range(args.tables):
        name = f"{datasets.DRAWN}{args.seed}-{number}"
        comparisons += compare(name, None, args.cap, args.repeat, budget=10.0)
        print(" | ".join(comparisons[-1].row()), file=sys.stderr, flush=True)
    comparisons.sort(key=lambda comparison: comparison.ratio)
    worst = comparisons[:5]
    mean = statistics.geometric_mean(comparison.ratio for comparison in comparisons)
    tables = "\n\n".join(
        [
            f"{common.versions()}. Seed {args.seed}. Times in ms, peak memory in MB, worst first.",
            common.table(HEADER, [comparison.row() for comparison in comparisons]),
            f"Geometric mean of the ratio over {len(comparisons)} tables: {mean:.2f}; "
            f"the worst: {', '.join(f'{comparison.ratio:.2f}' for comparison in worst)}.",
            "Where the time of the worst went: calls, and their share (passes hold what follows).",
            common.table(["set", *PARTS], map(row_of_parts, worst)),
        ]
    )
    print(tables)
    if args.output:
        args.output.write_text(tables + "\n")


if __name__ == "__main__":
    main()
