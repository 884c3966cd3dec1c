"""Thresholds: above which probability labels and classes are predicted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils import check_array

from softreg import SigmoidRegression, SigmoidRegressionCV
from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, listed
from softreg._encoding.namespaces import unwrapped
from softreg._estimators.base import prediction_slices
from softreg._estimators.posing import read_sample
from softreg._selection.folds import splits_of

# What must be predicted anew for every cut between scores is tried at so many of them, evenly
# spread, as in scikit-learn's TunedThresholdClassifierCV.
_CANDIDATES = 100
# One class's cut is chosen after another's, over and over, until none moves.
_MOST_ROUNDS = 10
# A constant label has a smaller share of F: its intercept alone predicts it, to rounding.
_LEAST_SHARE = 1e-10
# Scores beyond this have thresholds that are next to 0 or 1 in double precision.
_LARGEST_CUT = 36.0


def tune_thresholds(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    metric: Any = "f1",
    *,
    cv: Any = None,
    sample_weight: ArrayLike | None = None,
) -> NDArray[np.float64]:
    r"""Return thresholds of probabilities that are best on held-out predictions.

    Clones of the estimator are fitted to all folds but one and score that one. Over the held-out
    scores z of all folds, the threshold of a label, or of the second of two classes, is

    .. math:: t = \mathrm{sigmoid}(c), \qquad c = \arg\max_c \; \mathrm{metric}(y, [z > c]) ,

    of 0 and all cuts c between scores ("f1", costs), or 0 and 100 of them (a callable): the one
    nearest to 0 where several are best. Of more than two classes, one a row, that of the largest
    :math:`z_k - c_k` is predicted, and one cut is chosen after another until none moves, so that
    the best combination may be missed. On the held-out scores none is worse than the thresholds
    1/2. The estimator stays as it is.

    Parameters
    ----------
    estimator : SigmoidRegression or SigmoidRegressionCV, fitted or not
        Its present `threshold` does not matter.
    X, y : as in its `fit`
    metric : "f1", callable or array-like, default="f1"
        What is to be best. "f1" is each label's F1 score (of more than two classes, one a row,
        their mean); ``metric(y_true, y_pred)``, the larger the better, is called with a label's 0
        and 1 of the rows where it is known, or with the classes; an array of costs,
        ``cost[true, predicted]``, is (2, 2) for each label, or (n_classes, n_classes) in the order
        of `classes_`.
    cv : int, splitter or iterable, default=None
        As in `sklearn.model_selection.cross_validate`; None is five folds. Rows count as often as
        they are held out.
    sample_weight : as in its `fit`, default=None
        Weights count in the fits and in the metric; a callable gets the held-out rows' as
        ``sample_weight=``.

    Returns
    -------
    thresholds : ndarray of shape (n_labels,), (n_classes,), or (1,) for two classes
        Between 0 and 1, one for each row of `coef_`: for the parameter `threshold`.

    Raises
    ------
    TypeError
        If the estimator does not predict from thresholds.
    ValueError
        If another argument is not as described, a fold lacks a class, or the metric returns NaN.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If a clone's optimum was not reached or does not exist.

    See Also
    --------
    sklearn.model_selection.TunedThresholdClassifierCV : One threshold, of two classes.

    References
    ----------
    Yang (2001), "A study of thresholding strategies for text categorization", Proceedings of SIGIR,
    137-145 (SCut: a threshold for each label, tuned on held-out scores).

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from softreg import SigmoidRegression
    >>> from softreg.calibration import tune_thresholds
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> model = SigmoidRegression()
    >>> model.set_params(threshold=tune_thresholds(model, X, Y)).fit(X, Y).predict(X).shape
    (100, 5)
    """
    wanted = "an estimator that has thresholds, SigmoidRegression or SigmoidRegressionCV of softreg"
    kinds = SigmoidRegression, SigmoidRegressionCV
    validation.check_estimator("tune_thresholds", wanted, estimator, *kinds)
    sample, _ = read_sample(estimator, X, y, sample_weight, None)
    classes = sample.encoding.classes if sample.answers.y.ndim == 1 else None
    criterion = _criterion(metric, classes, sample.answers.weight is not None)
    rows, scores = _held_out_scores(estimator, sample, X, y, cv)
    y_true, weight = sample.answers.take_rows(rows)
    weight = np.ones(len(rows)) if weight is None else weight
    true = y_true.tocsc() if classes is None else codes_in(classes, y_true)
    cuts_of = _cuts_of_labels if classes is None or len(classes) == 2 else _cuts_of_classes
    cuts = cuts_of(criterion, true, scores, weight)
    return expit(np.clip(cuts, -_LARGEST_CUT, _LARGEST_CUT))


@dataclass(frozen=True, eq=False)
class Criterion:
    """A value of predictions: the larger, the better.

    Attributes
    ----------
    value : callable, from true and predicted classes, numbered from 0, and weights, (m,) all, to a
        number
    of_confusion : callable, from weights (2, 2, c) by true and predicted class at c cuts to values
        (c,), or None; what is known of all cuts at once is tried at all of them
    """

    value: Callable[[NDArray, NDArray, NDArray], float]
    of_confusion: Callable[[NDArray], NDArray] | None = None

    def best_cut(
        self, true: NDArray, lead: NDArray, weight: NDArray, k: int = 1, others: Any = 0
    ) -> float:
        """Return the cut with the best predictions: class k where its lead exceeds it, else others.

        Arrays are (m,). Zero is always tried, and of several best cuts it is the nearest to zero.
        """
        cuts = _cuts_between(lead)
        if self.of_confusion is not None:
            values = self.of_confusion(_confusion_at_cuts(true, lead, weight, cuts))
        else:
            spread = np.linspace(0, len(cuts) - 1, min(len(cuts), _CANDIDATES)).astype(int)
            cuts = np.union1d(cuts[spread], 0.0)
            predictions = (np.where(lead > cut, k, others) for cut in cuts)
            values = np.array([self.value(true, predicted, weight) for predicted in predictions])
        best = cuts[values == values.max()]
        return float(best[np.abs(best).argmin()])


def _criterion(metric: Any, classes: NDArray | None, has_weights: bool) -> Criterion:
    """Return the criterion that a metric is for labels (`classes` None) or for classes (K,)."""
    K = 2 if classes is None else len(classes)

    def metric_value(true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        if classes is not None:
            true, predicted = classes[true], classes[predicted]
        weights = {"sample_weight": weight} if has_weights else {}
        value = float(metric(true, predicted, **weights))
        if np.isnan(value):
            raise ValueError(
                f"metric={validation.shown(metric)} returned NaN; it must return numbers."
            )
        return value

    def confusion_value(true: NDArray, predicted: NDArray, weight: NDArray) -> float:
        confusion = np.bincount(K * true + predicted, weight, K * K)
        return float(of_confusion(confusion.reshape(K, K)))

    if callable(metric):
        return Criterion(metric_value)
    of_confusion = _f1 if isinstance(metric, str) and metric == "f1" else _minus_cost(metric, K)
    return Criterion(confusion_value, of_confusion if K == 2 else None)


def _minus_cost(metric: Any, n_classes: int) -> Callable[[NDArray], NDArray]:
    """Return what is minus the cost of a confusion matrix, given the costs (K, K)."""
    if metric is None or isinstance(metric, str):
        raise ValueError(
            f'metric={validation.shown(metric)} must be "f1", a callable or an array of costs.'
        )
    costs = check_array(metric, dtype=np.float64, input_name="metric")
    meaning = ": costs by true and predicted class (no and yes, for a label)"
    validation.check_shape("metric", costs, n_classes, n_classes, meaning=meaning)
    return lambda confusion: -np.einsum("tp,tp...->...", costs, confusion)


def _f1(confusion: NDArray) -> NDArray:
    """Return the F1 score of the second of two classes, or the mean of all classes' (...).

    Classes that are neither true nor predicted have 0.
    """
    right = np.einsum("kk...->k...", confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
    return f1[1] if len(f1) == 2 else f1.mean(axis=0)


def _held_out_scores(
    estimator: Any, sample: Any, X: Any, y: Any, cv: Any
) -> tuple[NDArray, NDArray]:
    """Return the indices (m,) of the rows that folds hold out, and their scores (m,) or (m, K).

    Scores are by clones fitted to the other rows of the `Sample`, NaN for labels that are constant
    there. X and y are as the user gave them, for the splitter.
    """
    n = sample.data.shape[0]
    folds = [
        tuple(np.arange(n)[np.asarray(part)] for part in fold)  # masks become indices
        for fold in splits_of(cv, X, y, {})
    ]
    rows = np.concatenate([test for _, test in folds])
    scores = np.empty((len(rows), *sample.encoding.score_shape))
    for block, scores_of_block in _scores_of_folds(estimator, sample, folds):
        scores[block] = scores_of_block
    return rows, scores


def _scores_of_folds(
    estimator: Any, sample: Any, folds: list[tuple[NDArray, NDArray]]
) -> Iterator[tuple[slice, NDArray]]:
    """Yield blocks of the rows that folds hold out, one fold after another, and their scores."""
    classes, by_class, start = sample.encoding.classes, sample.answers.y.ndim == 1, 0
    for number, (train, test) in enumerate(folds):
        others = sample.answers.take_rows(train).in_weight_unit(1 / sample.weight_unit)
        missing = listed(classes[codes_in(others.y, classes) < 0]) if by_class else []
        if missing:
            raise ValueError(
                f"cv leaves no rows of the classes {missing} to learn from in fold {number}; take "
                "folds that are stratified, or fewer of them."
            )
        model = clone(estimator).set_params(classes=classes)
        with warnings.catch_warnings():  # a label that is constant in a fold is left out there
            warnings.filterwarnings("ignore", validation.CONSTANT_LABELS, UserWarning)
            model.fit(unwrapped(sample.data[train]), *others)
        for block, Z in model._score_blocks(sample.data[test], None):
            scores = np.asarray(Z)
            if not by_class:
                is_null = (model._dense_coef == 0).all(axis=1)
                scores[:, is_null & (model.label_objective_ < _LEAST_SHARE)] = np.nan
            yield slice(start + block.start, start + block.stop), scores
        start += len(test)


def _cuts_of_labels(criterion: Criterion, true: Any, scores: NDArray, weight: NDArray) -> NDArray:
    """Return each label's cut, (L,), given 0 and 1, or NaN where unknown, and scores, (m, L).

    Or that of the second of two classes, (1,), given (m,). Labels are CSC, weights (m,) or (m, L).
    """
    m, cuts = len(scores), []
    scores = scores.reshape(m, -1)
    weight = np.broadcast_to(weight.reshape(m, -1), scores.shape)
    for label, (z, s) in enumerate(zip(scores.T, weight.T, strict=True)):
        y = true if true.ndim == 1 else true[:, [label]].toarray()[:, 0]
        known = ~(np.isnan(y) | np.isnan(z))
        cuts.append(criterion.best_cut(y[known], z[known], s[known]))
    return np.array(cuts)


def _cuts_of_classes(
    criterion: Criterion, true: NDArray, scores: NDArray, weight: NDArray
) -> NDArray:
    """Return cuts (K,), the class with the largest score minus cut being predicted.

    One cut is chosen at a time, so that the best of all may be missed.
    """
    cuts = np.zeros(scores.shape[1])
    for _ in range(_MOST_ROUNDS):
        before = cuts.copy()
        for k in range(len(cuts)):
            lead, others = _lead(scores, cuts, k)
            cuts[k] += criterion.best_cut(true, lead, weight, k, others)
        if (cuts == before).all():
            break
    return cuts


def _lead(scores: NDArray, cuts: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Return by how much class k leads the best of the others, and which that is, (m,) both."""
    lead, others = np.empty(len(scores)), np.empty(len(scores), dtype=np.intp)
    for rows in prediction_slices(len(scores), scores.size):
        excess = scores[rows] - cuts
        of_k = excess[:, k].copy()
        excess[:, k] = -np.inf
        lead[rows], others[rows] = of_k - excess.max(axis=1), excess.argmax(axis=1)
    return lead, others


def _confusion_at_cuts(true: NDArray, scores: NDArray, weight: NDArray, cuts: NDArray) -> NDArray:
    """Return the weights (2, 2, c) by truth and prediction, which is yes above each cut (c,).

    `true`, (m,), is 0, 1 or a share between.
    """
    order = np.argsort(scores)
    below = np.searchsorted(scores[order], cuts, side="right")
    by_truth = np.stack([1 - true, true]) * weight
    sums = np.pad(np.cumsum(by_truth[:, order], axis=1), ((0, 0), (1, 0)))
    return np.stack([sums[:, below], sums[:, -1:] - sums[:, below]], axis=1)


def _cuts_between(scores: NDArray) -> NDArray:
    """Return cuts, sorted: one between any two neighbouring scores, one at either end, and zero."""
    z = np.unique(np.append(scores, 0.0))
    ends = z[[0, -1]] + [-1, 1]
    return np.sort(np.concatenate([ends, (z[1:] + z[:-1]) / 2, [0.0]]))
