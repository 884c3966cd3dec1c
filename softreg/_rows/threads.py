"""Threads: BLAS is limited to one, and blocks of rows are shared out among Python threads.

OpenBLAS's threads wait for each other by spinning, after each product: as soon as another process
wants a core, all wait for the slowest. Threads over blocks of rows wait once a pass and lose only
what the other process takes. With them go the limits of what is worked on and kept at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

from threadpoolctl import ThreadpoolController


class _SingleThreadedBlas:
    """Limits BLAS to one thread as long as a fit runs; limits are the process's, not a thread's.

    Who else sets a limit meanwhile has the last word: what was lowered here is raised again only
    where it is still one. A process that is forked during a fit starts with the limits outside it.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._fits: set[object] = set()
        # The limits that fits have lowered, as they were: those outside of any fit.
        self._lowered: dict[Any, int] = {}
        if hasattr(os, "register_at_fork"):  # there is no fork on Windows
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork_in_parent,
                after_in_child=self._after_fork_in_child,
            )

    @cached_property
    def _libraries(self) -> list[Any]:
        # Found by the first fit, when NumPy and SciPy have loaded their BLAS, and under the lock.
        return ThreadpoolController().select(user_api="blas").lib_controllers

    def limit(self, fit: object) -> int:
        """Limit BLAS for a fit; return how many threads it was allowed: 1 if another limits it."""
        with self._lock:
            self._fits.add(fit)
            allowed = max((library.num_threads for library in self._libraries), default=1)
            self._lower()
        return allowed

    def release(self, fit: object) -> None:
        """Undo the `limit` of a fit; the last one gives BLAS its threads back."""
        try:
            self._release(fit)
        except BaseException:  # an interrupt; what was done by then can be done again
            self._release(fit)
            raise

    def _release(self, fit: object) -> None:
        with self._lock:
            if self._fits <= {fit}:
                self._restore()
                self._lowered.clear()
            self._fits.discard(fit)

    def _lower(self) -> None:
        """Set each limit to one, and remember what it was."""
        for library in self._libraries:
            number = library.num_threads
            if number != 1:
                self._lowered[library] = number
                self._set(library, 1)

    def _restore(self) -> None:
        """Set the limits that were lowered to what they were, unless somebody else has set them."""
        for library, number in self._lowered.items():
            if library.num_threads == 1:
                self._set(library, number)

    def _set(self, library: Any, number: int) -> None:
        # Since threadpoolctl 3.8 an OpenBLAS obeys only the Python thread that limited it first,
        # as long as that lives; but the last fit to end may run in another.
        clear = getattr(library, "clear_controlling_thread", lambda force: None)
        clear(force=True)
        library.set_num_threads(number)
        clear(force=True)

    def _before_fork(self) -> None:
        # The child is to have the limits outside of fits, and a lock that nobody holds.
        self._lock.acquire()
        self._restore()

    def _after_fork_in_parent(self) -> None:
        if self._fits:
            self._lower()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        # The fits run on in the parent, in threads that are not here.
        self._lock = RLock()
        self._fits.clear()
        self._lowered.clear()


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
        self.passes = 0
        self._pool: ThreadPoolExecutor | None = None
        try:
            allowed = _BLAS.limit(self)
            self.count = allowed if self.n_jobs is None else self.n_jobs
            return self
        except BaseException:  # an interrupt, after which nobody leaves what was not entered
            _BLAS.release(self)
            raise

    def __exit__(self, *error: object) -> None:
        try:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            _BLAS.release(self)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return [function(item) for item in items], computed by `count` threads."""
        return list(self.imap(function, items))

    def imap(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Return an iterator over function(item) for item in items, computed by `count` threads."""
        if self.count == 1 or len(items) == 1:
            return map(function, items)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return self._pool.map(function, items)
