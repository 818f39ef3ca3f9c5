"""`minicnn gradcheck file.py` and the fixture for pytest: gradients of one's own code, without glue."""

import subprocess
import sys
from pathlib import Path

import pytest

from minicnn.checks.files.guesses import guesses
from minicnn.checks.files.run import check_file, split_target
from minicnn.cli import main

FILE = """
import numpy as np

def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)

def relu(x):
    return np.maximum(x, 0)

def relu_backward(dy, x):
    return dy * (x > 0)

def mse_loss(pred, y):
    d = pred - y
    return np.mean(d**2), 2 * d / d.size

class Dense:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.ones((n_in, n_out)), np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T

class Net:
    def __init__(self, inputs=12):
        self.params = {"W": np.ones((inputs, 3))}

    def loss(self, X, y=None):
        scores = X @ self.params["W"]
        if y is None:
            return scores
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        return -np.log(p[np.arange(len(y)), y]).sum(), {"W": X.T @ d}

def embedding_forward(x, W):
    return W[x], (x, W.shape)

def embedding_backward(dout, cache):
    dW = np.zeros(cache[1])
    np.add.at(dW, cache[0], dout)
    return dW

layer = Dense(7, 2)
"""
NAMES = ["affine_forward", "relu", "mse_loss", "Dense", "Net", "embedding_forward", "layer"]
STRANGE = """
def warp_forward(field, amount):
    return field * amount, amount

def warp_backward(dy, amount):
    return dy * amount
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="layers.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return written


def test_pairs_losses_classes_and_objects_are_found_and_checked(write, capsys):
    assert check_file(write(FILE))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("running ")
    assert [line.split()[0] for line in out[2:-2]] == NAMES
    assert all(line.endswith(" ok") for line in out[2:-2])
    assert out[-1] == "gradients right in 7 of 7 checks (seed 0)"


def test_a_wrong_gradient_ends_with_1_and_its_diagnosis(write, capsys):
    path = write(FILE.replace("return dout @ w.T, x.T @ dout,", "return dout @ w.T, 4 * x.T @ dout,"))
    assert main(["gradcheck", path]) == 1
    out = capsys.readouterr().out
    assert "your dw equals 4 times the true one, everywhere: a missing 1/N? (N = 4)" in out
    assert "called with rows: x [4, 5], w [5, 3], b [3]; if it is not meant for these, state arguments" in out
    assert out.endswith("gradients right in 6 of 7 checks (seed 0)\n")


@pytest.mark.parametrize("name", ["affine", "affine_forward", "Dense"])
def test_one_name_of_a_file_can_be_chosen(name, write, capsys):
    assert main(["gradcheck", f"{write(FILE)}:{name}"]) == 0
    assert capsys.readouterr().out.endswith("gradients right in 1 of 1 checks (seed 0)\n")


def test_what_cannot_be_called_is_not_called_right_and_the_line_to_write_is_shown(write, capsys):
    path = write(STRANGE)
    assert main(["gradcheck", path]) == 1
    out = capsys.readouterr().out
    assert "not checked" in out
    assert "what is field?" in out
    assert '    gradcheck_examples = {"warp_forward": lambda rng: (' in out


def test_a_file_may_state_its_arguments(write, capsys):
    stated = 'gradcheck_examples = {"warp_forward": lambda rng: (rng.normal(size=(4, 5)), 3.0)}\n'
    assert main(["gradcheck", write(STRANGE + stated)]) == 0
    assert "as stated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("x = 1", [], "found no pairs of functions"),
        ("1 / 0", [], "failed: ZeroDivisionError: division by zero"),
        (
            FILE,
            [":lstm"],
            "expected one of affine_forward, relu, mse_loss, Dense, Net, embedding_forward, layer, got",
        ),
    ],
)
def test_what_cannot_be_checked_ends_in_one_line(text, arguments, message, write, capsys):
    assert main(["gradcheck", "".join([write(text), *arguments])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minicnn: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_file_that_is_not_there_ends_in_one_line(tmp_path, capsys):
    assert main(["gradcheck", str(tmp_path / "none.py")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_layer_and_a_file_exclude_each_other(write, capsys):
    assert main(["gradcheck", write(FILE), "--layer", "ReLU"]) == 2
    assert "write file.py:NAME" in capsys.readouterr().err


def test_a_target_is_split_at_its_last_colon():
    assert [str(part) for part in split_target("a/b.py:relu")] == ["a/b.py", "relu"]
    assert split_target("a:b/c.py")[1] is None


def test_images_are_guessed_for_convolutions():
    family, arguments = next(guesses(lambda x, w, b, conv_param: 0, "conv_forward", _rng()))
    assert family == "images, channels first"
    assert [a.ndim for a in arguments[:3]] == [4, 4, 1]


def _rng():
    import numpy as np

    return np.random.default_rng(0)


@pytest.mark.long
def test_an_assignment_is_checked_without_a_line_of_glue(capsys):
    assert check_file(str(Path(__file__).with_name("assignment.py")))
    assert capsys.readouterr().out.endswith("gradients right in 13 of 13 checks (seed 0)\n")


# --- the fixture for pytest ----------------------------------------------------------------------

TESTS = """
import sys
import numpy as np
import pytest

if "numpy" in sys.modules and "minicnn.checks.gradcheck" in sys.modules:
    raise RuntimeError("imported before a test asks for it")

def square(x):
    return x**2

def backward(dy, x):
    return FACTOR * x * dy

FACTOR = 2
x = np.array([0.5, -1.0])

def test_right(gradient_check):
    assert gradient_check((square, backward), x).ok

@pytest.mark.gradient_check(seeds=3, tolerance=0.7)
def test_options(gradient_check):
    global FACTOR
    FACTOR = 3
    try:
        gradient_check((square, backward), x)
    finally:
        FACTOR = 2

def test_wrong(gradient_check):
    gradient_check((square, lambda dy, x: 3 * x * dy), x)
"""


def test_the_fixture_and_the_marker_work_and_nothing_is_imported_before(write, tmp_path):
    write(TESTS, "test_theirs.py")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "2 passed" in result.stdout
    assert "1 failed" in result.stdout
    assert "FAILED test_theirs.py::test_wrong" in result.stdout
    assert "WRONG: backward is not the derivative of forward for x" in result.stdout
    assert "your dx equals 1.5 times the true one" in result.stdout


def test_the_plugin_loads_nothing_heavy():
    code = "import sys, minicnn.checks.pytest_plugin; print('numpy' in sys.modules, 'numba' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
