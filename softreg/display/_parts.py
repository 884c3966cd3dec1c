"""What pictures are made of: checked arrays, attributes of an estimator, Axes, titles and names."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from softreg._encoding import validation
from softreg._encoding.class_values import codes_in, has_columns, label_column, listed
from softreg._estimators.base import LinearClassifier

C_AXIS = "C (inverse penalty strength)"
# Okabe and Ito (2008), "Color Universal Design": the colour-blind tell them apart. Without black,
# which is for marks, and yellow, which is not seen on white; grey is for what has no name.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vP"
_SHADE = 0.55  # What is left of a colour's light when it is used again.
_MOST_PANELS = 12  # Four columns of three: what a page shows legibly.
_TITLE_WIDTH = 26  # Characters over the narrowest panel.
_MOST_TICKS = 6  # Powers of ten under the narrowest panel.
_NAME_WIDTH = 40  # Characters: wider legends leave the panels no space.
_LONGEST_NAME = 160  # Characters, which are four lines of a legend.
_COUNTS_HEIGHT = 3.6  # Of the upper axis, in heights of a small letter.
_COUNTS = 5  # Places at which an upper axis counts features: what the narrowest panel holds.


def number_array(name: str, values: ArrayLike, *shape: int | str) -> NDArray:
    """Return a copy of `values` as floats of this shape; a word stands for any length >= 1."""
    array = validation.check_real(name, values).astype(float)
    validation.check_shape(name, array, *shape)
    return array


def ascending_Cs(Cs: ArrayLike, *grids: int | str) -> NDArray:
    """Return inverse strengths that are > 0 and ascending, (n_Cs,), or (n, n_Cs) of n `grids`."""
    array = number_array("Cs", Cs, *grids[: np.ndim(Cs) > 1], "n_Cs")
    validation.check_strengths(array)
    if (array[..., 1:] < array[..., :-1]).any():
        raise ValueError(f"Cs must be in ascending order; got {array.tolist()}.")
    return array


def places_of_Cs(values: Any, Cs: NDArray) -> Any:
    """Return where values of C stand on a log axis of Cs (n_Cs,): inf a step beyond the others."""
    finite = np.append(1.0, Cs[np.isfinite(Cs)])
    step = max(10.0, finite[-1] / finite[-2]) if len(finite) > 2 else 10.0
    return np.where(np.isinf(values), finite[-1] * step, values)[()]


def set_log_C_axis(ax: Any, Cs: NDArray) -> None:
    """Make the x axis that of Cs (n_Cs,), ascending: a log axis, with a tick where inf stands."""
    ax.set_xscale("log")
    if not np.isinf(Cs[-1]):
        return
    from matplotlib.ticker import FixedFormatter, FixedLocator

    finite = np.log10(Cs[np.isfinite(Cs)])
    powers = np.arange(np.ceil(finite[0]), np.floor(finite[-1]) + 1) if finite.size else finite
    powers = powers[:: math.ceil(len(powers) / _MOST_TICKS) or 1]
    names = [f"$10^{{{power:.0f}}}$" for power in powers]
    places = [*(10.0**powers), places_of_Cs(np.inf, Cs)]
    if len(Cs) == 1:  # a fixed locator does not widen a range of one place
        ax.set_xlim(places[-1] / 10, places[-1] * 10)
    ax.xaxis.set(major_locator=FixedLocator(places), major_formatter=FixedFormatter([*names, "∞"]))
    ax.minorticks_off()


def line_style(rank: int) -> dict[str, Any]:
    """Return the colour and dashes of one of many lines: no two of the first 36 are alike."""
    round_number, place = divmod(rank, len(COLOURS))
    return {"color": COLOURS[place], "linestyle": _DASHES[round_number % len(_DASHES)]}


def class_colour(rank: int) -> tuple[float, float, float]:
    """Return the colour (red, green, blue) of one of many areas: used again, it is darker."""
    from matplotlib.colors import to_rgb

    round_number, place = divmod(rank, len(COLOURS))
    red, green, blue = (part * _SHADE**round_number for part in to_rgb(COLOURS[place]))
    return red, green, blue


def point_style(rank: int) -> dict[str, Any]:
    """Return the colour and marker of one of many kinds of points."""
    round_number, place = divmod(rank, len(_MARKERS))
    marker = _MARKERS[(place + round_number) % len(_MARKERS)]
    edge = {"edgecolor": "white", "linewidth": 0.5}
    return {"color": [class_colour(rank)], "marker": marker, **edge}


def add_counts(ax: Any, places: NDArray, counts: NDArray, name: str = "features in") -> None:
    """Add an upper axis with counts (n_Cs,) at some places of C, evenly spaced."""
    spread = np.geomspace(places[0], places[-1], _COUNTS)
    shown = np.unique(np.abs(np.log(places[:, None] / spread)).argmin(axis=0))
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(places[shown], counts[shown], minor=False, fontsize="small")
    upper.set_xticks([], minor=True)
    upper.tick_params(length=2)
    upper.set_xlabel(name, fontsize="small")


def name_array(name: str, values: ArrayLike, n: int) -> NDArray:
    """Return n names, (n,)."""
    names = np.asarray(values)
    validation.check_shape(name, names, n, meaning=", a name each")
    return names


def answer_matrix(y: Any, classes: NDArray) -> NDArray:
    """Return of each row 1 for its class, or for those labels that it has, (n, K).

    NaN is not known. y are classes (n,), or a column for each, such as 0 and 1 of labels.
    """
    if has_columns(y):
        is_sparse = bool(sparse.issparse(y))
        answers = y.toarray() if is_sparse else validation.doubles(y, "y")
        validation.check_shape("y", answers, "n", len(classes), meaning=", a column for each class")
        return answers.astype(float)
    column = label_column(y)
    codes = codes_in(classes, column)
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        raise ValueError(
            f"y holds {column[unknown[0]]!s} in row {unknown[0]}, which is none of the "
            f"classes {validation.shown(classes)}: leave such rows out."
        )
    return np.eye(len(classes))[codes]


def class_array(classes: ArrayLike, n_rows: int) -> NDArray:
    """Return the names of rows, (n_rows,), or of a single row two: the second against the first."""
    two_classes = n_rows == 1 and np.size(classes) == 2
    return name_array("classes", classes, 2 if two_classes else n_rows)


def read_attributes(source: Any, expected: str, *names: str) -> list[Any]:
    """Return attributes of what should be `expected`, in words; TypeError if it lacks some.

    NotFittedError if it is an estimator that is not fitted.
    """
    if isinstance(source, BaseEstimator | type):
        caller = f"A picture of {expected}"
        validation.check_estimator(caller, "an estimator of softreg", source, LinearClassifier)
    missing = [name for name in names if not hasattr(source, name)]
    if missing and isinstance(source, LinearClassifier):
        check_is_fitted(source, msg="%(name)s is not fitted: call fit before drawing it.")
    if missing:
        raise TypeError(
            f"A picture of {expected} was asked for, but {type(source).__name__} has no "
            f"{', '.join(missing)}."
        )
    return [getattr(source, name) for name in names]


def rows_of_classes(classes: ArrayLike | None, names: NDArray) -> tuple[list[int], str]:
    """Return the indices in `names` of the classes to draw, and what a title adds if some are not.

    None draws all, or the first twelve.
    """
    if classes is None:
        n, shown = len(names), min(len(names), _MOST_PANELS)
        return list(range(shown)), f": the first {shown} of {n} classes" if shown < n else ""
    row_of = {name: row for row, name in enumerate(names.tolist())}
    wanted = np.atleast_1d(np.asarray(classes)).tolist()
    if not wanted or not set(wanted) <= row_of.keys():
        known = ", ".join(map(repr, listed(names)))
        raise ValueError(
            f"classes={validation.shown(classes)} must name some of the rows, which are: {known}."
        )
    return [row_of[name] for name in wanted], ""


def labelled_panels(
    ax: Any,
    n: int,
    labels: tuple[str, str],
    *,
    title: str,
    beside: Sequence[str] = (),
    share_y: bool = False,
    margins: tuple[float, float] = (0.0, 0.0),
) -> NDArray:
    """Return n Axes with labels of x and y, (n,): the user's `ax`, or for None a new figure's.

    A new figure has the title, space for a legend of the texts `beside` all panels, and `margins`:
    inches to the left of them, and above each. What the user's single Axes show is their title.
    """
    is_new = ax is None
    axes = _new_axes(n, title, beside, share_y, margins) if is_new else _checked_axes(ax, n)
    figure = axes[0].figure
    if n == 1 and not is_new:
        axes[0].set_title(title, fontsize="medium")
    x_label, y_label = labels
    if n == 1 or not is_new:
        for panel in axes:
            panel.set(xlabel=x_label, ylabel=y_label)
        return axes
    figure.supxlabel(x_label, fontsize="medium")
    figure.supylabel(y_label, fontsize="medium", multialignment="center")
    return axes


def legend_beside(axes: NDArray, ax: Any, handles: list) -> None:
    """Put a legend of all panels beside them, or inside the last of the user's `ax`."""
    if handles and ax is None:
        place: dict[str, Any] = {"loc": "outside right upper", "fontsize": "small"}
        axes[0].figure.legend(handles=handles, **place)
    elif handles:
        axes[-1].legend(handles=handles, fontsize="small")


def legend_above(ax: Any, title: str, handles: list) -> None:
    """Put a legend above a panel, where it hides nothing of it, and over it the panel's title.

    Without a title, that of the Axes moves there.
    """
    title = title or ax.get_title()
    if not handles:
        ax.set_title(title, fontsize="medium")
        return
    ax.set_title("")
    pad = _COUNTS_HEIGHT if ax.child_axes else 0.5  # in heights of a letter
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderaxespad": pad}
    legend = ax.legend(
        handles=handles, title=title or None, fontsize="small", frameon=False, **above
    )
    legend.get_title().set_multialignment("center")


def _checked_axes(ax: Any, n: int) -> NDArray:
    """Return the first n of the Axes that a user passed, (n,)."""
    from matplotlib.axes import Axes

    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if not all(isinstance(panel, Axes) for panel in axes):
        raise TypeError(f"ax must be matplotlib Axes, an array of them, or None; got {ax!r}.")
    if len(axes) < n:
        raise ValueError(f"ax holds {len(axes)} Axes for {n} panels; None makes as many as needed.")
    return axes[:n]


def _new_axes(
    n: int, title: str, beside: Sequence[str], share_y: bool, margins: tuple[float, float]
) -> NDArray:
    """Return n Axes (n,) of a new figure, in a grid; ImportError without matplotlib."""
    columns = n if n <= 3 else math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    width, height = (6.4, 4.4) if n == 1 else (2.7 * columns, 2.4 * rows + 1)
    lines = [line for text in beside for line in text.split("\n")]
    width, height = width + margins[0], height + rows * margins[1]
    height = max(height, 0.2 * len(lines) + 0.4)
    legend = 1.0 + 0.068 * max(map(len, lines)) if lines else 0.0  # its letters are small
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib (the extra softreg[plot]), which is not installed: "
            'python -m pip install "matplotlib>=3.8".'
        ) from error
    grid: Any = {"sharex": True, "sharey": share_y, "squeeze": False, "layout": "constrained"}
    figure, panels = plt.subplots(rows, columns, figsize=(width + legend, height), **grid)
    figure.suptitle(title, x=width / 2 / (width + legend), fontsize="medium")
    axes = panels.ravel()
    for unused in axes[n:]:
        unused.set_visible(False)
    for lowest in axes[max(n - columns, 0) : n]:  # Also above an empty place.
        lowest.xaxis.set_tick_params(labelbottom=True)
    return axes[:n]


def class_name(name: Any) -> str:
    """Return what a class is called in legends."""
    return legible_name(_class_text(name))


def panel_title(name: Any, references: Iterable = ()) -> str:
    """Return the title of a class's panel, "name against reference", broken into lines."""
    texts = [_class_text(name), *map(str, references)]
    return _in_lines(" against ".join(map(_without_middle, texts)), _TITLE_WIDTH)


def legible_name(name: Any) -> str:
    """Return a name as matplotlib shows it: in lines, no formula, not hidden by an underscore.

    Only a very long one lacks its middle, so that those of one beginning can be told apart.
    """
    return _in_lines(_without_middle(str(name)), _NAME_WIDTH)


def _class_text(name: Any) -> str:
    return name if isinstance(name, str) else f"class {name}"


def _without_middle(text: str) -> str:
    half = _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[:half]} … {text[-half:]}"


def _in_lines(text: str, width: int) -> str:
    """Return a text in lines, which matplotlib reads neither as a formula nor as hidden."""
    filled = textwrap.fill(text, width).replace("$", r"\$")
    return " " + filled if filled.startswith("_") else filled
