"""The loss against the iterations of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg.display._axes import COLOURS, Display, labelled_panels, legend_above
from softreg.display._parts import number_array, read_attributes

_MOST_MARKERS = 50  # Points of a curve that can still be told apart.


class LossCurveDisplay(Display):
    """The loss against iterations, or epochs, or the chunks of a stream.

    The loss of rows held out has a panel of its own: no penalty is part of it, as it is of F, and
    the rows are others.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        F after each iteration, in nats per row.
    validation_curve : array-like of shape (n_iter,), default=None
        Mean loss of the rows held out, after each iteration. A line marks the least, which is where
        `MiniBatch` ends.
    objective : float, default=None
        F at the solution, of the rows of `loss_curve`, which a line marks.
    null_loss : float, default=None
        Mean loss of class frequencies alone, near which fits begin: a line marks it, so that the
        axis reaches from there.
    step, name : str, default="Iteration", "F: mean loss + penalty"
        What there is a value after, for the axis; what the values are, for the panel.

    Attributes
    ----------
    axes_ : ndarray of one or two matplotlib Axes, set by `plot`
        That of `loss_curve` is the first.

    Raises
    ------
    TypeError, ValueError
        If a curve is empty, does not hold numbers, or the two are not equally long.

    Examples
    --------
    >>> from softreg.display import LossCurveDisplay
    >>> LossCurveDisplay(loss_curve=[1.1, 0.4, 0.3]).loss_curve.shape
    (3,)
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_curve: ArrayLike | None = None,
        objective: float | None = None,
        null_loss: float | None = None,
        step: str = "Iteration",
        name: str = "F: mean loss + penalty",
    ) -> None:
        self.loss_curve = number_array("loss_curve", loss_curve, "n_iter")
        self.validation_curve = None
        if validation_curve is not None:
            n = len(self.loss_curve)
            self.validation_curve = number_array("validation_curve", validation_curve, n)
        self.objective = objective
        self.null_loss = null_loss
        self.step = step
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        above_solution: bool = False,
        null_loss: float | None = None,
    ) -> LossCurveDisplay:
        """Draw the loss of a fitted estimator of softreg.

        Parameters
        ----------
        estimator : fitted `SoftmaxRegression`, `SigmoidRegression`, or one of them with CV
            After `partial_fit` the curve is the mean loss of each chunk before it was learned from;
            after `MiniBatch` with early stopping it is F of the rows that were not held out, while
            `objective_` is that of all, which is not drawn then.
        null_loss : float, default=None
            Mean loss of class frequencies alone, such as that of scikit-learn's `DummyClassifier`.
        ax, above_solution
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it keeps no loss curve.
        """
        (curve,) = read_attributes(estimator, "a fitted estimator of softreg", "loss_curve_")
        if not hasattr(estimator, "objective_"):  # A stream has none.
            name = "mean loss of the chunk\nbefore it was learned from"
            display = cls(loss_curve=curve, null_loss=null_loss, step="Chunk", name=name)
        else:
            has_epochs = hasattr(getattr(estimator, "solver_", None), "n_epochs")
            held_out = getattr(estimator, "validation_curve_", None)
            display = cls(
                loss_curve=curve,
                validation_curve=held_out,
                objective=estimator.objective_ if held_out is None else None,
                null_loss=null_loss,
                step="Epoch" if has_epochs else "Iteration",
            )
        return display.plot(ax, above_solution=above_solution)

    def plot(self, ax: Any = None, *, above_solution: bool = False) -> LossCurveDisplay:
        """Draw the loss and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them where rows were held out, default=None
            None makes a figure.
        above_solution : bool, default=False
            Whether to draw F minus `objective` on a logarithmic axis, which shows progress long
            after F itself looks flat. After `MiniBatch`, `objective` is F where it ended, not the
            optimum. Iterations that are not above `objective`, such as the last, are not drawn, nor
            are `validation_curve` and `null_loss`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or `above_solution` is asked for without
            an `objective`.
        """
        if above_solution and self.objective is None:
            raise ValueError(
                "above_solution=True needs an objective of the same rows as the curve; a stream "
                "has none, nor has a fit that stopped early by other rows."
            )
        draw = self._draw_excess if above_solution else self._draw_losses
        draw(ax)
        for panel in self.axes_:
            legend_above(panel, panel.get_legend_handles_labels()[0])
            panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return self

    def _draw_losses(self, ax: Any) -> None:
        """Make the panels, and draw the losses with the lines that mark some values."""
        curves = {self.name: self.loss_curve}
        if self.validation_curve is not None:
            curves = {
                "F of the rows learned from:\nmean loss + penalty": self.loss_curve,
                "rows held out:\nmean loss": self.validation_curve,
            }
        title = f"Loss after each {self.step.lower()}"
        labels = self.step, "Loss (nats per row)"
        self.axes_ = labelled_panels(ax, [""] * len(curves), labels, title=title)
        for panel, (name, curve) in zip(self.axes_, curves.items(), strict=True):
            _draw_curve(panel, name, curve)
            if self.null_loss is not None:
                label = f"class frequencies alone: {self.null_loss:.4g}"
                panel.axhline(self.null_loss, color="0.4", linestyle=":", label=label)
            if self.validation_curve is not None:
                least = int(np.nanargmin(self.validation_curve)) + 1
                label = f"least held out: {self.step.lower()} {least}"
                panel.axvline(least, color="0.4", linewidth=1, zorder=1.5, label=label)
        if self.objective is not None:
            label = f"F at the solution: {self.objective:.4g}"
            self.ax_.axhline(self.objective, color="0.4", linestyle="--", label=label)

    def _draw_excess(self, ax: Any) -> None:
        """Make the panel, and draw how far F is above the solution."""
        excess = self.loss_curve - self.objective
        label = "F minus F at the solution"
        title = f"Loss above the solution after each {self.step.lower()}"
        labels = self.step, f"{label}\n(nats per row)"
        self.axes_ = labelled_panels(ax, [""], labels, title=title)
        self.ax_.set_yscale("log")
        _draw_curve(self.ax_, label, np.where(excess > 0, excess, np.nan))


def _draw_curve(ax: Any, name: str, curve: NDArray) -> None:
    """Draw values (n_iter,) at 1, 2, ..."""
    marker = "." if len(curve) <= _MOST_MARKERS else None
    steps = np.arange(1, len(curve) + 1)
    ax.plot(steps, curve, marker=marker, color=COLOURS[0], label=name)
