"""In what two twins can differ: each difference is one field of `Twin`, with the values to choose from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from minicnn.explore.naive_loss import NaiveCrossEntropy
from minicnn.explore.twins import RELUS, Twin

USUAL = Twin()


@dataclass(frozen=True)
class Difference:
    """One field of `Twin`, and values for it by name, the usual one first; `base` has all other fields."""

    field: str
    values: dict[str, Any]
    base: Twin = USUAL

    def twin(self, name: str) -> Twin:
        """The twin with the value of this name. Raises ValueError for a name that is none of them."""
        if name not in self.values:
            raise ValueError(f"twin: expected one of {', '.join(self.values)}, got {name!r}")
        return replace(self.base, **{self.field: self.values[name]})


SGD = Twin(optimizer="sgd", learning_rate=0.02)

DIFFERENCES: dict[str, Difference] = {
    "bias": Difference("bias", {"tenth": 0.1, "zero": 0.0, "minus3": -3.0}),
    "weights": Difference(
        "weights", {"truncated": "truncated", "he": "he", "equal": "equal", "zero": "zero"}
    ),
    "relu": Difference(
        "without_relu",
        {
            "all": (),
            "conv1": RELUS[:1],
            "conv2": RELUS[1:2],
            "fc1": RELUS[2:],
            "none": RELUS,
        },
    ),
    "optimizer": Difference("optimizer", {"adam": "adam", "sgd": "sgd"}),
    "rate": Difference("learning_rate", {"usual": 1e-3, "low": 1e-4, "high": 1e-2, "higher": 1e-1}),
    "reduction_sgd": Difference("reduction", {"mean": "mean", "sum": "sum"}, SGD),
    "reduction_adam": Difference("reduction", {"mean": "mean", "sum": "sum"}),
    "pixels": Difference("scale", {"one": 1.0, "bytes": 255.0}),
    "keep": Difference("keep_prob", {"nine": 0.9, "one": 0.1}, Twin(keep_prob=0.9)),
    "evaluation": Difference("evaluation_dropout", {"off": False, "on": True}, Twin(keep_prob=0.5)),
    "gradient": Difference(
        "wrong_gradient", {"right": "", "gate": "gate", "bias": "bias", "turned": "turned", "sign": "sign"}
    ),
    "loss": Difference("loss", {"joint": Twin.loss, "naive": NaiveCrossEntropy}, Twin(scale=255.0)),
    "overflow": Difference(
        "without_relu", {"all": (), "none": RELUS}, Twin(optimizer="sgd", learning_rate=0.2)
    ),
}


def twins_of(difference: str, a: str, b: str) -> tuple[Twin, Twin]:
    """Two twins that differ in one field. Raises ValueError for unknown names, and for equal twins."""
    if difference not in DIFFERENCES:
        raise ValueError(f"difference: expected one of {', '.join(DIFFERENCES)}, got {difference!r}")
    twins = DIFFERENCES[difference].twin(a), DIFFERENCES[difference].twin(b)
    if a == b:
        raise ValueError(f"twins: expected two different values of {difference}, got {a!r} twice")
    return twins


def as_facts() -> dict[str, Any]:
    """The names of all differences and their values, as JSON."""
    return {name: list(difference.values) for name, difference in DIFFERENCES.items()}
