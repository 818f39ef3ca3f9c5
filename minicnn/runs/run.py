"""One run: its network and optimizer, what it has reached, and the directory that it continues from.

All that a run computes follows from its `Settings` and the data: a run that is stopped and resumed at
any step ends with the same weights, to the last bit, as one that was never stopped.

A run directory holds

    config.json                       the settings; a directory with this file holds a run
    metrics.csv                       a row per log line: step,loss,training_accuracy,test_accuracy,seconds
    checkpoint.safetensors            the state to continue from: see `minicnn.runs.checkpoint`
    checkpoint.previous.safetensors   the one before

and the pictures that `minicnn.pictures.report` draws at the end. The loop itself is in `minicnn.runs.loop`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import functools
import hashlib
import json
import math
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.runs import checkpoint
from minicnn._version import __version__
from minicnn.data.augmentation import Augmentation
from minicnn.data import Batches, Dataset, to_float
from minicnn.storage.files import make_directory, remove_leftovers, write_whole
from minicnn.engine.kernels.buffers import Buffers, reuse
from minicnn.engine.layers import Dropout
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential, load_network
from minicnn.engine.optimizers import SGD, Adam, Optimizer
from minicnn.runs.settings import Settings, is_integer, is_number, require
from minicnn.runs.signals import StopSignals
from minicnn.tutorial import softmax_regression, tutorial_network

CONFIG = "config.json"
METRICS = "metrics.csv"
STATE = (CONFIG, METRICS, checkpoint.NEWEST, checkpoint.PREVIOUS)
HEADER = "step,loss,training_accuracy,test_accuracy,seconds"

SAVE_EVERY = 10.0  # seconds between checkpoints: what a crash may cost
SAVE_SHARE = 0.02  # of the time, at most, goes into saving: on a slow disk the interval grows
PATIENCE = 0.5  # seconds to wait for a run directory that another process holds

PathLike = str | os.PathLike[str]


class RunError(ValueError):
    """A run that cannot be begun or continued. The message is one line: what is wrong, and where."""


class Diverged(Exception):  # noqa: N818
    """The numbers of a training left the range of floats. `step` says when."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"training diverged at step {step}: {what}")
        self.step = step


@dataclass(frozen=True)
class Measurement:
    """What a run reached at a step. As text, the log line.

    `loss` is the mean per image of the step's batch, in nats, with dropout and smoothed labels, before
    the weights moved (the mean, whether the recipe minimises the mean or the sum). Accuracies are fractions,
    after the step and with dropout off, of the same batch and of all test images.
    """

    step: int
    loss: float
    training_accuracy: float
    test_accuracy: float
    seconds: float  # since the beginning of the run, without pauses between stop and resume

    def __str__(self) -> str:
        return (
            f"step {self.step}  loss {self.loss:.4f}  training accuracy {self.training_accuracy:.4f}"
            f"  test accuracy {self.test_accuracy:.4f}"
        )

    def row(self) -> str:
        """The line of metrics.csv."""
        loss, *accuracies = (f"{x:.9g}" for x in (self.loss, self.training_accuracy, self.test_accuracy))
        return ",".join([str(self.step), loss, *accuracies, f"{self.seconds:.2f}"])


class Run:
    """One training run: network, optimizer, data, what it has reached, and its directory.

    `Run.create` begins one in a new directory, `Run.open` reads one back. `network` is the result.
    Where the recipe averages, its weights are the average of those of `trained`, which learns;
    otherwise both are one.
    """

    def __init__(self, settings: Settings, data: Dataset, directory: PathLike) -> None:
        self.settings, self.data, self.directory = settings, data, Path(directory)
        self.trained = build_network(settings)
        self.network = build_network(settings) if settings.average else self.trained
        self.loss = SoftmaxCrossEntropy(settings.reduction, settings.ops, settings.smoothing)
        self.optimizer = build_optimizer(settings, self.trained)
        self.augmentation = build_augmentation(settings)
        self.batches = Batches(len(data.train), settings.batch_size, settings.seed)
        self.step = 0  # steps made so far

        N, image = settings.batch_size, data.train.images.shape[1:]
        self._pixels = np.empty((N, *image), np.uint8)
        self._x = np.empty((N, *image, 1), self.network.dtype)
        self._warped = Buffers()
        self._labels = np.empty(N, data.train.labels.dtype)

        self._started = time.monotonic()
        self._loaded_from: Path | None = None
        self._saved: tuple[int, float] | None = None  # step and time of the last checkpoint
        self._save_cost = 0.0  # seconds
        self._tested: tuple[int, np.ndarray] | None = None  # a step and its probabilities

    @property
    def finished(self) -> bool:
        """Whether all steps of the settings have been made."""
        return self.step >= self.settings.steps

    @property
    def saved_step(self) -> int:
        """The step of the newest checkpoint."""
        return self._saved[0] if self._saved is not None else 0

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._started

    # --- training and measuring ---

    def train_one_batch(self) -> float:
        """Make the next step and return the mean loss per image of its batch.

        Raises Diverged, leaving the weights as they are, if the loss or a weight is not finite.
        """
        x, labels = self._batch(self.step)  # [N, H, W, 1], [N]
        logits = self.trained.forward(x, training=True)  # [N, 10]
        loss = self.loss.forward(logits, labels)
        if not math.isfinite(loss):
            raise Diverged(self.step + 1, f"the loss is {loss}")
        if not self.trained.values.min() > -math.inf:  # the one bad number that ReLU can hide from the loss
            raise Diverged(self.step + 1, "a weight is not finite")
        self.trained.backward(self.loss.backward(), input_gradient=False, factored=True)
        self.optimizer.learning_rate = self.settings.rate(self.step + 1)
        self.optimizer.step()
        self.step += 1
        if self.network is not self.trained:
            self._average()
        return loss / len(labels) if self.settings.reduction == "sum" else loss

    def _average(self) -> None:
        """Move the average towards the weights; the first steps, still far off, are forgotten soon.

        Source of the second term: TensorFlow, tf.train.ExponentialMovingAverage, num_updates.
        """
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        self.optimizer.ops.average_update(self.network.values, self.trained.values, decay)

    def _batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels of a step, in memory that the next step reuses."""
        chosen = self.batches.indices(step)
        # Without mode="clip", take works in a copy of `out`; the indices are in range.
        np.take(self.data.train.images, chosen, axis=0, out=self._pixels, mode="clip")
        np.take(self.data.train.labels, chosen, out=self._labels, mode="clip")
        if not self.augmentation:
            return to_float(self._pixels, self._x.dtype, out=self._x), self._labels
        N, *shape = self._pixels.shape
        moves = self.augmentation.moves(N, tuple(shape), self.settings.seed, step)
        with reuse(self._warped):
            self._x = self.optimizer.ops.warp(self._pixels, moves)
        return self._x, self._labels

    def measure(self, loss: float) -> Measurement:
        """Measure the weights on the batch just trained on and on the test images."""
        logits = self.network.forward(self._x)
        training = float((logits.argmax(axis=1) == self._labels).mean())
        test = float((self.test_probabilities().argmax(axis=1) == self.data.test.labels).mean())
        return Measurement(self.step, loss, training, test, self.seconds)

    def test_probabilities(self) -> np.ndarray:
        """Probabilities [N, 10] for all test images, computed once for every step that asks."""
        if self._tested is None or self._tested[0] != self.step:
            self._tested = self.step, self.network.predict(self.data.test.images)
        return self._tested[1]

    # --- the directory ---

    @classmethod
    def create(cls, settings: Settings, data: Dataset, directory: PathLike | None = None) -> Run:
        """Begin a run in a new or run-less directory; None makes one under `runs/`.

        Raises RunError, leaving nothing behind, if it holds a run already or cannot be written.
        """
        run = cls(settings, data, directory or "")
        with contextlib.ExitStack() as lock:
            with StopSignals() as stop:
                with writing(directory or "runs"):
                    run.directory, made = _make_directory(settings, directory)
                lock.enter_context(alone_in(run.directory))
                _expect_no_run(run.directory)
                try:
                    run._write_config()
                    with writing(run.directory):
                        write_whole(run.directory / METRICS, f"{HEADER}\n".encode())
                    run.save()
                except BaseException:
                    _remove_run(run.directory, and_directory=made)
                    raise
            if stop.received is not None:
                _remove_run(run.directory, and_directory=made)
                signal.raise_signal(stop.received)  # which now does what it always did
        return run

    @classmethod
    def open(
        cls,
        settings: Settings,
        data: Dataset,
        directory: PathLike,
        warn: Callable[[str], None] = lambda line: None,
    ) -> Run:
        """The run in `directory`, as its newest whole checkpoint has it. Changes no file.

        `settings` are those of `read_config`; only `data` may differ, and `steps` if the learning rate
        does not depend on it. `warn` gets a line if something had to be made up for. Raises RunError or
        checkpoint.CheckpointError.
        """
        begun = read_config(directory)[0]
        if settings.schedule != "constant" and settings.steps != begun.steps:
            falls = f"its learning rate falls until step {begun.steps}"
            raise RunError(f"{directory}: {falls}; for more steps, begin a new run")
        run = cls(settings, data, directory)
        if checkpoint.exists(directory):
            run._restore(checkpoint.load(directory, run._arrays(), warn))
        else:
            warn(f"{run.directory}: no checkpoint; the run is as it was before its first step")
        return run

    def prepare_directory(self) -> None:
        """Make the files fit the state: what a later, unsaved part of the run wrote is removed.

        Raises RunError if they cannot be written, or if the data is not what the run began with.
        """
        settings, config = read_config(self.directory)
        if config.get("data_sha256") != self._data_digest:
            raise RunError(f"{self.directory}: this run was trained on other data; name its --data")
        with writing(self.directory):
            _remove_leftovers(self.directory)
            if self._loaded_from is not None:
                checkpoint.go_back_to(self._loaded_from)
                self._loaded_from = None
            self._cut_metrics()
        if settings != self.settings:
            self._write_config()
        self.save()

    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old enough for the next."""
        wait = max(SAVE_EVERY, self._save_cost / SAVE_SHARE)
        return self._saved is None or time.monotonic() - self._saved[1] >= wait

    def save(self) -> None:
        """Write a checkpoint of this step, unless it is there already.

        Raises Diverged, keeping the one that is there, if a number is not finite; RunError if it
        cannot be written.
        """
        if self._saved is not None and self._saved[0] == self.step:
            return
        began = time.monotonic()
        arrays = self._arrays()
        for name, array in arrays.items():
            if not (array.min() > -math.inf and array.max() < math.inf):  # false for NaN, too
                raise Diverged(self.step, f"{name} is no longer finite")
        with writing(self.directory):
            checkpoint.save(self.directory, arrays, self._facts())
        now = time.monotonic()
        self._saved, self._save_cost = (self.step, now), now - began

    def release(self) -> None:
        """Give back the memory that only training needs: the network predicts, but no step can follow."""
        del self.optimizer, self.trained, self._warped
        self.network.use_ops(self.settings.ops)  # with fresh buffers
        with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)

    def _arrays(self) -> dict[str, np.ndarray]:
        """Views of all arrays of the state under their names in the checkpoint."""
        parameters = self.trained.parameters()
        arrays = {p.name: p.value for p in self.network.parameters()}
        if self.network is not self.trained:
            arrays |= {f"trained.{p.name}": p.value for p in parameters}
        ends = np.cumsum([p.value.size for p in parameters])
        for kind, pieces in self.optimizer.state.items():
            if len(pieces) == 1:  # one long array for all parameters
                pieces = np.split(pieces[0], ends[:-1])
            for p, piece in zip(parameters, pieces, strict=True):
                name = f"{self.settings.optimizer}.{kind}.{p.name}"
                arrays[name] = piece.reshape(p.value.shape)
        return arrays

    def _facts(self) -> dict[str, Any]:
        """All of the state that is not an array."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "config": self._config(),
            "minicnn": self.network.architecture(),
            "random": {layer.name: layer.rng.bit_generator.state for layer in self._dropouts()},
        }

    def _dropouts(self) -> list[Dropout]:
        return [layer for layer in self.trained.layers if isinstance(layer, Dropout)]

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        """Take over a state; all of it is checked before anything is changed."""
        facts = found.facts
        try:
            self._check_config(facts["config"])
            step, seconds, random = facts["step"], facts["seconds"], facts["random"]
            require(is_integer(step) and step >= 0, "step", "an integer from 0", step)
            require(is_number(seconds) and seconds >= 0, "seconds", "a number from 0", seconds)
            for layer in self._dropouts():
                trial = np.random.PCG64()
                trial.state = random[layer.name]
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"{found.path}: not the state of this run ({reason(error)})") from None

        for name, array in self._arrays().items():
            array[...] = found.arrays[name]
        for layer in self._dropouts():
            layer.rng.bit_generator.state = random[layer.name]
        self.step = self.optimizer.steps = step
        self._started = time.monotonic() - seconds
        self._saved = step, time.monotonic()
        self._loaded_from = found.path

    def _config(self) -> dict[str, Any]:
        facts = {"minicnn": __version__, "data_sha256": self._data_digest}
        return facts | dataclasses.asdict(self.settings)

    @functools.cached_property
    def _data_digest(self) -> str:
        return data_digest(self.data)

    def _check_config(self, saved: dict[str, Any]) -> None:
        """Raise ValueError unless the state was made with these settings."""
        newer = {field.name: field.default for field in dataclasses.fields(Settings)}  # than the run
        for name, found in (newer | dict(saved)).items():
            value = getattr(self.settings, name, found)
            if name not in ("steps", "data") and found != value:
                raise ValueError(f"{name}: expected {value!r}, got {found!r}")

    def _write_config(self) -> None:
        with writing(self.directory):
            text = json.dumps(self._config(), indent=2)
            write_whole(self.directory / CONFIG, f"{text}\n".encode())

    def append_metrics(self, measurement: Measurement) -> None:
        """Add a row to metrics.csv; durable on return, so that no checkpoint is ahead of it."""
        with writing(self.directory), open(self.directory / METRICS, "a", encoding="utf-8") as file:
            file.write(f"{measurement.row()}\n")
            file.flush()
            os.fsync(file.fileno())

    def _cut_metrics(self) -> None:
        """Keep the rows of metrics.csv that a run never stopped would have at this step.

        Before a training the file is always written: so what cannot be written is noticed now, not
        at the first save.
        """
        path = self.directory / METRICS
        text = ""
        if path.exists():
            if not path.is_file():  # opening a named pipe could wait for ever
                raise RunError(f"{path}: not a regular file")
            text = path.read_text(encoding="utf-8", errors="replace")
        kept = [HEADER, *(line for line in text.split("\n")[1:-1] if self._belongs(line))]
        wanted = "\n".join(kept) + "\n"
        if wanted != text or not self.finished:
            write_whole(path, wanted.encode())

    def _belongs(self, row: str) -> bool:
        try:
            first, *numbers = row.split(",")
            step = int(first)
            fits = len(numbers) == 4 and all(math.isfinite(float(number)) for number in numbers)
        except ValueError:
            fits = False
        if not fits:  # half a row, or a damaged one
            return False
        logged = step % self.settings.log_every == 0 or step == self.settings.steps
        return 0 < step <= self.step and logged


def build_network(settings: Settings) -> Sequential:
    """The untrained network that the settings describe."""
    if settings.model == "softmax":
        return softmax_regression(settings.seed, ops=settings.ops)
    return tutorial_network(
        settings.seed,
        settings.keep_prob,
        fused=not settings.plain,
        ops=settings.ops,
        weights=settings.weights,
    )


def build_optimizer(settings: Settings, network: Sequential) -> Optimizer:
    """The optimizer that the settings describe, before its first step."""
    parameters, rate, ops = network.parameters(), settings.learning_rate, settings.ops
    if settings.optimizer == "sgd":
        return SGD(parameters, rate, ops=ops)
    return Adam(parameters, rate, beta2=settings.beta2, weight_decay=settings.weight_decay, ops=ops)


def build_augmentation(settings: Settings) -> Augmentation:
    """How far the settings let training images be distorted."""
    return Augmentation(settings.shift, settings.rotation, settings.scale, settings.shear, settings.elastic)


def data_digest(data: Dataset) -> str:
    """SHA-256 of the training and test images and labels."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        for array in (split.images, split.labels):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def read_config(directory: PathLike) -> tuple[Settings, dict[str, Any]]:
    """The settings in the config.json of a run, and all that it says.

    Raises RunError, naming the file, if there is none or something in it is wrong.
    """
    path = Path(directory) / CONFIG
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a regular file")
        with path.open("rb") as file:
            config = json.loads(file.read(1 << 20))  # a real one has about 500 bytes
        if not isinstance(config, dict):
            raise ValueError("expected names and values")
        facts = ("minicnn", "data_sha256")
        return Settings(**{name: value for name, value in config.items() if name not in facts}), config
    except FileNotFoundError:
        raise RunError(f"{directory}: holds no run (no {CONFIG} in it)") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: {reason(error)}") from None


def read_network(directory: PathLike, warn: Callable[[str], None] = lambda line: None) -> Sequential:
    """The trained network of a run, as its newest readable checkpoint has it. Needs no data.

    If the newest file is damaged and the one before is used, `warn` gets one line that says so.
    Raises RunError if there is no run in the directory, ValueError if neither file can be used.
    """
    settings, _ = read_config(directory)
    if not checkpoint.exists(directory):
        raise RunError(f"{directory}: no checkpoint; the run has trained nothing yet")
    newest, previous = Path(directory) / checkpoint.NEWEST, Path(directory) / checkpoint.PREVIOUS
    try:
        return load_network(newest, settings.ops)
    except ValueError as error:
        try:
            network = load_network(previous, settings.ops)
        except ValueError:
            raise error from None
        warn(f"{error}; going back to {previous.name}")
        return network


def _make_directory(settings: Settings, directory: PathLike | None) -> tuple[Path, bool]:
    """A directory for a new run, and whether it was made here."""
    if directory is None:
        return _make_default_directory(settings), True
    path = Path(directory)
    try:
        make_directory(path)
        return path, True
    except FileExistsError:
        if not path.is_dir():
            raise RunError(f"{path}: expected a directory, got a file") from None
        return path, False


def _make_default_directory(settings: Settings) -> Path:
    time_utc = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    name = f"{time_utc}-{settings.model}-seed{settings.seed}"
    attempt = 1
    while True:
        path = Path("runs") / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            make_directory(path)
            return path
        except FileExistsError:
            if not path.is_dir():  # `runs` itself is a file
                raise
            attempt += 1


def _expect_no_run(directory: Path) -> None:
    with writing(directory):
        if any((directory / name).exists() for name in STATE):
            raise RunError(f"{directory}: already holds a run; go on with it by --resume, or choose another")


def _remove_run(directory: Path, and_directory: bool) -> None:
    """Remove what `Run.create` has made, as far as possible."""
    with contextlib.suppress(OSError):
        _remove_leftovers(directory)
        for name in STATE:
            (directory / name).unlink(missing_ok=True)
        if and_directory:
            directory.rmdir()


def _remove_leftovers(directory: Path) -> None:
    """Remove what a killed process left half-written."""
    for name in STATE:
        remove_leftovers(directory / name)


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Hold a lock on the run directory, which the system lifts whatever becomes of this process.

    Raises RunError if another process holds it, and not just for the moment in which it is refused.
    """
    with writing(directory):
        handle = os.open(directory, os.O_RDONLY)
    try:
        give_up = time.monotonic() + PATIENCE
        while not _locked(handle):
            if time.monotonic() > give_up:
                raise RunError(f"{directory}: another process is training this run")
            time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


@contextlib.contextmanager
def writing(directory: PathLike) -> Iterator[None]:
    """Turn an OSError into a RunError that names the directory."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({reason(error)})") from None


def reason(error: Exception) -> str:
    """What an error says, in a few words."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (isinstance(error, OSError) and error.strerror) or str(error)
