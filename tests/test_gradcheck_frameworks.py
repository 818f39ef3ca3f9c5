"""Functions of PyTorch and JAX, given to the gradient check as they are."""

import numpy as np
import pytest
from naive import normal

from minicnn import gradient_check

X = normal(4, 6)
W = normal(6, 5)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_torch_function_is_checked(torch):
    class Product(torch.autograd.Function):
        factor = 1.0

        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * torch.sin(w)

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            return dy * torch.sin(w), Product.factor * dy * x * torch.cos(w)

    for subject in Product, Product.apply:
        report = gradient_check(subject, X, X + 1)
        report.assert_ok()
        assert [array.name for array in report.arrays] == ["x", "w"]
    Product.factor = 1.001
    assert [a.verdict for a in gradient_check(Product, X, X + 1).arrays] == ["ok", "WRONG"]


def test_a_torch_module_is_checked_and_left_alone(torch):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.Dropout(0.5))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    report = gradient_check(module, X)
    assert not report.wrong
    assert [a.name for a in report.arrays][1:3] == ["0.weight", "0.bias"]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_function_of_tensors_is_checked(torch):
    gradient_check(lambda x, w: torch.tanh(x @ w), torch.randn(4, 6), torch.randn(6, 5)).assert_ok()


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def test_a_jax_function_is_checked(jax):
    @jax.custom_vjp
    def tanh(x):
        return jax.numpy.tanh(x)

    def forward(x):
        return jax.numpy.tanh(x), x

    tanh.defvjp(forward, lambda x, dy: (dy * (1 - jax.numpy.tanh(x) ** 2),))
    gradient_check(tanh, X).assert_ok()
    gradient_check(lambda x: jax.numpy.sin(x), jax.numpy.ones((2, 3))).assert_ok()
    tanh.defvjp(forward, lambda x, dy: (1.001 * dy * (1 - jax.numpy.tanh(x) ** 2),))
    assert gradient_check(tanh, X).wrong


@pytest.mark.parametrize("factor", [1, 1.02])
def test_a_torch_function_that_knows_float32_only(torch, factor):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x.float(), w.float())
            return torch.tanh(x.float() @ w.float())

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            dz = factor * dy * (1 - torch.tanh(x @ w) ** 2)
            return dz @ w.T, x.T @ dz

    with pytest.raises(TypeError, match="got float32: .* check it with dtype=np.float32"):
        gradient_check(Hidden, X, W)
    assert gradient_check(Hidden, X / 2, W / 2, dtype=np.float32).wrong == (factor != 1)


@pytest.mark.parametrize("factor", [1, 1.02])
def test_a_jax_function_that_knows_float32_only(jax, factor):
    @jax.custom_vjp
    def hidden(x, w):
        return jax.numpy.tanh(x.astype("float32") @ w.astype("float32"))

    def backward(saved, dy):
        x, w = saved
        dz = factor * dy * (1 - jax.numpy.tanh(x @ w) ** 2)
        return (dz @ w.T).astype(x.dtype), (x.T @ dz).astype(w.dtype)

    hidden.defvjp(lambda x, w: (hidden(x, w), (x, w)), backward)
    with pytest.raises(TypeError, match="got float32: .* check it with dtype=np.float32"):
        gradient_check(hidden, X, W)
    assert gradient_check(hidden, X / 2, W / 2, dtype=np.float32).wrong == (factor != 1)


def test_a_jax_function_of_trees(jax):
    @jax.custom_vjp
    def affine(params, x):
        return {"y": x @ params["w"] + params["b"], "x": x}

    def backward(saved, dy):
        params, x = saved
        dw, db = x.T @ dy["y"], 2 * dy["y"].sum(axis=0)  # a mistake
        return {"w": dw, "b": db}, dy["y"] @ params["w"].T + dy["x"]

    affine.defvjp(lambda params, x: (affine(params, x), (params, x)), backward)
    params = {"w": jax.numpy.asarray(W), "b": jax.numpy.zeros(5)}
    report = gradient_check(affine, params, X)
    verdicts = {array.name: array.verdict for array in report.arrays}
    assert verdicts == {"params['b']": "WRONG", "params['w']": "ok", "x": "ok"}
