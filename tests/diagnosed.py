"""How often is the cause of a wrong gradient named? The planted bugs that a gradient check can see.

    python tests/diagnosed.py              a row for each bug, and the share of those named
    python tests/diagnosed.py reference    only those in files or names with this word

`NAMED` has what must be said of each bug. A bug counts as named if that is said of one of its gradients at
least, and of every other gradient the same, nothing, or only where it is wrong.
"""

import re
import sys

import numpy as np
from links import network_reports, our_layers
from planted import BUGS, spoiled

from minicnn.checks import suite
from minicnn.checks.gradcheck import gradient_check

ENTRIES = 40  # of each array are compared: enough to see that it is wrong
LEFT_OUT = "leaves out|remainder|the last one|from index"
MASK = "is the mask of a|another mask"
OVERLAP = "one of several contributions"
STATISTICS = "mean and variance over them depend on it|a mean or sum over them"
FLIPPED = "flipped|the right numbers in other places|transposed"
PLACES_ONLY = "is wrong only (at|up|from|where)"  # true, but no cause
NAMED = {
    "the gradient of the mean without 1/N": "a missing 1/N",
    "the mean is the sum": "divided by N without need",
    "the one-hot label is added, not subtracted": "at the entries of the labels",
    "the loss forgets its upstream": "upstream gradient forgotten",
    "dropout's backward without its scale": "a factor keep_prob too much",
    "dropout without its mask in backward": MASK,
    "ReLU passes every gradient": MASK,
    "overlapping pool windows overwrite each other": OVERLAP,
    "rows and columns of the winner swapped": "zero at other places|other places",
    "col2im without overlap": OVERLAP,
    "col2im crops the padding at the wrong end": "shifted",
    "the kernel flipped in forward": FLIPPED,
    "rows and columns of the kernel swapped in dx": "would be true for .* transposed",
    "bias gradient summed over the wrong axis": "wrong axes",
    "weight gradient 0.1 % too large": "1.001 times",
    "the block forgets ReLU in backward": MASK,
    "transposed weight in dense": "transposed",
    "zero weight gradient in dense": "is zero everywhere",
    "dense bias gradient averaged, not summed": "divided by N without need|is the mean",
    "dense without its bias": "is .* forgotten in forward",
    "batch norm's mean is taken for a constant": STATISTICS,
    "batch norm's variance is taken for a constant": STATISTICS,
    "batch norm counts images, not pixels": STATISTICS,
    "batch norm's scale is missing from dx": "lacks the factor",
    "batch norm's variance is divided by M - 1": STATISTICS,
    "an average's backward forgets the count": "division by their number|a missing 1/",
    "the global average's backward divides by the rows alone": "a missing 1/W",
    "a fresh mask in dropout's backward": "another mask",
    "the gradient of the bias is not stored": "is zero everywhere",
    "Flatten in another order forward than back": FLIPPED,
    "Flatten mixes images": FLIPPED,
    "the gradients of scale and shift change places": "exchanged",
    "the loss layer doubles its gradient": "2 times",
    "gradients add up from step to step": "must be cleared before each backward",
    "backward stops before the first layer": "expected a gradient of shape",
    "the last column of a ragged tile is not stored": LEFT_OUT,
    "rows of a smaller tile are skipped": LEFT_OUT,
    "each slice of K starts from the bias again": LEFT_OUT,
    "the bias is left out": "is .* forgotten in forward",
    "the last block of the bias gradient is skipped": LEFT_OUT,
    "negative gradients are taken for zeros": "negative",
    "sums of the unit before are kept": "the unit before",
    "the last filter of a ragged panel is skipped": LEFT_OUT,
    "the lists of filters forget ReLU": MASK,
    "the row of the winner is forgotten in dx": "shifted|other places",
    "the bias gradient keeps only the last term": OVERLAP,
    "the padding on the left is forgotten in dx": "shifted",
    "the weight gradient of images of one channel forgets ReLU": MASK,
    "the weight gradient of images of one channel is that of the first five": LEFT_OUT,
    "rows and columns of the filter swapped": FLIPPED,
    "the values of the filter at the points without their divisor": "times|factor",
    "overlapping windows overwrite each other": OVERLAP,
    "the last column of the image is taken for padding": LEFT_OUT,
    "the entry of the label is not divided by N": "at the entries of the labels",
    "smoothing takes nothing from the label": "at the entries of the labels",
    "the last block of rows is left out of the sums": LEFT_OUT,
    "dx with the mean of dy alone": STATISTICS,
    "the statistics of evaluation are differentiated, too": STATISTICS,
    "padding counts in an average": "padding counted|division by their number",
    "an average's backward overwrites where windows overlap": OVERLAP,
    "dropout multiplies by keep_prob": "keep_prob",
    "the last entry is left out": LEFT_OUT,
}


def wrong_reports(package, of_network=False):
    """The reports of all operations and layers of a package whose gradient is wrong."""
    for name, variant in suite.OPERATIONS:
        if name in package.chosen([name]):
            report = suite.check_operation(name, variant, package.ops, entries=ENTRIES)
            if report.wrong:
                yield report
    if of_network:
        yield from (report for report in network_reports(package) if report.wrong)
    for make, x in our_layers(package).values():
        report = gradient_check(make(), x, entries=ENTRIES)
        if report.wrong:
            yield report


def said(bug):
    """All that is said of a bug, each sentence once, and how many gradients are wrong."""
    arrays = []
    with spoiled(bug) as package, np.errstate(all="ignore"):
        try:
            for report in wrong_reports(package, bug.caught_by == "network"):
                arrays += [a for a in report.arrays if a.verdict == "WRONG"]
        except (ValueError, TypeError) as error:  # a shape, or no function: said at once
            return [str(error)], 1
    return list(dict.fromkeys(a.diagnosis for a in arrays if a.diagnosis)), len(arrays)


def is_named(bug, sentences):
    """Whether the cause is named, and no other one."""
    expected = NAMED.get(bug.what)
    if expected is None:
        return False
    named = [s for s in sentences if re.search(expected, s)]
    return bool(named) and all(re.search(PLACES_ONLY, s) for s in sentences if s not in named)


def measure(bugs):
    """Rows of a table, how many bugs a gradient check sees, and how many of these are named."""
    rows, seen, named = ["| planted bug | named | what is said |", "| --- | :-: | --- |"], 0, 0
    for bug in bugs:
        if bug.caught_by == "optimizer":  # and by nothing else: no gradient is involved
            continue
        sentences, wrong = said(bug)
        if not wrong:
            continue
        seen += 1
        good = is_named(bug, sentences)
        named += good
        rows.append(f"| {bug.what} | {'X' if good else '.'} | {'; '.join(sentences)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    rows += [
        "",
        f"{named} of {seen} named, {named / max(1, seen):.0%}; {len(bugs) - seen} change no gradient",
    ]
    return rows, seen, named


if __name__ == "__main__":
    chosen = [b for b in BUGS if all(word in f"{b.file} {b.what}" for word in sys.argv[1:])]
    print("\n".join(measure(chosen)[0]))
