"""What all tests share: how many examples Hypothesis tries, a number of threads that stays, data to train on.

HYPOTHESIS_PROFILE=long asks for 2,000 examples of a property, else there are 50.
"""

import contextlib
import math
import os
import shutil
import signal

import numba
import pytest
from browsing import QUIET, static_server
from hypothesis import settings

# Kernels compile during their first example, so no example has a deadline.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


# Started in the background, or by nohup, pytest finds signals ignored, and all children would inherit that.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(autouse=True)
def the_same_number_of_threads_afterwards():
    """A test that computes with one thread does not decide with how many the next ones do."""
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def small_networks():
    """Let runs train a network of a few parameters."""
    from runs import small_network

    from minicnn.runs import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_network", small_network)
        yield


@pytest.fixture
def save_every_step(monkeypatch):
    """Let runs be saved after every step, whatever it costs."""
    from minicnn.runs import run

    monkeypatch.setattr(run, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(run, "SAVE_SHARE", math.inf)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A directory with a tiny data set: digits are bright squares in ten places, and noise."""
    from runs import write_data

    return write_data(tmp_path_factory.mktemp("data"), training=60, test=20)


@pytest.fixture(scope="session")
def trained_network():
    """The tutorial's network after 200 steps of 50 images, with ten times the tutorial's learning rate."""
    from minicnn import Adam, SoftmaxCrossEntropy, load_mnist, train_step, tutorial_network
    from minicnn.data import to_float

    data, network, loss = load_mnist().train, tutorial_network(), SoftmaxCrossEntropy("sum")
    adam = Adam(network.parameters(), learning_rate=1e-3)
    for start in range(0, 200 * 50, 50):
        batch = slice(start, start + 50)
        train_step(network, loss, adam, to_float(data.images[batch]), data.labels[batch])
    return network


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; where one of them is missing, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session(trained_network):
    """What the page of `minicnn explore` asks, about a trained network."""
    from browsing import few_images

    from minicnn.explore.session import Session

    session = Session(trained_network, few_images(), "a run")
    yield session
    session.close()


@pytest.fixture(scope="module")
def address(session):
    """Where the page is served."""
    from browsing import served

    with served(session) as server:
        yield server.address


@pytest.fixture
def serve():
    """Serves directories."""
    with contextlib.ExitStack() as stack:
        yield lambda directory: stack.enter_context(static_server(directory))


@pytest.fixture
def new_page(browser, serve):  # a server that began in the test ends after the pages, which may still load
    """Opens pages; at the end none of them has complained or asked another machine for anything."""
    complaints, pages = [], []

    def new(address, language="en", width=1280, height=720, expected=(), state="", wait=True, **more):
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        page = context.new_page()
        page.set_default_timeout(20_000)
        pages.append(context)

        def hear(text):
            if not any(word in text for word in [*expected, "Multiple readback"]):  # by these tests
                complaints.append(text)

        page.on("console", lambda message: message.type in ("error", "warning") and hear(message.text))
        page.on("pageerror", lambda error: hear(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(("http://127.0.0.1:", "data:")) or hear(request.url),
        )
        if wait:
            page.goto(f"{address}?lang={language}{state}")
            page.wait_for_selector(".stages [data-stage]", state="attached")
        return page

    yield new
    for context in pages:
        context.close()
    assert complaints == []
