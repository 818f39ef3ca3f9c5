"""Write data/NAME.json: measurements of the course that take minutes, with several seeds.

    python notebooks/make_experiments.py first_loss dead_units without_relu optimizers

A notebook shows what is stored, and measures a small part of it again with the functions of this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import course
import numpy as np

import minicnn
from minicnn.data import Batches, to_float
from minicnn.engine.initializers import Initializer, he_normal, truncated_normal

DATA = Path(__file__).parent / "data"
BIASES = (0.0, 0.1)

# --- Q4: the loss before training, with five kinds of first weights -------------------------------


def normal(stddev: float) -> Initializer:
    """Normal with mean 0; the largest of three million draws is five times `stddev`."""
    return lambda rng, shape: stddev * rng.standard_normal(shape)


def clipped(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with deviation 0.1; what lies beyond 0.2 becomes 0.2."""
    return np.clip(normal(0.1)(rng, shape), -0.2, 0.2)


KINDS: dict[str, Initializer] = {
    "normal": normal(0.1),
    "clipped": clipped,
    "redrawn": truncated_normal(0.1),
    "normal 0.088": normal(0.08796),
    "He": he_normal,
}


def loss_before_training(weights: Initializer, seed: int) -> float:
    """The loss of the tutorial's network on 200 test images, its weights drawn by `weights`."""
    net, rng = minicnn.tutorial_network(seed), np.random.default_rng(seed)
    for p in net.parameters()[::2]:  # weight, bias, weight, bias, ...
        p.value[...] = weights(rng, p.value.shape)
    images, labels = course.digits("test", 200)
    return minicnn.SoftmaxCrossEntropy().forward(net.forward(images), labels)


def first_loss() -> dict[str, Any]:
    """{kind: 30 losses}."""
    return {
        "losses": {kind: [loss_before_training(draw, s) for s in range(30)] for kind, draw in KINDS.items()}
    }


# --- Q3: dead units -------------------------------------------------------------------------------


def tutorial_start(seed: int, conv_bias: float, fc_bias: float, stddev: float = 0.1) -> minicnn.Sequential:
    """The tutorial's network with these biases, and with its weights scaled from 0.1 to `stddev`."""
    net = minicnn.tutorial_network(seed)
    for p in net.parameters():
        if p.name.endswith("weight"):
            p.value *= np.float32(stddev / 0.1)
        else:
            p.value[...] = conv_bias if p.name.startswith("conv") else fc_bias
    return net


def census(net: minicnn.Sequential, images: np.ndarray) -> dict[str, int]:
    """How many units are 0 for all images ("dead"), and how many of fc1 are above 0 for all ("on")."""
    highest: dict[str, Any] = {}
    lowest: dict[str, Any] = {}
    for start in range(0, len(images), 500):
        x = images[start : start + 500]
        for layer in net.layers[:5]:  # conv1, conv2, flatten, fc1, ReLU
            x = layer.forward(x)
            over = tuple(range(x.ndim - 1))  # a filter is one unit: images, rows, columns
            highest[layer.name] = np.maximum(highest.get(layer.name, -np.inf), x.max(axis=over))
            lowest[layer.name] = np.minimum(lowest.get(layer.name, np.inf), x.min(axis=over))
    dead = {name: int(np.sum(highest[name] <= 0)) for name in ("conv1", "conv2", "relu")}
    return {
        "conv1": dead["conv1"],
        "conv2": dead["conv2"],
        "fc1": dead["relu"],
        "fc1 on": int(np.sum(lowest["relu"] > 0)),
    }


def trained_from(bias: float, seed: int, stops: tuple[int, ...]) -> list[dict[str, Any]]:
    """Train as the tutorial does, all biases beginning at `bias`; a census and the accuracy at each stop."""
    net, found = tutorial_start(seed, bias, bias), []
    train, (images, _) = minicnn.load_mnist().train, course.digits("test")
    loss, adam = minicnn.SoftmaxCrossEntropy("sum"), minicnn.Adam(net.parameters(), learning_rate=1e-4)
    batches = Batches(len(train.images), 50, seed)
    for step in range(1 + stops[-1]):
        if step in stops:
            found.append({"step": step, "accuracy": course.accuracy(net), **census(net, images)})
        if step < stops[-1]:
            batch = batches.indices(step)
            minicnn.train_step(net, loss, adam, to_float(train.images[batch]), train.labels[batch])
    return found


def dead_units() -> dict[str, Any]:
    """At the start for five seeds; in training for five seeds (300 steps) and three (3,000 steps)."""
    images, _ = course.digits("test")
    start = [
        {"seed": seed, "conv": conv, "fc": fc, "stddev": stddev}
        | census(tutorial_start(seed, conv, fc, stddev), images)
        for stddev in (0.1, 0.03, 0.01)
        for conv in BIASES
        for fc in BIASES
        if stddev == 0.1 or conv == fc
        for seed in range(5)
    ]
    stops = {seed: (0, 300, 1000, 3000) if seed < 3 else (0, 300) for seed in range(5)}
    training = [
        {"seed": seed, "bias": bias, "stops": trained_from(bias, seed, stops[seed])}
        for seed in stops
        for bias in BIASES
    ]
    return {"start": start, "training": training}


# --- Q26: a network without some of its ReLUs -----------------------------------------------------

WITHOUT: dict[str, tuple[str, ...]] = {
    "all ReLUs": (),
    "without fc1's": ("relu",),
    "without conv's": ("conv1.relu", "conv2.relu"),
    "without any": ("conv1.relu", "conv2.relu", "relu"),
}


def mini_without(seed: int, relus: tuple[str, ...]) -> minicnn.Sequential:
    """The mini network without the ReLUs of these names."""
    layers = course.mini_network(seed, fused=not any(name.startswith("conv") for name in relus)).layers
    return minicnn.Sequential([layer for layer in layers if layer.name not in relus], (28, 28, 1), "mini")


def without_relu() -> dict[str, Any]:
    """{variant: accuracies of five seeds after 300 steps}, and of three seeds after 1,500."""
    found: dict[str, Any] = {"300": {}, "1500": {}}
    for steps, seeds in ((300, 5), (1500, 3)):
        for name, relus in WITHOUT.items():
            found[str(steps)][name] = []
            for seed in range(seeds):
                net = mini_without(seed, relus)
                course.train(net, steps, seed=seed)
                found[str(steps)][name].append(course.accuracy(net))
    return {"accuracies": found}


# --- Q27: three optimizers over their learning rates ------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Any, float], Any]] = {
    "SGD": lambda parameters, rate: minicnn.SGD(parameters, rate),
    "momentum": lambda parameters, rate: minicnn.SGD(parameters, rate, momentum=0.9),
    "Adam": lambda parameters, rate: minicnn.Adam(parameters, rate),
}
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]
LONGER = [("Adam", 1e-4), ("SGD", 1e-4), ("Adam", 1e-3), ("Adam", 3e-3), ("momentum", 0.05), ("SGD", 0.5)]


def score(rule: str, rate: float, steps: int, seed: int) -> float:
    """The test accuracy, in percent, of 784-64-10 after `steps` steps of 50 images."""
    net = course.mlp(seed)
    course.train(net, steps, OPTIMIZERS[rule](net.parameters(), rate), seed=seed)
    return course.accuracy(net)


def optimizers() -> dict[str, Any]:
    """{rule: a row of five seeds for each rate}, 300 steps; rows for `LONGER`, 1,000 steps."""
    grid = {rule: [[score(rule, rate, 300, s) for s in range(5)] for rate in RATES] for rule in OPTIMIZERS}
    return {"grid": grid, "longer": [[score(*setting, 1000, s) for s in range(5)] for setting in LONGER]}


# --------------------------------------------------------------------------------------------------

EXPERIMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "first_loss": first_loss,
    "dead_units": dead_units,
    "without_relu": without_relu,
    "optimizers": optimizers,
}


def main() -> None:
    """Make what was named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="+", choices=EXPERIMENTS, help="what to measure")
    for name in parser.parse_args().names:
        command = f"python notebooks/make_experiments.py {name}"
        content = {"command": command, "minicnn": minicnn.__version__, **EXPERIMENTS[name]()}
        (DATA / f"{name}.json").write_text(json.dumps(content) + "\n")
        print(f"{name}.json written", flush=True)


if __name__ == "__main__":
    main()
