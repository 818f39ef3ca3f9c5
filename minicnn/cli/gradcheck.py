"""gradcheck: check gradients against finite differences, of this package or of a file of one's own."""

from __future__ import annotations

import argparse
from typing import Any

from minicnn.cli.common import add_command, prepare_kernels
from minicnn.cli.terminal import UsageError


def gradcheck_command(args: argparse.Namespace) -> int:
    """Check gradients; the exit code is 1 if one is wrong."""
    if args.seed < 0:
        raise UsageError(f"--seed: expected 0 or more, got {args.seed}")
    if args.file is not None:
        return _check_file(args)
    from minicnn.checks.suite import run_gradcheck
    from minicnn.engine.ops import find_ops

    prepare_kernels()
    if not find_ops("kernels").compiled:
        raise UsageError("there are no kernels to check while NUMBA_DISABLE_JIT is set")
    try:
        return 0 if run_gradcheck(args.layer, args.seed) else 1
    except ValueError as error:
        raise UsageError(f"--{error}") from None


def _check_file(args: argparse.Namespace) -> int:
    from minicnn.checks.files.run import check_file

    if args.layer is not None:
        raise UsageError("--layer: is for the layers of minicnn; of a file, write file.py:NAME")
    try:
        return 0 if check_file(args.file, args.seed) else 1
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "check every gradient of every layer against finite differences, or those in a file of yours"
    example = (
        "A file is run. Then its pairs of functions (x_forward, x_backward), its losses and its classes\n"
        "with forward and backward are checked, with arguments guessed from their names. State yours:\n"
        '  gradcheck_examples = {"x_forward": lambda rng: (rng.normal(size=(4, 5)), ...)}\n\n'
        "examples:\n  minicnn gradcheck --layer ConvReLUPool --seed 3\n  minicnn gradcheck layers.py\n"
        "  minicnn gradcheck layers.py:affine"
    )
    parser = add_command(commands, "gradcheck", gradcheck_command, about, example)
    parser.add_argument("file", nargs="?", metavar="FILE[:NAME]", help="a Python file of yours, which is run")
    parser.add_argument("--layer", metavar="NAME", help="a layer, an operation, or network (all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random numbers (0)")
