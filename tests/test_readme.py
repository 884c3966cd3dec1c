"""What the documents show runs as shown, and each of their code blocks stands on its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL_AND_SHOW = "python -m pip install . && python examples/admissions.py"
INSTALL_AND_TEST = 'python -m pip install ".[test]" && python -m pytest'


def blocks():
    """Return every Python block of the documents, named after the line on which it starts."""
    found = []
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            first_line = text.count("\n", 0, match.start(1)) + 1
            name = f"{document}:{first_line}"
            found.append(pytest.param(document, first_line, match[1], id=name))
    return found


@pytest.mark.parametrize(("document", "first_line", "code"), blocks())
def test_a_block_runs_by_itself(document, first_line, code, monkeypatch):
    """A reader can paste any one block into a fresh interpreter at the root of the project."""
    monkeypatch.chdir(ROOT)
    padding = "\n" * (first_line - 1)  # so that a traceback names the document's own line
    exec(compile(padding + code, ROOT / document, "exec"), {"__name__": "__main__"})


def test_every_python_fence_is_found():
    """No block escapes the test above by an unusual fence, and the README has some."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(FENCE.findall(text)) == len(re.findall(r"```+ *py", text)) > 0


@pytest.mark.parametrize("command", [INSTALL_AND_SHOW, INSTALL_AND_TEST])
@pytest.mark.parametrize("document", ["README.md", ".ci/run"])
def test_the_two_commands_of_the_readme_are_those_that_ci_runs(document, command):
    """The README's one-line commands are held by CI, word for word."""
    assert command in (ROOT / document).read_text(encoding="utf-8")
