"""sweep: train a run for every combination of settings and seeds, and compare them."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from minicnn._version import __version__
from minicnn.cli.common import add_command, add_orientation, expect_name
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import UsageError, fail, program, quoted, say, tell, warn

if TYPE_CHECKING:
    from minicnn.sweeps.grid import Cell, Grid

PER_RUN = ("recipe", "model")  # options that may list several values
MOST_NAMED = 10  # runs that are named in messages


def sweep_command(args: argparse.Namespace) -> int:
    """Train all runs of a sweep that are not complete, or report on one."""
    from minicnn.sweeps.engine import expect_installed

    try:
        expect_installed()
        if not args.what:
            return _sweep(args)
        if len(args.what) != 2 or args.what[0] != "report":
            got = " ".join(map(quoted, args.what))
            raise UsageError(f"sweep: expected options, or report DIR, got {got}")
        return _report(args.what[1])
    except ValueError as error:  # from grid, data, directory or engine: the message names what is wrong
        raise UsageError(error) from None


def _sweep(args: argparse.Namespace) -> int:
    from minicnn.runs.run import load_dataset
    from minicnn.sweeps.directory import conducting, is_complete, read_grid

    expect_name("--dir", args.dir)
    expect_name("--data", args.data)
    for option, number in (("--at-once", args.at_once), ("--threads", args.threads)):
        if number is not None and number < 1:
            raise UsageError(f"{option}: expected at least 1, got {number}")
    if args.scheduler is not None and args.at_once is not None:
        raise UsageError(
            "--at-once and --scheduler cannot be combined: a scheduler's workers are as many as they are"
        )
    grid = _grid(args) or read_grid(args.dir)
    load_dataset(grid.cells[0].settings)  # what is wrong with it is said once, before anything is written
    with conducting(args.dir, grid):
        left = [cell for cell in grid.cells if not is_complete(args.dir, cell)]
        if left:
            stopped_by, failed = _train(args, left, len(grid.cells))
            if stopped_by is not None:
                return _interrupted(args.dir, grid, stopped_by)
        _report(args.dir, args.quiet, named=not left)
    if left and failed:
        return fail(f"{len(failed)} of {len(grid.cells)} runs failed: {_some(failed)}", code=1)
    return 0


def _train(args: argparse.Namespace, left: list[Cell], runs: int) -> tuple[int | None, list[str]]:
    """Train the runs that are left. Returns the signal that stopped it, or None, and the runs that failed."""
    from minicnn.cli.sweep_screen import SweepScreen
    from minicnn.runs.signals import StopSignals
    from minicnn.sweeps.engine import EngineError, workers
    from minicnn.sweeps.sweep import conduct, cores, share

    at_once, threads = share(cores(), len(left), args.at_once, args.threads)
    if args.scheduler is not None:
        threads = args.threads or 1
    with StopSignals() as stop, answered(tell, lambda: "the workers to end"):
        try:
            with workers(at_once, threads, args.scheduler) as pool, SweepScreen(args.quiet) as screen:
                if not args.quiet:
                    what = f"{runs} runs, {runs - len(left)} of them complete"
                    each = f"{threads} thread{'s' if threads > 1 else ''}"
                    say(f"minicnn {__version__}: {what}; {pool.slots()} at once with {each} each")
                    say(f"writing to {args.dir}")
                stopped = lambda: stop.received is not None  # noqa: E731
                progress = conduct(args.dir, left, pool, threads, screen.ended, screen.look, stopped)
                return stop.received, list(progress.failed)
        except EngineError:
            if stop.received is None:
                raise
            return stop.received, []  # the signal reached the workers, too, before they had started


def _grid(args: argparse.Namespace) -> Grid | None:
    """What the options say is to be varied, and what not; None if they say nothing."""
    from minicnn.runs.settings import ORIENTATION
    from minicnn.sweeps.grid import Grid, parse_seeds, parse_values

    lists: dict[str, list[Any]] = {}
    for name in PER_RUN:
        if getattr(args, name) is not None:
            lists[name] = parse_values(name, getattr(args, name))
    for setting in args.set or ():
        name, equals, values = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name in ("seed", "data", *ORIENTATION):
            option = {"seed": "--seeds", "data": "--data"}.get(name, "NAME=VALUE,VALUE")
            raise UsageError(f"--set: expected {option}, got {setting!r}")
        if name in lists:
            raise UsageError(f"--set: {name} is given twice")
        lists[name] = parse_values(name, values)
    given = {name: values[0] for name, values in lists.items() if len(values) == 1}
    given |= {name: getattr(args, name) for name in ORIENTATION if hasattr(args, name)}
    if args.data is not None:
        given["data"] = os.path.abspath(args.data)
    if not given and not lists and args.seeds is None:
        return None
    varied = {name: values for name, values in lists.items() if len(values) > 1}
    return Grid(given, varied | {"seed": parse_seeds(args.seeds or "0-4")})


def _interrupted(directory: str, grid: Grid, number: int) -> int:
    from minicnn.sweeps.directory import is_complete

    done = sum(is_complete(directory, cell) for cell in grid.cells)
    rest = f"resume with: {program()} sweep --dir {quoted(directory)}"
    return fail(f"stopped; {done} of {len(grid.cells)} runs are complete; {rest}", 128 + number)


def _report(directory: str, quiet: bool = False, named: bool = True) -> int:
    """Print the table, and write it and the picture; `named`: say which runs are not complete."""
    from minicnn.sweeps.directory import read_grid
    from minicnn.sweeps.report import write_report

    expect_name("report", directory)
    report = write_report(directory, read_grid(directory))
    if not quiet:
        say()
    for line in report.lines:
        say(line.rstrip())
    if not quiet:
        say(f"{', '.join(report.written)} are in {directory}")
    if named and report.unfinished:
        steps = [
            f"{row.cell.name} at step {row.step} of {row.cell.settings.steps}" for row in report.unfinished
        ]
        warn(f"not complete: {_some(steps)}")
    return 0


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{'; '.join(names[:MOST_NAMED])}{more}"


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "train a run for every combination of settings and seeds"
    example = (
        "examples:\n"
        "  minicnn sweep --seeds 0-19 --recipe fast                      one recipe, twenty seeds\n"
        "  minicnn sweep --set learning_rate=1e-4,3e-4 --recipe tutorial,fast --dir sweeps/rates\n"
        "  minicnn sweep --dir sweeps/rates                              resume that one\n"
        "  minicnn sweep report sweeps/rates                             table and picture, so far\n"
        "\n"
        'It runs on Dask: pip install "minicnn[sweep]". Every run has a directory of its own in --dir, as\n'
        "minicnn train makes it. A sweep that was stopped is resumed by the same command, bit for bit."
    )
    parser = add_command(commands, "sweep", sweep_command, about, example)
    parser.add_argument("what", nargs="*", metavar="report DIR", help="table and picture of the sweep in DIR")
    what = parser.add_argument_group("what is trained")
    what.add_argument("--seeds", metavar="LIST", help="for example 0-19 or 0,3,7-9 (0-4)")
    what.add_argument("--recipe", metavar="NAMES", help="for example tutorial,fast (tutorial)")
    what.add_argument("--model", metavar="NAMES", help="for example cnn,softmax (cnn)")
    what.add_argument(
        "--set", action="append", metavar="NAME=VALUES",
        help="any other setting, for example learning_rate=1e-4,3e-4; may be repeated",
    )  # fmt: skip
    what.add_argument("--data", metavar="PATH", help="the data set, as for train (MNIST, built in)")
    add_orientation(what)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--dir", metavar="DIR", default="sweeps/first", help="directory of the sweep (sweeps/first)"
    )
    how.add_argument("--at-once", type=int, metavar="N", help="runs at the same time (as many as cores)")
    how.add_argument("--threads", type=int, metavar="N", help="threads of each run (cores / runs at once)")
    how.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="a Dask scheduler, such as tcp://host:8786, whose workers see DIR (processes of this machine)",
    )  # fmt: skip
    how.add_argument("--quiet", action="store_true", help="print only the table")
