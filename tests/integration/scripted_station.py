"""A station that says what a test wants over a real WebSocket, without a library that would set it right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from patience import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Payload = dict[str, Any]
Answering = Payload | list[Any] | str | None | Callable[[Payload], Any]

ANSWERS: dict[str, Answering] = {
    "SetChargingProfile": {"status": "Accepted"},
    "ClearChargingProfile": {"status": "Unknown"},
    "TriggerMessage": {"status": "Accepted"},
    "ChangeConfiguration": {"status": "Accepted"},
    "GetConfiguration": {"configurationKey": [{"key": "ChargeProfileMaxStackLevel", "readonly": True, "value": "8"}]},
}


class ScriptedStation:
    """Answers calls from `answers` (a payload, a whole frame as a list or text, None for silence, or a function of
    the request); `asked` keeps them. `call` gives the whole answering frame."""

    def __init__(self, url: str, **answers: Answering) -> None:
        self.url = url
        self.answers: dict[str, Answering] = ANSWERS | answers
        self.asked: list[tuple[str, Payload]] = []
        self._calls = 0
        self._waiting: dict[str, asyncio.Future[list[Any]]] = {}
        self._came = asyncio.Event()

    async def __aenter__(self) -> ScriptedStation:
        self.link: ClientConnection = await connect(
            self.url, subprotocols=["ocpp1.6"], proxy=None, compression=None, ping_interval=None, close_timeout=1
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.link.transport.is_closing():  # websockets trips over closing what was cut off
            await self.link.close()
        await self._reading

    def power_off(self) -> None:
        """Without a word."""
        self.link.transport.abort()

    async def call(self, action: str, **payload: Any) -> list[Any]:
        self._calls += 1
        unique_id = f"c{self._calls}"
        return await self.frame(json.dumps([2, unique_id, action, payload]), unique_id)

    async def frame(self, text: str | bytes, unique_id: str) -> list[Any]:
        """Send it as it is, and wait for the answer with this id."""
        reply = self._waiting[unique_id] = asyncio.get_running_loop().create_future()
        await self.link.send(text)
        async with asyncio.timeout(PATIENCE_S):
            return await reply

    async def was_asked(
        self, action: str, holds: Callable[[Payload], object] = lambda _: True, seconds: float = PATIENCE_S
    ) -> Payload:
        """The first request of this kind that `holds` for, now or later."""
        async with asyncio.timeout(seconds):
            while True:
                for asked, payload in self.asked:
                    if asked == action and holds(payload):
                        return payload
                self._came.clear()
                await self._came.wait()

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                frame = json.loads(await self.link.recv())
                if frame[0] == 2:
                    await self._answer(*frame[1:])
                elif (reply := self._waiting.pop(frame[1], None)) is not None:
                    reply.set_result(frame)

    async def _answer(self, unique_id: str, action: str, payload: Payload) -> None:
        self.asked.append((action, payload))
        self._came.set()
        answer = self.answers.get(action, [4, unique_id, "NotImplemented", "", {}])
        answer = answer(payload) if callable(answer) else answer
        if isinstance(answer, dict):
            answer = [3, unique_id, answer]
        if isinstance(answer, list):
            answer = json.dumps([answer[0], unique_id, *answer[2:]])
        if answer is not None:
            await self.link.send(answer)
