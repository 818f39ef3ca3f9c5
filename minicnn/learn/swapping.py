"""In the child: our kernels take the place of the learner's functions, one exercise after the other.

Every variant makes the same steps from the same weights, so their losses have to agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.data import Dataset
from minicnn.data.loader import Loader
from minicnn.learn.learner import Learner
from minicnn.learn.network import KEEP_PROB, LEARNING_RATE, Network

STEPS = 7  # the first is not timed; of the others the fastest counts
SEED = 0


def compare(
    learner: Learner,
    functions: dict[str, Callable[..., Any]],
    data: Dataset,
    batch: Loader,
    send: Callable[..., None],
) -> None:
    """Send {"swap"}, milliseconds and losses, for each variant; {"no_kernels"} where none can be compiled."""
    from minicnn.engine.ops import find_ops

    try:
        kernels = find_ops("kernels")
        if not kernels.compiled:
            raise ImportError("NUMBA_DISABLE_JIT")
        from minicnn.engine.kernels.jit import thread_count
        from minicnn.engine.kernels.threads import set_threads
    except ImportError as error:
        send(no_kernels=str(error))
        return
    cores = thread_count()
    send(compiling=True, cores=cores, swaps=list(ours(kernels)))
    set_threads(1)  # as the learner's code
    mine, swapped = dict(functions), [("", {}), *ours(kernels).items()]
    for exercise, replacements in swapped:
        if "im2col" in replacements:
            learner.replace("im2col", replacements["im2col"])  # it is called from the learner's file only
        mine |= replacements
        network = Network(mine, data.shape, len(data.classes), SEED)
        milliseconds, losses = _timed(network.train_step, batch, time.process_time)
        send(swap=exercise, milliseconds=milliseconds, losses=losses, last=False)
    step = _whole(data)
    send(swap="whole", milliseconds=_timed(step, batch, time.process_time)[0], losses=[], last=cores == 1)
    if cores > 1:
        set_threads(cores)
        send(
            swap="cores",
            milliseconds=_timed(step, batch, time.perf_counter)[0],
            losses=[],
            last=True,
            cores=cores,
        )


def _timed(
    train_step: Callable[[Any, Any], float], batch: Loader, clock: Callable[[], float]
) -> tuple[float, list[float]]:
    """Milliseconds of a step, and the losses. On one core, processor time is what others cannot take away."""
    times, losses = [], []
    for step in range(1, STEPS + 1):
        x, labels = batch(step)
        began = clock()
        losses.append(train_step(x, labels))
        times.append(1000 * (clock() - began))
    return min(times[1:]), losses


def _whole(data: Dataset) -> Callable[[Any, Any], float]:
    """A training step as minicnn makes it: convolution, ReLU and pool in one kernel."""
    from minicnn.engine.losses import SoftmaxCrossEntropy
    from minicnn.engine.optimizers import Adam
    from minicnn.tutorial import train_step, tutorial_network

    network = tutorial_network(SEED, KEEP_PROB, init="he", input_shape=data.shape, classes=len(data.classes))
    loss, adam = SoftmaxCrossEntropy(), Adam(network.parameters(), LEARNING_RATE)
    return lambda x, labels: train_step(network, loss, adam, x, labels)


def ours(kernels: Any) -> dict[str, dict[str, Callable[..., Any]]]:
    """Our functions, exercise by exercise, with the arguments of the learner's."""

    def dropout_forward(x: np.ndarray, keep_prob: float, rng: np.random.Generator) -> Any:
        return kernels.dropout_forward(x, rng.random(x.shape) < keep_prob, keep_prob)

    def loss_backward(cache: Any) -> np.ndarray:
        return kernels.softmax_cross_entropy_backward(1.0, cache)

    names = {"convolution": "conv2d", "pool": "max_pool2d", "relu": "relu"}
    pairs = {
        exercise: {f"{name}_{way}": getattr(kernels, f"{name}_{way}") for way in ("forward", "backward")}
        for exercise, name in names.items()
    }
    return {
        "im2col": {"im2col": kernels.im2col},
        **pairs,
        "dropout": {"dropout_forward": dropout_forward, "dropout_backward": kernels.dropout_backward},
        "loss": {
            "softmax_cross_entropy_forward": kernels.softmax_cross_entropy_forward,
            "softmax_cross_entropy_backward": loss_backward,
        },
        "adam": {"adam_update": kernels.adam_update},
    }
