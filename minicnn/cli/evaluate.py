"""evaluate: measure a trained network on the test images, class by class."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import RUN_OR_FILE, add_command, open_classifier, open_run, prepare_kernels, result
from minicnn.cli.terminal import UsageError, say, warn

if TYPE_CHECKING:
    import numpy as np

CONFUSIONS = 5  # how many of the most frequent ones are printed


def evaluate_command(args: argparse.Namespace) -> int:
    """Measure a trained network on the test images of its run, or of another data set."""
    from minicnn.data import load_mnist

    if os.path.isfile(args.run):
        network = open_classifier(args.run)
        prepare_kernels(network.layers[0].ops)
        try:
            test = load_mnist(args.data).test
            _print_evaluation(test.labels, network.predict(test.images))
        except ValueError as error:
            raise UsageError(error) from None
    else:
        run = open_run(args.run, args.data)
        _print_evaluation(run.data.test.labels, run.test_probabilities())
        say(f"measured after {run.step} of {run.settings.steps} steps")
    return 0


def _print_evaluation(labels: np.ndarray, probabilities: np.ndarray) -> None:
    import numpy as np

    from minicnn.pictures import confusion_counts

    if undefined := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        warn(f"the network's output is not finite for {undefined} of {len(labels)} images")
    say(result(labels, probabilities))
    classes = max(probabilities.shape[1], int(labels.max(initial=0)) + 1)
    counts = confusion_counts(labels, probabilities.argmax(axis=1), classes)  # [true, predicted]
    for digit, row in enumerate(counts):
        if row.sum():
            say(f"class {digit}  accuracy {row[digit] / row.sum():.4f} ({row[digit]} of {row.sum()})")
    errors = [(counts[t, p], t, p) for t, p in np.argwhere(counts) if t != p]
    for count, true, predicted in sorted(errors, key=lambda e: (-e[0], e[1:]))[:CONFUSIONS]:
        say(f"class {true} mistaken for {predicted}: {count} of {counts[true].sum()}")


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "measure a trained network on the test images, class by class"
    example = "examples:\n  minicnn evaluate runs/second\n  minicnn evaluate runs/second --data fashion"
    parser = add_command(commands, "evaluate", evaluate_command, about, example)
    parser.add_argument("run", metavar="RUN", help=RUN_OR_FILE)
    parser.add_argument("--data", metavar="DIR", help="a directory with other test images (those of the run)")
