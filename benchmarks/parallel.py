"""A training step by several processes of this machine against one process with as many threads.

    python benchmarks/parallel.py [--rounds N]

Each contestant makes the same steps on the same images, and must end with the same weights, bit for bit.
Then, what it costs one process that it sums gradients in shards.
Needs the extra `mpi`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import DifferentResultsError, Report, parse, parser, race

SHARDS = 8  # the default of a run
CONTESTANTS = [(1, 1), (2, 1), (1, 2), (4, 1)]  # processes, and threads of each


def measured(batch: int, steps: int, threads: int, shards: int) -> None:
    """Train as one of the processes that mpiexec started; process 0 prints seconds a step and a digest."""
    from minicnn import Adam, SoftmaxCrossEntropy, tutorial_network
    from minicnn.engine.kernels.threads import set_threads
    from minicnn.parallel import launch
    from minicnn.parallel.exchange import Exchange
    from minicnn.parallel.team import ProcessTeam
    from minicnn.runs.settings import settings_for
    from minicnn.runs.signals import StopSignals
    from minicnn.runs.team import Team

    set_threads(threads)
    settings = settings_for(batch_size=batch, shards=shards)
    team = Team()
    if launch.started_by_mpiexec():
        team = ProcessTeam(Exchange(launch.world(), 60), settings)
    rng = np.random.default_rng(0)
    x, labels = rng.random((batch, 28, 28, 1), np.float32), rng.integers(0, 10, batch)
    network = tutorial_network(shards=settings.shards)
    loss, optimizer = SoftmaxCrossEntropy("sum"), Adam(network.parameters(), 1e-4)
    times = []
    with StopSignals() as signals:
        team.heed(signals)
        own = np.ascontiguousarray(x[team.rows])
        for _ in range(steps + 3):
            start = time.perf_counter()
            team.learn(network, loss, optimizer, own, labels)
            times.append(time.perf_counter() - start)
    digest = hashlib.sha256(network.values.tobytes()).hexdigest()
    if not isinstance(team, ProcessTeam) or team.exchange.rank == 0:
        print(json.dumps([1000 * float(np.median(times[3:])), digest]), flush=True)


def timed(
    processes: int, threads: int, batch: int, steps: int, found: set[str], shards: int = SHARDS
) -> Sequence[float]:
    """Milliseconds a step of one turn; the digest of its weights is added to `found`."""
    command = [sys.executable, __file__, "--measure", f"{batch},{steps},{threads},{shards}"]
    if processes > 1:
        beside = Path(sysconfig.get_path("scripts")) / "mpiexec"
        mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
        if mpiexec is None:
            raise SystemExit('no mpiexec here: pip install "minicnn[mpi]"')
        command = [mpiexec, "-n", str(processes), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    milliseconds, digest = json.loads(done.stdout)
    found.add(digest)
    return [milliseconds]


def main(argv: Sequence[str] | None = None) -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--measure", help=argparse.SUPPRESS)
    made.add_argument("--batches", default="50,200,600", help="images of a batch (50,200,600)")
    made.add_argument("--small", default="10,50,100", help="batches to sum in one shard, too (10,50,100)")
    args = parse(made, argv)
    if args.measure:
        measured(*map(int, args.measure.split(",")))
        return
    if args.quick:
        args.rounds, args.batches, args.small = 1, "50", "50"
    report = Report("parallel", __doc__, args)
    for batch in map(int, args.batches.split(",")):
        steps = max(8, 1500 // batch)
        found: set[str] = set()
        contestants = {
            f"{processes} x {threads}": lambda p=processes, t=threads: timed(p, t, batch, steps, found)  # noqa: B023
            for processes, threads in CONTESTANTS
        }
        times = race(contestants, args.rounds)
        if len(found) != 1:
            raise DifferentResultsError(f"batch {batch}: the weights differ with the number of processes")
        one = times["1 x 1"].median
        rows = [
            [name, f"{t.median:.1f}", f"{t.lower:.1f} - {t.upper:.1f}", f"{one / t.median:.2f}"]
            for name, t in times.items()
        ]
        report.add(
            f"Milliseconds a step of {batch} images",
            ["processes x threads", "ms", "quartiles", "times as fast"],
            rows,
            f"Medians of {args.rounds} turns of {steps} steps. All weights are equal, bit for bit.",
        )
        report.data[str(batch)] = {name: vars(t) for name, t in times.items()}
    rows = []
    for batch in map(int, args.small.split(",")):
        steps = max(20, 3000 // batch)
        contestants = {
            str(shards): lambda s=shards: timed(1, args.threads, batch, steps, set(), s)  # noqa: B023
            for shards in (1, SHARDS)
        }
        one, many = race(contestants, args.rounds).values()
        cost = 100 * (many.median / one.median - 1)
        rows.append([str(batch), f"{one.median:.2f}", f"{many.median:.2f}", f"{cost:+.1f} %"])
    report.add(
        f"Milliseconds a step of one process on {args.threads} threads",
        ["images", "1 shard", f"{SHARDS} shards", "cost"],
        rows,
        f"Medians of {args.rounds} turns.",
    )
    report.data["shards"] = rows
    report.write()


if __name__ == "__main__":
    main()
