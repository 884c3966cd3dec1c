"""The project's files agree with one another."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import softreg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]


def pinned():
    """Return the versions of tests/oldest.txt by package."""
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line.partition("#")[0]) for line in lines if line[0] != "#"]
    return {r.name: Version(str(r.specifier).removeprefix("==")) for r in requirements}


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=str)
def test_the_oldest_declared_version_is_the_one_tested(dependency):
    """The lower bound of a dependency is the version that tests/oldest.txt installs."""
    lower_bound = Version(str(dependency.specifier).removeprefix(">="))
    assert pinned()[dependency.name] == lower_bound


def test_all_files_are_of_this_version():
    """A release has its dated section in CHANGELOG.md, the date in CITATION.cff, and its models."""
    changelog, citation = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff")
    )
    dates = re.findall(rf"^## {PROJECT['version']} - (\S+)$", changelog, re.MULTILINE)
    assert f"version: {PROJECT['version']}\ndate-released: {dates[0]}\n" in citation
    assert (ROOT / "tests" / "data" / f"v{PROJECT['version']}").is_dir()


def own_public_names():
    """Return the public names of all public modules that softreg itself defines."""
    modules = ["softreg"]
    modules += [f"softreg.{m.name}" for m in pkgutil.iter_modules(softreg.__path__)]
    for module in filter(lambda name: "._" not in name, modules):
        public = importlib.import_module(module)
        for name in getattr(public, "__all__", []):
            defined_in = getattr(getattr(public, name), "__module__", None)
            if defined_in and defined_in.partition(".")[0] == "softreg":
                yield f"{module}.{name}"


def test_every_public_name_has_its_page():
    """What softreg exports and defines is listed in the reference under its module."""
    page = (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf-8")
    sections = re.split(r"^\.\. currentmodule:: (\S+)$", page, flags=re.MULTILINE)[1:]
    listed = {
        f"{module}.{name}"
        for module, text in zip(sections[::2], sections[1::2], strict=True)
        for name in re.findall(r"^   (\w+)$", text, re.MULTILINE)
    }
    assert listed == set(own_public_names())
