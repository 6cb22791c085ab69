"""The smallest adapters that hold what the ports promise, each with its bench: what to begin an own one from.

Their devices live in this process. A real adapter has a wire, and with it deadlines and a device that comes and goes;
the promises are the same.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs

from llm_adapters.conformance.benches import Facts, Kind, Mood
from llm_core import (
    SITE,
    AskCpo,
    Badge,
    BadgeRecord,
    Ceiling,
    ClearLimit,
    Clock,
    CpoAnswered,
    CpoVerdict,
    Inbox,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterSampled,
    Record,
    RefusedStart,
    Session,
    SetLimit,
    Site,
    StationCommand,
    StationConnected,
    StationDisconnected,
    Stored,
    StoreError,
    UplinkCommand,
    UplinkKind,
    UplinkMessage,
    Verdict,
    ma_up,
)

# A meter


class Device:
    """Measures what it is told; None: no longer anything."""

    amps: tuple[float, float, float] | None = (0.0, 0.0, 0.0)

    async def measure(self) -> tuple[float, float, float]:
        await asyncio.sleep(0)
        if self.amps is None:
            raise ConnectionError("no answer")
        return self.amps


class SmallestMeter:
    """Asks the device anew for every reading."""

    silent_because: str | None = None  # shown by the meter's test

    def __init__(self, node: str, device: Device, clock: Clock) -> None:
        self._node, self._device, self._clock = node, device, clock

    async def read(self) -> MeterSampled | None:
        taken_ms = self._clock.monotonic_ms()
        try:
            l1, l2, l3 = await self._device.measure()
        except OSError as error:
            self.silent_because = str(error)
            return None
        currents_ma = ma_up(str(l1)), ma_up(str(l2)), ma_up(str(l3))
        return MeterSampled(self._node, currents_ma, taken_ms, fingerprint=hash((l1, l2, l3)))

    async def close(self) -> None:
        """Nothing is held."""


@attrs.define
class _MeterRig:
    meter: SmallestMeter
    device: Device
    signed: bool = True
    step_ma: int = 1
    _last: tuple[float, float, float] = (0.0, 0.0, 0.0)

    async def show(self, amps: tuple[float, float, float]) -> None:
        self.device.amps = self._last = amps

    async def fall_silent(self) -> None:
        self.device.amps = None

    async def answer_again(self) -> None:
        self.device.amps = self._last


class Meters:
    kind: ClassVar[Kind] = "meter"

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator[_MeterRig]:
        device = Device()
        yield _MeterRig(SmallestMeter(SITE, device, clock), device)


# Stations


class Post:
    """A station on the other end of a wire: whether it takes a limit, None for no word."""

    def __init__(self) -> None:
        self.mood: Mood = "accepts"
        self.held_ma: int | None = None

    async def take(self, limit_ma: int | None) -> bool:
        if self.mood == "silent":
            await asyncio.Event().wait()
        if self.mood == "accepts":
            self.held_ma = limit_ma
        return self.mood == "accepts"


class SmallestStations:
    """One task and one queue for each station, so that none waits for another."""

    DEADLINE_S = 1.0

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._queues: dict[str, asyncio.Queue[SetLimit | ClearLimit]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def perform(self, command: StationCommand) -> None:
        if not isinstance(command, SetLimit | ClearLimit):
            return  # it cannot be stopped from afar, and has nothing more to tell
        queue = self._queues.get(command.station_id)
        if queue is None:
            self._inbox.post(LimitUnanswered(command.station_id, command.connector, command.seq))
        else:
            queue.put_nowait(command)

    def connected(self, station_id: str, post: Post) -> None:
        self._queues[station_id] = asyncio.Queue()
        self._tasks[station_id] = asyncio.create_task(self._serve(self._queues[station_id], post))
        self._inbox.post(StationConnected(station_id))

    async def lost(self, station_id: str) -> None:
        queue = self._queues.pop(station_id)
        task = self._tasks.pop(station_id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while not queue.empty():
            self._answer(queue.get_nowait(), None)
        self._inbox.post(StationDisconnected(station_id))

    async def close(self) -> None:
        for station_id in tuple(self._queues):
            await self.lost(station_id)

    async def _serve(self, queue: asyncio.Queue[SetLimit | ClearLimit], post: Post) -> None:
        while True:
            command = await queue.get()
            while not queue.empty():  # of several that wait only the newest goes out
                self._answer(command, None)
                command = queue.get_nowait()
            if isinstance(command, SetLimit) and command.is_too_late(self._clock.monotonic_ms()):
                self._answer(command, False)
                continue
            taken: bool | None = None
            try:
                async with asyncio.timeout(self.DEADLINE_S):
                    taken = await post.take(command.limit_ma if isinstance(command, SetLimit) else None)
            except TimeoutError:
                pass  # in doubt it is unanswered
            finally:
                self._answer(command, taken)

    def _answer(self, command: SetLimit | ClearLimit, taken: bool | None) -> None:
        kind: Callable[[str, int, int], Any] = LimitConfirmed if taken else LimitRefused
        answer = LimitUnanswered if taken is None else kind
        self._inbox.post(answer(command.station_id, command.connector, command.seq))


@attrs.define
class _StationsRig:
    stations: SmallestStations
    posts: dict[str, Post]

    async def connect(self, station_id: str) -> None:
        self.stations.connected(station_id, self.posts[station_id])

    async def disconnect(self, station_id: str) -> None:
        await self.stations.lost(station_id)

    def be(self, station_id: str, mood: Mood) -> None:
        self.posts[station_id].mood = mood

    def held_ma(self, station_id: str) -> int | None:
        return self.posts[station_id].held_ma


class Posts:
    kind: ClassVar[Kind] = "stations"

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[_StationsRig]:
        stations = SmallestStations(inbox, clock)
        try:
            yield _StationsRig(stations, {"ST1": Post(), "ST2": Post()})
        finally:
            await stations.close()


# A store


class SmallestStore:
    """One file that only grows: a commit is one frame with its length and checksum, and half a frame is none."""

    _HEADER = 8

    def __init__(self, file: Path) -> None:
        self._file = file
        self._records: list[Record] = []
        intact = 0
        data = file.read_bytes() if file.exists() else b""
        while len(data) - intact >= self._HEADER:
            start = intact + self._HEADER
            length, checksum = (int.from_bytes(data[intact + at : intact + at + 4]) for at in (0, 4))
            frame = data[start : start + length]
            if len(frame) < length or zlib.crc32(frame) != checksum:
                break
            self._records += pickle.loads(frame)
            intact = start + length
        self._handle = file.open("ab")
        self._handle.truncate(intact)

    async def load(self) -> Stored:
        return stored(self._records)

    async def commit(self, records: Iterable[Record]) -> None:
        taken = list(records)
        for record in taken:
            if not isinstance(record, Record):
                raise StoreError(f"{record!r} is no record")
        frame = pickle.dumps(taken)
        try:
            self._handle.write(len(frame).to_bytes(4) + zlib.crc32(frame).to_bytes(4) + frame)
            self._handle.flush()
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise StoreError(str(error)) from error
        self._records += taken

    async def probe(self) -> None:
        await self.commit(())

    async def close(self) -> None:
        self._handle.close()


def stored(records: Iterable[Record]) -> Stored:
    """What is known after all of these, the newest last."""
    found, badges, sessions = Stored(), dict[str, Badge](), dict[int, Session]()
    ceilings, verdicts, refusals = dict[tuple[str, int], int](), dict[str, CpoVerdict](), list[RefusedStart]()
    for record in records:
        match record:
            case Site():
                found = attrs.evolve(found, site=record)
            case BadgeRecord(badge=Badge() as badge):
                badges[record.key] = badge
            case BadgeRecord():
                badges.pop(record.key, None)
            case Session():
                sessions[record.transaction_id] = record
            case Ceiling():
                ceilings[record.station_id, record.connector] = record.limit_ma
            case CpoVerdict():
                verdicts[record.id_tag] = record
            case RefusedStart():
                refusals.append(record)
            case _:
                pass  # the smallest store keeps no more than control needs
    return attrs.evolve(
        found,
        badges=tuple(badges.values()),
        open_sessions=tuple(session for session in sessions.values() if session.is_open),
        recent_sessions=tuple(session for session in sessions.values() if not session.is_open),
        ceilings=ceilings,
        cpo_verdicts=tuple(verdict for verdict in verdicts.values() if verdict.verdict is not None),
        refusals=tuple(refusals),
        last_transaction_id=max(sessions, default=0),
    )


class Shelf:
    kind: ClassVar[Kind] = "store"

    @asynccontextmanager
    async def open(self, folder: Path, clock: Clock) -> AsyncIterator[SmallestStore]:  # noqa: ARG002 - part of the port
        store = SmallestStore(folder / "records")
        try:
            yield store
        finally:
            await store.close()


# An uplink


class SmallestUplink:
    """Asks and tells one after the other; what cannot be told stays in its queue."""

    ANSWER_S = 5.0

    def __init__(self, inbox: Inbox, cpo: SmallestCpo) -> None:
        self._inbox, self._cpo = inbox, cpo
        self.queue: list[UplinkMessage] = []

    def perform(self, command: UplinkCommand) -> None:
        if isinstance(command, AskCpo):
            verdict = self._cpo.verdicts.get(command.id_tag, Verdict.INVALID) if self._cpo.reachable else None
            if command.station_id not in self._cpo.stations:
                verdict = None
            self._inbox.post(CpoAnswered(command.station_id, command.id_tag, verdict, command.ask))
        else:
            self.deliver()

    def deliver(self) -> None:
        while self.queue and self._cpo.reachable:
            self._cpo.told.append(self.queue.pop(0))


@attrs.define
class SmallestCpo:
    verdicts: dict[str, Verdict] = attrs.field(factory=dict)
    stations: frozenset[str] = frozenset({"ST1"})
    told: list[UplinkMessage] = attrs.field(factory=list)
    reachable: bool = True


@attrs.define
class _UplinkRig:
    uplinks: SmallestUplink
    cpo: SmallestCpo

    @property
    def verdicts(self) -> dict[str, Verdict]:
        return self.cpo.verdicts

    async def put(self, *messages: UplinkMessage) -> None:
        self.uplinks.queue += messages

    async def cut(self) -> None:
        self.cpo.reachable = False

    async def mend(self) -> None:
        self.cpo.reachable = True
        self.uplinks.deliver()

    def heard(self) -> list[tuple[str, int]]:
        kinds = (UplinkKind.START, UplinkKind.STOP)
        return [(message.kind.value, message.meter_wh or 0) for message in self.cpo.told if message.kind in kinds]


class Operator:
    kind: ClassVar[Kind] = "uplink"

    def open(self, inbox: Facts, clock: Clock) -> AbstractAsyncContextManager[_UplinkRig]:  # noqa: ARG002 - the port
        return self._open(inbox)

    @asynccontextmanager
    async def _open(self, inbox: Facts) -> AsyncIterator[_UplinkRig]:
        cpo = SmallestCpo()
        yield _UplinkRig(SmallestUplink(inbox, cpo), cpo)
