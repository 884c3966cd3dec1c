"""scikit-learn's callbacks (from 1.9 on), one subtask per iteration; without them, nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAVE_CALLBACKS = True
    CALLBACK_FRAMES = 1  # what `with_callbacks` adds to the stack above `fit`
except ImportError:  # scikit-learn < 1.9
    HAVE_CALLBACKS = False
    CALLBACK_FRAMES = 0

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method as it is."""
        return method


class FitTask:
    """A fit as scikit-learn's callbacks see it: a task with one subtask per iteration.

    Parameters
    ----------
    estimator : estimator with `CallbackSupportMixin`
    data : dict of X, y and metadata, as the hooks expect them; empty where there is no data to show
    """

    def __init__(self, estimator: Any, data: dict[str, Any]) -> None:
        self._hook_arguments = {"estimator": estimator, **data}
        self._context = None
        if HAVE_CALLBACKS:
            self._context = estimator._init_callback_context(max_subtasks=None)
            self._context.call_on_fit_task_begin(**self._hook_arguments)

    def iteration(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Report an iteration; return whether a callback wants the fit to stop.

        `attributes` returns the fitted attributes of an estimator whose fit had ended here; it is
        called only if a callback asks for that estimator.
        """
        if self._context is None:
            return False
        subtask = self._context.subcontext(task_name="iteration")
        subtask.call_on_fit_task_begin(**self._hook_arguments)
        return subtask.call_on_fit_task_end(
            reconstruction_attributes=attributes, **self._hook_arguments
        )

    def end(self, attributes: dict[str, Any]) -> None:
        """Report the end of the fit, which left these fitted attributes."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                reconstruction_attributes=attributes, **self._hook_arguments
            )
