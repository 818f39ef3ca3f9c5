"""The question cards: each opens without an error, tells what is true, and works by keyboard alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import SMALL, few_images, title

from minicnn.explore.export import exported
from minicnn.storage.outputs import write_new_directory

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

NOTEBOOKS = Path(__file__).parents[1] / "notebooks" / "README.md"
ON_THE_PAGE = [2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 24, 25, 26, 28, 29, 31, 32]
ELSEWHERE = sorted(set(range(1, 33)) - set(ON_THE_PAGE))


@pytest.fixture(scope="module")
def data():
    return few_images()


@pytest.fixture(scope="module")
def maps(session, data):
    """All numbers of test image 0, which cards show."""
    return session.answer_to_image(data.test.images[0], int(data.test.labels[0]), True).arrays


def tell(page):
    """What the card tells."""
    page.locator(".card p button:enabled").click()
    return page.locator(".card-tell").inner_text()


def numbers_in(text):
    """Every number in a text; 2.59\u00b710\u207b\u2075 is one."""
    plain = text.translate(
        str.maketrans(
            "\u2212\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "--0123456789"
        )
    )
    plain = re.sub(r"\u00b710(-?\d+)", r"e\1", plain).replace(",", "")
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?", plain)]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("number", ON_THE_PAGE)
def test_a_card_opens_the_page_in_its_state_and_tells(new_page, address, number, language):
    page = new_page(address, language, state=f"&card={number}")
    if number != 29:
        page.wait_for_selector(".last-line")
    else:
        page.wait_for_selector(".gallery .digit")
    told = tell(page)
    assert "{" not in told
    assert "undefined" not in told
    assert "NaN" not in told
    assert len(told) > 25
    assert "notebook" in page.locator(".card .help").inner_text() or language == "zh"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("number", ELSEWHERE)
def test_a_question_that_the_page_cannot_show_names_its_notebook(new_page, address, number):
    page = new_page(address, state=f"&card={number}")
    assert "notebook answers" in page.locator(".card").inner_text()
    assert page.locator(".card p button").count() == 0


def test_every_question_is_in_the_notebook_that_its_card_names(new_page, address):
    page = new_page(address, state="&card=list")
    rows = re.findall(
        r"^\| Q(\d+) \| .*\(([\w]+)\.ipynb\) \|$", NOTEBOOKS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == 32
    named = page.evaluate(
        "async () => { const { notebookOf } = await import('./questions.js');"
        " return Array.from({ length: 32 }, (_, i) => notebookOf(i + 1)); }"
    )
    assert [(str(i + 1), name) for i, name in enumerate(named)] == rows
    assert page.locator(".card-list li").count() == 32


def test_the_course_is_linked_where_it_has_an_address(new_page, address):
    page = new_page(address, state="&card=14")
    assert page.locator(".card a").count() == 0
    page.evaluate("document.querySelector('meta[name=course]').content = '../notebooks/'")
    for href in ("../notebooks/zh_03_shapes.html", "../notebooks/03_shapes.html"):
        page.keyboard.press("l")
        assert page.locator(".card a").get_attribute("href") == href


# --- what they tell is true -----------------------------------------------------------------------------


def told_by(new_page, address, number):
    page = new_page(address, state=f"&card={number}")
    page.wait_for_selector(".last-line")
    return page, numbers_in(tell(page))


def test_the_units_that_are_shut_are_counted(new_page, address, maps):
    shut = float((maps["relu"] == 0).sum())
    page, told = told_by(new_page, address, 2)
    assert told[:2] == [shut, 1024]
    assert title(page).startswith("∂L/∂fc1[")
    assert (maps["d/fc1"][maps["relu"] == 0] == 0).all()
    _, told = told_by(new_page, address, 26)
    assert told[:2] == [shut, 1024]


def test_on_empty_paper_a_bias_is_left(new_page, address, session):
    page, told = told_by(new_page, address, 3)
    biases = session._network.parameters()[1].value
    assert told[:3] == pytest.approx([0, biases[0], 0], abs=1e-4)
    assert (biases > 0).sum() in told
    products = page.locator("[data-product]").evaluate_all(
        "nodes => nodes.map(n => Number(n.dataset.product))"
    )
    assert products == [0] * 25


def test_equal_biases_get_different_gradients(new_page, address, maps):
    _, told = told_by(new_page, address, 5)
    sums = maps["d/conv1"].sum(axis=(0, 1))
    assert told == pytest.approx([0, sums[0], 1, sums[1]], rel=1e-2)
    assert sums[0] != pytest.approx(sums[1])


def test_padding_is_counted(new_page, address):
    page, told = told_by(new_page, address, 8)
    assert told[:2] == [16, 25]
    assert page.locator(".grid td.outside").count() == 16
    page.locator(".zoom canvas").click(position={"x": 2 * 7 + 3, "y": 2 * 7 + 3})  # row 2, column 2
    page.wait_for_function("() => document.querySelectorAll('.grid td.outside').length === 0")


def test_the_products_of_one_filter_of_conv2_are_counted(new_page, address):
    page, told = told_by(new_page, address, 17)
    assert told == [64, 32, 32, 25, 800, 32, 32]
    assert page.locator("[data-terms='800']").count() == 1
    assert page.locator(".tile").count() == 32


def test_sizes_halve(new_page, address):
    assert told_by(new_page, address, 18)[1] == [28, 14, 7]


def test_the_flat_row_has_the_number_where_the_card_says(new_page, address, maps):
    _, told = told_by(new_page, address, 20)
    place = int(maps["conv2.pool"].argmax())
    row, column, channel = np.unravel_index(place, (7, 7, 64))
    assert told[-9:] == [row, column, channel, row, 7, column, 64, channel, place]


def test_the_largest_score_is_the_largest_probability(new_page, address, maps):
    _, told = told_by(new_page, address, 24)
    assert told[0] == maps["fc2"].argmax() == maps["softmax"].argmax()


def test_the_least_likely_label_has_the_largest_loss(new_page, address, maps):
    page, told = told_by(new_page, address, 28)
    label, scores = int(maps["softmax"].argmin()), maps["fc2"].astype(float)
    assert told[0] == label
    loss = np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
    shown = float(page.locator(".last-line [data-engine]").get_attribute("data-engine"))
    assert shown == pytest.approx(loss, rel=1e-5)
    assert told[-1] == pytest.approx(scores.max() - scores[label], rel=1e-3)


def test_the_standard_error_is_that_of_a_proportion(new_page, address, session, data):
    page = new_page(address, state="&card=29")
    page.wait_for_selector(".card p button:enabled")
    told = numbers_in(tell(page))
    share = session.correct(0, 300) / 300
    assert told[1] == 300
    assert told[0] == round(300 * (1 - share))
    assert told[3] == pytest.approx(100 * np.sqrt(share * (1 - share) / 300), abs=0.006)
    assert told[5] == pytest.approx(100 * np.sqrt(share * (1 - share) / 50), abs=0.006)


def test_one_gradient_of_the_scores_is_negative(new_page, address, maps):
    _, told = told_by(new_page, address, 31)
    assert told[0] == pytest.approx(maps["d/fc2"][7], rel=1e-2)
    assert [k for k in range(10) if maps["d/fc2"][k] < 0] == [7]


def test_a_card_that_the_network_cannot_show_says_so(new_page, serve, data, tmp_path):
    from minicnn import softmax_regression

    write_new_directory(tmp_path / "page", exported(softmax_regression(ops="reference"), data, "templates"))
    page = new_page(serve(tmp_path / "page"), state="&card=12")
    page.wait_for_function("() => document.querySelector('.card').innerText.includes('has no layer')")
    assert page.locator(".card p button").count() == 0
    page.get_by_role("button", name="All questions").click()
    page.get_by_role("button", name="24. Why softmax again?").click()
    page.wait_for_selector(".last-line")
    assert "also the largest probability" in tell(page)


# --- using them -----------------------------------------------------------------------------------------


def tab_to(page, selector, most=80):
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(selector)


def test_cards_work_by_keyboard_alone(new_page, address):
    page = new_page(address)
    tab_to(page, ".questions")
    page.keyboard.press("Enter")
    tab_to(page, ".card-list li:nth-child(8) button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".grid td.outside")
    assert title(page) == "conv1[0, 0, 0]"
    page.evaluate("document.querySelector('.card').scrollIntoView()")
    tab_to(page, ".card p button")
    page.keyboard.press("Enter")
    assert "16 of the 25" in page.locator(".card-tell").inner_text()
    assert "16 of the 25" in page.locator("[role=status][aria-live]").inner_text()


def test_one_goes_from_card_to_card_and_the_address_follows(new_page, address):
    page = new_page(address, state="&card=8")
    page.wait_for_selector(".grid td.outside")
    page.get_by_role("button", name="The next question").click()
    page.wait_for_selector(".grid.pool")
    page.wait_for_timeout(400)
    assert "card=9" in page.url
    assert page.locator(".card h2").inner_text().startswith("9. ")
    page.locator(".card-buttons button").last.click()
    page.wait_for_selector(".card", state="detached")
    page.wait_for_timeout(400)
    assert "card" not in page.url


def test_once_something_has_been_done_the_button_stands_out(new_page, address):
    page = new_page(address, state="&card=12")
    page.wait_for_selector(".last-line")
    assert page.locator(".card .primary").count() == 0
    page.locator(".stepper button:enabled").last.click()
    page.wait_for_selector(".card .primary")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 1024, 768, 390])
def test_with_a_card_nothing_overflows_and_no_text_is_small(new_page, address, language, width):
    page = new_page(address, language, width, 800, state="&card=20")
    page.wait_for_selector(".last-line")
    tell(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(SMALL) == []
    below = "nodes => nodes.filter(n => n.getBoundingClientRect().bottom > n.closest('header').clientHeight)"
    assert page.locator("header button").evaluate_all(f"nodes => ({below})(nodes).length") == 0


@pytest.mark.parametrize("number", [3, 5, 12, 28, 29])
def test_cards_work_in_the_exported_page(new_page, serve, data, tmp_path, trained_network, number, address):
    write_new_directory(tmp_path / "page", exported(trained_network, data, "a run"))
    here = new_page(address, state=f"&card={number}")
    there = new_page(serve(tmp_path / "page"), state=f"&card={number}")
    for page in (here, there):
        page.wait_for_selector(".last-line" if number != 29 else ".gallery .digit")
        page.wait_for_selector(".card p button:enabled")
    assert numbers_in(tell(there)) == pytest.approx(numbers_in(tell(here)), rel=1e-3, abs=1e-3)
