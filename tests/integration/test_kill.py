"""A server that is killed harms nobody, and comes back knowing what it promised. The plant is the judge."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from patience import PATIENCE_S, fair_s
from server_process import Server, running, until

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.sockets import websocket_links

LEASE_S = 30
STATIONS = ("ST1", "ST2", "ST3")
FALLBACK_A = {"ST1": 6.0, "ST2": 0.0, "ST3": 8.0}
BADGE = "04A1B2C3"


def plant_of_three() -> Plant:
    """Three stations: one is not given the time by us, one is 3 s ahead."""
    config = PlantConfig(
        stations=tuple(
            StationConfig(name, clock_offset_s=offset, quirks=Quirks(syncs_clock=offset == 0.0))
            for name, offset in zip(STATIONS, (0.0, -2.0, 3.0), strict=True)
        ),
        epoch=time.time(),
        badges=(BADGE,),
    )
    return Plant(config, seed=1)


@contextlib.asynccontextmanager
async def living(plant: Plant, server: Server) -> AsyncIterator[None]:
    task = asyncio.create_task(Shell(plant, websocket_links(server.ocpp), retry_s=(0.5, 1.0)).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def configured(server: Server) -> None:
    async with server.client() as api:
        supply = {
            "mode": "static",
            "phases": 3,
            "fuse_a": 63,
            "derated_a": 50.4,
            "static_max_a": 32,
            "lease_s": LEASE_S,
        }
        assert (await api.put("/supply", json=supply)).status_code == 200
        assert (await api.post("/badges", json={"badge_id": BADGE})).status_code == 201
        for name in STATIONS:
            answer = await api.post("/stations", json={"id": name, "max_a": 16, "fallback_a": FALLBACK_A[name]})
            assert answer.status_code == 201, answer.text


def offered(plant: Plant) -> dict[str, float]:
    return {name: plant.stations[name].connectors[0].entitled_a for name in STATIONS}


def drawn(plant: Plant) -> dict[str, float]:
    return {name: max(plant.stations[name].connectors[0].draw_a) for name in STATIONS}


def share(plant: Plant) -> bool:
    """All three charge, and the supply carries it: in whole amps that is 30 A or more. Before they were told anything
    they may draw 48 A for a moment, which is no sharing."""
    amps = drawn(plant)
    return min(amps.values()) > 0 and 29.9 < sum(amps.values()) <= 32.05 and sum(offered(plant).values()) <= 32


async def clocks_are_known(server: Server) -> bool:
    """Until then a station is told what may last for ever, and has nothing to fall back from."""
    async with server.client() as api:
        told = [(await api.get(f"/stations/{name}")).json() for name in STATIONS]
    return all(station["clock_ahead_s"] is not None for station in told)


async def transactions(server: Server) -> dict[str, tuple[int, str]]:
    async with server.client() as api:
        sessions = (await api.get("/sessions")).json()
    return {s["station_id"]: (s["transaction_id"], s["state"]) for s in sessions}


async def _kill_and_restart(data: Path) -> None:
    async with running(data) as server:
        await configured(server)
        plant = plant_of_three()  # only now: its clock says what time it is as it begins to live
        async with living(plant, server):
            await until(lambda: clocks_are_known(server), "control knows their clocks")
            for station in plant.stations.values():
                station.plug(1, Car(CarModel(), soc=0.2))
                station.present(1, BADGE)
            await until(lambda: share(plant), "three cars share 32 A")
            before = await transactions(server)
            assert {state for _, state in before.values()} == {"open"}

            killed_s = fair_s()
            server.kill()
            await until(
                lambda: offered(plant) == FALLBACK_A, "every station falls back by itself", LEASE_S + PATIENCE_S
            )
            assert fair_s() - killed_s <= LEASE_S + 1
            await until(lambda: drawn(plant) == FALLBACK_A, "and its car follows")

            server.restart()
            told_a = []

            def share_again() -> bool:
                told_a.append(sum(offered(plant).values()))
                return share(plant)

            await until(share_again, "they share 32 A again")
            assert max(told_a) <= 32, "and never more on the way there"
            assert await transactions(server) == before


def test_kill_9_leaves_every_station_at_its_fallback_and_a_restart_takes_up_the_sessions(tmp_path: Path) -> None:
    asyncio.run(_kill_and_restart(tmp_path))
