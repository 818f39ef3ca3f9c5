"""Writing the learner's file: once, and never over anything that is there."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from minicnn.learn.exercises import FILE


def exercises(language: str) -> str:
    """The file with the exercises, in a language."""
    place = resources.files("minicnn.learn") / "files" / f"my_network.{language}.txt"
    return place.read_text(encoding="utf-8")


def write_exercises(directory: Path, language: str) -> Path:
    """Write the exercises into a directory, which is made if missing. Raises OSError if they are there."""
    text = exercises(language)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / FILE
    with file.open("x", encoding="utf-8", newline="\n") as out:
        print(text, end="", file=out)
    return file
