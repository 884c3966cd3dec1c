"""Scores of held-out rows: the larger, the better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing, indexable

from softreg._encoding.answers import Answers, Encoding, Sample
from softreg._encoding.labels import LabelEncoding

# As in sklearn.metrics.log_loss: probabilities below count as this much.
_LEAST_PROBABILITY = np.finfo(np.float64).eps
LOG_LOSS = "neg_log_loss"


class Scoring(ABC):
    """What predictions of held-out rows are worth.

    Attributes
    ----------
    scores_rows : bool, whether the score is a mean over rows, of what `of_rows` says of each
    """

    scores_rows = False

    @abstractmethod
    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> tuple[Any, Any]:
        """Return the score of the rows `test`, or each label's, (L,), and whether it is known.

        `scores` are a model's of these rows, in the shape of `decision_function`.
        """


@dataclass(frozen=True, eq=False)
class LogLoss(Scoring):
    """Minus the weighted mean of -log P(y), of rows or, for labels, of all known answers.

    It is scikit-learn's "neg_log_loss", which there is none of for labels; classes that held-out
    rows lack need no mention.
    """

    code: Encoding
    answers: Answers
    per_label: bool
    scores_rows = True

    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> tuple[NDArray, Any]:
        own, weights = self.of_rows(test, scores)
        return weighted_mean(own, weights), weights.any(axis=0)

    def of_rows(self, test: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
        """Return log P(y) of rows (m,), or of their labels (m, L), NaN if unknown; and weights.

        A row weighs as much as its known answers do together, so that means over rows are means
        over answers.
        """
        answers = self.answers.take_rows(test)
        losses = self.code.log_losses(scores, answers).reshape(len(test), -1)
        own, weights = np.maximum(-losses, np.log(_LEAST_PROBABILITY)), _weights(answers, losses)
        if self.per_label:
            return np.where(weights > 0, own, np.nan), weights
        return weighted_mean(own, weights, axis=1), weights.sum(axis=1)


@dataclass(frozen=True, eq=False)
class Scorer:
    """A scorer of scikit-learn, or a callable ``scorer(estimator, X, y)``.

    Attributes
    ----------
    name : as the user gave it
    function : what is called
    X : all rows, of which it gets some
    """

    name: Any
    function: Callable[..., float]
    X: Any

    def __call__(self, held: HeldOutModel, test: NDArray, y: Any, weight: NDArray | None) -> float:
        weights = {} if weight is None else {"sample_weight": weight}
        try:
            return float(self.function(held, _safe_indexing(self.X, test), y, **weights))
        except (TypeError, ValueError, AttributeError) as error:
            weighted = ", or one that takes sample_weight" if weights else ""
            raise ValueError(
                f"scoring={self.name!r} does not score these predictions ({error}). Choose "
                f'another scorer, such as "neg_log_loss" or "accuracy"{weighted}.'
            ) from error


@dataclass(frozen=True, eq=False)
class Called(Scoring):
    """What a scorer says of rows."""

    scorer: Scorer
    y: Any
    weight: NDArray | None

    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> tuple[float, bool]:
        predicted, P = model._predicted(scores), model._probabilities_of(scores)
        held = HeldOutModel(model.classes_, scores, predicted, P)
        weight = None if self.weight is None else self.weight[test]
        return self.scorer(held, test, _safe_indexing(self.y, test), weight), True


@dataclass(frozen=True, eq=False)
class CalledByLabel(Scoring):
    """What a scorer says of one label after another, where its answers count."""

    scorer: Scorer
    answers: Answers

    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> tuple[NDArray, Any]:
        answers = self.answers.take_rows(test)
        Y = answers.y.toarray()
        weights = _weights(answers, Y)
        predicted, P = model._predicted(scores), model._probabilities_of(scores)

        def of_label(label: int) -> float:
            rows = np.flatnonzero(weights[:, label])
            if not rows.size:
                return np.nan
            both = np.stack([1 - P[rows, label], P[rows, label]], axis=1)
            own = scores[rows, label], predicted[rows, label], both
            weight = None if answers.weight is None else weights[rows, label]
            true = Y[rows, label].astype(int)
            return self.scorer(HeldOutModel(np.array([0, 1]), *own), test[rows], true, weight)

        return np.array([of_label(label) for label in range(Y.shape[1])]), weights.any(axis=0)


class HeldOutModel(ClassifierMixin, BaseEstimator):
    """What a scorer asks of a fitted classifier, for the rows that were held out of it alone.

    Parameters
    ----------
    classes_ : ndarray (K,)
    scores, predicted, probabilities : of the held-out rows
    """

    def __init__(
        self, classes: NDArray, scores: NDArray, predicted: Any, probabilities: NDArray
    ) -> None:
        self.classes = classes
        self.scores = scores
        self.predicted = predicted
        self.probabilities = probabilities

    @property
    def classes_(self) -> NDArray:
        """The classes, or the labels' names."""
        return self.classes

    def decision_function(self, X: Any) -> NDArray:
        """Return the scores of the rows."""
        return self._of(X, self.scores)

    def predict(self, X: Any) -> Any:
        """Return the predictions of the rows."""
        return self._of(X, self.predicted)

    def predict_proba(self, X: Any) -> NDArray:
        """Return the probabilities of the rows."""
        return self._of(X, self.probabilities)

    def predict_log_proba(self, X: Any) -> NDArray:
        """Return the logarithms of the probabilities of the rows."""
        return np.log(np.maximum(self._of(X, self.probabilities), np.finfo(float).tiny))

    def _of(self, X: Any, values: Any) -> Any:
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        if n != values.shape[0]:
            raise ValueError(
                f"it asks for predictions of {n} rows; those of the {values.shape[0]} held-out "
                "rows are known."
            )
        return values


def as_labels(sample: Sample) -> Sample:
    """Return a sample as it is scored label by label: of one class a row, each class is a label."""
    code, (values, weight) = sample.encoding, sample.answers
    if values.ndim == 1:
        values = sparse.csr_array(values[:, None] == code.classes, dtype=float)
    labels = LabelEncoding(
        classes=code.classes,
        link=code.link,
        score_shape=code.score_shape,
        fitted_attributes={"multilabel_": True, "sparse_output_": False},
        factors=None,
    )
    return replace(sample, encoding=labels, answers=Answers(values, weight))


def scoring_for(
    scoring: Any, X: Any, y: Any, code: Encoding, answers: Answers, *, per_label: bool = False
) -> Scoring:
    """Return what scores rows of X and y, or each label, by this name or callable.

    ValueError for neither.
    """
    if isinstance(scoring, str) and scoring == LOG_LOSS:
        return LogLoss(code, answers, per_label)
    X, y = indexable(X, y)
    scorer = Scorer(scoring, _function(scoring), X)
    if not per_label:
        return Called(scorer, y, answers.weight)
    _check_certain(scoring, answers.y.data)
    return CalledByLabel(scorer, answers)


def weighted_mean(values: NDArray, weights: NDArray, axis: int = 0) -> NDArray:
    """Return the mean of values of positive weight, NaN where there are none."""
    own = weights * np.where(weights > 0, values, 0)
    return quotient(own.sum(axis=axis), weights.sum(axis=axis))


def quotient(a: NDArray, b: NDArray) -> NDArray:
    """Return a / b, NaN where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _weights(answers: Answers, values: NDArray) -> NDArray:
    """Return what the values (m, L) of answers weigh, 0 where they are unknown (NaN)."""
    known = np.logical_not(np.isnan(values))
    return known * (1.0 if answers.weight is None else answers.weight.reshape(len(values), -1))


def _function(scoring: Any) -> Callable[..., float]:
    """Return the scorer of a name, or a callable."""
    if not (isinstance(scoring, str) or callable(scoring)):
        raise ValueError(
            f"scoring={scoring!r} must be the name of a scorer, such as {LOG_LOSS!r} or "
            '"accuracy", or a callable scorer(estimator, X, y).'
        )
    try:
        return get_scorer(scoring)
    except ValueError as error:
        raise ValueError(
            f"scoring={scoring!r} is no scorer; sklearn.metrics.get_scorer_names() lists them."
        ) from error


def _check_certain(scoring: Any, answers: NDArray) -> None:
    """Raise a ValueError if answers are neither yes, no nor unknown."""
    shares = answers[(answers > 0) & (answers < 1)]
    if shares.size:
        raise ValueError(
            f"scoring={scoring!r} with per_label=True scores yes and no, and y holds shares such "
            f'as {shares[0]:g}; choose "neg_log_loss", which takes them, or round y.'
        )
