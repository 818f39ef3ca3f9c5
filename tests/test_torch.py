"""Optional: the same numbers as PyTorch, where it is installed, in float64. Operations and ten steps of Adam.

Images are [N, H, W, C] here and [N, C, H, W] there; filters [kh, kw, C, F] and [F, C, kh, kw].
"""

import numpy as np
import pytest
from naive import normal

from minicnn import Adam, SoftmaxCrossEntropy, load_mnist, train_step, tutorial_network
from minicnn.engine import kernels, reference

torch = pytest.importorskip("torch")
functional = torch.nn.functional

every_ops = pytest.mark.parametrize("ops", [reference, kernels], ids=["reference", "kernels"])
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def tensor(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def compare(ops, name, arrays, settings, theirs):
    """y and all gradients of ops.<name> against the function `theirs` of tensors."""
    y, cache = getattr(ops, f"{name}_forward")(*arrays, *settings)
    tensors = [tensor(a) for a in arrays]
    expected = theirs(*tensors)
    np.testing.assert_allclose(y, expected.detach().numpy(), **CLOSE)
    dy = normal(*np.shape(y), seed=9)
    expected.backward(torch.tensor(dy))
    gradients = getattr(ops, f"{name}_backward")(dy if np.ndim(y) else float(dy), cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert len(gradients) == len(tensors)
    for gradient, t in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, t.grad.numpy(), **CLOSE)


def pad_same(x, kernel, stride, value=0.0):
    """x [N, C, H, W] with TensorFlow's "same" padding, which PyTorch has for stride 1 only."""
    pads = []
    for size, k in zip(reversed(x.shape[2:]), reversed(kernel), strict=True):
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=value)


def their_conv(stride, padding):
    def conv(x, w, b):
        x = x.permute(0, 3, 1, 2)
        if padding == "same":
            x = pad_same(x, w.shape[:2], stride)
        return functional.conv2d(x, w.permute(3, 2, 0, 1), b, stride).permute(0, 2, 3, 1)

    return conv


def their_pool(size, stride, padding):
    def pool(x):
        x = x.permute(0, 3, 1, 2)
        if padding == "same":
            x = pad_same(x, (size, size), stride, -np.inf)
        return functional.max_pool2d(x, size, stride).permute(0, 2, 3, 1)

    return pool


@every_ops
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(5, 5), (2, 3)])
def test_conv2d(ops, kernel, stride, padding):
    arrays = normal(2, 9, 8, 3), normal(*kernel, 3, 7, seed=1), normal(7, seed=2)
    compare(ops, "conv2d", arrays, (stride, padding), their_conv(stride, padding))


@every_ops
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_max_pool2d(ops, size, stride, padding):
    compare(
        ops, "max_pool2d", [normal(2, 9, 8, 3)], (size, stride, padding), their_pool(size, stride, padding)
    )


def their_average(size, stride, padding):
    def average(x):
        x = x.permute(0, 3, 1, 2)
        counts = torch.ones_like(x)
        if padding == "same":
            x, counts = (pad_same(values, (size, size), stride) for values in (x, counts))
        total, count = (functional.avg_pool2d(values, size, stride) for values in (x, counts))
        return (total / count).permute(0, 2, 3, 1)  # the padding does not count

    return average


@every_ops
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_average_pool2d(ops, size, stride, padding):
    settings = size, stride, padding
    compare(ops, "average_pool2d", [normal(2, 9, 8, 3)], settings, their_average(*settings))


@every_ops
def test_global_average_pool2d(ops):
    compare(ops, "global_average_pool2d", [normal(2, 9, 8, 3)], (), lambda x: x.mean(dim=(1, 2)))


@every_ops
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm2d(ops, training, epsilon):
    mean, variance = normal(19, seed=3), normal(19, seed=4) ** 2 + 0.1
    statistics = None if training else (torch.tensor(mean), torch.tensor(variance))

    def theirs(x, scale, shift):
        x = x.permute(0, 3, 1, 2)
        running = statistics or (None, None)
        y = functional.batch_norm(x, *running, scale, shift, training=training, eps=epsilon)
        return y.permute(0, 2, 3, 1)

    arrays = normal(3, 5, 4, 19) + 2, normal(19, seed=1), normal(19, seed=2)
    settings = (None, None, epsilon) if training else (mean, variance, epsilon)
    compare(ops, "batch_norm2d", arrays, settings, theirs)


@every_ops
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_conv_relu_pool(ops, padding):
    def block(x, w, b):
        return their_pool(2, 2, "same")(functional.relu(their_conv(1, padding)(x, w, b)))

    arrays = normal(2, 9, 8, 3), normal(3, 3, 3, 19, seed=1), normal(19, seed=2)
    compare(ops, "conv_relu_pool", arrays, (1, padding), block)


@every_ops
def test_ties_go_to_the_first_pixel_there_too(ops):
    x = np.random.default_rng(0).integers(0, 2, (2, 8, 8, 3)).astype(float)
    compare(ops, "max_pool2d", [x], (2, 2, "same"), their_pool(2, 2, "same"))


@every_ops
def test_relu(ops):
    compare(ops, "relu", [np.round(normal(4, 9))], (), functional.relu)


@every_ops
def test_dropout(ops):
    mask = np.random.default_rng(1).random((4, 9)) < 0.7
    compare(ops, "dropout", [normal(4, 9)], (mask, 0.7), lambda x: x * torch.tensor(mask) / 0.7)


@every_ops
def test_dense(ops):
    arrays = normal(5, 21), normal(21, 19, seed=1), normal(19, seed=2)
    compare(ops, "dense", arrays, (), lambda x, w, b: functional.linear(x, w.T, b))


@every_ops
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_softmax_cross_entropy(ops, reduction, scale, label_smoothing):
    labels = np.random.default_rng(1).integers(0, 10, 6)

    def theirs(z):
        targets = torch.tensor(labels)
        return functional.cross_entropy(z, targets, reduction=reduction, label_smoothing=label_smoothing)

    settings = labels, reduction, label_smoothing
    compare(ops, "softmax_cross_entropy", [normal(6, 10) * scale], settings, theirs)


@every_ops
def test_adam_with_weight_decay(ops):
    value, m, v = normal(7), np.zeros(7), np.zeros(7)
    theirs = torch.nn.Parameter(torch.tensor(value.copy()))
    adam = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.5)
    for step in range(1, 11):
        grad = normal(7, seed=step)
        theirs.grad = torch.tensor(grad)
        adam.step()
        ops.adam_update(value, grad, m, v, step, 0.1, weight_decay=0.5)
    np.testing.assert_allclose(value, theirs.detach().numpy(), **CLOSE)


@every_ops
def test_gradient_descent_with_momentum(ops):
    value, velocity = normal(7), np.zeros(7)
    theirs = torch.nn.Parameter(torch.tensor(value.copy()))
    descent = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    for step in range(10):
        grad = normal(7, seed=step)
        theirs.grad = torch.tensor(grad)
        descent.step()
        ops.sgd_update(value, grad, velocity, 0.1, 0.9)
    np.testing.assert_allclose(value, theirs.detach().numpy(), **CLOSE)


@pytest.mark.parametrize(("ops", "fused"), [("kernels", True), ("kernels", False), ("reference", True)])
def test_ten_steps_of_adam_on_the_whole_network(ops, fused):
    """Losses and all 3,274,634 parameters, with dropout: the same masks on both sides."""
    net = tutorial_network(dtype=np.float64, ops=ops, fused=fused)
    adam, loss = Adam(net.parameters(), 1e-3, ops=ops), SoftmaxCrossEntropy("sum", ops=ops)
    theirs = {p.name: torch.nn.Parameter(torch.tensor(p.value.copy())) for p in net.parameters()}
    their_adam = torch.optim.Adam(theirs.values(), lr=1e-3)
    dropout = next(layer for layer in net.layers if layer.name == "dropout")
    data, rng, N = load_mnist().train, np.random.default_rng(0), 8

    def forward(x, mask):
        for name in "conv1", "conv2":
            x = their_conv(1, "same")(x, theirs[f"{name}.weight"], theirs[f"{name}.bias"])
            x = their_pool(2, 2, "same")(functional.relu(x))
        x = functional.relu(x.reshape(len(x), -1) @ theirs["fc1.weight"] + theirs["fc1.bias"])
        return (x * mask / 0.5) @ theirs["fc2.weight"] + theirs["fc2.bias"]

    for step in range(10):
        images = data.images[N * step : N * (step + 1), ..., None] / 255
        labels = data.labels[N * step : N * (step + 1)].astype(np.int64)
        dropout.fixed_mask = rng.random((N, 1024)) < 0.5
        value = train_step(net, loss, adam, images, labels)

        their_adam.zero_grad()
        logits = forward(torch.tensor(images), torch.tensor(dropout.fixed_mask))
        expected = functional.cross_entropy(logits, torch.tensor(labels), reduction="sum")
        expected.backward()
        their_adam.step()
        assert value == pytest.approx(expected.item(), rel=1e-9)
    for p in net.parameters():
        np.testing.assert_allclose(p.value, theirs[p.name].detach().numpy(), **CLOSE, err_msg=p.name)
