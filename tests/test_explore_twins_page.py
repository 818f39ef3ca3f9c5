"""Break it, as twins, and the nearest training digits, on the page of `minicnn explore` in a real browser."""

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from browsing import SMALL, draw, wait_for_answer

MINUS = "\u2212"
WIDTHS = [1280, 1024, 768, 390]
AT = (
    "n => { const { step, running } = document.querySelector('[data-step]').dataset;"
    " return step === String(n) && running === 'false' }"
)
NEAREST = ".nearest .digit"


@pytest.fixture
def page(new_page, address):
    return new_page(address)


def break_it(page, difference="bias", guess="b"):
    page.get_by_role("button", name="Break it").click()
    page.locator(".twins select").first.select_option(difference)
    page.locator(".guess input").nth(["a", "b", "same"].index(guess)).check()
    page.wait_for_selector(".figures")


def wait_for_step(page, step):
    page.wait_for_function(AT, arg=step, timeout=120_000)


def go_to(page, step):
    page.locator("input[type=range]").evaluate(
        "(e, n) => { e.value = n; e.dispatchEvent(new Event('change', { bubbles: true })) }", step
    )
    wait_for_step(page, step)


def cell(page, row, twin):
    return page.locator(f"[data-row='{row}'] [data-twin={twin}]").inner_text()


def test_one_guesses_runs_ten_steps_and_goes_back_to_the_same_losses(page):
    draw(page)
    wait_for_answer(page, 7)
    page.get_by_role("button", name="Break it").click()
    assert page.get_by_role("button", name="10 steps").is_disabled()  # the guess comes first
    page.get_by_label(f"B: {MINUS}3").check()
    wait_for_step(page, 0)
    page.get_by_role("button", name="1 step").click()
    wait_for_step(page, 1)
    first = [cell(page, "loss", twin) for twin in "ab"]
    page.get_by_role("button", name="10 steps").click()
    wait_for_step(page, 11)
    assert [cell(page, "loss", twin) for twin in "ab"] != first
    assert page.get_by_label(f"B: {MINUS}3").is_disabled()  # no other guess after the first step
    page.get_by_role("button", name="To the start").click()
    wait_for_step(page, 0)
    page.get_by_role("button", name="1 step").click()
    wait_for_step(page, 1)
    assert [cell(page, "loss", twin) for twin in "ab"] == first
    assert "bit for bit" in page.locator(".twins").inner_text()


def test_dead_units_filters_and_ones_own_digit_are_shown_of_both(page):
    draw(page)
    wait_for_answer(page, 7)
    break_it(page)
    page.get_by_role("button", name="1 step").click()
    wait_for_step(page, 1)
    assert cell(page, "conv1.relu", "b") == "8 dead, 0 always on"
    assert cell(page, "conv1.relu", "a").startswith("0 dead")
    assert page.locator(".twins-filters canvas").count() == 4
    assert page.locator("[data-digit]").count() == 20
    before = page.locator(".twins-digit").inner_text()
    draw(page, [[(140, 40), (140, 240)]])  # a newer stroke goes to both
    page.wait_for_function("t => document.querySelector('.twins-digit').innerText !== t", arg=before)


def test_a_run_pauses_and_the_end_tells_what_happened(page):
    break_it(page, guess="same")
    page.get_by_role("button", name="Run to 300").click()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("() => document.querySelector('[data-step]').dataset.running === 'false'")
    assert int(page.locator("[data-step]").get_attribute("data-step")) < 300
    page.get_by_role("button", name="Run to 300").click()
    page.wait_for_selector(".outcome", timeout=280_000)
    assert page.locator(".outcome").get_attribute("data-result") == "a"
    told = page.locator(".outcome").inner_text()
    assert "You guessed wrong" in told
    assert "All units are dead" in told
    assert page.get_by_role("button", name="Run to 300").is_disabled()


def test_no_number_is_shown_and_explained(page):
    break_it(page, "loss")
    page.get_by_role("button", name="1 step").click()
    wait_for_step(page, 1)
    assert cell(page, "loss", "b") == "∞"
    assert "no longer a finite number" in page.locator(".twins-nan").inner_text()
    page.get_by_role("button", name="To the start").click()
    wait_for_step(page, 0)
    assert page.locator(".twins-nan").count() == 0


def test_the_gradient_check_stands_beside_a_wrong_gradient(page):
    break_it(page, "gradient")
    page.wait_for_selector("[data-check=wrong]", timeout=120_000)
    assert page.locator("[data-check=right]").inner_text().startswith("ok: ")
    assert page.locator("[data-check=wrong]").inner_text().startswith("WRONG: ")


def test_twins_are_trained_by_keyboard_alone(page):
    page.keyboard.press("t")
    page.wait_for_selector(".twins")

    def tab_to(selector):
        for _ in range(60):
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(selector)

    tab_to(".twins select")
    page.keyboard.press("ArrowDown")
    assert page.locator(".twins select").first.input_value() == "weights"
    tab_to(".guess input")
    page.keyboard.press("Space")
    page.wait_for_selector(".figures")
    tab_to(".twins-row button:enabled")
    page.keyboard.press("Enter")
    wait_for_step(page, 1)
    tab_to("input[type=range]")
    page.keyboard.press("Home")
    wait_for_step(page, 0)
    page.keyboard.press("Shift+Tab")  # to a button: in the slider letters do nothing
    page.keyboard.press("t")
    page.wait_for_selector(".bars")


def test_two_tabs_have_twins_of_their_own(new_page, address):
    one, two = new_page(address), new_page(address)
    break_it(one, "bias")
    break_it(two, "optimizer")
    go_to(one, 3)
    go_to(two, 5)
    assert cell(one, "conv1.relu", "b") == "8 dead, 0 always on"
    assert cell(two, "conv1.relu", "b").startswith("0 dead")
    wait_for_step(one, 3)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_twins_do_not_overflow_and_have_no_small_text(new_page, address, language, width):
    page = new_page(address, language, width, 800)
    page.keyboard.press("t")
    page.wait_for_selector(".twins")
    for difference in ("overflow", "gradient"):
        page.locator(".twins select").first.select_option(difference)
        page.locator(".guess input").first.check()
        page.wait_for_selector(".figures")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(SMALL) == []


def test_the_nearest_training_digits_come_with_labels_and_load(page):
    page.wait_for_function("() => document.querySelector('.status').textContent.includes('mistakes')")
    draw(page)
    wait_for_answer(page, 7)
    page.locator(".nearest summary").click()
    page.wait_for_selector(NEAREST, timeout=120_000)
    assert page.locator(NEAREST).count() == 12
    distances = [float(text) for text in page.locator(f"{NEAREST} small").all_inner_texts()]
    assert distances == sorted(distances)
    page.locator(NEAREST).first.click()
    page.wait_for_function("() => document.querySelector('.chosen').innerText.startsWith('Training image')")
    page.wait_for_function(f"() => document.querySelector('{NEAREST} small').innerText === '0.0'")  # itself
