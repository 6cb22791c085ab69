"""The pages over a real socket: who may see and change what, the first login, forged requests, hostile names."""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser

import attrs
import httpx
import pytest
from patience import PATIENCE_S
from starlette.routing import Route
from web_scene import (
    NAMES_TO_ESCAPE,
    NOON,
    PASSWORD,
    STRANGER_TAG,
    Served,
    busy,
    empty,
    hostile,
    serving,
)

from llm_adapters.web import dashboard
from llm_adapters.web import pages as pages_module
from llm_adapters.web.app import create_app
from llm_adapters.web.dashboard import Live, Variant
from llm_adapters.web.rows import Listing
from llm_adapters.web.words import Words
from llm_core import (
    AccessRule,
    Authorised,
    Badge,
    BadgesEdited,
    BadgeState,
    BadgeType,
    CurrentTransformer,
    Dashboard,
    Fault,
    MeterSetup,
    Mode,
    NotSaved,
    NotStored,
    PerPhase,
    Phase,
    PutAccess,
    PutMeters,
    PutStation,
    PutSupply,
    PutSystem,
    RemoveStation,
    Role,
    SetUpDone,
    SiteEdited,
    Station,
    Verdict,
)

EVERYBODY = frozenset(Role)
ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})
BADGE_MANAGERS = frozenset({Role.ADMINISTRATOR, Role.ADVANCED})
ADOPTION = {"name": "Bay 9", "cluster": "c2", "phase_rotation": "L2 L3 L1", "max_a": "32", "min_a": "6,5"}
SUPPLY = {
    "mode": "dynamic",
    "phases": "3",
    "fuse_a": "63 / 50 / 63",
    "derated_a": "50.4/40/50.4",
    "static_max_a": "40",
    "fallback_a": "16",
    "password": PASSWORD,
}
LIMIT = {"node": "site", "kind": "power", "limit_kw": "4,2", "applies_to": "stations", "then": "keep"}
METER = {"model": "shelly_pro_3em", "transport": "tcp", "host": "10.0.0.7", "port": "502", "unit": "3"}
USER = {"name": "Eva", "role": "standard", "new": PASSWORD, "confirm": PASSWORD, "password": PASSWORD}
FILE = base64.b64encode(b"badgeId,type\r\nNEW9,STANDARD\r\n").decode()
SYSTEM = {"name": "Depot", "time_zone": "Europe/Paris", "language": "fr", "dashboard": "public"}
CLOCK = {"country": "BE", "time_zone": "Europe/Brussels"}
SET_UP = {
    "/setup/clock": CLOCK,
    "/setup/dashboard": {"name": "Depot", "dashboard": "public"},
    "/setup/supply": SUPPLY,
    "/setup/meter": {**METER, "go": "on"},
    "/setup/access": {"rule": "badge"},
}
PAGES = {
    "/": EVERYBODY,
    "/live": EVERYBODY,
    "/sessions": EVERYBODY,
    "/history": EVERYBODY,
    "/sessions/41/wish": ADMINISTRATORS,
    "/stations": ADMINISTRATORS,
    "/stations/EV-NEW-01": ADMINISTRATORS,
    "/badges": BADGE_MANAGERS,
    "/settings": ADMINISTRATORS,
    "/settings/meter/live": ADMINISTRATORS,
    "/stations/waiting": ADMINISTRATORS,
    "/stations/ST1": ADMINISTRATORS,
    "/stations/ST1/test/live": ADMINISTRATORS,
    "/stations/ST1/notes/live": ADMINISTRATORS,
    "/stations/ST1/more": ADMINISTRATORS,
    "/bay/ST1": EVERYBODY,
    "/bay/ST1/live": EVERYBODY,
    "/badges/edit?id=A1B2C3": BADGE_MANAGERS,
    "/badges/import": BADGE_MANAGERS,
    "/badges/statement?id=A1B2C3&month=2026-03": BADGE_MANAGERS,
    "/badges/scan/live": BADGE_MANAGERS,
    "/clusters": ADMINISTRATORS,
    "/clusters/new": ADMINISTRATORS,
    "/clusters/c2": ADMINISTRATORS,
    "/clusters/c2/meter": ADMINISTRATORS,
    "/clusters/c2/meter/live": ADMINISTRATORS,
    "/strategy": ADMINISTRATORS,
    "/limits": ADMINISTRATORS,
    "/limits/1": ADMINISTRATORS,
    "/uplink": ADMINISTRATORS,
    "/uplink/live": ADMINISTRATORS,
    "/users": BADGE_MANAGERS,
    "/users/edit?name=standard": ADMINISTRATORS,
    "/audit": ADMINISTRATORS,
    "/decisions": ADMINISTRATORS,
    "/decisions/live": ADMINISTRATORS,
    "/support": EVERYBODY,
    "/system": ADMINISTRATORS,
    "/tutorial": ADMINISTRATORS,
    **dict.fromkeys((*SET_UP, "/setup/stations", "/setup/done"), ADMINISTRATORS),
}
MENU = (
    "/",
    "/sessions",
    "/history",
    "/stations",
    "/badges",
    "/support",
    "/settings",
    "/clusters",
    "/strategy",
    "/limits",
    "/uplink",
    "/users",
    "/system",
    "/audit",
    "/decisions",
    "/tutorial",
)
CHANGES: dict[str, tuple[frozenset[Role], dict[str, str]]] = {
    "/stations/EV-NEW-01": (ADMINISTRATORS, ADOPTION),
    "/stations/ST1/remove": (ADMINISTRATORS, {}),
    "/badges": (BADGE_MANAGERS, {"badge_id": "NEW-1", "type": "standard"}),
    "/badges/edit?id=A1B2C3": (BADGE_MANAGERS, {"state": "inactive", "type": "super", "where": "all"}),
    "/badges/bulk": (BADGE_MANAGERS, {"badges": "A1B2C3", "group": "Floor 2"}),
    "/badges/scan": (BADGE_MANAGERS, {"go": "start"}),
    "/badges/import": (BADGE_MANAGERS, {"content": FILE, "go": "import"}),
    "/stations/bulk": (ADMINISTRATORS, {"stations": "ST1", "max_a": "20"}),
    "/stations/scan": (ADMINISTRATORS, {"go": "start", "next": "/stations"}),
    "/stations/ahead": (ADMINISTRATORS, {"station_id": "EV-AHEAD-1", "name": "Bay 11"}),
    "/stations/ST1/security": (ADMINISTRATORS, {"profile": "1", "key": "Correct-Horse-Battery"}),
    "/stations/ST1/test": (ADMINISTRATORS, {"connector": "1"}),
    "/stations/ST1/order": (ADMINISTRATORS, {"order": "reset"}),
    "/clusters/c2/meter": (ADMINISTRATORS, METER),
    "/clusters/c2": (ADMINISTRATORS, {"name": "West", "parent": "default", "limit_a": "20"}),
    "/uplink": (ADMINISTRATORS, {"enabled": "", "url": "", "offline": "local", "ocpp_id_0": "NL-1"}),
    "/uplink/again": (ADMINISTRATORS, {"station": "ST1"}),
    "/strategy": (ADMINISTRATORS, {"strategy": "priority", "rotation_min": "10"}),
    "/limits/new": (ADMINISTRATORS, LIMIT),
    "/limits/1": (ADMINISTRATORS, LIMIT),
    "/limits/1/lift": (ADMINISTRATORS, {}),
    "/sessions/41/wish": (ADMINISTRATORS, {"energy_kwh": "20", "departs_at": ""}),
    "/settings/supply": (ADMINISTRATORS, SUPPLY),
    "/settings/meter": (ADMINISTRATORS, METER),
    "/badges/rule": (ADMINISTRATORS, {"rule": "free"}),
    "/system": (ADMINISTRATORS, SYSTEM),
    **{path: (ADMINISTRATORS, fields) for path, fields in SET_UP.items()},
}
OPEN_TO_ALL = {"/login", "/set-password", "/logout", "/language"}
LIVE = {"/live", "/bay/ST1/live"}
TRIED = {
    "/stations/ST1/sums": ADOPTION,
    "/strategy/preview": {"strategy": "priority", "rotation_min": "10"},
    "/settings/meter/test": {**METER, "measures": "direct"},
}
"""Posted to be looked at: nothing is changed by them."""
DOWNLOADS = {"/system/backup": {"password": PASSWORD}, "/support/bundle": {}}
MAIL = {"port": "587", "security": "starttls", "password": PASSWORD}
OF_USERS = {
    "/users": USER,
    "/users/change": {"name": "standard", "role": "advanced", "password": PASSWORD},
    "/users/token": {"label": "script", "role": "standard", "password": PASSWORD},
    "/users/revoke": {"label": "script", "password": PASSWORD},
    "/system/mail": MAIL,
    "/system/restore": {},
    "/system/reset": {"confirm": "Parking Kerkstraat", "password": PASSWORD},
}
"""Changes that do not go through the core."""


@pytest.fixture
def new_controller(running: Served) -> Served:
    running.begin_again(empty(factory=True), factory=True)
    return running


def browser(served: Served) -> httpx.Client:
    return httpx.Client(base_url=served.url, timeout=PATIENCE_S, verify=False)  # plain HTTP: no certificates to load


@contextlib.contextmanager
def signed_in(served: Served, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
    with browser(served) as client:
        assert client.post("/login", data={"name": name, "password": password}).status_code == 303
        yield client


def csrf(served: Served, client: httpx.Client) -> str:
    return served.people.sessions[client.cookies["llm_session"]].csrf


def change(served: Served, client: httpx.Client, path: str, fields: dict[str, str]) -> httpx.Response:
    return client.post(path, data={**fields, "csrf": csrf(served, client)})


def status(client: httpx.Client, path: str) -> int:
    """The status alone: the stream of events has no end to wait for."""
    with client.stream("GET", path) as response:
        return response.status_code


class Reader(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def field(self, name: str) -> dict[str, str | None]:
        return next(attributes for _, attributes in self.elements if attributes.get("name") == name)


# Who may see and change what


def test_every_route_is_in_the_tables_of_rights(served: Served) -> None:
    samples = {
        "{station_id}": "ST1",
        "{step}": "clock",
        "{cluster_id}": "c2",
        "{limit_id}": "1",
        "{transaction_id}": "41",
    }
    paths = set()
    for route in create_app(served.desk).routes:
        if isinstance(route, Route):
            path = route.path
            for name, sample in samples.items():
                path = path.replace(name, sample)
            paths.add(path)
    listed = {path.partition("?")[0] for path in (*PAGES, *CHANGES, *OPEN_TO_ALL, *TRIED, *OF_USERS, *DOWNLOADS)}
    listed |= {"/setup", "/clusters/c2/remove"}
    others = {path for path in listed if path.startswith("/setup/")} - {"/setup/clock"}
    others |= {"/stations/EV-NEW-01", "/clusters/new"}
    assert paths - {"/metrics", "/healthz", "/history/columns"} == listed - others  # the last: test_web_history.py


def test_each_role_sees_exactly_its_pages(served: Served) -> None:
    for role in Role:
        with signed_in(served, role) as client:
            for path, roles in PAGES.items():
                assert status(client, path) == (200 if role in roles else 403), (role, path)


def test_each_role_changes_exactly_what_it_may(served: Served) -> None:
    for role, (path, (roles, fields)) in itertools.product(Role, CHANGES.items()):
        with signed_in(served, role) as client:
            served.book.asked.clear()
            answered = change(served, client, path, fields)
            assert answered.status_code == (303 if role in roles else 403), (role, path, answered.text)
            assert bool(served.book.asked) == (role in roles)


def test_what_is_only_tried_changes_nothing_and_is_for_administrators(served: Served) -> None:
    for role, (path, fields) in itertools.product(Role, TRIED.items()):
        with signed_in(served, role) as client:
            assert change(served, client, path, fields).status_code == (200 if role in ADMINISTRATORS else 403)
            assert not served.book.asked


def test_files_to_take_away_are_for_administrators_and_a_backup_asks_for_the_password(served: Served) -> None:
    for role, (path, fields) in itertools.product(Role, DOWNLOADS.items()):
        with signed_in(served, role) as client:
            sent = change(served, client, path, fields)
            assert sent.status_code == (200 if role in ADMINISTRATORS else 403)
            assert sent.content == b"nothing" or role not in ADMINISTRATORS
    with signed_in(served, "administrator") as client:
        refused = change(served, client, "/system/backup", {"password": "wrong"})
        assert "Your password is wrong" in client.get(refused.headers["location"]).text


def test_users_are_changed_by_administrators_and_standard_ones_added_by_advanced_users(served: Served) -> None:
    for role, (path, fields) in itertools.product(Role, OF_USERS.items()):
        served.begin_again(busy())
        with signed_in(served, role) as client:
            allowed = role is Role.ADMINISTRATOR or (role is Role.ADVANCED and path == "/users")
            status = change(served, client, path, fields).status_code
            assert (status != 403) == allowed, (role, path, status)


def test_a_menu_offers_only_what_opens(served: Served) -> None:
    for role in Role:
        with signed_in(served, role) as client:
            html = client.get("/sessions").text
            menu = [href for href in MENU if f'<a href="{href}"' in html]
            assert len(MENU) == len(pages_module.MENU)
            assert menu == [path for path in MENU if role in PAGES[path]]


def test_who_has_not_signed_in_is_led_to_the_sign_in_page_and_back(served: Served) -> None:
    with browser(served) as client:
        for path in set(PAGES) - LIVE:
            assert client.get(path).headers["location"].startswith("/login")
        assert status(client, "/live") == 401
        for path, (_, fields) in CHANGES.items():
            assert client.post(path, data=fields).headers["location"] == "/login"
        there = client.get("/sessions").headers["location"]
        back = client.post(there, data={"name": "standard", "password": PASSWORD})
        assert back.headers["location"] == "/sessions"
    assert not served.book.asked


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_to_another_site(served: Served, elsewhere: str) -> None:
    with browser(served) as client:
        answered = client.post("/login", params={"next": elsewhere}, data={"name": "standard", "password": PASSWORD})
        assert answered.headers["location"] == "/"


def test_a_temporary_password_opens_nothing_but_the_page_that_replaces_it(served: Served) -> None:
    with browser(served) as client:
        first = client.post("/login", data={"name": "newcomer", "password": PASSWORD})
        assert first.headers["location"] == "/set-password"
        assert client.get("/sessions").headers["location"] == "/set-password"
        assert client.get("/badges").headers["location"] == "/set-password"
        assert client.get("/").headers["location"] == "/login"
        assert client.get("/api/v1/overview").status_code == 403


# Changes that were not meant


@pytest.mark.parametrize("path", CHANGES)
def test_no_change_without_the_sessions_own_token(served: Served, path: str) -> None:
    with signed_in(served, "administrator") as client, signed_in(served, "advanced") as other:
        for token in ({}, {"csrf": ""}, {"csrf": "wrong"}, {"csrf": csrf(served, other)}):
            assert client.post(path, data={**CHANGES[path][1], **token}).status_code == 403
        assert client.post(path, data=CHANGES[path][1], headers={"X-CSRF-Token": "wrong"}).status_code == 403
        assert not served.book.asked
        sent = client.post(path, data=CHANGES[path][1], headers={"X-CSRF-Token": csrf(served, client)})
        assert sent.status_code == 303


@pytest.mark.parametrize(
    "forged",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_asked_for_by_a_foreign_page_is_refused(served: Served, forged: dict[str, str]) -> None:
    with signed_in(served, "administrator") as client:
        token = {"csrf": csrf(served, client)}
        assert client.post("/badges/rule", data={"rule": "free", **token}, headers=forged).status_code == 403
        assert client.post("/login", data={"name": "x", "password": "y"}, headers=forged).status_code == 403
        own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
        assert client.post("/badges/rule", data={"rule": "free", **token}, headers=own).status_code == 303


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::1", "localhost:http"]
)
def test_a_foreign_host_name_is_refused(served: Served, host: str) -> None:
    with browser(served) as client:
        for path in ("/login", "/static/page.css", "/healthz", "/api/v1/overview"):
            assert client.get(path, headers={"Host": host}).status_code == 400


def test_own_host_names_are_answered_with_and_without_a_port(served: Served) -> None:
    with browser(served) as client:
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1"):
            assert client.get("/login", headers={"Host": host}).status_code == 200


def test_a_form_larger_than_a_mebibyte_is_refused(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert client.post("/badges", data={"badge_id": "x" * (1 << 20)}).status_code == 413


# The first login


def test_a_new_controller_opens_nothing_but_the_sign_in_page(new_controller: Served) -> None:
    with browser(new_controller) as client:
        for path in set(PAGES) - LIVE:
            assert client.get(path).headers["location"].startswith("/login"), path
        assert status(client, "/live") == 401
        assert client.get("/set-password").headers["location"] == "/login"
        assert client.get("/api/v1/overview").status_code == 403
        assert client.get("/static/page.css").status_code == 200


def test_the_factory_password_opens_nothing_but_the_page_that_replaces_it(new_controller: Served) -> None:
    with browser(new_controller) as client:
        opened = client.post("/login", data={"name": "admin", "password": "1234"})
        assert opened.headers["location"] == "/set-password"
        for path in set(PAGES) - LIVE:
            assert client.get(path).headers["location"].startswith("/login"), path
        for path, (_, fields) in CHANGES.items():
            assert change(new_controller, client, path, fields).headers["location"] == "/login", path
        assert client.get("/api/v1/overview").status_code == 403
        assert client.get("/set-password").status_code == 200
    assert not new_controller.book.asked
    assert not new_controller.book.posted


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("", {"capital", "lower_case", "number", "length", "symbol"}),
        ("1234", {"capital", "lower_case", "length", "symbol"}),
        ("short1!", {"capital", "length"}),
        ("ALL-CAPITALS-1", {"lower_case"}),
        ("No-Number-Here", {"number"}),
        ("NoSymbolHere1", {"symbol"}),
    ],
)
def test_a_weak_password_is_refused_with_every_rule_it_breaks(
    new_controller: Served, password: str, broken: set[str]
) -> None:
    with signed_in(new_controller, "admin", "1234") as client:
        refused = change(new_controller, client, "/set-password", {"password": password, "confirm": password})
        assert refused.status_code == 422
        rules = [attributes for tag, attributes in Reader(refused.text).elements if "data-rule" in attributes]
        assert {str(rule["data-rule"]) for rule in rules if rule.get("class") != "kept"} == broken
    assert new_controller.people.factory


def test_two_different_passwords_are_refused(new_controller: Served) -> None:
    with signed_in(new_controller, "admin", "1234") as client:
        fields = {"password": PASSWORD, "confirm": f"{PASSWORD}x"}
        assert change(new_controller, client, "/set-password", fields).status_code == 422
        assert change(new_controller, client, "/set-password", {"password": PASSWORD}).status_code == 422
    assert new_controller.people.factory


def test_a_good_password_ends_the_factory_state_for_ever(new_controller: Served) -> None:
    with signed_in(new_controller, "admin", "1234") as client:
        before = client.cookies["llm_session"]
        done = change(new_controller, client, "/set-password", {"password": PASSWORD, "confirm": PASSWORD})
        assert done.headers["location"] == "/setup/clock"
        assert client.cookies["llm_session"] != before
        assert new_controller.book.posted == [SetUpDone()]
        assert client.get("/").status_code == 200
        client.cookies.set("llm_session", before)
    with browser(new_controller) as other:
        other.cookies.set("llm_session", before)
        assert other.get("/").headers["location"] == "/login"
        assert other.post("/login", data={"name": "admin", "password": "1234"}).status_code == 401


def test_the_first_password_is_not_chosen_without_the_sessions_token(new_controller: Served) -> None:
    with signed_in(new_controller, "admin", "1234") as client:
        assert client.post("/set-password", data={"password": PASSWORD, "confirm": PASSWORD}).status_code == 403
    assert new_controller.people.factory


def test_changing_a_password_asks_for_the_present_one(served: Served) -> None:
    with signed_in(served, "standard") as client:
        fields = {"password": "Another-Horse2", "confirm": "Another-Horse2"}
        assert change(served, client, "/set-password", {**fields, "current": "guess"}).status_code == 422
        assert change(served, client, "/set-password", {**fields, "current": PASSWORD}).status_code == 303
        assert client.get("/").status_code == 200
    assert not served.book.posted


# Signing in and out


def test_nobody_learns_whether_it_was_the_name_or_the_password(served: Served) -> None:
    with browser(served) as client:
        wrong_password = client.post("/login", data={"name": "standard", "password": "x"})
        wrong_name = client.post("/login", data={"name": "standarx", "password": "x"})
    assert wrong_password.status_code == wrong_name.status_code == 401
    assert wrong_password.text.replace("standard", "") == wrong_name.text.replace("standarx", "")


def test_too_many_failures_are_told_how_long_to_wait(served: Served) -> None:
    with browser(served) as client:
        answers = [client.post("/login", data={"name": "standard", "password": "x"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert "Try again in 30 seconds" in answers[-1].text


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(served: Served) -> None:
    with browser(served) as client:
        cookie = client.post("/login", data={"name": "standard", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie


def test_signing_out_ends_the_session_on_the_server(served: Served) -> None:
    with signed_in(served, "standard") as client:
        cookie = client.cookies["llm_session"]
        assert client.post("/logout").status_code == 403
        assert change(served, client, "/logout", {}).headers["location"] == "/login"
    assert cookie not in served.people.sessions


# What every response carries


def test_every_response_forbids_foreign_and_inline_code(served: Served) -> None:
    served.book.answer = Authorised(Verdict.ACCEPTED)  # an answer that no change can have: an error of ours
    with signed_in(served, "administrator") as client:
        broken = change(served, client, "/badges/rule", {"rule": "free"})
        assert broken.status_code == 500
        responses = [client.get(path) for path in ("/", "/login", "/nowhere", "/static/page.js", "/healthz")]
        responses.append(client.get("/", headers={"Host": "evil.example"}))
        for response in (broken, *responses):
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"


def test_pages_are_never_kept_by_caches(served: Served) -> None:
    with signed_in(served, "standard") as client:
        assert client.get("/").headers["cache-control"] == "no-store"
        assert client.get("/static/page.css").headers["cache-control"] == "no-cache"


def test_errors_are_calm_and_tell_nothing_of_the_inside(served: Served) -> None:
    served.book.answer = Authorised(Verdict.ACCEPTED)
    with signed_in(served, "administrator") as client:
        broken = change(served, client, "/badges/rule", {"rule": "free"})
        assert "log of this controller" in broken.text
        missing = client.get("/nowhere")
        assert (missing.status_code, "There is no such page." in missing.text) == (404, True)
        assert client.get("/stations/UNHEARD-OF").status_code == 404
        for response in (broken, missing):
            assert "Traceback" not in response.text
            assert "TypeError" not in response.text


# Hostile names


@pytest.mark.parametrize(
    "path",
    ["/", "/stations", "/badges", "/badges?badge_id=%22%3E%3Cscript%3E", "/settings", "/sessions", "/?q=%3Cscript%3E"],
)
def test_names_are_shown_as_they_are_and_never_run(served: Served, path: str) -> None:
    served.book.state = hostile()
    with signed_in(served, "administrator") as client:
        html = client.get(path, params={"size": "50"} if "?" not in path else None).text
        page = Reader(html)
        for tag, attributes in page.elements:
            assert tag != "script" or "src" in attributes
            assert not any(name.startswith("on") or name == "style" for name in attributes)
            assert tag != "img"
            for link in ("href", "src", "action"):
                assert str(attributes.get(link, "/")).startswith(("/", "#", "?"))
        assert "<h1>pwned" not in html
        if path == "/":
            assert all(name in page.text for name in NAMES_TO_ESCAPE)


def test_the_stream_escapes_names_too() -> None:
    with serving(hostile()) as served, signed_in(served, "standard") as client:
        message = first_message(client)
    assert "<script>" not in message
    assert "&lt;script&gt;" in message
    assert "onerror=alert(2)&gt;" in message


# The overview


def first_message(client: httpx.Client, path: str = "/live") -> str:
    with client.stream("GET", path) as response:
        lines = itertools.takewhile(bool, response.iter_lines())
        return "\n".join(line.removeprefix("data: ") for line in lines)


def test_the_overview_answers_who_charges_how_much_and_why(served: Served) -> None:
    with signed_in(served, "standard") as client:
        page = Reader(client.get("/").text)
    for fact in ("Dynamic", "50.4", "of 63 A", "9 online", "Badge required", "A1B2C3 · Müller", "31.9"):
        assert fact in page.text
    assert "Shares L1 of Cluster #1 with 1 car." in page.text
    assert "Bay 7 is offline; what it may still draw is kept for it." in page.text
    assert "2 need attention" in page.text


def test_only_those_who_can_mend_an_alarm_are_led_to_where(served: Served) -> None:
    for role in Role:
        with signed_in(served, role) as client:
            assert ('href="/stations/ST7"' in client.get("/").text) == (role is Role.ADMINISTRATOR)


def test_a_public_overview_never_shows_names_and_badges() -> None:
    with serving(busy(dashboard=Dashboard.PUBLIC)) as served, browser(served) as client:
        for html in (client.get("/").text, first_message(client)):
            assert "Bay 1" in html
            for secret in ("A1B2C3", "Müller", "De Vries", "BEEF01", STRANGER_TAG, "5 badges"):
                assert secret not in html
        for query in ("A1B2C3", "Müller"):
            assert "No station has this label" in client.get("/", params={"q": query}).text
        assert client.get("/sessions").headers["location"].startswith("/login")
        with signed_in(served, "standard") as known:
            assert "Müller" in known.get("/").text


def test_the_list_is_filtered_by_label_and_cut_into_pages(served: Served) -> None:
    served.book.state = attrs.evolve(
        served.book.state,
        site=attrs.evolve(
            served.book.state.site,
            stations=(*served.book.state.site.stations, *(Station(f"X{i}", f"Visitor {i:02}") for i in range(15))),
        ),
    )
    with signed_in(served, "standard") as client:
        found = Reader(client.get("/", params={"q": "visitor", "size": "10"}).text).text
        assert "Visitor 00" in found
        assert "Visitor 09" in found
        assert "Visitor 10" not in found
        assert "Bay 1" not in found.split("Why")[1]
        second = Reader(client.get("/", params={"q": "visitor", "size": "10", "page": "2"}).text).text
        assert "Visitor 10" in second
        assert "Visitor 09" not in second
        assert "Visitor 14" in client.get("/", params={"q": "visitor", "size": "20"}).text


def test_an_empty_controller_says_what_to_do_next(served: Served) -> None:
    served.book.state = empty()
    with signed_in(served, "administrator") as client:
        assert "No current is released for charging yet" in client.get("/").text
        assert "No station has connected yet" in client.get("/stations").text
        assert "No badge yet" in client.get("/badges").text


def test_a_page_speaks_the_readers_language(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert "Wohin der Strom fließt" in client.get("/", headers={"Accept-Language": "de-DE"}).text
        chosen = change(served, client, "/language", {"language": "nl", "next": "/badges"})
        assert chosen.headers["location"] == "/badges"
        assert '<html lang="nl">' in client.get("/", headers={"Accept-Language": "de-DE"}).text
        assert "decimal=comma" in client.get("/sessions").text


def test_values_that_the_control_loop_no_longer_renews_are_called_old(served: Served) -> None:
    with signed_in(served, "standard") as client:
        now_ms = served.desk.clock.monotonic_ms()
        served.book.state = attrs.evolve(served.book.state, ticked_ms=now_ms)
        assert "s old" not in client.get("/").text
        served.book.state = attrs.evolve(served.book.state, ticked_ms=now_ms - 20_000)
        assert "These values are 20 s old" in client.get("/").text


# The stream


@attrs.define
class FixedClock:
    now_ms: int = 0

    def monotonic_ms(self) -> int:
        return self.now_ms

    def utc(self) -> datetime:
        return NOON


def test_many_dashboards_share_one_rendering_a_second(served: Served) -> None:
    clock = FixedClock(1_000)
    live = Live(attrs.evolve(served.desk, clock=clock))
    english = Variant(Words("en", "Europe/Paris"), Role.STANDARD, Listing())
    first = live.rendering(english)
    clock.now_ms = 1_999
    served.book.state = attrs.evolve(served.book.state, alarms={})
    assert live.rendering(english) is first
    assert live.rendering(attrs.evolve(english, role=None)) != first
    clock.now_ms = 2_000
    assert live.rendering(english) != first


def test_the_stream_tells_a_change_within_two_seconds(served: Served) -> None:
    with signed_in(served, "standard") as client, client.stream("GET", "/live") as stream:
        lines = stream.iter_lines()
        assert any("2 need attention" in line for line in itertools.takewhile(bool, lines))
        served.book.state = attrs.evolve(served.book.state, alarms={})
        messages = [list(itertools.takewhile(bool, lines)) for _ in range(2)]
        assert any("Running" in line for line in messages[-1])


def test_the_stream_ends_with_the_right_to_see_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "RECHECK_S", 0)
    with signed_in(served, "standard") as client, client.stream("GET", "/live") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        served.people.sessions.clear()
        assert list(lines)[-1] == ""  # it came to its end


def test_more_streams_than_can_be_served_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "MOST_STREAMS", 1)
    with (
        serving(busy()) as served,
        signed_in(served, "standard") as client,
        client.stream("GET", "/live") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines)
        assert status(client, "/live") == 503
        assert next(lines)


# Stations


def test_adopting_a_station_saves_what_was_typed(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        form = Reader(client.get("/stations/EV-NEW-01").text)
        assert form.field("max_a")["value"] == "16"
        assert change(served, client, "/stations/EV-NEW-01", ADOPTION).headers["location"] == "/stations?done=adopted"
    rotation = (Phase.L2, Phase.L3, Phase.L1)
    station = Station("EV-NEW-01", "Bay 9", "c2", rotation, max_ma=32_000, min_ma=6_500)
    assert served.book.asked == [SiteEdited("administrator", PutStation(station))]


def test_editing_a_station_keeps_what_the_form_does_not_show(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        change(served, client, "/stations/ST7", {**ADOPTION, "cluster": "-"})
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutStation)
    assert (edited.edit.station.fallback_ma, edited.edit.station.cluster) == (6_000, None)


def test_what_the_core_refuses_is_told_at_its_field_and_keeps_what_was_typed(served: Served) -> None:
    faults = (Fault("/stations/8/min_a", "6 A is the least"), Fault("/stations", "the floors add up to too much"))
    served.book.answer = NotSaved(faults)
    with signed_in(served, "administrator") as client:
        refused = change(served, client, "/stations/EV-NEW-01", ADOPTION)
    page = Reader(refused.text)
    assert refused.status_code == 422
    assert (page.field("min_a")["aria-invalid"], page.field("min_a")["value"]) == ("true", "6,5")
    assert "6 A is the least" in page.text
    assert "the floors add up to too much" in page.text
    assert page.field("name")["value"] == "Bay 9"


def test_what_cannot_be_stored_is_told_so(served: Served) -> None:
    served.book.answer = NotStored("disk full")
    with signed_in(served, "administrator") as client:
        assert "Nothing can be stored" in change(served, client, "/stations/EV-NEW-01", ADOPTION).text
        assert "Nothing can be stored" in change(served, client, "/stations/ST1/remove", {}).text
        assert "Nothing can be stored" in change(served, client, "/badges/bulk", CHANGES["/badges/bulk"][1]).text


@pytest.mark.parametrize(
    ("field", "typed"),
    [("max_a", "much"), ("max_a", "1e3"), ("min_a", "-6"), ("min_a", ""), ("name", "x" * 61), ("name", "a\x00b")],
)
def test_nonsense_in_a_field_reaches_nobody(served: Served, field: str, typed: str) -> None:
    with signed_in(served, "administrator") as client:
        refused = change(served, client, "/stations/EV-NEW-01", {**ADOPTION, field: typed})
    assert refused.status_code == 422
    assert Reader(refused.text).field(field)["aria-invalid"] == "true"
    assert not served.book.asked


def test_removing_a_station_asks_the_core(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        change(served, client, "/stations/ST1/remove", {})
    assert served.book.asked == [SiteEdited("administrator", RemoveStation("ST1"))]


def test_the_address_to_type_into_a_station_is_shown(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        page = Reader(client.get("/stations").text)
    assert "ws://192.168.10.2:9000/ocpp/" in page.text
    assert "EV-NEW-01" in page.text


# Sessions, badges, settings


def test_sessions_are_listed_newest_first_with_a_link_to_all_of_them(served: Served) -> None:
    with signed_in(served, "standard") as client:
        page = client.get("/sessions", params={"from": "2026-03-01", "to": "2026-03-10"})
    text = Reader(page.text).text
    assert "still open" in text
    assert text.index("10 Mar 2026 11:48") < text.index("10 Mar 2026 06:00") < text.index("9 Mar 2026 23:00")
    assert "/api/v1/sessions?from=2026-03-01&amp;to=2026-03-10&amp;format=csv&amp;decimal=point" in page.text


@pytest.mark.parametrize(
    "asked",
    [
        {"from": "2026-03-10", "to": "2026-03-01"},
        {"from": "2024-01-01", "to": "2026-03-01"},
        {"from": "2026-02-30", "to": "2026-03-01"},
        {"from": "2026-03-01"},
        {"from": "0001-01-01", "to": "0001-01-02"},
        {"from": "9999-12-31", "to": "9999-12-31"},
    ],
)
def test_a_date_range_that_makes_no_sense_is_told_so(served: Served, asked: dict[str, str]) -> None:
    with signed_in(served, "standard") as client:
        answered = client.get("/sessions", params=asked)
    assert answered.status_code == 422
    assert 'role="alert"' in answered.text


def test_a_day_is_a_day_at_the_site(served: Served) -> None:
    """The session of 7 March 22:00 local time is one of that day, although it ended on the next."""
    with signed_in(served, "standard") as client:
        text = Reader(client.get("/sessions", params={"from": "2026-03-07", "to": "2026-03-07"}).text).text
    assert "7 Mar 2026 22:00" in text
    assert "8 Mar 2026 05:00" not in text


def test_a_badge_is_added_by_hand(served: Served) -> None:
    fields = {"badge_id": STRANGER_TAG, "type": "super", "comment": " Jo ", "expires_on": "2030-01-31"}
    with signed_in(served, "advanced") as client:
        assert Reader(client.get("/badges").text).text.count(STRANGER_TAG) == 2  # refused before, ready to be added
        assert change(served, client, "/badges", fields).status_code == 303
    badge = Badge(STRANGER_TAG, BadgeType.SUPER, comment="Jo", expires_on=NOON.date().replace(2030, 1, 31))
    assert served.book.asked == [BadgesEdited("advanced", put=(badge,))]


@pytest.mark.parametrize(
    "fields",
    [
        {"badge_id": "a1:b2:c3", "type": "standard"},
        {"badge_id": " ", "type": "standard"},
        {"badge_id": "x" * 21, "type": "standard"},
        {"badge_id": "x", "type": "royal"},
        {"badge_id": "x", "type": "standard", "expires_on": "30.02.2030"},
    ],
)
def test_a_badge_that_is_known_or_makes_no_sense_is_refused(served: Served, fields: dict[str, str]) -> None:
    with signed_in(served, "advanced") as client:
        assert change(served, client, "/badges", fields).status_code == 422
    assert not served.book.asked


def test_a_badge_is_changed_and_keeps_its_number(served: Served) -> None:
    fields = {"state": "inactive", "type": "super", "comment": "Müller", "group": "Floor 2", "where": "chosen"}
    with signed_in(served, "advanced") as client:
        change(served, client, "/badges/edit?id=a1:b2:c3", {**fields, "stations": "ST2"})
        assert change(served, client, "/badges/edit?id=gone", fields).status_code == 404
        assert change(served, client, "/badges/edit?id=a1b2c3", {**fields, "email": "nobody"}).status_code == 422
        assert change(served, client, "/badges/edit?id=a1b2c3", fields).status_code == 422  # chosen, but none ticked
    before = served.book.state.badges["a1b2c3"]
    wanted = attrs.evolve(before, state=BadgeState.INACTIVE, group="Floor 2", stations=frozenset({"ST2"}))
    assert served.book.asked == [BadgesEdited("advanced", put=(wanted,))]


def test_the_supply_is_saved_per_phase(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert change(served, client, "/settings/supply", SUPPLY).headers["location"] == "/settings?done=saved#supply"
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutSupply)
    supply = edited.edit.supply
    assert (supply.mode, supply.fuse_ma) == (Mode.DYNAMIC, PerPhase(63_000, 50_000, 63_000))
    assert (supply.derated_ma, supply.fallback_ma) == (PerPhase(50_400, 40_000, 50_400), PerPhase.same(16_000))


def test_a_one_phase_supply_has_nothing_on_the_other_phases(served: Served) -> None:
    single = {**SUPPLY, "phases": "1", "fuse_a": "40", "derated_a": "32"}
    with signed_in(served, "administrator") as client:
        change(served, client, "/settings/supply", single)
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutSupply)
    assert (edited.edit.supply.phases, edited.edit.supply.fuse_ma) == (1, PerPhase(40_000))


@pytest.mark.parametrize(
    ("field", "typed"),
    [("password", "wrong"), ("password", ""), ("fuse_a", "63 / 50"), ("fuse_a", "∞"), ("mode", "magic")],
)
def test_the_supply_is_not_changed_by_a_wrong_password_or_nonsense(served: Served, field: str, typed: str) -> None:
    with signed_in(served, "administrator") as client:
        refused = change(served, client, "/settings/supply", {**SUPPLY, field: typed})
    assert refused.status_code == 422
    assert f'id="{field}-fault"' in refused.text
    assert PASSWORD not in refused.text
    assert not served.book.asked


def test_a_value_shown_in_a_field_is_read_back_as_the_same_value(served: Served) -> None:
    before = served.book.state.site.supply
    with signed_in(served, "administrator") as client:
        page = Reader(client.get("/settings", headers={"Accept-Language": "de"}).text)
        shown = {name: str(page.field(name)["value"]) for name in ("fuse_a", "derated_a", "static_max_a", "fallback_a")}
        change(served, client, "/settings/supply", {**SUPPLY, **shown})
    assert served.book.asked == [SiteEdited("administrator", PutSupply(before))]


def test_the_buildings_meter_is_set_and_taken_away(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        change(served, client, "/settings/meter", METER)
        change(served, client, "/settings/meter", {**METER, "model": ""})
        assert change(served, client, "/settings/meter", {**METER, "port": "70000"}).status_code == 422
    meter = MeterSetup("site", "shelly_pro_3em", "10.0.0.7", 502, 3)
    assert served.book.asked == [
        SiteEdited("administrator", PutMeters((meter,))),
        SiteEdited("administrator", PutMeters(())),
    ]


def test_access_and_the_controllers_own_settings_are_saved(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        change(served, client, "/badges/rule", {"rule": "free"})
        change(served, client, "/system", SYSTEM)
        nowhere = change(served, client, "/system", {**SYSTEM, "time_zone": "../etc/passwd"})
    access, system = served.book.asked
    assert access == SiteEdited("administrator", PutAccess(AccessRule.FREE))
    assert isinstance(system, SiteEdited)
    assert isinstance(system.edit, PutSystem)
    named = system.edit.system
    assert (named.name, named.country, named.time_zone, named.language) == ("Depot", "NL", "Europe/Paris", "fr")
    assert named.dashboard is Dashboard.PUBLIC
    assert nowhere.status_code == 422


def test_a_station_is_given_a_password_that_its_profile_asks_for(served: Served) -> None:
    with signed_in(served, "administrator") as client:

        def told(**fields: str) -> str:
            return change(served, client, "/stations/ST9/security", fields).headers["location"]

        assert "told=key_needed" in told(profile="2")
        assert "told=key_unfit" in told(profile="2", key="short")
        assert not served.book.asked
        assert "told=key_" in told(profile="2", key="Correct-Horse-Battery")
        assert "Correct-Horse-Battery" not in client.get("/stations/ST9").text
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutStation)
    assert edited.edit.station.security_profile == 2


# Set-up


def test_the_first_password_leads_into_the_wizard(new_controller: Served) -> None:
    with signed_in(new_controller, "admin", "1234") as client:
        chosen = change(new_controller, client, "/set-password", {"password": PASSWORD, "confirm": PASSWORD})
        assert chosen.headers["location"] == "/setup/clock"


def test_each_step_of_the_wizard_saves_and_leads_to_the_next(served: Served) -> None:
    onward = ["dashboard", "supply", "meter", "stations", "done"]
    with signed_in(served, "administrator") as client:
        for (path, fields), following in zip(SET_UP.items(), onward, strict=True):
            assert change(served, client, path, fields).headers["location"] == f"/setup/{following}"
    assert len(served.book.asked) == len(SET_UP)


def test_a_wizard_that_was_left_continues_where_it_was(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert client.get("/setup").headers["location"] == "/setup/clock"
        client.get("/setup/stations")
        assert client.get("/setup").headers["location"] == "/setup/stations"
        assert client.get("/setup/unheard-of").status_code == 404


def test_a_static_site_is_not_asked_for_a_meter(served: Served) -> None:
    state = served.book.state
    supply = attrs.evolve(state.site.supply, mode=Mode.STATIC)
    served.book.state = attrs.evolve(state, site=attrs.evolve(state.site, supply=supply))
    with signed_in(served, "administrator") as client:
        assert "/setup/meter" not in client.get("/setup/stations").text
        assert 'href="/setup/stations"' in client.get("/setup/supply").text


def test_a_meter_is_tested_before_the_wizard_goes_on(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert change(served, client, "/setup/meter", METER).headers["location"] == "/setup/meter"
        assert "No answer from 192.168.10.20:502" in client.get("/setup/meter").text


def test_a_first_supply_needs_no_second_password_and_a_changed_one_does(served: Served) -> None:
    fields = {name: value for name, value in SUPPLY.items() if name != "password"}
    with signed_in(served, "administrator") as client:
        assert change(served, client, "/setup/supply", fields).status_code == 422
        served.book.state = empty()
        assert change(served, client, "/setup/supply", fields).status_code == 303


def test_the_clock_is_set_only_when_another_time_was_typed(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        page = Reader(client.get("/setup/clock").text)
        shown = {**CLOCK, **{name: str(page.field(name)["value"]) for name in ("date", "hour")}}
        assert change(served, client, "/setup/clock", {**shown, "hour": "23:00"}).status_code == 422
        assert change(served, client, "/setup/clock", {**shown, "hour": "soon"}).status_code == 422
        assert not served.book.asked
        assert change(served, client, "/setup/clock", shown).status_code == 303


def test_the_tutorial_tells_what_is_done_and_what_is_missing(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        page = client.get("/tutorial").text
        assert "1 station waits to be adopted." in page
        assert page.count('class="open"') == 2  # the silent meter and the waiting station
        served.book.state = empty()
        assert client.get("/tutorial").text.count('class="open"') == 5


def test_adopting_in_the_wizard_leads_back_to_it(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        saved = change(served, client, "/stations/EV-NEW-01?next=/setup/stations", ADOPTION)
        assert saved.headers["location"] == "/setup/stations?done=adopted"


def test_a_meter_with_transformers_is_saved_with_its_ratio(served: Served) -> None:
    rings = {"measures": "transformer", "primary_a": "200", "secondary_a": "5", "applied_by": "meter", "invert": "yes"}
    with signed_in(served, "administrator") as client:
        change(served, client, "/settings/meter", {**METER, **rings})
        assert change(served, client, "/settings/meter", {**METER, **rings, "primary_a": "20"}).status_code == 422
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutMeters)
    [meter] = edited.edit.meters
    assert (meter.ct, meter.invert) == (CurrentTransformer(200, 5, "meter"), True)
