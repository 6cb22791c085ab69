"""What the CPO's profiles let each connector of a station have, told to control as it changes.

They are evaluated whether there is a link or not: whenever something happens, when one of them says so, and once a
second while there are any, so that a clock that is set changes them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from llm_adapters.ocpp16.uplink.schedules import Running
from llm_adapters.ocpp16.uplink.shadow import Awaited, Shadow
from llm_core import CapSource, Clock, ConnectorCapped, Inbox, State, StoreError, Tick, UplinkBook

Payload: TypeAlias = dict[str, Any]
_log = logging.getLogger("llm.uplink")

NOTE = "profiles"
LOOK_EVERY_S = 1.0
HURRY_EVERY_S = 0.3


class Caps:
    """The profiles of one station's CPO, kept, evaluated and answered for."""

    def __init__(self, station_id: str, book: UplinkBook, inbox: Inbox, clock: Clock) -> None:
        self._station_id = station_id
        self._book = book
        self._inbox = inbox
        self._clock = clock
        self._shadow = Shadow()
        self._told: dict[int, int | None] = {}
        self._changed = asyncio.Event()
        self._stale = False  # on the disk
        self._hurried_s = -HURRY_EVERY_S

    def restore(self, stored: str) -> None:
        """The profiles of before the restart; what cannot be read is no limit."""
        try:
            self._shadow = Shadow(stored)
        except (ValueError, TypeError, KeyError):
            _log.exception("%s: the CPO's profiles of before cannot be read", self._station_id)
        self.tell()

    async def run(self) -> None:
        """Evaluate until cancelled."""
        while True:
            self._changed.clear()
            self.tell()
            if self._stale:
                await self._write()
            if not self._shadow:
                await self._changed.wait()
                continue
            change, now = self._shadow.next_change(self._running(), self._clock.utc()), self._clock.utc()
            until_s = LOOK_EVERY_S if change is None else min((change - now).total_seconds(), LOOK_EVERY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, until_s)):
                    await self._changed.wait()

    def tell(self) -> None:
        """Tell control what each connector may have now, where that is news."""
        running, now = self._running(), self._clock.utc()
        if self._shadow.follow(running, now):
            self._stale = True
            self._changed.set()
        is_lower = False
        for connector in range(1, self._connectors + 1):
            cap_ma, before_ma = self._shadow.cap_ma(connector, running, now, self._phases), self._told.get(connector)
            if cap_ma != before_ma:
                self._told[connector] = cap_ma
                self._inbox.post(ConnectorCapped(self._station_id, connector, CapSource.CPO, cap_ma))
                is_lower = is_lower or (cap_ma is not None and (before_ma is None or cap_ma < before_ma))
        if is_lower:
            self._hurry()

    def _hurry(self) -> None:
        """A lower limit is computed at once, and not with the tick that comes within a second and a half; once more a
        little later, when what was out to the station is answered. A CPO that sends one after the other gets no more
        than a few of these."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._hurried_s >= HURRY_EVERY_S:
            self._hurried_s = loop.time()
            self._inbox.post(Tick())
            loop.call_later(HURRY_EVERY_S, self._inbox.post, Tick())

    def look(self, before: State, after: State) -> None:
        """A transaction may have begun or ended."""
        if before.connectors is after.connectors or not self._shadow:
            return
        if _sessions(before, self._station_id) != _sessions(after, self._station_id):
            self._changed.set()
            self.tell()

    def lift(self) -> None:
        """The CPO has nothing to say any more."""
        for connector, cap_ma in self._told.items():
            if cap_ma is not None:
                self._inbox.post(ConnectorCapped(self._station_id, connector, CapSource.CPO, None))
        self._told.clear()

    # What the CPO asks

    async def put(self, payload: Payload) -> str:
        """The status to answer a SetChargingProfile with: in force at once, then on the disk. Raises `Unfit`, and
        `StoreError` where it is in force only."""
        numbers: dict[int, int] = {}
        for present in self._running().values():
            with contextlib.suppress(StoreError):
                number = await self._book.cpo_transaction(present.number)
                if number is not None:
                    numbers[present.number] = number
        status = self._shadow.put(payload, self._running(numbers), self._connectors)
        await self._keep()
        return status

    async def clear(self, payload: Payload) -> str:
        status = self._shadow.clear(payload)
        await self._keep()
        return status

    async def _keep(self) -> None:
        self._changed.set()
        self.tell()
        self._stale = False
        await self._book.note(self._station_id, NOTE, self._shadow.stored())

    async def _write(self) -> None:
        self._stale = False
        try:
            await self._book.note(self._station_id, NOTE, self._shadow.stored())
        except StoreError as error:
            _log.warning("%s: the CPO's profiles are not kept for the next start: %s", self._station_id, error)

    def expect(self, profile: object, connector: int | None) -> Awaited:
        """A remote start brings this one. Raises `Unfit`."""
        awaited = self._shadow.expect(profile, connector, self._running(), self._clock.utc())
        self._stale = True
        self._changed.set()
        self.tell()
        return awaited

    def dismiss(self, awaited: Awaited) -> None:
        """The station refused that start."""
        self._shadow.dismiss(awaited)
        self._stale = True
        self._changed.set()
        self.tell()

    def composite(self, payload: Payload) -> Payload:
        """GetCompositeSchedule.conf."""
        return self._shadow.composite(
            payload, self._local_ma, self._running(), self._connectors, self._clock.utc(), self._phases
        )

    def _running(self, numbers: Mapping[int, int] | None = None) -> dict[int, Running]:
        known = numbers or {}
        sessions = _sessions(self._inbox.state, self._station_id)
        return {n: Running(number, known.get(number), since) for n, (number, since) in sessions.items()}

    def _local_ma(self, connector: int) -> int:
        """What control gives the connector; its maximum while no car is there."""
        state = self._inbox.state
        station, known = state.site.station(self._station_id), state.connectors.get((self._station_id, connector))
        if station is None:
            return 0
        if known is None or (known.session is None and known.preparing_ms is None):
            return station.max_ma
        return known.offered_ma

    @property
    def _connectors(self) -> int:
        state = self._inbox.state
        station = state.site.station(self._station_id)
        configured = 1 if station is None else station.connectors
        return max([configured, *(key[1] for key in state.connectors if key[0] == self._station_id)])

    @property
    def _phases(self) -> int:
        station = self._inbox.state.site.station(self._station_id)
        return 3 if station is None else len(station.phase_rotation)


def _sessions(state: State, station_id: str) -> dict[int, tuple[int, datetime]]:
    return {
        key[1]: (known.session.transaction_id, known.session.started_at)
        for key, known in state.connectors.items()
        if key[0] == station_id and known.session is not None
    }
