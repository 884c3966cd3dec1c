"""The loss against the iterations of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softreg.display._parts import labelled_panels, number_array, read_attributes

_MOST_MARKERS = 50  # Points of a curve that can still be told apart.


class LossCurveDisplay:
    """The loss against iterations, or epochs, or the chunks of a stream.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        F after each iteration, in nats per row.
    validation_curve : array-like of shape (n_iter,), default=None
        Mean loss of the rows held out, after each iteration.
    objective : float, default=None
        F at the solution, which a line marks.
    step, name : str, default="Iteration", "F: mean loss + penalty"
        What there is a value after, for the axis; what the values are, for the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes, set by `plot`
    figure_ : matplotlib Figure, set by `plot`

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
        step: str = "Iteration",
        name: str = "F: mean loss + penalty",
    ) -> None:
        self.loss_curve = number_array("loss_curve", loss_curve, "n_iter")
        self.validation_curve = None
        if validation_curve is not None:
            n = len(self.loss_curve)
            self.validation_curve = number_array("validation_curve", validation_curve, n)
        self.objective = objective
        self.step = step
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, above_solution: bool = False
    ) -> LossCurveDisplay:
        """Draw the loss of a fitted estimator of softreg.

        Parameters
        ----------
        estimator : fitted `SoftmaxRegression`, `SigmoidRegression`, or one of them with CV
            After `partial_fit` the curve is the mean loss of each chunk before it was learned from.
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
            name = "mean loss of the chunk before it was learned from"
            display = cls(loss_curve=curve, step="Chunk", name=name)
        else:
            has_epochs = hasattr(getattr(estimator, "solver_", None), "n_epochs")
            display = cls(
                loss_curve=curve,
                validation_curve=getattr(estimator, "validation_curve_", None),
                objective=estimator.objective_,
                step="Epoch" if has_epochs else "Iteration",
            )
        return display.plot(ax, above_solution=above_solution)

    def plot(self, ax: Any = None, *, above_solution: bool = False) -> LossCurveDisplay:
        """Draw the loss and return self.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        above_solution : bool, default=False
            Whether to draw F minus `objective` on a logarithmic axis, which shows progress long
            after F itself looks flat. After `MiniBatch`, `objective` is F where it ended, not the
            optimum. Iterations that are not above `objective`, such as the last, are not drawn, nor
            is `validation_curve`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` is not an Axes, or `above_solution` is asked for without an `objective`.
        """
        if above_solution and self.objective is None:
            raise ValueError("above_solution=True needs an objective, and a stream has none.")
        quantity = "F minus F at the solution" if above_solution else "Loss"
        (self.ax_,) = labelled_panels(ax, 1, self.step, f"{quantity} (nats per row)")
        draw = self._draw_excess if above_solution else self._draw_loss
        draw(self.ax_, "." if len(self.loss_curve) <= _MOST_MARKERS else None)
        self.ax_.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        self.figure_ = self.ax_.figure
        return self

    def _draw_loss(self, ax: Any, marker: str | None) -> None:
        steps = np.arange(1, len(self.loss_curve) + 1)
        ax.plot(steps, self.loss_curve, marker=marker, label=self.name)
        if self.validation_curve is not None:
            label = "mean loss of the rows held out"
            ax.plot(steps, self.validation_curve, marker=marker, label=label)
        if self.objective is not None:
            label = f"F at the solution: {self.objective:.4g}"
            ax.axhline(self.objective, color="0.4", linestyle="--", linewidth=1, label=label)
        ax.legend()

    def _draw_excess(self, ax: Any, marker: str | None) -> None:
        excess = self.loss_curve - self.objective
        ax.set_yscale("log")
        ax.plot(np.arange(1, len(excess) + 1), np.where(excess > 0, excess, np.nan), marker=marker)
