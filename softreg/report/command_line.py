"""The command line: its arguments, its two commands, and one sentence for what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from softreg.report.assessment import assess, coefficient_table
from softreg.report.columns import USED, columns_of
from softreg.report.page import Findings, page
from softreg.report.preparation import model_of
from softreg.report.saved_model import load_model, save_model
from softreg.report.suspicions import suspicions
from softreg.report.tables import (
    BadInput,
    Dialect,
    check_columns,
    of_extra,
    other_sep,
    read_table,
)
from softreg.report.target import target_of

_WRONG = 2  # As argparse ends on arguments that it does not know.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 with one sentence on stderr."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings(record=True):  # what matters of them stands in the findings
            options.run(options)
    except BrokenPipeError:  # as `| head` leaves behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (BadInput, OSError) as error:
        _erase_progress()
        print(f"softreg: {error}", file=sys.stderr)
        return _WRONG
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m softreg",
        description="Probabilities of classes or labels from a table, with a report.",
    )
    commands = parser.add_subparsers(required=True, metavar="{fit,predict}")
    fit = commands.add_parser("fit", help="fit a model to a table, and judge it on held-out rows")
    add = fit.add_argument
    several: dict[str, Any] = {"action": "append", "default": [], "metavar": "COLUMN"}
    add("table", help="CSV or Parquet file")
    add("--target", required=True, metavar="COLUMN", help="what to predict")
    add("--drop", **several, help="leave out, beside predictions it stays (repeatable)")
    add("--categorical", **several, help="numbers that name categories (repeatable)")
    add("--labels-sep", metavar="TEXT", help="what separates labels in the target")
    add("--C", default="auto", help="inverse penalty strength; auto: chosen (default)")
    add("--report", metavar="HTML", help="write a page of all that was found")
    add("--save", metavar="MODEL", help="write the model for predict (skops)")
    _add_dialect(fit, "a comma, a tab in .tsv", "a point", "utf-8")
    fit.set_defaults(run=_fit)
    predict = commands.add_parser("predict", help="probabilities for the rows of another table")
    predict.add_argument("model", help="what fit --save has written")
    predict.add_argument("table", help="CSV or Parquet file")
    predict.add_argument("--out", metavar="FILE", help="CSV or Parquet file; default: print CSV")
    _add_dialect(predict, *["as in fit"] * 3)
    predict.set_defaults(run=_predict)
    return parser


def _add_dialect(command: argparse.ArgumentParser, sep: str, decimal: str, encoding: str) -> None:
    """Add the options on how CSV files are written, with words on their defaults."""
    add = command.add_argument
    add("--sep", metavar="TEXT", help=f"between columns, \\s+ for blanks (default: {sep})")
    add("--decimal", choices=[".", ","], metavar="MARK", help=f"decimal mark (default: {decimal})")
    add("--encoding", metavar="NAME", help=f"of letters (default: {encoding})")


def _given_dialect(options: argparse.Namespace) -> dict[str, str]:
    """Return the fields of a `Dialect` that were given."""
    given = {name: getattr(options, name) for name in ("sep", "decimal", "encoding")}
    return {name: value for name, value in given.items() if value is not None}


def _fit(options: argparse.Namespace) -> None:
    """Read, assess, fit; write the report and the model, and print what was found."""
    C = _strength(options.C)
    if options.report:
        of_extra("matplotlib.figure", "--report")
    if options.save:
        of_extra("skops.io", "--save")
    _check_outputs([options.table], [options.report, options.save])
    findings, made = _findings(options, C), []
    if options.report:
        _progress("Drawing")
        Path(options.report).write_text(page(findings), encoding="utf-8")
        made.append(f"The report is in {options.report}.")
    if options.save:
        save_model(findings.model, options.save)
        made.append(f"The model is in {options.save}.")
    _erase_progress()
    notes = [f"- {warning}" for warning in findings.warnings]
    print(findings.in_short, *notes, *made, sep="\n")


def _findings(options: argparse.Namespace, C: float | None) -> Findings:
    """Return all that is found in a table; without C it is chosen."""
    path, dialect = options.table, Dialect(**_given_dialect(options))
    # 1. What the table holds.
    _progress("Reading")
    table = read_table(path, dialect)
    for option in ("target", "drop", "categorical"):
        named = getattr(options, option)
        check_columns(table.frame, path, [named] if option == "target" else named, f"--{option}")
    target = target_of(table.frame[options.target], dialect.decimal, options.labels_sep)
    frame = table.frame.iloc[target.rows].reset_index(drop=True)
    dropped = [name for name in dict.fromkeys(options.drop) if name != options.target]
    inputs = frame.drop(columns=[options.target, *dropped])
    columns = columns_of(inputs, dialect.decimal, options.categorical)
    for name in {f"{column.name}: {part}" for column in columns for part in column.parts}:
        if name in inputs:
            raise BadInput(f"The column {name!r} has the name of a part of dates: rename it.")
    if not any(column.kind in USED for column in columns):
        raise BadInput(_without_columns(path, table.frame, columns))
    # 2. How well rows that were not seen are predicted, and the model of all rows.
    model = model_of(columns, target, C, dropped, dialect.of_file(path))
    typed = model["typed"].transform(frame)  # which learns nothing of the rows
    assessment = assess(model[1:], typed, target, _progress)
    _progress("Fitting all rows")
    with warnings.catch_warnings(record=True) as fit_warnings:
        warnings.simplefilter("always", UserWarning)
        model[1:].fit(typed, target.y)  # a slice of a pipeline has the steps of the whole
    # 3. What there is to say of it.
    suspects = suspicions(model, frame, typed, columns, target, assessment)
    of_fit = [str(warning.message) for warning in fit_warnings]
    coefficients = coefficient_table(model, typed, target)
    return Findings(
        path,
        table,
        columns,
        dropped,
        target,
        assessment,
        model,
        *coefficients,
        [*table.notes, *of_fit, *target.warnings, *suspects],
    )


def _without_columns(path: str, frame: pd.DataFrame, columns: Sequence[Any]) -> str:
    """Return why nothing is left to predict from."""
    if hint := other_sep(frame):
        return f"{path} has no columns beside the target.{hint}"
    left = ", ".join(f"{column.name!r} ({column.treatment})" for column in columns[:5])
    hints = [warning for column in columns for warning in column.warnings]
    why = f": {left}." if left else "."
    return " ".join([f"{path} has no columns to predict from{why}", *hints[:1]])


def _predict(options: argparse.Namespace) -> None:
    """Write the class, and the probability of each, of the rows of a table."""
    _check_outputs([options.model, options.table], [options.out])
    is_parquet = str(options.out).lower().endswith((".parquet", ".pq"))
    if is_parquet:
        of_extra("pyarrow", "A Parquet file")
    model = load_model(options.model)
    typed = model["typed"]
    given = _given_dialect(options)
    frame = read_table(options.table, Dialect(**typed.dialect | given)).frame
    check_columns(frame, options.table, typed.columns, "the model needs it")
    if "decimal" in given:
        typed.dialect = typed.dialect | {"decimal": given["decimal"]}
    for surprise in typed.surprises(frame):
        print(f"softreg: {surprise}", file=sys.stderr)
    predictions = _predictions(model, frame)
    if options.out is None:
        predictions.to_csv(sys.stdout, index=False)
    elif is_parquet:
        predictions.to_parquet(options.out, index=False)
    else:
        predictions.to_csv(options.out, index=False)


def _predictions(model: Pipeline, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the ids of rows, what is predicted, and the probabilities."""
    typed, names = model["typed"], model["regression"].classes_
    P, predicted = model.predict_proba(frame), model.predict(frame)
    found = {f"P({name})": P[:, k] for k, name in enumerate(names)}
    if np.ndim(predicted) == 1:
        found = {f"predicted {typed.target}": predicted} | found
    else:
        of_labels = {f"predicted {name}": predicted[:, k] for k, name in enumerate(names)}
        found = of_labels | found
    kept = frame[[name for name in typed.left_out if name in frame and name not in found]]
    return pd.concat([kept, pd.DataFrame(found, frame.index)], axis=1)


def _strength(text: str) -> float | None:
    """Return the C that was given, or None if it is to be chosen."""
    if text == "auto":
        return None
    try:
        C = float(text)
    except ValueError:
        C = np.nan
    if not C > 0:
        raise BadInput(f"--C {text} must be auto, or a number above 0; inf is no penalty.")
    return C


def _check_outputs(inputs: Sequence[str], outputs: Sequence[str | None]) -> None:
    """Raise BadInput before any work if a file cannot be written, or would take another's place."""
    taken = [Path(path).resolve() for path in inputs]
    for path in map(Path, filter(None, outputs)):
        if not path.parent.is_dir():
            raise BadInput(f"There is no folder {path.parent} to write {path} to.")
        if path.is_dir():
            raise BadInput(f"{path} is a folder: name a file to write to.")
        if path.resolve() in taken:
            raise BadInput(f"{path} is read or written already: name another file to write to.")
        taken.append(path.resolve())


def _progress(step: str) -> None:
    """Say on a terminal what is being done; in pipes say nothing."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{step} ...", end="", file=sys.stderr, flush=True)


def _erase_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
