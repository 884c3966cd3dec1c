"""Scores of held-out rows: the larger, the better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing

from softreg._encoding import Answers, Code

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
    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> float:
        """Return the score of the rows `test`, by a model's scores (m, K) of them."""

    @abstractmethod
    def of_labels(self, model: Any, test: NDArray, scores: NDArray) -> NDArray:
        """Return each label's score, (L,), NaN where none of its answers is known."""


@dataclass(frozen=True, eq=False)
class LogLoss(Scoring):
    """Minus the weighted mean of -log P(y), of rows or, for labels, of all known answers.

    It is scikit-learn's "neg_log_loss", which there is none of for labels; classes that held-out
    rows lack need no mention.
    """

    code: Code
    answers: Answers
    scores_rows = True

    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> float:
        losses, weights = self.of_rows(test, scores)
        return -float((losses * weights).sum() / weights.sum())

    def of_labels(self, model: Any, test: NDArray, scores: NDArray) -> NDArray:
        losses, weights = self.of_rows(test, scores)
        total = weights.sum(axis=0)
        known = np.where(total > 0, total, np.nan)
        return -(losses * weights).sum(axis=0) / known

    def of_rows(self, test: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
        """Return -log P(y) of rows (m,) or of labels (m, L), and what they weigh; 0 if unknown."""
        answers = self.answers.taken(test)
        losses = self.code.log_losses(scores, answers)
        known = np.logical_not(np.isnan(losses))
        weight = np.ones(len(losses)) if answers.weight is None else answers.weight
        weights = weight.reshape(len(losses), -1) if losses.ndim == 2 else weight
        return np.fmin(np.where(known, losses, 0), -np.log(_LEAST_PROBABILITY)), known * weights


@dataclass(frozen=True, eq=False)
class Called(Scoring):
    """A scorer of scikit-learn, or a callable ``scorer(estimator, X, y)``."""

    scoring: Any
    scorer: Any
    X: Any
    y: Any
    weight: NDArray | None

    def of_fold(self, model: Any, test: NDArray, scores: NDArray) -> float:
        held = HeldOutModel(
            model.classes_,
            scores,
            model._predicted(scores),
            model._probabilities_of(scores),
        )
        return self._called(held, test, _safe_indexing(self.y, test))

    def of_labels(self, model: Any, test: NDArray, scores: NDArray) -> NDArray:
        predicted, P = model._predicted(scores), model._probabilities_of(scores)
        true = _safe_indexing(self.y, test)
        true = np.asarray(true.toarray() if hasattr(true, "toarray") else true, dtype=float)
        predicted = predicted.toarray() if hasattr(predicted, "toarray") else predicted
        out = np.full(scores.shape[1], np.nan)
        for label, z in enumerate(scores.T):
            known = np.flatnonzero(~np.isnan(true[:, label]))
            if known.size:
                p = P[known, label]
                both = np.stack([1 - p, p], axis=1)
                held = HeldOutModel(np.array([0, 1]), z[known], predicted[known, label], both)
                out[label] = self._called(held, test[known], true[known, label].astype(int))
        return out

    def _called(self, held: HeldOutModel, test: NDArray, y: Any) -> float:
        weights = {} if self.weight is None else {"sample_weight": self.weight[test]}
        try:
            return float(self.scorer(held, _safe_indexing(self.X, test), y, **weights))
        except (TypeError, ValueError, AttributeError) as error:
            weighted = ", or one that takes sample_weight" if weights else ""
            raise ValueError(
                f"scoring={self.scoring!r} does not score these predictions ({error}). Choose "
                f'another scorer, such as "neg_log_loss" or "accuracy"{weighted}.'
            ) from error


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


def scoring_for(scoring: Any, X: Any, y: Any, code: Code, answers: Answers) -> Scoring:
    """Return what scores rows of X and y by this name or callable; ValueError for neither."""
    if isinstance(scoring, str) and scoring == LOG_LOSS:
        return LogLoss(code, answers)
    if not (isinstance(scoring, str) or callable(scoring)):
        raise ValueError(
            f"scoring={scoring!r} must be the name of a scorer, such as {LOG_LOSS!r} or "
            '"accuracy", or a callable scorer(estimator, X, y).'
        )
    try:
        scorer = get_scorer(scoring)
    except ValueError as error:
        raise ValueError(
            f"scoring={scoring!r} is no scorer; sklearn.metrics.get_scorer_names() lists them."
        ) from error
    return Called(scoring, scorer, X, y, answers.weight)
