"""How often is the cause of a wrong gradient named? The planted bugs that a gradient check can see.

python tests/diagnosed.py              a line for each bug: named or not, and what was said
python tests/diagnosed.py reference    only those in files with this word in their name
"""

import sys

import numpy as np
from links import network_reports, our_layers
from planted import BUGS, spoiled

from minicnn.checks import suite
from minicnn.checks.gradcheck import gradient_check


def wrong_reports(package, of_network=False):
    """The reports of all operations and layers of a package whose gradient is wrong."""
    for name, variant in suite.OPERATIONS:
        if name in package.chosen([name]):
            report = suite.check_operation(name, variant, package.ops)
            if report.wrong:
                yield report
    if of_network:
        yield from (report for report in network_reports(package) if report.wrong)
    for make, x in our_layers(package).values():
        report = gradient_check(make(), x)
        if report.wrong:
            yield report


def said(package, of_network=False):
    """All diagnoses of a package, and how many gradients were wrong."""
    with np.errstate(all="ignore"):
        arrays = [
            a for report in wrong_reports(package, of_network) for a in report.arrays if a.verdict == "WRONG"
        ]
    return [a.diagnosis for a in arrays if a.diagnosis], len(arrays)


if __name__ == "__main__":
    for bug in BUGS:
        if all(word in f"{bug.file} {bug.what}" for word in sys.argv[1:]):
            with spoiled(bug) as package:
                try:
                    sentences, wrong = said(package, bug.caught_by == "network")
                except Exception as error:
                    sentences, wrong = [f"{type(error).__name__}: {error}"], 0
            print(f"{bug.file} | {bug.what} | {wrong} wrong, {len(sentences)} explained", flush=True)
            for sentence in dict.fromkeys(sentences):
                print("    ", sentence)
