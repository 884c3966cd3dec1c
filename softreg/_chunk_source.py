"""Chunks as users give them: read again and again, and errors told with where they happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

# What helps where data can be read only once.
REREAD = "pass a function that opens the data anew, such as fit_chunks(lambda: read(path))"


class Chunk(NamedTuple):
    """A chunk with its number, counted from 0; X is None if it has no rows."""

    number: int
    X: Any
    y: Any
    weight: Any


@dataclass(frozen=True, eq=False)
class Source:
    """What a user passes as chunks: iterable again and again, or a callable that is.

    Attributes
    ----------
    chunks : iterable of (X, y) or (X, y, sample_weight), or callable that returns one
    """

    chunks: Any

    def read(self, which: str) -> Iterator[Chunk]:
        """Yield the chunks; errors of the source get a note of the chunk, and of `which` pass."""
        with noted(0, which):
            given = iter(self._opened())
        number = 0
        while True:
            with noted(number, which):
                try:
                    chunk = next(given)
                except StopIteration:
                    return
                taken = _taken(number, chunk)
            yield taken
            number += 1

    def _opened(self) -> Iterable:
        chunks = self.chunks
        if callable(chunks) and not isinstance(chunks, Iterable):
            chunks = chunks()
        elif isinstance(chunks, Iterator):
            raise TypeError(
                f"chunks={chunks!r} can be read only once, but fit_chunks reads the data many "
                f"times; {REREAD}."
            )
        if isinstance(chunks, Iterable):
            return chunks
        raise TypeError(
            f"chunks={self.chunks!r} must be iterable, or a function that returns an iterator of "
            "(X, y) or (X, y, sample_weight); see softreg.chunks for sources that are ready-made."
        )


@contextmanager
def noted(number: int, which: str) -> Iterator[None]:
    """Add to any error a note of where in the chunks it came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"In chunk {number} of `chunks` (the first one is 0), in {which} pass.")
        raise


def _taken(number: int, chunk: Any) -> Chunk:
    """Return a chunk that a source yielded."""
    if not (isinstance(chunk, tuple | list) and len(chunk) in (2, 3)):
        length = f" of {len(chunk)}" if isinstance(chunk, tuple | list) else ""
        raise TypeError(
            f"chunk {number} is a {type(chunk).__name__}{length}; each chunk must be a tuple "
            "(X, y) or (X, y, sample_weight)."
        )
    X, y, weight = (*chunk, None)[:3]
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    return Chunk(number, X if n else None, y, weight)
