"""Draw the figures of the teachers' page, one for each slide, as SVG in docs/slides/: in English and Chinese.

python notebooks/make_slides.py [DIRECTORY]

All numbers are computed here by the engine, or read from `notebooks/data`. The Chinese figures need a Chinese
font to be drawn (Noto Sans CJK SC), but not to be shown: letters are stored as outlines.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import course
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import minicnn
from minicnn import reference

SLIDES = Path(__file__).parent.parent / "docs" / "slides"
STYLE = {
    "font.size": 20,
    "axes.titlesize": 22,
    "axes.titlepad": 14,
    "lines.linewidth": 3,
    "svg.hashsalt": "minicnn",  # the same file each time
    "savefig.bbox": "tight",
}
WIDE = (13.3, 6.2)  # inches: 16 to 9, less the title of the slide


def network() -> Figure:
    """The whole network, from the image to the loss."""
    course.network_map()
    return plt.gcf()


def one_number() -> Figure:
    """25 pixels times 25 weights, added: one number of conv1."""
    image = course.digits("test", 1)[0][0, :, :, 0]
    weights = minicnn.tutorial_network(seed=0, fused=False).layers[0].weight.value[:, :, 0, 0]
    row, column = 6, 16  # the upper left corner of the patch
    patch = image[row : row + 5, column : column + 5]
    figure, (whole, left, middle, right) = plt.subplots(1, 4, figsize=WIDE)
    course.show_ink(whole, image, "the image")
    whole.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 5, 5, fill=False, ec=course.RED, lw=4))
    course.show_ink(left, patch, "25 pixels")
    course.show_signed(middle, weights, "25 weights", marks=False)
    products = patch * weights
    course.show_signed(right, products, "25 products", marks=False)
    for ax, values in ((left, patch), (middle, weights), (right, products)):
        _write_in(ax, values)
    total = products.sum()
    figure.supxlabel(f"the sum is {total:.2f}, with the bias {total + 0.1:.2f}: one of 28 x 28 x 32 numbers")
    return figure


def everywhere() -> Figure:
    """One filter at all positions: a feature map."""
    image = course.digits("test", 1)[0]
    edges = np.zeros((5, 5, 1, 1), np.float32)
    edges[1], edges[3] = 0.2, -0.2
    y = reference.conv2d_forward(image, edges, np.zeros(1, np.float32), 1, "same")[0]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=WIDE)
    course.show_ink(left, image[0], "28 x 28 pixels")
    course.show_signed(middle, edges[:, :, 0, 0], "a filter: ink above paper", marks=False)
    course.show_signed(right, y[0], "its feature map, 28 x 28", marks=False)
    figure.supxlabel("red: the pattern is there; blue: its opposite; white: neither")
    return figure


def pool() -> Figure:
    """The largest of four goes on; it alone gets the gradient."""
    x = np.array([[1, 3, 0, 2], [5, 2, 1, 1], [0, 1, 4, 0], [2, 0, 3, 6]], np.float64).reshape(1, 4, 4, 1)
    y, cache = reference.max_pool2d_forward(x)
    dy = np.array([[0.5, -1.0], [2.0, 0.1]]).reshape(y.shape)
    dx = reference.max_pool2d_backward(dy, cache)
    figure, axes = plt.subplots(1, 4, figsize=WIDE)
    titles = "forward: x", "y", "backward: dy", "dx"
    for ax, values, title in zip(axes, (x, y, dy, dx), titles, strict=True):
        values = values[0, :, :, 0]
        course.show_signed(ax, values, title, marks=False)
        _write_in(ax, values)
        if len(values) == 4:
            ax.axhline(1.5, color="black", ls="-", lw=3)
            ax.axvline(1.5, color="black", ls="-", lw=3)
    return figure


def softmax() -> Figure:
    """Scores, probabilities, and the gradient: p - y."""
    scores = np.array([[1.0, 0.2, -0.5, 2.2, 0.1, 1.4, -1.0, 0.4, 0.8, -0.2]])
    label = np.array([5])
    p = reference.softmax(scores)[0]
    loss, _ = reference.softmax_cross_entropy_forward(scores, label)
    figure, axes = plt.subplots(1, 3, figsize=WIDE)
    y = np.eye(10)[label[0]]
    shown = {"scores": scores[0], "probabilities p": p, "gradient p - y": p - y}
    for ax, (title, values) in zip(axes, shown.items(), strict=True):
        colours = [course.RED if digit == label[0] else "#9a9a9a" for digit in range(10)]
        ax.bar(range(10), values, color=colours)
        ax.axhline(0, color="black", lw=1)
        ax.set(title=title, xticks=range(10))
    figure.supxlabel(f"the digit is a 5; the loss is -log p[5] = {float(np.sum(loss)):.2f}")
    return figure


def gradient_check() -> Figure:
    """Backward claims a slope; two values of the loss, close together, show it."""
    w, h = 0.5, 0.9
    x = np.linspace(-0.6, 1.8, 200)

    def loss(w: float | np.ndarray) -> float | np.ndarray:
        return 0.6 * (w - 1.2) ** 2 + 0.15 * np.sin(3 * w) + 0.3

    slope = (loss(w + h) - loss(w - h)) / (2 * h)
    figure, ax = plt.subplots(figsize=WIDE)
    ax.plot(x, loss(x), label="the loss, as one weight moves")
    exact = 1.2 * (w - 1.2) + 0.45 * np.cos(3 * w)
    ax.plot(x, loss(w) + exact * (x - w), color="#5b8fb9", label=f"backward: {exact:.3f}")
    ax.plot([w - h, w + h], [loss(w - h), loss(w + h)], "o:", color=course.RED, ms=10,
            label=f"(L(w + h) - L(w - h)) / 2h, h = {h}: {slope:.3f}")  # fmt: skip
    tiny = (loss(w + 1e-5) - loss(w - 1e-5)) / 2e-5
    ax.plot([], [], " ", label=f"the same, h = 0.00001: {tiny:.3f}")
    ax.set(xlabel="the weight w", ylabel="loss L", ylim=(0, 2.4))
    ax.legend()
    return figure


def dead_units() -> Figure:
    """Units of fc1 that are dead before the first step, by the bias that the tutorial starts with."""
    stored = course.stored("dead_units")["start"]
    groups = {
        f"first bias {bias:g}": [
            run["fc1"] for run in stored if run["conv"] == run["fc"] == bias and run["stddev"] == 0.1
        ]
        for bias in (0.0, 0.1)
    }
    figure, ax = plt.subplots(figsize=WIDE)
    course.bars(ax, groups, "dead units of fc1, of 1,024", "{:.0f}")
    return figure


def accuracy() -> Figure:
    """The test accuracy of the tutorial's run, five seeds: what one number hides."""
    figure, ax = plt.subplots(figsize=WIDE)
    for number, run in enumerate(course.stored("accuracy")["runs"]):
        ax.plot(run["step"], 100 * np.array(run["test_accuracy"]), color="#5b8fb9", ls="-",
                label="five seeds" if number == 0 else None)  # fmt: skip
    ax.axhline(99.2, color=course.RED, ls="--", label="the tutorial's promise: about 99.2 %")
    ax.set(xlabel="training step", ylabel="test accuracy in %", ylim=(97, 99.4))
    ax.legend(loc="lower right")
    return figure


def _write_in(ax: Axes, values: np.ndarray) -> None:
    """Write each number into its cell."""
    image = ax.images[0]
    for (row, column), value in np.ndenumerate(values):
        light = np.mean(image.cmap(image.norm(value))[:3]) > 0.45
        text = f"{value:.2g}".replace("0.", ".") if value else "0"
        size, colour = 16 if len(values) < 5 else 13, "black" if light else "white"
        ax.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


FIGURES: dict[str, Callable[[], Figure]] = {
    "1-network": network,
    "2-one-number": one_number,
    "3-everywhere": everywhere,
    "4-pool": pool,
    "5-softmax": softmax,
    "6-gradient-check": gradient_check,
    "7-dead-units": dead_units,
    "8-accuracy": accuracy,
}


FONTS = ["DejaVu Sans", "Noto Sans CJK SC"]  # what the first lacks is taken from the second
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
CHINESE = {  # numbers are #; what is not here is a name or a formula
    "# number": "# 个数",
    "scores": "得分",
    "loss": "损失",
    "the image": "图像",
    "# pixels": "# 个像素",
    "# weights": "# 个权重",
    "# products": "# 个乘积",
    "the sum is #, with the bias #: one of # x # x # numbers": "和是 #，加偏置是 #：# x # x # 个数中的一个",
    "# x # pixels": "# x # 个像素",
    "a filter: ink above paper": "一个滤波器：上边是墨，下边是纸",
    "its feature map, # x #": "它的特征图，# x #",
    "red: the pattern is there; blue: its opposite; white: neither": "红：有这种图案；蓝：正相反；白：都不是",
    "forward: x": "前向：x",
    "backward: dy": "反向：dy",
    "probabilities p": "概率 p",
    "gradient p - y": "梯度 p - y",
    "the digit is a #; the loss is -log p[#] = #": "这个数字是 #；损失是 -log p[#] = #",
    "the weight w": "权重 w",
    "loss L": "损失 L",
    "the loss, as one weight moves": "只改变一个权重时的损失",
    "backward: #": "反向传播：#",
    "the same, h = #: #": "同上，h = #：#",
    "first bias #": "初始偏置 #",
    "dead units of fc#, of #": "fc# 的 # 个单元中死亡的个数",
    "training step": "训练步",
    "test accuracy in %": "测试准确率（%）",
    "five seeds": "五个种子",
    "the tutorial's promise: about # %": "教程的承诺：大约 # %",
}


def in_chinese(text: str) -> str:
    """A text of a figure in Chinese, with its numbers; names and formulas stay as they are."""
    numbers = iter(NUMBER.findall(text))
    return re.sub("#", lambda _: next(numbers), CHINESE.get(NUMBER.sub("#", text), text))


def main(directory: Path) -> None:
    """Write all figures into a directory. Raises UserWarning if a font lacks a letter."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        style = STYLE if draw is not network else {"svg.hashsalt": "minicnn"}
        _write(draw, style, directory / f"{name}.svg")
        _write(draw, style | {"font.family": FONTS}, directory / f"zh_{name}.svg", in_chinese)


def _write(
    draw: Callable[[], Figure], style: dict, file: Path, translated: Callable[[str], str] = str
) -> None:
    with plt.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph .* missing")
        figure = draw()
        for ax in figure.axes:  # Matplotlib writes the labels of ticks anew when it draws
            labels = [label.get_text() for label in ax.get_xticklabels()]
            if [*map(translated, labels)] != labels:
                ax.set_xticks(ax.get_xticks(), [*map(translated, labels)])
        for text in figure.findobj(Text):
            text.set_text(translated(text.get_text()))
        figure.savefig(file, metadata={"Date": None})
        plt.close("all")


if __name__ == "__main__":
    plt.switch_backend("agg")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SLIDES)
