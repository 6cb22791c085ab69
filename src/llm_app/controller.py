"""The only caller of `step`: inbox, clock, and effects in their order - persist, answer, command.

One loop, one event at a time. What a step wants saved is on the disk before its replies and raises leave; a step
whose saves fail never happened. The same controller runs on a real clock and in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import attrs

from llm_app.journalling import Journal
from llm_core import (
    Alarm,
    Answer,
    AskCpo,
    AskReading,
    Ceiling,
    ClearAlarm,
    ClearLimit,
    Clock,
    ClockStepped,
    CpoVerdict,
    Effect,
    Event,
    InviteBoot,
    MeterSampled,
    MeterValuesReceived,
    Note,
    NotStored,
    Now,
    RaiseAlarm,
    Record,
    Reply,
    Request,
    Save,
    Session,
    SetLimit,
    State,
    StationBooted,
    StationCommand,
    Step,
    StopRemotely,
    StorageFailed,
    StorageHealed,
    Store,
    StoreError,
    TellCpo,
    Tick,
    UplinkCommand,
    step,
)

log = logging.getLogger("llm.controller")

TICK_MS = 1_000
SAMPLE_GRACE_MS = 500  # while a meter gives the beat, its next sample is waited for a little
COMMIT_S = 2.0  # a disk that takes longer counts as failing: control must go on
PROBE_S = 5.0
FLUSH_MS = 60_000
STEPPED_MS = 2_000
MOST_WAITING = 20_000  # facts in the inbox; beyond that a flood of readings is thinned
MOST_NOTES = 5_000
TICKS_KEPT = 60  # a minute, so that a start long ago says nothing of today

Watcher = Callable[[State, State], None]


class Controller:
    """Runs the core: implements the port `Inbox` for every adapter."""

    def __init__(self, state: State, clock: Clock, store: Store, journal: Journal | None = None) -> None:
        self._state = state
        self._clock = clock
        self._store = store
        self._journal = journal
        self._perform: Callable[[StationCommand], None] = _nobody
        self._perform_above: Callable[[UplinkCommand], None] = _nobody_above
        self._watchers: list[Watcher] = []
        self._inbox: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._beat_ms = TICK_MS
        self._replies: dict[int, asyncio.Future[Answer]] = {}
        self._next_request = 1
        self._notes: dict[object, Record] = {}
        self._flushed_ms = clock.monotonic_ms()
        self._offset_ms = self._utc_offset_ms()
        self._zoned: tuple[str, datetime] | None = None
        self._offset_s = 0
        self._probe: asyncio.Task[None] | None = None
        self.thinned = 0  # readings dropped in a flood
        self.took_ms: deque[int] = deque(maxlen=TICKS_KEPT)  # by each of the last ticks, what it saves included
        self.ticks = 0  # grows while the loop lives: the watchdog looks at it

    # The port Inbox

    @property
    def state(self) -> State:
        return self._state

    def post(self, event: Event) -> None:
        """Hand over a fact. Never blocks; in a flood, readings are thinned rather than memory filled."""
        if len(self._inbox) >= MOST_WAITING and isinstance(event, MeterValuesReceived):
            self.thinned += 1
            return
        self._inbox.append(event)
        self._wake.set()

    async def ask(self, event: Request) -> Answer:
        """Hand over a request; returns its answer once what it promises is on the disk."""
        request, self._next_request = self._next_request, self._next_request + 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._replies[request] = future
        self.post(attrs.evolve(event, request=request))
        try:
            return await future
        finally:
            del self._replies[request]

    def command_with(self, perform: Callable[[StationCommand], None]) -> None:
        """Send commands to the stations by `perform` (the port `Stations`), from the next step on."""
        self._perform = perform

    def tell_cpo_with(self, perform: Callable[[UplinkCommand], None]) -> None:
        """Ask and tell the CPO by `perform` (the port `Uplinks`), from the next step on."""
        self._perform_above = perform

    def why_unhealthy(self) -> str | None:
        """Why the controller does not do its work, or None when it ticks and stores."""
        ticked_ms = self._state.ticked_ms
        if ticked_ms is None or self._clock.monotonic_ms() - ticked_ms > 3 * TICK_MS:
            return "the control loop does not tick"
        if self._state.storage_failing is not None:
            return f"the disk fails: {self._state.storage_failing}"
        return None

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher(before, after)` after every step that changed what is known."""
        self._watchers.append(watcher)

    # The loop

    async def run(self) -> None:
        """Process events and tick at least once a second, until cancelled. An exception of the core ends it."""
        while True:
            await self._wait_for_work()
            ticked = False
            while self._inbox:
                event, before = self._inbox.popleft(), self._state
                await self._process(event)
                if isinstance(event, MeterSampled):
                    await self._tick()
                    ticked = True
                elif self._state.site is not before.site or self._state.limits is not before.limits:
                    await self._tick()  # whoever changed it looks next, and is to see what came of it
                elif self._ms_to_tick() <= 0:  # while the disk is slow, facts may come as fast as they are taken
                    await self._tick()
            if not ticked and self._ms_to_tick() <= 0:
                await self._tick()
                self._beat_ms = TICK_MS
            elif ticked:
                self._beat_ms = TICK_MS + SAMPLE_GRACE_MS
            self.ticks += 1
            await self._flush_if_due()

    async def _tick(self) -> None:
        began_ms = self._clock.monotonic_ms()
        await self._process(Tick())
        self.took_ms.append(self._clock.monotonic_ms() - began_ms)
        self.ticks += 1  # also while facts come as fast as they are taken

    async def close(self) -> None:
        """Write what is noted; to be called when `run` has ended."""
        if self._probe is not None:
            self._probe.cancel()
        await self._process(Tick())
        for connector in self._state.connectors.values():
            if connector.session is not None:  # with its last reading, which was promised to nobody
                self._remember(connector.session)
        await self._flush(raise_failure=False)

    async def _wait_for_work(self) -> None:
        self._wake.clear()
        if self._inbox:
            return
        try:
            async with asyncio.timeout(max(self._ms_to_tick(), 0) / 1000):
                await self._wake.wait()
        except TimeoutError:
            return  # time for a tick

    def _ms_to_tick(self) -> int:
        ticked_ms = self._state.ticked_ms
        return 0 if ticked_ms is None else ticked_ms + self._beat_ms - self._clock.monotonic_ms()

    def now(self) -> Now:
        """The present instant, with the site's own offset from UTC."""
        utc = self._clock.utc()
        name = self._state.site.system.time_zone
        quarter = utc.replace(minute=utc.minute // 15 * 15, second=0, microsecond=0)  # offsets change at none between
        if (name, quarter) != self._zoned:
            offset = ZoneInfo(name).utcoffset(utc.astimezone(ZoneInfo(name)).replace(tzinfo=None))
            self._zoned = name, quarter
            self._offset_s = int(offset.total_seconds()) if offset is not None else 0
        return Now(self._clock.monotonic_ms(), utc, self._offset_s)

    def _utc_offset_ms(self) -> int:
        return int(self._clock.utc().timestamp() * 1000) - self._clock.monotonic_ms()

    async def _process(self, event: Event) -> None:
        offset_ms = self._utc_offset_ms()
        if abs(offset_ms - self._offset_ms) > STEPPED_MS:
            by_ms, self._offset_ms = offset_ms - self._offset_ms, offset_ms
            await self._apply(ClockStepped(by_ms))
        await self._apply(event)

    async def _apply(self, event: Event) -> None:
        now = self.now()
        if self._journal is not None:
            self._journal.record(self._state, event, now)
        outcome = step(self._state, event, now)
        saves = [effect.record for effect in outcome.effects if isinstance(effect, Save)]
        if saves:
            reason = await self._commit(saves)
            if reason is not None:
                await self._not_stored(event, outcome, reason)
                return
        self._become(outcome.state)
        for effect in outcome.effects:
            self._do(effect)

    def _become(self, state: State) -> None:
        before, self._state = self._state, state
        for watcher in self._watchers:
            watcher(before, state)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Reply():
                future = self._replies.get(effect.request)
                if future is not None and not future.done():
                    future.set_result(effect.answer)
            case SetLimit() | ClearLimit() | StopRemotely() | AskReading() | InviteBoot():
                self._perform(effect)
            case AskCpo() | TellCpo():
                self._perform_above(effect)
            case Note():
                self._remember(effect.record)
            case RaiseAlarm():
                log.warning("attention: %s", _words(effect.alarm))
            case ClearAlarm():
                log.info("settled: %s", _words(effect.alarm))
            case Save():
                pass  # committed above

    # The disk

    async def _commit(self, records: Iterable[Record]) -> str | None:
        """Why the records are not stored, or None when they are."""
        if self._state.storage_failing is not None:
            return self._state.storage_failing
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._store.commit(records)
        except TimeoutError:
            return f"the disk did not answer within {COMMIT_S:g} s"
        except StoreError as error:
            return str(error)
        return None

    async def _not_stored(self, event: Event, outcome: Step, reason: str) -> None:
        """The step never happened: a request is told so, a fact is taken without its promise (a boot is both)."""
        if self._journal is not None:
            self._journal.undone()
        self._become(attrs.evolve(self._state, next_transaction_id=outcome.state.next_transaction_id))
        if self._state.storage_failing is None:
            await self._apply(StorageFailed(reason))
            self._probe = asyncio.create_task(self._probe_until_healed())
        if isinstance(event, Request) and not isinstance(event, StationBooted):
            self._do(Reply(event.request, NotStored(reason)))
        else:
            await self._apply(event)

    async def _probe_until_healed(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                await self._store.probe()
            except StoreError as error:
                log.warning("the disk still fails: %s", error)
                continue
            self.post(StorageHealed())
            self._flushed_ms = 0
            return

    def _remember(self, record: Record) -> None:
        match record:
            case Session():
                key: object = ("session", record.transaction_id)
            case Ceiling():
                key = ("ceiling", record.station_id, record.connector)
            case CpoVerdict():
                key = ("verdict", record.id_tag)
            case _:
                key = record
        if len(self._notes) < MOST_NOTES or key in self._notes:
            self._notes[key] = record

    async def _flush_if_due(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._notes and now_ms - self._flushed_ms >= FLUSH_MS and self._state.storage_failing is None:
            self._flushed_ms = now_ms
            await self._flush(raise_failure=True)

    async def _flush(self, *, raise_failure: bool) -> None:
        """Write the notes in one transaction; what fails stays noted."""
        notes, self._notes = self._notes, {}
        reason = await self._commit(notes.values()) if notes else None
        if reason is None:
            return
        self._notes = notes | self._notes
        log.warning("notes not written: %s", reason)
        if raise_failure and self._state.storage_failing is None:
            await self._apply(StorageFailed(reason))
            self._probe = asyncio.create_task(self._probe_until_healed())


def _nobody(command: StationCommand) -> None:
    log.error("a command before there were stations: %s", command)


def _nobody_above(_command: UplinkCommand) -> None:
    """Without a way up the core's own deadline answers in the CPO's place."""


def _words(alarm: Alarm) -> str:
    return f"{alarm.code.value} {alarm.subject}".strip()
