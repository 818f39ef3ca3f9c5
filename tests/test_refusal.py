"""When `predict` says that it is not sure, and what a run keeps for it."""

import csv
import errno
from pathlib import Path

import numpy as np
import pytest
from commands import assert_usage_error, run_main
from PIL import Image

from minicnn import load_mnist, softmax_regression
from minicnn.cli import main
from minicnn.data.dataset import Split
from minicnn.runs import refusal
from minicnn.runs.features import features_of

RULE = "r/refusal.safetensors"


def bars(count, seed=0, classes=4):
    """Images 8 x 8 of noise with a bright column for each class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.uint8)
    images = rng.integers(0, 60, (count, 8, 8), dtype=np.uint8)
    images[np.arange(count), :, 2 * labels] = 250
    return images, labels


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The run `r` of a softmax regression on bars, with enough images to be calibrated."""
    monkeypatch.chdir(tmp_path)
    images, labels = bars(7000)
    np.savez("bars.npz", x=images, y=labels)
    argv = ["train", "--data", "bars.npz", "--model", "softmax", "--ops", "reference", "--steps", "150"]
    assert main([*argv, "--run-dir", "r", "--quiet"]) == 0
    capsys.readouterr()
    Image.fromarray(bars(4, seed=1)[0][1]).save("bar.png")
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (8, 8), dtype=np.uint8)).save("noise.png")
    return "r"


def test_a_foreign_image_gets_a_best_guess_and_a_known_one_its_answer(capsys, run):
    assert Path(RULE).exists()
    code, out, _ = run_main(capsys, "predict", run, "bar.png", "noise.png", "--as-is")
    assert code == 0
    assert out[0].startswith("bar.png: 1 (")
    assert out[1].startswith("noise.png: not sure, best guess: ")


def test_always_answers_with_the_probabilities_of_the_network(capsys, run):
    from minicnn.runs.directory import read_network

    _, out, _ = run_main(capsys, "predict", run, "noise.png", "--as-is", "--always")
    with Image.open("noise.png") as image:
        answer = read_network(run).predict(np.asarray(image)[None])[0]
    assert out[0].startswith(f"noise.png: {answer.argmax()} ({answer.max():.4f})")


def test_a_file_of_answers_says_which_are_sure(capsys, run):
    images = ["bar.png", "noise.png"]
    assert run_main(capsys, "predict", run, *images, "--as-is", "--to", "a.csv")[0] == 0
    with open("a.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[-1] for row in rows] == ["sure", "yes", "no"]
    assert run_main(capsys, "predict", run, *images, "--as-is", "--always", "--to", "b.csv")[0] == 0
    assert "sure" not in Path("b.csv").read_text()


def test_a_data_set_is_always_answered(capsys, run):
    assert run_main(capsys, "predict", run, "bars.npz", "--to", "a.csv")[0] == 0
    assert Path("a.csv").read_text().startswith("ImageId,Label\n1,")


def test_a_run_without_a_rule_answers_as_it_did(capsys, run):
    _, always, _ = run_main(capsys, "predict", run, "noise.png", "--as-is", "--always")
    Path(RULE).unlink()
    assert run_main(capsys, "predict", run, "noise.png", "--as-is")[1] == always


def test_a_rule_of_other_weights_does_not_count(run):
    from minicnn.runs.directory import read_network

    network = read_network(run)
    assert refusal.read(run, network) is not None
    network.parameters()[0].value[0, 0] += 1
    assert refusal.read(run, network) is None


def test_a_damaged_rule_is_one_line_that_names_the_way_out(capsys, run):
    Path(RULE).write_bytes(b"nonsense")
    result = run_main(capsys, "predict", run, "bar.png", "--as-is")
    assert_usage_error(result, RULE, "--always answers without it")
    assert run_main(capsys, "predict", run, "bar.png", "--as-is", "--always")[0] == 0


def test_what_was_written_is_read(run):
    from minicnn.runs.directory import read_network

    network = read_network(run)
    rule = refusal.calibrate(network, Split(*bars(800)))
    refusal.save(run, rule, network)
    for written, read in zip(rule, refusal.read(run, network), strict=True):
        np.testing.assert_array_equal(written, read)


def test_too_few_images_or_a_class_without_any_calibrate_nothing():
    network = softmax_regression(ops="reference", input_shape=(8, 8, 1), classes=4)
    images, labels = bars(800)
    assert refusal.calibrate(network, Split(images[:300], labels[:300])) is None
    assert refusal.calibrate(network, Split(images, labels % 3)) is None


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_that_the_labels_were_drawn_with(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3 * true, (20_000, 5))
    noise = rng.gumbel(size=logits.shape)  # the largest of logits and such noise is drawn from their softmax
    labels = (logits / true + noise).argmax(axis=1)
    assert refusal._temperature(logits, labels) == pytest.approx(true, rel=0.05)


def test_scores_are_the_squared_distances_to_the_nearest_mean():
    rng = np.random.default_rng(0)
    rule = refusal.Refusal(rng.normal(size=(3, 4)), rng.normal(size=(4, 4)), 1.0, 1.0, 0.0)
    x = rng.normal(size=4)
    unit = x / np.linalg.norm(x)
    expected = min(((unit @ rule.whitening - mean) ** 2).sum() for mean in rule.means)
    assert rule.scores(x[None])[0] == pytest.approx(expected, rel=1e-5)


def test_a_trained_network_keeps_digits_and_refuses_letters(trained_network):
    data = load_mnist()
    rule = refusal.calibrate(
        trained_network, Split(data.validation.images[:2000], data.validation.labels[:2000])
    )
    features, logits = features_of(trained_network, data.test.images[:500])
    assert rule.unsure(features, rule.probabilities(logits)).mean() < 0.06
    stripes = np.zeros((20, 28, 28), np.uint8)
    for k in range(20):
        stripes[k, :, k % 5 :: 5] = 255
    features, logits = features_of(trained_network, stripes)
    assert rule.unsure(features, rule.probabilities(logits)).mean() > 0.9


def test_the_accuracy_is_told_even_if_the_rule_cannot_be_kept(capsys, monkeypatch, run):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(refusal, "save", full)
    code, out, err = run_main(capsys, "train", "--resume", run)
    assert code == 2
    assert out[-1].startswith("test accuracy ")
    assert err[0].startswith("minicnn: error: r: cannot be written (No space left on device); r contains")


def test_a_link_to_nothing_is_no_missing_rule(capsys, run):
    Path(RULE).unlink()
    Path(RULE).symlink_to("nowhere")
    assert_usage_error(run_main(capsys, "predict", run, "bar.png", "--as-is"), RULE)
