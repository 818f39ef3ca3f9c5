"""The engine: Numba twins of `minicnn.engine.reference`, same names, same signatures, same results."""

from minicnn.engine.kernels import threads  # noqa: F401  how many there are, and where, is settled before the first kernel
from minicnn.engine.kernels.average_pooling import (
    average_pool2d_backward,
    average_pool2d_forward,
    global_average_pool2d_backward,
    global_average_pool2d_forward,
)
from minicnn.engine.kernels.conv_relu_pool import conv_relu_pool_backward, conv_relu_pool_forward
from minicnn.engine.kernels.convolution import col2im, conv2d_backward, conv2d_forward, im2col
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
    "conv2d_forward",
    "conv_relu_pool_backward",
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
    "warp",
]
