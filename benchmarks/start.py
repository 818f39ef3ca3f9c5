"""From the start of the process to the first finished training step, cold and warm, against the peers.

    python benchmarks/start.py [--rounds N]

Every start is a fresh process: Python, the imports, the network, one step at batch 50. "Cold" is the
first start ever: minicnn's compiled kernels, and PyTorch's compiled graphs, are not yet in their caches
on the disk. "Warm" is every later start. Engines that keep no such cache have no cold start.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import SHAPES, Engine, PyTorchCompiled, engines

BATCH = 50
CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


def one_step(name: str, threads: int) -> None:
    """In the fresh process: make one step and say so."""
    from ours import Minicnn, MinicnnPlain

    engine = next(e for e in [Minicnn, MinicnnPlain, *engines()] if e.__name__ == name)
    if not engine.available():
        print(f"unavailable: {engine.reason}")
        return
    rng = np.random.default_rng(0)
    parameters = {key: 0.1 * rng.random(shape, np.float32) - 0.05 for key, shape in SHAPES.items()}
    x, labels = rng.random((BATCH, 28, 28, 1), np.float32), rng.integers(0, 10, BATCH)
    with contextlib.ExitStack() as stack:
        if issubclass(engine, Minicnn):  # as `minicnn train` does
            from minicnn.runs.settings import settings_for
            from minicnn.runs.warmup import compiling_ahead

            stack.enter_context(compiling_ahead(settings_for(plain=not engine.fused)))
            labels = labels.astype(np.uint8)
        loss = engine(parameters, threads).step(x, labels)
    print(f"done: loss {loss:.4f}", flush=True)


def seconds_to_first_step(engine: type[Engine], threads: int, caches: str) -> float:
    """Start a process whose caches lie in `caches`; the time until it says that its step is done.

    Raises RuntimeError with the process's last words if it does not.
    """
    environment = {**os.environ, **engine.environment, **dict.fromkeys(CACHES, caches)}
    command = [sys.executable, __file__, "--first-step", engine.__name__, str(threads)]
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        line = process.stdout.readline() if process.stdout else ""
        seconds = time.perf_counter() - start
        process.communicate()
        if not line.startswith("done"):
            errors.seek(0)
            last_words = line or errors.read().decode(errors="replace")[-500:]
            raise RuntimeError(last_words.strip().removeprefix("unavailable: "))
    return seconds


def main() -> None:
    from common import Report, chosen, parse, parser, race, saying
    from ours import Minicnn, MinicnnPlain

    made = parser(__doc__, rounds=7)
    made.add_argument("--cold-rounds", type=int, default=3, help="cold starts of each engine (3)")
    args = parse(made)
    report = Report("start", __doc__, args)
    caching = {Minicnn.name, MinicnnPlain.name, PyTorchCompiled.name}

    with tempfile.TemporaryDirectory() as scratch:
        cold: dict[str, list[float]] = {}
        warm = {}
        for engine in chosen([Minicnn, MinicnnPlain, *engines()], args):
            # A first start, warm or cold, also reads the framework's files from the disk.
            rounds = 1 if args.quick or engine.name not in caching else args.cold_rounds
            try:
                with saying(f"cold: {engine.name}"):
                    for turn in range(rounds):
                        caches = str(Path(scratch, f"{engine.__name__}-{turn}"))
                        seconds = seconds_to_first_step(engine, args.threads, caches)
                        cold.setdefault(engine.name, []).append(seconds)
            except RuntimeError as error:
                report.left_out[engine.name] = str(error)
                print(f"left out: {engine.name}: {error}")
                continue
            warm[engine.name] = lambda e=engine, c=caches: [seconds_to_first_step(e, args.threads, c)]
        times = race(warm, args.rounds)

    peers = [name for name in times if not name.startswith(Minicnn.name)]
    fastest = min(peers, key=lambda name: times[name].median, default=Minicnn.name)
    rows = []
    for name in sorted(times, key=lambda name: times[name].median):
        spread = times[name]
        first = f"{np.median(cold[name]):.1f}" if name in caching else "-"
        quartiles = f"{spread.lower:.2f} - {spread.upper:.2f}"
        ratio = times[fastest].median / spread.median
        rows.append([name, f"{spread.median:.2f}", quartiles, f"{ratio:.2f}", first])
    report.add(
        f"Seconds from process start to the end of the first step, batch {BATCH}, {args.threads} threads",
        ["engine", "warm", "quartiles", f"speed, {fastest} = 1", "cold"],
        rows,
        f"Medians of {args.rounds} warm starts, in turn, and {args.cold_rounds} cold ones.",
    )
    report.data |= {
        "warm": {name: vars(spread) for name, spread in times.items()},
        "cold": {name: seconds for name, seconds in cold.items() if name in caching},
    }
    report.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--first-step"]:
        one_step(sys.argv[2], int(sys.argv[3]))
    else:
        main()
