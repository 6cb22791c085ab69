"""Frames that nobody should send, and a central system with the real core to send them to.

`uv run python tests/integration/ocpp_fuzzing.py 1000000` sends that many by chance, with `--sockets` over a real
WebSocket; `ocpp_fuzzing_guided.py` lets atheris look for them, which follows the branches that a frame reaches.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import random
import resource
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from core_inbox import CoreInbox
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from llm_adapters.ocpp16.stations import StationServer
from llm_app.clock import SystemClock
from llm_core import AccessRule, PerPhase, Site, State, Station, Supply

MOST_GROWTH_KB = 50 * 1024
ACTIONS = (
    *("Authorize", "BootNotification", "DataTransfer", "Heartbeat", "MeterValues", "StartTransaction"),
    *("StatusNotification", "StopTransaction", "FirmwareStatusNotification", "DiagnosticsStatusNotification"),
    *("SecurityEventNotification", "LogStatusNotification", "SignCertificate", "Unknown", ""),
)
NAMES = (
    *("connectorId", "idTag", "meterStart", "meterStop", "timestamp", "transactionId", "reason", "status", "errorCode"),
    *("meterValue", "sampledValue", "value", "measurand", "phase", "unit", "context", "location", "format", "vendorId"),
    *("chargePointVendor", "chargePointModel", "firmwareVersion", "info", "vendorErrorCode", "messageId", "data", "x"),
)
WORDS = (
    *("", "1", "-1", "1.5", "1,5", "9" * 30, "A1B2C3", "20:69:C0:21", "x" * 300, "2026-03-01T12:00:00Z", "1970-01-01"),
    *(
        "9999-12-31T23:59:59+14:00",
        "Charging",
        "Available",
        "Preparing",
        "Faulted",
        "Current.Import",
        "L1",
        "L1-N",
        "N",
    ),
    *("Energy.Active.Import.Register", "Power.Active.Import", "A", "W", "kWh", "Hz", "Transaction.Begin", "Local", "é"),
    *("\u0000", "\ud800", "NaN", "1e5", "Accepted", "NoError", "SignedData", "\u202e"),
)
NUMBERS = (0, 1, -1, 2, -16, 17, 64, 2**31, 2**63 - 1, 2**63, -(2**63), 10**40, 0.1, 1e308, -0.0, 15.9, True, None)


def frames(chance: random.Random) -> Iterator[str | bytes]:
    """Frames without end: most are nearly right, some are anything."""
    while True:
        kind = chance.random()
        unique_id = chance.choice(("a", "b", "-1", "", "x" * 40, str(chance.random())))
        if kind < 0.6:
            message = [2, unique_id, chance.choice(ACTIONS), payload(chance)]
        elif kind < 0.8:
            message = [chance.choice((3, 4, 2, 5, "2", None)), unique_id, anything(chance, 3), anything(chance, 2)]
        else:
            message = anything(chance, 4)
        text = json.dumps(message)
        if kind > 0.95:
            yield damaged(chance, text)
        else:
            yield text


def payload(chance: random.Random) -> Any:
    names = chance.sample(NAMES, chance.randrange(8))
    return {name: anything(chance, 4) for name in names} if chance.random() < 0.95 else anything(chance, 2)


def anything(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth == 0 or kind < 0.35:
        return chance.choice(WORDS)
    if kind < 0.65:
        return chance.choice(NUMBERS)
    if kind < 0.8:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(NAMES): anything(chance, depth - 1) for _ in range(chance.randrange(5))}


def damaged(chance: random.Random, text: str) -> str | bytes:
    at = chance.randrange(len(text) + 1)
    match chance.randrange(5):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + chance.choice('[]{}",:\\\x00') * chance.choice((1, 50)) + text[at:]
        case 2:
            return text.encode() + bytes(chance.randrange(256) for _ in range(8))
        case 3:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        case _:
            return text.replace("1", "9" * chance.choice((70, 5_000)), 1)


class Link:
    """A link in memory: what is put in is what the station says; `answers` are what it hears, by their id."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.answers: dict[str, asyncio.Future[None]] = {}

    async def send(self, message: str, /) -> None:
        frame = json.loads(message)
        if frame[0] == 2:
            self.said.put_nowait(json.dumps([3, frame[1], {"status": "Accepted"}]))
        elif (waiting := self.answers.pop(frame[1], None)) is not None:
            waiting.set_result(None)

    async def recv(self) -> str | bytes:
        frame = await self.said.get()
        if frame is None:
            raise ConnectionClosedError(None, None)
        return frame

    async def close(self, _code: int, _reason: str, /) -> None:
        self.said.put_nowait(None)


class Target:
    """A central system with one station on a link in memory. Raises `AssertionError` when something went wrong."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.fed = 0
        self.runner.run(self._start())

    async def _start(self) -> None:
        site = Site(
            supply=Supply(static_max_ma=PerPhase.same(40_000)), stations=(Station("CP"),), access=AccessRule.FREE
        )
        clock = SystemClock()
        self._inbox = CoreInbox(State(site=site, factory=False), clock)
        server = StationServer(self._inbox, clock)
        self._inbox.perform = server.perform
        await self._link_to(server)
        await self._say('[2,"boot","BootNotification",{"chargePointModel":"Fuzzed"}]')
        await self._served("first")
        await asyncio.sleep(5)  # what follows a boot
        self._tasks = len(asyncio.all_tasks())
        self._futures = unfinished()
        self._memory_kb = memory_kb()

    async def _link_to(self, server: StationServer) -> None:
        self._link = Link()
        self._answers = self._link.answers
        self._serving = asyncio.create_task(server.attach(self._link, "CP", "127.0.0.1", "/CP"))

    async def _say(self, frame: str | bytes) -> None:
        self._link.said.put_nowait(frame)

    def feed(self, *hostile: str | bytes) -> None:
        """Send these frames; returns once the station is served after them."""
        self.runner.run(self._feed(hostile))

    async def _feed(self, hostile: tuple[str | bytes, ...]) -> None:
        for frame in hostile:
            await self._say(frame)
        self.fed += len(hostile)
        if self.fed % 1_000 < len(hostile):
            self._inbox.tick()
        await self._served(f"probe {self.fed}")

    async def _served(self, unique_id: str) -> None:
        answer = self._answers[unique_id] = asyncio.get_running_loop().create_future()
        await self._say(json.dumps([2, unique_id, "Heartbeat", {}]))
        async with asyncio.timeout(30):
            await answer
        assert not self._serving.done()

    def check(self) -> None:
        """No task died or was left behind, no future waits that did not before, memory is where it was."""
        self.runner.run(self._check())

    async def _check(self) -> None:
        for _ in range(600):  # what ended just now may take a moment to be gone
            await asyncio.sleep(0.1)
            if len(asyncio.all_tasks()) <= self._tasks + 1:
                break
        assert len(asyncio.all_tasks()) <= self._tasks + 1, "tasks are left behind"
        gc.collect()
        assert unfinished() <= self._futures + 8, "futures are left behind"
        assert self.growth_kb() < MOST_GROWTH_KB, "memory grows"

    def growth_kb(self) -> int:
        return memory_kb() - self._memory_kb

    def close(self) -> None:
        self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        self._link.said.put_nowait(None)
        await self._serving


class SocketTarget(Target):
    """The same over a real WebSocket: a link that is ended is opened anew; beside it come sockets with anything."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self.reconnects = -1
        super().__init__()

    async def _link_to(self, server: StationServer) -> None:
        self._doors = AsyncExitStack()
        self._port = await self._doors.enter_async_context(server.listen("127.0.0.1", 0))
        self._answers = {}
        await self._connect()

    async def _connect(self) -> None:
        self.reconnects += 1
        self._answers.clear()
        self._station = await connect(
            f"ws://127.0.0.1:{self._port}/CP", proxy=None, compression=None, ping_interval=None, close_timeout=1
        )
        self._serving = asyncio.create_task(self._read(self._station), name="the station")

    async def _read(self, station: ClientConnection) -> str:
        with contextlib.suppress(ConnectionClosed):
            async for message in station:
                frame = json.loads(message)
                if frame[0] == 2:
                    await station.send(json.dumps([3, frame[1], {"status": "Accepted"}]))
                elif (waiting := self._answers.pop(frame[1], None)) is not None:
                    waiting.set_result(None)
        return "closed"

    async def _say(self, frame: str | bytes) -> None:
        """As text, whatever it is: bytes that are no UTF-8 end the link, as they must."""
        as_bytes = frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass")
        try:
            await self._station.send(as_bytes, text=self._chance.random() < 0.95)
        except ConnectionClosed:
            await self._serving
            await self._connect()

    async def _served(self, unique_id: str) -> None:
        """A link that the frames before have ended is no fault; a station that calls again has to be served."""
        try:
            await asyncio.wait_for(self._ended_or(super()._served(unique_id)), 60)
        except ConnectionError:
            await self._connect()
            await super()._served(unique_id)
        if self.fed % 1_000 == 0:
            await self._anything()

    async def _ended_or(self, served: Coroutine[Any, Any, None]) -> None:
        asking = asyncio.create_task(served)
        await asyncio.wait((asking, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            raise ConnectionError
        await asking

    async def _anything(self) -> None:
        """A socket that is no station: noise, half a handshake, or a station's handshake and noise after it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            b"GET /CP HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        noise = self._chance.randbytes(self._chance.randrange(1, 2_000))
        writer.write(
            self._chance.choice((noise, head[: self._chance.randrange(len(head))], head.replace(b"/CP", b"/X") + noise))
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            if self._chance.random() < 0.5:
                writer.write_eof()
                async with asyncio.timeout(15):
                    await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _end(self) -> None:
        await self._station.close()
        await self._serving
        await self._doors.aclose()


def unfinished() -> int:
    """Futures that somebody may still wait for."""
    found = 0
    for thing in gc.get_objects():
        if type(thing).__module__ == "_asyncio" and isinstance(thing, asyncio.Future) and not thing.done():
            found += 1
    return found


def memory_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def by_chance(runs: int, target: Target) -> None:
    source = frames(random.Random(1))
    for _ in range(runs // 50):
        target.feed(*(next(source) for _ in range(50)))
        if target.fed % 10_000 == 0:
            target.check()
        if target.fed % 100_000 == 0:
            print(f"{target.fed} frames, {target.growth_kb()} KiB more memory", flush=True)
    target.check()
    reconnects = f", {target.reconnects} links ended by them" if isinstance(target, SocketTarget) else ""
    print(f"{target.fed} frames{reconnects}, nothing dead, nothing left behind, {target.growth_kb()} KiB more memory")
    target.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--sockets", action="store_true", help="over a real WebSocket, not a link in memory")
    arguments = parser.parse_args()
    by_chance(arguments.frames, SocketTarget() if arguments.sockets else Target())
