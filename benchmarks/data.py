"""Reading 60,000 images from each form of data set: time and peak memory; with --accuracy, what is learned.

    python benchmarks/data.py [--rounds N]
    python benchmarks/data.py --accuracy [--seeds 0 1 2] [--fashion DIR]

The images are MNIST's, written by the library that people have such files from. Each is read in a process of
its own: the seconds are those of `load_data`, with whatever it imports, the megabytes the largest resident
size of the whole process. Before anything is timed, all forms are seen to hold the same images and labels.

`--accuracy` trains the recipe `fast` on data sets in four forms, over seeds, by the command that a user would
type. A run that is there already is not trained again: stop it, and start it again to go on.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, DifferentResultsError, Report, parse, parser, race, saying

FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it

# Runs in the other process.
READ = """
import json, sys, time, zlib
from minicnn import load_data
began = time.perf_counter()
data = load_data(sys.argv[1])
seconds = time.perf_counter() - began
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
import numpy as np
content = 0  # the same for any order of the images
for split in (data.train, data.validation, data.test):
    for image, label in zip(split.images, split.labels):
        content += zlib.crc32(np.ascontiguousarray(image), int(label))
print(json.dumps({"seconds": seconds, "megabytes": peak * 1024 / 1e6, "content": content, "kind": data.kind}))
"""


def main() -> None:
    made = parser(__doc__, rounds=5)
    made.add_argument("--accuracy", action="store_true", help="train on each data set, instead of timing")
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the trainings (0 1 2)")
    made.add_argument("--fashion", type=Path, default=FASHION, help=f"Fashion-MNIST's IDX files ({FASHION})")
    args = parse(made)
    with tempfile.TemporaryDirectory() as scratch:
        if args.accuracy:
            measure_accuracy(args, Path(scratch))
        else:
            measure_reading(args, Path(scratch))


# --- the files ------------------------------------------------------------------------------------


def mnist(count: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's first training images, and their labels."""
    from minicnn import load_mnist

    data = load_mnist()
    parts = data.validation, data.train
    images, labels = (np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "labels"))
    return images[:count], labels[:count]


def write_idx(place: Path, images: np.ndarray, labels: np.ndarray, packed: bool = False) -> Path:
    """IDX files, as MNIST has been distributed."""
    import gzip

    from minicnn.data.idx import idx_header

    place.mkdir()
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_header(array.shape) + array.tobytes()
        path = place / f"digits-train-{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content, 6) if packed else content)
    return place


def write_npz(
    place: Path, images: np.ndarray, labels: np.ndarray, packed: bool = False, **test: np.ndarray
) -> Path:
    """Arrays with the names of Keras's mnist.npz, by NumPy; `test` are x_test and y_test."""
    path = place.with_suffix(".npz")
    (np.savez_compressed if packed else np.savez)(path, x_train=images, y_train=labels, **test)
    return path


def write_csv(place: Path, images: np.ndarray, labels: np.ndarray, packed: bool = False) -> Path:
    """A row for each image and a header, as Kaggle's train.csv."""
    import gzip

    path = place.with_suffix(".csv.gz" if packed else ".csv")
    with gzip.open(path, "wt", 6) if packed else open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", *(f"pixel{number}" for number in range(images[0].size))])
        for image, label in zip(images, labels, strict=True):
            writer.writerow([label, *image.ravel().tolist()])
    return path


def png(image: np.ndarray) -> bytes:
    """An image as PNG, by Pillow."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_folders(place: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """A folder of PNGs for each class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = place / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(png(image))
    return place


def write_labelled(place: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """One folder of PNGs with a labels.csv."""
    place.mkdir()
    for number, image in enumerate(images):
        (place / f"{number}.png").write_bytes(png(image))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (place / "labels.csv").write_text(f"file,label\n{rows}")
    return place


def write_parquet(place: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """A file in the layout of image hubs, by pyarrow."""
    import pyarrow
    import pyarrow.parquet

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    files = pyarrow.array([{"bytes": png(image), "path": None} for image in images], kind)
    names = {
        "label": {"names": list(map(str, range(10))), "_type": "ClassLabel"},
        "image": {"_type": "Image"},
    }
    table = pyarrow.table({"image": files, "label": labels.astype(np.int64)})
    about = {"huggingface": json.dumps({"info": {"features": names}})}
    path = place.with_suffix(".parquet")
    pyarrow.parquet.write_table(table.replace_schema_metadata(about), path)
    return path


FORMS: dict[str, Callable[[Path, np.ndarray, np.ndarray], Path]] = {
    "IDX": write_idx,
    "IDX, gzipped": lambda *how: write_idx(*how, packed=True),
    ".npz, savez": write_npz,
    ".npz, savez_compressed": lambda *how: write_npz(*how, packed=True),
    "CSV": write_csv,
    "CSV, gzipped": lambda *how: write_csv(*how, packed=True),
    "parquet": write_parquet,
    "class folders of PNGs": write_folders,
    "a folder of PNGs, labels.csv": write_labelled,
}


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a directory."""
    return sum(
        file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    )


# --- time and memory ------------------------------------------------------------------------------


def measure_reading(args: argparse.Namespace, scratch: Path) -> None:
    report = Report("data", __doc__ or "", args)
    count = 600 if args.quick else 60_000
    images, labels = mnist(count)
    places: dict[str, Path] = {}
    for number, (form, write) in enumerate(FORMS.items()):
        try:
            with saying(f"writing {form}"):
                places[form] = write(scratch / f"data-{number}", images, labels)
        except ImportError as reason:
            report.left_out[form] = str(reason)
            print(f"left out: {form}: {reason}")

    found: dict[str, list[dict[str, Any]]] = {form: [read(place)] for form, place in places.items()}
    for form, first in found.items():
        if first[0]["content"] != found["IDX"][0]["content"]:
            raise DifferentResultsError(f"{form}: other images or labels than IDX")

    def turn(form: str) -> list[float]:
        found[form].append(read(places[form]))
        return [found[form][-1]["seconds"]]

    times = race({form: lambda form=form: turn(form) for form in places}, args.rounds)
    rows = []
    for form, spread in times.items():
        megabytes = [one["megabytes"] for one in found[form]]
        rows.append(
            [
                form,
                f"{size_of(places[form]) / 1e6:.1f}",
                f"{spread.median:.2f}",
                f"{spread.lower:.2f} - {spread.upper:.2f}",
                f"{count / spread.median / 1000:,.0f}",
                f"{statistics.median(megabytes):.0f}",
            ]
        )
    report.add(
        f"Reading {count:,} images of 28 x 28 with their labels",
        ["form", "MB on disk", "seconds", "quartiles", "images per ms", "peak MB"],
        rows,
        f"Medians of {args.rounds} reads in turn, each in a process of its own, after one that does not "
        "count: the files are in the system's cache. Peak: of the process, Python and NumPy included; the "
        f"images alone have {images.nbytes / 1e6:.0f} MB.",
    )
    report.data |= {"count": count, "reads": found, "times": {form: vars(t) for form, t in times.items()}}
    report.write()


def read(path: Path) -> dict[str, Any]:
    """What a fresh process found at a path. Raises RuntimeError with its last words if it fails."""
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{path}: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout))


# --- accuracy -------------------------------------------------------------------------------------


def write_digits(place: Path) -> Path:
    """scikit-learn's digits: 1,797 images of 8 x 8, in an archive with its names."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = place.with_suffix(".npz")
    np.savez(path, data=digits.data, target=digits.target)
    return path


def measure_accuracy(args: argparse.Namespace, scratch: Path) -> None:
    from minicnn import load_mnist

    output = args.output or (RESULTS / "quick" if args.quick else RESULTS) / "data-accuracy.json"
    args.output = output
    report = Report("data", "What the recipe `fast` reaches on data sets in other forms.", args)
    images, labels = mnist(2000 if args.quick else 60_000)
    test = load_mnist().test
    sources: dict[str, Callable[[], Path]] = {
        "scikit-learn's digits, .npz": lambda: write_digits(scratch / "digits"),
        "Fashion-MNIST, Debian's IDX files": lambda: existing(args.fashion),
        "MNIST, Keras's .npz": lambda: write_npz(
            scratch / "mnist", images, labels, packed=True, x_test=test.images, y_test=test.labels
        ),
        "MNIST, Kaggle's CSV": lambda: write_csv(scratch / "train", images, labels),
    }
    steps = ["--steps", "20"] if args.quick else []
    kept = output.with_suffix(".partial.json")  # the runs so far
    kept.parent.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for source, make in sources.items():
        wanted = [seed for seed in args.seeds if not any(run_of(run, source, seed, steps) for run in runs)]
        if not wanted:
            continue
        try:
            path = make()
        except (ImportError, FileNotFoundError) as reason:
            report.left_out[source] = str(reason)
            print(f"left out: {source}: {reason}", flush=True)
            continue
        for seed in wanted:
            with saying(f"{source}, seed {seed}"):
                runs.append(
                    {"source": source, "seed": seed, "steps": steps, **train(path, seed, args.threads, steps)}
                )
            kept.write_text(json.dumps(runs, indent=1))
            print(f"  {runs[-1]['found']}\n  test accuracy {runs[-1]['accuracy']:.4f}", flush=True)

    rows = []
    for source in sources:
        mine = [run for seed in args.seeds for run in runs if run_of(run, source, seed, steps)]
        if mine:
            accuracies = [100 * run["accuracy"] for run in mine]
            each = " ".join(f"{accuracy:.2f}" for accuracy in accuracies)
            seconds = statistics.median(run["seconds"] for run in mine)
            rows.append(
                [source, f"{statistics.mean(accuracies):.2f}", each, str(mine[0]["tested"]), f"{seconds:.0f}"]
            )
    seeds = " ".join(map(str, args.seeds))
    report.add(
        f"Test accuracy of `minicnn train --recipe fast --data PATH` in per cent, seeds {seeds}",
        ["data set", "mean", "each seed", "test images", "seconds"],
        rows,
        "Where a data set has no test images, one image in seven is held out, by class, from the seed. "
        "Seconds: from process start to process end, with pictures, in the median.",
    )
    report.data |= {"runs": runs}
    report.write()
    kept.unlink(missing_ok=True)


def run_of(run: dict[str, Any], source: str, seed: int, steps: list[str]) -> bool:
    """Whether a run is that of a seed on a data set."""
    return bool((run["source"], run["seed"], run["steps"]) == (source, seed, steps))


def existing(path: Path) -> Path:
    """The path. Raises FileNotFoundError if nothing is there."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    return path


def train(path: Path, seed: int, threads: int, steps: list[str]) -> dict[str, Any]:
    """Train one seed by the command. Raises RuntimeError with its words if it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "minicnn", "train", "--recipe", "fast", "--data", str(path), *steps]
        command += ["--seed", str(seed), "--threads", str(threads), "--run-dir", f"{scratch}/run"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    lines = done.stdout.splitlines()
    found = next(line for line in lines if line.startswith("found "))
    words = lines[-1].split()  # test accuracy 0.9921 (9921 of 10000)
    correct, tested = int(words[3].lstrip("(")), int(words[5].rstrip(")"))
    return {"found": found, "accuracy": correct / tested, "tested": tested, "seconds": seconds}


if __name__ == "__main__":
    main()
