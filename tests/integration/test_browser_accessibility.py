"""axe-core finds nothing on any page (WCAG 2.2 AA): both themes, desk and phone, before and after interaction.

Each page is opened in four windows, one for each size and theme, and swept in all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import axe_playwright_python
import pytest
from browsing import DESK, NEEDS_CHROMIUM, PHONE, REFUSED, Open
from playwright.sync_api import Page
from web_routes import every_page
from web_scene import Served, busy, empty, twenty

from llm_core import Dashboard

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
MORE = ("/?size=10&page=2", "/history?period=month", "/nowhere")
"""Pages besides those that the routes tell."""
LOOKS = {
    f"{size}, {scheme}": {"viewport": viewport, "color_scheme": scheme}
    for size, viewport in (("desk", DESK), ("phone", PHONE))
    for scheme in ("light", "dark")
}
WRONG = {
    "/settings": ({"#fuse_a": "much", "#supply #password": "wrong"}, "#supply button.button"),
    "/stations/ST1": ({"#max_a": "∞"}, "form.card.wide button.button"),
    "/clusters/new": ({"#limit_a": "x"}, "form.card button.button"),
    "/strategy": ({"#rotation_min": "0"}, "#strategy button.button"),
    "/badges/edit?id=A1B2C3": ({"#comment": "x" * 101}, "form.card button.button"),
    "/limits": ({"#limit_kw": "much"}, "#add button.button"),
}
"""What to type into a page so that it refuses."""

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def windows(served: Served, open_page: Open) -> dict[str, Page]:
    """A window for each look, somebody signed in."""
    return {look: open_page(served, expecting=REFUSED, **options).page for look, options in LOOKS.items()}


def violations(pages: Mapping[str, Page]) -> list[str]:
    """What axe finds: each rule with the elements that break it. All windows are swept at once."""
    for page in pages.values():
        if not page.evaluate("'axe' in window"):
            page.evaluate(AXE)
        page.evaluate(
            "rules => { window.swept = axe.run(document, {runOnly: rules, resultTypes: ['violations']}) }", RULES
        )
    return [
        f"{look}: {one['id']}: {node['target']} {node['failureSummary']}"
        for look, page in pages.items()
        for one in page.evaluate("async () => (await window.swept).violations")
        for node in one["nodes"]
    ]


def opened(served: Served, pages: Mapping[str, Page], path: str) -> Mapping[str, Page]:
    for page in pages.values():
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
    return pages


def unfolded(pages: Mapping[str, Page]) -> dict[str, Page]:
    """The pages where something was folded, with everything unfolded."""
    unfold = """() => { const folded = document.querySelectorAll('main details:not([open])');
                       for (const one of folded) one.open = true; return folded.length }"""
    return {look: page for look, page in pages.items() if page.evaluate(unfold)}


def test_axe_finds_nothing_on_any_page(served: Served, windows: dict[str, Page]) -> None:
    pages = every_page(served)
    assert len(pages) > 30
    assert {"/clusters/new", "/stations/EV-NEW-01"} <= set(pages)
    for path in (*pages, *MORE):
        assert violations(opened(served, windows, path)) == [], path
        assert violations(unfolded(windows)) == [], f"{path}, unfolded"


def test_axe_finds_nothing_where_something_was_typed_wrong(served: Served, windows: dict[str, Page]) -> None:
    for path, (fields, button) in WRONG.items():
        for page in opened(served, windows, path).values():
            for field, typed in fields.items():
                page.fill(field, typed)
            page.click(button)
            page.wait_for_selector("p.fault")
        assert violations(windows) == [], path


def conditions() -> Iterator[tuple[str, object, tuple[str, ...]]]:
    yield "empty", empty(), ("/", "/stations", "/badges", "/clusters", "/strategy", "/uplink", "/support", "/tutorial")
    yield "twenty", twenty(), ("/", "/stations", "/strategy")
    yield "calm", busy(alarms=False), ("/", "/support")


def test_axe_finds_nothing_in_other_conditions(served: Served, windows: dict[str, Page]) -> None:
    """An empty controller, twenty stations, no alarm, and the menus open."""
    for name, state, paths in conditions():
        served.book.state = state  # type: ignore[assignment]
        for path in paths:
            assert violations(opened(served, windows, path)) == [], f"{path}, {name}"
    for menu in ("details.user summary", "details.menu-button summary"):
        shown = {look: page for look, page in windows.items() if page.locator(menu).is_visible()}
        for page in shown.values():
            page.click(menu)
        assert shown
        assert violations(shown) == [], menu
        for page in shown.values():
            page.keyboard.press("Escape")


def test_axe_finds_nothing_for_somebody_who_has_not_signed_in(served: Served, windows: dict[str, Page]) -> None:
    opened(served, windows, "/nowhere")  # a page that asks every other second would be told that nobody is signed in
    served.begin_again(busy(dashboard=Dashboard.PUBLIC))
    for page in windows.values():
        page.context.clear_cookies()
    for path in ("/", "/login", "/bay/ST1"):
        assert violations(opened(served, windows, path)) == [], path
