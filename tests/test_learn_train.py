"""`minicnn learn train`: the network by the learner's own code, what it shows, and what it leaves behind."""

import argparse
import re

import numpy as np
import pytest
from commands import assert_usage_error, run_main
from learning import SOLUTION, train_of, with_changes, write
from PIL import Image

from minicnn.checks.files.discover import load
from minicnn.cli import learn
from minicnn.engine import reference
from minicnn.learn import training
from minicnn.learn.exercises import EXERCISES, FILE, NETWORK
from minicnn.learn.learner import Learner
from minicnn.learn.network import Network

ENGLISH = ("--language", "en")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ours():
    """The reference in the learner's form."""

    def dropout_forward(x, keep_prob, rng):
        return reference.dropout_forward(x, rng.random(x.shape) < keep_prob, keep_prob)

    def loss_backward(cache):
        return reference.softmax_cross_entropy_backward(1.0, cache)

    names = {name: getattr(reference, name) for e in EXERCISES for name in e.functions}
    return names | {"dropout_forward": dropout_forward, "softmax_cross_entropy_backward": loss_backward}


def test_the_network_computes_the_loss_and_gradients_of_the_engine():
    from minicnn import Adam, SoftmaxCrossEntropy, train_step, tutorial_network

    rng = np.random.default_rng(0)
    x, labels = rng.random((4, 8, 8, 1), np.float32), np.array([3, 1, 0, 2])
    engine = tutorial_network(5, keep_prob=1, ops="reference", init="he", input_shape=(8, 8, 1), classes=4)
    loss = SoftmaxCrossEntropy(ops="reference")
    adam = Adam(engine.parameters(), 1e-3, ops="reference")
    without = {
        "dropout_forward": lambda x, keep_prob, rng: (x, None),
        "dropout_backward": lambda dy, cache: dy,
    }
    network = Network(ours() | without, (8, 8, 1), 4, 5)
    for _ in range(3):
        expected = train_step(engine, loss, adam, x, labels)
        assert network.train_step(x, labels) == pytest.approx(expected, rel=1e-5)
    for parameter, value in zip(engine.parameters(), network.parameters, strict=True):
        np.testing.assert_allclose(value, parameter.value, atol=1e-5)


def test_training_shows_its_steps_the_accuracy_and_the_kernels_one_by_one(capsys, data):
    code, out, err = train_of(capsys, data)
    assert code == 0, err
    assert re.fullmatch(r"a step takes \S+ s with your code: about \d+ s for 3 steps of 5 images", out[0])
    assert re.fullmatch(r"step 3  loss \d+\.\d{4}  validation accuracy \d\.\d{4}  0 s left", out[1])
    assert re.fullmatch(r"test accuracy \d\.\d{4} \(\d+ of 20\)", out[3])
    table = [line.split("  ")[0] for line in out[out.index("") + 3 :]]
    assert table[1:9] == [
        "your code",
        *(
            f"+ our {name}"
            for name in (
                "im2col",
                "convolution",
                "max-pool",
                "ReLU",
                "dropout",
                "softmax cross-entropy",
                "Adam",
            )
        ),
    ]
    assert re.search(r"the losses agree with those of your code to \d\.\de-\d\d", out[-1])


def test_the_saved_network_predicts_what_the_learners_functions_do(tmp_path):
    from minicnn import load_network

    (tmp_path / FILE).write_text(SOLUTION)
    learner = Learner(load(tmp_path / FILE), tmp_path / FILE)
    functions = {name: learner.find(name) for e in EXERCISES for name in e.functions}
    rng = np.random.default_rng(0)
    x, labels = rng.random((6, 12, 10, 1), np.float32), np.arange(6) % 4
    network = Network(functions, (12, 10, 1), 4, 0)
    before = network.layers.predict(x)
    for _ in range(3):
        network.train_step(x, labels)
    network.layers.save(tmp_path / NETWORK)
    logits, _, _ = network._forward(x, None)
    saved = load_network(tmp_path / NETWORK).predict(x)
    np.testing.assert_allclose(saved, reference.softmax(logits), atol=1e-5)
    assert np.abs(saved - before).max() > 1e-2  # it has learned something


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("en", "Your network is saved: course/my_network.safetensors."),
        ("zh", "你的网络已保存：course/my_network.safetensors。"),
    ],
)
def test_what_was_trained_is_saved_and_can_be_used_as_the_lines_say(capsys, data, language, line):
    code, out, err = train_of(capsys, data, "--language", language)
    assert code == 0, err
    said = next(k for k, text in enumerate(out) if text.startswith(line))
    predict, evaluate = (text.split("minicnn ")[1].split() for text in out[said + 1 : said + 3])
    assert predict == ["predict", "course/my_network.safetensors", "photo.jpg", "--as-is"]
    assert evaluate == ["evaluate", "course/my_network.safetensors", "--data", str(data)]
    accuracy = next(text for text in out if text.startswith("test accuracy"))
    assert run_main(capsys, *evaluate)[1][0] == accuracy
    Image.new("L", (28, 28), 255).save("photo.jpg")
    code, out, err = run_main(capsys, *predict)
    assert (code, err, len(out)) == (0, [], 1)


def test_a_network_that_is_there_is_not_replaced(capsys, data, here):
    write(SOLUTION)
    (here / "course" / NETWORK).write_text("mine")
    _, out, _ = train_of(capsys, data)
    assert "course/my_network.safetensors is there already and stays as it is." in out
    assert any("saved: course/my_network-2.safetensors" in line for line in out)
    assert (here / "course" / NETWORK).read_text() == "mine"
    assert (here / "course" / "my_network-2.safetensors").stat().st_size > 1e6


def test_a_network_that_cannot_be_saved_is_one_line_and_an_error(capsys, data, monkeypatch):
    def elsewhere(args, file):
        return request(args, file) | {"directory": "gone"}

    request = learn._request
    monkeypatch.setattr(learn, "_request", elsewhere)
    code, out, err = train_of(capsys, data)
    assert (code, err) == (1, [])
    why = "course/my_network.safetensors: not in a directory that exists"
    assert any(line.startswith(f"Your network could not be saved: {why}") for line in out)
    assert "the losses agree" in out[-1]


def test_the_lines_for_mnist_try_a_photograph_and_the_page():
    arguments = argparse.Namespace(data=None)
    predict, explore = learn._uses("my network.safetensors", arguments, digits=True)
    assert predict.endswith("predict 'my network.safetensors' photo.jpg")
    assert explore.endswith("explore 'my network.safetensors'")


def test_a_training_with_an_exercise_that_fails_does_not_start(capsys, data):
    code, out, _ = train_of(
        capsys, data, text=with_changes(("return dlogits / len(labels)", "return dlogits"))
    )
    assert code == 1
    assert out == [line for line in out if line.startswith("7 of 8 exercises pass; first: ")]


def test_code_that_is_slow_is_told_so_before_it_starts(capsys, data):
    work = "until = time.process_time() + 0.2 * len(x) * (x.shape[-1] == 32)"  # after conv1
    slow = with_changes(
        ("import numpy as np\n", "import time\n\nimport numpy as np\n"),
        (
            "    return np.maximum(x, 0)",
            f"    {work}\n    while time.process_time() < until: pass\n    return np.maximum(x, 0)",
        ),
    )
    code, out, _ = train_of(capsys, data, "--steps", 2_000, text=slow)
    assert code == 1
    assert re.search(r"about \d+ (min|h) for 2000 steps", out[0])
    assert "relu_forward takes" in out[1]
    assert "--anyway" in out[1]


@pytest.mark.parametrize(
    ("clock", "processor", "start", "busy"),
    [(0.1, 0.1, True, False), (10, 0.1, True, True), (10, 10, False, False), (0.1, 0.3, True, False)],
)
def test_code_that_waits_for_others_is_not_called_slow(monkeypatch, data, clock, processor, start, busy):
    """Seconds of a step on the clock and of the processor, which on a busy computer is less."""
    events = []
    monkeypatch.setattr(training, "_measured", lambda *_: np.array([clock, processor]))
    monkeypatch.setattr(training, "_train", lambda *_: None)
    monkeypatch.setattr(training, "compare", lambda *_: None)
    request = {"path": f"{write(SOLUTION)}/{FILE}", "data": str(data), "orientation": {}, "batch": 5}
    request |= {"steps": 400, "every": 50, "anyway": False}
    training.train(request, lambda **event: events.append(event))
    assert [(event["start"], event["busy"]) for event in events] == [(start, busy)]


def test_code_that_fails_in_training_only_is_shown_with_its_line(capsys, data):
    text = with_changes(
        ("    return np.maximum(x, 0)", "    assert x.shape[-1] != 32\n    return np.maximum(x, 0)")
    )
    code, out, _ = train_of(capsys, data, text=text)
    assert code == 1
    assert out[0].startswith("relu_forward stopped with AssertionError")
    assert "assert x.shape[-1] != 32" in out[1]


def test_bad_data_is_refused_before_anything_is_checked(capsys, here):
    assert_usage_error(train_of(capsys, here / "nothing"), "nothing")


@pytest.mark.parametrize("option", [("--steps", 0), ("--batch-size", 0), ("--batch-size", 10_000)])
def test_numbers_that_make_no_sense_are_refused(capsys, data, option):
    assert_usage_error(train_of(capsys, data, *option), option[0])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_solution_reaches_the_goal(capsys):
    code, out, _ = run_main(capsys, "learn", "train", write(SOLUTION), *ENGLISH)
    assert code == 0
    correct = next(int(found[1]) for line in out if (found := re.search(r"\((\d+) of 10000\)", line)))
    assert correct >= 9700
    assert "The goal was 97 %: reached." in out
    evaluated = run_main(capsys, "evaluate", f"course/{NETWORK}")[1][0]
    assert evaluated == f"test accuracy {correct / 10_000:.4f} ({correct} of 10000)"
