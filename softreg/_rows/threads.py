"""Threads: BLAS is limited to one, and blocks of rows are shared out among Python threads.

OpenBLAS's threads wait for each other by spinning, after each product: as soon as another process
wants a core, all wait for the slowest. Threads over blocks of rows wait once a pass and lose only
what the other process takes. With them go the limits of what is worked on and kept at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _SingleThreadedBlas:
    """Limits BLAS to one thread as long as a fit runs; limits are the process's, not a thread's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_fits = 0

    @cached_property
    def _controller(self) -> ThreadpoolController:
        # Made by the first fit, when NumPy and SciPy have loaded their BLAS, and under the lock.
        return ThreadpoolController().select(user_api="blas")

    def limit(self) -> int:
        """Limit BLAS to one thread; return how many it was allowed: 1 if another fit limits it."""
        with self._lock:
            libraries = self._controller.lib_controllers
            allowed = max((library.num_threads for library in libraries), default=1)
            if self._n_fits == 0:
                self._clear_control()
                self._limits = self._controller.limit(limits=1)
                self._clear_control()
            self._n_fits += 1
        return allowed

    def release(self) -> None:
        """Undo one `limit`; the last one gives BLAS its threads back."""
        with self._lock:
            self._n_fits -= 1
            if self._n_fits == 0:
                self._clear_control()
                self._limits.restore_original_limits()
                self._clear_control()

    def _clear_control(self) -> None:
        # Since threadpoolctl 3.8 an OpenBLAS obeys only the Python thread that limited it first,
        # as long as that lives; but the last fit to end may run in another.
        for library in self._controller.lib_controllers:
            getattr(library, "clear_controlling_thread", lambda force: None)(force=True)


_BLAS = _SingleThreadedBlas()


@dataclass(frozen=True)
class Limits:
    """How much is worked on, kept and solved at a time: numbers of values, scores, rows or bytes.

    Scores are counted over rows, n x K, unless said otherwise.
    """

    # A block of 2^18 values (2 MB of doubles) stays near a core for both products of a pass;
    # smaller ones lose to the Python around them, larger ones to memory (measured from 2^14 to
    # 2^20).
    block_values: int = 2**18
    # Blocks of fewer rows spend more on adding up their sums, (width, K), than they save (measured
    # on text).
    block_rows: int = 512
    # Where the scores of a block would take more than 32 MB, blocks get smaller, down to this many
    # rows: adding up their sums then takes a tenth of the work on a block (counted).
    block_scores: int = 2**22
    fewest_block_rows: int = 64
    # Up to this many values in a pass, threads wait for each other longer than they save
    # (measured).
    unshared_values: int = 400_000
    # Standardised copies up to this size, 256 MB, are kept from pass to pass. Larger X is used as
    # it is, or, in single precision, standardised anew block by block.
    kept_bytes: int = 2**28
    # Probabilities are kept from product to product up to this many, 64 MB of doubles; problems,
    # and the refits of folds, are solved together as long as theirs are kept.
    kept_scores: int = 2**23
    # Products of features in pairs are kept from Hessian to Hessian up to this many, 2 MB.
    kept_pairs: int = 2**18
    # A product of problems' scores, K of them, is worth reading the data for from this many on.
    fewest_group_scores: int = 64
    # Rows are refitted together as long as their fits have no more scores than this: with 2^23, the
    # limit of folds, refits took a quarter longer (measured).
    refitted_scores: int = 2**20
    # What is made of rows in memory, such as a metric: a matrix of order 4,000 is 128 MB, and its
    # Cholesky factor half a second.
    value_budget: int = 4000**2
    # Wide X is solved in the span of its rows: the rotation costs 2 n^2 d multiply-adds at the full
    # speed of a matrix product, while the passes that it spares are as slow as memory: measured
    # equal near n = 2,000. It holds one copy of X in double precision.
    rotated_rows: int = 2000
    rotated_bytes: int = 2**28


class Threads:
    """Context in which BLAS has one thread, and `map` as many as `n_jobs` says.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as BLAS was allowed on entry, so that joblib's workers, containers and
        `threadpoolctl.threadpool_limits` are respected.
    limits : Limits, default=None
        Those that were measured, unless a test asks for others.

    Attributes
    ----------
    count : int, number of threads
    passes : int, sums over rows that were taken so far
    """

    def __init__(self, n_jobs: int | None = None, limits: Limits | None = None) -> None:
        self.n_jobs, self.limits = n_jobs, limits or Limits()

    def __enter__(self) -> Threads:
        allowed = _BLAS.limit()
        self.count = allowed if self.n_jobs is None else self.n_jobs
        self.passes = 0
        self._pool: ThreadPoolExecutor | None = None
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            _BLAS.release()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return [function(item) for item in items], computed by `count` threads."""
        if self.count == 1 or len(items) == 1:
            return list(map(function, items))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return list(self._pool.map(function, items))
