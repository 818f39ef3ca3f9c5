"""The exported page answers in JavaScript what the server answers: the same numbers, terms and gradients."""

import shutil

import numpy as np
import pytest
from browsing import ask, draw, last_line, numbers, open_stage, static_server, title, wait_for_answer
from PIL import Image, ImageDraw

from minicnn import load_mnist
from minicnn.data import Dataset, Split, to_float
from minicnn.engine.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from minicnn.engine.network import Sequential
from minicnn.explore.export import exported
from minicnn.explore.maps import compute_maps, unfused
from minicnn.explore.session import PAD, Session
from minicnn.explore.switches import switched_off
from minicnn.storage.outputs import write_new_directory

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if shutil.which("chromium") is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

CLOSE = 1e-5  # of the largest number of an array
LABEL = 4  # not what the image shows, so that no gradient is tiny
SMALL_PARAMETERS = ["a.weight", "a.bias", "c.weight", "c.bias", "f.weight", "f.bias"]
PARAMETERS = [f"{layer}.{name}" for layer in ("conv1", "conv2", "fc1", "fc2") for name in ("weight", "bias")]


def some(count):
    test = load_mnist().test
    few = Split(test.images[:count], test.labels[:count])
    return Dataset(few, few, few)


def small_network():
    """Windows of other sizes, strides and paddings; pools that overlap."""
    rng = np.random.default_rng(5)
    layers = [
        Conv2D(1, 3, (3, 5), stride=2, padding="same", name="a", rng=rng, ops="reference"),
        MaxPool2D(3, 2, "same", name="b", ops="reference"),
        Conv2D(3, 4, 2, stride=1, padding="valid", name="c", rng=rng, ops="reference"),
        ReLU(name="d", ops="reference"),
        MaxPool2D(2, 1, "valid", name="e", ops="reference"),
        Flatten(ops="reference"),
        Dense(4 * 5 * 5, 10, name="f", rng=rng, ops="reference"),
    ]
    network = Sequential(layers, (28, 28, 1))
    for parameter in network.parameters():
        parameter.value[...] += rng.normal(0, 0.1, parameter.value.shape)
    return network


class Exported:
    """A page without a server, and the session that says what it should answer."""

    def __init__(self, network, images, directory):
        self.network, self.data = network, some(images)
        self.session = Session(network, self.data, "a run")
        self.directory = directory / "page"
        write_new_directory(self.directory, exported(network, self.data, "a run"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    made = Exported(small_network(), 40, tmp_path_factory.mktemp("small"))
    yield made
    made.session.close()


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory, trained_network):
    made = Exported(trained_network, 300, tmp_path_factory.mktemp("tutorial"))
    yield made
    made.session.close()


@pytest.fixture(scope="module")
def small_address(small):
    with static_server(small.directory) as address:
        yield address


@pytest.fixture(scope="module")
def address(tutorial):
    with static_server(tutorial.directory) as address:
        yield address


# --- the same numbers ---------------------------------------------------------------------------------


def differ(found, expected, scales=None, layer=0.0):
    """The names of the arrays and facts in which two answers are not the same.

    Numbers may differ by CLOSE of the largest number of their layer; `scales` has it by kind and name, and
    `layer` that of the number that is explained.
    """
    wrong, (arrays, facts) = [], found
    for name in sorted({*arrays, *expected.arrays}):
        mine, its = arrays.get(name), expected.arrays.get(name)
        if mine is None or its is None or mine.size != its.size:
            wrong.append(name)
            continue
        its = np.asarray(its).ravel()
        finite = np.isfinite(its)
        side = expected.facts.get(name, {})
        scale = scale_of(side, scales) if scales and side else np.abs(its[finite]).max(initial=0)
        close = CLOSE * scale if its.dtype.kind == "f" else 0
        apart = np.abs(mine[finite].astype(float) - its[finite]).max(initial=0)
        if not np.array_equal(mine[~finite], its[~finite]) or apart > close:
            wrong.append(name)
    return wrong + facts_that_differ(facts, expected.facts, max(size_of_terms(expected), layer))


def scale_of(side, scales):
    return scales.get((side["what"], side["name"]), 1.0)


def size_of_terms(answer):
    """Of a sum: how large its terms are altogether, which is what rounding is relative to."""
    left = answer.arrays.get("left")
    if left is None:
        return 1.0
    left = np.where(np.isfinite(left), left, 0)
    return float(np.abs(left * answer.arrays.get("right", 1)).sum()) + abs(answer.facts["constant"])


def facts_that_differ(found, expected, scale):
    wrong = [name for name in expected if name not in found]
    for name in expected.keys() - set(wrong) - {"version", "difference"}:
        value, its = expected[name], found[name]
        if isinstance(value, dict):
            wrong += facts_that_differ(its, value, scale)
        elif isinstance(value, float):
            wrong += [name] if abs(its - value) > CLOSE * max(abs(value), scale) else []
        elif its != value:
            wrong.append(name)
    return wrong


def answered(page, name, *asked):
    """What the page answers; nothing at all if it fails, which then differs from what is expected."""
    try:
        return ask(page, name, *asked)
    except playwright.Error:
        return {} if name == "nudge" else ({}, {})


def differences(page, made, parameters, count, off=()):
    """Every question about one image, answered by the page and by Python; what is not the same."""
    image, session = made.data.test.images[0], made.session
    switches = tuple((name.rsplit(".", 1)[0], int(name.rsplit(".", 1)[1])) for name in off)
    about = session.about()
    rng, wrong = np.random.default_rng(3), []
    found = answered(page, "answerTo", "image", image, {"gradients": 1, "label": LABEL})
    expected = session.answer_to_image(image, LABEL, True, switches)
    wrong += differ(found, expected)
    scales = {
        ("gradient" if name.startswith("d/") else "value", name.removeprefix("d/")): float(
            np.abs(array).max()
        )
        for name, array in expected.arrays.items()
    }
    shown = switched_off(unfused(made.network), switches)
    compute_maps(shown, to_float(image[None])[0], LABEL, backward=True)
    steepest = {p.name: float(np.abs(p.grad).max()) for p in shown.parameters()}

    sizes = {stage["name"]: int(np.prod(stage["shape"])) for stage in about["stages"]}
    selections = [("value", name, size) for name, size in sizes.items() if name != "image"]
    selections += [("value", "softmax", 10), ("value", "loss", 1), ("lead", about["stages"][-1]["name"], 100)]
    selections += [("gradient", name, size) for name, size in sizes.items()]
    selections += [("parameter", name, int(np.prod(about["parameters"][name]))) for name in parameters]
    for what, name, size in selections:
        layer = steepest[name] if what == "parameter" else scales.get((what, name), 0)
        for place in rng.choice(size, min(count, size), replace=False).tolist():
            asked = {"what": what, "name": name, "place": place}
            terms = session.trace(image, LABEL, what, name, place, switches)
            mine = answered(page, "trace", asked, image, LABEL)
            wrong += [f"{what} {name} {place}: {w}" for w in differ(mine, terms, scales, layer)]
    for what, name in [("value", about["stages"][1]["name"]), *(("parameter", name) for name in parameters)]:
        asked = {"what": what, "name": name, "place": 1}
        mine = answered(page, "nudge", asked, image, LABEL, 1e-3)
        its = session.nudge(image, LABEL, what, name, 1, 1e-3, switches)
        wrong += [f"nudge {name}: {w}" for w in facts_that_differ(mine, its, 1e-3)]
    covered = differ(answered(page, "occlusion", image, 7, 2), session.occlusion(image, 7, 2, switches))
    return wrong + [f"covered: {w}" for w in covered]


def drawings_that_differ(page, session, count, centre=1):
    """How many random scribbles are prepared otherwise than in Python, by more than 1 of 255 anywhere."""
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(count):
        pad = strokes_of(rng)
        arrays, _ = answered(page, "answerTo", "drawing", pad, {"gradients": 0, "centre": centre})
        expected = session.answer_to_drawing(pad.tobytes(), bool(centre), None, False).arrays["image8"]
        found = arrays.get("image8", np.full(784, 255, np.uint8))
        wrong += int(np.abs(found.astype(int) - expected.ravel()).max() > 1)
    return wrong


def test_all_numbers_terms_and_gradients_are_the_engines(new_page, tutorial, address):
    page = new_page(address)
    assert differences(page, tutorial, PARAMETERS, 20) == []


def test_other_windows_strides_and_paddings_are_the_engines(new_page, small, small_address):
    page = new_page(small_address)
    assert differences(page, small, SMALL_PARAMETERS, 100) == []


def test_with_something_switched_off_they_are_the_engines(new_page, tutorial, address):
    page, off = new_page(address), ["conv1.3", "conv2.5", "fc1.20"]
    ask(page, "switchOff", off)
    assert differences(page, tutorial, ["conv1.weight", "fc2.bias"], 3, off) == []


def strokes_of(rng):
    """A random scribble of one to four strokes, thin or thick, anywhere on the pad."""
    from PIL import Image, ImageDraw

    pad = Image.new("L", (2 * PAD, 2 * PAD), 0)
    pen = ImageDraw.Draw(pad)
    width = int(rng.integers(2, 50))
    for _ in range(rng.integers(1, 5)):
        points = rng.integers(0, 2 * PAD, (rng.integers(2, 7), 2))
        pen.line(
            [tuple(map(int, p)) for p in points], fill=int(rng.integers(140, 256)), width=width, joint="curve"
        )
    return np.asarray(pad.resize((PAD, PAD)))


@pytest.mark.parametrize("centre", [0, 1])
def test_drawings_are_prepared_as_in_python(new_page, small, small_address, centre):
    assert drawings_that_differ(new_page(small_address), small.session, 60, centre) == 0


@pytest.mark.parametrize(
    "shapes", ["ellipse", "rectangle", "underline", "ellipse, underline", "flat, underline"]
)
def test_frames_and_underlines_are_prepared_as_in_python(new_page, small, small_address, shapes):
    paper = Image.new("L", (PAD, PAD))
    pen = ImageDraw.Draw(paper)
    pen.line([(50, 70), (90, 72)] if "flat" in shapes else [(50, 50), (85, 50), (60, 95)], fill=255, width=9)
    if "ellipse" in shapes:
        pen.ellipse((20, 20, 120, 118), outline=255, width=5)
    if "rectangle" in shapes:
        pen.rectangle((25, 22, 118, 120), outline=200, width=4)
    if "underline" in shapes:
        pen.line([(30, 128), (110, 126)], fill=255, width=6)
    pad = np.asarray(paper)
    found, _ = answered(new_page(small_address), "answerTo", "drawing", pad, {"gradients": 0, "centre": 1})
    expected = small.session.answer_to_drawing(pad.tobytes(), True, None, False).arrays["image8"]
    np.testing.assert_allclose(found["image8"].astype(int), expected.ravel().astype(int), atol=1)


def test_blank_paper_and_specks_are_prepared_as_in_python(new_page, small, small_address):
    page = new_page(small_address)
    pads = [np.zeros((PAD, PAD), np.uint8) for _ in range(4)]
    pads[1][70, 70] = 255
    pads[2][0, 0] = pads[2][139, 139] = 255  # in two corners
    pads[3][:, :6] = 255
    pads[3][100:104, 100:104] = 255
    for pad in pads:
        found, _ = ask(page, "answerTo", "drawing", pad, {"gradients": 0, "centre": 1})
        expected = small.session.answer_to_drawing(pad.tobytes(), True, None, False).arrays["image8"]
        np.testing.assert_allclose(found["image8"].astype(int), expected.ravel().astype(int), atol=1)


def test_its_test_images_are_those_of_the_server(new_page, tutorial, address):
    page, session = new_page(address), tutorial.session
    while session.digits(0, 1).facts["wrong"] is None or not session.favourites([0]).facts["known"]:
        session.events(10**9, 0.1)
    arrays, facts = ask(page, "digits", 0, 30)
    expected = session.digits(0, 30)
    for name, values in expected.arrays.items():
        np.testing.assert_allclose(arrays[name], values.ravel(), rtol=1e-5)
    assert facts["wrong"] == expected.facts["wrong"]
    liked, _ = ask(page, "favourites", [3, 700])
    for name, values in session.favourites([3, 700]).arrays.items():
        np.testing.assert_allclose(liked[name], values.ravel(), rtol=1e-4, atol=1e-4)
    image, facts = ask(page, "digit", 17)
    assert image["image"].tobytes() == session.digit(17).arrays["image"].tobytes()
    assert facts == session.digit(17).facts


def test_its_accuracy_is_that_of_the_network(new_page, tutorial, address):
    page = new_page(address)
    assert ask(page, "accuracy", ["conv1.3"]) == {
        "correct": tutorial.session.correct(0, 250, (("conv1", 3),)),
        "total": 250,
    }


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("trace", [{"what": "value", "name": "conv9", "place": 0}, 0, 4]),
        ("trace", [{"what": "value", "name": "a", "place": 10**6}, 0, 4]),
        ("trace", [{"what": "value", "name": "image", "place": 0}, 0, 4]),
        ("trace", [{"what": "parameter", "name": "a.wait", "place": 0}, 0, 4]),
        ("trace", [{"what": "value", "name": "a", "place": 0}, 0, 10]),
        ("nudge", [{"what": "value", "name": "a", "place": 0}, 0, 4, 2.0]),
        ("accuracy", [["a.99"]]),
        ("accuracy", [["f.1"]]),
        ("digit", [12345]),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(new_page, small, small_address, name, asked):
    page = new_page(small_address)
    image = small.data.test.images[0]
    with pytest.raises(Exception, match=r"expected|not among|the terms end") as refused:
        ask(page, name, *(image if one == 0 and i == 1 else one for i, one in enumerate(asked)))
    assert "TypeError" not in str(refused.value)


# --- planted bugs -------------------------------------------------------------------------------------

BUGS = [
    ("layers.js", "to[at + f] += factor * from", "to[at + f] -= factor * from"),
    (
        "layers.js",
        "(inWindow * C + c) * F, F);\n    }\n  });\n}\n\n/** to",
        "(c * 15 + inWindow) * F, F);\n    }\n  });\n}\n\n/** to",
    ),
    ("layers.js", "window[axis] - from[axis], 0) / 2)", "window[axis] - from[axis], 0) / 2) + 1"),
    ("layers.js", "if (row < 0 || row >= H) continue;", "if (row <= 0 || row >= H) continue;"),
    ("layers.js", "u * kw + v)", "v * kw + u)"),
    ("layers.js", "x[pixel * C + c] > x[best]", "x[pixel * C + c] >= x[best]"),
    ("layers.js", "(y[i] > 0 ? value : 0)", "(y[i] >= 0 ? value : 0)"),
    ("layers.js", "(dx[place] += dy[i])", "(dx[place] = dy[i])"),
    (
        "layers.js",
        "dot(dy, 0, layer.weight, d * dy.length, dy.length)",
        "dot(dy, 0, layer.weight, d, dy.length)",
    ),
    ("layers.js", "bias[i % F] += dy[i]", "bias[i % F] -= dy[i]"),
    ("maps.js", "p - (k === chosen ? 1 : 0)", "(k === chosen ? 1 : 0) - p"),
    ("maps.js", "pixel / 255", "pixel / 256"),
    ("forward.js", "(n % size) * C + Math.floor(n / size)", "(n % size) * C + Math.floor(n / size) + 1"),
    ("backward.js", "(row + top - u) / layer.stride", "(row - top + u) / layer.stride"),
    ("backward.js", "found[window] === place)", "found[window] !== place)"),
    ("backward.js", "output > 0, output", "output >= 0, output"),
    ("trace.js", "sum + term * (right?.values[i] ?? 1)", "sum - term * (right?.values[i] ?? 1)"),
    ("nudge.js", "(rise - fall) / (2 * h)", "(rise - fall) / h"),
    ("nudge.js", 'if (layers[n].kind !== "pool") continue;', "continue;"),
    (
        "why.js",
        "layer.weight[d * F + a] - layer.weight[d * F + b]",
        "layer.weight[d * F + b] - layer.weight[d * F + a]",
    ),
    ("why.js", "i <= Math.min(row + REACH, SIDE - 1)", "i < Math.min(row + REACH, SIDE - 1)"),
    ("switches.js", "off.has(i % F)", "off.has(Math.floor(i / F))"),
    ("drawing.js", "MIDDLE - centre", "centre - MIDDLE"),
    ("drawing.js", "* SIDE + left + (i % small.columns)", "+ (left + (i % small.columns)) * SIDE"),
    ("drawing.js", "* SIDE + Math.floor((i % PAD) / cell)", "+ Math.floor((i % PAD) / cell) * SIDE"),
    ("picture.js", "(i + 0.5) * scale", "i * scale"),
    ("picture.js", "value > 0.25", "value > 0.75"),
    ("stroke.js", "wanted * FINE - BOX * width", "BOX * width - wanted * FINE"),
    ("stroke.js", "i * i + j * j > radius * radius", "i * i + j * j > 2 * radius * radius"),
]


@pytest.mark.parametrize("bug", BUGS, ids=[f"{file} {new[:40]}" for file, _, new in BUGS])
def test_a_planted_bug_is_found(new_page, small, small_address, bug):
    file, old, new = bug
    code = (small.directory / "local" / file).read_text(encoding="utf-8")
    assert code.count(old) == 1
    page = new_page("about:blank", expected=["TypeError", "RangeError"], wait=False)
    page.route(
        f"**/local/{file}",
        lambda route: route.fulfill(body=code.replace(old, new), content_type="text/javascript"),
    )
    page.goto(small_address)
    page.wait_for_selector(".stages [data-stage]")
    assert finds_a_difference(page, small)


def test_without_a_bug_nothing_is_found(new_page, small, small_address):
    assert not finds_a_difference(new_page(small_address), small)


def finds_a_difference(page, small):
    if differences(page, small, SMALL_PARAMETERS, 6) or drawings_that_differ(page, small.session, 10):
        return True
    if drawings_that_differ(page, small.session, 2, centre=0):
        return True
    ask(page, "switchOff", ["a.1"])
    return differences(page, small, [], 1, ["a.1"]) != []


# --- the page -----------------------------------------------------------------------------------------


def test_one_draws_follows_and_turns_back_without_python(new_page, address):
    page = new_page(address)
    draw(page)
    wait_for_answer(page, 7)
    assert "test accuracy" in page.locator(".status").inner_text()
    open_stage(page, "conv2", 100, 30)
    by_hand, engine = last_line(page)
    assert sum(numbers(page, "data-term")) == pytest.approx(by_hand, abs=1e-9)
    assert by_hand == pytest.approx(engine, abs=1e-5)
    page.keyboard.press("b")
    page.wait_for_selector(".nudge [data-quotient]")
    assert title(page).startswith("∂L/∂conv2[")
    page.keyboard.press("Escape")
    page.locator("button.why").click()
    page.wait_for_selector(".covered canvas")
    assert page.locator(".row-of-digits").count() == 6
    page.locator("summary").first.click()
    page.locator(".digit").first.click()
    page.wait_for_function(
        "() => document.querySelector('.bars h2').textContent.includes('but the label is')"
    )


def test_it_asks_its_own_folder_only(browser, address):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(".best .number")
    page.close()
    assert asked
    assert all(url.startswith((address, "data:")) for url in asked)
    assert not any("/api/" in url for url in asked)


def test_a_file_that_is_missing_is_said_in_one_line(new_page, small, small_address):
    page = new_page("about:blank", expected=["404", "Failed to load"], wait=False)
    page.route("**/data/weights.safetensors", lambda route: route.fulfill(status=404))
    page.goto(small_address)
    page.wait_for_selector("body p")
    page.wait_for_function("() => document.body.innerText.includes('weights.safetensors')")
