"""What is said of the package in several places agrees: versions, Pythons, dependencies, workflows."""

import re
from pathlib import Path

import pytest

from minicnn import __version__

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest brings this one
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOWER_BOUND = re.compile(r"([\w-]+)>=([\d.]+)")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def whole(version):
    """The version with three numbers at least: 8 and 8.0.0 are the same."""
    return [*version.split("."), "0", "0"][: max(3, version.count(".") + 1)]


def test_the_oldest_versions_are_those_that_the_package_allows():
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    allowed = {
        name: whole(version) for name, version in (LOWER_BOUND.match(line).groups() for line in wanted)
    }
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text_of(".ci/oldest.txt"), re.MULTILINE))
    assert {name: whole(version) for name, version in pinned.items()} == allowed


def test_the_suite_runs_on_every_python_that_the_package_names():
    named = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.fullmatch(r".*Python :: 3\.\d+", c)]
    tested = re.search(r"^ +python: \[(.*)\]$", text_of(".github/workflows/tests.yml"), re.MULTILINE)[1]
    assert re.findall(r"3\.\d+", tested) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path):
    scripts = re.findall(r"run: (\.ci/\w+)", path.read_text(encoding="utf-8"))
    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_uses_no_action_that_can_change(path):
    used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def test_only_the_job_that_uploads_can_ask_for_a_token():
    asking = [path.name for path in WORKFLOWS if "id-token" in path.read_text(encoding="utf-8")]
    build, publish = text_of(".github/workflows/release.yml").split("\n  publish:\n")
    assert asking == ["release.yml"]
    assert "id-token: write" in publish
    assert "id-token" not in build
    assert "secrets." not in build + publish


def test_the_version_is_the_one_to_be_cited_and_has_its_changes_listed():
    assert f"\nversion: {__version__}\n" in text_of("CITATION.cff")
    assert re.search(rf"^## {re.escape(__version__)}\b", text_of("CHANGELOG.md"), re.MULTILINE)


def test_nobody_is_told_to_install_another_project_of_this_name():
    """On PyPI, minicnn is not this project."""
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("notebooks/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]
    told = re.compile(r"pip3? install (-\S+ )*minicnn\b")
    assert [path.name for path in pages if told.search(path.read_text(encoding="utf-8"))] == []
