"""The links of the chain of trust as functions of a package, so that they can be run on a spoiled copy.

Each check takes a `Package` and raises AssertionError (or whatever the spoiled code raises) if it finds
a fault. They are short versions of the test modules: fixed cases where those draw hundreds.
"""

from __future__ import annotations

import naive
import numpy as np
import test_kernels
import test_reference
from test_network_gradient import WithLoss

from minicnn import load_mnist
from minicnn.checks import suite as gradcheck_suite
from minicnn.checks.contract import check_layer
from minicnn.checks.examples import small_layers
from minicnn.checks.gradcheck import gradient_check
from minicnn.engine.workspace import FRESH, Workspace

LAYER_OF = {"conv2d": "Conv2D", "conv_relu_pool": "ConvReLUPool", "max_pool2d": "MaxPool2D"}
LAYER_OF |= {"average_pool2d": "AveragePool2D", "batch_norm2d": "BatchNorm2D"}
LAYER_OF |= {"global_average_pool2d": "GlobalAveragePool2D"}
LAYER_OF |= {"relu": "ReLU", "dropout": "Dropout", "dense": "Dense", "batch_norm2d": "BatchNorm2D"}
LAYER_OF |= {"average_pool2d": "AveragePool2D", "global_average_pool2d": "GlobalAveragePool2D"}


class Package:
    """minicnn or a spoiled copy of it: its modules, the ops to look at, and the operation in question.

    `op` None means all. A spoiled kernel is seen only by its own operation, because every other one
    would have to be compiled for nothing.
    """

    def __init__(self, modules, tier="reference", op=None):
        self.tier, self.op = tier, op
        for name in ("reference", "kernels", "parameters", "layers", "losses", "optimizers", "network"):
            setattr(self, name, modules[name])
        self.ops = modules[tier]

    def chosen(self, names):
        return [name for name in names if self.op in (None, name)]


# --- loops: the reference computes what nested loops compute -------------------------------------


def loops(package):
    """Forward values, and where a max-pool sends its gradient, against loops over single numbers."""
    for name in package.chosen(LOOPS):
        LOOPS[name](package.ops)
    if package.tier == "reference":
        logits, labels = rng().standard_normal((3, 4)), np.array([0, 3, 1])
        loss = package.losses.SoftmaxCrossEntropy("mean", ops="reference")
        close(loss.forward(logits, labels), np.mean(naive.softmax_cross_entropy(logits, labels)))


def rng():
    return np.random.default_rng(0)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def conv_cases():
    r = rng()
    for H, W, kh, kw, stride, padding in [
        (6, 5, 3, 2, 1, "same"),
        (7, 6, 4, 3, 2, "same"),
        (6, 7, 3, 4, 2, "valid"),
    ]:
        yield (
            *(r.standard_normal(shape) for shape in [(2, H, W, 2), (kh, kw, 2, 3), (3,)]),
            stride,
            padding,
        )


def conv_loops(ops):
    for case in conv_cases():
        close(ops.conv2d_forward(*case)[0], naive.conv2d(*case))


def block_loops(ops):
    for case in conv_cases():
        positive = np.maximum(naive.conv2d(*case), 0)
        close(ops.conv_relu_pool_forward(*case)[0], naive.max_pool2d(positive, 2, 2, "same")[0])


def pool_loops(ops):
    for size, stride, padding in [(2, 2, "same"), (3, 2, "same"), (3, 1, "valid")]:
        for lowest, highest in [(-2, 1), (-9, -6)]:
            x = rng().integers(lowest, highest, (2, 7, 5, 3)).astype(float)
            y, cache = ops.max_pool2d_forward(x, size, stride, padding)
            expected, winners = naive.max_pool2d(x, size, stride, padding)
            close(y, expected)
            dy = rng().standard_normal(y.shape)
            close(ops.max_pool2d_backward(dy, cache), naive.max_pool2d_backward(dy, winners, x.shape))


def relu_loops(ops):
    y, cache = ops.relu_forward(np.array([[-2.0, 0.0, 3.0]]))
    assert y.tolist() == [[0, 0, 3]]
    assert ops.relu_backward(np.array([[5.0, 5.0, 5.0]]), cache).tolist() == [[0, 0, 5]]


def dropout_loops(ops):
    y, _ = ops.dropout_forward(np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]]), 0.25)
    assert y.tolist() == [[4, 0, 12]]


def dense_loops(ops):
    x, w, b = (rng().standard_normal(shape) for shape in [(3, 5), (5, 4), (4,)])
    close(ops.dense_forward(x, w, b)[0], naive.dense(x, w, b))


def loss_loops(ops):
    logits, labels = rng().standard_normal((3, 4)), np.array([0, 3, 1])
    losses = naive.softmax_cross_entropy(logits, labels)
    close(ops.softmax_cross_entropy_forward(logits, labels, "sum")[0], np.sum(losses))
    close(ops.softmax_cross_entropy_forward(logits, labels, "mean")[0], np.mean(losses))
    huge = np.array([[1e4, 0.0, -1e4]])
    with np.errstate(all="ignore"):
        loss, cache = ops.softmax_cross_entropy_forward(huge, np.array([1]))
        close(loss, 1e4)
        assert np.isfinite(ops.softmax_cross_entropy_backward(1.0, cache)).all()


def warp_loops(ops):
    """Turned, sheared, stretched and moved, over borders."""
    images = rng().integers(0, 256, (2, 9, 17), np.uint8)
    ways = [([[0.1, -0.3], [0.4, -0.2]], [1.3, -2.6]), ([[0.0, 0.0], [0.0, 0.0]], [-1.5, 0.25])]
    moves = np.array([naive.affine_moves(9, 17, *way) for way in ways])
    expected = [naive.affine_warp(image, *way) for image, way in zip(images, ways, strict=True)]
    close(ops.warp(images, moves)[..., 0], expected)


def average_loops(ops):
    average, value = rng().standard_normal((2, 5))
    expected = [0.75 * a + 0.25 * v for a, v in zip(average, value, strict=True)]
    ops.average_update(average, value, 0.75)
    close(average, expected)


def average_pool_loops(ops):
    x = rng().standard_normal((2, 7, 5, 3))
    for case in [(2, 2, "same"), (3, 2, "same"), (3, 1, "valid")]:
        close(ops.average_pool2d_forward(x, *case)[0], naive.average_pool2d(x, *case))


def global_average_pool_loops(ops):
    x = rng().standard_normal((2, 7, 5, 3))
    close(ops.global_average_pool2d_forward(x)[0], naive.global_average_pool2d(x))


def batch_norm_loops(ops):
    x, (scale, shift, mean) = rng().standard_normal((2, 4, 5, 3)), rng().standard_normal((3, 3))
    for statistics in (None, None), (mean, np.array([0.5, 1.0, 2.0])):
        y, _ = ops.batch_norm2d_forward(x, scale, shift, *statistics, 0.1)
        close(y, naive.batch_norm2d(x, scale, shift, 0.1, *statistics))


LOOPS = {
    "average_pool2d": average_pool_loops,
    "batch_norm2d": batch_norm_loops,
    "global_average_pool2d": global_average_pool_loops,
    "conv2d": conv_loops,
    "conv_relu_pool": block_loops,
    "max_pool2d": pool_loops,
    "relu": relu_loops,
    "dropout": dropout_loops,
    "dense": dense_loops,
    "softmax_cross_entropy": loss_loops,
    "warp": warp_loops,
    "average": average_loops,
}


# --- gradient: a backward is the numerical gradient of its forward -------------------------------


def gradient(package, dy=None):
    """Difference quotients, away from kinks and ties, with a random dy."""
    for name, variant in gradcheck_suite.OPERATIONS:
        if name in package.chosen([name]):
            options = {} if dy is None else {"dy": dy}
            report = gradcheck_suite.check_operation(name, variant, package.ops, entries=150, **options)
            assert not report.wrong, report


def ones(package):
    """The same with dy = 1, as many a tutorial does it. For comparison only: it misses faults."""
    gradient(package, np.ones(()))


def layer(package):
    """The same through the layers, with dropout switched on."""
    for make, x in our_layers(package).values():
        report = gradient_check(make(), x, entries=60)
        assert not report.wrong, report


def our_layers(package):
    """Of each layer class, or of that of the operation: `make` and a batch."""
    made = small_layers(rng(), package.tier, package.layers)
    chosen = LAYER_OF.get(package.op)
    return {name: example for name, example in made.items() if chosen is None or name == chosen}


# --- kernels: the same results as the reference --------------------------------------------------

ODD = [  # of each operation, sizes that leave remainders in blocks, tiles and vectors
    ("conv2d", {"F": 19, "stride": 2}),
    ("conv2d", {"N": 1, "H": 5, "W": 15, "C": 1, "F": 3, "padding": "valid"}),
    ("conv_relu_pool", {"F": 19, "H": 9, "W": 9}),
    ("conv_relu_pool", {"N": 1, "H": 7, "W": 15, "C": 1, "F": 35, "kh": 5}),
    ("max_pool2d", {}),
    ("max_pool2d", {"size": 3, "stride": 2, "padding": "valid"}),
    ("average_pool2d", {}),
    ("average_pool2d", {"size": 3, "stride": 2}),
    ("global_average_pool2d", {}),
    ("batch_norm2d", {"N": 9, "H": 11, "W": 11}),
    ("batch_norm2d", {"constant": True}),
    ("dense", {"N": 17, "D": 40, "F": 19}),
    ("dense", {"N": 15, "D": 300, "F": 140}),
    ("relu", {}),
    ("relu", {"size": 9000}),
    ("dropout", {}),
    ("softmax_cross_entropy", {"reduction": "mean"}),
    ("softmax_cross_entropy", {"scale": 1000, "reduction": "sum"}),
    ("softmax_cross_entropy", {"label_smoothing": 0.1}),
    ("adam", {}),
    ("adam_product", {"N": 5, "D": 90, "F": 40}),
    ("sgd", {}),
    ("average", {"size": 20_000}),
    ("tree_sum", {"N": 6, "size": 2000}),
    ("warp", {}),
]
BOTH = ("_forward", "_backward")
ENDINGS = {
    **dict.fromkeys(("adam", "adam_product", "sgd", "average"), ("_update",)),
    **dict.fromkeys(("tree_sum", "warp"), ("",)),
    **dict.fromkeys(("conv2d", "conv_relu_pool"), (*BOTH, "_backward_by_shards")),
}


class Spoilt(Workspace):
    """Memory in which nothing is right by chance: floats are NaN, integers are large."""

    def empty(self, name, shape, dtype):
        array = FRESH.empty(name, shape, dtype)
        array[...] = np.nan if np.dtype(dtype).kind == "f" else 100
        return array


def kernels(package):
    """Equal results of both, on numbers whose sums are exact, with ties, at sizes that leave remainders."""
    for stem, sizes in ODD:
        if stem not in package.chosen([stem]):
            continue
        for name in [f"{stem}{ending}" for ending in ENDINGS.get(stem, BOTH)]:
            kind = "integers" if f"{stem}_forward" in test_kernels.FORWARDS else "normal"
            case = test_kernels.build(name, test_kernels.Numbers(0, np.float64, kind), **sizes)
            expected = test_kernels.run(package.reference, name, case.args)
            test_kernels.assert_equal(
                test_kernels.run(package.kernels, name, case.args, workspace=Spoilt()),
                expected,
                length=case.length,
            )


# --- fused: the block is its three layers in a row -----------------------------------------------

# Channels, kernel, images, and the largest weight. Whole numbers make sums exact, so the block must be
# equal bit for bit. Where it multiplies less (5x5, many channels) it rounds: there the weights are so
# large that only equal patches have equal sums.
BLOCKS = [(2, 3, 2, 3), (1, 3, 6, 3), (17, 5, 2, 2**20)]


def fused(package):
    """On whole numbers: ties, blank images, windows of negative numbers; grey images and many channels."""
    if not package.chosen(["conv_relu_pool"]):
        return
    reference = package.layers if package.tier == "reference" else contract_layers()
    for C, size, N, most in BLOCKS:
        for bias, low in [(0, -3), (0, 0), (-99 * most, -3), (1, -3)]:
            block = package.layers.ConvReLUPool(C, 19, size, dtype=np.float64, ops=package.tier)
            row = [reference.Conv2D(C, 19, size, dtype=np.float64, ops="reference")]
            row += [reference.ReLU(ops="reference"), reference.MaxPool2D(ops="reference")]
            for convolution in block, row[0]:
                convolution.weight.value[...] = rng().integers(-most, most + 1, block.weight.value.shape)
                convolution.bias.value[...] = bias
            x = rng().integers(low, 4, (N, 7, 6, C)).astype(float)
            x[0, 3:], x[1, 3:] = 0, 2  # blank paper, and a flat grey: equal patches
            y = x
            for part in row:
                y = part.forward(y, training=True)
            dy = dx = rng().integers(-4, 5, y.shape).astype(float)
            for part in reversed(row):
                dx = part.backward(dx)
            rounding = 0 if most < 2**20 else 1e-12 * most
            for ours, theirs in [
                (block.forward(x, training=True), y),
                (block.backward(dy), dx),
                *((p.grad, q.grad) for p, q in zip(block.parameters, row[0].parameters, strict=True)),
            ]:
                np.testing.assert_allclose(ours, theirs, rtol=rounding / most, atol=300 * rounding)


def contract_layers():
    from minicnn.engine import layers

    return layers


# --- contract, network, optimizer ----------------------------------------------------------------


def promises(package):
    """The contract of a layer, kept by all layers."""
    # A copy of the package is unknown to pickle, and its parameters to our optimizers.
    exceptions = {"pickle_keeps_the_layer", "written_gradients_are_obeyed"}
    for make, x in our_layers(package).values():
        check_layer(make, x, except_for=exceptions)


def network(package):
    """A network of every kind of layer, loss included, on real digits: difference quotients again."""
    for report in network_reports(package):
        assert not report.wrong, report


def network_reports(package):
    """The reports on that network, with the sum of the losses and with their mean."""
    own, r, double = package.layers, rng(), {"dtype": np.float64, "ops": package.tier}
    parts = [
        own.Conv2D(1, 3, 5, name="conv", rng=r, **double),
        own.ReLU(name="relu1", ops=package.tier),
        own.MaxPool2D(ops=package.tier),
        own.ConvReLUPool(3, 4, 3, name="block", rng=r, **double),
        own.Flatten(ops=package.tier),
        own.Dense(64, 9, name="fc1", rng=r, **double),
        own.ReLU(name="relu2", ops=package.tier),
        own.Dropout(0.5, ops=package.tier),
        own.Dense(9, 10, name="fc2", rng=r, **double),
    ]
    test = load_mnist().test
    digits = test.images[:3, ::2, ::2, None] / 255
    for reduction in "sum", "mean":
        loss = package.losses.SoftmaxCrossEntropy(reduction, ops=package.tier)
        whole = WithLoss(package.network.Sequential(parts, (14, 14, 1)), loss)
        yield gradient_check(whole, digits, test.labels[:3], entries=40)


def optimizer(package):
    """Adam against Algorithm 1, number by number; gradient descent against its formula."""
    for settings in [(0.1, 0.9, 0.999, 1e-8), (0.1, 0.5, 0.7, 1e-2)]:
        value, gradients = rng().standard_normal(5), rng().standard_normal((4, 5))
        expected = [test_reference.adam_by_hand(value[i], gradients[:, i], *settings) for i in range(5)]
        if package.op in (None, "adam"):
            by_class = package.parameters.Parameter("value", value.copy())
            adam = package.optimizers.Adam([by_class], *settings, ops=package.tier)
            m, v, by_function = np.zeros(5), np.zeros(5), value.copy()
            for t, grad in enumerate(gradients, start=1):
                by_class.grad[...] = grad
                adam.step()
                package.ops.adam_update(by_function, grad, m, v, t, *settings)
            close(by_class.value, expected)
            close(by_function, expected)
    if package.op in (None, "sgd"):
        value, velocity = np.array([1.0, 2.0]), np.array([0.5, 0.0])
        package.ops.sgd_update(value, np.array([10.0, -10.0]), velocity, 0.1, 0.5)
        close(value, [0.25, 3])


CHECKS = {
    "loops": loops,
    "dy = 1": ones,
    "gradient": gradient,
    "layer": layer,
    "kernels": kernels,
    "fused": fused,
    "contract": promises,
    "network": network,
    "optimizer": optimizer,
}
