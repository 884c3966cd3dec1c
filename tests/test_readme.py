"""What the documents show runs as shown, and each of their code blocks stands on its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL_AND_SHOW = "python -m pip install . && python examples/admissions.py"
INSTALL_AND_TEST = 'python -m pip install ".[test]" && python -m pytest'
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *PAGES]
LOCAL_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def blocks():
    """Return every Python block of the documents, named after the line on which it starts."""
    found = []
    for document in DOCUMENTS:
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_fence_is_found(document):
    """No block escapes the test above by an unusual fence."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert len(FENCE.findall(text)) == len(re.findall(r"(```+|~~~+) *\{?(code-block\} )?py", text))


@pytest.mark.parametrize("place", ["README.md", "docs/guide/"])
def test_there_are_blocks_to_run(place):
    """The test of the blocks sees some in the README and in the guide."""
    assert any(block.id.startswith(place) for block in blocks())


@pytest.mark.parametrize("document", ["README.md", *PAGES])
def test_a_local_link_leads_to_a_file(document):
    """Links of the README and the pages to other files of the project are not broken."""
    path = ROOT / document
    links = LOCAL_LINK.findall(path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("command", [INSTALL_AND_SHOW, INSTALL_AND_TEST])
@pytest.mark.parametrize("document", ["README.md", ".ci/run"])
def test_the_two_commands_of_the_readme_are_those_that_ci_runs(document, command):
    """The README's one-line commands are held by CI, word for word."""
    assert command in (ROOT / document).read_text(encoding="utf-8")
