"""The reference without BLAS: another product of matrices, the same results."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import BUILDERS, OPS, assert_equal, cases, run, stem

from minicnn.engine import reference
from minicnn.engine.without_blas import operations

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", [name for name in OPS if stem(name) in BUILDERS])
@given(data=st.data())
def test_results_are_those_of_the_reference(name, data):
    case = data.draw(cases(name, np.float64))
    actual, expected = (run(ops, name, case.args) for ops in (operations, reference))
    assert_equal(actual, expected, np.float64, case.length)


def test_the_product_is_written_where_it_is_wanted():
    out = np.empty((2, 4))
    assert operations.dense_weight_gradient(np.ones((3, 2)), np.ones((3, 4)), out) is out
    assert (out == 3).all()


def test_no_product_is_left_to_numpy(monkeypatch):
    shapes = []

    def noted(a, b, out=None):
        shapes.append(b.shape)
        return np.matmul(a, b, out=out)

    monkeypatch.setattr(operations, "product", noted)
    x, w, b = np.ones((2, 4, 4, 3)), np.ones((3, 3, 3, 5)), np.ones(5)
    y, cache = operations.conv2d_forward(x, w, b)
    operations.conv2d_backward(y, cache)
    y, cache = operations.dense_forward(x.reshape(2, 48), np.ones((48, 6)), np.ones(6))
    operations.dense_backward(y, cache)
    assert shapes == [(27, 5), (32, 5), (5, 27), (48, 6), (2, 6), (6, 48)]


@pytest.mark.parametrize(("start", "uses_it"), [("import emscripten", True), ("", False)])
def test_it_is_used_in_a_browser_alone(start, uses_it):
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
{start}
from minicnn.engine.ops import find_ops
print("product" in find_ops("reference").dense_forward.__code__.co_names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{uses_it}\n"
