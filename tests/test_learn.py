"""`minicnn learn`: start and check, as a learner sees them, whatever the learner's code does."""

import ast
import re
from collections import Counter

import pytest
from commands import assert_usage_error, run_main
from learning import SOLUTION, with_changes, write

from minicnn.learn import sessions
from minicnn.learn.board import columns
from minicnn.learn.exercises import EXERCISES, FILE
from minicnn.learn.messages import LANGUAGES
from minicnn.learn.start import exercises

ENGLISH = ("--language", "en")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_of(capsys, text, *options):
    return run_main(capsys, "learn", "check", write(text), *ENGLISH, *options)


# --- start ---


def test_start_writes_the_exercises_and_says_what_comes_next(capsys, here):
    code, out, err = run_main(capsys, "learn", "start", "a/course", *ENGLISH)
    assert (code, err) == (0, [])
    assert out[0] == "written: a/course/my_network.py"
    assert "learn check a/course" in out[1]
    assert (here / "a/course/my_network.py").read_text() == exercises("en")


def test_start_replaces_nothing(capsys, here):
    write("mine")
    result = run_main(capsys, "learn", "start", "course")
    assert_usage_error(result, "course/my_network.py exists", "learn check course")
    assert (here / "course/my_network.py").read_text() == "mine"


def test_start_in_a_file_is_refused(capsys, here):
    (here / "course").write_text("mine")
    assert_usage_error(run_main(capsys, "learn", "start", "course"), "course", "not a directory")
    assert (here / "course").read_text() == "mine"


def test_a_new_file_has_all_functions_to_write(capsys):
    run_main(capsys, "learn", "start", "course", *ENGLISH)
    code, out, err = run_main(capsys, "learn", "check", "course", *ENGLISH)
    assert (code, err) == (1, [])
    assert out[0] == "my_network.py: 0 of 8 exercises pass"
    assert sum(line.endswith("not started") for line in out[2:10]) == 6
    assert any("write im2col" in line for line in out)


# --- check ---


def test_the_solution_passes(capsys):
    code, out, err = check_of(capsys, SOLUTION)
    assert (code, err) == (0, [])
    assert out[0] == "my_network.py: 8 of 8 exercises pass"
    assert "learn train course" in out[-1]


def test_a_wrong_exercise_does_not_hide_the_others(capsys):
    code, out, _ = check_of(capsys, with_changes(("return np.maximum(x, 0), x > 0", "return x, x > 0")))
    assert code == 1
    assert [line.split()[0] for line in out[2:10]] == ["✓"] * 4 + ["✗"] + ["✓"] * 3
    assert any(line.startswith("Exercise 5, ReLU: y is wrong") for line in out)


def test_hints_grow_stronger(capsys):
    text = exercises("en")
    found = [check_of(capsys, text, *option)[1] for option in ([], ["--hint"], ["--hint", "3"])]
    hints = [next(line for line in out if line.startswith("Hint: ")) for out in found]
    assert len(set(hints)) == 3
    assert found[0][-1].endswith("learn check course --hint")
    assert found[1][-1].endswith("learn check course --hint 3")
    assert_usage_error(check_of(capsys, text, "--hint", "4"), "--hint", "4")


def test_what_the_code_prints_is_shown(capsys):
    noisy = with_changes(
        ("    shifted = logits", '    print("shape", logits.shape)\n    shifted = 2 * logits')
    )
    _, out, _ = check_of(capsys, noisy)
    assert "Your code printed:" in out
    assert "    shape (2, 2)" in out
    assert len(out) < 60


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("while True: pass", "stopped after 2 s. Is it a loop without an end?"),
        ("import os; os._exit(7)", "ended Python (exit code 7)"),
        ("import os; os._exit(0)", "ended Python (exit code 0)"),
        ("import os; os.abort()", "crash (SIGABRT)"),
        ("exit()", "stopped with exit()"),
        ("input()", "stopped with EOFError"),
        ("1 / 0", "stopped with ZeroDivisionError: division by zero"),
        ("np.zeros(1 << 40)", "ran out of memory"),
        ("relu_forward(x)", "stopped with RecursionError"),
    ],
)
def test_an_exercise_that_goes_astray_is_one_line_and_the_others_are_checked(
    capsys, monkeypatch, line, words
):
    monkeypatch.setattr(sessions, "SECONDS", 2.0)
    text = with_changes(("    return np.maximum(x, 0)", f"    {line}\n    return np.maximum(x, 0)"))
    code, out, err = check_of(capsys, text)
    assert (code, err) == (1, [])
    assert out[0] == "my_network.py: 7 of 8 exercises pass"
    assert words in " ".join(out)


def test_the_line_of_an_endless_loop_is_named(capsys, monkeypatch):
    monkeypatch.setattr(sessions, "SECONDS", 2.0)
    _, out, _ = check_of(
        capsys,
        with_changes(("    return dy * cache\n\n\ndef dropout_f", "    while True: pass\n\n\ndef dropout_f")),
    )
    assert any(re.fullmatch(r"\s+in my_network.py, line \d+: while True: pass", line) for line in out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def im2col(x, kh, kw:\n", "SyntaxError"),
        ("import nothing_of_the_kind\n", "ModuleNotFoundError"),
        ("raise SystemExit\n", "exit()"),
        ("import os; os._exit(3)\n", "exit code 3"),
        ("\0", "null bytes"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_one_line(capsys, text, words):
    code, out, err = check_of(capsys, text)
    assert (code, err) == (1, [])
    assert words in out[0]
    assert out[0].startswith("my_network.py: ")


def test_a_missing_file_is_a_usage_error(capsys):
    assert_usage_error(run_main(capsys, "learn", "check", "elsewhere"), "elsewhere", "learn start elsewhere")


@pytest.mark.parametrize(("language", "words"), [("en", "is a file; name its directory"), ("zh", "是文件")])
@pytest.mark.parametrize("action", ["check", "train"])
def test_the_file_in_place_of_its_directory_is_a_usage_error(capsys, action, language, words):
    write(SOLUTION)
    result = run_main(capsys, "learn", action, "course/my_network.py", "--language", language)
    assert_usage_error(result, words, f"learn {action} course")


@pytest.mark.parametrize("language", LANGUAGES)
def test_errors_of_the_commands_are_in_the_language_that_was_asked_for(capsys, language):
    write("mine")
    chosen = ("--language", language)
    exists = run_main(capsys, "learn", "start", "course", *chosen)
    missing = run_main(capsys, "learn", "check", *chosen)
    for result, text in ((exists, "exists"), (missing, "no_file")):
        assert_usage_error(result)
        end = LANGUAGES[language][text].split("{file}")[1].split("{")[0]
        assert end in result[2][0]


def test_the_next_command_keeps_the_language_that_was_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    _, out, _ = run_main(capsys, "learn", "start", "course", "--language", "zh")
    assert out[-1].endswith("learn check course --language zh")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    _, out, _ = run_main(capsys, "learn", "check", "course")
    assert out[-1].endswith("learn check course --hint")


def test_nothing_is_left_beside_the_file(capsys, here):
    check_of(capsys, SOLUTION)
    assert [path.name for path in (here / "course").iterdir()] == [FILE]


# --- texts ---


def test_the_exercises_are_the_same_code_in_every_language():
    def code(language):
        tree = ast.parse(exercises(language))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.Module):
                assert ast.get_docstring(node)
                node.body = node.body[1:]
        return ast.dump(tree)

    assert len({code(language) for language in LANGUAGES}) == 1


def test_the_exercises_have_all_functions_with_the_arguments_of_the_solution():
    def signatures(text):
        found = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        return {node.name: ast.unparse(node.args) for node in found}

    assert signatures(exercises("en")) == signatures(SOLUTION)
    assert list(signatures(SOLUTION)) == [name for e in EXERCISES for name in e.functions]


def test_the_formulas_are_the_same_in_every_language():
    entry = re.compile(r"[a-z_]+\[[^\]\n]*\]", re.ASCII)  # x[n, i, j, c]
    found = [Counter(entry.findall(exercises(language))) for language in LANGUAGES]
    assert all(formulas == found[0] for formulas in found)
    assert len(found[0]) > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_has_the_same_places_for_values(language):
    def places(text):
        return sorted(re.findall(r"\{(\w+)\}", text))

    english = LANGUAGES["en"]
    assert {name: places(text) for name, text in LANGUAGES[language].items()} == {
        name: places(text) for name, text in english.items()
    }


@pytest.mark.parametrize("exercise", [e.name for e in EXERCISES])
def test_every_exercise_has_a_name_and_three_hints(exercise):
    assert {exercise, *(f"hint_{exercise}_{k}" for k in (1, 2, 3))} <= set(LANGUAGES["en"])


def test_every_mistake_has_a_text():
    from minicnn.learn import convolution, pointwise, scores
    from minicnn.learn.probe import Subject

    subjects = [
        v for m in (convolution, pointwise, scores) for v in vars(m).values() if isinstance(v, Subject)
    ]
    assert len(subjects) == 12  # one for each function
    assert {key for subject in subjects for key in subject.mistakes} <= set(LANGUAGES["en"])


def test_a_check_in_chinese_has_columns_of_equal_width(capsys):
    run_main(capsys, "learn", "start", "course", "--language", "zh")
    code, out, _ = run_main(capsys, "learn", "check", "course", "--language", "zh")
    assert code == 1
    rows = [line for line in out[2:10] if line.endswith("未开始")]
    assert len(rows) == 6
    assert len({columns(row) for row in rows}) == 1
