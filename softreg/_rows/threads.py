"""Threads: BLAS is limited to one, and blocks of rows are shared out among Python threads.

OpenBLAS's threads wait for each other by spinning, after each product: as soon as another process
wants a core, all wait for the slowest. Threads over blocks of rows wait once a pass and lose only
what the other process takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController


class _SingleThreadedBlas:
    """Limits BLAS to one thread as long as a fit runs; limits are the process's, not a thread's."""

    def __init__(self) -> None:
        self._controller = ThreadpoolController().select(user_api="blas")
        self._lock = Lock()
        self._n_fits = 0

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


@functools.cache
def _create() -> _SingleThreadedBlas:
    return _SingleThreadedBlas()


_creation = Lock()


def _blas() -> _SingleThreadedBlas:
    with _creation:  # `cache` alone lets two threads make one each
        return _create()


class Threads:
    """Context in which BLAS has one thread, and `map` as many as `n_jobs` says.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as BLAS was allowed on entry, so that joblib's workers, containers and
        `threadpoolctl.threadpool_limits` are respected.

    Attributes
    ----------
    count : int, number of threads
    passes : int, sums over rows that were taken so far
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs

    def __enter__(self) -> Threads:
        allowed = _blas().limit()
        self.count = allowed if self.n_jobs is None else self.n_jobs
        self.passes = 0
        self._pool: ThreadPoolExecutor | None = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            _blas().release()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return [function(item) for item in items], computed by `count` threads."""
        if self.count == 1 or len(items) == 1:
            return list(map(function, items))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return list(self._pool.map(function, items))
