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
import threading
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path

import attrs
import uvicorn

from llm_adapters.files.badges_csv import parse_badges
from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.database import Database, snapshot_daily
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.web.app import create_app
from llm_adapters.web.desk import Desk
from llm_app.clock import SystemClock, set_machine_clock
from llm_app.controller import Controller
from llm_app.faults import Failure
from llm_app.journalling import Journal
from llm_app.metering import Meters
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


@attrs.frozen
class Running:
    """A server that has started."""

    http: Address
    ocpp: Address
    controller: Controller
    accounts: SqliteAccounts


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Own the data directory while the context is open. Raises `Failure` where that is not possible."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = (data / LOCK_NAME).open("a")
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
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(options.data))
        http = stack.enter_context(bound(options.http, "pages"))
        try:
            database = await Database.open(options.data, clock)
        except StoreError as error:
            raise Failure(f"cannot open the database in {options.data}: {error}") from error
        try:
            store, accounts = SqliteStore(database), SqliteAccounts(database)
            snapshots = asyncio.create_task(snapshot_daily(database), name="snapshots")
            try:
                async with _running(options, clock, store, accounts, http) as running:
                    yield running
            finally:
                await _cancelled([snapshots])
        finally:
            await database.close()


@contextlib.asynccontextmanager
async def _running(
    options: Options,
    clock: SystemClock,
    store: SqliteStore,
    accounts: SqliteAccounts,
    http: socket.socket,
) -> AsyncIterator[Running]:
    state = await _recovered(clock, store, accounts)
    journal = Journal(options.data, version("local-load-manager"))
    controller = Controller(state, clock, store, journal)
    stations = StationServer(controller, clock)
    controller.command_with(stations.perform)
    meters = Meters(controller, clock, Catalogue(options.data))
    watchdog = Watchdog(controller)
    async with _listening(stations, options.ocpp) as ocpp:
        running = Running(_address(http), ocpp, controller, accounts)
        web = _web_server(_desk(options, running, store, clock, stations, meters))
        pages = asyncio.create_task(web.serve(sockets=[http]), name="pages")
        others = [
            asyncio.create_task(controller.run(), name="controller"),
            asyncio.create_task(meters.run(), name="meters"),
            asyncio.create_task(_watch_factory(controller, accounts), name="factory"),
        ]
        watchdog.start()
        try:
            async with _together([pages, *others]):
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


@contextlib.asynccontextmanager
async def _listening(stations: StationServer, address: Address) -> AsyncIterator[Address]:
    async with contextlib.AsyncExitStack() as stack:
        try:
            port = await stack.enter_async_context(stations.listen(address.host, address.port))
        except OSError as error:
            raise Failure(f"cannot listen on {address} for stations: {error.strerror}") from error
        yield Address(address.host, port)


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


def _desk(
    options: Options, running: Running, store: SqliteStore, clock: SystemClock, stations: StationServer, meters: Meters
) -> Desk:
    host = _own_address() if running.ocpp.host in ("0.0.0.0", "::") else running.ocpp.host
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower(), host, *_own_addresses()}
    return Desk(
        inbox=running.controller,
        accounts=running.accounts,
        archive=store,
        clock=clock,
        station_url=f"ws://{Address(host, running.ocpp.port)}/ocpp/",
        version=version("local-load-manager"),
        allowed_hosts=frozenset(names) | options.allowed_hosts,
        stations=stations,
        healthy=running.controller.why_unhealthy,
        meter_models=meters.catalogue,
        write_sessions=write_sessions,
        parse_badges=parse_badges,
        set_clock=set_machine_clock,
    )


def _own_address() -> str:
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
    return {_own_address(), *(str(info[4][0]) for info in found)}


class _WebServer(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the rest is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _web_server(desk: Desk) -> _WebServer:
    config = uvicorn.Config(
        create_app(desk),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws="none",
        limit_concurrency=500,
    )
    return _WebServer(config)


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
