"""evaluate: measure a trained network on the test images, class by class."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import (
    RUN_OR_FILE,
    add_command,
    add_orientation,
    class_names,
    known_labels,
    open_classifier,
    open_run,
    orientation,
    prepare_kernels,
    result,
)
from minicnn.cli.terminal import UsageError, say, warn

if TYPE_CHECKING:
    import numpy as np

CONFUSIONS = 5  # how many of the most frequent ones are printed


def evaluate_command(args: argparse.Namespace) -> int:
    """Measure a trained network on the test images of its run, or of another data set."""
    if args.data is None and os.path.isdir(args.run):
        run = open_run(args.run)
        _print_evaluation(run.data.test.labels, run.test_probabilities(), run.data.classes)
        say(f"measured after {run.step} of {run.settings.steps} steps")
        return 0
    from minicnn.data import load_data, load_mnist

    network = open_classifier(args.run)
    prepare_kernels(network.layers[0].ops)
    classes = class_names(args.run, network.shapes[-1][0])
    try:
        data = (
            load_mnist()
            if args.data is None
            else load_data(args.data, **orientation(args.run, args, args.data))
        )
        labels = known_labels(data, classes, args.data or "MNIST")
        _print_evaluation(labels, network.predict(data.test.images), classes)
    except ValueError as error:
        raise UsageError(error) from None
    return 0


def _print_evaluation(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> None:
    import numpy as np

    from minicnn.pictures import confusion_counts

    if undefined := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        warn(f"the network's output is not finite for {undefined} of {len(labels)} images")
    say(result(labels, probabilities))
    counts = confusion_counts(labels, probabilities.argmax(axis=1), len(classes))  # [true, predicted]
    for index, row in enumerate(counts):
        if row.sum():
            say(
                f"class {classes[index]}  accuracy {row[index] / row.sum():.4f} ({row[index]} of {row.sum()})"
            )
    errors = [(counts[t, p], t, p) for t, p in np.argwhere(counts) if t != p]
    for count, true, predicted in sorted(errors, key=lambda e: (-e[0], e[1:]))[:CONFUSIONS]:
        say(f"class {classes[true]} mistaken for {classes[predicted]}: {count} of {counts[true].sum()}")


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "measure a trained network on the test images, class by class"
    example = "examples:\n  minicnn evaluate runs/second\n  minicnn evaluate runs/second --data fashion"
    parser = add_command(commands, "evaluate", evaluate_command, about, example)
    parser.add_argument("run", metavar="RUN", help=RUN_OR_FILE)
    parser.add_argument("--data", metavar="PATH", help="a data set with other test images (that of the run)")
    add_orientation(parser)
