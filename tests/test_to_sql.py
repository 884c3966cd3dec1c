"""Queries predict as softreg does, in SQLite and in DuckDB."""

import re
import sqlite3

import duckdb
import numpy as np
import pandas as pd
import pytest
from exported import FRAME, LABELS, MODELS, dense, fitted, with_coefficients, y
from sklearn.exceptions import NotFittedError

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.export import to_sql

DATABASES = pytest.mark.parametrize("database", ["sqlite", "duckdb"])
FUNCTIONS = {"exp": np.exp, "ln": np.log}


def as_frame(rows):
    """Return rows as a table: columns by name, or x0, x1, ..., and a key."""
    frame = pd.DataFrame(rows)
    if not hasattr(rows, "columns"):
        frame.columns = [f"x{j}" for j in range(frame.shape[1])]
    return frame.assign(key=range(len(frame)))


def connection(database):
    if database == "duckdb":
        return duckdb.connect()
    connected = sqlite3.connect(":memory:")
    options = {option for (option,) in connected.execute("PRAGMA compile_options")}
    if "ENABLE_MATH_FUNCTIONS" not in options:  # not all builds of SQLite have them
        for name, function in FUNCTIONS.items():
            connected.create_function(
                name, 1, lambda x, f=function: None if x is None else float(f(x))
            )
    return connected


def quoted(name):
    return '"{}"'.format(name.replace('"', '""'))


def query_result(database, query, frame, table="rows"):
    """Return names and rows of a query over a frame, sorted."""
    connected = connection(database)
    if database == "duckdb":
        connected.register("frame", frame)
        connected.execute(f"CREATE TABLE {quoted(table)} AS SELECT * FROM frame")
    else:
        connected.execute(f"CREATE TABLE {quoted(table)} ({', '.join(map(quoted, frame.columns))})")
        marks = ", ".join("?" * frame.shape[1])
        values = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
        connected.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", values)
    cursor = connected.execute(query)
    names = [column[0] for column in cursor.description]
    return names, sorted(cursor.fetchall(), key=lambda row: row[0])


@DATABASES
@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_the_model(name, database):
    """To rounding, in columns of the classes' names, with the key that was kept."""
    model, X = fitted(name)
    frame = as_frame(X)
    names, rows = query_result(database, to_sql(model, "rows", keep=["key"]), frame)
    assert names == ["key", *map(str, model.classes_)]
    values = np.array(rows, dtype=float)
    np.testing.assert_array_equal(values[:, 0], frame["key"])
    np.testing.assert_allclose(values[:, 1:], model.predict_proba(X), rtol=0, atol=1e-12)


@DATABASES
@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_the_model(name, database):
    """The class, a text or number, or 0 and 1 for each label; thresholds count."""
    model, X = fitted(name)
    query = to_sql(model, "rows", response_method="predict", keep=["key"])
    names, rows = query_result(database, query, as_frame(X))
    expected = dense(model.predict(X))
    assert names[1:] == (["prediction"] if expected.ndim == 1 else [*map(str, model.classes_)])
    found = np.array([row[1:] for row in rows]).reshape(expected.shape)
    np.testing.assert_array_equal(found, expected)


@DATABASES
def test_numbers_are_read_back_to_the_bit(database):
    """Each coefficient, small and large, is the one that was written."""
    values = np.random.default_rng(0).normal(size=200) * 10.0 ** np.repeat(np.arange(-8, 12), 10)
    values[:4] = 0.1, 1 / 3, 5e-11, 2.0**60
    query = to_sql(with_coefficients(values[:, None], np.zeros(200), range(200)), "rows")
    literals = re.findall(r'(\S+) \* CAST\(t\."x0"', query)
    read = connection(database).execute(f"SELECT {', '.join(literals)}").fetchone()
    assert read == tuple(values)


@DATABASES
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_scores_beyond_the_range_of_exp_have_probabilities(kind, database):
    """Scores of ten thousand, either sign, and a class whose intercept is minus infinity."""
    coef, intercept = [[1e4], [-1e4], [0], [3e4]], [0, 0, 1, -np.inf]
    model = with_coefficients(coef, intercept, list("abcd"), kind)
    X = np.array([[-1.0], [0], [1], [1e-3]])
    for method in ("predict_proba", "predict"):
        query = to_sql(model, "rows", keep=["key"], response_method=method)
        found = [row[1:] for row in query_result(database, query, as_frame(X))[1]]
        expected = getattr(model, method)(X)
        if method == "predict":
            assert [row[0] for row in found] == expected.tolist()
        else:
            np.testing.assert_allclose(found, expected, atol=1e-12)


@DATABASES
def test_null_stays_null(database):
    """Of a row without a value there is no probability and no class, of others as before."""
    lasso, labels = fitted("softmax-lasso"), fitted("labels")
    used = np.flatnonzero((lasso[0]._dense_coef != 0).any(axis=0))
    partly = [j for j in used if (lasso[0]._dense_coef[:, j] == 0).any()]
    assert partly  # a column that one class needs and another does not
    for (model, X), column in ((lasso, partly[0]), (labels, 1)):
        frame = as_frame(X)
        frame.loc[[0, 2], frame.columns[column]] = None
        for method in ("predict_proba", "predict"):
            query = to_sql(model, "rows", keep=["key"], response_method=method)
            _, rows = query_result(database, query, frame)
            is_null = [{value is None for value in row[1:]} for row in rows]
            assert is_null[:4] == [{True}, {False}, {True}, {False}]


def test_columns_without_a_coefficient_are_not_read():
    """A lasso needs the columns that it has chosen."""
    model, _ = fitted("softmax-lasso")
    read = {int(j) for j in re.findall(r't\."x(\d+)"', to_sql(model, "rows"))}
    assert read == set(np.flatnonzero((model._dense_coef != 0).any(axis=0))) != set(range(13))


@DATABASES
def test_columns_may_be_booleans_and_whole_numbers_of_any_width(database):
    """As those of pandas.get_dummies are; a column of 8 bits does not overflow."""
    kinds = np.array(["new", "old", "none"])[np.arange(len(y)) % 3]
    frame = pd.get_dummies(pd.Series(kinds)).assign(count=(np.arange(len(y)) % 100).astype("int8"))
    model = SoftmaxRegression().fit(frame, y)
    table = frame.assign(key=range(len(frame)))
    _, rows = query_result(database, to_sql(model, "rows", keep=["key"]), table)
    np.testing.assert_allclose(np.array(rows)[:, 1:], model.predict_proba(frame), atol=1e-12)


@DATABASES
@pytest.mark.parametrize("table", ['odd "name"; --', "select", "step_1", "STEP"])
def test_tables_and_columns_may_have_any_name(table, database):
    """Names are quoted; a table may be called as the query's own steps."""
    model, X = fitted("softmax-two")
    frame = as_frame(X)
    frame.columns = [f'"{name}" -- é' if name != "key" else "k''\"" for name in frame.columns]
    query = to_sql(model, table, feature_names=frame.columns[:-1], keep=["k''\""])
    names, rows = query_result(database, query, frame, table)
    assert names == ["k''\"", "False", "True"]
    np.testing.assert_allclose(np.array(rows)[:, 1:], model.predict_proba(X), atol=1e-12)


@DATABASES
def test_a_table_may_be_named_with_its_schema(database):
    """Each part of the name is quoted by itself."""
    model, X = fitted("softmax")
    query = to_sql(model, ("main", "rows"), keep=["key"])
    assert 'FROM "main"."rows" AS t' in query
    rows = np.array(query_result(database, query, as_frame(X))[1])
    np.testing.assert_allclose(rows[:, 1:], model.predict_proba(X), atol=1e-12)


@DATABASES
def test_a_column_that_is_missing_is_an_error(database):
    """Also in SQLite, which takes quoted names of nothing for texts."""
    model, X = fitted("softmax")
    with pytest.raises((sqlite3.OperationalError, duckdb.Error), match="x12"):
        query_result(database, to_sql(model, "rows"), as_frame(X[:, :12]))


@pytest.mark.parametrize(
    ("K", "d", "database"),
    [(1000, 3, "sqlite"), (300, 3, "duckdb"), (3, 1100, "sqlite"), (3, 1100, "duckdb")],
)
def test_many_classes_and_columns(K, d, database):
    """No expression nests too deeply, and the query grows with K x d alone."""
    rng = np.random.default_rng(0)
    model = with_coefficients(rng.normal(size=(K, d)), rng.normal(size=K), range(K))
    X = rng.normal(size=(5, d))
    for method in ("predict_proba", "predict"):
        query = to_sql(model, "rows", keep=["key"], response_method=method)
        assert len(query) < 70 * K * d + 250 * K
        values = np.array(query_result(database, query, as_frame(X))[1])[:, 1:]
        expected = getattr(model, method)(X).reshape(values.shape)
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_each_exponential_is_computed_once():
    """SQLite does not put the steps into one another, which would take K^2 of them and more."""
    model, X = fitted("softmax")
    calls = []
    connected = sqlite3.connect(":memory:")
    connected.create_function("exp", 1, lambda z: calls.append(z) or float(np.exp(z)))
    as_frame(X[:7]).to_sql("rows", connected)
    P = connected.execute(to_sql(model, "rows")).fetchall()
    np.testing.assert_allclose(P, model.predict_proba(X[:7]), atol=1e-12)
    assert len(calls) == 3 * 7


@pytest.mark.parametrize(
    ("classes", "literals"),
    [
        ([False, True], ["FALSE", "TRUE"]),
        ([-3, 5], ["-3", "5"]),
        (["''", "it's"], ["''''''", "'it''s'"]),
        (np.array(["2020-02-29", "2021-01-01"], "M8[D]"), ["'2020-02-29'", "'2021-01-01'"]),
        (np.array([0.5, 2], dtype=object), ["0.5e0", "2"]),
    ],
    ids=str,
)
def test_classes_are_numbers_or_texts(classes, literals):
    """As SQL writes them."""
    query = to_sql(with_coefficients([[1.0]], [0], classes), "rows", response_method="predict")
    assert re.findall(r"THEN (\S+)", query)[-2:] == literals


def test_columns_with_the_same_name_are_refused():
    """The table has one of them, so that another of X's columns would be misread."""
    model, names = fitted("softmax-texts")[0], ["age", "size", "age", "income"]
    with pytest.raises(ValueError, match=r"feature_names holds \['age'\] more than once.*pass"):
        to_sql(model, "rows", feature_names=names)


@DATABASES
def test_a_class_without_a_name_is_predicted_and_has_no_column(database):
    """An empty text is a value of SQL, and no name."""
    model = with_coefficients([[1.0]], [0], ["", "yes"])
    frame = pd.DataFrame({"x0": [-1.0, 1], "key": [0, 1]})
    query = to_sql(model, "rows", response_method="predict", keep=["key"])
    assert query_result(database, query, frame)[1] == [(0, ""), (1, "yes")]
    message = r"classes_=\['', 'yes'\] holds an empty text.*another name"
    with pytest.raises(ValueError, match=message):
        to_sql(model, "rows")
    labels = SigmoidRegression().fit(FRAME, pd.DataFrame(LABELS[:, :2], columns=["", "yes"]))
    for method in ("predict_proba", "predict"):
        with pytest.raises(ValueError, match=message):
            to_sql(labels, "rows", response_method=method)


def test_wrong_arguments_are_refused_by_name():
    """Names that would be twice in the result, of the wrong number, other methods and models."""
    model, _ = fitted("softmax-texts")
    with pytest.raises(ValueError, match=r"keep=\[\"it's\"\].*same name twice"):
        to_sql(model, "rows", keep=["it's"])
    with pytest.raises(ValueError, match=r"feature_names=\['a'\] must name 4 columns"):
        to_sql(model, "rows", feature_names=["a"])
    with pytest.raises(ValueError, match="response_method='score' must be"):
        to_sql(model, "rows", response_method="score")
    with pytest.raises(ValueError, match="same name twice"):
        to_sql(with_coefficients([[1.0]], [0], np.array([1, "1"], dtype=object)), "rows")
    for wrong in (3, (), [("a",)], "", None):
        with pytest.raises(ValueError, match="table="):
            to_sql(model, wrong)
    for wrong in ("key", [3], 3, [""]):
        with pytest.raises(ValueError, match="keep="):
            to_sql(model, "rows", keep=wrong)
    with pytest.raises(NotFittedError):
        to_sql(SoftmaxRegression(), "rows")
    with pytest.raises(TypeError, match="to_sql needs a fitted estimator of softreg"):
        to_sql(None, "rows")
