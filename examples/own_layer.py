"""A layer of your own, checked, saved and loaded: y = x / (1 + exp(-slope * x)), one trained slope a feature.

python examples/own_layer.py
"""

import tempfile
from pathlib import Path

import numpy as np

import minicnn
from minicnn.engine.initializers import constant


@minicnn.register_layer  # so that a network with this layer can be saved, loaded, copied and resumed
class Swish(minicnn.Layer):
    def __init__(self, features, *, name="swish", values=None, rng=None, dtype=np.float32, ops="kernels"):
        super().__init__(name, ops)
        self.features = features
        self.declare(parameters={"slope": ((features,), constant(1))}, values=values, dtype=dtype, rng=rng)

    def settings(self):
        return super().settings() | {"features": self.features}

    def compute(self, ops, x, training):
        (slope,) = self.parameters
        gate = 1 / (1 + np.exp(-slope.value * x))
        return x * gate, (x, gate)

    def differentiate(self, ops, dy, cache, input_gradient):
        (slope,), (x, gate) = self.parameters, cache
        slope.set_gradient((dy * x * x * gate * (1 - gate)).sum(axis=0))
        return dy * gate * (1 + slope.value * x * (1 - gate))


x = np.random.default_rng(0).normal(size=(5, 4))
print(minicnn.gradient_check(Swish(4, dtype=np.float64), x))
minicnn.check_layer(lambda dtype=np.float64: Swish(4, dtype=dtype), x)

network = minicnn.Sequential([Swish(4), minicnn.Dense(4, 2, rng=0)], input_shape=(4,))
with tempfile.TemporaryDirectory() as directory:
    network.save(Path(directory, "network.safetensors"))
    again = minicnn.load_network(Path(directory, "network.safetensors"))
assert np.array_equal(again.forward(x.astype("f")), network.forward(x.astype("f")))
