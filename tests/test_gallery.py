"""The gallery of gradient checks: each layer right, each mistake found and named as its README says."""

import ast
import re
import runpy
from pathlib import Path

import pytest

GALLERY = Path(__file__).parent.parent / "examples" / "gradcheck"
ROW = re.compile(r"^\| \[(\w+)\.py\]\(\w+\.py\) \|.*\| (your .*) \|$", re.MULTILINE)
ROWS = dict(ROW.findall((GALLERY / "README.md").read_text()))
PROGRAMS = sorted(path.stem for path in GALLERY.glob("*.py"))
every_program = pytest.mark.parametrize("name", PROGRAMS)


def test_the_table_has_every_program():
    assert sorted(ROWS) == PROGRAMS
    assert len(PROGRAMS) == 10


@every_program
def test_the_right_layer_is_ok_and_the_mistake_is_named(name, capsys):
    runpy.run_path(str(GALLERY / f"{name}.py"), run_name="__main__")
    right, wrong = capsys.readouterr().out.split("gradient check of ")[1:]
    assert "\nok: largest relative error" in right
    assert "\nWRONG: " in wrong
    assert ROWS[name] in wrong.splitlines()


@every_program
def test_a_program_is_short_and_begins_with_what_it_shows(name):
    source = (GALLERY / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 55
    assert f"python examples/gradcheck/{name}.py" in ast.get_docstring(ast.parse(source))
