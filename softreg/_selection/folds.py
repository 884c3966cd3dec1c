"""Folds: which rows fits leave out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from softreg._encoding import validation
from softreg._encoding.answers import Answers
from softreg._encoding.class_values import distinct_with_codes, has_columns, label_column
from softreg._selection.refits import Fold
from softreg._selection.scoring.scores import is_log_loss


def leaves_one_out(cv: Any, scoring: Any) -> bool:
    """Return whether `cv` leaves out each row; ValueError if `scoring` then does not score rows."""
    if not (isinstance(cv, str) and cv == "loo"):
        return False
    if not is_log_loss(scoring):
        raise ValueError(
            f'scoring={validation.shown(scoring)} does not go with cv="loo", which scores each '
            'row, by "neg_log_loss" only; choose scoring="neg_log_loss", or folds such as cv=10.'
        )
    return True


def splits_of(cv: Any, X: Any, y: Any, metadata: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return the pairs (train, test) of `cv`: an integer, a splitter or an iterable of such.

    Splitters of scikit-learn get classes as numbers, since they do not take all kinds.
    """
    stratified, splits = not has_columns(y), []
    codes = distinct_with_codes(label_column(y))[1] if stratified else None
    others = {name: values for name, values in metadata.items() if name != "groups"}
    try:
        splitter = check_cv(cv, codes, classifier=stratified)
        takes_numbers = stratified and type(splitter).__module__.startswith("sklearn.")
        of_rows = codes if takes_numbers else y
        for train, test in splitter.split(X, of_rows, metadata.get("groups"), **others):
            splits.append((train, test))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv={validation.shown(cv)} gives no fold {len(splits)} of these rows ({error}). It "
            'must be an integer >= 2, "loo", a splitter of sklearn.model_selection that takes '
            "such X, y and groups, or an iterable of pairs (train, test) of indices."
        ) from error
    if not splits:
        raise ValueError(f"cv={validation.shown(cv)} has no folds; it must have one or more.")
    return splits


def _indices(cv: Any, number: int, rows: Any, n: int) -> NDArray[np.intp]:
    """Return the indices (m,) of a fold's train or test rows, which may be given as a mask (n,)."""
    indices = np.asarray(rows)
    if indices.dtype == bool and indices.shape == (n,):
        indices = np.flatnonzero(indices)
    is_list = indices.ndim == 1 and (indices.dtype.kind in "iu" or not indices.size)
    if not is_list or (indices.size and not -n <= indices.min() <= indices.max() < n):
        raise ValueError(
            f"cv={validation.shown(cv)}: fold {number} holds {validation.shown(indices)}, which "
            f"are not indices of the {n} rows of X."
        )
    return indices.astype(np.intp) % n


def folds_of(cv: Any, X: Any, y: Any, answers: Answers, metadata: dict[str, Any]) -> list[Fold]:
    """Return the folds of the rows of X and y, `answers` being what y holds.

    `metadata` are the values of rows, by name, that the splitter asks for. ValueError if either
    part of a fold is empty or weighs nothing, or if they overlap.
    """
    n, weight = answers.y.shape[0], answers.weight
    validation.check_groups(metadata.get("groups"), n)
    has_weight = (np.ones(n) if weight is None else weight.reshape(n, -1).sum(axis=1)) > 0
    folds = []
    for number, split in enumerate(splits_of(cv, X, y, metadata)):
        train, test = (_indices(cv, number, rows, n) for rows in split)
        for part, rows in (("train", train), ("test", test)):
            if not rows.size:
                raise ValueError(
                    f"cv={validation.shown(cv)} leaves no rows in the {part} part of fold "
                    f"{number}; each fold needs some of both."
                )
        counts = np.bincount(train, minlength=n)
        overlap = test[counts[test] > 0]
        if overlap.size:
            raise ValueError(
                f"cv={validation.shown(cv)}: fold {number} holds out {overlap.size} rows that it "
                f"also learns from, such as row {overlap[0]}; take each row for one of the two."
            )
        if not (has_weight[train].any() and has_weight[test].any()):
            raise ValueError(
                f"sample_weight is zero for all rows that fold {number} learns from, or for all "
                "that it holds out; leave such rows out of X, or choose another cv."
            )
        folds.append(Fold(counts > 0 if counts.max() <= 1 else counts, test))
    return folds
