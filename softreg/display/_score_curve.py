"""Held-out scores against C, with the choices that they suggest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._selection.scoring.choice import best_index, one_standard_error_index
from softreg._selection.scoring.scorers import check_scoring
from softreg.display._axes import (
    C_AXIS,
    COLOURS,
    Display,
    add_counts,
    labelled_panels,
    legend_above,
    legend_beside,
    line_style,
    places_of_Cs,
    set_log_C_axis,
)
from softreg.display._parts import (
    ascending_Cs,
    name_array,
    number_array,
    read_attributes,
    rows_to_draw,
)

# A broad line and a dashed one above it, so that both are seen where they coincide.
_MARKS: tuple[dict[str, Any], ...] = (
    {"label": "best", "color": COLOURS[1], "linewidth": 4, "alpha": 0.6, "zorder": 1.5},
    {"label": "1 s.e. rule", "color": "black", "linewidth": 1.2, "linestyle": "--", "zorder": 1.5},
)


class _Scores(NamedTuple):
    """The scores at each C of each ratio in each panel.

    `Cs` is (n_ratios, n_Cs); `ratios` (n_ratios,), NaN if it is not known; the others
    (n_ratios, n_Cs, n_panels).
    """

    Cs: NDArray
    ratios: NDArray
    mean: NDArray
    se: NDArray
    counts: NDArray


class CVCurveDisplay(Display):
    """Mean held-out score, with a band of one standard error, against C: a curve for each l1_ratio.

    Scores that scikit-learn negates, such as "neg_log_loss", are drawn as what they are: a loss,
    of which less is better.

    Two lines mark the C with the best mean score (the smallest of several), and the choice of the
    one-standard-error rule: of those whose mean score is at least the best mean score minus the
    standard error there, the one with the fewest features, of these the smallest C. Of several
    ratios the band is that of the best one, and lines have the colours of their curves. Where the
    number of features changes, an axis above counts those that are in, of the best ratio.

    Parameters
    ----------
    Cs : array-like of shape (n_Cs,), or (n_ratios, n_Cs) where ratios have grids of their own
        Values > 0, ascending; ``np.inf`` has a place of its own beyond the others.
    mean_score : array-like of shape (n_Cs,), or (n_Cs, n_labels) for a panel per label
        Means over the folds; higher is better. With `l1_ratios` they are the first axis:
        (n_ratios, n_Cs), or (n_ratios, n_Cs, n_labels).
    se_score : array-like of the shape of `mean_score`
        Standard errors of the means. NaN, as from one fold, draws no band and no second line.
    l1_ratios : array-like of shape (n_ratios,), default=None
        None stands for one, whatever it is.
    n_features : array-like of the shape of `mean_score`, default=None
        Features with a coefficient that is not zero; None counts none.
    scoring : str, callable or None, default=None
        What the scores are, for the axes.
    classes : array-like of shape (n_labels,), default=None
        The labels' names, where there is a panel for each; None is 0, 1, ...

    Attributes
    ----------
    best_C, one_se_C : float, or ndarray of shape (n_labels,)
        The two choices; NaN where there is none.
    best_l1_ratio, one_se_l1_ratio : float, or ndarray of shape (n_labels,)
        Their ratios; NaN where there is none, also without `l1_ratios`.
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others, or a C is not > 0 or
        less than the one before it.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The Elements of Statistical Learning", 2nd edition,
    section 7.10.1 (the one-standard-error rule).

    Examples
    --------
    >>> from softreg.display import CVCurveDisplay
    >>> curve = CVCurveDisplay(
    ...     Cs=[0.1, 1, 10], mean_score=[-0.5, -0.31, -0.3], se_score=[0.02, 0.02, 0.02]
    ... )
    >>> curve.best_C, curve.one_se_C
    (10.0, 1.0)
    """

    def __init__(
        self,
        *,
        Cs: ArrayLike,
        mean_score: ArrayLike,
        se_score: ArrayLike,
        l1_ratios: ArrayLike | None = None,
        n_features: ArrayLike | None = None,
        scoring: Any = None,
        classes: ArrayLike | None = None,
    ) -> None:
        self.l1_ratios = None
        if l1_ratios is not None:
            self.l1_ratios = number_array("l1_ratios", l1_ratios, "n_ratios")
        ratios = () if self.l1_ratios is None else self.l1_ratios.shape
        self.Cs = ascending_Cs(Cs, *ratios)
        axes = *ratios, self.Cs.shape[-1]
        label_axis = () if np.ndim(mean_score) <= len(axes) else ("n_labels",)
        self.mean_score = number_array("mean_score", mean_score, *axes, *label_axis)
        shape = self.mean_score.shape
        self.se_score = number_array("se_score", se_score, *shape)
        self.n_features = None
        if n_features is not None:
            self.n_features = number_array("n_features", n_features, *shape).astype(int)
        self.scoring = scoring
        self.classes = None
        if label_axis:
            names = np.arange(shape[-1]) if classes is None else classes
            self.classes = name_array("classes", names, shape[-1])
        best, one_se = _choices(self._scores())
        self.best_C, self.best_l1_ratio = self._at(best)
        self.one_se_C, self.one_se_l1_ratio = self._at(one_se)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, classes: ArrayLike | None = None
    ) -> CVCurveDisplay:
        """Draw the scores of a fitted `SoftmaxRegressionCV` or `SigmoidRegressionCV`.

        Parameters
        ----------
        estimator : fitted `SoftmaxRegressionCV` or `SigmoidRegressionCV`
        ax, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is one without cross-validation.
        """
        stored = ("Cs_", "mean_score_", "se_score_", "l1_ratios_", "n_features_path_", "classes_")
        expected = "a fitted CV estimator"
        Cs, mean, se, ratios, n_features, names = read_attributes(estimator, expected, *stored)
        display = cls(
            Cs=Cs,
            mean_score=mean,
            se_score=se,
            l1_ratios=ratios,
            n_features=n_features,
            scoring=check_scoring(estimator.scoring),
            classes=names,
        )
        return display.plot(ax, classes=classes)

    def plot(self, ax: Any = None, *, classes: ArrayLike | None = None) -> CVCurveDisplay:
        """Draw the scores and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        classes : label or array-like of labels, default=None
            The labels to draw, where there is a panel for each; None is all, or the first twelve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or a label is not known.
        """
        if self.classes is None and classes is not None:
            raise ValueError(
                f"classes={validation.shown(classes)}, but one C serves all classes: leave it None."
            )
        rows, titles, note = [0], [""], ""
        if self.classes is not None:
            rows, titles, note = rows_to_draw(classes, self.classes, len(self.classes))
        name, sign = _score_name(self.scoring)
        direction = "higher is better" if sign > 0 else "lower is better"
        scores = self._scores()
        ratios = [_ratio_name(ratio) for ratio in scores.ratios]
        beside = ratios if len(ratios) > 1 and ax is None else []
        self.axes_ = labelled_panels(
            ax,
            titles,
            (C_AXIS, self._y_label(name)),
            title=f"{name} against C{note}\n({direction})",
            beside=beside,
        )
        curves: list = []
        for panel, row in zip(self.axes_, rows, strict=True):
            curves, marks = _draw_panel(panel, scores, row, sign)
            above = curves if len(ratios) > 1 and not beside else []
            legend_above(panel, above + marks)
        if beside:
            legend_beside(self.axes_, ax, curves)
        return self

    def _scores(self) -> _Scores:
        """Return the scores with an axis for ratios and one for panels, of length one without."""
        ratios = np.array([np.nan]) if self.l1_ratios is None else self.l1_ratios
        grids = np.broadcast_to(self.Cs, (len(ratios), self.Cs.shape[-1]))
        counts = np.zeros_like(self.mean_score) if self.n_features is None else self.n_features
        arrays = self.mean_score, self.se_score, counts
        return _Scores(grids, ratios, *(values.reshape(*grids.shape, -1) for values in arrays))

    def _at(self, places: NDArray) -> tuple[Any, Any]:
        """Return C and l1_ratio at the place in each panel, (n_panels,), or the only one's."""
        scores = self._scores()
        C, ratio = _values_at(scores, places)
        return (C, ratio) if self.classes is not None else (float(C[0]), float(ratio[0]))

    def _y_label(self, name: str) -> str:
        """Return the name of the scores, with their unit, and what the band is."""
        unit = " (nats)" if self.scoring == "neg_log_loss" else ""
        band = " ± 1 s.e." if np.isfinite(self.se_score).any() else ""
        return f"{name}{unit}\nmean{band}"


def _score_name(scoring: Any) -> tuple[str, int]:
    """Return what a scorer measures, in words, and the sign that makes its scores that."""
    if not isinstance(scoring, str):
        return "Held-out score", 1
    words = scoring.removeprefix("neg_").replace("_", " ")
    return f"Held-out {words}", -1 if scoring.startswith("neg_") else 1


def _ratio_name(ratio: float) -> str:
    return f"l1_ratio = {ratio:g}"


def _choices(scores: _Scores) -> tuple[NDArray, NDArray]:
    """Return the places of the best mean and of the one-standard-error rule in each panel.

    They count through all ratios, (n_panels,); -1 where no mean is known, and for the rule where
    the best one's standard error is not.
    """
    n_panels = scores.mean.shape[2]
    mean, se, counts = (values.reshape(-1, n_panels) for values in scores[2:])
    best = best_index(mean)
    rule = one_standard_error_index(mean, se, counts, scores.Cs.ravel())
    is_known = np.isfinite(np.take_along_axis(se, np.expand_dims(best, 0), 0)[0])
    best = np.where(np.isnan(mean).all(axis=0), -1, best)
    return best, np.where((best < 0) | ~is_known, -1, rule)


def _values_at(scores: _Scores, places: Any) -> tuple[NDArray, NDArray]:
    """Return C and ratio at places that count through all ratios; NaN at -1."""
    C, ratio = np.broadcast_arrays(scores.Cs, scores.ratios[:, None])
    return np.append(C, np.nan)[places], np.append(ratio, np.nan)[places]


def _draw_panel(ax: Any, scores: _Scores, panel: int, sign: int) -> tuple[list, list]:
    """Draw the curve of each ratio, the band and counts of the best one, and both choices.

    Returns the lines of the curves and of the choices. Of several ratios a choice has the colour of
    its curve.
    """
    every_C, several, curves = np.unique(scores.Cs), len(scores.ratios) > 1, []
    set_log_C_axis(ax, every_C)
    places = places_of_Cs(scores.Cs, every_C)
    mean, se, counts = (values[..., panel] for values in scores[2:])
    chosen = [index[panel] for index in _choices(scores)]
    best = max(chosen[0], 0) // len(places[0])
    for r, ratio in enumerate(scores.ratios):
        label = {"label": _ratio_name(ratio)} if several else {}
        curves += ax.plot(places[r], sign * mean[r], marker=".", **line_style(r), **label)
    if np.isfinite(se[best]).any():
        low, high = sign * mean[best] - se[best], sign * mean[best] + se[best]
        colour = curves[best].get_color()
        ax.fill_between(places[best], low, high, color=colour, alpha=0.2, linewidth=0)
    if np.ptp(counts[best]):
        of_ratio = f", l1_ratio = {scores.ratios[best]:g}" if several else ""
        add_counts(ax, places[best], counts[best], f"features in{of_ratio}")
    marks = []
    for place, mark in zip(chosen, _MARKS, strict=True):
        if place >= 0:
            C, ratio = _values_at(scores, place)
            of_ratio = f", ratio {ratio:g}" if several else ""
            look = {"color": curves[place // len(places[0])].get_color()} if several else {}
            look["label"] = f"{mark['label']}: C = {C:.3g}{of_ratio}"
            marks.append(ax.axvline(places.flat[place], **mark | look))
    return curves, marks
