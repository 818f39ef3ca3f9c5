"""The streams, names and errors that surround a command, whatever they are."""

import ast
import io
import os
import re
import sys
from pathlib import Path

import pytest
from commands import options, run_main
from PIL import Image

import minicnn
from minicnn import Sequential, cli, softmax_regression
from minicnn.cli import main, terminal
from minicnn.engine.layers import Dense, Flatten
from minicnn.storage.names import printable

COMMANDS = sorted((Path(minicnn.__file__).parent / "cli").glob("*.py"))
ESCAPE = "\x1b[31mred\x1b]0;title\x07\n\u202egnp"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what is printed ---


@pytest.mark.parametrize("file", COMMANDS, ids=lambda path: path.name)
def test_the_commands_print_through_say_and_tell_only(file):
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    writing = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "write"]
    assert len(printing) == (2 if file.name == "terminal.py" else 0)
    assert len(writing) == (1 if file.name == "terminal.py" else 0)  # of the report of an internal error


def test_what_is_printable_stays_as_it_is():
    assert printable("七 é r\u00e9sum\u00e9.png") == "七 é r\u00e9sum\u00e9.png"
    assert printable(ESCAPE) == r"\x1b[31mred\x1b]0;title\x07\n\u202egnp"
    assert printable(os.fsdecode(b"\xff.png")) == r"\udcff.png"


def assert_harmless(result, code=0):
    got, out, err = result
    assert got == code, err
    for line in [*out, *err]:
        assert line.isprintable() or line == ""
    return out


def test_names_of_layers_reach_the_terminal_as_text(capsys):
    layers = [Flatten(name=ESCAPE.replace("/", "")), Dense(784, 10, rng=0, ops="reference")]
    Sequential(layers, (28, 28, 1), name=ESCAPE).summary()
    out, _ = capsys.readouterr()
    assert all(line.isprintable() for line in out.splitlines())
    assert r"\x1b[31mred" in out


def test_names_of_files_reach_the_terminal_as_text(capsys, data):
    run = f"r{ESCAPE}"
    assert_harmless(run_main(capsys, *options(data, "--steps", 3, "--run-dir", run)))
    assert_harmless(run_main(capsys, "evaluate", run))
    assert_harmless(run_main(capsys, "report", run))
    assert_harmless(run_main(capsys, "export", run, "--to", "safetensors-torch"))
    assert_harmless(run_main(capsys, "predict", run, f"no{ESCAPE}"), 2)


def test_file_names_that_are_not_text_are_printed_and_drawn(capsys, data):
    bad = os.fsdecode(b"\xff\xfe")
    for name in (f"a{bad}", f"b{bad}"):
        assert_harmless(run_main(capsys, *options(data, "--steps", 3, "--run-dir", name)))
    out = assert_harmless(run_main(capsys, "report", f"a{bad}", f"b{bad}", "--output", f"{bad}.png"))
    assert out[-1] == r"all runs in one picture: \udcff\udcfe.png"
    picture = Image.new("L", (60, 60), 255)
    picture.paste(0, (20, 10, 30, 50))
    picture.save(f"{bad}.jpg")
    out = assert_harmless(run_main(capsys, "predict", f"a{bad}", f"{bad}.jpg", "--show"))
    assert out[-1] == r"what the network saw: \udcff\udcfe-seen.png"
    assert Path(f"{bad}-seen.png").exists()


CONSOLES = ["cp936", "cp1252", "ascii", "utf-8"]


@pytest.mark.parametrize("encoding", CONSOLES)
def test_no_line_is_too_much_for_the_encoding_of_a_console(data, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(options(data, "--steps", 3, "--run-dir", "七 é \N{SLIGHTLY SMILING FACE}")) == 0
    out.flush()
    text = out.buffer.getvalue().decode(encoding)
    assert "writing to " in text
    assert ("七" in text) == (encoding in ("cp936", "utf-8"))


@pytest.mark.parametrize("encoding", CONSOLES)
def test_the_progress_bar_is_drawn_with_what_a_console_can_show(data, monkeypatch, encoding):
    err = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(err, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(options(data, "--steps", 300, "--log-every", 100, "--run-dir", "r")) == 0
    err.flush()
    text = err.buffer.getvalue().decode(encoding)
    assert "images/s" in text
    assert text.isascii() == (encoding != "utf-8")


@pytest.mark.parametrize(
    ("system", "name", "expected"),
    [
        ("linux", "runs/a", "runs/a"),
        ("darwin", "my run", "'my run'"),
        ("win32", r"runs\a", r"runs\a"),
        ("win32", r"C:\my runs\a", r'"C:\my runs\a"'),
    ],
)
def test_names_are_quoted_for_the_shell_of_the_system(monkeypatch, system, name, expected):
    monkeypatch.setattr(sys, "platform", system)
    assert terminal.quoted(name) == expected


# --- streams that are not a terminal's ---


class Bare:
    """As little of a stream as `print` needs."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


class Window(Bare):
    """The stream of a graphical shell: a terminal by its own account, without a file behind it."""

    def isatty(self):
        return True

    def fileno(self):
        raise io.UnsupportedOperation("fileno")


@pytest.mark.parametrize("stream", [Window, Bare, lambda: None])
def test_a_run_is_trained_whatever_the_streams_are(data, monkeypatch, stream):
    out, err = stream(), stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(options(data, "--steps", 3, "--run-dir", "r")) == 0
    assert Path("r/curves.png").exists()
    if out is not None:
        assert "test accuracy" in out.text


# --- the last resort ---


def test_an_error_that_nobody_foresaw_is_one_line_and_a_file_to_report(capsys, monkeypatch, here):
    def broken(args):
        raise KeyError(ESCAPE)

    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr(terminal.tempfile, "tempdir", None)
    monkeypatch.setattr(cli.evaluate, "evaluate_command", broken)
    code, out, err = run_main(capsys, "evaluate", "nothing")
    assert (code, out) == (70, [])
    assert len(err) == 1
    assert err[0].startswith("minicnn: internal error: KeyError: ")
    report = Path(re.search(r"please report it with (.*)", err[0])[1])
    text = report.read_text()
    assert "Traceback" in text
    assert "['evaluate', 'nothing']" in text


def test_without_a_place_for_the_report_the_line_is_there_all_the_same(capsys, monkeypatch):
    def nowhere(**names):
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(terminal.tempfile, "mkstemp", nowhere)
    monkeypatch.setattr(cli.evaluate, "evaluate_command", lambda args: 1 // 0)
    code, _, err = run_main(capsys, "evaluate", "nothing")
    assert code == 70
    assert err == [
        "minicnn: internal error: ZeroDivisionError: integer division or modulo by zero; "
        "this is a fault of minicnn, please report it"
    ]


# --- networks that are no classifiers of ten digits ---


def test_a_network_that_ends_in_maps_is_refused_in_one_line(capsys):
    from minicnn import Conv2D

    Sequential([Conv2D(1, 4, ops="reference")], (28, 28, 1)).save("n.safetensors")
    Image.new("L", (60, 60), 255).save("a.png")
    for argv in (["evaluate", "n.safetensors"], ["predict", "n.safetensors", "a.png"]):
        code, out, err = run_main(capsys, *argv)
        assert (code, out) == (2, [])
        expected = "expected a network whose output is [N, classes], got [N, 28, 28, 4]"
        assert err == [f"minicnn: error: n.safetensors: {expected}"]


def test_test_images_of_classes_that_the_network_does_not_know_are_refused(capsys, data):
    layers = [Flatten(), Dense(784, 3, rng=0, ops="reference")]
    Sequential(layers, (28, 28, 1)).save("n.safetensors")
    code, out, err = run_main(capsys, "evaluate", "n.safetensors", "--data", data)
    assert (code, out) == (2, [])
    assert err == [f"minicnn: error: {data}: class 3 is none of the 3 classes of the network"]


def test_a_network_with_more_than_ten_classes_is_evaluated(capsys, data):
    layers = [Flatten(), Dense(784, 12, rng=0, ops="reference")]
    Sequential(layers, (28, 28, 1)).save("n.safetensors")
    code, out, err = run_main(capsys, "evaluate", "n.safetensors", "--data", data)
    assert (code, [line for line in err if "compiling" not in line]) == (0, [])
    assert out[0].startswith("test accuracy ")


def test_outputs_that_are_not_finite_are_told(capsys, data):
    network = softmax_regression(ops="reference")
    network.parameters()[0].value[...] = 3e38
    network.save("n.safetensors")
    code, _, err = run_main(capsys, "evaluate", "n.safetensors", "--data", data)
    assert code == 0
    assert err == ["minicnn: warning: the network's output is not finite for 20 of 20 images"]
