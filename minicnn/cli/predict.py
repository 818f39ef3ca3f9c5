"""predict: recognize the digit on a photograph or drawing, and show how the network came to its answer."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicnn.cli.answers import Marks, answers, best_of, is_table, named_pictures, write_pictures, write_table
from minicnn.cli.common import (
    RUN_OR_FILE,
    add_command,
    add_orientation,
    class_names,
    expect_place,
    open_classifier,
    other_images,
    prepare_kernels,
)
from minicnn.cli.terminal import UsageError, say, tell

if TYPE_CHECKING:
    import numpy as np

    from minicnn.data.photo import Preprocessed
    from minicnn.engine.network import Sequential
    from minicnn.runs.refusal import Refusal


def predict_command(args: argparse.Namespace) -> int:
    """Print the most probable classes for every image; the exit code is 2 if one cannot be read."""
    tables = [name for name in args.image if is_table(name)]
    if tables and args.to is None:
        raise UsageError(f"{tables[0]}: holds many images; name a file for the answers with --to")
    if tables and len(args.image) > 1:
        raise UsageError(f"{tables[0]}: expected one data set, or pictures, got {len(args.image)} arguments")
    pictures, labels, known = named_pictures(args.image if not tables else [])
    if args.to is not None:
        expect_place("--to", args.to, reading=[args.run, *args.image, *pictures, *known])
    network = open_classifier(args.run)
    classes = class_names(args.run, network.shapes[-1][0])
    if tables:
        prepare_kernels(network.layers[0].ops)
        return write_table(network, classes, args)
    read, note = _reader(args, network)
    rule = None if args.always else _rule(args.run, network)
    prepare_kernels(network.layers[0].ops)
    marks, count = Marks(labels, classes), 0
    answered = marks.of(answers(network, pictures, read, rule))
    if args.to is not None:
        count = write_pictures(answered, len(pictures), classes, args.to, rule is not None)
        marks.say()
        return 0 if count == len(pictures) else 2
    seen = _picture_names(pictures) if args.show else None
    for count, (name, image, answer, sure) in enumerate(answered, start=1):
        if count == 1 and note:
            tell(note)
        unsure = "" if sure else "not sure, best guess: "
        say(f"{name}: {unsure}" + "  ".join(f"{classes[k]} ({answer[k]:.4f})" for k in best_of(answer)))
        if seen is not None:
            picture = next(seen)
            _show(network, classes, image, answer, picture, Path(name).name)
            say(f"what the network saw: {picture}")
    marks.say()
    return 0 if count == len(pictures) else 2


def _reader(args: argparse.Namespace, network: Sequential) -> tuple[Callable[[str], Preprocessed], str]:
    """How an image becomes the network's input: prepared as MNIST's digits were, or scaled; and a note."""
    from minicnn.data.photo import SIDE, as_is, preprocess
    from minicnn.runs.directory import read_config

    shape = network.input_shape
    if len(shape) != 3 or shape[2] not in (1, 3):
        expected = "[H, W, 1] or [H, W, 3]"
        raise UsageError(f"{args.run}: expected a network for images {expected}, got one for {list(shape)}")
    digits = shape == (SIDE, SIDE, 1)
    if args.digits and not digits:
        raise UsageError(f"--digits: {args.run} is not for digits of {SIDE} x {SIDE} pixels")
    other = other_images(args.run)
    if args.digits or (digits and other is None and not args.as_is):
        return preprocess, ""
    notes = []
    if digits and other is not None and not args.as_is:
        scaled = "images are only scaled; --digits prepares them as MNIST's digits were"
        notes.append(f"trained on {other}: {scaled}")
    transpose = getattr(args, "transpose", False)  # photographs lie as they are seen
    own = os.path.isdir(args.run) and read_config(args.run)[0].invert
    if own and not hasattr(args, "invert"):
        notes.append(f"images are inverted, as the data of {args.run} was; --no-invert if they differ")
    read = functools.partial(as_is, shape=(shape[0], shape[1], shape[2]))
    return functools.partial(_turned, read, transpose, getattr(args, "invert", own)), "; ".join(notes)


def _turned(read: Callable[[str], Preprocessed], transpose: bool, invert: bool, name: str) -> Preprocessed:
    """A picture that is read as it is, with rows and columns swapped, or light and dark, if that is asked."""
    from minicnn.data.dataset import oriented

    found = read(name)
    image = oriented(found.image[None], transpose, invert)[0]
    light = found.grey.T if transpose else found.grey
    light = 1 - light if invert else light
    return dataclasses.replace(found, grey=light, ink=light, digit=light, image=image)


def _rule(run: str, network: Sequential) -> Refusal | None:
    """When the network of a run is not sure, if that is known."""
    from minicnn.runs import refusal

    try:
        return refusal.read(run, network) if os.path.isdir(run) else None
    except ValueError as error:
        raise UsageError(error) from None


def _picture_names(images: list[str]) -> Iterator[Path]:
    """A name in this directory for the picture of each image.

    All differ, also from those of the images, and of files that are no picture of ours.
    """
    from minicnn.pictures import is_ours

    taken = {os.path.realpath(image) for image in images}
    for image in images:
        stem, attempt = f"{Path(image).stem}-seen", 1
        while True:
            name = Path(f"{stem}.png" if attempt == 1 else f"{stem}-{attempt}.png")
            if os.path.realpath(name) not in taken and (not os.path.lexists(name) or is_ours(name)):
                break
            attempt += 1
        taken.add(os.path.realpath(name))
        yield name


def _show(
    network: Sequential,
    classes: tuple[str, ...],
    stages: Preprocessed,
    answer: np.ndarray,
    picture: Path,
    name: str,
) -> None:
    import numpy as np

    from minicnn.data import to_float
    from minicnn.pictures import draw_seen

    x = to_float(stages.image[None], network.dtype)
    image, outputs = x[0] if x.shape[3] == 3 else x[0, ..., 0], []
    for layer in network.layers:
        y = layer.forward(x)
        if y.size != x.size or not np.array_equal(y.ravel(), x.ravel()):  # not Flatten and Dropout
            outputs.append((layer.name, y[0]))
        x = y
    seen = [("as read", stages.grey), ("ink", stages.ink), ("digit", stages.digit)]
    draw_seen([*seen, ("network input", image)], outputs, answer, picture, name, classes)


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "recognize the digit on a photograph or drawing"
    example = (
        "One digit per image, of any size, dark on light or light on dark, in any common image format.\n"
        "Each line contains the three most probable digits with their probabilities. For an image that is\n"
        "unlike all that the network was trained on, the line says: not sure, best guess.\n"
        "\n"
        "examples:\n"
        "  minicnn predict runs/second photo.jpg drawing.png\n"
        "  minicnn predict runs/second photo.jpg --show      draws photo-seen.png, too\n"
        "  minicnn predict runs/second test.csv --to submission.csv"
    )
    parser = add_command(commands, "predict", predict_command, about, example)
    parser.add_argument("run", metavar="RUN", help=RUN_OR_FILE)
    parser.add_argument(
        "image",
        metavar="IMAGE",
        nargs="+",
        help="a picture, or a folder of them; with --to also a CSV file or another data set",
    )
    parser.add_argument("--to", metavar="FILE", help="write the answers to a CSV file, as Kaggle wants them")
    parser.add_argument(
        "--always", action="store_true", help="never say: not sure; probabilities uncalibrated"
    )
    parser.add_argument(
        "--show", action="store_true",
        help="draw what the network saw, and the output of each layer: IMAGE-seen.png in this directory",
    )  # fmt: skip
    parser.add_argument(
        "--as-is", action="store_true",
        help="only scale the images, which are light on dark (the default unless trained on MNIST)",
    )  # fmt: skip
    parser.add_argument(
        "--digits", action="store_true",
        help="prepare the images as MNIST's digits were (the default if trained on MNIST)",
    )  # fmt: skip
    add_orientation(parser)
