"""Chinese texts are set as Chinese is, with the terms of the glossary, and lead to Chinese pages."""

import json
import re

import pytest
from translated import COURSE, HAN, PAGES, ROOT, read, targets, twin, untidy

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
    "*重*要",
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


@pytest.mark.parametrize("path", sorted(COURSE.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_figure_draws_chinese_which_needs_a_font(path):
    code = ["".join(c["source"]) for c in json.loads(read(path))["cells"] if c["cell_type"] == "code"]
    assert re.findall(HAN, "\n".join([*code, read(COURSE / "course.py")])) == []


CAPTION = "**图：**"


def without_caption(cells):
    """The ids of cells with a figure, and no caption below it. The map is explained once, in notebook 00."""
    found = []
    for at, cell in enumerate(cells):
        figure = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        if figure and ("network_map" not in "".join(cell["source"]) or cell["id"] == "cell-06"):
            below = next(c for c in cells[at:] if c["cell_type"] == "markdown")
            found += [] if "".join(below["source"]).startswith(CAPTION) else [cell["id"]]
    return found


@pytest.mark.parametrize("path", sorted(COURSE.glob("zh_*.ipynb")), ids=lambda path: path.stem)
def test_below_a_figure_with_english_labels_a_caption_says_what_is_seen(path):
    assert without_caption(json.loads(read(path))["cells"]) == []


def test_a_figure_without_a_caption_is_noticed():
    figure = {"cell_type": "code", "id": "figure", "source": [], "outputs": [{"data": {"image/png": ""}}]}
    text = {"cell_type": "markdown", "id": "text", "source": ["**回答。** 二。"]}
    assert without_caption([figure, text]) == ["figure"]
    assert without_caption([figure, text | {"source": [CAPTION]}]) == []


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
