"""axe-core finds nothing serious on the page, in both languages and colour schemes."""

import shutil

import pytest
from browsing import draw, wait_for_answer

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
if shutil.which("chromium") is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

VIEWS = {
    "draw": "",
    "digits": "&card=29",
    "softmax": "&image=0&at=softmax:7",
    "conv1": "&image=0&at=conv1:14.14.3",
    "conv2": "&image=0&at=conv2:7.7.3&off=conv1.3",
    "pool": "&image=0&at=conv1.pool:7.7.3",
    "fc1": "&image=0&at=fc1:20",
    "gradient": "&image=0&loss=1&at=d:conv1.pool:7.7.3",
    "weight": "&image=0&loss=1&at=conv1.weight:2.2.0.3",
    "why": "&image=0&at=why:7.1",
    "questions": "&card=list",
    "card": "&card=12",
    "odd": "&card=99",
}


def serious(page):
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:100]} {node['failureSummary'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(new_page, address, view, language, theme):
    page = new_page(address, language, state=f"&theme={theme}{VIEWS[view]}")
    page.wait_for_selector(".best .number")
    page.wait_for_timeout(800)
    assert serious(page) == []


def test_axe_finds_nothing_serious_in_the_help_and_on_a_phone(new_page, address):
    page = new_page(address, width=390, height=800)
    draw(page)
    wait_for_answer(page, 7)
    assert serious(page) == []
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert serious(page) == []


def test_axe_finds_what_is_wrong(new_page, address):
    page = new_page(address)
    page.evaluate("document.querySelector('.questions').textContent = ''")
    assert any(one.startswith("button-name") for one in serious(page))
