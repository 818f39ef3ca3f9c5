"""Any number of threads gives the same bits; several threads and processes may use one network."""

import os

import numpy as np
import pytest
from runs import new_process

from minicnn import tutorial_network

TRAIN = """
import hashlib
import numpy as np
import minicnn

def train(net, steps, batch_size):
    rng = np.random.default_rng(0)
    loss, adam = minicnn.SoftmaxCrossEntropy("sum"), minicnn.Adam(net.parameters())
    for _ in range(steps):
        pixels = rng.integers(0, 256, (batch_size, 28, 28, 1)) * (rng.random((batch_size, 28, 28, 1)) < 0.3)
        x = (pixels / 255).astype(np.float32)
        loss.forward(net.forward(x, training=True), rng.integers(0, 10, batch_size))
        net.backward(loss.backward(), input_gradient=False)
        adam.step()

net = minicnn.tutorial_network()
images = np.random.default_rng(1).integers(0, 256, (300, 28, 28), dtype=np.uint8)
"""


def output(code, **environment):
    done = new_process(TRAIN + code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# --- threads of the engine ---

DIGEST = """
import numba, sys
train(net, {steps}, 50)
for array in (net.values, net.predict(images)):
    print(hashlib.sha256(array).hexdigest())
print(numba.threading_layer())
"""


@pytest.mark.parametrize("steps", [5, pytest.param(300, marks=pytest.mark.long)])
def test_weights_and_predictions_have_the_same_bits_for_1_2_and_4_threads_in_either_layer(steps):
    code = DIGEST.format(steps=steps)
    alone = code.replace("numba.threading_layer()", "'none'")  # nothing runs in parallel
    digests = {tuple(output(alone, NUMBA_NUM_THREADS="1"))[:2]}
    for layer in ("omp", "workqueue"):
        for threads in ("2", "4"):
            environment = {"NUMBA_NUM_THREADS": threads, "NUMBA_THREADING_LAYER": layer}
            *found, used = output(code, **environment)
            assert used == layer
            digests.add(tuple(found))
    assert len(digests) == 1


PLACES = """
import os, subprocess
here, environment = os.sched_getaffinity(0), dict(os.environ)
train(net, 2, 50)
print(os.sched_getaffinity(0) == here, os.environ == environment)
workers = [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]
print(len(here) in (1, 1 + sum(len(places) == 1 for places in workers)))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system places threads itself")
def test_workers_keep_to_a_processor_each_and_the_caller_and_its_environment_stay_as_they_were():
    assert output(PLACES, NUMBA_THREADING_LAYER="omp") == ["True"] * 3


# --- threads of the program ---

PREDICT_AT_ONCE = """
import sys, threading
train(net, 1, 10)
expected, right = net.predict(images), []
start = threading.Barrier({threads})

def work():
    start.wait()
    for _ in range({times}):
        right.append(np.array_equal(net.predict(images), expected))

threads = [threading.Thread(target=work) for _ in range({threads})]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(right), len(right))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.long)])
def test_threads_that_predict_with_one_network_get_the_serial_result(layer, threads, times):
    code = PREDICT_AT_ONCE.format(threads=threads, times=times)
    right, made = output(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    assert right == made == str(threads * times)


PREDICT_COLD = """
import threading
results, start = [], threading.Barrier(4)

def work():
    mine = minicnn.tutorial_network()
    start.wait()
    results.append(mine.predict(images))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(np.array_equal(r, results[0]) for r in results), len(results))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_with_a_network_each_may_make_the_first_call_of_a_process_at_once(layer):
    assert output(PREDICT_COLD, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == ["True", "4"]


# --- processes ---

PREDICT_ELSEWHERE = """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork, where there are threads
train(net, 2, 10)
expected = net.predict(images)
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    results = pool.map(net.predict, [images] * 4)
print(all(np.array_equal(r, expected) for r in results), np.array_equal(net.predict(images), expected))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_processes_started_after_a_training_predict_the_same(method, layer):
    code = PREDICT_ELSEWHERE.format(method=method)
    assert output(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == ["True", "True"]


TRAIN_IN_THE_CHILD = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
train(net, 1, 10)
child = os.fork()
train(net, 3, 10)
print(hashlib.sha256(net.values).hexdigest(), flush=True)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_fork_in_the_middle_of_a_training_goes_on_in_both_processes_alike(layer):
    parent, child = output(TRAIN_IN_THE_CHILD, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    assert parent == child


@pytest.mark.parametrize("way", ["copy", "pickle"])
def test_a_copy_of_a_network_is_the_same_and_its_own(way):
    import copy
    import pickle

    net = tutorial_network(seed=3, keep_prob=0.7, fused=False, ops="reference")
    other = copy.deepcopy(net) if way == "copy" else pickle.loads(pickle.dumps(net))
    assert other.architecture() == net.architecture()
    np.testing.assert_array_equal(other.values, net.values)
    assert not np.shares_memory(other.values, net.values)
    assert [layer.ops for layer in other.layers] == [layer.ops for layer in net.layers]
    x = np.ones((2, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(
        other.forward(x, training=True), net.forward(x, training=True)
    )  # dropout too


# --- a fork while another thread computes ---

FORK = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
images = images[:5]
expected = net.predict(images)
{before}
busy, finished = threading.Event(), []

def work():
    while not finished:
        busy.set()
        {elsewhere}

thread = threading.Thread(target=work)
thread.start()
busy.wait()
codes = []
for _ in range({times}):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # instead of hanging
        os._exit(0 if np.array_equal(net.predict(images), expected) else 1)
    codes.append(os.waitpid(child, 0)[1])
finished.append(True)
thread.join()
print(set(codes))
"""


@pytest.mark.parametrize(
    ("before", "elsewhere", "times"),
    [
        pytest.param("", "net.predict(images)", 10, id="the same network predicts"),
        pytest.param("other = minicnn.tutorial_network()", "train(other, 1, 5)", 5, id="another is trained"),
        pytest.param("import numba", "numba.njit(lambda x: x + 1)(1)", 5, id="something is compiled"),
        pytest.param("", "minicnn.engine.kernels.jit.thread_count()", 10, id="Numba is asked"),
    ],
)
def test_a_child_forked_while_a_thread_computes_predicts_the_same(before, elsewhere, times):
    code = FORK.format(before=before, elsewhere=elsewhere, times=times)
    assert output(code, NUMBA_NUM_THREADS="2") == ["{0}"]


TRAIN_BESIDE = """
import threading
digests = []
for beside in False, True:
    net, finished = minicnn.tutorial_network(), []
    predicted = net.predict(images)
    def work():
        while not finished:
            probabilities = net.predict(images[:50])
            assert np.isfinite(probabilities).all()
    thread = threading.Thread(target=work)
    if beside:
        thread.start()
    train(net, 10, 20)
    finished.append(True)
    if beside:
        thread.join()
    digests.append(hashlib.sha256(net.values).hexdigest())
print(len(set(digests)))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_predictions_beside_a_training_change_no_bit_of_it(layer):
    assert output(TRAIN_BESIDE, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == ["1"]


EXPLORE = """
import sys, threading, urllib.request
sys.path.insert(0, {tests!r})
from runs import DATA
from minicnn.explore.server import ExploreServer
from minicnn.explore.session import Session
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for

run = Run(settings_for(steps=30, batch_size=10), DATA, "")
session, answers, expected = Session(run.network, DATA, "", run), [], net.predict(images)
with ExploreServer(session) as server:
    def ask():
        for _ in range(20):
            request = urllib.request.Request(server.address + "api/image?gradients=1", bytes(784))
            answers.append(urllib.request.urlopen(request).status)
    threads = [threading.Thread(target=work) for work in (server.serve_forever, ask, ask)]
    for thread in threads: thread.start()
    right = all(np.array_equal(net.predict(images), expected) for _ in range(20))
    for thread in threads[1:]: thread.join()
    server.shutdown()
session.close()
print(right, run.step > 0, set(answers))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_the_page_may_ask_while_its_network_trains_and_another_one_predicts(request, layer):
    code = EXPLORE.format(tests=str(request.path.parent))
    environment = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    assert output(code, **environment) == ["True", "True", "{200}"]


LOKY = """
from joblib import Parallel, delayed
train(net, 2, 10)
results = Parallel(n_jobs=2)(delayed(net.predict)(images) for _ in range(3))
print(all(np.array_equal(r, net.predict(images)) for r in results), len(results))
"""


def test_joblib_predicts_the_same_in_its_processes():
    pytest.importorskip("joblib")
    assert output(LOKY, NUMBA_NUM_THREADS="2") == ["True", "3"]
