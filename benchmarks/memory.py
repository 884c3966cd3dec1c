"""Memory that a fit of a 1 GB float32 array adds to the array, as a share of it.

A child process simulates raw columns (means and scales over four decades) and labels drawn from the
model, then fits with defaults; what counts is the peak of resident memory over what was resident
before the fit.

    python benchmarks/memory.py [--rows 2500000] [--columns 100] [--classes 5] [--output table.md]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import _common as common
import numpy as np

BLOCK_ROWS = 100_000  # rows simulated at a time


def simulate(n: int, d: int, K: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw float32 columns and the labels of a softmax model, without a second copy of either."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2, 2, size=d)
    mean = scale * rng.standard_normal(d)
    W = rng.standard_normal((K, d)) / np.sqrt(d)
    X, y = np.empty((n, d), dtype=np.float32), np.empty(n, dtype=np.int64)
    for start in range(0, n, BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, n))
        Z = rng.standard_normal((rows.stop - start, d))
        X[rows] = mean + scale * Z
        y[rows] = (Z @ W.T + rng.gumbel(size=(len(Z), K))).argmax(axis=1)
    return X, y


def measure(send: Callable, library: str, n: int, d: int, K: int) -> None:
    """In a child: send the bytes of X, those that the fit added at its peak, and its seconds."""
    X, y = simulate(n, d, K)
    if library == "softreg":
        from softreg import SoftmaxRegression as Model
    else:
        from sklearn.linear_model import LogisticRegression as Model
    with warnings.catch_warnings(record=True):  # of too few iterations; only memory is asked here
        Model().fit(X[:1000], y[:1000])  # code that is loaded late is not memory of the fit
        send("loaded")
        common.reset_peak_memory()
        before, start = common.peak_memory(), time.perf_counter()
        Model().fit(X, y)
        seconds = time.perf_counter() - start
    send((X.nbytes, common.peak_memory() - before, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_500_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--output", type=Path, help="file for the Markdown table")
    args = parser.parse_args()

    rows = []
    for library in ("softreg", "scikit-learn"):
        shape = args.rows, args.columns, args.classes
        ((size, added, seconds),) = common.messages(measure, library, *shape)
        share = f"{100 * added / size:.1f} %"
        rows.append([library, f"{size / 1e6:.0f}", f"{added / 1e6:.0f}", share, f"{seconds:.1f}"])
    header = ["default fit", "array, MB", "added at the peak, MB", "share", "s"]
    tables = f"{common.versions()}.\n\n{common.table(header, rows)}\n"
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
