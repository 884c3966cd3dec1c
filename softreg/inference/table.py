"""Tables: results as people read them, printed, in a notebook, as a frame or in LaTeX."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

_BETWEEN = "   "


@dataclass(frozen=True, eq=False)
class Table:
    """A titled table in sections, with what is said above and below it.

    Attributes
    ----------
    title : str
    header : dict from str to str, what is said above, in two columns
    sections : dict from heading to DataFrame, all of the same columns
    notes : tuple of str, what is said below
    """

    title: str
    header: dict[str, str]
    sections: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = field(default=())

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers: rows by section and name, if there are several sections."""
        frames = list(self.sections.values())
        return frames[0] if len(frames) == 1 else pd.concat(self.sections)

    def to_latex(self, **options: Any) -> str:
        """Return the numbers as LaTeX; options as in `pandas.DataFrame.to_latex`."""
        defaults: dict[str, Any] = {"float_format": "%.4g", "escape": True}
        return self.to_frame().to_latex(**(defaults | options))

    def __str__(self) -> str:
        """Return the table as text."""
        texts = {heading: _formatted(frame) for heading, frame in self.sections.items()}
        names = max(len(str(name)) for frame in texts.values() for name in ["", *frame.index])
        names = max(names, *(len(str(heading)) for heading in texts))
        widths = [
            max(len(str(name)), *(len(cell) for frame in texts.values() for cell in frame[name]))
            for name in next(iter(texts.values())).columns
        ]
        lines = []
        for heading, frame in texts.items():
            lines += [_line(heading, frame.columns, names, widths)]
            lines += [_line(name, cells, names, widths) for name, *cells in frame.itertuples()]
            lines += [""]
        header = self._header_lines()
        rule = "=" * max(len(line) for line in [self.title, *header, *lines])
        thin = rule.replace("=", "-")
        body = "\n".join(lines[:-1]).replace("\n\n", f"\n{thin}\n")
        return "\n".join([self.title, rule, *header, thin, body, rule, *self.notes])

    def _header_lines(self) -> list[str]:
        """Return what is said above, in two columns."""
        pairs = list(self.header.items())
        half = -(-len(pairs) // 2)
        columns = [_aligned(pairs[:half]), _aligned(pairs[half:])]
        columns[1] += [""] * (len(columns[0]) - len(columns[1]))
        return [_BETWEEN.join(line).rstrip() for line in zip(*columns, strict=True)]

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        header = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self.header.items()
        )
        sections = "".join(
            f"<h4>{escape(str(heading))}</h4>{_formatted(frame).to_html()}"
            for heading, frame in self.sections.items()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<h3>{escape(self.title)}</h3><table>{header}</table>{sections}{notes}"


def _formatted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of texts: four significant digits, p-values to three decimals."""
    return frame.apply(
        lambda column: column.map(_probability if str(column.name).startswith("P>") else _number)
    )


def _number(value: float) -> str:
    return "NaN" if value != value else f"{value:#.4g}"


def _probability(value: float) -> str:
    return "NaN" if value != value else f"{value:.3f}"


def _aligned(pairs: list[tuple[str, str]]) -> list[str]:
    """Return lines of names and values, each in a column."""
    names = max((len(name) for name, _ in pairs), default=0)
    values = max((len(value) for _, value in pairs), default=0)
    return [f"{name:<{names}}  {value:>{values}}" for name, value in pairs]


def _line(name: Any, cells: Any, names: int, widths: list[int]) -> str:
    """Return a line of the table."""
    padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
    return f"{name!s:<{names}}{_BETWEEN}" + _BETWEEN.join(padded)
