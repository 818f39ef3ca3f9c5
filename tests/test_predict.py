"""What `predict` prints and draws, and what it refuses."""

import os
import re
from pathlib import Path

import digits
import numpy as np
import pytest
from commands import assert_usage_error, options, run_main
from PIL import Image

from minicnn import Conv2D, Dense, Flatten, ReLU, Sequential, softmax_regression, tutorial_network
from minicnn.cli import answers, main

ONLY_SCALED = r"trained on .*: images are only scaled; --digits prepares them as MNIST's digits were"
ANSWERS = r"\d \(\d\.\d{4}\)  \d \(\d\.\d{4}\)  \d \(\d\.\d{4}\)"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(data, monkeypatch):
    """A run directory of a softmax regression."""
    from minicnn import cli

    monkeypatch.setattr(cli.train, "draw_pictures", lambda run, probabilities: None)
    assert main([*options(data, "--steps", 3, "--run-dir", "r"), "--quiet"]) == 0
    return "r"


def draw(name, digit=3):
    mask = digits.ink(digit, (100, 120), 80, 9, 20, 20)
    Image.fromarray((255 - 255 * mask).astype(np.uint8)).save(name)
    return name


def test_a_line_for_each_image_contains_the_three_best_answers(capsys, run):
    images = [draw("a.png", 3), draw("two words.png", 4)]
    capsys.readouterr()
    code, out, err = run_main(capsys, "predict", run, *images, "--digits")
    assert (code, err) == (0, [])
    assert len(out) == 2
    for line, name in zip(out, images, strict=True):
        assert re.fullmatch(rf"{name}: {ANSWERS}", line)
        shares = [float(share) for share in re.findall(r"\((.*?)\)", line)]
        assert shares == sorted(shares, reverse=True)


def test_a_trained_network_in_a_file_answers_correctly(capsys, trained_network):
    trained_network.save("n.safetensors")
    code, out, _ = run_main(capsys, "predict", "n.safetensors", draw("a.png", 3), draw("b.png", 8))
    assert code == 0
    assert [line[:8] for line in out] == ["a.png: 3", "b.png: 8"]


@pytest.mark.parametrize("fused", [True, False])
def test_show_draws_a_picture_of_each_image_here(capsys, tmp_path, fused):
    tutorial_network(fused=fused).save("n.safetensors")
    (tmp_path / "other").mkdir()
    code, out, err = run_main(
        capsys, "predict", "n.safetensors", draw("a.png"), draw("other/a.png"), "--show"
    )
    assert (code, [line for line in err if "compiling" not in line]) == (0, [])
    assert out[1::2] == ["what the network saw: a-seen.png", "what the network saw: a-seen-2.png"]
    for name in ("a-seen.png", "a-seen-2.png"):
        with Image.open(name) as picture:
            assert min(picture.size) > 700


def test_no_picture_replaces_an_image_that_was_given(capsys, run):
    given = draw("a-seen.png", 4)
    before = Path(given).read_bytes()
    code, _, _ = run_main(capsys, "predict", run, draw("a.png"), given, "--show")
    assert code == 0
    assert Path(given).read_bytes() == before
    assert Path("a-seen-2.png").exists()
    assert Path("a-seen-seen.png").exists()


def test_as_is_leaves_the_image_alone(capsys, run, data):
    from minicnn.data.idx import read_idx

    image = read_idx(data / "t10k-images-idx3-ubyte")[0]
    Image.fromarray(image).save("a.png")
    capsys.readouterr()
    _, out, _ = run_main(capsys, "predict", run, "a.png", "--as-is")
    from minicnn.runs.directory import read_network

    answer = read_network(run).predict(image[None])[0]
    assert out[0].startswith(f"a.png: {answer.argmax()} ({answer.max():.4f})")


def test_a_damaged_checkpoint_costs_one_warning(capsys, data, run, tmp_path):
    main(["train", "--resume", run, "--steps", "4", "--quiet"])
    capsys.readouterr()
    (tmp_path / run / "checkpoint.safetensors").write_bytes(b"nonsense")
    code, out, err = run_main(capsys, "predict", run, draw("a.png"), "--digits")
    assert code == 0
    assert len(out) == len(err) == 1
    assert err[0].startswith("minicnn: warning: r/checkpoint.safetensors: ")


def test_one_bad_image_is_one_line_and_exit_code_2_and_the_others_are_answered(capsys, run):
    Image.new("L", (50, 50), 255).save("blank.png")
    os.mkfifo("pipe")
    images = [draw("a.png"), draw("b.png")]
    capsys.readouterr()
    for bad, word in (("blank.png", "blank"), ("no\nwhere.png", "no\\nwhere.png"), ("pipe", "regular")):
        code, out, err = run_main(capsys, "predict", run, images[0], bad, images[1], "--digits")
        assert code == 2
        assert [line[:6] for line in out] == ["a.png:", "b.png:"]
        assert len(err) == 1
        assert word in err[0]


def test_many_images_are_answered_in_their_order(capsys, run, monkeypatch):
    monkeypatch.setattr(answers, "TOGETHER", 2)
    images = [draw("a.png"), draw("b.png"), draw("c.png"), "a.png", draw("d.png")]
    capsys.readouterr()
    _, out, _ = run_main(capsys, "predict", run, *images)
    assert [line[:5] for line in out] == images
    assert out[0] == out[3]


def test_a_picture_of_ones_own_is_not_replaced(capsys, run):
    Image.new("L", (5, 5)).save("a-seen.png")
    before = Path("a-seen.png").read_bytes()
    for _ in range(2):  # the second time, minicnn's own is drawn again
        assert run_main(capsys, "predict", run, draw("a.png"), "--show")[0] == 0
    assert Path("a-seen.png").read_bytes() == before
    assert sorted(path.name for path in Path().glob("a-*")) == ["a-seen-2.png", "a-seen.png"]


def test_a_network_for_images_of_another_shape_gets_them_scaled(capsys):
    Sequential([Conv2D(3, 4), ReLU(), Flatten(), Dense(256, 12)], (8, 8, 3)).save("n.safetensors")
    code, out, err = run_main(capsys, "predict", "n.safetensors", draw("a.png"), "--show")
    assert (code, err) == (0, [])
    assert re.match(r"a.png: \d+ \(", out[0])
    assert_usage_error(run_main(capsys, "predict", "n.safetensors", "a.png", "--digits"), "--digits")


def test_a_network_for_what_is_no_picture_is_refused(capsys):
    Sequential([Dense(7, 3)], (7,)).save("n.safetensors")
    assert_usage_error(run_main(capsys, "predict", "n.safetensors", draw("a.png")), "[H, W, 1]", "[7]")


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["predict"], "RUN"),
        (["predict", "r"], "IMAGE"),
        (["predict", "", "a.png"], "RUN"),
        (["predict", "nowhere", "a.png"], "nowhere"),
        (["predict", ".", "a.png"], "holds no run"),
    ],
)
def test_bad_usage_is_one_line(capsys, argv, word):
    assert_usage_error(run_main(capsys, *argv), word)


@pytest.mark.parametrize("target", ["a-seen.png", "nowhere.png"], ids=["itself", "nothing"])
def test_a_link_in_the_place_of_the_picture_is_not_followed(capsys, run, target):
    Path("a-seen.png").symlink_to(target)
    capsys.readouterr()
    code, out, _ = run_main(capsys, "predict", run, draw("a.png"), "--show")
    assert (code, out[1]) == (0, "what the network saw: a-seen-2.png")
    assert Path("a-seen.png").is_symlink()
    assert not Path("nowhere.png").exists()


def test_an_answer_that_is_no_number_is_an_error_of_its_image(capsys):
    network = softmax_regression(ops="reference")
    network.parameters()[0].value[...] = 3e38
    network.save("n.safetensors")
    assert_usage_error(run_main(capsys, "predict", "n.safetensors", draw("a.png")), "a.png", "not finite")
