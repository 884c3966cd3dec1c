"""Scorers: scikit-learn's, by name or object, and callables, as they score held-out rows."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import _safe_indexing, indexable

from softreg._encoding import validation
from softreg._encoding.answers import Answers, Encoding
from softreg._selection.scoring import (
    LOG_LOSS,
    Classifier,
    LogLoss,
    Scored,
    answer_weights,
    is_log_loss,
)


@dataclass(frozen=True, eq=False)
class ScikitScorer:
    """A scorer of scikit-learn, or a callable ``scorer(estimator, X, y)``.

    Attributes
    ----------
    scoring : as the user gave it
    X, y : all n rows as the user gave them, of which it gets those that are held out
    answers : Answers of all n rows, with the weights that count in scores
    metadata : dict of the values of n rows, by name, that it asks for beside these
    per_label : bool, whether it scores one label after another, on the rows where its answers count
    """

    scoring: Any
    X: Any
    y: Any
    answers: Answers
    metadata: dict[str, Any]
    per_label: bool

    def fold_score(self, classifier: Classifier, test: NDArray, scores: NDArray) -> Scored:
        """Return what `LogLoss.fold_score` does, by this scorer."""
        classes, answers = classifier.classes_, self.answers.take_rows(test)
        predicted, P = classifier._predictions(scores), classifier._probabilities(scores)
        predictions = HeldOutPredictions(classes, scores, predicted, P)
        if self.per_label:
            return self._label_scores(answers, test, predictions)
        has_all, scorer = _has_all_classes(answers, len(classes)), get_scorer(self.scoring)
        if answers.has_labels or not _is_of_scikit_learn(scorer):
            if not answers.has_labels:
                scorer = _told_of_classes(scorer, classes, classes[-1])
            y = _safe_indexing(self.y, test)
            return self._score(scorer, HeldOut(test, y, answers.weight, predictions, has_all))
        places, y, weight = _rows_of_classes(answers, classes)
        ordered = predictions.in_order().take_rows(places)
        scorer = _told_of_classes(scorer, ordered.classes_, classes[-1])
        return self._score(scorer, HeldOut(test[places], y, weight, ordered, has_all))

    def _label_scores(
        self, answers: Answers, test: NDArray, predictions: HeldOutPredictions
    ) -> Scored:
        """Return the score of each label, (L,), on the rows where it is known and has weight."""
        Y = answers.y.toarray()
        weights = answer_weights(answers, Y)
        values, reasons = np.full(Y.shape[1], np.nan), [""]
        scorer = _told_of_classes(get_scorer(self.scoring), np.array([0, 1]), 1)
        for label in np.flatnonzero(weights.any(axis=0)).tolist():
            known = np.flatnonzero(weights[:, label])
            y = Y[known, label].astype(int)
            weight = None if answers.weight is None else weights[known, label]
            of_label, has_both = predictions.of_label(label, known), bool(y.min() < y.max())
            rows = HeldOut(test[known], y, weight, of_label, has_both)
            values[label], _, reason = self._score(scorer, rows)
            reasons.append(reason)
        return Scored(values, weights.any(axis=0), max(reasons))

    def _score(self, scorer: Any, rows: HeldOut) -> Scored:
        """Return the score of held-out rows by a scorer that knows all classes."""
        X, *metadata = (
            _safe_indexing(values, rows.indices) for values in (self.X, *self.metadata.values())
        )
        weight = {} if rows.weight is None else {"sample_weight": rows.weight}
        keywords = weight | dict(zip(self.metadata, metadata, strict=True))
        # What it says of a score that does not exist is said once, at the end of the fit.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                score = float(scorer(rows.predictions, X, rows.y, **keywords))
            except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
                if rows.has_all_classes or not _scores_classes(scorer, rows.predictions.classes_):
                    raise self._error(error) from error
                return Scored(np.nan, True, str(error).rstrip("."))
        if np.isnan(score) or (np.isinf(score) and not rows.has_all_classes):
            reason = str(caught[0].message) if caught else f"it is {score}"
            return Scored(np.nan, True, reason.rstrip("."))
        for warning in caught:
            warnings.warn(warning.message, stacklevel=2)
        return Scored(score, True)

    def _error(self, error: Exception) -> ValueError:
        """Return the error of a fit whose scorer raised this one."""
        weighted = "" if self.answers.weight is None else ", or one that takes sample_weight"
        return ValueError(
            f"scoring={self.scoring!r} does not score these predictions ({error}). Choose another "
            f'scorer, such as "neg_log_loss" or "accuracy"{weighted}.'
        )


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

    def take_rows(self, rows: NDArray) -> HeldOutPredictions:
        """Return the predictions of some rows."""
        arrays = self.scores, self.predicted, self.probabilities
        return HeldOutPredictions(self.classes_, *(array[rows] for array in arrays))

    def in_order(self) -> HeldOutPredictions:
        """Return the predictions with sorted classes, as scikit-learn's metrics expect them."""
        order = np.argsort(self.classes_)
        sign = 1 if order[0] == 0 else -1  # of the one score of two classes
        scores = sign * self.scores if self.scores.ndim == 1 else self.scores[:, order]
        P = self.probabilities[:, order]
        return HeldOutPredictions(self.classes_[order], scores, self.predicted, P)

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


class HeldOut(NamedTuple):
    """Held-out rows as a scorer gets them.

    Attributes
    ----------
    indices : ndarray (m,), which of all rows they are
    y : their answers
    weight : ndarray of their weights, or None (all one)
    predictions : HeldOutPredictions
    has_all_classes : bool; if not, a score need not exist
    """

    indices: NDArray
    y: Any
    weight: NDArray | None
    predictions: HeldOutPredictions
    has_all_classes: bool


def check_scoring(scoring: Any) -> Any:
    """Return `scoring`; ValueError if it is neither the name of a scorer nor a callable."""
    is_name = isinstance(scoring, str) and scoring in get_scorer_names()
    if is_name or callable(scoring):
        return scoring
    raise ValueError(
        f"scoring={scoring!r} must be the name of a scorer, such as {LOG_LOSS!r} or "
        '"accuracy" (sklearn.metrics.get_scorer_names() lists them), or a callable '
        "scorer(estimator, X, y)."
    )


def held_out_scorer(
    scoring: Any,
    X: Any,
    y: Any,
    encoding: Encoding,
    answers: Answers,
    metadata: dict[str, Any],
    per_label: bool = False,
) -> Scorer:
    """Return the scorer of rows of X and y, or of each label, that a name or callable stands for.

    `metadata` are the values of rows, by name, that it asks for; the log loss counts the weights of
    the answers. ValueError if `scoring` is no scorer.
    """
    if is_log_loss(scoring):
        return LogLoss(encoding, answers, per_label)
    check_scoring(scoring)
    if per_label:
        _check_certain(scoring, answers.y.data)
    others = {name: values for name, values in metadata.items() if name != "sample_weight"}
    shape = answers.y.shape if answers.has_labels else answers.y.shape[:1]
    weight = validation.check_sample_weight(metadata.get("sample_weight"), *shape)
    X, y, *_ = indexable(X, y, *others.values())
    weighted = Answers(answers.y, weight)
    weighted = weighted.in_weight_unit(weighted.weight_unit)
    return ScikitScorer(scoring, X, y, weighted, others, per_label)


def _has_all_classes(answers: Answers, K: int) -> bool:
    """Return whether answers hold each of K classes, or of labels both yes and no."""
    y, weight = answers
    if answers.has_labels:
        Y = y.toarray()
        return not (Y[0] == Y).all(axis=0).any()
    if weight is not None:
        y = y[weight > 0]
    return len(np.unique(y)) == K if y.ndim == 1 else bool(y.any(axis=0).all())


def _rows_of_classes(answers: Answers, classes: NDArray) -> tuple[NDArray, NDArray, NDArray | None]:
    """Return answers (m,) or (m, K) as rows of one class each: whose they are, class and weight.

    A row of class probabilities becomes one of each class that it may have, with its share.
    """
    y, weight = answers
    if y.ndim == 1:
        return np.arange(len(y)), y, weight
    places, codes = np.nonzero(y)
    shares = y[places, codes]
    if weight is not None:
        return places, classes[codes], weight[places] * shares
    return places, classes[codes], None if (shares == 1).all() else shares


def _is_of_scikit_learn(scorer: Any) -> bool:
    """Return whether a scorer is made of a metric of scikit-learn's, which takes a class a row."""
    metric = getattr(scorer, "_score_func", None)
    return str(getattr(metric, "__module__", "")).startswith("sklearn.")


def _told_of_classes(scorer: Any, labels: NDArray, positive: Any) -> Any:
    """Return a scorer that knows all classes, (K,), of which rows may lack some.

    `labels` are in the order of the columns of probabilities, `positive` is the second of two: as
    in LogisticRegressionCV metrics are told of them if they ask, those of predicted classes apart,
    whose means are over the classes that occur. What a scorer was made with stays.
    """
    metric = getattr(scorer, "_score_func", None)
    if metric is None:
        return scorer
    parameters, keywords = signature(metric).parameters, {}
    if "labels" in parameters and scorer._response_method != "predict":
        keywords["labels"] = labels
    is_binary = "pos_label" in parameters and len(labels) == 2
    if is_binary and parameters["pos_label"].default not in labels.tolist():
        keywords["pos_label"] = positive
    told = copy.copy(scorer)
    told._kwargs = keywords | scorer._kwargs
    return told


def _check_certain(scoring: Any, values: NDArray) -> None:
    """Raise a ValueError if a known answer is a share between no (0) and yes (1)."""
    shares = values[(values > 0) & (values < 1)]
    if shares.size:
        raise ValueError(
            f"scoring={scoring!r} with per_label=True scores yes and no, and y holds shares such "
            f'as {shares[0]:g}; choose "neg_log_loss", which takes them, or round y.'
        )


def _scores_classes(scorer: Any, classes: NDArray) -> bool:
    """Return whether a scorer made of a metric takes so many classes (K,), where none is missing.

    Where it does, what it raises on rows that lack some says that these rows have no score.
    """
    K, y = len(classes), np.repeat(classes, 2)
    P = np.repeat(np.eye(K) / 2 + 1 / (2 * K), 2, axis=0)
    predictions = HeldOutPredictions(classes, P if K > 2 else P[:, 1] - P[:, 0], y, P)
    try:
        return hasattr(scorer, "_score_func") and np.isscalar(scorer(predictions, P, y))
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        return False
