"""Where every kind of file is read: command by command, argument by argument.

`ROWS` are the commands with good arguments. `test_matrix.py` compares them with the parser, so that a new
command, or a new argument that names a file, needs its row.
"""

import io
import shutil
from pathlib import Path
from typing import NamedTuple
from unittest import mock

RUN = {"run", "config", "checkpoint", "previous"}
DATA = {"data", "images", "labels"}

PLACES = {  # of the good file, or directory, of each kind
    "run": "run",
    "config": "run/config.json",
    "metrics": "run/metrics.csv",
    "checkpoint": "run/checkpoint.safetensors",
    "previous": "run/checkpoint.previous.safetensors",
    "network": "network.safetensors",
    "rule": "run/refusal.safetensors",
    "data": "data",
    "images": "data/train-images-idx3-ubyte",
    "labels": "data/t10k-labels-idx1-ubyte",
    "image": "image.png",
    "picture": "image-seen.png",
    "csv": "table.csv",
    "npz": "arrays.npz",
    "cifar": "cifar/data_batch_1.bin",
    "names": "cifar/batches.meta.txt",
    "pixels": "pictures/one/0.png",
    "parquet": "images.parquet",
    "listed": "flat/labels.csv",
    "torch": "torch.safetensors",
    "onnx": "model.onnx",
    "weights": "weights.data",
    "plan": "swept/sweep.json",
    "measured": "swept/seed=0/metrics.csv",
}

READERS = {  # every function of the package that opens a file to read it, and the kinds that show it
    "data/idx.py:read_idx": {"images", "labels"},
    "data/idx.py:idx_bytes": {"images"},
    "data/sources/csv_file.py:_text_bytes": {"csv"},
    "data/idx.py:open_gzipped": {"csv"},
    "data/sources/__init__.py:_in_file": {"csv", "npz"},
    "data/sources/cifar.py:_read": {"cifar"},
    "data/sources/cifar.py:_names": {"names"},
    "data/sources/idx_files.py:_names": {"names"},
    "data/sources/npz_file.py:find_npz": {"npz"},
    "data/sources/parquet_file.py:_opened": {"parquet"},
    "data/sources/labelled.py:read_labels": {"listed"},
    "data/image_file.py:_contents": {"image", "pixels"},
    "interchange/onnx_reading.py:load_onnx": {"onnx"},
    "interchange/onnx_reading.py:_read_external": {"weights"},
    "interchange/torch.py:load_torch": {"torch"},
    "pictures/curves.py:read_metrics": {"metrics"},
    "pictures/style.py:is_ours": {"picture"},
    "runs/directory.py:read_config": {"config"},
    "runs/directory.py:cut_metrics": {"metrics"},
    "storage/checksummed.py:read_checksummed": {"checkpoint", "previous", "network", "rule"},
    "sweeps/directory.py:read_grid": {"plan"},
    "sweeps/directory.py:step_of": {"measured"},
    "storage/files.py:read_regular": set(),  # for the others
}

OUTPUT: set[str] = set()  # an argument that names what is written


class Row(NamedTuple):
    """A command with good arguments, and the kinds of files that it reads, argument by argument."""

    name: str
    argv: tuple[str, ...]
    reads: dict[str, set[str]]  # by argument, as the parser calls it

    @property
    def kinds(self) -> set[str]:
        return set().union(*self.reads.values())


_SMALL = ("--model", "softmax", "--ops", "reference", "--steps", "2", "--batch-size", "5", "--quiet")

_NEW = ("train", *_SMALL, "--data", "data", "--run-dir", "new")

_SWEEP = (
    "sweep",
    "--model",
    "softmax",
    "--set",
    "ops=reference",
    "--set",
    "steps=2",
    "--seeds",
    "0",
    "--quiet",
)

_OWN = ("train", *_SMALL, "--run-dir", "new", "--data")

ROWS = (
    Row("train CSV", (*_OWN, "table.csv"), {"data": {"csv"}}),
    Row("train NPZ", (*_OWN, "arrays.npz"), {"data": {"npz"}}),
    Row("train CIFAR", (*_OWN, "cifar"), {"data": {"cifar", "names"}}),
    Row("train folders", (*_OWN, "pictures", "--size", "12"), {"data": {"pixels"}}),
    Row("train parquet", (*_OWN, "images.parquet"), {"data": {"parquet"}}),
    Row("train labels.csv", (*_OWN, "flat"), {"data": {"listed"}}),
    Row("convert", ("convert", "table.csv", "idx"), {"data": {"csv"}, "directory": OUTPUT}),
    Row(
        "predict --to",
        ("predict", "eight.safetensors", "table.csv", "--to", "out"),
        {"image": {"csv"}, "to": OUTPUT},
    ),
    Row("predict FOLDER", ("predict", "eight.safetensors", "flat"), {"image": {"listed"}}),
    Row(
        "predict --to, parquet",
        ("predict", "eight.safetensors", "images.parquet", "--to", "out"),
        {"image": {"parquet"}},
    ),
    Row("train --data", _NEW, {"data": DATA, "run_dir": OUTPUT}),
    Row("train --from RUN", (*_NEW, "--from", "run"), {"start": RUN}),
    Row("train --from FILE", (*_NEW, "--from", "network.safetensors"), {"start": {"network"}}),
    Row(
        "train --resume",
        ("train", "--resume", "run", "--steps", "6", "--quiet"),
        {"resume": RUN | DATA | {"metrics"}},
    ),
    Row("evaluate RUN", ("evaluate", "run"), {"run": RUN | DATA}),
    Row(
        "evaluate FILE",
        ("evaluate", "network.safetensors", "--data", "data"),
        {"run": {"network"}, "data": DATA},
    ),
    Row(
        "predict RUN",
        ("predict", "run", "image.png", "--digits"),
        {"run": RUN | {"rule"}, "image": {"image"}},
    ),
    Row(
        "predict FILE",
        ("predict", "network.safetensors", "image.png"),
        {"run": {"network"}, "image": {"image"}},
    ),
    Row(
        "predict FILE --as-is",
        ("predict", "network.safetensors", "image.png", "--as-is"),
        {"image": {"image"}},
    ),
    Row("predict --show", ("predict", "network.safetensors", "image.png", "--show"), {"image": {"picture"}}),
    Row("report", ("report", "run"), {"run": RUN | DATA | {"metrics"}, "output": OUTPUT}),
    Row("report --data", ("report", "run", "--data", "data"), {"data": DATA}),
    Row(
        "export RUN",
        ("export", "run", "--to", "safetensors-torch", "--output", "out"),
        {"run": RUN, "output": OUTPUT},
    ),
    Row(
        "export FILE",
        ("export", "network.safetensors", "--to", "safetensors-torch", "--output", "out"),
        {"run": {"network"}},
    ),
    Row("explore RUN", ("explore", "run", "--no-browser"), {"run": RUN | DATA}),
    Row(
        "explore FILE",
        ("explore", "network.safetensors", "--no-browser", "--data", "data"),
        {"run": {"network"}, "data": DATA},
    ),
    Row(
        "explore --export",
        ("explore", "run", "--export", "out"),
        {"run": RUN | DATA, "export": OUTPUT},
    ),
    Row(
        "learn train --data",
        ("learn", "train", "course", "--steps", "2", "--batch-size", "5", "--data", "data"),
        {"data": DATA},
    ),
    Row("sweep --data", (*_SWEEP, "--data", "data", "--dir", "new"), {"data": DATA, "dir": OUTPUT}),
    Row("sweep --dir", ("sweep", "--dir", "swept"), {"dir": {"plan"}}),
    Row("sweep report", ("sweep", "report", "swept"), {"what": {"plan", "measured"}}),
    Row("import FILE", ("import", "torch.safetensors", "out"), {"file": {"torch"}, "output": OUTPUT}),
    Row("import ONNX", ("import", "model.onnx", "out"), {"file": {"onnx", "weights"}}),
)

READ_NO_FILE = {"gradcheck"}


def make_good_files(directory: Path) -> None:
    """One good file of each kind, as the commands write them."""
    import numpy as np
    from PIL import Image, ImageDraw
    from runs import write_data

    from minicnn import cli, interchange, softmax_regression
    from minicnn.pictures import draw_seen

    (directory / "data").mkdir()
    write_data(directory / "data", training=60, test=20)
    small = [
        *_SMALL,
        "--log-every",
        "1",
        "--data",
        str(directory / "data"),
        "--run-dir",
        str(directory / "run"),
    ]
    with mock.patch.object(cli.train, "draw_pictures"):
        assert cli.main(["train", *small]) == 0
    (directory / PLACES["previous"]).unlink()
    make_rule(directory / "run")
    make_sweep(directory)
    network = softmax_regression()
    network.save(directory / "network.safetensors")
    interchange.save_torch(network, directory / "torch.safetensors")
    paper = Image.new("L", (60, 80), 255)
    ImageDraw.Draw(paper).line((35, 12, 28, 68), fill=0, width=6)
    paper.save(directory / "image.png")
    draw_seen([("image", np.zeros((28, 28)))], [], np.ones(10), directory / "image-seen.png", "image.png")
    make_onnx(network, directory)
    make_tables(directory)
    (directory / "course").mkdir()
    solution = Path(__file__).parent.parent / "learn_solution.py"
    (directory / "course" / "my_network.py").write_text(solution.read_text())


def make_rule(run: Path) -> None:
    """When the network of the run is not sure, as one with a hidden layer would know."""
    import numpy as np

    from minicnn.runs import refusal
    from minicnn.runs.directory import read_network

    means, whitening = np.zeros((10, 784), np.float32), np.eye(784, dtype=np.float32)
    rule = refusal.Refusal(means, whitening, threshold=2.0, temperature=1.0, least=0.1)
    refusal.save(run, rule, read_network(run))


def make_sweep(directory: Path) -> None:
    """A sweep whose only run is complete."""
    from minicnn.storage.outputs import PICTURES
    from minicnn.sweeps.directory import conducting
    from minicnn.sweeps.grid import Grid

    given = {"model": "softmax", "ops": "reference", "steps": 2, "batch_size": 5, "log_every": 1}
    with conducting(directory / "swept", Grid(given | {"data": str(directory / "data")}, {"seed": [0]})):
        shutil.copytree(directory / "run", directory / "swept" / "seed=0")
    for name in PICTURES:
        (directory / "swept" / "seed=0" / name).touch()


def make_tables(directory: Path) -> None:
    """A CSV table and a NumPy archive, CIFAR's files, pictures in folders, and a network for the table."""
    import numpy as np
    from PIL import Image

    from minicnn import softmax_regression

    rng, N = np.random.default_rng(0), 40
    images, labels = rng.integers(0, 256, (N, 8, 8), dtype=np.uint8), np.arange(N) % 2
    rows = [",".join(map(str, [k, *image.ravel().tolist()])) for k, image in zip(labels, images, strict=True)]
    header = ",".join(["label", *(f"pixel{k}" for k in range(64))])
    (directory / "table.csv").write_text("\n".join([header, *rows, ""]))
    np.savez(directory / "arrays.npz", x=images, y=labels)
    (directory / "cifar").mkdir()
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        values = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
        values[:, 0] = np.arange(4) % 2
        (directory / "cifar" / f"{name}.bin").write_bytes(values.tobytes())
    (directory / "cifar" / "batches.meta.txt").write_text("cat\ndog\n")
    for k, image in enumerate(images[:20]):
        folder = directory / "pictures" / ("one", "two")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{k}.png")
    (directory / "flat").mkdir()
    for k, image in enumerate(images[:17]):
        Image.fromarray(image).save(directory / "flat" / f"picture-{k}.png")
    table = "".join(f"picture-{k}.png,{k % 2}\n" for k in range(17))
    (directory / "flat" / "labels.csv").write_text(f"file,label\n{table}")
    make_parquet(images, labels, directory / "images.parquet")
    softmax_regression(input_shape=(8, 8, 1), classes=2).save(directory / "eight.safetensors")


def make_parquet(images, labels, path: Path) -> None:
    """The images as image hubs ship them."""
    try:
        import pyarrow.parquet
    except ImportError:
        return
    from PIL import Image

    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(files, kind), "label": labels})
    pyarrow.parquet.write_table(table, path)


def make_onnx(network, directory: Path) -> None:
    """A model with its weights in a file of their own, and one without."""
    from minicnn import interchange

    try:
        import onnx
    except ImportError:
        return
    interchange.save_onnx(network, directory / "model.onnx")
    model = onnx.load(directory / "model.onnx")
    onnx.save(
        model,
        directory / "external.onnx",
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
