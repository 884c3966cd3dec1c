"""The partitions of a fit on a cluster: checked on the workers, surveyed, and laid on shelves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from softreg._encoding.answers import Answers, Encoder, Encoding
from softreg._encoding.chunk_survey import (
    Fingerprint,
    check_headers,
    checked_answers,
    checksum,
    fingerprint,
    headers,
)
from softreg._encoding.clusters.partitions import (
    check_same_rows,
    noting_partition,
    partitions,
)
from softreg._encoding.clusters.placement import Piece, PlacedPartitions
from softreg._rows.arrays import aligned, csr_rows, mostly_zeros, sent_aligned, stacked
from softreg._rows.clusters.rows import ClusterRows
from softreg._rows.clusters.shelf import Shelf, shelf_here
from softreg._rows.coordinates import Coordinates
from softreg._rows.kinds import single_pass_rows
from softreg._rows.threads import Limits, Threads


@dataclass(frozen=True, eq=False)
class Facts:
    """What the client learns of a partition that has rows.

    Attributes
    ----------
    shape : tuple (m, d), that of X
    n_values, n_nonzero : int, values of X that are stored, and those that are not zero
    headers : the names of the columns of X and y
    features : dict, the fitted attributes that describe the columns of X
    encoder : Encoder of its y
    dtype : dtype of X
    is_csr : bool
    weight_unit : float, a power of two near its largest weight
    fingerprint : Fingerprint
    """

    shape: tuple[int, int]
    n_values: int
    n_nonzero: int
    headers: tuple[list | None, ...]
    features: dict[str, Any]
    encoder: Encoder
    dtype: np.dtype
    is_csr: bool
    weight_unit: float
    fingerprint: Fingerprint


# ---- On the workers -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CheckedPartition:
    """A partition, checked; X is None without rows, whose `facts` are None then.

    Attributes
    ----------
    X : ndarray or CSR (n, d)
    answers : Answers
    offset : as the user gave it
    facts : Facts
    """

    X: Any
    answers: Any
    offset: Any
    facts: Any

    def __reduce__(self) -> tuple:
        return sent_aligned(CheckedPartition, self.X, self.answers, self.offset, self.facts)

    def __sizeof__(self) -> int:  # what Dask's memory manager sees
        bytes_of_value = 12 if sparse.issparse(self.X) else 8
        return 64 if self.X is None else 64 + bytes_of_value * self.X.size


@dataclass(frozen=True, eq=False)
class PartitionReader:
    """Checks a partition, whatever the others are.

    Attributes
    ----------
    read_features : callable X -> (float array or CSR (m, d), attributes that describe the columns)
    encoder_of : callable y -> Encoder
    """

    read_features: Callable[[Any], tuple[Any, dict[str, Any]]]
    encoder_of: Callable[[Any], Encoder]

    def check_partition(
        self, number: int, X: Any, y: Any, weight: Any, offset: Any
    ) -> CheckedPartition:
        """Return the partition of this number, checked."""
        with noting_partition(number):
            check_same_rows(X, y, weight, offset)
            if not X.shape[0]:
                return CheckedPartition(None, None, None, None)
            data, features = self.read_features(X)
            encoder = self.encoder_of(y)
            answers = Answers(*map(_aligned, checked_answers(encoder, y, weight, data)))
        data, is_csr = _aligned(data), sparse.issparse(data)
        facts = Facts(
            shape=data.shape,
            n_values=data.size,
            n_nonzero=data.size if is_csr else int(np.count_nonzero(data)),
            headers=headers(X, y),
            features=features,
            encoder=encoder,
            dtype=data.dtype,
            is_csr=is_csr,
            weight_unit=answers.weight_unit,
            fingerprint=fingerprint(data, answers) | {"offset": _checksum_of(offset)},
        )
        return CheckedPartition(data, answers, offset, facts)


def _aligned(values: Any) -> Any:
    """Return an array `aligned`, CSR and None as they are."""
    return aligned(values) if isinstance(values, np.ndarray) else values


def _checksum_of(offset: Any) -> int:
    is_array = offset is not None and np.ndim(offset) > 0
    return checksum(np.asarray(offset)) if is_array else 0


def facts_of(checked: list[CheckedPartition]) -> list[Facts | None]:
    """Return the facts of partitions."""
    return [each.facts for each in checked]


def tallies_of(checked: list[CheckedPartition], encoder: Encoder, unit: float) -> list[Any]:
    """Return the tally of each partition's y, its weights being divided by a unit."""
    return [encoder.tally(each.answers.in_weight_unit(unit)) for each in checked]


@dataclass(frozen=True, eq=False)
class ShelfMaker:
    """Encodes checked partitions, in groups, for their shelf.

    Attributes
    ----------
    encoding : Encoding, for the y of all partitions
    dtype, as_csr : what each X is converted to
    weight_unit : float, power of two by which weights are divided
    intercept : bool
    limits : Limits of the fit
    """

    encoding: Encoding
    dtype: np.dtype
    as_csr: bool
    weight_unit: float
    intercept: bool
    limits: Limits

    def make_shelf(
        self,
        groups: dict[int, list[Piece]],
        checked: dict[int, CheckedPartition],
        fingerprints: dict[int, Fingerprint],
    ) -> Shelf:
        """Return a shelf of groups of pieces of partitions.

        ValueError if a partition that was read again is not what it was.
        """
        for number, before in fingerprints.items():
            _check_unchanged(number, before, checked[number].facts.fingerprint)
        shelved = {at: self._rows(pieces, checked) for at, pieces in groups.items()}
        return shelf_here(shelved, self.limits)

    def _rows(self, pieces: list[Piece], checked: dict[int, CheckedPartition]) -> Any:
        """Return the rows of pieces that have weight, in the user's units."""
        X = stacked([self._features(checked[at].X, rows) for at, rows in pieces])
        answers = _joined([checked[at].answers.take_rows(rows) for at, rows in pieces])
        offset = self._offset(pieces, checked)
        terms = (*self.encoding.targets(answers.in_weight_unit(self.weight_unit)), offset)
        raw = Coordinates.raw(X.shape[1], self.intercept)
        rows = single_pass_rows(X, terms, raw, Threads(1), self.weight_unit)
        rows = rows.replaced(single_pass=False)
        return rows if len(rows.places) == rows.n else rows.take_rows(rows.places)

    def _offset(self, pieces: list[Piece], checked: dict[int, CheckedPartition]) -> Any:
        """Return the checked offset of pieces, (n, K), or None."""
        offsets: Any = []
        for at, rows in pieces:
            with noting_partition(at):
                part = checked[at]
                offset = self.encoding.offset_columns(part.offset, part.X.shape[0])
            offsets.append(None if offset is None else offset[rows])
        return None if offsets[0] is None else np.concatenate(offsets)

    def _features(self, X: Any, rows: slice) -> Any:
        """Return some rows of a partition, without a copy of them where they need none.

        Row after row: arrays are sent to other workers so, and bits depend on the order.
        """
        if not self.as_csr:
            return np.ascontiguousarray(X[rows], dtype=self.dtype)
        return csr_rows(sparse.csr_array(X), rows).astype(self.dtype, copy=False)


def _check_unchanged(number: int, before: Fingerprint, now: Fingerprint) -> None:
    changed = [name for name, value in now.items() if value != before[name]]
    if changed:
        raise ValueError(
            f"partition {number} was lost with its worker, and has other values in "
            f"{' and '.join(changed)} now that Dask has made it again: give what is drawn at "
            "random a seed, and leave files as they are during a fit."
        )


def _joined(answers: list[Answers]) -> Answers:
    """Return the answers of several partitions as those of all their rows."""
    weights: Any = [each.weight for each in answers]
    weight = None if weights[0] is None else np.concatenate(weights)
    return Answers(stacked([each.y for each in answers]), weight)


# ---- On the client ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClusterSample:
    """The rows of a fit on the workers, checked and ready to be encoded, as `Sample` is.

    Attributes
    ----------
    data : the X of the user
    placed : PlacedPartitions, those checked that have rows
    facts : dict from the number of a partition to its Facts
    features : dict, the fitted attributes that describe the columns
    weight_unit : float, a power of two
    encoding : Encoding
    """

    data: Any
    placed: PlacedPartitions
    facts: dict[int, Facts]
    features: dict[str, Any]
    weight_unit: float
    encoding: Encoding

    @classmethod
    @contextmanager
    def opened(
        cls, client: Any, reader: PartitionReader, X: Any, y: Any, weight: Any, offset: Any
    ) -> Iterator[ClusterSample]:
        """Yield the sample of Dask collections; nothing of it stays on the workers."""
        parts = partitions(X, y, weight, offset)
        futures = client.compute(_delayed_checks(reader, parts))
        placed = PlacedPartitions(client, dict(enumerate(futures)))
        try:
            placed.wait(noting_partition)
            of_all = placed.map_lists(facts_of)
            facts = {number: each for number, each in of_all.items() if each is not None}
            if not facts:
                raise ValueError(f"X has no rows: all {len(of_all)} partitions are empty.")
            first, placed = next(iter(facts.values())), placed.take(list(facts))
            for number, each in facts.items():
                with noting_partition(number):
                    _check_same_columns(first, each)
            tallies = placed.map_lists(tallies_of, first.encoder, first.weight_unit)
            encoding = first.encoder.encoding_from_tally(_total(tallies))
            yield cls(X, placed, facts, first.features, first.weight_unit, encoding)
        finally:
            placed.release_all()

    def rows(self, intercept: bool, threads: Threads) -> ClusterRows:
        """Return the rows, in the user's units."""
        facts = self.facts.values()
        nonzeros = sum(each.n_nonzero for each in facts)
        size = sum(each.n_values for each in facts)
        maker = ShelfMaker(
            encoding=self.encoding,
            dtype=np.result_type(*{each.dtype for each in facts}),
            as_csr=any(each.is_csr for each in facts) or mostly_zeros(nonzeros, size),
            weight_unit=self.weight_unit,
            intercept=intercept,
            limits=threads.limits,
        )
        n_rows = {number: each.shape[0] for number, each in self.facts.items()}
        fingerprints = {number: each.fingerprint for number, each in self.facts.items()}
        shelves = self.placed.shelved(maker.make_shelf, n_rows, fingerprints)
        rows = ClusterRows.from_shelves(shelves, threads)
        self.placed.release()
        return rows


def _delayed_checks(reader: PartitionReader, parts: list[list[Any]]) -> list[Any]:
    from dask import delayed

    check = delayed(reader.check_partition, pure=False)
    return [check(number, *part) for number, part in enumerate(parts)]


def _check_same_columns(first: Facts, facts: Facts) -> None:
    """Raise a ValueError if a partition has other columns than the first with rows."""
    check_headers(first.headers, facts.headers, "partition")
    width, expected = facts.shape[1], first.shape[1]
    if width != expected:
        raise ValueError(f"X has {width} columns, and {expected} in the first partition.")


def _total(tallies: dict[int, Any]) -> Any:
    """Return the sum of the partitions' tallies, in their order."""
    (_, total), *others = tallies.items()
    for number, tally in others:
        with noting_partition(number):
            total = total + tally
    return total
