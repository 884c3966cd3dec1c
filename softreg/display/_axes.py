"""Axes of pictures: panels with titles and legends, a log axis of C, colours and markers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

C_AXIS = "C (inverse penalty strength)"
# Okabe and Ito (2008), "Color Universal Design": the colour-blind tell them apart. Without black,
# which is for marks, and yellow, which is not seen on white; grey is for what has no name.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vP"
_SHADE = 0.55  # What is left of a colour's light when it is used again.
_MOST_TICKS = 6  # Powers of ten under the narrowest panel.
_COUNTS_HEIGHT = 3.6  # Of the upper axis, in heights of a small letter.
_COUNTS = 5  # Places at which an upper axis counts features: what the narrowest panel holds.


class Display:
    """What all Displays share once `plot` has set `axes_`, ndarray of n_panels matplotlib Axes."""

    axes_: NDArray

    @property
    def ax_(self) -> Any:
        """The first of `axes_`."""
        return self.axes_[0]

    @property
    def figure_(self) -> Any:
        """The matplotlib Figure of `axes_`."""
        return self.axes_[0].figure


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


def add_counts(ax: Any, places: NDArray, counts: NDArray, name: str = "features in") -> None:
    """Add an upper axis with counts (n_Cs,) at some places of C, evenly spaced."""
    spread = np.geomspace(places[0], places[-1], _COUNTS)
    shown = np.unique(np.abs(np.log(places[:, None] / spread)).argmin(axis=0))
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(places[shown], counts[shown], minor=False, fontsize="small")
    upper.set_xticks([], minor=True)
    upper.tick_params(length=2)
    upper.set_xlabel(name, fontsize="small")


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


def labelled_panels(
    ax: Any,
    titles: Sequence[str],
    labels: tuple[str, str],
    *,
    title: str,
    beside: Sequence[str] = (),
    share_y: bool = False,
    margins: tuple[float, float] = (0.0, 0.0),
) -> NDArray:
    """Return Axes with titles and labels of x and y: the user's `ax`, or for None a new figure's.

    There are as many, (n,), as `titles`. A new figure has the `title`, space for a legend of the
    texts `beside` all panels, and `margins`: inches to the left of them, and above each. On the
    user's single Axes the `title` stands above that of the panel.
    """
    n, is_new = len(titles), ax is None
    axes = _new_axes(n, title, beside, share_y, margins) if is_new else _checked_axes(ax, n)
    if n == 1 and not is_new:
        titles = ["\n".join(filter(None, (title, *titles)))]
    for panel, panel_title in zip(axes, titles, strict=True):
        if panel_title:
            panel.set_title(panel_title, fontsize="medium")
    x_label, y_label = labels
    if n > 1 and is_new:
        axes[0].figure.supxlabel(x_label, fontsize="medium")
        axes[0].figure.supylabel(y_label, fontsize="medium", multialignment="center")
        return axes
    for panel in axes:
        panel.set(xlabel=x_label, ylabel=y_label)
    return axes


def legend_beside(axes: NDArray, ax: Any, handles: list) -> None:
    """Put a legend of all panels beside them, or inside the last of the user's `ax`."""
    if handles and ax is None:
        place: dict[str, Any] = {"loc": "outside right upper", "fontsize": "small"}
        axes[0].figure.legend(handles=handles, **place)
    elif handles:
        axes[-1].legend(handles=handles, fontsize="small")


def legend_above(ax: Any, handles: list) -> None:
    """Put a legend above a panel, where it hides nothing of it, and the panel's title over it."""
    if not handles:
        return
    pad = _COUNTS_HEIGHT if ax.child_axes else 0.5  # in heights of a letter
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderaxespad": pad}
    title = ax.get_title() or None
    legend = ax.legend(handles=handles, title=title, fontsize="small", frameon=False, **above)
    legend.get_title().set_multialignment("center")
    ax.set_title("")


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
