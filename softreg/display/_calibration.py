"""How often what is predicted is true, and what thresholds of probabilities achieve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg._encoding import validation
from softreg._encoding.class_values import has_columns
from softreg._estimators.base import has_labels
from softreg._estimators.posing import read_features
from softreg.display._axes import COLOURS, Display, labelled_panels, legend_beside, line_style
from softreg.display._parts import (
    answer_matrix,
    class_array,
    name_array,
    number_array,
    read_attributes,
    rows_to_draw,
)

_COUNTS_HEIGHT = 0.25  # Of the strip of counts above a panel, in heights of the panel.
# Evenly spread, and as many among the probabilities: rare labels have small ones.
_N_THRESHOLDS = 100
_DIAGONAL, _CURVE = "perfectly calibrated", "observed"
_COST, _CHOSEN = "mean cost", "chosen"


class Predictions(NamedTuple):
    """Probabilities and what was true.

    Attributes
    ----------
    answers : ndarray (n, K), 1 for the class of a row or labels that it has, else 0
    P : ndarray (n, K)
    weight : ndarray (n, K), 0 where an answer is not known
    classes : ndarray (K,), or of a single column two, the second against the first
    has_labels : bool, whether a row may have any number of them
    """

    answers: NDArray
    P: NDArray
    weight: NDArray
    classes: NDArray
    has_labels: bool

    @classmethod
    def from_user(
        cls,
        y: Any,
        probabilities: Any,
        classes: Any,
        sample_weight: Any,
        in_labels: bool | None = None,
    ) -> Predictions:
        """Return checked predictions; of two classes one column, that of the second.

        None takes a y with columns for labels.
        """
        P = number_array("probabilities", probabilities, "n", "n_classes")
        outside = ~((P >= 0) & (P <= 1))
        rule, remedy = "probabilities must lie in [0, 1]", "pass what predict_proba returns"
        validation.raise_where(outside, P, rule, remedy)
        n, K = P.shape
        names = name_array("classes", np.arange(K) if classes is None else classes, K)
        answers = answer_matrix(y, names)
        validation.check_shape("y", answers, n, K, meaning=", as probabilities")
        is_known = ~np.isnan(answers)
        wrong = is_known & (answers != 0) & (answers != 1)
        remedy = "pictures of predictions need classes or labels, not shares of them"
        validation.raise_where(wrong, answers, "y must hold 0 and 1, or NaN where unknown", remedy)
        in_labels = has_columns(y) if in_labels is None else in_labels
        weight = validation.check_sample_weight(sample_weight, n, K if in_labels else None)
        per_row = np.ones((n, 1)) if weight is None else weight.reshape(n, -1)
        only = slice(1, None) if K == 2 and not in_labels else slice(None)
        of_known = np.where(is_known, per_row, 0)
        truth = np.where(is_known, answers, 0)
        return cls(truth[:, only], P[:, only], of_known[:, only], names, in_labels)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, sample_weight: Any, offset: Any
    ) -> Predictions:
        """Return the predictions that a fitted estimator of softreg makes of X."""
        (names,) = read_attributes(estimator, "a fitted estimator of softreg", "classes_")
        n = read_features(estimator, X, reset=False)[0].shape[0]
        answers = estimator._read_answers(y, None, n)[1].y
        P = estimator.predict_proba(X, offset)
        return cls.from_user(answers, P, names, sample_weight, has_labels(estimator))

    def by_class(self) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
        """Return the answers, probabilities and weights of each class, (n,)."""
        return zip(self.answers.T, self.P.T, self.weight.T, strict=True)


class ReliabilityDisplay(Display):
    """How often a class is true that is given a probability, and how many rows are: per class.

    The curve of a calibrated model follows the diagonal. Above each panel stands how many rows
    there are in each bin of probabilities.

    Parameters
    ----------
    predicted, observed : array-like of shape (n_rows, n_bins)
        Mean probability of the class, and its frequency, in each bin; NaN where it is empty.
    counts : array-like of shape (n_rows, n_bins)
        Rows in each bin, or the sums of their weights; bins are equally wide, from 0 to 1.
    classes : array-like of shape (n_classes,)
        Names of the rows. A single row may have two: it is the second class against the first.

    Attributes
    ----------
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others.

    See Also
    --------
    sklearn.calibration.calibration_curve : The same numbers, without weights.
    sklearn.calibration.CalibrationDisplay : Of two classes, several models in one picture.

    Examples
    --------
    >>> from softreg.display import ReliabilityDisplay
    >>> display = ReliabilityDisplay(
    ...     predicted=[[0.2, 0.7]], observed=[[0.3, 0.8]], counts=[[40, 60]], classes=["no", "yes"]
    ... )  # ReliabilityDisplay.from_estimator(model, X, y) draws
    >>> display.counts.sum(axis=1).tolist()
    [100.0]
    """

    def __init__(
        self, *, predicted: ArrayLike, observed: ArrayLike, counts: ArrayLike, classes: ArrayLike
    ) -> None:
        self.predicted = number_array("predicted", predicted, "n_rows", "n_bins")
        shape = self.predicted.shape
        self.observed = number_array("observed", observed, *shape)
        self.counts = number_array("counts", counts, *shape)
        self.classes = class_array(classes, shape[0])

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        probabilities: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 10,
        ax: Any = None,
        drawn: ArrayLike | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability of probabilities, whatever made them.

        Parameters
        ----------
        y : array-like of shape (n_samples,) of classes, or (n_samples, n_classes) of 0 and 1
            What was true; of labels NaN is unknown, and does not count.
        probabilities : array-like of shape (n_samples, n_classes)
        classes : array-like of shape (n_classes,), default=None
            What the columns of `probabilities` are; None is 0, 1, ...
        sample_weight : array-like of shape (n_samples,), or (n_samples, n_labels), default=None
            Weights of the rows, or of each label in them; None is one.
        n_bins : int, default=10
            Bins of probabilities, equally wide.
        ax, drawn
            As `ax` and `classes` for `plot`.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described, or y holds another class.
        """
        predictions = Predictions.from_user(y, probabilities, classes, sample_weight)
        return cls._of_predictions(predictions, n_bins).plot(ax, classes=drawn)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 10,
        offset: ArrayLike | None = None,
        ax: Any = None,
        classes: ArrayLike | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability of a fitted estimator of softreg on rows that it has not learned.

        Parameters
        ----------
        estimator : fitted estimator of softreg
        X, y, sample_weight, offset : as in its `fit`
        n_bins : int, default=10
            Bins of probabilities, equally wide.
        ax, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If an argument is not as described.
        """
        predictions = Predictions.from_estimator(estimator, X, y, sample_weight, offset)
        return cls._of_predictions(predictions, n_bins).plot(ax, classes=classes)

    @classmethod
    def _of_predictions(cls, predictions: Predictions, n_bins: int) -> ReliabilityDisplay:
        """Return the display, not drawn."""
        n_bins = validation.check_integer("n_bins", n_bins, 1)
        inner_edges = np.linspace(0, 1, n_bins + 1)[1:-1]
        sums = np.empty((3, predictions.P.shape[1], n_bins))
        for row, (answers, p, weight) in enumerate(predictions.by_class()):
            bins = np.searchsorted(inner_edges, p)
            summed = weight, weight * p, weight * answers
            sums[:, row] = [np.bincount(bins, values, n_bins) for values in summed]
        counts = sums[0]
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, which is not drawn
            predicted, observed = sums[1:] / counts
        return cls(
            predicted=predicted, observed=observed, counts=counts, classes=predictions.classes
        )

    def plot(self, ax: Any = None, *, classes: ArrayLike | None = None) -> ReliabilityDisplay:
        """Draw the curves and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        classes : class or array-like of classes, default=None
            The classes to draw; None is all, or the first twelve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or a class is not known.
        """
        rows, titles, note = rows_to_draw(classes, self.classes, len(self.counts))
        self.axes_ = labelled_panels(
            ax,
            titles,
            ("Predicted probability (mean of the bin)", "Observed frequency"),
            title=f"Reliability of probabilities{note}",
            beside=[_DIAGONAL, _CURVE],
            share_y=True,
            margins=(0.0, 0.6),
        )
        handles: list = []
        for panel, row in zip(self.axes_, rows, strict=True):
            above = {"y": 1.03 + _COUNTS_HEIGHT, "pad": 2, "fontsize": "medium"}
            panel.set_title(panel.get_title(), **above)
            _draw_counts(panel, self.counts[row])
            handles = _draw_curve(panel, self.predicted[row], self.observed[row])
        legend_beside(self.axes_, ax, handles)
        return self


def _draw_curve(ax: Any, predicted: NDArray, observed: NDArray) -> list:
    """Draw the diagonal and the curve (n_bins,) of a class; return both."""
    (diagonal,) = ax.plot([0, 1], [0, 1], color="0.6", linewidth=1, label=_DIAGONAL)
    is_filled = ~np.isnan(predicted)
    places = predicted[is_filled], observed[is_filled]
    curve = ax.plot(*places, color=COLOURS[0], marker="o", markersize=4, label=_CURVE)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return [diagonal, *curve]


def _draw_counts(ax: Any, counts: NDArray) -> None:
    """Draw how many rows each bin has, (n_bins,), in a strip above a panel."""
    strip = ax.inset_axes([0, 1.03, 1, _COUNTS_HEIGHT])
    n_bins, most = len(counts), counts.max()
    middles = (np.arange(n_bins) + 0.5) / n_bins
    strip.bar(middles, counts, 0.9 / n_bins, color="0.6")
    # The largest count, beside the edge of its bar that is farther from the middle.
    tallest = middles[counts.argmax()]
    side, edge = ("left", -0.5) if tallest < 0.5 else ("right", 0.5)
    has_weights = (counts % 1).any() or most > 2**53  # beyond, all doubles are whole
    text = f"weight {most:.4g}" if has_weights else f"{most:,.0f} rows"
    strip.text(tallest + edge / n_bins, most, text, ha=side, va="bottom", fontsize="x-small")
    strip.set(xlim=(-0.02, 1.02), ylim=(0, 1.4 * most or 1), xticks=[], yticks=[])
    for border in ("top", "left", "right"):
        strip.spines[border].set_visible(False)


class ThresholdDisplay(Display):
    """Precision, recall, and F1 or costs of labels against the threshold of their probability.

    A label is predicted where its probability exceeds the threshold.

    Parameters
    ----------
    thresholds : array-like of shape (n_thresholds,)
        Ascending.
    scores : mapping from name to array-like of shape (n_rows, n_thresholds)
        What is drawn; NaN, such as the precision where nothing is predicted, is not.
    classes : array-like of shape (n_rows,)
        Names of the labels. A single row may have two: it is the second class against the first.
    chosen : array-like of shape (n_rows,), default=None
        The threshold of each label, which a line marks.

    Attributes
    ----------
    axes_ : ndarray of n_panels matplotlib Axes, set by `plot`

    Raises
    ------
    TypeError, ValueError
        If an array does not hold numbers or does not fit the others.

    See Also
    --------
    softreg.calibration.tune_thresholds : Thresholds that are best on held-out predictions.

    Examples
    --------
    >>> from softreg.display import ThresholdDisplay
    >>> display = ThresholdDisplay(
    ...     thresholds=[0.2, 0.5], scores={"recall": [[0.9, 0.6]]}, classes=["late"], chosen=[0.3]
    ... )  # ThresholdDisplay.from_estimator(model, X, Y) draws
    >>> display.scores["recall"].shape
    (1, 2)
    """

    def __init__(
        self,
        *,
        thresholds: ArrayLike,
        scores: Any,
        classes: ArrayLike,
        chosen: ArrayLike | None = None,
    ) -> None:
        self.thresholds = number_array("thresholds", thresholds, "n_thresholds")
        n = len(self.thresholds)
        if not hasattr(scores, "items") or not scores:
            raise TypeError(f"scores={scores!r} must map a name or more to arrays.")
        self.scores = {
            name: number_array(f"scores[{name!r}]", values, "n_rows", n)
            for name, values in scores.items()
        }
        n_rows = len(next(iter(self.scores.values())))
        for name, values in self.scores.items():
            validation.check_shape(f"scores[{name!r}]", values, n_rows, n)
        self.classes = class_array(classes, n_rows)
        self.chosen = None if chosen is None else number_array("chosen", chosen, n_rows)

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        probabilities: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        threshold: ArrayLike | None = None,
        costs: ArrayLike | None = None,
        ax: Any = None,
        drawn: ArrayLike | None = None,
    ) -> ThresholdDisplay:
        """Draw what thresholds achieve on probabilities, whatever made them.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_labels) of 0 and 1, or (n_samples,) of two classes
            What was true; NaN is unknown, and does not count.
        probabilities : array-like of shape (n_samples, n_labels)
        classes : array-like of shape (n_labels,), default=None
            What the columns of `probabilities` are; None is 0, 1, ...
        sample_weight : array-like of shape (n_samples,), or (n_samples, n_labels), default=None
            Weights of the rows, or of each label in them; None is one.
        threshold : float or array-like of shape (n_labels,), default=None
            The threshold of each label, to be marked.
        costs : array-like of shape (2, 2), default=None
            ``costs[true, predicted]``, no and yes: their mean is drawn in place of F1.
        ax, drawn
            As `ax` and `classes` for `plot`.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described, or there are more than two classes, one a row.
        """
        predictions = Predictions.from_user(y, probabilities, classes, sample_weight)
        return cls._of_predictions(predictions, threshold, costs).plot(ax, classes=drawn)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        costs: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        ax: Any = None,
        classes: ArrayLike | None = None,
    ) -> ThresholdDisplay:
        """Draw what thresholds achieve on rows that a fitted estimator has not learned.

        Parameters
        ----------
        estimator : fitted estimator of softreg
            Its `threshold` is marked, 1/2 where it has none.
        X, y, sample_weight, offset : as in its `fit`
        costs : array-like of shape (2, 2), default=None
            ``costs[true, predicted]``, no and yes: their mean is drawn in place of F1.
        ax, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If an argument is not as described, or there are more than two classes, one a row.
        """
        predictions = Predictions.from_estimator(estimator, X, y, sample_weight, offset)
        threshold = getattr(estimator, "threshold", 0.5)
        return cls._of_predictions(predictions, threshold, costs).plot(ax, classes=classes)

    @classmethod
    def _of_predictions(
        cls, predictions: Predictions, threshold: Any, costs: Any
    ) -> ThresholdDisplay:
        """Return the display, not drawn."""
        P, names = predictions.P, predictions.classes
        L = P.shape[1]
        if L > 1 and not predictions.has_labels:
            raise ValueError(
                f"y holds one of {L} classes in each row; thresholds are those of labels, or of "
                "two classes. ReliabilityDisplay draws each class."
            )
        chosen = None if threshold is None else validation.check_threshold(threshold, L)
        spread = np.linspace(0, 1, _N_THRESHOLDS + 1)
        thresholds = np.unique(np.concatenate([spread, np.quantile(P, spread)]))
        by_label = [_scores(*of_class, thresholds, costs) for of_class in predictions.by_class()]
        scores = {name: [of[name] for of in by_label] for name in by_label[0]}
        return cls(thresholds=thresholds, scores=scores, classes=names, chosen=chosen)

    def plot(self, ax: Any = None, *, classes: ArrayLike | None = None) -> ThresholdDisplay:
        """Draw the scores and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each panel, default=None
            None makes a figure.
        classes : label or array-like of labels, default=None
            The labels to draw; None is all, or the first twelve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or a label is not known.
        """
        n_rows = len(next(iter(self.scores.values())))
        rows, titles, note = rows_to_draw(classes, self.classes, n_rows)
        if self.chosen is not None:
            chosen = self.chosen[rows]
            titles = [f"{of}\nchosen: {t:.3g}" for of, t in zip(titles, chosen, strict=True)]
        self.axes_ = labelled_panels(
            ax,
            titles,
            ("Threshold", "Score, or mean cost" if _COST in self.scores else "Score"),
            title=f"What thresholds achieve{note}",
            beside=[*self.scores, _CHOSEN],
            share_y=True,
        )
        lines: list = []
        for panel, row in zip(self.axes_, rows, strict=True):
            lines = []
            for rank, (name, values) in enumerate(self.scores.items()):
                lines += panel.plot(self.thresholds, values[row], label=name, **line_style(rank))
            if self.chosen is not None:
                mark = {"color": "black", "linewidth": 1, "linestyle": "--", "label": _CHOSEN}
                lines.append(panel.axvline(self.chosen[row], **mark))
        legend_beside(self.axes_, ax, lines)
        return self


def _scores(
    answers: NDArray, p: NDArray, weight: NDArray, thresholds: NDArray, costs: Any
) -> dict[str, NDArray]:
    """Return precision, recall and F1, or the mean cost, at each threshold, (n_thresholds,)."""
    order = np.argsort(p)
    first = np.searchsorted(p[order], thresholds, side="right")  # of those that are predicted
    # Summed from the most probable on, so that nothing is left, by rounding, where none is.
    sums = [
        np.append(np.cumsum(values[order][::-1])[::-1], 0) for values in (weight, weight * answers)
    ]
    (total, positive), (predicted, right) = ([of[at] for of in sums] for at in (0, first))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, which is not drawn
        scores = {"precision": right / predicted, "recall": right / positive}
        if costs is None:
            return scores | {"F1": 2 * right / (predicted + positive)}
        table = number_array("costs", validation.check_finite_real("costs", costs), 2, 2)
        wrong, missed = predicted - right, positive - right
        confusion = np.array([[total - positive - wrong, wrong], [missed, right]])
        return scores | {_COST: np.tensordot(table, confusion, 2) / total}
