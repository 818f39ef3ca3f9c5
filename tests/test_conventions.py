"""Code of other conventions: recognised, said so, checked, and left as it was."""

import copy
import functools
import subprocess
import sys
import types

import conventions as found
import numpy as np
import pytest
from conventions import RIGHT, X, normal

from minicnn import gradient_check
from minicnn.checks.conventions.memory import Memory, float_arrays

every_convention = pytest.mark.parametrize("name", RIGHT)


@every_convention
def test_right_code_of_any_convention_is_ok_without_a_line_of_glue(name):
    make, names = RIGHT[name]
    report = gradient_check(*make())
    report.assert_ok()
    assert [array.name for array in report.arrays] == names


def spoilt(subject):
    """The subject with gradients that are 0.1 % too large."""
    if isinstance(subject, tuple):
        forward, backward = subject
        if hasattr(forward, "__self__"):
            owner = spoilt(forward.__self__)
            return getattr(owner, forward.__name__), getattr(owner, backward.__name__)
        return (forward, scaled(backward))
    if not hasattr(subject, "backward") and not hasattr(subject, "loss"):
        return lambda x, y: (subject(x, y)[0], 1.001 * subject(x, y)[1])
    for method in "backward", "gradient", "grad":
        if hasattr(subject, method):
            setattr(subject, method, scaled(getattr(subject, method)))
            return subject
    both = subject.loss
    subject.loss = lambda X, y=None: (both(X, y)[0], {k: 1.001 * g for k, g in both(X, y)[1].items()})
    return subject


def scaled(backward):
    """A backward of the same signature whose gradients are 0.1 % too large."""
    if hasattr(backward, "__self__") and backward.__name__ == "backward":  # the results in attributes

        @functools.wraps(backward.__func__)
        def of_larger(self, dy, *arguments, **options):
            return backward(1.001 * dy, *arguments, **options)

        return types.MethodType(of_larger, backward.__self__)

    @functools.wraps(backward)
    def wrong(*arguments, **options):
        return larger(backward(*arguments, **options))

    return wrong


def larger(result):
    if isinstance(result, dict):
        return {key: larger(part) for key, part in result.items()}
    return [larger(part) for part in result] if isinstance(result, tuple | list) else 1.001 * result


@every_convention
def test_a_wrong_factor_is_found_in_any_convention(name):
    make, _ = RIGHT[name]
    subject, *inputs = make()
    assert gradient_check(spoilt(subject), *inputs).wrong


@every_convention
def test_an_object_of_any_convention_is_left_as_it_was(name):
    make, _ = RIGHT[name]
    given, *inputs = make()
    subject = getattr(given[0], "__self__", None) if isinstance(given, tuple) else given
    held = {p: (a, a.copy()) for p, a in float_arrays([subject, inputs]).items()}
    keys = sorted(getattr(subject, "__dict__", {}))
    global_state = np.random.get_state()[1].copy()
    gradient_check(given, *inputs)
    assert sorted(getattr(subject, "__dict__", {})) == keys
    now = float_arrays([subject, inputs])
    assert now.keys() == held.keys()
    for path, (array, numbers) in held.items():
        assert now[path] is array
        np.testing.assert_array_equal(array, numbers)
    np.testing.assert_array_equal(np.random.get_state()[1], global_state)


def notes(*arguments, **options):
    return "\n".join(gradient_check(*arguments, **options).notes)


def test_what_was_guessed_is_said():
    assert "parameters W, b, each with a gradient" in notes(found.Attributes(), X)
    assert "read as: sigmoid_backward(dout, out) with out = the output" in notes(
        (found.sigmoid, found.sigmoid_backward), X
    )
    assert "by the names in `return dw, db, dx`" in notes(
        (found.affine_forward, found.affine_backward_in_its_own_order), X, found.W, found.B
    )
    assert "read as: mask of zeros and ones" in notes(
        (found.masked_forward, found.masked_backward), X, (X > 0) * 1.0
    )
    assert notes((found.affine_forward, found.affine_backward), X, found.W, found.B) == ""


def test_a_gradient_with_an_axis_more_is_compared_and_named():
    report = gradient_check((found.affine_forward, found.affine_backward_keepdims), X, found.W, found.B)
    assert "note: the gradient of b has shape [1, 5], b has [5]" in "\n".join(report.notes)


def test_a_gradient_that_is_forgotten_leaves_the_verdict_open_and_one_line_closes_it():
    arguments = found.regression_loss, found.W[:, 0], X, X[:, 0], 0.1
    report = gradient_check(*arguments)
    assert report.verdict.endswith("if none is meant, state it: constants=('X',)")
    assert not report.ok
    gradient_check(*arguments, constants=("X",)).assert_ok()


def test_an_order_that_cannot_be_told_is_an_error_with_the_line_to_write():
    def strange(delta, flux, x):
        return delta * flux

    with pytest.raises(
        TypeError, match=r"strange: expected .* Write a pair for it: minicnn.gradient_check\(\("
    ):
        gradient_check((found.relu, strange), X)


@pytest.mark.parametrize("subject", [3, np.sin, "layer"])
def test_what_is_no_convention_is_refused_with_the_line_to_write(subject):
    with pytest.raises(TypeError, match=r"gradient_check: expected .* Write a pair for it"):
        gradient_check(subject, X)


def test_a_class_in_place_of_an_object_is_refused():
    with pytest.raises(TypeError, match=r"got the class Attributes; make one: .*Attributes\(...\), x"):
        gradient_check(found.Attributes, X)


def test_random_numbers_that_nobody_can_repeat_are_refused_with_what_to_do():
    class Unseeded:
        def forward(self, x):
            self.mask = np.random.default_rng().random(x.shape) < 0.5
            return x * self.mask

        def backward(self, dy):
            return dy * self.mask

    with pytest.raises(ValueError, match="expected the same output for the same input, .* numpy Generator"):
        gradient_check(Unseeded(), X)


def test_a_step_inside_backward_without_a_learning_rate_is_named():
    class Impatient(found.Attributes):
        def backward(self, dy):
            dx = super().backward(dy)
            self.W -= 0.1 * self.dW
            return dx

    report = gradient_check(Impatient(), X)
    assert report.ok
    assert "backward moves W" in str(report)


def test_evaluation_is_checked_with_the_running_averages_as_constants():
    report = gradient_check(found.Norm(), X[:, :5], training=False)
    report.assert_ok()
    assert [array.name for array in report.arrays] == ["x", "gamma", "beta"]


def test_an_object_that_fails_is_put_back():
    class Failing(found.Attributes):
        def backward(self, dy):
            raise RuntimeError("no")

    layer = Failing()
    before = layer.W.copy()
    with pytest.raises(RuntimeError, match="no"):
        gradient_check(layer, X)
    assert sorted(vars(layer)) == ["W", "b"]
    np.testing.assert_array_equal(layer.W, before)


def test_memory_restores_attributes_containers_arrays_and_generators():
    owner = found.Network()
    owner.rng, owner.names = np.random.default_rng(0), ["a"]
    memory, before = Memory(owner), copy.deepcopy(vars(owner))
    owner.rng.random()
    owner.names.append("b")
    owner.layers[0].W += 1
    owner.layers[0].b = None
    owner.new = 3
    memory.restore()
    assert owner.rng.random() == before["rng"].random()
    assert owner.names == ["a"]
    assert not hasattr(owner, "new")
    np.testing.assert_array_equal(owner.layers[0].W, before["layers"][0].W)
    np.testing.assert_array_equal(owner.layers[0].b, before["layers"][0].b)


# --- frameworks ----------------------------------------------------------------------------------


def test_frameworks_are_not_imported():
    code = f"""
import sys
sys.path.insert(0, {str(found.__file__.rsplit("/", 1)[0])!r})
from conventions import RIGHT
import minicnn
for make, _ in RIGHT.values():
    minicnn.gradient_check(*make())
print(sorted({{"torch", "jax", "tensorflow"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_normal_numbers_differ_by_seed():
    assert not np.array_equal(normal(3), normal(3, seed=1))
