"""Folds: which rows each fit of a cross-validation learns from, and which are held out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from softreg._encoding import validation
from softreg._encoding.answers import has_columns
from softreg._selection.refits import Fold
from softreg._selection.scoring import is_log_loss

_LEAVE_ONE_OUT = "loo"


def leaves_one_out(cv: Any, scoring: Any) -> bool:
    """Return whether `cv` leaves out each row; ValueError if `scoring` then does not score rows."""
    if not (isinstance(cv, str) and cv == _LEAVE_ONE_OUT):
        return False
    if not is_log_loss(scoring):
        raise ValueError(
            f'scoring={scoring!r} does not go with cv="loo", which scores each row, by '
            '"neg_log_loss" only; choose scoring="neg_log_loss", or folds such as cv=10.'
        )
    return True


def folds_of(cv: Any, X: Any, y: Any, groups: Any, n: int) -> list[Fold]:
    """Return the folds of n rows by `cv`, an integer, splitter or iterable of (train, test)."""
    stratified = not has_columns(y)
    try:
        splitter = check_cv(cv, y if stratified else None, classifier=stratified)
    except ValueError as error:
        raise ValueError(
            f'cv={cv!r} must be an integer >= 2, "loo", a splitter of sklearn.model_selection, or '
            "an iterable of (train, test) indices."
        ) from error
    pairs = _pairs(cv, splitter, X, y, validation.check_groups(groups, n))
    if not pairs:
        raise ValueError(f"cv={cv!r} has no folds; it must have one or more.")
    return [_checked_fold(cv, number, pair, n) for number, pair in enumerate(pairs)]


def _pairs(cv: Any, splitter: Any, X: Any, y: Any, groups: Any) -> list[tuple[Any, Any]]:
    """Return the pairs (train, test) that a splitter splits the rows of X and y into."""
    pairs = []
    try:
        for train, test in splitter.split(X, y, groups):
            pairs.append((train, test))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv={cv!r} gives no fold {len(pairs)} of these rows ({error}). Each fold is a pair "
            "(train, test) of indices; choose a splitter that takes such X, y and groups, or an "
            "integer."
        ) from error
    return pairs


def _checked_fold(cv: Any, number: int, pair: tuple[Any, Any], n: int) -> Fold:
    """Return the fold of a pair (train, test); ValueError if either is empty or they overlap."""
    train, test = (_indices(cv, number, rows, n) for rows in pair)
    counts = np.bincount(train, minlength=n)
    for part, rows in (("train", train), ("test", test)):
        if not rows.size:
            raise ValueError(
                f"cv={cv!r} leaves no rows in the {part} part of fold {number}; each fold needs "
                "some of both."
            )
    overlap = test[counts[test] > 0]
    if overlap.size:
        raise ValueError(
            f"cv={cv!r}: fold {number} holds out {overlap.size} rows that it also learns from, "
            f"such as row {overlap[0]}; take each row for one of the two."
        )
    return Fold(counts > 0 if counts.max() <= 1 else counts, test)


def _indices(cv: Any, number: int, rows: Any, n: int) -> NDArray[np.intp]:
    """Return the indices (m,) of rows, which may be given as a mask (n,)."""
    indices = np.asarray(rows)
    if indices.dtype == bool and indices.shape == (n,):
        indices = np.flatnonzero(indices)
    is_list = indices.ndim == 1 and (indices.dtype.kind in "iu" or not indices.size)
    if not is_list or (indices.size and not -n <= indices.min() <= indices.max() < n):
        raise ValueError(
            f"cv={cv!r}: fold {number} holds {indices!r}, which are not indices of the {n} rows of "
            "X."
        )
    return indices.astype(np.intp) % n


def check_weights(folds: list[Fold], weight: NDArray | None) -> None:
    """Raise a ValueError if all rows that a fold learns from, or holds out, have weight zero."""
    if weight is None:
        return
    rows = weight if weight.ndim == 1 else weight.sum(axis=1)
    for number, fold in enumerate(folds):
        if not (rows[fold.test].any() and (rows * fold.train).any()):
            raise ValueError(
                f"sample_weight is zero for all rows that fold {number} learns from, or for all "
                "that it holds out; leave such rows out of X, or choose another cv."
            )
