"""An answer to Ctrl-C at once, and an end at the second, even while compiled code runs.

Python calls its signal handlers between two bytecodes of the main thread. A compiler or a kernel can keep
that thread for seconds. So a second thread reads the signals from a pipe into which the interpreter writes
them as they arrive.

That thread needs the interpreter's lock. Compiled code and LLVM run without it, and other Python code
gives it away every 5 ms; only a full garbage collection keeps it to its end. So none starts after the
first signal.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator

from minicnn.runs.signals import STOPPING

GRACE = 0.1  # seconds in which the main thread usually answers by itself


@contextlib.contextmanager
def answered(say: Callable[[str], None], awaited: Callable[[], str]) -> Iterator[None]:
    """Within it, no stop signal goes without an answer.

    After the first, if the main thread has not left in time, `say` gets a line with what is `awaited`. After
    the second, the process ends; whatever it was writing is as a kill leaves it. Outside the main thread this
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12, where nothing demands it
        os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    left = threading.Event()
    watch = threading.Thread(target=_watch, args=(reader, left, say, awaited), daemon=True)
    collecting = gc.isenabled()
    watch.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writer)  # the thread reads the end of the pipe
        watch.join()
        os.close(reader)
        if collecting:
            gc.enable()


def _watch(
    reader: int, left: threading.Event, say: Callable[[str], None], awaited: Callable[[], str]
) -> None:
    again = False
    while arrived := os.read(reader, 16):
        for number in arrived:
            if number not in STOPPING or left.wait(GRACE):
                continue
            if again:
                os._exit(128 + number)  # without a word: a terminal that is stuck could hold it up
            gc.disable()
            say(f"stopping: waiting for {awaited()}; once more stops at once")
            again = True
