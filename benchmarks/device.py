"""Fits of tensors on their device, beside softreg's of NumPy's arrays and other programs' there.

The device is the first CUDA card, or where there is none the processor, with fewer rows. Of each
set, raw columns of float32 ("simulated" has unequal units, "simulated, alike" standard normal ones,
lbfgs's best case):

softreg   from tensors, and from NumPy's arrays with two threads: by default, and at tol=1e-6.
lbfgs     scikit-learn's LogisticRegression from the same tensors (array API dispatch), also from
          them in float64, at the loosest tolerance that gets within 1e-6 of the optimum.
cuML      its LogisticRegression, likewise, where it is installed.

Who takes too long is stopped, so that a run ends within six minutes.

    SCIPY_ARRAY_API=1 SOFTREG_DATA=folder python benchmarks/device.py [--quick] [--output table.md]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import importlib.util
import math
import os
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest import mock

import _common as common
import _datasets as datasets
import numpy as np
from _contenders import PAUSE, TOLERANCES
from threadpoolctl import threadpool_limits

STARTED = time.perf_counter()
WITHIN = 1e-6
# Rows on a card, on the processor, and with --quick, and which share of the time left a set has.
SETS = {
    "mnist_5k": (70_000, 5_000, 1_000, 0.3),
    "covtype15k": (756_000, 75_600, 15_120, 0.2),
    "simulated": (2_000_000, 100_000, 20_000, 0.6),
    "simulated, alike": (2_000_000, 100_000, 20_000, 1.0),
}
ON_DISK = ("mnist_5k", "covtype15k")
WIDTH, N_CLASSES = 200, 10  # of those simulated
NEEDED = {"torch": "torch", "array_api_compat": "array-api-compat"}
INSTALLED = (*NEEDED.values(), "cuml-cu13", "cuml-cu12")
LEAST = 1.0  # seconds that a fit must have
REPEAT, ENOUGH = 3, 3.0  # fits, and seconds of them: medians are taken of so many
ROW_SIZED = 4096  # arrays as long have a value for each row of a block
HEADER = ("set", "program", "s", "ratio", "gap", "proven gap", "passes")
HEADER += ("put, MB", "fetched, MB", "by row, MB", "GB/s", "of a copy")
HOST, TENSORS = "softreg, host", "softreg, tensors"


class OutOfTime(BaseException):
    """A fit takes too long; nothing that handles its exceptions is to handle this."""


@dataclass(frozen=True)
class Data:
    """Tensors X (n, d) and y (n,), codes from 0 to K - 1, on a device."""

    name: str
    X: Any
    y: Any

    @cached_property
    def on_host(self) -> tuple[np.ndarray, np.ndarray]:
        return self.X.cpu().numpy(), self.y.cpu().numpy()

    def __str__(self) -> str:
        n, d = self.X.shape
        return f"{self.name} {n:,} x {d} x {int(self.y.max()) + 1}"

    def objective(self, model: Any) -> float:
        """F(W, b) with C = 1 as `_common.objective` has it, in float64, computed on the device."""
        import torch

        W, b = (
            torch.as_tensor(values, dtype=torch.float64, device=self.X.device)
            for values in (model.coef_, model.intercept_)
        )
        loss = 0.0
        for X, y in zip(self.X.split(2**17), self.y.split(2**17), strict=True):
            Z = X.double() @ W.T + b
            loss += float((Z.logsumexp(1) - Z.gather(1, y[:, None])[:, 0]).sum())
        return (loss + float((W**2).sum()) / 2) / len(self.y)


@dataclass(frozen=True)
class Fit:
    """Median seconds of a program's fits, or, if late, until they were stopped.

    NaN: none counts, for what the remark says. A rival's `tol` is the loosest that was enough. F is
    computed from coefficients, `proven` is softreg's gap, and `count` that of `counted`.
    """

    seconds: float
    late: bool = False
    remark: str = ""
    tol: float = math.nan
    F: float = math.nan
    proven: float = math.nan
    count: Counter = field(default_factory=Counter)

    def times(self, base: Fit) -> str:
        """Say how many times faster this fit is than another one."""
        ratio, bound = base.seconds / self.seconds, "> " * base.late + "< " * self.late
        says_nothing = len(bound) > 2 or (base.late and ratio < 1) or math.isnan(ratio)
        return "" if says_nothing else f"{bound}{ratio:.3g}"

    def cells(self, base: Fit, optimum: float, copied: float) -> list[str]:
        cells = [self.remark or f"{'> ' * self.late}{self.seconds:.3g}", self.times(base)]
        gaps = self.F / optimum - 1, self.proven
        cells += [f"{gap:.0e}" if math.isfinite(gap) else "" for gap in gaps]
        if not self.count:
            return cells + [""] * 6
        rate = self.count["read"] / self.seconds
        cells.append(f"{self.count['passes']:.1f}")
        cells += [f"{self.count[way] / 1e6:.3g}" for way in ("put", "fetch", "by row")]
        return [*cells, f"{rate / 1e9:.3g}", f"{rate / copied:.0%}"]


@contextlib.contextmanager
def counted(n: int) -> Iterator[Counter]:
    """Count what fits of n rows do.

    That is: passes, bytes of X that two products a pass read, those that are put on the device and
    fetched, and how many of these are values for each row.
    """
    from sklearn.linear_model._linear_loss import LinearModelLoss

    from softreg._rows.devices.arrays import Device
    from softreg._rows.memory import MemoryRows

    count: Counter = Counter()
    total, evaluate = MemoryRows.sum, LinearModelLoss.loss_gradient

    def crossing(way: str, move: Callable) -> Callable:
        def moved(on: Device, values: Any) -> Any:
            array = move(on, values)
            nbytes = array.size * array.dtype.itemsize
            count[way] += nbytes
            count["by row"] += nbytes * (max(array.shape, default=0) >= min(n, ROW_SIZED))
            return array

        return moved

    def passing(rows: MemoryRows, kernel: Any) -> tuple:
        count["passes"] += rows.n / n
        count["read"] += 2 * rows.n * rows.coordinates.width * rows.dtype.itemsize
        return total(rows, kernel)

    def evaluating(loss: Any, coef: Any, X: Any, *args: Any, **kw: Any) -> Any:
        count["passes"] += 1
        count["read"] += 2 * X.nbytes
        return evaluate(loss, coef, X, *args, **kw)

    with (
        mock.patch.object(Device, "put", crossing("put", Device.put)),
        mock.patch.object(Device, "fetch", crossing("fetch", Device.fetch)),
        mock.patch.object(MemoryRows, "sum", passing),
        mock.patch.object(LinearModelLoss, "loss_gradient", evaluating),
    ):
        yield count


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so many seconds, where the system has such alarms."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def settle() -> None:
    """Free what the program before has left on the card, and let its threads end."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    time.sleep(PAUSE)


def warm_up(model: Any, X: Any, y: Any) -> None:
    """Have libraries load what their first fit needs."""
    model.set_params(max_iter=2).fit(X[:2000], y[:2000])


def measured(make: Callable[[], Any], arrays: tuple[Any, Any], data: Data, repeat: int) -> Fit:
    """Return the medians of some fits, of one at least; OutOfTime if none ended in time."""
    seconds: list[float] = []
    try:
        while not seconds or (len(seconds) < repeat and sum(seconds) < ENOUGH):
            model = make()
            with counted(len(data.y)) as count:
                synchronise()
                start = time.perf_counter()
                model.fit(*arrays)
                synchronise()
            seconds.append(time.perf_counter() - start)
            last, count_of_last = model, count
    except OutOfTime:
        if not seconds:
            raise
    gap = getattr(last, "optimality_gap_", math.nan) / getattr(last, "objective_", 1.0)
    F = data.objective(last)
    return Fit(statistics.median(seconds), F=F, proven=gap, count=count_of_last)


def softreg(threads: int, tol: float | None = None) -> Any:
    from softreg import SoftmaxRegression

    return SoftmaxRegression(n_jobs=threads, **({} if tol is None else {"tol": tol}))


def lbfgs(tol: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver="lbfgs", tol=tol, max_iter=10**6)


def cuml(tol: float) -> Any:
    from cuml.linear_model import LogisticRegression

    return LogisticRegression(tol=tol, max_iter=10**6, output_type="numpy")


def softreg_fit(on_host: bool, threads: int, tol: float | None, data: Data) -> Fit:
    """Return softreg's fit."""
    arrays, threads = (data.on_host, threads) if on_host else ((data.X, data.y), 1)
    make = partial(softreg, threads, tol)
    with threadpool_limits(threads):
        warm_up(make(), *arrays)
        return measured(make, arrays, data, REPEAT)


def rival_fit(make: Callable[[float], Any], in_double: bool, target: float, data: Data) -> Fit:
    """Return the fit at the loosest tolerance that reaches the target, if any does."""
    X, lowest, start = data.X.double() if in_double else data.X, math.inf, time.perf_counter()
    warm_up(make(1.0), X, data.y)
    try:
        for tol in TOLERANCES:
            fit = measured(partial(make, tol), (X, data.y), data, 1)
            if fit.F <= target:  # noqa: SIM300
                best = measured(partial(make, tol), (X, data.y), data, REPEAT)
                return replace(best, tol=tol)
            lowest = min(lowest, fit.F)
    except OutOfTime:
        return Fit(time.perf_counter() - start, late=True, F=lowest)
    return Fit(math.nan, remark="at no tol", F=lowest)


def attempted(fit: Callable[[Data], Fit], data: Data, seconds: float) -> Fit:
    """Return a fit, or what became of it in so many seconds."""
    settle()
    if seconds < LEAST:
        return Fit(math.nan, remark="no time")
    try:
        with limited(seconds):
            return fit(data)
    except OutOfTime:
        return Fit(seconds, late=True)
    except Exception as error:
        traceback.print_exc()
        return Fit(math.nan, remark=type(error).__name__)


def fits(data: Data, threads: int, until: float, cap: float) -> Iterator[tuple[str, Fit]]:
    """Yield names and fits of one set: of tensors, the rivals', and those on the host."""
    settings, found = {"": None, f", tol={WITHIN:.0e}": WITHIN}, []
    for suffix, tol in settings.items():
        fit = partial(softreg_fit, False, 1, tol)
        found.append(attempted(fit, data, until - time.perf_counter()))
        yield TENSORS + suffix, found[-1]
    lowest = np.nanmin([math.inf, *(fit.F for fit in found)])
    rivals = {"lbfgs, tensors": (lbfgs, False), "lbfgs, float64 tensors": (lbfgs, True)}
    if data.X.is_cuda and importlib.util.find_spec("cuml"):
        rivals["cuML, tensors"] = (cuml, False)
    for name, (make, in_double) in rivals.items():
        search = partial(rival_fit, make, in_double, lowest * (1 + WITHIN))
        yield name, attempted(search, data, min(cap, until - time.perf_counter()))
    for suffix, tol in reversed(settings.items()):
        fit = partial(softreg_fit, True, threads, tol)
        yield HOST + suffix, attempted(fit, data, until - time.perf_counter())


def compare(data: Data, threads: int, until: float, cap: float, copied: float) -> list[list[str]]:
    """Return the lines of one set; each fit is told to the error stream when it ends."""
    found: dict[str, Fit] = {}
    for name, fit in fits(data, threads, until, cap):
        found[name] = fit
        print(
            f"{time.perf_counter() - STARTED:.0f} s: {data}, {name}: {fit}",
            file=sys.stderr,
            flush=True,
        )
    optimum = np.nanmin([fit.F for fit in found.values()])
    lines = []
    for name, fit in found.items():
        base = found[HOST if name in (HOST, TENSORS) else f"{HOST}, tol={WITHIN:.0e}"]
        program = name if math.isnan(fit.tol) else f"{name}, tol={fit.tol:.0e}"
        lines.append([str(data), program, *fit.cells(base, optimum, copied)])
    return lines


def on_disk(name: str) -> bool:
    folder = datasets.folder()
    return folder is not None and (folder / f"{name}.npz").exists()


def load(name: str, n: int, device: Any) -> Data:
    """Return so many rows of a set on a device: its rows in random order, again and again."""
    import torch

    if name in ON_DISK:
        data = datasets.load(name)
        rows = np.resize(np.random.default_rng(0).permutation(len(data.y)), n)
        X, y = torch.from_numpy(data.X[rows].astype(np.float32)), torch.from_numpy(data.y[rows])
        return Data(name, X.to(device), y.to(device))
    generator, like = torch.Generator(device).manual_seed(0), {"device": device}
    X = torch.randn((n, WIDTH), generator=generator, **like)
    W = torch.randn((WIDTH, N_CLASSES), generator=generator, **like) / math.sqrt(WIDTH)
    waiting = torch.empty((n, N_CLASSES), **like).exponential_(generator=generator)
    y = (X @ W - waiting.log()).argmax(dim=1)  # drawn from the softmax, by Gumbel's trick
    if name == "simulated":
        units = torch.logspace(-2, 2, WIDTH, **like)
        X = X.mul_(units).add_(3 * units)
    return Data(name, X, y)


def copy_rate(device: Any) -> float:
    """Bytes that copies on a device read and write in a second, of arrays beyond its caches."""
    import torch

    source = torch.ones(2**28 if device.type == "cuda" else 2**26, device=device)
    target, seconds = torch.empty_like(source), []
    for _ in range(6):
        synchronise()
        start = time.perf_counter()
        target.copy_(source)
        synchronise()
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / statistics.median(seconds[1:])


def machine(device: Any, threads: int, copied: float) -> str:
    """Say on what all runs."""
    import torch

    versions = [common.versions()]
    for name in INSTALLED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    place = "no card: PyTorch's on the processor, one thread"
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        place = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
    return (
        f"{', '.join(versions)}. Tensors: {place}, whose copies read and write "
        f"{copied / 1e9:.3g} GB/s. Host: {threads} of {common.cores()} cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, and 3 s a rival")
    parser.add_argument("--threads", type=int, default=2, help="of the fits on the host")
    parser.add_argument("--cap", type=float, default=15.0, help="seconds of a rival")
    parser.add_argument("--budget", type=float, default=340.0, help="seconds of all")
    parser.add_argument("--output", type=Path, help="file for the Markdown table")
    args = parser.parse_args()
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        parser.error(f"not installed: python -m pip install {' '.join(missing)}")
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        parser.error("set SCIPY_ARRAY_API=1, which SciPy reads when it is imported")
    cap = 3.0 if args.quick else args.cap

    import sklearn
    import torch

    sklearn.set_config(array_api_dispatch=True)
    warnings.simplefilter("ignore")  # of rivals that stop early, as their gaps say
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)  # more would wait for each other by spinning
    copied = copy_rate(device)
    parts, lines = [machine(device, args.threads, copied)], []
    print(parts[0], file=sys.stderr, flush=True)
    for name, (on_card, on_processor, quick, share) in SETS.items():
        if name in ON_DISK and not on_disk(name):
            parts.append(f"Left out, as it is not in the folder that SOFTREG_DATA names: {name}.")
            continue
        n = quick if args.quick else on_card if device.type == "cuda" else on_processor
        now = time.perf_counter()
        until = now + share * (STARTED + args.budget - now)
        lines += compare(load(name, n, device), args.threads, until, cap, copied)
    tables = "\n\n".join([*parts, common.table(HEADER, lines)]) + "\n"
    print(tables)
    if args.output:
        args.output.write_text(tables)


if __name__ == "__main__":
    main()
