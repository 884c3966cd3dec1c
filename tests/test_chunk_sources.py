"""The sources of softreg.chunks: what they yield, of which files, and how they refuse."""

import gzip
import pickle
import subprocess
import sys
import tomllib
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from chunked import NAMES, WEIGHT, X, assert_same_fit, labels, y
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.chunks import Arrays, Table


def same(source, *arrays):
    """The chunks of a source, twice, are these arrays."""
    for _ in range(2):
        chunks = [*source]
        assert {len(chunk) for chunk in chunks} == {len(arrays)}
        for one, other in zip(zip(*chunks, strict=True), arrays, strict=True):
            np.testing.assert_array_equal(np.concatenate([np.asarray(part) for part in one]), other)
    return [len(chunk[1]) for chunk in chunks]


def test_arrays_are_cut_into_chunks():
    """Arrays, CSR, frames and what is sliced like them; by default a million values a chunk."""
    assert same(Arrays(X, y, rows=60), X, y) == [60, 60, 30]
    assert same(Arrays(X, y, WEIGHT), X, y, WEIGHT) == [150]
    frame = pd.DataFrame(X, index=np.arange(150)[::-1])
    assert same(Arrays(frame, pd.Series(y, index=frame.index), rows=149), X, y) == [149, 1]
    wide = np.broadcast_to(0.0, (300, 2**13))
    assert [len(chunk) for chunk, _ in Arrays(wide, np.zeros(300))] == [128, 128, 44]
    ((chunk, _),) = Arrays(sp.csr_array(X), y)
    assert sp.issparse(chunk)


@pytest.mark.parametrize("order", ["C", "F"])
def test_chunks_of_a_memory_map_hold_no_page_of_it(tmp_path, order):
    """In C order chunks are arrays of their own; Fortran order is read all the same."""
    np.save(tmp_path / "X.npy", np.asarray(X, order=order))
    np.save(tmp_path / "y.npy", NAMES[y])
    whole, text = (np.load(tmp_path / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
    assert same(Arrays(whole, text, rows=70), X, NAMES[y]) == [70, 70, 10]
    assert same(Arrays(whole[20:], text[20:], rows=70), X[20:], NAMES[y[20:]]) == [70, 60]
    raw = np.memmap(tmp_path / "raw", np.float32, "w+", offset=24, shape=(150, 4))
    raw[:] = X
    raw.flush()
    assert same(Arrays(raw, y, rows=50), X.astype(np.float32), y) == [50, 50, 50]
    if order == "C":
        assert not any(np.may_share_memory(chunk, whole) for chunk, _ in Arrays(whole, text))


def npy_files(folder, **arrays):
    """Each array in two files, of 100 rows and of the rest."""
    for name, array in arrays.items():
        for part, rows in enumerate([slice(0, 100), slice(100, None)]):
            np.save(folder / f"{name}{part}.npy", array[rows])
    return [sorted(folder.glob(f"{name}?.npy")) for name in arrays]


def test_files_of_arrays_are_read_in_turn(tmp_path):
    """Lists of .npy files, of paths or texts, are cut into chunks; none reaches into two files."""
    X_files, y_files, weight_files = npy_files(tmp_path, X=X, y=NAMES[y], w=WEIGHT)
    assert same(Arrays(X_files, y_files), X, NAMES[y]) == [100, 50]
    files = [str(path) for path in X_files], tuple(y_files), weight_files
    assert same(Arrays(*files, rows=60), X, NAMES[y], WEIGHT) == [60, 40, 50]
    assert same(Arrays(X_files[::-1], y_files[::-1]), np.roll(X, 50, 0), NAMES[np.roll(y, 50)])
    chunks = [chunk for chunk, _ in Arrays(X_files, y_files)]
    assert not any(isinstance(chunk, np.memmap) for chunk in chunks)


def test_a_fit_of_files_of_arrays_is_that_of_the_arrays(tmp_path):
    """Weights and text labels as well."""
    source = Arrays(*npy_files(tmp_path, X=X, y=NAMES[y], w=WEIGHT), rows=40)
    assert_same_fit(
        SoftmaxRegression().fit_chunks(source), SoftmaxRegression().fit(X, NAMES[y], WEIGHT)
    )


def test_errors_of_files_of_arrays_name_the_files(tmp_path):
    """A file that is not there, a pair of other lengths, Python objects; lists when it is made."""
    X_files, y_files = npy_files(tmp_path, X=X, y=y)
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object))
    with pytest.raises(ValueError, match="2, 1.*as many"):
        Arrays(X_files, y_files[:1])
    for wrong, error, says in (
        (tmp_path / "no.npy", FileNotFoundError, "no.npy"),
        (y_files[1], ValueError, r"100, 50.*\n.*X0.npy and .*y1.npy"),
        (tmp_path / "objects.npy", ValueError, r"objects(?s:.*)In .*objects.npy"),
    ):
        with pytest.raises(error, match=says):
            [*Arrays(X_files, [wrong, y_files[1]])]


def table():
    """A table with a column of labels, three of labels' answers and one of weights."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.insert(1, "tree", NAMES[y])
    frame["w"] = WEIGHT
    return frame.join(pd.DataFrame(labels(), columns=list("xyz")))


def csv(folder, **arguments):
    table().to_csv(folder / "table.csv", index=False)
    return Table(folder / "table.csv", **arguments)


def parquet(folder, **arguments):
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    (folder / "table").mkdir(exist_ok=True)
    for part in range(2):
        table()[75 * part :][:75].to_parquet(folder / "table" / f"{part}.parquet")
    return Table(folder / "table", **arguments)


TABLES = pytest.mark.parametrize("kind", [csv, parquet])


@TABLES
def test_a_table_is_read_by_the_names_of_its_columns(tmp_path, kind):
    """Labels, or several columns of targets, and weights; all others are features."""
    features = table().drop(columns=["tree", "w"])
    source = kind(tmp_path, target="tree", sample_weight="w", rows=60)
    sizes = same(source, features, NAMES[y], WEIGHT)
    assert len(sizes) >= 3 and max(sizes) == 60
    assert all([*chunk.columns] == list("abcdxyz") for chunk, *_ in source)
    several = kind(tmp_path, target=["z", "x"])
    same(several, table()[[*"a"]].join(table()[["tree", *"bcd", "w", "y"]]), labels()[:, [2, 0]])
    assert all([*targets.columns] == ["z", "x"] for _, targets in several)


@TABLES
def test_a_fit_of_a_table_is_that_of_its_frame(tmp_path, kind):
    """Names of features and of labels are recorded as by fit."""
    frame, features = table(), ["a", "b", "c", "d"]
    source = kind(tmp_path, target="tree", rows=40, columns=[*features, "tree"])
    assert_same_fit(
        SoftmaxRegression().fit_chunks(source),
        SoftmaxRegression().fit(frame[features], frame["tree"]),
    )
    source = kind(tmp_path, target=("x", "y", "z"), rows=40, columns=frame.columns[[0, 2, 3, 4]])
    assert_same_fit(
        SigmoidRegression().fit_chunks(source),
        SigmoidRegression().fit(frame[features], frame[["x", "y", "z"]]),
    )


@TABLES
def test_a_table_without_the_column_names_those_it_has(tmp_path, kind):
    """The error names the argument, the missing column, the others, and the chunk in a note."""
    for name in ("target", "sample_weight", "columns"):
        source = kind(tmp_path, **{"target": "tree", name: ["shrub"]})
        with pytest.raises(ValueError, match=rf"{name}=.*shrub.*'tree'(?s:.*)In chunk 0"):
            SoftmaxRegression().fit_chunks(source)


@TABLES
def test_a_column_has_one_use_and_some_are_features(tmp_path, kind):
    """Target and weight, or two targets, cannot be one column; X has columns of its own."""
    for target, weight in (("w", "w"), (["x", "x"], None), (None, None), ([], None)):
        with pytest.raises(ValueError, match="target=.*once"):
            kind(tmp_path, target=target, sample_weight=weight)
    with pytest.raises(ValueError, match="columns=.*no columns but.*tree"):
        SoftmaxRegression().fit_chunks(kind(tmp_path, target="tree", columns=["tree"]))


# ---- What the fields of a CSV file mean ---------------------------------------------------------

# Text of a file, and the values and types of its columns.
FIELDS = {
    "integers": ("1,-2,007", [1, -2, 7], "int64"),
    "an integer that no double holds": ("9007199254740993,1,2", [2**53 + 1, 1, 2], "int64"),
    "floats": ("0.1,1e-3,inf", [0.1, 0.001, np.inf], "float64"),
    "integers, then floats": ("1,2,2.5", [1.0, 2.0, 2.5], "float64"),
    "integers, then a missing one": ("1,2,", [1.0, 2.0, np.nan], "float64"),
    "no numbers": ("NaN,1.5,NULL", [np.nan, 1.5, np.nan], "float64"),
    "nothing, then numbers": (",,3", [np.nan, np.nan, 3.0], "float64"),
    "booleans": ("True,False,True", [True, False, True], "bool"),
    "booleans, then a missing one": ("True,False,", ["True", "False", np.nan], "text"),
    "text": ("b,é,b c", ["b", "é", "b c"], "text"),
    "text that is missing": ("b,NA,", ["b", np.nan, np.nan], "text"),
    "numbers, then text": ("01,2.50,x", ["01", "2.50", "x"], "text"),
    "nothing, then text": (",NA,x", [np.nan, np.nan, "x"], "text"),
    "quoted": ('"a,b","x ""y""\nz","NA"', ["a,b", 'x "y"\nz', np.nan], "text"),
    "dates": ("2001-02-03,2001-02-04,", ["2001-02-03", "2001-02-04", np.nan], "text"),
}


def fields_of(text):
    """The fields of a row, as they are spelled."""
    return text.replace('"a,b"', "\0").replace(",", "\t").replace("\0", '"a,b"').split("\t")


@pytest.mark.filterwarnings("ignore:.* labels .* are missing")
@pytest.mark.parametrize("rows", [1, 2, None])
@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_of_a_file_have_one_meaning(tmp_path, name, rows):
    """Values and types are those of the whole column, with and without pyarrow, in any chunks."""
    text, expected, kind = FIELDS[name]
    lines = ["label,field", *(f"{i},{field}" for i, field in enumerate(fields_of(text)))]
    (tmp_path / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    for X_chunks, y_chunks in (
        zip(*Table(tmp_path / "table.csv", "label", rows=rows), strict=True),
        [*zip(*Table(tmp_path / "table.csv", "field", rows=rows), strict=True)][::-1],
    ):
        columns = [chunk if chunk.ndim == 1 else chunk["field"] for chunk in X_chunks]
        assert len(y_chunks) == len(columns) == -(-3 // (rows or 3))
        whole = pd.read_csv(tmp_path / "table.csv", dtype={"field": str} if kind == "text" else {})
        assert {column.dtype for column in columns} == {whole["field"].dtype}
        assert kind == "text" or whole["field"].dtype == kind
        found = pd.concat(columns).tolist()
        assert [None if value != value else value for value in found] == [
            None if value != value else value for value in expected
        ]


def mixed():
    """A table of numbers, whole ones and missing ones, and text, of labels that depend on it."""
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "price": X[:, 0].round(2),
            "count": random.integers(0, 9, 150),
            "city": random.choice(["Rio; BR", "Köln", 'the "Hague"'], 150),
            "age": np.where(random.random(150) < 0.2, np.nan, X[:, 1]),
            "district": np.where(random.random(150) < 0.2, np.nan, NAMES[y].astype(object)),
            "tree": NAMES[y],
        }
    )


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".csv", {}),
        (".csv.gz", {}),
        (".TXT", {"sep": ";", "decimal": ",", "encoding": "latin-1"}),
        (".tsv.gz", {"sep": "\t", "encoding": "utf-16"}),
    ],
)
def test_a_file_holds_the_frame_that_was_written(tmp_path, suffix, options):
    """Numbers, text and missing values come back, whatever separates, encodes or packs them."""
    path, compression = tmp_path / f"table{suffix}", "gzip" if suffix.endswith("gz") else None
    mixed().to_csv(path, index=False, compression=compression, **options)
    for rows in (40, None):
        X_chunks, y_chunks = zip(*Table(path, "tree", rows=rows, **options), strict=True)
        found = pd.concat(X_chunks).assign(tree=pd.concat(y_chunks))
        expected = mixed().astype(
            {name: found[name].dtype for name in ("city", "district", "tree")}
        )
        pd.testing.assert_frame_equal(found, expected, rtol=1e-15)
        assert max(len(chunk) for chunk in X_chunks) == (rows or 150)


@pytest.mark.parametrize("rows", [1, 2, None])
@pytest.mark.parametrize(
    ("decimal", "fields", "hinted"),
    [
        (".", ["1,5", "2", "", "-3,25e2"], True),  # One chunk may hold whole numbers alone.
        (",", ["1.5", "2", "", "-3.25e2"], True),
        (".", ["1,5", "2", "", "much"], False),
        (".", ["1,5", "2.5", "3", "4"], False),  # Numbers with neither mark.
        (",", ["1,5", "2.5", "3", "4"], False),
        (".", ["03.05.2024", "04.05.2024", "3", "4"], False),
        (".", ["a", "b", "c", "d"], False),
        (".", ["1" * 30, "2", "3", "4"], False),  # No integer of pandas, but not for its mark.
        (".", ["True", "False", "1", "0"], False),
    ],
)
def test_numbers_with_the_other_decimal_mark_are_pointed_out(
    tmp_path, rows, decimal, fields, hinted
):
    """A column that is text with this mark and would hold numbers with the other one is named."""
    path = tmp_path / "table.csv"
    pd.DataFrame({"size": fields, "price": 7, "label": [0, 1, 0, 1]}).to_csv(
        path, index=False, sep=";"
    )
    source = Table(path, "label", sep=";", decimal=decimal, rows=rows)
    other = "," if decimal == "." else "."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len([*source, *source]) == 2 * -(-4 // (rows or 4))
    found = [str(warning.message) for warning in caught]
    if not hinted:
        assert not found
        return
    (message,) = found  # Once, not in each pass.
    assert "['size']" in message and f"with decimal='{other}'" in message
    ((X_chunk, _),) = Table(path, "label", sep=";", decimal=other)
    assert X_chunk["size"].dtype == float


def test_missing_labels_are_counted_with_the_way_to_take_NA_for_a_label(tmp_path):
    """Of NA for Namibia the warning names `keep_default_na`; without it, only empty is missing."""
    path = tmp_path / "table.csv"
    path.write_text("size,country\n1,NA\n,DE\n3,NA\n4,DE\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="2 labels in the column 'country'.*keep_default_na=False"):
        ((_, y_chunk),) = Table(path, "country")
    assert y_chunk.isna().sum() == 2
    ((X_chunk, y_chunk),) = Table(path, "country", keep_default_na=False)
    assert y_chunk.tolist() == ["NA", "DE", "NA", "DE"]
    np.testing.assert_array_equal(X_chunk["size"], [1, np.nan, 3, 4])
    path.write_text("size,country\n1,NA\n2,\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 labels.*leave these rows out of the files[.]"):
        [*Table(path, "country", keep_default_na=False)]


HIDES_PYARROW = """
import sys, pytest
class Finder:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Finder())
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_csv_files_mean_the_same_without_pyarrow():
    """The laws of CSV files hold in a process where nothing can import it, pandas included."""
    laws = "one_meaning or (frame_that_was_written and not parquet) or transform_of_chunks"
    laws += " or pointed_out or NA_for_a_label"
    arguments = [__file__, "-q", "-n0", "-p", "no:cacheprovider", "-k", laws]
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", HIDES_PYARROW, *arguments], cwd=root)
    assert done.returncode == 0


def test_parquet_holds_the_frame_that_was_written(tmp_path):
    """As pandas reads it, without the frame's index, though another than 0, 1, ... is a column."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    frame = mixed().sample(frac=1, random_state=0).assign(seen=pd.Timestamp("2001-02-03"))
    frame.to_parquet(tmp_path / "table.pq")
    X_chunks, y_chunks = zip(*Table(tmp_path / "table.pq", "tree", rows=40), strict=True)
    found = pd.concat(X_chunks, ignore_index=True)
    found = found.assign(tree=pd.concat(y_chunks, ignore_index=True))
    whole = pd.read_parquet(tmp_path / "table.pq")
    assert whole.index.tolist() == frame.index.tolist() != sorted(frame.index)
    pd.testing.assert_frame_equal(found[whole.columns], whole.reset_index(drop=True))
    assert max(len(chunk) for chunk in X_chunks) <= 40


# ---- Which files, in which order ----------------------------------------------------------------


def test_files_are_read_in_the_order_given_and_those_of_a_pattern_sorted(tmp_path):
    """Lists, patterns, a folder with what else is in it, and names that look like patterns."""
    for name in ("b", "a", "c"):
        pd.DataFrame({"f": [1, 2], "t": name}).to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "readme.md").write_text("none of it")
    (tmp_path / "deep").mkdir()
    pd.DataFrame({"t": ["d"], "f": 3}).to_csv(tmp_path / "deep" / "[d].csv", index=False)

    def labels_of(paths):
        return "".join(label for _, chunk in Table(paths, "t") for label in chunk)

    assert labels_of([tmp_path / "c.csv", str(tmp_path / "a.csv")]) == "ccaa"
    assert labels_of(tmp_path / "*.csv") == labels_of(f"{tmp_path}/*") == "aabbcc"
    assert labels_of([f"{tmp_path}/[b-c].csv", tmp_path / "a.csv"]) == "bbccaa"
    assert labels_of(tmp_path) == labels_of(f"{tmp_path}/**/*.csv") == "aabbccd"
    assert labels_of(tmp_path / "deep" / "[d].csv") == "d"
    assert labels_of(iter(tmp_path.glob("deep/*"))) == "d"


def test_files_that_a_table_cannot_read_are_refused_when_it_is_made(tmp_path):
    """None there, suffixes unknown or of both kinds: the error names paths and the suffixes."""
    for name in ("a.csv", "a.parquet", "a.json"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    for paths, error, says in (
        ("no.csv", FileNotFoundError, "paths.*no.csv.*[.]tsv.*[.]parquet"),
        ("no*.csv", FileNotFoundError, "paths.*no.*[.]tsv"),
        (["a.csv", "no.csv"], FileNotFoundError, "paths.*no.csv"),
        ("a.json", ValueError, "paths.*a.json.*[.]tsv.*[.]parquet"),
        ("empty", ValueError, "paths.*empty.*[.]tsv"),
        (["a.csv", "a.parquet"], ValueError, "paths=.*not both"),
        ([], ValueError, "paths=.*CSV"),
    ):
        whole = [tmp_path / path for path in paths] if isinstance(paths, list) else tmp_path / paths
        with pytest.raises(error, match=says):
            Table(whole, "tree")
    with pytest.raises(ValueError, match="paths=None.*CSV"):
        Table(None, "tree")


def save(frame, kind, path):
    frame.to_parquet(path) if kind is parquet else frame.to_csv(path, index=False)


@TABLES
def test_files_have_the_same_columns_in_any_order(tmp_path, kind):
    """Other columns are refused, with the file and the columns; another order changes nothing."""
    first, other = kind(tmp_path, target="tree"), tmp_path / f"other.{kind.__name__}"
    save(table()[table().columns[::-1]], kind, other)
    source = Table([first.paths, other], "tree", columns=["b", "a"], rows=70)
    twice = pd.concat([table(), table()])
    same(source, twice[["b", "a"]], twice["tree"])
    save(table().rename(columns={"c": "e"}), kind, other)
    with pytest.raises(ValueError, match=rf"other[.]{kind.__name__} .*\['c', 'e'\]"):
        [*Table([first.paths, other], "tree")]


@TABLES
def test_an_empty_table_is_refused_and_an_empty_file_among_others_is_not(tmp_path, kind):
    """The error names paths."""
    source = kind(tmp_path, target="tree")
    empty = tmp_path / f"empty.{kind.__name__}"
    save(table()[:0], kind, empty)
    files = [empty, source.paths, empty]
    same(Table(files, "tree", columns=list("abcd"), rows=60), X, NAMES[y])
    with pytest.raises(ValueError, match="paths=.*empty"):
        [*Table(empty, "tree")]


def test_errors_of_reading_name_the_file(tmp_path):
    """Another encoding, no header, or a transform that fails."""
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    (tmp_path / "two.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    (tmp_path / "nil.csv").touch()

    def fails(frame):
        raise TypeError("no transform")

    for files, options, error in (
        (["one.csv", "two.csv"], {}, UnicodeDecodeError),
        (["nil.csv"], {}, ValueError),
        (["one.csv"], {"transform": fails}, TypeError),
    ):
        with pytest.raises(error) as caught:
            [*Table([tmp_path / file for file in files], "b", **options)]
        note = caught.value.__notes__[0]
        assert note.startswith(f"In {tmp_path / files[-1]}")
        assert error is TypeError or "'sep': ',', 'decimal': '.', 'encoding': 'utf-8'" in note


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_what_is_no_number_is_found_by_file_row_and_column(tmp_path, suffix):
    """Of three files the second has a missing value: its row in that file, not in the chunk."""
    for part in range(3):
        frame = pd.DataFrame({"a": np.arange(40.0), "b": 1.0, "y": np.arange(40) % 2})
        frame.loc[33, "b"] = np.nan if part == 1 else 1
        frame.to_csv(tmp_path / f"X{part}.csv", index=False)
        frame.to_parquet(tmp_path / f"X{part}.parquet")
        np.save(tmp_path / f"X{part}.npy", frame[["a", "b"]])
        np.save(tmp_path / f"y{part}.npy", frame["y"])
    files = [tmp_path / f"X{part}{suffix}" for part in range(3)]
    if suffix == ".npy":
        source = Arrays(files, [tmp_path / f"y{part}.npy" for part in range(3)], rows=10)
        place = r"column 1 \(nan in row 3; 1 of 10"  # of the chunk, whose rows are in the note
    else:
        source = Table(files, "y", columns=["a", "b"], rows=10)
        place = r"column 'b' \(nan at index 33; 1 of 10"
    with pytest.raises(ValueError, match=place) as caught:
        SoftmaxRegression().fit_chunks(source)
    assert (
        f"chunk 7 of `chunks` (the first one is 0), rows 30 to 39 of {files[1]}"
        in (caught.value.__notes__[0])
    )


def test_whether_na_is_missing_is_true_or_false(tmp_path):
    """A word, which pandas takes for True, is refused."""
    with pytest.raises(ValueError, match="keep_default_na='no' must be True or False"):
        Table(tmp_path / "any.csv", "y", keep_default_na="no")


# ---- Transforms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [True, False])
def test_a_transform_of_chunks_is_that_of_the_whole(tmp_path, sparse):
    """A fitted ColumnTransformer gives the fit of the transformed frame; no chunk has all types."""
    frame = mixed().assign(code=["7", "8", "x"] * 50).sort_values("code")
    frame.to_csv(tmp_path / "table.csv", index=False)
    whole, features = pd.read_csv(tmp_path / "table.csv"), ["price", "count", "city", "code"]
    encoder = OneHotEncoder(sparse_output=sparse)
    columns = make_column_transformer(
        (StandardScaler(), ["price", "count"]),
        (encoder, ["city", "code"]),
        sparse_threshold=float(sparse),
    ).fit(whole[features])
    source = Table(
        tmp_path / "table.csv", "tree", columns=features, rows=40, transform=columns.transform
    )
    transformed = columns.transform(whole[features])
    assert sp.issparse(transformed) == sparse == sp.issparse(next(iter(source))[0])
    assert_same_fit(
        SoftmaxRegression().fit_chunks(source), SoftmaxRegression().fit(transformed, whole["tree"])
    )


def test_a_transformer_in_place_of_its_method_is_refused(tmp_path):
    """The error says what to pass, before any file is read."""
    (tmp_path / "table.csv").touch()
    with pytest.raises(TypeError, match="StandardScaler.*method `transform`"):
        Table(tmp_path / "table.csv", "tree", transform=StandardScaler())


# ---- Passes -------------------------------------------------------------------------------------


@TABLES
def test_a_pass_reads_each_file_once(tmp_path, kind, monkeypatch):
    """And a copy of a source, in another process say, is the same source."""
    source = kind(tmp_path, target="tree", rows=40)
    before = [*source]
    reads, frames = [], Table._frames

    def counted(self, file, *arguments):
        reads.append(file)
        return frames(self, file, *arguments)

    monkeypatch.setattr(Table, "_frames", counted)
    for one in (source, pickle.loads(pickle.dumps(source))):
        reads.clear()
        for chunk, old in zip(one, before, strict=True):
            pd.testing.assert_frame_equal(chunk[0], old[0])
        assert sorted(reads) == sorted(set(reads)) and len(reads) == (2 if kind is parquet else 1)


def test_a_table_holds_one_chunk_of_a_file_in_memory(tmp_path):
    """A file of many chunks is not decompressed or read as a whole."""
    line = ",".join(["0.25"] * 20) + "\n"
    with gzip.open(tmp_path / "table.csv.gz", "wt", compresslevel=1) as file:
        file.write(",".join(f"f{i}" for i in range(20)) + "\n")
        for _ in range(20):
            file.write(line * 1000)
    source = Table(tmp_path / "table.csv.gz", "f0", rows=500)
    tracemalloc.start()
    n_rows = sum(len(labels) for _, labels in source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 20_000
    assert peak < 20_000 * 20 * 8 / 2  # half of the table's doubles


# ---- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["0.npy", Path("0.npy")])
def test_one_path_is_no_list_of_paths(path):
    """A path alone is refused: a text would be read letter by letter."""
    for name, arrays in {"X": (path, ["y"]), "y": (["X"], path)}.items():
        with pytest.raises(ValueError, match=f"{name}=.*list of paths"):
            Arrays(*arrays)


def test_lists_are_arrays_and_numbers_are_not():
    """Lists of rows are sliced like arrays; None and a single number are refused by name."""
    lists = X.tolist(), NAMES[y].tolist(), WEIGHT.tolist()
    assert same(Arrays(*lists, rows=60), X, NAMES[y], WEIGHT) == [60, 60, 30]
    for name, arrays in {"y": (X, None), "X": (None, y), "sample_weight": (X, y, 1.0)}.items():
        with pytest.raises(ValueError, match=f"{name}=.*array"):
            Arrays(*arrays)


def test_a_copy_on_write_is_read_as_it_is_in_memory(tmp_path):
    """What was changed of a memory map of mode "c" is not in its file."""
    np.save(tmp_path / "X.npy", X)
    changed = np.load(tmp_path / "X.npy", mmap_mode="c")
    changed[::2] += 1
    assert same(Arrays(changed, y, rows=60), X + (np.arange(150) % 2 == 0)[:, None], y)


@pytest.mark.parametrize("rows", [0, -3, 2.5, "many", True])
def test_a_chunk_has_at_least_one_row(rows):
    """Every source refuses other numbers of rows, by name and value, when it is made."""
    for source in (
        lambda: Arrays(X, y, rows=rows),
        lambda: Arrays([], [], rows=rows),
        lambda: Table("table.csv", "tree", rows=rows),
    ):
        with pytest.raises(ValueError, match=f"rows={rows!r}.*>= 1"):
            source()


def test_arrays_of_different_lengths_are_refused():
    """When the source is made."""
    with pytest.raises(ValueError, match="150, 7"):
        Arrays(X, y[:7])


def test_parquet_without_pyarrow_names_the_extra(monkeypatch, tmp_path):
    """Its command installs what the extra requires, from a checkout or an index alike."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    (requirement,) = project["project"]["optional-dependencies"]["parquet"]
    (tmp_path / "table.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"softreg\[parquet\]") as caught:
        SoftmaxRegression().fit_chunks(Table(tmp_path / "table.parquet", "tree"))
    assert str(caught.value).endswith(f'python -m pip install "{requirement}".')
