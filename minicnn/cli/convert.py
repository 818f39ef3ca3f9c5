"""convert: any data set that can be trained on, as IDX files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from minicnn.cli.common import add_command, add_orientation, expect_name, open_data
from minicnn.cli.terminal import UsageError, say, warn


def convert_command(args: argparse.Namespace) -> int:
    """Write the images and labels of a data set as IDX files into a new directory."""
    import numpy as np

    from minicnn.data import remarks
    from minicnn.data.idx import idx_header
    from minicnn.storage.files import make_directory, write_whole

    expect_name("PATH", args.data)
    expect_name("DIR", args.directory)
    if os.path.lexists(args.directory):
        raise UsageError(f"DIR: {args.directory} exists; choose another name")
    try:
        data = open_data(args)
    except ValueError as error:
        raise UsageError(error) from None
    say(f"found {data}")
    for line in remarks.look(data):
        warn(line)
    if len(data.classes) > 256:
        raise UsageError(f"{args.data}: IDX files have bytes for labels, got {len(data.classes)} classes")

    held_out, train = data.validation, data.train
    images, labels = (
        np.concatenate([getattr(split, name) for split in (held_out, train)]) for name in ("images", "labels")
    )
    arrays = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": data.test.images,
        "t10k-labels-idx1-ubyte": data.test.labels,
    }
    directory = Path(args.directory)
    make_directory(directory)
    for name, array in arrays.items():
        write_whole(directory / name, idx_header(array.shape), np.ascontiguousarray(array).tobytes())
    if data.classes != tuple(map(str, range(len(data.classes)))):
        codes = (" ".join(str(ord(character)) for character in name) for name in data.classes)
        mapping = "".join(f"{label} {code}\n" for label, code in enumerate(codes))
        write_whole(directory / "mapping.txt", mapping.encode())
    say(f"written: {', '.join(sorted(path.name for path in directory.iterdir()))} in {directory}")
    return 0


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "write any data set that can be trained on as IDX files"
    example = (
        "PATH is IDX files, a NumPy archive, CSV, parquet, CIFAR's binary files, or pictures in folders.\n"
        "\n"
        "examples:\n"
        "  minicnn convert train.csv digits\n"
        "  minicnn convert pictures shapes --size 28"
    )
    parser = add_command(commands, "convert", convert_command, about, example)
    parser.add_argument("data", metavar="PATH", help="the data set")
    parser.add_argument("directory", metavar="DIR", help="the directory to make")
    add_orientation(parser)
