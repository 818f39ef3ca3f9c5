"""The figures of the teachers' page, for slides."""

import re
import sys
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


def test_every_figure_for_slides_is_drawn_stored_and_on_the_page(slides):
    page = (DOCS / "teaching.md").read_text(encoding="utf-8")
    drawn = {f"{name}.svg" for name in slides.FIGURES}
    assert drawn == {path.name for path in SLIDES.iterdir()}
    assert drawn == set(re.findall(r"!\[.+\]\(slides/(.+)\)", page))


@pytest.mark.long
def test_the_stored_figures_are_what_is_drawn(slides, tmp_path):
    """With the Matplotlib that drew them: another one may draw other paths."""
    slides.main(tmp_path)
    stored = {path.name: path.read_bytes() for path in SLIDES.iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == stored
