"""A core in memory for tests of adapters: it keeps every fact, answers requests as told, and waits for what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import attrs

from llm_core import (
    Answer,
    Authorised,
    BadgePresented,
    BootAnswer,
    Event,
    Request,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationBooted,
    StationState,
    Stopped,
    Verdict,
)

EPOCH = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
T = TypeVar("T")


def usual_answer(event: Request) -> Answer:
    """Everybody is welcome."""
    match event:
        case StationBooted():
            return BootAnswer(accepted=True, interval_s=300)
        case BadgePresented():
            return Authorised(Verdict.ACCEPTED)
        case StartRequested():
            return Started(17, Verdict.ACCEPTED)
        case _:
            return Stopped(Verdict.ACCEPTED)


class MemoryInbox:
    """An `Inbox`: `events` in the order they came, `answer` decides every request."""

    def __init__(self, *known: str) -> None:
        self.events: list[Event] = []
        self.answer: Callable[[Request], Answer] = usual_answer
        self.state = State(site=Site(stations=tuple(Station(station_id) for station_id in known)))
        self._came = asyncio.Event()

    def post(self, event: Event) -> None:
        self.events.append(event)
        self._came.set()

    async def ask(self, event: Request) -> Answer:
        self.post(event)
        await asyncio.sleep(0)
        return self.answer(event)

    def accept(self, station_id: str) -> None:
        """From here on the core believes that this station has booted."""
        self.state = attrs.evolve(self.state, stations={station_id: StationState(online=True, accepted=True)})

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[T], where: Callable[[T], bool] = lambda _: True, count: int = 1) -> T:
        """The `count`th fact of its kind that `where` holds for, now or later."""
        async with asyncio.timeout(40):
            while len(found := [event for event in self.all(kind) if where(event)]) < count:
                self._came.clear()
                await self._came.wait()
        return found[count - 1]


class LoopClock:
    """A `Clock` that goes with the event loop; `stepped` is how far its UTC was set."""

    def __init__(self) -> None:
        self.stepped = timedelta()

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def utc(self) -> datetime:
        return EPOCH + self.stepped + timedelta(milliseconds=self.monotonic_ms())
