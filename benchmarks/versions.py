"""Default fits by two checkouts of softreg, in one process and in turns: what a change costs.

CPU time of one thread, so that other processes matter little; medians and their ratio.

    git worktree add ../before REVISION
    SOFTREG_DATA=folder python benchmarks/versions.py ../before . [--sets iris vehicle]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType

import _datasets as datasets
from sklearn.exceptions import ConvergenceWarning

SETS = (*datasets.BUNDLED, *datasets.DENSE)
SECONDS, MOST_FITS = 8.0, 60  # for each set, and of each version


def version(checkout: Path) -> ModuleType:
    """Return the softreg of a checkout, beside any other that is imported already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "softreg"]:
        del sys.modules[name]
    sys.path.insert(0, str(checkout.resolve()))
    package = importlib.import_module("softreg")
    del sys.path[0]
    if not Path(str(package.__file__)).is_relative_to(checkout.resolve()):
        raise SystemExit(f"{checkout} holds no softreg")
    return package


def compared(versions: list[ModuleType], name: str) -> list[str]:
    """Return the cells of a set: medians in ms, their ratio, iterations, difference of F."""
    data = datasets.load(name)
    seconds: tuple[list[float], list[float]] = ([], [])
    started, models = time.monotonic(), []
    while len(seconds[0]) < 3 or (
        time.monotonic() - started < SECONDS and len(seconds[0]) < MOST_FITS
    ):
        models = []
        for package, spent in zip(versions, seconds, strict=True):
            model = package.SoftmaxRegression(C=data.C, n_jobs=1)
            before = time.thread_time()
            model.fit(data.X, data.y)
            spent.append(time.thread_time() - before)
            models.append(model)
    old, new = (1e3 * statistics.median(spent) for spent in seconds)
    iterations = " / ".join(str(len(model.loss_curve_)) for model in models)
    difference = models[1].objective_ / models[0].objective_ - 1
    return [name, f"{old:.3g}", f"{new:.3g}", f"{new / old:.2f}", iterations, f"{difference:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    versions = [version(arguments.before), version(arguments.after)]
    print("| set | before, ms | after, ms | ratio | iterations | F, relative |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in filter(datasets.available, arguments.sets):
        print("|", " | ".join(compared(versions, name)), "|", flush=True)


if __name__ == "__main__":
    main()
