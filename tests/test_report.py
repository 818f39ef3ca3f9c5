"""The pictures of a run: the numbers in them, and that every one is drawn, whatever it is given."""

import logging
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minicnn import pictures
from minicnn.pictures import curves, style

ROOT = Path(__file__).resolve().parents[1]
HEADER = "step,loss,training_accuracy,test_accuracy,seconds\n"


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG file, which must be complete."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


def pixels(path: Path) -> np.ndarray:
    """Return the picture as integers [height, width, 3]."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def contains(path: Path, colour: str) -> bool:
    """Return whether some pixel has exactly this colour, written #rrggbb."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((pixels(path) == wanted).all(axis=2).any())


def assert_drawn(path: Path) -> None:
    """Assert that `path` is a PNG of a size that fits a page, with something on it, and alone."""
    width, height = png_size(path)
    assert 400 <= width <= 3000
    assert 200 <= height <= 3000
    assert pixels(path).std() > 1
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def run_of(rows: int) -> dict[str, np.ndarray]:
    """Return the metrics of a plausible run."""
    rng = np.random.default_rng(0)
    step = np.arange(1, rows + 1) * 100
    return {
        "step": step,
        "loss": 200 / step * rng.uniform(0.5, 2, rows),
        "training_accuracy": 1 - rng.integers(0, 3, rows) / 50,
        "test_accuracy": 0.99 - 10 / step,
        "seconds": step * 0.018,
    }


def answers(count: int, mistakes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, labels and probabilities with that many wrong answers."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    predicted = labels.copy()
    predicted[:mistakes] = (predicted[:mistakes] + 1) % 10
    probabilities = np.full((count, 10), 0.01, np.float32)
    probabilities[np.arange(count), predicted] = 0.91
    return images, labels, probabilities


# ---------------------------------------------------------------------------------------- numbers


def test_metrics_are_read_by_column(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "100,0.5,0.86,0.875,1.5\n200,nan,0.9,0.91,3\n")
    metrics = pictures.read_metrics(path)
    assert list(metrics) == HEADER.strip().split(",")
    assert metrics["step"].dtype == np.int64
    assert metrics["step"].tolist() == [100, 200]
    assert metrics["loss"][0] == 0.5
    assert np.isnan(metrics["loss"][1])
    assert metrics["test_accuracy"].tolist() == [0.875, 0.91]
    assert metrics["seconds"].dtype == np.float64


def test_metrics_without_rows_are_empty_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER)
    assert all(column.shape == (0,) for column in pictures.read_metrics(path).values())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"step,loss\n1,2\n", 1),
        (HEADER.encode() + b"100,0.5,0.86,0.875,1.5\n200,0.4,0.9\n", 3),
        (HEADER.encode() + b"100,0.5,0.86,0.875,1.5,7\n", 2),
        (HEADER.encode() + b"100,0.5,much,0.875,1.5\n", 2),
        (HEADER.encode() + b"1e2,0.5,0.86,0.875,1.5\n", 2),
        (HEADER.encode() + b"9" * 30 + b",0.5,0.86,0.875,1.5\n", 2),
        (HEADER.encode() + b"100,0.5,0.86,0.875,\n", 2),
        (HEADER.encode() + b"100,\xff\xfe,0.86,\0,1.5\n", 2),
        (HEADER.encode() + b"\n", 2),
    ],
)
def test_malformed_metrics_name_file_and_line(tmp_path, text, line):
    path = tmp_path / "metrics.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="line") as caught:
        pictures.read_metrics(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert "\n" not in str(caught.value)


def test_confusion_counts_have_true_rows_and_predicted_columns():
    labels = np.array([4, 4, 4, 9, 0], np.uint8)
    predictions = np.array([9, 9, 4, 9, 0])
    expected = np.zeros((10, 10), int)
    expected[4, 9], expected[4, 4], expected[9, 9], expected[0, 0] = 2, 1, 1, 1
    np.testing.assert_array_equal(pictures.confusion_counts(labels, predictions), expected)


def test_confusion_counts_agree_with_a_plain_loop():
    rng = np.random.default_rng(2)
    labels, predictions = rng.integers(0, 10, (2, 500))
    expected = np.zeros((10, 10), int)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(pictures.confusion_counts(labels, predictions), expected)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([10], [0]), ([0], [-1]), ([0, 1], [0]), ([[0]], [[0]])],
)
def test_confusion_counts_refuse_what_is_not_two_lists_of_digits(labels, predictions):
    with pytest.raises(ValueError, match=r"labels|predictions"):
        pictures.confusion_counts(np.array(labels), np.array(predictions))


def test_the_most_confident_mistakes_come_first():
    probabilities = np.array(
        [
            [0.9, 0.1, 0.0],  # right
            [0.6, 0.4, 0.0],  # wrong
            [0.0, 0.01, 0.99],  # wrong, and the surest
            [0.0, 0.0, 1.0],  # right
            [0.2, 0.6, 0.2],  # wrong, as sure as the first
            [np.nan, np.nan, np.nan],  # an answer that is none
        ]
    )
    labels = np.array([0, 1, 0, 2, 2, 1])
    assert pictures.confident_mistakes(labels, probabilities).tolist() == [2, 1, 4, 5]


def test_no_images_and_no_mistakes_give_no_indices():
    assert pictures.confident_mistakes(np.zeros(0), np.zeros((0, 10))).size == 0
    assert pictures.confident_mistakes(np.arange(10), np.eye(10)).size == 0


def test_smoothing_keeps_constants_length_and_gaps():
    values = np.full(100, 3.0)
    values[[0, 40, 41]] = np.nan
    smoothed = curves.smooth(values)
    np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(values))
    np.testing.assert_allclose(smoothed[~np.isnan(values)], 3.0)
    for rows in range(8):
        assert curves.smooth(np.ones(rows)).shape == (rows,)


def test_smoothing_removes_noise_and_follows_the_trend():
    trend = np.linspace(0, 1, 200)
    noise = np.random.default_rng(3).normal(0, 0.1, 200)
    error = curves.smooth(trend + noise) - trend
    assert error.std() < 0.4 * noise.std()


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.9921, 2, "99.21 %"),
        (0.9981, 1, "99.8 %"),
        (1.0, 1, "100.0 %"),
        (0.99996, 1, ">99.9 %"),
        (59999 / 60000, 2, ">99.99 %"),
        (0.0, 2, "0.00 %"),
        (float("nan"), 1, "n/a"),
    ],
)
def test_percent_never_rounds_up_to_everything(fraction, digits, text):
    assert style.percent(fraction, digits) == text


# --------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("rows", [0, 1, 20])
def test_curves_of_any_length(tmp_path, rows):
    pictures.draw_curves(run_of(rows), tmp_path / "curves.png", title="A run")
    assert_drawn(tmp_path / "curves.png")
    assert contains(tmp_path / "curves.png", style.NAVY) == (rows > 0)


@pytest.mark.parametrize("bad", [np.nan, 0.0, 1e300])
@pytest.mark.parametrize("where", [slice(10, None), slice(None)])
def test_curves_of_a_run_that_broke(tmp_path, bad, where):
    metrics = run_of(30)
    metrics["loss"][where] = bad
    metrics["training_accuracy"][where] = metrics["test_accuracy"][where] = min(bad, 0.1)
    pictures.draw_curves(metrics, tmp_path / "curves.png")
    assert_drawn(tmp_path / "curves.png")


def test_drawing_leaves_its_arguments_alone(tmp_path):
    metrics = run_of(30)
    metrics["loss"][4] = np.inf
    before = {name: column.copy() for name, column in metrics.items()}
    pictures.draw_curves(metrics, tmp_path / "curves.png")
    for name, column in metrics.items():
        np.testing.assert_array_equal(column, before[name])


def test_the_accuracy_axis_begins_where_things_happen():
    training, test = np.array([0.3, 0.96, 1.0, 1.0]), np.array([0.1, 0.93, 0.95, 0.96])
    assert curves._accuracy_floor(training, test) == 0.9
    assert curves._accuracy_floor(training - 0.2, test) == 0.5
    assert curves._accuracy_floor(np.full(4, 0.1), np.full(4, 0.1)) == 0.0
    assert curves._accuracy_floor(np.full(4, np.nan), np.zeros(0)) == 0.0


def test_confusion_colours_errors_and_only_errors(tmp_path):
    labels = np.repeat(np.arange(10), 30)
    pictures.draw_confusion(labels, labels, tmp_path / "right.png")
    predictions = labels.copy()
    predictions[:5] = 7
    pictures.draw_confusion(labels, predictions, tmp_path / "wrong.png", title="Test images")
    assert not contains(tmp_path / "right.png", style.ERRORS[-1])
    assert contains(tmp_path / "wrong.png", style.ERRORS[-1])


@pytest.mark.parametrize("labels", [np.zeros(0, np.uint8), np.full(7, 3, np.uint8)])
def test_confusion_of_none_and_of_one_class(tmp_path, labels):
    pictures.draw_confusion(labels, labels, tmp_path / "confusion.png")
    assert_drawn(tmp_path / "confusion.png")


@pytest.mark.parametrize("shape", [(5, 5, 1, 32), (5, 5, 1, 1), (3, 3, 3, 7), (784, 10)])
def test_filters_of_any_shape(tmp_path, shape):
    weights = np.random.default_rng(4).normal(0, 0.1, shape).astype(np.float32)
    pictures.draw_filters(weights, tmp_path / "filters.png")
    assert_drawn(tmp_path / "filters.png")


def test_filters_share_one_scale_centred_at_zero(tmp_path):
    weights = np.zeros((5, 5, 1, 2))
    weights[..., 1] = -2.0
    pictures.draw_filters(weights, tmp_path / "negative.png")
    assert contains(tmp_path / "negative.png", style.SIGNED[0])  # the smallest weight
    grey = np.array([int(style.SIGNED[2][i : i + 2], 16) for i in (1, 3, 5)])
    near = (np.abs(pixels(tmp_path / "negative.png") - grey) < 3).all(axis=2)
    assert near.sum() > 80 * 80  # a whole tile of zeros in the colour of zero


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_filters_that_are_all_the_same(tmp_path, value):
    pictures.draw_filters(np.full((5, 5, 1, 8), value), tmp_path / "filters.png")
    assert_drawn(tmp_path / "filters.png")


@pytest.mark.parametrize("shape", [(), (10,), (783, 10), (5, 5, 32), (0, 10), (5, 5, 0, 3)])
def test_weights_that_are_no_pictures_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="weights"):
        pictures.draw_filters(np.zeros(shape), tmp_path / "filters.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("images", "mistakes"), [(0, 0), (5, 0), (5, 1), (60, 40)])
def test_mistakes_few_and_many(tmp_path, images, mistakes):
    pictures.draw_mistakes(*answers(images, mistakes), tmp_path / "mistakes.png", title="Mistakes")
    assert_drawn(tmp_path / "mistakes.png")


def test_the_picture_of_mistakes_grows_with_their_count(tmp_path):
    for count in (5, 30):
        pictures.draw_mistakes(*answers(60, 40), tmp_path / f"{count}.png", count=count)
    heights = [png_size(tmp_path / f"{count}.png")[1] for count in (5, 30)]
    assert heights[0] < heights[1]


def test_only_the_most_confident_mistake_is_drawn(tmp_path):
    images, labels, probabilities = answers(60, 40)
    images[:] = 0  # white paper
    images[17] = 255
    probabilities[17] *= 1.05
    pictures.draw_mistakes(images, labels, probabilities, tmp_path / "black.png", count=1)
    probabilities[17] /= 1.5
    pictures.draw_mistakes(images, labels, probabilities, tmp_path / "white.png", count=1)
    assert contains(tmp_path / "black.png", "#000000")
    assert not contains(tmp_path / "white.png", "#000000")


def test_mistakes_need_a_label_and_an_answer_for_each_image(tmp_path):
    images, labels, probabilities = answers(10, 3)
    with pytest.raises(ValueError, match="labels: expected one for each of 10 images, got 9"):
        pictures.draw_mistakes(images, labels[:9], probabilities, tmp_path / "mistakes.png")


@pytest.mark.parametrize("title", ["$x_$ and \\frac\nin two lines", "long " * 100])
def test_a_title_is_text_whatever_it_says(tmp_path, title):
    pictures.draw_confusion(np.arange(10), np.arange(10), tmp_path / "confusion.png", title)
    assert_drawn(tmp_path / "confusion.png")


# ------------------------------------------------------------------------------------------ files


def test_a_picture_replaces_the_old_one_and_has_ordinary_permissions(tmp_path):
    path = tmp_path / "confusion.png"
    path.write_text("old")
    pictures.draw_confusion(np.arange(10), np.arange(10), str(path))
    assert_drawn(path)
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_failed_picture_leaves_the_old_one(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    path = tmp_path / "confusion.png"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pictures.draw_confusion(np.arange(10), np.arange(10), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib

    logger = logging.getLogger("matplotlib")
    settings, level = dict(matplotlib.rcParams), logger.level
    pictures.draw_curves(run_of(30), tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == settings
    assert logger.level == level


USERS = {  # settings that change what matplotlib draws, each in another way
    "figure.constrained_layout.use": True,
    "figure.facecolor": "black",
    "axes.facecolor": "red",
    "axes.spines.top": True,
    "axes.labelsize": 30,
    "font.family": "serif",
    "font.size": 20,
    "lines.linestyle": ":",
    "path.sketch": (3, 100, 2),
    "text.color": "red",
    "image.origin": "lower",
    "image.cmap": "jet",
    "savefig.dpi": 50,
    "savefig.transparent": True,
    "text.parse_math": True,
    "xtick.major.size": 20,
}


def draw_all(directory):
    """Draw every picture with fixed contents; returns the bytes of each by name."""
    directory.mkdir()
    rng = np.random.default_rng(7)
    images, labels, probabilities = answers(60, 40)
    layers = [("conv", rng.normal(0, 1, (5, 6, 3))), ("fc", rng.random(20))]
    pictures.draw_curves(run_of(30), directory / "curves.png", "$run$")
    pictures.draw_comparison({"a": run_of(30), "b": run_of(9)}, directory / "comparison.png")
    pictures.draw_confusion(labels, probabilities.argmax(axis=1), directory / "confusion.png")
    pictures.draw_filters(rng.normal(0, 1, (3, 3, 1, 8)), directory / "filters.png")
    pictures.draw_mistakes(images, labels, probabilities, directory / "mistakes.png")
    pictures.draw_seen([("as read", images[0] / 255)], layers, probabilities[0], directory / "seen.png")
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.filterwarnings("error")
def test_a_users_settings_change_no_picture(tmp_path):
    import matplotlib

    expected = draw_all(tmp_path / "default")
    assert len(expected) == 6
    with matplotlib.rc_context(USERS):
        assert draw_all(tmp_path / "users") == expected


@pytest.mark.parametrize("backend", ["svg", "module://not_there"])
def test_a_users_matplotlibrc_and_backend_change_no_picture(tmp_path, backend):
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nfont.size: 20\n")
    labels = np.arange(10)
    pictures.draw_confusion(labels, labels, tmp_path / "expected.png")
    code = (
        "import sys, numpy, matplotlib, minicnn.pictures as pictures\n"
        "assert matplotlib.rcParams['font.size'] == 20\n"
        "pictures.draw_confusion(numpy.arange(10), numpy.arange(10), sys.argv[1])\n"
        "assert matplotlib.get_backend().lower() == sys.argv[2]"
    )
    python(
        code, str(tmp_path / "users.png"), backend, MPLBACKEND=backend, MATPLOTLIBRC=str(tmp_path),
    )  # fmt: skip
    assert (tmp_path / "users.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_a_picture_goes_where_a_link_points_to_and_never_into_a_pipe(tmp_path):
    (tmp_path / "link.png").symlink_to("target.png")
    pictures.draw_confusion(np.arange(10), np.arange(10), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert png_size(tmp_path / "target.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        pictures.draw_confusion(np.arange(10), np.arange(10), tmp_path / "pipe.png")


def python(code: str, *arguments: str, **environment: str) -> None:
    """Run code in a fresh Python, which must succeed and write nothing."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_the_module_does_not_import_matplotlib():
    python("import sys, minicnn.pictures; assert 'matplotlib' not in sys.modules")


def test_drawing_needs_no_home_no_display_no_pyplot_and_is_silent(tmp_path):
    code = (
        "import sys, os; os.environ.pop('DISPLAY', None); os.environ.pop('HOME', None)\n"
        "import numpy, minicnn.pictures as pictures\n"
        "pictures.draw_confusion(numpy.arange(10), numpy.arange(10), sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    path = tmp_path / "confusion.png"
    python(code, str(path), MPLCONFIGDIR="/dev/null/unwritable")
    assert_drawn(path)


# ------------------------------------------------------------------------------ several runs, one image


@pytest.mark.parametrize("rows", [(30, 12), (1, 0), (0,), (30,) * 12])
def test_runs_of_any_length_are_compared(tmp_path, rows):
    runs = {f"runs/{index}": run_of(count) for index, count in enumerate(rows)}
    pictures.draw_comparison(runs, tmp_path / "comparison.png")
    assert_drawn(tmp_path / "comparison.png")


def test_a_run_without_errors_and_one_that_broke_are_compared(tmp_path):
    perfect, broken = run_of(30), run_of(30)
    perfect["test_accuracy"][:] = 1.0
    broken["test_accuracy"][:] = np.nan
    pictures.draw_comparison({"perfect": perfect, "broken": broken}, tmp_path / "comparison.png")
    assert_drawn(tmp_path / "comparison.png")


def test_the_best_run_has_the_first_colour(tmp_path):
    best, worst = run_of(30), run_of(30)
    worst["test_accuracy"] = worst["test_accuracy"] - 0.2
    for runs in ({"a": best, "b": worst}, {"b": worst, "a": best}):
        pictures.draw_comparison(runs, tmp_path / f"{next(iter(runs))}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def seen(tmp_path, layers):
    image = np.random.default_rng(5).random((28, 28))
    stages = [("as read", np.ones((30, 90))), ("ink", np.zeros((90, 30))), ("seen", image)]
    pictures.draw_seen(stages, layers, np.eye(10)[3], tmp_path / "seen.png", "digit.png")
    assert_drawn(tmp_path / "seen.png")


@pytest.mark.parametrize("shape", [(14, 14, 32), (28, 28, 1), (7, 9, 100), (1024,), (10,), (1,), (77,)])
def test_layers_of_any_shape_are_shown(tmp_path, shape):
    seen(tmp_path, [("layer", np.random.default_rng(6).normal(0, 1, shape))])


def test_an_image_without_layers_is_shown(tmp_path):
    seen(tmp_path, [])


def test_signed_layers_are_grey_at_zero_and_others_white(tmp_path):
    values = np.zeros((4, 4, 2))
    values[..., 1] = 1.0
    seen(tmp_path, [("positive", values)])
    assert not contains(tmp_path / "seen.png", style.SIGNED[0])
    (tmp_path / "seen.png").unlink()
    seen(tmp_path, [("signed", -values)])
    assert contains(tmp_path / "seen.png", style.SIGNED[0])
