"""Classifiers that are fitted by a solver, at one strength of the penalty."""

from __future__ import annotations

import copy
from abc import ABCMeta
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score

from softreg._encoding import validation as checks
from softreg._encoding.answers import Encoding
from softreg._estimators.base import LinearClassifier
from softreg._estimators.callbacks import (
    CALLBACK_FRAMES,
    CallbackSupportMixin,
    FitTask,
    with_callbacks,
)
from softreg._model.objective import Objective
from softreg._rows.base import Rows
from softreg._rows.threads import Threads
from softreg.solvers.auto import solver_for
from softreg.solvers.result import Result


class FittedClassifier(CallbackSupportMixin, LinearClassifier, metaclass=ABCMeta):
    """A linear classifier with a strength C of its penalty and a solver."""

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
        sample = fitted._read(X, y, sample_weight, offset, reset=True)
        with Threads(checks.check_n_jobs(self.n_jobs)) as threads:
            rows = sample.rows(bool(self.fit_intercept), threads)
            metadata = {"sample_weight": sample_weight}
            task = FitTask(self, {"X": sample.data, "y": y, "metadata": metadata})
            result, learned = fitted._minimised(rows, sample.encoding, task)
        self._publish(fitted, learned)
        self._warn(sample.encoding, result, self.C, 2 + CALLBACK_FRAMES)
        return self

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

    def _minimised(
        self, rows: Rows, code: Encoding, task: FitTask
    ) -> tuple[Result, dict[str, Any]]:
        """Run the solver, reporting iterations to callbacks and screen; return what was learned."""

        def report(T: NDArray, value: float) -> bool:
            if self.verbose:
                print(f"[{type(self).__name__}] iteration {len(monitor.losses)}: F = {value:.10g}")
            return task.iteration(
                lambda: known | self._linear(*objective.coefficients(T), rows.dtype)
            )

        objective = self._posed(rows, code, self._checked_C(code))
        known = {
            "classes_": code.classes,
            "n_features_in_": self.n_features_in_,
        } | code.fitted_attributes
        solver = solver_for(self.solver, objective)
        random = checks.check_random_state(self.random_state)
        monitor = replace(self._monitor(), report=report, random=random)
        result = solver.minimise(objective, self._start(objective, code), monitor)
        checks.check_no_overflow(result.objective)
        learned = self._learned(result, code, rows) | {"solver_": solver}
        if result.validation_curve is not None:
            learned["validation_curve_"] = result.validation_curve
        task.end(learned)
        return result, learned

    def _start(self, objective: Objective, code: Encoding) -> NDArray:
        """Return the coefficients to start from, in working coordinates."""
        null = objective.null()
        if self.warm_start and hasattr(self, "coef_"):
            same_classes = np.array_equal(self.classes_, code.classes)
            if same_classes and self.coef_.shape == (null.shape[1], self.n_features_in_):
                W, b = self.coef_.T.astype(float), self.intercept_.astype(float)
                constant = objective.by_score(objective.constant_problems)
                return np.where(constant, null, objective.working(W, b))
        return null

    def _checked_C(self, code: Encoding) -> NDArray:
        """Return the inverse strength of the penalty, (1,), or those of the labels."""
        return checks.check_C(self.C, code.link.problems(code.n_scores))

    def _C(self) -> NDArray:
        return np.atleast_1d(np.asarray(self.C, dtype=float))
