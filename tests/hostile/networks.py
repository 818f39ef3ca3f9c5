"""Hostile safetensors files: networks, checkpoints, weights from PyTorch."""

import hashlib
import json
import os

import numpy as np
from cases import BILLION, CHECKSUMMED, case, content, renamed

from minicnn.storage import limits


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data


def sealed(good, arrays, architecture=None, **texts):
    """A network or checkpoint with a correct digest, as anybody can make it; `arrays`: dtype, shape, data."""
    metadata = {"sha256": "0" * 64} | texts
    if good:
        length = int.from_bytes(good[:8], "little")
        metadata |= {
            k: v for k, v in json.loads(good[8 : 8 + length])["__metadata__"].items() if k != "sha256"
        }
    if architecture is not None:
        metadata["minicnn"] = json.dumps(architecture)
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, value) in arrays.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(value)]}
        data += value
    whole = safetensors_file(header, data)
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def network_of(*layers, input_shape=(28, 28, 1), dtype="float32"):
    return {"name": "network", "input_shape": list(input_shape), "dtype": dtype, "layers": list(layers)}


DENSE = {"type": "Dense", "in_features": 784, "out_features": 10, "name": "fc"}
FLATTEN = {"type": "Flatten", "name": "flatten"}
SOFTMAX = network_of(FLATTEN, DENSE)


def floats(*shape, value=0.0):
    return "F32", list(shape), np.full(shape, value, "<f4").tobytes()


def weights(**changes):
    """The arrays of `SOFTMAX`, as minicnn stores them."""
    return {"fc.weight": floats(784, 10), "fc.bias": floats(10)} | {
        k.replace("_", "."): v for k, v in changes.items()
    }


ARCHITECTURES = {  # with these arrays
    "a dense layer of 20,000 x 20,000": (
        network_of(FLATTEN, DENSE | {"in_features": 20_000, "out_features": 20_000}),
        {},
    ),
    "a convolution of a billion filters": (
        network_of({"type": "Conv2D", "in_channels": 1, "filters": BILLION, "kernel_size": 5, "name": "c"}),
        {"c.weight": ("F32", [5, 5, 1, 0], b""), "c.bias": ("F32", [0], b"")},
    ),
    "no inputs and a billion outputs": (
        network_of(FLATTEN, DENSE | {"in_features": 0, "out_features": BILLION}),
        {"fc.weight": ("F32", [0, BILLION], b""), "fc.bias": ("F32", [0], b"")},
    ),
    "images of a billion rows": (
        network_of({"type": "GlobalAveragePool2D", "name": "g"}, input_shape=[BILLION, BILLION, 1]),
        {},
    ),
    "normalization of a billion channels": (
        network_of({"type": "BatchNorm2D", "channels": BILLION, "name": "n"}),
        {},
    ),
    "an unknown layer": (network_of({"type": "os.system", "name": "touch PWNED"}), {}),
    "settings of another type": (
        network_of({"type": "Dense", "in_features": [[]], "out_features": {}, "name": 3}),
        {},
    ),
    "layers that are no list": (SOFTMAX | {"layers": 7}, {}),
    "nothing that describes a network": ([], {}),
    "a name with escapes": (network_of(FLATTEN, DENSE | {"name": "\x1b[2J\n"}), {}),
}


def sealed_case(name, arrays, architecture=SOFTMAX, kinds=CHECKSUMMED, **more):
    return content(*kinds, **more)(renamed(name, lambda good: sealed(good, arrays, architecture)))


def torch_case(name, arrays, architecture=None, **more):
    def make(good):
        metadata = {} if architecture is None else {"minicnn.architecture": json.dumps(architecture)}
        header, data = {"__metadata__": metadata}, b""
        for key, (dtype, shape, value) in arrays.items():
            header[key] = {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [len(data), len(data) + len(value)],
            }
            data += value
        return safetensors_file(header, data)

    return content("torch", **more)(renamed(name, make))


for what, (described, stored) in ARCHITECTURES.items():
    # Without weights there is nothing too large about images of any size, until there is one.
    by = ["export", "import"] if what == "images of a billion rows" else []
    sealed_case(what, stored, described, kinds=["network"], read_by=by)
    sealed_case(what, stored, described, kinds=["checkpoint"], read_by=by)
    torch_case(what, stored, described, read_by=by)
MANY = [
    {"type": "ReLU", "name": f"r{number}"} for number in range(3_000)
]  # a header may have no more than a MiB
sealed_case("3,000 layers", weights(), network_of(*MANY, FLATTEN, DENSE), kinds=["network"], read_by=[""])
sealed_case("1,000 arrays that belong to no layer", weights() | {f"r{n}.w": floats(1) for n in range(1000)})
sealed_case("a weight that is not a number", weights(fc_bias=floats(10, value=np.nan)))
sealed_case("infinite weights", weights(fc_bias=floats(10, value=np.inf)))
sealed_case(
    "weights that overflow",
    weights(fc_weight=floats(784, 10, value=3e38)),
    kinds=["network"],
    read_by=["export", "evaluate", "train --from", "explore"],
)
sealed_case("weights of bfloat16", weights(fc_bias=("BF16", [10], bytes(20))))
sealed_case("weights of half as many bits", weights(fc_bias=("F16", [10], bytes(20))))
sealed_case("whole numbers for weights", weights(fc_bias=("I32", [10], bytes(40))))
sealed_case("a shape that its bytes do not have", weights(fc_bias=("F32", [1 << 40], bytes(40))))
TORCH = {"fc.weight": floats(10, 784), "fc.bias": floats(10)}
torch_case("3,000 layers", TORCH, network_of(*MANY, FLATTEN, DENSE), read_by=[""])
torch_case("3,000 arrays", {f"{n}.weight": floats(1) for n in range(900)})
torch_case(
    "a weight that is not a number", {"fc.weight": floats(10, 784, value=np.nan), "fc.bias": floats(10)}
)
torch_case("whole numbers for weights", {"fc.weight": ("I8", [10, 784], bytes(7840)), "fc.bias": floats(10)})
torch_case(
    "an output of a billion without inputs", {"fc.weight": ("F32", [BILLION, 0], b""), "fc.bias": floats(10)}
)


def rule_case(name, **changes):
    """A rule for unsure answers that belongs to the run's network, but for what is changed."""
    arrays = {"means": floats(10, 784), "whitening": floats(784, 784), "numbers": numbers(2, 1, 0.1)}
    content("rule")(renamed(name, lambda good: sealed(good, arrays | changes)))


def numbers(*values):
    return "F64", [len(values)], np.array(values, "<f8").tobytes()


rule_case("a rule of four numbers", numbers=numbers(2, 1, 0.1, 0))
rule_case("a temperature of 0", numbers=numbers(2, 0, 0.1))
rule_case("a temperature that is not a number", numbers=numbers(2, np.nan, 0.1))
rule_case("an infinite threshold", numbers=numbers(np.inf, 1, 0.1))
rule_case("a rule for eleven classes", means=floats(11, 784))
rule_case("means that are not numbers", means=floats(10, 784, value=np.nan))
rule_case("a whitening of text", whitening=("U8", [5], b"hello"))


@content(*CHECKSUMMED, "torch")
def a_header_of_two_to_the_63_bytes(good):
    return (1 << 63).to_bytes(8, "little") + good[8:]


@content(*CHECKSUMMED, "torch")
def a_header_of_a_gigabyte_that_is_not_there(good):
    return (1 << 30).to_bytes(8, "little") + good[8:]


@case(*CHECKSUMMED, "torch")
def a_header_of_a_sparse_gigabyte(path, good):
    path.write_bytes((1 << 30).to_bytes(8, "little") + good[8:])
    os.truncate(path, (1 << 30) + 100)


@case(*CHECKSUMMED, "torch")
def as_many_sparse_weights_as_are_read(path, good):
    size = limits.ARRAYS - (1 << 12)
    header = {"__metadata__": {"sha256": "0" * 64, "minicnn": json.dumps(SOFTMAX)}}
    header["fc.weight"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    path.write_bytes(safetensors_file(header))
    os.truncate(path, path.stat().st_size + size)


@content(*CHECKSUMMED, "torch")
def a_header_nested_too_deeply(good):
    return safetensors_file(b'{"__metadata__":' + b"[" * 90_000)


@content(*CHECKSUMMED, "torch")
def an_array_of_a_billion_that_is_not_there(good):
    claim = {"dtype": "F32", "shape": [BILLION], "data_offsets": [0, 4 * BILLION]}
    return safetensors_file({"__metadata__": {"sha256": "0" * 64}, "fc.weight": claim})


@content("network")
def a_network_of_pytorch(good):
    arrays = {"fc.weight": floats(10, 784), "fc.bias": floats(10)}
    return sealed(b"", arrays)


@content("torch")
def already_a_file_of_minicnn(good):
    return sealed(b"", weights(), SOFTMAX)
