"""A TCP relay in front of a CPO that spoils what passes, by a seed: slow, dripping, cut, half closed, a hole, garbage.

It works on bytes and knows of WebSockets only where a frame begins and which call is out, so that some garbage is an
answer. While `calm` it passes everything; while `outage` it takes nobody and throws out whom it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 4_096
KINDS = ("clean", "slow", "drip", "cut", "half", "hole", "garbage", "garbage", "noise", "answer lost", "answer lost")


class FaultProxy:
    """One for each story; `seen` counts what it did."""

    def __init__(self, port: int, seed: object) -> None:
        self._target = port
        self.dice = random.Random(f"proxy {seed}")
        self.calm = False
        self.outage = False
        self.port = 0
        self.seen: Counter[str] = Counter()
        self._links: set[Relay] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/cpo"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FaultProxy]:
        server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut_all()

    def cut_all(self) -> None:
        for relay in list(self._links):
            relay.cut()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.outage or (not self.calm and self.dice.random() < 0.1):
            self.seen["not let in"] += 1
            writer.transport.abort()
            return
        relay = Relay(self, reader, writer)
        self._links.add(relay)
        try:
            await relay.run(self._target)
        finally:
            self._links.discard(relay)


class Relay:
    """One connection, and what will become of it."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._dice = random.Random(proxy.dice.random())
        self._near = (reader, writer)
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._calls = CallsSeen()
        dice = self._dice
        self._kind = dice.choice(KINDS)
        self._side = dice.choice(("up", "down", "both"))
        self._after = dice.randrange(100, 2_000)  # bytes until it happens
        self._passed = 0

    @property
    def _spoils(self) -> bool:
        return not self._proxy.calm and self._passed >= self._after

    async def run(self, port: int) -> None:
        try:
            self._far = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.cut()
            return
        near, far = self._near, self._far
        ways = (self._pass("up", near[0], far[1]), self._pass("down", far[0], near[1]))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.gather(*tasks)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.cut()

    def cut(self) -> None:
        for _, writer in (self._near, *((self._far,) if self._far is not None else ())):
            writer.transport.abort()

    async def _pass(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            if way == "up":
                self._calls.feed(chunk)
            if self._spoils and self._side in (way, "both"):
                chunk = await self._spoil(way, chunk, writer)
            self._passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _spoil(self, way: str, chunk: bytes, writer: asyncio.StreamWriter) -> bytes:
        """What passes in the place of this chunk, and when; an abort raises as the network would."""
        dice = self._dice
        if self._kind == "answer lost" and (way == "up" or self._calls.action != "StartTransaction"):
            return chunk
        self._proxy.seen[self._kind] += 1
        match self._kind:
            case "answer lost":  # of a start, which is what nobody can make good
                raise ConnectionResetError
            case "slow":
                await asyncio.sleep(dice.uniform(0, 0.4))
            case "drip":
                for byte in chunk:
                    if writer.transport.is_closing():
                        raise ConnectionResetError
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(dice.choice((0, 0, 0.001, 0.01)))
                return b""
            case "cut":
                writer.write(chunk[: dice.randrange(len(chunk) + 1)])  # perhaps in the middle of a frame
                await asyncio.sleep(0)
                raise ConnectionResetError
            case "half":
                writer.write_eof()
                raise ConnectionResetError
            case "hole":
                return b""
            case "garbage" if way == "down" and (unique_id := self._calls.last) is not None and dice.random() < 0.4:
                return frame(self._garbage(unique_id)) + chunk
            case "noise" if dice.random() < 0.3:
                return chunk + dice.randbytes(dice.randrange(1, 40))
        return chunk

    def _garbage(self, unique_id: str) -> str:
        return self._dice.choice(
            (
                "",
                "nonsense",
                json.dumps([3, unique_id, {}])[: self._dice.randrange(20)],
                json.dumps([3, unique_id, {}]),
                json.dumps([3, unique_id, {"transactionId": "x", "idTagInfo": 5, "status": []}]),
                json.dumps([3, unique_id, "nonsense"]),
                json.dumps([4, unique_id]),
                json.dumps([4, unique_id, "InternalError", "", {}]),
                json.dumps([3, "somebody else's", {}]),
                json.dumps([2, unique_id, "Reset", {}]),
                json.dumps([9, unique_id, {}]),
            )
        )


def frame(text: str) -> bytes:
    """A WebSocket frame as a server sends it."""
    data = text.encode()
    assert len(data) < 126
    return struct.pack("!BB", 0x81, len(data)) + data


class CallsSeen:
    """Reads what a client sends, to know which call is out."""

    def __init__(self) -> None:
        self._bytes = b""
        self._shaken = False
        self.last: str | None = None
        self.action = ""

    def feed(self, chunk: bytes) -> None:
        self._bytes += chunk
        if not self._shaken:
            _head, found, rest = self._bytes.partition(b"\r\n\r\n")
            if not found:
                return
            self._shaken, self._bytes = True, rest
        while (size := self._whole()) is not None:
            self._read(*size)

    def _whole(self) -> tuple[int, int] | None:
        """Where the payload of the first frame begins and how long it is, once all of it is here."""
        if len(self._bytes) < 2:
            return None
        length, at = self._bytes[1] & 0x7F, 2
        if length == 126:
            at = 4
            length = int.from_bytes(self._bytes[2:4], "big")
        elif length == 127:
            at = 10
            length = int.from_bytes(self._bytes[2:10], "big")
        return (at, length) if len(self._bytes) >= at + 4 + length else None

    def _read(self, at: int, length: int) -> None:
        mask, begin = self._bytes[at : at + 4], at + 4
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._bytes[begin : begin + length]))
        opcode, self._bytes = self._bytes[0] & 0x0F, self._bytes[begin + length :]
        if opcode == 1:
            message = json.loads(payload)
            if message[0] == 2:
                self.last, self.action = message[1:3]
