"""What X holds that is no finite number is named: column, example, row, and a remedy that helps."""

import datetime
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from problems import overlapping
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    regularization_path,
)
from softreg.calibration import decide, prediction_sets, prior_shift, tune_thresholds
from softreg.inference import loo

X, y = overlapping()
N = len(X)
DAYS = pd.Series(pd.date_range("2024-03-01", periods=N))


def where_first(value, others):
    """A column with the value in row 7, as the first of its kind."""
    column = list(others)[:7] + [value] + list(others)[8:]
    return pd.Series(column, dtype=object)


def numbers_of(encoder):
    """What a transformer of scikit-learn makes of a column."""
    return lambda x: np.asarray(encoder.fit_transform(x.to_frame()))[:, :1]


def days(x):
    return (x - x.min()).dt.days


def parsed(x, form):
    return days(pd.to_datetime(x, format=form))


NUMBERS = np.arange(N) * 0.5
IMPUTED = numbers_of(SimpleImputer())
ENCODED = numbers_of(OneHotEncoder(sparse_output=False))
# A column -> (what the message says of its first bad value, and of its remedy; the remedy itself).
COLUMNS = {
    "text": (pd.Series(["red", "green"] * (N // 2)), "'red' at index 0", "OneHotEncoder", ENCODED),
    "tags": (
        pd.Series(["red", "green"] * (N // 2), dtype="category"),
        "'red' at index 0",
        "TableVectorizer",
        ENCODED,
    ),
    "a missing marker": (
        where_first("n/a", NUMBERS),
        "'n/a' at index 7; 1 of 120 rows",
        'pd.to_numeric(x, errors="coerce")',
        lambda x: IMPUTED(pd.to_numeric(x, errors="coerce")),
    ),
    "decimal commas": (
        where_first("1,5", range(N)),
        "'1,5' at index 7",
        'decimal=","',
        lambda x: pd.to_numeric(x.astype(str).str.replace(",", ".")),
    ),
    "NaN": (
        pd.Series(np.where(np.arange(N) < 7, NUMBERS, np.nan)),
        "nan at index 7; 113 of 120 rows",
        "SimpleImputer",
        IMPUTED,
    ),
    "pd.NA": (
        where_first(pd.NA, range(N)).astype("Int64"),
        "at index 7; 1 of",
        "SimpleImputer",
        IMPUTED,
    ),
    "pd.NA among objects": (
        where_first(pd.NA, range(N)),
        "<NA> at index 7; 1 of",
        "SimpleImputer (objects first with pd.to_numeric(x))",
        lambda x: IMPUTED(pd.to_numeric(x)),
    ),
    "None among booleans": (
        where_first(None, [True, False] * (N // 2)),
        "None at index 7; 1 of",
        "SimpleImputer",
        IMPUTED,
    ),
    "infinity": (
        pd.Series(np.where(np.arange(N) == 7, -np.inf, NUMBERS)),
        "-inf at index 7; 1 of",
        "missing values, to be imputed",
        lambda x: IMPUTED(x.replace(-np.inf, np.nan)),
    ),
    "an integer beyond doubles": (
        where_first(10**400, range(N)),
        "1000000000000000000000000000000000000000... at index 7",
        "largest number",
        lambda x: x.where(x < 10**300, 1e300).astype(float) / 1e300,
    ),
    "dates": (DAYS, "2024-03-01 00:00:00 at index 0", "(x - x.min()).dt.days", days),
    "dates with a zone": (
        DAYS.dt.tz_localize("UTC"),
        "2024-03-01 00:00:00+00:00 at",
        "(x - x.min()).dt.days",
        days,
    ),
    "Python's dates": (
        pd.Series([datetime.date(2024, 3, 1 + i % 20) for i in range(N)]),
        "2024-03-01 at index 0",
        "x = pd.to_datetime(x)",
        lambda x: days(pd.to_datetime(x)),
    ),
    "dates in text": (
        DAYS.dt.strftime("%Y-%m-%d"),
        "'2024-03-01' at index 0",
        'format="%Y-%m-%d"',
        lambda x: parsed(x, "%Y-%m-%d"),
    ),
    "German dates": (
        DAYS.dt.strftime("%d.%m.%Y"),
        "'01.03.2024' at index 0",
        "whichever format",
        lambda x: parsed(x, "%d.%m.%Y"),
    ),
    "periods": (
        DAYS.dt.to_period("D"),
        "2024-03-01 at index 0",
        "x.dt.to_timestamp()",
        lambda x: days(x.dt.to_timestamp()),
    ),
    "durations": (
        DAYS - DAYS[0],
        "0 days 00:00:00 at index 0",
        "x / pd.Timedelta(days=1)",
        lambda x: x / pd.Timedelta(days=1),
    ),
    "intervals": (
        pd.cut(pd.Series(X[:, 0]), [-99, 0, 99]).astype(object),
        "(-99, 0] at index 0" if X[0, 0] <= 0 else "(0, 99] at index 0",
        "OneHotEncoder",
        lambda x: ENCODED(x.astype(str)),
    ),
    "complex numbers": (
        pd.Series(X[:, 0] + 2j),
        "at index 0; 120 of",
        "real and imaginary parts",
        lambda x: x.to_numpy().real,
    ),
    "lists": (
        pd.Series([[1.5, i] for i in range(N)]),
        "[1.5, 0] at index 0",
        "np.stack(x)",
        lambda x: np.stack(x),
    ),
    "objects": (
        pd.Series([{"size": i} for i in range(N)]),
        "{'size': 0} at index 0",
        "take numbers",
        lambda x: x.str["size"],
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_is_named_with_an_example_its_row_and_a_remedy_that_helps(case):
    """The message says where the first bad value is; with the remedy, the fit succeeds."""
    column, example, remedy, mend = COLUMNS[case]
    frame = pd.DataFrame({"plain": X[:, 0], "odd one": column})
    with pytest.raises((ValueError, TypeError)) as error:
        SoftmaxRegression().fit(frame, y)
    message = str(error.value)
    assert [part for part in ("'odd one' (", example, remedy) if part not in message] == [], message
    assert "'plain'" not in message
    SoftmaxRegression(C=1e-3).fit(np.column_stack([X[:, 0], mend(column)]).astype(float), y)


def test_what_is_a_number_is_no_fault():
    """Numbers in text, Decimal, booleans and categories of numbers are fitted as scikit-learn's."""
    for column in (["1.5", "2"], [Decimal("1.5"), Decimal("2")], [True, False]):
        values = pd.Series(column * (N // 2), dtype=object)
        expected = SoftmaxRegression().fit(values.astype(float).to_frame(), y).coef_
        for same in (values, values.astype("category")):
            np.testing.assert_allclose(SoftmaxRegression().fit(same.to_frame(), y).coef_, expected)


def test_dates_alone_are_refused_as_they_are_beside_numbers():
    """scikit-learn takes a table of dates alone for nanoseconds, and a missing one for -2^63."""
    frame = pd.DataFrame({"day": DAYS})
    for times in (frame, frame.to_numpy(), frame - DAYS[0], DAYS.dt.tz_localize("UTC").to_frame()):
        with pytest.raises(TypeError, match=r"X holds (dates|durations) in column .*(days)"):
            SoftmaxRegression().fit(times, y)
    with pytest.raises(TypeError, match="X holds dates in column 0"):
        SoftmaxRegression().fit([[np.datetime64("2024-03-01") + i] for i in range(N)], y)


BAD = pd.DataFrame(X.copy(), columns=list("abcd"), index=range(1000, 1000 + N))
BAD.loc[1011, "c"] = np.nan
Y = (X[:, :2] > 0).astype(float)
MODEL = SoftmaxRegression().fit(BAD.fillna(0), y)
LABELS = SigmoidRegression().fit(BAD.fillna(0), Y)
ENTRANCES = {
    "softmax": lambda X: SoftmaxRegression().fit(X, y),
    "sigmoid": lambda X: SigmoidRegression().fit(X, Y),
    "softmax CV": lambda X: SoftmaxRegressionCV(cv=2).fit(X, y),
    "sigmoid CV": lambda X: SigmoidRegressionCV(cv=2).fit(X, Y),
    "partial_fit": lambda X: SoftmaxRegression().partial_fit(X, y, classes=[0, 1, 2]),
    "fit_chunks": lambda X: SoftmaxRegression().fit_chunks([(X, y)]),
    "predict": lambda X: MODEL.predict(X),
    "predict_proba": lambda X: LABELS.predict_proba(X),
    "predict_log_proba": lambda X: MODEL.predict_log_proba(X),
    "decision_function": lambda X: LABELS.decision_function(X),
    "predict_top_k": lambda X: MODEL.predict_top_k(X, 2),
    "score": lambda X: MODEL.score(X, y),
    "loo": lambda X: loo(MODEL, X, y),
    "path": lambda X: regularization_path(X, y),
    "thresholds": lambda X: tune_thresholds(SigmoidRegression(), X, Y),
    "decisions": lambda X: decide(MODEL, X, 1 - np.eye(3)),
    "sets": lambda X: prediction_sets(MODEL, X, y),
    "priors": lambda X: prior_shift(LABELS, X_new=X),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_every_entrance_names_the_column(entrance):
    """By its name and the index of a DataFrame, which scikit-learn's phrase follows."""
    with pytest.raises(ValueError, match=r"'c' \(nan at index 1011; 1 of .*Input X contains NaN"):
        ENTRANCES[entrance](BAD)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csc_matrix, sp.lil_array])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_columns_of_arrays_are_numbered(form, value):
    """Row and column of the entry, counted from 0, also where entries are sparse."""
    array = np.where(X > 0, X, 0)
    array[11, 2] = value
    with pytest.raises(ValueError, match=rf"column 2 \({value} in row 11; 1 of 120 rows\)"):
        SoftmaxRegression().fit(form(array), y)


def test_lists_keep_the_types_of_their_values():
    """Text in a list of rows is named, numbers beside it are not; unequal rows are named."""
    with pytest.raises(ValueError, match=r"X holds text in column 1 \('a' in row 0; 3 of 3 rows"):
        SoftmaxRegression().fit([[1.0, "a"], [2.0, "b"], [3.0, "a"]], [0, 1, 0])
    with pytest.raises(ValueError, match="row 0 has 2, row 2 has 1"):
        SoftmaxRegression().fit([[1, 2], [3, 4], [5]], [0, 1, 0])


def test_a_few_columns_of_each_kind_are_named():
    """Of nine columns of text three; missing values, also those beside text, by themselves."""
    frame = pd.DataFrame({f"t{i}": ["red", None] * (N // 2) for i in range(9)})
    frame["long"] = "x" * 500
    with pytest.raises(ValueError) as error:
        SoftmaxRegression().fit(frame, y)
    message = str(error.value)
    for kind, more in (("text", 7), ("missing values", 6)):
        named = r" \(.*\), ".join(f"'t{i}'" for i in range(3))
        assert re.search(rf"{kind} in columns {named} \(.*and {more} more", message), message
    assert "'t3'" not in message and len(message) < 1000


def test_errors_about_anything_else_stay_as_they_are():
    """One dimension, too few columns: what scikit-learn says is said, of right values."""
    with pytest.raises(ValueError, match="^Expected 2D array, got 1D array"):
        SoftmaxRegression().fit(X[:, 0], y)
    with pytest.raises(ValueError, match="^X has 3 features, but SoftmaxRegression is expecting 4"):
        SoftmaxRegression().fit(X, y).predict(X[:, :3])


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_masked_values_are_missing(kind):
    """What lies under a mask of numpy.ma is no value of X, labels, weights; in columns of y NaN."""
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    row_3 = np.arange(20) == 3
    masked = np.ma.masked_array(X, mask=np.outer(row_3, [0, 1]))
    with pytest.raises(
        ValueError, match=r"missing values in column 1 \(None in row 3; 1 of 20 rows"
    ):
        kind().fit(masked, y)
    with pytest.raises(ValueError, match="missing values in column 1"):
        kind().fit(X, y).predict(masked)
    for labels in (y, y.astype(str)):
        with pytest.raises(ValueError, match="y lacks 1 of 20 labels .* in row 3"):
            kind().fit(X, np.ma.masked_array(labels, mask=row_3))
    with pytest.raises(ValueError, match=r"sample_weight must be finite .* nan at index \(3,\)"):
        kind().fit(X, y, sample_weight=np.ma.masked_array(np.ones(20), mask=row_3))
    Y = np.eye(2)[y]
    unknown = np.where(np.outer(row_3, [0, 1]), np.nan, Y)
    expected = SigmoidRegression().fit(X, unknown).objective_
    assert SigmoidRegression().fit(X, np.ma.masked_invalid(unknown)).objective_ == expected
    fitted = kind().fit(np.ma.masked_array(X), np.ma.masked_array(y))
    np.testing.assert_array_equal(fitted.coef_, kind().fit(X, y).coef_)


def test_errors_of_long_texts_are_short():
    """Neither the example nor what scikit-learn says repeats a page."""
    with pytest.raises(ValueError, match="X holds text") as found:
        SoftmaxRegression().fit([["a" * 10_000]] * 4, [0, 1, 0, 1])
    assert len(str(found.value)) < 500
