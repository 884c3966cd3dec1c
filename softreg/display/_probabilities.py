"""The probability of each class against one feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg.display._axes import Display, labelled_panels, legend_beside, line_style
from softreg.display._held import HeldModel, held_note, spread_over
from softreg.display._parts import (
    class_name,
    interval_ends,
    legible_name,
    name_array,
    number_array,
    rows_to_draw,
)

_N_VALUES = 200  # Places at which curves are computed: they look smooth.
_MOST_LINES = 6  # In one panel; more classes have a panel each.


class ProbabilityDisplay(Display):
    """The probability of each class, or label, against one feature, the others being held.

    Up to six classes share a panel, unless `plot` is asked for more; of more each has its own.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Values of the feature.
    probabilities : array-like of shape (n_values, n_classes)
    classes : array-like of shape (n_classes,)
    feature_name : str, default="x0"
    lower, upper : array-like of the shape of `probabilities`, default=None
        The ends of intervals; NaN draws none.
    held : mapping from name to value, default=None
        At what the other features are held, for the title.
    n_given : int, default=None
        How many of `held`, the first, were asked for; the others are means. None is all.

    Attributes
    ----------
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.display import ProbabilityDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = SoftmaxRegression().fit(X, y)
    >>> curves = ProbabilityDisplay(
    ...     values=[12, 13, 14],
    ...     probabilities=model.predict_proba(X.assign(alcohol=12).head(3)),
    ...     classes=model.classes_,
    ... )  # ProbabilityDisplay.from_estimator(model, X, "alcohol") draws
    >>> curves.probabilities.shape
    (3, 3)
    """

    def __init__(
        self,
        *,
        values: ArrayLike,
        probabilities: ArrayLike,
        classes: ArrayLike,
        feature_name: str = "x0",
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        held: Mapping[Any, float] | None = None,
        n_given: int | None = None,
    ) -> None:
        self.values = number_array("values", values, "n_values")
        n = len(self.values)
        self.probabilities = number_array("probabilities", probabilities, n, "n_classes")
        shape = self.probabilities.shape
        self.classes = name_array("classes", classes, shape[1])
        self.feature_name = feature_name
        self.lower, self.upper = interval_ends(lower, upper, *shape)
        self.held = dict(held or {})
        self.n_given = len(self.held) if n_given is None else n_given

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        feature: Any,
        *,
        at: Any = None,
        intervals: Callable[[Any], Any] | None = None,
        ax: Any = None,
        classes: ArrayLike | None = None,
    ) -> ProbabilityDisplay:
        """Draw the probabilities of a fitted estimator of softreg, without an offset.

        Parameters
        ----------
        estimator : fitted estimator of softreg
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows such as those of the fit: over their range of `feature` curves are drawn, at the
            means of their other features.
        feature : str or int
            Name or place of the feature.
        at : mapping or pandas Series from features to values, default=None
            At what some others are held, such as the levels of a category, of which a mean is none.
        intervals : callable, default=None
            Called with rows (n, n_features), it returns what `softreg.inference.predict_interval`
            does: ``lambda rows: predict_interval(result, rows)``. Of labels it returns a mapping
            from each label to that of its result.
        ax, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X has other features than in `fit`, a feature is not known or a value not finite, or
            `intervals` is not callable.
        """
        model = HeldModel.from_user(estimator, X, "feature", [feature], at)
        values = spread_over(model.data[:, 0], _N_VALUES)
        lower = upper = None
        if intervals is not None:
            lower, upper = _ends(intervals, model, values[:, None])
        display = cls(
            values=values,
            probabilities=model.probabilities(values[:, None]),
            classes=estimator.classes_,
            feature_name=str(model.names[0]),
            lower=lower,
            upper=upper,
            held=model.held,
            n_given=model.n_given,
        )
        return display.plot(ax, classes=classes)

    def plot(
        self, ax: Any = None, *, classes: ArrayLike | None = None, together: bool | None = None
    ) -> ProbabilityDisplay:
        """Draw the probabilities and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        classes : class or array-like of classes, default=None
            The classes to draw; None is all, or the first twelve.
        together : bool, default=None
            Whether one panel shows all classes; None is up to six, or as many on a single `ax`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or a class is not known.
        """
        rows, titles, note = rows_to_draw(classes, self.classes, len(self.classes))
        if together is None:
            together = len(rows) <= _MOST_LINES or (ax is not None and np.size(ax) == 1)
        intervals = "" if self.lower is None else ", with intervals"
        self.axes_ = labelled_panels(
            ax,
            [""] if together else titles,
            (legible_name(self.feature_name), "Probability"),
            title=f"Probability of each class{intervals}{note}{held_note(self.held, self.n_given)}",
            beside=[class_name(name) for name in self.classes[rows]] if together else [],
            share_y=True,
        )
        panels = [self.ax_] * len(rows) if together else self.axes_
        ranks = range(len(rows)) if together else [0] * len(rows)
        lines = list(map(self._draw, panels, rows, ranks))
        for panel in self.axes_:
            panel.set_ylim(-0.02, 1.02)
        if together:
            legend_beside(self.axes_, ax, lines)
        return self

    def _draw(self, ax: Any, row: int, rank: int) -> Any:
        """Draw the curve of a class with its intervals; return its line."""
        style, name = line_style(rank), class_name(self.classes[row])
        if self.lower is not None and self.upper is not None:
            ends = self.lower[:, row], self.upper[:, row]
            ax.fill_between(self.values, *ends, color=style["color"], alpha=0.2, linewidth=0)
        (line,) = ax.plot(self.values, self.probabilities[:, row], label=name, **style)
        return line


def _ends(intervals: Any, model: HeldModel, points: NDArray) -> tuple[NDArray, NDArray]:
    """Return the ends (n, K) of the user's intervals at values (n, 1) of the feature."""
    if not callable(intervals):
        raise TypeError(
            f"intervals must be a function, got {type(intervals).__name__}: pass lambda rows: "
            "softreg.inference.predict_interval(result, rows)."
        )
    rows: Any = model.rows(points)
    names = getattr(model.estimator, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        rows = pd.DataFrame(rows, columns=names)
    found = intervals(rows)
    lower, upper = (_end(found, name, model.estimator.classes_) for name in ("lower", "upper"))
    return lower, upper


def _end(found: Any, name: str, classes: NDArray) -> NDArray:
    """Return one end of intervals: of a label that of its second class, 1 against 0."""
    try:
        if isinstance(found, Mapping):
            return np.column_stack([np.asarray(found[label][name])[:, -1] for label in classes])
        return validation.check_real(f'intervals(rows)["{name}"]', found[name])
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(
            "intervals must return what softreg.inference.predict_interval does, of labels a "
            f"mapping from each to that; {error!r} in {type(found).__name__}."
        ) from error
