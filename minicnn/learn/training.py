"""In the child: the learner's code trains the network, then our kernels take its place one by one.

First a few steps are measured: code that is correct may still be slow, and its author learns that before it
starts. One BLAS thread computes (see `sessions`), and in the comparison one core for us, too.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data import Dataset, to_float
from minicnn.data.loader import Loader
from minicnn.learn.child import loaded
from minicnn.learn.exercises import EXERCISES, NETWORK
from minicnn.learn.learner import Learner
from minicnn.learn.network import Network
from minicnn.learn.swapping import compare

SEED = 0
LOOKED_AT = 1000  # validation images, for the accuracy on the way
TOO_LONG = 600.0  # seconds of training that nobody waits for unasked
FUNCTIONS = [name for exercise in EXERCISES for name in exercise.functions]


class Timed:
    """The learner's functions, and how many seconds each has taken."""

    functions: dict[str, Callable[..., Any]]

    def __init__(self, learner: Learner) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(FUNCTIONS, 0.0)
        self.functions = {name: self._timed(name, learner.find(name)) for name in FUNCTIONS}
        self._learner = learner

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            except (Exception, SystemExit) as error:
                raise self._learner.failed(name, arguments, error) from error
            finally:
                self.seconds[name] += time.perf_counter() - began

        return measured


def train(request: dict[str, Any], send: Callable[..., None]) -> None:
    """Train, save, and send {"estimate"}, {"step"}, {"test"}, {"saved"}, {"swap"} events.

    {"wrong"} if the learner's code fails, {"not_saved"} if the network cannot be written.
    """
    from minicnn.data import load_data, load_mnist
    from minicnn.learn.findings import Wrong

    path = request["data"]
    data = load_mnist() if path is None else load_data(path, **request["orientation"])
    learner = loaded(request["path"], send)
    if learner is None:
        return
    timed = Timed(learner)
    batch = Loader(data.train, request["batch"], SEED, ops="reference")
    try:
        with np.errstate(all="ignore"):
            if _worth_it(timed, data, batch, request, send):
                _train(timed, data, batch, request, send)
                compare(learner, timed.functions, data, batch, send)
    except Wrong as wrong:
        send(wrong=wrong.finding.to_json())


def _worth_it(
    timed: Timed, data: Dataset, batch: Loader, request: dict[str, Any], send: Callable[..., None]
) -> bool:
    """Measure steps and tell how long the training will take; whether it is short enough, or wanted.

    It is the code that is judged: what other programs take away does not make it slow.
    """
    network = Network(timed.functions, data.shape, len(data.classes), SEED)
    x, labels = batch(1)
    network.train_step(x[:1], labels[:1])  # the first is slow for other reasons
    seconds, images = _measured(timed, network, x[:1], labels[:1]), 1
    if seconds[0] * len(x) < TOO_LONG / 10:
        measured = [_measured(timed, network, x, labels) for _ in range(3)]
        seconds, images = np.min(measured, axis=0), len(x)
    looks = math.ceil(request["steps"] / request["every"]) * min(LOOKED_AT, len(data.validation))
    steps = request["steps"] + (looks + len(data.test)) / len(x) / 3  # forward is a third of a step
    step, own = map(float, seconds / images * len(x))
    total, alone = steps * step, steps * min(step, own)
    slowest = max(FUNCTIONS, key=timed.seconds.__getitem__)
    share = timed.seconds[slowest] / sum(timed.seconds.values())
    start = alone <= TOO_LONG or request["anyway"]
    send(estimate=total, alone=alone, busy=alone <= TOO_LONG < total, step_seconds=step,
         slowest=slowest, share=share, start=start,
         steps=request["steps"], batch=len(x))  # fmt: skip
    return start


def _measured(timed: Timed, network: Network, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Seconds of a step: on the clock, and of the processor."""
    timed.seconds.update(dict.fromkeys(FUNCTIONS, 0.0))
    began = np.array([time.perf_counter(), time.process_time()])
    network.train_step(x, labels)
    return np.array([time.perf_counter(), time.process_time()]) - began


def _train(
    timed: Timed, data: Dataset, batch: Loader, request: dict[str, Any], send: Callable[..., None]
) -> None:
    network = Network(timed.functions, data.shape, len(data.classes), SEED)
    looked_at, labels = to_float(data.validation.images[:LOOKED_AT]), data.validation.labels[:LOOKED_AT]
    began = time.monotonic()
    for step in range(1, request["steps"] + 1):
        loss = network.train_step(*batch(step))
        if not math.isfinite(loss):
            send(diverged=step)
            return
        last = step == request["steps"]
        event: dict[str, Any] = {"step": step, "loss": loss, "seconds": time.monotonic() - began}
        event["steps"] = request["steps"]
        if step % request["every"] == 0 or last:
            event["accuracy"] = network.correct(looked_at, labels) / len(looked_at)
        send(**event)
    trained = time.monotonic() - began
    correct = network.correct(to_float(data.test.images), data.test.labels)
    send(test=correct, count=len(data.test), seconds=trained)
    file = free_name(Path(request["directory"]))
    try:
        network.layers.save(file)
        send(saved=file.name, taken=file.name != NETWORK)
    except OSError as error:
        send(not_saved=error.strerror or str(error))


def free_name(directory: Path) -> Path:
    """A name for a network that replaces nothing: my_network.safetensors, my_network-2.safetensors, ..."""
    file, number = directory / NETWORK, 1
    while os.path.lexists(file):
        number += 1
        file = directory / NETWORK.replace(".", f"-{number}.")
    return file
