"""Cross-validation: its folds, the scores of rows by fits without them, and the C these choose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from softreg._encoding import validation
from softreg._encoding.answers import Answers
from softreg._encoding.class_values import distinct_with_codes, has_columns, label_column
from softreg._selection.leave_one_out import leave_one_out_with_refits
from softreg._selection.path import PathPoint
from softreg._selection.refits import Fold, FoldRefits
from softreg._selection.scorers import Scorer
from softreg._selection.scoring import (
    Classifier,
    LogLoss,
    Scored,
    is_log_loss,
    quotient,
    stacked,
    weighted_mean,
)


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
            f"cv={validation.shown(cv)}: fold {number} holds {indices.tolist()}, which are not "
            f"indices of the {n} rows of X."
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


def fold_scores(
    refits: list[FoldRefits], scorer: Scorer, path_point: PathPoint, classifier: Classifier
) -> Scored:
    """Return the score of each fold by the fit that leaves it out, of weight 1 if it is known.

    (folds,), or (folds, L) where labels have a score each. `classifier` is the fit to all rows at
    that point of the path; scorers see the fits without the folds.
    """
    scored = []
    for group in refits:
        for fold, fit in zip(group.folds, group.held_out_fits(path_point), strict=True):
            W, b = path_point.objective.coefficients(fit.T)
            attributes = {"coef_": np.ascontiguousarray(W.T), "intercept_": b}
            model = classifier._with_attributes(attributes | {"n_iter_": np.array([fit.n_iter])})
            scored.append(scorer.fold_score(model, fold.test, model._as_decisions(fit.scores)))
    return stacked(scored)


def row_scores(scorer: LogLoss, path_point: PathPoint, classifier: Classifier) -> Scored:
    """Return the score of each row by the fit that leaves it out, approximately, (n,) or (n, L).

    NaN where there is no optimum, from which such a fit would be a step away.
    """
    objective, T, metric = path_point.objective, path_point.T, path_point.metric
    left_out = leave_one_out_with_refits(objective, T, metric)
    scores = classifier._as_decisions(left_out.scores)
    scored = scorer.row_scores(np.arange(len(scores)), scores)
    if not path_point.result.diverging:
        return scored
    values = scored.values.copy()
    values[..., list(path_point.result.diverging) if values.ndim > 1 else slice(None)] = np.nan
    return Scored(values, scored.weights, f"there is no optimum at C={path_point.C:g}")


def check_finite(scoring: Any, C: float, scored: Scored) -> None:
    """Raise a ValueError if a score at C that has a weight is infinite."""
    wrong = np.isinf(scored.values) & (scored.weights > 0)
    if wrong.any():
        fold, *label = (int(index) for index in np.argwhere(wrong)[0])
        of_label = f", label {label[0]}" if label else ""
        raise ValueError(
            f"scoring={validation.shown(scoring)} returned {scored.values[fold, *label]} for fold "
            f"{fold}{of_label}, at C={C:g}. Choose a scorer whose scores are finite, such as "
            '"neg_log_loss".'
        )


def missing_scores_warning(scoring: Any, scored: Scored, indifferent: Any) -> str:
    """Return what to warn of where some scores (count, n_Cs, ...) do not exist, else "".

    ValueError if none exists to choose a C by, unless any C will do: `indifferent`, a bool or, for
    labels, (L,), says where.
    """
    missing = np.isnan(scored.values) & (scored.weights > 0)
    if not missing.any():
        return ""
    without = missing.any(axis=(0, 1)) & np.isnan(scored.values).all(axis=(0, 1))
    undecided = without & np.logical_not(indifferent)
    if undecided.any():
        of_labels = f" of label {np.argmax(undecided)}" if undecided.ndim else ""
        raise ValueError(
            f"scoring={validation.shown(scoring)} returned NaN for every fold{of_labels}, at "
            f"every C ({scored.reason}). Choose a scorer whose scores exist, such as "
            '"neg_log_loss", or folds on which it is defined, such as stratified ones or fewer.'
        )
    folds = np.unique(np.argwhere(missing)[:, 0])
    return (
        f"scoring={validation.shown(scoring)} has no score for {len(folds)} of {len(missing)} "
        f"folds, fold {folds[0]} first ({scored.reason}). C is chosen by the other scores; these "
        "are NaN in scores_."
    )


def summary(scored: Scored) -> tuple[NDArray, NDArray]:
    """Return the weighted mean of scores (count, ...) over the first axis, and its standard error.

    Scores that do not exist are left out; the error is NaN where fewer than two have weight.
    """
    scores = scored.values
    weights = np.where(np.isnan(scores), 0, scored.weights)
    mean = weighted_mean(scores, weights)
    variance = weighted_mean(np.square(scores - mean), weights)
    return mean, np.sqrt(quotient(variance, np.count_nonzero(weights, axis=0) - 1))


def best_index(mean: NDArray) -> NDArray[np.intp]:
    """Return the index of the best mean score, (n_Cs,) or (n_Cs, L): of equals the first."""
    return np.argmax(np.where(np.isnan(mean), -np.inf, mean), axis=0)


def one_standard_error_index(mean: NDArray, error: NDArray) -> NDArray[np.intp]:
    """Return the first index whose mean score is within the best one's standard error of it.

    Where that error is not known (NaN), this is the best index.
    """
    best = np.expand_dims(best_index(mean), 0)
    least = np.take_along_axis(mean - np.nan_to_num(error), best, 0)
    return np.argmax(mean >= least, axis=0)
