"""The Chinese pages say what the English ones say: the same parts, numbers, code, formulas and links.

Only the words differ, and no test can read those. `notebooks/make_zh.py` makes the Chinese notebooks of the
cells and outputs of the English ones, which `.ci/notebooks` runs; so they are not run a second time.
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from translated import HAN, differences, targets, untidy

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "notebooks"
ENGLISH = sorted(COURSE.glob("[0-9]*.ipynb"))
NOT_YET = []  # stems of notebooks that have no Chinese prose yet
PAGES = [ROOT / "README.md", COURSE / "README.md"]


def module(name):
    """A module of notebooks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, COURSE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


make_zh = module("make_zh")
make_answers = module("make_answers")
every_translated = pytest.mark.parametrize("path", make_zh.translated(), ids=lambda path: path.stem)
every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def read(path):
    return path.read_text(encoding="utf-8")


def twin(path):
    """The Chinese page of an English one."""
    return path.with_suffix(".zh-CN.md") if path.suffix == ".md" else path.with_name(f"zh_{path.name}")


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


def test_every_notebook_is_translated_or_on_the_list_of_those_that_are_not():
    assert [*(path.stem for path in make_zh.translated()), *NOT_YET] == [path.stem for path in ENGLISH]


@every_translated
def test_a_notebook_has_the_cells_and_outputs_of_the_english_one(path):
    english, chinese = cells(path), cells(twin(path))
    assert [cell["cell_type"] for cell in chinese] == [cell["cell_type"] for cell in english]
    pairs = zip(english, chinese, strict=True)
    assert [a["id"] for a, b in pairs if a["cell_type"] == "code" and a != b] == []


@every_translated
def test_a_notebook_is_made_of_the_prose_that_there_is(path):
    assert read(twin(path)) == make_zh.chinese(path), "run python notebooks/make_zh.py"


@every_translated
def test_a_notebook_says_the_same_in_chinese(path):
    pairs = zip(cells(path), cells(twin(path)), strict=True)
    texts = [(a["id"], text_of(a), text_of(b)) for a, b in pairs if a["cell_type"] == "markdown"]
    found = {name: differences(english, chinese) for name, english, chinese in texts}
    assert {name: lines for name, lines in found.items() if lines} == {}


@every_translated
def test_a_short_answer_is_one_sentence(path):
    prose = read(COURSE / "zh" / f"{path.stem}.md")
    folded = re.findall(r"<summary>一句话答案</summary>\n\n(.+)\n\n</details>", prose)
    assert len(folded) == read(path).count("<details><summary>")
    assert [answer for answer in folded if answer.count("。") != 1 or not answer.endswith("。")] == []


def test_prose_that_lacks_a_section_is_refused(tmp_path, monkeypatch):
    (tmp_path / "zh").mkdir()
    prose = read(COURSE / "zh" / "00_quickstart.md").replace("<!-- cell-03 -->", "<!-- cell-99 -->")
    (tmp_path / "zh" / "00_quickstart.md").write_text(prose, encoding="utf-8")
    monkeypatch.setattr(make_zh, "COURSE", tmp_path)
    with pytest.raises(ValueError, match=r"expected sections cell-00, cell-01, cell-03.*got.*cell-99"):
        make_zh.chinese(COURSE / "00_quickstart.ipynb")


def test_the_page_of_answers_is_what_the_chinese_notebooks_say():
    assert read(COURSE / "answers.zh-CN.md") == make_answers.page("zh")


# --- Chinese as it is set -------------------------------------------------------------------------

WRITTEN = [*sorted((COURSE / "zh").glob("*.md")), *map(twin, PAGES), COURSE / "answers.zh-CN.md"]
every_text = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())


@every_text
def test_a_chinese_text_has_chinese_punctuation_and_a_space_before_latin_letters(path):
    assert untidy(read(path)) == []


UNTIDY = [
    "    x\n\n卷积,池化",
    "卷积.",
    "层(conv1)",
    "28个",
    "第 28个",
    "用`x` 表示",
    "**预测：**网络",
    "一行\n又一行",
]


@pytest.mark.parametrize("text", UNTIDY)
def test_what_is_not_set_as_chinese_is_noticed(text):
    assert untidy(text) != []


@every_text
def test_a_chinese_text_links_to_the_chinese_page_where_there_is_one(path):
    text = read(path).replace(f"[English]({path.name.replace('.zh-CN', '')})", "")
    room = COURSE if path.parent.name == "zh" else path.parent
    local = [room / target.partition("#")[0] for target in targets(text) if ":" not in target]
    assert [str(page) for page in local if page.suffix and twin(page).exists()] == []


def test_a_text_set_as_chinese_passes():
    assert untidy("**预测：** 有 28 个窗口（`conv1` 的），占 26.5 %。\n") == []


@every_translated
def test_no_figure_draws_chinese_which_needs_a_font(path):
    code = [text_of(cell) for cell in cells(path) if cell["cell_type"] == "code"]
    assert re.findall(HAN, "\n".join([*code, read(COURSE / "course.py")])) == []


# --- the glossary ---------------------------------------------------------------------------------


def glossary(path):
    """(English, Chinese, meaning) of each row of a README's glossary."""
    rows = read(path).split("| English | 中文 |")[1].strip().split("\n")[2:]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def test_both_glossaries_have_the_same_terms():
    english, chinese = ([row[:2] for row in glossary(path)] for path in (PAGES[1], twin(PAGES[1])))
    assert english == chinese
    assert len({row[0] for row in english}) == len(english)


def other_names():
    """The translations that the glossary gives as other people's."""
    found = [re.search(r"也译作(.+?)[。；）]", meaning) for _, _, meaning in glossary(twin(PAGES[1]))]
    return [name for match in found if match for name in match[1].split("、")]


@every_text
def test_the_terms_are_those_of_the_glossary(path):
    text = re.sub(r"^\|.*也译作.*", "", read(path), flags=re.MULTILINE)
    assert len(other_names()) > 10
    assert [name for name in other_names() if name in text] == []
