"""Thresholds of scores, chosen on held-out predictions."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_array, column_or_1d, indexable

from softreg._encoding import validation
from softreg._encoding.answers import Answers, has_columns
from softreg._encoding.classes import ClassEncoder
from softreg._encoding.labels import CONSTANT_LABELS
from softreg._selection.scoring import call_with_weight

# What must be predicted anew for every cut between scores is tried at so many of them, evenly
# spread, as in scikit-learn's TunedThresholdClassifierCV.
_CANDIDATES = 100
# One class's cut is chosen after another's, over and over, until none moves.
_MOST_ROUNDS = 10
# Scores beyond this have thresholds that are next to 0 or 1 in double precision.
_LARGEST_CUT = 36.0


class HeldOutRows(NamedTuple):
    """The indices (m,) of held-out rows, and their scores (m,) or (m, K) by fits without them."""

    rows: NDArray
    scores: NDArray


class Criterion(ABC):
    """A value of predictions: the larger, the better."""

    @abstractmethod
    def at_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        """Return the values (c,) of predicting yes for scores above each of the cuts (c,).

        `true` is 0 or 1, and `true`, `scores` and `weight` are (m,).
        """

    @abstractmethod
    def of_predictions(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        """Return the value of predictions (m,) among classes that are numbered from 0."""


@dataclass(frozen=True, eq=False)
class ConfusionCriterion(Criterion):
    """A function of the confusion matrix.

    Attributes
    ----------
    function : callable, from the weights (K, K, ...) of rows by true and predicted class to (...)
    n_classes : int, K
    """

    function: Callable[[NDArray], NDArray]
    n_classes: int

    def at_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        order = np.argsort(scores)
        below = np.searchsorted(scores[order], cuts, side="right")
        by_truth = np.stack([1 - true, true]) * weight
        sums = np.pad(np.cumsum(by_truth[:, order], axis=1), ((0, 0), (1, 0)))
        confusion = np.stack([sums[:, below], sums[:, -1:] - sums[:, below]], axis=1)
        return self.function(confusion)

    def of_predictions(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        K = self.n_classes
        confusion = np.bincount(K * true + predicted, weight, K * K).reshape(K, K)
        return float(self.function(confusion))


@dataclass(frozen=True, eq=False)
class MetricCriterion(Criterion):
    """A user's metric of true and predicted values.

    Attributes
    ----------
    metric : callable (y_true, y_pred), or with sample_weight
    classes : ndarray (K,), what classes are called; None for a label's 0 and 1
    has_weights : bool, whether the metric gets sample_weight
    """

    metric: Callable[..., float]
    classes: NDArray | None
    has_weights: bool

    def at_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        values = np.full(len(cuts), -np.inf)
        for index in _spread_indices(len(cuts)):
            predicted = (scores > cuts[index]).astype(int)
            values[index] = self.of_predictions(true, predicted, weight)
        return values

    def of_predictions(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        if self.classes is not None:
            true, predicted = self.classes[true], self.classes[predicted]
        return call_with_weight(
            self.metric, true, predicted, weight=weight if self.has_weights else None
        )


def tuned_thresholds(
    estimator: Any, X: Any, y: Any, metric: Any, cv: Any, sample_weight: Any
) -> NDArray[np.float64]:
    """Return the thresholds of `estimator`, one for each row of its coefficients."""
    X, y = indexable(X, y)
    classes, codes = None, None
    if not has_columns(y):
        labels, encoder = column_or_1d(y), ClassEncoder(estimator.classes, None, 0.0)
        encoding = encoder.encoding_from_tally(encoder.tally(Answers(labels, None)))
        classes, codes = encoding.classes, encoding.codes(labels)
    criterion = _criterion(metric, classes, sample_weight is not None)
    held_out = _held_out_rows(estimator, X, y, classes, cv, sample_weight)
    if codes is None:
        cuts = _cuts_of_labels(criterion, held_out, validation.check_answers(y, X), sample_weight)
    else:
        cuts = _cuts_of_classes(criterion, held_out, codes, sample_weight)
    return expit(np.clip(cuts, -_LARGEST_CUT, _LARGEST_CUT))


def _held_out_rows(
    estimator: Any, X: Any, y: Any, classes: NDArray | None, cv: Any, sample_weight: Any
) -> HeldOutRows:
    """Return all folds' rows, with their scores by clones of the estimator fitted without them.

    Scores are NaN for labels that are constant in the rows that a clone is fitted to.
    """
    rows, scores = [], []
    for train, test in check_cv(cv, y, classifier=classes is not None).split(X, y):
        weight = None if sample_weight is None else _safe_indexing(sample_weight, train)
        with warnings.catch_warnings():  # a label that is constant in a fold is left out there
            warnings.filterwarnings("ignore", CONSTANT_LABELS, UserWarning)
            train_X, train_y = _safe_indexing(X, train), _safe_indexing(y, train)
            model = clone(estimator).fit(train_X, train_y, weight)
        rows.append(test)
        scores.append(model.decision_function(_safe_indexing(X, test)))
        if model.multilabel_:
            scores[-1][:, (model.coef_ == 0).all(axis=1)] = np.nan
        if classes is not None and len(model.classes_) < len(classes):
            raise ValueError(
                f"cv={cv!r} has a fold without some of the classes of y; take folds that are "
                "stratified, or fewer of them."
            )
    return HeldOutRows(np.concatenate(rows), np.concatenate(scores).astype(float))


def _cuts_of_labels(
    criterion: Criterion, held_out: HeldOutRows, answers: Any, sample_weight: Any
) -> NDArray:
    """Return each label's cut, (L,), given all rows' answers, CSR (n, L)."""
    n, L = answers.shape
    weight, by_label = (
        validation.check_sample_weight(sample_weight, n, L),
        sparse.csc_array(answers),
    )
    cuts = np.zeros(L)
    for label, scores in enumerate(held_out.scores.T):
        true = by_label[:, [label]].toarray()[held_out.rows, 0]
        known = ~(np.isnan(true) | np.isnan(scores))
        label_weight = _label_weight(weight, n, label)[held_out.rows]
        cuts[label] = _best_cut(criterion, true[known], scores[known], label_weight[known])
    return cuts


def _cuts_of_classes(
    criterion: Criterion, held_out: HeldOutRows, codes: NDArray, sample_weight: Any
) -> NDArray:
    """Return the cut of the second of two classes, (1,), or those of all classes, (K,).

    `codes` (n,) are the numbers of all rows' classes.
    """
    true, n = codes[held_out.rows], len(codes)
    weight = _label_weight(validation.check_sample_weight(sample_weight, n), n)[held_out.rows]
    if held_out.scores.ndim == 1:
        return np.array([_best_cut(criterion, true, held_out.scores, weight)])
    return _best_cuts(criterion, true, held_out.scores, weight)


def _criterion(metric: Any, classes: NDArray | None, has_weights: bool) -> Criterion:
    """Return the criterion that a metric is for labels (`classes` None) or for classes."""
    n_classes = 2 if classes is None else len(classes)
    if callable(metric):
        return MetricCriterion(metric, classes, has_weights)
    if isinstance(metric, str) and metric == "f1":
        return ConfusionCriterion(_f1_of_second if n_classes == 2 else _mean_f1, n_classes)
    if metric is None or isinstance(metric, str):
        raise ValueError(f'metric={metric!r} must be "f1", a callable or an array of costs.')
    costs = check_array(metric, dtype=np.float64, input_name="metric")
    if costs.shape != (n_classes, n_classes):
        raise ValueError(
            f"metric has shape {costs.shape}; costs are ({n_classes}, {n_classes}), by true and "
            "predicted class (no and yes, for a label)."
        )

    def minus_cost(confusion: NDArray) -> NDArray:
        return -np.einsum("tp,tp...->...", costs, confusion)

    return ConfusionCriterion(minus_cost, n_classes)


def _f1(confusion: NDArray) -> NDArray:
    """Return the F1 score of each class, (K, ...), 0 for classes neither true nor predicted."""
    right = np.einsum("kk...->k...", confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)


def _f1_of_second(confusion: NDArray) -> NDArray:
    return _f1(confusion)[1]


def _mean_f1(confusion: NDArray) -> NDArray:
    return _f1(confusion).mean(axis=0)


def _label_weight(weight: NDArray | None, n: int, label: int = 0) -> NDArray:
    """Return the rows' weights for a label, (n,), given them as (n,), (n, L) or None (all one)."""
    if weight is None:
        return np.ones(n)
    return weight if weight.ndim == 1 else weight[:, label]


def _cuts_between(scores: NDArray) -> NDArray:
    """Return cuts, sorted: one between any two neighbouring scores, one at either end, and zero."""
    s = np.unique(np.append(scores, 0.0))
    ends = s[[0, -1]] + [-1, 1]
    return np.sort(np.concatenate([ends, (s[1:] + s[:-1]) / 2, [0.0]]))


def _spread_indices(count: int) -> NDArray[np.intp]:
    """Return indices below `count`, evenly spread, at most `_CANDIDATES` of them."""
    return np.unique(np.linspace(0, count - 1, min(count, _CANDIDATES)).astype(int))


def _best_cut(criterion: Criterion, true: NDArray, scores: NDArray, weight: NDArray) -> float:
    """Return the cut with the best predictions; of several, that nearest to zero."""
    cuts = _cuts_between(scores)
    values = criterion.at_cuts(true, scores, weight, cuts)
    if np.isnan(values).any():
        raise ValueError("metric returned NaN for held-out predictions; it must return numbers.")
    best = cuts[values == values.max()]
    return float(best[np.abs(best).argmin()])


def _best_cuts(criterion: Criterion, true: NDArray, scores: NDArray, weight: NDArray) -> NDArray:
    """Return cuts (K,), the class with the largest score minus cut being predicted.

    One cut is chosen at a time, so that the best of all may be missed.
    """
    cuts = np.zeros(scores.shape[1])
    for _ in range(_MOST_ROUNDS):
        before = cuts.copy()
        for k in range(len(cuts)):
            cuts[k] = _better_cut(criterion, true, scores - cuts, k, weight) + cuts[k]
        if (cuts == before).all():
            break
    return cuts


def _better_cut(
    criterion: Criterion, true: NDArray, excess: NDArray, k: int, weight: NDArray
) -> float:
    """Return by how much to move the cut of class k, given scores minus cuts (m, K).

    Zero unless a move is better.
    """
    others = excess.copy()
    others[:, k] = -np.inf
    second, lead = others.argmax(axis=1), excess[:, k] - others.max(axis=1)

    def value(move: float) -> float:
        return criterion.of_predictions(true, np.where(lead > move, k, second), weight)

    moves = _cuts_between(lead)
    moves = moves[_spread_indices(len(moves))]
    values = np.array([value(move) for move in moves])
    return float(moves[values.argmax()]) if values.max() > value(0.0) else 0.0
