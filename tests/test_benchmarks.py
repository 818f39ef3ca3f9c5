"""The helpers that the benchmarks share. Nothing here asks how fast anything is."""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("not in a checkout: no benchmarks", allow_module_level=True)

NAMES = ("accuracy", "all", "chart", "common", "inference", "memory", "old_against_new", "ours", "peers")
NAMES += ("recipe_peers", "assembly", "tile", "data")


@pytest.fixture(scope="module")
def bench():
    """The benchmarks' modules by name; the path and the modules are gone again afterwards."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: __import__(name) for name in NAMES}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def arguments(bench, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # `parse` sets it; this puts it back afterwards
    common = bench["common"]
    return lambda *words: common.parse(common.parser("Text.", rounds=9), words)


def test_contestants_take_turns_in_an_order_that_is_drawn_anew(bench):
    order = []

    def contestant(name, seconds):
        def turn():
            order.append(name)
            return [seconds]

        return turn

    contestants = {name: contestant(name, i + 1.0) for i, name in enumerate("abc")}
    times = bench["common"].race(contestants, rounds=30, rest=0)
    rounds = ["".join(order[i : i + 3]) for i in range(0, 90, 3)]
    assert {"".join(sorted(names)) for names in rounds} == {"abc"}
    assert len(set(rounds)) == 6  # all orders there are
    assert times["b"] == bench["common"].Spread(2.0, 2.0, 2.0, 30)


def test_spread_is_the_median_and_the_quartiles(bench):
    assert bench["common"].Spread.of([5, 1, 2, 100, 3]) == bench["common"].Spread(3, 2, 5, 5)


def test_quick_leaves_two_rounds(arguments):
    assert arguments().rounds == 9
    assert arguments("--quick").rounds == 2
    assert arguments("--quick", "--rounds", "1").rounds == 1
    with pytest.raises(SystemExit):
        arguments("--rounds", "0")


def test_only_keeps_the_first_engine_and_those_that_are_named(bench, arguments):
    engines = [bench["ours"].Minicnn, *bench["peers"].engines()]
    names = [e.__name__ for e in bench["common"].chosen(engines, arguments("--only", "xla", "JAX"))]
    assert names == ["Minicnn", "TensorFlowXLA", "Jax"]
    assert bench["common"].chosen(engines, arguments()) == engines


def test_different_results_are_refused(bench):
    common = bench["common"]
    common.expect_close("same", [1.0, 2.0], [1.0, 2.0001])
    with pytest.raises(common.DifferentResultsError, match="loss: differs by 0.1"):
        common.expect_close("loss", [1.0, 2.1], [1.0, 2.0])
    with pytest.raises(common.DifferentResultsError, match="in shape"):
        common.expect_close("y", np.zeros(2), np.zeros(3))
    with pytest.raises(common.DifferentResultsError):
        common.expect_close("y", [np.nan], [1.0])


def test_a_missing_engine_is_left_out_with_the_reason(bench, monkeypatch, capsys):
    common = bench["common"]

    def worker(engine, *_):
        raise common.UnavailableError("no such framework")

    monkeypatch.setattr(common, "Worker", worker)
    workers, left_out = common.start_workers(contextlib.ExitStack(), [bench["peers"].Jax], {}, 1)
    assert workers == {}
    assert left_out == {"JAX jit": "no such framework"}
    assert "left out: JAX jit: no such framework" in capsys.readouterr().out


def test_a_report_becomes_text_json_and_markdown(bench, arguments, tmp_path, capsys):
    report = bench["common"].Report(
        "step", "What it is.\n\nMore.", arguments("--output", f"{tmp_path}/a.json")
    )
    report.add("Times", ["engine", "ms"], [["minicnn", "14.0"], ["a peer", "40.1"]], "A note.")
    report.write()
    shown = capsys.readouterr().out
    assert "minicnn  14.0\na peer   40.1\nA note." in shown
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["machine"]["versions"]["numpy"] == np.__version__
    text = bench["all"].markdown([content])
    assert "## step\n\nWhat it is.\n\n`python benchmarks/step.py" in text
    assert "| engine | ms |\n| --- | ---: |\n| minicnn | 14.0 |" in text


def test_our_engine_speaks_the_peers_language(bench):
    parameters = bench["peers"].example_parameters()
    engine = bench["ours"].Minicnn(parameters, threads=1, keep_prob=1.0)
    for name, value in engine.parameters().items():
        np.testing.assert_array_equal(value, parameters[name])
    x, labels = bench["common"].mnist_batches(2, 2)
    assert x.shape == (2, 2, 28, 28, 1)
    assert (x.dtype, labels.dtype) == (np.float32, np.int64)
    engine.feed(x, labels)
    assert len(engine.time_steps(1, warmup=1)) == 1
    assert engine.predict(x[0]).shape == (2, 10)
    assert set(engine.parameters()) == set(parameters)


def test_a_version_without_a_training_step_is_given_the_same_one(bench):
    x, labels = bench["common"].mnist_batches(1, 4)
    losses, values = [], []
    for train_step in (minicnn.train_step, bench["old_against_new"].train_step):
        engine = bench["ours"].Minicnn(bench["peers"].example_parameters(), threads=1)
        losses.append(train_step(engine.network, engine.loss, engine.optimizer, x[0], labels[0]))
        values.append(engine.network.values.copy())
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*values)


def test_a_version_must_come_from_its_own_checkout(bench, monkeypatch, tmp_path):
    module = bench["old_against_new"]
    monkeypatch.setenv(module.CHECKOUT, str(Path(minicnn.__file__).resolve().parents[1]))
    assert module.New.available()
    monkeypatch.setenv(module.CHECKOUT, str(tmp_path))
    assert not module.New.available()
    assert f"expected minicnn of {tmp_path}" in module.New.reason


ASSEMBLY = """
run:
    movq %rdi, %rax
.LBB0_1:
    vmovups (%rdx), %ymm0
    vmovaps 32(%rsp), %ymm3
    vbroadcastss (%rcx), %ymm1
    vfmadd231ps %ymm0, %ymm1, %ymm2
    vfmadd231ps %ymm0, %ymm1, %ymm3
    movq 8(%rsp), %rax
    vmovaps %ymm3, 32(%rsp)
    addq $4, %rcx
    jne .LBB0_1
    retq
"""


def test_the_inner_loop_is_read_from_the_assembly(bench):
    assembly = bench["assembly"]
    assert assembly.read_inner_loop(ASSEMBLY) == assembly.InnerLoop(2, True, stack_accesses=2, instructions=9)


def test_the_chart_is_drawn(bench, tmp_path):
    engines = [
        {"name": name, "median": t, "lower": 0.9 * t, "upper": 1.1 * t}
        for name, t in (("minicnn", 0.014), ("PyTorch eager", 0.036), ("JAX jit", 0.07))
    ]
    machine = {"processor": "A processor", "cores": 2, "date": "2026-01-01"}
    bench["chart"].draw(
        {"data": {"batch": 50, "engines": engines}, "machine": machine, "threads": 2}, tmp_path / "step.png"
    )
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("recipe", ["tutorial", "fast", "best", "softmax"])
@pytest.mark.parametrize("quick", [False, True])
def test_the_command_whose_accuracy_is_measured_is_the_recipe(bench, tmp_path, recipe, quick):
    from minicnn.cli import build_parser
    from minicnn.cli.train import given_settings
    from minicnn.runs.settings import settings_for

    settings = bench["accuracy"].settings_of(recipe, quick)
    command = bench["accuracy"].command_of(settings, 3, tmp_path / "run", threads=2)
    args = build_parser().parse_args(command[command.index("minicnn") + 1 :])
    assert dataclasses.asdict(settings_for(**given_settings(args))) == settings | {"seed": 3}
    assert (args.run_dir, args.threads, args.quiet) == (str(tmp_path / "run"), 2, True)


def test_accuracies_are_read_off_at_a_step(bench):
    def curve(*accuracies):
        return [
            {"step": 10 * (i + 1), "test_accuracy": a, "seconds": 2.0 * (i + 1)}
            for i, a in enumerate(accuracies)
        ]

    runs = [{"curve": curve(0.5, 0.9)}, {"curve": curve(0.7, 0.8)}, {"curve": curve(0.6, 0.7)}]
    found = bench["accuracy"].summary(runs, 10)
    assert found["accuracies"] == [0.5, 0.7, 0.6]
    assert found["mean"] == pytest.approx(0.6)
    assert found["deviation"] == pytest.approx(0.1)
    assert (found["minimum"], found["maximum"], found["training_seconds"]) == (0.5, 0.7, 2.0)
    assert bench["accuracy"].summary(runs, 20)["minimum"] == 0.7


@pytest.mark.parametrize("recipe", ["tutorial", "fast", "best"])
def test_pytorch_trains_by_the_very_same_recipe(bench, monkeypatch, recipe):
    pytest.importorskip("torch")
    from minicnn import data
    from minicnn.tutorial import RECIPES

    peers = bench["recipe_peers"]
    mnist = data.load_mnist()
    few = data.Dataset(
        data.Split(mnist.train.images[:50], mnist.train.labels[:50]),
        mnist.validation,
        data.Split(mnist.test.images[:100], mnist.test.labels[:100]),
    )
    monkeypatch.setattr(data, "load_mnist", lambda: few)
    job = peers.job_of(RECIPES[recipe], 3, 1, steps=5, batch_size=10, keep_prob=1.0)
    losses, accuracy = peers.train_minicnn(job)
    for engine in (bench["peers"].PyTorch, bench["peers"].PyTorchChannelsLast):
        their_losses, their_accuracy = peers.train_torch(engine, job)
        np.testing.assert_allclose(their_losses, losses, rtol=0.01)
        assert their_accuracy == pytest.approx(accuracy, abs=0.02)


def test_every_form_of_a_data_set_holds_the_same_images(bench, tmp_path):
    pytest.importorskip("pyarrow")
    data = bench["data"]
    images, labels = data.mnist(60)
    found = {
        form: data.read(write(tmp_path / form.strip("."), images, labels))
        for form, write in data.FORMS.items()
    }
    assert len({one["content"] for one in found.values()}) == 1
    assert all(one["megabytes"] > 0 and one["seconds"] > 0 for one in found.values())


def test_a_test_set_goes_into_keras_archive(bench, tmp_path):
    data = bench["data"]
    images, labels = data.mnist(60)
    path = data.write_npz(tmp_path / "a", images, labels, packed=True, x_test=images[:7], y_test=labels[:7])
    assert len(minicnn.load_data(path).test) == 7
