"""What the commands share: the form of their arguments, opening runs and networks, printing results."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicnn.cli.terminal import UsageError, tell, warn
from minicnn.storage.outputs import PICTURES, expect_output

if TYPE_CHECKING:
    import numpy as np

    from minicnn.data import Dataset
    from minicnn.engine.network import Sequential
    from minicnn.runs.run import Run

RUN_OR_FILE = "a run directory or a network file"


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
    """Raise UsageError for an empty name of a file or directory."""
    if directory == "":
        raise UsageError(f"{option}: expected a name, got an empty one")


def expect_run(run: str, expected: str) -> None:
    """Raise UsageError if there is no file or directory under this name."""
    expect_name("RUN", run)
    if not os.path.exists(run):
        raise UsageError(f"{run}: no such file or directory, expected {expected}")


def expect_place(option: str, file: str, reading: Sequence[str]) -> None:
    """Raise UsageError, before anything is computed, if no file may be written under this name.

    `reading` are the runs and files that the command reads: none of them is replaced, nor are their pictures.
    """
    expect_name(option, file)
    if os.path.isdir(file):
        raise UsageError(f"{option}: expected a file, got the directory {file}")
    directory = os.path.dirname(file) or "."
    if not os.path.isdir(directory):
        raise UsageError(f"{option}: {directory} is not a directory")
    files = [os.path.join(run, picture) for run in reading if os.path.isdir(run) for picture in PICTURES]
    try:
        expect_output(file, [*files, *(name for name in reading if not os.path.isdir(name))])
    except OSError as error:
        raise UsageError(f"{option}: {file} is {error.strerror}") from None


def prepare_kernels(ops: str = "kernels", threads: int | None = None, announce: bool = True) -> None:
    """Use that many processor cores, and, if `announce`, print a line before kernels are compiled.

    Does nothing, and does not import Numba, if `ops` is "reference": NumPy chooses its threads.
    Raises UsageError where Numba is needed but missing.
    """
    if ops == "reference":
        return
    from minicnn.engine.numba_settings import NumbaSettingsError, cpu_quota
    from minicnn.engine.ops import WITHOUT, find_ops

    try:
        if not find_ops("kernels").compiled:  # with a warning
            return
    except ImportError as error:
        problem = str(error).removesuffix(f"; {WITHOUT}")
        if not isinstance(error, NumbaSettingsError):
            problem = f"Numba cannot be imported ({problem})"
        raise UsageError(f"{problem}; train --ops reference works without") from None
    from minicnn.engine.kernels.dry_run import COMPILING, announce_compilation
    from minicnn.engine.kernels.threads import set_threads

    if threads is not None:
        set_threads(threads)
        if (quota := cpu_quota()) <= threads - 1:
            why = f"more than the CPU quota of this container, {quota:g}: they take turns"
            warn(f"--threads {threads}: {why}")
    if announce:
        announce_compilation(lambda: tell(COMPILING))


def add_orientation(parser: Any) -> None:
    """Add the options that tell how the images of `--data` lie, without defaults."""
    suppressed = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--size", type=int, metavar="N", help="scale pictures in folders to N x N pixels", **suppressed
    )
    switch: dict[str, Any] = {"action": argparse.BooleanOptionalAction, **suppressed}
    parser.add_argument("--transpose", help="swap rows and columns (EMNIST's files)", **switch)
    parser.add_argument("--invert", help="the images are dark on light: invert them", **switch)


def open_run(directory: str, data: str | None = None) -> Run:
    """The run in a directory, with its own data, which may be somewhere else by now, ready to compute."""
    from minicnn.data import DataError
    from minicnn.runs.directory import read_config
    from minicnn.runs.run import Run, load_dataset

    expect_run(directory, "a run directory")
    try:
        settings, _ = read_config(directory)
        prepare_kernels(settings.ops)
        return Run.open(settings, load_dataset(settings, data), directory, warn)
    except DataError as error:
        moved = data is None and settings.data is not None and not os.path.exists(settings.data)
        hint = "; if the data set of this run has moved, name its directory with --data" if moved else ""
        raise UsageError(f"{error}{hint}") from None
    except ValueError as error:
        raise UsageError(error) from None


def open_network(run: str) -> Sequential:
    """The trained network of a run directory, or the one in a network file."""
    from minicnn.engine.network import load_network
    from minicnn.runs.directory import read_network

    expect_run(run, RUN_OR_FILE)
    try:
        return read_network(run, warn) if os.path.isdir(run) else load_network(Path(run))
    except ValueError as error:
        raise UsageError(error) from None


def open_classifier(run: str) -> Sequential:
    """The trained network of a run or file, if its outputs are one number for each class."""
    network = open_network(run)
    if len(network.shapes[-1]) != 1:
        got = list(network.shapes[-1])
        raise UsageError(f"{run}: expected a network whose output is [N, classes], got [N, {str(got)[1:]}")
    return network


def orientation(run: str, args: argparse.Namespace, path: str) -> dict[str, Any]:
    """How other images at a path are read for a run, as arguments of `load_data`.

    As the images of the run were, unless options say otherwise: split by the same seed, scaled, turned,
    inverted. A line says what was taken over.
    """
    from minicnn.runs.directory import read_config
    from minicnn.runs.settings import ORIENTATION, Settings

    given = {name: value for name, value in vars(args).items() if name in ORIENTATION}
    if not os.path.isdir(run):
        return given
    settings, _ = read_config(run)
    own = {name: getattr(settings, name) for name in ORIENTATION if name not in given}
    own = {name: value for name, value in own.items() if value != getattr(Settings, name)}
    if own:
        options = " ".join(f"--size {settings.size}" if name == "size" else f"--{name}" for name in own)
        switches = " or ".join(f"--no-{name}" for name in own if name != "size")
        unless = f"; {switches} if it differs" if switches else ""
        tell(f"{path}: read with {options}, as the data of {run} was{unless}")
    return {"seed": settings.seed, **own, **given}


def known_labels(data: Dataset, classes: tuple[str, ...], source: str) -> np.ndarray:
    """The labels of the test images as numbers of the network's classes: of the same names, or order.

    Raises UsageError for a class that the network does not know.
    """
    import numpy as np

    if len(data.classes) == len(classes):
        return data.test.labels
    unknown = [name for name in data.classes if name not in classes]
    if unknown:
        count = f"the {len(classes)} classes of the network"
        raise UsageError(f"{source}: class {unknown[0]} is none of {count}")
    return np.array([classes.index(name) for name in data.classes])[data.test.labels]


def open_data(args: argparse.Namespace) -> Dataset:
    """The data set that `--data` and the options beside it name, or MNIST. Raises DataError."""
    from minicnn.data import load_data, load_mnist
    from minicnn.runs.settings import ORIENTATION

    if args.data is None:
        return load_mnist()
    return load_data(args.data, **{name: value for name, value in vars(args).items() if name in ORIENTATION})


def class_names(run: str, classes: int) -> tuple[str, ...]:
    """The names of the classes of a run; those of a network file are numbers."""
    from minicnn.runs.directory import read_config

    if os.path.isdir(run):
        try:
            names = tuple(map(str, read_config(run)[1].get("classes", ())))
        except (ValueError, TypeError):
            names = ()
        if len(names) == classes:
            return names
    return tuple(map(str, range(classes)))


def other_images(run: str) -> str | None:
    """What a run was trained on, if its images are not prepared as MNIST's are; None for a network file."""
    from minicnn.runs.directory import read_config

    if not os.path.isdir(run):
        return None
    settings, config = read_config(run)
    return None if settings.data is None or config.get("like_mnist") else settings.data


def result(labels: np.ndarray, probabilities: np.ndarray) -> str:
    """The line with the test accuracy, as every command prints it."""
    return accuracy(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))


def accuracy(correct: int, count: int) -> str:
    """The line for a count of correct answers."""
    return f"test accuracy {correct / count:.4f} ({correct} of {count})"


def draw_pictures(run: Run, probabilities: np.ndarray) -> None:
    """Draw all pictures of a run into its directory."""
    from minicnn import pictures

    pictures.draw_run(run, probabilities)
