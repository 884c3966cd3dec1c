"""What the documents show runs as shown, and each of their code blocks stands on its own."""

import re
from pathlib import Path

import pytest
import scipy
from sklearn.utils.fixes import parse_version

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"\n*```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEWER_SCIPY = {"docs/guide/devices.md"}
GO_ON = {"docs/start.md"}  # its blocks go on from one another, as it says
INSTALL_AND_SHOW = "python -m pip install . && python examples/admissions.py"
INSTALL_AND_TEST = 'python -m pip install ".[test]" && python -m pytest'
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *PAGES]
LOCAL_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def blocks():
    """Return the Python blocks of the documents: the line, the code, and what stands as printed.

    In a list each, named after its line; those of a document that goes on are one list.
    """
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        of_document = []
        for match in FENCE.finditer(text):
            printed = PRINTED.match(text, match.end())
            first_line = text.count("\n", 0, match.start(1)) + 1
            of_document.append((first_line, match[1], printed and printed[1]))
        together = [of_document] if document in GO_ON else [[block] for block in of_document]
        found += [pytest.param(document, part, id=f"{document}:{part[0][0]}") for part in together]
    return found


@pytest.mark.parametrize(("document", "part"), blocks())
def test_a_block_runs_by_itself_and_prints_what_stands_below_it(
    document, part, monkeypatch, capsys
):
    """A reader can paste any one block into a fresh interpreter at the root of the project."""
    if document in NEWER_SCIPY and parse_version(scipy.__version__) < parse_version("1.14"):
        pytest.skip("scikit-learn dispatches arrays with SciPy 1.14 and newer")
    monkeypatch.setenv("SCIPY_ARRAY_API", "0")  # what a block sets goes with it
    monkeypatch.chdir(ROOT)
    names = {"__name__": "__main__"}
    for first_line, code, expected in part:
        padding = "\n" * (first_line - 1)  # so that a traceback names the document's own line
        exec(compile(padding + code, ROOT / document, "exec"), names)
        printed = capsys.readouterr().out
        assert expected is None or printed.split() == expected.split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_fence_is_found(document):
    """No block escapes the test above by an unusual fence."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert len(FENCE.findall(text)) == len(re.findall(r"(```+|~~~+) *\{?(code-block\} )?py", text))


@pytest.mark.parametrize("place", ["README.md", "docs/guide/"])
def test_there_are_blocks_to_run(place):
    """The test of the blocks sees some in the README and in the guide."""
    assert any(block.id.startswith(place) for block in blocks())


def source(path):
    """Return the file that a link leads to; pages of the gallery are made of the examples."""
    path = path.resolve()
    if path.parent != ROOT / "docs" / "gallery":
        return path
    return ROOT / "examples" / ("GALLERY_HEADER.rst" if path.stem == "index" else f"{path.stem}.py")


@pytest.mark.parametrize("document", ["README.md", *PAGES])
def test_a_local_link_leads_to_a_file(document):
    """Links of the README and the pages to other files of the project are not broken."""
    path = ROOT / document
    links = LOCAL_LINK.findall(path.read_text(encoding="utf-8"))
    assert [link for link in links if not source(path.parent / link).exists()] == []


@pytest.mark.parametrize("command", [INSTALL_AND_SHOW, INSTALL_AND_TEST])
@pytest.mark.parametrize("document", ["README.md", ".ci/run"])
def test_the_two_commands_of_the_readme_are_those_that_ci_runs(document, command):
    """The README's one-line commands are held by CI, word for word."""
    assert command in (ROOT / document).read_text(encoding="utf-8")
