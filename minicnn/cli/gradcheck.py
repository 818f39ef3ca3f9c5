"""gradcheck: check every gradient of every layer against finite differences."""

from __future__ import annotations

import argparse
from typing import Any

from minicnn.cli.common import add_command, prepare_kernels
from minicnn.cli.terminal import UsageError


def gradcheck_command(args: argparse.Namespace) -> int:
    """Check gradients; the exit code is 1 if one is wrong."""
    from minicnn.checks.suite import run_gradcheck
    from minicnn.engine.ops import find_ops

    if args.seed < 0:
        raise UsageError(f"--seed: expected 0 or more, got {args.seed}")
    prepare_kernels()
    if not find_ops("kernels").compiled:
        raise UsageError("there are no kernels to check while NUMBA_DISABLE_JIT is set")
    try:
        return 0 if run_gradcheck(args.layer, args.seed) else 1
    except ValueError as error:
        raise UsageError(f"--{error}") from None


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "check every gradient of every layer against finite differences"
    example = "example:\n  minicnn gradcheck --layer ConvReLUPool --seed 3"
    parser = add_command(commands, "gradcheck", gradcheck_command, about, example)
    parser.add_argument("--layer", metavar="NAME", help="a layer, an operation, or network (all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random numbers (0)")
