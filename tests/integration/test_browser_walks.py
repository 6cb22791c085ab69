"""Whole walks in a real browser, against the real server with a virtual site on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import attrs
import pytest
from browsing import CUT_OFF, DESK, NEEDS_CHROMIUM, PATIENCE_MS, PHONE, REFUSED, Watched
from patience import PATIENCE_S
from playwright.sync_api import Browser, Locator, Page, expect
from server_process import PASSWORD, Server
from websockets.sync.client import connect

from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.sockets import modbus_meter, websocket_links
from llm_adapters.web.pages import MENU

LATER_MS = 2 * PATIENCE_MS  # a whole walk of control, from a station's boot to its car
USER_PASSWORD = "Own-Choice-9"

pytestmark = NEEDS_CHROMIUM


class NewServer(Server):
    """A server as it is delivered: nobody has set a password."""

    def __init__(self, data: Path) -> None:
        data.mkdir(exist_ok=True)
        self.data, self._before = data, ()
        self.process = self._started("127.0.0.1:0", "127.0.0.1:0")


@attrs.define
class Site:
    """A virtual site on a loop of its own thread: its meter's port while it runs."""

    meter_port: int = 0


@contextmanager
def virtual_site(ocpp: str, stations: int) -> Iterator[Site]:
    site, ready = Site(), threading.Event()
    loop = asyncio.new_event_loop()

    async def live() -> None:
        plant = Plant(demo_site(stations, 1), 1)
        async with modbus_meter(plant.meter, "127.0.0.1", 0) as port:
            site.meter_port = port
            ready.set()
            await Shell(plant, websocket_links(ocpp), speed=4.0).run()

    task = loop.create_task(live())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield site
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


@contextmanager
def browsing(
    chromium: Browser, url: str, *, expecting: str = REFUSED, viewport: dict[str, int] = DESK
) -> Iterator[Watched]:
    """A browser window; at the end nothing may have been said in its console, nor asked of another host."""
    context = chromium.new_context(viewport=viewport, locale="en", accept_downloads=True)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(context.new_page())
    watched.attach()
    try:
        yield watched
    finally:
        context.close()
    watched.judge(url, expecting)


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    page.goto(f"{url}/login", wait_until="domcontentloaded")
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("form.card button")
    page.wait_for_url(lambda now: "/login" not in now, wait_until="domcontentloaded")


def validate(page: Page) -> None:
    page.get_by_role("button", name="Validate").click()


def heading(page: Page, text: str) -> None:
    expect(page.locator("h1")).to_have_text(text)


# From the box to the first charging car


def test_from_the_first_sign_in_to_the_first_charging_car(chromium: Browser, tmp_path: Path) -> None:
    server = NewServer(tmp_path / "data")
    try:
        with virtual_site(server.ocpp, 2) as site, browsing(chromium, server.http, viewport=PHONE) as watched:
            page = watched.page
            sign_in(page, server.http, "admin", "1234")
            page.fill("#password", PASSWORD)
            page.fill("#confirm", PASSWORD)
            page.click("form.card button")
            heading(page, "Country and clock")
            page.select_option("#country", "NL")
            page.select_option("#time_zone", "Europe/Amsterdam")
            validate(page)
            heading(page, "Who may see the overview")
            page.fill("#system-name", "Kerkstraat 12")
            validate(page)
            heading(page, "How much current there is")
            page.fill("#fuse_a", "63")
            assert page.input_value("#derated_a") == "50.4"
            page.fill("#fallback_a", "16")
            validate(page)
            heading(page, "Building meter")
            page.select_option("#model", "eastron_sdm630")
            page.fill("#host", "127.0.0.1")
            page.fill("#port", str(site.meter_port))
            page.get_by_role("button", name="Save and test").click()
            expect(page.locator(".verdict.done")).to_contain_text("The meter answers")
            validate(page)
            heading(page, "Charging stations")
            for number in (1, 2):
                page.get_by_role("link", name=f"Adopt ST{number}").click()
                page.fill("#name", f"Bay {number}")
                page.get_by_role("button", name="Adopt").click()
                heading(page, "Charging stations")
            page.get_by_role("link", name="Continue").click()
            heading(page, "Who may charge")
            page.get_by_label("Free access").check()
            validate(page)
            page.get_by_role("link", name="To the overview").click()
            expect(page.locator("#rows .word.charging").first).to_be_visible(timeout=LATER_MS)
            expect(page.locator("#now")).to_contain_text("Dynamic")
    finally:
        server.kill()


def test_a_page_that_is_open_while_the_server_restarts_says_so_and_recovers(chromium: Browser, tmp_path: Path) -> None:
    server = NewServer(tmp_path / "data")
    try:
        with browsing(chromium, server.http, expecting=CUT_OFF) as watched:
            page = watched.page
            sign_in(page, server.http, "admin", "1234")
            page.fill("#password", PASSWORD)
            page.fill("#confirm", PASSWORD)
            page.click("form.card button")
            heading(page, "Country and clock")
            page.goto(f"{server.http}/", wait_until="domcontentloaded")
            page.evaluate("window.untouched = true")
            server.stop()
            expect(page.locator("body.stale")).to_have_count(1)
            expect(page.locator("#stale")).to_contain_text("Not live since")
            server.restart()
            expect(page.locator("body.stale")).to_have_count(0)
            assert page.evaluate("window.untouched") is True
    finally:
        server.kill()


# Back to a backup, and back to the factory


def owned(page: Page, server: NewServer) -> None:
    """Somebody has signed in for the first time and set a password."""
    sign_in(page, server.http, "admin", "1234")
    page.fill("#password", PASSWORD)
    page.fill("#confirm", PASSWORD)
    page.click("form.card button")
    heading(page, "Country and clock")


def named(page: Page, server: NewServer, name: str) -> None:
    """The site has this name, given on its page, which stays open."""
    page.goto(f"{server.http}/system", wait_until="domcontentloaded")
    page.fill("#system-name", name)
    page.locator("#system button.button").click()
    expect(page.locator(".toast")).to_have_text("Saved.")
    expect(page.locator(".top .site")).to_have_text(name)


def test_a_backup_is_restored_and_the_sign_in_page_opens_by_itself(chromium: Browser, tmp_path: Path) -> None:
    server = NewServer(tmp_path / "data")
    try:
        with browsing(chromium, server.http, expecting=f"{REFUSED}|{CUT_OFF}") as watched:
            page, backup = watched.page, tmp_path / "backup.db"
            owned(page, server)
            named(page, server, "As it was")
            page.fill("#backup #password", PASSWORD)
            backup.write_bytes(downloaded(page, page.get_by_role("button", name="Download a backup"))[1])
            named(page, server, "Spoilt")

            page.get_by_text("Restore a backup…").click()
            restore = page.locator("#restore")
            expect(restore).to_contain_text("What is there now is kept aside")
            for file, name, password, fault in (
                (backup, "As it was", PASSWORD, "Type the name of this site"),
                (backup, "Spoilt", "wrong", "Your password is wrong."),
                (tmp_path / "data" / "server.log", "Spoilt", PASSWORD, "This is no backup"),
            ):
                page.set_input_files("#backup-file", file)
                page.fill("#restore-confirm", name)
                page.fill("#restore-password", password)
                page.get_by_role("button", name="Restore and start anew").click()
                expect(restore.locator("p.fault")).to_contain_text(fault)
            page.set_input_files("#backup-file", backup)
            page.fill("#restore-confirm", "Spoilt")
            page.fill("#restore-password", PASSWORD)
            page.get_by_role("button", name="Restore and start anew").click()
            heading(page, "Starting anew")
            expect(page.locator("main")).to_contain_text("The backup is being restored.")

            expect(page.locator(".toast")).to_contain_text("The controller is back.", timeout=LATER_MS)
            expect(page.locator(".top .site")).to_have_text("As it was")
            sign_in(page, server.http, "admin", PASSWORD)
            page.goto(f"{server.http}/system", wait_until="domcontentloaded")
            expect(page.locator("#system-name")).to_have_value("As it was")
    finally:
        server.kill()


def test_a_factory_reset_ends_at_the_first_sign_in(chromium: Browser, tmp_path: Path) -> None:
    server = NewServer(tmp_path / "data")
    try:
        with browsing(chromium, server.http, expecting=f"{REFUSED}|{CUT_OFF}", viewport=PHONE) as watched:
            page = watched.page
            owned(page, server)
            named(page, server, "Depot")
            page.get_by_text("Factory reset…").click()
            reset = page.locator("#reset")
            expect(reset).to_contain_text("It cannot be taken back: download a backup first.")
            for name, fault in (("depot", "Type the name of this site"), ("Depot", None)):
                page.fill("#reset-confirm", name)
                page.fill("#reset-password", PASSWORD)
                page.get_by_role("button", name="Erase everything").click()
                if fault is not None:
                    expect(reset.locator("p.fault")).to_contain_text(fault)
            heading(page, "Starting anew")
            expect(page.locator("main")).to_contain_text("Everything is being erased.")

            heading(page, "Sign in")
            expect(page.locator("main")).to_contain_text("This controller is new", timeout=LATER_MS)
            expect(page.locator(".top .site")).to_have_text("Local Load Manager")
            sign_in(page, server.http, "admin", "1234")
            expect(page.locator("#confirm")).to_be_visible()
    finally:
        server.kill()


# The demo, page by page


@attrs.frozen
class Demo:
    url: str
    ocpp: str
    password: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    data = tmp_path_factory.mktemp("demo")
    listening = ["--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0"]
    command = [sys.executable, "-m", "llm_app", "demo", "--stations", "4", "--data", str(data), *listening]
    with (data / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, (data / "log").read_text()
        said += line
    url, password = re.search(r"http://\S+", said), re.search(r"with (\S+)", said)
    assert url is not None
    assert password is not None
    try:
        yield Demo(url[0], "", password[1])
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


@pytest.fixture
def window(chromium: Browser, demo: Demo) -> Iterator[Watched]:
    with browsing(chromium, demo.url) as watched:
        sign_in(watched.page, demo.url, "admin", demo.password)
        yield watched


def go(window: Watched, demo: Demo, path: str) -> Page:
    window.page.goto(f"{demo.url}{path}", wait_until="domcontentloaded")
    return window.page


def test_every_line_of_the_menu_opens(window: Watched, demo: Demo) -> None:
    for entry in MENU:
        page = go(window, demo, entry.path)
        expect(page.locator("h1")).to_have_count(1)
        expect(page.locator(f'.menu a[href="{entry.path}"][aria-current]')).not_to_have_count(0)


def test_three_roles_see_what_is_theirs(chromium: Browser, window: Watched, demo: Demo) -> None:
    for name, role in (("Ann", "advanced"), ("Sam", "standard")):
        page = go(window, demo, "/users")
        page.fill("#add #name", name)
        page.locator(f'#add input[value="{role}"]').check()
        page.fill("#new", PASSWORD)
        page.fill("#confirm", PASSWORD)
        page.fill("#add #password", demo.password)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator(".toast")).to_contain_text("saved")
        with browsing(chromium, demo.url) as theirs:
            sign_in(theirs.page, demo.url, name, PASSWORD)
            theirs.page.fill("#current", PASSWORD) if theirs.page.locator("#current").count() else None
            theirs.page.fill("#password", USER_PASSWORD)
            theirs.page.fill("#confirm", USER_PASSWORD)
            theirs.page.click("form.card button")
            expect(theirs.page.locator("#rows")).to_be_visible()
            menu = theirs.page.locator("nav.menu").first
            expect(menu.get_by_role("link", name="Charging stations")).to_have_count(0)
            expect(menu.get_by_role("link", name="Charging authorisation")).to_have_count(int(role == "advanced"))


def test_a_public_overview_shows_no_names(chromium: Browser, window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/system")
    page.locator('input[name="dashboard"][value="public"]').check()
    page.locator("#system button.button").click()
    expect(page.locator(".toast")).to_be_visible()
    with browsing(chromium, demo.url) as visitor:
        visitor.page.goto(demo.url, wait_until="domcontentloaded")
        expect(visitor.page.locator("#rows tbody tr").first).to_be_visible()
        assert "Driver" not in visitor.page.content()
        assert "Badge · user" not in visitor.page.content()
        visitor.page.goto(f"{demo.url}/bay/ST1", wait_until="domcontentloaded")
        heading(visitor.page, "Bay 1")


def test_a_badge_held_to_a_station_is_found(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/stations")
    ocpp = page.locator("#station-url").inner_text().rstrip("/")
    with connect(f"{ocpp}/GATE", subprotocols=["ocpp1.6"], proxy=None) as station:  # type: ignore[list-item]
        boot = {"chargePointVendor": "Test", "chargePointModel": "Gate"}
        station.send(json.dumps([2, "b1", "BootNotification", boot]))
        page.get_by_role("link", name="Adopt GATE").click()
        page.fill("#name", "Gate")
        page.get_by_role("button", name="Adopt").click()
        expect(page.locator(".toast")).to_contain_text("adopted")
        page = go(window, demo, "/badges")
        page.get_by_role("button", name="Start the search").click()
        expect(page.locator("#found .verdict")).to_be_visible()
        station.send(json.dumps([2, "a1", "Authorize", {"idTag": "F1E2D3C4"}]))
        expect(page.locator("#found")).to_contain_text("F1E2D3C4")
        page.get_by_role("button", name="Stop the search").click()
        page.get_by_role("link", name="Edit F1E2D3C4").first.click()
        page.fill("#comment", "Visitor")
        page.select_option("#state", "active")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("table.list")).to_contain_text("Visitor")


def test_badges_come_from_a_file_after_a_look_at_every_line(window: Watched, demo: Demo, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("badgeId,type,comment\n0A0B0C01,STANDARD,Eva\n0A0B0C02,SUPER,Guard\n")
    bad.write_text("badgeId,type\n0A0B0C03,GOLD\n")
    page = go(window, demo, "/badges/import")
    page.set_input_files("#file", bad)
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator(".fault-list")).to_contain_text("line 2")
    page.set_input_files("#file", good)
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator(".toast")).to_have_text("2 badges added.")


def test_a_cluster_is_given_another_limit(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/clusters")
    page.get_by_role("link", name="Edit Garage").click()
    page.fill("#limit_a", "25")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("li.depth-1")).to_contain_text("limit 25 A")


def test_a_limit_from_outside_shows_on_the_overview_until_it_is_lifted(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/limits")
    page.fill("#limit_kw", "4.2")
    page.fill("#reason", "letter of 3 March")
    page.locator("#add").get_by_role("button", name="Add").click()
    expect(page.locator("main")).to_contain_text("letter of 3 March")
    page = go(window, demo, "/")
    expect(page.locator("#now .banner")).to_contain_text("letter of 3 March")
    page = go(window, demo, "/limits")
    page.get_by_role("link", name="Change or lift").first.click()
    page.get_by_text("Lift this limit…").click()
    page.get_by_role("button", name="Lift", exact=True).click()
    page = go(window, demo, "/")
    expect(page.locator("#now .facts")).to_be_visible()
    expect(page.locator("#now .banner")).to_have_count(0)


def test_sessions_are_exported(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/sessions")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export data").click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert text.startswith("transactionId,evcsId,evcsName,startDateTransaction,stopDateTransaction")


def test_a_station_is_tested_and_the_page_tells_what_it_can_do(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/stations/ST1")
    test = page.locator("section[aria-labelledby=test]")
    expect(test).to_contain_text("Not tested yet")
    test.get_by_role("button", name="Start the test").click()
    expect(page.locator("section[aria-labelledby=test]")).to_contain_text("Tested on", timeout=LATER_MS)
    expect(page.locator(".trials li")).not_to_have_count(0)
    expect(page.locator(".trials .word.fault")).to_have_count(0)


def test_a_station_gets_a_password_which_is_never_shown_again(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/stations/ST4")
    page.locator("#security summary").click()
    page.select_option("#profile", "1")
    page.fill("#key", "too short")
    page.locator("#security").get_by_role("button", name="Save").click()
    expect(page.locator(".verdict.attention, .toast.attention, p.fault").first).to_be_visible()
    if page.locator("#security:not([open])").count():
        page.locator("#security summary").click()
    page.select_option("#profile", "1")
    page.fill("#key", "A-Key-Of-Sixteen-Letters")
    page.locator("#security").get_by_role("button", name="Save").click()
    expect(page.locator("#security summary")).to_contain_text("profile 1")
    assert "A-Key-Of-Sixteen-Letters" not in go(window, demo, "/stations/ST4").content()
    expect(page.locator("#key-help")).to_contain_text("Empty: stays as it is.")


def downloaded(page: Page, button: Locator) -> tuple[str, bytes]:
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_a_template_a_bundle_and_a_backup_are_taken_away(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/badges/import")
    _, template = downloaded(page, page.get_by_role("link", name="template"))
    assert template.decode("utf-8-sig").startswith("badgeId,type,comment,expirationDate,email")
    page = go(window, demo, "/support")
    name, bundle = downloaded(page, page.get_by_role("button", name="Download the support bundle"))
    assert name.endswith(".zip")
    with ZipFile(BytesIO(bundle)) as opened:
        assert opened.testzip() is None
        assert opened.namelist()
    page = go(window, demo, "/system")
    page.fill("#backup #password", "wrong")
    page.get_by_role("button", name="Download a backup").click()
    expect(page.locator(".toast")).to_contain_text("Your password is wrong.")
    page.fill("#backup #password", demo.password)
    name, backup = downloaded(page, page.get_by_role("button", name="Download a backup"))
    assert name.endswith(".db")
    assert backup.startswith(b"SQLite format 3")


def test_the_language_is_switched_and_stays(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/support")
    page.select_option("#language-menu", "de")
    heading(page, "Hilfe")
    page = go(window, demo, "/clusters")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("nav.menu").first).to_contain_text("Übersicht")


def test_what_was_typed_comes_back_until_it_is_saved(window: Watched, demo: Demo) -> None:
    page = go(window, demo, "/strategy")
    page.fill("#rotation_min", "27")
    page = go(window, demo, "/clusters")
    page = go(window, demo, "/strategy")
    assert page.input_value("#rotation_min") == "27"
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#rotation_min")).to_have_value("15")
