"""How a notebook of the course opens, which of its cells are folded, and what is said of its exercises.

No notebook is executed: these tests read them as they are stored.
"""

import ast
import itertools
import re
from pathlib import Path

import pytest
from test_course import NOTEBOOKS, cells_of, every_notebook, index, text

QUESTION_CARDS = Path(__file__).parent.parent / "minicnn" / "explore" / "static" / "questions.js"
WORDS_A_MINUTE = 150
MINUTES = {"Small": range(5, 11), "Medium": range(10, 21), "Large": range(25, 61)}
OPENING = re.compile(
    r"# (?P<number>\d\d) (?P<title>.+)\n\n"
    r"(?P<what>(?:(?!- ).+\n)+)\n"
    r"- \*\*You will be able to\*\* .+\.\n"
    r"- \*\*Time:\*\* about (?P<read>\d+) minutes to read, \d+ seconds to run, "
    r"(?P<exercises>\d+) minutes for the exercises?\.\n"
    r"- \*\*Explore:\*\* run `minicnn explore`, and (?P<click>.+) "
    r"\(\[about the page\]\(\.\./docs/explore\.md\)\)\."
)
EXERCISE = re.compile(r"^\*\*(\d\d-\d)\.\*\* (?:\*(Small|Medium|Large), about (\d+) minutes\.\* )?", re.M)


def opening(path):
    found = OPENING.fullmatch(text(cells_of(path)[0]))
    assert found, f"{path.name} does not open with what one will be able to do, the time, and what to click"
    return found


def folded_source(cell):
    return cell["metadata"].get("jupyter", {}).get("source_hidden", False)


def folded_output(cell):
    return cell["metadata"].get("jupyter", {}).get("outputs_hidden", False)


def words(cells):
    """What there is to read: text, and half of the code, which a reader skims."""
    count = {"markdown": 0, "code": 0}
    for cell in cells:
        count[cell["cell_type"]] += 0 if folded_source(cell) else len(text(cell).split())
    return count["markdown"] + count["code"] / 2


def exercises(cells):
    """The exercises by name: size and minutes."""
    source = "\n".join(text(cell) for cell in cells if cell["cell_type"] == "markdown")
    return {name: (size, int(minutes or 0)) for name, size, minutes in EXERCISE.findall(source)}


def shows_only_source_or_checks(cell):
    """Whether each statement prints source or documentation of the engine, or calls `check`."""
    body = ast.parse(text(cell)).body
    shown = ("print(inspect.get", "print(course.kernel_source", "print()", "check(")
    return bool(body) and all(ast.unparse(statement).startswith(shown) for statement in body)


# --- the opening ----------------------------------------------------------------------------------


@every_notebook
def test_a_notebook_opens_with_what_one_will_be_able_to_do_the_time_and_what_to_click(path):
    assert opening(path)["number"] == path.stem[:2]
    assert len(opening(path)["what"].splitlines()) <= 3


@every_notebook
def test_the_reading_time_is_that_of_its_words(path):
    minutes = words(cells_of(path)) / WORDS_A_MINUTE
    stated = int(opening(path)["read"])
    assert stated % 5 == 0
    assert abs(stated - minutes) <= 5


@every_notebook
def test_the_time_for_the_exercises_is_their_sum(path):
    marks = exercises(cells_of(path)).values()
    assert int(opening(path)["exercises"]) == sum(minutes for _, minutes in marks)


@every_notebook
def test_the_cards_to_open_are_those_of_its_questions_that_there_are(path):
    there_are = {
        int(n) for n in re.findall(r"^  (\d+): \{", QUESTION_CARDS.read_text(encoding="utf-8"), re.M)
    }
    cards = {question for question, notebook in index() if notebook == path.name} & there_are
    named = re.search(r"open cards? ([\d, and]+)", opening(path)["click"])
    assert {int(n) for n in re.findall(r"\d+", named[1] if named else "")} == cards


# --- what is folded -------------------------------------------------------------------------------


@every_notebook
def test_cells_that_only_show_source_or_check_are_folded(path):
    cells = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [
        cell["id"] for cell in cells if shows_only_source_or_checks(cell) and not folded_source(cell)
    ] == []


@every_notebook
def test_source_of_the_engine_is_printed_by_cells_of_its_own_or_folded(path):
    printing = re.compile(r"print\((inspect\.getsource|course\.kernel_source)\(")
    cells = [cell for cell in cells_of(path) if cell["cell_type"] == "code" and printing.search(text(cell))]
    mixed = [cell for cell in cells if not shows_only_source_or_checks(cell) and not folded_output(cell)]
    assert [cell["id"] for cell in mixed] == []


@every_notebook
def test_what_is_folded_is_folded_on_the_site_too(path):
    tags = {(True, True): ["hide-cell"], (True, False): ["hide-input"], (False, True): ["hide-output"]}
    for cell in cells_of(path):
        expected = tags.get((folded_source(cell), folded_output(cell)), [])
        assert cell["metadata"].get("tags", []) == expected, cell["id"]


@every_notebook
def test_the_text_before_a_fold_says_what_is_folded(path):
    cells = cells_of(path)
    for before, cell in itertools.pairwise(cells):
        if (folded_source(cell) and shows_only_source_or_checks(cell)) or folded_output(cell):
            assert text(before).startswith("Folded "), cell["id"]


@every_notebook
def test_no_picture_is_folded(path):
    outputs = [o for cell in cells_of(path) if folded_output(cell) for o in cell["outputs"]]
    assert [o for o in outputs if o["output_type"] != "stream"] == []


# --- the exercises --------------------------------------------------------------------------------


@every_notebook
def test_there_is_one_exercise_of_each_size(path):
    sizes = [size for size, _ in exercises(cells_of(path)).values()]
    assert sorted(sizes) == ["Large", "Medium", "Small"]


@every_notebook
def test_every_exercise_says_its_size_and_its_time(path):
    marks = exercises(cells_of(path))
    assert marks
    assert {name for name, (size, minutes) in marks.items() if minutes not in MINUTES.get(size, ())} == set()


# --- that these tests can fail --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "only"),
    [
        ('check("Q2", "rank", 1, 1, 1)\ncheck("Q2", "other", 2, 2, 2)', True),
        ("print(inspect.getsource(a))\nprint()\nprint(inspect.getdoc(b))", True),
        ('x = 2\ncheck("Q2", "rank", x, 2, 2)', False),
        ("print(report)", False),
        ("# nothing", False),
    ],
)
def test_cells_that_compute_something_are_told_from_those_that_only_show(source, only):
    assert shows_only_source_or_checks({"source": [source]}) == only


@pytest.mark.parametrize(
    "without", [r"- \*\*You will.*\n", r"- \*\*Time.*\n", r"\n- \*\*Explore.*", r"\n\n.*"]
)
def test_an_opening_that_lacks_a_part_is_missed(without):
    whole = text(cells_of(NOTEBOOKS[0])[0])
    assert OPENING.fullmatch(whole)
    assert not OPENING.fullmatch(re.sub(without, "", whole, count=1))
