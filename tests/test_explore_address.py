"""The page's state in its address: it comes back, odd values do no harm, and parts can be hidden."""

import random
import re
import shutil
from pathlib import Path

import pytest
from browsing import draw, last_line, open_stage, title, wait_for_answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

DOCS = Path(__file__).parents[1] / "docs" / "explore.md"
ROUND_TRIP = """async (state) => {
  const { read, write } = await import("./address.js");
  const { about } = await import("./state.js");
  return read(write(state, about.value), about.value);
}"""
CURRENT = "async () => (await import('./share.js')).current()"
ADDRESS = """async () => {
  const { write } = await import("./address.js");
  const { current } = await import("./share.js");
  return write(current(), (await import("./state.js")).about.value);
}"""
NOTICE = "document.querySelector('.notice')?.textContent"


@pytest.fixture(scope="module")
def quiet_page(browser, address):
    page = browser.new_page()
    page.goto(f"{address}?lang=en")
    page.wait_for_selector(".stages [data-stage]")
    yield page
    page.close()


# --- there and back ---------------------------------------------------------------------------------

SHAPES = {
    "image": (28, 28, 1), "conv1": (28, 28, 32), "conv1.relu": (28, 28, 32), "conv1.pool": (14, 14, 32),
    "conv2": (14, 14, 64), "conv2.relu": (14, 14, 64), "conv2.pool": (7, 7, 64),
    "fc1": (1024,), "relu": (1024,), "fc2": (10,),
}  # fmt: skip
PARAMETERS = {
    "conv1.weight": 800,
    "conv1.bias": 32,
    "conv2.weight": 51200,
    "fc1.weight": 3211264,
    "fc2.bias": 10,
}
PARTS = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)


def size_of(shape):
    return shape[0] if len(shape) == 1 else shape[0] * shape[1] * shape[2]


def places(what, sizes):
    return st.sampled_from(sorted(sizes.items())).flatmap(
        lambda item: st.fixed_dictionaries(
            {"what": st.just(what), "name": st.just(item[0]), "place": st.integers(0, item[1] - 1)}
        )
    )


SIZES = {name: size_of(shape) for name, shape in SHAPES.items()}
FORWARD = places("value", {**SIZES, "softmax": 10, "loss": 1}) | places("lead", {"fc2": 100})
BACKWARD = places("gradient", SIZES) | places("parameter", PARAMETERS)
SWITCHES = st.one_of(
    *[st.integers(0, size - 1).map(f"{name}.{{}}".format) for name, size in (("conv1", 32), ("fc1", 1024))]
)
POINTS = st.lists(st.lists(st.integers(-280, 560), min_size=2, max_size=2), min_size=1, max_size=40)
STROKES = st.lists(st.fixed_dictionaries({"points": POINTS, "rubs": st.booleans()}), max_size=6)


@st.composite
def states(draw_from):
    """A digit or a drawing, and a direction that fits the last number of the trail."""
    at = draw_from(st.lists(FORWARD | BACKWARD, max_size=12))
    way = draw_from(st.sampled_from(["forward", "backward"]))
    if at:
        way = "forward" if at[-1]["what"] in ("value", "lead") else "backward"
    image = draw_from(st.none() | st.integers(0, 299))
    train = None if image is not None else draw_from(st.none() | st.integers(0, 299))
    strokes = [] if image is not None or train is not None else draw_from(STROKES)
    ground = draw_from(st.none() | st.tuples(st.booleans(), st.integers(0, 299))) if strokes else None
    return {
        "lang": draw_from(st.sampled_from(["en", "zh"])),
        "theme": draw_from(st.sampled_from(["system", "light", "dark"])),
        "hide": draw_from(st.lists(st.sampled_from(PARTS), unique=True)),
        "card": draw_from(st.sampled_from(["", "list", *map(str, range(1, 33))])),
        "image": image,
        "strokes": strokes,
        "train": train,
        "ground": ground[1] if ground and not ground[0] else None,
        "trainground": ground[1] if ground and ground[0] else None,
        "twins": draw_from(st.booleans()),
        "centre": draw_from(st.booleans()),
        "way": way,
        "loss": draw_from(st.none() | st.integers(0, 9)),
        "off": draw_from(st.lists(SWITCHES, unique=True, max_size=20)),
        "at": at,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states())
def test_every_state_comes_back_from_its_address(quiet_page, state):
    assert quiet_page.evaluate(ROUND_TRIP, state) == {"state": state, "odd": []}


def test_a_drawing_that_is_too_long_is_left_out_and_the_rest_is_not(quiet_page):
    state = quiet_page.evaluate(CURRENT)
    state |= {"strokes": [{"points": [[i % 280, 5] for i in range(3001)], "rubs": False}], "loss": 3}
    found = quiet_page.evaluate(ROUND_TRIP, state)
    assert found["odd"] == []
    assert found["state"]["strokes"] == []
    assert found["state"]["loss"] == 3


def act(page, rng):
    """One thing that somebody might do."""
    stages = ["conv1", "conv1.pool", "conv2", "conv2.pool", "fc1", "relu"]
    actions = [
        lambda: open_stage(page, rng.choice(stages), rng.randint(2, 200), rng.randint(2, 12)),
        lambda: draw(page, [[(rng.randint(20, 260), rng.randint(20, 260)) for _ in range(3)]]),
        lambda: page.keyboard.press(rng.choice("bbffffuolo")),
        lambda: page.locator(".loss select").select_option(str(rng.randint(0, 9))),
        lambda: page.locator("button.why").click(),
        lambda: page.locator("button.theme").click(),
        lambda: page.locator(".bar").nth(rng.randint(0, 9)).click(),
    ]
    rng.choice(actions)()
    page.wait_for_timeout(60)


@pytest.mark.parametrize("seed", range(3))
def test_wherever_one_has_got_to_the_address_leads_there(new_page, address, seed):
    page, rng = new_page(address), random.Random(seed)
    for _ in range(25):
        act(page, rng)
    page.wait_for_timeout(500)  # the address follows
    there = page.evaluate(CURRENT)
    query = page.url.split("?")[1]
    assert query == page.evaluate(ADDRESS)
    other = new_page(address, state="&" + query.partition("&")[2], language=there["lang"])
    other.wait_for_selector(".best .number")
    assert other.evaluate(CURRENT) == there
    seen = "document.querySelector(\"canvas[data-stage='image']\").toDataURL()"
    other.wait_for_function(f"before => {seen} === before", arg=page.evaluate(seen))
    if there["at"]:
        other.wait_for_function("t => document.querySelector('.number-name').innerText === t",
                                arg=page.locator(".number-name").inner_text())  # fmt: skip


def test_a_drawing_is_the_same_to_the_pixel(new_page, address):
    page = new_page(address)
    draw(page)
    wait_for_answer(page, 7)
    open_stage(page, "conv2", 100, 30)
    page.wait_for_timeout(400)
    other = new_page(address, state="&" + page.url.split("?")[1].partition("&")[2])
    wait_for_answer(other, 7)
    assert last_line(other) == last_line(page)
    pixels = "document.querySelector('.pad canvas').toDataURL()"
    assert other.evaluate(pixels) == page.evaluate(pixels)


def test_a_test_image_with_ink_rubbed_out_comes_back(new_page, address):
    page = new_page(address, state="&image=3")
    page.get_by_role("button", name="Rubber").click()
    draw(page, [[(140, 40), (140, 240)]])
    page.wait_for_timeout(500)
    assert "ground=3" in page.url
    other = new_page(address, state="&" + page.url.split("?")[1].partition("&")[2])
    other.wait_for_selector(".best .number")
    seen = "document.querySelector(\"canvas[data-stage='image']\").toDataURL()"
    other.wait_for_function(f"before => {seen} === before", arg=page.evaluate(seen))


def test_a_copied_address_leads_to_what_is_shown(new_page, address):
    page = new_page(address, permissions=["clipboard-read", "clipboard-write"])
    page.locator(".bar").nth(3).click()
    page.locator("button.share").click()
    page.wait_for_function(f"() => {NOTICE}?.includes('copied')")
    assert "at=softmax:3" in page.evaluate("navigator.clipboard.readText()")


# --- hostile addresses --------------------------------------------------------------------------------

HOSTILE = [
    "image=-1", "image=1e9", "image=12345", "image=٣", "image=%00", "image=<script>alert(1)</script>",
    "draw=x", "draw=AAAA.A", "draw=~", "draw=....", "draw=" + "A" * 12_004, "draw=%F0%9F%98%80AAA",
    "ground=x&draw=AAAA", "ground=99999&draw=AAAA",
    "train=300", "train=x", "trainground=5000&draw=AAAA", "twins=2", "way=up",
    "loss=10", "loss=seven", "centre=2", "theme=pink", "card=33", "card=0", "card=-1", "card=list2",
    "off=conv1", "off=conv1.99", "off=fc2.1", "off=conv1.01", "off=__proto__.1",
    "off=" + "conv1.1," * 600 + "conv1.1",
    "at=conv9:0", "at=conv1:0.0", "at=conv1:28.0.0", "at=conv1:0.0.0.0", "at=d:fc2.bias:0", "at=d:softmax:0",
    "at=constructor:0", "at=__proto__:0", "at=why:7", "at=why:7.10", "at=d:why:7.1", "at=loss:0", "at=,",
    "at=" + "fc1:0," * 600 + "fc1:0", 
    "hide=everything", "hide=pad,wat", "unknown=1", "toString=1", "=", "&&&==&",
    "a" * 62_000, "at=%E0%A4%A", "lang=fr",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE, ids=[query[:30] for query in HOSTILE])
def test_what_makes_no_sense_is_said_in_one_line_and_the_page_works(new_page, address, query):
    page = new_page(address, wait=False)
    page.goto(f"{address}?{query}" if query.startswith("lang") else f"{address}?lang=en&{query}")
    page.wait_for_selector(".best .number")
    if query not in ("&&&==&", "="):
        page.wait_for_function(f"() => {NOTICE}")
    assert len(page.evaluate(NOTICE) or "") < 250
    assert page.locator("script").count() == 2
    draw(page)
    wait_for_answer(page, 7)
    page.wait_for_timeout(400)
    assert page.url.count("&") <= 4  # the address has become a good one


def test_what_makes_sense_is_kept_beside_what_does_not(new_page, address):
    page = new_page(address, state="&loss=12&image=2&at=fc2:3&theme=dark")
    page.wait_for_selector(".last-line")
    assert "loss=12" in page.evaluate(NOTICE)
    assert "image" not in page.evaluate(NOTICE)
    assert title(page) == "fc2[3]"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator(".notice button").click()
    page.wait_for_selector(".notice", state="detached")


# --- hidden parts -------------------------------------------------------------------------------------

WHERE = {
    "pad": ".pad", "digits": ".digits", "bars": ".bars", "why": "button.why", "loss": ".loss",
    "backward": ".direction", "layers": ".stages", "inspector": ".inspector",
    "formula": ".formula", "code": ".code",
    "nudge": ".nudge", "off": ".switch-off", "nearest": ".nearest", "twins": ".break-it",
    "cards": ".questions", "language": "button.language",
    "theme": "button.theme", "help": "button.help-button",
}  # fmt: skip


def test_the_documented_parts_are_those_that_there_are(quiet_page):
    parts = quiet_page.evaluate("async () => (await import('./hide.js')).PARTS")
    assert parts == PARTS
    assert sorted(WHERE) == sorted(PARTS)


@pytest.mark.parametrize("part", WHERE)
def test_a_part_is_there_unless_it_is_hidden(new_page, address, part):
    state = "&image=0&at=d:fc1:3" if part == "nudge" else "&image=0&at=fc1:3"
    shown, without = new_page(address, state=state), new_page(address, state=f"{state}&hide={part}")
    for page in (shown, without):
        page.wait_for_selector(".last-line", state="attached")
    assert shown.locator(WHERE[part]).first.is_visible()
    assert not without.locator(WHERE[part]).first.is_visible()
    assert without.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_keys_of_hidden_parts_do_nothing(new_page, address):
    page = new_page(address, state="&image=0&at=fc1:3&hide=backward,off,language,help")
    page.wait_for_selector(".last-line")
    before = page.evaluate(CURRENT)
    for key in "bol?":
        page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert page.evaluate(CURRENT) == before
    assert page.locator("dialog").count() == 0


def test_with_everything_hidden_nothing_breaks(new_page, address):
    page = new_page(address, wait=False)
    page.goto(f"{address}?lang=zh&hide={','.join(PARTS)}")
    page.wait_for_selector("main", state="attached")
    assert page.locator("h1").is_visible()


# --- colours ------------------------------------------------------------------------------------------


def test_one_button_goes_through_the_three_colour_schemes(new_page, address):
    page = new_page(address, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    assert page.evaluate("document.documentElement.dataset.theme") == "system"
    page.locator("button.theme").click()
    page.wait_for_function(f"dark => {background} !== dark", arg=dark)
    page.locator("button.theme").click()
    page.wait_for_function(f"dark => {background} === dark", arg=dark)
    page.wait_for_timeout(400)
    assert "theme=dark" in page.url
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == dark


def test_canvases_take_their_colours_from_the_scheme(new_page, address):
    page = new_page(address, state="&theme=dark")
    positive = "getComputedStyle(document.body).getPropertyValue('--positive')"
    assert page.evaluate(positive) == "rgb(242, 174, 88)"
    page.locator("button.theme").click()  # the system's: light
    page.wait_for_function(f"() => {positive} === 'rgb(184, 92, 0)'")
