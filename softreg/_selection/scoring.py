"""Scores of held-out rows: the larger, the better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import _safe_indexing, indexable

from softreg._encoding.answers import Answers, Encoding, Sample
from softreg._encoding.labels import LabelEncoding

# As in sklearn.metrics.log_loss: probabilities below count as this much.
_LEAST_PROBABILITY = np.finfo(np.float64).eps
LOG_LOSS = "neg_log_loss"


class Classifier(Protocol):
    """What scorers ask of a fitted classifier, `scores` being in `decision_function`'s shape."""

    classes_: NDArray

    def _as_decisions(self, scores: NDArray) -> NDArray:
        """Return scores (m, K or 1) in the shape of `decision_function`."""

    def _predictions(self, scores: NDArray) -> Any:
        """Return the predictions, (m,) or (m, L)."""

    def _probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities (m, K)."""


@dataclass(frozen=True, eq=False)
class LogLoss:
    """Minus the weighted mean of -log P(y), of rows or, for labels, of all known answers.

    Of classes it is scikit-learn's "neg_log_loss", but also where held-out rows lack some of them;
    of labels scikit-learn has none.

    Attributes
    ----------
    encoding : Encoding
    answers : Answers of all n rows
    per_label : bool, whether each label has a score
    """

    encoding: Encoding
    answers: Answers
    per_label: bool

    def fold_score(
        self, classifier: Classifier, test: NDArray, scores: NDArray
    ) -> tuple[NDArray, Any]:
        """Return the score of the rows `test` (m,), and whether it is known; or each label's, (L,).

        `scores` are the classifier's of these rows, in the shape of `decision_function`.
        """
        log_P, weights = self.row_scores(test, scores)
        return weighted_mean(log_P, weights), weights.any(axis=0)

    def row_scores(self, test: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
        """Return log P(y) of rows (m,), or of their labels (m, L), NaN if unknown; and weights.

        A row weighs as much as its known answers do together, so that means over rows are means
        over answers.
        """
        answers = self.answers.take_rows(test)
        losses = self.encoding.log_losses(scores, answers).reshape(len(test), -1)
        log_P = np.maximum(-losses, np.log(_LEAST_PROBABILITY))
        weights = _answer_weights(answers, losses)
        if self.per_label:
            return np.where(weights > 0, log_P, np.nan), weights
        return weighted_mean(log_P, weights, axis=1), weights.sum(axis=1)


@dataclass(frozen=True, eq=False)
class ScikitScorer:
    """A scorer of scikit-learn, or a callable ``scorer(estimator, X, y)``.

    Attributes
    ----------
    scoring : as the user gave it
    X, y : all n rows as the user gave them, of which it gets those that are held out
    answers : Answers of all n rows
    per_label : bool, whether it scores one label after another, on the rows where its answers count
    """

    scoring: Any
    X: Any
    y: Any
    answers: Answers
    per_label: bool

    def fold_score(self, classifier: Classifier, test: NDArray, scores: NDArray) -> tuple[Any, Any]:
        """Return what `LogLoss.fold_score` does, by this scorer."""
        predicted, P = classifier._predictions(scores), classifier._probabilities(scores)
        predictions = HeldOutPredictions(classifier.classes_, scores, predicted, P)
        answers = self.answers.take_rows(test)
        if not self.per_label:
            y = _safe_indexing(self.y, test)
            return self._score(predictions, test, y, answers.weight), True
        Y = answers.y.toarray()
        weights = _answer_weights(answers, Y)
        label_scores = np.full(Y.shape[1], np.nan)
        for label in np.flatnonzero(weights.any(axis=0)).tolist():
            rows = np.flatnonzero(weights[:, label])
            weight = None if answers.weight is None else weights[rows, label]
            label_scores[label] = self._score(
                predictions.of_label(label, rows), test[rows], Y[rows, label].astype(int), weight
            )
        return label_scores, weights.any(axis=0)

    def _score(
        self, predictions: HeldOutPredictions, test: NDArray, y: Any, weight: NDArray | None
    ) -> float:
        scorer = get_scorer(self.scoring)
        try:
            X = _safe_indexing(self.X, test)
            return call_with_weight(scorer, predictions, X, y, weight=weight)
        except (TypeError, ValueError, AttributeError) as error:
            weighted = "" if weight is None else ", or one that takes sample_weight"
            raise ValueError(
                f"scoring={self.scoring!r} does not score these predictions ({error}). Choose "
                f'another scorer, such as "neg_log_loss" or "accuracy"{weighted}.'
            ) from error


Scorer = LogLoss | ScikitScorer


@dataclass(eq=False, repr=False)
class HeldOutPredictions(ClassifierMixin, BaseEstimator):
    """The predictions of held-out rows, as the fitted classifier that a scorer asks for them.

    Attributes
    ----------
    classes_ : ndarray (K,), the classes, or the labels' names
    scores : ndarray (m,) or (m, K), the rows' `decision_function`
    predicted : ndarray (m,) or (m, L), or CSR, their `predict`
    probabilities : ndarray (m, K)
    """

    classes_: NDArray
    scores: NDArray
    predicted: Any
    probabilities: NDArray

    def of_label(self, label: int, rows: NDArray) -> HeldOutPredictions:
        """Return the predictions of one label, as classes 0 and 1, for some of the rows."""
        P = self.probabilities[rows, label]
        both = np.stack([1 - P, P], axis=1)
        predicted = self.predicted[rows, label]
        return HeldOutPredictions(np.array([0, 1]), self.scores[rows, label], predicted, both)

    def decision_function(self, X: Any) -> NDArray:
        """Return the scores of the rows."""
        return self._checked(X, self.scores)

    def predict(self, X: Any) -> Any:
        """Return the predictions of the rows."""
        return self._checked(X, self.predicted)

    def predict_proba(self, X: Any) -> NDArray:
        """Return the probabilities of the rows."""
        return self._checked(X, self.probabilities)

    def predict_log_proba(self, X: Any) -> NDArray:
        """Return the logarithms of the probabilities of the rows."""
        return np.log(np.maximum(self.predict_proba(X), np.finfo(float).tiny))

    def _checked(self, X: Any, values: Any) -> Any:
        """Return values of the held-out rows; ValueError if X has another number of rows."""
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        if n != values.shape[0]:
            raise ValueError(
                f"it asks for predictions of {n} rows; those of the {values.shape[0]} held-out "
                "rows are known."
            )
        return values


def as_labels(sample: Sample) -> Sample:
    """Return a sample as it is scored label by label; of one class a row, each class is a label."""
    encoding, (values, weight) = sample.encoding, sample.answers
    if values.ndim == 1:
        values = sparse.csr_array(values[:, None] == encoding.classes, dtype=float)
    labels = LabelEncoding(
        classes=encoding.classes,
        link=encoding.link,
        score_shape=encoding.score_shape,
        fitted_attributes={"multilabel_": True, "sparse_output_": False},
        factors=None,
    )
    return replace(sample, encoding=labels, answers=Answers(values, weight))


def is_log_loss(scoring: Any) -> bool:
    """Return whether `scoring` names the log loss, the one score that each row has itself."""
    return isinstance(scoring, str) and scoring == LOG_LOSS


def held_out_scorer(
    scoring: Any, X: Any, y: Any, encoding: Encoding, answers: Answers, *, per_label: bool = False
) -> Scorer:
    """Return the scorer of rows of X and y, or of each label, that a name or callable stands for.

    ValueError if `scoring` is neither.
    """
    if is_log_loss(scoring):
        return LogLoss(encoding, answers, per_label)
    is_name = isinstance(scoring, str) and scoring in get_scorer_names()
    if not (is_name or callable(scoring)):
        raise ValueError(
            f"scoring={scoring!r} must be the name of a scorer, such as {LOG_LOSS!r} or "
            '"accuracy" (sklearn.metrics.get_scorer_names() lists them), or a callable '
            "scorer(estimator, X, y)."
        )
    if per_label:
        _check_certain(scoring, answers.y.data)
    X, y = indexable(X, y)
    return ScikitScorer(scoring, X, y, answers, per_label)


def weighted_mean(values: NDArray, weights: NDArray, axis: int = 0) -> NDArray:
    """Return the mean of values of positive weight, NaN where there are none."""
    weighted = weights * np.where(weights > 0, values, 0)
    return quotient(weighted.sum(axis=axis), weights.sum(axis=axis))


def call_with_weight(
    function: Callable[..., float], *arguments: Any, weight: NDArray | None
) -> float:
    """Return what a user's scorer or metric returns; ``sample_weight`` is passed unless None."""
    weights = {} if weight is None else {"sample_weight": weight}
    return float(function(*arguments, **weights))


def quotient(a: NDArray, b: NDArray) -> NDArray:
    """Return a / b, NaN where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _answer_weights(answers: Answers, values: NDArray) -> NDArray:
    """Return the weights (m, L) of answers with these values (m, L): 0 where unknown (NaN)."""
    known = np.logical_not(np.isnan(values))
    return known * (1.0 if answers.weight is None else answers.weight.reshape(len(values), -1))


def _check_certain(scoring: Any, values: NDArray) -> None:
    """Raise a ValueError if a known answer is a share between no (0) and yes (1)."""
    shares = values[(values > 0) & (values < 1)]
    if shares.size:
        raise ValueError(
            f"scoring={scoring!r} with per_label=True scores yes and no, and y holds shares such "
            f'as {shares[0]:g}; choose "neg_log_loss", which takes them, or round y.'
        )
