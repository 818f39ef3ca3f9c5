"""The files of the page: both languages complete, nothing from elsewhere, with all licences."""

import re
from pathlib import Path

import pytest

import minicnn
from minicnn.explore.maps import KINDS
from minicnn.explore.server import read_files

STATIC = Path(minicnn.__file__).parent / "explore" / "static"
FILES = {language: [f"{language}.js", f"cards_{language}.js"] for language in ("en", "zh")}
OWN = sorted(path for path in STATIC.glob("*.js") if path.name not in {*FILES["en"], *FILES["zh"]})
LINE = re.compile(r'^  (\w+): "((?:[^"\\]|\\.)*)",$', re.MULTILINE)
MOST_BYTES = 500_000


def texts(language):
    return dict(LINE.findall(text_of(language)))


def text_of(language):
    return "".join((STATIC / name).read_text(encoding="utf-8") for name in FILES[language])


def names_used():
    """The names of all texts that the modules ask for."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in OWN)
    names = set()
    for call in re.findall(r"(?<!\w)t\(([^()]*(?:\([^()]*\)[^()]*)*)\)", code):
        first = call.split(", {")[0]
        names |= set(re.findall(r'"(\w+)"', first)) - {"softmax", "digit", "gradient", "value", "drawing"}
        if prefix := re.match(r"`(\w+_)\$\{", first):
            names |= {name for name in texts("en") if name.startswith(prefix[1])}
    return names


def test_both_languages_have_the_same_texts():
    assert list(texts("en")) == list(texts("zh"))
    assert len(texts("en")) > 100


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_line_of_a_language_is_a_text(language):
    lines = text_of(language).splitlines()
    assert len([line for line in lines if line.startswith("  ")]) == len(texts(language))


def test_the_facts_in_a_text_are_the_same_in_both_languages():
    english, chinese = texts("en"), texts("zh")
    different = [
        n
        for n in english
        if set(re.findall(r"\{\w+\}", english[n])) != set(re.findall(r"\{\w+\}", chinese[n]))
    ]
    assert different == []


def test_every_text_that_is_asked_for_exists_and_none_is_left_over():
    assert names_used() - set(texts("en")) == set()
    assert set(texts("en")) - names_used() == set()


def test_every_kind_of_layer_has_a_name():
    assert {f"kind_{kind}" for kind in [*KINDS.values(), "image"]} <= set(texts("en"))


def test_chinese_is_chinese():
    latin = {
        "other_language",
        "kind_relu",
        "key_follow",
        "key_back",
        "key_off",
        "key_turn",
        "key_escape",
        "key_stages",
        "key_break",
        "twin_relu",
        "twin_weights_he",
        "twin_optimizer_adam",
        "twin_optimizer_sgd",
    }
    letters = re.compile(r"[^\W\d]")
    words = {name: text for name, text in texts("zh").items() if letters.search(text)}  # not mere numbers
    assert {name for name, text in words.items() if not re.search(r"[\u4e00-\u9fff]", text)} <= latin
    half_width = [text for text in texts("zh").values() if re.search(r"[\u4e00-\u9fff][,:;?!(]", text)]
    assert half_width == []


def test_nothing_in_the_page_leads_to_another_machine():
    for name, (content, _) in read_files().items():
        if name.endswith((".js", ".mjs", ".css", ".html", ".svg")):
            found = set(re.findall(rb"\w+://[\w./-]+", content))
            assert all(link.startswith(b"http://www.w3.org/") for link in found), name  # names, not addresses


def test_every_library_has_its_version_and_licence():
    table = (STATIC / "vendor" / "README.md").read_text()
    for path in (STATIC / "vendor").glob("*.mjs"):
        row = next(line for line in table.splitlines() if f"`{path.name}`" in line)
        licence = re.search(r"`(LICENSE-\w+)`", row)[1]
        assert re.search(r"\| \d+\.\d+\.\d+ \|", row)
        assert (STATIC / "vendor" / licence).stat().st_size > 1000


def test_no_text_is_smaller_than_12_pixels():
    css = "\n".join(path.read_text() for path in STATIC.glob("*.css"))
    sizes = re.findall(r"font(?:-size)?: [^;]*?(\d+(?:\.\d+)?)px", css)
    assert sizes
    assert [size for size in sizes if float(size) < 12] == []


def test_the_page_is_light():
    assert sum(len(content) for content, _ in read_files().values()) < MOST_BYTES
