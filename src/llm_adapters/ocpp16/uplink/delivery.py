"""The queue of one station on its way to the CPO: in order, once as far as OCPP allows, and never lost.

Theory of operation
    One message is out at a time, the oldest. It leaves the queue when the CPO has answered it; until then it is sent
    again, always under its one message id, so that a CPO that remembers ids, or the time and register of a start, has
    it once. A start that was sent and never answered may have been counted by one that remembers neither: that is
    noted, and people see it. An answer that is late is waited for, because only a lost link makes a start doubtful; so
    whoever wants to end the link for reasons of ours lets the message settle that is out.

    A start is answered with the CPO's number of its transaction, which all that follows needs. A CALLERROR is tried
    again: a few times where it is about the message itself, some more where a start is answered without a number, for
    a day where it is about the CPO. What is refused then is set aside, with a start all that follows from it, so that
    one message does not stop the others.
Source: OCPP 1.6 §3.7.1, §4.8, §4.10; decision record 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import attrs

from llm_adapters.ocpp16.rpc import CallRefused
from llm_adapters.ocpp16.uplink.wording import ACTIONS, cpo_number, payload_of
from llm_core import Clock, Queued, StoreError, UplinkKind, UplinkQueue

Payload: TypeAlias = dict[str, Any]
_log = logging.getLogger("llm.uplink")

BATCH = 100
CONFIRM_EVERY = 25  # readings: several leave the queue in one commit
ANSWER_S = 60.0  # a CPO that is silent for so long is not there
SETTLE_S = 1.0
OF_ITSELF = frozenset(
    {
        "FormationViolation",
        "NotImplemented",
        "NotSupported",
        "OccurenceConstraintViolation",
        "PropertyConstraintViolation",
        "ProtocolError",
        "TypeConstraintViolation",
    }
)
TRIES_OF_ITSELF = 3
TRIES_WITHOUT_NUMBER = 10  # each may count as one more start
PATIENCE_S = 86_400.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
DISK_PAUSE_S = 5.0


class Send(Protocol):
    """A call to the CPO; raises as `Session.call` does."""

    async def __call__(
        self, action: str, payload: Payload, *, deadline_s: float, unique_id: str | None = None
    ) -> Payload: ...


@attrs.define
class Trouble:
    """How often the CPO has answered the oldest message with an error, and since when."""

    number: int = 0
    times: int = 0
    since_s: float = 0.0
    last: str = ""


class Delivery:
    """Delivers one station's queue while there is a link."""

    def __init__(
        self,
        station_id: str,
        queue: UplinkQueue,
        clock: Clock,
        jitter: Callable[[], float],
        tell: Callable[[str], None],
        answered: Callable[[str, int | None, Payload], None],
    ) -> None:
        """`jitter` gives a number between 0 and 1. `tell` is called with every trouble ("" when there is none), and
        `answered` with a badge, its transaction where that has begun now, and what the CPO answered."""
        self._station_id = station_id
        self._queue = queue
        self._clock = clock
        self._jitter = jitter
        self._tell = tell
        self._answered = answered
        self._news = asyncio.Event()
        self._trouble = Trouble()
        self._confirmed: list[int] = []
        self._open = asyncio.Event()
        self._open.set()
        self._settled = asyncio.Event()
        self._settled.set()
        self.idle = False
        """Nothing waits: what comes now goes out at once."""

    def wake(self) -> None:
        """There is something new."""
        self._news.set()

    async def settle(self) -> None:
        """Begin with no more messages, and give the one that is out a second for its answer."""
        self._open.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._settled.wait()

    async def run(self, send: Send) -> None:
        """Deliver until cancelled, or until the link fails (raises as `send` does)."""
        try:
            while True:
                self._news.clear()
                try:
                    batch = await self._queue.waiting(self._station_id, BATCH)
                    self.idle = not batch
                    if batch:
                        await self._deliver_all(batch, send)
                except StoreError as error:
                    _log.warning("%s: the queue for the CPO cannot be read or written: %s", self._station_id, error)
                    await asyncio.sleep(DISK_PAUSE_S)
                    continue
                if not batch:
                    self._tell("")
                    await self._news.wait()
        finally:
            self.idle = False

    async def _deliver_all(self, batch: tuple[Queued, ...], send: Send) -> None:
        numbers: dict[int, int] = {}
        refused: set[int] = set()
        try:
            for queued in batch:
                transaction_id = queued.message.transaction_id
                if transaction_id in refused:
                    continue  # set aside with its start
                cpo_number = numbers.get(transaction_id, queued.cpo_transaction_id)
                await self._open.wait()
                self._settled.clear()
                outcome = await self._deliver(queued, cpo_number, send)
                self._settled.set()
                if outcome is None:
                    refused.add(transaction_id)
                elif queued.message.kind is UplinkKind.START:
                    numbers[transaction_id] = outcome
        finally:
            self._settled.set()
            await self._confirm()
        self._tell("")

    async def _deliver(self, queued: Queued, cpo_number: int | None, send: Send) -> int | None:
        """See one message through. The CPO's number of its transaction (0 for others); None when it is set aside."""
        kind = queued.message.kind
        if kind is not UplinkKind.START and cpo_number is None and queued.message.transaction_id != 0:
            await self._refuse(queued, "its start was refused")
            return None
        most: int | None
        while True:
            if kind is UplinkKind.START:
                await self._confirm()
                await self._queue.sending(queued.number)
            payload = payload_of(queued, cpo_number, self._clock.utc())
            try:
                answer = await send(ACTIONS[kind], payload, deadline_s=ANSWER_S, unique_id=queued.message_id)
                taken = await self._taken(queued, answer)
                if taken is not None:
                    self._trouble = Trouble()
                    return taken
                fault, most = "it answers a start without a number of the transaction", TRIES_WITHOUT_NUMBER
            except CallRefused as refusal:
                of_itself = refusal.code in OF_ITSELF and not refusal.garbled
                fault, most = f"it answers with an error: {refusal}", TRIES_OF_ITSELF if of_itself else None
                if kind is UplinkKind.START and of_itself:  # an InternalError may come after it was written down
                    await self._queue.not_taken(queued.number)
            if await self._is_for_good(queued, fault, most):
                return None

    async def _taken(self, queued: Queued, answer: Payload) -> int | None:
        """The CPO has it: its number of the transaction (0 where none is needed); None where it did not say so."""
        message = queued.message
        match message.kind:
            case UplinkKind.START:
                number = cpo_number(answer.get("transactionId"))
                if number is None:
                    return None
                await self._queue.started(queued.number, number)
                self._answered(message.id_tag or "", message.transaction_id, answer)
                return number
            case UplinkKind.STOP:
                await self._confirm()
                await self._queue.delivered((queued.number,))
                self._answered(message.id_tag or "", None, answer)
            case UplinkKind.METER:
                self._confirmed.append(queued.number)
                if len(self._confirmed) >= CONFIRM_EVERY:
                    await self._confirm()
        return 0

    async def _confirm(self) -> None:
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            with contextlib.suppress(StoreError):  # they are sent again, and readings do no harm twice
                await self._queue.delivered(confirmed)

    async def _is_for_good(self, queued: Queued, fault: str, most: int | None) -> bool:
        """Pause before the next try, or set the message aside: after `most` tries, or a day."""
        now_s = asyncio.get_running_loop().time()
        if self._trouble.number != queued.number:
            self._trouble = Trouble(queued.number, 0, now_s)
        trouble = self._trouble
        trouble.times, trouble.last = trouble.times + 1, fault
        self._tell(fault)
        if (most is not None and trouble.times >= most) or now_s - trouble.since_s >= PATIENCE_S:
            await self._refuse(queued, fault)
            return True
        pause_s = min(FIRST_PAUSE_S * 2 ** min(trouble.times - 1, 16), LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s * (0.5 + self._jitter() / 2))
        return False

    async def _refuse(self, queued: Queued, why: str) -> None:
        """Set aside what the CPO will never take; a reading that it does not want is no loss."""
        _log.warning("%s: the CPO refuses a %s for good: %s", self._station_id, queued.message.kind.value, why)
        if queued.message.kind is UplinkKind.METER:
            await self._queue.delivered((queued.number,))
        else:
            await self._queue.refuse(queued.number, why)
        self._tell(why)
