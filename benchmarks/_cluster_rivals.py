"""Fits of Parquet parts by Spark and by dask-ml, where they are installed, in child processes.

Each sends a fit at its defaults, and then fits at tighter and tighter tolerances, until F is below
a target.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import _common as common
import _parts as parts
from numpy.typing import NDArray

TOLERANCES = tuple(10.0**-k for k in range(2, 13))
ENOUGH_ITERATIONS = 10**5
SPARK_MEMORY = "4g"  # the JVM's heap, whose default of 1 GB is less than the rows


class Fit(NamedTuple):
    """One fit, and what it took; None where that is not known.

    ``client`` is the peak of the process that called fit, in bytes, and ``added`` how much of it
    the fit itself added; ``peak`` is that of the largest worker, or of the JVM. ``passes`` are
    iterations of a rival.
    """

    name: str
    coef: NDArray
    intercept: NDArray
    seconds: float
    client: int
    added: int
    peak: int | None = None
    passes: int | None = None
    idle: float | None = None
    gap: float | None = None


def measured(call: Callable[..., Any], *args: Any) -> tuple[Any, float, int, int]:
    """Return what a call returned, and of a `Fit` what it took: seconds, client and added."""
    before = common.peak_memory()
    common.reset_peak_memory()
    resident, start = common.peak_memory(), time.perf_counter()
    result = call(*args)
    seconds, peak = time.perf_counter() - start, common.peak_memory()
    return result, seconds, max(before, peak), max(0, peak - resident)


def of(data: str) -> dict[str, bool]:
    """Return the rivals on a set, by name, and whether they are installed."""
    if data == "two-classes":
        names = [f"dask-ml, {solver}" for solver in ("lbfgs", "newton", "admm")]
        return dict.fromkeys(names, importlib.util.find_spec("dask_ml") is not None)
    has_java = shutil.which("java") is not None
    return {"Spark": has_java and importlib.util.find_spec("pyspark") is not None}


def run(name: str, folder: str, C: float, target: float, cap: float) -> Iterator[Fit]:
    """Yield the fits of a rival, which is stopped after ``cap`` seconds."""
    if name == "Spark":
        return common.messages(spark, folder, C, target, cap=cap)
    return common.messages(dask_ml, folder, C, target, name.partition(", ")[2], cap=cap)


def send_until_enough(
    send: Callable, fit: Callable[[float | None], Fit], folder: str, C: float, target: float
) -> None:
    """Send the fit at the defaults, and those at one tolerance after another until F is enough."""
    send("ready")
    for tol in (None, *TOLERANCES):
        found = fit(tol)
        send(found)
        enough = parts.objective(folder, found.coef, found.intercept, C) <= target
        if tol is not None and enough:
            return


def spark(send: Callable, folder: str, C: float, target: float) -> None:
    """In a child: Spark's LogisticRegression on two threads of one JVM."""
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    options = {
        "spark.driver.memory": SPARK_MEMORY,
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    session = SparkSession.builder.master("local[2]").config(map=options).getOrCreate()
    frame = session.read.parquet(folder)
    columns, strength = [name for name in frame.columns if name != "y"], 1 / (C * frame.count())

    def fit(tol: float | None) -> Fit:
        def from_files() -> Any:
            rows = VectorAssembler(inputCols=columns, outputCol="X").transform(
                session.read.parquet(folder)
            )
            return _spark_estimator(tol, strength).fit(rows.select("X", "y"))

        model, *took = measured(from_files)
        W, b = model.coefficientMatrix.toArray(), model.interceptVector.toArray()
        peak = max(map(common.peak_memory, common.children(os.getpid())), default=0)
        return Fit(_named("Spark", tol), W, b, *took, peak, model.summary.totalIterations)

    send_until_enough(send, fit, folder, C, target)


def _spark_estimator(tol: float | None, strength: float) -> Any:
    from pyspark.ml.classification import LogisticRegression

    estimator = LogisticRegression(
        featuresCol="X",
        labelCol="y",
        regParam=strength,
        elasticNetParam=0.0,
        standardization=False,
        family="multinomial",
    )
    return estimator if tol is None else estimator.setTol(tol).setMaxIter(ENOUGH_ITERATIONS)


def dask_ml(send: Callable, folder: str, C: float, target: float, solver: str) -> None:
    """In a child: dask-ml's LogisticRegression on two workers of one thread."""
    import dask.dataframe as dd
    from dask_ml.linear_model import LogisticRegression
    from distributed import Client, LocalCluster

    def fit(tol: float | None) -> Fit:
        def from_files() -> Any:
            # 1. Known sizes of chunks, which an intercept needs: of partitions that stay.
            frame = client.persist(dd.read_parquet(folder))
            lengths = list(frame.map_partitions(len).compute())
            X = frame.drop(columns="y").to_dask_array(lengths=lengths)
            y = frame["y"].to_dask_array(lengths=lengths)
            # 2. The fit.
            options = _dask_ml_options(solver, tol)
            return LogisticRegression(solver=solver, C=C, **options).fit(X, y)

        model, *took = measured(from_files)
        peak = max(client.run(common.peak_memory).values())
        name = _named(f"dask-ml, {solver}", tol)
        return Fit(name, model.coef_, model.intercept_, *took, peak)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        send_until_enough(send, fit, folder, C, target)


def _dask_ml_options(solver: str, tol: float | None) -> dict[str, Any]:
    if tol is None:
        return {}
    # ADMM has two of them, of which its defaults make the relative one 100 times the other.
    both = {"solver_kwargs": {"abstol": tol, "reltol": 100 * tol}} if solver == "admm" else {}
    return {"tol": tol, "max_iter": ENOUGH_ITERATIONS, **both}


def _named(program: str, tol: float | None) -> str:
    return f"{program}, default" if tol is None else f"{program}, tol={tol:.0e}"
