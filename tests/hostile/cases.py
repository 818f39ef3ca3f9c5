"""How hostile files are enrolled: functions that make one, under the kind of file that it stands in for.

`good` are the bytes of the good file in whose place it is put. None has more than 100 kB on the disk.
"""

from collections.abc import Callable
from typing import NamedTuple

HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
BILLION = 10**9


class Case(NamedTuple):
    """A file, and what must happen: it is refused, unless the name of the row is in `read_by`."""

    name: str
    make: Callable  # (path, good)
    read_by: tuple[str, ...] = ()  # beginnings of rows, "" for all


CASES: dict[str, list[Case]] = {}


def case(*kinds, read_by=()):
    """Enrol a function that makes a file. `read_by`: the rows that read it nevertheless, without error."""

    def enrol(make):
        for kind in kinds:
            by = read_by.get(kind, ()) if isinstance(read_by, dict) else read_by
            if kind in LOOKED_AT:
                by = [""]
            CASES.setdefault(kind, []).append(Case(make.__name__.replace("_", " "), make, tuple(by)))
        return make

    return enrol


def content(*kinds, read_by=()):
    """Enrol a function that returns the bytes of a file."""

    def enrol(function):
        def make(path, good):
            path.write_bytes(function(good))

        make.__name__ = function.__name__
        case(*kinds, read_by=read_by)(make)
        return function

    return enrol


def renamed(name, function):
    """The function under another name, which is that of its case."""
    function.__name__ = name
    return function


CHECKSUMMED = "checkpoint", "previous", "network", "rule"
IDX = "images", "labels"
SETS = "csv", "npz", "cifar", "pixels", "names", "parquet", "listed"  # data sets in other forms
OF_RUNS = "config", "metrics", "plan", "measured"
FILES = (*OF_RUNS, *CHECKSUMMED, *IDX, "image", "torch", "onnx", "weights", *SETS)

# Whether it may be replaced, what classes are called, how far a run of a sweep is: this stops no command.
LOOKED_AT = ("picture", "names", "measured")
# A run without a checkpoint is at its beginning; one without metrics, or with damaged ones, goes on.
BEGINNING = {
    "checkpoint": ["train --resume", "evaluate RUN", "report"],
    "metrics": ["train --resume"],
    "pixels": [""],  # a picture fewer
    "listed": ["predict FOLDER"],  # pictures without labels
    "rule": [""],  # a run that was not calibrated
}
NO_DATA = ["predict", "export", "train --from"]  # what needs neither the data of a run nor its settings
AS_IS = ["predict FILE --as-is"]
REPAIRED = {"metrics": ["train --resume"]}
