"""A run: the loop, its measurements, its directory, and going on where it stopped."""

import dataclasses
import errno
import functools
import json
import os
import re
import signal
import threading

import filelock
import numpy as np
import pytest
from runs import (
    CNN,
    DATA,
    assert_same_state,
    exit_code,
    limit,
    metrics_but_seconds,
    new_cnn_run,
    new_run,
    reopen,
    split,
    start_child,
    stop_at,
)

from minicnn.data.augmentation import Augmentation
from minicnn.engine import reference
from minicnn.engine.losses import SoftmaxCrossEntropy
from minicnn.engine.network import load_network
from minicnn.engine.optimizers import Adam
from minicnn.runs import checkpoint
from minicnn.runs import run as run_module
from minicnn.runs.checkpoint import NEWEST, PREVIOUS
from minicnn.runs.directory import CONFIG, METRICS, RunError, alone_in, read_config
from minicnn.runs.loop import train
from minicnn.runs.run import Run, build_network
from minicnn.runs.settings import settings_for
from minicnn.tutorial import RECIPES, SOFTMAX_RECIPE, tutorial_network

BUILD_NETWORK = build_network
EVERYTHING = {  # that a recipe can ask for
    "recipe": "best", "init": "he", "beta2": 0.99, "warmup": 0.3, "schedule": "cosine", "min_lr_ratio": 0.1,
    "ema_decay": 0.8, "weight_decay": 0.1, "label_smoothing": 0.1,
    "shift": 1, "rotation": 5, "scale": 0.1, "shear": 0.1, "elastic": 1, "flags": 0.5,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("small_networks")


# --- the loop ---


def test_a_run_learns(tmp_path):
    run = new_run(tmp_path / "r", steps=40)
    logged = []
    train(run, log=logged.append)
    assert logged[-1].loss < 0.5 * logged[0].loss
    assert logged[-1].training_accuracy == 1
    assert run.finished


def test_the_log_line(tmp_path):
    logged = []
    train(new_run(tmp_path / "r", steps=2), log=logged.append)
    assert len(logged) == 1
    number = r"\d+\.\d{4}"
    line = rf"step 2  loss {number}  training accuracy {number}  test accuracy {number}"
    assert re.fullmatch(line, str(logged[0]))


def test_the_last_step_is_logged_too(tmp_path):
    logged = []
    train(new_run(tmp_path / "r", steps=5), log=logged.append)
    assert [m.step for m in logged] == [2, 4, 5]


def test_metrics_have_the_numbers_of_the_log(tmp_path):
    logged = []
    train(new_run(tmp_path / "r"), log=logged.append)
    lines = (tmp_path / "r" / METRICS).read_text().splitlines()
    assert lines[0] == "step,loss,training_accuracy,test_accuracy,seconds"
    for line, m in zip(lines[1:], logged, strict=True):
        wanted = [m.step, m.loss, m.training_accuracy, m.test_accuracy, m.seconds]
        assert [float(field) for field in line.split(",")] == pytest.approx(wanted, abs=0.01)


def test_the_logged_loss_is_the_mean_per_image_for_either_reduction(tmp_path):
    losses = {}
    for reduction, rate in (("mean", 0.4), ("sum", 0.1)):  # the same steps
        logged = []
        train(new_run(tmp_path / reduction, reduction=reduction, learning_rate=rate), log=logged.append)
        losses[reduction] = [m.loss for m in logged]
    assert losses["sum"] == pytest.approx(losses["mean"], rel=1e-5)


def test_the_batches_are_those_of_the_seed(tmp_path):
    run = new_run(tmp_path / "r")
    x, labels = run.batch(6)
    chosen = run.batch.batches.indices(5)
    np.testing.assert_array_equal(labels, DATA.train.labels[chosen])
    np.testing.assert_array_equal(x[..., 0], DATA.train.images[chosen] / np.float32(255))


def test_a_step_reuses_the_memory_of_its_batch(tmp_path):
    run = new_run(tmp_path / "r")
    assert run.batch(1)[0] is run.batch(2)[0]


def test_the_test_images_are_evaluated_once_a_step(tmp_path, monkeypatch):
    run, predicted = new_run(tmp_path / "r", steps=4), []
    predict = run.network.predict
    monkeypatch.setattr(run.network, "predict", lambda images: predicted.append(images) or predict(images))
    train(run)
    run.test_probabilities()
    assert sum(images is DATA.test.images for images in predicted) == 2  # steps 2 and 4


def test_seeds_differ(tmp_path):
    for seed in (0, 1):
        train(new_run(tmp_path / str(seed), seed=seed))
    assert metrics_but_seconds(tmp_path / "0") != metrics_but_seconds(tmp_path / "1")


def test_the_model_is_the_tutorials():
    for changes in ({"plain": True}, {"plain": False}):
        network = BUILD_NETWORK(
            settings_for(**changes, seed=3, keep_prob=0.7, ops="reference"), (28, 28, 1), 10
        )
        wanted = tutorial_network(3, 0.7, fused=not changes["plain"])
        np.testing.assert_array_equal(network.values, wanted.values)
        assert network.architecture() == wanted.architecture()


# --- recipes ---


def test_the_tutorials_run_is_the_plain_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "build_network", BUILD_NETWORK)
    run = new_cnn_run(tmp_path / "r", steps=3, ops="kernels")
    network = tutorial_network(seed=0, shards=run.settings.shards)
    loss, adam = SoftmaxCrossEntropy("sum"), Adam(network.parameters(), learning_rate=1e-4)
    for step in range(3):
        chosen = run.batch.batches.indices(step)
        x = (DATA.train.images[chosen] / np.float32(255))[..., None]
        expected = loss.forward(network.forward(x, training=True), DATA.train.labels[chosen])
        network.backward(loss.backward())
        adam.step()
        assert run.train_one_batch() == expected / 4
    np.testing.assert_array_equal(run.network.values, network.values)


def test_the_learning_rate_follows_the_schedule(tmp_path):
    run = new_run(tmp_path / "r", steps=10, learning_rate=0.4, warmup=0.2, schedule="linear")
    used = []
    train(run, progress=lambda _: used.append(run.optimizer.learning_rate))
    assert used == pytest.approx([0.2, 0.4, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05])


def test_adam_forgets_squares_as_the_recipe_says():
    run = Run(settings_for(**CNN, beta2=0.5), DATA, "nowhere")
    run.train_one_batch()
    np.testing.assert_allclose(run.optimizer.state["v"], 0.5 * run.model.grads**2, rtol=1e-6)


def test_what_is_averaged_is_what_is_used_and_saved(tmp_path):
    run = new_cnn_run(tmp_path / "r", steps=6, **EVERYTHING)
    average = run.network.values.copy()
    for step in range(1, 7):
        run.train_one_batch()
        decay = min(0.8, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * run.model.values
    np.testing.assert_allclose(run.network.values, average, rtol=1e-5, atol=1e-7)
    assert (run.network.values != run.model.values).mean() > 0.9
    run.save()
    saved = load_network(run.directory / NEWEST, ops="reference")
    np.testing.assert_array_equal(saved.values, run.network.values)
    np.testing.assert_array_equal(saved.predict(DATA.test.images), run.test_probabilities())


def test_a_run_that_gave_its_memory_back_predicts_as_before(tmp_path):
    run = new_cnn_run(tmp_path / "r", steps=2, **EVERYTHING)
    train(run)
    before = run.network.predict(DATA.train.images)
    run.release()
    np.testing.assert_array_equal(run.network.predict(DATA.train.images), before)


def test_without_an_average_the_weights_are_kept_once(tmp_path):
    run = new_cnn_run(tmp_path / "r", steps=1)
    assert run.network is run.model
    assert not any(name.startswith("model/") for name in run.arrays())


def test_images_are_distorted_to_train_and_only_to_train(tmp_path):
    plain, run = new_run(tmp_path / "plain"), new_run(tmp_path / "r", shift=2)
    assert (plain.batch(1)[0] != run.batch(1)[0]).any()
    np.testing.assert_array_equal(plain.test_probabilities(), run.test_probabilities())


@pytest.mark.parametrize("ops", ["reference", "kernels"])
def test_images_are_distorted_as_seed_and_step_say(tmp_path, ops):
    run = new_run(tmp_path / "r", ops=ops, seed=5, shift=1, elastic=1)
    pixels = DATA.train.images[run.batch.batches.indices(3)]
    displacements = Augmentation(shift=1, elastic=1).displacements(4, (28, 28), seed=5, step=3)
    np.testing.assert_allclose(run.batch(4)[0], reference.warp(pixels, displacements), atol=1e-5)


@pytest.mark.parametrize("step", [1, 4, 8])
def test_all_that_a_recipe_can_ask_for_resumes_to_the_bit(tmp_path, step):
    whole = new_cnn_run(tmp_path / "whole", steps=9, **EVERYTHING)
    train(whole)
    stop_at(new_cnn_run(tmp_path / "r", steps=9, **EVERYTHING), step)
    run = reopen(tmp_path / "r")
    train(run)
    assert any(name.startswith("model/") for name in run.arrays())
    assert_same_state(run, whole)


def test_a_falling_learning_rate_ends_where_it_was_to_end(tmp_path):
    train(new_run(tmp_path / "r", steps=4, schedule="linear"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    with pytest.raises(RunError, match="falls until step 4"):
        reopen(tmp_path / "r", steps=8)
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


# --- settings ---


@pytest.mark.parametrize(("model", "recipe"), [("cnn", RECIPES["tutorial"]), ("softmax", SOFTMAX_RECIPE)])
def test_the_recipes_numbers_are_used(model, recipe):
    assert dataclasses.asdict(settings_for(model=model)).items() >= dataclasses.asdict(recipe).items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 1.5), ("steps", True), ("batch_size", 0), ("batch_size", 10_001),
        ("learning_rate", 0), ("learning_rate", float("nan")), ("learning_rate", float("inf")),
        ("learning_rate", -1), ("learning_rate", 10**400), ("keep_prob", 0),
        ("keep_prob", 1.1), ("keep_prob", float("nan")),
        ("seed", -1), ("seed", 2**32), ("log_every", 0), ("recipe", "none"), ("model", "rnn"),
        ("ops", "blas"), ("optimizer", "adagrad"), ("reduction", "max"), ("plain", 1), ("data", ""),
        ("data", 3), ("learning_rate", "0.1"), ("init", "zero"), ("schedule", "steep"), ("warmup", 1),
        ("min_lr_ratio", -0.1), ("ema_decay", 1.0), ("beta2", 1.0), ("shift", -1),
        ("rotation", float("nan")), ("scale", "1"), ("elastic", True), ("flags", 1.1), ("flags", -1),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        settings_for(**{name: value})


def test_the_softmax_model_has_no_dropout():
    with pytest.raises(ValueError, match="keep_prob"):
        settings_for(model="softmax", keep_prob=0.5)


# --- the directory ---


def test_a_new_run_holds_its_settings_and_a_first_checkpoint(tmp_path):
    run = new_run(tmp_path / "r")
    assert read_config(run.directory)[0] == run.settings
    assert reopen(run.directory).step == 0


def test_default_directories_are_unique(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [new_run(None) for _ in range(3)]
    assert len({run.directory for run in runs}) == 3
    for run in runs:
        assert re.fullmatch(r"runs/\d{8}-\d{6}-softmax-seed0(-\d)?", str(run.directory))


def test_a_directory_with_a_run_is_refused(tmp_path):
    new_run(tmp_path / "r")
    before = {path: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    with pytest.raises(RunError, match="already holds a run"):
        new_run(tmp_path / "r")
    assert {path: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


def test_an_existing_directory_without_a_run_will_do(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    train(new_run(tmp_path))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "r").write_text("")
    for directory in (tmp_path / "r", tmp_path / "r" / "deeper"):
        with pytest.raises(RunError, match="r"):
            new_run(directory)


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_run_is_trained_where_the_file_system_has_no_locks(tmp_path, monkeypatch, name):
    import fcntl  # not on Windows

    if name != "ENOSYS" and int(filelock.__version__.split(".")[0]) < 4:
        pytest.skip("filelock takes this error for a lock that another process holds")

    def refuse(*arguments):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr(fcntl, "flock", refuse)
    run = new_run(tmp_path / "r")
    train(run)
    assert reopen(run.directory).finished


def test_a_disk_that_is_full_at_the_start_leaves_nothing_behind(tmp_path):
    with limit("RLIMIT_FSIZE", 10_000), pytest.raises(RunError, match="cannot be written"):
        new_run(tmp_path / "r")  # its config.json has its place
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path):
    run = new_run(tmp_path / "r", log_every=100)
    with limit("RLIMIT_FSIZE", 10_000), pytest.raises(RunError, match="cannot be written"):
        train(run)
    assert reopen(run.directory).step == 0


def test_of_processes_that_begin_a_run_in_one_directory_one_does_and_the_others_change_nothing(tmp_path):
    for attempt in range(5):
        directory = tmp_path / str(attempt)
        starting, gun = os.pipe()

        def work(seed, directory=directory, starting=starting, gun=gun):
            os.close(gun)
            os.read(starting, 1)  # returns when the last writer is gone: for all at once
            try:
                train(new_run(directory, seed=seed, steps=2))
            except RunError:
                return 2

        children = [start_child(functools.partial(work, seed)) for seed in range(4)]
        os.close(starting)
        os.close(gun)
        codes = [exit_code(child) for child in children]
        assert sorted(codes) == [0, 2, 2, 2]
        assert reopen(directory).finished
        assert read_config(directory)[0].seed == codes.index(0)


def test_two_processes_do_not_train_one_run(tmp_path):
    run = new_run(tmp_path / "r")
    with alone_in(run.directory), pytest.raises(RunError, match="another process"):
        train(run)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"steps": 1}', "[" * 100_000, "\0", '{"steps": 1e999}',
        '{"unknown": 1}', "9" * 5000,
    ],
)  # fmt: skip
def test_a_bad_config_is_refused_by_name(tmp_path, text):
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(RunError, match=CONFIG):
        read_config(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("seed", "x"), ("model", []), ("extra", 1)])
def test_a_bad_value_in_the_config_is_named(tmp_path, name, value):
    path = new_run(tmp_path / "r").directory / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(RunError, match=f"{CONFIG}.*{name}"):
        read_config(tmp_path / "r")


# --- going on ---


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = new_run(tmp_path_factory.mktemp("whole") / "r", steps=10, log_every=1)
    train(run)
    return run


def test_a_checkpoint_names_weights_and_moments(tmp_path):
    run = new_cnn_run(tmp_path / "r", steps=1)
    arrays = checkpoint.read(run.directory / NEWEST, run.arrays()).arrays
    weights = {p.name: p.value.shape for p in run.network.parameters()}
    moments = {f"adam/{kind}/{name}": shape for name, shape in weights.items() for kind in "mv"}
    assert {name: array.shape for name, array in arrays.items()} == weights | moments


def test_rows_that_the_checkpoint_does_not_know_are_written_again(tmp_path, uninterrupted):
    run = new_run(tmp_path / "r", steps=10, log_every=1)
    stop_at(run, 4)
    with open(tmp_path / "r" / METRICS, "a") as file:
        file.write("5,9.9,0.1,0.1,3.00\n6,9.9,0.1")  # killed while writing
    run = reopen(tmp_path / "r")
    train(run)
    assert_same_state(run, uninterrupted)


def test_more_steps_are_the_steps_of_a_longer_run(tmp_path, uninterrupted):
    train(new_run(tmp_path / "r", steps=5, log_every=1))
    run = reopen(tmp_path / "r", steps=10)
    train(run)
    assert_same_state(run, uninterrupted)
    assert read_config(tmp_path / "r")[0].steps == 10


def test_more_steps_leave_no_row_of_the_former_end(tmp_path):
    train(new_run(tmp_path / "r", steps=5, log_every=3))
    train(reopen(tmp_path / "r", steps=7))
    assert [row.split(",")[0] for row in metrics_but_seconds(tmp_path / "r")] == ["step", "3", "6", "7"]


def test_a_finished_run_stays_as_it_is(tmp_path):
    train(new_run(tmp_path / "r"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    run = reopen(tmp_path / "r")
    assert run.finished
    train(run)
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


@pytest.mark.usefixtures("save_every_step")
def test_a_damaged_checkpoint_costs_one_interval(tmp_path, uninterrupted):
    run = new_run(tmp_path / "r", steps=10, log_every=1)
    stop_at(run, 6)
    (tmp_path / "r" / NEWEST).write_bytes(b"nonsense")
    warnings = []
    run = reopen(tmp_path / "r", warnings.append)
    assert run.step == 5
    assert len(warnings) == 1
    train(run)
    assert_same_state(run, uninterrupted)


def test_without_a_checkpoint_a_run_begins_again(tmp_path, uninterrupted):
    stop_at(new_run(tmp_path / "r", steps=10, log_every=1), 4)
    for name in (NEWEST, PREVIOUS):
        (tmp_path / "r" / name).unlink()
    warnings = []
    run = reopen(tmp_path / "r", warnings.append)
    assert len(warnings) == 1
    train(run)
    assert_same_state(run, uninterrupted)


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    new_run(tmp_path / "r")
    new_run(tmp_path / "other", seed=1)
    os.replace(tmp_path / "other" / NEWEST, tmp_path / "r" / NEWEST)
    with pytest.raises(RunError, match="seed"):
        reopen(tmp_path / "r")


@pytest.fixture(scope="module")
def cnn_run():
    return Run(settings_for(**CNN), DATA, "nowhere")


def test_a_state_from_before_a_setting_was_there_is_taken_as_having_its_default(cnn_run):
    facts = cnn_run._facts()
    del facts["config"]["label_smoothing"]
    cnn_run._restore(checkpoint.Checkpoint(cnn_run.arrays(), facts, cnn_run.directory / NEWEST))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1), ("step", "3"), ("seconds", None), ("random", []), ("random", {}), ("config", 3),
        ("random", {"dropout.rng": {"bit_generator": "PCG64", "state": {"state": 1 << 300, "inc": 1}}}),
        ("random", {"dropout.rng": {"bit_generator": "MT19937"}}), ("config", {}),
    ],
)  # fmt: skip
def test_a_forged_state_changes_nothing(cnn_run, name, value):
    arrays = {name: np.ones_like(array) for name, array in cnn_run.arrays().items()}
    before = cnn_run.network.values.copy(), cnn_run._facts() | {"seconds": 0}
    forged = checkpoint.Checkpoint(arrays, cnn_run._facts() | {name: value}, cnn_run.directory / NEWEST)
    with pytest.raises(RunError, match=NEWEST):
        cnn_run._restore(forged)
    np.testing.assert_array_equal(cnn_run.network.values, before[0])
    assert cnn_run._facts() | {"seconds": 0} == before[1]


def test_other_data_is_refused_before_anything_is_written(tmp_path):
    train(new_run(tmp_path / "r"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    settings, _ = read_config(tmp_path / "r")
    other = dataclasses.replace(DATA, train=split(13, 9))
    run = Run.open(dataclasses.replace(settings, steps=20), other, tmp_path / "r")
    with pytest.raises(RunError, match="other data"):
        train(run)
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


# --- stopping ---


def test_signals_are_left_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    stop_at(new_run(tmp_path / "r"), 2)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_ends_at_once(tmp_path):
    run = new_run(tmp_path / "r")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def progress(images):
        signal.raise_signal(signal.SIGINT)  # at once, where os.kill may merge two into one
        signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            train(run, progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reopen(run.directory).step == 0


def test_a_run_trains_outside_the_main_thread(tmp_path):
    run = new_run(tmp_path / "r")
    thread = threading.Thread(target=train, args=(run,))
    thread.start()
    thread.join()
    assert run.finished
