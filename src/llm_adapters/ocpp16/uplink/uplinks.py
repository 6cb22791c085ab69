"""The ways up of all stations: implements `Uplinks`, and follows the settings as they change."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, TypeAlias, assert_never

import attrs

from llm_adapters.ocpp16.uplink.dialing import Dial, Door, dial
from llm_adapters.ocpp16.uplink.station import StationUplink
from llm_core import (
    AskCpo,
    Clock,
    CpoAnswered,
    Inbox,
    State,
    StationCalls,
    StoreError,
    TellCpo,
    UplinkBook,
    UplinkCommand,
)

Payload: TypeAlias = dict[str, Any]
_log = logging.getLogger("llm.uplink")

PAUSE_S = 5.0  # after a fault of ours, or of the disk


@attrs.define
class _Way:
    door: Door
    station: StationUplink
    task: asyncio.Task[None]


class CpoUplinks:
    """One way up for each station that the settings name."""

    def __init__(
        self,
        book: UplinkBook,
        inbox: Inbox,
        clock: Clock,
        calls: StationCalls,
        dial: Dial = dial,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._book = book
        self._inbox = inbox
        self._clock = clock
        self._calls = calls
        self._dial = dial
        self._jitter = jitter
        self._ways: dict[str, _Way] = {}
        self._changed = asyncio.Event()
        self._early: list[AskCpo] | None = []  # asked before the settings were followed for the first time

    async def run(self) -> None:
        """Follow the settings until cancelled."""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._follow()
                except StoreError as error:
                    _log.warning("the secrets for the CPO cannot be read: %s", error)
                    await asyncio.sleep(PAUSE_S)
                    continue
                await self._changed.wait()
        finally:
            await _ended(list(self._ways.values()))

    async def _follow(self) -> None:
        doors = await self._doors()
        gone = {name: way for name, way in self._ways.items() if doors.get(name) != way.door}
        self._ways = {name: way for name, way in self._ways.items() if name not in gone}
        await _ended(list(gone.values()))
        for station_id, way in gone.items():
            if station_id not in doors:
                way.station.caps.lift()
        for station_id, door in doors.items():
            if station_id in self._ways:
                self._ways[station_id].station.queued()  # what was refused may be tried again
                continue
            station = StationUplink(
                station_id, door, self._book, self._inbox, self._clock, self._calls, self._dial, self._jitter
            )
            task = asyncio.create_task(_kept_running(station), name=f"CPO {station_id}")
            self._ways[station_id] = _Way(door, station, task)
        early, self._early = self._early, None
        for command in early or ():
            self.perform(command)

    async def _doors(self) -> dict[str, Door]:
        site = self._inbox.state.site
        uplink, doors = site.uplink, dict[str, Door]()
        for entry in uplink.stations if uplink.enabled else ():
            url = uplink.url_of(entry)
            if not url or site.station(entry.station_id) is None:
                continue
            password = await self._book.secret(entry.station_id, "password")
            key = await self._book.secret(entry.station_id, "certificate_key")
            doors[entry.station_id] = Door(url, entry.ocpp_id, uplink.ca, entry.certificate, password, key)
        return doors

    def look(self, before: State, after: State) -> None:
        """To be called with every change of what is known."""
        if before.site is not after.site:  # whoever changed a secret has put the settings once more
            self._changed.set()
        for way in self._ways.values():
            way.station.look(before, after)

    # The port `Uplinks`

    def perform(self, command: UplinkCommand) -> None:
        """Take a command; returns at once."""
        way = self._ways.get(command.station_id)
        match command:
            case AskCpo():
                if way is not None:
                    way.station.ask(command)
                elif self._early is not None and self.wants(command.station_id):
                    self._early.append(command)  # the core answers in our place after 6 s
                else:
                    self._inbox.post(CpoAnswered(command.station_id, command.id_tag, None, command.ask))
            case TellCpo():
                if way is not None:
                    way.station.queued()
            case _:
                assert_never(command)

    # What conversations with stations tell (`Upstream`)

    def wants(self, station_id: str) -> bool:
        return self._inbox.state.site.uplink.station(station_id) is not None

    def heard(self, station_id: str, action: str, payload: Payload) -> None:
        way = self._ways.get(station_id)
        if way is not None:
            way.station.heard(action, payload)

    async def transfer(self, station_id: str, payload: Payload) -> Payload | None:
        way = self._ways.get(station_id)
        return None if way is None else await way.station.transfer(payload)

    def tag_info(self, station_id: str, id_tag: str) -> Payload:
        way = self._ways.get(station_id)
        return {} if way is None else way.station.tag_info(id_tag)


async def _kept_running(station: StationUplink) -> None:
    """A fault of ours costs its CPO a station for a moment, and nobody else anything."""
    while True:
        try:
            await station.run()
        except Exception:
            _log.exception("%s: a fault of ours ended its way up", station.station_id)
        await asyncio.sleep(PAUSE_S)


async def _ended(ways: list[_Way]) -> None:
    """End them once what they have sent is answered, if that comes soon."""
    await asyncio.gather(*(way.station.settle() for way in ways), return_exceptions=True)
    for way in ways:
        way.task.cancel()
    await asyncio.gather(*(way.task for way in ways), return_exceptions=True)
