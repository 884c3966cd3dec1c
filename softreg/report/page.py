"""The page: one HTML file that holds all it shows, and fetches nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix
from sklearn.pipeline import Pipeline

from softreg.report import pictures
from softreg.report.assessment import Assessment
from softreg.report.columns import Column, counted, listed
from softreg.report.tables import Table
from softreg.report.target import Target

_LONG_TEXT = 20  # Letters, from which a cell of words is given space for a line.
_MOST_ROWS, _MOST_CLASSES, _MOST_DRAWN = 60, 30, 20

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #bbb; }
p, li { overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; padding: .8rem 1rem; background: #eef3f8;
  border-left: 4px solid #0072b2; }
.warnings { padding: .6rem 1rem .6rem 2.2rem; background: #fdf3e7; border-left: 4px solid #d55e00; }
.wide { overflow-x: auto; max-width: 100%; }
.tall { max-height: 48rem; overflow-y: auto; }
@media print { .tall { max-height: none; } }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
caption { text-align: left; color: #444; padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right;
  vertical-align: top; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { border-bottom-color: #888; }
tbody th, th:first-child, .words { text-align: left; }
th, td.long { white-space: normal; overflow-wrap: break-word; }
thead th { min-width: 4rem; max-width: 14rem; vertical-align: bottom; }
tbody th { font-weight: 600; border-bottom-color: #ddd; min-width: 8rem; max-width: 20rem; }
td.long { min-width: 16rem; }
.bar { display: inline-block; height: .7rem; background: #0072b2; vertical-align: baseline; }
.picture { max-width: 100%; height: auto; }
@media (max-width: 600px) { .picture { max-width: none; } }
footer { margin-top: 3rem; color: #555; font-size: .85rem; }
"""


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a report tells.

    Attributes
    ----------
    path : str, of the table
    table : Table
    columns : list of Column, without the target
    dropped : list of str, columns left out by wish
    target : Target
    assessment : Assessment
    model : Pipeline, fitted to all rows
    coefficients : DataFrame, coef, lower and upper of each (class, feature)
    of_coefficients : str, what they are
    warnings : list of str
    """

    path: str
    table: Table
    columns: Sequence[Column]
    dropped: Sequence[str]
    target: Target
    assessment: Assessment
    model: Pipeline
    coefficients: pd.DataFrame
    of_coefficients: str
    warnings: Sequence[str]

    @property
    def in_short(self) -> str:
        """What was found, in two sentences."""
        target, n = self.target, len(self.target.Y)
        every = self.assessment.summary(target).loc["all"]
        saved = every["saved"] / every["null"]
        C = self.model["regression"].C_
        better = f"{saved:.0%} below" if saved >= 0.005 else "no better than"
        what = "labels" if target.has_labels else "classes"
        return (
            f"{len(target.names)} {what} of {target.name!r} from {n:,} rows (C = {C:.3g}). On rows "
            f"it has not seen the model has a log loss of {every['model']:.4f} ± "
            f"{every['model se']:.4f}, {better} the {every['null']:.4f} of frequencies alone."
        )


def page(findings: Findings) -> str:
    """Return the whole page."""
    title = f"{findings.target.name} in {Path(findings.path).name}"
    sections = [
        f'<p class="lead">{escape(findings.in_short)}</p>',
        _warnings(findings.warnings),
        _read(findings),
        _classes(findings.target),
        _held_out(findings),
        _coefficients(findings),
        _choice(findings),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        '<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</main>\n<footer><p>Made by <code>python -m softreg fit</code>. Log loss is the mean "
        "of −log P(what was so), in nats: less is better. ± is a standard error over the folds."
        "</p></footer>\n</body>\n</html>\n"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return "<h2>Warnings</h2>\n<p>None of the usual ones.</p>"
    items = "\n".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<h2>Warnings</h2>\n<ul class="warnings">\n{items}\n</ul>'


def _read(findings: Findings) -> str:
    """Return the section on the table's columns and what became of them."""
    frame = findings.table.frame
    header = ["column", "kind", "missing", "what became of it"]
    body = [[c.name, c.kind, f"{c.n_missing:,}", c.treatment] for c in findings.columns]
    body += [
        [name, "dropped", f"{frame[name].isna().sum():,}", "left out by --drop"]
        for name in findings.dropped
    ]
    n_rows, n_columns = counted(len(frame), "row"), counted(frame.shape[1], "column")
    text = f"{n_rows}, {n_columns}. {findings.table.how}"
    return f"<h2>What was read, and how</h2>\n<p>{escape(text)}</p>\n" + _table(
        header, body, words=(1, 3)
    )


def _classes(target: Target) -> str:
    noun, nouns = ("Label", "Labels") if target.has_labels else ("Class", "Classes")
    order, most = np.argsort(-target.shares, kind="stable"), target.shares.max()
    header = [noun, "rows", "share", ""]
    body = [
        [
            target.names[k],
            f"{target.Y[:, k].sum():,}",
            f"{target.shares[k]:.1%}",
            _Raw(f'<span class="bar" style="width:{8 * target.shares[k] / most:.2f}rem"></span>'),
        ]
        for k in order
    ]
    return f"<h2>{nouns} and their shares</h2>\n" + _table(header, body, words=(3,))


def _held_out(findings: Findings) -> str:
    """Return the section on predictions of held-out rows."""
    target, assessment = findings.target, findings.assessment
    summary = assessment.summary(target)
    header = ["", "model", "frequencies alone", "difference", "saved"]
    body = [
        [
            name if target.has_labels else "log loss",
            *(f"{row[of]:.4f} ± {row[f'{of} se']:.4f}" for of in ("model", "null", "saved")),
            f"{row['saved'] / row['null']:.0%}",
        ]
        for name, row in summary.iterrows()
    ]
    predicted = assessment.predicted(target)
    if not target.has_labels:
        right, largest = (predicted == target.codes).mean(), target.shares.max()
        shares = [f"{right:.1%}", f"{largest:.1%}", f"{100 * (right - largest):+.1f} points"]
        body.append(["rows classified right", *shares, ""])
    Cs = ", ".join(f"{C:.3g}" for C in assessment.Cs)
    text = (
        f"{len(assessment.Cs)} times a fifth of the rows was held out. Means, medians, words, the "
        f"C and the coefficients came from the other rows alone (C: {Cs}). What kind a column is, "
        "and its levels, was read in all rows, without a look at the target."
    )
    return (
        f"<h2>Predictions of rows not seen</h2>\n<p>{escape(text)}</p>\n"
        + _table(header, body)
        + _confusion(target, predicted)
        + "<h3>Calibration</h3>\n<p>Of rows with a probability of 30 % three in ten should be so: "
        "dots on the grey line.</p>\n"
        + _picture(
            pictures.calibration(target, assessment),
            "Share of rows that are so against the held-out probability, for each of "
            + listed(target.names),
        )
    )


def _confusion(target: Target, predicted: Any) -> str:
    """Return the held-out confusion matrix, or that of each label."""
    head = "<h3>Confusion matrix</h3>\n"
    if target.has_labels:
        counts = multilabel_confusion_matrix(target.Y, predicted)
        header = ["label", "has it, predicted", "has it, missed"]
        header += ["has it not, predicted", "has it not"]
        body = [
            [name, *(f"{n:,}" for n in one[::-1, ::-1].ravel())]
            for name, one in zip(target.names, counts, strict=True)
        ]
        return (
            head
            + "<p>A label is predicted where its probability is above one half.</p>\n"
            + _table(header, body)
        )
    alt = f"Shares of predicted classes among the rows of each true class: {listed(target.names)}"
    drawn = _picture(pictures.confusion_matrix(target, predicted), alt)
    if len(target.names) > _MOST_CLASSES:
        return head + drawn
    counts = confusion_matrix(target.codes, predicted)
    header = ["true class, in rows", *(f"predicted {name}" for name in target.names)]
    body = [
        [name, *(f"{n:,}" for n in row)] for name, row in zip(target.names, counts, strict=True)
    ]
    return head + drawn + "\n" + _table(header, body)


def _coefficients(findings: Findings) -> str:
    """Return the section on coefficients, the largest first."""
    table, short = findings.coefficients, pictures.shortened
    classes = list(dict.fromkeys(table.index.get_level_values(0)))
    K = len(classes)
    # Places in the table, (K, d + 1): names of columns may repeat, and the intercept is the last.
    places = np.arange(len(table)).reshape(K, -1)
    sizes = np.nan_to_num(table["coef"].abs().to_numpy())
    largest = np.argsort(-sizes[places[:, :-1]].max(axis=0), kind="stable")
    body = [
        [
            table.index[places[0, j]][1],
            *(_interval(table.iloc[i]) for i in places[:_MOST_CLASSES, j]),
        ]
        for j in [*largest[:_MOST_ROWS], -1]
    ]
    slopes = places[:, :-1].ravel()
    drawn = table.iloc[slopes[np.argsort(-sizes[slopes], kind="stable")[:_MOST_DRAWN]]]
    names = [f"{short(name)} ({short(k)})" if K > 1 else name for k, name in drawn.index]
    text = (
        f"What a column adds to the log odds: {findings.of_coefficients}. Numbers, and "
        "the columns that say where they are missing, count in standard deviations; other 0/1 "
        "columns as they are; words in tf-idf."
    )
    if np.isfinite(findings.model["regression"].C_):
        text += (
            " The penalty has shrunk them: intervals are those of the posterior that has it as "
            "prior, and there are no tests."
        )
    left = []
    if len(largest) > _MOST_ROWS:
        left.append(f"the {_MOST_ROWS} largest of {len(largest):,} columns")
    if K > _MOST_CLASSES:
        left.append(f"the first {_MOST_CLASSES} of {K:,} classes")
    note = f"<p>The table shows {' and '.join(left)}.</p>\n" if left else ""
    picture = pictures.coefficients(names, *drawn[["coef", "lower", "upper"]].to_numpy().T)
    return (
        f"<h2>Coefficients</h2>\n<p>{escape(text)}</p>\n{note}"
        + _picture(picture, f"The {len(names)} largest coefficients with their intervals")
        + _table(["column", *classes[:_MOST_CLASSES]], body)
    )


def _choice(findings: Findings) -> str:
    regression = findings.model["regression"]
    if len(regression.Cs_) == 1:
        return f"<h2>The penalty</h2>\n<p>C = {regression.C_:g} was given.</p>"
    n, C = len(regression.Cs_), regression.C_
    text = f"Of {n} values of C, {C:.3g} had the best mean log loss on held-out rows."
    return (
        f"<h2>How C was chosen</h2>\n<p>{text} The smaller C, the stronger the penalty.</p>\n"
        + _picture(pictures.score_curve(regression), "Held-out log loss against C")
    )


def _interval(row: pd.Series) -> str:
    """Return a coefficient with its interval, if it is known."""
    if np.isnan(row["lower"]):
        return "not identified" if np.isnan(row["coef"]) else f"{row['coef']:.3f}"
    return f"{row['coef']:.3f} ({row['lower']:.3f}, {row['upper']:.3f})"


class _Raw(str):
    """Text that is HTML already."""


def _table(header: Sequence[str], body: Iterable[Sequence[Any]], words: Sequence[int] = ()) -> str:
    """Return a table that scrolls in a box of its own; columns of `words` are broken into lines."""

    def cell(tag: str, text: str, place: int) -> str:
        long = " long" * (len(text) > _LONG_TEXT)
        attributes = f' class="words{long}"' if place in words else ""
        if tag == "th":
            attributes += f' scope="{"col" if place or text in header[:1] else "row"}"'
        return f"<{tag}{attributes}>{text if isinstance(text, _Raw) else escape(text)}</{tag}>"

    head = "".join(cell("th", text, place) for place, text in enumerate(header))
    rows = [
        "<tr>" + "".join(cell("td" if j else "th", text, j) for j, text in enumerate(row)) + "</tr>"
        for row in body
    ]
    return (
        '<div class="wide tall" tabindex="0">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody>\n</table>\n</div>\n"
    )


def _picture(svg: str, alt: str) -> str:
    """Return a picture that lies in the page."""
    data = base64.b64encode(svg.encode()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    image = f'<img class="picture" src="{source}" alt="{escape(alt)}">'
    return f'<div class="wide" tabindex="0">{image}</div>\n'
