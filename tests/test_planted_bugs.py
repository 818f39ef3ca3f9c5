"""Who checks the checks? Each planted bug must be caught, and the package itself must pass them all."""

import dataclasses
import importlib

import links
import pytest
from planted import BEGIN, BUGS, END, MODULES, README, SOURCE, is_caught, spoil, spoiled


def real(tier):
    return links.Package({name: importlib.import_module(f"minicnn.engine.{name}") for name in MODULES}, tier)


@pytest.mark.parametrize("tier", ["reference", "kernels"])
@pytest.mark.parametrize("check", links.CHECKS)
def test_the_package_without_bugs_passes(check, tier):
    links.CHECKS[check](real(tier))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.file}: {bug.what}")
def test_a_planted_bug_is_caught(bug):
    assert is_caught(bug, bug.caught_by)


def test_there_are_enough_and_all_are_different():
    assert len(BUGS) >= 30
    assert len({(bug.file, bug.what) for bug in BUGS}) == len(BUGS)
    for file in {bug.file for bug in BUGS}:
        text = (SOURCE / file).read_text()
        texts = [spoil(bug, text) for bug in BUGS if bug.file == file]
        assert len({text, *texts}) == len(texts) + 1


def test_the_real_package_is_back_after_a_bug():
    import minicnn
    from minicnn.engine import reference

    before = reference.relu_backward
    with spoiled(BUGS[0]) as package:
        assert package.reference is not reference
    assert importlib.import_module("minicnn.engine.reference").relu_backward is before
    assert importlib.import_module("minicnn") is minicnn


def test_text_that_is_gone_is_an_error_and_not_a_bug_that_nobody_caught():
    bug = dataclasses.replace(BUGS[0], changes=(("text that is not there", ""),))
    with pytest.raises(
        AssertionError, match="expected 'text that is not there' once in engine/reference.py, got 0"
    ):
        is_caught(bug, bug.caught_by)


def test_the_matrix_in_the_readme_has_a_row_for_each_bug_and_each_is_caught():
    matrix = README.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in matrix.splitlines() if "|" in line]
    checks, bugs = rows[0][2:], rows[2:-1]
    assert checks == list(links.CHECKS)
    assert [row[:2] for row in bugs] == [[bug.what, bug.file] for bug in BUGS]
    for bug, row in zip(BUGS, bugs, strict=True):
        assert dict(zip(checks, row[2:], strict=True))[bug.caught_by] == "X"
