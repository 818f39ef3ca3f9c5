"""What decides a run: a recipe, and which network on which data from which seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from minicnn.engine.arguments import is_finite
from minicnn.tutorial import INITIALIZATIONS, RECIPES, SOFTMAX_RECIPE, Recipe

CHOICES: dict[str, tuple[str, ...]] = {
    "model": ("cnn", "softmax"),
    "recipe": tuple(RECIPES),
    "ops": ("kernels", "reference"),
    "optimizer": ("adam", "sgd"),
    "reduction": ("sum", "mean"),
    "init": tuple(INITIALIZATIONS),
    "schedule": ("constant", "linear", "cosine"),
}
RANGES = {
    "steps": (1, 10**9), "batch_size": (1, 10_000), "log_every": (1, 10**9), "seed": (0, 2**32 - 1),
    "shards": (1, 1024),
}  # fmt: skip
BELOW = {  # from 0, and less than this
    "beta2": 1, "weight_decay": 10, "label_smoothing": 1, "warmup": 1, "min_lr_ratio": 1, "ema_decay": 1,
    "shift": 1000, "rotation": 360, "scale": 10, "shear": 10, "elastic": 1000,
}  # fmt: skip


ORIENTATION = ("size", "transpose", "invert")  # how the images of `data` lie: arguments of `load_data`


@dataclass(frozen=True)
class Settings(Recipe):
    """All that decides what a run computes: a recipe, and which network on which data from which seed.

    Raises ValueError, naming the setting, for a value that cannot be used.
    """

    model: str = "cnn"
    recipe: str = "tutorial"
    seed: int = 0
    shards: int = 8  # parts of a batch, whose gradients are summed apart: see minicnn.engine.shards
    plain: bool = False  # convolution, ReLU and pool as three layers
    ops: str = "kernels"
    data: str | None = None  # a path, see `minicnn.load_data`; None is the MNIST that ships with minicnn
    size: int | None = None  # of pictures in folders, in pixels a side
    transpose: bool = False  # rows and columns of the images
    invert: bool = False  # dark and light

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            require(value in allowed, name, f"one of {', '.join(allowed)}", value)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            fits = is_integer(value) and low <= value <= high
            require(fits, name, f"an integer from {low} to {high}", value)
        rate, keep_prob = self.learning_rate, self.keep_prob
        require(is_number(rate) and rate > 0, "learning_rate", "a finite number above 0", rate)
        fits = is_number(keep_prob) and 0 < keep_prob <= 1
        require(fits, "keep_prob", "a number above 0 and at most 1", keep_prob)
        for name, limit in BELOW.items():
            value = getattr(self, name)
            require(is_number(value) and 0 <= value < limit, name, f"a number from 0 to below {limit}", value)
        fits = is_number(self.flags) and 0 <= self.flags <= 1
        require(fits, "flags", "a number from 0 to 1", self.flags)
        for name in ("plain", "transpose", "invert"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, "true or false", value)
        fits = self.size is None or (is_integer(self.size) and 8 <= self.size <= 64)
        require(fits, "size", "an integer from 8 to 64", self.size)
        if self.data is None:
            for name in ORIENTATION:
                value, default = getattr(self, name), getattr(Settings, name)
                require(value == default, name, f"{default} for MNIST, which is built in", value)
        fits = self.data is None or (isinstance(self.data, str) and self.data != "")
        require(fits, "data", "a path", self.data)
        if self.model == "softmax":
            require(keep_prob == 1, "keep_prob", "1 (the softmax model has no dropout)", keep_prob)
            require(self.recipe == "tutorial", "recipe", "tutorial for the softmax model", self.recipe)
            require(not self.plain, "plain", "false (the softmax model has no convolution)", self.plain)


def settings_for(model: str = "cnn", recipe: str = "tutorial", **changes: Any) -> Settings:
    """The settings of a named recipe for a model, with some of them changed.

    Raises ValueError, naming the setting, for a value that cannot be used.
    """
    values = SOFTMAX_RECIPE if model == "softmax" else RECIPES.get(recipe, RECIPES["tutorial"])
    return Settings(**(dataclasses.asdict(values) | {"model": model, "recipe": recipe} | changes))


# What a config.json holds besides the settings.
FACTS = ("minicnn", "data_sha256", "started_from", "found", "split", "classes", "like_mnist")


def from_config(config: dict[str, Any]) -> Settings:
    """The settings in what a config.json holds. Raises ValueError or TypeError for what cannot be used."""
    unknown = set(config) - set(FACTS) - {field.name for field in dataclasses.fields(Settings)}
    if unknown:
        raise ValueError(f"unknown settings, of another version of minicnn: {', '.join(sorted(unknown))}")
    return Settings(**{name: value for name, value in config.items() if name not in FACTS})


def require(fits: bool, name: str, expected: str, value: Any) -> None:
    """Raise a ValueError that names what was expected, unless it fits."""
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def is_integer(value: Any) -> bool:
    """An int, but not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A finite int or float."""
    return (is_integer(value) or isinstance(value, float)) and is_finite(value)
