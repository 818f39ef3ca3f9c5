"""A layer of your own, checked, saved and loaded: y = x / (1 + exp(-slope * x)), with a trained slope.

python examples/own_layer.py
"""

import tempfile

import numpy as np

import minicnn
from minicnn.engine.initializers import constant


@minicnn.register_layer  # so that a network with this layer can be saved, loaded, copied and resumed
class Swish(minicnn.Layer):
    def __init__(self, features, *, name="swish", values=None, dtype=np.float32, ops="kernels"):
        super().__init__(name, ops)
        self.declare({"slope": ((features,), constant(1))}, values=values, dtype=dtype)
        self.features, self.slope = features, self.parameters[0]

    def settings(self):
        return super().settings() | {"features": self.features}

    def compute(self, ops, x, training):
        gate = 1 / (1 + np.exp(-self.slope.value * x))
        return x * gate, (x, gate)

    def differentiate(self, ops, dy, cache, input_gradient):
        x, gate = cache
        self.slope.set_gradient((dy * x * x * gate * (1 - gate)).sum(axis=0))
        return dy * gate * (1 + self.slope.value * x * (1 - gate))


x = np.random.default_rng(0).normal(size=(3, 4))
print(minicnn.gradient_check(Swish(4), x))
minicnn.check_layer(lambda dtype: Swish(4, dtype=dtype), x)  # raises if it breaks the contract
network = minicnn.Sequential([Swish(4), minicnn.Dense(4, 2, rng=0)], input_shape=(4,))
with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
    network.save(file.name)
    assert (minicnn.load_network(file.name).values == network.values).all()
