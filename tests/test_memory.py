"""A long run needs no more memory than a short one, and a save next to none."""

import tracemalloc

import pytest
from runs import DATA, new_process

from minicnn.runs import checkpoint
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for

# Trains the tutorial's network with log lines and saves on the way.
RESIDENT = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, {tests!r})
from runs import split
from minicnn.runs import run as run_module
from minicnn.data import Dataset
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for
from minicnn.runs.loop import train

run_module.SAVE_EVERY = 2.0
data = Dataset(train=split(1000, 0), validation=split(2, 1), test=split(200, 2))
sizes = []

def note(measurement):
    sizes.append(int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]))

with tempfile.TemporaryDirectory() as scratch:
    settings = settings_for(steps={steps}, batch_size={batch_size}, log_every=100)
    train(Run.create(settings, data, scratch + "/r"), log=note)
print(*sizes)
"""


@pytest.mark.parametrize(
    ("steps", "batch_size"), [(600, 2), pytest.param(2000, 50, marks=pytest.mark.long, id="as it comes")]
)
@pytest.mark.timeout(3000)
def test_memory_grows_by_less_than_a_megabyte_after_step_200(request, steps, batch_size):
    code = RESIDENT.format(tests=str(request.path.parent), steps=steps, batch_size=batch_size)
    done = new_process(code)
    assert done.returncode == 0, done.stderr
    kilobytes = [int(size) for size in done.stdout.split()]
    print(f"resident at every 100 steps: {kilobytes} kB")
    assert len(kilobytes) == steps // 100
    assert max(kilobytes[2:]) - kilobytes[1] < 1000


def peak(call):
    """The most memory that Python and NumPy held during a call, beyond what there was."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the tutorial's network; its checkpoint has 39 MB."""
    return Run.create(settings_for(ops="reference"), DATA, tmp_path_factory.mktemp("runs") / "r")


def test_a_save_takes_a_tenth_of_the_memory_of_its_file(run):
    run._saved = None
    assert peak(run.save) < 4_000_000


def test_reading_a_checkpoint_takes_the_memory_of_its_file_twice(run):
    size = (run.directory / checkpoint.NEWEST).stat().st_size
    assert peak(lambda: checkpoint.load(run.directory, run.arrays(), pytest.fail)) < 2.1 * size
