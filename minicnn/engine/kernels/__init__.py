"""The engine: Numba twins of `minicnn.engine.reference`, same names, same signatures, same results.

Each takes one argument more: `workspace`, the memory to compute in (`minicnn/engine/workspace.py`).

Where to look for an operation. Speeds are those of the tutorial's network, batch 50, float32, two cores with
AVX-512, in GFLOP/s as if nothing were skipped; their peak is 202 (benchmarks/RESULTS.md).

    conv_relu_pool.py           patches read where they lie, pooled at once         conv2 forward: 202
      winograd.py               36 products where the definition has 100            conv2 forward: 337
      conv_relu_pool_backward.py    sums over the gradients that are not zero       conv2 backward: 520
      one_channel.py            the same for images of one channel
    convolution.py              im2col, then matmul: the textbook's way             conv2 forward: 147
    dense.py                    matmul, or by lists of nonzeros
      sparse.py                 those lists; Adam along a product never stored
    shards.py                   the sum of a batch's gradients, in a tree
    pooling.py  average_pooling.py  normalization.py  elementwise.py  updates.py  loss.py  warp.py
                                plain loops that wait for memory

What they are made of, from the bottom:

    vector.py     vector instructions, which Numba has no words for
    tile.py       the register tile, the innermost loop of every product: an essay, read it first
    matmul.py     blocks and packed panels around the tile
    expect.py     checks of arguments

And what compiles and runs them:

    environment.py    Numba itself, with its settings
    jit.py        @kernel and @helper; the lock, and what to do after a fork
    cache.py      where machine code is kept
    threads.py    how many threads, how long they spin, where they stay
    dry_run.py    which kernels a step would compile, and who is told that one is compiled

Names: N images, H rows, W columns, C channels, F filters; Ho, Wo the size of a convolution, Po, Qo that of
the pool behind it; K the length of a product's sums. dx is dL/dx. argmax says which pixel of a pool window
was the largest, 2 * row + column in a window of 2 x 2. "panel": columns of a matrix as wide as a tile, packed
one row after the other.
"""

from minicnn.engine.kernels import environment  # noqa: F401, I001  Numba's settings come first,
from minicnn.engine.kernels import dry_run, threads  # noqa: F401  then, before any kernel, the threads
from minicnn.engine.kernels.average_pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    global_average_pool2d_backward,
    global_average_pool2d_forward,
)
from minicnn.engine.kernels.conv_relu_pool import (
    conv_relu_pool_backward,
    conv_relu_pool_backward_by_shards,
    conv_relu_pool_forward,
)
from minicnn.engine.kernels.convolution import (
    col2im,
    conv2d_backward,
    conv2d_backward_by_shards,
    conv2d_forward,
    im2col,
)
from minicnn.engine.kernels.dense import (
    adam_product_update,
    dense_backward,
    dense_forward,
    dense_weight_gradient,
)
from minicnn.engine.kernels.elementwise import dropout_backward, dropout_forward, relu_backward, relu_forward
from minicnn.engine.kernels.loss import softmax, softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minicnn.engine.kernels.normalization import batch_norm2d_backward, batch_norm2d_forward
from minicnn.engine.kernels.pooling import max_pool2d_backward, max_pool2d_forward
from minicnn.engine.kernels.shards import tree_sum
from minicnn.engine.kernels.updates import adam_update, average_update, sgd_update
from minicnn.engine.kernels.warp import warp

__all__ = [
    "adam_product_update",
    "adam_update",
    "average_pool2d_backward",
    "average_pool2d_forward",
    "average_update",
    "batch_norm2d_backward",
    "batch_norm2d_forward",
    "col2im",
    "conv2d_backward",
    "conv2d_backward_by_shards",
    "conv2d_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_backward_by_shards",
    "conv_relu_pool_forward",
    "dense_backward",
    "dense_forward",
    "dense_weight_gradient",
    "dropout_backward",
    "dropout_forward",
    "global_average_pool2d_backward",
    "global_average_pool2d_forward",
    "im2col",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "tree_sum",
    "warp",
]
