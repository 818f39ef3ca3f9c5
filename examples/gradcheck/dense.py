"""A dense layer whose backward moves its parameters. The mistake: the bias moves by a mean, not a sum.

python examples/gradcheck/dense.py
"""

import numpy as np

import minicnn

rng = np.random.default_rng(0)


class Dense:
    def __init__(self, inputs, outputs):
        self.weights, self.bias = rng.normal(size=(inputs, outputs)), np.zeros((1, outputs))

    def forward(self, x):
        self.x = x
        return x @ self.weights + self.bias

    def backward(self, output_gradient, learning_rate):
        input_gradient = output_gradient @ self.weights.T
        self.weights -= learning_rate * self.x.T @ output_gradient
        self.bias -= learning_rate * self.sum(output_gradient)
        return input_gradient

    def sum(self, dy):
        return dy.sum(axis=0, keepdims=True)


class MeanOfTheBias(Dense):
    def sum(self, dy):
        return dy.mean(axis=0, keepdims=True)


x = rng.normal(size=(6, 5))
print(minicnn.gradient_check(Dense(5, 3), x))
print(minicnn.gradient_check(MeanOfTheBias(5, 3), x))
