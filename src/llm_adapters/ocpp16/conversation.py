"""One link to one station, from its first message to its last, whatever carries the frames.

Theory of operation
    What the station says becomes facts for the core, and the core's answers go back. A boot that is accepted starts
    the adoption: read what the station can do, ask for the readings we need. A station that does not boot by itself
    (it kept its link for granted, or was adopted just now) is invited to; where it cannot be, we boot it in our
    books, with what it told of itself before, so that control begins from the worst case either way.

    Time is the loop's and the clock's; nothing here reads another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from functools import partial
from typing import TypeAlias, assert_never

import attrs

from llm_adapters.ocpp16 import messages
from llm_adapters.ocpp16.adoption import answer_to, configuration_of, dialect_of, set_up_readings
from llm_adapters.ocpp16.calls import place
from llm_adapters.ocpp16.clock_care import ClockCare
from llm_adapters.ocpp16.frames import ErrorCode
from llm_adapters.ocpp16.limits import LimitWriter
from llm_adapters.ocpp16.local_list import LocalListKeeper
from llm_adapters.ocpp16.memory import Memory, tell_capabilities
from llm_adapters.ocpp16.notices import NOTICES, configuration_fact, parse_configuration, parse_notice
from llm_adapters.ocpp16.profiles import Payload
from llm_adapters.ocpp16.readings import latest_stamp, meter_events
from llm_adapters.ocpp16.rpc import Bounds, CallAbandoned, CallFailed, CallRefused, Link, LinkLost, Refuse, Session
from llm_adapters.ocpp16.signing import Signed, Signing
from llm_adapters.ocpp16.thinning import Thinning
from llm_adapters.ocpp16.upstream import Nobody, Upstream
from llm_adapters.ocpp16.vendors import VendorHooks
from llm_core import (
    Answer,
    AskReading,
    Authorised,
    BootAnswer,
    CallFailure,
    CallOutcome,
    ClearLimit,
    Clock,
    Inbox,
    InviteBoot,
    Json,
    KeyHandover,
    NotStored,
    Request,
    SetLimit,
    Started,
    StationBooted,
    StationClockRead,
    StationCommand,
    StationState,
    Stopped,
    StopRemotely,
    Verdict,
)

_log = logging.getLogger("llm.ocpp")

BOOT_WITHIN_S = 10.0
CALL_S = 10.0
TWICE = 2  # once may have been about something else
CLOCK_STEP_MS = 1_000
AT_ONCE = frozenset({"MeterValues"})  # taken, and answered, without waiting for anybody
_Act: TypeAlias = Callable[[Payload], Awaitable[Payload]]


class _Over(Exception):
    """The session ended, so the tasks around it have to."""


class Conversation:
    """Serves one link until it ends; `address` is where the station calls from."""

    def __init__(
        self,
        link: Link,
        memory: Memory,
        address: str,
        inbox: Inbox,
        clock: Clock,
        bounds: Bounds | None = None,
        vendors: VendorHooks | None = None,
        upstream: Upstream | None = None,
    ) -> None:
        self.address = address
        self._link = link
        self._memory = memory
        self._inbox = inbox
        self._clock = clock
        self._vendors = vendors or VendorHooks()
        self._upstream = upstream or Nobody()
        self._clock_told = False
        memory.time = memory.time.on_a_new_link()
        self._session = Session(link, self._handle, bounds, at_once=AT_ONCE)
        self._turn = asyncio.Lock()
        self._readings = Thinning(self._read)
        self._writer = LimitWriter(memory, self._session.call, self._turn, inbox, clock)
        self.local_list = LocalListKeeper(memory.station_id, self._place, memory.changed, inbox, clock)
        self.signing = Signing(memory.station_id, self._place, inbox)
        self._clock_care = ClockCare(memory, self._call, self._heard, clock)
        self._tasks: asyncio.TaskGroup | None = None
        self._serving: asyncio.Task[str] | None = None
        self._adopting: asyncio.Task[None] | None = None
        self._boots = asyncio.Event()
        self._acts: dict[str, _Act] = {
            "Authorize": self._authorize,
            "BootNotification": self._boot,
            "DataTransfer": self._data_transfer,
            "Heartbeat": self._heartbeat,
            "MeterValues": self._meter_values,
            "SignCertificate": self._sign_certificate,
            "StartTransaction": self._start_transaction,
            "StatusNotification": self._status,
            "StopTransaction": self._stop_transaction,
            **{action: partial(self._notice, action) for action in NOTICES},
        }

    @property
    def station_id(self) -> str:
        return self._memory.station_id

    async def run(self) -> str:
        """Serve until the link ends or `retire`; returns why it did. Every command has its outcome by then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                serving = self._serving = tasks.create_task(self._session.run())
                tasks.create_task(self._writer.run())
                tasks.create_task(self._expect_boot())
                tasks.create_task(self.local_list.run())
                tasks.create_task(self._clock_care.run())
                await asyncio.wait((serving,))
                raise _Over
        except* _Over:
            why = "replaced by a newer link" if serving.cancelled() else serving.result()
        finally:
            self._readings.flush()
            self._writer.close()
        return why

    def retire(self) -> None:
        """End this conversation: a newer link to the same station takes its place."""
        self._readings.flush()
        if self._serving is not None:
            self._serving.cancel()

    async def answers(self, within_s: float, *, in_words: bool = False) -> bool:
        """Whether the station still gives a sign of life on this link; `in_words`: a pong is none."""
        said_before, heard_before = self._session.stats.received, self._session.last_heard
        signs: list[asyncio.Task[object]] = [asyncio.create_task(self._heartbeat_triggered(within_s))]
        if not in_words and (ping := getattr(self._link, "ping", None)) is not None:
            signs.append(asyncio.create_task(_pong(ping)))
        await asyncio.wait(signs, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        for sign in signs:
            sign.cancel()
        outcomes = await asyncio.gather(*signs, return_exceptions=True)
        if any(not isinstance(outcome, BaseException) for outcome in outcomes):
            return True
        return self._session.stats.received > said_before if in_words else self._session.last_heard > heard_before

    def perform(self, command: StationCommand) -> None:
        """Queue a command; returns at once."""
        match command:
            case SetLimit() | ClearLimit():
                self._writer.submit(command)
            case StopRemotely():
                self._start(self._stop_remotely(command))
            case AskReading():
                self._start(self._ask_reading(command))
            case InviteBoot():
                self._start(self._invite_boot())
            case _:
                assert_never(command)

    async def call(self, action: str, payload: Mapping[str, Json], deadline_s: int) -> CallOutcome:
        """What a person or a CPO asks of the station, and what became of it within `deadline_s`."""
        self._memory.long_tags.sent(action, payload)

        async def in_turn(action: str, payload: Payload) -> Payload:
            async with self._turn:
                return await self._session.call(action, payload, deadline_s=deadline_s)

        try:
            async with asyncio.timeout(deadline_s):
                outcome = await place(in_turn, action, payload)
        except TimeoutError:
            return CallOutcome(failure=CallFailure.TIMEOUT, detail=f"{action}: no answer within {deadline_s} s")
        if action == "GetConfiguration" and outcome.failure is None:
            self._tell_configuration(dict(outcome.payload))
        return outcome

    async def _place(self, action: str, payload: Mapping[str, Json]) -> CallOutcome:
        return await self.call(action, payload, int(CALL_S))

    def _tell_configuration(self, answer: Payload) -> None:
        told = parse_configuration(self.station_id, answer)
        if told is not None:
            self._inbox.post(told)

    async def hand_key(self, key: bytes) -> KeyHandover:
        """Have the station use `key` from its next connection on, hex-coded as OCPP-J 1.6 §6.2.2 asks for."""
        try:
            answer = await self._call("ChangeConfiguration", {"key": "AuthorizationKey", "value": key.hex()})
        except LinkLost:
            return KeyHandover.OFFLINE
        except CallFailed as failure:
            _log.warning("%s: the new password was not taken: %s", self.station_id, failure)
            return KeyHandover.REFUSED
        status = messages.text(answer.get("status"))
        _log.info("%s: asked to use its new password: %s", self.station_id, status)
        return KeyHandover.TAKEN if status in ("Accepted", "RebootRequired") else KeyHandover.REFUSED

    # -- what the station says ---------------------------------------------------------------------------------------

    async def _handle(self, action: str, payload: Payload) -> Payload:
        act = self._acts.get(action)
        if action != "MeterValues":
            self._readings.flush()
        if act is None:
            raise Refuse(ErrorCode.NOT_IMPLEMENTED, "this action is not known here")
        return await act(self._memory.long_tags.whole(payload))

    async def _boot(self, payload: Payload) -> Payload:
        answer = await self._book_boot(messages.parse_boot(self.station_id, payload))
        if answer.accepted:
            self._upstream.heard(self.station_id, "BootNotification", payload)
        return messages.boot_payload(answer, self._clock.utc())

    async def _heartbeat(self, _payload: Payload) -> Payload:
        return messages.heartbeat_payload(self._clock.utc())

    async def _status(self, payload: Payload) -> Payload:
        self._heard(messages.parse_stamp(payload.get("timestamp")))
        event = messages.parse_status(self.station_id, payload, self._clock.utc())
        if event is None:
            _log.info("%s: a status that OCPP does not know", self.station_id)
        else:
            self._inbox.post(event)
            self._upstream.heard(self.station_id, "StatusNotification", payload)
        return {}

    async def _meter_values(self, payload: Payload) -> Payload:
        self._readings.offer(messages.required_number(payload, "connectorId"), payload)
        self._upstream.heard(self.station_id, "MeterValues", payload)
        return {}

    def _read(self, payload: Payload) -> None:
        self._heard(latest_stamp(payload))
        station = self._inbox.state.site.station(self.station_id)
        phases = 3 if station is None else len(station.phase_rotation)
        for event in meter_events(self.station_id, payload, self._clock.utc(), phases):
            self._inbox.post(event)

    async def _authorize(self, payload: Payload) -> Payload:
        match await self._ask(messages.parse_authorize(self.station_id, payload)):
            case Authorised() as answer:
                return self._with_info(messages.authorize_payload(answer), payload)
            case other:
                raise TypeError(f"{type(other).__name__} answers no Authorize")

    async def _start_transaction(self, payload: Payload) -> Payload:
        event = messages.parse_start(self.station_id, payload, self._clock.utc())
        match await self._ask(attrs.evolve(event, said=self._said(payload))):
            case Started() as answer:
                return self._with_info(messages.start_payload(answer), payload)
            case other:
                raise TypeError(f"{type(other).__name__} answers no StartTransaction")

    async def _stop_transaction(self, payload: Payload) -> Payload:
        event = messages.parse_stop(self.station_id, payload, self._clock.utc())
        match await self._ask(attrs.evolve(event, said=self._said(payload))):
            case Stopped() as answer:
                return messages.stop_payload(answer)
            case other:
                raise TypeError(f"{type(other).__name__} answers no StopTransaction")

    async def _data_transfer(self, payload: Payload) -> Payload:
        above = await self._upstream.transfer(self.station_id, payload)
        return await self._vendors.answer(self.station_id, payload) if above is None else above

    async def _sign_certificate(self, payload: Payload) -> Payload:
        outcome = await self.signing.asked(payload)
        if not isinstance(outcome, Signed):
            return {"status": "Rejected"}
        self._start(self.signing.hand_over(outcome))
        return {"status": "Accepted"}

    async def _notice(self, action: str, payload: Payload) -> Payload:
        report = parse_notice(self.station_id, action, payload)
        if report is not None:
            self._inbox.post(report)
        self._upstream.heard(self.station_id, action, payload)
        return {}

    def _said(self, payload: Payload) -> str:
        """The station's own words, where they are of use to anybody."""
        return json.dumps(payload) if self._upstream.wants(self.station_id) else ""

    def _with_info(self, answer: Payload, payload: Payload) -> Payload:
        """The answer with what else is known of an accepted badge."""
        info = answer["idTagInfo"]
        if info["status"] != Verdict.ACCEPTED:
            return answer
        more = self._upstream.tag_info(self.station_id, messages.text(payload.get("idTag")))
        return {**answer, "idTagInfo": {**more, **info}}

    async def _ask(self, event: Request) -> Answer:
        """The core's answer; where the disk did not take it, the station has to try again."""
        answer = await self._inbox.ask(event)
        if isinstance(answer, NotStored):
            raise Refuse(ErrorCode.INTERNAL_ERROR, "could not be stored, try again")
        return answer

    def _heard(self, stamp: datetime | None) -> None:
        """Judge the station's clock by a stamp, and tell the core once on each link and where that changed."""
        if stamp is None:
            return
        memory, utc, monotonic_ms = self._memory, self._clock.utc(), self._clock.monotonic_ms()
        memory.time = memory.time.heard(stamp, utc, monotonic_ms)
        ahead_ms = memory.time.ahead_ms(utc, monotonic_ms)
        if ahead_ms is None or not memory.time.is_sure:
            return
        known_ms = memory.ahead_told_ms if self._clock_told else None
        if known_ms is None or abs(ahead_ms - known_ms) > CLOCK_STEP_MS:
            memory.ahead_told_ms, self._clock_told = ahead_ms, True
            self._inbox.post(StationClockRead(self.station_id, ahead_ms))
            self._clock_care.told(ahead_ms)

    # -- what we ask of it -------------------------------------------------------------------------------------------

    async def _call(self, action: str, payload: Payload) -> Payload:
        """A call that can wait."""
        async with self._turn:
            return await self._session.call(action, payload, deadline_s=CALL_S)

    async def _book_boot(self, event: StationBooted) -> BootAnswer:
        self._memory.booted(event)
        match await self._ask(event):
            case BootAnswer() as answer:
                self._boots.set()
                if self._adopting is not None:
                    self._adopting.cancel()
                self._adopting = self._start(self._adopt()) if answer.accepted else None
                return answer
            case other:
                raise TypeError(f"{type(other).__name__} answers no BootNotification")

    async def _expect_boot(self) -> None:
        """A station that comes back without a boot is taken at its word where we know it, else it is invited."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOOT_WITHIN_S):
                await self._boots.wait()
            return
        if not self._known.accepted:
            await self._invite_boot()
        elif self._adopting is None:
            self._adopting = self._start(self._adopt())

    async def _invite_boot(self) -> None:
        """Have the station boot, or boot it in our books where it cannot be asked to."""
        self._boots.clear()
        with contextlib.suppress(CallFailed, TimeoutError):
            answer = await self._call("TriggerMessage", {"requestedMessage": "BootNotification"})
            if answer.get("status") == "Accepted":
                async with asyncio.timeout(BOOT_WITHIN_S):
                    await self._boots.wait()
        if not self._boots.is_set():
            with contextlib.suppress(Refuse):
                await self._book_boot(self._memory.boot)

    async def _adopt(self) -> None:
        """Learn what the station can do, and have it report as we need it."""
        memory = self._memory
        with contextlib.suppress(LinkLost):
            configuration = await configuration_of(self._call)
            told = configuration_fact(self.station_id, configuration)
            if told is not None:
                self._inbox.post(told)
            memory.speaks(dialect_of(configuration, memory.dialect, one_level=memory.one_level))
            memory.unit_known = bool(configuration.units)
            memory.max_level = configuration.max_level
            tell_capabilities(memory, self._inbox)
            await set_up_readings(self._call, configuration, memory)
            await self._keep_out_of_use()
            self._clock_care.begin()
            self.local_list.refresh()

    async def _keep_out_of_use(self) -> None:
        """Say again which connectors people took out of use: not every station knows after it was without power."""
        for connector in sorted(self._known.inoperative):
            await answer_to(self._call, "ChangeAvailability", {"connectorId": connector, "type": "Inoperative"})

    async def _heartbeat_triggered(self, within_s: float) -> None:
        """Returns once the station answers, whatever it answers."""
        with contextlib.suppress(CallRefused):
            await self._session.call("TriggerMessage", {"requestedMessage": "Heartbeat"}, deadline_s=within_s)

    async def _stop_remotely(self, command: StopRemotely) -> None:
        try:
            answer = await self._call("RemoteStopTransaction", {"transactionId": command.transaction_id})
            outcome = messages.text(answer.get("status"))
        except CallFailed as failure:
            outcome = str(failure)
        _log.info("%s: asked to stop transaction %d: %s", self.station_id, command.transaction_id, outcome)

    async def _ask_reading(self, command: AskReading) -> None:
        """A station that cannot be triggered, or is the worse for it, is left alone until it boots, and reports at its
        own pace: nothing depends on this."""
        memory = self._memory
        if memory.not_on_demand >= TWICE:
            return
        wish = {"requestedMessage": "MeterValues", "connectorId": command.connector}
        memory.not_on_demand += 1
        try:
            answer = await self._call("TriggerMessage", wish)
        except CallAbandoned:  # for something more urgent
            memory.not_on_demand = max(memory.not_on_demand - 1, 0)
        except CallFailed as failure:
            _log.debug("%s: no reading on demand: %s", self.station_id, failure)
        else:
            status = messages.text(answer.get("status"))
            if status.lower() == "accepted":
                memory.not_on_demand = 0
            _log.debug("%s: reading on demand: %s", self.station_id, status)

    @property
    def _known(self) -> StationState:
        return self._inbox.state.stations.get(self.station_id, StationState())

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Do it beside, for as long as the link lasts."""
        if self._tasks is None or self._serving is None or self._serving.done():
            work.close()
            return None
        return self._tasks.create_task(work)


async def _pong(ping: Callable[[], Awaitable[Awaitable[float]]]) -> None:
    await (await ping())
