"""The lines of the reference that compute a kind of number, read from the source itself."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from minicnn.engine import reference

# Each kind of number: the function that computes it, and what the lines begin with that do.
LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "conv2d_forward": ("conv2d_forward", ("cols = im2col(", "y = cols @ w")),
    "dense_forward": ("dense_forward", ("y = x @ w + b",)),
    "relu_forward": ("relu_forward", ("y = np.maximum(x, 0)",)),
    "max_pool2d_forward": ("max_pool2d_forward", ("argmax = windows.argmax(", "y = np.take_along_axis(")),
    "softmax": ("softmax", ("e = np.exp(", "return e / e.sum(")),
    "softmax_cross_entropy_forward": (
        "softmax_cross_entropy_forward",
        ("shifted = logits -", "log_totals = np.log(", "losses = log_totals -"),
    ),
    "softmax_cross_entropy_backward": (
        "softmax_cross_entropy_backward",
        ("dlogits = p -", "dlogits[np.arange(len(p)), labels] -="),
    ),
    "dense_backward.dx": ("dense_backward", ("dx = dy @ w.T",)),
    "dense_backward.dw": ("dense_weight_gradient", ("return np.matmul(x.T, dy",)),
    "dense_backward.db": ("dense_backward", ("db = dy.sum(",)),
    "relu_backward": ("relu_backward", ("return np.where(y > 0, dy, 0)",)),
    "max_pool2d_backward": (
        "max_pool2d_backward",
        ("won = argmax == i * size + j", "padded[:, i : i + stride * Ho"),
    ),
    "conv2d_backward.dx": ("conv2d_backward", ("dcols = dy @ w.", "dx = col2im(")),
    "conv2d_backward.dw": ("conv2d_backward", ("dw = (cols.",)),
    "conv2d_backward.db": ("conv2d_backward", ("db = dy_rows.sum(",)),
}


class Source(NamedTuple):
    """A function of the reference, without its docstring."""

    first: int  # the number of its first line in the file
    lines: list[tuple[int, str, bool]]  # number, text, whether it is one of those that compute the number


def source_of(code: str) -> Source:
    """The function of the reference that computes this kind of number (a key of LINES)."""
    function, starts = LINES[code]
    text, first = inspect.getsourcelines(getattr(reference, function))
    lines, quoted = [], False
    for number, line in enumerate(text, start=first):
        bare = line.strip()
        if quoted or bare.startswith('"""'):  # the docstring, which may end where it begins
            ends = bare.endswith('"""') and (quoted or len(bare) > 3)
            quoted = not ends
            continue
        lines.append((number, line.rstrip("\n"), bare.startswith(starts)))
    while not lines[-1][1].strip():
        lines.pop()
    return Source(first, lines)


def all_sources() -> dict[str, Any]:
    """All of them, as JSON."""
    return {code: {"name": LINES[code][0], **source_of(code)._asdict()} for code in LINES}
