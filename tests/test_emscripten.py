"""The reference without a compiler, as in a browser: training, files, the first notebooks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from minicnn.storage import plain_tensors

HERE = Path(__file__).parent
COURSE = HERE.parent / "notebooks"
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def in_a_browser(code, cwd):
    """Run code in a process that resembles one in a browser: see tests/emscripten.py."""
    start = f"import sys\nsys.path[:0] = [{str(HERE)!r}, '']\nimport emscripten\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, cwd=cwd)


def test_training_takes_the_reference_and_says_so(tmp_path):
    code = """
import numpy as np
import minicnn
data, network = minicnn.load_mnist(), minicnn.tutorial_network(seed=0)
batch = minicnn.Loader(data.train, batch_size=4, seed=0)
loss, adam = minicnn.SoftmaxCrossEntropy(), minicnn.Adam(network.parameters(), learning_rate=1e-3)
x, labels = batch(1)
losses = [minicnn.train_step(network, loss, adam, x, labels) for _ in range(4)]
assert losses[-1] < losses[0], losses
minicnn.gradient_check(minicnn.Conv2D(1, 2, 3, rng=0), np.ones((1, 4, 4, 1)) / 3).assert_ok()
network.save("network.safetensors")
again = minicnn.load_network("network.safetensors")
assert np.array_equal(again.predict(data.test.images[:5]), network.predict(data.test.images[:5]))
"""
    done = in_a_browser(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("there is no Numba in a browser: computing with the reference, plain NumPy") == 1


@pytest.mark.long
@pytest.mark.timeout(1200)  # 30 trainings without a compiler
@pytest.mark.parametrize(
    "name", ["00_quickstart", "01_patch_to_features", "02_stride_padding_pooling", "03_shapes"]
)
def test_the_first_notebooks_run(name, tmp_path):
    cells = json.loads((COURSE / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    (tmp_path / "cells.py").write_text(source, encoding="utf-8")
    code = f"sys.path[1:1] = [{str(COURSE)!r}]\nimport cells"
    done = in_a_browser(code, tmp_path)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.sampled_from(DTYPES).flatmap(
            lambda d: arrays_of.arrays(f"<{d}", arrays_of.array_shapes(min_dims=0, min_side=0))
        ),
        max_size=4,
    )
)
def test_arrays_are_read_as_the_package_safetensors_reads_them(arrays):
    data = safetensors.numpy.save(arrays, {"a": "text"})
    found, expected = plain_tensors.load(data), safetensors.numpy.load(data)
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


def file_with(header, content=b"\0" * 8):
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        file_with("[]"),
        file_with("7"),
        file_with("{"),
        file_with("[" * 100_000),
        file_with({}),  # bytes of no array
        file_with({"x": []}),
        file_with({"x": entry(), "y": entry()}),  # two arrays in one place
        file_with({"x": entry(offsets=(4, 12))}),
        file_with({"x": entry(offsets=(0, 7))}),
        file_with({"x": entry(shape=(1 << 40,))}),
        file_with({"x": entry(shape=(-2, -1))}),
        file_with({"x": entry(shape=(2.0,))}),
        file_with({"x": entry(shape="ab")}),
        file_with({"x": entry(dtype="BF16", shape=(4,))}),
        file_with({"x": entry(dtype="F8_E4M3", shape=(8,))}),
        file_with({"x": entry(dtype="F8", shape=(8,))}),
        file_with({"x": entry(dtype="U128", shape=(1,))}),
        file_with({"x": entry(dtype=3)}),
        file_with({"x": entry(offsets=(0.0, 8.0))}),
        file_with({"x": entry(offsets=(0,))}),
        file_with({"x": entry()}, b"\0" * 9),
        file_with({"x": entry()}, b"\0" * 7),
    ],
)
def test_what_is_no_file_of_arrays_is_refused(data):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError, RecursionError)):
        plain_tensors.load(data)
