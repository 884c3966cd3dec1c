"""Every example runs as a user would run it, prints something and warns of nothing."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
# pyparsing takes "error" for a wish to hear of grammars like that of matplotlib 3.8.
pytestmark = pytest.mark.filterwarnings("ignore:::pyparsing")


@pytest.fixture
def run_example(monkeypatch, capfd):
    """Run one example as a script from the root of the project, with warnings as errors.

    Returns what it prints, having seen that it leaves stderr empty.
    """
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(ROOT)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        printed = capfd.readouterr()
        assert printed.err == ""
        return printed.out

    yield run
    pyplot.close("all")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "cross_validation.py"])
def test_example_runs(run_example, name):
    """It ends well, says something, and leaves stderr empty."""
    assert run_example(name).strip()


def test_cross_validation_runs_and_draws_its_pictures(run_example, tmp_path):
    """Scores and coefficients against C become two files, in a folder that need not be there."""
    folder = tmp_path / "new" / "pictures"
    assert run_example("cross_validation.py", "--pictures", folder).strip()
    assert {file.name for file in folder.iterdir()} == {"wine_coefficients.png", "wine_scores.png"}


def test_the_examples_are_there():
    """The test above runs the examples that the documents name."""
    named = {"admissions.py", "cross_validation.py", "softmax_by_hand.py", "streaming.py"}
    assert named | {"wardrobe.py"} <= set(EXAMPLES)


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
