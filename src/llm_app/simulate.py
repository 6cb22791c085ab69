"""`llm-app simulate`: the controller, station sessions and profile encoder of the server, in virtual time."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual import clockwork
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.judge import Judge, Terms
from llm_adapters.virtual.links import End, pair
from llm_adapters.virtual.meter import Meter
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell
from llm_app.clock import LoopClock
from llm_app.controller import Controller
from llm_app.virtual_site import badges_of, site_of
from llm_core import SITE, Clock, MeterSampled, Now, Record, Stored, ma_up, recover

FALLBACK_A = 16
DERATED = 0.8
METER_PERIOD_S = 1.0
STATION_TICK_S = 1.0


class Memory:
    """A store that takes everything and forgets it: what a simulation promises need not outlive it."""

    async def load(self) -> Stored:
        return Stored()

    async def commit(self, records: Iterable[Record]) -> None:
        del records

    async def probe(self) -> None:
        return None

    async def close(self) -> None:
        return None


def simulation(stations: int, hours: float, seed: int, supply_a: float) -> dict[str, Any]:
    """Run the virtual site for `hours` and return the plant's own verdict. The same arguments give the same result."""
    config = demo_site(stations, seed)
    limit_a = round(supply_a * DERATED, 1)
    nodes = ({**config.nodes[0], "limit_a": dict.fromkeys(("L1", "L2", "L3"), limit_a)}, *config.nodes[1:])
    config = attrs.evolve(config, nodes=nodes, fuse_a=supply_a)
    return clockwork.run(_simulated(config, hours * 3600, seed))


async def _simulated(config: PlantConfig, seconds: float, seed: int) -> dict[str, Any]:
    plant = Plant(config, seed)
    judge = Judge(plant, Terms(dynamic=True, fallback_a=(FALLBACK_A,) * 3))
    clock = LoopClock(datetime.fromtimestamp(config.epoch, UTC))
    stored = Stored(site=site_of(config, fallback_a=FALLBACK_A), badges=badges_of(config))
    state, _ = recover(stored, Now(clock.monotonic_ms(), clock.utc()), factory=False)
    controller = Controller(state, clock, Memory())
    stations = StationServer(controller, clock)
    controller.command_with(stations.perform)
    links: set[asyncio.Task[str]] = set()
    opened = 0

    async def connect(station_id: str) -> End:
        nonlocal opened
        opened += 1
        client, server = pair(seed=f"{seed}/{station_id}/{opened}")
        task = asyncio.create_task(stations.attach(server, station_id, "127.0.0.1", f"/ocpp/{station_id}"))
        links.add(task)
        task.add_done_callback(links.discard)
        return client

    shell = Shell(plant, connect, tick_s=STATION_TICK_S)
    parts = (controller.run(), shell.run(), _meter(plant.meter, controller, clock))
    tasks: list[asyncio.Task[None]] = [asyncio.create_task(part) for part in parts]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # none of the parts may end by itself
    for running in (*tasks, *links):
        running.cancel()
    await asyncio.gather(*tasks, *links, return_exceptions=True)
    return {"seed": seed, "hours": seconds / 3600, **judge.report()}


async def _meter(meter: Meter, controller: Controller, clock: Clock) -> None:
    """Ask the meter every second, as the poller of a real one does; one that is silent posts nothing."""
    while True:
        reading = meter.reading()
        if reading is not None:
            amps = tuple(ma_up(Decimal(repr(a))) if a == a else None for a in reading.current_a)
            words = repr((reading.current_a, reading.energy_import_wh)).encode()
            controller.post(
                MeterSampled(
                    SITE,
                    (amps[0], amps[1], amps[2]),
                    clock.monotonic_ms(),
                    zlib.crc32(words),
                    power_w=round(sum(reading.power_w)) if amps[0] is not None else None,
                    energy_import_wh=round(reading.energy_import_wh),
                )
            )
        await asyncio.sleep(METER_PERIOD_S)


def report(result: dict[str, Any], *, as_json: bool) -> str:
    """The result for a script, or for a person."""
    if as_json:
        return json.dumps(result, indent=2)
    return "\n".join(_lines(result, ""))


def _lines(value: dict[str, Any], indent: str) -> Iterable[str]:
    for key, entry in value.items():
        if isinstance(entry, dict):
            yield f"{indent}{key}:"
            yield from _lines(entry, indent + "  ")
        else:
            yield f"{indent}{key}: {entry}"
