"""The commands as a user meets them: what they print, which files they leave, how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from commands import assert_usage_error, options, run_main, write_idx

from minicnn import __version__, cli
from minicnn.cli import build_parser, main
from minicnn.cli.common import PICTURES
from minicnn.engine import ops
from minicnn.runs import run as run_module
from minicnn.tutorial import RECIPES, SOFTMAX_RECIPE

COMMANDS = ("train", "evaluate", "predict", "report", "sweep", "export", "import", "gradcheck", "learn")
FILES = {"config.json", "metrics.csv", "checkpoint.safetensors", *PICTURES}
NUMBER = r"\d+\.\d{4}"
RESULT = r"test accuracy \d\.\d{4} \(\d+ of 20\)"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures():
    """For the tests in which pictures are drawn; it takes a second."""


@pytest.fixture(autouse=True)
def no_pictures_unless_asked_for(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(cli.train, "draw_pictures", lambda run, probabilities: None)


def start(*argv, **popen):
    """The command in another process."""
    command = [sys.executable, "-m", "minicnn", *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **popen}
    return subprocess.Popen(command, **pipes)


# --- train ---


def test_training_prints_log_lines_and_ends_with_the_result(capsys, data):
    code, out, err = run_main(capsys, "train", *options(data, "--steps", 20, "--log-every", 10))
    assert (code, err) == (0, [])
    line = rf"step \d+  loss {NUMBER}  training accuracy {NUMBER}  test accuracy {NUMBER}"
    steps = [line for line in out if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == ["10", "20"]
    assert all(re.fullmatch(line, step) for step in steps)
    assert re.fullmatch(RESULT, out[-1])


def test_the_first_lines_describe_the_run(capsys, data, tmp_path):
    _, out, _ = run_main(capsys, *options(data, "--steps", 2, "--run-dir", "here"))
    printed = "\n".join(out[:12])
    for words in (str(data), "55 training", "20 test", "7,850", "2 steps of 5 images", "writing to here"):
        assert words in printed
    assert out[1].startswith(
        "found IDX files: 55 + 5 + 20 images of 28 x 28, 10 classes; validation held out "
    )
    del out[1]
    assert out[1].startswith("2 steps of 5 images")


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("recipe", "rate"), [("tutorial", "0.0001"), ("fast", "up to 0.003")])
def test_a_learning_rate_that_varies_is_printed_as_the_highest(capsys, data, recipe, rate):
    small = ["--ops", "reference", "--steps", "2", "--batch-size", "5", "--data", data]
    _, out, _ = run_main(capsys, "train", "--recipe", recipe, *small)
    assert f"2 steps of 5 images, adam with learning rate {rate}, seed 0" in out


@pytest.mark.parametrize(
    ("typed", "named"),
    [("/usr/bin/minicnn", "minicnn"), ("/x/minicnn/__main__.py", "python -m minicnn")],
)
def test_the_last_lines_name_the_files_and_what_to_type_next(capsys, data, monkeypatch, typed, named):
    monkeypatch.setattr(sys, "argv", [typed])
    _, out, _ = run_main(capsys, *options(data, "--steps", 2, "--run-dir", "my run"))
    assert "weights, metrics and pictures are in my run" in out
    name = '"my run"' if sys.platform == "win32" else "'my run'"
    for command in (f"evaluate {name}", f"predict {name} IMAGE --show", f"report {name}"):
        assert any(line.endswith(f"  {named} {command}") for line in out)


@pytest.mark.usefixtures("pictures")
def test_a_run_leaves_its_files(data, tmp_path):
    main(options(data, "--steps", 4, "--run-dir", "r"))
    assert {path.name for path in (tmp_path / "r").iterdir()} >= FILES
    for name in PICTURES:
        assert (tmp_path / "r" / name).read_bytes().startswith(b"\x89PNG")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["minicnn"] == __version__
    assert config["steps"] == 4
    header = (tmp_path / "r" / "metrics.csv").read_text().splitlines()[0]
    assert header == "step,loss,training_accuracy,test_accuracy,seconds"


def test_train_is_the_default_command_and_runs_the_default_directory(capsys, data, tmp_path):
    for argv in (["--steps", "2"], ["train", "--steps", "2"]):
        assert main([*argv, *options(data)]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_quiet_prints_the_result_alone(capsys, data):
    code, out, err = run_main(capsys, *options(data, "--steps", 2, "--quiet"))
    assert (code, err) == (0, [])
    assert len(out) == 1
    assert re.fullmatch(RESULT, out[0])


def test_the_help_lists_the_defaults_of_the_recipe():
    text = build_parser()._subparsers._group_actions[0].choices["train"].format_help()
    recipe = RECIPES["tutorial"]
    for value in (recipe.steps, recipe.batch_size, f"{recipe.learning_rate:.4f}", recipe.keep_prob):
        assert f"({value})" in text
    assert f"({recipe.log_every})" in text
    softmax = SOFTMAX_RECIPE
    assert (
        f"softmax: {softmax.steps} steps of {softmax.batch_size}, learning rate {softmax.learning_rate}"
        in text
    )


def test_a_bar_is_drawn_on_a_terminal_only(capsys, data, monkeypatch):
    _, _, err = run_main(capsys, *options(data, "--steps", 2))
    assert err == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((0, 0)))
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    _, out, err = run_main(capsys, *options(data, "--steps", 2))
    assert "images/s" in "".join(err)
    assert re.fullmatch(RESULT, out[-1])


# --- bad usage ---


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--steps", "0"], "steps"),
        (["--steps", "many"], "--steps"),
        (["--steps", "1.5"], "--steps"),
        (["--batch-size", "-5"], "batch_size"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--learning-rate", "inf"], "learning_rate"),
        (["--learning-rate", "0"], "learning_rate"),
        (["--keep-prob", "0"], "keep_prob"),
        (["--keep-prob", "1.01"], "keep_prob"),
        (["--seed", "-1"], "seed"),
        (["--log-every", "0"], "log_every"),
        (["--recipe", "none"], "tutorial"),
        (["--model", "rnn"], "softmax"),
        (["--ops", "blas"], "reference"),
        (["--threads", "0"], "threads"),
        (["--threads", "100000"], "threads"),
        (["--step", "3"], "--step"),
        (["--data", ""], "data"),
        (["--run-dir", ""], "--run-dir"),
        (["--resume", ""], "--resume"),
        (["--model", "softmax", "--keep-prob", "0.5"], "keep_prob"),
        (["--model", "softmax", "--plain"], "plain"),
        (["--resume", "a", "--run-dir", "b"], "--run-dir and --resume cannot be combined"),
        (["--resume", "nowhere"], "nowhere"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "two\nlines"], "two\\nlines"),
        (["fly"], "fly"),
        (["evaluate"], "RUN"),
        (["evaluate", "nowhere"], "nowhere: no such file or directory, expected a run directory"),
        (["evaluate", "a", "b"], "b"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(capsys, tmp_path, argv, word):
    assert_usage_error(run_main(capsys, *argv), word)
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_one_line_and_leaves_nothing(capsys, tmp_path, data):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in data.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    write_idx(bad / "t10k-labels-idx1-ubyte", np.full(20, 77, np.uint8))
    assert_usage_error(run_main(capsys, *options(bad, "--run-dir", "r")), "t10k-labels", "77")
    assert not (tmp_path / "r").exists()


def test_a_directory_with_a_run_is_refused(capsys, data):
    main(options(data, "--steps", 2, "--run-dir", "r"))
    capsys.readouterr()
    assert_usage_error(run_main(capsys, *options(data, "--run-dir", "r")), "r: already", "--resume")


def test_a_place_that_cannot_be_written_is_refused_before_the_training(capsys, data, tmp_path):
    (tmp_path / "file").write_text("")
    result = run_main(capsys, *options(data, "--run-dir", "file/r"))
    assert_usage_error(result, "file/r", "Not a directory")


def test_runs_being_a_file_is_refused(capsys, data, tmp_path):
    (tmp_path / "runs").write_text("")
    assert_usage_error(run_main(capsys, *options(data)), "runs")


@pytest.mark.parametrize("argv", [["--version"], ["--help"], *([c, "--help"] for c in COMMANDS)])
def test_version_and_help(capsys, argv):
    code, out, err = run_main(capsys, *argv)
    assert (code, err) == (0, [])
    if argv == ["--version"]:
        assert out == [f"minicnn {__version__}"]
    else:
        assert out[0].startswith("usage: minicnn")
        assert any("example" in line for line in out)


# --- resume ---


def test_a_finished_run_is_reported_as_such(capsys, data):
    _, before, _ = run_main(capsys, *options(data, "--steps", 3, "--run-dir", "r"))
    code, out, err = run_main(capsys, "--resume", "r")
    assert (code, err) == (0, [])
    assert "r: all 3 steps are done; continue with --steps N" in out
    assert out[-1] == before[-1]
    assert not any(line.startswith("step ") for line in out)


@pytest.mark.usefixtures("pictures")
def test_more_steps_go_on(capsys, data, tmp_path):
    main(options(data, "--steps", 4, "--log-every", 2, "--run-dir", "r"))
    capsys.readouterr()
    code, out, _ = run_main(capsys, "train", "--resume", "r", "--steps", 8)
    assert code == 0
    assert "resuming r at step 4" in out
    assert [line.split()[1] for line in out if line.startswith("step ")] == ["6", "8"]
    main(options(data, "--steps", 8, "--log-every", 2, "--run-dir", "whole"))
    metrics = [(tmp_path / run / "metrics.csv").read_text() for run in ("r", "whole")]
    assert re.sub(r",[\d.]+$", "", metrics[0], flags=re.M) == re.sub(r",[\d.]+$", "", metrics[1], flags=re.M)
    for name in PICTURES:
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    "option", [["--seed", "5"], ["--steps", "2"], ["--plain"], ["--model", "cnn"], ["--learning-rate", "0.2"]]
)
def test_a_contradicting_option_is_refused(capsys, data, option):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    capsys.readouterr()
    assert_usage_error(run_main(capsys, "--resume", "r", *option), option[0])


def test_options_that_agree_with_the_run_are_accepted(capsys, data):
    argv = options(data, "--steps", 3)
    main([*argv, "--run-dir", "r"])
    assert main([*argv, "--resume", "r"]) == 0


def test_other_data_is_refused(capsys, data, tmp_path):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    other = tmp_path / "other"
    other.mkdir()
    for file in data.iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        (other / file.name).write_bytes(content)
    capsys.readouterr()
    code, _, err = run_main(capsys, "--resume", "r", "--data", other, "--steps", 5)
    assert code == 2
    assert len(err) == 1
    assert "other data" in err[0]


def test_a_damaged_checkpoint_costs_one_warning(capsys, data, tmp_path):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    (tmp_path / "r" / "checkpoint.safetensors").write_bytes(b"nonsense")
    capsys.readouterr()
    code, out, err = run_main(capsys, "--resume", "r")
    assert code == 0
    assert re.fullmatch(RESULT, out[-1])
    assert len(err) == 1
    assert err[0].startswith("minicnn: warning: r/checkpoint.safetensors: ")


# --- evaluate ---


def test_evaluate_measures_what_training_measured(capsys, data):
    _, trained, _ = run_main(capsys, *options(data, "--steps", 3, "--run-dir", "r"))
    code, out, err = run_main(capsys, "evaluate", "r")
    assert (code, err) == (0, [])
    assert out[0] == trained[-1]
    for digit in range(10):
        assert re.fullmatch(rf"class {digit}  accuracy \d\.\d{{4}} \(\d of 2\)", out[1 + digit])
    assert len(out) > 11
    assert out.pop() == "measured after 3 of 3 steps"
    for line in out[11:]:
        assert re.fullmatch(r"class \d mistaken for \d: \d of 2", line)


def test_evaluate_on_other_data(capsys, data, tmp_path):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    other = tmp_path / "other"
    other.mkdir()
    for file in data.iterdir():
        os.link(file, other / file.name)
    (other / "t10k-labels-idx1-ubyte").unlink()
    write_idx(other / "t10k-labels-idx1-ubyte", np.zeros(20, np.uint8))
    capsys.readouterr()
    code, out, _ = run_main(capsys, "evaluate", "r", "--data", other)
    assert code == 0
    assert out[1].endswith("of 20)")


def test_evaluate_changes_no_file(capsys, data, tmp_path):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    before = {path: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    main(["evaluate", "r"])
    assert {path: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


def test_evaluate_refuses_a_checkpoint_of_another_network(capsys, data, tmp_path):
    main(options(data, "--steps", 3, "--run-dir", "r"))
    config = tmp_path / "r" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model": "cnn"}))
    capsys.readouterr()
    assert_usage_error(run_main(capsys, "evaluate", "r"), "checkpoint.safetensors", "not a checkpoint of")


# --- without Numba ---


def test_the_reference_trains_and_evaluates_where_numba_is_not_installed(data):
    """In another process, because this one has imported Numba already."""
    commands = [["train", *options(data, "--steps", 3, "--run-dir", "r")], ["evaluate", "r"]]
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from minicnn.cli import main\n"
        f"codes = [main(argv) for argv in {commands!r}]\n"
        "assert not [name for name in sys.modules if name.startswith('minicnn.engine.kernels')]\n"
        "sys.exit(max(codes))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert len(re.findall(rf"^{RESULT}$", found.stdout, flags=re.M)) == 2


def test_kernels_without_numba_are_refused_in_one_line(capsys, data, monkeypatch):
    monkeypatch.delitem(ops.MODULES, "kernels", raising=False)
    monkeypatch.delattr("minicnn.engine.kernels", raising=False)
    monkeypatch.setitem(sys.modules, "minicnn.engine.kernels", None)
    argv = options(data, "--run-dir", "r")
    argv[argv.index("reference")] = "kernels"
    assert_usage_error(run_main(capsys, *argv), "Numba cannot be imported", "--ops reference")
    assert not os.path.exists("r")


# --- the profile ---


def test_a_profile_is_printed_on_request(capsys, data, monkeypatch):
    """With a stand-in for the module, which shows that it is enabled before the network is built."""
    from minicnn import engine

    calls = []
    profile = types.ModuleType("minicnn.engine.profile")
    profile.enable = lambda: calls.append("enabled")
    profile.table = lambda: "operation  seconds\nconv2d     1.0"
    monkeypatch.setitem(sys.modules, "minicnn.engine.profile", profile)
    monkeypatch.setattr(engine, "profile", profile, raising=False)
    build = run_module.build_network
    monkeypatch.setattr(run_module, "build_network", lambda *s: (calls.append("built"), build(*s))[1])
    code, out, err = run_main(capsys, *options(data, "--steps", 2, "--profile"))
    assert (code, err) == (0, ["operation  seconds", "conv2d     1.0"])
    assert calls[:2] == ["enabled", "built"]
    assert re.fullmatch(RESULT, out[-1])
    assert run_main(capsys, *options(data, "--steps", 2))[2] == []
    assert calls.count("enabled") == 1


# --- the end of a run that does not end well ---


def test_diverging_is_exit_code_1_and_one_line(capsys, data):
    argv = options(data, "--steps", 50, "--run-dir", "r")
    argv[argv.index("--learning-rate") + 1] = "1e38"
    code, _, err = run_main(capsys, *argv)
    assert code == 1
    assert len(err) == 1
    assert re.match(r"minicnn: training diverged at step \d+: the loss is (nan|inf); try .*learning", err[0])
    assert main(["evaluate", "r"]) == 0


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_the_run(capsys, data, name, code):
    number = getattr(signal, name)
    argv = options(data, "--steps", 1_000_000, "--log-every", 50, "--run-dir", "r")
    process = start(*argv)
    while not process.stdout.readline().startswith("step 100 "):
        pass
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code
    last = err.splitlines()[-1]  # on a busy machine, a line says before what it waits for
    found = re.fullmatch(r"minicnn: stopped at step (\d+); r contains .*; resume with: (.*)", last)
    assert int(found[1]) >= 100
    assert found[2] == "python -m minicnn train --resume r"
    code, _, err = run_main(capsys, "evaluate", "r")
    assert (code, err) == (0, [])


def test_a_kill_loses_nothing_that_was_saved(data, tmp_path):
    process = start(*options(data, "--steps", 1_000_000, "--log-every", 50, "--run-dir", "r"))
    while not process.stdout.readline().startswith("step 100 "):
        pass
    process.kill()
    process.communicate()
    assert main(["evaluate", "r"]) == 0


def test_a_reader_that_goes_away_ends_the_run_quietly(data):
    process = start(*options(data, "--steps", 1_000_000, "--log-every", 1))
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_a_full_disk_under_stdout_is_one_line(data):
    with open("/dev/full", "w") as full:
        process = start(*options(data, "--steps", 2), stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2
    assert re.fullmatch(r"minicnn: error: .*No space left on device\n", err)


def test_the_console_script_is_the_module(data):
    script = os.path.join(os.path.dirname(sys.executable), "minicnn")
    if not os.path.exists(script):
        pytest.skip("the package is not installed beside this Python")
    found = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, f"minicnn {__version__}\n")
