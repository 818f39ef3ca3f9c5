"""The pictures are drawn whatever the user's settings of matplotlib, fonts and names are."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from minicnn.pictures import draw_comparison, draw_curves, draw_seen, style

METRICS = {
    "step": np.array([240, 480, 715]),
    "loss": np.array([0.21, 0.13, 0.15]),
    "training_accuracy": np.array([0.93, 0.96, 0.95]),
    "test_accuracy": np.array([0.985, 0.991, 0.993]),
    "seconds": np.array([5.0, 10.0, 15.0]),
}
DRAW = """
import os, sys
import numpy as np
from minicnn.pictures import draw_filters
draw_filters(np.zeros((5, 5, 1, 4)), sys.argv[1])
print(os.environ.get("MPLBACKEND"), os.environ.get("MATPLOTLIBRC"))
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MPLBACKEND", "nonsense"),
        ("MPLBACKEND", "module://package_that_is_not_installed.backend"),
        ("MATPLOTLIBRC", "broken.rc"),
        ("MATPLOTLIBRC", "wrong.rc"),
    ],
)
def test_broken_settings_of_matplotlib_break_no_picture_and_stay_as_they_are(tmp_path, name, value):
    (tmp_path / "broken.rc").write_bytes(b"\xff\xfe\x00 no text")
    (tmp_path / "wrong.rc").write_text("backend: nonsense\nfigure.dpi: many\nnonsense\n")
    found = {key: None for key in ("MPLBACKEND", "MATPLOTLIBRC")} | {name: value}
    environment = {key: v for key, v in os.environ.items() if key not in found} | {name: value}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, "f.png"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(found["MPLBACKEND"]), str(found["MATPLOTLIBRC"])]
    assert style.is_ours(tmp_path / "f.png")


def test_characters_without_a_font_cost_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "FONTS", ("DejaVu Sans",))
    with pytest.warns(UserWarning, match="no installed font has all characters") as caught:
        draw_curves(METRICS, tmp_path / "c.png", "手写数字")
    assert len(caught) == 1


def test_other_warnings_while_a_picture_is_drawn_are_passed_on(tmp_path):
    with pytest.warns(UserWarning, match="^careful$"), style.picture(tmp_path / "p.png", "", "", 2, 2):
        warnings.warn("careful", stacklevel=1)


def test_chinese_names_are_drawn_where_a_font_is_installed(tmp_path):
    from matplotlib.font_manager import fontManager

    if not {font.name for font in fontManager.ttflist} & set(style.FONTS[1:]):
        pytest.skip("no font with Chinese characters is installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_comparison({"运行": METRICS}, tmp_path / "c.png", "手写数字")


def test_only_a_png_of_minicnn_is_ours(tmp_path):
    draw_curves(METRICS, tmp_path / "ours.png")
    Image.new("L", (5, 5)).save(tmp_path / "other.png")
    (tmp_path / "text.png").write_text("minicnn ")
    (tmp_path / "directory.png").mkdir()
    names = ("ours", "other", "text", "directory", "missing")
    assert [style.is_ours(tmp_path / f"{name}.png") for name in names] == [True, *[False] * 4]


@pytest.mark.parametrize(("classes", "bars"), [(10, 10), (47, 12)])
def test_as_many_bars_are_drawn_as_there_is_room_for(tmp_path, monkeypatch, classes, bars):
    from matplotlib.axes import Axes

    ticks, original = [], Axes.set_yticks

    def noted(axes, positions, labels=None, **options):
        if labels is not None:
            ticks.extend(labels)
        return original(axes, positions, labels, **options)

    monkeypatch.setattr(Axes, "set_yticks", noted)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(classes))
    draw_seen([("as read", np.zeros((28, 28)))], [], probabilities, tmp_path / "s.png")
    assert len(ticks) == bars
    assert str(probabilities.argmax()) in ticks
