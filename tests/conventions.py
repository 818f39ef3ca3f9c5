"""Layers as they are found in courses, homework and textbooks, each right.

`RIGHT` has, by name, a function that makes the arguments of `gradient_check`, and the names of the arrays
that must be checked. All are written for here.
"""

import numpy as np


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


LABELS = np.array([1, 0, 2, 2])

# --- pairs of functions --------------------------------------------------------------------------


def affine_forward(x, w, b):
    return x.reshape(len(x), -1) @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(len(x), -1).T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db


def affine_backward_as_dict(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    return {"dw": dw, "db": db, "dx": dx}


def affine_backward_nested(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    return dx, [dw, db]


def affine_backward_in_its_own_order(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    return dw, db, dx


def affine_backward_cache_first(cache, dout):
    return affine_backward(dout, cache)


def affine_backward_keepdims(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    return dx, dw, db[None]


def linear_forward(A, parameters):
    return A @ parameters["W1"] + parameters["b1"], (A, parameters)


def linear_backward(dZ, cache):
    A, parameters = cache
    return {"dA": dZ @ parameters["W1"].T, "dW1": A.T @ dZ, "db1": dZ.sum(axis=0)}


def relu(x):
    return np.maximum(x, 0)


def relu_backward(dy, x):
    return dy * (x > 0)


def sigmoid_backward(dout, out):
    return dout * out * (1 - out)


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


def dropout_forward(x, dropout_param):
    np.random.seed(dropout_param["seed"])
    mask = (np.random.rand(*x.shape) < dropout_param["p"]) / dropout_param["p"]
    return x * mask, mask


def dropout_backward(dout, mask):
    return dout * mask


def random_forward(x, rng):
    mask = rng.random(x.shape) < 0.5
    return x * mask, mask


def masked_forward(x, mask):
    return x * mask, mask


def masked_backward(dy, cache):
    return dy * cache


def batchnorm_forward(x, gamma, beta, bn_param):
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = 0.9 * bn_param.get("running_mean", 0.0) + 0.1 * mean
    normed = (x - mean) / np.sqrt(var + 1e-5)
    return gamma * normed + beta, (normed, gamma, var)


def batchnorm_backward(dout, cache):
    normed, gamma, var = cache
    dgamma, dbeta = (dout * normed).sum(axis=0), dout.sum(axis=0)
    dx = gamma / np.sqrt(var + 1e-5) * (dout - dbeta / len(dout) - normed * dgamma / len(dout))
    return dx, dgamma, dbeta


def step_forward(x, prev_h, prev_c, Wx):
    gate = sigmoid(x @ Wx + prev_h)
    next_c = prev_c * gate
    next_h = np.tanh(next_c)
    return next_h, next_c, (x, prev_c, Wx, gate, next_h)


def step_backward(dnext_h, dnext_c, cache):
    x, prev_c, Wx, gate, next_h = cache
    dc = dnext_c + dnext_h * (1 - next_h**2)
    dz = dc * prev_c * gate * (1 - gate)
    return dz @ Wx.T, dz, dc * gate, x.T @ dz


def step_forward_as_pair(x, prev_h, prev_c, Wx):
    h, c, cache = step_forward(x, prev_h, prev_c, Wx)
    return (h, c), cache


# --- losses --------------------------------------------------------------------------------------


def softmax_loss(x, y):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), y]).mean()
    dx = p.copy()
    dx[np.arange(len(x)), y] -= 1
    return loss, dx / len(x)


def regression_loss(W, X, y, reg):
    error = X @ W - y
    dW = X.T @ error / len(X) + 2 * reg * W
    return (error**2).mean() / 2 + reg * (W**2).sum(), dW


class MeanSquares:
    def loss(self, predicted, actual):
        return float(((predicted - actual) ** 2).sum())

    def grad(self, predicted, actual):
        return 2 * (predicted - actual)


class SquaresOfForward:
    def forward(self, y_pred, y_true):
        return ((y_pred - y_true) ** 2).mean()

    def backward(self, y_pred, y_true):
        return 2 * (y_pred - y_true) / y_pred.size


class CrossEntropyOfProbabilities:
    """Its forward gives a loss for each sample, which is not what backward is the gradient of."""

    def forward(self, probabilities, y_true):
        return -np.log(probabilities[np.arange(len(y_true)), y_true])

    def calculate(self, probabilities, y_true):
        return self.forward(probabilities, y_true).mean()

    def backward(self, dvalues, y_true):
        self.dinputs = np.zeros_like(dvalues)
        rows = np.arange(len(y_true))
        self.dinputs[rows, y_true] = -1 / dvalues[rows, y_true] / len(y_true)


class Softplus:
    def forward(self, x):
        return np.log1p(np.exp(x))

    def backward(self, dout, x):
        return dout / (1 + np.exp(-x))


class TwoLayers:
    """loss returns grads as well."""

    def __init__(self, dtype=np.float32):
        self.params = {
            "W1": normal(6, 5).astype(dtype),
            "b1": np.zeros(5, dtype),
            "W2": normal(5, 3).astype(dtype),
        }

    def loss(self, X, y=None):
        h = np.tanh(X @ self.params["W1"] + self.params["b1"])
        scores = h @ self.params["W2"]
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        dh = dscores @ self.params["W2"].T * (1 - h**2)
        return loss, {"W2": h.T @ dscores, "W1": X.T @ dh, "b1": dh.sum(axis=0)}


class WithGradient(TwoLayers):
    """The gradients come from a method of their own."""

    def loss(self, x, t):
        return super().loss(x, t)[0]

    def gradient(self, x, t):
        return TwoLayers.loss(self, x, t)[1]


# --- objects -------------------------------------------------------------------------------------


class Lists:
    """params and grads, two lists; the gradients are written into arrays."""

    def __init__(self, dtype=np.float64):
        self.params = [normal(6, 5).astype(dtype), normal(5).astype(dtype)]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, x):
        W, b = self.params
        self.x = x
        return x @ W + b

    def backward(self, dout):
        self.grads[0][...] = self.x.T @ dout
        self.grads[1][...] = dout.sum(axis=0)
        return dout @ self.params[0].T


class Dicts:
    """params and grads, two dictionaries, the second empty at first."""

    def __init__(self):
        self.params, self.grads = {"w": normal(6, 5), "b": normal(5)}, {}

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.params["w"] + self.params["b"]

    def backward(self, grad):
        self.grads["w"] = self.inputs.T @ grad
        self.grads["b"] = np.sum(grad, axis=0)
        return grad @ self.params["w"].T


class Attributes:
    """W and dW, which is not there before the first backward."""

    def __init__(self):
        self.W, self.b = normal(6, 5), normal(5)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


class Accumulating(Attributes):
    """Gradients are added to, from batch to batch."""

    def __init__(self):
        super().__init__()
        self.grad_W, self.grad_b = np.ones((6, 5)), np.ones(5)

    def backward(self, dy):
        self.grad_W += self.x.T @ dy
        self.grad_b += dy.sum(axis=0)
        return dy @ self.W.T


class InAttributes:
    """Nothing is returned: results are left in attributes."""

    def __init__(self):
        self.weights, self.biases = normal(6, 5), normal(1, 5)

    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues @ self.weights.T


class Moving:
    """backward is given a learning rate, and moves the parameters at once."""

    def __init__(self):
        self.weights, self.bias = normal(6, 5), normal(1, 5)

    def forward(self, x):
        self.x = x
        return x @ self.weights + self.bias

    def backward(self, output_gradient, learning_rate):
        dx = output_gradient @ self.weights.T
        self.weights -= learning_rate * self.x.T @ output_gradient
        self.bias = self.bias - learning_rate * output_gradient.sum(axis=0, keepdims=True)
        return dx


class Created(Attributes):
    """Parameters are made at the first forward."""

    def __init__(self):
        self.W = None

    def forward(self, x):
        if self.W is None:
            self.W, self.b = np.random.randn(x.shape[1], 5), np.zeros(5)
        return super().forward(x)


class Returned:
    """y, cache = forward(x), and backward returns the gradients of the parameters, too."""

    def __init__(self):
        self.W, self.b = normal(6, 5), normal(5)

    def forward(self, x):
        return x @ self.W + self.b, x

    def backward(self, dy, cache):
        dW, db = cache.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T, dW, db


class Activation:
    """Nothing to learn; remembers a mask."""

    def __call__(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class Dropout:
    def __init__(self):
        self.rng = np.random.default_rng(3)

    def forward(self, x, train_flg=True):
        self.mask = self.rng.random(x.shape) < 0.5 if train_flg else 1.0
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class Norm:
    """Running averages, with which evaluation normalizes."""

    def __init__(self):
        self.gamma, self.beta = normal(5), normal(5, seed=1)
        self.running_mean, self.running_var = np.zeros(5), np.ones(5)

    def forward(self, x, train=True):
        mean, var = (x.mean(axis=0), x.var(axis=0)) if train else (self.running_mean, self.running_var)
        if train:
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var
        self.train, self.std = train, np.sqrt(var + 1e-5)
        self.normed = (x - mean) / self.std
        return self.gamma * self.normed + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.normed).sum(axis=0), dy.sum(axis=0)
        if not self.train:
            return dy * self.gamma / self.std
        return self.gamma / self.std * (dy - self.dbeta / len(dy) - self.normed * self.dgamma / len(dy))


class Network:
    """A list of layers, each with its own way."""

    def __init__(self):
        self.layers = [Attributes(), Activation(), Lists()]
        self.layers[2].params = [normal(5, 3), normal(3)]
        self.layers[2].grads = [np.zeros((5, 3)), np.zeros(3)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x) if hasattr(layer, "forward") else layer(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class Param:
    def __init__(self, data):
        self.data, self.grad = data, np.zeros_like(data)


class WithParams(Attributes):
    """Parameters are objects with data and grad."""

    def __init__(self):
        self.W, self.b = Param(normal(6, 5)), Param(normal(5))
        self.params = [self.W, self.b]

    def forward(self, x):
        self.x = x
        return x @ self.W.data + self.b.data

    def backward(self, dy):
        self.W.grad = self.x.T @ dy
        self.b.grad = dy.sum(axis=0)
        return dy @ self.W.data.T


X, W, B = normal(4, 6), normal(6, 5), normal(5)
IMAGES, STEP = normal(4, 2, 3), (normal(4, 3), normal(4, 5), normal(4, 5, seed=1), normal(3, 5))
RIGHT = {
    "a pair": (lambda: ((affine_forward, affine_backward), IMAGES, W, B), ["x", "w", "b"]),
    "a dictionary of gradients": (
        lambda: ((affine_forward, affine_backward_as_dict), X, W, B),
        ["x", "w", "b"],
    ),
    "nested gradients": (lambda: ((affine_forward, affine_backward_nested), X, W, B), ["x", "w", "b"]),
    "another order": (lambda: ((affine_forward, affine_backward_in_its_own_order), X, W, B), ["x", "w", "b"]),
    "the cache first": (lambda: ((affine_forward, affine_backward_cache_first), X, W, B), ["x", "w", "b"]),
    "gradients with keepdims": (
        lambda: ((affine_forward, affine_backward_keepdims), X, W, B),
        ["x", "w", "b"],
    ),
    "a dictionary of parameters": (
        lambda: ((linear_forward, linear_backward), X, {"W1": W, "b1": B}),
        ["A", "W1", "b1"],
    ),
    "no cache but the input": (lambda: ((relu, relu_backward), X), ["x"]),
    "no cache but the output": (lambda: ((sigmoid, sigmoid_backward), X), ["x"]),
    "a derivative": (lambda: ((sigmoid, sigmoid_prime), X), ["x"]),
    "settings in a dictionary": (
        lambda: ((dropout_forward, dropout_backward), X, {"p": 0.5, "seed": 7}),
        ["x"],
    ),
    "a generator as argument": (
        lambda: ((random_forward, dropout_backward), X, np.random.default_rng(0)),
        ["x"],
    ),
    "a mask of floats": (lambda: ((masked_forward, masked_backward), X, (X > 0) * 1.0), ["x"]),
    "running averages in an argument": (
        lambda: (
            (batchnorm_forward, batchnorm_backward),
            X,
            B[:1] + np.ones(6),
            np.zeros(6),
            {"mode": "train"},
        ),
        ["x", "gamma", "beta"],
    ),
    "two outputs": (lambda: ((step_forward, step_backward), *STEP), ["x", "prev_h", "prev_c", "Wx"]),
    "two outputs in a tuple": (
        lambda: ((step_forward_as_pair, step_backward), *STEP),
        ["x", "prev_h", "prev_c", "Wx"],
    ),
    "a loss with its gradient": (lambda: (softmax_loss, X[:, :3], LABELS), ["x"]),
    "a loss object": (lambda: (MeanSquares(), X, X**2), ["predicted"]),
    "a loss object with forward": (lambda: (SquaresOfForward(), X, X**2), ["y_pred"]),
    "the input as an argument of backward": (lambda: (Softplus(), X), ["x"]),
    "a network with a loss": (lambda: (TwoLayers(), X, LABELS), ["W1", "b1", "W2"]),
    "a network with loss and gradient": (lambda: (WithGradient(), X, LABELS), ["W1", "b1", "W2"]),
    "params and grads as lists": (lambda: (Lists(), X), ["x", "params[0]", "params[1]"]),
    "float32 parameters": (lambda: (Lists(np.float32), X), ["x", "params[0]", "params[1]"]),
    "params and grads as dictionaries": (lambda: (Dicts(), X), ["inputs", "w", "b"]),
    "attributes": (lambda: (Attributes(), X), ["x", "W", "b"]),
    "gradients that add up": (lambda: (Accumulating(), X), ["x", "W", "b"]),
    "results in attributes": (lambda: (InAttributes(), X), ["inputs", "weights", "biases"]),
    "a step inside backward": (lambda: (Moving(), X), ["x", "weights", "bias"]),
    "parameters made later": (lambda: (Created(), X), ["x", "W", "b"]),
    "gradients returned": (lambda: (Returned(), X), ["x", "W", "b"]),
    "bound methods": (lambda: ((Attributes().forward, Attributes().backward), X), ["x", "W", "b"]),
    "an activation": (lambda: (Activation(), X), ["x"]),
    "dropout with a flag": (lambda: (Dropout(), X), ["x"]),
    "running averages": (lambda: (Norm(), X[:, :5]), ["x", "gamma", "beta"]),
    "a list of layers": (
        lambda: (Network(), X),
        ["x", "layers[0].W", "layers[0].b", "layers[2].params[0]", "layers[2].params[1]"],
    ),
    "parameter objects": (lambda: (WithParams(), X), ["x", "parameter 0", "parameter 1"]),
}


def bound():
    layer = Attributes()
    return (layer.forward, layer.backward), X


def bound_loss():
    loss = CrossEntropyOfProbabilities()
    return (loss.calculate, loss.backward), sigmoid(X[:, :3]), LABELS


RIGHT["bound methods"] = bound, ["x", "W", "b"]
RIGHT["bound methods of a loss"] = bound_loss, ["probabilities"]
