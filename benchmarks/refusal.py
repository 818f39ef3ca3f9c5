"""How well a run tells what it cannot read: the images it refuses, and how right its probabilities are.

    python benchmarks/refusal.py RUN [RUN ...] [--fashion DIR] [--each 500]

The rule is `minicnn.runs.refusal`, calibrated on the run's validation images. Here it meets MNIST's test
images, and images that show no digit: letters in printed fonts, Fashion-MNIST (if DIR holds it), two digits
side by side, specks, and whatever noise and blank paper `predict` does not refuse by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from common import Report, cores
from handwriting import open_one
from PIL import Image, ImageDraw, ImageFont
from scenes import lit, paper, photographed

from minicnn import load_mnist
from minicnn.data import load_data
from minicnn.data.image_file import ImageError
from minicnn.data.photo import preprocess
from minicnn.runs.features import features_of
from minicnn.runs.refusal import calibrate

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
LETTERS = "ABCDEFGHJKLMNPQRTUVWXYabcdefhjkmnprtuvwxy"  # none that is a digit, too


def letters(rng: np.random.Generator) -> Image.Image:
    fonts = [file for file in sorted(FONTS.glob("DejaVu*.ttf")) if "Display" not in file.name]
    font = ImageFont.truetype(str(rng.choice(fonts)), int(rng.integers(60, 100)))
    image = Image.new("L", (160, 160), 255)
    ImageDraw.Draw(image).text((80, 80), str(rng.choice(list(LETTERS))), fill=0, font=font, anchor="mm")
    return image


def two_digits(rng: np.random.Generator) -> Image.Image:
    images = load_mnist().test.images
    both = np.zeros((40, 64), np.uint8)
    for left in (4, 30):
        place = both[6:34, left : left + 28]
        np.maximum(place, images[rng.integers(len(images))], out=place)
    return Image.fromarray(255 - both)


def specks(rng: np.random.Generator) -> Image.Image:
    size = rng.integers(20, 200, 2)
    return Image.fromarray((255 * (rng.random(size) < rng.uniform(0.02, 0.5))).astype(np.uint8))


def noise(rng: np.random.Generator) -> Image.Image:
    return photographed(
        np.full((200, 200, 3), 0.6), rng, 1, rng.uniform(0.01, 0.1), int(rng.integers(20, 80))
    )


def blank(rng: np.random.Generator) -> Image.Image:
    return photographed(lit(paper(rng, 300, 300), rng), rng)


FOREIGN: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "letters": letters,
    "two digits": two_digits,
    "specks": specks,
    "noise, photographed": noise,
    "blank paper, photographed": blank,
}


def prepared(images: Iterator[Image.Image], count: int) -> tuple[np.ndarray, int]:
    """What `predict` makes of so many images, and how many it refused as blank."""
    inputs = []
    for _ in range(count):
        try:
            inputs.append(preprocess(next(images)).image)
        except ImageError:
            pass
    return np.array(inputs, np.uint8).reshape(-1, 28, 28), count - len(inputs)


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """The probability that a foreign image has the higher score: the area under the ROC curve."""
    ordered = np.sort(known)
    below = (np.searchsorted(ordered, foreign, "left") + np.searchsorted(ordered, foreign, "right")) / 2
    return float(below.mean() / len(known))


def calibration_error(probabilities: np.ndarray, correct: np.ndarray) -> float:
    """ECE: how far confidence and accuracy are apart, in the mean over 15 bins of confidence."""
    confidence = probabilities.max(axis=1)
    bins = np.minimum((15 * confidence).astype(int), 14)
    gaps = [abs((confidence - correct)[bins == k].sum()) for k in range(15)]
    return float(sum(gaps) / len(confidence))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("runs", nargs="+", metavar="RUN", help="run directories or network files, of MNIST")
    made.add_argument("--fashion", metavar="DIR", help="Fashion-MNIST's files")
    made.add_argument("--each", type=int, default=500, help="foreign images of each kind (500)")
    made.add_argument("--seed", type=int, default=2, help="of the images (2)")
    made.add_argument("--quick", action="store_true", help="see that it runs: few images")
    made.add_argument("--output", type=Path, help="the JSON file (results/refusal.json)")
    args = made.parse_args(argv)
    args.threads, args.each = cores(), 5 if args.quick else args.each
    return args


def foreign_images(args: argparse.Namespace) -> dict[str, tuple[np.ndarray, int]]:
    """The network's inputs of each kind, and how many images were refused before."""
    found = {}
    for number, (name, make) in enumerate(FOREIGN.items()):
        rng = np.random.default_rng([args.seed, number])
        found[name] = prepared(iter(lambda rng=rng, make=make: make(rng), None), args.each)
    if args.fashion is not None:
        clothes = load_data(args.fashion).test.images[: 2 * args.each]
        found["Fashion-MNIST, as digits"] = prepared(map(Image.fromarray, clothes), args.each)
        found["Fashion-MNIST, as it is"] = clothes[args.each :], 0
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Calibrate each run, show it digits and other images, print the tables, write the JSON file."""
    args = parse(argv)
    report = Report("refusal", __doc__ or "", args)
    data, foreign = load_mnist(), foreign_images(args)
    summary, rows = [], {name: [name, f"{refused}"] for name, (_, refused) in foreign.items()}
    for run in args.runs:
        network = open_one(run)
        rule = calibrate(network, data.validation)
        if rule is None:
            raise SystemExit(f"{run}: not a network for MNIST's images")
        features, logits = features_of(network, data.test.images)
        correct, known = logits.argmax(axis=1) == data.test.labels, rule.scores(features)
        refused, plain = rule.unsure(features, rule.probabilities(logits)), softmax(logits)
        every, tops = [], []
        for name, (images, _) in foreign.items():
            if not len(images):
                rows[name] += ["-", "-"]
                continue
            theirs, their_logits = features_of(network, images)
            every.append(rule.scores(theirs))
            tops.append(softmax(their_logits).max(axis=1))
            unsure = rule.unsure(theirs, rule.probabilities(their_logits))
            rows[name] += [f"{100 * unsure.mean():.1f}", f"{auroc(known, every[-1]):.3f}"]
        summary.append(
            [
                Path(run).name,
                f"{100 * refused[~correct].mean():.1f}",
                f"{100 * (1 - refused[correct].mean()):.2f}",
                f"{100 * correct[~refused].mean():.2f}",
                f"{auroc(known, np.concatenate(every)):.3f}",
                f"{auroc(-plain.max(axis=1), -np.concatenate(tops)):.3f}",
                f"{100 * calibration_error(plain, correct):.2f}",
                f"{100 * calibration_error(rule.probabilities(logits), correct):.2f}",
                f"{rule.temperature:.2f}",
            ]
        )
    report.add(
        "MNIST's test images, in per cent",
        ["run", "wrong refused", "right kept", "accuracy of the rest", "AUROC", "of the probability",
         "ECE before", "after", "temperature"],
        summary,
        "AUROC: digits against all images below, by the distance and by the largest probability alone.",
    )  # fmt: skip
    columns = [f"{Path(run).name}, {what}" for run in args.runs for what in ("refused", "AUROC")]
    report.add(
        f"Foreign images, {args.each} of each kind: what is refused of those not found blank, in per cent",
        ["kind", "blank", *columns],
        list(rows.values()),
    )
    report.data |= {"summary": summary, "foreign": list(rows.values())}
    report.write()


if __name__ == "__main__":
    main()
