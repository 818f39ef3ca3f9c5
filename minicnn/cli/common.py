"""What several commands share: their form, runs and networks that they open, results they print."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicnn.cli.terminal import UsageError, tell, warn

if TYPE_CHECKING:
    import numpy as np

    from minicnn.engine.network import Sequential
    from minicnn.runs.run import Run

PICTURES = ("curves.png", "confusion.png", "filters.png", "mistakes.png")
RUN_OR_FILE = "a directory that train has made, or a file of one network"


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], about: str, example: str
) -> argparse.ArgumentParser:
    """Add a command to the parser; its help ends with examples."""
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}. Defaults are in parentheses.",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def expect_name(option: str, directory: str | None) -> None:
    """Refuse an empty name of a file or directory."""
    if directory == "":
        raise UsageError(f"{option}: expected a name, got an empty one")


def expect_place(option: str, file: str) -> None:
    """Refuse, before anything is computed, a name under which no file can be written."""
    expect_name(option, file)
    if os.path.isdir(file):
        raise UsageError(f"{option}: expected a file, {file} is a directory")
    directory = os.path.dirname(file) or "."
    if not os.path.isdir(directory):
        raise UsageError(f"{option}: there is no directory {directory}")


def use_threads(count: int | None = None) -> None:
    """Compute with so many processor cores, and say so when kernels have to be compiled first."""
    from minicnn.engine.kernels.dry_run import on_first_compilation
    from minicnn.engine.kernels.threads import set_threads

    if count is not None:
        set_threads(count)
    on_first_compilation(lambda: tell("compiling kernels (first run only, about 20 s)"))


def open_run(directory: str, data: str | None = None) -> Run:
    """The run in a directory with its data, or with that of another directory."""
    from minicnn.data import load_mnist
    from minicnn.runs.run import Run, read_config

    expect_name("RUN", directory)
    try:
        settings, _ = read_config(directory)
        return Run.open(settings, load_mnist(settings.data if data is None else data), directory, warn)
    except ValueError as error:
        raise UsageError(error) from None


def open_network(run: str) -> Sequential:
    """The trained network of a run directory, or the one in a file that minicnn has written."""
    from minicnn.engine.network import load_network
    from minicnn.runs.run import read_network

    expect_name("RUN", run)
    if not os.path.exists(run):
        raise UsageError(f"{run}: nothing there, expected {RUN_OR_FILE}")
    try:
        return read_network(run, warn) if os.path.isdir(run) else load_network(Path(run))
    except ValueError as error:
        raise UsageError(error) from None


def result(labels: np.ndarray, probabilities: np.ndarray) -> str:
    """The line that says how many of the test images were right."""
    right = int((probabilities.argmax(axis=1) == labels).sum())
    return f"test accuracy {right / len(labels):.4f} ({right} of {len(labels)})"


def draw_pictures(run: Run, probabilities: np.ndarray) -> None:
    """Draw all pictures of a run into its directory."""
    from minicnn.pictures import report
    from minicnn.runs.run import METRICS

    directory, test = run.directory, run.data.test
    curves, confusion, filters, mistakes = (directory / name for name in PICTURES)
    report.draw_curves(report.read_metrics(directory / METRICS), curves)
    report.draw_confusion(test.labels, probabilities.argmax(axis=1), confusion)
    report.draw_filters(run.network.parameters()[0].value, filters)
    report.draw_mistakes(test.images, test.labels, probabilities, mistakes)
