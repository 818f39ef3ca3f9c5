"""The tutorial's network in PyTorch, TensorFlow and JAX, each as quick on a CPU as can be.

    python benchmarks/peers.py           (checks that the engines agree, then times them roughly)

Every engine trains the same network from the same parameters with the same arithmetic: true
float32, a real dropout, Adam as in its paper (Kingma & Ba, algorithm 1: epsilon is added to
sqrt(v_hat)), and the cross-entropy summed over the batch. A step ends when its loss is a Python
float, so that no work is left in a queue. Parameters go in and come out in minicnn's layout:
convolutions [KH, KW, C, F], dense layers [inputs, outputs], the 3136 inputs of fc1 in
(y, x, channel) order.

Importing this file imports none of the frameworks. `engines()` lists the classes; make one of them
in this process, or give it to a `Worker`, which keeps it in a process of its own. Time with
workers. A framework's threads outlive its step: they spin for a moment before they sleep, they
share the allocator, and the number of threads can be set only once in a process. A worker that is
not asked anything waits in `read()` and uses no processor time, so that engines can take turns.

What this file is not: a benchmark. It has no opinion on who wins; it provides the contestants.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Parameters = dict[str, np.ndarray]


def shapes_for(side: int = 28, channels: int = 1, classes: int = 10) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters, for images [side, side, channels]; side is a multiple of 4."""
    return {
        "conv1.weight": (5, 5, channels, 32),
        "conv1.bias": (32,),
        "conv2.weight": (5, 5, 32, 64),
        "conv2.bias": (64,),
        "fc1.weight": ((side // 4) ** 2 * 64, 1024),
        "fc1.bias": (1024,),
        "fc2.weight": (1024, classes),
        "fc2.bias": (classes,),
    }


SHAPES = shapes_for()
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

# glibc keeps freed memory instead of returning it to the kernel, and asks for huge pages: a few
# per cent for every framework. Read when a process starts, so it works for workers only.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "100000000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class UnavailableError(Exception):
    """An engine that cannot run here; the text is the reason."""


class Engine(ABC):
    """One way to train the network. A subclass says how to take a step; this class times it.

    `environment` holds the variables that must be set before the framework is imported: a worker
    starts with them; without a worker, they are set just before the first import.
    """

    name: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}
    reason: ClassVar[str] = ""  # why `available()` was False

    @classmethod
    def available(cls) -> bool:
        """Whether the framework can be imported (it is, in this process); if not, see `reason`."""
        os.environ.update(cls.environment)
        try:
            cls.prepare()
        except UnavailableError as error:
            cls.reason = str(error)
            return False
        except Exception as error:  # an import can fail in any way
            cls.reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return False
        cls.reason = ""
        return True

    @classmethod
    @abstractmethod
    def prepare(cls) -> None:
        """Import the framework and look for what else it needs; raise if something is missing."""

    @abstractmethod
    def __init__(
        self,
        parameters: Parameters,
        threads: int = 2,
        keep_prob: float = 0.5,
        learning_rate: float = 1e-4,
    ) -> None: ...

    @abstractmethod
    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        """One training step on float32 x [N, H, W, C], int64 labels [N]; the loss before it."""

    @abstractmethod
    def predict(self, x: np.ndarray) -> np.ndarray:
        """The logits [N, classes], with dropout off."""

    @abstractmethod
    def parameters(self) -> Parameters:
        """Copies of the parameters, in minicnn's layout."""

    def feed(self, x: np.ndarray, labels: np.ndarray) -> None:
        """Keep batches x [M, N, H, W, C] and labels [M, N] for `time_steps`."""
        self._batches = list(zip(x, labels, strict=True))
        self._turn = 0

    def time_steps(self, n: int, warmup: int = 1) -> list[float]:
        """Seconds of each of n steps on what was fed, after `warmup` to wake threads and caches."""
        seconds = []
        for _ in range(warmup + n):
            x, labels = self._batches[self._turn % len(self._batches)]
            self._turn += 1
            start = time.perf_counter()
            self.step(x, labels)
            seconds.append(time.perf_counter() - start)
        return seconds[warmup:]

    def cpu_seconds(self) -> float:
        """Processor time used so far by this process and all its threads."""
        return time.process_time()


# --- PyTorch ------------------------------------------------------------------------------------


class PyTorch(Engine):
    """PyTorch as in its tutorials (NCHW; oneDNN convolutions), with Adam fused into one kernel."""

    name = "PyTorch eager"
    environment: ClassVar = ALLOCATOR
    channels_last: ClassVar[bool] = False
    compiled: ClassVar[bool] = False

    @classmethod
    def prepare(cls) -> None:
        importlib.import_module("torch")
        compiler = os.environ.get("CXX", "g++")
        if cls.compiled and shutil.which(compiler) is None:
            raise UnavailableError(f"torch.compile needs a C++ compiler; no {compiler} here")

    def __init__(
        self,
        parameters: Parameters,
        threads: int = 2,
        keep_prob: float = 0.5,
        learning_rate: float = 1e-4,
    ) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        self.torch, self.names = torch, list(parameters)
        channels, inputs = parameters["conv1.weight"].shape[2], parameters["fc1.weight"].shape[0]
        classes = parameters["fc2.bias"].size
        self.model = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(inputs, 1024), nn.ReLU(), nn.Dropout(1 - keep_prob),
            nn.Linear(1024, classes),
        )  # fmt: skip
        with torch.no_grad():
            for (name, value), own in zip(parameters.items(), self.model.parameters(), strict=True):
                own.copy_(torch.from_numpy(self._to_torch(name, value)))
        if self.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), learning_rate, (BETA1, BETA2), EPSILON, fused=True
        )
        self.loss = self._loss
        if self.compiled:
            for layer in self.model:
                if isinstance(layer, nn.MaxPool2d):  # PyTorch's own kernel beats the compiled one
                    layer.forward = torch.compiler.disable(layer.forward)
            self.loss = torch.compile(self._loss, dynamic=False)

    def _loss(self, x: Any, labels: Any) -> Any:
        return self.torch.nn.functional.cross_entropy(self.model(x), labels, reduction="sum")

    def _images(self, x: np.ndarray) -> Any:
        """[N, H, W, C] as [N, C, H, W]. The strides of a single channel mean nothing to NumPy,
        but PyTorch reads from them in which memory format it should go on."""
        if self.channels_last:
            return self.torch.from_numpy(x).permute(0, 3, 1, 2)
        N, H, W, C = x.shape
        if C == 1:
            return self.torch.from_numpy(x.reshape(N, C, H, W))
        return self.torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()

    @staticmethod
    def _to_torch(name: str, value: np.ndarray) -> np.ndarray:
        if name == "fc1.weight":  # (y, x, channel) -> (channel, y, x), the order of nn.Flatten
            side = math.isqrt(len(value) // 64)
            value = value.reshape(side, side, 64, 1024).transpose(2, 0, 1, 3).reshape(-1, 1024)
        if value.ndim == 4:  # [KH, KW, C, F] -> [F, C, KH, KW]
            value = value.transpose(3, 2, 0, 1)
        if value.ndim == 2:  # [inputs, outputs] -> [outputs, inputs]
            value = value.T
        return np.ascontiguousarray(value)

    @staticmethod
    def _from_torch(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 2:
            value = value.T
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        if name == "fc1.weight":
            side = math.isqrt(len(value) // 64)
            value = value.reshape(64, side, side, 1024).transpose(1, 2, 0, 3).reshape(-1, 1024)
        return np.array(value, order="C")

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self._images(x), self.torch.from_numpy(labels))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self, x: np.ndarray) -> np.ndarray:
        self.model.eval()
        with self.torch.inference_mode():
            logits = self.model(self._images(x)).numpy()
        self.model.train()
        return logits

    def parameters(self) -> Parameters:
        own = dict(zip(self.names, self.model.parameters(), strict=True))
        return {name: self._from_torch(name, value.detach().numpy()) for name, value in own.items()}


class PyTorchChannelsLast(PyTorch):
    """The same with images and filters stored channels last."""

    name = "PyTorch eager channels-last"
    channels_last = True


class PyTorchCompiled(PyTorch):
    """The same with everything but the pools through torch.compile.

    In the default mode; with the pools compiled too, a step takes 1.4 times as long.
    """

    name = "PyTorch compiled channels-last"
    channels_last = True
    compiled = True


# --- TensorFlow and JAX ---------------------------------------------------------------------------


def _first_maximum(where: Any, windows: Any) -> Any:
    """2x2 max-pooling of windows [N, H, 2, W, 2, C] -> [N, H, W, C]; a tie goes to the first.

    XLA compiles this to a vectorised loop, forward and backward; its own pooling (reduce-window,
    and select-and-scatter for the gradient) runs one element at a time.
    """
    a, b = windows[:, :, 0, :, 0], windows[:, :, 0, :, 1]
    c, d = windows[:, :, 1, :, 0], windows[:, :, 1, :, 1]
    top, bottom = where(b > a, b, a), where(d > c, d, c)
    return where(bottom > top, bottom, top)


class TensorFlow(Engine):
    """A tf.function of low-level ops (no Keras), with oneDNN and TensorFlow's own Adam kernel."""

    name = "TensorFlow graph"
    environment: ClassVar = {
        **ALLOCATOR,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",  # the default only where the processor has VNNI
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    xla: ClassVar[bool] = False

    @classmethod
    def prepare(cls) -> None:
        importlib.import_module("tensorflow")

    def __init__(
        self,
        parameters: Parameters,
        threads: int = 2,
        keep_prob: float = 0.5,
        learning_rate: float = 1e-4,
    ) -> None:
        import tensorflow as tf

        self.tf = tf
        self.keep_prob = keep_prob
        self.learning_rate = learning_rate
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            # Raises a RuntimeError if TensorFlow has already run with another number.
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.values = {name: tf.Variable(value) for name, value in parameters.items()}
        self.m = {name: tf.Variable(tf.zeros_like(value)) for name, value in parameters.items()}
        self.v = {name: tf.Variable(tf.zeros_like(value)) for name, value in parameters.items()}
        self.steps_taken = 0
        self._graph_step = tf.function(self._step, autograph=False, jit_compile=self.xla)
        self._graph_logits = tf.function(
            lambda x: self._logits(x, keep_prob=1.0), autograph=False, jit_compile=self.xla
        )

    def _conv_relu_pool(self, h: Any, layer: str) -> Any:
        tf = self.tf
        h = tf.nn.conv2d(h, self.values[layer + ".weight"], strides=1, padding="SAME")
        h = tf.nn.relu(tf.nn.bias_add(h, self.values[layer + ".bias"]))
        if not self.xla:
            return tf.nn.max_pool2d(h, ksize=2, strides=2, padding="SAME")
        _, height, width, channels = h.shape
        return _first_maximum(tf.where, tf.reshape(h, (-1, height // 2, 2, width // 2, 2, channels)))

    def _logits(self, x: Any, keep_prob: float) -> Any:
        tf = self.tf
        h = self._conv_relu_pool(x, "conv1")
        h = self._conv_relu_pool(h, "conv2")
        h = tf.reshape(h, (-1, self.values["fc1.weight"].shape[0]))
        h = tf.nn.relu(tf.nn.bias_add(h @ self.values["fc1.weight"], self.values["fc1.bias"]))
        if keep_prob < 1:
            h = tf.nn.dropout(h, rate=1 - keep_prob)
        return tf.nn.bias_add(h @ self.values["fc2.weight"], self.values["fc2.bias"])

    def _step(self, x: Any, labels: Any, rate: Any, epsilon: Any) -> Any:
        tf = self.tf
        with tf.GradientTape() as tape:
            logits = self._logits(x, self.keep_prob)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        for name, gradient in tape.gradient(loss, self.values).items():
            tf.raw_ops.ResourceApplyAdam(
                var=self.values[name].handle, m=self.m[name].handle, v=self.v[name].handle,
                beta1_power=0.0, beta2_power=0.0, lr=rate, beta1=BETA1, beta2=BETA2,
                epsilon=epsilon, grad=gradient,
            )  # fmt: skip
        return loss

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        # TensorFlow's kernel computes lr' m / (sqrt(v) + epsilon'). The paper's
        # lr m_hat / (sqrt(v_hat) + epsilon) is that with both bias corrections moved into lr' and
        # epsilon'; the kernel's own corrections are switched off by powers of zero.
        self.steps_taken += 1
        correction = np.sqrt(1 - BETA2**self.steps_taken)
        rate = self.learning_rate * correction / (1 - BETA1**self.steps_taken)
        constant = self.tf.constant
        loss = self._graph_step(
            constant(x),
            constant(labels),
            constant(rate, self.tf.float32),
            constant(EPSILON * correction, self.tf.float32),
        )
        return float(loss)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._graph_logits(self.tf.constant(x)).numpy()

    def parameters(self) -> Parameters:
        return {name: np.array(value.numpy()) for name, value in self.values.items()}


class TensorFlowXLA(TensorFlow):
    """The same function compiled by XLA."""

    name = "TensorFlow XLA"
    xla = True


class Jax(Engine):
    """One jitted function for the whole step, whose state is donated (updated in place)."""

    name = "JAX jit"
    environment: ClassVar = {**ALLOCATOR, "JAX_PLATFORMS": "cpu"}

    @classmethod
    def prepare(cls) -> None:
        importlib.import_module("jax")

    def __init__(
        self,
        parameters: Parameters,
        threads: int = 2,
        keep_prob: float = 0.5,
        learning_rate: float = 1e-4,
    ) -> None:
        os.environ["NPROC"] = str(threads)  # XLA reads it when it makes its thread pool, once
        import jax

        self.jax = jax
        self.keep_prob = keep_prob
        self.learning_rate = learning_rate
        zeros = {name: np.zeros_like(value) for name, value in parameters.items()}
        values = {name: np.array(value) for name, value in parameters.items()}
        state = (values, zeros, zeros, np.float32(0), jax.random.key(0))
        self.state = jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), state)
        # XLA's newer convolutions (YNNPACK) are quicker on one thread, but on two they keep a third
        # of the machine idle; its older ones (Eigen) then win.
        options = None
        if threads > 1 and jax.__version_info__ >= (0, 10, 2):
            options = {"xla_cpu_experimental_ynn_fusion_type": ""}
        self._jit_step = jax.jit(self._step, donate_argnums=0, compiler_options=options)
        self._jit_logits = jax.jit(lambda values, x: self._logits(values, x, None))

    def _conv_relu_pool(self, h: Any, weight: Any, bias: Any) -> Any:
        lax, nn, jnp = self.jax.lax, self.jax.nn, self.jax.numpy
        h = lax.conv_general_dilated(
            h, weight, (1, 1), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.HIGHEST,
        )  # fmt: skip
        n, height, width, channels = h.shape
        h = nn.relu(h + bias).reshape(n, height // 2, 2, width // 2, 2, channels)
        return _first_maximum(jnp.where, h)

    def _logits(self, values: Any, x: Any, key: Any) -> Any:
        jax, jnp = self.jax, self.jax.numpy
        highest = jax.lax.Precision.HIGHEST
        h = self._conv_relu_pool(x, values["conv1.weight"], values["conv1.bias"])
        h = self._conv_relu_pool(h, values["conv2.weight"], values["conv2.bias"])
        h = jnp.matmul(h.reshape(len(h), -1), values["fc1.weight"], precision=highest)
        h = jax.nn.relu(h + values["fc1.bias"])
        if key is not None and self.keep_prob < 1:
            kept = jax.random.bernoulli(key, self.keep_prob, h.shape)
            h = jnp.where(kept, h / self.keep_prob, 0)
        return jnp.matmul(h, values["fc2.weight"], precision=highest) + values["fc2.bias"]

    def _loss(self, values: Any, x: Any, labels: Any, key: Any) -> Any:
        log_p = self.jax.nn.log_softmax(self._logits(values, x, key))
        return -self.jax.numpy.take_along_axis(log_p, labels[:, None], axis=1).sum()

    def _step(self, state: Any, x: Any, labels: Any) -> Any:
        jax, jnp = self.jax, self.jax.numpy
        values, m, v, t, key = state
        key, dropout_key = jax.random.split(key)
        loss, g = jax.value_and_grad(self._loss)(values, x, labels, dropout_key)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        correction1 = -jnp.expm1(t * np.log(BETA1))  # 1 - BETA1**t, without the cancellation
        correction2 = -jnp.expm1(t * np.log(BETA2))

        def update(value: Any, m: Any, v: Any) -> Any:
            m_hat, v_hat = m / correction1, v / correction2
            return value - self.learning_rate * m_hat / (jnp.sqrt(v_hat) + EPSILON)

        return (jax.tree.map(update, values, m, v), m, v, t, key), loss

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        self.state, loss = self._jit_step(self.state, x, labels.astype(np.int32))
        return float(loss)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._jit_logits(self.state[0], x))

    def parameters(self) -> Parameters:
        return {name: np.array(value) for name, value in self.state[0].items()}


def engines() -> list[type[Engine]]:
    """All engines, in a fixed order; whether one can run here is for `available()` to say."""
    return [PyTorch, PyTorchChannelsLast, PyTorchCompiled, TensorFlow, TensorFlowXLA, Jax]


# --- A process for each engine --------------------------------------------------------------------


class Worker:
    """An engine in a process of its own, with the engine's methods and `close()`.

    Raises `UnavailableError` with the reason when the engine cannot run. Any subclass of `Engine`
    at the top level of a file will do, minicnn's own included: the process imports it from that
    file. `python` may be another interpreter, when the frameworks live in another environment.

    The process ends with `close()`, at the end of a `with` block, and when its parent dies.
    """

    def __init__(
        self,
        engine: type[Engine],
        parameters: Parameters,
        threads: int = 2,
        keep_prob: float = 0.5,
        learning_rate: float = 1e-4,
        python: str = sys.executable,
    ) -> None:
        self.name = engine.name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (close() closes it)
        self._pipe, far_end = Pipe()
        arguments = ["--worker", str(far_end.fileno()), inspect.getfile(engine), engine.__name__]
        self._process = subprocess.Popen(
            [python, __file__, *arguments],
            env={**os.environ, **engine.environment},
            pass_fds=[far_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
        )
        far_end.close()
        try:
            self._ask("start", parameters, threads, keep_prob, learning_rate)
        except BaseException:
            self.close()
            raise

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, arguments))
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait()
            self._stderr.seek(0)
            last_words = self._stderr.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(
                f"{self.name}: the worker has died with status {status}: {last_words}"
            ) from error
        outcome, value = answer
        if outcome == "unavailable":
            raise UnavailableError(value)
        if outcome == "failed":
            raise RuntimeError(f"{self.name}: {value}")
        return value

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        return self._ask("step", x, labels)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._ask("predict", x)

    def parameters(self) -> Parameters:
        return self._ask("parameters")

    def feed(self, x: np.ndarray, labels: np.ndarray) -> None:
        self._ask("feed", x, labels)

    def time_steps(self, n: int, warmup: int = 1) -> list[float]:
        return self._ask("time_steps", n, warmup)

    def cpu_seconds(self) -> float:
        return self._ask("cpu_seconds")

    def close(self) -> None:
        """End the process: it leaves when its pipe is closed."""
        self._pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(descriptor: int, file: str, class_name: str) -> None:
    """The worker's side: answer (method, arguments) until the pipe closes."""
    pipe = Connection(descriptor)
    sys.path.insert(0, str(Path(file).resolve().parent))
    engine: Any = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            if method == "start":
                kind = getattr(importlib.import_module(Path(file).stem), class_name)
                if not kind.available():
                    pipe.send(("unavailable", kind.reason))
                    return
                engine = kind(*arguments)
                pipe.send(("done", None))
            else:
                pipe.send(("done", getattr(engine, method)(*arguments)))
        except Exception as error:  # in words, since its class may not be known at the other end
            pipe.send(("failed", f"{method}: {type(error).__name__}: {error}"))


# --- The check ------------------------------------------------------------------------------------


def example_parameters(seed: int = 0, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Parameters:
    """The tutorial's start: weights normal, cut off at two standard deviations; biases 0.1."""
    rng = np.random.default_rng(seed)
    parameters = {}
    for name, shape in shapes.items():
        value = np.full(shape, 0.1)
        if name.endswith("weight"):
            value = rng.standard_normal(shape)
            while (beyond := np.abs(value) > 2).any():
                value[beyond] = rng.standard_normal(beyond.sum())
            value *= 0.1
        parameters[name] = value.astype(np.float32)
    return parameters


def example_batches(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stand-ins for MNIST: grey blots on black, [count, size, 28, 28, 1], and their labels."""
    rng = np.random.default_rng(seed)
    blots = rng.random((count, size, 7, 7, 1)) * (rng.random((count, size, 7, 7, 1)) < 0.4)
    x = np.zeros((count, size, 28, 28, 1), np.float32)
    x[:, :, 4:24, 4:24] = blots.repeat(4, axis=2).repeat(4, axis=3)[:, :, 4:24, 4:24]
    return x, rng.integers(0, 10, (count, size))


def check(threads: int, batch_size: int) -> None:
    """Print how far the engines are apart after three steps without dropout from one start."""
    x, labels = example_batches(4, batch_size)
    expected: tuple[np.ndarray, list[float], np.ndarray, Parameters] | None = None
    print("three steps with keep_prob 1: largest differences from the first engine")
    print(f"{'':32}{'logits':>10}{'loss':>10}{'logits 3':>10}{'param. 3':>10}{'> 1e-6':>10}")
    for engine in engines():
        try:
            worker = Worker(engine, example_parameters(), threads, keep_prob=1.0)
        except UnavailableError as reason:
            print(f"{engine.name:32}left out: {reason}")
            continue
        with worker:
            before = worker.predict(x[3])
            losses = [worker.step(*batch) for batch in zip(x[:3], labels[:3], strict=True)]
            after = worker.predict(x[3])
            values = worker.parameters()
        if expected is None:
            expected = (before, losses, after, values)
            losses_text = " ".join(f"{loss:.4f}" for loss in losses)
            print(f"{engine.name:32}the first; its losses are {losses_text}")
            continue
        apart = np.concatenate([np.abs(values[n] - expected[3][n]).ravel() for n in SHAPES])
        differences = [
            np.abs(before - expected[0]).max(),
            np.abs(np.subtract(losses, expected[1])).max(),
            np.abs(after - expected[2]).max(),
            apart.max(),
        ]
        columns = "".join(f"{difference:10.1e}" for difference in differences)
        print(f"{engine.name:32}{columns}{(apart > 1e-6).mean():10.4%}", flush=True)


def race(threads: int, batch_size: int, rounds: int) -> None:
    """Print rough times: the workers take turns of three steps, in an order that rotates."""
    batches = example_batches(8, batch_size)
    with contextlib.ExitStack() as stack:
        workers = []
        for engine in engines():
            with contextlib.suppress(UnavailableError):
                workers.append(stack.enter_context(Worker(engine, example_parameters(), threads)))
                workers[-1].feed(*batches)
                workers[-1].time_steps(5)
        used = [worker.cpu_seconds() for worker in workers]
        time.sleep(1)
        idle = [worker.cpu_seconds() - before for worker, before in zip(workers, used, strict=True)]
        print(f"idle workers: at most {1000 * max(idle):.1f} ms of processor time in a second")
        seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for turn in range(rounds):
            first = turn % len(workers)
            for worker in workers[first:] + workers[:first]:
                seconds[worker.name] += worker.time_steps(3)
    print(f"{rounds} rounds, batch {batch_size}, {threads} threads: milliseconds a training step")
    for name, times in seconds.items():
        middle, least = statistics.median(times), min(times)
        print(f"{name:32}median {1000 * middle:6.1f}   minimum {1000 * least:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that the peers agree; time them roughly.")
    parser.add_argument("--rounds", type=int, default=30, help="0 leaves the timing out")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    check(arguments.threads, arguments.batch_size)
    if arguments.rounds:
        race(arguments.threads, arguments.batch_size, arguments.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _serve(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main()
