"""predict: recognize the digit on a photograph or drawing, and show how the network came to its answer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import RUN_OR_FILE, add_command, open_classifier, prepare_kernels
from minicnn.cli.terminal import UsageError, fail, say

if TYPE_CHECKING:
    import numpy as np

    from minicnn.data.photo import Preprocessed
    from minicnn.engine.network import Sequential

BEST = 3  # how many answers are printed
TOGETHER = 32  # images at a time; what they looked like at each stage is some megabytes each


def predict_command(args: argparse.Namespace) -> int:
    """Print the most probable digits for every image; the exit code is 2 if one cannot be read."""
    from minicnn.data.photo import SIDE

    network = open_classifier(args.run)
    if network.input_shape != (SIDE, SIDE, 1):
        shape = list(network.input_shape)
        raise UsageError(
            f"{args.run}: expected a network for images [{SIDE}, {SIDE}, 1], got one for {shape}"
        )
    prepare_kernels(network.layers[0].ops)
    pictures = _picture_names(args.image)
    code = 0
    for first in range(0, len(args.image), TOGETHER):
        images, reasons = _read(args.image[first : first + TOGETHER], args.as_is)
        for reason in reasons:
            code = fail(f"error: {reason}")
        code = _answer(network, images, pictures if args.show else None) or code
    return code


def _read(names: list[str], as_they_are: bool) -> tuple[list[tuple[str, Preprocessed]], list[str]]:
    """The images that can be used, with their names, and for each of the others the reason why not."""
    from minicnn.data.photo import ImageError, as_is, preprocess

    images: list[tuple[str, Preprocessed]] = []
    reasons = []
    for name in names:
        try:
            images.append((name, as_is(name) if as_they_are else preprocess(name)))
        except ImageError as error:
            reasons.append(str(error))
    return images, reasons


def _answer(
    network: Sequential, images: list[tuple[str, Preprocessed]], pictures: Iterator[Path] | None
) -> int:
    import numpy as np

    code = 0
    if not images:
        return code
    with np.errstate(all="ignore"):  # what overflows is seen in the answer
        answers = network.predict(np.stack([image.image for _, image in images]))
    for (name, image), answer in zip(images, answers, strict=True):
        if not np.isfinite(answer).all():
            code = fail(f"error: {name}: the network's output is not finite")
            continue
        best = np.argsort(-answer, kind="stable")[:BEST]
        say(f"{name}: " + "  ".join(f"{digit} ({answer[digit]:.4f})" for digit in best))
        if pictures is not None:
            picture = next(pictures)
            _show(network, image, answer, picture, Path(name).name)
            say(f"what the network saw: {picture}")
    return code


def _picture_names(images: list[str]) -> Iterator[Path]:
    """A name in this directory for the picture of each image.

    All differ, also from those of the images, and of files that are no picture of ours.
    """
    from minicnn.pictures import is_ours

    taken = {Path(image).resolve() for image in images}
    for image in images:
        stem, attempt = f"{Path(image).stem}-seen", 1
        while True:
            name = Path(f"{stem}.png" if attempt == 1 else f"{stem}-{attempt}.png")
            if name.resolve() not in taken and (not name.exists() or is_ours(name)):
                break
            attempt += 1
        taken.add(name.resolve())
        yield name


def _show(network: Sequential, stages: Preprocessed, answer: np.ndarray, picture: Path, name: str) -> None:
    import numpy as np

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
