"""A CPO with habits of its own, on a bare WebSocket: each answer is what a script says, and may be anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from patience import PATIENCE_S
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

NOW = "2026-03-01T14:00:00+02:00"
Answers = Callable[[str, dict[str, Any]], Any]
"""What to answer an action: a payload, a whole message as a list (its id comes in), raw text, or None for silence."""

USUAL: dict[str, Any] = {
    "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
    "Heartbeat": {"currentTime": NOW},
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
    "StartTransaction": {"transactionId": 900_001, "idTagInfo": {"status": "Accepted"}},
}


class OddCpo:
    """Answers as usual what `habits` does not name; keeps what it hears."""

    def __init__(self, **habits: Any) -> None:
        self.habits = habits
        self.heard: list[tuple[str, str, dict[str, Any]]] = []  # id, action, payload
        self.results: dict[str, Any] = {}  # of what it asked, by id
        self.came = asyncio.Event()
        self.links: list[ServerConnection] = []
        self.url = ""
        self.on_link: Callable[[ServerConnection], Any] | None = None
        self.after_answer: Callable[[ServerConnection], Any] | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[OddCpo]:
        protocols: Any = ["ocpp1.6"]
        async with serve(self._welcome, "127.0.0.1", 0, subprotocols=protocols, compression=None) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/cpo"
            yield self

    async def _welcome(self, link: ServerConnection) -> None:
        self.links.append(link)
        with contextlib.suppress(ConnectionClosed):
            if self.on_link is not None:
                await self.on_link(link)
            while True:
                message = json.loads(await link.recv())
                if message[0] == 2:
                    await self._answer(link, *message[1:])
                else:
                    self.results[message[1]] = message
                    self.came.set()

    async def _answer(self, link: ServerConnection, unique_id: str, action: str, payload: dict[str, Any]) -> None:
        self.heard.append((unique_id, action, payload))
        self.came.set()
        habit = self.habits.get(action, USUAL.get(action, {}))
        said = habit(payload) if callable(habit) else habit
        match said:
            case None:
                return
            case dict():
                await link.send(json.dumps([3, unique_id, said]))
            case list():
                await link.send(json.dumps([said[0], unique_id, *said[1:]]))
            case _:
                await link.send(said)
        if self.after_answer is not None:
            await self.after_answer(link)

    async def say(self, unique_id: str, payload: dict[str, Any]) -> None:
        """An answer that was kept back."""
        await self.links[-1].send(json.dumps([3, unique_id, payload]))

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for _, heard, payload in self.heard if heard == action]

    async def until(self, holds: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
        async with asyncio.timeout(within_s):
            while not holds():
                self.came.clear()
                await self.came.wait()

    async def hears(self, action: str, count: int = 1) -> dict[str, Any]:
        await self.until(lambda: len(self.all(action)) >= count)
        return self.all(action)[count - 1]

    async def tell(self, unique_id: str, action: str, payload: dict[str, Any]) -> Any:
        """The answer to a call under this id: a payload, or the name of an error."""
        self.results.pop(unique_id, None)
        await self.links[-1].send(json.dumps([2, unique_id, action, payload]))
        await self.until(lambda: unique_id in self.results)
        message = self.results[unique_id]
        return message[2]
