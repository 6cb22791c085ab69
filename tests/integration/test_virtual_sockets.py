"""The plant on loopback sockets, against a central system and a Modbus client that know nothing of it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from patience import PATIENCE_S
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from websockets.asyncio.server import ServerConnection, serve

from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.driver import Visit
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.sockets import modbus_meter, websocket_links


class Central:
    """Accepts every station and badge, limits each started transaction to `limit_a`."""

    def __init__(self, limit_a: float = 9.0) -> None:
        self.limit_a = limit_a
        self.links: dict[str, ServerConnection] = {}
        self.paths: list[str] = []
        self.subprotocols: set[str | None] = set()
        self.heard: dict[str, list[str]] = {}

    async def handle(self, link: ServerConnection) -> None:
        assert link.request is not None
        self.paths.append(link.request.path)
        self.subprotocols.add(link.subprotocol)
        name = link.request.path.rsplit("/", 1)[1]
        self.links[name] = link
        async for text in link:
            kind, call_id, *rest = json.loads(text)
            if kind != 2:
                continue
            self.heard.setdefault(name, []).append(rest[0])
            await link.send(json.dumps([3, call_id, self.answer(rest[0])]))
            if rest[0] == "StartTransaction":
                await link.send(json.dumps([2, f"set-{call_id}", "SetChargingProfile", self.profile()]))

    def answer(self, action: str) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            "BootNotification": {"status": "Accepted", "currentTime": now, "interval": 300},
            "Authorize": {"idTagInfo": {"status": "Accepted"}},
            "StartTransaction": {"transactionId": 11, "idTagInfo": {"status": "Accepted"}},
        }.get(action, {})

    def profile(self) -> dict[str, Any]:
        schedule = {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": self.limit_a}],
        }
        profile = {
            "chargingProfileId": 1,
            "transactionId": 11,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": schedule,
        }
        return {"connectorId": 1, "csChargingProfiles": profile}


async def until(condition: Any, seconds: float = PATIENCE_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the plant has no event for this
            await asyncio.sleep(0.02)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def two_stations() -> Plant:
    visits = tuple(
        Visit(1.0, 1e6, name, 1, "04A1B2C3", CarModel(phases=phases), badge_after_s=1.0)
        for name, phases in (("ST 1", 3), ("ST2", 1))
    )
    return Plant(PlantConfig((StationConfig("ST 1"), StationConfig("ST2")), visits=visits))


def test_stations_connect_charge_and_obey_over_websockets() -> None:
    async def main() -> None:
        central, plant = Central(9.0), two_stations()
        async with serve(central.handle, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}/ocpp"
            shell = Shell(plant, websocket_links(url), speed=20.0, tick_s=0.02)
            task = asyncio.create_task(shell.run())
            await until(lambda: plant.stations_a == (18.0, 9.0, 9.0))
            assert sorted(central.paths) == ["/ocpp/ST%201", "/ocpp/ST2"]
            assert central.subprotocols == {"ocpp1.6"}
            await stop(task)
        assert not any(station.online for station in plant.stations.values())

    run(main())


def test_a_station_comes_back_after_its_link_was_cut_and_does_not_boot_again() -> None:
    async def main() -> None:
        central, plant = Central(), two_stations()
        async with serve(central.handle, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
            shell = Shell(plant, websocket_links(url), speed=20.0, tick_s=0.02, retry_s=(0.05, 0.1))
            task = asyncio.create_task(shell.run())
            await until(lambda: plant.stations["ST2"].accepted)
            first = central.links["ST2"]
            first.transport.abort()
            await until(lambda: central.links["ST2"] is not first and plant.stations["ST2"].online)
            assert central.heard["ST2"].count("BootNotification") == 1
            await stop(task)

    run(main())


def test_stations_keep_trying_while_nobody_listens() -> None:
    async def main() -> None:
        plant = two_stations()
        links = websocket_links("ws://127.0.0.1:9/ocpp")
        task = asyncio.create_task(Shell(plant, links, tick_s=0.02, retry_s=(0.02, 0.05)).run())
        await asyncio.sleep(0.3)
        assert not task.done()
        await stop(task)

    run(main())


def floats(words: list[int]) -> list[float]:
    """An encoder of our own: float32, most significant word first."""
    return [v[0] for v in struct.iter_unpack(">f", struct.pack(f">{len(words)}H", *words))]


def test_the_meter_is_read_over_modbus_and_can_fall_silent() -> None:
    async def main() -> None:
        plant = Plant(demo_site(4))
        plant.advance(100.0)
        async with modbus_meter(plant.meter, "127.0.0.1", 0) as port:
            client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.3, retries=0)
            assert await client.connect()
            answer = await client.read_input_registers(0, count=76, device_id=1)
            values = floats(answer.registers)
            shown = plant.meter.reading()
            assert shown is not None
            assert values[0:3] == [230.0, 230.0, 230.0]
            assert values[3:6] == pytest.approx(shown.current_a, abs=1e-3)
            assert values[6:9] == pytest.approx(shown.power_w, rel=1e-6)
            assert values[26] == pytest.approx(sum(shown.power_w), rel=1e-6)
            assert values[36] == pytest.approx(shown.energy_import_wh / 1000, rel=1e-6)
            plant.meter.silent = True
            with pytest.raises(ModbusException):
                await client.read_input_registers(0, count=76, device_id=1)
            plant.meter.silent = False
            client.close()

    run(main())


def test_most_of_the_demo_site_charges_within_thirty_seconds() -> None:
    async def main() -> None:
        central, plant = Central(), Plant(demo_site(8))
        async with serve(central.handle, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
            task = asyncio.create_task(Shell(plant, websocket_links(url), speed=15.0, tick_s=0.02).run())
            await until(lambda: plant.t >= 30)
            charging = sum(any(connector.draw_a) for _, connector in plant.connectors())
            assert charging >= 6
            await stop(task)

    run(main())
