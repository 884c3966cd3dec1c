"""The Axes of a picture: how many, where, of which classes, and what stands on them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

C_AXIS = "C (inverse strength of the penalty)"
_MOST_PANELS = 12  # Four columns of three: what a page shows legibly.
_TITLE_WIDTH = 26  # Characters over the narrowest panel.
_LONGEST_NAME = 40  # Characters: wider legends leave the panels no room.


def chosen(classes: ArrayLike | None, names: NDArray) -> tuple[list[int], str]:
    """Return the rows of the classes to draw, and a note if a page does not show them all."""
    if classes is None:
        n, shown = len(names), min(len(names), _MOST_PANELS)
        return list(range(shown)), f"The first {shown} of {n} classes" if shown < n else ""
    row = {name: i for i, name in enumerate(names.tolist())}
    wanted = np.atleast_1d(np.asarray(classes)).tolist()
    if not wanted or not set(wanted) <= row.keys():
        known = ", ".join(map(repr, row))
        raise ValueError(f"classes={classes!r} must name some of the rows, which are: {known}.")
    return [row[name] for name in wanted], ""


def panels(ax: Any, n: int, x: str, y: str, *, note: str = "", entries: int = 0) -> NDArray:
    """Return n labelled Axes: those given, or of a new figure.

    A new figure has room for the entries of one legend beside them all, which then share y too.
    """
    axes = _new(n, entries) if ax is None else _given(ax, n)
    if ax is not None or n == 1:
        for panel in axes:
            panel.set(xlabel=x, ylabel=y)
        return axes
    figure = axes[0].figure
    figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium", multialignment="center")
    if note:
        figure.suptitle(note, fontsize="medium")
    return axes


def _given(ax: Any, n: int) -> NDArray:
    from matplotlib.axes import Axes

    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if not all(isinstance(panel, Axes) for panel in axes):
        raise TypeError(f"ax must be matplotlib Axes, an array of them, or None; got {ax!r}.")
    if len(axes) < n:
        raise ValueError(f"ax holds {len(axes)} Axes for {n} panels; None makes as many as needed.")
    return axes[:n]


def _new(n: int, entries: int) -> NDArray:
    """Return n Axes in a grid."""
    columns = n if n <= 3 else math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    width, height = (6.4, 4.4) if n == 1 else (2.7 * columns, 2.4 * rows + 1)
    size = (width + 2.6 * (entries > 0), max(height, 0.2 * entries + 0.4))
    figure = _pyplot().figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=entries > 0, squeeze=False).ravel()
    for unused in axes[n:]:
        unused.set_visible(False)
    for lowest in axes[max(n - columns, 0) : n]:  # Also above an empty place.
        lowest.xaxis.set_tick_params(labelbottom=True)
    return axes[:n]


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Pictures need matplotlib, which is not installed: pip install "softreg[plot]".'
        ) from error
    return plt


def title(name: Any, against: Iterable = ()) -> str:
    """Return what stands above the panel of a class."""
    first = legible(name) if isinstance(name, str) else f"class {legible(name)}"
    return textwrap.fill(" against ".join([first, *map(legible, against)]), _TITLE_WIDTH)


def legible(name: Any) -> str:
    """Return a name as matplotlib shows it: short, no formula, and not hidden by an underscore."""
    text = str(name)
    if len(text) > _LONGEST_NAME:
        text = text[: _LONGEST_NAME - 1] + "…"
    text = text.replace("$", r"\$")
    return " " + text if text.startswith("_") else text
