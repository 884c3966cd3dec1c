"""Coefficients against C."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from softreg._encoding import validation
from softreg._encoding.namespaces import coefficients_on_host
from softreg.display._axes import (
    C_AXIS,
    Display,
    add_counts,
    labelled_panels,
    legend_beside,
    line_style,
    places_of_Cs,
    set_log_C_axis,
)
from softreg.display._parts import (
    ascending_Cs,
    class_array,
    deviations,
    feature_name_array,
    legible_name,
    number_array,
    read_attributes,
    rows_to_draw,
)

_MOST_GREY_LINES = 500  # In each of 12 panels they take 3 s to draw; more hide one another.


class CoefficientPathDisplay(Display):
    """Coefficients against C, a panel for each class and a line for each feature.

    Of a sparse path a line begins where its feature enters the model, and an axis above each panel
    counts the features that are in: those whose coefficient of that class is not zero.

    Parameters
    ----------
    Cs : array-like of shape (n_Cs,), or (n_rows, n_Cs) where rows have grids of their own
        Values > 0, ascending; ``np.inf`` has a place of its own beyond the others.
    coef_path : array-like of shape (n_Cs, n_rows, n_features)
        Coefficients in the units of X.
    classes : array-like of shape (n_classes,)
        Names of the rows. A single row may have two: it is the second class against the first.
    feature_names : array-like of shape (n_features,), default=None
        None is x0, x1, ...
    scale : array-like of shape (n_features,), default=None
        The features' standard deviations, such as ``X.std(axis=0)``: the coefficients are drawn
        times these, which makes features of different units comparable.
    chosen_C : float or array-like of shape (n_rows,), default=None
        The C that was chosen, for all rows or each, which a line marks.

    Attributes
    ----------
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others, a C is not > 0 or less
        than the one before it, a value of `scale` is negative or not finite, or a chosen C is not
        > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from softreg import SoftmaxRegression
    >>> from softreg.display import CoefficientPathDisplay
    >>> wine = load_wine()
    >>> Cs = [0.01, 0.1, 1.0]
    >>> path = CoefficientPathDisplay(
    ...     Cs=Cs,
    ...     coef_path=[SoftmaxRegression(C).fit(wine.data, wine.target).coef_ for C in Cs],
    ...     classes=wine.target_names,
    ...     feature_names=wine.feature_names,
    ...     scale=wine.data.std(axis=0),
    ... )
    >>> path.coef_path.shape  # path.plot() draws three panels
    (3, 3, 13)
    """

    def __init__(
        self,
        *,
        Cs: ArrayLike,
        coef_path: ArrayLike,
        classes: ArrayLike,
        feature_names: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        chosen_C: ArrayLike | None = None,
    ) -> None:
        self.Cs = ascending_Cs(Cs, "n_rows")
        *n_grids, n_Cs = self.Cs.shape
        rows = n_grids or ["n_rows"]
        self.coef_path = number_array("coef_path", coef_path, n_Cs, *rows, "n_features")
        _, n_rows, d = self.coef_path.shape
        self.classes = class_array(classes, n_rows)
        self.feature_names = feature_name_array(feature_names, d)
        self.scale = deviations(scale, d)
        self.chosen_C = None
        if chosen_C is not None:
            every_row = chosen_C if np.ndim(chosen_C) else np.repeat(chosen_C, n_rows)
            self.chosen_C = number_array("chosen_C", every_row, n_rows)
            wrong = ~(self.chosen_C > 0)
            validation.raise_where(wrong, self.chosen_C, "chosen_C must be > 0", "None marks none")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        top: int = 8,
        scale: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        feature_names: ArrayLike | None = None,
    ) -> CoefficientPathDisplay:
        """Draw the path of a fitted `SoftmaxRegressionCV` or `SigmoidRegressionCV`.

        Of several ratios it is that of `l1_ratio_`, which each label may have of its own.

        Parameters
        ----------
        estimator : fitted `SoftmaxRegressionCV` or `SigmoidRegressionCV`
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
            If it is one without a path.
        """
        stored = ("Cs_", "coef_path_", "l1_ratios_", "l1_ratio_", "classes_", "C_")
        expected = "a fitted CV estimator"
        Cs, coef, ratios, ratio, names, chosen = read_attributes(estimator, expected, *stored)
        coef = coefficients_on_host(coef)
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        rows = np.arange(coef.shape[2])
        # The path of the ratio that was chosen, for all rows or each.
        of_row = np.argmax(ratios == np.reshape(ratio, (-1, 1)), axis=1) + 0 * rows
        display = cls(
            Cs=np.broadcast_to(Cs, coef.shape[:2])[of_row],
            coef_path=coef[of_row, :, rows].swapaxes(0, 1),
            classes=names,
            feature_names=feature_names,
            scale=scale,
            chosen_C=chosen,
        )
        return display.plot(ax, top=top, classes=classes)

    @classmethod
    def from_path(
        cls,
        path: Any,
        *,
        ax: Any = None,
        top: int = 8,
        scale: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        feature_names: ArrayLike | None = None,
        chosen_C: ArrayLike | None = None,
    ) -> CoefficientPathDisplay:
        """Draw what `regularization_path` returned.

        The Display holds the features that have a coefficient at some C, however many others X has.

        Parameters
        ----------
        path : result of `regularization_path`
        scale : array-like of shape (n_features,), default=None
            The standard deviations of all features, to multiply the coefficients by.
        feature_names : array-like of shape (n_features,), default=None
            Of all features, such as the words of a sparse X; None is the names of the path.
        chosen_C : float or array-like of shape (n_rows,), default=None
            The C that was chosen, for all rows or each, which a line marks.
        ax, top, classes
            As for `plot`.

        Raises
        ------
        TypeError
            If `path` is something else.
        """
        stored = ("Cs", "coefficients", "intercept", "classes", "feature_names")
        expected = "the result of regularization_path"
        Cs, W, b, names, features = read_attributes(path, expected, *stored)
        d = W.shape[1]
        kept = np.flatnonzero((W != 0).sum(axis=0))
        kept = kept if kept.size else np.arange(d)
        features = feature_name_array(features if feature_names is None else feature_names, d)
        every_scale = deviations(scale, d)
        is_sparse = bool(sparse.issparse(W))
        coef = W[:, kept].toarray() if is_sparse else W[:, kept]
        display = cls(
            Cs=Cs,
            coef_path=coef.reshape(*b.shape, -1),
            classes=names,
            feature_names=features[kept],
            scale=None if every_scale is None else every_scale[kept],
            chosen_C=chosen_C,
        )
        return display.plot(ax, top=top, classes=classes)

    def plot(
        self, ax: Any = None, *, top: int = 8, classes: ArrayLike | None = None
    ) -> CoefficientPathDisplay:
        """Draw the coefficients and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        top : int, default=8
            Features to colour and name, >= 0: those that enter at the least C; of such that enter
            together, as all of a ridge do, those whose absolute coefficients, times `scale`, are
            the largest anywhere. The others are grey lines, of more than 500 their range.
        classes : class or array-like of classes, default=None
            The classes to draw; None is all, or the first twelve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `top` is not an integer >= 0, `ax` does not hold an Axes for each panel, or a class
            is not known.
        """
        n_rows = self.coef_path.shape[1]
        rows, titles, note = rows_to_draw(classes, self.classes, n_rows)
        scale, unit = (1.0, "unit") if self.scale is None else (self.scale, "s.d.")
        coef = self.coef_path[:, rows] * scale
        count = validation.check_integer("top", top, 0, ", the number of features to name")
        features = _by_entry(coef)
        named, others = features[:count], features[count:]
        feature_names = [legible_name(name) for name in self.feature_names[named]]
        name_of_others, name_of_chosen = _name_of_others(len(others)), self._name_of_chosen(rows)
        self.axes_ = labelled_panels(
            ax,
            titles,
            (C_AXIS, f"Coefficient per {unit}\nof the feature"),
            title=f"Coefficients against C{note}",
            beside=[*feature_names, name_of_others, name_of_chosen],
            share_y=True,
        )
        grids = np.broadcast_to(self.Cs, (n_rows, len(coef)))
        counts = np.count_nonzero(self.coef_path, axis=2)
        lines: list = []
        for panel, row, curves in zip(self.axes_, rows, coef.swapaxes(0, 1), strict=True):
            Cs = grids[row]
            set_log_C_axis(panel, Cs)
            lines = _draw_named(panel, Cs, curves[:, named], feature_names)
            lines += _draw_others(panel, Cs, curves[:, others], name_of_others)
            if np.ptp(counts, axis=0).any():
                add_counts(panel, places_of_Cs(Cs, Cs), counts[:, row])
            if self.chosen_C is not None:
                style = {"color": "black", "linestyle": (0, (1, 1)), "linewidth": 1, "zorder": 1.1}
                place = places_of_Cs(self.chosen_C[row], Cs)
                lines.append(panel.axvline(place, label=name_of_chosen, **style))
        legend_beside(self.axes_, ax, lines)
        return self

    def _name_of_chosen(self, rows: list[int]) -> str:
        """Return the name of the lines at the chosen C, with its value if it is one for all."""
        if self.chosen_C is None:
            return ""
        values = {*self.chosen_C[rows]}
        return f"chosen: C = {values.pop():.3g}" if len(values) == 1 else "C chosen for the label"


def _name_of_others(n: int) -> str:
    """Return what a legend calls n features without names."""
    name = f"{n} other feature{'s'[: n > 1]}" if n else ""
    return f"range of {name}" if n > _MOST_GREY_LINES else name


def _by_entry(coef: NDArray) -> NDArray[np.intp]:
    """Return which features have a coefficient (n_Cs, n_rows, n_features) that is not zero.

    By the index of C at which they enter, of equals the largest absolute coefficient first.
    """
    is_in = np.asarray(coef.any(axis=1))
    entering = np.flatnonzero(is_in.any(axis=0))
    largest = np.abs(coef[..., entering]).max(axis=(0, 1))
    return entering[np.lexsort((-largest, is_in[:, entering].argmax(axis=0)))]


def _from_entry(curves: NDArray) -> NDArray:
    """Return curves (n_Cs, n) with NaN in place of zeros that no other value is next to."""
    is_in = curves.astype(bool)
    is_drawn = is_in.copy()
    is_drawn[1:] |= is_in[:-1]
    is_drawn[:-1] |= is_in[1:]
    return np.where(is_drawn, curves, np.nan)


def _draw_named(ax: Any, Cs: NDArray, curves: NDArray, names: list[str]) -> list:
    """Draw curves (n_Cs, n) in colour, above a line at zero; return what their legend shows."""
    places, lines = places_of_Cs(Cs, Cs), []
    ax.plot(places, np.zeros(len(Cs)), color="0.6", linewidth=0.8)
    for rank, curve in enumerate(_from_entry(curves).T):
        style = {"label": names[rank], "marker": "." if len(Cs) == 1 else ""}
        lines += ax.plot(places, curve, **style, **line_style(rank))
    return lines


def _draw_others(ax: Any, Cs: NDArray, curves: NDArray, name: str) -> list:
    """Draw curves (n_Cs, n) in grey, or of many their range; return what a legend shows."""
    n, places = curves.shape[1], places_of_Cs(Cs, Cs)
    if not n:
        return []
    if n > _MOST_GREY_LINES:
        low, high = curves.min(axis=1), curves.max(axis=1)
        grey = ax.fill_between(places, low, high, color="0.85", linewidth=0, zorder=1)
    else:
        style = {"color": "0.75", "linewidth": 0.8, "zorder": 1.2}
        marker = "." if len(Cs) == 1 else ""
        grey, *_ = ax.plot(places, _from_entry(curves), marker=marker, **style)
    grey.set_label(name)
    return [grey]
