"""One charging session told by OCPP stacks that share no code with us, or with each other.

Our virtual station, the `ocpp` package's charge point, and `ocpp-rpc` from the npm registry, which checks every message
of ours against its schemas. The story is the same, and so is what the core knows at its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from core_inbox import CoreInbox
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.datatypes import MeterValue, SampledValue
from patience import PATIENCE_S
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.sockets import websocket_links
from llm_app.clock import SystemClock
from llm_core import AccessRule, PerPhase, Purpose, Site, State, Station, Supply

TAG = "A1B2C3"
NPM_STATION = Path(__file__).with_name("npm_station.mjs")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "local-load-manager" / "ocpp-rpc-2.2.1"

Story = Callable[[str, CoreInbox], Awaitable[None]]


@asynccontextmanager
async def controller() -> AsyncIterator[tuple[str, CoreInbox]]:
    clock = SystemClock()
    supply = Supply(static_max_ma=PerPhase.same(10_000))
    inbox = CoreInbox(
        State(site=Site(supply=supply, stations=(Station("CP"),), access=AccessRule.FREE), factory=False), clock
    )
    server = StationServer(inbox, clock)
    inbox.perform = server.perform
    ticking = asyncio.create_task(_tick(inbox))
    async with server.listen("127.0.0.1", 0) as port:
        yield f"ws://127.0.0.1:{port}/ocpp", inbox
    ticking.cancel()


async def _tick(inbox: CoreInbox) -> None:
    while True:
        inbox.tick()
        await asyncio.sleep(0.2)


def is_limited(state: State) -> bool:
    """The station has acknowledged a live limit for the transaction: all that the supply has."""
    connector = state.connectors.get(("CP", 1))
    held = connector.ledger.slot(Purpose.TRANSACTION).acknowledged if connector is not None else None
    return held is not None and held.limit_ma == 10_000


async def the_package(url: str, inbox: CoreInbox) -> None:
    class Post(ChargePoint):
        @on("GetConfiguration")
        async def on_get(self, **_: Any) -> call_result.GetConfiguration:
            return call_result.GetConfiguration(unknown_key=["MeterValueSampleInterval"])

        @on("ChangeConfiguration")
        async def on_change(self, **_: Any) -> call_result.ChangeConfiguration:
            return call_result.ChangeConfiguration("Accepted")

        @on("TriggerMessage")
        async def on_trigger(self, **_: Any) -> call_result.TriggerMessage:
            return call_result.TriggerMessage("Rejected")

        @on("SetChargingProfile")
        async def on_set(self, **_: Any) -> call_result.SetChargingProfile:
            return call_result.SetChargingProfile("Accepted")

        @on("ClearChargingProfile")
        async def on_clear(self, **_: Any) -> call_result.ClearChargingProfile:
            return call_result.ClearChargingProfile("Unknown")

    async with connect(f"{url}/CP", subprotocols=["ocpp1.6"], proxy=None) as connection:
        post = Post("CP", connection)
        serving = asyncio.create_task(_served(post))
        assert (await post.call(call.BootNotification("Post", "Acme"))).status == "Accepted"
        await post.call(call.Heartbeat())
        await post.call(call.StatusNotification(1, "NoError", "Charging"))
        started = await post.call(call.StartTransaction(1, TAG, 1_000, _now()))
        await inbox.until(is_limited)
        sampled = [SampledValue("9.0", measurand="Current.Import", phase=f"L{n}", unit="A") for n in (1, 2, 3)]
        await post.call(call.MeterValues(1, [MeterValue(_now(), sampled)], started.transaction_id))
        await post.call(call.StopTransaction(4_000, _now(), started.transaction_id))
        serving.cancel()


async def _served(post: ChargePoint) -> None:
    with suppress(ConnectionClosed):
        await post.start()


def _now() -> str:
    return SystemClock().utc().isoformat(timespec="seconds").replace("+00:00", "Z")


async def the_virtual_station(url: str, inbox: CoreInbox) -> None:
    plant = Plant(PlantConfig(stations=(StationConfig("CP"),)))
    station = plant.stations["CP"]
    shell = asyncio.create_task(Shell(plant, websocket_links(url)).run())
    await inbox.until(lambda state: ("CP", 1) in state.connectors and state.connectors["CP", 1].ledger.has_floor)
    station.plug(1, Car(CarModel()))
    station.present(1, TAG)
    await inbox.until(is_limited)
    await inbox.until(lambda state: bool(state.connectors["CP", 1].readings))
    station.present(1, TAG)
    await inbox.until(lambda state: state.connectors["CP", 1].session is None)
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)


async def the_npm_client(url: str, inbox: CoreInbox) -> None:
    node = shutil.which("node")
    if node is None or not (CACHE / "node_modules" / "ocpp-rpc").is_dir():
        pytest.skip(f"needs node, and ocpp-rpc under {CACHE} (.ci/run installs both)")
    process = await asyncio.create_subprocess_exec(
        node, str(NPM_STATION), str(CACHE), url, TAG, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await inbox.until(is_limited)
    process.stdin.write(b"stop\n")
    told = json.loads((await process.stdout.read()).splitlines()[-1])
    assert await process.wait() == 0
    assert told["boot"] == "Accepted"
    assert told["profiles"] >= 2


@pytest.mark.parametrize("story", [the_virtual_station, the_package, the_npm_client])
def test_the_same_session_is_told_by_every_stack(story: Story) -> None:
    async def scenario() -> None:
        async with controller() as (url, inbox), asyncio.timeout(3 * PATIENCE_S):
            await story(url, inbox)
            (session,) = inbox.state.recent.values()
            assert session.id_tag == TAG
            assert session.stopped_at is not None
            assert inbox.state.connectors["CP", 1].session is None

    asyncio.run(scenario())
