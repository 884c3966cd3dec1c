"""Fits on a local Dask cluster, from Parquet parts, beside the fit in memory and other programs.

Of each number of worker processes, with one thread each: seconds of the fit from files to the
model, share of these in which the busiest worker computed nothing, passes, F above that in memory
(relative), peak memory of the largest worker and of the client, and how much of the client's the
fit added: the rest are its imports. The client's process holds the scheduler, too. Spark, or of two
classes dask-ml, follow where they are installed: at their defaults, and at the loosest tolerance
that gets within 1e-6 of the optimum.

    python benchmarks/dask_fit.py simulated [--rows 5000000] [--parts 50] [--workers 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _cluster_rivals as rivals
import _common as common
import _parts as parts
from _cluster_rivals import Fit, measured

from softreg import SoftmaxRegression

# glibc gives freed arrays back to the system at once otherwise, and asks for them anew in each
# pass: a third of the time (measured). Dask's nannies set the first to 65,536.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**27), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
NEAR = 1e-6  # how far above the optimum, relatively, the rivals' F may be
HEADER = (
    "fit",
    "s",
    "idle",
    "passes",
    "F above memory",
    "proven gap",
    "worker MB",
    "client MB",
    "added by the fit",
)


def in_memory(send, folder: str, C: float, threads: list[int]) -> None:
    """In a child: the fit of all rows, on so many threads."""
    X, y = parts.arrays(folder)
    send("ready")
    for count in threads:
        model, *took = measured(SoftmaxRegression(C=C, n_jobs=count).fit, X, y)
        gap = model.optimality_gap_ / model.objective_
        name = f"memory, {count} thread{'s'[: count - 1]}"
        send(Fit(name, model.coef_, model.intercept_, *took, gap=gap))


def on_workers(send, folder: str, C: float, workers: int) -> None:
    """In a child: the fit on a cluster of so many processes, and how busy these were."""
    import dask
    import dask.dataframe as dd
    from distributed import Client, LocalCluster, get_task_stream

    dask.config.set({"distributed.nanny.pre-spawn-environ": MALLOC})
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        frame = dd.read_parquet(folder)
        send("ready")
        with get_task_stream(client) as stream:
            model, seconds, *memory = measured(
                SoftmaxRegression(C=C).fit, frame.drop(columns="y"), frame["y"]
            )
        busy, passes = _work(stream.data)
        send(
            Fit(
                f"{workers} worker{'s'[: workers - 1]}",
                model.coef_,
                model.intercept_,
                seconds,
                *memory,
                peak=max(client.run(common.peak_memory).values()),
                passes=passes // workers,
                idle=1 - max(busy.values()) / seconds,
                gap=model.optimality_gap_ / model.objective_,
            )
        )


def _work(tasks: list[dict[str, Any]]) -> tuple[Counter, int]:
    """Return the seconds in which each worker computed, and how many tasks were passes."""
    busy: Counter = Counter()
    for task in tasks:
        computed = [each for each in task["startstops"] if each["action"] == "compute"]
        busy[task["worker"]] += sum(each["stop"] - each["start"] for each in computed)
    return busy, sum("on_shelf" in task["key"] for task in tasks)


def ours(args: argparse.Namespace, folder: str) -> Iterator[Fit]:
    """Yield the fits by softreg, those in memory first."""
    yield from common.messages(in_memory, folder, parts.C_OF[args.data], args.threads)
    for workers in args.workers:
        yield from common.messages(on_workers, folder, parts.C_OF[args.data], workers)


def lines(args: argparse.Namespace, folder: str) -> Iterator[list[str]]:
    """Yield the cells of the table, line by line."""
    C, reference = parts.C_OF[args.data], None
    for fit in ours(args, folder):
        F = parts.objective(folder, fit.coef, fit.intercept, C)
        reference = reference or F
        yield cells(fit, F / reference - 1)
    for name, found in rivals.of(args.data).items():
        if not found:
            yield [name, "not installed"]
            continue
        excesses = []  # at the defaults, and at tolerances, the last of which is near enough
        for fit in rivals.run(name, folder, C, (1 + NEAR) * reference, args.cap):
            excesses.append(parts.objective(folder, fit.coef, fit.intercept, C) / reference - 1)
            yield cells(fit, excesses[-1])
        if len(excesses) < 2 or excesses[-1] > NEAR:
            yield [f"{name}, tolerance", "not found"]


def cells(fit: Fit, excess: float) -> list[str]:
    """Return the cells of a fit whose F is above that in memory by this share of it."""
    idle = "" if fit.idle is None else f"{fit.idle:.0%}"
    passes = "" if fit.passes is None else str(fit.passes)
    gap = "" if fit.gap is None else f"{fit.gap:.1e}"
    sizes = ["" if size is None else str(size >> 20) for size in (fit.peak, fit.client, fit.added)]
    return [fit.name, f"{fit.seconds:.1f}", idle, passes, f"{excess:.1e}", gap, *sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", choices=parts.C_OF)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--parts", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="in memory")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--cap", type=float, default=1800.0, help="seconds of a rival in all")
    args = parser.parse_args()
    print(common.versions())
    print(common.table(HEADER, []), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        parts.write(Path(folder), args.data, args.rows, args.parts)
        for line in lines(args, folder):
            print(common.table_line([*line, *[""] * (len(HEADER) - len(line))]), flush=True)


if __name__ == "__main__":
    main()
