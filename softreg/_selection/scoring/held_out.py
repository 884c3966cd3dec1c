"""Held-out rows and their predictions, in the form in which scorers ask for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from softreg._encoding.answers import Answers
from softreg._encoding.class_values import codes_in, sorted_classes


@dataclass(eq=False, repr=False)
class HeldOutPredictions(ClassifierMixin, BaseEstimator):
    """A fit without some rows as a scorer sees it: it knows what it predicts of these.

    Their predictions take account of offsets, and of classes that the fit has not seen. Fitted
    attributes, such as `coef_`, and predictions of other rows are those of the fit.

    Attributes
    ----------
    classes_ : ndarray (K,), the classes, or the labels' names
    scores : ndarray (m,) or (m, K), the rows' `decision_function`
    predicted : ndarray (m,) or (m, L), or CSR, their `predict`
    probabilities : ndarray (m, K)
    model : the fit, an estimator of softreg; None has no attributes
    X : the rows, the very object that the scorer gets
    """

    classes_: NDArray
    scores: NDArray
    predicted: Any
    probabilities: NDArray
    model: Any = None
    X: Any = None

    def __getattr__(self, name: str) -> Any:
        """Return a fitted attribute of the fit."""
        if name.startswith("_") or not name.endswith("_"):
            raise AttributeError(f"{type(self).__name__} has no {name}.")
        return getattr(self.model, name)

    def take_rows(self, rows: NDArray) -> HeldOutPredictions:
        """Return the predictions of some rows."""
        names = "scores", "predicted", "probabilities"
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def with_sorted_classes(self) -> HeldOutPredictions:
        """Return the predictions with sorted classes, as scikit-learn's metrics expect them."""
        order = codes_in(self.classes_, sorted_classes(self.classes_))
        sign = 1 if order[0] == 0 else -1  # of the one score of two classes
        scores = sign * self.scores if self.scores.ndim == 1 else self.scores[:, order]
        P = self.probabilities[:, order]
        return replace(self, classes_=self.classes_[order], scores=scores, probabilities=P)

    def of_label(self, label: int, rows: NDArray) -> HeldOutPredictions:
        """Return the predictions of one label, as classes 0 and 1, for some of the rows."""
        P = self.probabilities[rows, label]
        both = np.stack([1 - P, P], axis=1)
        predicted = self.predicted[rows, label]
        model = _model_of_label(self.model, label)
        return HeldOutPredictions(
            np.array([0, 1]), self.scores[rows, label], predicted, both, model
        )

    def decision_function(self, X: Any) -> NDArray:
        """Return the scores of rows."""
        return self.scores if X is self.X else self.model.decision_function(X)

    def predict(self, X: Any) -> Any:
        """Return the predictions of rows."""
        return self.predicted if X is self.X else self.model.predict(X)

    def predict_proba(self, X: Any) -> NDArray:
        """Return the probabilities of rows."""
        return self.probabilities if X is self.X else self.model.predict_proba(X)

    def predict_log_proba(self, X: Any) -> NDArray:
        """Return the logarithms of the probabilities of rows."""
        return np.log(np.maximum(self.predict_proba(X), np.finfo(float).tiny))


def _model_of_label(model: Any, label: int) -> Any:
    """Return the fit of one of several labels, as a classifier of 0 and 1."""
    return model._with_attributes(
        {
            "classes_": np.array([0, 1]),
            "coef_": model._dense_coef[[label]],
            "intercept_": model._dense_intercept[[label]],
            "multilabel_": False,
            "threshold": float(np.broadcast_to(model.threshold, len(model.coef_))[label]),
        }
    )


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
        classes, predictions = self.predictions.classes_, self.predictions.with_sorted_classes()
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
