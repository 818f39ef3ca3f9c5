"""Large files: photographs of today's telephones are read in little memory, and a signal ends any reading."""

import os
import signal
import time

import matrix
import networks
import pixels
import pytest
from runs import exit_code, new_process, start_child

from minicnn import cli
from minicnn.data import idx
from minicnn.storage import checksummed

PHOTOGRAPH = """
import resource, sys
from PIL import Image, ImageDraw
from minicnn.data.photo import preprocess
kind, mode, W, H = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
paper = Image.new(mode, (W, H), "white")
ImageDraw.Draw(paper).line((0.5 * W, 0.2 * H, 0.45 * W, 0.8 * H), fill="black", width=W // 20)
paper.save("photograph", format=kind.split()[0], progressive="progressive" in kind)
del paper
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
image = preprocess("photograph").image
assert image.max() == 255 and 6 < (image > 0).sum(axis=0).argmax() < 21
"""


@pytest.mark.parametrize(
    ("kind", "mode", "size"),
    [
        ("JPEG", "L", (12_000, 9_000)),  # 108 megapixels
        ("PNG", "L", (9_000, 7_000)),
        pytest.param("JPEG", "RGB", (12_000, 9_000), marks=pytest.mark.long),
        pytest.param("JPEG progressive", "RGB", (12_000, 9_000), marks=pytest.mark.long),
        pytest.param("PNG", "RGBA", (9_400, 9_400), marks=pytest.mark.long),
        pytest.param("TIFF", "RGB", (6_000, 6_000), marks=pytest.mark.long),
    ],
)
def test_a_photograph_of_many_pixels_is_read_in_a_gigabyte(tmp_path, kind, mode, size):
    arguments = [kind, mode, *map(str, size)]
    code = f"import sys; sys.argv[1:] = {arguments}\n{PHOTOGRAPH}"
    done = new_process(code, directory=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("reader", "place", "make"),
    [
        (checksummed, "network.safetensors", networks.as_many_sparse_weights_as_are_read),
        (idx, "data/t10k-images-idx3-ubyte", pixels.as_many_sparse_values_as_are_read),
    ],
    ids=["network", "data set"],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_sigterm_ends_the_reading_of_a_large_file(tmp_path, monkeypatch, reader, place, make):
    matrix.make_good_files(tmp_path)
    make(tmp_path / place, b"")
    monkeypatch.chdir(tmp_path)
    opened, said = os.pipe()

    def open_and_say(path, limit, original=reader.open_regular):
        if str(path).endswith(place):
            os.write(said, b".")
        return original(path, limit)

    monkeypatch.setattr(reader, "open_regular", open_and_say)
    child = start_child(lambda: cli.main(["evaluate", "network.safetensors", "--data", "data"]))
    os.close(said)
    assert os.read(opened, 1) == b"."
    began = time.monotonic()
    os.kill(child, signal.SIGTERM)
    assert exit_code(child) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 10
    os.close(opened)
