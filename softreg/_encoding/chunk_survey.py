"""A user's chunks: read in many passes, checked and encoded; errors name the chunk and the pass."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import count, zip_longest
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from softreg._encoding import validation
from softreg._encoding.answers import Answers, Encoder, Encoding
from softreg._encoding.class_values import first_column, is_column
from softreg._encoding.namespaces import on_host
from softreg._rows.arrays import mostly_zeros
from softreg._rows.chunked import EachPass
from softreg._rows.coordinates import Coordinates
from softreg._rows.devices.arrays import DeviceArray
from softreg._rows.kinds import n_nonzeros, single_pass_rows
from softreg._rows.memory import MemoryRows
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
    """A chunk with its number, counted from 0; X is None if it has no rows.

    Its location, for errors, is what a source such as those of `softreg.chunks` says, or "".
    """

    number: int
    X: Any
    y: Any
    weight: Any
    location: str


def read_chunks(chunks: Any, which_pass: str) -> Iterator[Chunk]:
    """Yield a user's chunks; errors get a note that names the chunk and the pass."""
    with noting_chunk(0, which_pass):
        iterator = iter(_opened(chunks))
    for number in count():
        with noting_chunk(number, which_pass):
            chunk = next((_unpacked(number, fields) for fields in iterator), None)
        if chunk is None:
            return
        yield chunk


def noting_chunk(number: int, which_pass: str, location: str = "") -> AbstractContextManager[None]:
    """Return a context that adds to any error in which chunk and pass it was raised."""
    where = f", {location}," if location else ""
    return validation.noting(
        f"In chunk {number} of `chunks` (the first one is 0){where} in {which_pass} pass."
    )


def _opened(chunks: Any) -> Iterable:
    """Return an iterable of chunks; TypeError if `chunks` gives none, or for one pass only."""
    if isinstance(chunks, Iterator):
        raise TypeError(
            f"chunks={chunks!r} can be read only once, but fit_chunks reads the data many times; "
            f"{_REOPEN}."
        )
    is_function = callable(chunks) and not isinstance(chunks, Iterable)
    opened = chunks() if is_function else chunks
    if not isinstance(opened, Iterable):
        raise TypeError(
            f"chunks={chunks!r} must be iterable, or a function that returns an iterator of (X, y) "
            "or (X, y, sample_weight); see softreg.chunks for sources that are ready-made."
        )
    return opened


def _unpacked(number: int, fields: Any) -> Chunk:
    """Return the chunk of what a source yielded; TypeError if it is no tuple of two or three."""
    if not (isinstance(fields, tuple | list) and len(fields) in (2, 3)):
        length = f" of {len(fields)}" if isinstance(fields, tuple | list) else ""
        raise TypeError(
            f"chunk {number} is a {type(fields).__name__}{length}; each chunk must be a tuple "
            "(X, y) or (X, y, sample_weight)."
        )
    X, y, weight = (*fields, None)[:3]
    y, weight = on_host(y=y, sample_weight=weight)
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    return Chunk(number, X if n else None, y, weight, getattr(fields, "location", ""))


# By what a later pass knows a chunk again: its number of rows, and checksums of its parts.
Fingerprint = dict[str, int]


def fingerprint(X: Any, answers: Answers) -> Fingerprint:
    """Return the fingerprint of rows that were checked."""
    parts = {"X": X, "y": answers.y, "sample_weight": answers.weight}
    return {"rows": X.shape[0]} | {name: checksum(values) for name, values in parts.items()}


def _sums(X: DeviceArray) -> Any:
    """Return the largest values of columns on a device, and sums of rows and of numbered rows.

    Values over the largest are rounded to integers whose sums are exact in double: else the order
    of adding, which changes with the memory's alignment, would change bits.
    """
    if not X.on.has_double:
        return np.asarray(X)
    largest = np.maximum(np.asarray(np.max(X, axis=0)), -np.asarray(np.min(X, axis=0)))
    exponents = np.maximum(np.frexp(largest)[1], -900)  # whose scale does not overflow
    digits = 53 - 8 - len(X).bit_length()
    scaled = X.astype(np.float64, copy=False) * np.ldexp(1.0, digits - exponents)
    factors = np.stack([np.ones(len(X)), np.arange(len(X)) % 251])  # of 8 binary digits
    return np.vstack([largest, np.asarray(factors @ np.floor(scaled, out=scaled))])


def checksum(values: Any, at_once: int = _VALUES_AT_ONCE) -> int:
    """Return the CRC of an array or CSR, 0 for None, whatever the memory order.

    Rows of about `at_once` values are brought to its order at a time. It takes an eighth of a pass
    (measured).
    """
    if values is None:
        return 0
    if isinstance(values, DeviceArray):
        values = _sums(values)
    matrix: Any = values
    stored = (matrix.data, matrix.indices, matrix.indptr) if sparse.issparse(values) else (values,)
    checksum = 0
    for array in stored:
        if array.dtype.kind == "O":  # as text: their bytes are addresses, other ones in each pass
            array = np.array([str(value) for value in array.tolist()], dtype=str)
        step = max(1, at_once // max(1, array[:1].size))
        for start in range(0, len(array), step):
            rows: Any = np.ascontiguousarray(array[start : start + step])
            checksum = zlib.crc32(rows.reshape(-1).view(np.uint8), checksum)
    return checksum


@dataclass(frozen=True, eq=False)
class _ChunkChecker:
    """Checks chunks: each must have the columns, and a y of the kind, of the first with rows.

    Attributes
    ----------
    validate : callable (X, reset=bool) -> float array or CSR (m, d); `reset` records the features
        of X, else they are compared with those recorded
    encoder : Encoder, of the first chunk's y
    columns : the first chunk's names of the columns of X and of y, None without names
    """

    validate: Callable[..., Any]
    encoder: Encoder
    columns: tuple[list | None, ...]

    def checked(self, chunk: Chunk, *, first: bool) -> tuple[Any, Answers]:
        """Return a chunk's X and answers; ValueError if its columns are not the first chunk's."""
        check_headers(self.columns, headers(chunk.X, chunk.y), "chunk")
        X = self.validate(chunk.X, reset=first)
        return X, checked_answers(self.encoder, chunk.y, chunk.weight, X)


def checked_answers(encoder: Encoder, y: Any, weight: Any, X: Any) -> Answers:
    """Return the answers of some of all rows; y of one column has no warning in each part."""
    column = first_column(y) if is_column(y) and not sparse.issparse(y) else y
    return encoder.checked(column, weight, X)


def headers(X: Any, y: Any) -> tuple[list | None, ...]:
    """Return the names of the columns of X and y, None for what has none."""
    names = (getattr(table, "columns", None) for table in (X, y))
    return tuple(None if columns is None else list(columns) for columns in names)


def check_headers(before: tuple, now: tuple, part: str) -> None:
    """Raise a ValueError if the `headers` of a part (chunk) are not those of the first."""
    for name, expected, found in zip(("X", "y"), before, now, strict=True):
        if expected != found:
            raise ValueError(
                f"{name} {_difference(expected, found, part)}; all {part}s must have the same "
                "columns in the same order."
            )


def _difference(before: list | None, now: list | None, part: str) -> str:
    """Return in words how names of columns, None without any, differ from the first part's."""
    if before is None or now is None:
        return f"has columns named {now}, and those of the first {part} are named {before}"
    lacking = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    if lacking or new:
        return f"lacks the first {part}'s columns {lacking} and has the new ones {new}"
    pairs = enumerate(zip_longest(before, now))
    place, (expected, found) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    return f"has {found!r} as column {place}, where the first {part} has {expected!r}"


@dataclass(frozen=True, eq=False)
class Survey:
    """What the first pass over a user's chunks found.

    Attributes
    ----------
    chunks : what the user gave
    weight_unit : float, power of two by which weights are divided: that of the first chunk
    fingerprints : list of Fingerprint, one a chunk
    checker : _ChunkChecker
    encoding : Encoding, for the y of all chunks
    dtype : float32 if the X of all chunks are, else float64
    as_csr : bool, whether to convert each X to CSR: some X are CSR, or nearly all values are 0
    example : an X without rows, in the library and on the device of the first
    """

    chunks: Any
    weight_unit: float
    fingerprints: list[Fingerprint]
    checker: _ChunkChecker
    encoding: Encoding
    dtype: np.dtype
    as_csr: bool
    example: Any

    @classmethod
    def from_chunks(
        cls, chunks: Any, validate: Callable[..., Any], encoder_of: Callable[[Any], Encoder]
    ) -> Survey:
        """Return the survey of a user's chunks, read in one pass.

        `encoder_of` makes the encoder of y; for `validate` see `_ChunkChecker`.
        """
        checker, tally, unit = None, None, 1.0
        fingerprints: list[Fingerprint] = []
        dtypes, any_csr, size, nonzeros, example = set(), False, 0, 0, None
        for chunk in read_chunks(chunks, "the first"):
            if chunk.X is None:
                fingerprints.append({"rows": 0})
                continue
            with noting_chunk(chunk.number, "the first", chunk.location):
                first = checker is None
                checker = checker or _ChunkChecker(
                    validate, encoder_of(chunk.y), headers(chunk.X, chunk.y)
                )
                X, answers = checker.checked(chunk, first=first)
                unit = answers.weight_unit if first else unit
                chunk_tally = checker.encoder.tally(answers.in_weight_unit(unit))
                tally = chunk_tally if tally is None else tally + chunk_tally
                example = X[:0].copy() if first else example  # a view would keep the chunk
            fingerprints.append(fingerprint(X, answers))
            dtypes.add(X.dtype)
            any_csr = any_csr or sparse.issparse(X)
            size += X.size
            nonzeros += 0 if any_csr else n_nonzeros(X)
        if checker is None:
            n = len(fingerprints)
            reason = f"all {n} chunks are empty" if n else "it yields no chunk"
            raise ValueError(f"chunks holds no rows: {reason}.")
        encoding = checker.encoder.encoding_from_tally(tally)
        as_csr = any_csr or mostly_zeros(nonzeros, size)
        dtype = np.result_type(*dtypes)
        return cls(chunks, unit, fingerprints, checker, encoding, dtype, as_csr, example)

    def rows(self, coordinates: Coordinates, threads: Threads) -> Iterable[MemoryRows]:
        """Return an iterable over the rows of each chunk; every iteration is a pass."""
        return EachPass(partial(self._encoded, coordinates, threads))

    def _encoded(self, coordinates: Coordinates, threads: Threads) -> Iterator[MemoryRows]:
        """Yield the rows of each chunk, read, checked and encoded."""
        for X, answers in self._reread():
            X = X.astype(self.dtype, copy=False)
            X = sparse.csr_array(X) if self.as_csr else X
            targets = self.encoding.targets(answers.in_weight_unit(self.weight_unit))
            yield single_pass_rows(X, (*targets, None), coordinates, threads, self.weight_unit)

    def _reread(self) -> Iterator[tuple[Any, Answers]]:
        """Yield the chunks with rows again; ValueError if a chunk is not as in the first pass."""
        number, expected = 0, len(self.fingerprints)
        for chunk in read_chunks(self.chunks, "a later"):
            number = chunk.number + 1
            if number > expected:
                raise ValueError(
                    f"chunks yields more than the {expected} chunks of its first pass. "
                    f"{_SAME_EVERY_PASS}"
                )
            if chunk.X is None:
                self._check_unchanged(chunk.number, {"rows": 0})
                continue
            with noting_chunk(chunk.number, "a later", chunk.location):
                checked = self.checker.checked(chunk, first=False)
            self._check_unchanged(chunk.number, fingerprint(*checked))
            yield checked
        if number < expected:
            raise ValueError(
                f"chunks ended after {number} of the {expected} chunks of its first pass; {_REOPEN}"
                f". {_SAME_EVERY_PASS}"
            )

    def _check_unchanged(self, number: int, now: Fingerprint) -> None:
        """Raise a ValueError if a chunk has another fingerprint than in the first pass."""
        before = self.fingerprints[number]
        changed = [name for name, value in now.items() if value != before.get(name)]
        if changed:
            found = f"other values in {' and '.join(changed)} than"
            if "rows" in changed:
                found = f"{now['rows']} rows, but had {before['rows']}"
            raise ValueError(f"chunk {number} has {found} in the first pass. {_SAME_EVERY_PASS}")
