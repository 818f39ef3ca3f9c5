"""One training run: its model, optimizer and data, and how far it has come.

All that a run computes follows from its `Settings` and the data: a run that is stopped and resumed at
any step ends with the same weights, bit for bit, as one that was never stopped. The training step and
the loop are those of `minicnn.tutorial`; what lies in the run's directory is described in
`minicnn.runs.directory`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minicnn._version import __version__
from minicnn.data import Dataset, load_data, load_mnist
from minicnn.data.augmentation import Augmentation
from minicnn.data.known import DIGITS
from minicnn.data.loader import Loader
from minicnn.data.remarks import like_mnist
from minicnn.engine.averaging import MovingAverage
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.engine.optimizers import SGD, Adam, Optimizer
from minicnn.runs import checkpoint
from minicnn.runs.clock import Clock
from minicnn.runs.directory import (
    HEADER,
    METRICS,
    RunError,
    alone_in,
    cut_metrics,
    expect_no_run,
    make_run_directory,
    read_config,
    reason,
    remove_directory,
    remove_run,
    remove_run_leftovers,
    write_config,
    writing,
)
from minicnn.runs.room import expect_room
from minicnn.runs.settings import ORIENTATION, Settings, is_integer, is_number, require
from minicnn.runs.signals import StopSignals
from minicnn.runs.team import Team, TeamLost
from minicnn.storage.files import PathLike, write_whole
from minicnn.storage.memory import give_back
from minicnn.storage.tensors import is_finite_array
from minicnn.tutorial import Diverged, softmax_regression, training_steps, tutorial_network

SAVE_EVERY = 10.0  # seconds between checkpoints: what a crash may cost
SAVE_SHARE = 0.02  # of the time, at most, goes into saving: on a slow disk the interval grows


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
    seconds: float  # since the beginning of the run, without compiling and without pauses until a resume

    def __str__(self) -> str:
        return (
            f"step {self.step}  loss {self.loss:.4f}  training accuracy {self.training_accuracy:.4f}"
            f"  test accuracy {self.test_accuracy:.4f}"
        )

    def row(self) -> str:
        """The line of metrics.csv."""
        loss, *accuracies = (f"{x:.9g}" for x in (self.loss, self.training_accuracy, self.test_accuracy))
        return ",".join([str(self.step), loss, *accuracies, f"{self.seconds:.2f}"])


class Start(NamedTuple):
    """A trained network whose weights are the first ones of a run, and where it comes from."""

    network: Sequential
    name: str


class Run:
    """One training run: model, optimizer, data, what it has reached, and its directory.

    `Run.create` begins one in a new directory, `Run.open` reads one back. `model` is what learns,
    `network` the result: the moving average of the model's weights where the recipe asks for one,
    otherwise the model itself.
    """

    settings: Settings
    data: Dataset
    directory: Path
    model: Sequential
    network: Sequential
    loss: SoftmaxCrossEntropy
    optimizer: Optimizer
    batch: Loader
    step: int

    def __init__(
        self, settings: Settings, data: Dataset, directory: PathLike, team: Team | None = None
    ) -> None:
        self.settings, self.data, self.directory = settings, data, Path(directory)
        self.team: Team = Team() if team is None else team
        self.model = self.network = build_network(settings, data.shape, len(data.classes))
        self.average: MovingAverage | None = None
        if settings.ema_decay:
            self.network = copy.deepcopy(self.model)
            self.average = MovingAverage(self.network, self.model, settings.ema_decay, settings.ops)
        self.loss = SoftmaxCrossEntropy(settings.reduction, settings.label_smoothing, ops=settings.ops)
        self.optimizer = build_optimizer(settings, self.model)
        self.batch = build_loader(settings, data, self.team.rows)
        self.step = 0  # steps made so far
        self._steps: Iterator[tuple[int, float]] | None = None  # the loop, once it has begun

        self.started_from: str | None = None  # the run or file whose weights were the first ones
        self._clock = Clock(settings.ops)
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
        """How long the run has taken so far, without compiling."""
        return self._clock.seconds()

    # --- training and measuring ---

    def train_one_batch(self) -> float:
        """Make the next step and return the mean loss per image of its batch.

        Raises Diverged, leaving the weights as they are, if the loss or a weight is not finite, and TeamLost
        if the team can make no step any more.
        """
        wanted, loss = self.step + 1, math.nan
        while self.step < wanted:
            if self._steps is None:
                trained = self.model, self.loss, self.optimizer, self.settings
                self._steps = training_steps(*trained, self.batch, self.average, self.team.learn)
            try:
                self.step, loss = next(self._steps)
            except TeamLost:
                if self._recover("step") == "measurement" and self.step < wanted:
                    self.measure(math.nan)  # with the leading process, which is not as far
        return loss / self.settings.batch_size if self.settings.reduction == "sum" else loss

    def _recover(self, doing: str) -> str:
        """Go on with those of the team that are left, from the state of the leading one."""
        self._steps = None
        doing = self.team.recover(self, doing)
        self.batch = build_loader(self.settings, self.data, self.team.rows)
        return doing

    def measure(self, loss: float) -> Measurement:
        """Measure the weights on the batch just learned and on the test images. Raises TeamLost."""
        while True:
            try:
                return self._measure(loss)
            except TeamLost:
                if self._recover("measurement") == "step":  # the leading process has measured already
                    return Measurement(self.step, loss, math.nan, math.nan, self.seconds)

    def _measure(self, loss: float) -> Measurement:
        x, labels = self.batch(self.step)
        probabilities = self.team.predict_batch(self.network, x)
        training = float((probabilities.argmax(axis=1) == labels).mean())
        self._tested = self.step, self.team.predict(self.network, self.data.test.images)
        test = float((self.test_probabilities().argmax(axis=1) == self.data.test.labels).mean())
        return Measurement(self.step, loss, training, test, self.seconds)

    def test_probabilities(self) -> np.ndarray:
        """Probabilities [N, K] for all test images, computed once for every step that asks."""
        if self._tested is None or self._tested[0] != self.step:
            self._tested = self.step, self.network.predict(self.data.test.images)
        return self._tested[1]

    # --- the directory ---

    @classmethod
    def create(
        cls,
        settings: Settings,
        data: Dataset,
        directory: PathLike | None = None,
        start: Start | None = None,
        team: Team | None = None,
    ) -> Run:
        """Begin a run in a new or run-less directory; None makes one under `runs/`.

        Its first weights are those of `start`, if given, otherwise drawn from the seed. Raises RunError,
        leaving nothing behind, if they do not fit, if memory is too small, or if the directory holds a run
        already or cannot be written.
        """
        run = cls(settings, data, directory or "", team)
        expect_room(settings, run.model)
        if start is not None:
            run._start_from(start)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as lock:
            with StopSignals() as stop:
                with writing(directory or "runs"):
                    run.directory, made = make_run_directory(settings, directory)
                if made:
                    undo.callback(remove_directory, run.directory)
                lock.enter_context(alone_in(run.directory))
                expect_no_run(run.directory)
                try:
                    write_config(run.directory, run._config())
                    with writing(run.directory):
                        write_whole(run.directory / METRICS, f"{HEADER}\n".encode())
                    run.save()
                except BaseException:
                    remove_run(run.directory)
                    raise
            if stop.received is not None:
                remove_run(run.directory)
                signal.raise_signal(stop.received)  # which now does what it always did
            undo.pop_all()
        return run

    @classmethod
    def open(
        cls,
        settings: Settings,
        data: Dataset,
        directory: PathLike,
        warn: Callable[[str], None] = lambda line: None,
        team: Team | None = None,
    ) -> Run:
        """The run in `directory`, as its newest whole checkpoint has it. Changes no file.

        `settings` are those of `read_config`; only `data` may differ, and `steps` if the learning rate
        does not depend on it. `warn` gets a line if something had to be made up for. Raises RunError or
        checkpoint.CheckpointError.
        """
        begun, config = read_config(directory)
        if settings.schedule != "constant" and settings.steps != begun.steps:
            falls = f"its learning rate falls until step {begun.steps}"
            raise RunError(f"{directory}: {falls}; for more steps, begin a new run")
        run = cls(settings, data, directory, team)
        run.started_from = config.get("started_from")
        if checkpoint.exists(directory):
            run._restore(checkpoint.load(directory, run.arrays(), warn))
        elif "started_from" in config:
            raise RunError(f"{directory}: no checkpoint, and its first weights are not those of its seed")
        else:
            warn(f"{run.directory}: no checkpoint; the run is as it was before its first step")
        return run

    def expect_own_data(self) -> None:
        """Raise RunError if the data is not what the run began with."""
        settings, config = read_config(self.directory)
        if config.get("data_sha256") != self._data_digest:
            what_to_do = "name its --data" if settings.data else "leave out --data"
            hint = f"; {what_to_do}" if settings.data or self.settings.data else ""
            raise RunError(f"{self.directory}: this run was trained on other data{hint}")

    def prepare_directory(self) -> None:
        """Make the files fit the state: what a later, unsaved part of the run wrote is removed.

        Raises RunError if they cannot be written, if the data is not what the run began with, or if
        memory is too small to go on.
        """
        self.expect_own_data()
        if self._loaded_from is not None:  # otherwise `create` has asked
            expect_room(self.settings, self.model)
        settings, _ = read_config(self.directory)
        with writing(self.directory):
            remove_run_leftovers(self.directory)
            if self._loaded_from is not None:
                checkpoint.go_back_to(self._loaded_from)
                self._loaded_from = None
            cut_metrics(self.directory, self.settings, self.step)
        self.save()
        if settings != self.settings:
            write_config(self.directory, self._config())

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
        arrays = self.arrays()
        for name, array in arrays.items():
            if not is_finite_array(array):
                raise Diverged(self.step, f"{name} is no longer finite")
        with writing(self.directory):
            checkpoint.save(self.directory, arrays, self._facts())
        now = time.monotonic()
        self._saved, self._save_cost = (self.step, now), now - began

    def release(self) -> None:
        """Give back the memory that only training needs: the network predicts, but no step can follow."""
        del self.optimizer, self.model, self.batch
        self.average = self._steps = None
        self.network.free_memory()
        give_back()

    def _start_from(self, start: Start) -> None:
        values = start.network.arrays()
        try:
            self.model.load_values(values)
            self.network.load_values(values)
        except ValueError as error:
            raise RunError(f"{start.name}: not a network that this run could train ({error})") from None
        self.started_from = start.name

    def arrays(self) -> dict[str, np.ndarray]:
        """Views of all arrays of the state under their names in the checkpoint."""
        arrays = self.network.arrays()
        if self.network is not self.model:
            arrays |= {f"model/{name}": array for name, array in self.model.arrays().items()}
        moments = self.optimizer.arrays().items()
        return arrays | {f"{self.settings.optimizer}/{name}": array for name, array in moments}

    def _facts(self) -> dict[str, Any]:
        """All of the state that is not an array."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "config": self._config(),
            "minicnn": self.network.architecture(),
            "random": self.random_states(),
        }

    def random_states(self) -> dict[str, Any]:
        """The states of the random generators, by name."""
        return {name: g.bit_generator.state for name, g in self.model.generators().items()}

    def _restore(self, found: checkpoint.Checkpoint) -> None:
        """Take over a state; all of it is checked before anything is changed."""
        facts = found.facts
        try:
            self._check_config(facts["config"])
            step, seconds, random = facts["step"], facts["seconds"], facts["random"]
            require(is_integer(step) and step >= 0, "step", "an integer from 0", step)
            require(is_number(seconds) and seconds >= 0, "seconds", "a number from 0", seconds)
            for name in self.model.generators():
                trial = np.random.PCG64()
                trial.state = random[name]
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"{found.path}: not the state of this run ({reason(error)})") from None

        for name, array in self.arrays().items():
            array[...] = found.arrays[name]
        self.continue_at(step, seconds, random)
        self._saved = step, time.monotonic()
        self._loaded_from = found.path

    def continue_at(self, step: int, seconds: float, random: Mapping[str, Any]) -> None:
        """Be a run that has made so many steps, with these states of its random generators."""
        for name, generator in self.model.generators().items():
            generator.bit_generator.state = random[name]
        self.step = self.optimizer.steps = step
        self._clock = Clock(self.settings.ops, seconds)

    def _config(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"minicnn": __version__, "data_sha256": self._data_digest}
        if self.settings.data is not None:
            facts |= self._data_facts
        if self.started_from is not None:
            facts["started_from"] = self.started_from
        return facts | dataclasses.asdict(self.settings)

    @functools.cached_property
    def _data_facts(self) -> dict[str, Any]:
        """What was found in the data set, for those who use the network."""
        data = self.data
        facts = {"found": data.kind, "split": data.split, "classes": list(data.classes)}
        return facts | {"like_mnist": like_mnist(data.train)}

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


def build_network(settings: Settings, input_shape: tuple[int, int, int], classes: int) -> Sequential:
    """The untrained network that the settings describe, for images of this shape."""
    fits: Any = {"input_shape": input_shape, "classes": classes, "ops": settings.ops}
    if settings.model == "softmax":
        return softmax_regression(settings.seed, **fits)
    fused, init = not settings.plain, settings.init
    fits["shards"] = settings.shards
    return tutorial_network(settings.seed, settings.keep_prob, fused=fused, init=init, **fits)


def load_dataset(settings: Settings, data: str | None = None) -> Dataset:
    """The data set that the settings name, or other `data`, read as theirs. Raises DataError."""
    data = settings.data if data is None else data
    if data is None:
        return load_mnist()
    oriented: dict[str, Any] = {name: getattr(settings, name) for name in ORIENTATION}
    return load_data(data, settings.seed, **oriented)


def build_loader(settings: Settings, data: Dataset, rows: slice = slice(None)) -> Loader:
    """The training batches that the settings describe; of each, the images in `rows`."""
    amounts = settings.shift, settings.rotation, settings.scale, settings.shear, settings.elastic
    size, seed = settings.batch_size, settings.seed
    flags = settings.flags
    if flags and not (data.classes == DIGITS and like_mnist(data.train)):
        flags = 0.0  # its ones are none, or not written as MNIST's are
    augmentation = Augmentation(*amounts)
    return Loader(data.train, size, seed, augmentation, flags=flags, rows=rows, ops=settings.ops)


def build_optimizer(settings: Settings, network: Sequential) -> Optimizer:
    """The optimizer that the settings describe, before its first step."""
    parameters, rate, ops = network.parameters(), settings.learning_rate, settings.ops
    if settings.optimizer == "sgd":
        return SGD(parameters, rate, ops=ops)
    return Adam(parameters, rate, beta2=settings.beta2, weight_decay=settings.weight_decay, ops=ops)


def data_digest(data: Dataset) -> str:
    """SHA-256 of the training and test images and labels."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        for array in (split.images, split.labels):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
