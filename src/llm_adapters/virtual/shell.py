"""Runs a plant against an event loop: real time over sockets or virtual time over in-memory links, the same code.

Every station has one task that keeps a link up while the station wants one, with back-off between attempts; one more
task lets plant time pass. All of them touch the plant between awaits only, so it needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from websockets.exceptions import ConnectionClosed, WebSocketException

from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.station import Station

_log = logging.getLogger(__name__)


class Link(Protocol):
    """What a station needs of a connection; both methods raise `ConnectionClosed` once it is gone."""

    async def send(self, message: str, /) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int = 1000, reason: str = "", /) -> None: ...


Connect = Callable[[str], Awaitable[Link]]
"""Opens a link for a station id; raises OSError, TimeoutError or WebSocketException where it cannot."""


class Shell:
    """Lets a plant live on the running loop until `run` is cancelled.

    `speed` is plant seconds per loop second; `tick_s` loop seconds between advances.
    """

    def __init__(
        self,
        plant: Plant,
        connect: Connect,
        *,
        speed: float = 1.0,
        tick_s: float = 0.25,
        retry_s: tuple[float, float] = (1.0, 15.0),
    ) -> None:
        self.plant = plant
        self._connect = connect
        self._speed = speed
        self._tick_s = tick_s
        self._retry_s = retry_s
        self._news = {name: asyncio.Event() for name in plant.stations}

    async def run(self) -> None:
        """Run until cancelled; links are closed on the way out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass_time(), name="plant time")
            for name in self.plant.stations:
                tasks.create_task(self._stay_connected(name), name=f"station {name}")

    async def _pass_time(self) -> None:
        loop = asyncio.get_running_loop()
        began, from_t, due = loop.time(), self.plant.t, loop.time()
        seen = dict.fromkeys(self._news, -1)
        while True:
            self.plant.advance(from_t + (loop.time() - began) * self._speed)
            for name, station in self.plant.stations.items():
                if station.version != seen[name]:
                    seen[name] = station.version
                    self._news[name].set()
            due = max(due + self._tick_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _stay_connected(self, name: str) -> None:
        station = self.plant.stations[name]
        pause_s = self._retry_s[0]
        while True:
            while not station.wants_link:
                await self._hear(name)
            try:
                link = await self._connect(name)
            except (OSError, TimeoutError, WebSocketException) as error:
                _log.info("%s cannot connect: %s", name, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_s[1])
                continue
            pause_s = self._retry_s[0]
            await self._use(link, station)
            await asyncio.sleep(pause_s)

    async def _use(self, link: Link, station: Station) -> None:
        """Talk over one link until either side ends it."""
        name = station.config.station_id
        self.plant.link_up(name)
        reader = asyncio.create_task(self._read(link, name), name=f"reader {name}")
        try:
            while station.online and not reader.done():
                while station.outbox:
                    await link.send(station.outbox.pop(0))
                await self._hear(name)
        except ConnectionClosed as closed:
            _log.info("%s lost its link: %s", name, closed)
        finally:
            reader.cancel()
            try:
                await asyncio.wait((reader,))  # whoever ends us in this moment ends us, and not only the reader
                if not reader.cancelled():
                    reader.result()
            finally:
                if station.online:
                    self.plant.link_down(name)
                await link.close()

    async def _read(self, link: Link, name: str) -> None:
        try:
            while True:
                frame = await link.recv()
                self.plant.receive(name, frame if isinstance(frame, str) else frame.decode(errors="replace"))
                self._news[name].set()
        except ConnectionClosed as closed:
            _log.info("%s lost its link: %s", name, closed)
        finally:
            self._news[name].set()

    async def _hear(self, name: str) -> None:
        event = self._news[name]
        await event.wait()
        event.clear()
