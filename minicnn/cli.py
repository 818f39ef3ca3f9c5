"""The commands: arguments in, exit code out.

    0           done
    1           training diverged, or a gradient is wrong
    2           bad usage, bad input, or a file that cannot be written: one line on stderr
    130, 143    stopped by Ctrl-C or SIGTERM; what was trained is saved
    141         stdout was closed by its reader

Results go to stdout, a line each. What is only for the person at the terminal, the progress bar,
warnings and errors, goes to stderr. What takes long to import is imported where it is used.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from minicnn._version import __version__

if TYPE_CHECKING:
    import numpy as np

    from minicnn.data import Dataset
    from minicnn.run import Run
    from minicnn.settings import Settings

PICTURES = ("curves.png", "confusion.png", "filters.png", "mistakes.png")
CONFUSIONS = 5  # how many of the worst `evaluate` names


class UsageError(Exception):
    """The arguments cannot be used; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `argv` is without the program's name."""
    with _on_terms_with_the_shell():
        try:
            code = _run(sys.argv[1:] if argv is None else list(argv))
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        except UsageError as error:
            return _fail(f"error: {error}")
        except BrokenPipeError:
            _abandon_stdout_if_broken()
            return 128 + signal.SIGPIPE
        except OSError as error:
            _abandon_stdout_if_broken()
            where = f"{error.filename}: " if error.filename is not None else ""
            return _fail(f"error: {where}{error.strerror or error}")
        except MemoryError as error:
            return _fail(f"error: not enough memory ({error}); a smaller --batch-size needs less")
        except KeyboardInterrupt:
            return _fail("interrupted", 128 + signal.SIGINT)


def _run(argv: list[str]) -> int:
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv.insert(0, "train")
    try:
        args = build_parser().parse_args(argv)
        return args.command(args)
    except SystemExit as finished:  # after --help, --version, or SIGTERM
        return int(finished.code or 0)


# --- train ---


def train_command(args: argparse.Namespace) -> int:
    """Train a network, or go on with a run; write its files; say what came of it."""
    from minicnn.run import Diverged, RunError
    from minicnn.training import Stopped, train

    try:
        _use_threads(args.threads)
        run = _resume(args) if args.resume is not None else _begin(args)
    except ValueError as error:  # settings, data, run and checkpoint errors: all name what is wrong
        raise UsageError(error) from None
    resume = f"python -m minicnn train --resume {shlex.quote(str(run.directory))}"

    try:
        with _Screen(run, args.quiet) as screen:
            train(run, log=screen.log, progress=screen.progress)
        return _finish(run, args.quiet)
    except Diverged as error:
        rate = run.settings.learning_rate
        return _fail(f"{error}; try a --learning-rate below {rate:g}; {_saved(run)}", code=1)
    except Stopped as stopped:
        return _fail(f"{stopped}; {_saved(run)}; go on with: {resume}", 128 + stopped.signal_number)
    except KeyboardInterrupt:
        return _fail(f"interrupted; {_saved(run)}; go on with: {resume}", 128 + signal.SIGINT)
    except RunError as error:
        raise UsageError(error) from None


def _begin(args: argparse.Namespace) -> Run:
    from minicnn.data import load_mnist
    from minicnn.run import Run
    from minicnn.settings import settings_for

    given = _given_settings(args)
    settings = settings_for(**given)
    _expect_name("--run-dir", args.run_dir)
    data = load_mnist(settings.data)
    run = Run.create(settings, data, args.run_dir)
    _say_start(run, args.quiet)
    return run


def _resume(args: argparse.Namespace) -> Run:
    from minicnn.data import load_mnist
    from minicnn.run import Run

    if args.run_dir is not None:
        raise UsageError("--run-dir and --resume exclude each other: a run stays in its directory")
    _expect_name("--resume", args.resume)
    settings, made_by = _continued_settings(args)
    run = Run.open(settings, load_mnist(settings.data), args.resume, _warn)
    if made_by != __version__:
        _warn(f"begun with minicnn {made_by}, this is {__version__}: the rest may differ in its last bits")
    _say_start(run, args.quiet)
    return run


def _continued_settings(args: argparse.Namespace) -> tuple[Settings, Any]:
    """The settings that a run goes on with, and the version of minicnn that began it."""
    from minicnn.run import read_config

    settings, config = read_config(args.resume)
    given = _given_settings(args)
    changes = {"data": given.pop("data", settings.data)}
    steps = given.pop("steps", settings.steps)
    if steps < settings.steps:
        raise UsageError(f"--steps: expected at least the {settings.steps} of {args.resume}, got {steps}")
    for name, value in given.items():
        if getattr(settings, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option}: {args.resume} has {getattr(settings, name)}, got {value}")
    return dataclasses.replace(settings, steps=steps, **changes), config.get("minicnn")


def _given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were named on the command line."""
    from minicnn.settings import Settings

    given = {name: getattr(args, name) for name in Settings.__dataclass_fields__ if hasattr(args, name)}
    if given.get("data"):
        given["data"] = os.path.abspath(given["data"])
    return given


def _expect_name(option: str, directory: str | None) -> None:
    if directory == "":
        raise UsageError(f"{option}: expected a directory, got an empty name")


def _use_threads(count: int | None) -> None:
    from minicnn.kernels.jit import on_first_compilation, set_threads

    if count is not None:
        set_threads(count)
    on_first_compilation(lambda: _tell("compiling kernels (first run only, about 20 s)"))


def _say_start(run: Run, quiet: bool) -> None:
    if quiet:
        return
    settings, data = run.settings, run.data
    source = "MNIST" if settings.data is None else settings.data
    print(f"minicnn {__version__}: {len(data.train)} training and {len(data.test)} test images of {source}")
    run.network.summary()
    print(
        f"{settings.steps} steps of {settings.batch_size} images, {settings.optimizer} with learning rate "
        f"{settings.learning_rate:g}, seed {settings.seed}"
    )
    if run.finished:
        print(
            f"{run.directory} is finished: all {settings.steps} steps are made (more: --steps N)", flush=True
        )
    elif run.step:
        print(f"going on after step {run.step} in {run.directory}\n", flush=True)
    else:
        print(f"files go to {run.directory}\n", flush=True)


def _finish(run: Run, quiet: bool) -> int:
    """Draw the pictures and say what came of the run. The result is the last line, whatever happens."""
    from minicnn.run import RunError

    probabilities = run.test_probabilities()
    run.release()  # before matplotlib asks for its share
    try:
        _draw_pictures(run, probabilities)
        if not quiet:
            directory = shlex.quote(str(run.directory))
            print(f"\nweights, metrics and pictures are in {run.directory}")
            print(f"more about the result: python -m minicnn evaluate {directory}\n")
    except (OSError, ValueError) as error:
        raise RunError(f"{run.directory}: no pictures ({error})") from None
    finally:
        print(_result(run.data.test.labels, probabilities), flush=True)
    return 0


def _draw_pictures(run: Run, probabilities: np.ndarray) -> None:
    from minicnn import report
    from minicnn.run import METRICS

    directory, test = run.directory, run.data.test
    curves, confusion, filters, mistakes = (directory / name for name in PICTURES)
    report.draw_curves(report.read_metrics(directory / METRICS), curves)
    report.draw_confusion(test.labels, probabilities.argmax(axis=1), confusion)
    report.draw_filters(run.network.parameters()[0].value, filters)
    report.draw_mistakes(test.images, test.labels, probabilities, mistakes)


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
                **size,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def progress(self, images: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(images)

    def log(self, measurement: object) -> None:
        """Print a log line."""
        if not self.quiet:
            with _bar_hidden():
                print(measurement, flush=True)


# --- evaluate ---


def evaluate_command(args: argparse.Namespace) -> int:
    """Measure the network of a run on its test images."""
    from minicnn.data import load_mnist
    from minicnn.run import Run, read_config

    _expect_name("RUN", args.run)
    _use_threads(None)
    try:
        settings, _ = read_config(args.run)
        data = load_mnist(settings.data if args.data is None else args.data)
        run = Run.open(settings, data, args.run, _warn)
    except ValueError as error:
        raise UsageError(error) from None
    _say_evaluation(run.data, run.test_probabilities())
    return 0


def _say_evaluation(data: Dataset, probabilities: np.ndarray) -> None:
    from minicnn.report import confusion_counts

    labels = data.test.labels
    print(_result(labels, probabilities))
    counts = confusion_counts(labels, probabilities.argmax(axis=1))  # [true, predicted]
    for digit, row in enumerate(counts):
        if row.sum():
            print(f"class {digit}  accuracy {row[digit] / row.sum():.4f} ({row[digit]} of {row.sum()})")
    errors = [(counts[t, p], t, p) for t in range(10) for p in range(10) if t != p and counts[t, p]]
    for count, true, predicted in sorted(errors, key=lambda e: (-e[0], e[1:]))[:CONFUSIONS]:
        print(f"class {true} taken for {predicted}: {count} of {counts[true].sum()}")


def _result(labels: np.ndarray, probabilities: np.ndarray) -> str:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    return f"test accuracy {right / len(labels):.4f} ({right} of {len(labels)})"


# --- gradcheck ---


def gradcheck_command(args: argparse.Namespace) -> int:
    """Check gradients; exit code 1 if one is wrong."""
    from minicnn.gradcheck_suite import run_gradcheck

    if args.seed < 0:
        raise UsageError(f"--seed: expected 0 or more, got {args.seed}")
    _use_threads(None)
    try:
        return 0 if run_gradcheck(args.layer, args.seed) else 1
    except ValueError as error:
        raise UsageError(f"--{error}") from None


# --- arguments ---


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `args.command(args)` runs the one that was chosen."""
    parser = _Parser(
        prog="minicnn",
        description="Train a small convolutional network on MNIST, and look at what it learned.",
        epilog="Without a command: train. More about one: minicnn train --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minicnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_evaluate(commands)
    _add_gradcheck(commands)
    return parser


def _add_command(commands: Any, name: str, command: Callable, about: str, example: str) -> _Parser:
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


def _add_train(commands: Any) -> None:
    example = (
        "examples:\n"
        "  minicnn train --steps 400                         a first look\n"
        "  minicnn train --seed 1 --run-dir runs/second      the tutorial, with other random numbers\n"
        "  minicnn train --resume runs/second --steps 20000  the same run, further\n"
        "  minicnn train --model softmax                     the baseline without convolutions"
    )
    parser = _add_command(commands, "train", train_command, "train a network, or go on with a run", example)

    # What decides the result has no default here, but in the recipe or in the run that is resumed.
    what = parser.add_argument_group("what is trained", argument_default=argparse.SUPPRESS)
    what.add_argument("--model", choices=("cnn", "softmax"), help="convolutional, or the baseline (cnn)")
    what.add_argument("--recipe", metavar="NAME", help="a named set of the numbers below (tutorial)")
    what.add_argument("--data", metavar="DIR", help="four IDX files of MNIST's names (MNIST, built in)")
    what.add_argument("--seed", type=int, metavar="N", help="of all random numbers (0)")

    about = "how (softmax: 1000 steps of 100, learning rate 0.5)"
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


def _add_evaluate(commands: Any) -> None:
    about = "measure a trained network on its test images, class by class"
    example = "example:\n  minicnn evaluate runs/second"
    parser = _add_command(commands, "evaluate", evaluate_command, about, example)
    parser.add_argument("run", metavar="RUN", help="a directory that train has made")
    parser.add_argument("--data", metavar="DIR", help="other test images (those of the run)")


def _add_gradcheck(commands: Any) -> None:
    about = "check every gradient of every layer against difference quotients"
    example = "example:\n  minicnn gradcheck --layer ConvReLUPool --seed 3"
    parser = _add_command(commands, "gradcheck", gradcheck_command, about, example)
    parser.add_argument("--layer", metavar="NAME", help="a layer, an operation, or network (all of them)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (0)")


# --- the world around ---


@contextlib.contextmanager
def _on_terms_with_the_shell() -> Iterator[None]:
    """Every message in one line, any file name printable, SIGTERM an orderly exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if main_thread else None
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _warn(str(message))
        try:
            yield
        finally:
            if main_thread:
                signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _fail(message: str, code: int = 2) -> int:
    _tell(f"minicnn: {message}")
    return code


def _warn(message: str) -> None:
    _tell(f"minicnn: warning: {message}")


def _tell(message: str) -> None:
    """One line on stderr, whatever is in the message; never an error of its own."""
    if sys.stderr is None:
        return
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    with contextlib.suppress(OSError), _bar_hidden():
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _bar_hidden() -> Iterator[None]:
    """Take a progress bar off the screen while a line is printed."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode() if tqdm else contextlib.nullcontext():
        yield


def _abandon_stdout_if_broken() -> None:
    """Throw away what cannot be printed, or Python tries again at its exit and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
