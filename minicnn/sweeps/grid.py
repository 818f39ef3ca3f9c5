"""What a sweep varies, and its cells: one run for each combination of values."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicnn.runs.settings import Settings, settings_for

MOST_CELLS = 10_000
FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


@dataclass(frozen=True)
class Cell:
    """One combination of values: a run."""

    name: str  # also of its directory: recipe=fast,seed=3
    values: Mapping[str, Any]  # of what is varied
    settings: Settings


@dataclass(frozen=True)
class Grid:
    """Every combination of `varied` values, with `given` settings the same for all.

    Raises ValueError, naming the setting, if a value cannot be used.
    """

    given: Mapping[str, Any]
    varied: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        for name in (*self.given, *self.varied):
            _expect_setting(name)
        for name, values in self.varied.items():
            if name in self.given:
                raise ValueError(f"{name}: expected one value or a list of values, got both")
            once(name, values)
        size = 1
        for values in self.varied.values():
            size *= len(values)
        if not 1 <= size <= MOST_CELLS:
            raise ValueError(f"expected 1 to {MOST_CELLS} runs, got {size}")
        _ = self.cells  # every combination can be used

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, seed by seed, so that all settings have some results early."""
        names = sorted(self.varied, key=lambda name: name != "seed")  # the seed varies slowest
        return tuple(
            self._cell(dict(zip(names, values, strict=True)))
            for values in itertools.product(*(self.varied[name] for name in names))
        )

    def _cell(self, values: Mapping[str, Any]) -> Cell:
        values = {name: values[name] for name in self.varied}
        settings = settings_for(**{**self.given, **values})
        return Cell(",".join(f"{name}={_word(value)}" for name, value in values.items()), values, settings)


def _word(value: Any) -> str:
    """A value as part of the name of a directory, on every system."""
    return re.sub(r"[^\w.+-]", "_", str(value).lower() if isinstance(value, bool) else str(value))


def parse_seeds(text: str) -> list[int]:
    """The seeds in "0-19" or "0,3,7-9". Raises ValueError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"seeds: expected numbers and ranges such as 0-4,7, got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first + len(seeds) >= MOST_CELLS:
            raise ValueError(f"seeds: expected 1 to {MOST_CELLS} seeds, got {part.strip()}")
        seeds += range(first, last + 1)
    return once("seeds", seeds)


def parse_values(name: str, text: str) -> list[Any]:
    """The values in "1e-4,3e-4", of the type that the setting `name` has.

    Raises ValueError for a setting that does not exist, or a value of another type.
    """
    _expect_setting(name)
    return once(name, [_parsed(name, word.strip()) for word in text.split(",")])


def _parsed(name: str, word: str) -> Any:
    kind = str(FIELDS[name].type).split(" ")[0]  # "int", "float", "str", "bool"; "str | None" is given as str
    try:
        if kind == "bool":
            return {"true": True, "false": False}[word.lower()]
        return {"int": int, "float": float}.get(kind, str)(word)
    except (ValueError, KeyError):
        expected = {"int": "an integer", "float": "a number", "bool": "true or false"}[kind]
        raise ValueError(f"{name}: expected {expected}, got {word!r}") from None


def _expect_setting(name: str) -> None:
    if name not in FIELDS:
        raise ValueError(f"{name}: no such setting; there are {', '.join(FIELDS)}")


def once(name: str, values: Sequence[Any]) -> list[Any]:
    """The values as a list. Raises ValueError if one of them is there twice."""
    found = set()
    for value in values:
        if repr(value) in found:
            raise ValueError(f"{name}: expected each value once, got {value} twice")
        found.add(repr(value))
    return list(values)
