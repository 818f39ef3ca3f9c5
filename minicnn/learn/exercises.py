"""The eight exercises, in their order: what each is called, which functions it has, and what checks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minicnn.learn.convolution import check_backward, check_forward, check_im2col
from minicnn.learn.learner import Learner
from minicnn.learn.pointwise import check_dropout, check_pool, check_relu
from minicnn.learn.scores import check_adam, check_loss

FILE = "my_network.py"  # the learner's file
NETWORK = "my_network.safetensors"  # what it trained


@dataclass(frozen=True)
class Exercise:
    """One exercise. `check` raises Wrong or NotStarted; `needs` are exercises whose functions it calls."""

    name: str
    functions: tuple[str, ...]
    check: Callable[[Learner], None]
    needs: tuple[str, ...] = ()


EXERCISES = (
    Exercise("im2col", ("im2col",), check_im2col),
    Exercise("conv_forward", ("conv2d_forward",), check_forward),
    Exercise("conv_backward", ("conv2d_backward",), check_backward, needs=("conv_forward",)),
    Exercise("pool", ("max_pool2d_forward", "max_pool2d_backward"), check_pool),
    Exercise("relu", ("relu_forward", "relu_backward"), check_relu),
    Exercise("dropout", ("dropout_forward", "dropout_backward"), check_dropout),
    Exercise("loss", ("softmax_cross_entropy_forward", "softmax_cross_entropy_backward"), check_loss),
    Exercise("adam", ("adam_update",), check_adam),
)
