"""The JSON API over real sockets: exact shapes, every route for every role, every wrong input with its pointer."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import uvicorn
from memory_keys import MemoryKeys
from memory_uplink import MemoryUplink
from patience import PATIENCE_S, fair_s
from starlette.applications import Starlette

from integration.made_up_history import WaveHistory, silent_meter
from llm_adapters.files.badges_csv import parse_badges
from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.web.api import api_routes
from llm_adapters.web.desk import Desk
from llm_core import (
    EVERYTHING,
    Alarm,
    AlarmCode,
    Answer,
    AuditEntry,
    Badge,
    CallOutcome,
    CommissionWish,
    Ended,
    Event,
    ExternalLimit,
    Json,
    LimitConfirmed,
    LimitRecord,
    MeterSampled,
    MeterValuesReceived,
    NotStored,
    Now,
    Order,
    PerPhase,
    Queued,
    Reply,
    Request,
    Role,
    Save,
    Session,
    SessionFilter,
    SessionPage,
    SessionState,
    StartRequested,
    State,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationTurnedAway,
    Status,
    StatusChanged,
    Tick,
    Token,
    TryLater,
    TurnedAwayFor,
    UplinkKind,
    UplinkMessage,
    User,
    WebSession,
    WrongPassword,
    step,
)

NOON = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)  # noon in Amsterdam
MIB = 1024 * 1024
STRONG = "Correct-Horse1"
CSRF = "the-csrf-token"
PLAIN: dict[str, Any] = {"trust_env": False, "timeout": PATIENCE_S, "verify": False}


class Clock:
    """Time that moves only when a test moves it."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def monotonic_ms(self) -> int:
        return self.ms

    def utc(self) -> datetime:
        return NOON + timedelta(milliseconds=self.ms - 1_000_000)


class CoreInbox:
    """The core's own `step` behind the port: what the controller does, without its loop and its disk."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.state = State(factory=False)
        self.disk_full = False
        self.audited: list[AuditEntry] = []

    def post(self, event: Event) -> None:
        self.state = self._step(event)[0]

    async def ask(self, event: Request) -> Answer:
        if self.disk_full:
            return NotStored("disk full")
        self.state, answer = self._step(event)
        return answer

    def _step(self, event: Event) -> tuple[State, Answer]:
        outcome = step(self.state, event, Now(self.clock.monotonic_ms(), self.clock.utc(), 7200))
        self.audited += [e.record for e in outcome.effects if isinstance(e, Save) and isinstance(e.record, AuditEntry)]
        answers = [effect.answer for effect in outcome.effects if isinstance(effect, Reply)]
        return outcome.state, answers[0] if answers else NotStored("no answer")


class Wall:
    """Stations that are told what to answer; they write down what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, Json]]] = []
        self.outcome = CallOutcome("Accepted", {"status": "Accepted"})
        self.commissioned: list[tuple[str, str, CommissionWish]] = []
        self.is_there = True

    def commission(self, station_id: str, by: str, wish: CommissionWish) -> bool:
        self.commissioned.append((station_id, by, wish))
        return self.is_there

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        assert deadline_s
        self.asked.append((station_id, action, payload))
        return self.outcome


class People:
    """Accounts in memory: a token and a browser session per role, one of them with a temporary password."""

    def __init__(self) -> None:
        self.factory = False
        self.added: dict[str, tuple[User, str, str]] = {}
        self.given: dict[str, Token] = {}

    async def is_factory(self) -> bool:
        return self.factory

    async def sign_in(self, name: str, password: str, address: str) -> WebSession | WrongPassword | TryLater:
        raise NotImplementedError

    async def web_session(self, cookie: str) -> WebSession | None:
        if cookie == "temporary":
            return WebSession(User("new", Role.ADMINISTRATOR, temporary=True), cookie, CSRF)
        return WebSession(User("anna", Role(cookie)), cookie, CSRF) if cookie in list(Role) else None

    async def sign_out(self, cookie: str) -> None:
        raise NotImplementedError

    async def set_password(self, name: str, password: str, by: str, *, temporary: bool = False) -> None:
        user = next(user for user in await self.users() if user.name == name)
        self.added[name] = (attrs.evolve(user, temporary=temporary), password, by)

    async def check_password(self, name: str, password: str) -> bool:
        return (name, password) == ("anna", STRONG)

    async def users(self) -> tuple[User, ...]:
        return (
            User("admin", Role.ADMINISTRATOR),
            *(user for user, _, _ in self.added.values() if user.name != "admin"),
        )

    async def add_user(self, user: User, password: str, by: str) -> bool:
        if user.name in {known.name for known in await self.users()}:
            return False
        self.added[user.name] = (user, password, by)
        return True

    async def remove_user(self, name: str, by: str) -> bool:
        assert by
        return self.added.pop(name, None) is not None

    async def set_role(self, name: str, role: Role, by: str) -> bool:
        if name not in self.added:
            return False  # the only administrator
        user, password, _ = self.added[name]
        self.added[name] = (attrs.evolve(user, role=role), password, by)
        return True

    async def token(self, token: str) -> Token | None:
        role = token.removeprefix("llm_")
        return Token(f"{role} script", Role(role), NOON) if role in list(Role) else None

    async def tokens(self) -> tuple[Token, ...]:
        return tuple(self.given.values())

    async def create_token(self, role: Role, label: str, by: str) -> str:
        assert by
        self.given[label] = Token(label, role, NOON)
        return f"llm_secret_of_{label}"

    async def revoke_token(self, label: str, by: str) -> bool:
        assert by
        return self.given.pop(label, None) is not None


class Shelf:
    """An archive that remembers what it was asked for."""

    def __init__(self) -> None:
        self.kept: list[Session] = []
        self.changes: list[AuditEntry] = []
        self.limits: list[LimitRecord] = []
        self.asked: tuple[datetime, datetime] | None = None

    async def sessions(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter = EVERYTHING
    ) -> AsyncIterator[Session]:
        self.asked = (from_utc, to_utc)
        for session in filter(wanted.admits, self.kept):
            yield session

    async def session_page(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter, limit: int, skip: int
    ) -> SessionPage:
        found = [session async for session in self.sessions(from_utc, to_utc, wanted)][::-1]
        return SessionPage(tuple(found[skip : skip + limit]), len(found), sum(s.energy_wh for s in found))

    async def audit(self, limit: int, *, skip: int = 0, text: str = "") -> AsyncIterator[AuditEntry]:
        found = [entry for entry in reversed(self.changes) if text in f"{entry.by} {entry.what}"]
        for entry in found[skip : skip + limit]:
            yield entry

    async def limit_records(self, most: int) -> tuple[LimitRecord, ...]:
        return tuple(self.limits[::-1][:most])


@attrs.define
class House:
    """A controller on a loopback port, and what stands behind it."""

    url: str
    clock: Clock
    inbox: CoreInbox
    people: People
    shelf: Shelf
    faults: list[str]
    wall: Wall
    keys: MemoryKeys
    uplink: MemoryUplink

    def client(self, role: Role | None = Role.ADMINISTRATOR) -> httpx.Client:
        headers = {"Authorization": f"Bearer llm_{role}"} if role is not None else {}
        return httpx.Client(base_url=self.url, headers=headers, **PLAIN)

    def browser(self, cookie: str, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, cookies={"llm_session": cookie}, headers=headers, **PLAIN)


async def copied(target: Path) -> None:
    await asyncio.to_thread(target.write_text, "a copy")


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    clock, people, shelf, faults, wall = Clock(), People(), Shelf(), list[str](), Wall()
    inbox, keys, uplink = CoreInbox(clock), MemoryKeys(), MemoryUplink()
    desk = Desk(
        inbox=inbox,
        accounts=people,
        archive=shelf,
        history=WaveHistory(),
        test_meter=silent_meter,
        clock=clock,
        station_keys=keys,
        hand_key=keys.hand,
        station_url="ws://127.0.0.1:9000/ocpp/",
        version="1.2.3",
        allowed_hosts=frozenset({"127.0.0.1"}),
        stations=wall,
        healthy=lambda: faults[0] if faults else None,
        uplink=uplink,
        meter_models=("eastron_sdm630", "abb_b23"),
        write_sessions=write_sessions,
        parse_badges=parse_badges,
        set_clock=lambda _: False,
        back_up=copied,
        write_bundle=copied,
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # who comes before the server runs waits instead of being refused
    config = uvicorn.Config(
        Starlette(routes=api_routes(desk)),
        log_config=None,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield House(url, clock, inbox, people, shelf, faults, wall, keys, uplink)
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def house(served: House) -> House:
    """The same server for every test, as if it had just been set up."""
    served.clock.ms = 1_000_000
    served.inbox.state = State(factory=False)
    served.inbox.disk_full = False
    served.people.factory = False
    served.people.added.clear()
    served.people.given.clear()
    served.shelf.changes.clear()
    served.shelf.kept.clear()
    served.shelf.asked = None
    served.shelf.limits.clear()
    served.faults.clear()
    served.wall.asked.clear()
    served.wall.commissioned.clear()
    served.wall.is_there = True
    served.wall.outcome = CallOutcome("Accepted", {"status": "Accepted"})
    served.keys.keys.clear()
    served.keys.handed.clear()
    return served


@pytest.fixture
def admin(house: House) -> Iterator[httpx.Client]:
    with house.client() as client:
        yield client


SUPPLY = {"mode": "static", "phases": 3, "fuse_a": 63, "static_max_a": 40}


def busy(house: House, admin: httpx.Client) -> None:
    """One car charges at an adopted station, another station waits to be adopted."""
    assert admin.put("/api/v1/supply", json=SUPPLY).is_success
    assert admin.post("/api/v1/badges", json={"badge_id": "A1:B2:C3", "comment": "Müller"}).is_success
    assert admin.post("/api/v1/stations", json={"id": "ST1", "name": "Bay 1", "max_a": 16}).is_success
    for event in (
        StationConnected("ST1", "127.0.0.1", "/ocpp/ST1"),
        StationBooted("ST1", "Acme", "Post", "1.0", "SN-1"),
        StatusChanged("ST1", 1, Status.CHARGING),
        StartRequested("ST1", 1, "a1b2c3", 1_000),
        MeterValuesReceived("ST1", 1, current_ma=(9_800, 9_700, 0), register_wh=2_500),
        StationConnected("NEW1", "127.0.0.2", "/ocpp/NEW1"),
        Tick(),
    ):
        house.inbox.post(event)
        house.clock.ms += 1_000


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, after checking that it is a good one (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert len(document["detail"]) > 10
    return document


def pointers(response: httpx.Response, status: int = 422) -> list[str]:
    return [error["pointer"] for error in problem(response, status).get("errors", [])]


# Overview and what else is known


def test_the_overview_has_the_promised_shape(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    seen = admin.get("/api/v1/overview").json()
    assert seen["status"] == "running"
    assert seen["mode"] == "static"
    assert seen["alarms"] == []
    site = seen["nodes"][0]
    assert (site["id"], site["limit_a"], site["total_a"]) == ("site", {"L1": 40, "L2": 40, "L3": 40}, None)
    assert site["stations_a"] == {"L1": 9.8, "L2": 9.7, "L3": 0}
    assert [(station["id"], station["name"], station["state"]) for station in seen["stations"]] == [
        ("ST1", "Bay 1", "online"),
        ("NEW1", "NEW1", "pending"),
    ]
    connector = seen["stations"][0]["connectors"][0]
    assert (connector["connector"], connector["status"]) == (1, "Charging")
    assert connector["current_a"] == {"L1": 9.8, "L2": 9.7, "L3": 0}
    assert isinstance(connector["limit_a"], int | float)
    assert set(connector) >= {"reason", "limited_by"}
    session = connector["session"]
    assert (session["badge_id"], session["user"]) == ("A1:B2:C3", "Müller")
    assert session["started_at"].startswith("2026-07-01T10:00:0")
    assert session["started_at"].endswith("Z")
    assert session["energy_kwh"] == 1.5
    assert set(session) == {
        "transaction_id",
        "badge_id",
        "user",
        "started_at",
        "energy_kwh",
        "charging_s",
        "idle_s",
    }


def test_a_cluster_without_a_limit_of_its_own_shows_the_one_above(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    tree = [{"id": "hall", "limit_a": 25}, {"id": "default", "name": "Cluster #1", "parent": "hall"}, {"id": "roof"}]
    assert admin.put("/api/v1/clusters", json={"clusters": tree}).is_success
    house.inbox.post(Tick())
    nodes = {node["id"]: node for node in admin.get("/api/v1/overview").json()["nodes"]}
    assert (nodes["default"]["name"], nodes["roof"]["name"]) == ("Cluster #1", "roof")
    assert nodes["default"]["limit_a"] == {"L1": 25, "L2": 25, "L3": 25}
    assert nodes["roof"]["limit_a"] == {"L1": 40, "L2": 40, "L3": 40}


def test_an_alarm_asks_for_attention_and_names_its_station(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    alarm = Alarm(AlarmCode.STATION_OFFLINE, "ST1", NOON)
    house.inbox.state = attrs.evolve(house.inbox.state, alarms={(alarm.code, alarm.subject): alarm})
    seen = admin.get("/api/v1/overview").json()
    assert seen["status"] == "attention"
    shown = seen["alarms"][0]
    assert (shown["code"], shown["since"], shown["link"]) == (
        "station_offline",
        "2026-07-01T10:00:00Z",
        "/stations/ST1",
    )
    assert "Bay 1" in shown["text"]


def test_a_single_phase_site_shows_only_its_phase(admin: httpx.Client) -> None:
    assert admin.put(
        "/api/v1/supply", json={"mode": "static", "phases": 1, "fuse_a": 35, "static_max_a": 32}
    ).is_success
    assert admin.get("/api/v1/supply").json()["fuse_a"] == {"L1": 35}
    added = admin.post("/api/v1/stations", json={"id": "ST1"})
    assert added.json()["phase_rotation"] == ["L1"]


def test_every_decision_explains_itself(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    decided = admin.get("/api/v1/decisions").json()
    connector = decided["connectors"][0]
    assert (connector["station_id"], connector["connector"]) == ("ST1", 1)
    assert connector["held_a"] == 16  # the station has acknowledged nothing yet
    assert connector["current_a"] == {"L1": 9.8, "L2": 9.7, "L3": 0}
    assert set(connector) >= {"grant_a", "reason", "limited_by", "offered_a"}
    assert decided["nodes"][0]["worst_a"] == {"L1": 16, "L2": 16, "L3": 16}
    assert (connector["lease"], connector["caps_a"], connector["wish"], decided["changes"]) == (None, {}, None, [])


def test_the_binding_limit_of_a_grant_is_found_at_one_look(house: House, admin: httpx.Client) -> None:
    """A limit of 10 A from outside binds the one car on L1 of the site: which, how large, and what else is there."""
    busy(house, admin)
    inbox, now_ms = house.inbox, house.clock.monotonic_ms
    inbox.post(StationClockRead("ST1", 0))
    limit_id = admin.post("/api/v1/limits", json={"limit_a": 10}).json()["id"]
    for _ in range(12):
        house.clock.ms += 2_000
        inbox.post(Tick())
        ledger = inbox.state.connectors["ST1", 1].ledger
        if ledger.in_flight is not None:
            inbox.post(LimitConfirmed("ST1", 1, ledger.in_flight))
    decided = admin.get("/api/v1/decisions").json()
    connector, site = decided["connectors"][0], decided["nodes"][0]
    assert (connector["grant_a"], connector["reason"]) == (10, "external_limit")
    assert connector["binding"] == {
        "node": "site",
        "phase": connector["limited_by"]["phase"],
        "limit_a": 10,
        "room_a": 10,
        "allowed_a": 10,
        "worst_a": 10,
        "free_a": 0,
        "building_a": None,
        "external": True,
    }
    assert (site["external_limits"], site["room_a"]["L1"]) == ([limit_id], 10)
    assert (connector["lease"]["limit_a"], connector["lease"]["left_s"] > 0) == (10, True)
    newest = decided["changes"][0]
    assert (newest["station_id"], newest["to_a"], newest["reason"]) == ("ST1", 10, "external_limit")
    assert connector["since_s"] == (now_ms() - inbox.state.connectors["ST1", 1].changed_ms) / 1000


def test_behind_a_meter_the_building_is_told_as_an_interval(house: House, admin: httpx.Client) -> None:
    body = {"mode": "dynamic", "fuse_a": 63, "derated_a": 50, "fallback_a": 16}
    assert admin.put("/api/v1/supply", json=body).status_code == 200
    meter = {"node": "site", "model": "abb_b23", "host": "h"}
    assert admin.put("/api/v1/meters", json={"meters": [meter]}).status_code == 200
    house.inbox.post(MeterSampled("site", (20_000, 21_000, 22_000), house.clock.ms, 1))
    house.inbox.post(Tick())
    site = admin.get("/api/v1/decisions").json()["nodes"][0]
    assert site["building_a"] == {p: {"low": a, "high": a} for p, a in (("L1", 20), ("L2", 21), ("L3", 22))}
    assert site["room_a"] == {"L1": 30, "L2": 29, "L3": 28}


def test_a_network_without_neutral_is_refused_with_the_reason(admin: httpx.Client) -> None:
    refused = admin.put("/api/v1/supply", json={"static_max_a": 40, "network": "without_neutral"})
    assert pointers(refused, 422) == ["/network"]
    assert "two lines" in refused.json()["detail"]
    assert admin.get("/api/v1/supply").json()["network"] == "with_neutral"


def test_a_limit_from_outside_holds_is_shown_and_is_taken_back(house: House, admin: httpx.Client) -> None:
    body = {"limit_kw": 4.2, "ends_at": "2026-07-01T20:00:00+02:00", "reason": "§14a"}
    set_ = admin.post("/api/v1/limits", json=body)
    assert set_.status_code == 201
    limit = set_.json()
    assert set_.headers["Location"] == f"/api/v1/limits/{limit['id']}"
    assert (limit["state"], limit["allowed_a"]) == ("planned", dict.fromkeys(("L1", "L2", "L3"), 6.086))
    house.inbox.post(Tick())
    (shown,) = admin.get("/api/v1/limits").json()
    assert (shown["state"], shown["began_at"], shown["held_after_s"]) == ("holds", "2026-07-01T10:00:00Z", None)
    (told,) = admin.get("/api/v1/overview").json()["limits"]
    assert told == {
        "id": limit["id"],
        "node": "site",
        "name": "Local Load Manager",
        "limit_a": dict.fromkeys(("L1", "L2", "L3"), 6.086),
        "applies_to": "stations",
        "reason": "§14a",
        "until": "2026-07-01T18:00:00Z",
        "sender_silent": False,
    }
    assert admin.delete(f"/api/v1/limits/{limit['id']}").status_code == 204
    assert admin.get(f"/api/v1/limits/{limit['id']}").json()["ended"] == "withdrawn"
    assert admin.delete(f"/api/v1/limits/{limit['id']}").status_code == 404
    assert admin.get("/api/v1/overview").json()["limits"] == []


def test_a_limit_is_changed_in_part_and_kept_alive_by_saying_nothing(house: House, admin: httpx.Client) -> None:
    limit_id = admin.post("/api/v1/limits", json={"limit_kw": 11, "keep_alive_s": 60, "then": "lift"}).json()["id"]
    at = f"/api/v1/limits/{limit_id}"
    changed = admin.patch(at, json={"limit_a": {"L1": 20, "L2": 20, "L3": 16}}).json()
    assert (changed["limit_a"], changed["limit_kw"], changed["then"]) == ({"L1": 20, "L2": 20, "L3": 16}, None, "lift")
    for method, path, body in (("PATCH", at, {}), ("PATCH", at, {"then": "lift"}), ("POST", f"{at}/keep-alive", {})):
        kept = admin.request(method, path, json=body)
        assert (kept.status_code, kept.json()["heard_s"]) == (200, 0)
        house.clock.ms += 50_000
        house.inbox.post(Tick())
        assert admin.get(at).json()["state"] == "holds"
    house.clock.ms += 11_000
    house.inbox.post(Tick())
    silent = admin.get(at).json()
    assert (silent["state"], silent["ended"]) == ("ended", "lifted")
    assert admin.post(f"{at}/keep-alive").status_code == 200


def test_what_became_of_the_limits_is_evidence(house: House, admin: httpx.Client) -> None:
    limit = ExternalLimit("7", limit_w=4_200)
    drawn = PerPhase(20_500, 20_000, 19_000)
    over = LimitRecord(limit, "grid", NOON, NOON, drawn, 7_500, NOON + timedelta(hours=2), Ended.OVER)
    house.shelf.limits += [LimitRecord(limit, "grid", NOON), over]
    evidence = admin.get("/api/v1/limits/evidence?limit=1").json()
    assert [(e["drawn_a"], e["held_after_s"], e["ended"], e["ended_at"]) for e in evidence] == [
        ({"L1": 20.5, "L2": 20, "L3": 19}, 7.5, "over", "2026-07-01T12:00:00Z")
    ]
    assert pointers(admin.get("/api/v1/limits/evidence?limit=0"), 422) == ["/limit"]


def test_a_session_is_told_what_its_driver_wants(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    (session,) = [c.session for c in house.inbox.state.connectors.values() if c.session is not None]
    at = f"/api/v1/sessions/{session.transaction_id}/wish"
    assert admin.get(at).json() == {"departs_at": None, "energy_kwh": None}
    wish = {"departs_at": "2026-07-01T18:00:00Z", "energy_kwh": 20.5}
    assert admin.put(at, json=wish).json() == admin.get(at).json() == wish
    assert pointers(admin.put(at, json={"energy_kwh": 0, "departs_at": "soon"}), 422) == ["/departs_at", "/energy_kwh"]
    assert pointers(admin.put(at, json={"departs_at": "2026-07-01T09:00:00Z"}), 422) == ["/departs_at"]
    assert admin.delete(at).status_code == 204
    assert admin.get(at).json() == {"departs_at": None, "energy_kwh": None}
    assert admin.put("/api/v1/sessions/999/wish", json=wish).status_code == 404


def test_a_node_with_a_limit_from_outside_does_not_vanish(admin: httpx.Client) -> None:
    assert admin.post("/api/v1/limits", json={"node": "default", "limit_a": 20}).status_code == 201
    refused = admin.put("/api/v1/clusters", json={"clusters": [{"id": "other"}]})
    assert pointers(refused, 422) == ["/clusters"]
    assert "limit" in refused.json()["detail"]


def test_the_stream_tells_each_change_once(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    with admin.stream("GET", "/api/v1/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in stream.iter_lines() if line)
        assert next(lines) == "event: overview"
        first = json.loads(next(lines).removeprefix("data: "))
        assert first == admin.get("/api/v1/overview").json()
        began_s = fair_s()
        house.inbox.post(StatusChanged("ST1", 1, Status.SUSPENDED_EV))
        house.clock.ms += 1_000
        assert next(lines) == "event: overview"
        second = json.loads(next(lines).removeprefix("data: "))
        assert second["stations"][0]["connectors"][0]["status"] == "SuspendedEV"
        assert fair_s() - began_s < 5


def test_metrics_are_openmetrics(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    answer = admin.get("/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    lines = answer.text.splitlines()
    assert lines[-1] == "# EOF"
    assert 'llm_build_info{version="1.2.3"} 1' in lines
    assert 'llm_node_limit_amperes{node="site",phase="L1"} 40' in lines
    assert 'llm_node_limit_amperes{node="default",phase="L1"} 40' in lines
    assert 'llm_node_stations_amperes{node="site",phase="L1"} 9.8' in lines
    assert 'llm_connector_current_amperes{station="ST1",connector="1",phase="L2"} 9.7' in lines
    assert 'llm_stations{state="pending"} 1' in lines
    assert "llm_sessions_open 1" in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_a_hostile_station_id_breaks_no_metrics_line(house: House, admin: httpx.Client) -> None:
    assert admin.post("/api/v1/stations", json={"id": 'a"} 1 \\ {x="'}).is_success
    house.inbox.post(StationConnected('a"} 1 \\ {x="'))
    house.inbox.post(StatusChanged('a"} 1 \\ {x="', 1, Status.AVAILABLE))
    limits = [line for line in admin.get("/metrics").text.splitlines() if line.startswith("llm_connector_limit")]
    assert limits == ['llm_connector_limit_amperes{station="a\\"} 1 \\\\ {x=\\"",connector="1"} 0']


def test_metrics_need_a_token_unless_the_dashboard_is_public(house: House, admin: httpx.Client) -> None:
    with house.client(None) as anybody:
        problem(anybody.get("/metrics"), 401)
        assert admin.put("/api/v1/system", json={"dashboard": "public"}).is_success
        assert anybody.get("/metrics").status_code == 200
        problem(anybody.get("/api/v1/overview"), 401)


def test_health_is_good_only_while_the_controller_works(house: House) -> None:
    with house.client(None) as anybody:
        assert anybody.get("/healthz").status_code == 200
        house.faults.append("the control loop does not tick")
        assert "does not tick" in problem(anybody.get("/healthz"), 503)["detail"]


def test_half_a_character_in_a_stations_name_breaks_nothing(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    house.inbox.post(StationBooted("ST1", "\ud800", "\udfff", serial="\ud800"))
    house.shelf.kept.append(DONE)
    assert admin.get("/api/v1/stations/ST1").json()["vendor"] == "\ud800"
    assert admin.get("/api/v1/overview").status_code == 200
    assert admin.get("/api/v1/sessions?format=csv").text.splitlines()[1].split(",")[8] == "?"


# Settings


@pytest.mark.parametrize(
    ("name", "sent", "shown"),
    [
        (
            "supply",
            {
                "mode": "dynamic",
                "phases": 3,
                "fuse_a": 63,
                "derated_a": 50.4,
                "static_max_a": 40,
                "fallback_a": {"L1": 16, "L2": 15.999, "L3": 0},
                "lease_s": 120,
            },
            {
                "mode": "dynamic",
                "phases": 3,
                "fuse_a": {"L1": 63, "L2": 63, "L3": 63},
                "derated_a": {"L1": 50.4, "L2": 50.4, "L3": 50.4},
                "static_max_a": {"L1": 40, "L2": 40, "L3": 40},
                "fallback_a": {"L1": 16, "L2": 15.999, "L3": 0},
                "lease_s": 120,
                "network": "with_neutral",
            },
        ),
        (
            "clusters",
            {"clusters": [{"id": "c1", "name": "Hall", "parent": None, "limit_a": {"L1": 32, "L2": 32, "L3": 32}}]},
            {"clusters": [{"id": "c1", "name": "Hall", "parent": None, "limit_a": {"L1": 32, "L2": 32, "L3": 32}}]},
        ),
        (
            "meters",
            {
                "meters": [
                    {
                        "node": "site",
                        "model": "eastron_sdm630",
                        "transport": "tcp",
                        "host": "127.0.0.1",
                        "port": 502,
                        "unit": 1,
                        "includes_stations": True,
                        "ct": {"primary_a": 200, "secondary_a": 5, "applied_by": "manager"},
                        "invert": False,
                    }
                ]
            },
            {
                "meters": [
                    {
                        "node": "site",
                        "model": "eastron_sdm630",
                        "transport": "tcp",
                        "host": "127.0.0.1",
                        "port": 502,
                        "unit": 1,
                        "includes_stations": True,
                        "ct": {"primary_a": 200, "secondary_a": 5, "applied_by": "manager"},
                        "invert": False,
                        "serial": "",
                        "baud": 9600,
                        "parity": "none",
                        "stop_bits": 1,
                        "load_a": {"L1": 0, "L2": 0, "L3": 0},
                    }
                ]
            },
        ),
        (
            "system",
            {"name": "Kerkstraat"},
            {
                "name": "Kerkstraat",
                "country": "",
                "time_zone": "Europe/Amsterdam",
                "language": "en",
                "dashboard": "restricted",
            },
        ),
        ("access", {"rule": "free"}, {"rule": "free", "concurrent": "allowed", "byte_order": "as_read"}),
        ("access", {}, {"rule": "badge", "concurrent": "allowed", "byte_order": "as_read"}),
        (
            "strategy",
            {"strategy": "priority", "unbalance_a": 20},
            {"strategy": "priority", "minimum_first": True, "rotation_min": 15, "unbalance_a": 20},
        ),
    ],
)
def test_a_setting_is_replaced_and_can_be_sent_back(
    admin: httpx.Client, name: str, sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert admin.put(f"/api/v1/{name}", json=sent).json() == shown
    assert admin.get(f"/api/v1/{name}").json() == shown
    assert admin.put(f"/api/v1/{name}", json=shown).json() == shown


def test_a_put_forgets_what_it_leaves_out(admin: httpx.Client) -> None:
    assert admin.put("/api/v1/supply", json={**SUPPLY, "lease_s": 60}).json()["lease_s"] == 60
    assert admin.put("/api/v1/supply", json=SUPPLY).json()["lease_s"] is None


def test_the_derated_current_left_out_is_80_percent_of_the_fuse(admin: httpx.Client) -> None:
    supply = admin.put("/api/v1/supply", json={"mode": "dynamic", "fuse_a": {"L1": 25, "L2": 35, "L3": 63}}).json()
    assert supply["derated_a"] == {"L1": 20, "L2": 28, "L3": 50.4}


@pytest.mark.parametrize("written", ["16", "16.0", "16.000", "1.6e1", "0.016E+3"])
def test_amps_are_read_exactly_however_they_are_written(house: House, admin: httpx.Client, written: str) -> None:
    body = f'{{"mode":"static","static_max_a":{written}}}'
    assert admin.put("/api/v1/supply", content=body).is_success
    assert house.inbox.state.site.supply.static_max_ma.l1 == Decimal(16) * 1000


def test_a_limit_with_three_decimals_loses_nothing(house: House, admin: httpx.Client) -> None:
    for amps in ("10.299", "0.001", "62.999", "8.2", "16.1"):
        assert admin.put("/api/v1/supply", content=f'{{"fuse_a":63,"static_max_a":{amps}}}').is_success
        assert house.inbox.state.site.supply.static_max_ma.l1 == Decimal(amps) * 1000
        assert admin.get("/api/v1/supply").json()["static_max_a"]["L1"] == float(amps)


def test_a_cluster_in_use_is_not_lost_and_the_station_is_named(admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    admin.post("/api/v1/stations", json={"id": "ST1"})
    refused = admin.put("/api/v1/clusters", json={"clusters": [{"id": "other"}]})
    assert pointers(refused) == [""]
    assert "ST1" in refused.json()["detail"]
    assert admin.get("/api/v1/clusters").json()["clusters"][0]["id"] == "default"


def test_a_disk_that_fails_promises_nothing(house: House, admin: httpx.Client) -> None:
    house.inbox.disk_full = True
    problem(admin.put("/api/v1/access", json={"rule": "free"}), 503)
    assert admin.get("/api/v1/access").json()["rule"] == "badge"


# Wrong input

GOOD_METER = {"model": "eastron_sdm630", "host": "10.0.0.1"}
WRONG = [
    ("PUT", "supply", b'{"fuse_a": 63, "fuse": 1}', 422, ["/fuse"]),
    ("PUT", "supply", b'{"fuse_a": true}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": "63"}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": null}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": [63]}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": NaN}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": Infinity}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": 1e400}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": -1}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": 16.0001}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": 16.' + b"0" * 40 + b"1}", 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": 6301}', 422, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": {"L1": 63, "L2": 63}}', 422, ["/fuse_a/L3"]),
    ("PUT", "supply", b'{"fuse_a": {"L1": 63, "L2": 63, "L3": true}}', 422, ["/fuse_a/L3"]),
    ("PUT", "supply", b'{"fuse_a": {"L1": 63, "L2": 63, "L3": 63, "N": 1}}', 422, ["/fuse_a/N"]),
    ("PUT", "supply", b'{"phases": 1, "fuse_a": {"L1": 63, "L2": 63}}', 422, ["/fuse_a/L2"]),
    ("PUT", "supply", b'{"phases": 2}', 422, ["/phases"]),
    ("PUT", "supply", b'{"phases": true}', 422, ["/phases"]),
    ("PUT", "supply", b'{"phases": 3.0}', 422, ["/phases"]),
    ("PUT", "supply", b'{"mode": "Dynamic"}', 422, ["/mode"]),
    ("PUT", "supply", b'{"lease_s": 120.5}', 422, ["/lease_s"]),
    ("PUT", "supply", b'{"lease_s": 10}', 422, ["/lease_s"]),
    ("PUT", "supply", b'{"fuse_a": 63, "derated_a": 64}', 422, ["/derated_a", "/derated_a", "/derated_a"]),
    ("PUT", "supply", b'{"mode": "x", "fuse_a": "y", "z/~": 1}', 422, ["/z~1~0", "/mode", "/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": 63, "fuse_a": 64}', 400, ["/fuse_a"]),
    ("PUT", "supply", b'{"fuse_a": {"L1": 1, "L1": 2}}', 400, ["/fuse_a/L1"]),
    ("PUT", "supply", b"[]", 422, [""]),
    ("PUT", "supply", b"null", 422, [""]),
    ("PUT", "supply", b'{"fuse_a": 63', 400, []),
    ("PUT", "supply", b'{"fuse_a": "\xff"}', 400, []),
    ("PUT", "supply", b'{"fuse_a": ' + b"9" * 5_000 + b"}", 400, []),
    ("PUT", "supply", b'{"fuse_a": 1e' + b"9" * 30 + b"}", 400, []),
    ("PUT", "supply", b"[" * 100_000, 400, []),
    ("PUT", "clusters", b'{"clusters": [{"name": "x"}]}', 422, ["/clusters/0/id"]),
    ("PUT", "clusters", b'{"clusters": [{"id": "a"}, {"id": "a"}]}', 422, ["/clusters/0/id", "/clusters/1/id"]),
    ("PUT", "clusters", b'{"clusters": [{"id": "a", "parent": "b"}]}', 422, ["/clusters/0/parent"]),
    ("PUT", "clusters", b'{"clusters": [{"id": "a", "limit_a": {"L1": 1}}]}', 422, None),
    ("PUT", "clusters", b'{"clusters": {}}', 422, ["/clusters"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "model": "guess"}]}), 422, ["/meters/0/model"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "port": 0}]}), 422, ["/meters/0/port"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "unit": 256}]}), 422, ["/meters/0/unit"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "invert": 1}]}), 422, ["/meters/0/invert"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "node": "nowhere"}]}), 422, ["/meters/0/node"]),
    ("PUT", "meters", json.dumps({"meters": [{**GOOD_METER, "transport": "pigeon"}]}), 422, ["/meters/0/transport"]),
    (
        "PUT",
        "meters",
        json.dumps({"meters": [{**GOOD_METER, "ct": {"primary_a": 200}}]}),
        422,
        ["/meters/0/ct/secondary_a"],
    ),
    ("PUT", "meters", json.dumps({"meters": [{"model": "abb_b23"}]}), 422, ["/meters/0/host"]),
    ("PUT", "system", b'{"time_zone": "Europe/Atlantis"}', 422, ["/time_zone"]),
    ("PUT", "system", b'{"time_zone": "../etc/passwd"}', 422, ["/time_zone"]),
    ("PUT", "system", b'{"time_zone": ""}', 422, ["/time_zone"]),
    ("PUT", "system", b'{"language": "tlh"}', 422, ["/language"]),
    ("PUT", "system", b'{"name": "\\ud800"}', 422, ["/name"]),
    ("PUT", "system", b'{"name": "a\\u0000b"}', 422, ["/name"]),
    ("PUT", "system", json.dumps({"name": "x" * 101}), 422, ["/name"]),
    ("PUT", "access", b'{"rule": "anyone"}', 422, ["/rule"]),
    ("PUT", "strategy", b'{"minimum_first": "yes"}', 422, ["/minimum_first"]),
    ("PUT", "strategy", b'{"rotation_min": 0}', 422, ["/rotation_min"]),
    ("PUT", "strategy", b'{"unbalance_a": 5}', 422, ["/unbalance_a"]),
    ("POST", "limits", b"{}", 422, ["/limit_a"]),
    ("POST", "limits", b'{"limit_a": 20, "limit_kw": 4.2}', 422, ["/limit_a"]),
    ("POST", "limits", b'{"limit_a": -1}', 422, ["/limit_a"]),
    ("POST", "limits", b'{"limit_kw": "4.2"}', 422, ["/limit_kw"]),
    ("POST", "limits", b'{"limit_kw": true}', 422, ["/limit_kw"]),
    ("POST", "limits", b'{"limit_kw": -0.001}', 422, ["/limit_kw"]),
    ("POST", "limits", b'{"limit_a": 20, "node": "cellar"}', 422, ["/node"]),
    ("POST", "limits", b'{"limit_a": 20, "applies_to": "cars"}', 422, ["/applies_to"]),
    ("POST", "limits", b'{"limit_a": 20, "applies_to": "total"}', 422, ["/applies_to"]),
    ("POST", "limits", b'{"limit_a": 20, "then": "panic"}', 422, ["/then"]),
    ("POST", "limits", b'{"limit_a": 20, "keep_alive_s": 5}', 422, ["/keep_alive_s"]),
    ("POST", "limits", b'{"limit_a": 20, "ends_at": "2026-07-01"}', 422, ["/ends_at"]),
    ("POST", "limits", b'{"limit_a": 20, "ends_at": "2030-07-01T10:00:00"}', 422, ["/ends_at"]),
    ("POST", "limits", b'{"limit_a": 20, "ends_at": "2026-07-01T09:00:00Z"}', 422, ["/ends_at"]),
    ("POST", "limits", b'{"limit_a": 20, "starts_at": 5}', 422, ["/starts_at"]),
    ("POST", "limits", b'{"limit_a": 20, "id": "7"}', 422, ["/id"]),
    ("POST", "stations", b"{}", 422, ["/id"]),
    ("POST", "stations", b'{"id": ""}', 422, ["/id"]),
    ("POST", "stations", b'{"id": "a/b"}', 422, ["/id"]),
    ("POST", "stations", b'{"id": "S", "cluster": "nowhere"}', 422, ["/cluster"]),
    ("POST", "stations", b'{"id": "S", "phase_rotation": ["L1", "L1", "L2"]}', 422, ["/phase_rotation"]),
    ("POST", "stations", b'{"id": "S", "phase_rotation": ["L4"]}', 422, ["/phase_rotation/0"]),
    ("POST", "stations", b'{"id": "S", "min_a": 5}', 422, ["/min_a"]),
    ("POST", "stations", b'{"id": "S", "fallback_a": 3}', 422, ["/fallback_a"]),
    ("POST", "stations", b'{"id": "S", "priority": 1.5}', 422, ["/priority"]),
    ("POST", "stations", b'{"id": "S", "badges": "some"}', 422, ["/badges"]),
    ("POST", "stations", b'{"id": "S", "badges": ["a", 7]}', 422, ["/badges/1"]),
    ("POST", "stations", b'{"id": "S", "password": "secret"}', 422, ["/password"]),
    ("POST", "stations", b'{"id": "S", "security_profile": 2}', 422, ["/security_profile"]),
    ("POST", "stations", b'{"id": "S", "start_alone_a": 16}', 422, [""] * 3),
    ("POST", "badges", b"{}", 422, ["/badge_id"]),
    ("POST", "badges", b'{"badge_id": " : "}', 422, ["/badge_id"]),
    ("POST", "badges", b'{"badge_id": "123456789012345678901"}', 422, ["/badge_id"]),
    ("POST", "badges", b'{"badge_id": "a", "expires_on": "30.01.2030"}', 422, ["/expires_on"]),
    ("POST", "badges", b'{"badge_id": "a", "expires_on": "2030-02-30"}', 422, ["/expires_on"]),
    ("POST", "badges", b'{"badge_id": "a", "expires_on": "2030-W05-1"}', 422, ["/expires_on"]),
    ("POST", "badges", b'{"badge_id": "a", "type": "SUPER"}', 422, ["/type"]),
    ("POST", "badges", b'{"badge_id": "a", "email": "nobody"}', 422, ["/email"]),
    ("POST", "users", b'{"name": "x", "role": "root", "password": "Correct-Horse1"}', 422, ["/role"]),
    ("POST", "users", b'{"name": "x", "role": "standard", "password": "short"}', 422, ["/password"]),
    ("POST", "users", b'{"name": " x", "role": "standard", "password": "Correct-Horse1"}', 422, ["/name"]),
    ("POST", "users", b'{"name": "x", "role": "standard"}', 422, ["/password"]),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "expected"), WRONG)
def test_wrong_input_is_refused_with_its_place(
    house: House,
    admin: httpx.Client,
    method: str,
    path: str,
    body: bytes | str,
    status: int,
    expected: list[str] | None,
) -> None:
    before = house.inbox.state
    found = pointers(admin.request(method, f"/api/v1/{path}", content=body), status)
    assert found == (["/clusters/0/limit_a/L2", "/clusters/0/limit_a/L3"] if expected is None else expected)
    assert house.inbox.state.site == before.site
    assert house.inbox.state.badges == before.badges
    assert not house.people.added


def test_a_body_over_one_mebibyte_is_refused_announced_or_not(admin: httpx.Client) -> None:
    body = b'{"name": "' + b"x" * MIB + b'"}'
    problem(admin.put("/api/v1/system", content=body), 413)
    problem(admin.put("/api/v1/system", content=iter([body])), 413)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/api/v1/supply", {"GET", "PUT", "HEAD"}), ("PUT", "/api/v1/badges/a", {"PATCH", "DELETE"})],
)
def test_another_method_is_told_which_are_allowed(
    admin: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    refused = admin.request(method, path)
    problem(refused, 405)
    assert set(refused.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/supply", "/api/v1/stations/a/b"])
def test_an_unknown_address_is_a_problem_document(admin: httpx.Client, path: str) -> None:
    problem(admin.get(path), 404)


def test_head_is_get_without_its_body(admin: httpx.Client) -> None:
    seen = admin.head("/api/v1/supply")
    assert (seen.status_code, seen.content) == (200, b"")
    assert int(seen.headers["content-length"]) == len(admin.get("/api/v1/supply").content)
    assert admin.head("/api/v1/events").status_code == 200


# Stations


def test_a_waiting_station_is_adopted_with_sensible_defaults(house: House, admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    house.inbox.post(StationConnected("NEW1"))
    assert admin.get("/api/v1/stations/NEW1").json()["state"] == "pending"
    adopted = admin.post("/api/v1/stations/NEW1/adopt", json={"name": "Bay 9"})
    assert adopted.status_code == 201
    assert adopted.headers["location"] == "/api/v1/stations/NEW1"
    shown = adopted.json()
    assert (shown["state"], shown["name"]) == ("online", "Bay 9")
    settings = {
        "cluster": "default",
        "phase_rotation": ["L1", "L2", "L3"],
        "max_a": 16,
        "min_a": 6,
        "fallback_a": None,
        "start_alone_a": 0,
        "priority": 0,
        "feed_a": None,
        "out_of_service": False,
        "badges": "all",
        "security_profile": 0,
        "password": None,
        "password_set": False,
    }
    assert {name: shown[name] for name in settings} == settings
    problem(admin.post("/api/v1/stations/NEW1/adopt"), 409)


def test_a_stranger_cannot_be_adopted_changed_or_removed(house: House, admin: httpx.Client) -> None:
    problem(admin.post("/api/v1/stations/NOBODY/adopt"), 404)
    problem(admin.patch("/api/v1/stations/NOBODY", json={}), 404)
    problem(admin.delete("/api/v1/stations/NOBODY"), 404)
    problem(admin.get("/api/v1/stations/NOBODY"), 404)
    house.inbox.post(StationConnected("NEW1"))
    problem(admin.patch("/api/v1/stations/NEW1", json={}), 409)


def test_a_patch_changes_what_it_names_and_nothing_else(admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    sent = {
        "id": "ST1",
        "name": "Bay 1",
        "cluster": None,
        "phase_rotation": ["L2"],
        "max_a": 15.5,
        "min_a": 6.5,
        "fallback_a": 0,
        "priority": 3,
        "feed_a": 32,
        "badges": ["a1b2c3"],
        "password": "",
        "security_profile": 0,
    }
    before = admin.post("/api/v1/stations", json=sent).json()
    assert {name: before[name] for name in sent if name != "password"} == {
        name: value for name, value in sent.items() if name != "password"
    }
    after = admin.patch("/api/v1/stations/ST1", json={"max_a": 16, "cluster": "default"}).json()
    assert after == {**before, "max_a": 16, "cluster": "default"}
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"id": "ST2"})) == ["/id"]
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"max_a": 3})) == ["/min_a"]
    assert admin.patch("/api/v1/stations/ST1", json={"badges": "all"}).json()["badges"] == "all"


def test_a_password_is_set_kept_and_removed_and_never_read_back(house: House, admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    key = "correct-horse-1234"
    added = admin.post("/api/v1/stations", json={"id": "ST1", "security_profile": 1, "password": key})
    assert (added.json()["password"], added.json()["password_set"]) == (None, True)
    assert added.json()["password_handover"] == "taken"
    assert key not in added.text + admin.get("/api/v1/stations/ST1").text
    assert house.keys.handed == [("ST1", key.encode())]
    kept = admin.patch("/api/v1/stations/ST1", json={"password": None, "name": "Bay"}).json()
    assert (kept["password_set"], kept["security_profile"]) == (True, 1)
    assert "password_handover" not in kept
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"password": ""})) == ["/security_profile"]
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"password": "short"})) == ["/password"]
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"password": 16 * "é" + 9 * "é"})) == ["/password"]
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"max_a": 3, "password": "f" * 16})) == ["/min_a"]
    assert house.keys.keys == {"ST1": key.encode()}  # a change that is refused changes nothing
    admin.patch("/api/v1/stations/ST1", json={"password": "0A" * 20})
    assert house.keys.handed[-1] == ("ST1", b"\n" * 20)
    removed = admin.patch("/api/v1/stations/ST1", json={"password": "", "security_profile": 0}).json()
    assert removed["password_set"] is False
    assert pointers(admin.patch("/api/v1/stations/ST1", json={"security_profile": 2})) == ["/security_profile"]
    assert admin.patch("/api/v1/stations/ST1", json={"security_profile": 3}).is_success
    admin.patch("/api/v1/stations/ST1", json={"password": key})
    assert admin.delete("/api/v1/stations/ST1").status_code == 204
    assert house.keys.keys == {}
    house.keys.keys["ST1"] = b"of an older station"
    assert admin.post("/api/v1/stations", json={"id": "ST1"}).json()["password_set"] is False


def test_who_was_refused_under_the_id_of_a_station_is_shown(house: House, admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    admin.post("/api/v1/stations", json={"id": "ST1"})
    assert admin.get("/api/v1/stations/ST1").json()["turned_away"] is None
    house.inbox.post(StationTurnedAway("ST1", "10.9.9.9", TurnedAwayFor.WRONG_KEY))
    shown = admin.get("/api/v1/stations/ST1").json()["turned_away"]
    assert (shown["address"], shown["reason"]) == ("10.9.9.9", "wrong_key")


def test_a_station_known_ahead_waits_offline_and_can_be_removed(admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json=SUPPLY)
    assert (
        admin.post("/api/v1/stations", json={"id": "ST 1:ä"}).headers["location"] == "/api/v1/stations/ST%201%3A%C3%A4"
    )
    assert pointers(admin.post("/api/v1/stations", json={"id": "ST 1:ä"}), 409) == ["/id"]
    assert [(s["id"], s["state"]) for s in admin.get("/api/v1/stations").json()] == [("ST 1:ä", "offline")]
    assert admin.delete("/api/v1/stations/ST%201%3A%C3%A4").status_code == 204
    assert admin.get("/api/v1/stations").json() == []


def test_a_standard_user_sees_a_stations_state_and_not_its_configuration(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    with house.client(Role.STANDARD) as standard:
        for station in (standard.get("/api/v1/stations").json()[0], standard.get("/api/v1/stations/ST1").json()):
            assert station["state"] == "online"
            assert not station.keys() & {"badges", "password_set", "max_a", "security_profile"}


# Badges


def test_a_badge_is_kept_as_first_entered_and_found_however_it_is_spelled(admin: httpx.Client) -> None:
    sent = {
        "badge_id": "A1:B2:C3",
        "type": "super",
        "state": "inactive",
        "group": "staff",
        "comment": "Müller",
        "email": "m@example.org",
        "expires_on": "2030-01-31",
        "stations": ["ST1", "ST2"],
    }
    added = admin.post("/api/v1/badges", json=sent)
    assert (added.status_code, added.json()) == (201, sent)
    assert pointers(admin.post("/api/v1/badges", json={"badge_id": "a1 b2 c3"}), 409) == ["/badge_id"]
    changed = admin.patch("/api/v1/badges/a1b2c3", json={"badge_id": "a1b2c3", "state": "active", "expires_on": None})
    assert changed.json() == {**sent, "state": "active", "expires_on": None}
    assert pointers(admin.patch("/api/v1/badges/a1b2c3", json={"badge_id": "ffff"})) == ["/badge_id"]
    assert admin.get("/api/v1/badges").json() == [changed.json()]
    assert admin.delete("/api/v1/badges/A1%20b2:C3").status_code == 204
    problem(admin.delete("/api/v1/badges/a1b2c3"), 404)


FILE = "badgeId,type,comment,expirationDate,email\na1b2c3,STANDARD,example,30.01.2030,example@llm.fr\nb2,SUPER,,,\n"


@pytest.mark.parametrize("form", [False, True])
def test_a_file_of_badges_is_imported_as_body_or_form(admin: httpx.Client, form: bool) -> None:
    if form:
        answer = admin.post("/api/v1/badges/import", files={"file": ("badges.csv", FILE)})
    else:
        answer = admin.post("/api/v1/badges/import", content=FILE, headers={"Content-Type": "text/csv"})
    assert answer.json() == {"added": 2, "updated": 0, "message": "2 badges added"}
    assert [badge["badge_id"] for badge in admin.get("/api/v1/badges").json()] == ["a1b2c3", "b2"]


def test_a_bad_line_imports_nothing_and_is_named(admin: httpx.Client) -> None:
    answer = admin.post("/api/v1/badges/import", content=FILE + "c3,SUPER,,30.02.2030,\n")
    assert pointers(answer) == ["/4/expirationDate"]
    assert "line 4" in answer.json()["detail"]
    assert admin.get("/api/v1/badges").json() == []


def test_an_import_may_be_larger_than_other_bodies_but_not_endless(admin: httpx.Client) -> None:
    head = FILE.partition("\n")[0]
    comment = "x" * 190
    lines = "".join(f"{number:08},STANDARD,{comment},,\n" for number in range(8_000))
    assert len(lines) > MIB
    assert admin.post("/api/v1/badges/import", content=f"{head}\n{lines}").json()["added"] == 8_000
    for size in (5 * MIB + 1, 6 * MIB):
        problem(admin.post("/api/v1/badges/import", content=b"x" * size), 413)
        problem(admin.post("/api/v1/badges/import", files={"file": ("badges.csv", b"x" * size)}), 413)


def test_the_template_can_be_filled_in_and_sent(admin: httpx.Client) -> None:
    template = admin.get("/api/v1/badges/template.csv")
    assert template.headers["content-type"].startswith("text/csv")
    assert template.text.splitlines()[0] == "badgeId,type,comment,expirationDate,email"
    assert admin.post("/api/v1/badges/import", content=template.content).json()["added"] == 1


# Sessions

DONE = Session(
    transaction_id=7,
    station_id="ST1",
    connector=1,
    id_tag="a1b2c3",
    started_at=datetime(2026, 1, 31, 22, 30, tzinfo=UTC),
    meter_start_wh=1_000,
    register_wh=14_550,
    energy_wh=13_550,
    stopped_at=datetime(2026, 2, 1, 1, 0, tzinfo=UTC),
    meter_stop_wh=14_550,
    stop_reason="Local",
    state=SessionState.CLOSED,
)
RUNNING = attrs.evolve(
    DONE, transaction_id=8, stopped_at=None, meter_stop_wh=None, stop_reason=None, state=SessionState.OPEN, id_tag=None
)


def test_sessions_are_listed_in_the_promised_shape(house: House, admin: httpx.Client) -> None:
    house.inbox.state = attrs.evolve(house.inbox.state, badges={"a1b2c3": Badge("A1:B2:C3", comment="Müller")})
    assert admin.get("/api/v1/sessions").json() == []
    house.shelf.kept += [DONE, RUNNING]
    done, running = admin.get("/api/v1/sessions").json()
    expected = {
        "transaction_id": 7,
        "station_id": "ST1",
        "station_name": "ST1",
        "connector": 1,
        "started_at": "2026-01-31T22:30:00Z",
        "stopped_at": "2026-02-01T01:00:00Z",
        "badge_id": "A1:B2:C3",
        "badge_name": "Müller",
        "energy_kwh": 13.55,
        "meter_start_wh": 1000,
        "meter_stop_wh": 14550,
        "stop_reason": "Local",
        "state": "closed",
    }
    assert {name: done[name] for name in expected} == expected
    assert (running["stopped_at"], running["badge_id"], running["state"]) == (None, None, "open")


def test_sessions_as_a_spreadsheet(house: House, admin: httpx.Client) -> None:
    house.shelf.kept += [DONE, RUNNING]
    answer = admin.get("/api/v1/sessions?from=2026-01-01&to=2026-01-31&format=csv&decimal=comma")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "sessions_2026-01-01_2026-01-31.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline=""), delimiter=";"))
    assert [row["energyChargedKwh"] for row in rows] == ["13,550", "13,550"]
    assert rows[0]["startDateTransaction"] == "31.01.2026 23:30"


@pytest.mark.parametrize(
    ("query", "from_utc", "to_utc"),
    [
        ("from=2026-01-01&to=2026-01-31", "2025-12-31T23:00", "2026-01-31T23:00"),
        ("from=2026-03-29&to=2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("from=2026-10-25&to=2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("from=2026-01-01&to=2026-12-31", "2025-12-31T23:00", "2026-12-31T23:00"),
        ("from=2024-02-29&to=2025-02-28", "2024-02-28T23:00", "2025-02-28T23:00"),
        ("", "2026-05-31T22:00", "2026-07-01T22:00"),
        ("to=2026-06-30", "2026-05-30T22:00", "2026-06-30T22:00"),
        ("from=2026-06-01", "2026-05-31T22:00", "2026-07-01T22:00"),
        ("from=2020-01-01", "2019-12-31T23:00", "2020-12-31T23:00"),
        ("from=2026-08-01", "2026-07-31T22:00", "2026-08-01T22:00"),
    ],
)
def test_days_are_those_of_the_site_both_inclusive(
    house: House, admin: httpx.Client, query: str, from_utc: str, to_utc: str
) -> None:
    assert admin.get(f"/api/v1/sessions?{query}").status_code == 200
    assert house.shelf.asked == (
        datetime.fromisoformat(f"{from_utc}:00+00:00"),
        datetime.fromisoformat(f"{to_utc}:00+00:00"),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from=2026-02-30", ["/from"]),
        ("from=01.02.2026", ["/from"]),
        ("from=", ["/from"]),
        ("from=0001-01-01", ["/from"]),
        ("from=9999-12-31", ["/from"]),
        ("from=x&to=y", ["/from", "/to"]),
        ("from=2026-02-01&to=2026-01-31", ["/to"]),
        ("from=2025-01-01&to=2026-01-01", ["/to"]),
        ("from=2024-02-29&to=2025-03-01", ["/to"]),
        ("format=xml", ["/format"]),
        ("decimal=dot", ["/decimal"]),
        ("since=2026-01-01", ["/since"]),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(
    house: House, admin: httpx.Client, query: str, expected: list[str]
) -> None:
    assert pointers(admin.get(f"/api/v1/sessions?{query}")) == expected
    assert house.shelf.asked is None


# Users


def test_a_user_is_added_with_a_temporary_password(house: House, admin: httpx.Client) -> None:
    sent = {"name": "eva", "role": "advanced", "password": STRONG}
    added = admin.post("/api/v1/users", json=sent)
    assert (added.status_code, added.json()) == (201, {"name": "eva", "role": "advanced", "temporary": True})
    by = "token “administrator script”"
    assert house.people.added["eva"] == (User("eva", Role.ADVANCED, temporary=True), STRONG, by)
    assert pointers(admin.post("/api/v1/users", json=sent), 409) == ["/name"]
    assert added.json() in admin.get("/api/v1/users").json()
    assert STRONG not in admin.get("/api/v1/users").text


@pytest.mark.parametrize(("role", "status"), [("standard", 201), ("advanced", 403), ("administrator", 403)])
def test_an_advanced_user_creates_standard_users_only(house: House, role: str, status: int) -> None:
    with house.client(Role.ADVANCED) as advanced:
        answer = advanced.post("/api/v1/users", json={"name": "eva", "role": role, "password": STRONG})
    assert answer.status_code == status
    assert ("eva" in house.people.added) == (status == 201)


# Rights

EVERYBODY = frozenset(Role)
MANAGERS = frozenset({Role.ADVANCED, Role.ADMINISTRATOR})
ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})
RIGHTS = {
    ("GET", "/openapi.json"): EVERYBODY,
    ("GET", "/overview"): EVERYBODY,
    ("GET", "/events"): EVERYBODY,
    ("GET", "/decisions"): ADMINISTRATORS,
    ("GET", "/stations"): EVERYBODY,
    ("POST", "/stations"): ADMINISTRATORS,
    ("GET", "/stations/{id}"): EVERYBODY,
    ("PATCH", "/stations/{id}"): ADMINISTRATORS,
    ("DELETE", "/stations/{id}"): ADMINISTRATORS,
    ("POST", "/stations/{id}/adopt"): ADMINISTRATORS,
    ("GET", "/badges"): MANAGERS,
    ("POST", "/badges"): MANAGERS,
    ("PATCH", "/badges/{id}"): MANAGERS,
    ("DELETE", "/badges/{id}"): MANAGERS,
    ("POST", "/badges/import"): MANAGERS,
    ("GET", "/badges/template.csv"): MANAGERS,
    ("PATCH", "/badges"): MANAGERS,
    ("GET", "/badges/scan"): MANAGERS,
    ("POST", "/badges/scan"): MANAGERS,
    ("DELETE", "/badges/scan"): MANAGERS,
    ("GET", "/badges/refused"): MANAGERS,
    ("GET", "/badges/{id}/statement"): MANAGERS,
    ("POST", "/badges/refused/{id}"): MANAGERS,
    ("GET", "/sessions"): EVERYBODY,
    ("GET", "/users"): ADMINISTRATORS,
    ("GET", "/uplink/stations/{id}/refused"): ADMINISTRATORS,
    ("POST", "/uplink/stations/{id}/retry"): ADMINISTRATORS,
    ("POST", "/users"): MANAGERS,
    ("PATCH", "/users/{name}"): ADMINISTRATORS,
    ("DELETE", "/users/{name}"): ADMINISTRATORS,
    ("GET", "/tokens"): ADMINISTRATORS,
    ("POST", "/tokens"): ADMINISTRATORS,
    ("DELETE", "/tokens/{label}"): ADMINISTRATORS,
    ("GET", "/audit"): ADMINISTRATORS,
    ("GET", "/mail"): ADMINISTRATORS,
    ("PUT", "/mail"): ADMINISTRATORS,
    ("POST", "/mail/test"): ADMINISTRATORS,
    ("GET", "/meters/models"): ADMINISTRATORS,
    ("POST", "/meters/test"): ADMINISTRATORS,
    ("GET", "/backup"): ADMINISTRATORS,
    ("GET", "/support-bundle"): ADMINISTRATORS,
    ("GET", "/history"): EVERYBODY,
    **{(method, "/sessions/{transaction_id}/wish"): ADMINISTRATORS for method in ("GET", "PUT", "DELETE")},
    ("GET", "/limits"): ADMINISTRATORS,
    ("POST", "/limits"): ADMINISTRATORS,
    ("GET", "/limits/evidence"): ADMINISTRATORS,
    ("GET", "/limits/{id}"): ADMINISTRATORS,
    ("PATCH", "/limits/{id}"): ADMINISTRATORS,
    ("POST", "/limits/{id}/keep-alive"): ADMINISTRATORS,
    ("DELETE", "/limits/{id}"): ADMINISTRATORS,
    **{
        (method, f"/{name}"): ADMINISTRATORS
        for method in ("GET", "PUT")
        for name in ("supply", "clusters", "meters", "strategy", "access", "system", "uplink")
    },
    **{
        ("POST", f"/stations/{{id}}/commands/{order}"): ADMINISTRATORS
        for order in Order
        if order is not Order.COMMISSION
    },
    ("PATCH", "/stations"): ADMINISTRATORS,
    ("POST", "/stations/{id}/commission"): ADMINISTRATORS,
    **{(method, "/scan"): ADMINISTRATORS for method in ("GET", "POST", "DELETE")},
}


def status_of(client: httpx.Client, method: str, path: str) -> int:
    with client.stream(method, f"/api/v1{re.sub('{.*?}', 'ST1', path)}", content=b"[]") as answer:
        return answer.status_code


@pytest.mark.parametrize(("method", "path"), RIGHTS)
@pytest.mark.parametrize("role", Role)
def test_each_role_reaches_what_is_its_own(house: House, method: str, path: str, role: Role) -> None:
    with house.client(role) as client:
        status = status_of(client, method, path)
    assert (status not in (401, 403)) == (role in RIGHTS[method, path])
    assert status < 500


@pytest.mark.parametrize(("method", "path"), RIGHTS)
def test_nobody_reaches_anything_without_proof(house: House, method: str, path: str) -> None:
    with house.client(None) as nobody, house.browser("stolen") as stranger, house.browser("temporary") as new:
        assert status_of(nobody, method, path) == 401
        assert status_of(stranger, method, path) == 401
        assert status_of(new, method, path) == 403
        nobody.headers["Authorization"] = "Bearer llm_guessed"
        assert status_of(nobody, method, path) == 401
    house.people.factory = True
    with house.client() as admin:
        assert status_of(admin, method, path) == 403


@pytest.mark.parametrize(("method", "path"), [route for route in RIGHTS if route[0] != "GET"])
def test_a_browser_changes_nothing_without_its_token(house: House, method: str, path: str) -> None:
    with house.browser("administrator") as forged:
        assert status_of(forged, method, path) == 403
    with house.browser("administrator", **{"X-CSRF-Token": "guess"}) as forged:
        assert status_of(forged, method, path) == 403
    with house.browser("administrator", **{"X-CSRF-Token": CSRF, "X-Confirm-Password": STRONG}) as meant:
        assert status_of(meant, method, path) != 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/supply"),
        ("GET", "/backup"),
        ("PUT", "/mail"),
        ("POST", "/users"),
        ("PATCH", "/users/{name}"),
        ("DELETE", "/users/{name}"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/{label}"),
    ],
)
def test_a_browser_changes_nothing_critical_without_the_password_again(house: House, method: str, path: str) -> None:
    for given in ({}, {"X-Confirm-Password": "guess"}):
        with house.browser("administrator", **{"X-CSRF-Token": CSRF, **given}) as signed_in:
            problem(signed_in.request(method, f"/api/v1{path}", content=b"{}"), 403)


def test_a_form_is_no_json(house: House) -> None:
    with house.browser("administrator") as browser:
        problem(browser.put("/api/v1/access", data={"rule": "free", "csrf": CSRF}), 415)


def test_a_refusal_for_want_of_proof_says_how_to_prove(house: House) -> None:
    with house.client(None) as nobody:
        refused = nobody.get("/api/v1/overview")
    problem(refused, 401)
    assert refused.headers["www-authenticate"] == "Bearer"


# The document


def test_the_document_names_every_route_and_no_other(admin: httpx.Client) -> None:
    document = admin.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    named = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert named == {*RIGHTS, ("GET", "/metrics"), ("GET", "/healthz")}


def test_the_document_describes_what_the_routes_take(admin: httpx.Client) -> None:
    document = admin.get("/api/v1/openapi.json").json()
    body = document["paths"]["/api/v1/badges"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["badge_id"]
    assert body["properties"]["state"]["enum"] == ["pending", "active", "inactive"]
    patch = document["paths"]["/api/v1/stations/{id}"]["patch"]
    assert "required" not in patch["requestBody"]["content"]["application/json"]["schema"]
    assert [parameter["name"] for parameter in patch["parameters"]] == ["id"]


def test_two_requests_at_once_are_both_answered(house: House) -> None:
    with house.client() as first, house.client() as second, contextlib.ExitStack() as open_streams:
        streams = [open_streams.enter_context(client.stream("GET", "/api/v1/events")) for client in (first, second)]
        assert [stream.status_code for stream in streams] == [200, 200]
        with house.client() as third:
            assert third.get("/api/v1/overview").status_code == 200


# The operator


def test_the_operator_takes_over_the_badges_and_gives_them_back(served: House) -> None:
    sent = {
        "enabled": True,
        "url": "ws://cpo.example/ocpp",
        "offline": "local",
        "servers": [{"name": "Mine", "url": "wss://cpo.example/x"}],
        "stations": {"ST1": {"ocpp_id": "NL-0001", "password": "s3cret-of-16-char"}},
    }
    with served.client() as http:
        put = http.put("/api/v1/uplink", json=sent)
        assert put.status_code == 200
        shown = http.get("/api/v1/uplink").json()
        assert shown == put.json()
        station = shown["stations"]["ST1"]
        assert (station["password"], station["password_set"]) == (None, True)
        assert station["status"]["state"] == "connecting"
        assert http.get("/api/v1/access").json()["rule"] == "cpo"
        assert http.put("/api/v1/uplink", json=shown).json() == shown  # what was read can be sent back
        assert http.put("/api/v1/access", json={"rule": "badge"}).status_code == 200
        assert http.get("/api/v1/uplink").json()["enabled"] is False
        assert http.put("/api/v1/access", json={"rule": "cpo"}).status_code == 200
        assert http.get("/api/v1/uplink").json()["enabled"] is True
        shown["stations"]["ST1"]["password"] = ""
        assert http.put("/api/v1/uplink", json=shown).json()["stations"]["ST1"]["password_set"] is False
        assert http.put("/api/v1/uplink", json={}).json()["stations"] == {}
        assert http.get("/api/v1/access").json()["rule"] == "badge"


def test_a_wrong_way_to_the_operator_is_refused_with_every_fault_and_keeps_no_secret(served: House) -> None:
    wrong = {
        "enabled": True,
        "url": "http://cpo",
        "stations": {"ST1": {"ocpp_id": "", "password": "x"}, "ST2": {"ocpp_id": "NL-2"}},
    }
    with served.client() as http:
        refused = http.put("/api/v1/uplink", json=wrong)
        assert refused.status_code == 422
        assert {error["pointer"] for error in refused.json()["errors"]} == {"/url", "/stations/ST1/ocpp_id"}
        assert served.uplink.secrets == {}
        refused = http.put("/api/v1/uplink", json={"enabled": 1, "colour": "red", "stations": {"ST1": {"id": "x"}}})
        assert {error["pointer"] for error in refused.json()["errors"]} == {
            "/enabled",
            "/colour",
            "/stations/ST1/id",
            "/stations/ST1/ocpp_id",
        }
        assert http.put("/api/v1/uplink", json=[]).status_code == 422
        assert http.put("/api/v1/uplink", json={"stations": []}).status_code == 422


def test_what_the_operator_refused_is_shown_and_can_be_sent_again(served: House) -> None:
    refused = Queued(5, "id", UplinkMessage("ST1", UplinkKind.STOP, 17, 1, at=NOON), 4711, "FormationViolation")
    served.uplink.refusals["ST1"] = [refused]
    with served.client() as http:
        http.put("/api/v1/uplink", json={"stations": {"ST1": {"ocpp_id": "NL-1"}}})
        (shown,) = http.get("/api/v1/uplink/stations/ST1/refused").json()
        assert shown == {
            "kind": "stop",
            "transaction_id": 17,
            "cpo_transaction_id": 4711,
            "at": "2026-07-01T10:00:00Z",
            "reason": "FormationViolation",
        }
        assert http.post("/api/v1/uplink/stations/ST1/retry").status_code == 202
        assert served.uplink.retried == ["ST1"]
        assert http.get("/api/v1/uplink/stations/ST9/refused").status_code == 404
        assert http.post("/api/v1/uplink/stations/ST9/retry").status_code == 404
        http.put("/api/v1/uplink", json={})
