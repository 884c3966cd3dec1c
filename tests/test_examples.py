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
    command = [sys.executable, "-W", "error", *map(str, arguments)]
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
    assert {"admissions.py", "softmax_by_hand.py"} <= set(EXAMPLES)
