"""Hostile files, made by functions: each claims, hides or lacks something. None has more than 100 kB on the disk.

`CASES` lists them by the kind of file that they stand in for; see `matrix.py` for where each kind is read.
A case is a function that puts something in the place of a good file. `good` are the bytes of that file.
"""

import gzip
import hashlib
import json
import os
import socket
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PICKLE = b"cos\nsystem\n(S'touch PWNED'\ntR."
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
BILLION = 10**9


class Case(NamedTuple):
    """A file, and what must happen: it is refused, unless the name of the row is in `read_by`."""

    name: str
    make: Callable  # (path, good)
    read_by: tuple[str, ...] = ()  # beginnings of rows, "" for all


CASES: dict[str, list[Case]] = {}


def case(*kinds, read_by=()):
    """Enrol a function that makes a file. `read_by`: the rows that read it nevertheless, without error."""

    def enrol(make):
        for kind in kinds:
            by = read_by.get(kind, ()) if isinstance(read_by, dict) else read_by
            CASES.setdefault(kind, []).append(Case(make.__name__.replace("_", " "), make, tuple(by)))
        return make

    return enrol


def content(*kinds, read_by=()):
    """Enrol a function that returns the bytes of a file."""

    def enrol(function):
        def make(path, good):
            path.write_bytes(function(good))

        make.__name__ = function.__name__
        case(*kinds, read_by=read_by)(make)
        return function

    return enrol


CHECKSUMMED = "checkpoint", "previous", "network"
IDX = "images", "labels"
FILES = ("config", "metrics", *CHECKSUMMED, *IDX, "image", "torch", "onnx", "weights")

# A run without a checkpoint is at its beginning; one without metrics, or with damaged ones, goes on.
BEGINNING = {"checkpoint": ["train --resume", "evaluate RUN", "report"], "metrics": ["train --resume"]}
NO_DATA = ["predict", "export"]  # what needs neither the data of a run nor its settings
AS_IS = ["predict FILE --as-is"]
REPAIRED = {"metrics": ["train --resume"]}


# --- in the place of any file ---


@case(*FILES, read_by=BEGINNING)
def nothing(path, good):
    path.unlink()


@case(*FILES, read_by=REPAIRED)
def a_link_to_nothing(path, good):
    path.unlink()
    path.symlink_to("nowhere")


@case(*FILES)
def a_directory(path, good):
    path.unlink()
    path.mkdir()


@case(*FILES)
def a_named_pipe(path, good):
    path.unlink()
    os.mkfifo(path)


@case(*FILES)
def a_link_to_a_named_pipe(path, good):
    path.unlink()
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@case(*FILES)
def a_link_to_an_endless_device(path, good):
    path.unlink()
    path.symlink_to("/dev/zero")


@case(*FILES)
def a_link_to_itself(path, good):
    path.unlink()
    path.symlink_to(path.name)


@case(*FILES)
def a_socket(path, good):
    path.unlink()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    socket.socket(socket.AF_UNIX).bind(path.name)


@case(*FILES)
def five_sparse_gigabytes(path, good):
    with open(path, "wb") as file:
        file.write(good)
        file.truncate(5 << 30)


@content(*FILES, read_by=REPAIRED)
def no_bytes(good):
    return b""


@content(*FILES, read_by=REPAIRED)
def one_byte(good):
    return good[:1]


@content(*FILES, read_by=REPAIRED)
def half_of_it(good):
    return good[: len(good) // 2 + 1]


@content(*FILES, read_by=REPAIRED | {"image": [""], "weights": [""]})
def bytes_after_it(good):
    return good + bytes(range(100))


@content(*FILES, read_by=REPAIRED)
def random_bytes(good):
    return np.random.default_rng(0).bytes(len(good))


@content(*FILES, read_by=REPAIRED)
def zeros(good):
    return bytes(1000)


@content(*FILES, read_by=REPAIRED)
def a_pickle(good):
    return PICKLE


@content(*FILES, read_by=REPAIRED)
def a_web_page(good):
    return HTML


@content(*FILES, read_by=REPAIRED | {kind: [""] for kind in IDX})
def itself_gzipped(good):
    return gzip.compress(good)


# --- config.json ---


def config(name, value, **more):
    return content("config", **more)(
        renamed(name, lambda good: json.dumps(json.loads(good) | value).encode())
    )


def renamed(name, function):
    function.__name__ = name
    return function


config("steps without end", {"steps": 10**400})
config("more steps than a run may have", {"steps": 10**12})
config("an infinite learning rate", {"learning_rate": float("inf")})
config("a learning rate that is text", {"learning_rate": "0.1"})
config("an unknown setting", {"\x1b[31mred": 1})
config("another network than the checkpoint", {"model": "cnn"}, read_by=NO_DATA)
config("data from a device", {"data": "/dev/zero"}, read_by=NO_DATA)
config("data from memory", {"data": "/proc/self"}, read_by=NO_DATA)
config("data with escapes in its name", {"data": "/\x1b[2J\n\u202e"}, read_by=NO_DATA)
config("batches of a billion", {"batch_size": BILLION})


@content("config")
def nested_too_deeply(good):
    return b"[" * 100_000


@content("config")
def a_number_of_a_million_digits(good):
    return good.replace(b'"seed": 0', b'"seed": ' + b"9" * 90_000)


@content("config", read_by=[""])
def blanks_before_it(good):
    return b" " * 50_000 + good


# --- metrics.csv ---


def metrics(name, rows, **more):
    def make(good):
        return good.splitlines()[0] + b"\n" + rows

    return content("metrics", **more)(renamed(name, make))


metrics("a step too large to count", b"99999999999999999999,1,1,1,1\n", read_by=["train --resume"])
metrics("numbers that are not finite", b"1,nan,inf,-inf,1e999\n2,1,1,1,1\n", read_by=[""])
metrics("extreme numbers", b"1,1e308,1e-308,-1e308,1e308\n9223372036854775807,-1e308,1,1,0\n", read_by=[""])
metrics("steps backwards", b"".join(b"%d,1,1,1,1\n" % (-n) for n in range(99)), read_by=[""])
metrics("a line of 90,000 characters", b"1" * 90_000, read_by=["train --resume"])
metrics("90,000 empty lines", b"\n" * 90_000, read_by=["train --resume"])
metrics("escapes", b"\x1b[2J\x1b]0;title\x07,1,1,1,1\n", read_by=["train --resume"])


# --- safetensors: networks, checkpoints, weights from PyTorch ---


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data


def sealed(good, arrays, architecture=None, **texts):
    """A network or checkpoint with a correct digest, as anybody can make it. `arrays`: dtype, shape, bytes."""
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
    "a dense layer of 20,000 x 20,000": (network_of(FLATTEN, DENSE | {"in_features": 20_000, "out_features": 20_000}), {}),
    "a convolution of a billion filters": (
        network_of({"type": "Conv2D", "in_channels": 1, "filters": BILLION, "kernel_size": 5, "name": "c"}),
        {"c.weight": ("F32", [5, 5, 1, 0], b""), "c.bias": ("F32", [0], b"")},
    ),
    "no inputs and a billion outputs": (
        network_of(FLATTEN, DENSE | {"in_features": 0, "out_features": BILLION}),
        {"fc.weight": ("F32", [0, BILLION], b""), "fc.bias": ("F32", [0], b"")},
    ),
    "images of a billion rows": (network_of({"type": "GlobalAveragePool2D", "name": "g"}, input_shape=[BILLION, BILLION, 1]), {}),
    "normalization of a billion channels": (network_of({"type": "BatchNorm2D", "channels": BILLION, "name": "n"}), {}),
    "an unknown layer": (network_of({"type": "os.system", "name": "touch PWNED"}), {}),
    "settings of another type": (network_of({"type": "Dense", "in_features": [[]], "out_features": {}, "name": 3}), {}),
    "layers that are no list": (SOFTMAX | {"layers": 7}, {}),
    "nothing that describes a network": ([], {}),
    "a name with escapes": (network_of(FLATTEN, DENSE | {"name": "\x1b[2J\n"}), {}),
}  # fmt: skip


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
    read_by=["export"],
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
def a_sparse_gigabyte_of_weights(path, good):
    size = (1 << 30) - (1 << 12)
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


# --- ONNX ---


def onnx_case(name, edit, kinds=("onnx",), **more):
    def make(path, good):
        import onnx

        model = onnx.load_model_from_string(good)
        edit(model, onnx)
        path.write_bytes(model.SerializeToString())

    make.__name__ = name
    return case(*kinds, **more)(make)


def tensor(model, name):
    return next(t for t in model.graph.initializer if t.name.endswith(name))


def set_external(tensor, location, **place):
    tensor.data_location = 1
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    for key, value in ({"location": location} | place).items():
        tensor.external_data.add(key=key, value=str(value))


def a_billion_outputs_without_inputs(model, onnx):
    weight = tensor(model, "weight")
    weight.dims[:] = [BILLION, 0]
    weight.raw_data = b""
    del model.graph.node[-1].input[2:]


def other_dims(model, onnx):
    tensor(model, "bias").dims[:] = [1 << 40]


def not_a_number(model, onnx):
    tensor(model, "bias").raw_data = np.full(10, np.nan, np.float32).tobytes()


def many_nodes(model, onnx):
    old = model.graph.node[0]
    previous = old.input[0]
    nodes = []
    for number in range(2_000):
        nodes.append(onnx.helper.make_node("Relu", [previous], [f"x{number}"]))
        previous = f"x{number}"
    nodes += [*model.graph.node]
    nodes[2_000].input[0] = previous
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def a_huge_pool(model, onnx):
    node = onnx.helper.make_node(
        "MaxPool", [model.graph.node[0].input[0]], ["pooled"], kernel_shape=[BILLION] * 2, strides=[1, 1], auto_pad="SAME_UPPER"
    )  # fmt: skip
    model.graph.node[0].input[0] = "pooled"
    model.graph.node.insert(0, node)


def a_constant_in_another_file(model, onnx):
    value = onnx.TensorProto(name="constant", data_type=1, dims=[10])
    set_external(value, "/etc/passwd")
    node = onnx.helper.make_node("Constant", [], ["constant"], value=value)
    model.graph.node.insert(0, node)


onnx_case("a billion outputs without inputs", a_billion_outputs_without_inputs)
onnx_case("a shape that its bytes do not have", other_dims)
onnx_case("a weight that is not a number", not_a_number)
onnx_case("2,000 nodes", many_nodes, read_by=[""])
onnx_case("a pool over a billion pixels", a_huge_pool)
onnx_case("a constant in another file", a_constant_in_another_file)
for place in ("../elsewhere", "/etc/passwd", "/dev/zero", "", ".", "pipe/../x", "a\x00b"):
    onnx_case(
        f"weights in {place!r}", lambda model, onnx, place=place: set_external(tensor(model, "bias"), place)
    )
onnx_case("weights before the beginning", lambda model, onnx: set_external(tensor(model, "bias"), "weights.data", offset=-8), kinds=["weights"])  # fmt: skip
onnx_case("weights of a terabyte", lambda model, onnx: set_external(tensor(model, "bias"), "weights.data", length=1 << 40), kinds=["weights"])  # fmt: skip


@content("onnx")
def the_beginning_of_a_message_repeated(good):
    return b"\x3a\xff\xff\xff\x7f" * 1000


# --- IDX ---


@content(*IDX)
def a_claim_of_all_that_four_bytes_can_say(good):
    return b"\0\0\x08" + good[3:4] + b"\xff" * 4 * good[3] + good[4 + 4 * good[3] :]


@content(*IDX)
def a_claim_of_a_gigabyte(good):
    return b"\0\0\x08\x01" + struct.pack(">I", BILLION) + good


@content(*IDX)
def thirty_two_dimensions(good):
    return b"\0\0\x08\x20" + struct.pack(">32I", *[1] * 32) + b"x"


@content(*IDX)
def no_images(good):
    return b"\0\0\x08" + good[3:4] + bytes(4 * good[3])


@content(*IDX)
def numbers_of_another_type(good):
    return b"\0\0\x0d" + good[3:]


@content(*IDX)
def a_gzip_bomb(good):
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = squeeze.compress(b"\0\0\x08\x01" + struct.pack(">I", 90_000_000))
    for _ in range(90):
        bomb += squeeze.compress(bytes(1_000_000))
    return bomb + squeeze.flush()


@content(*IDX)
def gzip_in_gzip(good):
    return gzip.compress(gzip.compress(good))


@content(*IDX)
def two_gzip_members(good):
    return gzip.compress(good) * 2


@content("labels")
def a_label_of_200(good):
    return good[:-1] + b"\xc8"


# --- images ---


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, colour, *more, data=b"\0" * 99):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def image(name, data, **more):
    return content("image", **more)(renamed(name, lambda good: data() if callable(data) else data))


def jpeg(side, frame=b"\xc2", scan_components=3):
    components = b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    segments = [
        (b"\xdb", bytes(1) + bytes([1] * 64)),
        (frame, struct.pack(">BHHB", 8, side, side, 3) + components),
        (b"\xc4", bytes([0]) + bytes([1] + [0] * 15) + b"\0"),
        (
            b"\xda",
            bytes([scan_components])
            + b"".join(bytes([n + 1, 0]) for n in range(scan_components))
            + b"\0\0\0",
        ),
    ]
    return (
        b"\xff\xd8"
        + b"".join(b"\xff" + k + struct.pack(">H", len(d) + 2) + d for k, d in segments)
        + bytes(50)
        + b"\xff\xd9"
    )


def tiff(side, *tags):
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), *tags]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 8) + bytes(64)


image("a PNG that claims 9,450 x 9,450 in colour", png(9450, 9450, 6))
image("a PNG that claims 12,000 x 12,000 in colour", png(12_000, 12_000, 2))
image("a PNG that claims 9,450 x 9,450 in grey", png(9450, 9450, 0))
image("a PNG that claims 65,000 x 65,000", png(65_000, 65_000, 0))
image(
    "a PNG with a text of 99 MB",
    png(20, 20, 0, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000), 9))),
)
image(
    "a PNG with a profile of 20 MB",
    png(20, 20, 0, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20_000_000), 9))),
)
image("a PNG with too many pixels", png(20, 20, 0, data=bytes(20_000_000)), read_by=AS_IS)
image("a GIF of 43 bytes that claims 9,450 x 9,450", b"GIF89a" + struct.pack("<HHBBB", 9450, 9450, 0x80, 0, 0) + b"\0" * 6 + b"," + struct.pack("<HHHHB", 0, 0, 9450, 9450, 0) + b"\x02\x02\x44\x01\0;")  # fmt: skip
image("a GIF with a frame larger than itself", b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0x80, 0, 0) + b"\0" * 6 + b"," + struct.pack("<HHHHB", 60_000, 60_000, 5000, 5000, 0) + b"\x02\x02\x44\x01\0;")  # fmt: skip
image("a progressive JPEG that claims 13,000 x 13,000", jpeg(13_000))
image("a JPEG with a scan for each colour of 13,000 x 13,000", jpeg(13_000, b"\xc0", scan_components=1))
image("a JPEG whose segment has no length", b"\xff\xd8\xff\xe0\0\0" * 100)
image(
    "a TIFF with a tile of 60,000 x 60,000",
    tiff(20, (322, 4, 60_000), (323, 4, 60_000), (324, 4, 8), (325, 4, 64)),
)
image("a TIFF that claims 60,000 x 60,000", tiff(60_000, (273, 4, 8), (278, 4, 60_000), (279, 4, 64)))
image("a BMP that claims 12,000 x 12,000", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 12_000, 12_000, 1, 32, 0, 0, 0, 0, 0, 0))  # fmt: skip
image("a PPM that claims 12,000 x 12,000", b"P6 12000 12000 255\n" + bytes(99))
image("a PPM of text that claims 9,000 x 9,000", b"P3 9000 9000 255\n" + b"1 " * 99)
image(
    "a WEBP that claims 16,383 x 16,383",
    b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0VP8 \0\0\0\0",
)
image("a JPEG 2000 that claims 60,000 x 60,000", b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">8I", 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0) + b"\0\x01\x07\x01\x01" + bytes(20))  # fmt: skip
image("a program in PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n{} loop\n%%EOF\n")
image("an HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
image("an SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>')
image("a PDF", b"%PDF-1.4\n%%EOF\n")
image("a blank image", png(60, 60, 0, data=bytes(61 * 60)), read_by=AS_IS)
image("one pixel", png(1, 1, 0, data=bytes(2)), read_by=AS_IS)
image("a line of 30,000 pixels", png(30_000, 1, 0, data=bytes(30_001)), read_by=AS_IS)


# --- directories ---


@case("run", "data")
def no_directory(path, good):
    path.rename(path.with_name("elsewhere"))


@case("run", "data")
def an_empty_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


@case("run", "data")
def a_file_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(HTML)


@case("run", "data")
def a_pipe_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    os.mkfifo(path)


@case("run", "data")
def a_device_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("/dev/zero")


@case("run", "data")
def a_link_to_itself_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.name)


@case("data")
def files_with_other_names(path, good):
    for file in path.iterdir():
        file.rename(file.with_name(f"{file.name}.txt"))


@case("data", read_by=[""])
def a_directory_of_the_same_name_beside_a_file(path, good):
    for file in list(path.iterdir()):
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
        file.mkdir()


# --- environments: functions that a process calls before it runs a command on good files ---


def environment(read_by):
    return case("environment", read_by=read_by)


@environment(read_by=[])
def a_working_directory_that_is_gone(place):
    place.joinpath("gone").mkdir()
    os.chdir(place / "gone")
    os.rmdir(place / "gone")


@environment(read_by=[""])
def no_home(place):
    os.environ.update(HOME="/nonexistent", XDG_CACHE_HOME="/dev/null", TMPDIR="/nonexistent")


@environment(read_by=[""])
def no_stdin(place):
    os.close(0)


@environment(read_by=[""])
def nobody_who_reads_errors(place):
    os.close(2)
