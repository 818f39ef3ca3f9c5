"""Takes the pictures of docs/explore.md, with a trained run: `python docs/explore_pictures.py RUN`.

Needs Playwright and Chromium, as tests/test_explore_page.py does.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "explore"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
SEVEN = [[(60, 60), (120, 55), (205, 55)], [(205, 55), (172, 130), (135, 235)]]


def keep(page: Any, name: str) -> None:
    """Save what the browser shows, with few colours: a film strip should load quickly."""
    page.wait_for_timeout(400)
    page.wait_for_selector(".progress:not(.busy)", state="attached")  # the last stroke has its answer
    page.wait_for_timeout(400)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def draw(page: Any) -> None:
    """A seven."""
    box = page.locator(".pad canvas").first.bounding_box()
    scale = box["width"] / 280
    for stroke in SEVEN:
        page.mouse.move(box["x"] + stroke[0][0] * scale, box["y"] + stroke[0][1] * scale)
        page.mouse.down()
        for x, y in stroke[1:]:
            page.mouse.move(box["x"] + x * scale, box["y"] + y * scale, steps=8)
        page.mouse.up()
    page.wait_for_function("() => document.querySelector('.bars h2').textContent.includes('7')")


def follow(page: Any, times: int) -> None:
    """Press F."""
    for _ in range(times):
        before = page.locator(".number-name").inner_text()
        page.keyboard.press("f")
        page.wait_for_function("t => document.querySelector('.number-name').innerText !== t", arg=before)
        page.wait_for_selector(".made:not(.pending), .inspector > p:last-child")


def film(page: Any, address: str) -> None:
    """All pictures, as docs/explore.md tells the story."""
    page.goto(f"{address}?lang=en")
    page.wait_for_function("() => document.querySelector('.status')?.textContent.includes('accuracy')")
    draw(page)
    keep(page, "1-draw")
    page.locator(".bar").nth(7).click()
    page.wait_for_selector(".made:not(.pending)")
    follow(page, 3)
    keep(page, "2-fc1")
    follow(page, 6)
    keep(page, "3-conv1")
    page.keyboard.press("Escape")
    page.locator("select").select_option("1")
    page.keyboard.press("b")
    page.wait_for_function("() => document.querySelector('.strip h2').textContent.includes('∂L')")
    page.locator("canvas[data-stage='image']").click(position={"x": 58, "y": 30})
    page.wait_for_selector(".made:not(.pending)")
    follow(page, 3)
    keep(page, "4-gradient")
    page.locator(".nudge").scroll_into_view_if_needed()
    page.wait_for_selector(".nudge [data-quotient]")
    scroll = "node => node.scrollTo(0, node.querySelector('.nudge').offsetTop - 60)"
    page.locator(".inspector").evaluate(scroll)
    keep(page, "5-nudge")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.locator("button.why").click()
    page.wait_for_selector(".row-of-digits")
    page.locator(".inspector").evaluate(
        "node => node.scrollTo(0, node.querySelector('.likes').offsetTop - 60)"
    )
    page.wait_for_selector(".covered canvas")
    keep(page, "6-why")
    page.goto(f"{address}?lang=en&card=12")
    page.wait_for_selector(".made:not(.pending)")
    page.locator(".card p button:enabled").click()
    keep(page, "9-card")


def film_of_breaking(page: Any, address: str) -> None:
    """The nearest training digits, and the twins at their end."""
    page.goto(f"{address}?lang=en")
    page.wait_for_function("() => document.querySelector('.status')?.textContent.includes('accuracy')")
    draw(page)
    page.locator(".nearest summary").click()
    page.wait_for_selector(".nearest .digit", timeout=300_000)
    page.locator(".nearest").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    keep(page, "7-nearest")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.keyboard.press("t")
    page.locator(".guess input").first.check()
    page.get_by_role("button", name="Run to").click()
    page.wait_for_selector(".outcome", timeout=300_000)
    page.evaluate("scrollTo(0, 0)")
    keep(page, "8-twins")


def main() -> None:
    command = [sys.executable, "-m", "minicnn", "explore", sys.argv[1], "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", server.stdout.readline() if server.stdout else "")
        assert address is not None
        PICTURES.mkdir(exist_ok=True)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
            for part in (film, film_of_breaking):
                part(browser.new_page(viewport={"width": 1280, "height": 760}), address.group())
            browser.close()
    finally:
        server.terminate()
        server.communicate()


if __name__ == "__main__":
    main()
