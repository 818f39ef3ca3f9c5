"""What the tests of runs share: small data, a small network with every kind of state, and other processes."""

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from minicnn.data import Dataset, Split
from minicnn.data.idx import idx_header
from minicnn.engine.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU
from minicnn.engine.network import Sequential
from minicnn.runs.directory import METRICS, read_config
from minicnn.runs.loop import Stopped, train
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for
from minicnn.tutorial import softmax_regression


def split(count, seed):
    """Noise with labels 0, 1, ..., 9, 0, 1, ..."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return Split(images, (np.arange(count) % 10).astype(np.uint8))


DATA = Dataset(train=split(13, 0), validation=split(2, 1), test=split(10, 2))
SOFTMAX = {"model": "softmax", "ops": "reference", "batch_size": 4, "log_every": 2}
CNN = {"model": "cnn", "ops": "reference", "batch_size": 4, "log_every": 2}


def small_network(settings, *_):
    """Every kind of layer that has a state or parameters, but few of them."""
    if settings.model == "softmax":
        return softmax_regression(ops=settings.ops)
    rng = np.random.default_rng(settings.seed)
    layers = [
        Conv2D(1, 2, 3, stride=2, name="conv1", rng=rng),
        ReLU(name="conv1.relu"),
        MaxPool2D(name="conv1.pool"),
        Flatten(),
        Dense(98, 8, name="fc1", rng=rng),
        Dropout(settings.keep_prob, rng=rng.spawn(1)[0]),
        Dense(8, 10, name="fc2", rng=rng),
    ]
    network = Sequential(layers, (28, 28, 1))
    network.use_ops(settings.ops)
    return network


def new_run(directory, steps=9, data=DATA, **changes):
    return Run.create(settings_for(**{**SOFTMAX, "steps": steps, **changes}), data, directory)


def new_cnn_run(directory, steps, data=DATA, **changes):
    return Run.create(settings_for(**{**CNN, "steps": steps, **changes}), data, directory)


def reopen(directory, warn=pytest.fail, data=DATA, **changes):
    settings, _ = read_config(directory)
    return Run.open(dataclasses.replace(settings, **changes), data, directory, warn)


def stop_at(run, step, number=signal.SIGINT):
    """Train until a signal arrives during that step."""

    def progress(images):
        if run.step == step:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped) as caught:
        train(run, progress=progress)
    assert caught.value.step == run.step == step
    assert caught.value.signal_number == number


def metrics_but_seconds(directory):
    return [line.rsplit(",", 1)[0] for line in (directory / METRICS).read_text().splitlines()]


def assert_same_state(one, other):
    """Equal to the last bit: weights, moments, random state, settings, metrics."""
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name], err_msg=name)
    assert one._facts() | {"seconds": 0} == other._facts() | {"seconds": 0}
    assert metrics_but_seconds(one.directory) == metrics_but_seconds(other.directory)


def write_idx(path, array):
    path.write_bytes(idx_header(array.shape) + array.tobytes())


def write_data(directory, training=60, test=20):
    """Four IDX files: digits are bright squares in ten places, and noise."""
    rng = np.random.default_rng(0)
    for name, count in (("train", training), ("t10k", test)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[5 * (label // 5) :, 5 * (label % 5) :][:5, :5] = 255
        write_idx(directory / f"{name}-images-idx3-ubyte", images)
        write_idx(directory / f"{name}-labels-idx1-ubyte", labels)
    return directory


@contextmanager
def limit(name, soft):
    """Lower a limit of this process, such as RLIMIT_FSIZE, for a while."""
    import resource  # not on Windows

    kind = getattr(resource, name)
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))


# --- other processes -----------------------------------------------------------------------------


def start_child(work):
    """Fork; the child does `work` and exits with what it returns, 99 after an exception."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = work() or 0
        finally:
            os._exit(code)
    return child


def exit_code(child):
    """Wait for a child; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


_PTRACE_TRACEME, _PTRACE_SYSCALL = 0, 24


def killed_at_system_call(number, work):
    """Do `work` in a child that is killed where it enters or leaves a system call for the number-th time.

    Returns False if it came through. Skips the test where no process may trace another.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def traced():
        if libc.ptrace(_PTRACE_TRACEME, 0, None, None) != 0:
            return 77
        os.kill(os.getpid(), signal.SIGSTOP)
        work()

    child = start_child(traced)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        pytest.skip("ptrace is not allowed here")
    for _ in range(number):
        assert libc.ptrace(_PTRACE_SYSCALL, child, None, None) == 0
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return False
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    return True


def new_process(code, *, directory=None, **environment):
    """What a Python process of its own does with this code; a variable that is None is unset."""
    merged = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=merged, cwd=directory)
