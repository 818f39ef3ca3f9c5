"""Running the learner's file in a process of its own, and collecting what it says.

events   what the child sends, and what becomes of it: it may hang, or end without a word
check    the outcome of each exercise; a child that ends is followed by another for those that are left
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from minicnn.learn.child import MARK
from minicnn.learn.exercises import EXERCISES
from minicnn.learn.findings import Finding

SECONDS = 30.0  # for one exercise
GRACE = 10.0  # more, until a child that ignores its own time limit is ended
# For libraries below NumPy: on a busy machine, threads that wait for each other are slower than one.
ONE_THREAD: dict[str, str] = {
    name: "1" for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}
PATIENCE = 300.0  # seconds for a step of training: code that is correct may be slow
PRINTED = 2000  # characters that are kept of what an exercise prints


@dataclass
class Outcome:
    """What came of an exercise: "passed", "wrong", "not_started", "begun" or "waits" (for another one).

    `function` is the one that is not written yet; `printed` is what the learner's code printed.
    """

    status: str
    finding: Finding | None = None
    function: str = ""
    printed: str = ""


@dataclass
class Printed:
    """What a child printed, by what was going on."""

    texts: dict[str, str] = field(default_factory=dict)

    def read(self, stream: BinaryIO) -> None:
        """Read to the end; what is too much is thrown away."""
        name = "import"
        while line := stream.readline(PRINTED):
            text = line.decode("utf-8", "replace")
            if text.startswith(MARK):
                name = text[1:].strip()
            elif len(self.texts.get(name, "")) < PRINTED:
                self.texts[name] = self.texts.get(name, "") + text


def check(path: Path) -> dict[str, Outcome]:
    """The outcome of each exercise, by its name; of "import" alone if the file cannot be loaded."""
    found: dict[str, Outcome] = {}
    while left := [e.name for e in EXERCISES if e.name not in found]:
        passed = [name for name, outcome in found.items() if outcome.status == "passed"]
        facts = {"work": "check", "path": str(path), "exercises": left, "passed": passed, "seconds": SECONDS}
        running, printed = "import", Printed()
        with contextlib.closing(events(facts, SECONDS + GRACE, printed)) as sent:
            for event in sent:
                if "begins" in event:
                    running = event["begins"]
                elif "exercise" in event:
                    finding = Finding.from_json(event["finding"]) if "finding" in event else None
                    found[event["exercise"]] = Outcome(event["status"], finding, event.get("function", ""))
                    running = ""
                elif running or not found:  # it ended
                    found[running or "import"] = Outcome("wrong", Finding(event["ended"], event["values"]))
        for name, text in printed.texts.items():
            if name in found:
                found[name].printed = text
        if "import" in found:
            return {"import": found["import"]}
    return {e.name: found[e.name] for e in EXERCISES}


def events(
    request: dict[str, Any], seconds: float, printed: Printed
) -> Generator[dict[str, Any], None, None]:
    """What a child sends in answer to a request, event by event.

    If it sends nothing for so many seconds it is ended. Unless it has finished, the last event says how it
    ended: {"ended": a message, "values": ...}.
    """
    code = f"import sys; sys.path[:] = {sys.path}; from minicnn.learn.child import main; main()"
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = ONE_THREAD | os.environ | {"PYTHONIOENCODING": "utf-8:backslashreplace"}
    child = subprocess.Popen([sys.executable, "-c", code, json.dumps(request)], env=environment, **pipes)
    assert child.stdout is not None
    assert child.stderr is not None
    lines: queue.Queue[bytes] = queue.Queue()
    readers = [
        threading.Thread(target=_read_lines, args=(child.stdout, lines), daemon=True),
        threading.Thread(target=printed.read, args=(child.stderr,), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        while True:
            try:
                line = lines.get(timeout=seconds)
            except queue.Empty:
                yield {"ended": "silent", "values": {"seconds": f"{seconds:.0f}"}}
                return
            if not line:
                break
            event = json.loads(line)
            if "done" in event:
                return
            yield event
        code_of_exit = child.wait()
        if code_of_exit < 0:
            yield {"ended": "killed", "values": {"signal": signal.Signals(-code_of_exit).name}}
        else:
            yield {"ended": "ended", "values": {"code": str(code_of_exit)}}
    finally:
        child.kill()
        child.wait()
        for reader in readers:
            reader.join(1)
        child.stdout.close()
        child.stderr.close()


def _read_lines(stream: BinaryIO, lines: queue.Queue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")
