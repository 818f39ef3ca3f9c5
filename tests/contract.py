"""The contract of a layer: promises that hold for every layer, each a function of `make` and a batch.

`make(dtype)` returns a new layer, always with the same weights; `x` is a batch of 3 in float64. `check_layer`
runs them all. Layers enrol by themselves: `enrol` builds one of each class that a package exports, from
the names of its constructor's arguments.
"""

import copy
import inspect

import numpy as np

ARGUMENTS = {
    "in_channels": 2,
    "filters": 3,
    "kernel_size": (3, 2),
    "stride": 2,
    "in_features": 6,
    "out_features": 4,
}
INPUTS = [(6, 5, 2), (6,)]  # of one image or row: the first that a layer takes
PROMISES = []


def promise(check):
    PROMISES.append(check)
    return check


def check_layer(make, x):
    for check in PROMISES:
        check(make, x)


def enrol(layers):
    """The exported layer classes by name: `layers` is minicnn.engine.layers, or a copy of it."""
    exported = {name: getattr(layers, name) for name in layers.__all__}
    return {
        name: kind
        for name, kind in exported.items()
        if inspect.isclass(kind) and issubclass(kind, layers.Layer) and kind is not layers.Layer
    }


def maker(kind, ops):
    """A function that builds a layer of this class for a dtype, and a batch that fits."""
    signature = inspect.signature(kind).parameters.values()
    unknown = {p.name for p in signature if p.default is p.empty} - set(ARGUMENTS)
    assert not unknown, f"{kind.__name__}: say in ARGUMENTS what to pass as {unknown}"
    settings = {p.name: ARGUMENTS[p.name] for p in signature if p.name in ARGUMENTS}
    knows_dtype = "dtype" in {p.name for p in signature}

    def make(dtype=np.float64):
        return kind(**settings, ops=ops, **({"dtype": dtype} if knows_dtype else {}))

    for shape in INPUTS:
        try:
            make().output_shape(shape)
        except ValueError:
            continue
        return make, separated(3, *shape)
    raise AssertionError(f"{kind.__name__}: takes no input of a shape in INPUTS")


def separated(*shape):
    size = int(np.prod(shape))
    values = np.arange(size) - size // 2 + 0.3
    return (np.random.default_rng(3).permutation(values) * 2 / size).reshape(shape)


# --- helpers -------------------------------------------------------------------------------------


def upstream(y):
    return np.random.default_rng(1).uniform(0.5, 1.5, y.shape).astype(y.dtype)


def results(layer, x):
    """Copies of y, dx and the gradients of a training step."""
    y = layer.forward(x, training=True).copy()
    dx = layer.backward(upstream(y))
    return [y, dx.copy(), *(p.grad.copy() for p in layer.parameters)]


def equal(actual, expected, rtol=0.0):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol)


def raises(error, function, *arguments):
    try:
        function(*arguments)
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, and nothing was raised")


# --- the promises --------------------------------------------------------------------------------


@promise
def shapes_are_as_announced(make, x):
    layer = make()
    y, dx, *grads = results(layer, x)
    assert y.shape == (len(x), *layer.output_shape(x.shape[1:]))
    assert dx.shape == x.shape
    assert [g.shape for g in grads] == [p.value.shape for p in layer.parameters]


@promise
def the_dtype_is_kept(make, x):
    for dtype in np.float32, np.float64:
        layer = make(dtype)
        arrays = [*results(layer, x.astype(dtype)), *(p.value for p in layer.parameters)]
        assert {a.dtype for a in arrays} == {np.dtype(dtype)}


@promise
def arguments_are_not_modified(make, x):
    layer, given = make(), x.copy()
    dy = upstream(layer.forward(given, training=True))
    before = dy.copy()
    weights = [p.value.copy() for p in layer.parameters]
    layer.backward(dy)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(dy, before)
    equal([p.value for p in layer.parameters], weights)


@promise
def any_memory_layout_will_do(make, x):
    expected = results(make(), x)
    for layout in np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]:
        layer = make()
        y = layer.forward(layout(x), training=True).copy()
        dx = layer.backward(layout(upstream(y)))
        equal([y, dx, *(p.grad for p in layer.parameters)], expected, rtol=1e-12)


@promise
def factors_multiply_to_the_gradient(make, x):
    expected = results(make(), x)
    layer = make()
    y = layer.forward(x, training=True).copy()
    dx = layer.backward(upstream(y), factored=True)
    grads = [p.grad if p.factors is None else p.factors[0].T @ p.factors[1] for p in layer.parameters]
    equal([y, dx, *grads], expected, rtol=1e-12)


@promise
def an_image_alone_gives_the_same(make, x):
    together = make().forward(x).copy()
    for n in range(len(x)):
        np.testing.assert_allclose(make().forward(x[n : n + 1]), together[n : n + 1], rtol=1e-12, atol=1e-12)


@promise
def an_empty_batch_is_refused(make, x):
    raises(ValueError, make().forward, x[:0])


@promise
def an_input_of_another_kind_is_refused(make, x):
    raises(TypeError, make().forward, x.astype(np.int64))
    raises(TypeError, make().forward, x.tolist())


@promise
def evaluation_is_deterministic(make, x):
    layer = make()
    first = layer.forward(x).copy()
    results(layer, x)
    np.testing.assert_array_equal(layer.forward(x), first)


@promise
def equal_layers_give_equal_results(make, x):
    """Training too, since the random numbers come from the layer's own generator."""
    equal(results(make(), x), results(make(), x))


@promise
def a_backward_without_its_forward_raises(make, x):
    layer = make()
    dy = upstream(make().forward(x))
    raises(RuntimeError, layer.backward, dy)
    layer.forward(x, training=True)
    layer.backward(dy)
    raises(RuntimeError, layer.backward, dy)
    layer.forward(x, training=True)
    layer.forward(x)
    raises(RuntimeError, layer.backward, dy)


@promise
def a_dy_that_does_not_fit_is_refused(make, x):
    layer = make()
    dy = upstream(layer.forward(x, training=True))
    raises(ValueError, layer.backward, dy[1:])
    raises(ValueError, layer.backward, dy.astype(np.float32))


@promise
def batches_of_any_size_follow_each_other(make, x):
    """A smaller last batch must not see what a larger one left in the buffers."""
    layer = make()
    if hasattr(layer, "rng"):
        layer.forward = lambda x, training, forward=layer.forward: forward(x, False)  # masks differ
    for size in 3, 1, 2, 3:
        fresh = make()
        if hasattr(fresh, "rng"):
            fresh.forward = lambda x, training, forward=fresh.forward: forward(x, False)
        equal(results(layer, x[:size]), results(fresh, x[:size]), rtol=1e-12)


@promise
def gradients_are_overwritten(make, x):
    layer = make()
    expected = results(make(), x)[2:]
    for p in layer.parameters:
        p.grad[...] = np.nan
    equal(results(layer, x)[2:], expected)


@promise
def parameters_survive_the_round_trip(make, x):
    """A layer built from `settings()`, given the values, is the same function."""
    layer = make()
    for p in layer.parameters:
        p.value += 0.125
    settings = copy.deepcopy(layer.settings())
    twin = type(layer)(**settings, **({"dtype": np.float64} if layer.parameters else {}))
    assert [p.name for p in twin.parameters] == [p.name for p in layer.parameters]
    for theirs, ours in zip(twin.parameters, layer.parameters, strict=True):
        theirs.value[...] = ours.value
    twin.use_ops(layer.ops.__name__.split(".")[-1])
    np.testing.assert_array_equal(twin.forward(x).copy(), layer.forward(x))
