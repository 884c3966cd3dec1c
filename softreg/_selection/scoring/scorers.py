"""Scorers: scikit-learn's, by name or object, and callables, as they score held-out rows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import _safe_indexing, indexable

from softreg._encoding import validation
from softreg._encoding.answers import Answers, Encoding
from softreg._encoding.class_values import distinct_with_codes, listed
from softreg._rows.arrays import joined_rows
from softreg._selection.scoring.held_out import HeldOutPredictions, HeldOutRows
from softreg._selection.scoring.scores import (
    LOG_LOSS,
    Classifier,
    LogLoss,
    Scored,
    answer_weights,
    is_log_loss,
    stacked,
)

# What scorers raise where they do not score predictions, or these rows.
_UNDEFINED = TypeError, ValueError, AttributeError, ArithmeticError


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
        """Return what `LogLoss.fold_score` does, by this scorer, which sees the classifier."""
        classes, answers = classifier.classes_, self.answers.take_rows(test)
        predicted, P = classifier._predictions(scores), classifier._probabilities(scores)
        predictions = HeldOutPredictions(classes, scores, predicted, P, classifier)
        if self.per_label:
            return self._label_scores(answers, test, predictions)
        scorer, y = get_scorer(self.scoring), _safe_indexing(self.y, test)
        has_all = _has_all_classes(answers, len(classes))
        rows = HeldOutRows(test, y, answers.weight, predictions, has_all)
        if answers.has_labels:
            return self._score(scorer, rows)
        if _is_of_scikit_learn(scorer):
            rows = rows.by_class(answers)
        scorer = _knowing_classes(scorer, rows.predictions.classes_, classes[-1])
        return self._score(scorer, rows)

    def score_of_blocks(
        self, classifier: Classifier, n: int, blocks: Iterable[tuple[Any, NDArray]]
    ) -> Scored:
        """Return what `LogLoss.score_of_blocks` does; metrics get the predictions of all rows."""
        return self.fold_score(classifier, np.arange(n), joined_rows(n, blocks))

    def _label_scores(
        self, answers: Answers, test: NDArray, predictions: HeldOutPredictions
    ) -> Scored:
        """Return the score of each label, (L,), on the rows where it is known and has weight."""
        Y = answers.y.toarray()
        weights = answer_weights(answers, Y)
        scorer = _knowing_classes(get_scorer(self.scoring), np.array([0, 1]), 1)
        scored = []
        for label in range(Y.shape[1]):
            known = np.flatnonzero(weights[:, label])
            if not known.size:
                scored.append(Scored(np.nan, False))
                continue
            y = Y[known, label].astype(int)
            weight = None if answers.weight is None else weights[known, label]
            of_label, has_both = predictions.of_label(label, known), bool(y.min() < y.max())
            rows = HeldOutRows(test[known], y, weight, of_label, has_both)
            scored.append(self._score(scorer, rows))
        return stacked(scored)

    def _score(self, scorer: Any, rows: HeldOutRows) -> Scored:
        """Return the score of held-out rows by a scorer that knows all classes."""
        X, *metadata = (
            _safe_indexing(values, rows.places) for values in (self.X, *self.metadata.values())
        )
        predictions = replace(rows.predictions, X=X)
        weight = {} if rows.weight is None else {"sample_weight": rows.weight}
        keywords = weight | dict(zip(self.metadata, metadata, strict=True))
        # What it says of a score that does not exist is said once, at the end of the fit.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                score = float(scorer(predictions, X, rows.y, **keywords))
            except _UNDEFINED as error:
                if rows.has_all_classes or not _scores_classes(scorer, predictions.classes_):
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
        remedy = "" if self.answers.weight is None else ", or one that takes sample_weight"
        if not self.answers.has_labels and self.answers.y.dtype.kind in "OS":
            remedy += ", or make texts of the labels, y.astype(str): not all metrics take others"
        return ValueError(
            f"scoring={validation.shown(self.scoring)} does not score these predictions "
            f'({error}). Choose another scorer, such as "neg_log_loss" or "accuracy"{remedy}.'
        )


Scorer = LogLoss | ScikitScorer


def check_scoring(scoring: Any) -> Any:
    """Return the scorer's name or callable; ValueError if `scoring` is neither, nor None.

    None is "accuracy", as in LogisticRegressionCV.
    """
    scoring = "accuracy" if scoring is None else scoring
    is_name = isinstance(scoring, str) and scoring in get_scorer_names()
    if is_name or callable(scoring):
        return scoring
    raise ValueError(
        f"scoring={validation.shown(scoring)} must be the name of a scorer, such as {LOG_LOSS!r} "
        'or "accuracy" (sklearn.metrics.get_scorer_names() lists them), a callable '
        'scorer(estimator, X, y), or None for "accuracy".'
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
    scoring = check_scoring(scoring)
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
    return len(distinct_with_codes(y)[0]) == K if y.ndim == 1 else bool(y.any(axis=0).all())


def _metric_of(scorer: Any) -> Any:
    """Return the metric that a scorer is made of, or None for a callable without one."""
    return getattr(scorer, "_score_func", None)


def _is_of_scikit_learn(scorer: Any) -> bool:
    """Return whether a scorer's metric is one of scikit-learn's, which take one class a row."""
    return str(getattr(_metric_of(scorer), "__module__", "")).startswith("sklearn.")


def _knowing_classes(scorer: Any, labels: NDArray, positive: Any) -> Any:
    """Return a scorer whose metric gets all classes, (K,), of which rows may lack some.

    `labels` are in the order of the columns of probabilities, `positive` is the second of two. As
    in LogisticRegressionCV a metric gets what it has a parameter for, unless the scorer was made
    with another value; but metrics of predicted classes, whose means are over the classes that
    occur, get no labels.
    """
    metric = _metric_of(scorer)
    if metric is None:
        return scorer
    parameters, keywords = signature(metric).parameters, {}
    if "labels" in parameters and scorer._response_method != "predict":
        keywords["labels"] = labels
    is_binary = "pos_label" in parameters and len(labels) == 2
    if is_binary and parameters["pos_label"].default not in listed(labels):
        keywords["pos_label"] = positive
    knowing = copy.copy(scorer)
    knowing._kwargs = keywords | scorer._kwargs
    return knowing


def _check_certain(scoring: Any, values: NDArray) -> None:
    """Raise a ValueError if a known answer is a share between no (0) and yes (1)."""
    shares = values[(values > 0) & (values < 1)]
    if shares.size:
        raise ValueError(
            f"scoring={validation.shown(scoring)} with per_label=True scores yes and no, and y "
            f'holds shares such as {shares[0]:g}; choose "neg_log_loss", which takes them, or '
            "round y."
        )


def _scores_classes(scorer: Any, classes: NDArray) -> bool:
    """Return whether a scorer made of a metric takes so many classes (K,), where none is missing.

    Where it does, what it raises on rows that lack some says that these rows have no score.
    """
    if _metric_of(scorer) is None:
        return False
    K, y = len(classes), np.repeat(classes, 2)
    P = np.repeat(np.eye(K) / 2 + 1 / (2 * K), 2, axis=0)
    predictions = HeldOutPredictions(classes, P if K > 2 else P[:, 1] - P[:, 0], y, P, X=P)
    try:
        return bool(np.isscalar(scorer(predictions, P, y)))
    except _UNDEFINED:
        return False
