"""Our own adapters on the benches of the conformance tests, each with a peer that is not ours where there is one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import attrs
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from scripted_station import ScriptedStation
from uplink_bench import RealCpo

from llm_adapters.conformance.benches import STATION_IDS, Facts, Kind, Mood
from llm_adapters.modbus import ModbusMeter
from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.ocpp16.uplink.uplinks import CpoUplinks
from llm_adapters.sqlite import Database, SqliteStore
from llm_adapters.sqlite.uplink import SqliteUplink
from llm_core import SITE, Clock, MeterSetup, Site, StationState, UplinkMessage, UplinkReported, UplinkState, Verdict

ACCEPTED = UplinkState.ACCEPTED
TIMEOUT_S = 1.0
CURRENTS, POWERS = 6, 12  # input registers of an SDM630, from the maker's table

# A meter over Modbus TCP


@attrs.define(eq=False)
class ModbusRig:
    meter: ModbusMeter
    words: list[int]
    port: int = 0
    server: ModbusTcpServer | None = None
    signed: bool = True
    step_ma: int = 1

    async def show(self, amps: tuple[float, float, float]) -> None:
        for phase, value in enumerate(amps):
            self._put(CURRENTS + 2 * phase, abs(value))
            self._put(POWERS + 2 * phase, 230 * value)

    def _put(self, address: int, number: float) -> None:
        self.words[address : address + 2] = struct.unpack(">HH", struct.pack(">f", number))

    async def fall_silent(self) -> None:
        if self.server is not None:
            await self.server.shutdown()
            self.server = None

    async def answer_again(self) -> None:
        self.server = await served(self.words, self.port)


async def served(words: list[int], port: int) -> ModbusTcpServer:
    async def answer(_fc: int, start: int, _address: int, _n: int, regs: list[int], _v: object) -> None:
        regs[: len(words)] = words[start:]

    device = SimDevice(1, [SimData(0, values=list(words), datatype=DataType.REGISTERS)], action=answer)
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    return server


class ModbusBench:
    kind: ClassVar[Kind] = "meter"

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator[ModbusRig]:
        words = [0] * 80
        server = await served(words, 0)
        port: int = server.transport.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        meter = ModbusMeter(MeterSetup(SITE, "eastron_sdm630", "127.0.0.1", port=port), clock, timeout_s=TIMEOUT_S)
        rig = ModbusRig(meter, words, port, server)
        try:
            yield rig
        finally:
            await meter.close()
            await rig.fall_silent()


# Stations over OCPP 1.6


@attrs.define(eq=False)
class OcppRig:
    stations: StationServer
    facts: Facts
    url: str
    posts: dict[str, ScriptedStation] = attrs.field(factory=dict)
    moods: dict[str, Mood] = attrs.field(factory=dict)
    held: dict[str, int] = attrs.field(factory=dict)
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)

    async def connect(self, station_id: str) -> None:
        def take(payload: dict[str, Any]) -> dict[str, str] | None:
            mood = self.moods.get(station_id, "accepts")
            if mood == "silent":
                return None
            if mood == "accepts":
                (period, *_) = payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
                self.held[station_id] = round(period["limit"] * 1000)
            return {"status": "Accepted" if mood == "accepts" else "Rejected"}

        post = ScriptedStation(f"{self.url}/{station_id}", SetChargingProfile=take)
        await self.stack.enter_async_context(post)
        self.posts[station_id] = post
        known = {**self.facts.state.stations, station_id: StationState(online=True, accepted=True)}
        self.facts.state = attrs.evolve(self.facts.state, stations=known)
        await post.call("BootNotification", chargePointVendor="Vendor", chargePointModel="Model")

    async def disconnect(self, station_id: str) -> None:
        self.posts[station_id].power_off()

    def be(self, station_id: str, mood: Mood) -> None:
        self.moods[station_id] = mood

    def held_ma(self, station_id: str) -> int | None:
        return self.held.get(station_id)


class OcppBench:
    kind: ClassVar[Kind] = "stations"

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[OcppRig]:
        server = StationServer(inbox, clock)
        async with server.listen("127.0.0.1", 0) as port:
            rig = OcppRig(server, inbox, f"ws://127.0.0.1:{port}/ocpp")
            async with rig.stack:
                yield rig


# A store on SQLite


class SqliteBench:
    kind: ClassVar[Kind] = "store"

    @asynccontextmanager
    async def open(self, folder: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(await Database.open(folder, clock))
        try:
            yield store
        finally:
            await store.close()


# The way up over OCPP 1.6


class Verdicts(dict[str, Verdict]):
    """As the CPO spells them; of a badge that it does not know it says Invalid."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002 - the CPO asks with a default of its own
        return str(self[key]) if key in self else "Invalid"


@attrs.define(eq=False)
class CpoRig:
    uplinks: CpoUplinks
    store: SqliteStore
    cpo: RealCpo
    port: int
    verdicts: dict[str, Verdict]
    above: AsyncExitStack

    async def put(self, *messages: UplinkMessage) -> None:
        await self.store.commit(messages)

    async def cut(self) -> None:
        await self.above.aclose()

    async def mend(self) -> None:
        await self.above.enter_async_context(self.cpo.listening(self.port))

    def heard(self) -> list[tuple[str, int]]:
        readings = {"StartTransaction": ("start", "meter_start"), "StopTransaction": ("stop", "meter_stop")}
        told = [(readings[action], payload) for _, action, payload in self.cpo.heard if action in readings]
        return [(kind, payload[field]) for (kind, field), payload in told]


class CpoBench:
    kind: ClassVar[Kind] = "uplink"

    @asynccontextmanager
    async def open(self, inbox: Facts, clock: Clock) -> AsyncIterator[CpoRig]:
        with TemporaryDirectory() as folder:
            async with AsyncExitStack() as above:
                cpo, verdicts = RealCpo(), Verdicts()
                cpo.verdicts = verdicts  # type: ignore[assignment]
                await above.enter_async_context(cpo.listening())
                database = await Database.open(Path(folder), clock)
                store = SqliteStore(database)
                await self._meet(store, inbox, cpo.url)
                uplinks = CpoUplinks(SqliteUplink(database), inbox, clock, StationServer(inbox, clock))
                running = asyncio.create_task(uplinks.run())
                try:
                    await inbox.until(lambda: [e for e in inbox.all(UplinkReported) if e.state is ACCEPTED], 60)
                    port = int(cpo.url.rpartition(":")[2].partition("/")[0])
                    yield CpoRig(uplinks, store, cpo, port, verdicts, above)
                finally:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    await database.close()

    async def _meet(self, store: SqliteStore, inbox: Facts, url: str) -> None:
        """The station is there, and the site names the CPO."""
        site: Site = attrs.evolve(inbox.state.site, uplink=attrs.evolve(inbox.state.site.uplink, url=url))
        await store.commit([site])
        there = {STATION_IDS[0]: StationState(online=True, accepted=True)}
        inbox.state = attrs.evolve(inbox.state, site=site, stations=there)
