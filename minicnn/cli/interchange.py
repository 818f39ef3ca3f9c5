"""export and import: networks to and from PyTorch and ONNX."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from minicnn.cli.common import RUN_OR_FILE, add_command, expect_name, expect_place, open_network
from minicnn.cli.terminal import UsageError, program, say

ENDINGS = {"safetensors-torch": ".torch.safetensors", "onnx": ".onnx"}


def export_command(args: argparse.Namespace) -> int:
    """Write a trained network for PyTorch or as an ONNX model."""
    from minicnn import interchange

    if args.output is not None:
        expect_place("--output", args.output, reading=[args.run])
    network = open_network(args.run)
    output = Path(args.output) if args.output else _default_output(args.run, ENDINGS[args.to])
    save = interchange.save_onnx if args.to == "onnx" else interchange.save_torch
    try:
        save(network, output)
    except (ValueError, ImportError) as error:
        raise UsageError(error) from None
    say(f"written: {output}")
    if args.to == "onnx":
        say(f"input: images {_channels_first(network.input_shape)}, pixels / 255; output: logits")
    else:
        say("read it with: model.load_state_dict(safetensors.torch.load_file(FILE))")
    return 0


def import_command(args: argparse.Namespace) -> int:
    """Convert weights from PyTorch, or an ONNX model, to a network file."""
    from minicnn import interchange

    expect_name("FILE", args.file)
    expect_place("OUTPUT", args.output, reading=[args.file])
    load = interchange.load_onnx if args.file.lower().endswith(".onnx") else interchange.load_torch
    try:
        network = load(args.file)
        if args.mean or args.std:
            channels = network.input_shape[-1]
            mean, std = args.mean or [0.0] * channels, args.std or [1.0] * channels
            network = interchange.with_normalization(network, mean, std)
    except (ValueError, ImportError) as error:
        raise UsageError(error) from None
    network.summary()
    network.save(args.output)
    say(f"written: {args.output}")
    say(f"use it in place of a run: {program()} evaluate FILE, {program()} predict FILE IMAGE")
    if not (args.mean or args.std):
        say("it expects pixels / 255; if it was trained on normalized images, name their --mean and --std")
    return 0


def _default_output(run: str, ending: str) -> Path:
    """A file in the run directory, or a new one next to the network file."""
    if os.path.isdir(run):
        return Path(run) / f"network{ending}"
    output = Path(run).with_suffix(ending)
    if output.exists():
        raise UsageError(f"{output} exists; to replace it, name it with --output")
    return output


def _channels_first(shape: tuple[int, ...]) -> str:
    H, W, C = shape
    return f"[N, {C}, {H}, {W}]"


def add_to(commands: Any) -> None:
    """Add the two commands and their arguments to the parser."""
    about = "write a trained network for PyTorch or as an ONNX model"
    example = (
        "examples:\n"
        "  minicnn export runs/second --to onnx\n"
        "  minicnn export runs/second --to safetensors-torch"
    )
    parser = add_command(commands, "export", export_command, about, example)
    parser.add_argument("run", metavar="RUN", help=RUN_OR_FILE)
    parser.add_argument(
        "--to", choices=tuple(ENDINGS), required=True,
        help='weights for load_state_dict, or the whole network (requires "minicnn[onnx]")',
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE",
        help=f"the file to write (network{ENDINGS['safetensors-torch']} or network{ENDINGS['onnx']}, in RUN)",
    )  # fmt: skip

    about = "convert weights from PyTorch, or an ONNX model, to a network file"
    example = (
        "FILE is an ONNX model (.onnx), or a state_dict saved with safetensors.torch.save_file.\n"
        "\n"
        "examples:\n"
        "  minicnn import model.safetensors network.safetensors\n"
        "  minicnn import model.onnx network.safetensors --mean 0.1307 --std 0.3081\n"
        "  minicnn evaluate network.safetensors"
    )
    parser = add_command(commands, "import", import_command, about, example)
    parser.add_argument("file", metavar="FILE", help="a state_dict in safetensors, or an ONNX model")
    parser.add_argument("output", metavar="OUTPUT", help="the network file to write")
    for name, what in (("mean", "mean"), ("std", "standard deviation")):
        about = f"{what} with which pixels / 255 were normalized, for each channel"
        parser.add_argument(f"--{name}", type=float, nargs="+", metavar="X", help=about)
