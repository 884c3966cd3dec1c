"""What the estimators have in common: where softreg meets scikit-learn."""

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
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from softreg import _checks as checks
from softreg._best_classes import best_classes
from softreg._callbacks import CALLBACK_FRAMES, CallbackSupportMixin, FitTask, with_callbacks
from softreg._coordinates import Coordinates
from softreg._encoding import Code, Encoder
from softreg._memory import rows_in_memory
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg._rows import Rows
from softreg._threads import Threads
from softreg.solvers._result import Monitor, Result
from softreg.solvers._solvers import solver_for

_DTYPES = (np.float64, np.float32)
# The hardest of the raw data sets took a hundredth of this; it ends a fit that would not return.
_MOST_ITERATIONS = 10_000


class LinearClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """A linear classifier that minimises an `Objective`: scores z = W x + b + offset.

    A final class has an ``__init__`` and says how y is encoded and scores become probabilities.
    """

    @abstractmethod
    def _encoder(self, y: Any) -> Encoder:
        """Return what encodes y and all that is like it."""

    @abstractmethod
    def _learned_by_problem(self, result: Result) -> dict[str, Any]:
        """Return the fitted attributes that only some classifiers have."""

    @abstractmethod
    def _predicted(self, scores: NDArray) -> Any:
        """Return the predictions of scores."""

    @abstractmethod
    def _probabilities(self, scores: NDArray) -> NDArray:
        """Return the probabilities of scores, (n, K) both."""

    @abstractmethod
    def _log_probabilities(self, scores: NDArray) -> NDArray:
        """Return their logarithms (n, K)."""

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Self:
        """Fit the coefficients.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Finite numbers in any units. Over float32 the descent of `LBFGS` runs in single
            precision, Newton's steps and the certificate in double; sparse input is used as CSR;
            other types become float64.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), or sparse matrix
            Classes of any kind, one a row; or, with a column for each class, probabilities that
            sum to 1 (`SoftmaxRegression`) or labels (`SigmoidRegression`, which alone takes
            sparse y): 0, 1, a share between, or NaN where a label is unknown. A single dense column
            holds classes, a single sparse one a label.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; None is one for every row. For labels also (n_samples, n_classes), one
            for each.
        offset : array-like of shape (n_samples, n_classes), or (n_samples,), default=None
            Known part of the scores, in the shape of `decision_function`.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        ValueError
            If an argument or parameter is not as described; an estimator that was fitted before
            stays as it was.
        TypeError
            If `offset` is sparse.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            Once, if the optimum was not reached or does not exist.
        UserWarning
            Once, if labels are constant: all 0, all 1, or never known.
        """
        fitted = copy.copy(self)  # whatever fails from here on, self stays as it was
        data = fitted._validated(X, reset=True)
        encoder = self._encoder(y)
        answers = encoder.checked(y, sample_weight, data)
        code = encoder.code(encoder.tally(answers))
        shift = checks.check_offset(offset, data.shape[:1] + code.score_shape)
        with Threads(checks.check_n_jobs(self.n_jobs)) as threads:
            columns = None if shift is None else shift.reshape(len(shift), -1)
            raw = Coordinates.raw(data.shape[1], bool(self.fit_intercept))
            rows = rows_in_memory(data, *code.targets(answers), columns, raw, threads)
            metadata = {"sample_weight": sample_weight}
            task = FitTask(self, {"X": data, "y": y, "metadata": metadata})
            result, learned = fitted._minimised(rows, code, task)
        self._publish(fitted, learned)
        self._warn(code, result)
        return self

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
            return _of_both(Z) if Z.ndim == 1 else Z

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
        return expit(_of_both(scores)) if scores.ndim == 1 else self._probabilities(scores)

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
        return log_expit(_of_both(scores)) if scores.ndim == 1 else self._log_probabilities(scores)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy of `predict` on X: the share of rows that are all as in y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of the shape of `predict`, or sparse matrix
        sample_weight : array-like of shape (n_samples,), default=None
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        accuracy : float, between 0 and 1

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, `offset` has another shape, or y
            holds NaN.
        """
        y = checks.check_all_known(y)
        return accuracy_score(y, self.predict(X, offset), sample_weight=sample_weight)

    def _checked_offset(self, offset: Any, data: Any) -> NDArray | None:
        """Return the offset of validated rows, or None."""
        K = len(self.classes_)
        return checks.check_offset(offset, data.shape[:1] + (() if len(self.coef_) < K else (K,)))

    def _scores(self, data: Any, offset: NDArray | None) -> NDArray:
        """Return the scores of validated rows, (n, K), or (n,) of two classes with one row."""
        scores = safe_sparse_dot(data, self.coef_.T, dense_output=True) + self.intercept_
        scores = scores[:, 0] if len(self.coef_) < len(self.classes_) else scores
        return scores if offset is None else scores + offset.astype(scores.dtype)

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Return X as a float array or CSR matrix; record its features, or compare them."""
        checked: Any = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=_DTYPES)
        return checks.without_duplicates(checked)

    def _penalty(self, code: Code) -> ElasticNet:
        """Return what coefficients cost, in the user's units."""
        factor = checks.check_penalty_factor(self.penalty_factor, self.n_features_in_)
        C = checks.check_C(self.C, code.link.problems(code.n_scores))
        return ElasticNet.of_inverse_strength(C, factor)

    def _minimised(self, rows: Rows, code: Code, task: FitTask) -> tuple[Result, dict[str, Any]]:
        """Run the solver, reporting iterations to callbacks and screen; return what was learned."""

        def report(T: NDArray, value: float) -> bool:
            if self.verbose:
                print(f"[{type(self).__name__}] iteration {len(monitor.losses)}: F = {value:.10g}")
            return task.iteration(lambda: learned | self._linear(*objective.coefficients(T), dtype))

        objective = Objective.in_working_coordinates(code.link, rows, self._penalty(code))
        dtype = rows.dtype
        learned = {"classes_": code.classes, "n_features_in_": self.n_features_in_}
        learned |= code.learned
        solver = solver_for(self.solver, objective)
        monitor = Monitor(
            checks.check_tol(self.tol),
            checks.check_max_iter(self.max_iter, _MOST_ITERATIONS),
            report,
            checks.check_random_state(self.random_state),
        )
        result = solver.minimise(objective, self._start(objective, code), monitor)
        if not np.isfinite(result.objective).all():
            raise ValueError(
                f"The objective overflows: it is {result.objective.sum()} at the start or after a "
                "step. Bring X, sample_weight, offset and C into a range whose squares are finite."
            )
        learned |= self._linear(result.coef, result.intercept, dtype)
        learned |= {
            "n_iter_": result.n_iter,
            "objective_": float(result.objective.sum()),
            "optimality_gap_": float(result.gap.sum()),
            "converged_": bool(result.converged.all()),
            "loss_curve_": result.loss_curve,
            "n_samples_seen_": rows.n,
            "solver_": solver,
        }
        if result.validation_curve is not None:
            learned["validation_curve_"] = result.validation_curve
        learned |= self._learned_by_problem(result)
        task.end(learned)
        return result, learned

    def _start(self, objective: Objective, code: Code) -> NDArray:
        """Return the coefficients to start from, in working coordinates."""
        null = objective.null()
        if self.warm_start and hasattr(self, "coef_"):
            same_classes = np.array_equal(self.classes_, code.classes)
            if same_classes and self.coef_.shape == (null.shape[1], self.n_features_in_):
                W, b = self.coef_.T.astype(float), self.intercept_.astype(float)
                settled = objective.by_score(objective.settled)
                return np.where(settled, null, objective.working(W, b))
        return null

    def _publish(self, fitted: LinearClassifier, learned: dict[str, Any]) -> None:
        """Replace the fitted attributes by what was learned, and by the features of `fitted`."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        features = {name: v for name, v in vars(fitted).items() if name.endswith("_in_")}
        self.__dict__.update(features | learned)

    def _warn(self, code: Code, result: Result) -> None:
        if code.remark:
            warnings.warn(code.remark, UserWarning, stacklevel=3 + CALLBACK_FRAMES)
        if result.converged.all() or result.stopped:
            return
        message = f"{type(self).__name__} did not converge: {result.message}."
        if len(result.converged) > 1:
            late = code.classes[~result.converged].tolist()
            message += f" Labels that did not: {late}."
        if result.diverging:
            names = self.classes_ if len(self.coef_) == 1 else self.classes_[list(result.diverging)]
            message += (
                f" Some features have no penalty (C={self.C!r}, penalty_factor) and separate the "
                f"classes {names.tolist()}, so that larger coefficients are always better; those "
                "returned are finite but arbitrary. Choose a finite C and penalty_factor > 0."
            )
        warnings.warn(message, ConvergenceWarning, stacklevel=3 + CALLBACK_FRAMES)

    def _linear(self, W: NDArray, b: NDArray, dtype: np.dtype) -> dict[str, NDArray]:
        """Return the fitted coefficients of W (d, K) and b (K,)."""
        coef = np.ascontiguousarray(W.T, dtype=dtype)
        return {"coef_": coef, "intercept_": b.astype(dtype)}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _of_both(scores: NDArray) -> NDArray:
    """Return the scores (n, 2) of two classes of which the second has `scores` (n,)."""
    return np.stack([-scores, scores], axis=1)
