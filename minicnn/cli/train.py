"""train: train a network, or go on with a run; write its files; say what came of it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from minicnn._version import __version__
from minicnn.cli.common import add_command, draw_pictures, expect_name, result, use_threads
from minicnn.cli.terminal import UsageError, bar_hidden, fail, warn

if TYPE_CHECKING:
    from minicnn.runs.run import Run
    from minicnn.runs.settings import Settings


def train_command(args: argparse.Namespace) -> int:
    """Train a network, or go on with a run; write its files; say what came of it."""
    from minicnn.runs.loop import Stopped, train
    from minicnn.runs.run import Diverged, RunError
    from minicnn.runs.warmup import compiling_ahead

    try:
        use_threads(args.threads)
        run = _resume(args) if args.resume is not None else _begin(args)
    except ValueError as error:  # settings, data, run and checkpoint errors: all name what is wrong
        raise UsageError(error) from None
    resume = f"python -m minicnn train --resume {shlex.quote(str(run.directory))}"

    try:
        with _Screen(run, args.quiet) as screen, compiling_ahead(run.settings):
            train(run, log=screen.log, progress=screen.progress)
        return _finish(run, args.quiet)
    except Diverged as error:
        rate = run.settings.learning_rate
        return fail(f"{error}; try a --learning-rate below {rate:g}; {_saved(run)}", code=1)
    except Stopped as stopped:
        return fail(f"{stopped}; {_saved(run)}; go on with: {resume}", 128 + stopped.signal_number)
    except KeyboardInterrupt:
        return fail(f"interrupted; {_saved(run)}; go on with: {resume}", 128 + signal.SIGINT)
    except RunError as error:
        raise UsageError(error) from None


def _begin(args: argparse.Namespace) -> Run:
    from minicnn.data import load_mnist
    from minicnn.runs.run import Run
    from minicnn.runs.settings import settings_for

    given = given_settings(args)
    settings = settings_for(**given)
    expect_name("--run-dir", args.run_dir)
    data = load_mnist(settings.data)
    run = Run.create(settings, data, args.run_dir)
    _say_start(run, args.quiet)
    return run


def _resume(args: argparse.Namespace) -> Run:
    from minicnn.data import load_mnist
    from minicnn.runs.run import Run

    if args.run_dir is not None:
        raise UsageError("--run-dir and --resume exclude each other: a run stays in its directory")
    expect_name("--resume", args.resume)
    settings, made_by = _continued_settings(args)
    run = Run.open(settings, load_mnist(settings.data), args.resume, warn)
    if made_by != __version__:
        warn(f"begun with minicnn {made_by}, this is {__version__}: the rest may differ in its last bits")
    _say_start(run, args.quiet)
    return run


def _continued_settings(args: argparse.Namespace) -> tuple[Settings, Any]:
    """The settings that a run goes on with, and the version of minicnn that began it."""
    from minicnn.runs.run import read_config

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
    """The settings that were named on the command line."""
    from minicnn.runs.settings import Settings

    given = {name: getattr(args, name) for name in Settings.__dataclass_fields__ if hasattr(args, name)}
    if given.get("data"):
        given["data"] = os.path.abspath(given["data"])
    return given


def _say_start(run: Run, quiet: bool) -> None:
    if quiet:
        return
    settings, data = run.settings, run.data
    source = "MNIST" if settings.data is None else settings.data
    print(f"minicnn {__version__}: {len(data.train)} training and {len(data.test)} test images of {source}")
    varies = settings.schedule != "constant" or settings.warmup
    print(
        f"{settings.steps} steps of {settings.batch_size} images, {settings.optimizer} with learning rate "
        f"{'up to ' if varies else ''}{settings.learning_rate:g}, seed {settings.seed}"
    )
    if run.finished:
        print(f"{run.directory} is finished: all {settings.steps} steps are made (more: --steps N)")
    elif run.step:
        print(f"going on after step {run.step} in {run.directory}")
    else:
        print(f"files go to {run.directory}")
    run.network.summary()
    print(end="" if run.finished else "\n", flush=True)


def _finish(run: Run, quiet: bool) -> int:
    """Draw the pictures and say what came of the run. The result is the last line, whatever happens."""
    from minicnn.runs.run import RunError

    probabilities = run.test_probabilities()
    run.release()  # before matplotlib asks for its share
    try:
        draw_pictures(run, probabilities)
        if not quiet:
            directory = shlex.quote(str(run.directory))
            print(f"\nweights, metrics and pictures are in {run.directory}")
            print(f"which digits are confused:  python -m minicnn evaluate {directory}")
            print(f"a digit of your own:        python -m minicnn predict {directory} IMAGE --show")
            print(f"the pictures again:         python -m minicnn report {directory}\n")
    except (OSError, ValueError) as error:
        raise RunError(f"{run.directory}: no pictures ({error})") from None
    finally:
        print(result(run.data.test.labels, probabilities), flush=True)
    return 0


def _saved(run: Run) -> str:
    return f"{run.directory} has the state after step {run.saved_step}"


class _Screen:
    """Log lines on stdout and a progress bar on stderr, kept out of each other's way.

    The bar is for people: it is there only if stderr is a terminal.
    """

    def __init__(self, run: Run, quiet: bool) -> None:
        self.run, self.quiet = run, quiet
        self._bar: Any = None

    def __enter__(self) -> _Screen:
        steps, images = self.run.settings.steps, self.run.settings.batch_size
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty() and not self.run.finished:
            from tqdm import tqdm

            known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
            size: Any = {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}
            self._bar = tqdm(
                total=steps * images,
                initial=self.run.step * images,
                unit=" images",
                unit_scale=True,
                leave=False,
                smoothing=0,  # of the whole run: the bar waits while a log line is measured
                bar_format="{l_bar}{bar:-3}{r_bar}",  # room for the ^C that a terminal shows
                **size,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def progress(self, images: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            if self._bar.n == self._bar.initial:
                self._bar.unpause()  # the first step may have compiled: it says nothing of the others
            self._bar.update(images)

    def log(self, measurement: object) -> None:
        """Print a log line."""
        if not self.quiet:
            with bar_hidden():
                print(measurement, flush=True)


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    example = (
        "examples:\n"
        "  minicnn train --steps 400                         a first look\n"
        "  minicnn train --seed 1 --run-dir runs/second      the tutorial, with other random numbers\n"
        "  minicnn train --resume runs/second --steps 20000  the same run, further\n"
        "  minicnn train --recipe fast                       as right as that, in a fraction of the time\n"
        "  minicnn train --model softmax                     the baseline without convolutions"
    )
    parser = add_command(commands, "train", train_command, "train a network, or go on with a run", example)

    # What decides the result has no default here, but in the recipe or in the run that is resumed.
    what = parser.add_argument_group("what is trained", argument_default=argparse.SUPPRESS)
    what.add_argument("--model", choices=("cnn", "softmax"), help="convolutional, or the baseline (cnn)")
    what.add_argument("--recipe", metavar="NAME", help="tutorial, fast or best: the numbers below (tutorial)")
    what.add_argument("--data", metavar="DIR", help="four IDX files of MNIST's names (MNIST, built in)")
    what.add_argument("--seed", type=int, metavar="N", help="of all random numbers (0)")

    about = "how (of tutorial; softmax: 1000 steps of 100, learning rate 0.5)"
    how = parser.add_argument_group(about, argument_default=argparse.SUPPRESS)
    how.add_argument("--steps", type=int, metavar="N", help="batches to train on (10000)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images in a batch (50)")
    how.add_argument("--learning-rate", type=float, metavar="X", help="of Adam; of SGD for softmax (0.0001)")
    how.add_argument("--keep-prob", type=float, metavar="X", help="chance that dropout keeps a unit (0.5)")
    how.add_argument("--log-every", type=int, metavar="N", help="steps between log lines (100)")
    how.add_argument("--plain", action="store_true", help="convolution, ReLU and pool one by one, not fused")
    how.add_argument("--ops", choices=("kernels", "reference"), help="compiled or plain NumPy (kernels)")

    around = parser.add_argument_group("this run")
    around.add_argument("--run-dir", metavar="DIR", help="for the files of this run (a new one in runs/)")
    around.add_argument("--resume", metavar="DIR", help="go on with the run in DIR, with its settings")
    around.add_argument("--threads", type=int, metavar="N", help="processor cores to use (all)")
    around.add_argument("--quiet", action="store_true", help="print nothing but the result")
