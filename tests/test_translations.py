"""The Chinese pages say what the English ones say: the same parts, numbers, code, formulas and links.

Only the words differ, and no test can read those. `notebooks/make_zh.py` makes the Chinese notebooks of the
cells and outputs of the English ones, which `.ci/notebooks` runs; so they are not run a second time.
"""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "notebooks"
ENGLISH = sorted(COURSE.glob("[0-9]*.ipynb"))
NOT_YET = []  # stems of notebooks that have no Chinese prose yet
PAGES = [ROOT / "README.md", COURSE / "README.md"]
LEADS = {"**Predict:**": "**预测：**", "**Answer.**": "**回答。**"}
LEADS["**Where it stops being true.**"] = "**什么时候不再成立。**"
HAN = r"[\u4e00-\u9fff]"


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


# --- what must be the same ------------------------------------------------------------------------


def facts(text):
    """What a text has in every language, by name. Numbers in words, such as "ten", are words."""
    code = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"([\d.]+) million", lambda found: f"{float(found[1]) * 100:.0f} 万", text)  # as Chinese counts
    blocks = re.findall(r"^    .*\S", text, re.MULTILINE)
    spans = Counter(" ".join(span.split()) for span in re.findall(r"`[^`]+`", text))
    links = Counter(home(target) for target in targets(text))
    prose = re.sub(r"`[^`]+`|\]\([^)]+\)|^    .*", "", text, flags=re.MULTILINE)
    return {
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "numbers": Counter(re.findall(r"\bQ\d+|(?<![A-Za-z_\d])\d+(?:,\d{3})*(?:\.\d+)?", prose)),
        "code spans": spans,
        "code blocks": code,
        "indented lines": len(blocks),
        "links": links,
        "images": len(re.findall(r"!\[", text)),
        "tags": re.findall(r"</?[a-z]+", prose),
        "lists": re.findall(r"^(?:-|\d+\.)(?= )", prose, re.MULTILINE),
        "tables": [line.count("|") for line in prose.split("\n") if line.startswith("|")],
    }


def targets(text):
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text))


def home(target):
    """A link's target in English: its file, without the anchor, which is a heading in words."""
    return target.partition("#")[0].replace(".zh-CN.md", ".md").replace("zh_", "")


def indented(text):
    return re.findall(r"^    .*\S", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def symbols(line):
    """The digits and operators of a formula with words in it."""
    return re.findall(r"[\d=+*/^\[\]]", line)


def only(first, second):
    """What each of two counters has more of; two other things, as they are."""
    if isinstance(first, Counter):
        first, second = dict(first - second), dict(second - first)
    return f"{first} in English, {second} in Chinese"


def differences(english, chinese):
    """What differs between two texts, besides the words."""
    first, second = facts(english), facts(chinese)
    found = [f"{name}: {only(first[name], second[name])}" for name in first if first[name] != second[name]]
    for ours, theirs in zip(indented(english), indented(chinese), strict=False):
        same = symbols(ours) == symbols(theirs) if re.search(HAN, theirs) else ours == theirs
        found += [] if same else [f"line: {ours!r} and {theirs!r}"]
    one_line = " ".join(english.split())
    counts = [(lead, one_line.count(lead), lead_zh, chinese.count(lead_zh)) for lead, lead_zh in LEADS.items()]
    found += [f"{a}: {m}, {b}: {n}" for a, m, b, n in counts if m != n]
    return found + ([] if re.search(HAN, chinese) else ["no Chinese"])


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
    texts = {a["id"]: ["".join(c["source"]) for c in (a, b)] for a, b in pairs if a["cell_type"] == "markdown"}
    found = {name: differences(*pair) for name, pair in texts.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@every_translated
def test_a_short_answer_is_one_sentence(path):
    folded = re.findall(r"<summary>一句话答案</summary>\n\n(.+)\n\n</details>", read(COURSE / "zh" / f"{path.stem}.md"))
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


def untidy(text):
    """Places where a Chinese text is not set as Chinese is."""
    text = re.sub(r"^```.*?^```|<!--.*?-->|^    .*", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"[，。：；？！、）”]\*\*[^\s|*].", text)  # Markdown does not end the bold type here
    text = re.sub(r"`[^`]+`", "x", text)
    text = re.sub(r"\]\([^)]+\)|!?\[|\]|\*|</?\w+>", "", text)
    found += re.findall(rf"{HAN}[,;:?!()]|[,;:?!()]{HAN}|{HAN}\.(?!\w)", text)  # punctuation of the other language
    return found + re.findall(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}|{HAN}\n{HAN}", text)


@every_text
def test_a_chinese_text_has_chinese_punctuation_and_a_space_before_latin_letters(path):
    assert untidy(read(path)) == []


@pytest.mark.parametrize(
    "text", ["卷积,池化", "卷积.", "层(conv1)", "28个", "第 28个", "用`x` 表示", "**预测：**网络", "一行\n又一行"]
)
def test_what_is_not_set_as_chinese_is_noticed(text):
    assert untidy(text) != []


def test_a_text_set_as_chinese_passes():
    assert untidy("**预测：** 有 28 个窗口（`conv1` 的），占 26.5 %。\n") == []


@every_translated
def test_no_figure_draws_chinese_which_needs_a_font(path):
    code = [*("".join(c["source"]) for c in cells(path) if c["cell_type"] == "code"), read(COURSE / "course.py")]
    assert re.findall(HAN, "\n".join(code)) == []


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
