"""The server is killed while a transaction is on its way from a station to a CPO: nothing is lost, nothing comes twice.

The station does what stations do: what was not answered it says again, with its first timestamp, once it has a link.
The CPO knows a start by what it says (decision 8).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from cpo_story import CountingCpo
from ocpp.v16 import call
from server_process import Server, running, until
from uplink_bench import ANN, RealStation
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

T = TypeVar("T")
BEGAN, ENDED = "2026-11-02T12:00:00Z", "2026-11-02T13:00:00Z"


class Witness(CountingCpo):
    """Does something the first time that it hears a kind of message, before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.at_first: dict[str, Callable[[], None]] = {}

    def note(self, station_id: str, action: str, payload: dict[str, Any]) -> None:
        super().note(station_id, action, payload)
        self.at_first.pop(action, lambda: None)()


@asynccontextmanager
async def linked(server: Server) -> AsyncIterator[tuple[RealStation, asyncio.Task[None]]]:
    """A station that has booted, and the task that ends with its link."""
    async with connect(f"{server.ocpp}/ST1", subprotocols=["ocpp1.6"], proxy=None) as link:  # type: ignore[list-item]
        point = RealStation("ST1", link)
        listening = asyncio.create_task(point.start())
        try:
            boot = asyncio.create_task(point.call(call.BootNotification("Model", "Vendor")))
            await asyncio.wait((boot, listening), return_when=asyncio.FIRST_COMPLETED)
            yield point, listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def in_a_link(server: Server, do: Callable[[RealStation], Awaitable[T]]) -> T:
    """What comes of this while the station is linked, at last: a killed server is started, and all is done again."""
    while True:
        if server.process.poll() is not None:
            await asyncio.to_thread(server.restart)
        with contextlib.suppress(OSError, ConnectionClosed, InvalidMessage, httpx.TransportError):
            async with linked(server) as (point, listening):
                done = asyncio.ensure_future(do(point))
                await asyncio.wait((done, listening), return_when=asyncio.FIRST_COMPLETED)
                if done.done():
                    return done.result()
                done.cancel()
                await asyncio.gather(done, return_exceptions=True)


async def told(server: Server, message: object) -> Any:
    """What the server answers to this, at last."""
    return await in_a_link(server, lambda point: point.call(message))


async def is_delivered(server: Server) -> bool:
    async with server.client() as api:
        status = (await api.get("/uplink")).json()["stations"]["ST1"]["status"]
    return bool(status["state"] == "accepted" and status["queued"] == 0)


@pytest.mark.parametrize(
    "moment",
    [
        "the CPO hears of the start",
        "the station has its answer to the start",
        "the CPO hears of the stop",
        "the station has its answer to the stop",
    ],
)
def test_who_is_killed_on_the_way_to_the_cpo_loses_and_doubles_nothing(tmp_path: Path, moment: str) -> None:
    async def story() -> None:
        cpo = Witness()
        async with cpo.listening(), running(tmp_path / "data") as server:
            async with server.client() as api:
                assert (await api.post("/stations", json={"id": "ST1", "max_a": 16})).status_code == 201
                stations = {"ST1": {"ocpp_id": "NL-ST1"}}
                uplink = {"enabled": True, "url": cpo.url, "offline": "cached", "stations": stations}
                assert (await api.put("/uplink", json=uplink)).status_code == 200
            assert (await told(server, call.Authorize(ANN))).id_tag_info["status"] == "Accepted"
            await until(lambda: is_delivered(server), "the CPO has accepted the station")
            if moment == "the CPO hears of the start":
                cpo.at_first["StartTransaction"] = server.kill
            if moment == "the CPO hears of the stop":
                cpo.at_first["StopTransaction"] = server.kill

            begun = await told(server, call.StartTransaction(1, ANN, 1_000, BEGAN))
            assert begun.id_tag_info["status"] == "Accepted"
            if moment == "the station has its answer to the start":
                server.kill()
            stop = call.StopTransaction(2_500, ENDED, begun.transaction_id, "Local", ANN)
            assert await told(server, stop) is not None
            if moment == "the station has its answer to the stop":
                server.kill()
                await asyncio.to_thread(server.restart)

            async def everything_is_delivered(_: RealStation) -> None:
                await cpo.hears("StopTransaction")
                await until(lambda: is_delivered(server), "everything is delivered")

            await in_a_link(server, everything_is_delivered)
            assert not cpo.at_first
            starts, stops = cpo.all("StartTransaction"), list(cpo.stops.values())
            assert len(cpo.starts) == 1, starts
            assert starts[0]["timestamp"] == BEGAN
            assert [(s["transaction_id"], s["timestamp"], s["meter_stop"]) for s in stops] == [(900_001, ENDED, 2_500)]
            told_of = [action for _, action, _ in cpo.heard if action in ("StartTransaction", "StopTransaction")]
            assert told_of == sorted(told_of), "every start before the stop"
            async with server.client() as api:
                (session,) = (await api.get("/sessions")).json()
            assert (session["state"], session["energy_kwh"]) == ("closed", 1.5)

    asyncio.run(story())
