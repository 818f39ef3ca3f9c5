"""What the tests of `minicnn learn` share: the solution with mistakes in it, and the outcome of its check."""

from pathlib import Path

from commands import run_main

from minicnn.checks.files.discover import load
from minicnn.learn.exercises import EXERCISES, FILE
from minicnn.learn.findings import NotStarted, Wrong
from minicnn.learn.learner import Learner

SOLUTION = (Path(__file__).parent / "learn_solution.py").read_text()


def with_changes(*changes):
    """The solution with lines replaced: pairs of what stands there, exactly once, and what comes instead."""
    text = SOLUTION
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def finding(directory, exercise, text):
    """What the check of an exercise finds in a file with this text; None if it passes."""
    file = directory / "my_network.py"
    file.write_text(text)
    learner = Learner(load(file), file)
    try:
        next(e for e in EXERCISES if e.name == exercise).check(learner)
    except Wrong as wrong:
        return wrong.finding
    except NotStarted as missing:
        return f"{missing.function} is not started"
    return None


def write(text, directory="course"):
    """A learner's file with this text; the name of its directory."""
    Path(directory).mkdir(exist_ok=True)
    (Path(directory) / FILE).write_text(text)
    return directory


def train_of(capsys, data, *options, text=SOLUTION):
    """What `learn train` prints for a file with this text, in three steps of five images."""
    short = ["--language", "en", "--steps", 3, "--batch-size", 5, "--data", data]
    return run_main(capsys, "learn", "train", write(text), *short, *options)
