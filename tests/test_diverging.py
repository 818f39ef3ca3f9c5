"""A number that is not finite ends a training within one step, and the last good checkpoint stays."""

import re

import numpy as np
import pytest
from runs import CNN, DATA, new_run, reopen, write_data

from minicnn import Diverged, softmax_regression, tutorial_network
from minicnn.cli import main
from minicnn.engine.layers import Conv2D, ConvReLUPool, Dense, Dropout, Flatten, MaxPool2D, ReLU
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import Sequential
from minicnn.runs import run as run_module
from minicnn.runs.loop import train
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for

pytestmark = pytest.mark.usefixtures("small_networks")


def network(fused, ops):
    """The tutorial's layers, each a few numbers wide."""
    rng = np.random.default_rng(0)

    def block(name, C, F):
        if fused:
            return [ConvReLUPool(C, F, 3, name=name, rng=rng)]
        return [
            Conv2D(C, F, 3, name=name, rng=rng),
            ReLU(name=f"{name}.relu"),
            MaxPool2D(name=f"{name}.pool"),
        ]

    top = [
        Flatten(),
        Dense(196, 8, name="fc1", rng=rng),
        ReLU(),
        Dropout(0.5, rng=0),
        Dense(8, 10, name="fc2", rng=rng),
    ]
    made = Sequential([*block("conv1", 1, 4), *block("conv2", 4, 4), *top], (28, 28, 1))
    made.use_ops(ops)
    return made


PARAMETERS = [p.name for p in network(True, "reference").parameters()]


@pytest.fixture(params=["reference", "reference, fused", "kernels", "kernels, fused"])
def run(request, monkeypatch):
    """A run after its first step."""
    ops = request.param.split(",")[0]
    monkeypatch.setattr(run_module, "build_network", lambda *_: network("fused" in request.param, ops))
    made = Run(settings_for(**{**CNN, "ops": ops}), DATA, "nowhere")
    made.train_one_batch()
    return made


def assert_next_step_diverges(run, step):
    with pytest.raises(
        Diverged, match=f"training diverged at step {step}: .* is (not finite|nan|inf)"
    ) as caught:
        run.train_one_batch()
    assert caught.value.step == step


BAD = pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])


@BAD
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_number_in_a_weight_is_found_at_once(run, name, bad):
    parameter = next(p for p in run.network.parameters() if p.name == name)
    parameter.value.flat[-1] = bad
    assert_next_step_diverges(run, 2)


@BAD
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_number_in_a_gradient_is_found_at_the_next_step(run, monkeypatch, name, bad):
    parameter = next(p for p in run.network.parameters() if p.name == name)
    step = run.optimizer.step

    def spoiled_step():
        parameter.grad.flat[0] = bad
        step()

    monkeypatch.setattr(run.optimizer, "step", spoiled_step)
    run.train_one_batch()
    assert_next_step_diverges(run, 3)


@BAD
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_number_in_the_input_is_found_at_once(run, monkeypatch, bad):
    batch = run.batch

    def spoiled_batch(step):
        x, labels = batch(step)
        x[1, 3, 5, 0] = bad
        return x, labels

    monkeypatch.setattr(run, "batch", spoiled_batch)
    run._steps = None  # the loop begins anew, with these batches
    assert_next_step_diverges(run, 2)


@pytest.mark.usefixtures("save_every_step")
@BAD
def test_the_last_good_checkpoint_stays(tmp_path, bad):
    run = new_run(tmp_path / "r")

    def progress(images):
        if run.step == 3:
            run.network.values[0] = bad

    with pytest.raises(Diverged, match="step") as caught:
        train(run, progress=progress)
    assert caught.value.step in (3, 4)
    kept = reopen(run.directory)
    assert kept.step == 2
    assert np.isfinite(kept.network.values).all()


def test_no_checkpoint_holds_a_number_that_is_not_finite(tmp_path):
    run = new_run(tmp_path / "r", steps=3)

    def progress(images):
        if run.step == 3:  # after the last loss
            run.network.values[5] = np.inf

    with pytest.raises(Diverged, match=r"fc\.weight"):
        train(run, progress=progress)
    assert reopen(run.directory).step == 0


def test_the_command_names_the_step_and_what_to_try(tmp_path, capfd):
    data, run = write_data(tmp_path), str(tmp_path / "r")
    new = ["--model", "softmax", "--ops", "reference", "--batch-size", "5", "--steps", "50", "--quiet"]
    assert main(["train", *new, "--learning-rate", "1e38", "--data", str(data), "--run-dir", run]) == 1
    error = capfd.readouterr().err
    assert re.fullmatch(
        r"minicnn: training diverged at step \d+: .*; try a --learning-rate below 1e\+38 in a new run; .*\n",
        error,
    )
    assert main(["evaluate", run]) == 0


@pytest.mark.parametrize("ops", ["kernels", "reference"])
@pytest.mark.parametrize("make", [softmax_regression, tutorial_network])
def test_logits_of_ten_thousand_are_finite_all_the_way(make, ops):
    net, loss = make(ops=ops), SoftmaxCrossEntropy("sum", ops=ops)
    last = net.layers[-1]
    last.weight.value[...] = 0
    last.bias.value[...] = np.where(np.arange(10) % 2, 1e4, -1e4)
    x, labels = np.full((4, 28, 28, 1), 0.5, np.float32), np.arange(4)
    logits = net.forward(x, training=True)
    assert abs(logits).min() == 1e4
    assert loss.forward(logits, labels) == pytest.approx(2 * 2e4 + 4 * np.log(5))
    net.backward(loss.backward())
    assert np.isfinite(net.grads).all()
    probabilities = net.predict(x)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
