"""What installed packages add beside our own adapters: stations of another kind, another way up, copies of the records.

An entry point names a function that makes an adapter; the group says for what. Meters are the `Catalogue`'s. A package
that cannot be loaded, or fails later, is told in the log and left out or tried again: it never ends the server, and it
never gets between the core and the adapters that work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import attrs

from llm_core import (
    AskCpo,
    CallFailure,
    CallOutcome,
    ClearLimit,
    Clock,
    CommissionWish,
    CpoAnswered,
    Inbox,
    Json,
    LimitUnanswered,
    Record,
    SetLimit,
    StationCalls,
    StationCommand,
    Store,
    Stored,
    UplinkCommand,
)

log = logging.getLogger("llm.app")

STATIONS, UPLINKS, STORES = (f"local_load_manager.{kind}" for kind in ("stations", "uplinks", "stores"))
NEEDED: Mapping[str, tuple[str, ...]] = {
    STATIONS: ("owns", "perform", "run"),
    UPLINKS: ("owns", "perform", "run"),
    STORES: ("commit",),
}
FOLDER = "plugins"
PAUSE_S = 30.0
MOST_WAITING = 1_000  # commits that a copy may lag behind; beyond that it has a gap, and says so
Command = TypeVar("Command", StationCommand, UplinkCommand, contravariant=True)


class Adapter(Protocol[Command]):
    """Stations, or a way up, of a package: `Stations` or `Uplinks` for those that are its own."""

    def owns(self, station_id: str) -> bool:
        """Whether this station is one of its own; asked for every command."""

    def perform(self, command: Command) -> None: ...

    async def run(self) -> None:
        """Work until cancelled."""


@attrs.frozen
class Plugins:
    """The adapters of packages by the names of their entry points, and why others cannot be used."""

    stations: Mapping[str, Any] = attrs.field(factory=dict)
    uplinks: Mapping[str, Any] = attrs.field(factory=dict)
    stores: Mapping[str, Any] = attrs.field(factory=dict)
    faults: tuple[str, ...] = ()

    def tasks(self) -> list[asyncio.Task[None]]:
        """All of them at work, for as long as the server is."""
        running = {**self.stations, **self.uplinks}
        return [asyncio.create_task(_kept_running(name, part), name=f"plugin {name}") for name, part in running.items()]


def installed() -> Iterator[EntryPoint]:
    """The entry points of all groups that are made into adapters here."""
    for group in NEEDED:
        yield from entry_points(group=group)


def load(inbox: Inbox, clock: Clock, data: Path, points: Iterable[EntryPoint] | None = None) -> Plugins:
    """Make every adapter; what fails is told in `faults` and in the log."""
    made: dict[str, dict[str, Any]] = {group: {} for group in NEEDED}
    faults: list[str] = []
    for point in installed() if points is None else points:
        folder = data / FOLDER / point.name
        try:
            make = point.load()
            adapter = make(folder, clock) if point.group == STORES else make(inbox, clock, folder)
        except (Exception, SystemExit) as error:  # whatever somebody else's code does
            faults.append(told(point, repr(error)))
            continue
        missing = [name for name in NEEDED[point.group] if not callable(getattr(adapter, name, None))]
        if missing:
            faults.append(told(point, f"it has no {', '.join(missing)}"))
        else:
            made[point.group][point.name] = adapter
    for fault in faults:
        log.error("%s", fault)
    return Plugins(made[STATIONS], made[UPLINKS], made[STORES], tuple(faults))


def told(point: EntryPoint, why: str) -> str:
    return f"{point.name} ({point.group}) cannot be used: {why}"


async def _kept_running(name: str, adapter: Adapter[Any]) -> None:
    while True:
        try:
            await adapter.run()
            log.warning("%s ended by itself; it is started again in %g s", name, PAUSE_S)
        except Exception:
            log.exception("%s failed; it is started again in %g s", name, PAUSE_S)
        await asyncio.sleep(PAUSE_S)


# Commands


@attrs.frozen
class Shared(Generic[Command]):
    """Commands for a station go to the adapter whose it is, and to ours where it is nobody's."""

    ours: Callable[[Command], None]
    theirs: Mapping[str, Adapter[Command]]
    inbox: Inbox

    def perform(self, command: Command) -> None:
        owner = owner_of(command.station_id, self.theirs)
        if owner is None:
            self.ours(command)
            return
        try:
            self.theirs[owner].perform(command)
        except Exception:
            log.exception("%s failed at %s", owner, type(command).__name__)
            self._answer_for(command)

    def _answer_for(self, command: StationCommand | UplinkCommand) -> None:
        """In doubt a limit is unanswered, and a CPO has no verdict."""
        match command:
            case SetLimit() | ClearLimit():
                self.inbox.post(LimitUnanswered(command.station_id, command.connector, command.seq))
            case AskCpo():
                self.inbox.post(CpoAnswered(command.station_id, command.id_tag, None, command.ask))
            case _:
                pass  # nobody waits for an answer


def owner_of(station_id: str, adapters: Mapping[str, Adapter[Any]]) -> str | None:
    """The name of the first adapter that has this station; one that cannot say has none."""
    for name, adapter in adapters.items():
        try:
            if adapter.owns(station_id):
                return name
        except Exception:
            log.exception("%s cannot say whether %s is its own", name, station_id)
    return None


@attrs.frozen
class SharedCalls:
    """`StationCalls` over ours and theirs. An adapter without `call` knows no action."""

    ours: StationCalls
    theirs: Mapping[str, Any]

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        owner = owner_of(station_id, self.theirs)
        if owner is None:
            return await self.ours.call(station_id, action, payload, deadline_s=deadline_s)
        call = getattr(self.theirs[owner], "call", None)
        if call is None:
            return CallOutcome(failure=CallFailure.NOT_SUPPORTED)
        try:
            async with asyncio.timeout(deadline_s):
                outcome = await call(station_id, action, payload)
        except TimeoutError:
            return CallOutcome(failure=CallFailure.TIMEOUT)
        except Exception as error:
            log.exception("%s failed at %s", owner, action)
            return CallOutcome(failure=CallFailure.REFUSED, detail=repr(error))
        return outcome if isinstance(outcome, CallOutcome) else CallOutcome(failure=CallFailure.REFUSED)

    def commission(self, station_id: str, by: str, wish: CommissionWish) -> bool:
        """Our commissioning test speaks OCPP: stations of other kinds have none."""
        return owner_of(station_id, self.theirs) is None and self.ours.commission(station_id, by, wish)


# Records


class Copied:
    """Our store (port `Store`), and a copy of every commit for stores of packages, in order and never waited for."""

    def __init__(self, ours: Store) -> None:
        self._ours = ours
        self._waiting: dict[str, asyncio.Queue[tuple[Record, ...]]] = {}
        self._gaps: set[str] = set()

    async def load(self) -> Stored:
        return await self._ours.load()

    async def commit(self, records: Iterable[Record]) -> None:
        """Returns, or raises, as ours does."""
        taken = tuple(records)
        await self._ours.commit(taken)
        for name, queue in self._waiting.items():
            if queue.full():
                queue.get_nowait()
                if name not in self._gaps:
                    log.error("%s lags %d commits behind: from here on it has a gap", name, MOST_WAITING)
                self._gaps.add(name)
            queue.put_nowait(taken)

    async def probe(self) -> None:
        await self._ours.probe()

    async def close(self) -> None:
        await self._ours.close()

    def tasks(self, copies: Mapping[str, Any]) -> list[asyncio.Task[None]]:
        """The copying of all that is committed from now on, for as long as the server works."""
        self._waiting = {name: asyncio.Queue(MOST_WAITING) for name in copies}
        return [asyncio.create_task(self._copy(name, store), name=f"copy {name}") for name, store in copies.items()]

    async def _copy(self, name: str, store: Any) -> None:
        failing = False
        while True:
            records = await self._waiting[name].get()
            while True:
                try:
                    await store.commit(records)
                    break
                except Exception as error:
                    if not failing:
                        log.error("%s takes no records: %r; tried again every %g s", name, error, PAUSE_S)
                    failing = True
                    await asyncio.sleep(PAUSE_S)
            if failing:
                log.info("%s takes records again", name)
                self._gaps.discard(name)
            failing = False


def findings(points: Collection[EntryPoint] | None = None) -> tuple[str, ...]:
    """Which of the installed packages cannot even be loaded; nothing is made."""
    faults = []
    for point in installed() if points is None else points:
        try:
            point.load()
        except (Exception, SystemExit) as error:
            faults.append(told(point, repr(error)))
    return tuple(faults)
