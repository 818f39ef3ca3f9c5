"""Runs notebooks on the page that `.ci/browser` builds, in a headless Chromium, as a reader would.

    python docs/browser/run.py SITE NOTEBOOK...

Fails if a cell raises or is not executed, or if the page asks another machine for something. Prints how long
each notebook took, and keeps a picture of it in the directory that SCREENSHOTS names.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

HOURS = 3
READY = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
START = (
    "() => { window.ended = false; jupyterapp.commands.execute('notebook:run-all-cells')"
    ".finally(() => { window.ended = true }) }"
)
CELLS = "() => JSON.stringify(jupyterapp.shell.currentWidget.content.model.toJSON().cells)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of a directory."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def run(page: Page, address: str, name: str) -> list[dict[str, Any]]:
    """Execute all cells of a notebook; returns its code cells with their outputs."""
    page.goto(f"{address}notebooks/index.html?path={name}")
    page.wait_for_function(READY, timeout=600_000)
    page.evaluate(START)
    page.wait_for_function("window.ended", timeout=HOURS * 3_600_000, polling=1000)
    return [cell for cell in json.loads(page.evaluate(CELLS)) if cell["cell_type"] == "code"]


def problems(cells: list[dict[str, Any]]) -> list[str]:
    """What went wrong in the cells."""
    found = [f"not executed: {''.join(c['source'])[:80]}" for c in cells if c["execution_count"] is None]
    outputs = [output for cell in cells for output in cell["outputs"]]
    return found + [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]


def main(site: str, *notebooks: str) -> int:
    """Run the notebooks one after the other."""
    failed = False
    with served(Path(site)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name in (Path(notebook).name for notebook in notebooks):
            page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
            elsewhere: list[str] = []
            page.on("request", lambda request, seen=elsewhere: seen.append(request.url))
            start = time.monotonic()
            cells = run(page, address, name)
            pictures = sum("image/png" in o.get("data", {}) for c in cells for o in c["outputs"])
            print(f"{name}: {len(cells)} cells, {pictures} pictures, {time.monotonic() - start:.0f} s")
            local = (address, "data:", "blob:")
            found = problems(cells) + [f"asks {url}" for url in elsewhere if not url.startswith(local)]
            print(*(f"{name}: {problem}" for problem in found or ["no problem"]), sep="\n", flush=True)
            failed |= bool(found)
            if directory := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=Path(directory) / f"{name}.png")
            page.context.close()
        browser.close()
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
