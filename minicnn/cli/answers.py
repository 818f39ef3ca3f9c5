"""What `predict` answers: for pictures one by one, and as the files that `--to` writes.

    ImageId,Label                                     a row for each image of a data set (for Kaggle)
    file,answer,probability,second,probability,...    a row for each picture; where the run tells (see
                                                      `minicnn.runs.refusal`), the last column is `sure`

A file appears when all of its answers are there.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minicnn.cli.common import accuracy, known_labels, orientation
from minicnn.cli.terminal import UsageError, fail, progress_bar, say
from minicnn.storage.outputs import write_output

if TYPE_CHECKING:
    import numpy as np

    from minicnn.data.photo import Preprocessed
    from minicnn.engine.network import Sequential
    from minicnn.runs.refusal import Refusal

    # The name of a picture, its stages, its probabilities, and whether the network is sure.
    Answered = tuple[str, Preprocessed, np.ndarray, bool]

TABLES = (".csv", ".csv.gz")
DATA = (".csv", ".gz", ".npz", ".parquet", ".bin", "ubyte")  # endings of files that hold many images
BEST = 3  # answers for a picture
TOGETHER = 32  # pictures at a time; what they looked like at each stage is some megabytes each


def is_table(path: str) -> bool:
    """Whether a path holds a data set, rather than being a picture or a folder of pictures."""
    from minicnn.data.sources.labelled import has_labels, pictures_in

    if not os.path.isdir(path):
        return path.lower().endswith((*TABLES, ".npz", ".parquet"))
    if has_labels(Path(path)):
        return False
    shown = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    others = any(entry.is_dir() or entry.name.lower().endswith(DATA) for entry in shown)
    return others or not pictures_in(Path(path))


class Named(NamedTuple):
    """Pictures, the labels of those that have one, and the tables in which these were found."""

    files: list[str]
    labels: dict[str, str]
    tables: list[str]


def named_pictures(paths: list[str]) -> Named:
    """The pictures at some paths; a folder stands for those that its `labels.csv` names, or for all in it."""
    from minicnn.data.sources.labelled import TABLE, has_labels, pictures_in, read_labels

    found = Named([], {}, [])
    try:
        for path in paths:
            if not os.path.isdir(path):
                found.files.append(path)
            elif has_labels(Path(path)):
                files, labels = read_labels(Path(path))
                found.tables.append(os.path.join(path, TABLE))
                found.files.extend(map(str, files))
                found.labels.update(zip(map(str, files), labels, strict=True))
            else:
                found.files.extend(os.path.join(path, name) for name in pictures_in(Path(path)))
    except ValueError as error:
        raise UsageError(error) from None
    return found


class Marks:
    """Counts the correct answers to pictures whose labels are known."""

    def __init__(self, labels: dict[str, str], classes: tuple[str, ...]) -> None:
        if unknown := sorted(set(labels.values()) - set(classes)):
            raise UsageError(
                f"labels.csv: class {unknown[0]} is none of the {len(classes)} classes of the network"
            )
        self._labels, self._classes, self._correct = labels, classes, 0

    def of(self, answered: Iterable[Answered]) -> Iterator[Answered]:
        """The same answers, which are counted as they pass."""
        for name, picture, answer, sure in answered:
            self._correct += self._classes[best_of(answer)[0]] == self._labels.get(name)
            yield name, picture, answer, sure

    def say(self) -> None:
        """Print the accuracy; a picture without an answer counts as wrong."""
        if self._labels:
            say(accuracy(self._correct, len(self._labels)))


def write_table(network: Sequential, classes: tuple[str, ...], args: argparse.Namespace) -> int:
    """Write the answers for all images of a data set, in the columns of Kaggle's competitions."""
    import numpy as np

    rows, correct, count, labels = [b"ImageId,Label\n"], 0, 0, None
    try:
        with progress_bar(None, unit=" images") as bar:
            for images, labels in _tables(network, classes, args):
                answers = network.predict(images)
                if not np.isfinite(answers).all():
                    raise UsageError("the network's output is not finite")
                names = [classes[k] for k in answers.argmax(axis=1)]
                rows.append(_text([(count + n, name) for n, name in enumerate(names, start=1)]))
                count += len(names)
                if labels is not None:
                    correct += sum(label == name for label, name in zip(labels, names, strict=True))
                bar.update(len(names))
    except ValueError as error:
        raise UsageError(error) from None
    if not count:
        raise UsageError(f"{args.image[0]}: no images")
    write_output(args.to, *rows)
    say(f"written: {args.to}, {count} answers")
    if labels is not None:
        say(accuracy(correct, count))
    return 0


def _tables(
    network: Sequential, classes: tuple[str, ...], args: argparse.Namespace
) -> Iterator[tuple[np.ndarray, Any]]:
    """Images, some at a time, and the names of their classes where they are known."""
    from minicnn.data import load_data
    from minicnn.data.dataset import oriented
    from minicnn.data.sources.csv_file import stream_csv

    path = Path(args.image[0])
    how = orientation(args.run, args, args.image[0])
    inside = [path / name for name in ("test.csv", "test.csv.gz")] if path.is_dir() else [path]
    table = next((file for file in inside if file.is_file() and file.name.lower().endswith(TABLES)), None)
    if table is not None:
        for piece in stream_csv(table):
            images = oriented(piece.images, how.get("transpose", False), how.get("invert", False))
            yield images, None if piece.labels is None else _names(piece.labels, classes)
        return
    data = load_data(path, **how)
    names = [classes[label] for label in known_labels(data, classes, args.image[0])]
    for first in range(0, len(data.test), 1000):
        yield data.test.images[first : first + 1000], names[first : first + 1000]


def _names(labels: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    """The names of the classes of numbers in a table: a class has this name, or this place in the order."""
    order = {str(number): name for number, name in enumerate(classes)}
    return [name if name in classes else order.get(name, name) for name in map(str, labels.tolist())]


def answers(
    network: Sequential, names: list[str], read: Callable[[str], Preprocessed], rule: Refusal | None = None
) -> Iterator[Answered]:
    """Each picture with its name, the probabilities, and whether the network is sure, by the rule.

    For a picture that has no answer, an error is printed.
    """
    import numpy as np

    from minicnn.data.photo import ImageError

    for first in range(0, len(names), TOGETHER):
        pictures = []
        for name in names[first : first + TOGETHER]:
            try:
                pictures.append((name, read(name)))
            except ImageError as error:
                fail(f"error: {error}")
        if not pictures:
            continue
        with np.errstate(all="ignore"):  # what overflows is seen in the answer
            found, sure = _judged(network, np.stack([picture.image for _, picture in pictures]), rule)
        for (name, picture), answer, known in zip(pictures, found, sure, strict=True):
            if np.isfinite(answer).all():
                yield name, picture, answer, bool(known)
            else:
                fail(f"error: {name}: the network's output is not finite")


def _judged(network: Sequential, images: np.ndarray, rule: Refusal | None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, K], and whether the network is sure [N]."""
    import numpy as np

    from minicnn.runs.features import features_of

    if rule is None:
        return network.predict(images), np.ones(len(images), bool)
    features, logits = features_of(network, images)
    probabilities = rule.probabilities(logits)
    return probabilities, ~rule.unsure(features, probabilities)


def best_of(answer: np.ndarray) -> list[int]:
    """The most probable classes, the best first; of equal ones the first."""
    import numpy as np

    return [int(k) for k in np.argsort(-answer, kind="stable")[:BEST]]


def write_pictures(
    answered: Iterable[Answered],
    count: int,
    classes: tuple[str, ...],
    file: str,
    judged: bool,
) -> int:
    """Write the best answers for each of `count` pictures that has one; return how many have.

    If they were `judged`, a last column says whether the network is sure.
    """
    ordinals = ("answer", "second", "third")[: len(classes)]
    last = ["sure"] if judged else []
    rows = [_text([["file", *(cell for name in ordinals for cell in (name, "probability")), *last]])]
    with progress_bar(count, unit=" pictures") as bar:
        for name, _, answer, sure in answered:
            last = ["yes" if sure else "no"] if judged else []
            cells = [cell for k in best_of(answer) for cell in (classes[k], f"{answer[k]:.4f}")]
            rows.append(_text([[name, *cells, *last]]))
            bar.update()
    if len(rows) > 1:
        write_output(file, *rows)
        say(f"written: {file}, {len(rows) - 1} answers")
    return len(rows) - 1


def _text(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
