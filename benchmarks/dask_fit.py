"""Fits on a local Dask cluster, from Parquet parts, beside the fit in memory.

kddcup     kddcup99_10pct from the folder that SOFTREG_DATA names
simulated  raw float32 columns of unequal units, and the classes of a softmax model

Of each number of worker processes, with one thread each: seconds of the fit from files to the
model, share of these in which the busiest worker computed nothing, passes, F above that in memory
(relative), and peak memory of the workers and of the client, which holds the scheduler.

    python benchmarks/dask_fit.py simulated [--rows 5000000] [--parts 50] [--workers 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import _common as common
import _datasets as datasets
import numpy as np
import pandas as pd

from softreg import SoftmaxRegression

N_COLUMNS, N_CLASSES = 40, 6
# glibc gives freed arrays back to the system at once otherwise, and asks for them anew in each
# pass: a third of the time (measured). Dask's nannies set the first to 65,536.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**27), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def simulated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw columns of one part, and the classes of a softmax model that all parts share."""
    W = 0.7 * np.random.default_rng(0).normal(size=(N_COLUMNS, N_CLASSES)).astype(np.float32)
    rng = np.random.default_rng([1, seed])
    Z = rng.standard_normal((rows, N_COLUMNS), dtype=np.float32)
    Z[:, 1::2] += 0.8 * Z[:, ::2]
    y = np.argmax(Z @ W + 2 * rng.gumbel(size=(rows, N_CLASSES)), axis=1)
    units = np.logspace(-3, 4, N_COLUMNS).astype(np.float32)
    return Z * units + 3 * units, y


def write(folder: Path, data: str, rows: int, parts: int) -> None:
    """Write the parts of a set into a folder."""
    if data == "kddcup":
        whole = datasets.load("kddcup99_10pct")
        cuts = np.array_split(np.arange(len(whole.y)), parts)
    for number in range(parts):
        if data == "kddcup":
            X, y = whole.X[cuts[number]], whole.y[cuts[number]]
        else:
            X, y = simulated(rows // parts, number)
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        frame.assign(y=y).to_parquet(folder / f"part.{number:04}.parquet")


def in_memory(send, folder: str) -> None:
    """In a child: the fit of all rows, on two threads and on one."""
    frame = pd.read_parquet(folder)
    X, y = frame.drop(columns="y").to_numpy(), frame["y"].to_numpy()
    del frame
    send("ready")
    for threads in (1, 2):
        start = time.perf_counter()
        model = SoftmaxRegression(n_jobs=threads).fit(X, y)
        send((time.perf_counter() - start, model.objective_, common.peak_memory()))


def on_workers(send, folder: str, workers: int) -> None:
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
        X, y = frame.drop(columns="y"), frame["y"]
        send("ready")
        start = time.perf_counter()
        with get_task_stream(client) as stream:
            model = SoftmaxRegression().fit(X, y)
        seconds = time.perf_counter() - start
        busy: dict[str, float] = {}
        passes = 0
        for task in stream.data:
            computed = [each for each in task["startstops"] if each["action"] == "compute"]
            of_task = sum(each["stop"] - each["start"] for each in computed)
            passes += "on_shelf" in task["key"]
            busy[task["worker"]] = busy.get(task["worker"], 0.0) + of_task
        peaks = list(client.run(common.peak_memory).values())
        certificate = model.optimality_gap_ / model.objective_
        idle = 1 - max(busy.values()) / seconds
        results = seconds, idle, passes // workers, model.objective_, certificate
        send((*results, max(peaks), common.peak_memory()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", choices=["kddcup", "simulated"])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--parts", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    print(common.versions())
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.data, args.rows, args.parts)
        rows = []
        best = np.inf
        for threads, (seconds, F, peak) in enumerate(common.messages(in_memory, folder), start=1):
            name, best = f"memory, {threads} threads", F
            rows.append([name, f"{seconds:.1f}", "", "", "", "", peak >> 20, ""])
        for workers in args.workers:
            ((seconds, idle, passes, F, gap, peak, client),) = common.messages(
                on_workers, folder, workers
            )
            cells = f"{seconds:.1f}", f"{idle:.0%}", passes, f"{F / best - 1:.1e}", f"{gap:.1e}"
            rows.append([f"{workers} workers", *cells, peak >> 20, client >> 20])
    header = ["fit", "s", "idle", "passes", "F above memory", "proven gap", "peak MB", "client MB"]
    print(common.table(header, rows))


if __name__ == "__main__":
    main()
