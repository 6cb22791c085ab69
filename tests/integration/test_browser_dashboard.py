"""The pages in a real browser: live without a reload, honest when that stops, usable on a phone and without scripts."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from browsing import CUT_OFF, DESK, NEEDS_CHROMIUM, PHONE, REFUSED, Open
from playwright.sync_api import Page, Request, expect
from web_routes import every_page
from web_scene import NOON, PASSWORD, Served, busy, empty, hostile, long_names, serving, twenty

from llm_adapters.web import app, dashboard
from llm_core import Alarm, AlarmCode, PerPhase

TOUCH_PX = 44
TOKENS = Path(app.__file__).parent / "static" / "tokens.css"

pytestmark = NEEDS_CHROMIUM


@pytest.mark.parametrize("secure", [True, False])
def test_the_address_for_the_stations_is_copied_on_pages_without_encryption_too(
    served: Served, open_page: Open, secure: bool
) -> None:
    watched = open_page(served, permissions=["clipboard-read", "clipboard-write"])
    if not secure:
        watched.page.add_init_script("delete Navigator.prototype.clipboard")
    watched.page.goto(f"{served.url}/stations", wait_until="domcontentloaded")
    watched.page.get_by_role("button", name="Copy").click()
    expect(watched.page.get_by_role("button", name="Copied")).to_be_visible()
    watched.page.get_by_text("Add a station that has not connected yet").click()
    watched.page.press("#station_id", "Control+V")
    assert watched.page.input_value("#station_id") == served.desk.station_url


def test_the_dashboard_follows_the_state_without_a_reload(served: Served, open_page: Open) -> None:
    page = open_page(served).page
    page.evaluate("window.untouched = true")
    expect(page.locator("#status")).to_contain_text("2 need attention")
    site = served.book.state.nodes["site"]
    calm = attrs.evolve(site, total_ma=PerPhase.same(20_000), stations_ma=PerPhase.same(12_300))
    served.book.state = attrs.evolve(served.book.state, alarms={}, nodes={**served.book.state.nodes, "site": calm})
    expect(page.locator("#status")).to_contain_text("Running")
    expect(page.locator("#now .bars").first).to_contain_text("12.3")
    expect(page.locator("#attention")).to_have_count(0)
    width = page.locator("#now .bars rect.cars").first
    expect(width).to_have_attribute("width", re.compile(r"^23\.4"))
    assert page.evaluate("window.untouched") is True


def test_typing_a_filter_is_not_disturbed_by_the_stream(served: Served, open_page: Open) -> None:
    page = open_page(served).page
    page.fill("#q", "bay 1")
    served.book.state = attrs.evolve(served.book.state, alarms={})
    expect(page.locator("#status")).to_contain_text("Running")
    assert page.input_value("#q") == "bay 1"
    page.press("#q", "Enter")
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    served.book.state = busy()
    expect(page.locator("#status")).to_contain_text(
        "2 need attention"
    )  # a message of the stream: it keeps to the filter
    expect(page.locator("#rows tbody tr")).to_have_count(2)


def test_values_are_marked_within_ten_seconds_when_the_stream_stops(open_page: Open) -> None:
    with serving(busy()) as served:
        page = open_page(served, expecting=CUT_OFF).page
        page.clock.install()
        page.reload(wait_until="domcontentloaded")
        served.book.state = attrs.evolve(served.book.state, alarms={})
        expect(page.locator("#status")).to_contain_text("Running")  # the stream has begun
        expect(page.locator("body.stale")).to_have_count(0)
    page.clock.run_for(10_000)
    assert page.locator("body.stale").count() == 1
    expect(page.locator("#stale")).to_contain_text(re.compile(r"Not live since \d"))


def test_a_dashboard_whose_session_ended_goes_to_the_sign_in_page(
    served: Served, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "RECHECK_S", 0)
    page = open_page(served, expecting=CUT_OFF).page
    expect(page.locator("#rows tbody tr")).to_have_count(10)
    served.people.sessions.clear()
    expect(page).to_have_url(re.compile("/login"))


def test_the_password_rules_are_ticked_while_typing(served: Served, open_page: Open) -> None:
    served.begin_again(empty(factory=True), factory=True)
    page = open_page(served, "/set-password", "admin").page
    for typed, kept in (("a", 1), ("aB", 2), ("aB3", 3), ("aB3-", 4), ("aB3-efgh", 5), ("aB3", 3)):
        page.fill("#password", typed)
        expect(page.locator(".rules .kept")).to_have_count(kept)
    page.fill("#password", PASSWORD)
    page.fill("#confirm", PASSWORD)
    page.click("form.card button")
    expect(page.locator("h1")).to_have_text("Country and clock")
    assert not served.people.factory


def test_the_first_login_and_an_adoption_need_no_script(served: Served, open_page: Open) -> None:
    served.begin_again(empty(factory=True), factory=True)
    page = open_page(served, "/set-password", "admin", java_script_enabled=False, expecting=REFUSED).page
    page.fill("#password", "weak")
    page.fill("#confirm", "weak")
    page.click("form.card button")
    expect(page.locator(".rules .kept")).to_have_count(1)
    page.fill("#password", PASSWORD)
    page.fill("#confirm", PASSWORD)
    page.click("form.card button")
    expect(page.locator("h1")).to_have_text("Country and clock")
    served.book.state = busy()
    page.goto(f"{served.url}/stations", wait_until="domcontentloaded")
    page.get_by_role("link", name="Adopt EV-NEW-01").click()
    page.fill("#name", "Bay 11")
    page.get_by_role("button", name="Adopt").click()
    expect(page.locator(".toast")).to_contain_text("adopted")
    assert len(served.book.asked) == 1


def test_without_scripts_the_overview_loads_itself_again(served: Served, open_page: Open) -> None:
    page = open_page(served, java_script_enabled=False).page
    expect(page.locator("#rows tbody tr")).to_have_count(10)
    assert page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count() == 1


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_on_a_phone_nothing_is_wider_than_the_screen_or_too_small_to_touch(served: Served, open_page: Open) -> None:
    page = open_page(served, viewport=PHONE, locale="de").page
    for path in every_page(served):
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        assert not is_too_wide(page), path
        small = page.evaluate(
            """least => [...document.querySelectorAll('button, select, .choice, .button, nav a, summary, .status, '
                + 'input:not([type=radio]):not([type=checkbox])')]
              .filter(e => e.offsetParent && e.getBoundingClientRect().height < least).map(e => e.outerHTML)""",
            TOUCH_PX,
        )
        assert small == [], path


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_names_of_any_length_widen_no_page(served: Served, open_page: Open, viewport: dict[str, int]) -> None:
    pages = every_page(served)
    served.book.state = long_names()
    page = open_page(served, viewport=viewport, locale="de", expecting=REFUSED).page
    for path in pages:
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        assert not is_too_wide(page), path


def test_hostile_names_run_nothing_and_break_nothing(served: Served, open_page: Open) -> None:
    served.book.state = hostile()
    watched = open_page(served, viewport=PHONE)
    for path in ("/", "/stations", "/sessions", "/history", "/badges", "/settings"):
        watched.page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        watched.page.wait_for_timeout(1_200 if path == "/" else 0)
        assert not is_too_wide(watched.page), path
        assert watched.page.locator("h1:has-text('pwned')").count() == 0


def test_a_card_of_a_phone_leads_to_its_page_wherever_it_is_touched(served: Served, open_page: Open) -> None:
    page = open_page(served, "/stations", viewport=PHONE).page
    card = page.locator("table.list tbody tr").first
    card.get_by_role("checkbox").check()  # which leads nowhere
    expect(page).to_have_url(re.compile("/stations$"))
    box = card.bounding_box()
    assert box is not None
    card.click(position={"x": box["width"] / 2, "y": box["height"] - 8})
    expect(page).to_have_url(re.compile("/stations/ST1$"))


def test_many_alarms_leave_room_for_the_rest_and_all_stand_under_support(served: Served, open_page: Open) -> None:
    alarms = {(code, "ST1"): Alarm(code, "ST1", NOON) for code in AlarmCode}
    served.book.state = attrs.evolve(served.book.state, alarms=alarms)
    page = open_page(served).page
    expect(page.locator("#attention li:not(.rest)")).to_have_count(5)
    page.locator("#attention .rest a").click()
    expect(page.locator(".alarms li")).to_have_count(len(AlarmCode))


def test_twenty_stations_fit_a_desk_screen(served: Served, open_page: Open) -> None:
    """Also while many things need attention, and somebody outside limits the site."""
    alarms = {(code, "ST7"): Alarm(code, "ST7", NOON) for code in AlarmCode}
    served.book.state = attrs.evolve(twenty(), alarms=alarms, limits=busy().limits)
    page = open_page(served, "/?size=20").page
    expect(page.locator("#now .banner")).to_have_count(1)
    expect(page.locator("#rows tbody tr")).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollWidth") <= DESK["width"]
    bottom = page.evaluate("document.querySelector('#rows tbody tr:last-child').getBoundingClientRect().bottom")
    assert bottom <= DESK["height"]


def test_the_first_page_weighs_less_than_100_kilobytes(served: Served, open_page: Open) -> None:
    """All that a browser with an empty cache fetches for the overview of twenty stations, charts and headers too."""
    served.book.state = twenty()
    page = open_page(served, "/support").page
    page.route("**/*", lambda route: route.continue_())  # which keeps the browser from using what it has
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    page.goto(f"{served.url}/", wait_until="domcontentloaded")
    expect(page.locator(".chart canvas")).to_have_count(3)
    awaited = {f"{served.url}{path}" for path in ("/", "/static/page.css", "/history/columns?step=quarter")}
    while not awaited <= {request.url for request in finished}:
        page.wait_for_event("requestfinished")
    sizes = {request.url.removeprefix(served.url): request.sizes() for request in finished}
    weight = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes.values())
    assert 50_000 < weight < 100_000


def test_every_control_has_a_name(served: Served, open_page: Open) -> None:
    """A stand-in for a screen reader: each field, link and button says what it is."""
    page = open_page(served).page
    for path in every_page(served):
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('input:not([type=hidden]):not([hidden]), select, button, a')]
              .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')))
              .map(e => e.outerHTML)"""
        )
        assert nameless == [], path


# Colours


def tokens(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_bars_stand_out_from_what_is_behind_them(scheme: str) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what carries meaning (1.4.11)."""
    light, _, dark = TOKENS.read_text().partition("prefers-color-scheme: dark")
    colours = tokens(light) if scheme == "light" else tokens(light) | tokens(dark)
    for text in ("ink", "ink-soft", "charging-ink", "attention", "fault"):
        for behind in ("paper", "sheet"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    assert contrast(colours["attention"], colours["attention-paper"]) >= 4.5
    assert contrast(colours["ink-soft"], colours["attention-paper"]) >= 4.5
    assert contrast(colours["fault"], colours["fault-paper"]) >= 4.5
    assert contrast(colours["press"], colours["press-ink"]) >= 4.5
    for bar in ("building", "charging", "free", "limit", "line-strong"):
        assert contrast(colours[bar], colours["paper"]) >= 3, bar
