"""Stop signals: an answer at once even while compiled code runs, an end at the second, and nothing lost."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from commands import options
from PIL import Image

from minicnn.cli import interrupts, main
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import in_the_shell
from minicnn.runs.signals import STOPPING, StopSignals

# A main thread that is in compiled code for a minute: no Python handler runs there.
BUSY = """
import hashlib
from minicnn.cli.interrupts import answered
from minicnn.cli.terminal import in_the_shell, say
with in_the_shell(), answered(say, lambda: "the digest"):
    say("begun")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
SIGNALS = pytest.mark.parametrize("number", STOPPING)


@SIGNALS
def test_compiled_code_delays_neither_the_answer_nor_the_end_at_the_second_signal(number):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout.readline() == "begun\n"
        time.sleep(1)  # until it is in the compiled code
        busy.send_signal(number)
        answer = busy.stdout.readline()
        assert answer == "stopping: waiting for the digest; once more stops at once\n"
        busy.send_signal(number)
        assert busy.wait(30) == 128 + number


BUSY_THERE = """
import hashlib, sys
from importlib import import_module

def busy(*args, **options):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

*path, name = {place!r}.split(" ")
owner = import_module(path[0])
for part in path[1:]:
    owner = getattr(owner, part)
setattr(owner, name, busy)
from minicnn.cli import main
sys.exit(main({argv!r}))
"""
TRAIN = ["train", "--steps", "2", "--quiet", "--run-dir", "new"]
PLACES = [
    ("while data is read", "minicnn.runs.run load_dataset", TRAIN),
    ("in a training step", "minicnn.runs.run Run train_one_batch", TRAIN),
    ("while the test images are classified", "minicnn.engine.network Sequential predict", TRAIN),
    ("in the calibration", "minicnn.runs.refusal calibrate", TRAIN),
    ("while pictures are drawn", "minicnn.cli.train draw_pictures", TRAIN),
    ("in evaluate", "minicnn.engine.network Sequential predict", ["evaluate", "r"]),
    ("in predict", "minicnn.engine.network Sequential predict", ["predict", "r", "one.png"]),
    ("in gradcheck", "minicnn.checks.suite run_gradcheck", ["gradcheck"]),
    ("in export", "minicnn.explore.export exported", ["explore", "r", "--export", "page"]),
]


@pytest.mark.parametrize(("place", "argv"), [pytest.param(*rest, id=id) for id, *rest in PLACES])
def test_every_command_answers_wherever_it_is(tmp_path, monkeypatch, data, place, argv):
    monkeypatch.chdir(tmp_path)
    assert main([*options(data, "--steps", 2, "--run-dir", "r"), "--quiet"]) == 0
    image = Image.new("L", (60, 60), 255)
    image.paste(0, (20, 10, 30, 50))
    image.save("one.png")
    if argv is TRAIN:
        argv = [*argv, *options(data)]
    command = [sys.executable, "-c", BUSY_THERE.format(place=place, argv=argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as busy:
        assert busy.stdout.readline() == "begun\n", busy.stderr.read()
        time.sleep(0.5)  # until it is in the compiled code
        busy.send_signal(signal.SIGINT)
        assert busy.stderr.readline().startswith("stopping: waiting for ")
        busy.send_signal(signal.SIGINT)
        assert busy.wait(30) == 130


def test_the_answer_comes_within_a_fifth_of_a_second():
    assert interrupts.GRACE < 0.2  # what follows is one print


def test_a_main_thread_that_leaves_by_itself_is_not_announced():
    lines = []
    with pytest.raises(KeyboardInterrupt), answered(lines.append, lambda: "nothing"):
        signal.raise_signal(signal.SIGINT)
    assert lines == []


def test_no_garbage_collection_delays_the_second_signal():
    announced = threading.Event()
    with contextlib.suppress(KeyboardInterrupt), answered(lambda line: announced.set(), lambda: "nothing"):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            assert announced.wait(30)
            assert not gc.isenabled()
    assert gc.isenabled()


def test_the_wakeup_pipe_of_others_is_put_back():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    try:
        with answered(print, lambda: "nothing"), answered(print, lambda: "nothing"):
            pass
        assert signal.set_wakeup_fd(-1) == writer
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with in_the_shell(), StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


@SIGNALS
def test_the_first_signal_is_noted_and_the_second_does_what_it_did(number):
    second = []
    before = signal.signal(number, lambda *_: second.append(number))
    try:
        with StopSignals() as stop:
            signal.raise_signal(number)
            assert (stop.received, second) == (number, [])
            signal.raise_signal(number)
            assert second == [number]
    finally:
        signal.signal(number, before)


def test_ctrl_c_while_python_imports_the_commands_is_no_traceback():
    code = """
import signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "minicnn.cli":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from minicnn.__main__ import run
sys.exit(run())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(("code", "last"), [(0, "freed\n"), (2, "freed\n"), (130, "")])
def test_after_a_signal_a_process_ends_without_freeing_its_objects(code, last):
    program = f"""
import atexit, sys, minicnn.cli
from minicnn.__main__ import run
class Heap:
    def __del__(self):
        print("freed")
heap = Heap()
def main():
    atexit.register(print, "closed")
    print("begun")
    return {code}
minicnn.cli.main = main
sys.exit(run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, f"begun\nclosed\n{last}", "")


@pytest.mark.long
def test_a_training_that_compiles_answers_and_is_saved(tmp_path):
    run = tmp_path / "r"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-m", "minicnn", "train", "--steps", "1000", "--run-dir", str(run)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as training:
        assert "compiling kernels" in training.stderr.readline()
        training.send_signal(signal.SIGINT)
        assert "stopping: waiting for its first step" in training.stderr.readline()
        assert "stopped at step 1; " in training.stderr.readline()
        assert training.wait(60) == 130
    assert (run / "checkpoint.safetensors").exists()
