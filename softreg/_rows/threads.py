"""Threads: BLAS is held to one, and row blocks are spread over our own.

OpenBLAS's own threads wait for each other by spinning, which collapses as soon as another process
wants a core; threads over row blocks meet once a pass and only lose what the other process takes.
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
    """Holds BLAS to one thread while anybody needs it; limits are the process's, not a thread's."""

    def __init__(self) -> None:
        self._controller = ThreadpoolController().select(user_api="blas")
        self._lock = Lock()
        self._holders = 0

    def hold(self) -> int:
        """Hold BLAS to one thread; return how many it was allowed: 1 while anybody holds it."""
        with self._lock:
            libraries = self._controller.lib_controllers
            allowed = max((library.num_threads for library in libraries), default=1)
            if self._holders == 0:
                self._free_control()
                self._limits = self._controller.limit(limits=1)
                self._free_control()
            self._holders += 1
        return allowed

    def release(self) -> None:
        """Undo one `hold`; the last one gives BLAS its threads back."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._free_control()
                self._limits.restore_original_limits()
                self._free_control()

    def _free_control(self) -> None:
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
    """Context in which BLAS has one thread and `map` has `n_jobs`.

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
        allowed = _blas().hold()
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
        """Return [function(item) for item in items], computed at the same time."""
        if self.count == 1 or len(items) == 1:
            return [function(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return list(self._pool.map(function, items))
