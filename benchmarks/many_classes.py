"""Thousands of classes: MiniBatch over all classes and over candidates, simulated.

Class means are drawn from N(0, I) in d dimensions, rows from N(mean, noise^2 I), ten rows a class
on average; frequencies are all alike, or fall like 1 / rank (Zipf). All fits are untuned and run
one after the other in this process, one thread each: seconds per epoch, and the share of held-out
rows whose class is the most probable one, or among the five most probable.

    python benchmarks/many_classes.py [--classes 10000] [--epochs 5] [--output table.md]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import _common as common
import numpy as np

from softreg import SoftmaxRegression
from softreg.solvers import MiniBatch

ROWS_A_CLASS = 10
HELD_OUT = 4000
NOISE = 1.9  # the full model then has 60 to 90 % of 10,000 classes right
CANDIDATES = 200
KINDS = ("alike", "Zipf")


def simulated(K: int, d: int, zipf: bool) -> tuple[np.ndarray, ...]:
    """Return X, y and held-out rows of the same frequencies."""
    rng = np.random.default_rng(0)
    n, means = ROWS_A_CLASS * K, rng.standard_normal((K, d))
    chance = 1 / (np.arange(K) + 10.0) if zipf else np.ones(K)
    chance /= chance.sum()
    drawn = rng.choice(K, n - 2 * K, p=chance)
    y = rng.permutation(np.concatenate([np.arange(K), np.arange(K), drawn]))  # two rows at least
    held = rng.choice(K, HELD_OUT, p=chance)
    X, Xh = (means[of] + NOISE * rng.standard_normal((len(of), d)) for of in (y, held))
    return X, y, Xh, held


def contenders(epochs: int) -> dict[str, MiniBatch]:
    sampled = {
        f"{CANDIDATES} candidates, {proposal}": MiniBatch(
            n_epochs=epochs, n_candidates=CANDIDATES, proposal=proposal
        )
        for proposal in ("log-uniform", "uniform")
    }
    return {"all classes": MiniBatch(n_epochs=epochs)} | sampled


def classes_table(
    K: int = 10_000, d: int = 128, epochs: int = 5, kinds: Sequence[str] = KINDS
) -> str:
    """Seconds per epoch and held-out accuracy of all contenders, for these kinds of frequencies."""
    rows = []
    for name in kinds:
        X, y, Xh, held = simulated(K, d, zipf=name == "Zipf")
        full = 0.0
        for contender, solver in contenders(epochs).items():
            start = time.perf_counter()
            model = SoftmaxRegression(solver=solver, random_state=0, n_jobs=1).fit(X, y)
            seconds = (time.perf_counter() - start) / epochs
            full = full or seconds
            right = model.predict_top_k(Xh, 5) == held[:, None]
            shares = [f"{100 * right[:, :k].any(axis=1).mean():.1f}" for k in (1, 5)]
            rows.append([name, contender, f"{seconds:.3g}", f"{full / seconds:.0f}", *shares])
            print(*rows[-1], sep=" | ", flush=True)
    title = f"K={K:,}, d={d}, n={ROWS_A_CLASS * K:,}, {epochs} epochs; frequencies"
    return common.table([title, "loss over", "s an epoch", "ratio", "top 1, %", "top 5, %"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--output", type=Path, help="file for the Markdown table")
    args = parser.parse_args()
    shape = args.classes, args.features, args.epochs
    tables = f"{common.versions()}.\n\n{classes_table(*shape, args.kinds)}\n"
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
