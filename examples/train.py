"""Train the tutorial's network in a loop of your own, and fail if it does not learn.

python examples/train.py                                 400 steps: 97 % of the test images, or an error
python examples/train.py --steps 10000 --target 0.985     as many as the tutorial
"""

import argparse

import minicnn
from minicnn import Loader

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--target", type=float, default=0.97, help="the test accuracy to reach")
parser.add_argument("--images", type=int, default=10_000, help="how many test images to measure it on")
parser.add_argument("--save", metavar="FILE", help="write the network to FILE")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

data = minicnn.load_mnist()
batch = Loader(data.train, batch_size=50, seed=args.seed)
network = minicnn.tutorial_network(seed=args.seed, init="he")
loss = minicnn.SoftmaxCrossEntropy()
adam = minicnn.Adam(network.parameters(), learning_rate=1e-3)

for step in range(1, args.steps + 1):
    x, labels = batch(step)  # [50, 28, 28, 1] and [50]
    value = minicnn.train_step(network, loss, adam, x, labels)
    if step % 100 == 0:
        print(f"step {step}  loss {value:.4f}", flush=True)

images, labels = data.test.images[: args.images], data.test.labels[: args.images]
accuracy = (network.predict(images).argmax(axis=1) == labels).mean()
print(f"test accuracy {accuracy:.4f}")
if args.save:
    network.save(args.save)
if accuracy < args.target:
    raise SystemExit(f"expected a test accuracy of at least {args.target}")
