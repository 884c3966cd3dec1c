"""What the benchmarks share: one objective for both libraries, memory read-outs, tables."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import platform
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

# A fresh interpreter for every child: forking a process that has used OpenMP may deadlock, and a
# forked child would inherit its parent's memory.
PROCESSES = multiprocessing.get_context("spawn")
BLOCK_ROWS = 8192  # rows converted to float64 at a time
BLOCK_NUMBERS = 2**20  # of a block of rows and its scores, where there are many labels: 8 MB


def objective(model: Any, X: Any, y: np.ndarray, C: float) -> float:
    """F(W, b) = -(1/n) sum_i log softmax(W x_i + b)_{y_i} + ||W||^2 / (2 C n), in float64.

    Computed from ``coef_`` and ``intercept_`` alone, for any library's model; a single row of
    coefficients stands for the second of two classes, the first one's scores being zero.
    """
    W = np.asarray(model.coef_, dtype=np.float64)
    b = np.asarray(model.intercept_, dtype=np.float64)
    loss = 0.0
    for start in range(0, len(y), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        Z = X[rows].astype(np.float64) @ W.T + b
        if len(W) == 1:
            Z = np.hstack([np.zeros_like(Z), Z])
        loss -= np.take_along_axis(log_softmax(Z, axis=1), y[rows, None], axis=1).sum()
    return (loss + (W**2).sum() / (2 * C)) / len(y)


def label_objectives(
    W: np.ndarray, b: np.ndarray, X: Any, Y: np.ndarray, C: float = 1.0
) -> np.ndarray:
    """F_l = (1/n) sum_i log(1 + exp(-(2 y_il - 1) z_il)) + ||W_l||^2 / (2 C n) of each label.

    Scores z = X W' + b in float64, from coefficients W (L, d) and intercepts b (L,) of any library;
    Y (n, L) holds 0 and 1. Rows are taken in blocks, so that no (n, L) array of floats is held.
    """
    W, b = np.asarray(W, dtype=np.float64), np.asarray(b, dtype=np.float64)
    losses = np.zeros(len(W))
    step = max(1, BLOCK_NUMBERS // sum(W.shape))
    for start in range(0, len(Y), step):
        rows = slice(start, start + step)
        Z = X[rows].astype(np.float64) @ W.T + b
        Z *= 1.0 - 2.0 * Y[rows]
        losses += np.logaddexp(0.0, Z, out=Z).sum(axis=0)
    return (losses + (W**2).sum(axis=1) / (2 * C)) / len(Y)


def peak_memory(process: int | str = "self") -> int:
    """Peak resident bytes of this process, or, where there is /proc, of another one.

    Read from there if possible: ``ru_maxrss`` of a child also counts what its parent held.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def reset_peak_memory() -> None:
    """Let ``peak_memory`` start again from what is resident now (Linux; elsewhere do nothing)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def children(process: int) -> list[int]:
    """Process ids of the children that a process has now (from /proc; elsewhere none)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # ended in the meantime
            if re.search(rf"PPid:\s+{process}\n", status.read_text()):
                found.append(int(status.parent.name))
    return found


def family_peak_memory() -> int:
    """Sum of the peaks of this process and its children; pages that they share count in each."""
    total = peak_memory()
    for process in children(os.getpid()):
        with contextlib.suppress(OSError):
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
            total += int(peak[1]) * 1024 if peak else 0
    return total


@contextlib.contextmanager
def child(task: Callable[..., None], *args: Any) -> Iterator[Any]:
    """Run ``task(send, *args)`` in a process that ends with the block; yield what receives from it.

    The block starts when the task has sent its first message: loaded, busy, ready.
    """
    receiver, sender = PROCESSES.Pipe(duplex=False)
    # Not a daemon, which could not start joblib's workers.
    process = PROCESSES.Process(target=_run, args=(task, sender, *args))
    process.start()
    sender.close()
    try:
        receiver.recv()
        yield receiver
    finally:
        jobs = children(process.pid)
        process.kill()
        process.join()
        for job in jobs:  # joblib's; its resource tracker ignores this signal, to tidy up
            with contextlib.suppress(ProcessLookupError):
                os.kill(job, signal.SIGTERM)


def _run(task: Callable[..., None], sender: Any, *args: Any) -> None:
    task(sender.send, *args)


def messages(task: Callable[..., None], *args: Any, cap: float = math.inf) -> Iterator[Any]:
    """Yield all but the first message of a child that is killed ``cap`` seconds after the first."""
    with child(task, *args) as receiver, contextlib.suppress(EOFError):  # the end of the child
        deadline = time.perf_counter() + min(cap, 86_400.0)
        while receiver.poll(max(0.0, deadline - time.perf_counter())):
            yield receiver.recv()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> str:
    """One line that says on what the numbers were measured."""
    import scipy
    import sklearn

    return (
        f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, {platform.machine()}, {cores()} cores"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; columns after the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(map(table_line, lines))


def table_line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
