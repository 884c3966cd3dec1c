"""The linear classifier: predictions from coefficients, and the fitted attributes of all fits."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from softreg._encoding import validation
from softreg._encoding.answers import Encoder, Encoding, two_class_scores
from softreg._model.kernels import best_classes
from softreg._rows.base import Rows
from softreg.solvers.result import Result

_DTYPES = (np.float64, np.float32)


class LinearClassifier(ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """A linear classifier: scores z = W x + b + offset, from which predictions are made.

    A model derived from it (softmax, sigmoid) says how y is encoded and scores become
    probabilities; a fit (by a solver, by cross-validation) finds the coefficients; a final class is
    both, with an ``__init__``.
    """

    @abstractmethod
    def _encoder(self, y: Any) -> Encoder:
        """Return the encoder of y, and of all y that comes in the same form."""

    @abstractmethod
    def _predictions(self, scores: NDArray) -> Any:
        """Return the predictions of scores in the shape of `decision_function`."""

    @abstractmethod
    def _class_probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities (n, K) of scores (n, K)."""

    @abstractmethod
    def _class_log_probabilities(self, scores: NDArray) -> NDArray:
        """Return the logarithms of the probabilities, (n, K), of scores (n, K)."""

    @abstractmethod
    def _attributes_by_problem(self, result: Result) -> dict[str, Any]:
        """Return the fitted attributes that only this model has, with a value a problem, (B,)."""

    @abstractmethod
    def _inverse_strengths(self, encoding: Encoding) -> NDArray:
        """Return C of the fit, (1,), or those of the labels, (n_labels,)."""

    def decision_function(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the scores z = W x + b + offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the returned shape, default=None

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,)
            One column where `coef_` has one row, for two classes.

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        check_is_fitted(self)
        data = self._validated(X, reset=False)
        return self._scores(data, self._checked_offset(offset, data))

    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> Any:
        """Return the class of each row, or which of the labels each row has.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        labels : ndarray of shape (n_samples,), or (n_samples, n_classes) of 0 and 1 for labels
            A `scipy.sparse.csr_array` if the labels of `fit` were sparse.

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        return self._predictions(self.decision_function(X, offset))

    def predict_top_k(self, X: ArrayLike, k: int, offset: ArrayLike | None = None) -> NDArray:
        """Return the k most probable classes of each row, or the k most probable labels.

        Rows are taken in blocks, so that no n x K matrix is held.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        k : int
            How many, from 1 to the number of classes.
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        classes : ndarray of shape (n_samples, k)
            Best first; equally probable ones in the order of `classes_`.

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if k is not as described, X has other features than in `fit`, or `offset`
            another shape.
        TypeError
            If `offset` is sparse.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from softreg import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> SoftmaxRegression().fit(X, y).predict_top_k(X[[0, 77]], k=2)
        array([[0, 1],
               [2, 1]])
        """
        check_is_fitted(self)
        data, K = self._validated(X, reset=False), len(self.classes_)
        count, checked_offset = validation.check_k(k, K), self._checked_offset(offset, data)

        def scores(cut: slice) -> NDArray:
            Z = self._scores(data[cut], None if checked_offset is None else checked_offset[cut])
            return two_class_scores(Z) if Z.ndim == 1 else Z

        return self.classes_[best_classes(scores, data.shape[0], K, count)]

    def predict_proba(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes), columns in the order of `classes_`

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        return self._probabilities(self.decision_function(X, offset))

    def predict_log_proba(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the logarithm of the probabilities, finite wherever the scores are.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes), columns in the order of `classes_`

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        scores = self.decision_function(X, offset)
        if scores.ndim == 1:
            return log_expit(two_class_scores(scores))
        return self._class_log_probabilities(scores)

    def _checked_offset(self, offset: Any, data: Any) -> NDArray | None:
        """Return the offset of validated rows, (n, K) or (n,), or None."""
        K = len(self.classes_)
        return validation.check_offset(
            offset, data.shape[:1] + (() if len(self.coef_) < K else (K,))
        )

    def _scores(self, data: Any, offset: NDArray | None) -> NDArray:
        """Return the scores of validated rows, (n, K), or (n,) of two classes with one row."""
        linear = safe_sparse_dot(data, self.coef_.T, dense_output=True) + self.intercept_
        scores = self._as_decisions(linear)
        return scores if offset is None else scores + offset.astype(scores.dtype)

    def _as_decisions(self, scores: NDArray) -> NDArray:
        """Return scores (n, K or 1) in the shape of `decision_function`."""
        return scores[:, 0] if scores.shape[1] < len(self.classes_) else scores

    def _probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities (n, K) of scores in the shape of `decision_function`."""
        return (
            expit(two_class_scores(scores))
            if scores.ndim == 1
            else self._class_probabilities(scores)
        )

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Return X (n, d) as floats or CSR; record its features (`reset`), or compare them."""
        checked: Any = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=_DTYPES)
        return validation.without_duplicates(checked)

    def _attributes_of_fit(self, result: Result, encoding: Encoding, rows: Rows) -> dict[str, Any]:
        """Return the fitted attributes that a solver's result makes, for rows in user's units."""
        return {
            "n_features_in_": len(rows.coordinates.scale),
            "n_iter_": result.n_iter,
            "objective_": float(result.objective.sum()),
            "optimality_gap_": float(result.gap.sum()),
            "converged_": bool(result.converged.all()),
            "loss_curve_": result.loss_curve,
            "n_samples_seen_": rows.n,
            **prediction_attributes(encoding, result.coef, result.intercept, rows.dtype),
            **self._attributes_by_problem(result),
        }

    def _with_attributes(self, attributes: dict[str, Any]) -> Self:
        """Return a copy with these fitted attributes."""
        fitted = copy.copy(self)
        for name, value in attributes.items():
            setattr(fitted, name, value)
        return fitted

    def _store(self, attributes: dict[str, Any]) -> None:
        """Replace all fitted attributes, by scikit-learn's convention those that end in "_"."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        for name, value in attributes.items():
            setattr(self, name, value)

    def _warn(self, encoding: Encoding, result: Result, C: Any, frames: int) -> None:
        """Warn of constant labels and of a fit that did not converge, `frames` up the stack."""
        if encoding.warning:
            warnings.warn(encoding.warning, UserWarning, stacklevel=frames + 1)
        if result.converged.all() or result.stopped:
            return
        message = f"{type(self).__name__} did not converge: {result.message}."
        if len(result.converged) > 1:
            unconverged = encoding.classes[~result.converged].tolist()
            message += f" Labels that did not: {unconverged}."
        if result.diverging:
            names = self.classes_ if len(self.coef_) == 1 else self.classes_[list(result.diverging)]
            message += (
                f" Some features have no penalty (C={C!r}, penalty_factor) and separate the "
                f"classes {names.tolist()}, so that larger coefficients are always better; those "
                "returned are finite but arbitrary. Choose a finite C and penalty_factor > 0."
            )
        warnings.warn(message, ConvergenceWarning, stacklevel=frames + 1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def prediction_attributes(
    encoding: Encoding, W: NDArray, b: NDArray, dtype: np.dtype
) -> dict[str, Any]:
    """Return the fitted attributes that predictions are made of, given W (d, K) and b (K,)."""
    return {
        "classes_": encoding.classes,
        **encoding.fitted_attributes,
        **coefficient_attributes(W, b, dtype),
    }


def coefficient_attributes(W: NDArray, b: NDArray, dtype: np.dtype) -> dict[str, NDArray]:
    """Return ``coef_`` (K, d) and ``intercept_`` (K,) of coefficients W (d, K) and b (K,)."""
    coef = np.ascontiguousarray(W.T, dtype=dtype)
    return {"coef_": coef, "intercept_": b.astype(dtype)}


def coefficient_path(results: list[Result], dtype: np.dtype) -> tuple[NDArray, NDArray]:
    """Return the coefficients (n_Cs, K, d) and intercepts (n_Cs, K) of all results."""
    points = [coefficient_attributes(result.coef, result.intercept, dtype) for result in results]
    coef = np.stack([point["coef_"] for point in points])
    return coef, np.stack([point["intercept_"] for point in points])
