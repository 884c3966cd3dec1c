"""What all estimators have in common: predictions, and what fits leave behind."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from softreg._encoding import validation as checks
from softreg._encoding.answers import Encoder, Encoding, Sample, two_class_scores
from softreg._model.kernels import best_classes
from softreg._model.objective import Objective
from softreg._model.penalties import Ridge
from softreg._rows.base import Rows
from softreg._rows.threads import Threads
from softreg._selection.path import metric_at_optimum
from softreg.solvers.linalg.metrics import Metric
from softreg.solvers.monitor import Monitor
from softreg.solvers.result import Result

_DTYPES = (np.float64, np.float32)
# The hardest of the raw data sets took a hundredth of this; it ends a fit that would not return.
_MOST_ITERATIONS = 10_000


class LinearClassifier(ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """A linear classifier: scores z = W x + b + offset, of which predictions are made.

    A final class has an ``__init__`` and learns coefficients that minimise an `Objective`; its
    model says how y is encoded and scores become probabilities.
    """

    @abstractmethod
    def _encoder(self, y: Any) -> Encoder:
        """Return what encodes y and all that is like it."""

    @abstractmethod
    def _learned_by_problem(self, result: Result) -> dict[str, Any]:
        """Return the fitted attributes that only some classifiers have."""

    @abstractmethod
    def _C(self) -> NDArray:
        """Return the inverse strength of the penalty, (1,), or those of the labels, (n_labels,)."""

    @abstractmethod
    def _predicted(self, scores: NDArray) -> Any:
        """Return the predictions of scores."""

    @abstractmethod
    def _probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities of scores, (n, K) both."""

    @abstractmethod
    def _log_probabilities(self, scores: NDArray) -> NDArray:
        """Return their logarithms (n, K)."""

    def decision_function(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the scores z = W x + b + offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the returned shape, default=None

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) where `coef_` has one row
            for two classes

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
        """Return the class of each row, or for labels which of them it has.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        labels : ndarray of shape (n_samples,), or (n_samples, n_classes) of 0 and 1 for labels, a
            `scipy.sparse.csr_array` if those of `fit` were sparse

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        return self._predicted(self.decision_function(X, offset))

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
            Best first; of equally probable ones that which comes first in `classes_`.

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
        count, shift = checks.check_k(k, K), self._checked_offset(offset, data)

        def scores(cut: slice) -> NDArray:
            Z = self._scores(data[cut], None if shift is None else shift[cut])
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
        scores = self.decision_function(X, offset)
        return self._probabilities_of(scores)

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
        return (
            log_expit(two_class_scores(scores))
            if scores.ndim == 1
            else self._log_probabilities(scores)
        )

    def _probabilities_of(self, scores: NDArray) -> NDArray:
        """Return the probabilities (n, K) of scores in the shape of `decision_function`."""
        return expit(two_class_scores(scores)) if scores.ndim == 1 else self._probabilities(scores)

    def _checked_offset(self, offset: Any, data: Any) -> NDArray | None:
        """Return the offset of validated rows, or None."""
        K = len(self.classes_)
        return checks.check_offset(offset, data.shape[:1] + (() if len(self.coef_) < K else (K,)))

    def _scores(self, data: Any, offset: NDArray | None) -> NDArray:
        """Return the scores of validated rows, (n, K), or (n,) of two classes with one row."""
        linear = safe_sparse_dot(data, self.coef_.T, dense_output=True) + self.intercept_
        scores = self._shaped(linear)
        return scores if offset is None else scores + offset.astype(scores.dtype)

    def _shaped(self, scores: NDArray) -> NDArray:
        """Return scores (n, K or 1) in the shape of `decision_function`."""
        return scores[:, 0] if scores.shape[1] < len(self.classes_) else scores

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Return X as a float array or CSR matrix; record its features, or compare them."""
        checked: Any = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=_DTYPES)
        return checks.without_duplicates(checked)

    def _read(self, X: Any, y: Any, sample_weight: Any, offset: Any, *, reset: bool) -> Sample:
        """Return rows as a fit takes them; record the features of X, or compare them."""
        data = self._validated(X, reset=reset)
        return Sample.from_data(data, self._encoder(y), y, sample_weight, offset)

    def _at_optimum(
        self, X: Any, y: Any, sample_weight: Any, offset: Any, threads: Threads
    ) -> tuple[Objective, NDArray, Metric]:
        """Return the objective that the model was fitted to, its coefficients, and a metric there.

        Coefficients are (width, K), in working coordinates; ValueError if they are not at the
        optimum.
        """
        check_is_fitted(self)
        sample = self._read(X, y, sample_weight, offset, reset=False)
        if not np.array_equal(sample.encoding.classes, self.classes_):
            raise ValueError(
                f"y holds the classes {sample.encoding.classes.tolist()}, and the model was fitted "
                f"to {self.classes_.tolist()}; pass the X and y that it was fitted to."
            )
        rows = sample.rows(bool(self.fit_intercept), threads)
        objective = self._posed(rows, sample.encoding, self._C())
        T = objective.working(self.coef_.T.astype(float), self.intercept_.astype(float))
        return objective, T, metric_at_optimum(objective, T)

    def _penalty(self, C: NDArray) -> Ridge:
        """Return what coefficients cost at inverse strengths C, (1,) or (K,), in user's units."""
        factor = checks.check_penalty_factor(self.penalty_factor, self.n_features_in_)
        return Ridge.from_C(C, factor)

    def _posed(self, rows: Rows, code: Encoding, C: NDArray) -> Objective:
        """Return the objective at inverse strengths C, (1,) or (K,)."""
        return Objective.in_working_coordinates(code.link, rows, self._penalty(C))

    def _monitor(self) -> Monitor:
        """Return what watches over a fit."""
        most = checks.check_max_iter(self.max_iter, _MOST_ITERATIONS)
        return Monitor(checks.check_tol(self.tol), most, lambda _T, _value: False)

    def _learned(self, result: Result, code: Encoding, rows: Rows) -> dict[str, Any]:
        """Return the fitted attributes that a solver's result makes."""
        of_all = {
            "classes_": code.classes,
            "n_features_in_": self.n_features_in_,
            "n_iter_": result.n_iter,
            "objective_": float(result.objective.sum()),
            "optimality_gap_": float(result.gap.sum()),
            "converged_": bool(result.converged.all()),
            "loss_curve_": result.loss_curve,
            "n_samples_seen_": rows.n,
        }
        linear = self._linear(result.coef, result.intercept, rows.dtype)
        return of_all | code.fitted_attributes | linear | self._learned_by_problem(result)

    def _publish(self, fitted: LinearClassifier, learned: dict[str, Any]) -> None:
        """Replace the fitted attributes by what was learned, and by the features of `fitted`."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        features = {name: v for name, v in vars(fitted).items() if name.endswith("_in_")}
        self.__dict__.update(features | learned)

    def _warn(self, code: Encoding, result: Result, C: Any, frames: int) -> None:
        """Warn of a fit that did not converge, as from so many frames up the stack."""
        if code.warning:
            warnings.warn(code.warning, UserWarning, stacklevel=frames + 1)
        if result.converged.all() or result.stopped:
            return
        message = f"{type(self).__name__} did not converge: {result.message}."
        if len(result.converged) > 1:
            late = code.classes[~result.converged].tolist()
            message += f" Labels that did not: {late}."
        if result.diverging:
            names = self.classes_ if len(self.coef_) == 1 else self.classes_[list(result.diverging)]
            message += (
                f" Some features have no penalty (C={C!r}, penalty_factor) and separate the "
                f"classes {names.tolist()}, so that larger coefficients are always better; those "
                "returned are finite but arbitrary. Choose a finite C and penalty_factor > 0."
            )
        warnings.warn(message, ConvergenceWarning, stacklevel=frames + 1)

    def _linear(self, W: NDArray, b: NDArray, dtype: np.dtype) -> dict[str, NDArray]:
        """Return the fitted coefficients of W (d, K) and b (K,)."""
        coef = np.ascontiguousarray(W.T, dtype=dtype)
        return {"coef_": coef, "intercept_": b.astype(dtype)}

    def _linear_path(self, results: list[Result], dtype: np.dtype) -> dict[str, NDArray]:
        """Return the fitted coefficients of all results together."""
        linear = [self._linear(result.coef, result.intercept, dtype) for result in results]
        return {name: np.stack([own[name] for own in linear]) for name in linear[0]}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
