"""What a worker does: train one cell of a sweep, from wherever its run stands, to its end."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minicnn.data import Dataset
from minicnn.engine.ops import find_ops
from minicnn.runs import refusal
from minicnn.runs.directory import InUse, RunError, read_config
from minicnn.runs.loop import train
from minicnn.runs.run import Run, load_dataset
from minicnn.runs.settings import ORIENTATION, Settings, settings_for
from minicnn.runs.warmup import compile_step
from minicnn.storage.outputs import CONFIG, PICTURES
from minicnn.tutorial import Diverged

WAIT = 1.0  # seconds between two attempts to get a run that another worker still holds


class CellOutcome(NamedTuple):
    """How a cell ended: its result on the test images, or why it failed, in one line."""

    correct: int
    tested: int
    failure: str = ""


def train_cell(directory: str, settings: Mapping[str, Any], threads: int) -> CellOutcome:
    """Begin the run in a directory, or resume it, and train it to its end.

    Its files and bits are those of `minicnn train` with these settings. If another process still trains the
    run, as a worker does that was cut off from the others, this waits for it.
    """
    wanted = Settings(**settings)
    try:
        _use_threads(wanted, threads)
        data = _dataset_of(wanted)
        while True:
            try:
                return _train(wanted, data, Path(directory))
            except InUse:
                time.sleep(WAIT)
    except (Diverged, MemoryError, OSError, ValueError) as error:
        return CellOutcome(0, 0, str(error) or type(error).__name__)


def compile_for(settings: Sequence[Mapping[str, Any]], threads: int) -> None:
    """Compile the kernels of these settings into the cache, so that other workers find them there."""
    for one in settings:
        wanted = Settings(**one)
        if find_ops(wanted.ops).compiled:
            data = _dataset_of(wanted)
            compile_step(wanted, data.shape, len(data.classes), threads)


def _train(settings: Settings, data: Dataset, directory: Path) -> CellOutcome:
    if (directory / CONFIG).exists():
        found, _ = read_config(directory)
        if dataclasses.replace(found, data=settings.data) != settings:
            raise RunError(f"{directory}: holds a run with other settings")
        run = Run.open(settings, data, directory)
    else:
        for name in PICTURES:
            if (directory / name).exists():
                raise RunError(f"{directory}: already holds a {name}")
        run = Run.create(settings, data, directory)
    train(run)
    return _finish(run)


def _finish(run: Run) -> CellOutcome:
    """Write what `minicnn train` writes at the end."""
    from minicnn import pictures

    probabilities = run.test_probabilities()
    run.release()
    refusal.write_rule(run.directory, run.network, run.data.validation)
    run.network.free_memory()
    pictures.draw_run(run, probabilities)
    labels = run.data.test.labels
    return CellOutcome(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))


def _use_threads(settings: Settings, threads: int) -> None:
    if find_ops(settings.ops).compiled:
        from minicnn.engine.kernels.threads import set_threads

        set_threads(threads)


def _dataset_of(settings: Settings) -> Dataset:
    seed = 0 if settings.data is None else settings.seed  # MNIST is split without chance
    return _dataset(settings.data, seed, *(getattr(settings, name) for name in ORIENTATION))


@functools.lru_cache(maxsize=1)
def _dataset(data: str | None, seed: int, size: int | None, transpose: bool, invert: bool) -> Dataset:
    """A data set, kept for the next cell. The seed decides which images are held out."""
    return load_dataset(settings_for(data=data, seed=seed, size=size, transpose=transpose, invert=invert))
