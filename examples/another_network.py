"""Another network: strided convolutions, batch norm and global average pooling, in 10,000 parameters.

python examples/another_network.py      300 steps: 95 % of the test images, or an error
"""

import argparse

import minicnn
from minicnn import BatchNorm2D, Conv2D, Dense, Flatten, GlobalAveragePool2D, ReLU
from minicnn.data import Batches, to_float

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--target", type=float, default=0.95, help="the test accuracy to reach")
parser.add_argument("--images", type=int, default=10_000, help="how many test images to measure it on")
parser.add_argument("--ops", default="kernels", choices=["kernels", "reference"])
args = parser.parse_args()

layers, channels = [], 1
for n, filters in enumerate([8, 16, 32], start=1):
    conv = Conv2D(channels, filters, kernel_size=3, stride=2 if n > 1 else 1, name=f"conv{n}", rng=n)
    layers += [conv, BatchNorm2D(filters, name=f"bn{n}"), ReLU(name=f"relu{n}")]
    channels = filters
layers += [GlobalAveragePool2D(), Flatten(), Dense(channels, 10, name="fc", rng=0)]
network = minicnn.Sequential(layers, input_shape=(28, 28, 1), name="small")
network.use_ops(args.ops)
network.summary()

data, loss = minicnn.load_mnist(), minicnn.SoftmaxCrossEntropy(ops=args.ops)
adam = minicnn.Adam(network.parameters(), learning_rate=1e-2, ops=args.ops)
batches = Batches(len(data.train), batch_size=50, seed=0)
for step in range(args.steps):
    chosen = batches.indices(step)
    minicnn.train_step(network, loss, adam, to_float(data.train.images[chosen]), data.train.labels[chosen])

images, labels = data.test.images[: args.images], data.test.labels[: args.images]
accuracy = (network.predict(images).argmax(axis=1) == labels).mean()
print(f"test accuracy {accuracy:.4f}")
if accuracy < args.target:
    raise SystemExit(f"expected a test accuracy of at least {args.target}")
