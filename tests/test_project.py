"""The project's files agree with one another."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

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


def test_the_changelog_speaks_of_this_version():
    """A release has its dated section in CHANGELOG.md."""
    assert f"## {PROJECT['version']} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
