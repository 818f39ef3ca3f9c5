"""The documentation is true: links lead somewhere, Python blocks run, commands and names exist.

A Python block is run as it stands, after the blocks above it on the same page. A comment before the block can
change that:

    <!-- in tests: 20_000 -> 200 -->    replaces text, so that the block is quick
    <!-- not run: why -->               leaves it out
    <!-- quoted from FILE -->           compares it with the source of the package instead

`.ci/docs` builds the pages; nothing here needs Sphinx.
"""

import argparse
import importlib
import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

import minicnn
from minicnn.cli import build_parser

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDE = [README, *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *GUIDE,
    *sorted(ROOT.glob("[CS]*.md")),
    ROOT / "README.zh-CN.md",
    *(path for room in ("benchmarks", "notebooks", "tests") for path in sorted((ROOT / room).glob("*.md"))),
]
TEST_COMMAND = '    pip install -e ".[test]" && pytest\n'  # .ci/run reads it from here
MOST_LINES = 120

BLOCK = re.compile(r"(?:<!-- (in tests|not run|quoted from):? (.*?) -->\n)?```python\n(.*?)```", re.DOTALL)


def named(path):
    return path.relative_to(ROOT).as_posix()


def text_of(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    """The text without fenced and inline code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def blocks(path):
    """The Python blocks of a page: (what the comment before it asks for, its argument, the code)."""
    return BLOCK.findall(text_of(path))


every_page = pytest.mark.parametrize("path", PAGES, ids=named)
every_guide = pytest.mark.parametrize("path", GUIDE, ids=named)

# --- links ----------------------------------------------------------------------------------------


def anchors(path):
    """The anchors of a page's headings, as code hosts and Sphinx make them."""
    prose = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path, text):
    """The local links of a page's text that lead to no file or to no heading."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"\w+:", link):  # another machine's affair
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@every_page
def test_every_local_link_leads_somewhere(path):
    assert broken_links(path, text_of(path)) == []


@pytest.mark.parametrize("link", ["no-such-file.md", "docs/design.md#no-such-heading", "#no-such-heading"])
def test_a_broken_link_is_noticed(link):
    assert broken_links(README, f"see [this]({link}) and [that](LICENSE)") == [link]


# --- the README -----------------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= MOST_LINES


def test_the_readme_has_the_command_that_tests():
    assert text_of(README).count(TEST_COMMAND) == 1


# --- Python blocks --------------------------------------------------------------------------------


def run_blocks(path, monkeypatch):
    """Run the Python blocks of a page, one after the other, as the lines of one module."""
    page = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)  # so that its classes can be pickled
    for directive, argument, code in blocks(path):
        if directive in ("not run", "quoted from"):
            continue
        if directive == "in tests":
            for change in argument.split("; "):
                old, new = change.split(" -> ")
                assert old in code, f"{named(path)}: no {old!r} to replace"
                code = code.replace(old, new)
        exec(compile(code, named(path), "exec"), page.__dict__)


@pytest.mark.parametrize("path", [path for path in GUIDE if blocks(path)], ids=named)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(path, monkeypatch)


@every_guide
def test_python_blocks_that_are_not_run_say_why(path):
    assert all(argument.strip() for directive, argument, _ in blocks(path) if directive == "not run")
    assert len(blocks(path)) == text_of(path).count("```python")  # none escapes, none is empty


QUOTED = [(path, file, code) for path in GUIDE for how, file, code in blocks(path) if how == "quoted from"]


@pytest.mark.parametrize(("path", "file", "code"), QUOTED, ids=lambda value: getattr(value, "name", None))
def test_quoted_code_is_the_code_that_there_is(path, file, code):
    pieces = [piece for piece in re.split(r"^ *\.\.\.\n", code, flags=re.MULTILINE) if piece.strip()]
    assert pieces
    source = text_of(ROOT / file)
    assert [piece for piece in pieces if piece.strip("\n") not in source] == []


# --- commands, files and names --------------------------------------------------------------------


def parsers():
    """The parser of each command by its name."""
    actions = build_parser()._actions
    return next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))


def commands_in(text):
    """What a page tells the reader to type after `minicnn`: the words of each command."""
    typed = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (.+)$", text, re.MULTILINE)
    typed = [line.split("#")[0].strip() for lines in typed for line in lines.split("&&")]
    starts = re.compile(rf"(?:(?:python -m )?minicnn(?:\s+|$)|(?=(?:{'|'.join(parsers())}) --))(.*)")
    found = (starts.fullmatch(line) for line in typed)
    return [match.group(1).split() for match in found if match]


def unknown_in(words):
    """The first word that is no command, or the options that the command does not have."""
    if not words or words[0].startswith("-"):
        words = ["train", *words]
    if words[0] not in parsers():
        return words[:1]
    known = parsers()[words[0]]._option_string_actions
    return [word for word in words if word.startswith("--") and word not in known and word != "--version"]


@every_page
def test_every_command_exists(path):
    assert [unknown for words in commands_in(text_of(path)) if (unknown := unknown_in(words))] == []


@pytest.mark.parametrize(
    ("text", "words", "unknown"),
    [
        ("`minicnn train --steps 400`", ["train", "--steps", "400"], []),
        ("    pip install . && python -m minicnn --run-dir run", ["--run-dir", "run"], []),
        ("`python -m minicnn`", [], []),
        ("`train --recipe best`", ["train", "--recipe", "best"], []),
        ("`minicnn fly RUN`", ["fly", "RUN"], ["fly"]),
        ("`minicnn evaluate RUN --steps 4`", ["evaluate", "RUN", "--steps", "4"], ["--steps"]),
    ],
)
def test_a_command_is_found_and_judged(text, words, unknown):
    assert commands_in(text) == [words]
    assert unknown_in(words) == unknown


def test_the_page_of_commands_names_every_command():
    words = commands_in(text_of(ROOT / "docs" / "commands.md"))
    assert {command[0] for command in words if command} == set(parsers())


@every_guide
def test_every_file_that_is_named_exists(path):
    places = "benchmarks|docs|examples|minicnn|notebooks|tests|engine|data|checks|runs|storage|cli|kernels"
    files = re.findall(rf"`(?:python )?((?:{places})/[\w./]+\.\w+)", text_of(path))
    roots = [ROOT, ROOT / "minicnn", ROOT / "minicnn" / "engine"]
    missing = [file for file in files if not any((root / file).exists() for root in roots)]
    assert [file for file in missing if "_build" not in file] == []


def test_the_map_of_the_kernels_names_every_file():
    files = {path.name for path in (ROOT / "minicnn" / "engine" / "kernels").glob("[!_]*.py")}
    on_the_map = re.findall(r"`(\w+\.py)`", text_of(ROOT / "docs" / "kernels.md"))
    assert set(on_the_map) == files


def test_the_map_of_the_rooms_names_every_room():
    rooms = {f"{path.parent.name}/" for path in (ROOT / "minicnn").glob("*/__init__.py")} | {"tutorial.py"}
    on_the_map = re.findall(r"^\| \d \| `([\w./]+)`", text_of(ROOT / "docs" / "design.md"), re.MULTILINE)
    assert set(on_the_map) == rooms


def resolves(name):
    """Whether a dotted name is a module of the package, or an attribute of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if importlib.util.find_spec(".".join(parts[:1])) is None:
            return False
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@every_guide
def test_every_name_of_the_package_exists(path):
    names = set(re.findall(r"`(minicnn(?:\.\w+)+)", text_of(path))) - {"minicnn.__version__"}
    assert sorted(name for name in names if not resolves(name)) == []


def test_a_name_that_is_not_there_is_noticed():
    assert resolves("minicnn.engine.network.Sequential.forward")
    assert not resolves("minicnn.engine.network.Parallel")


# --- the API reference ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api_pages():
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_covers_every_module_and_every_public_name(api_pages, tmp_path):
    api_pages.write_api_pages(tmp_path)
    written = "\n".join(text_of(page) for page in tmp_path.glob("*.md"))
    package = Path(minicnn.__file__).parent
    files = [path.relative_to(package).with_suffix("") for path in package.rglob("*.py")]
    modules = {".".join(["minicnn", *file.parts]).removesuffix(".__init__") for file in files}
    hidden = {"minicnn", "minicnn.__main__", "minicnn._version"}
    documented = set(re.findall(r"^\.\. automodule:: (\S+)$", written, re.MULTILINE))
    assert documented == modules - hidden
    front = text_of(tmp_path / "index.md")
    assert [name for name in minicnn.__all__ if not name.startswith("_") and name not in front] == []


DOCSTRING = """The sum [N, *shape].
Raises ValueError for none.

    y = a * b

    z = y

- one,
  more

End `*x`."""
RST = """The sum [N, \\*shape].

Raises ValueError for none.

::

    y = a * b

    z = y

- one,
  more

End `*x`."""


def test_a_docstring_becomes_text_that_sphinx_reads(api_pages):
    lines = DOCSTRING.split("\n")
    api_pages.as_rst(lines)
    assert "\n".join(lines) == RST
