"""The Chinese pages say what the English ones say: the same parts, numbers, code, formulas and links.

Only the words differ, and no test can read those. `notebooks/make_zh.py` makes the Chinese notebooks of the
cells and outputs of the English ones, which `.ci/notebooks` runs; so they are not run a second time.
"""

import json
import re
import shutil

import pytest
from course_files import COURSE, module
from translated import PAGES, ROOT, differences, read, twin

ENGLISH = sorted(COURSE.glob("[0-9]*.ipynb"))
BEHIND = []  # stems of notebooks whose Chinese is missing, or behind the English


make_zh = module("make_zh")
make_answers = module("make_answers")
every_notebook = pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
every_translated = pytest.mark.parametrize("path", make_zh.translated(), ids=lambda path: path.stem)
every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def cells(path):
    return json.loads(read(path))["cells"]


def text_of(cell):
    return "".join(cell["source"])


SAMPLE = """## Q7 A heading

**Predict:** 28 stops with `stride=1`, 3,136 numbers, ![a picture](a.png) and [a page](README.md#part).

- one item

| a | b |
| --- | --- |

    y = w * x    with x = 3
"""
SAMPLE_ZH = """## Q7 标题

**预测：** `stride=1` 时停 28 次，3,136 个数，![图](a.png)，[一页](README.zh-CN.md#部分)。

- 一项

| 甲 | 乙 |
| --- | --- |

    y = w * x    其中 x = 3
"""


def test_a_translation_differs_in_its_words_only():
    assert differences(SAMPLE, SAMPLE_ZH) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("## Q7", "### Q7", "headings"),
        ("Q7", "Q8", "numbers"),
        ("28", "29", "numbers"),
        ("3,136", "3136", "numbers"),
        ("`stride=1`", "`stride=2`", "code spans"),
        ("`stride=1` ", "步幅为一", "code spans"),
        ("a.png", "b.png", "links"),
        ("![", "[", "images"),
        ("README.zh-CN", "other", "links"),
        ("- 一项", "一项", "lists"),
        ("| 甲 ", "", "tables"),
        ("w * x", "w + x", "line"),
        ("    y", "y", "indented lines"),
        ("**预测：**", "**猜：**", "**Predict:**"),
    ],
)
def test_what_a_translation_gets_wrong_is_noticed(old, new, what):
    assert old in SAMPLE_ZH
    assert any(line.startswith(what) for line in differences(SAMPLE, SAMPLE_ZH.replace(old, new, 1)))


def test_english_is_no_translation():
    assert "no Chinese" in differences(SAMPLE, SAMPLE)


# --- pages and notebooks --------------------------------------------------------------------------


@every_page
def test_a_page_says_the_same_in_chinese(path):
    assert differences(read(path), read(twin(path))) == []


@every_page
def test_the_languages_of_a_page_link_to_each_other(path):
    assert f"]({twin(path).name})" in "".join(read(path).splitlines(keepends=True)[:4])
    assert f"[English]({path.name})" in "".join(read(twin(path)).splitlines(keepends=True)[:4])


def out_of_step(path):
    """Why the Chinese notebook is not what the English one and the Chinese prose say; [] if it is."""
    try:
        made = make_zh.chinese(path)
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    pairs = zip(cells(path), json.loads(made)["cells"], strict=True)
    found = [f"{a['id']}: {d}" for a, b in pairs if b != a for d in differences(text_of(a), text_of(b))]
    written = twin(path).exists() and read(twin(path)) == made
    return found + ([] if written else ["run python notebooks/make_zh.py"])


@every_notebook
def test_a_notebook_is_in_step_or_on_the_list_of_those_that_are_behind(path):
    found = out_of_step(path)
    assert found == [] or path.stem in BEHIND
    assert found != [] or path.stem not in BEHIND, "in step again: take it off the list"


@every_translated
def test_a_notebook_has_the_cells_and_outputs_of_the_english_one(path):
    english, chinese = cells(path), json.loads(make_zh.chinese(path))["cells"]
    assert [cell["cell_type"] for cell in chinese] == [cell["cell_type"] for cell in english]
    code = [[cell for cell in notebook if cell["cell_type"] == "code"] for notebook in (english, chinese)]
    assert code[0] == code[1]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of notebook 00 in both languages."""
    (tmp_path / "zh").mkdir()
    for name in ("00_quickstart.ipynb", "zh_00_quickstart.ipynb", "zh/00_quickstart.md"):
        shutil.copy(COURSE / name, tmp_path / name)
    monkeypatch.setattr(make_zh, "COURSE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("00_quickstart.ipynb", "slice(50 * step", "slice(60 * step", "run python notebooks/make_zh.py"),
        ("00_quickstart.ipynb", "90.60 %", "90.61 %", "run python notebooks/make_zh.py"),
        ("00_quickstart.ipynb", "of 50 images", "of 60 images", "cell-07: numbers"),
        ("00_quickstart.ipynb", '"id": "cell-07"', '"id": "cell-99"', "missing sections: cell-99"),
        ("zh_00_quickstart.ipynb", "最初的损失", "最后的损失", "run python notebooks/make_zh.py"),
        ("zh/00_quickstart.md", "最初的损失", "最后的损失", "run python notebooks/make_zh.py"),
        ("zh/00_quickstart.md", "2.30", "2.31", "cell-11: numbers"),
        ("zh/00_quickstart.md", "<!-- cell-03 -->", "", "missing sections: cell-03"),
    ],
)
def test_a_notebook_that_is_out_of_step_is_noticed(course, name, old, new, why):
    assert out_of_step(course / "00_quickstart.ipynb") == []
    text = read(course / name)
    assert old in text
    (course / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(why in line for line in out_of_step(course / "00_quickstart.ipynb"))


@every_translated
def test_a_short_answer_is_one_sentence(path):
    prose = read(COURSE / "zh" / f"{path.stem}.md")
    folded = re.findall(r"<summary>一句话答案</summary>\n\n(.+)\n\n</details>", prose)
    assert len(folded) == read(path).count("<summary>The answer in one sentence<")
    assert [answer for answer in folded if answer.count("。") != 1 or not answer.endswith("。")] == []


def test_the_page_of_answers_is_what_the_chinese_notebooks_say():
    assert read(COURSE / "answers.zh-CN.md") == make_answers.page("zh")
