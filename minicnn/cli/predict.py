"""predict: recognize the digit on a photograph or drawing, and show how the network came to its answer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.cli.common import RUN_OR_FILE, add_command, open_network, prepare_kernels
from minicnn.cli.terminal import UsageError, one_line

if TYPE_CHECKING:
    from minicnn.data.photo import Preprocessed
    from minicnn.engine.network import Sequential

BEST = 3  # how many answers are printed


def predict_command(args: argparse.Namespace) -> int:
    """Print the most probable digits for every image. If one image is bad, do nothing."""
    from minicnn.data.photo import SIDE, ImageError, as_is, preprocess

    network = open_network(args.run)
    if network.input_shape != (SIDE, SIDE, 1):
        shape = list(network.input_shape)
        raise UsageError(
            f"{args.run}: expected a network for images [{SIDE}, {SIDE}, 1], got one for {shape}"
        )
    prepare_kernels(network.layers[0].ops)
    images, stages = [], []
    try:
        for name in args.image:
            preprocessed = as_is(name) if args.as_is else preprocess(name)
            images.append(preprocessed.image)
            stages.append(preprocessed if args.show else None)  # some megabytes each
    except ImageError as error:
        raise UsageError(error) from None

    pictures = _picture_names(args.image)
    for name, seen, answer in zip(args.image, stages, network.predict(np.stack(images)), strict=True):
        best = np.argsort(-answer, kind="stable")[:BEST]
        print(one_line(name) + ":", "  ".join(f"{digit} ({answer[digit]:.4f})" for digit in best))
        if seen is not None:
            picture = next(pictures)
            _show(network, seen, answer, picture, Path(name).name)
            print(f"what the network saw: {one_line(str(picture))}", flush=True)
    return 0


def _picture_names(images: list[str]) -> Iterator[Path]:
    """A name in this directory for the picture of each image; all differ, also from those of the images."""
    taken = {Path(image).resolve() for image in images}
    for image in images:
        stem, attempt = f"{Path(image).stem}-seen", 1
        while (name := Path(f"{stem}.png" if attempt == 1 else f"{stem}-{attempt}.png")).resolve() in taken:
            attempt += 1
        taken.add(name.resolve())
        yield name


def _show(network: Sequential, stages: Preprocessed, answer: np.ndarray, picture: Path, name: str) -> None:
    from minicnn.data import to_float
    from minicnn.pictures import draw_seen

    x = to_float(stages.image[None], network.dtype)
    image, outputs = x[0, ..., 0], []
    for layer in network.layers:
        y = layer.forward(x)
        if y.size != x.size or not np.array_equal(y.ravel(), x.ravel()):  # not Flatten and Dropout
            outputs.append((layer.name, y[0]))
        x = y
    seen = [("as read", stages.grey), ("ink", stages.ink), ("digit", stages.digit)]
    draw_seen([*seen, ("network input", image)], outputs, answer, picture, name)


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "recognize the digit on a photograph or drawing"
    example = (
        "One digit per image, of any size, dark on light or light on dark, in any common image format.\n"
        "Each line contains the three most probable digits with their probabilities.\n"
        "\n"
        "examples:\n"
        "  minicnn predict runs/second photo.jpg drawing.png\n"
        "  minicnn predict runs/second photo.jpg --show      draws photo-seen.png, too"
    )
    parser = add_command(commands, "predict", predict_command, about, example)
    parser.add_argument("run", metavar="RUN", help=RUN_OR_FILE)
    parser.add_argument("image", metavar="IMAGE", nargs="+", help="a photograph or drawing of one digit")
    parser.add_argument(
        "--show", action="store_true",
        help="draw what the network saw, and the output of each layer: IMAGE-seen.png in this directory",
    )  # fmt: skip
    parser.add_argument(
        "--as-is", action="store_true",
        help="do not preprocess the images, which are light on dark (for data sets other than digits)",
    )  # fmt: skip
