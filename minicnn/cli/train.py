"""train: train a network or resume a run, write its files, and print the result."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from minicnn._version import __version__
from minicnn.cli.common import (
    RUN_OR_FILE,
    add_command,
    add_orientation,
    draw_pictures,
    expect_name,
    open_network,
    prepare_kernels,
    result,
)
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import (
    UsageError,
    fail,
    is_terminal,
    program,
    progress_bar,
    quoted,
    say,
    tell,
    warn,
)
from minicnn.parallel.launch import started_by_mpiexec
from minicnn.storage.outputs import PICTURES

if TYPE_CHECKING:
    import numpy as np

    from minicnn.parallel.lead import Leader
    from minicnn.runs.run import Measurement, Run
    from minicnn.runs.settings import Settings

PATIENCE = 200  # steps in which a training may learn nothing before it is warned of


def train_command(args: argparse.Namespace) -> int:
    """Train a network or resume a run, write its files, and print the result."""
    train = train_together if started_by_mpiexec() else train_alone
    if not args.profile:
        return train(args)
    from minicnn.engine import profile

    profile.enable()
    code = train(args)
    for line in profile.table().splitlines():
        tell(line)
    return code


def train_together(args: argparse.Namespace) -> int:
    """The same, by several processes."""
    from minicnn.cli import together

    return together.train(args, train_alone)


def train_alone(args: argparse.Namespace, leader: Leader | None = None) -> int:
    """Train by one process, or, as their `leader`, by several."""
    from minicnn.runs.directory import RunError
    from minicnn.runs.loop import Stopped, train
    from minicnn.runs.team import TeamLost
    from minicnn.tutorial import Diverged

    try:
        run = _resume(args, leader) if args.resume is not None else _begin(args, leader)
        if leader is not None:
            leader.begin(run)
    except ValueError as error:  # from settings, data, run or checkpoint: the message names what is wrong
        raise UsageError(error) from None
    directory = quoted(run.directory)
    resume = f"resume with: {program()} train --resume {directory}"

    try:
        with _Screen(run, args.quiet) as screen, _warmup(run), answered(tell, screen.awaited):
            train(run, log=screen.log, progress=screen.progress)
        return _finish(run, args.quiet)
    except Diverged as error:
        rate = run.settings.learning_rate
        lower = f"try a --learning-rate below {rate:g} in a new run"
        return fail(f"{error}; {lower}; {_saved(run)}", code=1)
    except Stopped as stopped:
        return fail(f"{stopped}; {_saved(run)}; {resume}", 128 + stopped.signal_number)
    except KeyboardInterrupt:
        return fail(f"interrupted; {_saved(run)}; {resume}", 128 + signal.SIGINT)
    except RunError as error:
        raise UsageError(f"{error}; {_saved(run)}; {resume}") from None
    except TeamLost as error:
        raise TeamLost(f"{error}; {_saved(run)}; {resume}") from None
    except MemoryError as error:
        less = f"out of memory ({error}); a smaller --batch-size needs less"
        raise UsageError(f"{less}; {_saved(run)}; {resume}") from None


def _warmup(run: Run) -> contextlib.AbstractContextManager[None]:
    """Compile kernels in a second process, if there are kernels."""
    from minicnn.engine.ops import find_ops

    if not find_ops(run.settings.ops).compiled:
        return contextlib.nullcontext()
    from minicnn.runs.warmup import compiling_ahead

    return compiling_ahead(run.settings, run.data)


def _begin(args: argparse.Namespace, leader: Leader | None) -> Run:
    from minicnn.runs.run import Run, Start, load_dataset
    from minicnn.runs.settings import settings_for

    settings = settings_for(**given_settings(args))
    expect_name("--run-dir", args.run_dir)
    if args.run_dir is not None:
        _expect_no_pictures(args.run_dir)
    prepare_kernels(settings.ops, args.threads)
    start = None
    if args.start is not None:
        start = Start(open_network(args.start), os.path.abspath(args.start))
    data = load_dataset(settings)
    team = leader.agree(settings, data) if leader is not None else None
    run = Run.create(settings, data, args.run_dir, start, team)
    _print_start(run, args.quiet)
    return run


def _expect_no_pictures(directory: str) -> None:
    """Raise UsageError if the pictures of a run would replace files that are there."""
    for name in PICTURES:
        if os.path.lexists(os.path.join(directory, name)):
            raise UsageError(f"{directory}: already holds a {name}; choose another directory")


def _resume(args: argparse.Namespace, leader: Leader | None) -> Run:
    from minicnn.runs.run import Run, load_dataset

    if args.run_dir is not None:
        raise UsageError("--run-dir and --resume cannot be combined: a run stays in its directory")
    if args.start is not None:
        raise UsageError("--from and --resume cannot be combined: a resumed run has weights")
    expect_name("--resume", args.resume)
    settings, version = _continued_settings(args)
    prepare_kernels(settings.ops, args.threads)
    data = load_dataset(settings)
    team = leader.agree(settings, data) if leader is not None else None
    run = Run.open(settings, data, args.resume, warn, team)
    if version != __version__:
        warn(f"begun with minicnn {version}, this is {__version__}: results may differ in the last bits")
    _print_start(run, args.quiet)
    return run


def _continued_settings(args: argparse.Namespace) -> tuple[Settings, Any]:
    """The settings to resume a run with, and the version of minicnn that began it."""
    from minicnn.runs.directory import read_config

    settings, config = read_config(args.resume)
    given = given_settings(args)
    changes = {"data": given.pop("data", settings.data)}
    steps = given.pop("steps", settings.steps)
    if steps < settings.steps:
        raise UsageError(f"--steps: expected at least the {settings.steps} of {args.resume}, got {steps}")
    for name, value in given.items():
        if getattr(settings, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option}: {args.resume} has {getattr(settings, name)}, got {value}")
    return dataclasses.replace(settings, steps=steps, **changes), config.get("minicnn")


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings on the command line."""
    from minicnn.runs.settings import Settings

    given = {name: getattr(args, name) for name in Settings.__dataclass_fields__ if hasattr(args, name)}
    if given.get("data"):
        given["data"] = os.path.abspath(given["data"])
    return given


def _print_start(run: Run, quiet: bool) -> None:
    from minicnn.data import remarks

    if quiet:
        return
    settings, data = run.settings, run.data
    source = "MNIST" if settings.data is None else settings.data
    say(f"minicnn {__version__}: {len(data.train)} training and {len(data.test)} test images of {source}")
    if settings.data is not None:
        say(f"found {data}")
        for line in remarks.look(data):
            warn(line)
    constant = settings.schedule == "constant"
    varies = not constant or settings.warmup
    say(
        f"{settings.steps} steps of {settings.batch_size} images, {settings.optimizer} with learning rate "
        f"{'up to ' if varies else ''}{settings.learning_rate:g}, seed {settings.seed}"
    )
    if run.team.processes > 1:
        say(f"{run.team.processes} processes share out {settings.shards} shards of each batch")
    if run.finished:
        more = "; continue with --steps N" if constant else ""
        say(f"{run.directory}: all {settings.steps} steps are done{more}")
    elif run.step:
        say(f"resuming {run.directory} at step {run.step}")
    else:
        say(f"writing to {run.directory}")
    run.network.summary()
    if not run.finished:
        say()


def _finish(run: Run, quiet: bool) -> int:
    """Keep the rule for unsure answers, draw the pictures, and print the result, come what may."""
    from minicnn.runs import refusal
    from minicnn.storage.memory import give_back

    probabilities = run.test_probabilities()
    try:
        run.release()  # before others need memory
        refusal.write_rule(run.directory, run.network, run.data.validation)
        run.network.free_memory()
        give_back()
        _draw(run, probabilities, quiet)
    finally:
        say(result(run.data.test.labels, probabilities))
    return 0


def _draw(run: Run, probabilities: np.ndarray, quiet: bool) -> None:
    """Draw the pictures, and say where everything is."""
    from minicnn.runs.directory import RunError

    try:
        draw_pictures(run, probabilities)
        if not quiet:
            directory = quoted(run.directory)
            say()
            say(f"weights, metrics and pictures are in {run.directory}")
            say(f"see which digits are confused:  {program()} evaluate {directory}")
            say(f"recognize your own digit:       {program()} predict {directory} IMAGE --show")
            say(f"redraw the pictures:            {program()} report {directory}")
            say()
    except (OSError, ValueError) as error:
        raise RunError(f"{run.directory}: no pictures ({error})") from None


def _saved(run: Run) -> str:
    return f"{run.directory} contains the state after step {run.saved_step}"


class _Screen:
    """Prints log lines on stdout and a progress bar on stderr, without one disturbing the other.

    The bar is for people and shown only if stderr is a terminal.
    """

    def __init__(self, run: Run, quiet: bool) -> None:
        self.run, self.quiet = run, quiet
        self._bar: Any = None
        self._first_step, self._hinted = run.step, False

    def __enter__(self) -> _Screen:
        steps, images = self.run.settings.steps, self.run.settings.batch_size
        if not self.quiet and is_terminal(sys.stderr) and not self.run.finished:
            self._bar = progress_bar(
                steps * images,
                initial=self.run.step * images,
                unit=" images",
                unit_scale=True,
                smoothing=0,  # the mean speed of the whole run: the bar pauses during measurements
                bar_format="{l_bar}{bar:-3}{r_bar}",  # leaves room for the ^C that a terminal echoes
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def progress(self, images: int) -> None:
        """Advance the bar."""
        if self._bar is not None:
            if self._bar.n == self._bar.initial:
                self._bar.unpause()  # the first step may include compilation, so it does not count
            self._bar.update(images)

    def log(self, measurement: Measurement) -> None:
        """Print a log line, and once a hint if nothing is being learned."""
        if not self.quiet:
            say(str(measurement))
        classes = self.run.network.shapes[-1][0]
        guessing = measurement.loss > 0.97 * math.log(classes) and measurement.test_accuracy < 1.5 / classes
        if guessing and measurement.step >= PATIENCE and not self._hinted:
            self._hinted = True
            rate = self.run.settings.learning_rate
            why = f"the learning rate {rate:g} may be too high or too low"
            warn(f"no better than guessing after {measurement.step} steps; {why}")

    def awaited(self) -> str:
        """What a training that was asked to stop is still busy with."""
        if self.run.step == self._first_step:
            return "its first step, which may compile kernels"
        return f"step {self.run.step + 1} to end and to be saved"


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    example = (
        "examples:\n"
        "  minicnn train --steps 400                         take a first look\n"
        "  minicnn train --seed 1 --run-dir runs/second      the tutorial, with other random numbers\n"
        "  minicnn train --resume runs/second --steps 20000  train the same run for longer\n"
        "  minicnn train --from runs/second --learning-rate 1e-5  a new run, from its weights\n"
        "  minicnn train --recipe fast                       as accurate, in a fraction of the time\n"
        "  minicnn train --model softmax                     the baseline without convolutions\n"
        "  mpiexec -n 4 minicnn train --batch-size 400       four processes, on one machine or several"
    )
    parser = add_command(commands, "train", train_command, "train a network, or resume a run", example)

    # The defaults of what determines the result are in the recipe, or in the run that is resumed.
    what = parser.add_argument_group("what is trained", argument_default=argparse.SUPPRESS)
    what.add_argument("--model", choices=("cnn", "softmax"), help="convolutional, or the baseline (cnn)")
    what.add_argument("--recipe", metavar="NAME", help="tutorial, fast or best: the values below (tutorial)")
    what.add_argument(
        "--data", metavar="PATH",
        help="IDX files, .npz, CSV, parquet, CIFAR's binary files, pictures in folders (MNIST, built in)",
    )  # fmt: skip
    add_orientation(what)
    what.add_argument("--seed", type=int, metavar="N", help="seed of all random numbers (0)")

    about = "how it is trained (defaults for tutorial; for softmax: 1000 steps of 100, learning rate 0.5)"
    how = parser.add_argument_group(about, argument_default=argparse.SUPPRESS)
    how.add_argument("--steps", type=int, metavar="N", help="number of batches to train on (10000)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images per batch (50)")
    how.add_argument("--learning-rate", type=float, metavar="X", help="step size of Adam or SGD (0.0001)")
    how.add_argument(
        "--keep-prob", type=float, metavar="X", help="probability that dropout keeps a unit (0.5)"
    )
    how.add_argument("--log-every", type=int, metavar="N", help="steps between log lines (100)")
    how.add_argument(
        "--shards", type=int, metavar="N", help="parts of a batch that processes can share out (8)"
    )
    how.add_argument("--plain", action="store_true", help="separate convolution, ReLU and pool layers")
    how.add_argument("--ops", choices=("kernels", "reference"), help="compiled or plain NumPy (kernels)")

    around = parser.add_argument_group("this run")
    around.add_argument("--run-dir", metavar="DIR", help="directory for the files (a new one in runs/)")
    around.add_argument("--resume", metavar="DIR", help="resume the run in DIR, with its settings")
    around.add_argument(
        "--from", dest="start", metavar="RUN", help=f"begin with the weights of {RUN_OR_FILE}"
    )
    around.add_argument("--threads", type=int, metavar="N", help="processor cores to use (all)")
    around.add_argument("--profile", action="store_true", help="print how long each operation took")
    around.add_argument("--quiet", action="store_true", help="print only the result")
