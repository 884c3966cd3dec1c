"""Held-out rows and their predictions, in the form in which scorers ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from softreg._encoding.answers import Answers
from softreg._encoding.class_values import codes_in, in_order


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
        order = codes_in(self.classes_, in_order(self.classes_))
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


class HeldOutRows(NamedTuple):
    """Held-out rows as a scorer gets them.

    Attributes
    ----------
    places : ndarray (m,) of int, which of all rows they are; some may come more than once
    y : their answers, (m,) or (m, L)
    weight : ndarray (m,) or (m, L), their weights, or None (all one)
    predictions : HeldOutPredictions
    has_all_classes : bool; if not, a score need not exist
    """

    places: NDArray
    y: Any
    weight: NDArray | None
    predictions: HeldOutPredictions
    has_all_classes: bool

    def by_class(self, answers: Answers) -> HeldOutRows:
        """Return the rows, whose answers these are, as rows of one class each, by sorted classes.

        A row of class probabilities becomes one of each class that it may have, with its share as
        weight.
        """
        classes, predictions = self.predictions.classes_, self.predictions.in_order()
        y, weight = answers
        if y.ndim == 1:
            return self._replace(y=y, predictions=predictions)
        rows, codes = np.nonzero(y)
        shares = y[rows, codes]
        if weight is not None:
            weight = weight[rows] * shares
        elif not (shares == 1).all():
            weight = shares
        return HeldOutRows(
            self.places[rows],
            classes[codes],
            weight,
            predictions.take_rows(rows),
            self.has_all_classes,
        )
