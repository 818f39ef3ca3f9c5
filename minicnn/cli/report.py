"""report: redraw the pictures of runs, and compare several runs in one picture."""

from __future__ import annotations

import argparse
import os
from typing import Any

from minicnn.cli.common import (
    add_command,
    draw_pictures,
    expect_place,
    open_run,
    result,
)
from minicnn.cli.terminal import UsageError, say
from minicnn.storage.outputs import PICTURES

COMPARISON = "comparison.png"


def report_command(args: argparse.Namespace) -> int:
    """Draw the pictures of every run into its directory, then one picture that compares the runs."""
    from minicnn import pictures
    from minicnn.runs.directory import METRICS

    expect_place("--output", args.output, reading=args.run)
    if len({os.path.realpath(run) for run in args.run}) < len(args.run):
        raise UsageError("RUN: expected different runs, got one of them twice")
    runs = [open_run(directory, args.data) for directory in args.run]
    try:
        for run in runs if args.data is not None else []:
            run.expect_own_data()
        metrics = [pictures.read_metrics(run.directory / METRICS) for run in runs]
        for run in runs:
            probabilities = run.test_probabilities()
            draw_pictures(run, probabilities)
            accuracy = result(run.data.test.labels, probabilities)
            say(f"{run.directory}: step {run.step}  {accuracy}")
        say(f"drawn in each directory: {', '.join(PICTURES)}")
        if len(runs) > 1:
            pictures.draw_comparison(dict(zip(args.run, metrics, strict=True)), args.output)
            say(f"all runs in one picture: {args.output}")
    except ValueError as error:
        raise UsageError(error) from None
    return 0


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "redraw the pictures of runs, and compare several runs in one picture"
    example = "examples:\n  minicnn report runs/second\n  minicnn report runs/* --output all.png"
    parser = add_command(commands, "report", report_command, about, example)
    parser.add_argument("run", metavar="RUN", nargs="+", help="a run directory")
    parser.add_argument("--data", metavar="DIR", help="where the data set of the runs is now (where it was)")
    parser.add_argument(
        "--output", metavar="FILE", default=COMPARISON,
        help=f"the file for the picture that compares the runs ({COMPARISON})",
    )  # fmt: skip
