"""Coefficients of each class and feature, with intervals where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg.display._axes import COLOURS, Display, labelled_panels, legend_beside
from softreg.display._parts import (
    class_array,
    deviations,
    feature_name_array,
    interval_ends,
    legible_name,
    number_array,
    read_attributes,
    rows_to_draw,
)

_LINE_HEIGHT, _LETTER_WIDTH = 0.2, 0.08  # Inches that the name of a feature takes.
_PANEL_HEIGHT = 1.6  # Inches that a panel has for them in any case.


class CoefficientDisplay(Display):
    """Coefficients, a panel for each class and a place for each feature.

    Dots are hollow where a coefficient is zero.

    Parameters
    ----------
    coef : array-like of shape (n_rows, n_features)
        Coefficients in the units of X; NaN, where the data do not identify them, is not drawn.
    classes : array-like of shape (n_classes,)
        Names of the rows. A single row may have two: it is the second class against the first.
    feature_names : array-like of shape (n_features,), default=None
        None is x0, x1, ...
    lower, upper : array-like of the shape of `coef`, default=None
        The ends of intervals.
    level : float, default=None
        Of the intervals, for the title.
    reference : class, default=None
        What the coefficients are contrasts to.
    scale : array-like of shape (n_features,), default=None
        The features' standard deviations, such as ``X.std(axis=0)``: the coefficients are drawn
        times these, which makes features of different units comparable.

    Attributes
    ----------
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others, or a value of `scale` is
        negative or not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.display import CoefficientDisplay
    >>> wine = load_wine()
    >>> model = SoftmaxRegression().fit(wine.data, wine.target)
    >>> display = CoefficientDisplay(
    ...     coef=model.coef_,
    ...     classes=wine.target_names,
    ...     feature_names=wine.feature_names,
    ...     scale=wine.data.std(axis=0),
    ... )
    >>> display.coef.shape  # display.plot() draws three panels
    (3, 13)
    """

    def __init__(
        self,
        *,
        coef: ArrayLike,
        classes: ArrayLike,
        feature_names: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        level: float | None = None,
        reference: Any = None,
        scale: ArrayLike | None = None,
    ) -> None:
        self.coef = number_array("coef", coef, "n_rows", "n_features")
        n_rows, d = self.coef.shape
        self.classes = class_array(classes, n_rows)
        self.feature_names = feature_name_array(feature_names, d)
        self.lower, self.upper = interval_ends(lower, upper, n_rows, d)
        self.level = level
        self.reference = reference
        self.scale = deviations(scale, d)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        top: int = 20,
        scale: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        feature_names: ArrayLike | None = None,
    ) -> CoefficientDisplay:
        """Draw the coefficients of a fitted estimator of softreg.

        Parameters
        ----------
        estimator : fitted estimator of softreg
        scale : array-like of shape (n_features,), default=None
            The features' standard deviations, to multiply the coefficients by.
        feature_names : array-like of shape (n_features,), default=None
            None is the names of the columns of X, if it has any.
        ax, top, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is none of softreg.
        """
        expected = "a fitted estimator of softreg"
        names, _ = read_attributes(estimator, expected, "classes_", "coef_")
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        coef = estimator._dense_coef
        display = cls(coef=coef, classes=names, feature_names=feature_names, scale=scale)
        return display.plot(ax, top=top, classes=classes)

    @classmethod
    def from_inference(
        cls,
        result: Any,
        *,
        level: float = 0.95,
        ax: Any = None,
        top: int = 20,
        scale: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> CoefficientDisplay:
        """Draw what `softreg.inference.infer` returned: coefficients with their intervals.

        They are contrasts to the reference of the result: of ``result.against("sum-to-zero")`` to
        the mean of all classes. The intercepts are left out.

        Parameters
        ----------
        result : Inference or MultiLabelInference
        level : float, default=0.95
            Of the intervals.
        scale : array-like of shape (n_features,), default=None
            The features' standard deviations, to multiply coefficients and intervals by.
        ax, top, classes
            As for `plot`.

        Raises
        ------
        TypeError, ValueError
            If `result` is something else, or of a penalised fit without intervals.
        """
        expected = "the result of softreg.inference.infer"
        is_mapping = isinstance(result, Mapping) and len(result) > 0
        results = list(result.values()) if is_mapping else [result]
        stored = ("features", "params", "conf_int", "reference")
        features = read_attributes(results[0], expected, *stored)[0]
        d = len(features)
        coef = np.vstack([one.params.to_numpy()[:d].T for one in results])
        names = [name for one in results for name in one.params.columns]
        ends = [one.conf_int(level).to_numpy() for one in results]
        by_class = np.vstack(ends).reshape(len(names), -1, 2)[:, :d]
        display = cls(
            coef=coef,
            classes=np.array(names, dtype=object),
            feature_names=np.array(features, dtype=object),
            lower=by_class[..., 0],
            upper=by_class[..., 1],
            level=level,
            reference=None if is_mapping else result.reference,
            scale=scale,
        )
        return display.plot(ax, top=top, classes=classes)

    def plot(
        self, ax: Any = None, *, top: int = 20, classes: ArrayLike | None = None
    ) -> CoefficientDisplay:
        """Draw the coefficients and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        top : int, default=20
            Features to draw, >= 1: those whose absolute coefficients, times `scale`, are the
            largest in any panel, in the order of the columns.
        classes : class or array-like of classes, default=None
            The classes to draw; None is all, or the first twelve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `top` is not an integer >= 1, `ax` does not hold an Axes for each panel, or a class
            is not known.
        """
        n_rows = len(self.coef)
        rows, titles, note = rows_to_draw(classes, self.classes, n_rows, self.reference)
        count = validation.check_integer("top", top, 1, ", the number of features to draw")
        scale, unit = (1.0, "unit") if self.scale is None else (self.scale, "s.d.")
        coef = self.coef * scale
        sizes = np.nan_to_num(np.abs(coef[rows])).max(axis=0)
        features = np.sort(np.argsort(-sizes, kind="stable")[:count])
        labels = [legible_name(name) for name in self.feature_names[features]]
        beside = ["coefficient", "zero"] if (coef[rows][:, features] == 0).any() else []
        self.axes_ = labelled_panels(
            ax,
            titles,
            (f"Coefficient per {unit} of the feature", "Feature"),
            title=f"Coefficients{note}{self._title_of_features(len(features))}",
            beside=beside,
            share_y=True,
            margins=_margins(labels),
        )
        handles: list = []
        for panel, row in zip(self.axes_, rows, strict=True):
            if self.lower is not None and self.upper is not None:
                ends = ((end[row] * scale)[features] for end in (self.lower, self.upper))
                panel.hlines(range(len(features)), *ends, color=COLOURS[0], linewidth=1.5)
            handles = max(handles, _draw_dots(panel, coef[row, features]), key=len)
            panel.set_yticks(range(len(features)), labels)
            panel.set_ylim(len(features) - 0.5, -0.5)
        if beside or ax is not None:
            legend_beside(self.axes_, ax, handles)
        return self

    def _title_of_features(self, n: int) -> str:
        """Return what the title says of intervals, and of features that are not drawn."""
        share = f"{100 * self.level:.4g} % " if self.level is not None else ""
        intervals = "" if self.lower is None else f", with {share}intervals"
        d = self.coef.shape[1]
        return intervals + (f":\nthe {n} largest of {d} features" if n < d else "")


def _draw_dots(ax: Any, coef: NDArray) -> list:
    """Draw coefficients (n,) from top to bottom, beside a line at zero; return the dots."""
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    ax.grid(axis="y", color="0.93", zorder=0)
    ax.set_axisbelow(True)
    places, is_zero = np.arange(len(coef)), coef == 0
    style = {"linestyle": "", "marker": "o", "markersize": 5, "color": COLOURS[0]}
    dots = ax.plot(coef, places, label="coefficient", **style)
    if is_zero.any():
        hollow = {"markerfacecolor": "white", "label": "zero"}
        dots += ax.plot(coef[is_zero], places[is_zero], **style | hollow)
    return dots


def _margins(names: list[str]) -> tuple[float, float]:
    """Return inches that names of features take to the left, and beyond a panel's usual height."""
    lines = [line for name in names for line in name.split("\n")]
    height = max(0.0, _LINE_HEIGHT * len(lines) - _PANEL_HEIGHT)
    return _LETTER_WIDTH * max(map(len, lines)), height
