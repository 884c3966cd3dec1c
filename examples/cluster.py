"""More data than one machine
==========================

Softmax regression on a Dask cluster, from Parquet files and back.

.. code-block:: none

    python examples/cluster.py                                   two local worker processes
    python examples/cluster.py --scheduler tcp://10.0.0.1:8786   a cluster that is there already

The rows stay on the workers: each pass sends coefficients out, and sums come back. The optimum is
that of all rows, with the proof, as if they had been in the memory of one machine. A local cluster
writes and reads a folder of its own; --folder names one that all workers of another cluster see.
"""

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from softreg import SoftmaxRegression
from softreg.chunks import Table

PARTS, ROWS, STATES = 12, 5_000, ["idle", "busy", "worn", "failing"]
# Memory that a pass has freed is asked for again in the next one: glibc is not to give it back to
# the system in between, which costs a third of the time.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**27), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scheduler", help="the address of a cluster; None starts two workers")
    parser.add_argument("--folder", type=Path, help="for the files; None makes one and removes it")
    args = parser.parse_args()
    try:
        import dask
        import pyarrow  # noqa: F401  # reads and writes Parquet
        from distributed import Client, LocalCluster
    except ImportError as error:
        sys.exit(f"error: {error}: python -m pip install softreg[dask,parquet]")
    dask.config.set({"distributed.nanny.pre-spawn-environ": MALLOC})
    own = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    cluster = nullcontext(args.scheduler) if args.scheduler else LocalCluster(**own)
    folder = nullcontext(args.folder) if args.folder else tempfile.TemporaryDirectory()
    with cluster as address, Client(address) as client, folder as path:
        print(f"Watch the workers at {client.dashboard_link}")
        study(Path(path))


def study(folder):
    """Fit the files of a folder, write predictions beside them, and fit them without a cluster."""
    import dask.dataframe as dd

    write_parts(folder / "machines")
    table = dd.read_parquet(folder / "machines")
    X, y = table.drop(columns="state"), table["state"]

    # 1. The three lines that matter.
    model = with_progress(SoftmaxRegression(C=1.0))
    model.fit(X, y)
    table = table.assign(predicted=model.predict(X))

    shares = y.compute().value_counts(normalize=True)
    null = -(shares * np.log(shares)).sum()
    print(f"\n{model.n_samples_seen_:,} rows in {X.npartitions} partitions on the workers:")
    print(f"   F = {model.objective_:.6f}, proven to be the minimum to {model.optimality_gap_:.0e}")
    print(f"   class frequencies alone: {null:.6f}")
    if model.objective_ >= null:
        print("WARNING: class frequencies alone do as well or better: do not use this model.")

    # 2. Predictions are lazy: the workers make them as they write them.
    table[["state", "predicted"]].to_parquet(folder / "predictions", write_index=False)
    written = pd.read_parquet(folder / "predictions")
    share = (written["state"] == written["predicted"]).mean()
    print(f"\n{len(written):,} predictions were written by the workers, {share:.1%} of them right.")

    # 3. One machine that reads the same files chunk by chunk ends where the cluster does.
    streamed = SoftmaxRegression(C=1.0).fit_chunks(Table(folder / "machines", "state"))
    difference = abs(streamed.objective_ - model.objective_)
    print(f"fit_chunks, from the same files on one machine: F differs by {difference:.0e}.")


def with_progress(model):
    """Return the model with scikit-learn's progress bar, or say what that needs."""
    try:
        from sklearn.callback import ProgressBar

        return model.set_callbacks(ProgressBar())
    except ImportError:
        print("There will be no progress bar: it needs scikit-learn >= 1.9 and the package rich.")
        return model


def write_parts(folder, n_sensors=24):
    """Write simulated logs of machines: four states, sensors in raw units."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    mixing = random.standard_normal((n_sensors, n_sensors)) / np.sqrt(n_sensors)  # correlated
    unit, level = 10.0 ** random.integers(-3, 5, n_sensors), random.standard_normal(n_sensors)
    effects = random.standard_normal((n_sensors, len(STATES)))
    for part in range(PARTS):
        Z = random.standard_normal((ROWS, n_sensors))
        state = np.argmax(Z @ effects + 2 * random.gumbel(size=(ROWS, len(STATES))), axis=1)
        names = [f"sensor_{j:02d}" for j in range(n_sensors)]
        table = pd.DataFrame(unit * (level + Z @ mixing), columns=names)
        table.assign(state=np.array(STATES)[state]).to_parquet(folder / f"part_{part:02d}.parquet")
    print(f"{PARTS * ROWS:,} simulated rows in {PARTS} Parquet files.")


if __name__ == "__main__":
    main()
