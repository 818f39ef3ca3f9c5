"""A pytest plugin for a process that resembles another system: tests that need what it lacks are skipped."""

import os
import sys
from pathlib import Path

import pytest

TESTS = f"{Path(__file__).resolve().parent.parent}{os.sep}"
WINDOWS = os.environ["RESEMBLE"] == "win32"
FRAMEWORKS = ("torch", "jax")  # which found out at their installation what system this is
sys.modules.update(dict.fromkeys(FRAMEWORKS))
NEED_LINUX = {  # tests that themselves use what no other system has, and why
    "test_a_read_that_fails_midway_is_a_data_error": "reads /proc/self/mem",
}


def pytest_report_header():
    chosen = ("RESEMBLE", "PYTHONIOENCODING", "NUMBA_THREADING_LAYER")
    return "  ".join(f"{name}={os.environ.get(name, '')}" for name in chosen)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.originalname in NEED_LINUX:
            item.add_marker(pytest.mark.skip(NEED_LINUX[item.originalname]))
        if WINDOWS and "no_directory_fsync" in item.fixturenames:
            item.add_marker(pytest.mark.skip("flushes a directory, which Windows cannot open"))


def skip_what_is_missing(outcome):
    """A test that itself uses what is missing says nothing about that system: it is skipped."""
    if outcome.excinfo is None or not issubclass(outcome.excinfo[0], (AttributeError, ModuleNotFoundError)):
        return
    error = outcome.excinfo[1]
    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    own = [file for file in frames if not file.endswith("resemble.py")]
    if str(error).endswith("on this system") and own[-1].startswith(TESTS):
        outcome.force_exception(pytest.skip.Exception(f"needs {error.name}, which is missing there"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    skip_what_is_missing((yield))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    skip_what_is_missing((yield))
