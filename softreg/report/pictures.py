"""Pictures of a report, drawn by matplotlib without a screen, as text of SVG."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay

from softreg.display import CVCurveDisplay
from softreg.report.assessment import Assessment
from softreg.report.target import Target

_BLUE, _ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito: told apart by the colour-blind, too.
_MOST_PANELS, _PANELS_BESIDE = 12, 3
_MOST_NUMBERS, _MOST_CLASSES = 10, 40  # In a confusion matrix: cells with numbers, and any.
_N_BINS = 8
_LINE = 30  # Letters of a name.
_BRAILLE = "".join(map(chr, range(0x2800, 0x2900)))


def score_curve(regression: Any) -> str:
    """Return the held-out scores at each C."""
    figure = _figure(7, 4.5)
    CVCurveDisplay.from_estimator(regression, ax=figure.add_subplot())
    return _svg(figure)


def confusion_matrix(target: Target, predicted: NDArray) -> str:
    """Return the held-out confusion matrix of classes as shares of the true class."""
    K = len(target.names)
    size = min(3.5 + 0.45 * K, 12)
    figure = _figure(size + 1, size)
    names = [_legible(name) for name in target.names]
    display = ConfusionMatrixDisplay.from_predictions(
        target.codes,
        predicted,
        labels=range(K),
        display_labels=names,
        normalize="true",
        include_values=K <= _MOST_NUMBERS,
        values_format=".2f",
        xticks_rotation="vertical" if K > 3 or max(map(len, names)) > 12 else "horizontal",
        cmap="Blues",
        ax=figure.add_subplot(),
        im_kw={"vmin": 0, "vmax": 1},
    )
    display.ax_.set(xlabel="predicted class", ylabel="true class")
    if K > _MOST_CLASSES:
        display.ax_.set(xticks=[], yticks=[])
    return _svg(figure)


def calibration(target: Target, assessment: Assessment) -> str:
    """Return the share of each class, or label, against its held-out probability."""
    shown = np.sort(np.argsort(-target.shares, kind="stable")[:_MOST_PANELS])
    if len(shown) == 2 and not target.has_labels:
        shown = shown[1:]  # the other one is its mirror image
    beside = min(_PANELS_BESIDE, len(shown))
    below = -(-len(shown) // beside)
    figure = _figure(1 + 2.6 * beside, 0.8 + 2.6 * below)
    grid = figure.subplots(below, beside, sharex=True, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(shown) :]:
        axes.set_visible(False)
    for axes, k in zip(grid.ravel(), shown, strict=False):
        share, mean = calibration_curve(
            target.Y[:, k],
            assessment.P[:, k],
            n_bins=_N_BINS,
            strategy="uniform" if target.shares[k] < 1 / _N_BINS else "quantile",
        )
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1)
        axes.plot(mean, share, marker="o", color=_BLUE)
        axes.set_title(_legible(target.names[k]), fontsize="medium")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.tick_params(labelbottom=True)
    figure.supxlabel("held-out probability, mean of a bin", fontsize="medium")
    figure.supylabel("share of rows that are so", fontsize="medium")
    return _svg(figure)


def coefficients(names: Sequence[str], values: NDArray, low: NDArray, high: NDArray) -> str:
    """Return coefficients (m,) as dots, the largest first, with their intervals, if known."""
    figure = _figure(7, 1.4 + 0.28 * len(names))
    axes = figure.add_subplot()
    places = np.arange(len(names))[::-1]
    axes.axvline(0, color="0.5", linewidth=1)
    colours = np.where(values > 0, _BLUE, _ORANGE)
    axes.hlines(places, low, high, color=colours, linewidth=2)
    axes.scatter(values, places, color=colours, zorder=3)
    axes.set_yticks(places, [_legible(name, 2 * _LINE) for name in names])
    axes.set(xlabel="coefficient", ylim=(-0.7, len(names) - 0.3))
    return _svg(figure)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    """Return a figure as SVG whose letters are those of the browser."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "softreg"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return re.sub(f"[{_BRAILLE[0]}-{_BRAILLE[-1]}]+", _decoded, text.getvalue())


def _legible(name: str, width: int = _LINE) -> str:
    """Return a name in lines of a width, two at most, not read as a formula.

    Letters that matplotlib's font lacks, as those of Asia, are written as Braille, which it has:
    two signs for the two bytes of each, about as wide. The SVG gets the letters back.
    """
    from matplotlib import font_manager

    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    lines = "\n".join(textwrap.wrap(shortened(name, 2 * _LINE), width)).replace("$", r"\$")
    return "".join(
        letter
        if ord(letter) in known and letter not in _BRAILLE or letter == "\n"
        else "".join(_BRAILLE[byte] for byte in letter.encode("utf-16-be", "replace"))
        for letter in lines
    )


def _decoded(braille: re.Match) -> str:
    return bytes(map(_BRAILLE.index, braille[0])).decode("utf-16-be", "replace")


def shortened(name: str, most: int = _LINE) -> str:
    """Return a name of at most so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"
