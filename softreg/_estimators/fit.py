"""Classifiers that are fitted by a solver, at one strength of the penalty, under callbacks."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import penalty_checks, validation
from softreg._encoding.answers import Encoding
from softreg._encoding.clusters.lazy import computed_parts, fitted_alone
from softreg._encoding.clusters.partitions import is_collection
from softreg._encoding.namespaces import converted_like, on_host, with_coefficients_like
from softreg._estimators.base import LinearClassifier, Strength, prediction_attributes
from softreg._estimators.posing import has_intercept, monitor_of, opened_sample, pose, threads_of
from softreg._model.objective import Objective
from softreg._rows.base import Rows
from softreg._selection.scoring.scores import Accuracy, accuracy_of_rows, expected_accuracy
from softreg.solvers.auto import solver_for
from softreg.solvers.base import Result

try:
    from sklearn import callback
    from sklearn.callback import CallbackSupportMixin

    HAVE_CALLBACKS = True
    CALLBACK_FRAMES = 1  # what `with_callbacks` adds to the stack above `fit`
except ImportError:  # scikit-learn < 1.9
    HAVE_CALLBACKS = False
    CALLBACK_FRAMES = 0

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""


Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """Return the method under scikit-learn's callbacks, or as it is where there are none."""
    return callback.with_callbacks(method) if HAVE_CALLBACKS else method


class SolverClassifier(CallbackSupportMixin, LinearClassifier, metaclass=ABCMeta):
    """A linear classifier whose coefficients a solver finds, at one strength C of the penalty."""

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
            Finite numbers in any units and as far from zero as may be; a column is constant only
            if all its values are equal. Over float32 the descent of `LBFGS` runs in single
            precision, Newton's steps and the certificate in double; sparse input is used as CSR;
            other types become float64. Or a Dask array (of CSR blocks, too) or DataFrame; y,
            `sample_weight` and `offset` are then of the same partitions.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), or sparse matrix
            Classes of any kind that have a hash, one a row and none missing: numbers, texts, dates,
            Decimals, Intervals, tuples in an array of objects. Those without an order, such as
            members of an Enum, are named by `classes`. Fractional numbers are taken for
            measurements, unless they are objects or categories of pandas. Or, with a column for
            each class, probabilities that sum to 1 (`SoftmaxRegression`) or labels
            (`SigmoidRegression`, which alone takes sparse y): 0, 1, a share between, or NaN where a
            label is unknown. A single dense column holds classes, a single sparse one a label.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; None is one for every row. For labels also (n_samples, n_classes), one
            for each. Rows of weight 0 may hold any finite values: the fit is that without them.
        offset : array-like of shape (n_samples, n_classes), or (n_samples,), default=None
            Known part of the scores, in the shape of `decision_function`. Where a label is unknown
            or weighs nothing, its offset does not count.

        Returns
        -------
        self : the fitted estimator

        Raises
        ------
        ValueError
            If an argument or parameter is not as described; an estimator that was fitted before
            stays as it was. Columns of X that hold text, missing or infinite values are named, with
            an example and what to do about it.
        TypeError
            If `offset` is sparse, or X holds dates, durations or other objects: likewise.
        ConnectionError, RuntimeError
            If a Dask cluster is lost or restarted during the fit, or has lost data that it cannot
            make again.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            Once, if the optimum was not reached or does not exist.
        UserWarning
            Once, if labels are constant: all 0, all 1, or never known. Once, if there are nearly as
            many classes as rows, or texts that look like combinations of tags, as "a;b;c". Once, if
            columns without a penalty determine each other, with their names: predictions and F are
            those of the one optimum, their coefficients the least that reach it, the limit of ever
            weaker penalties.

        Notes
        -----
        Rows of Dask collections stay on the workers of the current client, encoded, until the fit
        ends; a pass sends coefficients out, and sums come back. The optimum and its certificate are
        those in memory, and the same partitions give the same bits on any number of workers. What
        is lost with a worker is made again from the collection, and must be what it was. A worker
        that hangs is waited for until the scheduler's ``worker-ttl`` is over, 5 minutes by default,
        and where there is none one that joins; Ctrl-C ends the wait. Without a client Dask's
        default scheduler computes the rows into the memory of this process.

        scikit-learn's metrics, and its folds of an integer `cv`, take numbers, texts and datetime64
        alone: of other classes most metrics raise an error, while folds are not stratified; bytes
        and tuples are refused by both. `score` takes all; for the others pass ``y.astype(str)``.

        ``sklearn.model_selection.cross_val_predict(method="predict_proba")`` numbers the values of
        each column of y, 0, 1, ..., before any estimator sees them: class probabilities, shares and
        unknown labels become other targets, unnoticed. Fit and predict in a loop over the folds.
        """
        y, sample_weight, offset = on_host(y=y, sample_weight=sample_weight, offset=offset)
        given = self, X, y, sample_weight, offset
        with threads_of(self) as threads, opened_sample(*given) as (sample, features):
            rows = sample.rows(has_intercept(self), threads)
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            data = {"X": converted_like(X, sample.data), "y": y, "metadata": metadata}
            result, attributes = self._solve(rows, sample.encoding, features, data)
        self._store(features | with_coefficients_like(X, attributes))
        self._warn(sample.encoding, result, self.C, 2 + CALLBACK_FRAMES)
        return self

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        r"""Return the accuracy of `predict` on X: the share of rows predicted right, all labels.

        Where y is uncertain, a row counts the probability that its prediction is right. Of class
        probabilities that is the one of the predicted class, :math:`\hat k_i`, so that the score is
        the expected accuracy,

        .. math:: \sum_i s_i y_{i \hat k_i} \Big/ \sum_i s_i .

        Of labels it is the product over the row's known labels of y where the label is predicted,
        and 1 - y where not, as if they were independent; rows without known labels do not count.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dask collection
        y : as in `fit`, after class probabilities also one class a row
            Classes that `fit` has not seen count as predicted wrong.
        sample_weight : as in `fit`, default=None
            Of labels' weights, (n_samples, n_classes), a row has the mean over those known; labels
            of weight zero do not count.
        offset : array-like of the shape of `decision_function`, default=None

        Returns
        -------
        accuracy : float, between 0 and 1

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if X has other features than in `fit`, `offset` has another shape, or y
            is not as described, or holds labels of another kind.
        """
        check_is_fitted(self)
        data = X, *on_host(y=y, sample_weight=sample_weight, offset=offset)
        if not any(map(is_collection, data)):
            return expected_accuracy([self._accuracy(*data)])
        return expected_accuracy(computed_parts(fitted_alone(self)._accuracy, *data))

    def _accuracy(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> Accuracy:
        """Return how far the rows in memory are predicted right."""
        data, checked_offset = self._checked(X, offset)
        _, answers = self._read_answers(y, sample_weight, data.shape[0])
        unit = answers.weight_unit
        answers, blocks = answers.in_weight_unit(unit), self._score_blocks(data, checked_offset)
        predicted = (
            (self._predictions(np.asarray(Z)), answers.take_rows(rows)) for rows, Z in blocks
        )
        return accuracy_of_rows(predicted, self.classes_, unit)

    def _solve(
        self, rows: Rows, encoding: Encoding, features: dict[str, Any], data: dict[str, Any]
    ) -> tuple[Result, dict[str, Any]]:
        """Return the solver's result for rows in the user's units, and the fitted attributes.

        `features` are the fitted attributes that describe the columns; `data` are what callbacks
        see of the rows (`FitTask`).
        """
        task = FitTask(self, data)
        objective = pose(self, rows, encoding, self._strength(encoding), features)
        solver = solver_for(self.solver, objective)
        make_generator = validation.generator_maker(self.random_state)

        def attributes_at(T: NDArray) -> dict[str, Any]:
            return prediction_attributes(encoding, *objective.coefficients(T))

        def report(T: NDArray, F: float) -> bool:
            return task.end_iteration(F, partial(attributes_at, T))

        monitor = monitor_of(self, report=report, make_generator=make_generator)
        start = self._start(objective, rows, encoding)
        task.begin_iteration(partial(attributes_at, start))
        result = solver.minimise(objective, start, monitor)
        validation.check_no_overflow(result.objective, result.coef)
        attributes = self._attributes_of_fit(result, encoding, rows) | {"solver_": solver}
        if result.validation_curve is not None:
            attributes["validation_curve_"] = result.validation_curve
        task.end(attributes)
        return result, attributes

    def _start(self, objective: Objective, rows: Rows, encoding: Encoding) -> NDArray:
        """Return T (width, K) to start from: the null model, or with `warm_start` the last fit.

        A fit that is worse than the null model, as that of other data may be, is no start of
        iterations: far from the optimum some get stuck.
        """
        null = objective.null()
        warm_start = validation.check_flag("warm_start", self.warm_start)
        if not (warm_start and hasattr(self, "coef_")):
            return null
        same_classes = np.array_equal(self.classes_, encoding.classes)
        shape = null.shape[1], len(rows.coordinates.scale)
        if not same_classes or self.coef_.shape != shape:
            return null
        T = objective.working(self._dense_coef.T, self._dense_intercept)
        serves = (self.max_iter == 0) | (objective.value(T) < objective.value(null))
        serves &= ~objective.constant_problems
        return np.where(objective.problems.spread(serves), T, null)

    def _strength(self, encoding: Encoding) -> Strength:
        C = penalty_checks.check_C(self.C, encoding.link.problems(encoding.n_scores))
        return Strength(C, np.array([penalty_checks.check_l1_ratio(self.l1_ratio)]))


class FitTask:
    """A fit as it is shown, iteration by iteration: on the screen (`verbose`), and to callbacks.

    To scikit-learn's callbacks it is a task with one subtask per iteration, and a last one that is
    empty: as in `LogisticRegression`, a subtask begins where the one before has ended.

    Parameters
    ----------
    estimator : SolverClassifier that is fitted
    data : dict of X, y and metadata, as the hooks expect them
    """

    def __init__(self, estimator: SolverClassifier, data: dict[str, Any]) -> None:
        self._estimator, self._count = estimator, 0
        self._prints = validation.check_verbose(estimator.verbose)
        self._context: Any = None
        self._subtask: Any = None
        self._hook_arguments = {"estimator": estimator, **data}
        if HAVE_CALLBACKS:
            self._context = estimator._init_callback_context(max_subtasks=None)
            self._context.call_on_fit_task_begin(**self._hook_arguments)

    def begin_iteration(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """Show that an iteration begins.

        `attributes` returns the fitted attributes of an estimator whose fit had ended here; it is
        called only if a callback asks for that estimator.
        """
        if self._context is not None:
            self._subtask = self._context.subcontext(task_name="iteration")
            self._subtask.call_on_fit_task_begin(
                reconstruction_attributes=attributes, **self._hook_arguments
            )

    def end_iteration(self, F: float, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Show an iteration that ended at F; return whether a callback wants the fit to stop.

        If not, the next iteration begins. `attributes` are those of `begin_iteration`.
        """
        self._count += 1
        if self._prints:
            print(f"[{type(self._estimator).__name__}] iteration {self._count}: F = {F:.10g}")
        if self._subtask is None:
            return False
        stop = self._subtask.call_on_fit_task_end(
            reconstruction_attributes=attributes, **self._hook_arguments
        )
        self._subtask = None
        if not stop:
            self.begin_iteration(attributes)
        return stop

    def end(self, attributes: dict[str, Any]) -> None:
        """Show the end of the fit, which left these fitted attributes."""
        if self._subtask is not None:  # an iteration that never ran
            self._subtask.call_on_fit_task_end(estimator=self._estimator)
        if self._context is not None:
            self._context.call_on_fit_task_end(
                reconstruction_attributes=attributes, **self._hook_arguments
            )
