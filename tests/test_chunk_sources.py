"""The sources of softreg.chunks: what they yield, of which files, and how they refuse."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from chunked import NAMES, WEIGHT, X, assert_same_fit, labels, y

from softreg import SigmoidRegression, SoftmaxRegression
from softreg.chunks import Arrays, Csv, NpyFiles, NpzFiles, Parquet


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


def test_files_of_arrays_are_read_in_turn(tmp_path):
    """Pairs of .npy files, cut into chunks, and .npz files, a chunk each."""
    cuts, names = [slice(0, 100), slice(100, 150)], {"X": X, "y": y, "w": WEIGHT}
    paths = {name: [tmp_path / f"{name}{i}.npy" for i in range(2)] for name in names}
    for name, array in names.items():
        for path, cut in zip(paths[name], cuts, strict=True):
            np.save(path, array[cut])
    assert same(NpyFiles(paths["X"], paths["y"]), X, y) == [100, 50]
    assert same(NpyFiles(*paths.values(), rows=60), X, y, WEIGHT) == [60, 40, 50]
    archives = [tmp_path / "0.npz", str(tmp_path / "1.npz")]
    for path, cut in zip(archives, cuts, strict=True):
        np.savez(path, X=X[cut], y=y[cut], w=WEIGHT[cut])
    assert same(NpzFiles(archives), X, y) == [100, 50]
    assert same(NpzFiles(archives, sample_weight="w"), X, y, WEIGHT) == [100, 50]
    assert same(NpyFiles(iter(paths["X"]), iter(paths["y"])), X, y) == [100, 50]
    assert same(NpzFiles(iter(archives)), X, y) == [100, 50]
    with pytest.raises(KeyError, match=r"0\.npz.*labels.*'X', 'y', 'w'"):
        [*NpzFiles(archives, y="labels")]


def table():
    """A table with a column of labels, three of labels' answers and one of weights."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.insert(1, "tree", NAMES[y])
    frame["w"] = WEIGHT
    return frame.join(pd.DataFrame(labels(), columns=list("xyz")))


def csv(folder, **arguments):
    table().to_csv(folder / "table.csv", index=False)
    return Csv(folder / "table.csv", **arguments)


def parquet(folder, **arguments):
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    (folder / "table").mkdir(exist_ok=True)
    for part in range(2):
        table()[75 * part :][:75].to_parquet(folder / "table" / f"{part}.parquet")
    return Parquet(folder / "table", **arguments)


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
    options = {"options": {"usecols": [*features, "tree"]}} if kind is csv else {}
    options = options or {"columns": [*features, "tree"]}
    source = kind(tmp_path, target="tree", rows=40, **options)
    assert_same_fit(
        SoftmaxRegression().fit_chunks(source),
        SoftmaxRegression().fit(frame[features], frame["tree"]),
    )
    options = {"options": {"usecols": [*features, *"xyz"]}} if kind is csv else {}
    options = options or {"columns": [*features, *"xyz"]}
    source = kind(tmp_path, target=["x", "y", "z"], rows=40, **options)
    assert_same_fit(
        SigmoidRegression().fit_chunks(source),
        SigmoidRegression().fit(frame[features], frame[["x", "y", "z"]]),
    )


@TABLES
def test_a_table_without_the_column_names_those_it_has(tmp_path, kind):
    """The error names the missing column and the others, and the chunk through its note."""
    for arguments in ({"target": "shrub"}, {"target": "tree", "sample_weight": "shrub"}):
        with pytest.raises(ValueError, match="shrub.*tree"):
            SoftmaxRegression().fit_chunks(kind(tmp_path, **arguments))


def test_a_table_without_a_header_is_read_by_numbers(tmp_path):
    """The target and the weights are columns' numbers."""
    pd.DataFrame(np.column_stack([X, y, WEIGHT])).to_csv(
        tmp_path / "bare.csv", header=False, index=False
    )
    source = Csv(tmp_path / "bare.csv", 4, sample_weight=5, rows=60, options={"header": None})
    assert same(source, X, y, WEIGHT) == [60, 60, 30]


@TABLES
def test_a_column_has_one_use_and_some_are_features(tmp_path, kind):
    """Target and weight, or two targets, cannot be one column; X has columns of its own."""
    for arguments in ({"target": "w", "sample_weight": "w"}, {"target": ["x", "x"]}):
        with pytest.raises(ValueError, match="target=.*once"):
            kind(tmp_path, **arguments)
    only = {"options": {"usecols": ["tree"]}} if kind is csv else {"columns": ["tree"]}
    with pytest.raises(ValueError, match="no columns but.*tree"):
        SoftmaxRegression().fit_chunks(kind(tmp_path, target="tree", **only))


@pytest.mark.parametrize(
    ("options", "says"),
    [(None, "options=None.*dict"), ("sep=;", "options='sep.*dict"), ({"chunksize": 7}, "rows=7")],
)
def test_options_of_csv_are_a_dict_without_a_size_of_chunks(options, says):
    """Anything else is refused by name; the size is `rows`."""
    with pytest.raises(ValueError, match=says):
        Csv("table.csv", "tree", options=options)


@pytest.mark.parametrize("path", ["0.npz", Path("0.npz"), None, 3])
def test_one_path_is_no_list_of_paths(path):
    """A path alone is refused: a text would be read letter by letter."""
    for name, source in (
        ("X", lambda: NpyFiles(path, ["y"])),
        ("y", lambda: NpyFiles(["X"], path)),
        ("paths", lambda: NpzFiles(path)),
    ):
        with pytest.raises(ValueError, match=f"{name}=.*list of paths"):
            source()


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
def test_a_chunk_has_at_least_one_row(rows, tmp_path):
    """Every source refuses other numbers of rows, by name and value, when it is made."""
    for source in (
        lambda: Arrays(X, y, rows=rows),
        lambda: NpyFiles([], [], rows=rows),
        lambda: Csv("table.csv", "tree", rows=rows),
        lambda: Parquet("table", "tree", rows=rows),
    ):
        with pytest.raises(ValueError, match=f"rows={rows!r}.*>= 1"):
            source()


def test_arrays_of_different_lengths_are_refused():
    """When the source is made; files, when there are not as many of each."""
    with pytest.raises(ValueError, match="150, 7"):
        Arrays(X, y[:7])
    with pytest.raises(ValueError, match="2, 1"):
        NpyFiles(["a", "b"], ["c"])


def test_parquet_without_pyarrow_names_the_extra(monkeypatch):
    """One message says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"softreg\[parquet\]"):
        SoftmaxRegression().fit_chunks(Parquet("table", "tree"))
