"""A station whose clock is off or untold is given the time, and asked to tell its own again.

A limit that lowers itself runs on the station's clock, so one that is off by more than 10 s, or unknown, costs current:
what the station holds stays reserved when it is lost. Some take the time from a Heartbeat only and not from their boot;
some put no time on their status. So a Heartbeat is triggered first, then a status twice, far enough apart for
`StationTime` to believe them, then the station is asked for its schedule, which has the time in it. A clock that
nobody can put right is tried again every ten minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias

from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.messages import parse_stamp
from llm_adapters.ocpp16.rpc import CallRefused, CallTimeout, LinkLost
from llm_adapters.ocpp16.station_time import AGREES_MS
from llm_core import Clock

Payload: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[[str, Payload], Awaitable[Payload]]

SETTLE_S = 3.0  # what was triggered is on its way; and two stamps so far apart are believed
AGAIN_S = 600.0


class ClockCare:
    """Looks after the clock of one station for as long as its link lasts. `heard` takes every stamp it tells."""

    def __init__(self, memory: Memory, call: Call, heard: Callable[[datetime | None], None], clock: Clock) -> None:
        self._memory = memory
        self._call = call
        self._heard = heard
        self._clock = clock
        self._wanted = asyncio.Event()
        self._tried_at: float | None = None

    def begin(self) -> None:
        """The station is adopted, and was asked for its status."""
        self._tried_at = None
        self._wanted.set()

    def told(self, ahead_ms: int) -> None:
        """Its clock was read, and is so far ahead (negative: behind)."""
        if abs(ahead_ms) > AGREES_MS:
            self._wanted.set()

    async def run(self) -> None:
        """Put the clock right whenever it is wrong, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(SETTLE_S)
            tried_lately = self._tried_at is not None and loop.time() - self._tried_at < AGAIN_S
            if tried_lately or self._agrees():
                continue
            self._tried_at = loop.time()
            with contextlib.suppress(LinkLost):
                await self._put_right()
            if not self._agrees():
                loop.call_later(AGAIN_S, self._wanted.set)

    def _agrees(self) -> bool:
        ahead_ms = self._memory.time.ahead_ms(self._clock.utc(), self._clock.monotonic_ms())
        return ahead_ms is not None and self._memory.time.is_sure and abs(ahead_ms) <= AGREES_MS

    async def _put_right(self) -> None:
        await self._try("TriggerMessage", {"requestedMessage": "Heartbeat"})
        for _ in range(2):
            await self._try("TriggerMessage", {"requestedMessage": "StatusNotification"})
            await asyncio.sleep(SETTLE_S)
        for _ in range(2):
            if not self._memory.time.is_sure:
                answer = await self._try("GetCompositeSchedule", {"connectorId": 1, "duration": 60})
                self._heard(parse_stamp(answer.get("scheduleStart")))
                await asyncio.sleep(SETTLE_S)

    async def _try(self, action: str, payload: Payload) -> Payload:
        try:
            return await self._call(action, payload)
        except (CallRefused, CallTimeout):
            return {}
