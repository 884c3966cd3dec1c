"""Who is admitted, and who will apply?
====================================

Softmax regression on raw tables, start to finish.

.. code-block:: none

    python examples/admissions.py                           both tables of examples/data
    python examples/admissions.py my.csv --target status    any table, any column of classes
    python examples/admissions.py my.csv --target status --sep ";" --decimal , --encoding latin-1

Nothing is scaled: numbers go in as they are, text becomes one 0/1 column for each level, and C is
chosen by cross-validation. The script prints the coefficients, the probabilities of three profiles,
how good the predictions are for rows that the model has not seen, beside class frequencies alone,
and how scikit-learn's default solver fares.
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from softreg import SoftmaxRegression, SoftmaxRegressionCV

DATA = Path(__file__).parent / "data"
FOLDS = 5
# Days such as 2024-03-05, 5.3.24 or 5 March 2024, perhaps with a time, and times alone.
DAY = r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](\d{4}|\d{2})"
MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[.]?"
NAMED_DAY = rf"\d{{1,2}}[. -]*{MONTH}[, -]*\d{{2,4}}|{MONTH} ?\d{{1,2}},? \d{{4}}"
TIME = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?"
DATE = re.compile(rf"(({DAY}|{NAMED_DAY})([ T,]+{TIME}.*)?|{TIME})", re.IGNORECASE)


# Two tables of applicants


def admitted_or_not():
    heading("Who is admitted to graduate school (admit = 1)?", "=")
    print("""\
Known are the exam score gre (200 to 800), the grade point average gpa (0 to 4) and the prestige
of the college, rank (1: highest, 4: lowest).""")
    X, y = choose(pd.read_csv(DATA / "admissions.csv"), "admit", categorical=["rank"])
    applicants = {
        "Ada: gre 780, gpa 3.9, rank 1": [780, 3.9, "1"],
        "Ben: gre 580, gpa 3.4, rank 2": [580, 3.4, "2"],
        "Cleo: gre 420, gpa 2.9, rank 4": [420, 2.9, "4"],
    }
    study(X, y, pd.DataFrame(applicants, index=X.columns).T.astype(X.dtypes))


def likely_to_apply():
    heading("How likely is a college junior to apply to graduate school?", "=")
    print("""\
Known are whether a parent has a graduate degree (pared, 1: yes), whether the college is public
(1: yes), and the grade point average gpa (0 to 4).""")
    X, y = choose(pd.read_csv(DATA / "graduate_apply.csv"), "apply")
    juniors = {
        "Dora: pared 1, public 0, gpa 3.8": [1, 0, 3.8],
        "Emil: pared 0, public 0, gpa 3.0": [0, 0, 3.0],
        "Fay: pared 0, public 1, gpa 2.3": [0, 1, 2.3],
    }
    study(X, y, pd.DataFrame(juniors, index=X.columns).T.astype(X.dtypes))


# The model, and what it says


def study(X, y, profiles):
    """Fit the raw columns X to the classes y; print what the model says and what it is worth."""
    model = pipeline().fit(X, y)
    heading(f"Coefficients, in units of the raw columns, at C = {model['classifier'].C_:.3g}")
    print_coefficients(model, y.name)
    heading(f"Probability of each value of {y.name}")
    chances = pd.DataFrame(model.predict_proba(profiles), profiles.index, model.classes_)
    print(chances.to_string(float_format="{:.1%}".format))
    heading(f"Predictions for rows not seen in the fit ({FOLDS}-fold cross-validation)")
    print_validation(model, X, y)
    heading("The same columns and the same objective, each package with its default solver")
    print_contrast(model, X, y)


def pipeline():
    """Return the model: numbers as they are, a 0/1 column for each level, C by cross-validation."""
    numbers = SimpleImputer(strategy="median", add_indicator=True)
    levels = OneHotEncoder(
        min_frequency=5, handle_unknown="infrequent_if_exist", feature_name_combiner=level_name
    )
    columns = ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("levels", levels, make_column_selector(dtype_include="category")),
        ],
        verbose_feature_names_out=False,
    )
    folds = StratifiedKFold(FOLDS - 1, shuffle=True, random_state=0)  # the outer one has taken one
    classifier = SoftmaxRegressionCV(cv=folds, scoring="neg_log_loss")
    return Pipeline([("columns", columns), ("classifier", classifier)])


def level_name(column, level):
    """Name the 0/1 column of a level; rare levels share one."""
    return f"{column} = {'other' if level == 'infrequent_sklearn' else level}"


def print_coefficients(model, target):
    """Print the columns of the design as rows, the rows of `coef_` as columns."""
    classifier = model["classifier"]
    names = ["(intercept)", *model["columns"].get_feature_names_out()]
    rows = np.column_stack([classifier.intercept_, classifier.coef_])
    classes = classifier.classes_[-len(rows) :]  # of two classes, one row: that of the second
    table = pd.DataFrame(rows.T, names, [f"{target} = {name}" for name in classes])
    print(table.to_string(float_format="{:.4g}".format, max_rows=60))
    if len(rows) == 1:
        print(f"\nOne unit more multiplies the odds of {table.columns[0]} by exp(coefficient).")
    else:
        print(
            "\nOne unit more multiplies the odds of one class against another by exp(difference of"
        )
        print("their coefficients).")


def print_validation(model, X, y):
    """Print scores beside those of a model that ignores X, and which classes are confused.

    C is chosen anew from the rows of each fit, so that the choice is judged too.
    """
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    rivals = {
        "softmax regression": model,
        "class frequencies alone": DummyClassifier(strategy="prior"),
    }
    chances = {
        name: cross_val_predict(rival, X, y, cv=folds, method="predict_proba")
        for name, rival in rivals.items()
    }
    predicted = {name: model.classes_[P.argmax(axis=1)] for name, P in chances.items()}
    loss = {name: log_loss(y, P, labels=model.classes_) for name, P in chances.items()}
    accuracy = {name: accuracy_score(y, labels) for name, labels in predicted.items()}
    scores = pd.DataFrame({"log loss (less is better)": loss, "accuracy": accuracy})
    print(scores.round(4).to_string())
    if loss["softmax regression"] >= loss["class frequencies alone"]:
        print("\nWARNING: class frequencies alone predict unseen rows as well or better. The model")
        print("has found nothing in these columns that holds for other rows: do not use it.")
    print_confusion(y, predicted["softmax regression"], model.classes_)


def print_confusion(y, predicted, names):
    """Print which of all classes are taken for which, and how well each is found."""
    confusion = pd.DataFrame(confusion_matrix(y, predicted, labels=names), names, names)
    print("\nConfusion matrix")
    print(confusion.rename_axis(index="true", columns="predicted").to_string(), "\n")
    print(classification_report(y, predicted, zero_division=0).rstrip())


def print_contrast(model, X, y):
    """Print how close to the optimum this fit is, and scikit-learn's at the same C.

    The optimum is that of the training rows, which says nothing of others.
    """
    C, columns = model["classifier"].C_, model["columns"].transform(X)
    ours, theirs = SoftmaxRegression(C=C).fit(columns, y), LogisticRegression(C=C)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        theirs.fit(columns, y)
    stopped = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    loss = log_loss(y, theirs.predict_proba(columns), labels=theirs.classes_)
    objective = loss + np.sum(theirs.coef_**2) / (2 * theirs.C * len(y))
    certified = ours.optimality_gap_ / ours.objective_
    excess = max(objective / ours.objective_ - 1, 0)
    line = "{:12s} {:3d} iterations, {}, objective {} % above the optimum"
    for name, fitted, converged, above in [
        ("softreg", ours, ours.converged_, f"at most {100 * certified:.1g}"),
        ("scikit-learn", theirs, not stopped, f"{100 * excess:.2g}"),
    ]:
        state = "converged" if converged else "NOT converged"
        print(line.format(name, np.max(fitted.n_iter_), state, above))


def heading(text, line="-"):
    print(f"\n{text}\n{line * len(text)}")


# Any other table


def read(options):
    """Return the table of a CSV file; a ValueError says what is wrong with the file."""
    path, sep = options.csv, options.sep
    dialect = {"sep": sep, "decimal": options.decimal, "encoding": options.encoding}
    dialect |= {"keep_default_na": not options.keep_na, "na_values": [""], "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # fields beyond the header
            table = pd.read_csv(path, low_memory=False, **dialect)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path!r} (looked from {Path.cwd()})") from None
    except (UnicodeError, LookupError) as error:
        remedy = "name that of the file, such as --encoding latin-1 or --encoding utf-16"
        raise ValueError(f"{path!r} is not in {options.encoding} ({error}): {remedy}") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        # a folder; no text; no rows; rows of unequal length
        reason = f"{str(error).strip()} (its fields were split at --sep {sep!r})"
        raise ValueError(f"{path!r} is no CSV table that pandas can read: {reason}") from None
    if len(table.columns) == 1:
        remedy = "name what separates the columns, such as --sep ';'"
        raise ValueError(
            f"{path!r} has one column, {table.columns[0]!r}, at --sep {sep!r}: {remedy}"
        )
    return table


def choose(table, target, categorical=(), drop=(), decimal="."):
    """Return the columns to learn from and the classes; print what was left out, and why."""
    for name in (target, *categorical, *drop):
        if name not in table:
            raise ValueError(f"there is no column {name!r}; the table has {', '.join(table)}")
    y = classes(table[target])
    X = table.drop(columns=[target, *drop]).loc[y.index]
    useless = {name: reason for name in X if (reason := why_useless(X[name]))}
    unasked = X.columns.difference(categorical)
    useless |= {name: reason for name in unasked if (reason := why_no_category(X[name], decimal))}
    X = X.drop(columns=list(useless))
    if X.columns.empty:
        raise ValueError(f"there is no column left to learn {target!r} from: {useless or drop}")
    print(f"{len(X)} rows; {target}:", ", ".join(f"{n} x {c}" for c, n in y.value_counts().items()))
    if len(X) < len(table):
        missing = int(table[target].isna().sum())
        rare = f"{len(table) - len(X) - missing} of classes with fewer than {FOLDS} rows"
        print(f"Left out: {missing} rows without {target}, {rare}")
        if missing and not is_number(table[target]):
            print(
                "          (fields that read NA, None or the like are missing, without --keep-na)"
            )
    for name, reason in useless.items():
        print(f"Left out: column {name}, {reason}")
    for name in X:
        if name in categorical or not is_number(X[name]):
            X[name] = X[name].map(level).astype("category")
            missing = (X[name] == "missing").sum()
        else:
            X[name] = X[name].where(np.isfinite(X[name]))
            missing = X[name].isna().sum()
        if missing:
            print(f"Missing: {missing} values of {name}")
    return X, y


def classes(column):
    """Return the rows of a column whose value occurs often enough to be a class."""
    y = column.dropna().infer_objects()
    if is_number(y) and (y % 1 == 0).all():
        y = y.astype(int)  # whole numbers are read as floats where some are missing
    often = y[y.map(y.value_counts()) >= FOLDS]
    if often.nunique() < 2 or len(often) < len(y) / 2:
        raise ValueError(
            f"column {column.name!r} does not look like classes: it has {y.nunique()} different "
            f"values in {len(y)} rows. Two values at least must occur {FOLDS} times or more, and "
            "most rows must hold such a value"
        )
    return often


def why_useless(column):
    """Return why a column cannot help to predict unseen rows, or None."""
    distinct, n = column.nunique(), len(column)
    if column.nunique(dropna=False) == 1:
        return "the same in every row"
    if not is_number(column):
        return "text that differs in most rows" if distinct > n / 2 else None
    counts_rows = column.max() - column.min() == n - 1
    named_id = str(column.name).lower().endswith("id")
    if distinct == n and (column % 1 == 0).all() and (counts_rows or named_id):
        return "a number that only identifies the row"
    return None


def why_no_category(column, decimal):
    """Return why a column of text should not become a 0/1 column for each level, or None."""
    if is_number(column):
        return None
    text, other = column.dropna().astype(str), "," if decimal == "." else "."
    if text.str.strip().map(DATE.fullmatch).notna().all():
        return "dates or times; derive numbers such as the month, or ask with --categorical"
    number = rf"\s*[+-]?\d*{re.escape(other)}?\d+([eE][+-]?\d+)?\s*"
    if text.str.fullmatch(number).all():
        return f"numbers with --decimal {other}; else ask with --categorical"
    return None


def level(value):
    """Return text for one value of a category; a missing value is a level of its own."""
    if pd.isna(value):
        return "missing"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def is_number(column):
    return column.dtype.kind in "iuf"


def typical_rows(X, y):
    """Return three different profiles, or as many as there are.

    They are the middle of all rows and of each class, frequent ones first, then rows of the table.
    """
    groups = {"all rows": X}
    for name in y.value_counts().index:
        groups[f"rows with {y.name} = {name}"] = X[y == name]
    print("Typical rows below: the median of each number, the most frequent level of each text.")
    columns = {name: [typical(rows[name]) for rows in groups.values()] for name in X}
    levels = X.select_dtypes("category").dtypes
    profiles = pd.DataFrame(columns, [f"typical of {name}" for name in groups]).astype(levels)
    rows = X.set_axis([f"row {number}" for number in X.index + 1])
    return pd.concat([profiles, rows]).astype(levels).drop_duplicates()[:3]


def typical(column):
    return column.median() if is_number(column) else column.value_counts().idxmax()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csv", nargs="?", help="table with a header line")
    parser.add_argument("--target", help="column of classes to predict")
    parser.add_argument(
        "--categorical", nargs="+", default=[], help="columns whose numbers are only codes"
    )
    parser.add_argument("--drop", nargs="+", default=[], help="columns to leave out")
    parser.add_argument("--sep", default=",", help="what separates fields, such as ';'")
    parser.add_argument("--decimal", default=".", help="the decimal mark, such as ,")
    parser.add_argument("--encoding", default="utf-8", help="of the file, such as latin-1")
    parser.add_argument(
        "--keep-na",
        action="store_true",
        help="take NA, None and the like for text, not for missing",
    )
    options = parser.parse_args()
    if options.csv is None and options.target is None:
        admitted_or_not()
        likely_to_apply()
        return
    if options.csv is None:
        parser.error("--target needs a CSV file before it")
    try:
        table = read(options)
        if options.target is None:
            raise ValueError(f"which column to predict? --target one of {', '.join(table)}")
        X, y = choose(
            table, options.target, options.categorical, options.drop, decimal=options.decimal
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    study(X, y, typical_rows(X, y))


if __name__ == "__main__":
    main()
