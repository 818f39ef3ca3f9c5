"""Training a run to its end: steps, now and then a measurement, and a checkpoint every few seconds.

The steps themselves are `minicnn.tutorial.training_steps`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.runs.directory import alone_in, append_metrics
from minicnn.runs.run import Measurement, Run
from minicnn.runs.signals import StopSignals
from minicnn.runs.team import TeamLost


class Stopped(Exception):  # noqa: N818
    """A signal asked the training to stop; the run was saved at `step`."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.signal_number: int = signal_number
        self.step: int = step


def train(
    run: Run,
    log: Callable[[Measurement], None] = lambda measurement: None,
    progress: Callable[[int], None] = lambda images: None,
) -> None:
    """Train `run` until it has made all its steps, and leave it saved.

    `log` gets a measurement every `log_every` steps and after the last; `progress` the number of
    images of every step. Ctrl-C and SIGTERM end the training after the current step: the run is
    saved and Stopped is raised. Raises Diverged, with the last good state still saved, when a loss
    or a weight is not finite, RunError if the run cannot be written, and TeamLost, with the run saved, if
    another process that trains it is lost.
    """
    steps, log_every = run.settings.steps, run.settings.log_every
    with alone_in(run.directory), StopSignals() as stop, np.errstate(all="ignore"):
        run.prepare_directory()
        run.team.heed(stop)
        try:
            while run.step < steps and run.team.stopped is None:
                loss = run.train_one_batch()
                progress(run.settings.batch_size)
                if run.step % log_every == 0 or run.step == steps:
                    measurement = run.measure(loss)
                    append_metrics(run.directory, measurement.row())
                    log(measurement)
                if run.save_is_due():
                    run.save()
        except TeamLost:
            run.save()
            raise
        run.save()
    if run.team.stopped is not None and run.step < steps:
        raise Stopped(run.team.stopped, run.step)
