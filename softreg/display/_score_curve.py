"""Held-out scores against C, with the choices that they suggest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._selection.scoring.choice import best_index, one_standard_error_index
from softreg._selection.scoring.scorers import check_scoring
from softreg.display._parts import (
    C_AXIS,
    ascending_Cs,
    labelled_panels,
    legend_above,
    name_array,
    number_array,
    panel_title,
    places_of_Cs,
    read_attributes,
    rows_of_classes,
    set_log_C_axis,
)


class CVCurveDisplay:
    """Mean held-out score, with a band of one standard error, against C.

    Scores that scikit-learn negates, such as "neg_log_loss", are drawn as what they are: a loss,
    of which less is better.

    Two lines mark the C with the best mean score (the smallest of several), and the choice of the
    one-standard-error rule: the smallest C whose mean score is at least the best mean score minus
    the standard error there.

    Parameters
    ----------
    Cs : array-like of shape (n_Cs,)
        Values > 0, ascending; ``np.inf`` has a place of its own beyond the others.
    mean_score : array-like of shape (n_Cs,), or (n_Cs, n_labels) for a panel per label
        Means over the folds; higher is better.
    se_score : array-like of the shape of `mean_score`
        Standard errors of the means. NaN, as from one fold, draws no band and no second line.
    scoring : str, callable or None, default=None
        What the scores are, for the axes.
    classes : array-like of shape (n_labels,), default=None
        The labels' names, where there is a panel for each; None is 0, 1, ...

    Attributes
    ----------
    best_C, one_se_C : float, or ndarray of shape (n_labels,)
        The two choices; NaN where there is none.
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`
    ax_ : matplotlib Axes, set by `plot`
        The first of `axes_`.
    figure_ : matplotlib Figure, set by `plot`

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
        scoring: Any = None,
        classes: ArrayLike | None = None,
    ) -> None:
        self.Cs = ascending_Cs(Cs)
        label_axis = () if np.ndim(mean_score) < 2 else ("n_labels",)
        self.mean_score = number_array("mean_score", mean_score, len(self.Cs), *label_axis)
        self.se_score = number_array("se_score", se_score, *self.mean_score.shape)
        self.scoring = scoring
        self.classes = None
        if label_axis:
            n_labels = self.mean_score.shape[1]
            names = np.arange(n_labels) if classes is None else classes
            self.classes = name_array("classes", names, n_labels)
        self.best_C, self.one_se_C = _choices(self.Cs, self.mean_score, self.se_score)

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
        stored = ("Cs_", "mean_score_", "se_score_", "scoring", "classes_")
        Cs, mean, se, scoring, names = read_attributes(estimator, "a fitted CV estimator", *stored)
        known = check_scoring(scoring)
        display = cls(Cs=Cs, mean_score=mean, se_score=se, scoring=known, classes=names)
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
        rows, note = [0], ""
        if self.classes is not None:
            rows, note = rows_of_classes(classes, self.classes)
        band = "mean ± 1 s.e." if np.isfinite(self.se_score).any() else "mean"
        name, sign = _score_name(self.scoring)
        direction = "higher is better" if sign > 0 else "lower is better"
        title = f"{name} against C{note}\n({direction})"
        unit = " (nats)" if self.scoring == "neg_log_loss" else ""
        y_label = f"{name}{unit}\n{band}"
        self.axes_ = labelled_panels(ax, len(rows), C_AXIS, y_label, title=title)
        n_Cs = len(self.Cs)
        mean, se = sign * self.mean_score.reshape(n_Cs, -1), self.se_score.reshape(n_Cs, -1)
        best, one_se = np.atleast_1d(self.best_C), np.atleast_1d(self.one_se_C)
        for panel, row in zip(self.axes_, rows, strict=True):
            _draw_scores(panel, self.Cs, mean[:, row], se[:, row])
            _mark_choices(panel, self.Cs, best[row], one_se[row])
            legend_above(panel, "" if self.classes is None else panel_title(self.classes[row]))
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        return self


def _score_name(scoring: Any) -> tuple[str, int]:
    """Return what a scorer measures, in words, and the sign that makes its scores that."""
    if not isinstance(scoring, str):
        return "Held-out score", 1
    words = scoring.removeprefix("neg_").replace("_", " ")
    return f"Held-out {words}", -1 if scoring.startswith("neg_") else 1


def _choices(Cs: NDArray, mean: NDArray, se: NDArray) -> tuple[Any, Any]:
    """Return the C of the best mean and that of the one-standard-error rule, or each column's.

    NaN where no mean is known, and for the rule where the best one's standard error is not.
    """
    best = best_index(mean)
    best_se = np.take_along_axis(se, np.expand_dims(best, 0), 0)[0]
    best_C = np.where(np.isnan(mean).all(axis=0), np.nan, Cs[best])
    rule_C = np.where(
        np.isnan(best_se), np.nan, Cs[one_standard_error_index(mean, se, np.zeros(mean.shape), Cs)]
    )
    one_se_C = np.where(np.isnan(best_C), np.nan, rule_C)
    return (best_C, one_se_C) if mean.ndim > 1 else (float(best_C), float(one_se_C))


def _draw_scores(ax: Any, Cs: NDArray, mean: NDArray, se: NDArray) -> None:
    """Draw one curve and its band."""
    set_log_C_axis(ax, Cs)
    places = places_of_Cs(Cs, Cs)
    ax.plot(places, mean, marker=".")
    if np.isfinite(se).any():
        ax.fill_between(places, mean - se, mean + se, alpha=0.2, linewidth=0)


def _mark_choices(ax: Any, Cs: NDArray, best: float, one_se: float) -> None:
    """Draw a broad line and a dashed one above it, so that both are seen where they coincide."""
    for name, C, style in (
        ("best", best, {"color": "tab:orange", "linewidth": 4, "alpha": 0.6}),
        ("1 s.e. rule", one_se, {"color": "black", "linewidth": 1.2, "linestyle": "--"}),
    ):
        if not np.isnan(C):
            ax.axvline(places_of_Cs(C, Cs), label=f"{name}: C = {C:.3g}", zorder=1.5, **style)
