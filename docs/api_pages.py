"""The pages of the API reference: one for the front door, one for each room, from the package alone."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import minicnn


def as_rst(lines):
    """Turn a docstring's Markdown into reStructuredText, in place: an indented block is literal text.

    What it raises, and its source, become paragraphs of their own.
    """
    text = list(lines)
    lines.clear()
    margin, literal = 0, False  # where the text of the paragraph or list item begins; inside such a block
    for before, line in zip(["", *text], text, strict=False):
        if line and not before:
            indent, marker = len(line) - len(line.lstrip()), re.match(r"\s*(-|\d+\.) ", line)
            begins = not literal and not marker and indent >= margin + 4
            literal = begins or (literal and indent >= margin + 4)
            if begins:
                lines += [" " * margin + "::", ""]
            if not literal:
                margin = marker.end() if marker else indent
        elif not literal and before.endswith(".") and re.match(r"\s*(Raises \w+|Source:)", line):
            lines.append("")
        lines.append(line if literal else without_emphasis(line))


def without_emphasis(line):
    """The line with single asterisks outside `code` escaped: [N, *input_shape] begins no emphasis."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(p if p.startswith("`") else re.sub(r"(?<!\*)\*(?!\*)", r"\\*", p) for p in parts)


def first_sentence(thing):
    """The first sentence of a docstring, on one line."""
    words = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", words)[0]


def modules_of(name):
    """A package's own module, then those in it, sub-packages last."""
    package = importlib.import_module(name)
    inside = [m for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return package, [f"{name}.{m.name}" for m in sorted(inside, key=lambda m: (m.ispkg, m.name))]


def is_package(name):
    return hasattr(importlib.import_module(name), "__path__")


def automodule(name):
    """The lines that document a module and what is defined in it, not what it passes on."""
    options = ["   :members:", "   :ignore-module-all:"]
    return ["```{eval-rst}", f".. automodule:: {name}", *options, "```", ""]


def room_page(name):
    """The text of the page of one room, and the names of the rooms within it."""
    package, inside = modules_of(name)
    files, rooms = [m for m in inside if not is_package(m)], [m for m in inside if is_package(m)]
    title = name.removeprefix("minicnn.")
    text = [f"# {title}", "", *automodule(name)]
    for module in files:
        text += [f"## {module.removeprefix('minicnn.')}", "", *automodule(module)]
    if rooms:
        text += [
            "```{toctree}",
            ":maxdepth: 1",
            "",
            *(room.removeprefix("minicnn.") for room in rooms),
            "```",
        ]
    return "\n".join(text) + "\n", rooms


def front_door():
    """The text of the first page: what `import minicnn` offers, and the rooms."""
    _, inside = modules_of("minicnn")
    text = ["# API reference", "", f"{first_sentence(minicnn)}", "", "## The front door", ""]
    text += ["These names are all that most programs need: `import minicnn`.", "", "| name | what it is |"]
    text += ["| --- | --- |"]
    for name in minicnn.__all__:
        thing = getattr(minicnn, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            link = f"{{py:obj}}`minicnn.{name} <{thing.__module__}.{thing.__qualname__}>`"
            text.append(f"| {link} | {first_sentence(thing).replace('|', chr(92) + '|')} |")
    text += ["", "## The rooms", "", "```{toctree}", ":maxdepth: 2", ""]
    text += [module.removeprefix("minicnn.") for module in inside if is_package(module)]
    text += ["tutorial", "```"]
    return "\n".join(text) + "\n"


def write_api_pages(directory):
    """Write the Markdown files of the API reference into `directory`, and remove those of before."""
    pages = {"index": front_door()}
    waiting = [module for module in modules_of("minicnn")[1] if is_package(module)]
    while waiting:
        name = waiting.pop()
        pages[name.removeprefix("minicnn.")], rooms = room_page(name)
        waiting += rooms
    pages["tutorial"] = "\n".join(["# tutorial", "", *automodule("minicnn.tutorial")])
    directory.mkdir(exist_ok=True)
    for old in directory.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        page = Path(directory, f"{name}.md")
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
