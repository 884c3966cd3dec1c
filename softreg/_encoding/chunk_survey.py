"""A user's chunks: read in many passes, checked and encoded; errors name the chunk and the pass."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding.answers import Answers, Encoder, Encoding, has_columns
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows, mostly_zeros, single_pass_rows
from softreg._rows.threads import Threads

# What errors advise where data can be read only once, or a later pass finds other data.
_REOPEN = "pass a function that opens the data anew, such as fit_chunks(lambda: read(path))"
_SAME_EVERY_PASS = (
    "fit_chunks reads the data many times, and they must be the same each time: in the same order, "
    "with nothing shuffled or drawn anew."
)
# Values that are copied to another memory order at a time: few enough to stay in a core's cache.
_VALUES_AT_ONCE = 2**14


class Chunk(NamedTuple):
    """A chunk with its number, counted from 0; X is None if it has no rows."""

    number: int
    X: Any
    y: Any
    weight: Any


@dataclass(frozen=True, eq=False)
class Source:
    """A user's chunks, which can be read again and again.

    Attributes
    ----------
    chunks : iterable of (X, y) or (X, y, sample_weight), or callable that returns one
    """

    chunks: Any

    def read(self, which_pass: str) -> Iterator[Chunk]:
        """Yield the chunks; errors get a note that names the chunk and the pass."""
        with noting_chunk(0, which_pass):
            iterator = iter(self._opened())
        number = 0
        while True:
            with noting_chunk(number, which_pass):
                try:
                    fields = next(iterator)
                except StopIteration:
                    return
                chunk = _unpacked(number, fields)
            yield chunk
            number += 1

    def _opened(self) -> Iterable:
        """Return an iterable of chunks; TypeError if `chunks` gives none, or for one pass only."""
        chunks = self.chunks
        if callable(chunks) and not isinstance(chunks, Iterable):
            chunks = chunks()
        elif isinstance(chunks, Iterator):
            raise TypeError(
                f"chunks={chunks!r} can be read only once, but fit_chunks reads the data many "
                f"times; {_REOPEN}."
            )
        if isinstance(chunks, Iterable):
            return chunks
        raise TypeError(
            f"chunks={self.chunks!r} must be iterable, or a function that returns an iterator of "
            "(X, y) or (X, y, sample_weight); see softreg.chunks for sources that are ready-made."
        )


@contextmanager
def noting_chunk(number: int, which_pass: str) -> Iterator[None]:
    """Add a note to any error: in which chunk and pass it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"In chunk {number} of `chunks` (the first one is 0), in {which_pass} pass.")
        raise


def _unpacked(number: int, fields: Any) -> Chunk:
    """Return the chunk of what a source yielded; TypeError if it is no tuple of two or three."""
    if not (isinstance(fields, tuple | list) and len(fields) in (2, 3)):
        length = f" of {len(fields)}" if isinstance(fields, tuple | list) else ""
        raise TypeError(
            f"chunk {number} is a {type(fields).__name__}{length}; each chunk must be a tuple "
            "(X, y) or (X, y, sample_weight)."
        )
    X, y, weight = (*fields, None)[:3]
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    return Chunk(number, X if n else None, y, weight)


class Reader(NamedTuple):
    """What an estimator does with the X and y of a chunk.

    Attributes
    ----------
    validate : callable (X, reset=bool) -> float array or CSR (m, d); `reset` records the features
        of X, else they are compared with those recorded
    encoder : callable y -> Encoder
    """

    validate: Callable[..., Any]
    encoder: Callable[[Any], Encoder]


class CheckedChunk(NamedTuple):
    """A chunk's validated X, and its answers."""

    X: Any
    answers: Answers


class Fingerprint(NamedTuple):
    """The number of rows of a chunk, and checksums, by which a later pass knows it again."""

    rows: int
    X: int
    y: int
    sample_weight: int

    @classmethod
    def from_checked(cls, checked: CheckedChunk) -> Fingerprint:
        X, (y, weight) = checked
        return cls(X.shape[0], _checksum(X), _checksum(y), _checksum(weight))


_NO_ROWS = Fingerprint(0, 0, 0, 0)


def _checksum(values: Any) -> int:
    """Return the CRC of an array or CSR, 0 for None: an eighth of a pass (measured)."""
    if values is None:
        return 0
    if sparse.issparse(values):
        matrix: Any = values
        return _checksum_of(matrix.data, matrix.indices, matrix.indptr)
    # Objects as text: their bytes are addresses, which differ between passes.
    return _checksum_of(values.astype(str) if values.dtype.kind == "O" else values)


def _checksum_of(*arrays: NDArray) -> int:
    """Return one CRC of arrays, whatever their memory order."""
    checksum = 0
    for array in arrays:
        step = max(1, _VALUES_AT_ONCE // max(1, array[:1].size))
        for start in range(0, len(array), step):
            rows: Any = np.ascontiguousarray(array[start : start + step])
            checksum = zlib.crc32(rows.reshape(-1).view(np.uint8), checksum)
    return checksum


@dataclass(frozen=True, eq=False)
class _ChunkChecker:
    """Checks chunks: each must have the columns, and a y of the kind, of the first with rows.

    Attributes
    ----------
    reader : Reader
    encoder : Encoder, of the first chunk's y
    columns : the first chunk's names of the columns of X and of y, None without names
    """

    reader: Reader
    encoder: Encoder
    columns: tuple[list | None, list | None]

    @classmethod
    def from_first_chunk(cls, reader: Reader, chunk: Chunk) -> _ChunkChecker:
        return cls(reader, reader.encoder(chunk.y), _columns(chunk))

    def checked(self, chunk: Chunk, *, first: bool) -> CheckedChunk:
        """Return a chunk's X and answers; ValueError if its columns are not the first chunk's."""
        for name, before, now in zip(("X", "y"), self.columns, _columns(chunk), strict=True):
            if before != now:
                raise ValueError(
                    f"{name} has columns {now} in chunk {chunk.number}, but had {before}; all "
                    "chunks must have the same columns in the same order."
                )
        X, y = self.reader.validate(chunk.X, reset=first), chunk.y
        if not has_columns(y) and np.ndim(y) == 2:  # without a warning in every chunk
            y = np.asarray(y)[:, 0]
        return CheckedChunk(X, self.encoder.checked(y, chunk.weight, X))


def _columns(chunk: Chunk) -> tuple[list | None, list | None]:
    """Return the names of the columns of X and y, None for what has none."""
    X, y = (getattr(table, "columns", None) for table in (chunk.X, chunk.y))
    return None if X is None else list(X), None if y is None else list(y)


class _Storage(NamedTuple):
    """How a chunk stores X, and how many values of a dense X are not 0."""

    dtype: np.dtype
    is_csr: bool
    size: int
    nonzeros: int

    @classmethod
    def from_X(cls, X: Any) -> _Storage:
        is_csr = sparse.issparse(X)
        size = int(np.prod(X.shape))
        return cls(X.dtype, is_csr, size, 0 if is_csr else int(np.count_nonzero(X)))


def _pays_as_csr(storages: list[_Storage]) -> bool:
    """Return whether to convert every X to CSR: some X are CSR, or nearly all values are 0."""
    _, is_csr, sizes, nonzeros = zip(*storages, strict=True)
    return any(is_csr) or mostly_zeros(sum(nonzeros), sum(sizes))


@dataclass(frozen=True, eq=False)
class Survey:
    """What the first pass over a user's chunks found.

    Attributes
    ----------
    source : Source
    fingerprints : list of Fingerprint, one a chunk
    checker : _ChunkChecker
    encoding : Encoding, for the y of all chunks
    dtype : float32 if the X of all chunks are, else float64
    as_csr : bool, whether to convert each X to CSR
    """

    source: Source
    fingerprints: list[Fingerprint]
    checker: _ChunkChecker
    encoding: Encoding
    dtype: np.dtype
    as_csr: bool

    @classmethod
    def from_chunks(cls, chunks: Any, reader: Reader) -> Survey:
        """Return the survey of a user's chunks: one pass."""
        source, checker, tally = Source(chunks), None, None
        fingerprints: list[Fingerprint] = []
        storages: list[_Storage] = []
        for chunk in source.read("the first"):
            if chunk.X is None:
                fingerprints.append(_NO_ROWS)
                continue
            with noting_chunk(chunk.number, "the first"):
                first = checker is None
                checker = checker or _ChunkChecker.from_first_chunk(reader, chunk)
                checked = checker.checked(chunk, first=first)
                chunk_tally = checker.encoder.tally(checked.answers)
                tally = chunk_tally if tally is None else tally + chunk_tally
            fingerprints.append(Fingerprint.from_checked(checked))
            storages.append(_Storage.from_X(checked.X))
        if checker is None:
            n = len(fingerprints)
            reason = f"all {n} chunks are empty" if n else "it yields no chunk"
            raise ValueError(f"chunks holds no rows: {reason}.")
        encoding = checker.encoder.encoding_from_tally(tally)
        dtype = np.result_type(*{storage.dtype for storage in storages})
        return cls(source, fingerprints, checker, encoding, dtype, _pays_as_csr(storages))

    def rows(self, coordinates: Coordinates, threads: Threads) -> Iterable[MemoryRows]:
        """Return an iterable over the rows of each chunk; every iteration is a pass."""
        return _EncodedChunks(self, coordinates, threads)

    def reread(self) -> Iterator[CheckedChunk]:
        """Yield the chunks with rows again; ValueError if a chunk is not as in the first pass."""
        number, expected = 0, len(self.fingerprints)
        for chunk in self.source.read("a later"):
            number = chunk.number + 1
            if number > expected:
                raise ValueError(
                    f"chunks yields more than the {expected} chunks of its first pass. "
                    f"{_SAME_EVERY_PASS}"
                )
            if chunk.X is None:
                self._check_unchanged(chunk.number, _NO_ROWS)
                continue
            with noting_chunk(chunk.number, "a later"):
                checked = self.checker.checked(chunk, first=False)
            self._check_unchanged(chunk.number, Fingerprint.from_checked(checked))
            yield checked
        if number < expected:
            raise ValueError(
                f"chunks ended after {number} of the {expected} chunks of its first pass; {_REOPEN}"
                f". {_SAME_EVERY_PASS}"
            )

    def _check_unchanged(self, number: int, now: Fingerprint) -> None:
        """Raise a ValueError if a chunk has another fingerprint than in the first pass."""
        before = self.fingerprints[number]
        if now.rows != before.rows:
            raise ValueError(
                f"chunk {number} has {now.rows} rows, but had {before.rows} in the first pass. "
                f"{_SAME_EVERY_PASS}"
            )
        pairs = zip(Fingerprint._fields, now, before, strict=True)
        changed = [name for name, value, expected in pairs if value != expected]
        if changed:
            raise ValueError(
                f"chunk {number} has other values in {' and '.join(changed)} than in the first "
                f"pass. {_SAME_EVERY_PASS}"
            )


@dataclass(frozen=True, eq=False)
class _EncodedChunks:
    """The rows of surveyed chunks, read, checked and encoded in every iteration."""

    survey: Survey
    coordinates: Coordinates
    threads: Threads

    def __iter__(self) -> Iterator[MemoryRows]:
        survey = self.survey
        for X, answers in survey.reread():
            X = X.astype(survey.dtype, copy=False)
            X = sparse.csr_array(X) if survey.as_csr else X
            row_terms = (*survey.encoding.targets(answers), None)
            yield single_pass_rows(X, row_terms, self.coordinates, self.threads)
