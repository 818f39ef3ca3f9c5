"""A checkpoint is whole or refused, and a crash at any moment of a save leaves a whole one."""

import hashlib
import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from minicnn.runs import checkpoint
from minicnn.runs.checkpoint import NEWEST, PREVIOUS, CheckpointError


def arrays_of(step):
    """The state of step `step`: every entry tells the step."""
    rng = np.random.default_rng(0)
    return {
        "conv1.weight": rng.normal(size=(5, 5, 1, 4)).astype(np.float32) + step,
        "adam/m/conv1.weight": np.full((5, 5, 1, 4), step, np.float32),
        "fc.weight": rng.normal(size=(7, 3)) + step,
    }


def save(directory, step):
    checkpoint.save(directory, arrays_of(step), {"step": step, "config": {"seed": 0}})


def no_warning(line):
    pytest.fail(f"unexpected warning: {line}")


def load(directory, warn=no_warning):
    return checkpoint.load(directory, arrays_of(0), warn)


def assert_is_step(found, step):
    assert found.facts["step"] == step
    for name, array in arrays_of(step).items():
        np.testing.assert_array_equal(found.arrays[name], array)


# --- what is saved is what is loaded ---


def test_arrays_and_facts_come_back(tmp_path):
    save(tmp_path, 3)
    found = load(tmp_path)
    assert_is_step(found, 3)
    assert found.facts == {"step": 3, "config": {"seed": 0}}


@pytest.mark.parametrize("view", [np.transpose, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2]])
def test_strided_arrays_come_back(tmp_path, view):
    array = view(np.arange(12, dtype=np.float32).reshape(3, 4))
    checkpoint.save(tmp_path, {"a": array}, {})
    np.testing.assert_array_equal(checkpoint.load(tmp_path, {"a": array}, no_warning).arrays["a"], array)


def test_opens_with_plain_safetensors(tmp_path):
    save(tmp_path, 3)
    arrays = safetensors.numpy.load_file(tmp_path / NEWEST)
    np.testing.assert_array_equal(arrays["conv1.weight"], arrays_of(3)["conv1.weight"])
    with safetensors.safe_open(tmp_path / NEWEST, framework="numpy") as file:
        assert json.loads(file.metadata()["step"]) == 3


def test_opens_with_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    save(tmp_path, 3)
    found = load_file(tmp_path / NEWEST)["conv1.weight"]
    assert torch.equal(found, torch.from_numpy(arrays_of(3)["conv1.weight"]))


def test_the_digest_can_be_checked_by_hand(tmp_path):
    save(tmp_path, 3)
    data = (tmp_path / NEWEST).read_bytes()
    with safetensors.safe_open(tmp_path / NEWEST, framework="numpy") as file:
        digest = file.metadata()["sha256"].encode()
    assert hashlib.sha256(data.replace(digest, b"0" * 64, 1)).hexdigest().encode() == digest


# --- generations ---


def test_the_generation_before_is_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert_is_step(checkpoint.read(tmp_path / NEWEST, arrays_of(0)), 3)
    assert_is_step(checkpoint.read(tmp_path / PREVIOUS, arrays_of(0)), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([NEWEST, PREVIOUS])


def test_a_damaged_newest_falls_back_with_one_warning(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / NEWEST).write_bytes(b"nonsense")
    warnings = []
    found = load(tmp_path, warnings.append)
    assert_is_step(found, 1)
    assert len(warnings) == 1
    assert NEWEST in warnings[0]
    assert PREVIOUS in warnings[0]


def test_a_missing_newest_falls_back(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / NEWEST).unlink()
    assert_is_step(load(tmp_path, lambda line: None), 1)


def test_after_falling_back_the_next_save_keeps_the_whole_one(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / NEWEST).write_bytes(b"nonsense")
    checkpoint.go_back_to(load(tmp_path, lambda line: None).path)
    save(tmp_path, 3)
    assert_is_step(checkpoint.read(tmp_path / PREVIOUS, arrays_of(0)), 1)


def test_two_damaged_generations_are_refused(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    for name in (NEWEST, PREVIOUS):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=NEWEST):
        load(tmp_path)


def test_a_file_system_without_links_keeps_generations_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert_is_step(checkpoint.read(tmp_path / PREVIOUS, arrays_of(0)), 1)
    assert_is_step(load(tmp_path), 2)


# --- bad files ---


def sealed(path, header, payload=b""):
    """A file with any header, and a right digest if the header has a place for one."""
    text = json.dumps(header, separators=(",", ":")).encode()
    data = len(text).to_bytes(8, "little") + text + payload
    path.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1))


@pytest.mark.parametrize(
    ("metadata", "entry"),
    [
        ({"format": "minicnn checkpoint 2"}, {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}),
        ({"format": "minicnn checkpoint 2"}, {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 8]}),
        ({"format": "minicnn checkpoint 2"}, {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}),
        ({"format": "minicnn checkpoint 2"}, {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}),
        ({"format": "minicnn checkpoint 9"}, {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}),
        (
            {"format": "minicnn checkpoint 2", "step": "{"},
            {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        ),
    ],
)
def test_a_forged_file_with_a_right_digest_is_refused(tmp_path, metadata, entry):
    header = {"__metadata__": {**metadata, "sha256": "0" * 64}, "a": entry}
    sealed(tmp_path / NEWEST, header, bytes(8))
    with pytest.raises(CheckpointError):
        checkpoint.read(tmp_path / NEWEST, {"a": np.zeros(2, np.float32)})


def test_an_enormous_file_is_refused_unread(tmp_path):
    with open(tmp_path / NEWEST, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="too large: expected at most"):
        load(tmp_path)


def test_an_enormous_header_is_refused(tmp_path):
    payload = sum(array.nbytes for array in arrays_of(0).values())
    (tmp_path / NEWEST).write_bytes((1 << 62).to_bytes(8, "little") + bytes(payload + 100))
    with pytest.raises(CheckpointError, match="header"):
        load(tmp_path)


def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / NEWEST)
    with pytest.raises(CheckpointError, match="regular file"):
        load(tmp_path)


def test_another_network_is_refused_by_name(tmp_path):
    arrays = arrays_of(1)
    arrays["conv2.weight"] = arrays.pop("conv1.weight")
    checkpoint.save(tmp_path, arrays, {})
    with pytest.raises(CheckpointError, match=r"conv1\.weight"):
        load(tmp_path)


def test_a_checkpoint_computes_the_same_in_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from minicnn import tutorial_network

    net = tutorial_network(seed=1, ops="reference")
    checkpoint.save(tmp_path, {p.name: p.value for p in net.parameters()}, {})
    images = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)

    w = load_file(tmp_path / NEWEST)
    F = torch.nn.functional
    x = torch.from_numpy(images).permute(0, 3, 1, 2)  # [N, H, W, C] -> [N, C, H, W]
    for name in ("conv1", "conv2"):
        weight = w[f"{name}.weight"].permute(3, 2, 0, 1)  # [kh, kw, C, F] -> [F, C, kh, kw]
        x = F.max_pool2d(F.relu(F.conv2d(x, weight, w[f"{name}.bias"], padding=2)), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)  # rows, columns, channels
    x = F.relu(x @ w["fc1.weight"] + w["fc1.bias"])  # [D, F], as it is
    probabilities = F.softmax(x @ w["fc2.weight"] + w["fc2.bias"], dim=1)
    np.testing.assert_allclose(probabilities.numpy(), net.predict(images), rtol=1e-4, atol=1e-6)
