"""What the notebooks share: holding a number, checking an exercise, drawing, small networks to train.

Everything that computes is minicnn itself, called through its public names. Nothing here does a second
time what the engine does.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

import minicnn
from minicnn import reference
from minicnn.data import Batches, to_float
from minicnn.engine.initializers import Initializer, constant, truncated_normal
from minicnn.engine.optimizers import Optimizer

# --- claims and exercises -------------------------------------------------------------------------


def check(question: str, what: str, value: float, low: float, high: float) -> None:
    """Print the measured number `what` of a question, such as "Q12", and hold it in low..high.

    Raises AssertionError, naming all of them, when it has left the range.
    """
    held = f"exactly {_figure(low)}" if low == high else f"held in {_figure(low)} .. {_figure(high)}"
    line = f"{question}  {what}: {_figure(value)}  ({held})"
    assert low <= value <= high, f"no longer true: {line}"
    print(line)
    mine = _guesses.get((question, what))
    if mine is not None:
        _found[question, what] = value
        print(f"    your guess: {_figure(mine)}, {_how_close(mine, value)}")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == value // 1 else f"{value:.4g}"


_guesses: dict[tuple[str, str], float | None] = {}
_found: dict[tuple[str, str], float] = {}


def guess(question: str, what: str, value: float | None) -> None:
    """Keep a reader's prediction of what `check(question, what, ...)` will print. None: not made yet."""
    _guesses[question, what] = value
    mine = "write your guess in place of None" if value is None else f"your guess: {_figure(value)}"
    print(f"{question}  {what}? {mine}")


def scoreboard() -> None:
    """Print the guesses of this notebook beside what was measured."""
    for (question, what), value in _found.items():
        mine = _guesses[question, what]
        assert mine is not None
        print(f"{question}  {what}: {_figure(mine)}, measured {_figure(value)}: {_how_close(mine, value)}")
    close = sum(_how_close(_guesses[key] or 0, value) == "close" for key, value in _found.items())
    print(f"guesses made: {len(_found)} of {len(_guesses)}; close: {close}")


def _how_close(mine: float, value: float) -> str:
    """How far a guess is off: "close" is within a tenth, or within a small absolute distance."""
    if abs(mine - value) <= max(0.1 * abs(value), 1 if abs(value) > 5 else 0.5):
        return "close"
    if mine * value <= 0:
        return f"off by {_figure(abs(mine - value))}"
    factor = max(mine / value, value / mine)
    return f"too {'high' if mine > value else 'low'}, by a factor of {factor:.2g}"


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The message with which `call(*args, **kwargs)` raises. Raises AssertionError if it does not."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("expected an error, but none was raised")


def exercise(name: str, answer: Any, grade: Callable[[Any], str]) -> bool:
    """Say whether `answer` is right. `grade` returns a hint, or "" for a right answer.

    An answer of None is one that has not been tried.
    """
    hint = "write your answer in place of None" if answer is None else grade(answer)
    print(f"exercise {name}: {'not yet: ' + hint if hint else 'right'}")
    return not hint


def what_is_wrong(mine: Any, right: np.ndarray, mistakes: Mapping[str, np.ndarray]) -> str:
    """A hint for an exercise whose answer is an array: "" if `mine` is `right` to 5 digits.

    Otherwise the mistake whose result `mine` is, or the first place where it differs. `mistakes` are the
    results that typical mistakes give.
    """
    if mine is None:
        return "your function returns None"
    mine = np.asarray(mine, float)
    if _same(mine, right):
        return ""
    for mistake, result in mistakes.items():
        if _same(mine, result):
            return f"this is the result if {mistake}"
    if mine.shape != right.shape:
        return f"expected the shape {right.shape}, got {mine.shape}"
    first = tuple(int(n) for n in np.argwhere(~_close(mine, right))[0])
    where = f"first difference at {list(first)}: " if first else ""
    return f"{where}expected {right[first]:.6g}, got {mine[first]:.6g}"


def wrong_number(mine: float, right: float, mistakes: Mapping[float, str], advice: str) -> str:
    """A hint for an exercise whose answer is one number: "" if `mine` is `right`.

    Otherwise the mistake that leads to `mine`, or whether it is too high or too low, and `advice`. `mistakes`
    says for the numbers that typical mistakes give what the mistake is.
    """
    if math.isclose(mine, right, rel_tol=1e-6):
        return ""
    for number, words in mistakes.items():
        if math.isclose(mine, number, rel_tol=1e-6):
            return words
    return f"too {'high' if mine > right else 'low'}: {advice}"


def wrong_convolutions(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """What typical mistakes in a convolution ("same", stride 1) give, [N, H, W, F], by the mistake.

    x [N, H, W, C], w [k, k, C, F] with an odd k, b [F].
    """
    frame, corner = w.shape[0] - 1, np.zeros_like(w)
    corner[-1, -1] = w[-1, -1]

    def same(w: np.ndarray = w, b: np.ndarray = b) -> np.ndarray:
        return reference.conv2d_forward(x, w, b)[0]

    def framed(before: int, after: int, mode: Any = "constant") -> np.ndarray:
        sides = (before, after)
        return reference.conv2d_forward(
            np.pad(x, ((0, 0), sides, sides, (0, 0)), mode), w, b, padding="valid"
        )[0]

    return {
        "the filters are turned by 180 degrees: w[0, 0] belongs to the upper left pixel": same(w[::-1, ::-1]),
        "rows and columns of the filters are exchanged": same(w.transpose(1, 0, 2, 3)),
        "the bias is missing": same(b=0 * b),
        "the bias is added for each weight of a window: add it once": same(b=w[..., 0, 0].size * b),
        "all of the frame is below and at the right: half of it belongs above and at the left": framed(
            0, frame
        ),
        "all of the frame is above and at the left: half of it belongs below and at the right": framed(
            frame, 0
        ),
        "there is no frame of zeros": framed(0, 0),
        "beyond the border the opposite side follows: there must be zeros": framed(
            frame // 2, frame // 2, "wrap"
        ),
        "only the last product is kept: add them up": same(corner),
        "rows and columns of the output are exchanged": same().swapaxes(1, 2),
        "the filters come first: expected [..., H, W, F]": np.moveaxis(same(), -1, -3),
        "only the first channel is used": reference.conv2d_forward(x[..., :1], w[:, :, :1], b)[0],
    }


def _same(mine: np.ndarray, result: np.ndarray) -> bool:
    return mine.shape == np.shape(result) and bool(_close(mine, result).all())


def _close(mine: np.ndarray, result: np.ndarray) -> np.ndarray:
    return np.isclose(mine, result, rtol=1e-5, atol=1e-8, equal_nan=True)


def kernel_source(file: str, function: str) -> str:
    """The source of a function in `minicnn/engine/kernels/`, without importing it: that takes Numba.

    Raises KeyError if the file has no such function.
    """
    text = files("minicnn").joinpath(f"engine/kernels/{file}.py").read_text(encoding="utf-8")
    found = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}[function]
    first = min(node.lineno for node in (found, *found.decorator_list))
    return "\n".join(text.splitlines()[first - 1 : found.end_lineno]) + "\n"


def stored(name: str) -> dict[str, Any]:
    """What `make_experiments.py` has measured under this name. Prints the command that measures it again."""
    content = json.loads((Path(__file__).parent / "data" / f"{name}.json").read_text())
    print("stored measurement of", content["command"])
    return content


# --- figures: readable in grey, signs and scales as one expects -----------------------------------

GREYS = ["#000000", "#c8553d", "#5b8fb9", "#9a9a9a", "#e3b23c"]  # each lighter than the one before
DASHES = ["-", "--", "-.", ":", (0, (5, 1))]
HATCHES = ["", "//", "..", "xx", "--"]

# Blue below zero, white at zero, red above. The blue end is much darker, so that grey keeps the order
# of strong values; `show_signed` also marks the negative cells of small arrays.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#053061", "#2166ac", "#92c5de", "#f7f7f7", "#fddbc7", "#f4a582", "#dd6b55"]
)

plt.rcParams.update(
    {
        "figure.dpi": 90,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=GREYS) + plt.cycler(linestyle=DASHES),
        "image.interpolation": "nearest",
        "legend.frameon": False,
    }
)


def _image(ax: Axes, array: np.ndarray, title: str, **settings: Any) -> AxesImage:
    image = ax.imshow(array if np.ndim(array) == 2 else np.squeeze(array), **settings)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(True)
    return image


def show_ink(ax: Axes, array: np.ndarray, title: str = "", **settings: Any) -> AxesImage:
    """Draw a digit: pixels from 0 (paper) to 1 (ink), always on that scale. `settings` go to imshow."""
    return _image(ax, array, title, cmap="gray_r", vmin=0, vmax=1, **settings)


def show_positive(
    ax: Axes, array: np.ndarray, title: str = "", limit: float | None = None, **settings: Any
) -> AxesImage:
    """Draw values from 0 (light) to `limit` (dark); the largest value if none is given."""
    limit = float(np.max(array)) if limit is None else limit
    return _image(ax, array, title, cmap="YlGnBu", vmin=0, vmax=limit, **settings)


def show_signed(
    ax: Axes,
    array: np.ndarray,
    title: str = "",
    limit: float | None = None,
    marks: bool = True,
    **settings: Any,
) -> AxesImage:
    """Draw values from -limit (blue) over 0 (white) to limit (red); negative cells get `marks` if few."""
    limit = float(np.abs(array).max()) if limit is None else limit
    image = _image(ax, array, title, cmap=SIGNED, vmin=-limit, vmax=limit, **settings)
    array = image.get_array()
    if marks and array.size <= 100:
        rows, columns = np.nonzero(array < 0)
        shades = np.where(array[rows, columns] < -limit / 2, "white", "black")
        ax.scatter(columns, rows, marker="_", s=12, linewidths=0.8, c=shades)
    return image


def colour_bar(image: AxesImage, ax: Axes | Sequence[Axes] | np.ndarray, label: str) -> None:
    """Add a labelled colour bar beside the axes that share the scale of `image`."""
    image.figure.colorbar(image, ax=ax, label=label, shrink=0.85)


def bars(ax: Axes, groups: Mapping[str, Iterable[float]], ylabel: str, unit: str = "{:.1f}") -> None:
    """One bar from 0 for each name: the mean of its values, in figures, too; and a dot for each value."""
    for at, group in enumerate(groups.values()):
        values = np.asarray(list(group), float)
        ax.bar(at, values.mean(), 0.5, color="#d9d9d9", edgecolor="black")
        _values(ax, at, values, unit)
    _names(ax, list(groups), ylabel)
    ax.set_ylim(bottom=0)


def dots(ax: Axes, groups: Mapping[str, Iterable[float]], ylabel: str, unit: str = "{:.1f}") -> None:
    """What `bars` shows where the axis does not begin at 0, and a bar would exaggerate.

    For each name a dot for each value, a line at their mean, a grey box for its 95 % interval.
    """
    for at, group in enumerate(groups.values()):
        values = np.asarray(list(group), float)
        mean, half = interval(values)
        ax.bar(at, 2 * half, 0.5, bottom=mean - half, color="#d9d9d9")
        ax.hlines(mean, at - 0.25, at + 0.25, color="black", linestyle="-", lw=1.5)
        _values(ax, at, values, unit)
    _names(ax, list(groups), ylabel)
    ax.use_sticky_edges = False  # else the axis would begin where the lowest box does
    ax.margins(y=0.1)


def _values(ax: Axes, at: int, values: np.ndarray, unit: str) -> None:
    if len(values) > 1:
        spread = np.linspace(-0.15, 0.15, len(values))
        ax.plot(at + spread, values, "o", ms=3, color="black", clip_on=False, zorder=3)
    beside = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
    paper = {"fc": "white", "ec": "none", "pad": 0.5}
    ax.annotate(unit.format(values.mean()), (at + 0.25, values.mean()), bbox=paper, **beside)


def _names(ax: Axes, names: list[str], ylabel: str) -> None:
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.2)
    ax.set_ylabel(ylabel)


# --- the whole network, with the part in question marked -------------------------------------------

RED = "#c8553d"
# What the tutorial calls the numbers between the layers; "scores" have no name there.
_DATA = ["x_image", "h_conv1", "h_pool1", "h_conv2", "h_pool2", "h_pool2_flat", "h_fc1", "h_fc1_drop"]
_DATA += ["scores", "y_conv", "cross_entropy"]


def network_map(*marked: str, backward: bool = False) -> None:
    """Draw the tutorial's network from image to loss; what is in question is red.

    Above the arrows stand layers, named as in `minicnn.tutorial_network(fused=False)`, and "softmax" and
    "loss"; below are the numbers between them, named as in the tutorial. `marked` takes names of both
    kinds. With `backward` an arrow shows the way of the gradients. Raises ValueError for an unknown name.
    """
    arrows, shapes = _parts_of_the_network()
    known = {*_DATA, *(name for arrow in arrows for name in arrow)}
    if not known.issuperset(marked):
        raise ValueError(f"expected names among {', '.join(sorted(known))}; got {', '.join(marked)}")
    figure, ax = plt.subplots()  # the unit of ax is an inch
    at = 0.15
    for name, shape, arrow in zip(_DATA, shapes, [*arrows, ()], strict=True):
        colour = RED if name in marked else "black"
        right = _draw_numbers(ax, at, shape, colour)
        middle, weight = (at + right) / 2, "bold" if name in marked else "normal"
        ax.text(middle, -0.78, name, ha="center", fontsize=6.5, color=colour, weight=weight)
        size = " x ".join(f"{n:,}" for n in shape) or "1 number"
        ax.text(middle, -0.93, size, ha="center", fontsize=6.5, color=colour, weight=weight)
        for line, layer in enumerate(reversed(arrow)):
            box = {"boxstyle": "round,pad=0.25", "fc": RED if layer in marked else "white", "ec": "#606060"}
            text = {"color": "white", "weight": "bold"} if layer in marked else {"color": "black"}
            word = layer.split(".")[-1].replace("relu", "ReLU")
            ax.text(right + 0.33, 0.17 + 0.22 * line, word, ha="center", fontsize=6.5, bbox=box, **text)
        if arrow:
            ax.annotate("", (right + 0.62, 0), (right + 0.04, 0), arrowprops={"arrowstyle": "->"})
        at = right + 0.66
    if backward:
        style = {"arrowstyle": "->", "color": RED, "lw": 2, "linestyle": "--"}
        ax.annotate("", (0.15, 0.8), (right, 0.8), arrowprops=style)
        ax.text(at / 2, 0.86, "gradients: the same way back", ha="center", fontsize=8, color=RED)
    ink = np.squeeze(digits("test", 1)[0])
    ax.imshow(ink, cmap="gray_r", extent=(0.165, 0.625, -0.24, 0.22), zorder=2)
    width = right + 0.35
    ax.set(xlim=(0, width), ylim=(-1.0, 1.0 if backward else 0.7))
    figure.set_size_inches(width, 2.0 if backward else 1.7)
    ax.axis("off")
    plt.show()


@cache
def _parts_of_the_network() -> tuple[list[list[str]], list[tuple[int, ...]]]:
    """The layers of each arrow, and the shapes from the image to the loss. ReLU shares an arrow."""
    net = minicnn.tutorial_network(fused=False)
    arrows: list[list[str]] = []
    shapes = [net.shapes[0]]
    for layer, shape in zip(net.layers, net.shapes[1:], strict=True):
        if isinstance(layer, minicnn.ReLU):
            arrows[-1].append(layer.name)
        else:
            arrows.append([layer.name])
            shapes.append(shape)
    return [*arrows, ["softmax"], ["loss"]], [*shapes, shapes[-1], ()]


def _draw_numbers(ax: Axes, left: float, shape: tuple[int, ...], colour: str) -> float:
    """Maps as a pile of sheets, a row of numbers as a bar; returns where its right edge is."""
    fill = "#f4d9c0" if colour == RED else "#e6edf3"
    edge = {"fc": fill, "ec": colour, "lw": 1.6 if colour == RED else 0.7}
    if len(shape) < 3:
        height = 0.12 + 0.1 * np.log2(math.prod(shape))
        ax.add_patch(plt.Rectangle((left, -height / 2), 0.1, height, **edge))
        return left + 0.1
    side, sheets = 0.15 + 0.012 * shape[0], 1 + round(np.log2(shape[2]))
    for sheet in reversed(range(sheets)):
        corner = (left + 0.03 * sheet, -side / 2 + 0.02 * sheet - 0.01 * sheets)
        ax.add_patch(plt.Rectangle(corner, side, side, **edge))
    return left + side + 0.03 * (sheets - 1)


# --- pictures that move with a slider ---------------------------------------------------------------


def slider(label: str, values: Sequence[float], draw: Callable[[float], Figure], start: int = 0) -> None:
    """Show `draw(value)` for each of the values, one at a time, with a slider to choose.

    All pictures are drawn now and stored in the notebook, so the slider works on a rendered page, too,
    without a kernel. Where no HTML is shown, there is the picture of `values[start]`.
    """
    from IPython.display import display

    frames = []
    for value in values:
        figure, file = draw(value), io.BytesIO()
        figure.savefig(file, format="png", dpi=80, metadata={"Software": None})
        plt.close(figure)
        frames.append(base64.b64encode(file.getvalue()).decode())
    names = [f"{label} {value:g}" for value in values]
    choose = (
        "const box = this.parentNode, n = this.value;"
        "box.querySelector('img').src = 'data:image/png;base64,' + this.dataset.frames.split(' ')[n];"
        "box.querySelector('output').value = this.dataset.names.split('|')[n]"
    )
    bundle = {
        "text/html": f'''<div><img src="data:image/png;base64,{frames[start]}" alt="{names[start]}"><br>
<input type="range" min="0" max="{len(values) - 1}" value="{start}" style="width: 300px" aria-label="{label}"
data-names="{"|".join(names)}" data-frames="{" ".join(frames)}" oninput="{choose}">
<output>{names[start]}</output></div>''',
        "image/png": frames[start],
        "text/plain": f"{names[start]}; a slider shows {names[0]} to {names[-1]}",
    }
    display(bundle, raw=True)


# --- seeds ----------------------------------------------------------------------------------------

# Student's t: with n seeds the mean lies within t * s / sqrt(n) of the truth, 95 times of 100.
_T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of one number per seed (2 to 10 of them), and the half width of its 95 % interval."""
    values = np.asarray(values, float)
    return float(values.mean()), float(_T95[len(values)] * values.std(ddof=1) / np.sqrt(len(values)))


# --- digits and small networks --------------------------------------------------------------------


@cache
def _mnist() -> Any:
    return minicnn.load_mnist()


def digits(split: str = "test", count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` (or all) images, float32 [N, 28, 28, 1] in 0..1, and labels of a split of MNIST.

    split is "train", "validation" or "test".
    """
    part = getattr(_mnist(), split)
    return to_float(part.images[:count]), part.labels[:count]


def mini_network(
    seed: int = 0,
    filters: tuple[int, int] = (8, 16),
    width: int = 64,
    keep_prob: float = 1.0,
    weights: Initializer | None = None,
    bias: float = 0.1,
    fused: bool = True,
    dtype: type = np.float32,
) -> minicnn.Sequential:
    """The tutorial's network made small: conv5x5x8, pool, conv5x5x16, pool, fc64, fc10.

    54,314 parameters; layers are named as in `minicnn.tutorial_network`. Dropout is left out at keep_prob 1.
    """
    rng = np.random.default_rng(seed)
    common = {"weight_init": weights or truncated_normal(0.1), "bias_init": constant(bias)}
    common |= {"rng": rng, "dtype": dtype}
    layers: list[Any] = []
    for name, C, F in (("conv1", 1, filters[0]), ("conv2", filters[0], filters[1])):
        if fused:
            layers += [minicnn.ConvReLUPool(C, F, name=name, **common)]
        else:
            layers += [minicnn.Conv2D(C, F, name=name, **common)]
            layers += [minicnn.ReLU(name=f"{name}.relu"), minicnn.MaxPool2D(name=f"{name}.pool")]
    layers += [minicnn.Flatten(), minicnn.Dense(7 * 7 * filters[1], width, name="fc1", **common)]
    layers += [minicnn.ReLU()]
    if keep_prob < 1:
        layers += [minicnn.Dropout(keep_prob, rng=rng.spawn(1)[0])]
    layers += [minicnn.Dense(width, 10, name="fc2", **common)]
    return minicnn.Sequential(layers, (28, 28, 1), "mini")


def mlp(
    seed: int = 0,
    width: int = 64,
    relu: bool = True,
    weights: Initializer | None = None,
    bias: float = 0.1,
    dtype: type = np.float32,
) -> minicnn.Sequential:
    """784 pixels, one hidden layer fc1, ten scores fc2; without the ReLU between them if asked."""
    common = {"weight_init": weights or truncated_normal(0.1), "bias_init": constant(bias)}
    common |= {"rng": np.random.default_rng(seed), "dtype": dtype}
    layers: list[Any] = [minicnn.Flatten(), minicnn.Dense(784, width, name="fc1", **common)]
    layers += [minicnn.ReLU()] if relu else []
    layers += [minicnn.Dense(width, 10, name="fc2", **common)]
    return minicnn.Sequential(layers, (28, 28, 1), "mlp")


def train(
    net: minicnn.Sequential,
    steps: int,
    optimizer: Optimizer | None = None,
    reduction: str = "mean",
    batch_size: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Train on shuffled batches of the 55,000 training images; returns the loss of every step.

    Adam at 1e-3 unless another optimizer of this network's parameters is given. `seed` decides the
    order of the images, as in `python -m minicnn`.
    """
    images, labels = _mnist().train.images, _mnist().train.labels
    batches = Batches(len(images), batch_size, seed)
    optimizer = optimizer or minicnn.Adam(net.parameters(), learning_rate=1e-3)
    loss = minicnn.SoftmaxCrossEntropy(reduction)
    losses = np.empty(steps)
    for step in range(steps):
        batch = batches.indices(step)
        x = to_float(images[batch], net.dtype)
        losses[step] = minicnn.train_step(net, loss, optimizer, x, labels[batch])
    return losses


def accuracy(net: minicnn.Sequential, split: str = "test", count: int | None = None) -> float:
    """The share of the first `count` (or all) images of a split that the network gets right, in percent."""
    part = getattr(_mnist(), split)
    guesses = net.predict(part.images[:count]).argmax(axis=1)
    return 100 * float(np.mean(guesses == part.labels[:count]))
