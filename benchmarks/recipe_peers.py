"""A whole training by a recipe, from process start to test accuracy, in minicnn and in PyTorch.

    python benchmarks/recipe_peers.py [RECIPE] [--rounds N] [--only WORD]

The recipe, `fast` unless another is named, is the very same for all: initial weights, batches, distorted
images (PyTorch's `grid_sample` bends them), learning rate, averages. Only the draws of dropout differ.
Every training is a fresh process that imports, reads the data, trains, and classifies all test images;
no engine writes anything or measures on the way. Compiled code is in its cache: the check that the
engines agree, which comes first, has put it there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import SHAPES, Engine, PyTorch, PyTorchChannelsLast, PyTorchCompiled

CHECKED = 4  # steps without dropout in which all engines must agree
TORCH = {engine.__name__: engine for engine in (PyTorch, PyTorchChannelsLast, PyTorchCompiled)}

Job = dict[str, Any]  # a recipe's fields, and "seed", "threads", "rates"


# --- in the fresh process: each returns the losses per image and the test accuracy ---


def train_minicnn(job: Job) -> tuple[list[float], float]:
    """Train with minicnn, as `python -m minicnn` does, without files."""
    from minicnn.data import load_mnist
    from minicnn.engine.kernels.threads import set_threads
    from minicnn.runs.run import Run
    from minicnn.runs.settings import Settings

    set_threads(job["threads"])
    names = {field.name for field in dataclasses.fields(Settings)}
    data = load_mnist()
    run = Run(Settings(**{name: value for name, value in job.items() if name in names}), data, "")
    losses = [run.train_one_batch() for _ in range(job["steps"])]
    guesses = run.test_probabilities().argmax(axis=1)
    return losses, float((guesses == data.test.labels).mean())


def train_torch(engine: type[PyTorch], job: Job) -> tuple[list[float], float]:
    """Train with PyTorch by the same recipe. Of minicnn, only what needs no kernels is used."""
    import torch

    from minicnn.data import Batches, load_mnist
    from minicnn.data.augmentation import Augmentation
    from minicnn.data.ones import add_flags

    data = load_mnist()
    peer = _with_the_recipe(engine, job)
    parameters = list(peer.model.parameters())
    averages = [p.detach().clone() for p in parameters] if job["ema_decay"] else None
    augmentation = Augmentation(*(job[f.name] for f in dataclasses.fields(Augmentation)))
    bend = _Bend(torch) if augmentation else None
    batches, N = Batches(len(data.train), job["batch_size"], job["seed"]), job["batch_size"]
    images, labels = data.train.images[..., None], data.train.labels.astype(np.int64)
    losses = []
    for step in range(job["steps"]):
        chosen = batches.indices(step)
        pixels = images[chosen]
        if job["flags"]:
            add_flags(pixels[..., 0], labels[chosen], job["flags"], job["seed"], step)
        x = pixels.astype(np.float32) / np.float32(255)
        if bend is not None:
            x = bend(x, augmentation.displacements(N, (28, 28), job["seed"], step))
        peer.optimizer.param_groups[0]["lr"] = job["rates"][step]
        loss = peer.step(x, labels[chosen])
        losses.append(loss / N if job["reduction"] == "sum" else loss)
        if averages is not None:
            decay = min(job["ema_decay"], (2 + step) / (11 + step))
            torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
    if averages is not None:
        with torch.no_grad():
            for p, average in zip(parameters, averages, strict=True):
                p.copy_(average)
    test = data.test.images[..., None].astype(np.float32) / np.float32(255)
    guesses = np.concatenate([peer.predict(x).argmax(axis=1) for x in np.split(test, 20)])
    return losses, float((guesses == data.test.labels).mean())


def _with_the_recipe(engine: type[PyTorch], job: Job) -> PyTorch:
    """The engine with the initial weights, the reduction and the optimizer of the recipe."""
    from minicnn.tutorial import INITIALIZATIONS

    if job["optimizer"] != "adam":
        raise ValueError(f"optimizer: expected adam, got {job['optimizer']}")

    class WithRecipe(engine):  # type: ignore[misc, valid-type]
        def _loss(self, x: Any, labels: Any) -> Any:
            options = {"reduction": job["reduction"], "label_smoothing": job["label_smoothing"]}
            return self.torch.nn.functional.cross_entropy(self.model(x), labels, **options)

    init = INITIALIZATIONS[job["init"]]
    weights, biases = init["weight_init"], init["bias_init"]
    rng = np.random.default_rng(job["seed"])  # draws what minicnn draws
    start = {
        name: (weights if name.endswith("weight") else biases)(rng, shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    peer = WithRecipe(start, job["threads"], job["keep_prob"], job["learning_rate"])
    peer.torch.manual_seed(job["seed"])  # dropout's draws
    group = peer.optimizer.param_groups[0]
    group["betas"] = (0.9, job["beta2"])
    if job["weight_decay"]:  # decoupled, as ours is
        group |= {"weight_decay": job["weight_decay"], "decoupled_weight_decay": True}
    return peer


class _Bend:
    """`minicnn.engine.reference.warp` by PyTorch's own means."""

    def __init__(self, torch: Any) -> None:
        from minicnn.engine.reference import spline_basis

        self.torch = torch
        self.basis = torch.from_numpy(spline_basis(28).astype(np.float32))
        line = torch.arange(28, dtype=torch.float32)
        self.pixels = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)

    def __call__(self, x: np.ndarray, displacements: np.ndarray) -> np.ndarray:
        torch, basis = self.torch, self.basis
        moved = torch.einsum("yi,nijk,xj->nyxk", basis, torch.from_numpy(displacements), basis)
        where = (2 / 27) * (self.pixels + moved) - 1  # -1 and 1 are the middles of the outermost pixels
        bent = torch.nn.functional.grid_sample(
            torch.from_numpy(x.reshape(-1, 1, 28, 28)), where.flip(-1), align_corners=True
        )
        return bent.numpy().reshape(-1, 28, 28, 1)


def train_here(name: str, job: Job) -> None:
    """In the fresh process: train, and say what came of it."""
    if name in TORCH:
        if not TORCH[name].available():
            print(json.dumps({"unavailable": TORCH[name].reason}))
            return
        losses, accuracy = train_torch(TORCH[name], job)
    else:
        losses, accuracy = train_minicnn(job)
    print(json.dumps({"accuracy": accuracy, "losses": losses[:CHECKED]}), flush=True)


# --- in the parent ---


def train_in_a_process(engine: type[Engine], job: Job) -> tuple[float, dict[str, Any]]:
    """Start a process that trains; the time until it says what came of it, and that.

    Raises RuntimeError with the process's last words if it fails.
    """
    command = [sys.executable, __file__, "--train", engine.__name__]
    environment = {**os.environ, **engine.environment}
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.wait()
        if not line:
            errors.seek(0)
            raise RuntimeError(f"{engine.name}: {errors.read().decode(errors='replace')[-500:].strip()}")
    return seconds, json.loads(line)


def job_of(recipe: Any, seed: int, threads: int, **changes: Any) -> Job:
    """What a process needs to know to train by a recipe."""
    changed = dataclasses.replace(recipe, **changes)
    rates = [changed.learning_rate_at(step) for step in range(1, changed.steps + 1)]
    return {**dataclasses.asdict(changed), "seed": seed, "threads": threads, "rates": rates}


def main() -> None:
    """Check that the engines agree, let them train in turn, print the table, write the JSON file."""
    from common import RESULTS, Report, chosen, expect_close, parse, parser, race, saying
    from ours import Minicnn

    from minicnn.tutorial import RECIPES

    made = parser(__doc__ or "", rounds=5)
    made.add_argument("recipe", nargs="?", default="fast", choices=tuple(RECIPES))
    args = parse(made)
    recipe = RECIPES[args.recipe]
    if args.quick:
        recipe = dataclasses.replace(recipe, steps=20)
    folder = RESULTS / "quick" if args.quick else RESULTS
    args.output = args.output or folder / f"recipe-{args.recipe}.json"
    report = Report("recipe_peers", __doc__ or "", args)

    engines, expected = [], None
    same = job_of(recipe, 0, args.threads, steps=CHECKED, keep_prob=1.0, warmup=0.0, schedule="constant")
    for engine in chosen([Minicnn, *TORCH.values()], args):
        with saying(f"check: {engine.name}"):
            _, found = train_in_a_process(engine, same)
        if "unavailable" in found:
            report.left_out[engine.name] = found["unavailable"]
            print(f"left out: {engine.name}: {found['unavailable']}")
            continue
        expected = expected or found["losses"]
        expect_close(f"losses of {engine.name}", found["losses"], expected, rtol=0.02)
        engines.append(engine)

    accuracies: dict[str, list[float]] = {engine.name: [] for engine in engines}

    def contestant(engine: type[Engine]) -> Callable[[], list[float]]:
        def turn() -> list[float]:
            job = job_of(recipe, len(accuracies[engine.name]), args.threads)
            seconds, found = train_in_a_process(engine, job)
            accuracies[engine.name].append(found["accuracy"])
            print(f"{engine.name}: seed {job['seed']}, {seconds:.1f} s, {found['accuracy']:.4f}", flush=True)
            return [seconds]

        return turn

    times = race({engine.name: contestant(engine) for engine in engines}, args.rounds, rest=1.0)
    peers = [name for name in times if name != Minicnn.name]
    fastest = min(peers, key=lambda name: times[name].median, default=Minicnn.name)
    rows = [
        [
            name,
            f"{times[name].median:.1f}",
            f"{times[name].lower:.1f} - {times[name].upper:.1f}",
            f"{times[fastest].median / times[name].median:.2f}",
            f"{100 * statistics.mean(accuracies[name]):.2f}",
            f"{100 * min(accuracies[name]):.2f}",
        ]
        for name in sorted(times, key=lambda name: times[name].median)
    ]
    report.add(
        f"A whole training by the recipe `{args.recipe}`, {recipe.steps} steps of {recipe.batch_size}, "
        f"{args.threads} threads",
        ["engine", "seconds", "quartiles", f"speed, {fastest} = 1", "accuracy %", "lowest"],
        rows,
        f"Seconds from process start to the test accuracy, medians of {args.rounds} trainings, in turn; "
        "accuracy: the mean over those seeds.",
    )
    report.data |= {
        "recipe": args.recipe,
        "settings": dataclasses.asdict(recipe),
        "seconds": {name: vars(spread) for name, spread in times.items()},
        "accuracies": accuracies,
    }
    report.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train_here(sys.argv[2], json.load(sys.stdin))
    else:
        main()
