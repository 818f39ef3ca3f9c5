"""Another network: strided convolutions, batch norm and global average pooling, 32,618 parameters.

python examples/another_network.py      400 steps: 95 % of the test images, or an error
"""

import argparse

import minicnn
from minicnn import BatchNorm2D, Conv2D, Dense, GlobalAveragePool2D, Loader, ReLU

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--target", type=float, default=0.95, help="the test accuracy to reach")
parser.add_argument("--images", type=int, default=10_000, help="how many test images to measure it on")
parser.add_argument("--ops", default="kernels", choices=["kernels", "reference"])
args = parser.parse_args()

layers, channels = [], 1
for n, (filters, size) in enumerate([(16, 5), (32, 5), (64, 3)], start=1):
    conv = Conv2D(channels, filters, size, stride=2, name=f"conv{n}", rng=n, ops=args.ops)
    layers += [conv, BatchNorm2D(filters, name=f"norm{n}", ops=args.ops), ReLU(name=f"relu{n}", ops=args.ops)]
    channels = filters
layers += [GlobalAveragePool2D(ops=args.ops), Dense(channels, 10, name="fc", rng=0, ops=args.ops)]
network = minicnn.Sequential(layers, input_shape=(28, 28, 1), name="small")
network.summary()

data, loss = minicnn.load_mnist(), minicnn.SoftmaxCrossEntropy(ops=args.ops)
adam = minicnn.Adam(network.parameters(), ops=args.ops)
batch = Loader(data.train, batch_size=50, seed=0, ops=args.ops)
for step in range(1, args.steps + 1):
    adam.learning_rate = 1e-2 * (1 - step / (args.steps + 1))
    minicnn.train_step(network, loss, adam, *batch(step))

images, labels = data.test.images[: args.images], data.test.labels[: args.images]
accuracy = (network.predict(images).argmax(axis=1) == labels).mean()
print(f"test accuracy {accuracy:.4f}")
if accuracy < args.target:
    raise SystemExit(f"expected a test accuracy of at least {args.target}")
