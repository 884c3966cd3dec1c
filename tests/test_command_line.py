"""`python -m softreg`: what it reads and refuses, the page that it writes, what it predicts."""

import gzip
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import warnings
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg.report import command_line, pictures
from softreg.report.assessment import assess
from softreg.report.columns import as_numbers, columns_of, date_parts
from softreg.report.preparation import Folds, model_of
from softreg.report.saved_model import TRUSTED
from softreg.report.tables import Dialect
from softreg.report.target import target_of

pytest.importorskip("matplotlib")
skops = pytest.importorskip("skops.io")

ROOT = Path(__file__).parents[1]
# pyparsing takes "error" for a wish to hear of grammars like that of matplotlib 3.8.
pytestmark = pytest.mark.filterwarnings("ignore:::pyparsing")
N = 60
SIZE, CLASSES = "a<b> & 'größe'", ["<i>ja</i>", "nein & so"]


def every_kind():
    """A table of N rows with a column of each kind, two balanced classes, and a leak of them."""
    rng = np.random.default_rng(0)
    codes = np.arange(N) % 2
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) * 5, unit="D")
    words = np.array(["red", "green", "blue", "old", "new", "big", "small", "fast"])
    texts = [" ".join(rng.choice(words, 4)) + f",\nno {i}" for i in range(N)]
    number = rng.normal(size=N).round(3)
    frame = pd.DataFrame({"Unnamed: 0": range(N), SIZE: number + codes})
    frame["place"] = rng.choice(["Köln", "Bonn"], N)
    frame["day"] = days.strftime("%d.%m.%Y")
    frame["note"] = texts
    frame["code"] = [f"c{i}" for i in range(N)]
    frame["constant"], frame["nothing"] = 5, np.nan
    frame["leak"] = np.where(codes, "z", "y")
    frame["status"] = np.array(CLASSES)[codes]
    frame.loc[3, SIZE], frame.loc[4, SIZE] = np.nan, np.inf
    return frame


def run(*arguments):
    return command_line.main([str(argument) for argument in arguments])


def written(folder, name, frame, **options):
    path = folder / name
    frame.to_csv(path, index=False, **options)
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of a fit to a table as a German spreadsheet writes it, and what was printed."""
    folder = tmp_path_factory.mktemp("fitted")
    german = {"sep": ";", "decimal": ",", "encoding": "latin-1"}
    table = written(folder, "table.csv", every_kind(), **german)
    options = [text for name, value in german.items() for text in (f"--{name}", value)]
    outputs = ["--report", folder / "page.html", "--save", folder / "model.skops"]
    command = [sys.executable, "-W", "error", "-W", "ignore:::pyparsing", "-m", "softreg", "fit"]
    asked = [table, "--target", "status", "--drop", "code", *options, *outputs]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [*command, *map(str, asked)], env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")  # silent in pipes
    return folder, done.stdout


@pytest.fixture(scope="module")
def page(fitted):
    return (fitted[0] / "page.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps what it saw."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_html_that_every_reader_can_use(read, page):
    """It names its language, title and width; headings come in order; pictures have words."""
    assert page.startswith("<!DOCTYPE html>")
    tags = dict(read.tags)
    assert tags["html"]["lang"] == "en" and "title" in tags
    assert ("meta", {"charset": "utf-8"}) in read.tags
    assert any(attributes.get("name") == "viewport" for tag, attributes in read.tags)
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) == 1
    pictures = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(pictures) == 4 and all(len(picture["alt"]) > 20 for picture in pictures)


def test_the_page_fetches_nothing(read, page):
    """No script, and no address but those of data inside the page."""
    assert not {"script", "iframe", "object"} & {tag for tag, _ in read.tags}
    sources = [a[name] for _, a in read.tags for name in ("src", "href") if name in a]
    assert sources and all(source.startswith("data:") for source in sources)
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", page) and "url(" not in page


def test_names_of_a_table_are_text_on_the_page(read, page):
    """Whatever they hold: they are neither tags nor entities."""
    text = "".join(read.text)
    assert all(name in text for name in (SIZE, *CLASSES))
    assert "<i>" not in page and "<b>" not in page


def test_the_page_says_what_became_of_each_column(read):
    """Kinds, dates, missing and infinite values, ids and constants, and what was dropped."""
    text = "".join(read.text)
    for words in (
        *("Read as CSV in latin-1: semicolons", "decimal commas", "dates as %d.%m.%Y"),
        *("tf-idf", "1 infinite value", "an id, it numbers the rows", "all values are 5"),
        *("all values are missing", "left out by --drop", "a 0/1 column for each of 2 levels"),
        *("the median", "posterior credible intervals", "at random: predictions of the future"),
    ):
        assert words in text, words


def test_frequencies_of_balanced_classes_lose_log_2(read):
    """Each fold learns from equally many rows of both: the null model's loss is log(2), se 0."""
    assert f"{np.log(2):.4f} ± 0.0000" in "".join(read.text)


def test_a_column_made_of_the_target_is_a_suspect_and_separates(fitted):
    """The leak is named with its remedy; the number that is only related to classes is not."""
    _, printed = fitted
    (line,) = [line for line in printed.splitlines() if "alone predicts" in line]
    assert "'leak'" in line and "100.0%" in line and "--drop" in line
    assert "Separation (complete)" in printed


def test_predictions_keep_the_order_and_ids_of_rows(fitted, capsys):
    """Classes and probabilities, from CSV as from Parquet, in any order of rows and columns."""
    folder, _ = fitted
    assert run("predict", folder / "model.skops", folder / "table.csv") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    probabilities = [f"P({name})" for name in CLASSES]
    assert found.columns.tolist() == ["code", "Unnamed: 0", "predicted status", *probabilities]
    assert found["code"].tolist() == every_kind()["code"].tolist()
    assert np.allclose(found[probabilities].sum(axis=1), 1)
    assert (found["predicted status"] == every_kind()["status"]).all()
    pytest.importorskip("pyarrow")
    turned = every_kind().drop(columns=["status", "constant"]).iloc[::-1, ::-1]
    turned.reset_index(drop=True).to_parquet(folder / "new.parquet")
    out = folder / "out.parquet"
    assert run("predict", folder / "model.skops", folder / "new.parquet", "--out", out) == 0
    again = pd.read_parquet(out).iloc[::-1].reset_index(drop=True)
    assert np.allclose(again[probabilities], found[probabilities], rtol=1e-9)


def test_what_a_model_has_not_met_is_said(fitted, capsys):
    """New levels, and cells that are no numbers or dates, are counted on stderr."""
    folder, _ = fitted
    new = every_kind().drop(columns="status").head(3).astype(object)
    new["place"], new["day"], new[SIZE] = "Paris", "2024/05/01", "many"
    table = written(folder, "new.csv", new, sep=";", decimal=",", encoding="latin-1")
    assert run("predict", folder / "model.skops", table) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    counts = [line.rpartition(": ")[2] for line in err.splitlines()]
    assert sorted(counts) == sorted(f"3 values of {name!r}." for name in (SIZE, "place", "day"))
    short = written(folder, "short.csv", new.drop(columns="place"), sep=";", encoding="latin-1")
    assert run("predict", folder / "model.skops", short) == 2
    assert "has no column 'place'" in capsys.readouterr().err


def test_a_model_with_other_types_is_not_loaded(tmp_path, capsys):
    """A file is refused by the names of what is in it; so is one that is none."""
    path = tmp_path / "evil.skops"
    skops.dump({"run": os.system}, path)
    (tmp_path / "text.skops").write_text("hello", encoding="utf-8")
    skops.dump({"a": 1}, tmp_path / "other.skops")
    for name, words in {
        "evil.skops": "system'], which models of softreg do not",
        "text.skops": "no model",
        "other.skops": "no model",
    }.items():
        assert run("predict", tmp_path / name, path) == 2
        out, err = capsys.readouterr()
        assert words in err and not out and err.count("\n") == 1


def test_labels_are_reported_and_predicted_each(tmp_path, capsys):
    """A label's probability and 0/1; an empty cell has none; a rare one is left out; C is given."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    labels = [["up"] * int(v > 0) + ["odd"] * (i % 2) for i, v in enumerate(x)]
    tags = [";".join(cell) for cell in labels]
    tags[0] += ";once"
    table = written(tmp_path, "tags.csv", pd.DataFrame({"x": x, "tags": tags}))
    page, model = tmp_path / "page.html", tmp_path / "model.skops"
    asked = ["--target", "tags", "--labels-sep", ";", "--C", "2"]
    assert run("fit", table, *asked, "--report", page, "--save", model) == 0
    out = capsys.readouterr().out
    n_empty = sum(not cell for cell in labels[1:])
    assert f"Without any of the labels: {n_empty} rows with an empty 'tags'." in out
    assert "Left out" in out and "'once'" in out and "C = 2)" in out
    assert "has it, predicted" in page.read_text(encoding="utf-8")
    assert run("predict", model, table) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    for label in ("odd", "up"):
        assert (found[f"predicted {label}"] == (found[f"P({label})"] > 0.5)).all()
    assert ((x > 0.5) <= found["predicted up"]).all()


def simple(**columns):
    return pd.DataFrame({"x": np.arange(30) % 7, "y": np.arange(30) % 2} | columns)


COUNTED = np.arange(30)
BAD = {
    "no such column": (simple(), ["--target", "yy"], "Did you mean 'y'?"),
    "no column to drop": (simple(), ["--target", "y", "--drop", "z"], "--drop"),
    "one class": (simple(y="a"), ["--target", "y"], "one class only"),
    "all missing": (simple(y=None), ["--target", "y"], "missing in all 30 rows"),
    "continuous": (simple(y=COUNTED / 7), ["--target", "y"], "looks continuous"),
    "ids": (simple(y=[f"i{i}" for i in COUNTED]), ["--target", "y"], "30 different values"),
    "dates": (simple(y=[f"2024-05-{1 + i:02d}" for i in COUNTED]), ["--target", "y"], "dates"),
    "rare classes": (simple().head(4), ["--target", "y"], "3 rows or more"),
    "no rows": (simple().head(0), ["--target", "y"], "no rows"),
    "wrong separator": (simple(), ["--target", "y", "--sep", ";"], "try --sep ','"),
    "nothing to predict from": (simple()[["y"]], ["--target", "y"], "no columns"),
    "only constants": (simple(x=1), ["--target", "y"], "all values are 1"),
    "strength": (simple(), ["--target", "y", "--C", "-1"], "--C -1"),
    "folder": (simple(), ["--target", "y", "--report", "no/where.html"], "no folder"),
    "output is a folder": (simple(), ["--target", "y", "--report", "."], "is a folder"),
    "output is the table": (
        simple(),
        ["--target", "y", "--save", "table.csv"],
        "is read or written",
    ),
    "labels": (simple(y="a;b"), ["--target", "y", "--labels-sep", ";"], "no label"),
    "one label": (
        simple(y=["a", ""] * 15),
        ["--target", "y", "--labels-sep", ";"],
        "one label only",
    ),
    "no text between labels": (simple(), ["--target", "y", "--labels-sep", ""], "--labels-sep"),
    "long separator": (simple(), ["--target", "y", "--sep", "[("], "one character"),
    "decimal commas": (simple(x=[f"{i},5" for i in range(30)]), ["--target", "y"], "--decimal ','"),
    "name of a part of dates": (
        simple(**{"d": ["2024-05-01", "2024-06-02"] * 15, "d: month": COUNTED % 7}),
        ["--target", "y"],
        "rename it",
    ),
}


@pytest.mark.parametrize(("frame", "asked", "words"), BAD.values(), ids=[*BAD])
def test_a_bad_table_gets_one_sentence(frame, asked, words, tmp_path, monkeypatch, capsys):
    """Exit code 2, one line on stderr that names what is wrong, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    assert run("fit", written(tmp_path, "table.csv", frame), *asked) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""


FILES = {
    "no file": (None, [], "no file"),
    "empty": (b"", [], "is empty"),
    "encoding": ("größe,y\n1,2\n".encode("latin-1"), [], "--encoding latin-1"),
    "utf-16": ("größe,y\n1,2\n".encode("utf-16"), [], "--encoding utf-16"),
    "unknown encoding": (b"x,y\n1,2\n", ["--encoding", "utf-9"], "utf-9"),
    "workbook": (b"PK\x03\x04", [], "save it as CSV"),
    "utf-16 without its mark": ("x,y\n1,2\n".encode("utf-16-le"), [], "--encoding utf-16"),
    "PDF": (b"%PDF-1.4\n\xe2\xe3\n", [], "a PDF"),
    "old workbook": (b"\xd0\xcf\x11\xe0" + bytes(99), [], "a workbook"),
    "Parquet": (b"PAR1" + bytes(99), [], "name end in .parquet"),
    "compressed": (gzip.compress(b"x,y\n1,2\n"), [], "name end in .gz"),
    "ragged": (b"x,y\n1,2\n1,2,3,4,5\n", [], "line 3"),
    "levels": ("x,y\n" + "".join(f"1,k{i // 3}\n" for i in range(30_000)), [], "10,000 different"),
}


@pytest.mark.parametrize(("content", "asked", "words"), FILES.values(), ids=[*FILES])
def test_a_bad_file_gets_one_sentence(content, asked, words, tmp_path, capsys):
    """Exit code 2, one line on stderr that names what is wrong, nothing on stdout."""
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert run("fit", path, "--target", "y", *asked) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize("name", ["table.csv.gz", "table.csv.zip", "table.tar", "table.parquet"])
def test_a_damaged_file_gets_one_sentence(name, tmp_path, capsys):
    """Whatever its reader raises."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(gzip.compress(every_kind().to_csv().encode())[:500])
    assert run("fit", tmp_path / name, "--target", "status") == 2
    out, err = capsys.readouterr()
    assert "cannot be read" in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize("damage", ["schema.json", "emptied", "half", "unfitted", "untyped"])
def test_a_damaged_model_gets_one_sentence(damage, fitted, tmp_path, capsys):
    """A file of skops that lacks something, or is no whole model."""
    folder, _ = fitted
    path = tmp_path / "model.skops"
    model = skops.load(folder / "model.skops", trusted=TRUSTED)
    parts = {
        "half": model[:1],
        "unfitted": clone(model),
        "untyped": Pipeline([("typed", "passthrough"), *model.steps[1:]]),
    }
    if damage in parts:
        skops.dump(parts[damage], path)
    else:
        with ZipFile(path, "w") as file:
            file.writestr(damage, '{"protocol": 999}')
    assert run("predict", path, folder / "table.csv") == 2
    out, err = capsys.readouterr()
    assert "is no model" in err and err.count("\n") == 1 and out == ""


def test_predictions_take_no_others_place(fitted, capsys):
    """Neither that of the table nor that of the model, nor that of a folder."""
    folder, _ = fitted
    files = [folder / "model.skops", folder / "table.csv"]
    before = [file.read_bytes() for file in files]
    for out in [*files, folder, folder / "no" / "where.csv"]:
        assert run("predict", *files, "--out", out) == 2
        assert str(out) in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


def test_warnings_of_the_fit_are_findings(tmp_path, capsys):
    """Of separated classes without a penalty: on stdout once, and none on the screen."""
    table = written(tmp_path, "table.csv", simple(y=COUNTED % 7 > 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run("fit", table, "--target", "y", "--C", "inf") == 0
    out, err = capsys.readouterr()
    assert out.count("did not converge: there is no optimum") == 1
    assert not caught and not err


def test_columns_may_be_named_as_what_is_made_of_others(tmp_path):
    """An intercept, an indicator, a level: they are told apart by their place."""
    rng = np.random.default_rng(0)
    level = rng.choice(["a", "b = c"], N)
    names = {"intercept": rng.normal(size=N), "g": level, "g = a": rng.normal(size=N)}
    names |= {"g = b": rng.choice(["c", "d"], N), "w": np.where(level == "a", np.nan, 1)}
    table = written(tmp_path, "table.csv", pd.DataFrame(names | {"y": np.arange(N) % 3}))
    page = tmp_path / "page.html"
    assert run("fit", table, "--target", "y", "--C", "1", "--report", page) == 0
    headings = re.findall('scope="row">([^<]*)<', page.read_text(encoding="utf-8"))
    assert headings.count("intercept") == 3  # the column, its coefficient, and the intercept
    assert headings.count("g = b = c") == 2


def test_ctrl_c_ends_with_130(monkeypatch):
    """As shells count programs that a signal has ended, without a traceback."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "main", interrupted)
    with pytest.raises(SystemExit) as end:
        runpy.run_module("softreg", run_name="__main__")
    assert end.value.code == 130


def test_letters_that_a_terminal_has_not_are_escaped(tmp_path):
    """Of ± in ASCII, on stdout as on stderr."""
    table = written(tmp_path, "table.csv", simple())
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "softreg", "fit", str(table), "--C", "1", "--target"]
    done = subprocess.run([*command, "y"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"") and rb" \xb1 " in done.stdout
    done = subprocess.run([*command, "größe"], env=environment, capture_output=True)
    assert done.returncode == 2 and rb"gr\xf6\xdfe" in done.stderr


@pytest.mark.parametrize(
    ("missing", "asked"), [("matplotlib", "--report"), ("skops", "--save"), ("pyarrow", "parquet")]
)
def test_a_missing_extra_is_named(missing, asked, tmp_path, monkeypatch, capsys):
    """Before any work, and only where it is needed."""
    loaded = [name for name in sys.modules if name.startswith(f"{missing}.")]
    for name in [missing, *loaded]:
        monkeypatch.setitem(sys.modules, name, None)
    if missing == "pyarrow":
        table = tmp_path / "table.parquet"
        table.write_bytes(b"PAR1")
        assert run("fit", table, "--target", "y") == 2
    else:
        table = written(tmp_path, "table.csv", simple())
        assert run("fit", table, "--target", "y", asked, tmp_path / "out") == 2
    out, err = capsys.readouterr()
    assert f'"{missing}>=' in err and "softreg[report]" in err and err.count("\n") == 1
    assert out == ""


def test_progress_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    """Steps on one line of stderr, which is erased; no file is written; noise is no leak."""
    table = written(tmp_path, "table.csv", simple().head(14))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run("fit", table, "--target", "y", "--C", "1") == 0
    out, err = capsys.readouterr()
    assert "fold 5 of 5" in err and "\n" not in err and err.endswith("\r\x1b[K")
    assert "hardly better than the frequencies" in out and "alone predicts" not in out
    assert [*tmp_path.iterdir()] == [table]


def test_import_softreg_loads_nothing_of_the_report():
    """Nor any package of the extra."""
    code = (
        "import sys, softreg, softreg.inference\n"
        "extra = {'matplotlib', 'skops', 'pyarrow', 'softreg.report'}\n"
        "print(sorted(extra & sys.modules.keys()))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    loaded = done.stdout.decode().strip()
    assert loaded in ("[]", "['pyarrow']")  # pandas 2 and 3 load it where it is installed


def test_columns_are_what_they_look_like():
    """Numbers that are written as text, dates in many formats, categories, texts and ids."""
    days = pd.date_range("2024-01-25", periods=40, freq="29h")
    formats = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%Y%m%d"]
    frame = pd.DataFrame({name: days.strftime(name) for name in formats})
    frame["half"] = ["1.5", " 2"] * 20
    frame["few words"] = [f"w{i % 3}" for i in range(40)]
    frame["texts"] = [f"the {i} of a long story" for i in range(40)]
    frame["ids"] = [f"i{i}" for i in range(40)]
    frame["rows"] = [str(i) for i in range(40)]
    frame["tiny"] = [f"{i}e-300" for i in range(40)]
    frame["strange"] = ["?", *map(str, range(1, 79, 2))]
    found = {column.name: column for column in columns_of(frame.astype(object), ".", ["rows"])}
    kinds = {name: column.kind for name, column in found.items()}
    assert kinds == dict.fromkeys(formats, "date") | {
        "half": "number",
        "few words": "category",
        "texts": "free text",
        "ids": "id",
        "rows": "category",  # by wish; else they number the rows
        "tiny": "constant",
        "strange": "number",
    }
    assert found["strange"].n_missing == 1 and "'?'" in found["strange"].warnings[0]
    assert [*found["%Y-%m-%d %H:%M:%S"].parts] == ["day number", "hour", "month", "weekday"]
    assert found["%Y%m%d"].parts["month"] == ["01", "02", "03"]


def test_texts_of_the_same_words_are_no_free_text():
    """tf-idf would not tell them apart: another order of words is another level, or an id."""
    rng = np.random.default_rng(0)
    words = [" ".join(rng.permutation(list("abcdef"))) for _ in range(60)]
    (column,) = columns_of(pd.DataFrame({"t": words}), ".", [])
    assert column.kind == "id"


def test_few_texts_among_missing_ones_are_levels():
    """Were they all held out, there would be no words to learn from."""
    (column,) = columns_of(pd.DataFrame({"t": ["some words here", *[None] * 11]}), ".", [])
    assert column.kind == "category" and column.levels == ["some words here", "(missing)"]


def test_levels_named_like_those_of_the_report_are_those():
    """(missing) is missing, and (other) any other."""
    levels = [*[f"l{i}" for i in range(49)] * 2, "(other)", "(missing)", None]
    (column,) = columns_of(pd.DataFrame({"g": levels}), ".", [])
    assert column.levels[-2:] == ["(other)", "(missing)"] and len(set(column.levels)) == 51
    assert column.n_missing == 2


def test_rare_levels_and_new_ones_share_a_column():
    """Of more than fifty levels the most frequent are kept; all else is one level."""
    frame = pd.DataFrame({"g": [*[f"l{i}" for i in range(50)] * 2, "rare 1", "rare 2"]})
    (column,) = columns_of(frame, ".", [])
    assert column.kind == "category" and len(column.levels) == 51
    target = target_of(pd.Series(["a", "b"] * 51, name="t"), ".", None)
    typed = model_of([column], target, 1.0, [], Dialect())["typed"]
    new = pd.DataFrame({"g": ["l7", "rare 1", "never met"]})
    assert typed.transform(new)["g"].tolist() == ["l7", "(other)", "(other)"]


def test_dates_have_the_calendars_parts():
    """Days since 1970-01-01, a Thursday, and hours with their fraction."""
    parts = date_parts(pd.Series(["1970-01-03 06:30", None]), "t", "ISO8601")
    assert parts.iloc[0].tolist() == [2, 6.5, "01", "Sat"]
    assert parts.iloc[1, :2].isna().all() and parts.iloc[1, 2] == "(missing)"
    far = date_parts(pd.Series(["1970-01-01", "9999-12-31"]), "t", "ISO8601")["t: day number"]
    assert far[0] == 0 and (np.isnan(far[1]) or far[1] == 2_932_896)  # pandas 2 has no such day


def test_decimal_commas_are_numbers():
    """Points then stand between thousands; elsewhere they make no number."""
    text = pd.Series(["1,5", "1.234,5", "1.234.567", "1.5", None])
    expected = [1.5, 1234.5, 1234567, np.nan, np.nan]
    np.testing.assert_array_equal(as_numbers(text, ","), expected)


def test_classes_of_numbers_are_ordered_by_size():
    """1 and 1.0 are one class, and 10 comes after 2."""
    target = target_of(pd.Series(["10", "2", "1", "1.0", None, "2.0", "10"] * 2), ".", None)
    assert target.names == ["1", "2", "10"]
    assert target.y.tolist() == ["10", "2", "1", "1", "2", "10"] * 2
    assert target.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13]


def test_held_out_losses_are_those_of_scikit_learn():
    """At a given C: medians, scales and coefficients of the other rows; frequencies beside it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    frame = pd.DataFrame(X, columns=["u", "v"])
    y = np.array(list("abc"))[(X @ rng.normal(size=(2, 3)) + rng.gumbel(size=(90, 3))).argmax(1)]
    frame.loc[rng.choice(90, 20, replace=False), "u"] = np.nan
    target = target_of(pd.Series(y, name="y"), ".", None)
    model = model_of(columns_of(frame, ".", []), target, 0.7, [], Dialect())
    found = assess(model[1:], model["typed"].transform(frame), target, lambda step: None)
    for fold in range(5):
        train, test = found.fold != fold, found.fold == fold
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        regression = LogisticRegression(C=0.7, tol=1e-10, max_iter=1000)
        other = make_pipeline(imputer, StandardScaler(), regression)
        P = other.fit(frame[train], y[train]).predict_proba(frame[test])
        shares = np.tile([(y[train] == name).mean() for name in "abc"], (test.sum(), 1))
        expected = [log_loss(y[test], Q, labels=list("abc")) for Q in (P, shares)]
        losses = [found.loss[fold, 0], found.null_loss[fold, 0]]
        np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize("labels", [False, True])
def test_folds_share_out_every_class(labels):
    """Each row is held out once, and folds differ by at most one row of a class."""
    codes = np.repeat([0, 1, 2], [3, 50, 11])
    y = np.eye(3)[codes] if labels else codes
    held_out = [test for _, test in Folds(5).split(None, y)]
    assert sorted(np.concatenate(held_out)) == list(range(64))
    counts = np.array([np.bincount(codes[test], minlength=3) for test in held_out])
    assert np.ptp(counts, axis=0).max() <= 1


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# A window of Chromium is 500 pixels wide or more: the page is looked at in a frame.
WIDTH = "<script>parent.document.title = 'wide ' + document.documentElement.scrollWidth</script>"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_opens_the_page(width, page, tmp_path):
    """Nothing on the console, and the page is no wider than its frame."""
    path = tmp_path / "page.html"
    frame = f'<iframe width="{width}" height="900" srcdoc="{escape(page + WIDTH)}"></iframe>'
    path.write_text(f"<!DOCTYPE html><title>none</title>{frame}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    options += ["--window-size=1500,900", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert int(re.search(r"<title>wide (\d+)", done.stdout)[1]) <= width
    assert "CONSOLE" not in done.stderr


def test_pictures_hold_the_letters_of_names():
    """Also those that matplotlib's font lacks, and no formula; a class that is never predicted."""
    names = ["日本 😀", "b$x_1$", "⠿ & <c>"]
    target = target_of(pd.Series(names * 4), ".", None)
    drawn = pictures.confusion_matrix(target, np.zeros(12, dtype=int))
    text = "".join(ElementTree.fromstring(drawn).itertext())
    assert all(name in text for name in names)
