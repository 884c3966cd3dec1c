"""scikit-learn's callbacks (from 1.9 on), one subtask per iteration; without them, nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAVE_CALLBACKS = True
except ImportError:  # scikit-learn < 1.9
    HAVE_CALLBACKS = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method as it is."""
        return method


class FitTask:
    """The fit as scikit-learn's callbacks see it: a task with one subtask per iteration.

    Parameters
    ----------
    estimator : estimator with `CallbackSupportMixin`
    data : dict of X, y and metadata, as the hooks expect them
    """

    def __init__(self, estimator: Any, data: dict[str, Any]) -> None:
        self._estimator, self._data = estimator, data
        self._watched = HAVE_CALLBACKS
        if self._watched:
            self._context = estimator._init_callback_context(max_subtasks=None)
            self._context.call_on_fit_task_begin(estimator=estimator, **data)
            self._begin_iteration()

    def _begin_iteration(self) -> None:
        self._iteration = self._context.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end_iteration(self, fitted: Callable[[], dict[str, NDArray]]) -> bool:
        """Report an iteration; return whether a callback wants the fit to stop.

        `fitted` returns the attributes of an estimator that had stopped here.
        """
        if not self._watched:
            return False
        stop = self._iteration.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=fitted, **self._data
        )
        self._begin_iteration()
        return bool(stop)

    def end(self, fitted: dict[str, NDArray]) -> None:
        """Report the end of the fit."""
        if self._watched:
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
            self._context.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted, **self._data
            )
