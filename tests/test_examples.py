"""Every example runs as a user would run it, prints something and warns of nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def run_example(*arguments):
    """Run one example from the root of the project, with warnings as errors and no display."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    # pyparsing takes "error" for a wish to hear of grammars like that of matplotlib 3.8.
    warnings = ["-W", "error", "-W", "ignore:::pyparsing"]
    command = [sys.executable, *warnings, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name):
    """It ends well, says something, and leaves stderr empty."""
    done = run_example(f"examples/{name}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


def test_the_examples_are_there():
    """The test above runs the examples that the documents name."""
    named = {"admissions.py", "cross_validation.py", "softmax_by_hand.py", "streaming.py"}
    assert named | {"wardrobe.py"} <= set(EXAMPLES)


def test_cross_validation_draws_its_pictures(tmp_path):
    """Scores and coefficients against C become two files, in a folder that need not be there."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "pictures"
    done = run_example("examples/cross_validation.py", "--pictures", folder)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in folder.iterdir()} == {"wine_coefficients.png", "wine_scores.png"}


@pytest.fixture
def table(tmp_path):
    """A CSV in which `status` is paid for six rows in ten, whatever the other columns say."""
    path = tmp_path / "my table.csv"
    rows = [f"{place},{income},{s}" for place in "ab" for income in (1e3, 9e5) for s in STATUS]
    path.write_text("\n".join(["place,income,status", *rows]), encoding="utf-8")
    return path


STATUS = ["paid"] * 6 + ["late"] * 4


def test_admissions_takes_any_table(table):
    """Where no column says anything, every profile's probabilities are the class frequencies."""
    done = run_example("examples/admissions.py", table, "--target", "status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("40.0%") == done.stdout.count("60.0%") == 3
    assert done.stderr == ""


def test_admissions_names_the_columns_when_the_target_is_none_of_them(table):
    """A user's slip is answered in one line, not by a traceback."""
    done = run_example("examples/admissions.py", table, "--target", "state")
    assert done.returncode != 0
    assert done.stderr.strip().count("\n") == 0
    assert all(name in done.stderr for name in ("'state'", "place", "income", "status"))
