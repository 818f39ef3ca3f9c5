"""Runs all benchmarks, one after the other, and writes RESULTS.md from their JSON files.

    python benchmarks/all.py [--quick] [--report-only]

With `--quick`, which only shows that everything runs, the results go to results/quick/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from common import HERE, RESULTS, Table, machine_line

ORDER = ("step", "inference", "ladder", "tile", "winograd", "images", "scaling", "start", "memory", "data")
# What takes long and is started by itself; RESULTS.md has those that were measured.
TRAININGS = (
    "gradient_checkers",
    "recipe-fast",
    "accuracy-fast",
    "accuracy-tutorial",
    "accuracy-best",
    "accuracy-softmax",
    "data-accuracy",
    "sweep",
    "parallel",
)


def main() -> int:
    made = argparse.ArgumentParser(description="Run all benchmarks and write RESULTS.md.")
    made.add_argument("--quick", action="store_true", help="only see that everything runs")
    made.add_argument("--report-only", action="store_true", help="run nothing, write RESULTS.md anew")
    args = made.parse_args()
    failed = []
    for name in ORDER if not args.report_only else ():
        print(f"\n=== {name} ===", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if args.quick else [])]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    folder = RESULTS / "quick" if args.quick else RESULTS
    found = [
        json.loads(path.read_text())
        for name in (*ORDER, *TRAININGS)
        if (path := folder / f"{name}.json").exists()
    ]
    if found:
        target = folder / "RESULTS.md" if args.quick else HERE / "RESULTS.md"
        target.write_text(markdown(found))
        print(f"\nwritten: {target}")
        if not args.quick and (folder / "step.json").exists():
            subprocess.run([sys.executable, str(HERE / "chart.py")], check=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def markdown(results: list[dict[str, Any]]) -> str:
    """RESULTS.md: for each benchmark its tables, the machine, and the command that measures it again."""
    parts = [
        "# Results",
        "Written by `python benchmarks/all.py`; do not edit. How the figures are taken, and why in turn and "
        "as medians: [README.md](README.md). Compare only what stands in one table: it was taken in turn.",
    ]
    machines = [machine_line(content["machine"]) for content in results]
    same = len(set(machines)) == 1
    if same:
        parts.append(f"Machine: {machines[0]}.")
    for content, machine in zip(results, machines, strict=True):
        parts += [f"## {content['name']}", content["about"], f"`{content['command']}`"]
        if not same:
            parts.append(f"Machine: {machine}.")
        if content["machine"]["load_before"] > 0.5:
            parts.append(f"Taken on a busy machine (load {content['machine']['load_before']}).")
        parts += [Table(**table).markdown() for table in content["tables"]]
        parts += [f"Left out: {name} ({reason})." for name, reason in content["left_out"].items()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
