"""The linear classifier: predictions from coefficients, the fitted attributes, and warnings."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from softreg._encoding import target_checks, validation
from softreg._encoding.answers import Answers, Encoder, Encoding, two_class_scores
from softreg._encoding.class_values import has_columns
from softreg._encoding.clusters.lazy import lazy_on_collections
from softreg._encoding.clusters.partitions import check_in_memory
from softreg._encoding.column_faults import explaining_columns
from softreg._encoding.namespaces import (
    check_tensors,
    coefficients_on_host,
    dtypes_of,
    on_host,
    returned_like_X,
    wrapped,
)
from softreg._model.kernels import best_classes, expit
from softreg._rows.arrays import joined_rows, values_at_once
from softreg._rows.base import Rows, slices
from softreg.solvers.base import Result

# Rows are predicted in blocks of so many values of X, or scores: 8 MB of doubles.
_BLOCK_VALUES = 2**20
# So many columns are named in a warning.
_MOST_NAMED = 10


class Strength(NamedTuple):
    """How strong the penalty of all scores is, (1,), or that of each, (K,).

    Attributes
    ----------
    C : ndarray, its inverse strength
    l1_ratio : ndarray, the share of the sparse part
    """

    C: NDArray[np.float64]
    l1_ratio: NDArray[np.float64]


class LinearClassifier(ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """A linear classifier: scores z = W x + b + offset, from which predictions are made.

    A model derived from it (softmax, sigmoid) says how y is encoded and scores become
    probabilities; a fit (by a solver, by cross-validation) finds the coefficients; a final class is
    both, with an ``__init__``.
    """

    n_features_in_: int
    classes_: NDArray[Any]
    coef_: Any  # an array, or after `sparsify` CSR
    intercept_: NDArray[np.float64]
    objective_: float
    optimality_gap_: float
    converged_: bool
    proven_: bool
    class_prior_: NDArray[np.float64]

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
    def _strength(self, encoding: Encoding) -> Strength:
        """Return the strength of the fit's penalty."""

    @lazy_on_collections
    @returned_like_X
    def decision_function(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the scores z = W x + b + offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
        offset : array-like of the returned shape, default=None

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,)
            One column where `coef_` has one row, for two classes. Of a Dask array, as all
            predictions, a lazy one of the same partitions; of a Dask DataFrame a lazy DataFrame
            with the classes as columns, or a Series, of the same index.

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        TypeError
            If `offset` is sparse.
        """
        return self._of_scores(X, offset, lambda Z: Z)

    @lazy_on_collections
    @returned_like_X
    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> Any:
        """Return the class of each row, or which of the labels each row has.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
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
        check_is_fitted(self)
        data, checked_offset = self._checked(X, offset)
        blocks = self._score_blocks(data, checked_offset)
        parts = ((rows, self._predictions(Z)) for rows, Z in blocks)
        if getattr(self, "sparse_output_", False):
            return sparse.vstack([part for _, part in parts], "csr")
        return joined_rows(data.shape[0], parts)

    @lazy_on_collections
    @returned_like_X
    def predict_top_k(self, X: ArrayLike, k: int, offset: ArrayLike | None = None) -> NDArray:
        """Return the k most probable classes of each row, or the k most probable labels.

        Rows are taken in blocks, so that no n x K matrix is held.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
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
        rows, count = self._checked(X, offset), validation.check_k(k, len(self.classes_))
        best = [
            best_classes(two_class_scores(Z) if Z.ndim == 1 else Z, count)
            for _, Z in self._score_blocks(*rows)
        ]
        return self.classes_[np.concatenate(best)]

    @lazy_on_collections
    @returned_like_X
    def predict_proba(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
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
        return self._of_scores(X, offset, self._probabilities)

    @lazy_on_collections
    @returned_like_X
    def predict_log_proba(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the logarithm of the probabilities, finite wherever the scores are.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
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
        return self._of_scores(X, offset, self._log_probabilities)

    def sparsify(self) -> Self:
        """Make `coef_` a `scipy.sparse.csr_array`, which is smaller if most of it is zero.

        All goes on working; a fit makes it dense again.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self.coef_ = sparse.csr_array(self._dense_coef)
        return self

    def densify(self) -> Self:
        """Make `coef_` an array again, after `sparsify`.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self.coef_ = self._dense_coef
        return self

    @property
    def _dense_coef(self) -> NDArray[np.float64]:
        """The coefficients as an ndarray, (K, d)."""
        return dense(coefficients_on_host(self.coef_))

    @property
    def _dense_intercept(self) -> NDArray[np.float64]:
        """The intercepts as an ndarray, (K,)."""
        return coefficients_on_host(self.intercept_)

    def _read_answers(self, y: Any, sample_weight: Any, n: int) -> tuple[Encoding, Answers]:
        """Return y of n rows, in any form that `fit` takes, as the fit before would encode it.

        ValueError if its columns are not those of the fit.
        """
        y, sample_weight = on_host(y=y, sample_weight=sample_weight)
        encoder, by_columns = self._encoder(y), has_columns(y)
        has_labels = getattr(self, "multilabel_", by_columns)
        if by_columns != has_labels:
            form = "a column for each label" if has_labels else "one class a row"
            raise ValueError(f"y must have {form}, as it had in fit.")
        names = getattr(y, "columns", None) if by_columns and self.classes is None else None
        target_checks.check_same_columns(names, self.classes_)
        answers = encoder.checked(y, sample_weight, np.empty((n, 0)))
        return self._encoding_of_fit(encoder, answers), answers

    def _encoding_of_fit(self, encoder: Encoder, answers: Answers) -> Encoding:
        """Return the encoding of answers by the classes of the fit, in their order."""
        return replace(encoder, classes=self.classes_).encoding_from_classes(None, answers)

    def _of_scores(
        self, X: Any, offset: Any, function: Callable[[NDArray], NDArray]
    ) -> NDArray[np.floating]:
        """Return what a function makes of scores in double, (n, ...), in the precision of X."""
        check_is_fitted(self)
        data, checked_offset = self._checked(X, offset)
        blocks = self._score_blocks(data, checked_offset)
        return joined_rows(data.shape[0], ((rows, function(Z)) for rows, Z in blocks), data.dtype)

    def _checked(self, X: Any, offset: Any) -> tuple[Any, NDArray | None]:
        """Return X (n, d) as floats or CSR and the offset, (n, K) or (n,), or None."""
        data = self._validated(X, reset=False)
        n, K = data.shape[0], len(self.classes_)
        return data, validation.check_offset(
            offset, (n,) if self.intercept_.shape[0] < K else (n, K)
        )

    def _score_blocks(
        self, data: Any, offset: NDArray | None
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield blocks of validated rows and their scores in double, as `decision_function` has.

        No matrix in double precision is larger than a block's.
        """
        n, b = data.shape[0], self._dense_intercept
        W = coefficients_on_host(self.coef_).T
        W = np.ascontiguousarray(W) if sparse.issparse(data) and not sparse.issparse(W) else W
        at_once = values_at_once(data, _BLOCK_VALUES)
        for rows in prediction_slices(n, max(data.size, n * len(b)), at_once):
            linear: Any = data[rows].astype(np.float64, copy=False) @ W
            Z = self._as_decisions(dense(linear) + b)
            yield rows, Z if offset is None else Z + offset[rows]

    def _as_decisions(self, scores: NDArray) -> NDArray:
        """Return scores (n, K or 1) in the shape of `decision_function`."""
        return scores[:, 0] if scores.shape[1] < len(self.classes_) else scores

    def _probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities (n, K) of scores in the shape of `decision_function`."""
        if scores.ndim == 1:
            return expit(two_class_scores(scores))
        return self._class_probabilities(scores)

    def _log_probabilities(self, scores: NDArray) -> NDArray:
        """Return the logarithms of the probabilities, (n, K), likewise."""
        if scores.ndim == 1:
            return log_expit(two_class_scores(scores))
        return self._class_log_probabilities(scores)

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Return X (n, d) as floats or CSR; record its features (`reset`), or compare them."""
        check_in_memory(X=X)
        check_tensors(X=X)
        with explaining_columns(X):
            dtype = dtypes_of(X)
            checked: Any = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=dtype)
        return wrapped(validation.without_duplicates(checked))

    def _attributes_of_fit(self, result: Result, encoding: Encoding, rows: Rows) -> dict[str, Any]:
        """Return the fitted attributes that a solver's result makes, for rows in user's units."""
        return {
            "n_iter_": np.array([result.n_iter]),
            "objective_": float(result.objective.sum()),
            "optimality_gap_": float(result.gap.sum()),
            "converged_": bool(result.converged.all()),
            "proven_": bool(result.proven.all()),
            "loss_curve_": result.loss_curve,
            "n_samples_seen_": rows.totals.n,
            "class_prior_": _with_both_classes(rows.totals.mean_target, encoding),
            **prediction_attributes(encoding, result.coef, result.intercept),
            **self._attributes_by_problem(result),
        }

    def _with_attributes(self, attributes: dict[str, Any]) -> Self:
        """Return a copy with these fitted attributes."""
        fitted = copy.copy(self)
        fitted.__dict__.update(attributes)
        return fitted

    def _store(self, attributes: dict[str, Any]) -> None:
        """Replace all fitted attributes, by scikit-learn's convention those that end in "_"."""
        state = self.__dict__
        for name in [name for name in state if name[-1] == "_"]:
            del state[name]
        state.update(attributes)

    def _warn(self, encoding: Encoding, result: Result, C: Any, frames: int) -> None:
        """Warn, `frames` up the stack, of constant labels and of a fit that did not converge.

        And where it did, of coefficients that are not identified.
        """
        if encoding.warning:
            warnings.warn(encoding.warning, UserWarning, stacklevel=frames + 1)
        if result.converged.all() and result.unidentified:
            message = self._unidentified_message(result.unidentified, C)
            warnings.warn(message, UserWarning, stacklevel=frames + 1)
        if result.converged.all() or result.stopped:
            return
        message = f"{type(self).__name__} did not converge: {result.message}."
        if len(result.converged) > 1:
            unconverged = encoding.classes[~result.converged].tolist()
            message += f" Labels that did not: {unconverged}."
        if result.diverging:
            is_pair = self.intercept_.shape[0] == 1  # one score for two classes
            names = self.classes_ if is_pair else self.classes_[list(result.diverging)]
            message += (
                f" Some features have no penalty (C={validation.shown(C)}, penalty_factor) and "
                "separate the "
                f"classes {names.tolist()}, so that larger coefficients are always better; those "
                "returned are finite but arbitrary. Choose a finite C and penalty_factor > 0; "
                "softreg.inference.separation shows which columns do it, and firth has estimates "
                "that are finite without a C."
            )
        warnings.warn(message, ConvergenceWarning, stacklevel=frames + 1)

    def _unidentified_message(self, features: tuple[int, ...], C: Any) -> str:
        """Return which columns have coefficients that the data leave open, and what to do."""
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        named = names[list(features[:_MOST_NAMED])].tolist()
        more = f" and {len(features) - _MOST_NAMED} more" if len(features) > _MOST_NAMED else ""
        return (
            f"The coefficients of the columns {named}{more} are not identified: some of these are "
            "linear combinations of others, and their penalty is nothing, or lost in rounding "
            f"(C={validation.shown(C)}, penalty_factor). "
            "Predictions and F are; the coefficients are those with the least sum of squares. "
            'Leave columns out, as OneHotEncoder(drop="first") does, or choose a smaller C.'
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def has_labels(estimator: LinearClassifier) -> bool:
    """Return whether rows of a fit have any number of labels, not one class each."""
    return bool(getattr(estimator, "multilabel_", False))


def feature_names(estimator: LinearClassifier) -> NDArray[np.object_]:
    """Return the names of the columns of a fit, (d,); x0, x1, ... where they have none."""
    numbered = np.array([f"x{j}" for j in range(estimator.n_features_in_)], dtype=object)
    return getattr(estimator, "feature_names_in_", numbered)


def prediction_slices(n: int, n_values: int, at_once: int = _BLOCK_VALUES) -> list[slice]:
    """Return the slices of n rows with `n_values` in all, of which some are predicted at a time."""
    return slices(n, min(n, -(-n_values // at_once)))


def dense(matrix: Any) -> Any:
    """Return a CSR matrix as an array, an array as it is."""
    is_sparse: bool = sparse.issparse(matrix)
    return matrix.toarray() if is_sparse else matrix


def prediction_attributes(encoding: Encoding, W: NDArray, b: NDArray) -> dict[str, Any]:
    """Return the fitted attributes that predictions are made of, given W (d, K) and b (K,).

    Coefficients are doubles whatever X is: what was certified is what is stored.
    """
    return {
        "n_features_in_": len(W),
        "classes_": encoding.classes,
        **encoding.fitted_attributes,
        "coef_": np.ascontiguousarray(W.T),
        "intercept_": b,
    }


def _with_both_classes(share: NDArray, encoding: Encoding) -> NDArray:
    """Return shares (K,) of scores as those of classes: the one of two classes is the second's."""
    return share if encoding.score_shape else np.append(1 - share, share)


def coefficient_path(results: list[Result]) -> tuple[NDArray, NDArray]:
    """Return the coefficients (n_Cs, K, d) and intercepts (n_Cs, K) of all results."""
    coef = np.stack([result.coef.T for result in results])
    return coef, np.stack([result.intercept for result in results])
