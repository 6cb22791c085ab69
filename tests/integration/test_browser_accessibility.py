"""axe-core finds nothing on any page (WCAG 2.2 AA): both themes, desk and phone, before and after interaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from browsing import DESK, NEEDS_CHROMIUM, PHONE, Open
from playwright.sync_api import Page
from web_scene import Served, busy, empty, serving, twenty

from llm_core import Dashboard

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = (
    "/",
    "/?size=10&page=2",
    "/sessions",
    "/sessions/41/wish",
    "/stations",
    "/stations/ST1",
    "/stations/EV-NEW-01",
    "/bay/ST1",
    "/badges",
    "/badges/edit?id=A1B2C3",
    "/badges/import",
    "/support",
    "/settings",
    "/clusters",
    "/clusters/new",
    "/clusters/c2",
    "/clusters/c2/meter",
    "/strategy",
    "/limits",
    "/limits/1",
    "/uplink",
    "/users",
    "/users/edit?name=standard",
    "/system",
    "/audit",
    "/decisions",
    "/tutorial",
    "/set-password",
    "/setup/clock",
    "/setup/dashboard",
    "/setup/supply",
    "/setup/meter",
    "/setup/stations",
    "/setup/access",
    "/setup/done",
    "/nowhere",
)
LOOKS = [(size, scheme) for size in ("desk", "phone") for scheme in ("light", "dark")]
SIZES = {"desk": DESK, "phone": PHONE}

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with serving(busy()) as started:
        yield started


@pytest.fixture
def served(running: Served) -> Served:
    running.begin_again(busy())
    return running


def violations(page: Page) -> list[str]:
    """What axe finds: each rule with the elements that break it."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate(
        "async rules => (await axe.run(document, {runOnly: rules})).violations", RULES
    )
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def open_everything(page: Page) -> bool:
    """Unfold what is folded; False when there is nothing."""
    return bool(
        page.evaluate(
            """() => { const folded = document.querySelectorAll('main details');
                       for (const one of folded) one.open = true; return folded.length }"""
        )
    )


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_axe_finds_nothing_on_any_page(served: Served, open_page: Open, size: str, scheme: str) -> None:
    # Not quiet: the browser notes in its console that one of the pages does not exist.
    page = open_page(served, viewport=SIZES[size], color_scheme=scheme, quiet=False).page
    for path in PAGES:
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        assert violations(page) == [], path
        if open_everything(page):
            assert violations(page) == [], f"{path}, unfolded"


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_axe_finds_nothing_where_something_was_typed_wrong(
    served: Served, open_page: Open, size: str, scheme: str
) -> None:
    page = open_page(served, viewport=SIZES[size], color_scheme=scheme, quiet=False).page
    wrong = {
        "/settings": ("#fuse_a", "much", "#supply button.button"),
        "/stations/ST1": ("#max_a", "∞", "form.card.wide button.button"),
        "/clusters/new": ("#limit_a", "x", "form.card button.button"),
        "/strategy": ("#rotation_min", "0", "#strategy button.button"),
        "/limits": ("#limit_kw", "much", "#add button.button"),
        "/badges/edit?id=A1B2C3": ("#comment", "x" * 101, "form.card button.button"),
    }
    for path, (field, typed, button) in wrong.items():
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        page.fill(field, typed)
        if path == "/settings":
            page.fill("#password", "wrong")
        page.click(button)
        page.wait_for_selector("p.fault")
        assert violations(page) == [], path


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_axe_finds_nothing_in_other_conditions(served: Served, open_page: Open, size: str, scheme: str) -> None:
    """An empty controller, twenty stations, no alarm, the open menu, and somebody who has not signed in."""
    page = open_page(served, viewport=SIZES[size], color_scheme=scheme).page
    for state in (empty(), twenty(), busy(alarms=False)):
        served.book.state = state
        for path in ("/", "/stations", "/badges", "/clusters", "/strategy", "/uplink"):
            page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
            assert violations(page) == [], path
    page.click("details.menu-button summary" if size == "phone" else "details.user summary")
    assert violations(page) == []
    page.goto("about:blank")  # a page that asks every other second would be told that nobody is signed in
    served.begin_again(busy(dashboard=Dashboard.PUBLIC))
    page.context.clear_cookies()
    for path in ("/", "/login", "/bay/ST1"):
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        assert violations(page) == [], path
