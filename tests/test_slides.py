"""The figures of the teachers' page, for slides."""

import re
import sys
from collections import Counter
from pathlib import Path

import matplotlib
import pytest
from course_files import module

DOCS = Path(__file__).parent.parent / "docs"
SLIDES = DOCS / "slides"


@pytest.fixture
def slides(monkeypatch):
    with matplotlib.rc_context():
        monkeypatch.setitem(sys.modules, "course", module("course"))  # and with it the style of its figures
        yield module("make_slides")


@pytest.mark.parametrize(("page", "prefix"), [("teaching.md", ""), ("teaching.zh-CN.md", "zh_")])
def test_every_figure_for_slides_is_drawn_stored_and_on_the_page(slides, page, prefix):
    text = (DOCS / page).read_text(encoding="utf-8")
    drawn = {f"{prefix}{name}.svg" for name in slides.FIGURES}
    assert drawn == {path.name for path in SLIDES.iterdir() if path.name.startswith("zh_") == bool(prefix)}
    assert drawn == set(re.findall(r"!\[.+\]\(slides/(.+)\)", text))


def texts(file):
    """The texts of a stored figure: Matplotlib writes each into a comment beside its outlines."""
    return re.findall(r"<!-- (.*) -->", (SLIDES / file).read_text(encoding="utf-8"))


NAME_OR_FORMULA = re.compile(r"[-\u2212\d., x]+|[A-Za-z]\w*|.* / 2h, .*")


def test_the_chinese_figures_are_the_english_ones_with_every_word_translated(slides):
    for name in slides.FIGURES:
        english, chinese = texts(f"{name}.svg"), texts(f"zh_{name}.svg")
        assert Counter(map(slides.in_chinese, english)) == Counter(chinese)
        left = [text for text in english if slides.in_chinese(text) == text]
        assert [text for text in left if not NAME_OR_FORMULA.fullmatch(text)] == []


def test_a_translated_text_keeps_its_numbers(slides):
    assert slides.in_chinese("dead units of fc1, of 1,024") == "fc1 的 1,024 个单元中死亡的个数"
    for english, chinese in slides.CHINESE.items():
        assert english.count("#") == chinese.count("#")


@pytest.mark.parametrize("path", sorted(SLIDES.iterdir()), ids=lambda path: path.name)
def test_no_stored_figure_lacks_a_glyph(path):
    glyphs = re.findall(r'id="([A-Za-z]\w+-[-\w]+)"', path.read_text(encoding="utf-8"))
    assert [glyph for glyph in glyphs if glyph.endswith("-0")] == []  # 0 is the box for what a font lacks
    assert any("CJK" in glyph for glyph in glyphs) == path.name.startswith("zh_")


def test_drawing_without_a_chinese_font_fails(slides, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "FONTS", ["DejaVu Sans"])
    monkeypatch.setattr(slides, "FIGURES", {"4-pool": slides.pool})
    with pytest.raises(UserWarning, match="Glyph .* missing"):
        slides.main(tmp_path)


@pytest.mark.long
def test_the_stored_figures_are_what_is_drawn(slides, tmp_path):
    """With the Matplotlib that drew them: another one may draw other paths."""
    slides.main(tmp_path)
    stored = {path.name: path.read_bytes() for path in SLIDES.iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == stored
