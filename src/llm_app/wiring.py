"""The composition root: the one place that knows every adapter. It decides nothing.

store ─> recover ─> Controller <─ stations, meters, pages
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path

import attrs

from llm_adapters.files.badges_csv import parse_badges
from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.mdns.neighbours import Neighbours
from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.ocpp16.uplink.uplinks import CpoUplinks
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.backup import back_up
from llm_adapters.sqlite.database import FILE_NAME, Database, snapshot_daily
from llm_adapters.sqlite.history import SqliteHistory
from llm_adapters.sqlite.mail import SqliteMail
from llm_adapters.sqlite.models import SqliteModelMemory
from llm_adapters.sqlite.station_keys import SqliteStationKeys
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.sqlite.uplink import SqliteUplink
from llm_adapters.web.app import create_app
from llm_adapters.web.desk import Desk
from llm_app.changing import Changes
from llm_app.clock import SystemClock, set_machine_clock
from llm_app.control_socket import answering
from llm_app.controller import Controller
from llm_app.doors import (
    TlsFiles,
    allow_many_files,
    ask_for_certificates,
    certifier,
    page_crowd,
    tls_context,
    tls_files,
    web_server,
)
from llm_app.faults import Failure, WrongInput
from llm_app.journalling import Journal
from llm_app.local_name import local_name
from llm_app.mailing import Mailer
from llm_app.metering import Meters
from llm_app.overhaul import Workshop, carry_out_orders
from llm_app.plugins import Copied, Plugins, Shared, SharedCalls
from llm_app.plugins import load as load_plugins
from llm_app.recorder import Recorder
from llm_app.support import write_bundle
from llm_core import Now, Save, SetUpDone, State, StoreError, recover

log = logging.getLogger("llm.app")

LOCK_NAME = "llm.lock"
WATCHDOG_S = 5.0
GRACE_S = 1  # how long open pages may finish when the server stops


@attrs.frozen
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, with IPv6 hosts in brackets. Raises ValueError with what is wrong."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"“{text}” is not HOST:PORT")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Options:
    """What a server is started with; everything a user edits lives in the database."""

    data: Path
    http: Address
    ocpp: Address
    allowed_hosts: frozenset[str] = frozenset()
    ocpp_tls: Address | None = None
    tls: TlsFiles | None = None  # None: certificates of our own
    https: bool = False
    first_login_code: str | None = attrs.field(default=None, repr=False)  # in place of 1234, for this device alone
    starts_anew: bool = False  # whoever runs the server begins again when `Running.ended` is set


@attrs.frozen
class Running:
    """A server that has started."""

    http: Address
    ocpp: Address
    controller: Controller
    accounts: SqliteAccounts
    ocpp_tls: Address | None = None
    tls: ssl.SSLContext | None = None
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)  # it is to start anew


@attrs.frozen
class Shelves:
    """What lies in the database."""

    store: SqliteStore
    accounts: SqliteAccounts
    keys: SqliteStationKeys
    models: SqliteModelMemory
    cpo: SqliteUplink
    history: SqliteHistory
    database: Database

    def mailer(self, controller: Controller, clock: SystemClock) -> Mailer:
        return Mailer(SqliteMail(self.database), self.store, controller, clock)


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Own the data directory while the context is open. Raises `Failure` where that is not possible."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = (data / LOCK_NAME).open("a")
    except (FileExistsError, NotADirectoryError) as error:
        raise WrongInput(f"{data} is no directory") from error
    except OSError as error:
        raise Failure(f"cannot write to {data}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Failure(f"another server already runs with the data in {data}") from error
        yield


def bound(address: Address, purpose: str) -> socket.socket:
    """A listening socket, so that a taken port is known before anything starts."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise Failure(f"cannot listen on {address} for {purpose}: {error.strerror}") from error
    return listener


@contextlib.asynccontextmanager
async def serving(options: Options) -> AsyncIterator[Running]:
    """The complete server while the context is open; leaving it writes what is left and closes everything."""
    clock = SystemClock()
    allow_many_files()
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(options.data))
        http = stack.enter_context(bound(options.http, "pages"))
        try:
            carry_out_orders(options.data, clock.utc())
        except OSError as error:
            raise Failure(f"cannot do in {options.data} what was asked for: {error}") from error
        try:
            database = await Database.open(options.data, clock)
        except StoreError as error:
            raise Failure(f"cannot open the database in {options.data}: {error}") from error
        try:
            keys = await SqliteStationKeys.open(database)
            history = await _history(options.data)
            accounts = SqliteAccounts(database, options.first_login_code)
            models = await SqliteModelMemory.open(database)
            shelves = Shelves(SqliteStore(database), accounts, keys, models, SqliteUplink(database), history, database)
            snapshots = asyncio.create_task(snapshot_daily(database), name="snapshots")
            try:
                async with _running(options, clock, shelves, http) as running:
                    yield running
            finally:
                await _cancelled([snapshots])
                await history.close()
        finally:
            await database.close()


async def _history(data: Path) -> SqliteHistory:
    try:
        return await SqliteHistory.open(data)
    except StoreError as error:
        raise Failure(f"cannot open the history in {data}: {error}") from error


@contextlib.asynccontextmanager
async def _running(
    options: Options, clock: SystemClock, shelves: Shelves, http: socket.socket
) -> AsyncIterator[Running]:
    tls = await _tls(options)
    state = await _recovered(clock, shelves.store, shelves.accounts)
    journal = Journal(options.data, version("local-load-manager"))
    copied = Copied(shelves.store)
    controller = Controller(state, clock, copied, journal)
    plugins = load_plugins(controller, clock, options.data)
    stations = StationServer(controller, clock, keys=shelves.keys, models=shelves.models)
    stations.vendors.register_installed()
    controller.watch(stations.look)
    controller.command_with(Shared(stations.perform, plugins.stations, controller).perform)
    uplinks = _above(controller, shelves, clock, stations, plugins)
    recorder = Recorder(shelves.history, clock)
    controller.watch(recorder.look)
    catalogue = Catalogue(options.data)
    for fault in catalogue.faults:
        log.error("a meter cannot be used: %s", fault)
    meters = Meters(controller, clock, catalogue)
    changes = Changes(controller, shelves.accounts, catalogue)
    watchdog = Watchdog(controller)
    async with _listening(stations, options, tls, controller) as (ocpp, ocpp_tls):
        running = Running(_address(http), ocpp, controller, shelves.accounts, ocpp_tls, tls)
        crowd = page_crowd()
        neighbours = _neighbours(options, running)
        desk = _desk(options, running, shelves, stations, clock, meters, neighbours)
        desk = attrs.evolve(desk, stations=SharedCalls(stations, plugins.stations))
        web = web_server(create_app(desk), crowd, tls if options.https else None, GRACE_S)
        pages = asyncio.create_task(web.serve(sockets=[crowd.door(http)]), name="pages")
        others = [
            asyncio.create_task(controller.run(), name="controller"),
            asyncio.create_task(meters.run(), name="meters"),
            asyncio.create_task(recorder.run(), name="history"),
            asyncio.create_task(uplinks.run(), name="uplinks"),
            asyncio.create_task(shelves.mailer(controller, clock).run(), name="mail"),
            asyncio.create_task(_announced(neighbours), name="local name"),
            asyncio.create_task(_watch_factory(controller, shelves.accounts), name="factory"),
            *plugins.tasks(),
            *copied.tasks(plugins.stores),
        ]
        watchdog.start()
        try:
            async with _together([pages, *others]), answering(options.data, changes):
                yield running
        finally:
            watchdog.stop()
            web.should_exit = True
            await asyncio.wait([pages], timeout=GRACE_S + 1)
            await _cancelled([pages, *others])
            try:
                await controller.close()
            finally:
                journal.close()


def _above(
    controller: Controller, shelves: Shelves, clock: SystemClock, stations: StationServer, plugins: Plugins
) -> CpoUplinks:
    """The way up to a CPO, told of what stations say and of all that changes."""
    uplinks = CpoUplinks(shelves.cpo, controller, clock, stations)
    controller.tell_cpo_with(Shared(uplinks.perform, plugins.uplinks, controller).perform)
    controller.watch(uplinks.look)
    stations.upstream = uplinks
    return uplinks


async def _tls(options: Options) -> ssl.SSLContext | None:
    """TLS for whoever uses it; None where nobody does."""
    if options.ocpp_tls is None and not options.https:
        return None
    names = _names(options)
    return tls_context(await asyncio.to_thread(tls_files, options.data, options.tls, names))


@contextlib.asynccontextmanager
async def _listening(
    stations: StationServer, options: Options, tls: ssl.SSLContext | None, controller: Controller
) -> AsyncIterator[tuple[Address, Address | None]]:
    """Stations may call: the address of the plain port and of the one with TLS."""
    async with contextlib.AsyncExitStack() as stack:
        plain = await _listens(stack, stations, options.ocpp, None)
        encrypted = None
        if options.ocpp_tls is not None and tls is not None:
            stations.certify = certifier(options.data) if options.tls is None else None
            ask_for_certificates(tls, controller.state.site)
            controller.watch(lambda before, after: _follow(tls, before, after))
            encrypted = await _listens(stack, stations, options.ocpp_tls, tls)
        yield plain, encrypted


async def _listens(
    stack: contextlib.AsyncExitStack, stations: StationServer, address: Address, tls: ssl.SSLContext | None
) -> Address:
    try:
        port = await stack.enter_async_context(stations.listen(address.host, address.port, tls=tls))
    except OSError as error:
        raise Failure(f"cannot listen on {address} for stations: {error.strerror}") from error
    return Address(address.host, port)


def _follow(tls: ssl.SSLContext, before: State, after: State) -> None:
    if before.site.stations is not after.site.stations:
        ask_for_certificates(tls, after.site)


@contextlib.asynccontextmanager
async def _together(tasks: list[asyncio.Task[None]]) -> AsyncIterator[None]:
    """The body ends when any of the tasks does: a server without one of its parts is no server."""
    body = asyncio.current_task()
    if body is None:
        raise RuntimeError("a server runs inside a task")
    ended: list[asyncio.Task[None]] = []

    def over(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            ended.append(task)
            body.cancel()

    for task in tasks:
        task.add_done_callback(over)
    try:
        yield
    except asyncio.CancelledError:
        if not ended:
            raise
        error = ended[0].exception()
        raise Failure(f"{ended[0].get_name()} ended: {error!r}") from error
    finally:
        for task in tasks:
            task.remove_done_callback(over)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _recovered(clock: SystemClock, store: SqliteStore, accounts: SqliteAccounts) -> State:
    stored = await store.load()
    now = Now(clock.monotonic_ms(), clock.utc())
    state, effects = recover(stored, now, factory=await accounts.is_factory())
    await store.commit([effect.record for effect in effects if isinstance(effect, Save)])
    return state


async def _watch_factory(controller: Controller, accounts: SqliteAccounts) -> None:
    """A command on this machine may end the factory state beside the running server."""
    while controller.state.factory:
        await asyncio.sleep(1)
        if not await accounts.is_factory():
            controller.post(SetUpDone())
            break
    await asyncio.Event().wait()


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def _neighbours(options: Options, running: Running) -> Neighbours | None:
    """A name on the local network, unless the pages are for this machine alone."""
    if running.http.host.startswith("127.") or running.http.host == "::1":
        return None
    host = running.http.host
    addresses = _own_addresses() if host in ("0.0.0.0", "::") else {host}
    return Neighbours(local_name(options.data), addresses, running.http.port, running.ocpp.port)


async def _announced(neighbours: Neighbours | None) -> None:
    """The name is a convenience: a server without it is a server all the same."""
    if neighbours is not None:
        await neighbours.run()
    await asyncio.Event().wait()


def _desk(
    options: Options,
    running: Running,
    shelves: Shelves,
    stations: StationServer,
    clock: SystemClock,
    meters: Meters,
    neighbours: Neighbours | None,
) -> Desk:
    host = own_address() if running.ocpp.host in ("0.0.0.0", "::") else running.ocpp.host
    encrypted = running.ocpp_tls
    return Desk(
        inbox=running.controller,
        accounts=running.accounts,
        archive=shelves.store,
        history=shelves.history,
        test_meter=meters.test,
        station_keys=shelves.keys,
        hand_key=stations.hand_key,
        clock=clock,
        station_url=f"ws://{Address(host, running.ocpp.port)}/ocpp/",
        station_tls_url=f"wss://{Address(host, encrypted.port)}/ocpp/" if encrypted is not None else None,
        version=version("local-load-manager"),
        stations=stations,
        allowed_hosts=_names(options) | {host},
        healthy=running.controller.why_unhealthy,
        ticks_ms=lambda: tuple(running.controller.took_ms),
        uplink=shelves.cpo,
        meter_models=meters.catalogue,
        write_sessions=write_sessions,
        parse_badges=parse_badges,
        set_clock=set_machine_clock,
        mail=shelves.mailer(running.controller, clock),
        back_up=lambda target: asyncio.to_thread(back_up, options.data / FILE_NAME, target),
        write_bundle=lambda target: write_bundle(target, options.data, shelves.database),
        neighbours=neighbours.seen if neighbours is not None else tuple,
        workshop=Workshop(options.data, running.ended) if options.starts_anew else None,
    )


def _names(options: Options) -> frozenset[str]:
    """What this machine is called and reached by."""
    local = f"{local_name(options.data)}.local"
    own = {"localhost", "127.0.0.1", "::1", local, socket.gethostname().lower(), *_own_addresses()}
    return frozenset(own) | options.allowed_hosts


def own_address() -> str:
    """The address under which stations on the local network reach this machine; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _own_addresses() -> set[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        found = []
    return {own_address(), *(str(info[4][0]) for info in found)}


class Watchdog:
    """Ends the process when the control loop has not ticked for 5 s: the supervisor starts it again (trust 8)."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        seen, since = self._controller.ticks, time.monotonic()
        while not self._stop.wait(0.5):
            if self._controller.ticks != seen:
                seen, since = self._controller.ticks, time.monotonic()
            elif time.monotonic() - since > WATCHDOG_S:
                log.critical("the control loop has not ticked for %g s: leaving to be restarted", WATCHDOG_S)
                os._exit(70)
