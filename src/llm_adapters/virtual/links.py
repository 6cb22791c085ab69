"""In-memory links that behave like websockets connections, with the faults of a real network, for virtual time.

A pair has two ends. Each direction delays every frame by a seeded random time (order is kept), loses a share of them,
and can be cut (both ends notice) or made a black hole (nobody notices). What a closed end raises is what websockets
raises, so that code written for one cannot tell.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable

import attrs
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

_ABNORMAL = 1006
_OK = (1000, 1001)


@attrs.frozen
class Weather:
    """One direction of a link: delay drawn evenly from `delay_s`, `loss` the share of frames that vanish."""

    delay_s: tuple[float, float] = (0.005, 0.05)
    loss: float = 0.0


class End:
    """One end of a link; the methods are those of a websockets connection."""

    def __init__(self, weather: Weather, seed: str) -> None:
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._weather = weather
        self._random = random.Random(seed)
        self._inbox: deque[str | bytes] = deque()
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._free_at = 0.0
        self._hole = False
        self._by_us = False
        self._peer: End | None = None

    async def send(self, message: str | bytes, /) -> None:
        """Hand over a frame; raises ConnectionClosed once this end knows the link is gone."""
        self._check()
        if self._random.random() >= self._weather.loss:
            self._deliver(message)
        await asyncio.sleep(0)

    async def recv(self) -> str | bytes:
        """The next frame; raises ConnectionClosed when none is left and the link is gone."""
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()

    def __aiter__(self) -> End:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "", /) -> None:
        """Close from this end; the other learns of it a delay later."""
        if self.close_code is None:
            self._by_us = True
            peer = self._peer
            if peer is not None and not self._hole:
                asyncio.get_running_loop().call_at(self._arrival(), peer._end, code, reason)
            self._end(code, reason)
        await asyncio.sleep(0)

    async def wait_closed(self) -> None:
        """Until this end knows that the link is gone."""
        await self._closed.wait()

    async def ping(self) -> Awaitable[float]:
        """Ask for a pong: the awaitable resolves with the round trip in seconds, or never across a black hole."""
        self._check()
        loop = asyncio.get_running_loop()
        pong: asyncio.Future[float] = loop.create_future()
        peer, sent = self._peer, loop.time()
        if peer is not None and not self._hole and not peer._hole:
            back = self._arrival() + self._delay(peer)
            loop.call_at(back, lambda: None if pong.done() else pong.set_result(back - sent))
        return pong

    def abort(self) -> None:
        """Cut the link: both ends notice at once, without a closing handshake (code 1006)."""
        for end in (self, self._peer):
            if end is not None:
                end._end(_ABNORMAL, "")

    def black_hole(self) -> None:
        """From now on nothing that this end sends arrives, and nobody is told."""
        self._hole = True

    def _deliver(self, message: str | bytes) -> None:
        peer = self._peer
        if peer is not None and not self._hole:
            asyncio.get_running_loop().call_at(self._arrival(), peer._arrive, message)

    def _arrive(self, message: str | bytes) -> None:
        if self.close_code is None:
            self._inbox.append(message)
            self._news.set()

    def _arrival(self) -> float:
        """When what is sent now arrives: after what was sent earlier, for timers of one instant have no order."""
        earliest = asyncio.get_running_loop().time() + self._delay(self)
        self._free_at = max(math.nextafter(self._free_at, math.inf), earliest)
        return self._free_at

    @staticmethod
    def _delay(end: End) -> float:
        return end._random.uniform(*end._weather.delay_s)

    def _end(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._closed.set()
            self._news.set()

    def _check(self) -> None:
        if self.close_code is None:
            return
        if self.close_code == _ABNORMAL:
            raise ConnectionClosedError(None, None)
        frame = Close(self.close_code, self.close_reason or "")
        kind = ConnectionClosedOK if self.close_code in _OK else ConnectionClosedError
        raise kind(frame, frame, not self._by_us)


def pair(up: Weather | None = None, down: Weather | None = None, seed: int | str = 0) -> tuple[End, End]:
    """A link: (client end, server end). `up` is the weather from client to server, `down` the way back."""
    client = End(up or Weather(), f"{seed}/up")
    server = End(down or Weather(), f"{seed}/down")
    client._peer, server._peer = server, client
    return client, server
