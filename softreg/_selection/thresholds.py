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

from softreg._encoding import validation as checks
from softreg._encoding.answers import Answers, has_columns
from softreg._encoding.classes import ClassEncoder
from softreg._encoding.labels import CONSTANT_LABELS

# What must be predicted anew for every cut between scores is tried at so many of them, evenly
# spread, as in scikit-learn's TunedThresholdClassifierCV.
_CANDIDATES = 100
# One class's cut is chosen after another's, over and over, until none moves.
_MOST_ROUNDS = 10
# Scores beyond this have thresholds that are next to 0 or 1 in double precision.
_FARTHEST = 36.0


class HeldOut(NamedTuple):
    """Rows, and their scores by models that were fitted without them."""

    rows: NDArray
    scores: NDArray


class Criterion(ABC):
    """What predictions are worth: the larger, the better."""

    @abstractmethod
    def of_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        """Return the worth of predicting yes above each of some cuts, where `true` is 0 or 1."""

    @abstractmethod
    def of_classes(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        """Return the worth of predictions among classes that are numbered from 0."""


@dataclass(frozen=True, eq=False)
class Counted(Criterion):
    """A function of the weights (K, K, ...) of rows by true and predicted class."""

    worth: Callable[[NDArray], NDArray]
    n_classes: int

    def of_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        order = np.argsort(scores)
        below = np.searchsorted(scores[order], cuts, side="right")
        by_truth = np.stack([1 - true, true]) * weight
        sums = np.pad(np.cumsum(by_truth[:, order], axis=1), ((0, 0), (1, 0)))
        return self.worth(np.stack([sums[:, below], sums[:, -1:] - sums[:, below]], axis=1))

    def of_classes(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        K = self.n_classes
        return float(self.worth(np.bincount(K * true + predicted, weight, K * K).reshape(K, K)))


@dataclass(frozen=True, eq=False)
class Called(Criterion):
    """A user's function of true and predicted values, and of weights if there are any."""

    function: Callable[..., float]
    classes: NDArray | None
    weighted: bool

    def of_cuts(self, true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
        worth = np.full(len(cuts), -np.inf)
        for place in _spread(len(cuts)):
            worth[place] = self.of_classes(true, (scores > cuts[place]).astype(int), weight)
        return worth

    def of_classes(self, true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        if self.classes is not None:
            true, predicted = self.classes[true], self.classes[predicted]
        weights = {"sample_weight": weight} if self.weighted else {}
        return float(self.function(true, predicted, **weights))


def tuned(
    estimator: Any, X: Any, y: Any, metric: Any, cv: Any, sample_weight: Any
) -> NDArray[np.float64]:
    """Return the thresholds of `estimator`, one for each row of its coefficients."""
    X, y = indexable(X, y)
    classes, codes = None, None
    if not has_columns(y):
        labels, encoder = column_or_1d(y), ClassEncoder(estimator.classes, None, 0.0)
        code = encoder.encoding_from_tally(encoder.tally(Answers(labels, None)))
        classes, codes = code.classes, code.codes(labels)
    criterion = _criterion(metric, classes, sample_weight is not None)
    held = _held_out(estimator, X, y, classes, cv, sample_weight)
    if codes is None:
        cuts = _cuts_of_labels(criterion, held, checks.check_answers(y, X), sample_weight)
    else:
        cuts = _cuts_of_classes(criterion, held, codes, sample_weight)
    return expit(np.clip(cuts, -_FARTHEST, _FARTHEST))


def _held_out(
    estimator: Any, X: Any, y: Any, classes: NDArray | None, cv: Any, sample_weight: Any
) -> HeldOut:
    rows, scores = [], []
    for train, test in check_cv(cv, y, classifier=classes is not None).split(X, y):
        own = None if sample_weight is None else _safe_indexing(sample_weight, train)
        with warnings.catch_warnings():  # a label that is constant in a fold is left out there
            warnings.filterwarnings("ignore", CONSTANT_LABELS, UserWarning)
            model = clone(estimator).fit(_safe_indexing(X, train), _safe_indexing(y, train), own)
        rows.append(test)
        scores.append(model.decision_function(_safe_indexing(X, test)))
        if model.multilabel_:
            scores[-1][:, (model.coef_ == 0).all(axis=1)] = np.nan
        if classes is not None and len(model.classes_) < len(classes):
            raise ValueError(
                f"cv={cv!r} has a fold without some of the classes of y; take folds that are "
                "stratified, or fewer of them."
            )
    return HeldOut(np.concatenate(rows), np.concatenate(scores).astype(float))


def _cuts_of_labels(
    criterion: Criterion, held: HeldOut, answers: Any, sample_weight: Any
) -> NDArray:
    """Return each label's cut, (L,)."""
    n, L = answers.shape
    weight, by_label = checks.check_weight(sample_weight, n, L), sparse.csc_array(answers)
    cuts = np.zeros(L)
    for label, scores in enumerate(held.scores.T):
        true = by_label[:, [label]].toarray()[held.rows, 0]
        known = ~(np.isnan(true) | np.isnan(scores))
        own = _ones_or(weight, n, label)[held.rows]
        cuts[label] = _best_cut(criterion, true[known], scores[known], own[known])
    return cuts


def _cuts_of_classes(
    criterion: Criterion, held: HeldOut, codes: NDArray, sample_weight: Any
) -> NDArray:
    """Return the cut of the second of two classes, (1,), or those of all classes, (K,)."""
    true, n = codes[held.rows], len(codes)
    own = _ones_or(checks.check_weight(sample_weight, n), n)[held.rows]
    if held.scores.ndim == 1:
        return np.array([_best_cut(criterion, true, held.scores, own)])
    return _best_cuts(criterion, true, held.scores, own)


def _criterion(metric: Any, classes: NDArray | None, weighted: bool) -> Criterion:
    """Return what a metric means for labels (`classes` None) or for classes."""
    n_classes = 2 if classes is None else len(classes)
    if callable(metric):
        return Called(metric, classes, weighted)
    if isinstance(metric, str) and metric == "f1":
        return Counted(_f1_of_yes if n_classes == 2 else _mean_f1, n_classes)
    if metric is None or isinstance(metric, str):
        raise ValueError(f'metric={metric!r} must be "f1", a callable or an array of costs.')
    costs = check_array(metric, dtype=np.float64, input_name="metric")
    if costs.shape != (n_classes, n_classes):
        raise ValueError(
            f"metric has shape {costs.shape}; costs are ({n_classes}, {n_classes}), by true and "
            "predicted class (no and yes, for a label)."
        )
    return Counted(lambda counts: -np.einsum("tp,tp...->...", costs, counts), n_classes)


def _f1(counts: NDArray) -> NDArray:
    """Return the F1 score of each class, (K, ...)."""
    right = np.einsum("kk...->k...", counts)
    among = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2 * right, among, out=np.zeros_like(right), where=among > 0)


def _f1_of_yes(counts: NDArray) -> NDArray:
    return _f1(counts)[1]


def _mean_f1(counts: NDArray) -> NDArray:
    return _f1(counts).mean(axis=0)


def _ones_or(weight: NDArray | None, n: int, label: int = 0) -> NDArray:
    """Return the rows' weights for a label, (n,)."""
    if weight is None:
        return np.ones(n)
    return weight if weight.ndim == 1 else weight[:, label]


def _between(scores: NDArray) -> NDArray:
    """Return the cuts that part the scores in every way, and zero, sorted."""
    s = np.unique(np.append(scores, 0.0))
    ends = s[[0, -1]] + [-1, 1]
    return np.sort(np.concatenate([ends, (s[1:] + s[:-1]) / 2, [0.0]]))


def _spread(count: int) -> NDArray[np.intp]:
    """Return places among `count`, no more than are tried one by one."""
    return np.unique(np.linspace(0, count - 1, min(count, _CANDIDATES)).astype(int))


def _best_cut(criterion: Criterion, true: NDArray, scores: NDArray, weight: NDArray) -> float:
    """Return the cut with the best predictions; of several, that nearest to zero."""
    cuts = _between(scores)
    worth = criterion.of_cuts(true, scores, weight, cuts)
    if np.isnan(worth).any():
        raise ValueError("metric returned NaN for held-out predictions; it must return numbers.")
    best = cuts[worth == worth.max()]
    return float(best[np.abs(best).argmin()])


def _best_cuts(criterion: Criterion, true: NDArray, scores: NDArray, weight: NDArray) -> NDArray:
    """Return cuts (K,) under which the class with the largest excess is a good prediction.

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
    """Return by how much to move the cut of class k; zero unless that is better."""
    others = excess.copy()
    others[:, k] = -np.inf
    second, lead = others.argmax(axis=1), excess[:, k] - others.max(axis=1)

    def worth(cut: float) -> float:
        return criterion.of_classes(true, np.where(lead > cut, k, second), weight)

    tried = _between(lead)
    tried = tried[_spread(len(tried))]
    values = np.array([worth(cut) for cut in tried])
    return float(tried[values.argmax()]) if values.max() > worth(0.0) else 0.0
