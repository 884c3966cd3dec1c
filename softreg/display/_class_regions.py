"""Where each class is the most probable, over two features."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from softreg._encoding import validation
from softreg._estimators.base import has_labels
from softreg.display._axes import (
    COLOURS,
    Display,
    class_colour,
    labelled_panels,
    legend_beside,
    point_style,
)
from softreg.display._held import HeldModel, held_note, spread_over
from softreg.display._parts import (
    answer_matrix,
    class_name,
    legible_name,
    name_array,
    number_array,
    rows_to_draw,
)

_N_PLACES = 200  # Of each axis: more are not seen in a picture of ordinary size.
_HAS_LABEL, _HAS_NOT, _THRESHOLD = "has the label", "has it not", "threshold"
_BOUNDARY = "where predictions change"
_FAINTEST, _STRONGEST = 0.12, 0.75  # How much of its colour an area has at probabilities 1/K and 1.


class ClassRegionsDisplay(Display):
    """The most probable class over two features, with the straight boundaries between classes.

    The stronger its colour, the more probable is the class. Of labels each has a panel, with its
    probability, and the line at its threshold.

    Parameters
    ----------
    x, y : array-like of shape (n_x,) and (n_y,)
        Evenly spaced values of the first and of the second feature, ascending.
    probabilities : array-like of shape (n_y, n_x, n_classes)
    classes : array-like of shape (n_classes,)
    boundaries : mapping, default=None
        The ends of straight lines, arrays (2, 2) of two points: by pairs of classes, those between
        which predictions change there; of labels by the label.
    feature_names : array-like of shape (2,), default=("x0", "x1")
    points : array-like of shape (n_points, 2), default=None
        The two features of rows to draw.
    answers : array-like of shape (n_points, n_classes), default=None
        Of each row 1 for its class, or for those labels that it has; NaN is not known, and not
        drawn.
    has_labels : bool, default=False
        Whether rows have any number of labels, not one class each.
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
    >>> import numpy as np
    >>> from softreg.display import ClassRegionsDisplay
    >>> regions = ClassRegionsDisplay(
    ...     x=[0, 1], y=[0, 1], probabilities=np.full((2, 2, 3), 1 / 3), classes=["a", "b", "c"]
    ... )  # ClassRegionsDisplay.from_estimator(model, X, y) draws
    >>> regions.probabilities.shape
    (2, 2, 3)
    """

    def __init__(
        self,
        *,
        x: ArrayLike,
        y: ArrayLike,
        probabilities: ArrayLike,
        classes: ArrayLike,
        boundaries: Mapping[Any, ArrayLike] | None = None,
        feature_names: ArrayLike = ("x0", "x1"),
        points: ArrayLike | None = None,
        answers: ArrayLike | None = None,
        has_labels: bool = False,
        held: Mapping[Any, float] | None = None,
        n_given: int | None = None,
    ) -> None:
        self.x, self.y = _even_places("x", x), _even_places("y", y)
        shape = len(self.y), len(self.x), "n_classes"
        self.probabilities = number_array("probabilities", probabilities, *shape)
        K = self.probabilities.shape[2]
        self.classes = name_array("classes", classes, K)
        self.boundaries = {
            between: number_array(f"boundaries[{between!r}]", ends, 2, 2)
            for between, ends in dict(boundaries or {}).items()
        }
        self.feature_names = name_array("feature_names", feature_names, 2)
        if (points is None) != (answers is None):
            raise ValueError("points and answers belong together: pass both, or none of them.")
        self.points = self.answers = None
        if points is not None and answers is not None:
            self.points = number_array("points", points, "n_points", 2)
            self.answers = number_array("answers", answers, len(self.points), K)
        self.has_labels = validation.check_flag("has_labels", has_labels)
        self.held = dict(held or {})
        self.n_given = len(self.held) if n_given is None else n_given

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        features: Any = None,
        at: Any = None,
        ax: Any = None,
        classes: ArrayLike | None = None,
    ) -> ClassRegionsDisplay:
        """Draw the regions of a fitted estimator of softreg, without an offset.

        Parameters
        ----------
        estimator : fitted estimator of softreg
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows such as those of the fit: regions are drawn over the range of their two features,
            at the means of the others.
        y : as in `fit`, default=None
            The classes or labels of the rows, which are drawn as points: at their two features,
            whatever their others are. None draws none.
        features : two names or places of features, default=None
            None is the features of an X that has two.
        at : mapping or pandas Series from features to values, default=None
            At what some others are held, such as the levels of a category, of which a mean is none.
        ax, classes
            As for `plot`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X has other features than in `fit`, `features` are not two that are known, or a value
            is not finite.
        """
        if features is None:
            features = _only_two(X)
        elif isinstance(features, str) or np.size(features) != 2:
            raise ValueError(f"features={validation.shown(features)} must be two of the features.")
        model = HeldModel.from_user(estimator, X, "features", features, at)
        x, y_places = (spread_over(column, _N_PLACES) for column in model.data.T)
        grid = np.stack(np.meshgrid(x, y_places), axis=-1).reshape(-1, 2)
        P = model.probabilities(grid).reshape(len(y_places), len(x), -1)
        names, in_labels = estimator.classes_, has_labels(estimator)
        box = np.array([x[[0, -1]], y_places[[0, -1]]])
        threshold = getattr(estimator, "threshold", 0.5)
        cuts = logit(validation.check_threshold(threshold, len(model.intercept)))
        lines = _boundaries(model.coef, model.intercept - cuts, names, box, in_labels)
        answers = None
        if y is not None:
            checked = estimator._read_answers(y, None, len(model.data))[1].y
            answers = answer_matrix(checked, names)
        display = cls(
            x=x,
            y=y_places,
            probabilities=P,
            classes=names,
            boundaries=lines,
            feature_names=np.array(model.names, dtype=object),
            points=None if y is None else model.data,
            answers=answers,
            has_labels=in_labels,
            held=model.held,
            n_given=model.n_given,
        )
        return display.plot(ax, classes=classes)

    def plot(self, ax: Any = None, *, classes: ArrayLike | None = None) -> ClassRegionsDisplay:
        """Draw the regions and return self.

        Parameters
        ----------
        ax : matplotlib Axes, or array of one for each label, default=None
            None makes a figure.
        classes : label or array-like of labels, default=None
            The labels to draw; None is all, or the first twelve. Classes are all drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `ax` does not hold an Axes for each panel, or a label is not known.
        """
        if classes is not None and not self.has_labels:
            raise ValueError(
                f"classes={validation.shown(classes)}, but all classes share a panel: leave it "
                "None."
            )
        rows, titles, note = rows_to_draw(classes, self.classes, len(self.classes))
        title, beside = f"Probability of each label{note}", [_HAS_LABEL, _HAS_NOT, _THRESHOLD]
        if not self.has_labels:
            titles = [""]
            title = "Most probable class: the stronger the colour, the more probable"
            beside = [*map(class_name, self.classes), _BOUNDARY]
        x_label, y_label = map(legible_name, self.feature_names)
        self.axes_ = labelled_panels(
            ax,
            titles,
            (x_label, y_label),
            title=title + held_note(self.held, self.n_given),
            beside=beside,
            share_y=True,
        )
        handles = self._draw_labels(rows) if self.has_labels else self._draw_classes()
        legend_beside(self.axes_, ax, handles)
        for panel in self.axes_:
            panel.set(xlim=self.x[[0, -1]], ylim=self.y[[0, -1]])
        return self

    def _draw_classes(self) -> list:
        """Draw the regions of all classes in one panel; return what their legend shows."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        ax = self.ax_
        best, K = self.probabilities.argmax(axis=2), len(self.classes)
        strength = (self.probabilities.max(axis=2) - 1 / K) / (1 - 1 / K) if K > 1 else 1.0
        share = (_FAINTEST + (_STRONGEST - _FAINTEST) * np.clip(strength, 0, 1))[..., None]
        colours = np.array([class_colour(k) for k in range(K)])
        self._show(ax, share * colours[best] + (1 - share))
        for ends in self.boundaries.values():
            ax.plot(*ends.T, color="black", linewidth=1)
        handles: list = []
        of_row = None if self.answers is None else self.answers.argmax(axis=1)
        for k, name in enumerate(self.classes):
            if of_row is None:
                handles.append(Patch(color=colours[k], label=class_name(name)))
            else:
                handles.append(self._scatter(ax, of_row == k, class_name(name), **point_style(k)))
        if self.boundaries:
            handles.append(Line2D([], [], color="black", linewidth=1, label=_BOUNDARY))
        return handles

    def _draw_labels(self, rows: list[int]) -> list:
        """Draw the probability of each label, (0, 1), in its panel; return the legend's entries."""
        from matplotlib.lines import Line2D

        handles: list = []
        for ax, row in zip(self.axes_, rows, strict=True):
            name = self.classes[row]
            image = self._show(ax, self.probabilities[..., row])
            if name in self.boundaries:
                ax.plot(*self.boundaries[name].T, color="black", linewidth=1.5)
            if self.answers is not None:
                has_it = self.answers[:, row]
                no = {"color": "white", "edgecolor": "black", "marker": "o", "linewidth": 0.6}
                yes = {"color": COLOURS[3], "edgecolor": "white", "marker": "^", "linewidth": 0.4}
                handles = [
                    self._scatter(ax, has_it == 1, _HAS_LABEL, **yes),
                    self._scatter(ax, has_it == 0, _HAS_NOT, **no),
                ]
        self.figure_.colorbar(image, ax=list(self.axes_), label="Probability", pad=0.02)
        return [*handles, Line2D([], [], color="black", linewidth=1.5, label=_THRESHOLD)]

    def _show(self, ax: Any, values: NDArray) -> Any:
        """Fill an Axes with colours (n_y, n_x, 3), or shades of probabilities (n_y, n_x)."""
        dx, dy = self.x[1] - self.x[0], self.y[1] - self.y[0]  # places are the middles of cells
        extent = self.x[0] - dx / 2, self.x[-1] + dx / 2, self.y[0] - dy / 2, self.y[-1] + dy / 2
        look: dict[str, Any] = {"vmin": 0, "vmax": 1, "cmap": "Blues"} if values.ndim == 2 else {}
        return ax.imshow(values, origin="lower", extent=extent, aspect="auto", **look)

    def _scatter(self, ax: Any, rows: NDArray, name: str, **style: Any) -> Any:
        """Draw some of the points; return what a legend shows of them."""
        assert self.points is not None
        return ax.scatter(*self.points[rows].T, s=22, label=name, zorder=3, **style)


def _even_places(name: str, values: ArrayLike) -> NDArray:
    """Return the values (n,) of a feature; ValueError unless they ascend in equal steps."""
    places = number_array(name, values, "n")
    steps = np.diff(places)
    if not (steps.size and steps.min() > 0 and np.allclose(steps, steps.mean(), atol=0)):
        raise ValueError(
            f"{name}={validation.shown(places)} must be two or more values that ascend in equal "
            "steps, as those of np.linspace."
        )
    return places


def _only_two(X: Any) -> tuple[int, int]:
    """Return the places of the features of an X that has two; ValueError for another."""
    shape = getattr(X, "shape", None) or np.shape(X)
    n = shape[1] if len(shape) == 2 else 0
    if n != 2:
        remedy = "ProbabilityDisplay draws one" if n == 1 else "pass the names or places of two"
        raise ValueError(f"features=None needs an X of two features, and X has {n}: {remedy}.")
    return 0, 1


def _boundaries(
    W: NDArray, b: NDArray, names: NDArray, box: NDArray, in_labels: bool
) -> dict[Any, NDArray]:
    """Return the lines (2, 2) on which predictions change, inside a box (2, 2) of two ranges.

    Scores W x + b, of two classes a row, are those less the logits of thresholds.
    """
    names = names.tolist()
    # 1. In units in which the box is that from 0 to 1, so that no unit is a matter of rounding.
    low, width = box[:, 0], box[:, 1] - box[:, 0]
    W, b = W * width, b + W @ low
    if in_labels:
        lines = zip(names, W, b, strict=True)
        ends = {name: _segment(w, c, W[:0], b[:0]) for name, w, c in lines}
    else:
        if len(b) < len(names):
            W, b = np.vstack([np.zeros_like(W), W]), np.append(0.0, b)
        # 2. Where classes j and k score the same, and no other scores more.
        ends = {}
        for j, k in combinations(range(len(b)), 2):
            others = np.delete(np.arange(len(b)), [j, k])
            line = W[j] - W[k], b[j] - b[k]
            ends[names[j], names[k]] = _segment(*line, W[j] - W[others], b[j] - b[others])
    return {between: low + width * line for between, line in ends.items() if line is not None}


def _segment(w: NDArray, c: float, V: NDArray, v: NDArray) -> NDArray | None:
    """Return the ends (2, 2) of where w x + c = 0, V x + v >= 0 and 0 <= x <= 1, or None."""
    square = w @ w
    if not square > 0:
        return None
    foot, along = -c * w / square, np.array([-w[1], w[0]]) / np.sqrt(square)
    V = np.vstack([V, np.eye(2), -np.eye(2)])
    level, slope = V @ foot + np.concatenate([v, [0, 0, 1, 1]]), V @ along
    # level + slope t >= 0 for all: between the bounds of those that rise and those that fall.
    if (level[slope == 0] < 0).any():
        return None
    with np.errstate(over="ignore"):  # bounds of nearly parallel lines may be beyond numbers
        bound = -level[slope != 0] / slope[slope != 0]
    rises = slope[slope != 0] > 0
    first, last = bound[rises].max(initial=-np.inf), bound[~rises].min(initial=np.inf)
    return foot + np.array([[first], [last]]) * along if first < last else None
