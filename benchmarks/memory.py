"""Memory: the peak of a whole training run, and what a steady training step asks for.

    python benchmarks/memory.py [--steps N]

A run is `python -m minicnn train` in a process of its own, from its start to its last picture. A steady
step should ask for nothing: its arrays were allocated during the first. Page faults tell how often it
touched memory that the system had not yet given it; Python's own bookkeeping tells the bytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Mapping, Sequence

import numpy as np
from common import Report, expect_close, mnist_batches, parse, parser, saying
from ours import Minicnn, MinicnnPlain
from peers import example_parameters

BATCH = 50
WARM_STEPS = 20

# Runs in the other process. Numba imports SciPy, PyYAML and cffi where they are, as the other engines bring
# them; `pip install minicnn` does not. VmHWM is the largest resident size of this program alone;
# getrusage's may include that of the process that started it.
TRAIN = """
import resource, sys
sys.modules.update(scipy=None, yaml=None, cffi=None)
from minicnn.cli import main
code = main(sys.argv[1:])
try:
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0])
except (OSError, IndexError):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("peak", peak)
sys.exit(code)
"""


def main() -> None:
    made = parser(__doc__, rounds=100)
    made.add_argument("--steps", type=int, default=300, help="steps of the training run (300)")
    args = parse(made)
    report = Report("memory", __doc__, args)
    peak_of_a_run(report, args)
    steady_step(report, args)
    report.write()


# --- a run ----------------------------------------------------------------------------------------


def peak_of_a_run(report: Report, args: argparse.Namespace) -> None:
    """The table of peaks: as it comes, `--plain`, and with the compiler at work."""
    steps = 5 if args.quick else args.steps
    runs: dict[str, tuple[list[str], bool]] = {"as it comes": ([], False)}
    if not args.quick:
        runs |= {"--plain": (["--plain"], False), "kernels compiled (first run ever)": ([], True)}
    rows = []
    for name, (options, cold) in runs.items():
        with saying(f"training {steps} steps: {name}"):
            peak = peak_megabytes([*options, "--steps", str(steps), "--threads", str(args.threads)], cold)
        rows.append([name, f"{peak:.0f}"])
        report.data.setdefault("peak_megabytes", {})[name] = peak
    report.add(
        f"Peak resident size of `minicnn train`, {steps} steps, {args.threads} threads",
        ["run", "MB (10^6 bytes)"],
        rows,
        "As in an environment of its own. Numba imports SciPy, PyYAML and cffi if it finds them: about 20 MB "
        "more.",
    )


def peak_megabytes(options: list[str], cold: bool) -> float:
    """The largest resident size of a training run; the second of two, unless `cold`."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = dict(os.environ)
        if cold:
            environment["NUMBA_CACHE_DIR"] = scratch
        for turn in range(1 if cold else 2):
            peak = peak_of(["train", *options, "--run-dir", f"{scratch}/{turn}"], environment)
    return peak


def peak_of(words: Sequence[str], environment: Mapping[str, str], directory: str | None = None) -> float:
    """The largest resident size, in megabytes, of `minicnn WORDS`, started in `directory`.

    Raises RuntimeError with the command's last words if it fails.
    """
    command = [sys.executable, "-c", TRAIN, *words]
    done = subprocess.run(
        command, env=dict(environment), cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"minicnn {words[0]} failed: {done.stderr.strip()[-500:]}")
    kilobytes = int(done.stdout.split()[-1])
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


# --- a step ---------------------------------------------------------------------------------------


def steady_step(report: Report, args: argparse.Namespace) -> None:
    """The table of what one step asks for, once its memory is there."""
    check()
    rows = []
    x, labels = mnist_batches(10, BATCH)
    batches = list(zip(x, labels, strict=True))
    for engine_class in (Minicnn,) if args.quick else (Minicnn, MinicnnPlain):
        engine = engine_class(example_parameters(), args.threads)
        for step in range(WARM_STEPS):
            engine.step(*batches[step % len(batches)])
        faults = [fresh_pages(engine, *batches[step % len(batches)]) for step in range(args.rounds)]
        tracemalloc.start()
        held = [fresh_bytes(engine, *batches[step % len(batches)]) for step in range(args.rounds)]
        tracemalloc.stop()
        network = engine.network
        workspaces = [memory.workspace for memory in network._training_memory]
        workspaces += [p._factors for p in network.parameters()]
        kept = sum(workspace.nbytes for workspace in workspaces)
        kept = (kept + 3 * network.values.nbytes) / 1e6  # values; Adam's m and v
        rows.append(
            [
                engine.name,
                f"{np.median(faults):.0f}",
                f"{np.mean(faults):.2f}",
                f"{np.median(held):,.0f}",
                f"{max(held):,}",
                f"{kept:.0f}",
            ]
        )
        report.data.setdefault("steady_step", {})[engine.name] = {
            "page_faults": faults,
            "bytes_at_once": held,
            "megabytes_kept": kept,
        }
    report.add(
        f"What a steady step asks for, batch {BATCH}, {args.threads} threads",
        ["", "page faults", "mean", "bytes at once", "at most", "MB kept"],
        rows,
        f"Medians of {args.rounds} steps after {WARM_STEPS}. 'Bytes at once': the most that a step held of "
        "new memory, Python's objects and NumPy's arrays together. 'MB kept': from the first step on, "
        "parameters, Adam's two moments and all that the layers work in.",
    )


def fresh_pages(engine: Minicnn, x: np.ndarray, labels: np.ndarray) -> int:
    """Page faults during a step, of all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    engine.step(x, labels)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fresh_bytes(engine: Minicnn, x: np.ndarray, labels: np.ndarray) -> int:
    """The most memory that a step held at any moment beyond what there was before."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    engine.step(x, labels)
    _, most = tracemalloc.get_traced_memory()
    return most - before


def check() -> None:
    """Raise DifferentResultsError unless memory that is reused holds the same results as fresh memory."""
    x, _ = mnist_batches(2, 4)
    network = Minicnn(example_parameters(), threads=1, keep_prob=1.0).network
    network.forward(x[0], training=True)
    reused = network.forward(x[1], training=True)
    expect_close("logits in memory that was used before", reused, network.forward(x[1]), rtol=0, atol=0)
    network.use_ops("reference")
    expect_close("logits", reused, network.forward(x[1]))


if __name__ == "__main__":
    main()
