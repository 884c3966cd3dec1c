"""Every example runs as a user would run it, prints something and warns of nothing."""

import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
OPTIONAL = ("dask", "distributed", "matplotlib", "pyarrow", "rich")
# pyparsing takes "error" for a wish to hear of grammars like that of matplotlib 3.8.
pytestmark = pytest.mark.filterwarnings("ignore:::pyparsing")


@pytest.fixture
def run_example(monkeypatch, capfd):
    """Run one example as a script from the root of the project, with warnings as errors.

    Returns what it prints, having seen that it leaves stderr empty.
    """
    monkeypatch.chdir(ROOT)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        printed = capfd.readouterr()
        assert printed.err == ""
        return printed.out

    return run


# Runs a script in a process that finds no optional package, pandas included.
PLAIN_INSTALL = f"""
import runpy, sys
class Finder:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Finder())
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def in_plain_install(name, *arguments):
    """The finished process of an example that finds no optional package; warnings are errors."""
    path = str(ROOT / "examples" / name)
    command = [sys.executable, "-W", "error", "-c", PLAIN_INSTALL]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, path, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def pictures():
    """Draw into files, and close all figures."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "cluster.py"])
def test_example_runs_in_a_plain_install(name):
    """It ends well without any optional package, leaves stderr empty, and its model is worth it.

    Its loss stands beside that of frequencies alone, and there is nothing to warn of.
    """
    done = in_plain_install(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "frequencies alone" in done.stdout and "WARNING" not in done.stdout
    if name == "streaming.py":
        first = done.stdout.splitlines()[0]
        assert "no progress bar" in first and "rich" in first


WITH_PICTURE = [
    "digits.py",
    "iris.py",
    "program_choice.py",
    "reliability.py",
    "softmax_by_hand.py",
    "streaming.py",
    "survey.py",
    "topics.py",
    "wardrobe.py",
]


@pytest.mark.parametrize(
    ("name", "option"),
    [("cross_validation.py", "--pictures"), *((name, "--picture") for name in WITH_PICTURE)],
)
def test_pictures_that_cannot_be_drawn_are_refused_before_any_work(name, option):
    """One sentence says what to install; nothing is printed before it."""
    done = in_plain_install(name, option, "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    (message,) = done.stderr.splitlines()
    assert option in message and 'python -m pip install "matplotlib' in message


def test_cluster_needs_dask_and_says_so():
    """One sentence says what to install; nothing is printed before it."""
    done = in_plain_install("cluster.py")
    assert (done.returncode, done.stdout) == (1, "")
    (message,) = done.stderr.splitlines()
    assert 'dask: python -m pip install ".[dask,parquet]"' in message


def test_cluster_ends_where_one_machine_does():
    """Two workers of its own: the same F, and predictions of all rows in files."""
    pytest.importorskip("distributed")
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "cluster.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "frequencies alone" in done.stdout and "WARNING" not in done.stdout
    assert "60,000 predictions were written" in done.stdout
    assert float(done.stdout.rpartition("differs by ")[2].rstrip(".\n")) <= 1e-8


@pytest.mark.parametrize("name", WITH_PICTURE)
def test_an_example_draws_its_picture(run_example, pictures, tmp_path, name):
    """With all packages: into a file, beside what it prints without."""
    assert run_example(name, "--picture", tmp_path / "it.png").endswith(" is in it.png.\n")
    assert (tmp_path / "it.png").stat().st_size > 0


def test_program_choice_prints_the_published_numbers(run_example):
    """The coefficient of write and its error, and its average marginal effect."""
    printed = run_example("program_choice.py")
    assert "-0.05793   0.02141" in printed and "0.01714   0.002877" in printed


def test_cross_validation_runs_and_draws_its_pictures(run_example, pictures, tmp_path):
    """Scores and coefficients against C become two files, in a folder that need not be there."""
    folder = tmp_path / "new" / "pictures"
    assert run_example("cross_validation.py", "--pictures", folder).strip()
    assert {file.name for file in folder.iterdir()} == {"wine_coefficients.png", "wine_scores.png"}


def test_the_examples_are_there():
    """The test above runs the examples that the documents name."""
    named = {"admissions.py", "cross_validation.py", "program_choice.py", "softmax_by_hand.py"}
    assert named | {"cluster.py", "streaming.py", "survey.py", "topics.py", "wardrobe.py"} <= set(
        EXAMPLES
    )


@pytest.mark.parametrize("name", ["digits", "imbalance", "iris", "reliability", "survey", "topics"])
def test_an_example_of_one_comparison_is_short(name):
    """It is read in a minute: fewer than 80 lines."""
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") < 80


@pytest.fixture
def table(tmp_path):
    """A CSV in which `status` is paid for six rows in ten, whatever the other columns say."""
    path = tmp_path / "my table.csv"
    rows = [f"{place},{income},{s}" for place in "ab" for income in (1e3, 9e5) for s in STATUS]
    path.write_text("\n".join(["place,income,status", *rows]), encoding="utf-8")
    return path


STATUS = ["paid"] * 6 + ["late"] * 4


def test_admissions_takes_any_table(run_example, table):
    """Where no column says anything, every profile's probabilities are the class frequencies."""
    printed = run_example("admissions.py", table, "--target", "status")
    assert printed.count("40.0%") == printed.count("60.0%") == 3


def test_admissions_names_the_columns_when_the_target_is_none_of_them(run_example, table):
    """A user's slip is answered in one line, not by a traceback."""
    with pytest.raises(SystemExit) as answer:
        run_example("admissions.py", table, "--target", "state")
    message = answer.value.code
    assert isinstance(message, str) and "\n" not in message.strip()
    assert all(name in message for name in ("'state'", "place", "income", "status"))


def write(path, columns, **options):
    """Write columns of text, by name, as a CSV file."""
    encoding = options.pop("encoding", "utf-8")
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerows([columns, *zip(*columns.values(), strict=True)])
    return path


def noise(n, n_columns, n_classes=2):
    """Columns of zeros and ones that say nothing of the target."""
    random = np.random.default_rng(0)
    columns = {f"q{j}": random.integers(0, 2, n) for j in range(n_columns)}
    return columns | {"status": random.integers(0, n_classes, n)}


@pytest.mark.parametrize("name", ["admissions.py", "streaming.py"])
def test_a_model_that_is_worse_than_class_frequencies_is_called_so(run_example, tmp_path, name):
    """Of noise nothing can be learned: both scores are printed, and a warning."""
    table = write(tmp_path / "noise.csv", noise(80, 60))
    printed = run_example(name, table, "--target", "status")
    assert "class frequencies alone" in printed and "WARNING" in printed


GERMAN = {"sep": ";", "decimal": ",", "encoding": "latin-1"}


@pytest.fixture
def german(tmp_path):
    """A CSV file as a German spreadsheet writes it, with dates, and NA for Namibia."""
    days, places = [f"{1 + i % 3:02d}.05.2024" for i in range(60)], ["Köln", "Bonn"] * 30
    sizes = [f"{i % 7},{i % 10}" for i in range(60)]
    columns = {"Größe": sizes, "Tag": days, "Ort": places, "Land": ["NA", "DE", "FR"] * 20}
    columns["Uhrzeit"] = [f"{i % 4:02d}:30" for i in range(60)]
    return write(tmp_path / "german.csv", columns, delimiter=";", encoding="latin-1")


def dialect(**options):
    return [text for name, value in options.items() for text in (f"--{name}", value)]


def test_admissions_reads_a_german_table(run_example, german):
    """Decimal commas are numbers; days and times are left out and said, not 0/1 columns."""
    printed = run_example("admissions.py", german, "--target", "Ort", *dialect(**GERMAN))
    for name in ("Tag", "Uhrzeit"):
        assert f"Left out: column {name}, dates or times" in printed
        assert f"\n{name} = " not in printed
    assert "\nGröße " in printed and "\nLand = " in printed
    asked = ["--categorical", "Tag"]
    printed = run_example("admissions.py", german, "--target", "Ort", *dialect(**GERMAN), *asked)
    assert "\nTag = 01.05.2024" in printed


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"encoding": "utf-8"}, "--encoding latin-1"),
        ({"encoding": "no-such"}, "--encoding latin-1"),
        ({"sep": "|"}, "--sep ';'"),
        ({"sep": ","}, "--sep ','"),
    ],
)
def test_admissions_says_how_a_table_has_to_be_read(run_example, german, wrong, remedy):
    """One line that names the option."""
    with pytest.raises(SystemExit) as answer:
        run_example("admissions.py", german, "--target", "Ort", *dialect(**GERMAN | wrong))
    assert remedy in answer.value.code and "\n" not in answer.value.code.strip()


def test_admissions_points_at_the_decimal_mark_and_at_labels_that_read_NA(run_example, german):
    """A column with the other mark is left out with the option; so are rows of NA, or kept."""
    options = dialect(sep=";", encoding="latin-1")
    printed = run_example("admissions.py", german, "--target", "Land", *options)
    assert "Left out: column Größe, numbers with --decimal ," in printed
    assert "Left out: 20 rows without Land" in printed and "--keep-na" in printed
    printed = run_example("admissions.py", german, "--target", "Land", *options, "--keep-na")
    assert "20 x NA" in printed and "without Land" not in printed


def test_admissions_shows_three_different_rows(run_example, tmp_path):
    """Where the medians of all classes are equal, rows of the table that differ follow."""
    rare = {"a": [1, 1, 0, 0, 0, 0], "b": [0, 0, 1, 1, 0, 0]}
    columns = {name: values * 10 for name, values in rare.items()} | {"status": [0, 1] * 30}
    table = write(tmp_path / "rare.csv", columns)
    printed = run_example("admissions.py", table, "--target", "status")
    shown = printed.partition("Probability of each")[2].splitlines()[3:6]
    expected = ["typical of all rows", "row 1", "row 3"]
    assert [line[:19].rstrip() for line in shown] == expected


def test_admissions_prints_all_classes(run_example, tmp_path):
    """The confusion matrix of thirty has thirty rows and columns, none hidden behind dots."""
    table = write(tmp_path / "many.csv", noise(300, 2) | {"status": [*range(100, 130)] * 10})
    printed = run_example("admissions.py", table, "--target", "status")
    header, _, *rows = printed.partition("Confusion matrix\n")[2].splitlines()[:32]
    names = [str(name) for name in range(100, 130)]
    assert header.split()[1:] == names == [row.split()[0] for row in rows]
    assert all(len(row.split()) == 31 for row in rows)
