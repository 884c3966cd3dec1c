"""The estimators: where softreg meets scikit-learn."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from softreg import _encoding as encoding
from softreg._callbacks import CALLBACK_FRAMES, CallbackSupportMixin, FitTask, with_callbacks
from softreg._coordinates import Coordinates
from softreg._encoding import Encoded
from softreg._objective import Objective
from softreg._penalties import ElasticNet
from softreg._rows import DenseRows, SparseRows
from softreg._threads import Threads
from softreg.solvers._result import Monitor, Result
from softreg.solvers._solvers import Solver, solver_for

_DTYPES = (np.float64, np.float32)
# The hardest of the raw data sets took a hundredth of this; it ends a fit that would not return.
_MOST_ITERATIONS = 10_000


class LinearClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """A linear classifier that minimises an `Objective`: scores z = W x + b + offset.

    A final class has an ``__init__`` and says how y is encoded and scores become probabilities.
    """

    @abstractmethod
    def _encode(self, y: NDArray, names: ArrayLike | None, weight: NDArray | None) -> Encoded:
        """Return the targets of y, whose columns may have names, and weights with the classes'."""

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
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels of any kind, or class probabilities, each row summing to 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; None is one for every row.
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
        """
        fitted = copy.copy(self)  # whatever fails from here on, self stays as it was
        data = fitted._validated(X, reset=True)
        weight = encoding.check_weight(sample_weight, data.shape[0])
        encoded = self._encode(encoding.check_y(y, data), getattr(y, "columns", None), weight)
        shift = encoding.check_offset(offset, encoded.score_shape(data.shape[0]))
        with Threads(encoding.check_n_jobs(self.n_jobs)) as threads:
            objective = self._objective(data, encoded, shift, threads)
            metadata = {"sample_weight": sample_weight}
            task = FitTask(self, {"X": data, "y": y, "metadata": metadata})
            result, learned = fitted._minimised(objective, encoded, task)
        self._publish(vars(fitted) | learned)
        self._warn_unless_converged(result)
        return self

    def decision_function(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the scores z = W x + b + offset.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the returned shape, default=None

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        """
        check_is_fitted(self)
        data = self._validated(X, reset=False)
        scores = safe_sparse_dot(data, self.coef_.T, dense_output=True) + self.intercept_
        scores = scores[:, 0] if scores.shape[1] == 1 else scores
        offset = encoding.check_offset(offset, scores.shape)
        return scores if offset is None else scores + offset.astype(scores.dtype)

    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> NDArray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        labels : ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        """
        scores = self.decision_function(X, offset)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy of `predict` on X against the labels y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        accuracy : float, between 0 and 1

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, or `offset` another shape.
        """
        return accuracy_score(y, self.predict(X, offset), sample_weight=sample_weight)

    def _validated(self, X: Any, *, reset: bool) -> Any:
        """Return X as a float array or CSR matrix; record its features, or compare them."""
        checked: Any = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=_DTYPES)
        return encoding.without_duplicates(checked)

    def _objective(
        self, X: Any, encoded: Encoded, shift: NDArray | None, threads: Threads
    ) -> Objective:
        """Return what is minimised."""
        factor = encoding.check_penalty_factor(self.penalty_factor, X.shape[1])
        penalty = ElasticNet.of_inverse_strength(encoding.check_C(self.C), factor)
        columns = None if shift is None else shift.reshape(len(shift), -1)
        coordinates = Coordinates.raw(X.shape[1], bool(self.fit_intercept))
        source = SparseRows if issparse(X) else DenseRows
        rows = source(X, encoded.targets, encoded.weight, columns, coordinates, threads, X.dtype)
        return Objective.in_working_coordinates(encoded.link, rows, penalty)

    def _minimised(
        self, objective: Objective, encoded: Encoded, task: FitTask
    ) -> tuple[Result, dict[str, Any]]:
        """Run the solver, reporting iterations to callbacks and screen; return what was learned."""

        def report(T: NDArray, value: float) -> bool:
            if self.verbose:
                print(f"[{type(self).__name__}] iteration {len(monitor.losses)}: F = {value:.10g}")
            return task.iteration(lambda: learned | self._linear(*objective.coefficients(T), dtype))

        dtype = objective.rows.X.dtype
        learned = {"classes_": encoded.classes, "n_features_in_": self.n_features_in_}
        solver = solver_for(self.solver, objective)
        monitor = Monitor(
            encoding.check_tol(self.tol),
            encoding.check_max_iter(self.max_iter, _MOST_ITERATIONS),
            report,
        )
        result = solver.minimise(objective, self._start(objective, encoded), monitor)
        if not np.isfinite(result.objective):
            raise ValueError(
                f"The objective overflows: it is {result.objective} at the start or after a step. "
                "Bring X, sample_weight, offset and C into a range whose squares are finite."
            )
        learned |= self._linear(result.coef, result.intercept, dtype)
        learned |= {
            "n_iter_": result.n_iter,
            "objective_": result.objective,
            "optimality_gap_": result.gap,
            "converged_": result.converged,
            "loss_curve_": result.loss_curve,
            "solver_": solver,
        }
        task.end(learned)
        return result, learned

    def _start(self, objective: Objective, encoded: Encoded) -> NDArray:
        """Return the coefficients to start from, in working coordinates."""
        if self.warm_start and hasattr(self, "coef_"):
            same_classes = np.array_equal(self.classes_, encoded.classes)
            if same_classes and self.coef_.shape[1] == self.n_features_in_:
                W, b = self.coef_.T.astype(float), self.intercept_.astype(float)
                return objective.working(W, b)
        return objective.null()

    def _publish(self, learned: dict[str, Any]) -> None:
        """Replace the fitted attributes by those of `learned`."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        self.__dict__.update({name: v for name, v in learned.items() if name.endswith("_")})

    def _warn_unless_converged(self, result: Result) -> None:
        if result.converged or result.stopped:
            return
        message = f"{type(self).__name__} did not converge: {result.message}."
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


class SoftmaxRegression(LinearClassifier):
    r"""Multinomial logistic regression that reaches the optimum on raw data.

    With scores :math:`z_i = W x_i + b + o_i`, minimises

    .. math::
        F(W, b) = \frac{1}{S} \sum_i s_i \Bigl(\log \sum_k e^{z_{ik}} - \sum_k y_{ik} z_{ik}\Bigr)
                  + \frac{1}{2 C S} \sum_j f_j \lVert W_{\cdot j} \rVert^2,
        \qquad S = \sum_i s_i,

    where s is `sample_weight` times the weight of the row's class, f is `penalty_factor`, y are
    one-hot labels or class probabilities, and the intercept b is not penalised. It is the objective
    of ``sklearn.linear_model.LogisticRegression(C=C)`` divided by C S: same parameters, same
    minimiser. Two classes are modelled by one row of coefficients, ``P(classes_[1]) =
    sigmoid(z)``. Columns need no scaling: the solver works in standardised coordinates.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, > 0: the variance of a Gaussian prior on the coefficients.
        ``np.inf`` means no penalty. glmnet's lambda is ``1 / (C S)``.
    penalty_factor : array-like of shape (n_features,), default=None
        Factors >= 0 on each feature's penalty; 0 leaves a feature unpenalised. None is all ones.
    fit_intercept : bool, default=True
        Whether there is an intercept b.
    class_weight : dict {class: weight}, "balanced" or None, default=None
        Weights >= 0 of the classes, 1 where a dict names none. "balanced" gives all classes the
        same total weight, ``S / n_classes``.
    label_smoothing : float in [0, 1), default=0.0
        Replaces targets y by ``(1 - a) y + a / n_classes``.
    classes : array-like of shape (n_classes,), default=None
        The classes in the order of the columns of coefficients and probabilities. None: sorted
        labels; for class probabilities the DataFrame's column names, else 0, 1, ...
    solver : {"auto", "lbfgs", "newton"} or object of `softreg.solvers`, default="auto"
        "auto" takes `LBFGS` where the columns' Gram matrix is small and cheap enough to factor,
        else `Newton`.
    tol : float, default=1e-9
        The fit ends when F - F* is estimated at most ``tol * F`` and proven to be at most
        ``max(tol, 1e-8) * F``; the estimate alone decides where a feature has no penalty or
        rounding hides the proof, as `optimality_gap_` then says. At least 0.
    max_iter : int, default=None
        Most iterations, >= 1; None is 10,000, which no fit on real data comes near.
    warm_start : bool, default=False
        Whether `fit` starts from the present coefficients, if classes and features are the same.
    n_jobs : int, default=None
        Threads. None is as many as BLAS is allowed at the moment; negative numbers count as in
        joblib, -1 being all processors. The result does not depend on it beyond rounding.
    verbose : int, default=0
        If positive, print the objective after each iteration.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        In the units of X, float32 for float32 X. Three or more rows sum to zero.
    intercept_ : ndarray of shape (n_classes,), or (1,) for two classes
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,), only for X with string column names
    n_iter_ : int
        Iterations of the solver.
    objective_ : float
        F at the solution, before `coef_` is rounded to the precision of X.
    optimality_gap_ : float
        Duality gap: F is at most this much above the optimum; inf if a feature that varies has no
        penalty.
    converged_ : bool
    loss_curve_ : ndarray of shape (n_iter_,)
        F after each iteration.
    solver_ : object of `softreg.solvers`
        The configuration that ran.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        Once, if `max_iter` or rounding ended the fit before the optimum, or if features without
        a penalty separate classes. A fit that a callback ended has ``converged_ = False`` and no
        warning.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The Elements of Statistical Learning", 2nd edition,
    sections 4.4 and 18.3.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> X, y = load_wine(return_X_y=True)  # raw columns: magnesium, proline, ...
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.converged_, model.coef_.shape
    (True, (3, 13))
    >>> bool(model.optimality_gap_ <= 1e-8 * model.objective_)
    True
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        penalty_factor: ArrayLike | None = None,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        label_smoothing: float = 0.0,
        classes: ArrayLike | None = None,
        solver: str | Solver = "auto",
        tol: float = 1e-9,
        max_iter: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.penalty_factor = penalty_factor
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.classes = classes
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose

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
        """
        scores = self.decision_function(X, offset)
        if scores.ndim == 1:
            return expit(np.stack([-scores, scores], axis=1))
        return softmax(scores, axis=1)

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
        """
        scores = self.decision_function(X, offset)
        if scores.ndim == 1:
            return log_expit(np.stack([-scores, scores], axis=1))
        return log_softmax(scores, axis=1)

    def _encode(self, y: NDArray, names: ArrayLike | None, weight: NDArray | None) -> Encoded:
        by_columns = self.classes is None and y.ndim == 2 and y.shape[1] > 1
        classes = names if by_columns else self.classes
        smoothing = encoding.check_label_smoothing(self.label_smoothing)
        return encoding.encode_classes(y, classes, weight, self.class_weight, smoothing)
