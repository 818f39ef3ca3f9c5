"""What the tests of the page share: how to open it, draw on it, and read what it says."""

import base64
import http.server
import re
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np

from minicnn import load_mnist
from minicnn.data import Dataset, Split
from minicnn.explore.server import ExploreServer

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SEVEN = [[(60, 60), (120, 55), (200, 55)], [(200, 55), (170, 130), (130, 230)]]


# JavaScript: the elements whose text is too small to read.
SMALL = (
    "[...document.querySelectorAll('body *')]"
    ".filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))"
    ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.outerHTML.slice(0, 80))"
)


def few_images(count=300):
    """The first of MNIST's test images, for whatever they are needed."""
    test = load_mnist().test
    few = Split(test.images[:count], test.labels[:count])
    return Dataset(few, few, few)


@contextmanager
def served(session):
    """The page of a session, served by minicnn."""
    with ExploreServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@contextmanager
def static_server(directory):
    """The address of a directory, served as `python -m http.server` serves it."""
    handler = partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def draw(page, strokes=SEVEN):
    box = page.locator(".pad canvas").first.bounding_box()
    scale = box["width"] / 280
    for stroke in strokes:
        points = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()


def wait_for_answer(page, digit, language="en"):
    says = {"en": f"It says {digit}", "zh": f"它认为是 {digit}"}[language]
    page.wait_for_function(
        "says => document.querySelector('.bars h2').textContent.startsWith(says)", arg=says
    )


def open_stage(page, stage, x=40, y=8):
    canvas = page.locator(f"canvas[data-stage='{stage}']")
    canvas.scroll_into_view_if_needed()
    canvas.click(position={"x": x, "y": y})
    page.wait_for_selector(".last-line")


def numbers(page, attribute, within=".inspector"):
    return page.locator(f"{within} [{attribute}]").evaluate_all(
        "(nodes, name) => nodes.map((node) => Number(node.getAttribute(name)))", attribute
    )


def last_line(page):
    page.wait_for_selector(".last-line")
    before = None
    while (found := (numbers(page, "data-by-hand")[0], numbers(page, "data-engine")[0])) != before:
        before = found  # until the answer to the last movement of the pen is there
        page.wait_for_timeout(200)
    return found


def title(page):
    return page.locator(".number-name").inner_text().split(" = ")[0].strip()


ASK = """async ([name, asked]) => {
  const api = await import(new URL("./api.js", document.baseURI));
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const given = asked.map((one) => (one?.bytes === undefined ? one : bytes(one.bytes)));
  const signal = name === "answerTo" ? [new AbortController().signal] : [];
  const found = await api[name](...given, ...signal);
  if (!found?.arrays) return found;
  const packed = {};
  for (const [key, array] of Object.entries(found.arrays)) {
    let text = "";
    const all = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (const byte of all) text += String.fromCharCode(byte);
    packed[key] = [array.constructor.name, btoa(text)];
  }
  return { arrays: packed, facts: found.facts };
}"""
TYPES = {"Float32Array": np.float32, "Int32Array": np.int32, "Uint8Array": np.uint8}


def ask(page, name, *asked):
    """What a function of api.js answers on this page; arrays of bytes go in, arrays and facts come out."""
    given = [
        {"bytes": base64.b64encode(one.tobytes()).decode()} if isinstance(one, np.ndarray) else one
        for one in asked
    ]
    found = page.evaluate(ASK, [name, given])
    if not isinstance(found, dict) or "arrays" not in found:
        return found
    arrays = {
        key: np.frombuffer(base64.b64decode(text), TYPES[kind])
        for key, (kind, text) in found["arrays"].items()
    }
    return arrays, found["facts"]


def port_of(address):
    return re.search(r":(\d+)/", address)[1]
