"""The page of `minicnn explore` in a real browser: Debian's Chromium, driven by Playwright.

Where one of them is missing, these tests are skipped: `pip install playwright`, `apt-get install chromium`.
"""

import re
import shutil
from contextlib import suppress

import pytest
from browsing import SMALL, draw, last_line, numbers, open_stage, served, title, wait_for_answer
from commands import start_explore

from minicnn import load_mnist
from minicnn.data import Dataset, Split
from minicnn.explore.session import Session
from minicnn.runs.run import Run
from minicnn.runs.settings import settings_for

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

DARK = (  # how many pixels of a canvas are dark, within left, top, width, height
    "[...document.querySelector({}).getContext('2d').getImageData({}).data]"
    ".filter((v, i) => i % 4 == 0 && v < 128).length"
)
COLOURS = (
    "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
)
NOTHING_IN = "name => state.answer.value.arrays[name].every(x => x === 0) && !state.waiting.value"
MINUS = "\u2212"
WIDTHS = [1280, 1024, 768, 390]


@pytest.fixture
def page(new_page, address):
    return new_page(address)


def follow(page):
    """Press F, and wait until the next number has its terms."""
    before = title(page)
    page.keyboard.press("f")
    page.wait_for_function(
        "t => document.querySelector('.number-name').innerText.trim().split(' = ')[0] !== t", arg=before
    )
    page.wait_for_function(
        "() => document.querySelector('.made:not(.pending)') || document.body.innerText.includes('A pixel')"
    )
    return title(page)


# --- draw ------------------------------------------------------------------------------------------


def test_a_drawn_seven_is_read_and_every_map_follows(page):
    draw(page)
    wait_for_answer(page, 7)
    for canvas in page.locator("canvas[data-stage]").all():
        different = canvas.evaluate(COLOURS)
        assert different > 3, canvas.get_attribute("data-stage")
    assert "%" in page.locator(".bar").nth(7).inner_text()


def test_blank_paper_has_an_answer_too(page):
    page.wait_for_function("() => document.querySelector('.bars h2').textContent.startsWith('It says')")
    assert page.locator(".problem").count() == 0


def test_undo_and_clear_take_strokes_away(page):
    draw(page)
    wait_for_answer(page, 7)
    page.get_by_role("button", name="Undo").click()
    ink = DARK.format("'.pad canvas'", "0, 0, 280, 280")
    some = page.evaluate(ink)
    assert some > 0
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate(ink) == 0
    assert page.get_by_role("button", name="Undo").is_disabled()


def test_centring_decides_what_the_network_sees(page):
    draw(page, [[(30, 30), (60, 30)], [(60, 30), (45, 80)]])  # a small 7 in a corner
    seen = DARK.format("\"canvas[data-stage='image']\"", "56, 56, 50, 50")
    page.wait_for_function(f"() => ({seen}) > 0")
    page.get_by_label("Centre it").uncheck()
    page.wait_for_function(f"() => ({seen}) === 0")


def test_a_test_image_can_be_chosen_and_mistakes_come_first(page):
    page.wait_for_function("() => document.querySelector('.status').textContent.includes('mistakes')")
    page.locator(".digits summary").click()
    page.wait_for_selector(".digit.wrong")
    wrong = page.locator(".digit").evaluate_all("nodes => nodes.map(n => n.classList.contains('wrong'))")
    assert wrong == sorted(wrong, reverse=True)
    page.locator(".digit").first.click()
    page.wait_for_function(
        "() => document.querySelector('.bars h2').textContent.includes('but the label is')"
    )
    assert page.get_by_label("Centre it").is_disabled()
    draw(page)  # replaces it
    wait_for_answer(page, 7)


def test_an_answer_to_an_older_stroke_is_never_painted(page):
    draw(page)
    wait_for_answer(page, 7)
    held = []
    page.route("**/api/drawing*", lambda route: held.append(route) if not held else route.continue_())
    draw(page, [[(40, 140), (240, 140)]])  # its first question is held back
    page.wait_for_timeout(100)
    assert held
    page.get_by_role("button", name="Clear").click()  # a newer question: asked and answered at once
    page.wait_for_function(
        "() => document.querySelector('.status') && !document.querySelector('.progress.busy')"
    )
    page.wait_for_timeout(200)
    blank = page.locator(".bars").inner_text()
    with suppress(playwright.Error):  # the page has given it up
        held[0].continue_()
    page.wait_for_timeout(200)
    assert page.locator(".bars").inner_text() == blank


# --- follow ----------------------------------------------------------------------------------------


def test_the_products_of_conv2_add_up_to_what_is_shown(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv2", 100, 30)
    by_hand, engine = last_line(page)
    sums, terms = numbers(page, "data-sum"), numbers(page, "data-term")
    assert len(sums) == 32
    bias = terms[-1]
    assert sum(sums) + bias == pytest.approx(by_hand, abs=1e-9)
    assert sum(terms) == pytest.approx(by_hand, abs=1e-9)  # the ten largest, the others, the bias
    assert by_hand == pytest.approx(engine, abs=1e-5)
    for tile in page.locator(".tile").all()[:5]:
        tile.click()
        assert tile.get_attribute("aria-pressed") == "true"
        assert sum(numbers(page, "data-product")) == pytest.approx(
            float(tile.get_attribute("data-sum")), abs=1e-9
        )


def names_down_to(page, last, **tolerance):
    """The names on the way along the largest terms; at each, the sum by hand is the engine's number."""
    names = [title(page)]
    while not names[-1].startswith(last):
        by_hand, engine = last_line(page)
        assert by_hand == pytest.approx(engine, **tolerance)
        names.append(follow(page))
    return names


def layers_of(names):
    return [re.sub(r"\[.*", "", name) for name in names]


def test_from_a_bar_one_comes_down_to_a_pixel(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator(".bar").nth(7).click()
    names = names_down_to(page, "image", rel=1e-5, abs=1e-5)
    assert layers_of(names) == [
        "softmax", "fc2", "relu", "fc1", "conv2.pool", "conv2.relu", "conv2",
        "conv1.pool", "conv1.relu", "conv1", "image",
    ]  # fmt: skip
    assert "here the way down ends" in page.locator(".inspector").inner_text()
    assert page.locator(".trail li").count() == len(names)
    page.locator(".trail .link").nth(3).click()  # back to fc1
    assert title(page) == names[3]
    page.keyboard.press("u")
    assert title(page) == names[2]


def test_a_product_is_a_link_to_its_factor(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv1", 40, 8)
    assert len(numbers(page, "data-product")) == 25
    page.locator(".grid td:not(.outside) .link").first.click()
    assert title(page).startswith("image[")
    page.keyboard.press("u")
    page.wait_for_selector(".grid")
    page.locator(".grid .times .link").first.click()
    page.wait_for_selector(".nudge [data-quotient]")
    assert title(page).startswith("∂L/∂conv1.weight[")


def test_padding_is_shown_as_padding(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator("canvas[data-stage='conv1']").press("Enter")
    page.wait_for_selector(".grid")
    assert title(page) == "conv1[0, 0, 0]"
    assert page.locator(".grid td.outside").count() == 16
    assert page.locator(".grid td").count() == 25


def test_a_pool_shows_its_winner_and_ties(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv1.pool", 1, 1)
    assert page.locator(".grid.pool td").count() == 4
    assert page.locator(".grid.pool td.winner").count() == 1


def test_each_number_has_its_formula_and_its_lines_of_code(page):
    draw(page)
    wait_for_answer(page, 7)
    for stage, marked in (
        ("conv1", "y = cols @ w"),
        ("conv1.pool", "argmax = windows.argmax"),
        ("fc1", "y = x @ w + b"),
    ):
        open_stage(page, stage)
        page.wait_for_function(
            "m => [...document.querySelectorAll('.computes')].some(n => n.textContent.includes(m))",
            arg=marked,
        )
        formula = page.locator("math").first.bounding_box()
        assert formula["height"] > 15
        shown = page.locator("math .result").text_content().replace(MINUS, "-")
        if "·10" not in shown:
            assert float(shown) == pytest.approx(last_line(page)[0], rel=1e-3, abs=1e-4)


# --- why ---------------------------------------------------------------------------------------------


def test_the_lead_of_a_digit_is_a_sum_over_units_and_shows_what_they_like(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator("button.why").click()
    by_hand, engine = last_line(page)
    assert title(page).startswith("fc2[7] ")
    assert sum(numbers(page, "data-term")) == pytest.approx(by_hand, abs=1e-9)
    assert by_hand == pytest.approx(engine, abs=1e-4)
    page.wait_for_selector(".row-of-digits")
    assert page.locator(".row-of-digits").count() == 6
    assert page.locator(".row-of-digits canvas").count() == 54
    page.locator(".why-head select").nth(1).select_option("4")
    page.wait_for_function("() => document.querySelector('.number-name').innerText.includes('fc2[4]')")
    assert follow(page).startswith("relu[")


def test_covering_the_ink_lowers_the_lead(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator("button.why").click()
    page.wait_for_selector(".covered canvas")
    page.locator(".covered canvas").click(position={"x": 98, "y": 98})
    page.wait_for_function("() => document.querySelector('.covered').innerText.includes('changes by')")


def test_ink_can_be_rubbed_out_of_a_test_image(page):
    page.wait_for_function("() => document.querySelector('.status').textContent.includes('mistakes')")
    page.locator(".digits summary").click()
    page.locator(".digit").first.click()
    page.wait_for_function(
        "() => document.querySelector('.bars h2').textContent.includes('but the label is')"
    )
    seen = "document.querySelector(\"canvas[data-stage='image']\").toDataURL()"
    page.get_by_role("button", name="Rubber").click()
    before = page.evaluate(seen)
    draw(page, [[(140, 40), (140, 240)]])
    page.wait_for_function(f"before => {seen} !== before", arg=before)
    assert not page.get_by_label("Centre it").is_checked()
    ink = DARK.format("'.pad canvas'", "136, 60, 8, 160")
    assert page.evaluate(ink) == 0  # where the rubber went


# --- switch off ------------------------------------------------------------------------------------


def test_a_filter_is_switched_off_and_on_again(page):
    page.wait_for_function("() => document.querySelector('.status').textContent.includes('mistakes')")
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv1", 40, 8)  # map 1
    before = last_line(page)[1]
    assert before != 0
    page.get_by_role("button", name="Switch off conv1 filter 1").click()
    page.wait_for_function("() => document.querySelector('.last-line [data-engine]').dataset.engine === '0'")
    page.wait_for_function("() => document.querySelector('.switched-off').innerText.includes('with all on')")
    page.keyboard.press("o")
    page.wait_for_selector(".switched-off", state="detached")
    page.wait_for_function(
        f"() => document.querySelector('.last-line [data-engine]').dataset.engine === '{before}'"
    )


def test_with_all_filters_off_nothing_is_seen(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv1.pool", 1, 1)
    for _ in range(32):
        page.keyboard.press("o")
        page.locator(".stepper button").nth(1).click() if page.locator(".stepper button").nth(
            1
        ).is_enabled() else None
    page.wait_for_function(
        "() => document.querySelector('.switched-off').innerText.includes('Switched off: 32')"
    )
    page.evaluate("async () => { window.state = await import('./state.js') }")
    page.wait_for_function(NOTHING_IN, arg="conv1.pool")
    page.wait_for_timeout(100)
    seven = page.locator(".bars").inner_text()
    draw(page, [[(140, 40), (140, 240)]])
    page.wait_for_timeout(500)
    assert page.locator(".bars").inner_text() == seven  # whatever one draws
    page.get_by_role("button", name="Switch all on").click()
    page.wait_for_selector(".switched-off", state="detached")


# --- follow it back ---------------------------------------------------------------------------------


def test_gradients_add_up_and_agree_with_a_nudge(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator("select").select_option("1")
    page.keyboard.press("b")
    open_stage(page, "conv1.pool", 130, 20)
    by_hand, engine = last_line(page)
    assert sum(numbers(page, "data-sum")) == pytest.approx(by_hand, abs=1e-9)
    assert by_hand == pytest.approx(engine, rel=1e-4, abs=1e-6)
    page.wait_for_selector(".nudge [data-quotient]")
    page.locator(".slider input").fill("-6")
    page.wait_for_function(f"() => document.querySelector('.slider sup').textContent === '{MINUS}6'")
    page.wait_for_timeout(400)
    if "No ReLU" in page.locator(".nudge").inner_text():
        assert numbers(page, "data-quotient")[0] == pytest.approx(engine, rel=1e-3, abs=1e-5)


def test_a_gradient_is_followed_from_a_pixel_up_to_the_scores(page):
    draw(page)
    wait_for_answer(page, 7)
    page.locator("select").select_option("1")
    page.keyboard.press("b")
    page.wait_for_function("() => document.querySelector('.strip h2').textContent.includes('∂L')")
    page.locator("canvas[data-stage='image']").click(position={"x": 58, "y": 30})
    page.wait_for_selector(".last-line")
    names = names_down_to(page, "∂L/∂fc2", rel=1e-3, abs=1e-6)
    assert layers_of(names) == [
        f"∂L/∂{name}"
        for name in (
            "image",
            "conv1",
            "conv1.relu",
            "conv1.pool",
            "conv2",
            "conv2.relu",
            "conv2.pool",
            "fc1",
            "relu",
            "fc2",
        )
    ]
    assert "probability minus target" in page.locator(".inspector").inner_text()


def test_a_weights_gradient_has_a_part_for_every_position(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv1", 40, 8)
    page.locator(".grid td:not(.outside) .times .link").nth(5).click()
    page.wait_for_selector(".nudge [data-quotient]")
    assert page.locator("[data-terms='784']").count() == 1
    by_hand, engine = last_line(page)
    assert sum(numbers(page, "data-term")) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx(engine, rel=1e-3, abs=1e-8)


# --- by keyboard ------------------------------------------------------------------------------------


def test_everything_works_by_keyboard_alone(page):
    page.locator(".pad canvas").first.focus()
    for key in (
        ["ArrowUp"] * 7
        + ["ArrowLeft"] * 5
        + ["Space"]
        + ["ArrowRight"] * 10
        + ["ArrowDown", "ArrowLeft", "ArrowDown"] * 7
        + ["Space"]
    ):
        page.keyboard.press(key)
    wait_for_answer(page, 7)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.stage") == "conv1":
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    for key in ["ArrowDown"] * 10 + ["ArrowRight"] * 12 + ["PageDown"]:
        page.keyboard.press(key)
    assert page.locator("[role=status][aria-live]").inner_text().startswith("conv1[10, 12, 1]: ")
    page.keyboard.press("Enter")
    page.wait_for_selector(".last-line")
    assert title(page) == "conv1[10, 12, 1]"
    assert follow(page).startswith("image[")
    page.keyboard.press("u")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.stage") == "conv1"
    assert page.locator(".number-name").count() == 0
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


# --- languages, sizes, tabs, servers ----------------------------------------------------------------


def test_the_language_changes_with_one_key_and_nothing_else_does(page):
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv2")
    before = last_line(page)
    page.keyboard.press("l")
    wait_for_answer(page, 7, "zh")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert last_line(page) == before
    page.keyboard.press("l")
    wait_for_answer(page, 7)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_no_text_is_small(new_page, address, language, width):
    page = new_page(address, language, width, 800)
    draw(page)
    wait_for_answer(page, 7, language)
    for prepare in (lambda: None, lambda: open_stage(page, "conv2"), lambda: page.keyboard.press("b")):
        prepare()
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.evaluate(SMALL)
        assert small == []


def test_a_finger_draws_and_does_not_scroll(new_page, address):
    page = new_page(address, width=390, height=700, has_touch=True)
    assert page.locator(".pad canvas").first.evaluate("c => getComputedStyle(c).touchAction") == "none"


def test_two_tabs_do_not_disturb_each_other(new_page, address):
    one, two = new_page(address), new_page(address)
    draw(one)
    draw(two, [[(140, 40), (140, 240)]])
    wait_for_answer(one, 7)
    wait_for_answer(two, 1)
    open_stage(one, "conv2")
    open_stage(two, "fc1")
    assert title(one).startswith("conv2[")
    assert title(two).startswith("fc1[")


def test_a_server_that_is_killed_is_noticed_and_a_new_one_has_a_new_address(
    new_page, tmp_path, trained_network
):
    trained_network.save(tmp_path / "network.safetensors")
    server, address = start_explore(tmp_path / "network.safetensors")
    gone = ["ERR_", "Failed to load", "403"]  # what the browser says of a server that is not there
    page = new_page(address, expected=gone)
    draw(page)
    wait_for_answer(page, 7)
    server.kill()
    server.communicate()
    page.wait_for_function("() => document.querySelector('.status').textContent.startsWith('No connection')")
    again, new_address = start_explore(
        tmp_path / "network.safetensors", "--port", re.search(r":(\d+)/", address)[1]
    )
    try:
        assert new_address != address
        other = new_page(new_address, expected=gone)
        draw(other)
        wait_for_answer(other, 7)
        assert page.locator(".status").inner_text().startswith("No connection")
    finally:
        again.kill()
        again.communicate()


def test_a_network_is_trained_before_ones_eyes(new_page):
    test = load_mnist().test
    few = Split(test.images[:200], test.labels[:200])
    settings = settings_for(model="softmax", ops="reference", steps=400, batch_size=20)
    run = Run(settings, Dataset(few, few, few), "")
    session = Session(run.network, run.data, "a new network", run)
    try:
        with served(session) as server:
            page = new_page(server.address)
            page.wait_for_function(
                "() => document.querySelector('.status').textContent.includes('test accuracy')"
            )
            assert session.version > 1
            draw(page)
            page.locator(".scores button").nth(7).click()
            by_hand, engine = last_line(page)
            assert page.locator("[data-terms='784']").count() == 1
            assert by_hand == pytest.approx(engine, abs=1e-5)
    finally:
        session.close()
