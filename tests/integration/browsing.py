"""A real chromium over a real server: what it says behind the user's back is written down, and must be nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from patience import PATIENCE_S
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from web_scene import Served

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = PATIENCE_S * 1_000
expect.set_options(timeout=PATIENCE_MS)
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one file of tests: while one is open, `asyncio.run` of any other test would be refused."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


REFUSED = r"Failed to load resource: the server responded with a status of (404|422) .*"
"""What a browser itself writes into its console about a page that is not there, and about a form with a fault."""
CUT_OFF = r"Failed to load resource: (net::ERR_|the server responded with a status of 401).*|htmx: htmx:sse:error.*"
"""What browser and htmx write about a server that went away, or that no longer knows the reader."""


HASTE = r"Autofocus processing was blocked because a document already has a focused element\."
"""What a browser says when a test types faster than a page appears."""
ADVICE = r"\[DOM\] Password forms should have \(optionally hidden\) username fields .*"
"""What it advises makers of pages, where one is open for long enough."""


@attrs.define
class Watched:
    """A page, and what it said and asked for behind the user's back."""

    page: Page
    said: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)

    def attach(self) -> None:
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def judge(self, url: str, expecting: str) -> None:
        """Nothing was asked of another host, and nothing said but what was to be expected."""
        assert [asked for asked in self.asked if not asked.startswith((url, "data:", "about:", "blob:"))] == []
        assert [said for said in self.said if not re.fullmatch(f"{expecting}|{HASTE}|{ADVICE}", said, re.S)] == []


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a page in a browser of its own; at the end nothing may have been said, and nothing foreign asked for."""
    contexts: list[tuple[BrowserContext, Watched, str, str]] = []

    def open_at(
        served: Served, path: str = "/", name: str = "administrator", *, expecting: str = "", **options: object
    ) -> Watched:
        context = chromium.new_context(**{"viewport": DESK, "locale": "en", **options})  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        watched = Watched(context.new_page())
        watched.attach()
        contexts.append((context, watched, served.url, expecting))
        watched.page.goto(f"{served.url}/login", wait_until="domcontentloaded")
        watched.page.fill("#name", name)
        watched.page.fill("#password", served.people.passwords[name])
        watched.page.click("form.card button")
        watched.page.wait_for_url(lambda url: "/login" not in url, wait_until="domcontentloaded")
        if path != "/":
            watched.page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        return watched

    yield open_at
    for context, watched, url, expecting in contexts:
        context.close()
        watched.judge(url, expecting)


Open = Callable[..., Watched]
