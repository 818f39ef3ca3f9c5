"""The course in notebooks/: every question of the index is answered by a number that an assertion holds.

These tests read the notebooks as they are stored. `.ci/notebooks` executes them.
"""

import ast
import inspect
import json
import re

import matplotlib
import matplotlib.figure
import numpy as np
import pytest
from course_files import COURSE, module

from minicnn import reference
from minicnn.engine import kernels

NOTEBOOKS = sorted(COURSE.glob("[0-9]*.ipynb"))  # tests/test_translations.py compares the Chinese ones
QUESTIONS = range(1, 33)
MOST_BYTES = 1_000_000
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


with matplotlib.rc_context():  # the style of the course is not for the tests that follow
    course = module("course")
make_answers = module("make_answers")


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text(cell):
    return "".join(cell["source"])


def stdout(cell):
    streams = [o for o in cell.get("outputs", []) if o["output_type"] == "stream" and o["name"] == "stdout"]
    return "".join("".join(o["text"]) for o in streams)


def questions_in(heading):
    """The numbers of a heading such as "## Q10 and Q11 What do ...?"."""
    return [int(n) for n in re.findall(r"\bQ(\d+)\b", heading)]


def section(cells, question):
    """The cells from the heading of a question up to the next heading of its level."""
    found, inside = [], False
    for cell in cells:
        first_line = text(cell).split("\n")[0]
        if cell["cell_type"] == "markdown" and first_line.startswith("## "):
            inside = question in questions_in(first_line)
        if inside:
            found.append(cell)
    return found


def checked_questions(source):
    """The first arguments of the calls of `check` in a cell: which question each of them answers."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    calls = [c for c in calls if getattr(c.func, "id", getattr(c.func, "attr", "")) == "check" and c.args]
    return [c.args[0].value for c in calls if isinstance(c.args[0], ast.Constant)]


def folded(prediction):
    """The short answer below a prediction, which a reader unfolds; None if there is none."""
    found = re.search(r"<details><summary>[^<]+</summary>\n\n(.+)\n\n</details>$", prediction.strip())
    return found and found[1]


def what_is_missing(cells, question):
    """What a question's section lacks: heading, map, prediction, short answer, held number, answer, limit."""
    found = section(cells, question)
    words = [text(cell) for cell in found if cell["cell_type"] == "markdown"]
    name = f"Q{question}"
    checking = [c for c in found if c["cell_type"] == "code" and name in checked_questions(text(c))]
    held = [c for c in checking if re.search(rf"^{name}  .* \((held in|exactly) ", stdout(c), re.MULTILINE)]
    answers = [w for w in words if w.startswith("**Answer")]
    predictions = [w for w in words if w.startswith("**Predict:**")]
    present = {
        "heading": bool(found),
        "map": len(found) > 1 and "network_map(" in text(found[1]),
        "prediction": bool(predictions),
        "short answer": bool(predictions) and all(folded(w) for w in predictions),
        "check": bool(checking),
        "number": bool(checking) and held == checking,
        "answer": bool(answers),
        "limit": any("**Where it stops being true.**" in a for a in answers),
    }
    return [part for part, there in present.items() if not there]


def index():
    """The index of README.md: question -> notebook."""
    rows = re.findall(r"^\| Q(\d+) \|.*\]\((\w+\.ipynb)\)", (COURSE / "README.md").read_text(), re.MULTILINE)
    return [(int(question), notebook) for question, notebook in rows]


# --- the questions --------------------------------------------------------------------------------


def test_the_index_lists_every_question_once_and_in_order():
    assert [question for question, _ in index()] == list(QUESTIONS)


@pytest.mark.parametrize(
    ("readme", "notebooks"), [("README.md", "[0-9]*.ipynb"), ("README.zh-CN.md", "zh_*.ipynb")]
)
def test_a_question_is_asked_in_the_same_words_in_the_index_and_in_its_notebook(readme, notebooks):
    rows = re.findall(
        r"^\| Q(\d+) \| (.+?) \| \[", (COURSE / readme).read_text(encoding="utf-8"), re.MULTILINE
    )
    cells = [text(cell) for notebook in COURSE.glob(notebooks) for cell in cells_of(notebook)]
    headings = re.findall(r"^## Q(\d+) (.+)$", "\n\n".join(cells), re.MULTILINE)
    assert dict(headings).items() - dict(rows).items() == {
        (number, words)
        for number, words in headings
        if number == "10"  # which is asked together with 11
    }


@pytest.mark.parametrize(("question", "notebook"), index())
def test_a_question_of_the_index_has_an_answer_that_is_asserted(question, notebook):
    assert what_is_missing(cells_of(COURSE / notebook), question) == []


FOLDED = "<details><summary>The answer in one sentence</summary>\n\nTwo.\n\n</details>"


def made_section():
    """The smallest section that lacks nothing."""
    number = {"output_type": "stream", "name": "stdout", "text": ["Q7  a number: 2  (exactly 2)\n"]}
    return [
        {"cell_type": "markdown", "source": ["## Q7 What is it?\n"]},
        {"cell_type": "code", "source": ['network_map("conv1")\n'], "outputs": []},
        {"cell_type": "markdown", "source": [f"**Predict:** a number.\n\n{FOLDED}\n"]},
        {"cell_type": "code", "source": ['check("Q7", "a number", 2, 2, 2)\n'], "outputs": [number]},
        {"cell_type": "markdown", "source": ["**Answer.** Two. **Where it stops being true.** At three.\n"]},
    ]


def test_a_whole_section_lacks_nothing():
    assert what_is_missing(made_section(), 7) == []


@pytest.mark.parametrize(
    ("cell", "source", "missing"),
    [
        (0, "## Q8 What is it?", "heading"),
        (1, "print(2)", "map"),
        (2, "Think of a number.", "prediction"),
        (2, "**Predict:** a number.", "short answer"),
        (3, "print(2)", "check"),
        (3, 'check("Q8", "a number", 2, 2, 2)', "check"),
        (3, '# check("Q7", "a number", 2, 2, 2)', "check"),
        (4, "It is two. **Where it stops being true.** At three.", "answer"),
        (4, "**Answer.** Two.", "limit"),
        (4, "## Q8 And now?\n**Answer.** Two. **Where it stops being true.** At three.", "answer"),
    ],
)
def test_a_part_that_is_missing_is_missed(cell, source, missing):
    cells = made_section()
    cells[cell]["source"] = [source]
    assert missing in what_is_missing(cells, 7)


@pytest.mark.parametrize("printed", [[], ["Q8  a number: 2  (exactly 2)\n"], ["Q7\n"]])
def test_a_check_that_was_not_run_is_missed(printed):
    cells = made_section()
    cells[3]["outputs"][0]["text"] = printed
    assert what_is_missing(cells, 7) == ["number"]


def test_the_page_of_answers_is_what_the_notebooks_say():
    assert (COURSE / "answers.md").read_text(encoding="utf-8") == make_answers.page()
    numbers = re.findall(r"^\| Q(\d+) \|", make_answers.page(), re.MULTILINE)
    assert list(map(int, numbers)) == [*QUESTIONS, *QUESTIONS]  # the answers, and what asserts them


def test_the_number_that_asserts_an_answer_is_one_that_the_notebook_asks_to_guess():
    proofs = [(path, proof) for path in NOTEBOOKS for proof in make_answers.proofs(path)]
    asked = {path: make_answers.guessed(make_answers.cells_of(path)) for path in NOTEBOOKS}
    named = [(path, (f"Q{proof.question}", proof.line.rsplit(": ", 1)[0])) for path, proof in proofs]
    without = {question for path, (question, what) in named if (question, what) not in asked[path]}
    assert without <= {"Q10"}  # which is asked together with 11


@pytest.mark.parametrize("pattern", ["[0-9]*.ipynb", "zh_*.ipynb"])
def test_every_question_has_a_self_test(pattern):
    proofs = [proof for path in COURSE.glob(pattern) for proof in make_answers.proofs(path)]
    assert [proof.question for proof in proofs if not proof.self_tests] == []
    assert {proof.question for proof in proofs} == set(QUESTIONS)


def test_the_readme_names_every_notebook_and_no_other():
    named = re.findall(r"\]\((\w+\.ipynb)\)", (COURSE / "README.md").read_text())
    assert set(named) == {path.name for path in NOTEBOOKS}


# --- the notebooks as files -----------------------------------------------------------------------


@every_notebook
def test_outputs_are_stored_from_one_run_in_order(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


@every_notebook
def test_the_source_that_a_notebook_shows_is_the_source_that_there_is(path):
    names, stale = {"inspect": inspect, "course": course}, []
    for cell in cells_of(path):
        nodes = list(ast.walk(ast.parse(text(cell)))) if cell["cell_type"] == "code" else []
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom) and "minicnn" in ast.unparse(node):
                exec(ast.unparse(node), names)
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        printed = ("print(inspect.get", "print(course.kernel_source")
        shown = [ast.unparse(c.args[0]) for c in calls if ast.unparse(c).startswith(printed)]
        stale += [source for source in shown if eval(source, names).rstrip() not in stdout(cell)]
    assert stale == []


@every_notebook
def test_no_output_is_an_error_or_a_warning(path):
    outputs = [output for cell in cells_of(path) for output in cell.get("outputs", [])]
    assert [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"] == []


@every_notebook
def test_a_notebook_is_small_and_for_any_python(path):
    assert path.stat().st_size < MOST_BYTES
    assert json.loads(path.read_text())["metadata"]["kernelspec"]["name"] == "python3"


@every_notebook
def test_a_notebook_knows_nothing_of_the_machine_it_ran_on(path):
    words = json.dumps([[text(cell), stdout(cell)] for cell in cells_of(path)])
    assert re.findall(r"sys\.path|%matplotlib|/home/\w+|/root/|/tmp/|/Users/\w+", words) == []


@every_notebook
def test_every_prediction_is_followed_by_an_answer_in_one_sentence(path):
    asked = [text(cell) for cell in cells_of(path) if "**Predict:**" in text(cell)]
    answers = [folded(question) for question in asked]
    assert None not in answers
    assert [a for a in answers if not a.endswith((".", ".)")) or ". " in a.rstrip(".")] == []


@every_notebook
def test_a_notebook_has_an_exercise_that_waits_and_a_solution_that_passes(path):
    said = re.findall(r"^exercise (\d\d-\d): (not yet|right)", "\n".join(map(stdout, cells_of(path))), re.M)
    exercises = {f"{path.stem[:2]}-{n}" for n in range(1, 1 + len({name for name, _ in said}))}
    assert len(exercises) in (1, 2, 3)
    assert {name for name, verdict in said if verdict == "right"} == exercises
    assert {name for name, verdict in said if verdict == "not yet"} == exercises


# --- the helpers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.999, 2.001, float("nan"), float("inf")])
def test_check_holds_a_number_in_its_range(value):
    with pytest.raises(AssertionError, match=r"Q7  a number"):
        course.check("Q7", "a number", value, 1, 2)


@pytest.mark.parametrize("value", [1, 1.5, 2])
def test_check_prints_what_it_holds(value, capsys):
    course.check("Q7", "a number", value, 1, 2)
    assert capsys.readouterr().out == f"Q7  a number: {value}  (held in 1 .. 2)\n"


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (2, "close"),
        (2.15, "close"),
        (4, "too high, by a factor of 2"),
        (1, "too low, by a factor of 2"),
        (-1, "off by 3"),
    ],
)
def test_a_guess_is_compared_with_what_is_measured(capsys, monkeypatch, mine, said):
    monkeypatch.setattr(course, "_guesses", {})
    monkeypatch.setattr(course, "_found", {})
    course.guess("Q7", "a number", mine)
    course.guess("Q8", "another", None)
    course.check("Q7", "a number", 2, 2, 2)
    course.scoreboard()
    out = capsys.readouterr().out
    assert f"your guess: {course._figure(mine)}, {said}" in out
    assert f"guesses made: 1 of 2; close: {int(said == 'close')}" in out


@every_notebook
def test_every_guess_is_of_a_number_that_is_measured(path):
    calls = [
        c for cell in cells_of(path) if cell["cell_type"] == "code" for c in ast.walk(ast.parse(text(cell)))
    ]
    calls = [c for c in calls if isinstance(c, ast.Call)]
    named = {"guess": set(), "check": set()}
    for call in calls:
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if name in named:
            named[name].add(tuple(ast.unparse(argument) for argument in call.args[:2]))
    assert named["guess"] <= named["check"]


def test_refusal_wants_an_error():
    assert course.refusal(int, "one").startswith("ValueError: ")
    with pytest.raises(AssertionError, match="expected an error"):
        course.refusal(int, "1")


def test_the_source_of_a_kernel_is_shown_without_importing_it():
    assert course.kernel_source("convolution", "_im2col") == inspect.getsource(kernels.convolution._im2col)


def test_an_exercise_is_right_when_its_grade_has_no_hint(capsys):
    def grade(answer):
        return "" if answer == 4 else "too small"

    assert [course.exercise("07-1", answer, grade) for answer in (None, 3, 4)] == [False, False, True]
    out = "exercise 07-1: not yet: {}\n"
    expected = out.format("write your answer in place of None") + out.format("too small")
    assert capsys.readouterr().out == expected + "exercise 07-1: right\n"


RIGHT = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("mine", "hint"),
    [
        (RIGHT, ""),
        (RIGHT.tolist(), ""),
        (None, "your function returns None"),
        (RIGHT.T, "this is the result if rows and columns are exchanged"),
        (np.full((2, 2), np.inf), "this is the result if it divides by 0"),
        (RIGHT[0], "expected the shape (2, 2), got (2,)"),
        (RIGHT + np.eye(2)[1], "first difference at [0, 1]: expected 2, got 3"),
        (RIGHT * np.nan, "first difference at [0, 0]: expected 1, got nan"),
    ],
)
def test_a_wrong_array_gets_the_mistake_that_gives_it_or_the_first_difference(mine, hint):
    mistakes = {"rows and columns are exchanged": RIGHT.T, "it divides by 0": np.full((2, 2), np.inf)}
    assert course.what_is_wrong(mine, RIGHT, mistakes) == hint


def test_a_wrong_number_has_no_place():
    assert course.what_is_wrong(3, np.array(2.0), {}) == "expected 2, got 3"


@pytest.mark.parametrize(
    ("mine", "hint"),
    [
        (64, ""),
        (64.0, ""),
        (8, "this is one axis"),
        (65, "too high: a product"),
        (63, "too low: a product"),
    ],
)
def test_a_wrong_number_gets_the_mistake_that_gives_it_or_its_side(mine, hint):
    assert course.wrong_number(mine, 64, {8: "this is one axis"}, "a product") == hint


def test_wrong_convolutions_differ_from_the_right_one_and_from_each_other():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 6, 7, 3)), rng.normal(size=(5, 5, 3, 4)), rng.normal(size=4)
    wrong = course.wrong_convolutions(x, w, b)
    right, _ = reference.conv2d_forward(x, w, b)
    named = [course.what_is_wrong(result, right, wrong) for result in wrong.values()]
    assert named == [f"this is the result if {mistake}" for mistake in wrong]


def test_the_map_marks_only_what_there_is():
    with pytest.raises(ValueError, match=r"expected names among .*conv1.*; got conv9"):
        course.network_map("conv9")


def test_what_is_stored_says_how_it_was_made(capsys):
    assert course.stored("first_loss")["losses"]["He"]
    assert "make_experiments.py first_loss" in capsys.readouterr().out


def test_interval_is_students():
    mean, half = course.interval([1, 2, 3, 4, 5])
    assert mean == 3
    assert half == pytest.approx(1.9634, abs=1e-3)  # 2.776 * sqrt(2.5) / sqrt(5)


def test_the_mini_network_has_the_size_that_the_course_names():
    assert course.mini_network().values.size == course.mini_network(fused=False).values.size == 54_314


# --- sliders ---


def test_a_slider_holds_all_pictures_and_shows_the_first_chosen_without_html(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda bundle, raw: shown.append(bundle))

    def draw(value):
        figure = matplotlib.figure.Figure(figsize=(1, 1))
        figure.text(0, 0, str(value))
        return figure

    course.slider("width", [1, 2, 3], draw, start=1)
    (bundle,) = shown
    frames = re.search(r'data-frames="(.+?)"', bundle["text/html"])[1].split(" ")
    assert len(set(frames)) == 3
    assert bundle["image/png"] == frames[1]
    assert 'data-names="width 1|width 2|width 3"' in bundle["text/html"]


@pytest.mark.parametrize("notebook", ["01_patch", "04_initial", "07_dropout", "08_optim"])
def test_a_slider_is_stored_with_its_pictures(notebook):
    (path,) = COURSE.glob(f"{notebook}*.ipynb")
    (cell,) = [cell for cell in cells_of(path) if "slider(" in text(cell) and cell["cell_type"] == "code"][
        -1:
    ]
    (output,) = cell["outputs"]
    assert {"text/html", "image/png", "text/plain"} == set(output["data"])
