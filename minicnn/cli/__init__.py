"""The commands: arguments in, exit code out.

    0           success
    1           training diverged, a run of a sweep failed, a gradient is wrong, or an exercise is not solved
    2           bad usage, bad input, or a file that cannot be written: one line on stderr
    70          an error that nobody foresaw: a fault of minicnn; one line on stderr names the file to report
    130, 143    stopped by Ctrl-C or SIGTERM (129: the terminal was closed); the training is saved
    141         the reader of stdout has closed it

Results go to stdout, a line each. The progress bar, warnings and errors, which are only for the person
at the terminal, go to stderr. Modules that take long to import are imported where they are used.

Each module contains one command: what it does, and below it the arguments it takes.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from minicnn._version import __version__
from minicnn.cli import (
    convert,
    evaluate,
    explore,
    gradcheck,
    interchange,
    learn,
    predict,
    report,
    sweep,
    train,
)
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import (
    UsageError,
    abandon_stdout_if_broken,
    fail,
    fail_unexpectedly,
    in_the_shell,
    tell,
)

COMMANDS = (
    train,
    evaluate,
    predict,
    explore,
    report,
    sweep,
    interchange,
    convert,
    gradcheck,
    learn,
)  # in the order of the help


BROKEN_PIPE = 128 + 13  # SIGPIPE, which Windows does not know


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `argv` is without the program's name."""
    argv = sys.argv[1:] if argv is None else list(argv)
    with in_the_shell(), answered(tell, lambda: "compiled code to return"):
        try:
            code = _run(list(argv))
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        except UsageError as error:
            return fail(f"error: {error}")
        except BrokenPipeError:
            abandon_stdout_if_broken()
            return BROKEN_PIPE
        except OSError as error:
            abandon_stdout_if_broken()
            where = f"{error.filename}: " if error.filename is not None else ""
            return fail(f"error: {where}{error.strerror or error}")
        except MemoryError as error:
            return fail(f"error: out of memory ({error})" if str(error) else "error: out of memory")
        except KeyboardInterrupt:
            return fail("interrupted", 128 + signal.SIGINT)
        except Exception as error:
            abandon_stdout_if_broken()
            return fail_unexpectedly(error, argv)


def _run(argv: list[str]) -> int:
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv.insert(0, "train")
    try:
        args = build_parser().parse_args(argv)
        return args.command(args)
    except SystemExit as finished:  # after --help, --version, or SIGTERM
        return int(finished.code or 0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def build_parser() -> argparse.ArgumentParser:
    """The parser for all commands; `args.command(args)` runs the chosen one."""
    parser = _Parser(
        prog="minicnn",
        description="Train a small convolutional network on MNIST and see what it has learned.",
        epilog=(
            "examples:\n"
            "  minicnn                                  train the tutorial's network\n"
            "  minicnn train --steps 400 --run-dir r    take a first look; files go into the directory r\n"
            "  minicnn predict r digit.jpg              recognize the digit on a photograph\n"
            "\n"
            "The default command is train. Help for a command: minicnn train --help"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minicnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_to(commands)
    return parser
