"""Summaries: results as people read them, printed, in a notebook, as a frame or in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any

import pandas as pd

_BETWEEN = "   "
P_VALUE = "P>|z|"
# How numbers of some columns are printed; those of others with four significant digits.
_FORMATS = {P_VALUE: ".3f"}


@dataclass(frozen=True, eq=False)
class Summary:
    """A titled table of numbers, with what is said above and below it.

    Attributes
    ----------
    title : str
    frame : DataFrame of numbers; of an index of two levels the first one names sections
    header : dict from str to str, what is said above, in two columns
    notes : tuple of str, what is said below
    """

    title: str
    frame: pd.DataFrame
    header: dict[str, str]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers."""
        return self.frame

    def to_latex(self, **options: Any) -> str:
        """Return the numbers as LaTeX; options as in `pandas.DataFrame.to_latex`."""
        defaults: dict[str, Any] = {"float_format": "%.4g", "escape": True}
        return self.frame.to_latex(**(defaults | options))

    def __str__(self) -> str:
        """Return the table as text."""
        sections = [[head, *lines] for head, lines in self._sections()]
        widths = _widths([line for section in sections for line in section])
        above = [self.title, "=", *self._header_lines()]
        body = [_line(line, widths) for section in sections for line in ([], *section)]
        longest = max(len(line) for line in [*above, *body])
        lines = [
            line if line not in ("=", "") else (line or "-") * longest for line in above + body
        ]
        return "\n".join([*lines, "=" * longest, *self.notes])

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        header = "".join(_html_row("td", pair) for pair in self.header.items())
        sections = "".join(
            _html_row("th", head) + "".join(_html_row("td", line) for line in lines)
            for head, lines in self._sections()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<h4>{escape(self.title)}</h4><table>{header}</table><table>{sections}</table>{notes}"
        )

    def _sections(self) -> Iterator[tuple[list[str], list[list[str]]]]:
        """Yield the head of each section, and its lines: texts, of names and then numbers."""
        names, columns = self.frame.index, [str(name) for name in self.frame.columns]
        one = names.nlevels == 1
        headings = [""] * len(names) if one else names.get_level_values(0)
        rows = names if one else names.get_level_values(1)
        numbers = self.frame.to_numpy().tolist()
        for heading, lines in groupby(zip(headings, rows, numbers, strict=True), itemgetter(0)):
            yield (
                [str(heading), *columns],
                [[str(name), *map(_text, columns, values)] for _, name, values in lines],
            )

    def _header_lines(self) -> list[str]:
        """Return what is said above, in two columns of names and values."""
        pairs = list(self.header.items())
        half = -(-len(pairs) // 2)
        pairs += [("", "")] * (2 * half - len(pairs))
        lines = [[*left, *right] for left, right in zip(pairs[:half], pairs[half:], strict=True)]
        widths = _widths(lines)
        return [
            f"{a:<{widths[0]}}{_BETWEEN}{b:>{widths[1]}}{_BETWEEN * 2}"
            f"{c:<{widths[2]}}{_BETWEEN}{d:>{widths[3]}}".rstrip()
            for a, b, c, d in lines
        ]


def _text(column: str, value: Any) -> str:
    """Return what is printed of a value in a column."""
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return "NaN"
    return format(value, _FORMATS.get(column, "#.4g"))


def _widths(lines: list[list[str]]) -> list[int]:
    """Return the width of each column of texts."""
    return [max(map(len, cells)) for cells in zip(*lines, strict=True)]


def _line(texts: list[str], widths: list[int]) -> str:
    """Return a line: the name to the left, numbers to the right."""
    padded = [f"{text:>{width}}" for text, width in zip(texts[1:], widths[1:], strict=False)]
    return _BETWEEN.join([f"{text:<{widths[0]}}" for text in texts[:1]] + padded)


def _html_row(tag: str, texts: Any) -> str:
    """Return a row of a table in HTML."""
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"
