"""Chunks as users give them: read again and again, and errors told with where they happened."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding.answers import Answers, Code, Encoder, has_columns
from softreg._rows.coordinates import Coordinates
from softreg._rows.memory import MemoryRows, mostly_zeros, single_pass_rows
from softreg._rows.threads import Threads

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


_THE_SAME = (
    "fit_chunks reads the data many times, and they must be the same each time: in the same order, "
    "with nothing shuffled or drawn anew."
)

# So many values that are copied to another memory order stay near a core.
_VALUES_AT_ONCE = 2**14


class Reader(NamedTuple):
    """How an estimator reads chunks.

    Attributes
    ----------
    validated : callable (X, reset=bool) -> float array or CSR, with the features of the first X
    encoder : callable y -> Encoder
    """

    validated: Callable[..., Any]
    encoder: Callable[[Any], Encoder]


class Checked(NamedTuple):
    """A chunk's rows in the form that an estimator learns from."""

    X: Any
    answers: Answers


class Fingerprint(NamedTuple):
    """What is remembered of a chunk, to know it again."""

    rows: int
    X: int
    y: int
    sample_weight: int

    @classmethod
    def of(cls, checked: Checked) -> Fingerprint:
        X, (y, weight) = checked
        return cls(X.shape[0], _checksum(X), _checksum(y), _checksum(weight))


_NO_ROWS = Fingerprint(0, 0, 0, 0)


def _checksum(values: Any) -> int:
    """Return a number that hardly any other values share: an eighth of a pass (measured)."""
    if values is None:
        return 0
    if sparse.issparse(values):
        matrix: Any = values
        return _checksum_of(matrix.data, matrix.indices, matrix.indptr)
    # As text: those of Python objects are only where they lie in memory.
    return _checksum_of(values.astype(str) if values.dtype.kind == "O" else values)


def _checksum_of(*arrays: NDArray) -> int:
    checksum = 0
    for array in arrays:
        step = max(1, _VALUES_AT_ONCE // max(1, array[:1].size))
        for start in range(0, len(array), step):
            # By rows, also where columns lie together: the same values are the same data.
            rows: Any = np.ascontiguousarray(array[start : start + step])
            checksum = zlib.crc32(rows.reshape(-1).view(np.uint8), checksum)
    return checksum


@dataclass(frozen=True, eq=False)
class _Layout:
    """How the chunks that are like a first one are checked."""

    reader: Reader
    encoder: Encoder
    columns: tuple[list | None, list | None]

    @classmethod
    def at(cls, reader: Reader, chunk: Chunk) -> _Layout:
        return cls(reader, reader.encoder(chunk.y), _columns(chunk))

    def checked(self, chunk: Chunk, *, first: bool) -> Checked:
        """Return the rows of a chunk, of the same columns as the first one's."""
        for name, own, given in zip(("X", "y"), self.columns, _columns(chunk), strict=True):
            if own != given:
                raise ValueError(
                    f"{name} has columns {given} in chunk {chunk.number}, but had {own}; all "
                    "chunks must have the same columns in the same order."
                )
        X, y = self.reader.validated(chunk.X, reset=first), chunk.y
        if not has_columns(y) and np.ndim(y) == 2:  # without a warning in every chunk
            y = np.asarray(y)[:, 0]
        return Checked(X, self.encoder.checked(y, chunk.weight, X))


def _columns(chunk: Chunk) -> tuple[list | None, list | None]:
    """Return the names of the columns of X and y, None for what has none."""
    X, y = (getattr(of, "columns", None) for of in (chunk.X, chunk.y))
    return None if X is None else list(X), None if y is None else list(y)


class _Form(NamedTuple):
    """In which form the X of a chunk came, and how many of its values are not zeros."""

    dtype: np.dtype
    is_csr: bool
    size: int
    nonzeros: int

    @classmethod
    def at(cls, X: Any) -> _Form:
        is_csr = sparse.issparse(X)
        size = int(np.prod(X.shape))
        return cls(X.dtype, is_csr, size, 0 if is_csr else int(np.count_nonzero(X)))


def _as_csr(forms: list[_Form]) -> bool:
    """Return whether X is held as CSR: if some of it comes so, or few values are but zeros."""
    _, given, sizes, nonzeros = zip(*forms, strict=True)
    return any(given) or mostly_zeros(sum(nonzeros), sum(sizes))


@dataclass(frozen=True, eq=False)
class Survey:
    """What the first pass found.

    Attributes
    ----------
    source : Source
    fingerprints : list of Fingerprint, one a chunk
    layout : _Layout, how chunks are checked
    code : Code
    dtype : that of X in all chunks: float32 if none is float64
    as_csr : bool, whether rows are held as CSR
    """

    source: Source
    fingerprints: list[Fingerprint]
    layout: _Layout
    code: Code
    dtype: np.dtype
    as_csr: bool

    @classmethod
    def of(cls, chunks: Any, reader: Reader) -> Survey:
        """Return the survey of a user's chunks: one pass."""
        source, layout, tally = Source(chunks), None, None
        fingerprints: list[Fingerprint] = []
        forms: list[_Form] = []
        for chunk in source.read("the first"):
            if chunk.X is None:
                fingerprints.append(_NO_ROWS)
                continue
            with noted(chunk.number, "the first"):
                first = layout is None
                layout = layout or _Layout.at(reader, chunk)
                checked = layout.checked(chunk, first=first)
                own = layout.encoder.tally(checked.answers)
                tally = own if tally is None else tally + own
            fingerprints.append(Fingerprint.of(checked))
            forms.append(_Form.at(checked.X))
        if layout is None:
            n = len(fingerprints)
            found = f"all {n} chunks are empty" if n else "it yields no chunk"
            raise ValueError(f"chunks holds no rows: {found}.")
        code, dtype = layout.encoder.code(tally), np.result_type(*{form.dtype for form in forms})
        return cls(source, fingerprints, layout, code, dtype, _as_csr(forms))

    def rows(self, coordinates: Coordinates, threads: Threads) -> Iterable[MemoryRows]:
        """Return what yields the rows of each chunk, in every pass the same."""
        return _Encoded(self, coordinates, threads)

    def again(self) -> Iterator[Checked]:
        """Yield the chunks once more, or say which one is not what it was."""
        number, expected = 0, len(self.fingerprints)
        for chunk in self.source.read("a later"):
            number = chunk.number + 1
            if number > expected:
                raise ValueError(
                    f"chunks yields more than the {expected} chunks of its first pass. {_THE_SAME}"
                )
            if chunk.X is None:
                self._compare(chunk.number, _NO_ROWS)
                continue
            with noted(chunk.number, "a later"):
                checked = self.layout.checked(chunk, first=False)
            self._compare(chunk.number, Fingerprint.of(checked))
            yield checked
        if number < expected:
            raise ValueError(
                f"chunks ended after {number} of the {expected} chunks of its first pass; {REREAD}"
                f". {_THE_SAME}"
            )

    def _compare(self, number: int, found: Fingerprint) -> None:
        expected = self.fingerprints[number]
        if found.rows != expected.rows:
            raise ValueError(
                f"chunk {number} has {found.rows} rows, but had {expected.rows} in the first pass. "
                f"{_THE_SAME}"
            )
        pairs = zip(Fingerprint._fields, found, expected, strict=True)
        other = [name for name, now, before in pairs if now != before]
        if other:
            raise ValueError(
                f"chunk {number} has other values in {' and '.join(other)} than in the first pass. "
                f"{_THE_SAME}"
            )


@dataclass(frozen=True, eq=False)
class _Encoded:
    """The rows of chunks that were surveyed."""

    survey: Survey
    coordinates: Coordinates
    threads: Threads

    def __iter__(self) -> Iterator[MemoryRows]:
        survey = self.survey
        for X, answers in survey.again():
            X = X.astype(survey.dtype, copy=False)
            X = sparse.csr_array(X) if survey.as_csr else X
            row_terms = (*survey.code.targets(answers), None)
            yield single_pass_rows(X, row_terms, self.coordinates, self.threads)
