"""The process that runs the learner's file: what it finds goes to its parent, as a line of JSON each.

The learner's code may print, hang, end Python or take all memory. So its stdout goes where stderr goes,
each exercise has a time limit, and memory is limited where the system can do that.

    python -c "from minicnn.learn.child import main; main()" REQUEST
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "\x00"  # what comes after it on stderr was printed by what is named in the same line
MEMORY = 2 << 30  # bytes that checks may take, besides what Python and NumPy have


def main() -> None:
    """Answer the request in the first argument."""
    request = json.loads(sys.argv[1])
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever the learner prints

    def send(**event: Any) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    if request["work"] == "train":
        from minicnn.learn.training import train

        train(request, send)
    else:
        check(request, send)
    send(done=True)
    sys.stdout.flush()
    os._exit(0)  # threads of the learner's own do not hold it up


def check(request: dict[str, Any], send: Callable[..., None]) -> None:
    """Check the exercises that the request names; `passed` are those that need no check any more."""
    from minicnn.learn.exercises import EXERCISES
    from minicnn.learn.findings import NotStarted, Wrong

    limit_memory(MEMORY)
    timer = begin("import", request["seconds"], send)
    learner = loaded(request["path"], send)
    timer.cancel()
    if learner is None:
        return
    passed = set(request["passed"])
    for exercise in EXERCISES:
        if exercise.name not in request["exercises"]:
            continue
        if any(need not in passed for need in exercise.needs):
            send(exercise=exercise.name, status="waits", function=exercise.functions[0])
            continue
        timer = begin(exercise.name, request["seconds"], send)
        try:
            exercise.check(learner)
            passed.add(exercise.name)
            send(exercise=exercise.name, status="passed")
        except NotStarted as missing:
            status = "not_started" if missing.function == exercise.functions[0] else "begun"
            send(exercise=exercise.name, status=status, function=missing.function)
        except Wrong as wrong:
            send(exercise=exercise.name, status="wrong", finding=wrong.finding.to_json())
        except MemoryError:
            finding = Wrong("memory", function=exercise.functions[0]).finding
            send(exercise=exercise.name, status="wrong", finding=finding.to_json())
        finally:
            timer.cancel()


def begin(name: str, seconds: float, send: Callable[..., None]) -> threading.Timer:
    """Say what comes next, and end this process, saying where it was, if that takes longer."""
    send(begins=name)
    sys.stdout.flush()
    os.write(2, f"{MARK}{name}\n".encode())
    main_thread = threading.get_ident()
    timer = threading.Timer(seconds, lambda: _out_of_time(main_thread, name, seconds, send))
    timer.daemon = True
    timer.start()
    return timer


def _out_of_time(thread: int, name: str, seconds: float, send: Callable[..., None]) -> None:
    from minicnn.learn.findings import Wrong

    frames = traceback.extract_stack(sys._current_frames()[thread])
    own = [frame for frame in frames if frame.filename == learners_file]
    where = f"{Path(learners_file).name}, line {own[-1].lineno}: {own[-1].line}" if own else ""
    finding = Wrong("too_long", seconds=f"{seconds:.0f}", where=where).finding
    send(exercise=name, status="wrong", finding=finding.to_json())
    os._exit(3)


learners_file: str = ""


def loaded(path: str, send: Callable[..., None]) -> Any:
    """The functions of the learner's file, which is run; None if it fails, after saying how."""
    global learners_file
    from minicnn.checks.files.discover import load
    from minicnn.learn.findings import Wrong
    from minicnn.learn.learner import Learner

    file = Path(path)
    learners_file = str(file)
    sys.dont_write_bytecode = True  # the learner's directory keeps only the learner's files
    try:
        return Learner(load(file), file)
    except SyntaxError as error:
        line = (error.text or "").strip()
        where = f"{file.name}, line {error.lineno}: {line}"
        finding = Wrong("syntax", error=f"{type(error).__name__}: {error.msg}", where=where).finding
    except (Exception, SystemExit) as error:
        what = "exit()" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        where = f"{file.name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
        finding = Wrong("not_loaded", error=what.split("\n")[0][:300], where=where).finding
    send(exercise="import", status="wrong", finding=finding.to_json())
    return None


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more, where the system knows such a limit (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    from minicnn.storage.cgroups import read

    pages = read(Path("/proc/self/statm")).split()[:1]
    if not pages:
        return
    wanted = int(pages[0]) * os.sysconf("SC_PAGE_SIZE") + more
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft > wanted:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
