"""Classes of any kind that have a hash and an order; missing labels, and rows with several."""

import datetime
import decimal
import enum
import fractions
import uuid
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from problems import one_hot, overlapping
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import StratifiedKFold

from softreg import (
    SigmoidRegression,
    SigmoidRegressionCV,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    from_sklearn,
    regularization_path,
)
from softreg._encoding.class_values import codes_in, distinct_with_codes
from softreg.calibration import prediction_sets, tune_thresholds
from softreg.chunks import Table
from softreg.display import CoefficientPathDisplay, CVCurveDisplay
from softreg.inference import loo

X, y = overlapping()
X_two, y_two = overlapping(K=2)
DATES = [datetime.date(2020, 1, 1), datetime.date(2020, 2, 1), datetime.date(2021, 1, 1)]
STAMPS = pd.to_datetime(DATES)


class Size(enum.Enum):
    """Members without an order."""

    SMALL = 1
    LARGE = 2
    MIDDLE = 3


class Rank(enum.IntEnum):
    """Members that are integers."""

    LOW = 1
    MIDDLE = 2
    HIGH = 3


class Name(enum.StrEnum):
    """Members that are texts."""

    ASH = "ash"
    BIRCH = "birch"
    CEDAR = "cedar"


def objects(values):
    """An array of objects (n,), whatever they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


# Three classes of each kind, in their order, as an array or Series that rows can be taken of.
ORDERED = {
    "integers": objects([1, 20, 300]),
    "numbers": objects([-0.5, 1, 2.25]),
    "beyond 64 bits": objects([1, 2**70, 2**71]),
    "texts": objects(["ash", "birch", "cedar"]),
    "scalars of NumPy": objects([np.int64(1), np.int32(2), np.float64(3)]),
    "days": objects(DATES),
    "moments": objects([datetime.datetime(2020, 1, day) for day in (1, 2, 3)]),
    "durations": objects([datetime.timedelta(days) for days in (1, 2, 3)]),
    "datetime64[D]": np.array(DATES, dtype="M8[D]"),
    "datetime64[ns]": np.array(DATES, dtype="M8[ns]"),
    "timedelta64": np.array([1, 2, 3], dtype="m8[h]"),
    "Timestamp": objects(list(STAMPS)),
    "time zone": pd.Series(STAMPS.tz_localize("Europe/Berlin")),
    "Series of dates": pd.Series(STAMPS),
    "Period": pd.Series(pd.period_range("2020-01", periods=3, freq="M")),
    "Interval": pd.Series(pd.interval_range(0, 3)),
    "Decimal": objects([decimal.Decimal(quarters) / 4 for quarters in (1, 2, 3)]),
    "Fraction": objects([fractions.Fraction(thirds, 3) for thirds in (1, 2, 4)]),
    "bytes": np.array([b"ash", b"birch", b"cedar"]),
    "bytes as objects": objects([b"ash", b"birch", b"cedar"]),
    "tuples": objects([("ash", 1), ("ash", 2), ("birch",)]),
    "records": np.array([(1, 2), (1, 3), (2, 0)], dtype="i4,i4"),
    "UUID": objects([uuid.UUID(int=number) for number in (1, 2, 3)]),
    "IntEnum": objects(list(Rank)),
    "text Enum": objects(list(Name)),
    "Int64": pd.Series([1, 20, 300], dtype="Int64"),
    "Float64": pd.Series([1.0, 20.0, 300.0], dtype="Float64"),
    "string": pd.Series(["ash", "birch", "cedar"], dtype="string"),
    "categories of texts": pd.Series(["ash", "birch", "cedar"], dtype="category"),
    "categories of integers": pd.Series([1, 20, 300], dtype="category"),
    "categories of numbers": pd.Series([0.25, 0.5, 0.75], dtype="category"),
    "categories of dates": pd.Series(STAMPS, dtype="category"),
    "Arrow's integers": pd.Series([1, 20, 300], dtype="int64[pyarrow]"),
    "Arrow's texts": pd.Series(["ash", "birch", "cedar"], dtype="string[pyarrow]"),
}
PAIRS = {
    "bools as objects": objects([False, True]),
    "boolean": pd.Series([False, True], dtype="boolean"),
}
KINDS = pytest.mark.parametrize("labels", ORDERED.values(), ids=ORDERED)


def rows_of(labels, codes):
    """The column whose rows have these codes, in the container of the labels."""
    return labels.iloc[codes].reset_index(drop=True) if hasattr(labels, "iloc") else labels[codes]


def codes_of(values, labels):
    """The code of each value, by comparing it with each label."""
    labels = [label.item() if isinstance(label, np.void) else label for label in labels]
    return [next(k for k, label in enumerate(labels) if value == label) for value in values]


@KINDS
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_labels_of_any_kind_make_the_model_of_their_codes(kind, labels):
    """Same coefficients, predictions that are the labels of the codes', and the same accuracy."""
    model, plain = kind().fit(X, rows_of(labels, y)), kind().fit(X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert codes_of(model.classes_, labels) == [0, 1, 2]
    if labels.dtype == object:
        assert list(map(type, model.classes_)) == list(map(type, labels))
    np.testing.assert_array_equal(codes_of(model.predict(X), labels), plain.predict(X))
    assert codes_of(model.predict_top_k(X[:1], 3)[0], labels) == list(
        plain.predict_top_k(X[:1], 3)[0]
    )
    assert model.score(X, rows_of(labels, y)) == plain.score(X, y)
    assert model.score(X, model.predict(X)) == 1.0


@pytest.mark.parametrize("labels", PAIRS.values(), ids=PAIRS)
def test_two_labels_of_any_kind_come_back(labels):
    """Predictions are booleans, not 0.0 and 1.0."""
    model = SoftmaxRegression().fit(X_two, rows_of(labels, y_two))
    assert model.classes_.tolist() == [False, True]
    assert all(isinstance(label, bool) for label in model.predict(X_two).tolist())
    assert model.score(X_two, rows_of(labels, y_two)) == np.mean(model.predict(X_two) == y_two)


@pytest.mark.parametrize("name", ["datetime64[D]", "datetime64[ns]", "timedelta64", "bytes"])
def test_predictions_have_the_dtype_of_the_labels(name):
    """What goes in as an array of dates or bytes comes out as one."""
    labels = ORDERED[name]
    assert SoftmaxRegression().fit(X, labels[y]).predict(X).dtype == labels.dtype


@KINDS
def test_every_way_to_fit_takes_them(labels):
    """Chunks, streams, paths, cross-validation and leave-one-out are those of the codes."""
    column = rows_of(labels, y)
    taken = getattr(column, "iloc", column)
    chunks = [(X[rows], taken[rows]) for rows in (slice(0, 50), slice(50, 120))]
    by_chunks, model = SoftmaxRegression().fit_chunks(chunks), SoftmaxRegression().fit(X, column)
    np.testing.assert_allclose(by_chunks.coef_, model.coef_, atol=1e-6)
    streams = [
        SoftmaxRegression(random_state=0).partial_fit(X, target, classes=classes)
        for target, classes in ((column, model.classes_), (y, [0, 1, 2]))
    ]
    streams[0].partial_fit(X, column)
    streams[1].partial_fit(X, y)
    np.testing.assert_array_equal(streams[0].coef_, streams[1].coef_)
    for cv in (3, StratifiedKFold(3, shuffle=True, random_state=0), "loo"):
        ours, plain = (
            SoftmaxRegressionCV([0.1, 1.0], cv=cv).fit(X, target) for target in (column, y)
        )
        np.testing.assert_array_equal(ours.scores_[:, 0], plain.scores_[:, 0])
        assert ours.score(X, column) == plain.score(X, y)
    np.testing.assert_array_equal(
        regularization_path(X, column, [0.1, 1.0]).coef, regularization_path(X, y, [0.1, 1.0]).coef
    )
    np.testing.assert_array_equal(
        loo(model, X, column).probabilities, loo(SoftmaxRegression().fit(X, y), X, y).probabilities
    )


@KINDS
def test_tables_thresholds_and_pictures_take_them(labels):
    """One row a class in tables, one threshold a class, one panel a class."""
    column = rows_of(labels, y)
    model = SoftmaxRegressionCV([0.1, 1.0], cv=3).fit(X, column)
    frame = regularization_path(X, column, [0.1, 1.0]).to_frame()
    assert codes_of(frame["class"][:15], labels) == [0] * 5 + [1] * 5 + [2] * 5
    np.testing.assert_array_equal(
        tune_thresholds(SigmoidRegression(), X, column), tune_thresholds(SigmoidRegression(), X, y)
    )
    per_label = SigmoidRegressionCV([0.1, 1.0], cv=3, per_label=True).fit(X, column)
    assert codes_of(per_label.results_["label"][:3], labels) == [0, 1, 2]
    plain = SigmoidRegressionCV([0.1, 1.0], cv=3, per_label=True).fit(X, y)
    np.testing.assert_array_equal(per_label.scores_[:, 0], plain.scores_[:, 0])
    assert len(CVCurveDisplay.from_estimator(per_label).axes_) == 3
    assert len(CoefficientPathDisplay.from_estimator(model).axes_) == 3
    plt.close("all")


@KINDS
def test_they_are_keys_of_class_weight_and_members_of_classes(labels):
    """Weights by label are those by code; `classes` gives the order of coefficients."""
    column = rows_of(labels, y)
    first, *_, last = SoftmaxRegression().fit(X, column).classes_.tolist()
    if labels.dtype == "M8[ns]":  # NumPy's lists of them are integers
        first, last = pd.Timestamp(first), pd.Timestamp(last)
    plain = SoftmaxRegression(class_weight={0: 0.0, 2: 3.0}).fit(X, y)
    model = SoftmaxRegression(class_weight={first: 0.0, last: 3.0}).fit(X, column)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    order = objects([list(model.classes_)[k] for k in (2, 0, 1)])
    for classes in (order, list(order)):
        model = SoftmaxRegression(classes=classes).fit(X, column)
        assert codes_of(model.classes_, labels) == [2, 0, 1]
        np.testing.assert_allclose(
            model.coef_, SoftmaxRegression(classes=[2, 0, 1]).fit(X, y).coef_
        )
        assert model.score(X, column) == np.mean(SoftmaxRegression().fit(X, y).predict(X) == y)
    with pytest.raises(ValueError, match="class_weight names"):
        SoftmaxRegression(class_weight={"oak": 2.0}).fit(X, column)


@pytest.mark.parametrize(
    "labels", [objects(list(Size)), objects(["ash", 1, None, (2,)])[[0, 1, 3]]], ids=["Enum", "mix"]
)
def test_labels_without_an_order_are_taken_in_the_order_of_classes(labels):
    """An Enum, and texts beside numbers: refused with two of them, fitted with `classes`."""
    column = labels[y]
    with pytest.raises(ValueError, match=r"have no order.*\(.*\) and .*\(.*astype\(str\).*classes"):
        SoftmaxRegression().fit(X, column)
    plain = SoftmaxRegression().fit(X, y)
    model = SoftmaxRegression(classes=labels).fit(X, column)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert codes_of(model.predict(X), labels) == plain.predict(X).tolist()
    assert model.score(X, column) == plain.score(X, y)
    cv = SoftmaxRegressionCV([0.1, 1.0], cv=3, classes=labels).fit(X, column)
    np.testing.assert_array_equal(
        cv.scores_[:, 0], SoftmaxRegressionCV([0.1, 1.0], cv=3).fit(X, y).scores_[:, 0]
    )
    chunks = [(X[:50], column[:50]), (X[50:], column[50:])]
    assert SoftmaxRegression(classes=labels).fit_chunks(chunks).classes_.tolist() == list(labels)
    stream = SoftmaxRegression(classes=labels).partial_fit(X, column).partial_fit(X, column)
    assert stream.classes_.tolist() == list(labels)
    tune_thresholds(SigmoidRegression(classes=labels), X, column)


def test_members_of_an_enum_may_be_declared_to_a_stream():
    """They are of one kind, and stay in the order in which they are named."""
    column = objects(list(Size))[y]
    model = SoftmaxRegression().partial_fit(X, column, classes=list(Size))
    assert model.partial_fit(X, column, classes=list(Size)).classes_.tolist() == list(Size)


def test_sets_that_are_no_chain_have_no_order():
    """Each is less than another only if it is part of it; they are several labels a row."""
    sets = objects([frozenset("a"), frozenset("ab"), frozenset("b")])
    with pytest.raises(ValueError, match="no order.*MultiLabelBinarizer.*SigmoidRegression"):
        SoftmaxRegression().fit(X, sets[y])
    chain = objects([frozenset("a"), frozenset("ab"), frozenset("abc")])
    assert SoftmaxRegression().fit(X, chain[y]).classes_.tolist() == list(chain)


def test_periods_of_two_lengths_have_no_order():
    """pandas raises an error of its own when it compares them."""
    periods = objects([pd.Period("2020"), pd.Period("2020-01"), pd.Period("2020-02")])
    with pytest.raises(ValueError, match=r"have no order.*\(Period\)"):
        SoftmaxRegression().fit(X, periods[y])


@KINDS
def test_a_list_holds_what_it_holds(labels):
    """Its classes are its items; but numbers that are no integers are measurements again."""
    rows = [list(labels)[code] for code in y]
    if any(isinstance(label, float) and label % 1 for label in labels):
        with pytest.raises(ValueError, match="continuous"):
            SoftmaxRegression().fit(X, rows)
        return
    model = SoftmaxRegression().fit(X, rows)
    assert codes_of(model.classes_, labels) == [0, 1, 2]
    assert model.score(X, rows) == SoftmaxRegression().fit(X, y).score(X, y)


def test_numbers_beside_texts_are_no_texts():
    """Neither in a list nor in an array of objects does 1 become "1"."""
    mixed = [[1, "ash", "birch"][code] for code in y]
    for column in (mixed, objects(mixed), pd.Series(mixed)):
        with pytest.raises(ValueError, match=r"no order.*\(str\)"):
            SoftmaxRegression().fit(X, column)


def test_dates_are_found_in_another_form():
    """A Timestamp, day or datetime64 that is the same date, in `score` and in `class_weight`."""
    model = SoftmaxRegression().fit(X, pd.Series(STAMPS)[y])
    accuracy = np.mean(model.predict(X) == np.array(STAMPS)[y])
    for column in (objects(list(STAMPS)), objects(DATES), np.array(DATES, dtype="M8[D]")):
        assert model.score(X, column[y]) == accuracy
    weighted = SoftmaxRegression(class_weight={DATES[0]: 2, STAMPS[1]: 3, "oak": 1})
    with pytest.raises(ValueError, match="names .*'oak'.* and not .*2021"):
        weighted.fit(X, np.array(STAMPS)[y])


def test_labels_of_another_kind_are_not_scored_as_wrong():
    """Texts against a model of numbers are a mistake; classes that are merely new are wrong."""
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match=r"'0'.*like those of the fit, \[0, 1, 2\]"):
        model.score(X, y.astype(str))
    assert model.score(X, y + 3) == 0.0
    assert model.score(X, (y + 3).astype(float)) == 0.0


# --- the order of classes after soft targets ------------------------------------------------------


def test_one_class_a_row_after_columns_means_the_same_classes():
    """Columns c, a, b: `score` and `partial_fit` take y of texts as its one-hot columns."""
    names = np.array(["c", "a", "b"])
    Y = pd.DataFrame(one_hot(y), columns=names)
    cv = SoftmaxRegressionCV([1.0], cv=3).fit(X, Y)
    assert cv.score(X, names[y]) == pytest.approx(cv.score(X, Y))
    streams = [SoftmaxRegression(random_state=0).fit(X, Y) for _ in range(2)]
    streams[0].partial_fit(X, names[y])
    streams[1].partial_fit(X, Y)
    assert streams[0].classes_.tolist() == ["c", "a", "b"]
    np.testing.assert_allclose(streams[0].coef_, streams[1].coef_)


# --- missing labels -------------------------------------------------------------------------------

GONE = [3, 7, 60]


def lacking(values, nothing):
    """A column of objects with three rows in which there is nothing."""
    column = objects(values)[y]
    column[GONE] = objects([nothing] * 3)
    return column


def masked(labels):
    """A Series of its own type with three missing rows."""
    return rows_of(labels, y).where(~np.isin(np.arange(120), GONE))


MISSING = (
    {
        "None": lacking(["a", "b", "c"], None),
        "NaN": lacking(["a", "b", "c"], np.nan),
        "NA": lacking(["a", "b", "c"], pd.NA),
        "NaT": lacking(DATES, pd.NaT),
        "None among integers": lacking([1, 2, 3], None),
        "NaN among Decimals": lacking(
            [decimal.Decimal(n) for n in range(3)], decimal.Decimal("nan")
        ),
        "None among tuples": lacking([(1, 2), (2, 1), (3, 3)], None),
        "list with None": list(lacking(["a", "b", "c"], None)),
        "list with NaN": list(lacking(["a", "b", "c"], np.nan)),
        "numbers": np.where(np.isin(np.arange(120), GONE), np.nan, y),
        "dates": np.where(
            np.isin(np.arange(120), GONE), np.datetime64("NaT"), np.array(DATES, "M8")[y]
        ),
        "frame": pd.DataFrame({"label": lacking(["a", "b", "c"], None)}),
    }
    | {
        f"Series, {name}": masked(ORDERED[name])
        for name in (
            *("Int64", "Float64", "string", "time zone", "Period", "Interval", "Arrow's integers"),
            *(
                "categories of texts",
                "categories of integers",
                "categories of dates",
                "Arrow's texts",
            ),
        )
    }
    | {f"array, {name}": masked(ORDERED[name]).array for name in ("Int64", "Float64", "string")}
)
LACKS_THREE = r"lacks 3 of 120 labels.*row 3.*pandas\.notna"
FITS = {
    "fit": lambda column: SoftmaxRegression().fit(X, column),
    "one-vs-rest": lambda column: SigmoidRegression().fit(X, column),
    "cross-validation": lambda column: SoftmaxRegressionCV().fit(X, column),
    "labels' cross-validation": lambda column: SigmoidRegressionCV(per_label=True).fit(X, column),
    "path": lambda column: regularization_path(X, column),
    "score": lambda column: SoftmaxRegression().fit(X, y).score(X, column),
    "score of folds": lambda column: SoftmaxRegressionCV([1.0]).fit(X, y).score(X, column),
    "leave-one-out": lambda column: loo(SoftmaxRegression().fit(X, y), X, column),
    "stream": lambda column: SoftmaxRegression().partial_fit(X, column, classes=["a", "b", "c"]),
    "chunks": lambda column: SoftmaxRegression().fit_chunks([(X, column)]),
    "thresholds": lambda column: tune_thresholds(SigmoidRegression(), X, column),
    "sets": lambda column: prediction_sets(SoftmaxRegression().fit(X, y), X, column),
}


@pytest.mark.parametrize("column", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_missing_labels_are_counted_by_whoever_meets_them(fit, column):
    """Of any kind, in any container: their number, the first row, and what to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)
        with pytest.raises(ValueError, match=LACKS_THREE):
            fit(column)


def test_the_index_of_a_series_is_named_where_it_is_not_the_row():
    """So that the row of the table is found, after a selection of rows, say."""
    column = pd.Series(MISSING["None"], index=np.arange(120) + 1000)
    with pytest.raises(ValueError, match=r"row 3 \(index 1003\)"):
        SoftmaxRegression().fit(X, column)


def test_missing_labels_of_chunks_are_found_in_their_chunk():
    """The error counts those of the chunk, and a note names it."""
    column = MISSING["None"]
    chunks = [(X[10:50], column[10:50]), (X[50:], column[50:])]
    with pytest.raises(ValueError, match="lacks 1 of 70 labels.*row 10") as error:
        SoftmaxRegression().fit_chunks(chunks)
    assert "chunk 1" in error.value.__notes__[0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("values", [["a", "b", None, "a", None], [0.0, 1.0, None, 0.0, None]])
def test_missing_labels_of_files_are_found_in_their_file(tmp_path, suffix, values):
    """A warning names the first file and row, and their number in all files."""
    whole = pd.DataFrame({"size": range(4), "label": ["a", "b"] * 2})
    for number, labels in enumerate((whole["label"][:2], values)):
        labels = [{"a": 0.0, "b": 1.0}.get(v, v) for v in labels] if values[0] == 0 else labels
        frame = pd.DataFrame({"size": range(len(labels)), "label": labels})
        path = tmp_path / f"{number}{suffix}"
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    with pytest.warns(UserWarning, match=rf"2 labels.*row 2 of .*1\{suffix} \(counted from 0"):
        chunks = [*Table(tmp_path, "label", rows=2)]
    assert sum(int(labels.isna().sum()) for _, labels in chunks) == 2


def test_unknown_indicators_are_no_missing_labels():
    """NaN in a column of 0 and 1 of `SigmoidRegression` stays unknown."""
    Y = one_hot(y).astype(float)
    Y[GONE, 1] = np.nan
    assert SigmoidRegression().fit(X, Y).multilabel_


# --- several labels a row -------------------------------------------------------------------------

SEVERAL = {
    "lists": objects([["a"], ["a", "b"], ["b"]] * 40),
    "sets": objects([{"a"}, {"a", "b"}, {"b"}] * 40),
    "arrays": objects([np.array(["a"]), np.array(["a", "b"]), np.array(["b"])] * 40),
    "list of lists": [["a"], ["a", "b"], ["b"]] * 40,
    "list of sets": [{"a"}, {"a", "b"}, {"b"}] * 40,
    "list of pairs": [["a", "b"], ["b", "c"], ["a", "c"]] * 40,
    "list of tuples": [("a", "b"), ("b", "c"), ("a", "c")] * 40,
    "Series of lists": pd.Series([["a"], ["a", "b"], []] * 40),
    "columns of texts": pd.DataFrame({"one": ["a"] * 120, "two": ["b"] * 120}),
}


@pytest.mark.parametrize("column", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize(
    "model",
    [SoftmaxRegression(), SigmoidRegression(), SoftmaxRegressionCV(), SigmoidRegressionCV()],
)
def test_several_labels_a_row_point_to_columns(model, column):
    """Lists and sets of labels: the binarizer and the model that are for them."""
    with pytest.raises(ValueError, match="MultiLabelBinarizer.*SigmoidRegression"):
        model.fit(X, column)


def test_what_has_no_hash_is_named_with_its_row():
    """A dict is no class."""
    column = objects(["a", "b", "c"])[y]
    column[5] = {"a": 1}
    with pytest.raises(ValueError, match=r"\{'a': 1\}, a dict, in row 5"):
        SoftmaxRegression().fit(X, column)


def tags(separator, n=200, L=6):
    """A column of combinations of six tags, at random."""
    has = np.random.default_rng(0).random((n, L)) < 0.4
    has[:, 0] |= ~has.any(axis=1)
    names = np.array(["red", "blue", "dress", "shirt", "wool", "silk"])
    return [separator.join(names[row]) for row in has]


@pytest.mark.parametrize("separator", [";", "|", ", ", ","])
def test_combinations_of_tags_are_pointed_out(separator):
    """One warning with the number of tags, and a remedy that makes a column for each of them."""
    column, X = tags(separator), np.random.default_rng(1).normal(size=(200, 2))
    remedy = rf"combinations of 6 tags.*get_dummies\('{separator.replace('|', '[|]')}'\)"
    with pytest.warns(UserWarning, match=remedy) as caught:
        model = SoftmaxRegression(C=0.01).fit(X, column)
    assert len(caught) == 1 and model.converged_
    assert pd.Series(column).str.get_dummies(separator).shape == (200, 6)
    model.score(X, column)  # without another one


SIZES, PLACES = [f"size {n}" for n in range(7)], [f"place {n}" for n in range(7)]
NAMES_WITH_COMMAS = {
    "city and state": [f"{city}, {s}" for city in PLACES for s in ("NY", "CA", "TX", "WA")],
    "two factors": [f"{size};{place}" for size in SIZES for place in PLACES],
    "from and to": [f"{start}|{end}" for start in PLACES for end in PLACES],
    "a tree": ["life"]
    + [f"life|{a}" for a in "abc"]
    + [f"life|{a}|{b}" for a in "abc" for b in PLACES],
    "diagnoses": [
        f"{what} of {where}{side}, {seen}"
        for what in ("Sprain", "Fracture", "Burn")
        for where in ("wrist", "foot", "hand")
        for side in (", left", ", right", "")
        for seen in ("initial encounter", "sequela")
    ],
    "few tags": ["a", "b", "a;b"],
}


@pytest.mark.parametrize("names", NAMES_WITH_COMMAS.values(), ids=NAMES_WITH_COMMAS)
def test_names_with_separators_are_no_tags(names):
    """Parts that have their place, or are as many as the names, or only a few classes: silence."""
    X = np.random.default_rng(1).normal(size=(2 * len(names), 2))
    SoftmaxRegression(C=0.01).fit(X, names * 2)


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.array(["a", "b", "c"]), np.arange(3), np.arange(3.0)])
def test_messages_about_classes_show_values_not_types_of_numpy(labels):
    """No np.str_('a') and no np.float64(1.0) in an error about classes."""
    stream = SoftmaxRegression().partial_fit(X, labels[y], classes=labels)
    wrong = [
        lambda: SoftmaxRegression(classes=list(labels[:2])).fit(X, labels[y]),
        lambda: SoftmaxRegression(classes=[*labels, labels[0]]).partial_fit(X, labels[y]),
        lambda: SoftmaxRegression().fit(X, labels[0 * y]),
        lambda: stream.partial_fit(X, labels[y], classes=list(labels[:2])),
        lambda: SoftmaxRegression(class_weight={labels[0]: np.float64(-1)}).fit(X, labels[y]),
        lambda: SoftmaxRegression(C=np.float64(-1)).fit(X, labels[y]),
        lambda: SoftmaxRegression(classes=list(labels)).fit(X, one_hot(y)[:, :2]),
        lambda: (
            SoftmaxRegression()
            .fit(X, pd.DataFrame(one_hot(y), columns=labels))
            .score(X, pd.DataFrame(one_hot(y), columns=labels[::-1]))
        ),
    ]
    for call in wrong:
        with pytest.raises(ValueError) as error:
            call()
        assert "np." not in str(error.value).replace("np.inf", "").replace("np.unique(y)", "")


def test_scikit_learns_metrics_say_what_they_do_not_take():
    """Of labels that are neither numbers nor texts to NumPy; the remedy is y.astype(str)."""
    column = objects(DATES)[y]
    with pytest.raises(ValueError, match=r"scoring='accuracy'.*y\.astype\(str\)"):
        SoftmaxRegressionCV([1.0], scoring="accuracy").fit(X, column)
    SoftmaxRegressionCV([1.0], scoring="accuracy").fit(X, column.astype(str))


def test_a_converted_estimator_takes_them():
    """The model of `from_sklearn` is not narrower than any other."""
    from sklearn.linear_model import LogisticRegression

    column = objects([1, 20, 300])[y]
    assert from_sklearn(LogisticRegression()).fit(X, column).classes_.tolist() == [1, 20, 300]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, np.uint64])
@pytest.mark.parametrize("n", [2, 300, 5000])
def test_integers_of_any_width_are_found_in_a_table_as_by_a_search(dtype, n):
    """Also where differences of two of them are beyond their width, or classes are elsewhere."""
    rng, ends = np.random.default_rng(n), (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for few in ([ends[0], ends[1]], [ends[1], ends[1] - 1], [ends[0], ends[0] + 3], [7, 5, 100]):
        values = rng.choice(np.array(few, dtype=dtype), n)
        classes, codes = distinct_with_codes(values)
        expected, places = np.unique(values, return_inverse=True)
        assert classes.dtype == dtype and classes.tolist() == expected.tolist()
        assert codes.tolist() == places.tolist()
        known = np.array([100, ends[0], 5, ends[1]], dtype=dtype)
        place_of = {value: place for place, value in enumerate(known.tolist())}
        wanted = [place_of.get(value, -1) for value in values.tolist()]
        assert codes_in(known, values).tolist() == wanted
