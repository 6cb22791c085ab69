"""A controller to look at: the real web application over states made by hand, on a loopback port.

`python tests/integration/web_scene.py busy` serves one for a person to look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import attrs
import uvicorn
from memory_keys import MemoryKeys
from memory_mail import MemoryMail
from memory_uplink import MemoryUplink

from integration.made_up_history import WaveHistory, silent_meter
from llm_adapters.files.badges_csv import parse_badges
from llm_adapters.modbus import Catalogue
from llm_adapters.web.app import create_app
from llm_adapters.web.desk import Desk
from llm_core import (
    EVERYTHING,
    AccessRule,
    Alarm,
    AlarmCode,
    Answer,
    AuditEntry,
    Badge,
    BadgeScanStarted,
    BadgeScanStopped,
    BadgesEdited,
    BadgeState,
    BadgeType,
    Binding,
    CallOutcome,
    Cluster,
    CommissionWish,
    ConnectorState,
    Dashboard,
    Ended,
    Event,
    ExternalLimit,
    Grant,
    GrantReason,
    Json,
    Ledger,
    LimitChange,
    LimitPut,
    LimitRecord,
    LimitState,
    LimitWithdrawn,
    MeterSetup,
    Mode,
    NodeView,
    OrderEnded,
    OrderGranted,
    PerPhase,
    Phase,
    Reading,
    RefusedStart,
    Request,
    Role,
    Saved,
    Session,
    SessionFilter,
    SessionPage,
    SessionState,
    SetUpDone,
    Site,
    SiteEdited,
    State,
    Station,
    StationOrdered,
    StationScanStarted,
    StationScanStopped,
    StationState,
    Status,
    StoreError,
    Supply,
    System,
    Token,
    TryLater,
    User,
    Verdict,
    WebSession,
    WishPut,
    WrongPassword,
    normalise,
)

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
STARTED_S = time.monotonic()
PASSWORD = "Correct-Horse1"
STRANGER_TAG = "04:A2:19:FF"


class Clock:
    """Real time that began at noon of a certain day, after the controller had run for a day."""

    def monotonic_ms(self) -> int:
        return 86_400_000 + int((time.monotonic() - STARTED_S) * 1000)

    def utc(self) -> datetime:
        return NOON + timedelta(seconds=time.monotonic() - STARTED_S)


OTHERS = LimitPut | LimitWithdrawn | StationScanStarted | StationScanStopped | WishPut


@attrs.define
class Book:
    """An inbox that writes down what it is told and answers as told; `state` is whatever the test sets."""

    state: State
    answer: Answer = Saved()
    posted: list[Event] = attrs.field(factory=list)
    asked: list[Request] = attrs.field(factory=list)

    def begin(self, state: State) -> None:
        self.state, self.answer, self.posted, self.asked = state, Saved(), [], []

    def post(self, event: Event) -> None:
        self.posted.append(event)
        if isinstance(event, SetUpDone):
            self.state = attrs.evolve(self.state, factory=False)

    async def ask(self, event: Request) -> Answer:
        if isinstance(event, OrderEnded):
            self.posted.append(event)
            return Saved()
        assert isinstance(
            event, SiteEdited | BadgesEdited | BadgeScanStarted | BadgeScanStopped | StationOrdered | OTHERS
        )
        self.asked.append(event)
        return OrderGranted(event.connector) if isinstance(event, StationOrdered) else self.answer


@attrs.define
class People:
    """Accounts in memory: one user per role, and the factory's administrator while `factory` holds."""

    factory: bool = False
    passwords: dict[str, str] = attrs.field(factory=dict)
    roles: dict[str, User] = attrs.field(factory=dict)
    sessions: dict[str, WebSession] = attrs.field(factory=dict)
    given: dict[str, Role] = attrs.field(factory=dict)
    failures: int = 0

    def begin(self, factory: bool) -> None:
        self.factory, self.failures, self.sessions = factory, 0, {}
        if factory:
            self.roles = {"admin": User("admin", Role.ADMINISTRATOR, temporary=True)}
            self.passwords, self.given = {"admin": "1234"}, {}
            return
        newcomer = User("newcomer", Role.ADVANCED, temporary=True)
        self.roles = {**{role.value: User(role.value, role) for role in Role}, newcomer.name: newcomer}
        self.passwords = dict.fromkeys(self.roles, PASSWORD)
        self.given = {f"llm_{role.value}": role for role in Role}

    async def is_factory(self) -> bool:
        return self.factory

    async def sign_in(self, name: str, password: str, address: str) -> WebSession | WrongPassword | TryLater:
        assert address == "127.0.0.1"
        if self.failures >= 5:
            return TryLater(30)
        if self.passwords.get(name) != password:
            self.failures += 1
            return WrongPassword()
        session = WebSession(self.roles[name], secrets.token_urlsafe(), secrets.token_urlsafe())
        self.sessions[session.cookie] = session
        return session

    async def web_session(self, cookie: str) -> WebSession | None:
        return self.sessions.get(cookie)

    async def sign_out(self, cookie: str) -> None:
        self.sessions.pop(cookie, None)

    async def set_password(self, name: str, password: str, by: str, *, temporary: bool = False) -> None:
        assert by
        self.factory = False
        self.passwords[name] = password
        self.roles[name] = attrs.evolve(self.roles[name], temporary=temporary)
        self.sessions = {cookie: kept for cookie, kept in self.sessions.items() if kept.user.name != name}

    async def check_password(self, name: str, password: str) -> bool:
        return self.passwords.get(name) == password

    async def users(self) -> tuple[User, ...]:
        return tuple(self.roles.values())

    async def add_user(self, user: User, password: str, by: str) -> bool:
        assert by
        if user.name in self.roles:
            return False
        self.roles[user.name], self.passwords[user.name] = user, password
        return True

    async def remove_user(self, name: str, by: str) -> bool:
        assert by
        if self.is_last(name):
            return False
        del self.roles[name]
        return True

    async def set_role(self, name: str, role: Role, by: str) -> bool:
        assert by
        if self.is_last(name) and role is not Role.ADMINISTRATOR:
            return False
        self.roles[name] = attrs.evolve(self.roles[name], role=role)
        return True

    def is_last(self, name: str) -> bool:
        """Whether nobody else is an administrator."""
        return [user.name for user in self.roles.values() if user.role is Role.ADMINISTRATOR] == [name]

    async def token(self, token: str) -> Token | None:
        role = self.given.get(token)
        return Token("script", role, NOON) if role is not None else None

    async def tokens(self) -> tuple[Token, ...]:
        return tuple(Token(label, role, NOON) for label, role in self.given.items())

    async def create_token(self, role: Role, label: str, by: str) -> str:
        assert by
        self.given[label] = role
        return f"llm_{label}"

    async def revoke_token(self, label: str, by: str) -> bool:
        assert by
        return self.given.pop(label, None) is not None


AUDITED = (
    AuditEntry(
        NOON, "administrator", "PutSupply", repr(Supply(mode=Mode.DYNAMIC)), repr(Supply(Mode.DYNAMIC, phases=1))
    ),
    AuditEntry(NOON, "advanced", "badge", "", repr(Badge("A1B2C3", comment="Müller"))),
    AuditEntry(NOON, "administrator", "reset", "ST1 soft", "Accepted"),
    AuditEntry(
        NOON - timedelta(hours=1),
        "token “grid”",
        "limit",
        "",
        repr(ExternalLimit("1", limit_w=4_200, ends_at=NOON, reason="§ 14a")),
    ),
    AuditEntry(NOON - timedelta(hours=2), "administrator", "commission", "ST2", "amps yes, decimals no, obeys skipped"),
    AuditEntry(NOON - timedelta(hours=3), "administrator", "role of Eva", "standard", "advanced"),
)


@attrs.define
class Shelf:
    """An archive of a few sessions."""

    kept: tuple[Session, ...] = ()

    async def sessions(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter = EVERYTHING
    ) -> AsyncIterator[Session]:
        for session in filter(wanted.admits, self.kept):
            if from_utc <= session.started_at < to_utc:
                yield session

    async def session_page(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter, limit: int, skip: int
    ) -> SessionPage:
        found = [session async for session in self.sessions(from_utc, to_utc, wanted)][::-1]
        return SessionPage(tuple(found[skip : skip + limit]), len(found), sum(s.energy_wh for s in found))

    async def limit_records(self, most: int) -> tuple[LimitRecord, ...]:
        return LIMITS[:most]

    async def audit(self, limit: int, *, skip: int = 0, text: str = "") -> AsyncIterator[AuditEntry]:
        for entry in [entry for entry in AUDITED if text in repr(entry)][skip : skip + limit]:
            if text in entry.what:
                yield entry


CHANGES = (
    LimitChange(
        NOON - timedelta(seconds=95), "ST1", 1, 16_000, 10_200, GrantReason.SHARED_LIMIT, Binding("default", Phase.L1)
    ),
    LimitChange(NOON - timedelta(seconds=94), "ST2", 1, 6_000, 0, GrantReason.WAITING, Binding("default", Phase.L1)),
    LimitChange(NOON - timedelta(seconds=2), "ST6", 1, 16_000, 6_000, GrantReason.VEHICLE, None),
    LimitChange(NOON - timedelta(seconds=1), "ST9", 1, 6_000, 0, None, None),
)
LIMITS = (
    LimitRecord(
        ExternalLimit("1", limit_w=4_200, ends_at=NOON + timedelta(hours=2), reason="§ 14a, letter of 3 March"),
        "token “grid”",
        NOON - timedelta(hours=1),
        NOON - timedelta(minutes=58),
        PerPhase(20_100, 14_200, 20_000),
        12_400,
    ),
    LimitRecord(
        ExternalLimit("2", "c2", PerPhase.same(10_000), starts_at=NOON + timedelta(days=1)),
        "administrator",
        NOON - timedelta(hours=1),
    ),
    LimitRecord(
        ExternalLimit("3", "default", PerPhase(20_000, 16_000, 16_000), reason="Fair in the hall"),
        "administrator",
        NOON - timedelta(days=9),
        NOON - timedelta(days=9),
        None,
        None,
        NOON - timedelta(days=8),
        Ended.WITHDRAWN,
    ),
)


async def no_csv(sessions: AsyncIterator[Session], state: State, *, decimal_comma: bool = False) -> AsyncIterator[str]:
    assert state is not None
    yield f"{decimal_comma}"
    async for session in sessions:
        yield f"{session.transaction_id}"


async def write_nothing(target: Path) -> None:
    """A backup or a bundle of a controller that has nothing."""
    await asyncio.to_thread(target.write_bytes, b"nothing")


class Idle:
    """A workshop that refuses every backup but `good`, and erases nothing."""

    async def restore(self, backup: Path) -> None:
        if await asyncio.to_thread(backup.read_bytes) != b"good":
            raise StoreError("no backup")

    async def reset(self) -> None:
        return


class Nobody:
    """Stations that take every call and do nothing."""

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        assert station_id
        assert action
        assert deadline_s
        assert payload is not None
        return CallOutcome("Accepted")

    def commission(self, station_id: str, by: str, wish: CommissionWish) -> bool:
        assert station_id
        assert by
        return wish.connector == 1


# States


@attrs.frozen
class Bay:
    """One connector of a scene, in short."""

    name: str
    status: Status
    reason: GrantReason | None = None
    limit_ma: int = 0
    current_ma: tuple[int, int, int] | None = None
    tag: str | None = None
    minutes: int = 0
    idle_minutes: int = 0
    energy_wh: int = 0
    cluster: str | None = "default"
    online: bool = True


BUSY = (
    Bay("Bay 1", Status.CHARGING, GrantReason.SHARED_LIMIT, 10_200, (10_200, 10_100, 10_200), "A1B2C3", 72, 3, 7_420),
    Bay("Bay 2", Status.SUSPENDED_EVSE, GrantReason.WAITING, 0, (0, 0, 0), "0455AA", 12, 4, 1_130),
    Bay("Bay 3", Status.CHARGING, GrantReason.VEHICLE, 16_000, (9_800, 0, 0), "C0FFEE", 43, 0, 1_610),
    Bay("Bay 4", Status.CHARGING, GrantReason.SHARED_LIMIT, 10_200, (0, 9_900, 0), None, 8, 0, 120),
    Bay(
        "Bay 5",
        Status.CHARGING,
        GrantReason.OWN_MAXIMUM,
        16_000,
        (15_900, 15_800, 15_900),
        "BEEF01",
        181,
        0,
        31_870,
        "c2",
    ),
    Bay("Bay 6", Status.SUSPENDED_EV, GrantReason.VEHICLE, 6_000, (0, 0, 0), "BEEF02", 240, 96, 38_055, "c2"),
    Bay(
        "Bay 7",
        Status.CHARGING,
        GrantReason.STATION_LOST,
        6_000,
        (6_000, 6_000, 6_000),
        "F00D11",
        25,
        0,
        2_000,
        "c2",
        False,
    ),
    Bay("Bay 8", Status.FAULTED, cluster=None),
    Bay("Bay 9", Status.AVAILABLE),
    Bay("Bay 10", Status.PREPARING, GrantReason.NOT_AUTHORISED),
)
PEOPLE = {
    "A1B2C3": "Müller",
    "0455AA": "Jansen",
    "C0FFEE": "Pool car 4",
    "BEEF01": "De Vries",
    "BEEF02": "Lefèvre",
    "F00D11": "Visitor",
}
LONG_NAME = "Tiefgaragenstellplatzladestationsbetreibergesellschaft Nord-West"
NAMES_TO_ESCAPE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "';alert(3)//",
    "{{ 7 * 7 }}",
    "</table><h1>pwned</h1>",
    "javascript:alert(4)",
)


def busy(*, alarms: bool = True, dashboard: Dashboard = Dashboard.RESTRICTED) -> State:
    """Ten stations in two clusters, in all conditions."""
    state = scene(BUSY, dashboard=dashboard)
    waiting = {
        "EV-NEW-01": StationState(online=True, met=True, vendor="Alfen", model="ICU Eve Mini", address="192.168.10.61")
    }
    raised = Alarm(AlarmCode.STATION_OFFLINE, "ST7", NOON - timedelta(minutes=58))
    silent = Alarm(AlarmCode.METER_SILENT, "site", NOON - timedelta(minutes=2))
    refused = RefusedStart(NOON - timedelta(minutes=5), "ST4", STRANGER_TAG, Verdict.INVALID)
    return attrs.evolve(
        state,
        stations={**state.stations, **waiting},
        alarms={(alarm.code, alarm.subject): alarm for alarm in (raised, silent)} if alarms else {},
        refusals=(refused,),
        changes=CHANGES,
        limits={
            record.limit.id: LimitState(record, 0, holds=record.began_at is not None)
            for record in LIMITS
            if record.ended is None
        },
    )


def twenty() -> State:
    names = [attrs.evolve(BUSY[i % 10], name=f"Tiefgarage Stellplatz {i + 1}") for i in range(20)]
    return scene(tuple(names), dashboard=Dashboard.RESTRICTED)


def long_names() -> State:
    """Everything that has a name has one of 64 letters, most of them one word."""
    state = scene(tuple(attrs.evolve(bay, name=LONG_NAME) for bay in BUSY), dashboard=Dashboard.RESTRICTED)
    site = attrs.evolve(
        state.site,
        system=attrs.evolve(state.site.system, name=LONG_NAME),
        clusters=tuple(attrs.evolve(cluster, name=LONG_NAME) for cluster in state.site.clusters),
    )
    badges = {
        tag: attrs.evolve(badge, comment=LONG_NAME, group=LONG_NAME[:40], email=f"{LONG_NAME[:50]}@example.org")
        for tag, badge in state.badges.items()
    }
    alarm = Alarm(AlarmCode.STATION_OFFLINE, "ST7", NOON - timedelta(minutes=58))
    return attrs.evolve(state, site=site, badges=badges, alarms={(alarm.code, alarm.subject): alarm})


def hostile() -> State:
    bays = tuple(attrs.evolve(BUSY[0], name=name, tag=name[:20]) for name in NAMES_TO_ESCAPE)
    state = scene(bays, dashboard=Dashboard.RESTRICTED)
    waiting = {
        name: StationState(online=True, met=True, vendor=name, model=name, address=name) for name in NAMES_TO_ESCAPE
    }
    badges = {normalise(name): Badge(name, comment=name) for name in NAMES_TO_ESCAPE}
    refused = tuple(RefusedStart(NOON, name, f"{name}x", Verdict.INVALID) for name in NAMES_TO_ESCAPE)
    site = attrs.evolve(state.site, system=attrs.evolve(state.site.system, name=NAMES_TO_ESCAPE[0]))
    return attrs.evolve(state, site=site, stations={**state.stations, **waiting}, badges=badges, refusals=refused)


def empty(*, factory: bool = False) -> State:
    return State(site=Site(system=System(name="Kerkstraat 12")), factory=factory)


def scene(bays: tuple[Bay, ...], *, dashboard: Dashboard) -> State:
    ids = [f"ST{i + 1}" for i in range(len(bays))]
    stations = tuple(
        Station(station_id, bay.name, cluster=bay.cluster, fallback_ma=6_000 if i == 6 else None)
        for i, (station_id, bay) in enumerate(zip(ids, bays, strict=True))
    )
    site = Site(
        system=System("Parking Kerkstraat", "NL", dashboard=dashboard),
        supply=Supply(mode=Mode.DYNAMIC, fallback_ma=PerPhase.same(16_000), static_max_ma=PerPhase.same(40_000)),
        clusters=(
            Cluster("default", "Cluster #1", limit_ma=PerPhase.same(32_000)),
            Cluster("c2", "Cluster #2", limit_ma=PerPhase.same(25_000)),
        ),
        stations=stations,
        meters=(MeterSetup("site", "eastron_sdm630", "192.168.10.20"),),
        access=AccessRule.BADGE,
    )
    now_ms = Clock().monotonic_ms()
    return State(
        site=site,
        factory=False,
        stations={
            station_id: StationState(
                online=bay.online,
                met=True,
                since_ms=now_ms - 3_480_000,
                accepted=True,
                address="192.168.10.5",
                vendor="Hager",
                model="witty",
            )
            for station_id, bay in zip(ids, bays, strict=True)
        },
        connectors={
            (station_id, 1): _connector(i, station_id, bay)
            for i, (station_id, bay) in enumerate(zip(ids, bays, strict=True))
        },
        badges={
            tag.lower(): Badge(
                tag,
                BadgeType.SUPER if tag == "A1B2C3" else BadgeType.STANDARD,
                BadgeState.INACTIVE if tag == "F00D11" else BadgeState.ACTIVE,
                comment=name,
                expires_on=date(2026, 12, 31) if tag == "F00D11" else None,
            )
            for tag, name in PEOPLE.items()
        },
        nodes=_nodes(),
    )


def _connector(index: int, station_id: str, bay: Bay) -> ConnectorState:
    session = None
    if bay.minutes:
        session = Session(
            index + 41,
            station_id,
            1,
            bay.tag,
            NOON - timedelta(minutes=bay.minutes),
            1_000,
            1_000 + bay.energy_wh,
            bay.energy_wh,
            (bay.minutes - bay.idle_minutes) * 60_000,
            bay.idle_minutes * 60_000,
        )
    shared = bay.reason in (GrantReason.SHARED_LIMIT, GrantReason.WAITING)
    binding = Binding("default", Phase.L1) if shared else None
    return ConnectorState(
        Ledger(None),
        status=bay.status,
        session=session,
        readings=(Reading(0, PerPhase(*bay.current_ma)),) if bay.current_ma is not None else (),
        rank=index,
        offered_ma=bay.limit_ma,
        grant=Grant(f"{station_id}/1", bay.limit_ma, bay.reason, binding) if bay.reason is not None else None,
    )


def _nodes() -> dict[str, NodeView]:
    def view(node: str, limit: int, total: PerPhase | None, stations: PerPhase) -> NodeView:
        limits = PerPhase.same(limit)
        free = (limits - (total or stations)).map(lambda value: max(value, 0))
        building = (total or stations) - stations
        return NodeView(node, limits, total, stations, stations, free, limits - building)

    return {
        "site": view("site", 50_400, PerPhase(50_100, 41_300, 33_900), PerPhase(31_900, 25_900, 26_100)),
        "default": view("default", 32_000, None, PerPhase(20_000, 10_100, 10_200)),
        "c2": view("c2", 25_000, None, PerPhase(11_900, 15_800, 15_900)),
    }


def ended_sessions(count: int = 24) -> tuple[Session, ...]:
    """Sessions of the days before, oldest first, the newest one open."""
    ended = [
        attrs.evolve(
            Session(i, f"ST{i % 8 + 1}", 1, [*PEOPLE][i % 6], NOON - timedelta(hours=7 * (count - i)), 1_000, 9_000),
            energy_wh=8_000 + 517 * i,
            stopped_at=NOON - timedelta(hours=7 * (count - i) - 2, minutes=i),
            meter_stop_wh=9_000 + 517 * i,
            state=SessionState.CLOSED,
        )
        for i in range(count)
    ]
    return (*ended, Session(count, "ST1", 1, "A1B2C3", NOON - timedelta(minutes=72), 1_000, 8_420, 7_420))


# Serving


@attrs.frozen
class Served:
    """A running web application and what stands behind it."""

    url: str
    book: Book
    people: People
    desk: Desk

    def begin_again(self, state: State, *, factory: bool = False) -> None:
        """As if it had just been started, without the wait."""
        self.book.begin(state)
        self.people.begin(factory)


@contextlib.contextmanager
def serving(state: State, *, factory: bool = False, port: int = 0) -> Iterator[Served]:
    """The real application under a real server on a loopback port, until the block ends."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    book, people = Book(state), People()
    people.begin(factory)
    desk = Desk(
        inbox=book,
        accounts=people,
        archive=Shelf(ended_sessions()),
        history=WaveHistory(),
        test_meter=silent_meter,
        clock=Clock(),
        station_keys=MemoryKeys(),
        hand_key=MemoryKeys().hand,
        station_url="ws://192.168.10.2:9000/ocpp/",
        version="0.1.0",
        allowed_hosts=frozenset({"127.0.0.1", "localhost"}),
        stations=Nobody(),
        healthy=lambda: None,
        uplink=MemoryUplink(),
        meter_models=Catalogue(),
        write_sessions=no_csv,
        parse_badges=parse_badges,
        set_clock=lambda _: False,
        back_up=write_nothing,
        write_bundle=write_nothing,
        mail=MemoryMail(),
        workshop=Idle(),
    )
    app = create_app(desk)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", book, people, desk)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


if __name__ == "__main__":
    SCENES = {"busy": busy, "twenty": twenty, "hostile": hostile, "long": long_names, "empty": empty}
    with serving(SCENES[sys.argv[1]](), port=8099) as served:
        print(served.url, PASSWORD)
        threading.Event().wait()
