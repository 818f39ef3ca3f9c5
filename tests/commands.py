"""What the tests of the commands share."""

import re
import subprocess
import sys

from minicnn.cli import main
from minicnn.data.idx import idx_header


def write_idx(path, array):
    path.write_bytes(idx_header(array.shape) + array.tobytes())


def options(data, *more):
    small = ["--model", "softmax", "--ops", "reference", "--batch-size", "5", "--learning-rate", "0.1"]
    return [*small, "--data", str(data), *map(str, more)]


def run_main(capsys, *argv):
    """Exit code, lines of stdout, lines of stderr."""
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def assert_usage_error(result, *words):
    code, out, err = result
    assert code == 2
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("minicnn: error: ")
    for word in words:
        assert str(word) in err[0]


def start_explore(*arguments):
    """`minicnn explore` in a process of its own, and the address that it prints."""
    command = [sys.executable, "-m", "minicnn", "explore", "--no-browser", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", process.stdout.readline())
    assert address is not None
    return process, address.group()
