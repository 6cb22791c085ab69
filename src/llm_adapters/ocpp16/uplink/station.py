"""One station's session with its CPO, from connecting to what is asked and answered, over and over.

Theory of operation
    Two sessions meet here and share nothing: the station's with us, the CPO's with us. What the station says comes by
    `heard` when it was answered already; what the CPO asks is answered by `Downward`. A link is wanted while the
    station is there or something waits in its queue; it is tried again with growing pauses, each with some chance in
    it, so that twenty stations do not call at once.

    On a new link the station boots, is accepted or waits as it is told, tells the state of all its connectors, and
    beats. Beside that its queue is delivered, one message at a time, so that whatever is live waits for one answer of
    it at most. Badges are judged within 5 s, or not at all. A CPO that has yet to accept the station hears its boots
    and what it triggers, and nothing else (OCPP 1.6 §4.2).

    The profiles of the CPO are evaluated here, whether there is a link or not, and end as caps of connectors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.frames import ErrorCode
from llm_adapters.ocpp16.messages import parse_stamp, text, whole_number
from llm_adapters.ocpp16.rpc import Bounds, CallFailed, CallRefused, CallTimeout, Link, LinkLost, Refuse, Session
from llm_adapters.ocpp16.uplink import caps
from llm_adapters.ocpp16.uplink.caps import Caps
from llm_adapters.ocpp16.uplink.delivery import Delivery
from llm_adapters.ocpp16.uplink.dialing import Dial, Door, NoLink
from llm_adapters.ocpp16.uplink.downward import FORWARD_S, Downward
from llm_adapters.ocpp16.uplink.judging import VERDICT_S, Judging
from llm_adapters.ocpp16.uplink.keys import NUMBERS, PING_KEY, VirtualKeys, merged
from llm_adapters.ocpp16.uplink.metering import Relay, can_read
from llm_adapters.ocpp16.uplink.standing import STATION_AWAY, Standing
from llm_adapters.ocpp16.uplink.upward import Sayings, boot_payload
from llm_adapters.ocpp16.uplink.wording import in_words
from llm_core import (
    AskCpo,
    CallOutcome,
    Clock,
    CpoCacheCleared,
    Inbox,
    NotStored,
    OrderEnded,
    State,
    StationCalls,
    StoreError,
    UplinkBook,
    UplinkKind,
    UplinkMessage,
    UplinkState,
)

Payload: TypeAlias = dict[str, Any]
_log = logging.getLogger("llm.uplink")

CALL_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
STABLE_S = 60.0  # a link that lasted so long was good: the next pause is the first again
GONE_S = 60.0  # so long a station may be away until its CPO is told by a closed link
USUAL_INTERVAL_S, SHORTEST_INTERVAL_S = 300, 1
MOST_WRITES = 1_000
NEVER_S = 10.0**9
BOUNDS = Bounds(waiting_calls=16, remembered_answers=64)
BOOT, KEYS = "boot", "keys"


class _Over(Exception):
    """The link has ended, or is not wanted any more."""


class StationUplink:
    """Runs one station's way up until cancelled; `jitter` gives a number between 0 and 1."""

    def __init__(
        self,
        station_id: str,
        door: Door,
        book: UplinkBook,
        inbox: Inbox,
        clock: Clock,
        calls: StationCalls,
        dial: Dial,
        jitter: Callable[[], float],
    ) -> None:
        self._station_id = station_id
        self._door = door
        self._book = book
        self._inbox = inbox
        self._clock = clock
        self._calls = calls
        self._dial = dial
        self._jitter = jitter
        self._downward = Downward(self)
        self._sayings = Sayings(station_id, clock)
        self._keys = VirtualKeys()
        self._relay = Relay(self._keys)
        self._caps = Caps(station_id, book, inbox, clock)
        self._judging = Judging(station_id, inbox)
        self._standing = Standing(station_id, book, inbox)
        self._delivery = Delivery(station_id, book, clock, jitter, self._standing.trouble, self._judging.answered)
        self._boot: Payload = {}
        self._session: Session | None = None
        self._interval_s = USUAL_INTERVAL_S
        self._changed = asyncio.Event()
        self._said = asyncio.Event()
        self._beat = asyncio.Event()
        self._boot_wanted = asyncio.Event()
        self._welcome = asyncio.Event()
        self._retry = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def station_id(self) -> str:
        return self._station_id

    @property
    def caps(self) -> Caps:
        """What its CPO lets its connectors have."""
        return self._caps

    @property
    def accepted(self) -> bool:
        return self._standing.state is UplinkState.ACCEPTED and self._session is not None

    # -- its life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            await self._remember()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._connect())
                tasks.create_task(self._caps.run())
                tasks.create_task(self._standing.run())
        finally:
            self._judging.give_up()
            for task in self._tasks:
                task.cancel()
            self._standing.over()

    async def _remember(self) -> None:
        """What was known at the last shutdown; without a disk that answers, it is tried again."""
        while True:
            try:
                notes = await self._book.notes(self._station_id)
                await self._standing.read()
                break
            except StoreError as error:
                _log.warning("%s: nothing can be read of its way up: %s", self._station_id, error)
                await asyncio.sleep(5)
        with contextlib.suppress(ValueError):
            self._boot = self._boot or json.loads(notes.get(BOOT, "{}"))
        with contextlib.suppress(ValueError, KeyError, TypeError):
            self._keys = VirtualKeys(notes.get(KEYS, ""))
            self._relay = Relay(self._keys)
        self._caps.restore(notes.get(caps.NOTE, ""))

    async def _connect(self) -> None:
        failures = 0
        while True:
            await self._wanted()
            self._standing.enter(UplinkState.CONNECTING)
            began = asyncio.get_running_loop().time()
            try:
                link = await self._dial(self._door)
            except NoLink as why:
                self._standing.enter(UplinkState.REFUSED if why.denied else UplinkState.OFFLINE, str(why))
                self._judging.give_up()
            else:
                why_ended = await self._serve(link)
                self._standing.enter(UplinkState.OFFLINE, why_ended)
                if asyncio.get_running_loop().time() - began > STABLE_S:
                    failures = 0
            failures += 1
            pause_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 16), LONGEST_PAUSE_S)
            self._retry.clear()
            await _either(self._retry, pause_s * (0.5 + self._jitter() / 2))

    async def _wanted(self) -> None:
        """Until the station is there, or something waits for the CPO."""
        while not self._is_there() and not self._standing.lengths.waiting:
            self._standing.enter(UplinkState.OFFLINE, STATION_AWAY)
            self._changed.clear()
            await self._changed.wait()

    def _is_there(self) -> bool:
        known = self._inbox.state.stations.get(self._station_id)
        return known is not None and known.online

    async def _serve(self, link: Link) -> str:
        """One link from its boot to its end; returns why it ended, in words."""
        session = self._session = Session(link, self._handle, self._bounds)
        self._welcome.clear()
        why = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(session.run())
                tasks.create_task(self._talk(session, tasks))
                why = await running
                raise _Over
        except* _Over:
            why = why or "closed"
        except* CallTimeout:
            why = "it does not answer"
        except* (LinkLost, NoLink) as ended:
            why = str(ended.exceptions[0])
        finally:
            self._session = None
            self._judging.give_up()
        _go_if_cancelled()
        return f"the connection ended: {in_words(why)}" if why else "the connection ended"

    @property
    def _bounds(self) -> Bounds:
        """With the pings that the CPO asked for, from the next link on; 0 is none."""
        asked_s = self._keys.number(PING_KEY)
        if asked_s == int(NUMBERS[PING_KEY]):
            return BOUNDS
        return attrs.evolve(BOUNDS, ping_after_s=float(asked_s or NEVER_S))

    async def _talk(self, session: Session, tasks: asyncio.TaskGroup) -> None:
        await self._introduce(session)
        self._sayings.again(self._inbox.state)
        self._said.set()
        tasks.create_task(self._deliver(session))
        tasks.create_task(self._say(session))
        tasks.create_task(self._beat_on(session))
        tasks.create_task(self._boot_again(session))
        tasks.create_task(self._leave())

    async def _introduce(self, session: Session) -> None:
        """Boot until the CPO accepts, as slowly as it asks for."""
        while True:
            refused = "it does not accept this station"
            boot = boot_payload(self._boot, self._inbox.state, self._station_id)
            try:
                answer = await session.call("BootNotification", boot, deadline_s=CALL_S)
            except CallRefused as refusal:
                answer = {}
                refused = f"it does not take the boot message: {refusal}"
            status = text(answer.get("status"))
            asked_s = whole_number(answer.get("interval")) or 0
            if status == "Accepted":
                self._interval_s = asked_s if asked_s > 0 else USUAL_INTERVAL_S
                self._standing.enter(UplinkState.ACCEPTED)
                self._judging.reached(session)
                self._welcome.set()
                return
            self._welcome.clear()
            self._judging.give_up()
            if status == "Pending":
                self._standing.enter(UplinkState.PENDING, "it has yet to accept this station")
            else:
                self._standing.enter(UplinkState.REFUSED, refused)
            pause_s = asked_s if asked_s > 0 else 60
            await _either(self._boot_wanted, max(SHORTEST_INTERVAL_S, min(pause_s, 86_400)))
            self._boot_wanted.clear()

    async def _deliver(self, session: Session) -> None:
        async def send(
            action: str, payload: Payload, *, deadline_s: float, unique_id: str | None = None
        ) -> dict[str, Any]:
            await self._welcome.wait()
            return await session.call(action, payload, deadline_s=deadline_s, unique_id=unique_id)

        await self._delivery.run(send)

    async def _say(self, session: Session) -> None:
        """What there is to say beside transactions: the latest of each connector, and notices."""
        while True:
            await self._said.wait()
            await self._welcome.wait()
            self._said.clear()
            while (message := self._sayings.next()) is not None:
                try:
                    await session.call(*message, deadline_s=CALL_S)
                except CallRefused as refusal:
                    _log.info("%s: the CPO did not take a %s: %s", self._station_id, message[0], refusal)
                except CallFailed:
                    self._sayings.unsent(*message)
                    raise

    async def _beat_on(self, session: Session) -> None:
        while True:
            every_s = self._keys.number("HeartbeatInterval") or self._interval_s
            await _either(self._beat, max(SHORTEST_INTERVAL_S, every_s))
            self._beat.clear()
            await self._welcome.wait()
            with contextlib.suppress(CallRefused):
                await session.call("Heartbeat", {}, deadline_s=CALL_S)

    async def _boot_again(self, session: Session) -> None:
        """The station has booted, or the CPO wants to see it boot."""
        while True:
            await self._boot_wanted.wait()
            self._boot_wanted.clear()
            await self._introduce(session)
            self._sayings.again(self._inbox.state)
            self._said.set()

    async def _leave(self) -> None:
        """A station that is away for a minute is away for its CPO too, once that has everything."""
        while True:
            self._changed.clear()
            if self._is_there() or not self._delivery.idle:
                await _either(self._changed, GONE_S)
                continue
            await _either(self._changed, GONE_S)
            if not self._is_there() and self._delivery.idle:
                raise NoLink(STATION_AWAY)

    # -- what the station says ---------------------------------------------------------------------------------------

    def heard(self, action: str, payload: Payload) -> None:
        """The station has said this, and was answered."""
        match action:
            case "BootNotification":
                self._boot = payload
                self._spawn(self._note(BOOT, json.dumps(payload)))
                self._boot_wanted.set()
            case "StatusNotification":
                self._sayings.status(payload)
                self._said.set()
            case "MeterValues":
                told = self._relay.forward(payload, self._clock.utc())
                if told is not None and len(self._tasks) < MOST_WRITES:
                    self._spawn(self._keep(told))
            case _:
                self._sayings.notice(action, payload)
                self._said.set()

    async def _keep(self, payload: Payload) -> None:
        """Readings into the queue; each in a task of its own, so that they are in line before a stop that follows."""
        message = UplinkMessage(
            self._station_id,
            UplinkKind.METER,
            max(whole_number(payload.get("transactionId")) or 0, 0),
            whole_number(payload.get("connectorId")) or 0,
            at=parse_stamp(_first(payload.get("meterValue")).get("timestamp")),
            said=json.dumps(payload),
        )
        with contextlib.suppress(StoreError):
            await self._book.put((message,))
            self.queued()

    async def transfer(self, payload: Payload) -> Payload | None:
        """A DataTransfer of the station, answered by the CPO; None where it cannot be."""
        session = self._session
        if session is None or not self.accepted:
            return None
        try:
            return await session.call("DataTransfer", payload, deadline_s=VERDICT_S)
        except CallRefused as refusal:
            code = refusal.code if refusal.code in list(ErrorCode) else ErrorCode.GENERIC_ERROR.value
            raise Refuse(ErrorCode(code), refusal.description) from None
        except CallFailed:
            return None

    def queued(self) -> None:
        """Something new lies in the queue."""
        self._delivery.wake()
        self._standing.queued()
        self._changed.set()

    async def settle(self) -> None:
        """To be called before it is ended: what is out may be answered yet."""
        await self._delivery.settle()

    # -- badges ------------------------------------------------------------------------------------------------------

    def ask(self, command: AskCpo) -> None:
        """Have the CPO judge a badge; every ask is answered within 5 s."""
        session = self._session if self.accepted else None
        started = command.transaction_id is not None and self._delivery.idle
        self._judging.ask(command, session, started=started, may_come=self._standing.may_come)

    def tag_info(self, id_tag: str) -> Payload:
        """What else the CPO said of a badge: its expiry, its parent."""
        return self._judging.known(id_tag)

    # -- what the CPO asks -------------------------------------------------------------------------------------------

    async def _handle(self, action: str, payload: Payload) -> Payload:
        if self._standing.state not in (UplinkState.ACCEPTED, UplinkState.PENDING):
            raise Refuse(ErrorCode.SECURITY_ERROR, "this station has not been accepted")
        return await self._downward.handle(action, payload)

    async def forward(self, action: str, payload: Payload) -> CallOutcome:
        return await self._calls.call(self._station_id, action, payload, deadline_s=FORWARD_S)

    async def told(self, event: OrderEnded) -> bool:
        return not isinstance(await self._inbox.ask(event), NotStored)

    async def own_transaction(self, cpo_transaction_id: int) -> int | None:
        try:
            return await self._book.own_transaction(self._station_id, cpo_transaction_id)
        except StoreError:
            return None

    def own_entries(self, asked: tuple[str, ...]) -> tuple[list[Payload], Callable[[str], bool]]:
        return list(self._keys.entries(asked, self._door.security_profile, self._interval_s)), self._keys.is_ours

    def merge(self, asked: tuple[str, ...], own: list[Payload], answer: Payload | None) -> Payload:
        return merged(asked, own, answer, self._keys)

    async def change_key(self, name: str, value: str) -> str:
        if not self._keys.fits(name, value) or not await can_read(name, value, self.forward):
            return "Rejected"
        status = self._keys.change(name, value)
        if status == "Accepted":
            self._beat.set()
            await self._note(KEYS, self._keys.stored())
        return status

    async def change_password(self, value: str) -> str:
        """The CPO gives the station a new password: it opens the next link."""
        if not 16 <= len(value) <= 40 or not value.isascii() or not value.isprintable():
            return "Rejected"
        try:
            await self._book.keep({(self._station_id, "password"): value}, "CPO")
        except StoreError:
            return "Rejected"
        self._door = attrs.evolve(self._door, password=value)
        return "Accepted"

    def trigger(self, message: str, connector: int | None) -> bool:
        match message:
            case "BootNotification":
                self._boot_wanted.set()
            case "Heartbeat" if not self.accepted:
                self._spawn(self._say_once("Heartbeat", {}))
            case "Heartbeat":
                self._beat.set()
            case "StatusNotification" if not self.accepted:
                for status in self._sayings.statuses(self._inbox.state, connector):
                    self._spawn(self._say_once("StatusNotification", status))
            case "StatusNotification":
                self._sayings.again(self._inbox.state, connector)
                self._said.set()
            case "MeterValues":
                self._relay.trigger(connector or 0)
                return False  # the station reads, and what it says goes up whole
            case _:
                return False
        return True

    async def _say_once(self, action: str, payload: Payload) -> None:
        """What a CPO that has yet to accept the station wants to hear all the same."""
        if self._session is not None:
            with contextlib.suppress(CallFailed):
                await self._session.call(action, payload, deadline_s=CALL_S)

    def forget_verdicts(self) -> None:
        self._judging.forget()
        self._inbox.post(CpoCacheCleared())

    def look(self, before: State, after: State) -> None:
        """Something has changed: transactions, or the link to the station."""
        self._caps.look(before, after)
        if before.stations is not after.stations:
            known, was = after.stations.get(self._station_id), before.stations.get(self._station_id)
            if (known is not None and known.online) is not (was is not None and was.online):
                self._changed.set()
                self._retry.set()

    async def _note(self, name: str, value: str) -> None:
        try:
            await self._book.note(self._station_id, name, value)
        except StoreError as error:
            _log.warning("%s: not kept for the next start: %s: %s", self._station_id, name, error)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _go_if_cancelled() -> None:
    """A group of tasks that fail while it is cancelled tells of the failures only (until Python 3.13)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(values: object) -> Payload:
    first = values[0] if isinstance(values, list) and values else values
    return first if isinstance(first, dict) else {}


async def _either(event: asyncio.Event, within_s: float) -> None:
    """Until the event, or so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
