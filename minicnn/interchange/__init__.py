"""Weights to and from PyTorch, networks to and from ONNX.

Both put channels first, minicnn puts them last. The arrays are converted on the way, and back:

    images               [N, H, W, C]    become  [N, C, H, W]
    convolution weights  [kh, kw, C, F]  become  [F, C, kh, kw]
    dense weights        [D, F]          become  [F, D]

and the D inputs of a dense layer that follows a Flatten change their order from (row, column,
channel) to (channel, row, column). Parameters keep their names: conv1.weight, ..., fc2.bias. Fused
and plain networks have the same parameters. notebooks/interchange.md shows both directions with code.

Neither needs PyTorch. ONNX needs the package `onnx`: pip install "minicnn[onnx]".
"""

from .normalization import with_normalization
from .onnx import save_onnx, to_onnx
from .onnx_reading import load_onnx
from .torch import from_torch, load_torch, save_torch, to_torch

__all__ = [
    "from_torch",
    "load_onnx",
    "load_torch",
    "save_onnx",
    "save_torch",
    "to_onnx",
    "to_torch",
    "with_normalization",
]
