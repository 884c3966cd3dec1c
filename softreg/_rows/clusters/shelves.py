"""Shelves as the client sees them: futures, tasks for each of them, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any
from weakref import WeakSet

from softreg._rows.clusters.shelf import Shelf

# So many sums are added up by a task; further ones by tasks above it.
_FAN_IN = 8
# Messages that are larger, all tasks of a pass together, are sent to the workers apart from them;
# in parts of this size, above which Dask warns.
_LARGEST_IN_TASKS = 2**23


def submitted(client: Any, home: str, function: Callable, *args: Any) -> Any:
    """Return the future of a task for a worker, or for another where that one is gone."""
    return client.submit(function, *args, workers=[home], allow_other_workers=True, pure=False)


def gathered(client: Any, futures: list[Any]) -> list[Any]:
    """Return the results of futures, which are let go whatever happens, an interrupt among that.

    ConnectionError if the scheduler is gone, RuntimeError if what was lost cannot be made again.
    """
    try:
        return client.gather(futures)
    except CancelledError as error:
        if client.status != "running" or "scheduler" in str(error):
            raise ConnectionError(
                f"{client} has lost its scheduler; nothing was fitted. Connect a new one."
            ) from error
        raise RuntimeError(
            "The cluster was restarted, or has lost with a worker what Dask cannot make again, as "
            "data that a client has scattered: make the collections from files, or with "
            "dask.array.from_array, and fit anew."
        ) from error
    finally:
        released(futures)


def released(futures: Iterable[Any]) -> None:
    """Let go of futures now: tracebacks may refer to them for long. What runs is ended."""
    for future in futures:
        future.release()


class Shelves:
    """The shelves of some rows: futures, and the worker on which each was laid.

    Parameters
    ----------
    client : distributed.Client
    futures : list of Future of Shelf
    homes : list of str, addresses of workers
    to_release : WeakSet of all that is released in the end
    """

    def __init__(
        self, client: Any, futures: list[Any], homes: list[str], to_release: WeakSet
    ) -> None:
        self.client, self.futures, self.homes, self.to_release = client, futures, homes, to_release
        to_release.add(self)

    def derived(self, function: Callable[..., Shelf], *args: Any) -> Shelves:
        """Return the shelves that a function makes of these, on the same workers."""
        return Shelves(self.client, self._submitted(function, *args), self.homes, self.to_release)

    def results(self, function: Callable, *args: Any) -> list[Any]:
        """Return what a function makes of each shelf."""
        return gathered(self.client, self._submitted(function, *args))

    def result_of(self, place: int, function: Callable, *args: Any) -> Any:
        """Return what a function makes of one shelf."""
        return gathered(
            self.client,
            [submitted(self.client, self.homes[place], function, self.futures[place], *args)],
        )[0]

    def reduced(self, function: Callable, merge: Callable[[list], Any], message: bytes) -> Any:
        """Return what `merge` makes of the lists of what a function makes of each shelf."""
        made = results = self._submitted(function, message)
        try:
            while len(results) > _FAN_IN:
                parts = [results[i : i + _FAN_IN] for i in range(0, len(results), _FAN_IN)]
                results = [self.client.submit(merge, part, pure=False) for part in parts]
                made = made + results
            return merge(gathered(self.client, results))
        finally:
            released(made)

    def _submitted(self, function: Callable, *args: Any) -> list[Any]:
        """Return a future for each shelf, in one message: the scheduler finds where they lie."""
        columns = [[self._sent(arg)] * len(self.futures) for arg in args]
        # Any of the workers: without a word about them, the scheduler may take tasks of many passes
        # for those that read data, which it shares out wherever shelves lie.
        return self.client.map(
            function,
            self.futures,
            *columns,
            workers=self.homes,
            allow_other_workers=True,
            pure=False,
        )

    def _sent(self, arg: Any) -> Any:
        """Return an argument of all shelves' tasks, or the future of a large message.

        Tasks make that, unlike what is scattered, again where workers die.
        """
        size = len(arg) if isinstance(arg, bytes) else 0
        if size * len(self.futures) <= _LARGEST_IN_TASKS:
            return arg
        parts = [arg[at : at + _LARGEST_IN_TASKS] for at in range(0, size, _LARGEST_IN_TASKS)]
        submit = partial(self.client.submit, pure=False)
        return submit(b"".join, [submit(bytes, part) for part in parts])

    def release(self) -> None:
        """Let go of these shelves."""
        released(self.futures)
