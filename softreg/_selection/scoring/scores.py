"""Scores of held-out rows: the larger, the better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from softreg._encoding import target_checks
from softreg._encoding.answers import Answers, Encoding, Sample
from softreg._encoding.class_values import codes_in
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

    def _with_attributes(self, attributes: dict[str, Any]) -> Classifier:
        """Return a copy with these fitted attributes."""


class Scored(NamedTuple):
    """Scores of rows, of folds or, with another axis, of their labels.

    Attributes
    ----------
    values : float or ndarray, NaN where there is no score
    weights : of the same shape, 0 where no answer is known
    reason : str, why scores of positive weight do not exist, or ""
    """

    values: Any
    weights: Any
    reason: str = ""


def stacked(scored: list[Scored], axis: int = 0) -> Scored:
    """Return several scores as one, along a new axis."""
    values, weights, reasons = zip(*scored, strict=True)
    return Scored(
        np.stack(values, axis=axis),
        np.stack(weights, axis=axis).astype(float),
        next(filter(None, reasons), ""),
    )


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

    def fold_score(self, classifier: Classifier, test: NDArray, scores: NDArray) -> Scored:
        """Return the score of the rows `test` (m,), or that of each label, (L,).

        `scores` are the classifier's of these rows, in the shape of `decision_function`.
        """
        return self.score_of_blocks(classifier, len(test), [(test, scores)])

    def score_of_blocks(
        self, classifier: Classifier, n: int, blocks: Iterable[tuple[Any, NDArray]]
    ) -> Scored:
        """Return the score of n rows, whose blocks are rows and scores, as in `fold_score`."""
        parts = [self.row_scores(rows, scores)[:2] for rows, scores in blocks]
        log_P, weights = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Scored(weighted_mean(log_P, weights), weights.any(axis=0))

    def row_scores(self, test: NDArray | slice, scores: NDArray) -> Scored:
        """Return log P(y) of rows (m,), or of their labels (m, L).

        A row weighs as much as its known answers do together, so that means over rows are means
        over answers.
        """
        answers = self.answers.take_rows(test)
        losses = self.encoding.log_losses(scores, answers).reshape(len(scores), -1)
        log_P = np.maximum(-losses, np.log(_LEAST_PROBABILITY))
        weights = answer_weights(answers, losses)
        if self.per_label:
            return Scored(np.where(weights > 0, log_P, np.nan), weights)
        return Scored(weighted_mean(log_P, weights, axis=1), weights.sum(axis=1))


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


class Accuracy(NamedTuple):
    """How far some rows are predicted right.

    Attributes
    ----------
    right : float, the weighted probability that rows are predicted right
    weight : float, of these rows
    unit : float, power of two by which weights were divided
    """

    right: float
    weight: float
    unit: float


def accuracy_of_rows(
    blocks: Iterable[tuple[Any, Answers]], classes: NDArray, unit: float
) -> Accuracy:
    """Return how far rows are predicted right, by answers that are uncertain.

    `blocks` are predictions and answers of some rows, their weights divided by a unit. ValueError
    if all classes are of other types than the model's (K,).
    """
    parts = [_row_accuracies(predicted, answers, classes) for predicted, answers in blocks]
    right, weight = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Accuracy(float((weight * right).sum()), float(weight.sum()), unit)


def expected_accuracy(parts: list[Accuracy]) -> float:
    """Return the mean probability that rows are predicted right; ValueError if none has weight."""
    rights, weights, units = np.transpose(parts)
    factors = units / units.max()
    right, weight = factors @ rights, factors @ weights
    if not weight:
        raise ValueError("y holds no known answer of positive weight, so that nothing is scored.")
    return float(right / weight)


def _row_accuracies(predicted: Any, answers: Answers, classes: NDArray) -> tuple[NDArray, NDArray]:
    """Return the probabilities that rows are predicted right, and the rows' weights, (m,) both.

    Of one class a row, (m,), it is 1 or 0; by class probabilities, (m, K), that of the class
    predicted, (m,). Of labels, (m, L), that all those known of a row are predicted right, as if
    they were independent; a row weighs as much as its known answers do on average, and nothing
    without any.
    """
    if answers.has_labels:
        Y, is_yes = answers.y.toarray(), sparse.csr_array(predicted).toarray() > 0
        weights = answer_weights(answers, Y)
        right = np.where(weights > 0, np.where(is_yes, Y, 1 - Y), 1).prod(axis=1)
        weight = weights.sum(axis=1) / np.maximum(np.count_nonzero(weights, axis=1), 1)
    else:
        codes = codes_in(classes, predicted)
        if answers.y.ndim == 1:
            target_checks.check_same_kind(answers.y, classes)
            right = codes_in(classes, answers.y) == codes
        else:
            right = answers.y[np.arange(len(codes)), codes]
        weight = np.ones(len(right)) if answers.weight is None else answers.weight
    return right, weight


def weighted_mean(values: NDArray, weights: NDArray, axis: int = 0) -> NDArray:
    """Return the mean of values of positive weight, NaN where there are none."""
    weighted = weights * np.where(weights > 0, values, 0)
    return quotient(weighted.sum(axis=axis), weights.sum(axis=axis))


def quotient(a: NDArray, b: NDArray) -> NDArray:
    """Return a / b, NaN where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def answer_weights(answers: Answers, values: NDArray) -> NDArray:
    """Return the weights (m, L) of answers with these values (m, L): 0 where unknown (NaN)."""
    known = np.logical_not(np.isnan(values))
    return known * (1.0 if answers.weight is None else answers.weight.reshape(len(values), -1))
