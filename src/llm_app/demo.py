"""`llm-app demo`: the product as it is, with a virtual building, meter, stations and cars on real sockets."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import attrs

from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.virtual.cpo import Cpo
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.sockets import modbus_meter, websocket_links
from llm_app.clock import SystemClock
from llm_app.virtual_site import badges_of, site_of
from llm_app.wiring import Address, Options, own_address, serving
from llm_core import BadgeRecord, CpoServer, Save, Site, UplinkStation, normalise

USER = "admin"
DEFAULT_METER = "eastron_sdm630"
CPO_NAME = "Virtual CPO"
FALLBACK_A = 16


async def run_demo(
    stations: int,
    seed: int,
    http: Address,
    ocpp: Address,
    data: Path | None,
    until: Callable[[], Awaitable[None]],
    meter_model: str = DEFAULT_METER,
) -> None:
    """Run until `until` returns. A data directory that already holds a site keeps its users and history."""
    config = demo_site(stations, seed, epoch=time.time())
    config = attrs.evolve(config, meter=attrs.evolve(config.meter, model=meter_model))
    plant = Plant(_by_day(config), seed)
    with ExitStack() as stack:
        folder = (
            data if data is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-demo-")))
        )
        async with (
            modbus_meter(plant.meter, "127.0.0.1", 0) as meter_port,
            Cpo(plant.config.badges).listening("127.0.0.1") as cpo,
        ):
            password = await _prepared(folder, plant, meter_port, cpo)
            async with serving(Options(folder, http, ocpp)) as running:
                sys.stdout.write(told(running.http, own_address(), password, cpo))
                sys.stdout.flush()
                shell = Shell(plant, websocket_links(f"ws://{running.ocpp}/ocpp"))
                plant_task = asyncio.create_task(shell.run(), name="plant")
                try:
                    await until()
                finally:
                    plant_task.cancel()
                    await asyncio.gather(plant_task, return_exceptions=True)


def _by_day(config: PlantConfig) -> PlantConfig:
    """The building as on a Tuesday morning, whenever the demo is started: small, and often switching."""
    tuesday = datetime(2026, 3, 3, 10, tzinfo=UTC).timestamp()
    building = attrs.evolve(
        config.building,
        utc_offset_s=tuesday - config.epoch,
        peak_a=(6.0, 5.0, 5.5),
        step_a=1.5,
        steps_per_hour=60.0,
    )
    return attrs.evolve(config, building=building)


async def _prepared(data: Path, plant: Plant, meter_port: int, cpo: str) -> str | None:
    """The site in the database; a password for `admin` where there is none yet."""
    clock = SystemClock()
    database = await Database.open(data, clock)
    try:
        store, accounts = SqliteStore(database), SqliteAccounts(database)
        stored = await store.load()
        site = site_of(plant.config, fallback_a=FALLBACK_A, meter_port=meter_port)
        if stored.site is not None:  # the stations and settings of before, the meter at its new port
            site = attrs.evolve(stored.site, meters=site.meters)
        site = _with_cpo(site, cpo)
        badges = [Save(BadgeRecord(normalise(badge.badge_id), badge)) for badge in badges_of(plant.config)]
        await store.commit([site, *(save.record for save in badges if stored.site is None)])
        if not await accounts.is_factory():
            return None
        password = f"Demo-{secrets.token_hex(3)}1"
        await accounts.set_password(USER, password, by="demo")
        return password
    finally:
        await database.close()


def _with_cpo(site: Site, url: str) -> Site:
    """The virtual operator among the servers to choose from, at its present port, with an id for every station."""
    uplink = site.uplink
    others = tuple(server for server in uplink.servers if server.name != CPO_NAME)
    known = {entry.station_id for entry in uplink.stations}
    new = tuple(UplinkStation(s.id, f"DEMO-{s.id}") for s in site.stations if s.id not in known)
    was = next((server.url for server in uplink.servers if server.name == CPO_NAME), "")
    uplink = attrs.evolve(
        uplink,
        url=url if uplink.url == was else uplink.url,
        servers=(CpoServer(CPO_NAME, url), *others),
        stations=(*uplink.stations, *new),
    )
    return attrs.evolve(site, uplink=uplink)


def told(http: Address, own: str, password: str | None, cpo: str) -> str:
    """What a newcomer reads; `own` is where other machines reach this one, if they are let in."""
    is_open = http.host in ("0.0.0.0", "::")
    lines = [("Dashboard", f"http://{Address('127.0.0.1', http.port) if is_open else http}")]
    if is_open:
        lines.append(("On a phone", f"http://{Address(own, http.port)}"))
    lines.append(("Login", f"sign in as {USER} with {password}" if password is not None else "sign in as before"))
    lines.append(("Operator", cpo))
    return "\n" + "".join(f"  {name:<12}{text}\n" for name, text in lines) + "\n  Ctrl-C ends the demo.\n\n"
