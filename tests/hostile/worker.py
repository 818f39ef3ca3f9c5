"""Runs commands on hostile files, each in a child with little memory and time, and writes what happened.

    python worker.py GOOD SCRATCH < pairs.json

GOOD is the directory of `make_good_files`; each child works in a copy of it. The process has imported
everything and computed once before it forks, so that a case takes milliseconds. Started with one thread for
BLAS and Numba: each thread of theirs takes tens of megabytes of address space, which RLIMIT_AS counts.
"""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import corpus
import matrix
from sweeping import one_worker_here

MEMORY = 1 << 30  # bytes of address space
SECONDS = 10  # of a processor
PATIENCE = 60  # seconds on the clock, on a busy machine, after which a case hangs


def run_case(row: matrix.Row, kind: str, case: corpus.Case, good: Path, scratch: Path) -> dict:
    """What the command of a row does when the good file of a kind is replaced."""
    place = scratch / "case"
    shutil.copytree(good, place, symlinks=True)
    try:
        prepare(place, kind, case)
        before = contents(place)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            work(row, place, scratch, case.make if kind == "environment" else None)
        _, status, used = os.wait4(child, 0)
        return {
            "row": row.name, "kind": kind, "case": case.name,
            "code": os.waitstatus_to_exitcode(status),
            "out": (scratch / "out").read_text(), "err": (scratch / "err").read_text(),
            "seconds": time.monotonic() - began, "memory": used.ru_maxrss // 1024,
            "changed": sorted(set(before.items()) ^ set(contents(place).items())),
        }  # fmt: skip
    finally:
        shutil.rmtree(place)


def prepare(place: Path, kind: str, case: corpus.Case) -> None:
    """Replace the good file of this kind by the hostile one."""
    config = json.loads((place / matrix.PLACES["config"]).read_bytes())
    (place / matrix.PLACES["config"]).write_text(json.dumps(config | {"data": str(place / "data")}))
    if kind == "environment":
        return
    newest = place / matrix.PLACES["checkpoint"]
    if kind == "previous":
        (place / matrix.PLACES["previous"]).write_bytes(newest.read_bytes())
        newest.write_bytes(b"damaged")
    if kind == "weights":
        (place / "external.onnx").replace(place / "model.onnx")
    if case.name.startswith("weights ") and kind == "weights":  # the model is what is hostile
        target = place / "model.onnx"
    else:
        target = place / matrix.PLACES[kind]
    case.make(target, b"" if target.is_dir() else target.read_bytes())


def contents(place: Path) -> dict[str, str]:
    """All names below a directory, and what is there."""
    found = {}
    for path in place.rglob("*"):
        size = os.lstat(path).st_size
        if path.is_symlink() or not path.is_file() or size > 10 << 20:
            found[str(path.relative_to(place))] = f"{os.lstat(path).st_mode:o} {size}"
        else:
            found[str(path.relative_to(place))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def work(row: matrix.Row, place: Path, scratch: Path, enter: Callable | None) -> None:
    """In the child: run the command within its limits, and end. `enter` leads into a hostile environment."""
    from minicnn.cli import main

    code = 99
    try:
        os.chdir(place)
        for number, name in ((0, os.devnull), (1, scratch / "out"), (2, scratch / "err")):
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(PATIENCE)
        if enter is not None:
            enter(place)
        sys.argv = ["minicnn", *row.argv]
        code = main(list(row.argv))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def warm_up(good: Path) -> None:
    """Import everything and run the good commands once: see above."""
    import minicnn.interchange
    from minicnn import load_network, pictures
    from minicnn.data.photo import preprocess
    from minicnn.explore.server import ExploreServer
    from minicnn.sweeps import engine

    ExploreServer.serve_forever = lambda server: None  # a page that is served ends with Ctrl-C only
    engine.workers, engine.expect_installed = one_worker_here, lambda: None

    image = preprocess(good / "image.png").image
    load_network(good / "network.safetensors").predict(image[None])
    metrics = pictures.read_metrics(good / "run" / "metrics.csv")
    pictures.draw_curves(metrics, good.with_name("warm.png"))
    if (good / "images.parquet").exists():
        minicnn.load_data(good / "images.parquet")
    if (good / "model.onnx").exists():
        minicnn.interchange.load_onnx(good / "model.onnx")


def compile_for(row: matrix.Row, good: Path) -> None:
    """Let a command compile what it computes in another process: that takes longer than a case may."""
    command = [sys.executable, "-m", "minicnn", *row.argv]
    with tempfile.TemporaryDirectory() as place:  # what it writes is none of the good files
        shutil.copytree(good, place, symlinks=True, dirs_exist_ok=True)
        subprocess.run(command, cwd=place, stdout=subprocess.DEVNULL, check=True)


def main(good: Path, scratch: Path) -> None:
    """Run all pairs on stdin."""
    if not (good / "run").exists():
        matrix.make_good_files(good)
    warm_up(good)
    rows = {row.name: row for row in matrix.ROWS}
    cases = {(kind, case.name): case for kind in corpus.CASES for case in corpus.CASES[kind]}
    good_file = corpus.Case("good", lambda path, content: None)
    results, pairs = [], json.load(sys.stdin)
    for row in {row for row, _, _ in pairs if row.startswith("learn")}:
        compile_for(rows[row], good)
    for row, kind, name in pairs:
        case = good_file if name == "good" else cases[kind, name]
        results.append(run_case(rows[row], kind, case, good, scratch))
    Path(scratch / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
