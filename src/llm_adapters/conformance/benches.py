"""What the tests need of an adapter's surroundings: one bench for each port, found by its name.

A bench is a class without arguments. `kind` says which tests are for it, and `open` sets up the adapter with a peer
that does as the tests say; the peer had better be no code of the adapter's own maker where there is another one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from llm_core import (
    Answer,
    Authorised,
    BadgePresented,
    BootAnswer,
    Clock,
    Event,
    Meter,
    Request,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationBooted,
    Stations,
    Stopped,
    Store,
    UplinkMessage,
    Uplinks,
    Verdict,
)

ENVIRONMENT = "LLM_CONFORMANCE"
GROUP = "local_load_manager.conformance"
SMALLEST = tuple(f"llm_adapters.conformance.smallest:{name}" for name in ("Meters", "Posts", "Shelf", "Operator"))

Kind = Literal["meter", "stations", "store", "uplink"]
T = TypeVar("T")


# Meters


class MeterRig(Protocol):
    """A meter at node `site` and the device behind it."""

    meter: Meter
    signed: bool  # whether feed-in is told apart from a load
    step_ma: int  # how coarse its figures are

    async def show(self, amps: tuple[float, float, float]) -> None:
        """From now on the device measures these currents, feed-in below 0."""

    async def fall_silent(self) -> None:
        """The device no longer answers."""

    async def answer_again(self) -> None: ...


class MeterBench(Protocol):
    kind: ClassVar[Kind]

    def open(self, clock: Clock) -> AbstractAsyncContextManager[MeterRig]: ...


# Stations

Mood = Literal["accepts", "refuses", "silent"]
STATION_IDS = ("ST1", "ST2")


class StationsRig(Protocol):
    """The adapter, and two stations `STATION_IDS` with one connector each; they accept limits unless told otherwise."""

    stations: Stations

    async def connect(self, station_id: str) -> None:
        """Returns when the station may be given limits."""

    async def disconnect(self, station_id: str) -> None: ...

    def be(self, station_id: str, mood: Mood) -> None:
        """How the station takes every limit from now on."""

    def held_ma(self, station_id: str) -> int | None:
        """The limit that the station itself holds to, None where it has none."""


class StationsBench(Protocol):
    kind: ClassVar[Kind]

    def open(self, inbox: Facts, clock: Clock) -> AbstractAsyncContextManager[StationsRig]: ...


# Stores


class StoreBench(Protocol):
    kind: ClassVar[Kind]

    def open(self, folder: Path, clock: Clock) -> AbstractAsyncContextManager[Store]:
        """A store on what lies in `folder`; opened again it has what was committed before."""


# Uplinks


class UplinkRig(Protocol):
    """The way up for station `ST1`, and a CPO that is connected."""

    uplinks: Uplinks
    verdicts: dict[str, Verdict]  # what the CPO says of a badge; Invalid of others

    async def put(self, *messages: UplinkMessage) -> None:
        """These are in the queue for the CPO, on the disk; `TellCpo` follows from the test."""

    async def cut(self) -> None:
        """The CPO can no longer be reached."""

    async def mend(self) -> None: ...

    def heard(self) -> list[tuple[str, int]]:
        """The starts and stops that the CPO took, in their order, each with the meter reading it tells."""


class UplinkBench(Protocol):
    kind: ClassVar[Kind]

    def open(self, inbox: Facts, clock: Clock) -> AbstractAsyncContextManager[UplinkRig]: ...


# What the tests bring along


class WallClock:
    """The machine's own clock."""

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def utc(self) -> datetime:
        return datetime.now(UTC)


class Facts:
    """An `Inbox` that keeps every fact and lets everybody in."""

    def __init__(self, site: Site | None = None) -> None:
        self.state = State(site=site or Site(stations=tuple(map(Station, STATION_IDS))))
        self.posted: list[Event] = []
        self._came = asyncio.Event()

    def post(self, event: Event) -> None:
        self.posted.append(event)
        self._came.set()

    async def ask(self, event: Request) -> Answer:
        self.post(event)
        await asyncio.sleep(0)
        match event:
            case StationBooted():
                return BootAnswer(accepted=True, interval_s=300)
            case BadgePresented():
                return Authorised(Verdict.ACCEPTED)
            case StartRequested():
                return Started(17, Verdict.ACCEPTED)
            case _:
                return Stopped(Verdict.ACCEPTED)

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.posted if isinstance(event, kind)]

    async def until(self, holds: Callable[[], T], within_s: float) -> T:
        """What `holds` gives, as soon as that is something. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while not (found := holds()):
                self._came.clear()
                await self._came.wait()
        return found


# Finding them


def named(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The names of the benches to try, `module:attribute` each."""
    wanted = [name.strip() for name in environment.get(ENVIRONMENT, "").split(",") if name.strip()]
    installed = sorted(point.value for point in entry_points(group=GROUP))
    yield from wanted or installed or SMALLEST


def bench(name: str) -> Any:
    """The bench of this name, made. Raises with what is wrong with it."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)()
