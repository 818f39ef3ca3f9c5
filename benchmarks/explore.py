"""How long the page of `minicnn explore` lets one wait: a stroke, a click, opening it; and what it weighs.

    python benchmarks/explore.py [--rounds N] [--export]

In Debian's Chromium, driven by Playwright (`pip install playwright`, `apt-get install chromium`). A stroke is
timed from the movement of the mouse to the first frame in which bars and maps show its answer; a click, to
the frame with the terms; a visit, from the address to a page that can be drawn on, with a warm cache. Strokes
are timed once more while twins train. With --export it is the exported page, whose layers are JavaScript and
which has no twins, from `python -m http.server`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# The modules of the page are single instances, so what is imported here is what the page uses.
WATCH = """async () => {
  const { answer, trace } = await import("./state.js");
  window.times = { answer: [], trace: [], frames: 0 };
  let began = 0;
  const begin = () => (began = performance.now());
  for (const kind of ["pointermove", "pointerdown", "click"]) addEventListener(kind, begin, true);
  const note = (list) => list.push(performance.now() - began);
  const painted = (list) => requestAnimationFrame(() => setTimeout(note, 0, list));
  answer.subscribe((found) => found && painted(window.times.answer));
  trace.subscribe((found) => found && painted(window.times.trace));
  const frame = () => { window.times.frames++; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  window.times.answer.length = window.times.trace.length = 0;
}"""

TRAIN_TWINS = """async () => {
  const twins = await import("./twins-state.js");
  twins.guessed("same");
  while (!twins.pair.value) await new Promise((later) => setTimeout(later, 20));
  twins.go(1000);
}"""


@contextlib.contextmanager
def serving(network: str) -> Iterator[str]:
    """The address of the page with this network, in a process of its own."""
    with _running("-m", "minicnn", "explore", network, "--no-browser") as address:
        yield address


@contextlib.contextmanager
def serving_export(network: str) -> Iterator[str]:
    """The address of the exported page."""
    with tempfile.TemporaryDirectory() as scratch:
        page = str(Path(scratch, "page"))
        subprocess.run([sys.executable, "-m", "minicnn", "explore", network, "--export", page], check=True)
        with _running("-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", page, "0") as address:
            yield address


@contextlib.contextmanager
def _running(*arguments: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        address = re.search(r"http://[^\s)]+", line)
        if address is None:
            raise RuntimeError(f"no address in {line!r}")
        yield address.group()
    finally:
        process.terminate()
        process.communicate()


def strokes(page: Any, count: int) -> list[float]:
    """Milliseconds from each of `count` movements of the pen to the frame with its answer."""
    box = page.locator(".pad canvas").first.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.wait_for_timeout(200)
    page.evaluate("() => (window.times.answer.length = 0)")
    for i in range(count):
        t = i / count
        page.mouse.move(box["x"] + 40 + 150 * t, box["y"] + 60 + 130 * abs(np.sin(9 * t)))
        page.wait_for_function("n => window.times.answer.length > n", arg=i)
    page.mouse.up()
    return page.evaluate("() => window.times.answer")


def frames_a_second(page: Any, seconds: float) -> float:
    """How many frames the page shows while the pen moves without a pause."""
    box = page.locator(".pad canvas").first.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    began, frames = page.evaluate("() => [performance.now(), window.times.frames]")
    now, i = began, 0
    while now - began < 1000 * seconds:
        page.mouse.move(box["x"] + 110 + 50 * np.cos(i / 9), box["y"] + 110 + 50 * np.sin(i / 9))
        now, i = page.evaluate("() => performance.now()"), i + 1
    page.mouse.up()
    return float((page.evaluate("() => window.times.frames") - frames) / (now - began) * 1000)


def clicks(page: Any, count: int) -> list[float]:
    """Milliseconds from each click on a number of conv2 or fc1 to the frame with its terms."""
    page.evaluate("() => (window.times.trace.length = 0)")
    for i in range(count):
        stage = ("conv2", "fc1")[i % 2]
        page.locator(f"canvas[data-stage='{stage}']").click(position={"x": 20 + 7 * (i % 40), "y": 8})
        page.wait_for_function("n => window.times.trace.length > n", arg=i)
    return page.evaluate("() => window.times.trace")


def visits(context: Any, address: str, count: int) -> list[float]:
    """Milliseconds from the address to a page with the first answer on it."""
    found = []
    for _ in range(count + 1):  # the first fills the cache
        page = context.new_page()
        page.goto(address)
        page.wait_for_function("() => document.querySelector('.best .number')?.textContent")
        found.append(page.evaluate("() => performance.now()"))
        page.close()
    return found[1:]


def main() -> None:
    from common import Report, Spread, parse, parser

    made = parser(__doc__, rounds=100)
    made.add_argument("--export", action="store_true", help="the exported page, without Python")
    args = parse(made)
    report = Report("explore_export" if args.export else "explore", __doc__, args)
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        sys.exit("benchmarks/explore.py needs Playwright and Chromium: see its first lines")

    from minicnn import tutorial_network
    from minicnn.explore.server import read_files

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        network = str(Path(scratch, "network.safetensors"))
        tutorial_network().save(network)
        with (serving_export if args.export else serving)(network) as address:
            browser = driver.chromium.launch(executable_path=chromium, args=QUIET)
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            opened = visits(context, address, min(args.rounds, 10))
            page = context.new_page()
            page.goto(address)
            page.wait_for_function(
                "() => document.querySelector('.status')?.textContent.includes('accuracy')"
            )
            page.evaluate(WATCH)
            strokes(page, 5)
            times = {
                "stroke to the frame with its answer": strokes(page, args.rounds),
                "click to the frame with its terms": clicks(page, args.rounds),
                "address to the first answer, warm cache": opened,
            }
            page.locator(".pad canvas").first.scroll_into_view_if_needed()  # the clicks have scrolled
            frames = frames_a_second(page, 1 if args.quick else 5)
            if not args.export:
                page.evaluate(TRAIN_TWINS)
                times["the same stroke while twins train"] = strokes(page, args.rounds)
            browser.close()

    rows = []
    for name, found in times.items():
        spread, slow = Spread.of(found), float(np.percentile(found, 95))
        rows.append([name, f"{spread.median:.0f}", f"{spread.lower:.0f} - {spread.upper:.0f}", f"{slow:.0f}"])
    kilobytes = sum(len(content) for content, _ in read_files().values()) / 1000
    note = f"{frames:.0f} frames a second while drawing; the page weighs {kilobytes:.0f} kB."
    report.add("Milliseconds in the browser", ["what", "median", "quartiles", "95th percentile"], rows, note)
    report.data |= {"milliseconds": times, "frames_a_second": frames, "kilobytes": kilobytes}
    report.write()


if __name__ == "__main__":
    main()
