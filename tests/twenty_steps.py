"""The losses of twenty training steps, to be compared between processors.

    python tests/twenty_steps.py > losses.txt                  # on one
    python tests/twenty_steps.py --against losses.txt          # on another: fails above 1e-4

The tutorial's network from seed 0, batches of 50, dropout and Adam as the tutorial has them. Processors
may round differently: with or without fused multiply-adds, in vectors of another width.
"""

import argparse
import hashlib
import platform
import sys
import time
from pathlib import Path

from minicnn import Adam, SoftmaxCrossEntropy, load_mnist, train_step, tutorial_network
from minicnn.data import to_float

STEPS, BATCH = 20, 50
TOLERANCE = 1e-4  # of the losses' relative difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", type=Path, help="what this script has printed on another processor")
    args = parser.parse_args()
    data, network, loss = load_mnist().train, tutorial_network(), SoftmaxCrossEntropy("sum")
    adam = Adam(network.parameters(), learning_rate=1e-4)
    losses = []
    for step in range(STEPS):
        start, batch = time.perf_counter(), slice(step * BATCH, (step + 1) * BATCH)
        losses.append(train_step(network, loss, adam, to_float(data.images[batch]), data.labels[batch]))
        print(f"{losses[-1]:.9g}", flush=True)
        print(f"step {step + 1}: {time.perf_counter() - start:.2f} s", file=sys.stderr)
    digest = hashlib.sha256(network.values.tobytes()).hexdigest()[:16]
    print(f"{platform.machine()}: the parameters afterwards have the digest {digest}", file=sys.stderr)
    if args.against is None:
        return 0
    others = [float(line) for line in args.against.read_text(encoding="utf-8").split()]
    if len(others) != STEPS:
        parser.error(f"{args.against}: expected {STEPS} losses, got {len(others)}")
    largest = max(abs(a - b) / abs(b) for a, b in zip(losses, others, strict=True))
    print(f"largest relative difference of {STEPS} losses: {largest:.2g}", file=sys.stderr)
    return int(not largest <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
