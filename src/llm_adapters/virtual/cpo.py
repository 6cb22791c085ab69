"""A charge point operator for demonstrations: an OCPP 1.6J central system that lets its own badges charge.

It takes any station, gives transactions numbers of its own, and knows a start that it is told twice. It keeps what it
heard last; nothing of it outlives the process.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

FIRST_NUMBER = 500_001
HEARTBEAT_S = 60
MOST_KEPT = 1_000

Payload = dict[str, Any]


class Cpo:
    """The operator; `badges` are those that it lets charge."""

    def __init__(self, badges: Collection[str]) -> None:
        self.badges = {badge.lower() for badge in badges}
        self.transactions: dict[tuple[Any, ...], int] = {}
        self.heard: deque[tuple[str, str, Payload]] = deque(maxlen=MOST_KEPT)
        self.stations: set[str] = set()

    @asynccontextmanager
    async def listening(self, host: str, port: int = 0) -> AsyncIterator[str]:
        """Stations may call while the context lasts; gives the address for them, without the id."""
        protocols = [Subprotocol("ocpp1.6")]
        async with serve(self._welcome, host, port, subprotocols=protocols, compression=None) as server:
            yield f"ws://{host}:{next(iter(server.sockets)).getsockname()[1]}/cpo"

    async def _welcome(self, connection: ServerConnection) -> None:
        station_id = connection.request.path.rsplit("/", 1)[-1] if connection.request is not None else ""
        self.stations.add(station_id)
        try:
            with suppress(ConnectionClosed, ValueError):
                while True:
                    message = json.loads(await connection.recv())
                    if message[0] != 2:
                        continue
                    _, unique_id, action, payload = message
                    self.heard.append((station_id, action, payload))
                    await connection.send(json.dumps([3, unique_id, self.answer(station_id, action, payload)]))
        finally:
            self.stations.discard(station_id)

    def answer(self, station_id: str, action: str, payload: Payload) -> Payload:
        """The result of a call."""
        match action:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": _now(), "interval": HEARTBEAT_S}
            case "Heartbeat":
                return {"currentTime": _now()}
            case "Authorize":
                return {"idTagInfo": self._info(payload)}
            case "StartTransaction":
                fields = ("idTag", "timestamp", "connectorId", "meterStart")
                key = (station_id, *(payload.get(field) for field in fields))
                number = self.transactions.setdefault(key, FIRST_NUMBER + len(self.transactions))
                return {"transactionId": number, "idTagInfo": self._info(payload)}
            case "DataTransfer":
                return {"status": "UnknownVendorId"}
            case _:
                return {}

    def _info(self, payload: Payload) -> Payload:
        known = str(payload.get("idTag", "")).lower() in self.badges
        expires = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"status": "Accepted", "expiryDate": expires} if known else {"status": "Invalid"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
